/* The dense field on the device against the double-precision formula: velocity, the trace and both estimates of it,
 * and the gradient of the discretised flow against central differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* Velocity relative to the largest component of the configuration's, divergence to 1 + its size: its terms are of
 * order 1. */
static const double tolerance = 2e-5, log_prob_tolerance = 1e-4, gradient_tolerance = 1e-3;

typedef struct dense_case {
    const char *system;
    unsigned width, depth, num_steps;
    eqf_activation activation;
    eqf_divergence divergence;
    size_t batch_size;
} dense_case;

/* Widths that are multiples of nothing and of the padding; one hidden layer and several. */
static const dense_case cases[] = {
    {"dw2", 16, 1, 20, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 1},
    {"dw4", 32, 2, 4, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 9},
    {"dw4", 13, 3, 5, EQF_ACTIVATION_SILU, EQF_DIVERGENCE_EXACT, 7},
    {"line3", 7, 2, 3, EQF_ACTIVATION_SILU, EQF_DIVERGENCE_GAUSSIAN, 8},
    {"dw4", 24, 2, 5, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_RADEMACHER, 11},
    {"dw5", 20, 2, 2, EQF_ACTIVATION_SILU, EQF_DIVERGENCE_RADEMACHER, 17},
    {"dw5", 20, 1, 4, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_GAUSSIAN, 3},
    {"lj13", 33, 2, 3, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 5},
    {"lj13", 8, 8, 2, EQF_ACTIVATION_SILU, EQF_DIVERGENCE_GAUSSIAN, 2},
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct fixture {
    eqf_context *ctx;
    const test_system *system;
    size_t num_dof;
    eqf_model *model;
    eqf_flow *flow;
    ref_dense *dense;
} fixture;

/* A model with weights of the size that training gives them: N(0, 1)/sqrt(inputs) in every layer, biases of 0.3. */
static fixture set_up(const dense_case *c, uint64_t seed) {
    fixture f = {test_context(), test_system_named(c->system), 0, NULL, NULL, NULL};
    f.num_dof = (size_t)f.system->num_particles * f.system->space_dim;
    eqf_model_options options = test_model_options(f.system);
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = c->width;
    options.dynamics.depth = c->depth;
    options.dynamics.activation = c->activation;
    options.integrator.num_steps = c->num_steps;
    options.prior_scale = 1.3;
    TEST_OK(f.ctx, eqf_model_create(f.ctx, &options, &f.model));
    float *params = test_floats(eqf_model_num_params(f.model));
    test_rng rng = {seed};
    for (size_t s = 0; s < eqf_model_num_slices(f.model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(f.model, s);
        double scale = slice->num_dims == 2 ? 1.0 / sqrt((double)slice->shape[1]) : 0.3;
        for (size_t n = 0; n < slice->count; ++n) params[slice->offset + n] = (float)(scale * test_normal(&rng));
    }
    TEST_OK(f.ctx, eqf_model_set_params(f.ctx, f.model, params));
    free(params);
    f.dense = ref_dense_from_model(f.model);
    assert_non_null(f.dense);
    f.dense->divergence = c->divergence;
    f.dense->divergence_seed = UINT64_C(0x123456789abcdef0) + seed;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.divergence = c->divergence;
    flow_options.divergence_seed = f.dense->divergence_seed;
    TEST_OK(f.ctx, eqf_flow_create(f.ctx, f.model, &flow_options, &f.flow));
    return f;
}

static void tear_down(fixture *f) {
    ref_dense_destroy(f->dense);
    eqf_flow_destroy(&f->flow);
    eqf_model_destroy(&f->model);
}

static const char *name_of(const dense_case *c) {
    static char name[120];
    const char *const divergences[] = {"exact", "Rademacher", "Gaussian"};
    snprintf(name, sizeof name, "%s width %u depth %u %s %s", c->system, c->width, c->depth,
             c->activation == EQF_ACTIVATION_TANH ? "tanh" : "SiLU", divergences[c->divergence]);
    return name;
}

/* ---- The field -------------------------------------------------------------------------------- */

static void compare_field(const fixture *f, double t, size_t batch_size, const float *x, test_worst *velocity_worst,
                          test_worst *divergence_worst) {
    float *velocity = test_output(batch_size * f->num_dof), *divergence = test_output(batch_size);
    double *h_x = test_to_double(batch_size * f->num_dof, x), *v = calloc(f->num_dof, sizeof *v), expected;
    TEST_OK(f->ctx, eqf_flow_velocity(f->flow, t, batch_size, x, velocity, divergence));
    test_output_end(batch_size * f->num_dof, velocity);
    test_output_end(batch_size, divergence);
    for (size_t b = 0; b < batch_size; ++b) {
        double largest = 0.0;
        ref_dense_velocity(f->dense, t, b, h_x + b * f->num_dof, v, &expected);
        for (size_t n = 0; n < f->num_dof; ++n) largest = fmax(largest, fabs(v[n]));
        for (size_t n = 0; n < f->num_dof; ++n)
            test_compare(velocity_worst, b, fabs(velocity[b * f->num_dof + n] - v[n]) / largest);
        test_compare(divergence_worst, b, fabs(divergence[b] - expected) / (1.0 + fabs(expected)));
    }
    free(velocity);
    free(divergence);
    free(h_x);
    free(v);
}

static void test_field(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) {
        fixture f = set_up(cases + c, 100 + c);
        test_worst velocity_worst = TEST_WORST_INIT(tolerance), divergence_worst = TEST_WORST_INIT(tolerance);
        for (size_t i = 0; i < num_test_batch_sizes; ++i) {
            float *x = test_configurations(f.system, test_batch_sizes[i], 10 * c + i);
            for (unsigned j = 0; j <= 2; ++j)
                compare_field(&f, 0.5 * j, test_batch_sizes[i], x, &velocity_worst, &divergence_worst);
            free(x);
        }
        is_good &= test_report(&velocity_worst, "%s velocity", name_of(cases + c));
        is_good &= test_report(&divergence_worst, "%s divergence", name_of(cases + c));
        tear_down(&f);
    }
    assert_true(is_good);
}

/* More samples than one tile of columns holds, and a result that does not depend on the cut. */
static void test_tiles(void **state) {
    (void)state;
    const dense_case c = {"dw4", 8, 1, 2, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_RADEMACHER, 0};
    fixture f = set_up(&c, 7);
    enum { COUNT = 9001 };
    float *x = test_configurations(f.system, COUNT, 8), *alone = test_output(COUNT);
    test_worst velocity_worst = TEST_WORST_INIT(tolerance), divergence_worst = TEST_WORST_INIT(tolerance);
    compare_field(&f, 0.25, COUNT, x, &velocity_worst, &divergence_worst);
    const bool is_velocity_right = test_report(&velocity_worst, "tiles velocity");
    const bool is_divergence_right = test_report(&divergence_worst, "tiles divergence");
    assert_true(is_velocity_right && is_divergence_right);
    float *log_prob = test_output(COUNT);
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, COUNT, x, log_prob, NULL));
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 37, x, alone, NULL));
    assert_memory_equal(alone, log_prob, 37 * sizeof *alone);
    /* Sampling cuts by first_sample: noise and prior go with the sample's number. */
    float *sampled = test_output(60 * f.num_dof), *part = test_output(60 * f.num_dof);
    TEST_OK(f.ctx, eqf_flow_sample(f.flow, 11, 1000, 60, sampled, log_prob));
    TEST_OK(f.ctx, eqf_flow_sample(f.flow, 11, 1023, 37, part, alone));
    assert_memory_equal(part, sampled + 23 * f.num_dof, 37 * f.num_dof * sizeof *part);
    assert_memory_equal(alone, log_prob + 23, 37 * sizeof *alone);
    free(x);
    free(alone);
    free(log_prob);
    free(sampled);
    free(part);
    tear_down(&f);
}

/* The trace is the mean of Hutchinson's estimates: within 4 standard errors over noise, for each of a few
 * configurations. */
static void test_estimates_mean(void **state) {
    (void)state;
    for (unsigned divergence = EQF_DIVERGENCE_RADEMACHER; divergence <= EQF_DIVERGENCE_GAUSSIAN; ++divergence) {
        const dense_case exact = {"dw4", 32, 2, 2, EQF_ACTIVATION_TANH, EQF_DIVERGENCE_EXACT, 0};
        dense_case estimated = exact;
        estimated.divergence = (eqf_divergence)divergence;
        fixture f = set_up(&exact, 21), g = set_up(&estimated, 21);
        enum { COUNT = 8192 };
        double worst = 0.0;
        for (unsigned n = 0; n < 3; ++n) { /* one configuration, COUNT samples of it: as many draws of the noise */
            float *one = test_configurations(f.system, 1, 30 + n), *x = test_floats(COUNT * f.num_dof);
            float *v = test_output(COUNT * f.num_dof), *estimates = test_output(COUNT), trace;
            for (size_t b = 0; b < COUNT; ++b) memcpy(x + b * f.num_dof, one, f.num_dof * sizeof *x);
            TEST_OK(f.ctx, eqf_flow_velocity(f.flow, 0.5, 1, one, v, &trace));
            TEST_OK(g.ctx, eqf_flow_velocity(g.flow, 0.5, COUNT, x, v, estimates));
            double mean = 0.0, square = 0.0;
            for (size_t b = 0; b < COUNT; ++b) mean += estimates[b] / (double)COUNT;
            for (size_t b = 0; b < COUNT; ++b) square += (estimates[b] - mean) * (estimates[b] - mean);
            double standard_error = sqrt(square / COUNT / (COUNT - 1.0));
            assert_true(standard_error > 0.0);
            worst = fmax(worst, fabs(mean - trace) / standard_error);
            free(one);
            free(x);
            free(v);
            free(estimates);
        }
        print_message("%s: mean of %d estimates %.2f standard errors off the trace at worst\n",
                      divergence == EQF_DIVERGENCE_RADEMACHER ? "Rademacher" : "Gaussian", COUNT, worst);
        assert_true(worst <= 4.0);
        tear_down(&f);
        tear_down(&g);
    }
}

/* ---- The flow --------------------------------------------------------------------------------- */

static void test_log_prob(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) {
        fixture f = set_up(cases + c, 200 + c);
        size_t batch_size = cases[c].batch_size + 2;
        float *x = test_configurations(f.system, batch_size, 40 + c), *log_prob = test_output(batch_size);
        float *again = test_output(batch_size), *z = test_output(batch_size * f.num_dof);
        double *h_x = test_to_double(batch_size * f.num_dof, x);
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, batch_size, x, log_prob, z));
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, batch_size, x, again, NULL));
        assert_memory_equal(again, log_prob, batch_size * sizeof *again);
        test_output_end(batch_size, log_prob);
        test_worst worst = TEST_WORST_INIT(log_prob_tolerance);
        for (size_t b = 0; b < batch_size; ++b)
            test_compare(&worst, b,
                         fabs(log_prob[b] - ref_dense_log_prob(f.dense, b, h_x + b * f.num_dof, NULL)));
        is_good &= test_report(&worst, "%s log_prob", name_of(cases + c));
        free(x);
        free(h_x);
        free(z);
        free(again);
        free(log_prob);
        tear_down(&f);
    }
    assert_true(is_good);
}

typedef struct group_error {
    double difference, expected;
} group_error;

static double relative(const group_error *group) {
    return isfinite(group->difference) ? sqrt(group->difference / group->expected) : INFINITY;
}

static void add(group_error *group, double value, double expected) {
    group->difference += (value - expected) * (value - expected);
    group->expected += expected * expected;
}

/* has_penalty: with as large a penalty as makes the integration error 0.5 of the loss, so that its gradient counts. */
static bool check_gradient(const dense_case *c, bool has_penalty, uint64_t seed) {
    enum { MOST = 40 }; /* parameters of a group, at random where it has more */
    fixture f = set_up(c, seed);
    const size_t num_trained = eqf_model_num_trained(f.model), num_coordinates = c->batch_size * f.num_dof;
    float *x = test_configurations(f.system, c->batch_size, seed + 1), *gradient = test_output(num_trained);
    float *adjoint_x = test_output(num_coordinates), *again = test_output(num_trained);
    double *h_x = test_to_double(num_coordinates, x);
    eqf_loss loss = EQF_LOSS_INIT, expected = ref_dense_loss(f.dense, 0.0, c->batch_size, h_x);
    const double penalty = has_penalty ? 0.5 / expected.integration_error : 0.0;
    TEST_OK(f.ctx, eqf_flow_nll_gradient(f.flow, penalty, c->batch_size, x, &loss, gradient, adjoint_x));
    TEST_OK(f.ctx, eqf_flow_nll_gradient(f.flow, penalty, c->batch_size, x, &loss, again, NULL));
    assert_memory_equal(again, gradient, num_trained * sizeof *again);
    test_output_end(num_trained, gradient);
    test_output_end(num_coordinates, adjoint_x);
    bool is_good =
        fabs(loss.nll - expected.nll) <= log_prob_tolerance &&
        fabs(loss.integration_error - expected.integration_error) <= 1e-3 * expected.integration_error + 1e-8;
    double worst = 0.0;
    test_rng rng = {seed};
    for (size_t s = 0; s < eqf_model_num_slices(f.model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(f.model, s);
        group_error group = {0.0, 0.0};
        for (size_t i = 0; i < slice->count && i < MOST; ++i) {
            size_t index = slice->offset + (slice->count <= MOST ? i : test_below(&rng, slice->count));
            add(&group, gradient[index],
                ref_dense_loss_by(f.dense, penalty, c->batch_size, h_x, f.dense->params + index));
        }
        worst = fmax(worst, relative(&group));
    }
    group_error group = {0.0, 0.0};
    for (size_t i = 0; i < num_coordinates && i < MOST; ++i) {
        size_t index = num_coordinates <= MOST ? i : test_below(&rng, num_coordinates);
        add(&group, adjoint_x[index], ref_dense_loss_by(f.dense, penalty, c->batch_size, h_x, h_x + index));
    }
    print_message("%s penalty %.2g: nll %+.1e, error %.1e %+.1e; gradient of the worst slice %.1e, of the state %.1e\n",
                  name_of(c), penalty, loss.nll - expected.nll, expected.integration_error,
                  loss.integration_error - expected.integration_error, worst, relative(&group));
    is_good &= worst <= gradient_tolerance && relative(&group) <= gradient_tolerance;
    free(x);
    free(h_x);
    free(gradient);
    free(again);
    free(adjoint_x);
    tear_down(&f);
    return is_good;
}

static void test_gradient(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_gradient(cases + c, c % 2 == 1, 300 + c);
    assert_true(is_good);
}

/* Coinciding particles are nothing special; one far away saturates every unit; a configuration that is not finite
 * spoils only itself. */
static void test_edges(void **state) {
    (void)state;
    fixture f = set_up(cases + 1, 400);
    enum { COUNT = 19 };
    float *x = test_configurations(f.system, COUNT, 401), *expected = test_output(COUNT),
          *log_prob = test_output(COUNT);
    memcpy(x + f.num_dof, x + f.num_dof + 2, 2 * sizeof *x); /* sample 1: two particles in one place */
    x[2 * f.num_dof] = 1e4f;                                 /* sample 2 */
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, COUNT, x, expected, NULL));
    for (size_t b = 0; b < COUNT; ++b) assert_true(isfinite(expected[b]));
    x[7 * f.num_dof + 3] = NAN;
    x[8 * f.num_dof] = INFINITY;
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, COUNT, x, log_prob, NULL));
    for (size_t b = 0; b < COUNT; ++b)
        if (b == 7 || b == 8)
            assert_false(isfinite(log_prob[b]));
        else
            assert_memory_equal(log_prob + b, expected + b, sizeof *expected);
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 0, x, log_prob, NULL));
    /* The flow is as good as before, whatever was not finite in its memory. */
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 7, x, log_prob, NULL));
    assert_memory_equal(log_prob, expected, 7 * sizeof *expected);
    float *params = test_floats(eqf_model_num_params(f.model));
    params[3] = NAN;
    assert_int_equal(eqf_flow_set_params(f.flow, params), EQF_ERROR_NON_FINITE);
    TEST_OK(f.ctx, eqf_flow_set_params(f.flow, eqf_model_params(f.model)));
    TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 7, x, log_prob, NULL));
    assert_memory_equal(log_prob, expected, 7 * sizeof *expected);
    free(params);
    free(x);
    free(expected);
    free(log_prob);
    tear_down(&f);
}

/* A new model is near the identity; a radial field has no estimated divergence. */
static void test_start(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    eqf_model_options options = test_model_options(system);
    eqf_model *model;
    eqf_flow *flow = NULL;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    flow_options.divergence = EQF_DIVERGENCE_GAUSSIAN;
    assert_int_equal(eqf_flow_create(ctx, model, &flow_options, &flow), EQF_ERROR_INVALID_ARGUMENT);
    assert_null(flow);
    eqf_model_destroy(&model);
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    float x[16], z[16], log_det[2];
    float *start = test_configurations(system, 2, 5);
    memcpy(x, start, sizeof x);
    TEST_OK(ctx, eqf_flow_transform(flow, EQF_DATA_TO_PRIOR, 2, x, z, log_det));
    double largest = 0.0;
    for (unsigned n = 0; n < 16; ++n) largest = fmax(largest, fabs((double)z[n] - x[n]));
    print_message("at the start: state moves by %.2g, log_det %.2g\n", largest, fabs((double)log_det[0]));
    assert_true(largest > 0.0 && largest < 0.1 && fabs((double)log_det[0]) < 0.1);
    free(start);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),    cmocka_unit_test(test_tiles),    cmocka_unit_test(test_estimates_mean),
        cmocka_unit_test(test_log_prob), cmocka_unit_test(test_gradient), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_start),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
