/* Optimise, then discretise: the continuous adjoint's gradient against that of the discretised flow with many steps
 * (which test_gradient.c holds against finite differences). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dopri5.h"
#include "group_layout.h"
#include "solve.h"
#include "support.h"

static const double tolerance = 2e-3; /* of the group's norm; 1e-2 is what the method needs, 2e-4 what was measured */
static const char *const groups[] = {"radial.weights", "radial.bias", "radial.importance", "radial.distance_log_gammas",
                                     "radial.time_log_gammas"};
enum { NUM_GROUPS = 5 };

static eqf_flow *flow_of(eqf_context *ctx, const eqf_model *model, eqf_integrator_method method, double rtol) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = method;
    options.num_steps = 80;
    options.field_evaluation = EQF_FIELD_DIRECT;
    options.adaptive.rtol = rtol;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    return flow;
}

static double relative(size_t count, const float *values, const float *expected) {
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < count; ++i) {
        difference += ((double)values[i] - expected[i]) * ((double)values[i] - expected[i]);
        size += (double)expected[i] * expected[i];
    }
    return isfinite(difference) && size > 0.0 ? sqrt(difference / size) : INFINITY;
}

/* The worst of the five groups. */
static double compare_gradients(const eqf_model *model, const char *what, const float *gradient,
                                const float *expected) {
    double worst = 0.0, errors[NUM_GROUPS];
    for (size_t g = 0; g < NUM_GROUPS; ++g) {
        const eqf_param_slice *slice = NULL;
        for (size_t i = 0; i < eqf_model_num_slices(model); ++i)
            if (!strcmp(eqf_model_slice(model, i)->name, groups[g])) slice = eqf_model_slice(model, i);
        assert_non_null(slice);
        errors[g] = relative(slice->count, gradient + slice->offset, expected + slice->offset);
        if (!(errors[g] <= worst)) worst = errors[g];
    }
    print_message("%s: weights %.1e, bias %.1e, importance %.1e, log-gammas %.1e and %.1e\n", what, errors[0],
                  errors[1], errors[2], errors[3], errors[4]);
    return worst;
}

static bool check_nll(const char *name, size_t batch_size, uint64_t seed) {
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named(name);
    size_t num_coordinates = batch_size * system->num_particles * system->space_dim;
    eqf_model_options options = test_model_options(system);
    options.prior_scale = 1.4;
    eqf_model *model = test_trained_like_model(ctx, system, &options, seed);
    float *x = test_configurations(system, batch_size, seed + 1);
    size_t num_trained = eqf_model_num_trained(model);
    float *discrete = test_output(num_trained), *continuous = test_output(num_trained),
          *again = test_output(num_trained);
    float *by_x = test_output(num_coordinates), *expected_by_x = test_output(num_coordinates);
    eqf_flow *flow = flow_of(ctx, model, EQF_INTEGRATOR_RK4, 0);
    eqf_loss expected = EQF_LOSS_INIT, loss = EQF_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, batch_size, x, &expected, discrete, expected_by_x));
    eqf_flow_destroy(&flow);
    flow = flow_of(ctx, model, EQF_INTEGRATOR_DOPRI5, 1e-6);
    eqf_status status = eqf_flow_nll_gradient(flow, 0.1, batch_size, x, &loss, continuous, by_x);
    if (status == EQF_ERROR_UNSUPPORTED && ctx->device->launch_iterations > 0 && system->num_particles > 5) {
        print_message("%s: %s\n", name, eqf_context_error(ctx));
        skip();
    }
    TEST_OK(ctx, status);
    test_output_end(num_trained, continuous);
    test_output_end(num_coordinates, by_x);
    double worst = compare_gradients(model, name, continuous, discrete);
    double of_x = relative(num_coordinates, by_x, expected_by_x);
    print_message("    batch %zu: nll %+.1e, state %.1e\n", batch_size, loss.nll - expected.nll, of_x);
    bool is_good = worst <= tolerance && of_x <= tolerance && fabs(loss.nll - expected.nll) <= 1e-4 &&
                   loss.integration_error == 0.0 && loss.loss == loss.nll;
    /* Same bits again, however launches are cut. */
    eqf__dopri5_of(flow->solver)->adjoint.turns_per_launch = 1;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, batch_size, x, &loss, again, NULL));
    assert_memory_equal(again, continuous, num_trained * sizeof *again);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
    free(discrete);
    free(continuous);
    free(again);
    free(by_x);
    free(expected_by_x);
    return is_good;
}

static void test_nll(void **state) {
    (void)state;
    bool is_good = check_nll("dw2", 1, 40);
    is_good &= check_nll("dw4", 37, 42);
    is_good &= check_nll("line3", 9, 44);
    is_good &= check_nll("dw5", 7, 46);
    assert_true(is_good);
}

/* A step of which may be more than one launch may take: skipped there (launch_iterations of the profile). */
static void test_nll_of_lj13(void **state) {
    (void)state;
    assert_true(check_nll("lj13", 3, 48));
}

/* The other direction: latents to samples of an energy. */
static void test_energy(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    eqf_model *model = test_trained_like_model(ctx, system, NULL, 51);
    const eqf_potential_options *target = &eqf_model_options_of(model)->potential;
    enum { BATCH = 19 };
    float *z = test_configurations(system, BATCH, 52);
    for (size_t i = 0; i < BATCH * 8; ++i) z[i] *= 0.6f;
    size_t num_trained = eqf_model_num_trained(model);
    float *discrete = test_output(num_trained), *continuous = test_output(num_trained);
    eqf_energy_loss expected = EQF_ENERGY_LOSS_INIT, loss = EQF_ENERGY_LOSS_INIT;
    eqf_flow *flow = flow_of(ctx, model, EQF_INTEGRATOR_RK4, 0);
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, target, 50.0, 0.0, BATCH, z, &expected, discrete));
    eqf_flow_destroy(&flow);
    flow = flow_of(ctx, model, EQF_INTEGRATOR_DOPRI5, 1e-6);
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, target, 50.0, 0.0, BATCH, z, &loss, continuous));
    double worst = compare_gradients(model, "energy of dw4", continuous, discrete);
    print_message("    free energy %.4f, %+.1e\n", loss.free_energy, loss.free_energy - expected.free_energy);
    assert_true(worst <= tolerance && fabs(loss.free_energy - expected.free_energy) <= 1e-3);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(z);
    free(discrete);
    free(continuous);
}

/* More blocks than work-items that own a partial gradient: rounds. One bad sample spoils the mean, and its own
 * adjoint only. */
static void test_rounds_and_edges(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw2");
    eqf_model *model = test_trained_like_model(ctx, system, NULL, 61);
    enum { BATCH = 50, DOF = 4 };
    float *x = test_configurations(system, BATCH, 62), by_x[BATCH * DOF], by_x_again[BATCH * DOF];
    size_t num_trained = eqf_model_num_trained(model);
    float *gradient = test_output(num_trained), *again = test_output(num_trained);
    eqf_loss loss = EQF_LOSS_INIT;
    eqf_flow *flow = flow_of(ctx, model, EQF_INTEGRATOR_DOPRI5, 1e-5);
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, BATCH, x, &loss, gradient, by_x));
    eqf__dopri5_of(flow->solver)->num_partials = 2;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, BATCH, x, &loss, again, by_x_again));
    print_message("2 partial gradients: %.1e off\n", relative(num_trained, again, gradient));
    assert_true(relative(num_trained, again, gradient) < 1e-5);
    assert_memory_equal(by_x, by_x_again, sizeof by_x);
    x[9 * DOF] = NAN;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, BATCH, x, &loss, again, by_x_again));
    assert_true(!isfinite(loss.nll));
    for (size_t b = 0; b < BATCH; ++b)
        if (b != 9) assert_memory_equal(by_x + b * DOF, by_x_again + b * DOF, DOF * sizeof *by_x);
    assert_int_equal(eqf_flow_nll_gradient(flow, 0.0, 0, x, &loss, again, NULL), EQF_ERROR_INVALID_ARGUMENT);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
    free(gradient);
    free(again);
}

TEST_BY_GROUPS(test_nll)
TEST_BY_GROUPS(test_nll_of_lj13)
TEST_BY_GROUPS(test_energy)
TEST_BY_GROUPS(test_rounds_and_edges)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nll),
        cmocka_unit_test(test_nll_of_lj13),
        cmocka_unit_test(test_energy),
        cmocka_unit_test(test_rounds_and_edges),
        cmocka_unit_test(test_nll_by_groups),
        cmocka_unit_test(test_nll_of_lj13_by_groups),
        cmocka_unit_test(test_energy_by_groups),
        cmocka_unit_test(test_rounds_and_edges_by_groups),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
