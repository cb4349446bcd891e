/* Lengths and stiffnesses of the potentials, and random starts. */
#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "minima_internal.h"

/* Particles that touch one, and one more: 12 spheres around a sphere, 6 discs around a disc, 2 neighbours on a line. */
static double packed_neighbours(const eqf_potential_options *potential) {
    static const double touching[] = {2.0, 6.0, 12.0};
    return fmin(potential->num_particles, 1.0 + touching[potential->space_dim - 1]);
}

/* Half the distance between the wells of s -> quadratic s^2 + quartic s^4; 0 if it has one well. */
static double well_offset(const eqf_potential_options *potential) {
    if (!(potential->quadratic < 0.0 && potential->quartic > 0.0)) return 0.0;
    return sqrt(-potential->quadratic / (2.0 * potential->quartic));
}

double eqf__minima_length(const eqf_potential_options *potential) {
    if (potential->kind == EQF_POTENTIAL_LENNARD_JONES) return potential->r_min;
    if (potential->kind == EQF_POTENTIAL_USER) return potential->length;
    double offset = fabs(potential->distance_offset), well = well_offset(potential);
    double length = offset > well ? offset - well : offset + well; /* the inner well, if there is room for it */
    return length > 1e-6 * (offset + well) ? length : offset + well > 0.0 ? offset + well : 1.0;
}

double eqf__minima_stiffness(const eqf_potential_options *potential) {
    double stiffness;
    if (potential->kind == EQF_POTENTIAL_USER) {
        /* a place to start from: that of a pair as stiff as kT at a tenth of the length */
        stiffness = 100.0 * potential->temperature / (potential->length * potential->length);
    } else if (potential->kind == EQF_POTENTIAL_LENNARD_JONES) {
        /* u'' = 72 epsilon / r_min^2 at the pair's minimum; the trap adds its strength */
        stiffness = packed_neighbours(potential) * 72.0 * potential->epsilon / (potential->r_min * potential->r_min) +
                    potential->trap_strength;
    } else {
        double well = well_offset(potential);
        double curvature = fabs(2.0 * potential->quadratic + 12.0 * potential->quartic * well * well);
        double length = eqf__minima_length(potential);
        /* a pure quartic or linear potential is measured by what it has at its own length */
        if (!(curvature > 0.0))
            curvature = 12.0 * potential->quartic * length * length + fabs(potential->linear) / length;
        stiffness = potential->num_particles * curvature; /* every pair is bound to every other */
    }
    stiffness /= potential->temperature;
    return stiffness > 0.0 ? stiffness : 1.0;
}

double eqf__minima_start_radius(const eqf_potential_options *potential) {
    double D = potential->space_dim;
    if (potential->kind != EQF_POTENTIAL_DOUBLE_WELL) /* about half of close packing's density in 3-D */
        return 0.7 * eqf__minima_length(potential) * pow(potential->num_particles, 1.0 / D);
    return fmax(fabs(potential->distance_offset) + well_offset(potential), eqf__minima_length(potential));
}

void eqf__minima_centre(unsigned num_particles, unsigned space_dim, double *x) {
    for (unsigned d = 0; d < space_dim; d++) {
        double mean = 0.0;
        for (unsigned i = 0; i < num_particles; i++) mean += x[i * space_dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) x[i * space_dim + d] -= mean;
    }
}

/* One point of the unit ball: uniform in the cube until inside, attempts numbered in the counter. */
static void point_in_ball(uint64_t seed, uint64_t start, unsigned particle, unsigned space_dim, double *point) {
    static const uint32_t stream = 0x73746172u;
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    for (uint32_t attempt = 0;; attempt++) {
        philox4x32_ctr_t counter = {{(uint32_t)start, (uint32_t)(start >> 32), particle, stream + attempt}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        double squared = 0.0;
        for (unsigned d = 0; d < space_dim; d++) {
            point[d] = (words.v[d] + 0.5) / 2147483648.0 - 1.0;
            squared += point[d] * point[d];
        }
        if (squared <= 1.0) return;
    }
}

eqf_status eqf_minima_random_starts(eqf_context *ctx, const eqf_potential_options *potential, uint64_t seed,
                                    uint64_t first_start, size_t num_starts, float *x_out) {
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (num_starts == 0) return EQF_OK;
    if (x_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no room for the starts: x_out is NULL");
    unsigned N = potential->num_particles, D = potential->space_dim;
    double radius = eqf__minima_start_radius(potential);
    for (size_t b = 0; b < num_starts; b++) {
        float *x = x_out + b * N * D;
        double mean[3] = {0.0, 0.0, 0.0}, point[3];
        for (unsigned i = 0; i < N; i++) {
            point_in_ball(seed, first_start + b, i, D, point);
            for (unsigned d = 0; d < D; d++) {
                mean[d] += radius * point[d] / N;
                x[i * D + d] = (float)(radius * point[d]);
            }
        }
        for (unsigned c = 0; c < N * D; c++) x[c] -= (float)mean[c % D];
    }
    return EQF_OK;
}
