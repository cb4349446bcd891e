#include "json_text.h"

#include <stdlib.h>
#include <string.h>

eqf_status eqf__json_text(eqf_context *ctx, const json_t *json, char **text_out, size_t *num_bytes_out) {
    const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17);
    *text_out = NULL;
    *num_bytes_out = 0;
    size_t num_bytes = json == NULL ? 0 : json_dumpb(json, NULL, 0, flags);
    if (num_bytes == 0) return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for JSON text");
    char *text = eqf__alloc(ctx, num_bytes + 1, 1, "JSON text");
    if (text == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    if (json_dumpb(json, text, num_bytes, flags) != num_bytes) {
        free(text);
        return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for JSON text");
    }
    *text_out = text;
    *num_bytes_out = num_bytes;
    return EQF_OK;
}

/* Jansson 2.14 reports too little memory as wrong text, or not at all: it leaves out a digit or letter for which it has
 * no room, and the rest may be valid JSON. So memory is allocated and freed first as a test, and the text is parsed
 * twice: if the two values or errors differ, the cause was memory and not the text. */
eqf_status eqf__json_parse(eqf_context *ctx, const char *path, const char *what, const char *text, size_t num_bytes,
                           json_t **json_out) {
    json_error_t error = {.text = ""}, again = {.text = ""};
    json_t *first = NULL, *second = NULL;
    *json_out = NULL;
    void *room = malloc(8 * num_bytes + (1 << 20));
    const bool has_room = room != NULL;
    free(room);
    if (has_room) {
        first = json_loadb(text, num_bytes, JSON_REJECT_DUPLICATES, &error);
        second = json_loadb(text, num_bytes, JSON_REJECT_DUPLICATES, &again);
    }
    const bool is_wrong = first == NULL && second == NULL && error.text[0] != '\0' &&
                          error.position == again.position && strcmp(error.text, again.text) == 0;
    if (first != NULL && second != NULL && json_equal(first, second)) {
        *json_out = first;
        first = NULL;
    }
    json_decref(first);
    json_decref(second);
    if (*json_out != NULL) return EQF_OK;
    if (is_wrong) return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not %s (%s)", path, what, error.text);
    return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory to read %s", path);
}
