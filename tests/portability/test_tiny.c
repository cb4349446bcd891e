/* Every kernel of cl/ but the probes once, at the smallest sizes that still have edges (padding lanes, an odd
 * batch, three particles): for devices and checkers on which the other tests take hours. tests/matrix.sh runs it
 * under oclgrind. Values are compared with the double-precision reference, so that it can fail on its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "group_layout.h"
#include "ref_message.h"

enum { NUM = 3, NUM_STEPS = 2 };

/* 3 particles in 2 dimensions, 6 x 3 Gaussians, 2 steps. */
static const test_system tiny = {"tiny", 3, 2, EQF_POTENTIAL_DOUBLE_WELL};

/* One parameter of each kind: weight, bias, importance, distance and time bandwidth. */
static const size_t probes[] = {7, 18, 22, 29, 34};
enum { NUM_PROBES = sizeof probes / sizeof *probes };

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
    TEST_EACH_FORMULA(kind) {
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
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
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
        eqf_loss loss = EQF_LOSS_INIT;
        float *gradient = test_output(eqf_model_num_trained(model));
        TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, NUM, x, &loss, gradient, NULL));
        test_output_end(eqf_model_num_trained(model), gradient);
        double largest = 0.0;
        for (size_t p = 0; p < eqf_model_num_trained(model); ++p) largest = fmax(largest, fabs(gradient[p]));
        for (size_t p = 0; p < NUM_PROBES; ++p) {
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

/* One sample a work-group: more work-items than pairs, the table in local memory; and fewer than components, the
 * table in global memory. */
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
    options.is_augmented = true;
    options.nll_weight_end = 0.5; /* and the energy of samples */
    options.num_generated = options.num_held_out_generated = 3;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, 6, x, 2, x + 6 * 6, &trainer));
    eqf_training_state training = EQF_TRAINING_STATE_INIT;
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

/* Dormand-Prince, each sample its own steps, and its continuous adjoint. */
static void check_adaptive(eqf_context *ctx, unsigned group_size, const char *layout) {
    eqf_model *model = tiny_model(ctx);
    ref_radial *radial = ref_radial_from_model(model);
    ref_flow reference = {radial, tiny.num_particles, tiny.space_dim, 200, 1.0};
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = EQF_INTEGRATOR_DOPRI5;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    float x[NUM * 6], log_prob[NUM], z[NUM * 6], velocity[NUM * 6], divergence[NUM];
    TEST_OK(ctx, eqf_flow_sample(flow, 3, 0, NUM, x, log_prob));
    double *h_x = test_to_double(NUM * 6, x), expected_velocity[6], expected_divergence;
    test_worst worst = TEST_WORST_INIT(1e-3), field_worst = TEST_WORST_INIT(1e-4),
               gradient_worst = TEST_WORST_INIT(2e-3);
    for (size_t b = 0; b < NUM; ++b)
        test_compare(&worst, b, fabs(log_prob[b] - ref_log_prob(&reference, h_x + 6 * b, NULL)));
    TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, x, log_prob, z));
    for (size_t b = 0; b < NUM; ++b)
        test_compare(&worst, b, fabs(log_prob[b] - ref_log_prob(&reference, h_x + 6 * b, NULL)));
    TEST_OK(ctx, eqf_flow_velocity(flow, 0.3, NUM, x, velocity, divergence));
    for (size_t b = 0; b < NUM; ++b) {
        ref_velocity(radial, tiny.num_particles, tiny.space_dim, 0.3, h_x + 6 * b, expected_velocity,
                     &expected_divergence, NULL);
        test_compare(&field_worst, b, fabs(divergence[b] - expected_divergence));
        for (size_t n = 0; n < 6; ++n) test_compare(&field_worst, b, fabs(velocity[6 * b + n] - expected_velocity[n]));
    }
    eqf_loss loss = EQF_LOSS_INIT;
    float *gradient = test_output(eqf_model_num_trained(model));
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, NUM, x, &loss, gradient, NULL));
    test_output_end(eqf_model_num_trained(model), gradient);
    double largest = 0.0;
    for (size_t p = 0; p < eqf_model_num_trained(model); ++p) largest = fmax(largest, fabs(gradient[p]));
    for (size_t p = 0; p < NUM_PROBES; ++p)
        test_compare(&gradient_worst, probes[p],
                     fabs(gradient[probes[p]] - ref_loss_by_param(&reference, 0.0, NUM, h_x, probes[p])) / largest);
    test_assert_groups(flow, group_size);
    free(gradient);
    free(h_x);
    eqf_flow_destroy(&flow);
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    bool is_good = test_report(&worst, "dopri5%s: log-densities", layout);
    is_good &= test_report(&field_worst, "dopri5%s: field", layout);
    is_good &= test_report(&gradient_worst, "dopri5%s: gradient by the continuous adjoint", layout);
    assert_true(is_good);
}

static void test_adaptive(void **state) {
    (void)state;
    test_use_groups(test_context(), 0, false);
    check_adaptive(test_context(), 0, "");
}

/* Groups with more work-items than pairs, and with fewer than components. */
static void test_adaptive_groups(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    test_use_groups(ctx, 8, false);
    check_adaptive(ctx, 8, " by groups of 8");
    test_use_groups(ctx, 4, false);
    check_adaptive(ctx, 4, " by groups of 4");
    test_use_groups(ctx, 0, false);
}

/* The dense field: both integrators, exact and estimated divergence, the matrix products of CLBlast. */
static void test_dense(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model_options options = test_model_options(&tiny);
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = 5;
    options.dynamics.depth = 2;
    options.integrator.num_steps = NUM_STEPS;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    float *params = test_floats(eqf_model_num_params(model)), *x = test_configurations(&tiny, NUM, 7);
    test_rng rng = {6};
    for (size_t p = 0; p < eqf_model_num_params(model); ++p) params[p] = (float)(0.4 * test_normal(&rng));
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    ref_dense *reference = ref_dense_from_model(model);
    assert_non_null(reference);
    double *h_x = test_to_double(NUM * 6, x);
    test_worst worst = TEST_WORST_INIT(1e-4), adaptive_worst = TEST_WORST_INIT(2e-3),
               gradient_worst = TEST_WORST_INIT(1e-2);
    for (unsigned divergence = EQF_DIVERGENCE_EXACT; divergence <= EQF_DIVERGENCE_GAUSSIAN; ++divergence) {
        float log_prob[NUM];
        eqf_loss loss = EQF_LOSS_INIT;
        eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
        flow_options.divergence = reference->divergence = (eqf_divergence)divergence;
        flow_options.divergence_seed = reference->divergence_seed = 9;
        for (int is_adaptive = 0; is_adaptive < 2; ++is_adaptive) {
            if (is_adaptive && divergence != EQF_DIVERGENCE_EXACT) continue;
            reference->num_steps = is_adaptive ? 24 : NUM_STEPS;
            flow_options.method = is_adaptive ? EQF_INTEGRATOR_DOPRI5 : EQF_INTEGRATOR_RK4;
            flow_options.adaptive.rtol = 1e-3;
            eqf_flow *flow;
            TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
            TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, x, log_prob, NULL));
            for (size_t b = 0; b < NUM; ++b)
                test_compare(is_adaptive ? &adaptive_worst : &worst, b,
                             fabs(log_prob[b] - ref_dense_log_prob(reference, b, h_x + 6 * b, NULL)));
            float *gradient = test_output(eqf_model_num_trained(model));
            const double penalty = is_adaptive ? 0.0 : 0.1;
            TEST_OK(ctx, eqf_flow_nll_gradient(flow, penalty, NUM, x, &loss, gradient, NULL));
            test_output_end(eqf_model_num_trained(model), gradient);
            double largest = 0.0;
            for (size_t p = 0; p < eqf_model_num_trained(model); ++p) largest = fmax(largest, fabs(gradient[p]));
            for (size_t p = 3; p < eqf_model_num_trained(model); p += 11) {
                double expected = ref_dense_loss_by(reference, penalty, NUM, h_x, reference->params + p);
                test_compare(&gradient_worst, p, fabs(gradient[p] - expected) / largest);
            }
            free(gradient);
            eqf_flow_destroy(&flow);
        }
    }
    bool is_good = test_report(&worst, "dense: log-densities");
    is_good &= test_report(&adaptive_worst, "dense by dopri5: log-densities");
    is_good &= test_report(&gradient_worst, "dense: gradient");
    free(params);
    free(x);
    free(h_x);
    ref_dense_destroy(reference);
    eqf_model_destroy(&model);
    assert_true(is_good);
}

static void test_energy(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = tiny_model(ctx);
    ref_radial *radial = ref_radial_from_model(model);
    ref_flow reference = {radial, tiny.num_particles, tiny.space_dim, NUM_STEPS, 1.0};
    const eqf_potential_options *target = &eqf_model_options_of(model)->potential;
    const double penalty = 0.1, cap = 20.0;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    float z[NUM * 6], *gradient = test_output(eqf_model_num_trained(model));
    eqf_energy_loss loss = EQF_ENERGY_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_prior_sample(flow, 4, 0, NUM, z));
    double *h_z = test_to_double(NUM * 6, z), largest = 0.0;
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, target, cap, penalty, NUM, z, &loss, gradient));
    test_output_end(eqf_model_num_trained(model), gradient);
    eqf_energy_loss expected = ref_energy_loss(&reference, target, cap, penalty, NUM, h_z);
    test_worst worst = TEST_WORST_INIT(1e-4), gradient_worst = TEST_WORST_INIT(1e-3);
    test_compare(&worst, 0, fabs(loss.free_energy - expected.free_energy) / fmax(fabs(expected.free_energy), 1.0));
    for (size_t p = 0; p < eqf_model_num_trained(model); ++p) largest = fmax(largest, fabs(gradient[p]));
    for (size_t p = 0; p < NUM_PROBES; ++p)
        test_compare(&gradient_worst, probes[p],
                     fabs(gradient[probes[p]] -
                          ref_energy_loss_by_param(&reference, target, cap, penalty, NUM, h_z, probes[p])) /
                         largest);
    bool is_good = test_report(&worst, "free energy");
    is_good &= test_report(&gradient_worst, "free energy: gradient");
    free(gradient);
    free(h_z);
    eqf_flow_destroy(&flow);
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    assert_true(is_good);
}

/* Descents: to where they are after so many steps, with the curvature there where it is a minimum. */
static void test_quench(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = test_model_options(&tiny).potential;
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.gradient_tolerance = 1e-2;
    options.max_steps = 400;
    options.max_escapes = 1;
    float x[NUM * 6];
    double found[NUM * 6], energy[NUM], gradient_norm[NUM], force[6];
    eqf_quench_result result[NUM];
    eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &potential, 8, 0, NUM, x));
    TEST_OK(ctx, eqf_minima_quench(ctx, &potential, &options, NUM, x, found, energy, gradient_norm, result, &summary));
    test_worst worst = TEST_WORST_INIT(1e-4);
    for (size_t b = 0; b < NUM; ++b) {
        double expected = ref_potential_energy(&potential, found + 6 * b, force), square = 0.0;
        for (size_t n = 0; n < 6; ++n) square += force[n] * force[n];
        test_compare(&worst, b, fabs(energy[b] - expected));
        test_compare(&worst, b, fabs(gradient_norm[b] - sqrt(square)));
    }
    print_message("%zu of %d at a minimum, %.0f steps each\n", summary.counts[EQF_QUENCH_MINIMUM], NUM,
                  summary.mean_steps);
    assert_true(test_report(&worst, "quenched energies and slopes"));
    assert_true(summary.counts[EQF_QUENCH_MINIMUM] > 0);
}

/* A potential of the user's own: the same numbers as the library's double well, its gradient verified, and chains
 * of it. */
static void test_user_potential(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options built_in = test_model_options(&tiny).potential, own = built_in;
    own.kind = EQF_POTENTIAL_USER;
    own.source =
        "real energy(const real *x) {\n"
        "    real sum = 0;\n"
        "    for (uint i = 0; i < N; i++)\n"
        "        for (uint j = 0; j < i; j++) {\n"
        "            real s = 0;\n"
        "            for (uint d = 0; d < D; d++) s += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);\n"
        "            real e = sqrt(s) - offset;\n"
        "            sum += (quartic * e * e + quadratic) * e * e + linear * e;\n"
        "        }\n"
        "    return sum;\n"
        "}\n"
        "void energy_gradient(const real *x, real *gradient) {\n"
        "    for (uint c = 0; c < N * D; c++) gradient[c] = 0;\n"
        "    for (uint i = 0; i < N; i++)\n"
        "        for (uint j = 0; j < N; j++) {\n"
        "            real s = 0;\n"
        "            for (uint d = 0; d < D; d++) s += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);\n"
        "            if (i == j) continue;\n"
        "            real r = sqrt(s), e = r - offset, slope = (4 * quartic * e * e + 2 * quadratic) * e + linear;\n"
        "            for (uint d = 0; d < D; d++) gradient[i * D + d] += slope / r * (x[i * D + d] - x[j * D + d]);\n"
        "        }\n"
        "}\n";
    const eqf_potential_constant constants[] = {{"offset", built_in.distance_offset},
                                                {"linear", built_in.linear},
                                                {"quadratic", built_in.quadratic},
                                                {"quartic", built_in.quartic}};
    memcpy(own.constants, constants, sizeof constants);
    own.num_constants = 4;
    float *x = test_configurations(&tiny, NUM, 1), energy[NUM], force[NUM * 6], chains[NUM * 6];
    double *h_x = test_to_double(NUM * 6, x), expected_force[6], error;
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &own, NUM, x, energy, force));
    test_worst worst = TEST_WORST_INIT(2e-5), chain_worst = TEST_WORST_INIT(2e-4);
    for (size_t b = 0; b < NUM; ++b) {
        double expected = ref_potential_energy(&built_in, h_x + 6 * b, expected_force), largest = 0.0;
        test_compare(&worst, b, fabs(energy[b] - expected) / fmax(fabs(expected), 1.0));
        for (size_t n = 0; n < 6; ++n) largest = fmax(largest, fabs(expected_force[n]));
        for (size_t n = 0; n < 6; ++n) test_compare(&worst, b, fabs(force[6 * b + n] - expected_force[n]) / largest);
    }
    TEST_OK(ctx, eqf_potential_verify(ctx, &own, &error));
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    options.num_chains = NUM;
    options.num_burn_in = 10;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &own, &options, NUM, chains, energy, &diagnostics));
    free(h_x);
    h_x = test_to_double(NUM * 6, chains);
    for (size_t b = 0; b < NUM; ++b) {
        double expected = ref_potential_energy(&built_in, h_x + 6 * b, NULL);
        test_compare(&chain_worst, b, fabs(energy[b] - expected) / fmax(fabs(expected), 1.0));
    }
    free(x);
    free(h_x);
    bool is_good = test_report(&worst, "a user's potential: energies and forces");
    is_good &= test_report(&chain_worst, "a user's potential: energies of the chains");
    assert_true(is_good);
}

/* The vector-Jacobian product of the velocity, which flow matching uses. */
static void compare_velocity_vjp(eqf_context *ctx, eqf_flow *flow, const ref_message *message, size_t num_params,
                                 const float *x, const double *h_x, test_worst *worst) {
    double adjoint[6], by_x[6], *one = calloc(num_params, sizeof *one), *sum = calloc(num_params, sizeof *sum);
    float adjoints[NUM * 6], adjoint_x[NUM * 6], *gradient = test_output(num_params);
    assert_true(one != NULL && sum != NULL);
    for (size_t n = 0; n < NUM * 6; ++n) adjoints[n] = 0.25f * (float)((n * 7) % 11) - 1.0f;
    TEST_OK(ctx, eqf_flow_velocity_vjp(flow, 0.5, NUM, x, adjoints, NULL, adjoint_x, gradient));
    test_output_end(num_params, gradient);
    for (size_t b = 0; b < NUM; ++b) {
        double largest = 0.0;
        for (size_t n = 0; n < 6; ++n) adjoint[n] = (double)adjoints[6 * b + n];
        ref_message_gradient(message, 0.5, h_x + 6 * b, adjoint, 0.0, by_x, one);
        for (size_t p = 0; p < num_params; ++p) sum[p] += one[p];
        for (size_t n = 0; n < 6; ++n) largest = fmax(largest, fabs(by_x[n]));
        for (size_t n = 0; n < 6; ++n) test_compare(worst, b, fabs((double)adjoint_x[6 * b + n] - by_x[n]) / largest);
    }
    double largest = 0.0;
    for (size_t p = 0; p < num_params; ++p) largest = fmax(largest, fabs(sum[p]));
    for (size_t p = 0; p < num_params; ++p) test_compare(worst, p, fabs((double)gradient[p] - sum[p]) / largest);
    free(one);
    free(sum);
    free(gradient);
}

/* The message field: velocities, divergences, log-densities, the gradient of the nll by all parameters, and that of the
 * velocity alone. */
static void check_message(eqf_context *ctx, const char *layout) {
    eqf_model_options options = test_model_options(&tiny);
    options.integrator.num_steps = NUM_STEPS;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = 2;
    options.dynamics.num_scalars = 4;
    options.dynamics.num_vectors = 2;
    options.dynamics.num_edge = 3;
    options.dynamics.num_reduced = 1;
    options.dynamics.num_distance = 4;
    options.dynamics.distance_max = 6;
    eqf_model *model;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    ref_message *message = ref_message_from_model(model);
    const ref_message_flow reference = {message, NUM_STEPS, 1.0};
    const size_t num_params = eqf_model_num_params(model);
    float *x = test_configurations(&tiny, NUM, 1), velocity[NUM * 6], divergence[NUM], log_prob[NUM],
          *gradient = test_output(num_params);
    double *h_x = test_to_double(NUM * 6, x), expected[6], *by_params = calloc(num_params, sizeof *by_params);
    test_worst worst = TEST_WORST_INIT(2e-5), worst_gradient = TEST_WORST_INIT(1e-3);
    TEST_OK(ctx, eqf_flow_velocity(flow, 0.5, NUM, x, velocity, divergence));
    TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, x, log_prob, NULL));
    for (size_t b = 0; b < NUM; ++b) {
        const double value = ref_message_log_prob(&reference, h_x + 6 * b, NULL, NULL);
        test_compare(&worst, b, fabs(log_prob[b] - value) / fmax(1.0, fabs(value)));
        double expected_divergence;
        ref_message_field(message, 0.5, h_x + 6 * b, expected, &expected_divergence);
        test_compare(&worst, b, fabs(divergence[b] - expected_divergence) / fmax(1.0, fabs(expected_divergence)));
        for (size_t n = 0; n < 6; ++n)
            test_compare(&worst, b, fabs(velocity[6 * b + n] - expected[n]) / fmax(1.0, fabs(expected[n])));
    }
    eqf_loss loss = EQF_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.1, NUM, x, &loss, gradient, NULL));
    test_output_end(num_params, gradient);
    ref_message_loss(&reference, 0.1, NUM, h_x, NULL, by_params);
    double largest = 0.0;
    for (size_t p = 0; p < num_params; ++p) largest = fmax(largest, fabs(by_params[p]));
    for (size_t p = 0; p < num_params; ++p)
        test_compare(&worst_gradient, p, fabs(gradient[p] - by_params[p]) / largest);
    compare_velocity_vjp(ctx, flow, message, num_params, x, h_x, &worst_gradient);
    bool is_good = test_report(&worst, "message field%s: velocities, divergences, log-densities", layout);
    is_good &= test_report(&worst_gradient, "message field%s: gradients", layout);
    free(x);
    free(h_x);
    free(gradient);
    free(by_params);
    ref_message_destroy(message);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    assert_true(is_good);
}

static void test_message(void **state) {
    (void)state;
    check_message(test_context(), "");
}

/* One sample a work-group, in local memory: more work-items than a matrix product has tiles. */
static void test_message_group(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    const eqf__device before = *device;
    device->vector_width = 1;
    device->group_size = 8;
    device->has_fast_local_memory = true;
    eqf__launches_note(ctx);
    check_message(ctx, " by groups of 8");
    const bool is_by_group = strstr(eqf__launches_noted(ctx), ":message_group_sources") != NULL &&
                             strstr(eqf__launches_noted(ctx), ":message_group_edge_adjoints") != NULL &&
                             strstr(eqf__launches_noted(ctx), ":message_group_row_adjoints") != NULL;
    device->vector_width = before.vector_width;
    device->group_size = before.group_size;
    device->has_fast_local_memory = before.has_fast_local_memory;
    assert_true(is_by_group);
}

static void test_double(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    if (!ctx->device->info.has_fp64) {
        print_message("skipped: no fp64\n");
        skip();
    }
    eqf_model *model = tiny_model(ctx);
    ref_radial *radial = ref_radial_from_model(model);
    ref_flow reference = {radial, tiny.num_particles, tiny.space_dim, NUM_STEPS, 1.0};
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    float *x = test_configurations(&tiny, NUM, 1);
    double *h_x = test_to_double(NUM * 6, x), log_prob[NUM], h_z[NUM * 6];
    TEST_OK(ctx, eqf_flow_log_prob_double(flow, NUM, h_x, log_prob, h_z));
    test_worst worst = TEST_WORST_INIT(1e-9);
    for (size_t b = 0; b < NUM; ++b)
        test_compare(&worst, b, fabs(log_prob[b] - ref_log_prob(&reference, h_x + 6 * b, NULL)));
    bool is_good = test_report(&worst, "double: log-densities");
    free(x);
    free(h_x);
    eqf_flow_destroy(&flow);
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    assert_true(is_good);
}

int main(int argc, char **argv) { /* test_portability_tiny [NAME]: the tests whose names match, "test_message" */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_potentials),      cmocka_unit_test(test_monte_carlo),    cmocka_unit_test(test_flow),
        cmocka_unit_test(test_groups),          cmocka_unit_test(test_training),       cmocka_unit_test(test_adaptive),
        cmocka_unit_test(test_adaptive_groups), cmocka_unit_test(test_dense),          cmocka_unit_test(test_energy),
        cmocka_unit_test(test_quench),          cmocka_unit_test(test_user_potential), cmocka_unit_test(test_double),
        cmocka_unit_test(test_message),         cmocka_unit_test(test_message_group),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
