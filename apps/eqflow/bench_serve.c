/* `eqflow bench --serve`: the protocol of tests/bench/compare.py, one request a line, one JSON object a line in return.
 * Cases stay prepared, so that a measurement between two of a peer takes no further time. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench.h"
#include "eqflow/version.h"
#include "output.h"

enum { LINE_SIZE = 4096, MAX_WORDS = 8 };

typedef struct serve_state {
    cli_app *app;
    eqf_device_info device;
    bench_case **cases;
    size_t num_cases;
} serve_state;

static const bench_task served_tasks[] = {BENCH_SAMPLE, BENCH_TRAIN, BENCH_MCMC};
enum { NUM_SERVED_TASKS = sizeof served_tasks / sizeof served_tasks[0] };

static void set_text(json_t *object, const char *key, const char *text) {
    json_object_set_new(object, key, output_json_text(text));
}

static json_t *failure(const char *format, ...) APP_PRINTF(1, 2);
static json_t *failure(const char *format, ...) {
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *answer = json_object();
    set_text(answer, "error", text);
    return answer;
}

/* The context's last error message, which is also printed on stderr. */
static json_t *library_failure(const serve_state *state) {
    const char *message = eqf_context_error(state->app->ctx);
    return failure("%s", message[0] ? message : "failed; stderr says why");
}

/* ---- info -------------------------------------------------------------------------------------------------------- */

/* The value behind "key\t: " in a file of /proc; "" if there is none. */
static void read_proc(const char *path, const char *key, char *text, size_t size) {
    char line[LINE_SIZE];
    text[0] = '\0';
    FILE *stream = fopen(path, "r");
    while (stream && fgets(line, sizeof line, stream)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(text, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (stream) fclose(stream);
}

/* CPUs that this process may use: bits of a hexadecimal mask such as "f,ffffffff". */
static int num_allowed_cpus(void) {
    char mask[LINE_SIZE];
    int count = 0;
    read_proc("/proc/self/status", "Cpus_allowed", mask, sizeof mask);
    for (const char *c = mask; *c; c++) {
        if (!isxdigit((unsigned char)*c)) continue;
        for (long digit = strtol((char[2]){*c, '\0'}, NULL, 16); digit > 0; digit /= 2) count += (int)(digit % 2);
    }
    return count;
}

static json_t *answer_info(const serve_state *state) {
    char cpu[256];
    read_proc("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    json_t *versions = json_object(), *tasks = json_array(), *answer = json_object();
    set_text(versions, "eqflow", eqf_version());
    set_text(versions, "revision", eqf_version_revision());
    set_text(versions, "compiler", eqf_version_compiler());
    set_text(versions, "device", state->device.name);
    set_text(versions, "platform", state->device.platform_version);
    set_text(versions, "driver", state->device.driver_version);
    for (size_t t = 0; t < NUM_SERVED_TASKS; t++) {
        json_array_append_new(tasks, json_string(bench_task_name(served_tasks[t])));
    }
    json_object_set_new(answer, "versions", versions);
    json_object_set_new(answer, "blas", json_array());
    set_text(answer, "cpu", cpu);
    json_object_set_new(answer, "affinity", json_integer(num_allowed_cpus()));
    json_object_set_new(answer, "threads", json_integer(state->device.compute_units));
    json_object_set_new(answer, "tasks", tasks);
    return answer;
}

/* ---- prepare, measure -------------------------------------------------------------------------------------------- */

/* Reads TASK SYSTEM BATCH from words[1..3]; returns NULL, or the answer that says what is wrong. */
static json_t *read_problem(const serve_state *state, char *const words[], bench_problem *problem) {
    size_t t = 0;
    while (t < NUM_SERVED_TASKS && strcmp(bench_task_name(served_tasks[t]), words[1]) != 0) t++;
    if (t == NUM_SERVED_TASKS) return failure("eqflow has no task '%s', only sample, train, mcmc", words[1]);
    const eqf_preset *preset = eqf_preset_find(words[2]);
    if (!preset) return failure("unknown system '%s'; see eqflow train --help", words[2]);
    char *end;
    unsigned long long batch = strtoull(words[3], &end, 10);
    if (*end != '\0' || !isdigit((unsigned char)words[3][0]) || batch > 1 << 24) {
        return failure("batch '%s' is not a number up to 16777216", words[3]);
    }
    /* Training as in the peers: likelihood without penalty. */
    *problem = (bench_problem){served_tasks[t], *preset->model, (size_t)batch, 0.0};
    if (batch == 0) problem->batch = bench_best_batch(&state->device, problem->task, &preset->model->potential);
    return NULL;
}

static bench_case *find_case(const serve_state *state, const bench_problem *problem) {
    for (size_t c = 0; c < state->num_cases; c++) {
        const bench_problem *known = &state->cases[c]->problem;
        if (known->task == problem->task && known->batch == problem->batch &&
            strcmp(known->model.preset, problem->model.preset) == 0) {
            return state->cases[c];
        }
    }
    return NULL;
}

/* A prepared case; NULL and *answer_out after a failure. */
static bench_case *ready(serve_state *state, char *const words[], json_t **answer_out) {
    bench_problem problem;
    *answer_out = read_problem(state, words, &problem);
    if (*answer_out) return NULL;
    bench_case *bench = find_case(state, &problem);
    if (bench) return bench;
    bench_case **cases = realloc(state->cases, (state->num_cases + 1) * sizeof *cases);
    if (cases) state->cases = cases;
    bench = cases ? calloc(1, sizeof *bench) : NULL;
    if (!bench) {
        *answer_out = failure("out of memory");
        return NULL;
    }
    if (bench_case_create(state->app, &problem, bench) != EXIT_CODE_OK) {
        *answer_out = library_failure(state);
        bench_case_clear(bench);
        free(bench);
        return NULL;
    }
    state->cases[state->num_cases++] = bench;
    return bench;
}

static json_t *describe(const bench_case *bench) {
    json_t *answer = json_object();
    set_text(answer, "task", bench_task_name(bench->problem.task));
    set_text(answer, "system", bench->problem.model.preset);
    json_object_set_new(answer, "batch", json_integer((json_int_t)bench->problem.batch));
    return answer;
}

static json_t *answer_prepare(serve_state *state, char *const words[]) {
    const double start = app_seconds();
    json_t *answer;
    bench_case *bench = ready(state, words, &answer);
    if (!bench) return answer;
    answer = describe(bench);
    json_object_set_new(answer, "prepare_seconds", json_real(app_seconds() - start));
    return answer;
}

static json_t *answer_measure(serve_state *state, char *const words[], const char *seconds_text) {
    char *end;
    const double seconds = strtod(seconds_text, &end);
    if (*end != '\0' || !(seconds >= 0 && seconds <= 1e6)) return failure("'%s' are no seconds", seconds_text);
    json_t *answer;
    bench_case *bench = ready(state, words, &answer);
    if (!bench) return answer;
    bench_figure figure;
    if (bench_case_measure(bench, seconds, 1, &figure) != EXIT_CODE_OK) return library_failure(state);
    if (!isfinite(figure.value)) return failure("the result is not finite");
    answer = describe(bench);
    json_object_set_new(answer, "threads", json_integer(state->device.compute_units));
    json_object_set_new(answer, "calls", json_integer((json_int_t)figure.num_calls));
    json_object_set_new(answer, "seconds_per_call", json_real(figure.median));
    json_object_set_new(answer, "samples_per_second", json_real((double)bench->problem.batch / figure.median));
    json_object_set_new(answer, "value", json_real(figure.value));
    return answer;
}

/* ---- model ------------------------------------------------------------------------------------------------------- */

static json_t *answer_model(const serve_state *state, const char *system, const char *path) {
    const eqf_preset *preset = eqf_preset_find(system);
    if (!preset) return failure("unknown system '%s'; see eqflow train --help", system);
    eqf_context *ctx = state->app->ctx;
    eqf_model *model = NULL;
    eqf_status status = eqf_model_create(ctx, preset->model, &model);
    if (status == EQF_OK) status = eqf_model_save(ctx, model, path);
    eqf_model_destroy(&model);
    if (status != EQF_OK) return library_failure(state);
    json_t *answer = json_object();
    set_text(answer, "model", path);
    return answer;
}

/* ---- Loop -------------------------------------------------------------------------------------------------------- */

static json_t *answer_request(serve_state *state, char *const words[], size_t num_words) {
    const char *request = words[0];
    if (strcmp(request, "info") == 0 && num_words == 1) return answer_info(state);
    if (strcmp(request, "prepare") == 0 && num_words == 4) return answer_prepare(state, words);
    if (strcmp(request, "measure") == 0 && num_words == 4) return answer_measure(state, words, "0");
    if (strcmp(request, "measure") == 0 && num_words == 5) return answer_measure(state, words, words[4]);
    if (strcmp(request, "model") == 0 && num_words == 3) return answer_model(state, words[1], words[2]);
    return failure("unknown request '%s' with %zu words; there are info, prepare TASK SYSTEM BATCH, "
                   "measure TASK SYSTEM BATCH [SECONDS], model SYSTEM PATH, quit",
                   request, num_words - 1);
}

static bool print_answer(json_t *answer) {
    set_text(answer, "peer", "eqflow");
    const bool is_written = json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10)) == 0 &&
                            fputc('\n', stdout) != EOF && fflush(stdout) == 0;
    json_decref(answer);
    return is_written;
}

exit_code bench_serve(cli_app *app) {
    serve_state state = {.app = app, .device = EQF_DEVICE_INFO_INIT};
    exit_code code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_context_device(app->ctx, &state.device);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    char line[LINE_SIZE];
    while (fgets(line, sizeof line, stdin)) {
        char *words[MAX_WORDS], *rest = NULL;
        size_t num_words = 0;
        for (char *word = strtok_r(line, " \t\r\n", &rest); word && num_words < MAX_WORDS;
             word = strtok_r(NULL, " \t\r\n", &rest)) {
            words[num_words++] = word;
        }
        if (num_words == 0) continue;
        if (strcmp(words[0], "quit") == 0) break;
        if (!print_answer(answer_request(&state, words, num_words))) {
            code = app_fail(app, EXIT_CODE_OUTPUT, "an answer could not be written to stdout");
            break;
        }
    }
    for (size_t c = 0; c < state.num_cases; c++) {
        bench_case_clear(state.cases[c]);
        free(state.cases[c]);
    }
    free(state.cases);
    return code;
}
