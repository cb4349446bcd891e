/* The flow on host arrays: chunks are copied to the device, solved there from begin to end, and copied back. */
#include "eqflow/flow.h"

#include <stdlib.h>
#include <string.h>

#include "solve.h"

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static eqf_status create_parts(eqf_flow *flow, const eqf_model *model, const eqf_flow_options *options) {
    const eqf_model_options *made = eqf_model_options_of(model);
    eqf_context *ctx = flow->ctx;
    eqf__device *device;
    eqf_flow_options whole = *options;
    if (whole.num_steps == 0) whole.num_steps = made->integrator.num_steps;
    EQF__TRY(eqf__device_get(ctx, &device));
    flow->num_particles = made->potential.num_particles;
    flow->space_dim = made->potential.space_dim;
    flow->num_dof = (size_t)flow->num_particles * flow->space_dim;
    flow->dynamics = made->dynamics;
    flow->divergence_seed = options->divergence_seed;
    EQF__TRY(eqf__solver_create(ctx, flow->num_particles, flow->space_dim, &made->dynamics, &whole,
                                eqf_model_params(model), &flow->solver));
    flow->field = flow->solver->field;
    const eqf__real *real = &flow->solver->real;
    flow->vector_width = real->vector_width;
    EQF__TRY(eqf__prior_create(ctx, made, real, &flow->prior));
    EQF__TRY(eqf__batch_create(ctx, flow->prior.program, real, flow->num_dof, 0, &flow->batch));
    const size_t numbers = flow->batch.chunk_size * real->size;
    EQF__TRY(eqf__buffer_create(ctx, numbers, NULL, "log-densities", &flow->d_log_det));
    return eqf__buffer_create(ctx, numbers, NULL, "log-densities", &flow->d_log_prob);
}

eqf_status eqf__flow_build(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out) {
    *flow_out = NULL;
    eqf_flow *flow = eqf__alloc(ctx, 1, sizeof *flow, "the flow");
    if (flow == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    flow->ctx = ctx;
    const eqf_status status = create_parts(flow, model, options);
    if (status != EQF_OK) {
        eqf_flow_destroy(&flow);
        return status;
    }
    *flow_out = flow;
    return EQF_OK;
}

void eqf_flow_destroy(eqf_flow **flow) {
    if (flow == NULL || *flow == NULL) return;
    eqf_flow *dying = *flow;
    eqf__gradient_workspace_clear(&dying->workspace);
    eqf__buffer_destroy(&dying->d_log_det);
    eqf__buffer_destroy(&dying->d_log_prob);
    eqf__batch_clear(&dying->batch);
    eqf__prior_clear(&dying->prior);
    eqf__solver_destroy(&dying->solver);
    free(dying);
    *flow = NULL;
}

size_t eqf_flow_num_dof(const eqf_flow *flow) {
    return flow != NULL ? flow->num_dof : 0;
}

eqf_status eqf__flow_set_params(eqf_flow *flow, const float *params, bool *has_changed_out) {
    EQF__TRY(eqf__solver_set_params(flow->solver, params, has_changed_out));
    if (*has_changed_out) eqf__gradient_workspace_clear(&flow->workspace);
    return EQF_OK;
}

eqf_status eqf_flow_step_statistics(const eqf_flow *flow, eqf_step_statistics *statistics_out) {
    EQF__NOT_NULL(NULL, flow);
    return EQF__WRITE(flow->ctx, EQF_STEP_STATISTICS_INIT, &flow->solver->statistics, statistics_out);
}

void eqf_flow_reset_step_statistics(eqf_flow *flow) {
    if (flow == NULL) return;
    memset(&flow->solver->statistics, 0, sizeof flow->solver->statistics);
}

/* ---- Launches ---------------------------------------------------------------------------------------------------- */

eqf_status eqf__flow_launch_solve(eqf_flow *flow, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                                  cl_mem d_x, cl_mem d_log_det) {
    return flow->solver->verbs->solve(flow->solver, noise, direction, num_samples, d_x, d_log_det, NULL);
}

eqf_status eqf__flow_launch_log_prob(eqf_flow *flow, const eqf__noise *noise, size_t num_samples, cl_mem d_x,
                                     cl_mem d_log_det, cl_mem d_log_prob) {
    EQF__TRY(eqf__batch_zero(&flow->batch, num_samples, d_log_det));
    EQF__TRY(eqf__flow_launch_solve(flow, noise, EQF_DATA_TO_PRIOR, num_samples, d_x, d_log_det));
    return eqf__prior_log_prob(&flow->prior, eqf__solver_blocks(flow->solver, num_samples), d_x, d_log_det, 1,
                               d_log_prob);
}

/* ---- Chunk after chunk ------------------------------------------------------------------------------------------- */

eqf_status eqf__flow_launch_sample(eqf_flow *flow, uint64_t seed, uint64_t first, size_t count) {
    const size_t blocks = eqf__solver_blocks(flow->solver, count);
    const eqf__noise noise = {seed, first};
    cl_mem d_x = flow->batch.d_x;
    EQF__TRY(eqf__prior_sample(&flow->prior, seed, first, blocks, d_x));
    EQF__TRY(eqf__batch_zero(&flow->batch, count, flow->d_log_det));
    EQF__TRY(eqf__prior_log_prob(&flow->prior, blocks, d_x, flow->d_log_det, 0, flow->d_log_prob));
    EQF__TRY(eqf__flow_launch_solve(flow, &noise, EQF_PRIOR_TO_DATA, count, d_x, flow->d_log_det));
    return eqf__prior_add_log_det(&flow->prior, blocks, flow->d_log_prob, flow->d_log_det, -1);
}

static eqf_status sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples, eqf__array x_out,
                         eqf__array log_prob_out) {
    for (size_t done = 0, count; (count = eqf__batch_next(&flow->batch, num_samples, done)) > 0; done += count) {
        EQF__TRY(eqf__progress(flow->ctx, "sample", (double)done, (double)num_samples));
        EQF__TRY(eqf__flow_launch_sample(flow, seed, first_sample + done, count));
        EQF__TRY(eqf__batch_download(&flow->batch, count, flow->batch.d_x, eqf__array_at(x_out, done * flow->num_dof)));
        EQF__TRY(eqf__batch_read(&flow->batch, count, flow->d_log_prob, eqf__array_at(log_prob_out, done)));
    }
    return EQF_OK;
}

static eqf_status log_prob(eqf_flow *flow, uint64_t first, size_t batch_size, eqf__array x, eqf__array log_prob_out,
                           eqf__array z_out) {
    eqf__batch *batch = &flow->batch;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, batch_size, done)) > 0; done += count) {
        EQF__TRY(eqf__progress(flow->ctx, "log-prob", (double)done, (double)batch_size));
        const eqf__noise noise = {flow->divergence_seed, first + done};
        EQF__TRY(eqf__batch_upload(batch, count, eqf__array_at(x, done * flow->num_dof)));
        EQF__TRY(eqf__prior_centre(&flow->prior, eqf__solver_blocks(flow->solver, count), batch->d_x));
        EQF__TRY(eqf__flow_launch_log_prob(flow, &noise, count, batch->d_x, flow->d_log_det, flow->d_log_prob));
        EQF__TRY(eqf__batch_read(batch, count, flow->d_log_prob, eqf__array_at(log_prob_out, done)));
        EQF__TRY(eqf__batch_download(batch, count, batch->d_x, eqf__array_at(z_out, done * flow->num_dof)));
    }
    return EQF_OK;
}

eqf_status eqf__flow_transform(eqf_flow *flow, eqf_direction direction, size_t batch_size, eqf__array x_in,
                               eqf__array x_out, eqf__array log_det_out) {
    eqf__batch *batch = &flow->batch;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, batch_size, done)) > 0; done += count) {
        EQF__TRY(eqf__progress(flow->ctx, "transform", (double)done, (double)batch_size));
        const eqf__noise noise = {flow->divergence_seed, done};
        EQF__TRY(eqf__batch_upload(batch, count, eqf__array_at(x_in, done * flow->num_dof)));
        EQF__TRY(eqf__batch_zero(batch, count, flow->d_log_det));
        EQF__TRY(eqf__flow_launch_solve(flow, &noise, direction, count, batch->d_x, flow->d_log_det));
        EQF__TRY(eqf__batch_download(batch, count, batch->d_x, eqf__array_at(x_out, done * flow->num_dof)));
        EQF__TRY(eqf__batch_read(batch, count, flow->d_log_det, eqf__array_at(log_det_out, done)));
    }
    return EQF_OK;
}

/* ---- Public functions -------------------------------------------------------------------------------------------- */

static eqf_status check_is_double(const eqf_flow *flow) {
    if (eqf__is_double(&flow->solver->real)) return EQF_OK;
    return eqf__fail(flow->ctx, EQF_ERROR_UNSUPPORTED, "this flow is in float32: make it with EQF_PRECISION_DOUBLE");
}

eqf_status eqf_flow_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples, float *x_out,
                           float *log_prob_out) {
    EQF__NOT_NULL(NULL, flow);
    if (num_samples > 0) EQF__NOT_NULL(flow->ctx, x_out);
    return sample(flow, seed, first_sample, num_samples, eqf__floats(x_out), eqf__floats(log_prob_out));
}

eqf_status eqf_flow_sample_double(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                  double *x_out, double *log_prob_out) {
    EQF__NOT_NULL(NULL, flow);
    EQF__TRY(check_is_double(flow));
    if (num_samples > 0) EQF__NOT_NULL(flow->ctx, x_out);
    return sample(flow, seed, first_sample, num_samples, eqf__doubles(x_out), eqf__doubles(log_prob_out));
}

eqf_status eqf_flow_log_prob(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out, float *z_out) {
    return eqf_flow_log_prob_part(flow, 0, batch_size, x, log_prob_out, z_out);
}

eqf_status eqf_flow_log_prob_part(eqf_flow *flow, uint64_t first, size_t batch_size, const float *x,
                                  float *log_prob_out, float *z_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, log_prob_out);
    return log_prob(flow, first, batch_size, eqf__floats(x), eqf__floats(log_prob_out), eqf__floats(z_out));
}

eqf_status eqf_flow_log_prob_double(eqf_flow *flow, size_t batch_size, const double *x, double *log_prob_out,
                                    double *z_out) {
    EQF__NOT_NULL(NULL, flow);
    EQF__TRY(check_is_double(flow));
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, log_prob_out);
    return log_prob(flow, 0, batch_size, eqf__doubles(x), eqf__doubles(log_prob_out), eqf__doubles(z_out));
}

eqf_status eqf_flow_transform(eqf_flow *flow, eqf_direction direction, size_t batch_size, const float *x_in,
                              float *x_out, float *log_det_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x_in);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x_out);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, log_det_out);
    return eqf__flow_transform(flow, direction, batch_size, eqf__floats(x_in), eqf__floats(x_out),
                               eqf__floats(log_det_out));
}

eqf_status eqf_flow_velocity(eqf_flow *flow, double t, size_t batch_size, const float *x, float *velocity_out,
                             float *divergence_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, velocity_out);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, divergence_out);
    eqf__batch *batch = &flow->batch;
    const eqf__solver_verbs *verbs = flow->solver->verbs;
    EQF__TRY(verbs->check_time(flow->solver, t));
    for (size_t done = 0, count; (count = eqf__batch_next(batch, batch_size, done)) > 0; done += count) {
        EQF__TRY(eqf__progress(flow->ctx, "velocity", (double)done, (double)batch_size));
        const eqf__noise noise = {flow->divergence_seed, done};
        EQF__TRY(eqf__batch_upload(batch, count, eqf__floats(x + done * flow->num_dof)));
        /* In place: each work-item reads its configuration before it writes the velocity. */
        EQF__TRY(verbs->field_at(flow->solver, &noise, t, count, batch->d_x, batch->d_x, flow->d_log_det));
        EQF__TRY(eqf__batch_download(batch, count, batch->d_x, eqf__floats(velocity_out + done * flow->num_dof)));
        EQF__TRY(eqf__batch_read(batch, count, flow->d_log_det, eqf__floats(divergence_out + done)));
    }
    return EQF_OK;
}

eqf_status eqf_flow_prior_log_prob(eqf_flow *flow, size_t batch_size, const float *z, float *log_prob_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, z);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, log_prob_out);
    eqf__batch *batch = &flow->batch;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, batch_size, done)) > 0; done += count) {
        EQF__TRY(eqf__batch_upload(batch, count, eqf__floats(z + done * flow->num_dof)));
        EQF__TRY(eqf__batch_zero(batch, count, flow->d_log_det));
        EQF__TRY(eqf__prior_log_prob(&flow->prior, eqf__solver_blocks(flow->solver, count), batch->d_x, flow->d_log_det,
                                     0, flow->d_log_prob));
        EQF__TRY(eqf__batch_read(batch, count, flow->d_log_prob, eqf__floats(log_prob_out + done)));
    }
    return EQF_OK;
}

eqf_status eqf_flow_prior_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                 float *z_out) {
    EQF__NOT_NULL(NULL, flow);
    if (num_samples > 0) EQF__NOT_NULL(flow->ctx, z_out);
    eqf__batch *batch = &flow->batch;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, num_samples, done)) > 0; done += count) {
        EQF__TRY(eqf__prior_sample(&flow->prior, seed, first_sample + done, eqf__solver_blocks(flow->solver, count),
                                   batch->d_x));
        EQF__TRY(eqf__batch_download(batch, count, batch->d_x, eqf__floats(z_out + done * flow->num_dof)));
    }
    return EQF_OK;
}
