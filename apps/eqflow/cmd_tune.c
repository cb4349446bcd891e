/* eqflow tune: tries values of the device profile, one key after the other, in turns with the best so far, and keeps
 * those that are faster and pass the self-test. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eqflow/cache.h"
#include "eqflow/device.h"
#include "eqflow/selftest.h"
#include "eqflow/version.h"

#include "bench.h"
#include "commands.h"
#include "options.h"
#include "output.h"
#include "signals.h"

/* The values that are tried, in the order of their effect. Other keys, and other values of these, affect more than
 * speed. */
static const struct {
    const char *key;
    const char *values[6];
} searches[] = {
    {"vector_width", {"1", "8", "16"}},
    {"local_size", {"1", "8", "64", "256"}},
    {"group_size", {"0", "32", "64", "128"}},
    {"table_cells", {"256", "512", "1024"}},
};
enum { NUM_KEYS = sizeof searches / sizeof searches[0], NUM_ROUNDS = 5, NUM_CASES = 2 };
/* Two runs with the same values differ by a few per cent, so a gain must be larger. */
static const double least_gain = 0.04;

typedef struct tuning {
    cli_app *app;
    eqf_device_info device;
    char settings[NUM_KEYS][48]; /* the best so far, "key=value" */
    const char *only; /* a key, or NULL: all */
    double seconds;
    double gain; /* time of the profile's values over that of the best */
    cli_output output;
    json_t *points;
} tuning;

/* One set of values: its context, which has passed the self-test, and the timed cases. */
typedef struct tune_point {
    cli_app app;
    bench_case cases[NUM_CASES];
} tune_point;

static void point_close(tune_point *point) {
    for (size_t c = 0; c < NUM_CASES; c++) bench_case_clear(&point->cases[c]);
    eqf_context_destroy(&point->app.ctx);
}

static const char *value_of(const char *setting) {
    return strchr(setting, '=') + 1;
}

/* Sampling of a larger system, a training step of a small one. */
static exit_code open_cases(tune_point *point) {
    static const struct {
        const char *preset;
        bench_task task;
    } what[NUM_CASES] = {{"lj13", BENCH_SAMPLE}, {"dw4", BENCH_TRAIN}};
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    eqf_status status = eqf_context_device(point->app.ctx, &device);
    if (status != EQF_OK) return app_fail_status(&point->app, status, ACTIVITY_COMPUTE);
    for (size_t c = 0; c < NUM_CASES; c++) {
        const eqf_preset *preset = eqf_preset_find(what[c].preset);
        bench_problem problem = {.task = what[c].task, .model = *preset->model, .batch = 256};
        if (problem.task == BENCH_SAMPLE)
            problem.batch = bench_best_batch(&device, problem.task, &problem.model.potential);
        exit_code code = bench_case_create(&point->app, &problem, &point->cases[c]);
        if (code != EXIT_CODE_OK) return code;
    }
    return EXIT_CODE_OK;
}

static exit_code point_open(const tuning *t, char settings[NUM_KEYS][48], tune_point *point) {
    memset(point, 0, sizeof *point);
    point->app = *t->app;
    cli_app *app = &point->app;
    app->ctx = NULL;
    for (size_t k = 0; k < NUM_KEYS; k++) {
        if (app->profile_settings.num_texts == CLI_LIST_MAX)
            return app_fail(app, EXIT_CODE_USAGE, "too many --set-profile");
        app->profile_settings.texts[app->profile_settings.num_texts++] = settings[k];
    }
    exit_code code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_selftest_of(app->ctx, "radial", NULL, NULL);
    if (status != EQF_OK) return exit_code_of(status, ACTIVITY_COMPUTE);
    return open_cases(point);
}

/* Geometric mean over cases of the best time of all rounds; the two points are timed in turns, because the clock
 * changes. *ratio_out: a over b. */
static exit_code compare(const tuning *t, tune_point *a, tune_point *b, double *ratio_out) {
    double log_ratio = 0;
    for (size_t c = 0; c < NUM_CASES; c++) {
        double best_a = INFINITY, best_b = INFINITY;
        for (int round = 0; round < NUM_ROUNDS; round++) {
            bench_figure figure;
            exit_code code = bench_case_measure(&a->cases[c], t->seconds, 1, &figure);
            if (code != EXIT_CODE_OK) return code;
            best_a = fmin(best_a, figure.low);
            code = bench_case_measure(&b->cases[c], t->seconds, 1, &figure);
            if (code != EXIT_CODE_OK) return code;
            best_b = fmin(best_b, figure.low);
        }
        log_ratio += log(best_a / best_b) / NUM_CASES;
    }
    *ratio_out = exp(log_ratio);
    return EXIT_CODE_OK;
}

static void note_point(tuning *t, const char *setting, const char *outcome, double speed) {
    char text[32];
    output_line(&t->output, "%-28s %-9s %s", setting, isnan(speed) ? "" : output_format(speed, text), outcome);
    json_array_append_new(
        t->points, json_pack("{s:s, s:o, s:s}", "setting", setting, "speed", output_real(speed), "outcome", outcome));
}

/* Compares one value with the best so far. A value with which kernels do not build or fail the self-test is rejected,
 * and tuning goes on. */
static exit_code try_value(tuning *t, size_t key, const char *value) {
    char settings[NUM_KEYS][48];
    memcpy(settings, t->settings, sizeof settings);
    snprintf(settings[key], sizeof settings[key], "%s=%s", searches[key].key, value);
    tune_point *candidate = calloc(2, sizeof *candidate);
    if (!candidate) return app_fail(t->app, EXIT_CODE_DEVICE, "out of memory");
    tune_point *best = candidate + 1;
    exit_code code = point_open(t, settings, candidate);
    if (code != EXIT_CODE_OK && code != EXIT_CODE_INTERRUPTED) {
        note_point(t, settings[key], code == EXIT_CODE_SELF_TEST ? "rejected: wrong results" : "rejected: does not run",
                   NAN);
        code = EXIT_CODE_OK;
    } else if (code == EXIT_CODE_OK) {
        double ratio = NAN;
        code = point_open(t, t->settings, best);
        if (code == EXIT_CODE_OK) code = compare(t, best, candidate, &ratio);
        if (code == EXIT_CODE_OK) {
            const bool is_better = ratio > 1 + least_gain;
            note_point(t, settings[key], is_better ? "taken" : "not faster", ratio);
            if (is_better) {
                memcpy(t->settings, settings, sizeof settings);
                t->gain *= ratio;
            }
        }
    }
    point_close(candidate);
    point_close(best);
    free(candidate);
    return code;
}

/* The profile's own values, without the tuning that is stored. */
static exit_code start(tuning *t) {
    exit_code code = app_open(t->app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_context_device(t->app->ctx, &t->device);
    eqf_device_profile *profile = calloc(1, sizeof *profile);
    if (!profile) return app_fail(t->app, EXIT_CODE_DEVICE, "out of memory");
    profile->struct_size = sizeof *profile;
    if (status == EQF_OK) status = eqf_device_get_profile(t->app->ctx, t->device.index, profile);
    for (size_t k = 0; k < NUM_KEYS && status == EQF_OK; k++) {
        for (unsigned v = 0; v < profile->num_values; v++) {
            if (strcmp(profile->values[v].key, searches[k].key) == 0)
                snprintf(t->settings[k], sizeof t->settings[k], "%s=%.20s", searches[k].key, profile->values[v].value);
        }
    }
    free(profile);
    /* the profile's values must pass, to have something to compare with */
    if (status == EQF_OK) status = eqf_selftest_of(t->app->ctx, "radial", NULL, NULL);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(t->app, status, ACTIVITY_COMPUTE);
}

static exit_code search(tuning *t) {
    output_line(&t->output, "%-28s %-9s %s", "value", "speed", "against the best so far");
    for (size_t k = 0; k < NUM_KEYS; k++) {
        if (t->only ? strcmp(t->only, searches[k].key) != 0
                    : strcmp(searches[k].key, "group_size") == 0 && t->device.type == EQF_DEVICE_CPU)
            continue; /* on a CPU a work-group is one thread, so sharing a sample has no use */
        for (size_t v = 0; v < 6 && searches[k].values[v]; v++) {
            if (signals_is_stop_requested())
                return app_fail(t->app, EXIT_CODE_INTERRUPTED, "stopped: nothing was stored");
            if (strcmp(searches[k].values[v], value_of(t->settings[k])) == 0) continue;
            if (strstr(searches[k].key, "_size") &&
                strtoul(searches[k].values[v], NULL, 10) > t->device.max_work_group_size)
                continue;
            exit_code code = try_value(t, k, searches[k].values[v]);
            if (code != EXIT_CODE_OK) return code;
        }
    }
    return EXIT_CODE_OK;
}

/* Writes a file in the format of platforms/; the stored tuning is the same without the first lines. */
static void write_profile(const tuning *t, FILE *stream) {
    char date[16] = "";
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts)) strftime(date, sizeof date, "%Y-%m-%d", &parts);
    for (size_t k = 0; k < NUM_KEYS; k++) {
        const char *value = value_of(t->settings[k]);
        fprintf(stream, "%s = %-*s # eqflow tune %s, driver %.60s, %s\n", searches[k].key,
                30 - (int)strlen(searches[k].key), value, eqf_version(), t->device.driver_version, date);
    }
}

static exit_code report(tuning *t, bool is_dry) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return app_fail(t->app, EXIT_CODE_DEVICE, "out of memory");
    write_profile(t, stream);
    fclose(stream);
    output_line(&t->output, "\n%.3g times the speed of the values before. As a file of platforms/:\n", t->gain);
    output_line(&t->output, "level = device\nmatch.platform = %s\nmatch.device = %s\n\n%s", t->device.platform_name,
                t->device.name, text);
    eqf_status status = EQF_OK;
    if (is_dry) {
        output_line(&t->output, "not stored (--dry-run)");
    } else if ((status = eqf_device_store_tuning(t->app->ctx, text)) == EQF_OK) {
        output_line(&t->output,
                    "stored in %s: later runs on this device and driver use it; eqflow tune --forget removes it",
                    eqf_cache_path(t->app->ctx));
    }
    json_t *settings = json_object();
    for (size_t k = 0; k < NUM_KEYS; k++)
        json_object_set_new(settings, searches[k].key, json_string(value_of(t->settings[k])));
    output_json(&t->output, "points", json_incref(t->points));
    output_json(&t->output, "settings", settings);
    output_number(&t->output, "gain", NULL, t->gain, NULL);
    output_bool(&t->output, "is_stored", NULL, !is_dry && status == EQF_OK);
    free(text);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(t->app, status, ACTIVITY_WRITE);
}

static exit_code forget(cli_app *app) {
    exit_code code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_device_store_tuning(app->ctx, NULL);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_WRITE);
    app_note(app, "the device's tuning is forgotten");
    return EXIT_CODE_OK;
}

exit_code cmd_tune(cli_app *app) {
    const char *const operands[] = {NULL};
    const command_help help = {
        .usage = "[options]",
        .description =
            "Tries samples a work-item, work-group sizes and table resolutions on the device, each against the best so "
            "far in turns; what gives a wrong result in the self-test is out. The best is stored for this device and "
            "driver and used from then on: results then differ in their last bits from those before. Let nothing else "
            "run meanwhile.",
        .operands = operands,
        .examples = "  eqflow tune\n  eqflow tune --device gpu --dry-run\n",
    };
    const char *only = NULL;
    double seconds = 0.1;
    bool is_dry = false, wants_forget = false;
    const cli_option options[] = {
        {.kind = OPTION_NUMBER,
         .name = "seconds",
         .argument = "X",
         .value = &seconds,
         .low = 1e-3,
         .high = 60,
         .help = "of one measurement; each value takes 20"},
        {.kind = OPTION_TEXT,
         .name = "only",
         .argument = "KEY",
         .value = &only,
         .help = "try values of this key alone: vector_width, local_size, group_size, table_cells"},
        {.kind = OPTION_FLAG, .name = "dry-run", .value = &is_dry, .help = "store nothing"},
        {.kind = OPTION_FLAG,
         .name = "forget",
         .value = &wants_forget,
         .help = "remove what is stored for the device, and end"},
    };
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, sizeof options / sizeof options[0], words, &code)) return code;
    if (wants_forget) return forget(app);
    bool is_known = !only;
    for (size_t k = 0; k < NUM_KEYS; k++) is_known = is_known || strcmp(only, searches[k].key) == 0;
    if (!is_known)
        return app_fail(app, EXIT_CODE_USAGE, "--only %s: there are vector_width, local_size, group_size, table_cells",
                        only);
    tuning t = {.app = app, .device = EQF_DEVICE_INFO_INIT, .only = only, .seconds = seconds, .gain = 1};
    if ((code = start(&t)) != EXIT_CODE_OK) return code;
    if (!is_dry && eqf_cache_path(app->ctx)[0] == '\0')
        return app_fail(app, EXIT_CODE_USAGE,
                        "there is no cache to store the tuning in (EQFLOW_CACHE=off, or no HOME): use --dry-run");
    if ((code = output_begin(&t.output, app)) != EXIT_CODE_OK) return code;
    t.points = json_array();
    output_text(&t.output, "device", "device", t.device.name);
    output_text(&t.output, "driver_version", "driver", t.device.driver_version);
    code = search(&t);
    if (code == EXIT_CODE_OK) code = report(&t, is_dry);
    json_decref(t.points);
    if (code == EXIT_CODE_OK) return output_finish(&t.output);
    output_abandon(&t.output);
    return code;
}
