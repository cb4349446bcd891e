/* Splits the time of a process before its first samples: in this process, and in new ones with empty or full caches. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "bench.h"
#include "signals.h"

extern char **environ;

enum { PATH_SIZE = 600, MAX_RUNS = 16 };

/* ---- In this process --------------------------------------------------------------------------------------------- */

static eqf_status split(eqf_context *ctx, const char *device, const eqf_preset *preset, float *x, float *log_prob,
                        bench_start_up *s) {
    eqf_model *model = NULL;
    eqf_flow *flow = NULL;
    double mark = app_seconds(), now;
    eqf_status status = eqf_context_open_device(ctx, device);
    s->device = (now = app_seconds()) - mark;
    if (status == EQF_OK) status = eqf_model_create(ctx, preset->model, &model);
    mark = app_seconds();
    if (status == EQF_OK) status = eqf_flow_create(ctx, model, NULL, &flow);
    s->flow = (now = app_seconds()) - mark;
    if (status == EQF_OK) status = eqf_flow_sample(flow, 1, 0, BENCH_START_UP_SAMPLES, x, log_prob);
    s->first_launch = (mark = app_seconds()) - now;
    if (status == EQF_OK) status = eqf_flow_sample(flow, 1, 0, BENCH_START_UP_SAMPLES, x, log_prob);
    s->next_launch = app_seconds() - mark;
    eqf_flow_destroy(&flow);
    mark = app_seconds();
    if (status == EQF_OK) status = eqf_flow_create(ctx, model, NULL, &flow);
    s->tables = app_seconds() - mark;
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    return status;
}

exit_code bench_start_up_here(cli_app *app, const eqf_preset *preset, bench_start_up *start_up_out) {
    const size_t num_dof = (size_t)preset->model->potential.num_particles * preset->model->potential.space_dim;
    float *x = app_alloc(app, BENCH_START_UP_SAMPLES * num_dof, sizeof *x, "the samples");
    float *log_prob = x ? app_alloc(app, BENCH_START_UP_SAMPLES, sizeof *log_prob, "the log-densities") : NULL;
    exit_code code = log_prob ? app_create_context(app) : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        start_up_out->process = NAN;
        eqf_status status = split(app->ctx, app->device, preset, x, log_prob, start_up_out);
        if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    const double mark = app_seconds();
    eqf_context_destroy(&app->ctx); /* later work makes a new context; the cache is written here */
    start_up_out->finish = app_seconds() - mark;
    free(x);
    free(log_prob);
    return code;
}

/* ---- In new processes -------------------------------------------------------------------------------------------- */

/* Removes folder and all below it; follows no links. */
static void remove_tree(const char *folder) {
    DIR *directory = opendir(folder);
    for (struct dirent *file; directory && (file = readdir(directory)) != NULL;) {
        if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0) continue;
        char path[2 * PATH_SIZE];
        struct stat what;
        int length = snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        if (length >= (int)sizeof path || lstat(path, &what) != 0) continue;
        if (S_ISDIR(what.st_mode)) {
            remove_tree(path);
        } else {
            unlink(path);
        }
    }
    if (directory) closedir(directory);
    rmdir(folder);
}

/* This environment with the caches of eqflow, PoCL, Mesa and NVIDIA in folder. NULL: out of memory. The caller frees
 * the array and *texts_out. */
static char **make_environment(const char *folder, bool is_cold, char **texts_out) {
    static const char *const caches[] = {"XDG_CACHE_HOME", "POCL_CACHE_DIR", "MESA_SHADER_CACHE_DIR",
                                         "CUDA_CACHE_PATH"};
    enum { NUM_CACHES = sizeof caches / sizeof caches[0], TEXT_SIZE = PATH_SIZE + 64 };
    size_t num_given = 0, num = 0;
    while (environ[num_given]) num_given++;
    char **environment = calloc(num_given + NUM_CACHES + 2, sizeof *environment);
    char *texts = malloc((NUM_CACHES + 1) * TEXT_SIZE);
    *texts_out = texts;
    if (!environment || !texts) {
        free(environment);
        free(texts);
        return NULL;
    }
    for (size_t i = 0; i < num_given; i++) {
        bool is_replaced = strncmp(environ[i], "EQFLOW_CACHE=", strlen("EQFLOW_CACHE=")) == 0;
        for (size_t c = 0; c < NUM_CACHES; c++) {
            const size_t length = strlen(caches[c]);
            is_replaced |= strncmp(environ[i], caches[c], length) == 0 && environ[i][length] == '=';
        }
        if (!is_replaced) environment[num++] = environ[i];
    }
    for (size_t c = 0; c < NUM_CACHES; c++) {
        environment[num++] = texts + c * TEXT_SIZE;
        snprintf(texts + c * TEXT_SIZE, TEXT_SIZE, "%s=%s", caches[c], folder);
    }
    if (is_cold) {
        environment[num] = texts + (size_t)NUM_CACHES * TEXT_SIZE;
        snprintf(environment[num], TEXT_SIZE, "EQFLOW_CACHE=off");
    }
    return environment;
}

static double real_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The seconds that a new process printed, and its total time. */
static bench_start_up seconds_of(const json_t *printed, double process) {
    return (bench_start_up){real_of(printed, "device_seconds"),
                            real_of(printed, "flow_seconds"),
                            real_of(printed, "tables_seconds"),
                            real_of(printed, "first_launch_seconds"),
                            real_of(printed, "next_launch_seconds"),
                            real_of(printed, "finish_seconds"),
                            process};
}

/* Runs `eqflow bench --start-up --system PRESET --json` and reads what it prints. */
static exit_code spawn_one(cli_app *app, const eqf_preset *preset, const char *folder, bool is_cold,
                           bench_start_up *start_up_out) {
    char program[PATH_SIZE] = "";
    if (readlink("/proc/self/exe", program, sizeof program - 1) <= 0) {
        snprintf(program, sizeof program, "%s", app->argv[0]);
    }
    char device_flag[] = "--device", device[256] = "", bench[] = "bench", start_up[] = "--start-up", json[] = "--json";
    char quiet[] = "--quiet", system_flag[] = "--system", system[32];
    snprintf(system, sizeof system, "%s", preset->name);
    char *words[] = {program, bench, start_up, system_flag, system, json, quiet, NULL, NULL, NULL};
    if (app->device) {
        snprintf(device, sizeof device, "%s", app->device);
        words[7] = device_flag;
        words[8] = device;
    }
    int ends[2];
    char *texts;
    char **environment = make_environment(folder, is_cold, &texts);
    if (!environment || pipe(ends) != 0) {
        if (environment) free(texts);
        free(environment);
        return app_fail(app, EXIT_CODE_FAILURE, "the start-up of a new process cannot be measured: %s",
                        strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    pid_t child;
    const double start = app_seconds();
    int error = posix_spawnp(&child, program, &actions, NULL, words, environment);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    free(environment);
    free(texts);
    if (error != 0) {
        close(ends[0]);
        return app_fail(app, EXIT_CODE_FAILURE, "%s cannot be started again: %s", program, strerror(error));
    }
    FILE *stream = fdopen(ends[0], "r");
    json_t *root = stream ? json_loadf(stream, 0, NULL) : NULL;
    if (stream) fclose(stream);
    int result = 0;
    while (waitpid(child, &result, 0) < 0 && errno == EINTR) {}
    const double process = app_seconds() - start;
    json_t *here = json_object_get(root, "start_up");
    *start_up_out = seconds_of(here, process);
    const bool is_whole = json_is_object(here);
    json_decref(root);
    if (signals_is_stop_requested()) return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted");
    if (!is_whole || !WIFEXITED(result) || WEXITSTATUS(result) != 0) {
        return app_fail(app, EXIT_CODE_FAILURE,
                        "a new process that measured its start-up failed; try eqflow bench "
                        "--start-up --system %s",
                        preset->name);
    }
    return EXIT_CODE_OK;
}

static int ascending(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The median of each member separately. */
static bench_start_up median_of(const bench_start_up *runs, size_t num_runs) {
    enum { NUM_FIELDS = sizeof(bench_start_up) / sizeof(double) };
    bench_start_up median;
    for (size_t f = 0; f < NUM_FIELDS; f++) {
        double values[MAX_RUNS];
        for (size_t r = 0; r < num_runs; r++) memcpy(&values[r], (const double *)&runs[r] + f, sizeof(double));
        qsort(values, num_runs, sizeof *values, ascending);
        const double value = 0.5 * (values[(num_runs - 1) / 2] + values[num_runs / 2]);
        memcpy((double *)&median + f, &value, sizeof value);
    }
    return median;
}

exit_code bench_start_up_spawn(cli_app *app, const eqf_preset *preset, size_t num_runs, bench_start_up *cold_out,
                               bench_start_up *warm_out) {
    const char *base = getenv("TMPDIR");
    char root[256], folder[PATH_SIZE];
    if (num_runs > MAX_RUNS) num_runs = MAX_RUNS;
    if (snprintf(root, sizeof root, "%s/eqflow-bench-XXXXXX", base && base[0] ? base : "/tmp") >= (int)sizeof root ||
        !mkdtemp(root)) {
        return app_fail(app, EXIT_CODE_OUTPUT, "no folder for empty caches in %s: %s; set TMPDIR", base ? base : "/tmp",
                        strerror(errno));
    }
    bench_start_up cold[MAX_RUNS], warm[MAX_RUNS];
    exit_code code = EXIT_CODE_OK;
    /* a new folder for each, because drivers have caches too */
    for (size_t r = 0; r < num_runs && code == EXIT_CODE_OK; r++) {
        snprintf(folder, sizeof folder, "%s/cold-%zu", root, r);
        if (mkdir(folder, 0700) != 0) {
            code = app_fail(app, EXIT_CODE_OUTPUT, "%s cannot be made: %s", folder, strerror(errno));
        } else {
            code = spawn_one(app, preset, folder, true, &cold[r]);
        }
    }
    for (size_t r = 0; r < num_runs + 1 && code == EXIT_CODE_OK; r++) { /* the first one fills the caches */
        code = spawn_one(app, preset, root, false, &warm[r > 0 ? r - 1 : 0]);
    }
    remove_tree(root);
    if (code != EXIT_CODE_OK) return code;
    *cold_out = median_of(cold, num_runs);
    *warm_out = median_of(warm, num_runs);
    return EXIT_CODE_OK;
}
