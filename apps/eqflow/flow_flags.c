#include "flow_flags.h"

#include <string.h>

#include "work.h"

static const eqf_option *method_rows(unsigned kind, size_t index) {
    return eqf_integrator_option((eqf_integrator_method)kind, index);
}

static size_t integrator_options(flow_flags *flags, cli_option options_out[]) {
    const eqf_integrator_method_info *method;
    size_t length = 0;
    for (unsigned m = 0; (method = eqf_integrator_method_describe((eqf_integrator_method)m)) != NULL; m++) {
        const bool is_adaptive = method->has_step_control;
        option_flags_add(&flags->methods, method->name, method_rows, m);
        if (length < sizeof flags->integrator_help)
            length += (size_t)snprintf(flags->integrator_help + length, sizeof flags->integrator_help - length,
                                       "%s%s (%s)", m ? " or " : "", method->name,
                                       is_adaptive ? "adaptive, each sample its own steps" : "equal steps");
    }
    options_out[0] = (cli_option){.kind = OPTION_TEXT, .name = "integrator", .argument = "METHOD",
                                  .value = &flags->integrator, .default_text = "rk4", .help = flags->integrator_help};
    return 1 + option_flags_options(&flags->methods, NULL, options_out + 1);
}

/* The error for a flag that this method does not have; it names a method that has it. */
static exit_code fail_unfit(cli_app *app, const option_flag *flag) {
    unsigned m = 0;
    while (option_flags_row(flag, method_rows, m) == NULL) m++; /* some method has it */
    return app_fail(app, EXIT_CODE_USAGE, "--%s is an option of another integrator: add --integrator %s", flag->name,
                    eqf_integrator_method_describe((eqf_integrator_method)m)->name);
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
    const option_flag *unfit;
    for (size_t i = 0; method_rows(options_out->method, i) != NULL; i++) {
        const eqf_option *row = method_rows(options_out->method, i);
        if (row->is_zero_default && eqf_option_get(row, options_out) == 0)
            eqf_option_set(row, options_out, row->initial);
    }
    code = option_flags_apply(app, &flags->methods, method_rows, options_out->method, options_out, &unfit);
    if (code != EXIT_CODE_OK) return code;
    if (unfit) return fail_unfit(app, unfit);
    if (!is_adaptive) return EXIT_CODE_OK;
    if (flags->is_num_steps_set)
        return app_fail(app, EXIT_CODE_USAGE, "--integration-steps is of rk4: dopri5 chooses its steps by --rtol");
    if (flags->field_evaluation && options_out->field_evaluation == EQF_FIELD_TABLE)
        return app_fail(app, EXIT_CODE_USAGE, "--field-evaluation table is of rk4: dopri5 has no fixed times to make "
                                              "tables of");
    return EXIT_CODE_OK;
}

exit_code flow_flags_load(cli_app *app, const char *path, eqf_model **model_out) {
    *model_out = NULL;
    exit_code code = app_create_context(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_model_load(app->ctx, path, model_out);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_READ);
}
