/* The dense field from its formula, with the whole Jacobian as a product of matrices, and the flow with it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

#include "reference.h"

static double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

ref_dense *ref_dense_from_model(const eqf_model *model) {
    const eqf_model_options *options = eqf_model_options_of(model);
    unsigned num_dof = options->potential.num_particles * options->potential.space_dim;
    unsigned width = options->dynamics.width, depth = options->dynamics.depth;
    ref_dense *dense = calloc(1, sizeof *dense);
    if (!dense) abort();
    dense->num_particles = options->potential.num_particles;
    dense->space_dim = options->potential.space_dim;
    dense->width = width;
    dense->depth = depth;
    dense->num_steps = options->integrator.num_steps;
    dense->activation = options->dynamics.activation;
    dense->prior_scale = options->prior_scale;
    dense->num_params = eqf_model_num_params(model);
    dense->params = zeros(dense->num_params);
    for (size_t i = 0; i < dense->num_params; ++i) dense->params[i] = eqf_model_params(model)[i];
    size_t offset = 0;
    bool is_good = eqf_model_num_slices(model) == 2 * (size_t)(depth + 1);
    for (unsigned l = 0; is_good && l <= depth; ++l) {
        const eqf_param_slice *weight = eqf_model_slice(model, 2 * l), *bias = eqf_model_slice(model, 2 * l + 1);
        size_t in = l == 0 ? num_dof + 1 : width, out = l == depth ? num_dof : width;
        char name[40];
        snprintf(name, sizeof name, "dense.weight_%u", l);
        is_good = !strcmp(weight->name, name) && weight->num_dims == 2 && weight->shape[0] == out &&
                  weight->shape[1] == in && weight->offset == offset && weight->is_trained;
        offset += in * out;
        snprintf(name, sizeof name, "dense.bias_%u", l);
        is_good = is_good && !strcmp(bias->name, name) && bias->num_dims == 1 && bias->shape[0] == out &&
                  bias->offset == offset && bias->is_trained;
        offset += out;
    }
    if (is_good && offset == dense->num_params) return dense;
    ref_dense_destroy(dense);
    return NULL;
}

void ref_dense_destroy(ref_dense *dense) {
    if (!dense) return;
    free(dense->params);
    free(dense);
}

static double activation(eqf_activation kind, double z, double *slope_out) {
    if (kind == EQF_ACTIVATION_TANH) {
        *slope_out = 1.0 / (cosh(z) * cosh(z));
        return tanh(z);
    }
    double g = 1.0 / (1.0 + exp(-z));
    *slope_out = g + z * g * (1.0 - g);
    return z * g;
}

static void project(unsigned N, unsigned D, double *x) {
    for (unsigned a = 0; a < D; ++a) {
        double mean = 0.0;
        for (unsigned i = 0; i < N; ++i) mean += x[i * D + a] / N;
        for (unsigned i = 0; i < N; ++i) x[i * D + a] -= mean;
    }
}

/* f and its Jacobian df/dy [N*D, N*D] at y. */
static void network(const ref_dense *dense, double t, const double *y, double *f_out, double *jacobian_out) {
    unsigned num_dof = dense->num_particles * dense->space_dim;
    size_t most = num_dof + 1 > dense->width ? num_dof + 1 : dense->width;
    double *a = zeros(most), *z = zeros(most), *da = zeros(most * num_dof), *dz = zeros(most * num_dof);
    memcpy(a, y, num_dof * sizeof *a);
    a[num_dof] = t;
    for (unsigned c = 0; c < num_dof; ++c) da[c * num_dof + c] = 1.0;
    const double *params = dense->params;
    for (unsigned l = 0; l <= dense->depth; ++l) {
        size_t in = l == 0 ? num_dof + 1 : dense->width, out = l == dense->depth ? num_dof : dense->width;
        const double *weight = params, *bias = params + in * out;
        for (size_t o = 0; o < out; ++o) {
            z[o] = bias[o];
            for (size_t i = 0; i < in; ++i) z[o] += weight[o * in + i] * a[i];
            for (unsigned c = 0; c < num_dof; ++c) {
                dz[o * num_dof + c] = 0.0;
                for (size_t i = 0; i < in; ++i) dz[o * num_dof + c] += weight[o * in + i] * da[i * num_dof + c];
            }
        }
        for (size_t o = 0; o < out && l < dense->depth; ++o) {
            double slope;
            a[o] = activation(dense->activation, z[o], &slope);
            for (unsigned c = 0; c < num_dof; ++c) da[o * num_dof + c] = slope * dz[o * num_dof + c];
        }
        params = bias + out;
    }
    memcpy(f_out, z, num_dof * sizeof *z);
    memcpy(jacobian_out, dz, (size_t)num_dof * num_dof * sizeof *dz);
    free(a);
    free(z);
    free(da);
    free(dz);
}

static void draw_noise(const ref_dense *dense, uint64_t sample, double *noise_out) {
    unsigned num_dof = dense->num_particles * dense->space_dim;
    philox4x32_key_t key = {{(uint32_t)dense->divergence_seed, (uint32_t)(dense->divergence_seed >> 32)}};
    for (unsigned c = 0; c < num_dof; ++c) {
        philox4x32_ctr_t counter = {{(uint32_t)sample, (uint32_t)(sample >> 32), c / 4, 0x6e6f6973u}};
        philox4x32_ctr_t word = philox4x32(counter, key);
        if (dense->divergence == EQF_DIVERGENCE_RADEMACHER) {
            noise_out[c] = word.v[c % 4] >> 31 ? 1.0 : -1.0;
            continue;
        }
        unsigned pair = c % 4 / 2 * 2;
        double first = ((word.v[pair] >> 9) + 0.5) / 8388608.0, second = ((word.v[pair + 1] >> 9) + 0.5) / 8388608.0;
        double angle = 6.283185307179586476925 * second, radius = sqrt(-2.0 * log(first));
        noise_out[c] = radius * (c % 2 == 0 ? cos(angle) : sin(angle));
    }
}

void ref_dense_velocity(const ref_dense *dense, double t, uint64_t sample, const double *x, double *velocity_out,
                        double *divergence_out) {
    unsigned N = dense->num_particles, D = dense->space_dim, num_dof = N * D;
    double *y = zeros(num_dof), *jacobian = zeros((size_t)num_dof * num_dof), *e = zeros(num_dof);
    memcpy(y, x, num_dof * sizeof *y);
    project(N, D, y);
    network(dense, t, y, velocity_out, jacobian);
    project(N, D, velocity_out);
    *divergence_out = 0.0;
    /* trace(P J P) = sum over the unit vectors u of (P u) . J (P u); Hutchinson's estimate has the noise in their
     * place. */
    unsigned num_directions = dense->divergence == EQF_DIVERGENCE_EXACT ? num_dof : 1;
    for (unsigned r = 0; r < num_directions; ++r) {
        if (dense->divergence == EQF_DIVERGENCE_EXACT)
            for (unsigned c = 0; c < num_dof; ++c) e[c] = c == r;
        else
            draw_noise(dense, sample, e);
        project(N, D, e);
        for (unsigned o = 0; o < num_dof; ++o)
            for (unsigned c = 0; c < num_dof; ++c) *divergence_out += e[o] * jacobian[o * num_dof + c] * e[c];
    }
    free(y);
    free(jacobian);
    free(e);
}

double ref_dense_divergence_by_differences(const ref_dense *dense, double t, const double *x) {
    unsigned num_dof = dense->num_particles * dense->space_dim;
    double *y = zeros(num_dof), *above = zeros(num_dof), *below = zeros(num_dof), sum = 0.0, ignored;
    memcpy(y, x, num_dof * sizeof *y);
    for (unsigned c = 0; c < num_dof; ++c) {
        const double step = 1e-5;
        y[c] = x[c] + step;
        ref_dense_velocity(dense, t, 0, y, above, &ignored);
        y[c] = x[c] - step;
        ref_dense_velocity(dense, t, 0, y, below, &ignored);
        y[c] = x[c];
        sum += (above[c] - below[c]) / (2.0 * step);
    }
    free(y);
    free(above);
    free(below);
    return sum;
}

double ref_dense_log_prob(const ref_dense *dense, uint64_t sample, const double *x_in, double *integration_error_out) {
    unsigned num_dof = dense->num_particles * dense->space_dim;
    double *x = zeros(num_dof), *stage = zeros(num_dof), *k[4], div[4], log_det = 0.0, error = 0.0;
    for (unsigned s = 0; s < 4; ++s) k[s] = zeros(num_dof);
    memcpy(x, x_in, num_dof * sizeof *x);
    project(dense->num_particles, dense->space_dim, x);
    const double h = -1.0 / dense->num_steps, reach[4] = {0.0, 0.5, 0.5, 1.0};
    for (unsigned step = 0; step < dense->num_steps; ++step) {
        double t = 1.0 + step * h;
        for (unsigned s = 0; s < 4; ++s) {
            for (unsigned c = 0; c < num_dof; ++c) stage[c] = x[c] + (s ? reach[s] * h * k[s - 1][c] : 0.0);
            ref_dense_velocity(dense, t + reach[s] * h, sample, stage, k[s], &div[s]);
        }
        double square = (div[1] - div[2]) * (div[1] - div[2]);
        for (unsigned c = 0; c < num_dof; ++c) {
            square += (k[1][c] - k[2][c]) * (k[1][c] - k[2][c]);
            x[c] += h / 6.0 * (k[0][c] + 2.0 * k[1][c] + 2.0 * k[2][c] + k[3][c]);
        }
        log_det += h / 6.0 * (div[0] + 2.0 * div[1] + 2.0 * div[2] + div[3]);
        error += fabs(h) * square;
    }
    double value = ref_prior_log_prob(dense->num_particles, dense->space_dim, dense->prior_scale, x) + log_det;
    if (integration_error_out) *integration_error_out = error;
    for (unsigned s = 0; s < 4; ++s) free(k[s]);
    free(x);
    free(stage);
    return value;
}

eqf_loss ref_dense_loss(const ref_dense *dense, double integration_penalty, size_t batch_size, const double *x) {
    size_t num_dof = (size_t)dense->num_particles * dense->space_dim;
    eqf_loss loss = EQF_LOSS_INIT;
    for (size_t b = 0; b < batch_size; ++b) {
        double error;
        loss.nll -= ref_dense_log_prob(dense, b, x + b * num_dof, &error) / (double)batch_size;
        loss.integration_error += error / (double)batch_size;
    }
    loss.loss = loss.nll + integration_penalty * loss.integration_error;
    return loss;
}

double ref_dense_loss_by(const ref_dense *dense, double integration_penalty, size_t batch_size, const double *x,
                         double *variable) {
    double value = *variable, step = 1e-5 * fmax(1.0, fabs(value));
    *variable = value + step;
    double above = ref_dense_loss(dense, integration_penalty, batch_size, x).loss;
    *variable = value - step;
    double below = ref_dense_loss(dense, integration_penalty, batch_size, x).loss;
    *variable = value;
    return (above - below) / (2.0 * step);
}
