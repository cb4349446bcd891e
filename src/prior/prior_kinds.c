#include "prior_kinds.h"

#include <string.h>

/* The key in files is older than the member's name. Bounds in which the prior and its log-density are good float32
 * numbers. */
static const eqf_option gaussian_options[] = {
    {.struct_size = sizeof(eqf_option),
     .key = "scale",
     .offset = offsetof(eqf_model_options, prior_scale),
     .type = EQF_OPTION_REAL,
     .initial = 1.0,
     .low = 1e-6,
     .high = 1e6,
     .unit = "length",
     .flag = "prior-scale",
     .help = "sd of the Gaussian prior"},
    EQF__OPTIONS_END,
};
static const eqf__prior_kind gaussian = {.name = "mean_free_gaussian", .options = gaussian_options};

/* No default: the compiler names a kind that has no row (-Wswitch). */
const eqf__prior_kind *eqf__prior_kind_of(eqf_prior_kind kind) {
    switch (kind) {
        case EQF_PRIOR_GAUSSIAN: return &gaussian;
    }
    return NULL;
}

/* ---- For programs ----------------------------------------------------------------------------- */

const char *eqf_prior_kind_name(eqf_prior_kind kind) {
    const eqf__prior_kind *row = eqf__prior_kind_of(kind);
    return row != NULL ? row->name : NULL;
}

static const char *name_of(unsigned kind) {
    return eqf_prior_kind_name((eqf_prior_kind)kind);
}

eqf_status eqf_prior_kind_find(const char *name, eqf_prior_kind *kind_out) {
    unsigned kind;
    EQF__NOT_NULL(NULL, kind_out);
    EQF__TRY(eqf__kind_find(name, name_of, &kind));
    *kind_out = (eqf_prior_kind)kind;
    return EQF_OK;
}

const eqf_option *eqf_prior_option(eqf_prior_kind kind, size_t index) {
    const eqf__prior_kind *row = eqf__prior_kind_of(kind);
    return row != NULL ? eqf__options_at(row->options, index) : NULL;
}

/* ---- For the library -------------------------------------------------------------------------- */

eqf_status eqf__prior_check(eqf_context *ctx, const eqf_model_options *options) {
    const eqf__prior_kind *row = eqf__prior_kind_of(options->prior_kind);
    if (row == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "prior_kind of the model is %u: there is no such kind",
                         (unsigned)options->prior_kind);
    return eqf__options_check(ctx, row->options, "prior", options);
}

uint64_t eqf__prior_hash(uint64_t hash, const eqf_model_options *options) {
    const eqf__prior_kind *row = eqf__prior_kind_of(options->prior_kind);
    hash = eqf__hash(hash, row->name, strlen(row->name) + 1);
    return eqf__options_hash(hash, row->options, options);
}
