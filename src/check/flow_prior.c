/* Known answers of a prior's program, which also adds noise to data. */
#include <stdlib.h>
#include <string.h>

#include "flow_problem.h"

EQF__ANSWER(prior_samples) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu; /* the number carries into its high word */
    const eqf_flow *flow = t->flow;
    EQF__TRY(eqf_flow_prior_sample(t->twin, seed, first, EQF__FLOW_BATCH, t->y));
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        flow->prior.kind->host_sample(&flow->prior.options, seed, first + b, t->h_y);
        for (size_t c = 0; c < flow->num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(t->h_y[c] - (double)t->y[b * flow->num_dof + c]) /
                                                         fmax(1, (double)flow->prior.scale));
    }
    return EQF_OK;
}

/* Samples of the prior with added noise, in the kernels' blocked layout. */
EQF__ANSWER(noise) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu;
    const double scale = 0.5;
    const eqf_flow *flow = t->twin;
    const size_t V = flow->vector_width, num_dof = flow->num_dof, blocks = (EQF__FLOW_BATCH + V - 1) / V,
                 count = blocks * V * num_dof;
    EQF__TRY(eqf__prior_sample(&flow->prior, seed, first, blocks, flow->batch.d_x));
    EQF__TRY(eqf__prior_add_noise(&flow->prior, seed, first, scale, blocks, flow->batch.d_x));
    float *x = eqf__alloc(flow->ctx, count, sizeof *x, "the known answers");
    double *noise = eqf__alloc(flow->ctx, num_dof + 3, sizeof *noise, "the known answers");
    eqf_status status = x != NULL && noise != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) status = eqf__buffer_read(flow->ctx, flow->batch.d_x, 0, count * sizeof *x, x);
    for (unsigned b = 0; status == EQF_OK && b < EQF__FLOW_BATCH; b++) {
        flow->prior.kind->host_sample(&flow->prior.options, seed, first + b, t->h_y);
        eqf__host_data_noise(flow->num_particles, flow->space_dim, scale, seed, first + b, noise);
        for (size_t c = 0; c < num_dof; c++)
            *error_out =
                eqf__host_worse(*error_out, fabs(t->h_y[c] + noise[c] - (double)x[(b / V * num_dof + c) * V + b % V]) /
                                                fmax(1, (double)flow->prior.scale));
    }
    free(x);
    free(noise);
    return status;
}

/* Scores at the latents of the problem's batch, compared with differences of the host's log-density along the free
 * directions. */
EQF__ANSWER(scores) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const eqf_flow *flow = t->twin;
    const size_t V = flow->vector_width, num_dof = flow->num_dof, blocks = (EQF__FLOW_BATCH + V - 1) / V,
                 count = blocks * V * num_dof;
    const double step = 1e-4 * flow->prior.options.prior_scale;
    cl_mem d_score;
    EQF__TRY(eqf__buffer_create(flow->ctx, count * sizeof(float), NULL, "the known answers", &d_score));
    float *score = eqf__alloc(flow->ctx, count, sizeof *score, "the known answers");
    double *expected = eqf__alloc(flow->ctx, num_dof, sizeof *expected, "the known answers");
    eqf_status status = score != NULL && expected != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) status = eqf__batch_upload(&t->twin->batch, EQF__FLOW_BATCH, eqf__floats(t->x));
    if (status == EQF_OK) status = eqf__prior_score(&flow->prior, blocks, flow->batch.d_x, d_score);
    if (status == EQF_OK) status = eqf__buffer_read(flow->ctx, d_score, 0, count * sizeof *score, score);
    for (unsigned b = 0; status == EQF_OK && b < EQF__FLOW_BATCH; b++) {
        memcpy(t->h_y, t->h_x + b * num_dof, num_dof * sizeof *t->h_y);
        double largest = 0;
        for (size_t c = 0; c < num_dof; c++) {
            const double at = t->h_y[c];
            t->h_y[c] = at + step;
            expected[c] = flow->prior.kind->host_log_prob(&flow->prior.options, t->h_y);
            t->h_y[c] = at - step;
            expected[c] = (expected[c] - flow->prior.kind->host_log_prob(&flow->prior.options, t->h_y)) / (2 * step);
            t->h_y[c] = at;
        }
        eqf__host_centre(flow->num_particles, flow->space_dim, expected);
        for (size_t c = 0; c < num_dof; c++) largest = fmax(largest, fabs(expected[c]));
        for (size_t c = 0; c < num_dof; c++)
            *error_out =
                eqf__host_worse(*error_out, fabs(expected[c] - (double)score[(b / V * num_dof + c) * V + b % V]) /
                                                fmax(1e-30, largest));
    }
    free(score);
    free(expected);
    eqf__buffer_destroy(&d_score);
    return status;
}
