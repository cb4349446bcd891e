/* Flows in double precision against the double reference: what certifies must be right to rounding. Skipped where
 * the device has no fp64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const double tolerance = 1e-9; /* nats and lengths, relative above 1 */

static bool skips_without_fp64(eqf_context *ctx, const eqf_model *model) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    if (device.has_fp64) return false;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    eqf_flow *flow;
    assert_int_equal(eqf_flow_create(ctx, model, &options, &flow), EQF_ERROR_UNSUPPORTED);
    assert_null(flow);
    assert_non_null(strstr(eqf_context_error(ctx), "has no double precision (fp64)"));
    print_message("skipped: %s has no fp64\n", device.name);
    return true;
}

static eqf_model *make_model(eqf_context *ctx, const test_system *system) {
    eqf_model_options options = test_model_options(system);
    options.integrator.num_steps = 5;
    options.prior_scale = 0.7;
    return test_trained_like_model(ctx, system, &options, 11);
}

static eqf_flow *make_flow(eqf_context *ctx, const eqf_model *model) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    return flow;
}

static void test_against_reference(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const size_t batches[] = {1, 7, 19};
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = &test_systems[s];
        const size_t num_dof = (size_t)system->num_particles * system->space_dim;
        eqf_model *model = make_model(ctx, system);
        if (skips_without_fp64(ctx, model)) {
            eqf_model_destroy(&model);
            skip();
        }
        eqf_flow *flow = make_flow(ctx, model);
        ref_radial *radial = ref_radial_from_model(model);
        ref_flow reference = {radial, system->num_particles, system->space_dim, 5, 0.7};
        test_worst worst = TEST_WORST_INIT(tolerance);
        for (size_t i = 0; i < sizeof batches / sizeof batches[0]; ++i) {
            const size_t batch = num_dof > 30 && batches[i] > 7 ? 3 : batches[i]; /* the reference is slow */
            float *rows = test_configurations(system, batch, 3 + i);
            double *x = test_to_double(batch * num_dof, rows), *log_prob = calloc(batch, sizeof *log_prob);
            double *sample = calloc(batch * num_dof, sizeof *sample), *expected = calloc(num_dof, sizeof *expected);
            for (size_t b = 0; b < batch; ++b) {
                test_center(system->num_particles, system->space_dim, x + b * num_dof);
                for (size_t c = 0; c < num_dof; ++c) x[b * num_dof + c] += 0.25; /* centred first */
            }
            TEST_OK(ctx, eqf_flow_log_prob_double(flow, batch, x, log_prob, sample));
            for (size_t b = 0; b < batch; ++b) {
                test_center(system->num_particles, system->space_dim, x + b * num_dof);
                const double value = ref_log_prob(&reference, x + b * num_dof, NULL);
                test_compare(&worst, b, fabs(log_prob[b] - value) / fmax(1.0, fabs(value)));
                ref_transform(&reference, EQF_DATA_TO_PRIOR, x + b * num_dof, expected, NULL);
                for (size_t c = 0; c < num_dof; ++c)
                    test_compare(&worst, b, fabs(sample[b * num_dof + c] - expected[c]) / fmax(1.0, fabs(expected[c])));
            }
            const uint64_t seed = 0x123456789abcull, first = 0xfffffffdull; /* the counter carries */
            TEST_OK(ctx, eqf_flow_sample_double(flow, seed, first, batch, sample, log_prob));
            double *z = calloc(num_dof, sizeof *z);
            for (size_t b = 0; b < batch; ++b) {
                test_latents(system->num_particles, system->space_dim, 0.7, seed, first + b, z);
                const double prior = ref_prior_log_prob(system->num_particles, system->space_dim, 0.7, z);
                const double value = prior - ref_transform(&reference, EQF_PRIOR_TO_DATA, z, expected, NULL);
                test_compare(&worst, b, fabs(log_prob[b] - value) / fmax(1.0, fabs(value)));
                for (size_t c = 0; c < num_dof; ++c)
                    test_compare(&worst, b, fabs(sample[b * num_dof + c] - expected[c]) / fmax(1.0, fabs(expected[c])));
            }
            free(z);
            free(expected);
            free(sample);
            free(log_prob);
            free(x);
            free(rows);
        }
        is_good &= test_report(&worst, "%s: log-densities, latents and samples in double", system->name);
        ref_radial_destroy(radial);
        eqf_flow_destroy(&flow);
        eqf_model_destroy(&model);
    }
    assert_true(is_good);
}

/* The float calls of a flow in double round at the end, and both agree with the float flow. */
static void test_float_calls(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    enum { BATCH = 11, DOF = 8 };
    eqf_model *model = make_model(ctx, system);
    if (skips_without_fp64(ctx, model)) {
        eqf_model_destroy(&model);
        skip();
    }
    eqf_flow *wide = make_flow(ctx, model), *narrow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &narrow));
    float *x = test_configurations(system, BATCH, 5), a[BATCH * DOF], b[BATCH * DOF], value_a[BATCH], value_b[BATCH];
    test_worst worst = TEST_WORST_INIT(1e-4);
    TEST_OK(ctx, eqf_flow_log_prob(wide, BATCH, x, value_a, a));
    TEST_OK(ctx, eqf_flow_log_prob(narrow, BATCH, x, value_b, b));
    for (size_t i = 0; i < BATCH; ++i) test_compare(&worst, i, fabs(value_a[i] - value_b[i]));
    for (size_t i = 0; i < BATCH * DOF; ++i) test_compare(&worst, i, fabs(a[i] - b[i]));
    TEST_OK(ctx, eqf_flow_transform(wide, EQF_PRIOR_TO_DATA, BATCH, x, a, value_a));
    TEST_OK(ctx, eqf_flow_transform(narrow, EQF_PRIOR_TO_DATA, BATCH, x, b, value_b));
    for (size_t i = 0; i < BATCH; ++i) test_compare(&worst, i, fabs(value_a[i] - value_b[i]));
    TEST_OK(ctx, eqf_flow_velocity(wide, 0.3, BATCH, x, a, value_a));
    TEST_OK(ctx, eqf_flow_velocity(narrow, 0.3, BATCH, x, b, value_b));
    for (size_t i = 0; i < BATCH * DOF; ++i) test_compare(&worst, i, fabs(a[i] - b[i]));
    TEST_OK(ctx, eqf_flow_sample(wide, 9, 4, BATCH, a, value_a));
    TEST_OK(ctx, eqf_flow_sample(narrow, 9, 4, BATCH, b, value_b));
    for (size_t i = 0; i < BATCH * DOF; ++i) test_compare(&worst, i, fabs(a[i] - b[i]));
    assert_true(test_report(&worst, "double against float"));

    /* One that is not finite touches only itself. */
    x[3 * DOF] = NAN;
    TEST_OK(ctx, eqf_flow_log_prob(wide, BATCH, x, value_b, NULL));
    for (size_t i = 0; i < BATCH; ++i) assert_int_equal(isfinite(value_b[i]) != 0, i != 3);
    TEST_OK(ctx, eqf_flow_log_prob(wide, 0, x, value_b, NULL));

    /* What there is not is refused. */
    double d_x[DOF], d_log_prob;
    eqf_loss loss = EQF_LOSS_INIT;
    assert_int_equal(eqf_flow_sample_double(narrow, 1, 0, 1, d_x, &d_log_prob), EQF_ERROR_UNSUPPORTED);
    assert_int_equal(eqf_flow_nll_gradient(wide, 0.0, 1, x, &loss, NULL, NULL), EQF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(eqf_context_error(ctx), "no gradients"));
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    options.method = EQF_INTEGRATOR_DOPRI5;
    eqf_flow *flow;
    assert_int_equal(eqf_flow_create(ctx, model, &options, &flow), EQF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(eqf_context_error(ctx), "for RK4"));
    free(x);
    eqf_flow_destroy(&wide);
    eqf_flow_destroy(&narrow);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_float_calls),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
