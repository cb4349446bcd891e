/* Lennard-Jones particles in a harmonic trap (Koehler et al. 2020, section 5):
 *   U = epsilon sum over i<j of [ (r_min/d)^12 - 2 (r_min/d)^6 ] + 0.5 trap_strength sum_i |x_i - x_com|^2
 * Kernel text: cl/potential/lennard_jones.clh. */
#include <math.h>

#include "potential_kinds.h"

const eqf_option eqf__lennard_jones_options[] = {
    EQF__CONSTANT(epsilon, 2.0, 0.0, .help = "depth of a pair", .unit = "energy"),
    EQF__CONSTANT(r_min, 1.0, 1e-30, .help = "distance of the minimum", .unit = "length"),
    EQF__CONSTANT(trap_strength, 1.0, 0.0, .help = "strength of the harmonic trap", .unit = "energy/length^2",
                  .flag = "trap"),
    EQF__OPTIONS_END,
};

static void pair(const eqf_potential_options *potential, double d, double *energy_out, double *slope_out) {
    const double q = pow(potential->r_min / d, 6);
    *energy_out = potential->epsilon * (q * q - 2 * q);
    *slope_out = 12 * potential->epsilon * (q - q * q) / d;
}

static eqf_status define(const eqf_potential_options *potential, eqf__define_list *list) {
    const double T = potential->temperature, trap = potential->trap_strength / (2.0 * potential->num_particles * T);
    EQF__TRY(eqf__define(list, "LJ_SQUARED_R_MIN", potential->r_min * potential->r_min));
    EQF__TRY(eqf__define_unless_zero(list, "LJ_EPSILON", potential->epsilon / T));
    return eqf__define_unless_zero(list, "LJ_TRAP", trap);
}

static void scales(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    eqf__potential_packed_scales(potential, potential->r_min, scales_out);
    /* u'' = 72 epsilon / r_min^2 at the pair's minimum; the trap's strength is added */
    scales_out->stiffness = eqf__potential_packed_neighbours(potential) * 72.0 * potential->epsilon /
                                (potential->r_min * potential->r_min) +
                            potential->trap_strength;
}

const eqf__potential_kind eqf__lennard_jones = {
    .info = {.struct_size = sizeof(eqf_potential_kind_info),
             .name = "lennard_jones",
             .title = "Lennard-Jones",
             .formula = "epsilon [(r_min/d)^12 - 2 (r_min/d)^6], harmonic trap",
             .element = "Ar"},
    .options = eqf__lennard_jones_options,
    .file_options = eqf__first_file_options,
    .kernel_file = "potential/lennard_jones.clh",
    .sum_file = "potential/pair_sum.clh",
    .has_trap = true,
    .pair = pair,
    .scales = scales,
    .define = define,
};
