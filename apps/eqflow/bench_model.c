/* `eqflow bench --model`: the time that a described device would take, in each layout that it could use; for this
 * machine's own device beside what is measured. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "bench.h"
#include "eqflow/bench.h"

static const char *const works[] = {
    [EQF_BENCH_SAMPLE] = "sample", [EQF_BENCH_TRAIN] = "train", [EQF_BENCH_MATCH] = "train by flow matching"};
static const char *const layouts[] = {[EQF_BENCH_AS_CHOSEN] = "chosen",
                                      [EQF_BENCH_LANES] = "lanes",
                                      [EQF_BENCH_GROUP] = "group",
                                      [EQF_BENCH_GROUP_STAGED] = "group, local"};

typedef struct model_session {
    cli_app *app;
    cli_output output;
    char *text; /* the device's description */
    bool is_here;
    uint64_t batch;
    eqf_dynamics_kind field;
    eqf_integrator_method method;
    double steps;       /* of a method with step control */
    const char *device; /* its name, or its file's */
    json_t *rows;
} model_session;

/* A description that is not understood is named. */
static exit_code fail_model(model_session *session, eqf_status status) {
    if (status == EQF_ERROR_FORMAT && !session->is_here)
        return app_fail(session->app, EXIT_CODE_INPUT, "%s: %s", session->device, eqf_context_error(session->app->ctx));
    const exit_code code = app_fail_status(session->app, status, ACTIVITY_COMPUTE);
    return status == EQF_ERROR_UNSUPPORTED ? EXIT_CODE_USAGE : code;
}

/* ---- The device ------------------------------------------------------------------------------------------------- */

static exit_code read_file(model_session *session, const char *path) {
    enum { MOST = 1 << 16 };
    struct stat about;
    const bool is_file = stat(path, &about) == 0;
    if (is_file && !S_ISREG(about.st_mode))
        return app_fail(session->app, EXIT_CODE_INPUT, "cannot read %s: it is %s: give a .device file", path,
                        S_ISDIR(about.st_mode) ? "a folder" : "a device or a pipe");
    FILE *stream = is_file ? fopen(path, "r") : NULL;
    if (is_file && !stream) return app_fail(session->app, EXIT_CODE_INPUT, "cannot read %s: %s", path, strerror(errno));
    if (!stream) {
        char names[512] = "";
        for (size_t i = 0; eqf_bench_device_name(i); i++) {
            const char *name = strrchr(eqf_bench_device_name(i), '/') + 1;
            const size_t length = strlen(names);
            snprintf(names + length, sizeof names - length, "%s%.*s", i > 0 ? ", " : "", (int)strcspn(name, "."), name);
        }
        return app_fail(session->app, EXIT_CODE_USAGE, "no device '%s': there are here, %s, or a .device file", path,
                        names);
    }
    session->text = app_alloc(session->app, MOST, 1, "the description");
    const size_t size = session->text ? fread(session->text, 1, MOST, stream) : 0;
    fclose(stream);
    if (!session->text) return EXIT_CODE_DEVICE;
    if (size == MOST || memchr(session->text, '\0', size))
        return app_fail(session->app, EXIT_CODE_INPUT, "%s is no description of a device: %s", path,
                        size == MOST ? "it is longer than 64 KiB" : "it holds a zero byte");
    session->text[size] = '\0';
    return EXIT_CODE_OK;
}

static exit_code find_device(model_session *session, const char *name) {
    cli_app *app = session->app;
    session->is_here = strcmp(name, "here") == 0;
    exit_code code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    if (session->is_here) {
        eqf_status status = eqf_bench_describe(app->ctx, &session->text);
        return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    const char *known = eqf_bench_device_text(name);
    if (!known) return read_file(session, name);
    session->text = app_alloc(app, strlen(known) + 1, 1, "the description");
    if (!session->text) return EXIT_CODE_DEVICE;
    memcpy(session->text, known, strlen(known) + 1);
    return EXIT_CODE_OK;
}

/* ---- Rows ------------------------------------------------------------------------------------------------------- */

static exit_code measure_here(model_session *session, const eqf_model_options *model, eqf_bench_work work, size_t batch,
                              double *seconds_out) {
    const bench_problem problem = {.task = work == EQF_BENCH_TRAIN ? BENCH_TRAIN : BENCH_SAMPLE,
                                   .model = *model,
                                   .batch = batch,
                                   .integration_penalty = 0};
    bench_case bench;
    bench_figure figure = {.median = 0};
    exit_code code = bench_case_create(session->app, &problem, &bench);
    if (code == EXIT_CODE_OK) code = bench_case_measure(&bench, 0.5, 7, &figure);
    bench_case_clear(&bench);
    *seconds_out = figure.low; /* what other work on the machine took is no time of the device's */
    return code;
}

static void add_row(model_session *session, const char *system, eqf_bench_work work, eqf_bench_layout layout,
                    size_t batch, const eqf_bench_estimate *e, bool is_chosen, double measured) {
    char us[32], calls[32], ratio[32] = "";
    const double per_sample = e->seconds / (double)batch;
    if (measured > 0) snprintf(ratio, sizeof ratio, "  measured/model %.2f", measured / e->seconds);
    output_line(&session->output, "%c %-18s %9s %9s %8llu %4.0f%%  %s %.0f%%%s", is_chosen ? '*' : ' ', layouts[layout],
                bench_brief(1e6 * per_sample, us), bench_brief(1 / e->seconds, calls),
                (unsigned long long)e->num_launches, 100 * e->occupancy, e->longest, 100 * e->longest_share, ratio);
    json_t *row = json_object();
    json_object_set_new(row, "system", json_string(system));
    json_object_set_new(row, "task", json_string(works[work]));
    json_object_set_new(row, "layout", json_string(layouts[layout]));
    json_object_set_new(row, "is_chosen", json_boolean(is_chosen));
    json_object_set_new(row, "batch", json_integer((json_int_t)batch));
    json_object_set_new(row, "seconds", output_real(e->seconds));
    json_object_set_new(row, "arithmetic", output_real(e->arithmetic));
    json_object_set_new(row, "memory", output_real(e->memory));
    json_object_set_new(row, "cache", output_real(e->cache));
    json_object_set_new(row, "local_memory", output_real(e->local_memory));
    json_object_set_new(row, "latency", output_real(e->latency));
    json_object_set_new(row, "launches", output_real(e->launches));
    json_object_set_new(row, "copies", output_real(e->copies));
    json_object_set_new(row, "uncounted", output_real(e->uncounted));
    json_object_set_new(row, "num_launches", json_integer((json_int_t)e->num_launches));
    json_object_set_new(row, "gflop", output_real(e->gflop));
    json_object_set_new(row, "memory_gigabytes", output_real(e->memory_gigabytes));
    json_object_set_new(row, "local_gigabytes", output_real(e->local_gigabytes));
    json_object_set_new(row, "occupancy", output_real(e->occupancy));
    json_object_set_new(row, "longest", json_string(e->longest));
    json_object_set_new(row, "longest_share", output_real(e->longest_share));
    if (measured > 0) json_object_set_new(row, "measured_seconds", output_real(measured));
    json_array_append_new(session->rows, row);
}

static exit_code model_work(model_session *session, const char *system, const eqf_model_options *model,
                            eqf_bench_work work, size_t batch) {
    eqf_context *ctx = session->app->ctx;
    eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
    eqf_bench_estimate chosen = EQF_BENCH_ESTIMATE_INIT, estimate = EQF_BENCH_ESTIMATE_INIT;
    double measured = 0;
    question.work = work;
    question.batch_size = batch;
    question.method = session->method;
    question.num_steps = session->steps;
    eqf_status status = eqf_bench_model(ctx, session->text, model, &question, &chosen);
    if (status != EQF_OK) return fail_model(session, status);
    const bool is_adaptive = eqf_integrator_method_describe(session->method)->has_step_control;
    if (session->is_here && !is_adaptive && work != EQF_BENCH_MATCH) {
        exit_code code = measure_here(session, model, work, batch, &measured);
        if (code != EXIT_CODE_OK) return code;
    }
    output_line(&session->output, "%s, %s, batch %zu", system, works[work], batch);
    bool is_shown = false;
    for (eqf_bench_layout layout = EQF_BENCH_LANES; !session->is_here && layout <= EQF_BENCH_GROUP_STAGED; layout++) {
        question.layout = layout;
        status = eqf_bench_model(ctx, session->text, model, &question, &estimate);
        if (status == EQF_ERROR_UNSUPPORTED) continue; /* no such form, or no room */
        if (status != EQF_OK) return fail_model(session, status);
        const bool is_chosen = estimate.is_by_group == chosen.is_by_group && estimate.is_staged == chosen.is_staged;
        if (is_shown && !estimate.is_by_group) continue;
        add_row(session, system, work, layout, batch, &estimate, is_chosen, 0);
        is_shown = true;
    }
    if (!is_shown) add_row(session, system, work, EQF_BENCH_AS_CHOSEN, batch, &chosen, true, measured);
    return EXIT_CODE_OK;
}

static exit_code model_all(model_session *session, const eqf_preset *const *presets, size_t num_presets) {
    for (size_t p = 0; p < num_presets; p++) {
        eqf_model_options model = EQF_MODEL_OPTIONS_INIT;
        eqf_status status = eqf_preset_model_options(presets[p], session->field, &model);
        if (status != EQF_OK) return app_fail_status(session->app, status, ACTIVITY_COMPUTE);
        const size_t batches[] = {256, 4096};
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            const size_t batch = session->batch > 0 ? (size_t)session->batch : batches[b];
            for (eqf_bench_work work = EQF_BENCH_SAMPLE; work <= EQF_BENCH_MATCH; work++) {
                if (work == EQF_BENCH_MATCH && !eqf_dynamics_kind_describe(session->field)->is_batched) continue;
                exit_code code = model_work(session, presets[p]->name, &model, work, batch);
                if (code != EXIT_CODE_OK) return code;
            }
            if (session->batch > 0) break;
        }
    }
    return EXIT_CODE_OK;
}

exit_code bench_model_report(cli_app *app, const bench_model_question *question, uint64_t batch,
                             const eqf_preset *const *presets, size_t num_presets) {
    const char *device = question->device, *field = question->field, *integrator = question->integrator;
    model_session session = {.app = app, .batch = batch, .device = device, .steps = question->steps};
    exit_code code = EXIT_CODE_OK;
    if (eqf_dynamics_kind_find(field, &session.field) != EQF_OK)
        return app_fail(app, EXIT_CODE_USAGE, "unknown field '%s'; there are radial, dense and message", field);
    if (eqf_integrator_method_find(integrator, &session.method) != EQF_OK)
        return app_fail(app, EXIT_CODE_USAGE, "unknown integrator '%s'; there are rk4 and dopri5", integrator);
    if (num_presets == 0) return app_fail(app, EXIT_CODE_USAGE, "--model wants a system: dw2, dw4, lj13, lj55 or all");
    if ((code = output_begin(&session.output, app)) != EXIT_CODE_OK) return code;
    code = find_device(&session, device);
    session.rows = json_array();
    if (code == EXIT_CODE_OK) {
        output_text(&session.output, "device", NULL, device);
        output_text(&session.output, "field", NULL, field);
        output_text(&session.output, "integrator", NULL, integrator);
        output_line(&session.output, "%s, %s field by %s: what a call takes at best, counted and not measured", device,
                    field, integrator);
        output_line(&session.output, "  %-18s %9s %9s %8s %5s  %s", "layout", "us/sample", "calls/s", "launches",
                    "occ.", "longest kernel");
        code = model_all(&session, presets, num_presets);
        output_json(&session.output, "rows", session.rows);
    } else {
        json_decref(session.rows);
    }
    if (session.is_here)
        eqf_free(session.text);
    else
        free(session.text);
    if (code == EXIT_CODE_OK) return output_finish(&session.output);
    output_abandon(&session.output);
    return code;
}
