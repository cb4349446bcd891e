#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/minima.h"

#include "commands.h"
#include "files.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "system.h"
#include "work.h"

enum { DEFAULT_NUM_STARTS = 1000 };

typedef struct minima_flags {
    const char *source, *preset, *xyz, *each, *quenched;
    uint64_t num, num_rows, max_steps;
    double tolerance, distance_tolerance;
    bool has_num, has_random_starts, is_float;
    system_flags system;
} minima_flags;

/* The configurations, their quenches and the minima. */
typedef struct quenched {
    eqf_potential_options potential;
    size_t num;
    float *starts;             /* [num, N, D] */
    double *x;                 /* [num, N, D] */
    double *energy;            /* [num] */
    eqf_quench_result *result; /* [num] */
    size_t *minimum_of;        /* [num]: index in minima; EQF_NO_MINIMUM: none */
    eqf_quench_summary summary;
    eqf_minimum *minima; /* [num_minima], lowest first */
    size_t num_minima;
} quenched;

static void quenched_clear(quenched *work) {
    free(work->starts);
    free(work->x);
    free(work->energy);
    free(work->result);
    free(work->minimum_of);
    eqf_free(work->minima);
}

/* ---- Where the configurations come from ----------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static exit_code alloc_starts(cli_app *app, quenched *work) {
    size_t num_dof = (size_t)work->potential.num_particles * work->potential.space_dim;
    work->starts = app_alloc(app, work->num, sizeof(float) * num_dof, "that many configurations");
    return work->starts ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
}

static exit_code make_random_starts(cli_app *app, const minima_flags *flags, quenched *work) {
    work->num = flags->has_num ? (size_t)flags->num : DEFAULT_NUM_STARTS;
    exit_code code = alloc_starts(app, work);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_minima_random_starts(app->ctx, &work->potential, app->seed, 0, work->num, work->starts);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

static exit_code starts_of_preset(cli_app *app, const char *name, const minima_flags *flags, quenched *work) {
    eqf_preset preset;
    exit_code code = system_choose(app, &flags->system, name, &preset);
    if (code != EXIT_CODE_OK) return code;
    work->potential = preset.model->potential;
    if ((code = app_open(app)) != EXIT_CODE_OK) return code;
    return make_random_starts(app, flags, work);
}

static exit_code starts_of_file(cli_app *app, const minima_flags *flags, quenched *work) {
    eqf_preset preset;
    if (!flags->preset && !flags->system.potential_path) {
        return app_fail(app, EXIT_CODE_USAGE,
                        "--preset PRESET is missing: configurations do not say what their potential is; see eqflow "
                        "minima --help");
    }
    exit_code code = system_choose(app, &flags->system, flags->preset, &preset);
    if (code != EXIT_CODE_OK) return code;
    work->potential = preset.model->potential;
    eqf_array array = EQF_ARRAY_INIT;
    code = work_read_configurations(app, flags->source, &work->potential, &array);
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) {
        work->num = array.shape[0];
        if (flags->has_num && flags->num < work->num) work->num = (size_t)flags->num;
        work->starts = array.data;
        array.data = NULL;
    }
    eqf_array_clear(&array);
    return code;
}

static exit_code sample_model(cli_app *app, const eqf_model *model, const minima_flags *flags, quenched *work) {
    work->num = flags->has_num ? (size_t)flags->num : DEFAULT_NUM_STARTS;
    exit_code code = alloc_starts(app, work);
    if (code != EXIT_CODE_OK) return code;
    eqf_flow *flow = NULL;
    eqf_status status = eqf_flow_create(app->ctx, model, NULL, &flow);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    code = work_sample(app, flow, &work->potential, app->seed, work->num, work->starts, NULL);
    eqf_flow_destroy(&flow);
    return code;
}

static exit_code starts_of_model(cli_app *app, const minima_flags *flags, quenched *work) {
    if (flags->system.is_num_particles_set || flags->system.is_space_dim_set) {
        return app_fail(app, EXIT_CODE_USAGE,
                        "--particles and --space-dim have no meaning here: the model has its own");
    }
    eqf_model *model = NULL;
    eqf_status status = eqf_model_load(app->ctx, flags->source, &model);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    work->potential = eqf_model_options_of(model)->potential;
    exit_code code = system_keep_texts(app, &work->potential); /* the potential outlives the model */
    if (code == EXIT_CODE_OK) code = system_apply(app, &flags->system, &work->potential);
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) {
        code = flags->has_random_starts ? make_random_starts(app, flags, work) : sample_model(app, model, flags, work);
    }
    eqf_model_destroy(&model);
    return code;
}

static exit_code make_starts(cli_app *app, const minima_flags *flags, quenched *work) {
    bool is_preset = !flags->source || eqf_preset_find(flags->source) != NULL,
         is_file = !is_preset && ends_with(flags->source, ".npy");
    if (flags->preset && !is_file) {
        return app_fail(app, EXIT_CODE_USAGE, "--preset goes with FILE.npy only: %s has a potential of its own",
                        flags->source ? flags->source : "--potential");
    }
    if (flags->has_random_starts && is_file) {
        return app_fail(app, EXIT_CODE_USAGE, "--random-starts excludes FILE.npy: name a model or a preset");
    }
    if (is_preset) return starts_of_preset(app, flags->source, flags, work);
    if (is_file) return starts_of_file(app, flags, work);
    /* Not a preset and not an existing file: a mistyped preset is more likely than a missing model. */
    if (!files_exists(flags->source) && !strpbrk(flags->source, "./:")) {
        const eqf_preset *unused;
        return system_find_preset(app, flags->source, &unused);
    }
    return starts_of_model(app, flags, work);
}

/* ---- The quench ----------------------------------------------------------------------------------- */

typedef struct quench_watch {
    cli_app *app;
    cli_progress progress;
} quench_watch;

static int watch_quench(void *user, const eqf_progress *report) {
    quench_watch *watch = user;
    progress_update(&watch->progress, report->done, report->total, NULL);
    return signals_is_stop_requested();
}

static exit_code quench(cli_app *app, const minima_flags *flags, quenched *work) {
    size_t num_dof = (size_t)work->potential.num_particles * work->potential.space_dim;
    exit_code code = system_verify(app, &work->potential);
    if (code != EXIT_CODE_OK) return code;
    work->x = app_alloc(app, work->num, sizeof(double) * num_dof, "that many configurations");
    work->energy = work->x ? app_alloc(app, work->num, sizeof *work->energy, "the energies") : NULL;
    work->result = work->energy ? app_alloc(app, work->num, sizeof *work->result, "the results") : NULL;
    work->minimum_of = work->result ? app_alloc(app, work->num, sizeof *work->minimum_of, "the results") : NULL;
    if (!work->minimum_of) return EXIT_CODE_DEVICE;
    quench_watch watch = {.app = app};
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.precision = flags->is_float ? EQF_QUENCH_FLOAT : EQF_QUENCH_BEST;
    options.gradient_tolerance = flags->tolerance;
    options.max_steps = (unsigned)flags->max_steps;
    options.progress = watch_quench;
    options.progress_user = &watch;
    progress_begin(&watch.progress, app, "quench", "configurations");
    eqf_status status = eqf_minima_quench(app->ctx, &work->potential, &options, work->num, work->starts, work->x,
                                          work->energy, NULL, work->result, &work->summary);
    progress_end(&watch.progress);
    if (status == EQF_ERROR_INTERRUPTED) return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted; nothing written");
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    eqf_minima_group_options grouping = EQF_MINIMA_GROUP_OPTIONS_INIT;
    grouping.distance_tolerance = flags->distance_tolerance;
    status = eqf_minima_group(app->ctx, &work->potential, &grouping, work->num, work->x, work->energy, work->result,
                              &work->minima, &work->num_minima, work->minimum_of);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* ---- Results -------------------------------------------------------------------------------------- */

static exit_code write_xyz(cli_app *app, const quenched *work, const char *path) {
    size_t num_dof = (size_t)work->potential.num_particles * work->potential.space_dim;
    float *x = app_alloc(app, work->num_minima, sizeof(float) * num_dof, "the minima");
    float *energy = x ? app_alloc(app, work->num_minima, sizeof *energy, "the energies") : NULL;
    exit_code code = energy ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        for (size_t m = 0; m < work->num_minima; m++) {
            const double *minimum = work->x + work->minima[m].representative * num_dof;
            for (size_t c = 0; c < num_dof; c++) x[m * num_dof + c] = (float)minimum[c];
            energy[m] = (float)work->minima[m].energy;
        }
        eqf_array array = work_configurations(x, work->num_minima, &work->potential);
        const eqf_frame_value values = {"energy", energy};
        eqf_status status = system_write_xyz(app, path, &array, &work->potential, NULL, 1, &values);
        if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_WRITE);
    }
    free(x);
    free(energy);
    return code;
}

/* The ends of the descents as float32 [num, N, D]. */
static exit_code write_quenched(cli_app *app, const quenched *work, const char *path) {
    const size_t num_values = work->num * work->potential.num_particles * work->potential.space_dim;
    float *x = app_alloc(app, num_values, sizeof *x, "the quenched configurations");
    if (!x) return EXIT_CODE_DEVICE;
    for (size_t i = 0; i < num_values; i++) x[i] = (float)work->x[i];
    const eqf_array array = work_configurations(x, work->num, &work->potential);
    const eqf_status status = eqf_array_write_npy(app->ctx, path, &array);
    free(x);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* One row for each configuration, in their order; minima are numbered from 1, as they are printed. */
static exit_code write_each(cli_app *app, const quenched *work, const char *path) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return app_fail(app, EXIT_CODE_DEVICE, "out of memory for %s", path);
    fputs("configuration,minimum,energy,result\n", stream);
    for (size_t b = 0; b < work->num; b++) {
        fprintf(stream, "%zu,", b);
        if (work->minimum_of[b] < work->num_minima) fprintf(stream, "%zu", work->minimum_of[b] + 1);
        fprintf(stream, ",%.12g,%s\n", work->energy[b], eqf_quench_result_text(work->result[b]));
    }
    exit_code code = fclose(stream) == 0 ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_DEVICE, "out of memory for %s", path);
    if (code == EXIT_CODE_OK) code = files_write(app, path, text, size);
    free(text);
    return code;
}

static exit_code write_files(cli_app *app, const minima_flags *flags, const quenched *work) {
    exit_code code = EXIT_CODE_OK;
    if (flags->xyz) code = write_xyz(app, work, flags->xyz);
    if (code == EXIT_CODE_OK && flags->each) code = write_each(app, work, flags->each);
    if (code == EXIT_CODE_OK && flags->quenched) code = write_quenched(app, work, flags->quenched);
    return code;
}

static void tell_of_doubts(cli_app *app, const minima_flags *flags, const eqf_quench_summary *summary) {
    const size_t *counts = summary->counts;
    if (summary->gradient_tolerance > 1.001 * flags->tolerance && flags->tolerance > 0) {
        app_note(app, "--tolerance %g is below what %s can reach here: %g was used", flags->tolerance,
                 summary->is_double ? "double" : "float", summary->gradient_tolerance);
    }
    if (counts[EQF_QUENCH_UNFINISHED] > 0) {
        app_warn(app, "%zu configurations did not reach a gradient of %g; raise --max-steps or --tolerance",
                 counts[EQF_QUENCH_UNFINISHED], summary->gradient_tolerance);
    }
    if (counts[EQF_QUENCH_SADDLE] > 0) {
        app_warn(app, "%zu configurations still are at saddle points and are not counted", counts[EQF_QUENCH_SADDLE]);
    }
    if (counts[EQF_QUENCH_DISSOCIATED] > 0) {
        app_note(app, "%zu configurations fell into parts too far from each other to come together: not counted",
                 counts[EQF_QUENCH_DISSOCIATED]);
    }
    if (counts[EQF_QUENCH_NON_FINITE] > 0) {
        app_warn(app, "%zu configurations hold NaN or infinities and are not counted", counts[EQF_QUENCH_NON_FINITE]);
    }
}

static json_t *minima_as_json(const quenched *work) {
    json_t *list = json_array();
    for (size_t m = 0; m < work->num_minima; m++) {
        const eqf_minimum *minimum = &work->minima[m];
        json_array_append_new(list, json_pack("{s:o, s:I, s:f}", "energy", output_real(minimum->energy), "count",
                                              (json_int_t)minimum->count, "fraction",
                                              (double)minimum->count / (double)work->num));
    }
    return list;
}

static exit_code print_result(cli_app *app, const minima_flags *flags, const quenched *work) {
    const eqf_quench_summary *summary = &work->summary;
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "xyz_output", flags->xyz ? "extended XYZ in" : NULL, flags->xyz);
    output_text(&output, "each_output", flags->each ? "the minimum of each in" : NULL, flags->each);
    output_text(&output, "quenched_output", flags->quenched ? "ends of the descents in" : NULL, flags->quenched);
    output_count(&output, "num_configurations", "configurations", work->num);
    output_count(&output, "num_minima", "distinct minima", work->num_minima);
    output_count(&output, "num_at_minima", "at a minimum", summary->counts[EQF_QUENCH_MINIMUM]);
    for (eqf_quench_result result = EQF_QUENCH_SADDLE; result < EQF_QUENCH_NUM_RESULTS; result++) {
        char key[32];
        snprintf(key, sizeof key, "num_%s", eqf_quench_result_text(result));
        if (result == EQF_QUENCH_NON_FINITE) snprintf(key, sizeof key, "num_non_finite");
        output_count(&output, key, summary->counts[result] > 0 ? eqf_quench_result_text(result) : NULL,
                     summary->counts[result]);
    }
    output_count(&output, "num_escapes", "saddle points left", summary->num_escapes);
    output_number(&output, "mean_steps", "steps (mean)", summary->mean_steps, NULL);
    output_text(&output, "precision", "precision", summary->is_double ? "double" : "float");
    output_number(&output, "gradient_tolerance", "gradient below (kT per length)", summary->gradient_tolerance, NULL);
    output_count(&output, "seed", NULL, app->seed);
    output_json(&output, "minima", minima_as_json(work));
    if (work->num_minima > 0) output_line(&output, "\n%9s %14s %10s %10s", "minimum", "energy", "count", "fraction");
    for (size_t m = 0; m < work->num_minima && m < flags->num_rows; m++) {
        const eqf_minimum *minimum = &work->minima[m];
        output_line(&output, "%9zu %14.6f %10zu %10.4f", m + 1, minimum->energy, minimum->count,
                    (double)minimum->count / (double)work->num);
    }
    if (work->num_minima > flags->num_rows) {
        output_line(&output, "and %zu more (--rows, --json)", work->num_minima - (size_t)flags->num_rows);
    }
    return output_finish(&output);
}

static void print_more(FILE *stream) {
    system_print_heading(stream, "Constants of the presets");
    system_print_constants(stream);
}

static size_t own_options(minima_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT, .letter = 'n', .name = "num-configurations", .argument = "COUNT", .value = &flags->num,
         .is_set = &flags->has_num, .default_text = "1000; all of a file", .low = 1, .high = 1e9,
         .help = "configurations to quench"},
        {.kind = OPTION_FLAG, .name = "random-starts", .value = &flags->has_random_starts,
         .help = "quench random configurations instead of MODEL's samples"},
        {.kind = OPTION_TEXT, .name = "preset", .argument = "PRESET", .value = &flags->preset,
         .help = "the potential of FILE.npy"},
        {.kind = OPTION_TEXT, .name = "xyz", .argument = "FILE.xyz", .value = &flags->xyz,
         .help = "where one configuration of each minimum goes, lowest first"},
        {.kind = OPTION_TEXT, .name = "each", .argument = "FILE.csv", .value = &flags->each,
         .help = "where the number and energy of each configuration's minimum go"},
        {.kind = OPTION_TEXT, .name = "quenched", .argument = "FILE.npy", .value = &flags->quenched,
         .help = "where the ends of all descents go, float32 [B, N, D]"},
        {.kind = OPTION_NUMBER, .name = "tolerance", .argument = "X", .value = &flags->tolerance,
         .default_text = "from potential and precision", .low = 1e-12, .high = 1e6,
         .help = "quench until the gradient's norm is below this, kT per length"},
        {.kind = OPTION_NUMBER, .name = "same", .argument = "LENGTH", .value = &flags->distance_tolerance,
         .default_text = "0.01 of the potential's", .low = 1e-9, .high = 1e6,
         .help = "minima are equal if particles coincide within this"},
        {.kind = OPTION_COUNT, .name = "max-steps", .argument = "N", .value = &flags->max_steps, .low = 1, .high = 1e9,
         .default_text = "50000", .help = "longest descent"},
        {.kind = OPTION_FLAG, .name = "float", .value = &flags->is_float,
         .help = "compute in float although the device has double"},
        {.kind = OPTION_COUNT, .name = "rows", .argument = "N", .value = &flags->num_rows,
         .help = "minima to print (JSON has all of them)"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_minima(cli_app *app) {
    const char *const operands[] = {"MODEL, FILE.npy or PRESET", NULL};
    const command_help help = {
        .usage = "(MODEL|FILE.npy|PRESET|--potential FILE.cl) [options]",
        .is_last_operand_optional = true,
        .description = "Quenches configurations to minima of the potential and groups those that are equal up to "
                       "rotation, reflection and permutation: samples of MODEL, the configurations of FILE.npy, or "
                       "random starts for PRESET. Saddle points are recognised and left.",
        .operands = operands,
        .examples = "  eqflow minima dw4\n"
                    "  eqflow minima lj13 --epsilon 1 --trap 0 -n 5000 --xyz minima.xyz\n"
                    "  eqflow minima dw4.safetensors -n 1e4\n"
                    "  eqflow minima samples.npy --preset lj13\n",
        .print_more = print_more,
    };
    minima_flags flags = {.num_rows = 20};
    cli_option options[OPTIONS_MAX];
    size_t num_options = own_options(&flags, options);
    num_options += system_options(&flags.system, SYSTEM_OF_EITHER, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.source = words[0];
    if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
    const files_use uses[] = {{"--xyz", flags.xyz, FILES_WRITTEN},
                              {"--each", flags.each, FILES_WRITTEN},
                              {"--quenched", flags.quenched, FILES_NUMPY},
                              {"the input", flags.source, FILES_READ},
                              {"--potential", flags.system.potential_path, FILES_READ}};
    if ((code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses)) != EXIT_CODE_OK) return code;
    if ((code = files_check_writable(app, flags.xyz, "the minima")) != EXIT_CODE_OK ||
        (code = files_check_writable(app, flags.each, "the minimum of each")) != EXIT_CODE_OK ||
        (code = files_check_writable(app, flags.quenched, "the ends of the descents")) != EXIT_CODE_OK)
        return code;
    quenched work = {.summary = EQF_QUENCH_SUMMARY_INIT};
    code = make_starts(app, &flags, &work);
    if (code == EXIT_CODE_OK) code = quench(app, &flags, &work);
    if (code == EXIT_CODE_OK) code = write_files(app, &flags, &work);
    if (code == EXIT_CODE_OK) {
        tell_of_doubts(app, &flags, &work.summary);
        code = print_result(app, &flags, &work);
    }
    quenched_clear(&work);
    return code;
}
