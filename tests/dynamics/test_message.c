/* The message field on the device against the double-precision reference: velocities, divergences, and the reverse of
 * both. */
#include "message_reverse.h"

static void test_values(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_values(cases + c, 100 + c);
    for (size_t c = 0; c < 2; ++c) is_good &= check_values(large_cases + c, 120 + c);
    assert_true(is_good);
}

/* ---- Reverse ----------------------------------------------------------------------------------------------------- */

/* With one compilation: the reverse of values, then of values and divergences. */
static bool check_reverses(const message_case *c, uint64_t seed) {
    fixture f = set_up(c, 1.0, seed);
    const bool is_good = check_reverse(&f, c, false, seed) & check_reverse(&f, c, true, seed + 100);
    tear_down(&f);
    return is_good;
}

static void test_reverse(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_reverses(cases + c, 200 + c);
    assert_true(is_good);
}

/* ---- Layouts ----------------------------------------------------------------------------------------------------- */

/* Everything again with one sample a work-item and with a work-group a sample; and in as many launches as a small
 * budget makes of it. With local memory values, divergences and the reverse of values have kernels of their own. */
static void test_layouts(void **state) {
    (void)state;
    static const struct {
        unsigned group_size;
        uint64_t launch_iterations;
        bool has_local_memory;
    } layouts[] = {{0, 20000, false}, {8, 0, false}, {8, 6000, false}, {8, 0, true}, {3, 40000, true}};
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    const eqf__device before = *device;
    bool is_good = true;
    for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; ++l) {
        device->vector_width = 1;
        device->group_size = layouts[l].group_size;
        device->has_fast_local_memory = layouts[l].has_local_memory;
        if (layouts[l].launch_iterations > 0 && before.launch_iterations == 0)
            device->launch_iterations = layouts[l].launch_iterations;
        print_message("groups of %u, budget %llu%s\n", device->group_size,
                      (unsigned long long)device->launch_iterations,
                      layouts[l].has_local_memory ? ", local memory" : "");
        is_good &= check_values(cases + DW4, 100);
        is_good &= check_reverses(cases + DW4, 200);
        device->vector_width = before.vector_width;
        device->group_size = before.group_size;
        device->launch_iterations = before.launch_iterations;
        device->has_fast_local_memory = before.has_fast_local_memory;
    }
    assert_true(is_good);
}

/* A budget changes no bit. */
static void test_budget(void **state) {
    (void)state;
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    const uint64_t before = device->launch_iterations;
    double *velocity[2], *divergence[2];
    for (unsigned pass = 0; pass < 2; ++pass) {
        if (pass == 1 && before == 0) device->launch_iterations = 3000;
        fixture f = set_up(cases + DW4, 1.0, 500);
        evaluate(&f, true, &velocity[pass], &divergence[pass]);
        tear_down(&f);
        device->launch_iterations = before;
    }
    assert_memory_equal(velocity[0], velocity[1], cases[DW4].batch_size * 8 * sizeof(double));
    assert_memory_equal(divergence[0], divergence[1], cases[DW4].batch_size * sizeof(double));
    /* One too small for a single turn is refused in words. */
    device->launch_iterations = 20;
    fixture f = set_up(cases + DW4, 1.0, 500);
    put_state(&f);
    assert_int_equal(f.field->batched->evaluate(f.field, NULL, f.num_blocks, f.d_x, f.d_times, f.d_velocity, NULL),
                     EQF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(eqf_context_error(f.ctx), "loop turns"));
    device->launch_iterations = before;
    tear_down(&f);
    for (unsigned pass = 0; pass < 2; ++pass) {
        free(velocity[pass]);
        free(divergence[pass]);
    }
}

/* ---- Edges ------------------------------------------------------------------------------------------------------- */

/* Particles in one place or far apart are finite; a sample that is not finite spoils itself alone. */
static void test_edges(void **state) {
    (void)state;
    message_case c = cases[DW4];
    c.batch_size = 19;
    fixture f = set_up(&c, 1.0, 400);
    const unsigned D = c.space_dim;
    memcpy(f.x + f.num_dof + D, f.x + f.num_dof, D * sizeof *f.x); /* sample 1: two particles in one place */
    for (unsigned i = 1; i < c.num_particles; ++i)
        memcpy(f.x + 2 * f.num_dof + i * D, f.x + 2 * f.num_dof, D * sizeof *f.x); /* sample 2: all of them */
    f.x[3 * f.num_dof] = 1e4;                                                      /* sample 3: one far away */
    f.x[4 * f.num_dof] = f.x[4 * f.num_dof + D] + 1e-12;                           /* sample 4: nearly in one place */
    f.x[4 * f.num_dof + 1] = f.x[4 * f.num_dof + D + 1];
    double *velocity, *divergence, *spoilt, *spoilt_divergence, *expected = calloc(f.num_dof, sizeof *expected);
    assert_non_null(expected);
    evaluate(&f, true, &velocity, &divergence);
    for (size_t b = 0; b < f.batch_size; ++b) {
        assert_true(isfinite(divergence[b]));
        for (size_t i = 0; i < f.num_dof; ++i) assert_true(isfinite(velocity[b * f.num_dof + i]));
    }
    ref_message_velocity(f.reference, f.times[3], f.x + 3 * f.num_dof, expected);
    for (size_t i = 0; i < f.num_dof; ++i)
        assert_true(fabs(velocity[3 * f.num_dof + i] - expected[i]) <= 1e-4 * fabs(expected[0]));
    f.x[7 * f.num_dof + 3] = NAN;
    f.x[8 * f.num_dof] = INFINITY;
    evaluate(&f, true, &spoilt, &spoilt_divergence);
    for (size_t b = 0; b < f.batch_size; ++b)
        if (b == 7 || b == 8) {
            assert_false(isfinite(spoilt_divergence[b]));
        } else {
            assert_memory_equal(spoilt + b * f.num_dof, velocity + b * f.num_dof, f.num_dof * sizeof *spoilt);
            assert_memory_equal(spoilt_divergence + b, divergence + b, sizeof *spoilt_divergence);
        }
    /* The reverse of what is finite is finite too. */
    f.x[7 * f.num_dof + 3] = f.x[8 * f.num_dof] = 0.3;
    put_state(&f);
    double *ones = calloc(f.batch_size * f.num_dof, sizeof *ones);
    assert_non_null(ones);
    for (size_t i = 0; i < f.batch_size * f.num_dof; ++i) ones[i] = 1.0 + (double)(i % 3);
    write_blocks(&f, f.d_adjoint_velocity, f.num_dof, ones, 0.0);
    write_blocks(&f, f.d_adjoint_divergence, 1, ones, 0.0);
    set_zero(&f, f.d_adjoint_x, f.num_blocks * f.num_dof * f.V);
    set_zero(&f, f.d_grad, f.field->batched->grad_size);
    TEST_OK(f.ctx, f.field->batched->vjp(f.field, NULL, f.num_blocks, f.d_x, f.d_times, f.d_adjoint_velocity,
                                         f.d_adjoint_divergence, f.d_adjoint_x, f.d_grad));
    double *adjoint_x = read_blocks(&f, f.d_adjoint_x, f.num_dof);
    for (size_t i = 0; i < f.batch_size * f.num_dof; ++i) assert_true(isfinite(adjoint_x[i]));
    TEST_OK(f.ctx, f.field->batched->contract(f.field, f.d_grad, f.d_gradient));
    float *gradient = test_floats(f.num_params);
    TEST_OK(f.ctx, eqf__buffer_read(f.ctx, f.d_gradient, 0, f.num_params * sizeof(float), gradient));
    for (size_t p = 0; p < f.num_params; ++p) assert_true(isfinite(gradient[p]));
    free(gradient);
    free(adjoint_x);
    free(ones);
    free(expected);
    free(velocity);
    free(divergence);
    free(spoilt);
    free(spoilt_divergence);
    tear_down(&f);
}

int main(int argc, char **argv) { /* test_dynamics_message [NAME]: the tests whose names match, "test_reverse" */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_reverse), cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_budget), cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
