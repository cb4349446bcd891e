/* Tables of options (src/base/option.h) as JSON objects, in the model file and wherever else they are written. */
#ifndef EQF_OPTION_JSON_H
#define EQF_OPTION_JSON_H

#include <jansson.h>

#include "option.h"

/* JSON has no infinity and no NaN: they are written as "inf", "-inf" and null. Reals are written with 17 digits
 * (json_text.h) and read back bit for bit. */
json_t *eqf__json_real(double value);
bool eqf__json_real_value(const json_t *json, double *value_out);

/* Adds a key to object for each row, in the table's order. False: out of memory. */
bool eqf__options_to_json(const eqf_option *rows, const void *options, json_t *object);

/* Why an object could not be read. reason: the end of a sentence that begins with the key ("is missing"). unknown_name:
 * the text of a NAME that its row lacks, which may be of a newer version; else NULL. */
typedef struct eqf__option_problem {
    const char *key, *reason, *unknown_name;
} eqf__option_problem;

/* Sets the members from the object's keys; other keys are ignored. Ranges are not checked. False: *problem_out says
 * why; the members of earlier rows are set. */
bool eqf__options_from_json(const eqf_option *rows, const json_t *object, void *options,
                            eqf__option_problem *problem_out);

#endif
