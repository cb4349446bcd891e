/* The path from prior to data, step by step: RK4 (integrator/rk4.clh has the scheme) on the host in double, with the
 * device's field in float32. */
#include <stdlib.h>
#include <string.h>

#include "solve.h"

/* One batch during the solve; arrays [B, N, D] or [B]. */
typedef struct way {
    eqf_flow *flow;
    unsigned num_steps;
    size_t batch_size, num_numbers; /* B; B N D */
    double *x, *log_prob, *sum, *div_sum;
    float *y, *velocity, *divergence; /* of one stage */
} way;

static void clear(way *w) {
    free(w->x);
    free(w->y);
    memset(w, 0, sizeof *w);
}

static eqf_status create(eqf_flow *flow, unsigned num_steps, size_t batch_size, way *w) {
    const size_t numbers = batch_size * flow->num_dof;
    *w = (way){.flow = flow, .num_steps = num_steps, .batch_size = batch_size, .num_numbers = numbers};
    w->x = eqf__alloc(flow->ctx, 2 * (numbers + batch_size), sizeof *w->x, "the trajectory");
    w->y = eqf__alloc(flow->ctx, 2 * numbers + batch_size, sizeof *w->y, "the trajectory");
    if (w->x == NULL || w->y == NULL) {
        clear(w);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    w->sum = w->x + numbers;
    w->log_prob = w->sum + numbers;
    w->div_sum = w->log_prob + batch_size;
    w->velocity = w->y + numbers;
    w->divergence = w->velocity + numbers;
    return EQF_OK;
}

/* The field at y and t = stage / (2 num_steps). */
static eqf_status evaluate(way *w, unsigned stage) {
    return eqf_flow_velocity(w->flow, (double)stage / (2.0 * w->num_steps), w->batch_size, w->y, w->velocity,
                             w->divergence);
}

/* From step to step + 1; velocity holds the field at x, its first stage. */
static eqf_status advance(way *w, unsigned step) {
    static const double weights[4] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}, reaches[3] = {0.5, 0.5, 1};
    static const unsigned offsets[4] = {0, 1, 1, 2};
    const double h = 1.0 / w->num_steps;
    memset(w->sum, 0, w->num_numbers * sizeof *w->sum);
    memset(w->div_sum, 0, w->batch_size * sizeof *w->div_sum);
    for (unsigned s = 0; s < 4; s++) {
        if (s > 0) EQF__TRY(evaluate(w, 2 * step + offsets[s]));
        for (size_t c = 0; c < w->num_numbers; c++) {
            w->sum[c] += weights[s] * w->velocity[c];
            if (s < 3) w->y[c] = (float)(w->x[c] + h * reaches[s] * w->velocity[c]);
        }
        for (size_t b = 0; b < w->batch_size; b++) w->div_sum[b] += weights[s] * w->divergence[b];
    }
    for (size_t c = 0; c < w->num_numbers; c++) w->x[c] += h * w->sum[c];
    for (size_t b = 0; b < w->batch_size; b++) w->log_prob[b] -= h * w->div_sum[b];
    return EQF_OK;
}

static void write_frame(const way *w, size_t frame, float *x_out, float *log_prob_out, float *velocity_out) {
    for (size_t c = 0; c < w->num_numbers; c++) x_out[frame * w->num_numbers + c] = (float)w->x[c];
    for (size_t b = 0; b < w->batch_size && log_prob_out != NULL; b++)
        log_prob_out[frame * w->batch_size + b] = (float)w->log_prob[b];
    if (velocity_out != NULL)
        memcpy(velocity_out + frame * w->num_numbers, w->velocity, w->num_numbers * sizeof *velocity_out);
}

static eqf_status walk(way *w, const float *z, size_t num_frames, float *x_out, float *log_prob_out,
                       float *velocity_out) {
    for (size_t c = 0; c < w->num_numbers; c++) w->x[c] = z[c];
    EQF__TRY(eqf_flow_prior_log_prob(w->flow, w->batch_size, z, w->divergence));
    for (size_t b = 0; b < w->batch_size; b++) w->log_prob[b] = w->divergence[b];
    size_t frame = 0;
    for (unsigned step = 0; step <= w->num_steps; step++) {
        for (size_t c = 0; c < w->num_numbers; c++) w->y[c] = (float)w->x[c];
        EQF__TRY(evaluate(w, 2 * step));
        while (frame < num_frames && eqf_flow_trajectory_step(w->num_steps, num_frames, frame) == step)
            write_frame(w, frame++, x_out, log_prob_out, velocity_out);
        if (step < w->num_steps) EQF__TRY(advance(w, step));
    }
    return EQF_OK;
}

unsigned eqf_flow_trajectory_step(unsigned num_steps, size_t num_frames, size_t frame) {
    if (num_frames < 2) return num_steps;
    return (unsigned)(((double)frame * num_steps) / (double)(num_frames - 1) + 0.5);
}

eqf_status eqf_flow_trajectory(eqf_flow *flow, unsigned num_steps, size_t batch_size, const float *z, size_t num_frames,
                               float *x_out, float *log_prob_out, float *velocity_out) {
    EQF__NOT_NULL(NULL, flow);
    if (num_steps == 0 || num_steps > 100000)
        return eqf__fail(flow->ctx, EQF_ERROR_INVALID_ARGUMENT, "num_steps must be 1 ... 100000");
    if (batch_size == 0 || num_frames == 0) return EQF_OK;
    EQF__NOT_NULL(flow->ctx, z);
    EQF__NOT_NULL(flow->ctx, x_out);
    way w;
    EQF__TRY(create(flow, num_steps, batch_size, &w));
    const eqf_status status = walk(&w, z, num_frames, x_out, log_prob_out, velocity_out);
    clear(&w);
    return status;
}
