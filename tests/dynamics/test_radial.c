/* The radial field on the device, by table and by direct summation, against the double-precision formula. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field_check.h"

/* Stage numbers j of t = j/40 that are looked at: ends, a mid-point, an odd one. */
static const unsigned stages[] = {0, 1, 13, 20, 39, 40};

static void test_against_reference(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            test_worst velocity_worst = TEST_WORST_INIT(test_field_tolerance),
                       divergence_worst = TEST_WORST_INIT(test_field_tolerance);
            test_field f = test_field_set_up(test_systems + s, NULL, (eqf_field_evaluation)evaluation, 300 + s);
            for (size_t i = 0; i < num_test_batch_sizes; ++i) {
                float *x = test_configurations(f.system, test_batch_sizes[i], 10 * s + i);
                for (size_t j = 0; j < sizeof stages / sizeof *stages; ++j)
                    test_field_compare(&f, stages[j] / 40.0, test_batch_sizes[i], x, &velocity_worst,
                                       &divergence_worst);
                free(x);
            }
            test_field_tear_down(&f);
            const char *name = test_systems[s].name;
            is_good &= test_report(&velocity_worst, "%s %s velocity", name,
                                   test_evaluation_name((eqf_field_evaluation)evaluation));
            is_good &= test_report(&divergence_worst, "%s %s divergence", name,
                                   test_evaluation_name((eqf_field_evaluation)evaluation));
        }
    assert_true(is_good);
}

/* Other numbers of Gaussians and widths than the presets', among them odd ones; and distances from contact to beyond
 * the last Gaussian, where the normalised sum breaks down to the constant part. */
static void test_shapes_and_distances(void **state) {
    (void)state;
    const test_system *system = test_system_named("dw2");
    const unsigned shapes[][2] = {{50, 10}, {1, 1}, {7, 3}, {13, 17}, {64, 16}};
    bool is_good = true;
    for (size_t c = 0; c < sizeof shapes / sizeof *shapes; ++c)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            eqf_model_options options = test_model_options(system);
            options.dynamics.num_distance = shapes[c][0];
            options.dynamics.num_time = shapes[c][1];
            /* Neighbours overlap, as training keeps them; few Gaussians must be wide. */
            options.dynamics.distance_gamma = fmax(0.5, 1.5 * 8.0 / shapes[c][0]);
            options.dynamics.time_gamma = fmax(0.3, 1.0 / shapes[c][1]);
            test_field f = test_field_set_up(system, &options, (eqf_field_evaluation)evaluation, 500 + c);
            test_worst velocity_worst = TEST_WORST_INIT(test_field_tolerance),
                       divergence_worst = TEST_WORST_INIT(test_field_tolerance);
            enum { COUNT = 500 };
            float *x = test_floats(4 * COUNT);
            for (size_t b = 0; b < COUNT; ++b) { /* distance 0 ... 20 */
                x[4 * b] = (float)(0.02 * (double)b * 0.6);
                x[4 * b + 1] = (float)(0.02 * (double)b * 0.8);
                x[4 * b + 2] = -x[4 * b];
                x[4 * b + 3] = -x[4 * b + 1];
            }
            test_field_compare(&f, 0.35, COUNT - 1, x + 4, &velocity_worst, &divergence_worst);
            test_field_tear_down(&f);
            free(x);
            const char *name = test_evaluation_name((eqf_field_evaluation)evaluation);
            is_good &= test_report(&velocity_worst, "K=%u M=%u %s velocity", shapes[c][0], shapes[c][1], name);
            is_good &= test_report(&divergence_worst, "K=%u M=%u %s divergence", shapes[c][0], shapes[c][1], name);
        }
    assert_true(is_good);
}

static void test_edges(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t s = 1; s < num_test_systems; ++s)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation)
            is_good &= test_field_edges(test_systems + s, (eqf_field_evaluation)evaluation, 700 + s);
    assert_true(is_good);
}

/* The device's divergence against the trace of the reference field's numerical Jacobian: not through the closed
 * form. */
static void test_divergence_is_the_trace(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s) {
        test_field f = test_field_set_up(test_systems + s, NULL, EQF_FIELD_DIRECT, 800 + s);
        unsigned N = f.system->num_particles, D = f.system->space_dim, num_dof = N * D;
        float *x = test_configurations(f.system, 9, 80 + s), *velocity = test_output(9 * num_dof),
              *divergence = test_output(9);
        double *h_x = test_to_double(9 * num_dof, x), *v = calloc(num_dof, sizeof *v);
        test_worst worst = TEST_WORST_INIT(test_field_tolerance);
        TEST_OK(f.ctx, eqf_flow_velocity(f.flow, 0.325, 9, x, velocity, divergence));
        for (size_t b = 0; b < 9; ++b) {
            double closed, scale;
            ref_velocity(f.radial, N, D, 0.325, h_x + b * num_dof, v, &closed, &scale);
            double trace = ref_divergence_brute_force(f.radial, N, D, 0.325, h_x + b * num_dof);
            test_compare(&worst, b, fabs(divergence[b] - trace) / scale);
        }
        is_good &= test_report(&worst, "%s divergence against the trace", f.system->name);
        test_field_tear_down(&f);
        free(x);
        free(h_x);
        free(v);
        free(velocity);
        free(divergence);
    }
    assert_true(is_good);
}

static void test_table_refuses_other_times(void **state) {
    (void)state;
    test_field f = test_field_set_up(test_system_named("dw2"), NULL, EQF_FIELD_TABLE, 900);
    float x[4] = {1.0f, 0.5f, -1.0f, -0.5f}, velocity[4], divergence;
    TEST_OK(f.ctx, eqf_flow_velocity(f.flow, 0.025, 1, x, velocity, &divergence));
    assert_int_equal(eqf_flow_velocity(f.flow, 0.337, 1, x, velocity, &divergence), EQF_ERROR_INVALID_ARGUMENT);
    print_message("%s\n", eqf_context_error(f.ctx));
    assert_int_equal(eqf_flow_velocity(f.flow, 1.025, 1, x, velocity, &divergence), EQF_ERROR_INVALID_ARGUMENT);
    test_field_tear_down(&f);
}

/* eqflow/flow.h binds only the table to the stage times. */
static void test_times_between_stages_are_refused(void **state) {
    (void)state;
    test_field f = test_field_set_up(test_system_named("dw4"), NULL, EQF_FIELD_DIRECT, 901);
    float *x = test_configurations(f.system, 9, 5), velocity[9 * 8], divergence[9];
    assert_int_equal(eqf_flow_velocity(f.flow, 0.337, 9, x, velocity, divergence), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_flow_velocity(f.flow, -0.025, 9, x, velocity, divergence), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_flow_velocity(f.flow, 1.025, 9, x, velocity, divergence), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_flow_velocity(f.flow, 0.025, 9, x, velocity, divergence), EQF_OK);
    test_field_tear_down(&f);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_shapes_and_distances),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_divergence_is_the_trace),
        cmocka_unit_test(test_table_refuses_other_times),
        cmocka_unit_test(test_times_between_stages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
