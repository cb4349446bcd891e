#include "json_text.h"

#include <stdlib.h>

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
