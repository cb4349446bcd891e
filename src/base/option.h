/* Tables of options (eqflow/option.h): arrays of rows that end with EQF__OPTIONS_END. A kind of potential, field, prior
 * or loss puts its table beside its own code:
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

/* A row about a member of structure, whose name is the key; value_type without EQF_OPTION_, then designated members of
 * eqf_option. */
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
/* Zeros that stand for a default become it. */
void eqf__options_fill_zeros(const eqf_option *rows, void *options);

/* Every value is in its row's range. what: "radial dynamics", for the message. Errors: INVALID_ARGUMENT, names the
 * key. */
eqf_status eqf__options_check(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options);

/* Every value is a number at all: of options that have no meaning here. Errors: INVALID_ARGUMENT, names the key. */
eqf_status eqf__options_check_finite(eqf_context *ctx, const eqf_option *rows, const char *what, const void *options);

bool eqf__options_are_equal(const eqf_option *rows, const void *left, const void *right);

/* Feeds a value to a hash (eqf__hash): 8 bytes, of a double for REAL, of a count for all else. */
uint64_t eqf__option_hash(uint64_t hash, const eqf_option *row, const void *options);
/* Keys and values; an optional one at its default counts as absent, as in files. */
uint64_t eqf__options_hash(uint64_t hash, const eqf_option *rows, const void *options);

/* The number of the kind that is called `name` in a table of kinds, whose names name_of gives one by one, NULL beyond
 * the last. Errors: NOT_FOUND, INVALID_ARGUMENT where name or kind_out is NULL (no context: nothing to report to). */
eqf_status eqf__kind_find(const char *name, const char *(*name_of)(unsigned kind), unsigned *kind_out);

#endif
