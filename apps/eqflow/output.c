#include "output.h"

#include "text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_WIDTH = 34 };

/* Whether an allocation of Jansson has failed since output_begin. It then leaves out keys, which must be an error. A
 * global variable, because Jansson's allocation functions are global. */
static bool has_json_lost;
static void *malloc_noted(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) has_json_lost = true;
    return memory;
}

exit_code output_begin(cli_output *output, cli_app *app) {
    *output = (struct cli_output){.app = app};
    json_set_alloc_funcs(malloc_noted, free);
    has_json_lost = false;
    output->root = json_object();
    output->stream = open_memstream(&output->text, &output->text_size);
    if (!output->root || !output->stream) {
        output_abandon(output);
        return app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    }
    return EXIT_CODE_OK;
}

json_t *output_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

const char *output_format(double value, char text[32]) {
    if (isnan(value)) return "-";
    double magnitude = fabs(value);
    bool is_plain = magnitude < 1e7 && (magnitude >= 1e-3 || magnitude == 0);
    snprintf(text, 32, is_plain ? "%.6g" : "%.3e", value);
    return text;
}

static void row(cli_output *output, const char *label, const char *value, const char *note) {
    if (!label) return;
    fprintf(output->stream, "%-*s %s%s%s\n", LABEL_WIDTH, label, value, note ? "  " : "", note ? note : "");
}

void output_number(cli_output *output, const char *key, const char *label, double value, const char *note) {
    char text[32];
    json_object_set_new(output->root, key, output_real(value));
    row(output, label, output_format(value, text), note);
}

void output_count(cli_output *output, const char *key, const char *label, uint64_t value) {
    char text[32];
    json_object_set_new(output->root, key, json_integer((json_int_t)value));
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    row(output, label, text, NULL);
}

void output_text(cli_output *output, const char *key, const char *label, const char *value) {
    json_object_set_new(output->root, key, output_json_text(value));
    row(output, label, value ? value : "-", NULL);
}

json_t *output_json_text(const char *text) {
    char *copy = text ? text_to_utf8(text) : NULL;
    json_t *json = copy ? json_string(copy) : NULL;
    free(copy);
    return json ? json : json_null();
}

void output_bool(cli_output *output, const char *key, const char *label, bool value) {
    json_object_set_new(output->root, key, json_boolean(value));
    row(output, label, value ? "yes" : "no", NULL);
}

void output_round_trip(cli_output *output, const eqf_round_trip *error) {
    output_number(output, "round_trip_log_prob", "there and back within (nats)", error->log_prob, NULL);
}

void output_json(cli_output *output, const char *key, json_t *value) {
    json_object_set_new(output->root, key, value);
}

void output_line(cli_output *output, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(output->stream, format, arguments);
    va_end(arguments);
    fputc('\n', output->stream);
}

void output_abandon(cli_output *output) {
    if (output->stream) fclose(output->stream);
    output->stream = NULL;
    free(output->text);
    output->text = NULL;
    json_decref(output->root);
    output->root = NULL;
}

exit_code output_finish(cli_output *output) {
    bool is_written;
    if (!app_is_first(output->app)) {
        output_abandon(output);
        return EXIT_CODE_OK;
    }
    if (has_json_lost || ferror(output->stream)) {
        output_abandon(output);
        return app_fail(output->app, EXIT_CODE_DEVICE, "out of memory: the results were not printed");
    }
    errno = 0;
    if (output->app->is_json) {
        is_written = json_dumpf(output->root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) == 0 &&
                     fputc('\n', stdout) != EOF;
    } else {
        is_written = fclose(output->stream) == 0;
        output->stream = NULL;
        if (is_written) text_make_plain(output->text, true);
        is_written = is_written && fputs(output->text, stdout) != EOF;
    }
    is_written = fflush(stdout) == 0 && is_written;
    cli_app *app = output->app;
    int reason = errno;
    output_abandon(output);
    if (!is_written) {
        return app_fail(app, EXIT_CODE_OUTPUT, "the results could not be written to stdout: %s", strerror(reason));
    }
    return EXIT_CODE_OK;
}
