/* Annealing: weights and resampling against their definitions, the score against differences of the double reference,
 * ln Z and mean energy against quadrature. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anneal.h"
#include "support.h"

/* ---- Weights ----------------------------------------------------------------------------------------------------- */

/* Systematic resampling gives each walker its expected number of copies, rounded up or down. */
static void test_resampling(void **state) {
    (void)state;
    enum { NUM = 37, NUM_OUT = 1000 };
    test_rng rng = {5};
    double log_weight[NUM], total = 0;
    for (size_t w = 0; w < NUM; w++) {
        log_weight[w] = w % 7 == 0 ? -INFINITY : 700 + 3 * test_normal(&rng);
        total += exp(log_weight[w] - 700);
    }
    for (unsigned turn = 0; turn < 20; turn++) {
        size_t parents[NUM_OUT], copies[NUM] = {0};
        assert_true(eqf__anneal_resample(NUM, log_weight, test_uniform(&rng), NUM_OUT, parents));
        for (size_t k = 0; k < NUM_OUT; k++) {
            assert_true(parents[k] < NUM && (k == 0 || parents[k] >= parents[k - 1]));
            copies[parents[k]]++;
        }
        for (size_t w = 0; w < NUM; w++) {
            const double expected = NUM_OUT * exp(log_weight[w] - 700) / total;
            assert_true(fabs((double)copies[w] - expected) < 1 + 1e-9);
        }
    }
    const double nothing[2] = {-INFINITY, -INFINITY};
    size_t parents[2];
    assert_false(eqf__anneal_resample(2, nothing, 0.5, 2, parents));
}

static void test_weights(void **state) {
    (void)state;
    eqf__walkers walkers;
    TEST_OK(NULL, eqf__walkers_create(NULL, 4, 2, false, false, &walkers));
    const float energy[4] = {1, 3, INFINITY, 2}, start[4] = {0, 1, 1, NAN};
    memcpy(walkers.energy, energy, sizeof energy);
    memcpy(walkers.start_energy, start, sizeof start);
    /* Of the first two: weights exp(-.5), exp(-1) after a step of one half; the others have none. */
    const double a = exp(-0.5), b = exp(-1.0);
    assert_true(fabs(eqf__anneal_ess_after(&walkers, 0, 4, 0.5) - (a + b) * (a + b) / (a * a + b * b) / 4) < 1e-12);
    assert_true(fabs(eqf__anneal_ess_after(&walkers, 0, 4, 0) - 1) < 1e-12);
    eqf__anneal_reweigh(&walkers, 0, 4, 0.5);
    assert_true(fabs(eqf__anneal_log_mean_weight(&walkers, 0, 4) - log((a + b) / 4)) < 1e-12);
    assert_true(eqf__anneal_energy(&walkers, 2, 0.5) == INFINITY && eqf__anneal_energy(&walkers, 3, 0.5) == INFINITY);
    assert_true(fabs(eqf__anneal_energy(&walkers, 1, 0.25) - 1.5) < 1e-12);
    assert_true(eqf__anneal_energy(&walkers, 3, 1) == 2);
    eqf__walkers_clear(&walkers);
}

/* ---- The score --------------------------------------------------------------------------------------------------- */

static void test_score(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const char *const names[] = {"dw4", "lj13"};
    for (size_t n = 0; n < 2; n++) {
        const test_system *system = test_system_named(names[n]);
        const size_t num_dof = (size_t)system->num_particles * system->space_dim;
        eqf_model_options options = test_model_options(system);
        eqf_model *model = test_trained_like_model(ctx, system, &options, 3);
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
        assert_int_equal(eqf_flow_num_dof(flow), num_dof);
        enum { BATCH = 19 };
        float *x = test_configurations(system, BATCH, 4);
        float *score = test_output(BATCH * num_dof), *z = test_output(BATCH * num_dof), *log_prob = test_output(BATCH);
        float *expected_z = test_floats(BATCH * num_dof), *expected_log_prob = test_floats(BATCH);
        TEST_OK(ctx, eqf_flow_score(flow, BATCH, x, log_prob, z, score));
        TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH, x, expected_log_prob, expected_z));
        test_output_end(BATCH * num_dof, score);
        test_output_end(BATCH * num_dof, z);
        test_output_end(BATCH, log_prob);
        ref_flow reference = {ref_radial_from_model(model), system->num_particles, system->space_dim, 20,
                              options.prior_scale};
        test_worst score_worst = TEST_WORST_INIT(1e-3), same_worst = TEST_WORST_INIT(1e-4);
        double *wide = test_to_double(BATCH * num_dof, x);
        for (size_t b = 0; b < BATCH; b += 3) {
            double size = 0;
            for (size_t c = 0; c < num_dof; c++) size = fmax(size, fabs((double)score[b * num_dof + c]));
            for (size_t c = 0; c < num_dof; c += 5) {
                double *at = &wide[b * num_dof + c];
                const double h = 1e-5, x0 = *at;
                *at = x0 + h;
                const double above = ref_log_prob(&reference, wide + b * num_dof, NULL);
                *at = x0 - h;
                const double below = ref_log_prob(&reference, wide + b * num_dof, NULL);
                *at = x0;
                test_compare(&score_worst, b, fabs(score[b * num_dof + c] - (above - below) / (2 * h)) / (1 + size));
            }
        }
        for (size_t b = 0; b < BATCH; b++)
            test_compare(&same_worst, b, fabs((double)log_prob[b] - (double)expected_log_prob[b]));
        for (size_t c = 0; c < BATCH * num_dof; c++)
            test_compare(&same_worst, c, fabs((double)z[c] - (double)expected_z[c]));
        const bool is_right = test_report(&score_worst, "%s: score", names[n]);
        if (!test_report(&same_worst, "%s: log_prob and latents beside the score", names[n]) || !is_right) fail();
        ref_radial_destroy(reference.radial);
        free(wide);
        free(x);
        free(score);
        free(z);
        free(log_prob);
        free(expected_z);
        free(expected_log_prob);
        eqf_flow_destroy(&flow);
        eqf_model_destroy(&model);
    }
}

/* ---- Known integrals --------------------------------------------------------------------------------------------- */

/* Three particles on a line, mean-free: two free coordinates a, b along orthonormal directions. ln Z and mean energy by
 * the trapezoid rule, which is exact to rounding for a smooth function that dies out. */
static void integrate_three(const eqf_potential_options *potential, double *log_z_out, double *mean_energy_out) {
    const double step = 0.02, reach = 12, floor_energy = -12 / potential->temperature;
    double z = 0, energy = 0;
    for (double a = -reach; a <= reach; a += step) {
        for (double b = -reach; b <= reach; b += step) {
            const double x[3] = {a / sqrt(2) + b / sqrt(6), -a / sqrt(2) + b / sqrt(6), -2 * b / sqrt(6)};
            const double u = ref_potential_energy(potential, x, NULL);
            const double weight = exp(-(u - floor_energy)) * step * step;
            z += weight;
            energy += weight * u;
        }
    }
    *log_z_out = log(z) - floor_energy;
    *mean_energy_out = energy / z;
}

static eqf_potential_options three_on_a_line(void) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT; /* double wells: the preset's constants */
    potential.num_particles = 3;
    potential.space_dim = 1;
    potential.distance_offset = 2;
    return potential;
}

static eqf_anneal_result run(eqf_context *ctx, eqf_annealer *annealer) {
    eqf_anneal_state now = EQF_ANNEAL_STATE_INIT;
    double before = 0;
    while (!now.is_done) {
        TEST_OK(ctx, eqf_annealer_advance(annealer, &now));
        assert_true(now.beta > before || now.step == 1);
        before = now.beta;
    }
    eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
    TEST_OK(ctx, eqf_annealer_result(annealer, &result, NULL, NULL, NULL));
    print_message("ln Z %.4f +- %.4f, mean energy %.4f +- %.4f, ESS %.3f, %u steps\n", result.log_z,
                  result.log_z_standard_error, result.mean_energy, result.mean_energy_standard_error,
                  result.ess_fraction, result.num_steps);
    return result;
}

/* Within five of its errors, which mean something. */
static void check_near(double value, double error, double known) {
    assert_true(error > 0 && error < 0.15);
    assert_true(fabs(value - known) < 5 * error);
}

static void check_outputs(eqf_context *ctx, const eqf_annealer *annealer, const eqf_potential_options *target,
                          const eqf_anneal_result *result) {
    const size_t num = result->num_walkers, num_dof = (size_t)target->num_particles * target->space_dim;
    float *x = test_output(num * num_dof), *energy = test_output(num);
    double *log_weights = malloc(num * sizeof *log_weights);
    TEST_OK(ctx, eqf_annealer_result(annealer, NULL, x, energy, log_weights));
    test_output_end(num * num_dof, x);
    test_output_end(num, energy);
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    assert_int_equal(eqf_estimate_weights(num, log_weights, &summary), EQF_OK);
    assert_true(fabs(summary.log_z - result->log_z) < 1e-9 && fabs(summary.ess_fraction - result->ess_fraction) < 1e-9);
    double *wide = test_to_double(num * num_dof, x);
    test_worst worst = TEST_WORST_INIT(1e-4);
    for (size_t w = 0; w < num; w++) {
        const double u = ref_potential_energy(target, wide + w * num_dof, NULL);
        test_compare(&worst, w, fabs(u - energy[w]) / fmax(10, fabs(u)));
    }
    assert_true(test_report(&worst, "energies of the walkers"));
    /* Equally weighted ones have the same mean. */
    TEST_OK(ctx, eqf_annealer_resample(annealer, num, x, energy));
    double sum = 0;
    for (size_t w = 0; w < num; w++) sum += energy[w];
    assert_true(fabs(sum / (double)num - result->mean_energy) < 0.1);
    free(wide);
    free(x);
    free(energy);
    free(log_weights);
}

/* From a flow that knows nothing: an untrained radial field. */
static void test_from_flow(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options target = three_on_a_line();
    double log_z, mean_energy;
    integrate_three(&target, &log_z, &mean_energy);
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential = target;
    options.prior_scale = 1.0;
    options.seed = 2;
    eqf_model *model;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    print_message("quadrature: ln Z %.4f, mean energy %.4f\n", log_z, mean_energy);
    const struct {
        unsigned latent, langevin, particle;
    } moves[] = {{2, 3, 0}, {6, 0, 0}, {0, 4, 0}, {0, 0, 6}, {2, 1, 1}};
    for (size_t m = 0; m < sizeof moves / sizeof moves[0]; m++) {
        const eqf_anneal_options anneal = {.struct_size = sizeof anneal,
                                           .seed = 7,
                                           .num_walkers = 4000,
                                           .num_pilot = 400,
                                           .num_latent_moves = moves[m].latent,
                                           .num_langevin_moves = moves[m].langevin,
                                           .num_particle_sweeps = moves[m].particle,
                                           .has_no_latent_moves = moves[m].latent == 0,
                                           .has_no_langevin_moves = moves[m].langevin == 0};
        eqf_annealer *annealer, *again;
        TEST_OK(ctx, eqf_annealer_create(ctx, flow, &target, &anneal, &annealer));
        const eqf_anneal_result result = run(ctx, annealer);
        check_near(result.log_z, result.log_z_standard_error, log_z);
        check_near(result.mean_energy, result.mean_energy_standard_error, mean_energy);
        check_outputs(ctx, annealer, &target, &result);
        eqf_annealer_destroy(&annealer);
        if (m > 0) continue;
        TEST_OK(ctx, eqf_annealer_create(ctx, flow, &target, &anneal, &again));
        const eqf_anneal_result same = run(ctx, again);
        assert_true(same.log_z == result.log_z && same.mean_energy == result.mean_energy);
        eqf_annealer_destroy(&again);
    }
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* From one temperature to another. */
static void test_from_samples(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options start = three_on_a_line();
    eqf_potential_options target = start;
    target.temperature = 2.5;
    double log_z_start, log_z, mean_energy;
    integrate_three(&start, &log_z_start, &mean_energy);
    integrate_three(&target, &log_z, &mean_energy);
    enum { NUM = 9000 };
    float *x = test_output(NUM * 3), *energy = test_output(NUM);
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &start, &options, NUM, x, energy, &diagnostics));
    for (unsigned turn = 0; turn < 2; turn++) { /* along forces; of single particles */
        const eqf_anneal_options anneal = {.struct_size = sizeof anneal,
                                           .seed = 3,
                                           .num_walkers = 8000,
                                           .num_pilot = 500,
                                           .has_no_langevin_moves = turn == 1,
                                           .num_particle_sweeps = turn};
        eqf_annealer *annealer;
        TEST_OK(ctx, eqf_annealer_create_from_samples(ctx, &start, NUM, x, &target, &anneal, &annealer));
        const eqf_anneal_result result = run(ctx, annealer);
        check_near(result.log_z, result.log_z_standard_error, log_z - log_z_start);
        check_near(result.mean_energy, result.mean_energy_standard_error, mean_energy);
        check_outputs(ctx, annealer, &target, &result);
        eqf_annealer_destroy(&annealer);
    }
    free(x);
    free(energy);
}

/* ---- Invariance -------------------------------------------------------------------------------------------------- */

/* Means of u, of E_start = -log q and of the mean square of a coordinate under exp(-E_beta), by quadrature over the two
 * free coordinates of three particles on a line; log q is the device's. */
static void integrate_mixture(eqf_context *ctx, eqf_flow *flow, const eqf_potential_options *target, double beta,
                              double *means_out) {
    enum { SIDE = 181 };
    const double step = 0.1;
    float *x = test_floats(SIDE * SIDE * 3), *log_prob = test_floats(SIDE * SIDE);
    for (size_t n = 0; n < SIDE * SIDE; n++) {
        const double a = ((double)(n / SIDE) - SIDE / 2) * step, b = ((double)(n % SIDE) - SIDE / 2) * step;
        x[3 * n] = (float)(a / sqrt(2) + b / sqrt(6));
        x[3 * n + 1] = (float)(-a / sqrt(2) + b / sqrt(6));
        x[3 * n + 2] = (float)(-2 * b / sqrt(6));
    }
    TEST_OK(ctx, eqf_flow_log_prob(flow, SIDE * SIDE, x, log_prob, NULL));
    double sums[4] = {0};
    for (size_t n = 0; n < SIDE * SIDE; n++) {
        const double wide[3] = {x[3 * n], x[3 * n + 1], x[3 * n + 2]}, u = ref_potential_energy(target, wide, NULL),
                     start = -(double)log_prob[n], weight = exp(-beta * (u + 15) - (1 - beta) * start);
        sums[0] += weight;
        sums[1] += weight * u;
        sums[2] += weight * start;
        sums[3] += weight * (wide[0] * wide[0] + wide[1] * wide[1] + wide[2] * wide[2]) / 3;
    }
    for (size_t s = 0; s < 3; s++) means_out[s] = sums[s + 1] / sums[0];
    free(x);
    free(log_prob);
}

/* Each kind of moves brings independent walkers from the flow's density to exp(-E_beta). Their means are compared with
 * quadrature, within four of the standard errors of independent walkers. */
static void check_invariance(eqf_context *ctx, eqf__anneal_system *system, const eqf__anneal_kind *kind, double beta,
                             double size, unsigned num_moves, const double *known) {
    enum { NUM = 4096 };
    eqf__walkers walkers, proposed;
    double acceptance = 0;
    TEST_OK(ctx, eqf__walkers_create(ctx, NUM, 3, true, system->has_forces, &walkers));
    TEST_OK(ctx, eqf__walkers_create(ctx, NUM, 3, true, system->has_forces, &proposed));
    TEST_OK(ctx, eqf__anneal_draw(system, 11, 0, 1, &walkers));
    TEST_OK(ctx, eqf__anneal_evaluate(system, &walkers));
    for (unsigned m = 0; m < num_moves; m++) {
        const eqf__anneal_place place = {5, kind->purpose, 1, m};
        TEST_OK(ctx, kind->move(system, &walkers, &proposed, beta, size, place, &acceptance));
    }
    TEST_OK(ctx, eqf__anneal_evaluate(system, &walkers));
    double sums[3] = {0}, squares[3] = {0};
    for (size_t w = 0; w < NUM; w++) {
        const float *x = walkers.x + 3 * w;
        assert_true(fabs((double)x[0] + x[1] + x[2]) < 1e-5);
        const double values[3] = {walkers.energy[w], walkers.start_energy[w],
                                  ((double)x[0] * x[0] + (double)x[1] * x[1] + (double)x[2] * x[2]) / 3};
        for (size_t s = 0; s < 3; s++) {
            sums[s] += values[s];
            squares[s] += values[s] * values[s];
        }
    }
    for (size_t s = 0; s < 3; s++) {
        const double mean = sums[s] / NUM, error = sqrt((squares[s] / NUM - mean * mean) / NUM);
        print_message("beta %.2f, purpose %d, acceptance %.2f, number %zu: %.4f +- %.4f, by quadrature %.4f\n", beta,
                      (int)kind->purpose, acceptance, s, mean, error, known[s]);
        assert_true(fabs(mean - known[s]) < 4 * error);
    }
    eqf__walkers_clear(&walkers);
    eqf__walkers_clear(&proposed);
}

static void test_invariance(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options target = three_on_a_line();
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential = target;
    options.prior_scale = 2;
    options.seed = 2;
    eqf_model *model;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    const double betas[] = {0.3, 1};
    for (size_t b = 0; b < 2; b++) {
        double known[3];
        integrate_mixture(ctx, flow, &target, betas[b], known);
        for (size_t k = 0; k < EQF__ANNEAL_NUM_KINDS; k++) {
            const eqf__anneal_kind *kind = &eqf__anneal_kinds[k];
            if (kind->needs_forces && betas[b] == 1) continue; /* barriers: it would take too many moves */
            eqf__anneal_system system = {.ctx = ctx,
                                         .start = {.flow = flow},
                                         .target = target,
                                         .num_dof = 3,
                                         .num_particles = 3,
                                         .space_dim = 1,
                                         .has_latents = true,
                                         .has_forces = kind->needs_forces};
            const double size = kind->purpose == EQF__ANNEAL_LATENT ? 0.7 : kind->needs_forces ? 0.2 : 3;
            check_invariance(ctx, &system, kind, betas[b], size, kind->purpose == EQF__ANNEAL_PARTICLE ? 40 : 120,
                             known);
            eqf__anneal_clear_particles(&system);
        }
    }
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options target = three_on_a_line();
    const float x[60] = {0};
    eqf_annealer *annealer = (eqf_annealer *)&target;
    assert_int_equal(eqf_annealer_create(ctx, NULL, &target, NULL, &annealer), EQF_ERROR_INVALID_ARGUMENT);
    assert_null(annealer);
    assert_int_equal(eqf_annealer_create_from_samples(ctx, &target, 10, NULL, &target, NULL, &annealer),
                     EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_annealer_create_from_samples(ctx, &target, 3, x, &target, NULL, &annealer),
                     EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "too few"));
    eqf_potential_options other = target;
    other.num_particles = 4;
    assert_int_equal(eqf_annealer_create_from_samples(ctx, &other, 5, x, &target, NULL, &annealer),
                     EQF_ERROR_INVALID_ARGUMENT);
    const eqf_anneal_options bad[] = {
        {.struct_size = sizeof(eqf_anneal_options), .num_repeats = 1},
        {.struct_size = sizeof(eqf_anneal_options), .num_walkers = 9},
        {.struct_size = sizeof(eqf_anneal_options), .ess_decay = 1.5},
        {.struct_size = sizeof(eqf_anneal_options), .ess_decay = NAN},
        {.struct_size = sizeof(eqf_anneal_options), .resample_below = -1},
        {.struct_size = sizeof(eqf_anneal_options), .has_no_langevin_moves = true},
        {.struct_size = sizeof(eqf_anneal_options), .num_particle_sweeps = 1001},
    };
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
        assert_int_equal(eqf_annealer_create_from_samples(ctx, &target, 20, x, &target, &bad[b], &annealer),
                         EQF_ERROR_INVALID_ARGUMENT);
        assert_null(annealer);
    }
    assert_int_equal(eqf_annealer_advance(NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_annealer_result(NULL, NULL, NULL, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    TEST_OK(ctx, eqf_annealer_create_from_samples(ctx, &target, 20, x, &target, NULL, &annealer));
    assert_int_equal(eqf_annealer_result(annealer, NULL, NULL, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    eqf_annealer_destroy(&annealer);
    eqf_annealer_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resampling), cmocka_unit_test(test_weights),      cmocka_unit_test(test_score),
        cmocka_unit_test(test_from_flow),  cmocka_unit_test(test_from_samples), cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
