/* A mixture from nothing to weights: 3 particles of species A and 2 of B in the plane are trained on, and the flow's
 * density knows both: it does not change within the species, does across, and its weights give Monte Carlo's energy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

enum { N = 5, NUM_B = 2, D = 2, DOF = N * D, NUM_TRAIN = 8000, NUM_TEST = 4000, NUM_MOVED = 200 };

static eqf_model_options mixture(void) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.kind = EQF_POTENTIAL_BINARY_LENNARD_JONES;
    options.potential.num_particles = N;
    options.potential.space_dim = D;
    options.potential.num_b = NUM_B;
    options.prior_scale = 0.8;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = 2;
    options.dynamics.num_scalars = 16;
    options.dynamics.num_vectors = 6;
    options.dynamics.num_edge = 16;
    options.dynamics.num_reduced = 3;
    options.dynamics.num_distance = 16;
    options.dynamics.distance_max = 4.0;
    options.integrator.num_steps = 10;
    options.seed = 3;
    return options;
}

static double sample_data(eqf_context *ctx, size_t count, uint64_t seed, float *x, double *error_out) {
    const eqf_model_options options = mixture();
    eqf_mcmc_options chains = EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    chains.num_burn_in = 1000;
    chains.seed = seed;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &options.potential, &chains, count, x, NULL, &diagnostics));
    *error_out = diagnostics.mean_energy_standard_error;
    return diagnostics.mean_energy;
}

static eqf_model *train(eqf_context *ctx, const float *x) {
    const eqf_model_options model_options = mixture();
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.objective = EQF_OBJECTIVE_FLOW_MATCHING;
    options.optimizer = EQF_OPTIMIZER_SOAP;
    options.pairing = EQF_PAIRING_EQUIVARIANT;
    options.num_pairing_starts = 2;
    options.batch_size = 128;
    options.num_steps = 1200;
    options.num_warmup_steps = 50;
    options.validation_interval = 600;
    options.learning_rate = 5e-3;
    options.average_decay = 0.98;
    options.seed = 5;
    eqf_model *model, *best;
    eqf_trainer *trainer;
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    TEST_OK(ctx, eqf_model_create(ctx, &model_options, &model));
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_TRAIN, x, 0, NULL, &trainer));
    while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 100, &now));
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &best));
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    return best;
}

static void swap_all(unsigned i, unsigned j, const float *x, float *moved) {
    memcpy(moved, x, NUM_MOVED * DOF * sizeof *x);
    for (unsigned b = 0; b < NUM_MOVED; ++b) {
        memcpy(moved + b * DOF + i * D, x + b * DOF + j * D, D * sizeof *x);
        memcpy(moved + b * DOF + j * D, x + b * DOF + i * D, D * sizeof *x);
    }
}

/* The mean of |log_prob(swapped) - log_prob| over the first NUM_MOVED of x. */
static double change_by_swap(eqf_context *ctx, eqf_flow *flow, unsigned i, unsigned j, const float *x) {
    float moved[NUM_MOVED * DOF], before[NUM_MOVED], after[NUM_MOVED];
    double mean = 0.0;
    swap_all(i, j, x, moved);
    TEST_OK(ctx, eqf_flow_log_prob(flow, NUM_MOVED, x, before, NULL));
    TEST_OK(ctx, eqf_flow_log_prob(flow, NUM_MOVED, moved, after, NULL));
    for (unsigned b = 0; b < NUM_MOVED; ++b) mean += fabs((double)after[b] - (double)before[b]) / NUM_MOVED;
    return mean;
}

/* What was saved is what is loaded, species and all. */
static void check_file(eqf_context *ctx, const eqf_model *model, const float *x) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/eqflow-species-%ld.safetensors", (long)getpid());
    eqf_model *loaded;
    eqf_flow *flows[2];
    float log_prob[2][NUM_MOVED];
    TEST_OK(ctx, eqf_model_save(ctx, model, path));
    TEST_OK(ctx, eqf_model_load(ctx, path, &loaded));
    remove(path);
    assert_int_equal(eqf_potential_num_b(&eqf_model_options_of(loaded)->potential), NUM_B);
    assert_int_equal(eqf_model_num_params(loaded), eqf_model_num_params(model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flows[0]));
    TEST_OK(ctx, eqf_flow_create(ctx, loaded, NULL, &flows[1]));
    for (unsigned f = 0; f < 2; ++f) {
        TEST_OK(ctx, eqf_flow_log_prob(flows[f], NUM_MOVED, x, log_prob[f], NULL));
        eqf_flow_destroy(&flows[f]);
    }
    assert_memory_equal(log_prob[0], log_prob[1], sizeof log_prob[0]);
    eqf_model_destroy(&loaded);
}

static void test_mixture(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = test_floats((NUM_TRAIN + NUM_TEST) * DOF), *x_test = x + NUM_TRAIN * DOF;
    double error_train, error;
    (void)sample_data(ctx, NUM_TRAIN, 1, x, &error_train);
    const double mean = sample_data(ctx, NUM_TEST, 2, x_test, &error);
    eqf_model *model = train(ctx, x);
    check_file(ctx, model, x_test);
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    const double within_a = change_by_swap(ctx, flow, 0, 2, x_test), within_b = change_by_swap(ctx, flow, 3, 4, x_test);
    const double across = change_by_swap(ctx, flow, 0, 3, x_test);
    print_message("log-densities change by %.2g (A and A), %.2g (B and B), %.3g nat (A and B)\n", within_a, within_b,
                  across);
    assert_true(within_a < 1e-4 && within_b < 1e-4 && across > 0.2);
    eqf_flow_destroy(&flow);
    eqf_evaluation_options options = EQF_EVALUATION_OPTIONS_INIT;
    options.num_samples = 8000;
    options.seed = 7;
    eqf_evaluation *evaluation;
    TEST_OK(ctx, eqf_evaluate(ctx, model, &options, NUM_TEST, x_test, &evaluation));
    const eqf_evaluation_figures *figures = eqf_evaluation_figures_of(evaluation);
    const double own_error = figures->mean_energy_reweighted_standard_error;
    print_message("ESS %.3f, mean energy %.3f +- %.3f, by Monte Carlo %.3f +- %.3f, of the model %.3f\n",
                  figures->ess_fraction, figures->mean_energy_reweighted, own_error, mean, error,
                  figures->mean_energy_model);
    print_message("the certificate's largest change under a symmetry: %.2g nat\n", figures->log_prob_invariance_error);
    assert_true(figures->log_prob_invariance_error < 2e-3);
    assert_true(figures->ess_fraction > 0.2);
    assert_true(fabs(figures->mean_energy_reweighted - mean) < 3.0 * sqrt(own_error * own_error + error * error));
    eqf_evaluation_destroy(&evaluation);
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixture)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
