#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eqflow/device.h"
#include "eqflow/evaluate.h"
#include "eqflow/preset.h"
#include "eqflow/version.h"

#include "commands.h"
#include "evaluate_figures.h"
#include "files.h"
#include "flow_flags.h"
#include "output.h"
#include "report.h"
#include "report_lights.h"
#include "report_strip.h"
#include "sample_files.h"
#include "system.h"
#include "words.h"
#include "work.h"

typedef struct evaluate_flags {
    const char *model_path, *data_path, *report_path;
    flow_flags flow;
    eqf_flow_options flow_options;
    uint64_t num_samples, max_samples, num_data;
    double ess_error;
    bool is_num_samples_set, is_max_samples_set, is_num_data_set;
    sample_files samples;
    system_flags target;
} evaluate_flags;

enum { MAX_WARNINGS = 16 };

/* The evaluation, with its warnings translated to the program's flags. */
typedef struct evaluated {
    eqf_evaluation *of;
    const eqf_evaluation_figures *figures;
    char texts[MAX_WARNINGS][512], *warnings[MAX_WARNINGS];
    size_t num_warnings;
} evaluated;

static json_t *changes_as_json(const evaluated *result) {
    static const char *const names[EQF_NUM_SYMMETRIES] = {"all", "rotation", "reflection", "translation",
                                                          "permutation"};
    json_t *object = json_object();
    for (int kind = 0; kind < EQF_NUM_SYMMETRIES; kind++) {
        const eqf_log_prob_change *change = &result->figures->changes[kind];
        json_object_set_new(
            object, names[kind],
            json_pack("{s:o, s:o}", "median", output_real(change->median), "largest", output_real(change->largest)));
    }
    return object;
}

static exit_code print_result(cli_app *app, const evaluate_flags *flags, const evaluated *result) {
    evaluate_figure figures[MAX_EVALUATE_FIGURES];
    size_t num = evaluate_figures_list(result->figures, figures);
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    for (size_t i = 0; i < num; i++) {
        if (figures[i].is_count) {
            output_count(&output, figures[i].key, figures[i].label, (uint64_t)figures[i].value);
        } else {
            char note[64] = "";
            if (strcmp(figures[i].key, "log_z") == 0 && isfinite(result->figures->known_log_z)) {
                snprintf(note, sizeof note, "(known: %g)", result->figures->known_log_z);
            }
            output_number(&output, figures[i].key, figures[i].label, figures[i].value, note[0] ? note : NULL);
        }
    }
    output_json(&output, "log_prob_changes", changes_as_json(result));
    output_text(&output, "report", flags->report_path ? "report in" : NULL, flags->report_path);
    sample_files_print(&flags->samples, &output, "output", "samples in");
    json_t *warnings = json_array();
    for (size_t i = 0; i < result->num_warnings; i++) {
        json_array_append_new(warnings, output_json_text(result->warnings[i]));
    }
    output_json(&output, "warnings", warnings);
    code = output_finish(&output);
    for (size_t i = 0; i < result->num_warnings; i++) app_warn(app, "%s", result->warnings[i]);
    return code;
}

/* ---- Report ----------------------------------------------------------------------------------- */

static size_t fill_tiles(const evaluated *result, report_row tiles[4]) {
    size_t num = 0;
    char note[64], text[32];
    snprintf(note, sizeof note, "± %.2g nats, %zu data", result->figures->nll_standard_error,
             result->figures->num_data);
    page_row(&tiles[num++], "Negative log-likelihood", note, "%s",
             isfinite(result->figures->nll) ? (snprintf(text, sizeof text, "%.4f", result->figures->nll), text) : "-");
    if (isfinite(result->figures->kl_direct)) {
        snprintf(note, sizeof note, "± %.2g nats, data against model", result->figures->kl_direct_standard_error);
        page_row(&tiles[num++], "KL divergence", note, "%.4f", result->figures->kl_direct);
    }
    snprintf(note, sizeof note, "± %.2g %%, of %zu samples", 100 * result->figures->ess_fraction_standard_error,
             result->figures->num_samples);
    page_row(&tiles[num++], "Effective sample size", note, "%.*f %%", result->figures->ess_fraction < 0.01 ? 3 : 1,
             100 * result->figures->ess_fraction);
    if (isfinite(result->figures->known_log_z)) {
        snprintf(note, sizeof note, "± %.2g, known: %g", result->figures->log_z_standard_error,
                 result->figures->known_log_z);
    } else {
        snprintf(note, sizeof note, "± %.2g", result->figures->log_z_standard_error);
    }
    page_row(&tiles[num++], "ln Z", note, "%.4f", result->figures->log_z);
    return num;
}

static void describe_potential(const eqf_potential_options *potential, report_row *row) {
    char text[640];
    system_describe(potential, text, sizeof text);
    page_row(row, "target", "", "%s", text);
}

static const eqf_option *dynamics_rows(unsigned kind, size_t index) {
    return eqf_dynamics_option((eqf_dynamics_kind)kind, index);
}

static void describe_field(const eqf_model *model, report_row *row) {
    const eqf_dynamics_options *dynamics = &eqf_model_options_of(model)->dynamics;
    char options[256];
    option_flags_describe(dynamics_rows, dynamics->kind, dynamics, options, sizeof options);
    page_row(row, "field", "", "%s: %s; %zu trained parameters", eqf_dynamics_kind_describe(dynamics->kind)->name,
             options, eqf_model_num_trained(model));
}

static const eqf_option *prior_rows(unsigned kind, size_t index) {
    return eqf_prior_option((eqf_prior_kind)kind, index);
}

static void describe_prior(const eqf_model_options *made, report_row *row) {
    char options[256];
    option_flags_describe(prior_rows, made->prior_kind, made, options, sizeof options);
    page_row(row, "prior", "", "%s: %s", eqf_prior_kind_describe(made->prior_kind)->title, options);
}

enum { MAX_ORIGINS = 16 };

static size_t fill_origins(cli_app *app, const evaluate_flags *flags, const eqf_model *model,
                           const eqf_potential_options *target, const evaluated *result,
                           report_row rows[MAX_ORIGINS]) {
    const eqf_model_options *options = eqf_model_options_of(model);
    size_t num = 0;
    char date[32] = "-", *command = app_command_line(app, NULL);
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    page_row(&rows[num++], "command", "", "%s", command ? command : "-");
    page_row(&rows[num++], "model", "", "%s", flags->model_path);
    page_row(&rows[num++], "data", "", "%s", flags->data_path ? flags->data_path : "made here by Monte Carlo");
    page_row(&rows[num++], "system", "", "%s: %u particles in %u dimensions",
             options->preset[0] ? options->preset : "own", target->num_particles, target->space_dim);
    describe_potential(target, &rows[num++]);
    describe_prior(options, &rows[num++]);
    describe_field(model, &rows[num++]);
    const eqf_flow_options *used = result->figures->flow;
    const eqf_integrator_method_info *method = eqf_integrator_method_describe(used->method);
    if (method->has_step_control) {
        page_row(&rows[num++], "integrator", "", "%s, rtol %g, atol %g (refined: a tenth)", method->title,
                 used->adaptive.rtol, used->adaptive.atol);
    } else {
        page_row(&rows[num++], "integrator", "", "%s, %u steps (refined: %u)", method->title, used->num_steps,
                 2 * used->num_steps);
    }
    page_row(&rows[num++], "seed", "", "%" PRIu64 " (the model's: %" PRIu64 ")", app->seed, options->seed);
    if (eqf_context_device(app->ctx, &device) == EQF_OK) {
        page_row(&rows[num++], "device", "", "%s", device.name);
        page_row(&rows[num++], "platform, driver", "", "%.60s, %.30s", device.platform_name, device.driver_version);
    }
    page_row(&rows[num++], "eqflow", "", "%s, revision %.12s (the model's: %s)", eqf_version(),
             eqf_version_revision(), eqf_model_version(model));
    page_row(&rows[num++], "date", "", "%s", date);
    free(command);
    return num;
}

static size_t fill_figures(const evaluated *result, report_row rows[MAX_EVALUATE_FIGURES]) {
    evaluate_figure figures[MAX_EVALUATE_FIGURES];
    size_t num = evaluate_figures_list(result->figures, figures), num_rows = 0;
    for (size_t i = 0; i < num; i++) {
        char text[32], error[32];
        if (figures[i].is_count) {
            page_row(&rows[num_rows++], figures[i].label, figures[i].note, "%.0f", figures[i].value);
        } else if (i + 1 < num && strstr(figures[i + 1].key, "_standard_error")) { /* one row: value ± error */
            snprintf(error, sizeof error, "%.2g", figures[i + 1].value);
            page_row(&rows[num_rows++], figures[i].label, figures[i].note, "%s ± %s",
                     output_format(figures[i].value, text), error);
        } else if (!strstr(figures[i].key, "_standard_error")) {
            page_row(&rows[num_rows++], figures[i].label, figures[i].note, "%s", output_format(figures[i].value, text));
        }
    }
    return num_rows;
}

static exit_code make_report(cli_app *app, const evaluate_flags *flags, const eqf_model *model,
                             const eqf_potential_options *target, const float *x_data, const evaluated *result) {
    const eqf_model_options *options = eqf_model_options_of(model);
    const eqf_preset *preset = eqf_preset_find(options->preset);
    report_row tiles[4], rows[MAX_EVALUATE_FIGURES], origins[MAX_ORIGINS];
    size_t num_history;
    char title[160], subtitle[512];
    snprintf(title, sizeof title, "%s — equivariant flow evaluated", options->preset[0] ? options->preset : "eqflow");
    snprintf(subtitle, sizeof subtitle, "%s · %s", preset ? preset->title : "own system", flags->model_path);
    const eqf_history_row *history = eqf_model_history(model, &num_history);
    report_light lights[REPORT_MAX_LIGHTS];
    report_strip strip;
    report_strip_make(app, model, &flags->flow_options, &strip);
    const report_content content = {
        .title = title,
        .subtitle = subtitle,
        .num_particles = target->num_particles,
        .space_dim = target->space_dim,
        .num_tiles = fill_tiles(result, tiles),
        .tiles = tiles,
        .num_figures = fill_figures(result, rows),
        .figures = rows,
        .num_origins = fill_origins(app, flags, model, target, result, origins),
        .origins = origins,
        .num_warnings = result->num_warnings,
        .warnings = result->warnings,
        .num_lights = report_fill_lights(result->figures, lights),
        .lights = lights,
        .num_strip = strip.num,
        .num_strip_frames = strip.num_frames,
        .x_strip = strip.x,
        .strip_times = strip.times,
        .num_data = result->figures->num_data,
        .x_data = x_data,
        .energy_data = eqf_evaluation_data_energies(result->of),
        .num_samples = result->figures->num_samples,
        .x_model = eqf_evaluation_samples(result->of),
        .energy_model = eqf_evaluation_sample_energies(result->of),
        .log_weights = eqf_evaluation_log_weights(result->of),
        .log_z = result->figures->log_z,
        .num_history = num_history,
        .history = history,
        .entropy = result->figures->entropy,
        .known_log_z = result->figures->known_log_z,
    };
    const exit_code code = report_write(app, flags->report_path, &content);
    free(strip.x);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------ */

/* Makes test data, with a seed that no training uses. */
static exit_code make_data(cli_app *app, const evaluate_flags *flags, const eqf_preset *preset,
                           const eqf_potential_options *target, float **x_out, size_t *num_out) {
    eqf_mcmc_options options = preset ? *preset->mcmc : (eqf_mcmc_options)EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    options.seed = app_seed_for(app->seed, "test data");
    *num_out = (size_t)(flags->is_num_data_set ? flags->num_data : flags->num_samples);
    *x_out = app_alloc(app, *num_out, sizeof(float) * target->num_particles * target->space_dim, "the test data");
    if (!*x_out) return EXIT_CODE_DEVICE;
    app_note(app, "no --data: making %zu test samples by Monte Carlo", *num_out);
    const exit_code code = work_mcmc(app, target, &options, *num_out, *x_out, NULL, &diagnostics);
    if (code != EXIT_CODE_OK) return code;
    return work_require_equilibrium(app, &diagnostics,
                                    "; nothing was measured; `eqflow data` makes samples for --data");
}

static exit_code measure(cli_app *app, const evaluate_flags *flags, const eqf_model *model,
                         const eqf_potential_options *target, size_t num_data, const float *x_data, evaluated *result) {
    eqf_evaluation_options options = EQF_EVALUATION_OPTIONS_INIT;
    options.num_samples = (size_t)flags->num_samples;
    options.max_samples = (size_t)flags->max_samples;
    options.ess_error = flags->ess_error;
    options.seed = app->seed;
    options.flow = &flags->flow_options;
    options.target = target;
    exit_code code = work_evaluate(app, model, &options, num_data, x_data, &result->of);
    result->figures = eqf_evaluation_figures_of(result->of);
    for (size_t i = 0; i < eqf_evaluation_num_warnings(result->of) && i < MAX_WARNINGS; i++) {
        result->warnings[i] = result->texts[i];
        words_translate(eqf_evaluation_warning_at(result->of, i)->text, result->texts[i], sizeof result->texts[i]);
        result->num_warnings = i + 1;
    }
    return code;
}

/* Copies samples of the evaluation, which owns them, for the functions that write files. */
static float *copy_of(cli_app *app, const float *values, size_t num) {
    float *copy = app_alloc(app, num, sizeof *copy, "the samples");
    if (copy && values) memcpy(copy, values, num * sizeof *copy);
    return copy;
}

static exit_code write_samples(cli_app *app, const evaluate_flags *flags, const eqf_potential_options *target,
                               const evaluated *result) {
    const sample_files *files = &flags->samples;
    if (!files->x && !files->energies && !files->log_prob && !files->log_weights && !files->xyz) return EXIT_CODE_OK;
    sample_set set = {.potential = target,
                      .num = result->figures->num_samples,
                      .log_weights = eqf_evaluation_log_weights(result->of)};
    const size_t num_dof = (size_t)target->num_particles * target->space_dim;
    set.x = copy_of(app, eqf_evaluation_samples(result->of), set.num * num_dof);
    set.energy = set.x ? copy_of(app, eqf_evaluation_sample_energies(result->of), set.num) : NULL;
    set.log_prob = set.energy ? copy_of(app, eqf_evaluation_sample_log_probs(result->of), set.num) : NULL;
    const exit_code code = set.log_prob ? sample_files_write(app, files, &set) : EXIT_CODE_DEVICE;
    free(set.x);
    free(set.energy);
    free(set.log_prob);
    return code;
}

static exit_code evaluate(cli_app *app, const evaluate_flags *flags, const eqf_model *model,
                          const eqf_potential_options *target) {
    eqf_array file = EQF_ARRAY_INIT;
    float *x_made = NULL;
    size_t num_data = 0;
    evaluated result = {.num_warnings = 0};
    exit_code code = EXIT_CODE_OK;
    if (flags->data_path) {
        code = work_read_configurations(app, flags->data_path, target, &file);
        num_data = file.shape[0];
    }
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) code = system_verify(app, target);
    if (code == EXIT_CODE_OK && !flags->data_path) {
        code = make_data(app, flags, eqf_preset_find(eqf_model_options_of(model)->preset), target, &x_made,
                         &num_data);
    }
    const float *x_data = flags->data_path ? file.data : x_made;
    if (code == EXIT_CODE_OK) {
        code = measure(app, flags, model, target, num_data, x_data, &result);
    }
    if (code == EXIT_CODE_OK) code = write_samples(app, flags, target, &result);
    if (code == EXIT_CODE_OK && flags->report_path) code = make_report(app, flags, model, target, x_data, &result);
    if (code == EXIT_CODE_OK) code = print_result(app, flags, &result);
    eqf_evaluation_destroy(&result.of);
    eqf_array_clear(&file);
    free(x_made);
    return code;
}

static size_t own_options(evaluate_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT, .name = "data", .argument = "FILE.npy", .value = &flags->data_path,
         .default_text = "made here", .help = "test configurations, [B, N, D] or [B, N*D]"},
        {.kind = OPTION_COUNT, .name = "num-data", .argument = "COUNT", .value = &flags->num_data,
         .is_set = &flags->is_num_data_set, .default_text = "as -n", .low = 1, .high = 1e12,
         .help = "test configurations to make"},
        {.kind = OPTION_COUNT, .letter = 'n', .name = "num-samples", .argument = "COUNT",
         .value = &flags->num_samples, .is_set = &flags->is_num_samples_set, .low = 2, .high = 1e12,
         .help = "samples of the model; more, unless -n is given, until --ess-error is reached"},
        {.kind = OPTION_NUMBER, .name = "ess-error", .argument = "NUMBER", .value = &flags->ess_error, .low = 1e-4,
         .high = 0.5, .help = "largest standard error of the effective sample size, as a fraction of the samples"},
        {.kind = OPTION_COUNT, .name = "max-samples", .argument = "COUNT", .value = &flags->max_samples,
         .is_set = &flags->is_max_samples_set, .default_text = "1e5, or -n if given", .low = 2, .high = 1e12,
         .help = "the samples are doubled up to this many"},
        {.kind = OPTION_TEXT, .name = "report", .argument = "FILE.html", .value = &flags->report_path,
         .help = "a report with pictures, one self-contained file"},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE.npy", .value = &flags->samples.x,
         .help = "the samples of the model, [B, N, D]"},
        {.kind = OPTION_TEXT, .name = "energies", .argument = "FILE.npy", .value = &flags->samples.energies,
         .help = "their energies, float32 [B], kT"},
        {.kind = OPTION_TEXT, .name = "log-prob", .argument = "FILE.npy", .value = &flags->samples.log_prob,
         .help = "their log-densities, float32 [B]"},
        {.kind = OPTION_TEXT, .name = "log-weights", .argument = "FILE.npy", .value = &flags->samples.log_weights,
         .help = "logarithms of their weights, -energy - log-density, float32 [B]"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static exit_code check_flags(cli_app *app, evaluate_flags *flags) {
    if (flags->data_path && flags->is_num_data_set) {
        return app_fail(app, EXIT_CODE_USAGE, "--num-data says how many configurations to make, so it excludes --data");
    }
    if (flags->is_num_samples_set && !flags->is_max_samples_set) flags->max_samples = flags->num_samples;
    if (flags->max_samples < flags->num_samples) {
        return app_fail(app, EXIT_CODE_USAGE,
                        "--max-samples %" PRIu64 ": must be at least -n, %" PRIu64 "; see eqflow evaluate --help",
                        flags->max_samples, flags->num_samples);
    }
    files_use uses[SAMPLE_FILES_NUM_USES + 4] = {{"--report", flags->report_path, FILES_WRITTEN},
                                                 {"--data", flags->data_path, FILES_READ},
                                                 {"MODEL", flags->model_path, FILES_READ},
                                                 {"--potential", flags->target.potential_path, FILES_READ}};
    sample_files_uses(&flags->samples, "-o", uses + 4);
    const exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    return code == EXIT_CODE_OK ? flow_flags_read(app, &flags->flow, &flags->flow_options) : code;
}

exit_code cmd_evaluate(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL [--data FILE.npy] [--report FILE.html] [options]",
        .description = "Measures a flow: its likelihood on data it has not seen (integrated twice, the second time "
                       "with twice the steps), and its samples reweighted to the target: effective sample size, ln Z, "
                       "mean energies. Says so when a figure should not be believed. Without --data it makes test "
                       "samples of the target by Monte Carlo.",
        .operands = operands,
        .examples = "  eqflow evaluate dw4.safetensors -n 1e5 --report dw4.html\n"
                    "  eqflow evaluate dw4.safetensors --data dw4_test.npy --json\n"
                    "  eqflow evaluate dw4.safetensors --temperature 1.2 --xyz samples.xyz\n",
    };
    evaluate_flags flags = {.num_samples = 10000, .max_samples = 100000, .ess_error = 0.02};
    cli_option options[OPTIONS_MAX];
    size_t num_options = own_options(&flags, options);
    num_options += sample_files_options(&flags.samples, "the samples with energy, log-density and log-weight of each",
                                        options + num_options);
    num_options += flow_flags_options(&flags.flow, 5e4,
                                      "of rk4; nll_refined takes twice as many (of dopri5: a tenth of the tolerances)",
                                      options + num_options);
    num_options += system_options(&flags.target, SYSTEM_OF_MODEL, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.model_path = words[0];
    if ((code = check_flags(app, &flags)) != EXIT_CODE_OK) return code;
    eqf_model *model = NULL;
    if ((code = flow_flags_load(app, flags.model_path, &model)) != EXIT_CODE_OK) return code;
    eqf_potential_options target = eqf_model_options_of(model)->potential;
    if ((code = system_apply(app, &flags.target, &target)) == EXIT_CODE_OK &&
        (code = files_check_writable(app, flags.report_path, "the report")) == EXIT_CODE_OK &&
        (code = sample_files_check(app, &flags.samples)) == EXIT_CODE_OK) {
        code = evaluate(app, &flags, model, &target);
    }
    eqf_model_destroy(&model);
    return code;
}
