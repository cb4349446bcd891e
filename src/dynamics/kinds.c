#include "kinds.h"

#include <string.h>

/* No default: the compiler names a kind that has no row (-Wswitch). */
const eqf__dynamics_kind *eqf__dynamics_kind_of(eqf_dynamics_kind kind) {
    switch (kind) {
        case EQF_DYNAMICS_RADIAL: return &eqf__radial_kind;
        case EQF_DYNAMICS_DENSE: return &eqf__dense_kind;
        case EQF_DYNAMICS_MESSAGE: return &eqf__message_kind;
    }
    return NULL;
}

/* ---- For programs ----------------------------------------------------------------------------- */

const eqf_dynamics_kind_info *eqf_dynamics_kind_describe(eqf_dynamics_kind kind) {
    const eqf__dynamics_kind *row = eqf__dynamics_kind_of(kind);
    return row != NULL ? &row->info : NULL;
}

static const char *name_of(unsigned kind) {
    const eqf__dynamics_kind *row = eqf__dynamics_kind_of((eqf_dynamics_kind)kind);
    return row != NULL ? row->info.name : NULL;
}

eqf_status eqf_dynamics_kind_find(const char *name, eqf_dynamics_kind *kind_out) {
    unsigned kind;
    EQF__NOT_NULL(NULL, kind_out);
    EQF__TRY(eqf__kind_find(name, name_of, &kind));
    *kind_out = (eqf_dynamics_kind)kind;
    return EQF_OK;
}

const eqf_option *eqf_dynamics_option(eqf_dynamics_kind kind, size_t index) {
    const eqf__dynamics_kind *row = eqf__dynamics_kind_of(kind);
    return row != NULL ? eqf__options_at(row->options, index) : NULL;
}

/* ---- For the library -------------------------------------------------------------------------- */

eqf_status eqf__dynamics_check(eqf_context *ctx, const eqf_dynamics_options *options) {
    const eqf__dynamics_kind *row = eqf__dynamics_kind_of(options->kind);
    if (row == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "kind of the dynamics is %u: there is no such kind",
                         (unsigned)options->kind);
    char what[64];
    snprintf(what, sizeof what, "%s dynamics", row->info.name);
    EQF__TRY(eqf__options_check(ctx, row->options, what, options));
    return row->check != NULL ? row->check(ctx, options) : EQF_OK;
}

uint64_t eqf__dynamics_hash(uint64_t hash, const eqf_dynamics_options *options) {
    const eqf__dynamics_kind *row = eqf__dynamics_kind_of(options->kind);
    hash = eqf__hash(hash, row->info.name, strlen(row->info.name) + 1);
    return eqf__options_hash(hash, row->options, options);
}
