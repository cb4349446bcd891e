#include "option_json.h"

#include <math.h>
#include <string.h>

json_t *eqf__json_real(double value) {
    if (isnan(value)) return json_null();
    if (isinf(value)) return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

bool eqf__json_real_value(const json_t *json, double *value_out) {
    const char *text = json_string_value(json);
    if (json_is_number(json))
        *value_out = json_number_value(json);
    else if (json_is_null(json))
        *value_out = NAN;
    else if (text != NULL && strcmp(text, "inf") == 0)
        *value_out = INFINITY;
    else if (text != NULL && strcmp(text, "-inf") == 0)
        *value_out = -INFINITY;
    else
        return false;
    return true;
}

static json_t *value_to_json(const eqf_option *option, const void *options) {
    uint64_t wide;
    switch (option->type) {
        case EQF_OPTION_REAL: return eqf__json_real(eqf_option_get(option, options));
        case EQF_OPTION_UNSIGNED:
        case EQF_OPTION_SIZE: return json_integer((json_int_t)eqf_option_get(option, options));
        case EQF_OPTION_UINT64:
            memcpy(&wide, (const char *)options + option->offset, sizeof wide);
            return json_integer((json_int_t)wide);
        case EQF_OPTION_BOOL: return json_boolean(eqf_option_get(option, options) != 0.0);
        case EQF_OPTION_NAME: return json_string(eqf_option_name(option, options));
    }
    return NULL;
}

bool eqf__options_to_json(const eqf_option *rows, const void *options, json_t *object) {
    for (; rows->key != NULL; rows++) {
        if (rows->is_optional && eqf_option_get(rows, options) == rows->initial) continue;
        if (json_object_set_new(object, rows->key, value_to_json(rows, options)) != 0) return false;
    }
    return true;
}

/* Sets the member from value. NULL, or the reason why it cannot. */
static const char *read_value(const eqf_option *option, const json_t *value, void *options,
                              const char **unknown_name_out) {
    double real;
    const json_int_t number = json_integer_value(value),
                     most = option->type == EQF_OPTION_UNSIGNED ? INT32_MAX : INT64_MAX;
    const uint64_t wide = (uint64_t)number;
    const char *text = json_string_value(value);
    unsigned n = 0;
    switch (option->type) {
        case EQF_OPTION_REAL:
            if (!eqf__json_real_value(value, &real) || isnan(real)) return "is not a number";
            eqf_option_set(option, options, real);
            return NULL;
        case EQF_OPTION_UNSIGNED:
        case EQF_OPTION_SIZE:
        case EQF_OPTION_UINT64:
            if (!json_is_integer(value) || number < 0 || number > most) return "is not a count";
            if (option->type == EQF_OPTION_UINT64)
                memcpy((char *)options + option->offset, &wide, sizeof wide);
            else
                eqf_option_set(option, options, (double)number);
            return NULL;
        case EQF_OPTION_BOOL:
            if (!json_is_boolean(value)) return "is not true or false";
            eqf_option_set(option, options, json_is_true(value) ? 1.0 : 0.0);
            return NULL;
        case EQF_OPTION_NAME:
            if (text == NULL) return "is not text";
            while (option->names[n] != NULL && strcmp(option->names[n], text) != 0) n++;
            if (option->names[n] == NULL) *unknown_name_out = text;
            eqf_option_set(option, options, n);
            return option->names[n] == NULL ? "is not known" : NULL;
    }
    return "is not known";
}

bool eqf__options_from_json(const eqf_option *rows, const json_t *object, void *options,
                            eqf__option_problem *problem_out) {
    for (; rows->key != NULL; rows++) {
        *problem_out = (eqf__option_problem){rows->key, NULL, NULL};
        const json_t *value = json_object_get(object, rows->key);
        if (value == NULL && rows->is_optional)
            eqf_option_set(rows, options, rows->initial);
        else
            problem_out->reason =
                value == NULL ? "is missing" : read_value(rows, value, options, &problem_out->unknown_name);
        if (problem_out->reason != NULL) return false;
    }
    return true;
}
