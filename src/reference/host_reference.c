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

/* ---- The radial field -------------------------------------------------------------------------------------------- */

/* phi at one time t as a function of d: sum over k of (R_k(d) + c_k^2) weights_k + bias. */
typedef struct radial_at_time {
    unsigned num_distance;
    const double *importance, *log_gammas, *centers;
    double weights[EQF__REFERENCE_MAX_GAUSSIANS], bias;
} radial_at_time;

/* Of pairs with num_b_of_pair particles of species B; one species has one kind. */
static void radial_at(const eqf__host_field *field, unsigned num_b_of_pair, double t, radial_at_time *at) {
    const unsigned num_k = field->options->num_distance, num_m = field->options->num_time;
    const unsigned kinds = field->options->num_b > 0 ? 3 : 1;
    const double *weights = field->params, *bias = weights + kinds * num_k * num_m, *importance = bias + kinds * num_m;
    const double *log_gammas = importance + kinds * num_k, *time_log_gammas = log_gammas + num_k;
    const double *centers = time_log_gammas + num_m, *time_centers = centers + num_k;
    double time[EQF__REFERENCE_MAX_GAUSSIANS], time_slope[EQF__REFERENCE_MAX_GAUSSIANS];
    gaussians(num_m, time_centers, time_log_gammas, t, time, time_slope);
    weights += num_b_of_pair * num_k * num_m;
    bias += num_b_of_pair * num_m;
    importance += num_b_of_pair * num_k;
    at->num_distance = num_k;
    at->importance = importance;
    at->log_gammas = log_gammas;
    at->centers = centers;
    at->bias = 0;
    for (unsigned m = 0; m < num_m; m++) at->bias += time[m] * bias[m];
    for (unsigned k = 0; k < num_k; k++) {
        at->weights[k] = 0;
        for (unsigned m = 0; m < num_m; m++) at->weights[k] += time[m] * weights[k * num_m + m];
    }
}

static void phi(const radial_at_time *at, double d, double *phi_out, double *slope_out) {
    double value[EQF__REFERENCE_MAX_GAUSSIANS], slope[EQF__REFERENCE_MAX_GAUSSIANS];
    gaussians(at->num_distance, at->centers, at->log_gammas, d, value, slope);
    *phi_out = at->bias;
    *slope_out = 0;
    for (unsigned k = 0; k < at->num_distance; k++) {
        *phi_out += (value[k] + at->importance[k] * at->importance[k]) * at->weights[k];
        *slope_out += slope[k] * at->weights[k];
    }
}

bool eqf__host_radial_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                               double *divergence_out) {
    const unsigned num = field->num_particles, dim = field->space_dim, first_b = num - field->options->num_b;
    radial_at_time at[3];
    for (unsigned kind = 0; kind < (first_b < num ? 3u : 1u); kind++) radial_at(field, kind, t, &at[kind]);
    *divergence_out = 0;
    for (unsigned c = 0; c < num * dim; c++) velocity_out[c] = 0;
    for (unsigned i = 0; i < num; i++)
        for (unsigned j = 0; j < i; j++) {
            double d2 = 0, value, slope;
            for (unsigned a = 0; a < dim; a++) d2 += pow(x[i * dim + a] - x[j * dim + a], 2);
            phi(&at[(i >= first_b) + (j >= first_b)], sqrt(d2), &value, &slope);
            for (unsigned a = 0; a < dim; a++) {
                velocity_out[i * dim + a] += (x[i * dim + a] - x[j * dim + a]) * value;
                velocity_out[j * dim + a] += (x[j * dim + a] - x[i * dim + a]) * value;
            }
            *divergence_out += 2 * (sqrt(d2) * slope + dim * value); /* dv_i/dx_i and dv_j/dx_j */
        }
    return true;
}

/* ---- The dense field --------------------------------------------------------------------------------------------- */

void eqf__host_centre(unsigned num_particles, unsigned space_dim, double *x) {
    for (unsigned a = 0; a < space_dim; a++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += x[i * space_dim + a] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) x[i * space_dim + a] -= mean;
    }
}

/* f(y, t) [N*D] and its Jacobian with respect to y [N*D, N*D], layer after layer. */
static bool network(const eqf__host_field *field, const double *y, double t, double *f_out, double *jacobian_out) {
    const size_t num_dof = (size_t)field->num_particles * field->space_dim, width = field->options->width;
    const size_t most = num_dof + 1 > width ? num_dof + 1 : width;
    double *a = calloc(2 * most * (1 + num_dof), sizeof *a);
    if (a == NULL) return false;
    double *z = a + most, *by_y = a + 2 * most, *z_by_y = by_y + most * num_dof; /* [most, N*D] each */
    memcpy(a, y, num_dof * sizeof *a);
    a[num_dof] = t;
    for (size_t c = 0; c < num_dof; c++) by_y[c * num_dof + c] = 1;
    const double *weights = field->params;
    for (unsigned l = 0; l <= field->options->depth; l++) {
        const bool is_last = l == field->options->depth;
        const size_t num_in = l == 0 ? num_dof + 1 : width, num_out = is_last ? num_dof : width;
        const double *bias = weights + num_in * num_out;
        for (size_t o = 0; o < num_out; o++) {
            z[o] = bias[o];
            for (size_t c = 0; c < num_dof; c++) z_by_y[o * num_dof + c] = 0;
            for (size_t i = 0; i < num_in; i++) {
                z[o] += weights[o * num_in + i] * a[i];
                for (size_t c = 0; c < num_dof; c++)
                    z_by_y[o * num_dof + c] += weights[o * num_in + i] * by_y[i * num_dof + c];
            }
        }
        for (size_t o = 0; o < num_out; o++) {
            const double logistic = 1 / (1 + exp(-z[o]));
            double slope = 1;
            a[o] = z[o];
            if (!is_last && field->options->activation == EQF_ACTIVATION_TANH) {
                a[o] = tanh(z[o]);
                slope = 1 / pow(cosh(z[o]), 2);
            } else if (!is_last) {
                a[o] = z[o] * logistic;
                slope = logistic + a[o] * (1 - logistic);
            }
            for (size_t c = 0; c < num_dof; c++) by_y[o * num_dof + c] = slope * z_by_y[o * num_dof + c];
        }
        weights = bias + num_out;
    }
    memcpy(f_out, a, num_dof * sizeof *f_out);
    memcpy(jacobian_out, by_y, num_dof * num_dof * sizeof *jacobian_out);
    free(a);
    return true;
}

/* Four normals of one Philox call, as cl/common/random.clh pairs them. */
static void four_normals(philox4x32_ctr_t words, double normals[4]) {
    for (unsigned pair = 0; pair < 4; pair += 2) {
        const double u = ((words.v[pair] >> 9) + 0.5) / 8388608.0, turn = ((words.v[pair + 1] >> 9) + 0.5) / 8388608.0;
        normals[pair] = sqrt(-2 * log(u)) * cos(6.283185307179586 * turn);
        normals[pair + 1] = sqrt(-2 * log(u)) * sin(6.283185307179586 * turn);
    }
}

static philox4x32_ctr_t words_of(uint64_t seed, uint64_t sample, uint32_t number, uint32_t stream) {
    philox4x32_ctr_t counter = {{(uint32_t)sample, (uint32_t)(sample >> 32), number, stream}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    return philox4x32(counter, key);
}

/* The direction of Hutchinson's estimate: P n. */
static void draw_direction(const eqf__host_field *field, double *e) {
    const unsigned num_dof = field->num_particles * field->space_dim;
    for (unsigned c = 0; c < num_dof; c += 4) {
        const philox4x32_ctr_t words = words_of(field->noise_seed, field->noise_sample, c / 4, 0x6e6f6973u);
        double normals[4];
        four_normals(words, normals);
        for (unsigned i = 0; i < 4 && c + i < num_dof; i++)
            e[c + i] = field->divergence == EQF_DIVERGENCE_GAUSSIAN ? normals[i] : words.v[i] >> 31 ? 1 : -1;
    }
    eqf__host_centre(field->num_particles, field->space_dim, e);
}

bool eqf__host_dense_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                              double *divergence_out) {
    const unsigned num = field->num_particles, dim = field->space_dim, num_dof = num * dim;
    double *y = calloc((size_t)num_dof * (2 + num_dof), sizeof *y);
    if (y == NULL) return false;
    double *e = y + num_dof, *jacobian = e + num_dof;
    memcpy(y, x, num_dof * sizeof *y);
    eqf__host_centre(num, dim, y);
    const bool is_good = network(field, y, t, velocity_out, jacobian);
    eqf__host_centre(num, dim, velocity_out);
    *divergence_out = 0;
    if (field->divergence == EQF_DIVERGENCE_EXACT) {
        /* tr(P J P) = tr J - (1/N) sum over i, j and axes a of J_{ia,ja}. */
        for (unsigned o = 0; o < num_dof; o++) {
            *divergence_out += jacobian[o * num_dof + o];
            for (unsigned c = o % dim; c < num_dof; c += dim) *divergence_out -= jacobian[o * num_dof + c] / num;
        }
    } else {
        draw_direction(field, e);
        for (unsigned o = 0; o < num_dof; o++)
            for (unsigned c = 0; c < num_dof; c++) *divergence_out += e[o] * jacobian[o * num_dof + c] * e[c];
    }
    free(y);
    return is_good;
}

/* ---- The flow ---------------------------------------------------------------------------------------------------- */

const eqf__host_scheme eqf__host_rk4 = {
    .num_stages = 4,
    .offset = {0, .5, .5, 1},
    .weight = {1. / 6, 1. / 3, 1. / 3, 1. / 6},
    .reach = {0.5, 0.5, 1, 0},
    .pair = {1, 2},
};

/* The integral of the divergence over one step that goes from `before` to x, by Simpson's rule: docs/method.md, section
 * 9. y, k: scratch. */
static bool simpson(const eqf__host_field *field, double t, double h, const double *before, const double *x, double *y,
                    double *k, double *integral_out) {
    const unsigned num_dof = field->num_particles * field->space_dim;
    double *k_before = k, *k_after = k + num_dof, div_before, div_middle, div;
    if (!field->velocity(field, before, t, k_before, &div_before) || !field->velocity(field, x, t + h, k_after, &div))
        return false;
    for (unsigned c = 0; c < num_dof; c++) y[c] = 0.5 * (before[c] + x[c]) + h / 8 * (k_before[c] - k_after[c]);
    if (!field->velocity(field, y, t + 0.5 * h, k_before, &div_middle)) return false;
    *integral_out = h / 6 * (div_before + 4 * div_middle + div);
    return true;
}

/* One step of x in place; log_det and error grow. memory: 6 N D numbers. */
static bool take_step(const eqf__host_field *field, const eqf__host_scheme *scheme, double t, double h, double *x,
                      double *memory, double *log_det, double *error) {
    const unsigned num_dof = field->num_particles * field->space_dim;
    double *before = memory, *y = memory + num_dof, *k = memory + 2 * (size_t)num_dof, div[4], integral = 0;
    const double *k_a = k + scheme->pair[0] * (size_t)num_dof, *k_b = k + scheme->pair[1] * (size_t)num_dof;
    memcpy(before, x, num_dof * sizeof *x);
    memcpy(y, x, num_dof * sizeof *y);
    for (unsigned s = 0; s < scheme->num_stages; s++) {
        if (!field->velocity(field, y, t + h * scheme->offset[s], k + s * num_dof, &div[s])) return false;
        for (unsigned c = 0; c < num_dof; c++) y[c] = x[c] + h * scheme->reach[s] * k[s * num_dof + c];
        integral += h * scheme->weight[s] * div[s];
    }
    double square = pow(div[scheme->pair[0]] - div[scheme->pair[1]], 2);
    for (unsigned c = 0; c < num_dof; c++) {
        square += pow(k_a[c] - k_b[c], 2);
        for (unsigned s = 0; s < scheme->num_stages; s++) x[c] += h * scheme->weight[s] * k[s * num_dof + c];
    }
    *error += fabs(h) * square;
    if (field->is_divergence_apart && !simpson(field, t, h, before, x, y, k, &integral)) return false;
    *log_det += integral;
    return true;
}

bool eqf__host_transform(const eqf__host_field *field, const eqf__host_scheme *scheme, bool is_prior_to_data,
                         unsigned num_steps, const double *x, double *x_out, double *log_det_out, double *error_out) {
    const unsigned num_dof = field->num_particles * field->space_dim;
    const double h = (is_prior_to_data ? 1.0 : -1.0) / num_steps, start = is_prior_to_data ? 0 : 1;
    double *memory = calloc(6 * (size_t)num_dof, sizeof *memory);
    bool is_good = memory != NULL;
    memmove(x_out, x, num_dof * sizeof *x);
    *error_out = *log_det_out = 0;
    for (unsigned step = 0; step < num_steps && is_good; step++)
        is_good = take_step(field, scheme, start + h * step, h, x_out, memory, log_det_out, error_out);
    free(memory);
    return is_good;
}

void eqf__host_four_normals(uint64_t seed, uint64_t sample, uint32_t number, uint32_t stream, double out[4]) {
    four_normals(words_of(seed, sample, number, stream), out);
}

void eqf__host_normals(unsigned num_particles, unsigned space_dim, double scale, uint64_t seed, uint64_t sample,
                       uint32_t stream, double *out) {
    const unsigned num_dof = num_particles * space_dim;
    for (unsigned c = 0; c < num_dof; c += 4) eqf__host_four_normals(seed, sample, c / 4, stream, out + c);
    eqf__host_centre(num_particles, space_dim, out);
    for (unsigned c = 0; c < num_dof; c++) out[c] *= scale;
}

void eqf__host_data_noise(unsigned num_particles, unsigned space_dim, double scale, uint64_t seed, uint64_t position,
                          double *noise_out) {
    eqf__host_normals(num_particles, space_dim, scale, seed, position, 0x646e6f69u, noise_out);
}

void eqf__host_augment(unsigned num_particles, unsigned num_b, unsigned space_dim, uint64_t seed, uint64_t position,
                       double *x) {
    static const uint32_t stream = 0x61756774u;
    const unsigned first_b = num_particles - num_b;
    for (unsigned i = num_particles - 1; i > 0; i--) {
        const unsigned draw = num_particles - 1 - i, first = i >= first_b ? first_b : 0;
        const philox4x32_ctr_t words = words_of(seed, position, 1 + draw / 4, stream);
        const unsigned partner = first + (unsigned)(((uint64_t)words.v[draw % 4] * (i + 1 - first)) >> 32);
        for (unsigned a = 0; a < space_dim; a++) {
            const double kept = x[i * space_dim + a];
            x[i * space_dim + a] = x[partner * space_dim + a];
            x[partner * space_dim + a] = kept;
        }
    }
    const philox4x32_ctr_t words = words_of(seed, position, 0, stream);
    const double mirror = words.v[0] & 1 ? -1 : 1, angle = 6.283185307179586 * ((words.v[0] >> 9) + 0.5) / 8388608.0;
    double q[4], norm = 0;
    four_normals(words, q);
    for (unsigned n = 0; n < 4; n++) norm += q[n] * q[n];
    for (unsigned n = 0; n < 4; n++) q[n] /= sqrt(norm);
    for (unsigned i = 0; i < num_particles; i++) {
        double *r = x + i * space_dim;
        if (space_dim == 1) {
            r[0] *= mirror;
        } else if (space_dim == 2) { /* mirrored along y, then turned */
            const double from[2] = {r[0], mirror * r[1]};
            r[0] = cos(angle) * from[0] - sin(angle) * from[1];
            r[1] = sin(angle) * from[0] + cos(angle) * from[1];
        } else { /* r + 2 a (u x r) + 2 u x (u x r) of the quaternion (a, u) */
            const double *u = q + 1,
                         once[3] = {u[1] * r[2] - u[2] * r[1], u[2] * r[0] - u[0] * r[2], u[0] * r[1] - u[1] * r[0]};
            const double twice[3] = {u[1] * once[2] - u[2] * once[1], u[2] * once[0] - u[0] * once[2],
                                     u[0] * once[1] - u[1] * once[0]};
            for (unsigned a = 0; a < 3; a++) r[a] = mirror * (r[a] + 2 * q[0] * once[a] + 2 * twice[a]);
        }
    }
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

void eqf__host_words(uint64_t seed, const uint32_t counter[4], uint32_t words_out[4]) {
    const philox4x32_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    const philox4x32_ctr_t words = philox4x32(c, key);
    for (unsigned w = 0; w < 4; w++) words_out[w] = words.v[w];
}

double eqf__host_number(unsigned counter, unsigned stream) {
    philox4x32_ctr_t c = {{counter, stream, 0, 0}};
    philox4x32_key_t key = {{7, 13}};
    return (philox4x32(c, key).v[0] + 0.5) / 2147483648.0 - 1.0;
}

double eqf__host_worse(double worst, double error) {
    return isnan(worst) || error <= worst ? worst : error;
}
