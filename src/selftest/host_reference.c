#include "host_reference.h"

#include <math.h>
#include <string.h>

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

void eqf__host_log_prob(const eqf__host_field *field, double prior_scale, unsigned num_steps, const double *x,
                        double *log_prob_out, double *error_out) {
    static const double reach[4] = {0.5, 0.5, 1, 0}, weight[4] = {1. / 6, 1. / 3, 1. / 3, 1. / 6},
                        offset[4] = {0, .5, .5, 1};
    const unsigned num_dof = field->num_particles * field->space_dim;
    double state[EQF__REFERENCE_MAX_DOF], y[EQF__REFERENCE_MAX_DOF], k[4][EQF__REFERENCE_MAX_DOF], div[4];
    const double h = -1.0 / num_steps;
    double log_det = 0;
    memcpy(state, x, num_dof * sizeof *x);
    *error_out = 0;
    for (unsigned step = 0; step < num_steps; step++) {
        memcpy(y, state, sizeof y);
        for (unsigned s = 0; s < 4; s++) {
            eqf__host_velocity(field, y, 1 + h * (step + offset[s]), k[s], &div[s]);
            for (unsigned c = 0; c < num_dof; c++) y[c] = state[c] + h * reach[s] * k[s][c];
            log_det += h * weight[s] * div[s];
        }
        double square = pow(div[1] - div[2], 2);
        for (unsigned c = 0; c < num_dof; c++) {
            square += pow(k[1][c] - k[2][c], 2);
            for (unsigned s = 0; s < 4; s++) state[c] += h * weight[s] * k[s][c];
        }
        *error_out += fabs(h) * square;
    }
    double square = 0;
    for (unsigned c = 0; c < num_dof; c++) square += state[c] * state[c];
    *log_prob_out = -0.5 * square / (prior_scale * prior_scale) -
                    (field->num_particles - 1) * field->space_dim * (log(prior_scale) + 0.91893853320467274178) +
                    log_det;
}
