/* The vector-Jacobian product of the velocity against differences of eqf_flow_velocity: by coordinates and by
 * parameters, for every form of a field. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { BATCH = 5 };

/* sum over samples of  adjoint_velocity . v + adjoint_divergence div v, in double */
static double product(eqf_context *ctx, eqf_flow *flow, double t, const float *x, const float *adjoint_velocity,
                      const float *adjoint_divergence) {
    const size_t num_dof = eqf_flow_num_dof(flow);
    float *velocity = malloc(BATCH * num_dof * sizeof *velocity), divergence[BATCH];
    TEST_OK(ctx, eqf_flow_velocity(flow, t, BATCH, x, velocity, divergence));
    double sum = 0;
    for (size_t c = 0; c < BATCH * num_dof; c++) sum += (double)adjoint_velocity[c] * velocity[c];
    for (size_t b = 0; b < BATCH; b++) sum += (double)adjoint_divergence[b] * divergence[b];
    free(velocity);
    return sum;
}

typedef struct vjp_case {
    const char *name, *system;
    eqf_dynamics_kind kind;
    eqf_integrator_method method;
    eqf_field_evaluation evaluation;
    double t;
} vjp_case;

static void check_case(eqf_context *ctx, const vjp_case *c) {
    const test_system *system = test_system_named(c->system);
    eqf_model_options options = test_model_options(system);
    options.dynamics.kind = c->kind;
    options.dynamics.width = 16;
    options.integrator.num_steps = 5;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    const size_t num_params = eqf_model_num_params(model), num_trained = eqf_model_num_trained(model);
    float *params = malloc(num_params * sizeof *params), *moved = malloc(num_params * sizeof *moved);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    test_rng rng = {7};
    for (size_t i = 0; i < num_trained; i++)
        params[i] += (float)(0.1 * test_normal(&rng)); /* biases and importances too */
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.method = c->method;
    flow_options.field_evaluation = c->evaluation;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
    const size_t num_dof = eqf_flow_num_dof(flow), num = BATCH * num_dof;
    float *x = test_configurations(system, BATCH, 3), *x_moved = malloc(num * sizeof *x_moved);
    float *adjoint_v = malloc(num * sizeof *adjoint_v), adjoint_d[BATCH];
    float *adjoint_x = malloc(num * sizeof *adjoint_x), *gradient = malloc(num_trained * sizeof *gradient);
    for (size_t i = 0; i < num; i++) adjoint_v[i] = (float)test_normal(&rng);
    for (size_t b = 0; b < BATCH; b++) adjoint_d[b] = (float)(0.2 * test_normal(&rng));
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, c->t, BATCH, x, adjoint_v, adjoint_d, adjoint_x, gradient));

    /* by x, along random directions, against central differences of float32 velocities */
    double worst_x = 0, size_x = 0, worst_params = 0, size_params = 0;
    for (int round = 0; round < 12; round++) {
        double along = 0;
        const double h = 2e-3;
        double value[2];
        float direction[BATCH * 64];
        assert_true(num <= sizeof direction / sizeof direction[0]);
        for (size_t i = 0; i < num; i++) direction[i] = (float)test_normal(&rng);
        for (size_t i = 0; i < num; i++) along += (double)adjoint_x[i] * direction[i];
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < num; i++) x_moved[i] = x[i] + (float)(side == 0 ? h : -h) * direction[i];
            value[side] = product(ctx, flow, c->t, x_moved, adjoint_v, adjoint_d);
        }
        worst_x = fmax(worst_x, fabs((value[0] - value[1]) / (2 * h) - along));
        size_x = fmax(size_x, fabs(along));
    }
    /* by parameters */
    for (int round = 0; round < 6; round++) {
        double along = 0, value[2];
        const double h = 2e-3;
        float *direction = malloc(num_trained * sizeof *direction);
        for (size_t i = 0; i < num_trained; i++) direction[i] = (float)test_normal(&rng);
        for (size_t i = 0; i < num_trained; i++) along += (double)gradient[i] * direction[i];
        for (int side = 0; side < 2; side++) {
            memcpy(moved, params, num_params * sizeof *moved);
            for (size_t i = 0; i < num_trained; i++) moved[i] += (float)(side == 0 ? h : -h) * direction[i];
            TEST_OK(ctx, eqf_flow_set_params(flow, moved));
            value[side] = product(ctx, flow, c->t, x, adjoint_v, adjoint_d);
        }
        worst_params = fmax(worst_params, fabs((value[0] - value[1]) / (2 * h) - along));
        size_params = fmax(size_params, fabs(along));
        free(direction);
    }
    print_message("%s: by x %.2g of %.2g, by parameters %.2g of %.2g\n", c->name, worst_x, size_x, worst_params,
                  size_params);
    assert_true(worst_x < 0.02 * size_x && size_x > 0);
    assert_true(worst_params < 0.02 * size_params && size_params > 0);
    /* linear: twice the adjoints, twice the products; without the divergence's; either output alone */
    TEST_OK(ctx, eqf_flow_set_params(flow, params));
    float *twice = malloc(num * sizeof *twice), *alone = malloc(num_trained * sizeof *alone);
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, c->t, BATCH, x, adjoint_v, NULL, adjoint_x, gradient));
    for (size_t i = 0; i < num; i++) adjoint_v[i] *= 2;
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, c->t, BATCH, x, adjoint_v, NULL, twice, NULL));
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, c->t, BATCH, x, adjoint_v, NULL, NULL, alone));
    for (size_t i = 0; i < num; i++)
        assert_true(fabs((double)twice[i] - 2 * (double)adjoint_x[i]) <= 1e-5 * (1 + size_x));
    for (size_t i = 0; i < num_trained; i++)
        assert_true(fabs((double)alone[i] - 2 * (double)gradient[i]) <= 1e-4 * (1 + size_params));
    void *memory[] = {params, moved, x, x_moved, adjoint_v, adjoint_x, gradient, twice, alone};
    for (size_t m = 0; m < sizeof memory / sizeof memory[0]; m++) free(memory[m]);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

static void test_against_differences(void **state) {
    (void)state;
    static const vjp_case cases[] = {
        {"radial, table", "dw4", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_RK4, EQF_FIELD_TABLE, 0.3},
        {"radial, direct", "dw4", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_RK4, EQF_FIELD_DIRECT, 0.7},
        {"radial, any time", "dw4", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_DOPRI5, EQF_FIELD_DIRECT, 0.4321},
        {"dense, stages", "dw4", EQF_DYNAMICS_DENSE, EQF_INTEGRATOR_RK4, EQF_FIELD_TABLE, 0.5},
        {"dense, any time", "dw4", EQF_DYNAMICS_DENSE, EQF_INTEGRATOR_DOPRI5, EQF_FIELD_TABLE, 0.123},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) check_case(test_context(), &cases[c]);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    eqf_model *model;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    float x[8] = {0}, adjoint[8] = {0}, out[8];
    assert_int_equal(eqf_flow_velocity_vjp(flow, 0.31234, 1, x, adjoint, NULL, out, NULL),
                     EQF_ERROR_INVALID_ARGUMENT); /* no stage time */
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, 0.5, 0, NULL, NULL, NULL, NULL, NULL));
    eqf_flow_destroy(&flow);
    eqf_flow_options of_double = EQF_FLOW_OPTIONS_INIT;
    of_double.precision = EQF_PRECISION_DOUBLE;
    if (eqf_flow_create(ctx, model, &of_double, &flow) == EQF_OK) {
        assert_int_equal(eqf_flow_velocity_vjp(flow, 0.5, 1, x, adjoint, NULL, out, NULL), EQF_ERROR_UNSUPPORTED);
        eqf_flow_destroy(&flow);
    }
    eqf_model_destroy(&model);
}

/* The message field of many particles passes its known answers, which are asked before the first product. */
static void test_many_particles(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    eqf_model *model;
    eqf_flow *flow;
    options.potential.kind = EQF_POTENTIAL_LENNARD_JONES;
    options.potential.num_particles = 55;
    options.potential.space_dim = 3;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_scalars = 16;
    options.dynamics.num_vectors = options.dynamics.num_edge = 8;
    options.dynamics.num_hops = 2;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    float x[165], adjoint[165], out[165];
    for (size_t c = 0; c < 165; c++) {
        x[c] = (float)sin(7.0 * (double)c);
        adjoint[c] = (float)cos(3.0 * (double)c);
    }
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, 0.5, 1, x, adjoint, NULL, out, NULL));
    for (size_t c = 0; c < 165; c++) assert_true(isfinite(out[c]));
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_differences), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_many_particles)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
