#include "host_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

/* Normalised Gaussians and their slopes at s: R_k = g_k / (1e-6 + sum g). */
static void gaussians(unsigned count, const double *centers, const double *log_gammas, double s, double *value,
                      double *slope) {
    double sum = 0, sum_slope = 0;
    for (unsigned k = 0; k < count; k++) {
        double gamma = exp(log_gammas[k]), u = (s - centers[k]) / gamma;
        value[k] = exp(-u * u);
        slope[k] = -2 * u / gamma * value[k];
        sum += value[k];
        sum_slope += slope[k];
    }
    double norm = 1e-6 + sum;
    for (unsigned k = 0; k < count; k++) {
        slope[k] = slope[k] / norm - value[k] * sum_slope / (norm * norm);
        value[k] /= norm;
    }
}

static void phi(const eqf__host_field *field, double d, double t, double *phi_out, double *slope_out) {
    const unsigned num_k = field->num_distance, num_m = field->num_time;
    const double *weights = field->params, *bias = weights + num_k * num_m, *importance = bias + num_m;
    const double *log_gammas = importance + num_k, *time_log_gammas = log_gammas + num_k;
    const double *centers = time_log_gammas + num_m, *time_centers = centers + num_k;
    double value[EQF__REFERENCE_MAX_GAUSSIANS], slope[EQF__REFERENCE_MAX_GAUSSIANS];
    double time[EQF__REFERENCE_MAX_GAUSSIANS], time_slope[EQF__REFERENCE_MAX_GAUSSIANS];
    gaussians(num_k, centers, log_gammas, d, value, slope);
    gaussians(num_m, time_centers, time_log_gammas, t, time, time_slope);
    *phi_out = *slope_out = 0;
    for (unsigned m = 0; m < num_m; m++) {
        double inner = bias[m], inner_slope = 0;
        for (unsigned k = 0; k < num_k; k++) {
            inner += (value[k] + importance[k] * importance[k]) * weights[k * num_m + m];
            inner_slope += slope[k] * weights[k * num_m + m];
        }
        *phi_out += time[m] * inner;
        *slope_out += time[m] * inner_slope;
    }
}

void eqf__host_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                        double *divergence_out) {
    const unsigned num = field->num_particles, dim = field->space_dim;
    *divergence_out = 0;
    for (unsigned i = 0; i < num; i++) {
        for (unsigned a = 0; a < dim; a++) velocity_out[i * dim + a] = 0;
        for (unsigned j = 0; j < num; j++) {
            if (j == i) continue;
            double d2 = 0, value, slope;
            for (unsigned a = 0; a < dim; a++) d2 += pow(x[i * dim + a] - x[j * dim + a], 2);
            phi(field, sqrt(d2), t, &value, &slope);
            for (unsigned a = 0; a < dim; a++) velocity_out[i * dim + a] += (x[i * dim + a] - x[j * dim + a]) * value;
            *divergence_out += sqrt(d2) * slope + dim * value;
        }
    }
}

bool eqf__host_transform(const eqf__host_field *field, bool is_prior_to_data, unsigned num_steps, const double *x,
                         double *x_out, double *log_det_out, double *error_out) {
    static const double reach[4] = {0.5, 0.5, 1, 0}, weight[4] = {1. / 6, 1. / 3, 1. / 3, 1. / 6},
                        offset[4] = {0, .5, .5, 1};
    const unsigned num_dof = field->num_particles * field->space_dim;
    const double h = (is_prior_to_data ? 1.0 : -1.0) / num_steps, start = is_prior_to_data ? 0 : 1;
    double *y = calloc(5 * (size_t)num_dof, sizeof *y), div[4]; /* y, k [4] */
    if (y == NULL) return false;
    double *k[4] = {y + num_dof, y + 2 * num_dof, y + 3 * num_dof, y + 4 * num_dof};
    memmove(x_out, x, num_dof * sizeof *x);
    *error_out = *log_det_out = 0;
    for (unsigned step = 0; step < num_steps; step++) {
        memcpy(y, x_out, num_dof * sizeof *y);
        for (unsigned s = 0; s < 4; s++) {
            eqf__host_velocity(field, y, start + h * (step + offset[s]), k[s], &div[s]);
            for (unsigned c = 0; c < num_dof; c++) y[c] = x_out[c] + h * reach[s] * k[s][c];
            *log_det_out += h * weight[s] * div[s];
        }
        double square = pow(div[1] - div[2], 2);
        for (unsigned c = 0; c < num_dof; c++) {
            square += pow(k[1][c] - k[2][c], 2);
            for (unsigned s = 0; s < 4; s++) x_out[c] += h * weight[s] * k[s][c];
        }
        *error_out += fabs(h) * square;
    }
    free(y);
    return true;
}

bool eqf__host_log_prob(const eqf__host_field *field, double prior_scale, unsigned num_steps, const double *x,
                        double *log_prob_out, double *error_out) {
    const unsigned num_dof = field->num_particles * field->space_dim;
    double log_det, square = 0, *z = calloc(num_dof, sizeof *z);
    if (z == NULL || !eqf__host_transform(field, false, num_steps, x, z, &log_det, error_out)) {
        free(z);
        return false;
    }
    for (unsigned c = 0; c < num_dof; c++) square += z[c] * z[c];
    free(z);
    *log_prob_out = -0.5 * square / (prior_scale * prior_scale) -
                    (field->num_particles - 1) * field->space_dim * (log(prior_scale) + 0.91893853320467274178) +
                    log_det;
    return true;
}

void eqf__host_prior_sample(unsigned num_particles, unsigned space_dim, double prior_scale, uint64_t seed, uint64_t sample,
                            double *z_out) {
    const unsigned num_dof = num_particles * space_dim;
    for (unsigned c = 0; c < num_dof; c += 4) {
        philox4x32_ctr_t counter = {{(uint32_t)sample, (uint32_t)(sample >> 32), c / 4, 0x7072696fu}};
        philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        for (unsigned pair = 0; pair < 2; pair++) {
            double u = ((words.v[2 * pair] >> 9) + 0.5) / 8388608.0,
                   turn = ((words.v[2 * pair + 1] >> 9) + 0.5) / 8388608.0;
            z_out[c + 2 * pair] = sqrt(-2 * log(u)) * cos(6.283185307179586 * turn);
            z_out[c + 2 * pair + 1] = sqrt(-2 * log(u)) * sin(6.283185307179586 * turn);
        }
    }
    for (unsigned a = 0; a < space_dim; a++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += z_out[i * space_dim + a] / num_particles;
        for (unsigned i = 0; i < num_particles; i++)
            z_out[i * space_dim + a] = prior_scale * (z_out[i * space_dim + a] - mean);
    }
}

double eqf__host_energy(const eqf_potential_options *o, const double *x) {
    const unsigned num = o->num_particles, dim = o->space_dim;
    double energy = 0, square = 0;
    for (unsigned i = 0; i < num; i++) {
        for (unsigned j = i + 1; j < num; j++) {
            double d2 = 0;
            for (unsigned a = 0; a < dim; a++) d2 += pow(x[i * dim + a] - x[j * dim + a], 2);
            if (o->kind == EQF_POTENTIAL_DOUBLE_WELL) {
                double s = sqrt(d2) - o->distance_offset;
                energy += o->linear * s + o->quadratic * s * s + o->quartic * s * s * s * s;
            } else {
                double q = pow(o->r_min * o->r_min / d2, 3);
                energy += o->epsilon * (q * q - 2 * q);
            }
        }
    }
    for (unsigned a = 0; a < dim; a++) {
        double mean = 0;
        for (unsigned i = 0; i < num; i++) mean += x[i * dim + a] / num;
        for (unsigned i = 0; i < num; i++) square += pow(x[i * dim + a] - mean, 2);
    }
    if (o->kind == EQF_POTENTIAL_LENNARD_JONES) energy += 0.5 * o->trap_strength * square;
    return energy / o->temperature;
}

double eqf__host_number(unsigned counter, unsigned stream) {
    philox4x32_ctr_t c = {{counter, stream, 0, 0}};
    philox4x32_key_t key = {{7, 13}};
    return (philox4x32(c, key).v[0] + 0.5) / 2147483648.0 - 1.0;
}
