/* Public calls of flows that build or check first: build, check, solve. Calls that need no check are in src/solve. */
#include "eqflow/flow.h"

#include <math.h>

#include "check.h"
#include "solve.h"

static eqf_status check_values(eqf_flow *flow) {
    eqf__checker checker = eqf__checker_of(flow->ctx);
    return eqf__check_flow(&checker, flow, EQF__ANSWERS_OF_VALUES);
}

static eqf_status check_gradients(eqf_flow *flow) {
    eqf__checker checker = eqf__checker_of(flow->ctx);
    return eqf__check_flow(&checker, flow, EQF__ANSWERS_OF_GRADIENTS);
}

eqf_status eqf_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, flow_out);
    *flow_out = NULL;
    EQF__NOT_NULL(ctx, model);
    eqf_flow_options copy = EQF_FLOW_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_FLOW_OPTIONS_INIT, options, &copy));
    eqf_flow *flow;
    EQF__TRY(eqf__flow_build(ctx, model, &copy, &flow));
    const eqf_status status = check_values(flow);
    if (status != EQF_OK)
        eqf_flow_destroy(&flow);
    else
        *flow_out = flow;
    return status;
}

eqf_status eqf_flow_set_params(eqf_flow *flow, const float *params) {
    EQF__NOT_NULL(NULL, flow);
    EQF__NOT_NULL(flow->ctx, params);
    bool has_changed;
    EQF__TRY(eqf__flow_set_params(flow, params, &has_changed));
    return has_changed ? check_values(flow) : EQF_OK;
}

eqf_status eqf_flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size, const float *x,
                                 eqf_loss *loss_out, float *gradient_out, float *adjoint_x_out) {
    EQF__NOT_NULL(NULL, flow);
    EQF__NOT_NULL(flow->ctx, x);
    if (loss_out != NULL) EQF__TRY(EQF__CHECK_SIZE(flow->ctx, EQF_LOSS_INIT, loss_out));
    EQF__TRY(check_gradients(flow));
    eqf_loss loss = EQF_LOSS_INIT;
    EQF__TRY(eqf__flow_nll_gradient(flow, integration_penalty, batch_size, x, &loss, gradient_out, adjoint_x_out));
    return loss_out != NULL ? EQF__WRITE(flow->ctx, EQF_LOSS_INIT, &loss, loss_out) : EQF_OK;
}

/* Checks the arguments of the energy-based loss. */
static eqf_status check_arguments(const eqf_flow *flow, const eqf_potential_options *target, double energy_cap) {
    eqf_context *ctx = flow->ctx;
    EQF__TRY(eqf_potential_check(ctx, target));
    if ((size_t)target->num_particles * target->space_dim != flow->num_dof)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the target has %u particles in %u dimensions, the flow %zu coordinates",
                         target->num_particles, target->space_dim, flow->num_dof);
    if (isnan(energy_cap) || energy_cap == -INFINITY)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the energy cap must be a number (infinity: none)");
    return EQF_OK;
}

eqf_status eqf_flow_energy_gradient(eqf_flow *flow, const eqf_potential_options *target, double energy_cap,
                                    double integration_penalty, size_t batch_size, const float *z,
                                    eqf_energy_loss *loss_out, float *gradient_out) {
    EQF__NOT_NULL(NULL, flow);
    eqf_context *ctx = flow->ctx;
    EQF__NOT_NULL(ctx, z);
    if (loss_out != NULL) EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_ENERGY_LOSS_INIT, loss_out));
    EQF__TRY(check_arguments(flow, target, energy_cap));
    EQF__TRY(check_gradients(flow));
    eqf__kernel energy_seed = {0};
    eqf__checker checker = eqf__checker_of(ctx);
    eqf_energy_loss loss = EQF_ENERGY_LOSS_INIT;
    eqf_status status = eqf__energy_seed_create(ctx, target, &energy_seed);
    if (status == EQF_OK) status = eqf__check_energy_seed(&checker, target, &energy_seed);
    if (status == EQF_OK)
        status = eqf__flow_energy_gradient(flow, &energy_seed, energy_cap, integration_penalty, batch_size, z, &loss,
                                           gradient_out);
    eqf__kernel_destroy(&energy_seed);
    if (status != EQF_OK || loss_out == NULL) return status;
    return EQF__WRITE(ctx, EQF_ENERGY_LOSS_INIT, &loss, loss_out);
}

eqf_status eqf_flow_velocity_vjp(eqf_flow *flow, double t, size_t batch_size, const float *x,
                                 const float *adjoint_velocity, const float *adjoint_divergence, float *adjoint_x_out,
                                 float *gradient_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, x);
    if (batch_size > 0) EQF__NOT_NULL(flow->ctx, adjoint_velocity);
    if (eqf__is_double(&flow->solver->real))
        return eqf__fail(flow->ctx, EQF_ERROR_UNSUPPORTED,
                         "a flow in double precision has no gradients: use float32 for them");
    EQF__TRY(flow->solver->verbs->check_time(flow->solver, t));
    eqf__checker checker = eqf__checker_of(flow->ctx);
    EQF__TRY(eqf__check_vjp(&checker, flow));
    return eqf__flow_velocity_vjp(flow, t, batch_size, x, adjoint_velocity, adjoint_divergence, adjoint_x_out,
                                  gradient_out);
}
