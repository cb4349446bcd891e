#include "app.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eqflow/device.h"
#include "eqflow/evaluate.h"

#include "progress.h"
#include "ranks.h"
#include "signals.h"
#include "text.h"
#include "words.h"

static void speak(cli_app *app, const char *kind, const char *format, va_list arguments) {
    char line[2048];
    vsnprintf(line, sizeof line, format, arguments);
    text_make_plain(line, false); /* whatever a file name or a driver contains */
    if (app->has_progress_line) fputs("\r\033[K", stderr);
    app->has_progress_line = false;
    char rank[32] = "";
    if (!app_is_first(app)) snprintf(rank, sizeof rank, "rank %u: ", app->ranks.rank);
    fprintf(stderr, "eqflow%s%s: %s%s%s\n", app->command ? " " : "", app->command ? app->command : "", rank, kind,
            line);
}

bool app_is_first(const cli_app *app) {
    return app->ranks.size <= 1 || app->ranks.rank == 0;
}

exit_code app_any(cli_app *app, bool *is_true) {
    if (app->ranks.size <= 1) return EXIT_CODE_OK;
    double count = *is_true ? 1 : 0;
    if (!app->ranks.sum_doubles(app->ranks.user, 1, &count)) {
        return app_fail(app, EXIT_CODE_FAILURE, "the other ranks could not be reached");
    }
    *is_true = count > 0;
    return EXIT_CODE_OK;
}

exit_code app_fail(cli_app *app, exit_code code, const char *format, ...) {
    ranks_wait_for_first(app);
    va_list arguments;
    va_start(arguments, format);
    speak(app, "", format, arguments);
    va_end(arguments);
    return code;
}

exit_code app_fail_status(cli_app *app, eqf_status status, cli_activity activity) {
    char message[1280];
    words_translate(app->ctx ? eqf_context_error(app->ctx) : "", message, sizeof message);
    /* A signal also ends a driver's compiler, so a failure after a signal counts as an interruption. */
    if (signals_is_stop_requested() && (status == EQF_ERROR_KERNEL_BUILD || status == EQF_ERROR_DEVICE)) {
        return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted");
    }
    return app_fail(app, exit_code_of(status, activity), "%s", message[0] ? message : eqf_status_text(status));
}

exit_code app_flush_stdout(cli_app *app) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_OUTPUT, "the results could not be written to stdout: %s",
                    errno ? strerror(errno) : "an earlier write failed");
}

exit_code app_flush_help(cli_app *app) {
    errno = 0;
    if (fflush(stdout) != 0 && errno == EPIPE) return EXIT_CODE_OK;
    return app_flush_stdout(app);
}

void app_note(cli_app *app, const char *format, ...) {
    if (app->is_quiet || !app_is_first(app)) return;
    va_list arguments;
    va_start(arguments, format);
    speak(app, "", format, arguments);
    va_end(arguments);
}

void app_warn(cli_app *app, const char *format, ...) {
    if (!app_is_first(app)) return;
    va_list arguments;
    va_start(arguments, format);
    speak(app, "warning: ", format, arguments);
    va_end(arguments);
}

static void log_line(void *user, eqf_log_level level, const char *message) {
    cli_app *app = user;
    char text[1280];
    words_translate(message, text, sizeof text);
    message = text;
    if (level == EQF_LOG_WARNING) {
        app_note(app, "%s", message);
    } else if (app->is_verbose) {
        app_note(app, "[%s] %s", level == EQF_LOG_INFO ? "info" : "debug", message);
    }
}

exit_code app_create_context(cli_app *app) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.log = log_line;
    options.log_user = app;
    eqf_status status = eqf_context_create(&options, &app->ctx);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    eqf_context_set_progress(app->ctx, progress_report, app);
    for (size_t i = 0; i < app->profile_settings.num_texts; i++) {
        if ((status = eqf_context_set_profile(app->ctx, app->profile_settings.texts[i])) != EQF_OK) {
            return app_fail(app, EXIT_CODE_USAGE, "%s", eqf_context_error(app->ctx));
        }
    }
    status = eqf_context_set_communicator(app->ctx, &app->ranks);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* Ranks of one machine take its devices in turn, among those of the kind that a single process would open. With an
 * index every rank takes that device. */
static exit_code take_turn(cli_app *app) {
    const char *selector = app->device ? app->device : getenv("EQFLOW_DEVICE");
    if (app->ranks.size <= 1 || (selector && selector[0] && strspn(selector, "0123456789") == strlen(selector))) {
        return EXIT_CODE_OK;
    }
    eqf_context *scout = NULL;
    eqf_device_info best = EQF_DEVICE_INFO_INIT, *devices = NULL;
    size_t num_devices = 0, num_like = 0, turn = 0;
    eqf_status status = eqf_context_create(NULL, &scout);
    if (status == EQF_OK) status = eqf_context_open_device(scout, app->device);
    if (status == EQF_OK) status = eqf_context_device(scout, &best);
    if (status == EQF_OK) status = eqf_device_list(scout, &devices, &num_devices);
    exit_code code = EXIT_CODE_OK;
    if (status != EQF_OK) {
        const char *message = scout ? eqf_context_error(scout) : "";
        code =
            app_fail(app, exit_code_of(status, ACTIVITY_COMPUTE), "%s", message[0] ? message : eqf_status_text(status));
    }
    for (unsigned pass = 0; pass < 2 && code == EXIT_CODE_OK; pass++) {
        turn = num_like > 0 ? app->node_rank % num_like : 0;
        for (size_t d = 0; d < num_devices; d++) {
            if (devices[d].type != best.type || strcmp(devices[d].name, best.name) != 0 ||
                strcmp(devices[d].platform_name, best.platform_name) != 0) {
                continue;
            }
            if (pass == 0) num_like++;
            if (pass == 1 && turn-- == 0) {
                snprintf(app->device_of_rank, sizeof app->device_of_rank, "%u", devices[d].index);
                app->device = app->device_of_rank;
                break;
            }
        }
    }
    eqf_free(devices);
    eqf_context_destroy(&scout);
    return code;
}

exit_code app_open(cli_app *app) {
    if (!app->ctx) {
        exit_code code = app_create_context(app);
        if (code != EXIT_CODE_OK) return code;
    }
    exit_code taken = take_turn(app);
    if (taken != EXIT_CODE_OK) return taken;
    eqf_status status = eqf_context_open_device(app->ctx, app->device);
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    if (status == EQF_OK) status = eqf_context_device(app->ctx, &device);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (!app->device && !getenv("EQFLOW_DEVICE") && device.num_usable > 1) { /* there was a choice */
        char reason[sizeof device.choice_reason];
        words_translate(device.choice_reason, reason, sizeof reason);
        app_note(app, "device %u of %u, %s: %s", device.index, device.num_usable, device.name, reason);
    }
    return EXIT_CODE_OK;
}

const char *app_keep(cli_app *app, char *text) {
    /* else it stays until the process ends */
    if (text && app->num_texts < CLI_KEPT_MAX) app->texts[app->num_texts++] = text;
    return text;
}

void app_clear(cli_app *app) {
    eqf_context_destroy(&app->ctx);
    for (size_t i = 0; i < app->num_texts; i++) free(app->texts[i]);
    app->num_texts = 0;
}

void *app_alloc(cli_app *app, size_t count, size_t size, const char *what) {
    void *memory = count > SIZE_MAX / size ? NULL : malloc(count ? count * size : 1);
    if (!memory) {
        app_fail(app, EXIT_CODE_DEVICE, "%s need %.3g GB, which this machine does not have; ask for fewer", what,
                 (double)count * (double)size / 1e9);
    }
    return memory;
}

static bool is_plain(const char *text) {
    if (!text[0]) return false;
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("_-+=./:,@%", *c)) return false;
    }
    return true;
}

char *app_command_line(const cli_app *app, const char *option) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return NULL;
    bool has_option = !option;
    for (int i = 0; i < app->argc; i++) {
        const char *word = app->argv[i];
        if (option && strcmp(word, option) == 0) has_option = true;
        if (i > 0) fputc(' ', stream);
        if (is_plain(word)) {
            fputs(word, stream);
        } else { /* in single quotes; a quote inside is written '\'' */
            fputc('\'', stream);
            for (const char *c = word; *c; c++) {
                if (*c == '\'') {
                    fputs("'\\''", stream);
                } else {
                    fputc(*c, stream);
                }
            }
            fputc('\'', stream);
        }
    }
    if (!has_option) fprintf(stream, " %s", option);
    fclose(stream);
    return text;
}

uint64_t app_seed_for(uint64_t seed, const char *purpose) {
    return eqf_seed_for(seed, purpose);
}

double app_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
