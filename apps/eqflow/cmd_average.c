#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"
#include "eqflow/observable.h"

#include "commands.h"
#include "files.h"
#include "options.h"
#include "output.h"
#include "system.h"
#include "work.h"

enum { MOST_OBSERVABLES = 16, MOST_POINTS = 1000 };

typedef struct average_flags {
    const char *data_path, *preset_name, *log_weights_path, *scan_text;
    const char *table_path, *pairs_path, *histograms_path;
    cli_list observables, texts;
    uint64_t num_blocks, num_bins;
    double neighbours, pair_range;
    bool is_neighbours_set, is_pair_range_set;
    system_flags system;
} average_flags;

/* One observable of every configuration. */
typedef struct column {
    const char *name, *title;
    double *values; /* [num] */
} column;

typedef struct averages {
    eqf_potential_options potential; /* whose equilibrium, or whose energies in the weights, the configurations are of */
    eqf_array x;                     /* [num, N, D] */
    size_t num;
    float *energy;        /* [num], at that potential */
    double *log_weights;  /* [num], of the file; zeros */
    column columns[MOST_OBSERVABLES + 1]; /* the energy first */
    size_t num_columns;
} averages;

/* A constant of the potential that takes num values from first to last. */
typedef struct scan {
    char name[64];
    double first, last;
    size_t num; /* 0: no scan */
} scan;

static void clear(averages *a) {
    eqf_array_clear(&a->x);
    free(a->energy);
    free(a->log_weights);
    for (size_t c = 0; c < a->num_columns; c++) free(a->columns[c].values);
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static exit_code read_log_weights(cli_app *app, const average_flags *flags, averages *a) {
    a->log_weights = app_alloc(app, a->num, sizeof *a->log_weights, "the weights");
    if (!a->log_weights) return EXIT_CODE_DEVICE;
    for (size_t b = 0; b < a->num; b++) a->log_weights[b] = 0;
    if (!flags->log_weights_path) return EXIT_CODE_OK;
    eqf_array array = EQF_ARRAY_INIT;
    eqf_status status = eqf_array_read_npy(app->ctx, flags->log_weights_path, &array);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    exit_code code = EXIT_CODE_OK;
    if (array.num_dims != 1 || array.shape[0] != a->num) {
        code = app_fail(app, EXIT_CODE_INPUT, "%s holds %zu numbers, but there are %zu configurations", flags->log_weights_path,
                        eqf_array_count(&array), a->num);
    }
    bool has_weight = false;
    for (size_t b = 0; code == EXIT_CODE_OK && b < a->num; b++) {
        a->log_weights[b] = array.data[b];
        has_weight = has_weight || isfinite(array.data[b]);
        if (isnan(array.data[b]) || array.data[b] == INFINITY)
            code = app_fail(app, EXIT_CODE_INPUT, "%s: logarithm %zu (counted from 0) of a weight is not a number below infinity",
                            flags->log_weights_path, b);
    }
    if (code == EXIT_CODE_OK && !has_weight) code = app_fail(app, EXIT_CODE_INPUT, "%s: every weight is zero", flags->log_weights_path);
    eqf_array_clear(&array);
    return code;
}

static exit_code add_column(cli_app *app, averages *a, const char *name, const char *title) {
    if (a->num_columns == sizeof a->columns / sizeof a->columns[0])
        return app_fail(app, EXIT_CODE_USAGE, "more than %d observables", MOST_OBSERVABLES);
    column *c = &a->columns[a->num_columns];
    *c = (column){name, title, app_alloc(app, a->num, sizeof *c->values, "the observable")};
    if (!c->values) return EXIT_CODE_DEVICE;
    a->num_columns++;
    return EXIT_CODE_OK;
}

static exit_code evaluate_energy(cli_app *app, averages *a) {
    a->energy = app_alloc(app, a->num, sizeof *a->energy, "the energies");
    exit_code code = a->energy ? work_energy(app, &a->potential, a->num, a->x.data, a->energy) : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) code = add_column(app, a, "energy", "energy (kT)");
    for (size_t b = 0; code == EXIT_CODE_OK && b < a->num; b++) {
        a->columns[0].values[b] = a->energy[b];
        if (!isfinite(a->energy[b])) a->log_weights[b] = -INFINITY; /* outside the potential's domain */
    }
    return code;
}

static exit_code evaluate_row(cli_app *app, const average_flags *flags, averages *a, const eqf_observable *row) {
    exit_code code = add_column(app, a, row->name, row->title);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_observable_evaluate(app->ctx, row, a->potential.num_particles, a->potential.space_dim, flags->neighbours,
                                                a->num, a->x.data, a->columns[a->num_columns - 1].values);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

static exit_code evaluate_text(cli_app *app, averages *a, const char *path) {
    eqf_potential_options of = a->potential;
    char *text = NULL;
    eqf_status status = eqf_potential_read_source(app->ctx, path, &text);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    const char *slash = strrchr(path, '/');
    of.source = text;
    of.source_name = slash ? slash + 1 : path;
    exit_code code = add_column(app, a, of.source_name, of.source_name);
    if (code == EXIT_CODE_OK) {
        status = eqf_observable_evaluate_text(app->ctx, &of, a->num, a->x.data, a->columns[a->num_columns - 1].values);
        if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    eqf_free(text);
    return code;
}

static exit_code evaluate_columns(cli_app *app, const average_flags *flags, averages *a) {
    exit_code code = evaluate_energy(app, a);
    size_t num_rows;
    const eqf_observable *rows = eqf_observables(&num_rows);
    for (size_t o = 0; o < flags->observables.num_texts && code == EXIT_CODE_OK; o++) {
        const eqf_observable *row = eqf_observable_find(flags->observables.texts[o]);
        code = evaluate_row(app, flags, a, row);
    }
    for (size_t r = 0; r < num_rows && flags->observables.num_texts == 0 && code == EXIT_CODE_OK; r++)
        if (a->potential.space_dim >= rows[r].least_dim) code = evaluate_row(app, flags, a, &rows[r]);
    for (size_t t = 0; t < flags->texts.num_texts && code == EXIT_CODE_OK; t++) code = evaluate_text(app, a, flags->texts.texts[t]);
    return code;
}

/* ---- Averages --------------------------------------------------------------------------------- */

static exit_code moments_of(cli_app *app, const average_flags *flags, const averages *a, const double *log_weights, size_t column_index,
                            eqf_moments *moments) {
    *moments = (eqf_moments)EQF_MOMENTS_INIT;
    size_t num_blocks = (size_t)flags->num_blocks < a->num ? (size_t)flags->num_blocks : a->num;
    const eqf_status status =
        eqf_estimate_moments(a->num, log_weights, a->columns[column_index].values, num_blocks, moments);
    if (status == EQF_OK) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_FAILURE, "%s has no average: too few configurations with any weight, or values that are not finite",
                    a->columns[column_index].name);
}

static json_t *json_of(const eqf_moments *m) {
    return json_pack("{s:o, s:o, s:o, s:o}", "mean", output_real(m->mean), "standard_error", output_real(m->mean_standard_error),
                     "variance", output_real(m->variance), "variance_standard_error", output_real(m->variance_standard_error));
}

/* Log-weights at another potential: each configuration's energy changes its weight. new_energy_out [num] too. */
static exit_code reweigh(cli_app *app, const averages *a, const eqf_potential_options *potential, float *new_energy_out,
                         double *log_weights_out) {
    exit_code code = work_energy(app, potential, a->num, a->x.data, new_energy_out);
    for (size_t b = 0; b < a->num && code == EXIT_CODE_OK; b++) {
        const double change = (double)new_energy_out[b] - (double)a->energy[b];
        log_weights_out[b] = a->log_weights[b] == -INFINITY || isnan(change) ? -INFINITY : a->log_weights[b] - change;
    }
    return code;
}

/* ---- A scan ----------------------------------------------------------------------------------- */

static exit_code parse_scan(cli_app *app, const char *text, scan *scan_out) {
    *scan_out = (scan){.num = 0};
    if (!text) return EXIT_CODE_OK;
    const char *equals = strchr(text, '='), *first = equals ? strchr(equals, ':') : NULL, *second = first ? strchr(first + 1, ':') : NULL;
    char numbers[3][64];
    double values[3];
    if (!second || equals == text || (size_t)(equals - text) >= sizeof scan_out->name)
        return app_fail(app, EXIT_CODE_USAGE, "--scan %s: give NAME=FIRST:LAST:COUNT, such as temperature=0.8:1.2:9", text);
    const char *begins[3] = {equals + 1, first + 1, second + 1}, *ends[3] = {first, second, second + 1 + strlen(second + 1)};
    for (size_t n = 0; n < 3; n++) {
        if ((size_t)(ends[n] - begins[n]) >= sizeof numbers[n]) return app_fail(app, EXIT_CODE_USAGE, "--scan %s: a number is too long", text);
        snprintf(numbers[n], sizeof numbers[n], "%.*s", (int)(ends[n] - begins[n]), begins[n]);
        if (!options_number(numbers[n], &values[n])) return app_fail(app, EXIT_CODE_USAGE, "--scan %s: '%s' is no number", text, numbers[n]);
    }
    if (!(values[2] >= 2 && values[2] <= MOST_POINTS && values[2] == floor(values[2])))
        return app_fail(app, EXIT_CODE_USAGE, "--scan %s: the count must be a whole number from 2 to %d", text, MOST_POINTS);
    snprintf(scan_out->name, sizeof scan_out->name, "%.*s", (int)(equals - text), text);
    scan_out->first = values[0];
    scan_out->last = values[1];
    scan_out->num = (size_t)values[2];
    return EXIT_CODE_OK;
}

/* Sets the scanned constant: one of the command line's flags, or a constant of an own potential. */
static exit_code set_scanned(cli_app *app, const scan *scan, double value, const cli_option *options, size_t num_options,
                             const average_flags *flags, eqf_potential_options *potential) {
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
    return app_fail(app, EXIT_CODE_USAGE, "--scan %s: the potential has no constant of this name", scan->name);
}

/* One line for people: the energy at a point. */
static void print_row(cli_output *output, double value, double ess_fraction, const eqf_moments *energy) {
    char texts[6][32];
    output_line(output, "%10s %10s %11s +- %-9s %10s +- %s", output_format(value, texts[0]), output_format(ess_fraction, texts[1]),
                output_format(energy->mean, texts[2]), output_format(energy->mean_standard_error, texts[3]),
                output_format(energy->variance, texts[4]), output_format(energy->variance_standard_error, texts[5]));
}

/* Prints one point: to people, to JSON, to the table. */
static exit_code print_point(cli_app *app, const average_flags *flags, const averages *a, const double *log_weights, double value,
                             cli_output *output, json_t *points, FILE *table) {
    eqf_weight_summary weights = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_weights(a->num, log_weights, &weights) != EQF_OK)
        return app_fail(app, EXIT_CODE_FAILURE, "at %g no configuration has any weight: the scan goes too far", value);
    json_t *point = json_pack("{s:o, s:o}", "value", output_real(value), "ess_fraction", output_real(weights.ess_fraction));
    if (table) fprintf(table, "%.9g,%.9g", value, weights.ess_fraction);
    for (size_t c = 0; c < a->num_columns; c++) {
        eqf_moments m;
        const exit_code code = moments_of(app, flags, a, log_weights, c, &m);
        if (code != EXIT_CODE_OK) {
            json_decref(point);
            return code;
        }
        if (c == 0) print_row(output, value, weights.ess_fraction, &m);
        json_object_set_new(point, a->columns[c].name, json_of(&m));
        if (table) fprintf(table, ",%.9g,%.9g,%.9g,%.9g", m.mean, m.mean_standard_error, m.variance, m.variance_standard_error);
    }
    if (table) fputc('\n', table);
    json_array_append_new(points, point);
    return EXIT_CODE_OK;
}

/* Energies, and so the averages of them, are of each point's own potential. */
static exit_code run_scan(cli_app *app, const average_flags *flags, averages *a, const scan *scan, const cli_option *options,
                          size_t num_options, cli_output *output, FILE *table) {
    float *energy = app_alloc(app, a->num, sizeof *energy, "the energies");
    double *log_weights = energy ? app_alloc(app, a->num, sizeof *log_weights, "the weights") : NULL;
    double *own_energies = a->columns[0].values, *energies = log_weights ? app_alloc(app, a->num, sizeof *energies, "the energies") : NULL;
    exit_code code = energies ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    json_t *points = json_array();
    output_line(output, "%10s %10s %11s    %-9s %10s", scan->name, "ESS", "mean energy", "", "variance");
    for (size_t k = 0; k < scan->num && code == EXIT_CODE_OK; k++) {
        const double value = scan->first + (scan->last - scan->first) * (double)k / (double)(scan->num - 1);
        eqf_potential_options potential = a->potential;
        code = set_scanned(app, scan, value, options, num_options, flags, &potential);
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

/* ---- Files ------------------------------------------------------------------------------------ */

/* A CSV text that is written whole when it is done. */
typedef struct text_file {
    FILE *stream;
    char *text;
    size_t size;
} text_file;

static exit_code begin_text(cli_app *app, text_file *file) {
    *file = (text_file){NULL, NULL, 0};
    file->stream = open_memstream(&file->text, &file->size);
    return file->stream ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_DEVICE, "out of memory for a table");
}

static exit_code end_text(cli_app *app, text_file *file, const char *path, exit_code code) {
    if (file->stream && fclose(file->stream) != 0 && code == EXIT_CODE_OK) code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for a table");
    if (code == EXIT_CODE_OK) code = files_write(app, path, file->text, file->size);
    free(file->text);
    return code;
}

static exit_code write_pairs(cli_app *app, const average_flags *flags, const averages *a) {
    if (!flags->pairs_path) return EXIT_CODE_OK;
    const size_t num_bins = (size_t)flags->num_bins;
    double *density = app_alloc(app, 2 * num_bins, sizeof *density, "the pair distribution"), *error = density + num_bins;
    if (!density) return EXIT_CODE_DEVICE;
    const eqf_status status =
        eqf_observable_pair_density(a->potential.num_particles, a->potential.space_dim, a->num, a->x.data, a->log_weights, 0,
                                    flags->pair_range, num_bins, density, error);
    text_file file = {NULL, NULL, 0};
    exit_code code = status == EQF_OK ? begin_text(app, &file) : app_fail(app, EXIT_CODE_DEVICE, "no pair distribution: out of memory");
    if (code == EXIT_CODE_OK) fputs("low,high,density,density_standard_error\n", file.stream);
    const double width = flags->pair_range / (double)num_bins;
    for (size_t k = 0; k < num_bins && code == EXIT_CODE_OK; k++)
        fprintf(file.stream, "%.9g,%.9g,%.9g,%.9g\n", width * (double)k, width * (double)(k + 1), density[k], error[k]);
    free(density);
    return end_text(app, &file, flags->pairs_path, code);
}

/* Of all observables, each over its own range of values. */
static exit_code write_histograms(cli_app *app, const average_flags *flags, const averages *a) {
    if (!flags->histograms_path) return EXIT_CODE_OK;
    const size_t num_bins = (size_t)flags->num_bins;
    double *density = app_alloc(app, num_bins, sizeof *density, "the histograms");
    text_file file = {NULL, NULL, 0};
    exit_code code = density ? begin_text(app, &file) : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) fputs("observable,low,high,density\n", file.stream);
    for (size_t c = 0; c < a->num_columns && code == EXIT_CODE_OK; c++) {
        double low = INFINITY, high = -INFINITY;
        for (size_t b = 0; b < a->num; b++) {
            if (a->log_weights[b] == -INFINITY || !isfinite(a->columns[c].values[b])) continue;
            low = fmin(low, a->columns[c].values[b]);
            high = fmax(high, a->columns[c].values[b]);
        }
        const double margin = high > low ? 1e-6 * (high - low) : 0.5;
        low -= margin;
        high += margin;
        if (eqf_estimate_histogram(a->num, a->columns[c].values, a->log_weights, low, high, num_bins, density) != EQF_OK)
            code = app_fail(app, EXIT_CODE_FAILURE, "%s has no histogram", a->columns[c].name);
        const double width = (high - low) / (double)num_bins;
        for (size_t k = 0; k < num_bins && code == EXIT_CODE_OK; k++)
            fprintf(file.stream, "%s,%.9g,%.9g,%.9g\n", a->columns[c].name, low + width * (double)k, low + width * (double)(k + 1),
                    density[k]);
    }
    free(density);
    return end_text(app, &file, flags->histograms_path, code);
}

/* ---- Results ---------------------------------------------------------------------------------- */

static exit_code print_averages(cli_app *app, const average_flags *flags, const averages *a, cli_output *output) {
    eqf_weight_summary weights = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_weights(a->num, a->log_weights, &weights) != EQF_OK)
        return app_fail(app, EXIT_CODE_FAILURE, "no configuration has any weight");
    output_count(output, "num_samples", "configurations", a->num);
    output_number(output, "ess_fraction", "effective sample size (fraction)", weights.ess_fraction, NULL);
    output_number(output, "max_weight_fraction", "largest weight (fraction of all)", weights.max_weight_fraction, NULL);
    json_t *all = json_object();
    exit_code code = EXIT_CODE_OK;
    for (size_t c = 0; c < a->num_columns && code == EXIT_CODE_OK; c++) {
        eqf_moments m;
        code = moments_of(app, flags, a, a->log_weights, c, &m);
        if (code != EXIT_CODE_OK) break;
        json_object_set_new(all, a->columns[c].name, json_of(&m));
        char texts[4][32];
        output_line(output, "%-24s %12s +- %-10s variance %s +- %s", a->columns[c].title, output_format(m.mean, texts[0]),
                    output_format(m.mean_standard_error, texts[1]), output_format(m.variance, texts[2]),
                    output_format(m.variance_standard_error, texts[3]));
    }
    if (code == EXIT_CODE_OK)
        output_json(output, "averages", all);
    else
        json_decref(all);
    return code;
}

static exit_code write_table_heading(cli_app *app, const averages *a, const scan *scan, text_file *table) {
    const exit_code code = begin_text(app, table);
    if (code != EXIT_CODE_OK) return code;
    fprintf(table->stream, "%s,ess_fraction", scan->name);
    for (size_t c = 0; c < a->num_columns; c++) {
        const char *name = a->columns[c].name;
        fprintf(table->stream, ",%s,%s_standard_error,%s_variance,%s_variance_standard_error", name, name, name, name);
    }
    fputc('\n', table->stream);
    return EXIT_CODE_OK;
}

static exit_code print_all(cli_app *app, const average_flags *flags, averages *a, const scan *scan, const cli_option *options,
                           size_t num_options) {
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    code = print_averages(app, flags, a, &output);
    if (code == EXIT_CODE_OK && scan->num > 0) {
        text_file table = {NULL, NULL, 0};
        if (flags->table_path) code = write_table_heading(app, a, scan, &table);
        if (code == EXIT_CODE_OK) code = run_scan(app, flags, a, scan, options, num_options, &output, table.stream);
        if (flags->table_path) code = end_text(app, &table, flags->table_path, code);
    }
    output_text(&output, "table_output", flags->table_path ? "table in" : NULL, flags->table_path);
    output_text(&output, "pairs_output", flags->pairs_path ? "pair distribution in" : NULL, flags->pairs_path);
    output_text(&output, "histograms_output", flags->histograms_path ? "histograms in" : NULL, flags->histograms_path);
    if (code == EXIT_CODE_OK) return output_finish(&output);
    output_abandon(&output);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------ */

static exit_code check_flags(cli_app *app, const average_flags *flags, scan *scan_out) {
    const files_use uses[] = {{"--table", flags->table_path, true},
                              {"--pairs", flags->pairs_path, true},
                              {"--histograms", flags->histograms_path, true},
                              {"FILE", flags->data_path, false},
                              {"--log-weights", flags->log_weights_path, false},
                              {"--potential", flags->system.potential_path, false}};
    exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code == EXIT_CODE_OK) code = parse_scan(app, flags->scan_text, scan_out);
    if (code == EXIT_CODE_OK && flags->table_path && scan_out->num == 0)
        code = app_fail(app, EXIT_CODE_USAGE, "--table belongs to --scan, which is missing");
    if (code == EXIT_CODE_OK && !flags->preset_name && !flags->system.potential_path)
        code = app_fail(app, EXIT_CODE_USAGE, "--preset PRESET or --potential FILE.cl is missing: whose configurations are these?");
    for (size_t o = 0; o < flags->observables.num_texts && code == EXIT_CODE_OK; o++)
        if (!eqf_observable_find(flags->observables.texts[o]))
            code = app_fail(app, EXIT_CODE_USAGE, "unknown observable '%s'; see eqflow average --help", flags->observables.texts[o]);
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->table_path, "the table");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->pairs_path, "the pair distribution");
    return code == EXIT_CODE_OK ? files_check_writable(app, flags->histograms_path, "the histograms") : code;
}

static void print_observables(FILE *stream) {
    size_t num;
    const eqf_observable *rows = eqf_observables(&num);
    fputs("\nObservables:\n  energy               reduced, always there; its variance is the heat capacity / k\n", stream);
    for (size_t r = 0; r < num; r++) fprintf(stream, "  %-20s %s\n", rows[r].name, rows[r].title);
}

static exit_code average(cli_app *app, average_flags *flags, const scan *scan, const cli_option *options, size_t num_options) {
    eqf_preset preset;
    averages a = {.x = EQF_ARRAY_INIT};
    exit_code code = app_create_context(app);
    if (code == EXIT_CODE_OK) code = system_choose(app, &flags->system, flags->preset_name, &preset);
    if (code != EXIT_CODE_OK) return code;
    a.potential = preset.model->potential;
    if (!flags->is_neighbours_set) flags->neighbours = 1.4 * eqf_potential_length(&a.potential);
    if (!flags->is_pair_range_set) flags->pair_range = 2 * eqf_potential_length(&a.potential) * pow(a.potential.num_particles, 1.0 / a.potential.space_dim);
    code = work_read_configurations(app, flags->data_path, &a.potential, &a.x);
    a.num = code == EXIT_CODE_OK ? a.x.shape[0] : 0;
    if (code == EXIT_CODE_OK && a.num < 2) code = app_fail(app, EXIT_CODE_INPUT, "%s: an average needs 2 configurations", flags->data_path);
    if (code == EXIT_CODE_OK) code = read_log_weights(app, flags, &a);
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) code = system_verify(app, &a.potential);
    if (code == EXIT_CODE_OK) code = evaluate_columns(app, flags, &a);
    if (code == EXIT_CODE_OK) code = write_pairs(app, flags, &a);
    if (code == EXIT_CODE_OK) code = write_histograms(app, flags, &a);
    if (code == EXIT_CODE_OK) code = print_all(app, flags, &a, scan, options, num_options);
    clear(&a);
    return code;
}

exit_code cmd_average(cli_app *app) {
    const char *const operands[] = {"FILE", NULL};
    const command_help help = {
        .usage = "FILE --preset PRESET [options]",
        .description = "Averages of observables over configurations (.npy or extended XYZ), weighted or not: mean and variance with "
                       "errors by the jackknife over contiguous blocks. A scan reweights the same configurations to other "
                       "temperatures or constants; its ESS says how far that carries.",
        .operands = operands,
        .examples = "  eqflow average lj13.npy --preset lj13 --scan temperature=0.8:1.2:9\n"
                    "  eqflow average walkers.npy --preset lj13 --log-weights lw.npy\n"
                    "  eqflow average x.npy --preset dw4 --observable-text mine.cl --pairs g.csv\n",
        .print_more = print_observables,
    };
    average_flags flags = {.num_blocks = 50, .num_bins = 100};
    enum { NUM_OWN_OPTIONS = 12 };
    cli_option options[NUM_OWN_OPTIONS + SYSTEM_NUM_OPTIONS] = {
        {.kind = OPTION_TEXT, .name = "preset", .argument = "PRESET", .value = &flags.preset_name,
         .help = "the potential of the configurations"},
        {.kind = OPTION_TEXT, .name = "log-weights", .argument = "FILE.npy", .value = &flags.log_weights_path,
         .help = "logarithms of their weights, [B]; else all weigh the same"},
        {.kind = OPTION_LIST, .name = "observable", .argument = "NAME", .value = &flags.observables, .default_text = "all",
         .help = "one of those below; may be given several times"},
        {.kind = OPTION_LIST, .name = "observable-text", .argument = "FILE.cl", .value = &flags.texts,
         .help = "one of your own, OpenCL C: real observable(const real *x)"},
        {.kind = OPTION_NUMBER, .name = "neighbours", .argument = "LENGTH", .value = &flags.neighbours,
         .is_set = &flags.is_neighbours_set, .low = DBL_MIN, .high = DBL_MAX, .default_text = "1.4 typical distances",
         .help = "particles closer than this have a bond (q4, q6)"},
        {.kind = OPTION_COUNT, .name = "blocks", .argument = "COUNT", .value = &flags.num_blocks, .low = 2, .high = 1e6,
         .help = "contiguous blocks for the errors; each must be longer than a chain's memory"},
        {.kind = OPTION_TEXT, .name = "scan", .argument = "NAME=FIRST:LAST:COUNT", .value = &flags.scan_text,
         .help = "the averages at other values of a constant, such as temperature=0.8:1.2:9"},
        {.kind = OPTION_TEXT, .name = "table", .argument = "FILE.csv", .value = &flags.table_path, .help = "the scan, with all observables"},
        {.kind = OPTION_TEXT, .name = "pairs", .argument = "FILE.csv", .value = &flags.pairs_path,
         .help = "density of other particles around a particle, over distance"},
        {.kind = OPTION_NUMBER, .name = "pair-range", .argument = "LENGTH", .value = &flags.pair_range, .is_set = &flags.is_pair_range_set,
         .low = DBL_MIN, .high = DBL_MAX, .default_text = "twice the cluster's size", .help = "its largest distance"},
        {.kind = OPTION_TEXT, .name = "histograms", .argument = "FILE.csv", .value = &flags.histograms_path,
         .help = "of every observable"},
        {.kind = OPTION_COUNT, .name = "bins", .argument = "COUNT", .value = &flags.num_bins, .low = 1, .high = 100000,
         .help = "of the pair density and of each histogram"},
    };
    size_t num_options = NUM_OWN_OPTIONS;
    num_options += system_options(&flags.system, SYSTEM_OF_EITHER, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    scan scan;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.data_path = words[0];
    code = check_flags(app, &flags, &scan);
    return code == EXIT_CODE_OK ? average(app, &flags, &scan, options, num_options) : code;
}
