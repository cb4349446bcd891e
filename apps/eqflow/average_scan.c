/* eqflow average --scan: the same configurations at other values of a constant. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"

/* Log-weights at another potential: a weight is multiplied by exp(u - u'). new_energy_out [num]: u'. */
static exit_code reweigh(cli_app *app, const averages *a, const eqf_potential_options *potential, float *new_energy_out,
                         double *log_weights_out) {
    exit_code code = work_energy(app, potential, a->num, a->x.data, new_energy_out);
    for (size_t b = 0; b < a->num && code == EXIT_CODE_OK; b++) {
        const double change = (double)new_energy_out[b] - (double)a->energy[b];
        log_weights_out[b] = a->log_weights[b] == -INFINITY || isnan(change) ? -INFINITY : a->log_weights[b] - change;
    }
    return code;
}

/* "NAME=FIRST:LAST:COUNT". */
static exit_code parse(cli_app *app, const char *text, scan_range *scan_out) {
    const char *equals = strchr(text, '='), *first = equals ? strchr(equals, ':') : NULL,
               *second = first ? strchr(first + 1, ':') : NULL;
    char numbers[3][64];
    double values[3];
    if (!second || equals == text || (size_t)(equals - text) >= sizeof scan_out->name)
        return app_fail(app, EXIT_CODE_USAGE, "--scan %s: give NAME=FIRST:LAST:COUNT, such as temperature=0.8:1.2:9",
                        text);
    const char *begins[3] = {equals + 1, first + 1, second + 1},
               *ends[3] = {first, second, second + 1 + strlen(second + 1)};
    for (size_t n = 0; n < 3; n++) {
        if ((size_t)(ends[n] - begins[n]) >= sizeof numbers[n])
            return app_fail(app, EXIT_CODE_USAGE, "--scan %s: a number is too long", text);
        snprintf(numbers[n], sizeof numbers[n], "%.*s", (int)(ends[n] - begins[n]), begins[n]);
        if (!options_number(numbers[n], &values[n]))
            return app_fail(app, EXIT_CODE_USAGE, "--scan %s: '%s' is no number", text, numbers[n]);
    }
    if (!(values[2] >= 2 && values[2] <= MOST_POINTS && values[2] == floor(values[2])))
        return app_fail(app, EXIT_CODE_USAGE, "--scan %s: the count must be a whole number from 2 to %d", text,
                        MOST_POINTS);
    snprintf(scan_out->name, sizeof scan_out->name, "%.*s", (int)(equals - text), text);
    scan_out->first = values[0];
    scan_out->last = values[1];
    scan_out->num = (size_t)values[2];
    return EXIT_CODE_OK;
}

/* Takes the last "NAME=RANGE" out of the constants of an own potential; their number. */
static unsigned take_constants(cli_list *constants, const char **text_out) {
    unsigned num = 0;
    size_t kept = 0;
    for (size_t c = 0; c < constants->num_texts; c++) {
        const char *equals = strchr(constants->texts[c], '=');
        if (equals && options_is_range(equals + 1)) {
            *text_out = constants->texts[c];
            num++;
        } else {
            constants->texts[kept++] = constants->texts[c];
        }
    }
    constants->num_texts = kept;
    return num;
}

exit_code scan_choose(cli_app *app, average_flags *flags, scan_range *scan_out) {
    *scan_out = (scan_range){.num = 0};
    const char *text = NULL;
    char word[256];
    if (flags->scans.num_texts > 0) text = flags->scans.texts[0];
    const size_t num =
        flags->scans.num_texts + flags->ranges.num + take_constants(&flags->system.own_constants, &text);
    if (num > 1)
        return app_fail(app, EXIT_CODE_USAGE, "%zu scans: one constant can be scanned at a time", num);
    if (flags->ranges.num == 1) {
        if (snprintf(word, sizeof word, "%s=%s", flags->ranges.name, flags->ranges.text) >= (int)sizeof word)
            return app_fail(app, EXIT_CODE_USAGE, "--%s: a number is too long", flags->ranges.name);
        text = word;
    }
    return text ? parse(app, text, scan_out) : EXIT_CODE_OK;
}

exit_code average_set_constant(cli_app *app, const scan_range *scan, double value, const cli_option *options,
                               size_t num_options, const average_flags *flags, eqf_potential_options *potential) {
    for (size_t o = 0; o < num_options; o++) {
        if (options[o].kind != OPTION_NUMBER || !options[o].name || strcmp(options[o].name, scan->name) != 0) continue;
        double *place = options[o].value;
        const double before = *place;
        const bool was_set = *options[o].is_set;
        *place = value;
        *options[o].is_set = true;
        const exit_code code = system_apply(app, &flags->system, potential);
        *place = before;
        *options[o].is_set = was_set;
        return code;
    }
    for (unsigned c = 0; c < potential->num_constants; c++) {
        if (strcmp(potential->constants[c].name, scan->name) != 0) continue;
        const eqf_status status = eqf_potential_set_constant(app->ctx, potential, scan->name, value);
        return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    return app_fail(app, EXIT_CODE_USAGE, "%s: the potential has no constant of this name", scan->name);
}

/* Prints one line: the energy at a point. */
static void print_row(cli_output *output, double value, double ess_fraction, const eqf_moments *energy) {
    char texts[6][32];
    output_line(output, "%10s %10s %11s +- %-9s %10s +- %s", output_format(value, texts[0]),
                output_format(ess_fraction, texts[1]), output_format(energy->mean, texts[2]),
                output_format(energy->mean_standard_error, texts[3]), output_format(energy->variance, texts[4]),
                output_format(energy->variance_standard_error, texts[5]));
}

/* Writes one point: to stdout, to JSON, to the table. */
static exit_code print_point(cli_app *app, const average_flags *flags, const averages *a, const double *log_weights,
                             double value, cli_output *output, json_t *points, FILE *table) {
    eqf_weight_summary weights = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_weights(a->num, log_weights, &weights) != EQF_OK)
        return app_fail(app, EXIT_CODE_FAILURE, "at %g no configuration has any weight: the scan goes too far", value);
    json_t *point =
        json_pack("{s:o, s:o}", "value", output_real(value), "ess_fraction", output_real(weights.ess_fraction));
    if (table) fprintf(table, "%.9g,%.9g", value, weights.ess_fraction);
    for (size_t c = 0; c < a->num_columns; c++) {
        eqf_moments m;
        const exit_code code = average_moments(app, flags, a, log_weights, c, &m);
        if (code != EXIT_CODE_OK) {
            json_decref(point);
            return code;
        }
        if (c == 0) print_row(output, value, weights.ess_fraction, &m);
        json_object_set_new(point, a->columns[c].name, average_json(&m));
        if (table)
            fprintf(table, ",%.9g,%.9g,%.9g,%.9g", m.mean, m.mean_standard_error, m.variance,
                    m.variance_standard_error);
    }
    if (table) fputc('\n', table);
    json_array_append_new(points, point);
    return EXIT_CODE_OK;
}

/* At each point the energies, and so their averages, are those of the point's potential. */
static exit_code run_points(cli_app *app, const average_flags *flags, averages *a, const scan_range *scan,
                            const cli_option *options, size_t num_options, cli_output *output, FILE *table) {
    float *energy = app_alloc(app, a->num, sizeof *energy, "the energies");
    double *log_weights = energy ? app_alloc(app, a->num, sizeof *log_weights, "the weights") : NULL;
    double *own_energies = a->columns[0].values,
           *energies = log_weights ? app_alloc(app, a->num, sizeof *energies, "the energies") : NULL;
    exit_code code = energies ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    json_t *points = json_array();
    output_line(output, "%10s %10s %11s    %-9s %10s", scan->name, "ESS", "mean energy", "", "variance");
    for (size_t k = 0; k < scan->num && code == EXIT_CODE_OK; k++) {
        const double value = scan->first + (scan->last - scan->first) * (double)k / (double)(scan->num - 1);
        eqf_potential_options potential = a->potential;
        code = average_set_constant(app, scan, value, options, num_options, flags, &potential);
        if (code == EXIT_CODE_OK) code = reweigh(app, a, &potential, energy, log_weights);
        for (size_t b = 0; b < a->num && code == EXIT_CODE_OK; b++) energies[b] = energy[b];
        a->columns[0].values = energies;
        if (code == EXIT_CODE_OK) code = print_point(app, flags, a, log_weights, value, output, points, table);
        a->columns[0].values = own_energies;
    }
    if (code == EXIT_CODE_OK)
        output_json(output, "scan", points);
    else
        json_decref(points);
    free(energy);
    free(log_weights);
    free(energies);
    return code;
}

static exit_code write_table_heading(cli_app *app, const averages *a, const scan_range *scan, text_file *table) {
    const exit_code code = text_begin(app, table);
    if (code != EXIT_CODE_OK) return code;
    fprintf(table->stream, "%s,ess_fraction", scan->name);
    for (size_t c = 0; c < a->num_columns; c++) {
        const char *name = a->columns[c].name;
        fprintf(table->stream, ",%s,%s_standard_error,%s_variance,%s_variance_standard_error", name, name, name, name);
    }
    fputc('\n', table->stream);
    return EXIT_CODE_OK;
}

exit_code scan_run(cli_app *app, const average_flags *flags, averages *a, const scan_range *scan,
                   const cli_option *options, size_t num_options, cli_output *output) {
    text_file table = {NULL, NULL, 0};
    if (!flags->table_path) return run_points(app, flags, a, scan, options, num_options, output, NULL);
    exit_code code = write_table_heading(app, a, scan, &table);
    if (code == EXIT_CODE_OK) code = run_points(app, flags, a, scan, options, num_options, output, table.stream);
    return text_end(app, &table, flags->table_path, code);
}
