/* Every kernel once, at the smallest sizes that still have edges (padding lanes, an odd batch, three particles): for devices and
 * checkers on which the other tests take hours. tests/matrix.sh runs it under oclgrind. Values are compared with the
 * double-precision reference, so that it can fail on its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "group_layout.h"

enum { NUM = 3, NUM_STEPS = 2 };

/* 3 particles in 2 dimensions, 6 x 3 Gaussians, 2 steps. */
static const test_system tiny = {"tiny", 3, 2, EQF_POTENTIAL_DOUBLE_WELL};

static eqf_model *tiny_model(eqf_context *ctx) {
    eqf_model_options options = test_model_options(&tiny);
    options.dynamics.num_distance = 6;
    options.dynamics.distance_gamma = 1.5;
    options.dynamics.num_time = 3;
    options.integrator.num_steps = NUM_STEPS;
    return test_trained_like_model(ctx, &tiny, &options, 5);
}

static void test_potentials(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    test_worst worst = TEST_WORST_INIT(2e-5);
    for (unsigned kind = EQF_POTENTIAL_DOUBLE_WELL; kind <= EQF_POTENTIAL_LENNARD_JONES; ++kind) {
        eqf_potential_options potential = test_model_options(&tiny).potential;
        potential.kind = (eqf_potential_kind)kind;
        float *x = test_configurations(&tiny, NUM, 1), *energy = test_output(NUM), *force = test_output(NUM * 6);
        double *h_x = test_to_double(NUM * 6, x), expected_force[6];
        TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, NUM, x, energy, force));
        test_output_end(NUM, energy);
        test_output_end(NUM * 6, force);
        for (size_t b = 0; b < NUM; ++b) {
            double expected = ref_potential_energy(&potential, h_x + 6 * b, expected_force), largest = 0.0;
            test_compare(&worst, b, fabs(energy[b] - expected) / fmax(fabs(expected), 1.0));
            for (size_t n = 0; n < 6; ++n) largest = fmax(largest, fabs(expected_force[n]));
            for (size_t n = 0; n < 6; ++n)
                test_compare(&worst, b, fabs(force[6 * b + n] - expected_force[n]) / largest);
        }
        free(x);
        free(energy);
        free(force);
        free(h_x);
    }
    assert_true(test_report(&worst, "energies and forces"));
}

static void test_monte_carlo(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = test_model_options(&tiny).potential;
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = NUM;
    options.num_burn_in = 20;
    options.thinning = 5;
    float *x = test_output(2 * NUM * 6), *energy = test_output(2 * NUM);
    eqf_mcmc_diagnostics diagnostics;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &potential, &options, 2 * NUM, x, energy, &diagnostics));
    test_output_end(2 * NUM * 6, x);
    test_output_end(2 * NUM, energy);
    double *h_x = test_to_double(2 * NUM * 6, x);
    test_worst worst = TEST_WORST_INIT(2e-4); /* float energy, accumulated over the moves */
    for (size_t b = 0; b < 2 * NUM; ++b) {
        double expected = ref_potential_energy(&potential, h_x + 6 * b, NULL);
        test_compare(&worst, b, fabs(energy[b] - expected) / fmax(fabs(expected), 1.0));
    }
    free(x);
    free(energy);
    free(h_x);
    assert_true(test_report(&worst, "energies of the chains"));
}

static void check_flow(eqf_context *ctx, unsigned group_size, const char *layout) {
    eqf_model *model = tiny_model(ctx);
    ref_radial *radial = ref_radial_from_model(model);
    assert_non_null(radial);
    ref_flow reference = {radial, tiny.num_particles, tiny.space_dim, NUM_STEPS, 1.0};
    bool is_good = true;
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        test_worst worst = TEST_WORST_INIT(1e-4); /* nats, lengths */
        test_worst gradient_worst = TEST_WORST_INIT(1e-3);
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.field_evaluation = (eqf_field_evaluation)evaluation;
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
        test_assert_groups(flow, group_size);
        float x[NUM * 6], log_prob[NUM], z[NUM * 6], prior_log_prob[NUM];
        TEST_OK(ctx, eqf_flow_sample(flow, 3, 0, NUM, x, log_prob));
        TEST_OK(ctx, eqf_flow_prior_sample(flow, 3, 0, NUM, z));
        TEST_OK(ctx, eqf_flow_prior_log_prob(flow, NUM, z, prior_log_prob));
        double *h_x = test_to_double(NUM * 6, x), *h_z = test_to_double(NUM * 6, z), expected[6];
        for (size_t b = 0; b < NUM; ++b) {
            double prior = ref_prior_log_prob(tiny.num_particles, tiny.space_dim, 1.0, h_z + 6 * b);
            test_compare(&worst, b, fabs(prior_log_prob[b] - prior));
            double log_det = ref_transform(&reference, EQF_PRIOR_TO_DATA, h_z + 6 * b, expected, NULL);
            test_compare(&worst, b, fabs(log_prob[b] - (prior - log_det)));
            for (size_t n = 0; n < 6; ++n) test_compare(&worst, b, fabs(x[6 * b + n] - expected[n]));
        }
        TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, x, log_prob, z));
        for (size_t b = 0; b < NUM; ++b)
            test_compare(&worst, b, fabs(log_prob[b] - ref_log_prob(&reference, h_x + 6 * b, NULL)));

        const double penalty = 0.1;
        eqf_loss loss;
        float *gradient = test_output(eqf_model_num_trained(model));
        TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, NUM, x, &loss, gradient, NULL));
        test_output_end(eqf_model_num_trained(model), gradient);
        /* One parameter of each kind: weight, bias, importance, distance and time bandwidth. */
        const size_t probes[] = {7, 18, 22, 29, 34};
        double largest = 0.0;
        for (size_t p = 0; p < eqf_model_num_trained(model); ++p) largest = fmax(largest, fabs(gradient[p]));
        for (size_t p = 0; p < sizeof probes / sizeof *probes; ++p) {
            double difference = ref_loss_by_param(&reference, penalty, NUM, h_x, probes[p]);
            test_compare(&gradient_worst, probes[p], fabs(gradient[probes[p]] - difference) / largest);
        }
        free(gradient);
        free(h_x);
        free(h_z);
        eqf_flow_destroy(&flow);
        const char *name = evaluation == EQF_FIELD_TABLE ? "table" : "direct";
        is_good &= test_report(&worst, "%s%s: samples and log-densities", name, layout);
        is_good &= test_report(&gradient_worst, "%s%s: gradient", name, layout);
    }
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    assert_true(is_good);
}

static void test_flow(void **state) {
    (void)state;
    test_use_groups(test_context(), 0, false);
    check_flow(test_context(), 0, "");
}

/* One sample a work-group: more work-items than pairs, the table in local memory; and fewer than components, the table in global memory. */
static void test_groups(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    test_use_groups(ctx, 8, true);
    check_flow(ctx, 8, " by groups of 8");
    test_use_groups(ctx, 4, false);
    check_flow(ctx, 4, " by groups of 4");
    test_use_groups(ctx, 0, false);
}

static void test_training(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = tiny_model(ctx);
    float *x = test_configurations(&tiny, 8, 2);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 5;
    options.num_steps = 2;
    options.num_warmup_steps = 0;
    options.validation_interval = 2;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, 6, x, 2, x + 6 * 6, &trainer));
    eqf_training_state training = {0};
    while (!training.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 1, &training));
    assert_int_equal(training.step, 2);
    assert_true(isfinite(training.held_out_nll));
    eqf_model *trained;
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &trained));
    assert_memory_not_equal(eqf_model_params(trained), eqf_model_params(model),
                            eqf_model_num_trained(model) * sizeof(float));
    eqf_model_destroy(&trained);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_potentials), cmocka_unit_test(test_monte_carlo), cmocka_unit_test(test_flow),
        cmocka_unit_test(test_groups),     cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
