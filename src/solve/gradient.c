/* Discretise, then optimise: the loss and the exact gradient of the discretised flow (Koehler, Klein and Noe, ICML
 * 2020). */
#include <math.h>
#include <string.h>

#include "eqflow/flow.h"
#include "potential.h"
#include "solve.h"

eqf_status eqf__gradient_workspace_create(eqf_flow *flow, size_t batch_size, eqf__gradient_workspace *workspace_out) {
    eqf_context *ctx = flow->ctx;
    eqf__gradient_workspace *w = workspace_out;
    memset(w, 0, sizeof *w);
    w->max_blocks = eqf__solver_blocks(flow->solver, batch_size);
    if (w->max_blocks == 0) w->max_blocks = 1;
    const size_t numbers = w->max_blocks * flow->vector_width * sizeof(float), state = numbers * flow->num_dof;
    const struct {
        cl_mem *buffer;
        size_t num_bytes;
        const char *what;
    } needed[] = {
        {&w->d_x, state, "the batch"},
        {&w->d_adjoint_x, state, "the adjoint"},
        {&w->d_log_det, numbers, "the log-densities"},
        {&w->d_adjoint_log_det, numbers, "the log-densities"},
        {&w->d_weight, numbers, "the weights"},
        {&w->d_value, numbers, "the losses"},
        {&w->d_error, numbers, "the losses"},
        {&w->d_gradient, flow->field->num_trained * sizeof(float), "the gradient"},
        {&w->d_sums, EQF__NUM_SUMS * sizeof(float), "the loss"},
    };
    eqf_status status = EQF_OK;
    for (size_t b = 0; b < sizeof needed / sizeof needed[0] && status == EQF_OK; b++)
        status = eqf__buffer_create(ctx, needed[b].num_bytes, NULL, needed[b].what, needed[b].buffer);
    if (status == EQF_OK) status = eqf__tape_create(flow->solver, w->max_blocks, &w->tape);
    if (status != EQF_OK) eqf__gradient_workspace_clear(w);
    return status;
}

void eqf__gradient_workspace_clear(eqf__gradient_workspace *workspace) {
    cl_mem *buffers[] = {&workspace->d_x,      &workspace->d_adjoint_x,       &workspace->d_log_det,
                         &workspace->d_weight, &workspace->d_adjoint_log_det, &workspace->d_value,
                         &workspace->d_error,  &workspace->d_gradient,        &workspace->d_sums};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__tape_clear(&workspace->tape);
    memset(workspace, 0, sizeof *workspace);
}

static cl_uint num_blocks_of(const eqf_flow *flow, size_t batch_size) {
    return (cl_uint)eqf__solver_blocks(flow->solver, batch_size);
}

static eqf_status zero_log_det(eqf_flow *flow, const eqf__gradient_workspace *w, size_t batch_size) {
    return eqf__fill_zero(flow->ctx, w->d_log_det,
                          num_blocks_of(flow, batch_size) * flow->vector_width * sizeof(float));
}

/* Solves the batch and stores what the reverse pass needs. */
static eqf_status solve(eqf_flow *flow, const eqf__gradient_workspace *w, eqf_direction direction, size_t batch_size) {
    return flow->solver->verbs->solve(flow->solver, &w->noise, direction, batch_size, w->d_x, w->d_log_det, &w->tape);
}

/* From the start values of the reverse pass to sums and gradient. */
static eqf_status launch_reverse(eqf_flow *flow, eqf__gradient_workspace *w, eqf_direction direction, size_t batch_size,
                                 double integration_penalty, cl_uint place) {
    const eqf__way_back way_back = {.batch_size = batch_size,
                                    .d_x = w->d_x,
                                    .d_adjoint_x = w->d_adjoint_x,
                                    .d_adjoint_log_det = w->d_adjoint_log_det,
                                    .d_weight = w->d_weight,
                                    .d_error = w->d_error,
                                    .penalty = (float)integration_penalty,
                                    .d_gradient = w->d_gradient};
    EQF__TRY(flow->solver->verbs->reverse(flow->solver, &w->noise, direction, &w->tape, &way_back));
    return eqf__prior_sum_losses(&flow->prior, num_blocks_of(flow, batch_size), w->d_value, w->d_error, w->d_weight,
                                 w->d_sums, place);
}

eqf_status eqf__flow_launch_gradient(eqf_flow *flow, eqf__gradient_workspace *w, size_t batch_size,
                                     double integration_penalty) {
    EQF__TRY(zero_log_det(flow, w, batch_size));
    EQF__TRY(solve(flow, w, EQF_DATA_TO_PRIOR, batch_size));
    EQF__TRY(eqf__prior_seed_nll(&flow->prior, batch_size, w->d_x, w->d_log_det, w->d_adjoint_x, w->d_adjoint_log_det,
                                 w->d_weight, w->d_value, w->d_error));
    return launch_reverse(flow, w, EQF_DATA_TO_PRIOR, batch_size, integration_penalty, EQF__SUM_NLL);
}

eqf_status eqf__energy_seed_create(eqf_context *ctx, const eqf_potential_options *target,
                                   eqf__kernel *energy_seed_out) {
    char defines[EQF__POTENTIAL_DEFINES_SIZE + EQF__LOCAL_DEFINE_SIZE];
    EQF__TRY(eqf__potential_program_defines(ctx, target, defines, EQF__POTENTIAL_DEFINES_SIZE));
    /* two configurations: x and force */
    const unsigned group_size = eqf__potential_define_local(ctx, target, 2 * sizeof(float), defines, sizeof defines);
    const char *const files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, target), "potential/energy.cl",
                                 "potential/energy_seed.cl", NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "energy_seed", files, defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "energy_seed", energy_seed_out));
    energy_seed_out->group_size = group_size;
    return EQF_OK;
}

eqf_status eqf__flow_launch_energy_gradient(eqf_flow *flow, const eqf__kernel *energy_seed, eqf__gradient_workspace *w,
                                            size_t batch_size, double energy_cap, double integration_penalty) {
    cl_uint batch = (cl_uint)batch_size, blocks = num_blocks_of(flow, batch_size);
    cl_float cap = (cl_float)energy_cap;
    EQF__TRY(zero_log_det(flow, w, batch_size));
    EQF__TRY(eqf__prior_log_prob(&flow->prior, blocks, w->d_x, w->d_log_det, 0.0, w->d_value));
    EQF__TRY(solve(flow, w, EQF_PRIOR_TO_DATA, batch_size));
    EQF__TRY(EQF__LAUNCH(flow->ctx, energy_seed, blocks, 0, EQF__ARG(w->d_x), EQF__ARG(w->d_log_det),
                         EQF__ARG(w->d_adjoint_x), EQF__ARG(w->d_adjoint_log_det), EQF__ARG(w->d_weight),
                         EQF__ARG(w->d_value), EQF__ARG(w->d_error), EQF__ARG(cap), EQF__ARG(batch), EQF__ARG(blocks)));
    return launch_reverse(flow, w, EQF_PRIOR_TO_DATA, batch_size, integration_penalty, EQF__SUM_FREE_ENERGY);
}

/* Checks the arguments of both gradients, and makes a workspace that is large enough. */
static eqf_status prepare_workspace(eqf_flow *flow, size_t batch_size, double integration_penalty) {
    eqf_context *ctx = flow->ctx;
    if (eqf__is_double(&flow->solver->real))
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                         "a flow in double precision has no gradients: use float32 for them");
    if (batch_size == 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the mean loss of an empty batch is undefined");
    if (batch_size > 0x7fffffff / flow->num_dof)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%zu configurations are too many for one gradient",
                         batch_size);
    if (!(integration_penalty >= 0) || !isfinite(integration_penalty))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the integration penalty must be a number >= 0");
    if (flow->workspace.max_blocks >= num_blocks_of(flow, batch_size)) return EQF_OK;
    eqf__gradient_workspace_clear(&flow->workspace);
    return eqf__gradient_workspace_create(flow, batch_size, &flow->workspace);
}

/* rows [B, N, D] into the workspace, centred; *d_rows_out is a buffer of their size, the caller's. */
static eqf_status upload_batch(eqf_flow *flow, size_t batch_size, const float *rows, cl_mem *d_rows_out) {
    const size_t num_bytes = batch_size * flow->num_dof * sizeof(float);
    EQF__TRY(eqf__buffer_create(flow->ctx, num_bytes, rows, "the batch", d_rows_out));
    eqf_status status = eqf__batch_pack(&flow->batch, batch_size, *d_rows_out, flow->workspace.d_x);
    if (status == EQF_OK)
        status = eqf__prior_centre(&flow->prior, num_blocks_of(flow, batch_size), flow->workspace.d_x);
    if (status != EQF_OK) eqf__buffer_destroy(d_rows_out);
    return status;
}

/* Reads the results of both gradients; gradient_out and adjoint_out may be NULL. */
static eqf_status download_results(eqf_flow *flow, size_t batch_size, cl_mem d_rows, float sums_out[EQF__NUM_SUMS],
                                   float *gradient_out, float *adjoint_out) {
    eqf_context *ctx = flow->ctx;
    const eqf__gradient_workspace *w = &flow->workspace;
    EQF__TRY(eqf__buffer_read(ctx, w->d_sums, 0, EQF__NUM_SUMS * sizeof(float), sums_out));
    if (gradient_out != NULL)
        EQF__TRY(eqf__buffer_read(ctx, w->d_gradient, 0, flow->field->num_trained * sizeof(float), gradient_out));
    if (adjoint_out == NULL) return EQF_OK;
    EQF__TRY(eqf__batch_unpack(&flow->batch, batch_size, w->d_adjoint_x, d_rows));
    return eqf__buffer_read(ctx, d_rows, 0, batch_size * flow->num_dof * sizeof(float), adjoint_out);
}

eqf_status eqf__flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size, const float *x,
                                  eqf_loss *loss_out, float *gradient_out, float *adjoint_x_out) {
    EQF__TRY(prepare_workspace(flow, batch_size, integration_penalty));
    flow->workspace.noise = (eqf__noise){flow->divergence_seed, 0};
    cl_mem d_rows;
    EQF__TRY(upload_batch(flow, batch_size, x, &d_rows));
    float sums[EQF__NUM_SUMS];
    eqf_status status = eqf__flow_launch_gradient(flow, &flow->workspace, batch_size, integration_penalty);
    if (status == EQF_OK) status = download_results(flow, batch_size, d_rows, sums, gradient_out, adjoint_x_out);
    eqf__buffer_destroy(&d_rows);
    if (status != EQF_OK) return status;
    loss_out->nll = sums[EQF__SUM_NLL];
    loss_out->integration_error = sums[EQF__SUM_NLL_ERROR];
    loss_out->loss = loss_out->nll + integration_penalty * loss_out->integration_error;
    return EQF_OK;
}

eqf_status eqf__flow_energy_gradient(eqf_flow *flow, const eqf__kernel *energy_seed, double energy_cap,
                                     double integration_penalty, size_t batch_size, const float *z,
                                     eqf_energy_loss *loss_out, float *gradient_out) {
    EQF__TRY(prepare_workspace(flow, batch_size, integration_penalty));
    flow->workspace.noise = (eqf__noise){flow->divergence_seed, 0};
    cl_mem d_rows;
    EQF__TRY(upload_batch(flow, batch_size, z, &d_rows));
    float sums[EQF__NUM_SUMS];
    eqf_status status = eqf__flow_launch_energy_gradient(flow, energy_seed, &flow->workspace, batch_size, energy_cap,
                                                         integration_penalty);
    if (status == EQF_OK) status = download_results(flow, batch_size, d_rows, sums, gradient_out, NULL);
    eqf__buffer_destroy(&d_rows);
    if (status != EQF_OK) return status;
    loss_out->free_energy = sums[EQF__SUM_FREE_ENERGY];
    loss_out->integration_error = sums[EQF__SUM_FREE_ENERGY_ERROR];
    loss_out->loss = loss_out->free_energy + integration_penalty * loss_out->integration_error;
    return EQF_OK;
}
