/* The message field with a work-group a sample and its tensors in local memory (cl/dynamics/message_group.cl): against
 * the double-precision reference, against the other layout, and in as many launches as a small budget makes of it. */
#include "message_reverse.h"

static eqf__device before;

static eqf__device *open_device(void) {
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    return device;
}

/* group_size 0: the layout by lanes, one sample a work-item. */
static void use_layout(unsigned group_size, uint64_t launch_iterations) {
    eqf__device *device = open_device();
    device->vector_width = 1;
    device->group_size = group_size;
    device->has_fast_local_memory = true;
    if (before.launch_iterations == 0) device->launch_iterations = launch_iterations;
}

static int set_layout_up(void **state) {
    (void)state;
    before = *open_device();
    return 0;
}

static int set_layout_back(void **state) {
    (void)state;
    eqf__device *device = open_device();
    device->vector_width = before.vector_width;
    device->group_size = before.group_size;
    device->has_fast_local_memory = before.has_fast_local_memory;
    device->launch_iterations = before.launch_iterations;
    return 0;
}

/* The last evaluation was that of this layout. */
static bool was_by_groups(void) {
    return strstr(eqf__launches_noted(test_context()), ":message_group") != NULL;
}

static void test_values(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) {
        use_layout(c % 2 == 0 ? 16 : 7, 0);
        eqf__launches_note(test_context());
        is_good &= check_values(cases + c, 100 + c);
        assert_true(was_by_groups());
    }
    use_layout(32, 0);
    is_good &= check_values(large_cases + 1, 121);
    assert_true(is_good);
}

/* The vector-Jacobian product of the velocity alone has kernels of its own. */
static bool was_reversed_by_groups(void) {
    return strstr(eqf__launches_noted(test_context()), ":message_group_node_adjoints") != NULL;
}

static void test_reverse(void **state) {
    (void)state;
    static const unsigned group_sizes[] = {16, 32, 64, 7};
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) {
        use_layout(group_sizes[c % 4], 0);
        eqf__launches_note(test_context());
        is_good &= check_reverse(cases + c, false, 200 + c);
        assert_true(was_reversed_by_groups());
    }
    assert_true(is_good);
}

/* About the smallest budget with which the layout is used: then a launch does one source particle. */
static uint64_t smallest_budget(const message_case *c, unsigned group_size) {
    uint64_t budget = 2000;
    for (bool is_enough = before.launch_iterations > 0; !is_enough; budget += is_enough ? 0 : budget / 4) {
        double *velocity, *divergence;
        use_layout(group_size, budget);
        fixture f = set_up(c, 1.0, 400);
        eqf__launches_note(f.ctx);
        evaluate(&f, true, &velocity, &divergence);
        is_enough = was_by_groups();
        tear_down(&f);
        free(velocity);
        free(divergence);
        assert_true(budget < 1000000);
    }
    return budget;
}

/* Two layouts differ by rounding, two budgets not at all. Particles in one place, nearly so, and far apart. */
static void test_edges(void **state) {
    (void)state;
    message_case c = cases[DW4];
    c.batch_size = 19;
    const struct {
        unsigned group_size;
        uint64_t launch_iterations;
    } layouts[] = {{0, 0}, {8, 0}, {8, smallest_budget(&c, 8)}, {12, 0}};
    enum { NUM_LAYOUTS = sizeof layouts / sizeof layouts[0] };
    double *velocity[NUM_LAYOUTS], *divergence[NUM_LAYOUTS];
    const unsigned D = c.space_dim;
    size_t num_dof = 0;
    for (size_t l = 0; l < NUM_LAYOUTS; ++l) {
        use_layout(layouts[l].group_size, layouts[l].launch_iterations);
        fixture f = set_up(&c, 1.0, 400);
        num_dof = f.num_dof;
        memcpy(f.x + num_dof + D, f.x + num_dof, D * sizeof *f.x); /* sample 1: two particles in one place */
        for (unsigned i = 1; i < c.num_particles; ++i)
            memcpy(f.x + 2 * num_dof + i * D, f.x + 2 * num_dof, D * sizeof *f.x); /* sample 2: all of them */
        f.x[3 * num_dof] = 1e4;                                                    /* sample 3: one far away */
        f.x[4 * num_dof] = f.x[4 * num_dof + D] + 1e-12;                           /* sample 4: nearly in one place */
        f.x[4 * num_dof + 1] = f.x[4 * num_dof + D + 1];
        f.x[7 * num_dof + 3] = NAN;
        f.x[8 * num_dof] = INFINITY;
        eqf__launches_note(f.ctx);
        evaluate(&f, true, &velocity[l], &divergence[l]);
        assert_true(was_by_groups() == (layouts[l].group_size > 0));
        tear_down(&f);
    }
    double worst = 0.0;
    for (size_t b = 0; b < c.batch_size; ++b)
        for (size_t l = 0; l < NUM_LAYOUTS; ++l) {
            if (b == 7 || b == 8) {
                assert_false(isfinite(divergence[l][b]));
                continue;
            }
            double largest = 1.0;
            for (size_t i = 0; i < num_dof; ++i) largest = fmax(largest, fabs(velocity[0][b * num_dof + i]));
            assert_true(isfinite(divergence[l][b]));
            worst = fmax(worst, fabs(divergence[l][b] - divergence[0][b]) / fmax(largest, fabs(divergence[0][b])));
            for (size_t i = 0; i < num_dof; ++i)
                worst = fmax(worst, fabs(velocity[l][b * num_dof + i] - velocity[0][b * num_dof + i]) / largest);
        }
    print_message("layouts differ by %.1e\n", worst);
    assert_true(worst <= 1e-5);
    for (size_t b = 0; b < c.batch_size; ++b) {
        if (b == 7 || b == 8) continue;
        for (size_t l = 2; l < NUM_LAYOUTS; ++l) { /* neither budgets nor sizes of groups change a bit */
            assert_memory_equal(velocity[l] + b * num_dof, velocity[1] + b * num_dof, num_dof * sizeof **velocity);
            assert_memory_equal(divergence[l] + b, divergence[1] + b, sizeof **divergence);
        }
    }
    for (size_t l = 0; l < NUM_LAYOUTS; ++l) {
        free(velocity[l]);
        free(divergence[l]);
    }
}

/* A device with less local memory than a sample needs evaluates in scratch memory, with a reason in the log. */
static void test_small_memory(void **state) {
    (void)state;
    use_layout(8, 0);
    eqf__device *device = open_device();
    const uint64_t bytes = device->info.local_memory_bytes;
    device->info.local_memory_bytes = 2048;
    eqf__launches_note(test_context());
    const bool is_good = check_values(cases + DW4, 100);
    device->info.local_memory_bytes = bytes;
    assert_false(was_by_groups());
    assert_true(is_good);
}

int main(int argc, char **argv) { /* test_dynamics_message_group [NAME]: the tests whose names match */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_reverse, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_edges, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_small_memory, set_layout_up, set_layout_back),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
