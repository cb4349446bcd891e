/* Where a device bounds the loop turns of a launch (launch_iterations of the profile), results do not depend on
 * where launches are cut. A budget that is counted too small is silently wrong on such a device, llvmpipe for one,
 * and a controller of steps hides it: so the same again with half the turns, to the bit. */
#include <stdlib.h>
#include <string.h>

#include "dopri5.h"
#include "eqflow/mcmc.h"
#include "group_layout.h"
#include "rk4.h"
#include "solve.h"
#include "support.h"

enum { BATCH = 5, MOST_DOF = 15, MOST_PARAMS = 2000 };
typedef struct results {
    float log_prob[2][BATCH], z[2][BATCH * MOST_DOF], gradient[2][MOST_PARAMS], chains[BATCH * MOST_DOF];
} results;

/* 0: RK4, 1: Dormand-Prince and its continuous adjoint. */
static void compute(const test_system *system, eqf_field_evaluation evaluation, results *out) {
    eqf_context *ctx = test_context();
    memset(out, 0, sizeof *out);
    float *x = test_configurations(system, BATCH, 71);
    eqf_model *model = test_trained_like_model(ctx, system, NULL, 72);
    assert_true(eqf_model_num_trained(model) <= MOST_PARAMS && system->num_particles * system->space_dim <= MOST_DOF);
    for (int adaptive = 0; adaptive < 2; ++adaptive) {
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.method = adaptive ? EQF_INTEGRATOR_DOPRI5 : EQF_INTEGRATOR_RK4;
        options.field_evaluation = evaluation;
        options.num_steps = 150;
        eqf_flow *flow;
        eqf_loss loss = EQF_LOSS_INIT;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
        TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH, x, out->log_prob[adaptive], out->z[adaptive]));
        TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, BATCH, x, &loss, out->gradient[adaptive], NULL));
        if (adaptive)
            print_message("    tries of a step a launch: %u forward, %u reverse\n",
                          (unsigned)eqf__dopri5_of(flow->solver)->forward.turns_per_launch,
                          (unsigned)eqf__dopri5_of(flow->solver)->adjoint.turns_per_launch);
        else
            print_message("    %s: steps a launch: %zu forward, %zu reverse\n", system->name,
                          eqf__rk4_of(flow->solver)->steps_per_launch, eqf__rk4_of(flow->solver)->reverse_steps);
        eqf_flow_destroy(&flow);
    }
    eqf_mcmc_options chains = EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    float energy[BATCH];
    chains.num_chains = BATCH;
    chains.num_burn_in = 1500;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &eqf_model_options_of(model)->potential, &chains, BATCH, out->chains, energy,
                                 &diagnostics));
    eqf_model_destroy(&model);
    free(x);
}

static void test_cuts(void **state) {
    (void)state;
    const char *const names[] = {"line3", "dw4", "dw5"};
    static results whole, cut;
    eqf_context *ctx = test_context();
    const uint64_t limit = ctx->device->launch_iterations, most = limit > 0 ? limit : 65535;
    for (size_t n = 0; n < sizeof names / sizeof *names; ++n) {
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const test_system *system = test_system_named(names[n]);
            ctx->device->launch_iterations = most;
            compute(system, (eqf_field_evaluation)evaluation, &whole);
            ctx->device->launch_iterations = most / 2;
            compute(system, (eqf_field_evaluation)evaluation, &cut);
            ctx->device->launch_iterations = limit;
            for (int adaptive = 0; adaptive < 2; ++adaptive) {
                assert_memory_equal(whole.log_prob[adaptive], cut.log_prob[adaptive], sizeof cut.log_prob[0]);
                assert_memory_equal(whole.z[adaptive], cut.z[adaptive], sizeof cut.z[0]);
                assert_memory_equal(whole.gradient[adaptive], cut.gradient[adaptive], sizeof cut.gradient[0]);
            }
            assert_memory_equal(whole.chains, cut.chains, sizeof cut.chains);
        }
    }
}

TEST_BY_GROUPS(test_cuts)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cuts), cmocka_unit_test(test_cuts_by_groups)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
