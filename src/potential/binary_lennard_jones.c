/* Lennard-Jones particles of two species in a harmonic trap; the last num_b particles are of species B, the others of
 * A:
 *   U = sum over i<j of epsilon_ij [ (r_ij/d)^12 - 2 (r_ij/d)^6 ] + 0.5 trap_strength sum_i |x_i - x_com|^2
 * with epsilon_ij and r_ij of the pair's species (clusters: Doye and Meyer, Phys. Rev. Lett. 95, 063401, 2005). The
 * defaults are those of Kob and Andersen, Phys. Rev. E 51, 4626 (1995), in units of the pair AA, with r_min for their
 * sigma. Kernel text: cl/potential/binary_lennard_jones.clh. */
#include <math.h>

#include "potential_kinds.h"

static const eqf_option options[] = {
    EQF__SPECIES_OPTION(.flag = NULL),
    EQF__CONSTANT(epsilon_aa, 1.0, 0.0, .help = "depth of a pair of A", .unit = "energy"),
    EQF__CONSTANT(epsilon_ab, 1.5, 0.0, .help = "depth of a pair of A and B", .unit = "energy"),
    EQF__CONSTANT(epsilon_bb, 0.5, 0.0, .help = "depth of a pair of B", .unit = "energy"),
    EQF__CONSTANT(r_min_aa, 1.0, 1e-30, .help = "distance of the minimum of a pair of A", .unit = "length"),
    EQF__CONSTANT(r_min_ab, 0.8, 1e-30, .help = "distance of the minimum of A and B", .unit = "length"),
    EQF__CONSTANT(r_min_bb, 0.88, 1e-30, .help = "distance of the minimum of a pair of B", .unit = "length"),
    EQF__CONSTANT(trap_strength, 1.0, 0.0, .help = "strength of the harmonic trap", .unit = "energy/length^2",
                  .flag = "trap"),
    EQF__OPTIONS_END,
};

static double epsilon_of(const eqf_potential_options *potential, unsigned num_b_of_pair) {
    return num_b_of_pair == 0   ? potential->epsilon_aa
           : num_b_of_pair == 1 ? potential->epsilon_ab
                                : potential->epsilon_bb;
}

static double r_min_of(const eqf_potential_options *potential, unsigned num_b_of_pair) {
    return num_b_of_pair == 0 ? potential->r_min_aa : num_b_of_pair == 1 ? potential->r_min_ab : potential->r_min_bb;
}

static void species_pair(const eqf_potential_options *potential, unsigned num_b_of_pair, double d, double *energy_out,
                         double *slope_out) {
    const double q = pow(r_min_of(potential, num_b_of_pair) / d, 6), epsilon = epsilon_of(potential, num_b_of_pair);
    *energy_out = epsilon > 0 ? epsilon * (q * q - 2 * q) : 0;
    *slope_out = epsilon > 0 ? 12 * epsilon * (q - q * q) / d : 0;
}

static eqf_status define(const eqf_potential_options *potential, eqf__define_list *list) {
    static const char *const of_epsilon[] = {"BLJ_EPSILON_AA", "BLJ_EPSILON_AB", "BLJ_EPSILON_BB"};
    static const char *const of_r_min[] = {"BLJ_SQUARED_R_MIN_AA", "BLJ_SQUARED_R_MIN_AB", "BLJ_SQUARED_R_MIN_BB"};
    const double T = potential->temperature;
    for (unsigned num_b = 0; num_b < 3; num_b++) {
        EQF__TRY(eqf__define(list, of_epsilon[num_b], epsilon_of(potential, num_b) / T));
        EQF__TRY(eqf__define(list, of_r_min[num_b], pow(r_min_of(potential, num_b), 2)));
    }
    EQF__TRY(eqf__define_unless_zero(list, "LJ_TRAP", potential->trap_strength / (2.0 * potential->num_particles * T)));
    eqf__define_count(list, "FIRST_B", potential->num_particles - potential->num_b);
    return EQF_OK;
}

/* The length is the mean over pairs, the stiffness that of the stiffest pair. */
static void scales(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    const double b = (double)potential->num_b / potential->num_particles, a = 1 - b;
    eqf__potential_packed_scales(
        potential, a * a * potential->r_min_aa + 2 * a * b * potential->r_min_ab + b * b * potential->r_min_bb,
        scales_out);
    double stiffest = 0;
    for (unsigned num_b = 0; num_b < (potential->num_b > 0 ? 3u : 1u); num_b++)
        stiffest = fmax(stiffest, 72.0 * epsilon_of(potential, num_b) / pow(r_min_of(potential, num_b), 2));
    scales_out->stiffness = eqf__potential_packed_neighbours(potential) * stiffest + potential->trap_strength;
}

const eqf__potential_kind eqf__binary_lennard_jones = {
    .info = {.struct_size = sizeof(eqf_potential_kind_info),
             .name = "binary_lennard_jones",
             .title = "binary LJ",
             .formula = "epsilon [(r_min/d)^12 - 2 (r_min/d)^6] of the pair's species, harmonic trap",
             .element = "Ar",
             .element_b = "Ne"},
    .options = options,
    .kernel_file = "potential/binary_lennard_jones.clh",
    .sum_file = "potential/pair_sum.clh",
    .has_trap = true,
    .has_species = true,
    .species_pair = species_pair,
    .scales = scales,
    .check = eqf__potential_check_species,
    .define = define,
};
