/* Options of potentials of all kinds, and their checks. */
#include "potential_kinds.h"

const eqf_option eqf__potential_common_options[] = {
    EQF__OPTION(eqf_potential_options, num_particles, UNSIGNED, .initial = 2, .low = 2, .high = 1000,
                .help = "number of particles", .flag = "particles"),
    EQF__OPTION(eqf_potential_options, space_dim, UNSIGNED, .initial = 2, .low = 1, .high = 3,
                .help = "dimensions of space"),
    EQF__CONSTANT(temperature, 1.0, 1e-30, .help = "divides every energy", .unit = "energy"),
    EQF__OPTIONS_END,
};

eqf_status eqf__potential_check_species(eqf_context *ctx, const eqf_potential_options *potential) {
    if (potential->num_b < potential->num_particles) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                     "num_b of the potential is %u: it must be below the number of particles, %u, so that species A "
                     "has some",
                     potential->num_b, potential->num_particles);
}

eqf_status eqf_potential_check(eqf_context *ctx, const eqf_potential_options *potential) {
    static const char what[] = "potential";
    if (potential == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the potential is NULL");
    EQF__TRY(EQF__CHECK(ctx, EQF_POTENTIAL_OPTIONS_INIT, eqf_potential_options, potential));
    const eqf__potential_kind *own = eqf__potential_kind_of(potential->kind), *other;
    if (own == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "kind of the potential is %u: there is no such kind",
                         (unsigned)potential->kind);
    EQF__TRY(eqf__options_check(ctx, eqf__potential_common_options, what, potential));
    EQF__TRY(eqf__options_check(ctx, own->options, what, potential));
    /* Constants of other kinds have no meaning, but may be written to the model file, which cannot hold NaN and
     * infinity. */
    for (unsigned kind = 0; (other = eqf__potential_kind_of((eqf_potential_kind)kind)) != NULL; kind++)
        EQF__TRY(eqf__options_check_finite(ctx, other->options, what, potential));
    return own->check != NULL ? own->check(ctx, potential) : EQF_OK;
}
