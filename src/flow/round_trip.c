/* How closely prior -> data -> prior returns, and how many steps that takes: RK4 backward is no exact inverse of RK4 forward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flow_internal.h"

enum { CHUNK = 1024, MOST_REFINEMENT = 4 };

static double largest_difference(size_t num, const float *a, const float *b) {
    double largest = 0;
    for (size_t n = 0; n < num; n++) {
        const double difference = fabs((double)a[n] - (double)b[n]);
        if (!(difference <= largest)) largest = difference; /* a NaN stays */
        if (isnan(largest)) return largest;
    }
    return largest;
}

eqf_status eqf_flow_round_trip(eqf_flow *flow, uint64_t seed, size_t num_samples, double *error_out) {
    EQF__NOT_NULL(NULL, flow);
    EQF__NOT_NULL(flow->ctx, error_out);
    const size_t num_dof = flow->num_dof;
    float *z = eqf__alloc(flow->ctx, 3 * CHUNK * num_dof + CHUNK, sizeof *z, "the round trip");
    if (z == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    float *x = z + CHUNK * num_dof, *back = x + CHUNK * num_dof, *log_det = back + CHUNK * num_dof;
    eqf_status status = EQF_OK;
    *error_out = 0;
    for (size_t done = 0; done < num_samples && status == EQF_OK;) {
        const size_t count = num_samples - done < CHUNK ? num_samples - done : CHUNK;
        status = eqf_flow_prior_sample(flow, seed, done, count, z);
        if (status == EQF_OK) status = eqf_flow_transform(flow, EQF_PRIOR_TO_DATA, count, z, x, log_det);
        if (status == EQF_OK) status = eqf_flow_transform(flow, EQF_DATA_TO_PRIOR, count, x, back, log_det);
        if (status == EQF_OK) {
            const double error = largest_difference(count * num_dof, z, back);
            if (!(error <= *error_out)) *error_out = error;
            if (isnan(error)) break;
        }
        done += count;
    }
    free(z);
    return status;
}

eqf_status eqf_flow_choose_steps(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                                 uint64_t seed, size_t num_samples, double tolerance, unsigned *num_steps_out,
                                 double *error_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, model);
    EQF__NOT_NULL(ctx, num_steps_out);
    EQF__NOT_NULL(ctx, error_out);
    eqf_flow_options tried = EQF_FLOW_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_FLOW_OPTIONS_INIT, options, &tried));
    if (tried.num_steps == 0) tried.num_steps = eqf_model_options_of(model)->integrator.num_steps;
    const unsigned fewest = tried.num_steps;
    for (unsigned refinement = 1; refinement <= MOST_REFINEMENT; refinement *= 2) {
        tried.num_steps = refinement * fewest;
        eqf_flow *flow;
        double error = NAN;
        EQF__TRY(eqf_flow_create(ctx, model, &tried, &flow));
        eqf_status status = eqf_flow_round_trip(flow, seed, num_samples, &error);
        eqf_flow_destroy(&flow);
        EQF__TRY(status);
        *num_steps_out = tried.num_steps;
        *error_out = error;
        if (error <= tolerance || isnan(error)) break;
    }
    return EQF_OK;
}
