/* The vector-Jacobian product of the field at one time, for every form of a field: for programs that differentiate
 * through the velocity themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rk4.h"
#include "solve.h"

/* Device memory of chunks: adjoints in and out, times, partial gradients. */
typedef struct vjp {
    eqf_flow *flow;
    double t;
    size_t num_partials;
    cl_mem d_adjoint_velocity, d_adjoint_x;   /* [chunk blocks][N*D][V] */
    cl_mem d_adjoint_divergence, d_times;     /* [chunk blocks][V] */
    cl_mem d_grad, d_grad_shared, d_gradient; /* the first two: partial gradients in the form's layout; [num_trained] */
    size_t grad_bytes, grad_shared_bytes;
    eqf__kernel kernel; /* of the stage and any-time forms */
    float *h_gradient;  /* [num_trained] */
    float *h_rows;      /* [chunk lanes, N*D]: adjoints of whole blocks, 0 in padding lanes */
    double *sums;       /* [num_trained]: over chunks */
} vjp;

static void clear(vjp *v) {
    cl_mem *const buffers[] = {
        &v->d_adjoint_velocity, &v->d_adjoint_x, &v->d_adjoint_divergence, &v->d_times, &v->d_grad,
        &v->d_grad_shared,      &v->d_gradient};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel_destroy(&v->kernel);
    free(v->h_gradient);
    free(v->h_rows);
    free(v->sums);
}

/* ---- The forms --------------------------------------------------------------------------------------------------- */

static eqf_status stage_program(const eqf_flow *flow, eqf__program **program_out) {
    const eqf__field *field = flow->field;
    const eqf__stage_form *form = field->stage;
    const char *files[8] = {"common/real.clh"};
    char defines[sizeof form->defines + 128];
    size_t f = 1;
    for (size_t i = 0; form->files[i] != NULL; i++) files[f++] = form->files[i];
    files[f++] = "integrator/field_vjp.cl";
    eqf__real_defines(&field->real, defines, sizeof defines);
    const size_t length = strlen(defines);
    snprintf(defines + length, sizeof defines - length, "%s", form->defines);
    return eqf__program_get(flow->ctx, "field_vjp", files, defines, program_out);
}

static eqf_status open_stage(vjp *v) {
    eqf_context *ctx = v->flow->ctx;
    eqf__field *field = v->flow->field;
    const eqf__stage_form *form = field->stage;
    eqf__program *program;
    EQF__TRY(stage_program(v->flow, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "field_vjp_at_stage", &v->kernel));
    if (form->prepare_gradient != NULL) EQF__TRY(form->prepare_gradient(field));
    v->num_partials = ctx->device->num_partials;
    v->grad_bytes = v->num_partials * field->num_stages * form->grad_stage_size * sizeof(float);
    v->grad_shared_bytes = v->num_partials * form->grad_shared_size * sizeof(float);
    return EQF_OK;
}

static eqf_status launch_stage(vjp *v, size_t num_blocks, cl_mem d_x) {
    eqf__field *field = v->flow->field;
    const cl_uint blocks = (cl_uint)num_blocks, partials = (cl_uint)v->num_partials, stages = field->num_stages;
    const cl_uint stage = eqf__rk4_stage_at(v->flow->solver, v->t);
    EQF__TRY(EQF__LAUNCH(v->flow->ctx, &v->kernel, v->num_partials, 0, EQF__ARG(d_x), EQF__ARG(v->d_adjoint_velocity),
                         EQF__ARG(v->d_adjoint_divergence), EQF__ARG(v->d_adjoint_x), EQF__ARG(field->stage->d_stages),
                         EQF__ARG(field->stage->d_shared), EQF__ARG(v->d_grad), EQF__ARG(v->d_grad_shared),
                         EQF__ARG(blocks), EQF__ARG(partials), EQF__ARG(stages), EQF__ARG(stage)));
    return field->stage->contract(field, v->d_grad, v->d_grad_shared, v->num_partials, v->d_gradient);
}

static eqf_status any_time_program(const eqf_flow *flow, eqf__program **program_out) {
    const eqf__any_time_form *form = flow->field->any_time;
    const char *const files[] = {"common/real.clh", form->file, "integrator/field_vjp_any_time.cl", NULL};
    return eqf__program_get(flow->ctx, "field_vjp_any_time", files, form->defines, program_out);
}

static eqf_status open_any_time(vjp *v) {
    eqf_context *ctx = v->flow->ctx;
    const eqf__field *field = v->flow->field;
    eqf__program *program;
    EQF__TRY(any_time_program(v->flow, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "field_vjp_at_time", &v->kernel));
    v->num_partials = ctx->device->num_partials < 64 ? ctx->device->num_partials : 64;
    v->grad_bytes = v->num_partials * field->any_time->grad_size * field->real.vector_width * sizeof(float);
    return EQF_OK;
}

static eqf_status launch_any_time(vjp *v, size_t num_blocks, cl_mem d_x) {
    eqf__field *field = v->flow->field;
    const eqf__any_time_form *form = field->any_time;
    const cl_uint blocks = (cl_uint)num_blocks, partials = (cl_uint)v->num_partials;
    const cl_float t = (cl_float)v->t;
    EQF__TRY(EQF__LAUNCH(v->flow->ctx, &v->kernel, v->num_partials, 0, EQF__ARG(field->d_params),
                         EQF__ARG(form->d_constants), EQF__ARG(d_x), EQF__ARG(v->d_adjoint_velocity),
                         EQF__ARG(v->d_adjoint_divergence), EQF__ARG(v->d_adjoint_x), EQF__ARG(v->d_grad),
                         EQF__ARG(blocks), EQF__ARG(partials), EQF__ARG(t)));
    return form->contract(field, v->d_grad, v->num_partials, 1.0f, v->d_gradient);
}

static eqf_status open_batched(vjp *v) {
    v->grad_bytes = v->flow->field->batched->grad_size * sizeof(float);
    return EQF_OK;
}

static eqf_status launch_batched(vjp *v, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, bool has_divergence) {
    eqf__field *field = v->flow->field;
    const bool is_apart = !has_divergence && field->batched->is_divergence_costly;
    EQF__TRY(eqf__fill_zero(v->flow->ctx, v->d_adjoint_x,
                            num_blocks * v->flow->num_dof * field->real.vector_width * sizeof(float)));
    EQF__TRY(field->batched->vjp(field, noise, num_blocks, d_x, v->d_times, v->d_adjoint_velocity,
                                 is_apart ? NULL : v->d_adjoint_divergence, v->d_adjoint_x, v->d_grad));
    return field->batched->contract(field, v->d_grad, v->d_gradient);
}

/* ---- Chunks ------------------------------------------------------------------------------------------------------ */

static eqf_status write_times(vjp *v, size_t num_lanes) {
    float *times = eqf__alloc(v->flow->ctx, num_lanes, sizeof *times, "the times");
    if (times == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t l = 0; l < num_lanes; l++) times[l] = (float)v->t;
    const eqf_status status = eqf__buffer_write(v->flow->ctx, v->d_times, 0, num_lanes * sizeof *times, times);
    free(times);
    return status;
}

static eqf_status open(vjp *v, size_t batch_size) {
    eqf_flow *flow = v->flow;
    eqf_context *ctx = flow->ctx;
    const eqf__field *field = flow->field;
    const size_t count = batch_size < flow->batch.chunk_size ? batch_size : flow->batch.chunk_size;
    const size_t lanes = eqf__solver_blocks(flow->solver, count) * flow->vector_width, numbers = lanes * sizeof(float);
    EQF__TRY(field->batched != NULL ? open_batched(v) : field->any_time != NULL ? open_any_time(v) : open_stage(v));
    const struct {
        cl_mem *buffer;
        size_t num_bytes;
    } needed[] = {{&v->d_adjoint_velocity, numbers * flow->num_dof},
                  {&v->d_adjoint_x, numbers * flow->num_dof},
                  {&v->d_adjoint_divergence, numbers},
                  {&v->d_times, numbers},
                  {&v->d_grad, v->grad_bytes},
                  {&v->d_grad_shared, v->grad_shared_bytes},
                  {&v->d_gradient, field->num_trained * sizeof(float)}};
    for (size_t b = 0; b < sizeof needed / sizeof needed[0]; b++)
        EQF__TRY(eqf__buffer_create(ctx, needed[b].num_bytes, NULL, "the vector-Jacobian product", needed[b].buffer));
    v->h_gradient = eqf__alloc(ctx, field->num_trained, sizeof *v->h_gradient, "the gradient");
    v->sums = eqf__alloc(ctx, field->num_trained, sizeof *v->sums, "the gradient");
    v->h_rows = eqf__alloc(ctx, lanes, flow->num_dof * sizeof *v->h_rows, "the adjoints");
    if (v->h_gradient == NULL || v->sums == NULL || v->h_rows == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    return write_times(v, lanes);
}

/* x, adjoint_velocity [count, N, D]; adjoint_divergence [count] or NULL (zeros, with which a field whose divergence is
 * costly does not compute it). */
static eqf_status run_chunk(vjp *v, size_t first, size_t count, const float *x, const float *adjoint_velocity,
                            const float *adjoint_divergence, float *adjoint_x_out) {
    eqf_flow *flow = v->flow;
    eqf__batch *batch = &flow->batch;
    const size_t blocks = eqf__solver_blocks(flow->solver, count), lanes = blocks * flow->vector_width;
    const size_t numbers = lanes * sizeof(float);
    const eqf__noise noise = {flow->divergence_seed, first};
    memcpy(v->h_rows, adjoint_velocity, count * flow->num_dof * sizeof *v->h_rows);
    memset(v->h_rows + count * flow->num_dof, 0, (lanes - count) * flow->num_dof * sizeof *v->h_rows);
    EQF__TRY(eqf__batch_upload(batch, lanes, eqf__floats(v->h_rows)));
    EQF__TRY(eqf__buffer_copy(flow->ctx, batch->d_x, 0, v->d_adjoint_velocity, 0, numbers * flow->num_dof));
    EQF__TRY(eqf__batch_upload(batch, count, eqf__floats(x)));
    EQF__TRY(eqf__fill_zero(flow->ctx, v->d_adjoint_divergence, numbers));
    if (adjoint_divergence != NULL)
        EQF__TRY(eqf__buffer_write(flow->ctx, v->d_adjoint_divergence, 0, count * sizeof(float), adjoint_divergence));
    EQF__TRY(eqf__fill_zero(flow->ctx, v->d_grad, v->grad_bytes > 0 ? v->grad_bytes : 4));
    EQF__TRY(eqf__fill_zero(flow->ctx, v->d_grad_shared, v->grad_shared_bytes > 0 ? v->grad_shared_bytes : 4));
    EQF__TRY(flow->field->batched != NULL    ? launch_batched(v, &noise, blocks, batch->d_x, adjoint_divergence != NULL)
             : flow->field->any_time != NULL ? launch_any_time(v, blocks, batch->d_x)
                                             : launch_stage(v, blocks, batch->d_x));
    EQF__TRY(eqf__buffer_read(flow->ctx, v->d_gradient, 0, flow->field->num_trained * sizeof(float), v->h_gradient));
    for (size_t i = 0; i < flow->field->num_trained; i++) v->sums[i] += v->h_gradient[i];
    return eqf__batch_download(batch, count, v->d_adjoint_x, eqf__floats(adjoint_x_out));
}

static eqf_status run(vjp *v, size_t batch_size, const float *x, const float *adjoint_velocity,
                      const float *adjoint_divergence, float *adjoint_x_out, float *gradient_out) {
    eqf_flow *flow = v->flow;
    EQF__TRY(open(v, batch_size));
    for (size_t done = 0, count; (count = eqf__batch_next(&flow->batch, batch_size, done)) > 0; done += count) {
        const size_t at = done * flow->num_dof;
        EQF__TRY(eqf__progress(flow->ctx, "velocity", (double)done, (double)batch_size));
        EQF__TRY(run_chunk(v, done, count, x + at, adjoint_velocity + at,
                           adjoint_divergence != NULL ? adjoint_divergence + done : NULL,
                           adjoint_x_out != NULL ? adjoint_x_out + at : NULL));
    }
    for (size_t i = 0; i < flow->field->num_trained && gradient_out != NULL; i++) gradient_out[i] = (float)v->sums[i];
    return EQF_OK;
}

eqf_status eqf__flow_velocity_vjp(eqf_flow *flow, double t, size_t batch_size, const float *x,
                                  const float *adjoint_velocity, const float *adjoint_divergence, float *adjoint_x_out,
                                  float *gradient_out) {
    vjp v = {.flow = flow, .t = t};
    const eqf_status status = run(&v, batch_size, x, adjoint_velocity, adjoint_divergence, adjoint_x_out, gradient_out);
    clear(&v);
    return status;
}

eqf_status eqf__flow_vjp_programs(eqf_flow *flow, eqf__program **field_out, eqf__program **own_out) {
    eqf__field *field = flow->field;
    *own_out = NULL;
    if (field->batched != NULL) {
        *field_out = field->batched->program;
        return EQF_OK;
    }
    EQF__TRY(field->any_time != NULL ? any_time_program(flow, own_out) : stage_program(flow, own_out));
    if (field->stage != NULL && field->stage->prepare_gradient != NULL) EQF__TRY(field->stage->prepare_gradient(field));
    *field_out = field->any_time != NULL ? field->any_time->program : field->stage->gradient_program;
    return EQF_OK;
}
