/* A double well between each two particles (Koehler et al. 2020, section 5):
 *   U = sum over i<j of linear s + quadratic s^2 + quartic s^4,   s = d - distance_offset
 * Kernel text: cl/potential/double_well.clh. */
#include <math.h>

#include "potential_kinds.h"

const eqf_option eqf__double_well_options[] = {
    EQF__CONSTANT(distance_offset, 4.0, -1e30, .help = "distance of the barrier", .unit = "length"),
    EQF__CONSTANT(linear, 0.0, -1e30, .help = "coefficient of s = d - offset", .unit = "energy/length"),
    EQF__CONSTANT(quadratic, -4.0, -1e30, .help = "coefficient of s^2", .unit = "energy/length^2"),
    /* not negative: the energy would have no lower bound, and there would be no density */
    EQF__CONSTANT(quartic, 0.9, 0.0, .help = "coefficient of s^4", .unit = "energy/length^4"),
    EQF__OPTIONS_END,
};

static void pair(const eqf_potential_options *potential, double d, double *energy_out, double *slope_out) {
    const double s = d - potential->distance_offset;
    *energy_out = potential->linear * s + potential->quadratic * s * s + potential->quartic * s * s * s * s;
    *slope_out = potential->linear + 2 * potential->quadratic * s + 4 * potential->quartic * s * s * s;
}

static eqf_status define(const eqf_potential_options *potential, eqf__define_list *list) {
    const double T = potential->temperature;
    EQF__TRY(eqf__define(list, "DW_OFFSET", potential->distance_offset));
    EQF__TRY(eqf__define(list, "DW_LINEAR", potential->linear / T));
    EQF__TRY(eqf__define(list, "DW_QUADRATIC", potential->quadratic / T));
    return eqf__define(list, "DW_QUARTIC", potential->quartic / T);
}

/* Half the distance between the two wells of quadratic s^2 + quartic s^4; 0 if it has one well. */
static double well_offset(const eqf_potential_options *potential) {
    if (!(potential->quadratic < 0.0 && potential->quartic > 0.0)) return 0.0;
    return sqrt(-potential->quadratic / (2.0 * potential->quartic));
}

/* The distance d of the inner well if that is positive, else of the outer one. */
static double well_distance(double offset, double well) {
    const double length = offset > well ? offset - well : offset + well;
    return length > 1e-6 * (offset + well) ? length : offset + well > 0.0 ? offset + well : 1.0;
}

static void scales(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    const double offset = fabs(potential->distance_offset), well = well_offset(potential);
    const double length = well_distance(offset, well), reach = offset > 0.0 ? offset / 4.0 : 1.0;
    double curvature = fabs(2.0 * potential->quadratic + 12.0 * potential->quartic * well * well);
    /* without curvature at the well (quartic or linear potentials) that at the length is used */
    if (!(curvature > 0.0)) curvature = 12.0 * potential->quartic * length * length + fabs(potential->linear) / length;
    scales_out->length = length;
    scales_out->start_sd = 2.0 * reach;
    scales_out->first_move = 0.2 * reach;
    scales_out->start_radius = fmax(offset + well, length);
    scales_out->stiffness = potential->num_particles * curvature; /* each particle is bound to all others */
}

const eqf_option *const eqf__first_file_options[] = {eqf__double_well_options, eqf__lennard_jones_options, NULL};

const eqf__potential_kind eqf__double_well = {
    .info = {.struct_size = sizeof(eqf_potential_kind_info),
             .name = "double_well",
             .title = "double well",
             .formula = "linear s + quadratic s^2 + quartic s^4, s = d - distance_offset",
             .element = "X"},
    .options = eqf__double_well_options,
    .file_options = eqf__first_file_options,
    .kernel_file = "potential/double_well.clh",
    .sum_file = "potential/pair_sum.clh",
    .pair = pair,
    .scales = scales,
    .define = define,
};
