/* The errors of prior -> data -> prior, and the choice of the number of steps by them. RK4 backward is not the exact
 * inverse of RK4 forward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "solve.h"

enum { CHUNK = 1024, MOST_REFINEMENT = 4 };

/* The arrays of one chunk: latents, configurations and returned latents [CHUNK, N*D], log_dets of both solves [CHUNK];
 * one latent in double [N*D]. */
typedef struct trip {
    float *z, *x, *back, *log_det, *log_det_back;
    double *wide;
} trip;

/* The larger of the two; NaN if one of them is NaN. */
static double worse(double error, double value) {
    return isnan(error) || error >= value ? error : value;
}

static double prior_log_prob(const eqf_flow *flow, const float *z, double *wide) {
    for (size_t c = 0; c < flow->num_dof; c++) wide[c] = (double)z[c];
    return flow->prior.kind->host_log_prob(&flow->prior.options, wide);
}

/* The log-density of x from the solve data -> prior, log_prior(z') + log_det', minus that from its sampling,
 * log_prior(z) - log_det; log_det' is that of the solve data -> prior. */
static double log_prob_difference(const eqf_flow *flow, const trip *t, size_t b) {
    const double there = prior_log_prob(flow, t->z + b * flow->num_dof, t->wide) - (double)t->log_det[b];
    return prior_log_prob(flow, t->back + b * flow->num_dof, t->wide) + (double)t->log_det_back[b] - there;
}

static eqf_status take_trip(eqf_flow *flow, uint64_t seed, size_t first, size_t count, const trip *t,
                            eqf_round_trip *error) {
    EQF__TRY(eqf_flow_prior_sample(flow, seed, first, count, t->z));
    EQF__TRY(eqf_flow_transform(flow, EQF_PRIOR_TO_DATA, count, t->z, t->x, t->log_det));
    EQF__TRY(eqf_flow_transform(flow, EQF_DATA_TO_PRIOR, count, t->x, t->back, t->log_det_back));
    for (size_t b = 0; b < count; b++) {
        for (size_t c = b * flow->num_dof; c < (b + 1) * flow->num_dof; c++)
            error->coordinate = worse(error->coordinate, fabs((double)t->back[c] - (double)t->z[c]));
        error->log_prob = worse(error->log_prob, fabs(log_prob_difference(flow, t, b)));
    }
    return EQF_OK;
}

eqf_status eqf_flow_round_trip(eqf_flow *flow, uint64_t seed, size_t num_samples, eqf_round_trip *error_out) {
    EQF__NOT_NULL(NULL, flow);
    EQF__NOT_NULL(flow->ctx, error_out);
    const size_t num_dof = flow->num_dof;
    float *memory = eqf__alloc(flow->ctx, 3 * CHUNK * num_dof + 2 * CHUNK, sizeof *memory, "the round trip");
    double *wide = eqf__alloc(flow->ctx, num_dof, sizeof *wide, "the round trip");
    if (memory == NULL || wide == NULL) {
        free(memory);
        free(wide);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    trip t = {.z = memory, .x = memory + CHUNK * num_dof, .back = memory + 2 * CHUNK * num_dof, .wide = wide};
    t.log_det = memory + 3 * CHUNK * num_dof;
    t.log_det_back = t.log_det + CHUNK;
    eqf_status status = EQF_OK;
    *error_out = (eqf_round_trip){0, 0};
    eqf__progress_open(flow->ctx, "round trip", (double)num_samples);
    for (size_t done = 0; done < num_samples && status == EQF_OK && !isnan(error_out->coordinate);) {
        const size_t count = num_samples - done < CHUNK ? num_samples - done : CHUNK;
        status = eqf__progress_done(flow->ctx, (double)done);
        if (status == EQF_OK) status = take_trip(flow, seed, done, count, &t, error_out);
        done += count;
    }
    eqf__progress_close(flow->ctx);
    free(memory);
    free(wide);
    return status;
}

/* tried: the options of the first try. */
static eqf_status choose_steps(eqf_context *ctx, const eqf_model *model, eqf_flow_options tried, uint64_t seed,
                               size_t num_samples, const eqf_round_trip *tolerance, unsigned *num_steps_out,
                               eqf_round_trip *error_out) {
    const unsigned fewest = tried.num_steps;
    eqf_round_trip before;
    for (unsigned refinement = 1; refinement <= MOST_REFINEMENT; refinement *= 2) {
        tried.num_steps = refinement * fewest;
        eqf_flow *flow;
        eqf_round_trip error = {NAN, NAN};
        EQF__TRY(eqf__progress_done(ctx, refinement - 1));
        EQF__TRY(eqf_flow_create(ctx, model, &tried, &flow));
        eqf_status status = eqf_flow_round_trip(flow, seed, num_samples, &error);
        eqf_flow_destroy(&flow);
        EQF__TRY(status);
        /* More steps that do not reduce the error are not taken. */
        if (refinement > 1 && error.log_prob > 0.5 * before.log_prob && before.coordinate <= tolerance->coordinate)
            break;
        *num_steps_out = tried.num_steps;
        *error_out = before = error;
        if ((error.coordinate <= tolerance->coordinate && error.log_prob <= tolerance->log_prob) ||
            isnan(error.coordinate))
            break;
    }
    return EQF_OK;
}

eqf_status eqf_flow_choose_steps(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                                 uint64_t seed, size_t num_samples, const eqf_round_trip *tolerance,
                                 unsigned *num_steps_out, eqf_round_trip *error_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, model);
    EQF__NOT_NULL(ctx, tolerance);
    EQF__NOT_NULL(ctx, num_steps_out);
    EQF__NOT_NULL(ctx, error_out);
    eqf_flow_options tried = EQF_FLOW_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_FLOW_OPTIONS_INIT, options, &tried));
    if (tried.num_steps == 0) tried.num_steps = eqf_model_options_of(model)->integrator.num_steps;
    eqf__progress_open(ctx, "choose steps", 2 * MOST_REFINEMENT - 1); /* the cost of all tries */
    const eqf_status status = choose_steps(ctx, model, tried, seed, num_samples, tolerance, num_steps_out, error_out);
    eqf__progress_close(ctx);
    return status;
}
