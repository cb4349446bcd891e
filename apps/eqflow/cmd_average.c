#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "commands.h"
#include "eqflow/observable.h"
#include "files.h"

static void clear(averages *a) {
    eqf_array_clear(&a->x);
    free(a->energy);
    free(a->log_weights);
    average_combined_clear(a);
    for (size_t c = 0; c < a->num_columns; c++) free(a->columns[c].values);
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* Takes values [a->num] of the file at path as log-weights. */
static exit_code take_log_weights(cli_app *app, const char *path, const float *values, averages *a) {
    bool has_weight = false;
    for (size_t b = 0; b < a->num; b++) {
        a->log_weights[b] = (double)values[b];
        has_weight = has_weight || isfinite(values[b]);
        if (isnan(values[b]) || values[b] == INFINITY)
            return app_fail(app, EXIT_CODE_INPUT,
                            "%s: logarithm %zu (counted from 0) of a weight is not a number below infinity", path, b);
    }
    a->weights_are = path;
    return has_weight ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_INPUT, "%s: every weight is zero", path);
}

/* The weights of --log-weights, or those of the frames of an extended XYZ file. */
static exit_code read_log_weights(cli_app *app, const average_flags *flags, averages *a) {
    a->weights_are = "equal";
    a->log_weights = app_alloc(app, a->num, sizeof *a->log_weights, "the weights");
    if (!a->log_weights) return EXIT_CODE_DEVICE;
    for (size_t b = 0; b < a->num; b++) a->log_weights[b] = 0;
    if (flags->has_equal_weights || a->combined) return EXIT_CODE_OK;
    const char *path = flags->log_weights_path ? flags->log_weights_path : flags->data_path;
    eqf_array array = EQF_ARRAY_INIT;
    const eqf_status status = flags->log_weights_path ? eqf_array_read_npy(app->ctx, path, &array)
                                                      : eqf_array_read_xyz_values(app->ctx, path, "log_weight", &array);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    exit_code code = EXIT_CODE_OK;
    if (flags->log_weights_path && (array.num_dims != 1 || array.shape[0] != a->num))
        code = app_fail(app, EXIT_CODE_INPUT, "%s holds %zu numbers, but there are %zu configurations", path,
                        eqf_array_count(&array), a->num);
    if (code == EXIT_CODE_OK && array.data) code = take_log_weights(app, path, array.data, a);
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
    eqf_status status =
        eqf_observable_evaluate(app->ctx, row, a->potential.num_particles, a->potential.space_dim, flags->neighbours,
                                a->num, a->x.data, a->columns[a->num_columns - 1].values);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* --observable-constant NAME=X: macros of the observables' texts, which do not have the potential's constants. */
static exit_code set_text_constants(cli_app *app, const average_flags *flags, eqf_potential_options *of) {
    of->num_constants = 0;
    for (size_t c = 0; c < flags->text_constants.num_texts; c++) {
        const char *text = flags->text_constants.texts[c], *equals = strchr(text, '=');
        char name[sizeof of->constants[0].name];
        double value;
        if (!equals || (size_t)(equals - text) >= sizeof name || !options_number(equals + 1, &value))
            return app_fail(app, EXIT_CODE_USAGE, "--observable-constant %s: give NAME=NUMBER", text);
        snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
        const eqf_status status = eqf_potential_set_constant(app->ctx, of, name, value);
        if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    return EXIT_CODE_OK;
}

static exit_code evaluate_text(cli_app *app, const average_flags *flags, averages *a, const char *path) {
    eqf_potential_options of = a->potential;
    const exit_code is_set = set_text_constants(app, flags, &of);
    if (is_set != EXIT_CODE_OK) return is_set;
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
        if (row) code = evaluate_row(app, flags, a, row); /* the energy has its column already */
    }
    for (size_t r = 0; r < num_rows && flags->observables.num_texts == 0 && code == EXIT_CODE_OK; r++)
        if (a->potential.space_dim >= rows[r].least_dim) code = evaluate_row(app, flags, a, &rows[r]);
    for (size_t t = 0; t < flags->texts.num_texts && code == EXIT_CODE_OK; t++)
        code = evaluate_text(app, flags, a, flags->texts.texts[t]);
    return code;
}

/* ---- Averages --------------------------------------------------------------------------------- */

exit_code average_moments(cli_app *app, const average_flags *flags, const averages *a, const double *log_weights,
                          size_t column_index, eqf_moments *moments) {
    *moments = (eqf_moments)EQF_MOMENTS_INIT;
    if (a->combined) return average_combined_moments(app, a, log_weights, a->columns[column_index].values, moments);
    size_t num_blocks = (size_t)flags->num_blocks < a->num ? (size_t)flags->num_blocks : a->num;
    const eqf_status status =
        eqf_estimate_moments(a->num, log_weights, a->columns[column_index].values, num_blocks, moments);
    if (status == EQF_OK) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_FAILURE,
                    "%s has no average: too few configurations with any weight, or values that are not finite",
                    a->columns[column_index].name);
}

json_t *average_json(const eqf_moments *m) {
    return json_pack("{s:o, s:o, s:o, s:o}", "mean", output_real(m->mean), "standard_error",
                     output_real(m->mean_standard_error), "variance", output_real(m->variance),
                     "variance_standard_error", output_real(m->variance_standard_error));
}

/* ---- Results ---------------------------------------------------------------------------------- */

static exit_code print_averages(cli_app *app, const average_flags *flags, const averages *a, cli_output *output) {
    eqf_weight_summary weights = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_weights(a->num, a->log_weights, &weights) != EQF_OK)
        return app_fail(app, EXIT_CODE_FAILURE, "no configuration has any weight");
    output_count(output, "num_samples", "configurations", a->num);
    output_text(output, "log_weights", "weights", a->weights_are);
    average_print_sets(a, output);
    output_number(output, "ess_fraction", "effective sample size (fraction)", weights.ess_fraction, NULL);
    output_number(output, "max_weight_fraction", "largest weight (fraction of all)", weights.max_weight_fraction, NULL);
    json_t *all = json_object();
    exit_code code = EXIT_CODE_OK;
    for (size_t c = 0; c < a->num_columns && code == EXIT_CODE_OK; c++) {
        eqf_moments m;
        code = average_moments(app, flags, a, a->log_weights, c, &m);
        if (code != EXIT_CODE_OK) break;
        json_object_set_new(all, a->columns[c].name, average_json(&m));
        char texts[4][32];
        output_line(output, "%-24s %12s +- %-10s variance %s +- %s", a->columns[c].title,
                    output_format(m.mean, texts[0]), output_format(m.mean_standard_error, texts[1]),
                    output_format(m.variance, texts[2]), output_format(m.variance_standard_error, texts[3]));
    }
    if (code == EXIT_CODE_OK)
        output_json(output, "averages", all);
    else
        json_decref(all);
    return code;
}

/* Copies of one configuration have standard errors of 0. Column 0 is the energy. */
static void warn_of_copies(cli_app *app, const averages *a) {
    for (size_t n = 1; n < a->num; n++)
        if (a->columns[0].values[n] != a->columns[0].values[0]) return;
    app_warn(app, "all %zu configurations have the same energy, so the errors say nothing: are they copies of one?",
             a->num);
}

static exit_code print_all(cli_app *app, const average_flags *flags, averages *a, const scan_range *scan,
                           const cli_option *options, size_t num_options) {
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    code = print_averages(app, flags, a, &output);
    if (code == EXIT_CODE_OK && scan->num > 0) code = scan_run(app, flags, a, scan, options, num_options, &output);
    output_text(&output, "table_output", flags->table_path ? "table in" : NULL, flags->table_path);
    output_text(&output, "pairs_output", flags->pairs_path ? "pair distribution in" : NULL, flags->pairs_path);
    output_text(&output, "histograms_output", flags->histograms_path ? "histograms in" : NULL, flags->histograms_path);
    output_text(&output, "each_output", flags->each_path ? "values of each in" : NULL, flags->each_path);
    output_text(&output, "report_output", flags->report_path ? "report in" : NULL, flags->report_path);
    if (code == EXIT_CODE_OK) code = average_write_report(app, flags, a, scan, output.root);
    if (code == EXIT_CODE_OK)
        code = output_finish(&output);
    else
        output_abandon(&output);
    if (code == EXIT_CODE_OK) warn_of_copies(app, a);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------ */

static exit_code check_flags(cli_app *app, average_flags *flags, scan_range *scan_out) {
    enum { NUM_OWN = 8 };
    files_use uses[NUM_OWN + 2 * CLI_LIST_MAX] = {{"--table", flags->table_path, FILES_WRITTEN},
                                            {"--pairs", flags->pairs_path, FILES_WRITTEN},
                                            {"--histograms", flags->histograms_path, FILES_WRITTEN},
                                            {"--each", flags->each_path, FILES_WRITTEN},
                                            {"--report", flags->report_path, FILES_WRITTEN},
                                            {"FILE", flags->data_path, FILES_READ},
                                            {"--log-weights", flags->log_weights_path, FILES_READ},
                                            {"--potential", flags->system.potential_path, FILES_READ}};
    for (size_t w = 0; w < CLI_LIST_MAX; w++) {
        const char *with = w < flags->with.num_texts ? average_path_of_set(flags->with.texts[w]) : NULL;
        const char *text = w < flags->texts.num_texts ? flags->texts.texts[w] : NULL;
        uses[NUM_OWN + 2 * w] = (files_use){"--with", with, FILES_READ};
        uses[NUM_OWN + 1 + 2 * w] = (files_use){"--observable-text", text, FILES_READ};
    }
    exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code == EXIT_CODE_OK) code = average_check_sets(app, flags);
    if (code == EXIT_CODE_OK) code = scan_choose(app, flags, scan_out);
    if (code == EXIT_CODE_OK && flags->with.num_texts > 0 && flags->log_weights_path)
        code = app_fail(app, EXIT_CODE_USAGE,
                        "--with combines sets without weights of their own: it excludes --log-weights");
    if (code == EXIT_CODE_OK && flags->with.num_texts > 0 && flags->each_path)
        code = app_fail(app, EXIT_CODE_USAGE, "--each has the rows of one file: it excludes --with");
    if (code == EXIT_CODE_OK && flags->has_equal_weights && flags->log_weights_path)
        code = app_fail(app, EXIT_CODE_USAGE, "--equal-weights and --log-weights exclude each other");
    if (code == EXIT_CODE_OK && flags->table_path && scan_out->num == 0)
        code = app_fail(app, EXIT_CODE_USAGE, "--table belongs to --scan, which is missing");
    if (code == EXIT_CODE_OK && !flags->preset_name && !flags->system.potential_path)
        code = app_fail(app, EXIT_CODE_USAGE,
                        "--preset PRESET or --potential FILE.cl is missing: whose configurations are these?");
    for (size_t o = 0; o < flags->observables.num_texts && code == EXIT_CODE_OK; o++)
        if (strcmp(flags->observables.texts[o], "energy") != 0 && /* it is always there */
            !eqf_observable_find(flags->observables.texts[o]))
            code = app_fail(app, EXIT_CODE_USAGE, "unknown observable '%s'; see eqflow average --help",
                            flags->observables.texts[o]);
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->table_path, "the table");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->each_path, "the values");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->report_path, "the report");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->pairs_path, "the pair distribution");
    return code == EXIT_CODE_OK ? files_check_writable(app, flags->histograms_path, "the histograms") : code;
}

static void print_observables(FILE *stream) {
    size_t num;
    const eqf_observable *rows = eqf_observables(&num);
    fputs("\nObservables:\n  energy               reduced, always there; variance: heat capacity / k\n", stream);
    for (size_t r = 0; r < num; r++) fprintf(stream, "  %-20s %s\n", rows[r].name, rows[r].title);
}

static exit_code average(cli_app *app, average_flags *flags, const scan_range *scan, const cli_option *options,
                         size_t num_options) {
    eqf_preset preset;
    averages a = {.x = EQF_ARRAY_INIT};
    exit_code code = app_create_context(app);
    if (code == EXIT_CODE_OK) code = system_choose(app, &flags->system, flags->preset_name, &preset);
    if (code != EXIT_CODE_OK) return code;
    a.potential = preset.model->potential;
    if (!flags->is_neighbours_set) flags->neighbours = 1.4 * eqf_potential_length(&a.potential);
    if (!flags->is_pair_range_set)
        flags->pair_range =
            2 * eqf_potential_length(&a.potential) * pow(a.potential.num_particles, 1.0 / a.potential.space_dim);
    code = work_read_configurations(app, flags->data_path, &a.potential, &a.x);
    a.num = code == EXIT_CODE_OK ? a.x.shape[0] : 0;
    if (code == EXIT_CODE_OK && a.num < 2)
        code = app_fail(app, EXIT_CODE_INPUT, "%s: an average needs 2 configurations", flags->data_path);
    if (code == EXIT_CODE_OK) code = average_read_sets(app, flags, &a);
    if (code == EXIT_CODE_OK) code = read_log_weights(app, flags, &a);
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) code = system_verify(app, &a.potential);
    if (code == EXIT_CODE_OK) code = evaluate_columns(app, flags, &a);
    if (code == EXIT_CODE_OK) code = average_weigh_sets(app, flags, options, num_options, &a);
    if (code == EXIT_CODE_OK) code = average_write_pairs(app, flags, &a);
    if (code == EXIT_CODE_OK) code = average_write_histograms(app, flags, &a);
    if (code == EXIT_CODE_OK) code = average_write_each(app, flags, &a);
    if (code == EXIT_CODE_OK) code = print_all(app, flags, &a, scan, options, num_options);
    clear(&a);
    return code;
}

/* Options of observables. */
static size_t observable_options(average_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .name = "preset",
         .argument = "PRESET",
         .value = &flags->preset_name,
         .help = "the potential of the configurations"},
        {.kind = OPTION_TEXT,
         .name = "log-weights",
         .argument = "FILE.npy",
         .value = &flags->log_weights_path,
         .default_text = "log_weight of the XYZ",
         .help = "logarithms of their weights, [B]; without any all weigh the same"},
        {.kind = OPTION_LIST,
         .name = "with",
         .argument = "NAME=X:FILE",
         .value = &flags->with,
         .help = "configurations made at another value of a constant, such as temperature=1.2:x.npy, weighed together "
                 "with FILE's by "
                 "MBAR; up to 16 times"},
        {.kind = OPTION_FLAG,
         .name = "equal-weights",
         .value = &flags->has_equal_weights,
         .help = "pass over the weights that an XYZ file has"},
        {.kind = OPTION_LIST,
         .name = "observable",
         .argument = "NAME",
         .value = &flags->observables,
         .default_text = "all",
         .help = "one of those below; may be given several times"},
        {.kind = OPTION_LIST,
         .name = "observable-text",
         .argument = "FILE.cl",
         .value = &flags->texts,
         .help = "one of your own, OpenCL C: real observable(const real *x)"},
        {.kind = OPTION_LIST,
         .name = "observable-constant",
         .argument = "NAME=X",
         .value = &flags->text_constants,
         .help = "a macro of those texts; once for each"},
        {.kind = OPTION_NUMBER,
         .name = "neighbours",
         .argument = "LENGTH",
         .value = &flags->neighbours,
         .is_set = &flags->is_neighbours_set,
         .low = DBL_MIN,
         .high = DBL_MAX,
         .default_text = "1.4 typical distances",
         .help = "particles closer than this have a bond (q4, q6)"},
    };
    return OPTIONS_PUT(options_out, rows);
}

/* Options of blocks, scans and tables. */
static size_t table_options(average_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .name = "blocks",
         .argument = "COUNT",
         .value = &flags->num_blocks,
         .low = 2,
         .high = 1e6,
         .help = "contiguous blocks for the errors; each must be longer than a chain's memory"},
        {.kind = OPTION_LIST,
         .name = "scan",
         .argument = "NAME=FIRST:LAST:COUNT",
         .value = &flags->scans,
         .help = "the averages at other values of a constant, such as temperature=0.8:1.2:9"},
        {.kind = OPTION_TEXT,
         .name = "table",
         .argument = "FILE.csv",
         .value = &flags->table_path,
         .help = "the scan, with all observables"},
        {.kind = OPTION_TEXT,
         .name = "pairs",
         .argument = "FILE.csv",
         .value = &flags->pairs_path,
         .help = "density of other particles around a particle, over distance"},
        {.kind = OPTION_NUMBER,
         .name = "pair-range",
         .argument = "LENGTH",
         .value = &flags->pair_range,
         .is_set = &flags->is_pair_range_set,
         .low = DBL_MIN,
         .high = DBL_MAX,
         .default_text = "twice the cluster's size",
         .help = "its largest distance"},
        {.kind = OPTION_TEXT,
         .name = "histograms",
         .argument = "FILE.csv",
         .value = &flags->histograms_path,
         .help = "of every observable"},
        {.kind = OPTION_TEXT,
         .name = "each",
         .argument = "FILE.csv",
         .value = &flags->each_path,
         .help = "the observables of every configuration, in their order"},
        {.kind = OPTION_TEXT,
         .name = "report",
         .argument = "FILE.html",
         .value = &flags->report_path,
         .help = "a page with all of this, drawn: averages, scan, free energies, histograms, pairs"},
        {.kind = OPTION_COUNT,
         .name = "bins",
         .argument = "COUNT",
         .value = &flags->num_bins,
         .low = 1,
         .high = 100000,
         .help = "of the pair density and of each histogram"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_average(cli_app *app) {
    const char *const operands[] = {"FILE", NULL};
    const command_help help = {
        .usage = "FILE --preset PRESET [options]",
        .description =
            "Averages of observables over configurations (.npy or extended XYZ), weighted or not: mean and variance "
            "with errors by the jackknife over contiguous blocks. A scan reweights the same configurations to other "
            "temperatures or constants; its ESS says how far that carries.",
        .operands = operands,
        .examples = "  eqflow average lj13.npy --preset lj13 --temperature 0.8:1.2:9\n"
                    "  eqflow average walkers.npy --preset lj13 --log-weights lw.npy\n"
                    "  eqflow average t0.npy --preset lj13 --with temperature=1.2:t1.npy\n"
                    "  eqflow average x.npy --preset dw4 --observable-text mine.cl --pairs g.csv\n",
        .print_more = print_observables,
    };
    average_flags flags = {.num_blocks = 50, .num_bins = 100};
    cli_option options[OPTIONS_MAX];
    size_t num_options = observable_options(&flags, options);
    num_options += table_options(&flags, options + num_options);
    const size_t first_constant = num_options;
    num_options += system_options(&flags.system, SYSTEM_OF_EITHER, options + num_options);
    for (size_t o = first_constant; o < num_options; o++) options[o].ranges = &flags.ranges;
    const char *words[OPERANDS_MAX];
    exit_code code;
    scan_range scan;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.data_path = words[0];
    code = check_flags(app, &flags, &scan);
    return code == EXIT_CODE_OK ? average(app, &flags, &scan, options, num_options) : code;
}
