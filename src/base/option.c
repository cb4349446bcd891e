#include "option.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A NAME's member is an enum: the compilers that we build with make those as large as unsigned. */
_Static_assert(sizeof(eqf_option_type) == sizeof(unsigned), "an enum has the size of unsigned");

/* ---- Values ----------------------------------------------------------------------------------- */

/* The value of a member that is not REAL, as a count. */
static uint64_t get_count(const eqf_option *option, const void *options) {
    const char *place = (const char *)options + option->offset;
    unsigned count = 0;
    size_t size = 0;
    uint64_t wide = 0;
    bool is_true = false;
    switch (option->type) {
        case EQF_OPTION_UNSIGNED:
        case EQF_OPTION_NAME: memcpy(&count, place, sizeof count); return count;
        case EQF_OPTION_SIZE: memcpy(&size, place, sizeof size); return size;
        case EQF_OPTION_UINT64: memcpy(&wide, place, sizeof wide); return wide;
        case EQF_OPTION_BOOL: memcpy(&is_true, place, sizeof is_true); return is_true;
        case EQF_OPTION_REAL: break;
    }
    return 0;
}

double eqf_option_get(const eqf_option *option, const void *options) {
    if (option == NULL || options == NULL) return NAN;
    if (option->type != EQF_OPTION_REAL) return (double)get_count(option, options);
    double value;
    memcpy(&value, (const char *)options + option->offset, sizeof value);
    return value;
}

void eqf_option_set(const eqf_option *option, void *options, double value) {
    if (option == NULL || options == NULL) return;
    char *place = (char *)options + option->offset;
    switch (option->type) {
        case EQF_OPTION_REAL: memcpy(place, &value, sizeof value); break;
        case EQF_OPTION_UNSIGNED:
        case EQF_OPTION_NAME: {
            const unsigned count = (unsigned)value;
            memcpy(place, &count, sizeof count);
            break;
        }
        case EQF_OPTION_SIZE: {
            const size_t size = (size_t)value;
            memcpy(place, &size, sizeof size);
            break;
        }
        case EQF_OPTION_UINT64: {
            const uint64_t wide = (uint64_t)value;
            memcpy(place, &wide, sizeof wide);
            break;
        }
        case EQF_OPTION_BOOL: {
            const bool is_true = value != 0.0;
            memcpy(place, &is_true, sizeof is_true);
            break;
        }
    }
}

const char *eqf_option_name(const eqf_option *option, const void *options) {
    if (option == NULL || options == NULL || option->type != EQF_OPTION_NAME) return NULL;
    const uint64_t value = get_count(option, options);
    uint64_t n = 0;
    while (option->names[n] != NULL && n < value) n++;
    return option->names[n];
}

/* ---- Tables ----------------------------------------------------------------------------------- */

const eqf_option *eqf__options_at(const eqf_option *rows, size_t index) {
    while (rows->key != NULL && index > 0) {
        rows++;
        index--;
    }
    return rows->key != NULL ? rows : NULL;
}

void eqf__options_set_defaults(const eqf_option *rows, void *options) {
    for (; rows->key != NULL; rows++) eqf_option_set(rows, options, rows->initial);
}

void eqf__options_fill_zeros(const eqf_option *rows, void *options) {
    for (; rows->key != NULL; rows++)
        if (rows->is_zero_default && eqf_option_get(rows, options) == 0) eqf_option_set(rows, options, rows->initial);
}

/* The range in words, for messages. */
static void describe_range(const eqf_option *option, char text[80]) {
    const bool is_open_below = option->low > 0 && option->low < 1e-100, is_open_above = option->high >= DBL_MAX;
    if (option->low == -option->high && !is_open_above)
        snprintf(text, 80, "a number, at most %g in size", option->high);
    else if (is_open_above && option->low <= -DBL_MAX)
        snprintf(text, 80, "a number");
    else if (is_open_above)
        snprintf(text, 80, is_open_below ? "a number above 0" : "a number, at least %g", option->low);
    else
        snprintf(text, 80, is_open_below ? "above 0 and at most %.10g" : "%g to %.10g",
                 is_open_below ? option->high : option->low, option->high);
}

static eqf_status check_one(eqf_context *ctx, const eqf_option *option, const char *what, const void *options) {
    if (option->type == EQF_OPTION_BOOL) return EQF_OK;
    const double value = eqf_option_get(option, options);
    if (option->type == EQF_OPTION_NAME) {
        if (eqf_option_name(option, options) != NULL) return EQF_OK;
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the %s is %.0f: there is no such %s", option->key,
                         what, value, option->key);
    }
    if (value >= option->low && value <= option->high) return EQF_OK;
    if (option->is_zero_default && value == 0) return EQF_OK;
    char range[80];
    describe_range(option, range);
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the %s is %g: it must be %s", option->key, what, value,
                     range);
}

eqf_status eqf__options_check(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options) {
    for (; rows->key != NULL; rows++) EQF__TRY(check_one(ctx, rows, what, options));
    return EQF_OK;
}

eqf_status eqf__options_check_finite(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options) {
    for (; rows->key != NULL; rows++) {
        const double value = eqf_option_get(rows, options);
        if (!isfinite(value))
            return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the %s is %g: it must be a number", rows->key,
                             what, value);
    }
    return EQF_OK;
}

bool eqf__options_are_equal(const eqf_option *rows, const void *left, const void *right) {
    for (; rows->key != NULL; rows++) {
        const bool is_equal = rows->type == EQF_OPTION_REAL ? eqf_option_get(rows, left) == eqf_option_get(rows, right)
                                                            : get_count(rows, left) == get_count(rows, right);
        if (!is_equal) return false;
    }
    return true;
}

uint64_t eqf__option_hash(uint64_t hash, const eqf_option *row, const void *options) {
    if (row->type != EQF_OPTION_REAL) {
        const uint64_t count = get_count(row, options);
        return eqf__hash(hash, &count, sizeof count);
    }
    const double value = eqf_option_get(row, options);
    return eqf__hash(hash, &value, sizeof value);
}

uint64_t eqf__options_hash(uint64_t hash, const eqf_option *rows, const void *options) {
    for (; rows->key != NULL; rows++) {
        if (rows->is_optional && eqf_option_get(rows, options) == rows->initial) continue;
        hash = eqf__hash(hash, rows->key, strlen(rows->key) + 1);
        hash = eqf__option_hash(hash, rows, options);
    }
    return hash;
}

/* ---- Kinds ------------------------------------------------------------------------------------ */

eqf_status eqf__kind_find(const char *name, const char *(*name_of)(unsigned kind), unsigned *kind_out) {
    EQF__NOT_NULL(NULL, name);
    EQF__NOT_NULL(NULL, kind_out);
    const char *own;
    for (unsigned kind = 0; (own = name_of(kind)) != NULL; kind++) {
        if (strcmp(own, name) != 0) continue;
        *kind_out = kind;
        return EQF_OK;
    }
    return EQF_ERROR_NOT_FOUND;
}
