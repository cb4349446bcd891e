/* The exact gradient of the discretised flow against central differences of the double-precision loss. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-3; /* of the group's norm */

static const char *const groups[] = {"radial.weights", "radial.bias", "radial.importance", "radial.distance_log_gammas",
                                     "radial.time_log_gammas"};
enum { NUM_GROUPS = 5 };

static const eqf_param_slice *slice_named(const eqf_model *model, const char *name) {
    for (size_t i = 0; i < eqf_model_num_slices(model); ++i)
        if (!strcmp(eqf_model_slice(model, i)->name, name)) return eqf_model_slice(model, i);
    return NULL;
}

/* Sum of squares of difference and of expected value: one group's relative error. */
typedef struct group_error {
    double difference, expected;
} group_error;

static void add(group_error *group, double value, double expected) {
    group->difference += (value - expected) * (value - expected);
    group->expected += expected * expected;
}

static double relative(const group_error *group) {
    return isfinite(group->difference) ? sqrt(group->difference / group->expected) : INFINITY;
}

static eqf_model_options options_of(const test_gradient_case *c) {
    eqf_model_options options = test_model_options(test_system_named(c->system));
    options.dynamics.num_distance = c->num_distance;
    options.dynamics.num_time = c->num_time;
    options.dynamics.time_gamma = fmax(0.3, 1.0 / c->num_time);
    if (c->num_distance < 50) {
        options.dynamics.layout = EQF_RADIAL_UNIFORM;
        options.dynamics.distance_max = 8.0;
        options.dynamics.distance_gamma = 1.5 * 8.0 / c->num_distance;
    }
    options.integrator.num_steps = c->num_steps;
    options.prior_scale = 1.4;
    return options;
}

/* One flow's loss and gradients against by_param [num_trained] and by_x [B, N, D]; NaN there means not computed. */
static bool compare(eqf_context *ctx, const eqf_model *model, eqf_field_evaluation evaluation, double penalty,
                    size_t batch_size, size_t num_dof, const float *x, const eqf_loss *expected, const double *by_param,
                    const double *by_x) {
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = evaluation;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
    size_t num_trained = eqf_model_num_trained(model), num_coordinates = batch_size * num_dof;
    float *gradient = test_output(num_trained), *adjoint_x = test_output(num_coordinates);
    eqf_loss loss = EQF_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, batch_size, x, &loss, gradient, adjoint_x));
    test_output_end(num_trained, gradient);
    test_output_end(num_coordinates, adjoint_x);
    bool is_good =
        fabs(loss.nll - expected->nll) <= 1e-4 &&
        fabs(loss.integration_error - expected->integration_error) <= 1e-3 * expected->integration_error + 1e-5 &&
        fabs(loss.loss - (loss.nll + penalty * loss.integration_error)) <= 1e-6 * (1.0 + fabs(loss.loss));
    double errors[NUM_GROUPS + 1];
    for (unsigned g = 0; g < NUM_GROUPS; ++g) {
        const eqf_param_slice *slice = slice_named(model, groups[g]);
        group_error group = {0.0, 0.0};
        for (size_t i = slice->offset; i < slice->offset + slice->count; ++i)
            if (!isnan(by_param[i])) add(&group, gradient[i], by_param[i]);
        errors[g] = relative(&group);
    }
    group_error group = {0.0, 0.0};
    for (size_t n = 0; n < num_coordinates; ++n)
        if (!isnan(by_x[n])) add(&group, adjoint_x[n], by_x[n]);
    errors[NUM_GROUPS] = relative(&group);
    print_message(
        "    %-6s nll %+.1e, error %+.1e; gradient: weights %.1e, bias %.1e, importance %.1e, log-gammas %.1e "
        "and %.1e, state %.1e\n",
        evaluation == EQF_FIELD_TABLE ? "table" : "direct", loss.nll - expected->nll,
        loss.integration_error - expected->integration_error, errors[0], errors[1], errors[2], errors[3], errors[4],
        errors[5]);
    for (unsigned g = 0; g <= NUM_GROUPS; ++g) is_good &= errors[g] <= tolerance; /* false for NaN */

    /* Either output alone is the same numbers. */
    float *alone = test_output(num_trained), *adjoint_alone = test_output(num_coordinates);
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, batch_size, x, &loss, alone, NULL));
    assert_memory_equal(alone, gradient, num_trained * sizeof *alone);
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, batch_size, x, &loss, NULL, adjoint_alone));
    assert_memory_equal(adjoint_alone, adjoint_x, num_coordinates * sizeof *alone);
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, batch_size, x, &loss, NULL, NULL));
    assert_true(fabs(loss.nll - expected->nll) <= 1e-4);
    eqf_flow_destroy(&flow);
    free(gradient);
    free(adjoint_x);
    free(alone);
    free(adjoint_alone);
    return is_good;
}

bool test_gradient_check(const test_gradient_case *c, double penalty, double longest, uint64_t seed) {
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named(c->system);
    size_t num_dof = (size_t)system->num_particles * system->space_dim, num_coordinates = c->batch_size * num_dof;
    eqf_model_options options = options_of(c);
    eqf_model *model = test_trained_like_model(ctx, system, &options, seed);
    ref_radial *radial = ref_radial_from_model(model);
    assert_non_null(radial);
    ref_flow reference = {radial, system->num_particles, system->space_dim, c->num_steps, options.prior_scale};
    float *x = test_configurations(system, c->batch_size, seed + 1);
    for (size_t b = 0; longest > 0.0 && b < c->batch_size; ++b)
        test_stretch(system->num_particles, system->space_dim, longest + 0.2 * (double)b, x + b * num_dof);
    double *h_x = test_to_double(num_coordinates, x);
    eqf_loss expected = ref_loss(&reference, penalty, c->batch_size, h_x);
    print_message("%s K=%u M=%u steps %u batch %zu penalty %g: nll %.5f, error %.3g\n", c->system, c->num_distance,
                  c->num_time, c->num_steps, c->batch_size, penalty, expected.nll, expected.integration_error);

    size_t num_trained = eqf_model_num_trained(model);
    double *by_param = calloc(num_trained, sizeof *by_param), *by_x = calloc(num_coordinates, sizeof *by_x);
    for (size_t i = 0; i < num_trained; ++i) by_param[i] = NAN;
    for (size_t n = 0; n < num_coordinates; ++n) by_x[n] = NAN;
    test_rng rng = {seed};
    for (unsigned g = 0; g < NUM_GROUPS; ++g) {
        const eqf_param_slice *slice = slice_named(model, groups[g]);
        assert_non_null(slice);
        assert_true(slice->is_trained && slice->offset + slice->count <= num_trained);
        for (size_t i = 0; i < slice->count && i < c->most_checked; ++i) {
            size_t index = slice->offset + (slice->count <= c->most_checked ? i : test_below(&rng, slice->count));
            by_param[index] = ref_loss_by_param(&reference, penalty, c->batch_size, h_x, index);
        }
    }
    for (size_t i = 0; i < num_coordinates && i < 10 * c->most_checked; ++i) {
        size_t index = num_coordinates <= 10 * c->most_checked ? i : test_below(&rng, num_coordinates);
        by_x[index] = ref_loss_by_x(&reference, penalty, c->batch_size, h_x, index);
    }
    bool is_good = true;
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation)
        is_good &= compare(ctx, model, (eqf_field_evaluation)evaluation, penalty, c->batch_size, num_dof, x, &expected,
                           by_param, by_x);
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    free(x);
    free(h_x);
    free(by_param);
    free(by_x);
    return is_good;
}

void test_gradient_edges(eqf_field_evaluation evaluation) {
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    eqf_model *model = test_trained_like_model(ctx, system, NULL, 31);
    ref_radial *radial = ref_radial_from_model(model);
    ref_flow reference = {radial, 4, 2, 20, 1.0};
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = evaluation;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
    size_t num_trained = eqf_model_num_trained(model);
    float *x = test_configurations(system, 3, 32), *gradient = test_output(num_trained), adjoint_x[24];
    memcpy(x + 8, x + 10, 2 * sizeof *x);
    test_center_floats(4, 2, x + 8);
    double *h_x = test_to_double(24, x);
    eqf_loss loss = EQF_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, 3, x, &loss, gradient, adjoint_x));
    group_error group = {0.0, 0.0};
    for (size_t i = 0; i < num_trained; ++i) {
        assert_true(isfinite(gradient[i]));
        if (i % 7 == 0) add(&group, gradient[i], ref_loss_by_param(&reference, 0.1, 3, h_x, i));
    }
    for (unsigned n = 0; n < 24; ++n) assert_true(isfinite(adjoint_x[n]));
    print_message("contact: gradient %.1e off\n", relative(&group));
    assert_true(relative(&group) <= tolerance);
    float value = x[17];
    x[17] = NAN;
    eqf_status status = eqf_flow_nll_gradient(flow, 0.1, 3, x, &loss, gradient, adjoint_x);
    assert_true(status == EQF_ERROR_NON_FINITE || (status == EQF_OK && !isfinite(loss.nll)));
    /* The flow is as good as before. */
    x[17] = value;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, 3, x, &loss, gradient, adjoint_x));
    assert_true(fabs(loss.nll - ref_loss(&reference, 0.1, 3, h_x).nll) <= 1e-4);
    status = eqf_flow_nll_gradient(flow, 0.1, 0, x, &loss, gradient, NULL); /* the mean over nothing */
    assert_true(status == EQF_ERROR_INVALID_ARGUMENT || (status == EQF_OK && gradient[0] == 0.0f));
    ref_radial_destroy(radial);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
    free(h_x);
    free(gradient);
}
