/* The flow on host arrays: chunks go to the device, are solved there whole, and come back. */
#include "eqflow/flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flow_internal.h"

static size_t num_blocks_of(const eqf_flow *flow, size_t batch_size) {
    return (batch_size + flow->vector_width - 1) / flow->vector_width;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------- */

static eqf_status create_chunk_buffers(eqf_flow *flow) {
    eqf_context *ctx = flow->ctx;
    /* About 8 MiB a chunk: enough to fill any device, little enough to stay in a CPU's last cache level. */
    size_t samples = ((size_t)2 << 20) / flow->num_dof;
    flow->chunk_size = samples / 64 * 64 > 0 ? samples / 64 * 64 : 64;
    if (flow->chunk_size > 32768) flow->chunk_size = 32768;
    size_t rows = flow->chunk_size * flow->num_dof * sizeof(float), numbers = flow->chunk_size * sizeof(float);
    EQF__TRY(eqf__buffer_create(ctx, rows, NULL, "configurations", &flow->d_rows));
    EQF__TRY(eqf__buffer_create(ctx, rows, NULL, "configurations", &flow->d_x));
    EQF__TRY(eqf__buffer_create(ctx, numbers, NULL, "log-densities", &flow->d_log_det));
    return eqf__buffer_create(ctx, numbers, NULL, "log-densities", &flow->d_log_prob);
}

eqf_status eqf__flow_reassemble(eqf_flow *flow) {
    if (flow->method == EQF_INTEGRATOR_DOPRI5) return EQF_OK; /* its program knows nothing of tables */
    eqf__trajectory_clear(&flow->trajectory);
    flow->is_gradient_trusted = false;
    EQF__TRY(eqf__trajectory_create(flow->ctx, flow->field, flow->num_steps, &flow->trajectory));
    return eqf__flow_check_answers(flow);
}

static eqf_status create_adaptive(eqf_flow *flow, const eqf_model *model, const eqf_flow_options *options) {
    const eqf_model_options *made = eqf_model_options_of(model);
    eqf_adaptive_options adaptive = options->adaptive;
    EQF__TRY(eqf__adaptive_check(flow->ctx, &adaptive));
    const eqf__field_needs needs = {
        .form = EQF__FORM_ANY_TIME, .divergence = options->divergence, .real = eqf__real_float(flow->ctx->device)};
    EQF__TRY(eqf__field_create(flow->ctx, made->potential.num_particles, made->potential.space_dim, &made->dynamics,
                               &needs, &flow->field));
    if (flow->field->batched == NULL && flow->field->any_time == NULL)
        return eqf__fail(flow->ctx, EQF_ERROR_UNSUPPORTED,
                         "dopri5 needs a field that can be evaluated at any time, and this model's cannot: use "
                         "--integrator rk4");
    bool has_changed;
    EQF__TRY(eqf__field_set_params(flow->field, eqf_model_params(model), &has_changed));
    return eqf__adaptive_create(flow->ctx, flow->field, &adaptive, &flow->adaptive);
}

/* The prior's float kernels stay, for what is asked of the prior alone. */
static eqf_status create_in_double(eqf_flow *flow, const eqf_model *model, const eqf_flow_options *options) {
    EQF__TRY(eqf__double_flow_create(flow->ctx, model, options, flow->num_steps, &flow->in_double));
    EQF__TRY(create_chunk_buffers(flow));
    if (flow->chunk_size > flow->in_double->chunk_size) flow->chunk_size = flow->in_double->chunk_size;
    const size_t rows = flow->chunk_size * flow->num_dof;
    flow->wide_x = eqf__alloc(flow->ctx, rows, sizeof *flow->wide_x, "configurations");
    flow->wide_y = eqf__alloc(flow->ctx, rows, sizeof *flow->wide_y, "configurations");
    flow->wide_value = eqf__alloc(flow->ctx, flow->chunk_size, sizeof *flow->wide_value, "log-densities");
    if (flow->wide_x == NULL || flow->wide_y == NULL || flow->wide_value == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    return eqf__flow_check_answers(flow);
}

static eqf_status create_parts(eqf_flow *flow, const eqf_model *model, const eqf_flow_options *options) {
    const eqf_model_options *made = eqf_model_options_of(model);
    eqf__device *device;
    EQF__TRY(eqf__device_get(flow->ctx, &device));
    const unsigned num_particles = made->potential.num_particles, space_dim = made->potential.space_dim;
    flow->vector_width = device->vector_width;
    flow->num_partials = device->num_partials;
    flow->num_steps = options->num_steps > 0 ? options->num_steps : made->integrator.num_steps;
    if (flow->num_steps > 100000)
        return eqf__fail(flow->ctx, EQF_ERROR_INVALID_ARGUMENT, "%u integration steps are more than the 100000 allowed",
                         flow->num_steps);
    flow->num_particles = num_particles;
    flow->space_dim = space_dim;
    flow->num_dof = (size_t)num_particles * space_dim;
    flow->dynamics = made->dynamics;
    flow->divergence_seed = options->divergence_seed;
    EQF__TRY(eqf__prior_create(flow->ctx, num_particles, space_dim, made->prior_scale, &flow->prior));
    if (options->precision == EQF_PRECISION_DOUBLE) return create_in_double(flow, model, options);
    if (flow->method == EQF_INTEGRATOR_DOPRI5) {
        EQF__TRY(create_adaptive(flow, model, options));
        EQF__TRY(create_chunk_buffers(flow));
        return eqf__flow_check_answers(flow);
    }
    const eqf__field_needs needs = {EQF__FORM_STAGE, 2 * flow->num_steps + 1, options->field_evaluation,
                                    options->divergence, eqf__real_float(device)};
    EQF__TRY(eqf__field_create(flow->ctx, num_particles, space_dim, &made->dynamics, &needs, &flow->field));
    bool has_changed;
    EQF__TRY(eqf__field_set_params(flow->field, eqf_model_params(model), &has_changed));
    EQF__TRY(eqf__flow_reassemble(flow));
    return create_chunk_buffers(flow);
}

eqf_status eqf_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, flow_out);
    *flow_out = NULL;
    EQF__NOT_NULL(ctx, model);
    eqf_flow_options copy = EQF_FLOW_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_FLOW_OPTIONS_INIT, options, &copy));
    options = &copy;
    if (options->method != EQF_INTEGRATOR_RK4 && options->method != EQF_INTEGRATOR_DOPRI5)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "method of the integrator is %u: there is no such method",
                         (unsigned)options->method);
    eqf_flow *flow = eqf__alloc(ctx, 1, sizeof *flow, "the flow");
    if (flow == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    flow->ctx = ctx;
    flow->method = options->method;
    eqf_status status = create_parts(flow, model, options);
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
    eqf__buffer_destroy(&dying->d_rows);
    eqf__buffer_destroy(&dying->d_x);
    eqf__buffer_destroy(&dying->d_log_det);
    eqf__buffer_destroy(&dying->d_log_prob);
    eqf__trajectory_clear(&dying->trajectory);
    eqf__adaptive_clear(&dying->adaptive);
    eqf__field_destroy(&dying->field);
    eqf__prior_clear(&dying->prior);
    eqf__double_flow_destroy(&dying->in_double);
    free(dying->wide_x);
    free(dying->wide_y);
    free(dying->wide_value);
    free(dying);
    *flow = NULL;
}

size_t eqf_flow_num_dof(const eqf_flow *flow) {
    return flow != NULL ? flow->num_dof : 0;
}

eqf_status eqf_flow_set_params(eqf_flow *flow, const float *params) {
    bool has_changed;
    if (flow->in_double != NULL) return eqf__double_flow_set_params(flow->in_double, params);
    EQF__TRY(eqf__field_set_params(flow->field, params, &has_changed));
    if (!has_changed) return EQF_OK;
    eqf__gradient_workspace_clear(&flow->workspace);
    return eqf__flow_reassemble(flow);
}

eqf_status eqf_flow_step_statistics(const eqf_flow *flow, eqf_step_statistics *statistics_out) {
    EQF__NOT_NULL(NULL, flow);
    return EQF__WRITE(flow->ctx, EQF_STEP_STATISTICS_INIT, &flow->adaptive.statistics, statistics_out);
}

void eqf_flow_reset_step_statistics(eqf_flow *flow) {
    if (flow == NULL) return;
    memset(&flow->adaptive.statistics, 0, sizeof flow->adaptive.statistics);
}

/* ---- Solves ------------------------------------------------------------------------------------------------------------ */

static eqf_status upload(eqf_flow *flow, size_t count, const float *x) {
    EQF__TRY(eqf__buffer_write(flow->ctx, flow->d_rows, 0, count * flow->num_dof * sizeof(float), x));
    return eqf__prior_pack(&flow->prior, count, flow->d_rows, flow->d_x);
}

static eqf_status download(eqf_flow *flow, size_t count, cl_mem d_x, float *x_out) {
    EQF__TRY(eqf__prior_unpack(&flow->prior, count, d_x, flow->d_rows));
    return eqf__buffer_read(flow->ctx, flow->d_rows, 0, count * flow->num_dof * sizeof(float), x_out);
}

static eqf_status zero_log_det(eqf_flow *flow, size_t num_blocks, cl_mem d_log_det) {
    return eqf__fill_zero(flow->ctx, d_log_det, num_blocks * flow->vector_width * sizeof(float));
}

eqf_status eqf__flow_launch_solve(eqf_flow *flow, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                                  cl_mem d_x, cl_mem d_log_det) {
    const size_t num_blocks = num_blocks_of(flow, num_samples);
    if (flow->method == EQF_INTEGRATOR_DOPRI5)
        return eqf__adaptive_solve(&flow->adaptive, noise, direction, num_blocks, num_samples, d_x, d_log_det);
    return eqf__trajectory_solve(&flow->trajectory, noise, direction, num_blocks, d_x, d_log_det, NULL);
}

/* ---- In double ---------------------------------------------------------------------------------------------------------- */

static void widen(size_t count, const float *values, double *values_out) {
    for (size_t i = 0; i < count; i++) values_out[i] = values[i];
}

static void round_to_float(size_t count, const double *values, float *values_out) {
    for (size_t i = 0; values_out != NULL && i < count; i++) values_out[i] = (float)values[i];
}

static eqf_status fail_in_float(const eqf_flow *flow) {
    return eqf__fail(flow->ctx, EQF_ERROR_UNSUPPORTED, "this flow is in float32: make it with EQF_PRECISION_DOUBLE");
}

eqf_status eqf_flow_sample_double(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                  double *x_out, double *log_prob_out) {
    if (flow->in_double == NULL) return fail_in_float(flow);
    for (size_t done = 0; done < num_samples;) {
        size_t count = num_samples - done < flow->chunk_size ? num_samples - done : flow->chunk_size;
        EQF__TRY(eqf__double_flow_sample(flow->in_double, seed, first_sample + done, count,
                                         x_out + done * flow->num_dof,
                                         log_prob_out != NULL ? log_prob_out + done : NULL));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf_flow_log_prob_double(eqf_flow *flow, size_t batch_size, const double *x, double *log_prob_out,
                                    double *z_out) {
    if (flow->in_double == NULL) return fail_in_float(flow);
    for (size_t done = 0; done < batch_size;) {
        size_t count = batch_size - done < flow->chunk_size ? batch_size - done : flow->chunk_size;
        EQF__TRY(eqf__double_flow_log_prob(flow->in_double, count, x + done * flow->num_dof, log_prob_out + done,
                                           z_out != NULL ? z_out + done * flow->num_dof : NULL));
        done += count;
    }
    return EQF_OK;
}

/* One chunk of each of the float calls. */
static eqf_status sample_in_double(eqf_flow *flow, uint64_t seed, uint64_t first, size_t count, float *x_out,
                                   float *log_prob_out) {
    EQF__TRY(eqf__double_flow_sample(flow->in_double, seed, first, count, flow->wide_x, flow->wide_value));
    round_to_float(count * flow->num_dof, flow->wide_x, x_out);
    round_to_float(count, flow->wide_value, log_prob_out);
    return EQF_OK;
}

static eqf_status log_prob_in_double(eqf_flow *flow, size_t count, const float *x, float *log_prob_out, float *z_out) {
    widen(count * flow->num_dof, x, flow->wide_x);
    EQF__TRY(eqf__double_flow_log_prob(flow->in_double, count, flow->wide_x, flow->wide_value,
                                       z_out != NULL ? flow->wide_y : NULL));
    round_to_float(count, flow->wide_value, log_prob_out);
    round_to_float(count * flow->num_dof, flow->wide_y, z_out);
    return EQF_OK;
}

static eqf_status transform_in_double(eqf_flow *flow, eqf_direction direction, size_t count, const float *x_in,
                                      float *x_out, float *log_det_out) {
    widen(count * flow->num_dof, x_in, flow->wide_x);
    EQF__TRY(
        eqf__double_flow_transform(flow->in_double, direction, count, flow->wide_x, flow->wide_y, flow->wide_value));
    round_to_float(count * flow->num_dof, flow->wide_y, x_out);
    round_to_float(count, flow->wide_value, log_det_out);
    return EQF_OK;
}

static eqf_status velocity_in_double(eqf_flow *flow, unsigned stage, size_t count, const float *x, float *velocity_out,
                                     float *divergence_out) {
    widen(count * flow->num_dof, x, flow->wide_x);
    EQF__TRY(eqf__double_flow_velocity(flow->in_double, stage, count, flow->wide_x, flow->wide_y, flow->wide_value));
    round_to_float(count * flow->num_dof, flow->wide_y, velocity_out);
    round_to_float(count, flow->wide_value, divergence_out);
    return EQF_OK;
}

/* ---- In float ------------------------------------------------------------------------------------------------------------ */

static eqf_status sample_chunk(eqf_flow *flow, uint64_t seed, uint64_t first, size_t count, float *x_out,
                               float *log_prob_out) {
    size_t blocks = num_blocks_of(flow, count);
    if (flow->in_double != NULL) return sample_in_double(flow, seed, first, count, x_out, log_prob_out);
    const eqf__noise noise = {seed, first};
    EQF__TRY(eqf__prior_sample(&flow->prior, seed, first, blocks, flow->d_x));
    EQF__TRY(zero_log_det(flow, blocks, flow->d_log_det));
    EQF__TRY(eqf__prior_log_prob(&flow->prior, blocks, flow->d_x, flow->d_log_det, 0.0f, flow->d_log_prob));
    EQF__TRY(eqf__flow_launch_solve(flow, &noise, EQF_PRIOR_TO_DATA, count, flow->d_x, flow->d_log_det));
    EQF__TRY(eqf__prior_add_log_det(&flow->prior, blocks, flow->d_log_prob, flow->d_log_det, -1.0f));
    EQF__TRY(download(flow, count, flow->d_x, x_out));
    if (log_prob_out == NULL) return EQF_OK;
    return eqf__buffer_read(flow->ctx, flow->d_log_prob, 0, count * sizeof(float), log_prob_out);
}

eqf_status eqf_flow_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples, float *x_out,
                           float *log_prob_out) {
    for (size_t done = 0; done < num_samples;) {
        size_t count = num_samples - done < flow->chunk_size ? num_samples - done : flow->chunk_size;
        EQF__TRY(sample_chunk(flow, seed, first_sample + done, count, x_out + done * flow->num_dof,
                              log_prob_out != NULL ? log_prob_out + done : NULL));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf__flow_launch_log_prob(eqf_flow *flow, const eqf__noise *noise, size_t num_samples, cl_mem d_x,
                                     cl_mem d_log_det, cl_mem d_log_prob) {
    const size_t num_blocks = num_blocks_of(flow, num_samples);
    EQF__TRY(zero_log_det(flow, num_blocks, d_log_det));
    EQF__TRY(eqf__flow_launch_solve(flow, noise, EQF_DATA_TO_PRIOR, num_samples, d_x, d_log_det));
    return eqf__prior_log_prob(&flow->prior, num_blocks, d_x, d_log_det, 1.0f, d_log_prob);
}

eqf_status eqf_flow_log_prob(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out, float *z_out) {
    return eqf_flow_log_prob_part(flow, 0, batch_size, x, log_prob_out, z_out);
}

eqf_status eqf_flow_log_prob_part(eqf_flow *flow, uint64_t first, size_t batch_size, const float *x,
                                  float *log_prob_out, float *z_out) {
    for (size_t done = 0; done < batch_size;) {
        size_t count = batch_size - done < flow->chunk_size ? batch_size - done : flow->chunk_size;
        size_t blocks = num_blocks_of(flow, count);
        if (flow->in_double != NULL) {
            EQF__TRY(log_prob_in_double(flow, count, x + done * flow->num_dof, log_prob_out + done,
                                        z_out != NULL ? z_out + done * flow->num_dof : NULL));
            done += count;
            continue;
        }
        const eqf__noise noise = {flow->divergence_seed, first + done};
        EQF__TRY(upload(flow, count, x + done * flow->num_dof));
        EQF__TRY(eqf__prior_centre(&flow->prior, blocks, flow->d_x));
        EQF__TRY(eqf__flow_launch_log_prob(flow, &noise, count, flow->d_x, flow->d_log_det, flow->d_log_prob));
        EQF__TRY(eqf__buffer_read(flow->ctx, flow->d_log_prob, 0, count * sizeof(float), log_prob_out + done));
        if (z_out != NULL) EQF__TRY(download(flow, count, flow->d_x, z_out + done * flow->num_dof));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf_flow_transform(eqf_flow *flow, eqf_direction direction, size_t batch_size, const float *x_in,
                              float *x_out, float *log_det_out) {
    for (size_t done = 0; done < batch_size;) {
        size_t count = batch_size - done < flow->chunk_size ? batch_size - done : flow->chunk_size;
        size_t blocks = num_blocks_of(flow, count);
        if (flow->in_double != NULL) {
            EQF__TRY(transform_in_double(flow, direction, count, x_in + done * flow->num_dof,
                                         x_out + done * flow->num_dof, log_det_out + done));
            done += count;
            continue;
        }
        const eqf__noise noise = {flow->divergence_seed, done};
        EQF__TRY(upload(flow, count, x_in + done * flow->num_dof));
        EQF__TRY(zero_log_det(flow, blocks, flow->d_log_det));
        EQF__TRY(eqf__flow_launch_solve(flow, &noise, direction, count, flow->d_x, flow->d_log_det));
        EQF__TRY(download(flow, count, flow->d_x, x_out + done * flow->num_dof));
        EQF__TRY(eqf__buffer_read(flow->ctx, flow->d_log_det, 0, count * sizeof(float), log_det_out + done));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf_flow_velocity(eqf_flow *flow, double t, size_t batch_size, const float *x, float *velocity_out,
                             float *divergence_out) {
    const bool is_any_time = flow->method == EQF_INTEGRATOR_DOPRI5;
    double position = t * 2.0 * flow->num_steps;
    if (is_any_time && !(t >= 0 && t <= 1))
        return eqf__fail(flow->ctx, EQF_ERROR_INVALID_ARGUMENT, "t = %g is not a flow time: it must be 0 to 1", t);
    if (!is_any_time &&
        !(fabs(position - nearbyint(position)) < 1e-6 && position > -0.5 && position < 2.0 * flow->num_steps + 0.5))
        return eqf__fail(flow->ctx, EQF_ERROR_INVALID_ARGUMENT, "t = %g is not a stage time j/%u", t,
                         2 * flow->num_steps);
    unsigned stage = is_any_time ? 0 : (unsigned)nearbyint(position);
    for (size_t done = 0; done < batch_size;) {
        size_t count = batch_size - done < flow->chunk_size ? batch_size - done : flow->chunk_size;
        size_t blocks = num_blocks_of(flow, count);
        if (flow->in_double != NULL) {
            EQF__TRY(velocity_in_double(flow, stage, count, x + done * flow->num_dof,
                                        velocity_out + done * flow->num_dof, divergence_out + done));
            done += count;
            continue;
        }
        const eqf__noise noise = {flow->divergence_seed, done};
        EQF__TRY(upload(flow, count, x + done * flow->num_dof));
        /* In place: each work-item reads its configuration before it writes the velocity. */
        if (is_any_time)
            EQF__TRY(eqf__adaptive_field(&flow->adaptive, &noise, t, blocks, flow->d_x, flow->d_x, flow->d_log_det));
        else
            EQF__TRY(
                eqf__trajectory_field(&flow->trajectory, &noise, stage, blocks, flow->d_x, flow->d_x, flow->d_log_det));
        EQF__TRY(download(flow, count, flow->d_x, velocity_out + done * flow->num_dof));
        EQF__TRY(eqf__buffer_read(flow->ctx, flow->d_log_det, 0, count * sizeof(float), divergence_out + done));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf_flow_prior_log_prob(eqf_flow *flow, size_t batch_size, const float *z, float *log_prob_out) {
    for (size_t done = 0; done < batch_size;) {
        size_t count = batch_size - done < flow->chunk_size ? batch_size - done : flow->chunk_size;
        size_t blocks = num_blocks_of(flow, count);
        EQF__TRY(upload(flow, count, z + done * flow->num_dof));
        EQF__TRY(zero_log_det(flow, blocks, flow->d_log_det));
        EQF__TRY(eqf__prior_log_prob(&flow->prior, blocks, flow->d_x, flow->d_log_det, 0.0f, flow->d_log_prob));
        EQF__TRY(eqf__buffer_read(flow->ctx, flow->d_log_prob, 0, count * sizeof(float), log_prob_out + done));
        done += count;
    }
    return EQF_OK;
}

eqf_status eqf_flow_prior_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                 float *z_out) {
    for (size_t done = 0; done < num_samples;) {
        size_t count = num_samples - done < flow->chunk_size ? num_samples - done : flow->chunk_size;
        EQF__TRY(eqf__prior_sample(&flow->prior, seed, first_sample + done, num_blocks_of(flow, count), flow->d_x));
        EQF__TRY(download(flow, count, flow->d_x, z_out + done * flow->num_dof));
        done += count;
    }
    return EQF_OK;
}
