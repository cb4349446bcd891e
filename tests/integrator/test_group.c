/* One sample a work-group: the same checks against the double-precision formulas as of the usual layout (field,
 * log-density, gradient, edges), for groups larger and smaller than the number of particles, and agreement of both
 * layouts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "field_check.h"
#include "gradient_check.h"
#include "group_layout.h"
#include "rk4.h"

typedef struct layout {
    const char *system;
    unsigned group_size; /* particles: more, fewer, as many, one a group; odd sizes too */
    bool has_local_table;
} layout;

static const layout layouts[] = {
    {"dw2", 3, true}, {"line3", 5, true}, {"dw4", 64, true}, {"dw5", 4, false}, {"lj13", 64, false}, {"lj34", 33, true},
};
enum { NUM_LAYOUTS = sizeof layouts / sizeof *layouts };

/* llvmpipe refuses, in words, steps that take more loop turns than it allows, as those of larger systems summed
 * directly do; and what it takes is slow. */
static bool is_too_much(const char *system, eqf_field_evaluation evaluation, unsigned most_particles) {
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    if (device->launch_iterations == 0 || evaluation == EQF_FIELD_TABLE) return false;
    if (test_system_named(system)->num_particles <= most_particles) return false;
    print_message("skipped: %s summed directly, with the launch budget of this device\n", system);
    return true;
}

/* Each form costs seconds of compiling: without EQF_TEST_EVERY the tests take tables and direct sums of the layouts in
 * turns, velocities the one and trajectories the other. */
static bool is_other_turn(unsigned turn, unsigned evaluation) {
    return !test_wants_every() && turn % 2 != evaluation % 2;
}

static void test_velocity(void **state) {
    (void)state;
    const double times[] = {0.0, 0.325, 1.0};
    bool is_good = true;
    for (size_t l = 0; l < NUM_LAYOUTS; ++l)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const layout *of = layouts + l;
            if (is_other_turn((unsigned)l, evaluation)) continue;
            if (is_too_much(of->system, (eqf_field_evaluation)evaluation, 20)) continue;
            const unsigned group_size = test_group_size(test_context(), of->group_size);
            const test_system *system = test_system_named(of->system);
            test_worst velocity_worst = TEST_WORST_INIT(test_field_tolerance),
                       divergence_worst = TEST_WORST_INIT(test_field_tolerance);
            test_use_groups(test_context(), group_size, of->has_local_table);
            test_field f = test_field_set_up(system, NULL, (eqf_field_evaluation)evaluation, 310 + l);
            test_assert_groups(f.flow, group_size);
            for (size_t i = 0; i < num_test_batch_sizes; ++i) {
                if (system->num_particles > 20 && test_batch_sizes[i] > 9) continue; /* the reference is slow */
                float *x = test_configurations(system, test_batch_sizes[i], 10 * l + i);
                for (size_t j = 0; j < sizeof times / sizeof *times; ++j)
                    test_field_compare(&f, times[j], test_batch_sizes[i], x, &velocity_worst, &divergence_worst);
                free(x);
            }
            test_field_tear_down(&f);
            test_use_groups(test_context(), 0, false);
            const char *name = test_evaluation_name((eqf_field_evaluation)evaluation);
            is_good &= test_report(&velocity_worst, "%s by %u, %s: velocity", of->system, group_size, name);
            is_good &= test_report(&divergence_worst, "%s by %u, %s: divergence", of->system, group_size, name);
        }
    assert_true(is_good);
}

/* Log-densities and the way there and back against the double reference, and samples against the usual layout. */
static void test_trajectories(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { B = 11 };
    bool is_good = true;
    for (size_t l = 0; l < NUM_LAYOUTS; ++l)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const layout *of = layouts + l;
            if (is_other_turn((unsigned)l + 1, evaluation)) continue;
            if (is_too_much(of->system, (eqf_field_evaluation)evaluation, 5)) continue;
            const unsigned group_size = test_group_size(test_context(), of->group_size);
            const test_system *system = test_system_named(of->system);
            const unsigned N = system->num_particles, D = system->space_dim, num_dof = N * D;
            eqf_model *model = test_trained_like_model(ctx, system, NULL, 400 + l);
            ref_radial *radial = ref_radial_from_model(model);
            assert_non_null(radial);
            ref_flow reference = {radial, N, D, 20, 1.0};
            eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
            options.field_evaluation = (eqf_field_evaluation)evaluation;
            eqf_flow *usual, *flow;
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &usual));
            test_use_groups(ctx, group_size, of->has_local_table);
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
            test_use_groups(ctx, 0, false);
            test_assert_groups(usual, 0);
            test_assert_groups(flow, group_size);
            float *x = test_configurations(system, B, 40 + l), *z = test_output(B * num_dof),
                  *log_prob = test_output(B);
            double *h_x = test_to_double(B * num_dof, x), *h_z = calloc(num_dof, sizeof *h_z);
            test_worst log_prob_worst = TEST_WORST_INIT(1e-4), z_worst = TEST_WORST_INIT(1e-4);
            TEST_OK(ctx, eqf_flow_log_prob(flow, B, x, log_prob, z));
            test_output_end(B, log_prob);
            test_output_end(B * num_dof, z);
            for (size_t b = 0; b < B && b < (N > 20 ? 3 : B); ++b) {
                test_compare(&log_prob_worst, b, fabs(log_prob[b] - ref_log_prob(&reference, h_x + b * num_dof, h_z)));
                for (unsigned n = 0; n < num_dof; ++n) test_compare(&z_worst, b, fabs(z[b * num_dof + n] - h_z[n]));
            }
            test_worst sample_worst = TEST_WORST_INIT(1e-4);
            float *sample = test_output(B * num_dof), *usual_log_prob = test_output(B);
            TEST_OK(ctx, eqf_flow_sample(flow, 9, 0, B, sample, log_prob));
            TEST_OK(ctx, eqf_flow_sample(usual, 9, 0, B, z, usual_log_prob));
            for (size_t b = 0; b < B; ++b) test_compare(&sample_worst, b, fabs(log_prob[b] - usual_log_prob[b]));
            for (size_t n = 0; n < B * num_dof; ++n) test_compare(&sample_worst, n / num_dof, fabs(sample[n] - z[n]));
            eqf_flow_destroy(&usual);
            eqf_flow_destroy(&flow);
            eqf_model_destroy(&model);
            ref_radial_destroy(radial);
            free(x);
            free(z);
            free(log_prob);
            free(h_x);
            free(h_z);
            free(sample);
            free(usual_log_prob);
            const char *name = test_evaluation_name((eqf_field_evaluation)evaluation);
            is_good &= test_report(&log_prob_worst, "%s by %u, %s: log_prob", of->system, group_size, name);
            is_good &= test_report(&z_worst, "%s by %u, %s: z", of->system, group_size, name);
            is_good &= test_report(&sample_worst, "%s by %u, %s: samples, two layouts", of->system, group_size, name);
        }
    assert_true(is_good);
}

typedef struct gradient_layout {
    test_gradient_case of;
    unsigned group_size;
    bool has_local_table;
    double longest;
} gradient_layout;

static const gradient_layout gradients[] = {
    {{"dw2", 50, 10, 20, 7, 12}, 3, true, 0.0},    {{"dw5", 50, 10, 20, 3, 8}, 4, false, 9.2},
    {{"line3", 12, 5, 6, 37, 20}, 64, false, 0.0}, {{"dw5", 11, 3, 5, 21, 12}, 5, true, 0.0},
    {{"lj13", 50, 10, 20, 3, 4}, 64, false, 0.0},  {{"lj34", 16, 4, 3, 2, 5}, 33, true, 0.0},
};

static void test_gradients(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t g = 0; g < sizeof gradients / sizeof *gradients; ++g) {
        const gradient_layout *gradient = gradients + g;
        if (is_too_much(gradient->of.system, EQF_FIELD_DIRECT, 20)) continue;
        test_use_groups(test_context(), test_group_size(test_context(), gradient->group_size),
                        gradient->has_local_table);
        is_good &= test_gradient_check(&gradient->of, 0.1, gradient->longest, 2200 + g);
        test_use_groups(test_context(), 0, false);
    }
    assert_true(is_good);
}

static void test_edges(void **state) {
    (void)state;
    const layout chosen[] = {{"dw4", 64, true}, {"dw5", 4, false}, {"lj13", 64, false}, {"lj34", 33, true}};
    bool is_good = true;
    for (size_t l = 0; l < sizeof chosen / sizeof *chosen; ++l)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            if (l >= 2 && is_other_turn((unsigned)l, evaluation)) continue;
            if (is_too_much(chosen[l].system, (eqf_field_evaluation)evaluation, 20)) continue;
            test_use_groups(test_context(), test_group_size(test_context(), chosen[l].group_size),
                            chosen[l].has_local_table);
            is_good &= test_field_edges(test_system_named(chosen[l].system), (eqf_field_evaluation)evaluation, 500 + l);
            if (l < 2) test_gradient_edges((eqf_field_evaluation)evaluation);
            test_use_groups(test_context(), 0, false);
        }
    assert_true(is_good);
}

/* A small launch budget, as llvmpipe needs, cuts the solves into many launches and must not change a bit. */
static void test_budget(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    enum { B = 21 };
    const uint64_t budget = device->launch_iterations;
    const test_system *system = test_system_named("dw5");
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        eqf_model *model = test_trained_like_model(ctx, system, NULL, 61);
        const size_t num_trained = eqf_model_num_trained(model);
        float *x = test_configurations(system, B, 62), *gradient = test_output(num_trained),
              *by_many = test_output(num_trained), log_prob[B], log_prob_by_many[B];
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.field_evaluation = (eqf_field_evaluation)evaluation;
        for (unsigned turn = 0; turn < 2; ++turn) {
            eqf_flow *flow;
            eqf_loss loss = EQF_LOSS_INIT;
            device->launch_iterations = turn == 0 ? budget : evaluation == EQF_FIELD_TABLE ? 40000 : 60000;
            test_use_groups(ctx, 8, true);
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
            test_use_groups(ctx, 0, false);
            test_assert_groups(flow, 8);
            if (turn == 1) {
                print_message("%s: %zu steps a launch, in reverse %zu steps of %zu samples\n",
                              test_evaluation_name((eqf_field_evaluation)evaluation),
                              eqf__rk4_of(flow->solver)->steps_per_launch, eqf__rk4_of(flow->solver)->reverse_steps,
                              eqf__rk4_of(flow->solver)->reverse_blocks);
                assert_true(eqf__rk4_of(flow->solver)->reverse_steps < 20); /* cut indeed */
            }
            TEST_OK(ctx, eqf_flow_log_prob(flow, B, x, turn ? log_prob_by_many : log_prob, NULL));
            TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, B, x, &loss, turn ? by_many : gradient, NULL));
            eqf_flow_destroy(&flow);
        }
        device->launch_iterations = budget;
        assert_memory_equal(log_prob, log_prob_by_many, sizeof log_prob);
        assert_memory_equal(gradient, by_many, num_trained * sizeof *gradient);
        eqf_model_destroy(&model);
        free(x);
        free(gradient);
        free(by_many);
    }
}

/* ---- The same bits ---------------------------------------------------------------------------------------- */

/* FNV-1a of samples, log-densities and gradients by groups: printed by this program when it is started with --bits. */
static void print_bits(void) {
    eqf_context *ctx = test_context();
    enum { B = 37 };
    uint64_t hash = 0xcbf29ce484222325u;
    const layout chosen[] = {{"dw4", 64, true}, {"lj13", 64, false}};
    for (size_t l = 0; l < 2; ++l)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const test_system *system = test_system_named(chosen[l].system);
            const size_t num_dof = (size_t)system->num_particles * system->space_dim;
            eqf_model *model = test_trained_like_model(ctx, system, NULL, 71);
            eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
            options.field_evaluation = (eqf_field_evaluation)evaluation;
            options.num_steps = 4;
            eqf_flow *flow;
            test_use_groups(ctx, test_group_size(ctx, chosen[l].group_size), chosen[l].has_local_table);
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
            test_assert_groups(flow, test_group_size(ctx, chosen[l].group_size));
            const size_t count = B * num_dof + B + eqf_model_num_trained(model);
            float *all = test_floats(count), *x = test_configurations(system, B, 72);
            eqf_loss loss = EQF_LOSS_INIT;
            TEST_OK(ctx, eqf_flow_sample(flow, 5, 0, B, all, all + B * num_dof));
            TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, B, x, &loss, all + B * num_dof + B, NULL));
            const unsigned char *bytes = (const unsigned char *)all;
            for (size_t i = 0; i < count * sizeof *all; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
            free(all);
            free(x);
            eqf_flow_destroy(&flow);
            eqf_model_destroy(&model);
        }
    printf("bits %016llx\n", (unsigned long long)hash);
}

/* Run to run and for one and two compute threads (PoCL's; elsewhere the variable says nothing). */
static void test_same_bits(void **state) {
    (void)state;
    test_context(); /* skips where there is no device */
    const char *const threads[] = {"1", "2", "2"};
    char bits[3][32] = {"", "", ""};
    char program[512];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) skip();
    program[length] = '\0';
    for (size_t run = 0; run < 3; ++run) {
        char command[640], line[256];
        snprintf(command, sizeof command, "POCL_MAX_PTHREAD_COUNT=%s '%s' --bits", threads[run], program);
        FILE *stream = popen(command, "r");
        assert_non_null(stream);
        while (fgets(line, sizeof line, stream) != NULL)
            if (strncmp(line, "bits ", 5) == 0) snprintf(bits[run], sizeof bits[run], "%.21s", line);
        assert_int_equal(pclose(stream), 0);
        print_message("%s threads: %s\n", threads[run], bits[run]);
        assert_true(strlen(bits[run]) == 21);
    }
    assert_string_equal(bits[0], bits[1]);
    assert_string_equal(bits[1], bits[2]);
}

static void bits_as_test(void **state) {
    (void)state;
    print_bits();
}

int main(int argc, char **argv) {
    const struct CMUnitTest bits[] = {cmocka_unit_test(bits_as_test)};
    if (argc == 2 && strcmp(argv[1], "--bits") == 0) return cmocka_run_group_tests(bits, NULL, test_context_teardown);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_velocity), cmocka_unit_test(test_trajectories), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_edges),    cmocka_unit_test(test_budget),       cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
