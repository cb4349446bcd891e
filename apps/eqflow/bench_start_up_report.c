#include <math.h>
#include <stdio.h>

#include "bench.h"
#include "eqflow/version.h"
#include "output.h"

/* Three or four significant digits in few columns; "-" where there is none. */
const char *bench_brief(double value, char text[32]) {
    if (!isfinite(value)) return "-";
    snprintf(text, 32,
             value >= 99999.5 || (value > 0 && value < 1e-3) ? "%.2e"
             : value >= 999.5                                ? "%.0f"
                                                             : "%.3g",
             value);
    return text;
}

void bench_describe_device(cli_output *output, const eqf_device_info *device, const eqf_bench_yardsticks *y) {
    char fma[32], copy[32];
    output_line(output, "%s, %u compute units", device->name, device->compute_units);
    output_line(output, "%s, driver %s; profile %s, %u samples a work-item", device->platform_name,
                device->driver_version, device->profile_name, device->vector_width);
    output_line(output, "FMA peak %s GFLOP/s (float32), copy %s GB/s (read + write), measured",
                bench_brief(y->fma_gflops, fma), bench_brief(y->copy_gbps, copy));
    output_text(output, "version", NULL, eqf_version());
    output_text(output, "revision", NULL, eqf_version_revision());
    output_text(output, "device", NULL, device->name);
    output_text(output, "platform", NULL, device->platform_version);
    output_text(output, "driver", NULL, device->driver_version);
    output_text(output, "profile", NULL, device->profile_name);
    output_count(output, "compute_units", NULL, device->compute_units);
    output_count(output, "vector_width", NULL, device->vector_width);
    output_number(output, "fma_peak_gflops", NULL, y->fma_gflops, NULL);
    output_number(output, "copy_bandwidth_gbps", NULL, y->copy_gbps, NULL);
    output_count(output, "copy_bytes", NULL, y->copy_bytes);
}

json_t *bench_start_up_json(const bench_start_up *s) {
    json_t *json = json_object();
    json_object_set_new(json, "device_seconds", output_real(s->device));
    json_object_set_new(json, "flow_seconds", output_real(s->flow));
    json_object_set_new(json, "tables_seconds", output_real(s->tables));
    json_object_set_new(json, "first_launch_seconds", output_real(s->first_launch));
    json_object_set_new(json, "next_launch_seconds", output_real(s->next_launch));
    json_object_set_new(json, "finish_seconds", output_real(s->finish));
    if (!isnan(s->process)) json_object_set_new(json, "process_seconds", output_real(s->process));
    return json;
}

static void start_up_row(cli_output *output, const char *label, double a, double b, double c) {
    char texts[3][32];
    output_line(output, "  %-44s %9s %9s %9s", label, bench_brief(1e3 * a, texts[0]), bench_brief(1e3 * b, texts[1]),
                bench_brief(1e3 * c, texts[2]));
}

void bench_start_up_print(cli_output *output, const eqf_preset *preset, const bench_start_up *here,
                          const bench_start_up *cold, const bench_start_up *warm) {
    output_line(output, "%s", "");
    output_line(output, "Start-up for %s, milliseconds", preset->name);
    output_line(output, "  %-44s %9s %9s %9s", "", "here", "cold", "warm");
    start_up_row(output, "OpenCL loader and device", here->device, cold->device, warm->device);
    start_up_row(output, "programs and stage tables", here->flow, cold->flow, warm->flow);
    start_up_row(output, "  of these stage tables", here->tables, cold->tables, warm->tables);
    start_up_row(output, "first 16 samples", here->first_launch, cold->first_launch, warm->first_launch);
    start_up_row(output, "the same samples again", here->next_launch, cold->next_launch, warm->next_launch);
    start_up_row(output, "end: programs to the cache, device closed", here->finish, cold->finish, warm->finish);
    start_up_row(output, "whole process", here->process, cold->process, warm->process);
}

/* Prints the seconds of this process, which bench_start_up_spawn reads. */
exit_code bench_start_up_report(cli_app *app, const eqf_preset *preset) {
    bench_start_up here;
    cli_output output;
    exit_code code = bench_start_up_here(app, preset, &here);
    if (code == EXIT_CODE_OK) code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "system", "system", preset->name);
    output_json(&output, "start_up", bench_start_up_json(&here));
    output_number(&output, "device_ms", "OpenCL loader and device (ms)", 1e3 * here.device, NULL);
    output_number(&output, "flow_ms", "programs and stage tables (ms)", 1e3 * here.flow, NULL);
    output_number(&output, "tables_ms", "  of these stage tables (ms)", 1e3 * here.tables, NULL);
    output_number(&output, "first_launch_ms", "first 16 samples (ms)", 1e3 * here.first_launch, NULL);
    output_number(&output, "next_launch_ms", "the same samples again (ms)", 1e3 * here.next_launch, NULL);
    output_number(&output, "finish_ms", "end: programs to the cache (ms)", 1e3 * here.finish, NULL);
    return output_finish(&output);
}
