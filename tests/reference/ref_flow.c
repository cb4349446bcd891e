/* RK4 of state and log-density, and the training loss, from their definitions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

double ref_transform(const ref_flow *flow, eqf_direction direction, const double *x_in, double *x_out,
                     double *integration_error_out) {
    unsigned N = flow->num_particles, D = flow->space_dim, num_dof = N * D;
    double *memory = calloc(6 * (size_t)num_dof, sizeof *memory);
    if (!memory) abort();
    double *x = memory, *stage = x + num_dof, *k1 = stage + num_dof, *k2 = k1 + num_dof, *k3 = k2 + num_dof,
           *k4 = k3 + num_dof;
    double h = (direction == EQF_PRIOR_TO_DATA ? 1.0 : -1.0) / flow->num_steps;
    double start = direction == EQF_PRIOR_TO_DATA ? 0.0 : 1.0;
    double log_det = 0.0, error = 0.0;
    memcpy(x, x_in, num_dof * sizeof *x);
    for (unsigned step = 0; step < flow->num_steps; ++step) {
        double t = start + step * h, div1, div2, div3, div4;
        ref_velocity(flow->radial, N, D, t, x, k1, &div1, NULL);
        for (unsigned n = 0; n < num_dof; ++n) stage[n] = x[n] + 0.5 * h * k1[n];
        ref_velocity(flow->radial, N, D, t + 0.5 * h, stage, k2, &div2, NULL);
        for (unsigned n = 0; n < num_dof; ++n) stage[n] = x[n] + 0.5 * h * k2[n];
        ref_velocity(flow->radial, N, D, t + 0.5 * h, stage, k3, &div3, NULL);
        for (unsigned n = 0; n < num_dof; ++n) stage[n] = x[n] + h * k3[n];
        ref_velocity(flow->radial, N, D, t + h, stage, k4, &div4, NULL);
        double difference = (div2 - div3) * (div2 - div3);
        for (unsigned n = 0; n < num_dof; ++n) {
            difference += (k2[n] - k3[n]) * (k2[n] - k3[n]);
            x[n] += h / 6.0 * (k1[n] + 2.0 * k2[n] + 2.0 * k3[n] + k4[n]);
        }
        log_det += h / 6.0 * (div1 + 2.0 * div2 + 2.0 * div3 + div4);
        error += fabs(h) * difference;
    }
    memcpy(x_out, x, num_dof * sizeof *x);
    if (integration_error_out) *integration_error_out = error;
    free(memory);
    return log_det;
}

static double log_prob(const ref_flow *flow, const double *x, double *z_out, double *integration_error_out) {
    double *z = calloc((size_t)flow->num_particles * flow->space_dim, sizeof *z);
    if (!z) abort();
    double log_det = ref_transform(flow, EQF_DATA_TO_PRIOR, x, z, integration_error_out);
    double value = ref_prior_log_prob(flow->num_particles, flow->space_dim, flow->prior_scale, z) + log_det;
    if (z_out) memcpy(z_out, z, (size_t)flow->num_particles * flow->space_dim * sizeof *z);
    free(z);
    return value;
}

double ref_log_prob(const ref_flow *flow, const double *x, double *z_out) {
    return log_prob(flow, x, z_out, NULL);
}

double ref_log_prob_converged(const ref_flow *flow, const double *x, double tolerance) {
    ref_flow refined = *flow;
    double before = ref_log_prob(flow, x, NULL);
    while (refined.num_steps < 100000) {
        refined.num_steps *= 2;
        double value = ref_log_prob(&refined, x, NULL);
        if (fabs(value - before) <= tolerance) return value;
        before = value;
    }
    return NAN; /* stiffer than any field that a test may use */
}

eqf_loss ref_loss(const ref_flow *flow, double integration_penalty, size_t batch_size, const double *x) {
    size_t num_dof = (size_t)flow->num_particles * flow->space_dim;
    eqf_loss loss = EQF_LOSS_INIT;
    for (size_t b = 0; b < batch_size; ++b) {
        double error;
        loss.nll -= log_prob(flow, x + b * num_dof, NULL, &error) / (double)batch_size;
        loss.integration_error += error / (double)batch_size;
    }
    loss.loss = loss.nll + integration_penalty * loss.integration_error;
    return loss;
}

static double central_difference(const ref_flow *flow, double integration_penalty, size_t batch_size, const double *x,
                                 double *variable) {
    double value = *variable, step = 1e-5 * fmax(1.0, fabs(value));
    *variable = value + step;
    double above = ref_loss(flow, integration_penalty, batch_size, x).loss;
    *variable = value - step;
    double below = ref_loss(flow, integration_penalty, batch_size, x).loss;
    *variable = value;
    return (above - below) / (2.0 * step);
}

double ref_loss_by_param(const ref_flow *flow, double integration_penalty, size_t batch_size, const double *x,
                         size_t index) {
    return central_difference(flow, integration_penalty, batch_size, x, flow->radial->params + index);
}

double ref_loss_by_x(const ref_flow *flow, double integration_penalty, size_t batch_size, double *x, size_t index) {
    /* Only the sample that holds x[index] changes, and its share of the mean is 1/B. */
    size_t num_dof = (size_t)flow->num_particles * flow->space_dim, b = index / num_dof;
    return central_difference(flow, integration_penalty, 1, x + b * num_dof, x + index) / (double)batch_size;
}

eqf_energy_loss ref_energy_loss(const ref_flow *flow, const eqf_potential_options *target, double cap,
                                double integration_penalty, size_t batch_size, const double *z) {
    size_t num_dof = (size_t)flow->num_particles * flow->space_dim;
    double *x = calloc(num_dof, sizeof *x);
    if (!x) abort();
    eqf_energy_loss loss = EQF_ENERGY_LOSS_INIT;
    for (size_t b = 0; b < batch_size; ++b) {
        const double *z_b = z + b * num_dof;
        double error, log_det = ref_transform(flow, EQF_PRIOR_TO_DATA, z_b, x, &error);
        double energy = ref_potential_energy(target, x, NULL);
        if (energy > cap) energy = cap + log1p(energy - cap);
        double log_q = ref_prior_log_prob(flow->num_particles, flow->space_dim, flow->prior_scale, z_b) - log_det;
        loss.free_energy += (energy + log_q) / (double)batch_size;
        loss.integration_error += error / (double)batch_size;
    }
    free(x);
    loss.loss = loss.free_energy + integration_penalty * loss.integration_error;
    return loss;
}

double ref_energy_loss_by_param(const ref_flow *flow, const eqf_potential_options *target, double cap,
                                double integration_penalty, size_t batch_size, const double *z, size_t index) {
    double *variable = flow->radial->params + index, value = *variable, step = 1e-5 * fmax(1.0, fabs(value));
    *variable = value + step;
    double above = ref_energy_loss(flow, target, cap, integration_penalty, batch_size, z).loss;
    *variable = value - step;
    double below = ref_energy_loss(flow, target, cap, integration_penalty, batch_size, z).loss;
    *variable = value;
    return (above - below) / (2.0 * step);
}
