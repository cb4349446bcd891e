#include <stdlib.h>
#include <string.h>

#include "base.h"

const char *eqf_status_text(eqf_status status) {
    switch (status) {
#define EQF_CASE(name, value, text) \
    case EQF_##name: return text;
        EQF_STATUS_MAP(EQF_CASE)
#undef EQF_CASE
    }
    return "unknown status";
}

const char *eqf_status_name(eqf_status status) {
    switch (status) {
#define EQF_CASE(name, value, text) \
    case EQF_##name: return "EQF_" #name;
        EQF_STATUS_MAP(EQF_CASE)
#undef EQF_CASE
    }
    return "EQF_UNKNOWN";
}

/* Messages stay one line whatever they quote. */
static void flatten_line(char *text) {
    for (; *text; text++)
        if (*text == '\n' || *text == '\r' || *text == '\t') *text = ' ';
}

eqf_status eqf__fail(eqf_context *ctx, eqf_status status, const char *format, ...) {
    if (ctx == NULL) return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ctx->error, sizeof ctx->error, format, arguments);
    va_end(arguments);
    flatten_line(ctx->error);
    return status;
}

void eqf__log(eqf_context *ctx, eqf_log_level level, const char *format, ...) {
    if (ctx == NULL || ctx->log == NULL || level < ctx->log_level) return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    flatten_line(line);
    ctx->log(ctx->log_user, level, line);
}

void *eqf__alloc(eqf_context *ctx, size_t count, size_t item_size, const char *what) {
    void *memory = calloc(count ? count : 1, item_size);
    if (memory == NULL)
        eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for %s (%zu x %zu bytes)", what, count, item_size);
    return memory;
}

char *eqf__strdup(eqf_context *ctx, const char *text) {
    size_t length = strlen(text) + 1;
    char *copy = eqf__alloc(ctx, length, 1, "a text");
    if (copy != NULL) memcpy(copy, text, length);
    return copy;
}

void eqf_free(void *memory) {
    free(memory);
}

const char *eqf_context_error(const eqf_context *ctx) {
    return ctx == NULL ? "" : ctx->error;
}
