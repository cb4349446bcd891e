#include "eqflow/device.h"
#include "eqflow/selftest.h"

#include "commands.h"
#include "options.h"
#include "output.h"
#include "system.h"

typedef struct check_collector {
    cli_output *output;
    json_t *checks;
    unsigned num_checks, num_failed;
} check_collector;

static void collect(void *user, const eqf_selftest_result *result) {
    check_collector *collector = user;
    collector->num_checks++;
    if (!result->has_passed) collector->num_failed++;
    output_line(collector->output, "%-6s %-52s error %9.2e, allowed %9.2e", result->has_passed ? "ok" : "FAILED",
                result->name, result->error, result->tolerance);
    if (result->kernels != NULL && result->kernels[0] != '\0')
        output_line(collector->output, "         by %s", result->kernels);
    json_t *check = json_object();
    json_object_set_new(check, "name", json_string(result->name));
    json_object_set_new(check, "error", output_real(result->error));
    json_object_set_new(check, "tolerance", output_real(result->tolerance));
    json_object_set_new(check, "has_passed", json_boolean(result->has_passed));
    json_object_set_new(check, "kernels", json_string(result->kernels != NULL ? result->kernels : ""));
    json_array_append_new(collector->checks, check);
}

/* All checks, or those with `only` in their name; own_error: the error of a potential of the user's own, or NULL. */
static exit_code run(cli_app *app, const char *only, const double *own_error, const eqf_device_info *device) {
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "device", "device", device->name);
    output_text(&output, "driver_version", "driver", device->driver_version);
    check_collector collector = {&output, json_array(), 0, 0};
    const eqf_status status = eqf_selftest_of(app->ctx, only, collect, &collector);
    if (status != EQF_OK && status != EQF_ERROR_SELF_TEST) {
        json_decref(collector.checks);
        output_abandon(&output);
        return app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    if (own_error) {
        const eqf_selftest_result own_result = {.struct_size = sizeof own_result,
                                                .name = "own potential: gradient",
                                                .error = *own_error,
                                                .tolerance = 2e-3,
                                                .has_passed = true};
        collect(&collector, &own_result);
    }
    output_json(&output, "checks", collector.checks);
    output_bool(&output, "has_passed", NULL, status == EQF_OK);
    output_line(&output, "%u of %u checks passed", collector.num_checks - collector.num_failed, collector.num_checks);
    code = output_finish(&output);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    return code;
}

exit_code cmd_selftest(cli_app *app) {
    const char *const operands[] = {NULL};
    const command_help help = {
        .usage = "[options]",
        .description = "Runs each kernel on the device against known answers in double precision. Exit code 8 if one "
                       "is wrong: then no result of this device should be believed. With --potential it also compares "
                       "the gradient of that potential with its energy.",
        .operands = operands,
    };
    cli_option options[SYSTEM_NUM_OPTIONS + 1];
    system_flags flags;
    const char *only = NULL;
    options[0] = (cli_option){.kind = OPTION_TEXT, .name = "only", .argument = "TEXT", .value = &only,
                              .default_text = "all",
                              .help = "check what has TEXT in its name, such as dopri5"};
    size_t num_options = 1 + system_options(&flags, SYSTEM_OF_CHECK, options + 1);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    eqf_preset own;
    double own_error = 0;
    if (!flags.potential_path && (flags.is_num_particles_set || flags.is_space_dim_set ||
                                  option_flags_any(&flags.of_text) || flags.own_constants.num_texts > 0)) {
        return app_fail(app, EXIT_CODE_USAGE, "--potential FILE.cl is missing; see eqflow selftest --help");
    }
    if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
    if (flags.potential_path && (code = system_choose(app, &flags, NULL, &own)) != EXIT_CODE_OK) return code;
    if ((code = app_open(app)) != EXIT_CODE_OK) return code;
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    eqf_status status = eqf_context_device(app->ctx, &device);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);

    if (flags.potential_path) {
        status = eqf_potential_verify(app->ctx, &own.model->potential, &own_error);
        if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    }

    return run(app, only, flags.potential_path ? &own_error : NULL, &device);
}
