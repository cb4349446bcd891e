/* Discretise, then optimise: the loss and the exact gradient of the discretised flow (Koehler, Klein and Noe, ICML 2020). */
#include <math.h>
#include <string.h>

#include "eqflow/flow.h"
#include "flow_internal.h"

eqf_status eqf__gradient_workspace_create(eqf_flow *flow, size_t batch_size, eqf__gradient_workspace *workspace_out) {
    eqf_context *ctx = flow->ctx;
    eqf__gradient_workspace *w = workspace_out;
    memset(w, 0, sizeof *w);
    const eqf__field *field = flow->field;
    w->max_blocks = (batch_size + flow->vector_width - 1) / flow->vector_width;
    if (w->max_blocks == 0) w->max_blocks = 1;
    w->num_partials = flow->num_partials;
    w->grad_stages_count = w->num_partials * field->num_stages * field->grad_stage_size;
    w->grad_shared_count = w->num_partials * field->grad_shared_size;
    const size_t numbers = w->max_blocks * flow->vector_width * sizeof(float), state = numbers * flow->num_dof;
    const struct {
        cl_mem *buffer;
        size_t num_bytes;
        const char *what;
    } needed[] = {
        {&w->d_x, state, "the batch"},
        {&w->d_adjoint_x, state, "the adjoint"},
        {&w->d_checkpoints, state * flow->num_steps, "the trajectory checkpoints"},
        {&w->d_log_det, numbers, "the log-densities"},
        {&w->d_adjoint_log_det, numbers, "the log-densities"},
        {&w->d_weight, numbers, "the weights"},
        {&w->d_nll, numbers, "the losses"},
        {&w->d_error, numbers, "the losses"},
        {&w->d_grad_stages, w->grad_stages_count * sizeof(float), "the partial gradients"},
        {&w->d_grad_shared, w->grad_shared_count * sizeof(float), "the partial gradients"},
        {&w->d_gradient, field->num_trained * sizeof(float), "the gradient"},
        {&w->d_sums, 2 * sizeof(float), "the loss"},
    };
    for (size_t b = 0; b < sizeof needed / sizeof needed[0]; b++) {
        eqf_status status = eqf__buffer_create(ctx, needed[b].num_bytes, NULL, needed[b].what, needed[b].buffer);
        if (status != EQF_OK) {
            eqf__gradient_workspace_clear(w);
            return status;
        }
    }
    return EQF_OK;
}

void eqf__gradient_workspace_clear(eqf__gradient_workspace *workspace) {
    cl_mem *buffers[] = {&workspace->d_x,           &workspace->d_adjoint_x, &workspace->d_checkpoints,
                         &workspace->d_log_det,     &workspace->d_weight,    &workspace->d_adjoint_log_det,
                         &workspace->d_nll,         &workspace->d_error,     &workspace->d_grad_stages,
                         &workspace->d_grad_shared, &workspace->d_gradient,  &workspace->d_sums};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    memset(workspace, 0, sizeof *workspace);
}

eqf_status eqf__flow_launch_gradient(eqf_flow *flow, eqf__gradient_workspace *w, size_t batch_size,
                                     double integration_penalty) {
    eqf_context *ctx = flow->ctx;
    const eqf__prior *prior = &flow->prior;
    cl_uint batch = (cl_uint)batch_size, blocks = (cl_uint)((batch_size + flow->vector_width - 1) / flow->vector_width);
    EQF__TRY(eqf__fill_zero(ctx, w->d_log_det, blocks * flow->vector_width * sizeof(float)));
    EQF__TRY(eqf__fill_zero(ctx, w->d_grad_stages, w->grad_stages_count * sizeof(float)));
    EQF__TRY(eqf__fill_zero(ctx, w->d_grad_shared, w->grad_shared_count * sizeof(float)));
    EQF__TRY(
        eqf__trajectory_solve(&flow->trajectory, EQF_DATA_TO_PRIOR, blocks, w->d_x, w->d_log_det, w->d_checkpoints));
    EQF__TRY(EQF__LAUNCH(ctx, &prior->seed, blocks, 0, EQF__ARG(w->d_x), EQF__ARG(w->d_log_det),
                         EQF__ARG(w->d_adjoint_x), EQF__ARG(w->d_adjoint_log_det), EQF__ARG(w->d_weight),
                         EQF__ARG(w->d_nll), EQF__ARG(w->d_error), EQF__ARG(prior->scale),
                         EQF__ARG(prior->constant_term), EQF__ARG(batch), EQF__ARG(blocks)));
    const eqf__trajectory_gradient gradient = {w->d_checkpoints, w->d_adjoint_x,  w->d_adjoint_log_det,
                                               w->d_weight,      w->d_error,      w->d_grad_stages,
                                               w->d_grad_shared, w->num_partials, (float)integration_penalty};
    EQF__TRY(eqf__trajectory_reverse(&flow->trajectory, EQF_DATA_TO_PRIOR, blocks, &gradient));
    EQF__TRY(EQF__LAUNCH(ctx, &prior->loss_sums, 1, 0, EQF__ARG(w->d_nll), EQF__ARG(w->d_error), EQF__ARG(w->d_weight),
                         EQF__ARG(w->d_sums), EQF__ARG(blocks)));
    return flow->field->contract(flow->field, w->d_grad_stages, w->d_grad_shared, w->num_partials, w->d_gradient);
}

eqf_status eqf_flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size, const float *x,
                                 eqf_loss *loss_out, float *gradient_out, float *adjoint_x_out) {
    eqf_context *ctx = flow->ctx;
    if (batch_size == 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the mean loss of an empty batch is undefined");
    if (batch_size > 0x7fffffff / flow->num_dof)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%zu configurations are too many for one gradient",
                         batch_size);
    if (!(integration_penalty >= 0) || !isfinite(integration_penalty))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the integration penalty must be a number >= 0");
    const size_t blocks = (batch_size + flow->vector_width - 1) / flow->vector_width;
    eqf__gradient_workspace *w = &flow->workspace;
    if (w->max_blocks < blocks) {
        eqf__gradient_workspace_clear(w);
        EQF__TRY(eqf__gradient_workspace_create(flow, batch_size, w));
    }
    const size_t num_bytes = batch_size * flow->num_dof * sizeof(float);
    cl_mem d_rows;
    EQF__TRY(eqf__buffer_create(ctx, num_bytes, x, "the batch", &d_rows));
    eqf_status status = eqf__prior_pack(&flow->prior, batch_size, d_rows, w->d_x);
    if (status == EQF_OK) status = eqf__prior_centre(&flow->prior, blocks, w->d_x);
    if (status == EQF_OK) status = eqf__flow_launch_gradient(flow, w, batch_size, integration_penalty);
    float sums[2] = {0, 0};
    if (status == EQF_OK) status = eqf__buffer_read(ctx, w->d_sums, 0, sizeof sums, sums);
    if (status == EQF_OK && gradient_out != NULL)
        status = eqf__buffer_read(ctx, w->d_gradient, 0, flow->field->num_trained * sizeof(float), gradient_out);
    if (status == EQF_OK && adjoint_x_out != NULL) {
        status = eqf__prior_unpack(&flow->prior, batch_size, w->d_adjoint_x, d_rows);
        if (status == EQF_OK) status = eqf__buffer_read(ctx, d_rows, 0, num_bytes, adjoint_x_out);
    }
    eqf__buffer_destroy(&d_rows);
    if (status == EQF_OK && loss_out != NULL) {
        loss_out->nll = sums[0];
        loss_out->integration_error = sums[1];
        loss_out->loss = sums[0] + integration_penalty * sums[1];
    }
    return status;
}
