/* The metadata of a model file as JSON: all of a model but its parameters (docs/file-formats.md). */
#ifndef EQF_MODEL_JSON_H
#define EQF_MODEL_JSON_H

#include <jansson.h>

#include "model_internal.h"

/* Raised when an older library could not read the file rightly; new keys alone do not raise it. */
enum { EQF__MODEL_FORMAT = 1 };

/* NULL: out of memory. */
json_t *eqf__model_to_json(const eqf_model *model);

/* Carries what messages need. The first problem is reported and its status kept; the calls after it do nothing. */
typedef struct eqf__model_reader {
    eqf_context *ctx;
    const char *path;
    eqf_status status;
} eqf__model_reader;

/* Reports section.key, which `reason` follows in the sentence: "is missing". FORMAT. */
void eqf__model_reject(eqf__model_reader *reader, const char *section, const char *key, const char *reason);
/* NULL where there is none, after the report. */
const json_t *eqf__model_value(eqf__model_reader *reader, const json_t *object, const char *section, const char *key);
/* "" where there is none, after the report. */
const char *eqf__model_text(eqf__model_reader *reader, const json_t *object, const char *section, const char *key);

/* Texts that options_out points to stay those of root. Ranges are not checked. */
void eqf__model_options_from_json(eqf__model_reader *reader, const json_t *root, eqf_model_options *options_out);
void eqf__model_history_from_json(eqf__model_reader *reader, const json_t *root, eqf_model *model);

#endif
