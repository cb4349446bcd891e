/* Tables of options (eqflow/option.h): arrays of rows that end with EQF__OPTIONS_END. A kind of potential, field, prior
 * or loss has its table in its own file:
 *
 *     const eqf_option eqf__dense_options[] = {
 *         EQF__OPTION(eqf_dynamics_options, width, UNSIGNED, .initial = 128, .low = 1, .high = 2048,
 *                     .help = "units of a hidden layer"),
 *         EQF__OPTIONS_END};
 *
 * `options` below is the struct that the offsets are counted from. JSON: src/io/option_json.h. */
#ifndef EQF_BASE_OPTION_H
#define EQF_BASE_OPTION_H

#include "base.h"
#include "eqflow/option.h"

/* A row that describes a member of structure; the member's name is the key. value_type is written without EQF_OPTION_;
 * designated members of eqf_option follow. */
#define EQF__OPTION(structure, member, value_type, ...)                                           \
    {                                                                                             \
        .struct_size = sizeof(eqf_option), .key = #member, .offset = offsetof(structure, member), \
        .type = EQF_OPTION_##value_type, __VA_ARGS__                                              \
    }
#define EQF__OPTIONS_END \
    { .key = NULL }

/* Row number index; NULL beyond the last. */
const eqf_option *eqf__options_at(const eqf_option *rows, size_t index);

void eqf__options_set_defaults(const eqf_option *rows, void *options);
/* Replaces zeros that stand for a default by the default. */
void eqf__options_fill_zeros(const eqf_option *rows, void *options);

/* Checks that every value is in its row's range. what: for the message, such as "radial dynamics". Errors:
 * INVALID_ARGUMENT, names the key. */
eqf_status eqf__options_check(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options);

/* Checks only that every value is finite: for options of another kind. Errors: INVALID_ARGUMENT, names the key. */
eqf_status eqf__options_check_finite(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options);

bool eqf__options_are_equal(const eqf_option *rows, const void *left, const void *right);

/* Adds a value to a hash (eqf__hash) as 8 bytes: of a double for REAL, else of a count. */
uint64_t eqf__option_hash(uint64_t hash, const eqf_option *row, const void *options);
/* Adds keys and values to a hash; an optional option at its default is left out, as in files. */
uint64_t eqf__options_hash(uint64_t hash, const eqf_option *rows, const void *options);

/* Finds the kind called `name`; name_of gives the names of the kinds one by one, NULL beyond the last. Errors:
 * NOT_FOUND, INVALID_ARGUMENT if name or kind_out is NULL (without a message, because there is no context). */
eqf_status eqf__kind_find(const char *name, const char *(*name_of)(unsigned kind), unsigned *kind_out);

#endif
