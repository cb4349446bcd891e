/* The message field with a work-group a sample and its tensors in local memory (cl/dynamics/message_group.cl): against
 * the double-precision reference, against the other layout, and in as many launches as a small budget makes of it. */
#include "message_group_plan.h"
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
    device->info.max_work_group_size = before.info.max_work_group_size;
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

static bool was_reversed_by_groups(void) {
    return strstr(eqf__launches_noted(test_context()), ":message_group_node_adjoints") != NULL;
}

/* Of values, and of values and divergences. Each field costs seconds of compiling: without EQF_TEST_EVERY three, of one
 * hop, of dw4, of two species. */
static void test_reverse(void **state) {
    (void)state;
    static const unsigned group_sizes[] = {16, 32, 64, 7};
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) {
        if (!test_wants_every() && c != 1 && c != DW4 && c != NUM_CASES - 1) continue;
        use_layout(group_sizes[c % 4], 0);
        fixture f = set_up(cases + c, 1.0, 200 + c);
        for (int has_divergence = 0; has_divergence < 2; has_divergence++) {
            eqf__launches_note(test_context());
            is_good &= check_reverse(&f, cases + c, has_divergence, 200 + c);
            assert_true(was_reversed_by_groups());
        }
        tear_down(&f);
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

/* Sample 1 has two particles in one place, sample 2 all, sample 3 one far away, sample 4 two nearly in one place. */
static void place_oddly(fixture *f, const message_case *c) {
    const size_t num_dof = f->num_dof, D = c->space_dim;
    memcpy(f->x + num_dof + D, f->x + num_dof, D * sizeof *f->x);
    for (unsigned i = 1; i < c->num_particles; ++i)
        memcpy(f->x + 2 * num_dof + i * D, f->x + 2 * num_dof, D * sizeof *f->x);
    f->x[3 * num_dof] = 1e4;
    f->x[4 * num_dof] = f->x[4 * num_dof + D] + 1e-12;
    f->x[4 * num_dof + 1] = f->x[4 * num_dof + D + 1];
}

/* The reverse of velocities, or of them and divergences: adjoint_x [B, N, D] and the gradient [num_params], of more
 * samples than there are partial sums. */
static void reverse(fixture *f, bool has_divergence, double **adjoint_x_out, float **gradient_out) {
    double *adjoint = calloc(f->batch_size * (f->num_dof + 1), sizeof *adjoint);
    assert_non_null(adjoint);
    test_rng rng = {77};
    for (size_t i = 0; i < f->batch_size * (f->num_dof + 1); ++i) adjoint[i] = (double)(float)test_normal(&rng);
    put_state(f);
    write_blocks(f, f->d_adjoint_velocity, f->num_dof, adjoint, 0.0);
    write_blocks(f, f->d_adjoint_divergence, 1, adjoint + f->batch_size * f->num_dof, 0.0);
    set_zero(f, f->d_adjoint_x, f->num_blocks * f->num_dof * f->V);
    set_zero(f, f->d_grad, f->field->batched->grad_size);
    TEST_OK(f->ctx, f->field->batched->vjp(f->field, NULL, f->num_blocks, f->d_x, f->d_times, f->d_adjoint_velocity,
                                           has_divergence ? f->d_adjoint_divergence : NULL, f->d_adjoint_x, f->d_grad));
    TEST_OK(f->ctx, f->field->batched->contract(f->field, f->d_grad, f->d_gradient));
    *adjoint_x_out = read_blocks(f, f->d_adjoint_x, f->num_dof);
    *gradient_out = test_floats(f->num_params);
    TEST_OK(f->ctx, eqf__buffer_read(f->ctx, f->d_gradient, 0, f->num_params * sizeof(float), *gradient_out));
    free(adjoint);
}

/* The same of the reverse pass. */
static void check_reverse_edges(bool has_divergence) {
    message_case c = cases[DW4];
    c.batch_size = 67;
    static const unsigned group_sizes[] = {0, 8, 12, 32};
    enum { MAX_LAYOUTS = sizeof group_sizes / sizeof group_sizes[0] };
    const size_t num_layouts = test_wants_every() ? MAX_LAYOUTS : 3;
    double *adjoint_x[MAX_LAYOUTS], worst = 0.0, largest = 0.0;
    float *gradient[MAX_LAYOUTS];
    size_t num_params = 0, count = 0;
    for (size_t l = 0; l < num_layouts; ++l) {
        use_layout(group_sizes[l], 0);
        fixture f = set_up(&c, 1.0, 400);
        place_oddly(&f, &c);
        num_params = f.num_params;
        count = f.batch_size * f.num_dof;
        eqf__launches_note(f.ctx);
        reverse(&f, has_divergence, &adjoint_x[l], &gradient[l]);
        assert_true(was_reversed_by_groups() == (group_sizes[l] > 0));
        tear_down(&f);
    }
    for (size_t b = 0; b < c.batch_size; ++b) { /* the far sample's adjoints are large, and those of rounding errors */
        const size_t num_dof = count / c.batch_size;
        double scale = 1.0;
        for (size_t i = b * num_dof; i < (b + 1) * num_dof; ++i) scale = fmax(scale, fabs(adjoint_x[0][i]));
        for (size_t i = b * num_dof; i < (b + 1) * num_dof; ++i) {
            assert_true(isfinite(adjoint_x[1][i]));
            worst = fmax(worst, fabs(adjoint_x[1][i] - adjoint_x[0][i]) / scale);
        }
    }
    double worst_gradient = 0.0;
    for (size_t p = 0; p < num_params; ++p) largest = fmax(largest, fabs(gradient[0][p]));
    for (size_t p = 0; p < num_params; ++p) {
        assert_true(isfinite(gradient[1][p]));
        worst_gradient = fmax(worst_gradient, fabs((double)gradient[1][p] - gradient[0][p]) / largest);
    }
    print_message("layouts differ by %.1e, gradients by %.1e\n", worst, worst_gradient);
    assert_true(worst <= 1e-5 && worst_gradient <= 1e-5);
    for (size_t l = 2; l < num_layouts; ++l) { /* the size of groups changes no bit */
        assert_memory_equal(adjoint_x[l], adjoint_x[1], count * sizeof **adjoint_x);
        assert_memory_equal(gradient[l], gradient[1], num_params * sizeof **gradient);
    }
    for (size_t l = 0; l < num_layouts; ++l) {
        free(adjoint_x[l]);
        free(gradient[l]);
    }
}

static void test_reverse_edges(void **state) {
    (void)state;
    if (!test_wants_every()) {
        print_message("skipped: in dynamics.message_group_every (the next test has the reverse of both)\n");
        skip();
    }
    check_reverse_edges(false);
}

static void test_divergence_reverse_edges(void **state) {
    (void)state;
    check_reverse_edges(true);
}

/* The smallest budget of a device that does all of a pass's work in one launch, but for the parts of the edges. */
static uint64_t budget_of_one_part(const fixture *f, bool has_divergence, unsigned group_size,
                                   uint64_t *all_parts_out) {
    eqf__message_shape shape;
    eqf__group_plan plan;
    uint64_t most = 0;
    eqf__message_shape_of(&f->field->options, &shape);
    static const eqf__group_pass passes[] = {EQF__GROUP_VELOCITY, EQF__GROUP_DIVERGENCE, EQF__GROUP_REVERSE,
                                             EQF__GROUP_DIVERGENCE_REVERSE};
    for (unsigned pass = 0; pass < (has_divergence ? 4 : 3); ++pass) {
        eqf__group_plan_make(&shape, f->field->num_particles, f->field->space_dim, passes[pass], group_size, &plan);
        const uint64_t turns[] = {plan.turns_of_values, plan.turns_of_part, plan.turns_of_nodes};
        for (unsigned t = 0; t < 3; ++t) most = turns[t] > most ? turns[t] : most;
    }
    const uint64_t vectors = (group_size + 3) / 4;
    *all_parts_out = plan.num_parts * plan.turns_of_part * vectors;
    return most * vectors;
}

/* The parts of the edges in several launches. */
static void check_reverse_budget(bool has_divergence) {
    if (before.launch_iterations > 0) skip(); /* the device has a budget of its own */
    const message_case c = {13, 3, 1, 4, 2, 40, 8, 4, 3, 0};
    enum { GROUP_SIZE = 16 };
    double *adjoint_x[2];
    float *gradient[2];
    size_t count = 0, num_params = 0;
    uint64_t budget = 0, all_parts;
    for (size_t l = 0; l < 2; ++l) {
        use_layout(GROUP_SIZE, budget);
        open_device()->info.max_work_group_size = GROUP_SIZE; /* no multiples of it */
        fixture f = set_up(&c, 1.0, 400);
        eqf__launches_note(f.ctx);
        reverse(&f, has_divergence, &adjoint_x[l], &gradient[l]);
        assert_true(was_reversed_by_groups());
        count = f.batch_size * f.num_dof;
        num_params = f.num_params;
        budget = budget_of_one_part(&f, has_divergence, GROUP_SIZE, &all_parts);
        assert_true(all_parts > budget);
        tear_down(&f);
    }
    assert_memory_equal(adjoint_x[0], adjoint_x[1], count * sizeof **adjoint_x);
    assert_memory_equal(gradient[0], gradient[1], num_params * sizeof **gradient);
    for (size_t l = 0; l < 2; ++l) {
        free(adjoint_x[l]);
        free(gradient[l]);
    }
}

static void test_reverse_budget(void **state) {
    (void)state;
    check_reverse_budget(false);
}

static void test_divergence_reverse_budget(void **state) {
    (void)state;
    check_reverse_budget(true);
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
    size_t num_dof = 0;
    for (size_t l = 0; l < NUM_LAYOUTS; ++l) {
        use_layout(layouts[l].group_size, layouts[l].launch_iterations);
        fixture f = set_up(&c, 1.0, 400);
        num_dof = f.num_dof;
        place_oddly(&f, &c);
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
        cmocka_unit_test_setup_teardown(test_reverse_edges, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_divergence_reverse_edges, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_reverse_budget, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_divergence_reverse_budget, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_edges, set_layout_up, set_layout_back),
        cmocka_unit_test_setup_teardown(test_small_memory, set_layout_up, set_layout_back),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
