#include <math.h>
#include <string.h>

#include "base.h"
#include "eqflow/potential.h"

enum { MAX_PARTICLES = 1000, MAX_SPACE_DIM = 3 };

static const char *const kind_names[] = {
    [EQF_POTENTIAL_DOUBLE_WELL] = "double_well",
    [EQF_POTENTIAL_LENNARD_JONES] = "lennard_jones",
};
enum { NUM_KINDS = sizeof kind_names / sizeof kind_names[0] };

const char *eqf_potential_kind_name(eqf_potential_kind kind) {
    return (unsigned)kind < NUM_KINDS ? kind_names[kind] : NULL;
}

eqf_status eqf_potential_kind_find(const char *name, eqf_potential_kind *kind_out) {
    for (unsigned kind = 0; name != NULL && kind < NUM_KINDS; kind++)
        if (strcmp(name, kind_names[kind]) == 0) {
            *kind_out = (eqf_potential_kind)kind;
            return EQF_OK;
        }
    return EQF_ERROR_NOT_FOUND;
}

/* What a constant may be. All must fit float32, in which the kernels compute. Those of the other kind have no meaning
 * and may be anything that is a number: all are in the model file, where NaN and infinity have no place. */
typedef enum constant_rule { ANY, NOT_NEGATIVE, POSITIVE } constant_rule;

static eqf_status check_constant(eqf_context *ctx, const char *name, double value, constant_rule rule) {
    bool is_number = isfinite(value) && fabs(value) <= 1e30;
    if (rule == ANY && !is_number)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the potential is %g: it must be a finite number", name,
                         value);
    if (rule == NOT_NEGATIVE && !(is_number && value >= 0.0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the potential is %g: it must be 0 or positive", name,
                         value);
    if (rule == POSITIVE && !(is_number && value >= 1e-30))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the potential is %g: it must be positive", name,
                         value);
    return EQF_OK;
}

eqf_status eqf_potential_check(eqf_context *ctx, const eqf_potential_options *potential) {
    if (potential == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the potential is NULL");
    if (potential->version != 1)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "version of the potential is %u: start from EQF_POTENTIAL_OPTIONS_INIT", potential->version);
    if (eqf_potential_kind_name(potential->kind) == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "kind of the potential is %u: there is no such kind",
                         (unsigned)potential->kind);
    if (potential->num_particles < 2 || potential->num_particles > MAX_PARTICLES)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_particles of the potential is %u: it must be 2 to %d",
                         potential->num_particles, MAX_PARTICLES);
    if (potential->space_dim < 1 || potential->space_dim > MAX_SPACE_DIM)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "space_dim of the potential is %u: it must be 1 to %d",
                         potential->space_dim, MAX_SPACE_DIM);
    EQF__TRY(check_constant(ctx, "temperature", potential->temperature, POSITIVE));
    const bool is_well = potential->kind == EQF_POTENTIAL_DOUBLE_WELL;
    EQF__TRY(check_constant(ctx, "distance_offset", potential->distance_offset, ANY));
    EQF__TRY(check_constant(ctx, "linear", potential->linear, ANY));
    EQF__TRY(check_constant(ctx, "quadratic", potential->quadratic, ANY));
    /* below zero the energy has no lower bound, and there is no density */
    EQF__TRY(check_constant(ctx, "quartic", potential->quartic, is_well ? NOT_NEGATIVE : ANY));
    EQF__TRY(check_constant(ctx, "epsilon", potential->epsilon, is_well ? ANY : NOT_NEGATIVE));
    EQF__TRY(check_constant(ctx, "r_min", potential->r_min, is_well ? ANY : POSITIVE));
    return check_constant(ctx, "trap_strength", potential->trap_strength, is_well ? ANY : NOT_NEGATIVE);
}
