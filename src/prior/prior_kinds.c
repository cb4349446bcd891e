#include "prior_kinds.h"

#include <math.h>
#include <string.h>

/* No default: the compiler names a kind that has no row (-Wswitch). */
const eqf__prior_kind *eqf__prior_kind_of(eqf_prior_kind kind) {
    switch (kind) {
        case EQF_PRIOR_GAUSSIAN: return &eqf__gaussian_prior;
    }
    return NULL;
}

/* ---- For programs ----------------------------------------------------------------------------- */

const eqf_prior_kind_info *eqf_prior_kind_describe(eqf_prior_kind kind) {
    const eqf__prior_kind *row = eqf__prior_kind_of(kind);
    return row != NULL ? &row->info : NULL;
}

const char *eqf_prior_kind_name(eqf_prior_kind kind) {
    const eqf__prior_kind *row = eqf__prior_kind_of(kind);
    return row != NULL ? row->info.name : NULL;
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

double eqf_prior_log_z(const eqf_model_options *options) {
    const eqf__prior_kind *row = options != NULL ? eqf__prior_kind_of(options->prior_kind) : NULL;
    return row != NULL ? row->log_z(options) : (double)NAN;
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
    hash = eqf__hash(hash, row->info.name, strlen(row->info.name) + 1);
    return eqf__options_hash(hash, row->options, options);
}

void eqf__prior_copy_options(const eqf_model_options *from, eqf_model_options *to) {
    to->prior_kind = from->prior_kind;
    for (const eqf_option *row = eqf__prior_kind_of(from->prior_kind)->options; row->key != NULL; row++)
        eqf_option_set(row, to, eqf_option_get(row, from));
}
