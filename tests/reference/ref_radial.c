/* The radial field from its formula. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

/* Added to the sum of the Gaussians before dividing by it (Koehler et al. 2020, authors' code). */
static const double normalisation_offset = 1e-6;

static double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

ref_radial *ref_radial_create(unsigned num_distance, unsigned num_time) {
    ref_radial *radial = calloc(1, sizeof *radial);
    if (!radial) abort();
    size_t num_weights = (size_t)num_distance * num_time;
    radial->num_distance = num_distance;
    radial->num_time = num_time;
    radial->num_trained = num_weights + num_time + num_distance + num_distance + num_time;
    radial->num_params = radial->num_trained + num_distance + num_time;
    radial->params = zeros(radial->num_params);
    radial->weights = radial->params;
    radial->bias = radial->weights + num_weights;
    radial->importance = radial->bias + num_time;
    radial->distance_log_gammas = radial->importance + num_distance;
    radial->time_log_gammas = radial->distance_log_gammas + num_distance;
    radial->distance_centers = radial->time_log_gammas + num_time;
    radial->time_centers = radial->distance_centers + num_distance;
    return radial;
}

void ref_radial_destroy(ref_radial *radial) {
    if (radial) free(radial->params);
    free(radial);
}

static double gaussian(double s, double center, double log_gamma) {
    double u = (s - center) / exp(log_gamma);
    return exp(-u * u);
}

static double gaussian_prime(double s, double center, double log_gamma) {
    double gamma = exp(log_gamma);
    return -2.0 * (s - center) / (gamma * gamma) * gaussian(s, center, log_gamma);
}

/* At a fixed time the field is phi(d) = sum_k R_k(d) at_k + constant, with
 * at_k = sum_m T_m W_km and constant = sum_m T_m (b_m + sum_k c_k^2 W_km). */
typedef struct radial_at {
    double constant;
    double *at;    /* [K] */
    double *gamma; /* [K] */
    double *g;     /* [K], room for the Gaussians at one distance */
} radial_at;

static radial_at at_time(const ref_radial *radial, double t) {
    unsigned K = radial->num_distance, M = radial->num_time;
    double *memory = zeros(3 * (size_t)K);
    radial_at field = {0.0, memory, memory + K, memory + 2 * (size_t)K};
    double sum = 0.0;
    for (unsigned m = 0; m < M; ++m) sum += gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]);
    for (unsigned m = 0; m < M; ++m) {
        double T = gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]) / (normalisation_offset + sum);
        field.constant += T * radial->bias[m];
        for (unsigned k = 0; k < K; ++k) {
            double weight = radial->weights[(size_t)k * M + m];
            field.at[k] += T * weight;
            field.constant += T * radial->importance[k] * radial->importance[k] * weight;
        }
    }
    for (unsigned k = 0; k < K; ++k) field.gamma[k] = exp(radial->distance_log_gammas[k]);
    return field;
}

/* phi and d phi/d d. The derivative of A/(e + S) is written as sum_k g'_k (at_k - A/(e + S)) / (e + S), which does not
 * cancel where one Gaussian dominates. */
static void phi_at(const ref_radial *radial, const radial_at *field, double d, double *phi_out, double *prime_out) {
    double sum = normalisation_offset, weighted = 0.0;
    for (unsigned k = 0; k < radial->num_distance; ++k) {
        double u = (d - radial->distance_centers[k]) / field->gamma[k];
        /* exp(-100) is 4e-44: nothing beside the 1e-6 in double precision, and most of lj13's Gaussians are
         * there. A NaN passes. */
        field->g[k] = u * u > 100.0 ? 0.0 : exp(-u * u);
        sum += field->g[k];
        weighted += field->g[k] * field->at[k];
    }
    double mean = weighted / sum, prime = 0.0;
    for (unsigned k = 0; k < radial->num_distance; ++k)
        if (field->g[k] != 0.0)
            prime += -2.0 * (d - radial->distance_centers[k]) / (field->gamma[k] * field->gamma[k]) * field->g[k] *
                     (field->at[k] - mean);
    *phi_out = mean + field->constant;
    *prime_out = prime / sum;
}

/* These two are the formula once more, term by term as it is written: they check phi_at. */
double ref_radial_phi(const ref_radial *radial, double d, double t) {
    unsigned K = radial->num_distance, M = radial->num_time;
    double distance_sum = 0.0, time_sum = 0.0, phi = 0.0;
    for (unsigned k = 0; k < K; ++k)
        distance_sum += gaussian(d, radial->distance_centers[k], radial->distance_log_gammas[k]);
    for (unsigned m = 0; m < M; ++m) time_sum += gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]);
    for (unsigned m = 0; m < M; ++m) {
        double bracket = radial->bias[m];
        for (unsigned k = 0; k < K; ++k) {
            double R = gaussian(d, radial->distance_centers[k], radial->distance_log_gammas[k]) /
                       (normalisation_offset + distance_sum);
            double c = radial->importance[k];
            bracket += (R + c * c) * radial->weights[(size_t)k * M + m];
        }
        phi += gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]) / (normalisation_offset + time_sum) *
               bracket;
    }
    return phi;
}

double ref_radial_phi_prime(const ref_radial *radial, double d, double t) {
    unsigned K = radial->num_distance, M = radial->num_time;
    double sum = normalisation_offset, sum_prime = 0.0, time_sum = normalisation_offset, prime = 0.0;
    for (unsigned k = 0; k < K; ++k) {
        sum += gaussian(d, radial->distance_centers[k], radial->distance_log_gammas[k]);
        sum_prime += gaussian_prime(d, radial->distance_centers[k], radial->distance_log_gammas[k]);
    }
    for (unsigned m = 0; m < M; ++m) time_sum += gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]);
    for (unsigned k = 0; k < K; ++k) {
        double g = gaussian(d, radial->distance_centers[k], radial->distance_log_gammas[k]);
        double g_prime = gaussian_prime(d, radial->distance_centers[k], radial->distance_log_gammas[k]);
        double R_prime = g_prime / sum - g * sum_prime / (sum * sum);
        for (unsigned m = 0; m < M; ++m)
            prime += gaussian(t, radial->time_centers[m], radial->time_log_gammas[m]) / time_sum * R_prime *
                     radial->weights[(size_t)k * M + m];
    }
    return prime;
}

void ref_velocity(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t, const double *x,
                  double *velocity_out, double *divergence_out, double *divergence_scale_out) {
    radial_at field = at_time(radial, t);
    double divergence = 0.0, scale = 0.0;
    for (unsigned n = 0; n < num_particles * space_dim; ++n) velocity_out[n] = 0.0;
    for (unsigned i = 0; i < num_particles; ++i) {
        for (unsigned j = i + 1; j < num_particles; ++j) {
            double squared = 0.0, phi, prime;
            for (unsigned d = 0; d < space_dim; ++d) {
                double r = x[i * space_dim + d] - x[j * space_dim + d];
                squared += r * r;
            }
            double distance = sqrt(squared);
            phi_at(radial, &field, distance, &phi, &prime);
            for (unsigned d = 0; d < space_dim; ++d) { /* r_ji = -r_ij */
                double r = x[i * space_dim + d] - x[j * space_dim + d];
                velocity_out[i * space_dim + d] += r * phi;
                velocity_out[j * space_dim + d] -= r * phi;
            }
            divergence += 2.0 * (distance * prime + space_dim * phi); /* i != j: ordered pairs */
            scale += 2.0 * (fabs(distance * prime) + fabs(space_dim * phi));
        }
    }
    if (divergence_out) *divergence_out = divergence;
    if (divergence_scale_out) *divergence_scale_out = scale;
    free(field.at);
}

double ref_velocity_scale(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t,
                          const double *x) {
    /* The normalised Gaussians and c^2 are positive: absolute W and b make every term absolute. */
    ref_radial *absolute = ref_radial_create(radial->num_distance, radial->num_time);
    size_t num_weights = (size_t)radial->num_distance * radial->num_time;
    for (size_t i = 0; i < num_weights; ++i) absolute->weights[i] = fabs(radial->weights[i]);
    for (unsigned m = 0; m < radial->num_time; ++m) {
        absolute->bias[m] = fabs(radial->bias[m]);
        absolute->time_centers[m] = radial->time_centers[m];
        absolute->time_log_gammas[m] = radial->time_log_gammas[m];
    }
    for (unsigned k = 0; k < radial->num_distance; ++k) {
        absolute->importance[k] = radial->importance[k];
        absolute->distance_centers[k] = radial->distance_centers[k];
        absolute->distance_log_gammas[k] = radial->distance_log_gammas[k];
    }
    radial_at field = at_time(absolute, t);
    double scale = 0.0;
    for (unsigned i = 0; i < num_particles; ++i) {
        double sum = 0.0;
        for (unsigned j = 0; j < num_particles; ++j) {
            double squared = 0.0, phi, prime;
            for (unsigned d = 0; d < space_dim; ++d) {
                double r = x[i * space_dim + d] - x[j * space_dim + d];
                squared += r * r;
            }
            phi_at(absolute, &field, sqrt(squared), &phi, &prime);
            sum += sqrt(squared) * phi;
        }
        scale = fmax(scale, sum);
    }
    free(field.at);
    ref_radial_destroy(absolute);
    return scale;
}

double ref_divergence_brute_force(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t,
                                  const double *x) {
    unsigned num_dof = num_particles * space_dim;
    double *moved = zeros(num_dof), *above = zeros(num_dof), *below = zeros(num_dof);
    memcpy(moved, x, num_dof * sizeof *moved);
    double trace = 0.0;
    for (unsigned n = 0; n < num_dof; ++n) {
        double step = 1e-5 * fmax(1.0, fabs(x[n]));
        moved[n] = x[n] + step;
        ref_velocity(radial, num_particles, space_dim, t, moved, above, NULL, NULL);
        moved[n] = x[n] - step;
        ref_velocity(radial, num_particles, space_dim, t, moved, below, NULL, NULL);
        moved[n] = x[n];
        trace += (above[n] - below[n]) / (2.0 * step);
    }
    free(moved);
    free(above);
    free(below);
    return trace;
}
