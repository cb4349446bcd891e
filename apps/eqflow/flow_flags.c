#include "flow_flags.h"

#include "work.h"

size_t flow_flags_options(flow_flags *flags, double max_steps, const char *steps_help, cli_option options_out[]) {
    *flags = (flow_flags){NULL, NULL, 0};
    options_out[0] = (cli_option){.kind = OPTION_COUNT, .name = "integration-steps", .argument = "N",
                                  .value = &flags->num_steps, .low = 1, .high = max_steps,
                                  .default_text = "the model's", .help = steps_help};
    options_out[1] = (cli_option){.kind = OPTION_TEXT, .name = "field-evaluation", .argument = "HOW",
                                  .value = &flags->field_evaluation, .default_text = "table",
                                  .help = "table (fast) or direct (every Gaussian summed, to check the table)"};
    options_out[2] = (cli_option){.kind = OPTION_TEXT, .name = "divergence", .argument = "HOW",
                                  .value = &flags->divergence, .default_text = "exact",
                                  .help = "exact; for a dense field also rademacher or gaussian: Hutchinson's estimate"};
    return FLOW_NUM_OPTIONS;
}

exit_code flow_flags_read(cli_app *app, const flow_flags *flags, eqf_flow_options *options_out) {
    *options_out = (eqf_flow_options)EQF_FLOW_OPTIONS_INIT;
    options_out->num_steps = (unsigned)flags->num_steps;
    options_out->divergence_seed = app_seed_for(app->seed, "divergence");
    exit_code code = work_divergence(app, flags->divergence, &options_out->divergence);
    if (code != EXIT_CODE_OK) return code;
    return work_field_evaluation(app, flags->field_evaluation, &options_out->field_evaluation);
}

exit_code flow_flags_load(cli_app *app, const char *path, eqf_model **model_out) {
    *model_out = NULL;
    exit_code code = app_create_context(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_model_load(app->ctx, path, model_out);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_READ);
}
