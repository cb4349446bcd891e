/* The flow of the message field by RK4, and the exact gradient of its loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"
#include "reference.h"

static const double reach[4] = {0.0, 0.5, 0.5, 1.0}, weight[4] = {1.0, 2.0, 2.0, 1.0};

static double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

static size_t num_dof_of(const ref_message_flow *flow) {
    return (size_t)flow->message->shape.num_particles * flow->message->shape.space_dim;
}

static void centre(const ref_message_flow *flow, double *x) {
    size_t N = flow->message->shape.num_particles, D = flow->message->shape.space_dim;
    for (size_t a = 0; a < D; ++a) {
        double mean = 0.0;
        for (size_t i = 0; i < N; ++i) mean += x[i * D + a] / (double)N;
        for (size_t i = 0; i < N; ++i) x[i * D + a] -= mean;
    }
}

/* One step of RK4: its four stages and what they give. */
typedef struct step {
    double t, h;         /* of the first stage; negative h goes back in time */
    double *x[4], *k[4]; /* each [N, D]: where the stages are, their velocities */
    double divergence[4];
} step;

static step make_step(size_t num_dof) {
    step s = {0};
    for (unsigned i = 0; i < 4; ++i) {
        s.x[i] = zeros(num_dof);
        s.k[i] = zeros(num_dof);
    }
    return s;
}

static void free_step(step *s) {
    for (unsigned i = 0; i < 4; ++i) {
        free(s->x[i]);
        free(s->k[i]);
    }
}

/* Moves x by a step; adds to log_det and error. */
static void do_step(const ref_message_flow *flow, step *s, double *x, double *log_det, double *error) {
    size_t num_dof = num_dof_of(flow);
    for (unsigned i = 0; i < 4; ++i) {
        for (size_t c = 0; c < num_dof; ++c) s->x[i][c] = x[c] + (i ? reach[i] * s->h * s->k[i - 1][c] : 0.0);
        ref_message_velocity(flow->message, s->t + reach[i] * s->h, s->x[i], s->k[i]);
        s->divergence[i] = ref_message_closed_divergence(flow->message, s->t + reach[i] * s->h, s->x[i]);
    }
    double square = (s->divergence[1] - s->divergence[2]) * (s->divergence[1] - s->divergence[2]);
    for (size_t c = 0; c < num_dof; ++c) square += (s->k[1][c] - s->k[2][c]) * (s->k[1][c] - s->k[2][c]);
    *error += fabs(s->h) * square;
    for (unsigned i = 0; i < 4; ++i) {
        *log_det += s->h / 6.0 * weight[i] * s->divergence[i];
        for (size_t c = 0; c < num_dof; ++c) x[c] += s->h / 6.0 * weight[i] * s->k[i][c];
    }
}

/* The integral of the divergence over a step from before to x by Simpson's rule: its ends, and the middle of the cubic
 * that has places and velocities of both ends (docs/method.md, section 9). */
static double simpson(const ref_message_flow *flow, const step *s, const double *before, const double *x) {
    size_t num_dof = num_dof_of(flow);
    double *after = zeros(num_dof), *middle = zeros(num_dof);
    ref_message_velocity(flow->message, s->t + s->h, x, after);
    for (size_t c = 0; c < num_dof; ++c) middle[c] = 0.5 * (before[c] + x[c]) + s->h / 8.0 * (s->k[0][c] - after[c]);
    double sum = s->divergence[0] + 4.0 * ref_message_closed_divergence(flow->message, s->t + 0.5 * s->h, middle) +
                 ref_message_closed_divergence(flow->message, s->t + s->h, x);
    free(after);
    free(middle);
    return s->h / 6.0 * sum;
}

double ref_message_transform(const ref_message_flow *flow, eqf_direction direction, const double *x_in, double *x_out,
                             double *integration_error_out) {
    double log_det = 0.0, of_stages = 0.0, error = 0.0, start = direction == EQF_PRIOR_TO_DATA ? 0.0 : 1.0;
    step s = make_step(num_dof_of(flow));
    double *before = zeros(num_dof_of(flow));
    s.h = (direction == EQF_PRIOR_TO_DATA ? 1.0 : -1.0) / flow->num_steps;
    memmove(x_out, x_in, num_dof_of(flow) * sizeof *x_out);
    for (unsigned n = 0; n < flow->num_steps; ++n) {
        s.t = start + n * s.h;
        memcpy(before, x_out, num_dof_of(flow) * sizeof *before);
        do_step(flow, &s, x_out, &of_stages, &error);
        log_det += simpson(flow, &s, before, x_out);
    }
    free(before);
    if (integration_error_out) *integration_error_out = error;
    free_step(&s);
    return log_det;
}

double ref_message_log_prob(const ref_message_flow *flow, const double *x, double *z_out,
                            double *integration_error_out) {
    size_t num_dof = num_dof_of(flow);
    double *z = zeros(num_dof);
    memcpy(z, x, num_dof * sizeof *z);
    centre(flow, z);
    double log_det = ref_message_transform(flow, EQF_DATA_TO_PRIOR, z, z, integration_error_out);
    double log_prob = log_det + ref_prior_log_prob(flow->message->shape.num_particles, flow->message->shape.space_dim,
                                                   flow->prior_scale, z);
    if (z_out) memcpy(z_out, z, num_dof * sizeof *z);
    free(z);
    return log_prob;
}

/* adjoint [N, D]: of the step's end when called, of its start on return. share: of this sample in the mean. */
static void reverse_step(const ref_message_flow *flow, const step *s, double share, double penalty, double *adjoint,
                         double *by_params, double *scratch) {
    size_t num_dof = num_dof_of(flow), num_params = flow->message->num_params;
    double *by_k = scratch, *by_x = by_k + 4 * num_dof, *by_one = by_x + num_dof, by_divergence[4];
    for (unsigned i = 0; i < 4; ++i) {
        double sign = i == 1 ? 1.0 : i == 2 ? -1.0 : 0.0, of_error = 2.0 * share * penalty * fabs(s->h) * sign;
        by_divergence[i] = -share * s->h / 6.0 * weight[i] + of_error * (s->divergence[1] - s->divergence[2]);
        for (size_t c = 0; c < num_dof; ++c)
            by_k[i * num_dof + c] = s->h / 6.0 * weight[i] * adjoint[c] + of_error * (s->k[1][c] - s->k[2][c]);
    }
    for (unsigned i = 4; i-- > 0;) {
        ref_message_gradient(flow->message, s->t + reach[i] * s->h, s->x[i], by_k + i * num_dof, by_divergence[i], by_x,
                             by_one);
        for (size_t p = 0; p < num_params; ++p) by_params[p] += by_one[p];
        for (size_t c = 0; c < num_dof; ++c) {
            adjoint[c] += by_x[c];
            if (i) by_k[(i - 1) * num_dof + c] += reach[i] * s->h * by_x[c];
        }
    }
}

eqf_loss ref_message_loss(const ref_message_flow *flow, double integration_penalty, size_t batch_size, const double *x,
                          double *by_x_out, double *by_params_out) {
    size_t num_dof = num_dof_of(flow), num_params = flow->message->num_params;
    unsigned N = flow->message->shape.num_particles, D = flow->message->shape.space_dim, num_steps = flow->num_steps;
    double *z = zeros(num_dof), *by_params = zeros(num_params), *scratch = zeros(5 * num_dof + num_params);
    double share = 1.0 / (double)batch_size, variance = flow->prior_scale * flow->prior_scale;
    step *steps = calloc(num_steps, sizeof *steps);
    if (!steps) abort();
    for (unsigned n = 0; n < num_steps; ++n) steps[n] = make_step(num_dof);
    eqf_loss loss = EQF_LOSS_INIT;
    for (size_t b = 0; b < batch_size; ++b) {
        double log_det = 0.0, error = 0.0;
        memcpy(z, x + b * num_dof, num_dof * sizeof *z);
        centre(flow, z);
        for (unsigned n = 0; n < num_steps; ++n) {
            steps[n].h = -1.0 / num_steps;
            steps[n].t = 1.0 + n * steps[n].h;
            do_step(flow, steps + n, z, &log_det, &error);
        }
        loss.nll -= share * (log_det + ref_prior_log_prob(N, D, flow->prior_scale, z));
        loss.integration_error += share * error;
        if (!by_x_out && !by_params_out) continue;
        for (size_t c = 0; c < num_dof; ++c) z[c] *= share / variance; /* of -prior.log_prob: now the adjoint */
        for (unsigned n = num_steps; n-- > 0;)
            reverse_step(flow, steps + n, share, integration_penalty, z, by_params, scratch);
        centre(flow, z);
        if (by_x_out) memcpy(by_x_out + b * num_dof, z, num_dof * sizeof *z);
    }
    loss.loss = loss.nll + integration_penalty * loss.integration_error;
    if (by_params_out) memcpy(by_params_out, by_params, num_params * sizeof *by_params);
    for (unsigned n = 0; n < num_steps; ++n) free_step(steps + n);
    free(steps);
    free(z);
    free(by_params);
    free(scratch);
    return loss;
}
