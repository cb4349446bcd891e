/* Morse particles in a harmonic trap:
 *   U = depth sum over i<j of [ (1 - exp(-width (d - r_min)))^2 - 1 ] + 0.5 trap_strength sum_i |x_i - x_com|^2
 * (Morse, Phys. Rev. 34, 57, 1929). The product width r_min
 * determines the shape: 6 has the curvature of Lennard-Jones at the minimum, 14 a short range as for C60 molecules, 3 a
 * long range as for sodium (Doye and Wales, J. Chem. Soc. Faraday
 * Trans. 93, 4233, 1997). Kernel text: cl/potential/morse.clh. */
#include <math.h>

#include "potential_kinds.h"

/* The flags have other names than the options, as fields have a depth and a width too. */
static const eqf_option options[] = {
    EQF__CONSTANT(depth, 2.0, 0.0, .help = "depth of a pair", .unit = "energy", .flag = "morse-depth"),
    EQF__CONSTANT(width, 6.0, 1e-30, .help = "how fast a pair's energy rises around the minimum", .unit = "1/length",
                  .flag = "morse-width"),
    EQF__CONSTANT(r_min, 1.0, 1e-30, .help = "distance of the minimum", .unit = "length"),
    EQF__CONSTANT(trap_strength, 1.0, 0.0, .help = "strength of the harmonic trap", .unit = "energy/length^2",
                  .flag = "trap"),
    EQF__OPTIONS_END,
};

static void pair(const eqf_potential_options *potential, double d, double *energy_out, double *slope_out) {
    const double e = exp(-potential->width * (d - potential->r_min));
    *energy_out = potential->depth * ((1 - e) * (1 - e) - 1);
    *slope_out = 2 * potential->depth * potential->width * (1 - e) * e;
}

static eqf_status define(const eqf_potential_options *potential, eqf__define_list *list) {
    const double T = potential->temperature, trap = potential->trap_strength / (2.0 * potential->num_particles * T);
    EQF__TRY(eqf__define(list, "MORSE_WIDTH", potential->width));
    EQF__TRY(eqf__define(list, "MORSE_R_MIN", potential->r_min));
    EQF__TRY(eqf__define_unless_zero(list, "MORSE_DEPTH", potential->depth / T));
    return eqf__define_unless_zero(list, "MORSE_TRAP", trap);
}

static void scales(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    eqf__potential_packed_scales(potential, potential->r_min, scales_out);
    /* u'' = 2 depth width^2 at the pair's minimum; the trap's strength is added */
    scales_out->stiffness =
        eqf__potential_packed_neighbours(potential) * 2.0 * potential->depth * potential->width * potential->width +
        potential->trap_strength;
}

const eqf__potential_kind eqf__morse = {
    .info = {.struct_size = sizeof(eqf_potential_kind_info),
             .name = "morse",
             .title = "Morse",
             .formula = "depth [(1 - exp(-width (d - r_min)))^2 - 1], harmonic trap",
             .element = "X"},
    .options = options,
    .kernel_file = "potential/morse.clh",
    .sum_file = "potential/pair_sum.clh",
    .has_trap = true,
    .pair = pair,
    .scales = scales,
    .define = define,
};
