#include <math.h>
#include <stdlib.h>

#include "eqflow/estimate.h"

#include "commands.h"
#include "files.h"
#include "flow_flags.h"
#include "options.h"
#include "output.h"
#include "work.h"

typedef struct log_prob_files {
    const char *data, *log_prob, *latents;
} log_prob_files;

/* seconds: time of the solves, without the start of the program. */
static exit_code print_result(cli_app *app, const log_prob_files *files, size_t num, const float *log_prob,
                              const eqf_round_trip *round_trip, double seconds) {
    double *finite = app_alloc(app, num, sizeof *finite, "the log-densities");
    if (!finite) return EXIT_CODE_DEVICE;
    size_t num_finite = 0;
    for (size_t b = 0; b < num; b++) {
        if (isfinite(log_prob[b])) finite[num_finite++] = log_prob[b];
    }
    double mean = NAN, standard_error = NAN;
    if (num_finite == 0 || eqf_estimate_mean(num_finite, finite, &mean, &standard_error) != EQF_OK) mean = NAN;
    free(finite);
    if (num_finite < num) {
        app_warn(app, "%zu of %zu configurations have no finite log-density (outside what the flow can reach)",
                 num - num_finite, num);
    }
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "output", "log-densities in", files->log_prob);
    output_text(&output, "latents_output", files->latents ? "latents in" : NULL, files->latents);
    output_count(&output, "num_data", "configurations", num);
    output_count(&output, "num_finite", "  with a finite log-density", num_finite);
    output_number(&output, "mean_log_prob", "mean of the finite ones (nats)", mean, NULL);
    output_number(&output, "mean_log_prob_standard_error", "  standard error", standard_error, NULL);
    output_round_trip(&output, round_trip);
    output_number(&output, "seconds", "time of the solves (s)", seconds, NULL);
    return output_finish(&output);
}

static exit_code write_files(cli_app *app, const eqf_potential_options *potential, const log_prob_files *files,
                             size_t num, float *log_prob, float *z) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    eqf_array array = EQF_ARRAY_INIT;
    array.data = log_prob;
    array.num_dims = 1;
    array.shape[0] = num;
    eqf_status status = eqf_array_write_npy(app->ctx, files->log_prob, &array);
    if (status == EQF_OK && files->latents) {
        const eqf_array latents = work_configurations(z, num, potential);
        status = eqf_array_write_npy(app->ctx, files->latents, &latents);
    }
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

static exit_code compute(cli_app *app, const eqf_model *model, const log_prob_files *files,
                         const eqf_flow_options *options) {
    const eqf_potential_options *potential = &eqf_model_options_of(model)->potential;
    eqf_array x = EQF_ARRAY_INIT;
    exit_code code = work_read_configurations(app, files->data, potential, &x);
    if (code != EXIT_CODE_OK) return code;
    eqf_flow *flow = NULL;
    float *log_prob = NULL, *z = NULL;
    if ((code = app_open(app)) != EXIT_CODE_OK) goto done;
    eqf_status status = eqf_flow_create(app->ctx, model, options, &flow);
    if (status != EQF_OK) {
        code = app_fail_status(app, status, ACTIVITY_COMPUTE);
        goto done;
    }
    code = EXIT_CODE_DEVICE;
    log_prob = app_alloc(app, x.shape[0], sizeof *log_prob, "the log-densities");
    if (!log_prob) goto done;
    if (files->latents) {
        z = app_alloc(app, x.shape[0], sizeof(float) * potential->num_particles * potential->space_dim, "the latents");
        if (!z) goto done;
    }
    const double begin = app_seconds();
    code = work_log_prob(app, flow, potential, "log-prob", x.shape[0], x.data, log_prob, z);
    const double seconds = app_seconds() - begin;
    eqf_round_trip round_trip = {NAN, NAN};
    if (code == EXIT_CODE_OK) code = write_files(app, potential, files, x.shape[0], log_prob, z);
    if (code == EXIT_CODE_OK) code = work_round_trip(app, flow, options, x.shape[0], &round_trip);
    if (code == EXIT_CODE_OK) code = print_result(app, files, x.shape[0], log_prob, &round_trip, seconds);
done:
    free(log_prob);
    free(z);
    eqf_flow_destroy(&flow);
    eqf_array_clear(&x);
    return code;
}

exit_code cmd_log_prob(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL --data FILE.npy -o FILE.npy [options]",
        .description = "Writes the exact log-density (nats) of each configuration in a .npy file of shape [B, N, D] or "
                       "[B, N*D], float32 or float64, as float32 [B].",
        .operands = operands,
        .examples = "  eqflow log-prob dw4.safetensors --data dw4_test.npy -o log_prob.npy\n",
    };
    log_prob_files files = {NULL, NULL, NULL};
    enum { NUM_OWN_OPTIONS = 3 };
    cli_option options[NUM_OWN_OPTIONS + FLOW_NUM_OPTIONS] = {
        {.kind = OPTION_TEXT, .name = "data", .argument = "FILE.npy", .value = &files.data, .default_text = "required",
         .help = "configurations"},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE.npy", .value = &files.log_prob,
         .default_text = "required", .help = "where the log-densities go"},
        {.kind = OPTION_TEXT, .name = "latents", .argument = "FILE.npy", .value = &files.latents,
         .help = "where the latents go that the flow takes to the configurations, float32 [B, N, D]"},
    };
    flow_flags flags;
    size_t num_options =
        NUM_OWN_OPTIONS + flow_flags_options(&flags, 1e5, "integrator steps", options + NUM_OWN_OPTIONS);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    if (!files.data) return app_fail(app, EXIT_CODE_USAGE, "--data FILE.npy is missing; see eqflow log-prob --help");
    if (!files.log_prob) return app_fail(app, EXIT_CODE_USAGE, "-o FILE.npy is missing; see eqflow log-prob --help");
    const files_use uses[] = {{"-o", files.log_prob, FILES_NUMPY},
                              {"--latents", files.latents, FILES_NUMPY},
                              {"--data", files.data, FILES_READ},
                              {"MODEL", words[0], FILES_READ}};
    if ((code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses)) != EXIT_CODE_OK) return code;
    eqf_flow_options flow_options;
    if ((code = flow_flags_read(app, &flags, &flow_options)) != EXIT_CODE_OK) return code;
    eqf_model *model = NULL;
    if ((code = flow_flags_load(app, words[0], &model)) != EXIT_CODE_OK) return code;
    if ((code = files_check_writable(app, files.log_prob, "the log-densities")) == EXIT_CODE_OK &&
        (code = files_check_writable(app, files.latents, "the latents")) == EXIT_CODE_OK) {
        code = compute(app, model, &files, &flow_options);
    }
    eqf_model_destroy(&model);
    return code;
}
