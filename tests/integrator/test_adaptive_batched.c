/* Dormand-Prince 5(4) and the continuous adjoint of fields that are evaluated batch by batch: against RK4 and the
 * gradient of its flow with many steps (which tests/dynamics/test_dense.c holds against the double-precision
 * formula). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "solve.h"
#include "support.h"

typedef struct dense_case {
    const char *system;
    unsigned width, depth;
    eqf_activation activation;
    eqf_divergence divergence;
    size_t batch_size;
    double gain; /* of the weights: faster fields need more steps and reject some */
} dense_case;

static const dense_case cases[] = {
    {"dw4", 13, 2, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 19, 1.0},
    {"dw2", 16, 1, EQF_ACTIVATION_SILU, EQF_DIVERGENCE_EXACT, 1, 1.0},
    {"line3", 7, 3, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_RADEMACHER, 9, 1.0},
    {"dw4", 13, 2, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 11, 2.5},
};

static eqf_model *model_of(eqf_context *ctx, const dense_case *c, uint64_t seed) {
    eqf_model_options options = test_model_options(test_system_named(c->system));
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = c->width;
    options.dynamics.depth = c->depth;
    options.dynamics.activation = c->activation;
    options.prior_scale = 1.3;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    float *params = test_floats(eqf_model_num_params(model));
    test_rng rng = {seed};
    for (size_t s = 0; s < eqf_model_num_slices(model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(model, s);
        double scale = slice->num_dims == 2 ? c->gain / sqrt((double)slice->shape[1]) : 0.3;
        for (size_t n = 0; n < slice->count; ++n) params[slice->offset + n] = (float)(scale * test_normal(&rng));
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

static eqf_flow *flow_of(eqf_context *ctx, const eqf_model *model, const dense_case *c, eqf_integrator_method method) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = method;
    options.num_steps = 100;
    options.divergence = c->divergence;
    options.divergence_seed = 5;
    options.adaptive.rtol = 1e-6;
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

static bool check(const dense_case *c, uint64_t seed) {
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named(c->system);
    size_t num_dof = (size_t)system->num_particles * system->space_dim, num_coordinates = c->batch_size * num_dof;
    eqf_model *model = model_of(ctx, c, seed);
    size_t num_trained = eqf_model_num_trained(model);
    float *x = test_configurations(system, c->batch_size, seed + 1), *z = test_output(num_coordinates);
    float *expected_z = test_output(num_coordinates), *log_prob = test_output(c->batch_size);
    float *expected = test_output(c->batch_size), *gradient = test_output(num_trained);
    float *expected_gradient = test_output(num_trained), *by_x = test_output(num_coordinates);
    float *expected_by_x = test_output(num_coordinates);
    eqf_loss loss = EQF_LOSS_INIT, expected_loss = EQF_LOSS_INIT;
    eqf_flow *flow = flow_of(ctx, model, c, EQF_INTEGRATOR_RK4);
    TEST_OK(ctx, eqf_flow_log_prob(flow, c->batch_size, x, expected, expected_z));
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, c->batch_size, x, &expected_loss, expected_gradient, expected_by_x));
    eqf_flow_destroy(&flow);
    flow = flow_of(ctx, model, c, EQF_INTEGRATOR_DOPRI5);
    TEST_OK(ctx, eqf_flow_log_prob(flow, c->batch_size, x, log_prob, z));
    test_output_end(num_coordinates, z);
    eqf_step_statistics statistics = EQF_STEP_STATISTICS_INIT;
    eqf_flow_step_statistics(flow, &statistics);
    test_worst of_log_prob = TEST_WORST_INIT(1e-4), of_z = TEST_WORST_INIT(1e-4);
    for (size_t b = 0; b < c->batch_size; ++b) test_compare(&of_log_prob, b, fabs(log_prob[b] - expected[b]));
    for (size_t n = 0; n < num_coordinates; ++n) test_compare(&of_z, n / num_dof, fabs(z[n] - expected_z[n]));
    print_message("%s width %u depth %u: %d to %d steps, %d rejected in all\n", c->system, c->width, c->depth,
                  (int)statistics.accepted.min, (int)statistics.accepted.max, (int)statistics.rejected.total);
    bool is_good = test_report(&of_log_prob, "  log_prob against RK4 with 100 steps");
    is_good &= test_report(&of_z, "  latents");
    is_good &= statistics.num_samples == c->batch_size && statistics.num_failed == 0 && statistics.accepted.min > 1;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, c->batch_size, x, &loss, gradient, by_x));
    double of_gradient = relative(num_trained, gradient, expected_gradient);
    double of_x = relative(num_coordinates, by_x, expected_by_x);
    print_message("  OTD: nll %+.1e, gradient %.1e off, state %.1e\n", loss.nll - expected_loss.nll, of_gradient, of_x);
    if (c->gain > 1.0) is_good &= statistics.rejected.total > 0;
    is_good &= of_gradient <= 1e-3 && of_x <= 1e-3;
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    float *arrays[] = {x, z, expected_z, log_prob, expected, gradient, expected_gradient, by_x, expected_by_x};
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; ++a) free(arrays[a]);
    return is_good;
}

static void test_against_rk4(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c) is_good &= check(cases + c, 300 + 10 * c);
    assert_true(is_good);
}

/* A bad sample becomes NaN alone; the others keep their bits, and their steps. The field at any time is asked for as
 * such. */
static void test_independence(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const dense_case *c = cases;
    const test_system *system = test_system_named(c->system);
    eqf_model *model = model_of(ctx, c, 400);
    eqf_flow *flow = flow_of(ctx, model, c, EQF_INTEGRATOR_DOPRI5);
    enum { BATCH = 19, DOF = 8 };
    float *x = test_configurations(system, BATCH, 401), z[BATCH * DOF], again[BATCH * DOF];
    float log_prob[BATCH], log_prob_again[BATCH], back[BATCH * DOF], log_det[BATCH];
    TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH, x, log_prob, z));
    TEST_OK(ctx, eqf_flow_transform(flow, EQF_PRIOR_TO_DATA, BATCH, z, back, log_det));
    test_worst of_trip = TEST_WORST_INIT(1e-4);
    for (size_t n = 0; n < BATCH * DOF; ++n) test_compare(&of_trip, n / DOF, fabs(back[n] - x[n]));
    assert_true(test_report(&of_trip, "round trip"));
    TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH - 3, x + 3 * DOF, log_prob_again, again));
    assert_memory_equal(again, z + 3 * DOF, (BATCH - 3) * DOF * sizeof *z);
    assert_memory_equal(log_prob_again, log_prob + 3, (BATCH - 3) * sizeof *log_prob);
    x[9 * DOF + 1] = NAN;
    eqf_flow_reset_step_statistics(flow);
    TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH, x, log_prob_again, again));
    eqf_step_statistics statistics = EQF_STEP_STATISTICS_INIT;
    eqf_flow_step_statistics(flow, &statistics);
    assert_int_equal(statistics.num_failed, 1);
    for (size_t b = 0; b < BATCH; ++b) {
        if (b == 9)
            assert_true(isnan(log_prob_again[b]) && isnan(again[b * DOF]));
        else
            assert_true(!memcmp(again + b * DOF, z + b * DOF, DOF * sizeof *z) && log_prob_again[b] == log_prob[b]);
    }
    TEST_OK(ctx, eqf_flow_velocity(flow, 0.3141, 9, x, again, log_det));
    assert_true(isfinite(again[0]) && isfinite(log_det[0]));
    TEST_OK(ctx, eqf_flow_log_prob(flow, 0, x, log_prob_again, NULL));
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_rk4),
        cmocka_unit_test(test_independence),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
