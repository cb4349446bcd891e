#include <stdio.h>
#include <string.h>

#include "eqflow/bench.h"
#include "eqflow/device.h"

#include "commands.h"
#include "options.h"
#include "output.h"
#include "words.h"

static const char *type_name(eqf_device_type type) {
    switch (type) {
    case EQF_DEVICE_CPU: return "cpu";
    case EQF_DEVICE_GPU: return "gpu";
    case EQF_DEVICE_ACCELERATOR: return "accelerator";
    case EQF_DEVICE_OTHER: break;
    }
    return "other";
}

static json_t *device_json(const eqf_device_info *device) {
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:s, "
        "s:s, s:i, s:o}",
        "index", (int)device->index, "type", type_name(device->type), "name", device->name, "vendor", device->vendor,
        "vendor_id", (int)device->vendor_id, "driver_version", device->driver_version, "device_version",
        device->device_version, "platform_name", device->platform_name, "platform_version", device->platform_version,
        "compute_units", (int)device->compute_units, "max_clock_mhz", (int)device->max_clock_mhz, "global_memory_bytes",
        (json_int_t)device->global_memory_bytes, "max_allocation_bytes", (json_int_t)device->max_allocation_bytes,
        "local_memory_bytes", (json_int_t)device->local_memory_bytes, "max_work_group_size",
        (json_int_t)device->max_work_group_size, "has_fp64", (int)device->has_fp64, "has_compiler",
        (int)device->has_compiler, "is_available", (int)device->is_available, "is_chosen", (int)device->is_chosen,
        "choice_reason", device->choice_reason, "profile", device->profile_name, "vector_width",
        (int)device->vector_width, "probe_gflops",
        device->probe_gflops > 0 ? json_real(device->probe_gflops) : json_null());
}

/* Translates the reason for or against a device to the program's flags. */
static void translate_reason(eqf_device_info *device) {
    char reason[sizeof device->choice_reason];
    words_translate(device->choice_reason, reason, sizeof reason);
    memcpy(device->choice_reason, reason, sizeof reason);
}

static void describe(cli_output *output, const eqf_device_info *device) {
    output_line(output, "%s%u: %s", device->is_chosen ? "* " : "  ", device->index, device->name);
    output_line(output, "     %s, %u compute units, %.1f GB memory, %.0f KB local memory, %s fp64",
                type_name(device->type), device->compute_units, (double)device->global_memory_bytes / 1e9,
                (double)device->local_memory_bytes / 1024, device->has_fp64 ? "has" : "no");
    output_line(output, "     %s, driver %s", device->platform_name, device->driver_version);
    output_line(output, "     profile %s, %u samples a work-item", device->profile_name, device->vector_width);
    output_line(output, "     %s: %s", device->is_chosen ? "chosen" : "not chosen", device->choice_reason);
}

/* Each value of the profile with its origin; then the known issues of the driver. */
static json_t *describe_profile(cli_output *output, const eqf_device_profile *profile) {
    json_t *values = json_object(), *issues = json_array();
    for (unsigned i = 0; i < profile->num_values; i++) {
        const eqf_profile_value *value = &profile->values[i];
        char origin[sizeof value->origin];
        words_translate(value->origin, origin, sizeof origin);
        output_line(output, "     %-24s %-12s %s", value->key, value->value, origin);
        if (value->reason[0]) output_line(output, "     %24s   %s", "", value->reason);
        json_object_set_new(values, value->key,
                            json_pack("{s:s, s:s, s:s}", "value", value->value, "origin", origin, "reason",
                                      value->reason));
    }
    for (unsigned i = 0; i < profile->num_issues; i++) {
        const eqf_driver_issue *issue = &profile->issues[i];
        output_line(output, "     known issue %s (drivers %s): %s", issue->name,
                    issue->versions[0] ? issue->versions : "of all versions", issue->text);
        output_line(output, "     %24s   guarded by %s; %s; %s", "", issue->guard, issue->source, issue->origin);
        json_array_append_new(issues, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", issue->name, "text",
                                                issue->text, "versions", issue->versions, "guard", issue->guard,
                                                "source", issue->source, "origin", issue->origin));
    }
    return json_pack("{s:o, s:o}", "values", values, "issues", issues);
}

/* Measures every usable device, each in a separate context, and stores the figures. */
static exit_code probe_all(cli_app *app, const eqf_device_info *devices, size_t num_devices) {
    for (size_t i = 0; i < num_devices; i++) {
        if (!devices[i].is_available || !devices[i].has_compiler || devices[i].max_allocation_bytes == 0) continue;
        cli_app one = *app;
        char index[16];
        snprintf(index, sizeof index, "%u", devices[i].index);
        one.ctx = NULL;
        one.device = index;
        exit_code code = app_open(&one);
        eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
        eqf_status status = EQF_OK;
        if (code == EXIT_CODE_OK) {
            app_note(app, "measuring device %u, %s", devices[i].index, devices[i].name);
            status = eqf_bench_probe(one.ctx, &yardsticks);
            if (status == EQF_OK) status = eqf_bench_remember(one.ctx, &yardsticks);
            if (status != EQF_OK) code = app_fail_status(&one, status, ACTIVITY_COMPUTE);
        }
        eqf_context_destroy(&one.ctx);
        if (code != EXIT_CODE_OK) return code;
    }
    return EXIT_CODE_OK;
}

/* Marks the device that --device would open, in place of that of "auto". */
static exit_code mark_selected(cli_app *app, eqf_device_info *devices, size_t num_devices) {
    const exit_code code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_device_info chosen = EQF_DEVICE_INFO_INIT;
    const eqf_status status = eqf_context_device(app->ctx, &chosen);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    for (size_t i = 0; i < num_devices; i++) {
        devices[i].is_chosen = devices[i].index == chosen.index;
        snprintf(devices[i].choice_reason, sizeof devices[i].choice_reason, "--device %.60s %s", app->device,
                 devices[i].is_chosen ? "names it" : "names another");
    }
    return EXIT_CODE_OK;
}

static exit_code print_all(cli_app *app, const eqf_device_info *devices, size_t num_devices) {
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = EQF_OK;
    json_t *list = json_array();
    for (size_t i = 0; i < num_devices; i++) {
        json_t *json = device_json(&devices[i]);
        describe(&output, &devices[i]);
        if (app->is_verbose && json) {
            static eqf_device_profile profile = EQF_DEVICE_PROFILE_INIT;
            status = eqf_device_get_profile(app->ctx, devices[i].index, &profile);
            if (status != EQF_OK) break;
            json_object_set_new(json, "profile_values", describe_profile(&output, &profile));
        }
        json_array_append_new(list, json ? json : json_null());
    }
    output_json(&output, "devices", list);
    if (status == EQF_OK) return output_finish(&output);
    output_abandon(&output);
    return app_fail_status(app, status, ACTIVITY_COMPUTE);
}

exit_code cmd_devices(cli_app *app) {
    const char *const operands[] = {NULL};
    const command_help help = {
        .usage = "[options]",
        .description = "Lists the OpenCL devices of this machine; a star marks the one that --device (or its "
                       "default) would open, and each says why it is or is not chosen. With --verbose each value "
                       "of a device's profile, where it comes from and why, and what is known of its driver.",
        .operands = operands,
    };
    bool wants_probe = false;
    const cli_option options[] = {
        {.kind = OPTION_FLAG, .name = "probe", .value = &wants_probe,
         .help = "measure each device's speed first and keep it: auto then takes the fastest"},
    };
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, sizeof options / sizeof options[0], words, &code)) return code;
    code = app_create_context(app);
    if (code != EXIT_CODE_OK) return code;

    eqf_device_info *devices = NULL;
    size_t num_devices = 0;
    eqf_status status = eqf_device_list(app->ctx, &devices, &num_devices);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (wants_probe) {
        code = probe_all(app, devices, num_devices);
        eqf_free(devices);
        if (code != EXIT_CODE_OK) return code;
        status = eqf_device_list(app->ctx, &devices, &num_devices);
        if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    for (size_t i = 0; i < num_devices; i++) translate_reason(&devices[i]);
    if (app->device) code = mark_selected(app, devices, num_devices);
    if (code == EXIT_CODE_OK) code = print_all(app, devices, num_devices);
    eqf_free(devices);
    return code;
}
