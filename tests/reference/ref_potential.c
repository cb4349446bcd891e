/* Prior and potentials from their formulas. */
#include <math.h>
#include <stdlib.h>

#include "reference.h"

double ref_prior_log_prob(unsigned num_particles, unsigned space_dim, double scale, const double *z) {
    const double half_log_two_pi = 0.91893853320467274178;
    double squared = 0.0;
    for (unsigned n = 0; n < num_particles * space_dim; ++n) squared += z[n] * z[n];
    return -squared / (2.0 * scale * scale) - (num_particles - 1.0) * space_dim * (log(scale) + half_log_two_pi);
}

/* u and du/dd of one pair, num_b of species B, at distance d, temperature not yet divided out. */
static void pair(const eqf_potential_options *potential, unsigned num_b, double d, double *energy_out,
                 double *slope_out) {
    double e = exp(-potential->width * (d - potential->r_min));
    double s = d - potential->distance_offset, q6 = pow(potential->r_min / d, 6.0), epsilon, r_min;
    switch (potential->kind) {
        case EQF_POTENTIAL_DOUBLE_WELL:
            *energy_out = potential->linear * s + potential->quadratic * s * s + potential->quartic * s * s * s * s;
            *slope_out = potential->linear + 2.0 * potential->quadratic * s + 4.0 * potential->quartic * s * s * s;
            return;
        case EQF_POTENTIAL_LENNARD_JONES:
            *energy_out = potential->epsilon * (q6 * q6 - 2.0 * q6);
            *slope_out = potential->epsilon * (-12.0 * q6 * q6 + 12.0 * q6) / d;
            return;
        case EQF_POTENTIAL_MORSE:
            *energy_out = potential->depth * (pow(1.0 - e, 2.0) - 1.0);
            *slope_out = potential->depth * 2.0 * (1.0 - e) * potential->width * e;
            return;
        case EQF_POTENTIAL_BINARY_LENNARD_JONES:
            epsilon = num_b == 0 ? potential->epsilon_aa : num_b == 1 ? potential->epsilon_ab : potential->epsilon_bb;
            r_min = num_b == 0 ? potential->r_min_aa : num_b == 1 ? potential->r_min_ab : potential->r_min_bb;
            *energy_out = epsilon * (pow(r_min / d, 12.0) - 2.0 * pow(r_min / d, 6.0));
            *slope_out = -12.0 * epsilon / d * (pow(r_min / d, 12.0) - pow(r_min / d, 6.0));
            return;
        case EQF_POTENTIAL_USER: break;
    }
    abort(); /* a text has no formula here */
}

double ref_potential_energy(const eqf_potential_options *potential, const double *x, double *force_out) {
    unsigned N = potential->num_particles, D = potential->space_dim;
    double energy = 0.0;
    if (force_out)
        for (unsigned n = 0; n < N * D; ++n) force_out[n] = 0.0;
    for (unsigned i = 0; i < N; ++i) {
        for (unsigned j = i + 1; j < N; ++j) {
            double squared = 0.0, pair_energy, slope;
            for (unsigned d = 0; d < D; ++d) squared += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);
            const unsigned first_b = N - potential->num_b; /* 0 of species B unless the kind has them */
            pair(potential, (i >= first_b) + (j >= first_b), sqrt(squared), &pair_energy, &slope);
            energy += pair_energy;
            for (unsigned d = 0; force_out && d < D; ++d) {
                double along = slope * (x[i * D + d] - x[j * D + d]) / sqrt(squared);
                force_out[i * D + d] -= along;
                force_out[j * D + d] += along;
            }
        }
    }
    if (potential->kind != EQF_POTENTIAL_DOUBLE_WELL) { /* the others have a trap */
        for (unsigned d = 0; d < D; ++d) {
            double mean = 0.0;
            for (unsigned i = 0; i < N; ++i) mean += x[i * D + d] / N;
            for (unsigned i = 0; i < N; ++i) {
                double offset = x[i * D + d] - mean;
                energy += 0.5 * potential->trap_strength * offset * offset;
                /* d/dx_i of the trap is k (x_i - com): the com's own derivative sums to zero. */
                if (force_out) force_out[i * D + d] -= potential->trap_strength * offset;
            }
        }
    }
    for (unsigned n = 0; force_out && n < N * D; ++n) force_out[n] /= potential->temperature;
    return energy / potential->temperature;
}
