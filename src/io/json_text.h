/* JSON values as text, the same text for the same value on every machine and in every locale. */
#ifndef EQF_JSON_TEXT_H
#define EQF_JSON_TEXT_H

#include <jansson.h>

#include "base.h"

/* Compact, keys in the order they were set, reals with 17 digits (they read back bit for bit). The caller frees the
 * text, which is NUL-terminated beyond num_bytes. json may be NULL (a constructor that failed).
 * Errors: OUT_OF_MEMORY. */
eqf_status eqf__json_text(eqf_context *ctx, const json_t *json, char **text_out, size_t *num_bytes_out);

/* Parses text [num_bytes]; the keys of an object must differ. Errors: FORMAT, "PATH is not WHAT (reason)";
 * OUT_OF_MEMORY, after which the file may still be good. */
eqf_status eqf__json_parse(eqf_context *ctx, const char *path, const char *what, const char *text, size_t num_bytes,
                           json_t **json_out);

#endif
