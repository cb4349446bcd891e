/* The kinds of prior, one row each. To add one: docs/extending.md. */
#ifndef EQF_PRIOR_KINDS_H
#define EQF_PRIOR_KINDS_H

#include "eqflow/model.h"
#include "option.h"

typedef struct eqf__prior_kind {
    const char *name;          /* the key in files */
    const eqf_option *options; /* the kind's rows, over eqf_model_options */
} eqf__prior_kind;

/* NULL: there is no such kind. */
const eqf__prior_kind *eqf__prior_kind_of(eqf_prior_kind kind);
/* All that a model's prior must be. Errors: INVALID_ARGUMENT with the option's name. */
eqf_status eqf__prior_check(eqf_context *ctx, const eqf_model_options *options);
/* Feeds the kind and its options to a hash (eqf__hash). */
uint64_t eqf__prior_hash(uint64_t hash, const eqf_model_options *options);

#endif
