/* The flow on the program's own buffers (eqflow/opencl.h). */
#include "eqflow/opencl.h"
#include "solve.h"

/* Checks that the buffer belongs to the flow's context and holds `count` items from `offset` on. NULL is allowed. */
static eqf_status check_buffer(const eqf_flow *flow, const char *name, cl_mem buffer, size_t item_numbers,
                               size_t offset, size_t count) {
    eqf_context *ctx = flow->ctx;
    if (buffer == NULL) return EQF_OK;
    size_t num_bytes = 0;
    cl_context owner = NULL;
    if (clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof num_bytes, &num_bytes, NULL) != CL_SUCCESS ||
        clGetMemObjectInfo(buffer, CL_MEM_CONTEXT, sizeof owner, &owner, NULL) != CL_SUCCESS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s is no OpenCL buffer", name);
    if (owner != ctx->device->context)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s is a buffer of another OpenCL context", name);
    const size_t room = num_bytes / (item_numbers * flow->solver->real.size);
    if (offset > room || count > room - offset)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s has room for %zu samples, fewer than the %zu from %zu on",
                         name, room, count, offset);
    return EQF_OK;
}

/* Copies one chunk's rows or numbers to the program's buffer, from index `first` on. */
static eqf_status give_rows(eqf_flow *flow, size_t count, cl_mem d_blocked, size_t first, cl_mem rows_out) {
    if (rows_out == NULL) return EQF_OK;
    const size_t row = flow->num_dof * flow->solver->real.size;
    EQF__TRY(eqf__batch_unpack(&flow->batch, count, d_blocked, flow->batch.d_rows));
    return eqf__buffer_copy(flow->ctx, flow->batch.d_rows, 0, rows_out, first * row, count * row);
}

static eqf_status give_numbers(eqf_flow *flow, size_t count, cl_mem d_numbers, size_t first, cl_mem numbers_out) {
    const size_t size = flow->solver->real.size;
    return numbers_out == NULL ? EQF_OK
                               : eqf__buffer_copy(flow->ctx, d_numbers, 0, numbers_out, first * size, count * size);
}

eqf_status eqf_flow_sample_opencl(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples, cl_mem x,
                                  cl_mem log_prob, size_t offset) {
    EQF__NOT_NULL(NULL, flow);
    if (num_samples > 0) EQF__NOT_NULL(flow->ctx, x);
    EQF__TRY(check_buffer(flow, "x", x, flow->num_dof, offset, num_samples));
    EQF__TRY(check_buffer(flow, "log_prob", log_prob, 1, offset, num_samples));
    eqf__batch *batch = &flow->batch;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, num_samples, done)) > 0; done += count) {
        EQF__TRY(eqf__progress(flow->ctx, "sample", (double)done, (double)num_samples));
        EQF__TRY(eqf__flow_launch_sample(flow, seed, first_sample + done, count));
        EQF__TRY(give_rows(flow, count, batch->d_x, offset + done, x));
        EQF__TRY(give_numbers(flow, count, flow->d_log_prob, offset + done, log_prob));
    }
    return EQF_OK;
}

eqf_status eqf_flow_log_prob_opencl(eqf_flow *flow, uint64_t first, size_t batch_size, cl_mem x, cl_mem log_prob,
                                    cl_mem z, size_t offset) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x);
    EQF__TRY(check_buffer(flow, "x", x, flow->num_dof, offset, batch_size));
    EQF__TRY(check_buffer(flow, "log_prob", log_prob, 1, offset, batch_size));
    EQF__TRY(check_buffer(flow, "z", z, flow->num_dof, offset, batch_size));
    eqf__batch *batch = &flow->batch;
    const size_t row = flow->num_dof * flow->solver->real.size;
    for (size_t done = 0, count; (count = eqf__batch_next(batch, batch_size, done)) > 0; done += count) {
        const eqf__noise noise = {flow->divergence_seed, first + done};
        EQF__TRY(eqf__progress(flow->ctx, "log-prob", (double)done, (double)batch_size));
        EQF__TRY(eqf__buffer_copy(flow->ctx, x, (offset + done) * row, batch->d_rows, 0, count * row));
        EQF__TRY(eqf__batch_pack(batch, count, batch->d_rows, batch->d_x));
        EQF__TRY(eqf__prior_centre(&flow->prior, eqf__solver_blocks(flow->solver, count), batch->d_x));
        EQF__TRY(eqf__flow_launch_log_prob(flow, &noise, count, batch->d_x, flow->d_log_det, flow->d_log_prob));
        EQF__TRY(give_numbers(flow, count, flow->d_log_prob, offset + done, log_prob));
        EQF__TRY(give_rows(flow, count, batch->d_x, offset + done, z));
    }
    return EQF_OK;
}
