/* The metadata of a model file as JSON: the whole model except its parameters (docs/file-formats.md). */
#ifndef EQF_MODEL_JSON_H
#define EQF_MODEL_JSON_H

#include <jansson.h>

#include "model_internal.h"

/* The format's version: it changes only if an older library would read the file wrongly, and not for new keys. */
enum { EQF__MODEL_FORMAT = 1 };

/* NULL: out of memory. */
json_t *eqf__model_to_json(const eqf_model *model);

/* The state of reading. The first error is reported and its status kept; later calls do nothing. */
typedef struct eqf__model_reader {
    eqf_context *ctx;
    const char *path;
    eqf_status status;
} eqf__model_reader;

/* Reports "<section>.<key> <reason>", such as reason "is missing", as FORMAT. */
void eqf__model_reject(eqf__model_reader *reader, const char *section, const char *key, const char *reason);
/* NULL if there is none; the error is then reported. */
const json_t *eqf__model_value(eqf__model_reader *reader, const json_t *object, const char *section, const char *key);
/* "" if there is none; the error is then reported. */
const char *eqf__model_text(eqf__model_reader *reader, const json_t *object, const char *section, const char *key);

/* root owns the texts to which options_out points. Ranges are not checked. */
void eqf__model_options_from_json(eqf__model_reader *reader, const json_t *root, eqf_model_options *options_out);
void eqf__model_history_from_json(eqf__model_reader *reader, const json_t *root, eqf_model *model);

#endif
