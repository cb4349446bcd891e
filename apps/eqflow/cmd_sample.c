#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

#include "commands.h"
#include "files.h"
#include "flow_flags.h"
#include "options.h"
#include "output.h"
#include "system.h"
#include "work.h"

typedef struct sample_files {
    const char *x, *log_prob, *xyz;
} sample_files;

static exit_code write_files(cli_app *app, const eqf_potential_options *potential, const sample_files *files,
                             size_t num, float *x, float *log_prob, const float *energy) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    eqf_array array = work_configurations(x, num, potential);
    eqf_status status = eqf_array_write_npy(app->ctx, files->x, &array);
    if (status == EQF_OK && files->log_prob) {
        eqf_array densities = EQF_ARRAY_INIT;
        densities.data = log_prob;
        densities.num_dims = 1;
        densities.shape[0] = num;
        status = eqf_array_write_npy(app->ctx, files->log_prob, &densities);
    }
    if (status == EQF_OK && files->xyz) {
        status = eqf_array_write_xyz(app->ctx, files->xyz, &array, system_element(potential), energy, log_prob);
    }
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* energy [num] or NULL: then nothing is known of the weights. */
static exit_code print_result(cli_app *app, const sample_files *files, size_t num, const float *log_prob,
                              const float *energy, const eqf_round_trip *round_trip) {
    double *log_weights = app_alloc(app, num, sizeof *log_weights, "the weights");
    if (!log_weights) return EXIT_CODE_DEVICE;
    eqf_weight_summary summary = {.struct_size = sizeof summary, .ess_fraction = NAN, .max_weight_fraction = NAN};
    if (!energy || eqf_estimate_log_weights(num, energy, log_prob, log_weights) != EQF_OK ||
        eqf_estimate_weights(num, log_weights, &summary) != EQF_OK) {
        summary.ess_fraction = summary.max_weight_fraction = NAN;
    }
    double sum = 0;
    for (size_t b = 0; b < num; b++) sum += log_prob[b];
    free(log_weights);

    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "output", "samples in", files->x);
    output_text(&output, "log_prob_output", files->log_prob ? "log-densities in" : NULL, files->log_prob);
    output_text(&output, "xyz_output", files->xyz ? "extended XYZ in" : NULL, files->xyz);
    output_count(&output, "num_samples", "samples", num);
    output_count(&output, "seed", "seed", app->seed);
    output_number(&output, "mean_log_prob", "mean log-density (nats)", sum / (double)num, NULL);
    output_round_trip(&output, round_trip);
    output_number(&output, "ess_fraction", "effective sample size (fraction)", summary.ess_fraction, NULL);
    output_number(&output, "max_weight_fraction", "largest weight (fraction of all)", summary.max_weight_fraction,
                  NULL);
    return output_finish(&output);
}

/* Without a target there are no energies. */
static exit_code draw(cli_app *app, const eqf_model *model, const eqf_potential_options *potential, bool has_target,
                      const sample_files *files, size_t num, const eqf_flow_options *options) {
    eqf_flow *flow = NULL;
    eqf_status status = eqf_flow_create(app->ctx, model, options, &flow);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = EXIT_CODE_DEVICE;
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    float *x = app_alloc(app, num, sizeof(float) * num_dof, "that many samples");
    float *log_prob = x ? app_alloc(app, num, sizeof *log_prob, "the log-densities") : NULL;
    float *energy = NULL;
    if (log_prob) code = work_sample(app, flow, potential, app->seed, num, x, log_prob);
    if (log_prob && code == EXIT_CODE_OK) code = work_check_finite(app, num, num_dof, x, log_prob);
    if (log_prob && code == EXIT_CODE_OK && has_target) {
        energy = app_alloc(app, num, sizeof *energy, "the energies");
        code = energy ? work_energy(app, potential, num, x, energy) : EXIT_CODE_DEVICE;
    }
    eqf_round_trip round_trip = {NAN, NAN};
    if (log_prob && code == EXIT_CODE_OK) code = work_round_trip(app, flow, options, &round_trip);
    if (log_prob && code == EXIT_CODE_OK) code = write_files(app, potential, files, num, x, log_prob, energy);
    if (log_prob && code == EXIT_CODE_OK) code = print_result(app, files, num, log_prob, energy, &round_trip);
    free(x);
    free(log_prob);
    free(energy);
    eqf_flow_destroy(&flow);
    return code;
}

static exit_code check_files(cli_app *app, const sample_files *files, const char *model, const char *potential) {
    const files_use uses[] = {{"-o", files->x, FILES_NUMPY},
                              {"--log-prob", files->log_prob, FILES_NUMPY},
                              {"--xyz", files->xyz, FILES_WRITTEN},
                              {"MODEL", model, FILES_READ},
                              {"--potential", potential, FILES_READ}};
    return files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
}

exit_code cmd_sample(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL -n COUNT -o FILE.npy [options]",
        .description = "Draws samples of a trained flow, float32 [B, N, D], and their exact log-densities (nats, "
                       "normalised on configurations with their centre of mass at 0).",
        .operands = operands,
        .examples = "  eqflow sample dw4.safetensors -n 1e4 -o x.npy --log-prob log_prob.npy\n"
                    "  eqflow sample lj13.safetensors -n 100 -o x.npy --xyz x.xyz --seed 7\n",
    };
    sample_files files = {NULL, NULL, NULL};
    uint64_t num = 0;
    enum { NUM_OWN_OPTIONS = 4 };
    cli_option options[NUM_OWN_OPTIONS + FLOW_NUM_OPTIONS + SYSTEM_NUM_OPTIONS] = {
        {.kind = OPTION_COUNT, .letter = 'n', .name = "num-samples", .argument = "COUNT", .value = &num,
         .default_text = "required", .low = 1, .high = 1e12, .help = "samples to draw"},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE.npy", .value = &files.x,
         .default_text = "required", .help = "where they go"},
        {.kind = OPTION_TEXT, .name = "log-prob", .argument = "FILE.npy", .value = &files.log_prob,
         .help = "where their log-densities go, float32 [B]"},
        {.kind = OPTION_TEXT, .name = "xyz", .argument = "FILE.xyz", .value = &files.xyz,
         .help = "the samples for molecular viewers too, with energy and log-density of each"},
    };
    flow_flags flags;
    system_flags target;
    size_t num_options = NUM_OWN_OPTIONS;
    num_options += flow_flags_options(&flags, 1e5, "integrator steps", options + num_options);
    num_options += system_options(&target, SYSTEM_OF_SAMPLES, options + num_options);
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
    const bool has_target = !system_has_text(&potential) || target.potential_path || target.is_trusted;
    if (has_target) {
        code = system_apply(app, &target, &potential);
    } else {
        app_note(app, "no energies and no effective sample size: the model's potential is a text of its own; "
                      "--potential FILE.cl or --trust-potential runs it");
    }
    if (code == EXIT_CODE_OK && (code = files_check_writable(app, files.x, "the samples")) == EXIT_CODE_OK &&
        (code = files_check_writable(app, files.log_prob, "the log-densities")) == EXIT_CODE_OK &&
        (code = files_check_writable(app, files.xyz, "the XYZ file")) == EXIT_CODE_OK &&
        (code = app_open(app)) == EXIT_CODE_OK &&
        (!has_target || (code = system_verify(app, &potential)) == EXIT_CODE_OK)) {
        code = draw(app, model, &potential, has_target, &files, (size_t)num, &flow_options);
    }
    eqf_model_destroy(&model);
    return code;
}
