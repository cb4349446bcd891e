#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

#include "commands.h"
#include "files.h"
#include "flow_flags.h"
#include "options.h"
#include "output.h"
#include "sample_files.h"
#include "system.h"
#include "work.h"

/* set->log_weights NULL: the weights are unknown. */
static exit_code print_result(cli_app *app, const sample_files *files, const sample_set *set,
                              const eqf_round_trip *round_trip) {
    eqf_weight_summary summary = {.struct_size = sizeof summary, .ess_fraction = NAN, .max_weight_fraction = NAN};
    if (!set->log_weights || eqf_estimate_weights(set->num, set->log_weights, &summary) != EQF_OK)
        summary.ess_fraction = summary.max_weight_fraction = NAN;
    double sum = 0;
    for (size_t b = 0; b < set->num; b++) sum += set->log_prob[b];

    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    sample_files_print(files, &output, "output", "samples in");
    output_count(&output, "num_samples", "samples", set->num);
    output_count(&output, "seed", "seed", app->seed);
    output_number(&output, "mean_log_prob", "mean log-density (nats)", sum / (double)set->num, NULL);
    output_round_trip(&output, round_trip);
    output_number(&output, "ess_fraction", "effective sample size (fraction)", summary.ess_fraction, NULL);
    output_number(&output, "max_weight_fraction", "largest weight (fraction of all)", summary.max_weight_fraction,
                  NULL);
    return output_finish(&output);
}

/* Computes energies and log-weights of set's samples; if there are no log-weights they stay NULL. */
static exit_code weigh(cli_app *app, sample_set *set, double **log_weights_out) {
    set->energy = app_alloc(app, set->num, sizeof *set->energy, "the energies");
    *log_weights_out = set->energy ? app_alloc(app, set->num, sizeof **log_weights_out, "the weights") : NULL;
    if (!*log_weights_out) return EXIT_CODE_DEVICE;
    const exit_code code = work_energy(app, set->potential, set->num, set->x, set->energy);
    if (code == EXIT_CODE_OK &&
        eqf_estimate_log_weights(set->num, set->energy, set->log_prob, *log_weights_out) == EQF_OK)
        set->log_weights = *log_weights_out;
    return code;
}

/* Draws and writes the samples; without a target there are no energies. */
static exit_code draw(cli_app *app, const eqf_model *model, const eqf_potential_options *potential, bool has_target,
                      const sample_files *files, size_t num, const eqf_flow_options *options) {
    eqf_flow *flow = NULL;
    eqf_status status = eqf_flow_create(app->ctx, model, options, &flow);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    sample_set set = {.potential = potential, .num = num};
    double *log_weights = NULL;
    eqf_round_trip round_trip = {NAN, NAN};
    set.x = app_alloc(app, num, sizeof(float) * num_dof, "that many samples");
    set.log_prob = set.x ? app_alloc(app, num, sizeof *set.log_prob, "the log-densities") : NULL;
    exit_code code = set.log_prob ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) code = work_sample(app, flow, potential, app->seed, num, set.x, set.log_prob);
    if (code == EXIT_CODE_OK) code = work_check_finite(app, num, num_dof, set.x, set.log_prob);
    if (code == EXIT_CODE_OK && has_target) code = weigh(app, &set, &log_weights);
    if (code == EXIT_CODE_OK) code = sample_files_write(app, files, &set);
    if (code == EXIT_CODE_OK) code = work_round_trip(app, flow, options, num, &round_trip);
    if (code == EXIT_CODE_OK) code = print_result(app, files, &set, &round_trip);
    free(set.x);
    free(set.log_prob);
    free(set.energy);
    free(log_weights);
    eqf_flow_destroy(&flow);
    return code;
}

static exit_code check_files(cli_app *app, const sample_files *files, const char *model, const char *potential) {
    files_use uses[SAMPLE_FILES_NUM_USES + 2] = {{"MODEL", model, FILES_READ}, {"--potential", potential, FILES_READ}};
    sample_files_uses(files, "-o", uses + 2);
    return files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
}

/* Applies the flags to the model's potential. *has_target_out false: it may not be run, so there are no energies. */
static exit_code choose_target(cli_app *app, const sample_files *files, const system_flags *target,
                               eqf_potential_options *potential, bool *has_target_out) {
    *has_target_out = !system_has_text(potential) || target->potential_path || target->is_trusted;
    if (*has_target_out) return system_apply(app, target, potential);
    if (files->energies || files->log_weights || option_flags_any(&target->common) ||
        option_flags_any(&target->constants))
        return app_fail(
            app, EXIT_CODE_USAGE,
            "energies and weights need the model's potential, a text of its own: give --potential FILE.cl or "
            "--trust-potential");
    app_note(app, "no energies and no effective sample size: the model's potential is a text of its own; "
                  "--potential FILE.cl or --trust-potential runs it");
    return EXIT_CODE_OK;
}

static size_t own_options(sample_files *files, uint64_t *num, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT, .letter = 'n', .name = "num-samples", .argument = "COUNT", .value = num,
         .default_text = "required", .low = 1, .high = 1e12, .help = "samples to draw"},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE.npy", .value = &files->x,
         .default_text = "required", .help = "where they go"},
        {.kind = OPTION_TEXT, .name = "log-prob", .argument = "FILE.npy", .value = &files->log_prob,
         .help = "where their log-densities go, float32 [B]"},
        {.kind = OPTION_TEXT, .name = "energies", .argument = "FILE.npy", .value = &files->energies,
         .help = "where their energies go, float32 [B], kT"},
        {.kind = OPTION_TEXT, .name = "log-weights", .argument = "FILE.npy", .value = &files->log_weights,
         .help = "where the logarithms of their weights go, -energy - log-density, float32 [B]"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_sample(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL -n COUNT -o FILE.npy [options]",
        .description = "Draws samples of a trained flow, float32 [B, N, D], and their exact log-densities (nats, "
                       "normalised on configurations with their centre of mass at 0).",
        .operands = operands,
        .examples = "  eqflow sample dw4.safetensors -n 1e4 -o x.npy --log-prob log_prob.npy\n"
                    "  eqflow sample lj13.safetensors -n 100 -o x.npy --xyz x.xyz --seed 7\n"
                    "  eqflow sample dw4.safetensors -n 1e5 -o x.npy --xyz x.xyz --temperature 1.2\n",
    };
    sample_files files = {.x = NULL};
    uint64_t num = 0;
    cli_option options[OPTIONS_MAX];
    flow_flags flags;
    system_flags target;
    size_t num_options = own_options(&files, &num, options);
    num_options += sample_files_options(
        &files, "the samples for molecular viewers too, with energy, log-density and log-weight of each",
        options + num_options);
    num_options += flow_flags_options(&flags, 1e5, "integrator steps", options + num_options);
    num_options += system_options(&target, SYSTEM_OF_MODEL, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    if (num == 0) return app_fail(app, EXIT_CODE_USAGE, "-n COUNT is missing; see eqflow sample --help");
    if (!files.x) return app_fail(app, EXIT_CODE_USAGE, "-o FILE.npy is missing; see eqflow sample --help");
    if ((code = check_files(app, &files, words[0], target.potential_path)) != EXIT_CODE_OK) return code;
    eqf_flow_options flow_options;
    if ((code = flow_flags_read(app, &flags, &flow_options)) != EXIT_CODE_OK) return code;
    eqf_model *model = NULL;
    if ((code = flow_flags_load(app, words[0], &model)) != EXIT_CODE_OK) return code;
    eqf_potential_options potential = eqf_model_options_of(model)->potential;
    bool has_target;
    code = choose_target(app, &files, &target, &potential, &has_target);
    if (code == EXIT_CODE_OK && (code = sample_files_check(app, &files)) == EXIT_CODE_OK &&
        (code = app_open(app)) == EXIT_CODE_OK &&
        (!has_target || (code = system_verify(app, &potential)) == EXIT_CODE_OK)) {
        code = draw(app, model, &potential, has_target, &files, (size_t)num, &flow_options);
    }
    eqf_model_destroy(&model);
    return code;
}
