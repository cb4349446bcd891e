#include "flow_flags.h"

#include <string.h>

#include "work.h"

static size_t integrator_options(flow_flags *flags, cli_option options_out[]) {
    options_out[0] = (cli_option){.kind = OPTION_TEXT, .name = "integrator", .argument = "METHOD",
                                  .value = &flags->integrator, .default_text = "rk4",
                                  .help = "rk4 (equal steps) or dopri5 (adaptive, each sample its own steps)"};
    options_out[1] = (cli_option){.kind = OPTION_NUMBER, .name = "rtol", .argument = "TOLERANCE", .value = &flags->rtol,
                                  .is_set = &flags->is_rtol_set, .low = 1e-8, .high = 0.1, .default_text = "1e-5",
                                  .help = "of dopri5: largest relative error of a step"};
    options_out[2] = (cli_option){.kind = OPTION_NUMBER, .name = "atol", .argument = "TOLERANCE", .value = &flags->atol,
                                  .is_set = &flags->is_atol_set, .low = 1e-20, .high = 1, .default_text = "1e-10",
                                  .help = "of dopri5: largest absolute error of a step"};
    return 3;
}

size_t flow_flags_options(flow_flags *flags, double max_steps, const char *steps_help, cli_option options_out[]) {
    *flags = (flow_flags){.num_steps = 0};
    options_out[0] = (cli_option){.kind = OPTION_COUNT, .name = "integration-steps", .argument = "N",
                                  .value = &flags->num_steps, .is_set = &flags->is_num_steps_set, .low = 1,
                                  .high = max_steps, .default_text = "the model's", .help = steps_help};
    options_out[1] = (cli_option){.kind = OPTION_TEXT, .name = "field-evaluation", .argument = "HOW",
                                  .value = &flags->field_evaluation, .default_text = "table",
                                  .help = "table (fast) or direct (every Gaussian summed, to check the table)"};
    options_out[2] =
        (cli_option){.kind = OPTION_TEXT,
                     .name = "divergence",
                     .argument = "HOW",
                     .value = &flags->divergence,
                     .default_text = "exact",
                     .help = "exact; for a dense field also rademacher or gaussian: Hutchinson's estimate"};
    options_out[3] = (cli_option){.kind = OPTION_TEXT,
                                  .name = "precision",
                                  .argument = "HOW",
                                  .value = &flags->precision,
                                  .default_text = "float",
                                  .help = "float, or double where the device has it: to check the other"};
    return 4 + integrator_options(flags, options_out + 4);
}

static exit_code fail_integrator(cli_app *app, const char *asked) {
    char names[64] = "";
    const eqf_integrator_method_info *method;
    size_t length = 0;
    for (unsigned m = 0; (method = eqf_integrator_method_describe((eqf_integrator_method)m)) && length < sizeof names;
         m++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", m ? " or " : "", method->name);
    return app_fail(app, EXIT_CODE_USAGE, "--integrator %s: must be %s; see eqflow %s --help", asked, names,
                    app->command);
}

exit_code flow_flags_read(cli_app *app, const flow_flags *flags, eqf_flow_options *options_out) {
    *options_out = (eqf_flow_options)EQF_FLOW_OPTIONS_INIT;
    options_out->num_steps = (unsigned)flags->num_steps;
    options_out->divergence_seed = app_seed_for(app->seed, "divergence");
    exit_code code = work_divergence(app, flags->divergence, &options_out->divergence);
    if (code != EXIT_CODE_OK) return code;
    code = work_field_evaluation(app, flags->field_evaluation, &options_out->field_evaluation);
    if (code != EXIT_CODE_OK) return code;
    if (flags->precision && strcmp(flags->precision, "double") == 0) {
        options_out->precision = EQF_PRECISION_DOUBLE;
        if (flags->field_evaluation && options_out->field_evaluation == EQF_FIELD_TABLE)
            return app_fail(app, EXIT_CODE_USAGE,
                            "--field-evaluation table is of float: --precision double sums directly");
    } else if (flags->precision && strcmp(flags->precision, "float") != 0) {
        return app_fail(app, EXIT_CODE_USAGE, "--precision %s: must be float or double; see eqflow %s --help",
                        flags->precision, app->command);
    }
    if (flags->integrator && eqf_integrator_method_find(flags->integrator, &options_out->method) != EQF_OK)
        return fail_integrator(app, flags->integrator);
    const bool is_adaptive = eqf_integrator_method_describe(options_out->method)->has_step_control;
    if (!is_adaptive && (flags->is_rtol_set || flags->is_atol_set))
        return app_fail(app, EXIT_CODE_USAGE, "--%s is a tolerance of the adaptive integrator: add --integrator dopri5",
                        flags->is_rtol_set ? "rtol" : "atol");
    if (!is_adaptive) return EXIT_CODE_OK;
    if (flags->is_num_steps_set)
        return app_fail(app, EXIT_CODE_USAGE, "--integration-steps is of rk4: dopri5 chooses its steps by --rtol");
    if (flags->field_evaluation && options_out->field_evaluation == EQF_FIELD_TABLE)
        return app_fail(app, EXIT_CODE_USAGE, "--field-evaluation table is of rk4: dopri5 has no fixed times to make "
                                              "tables of");
    options_out->adaptive.rtol = flags->is_rtol_set ? flags->rtol : 1e-5; /* as eqflow/flow.h has them */
    options_out->adaptive.atol = flags->is_atol_set ? flags->atol : 1e-10;
    return EXIT_CODE_OK;
}

exit_code flow_flags_load(cli_app *app, const char *path, eqf_model **model_out) {
    *model_out = NULL;
    exit_code code = app_create_context(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_model_load(app->ctx, path, model_out);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_READ);
}
