/* The number of independent walkers: its parts against their definitions, the number against the spread of repeats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annealer.h"
#include "support.h"

static void test_copies(void **state) {
    (void)state;
    const size_t parents[7] = {0, 0, 1, 3, 3, 3, 6};
    assert_true(fabs(eqf__anneal_copies(7, parents) - (4 + 1 + 9 + 1) / 7.0) < 1e-15);
    assert_true(eqf__anneal_copies(3, parents + 1) == 1 + 0.0); /* 0, 1, 3 */
    assert_true(eqf__anneal_copies(1, parents) == 1);
}

/* Two repeats of three walkers; one walker without weight, whose energy is infinite. */
static void test_correlation(void **state) {
    (void)state;
    eqf__walkers walkers;
    TEST_OK(NULL, eqf__walkers_create(NULL, 6, 2, false, false, &walkers));
    const float before[6] = {1, 2, INFINITY, 101, 102, 105}, after[6] = {2, 1, INFINITY, 101, 103, 104};
    const double log_weight[6] = {700, 700 + log(3), -INFINITY, -800, -800, -800};
    memcpy(walkers.energy, after, sizeof after);
    memcpy(walkers.log_weight, log_weight, sizeof log_weight);
    /* First: weights 1/4, 3/4, means 1.75 and 1.25; second: equal weights, means 308/3 of both. */
    const double m = 308 / 3.0,
                 squares[2] = {(0.5625 + 3 * 0.0625) / 4 + (pow(101 - m, 2) + pow(102 - m, 2) + pow(105 - m, 2)) / 3,
                               (0.5625 + 3 * 0.0625) / 4 + (pow(101 - m, 2) + pow(103 - m, 2) + pow(104 - m, 2)) / 3},
                 product = -(0.5625 + 3 * 0.0625) / 4 +
                           ((101 - m) * (101 - m) + (102 - m) * (103 - m) + (105 - m) * (104 - m)) / 3;
    const double expected = product / sqrt(squares[0] * squares[1]);
    assert_true(fabs(eqf__anneal_correlation(&walkers, before, 2) - expected) < 1e-12);
    assert_true(fabs(eqf__anneal_correlation(&walkers, walkers.energy, 2) - 1) < 1e-12);
    for (size_t w = 0; w < 6; w++) walkers.energy[w] = 3;
    assert_true(eqf__anneal_correlation(&walkers, walkers.energy, 2) == 1);
    eqf__walkers_clear(&walkers);
}

static eqf_anneal_result run(eqf_context *ctx, eqf_annealer *annealer, eqf_anneal_state *last_out) {
    *last_out = (eqf_anneal_state)EQF_ANNEAL_STATE_INIT;
    while (!last_out->is_done) TEST_OK(ctx, eqf_annealer_advance(annealer, last_out));
    eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
    TEST_OK(ctx, eqf_annealer_result(annealer, &result, NULL, NULL, NULL));
    return result;
}

static double variance(size_t num, const float *values) {
    double sum = 0, squares = 0;
    for (size_t n = 0; n < num; n++) sum += values[n];
    for (size_t n = 0; n < num; n++) squares += pow(values[n] - sum / (double)num, 2);
    return squares / (double)num;
}

/* The variance of a repeat's mean energy is that of u divided by the number of independent walkers. With 100 repeats
 * the measured one is known to a seventh. Few samples and few moves leave 100 walkers of a repeat far from independent;
 * many moves make them so. */
static void test_spread(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options start = EQF_POTENTIAL_OPTIONS_INIT, target;
    start.kind = EQF_POTENTIAL_LENNARD_JONES; /* an ideal gas in a trap: all modes relax alike */
    start.num_particles = 3;
    start.epsilon = 0;
    target = start;
    target.temperature = 1.15;
    enum { REPEATS = 100, WALKERS = 100 * REPEATS };
    const struct {
        size_t samples_of_repeat;
        unsigned moves;
        double least, most; /* of the number of independent walkers */
    } cases[] = {{10, 1, 25, 45}, {50, 1, 58, 80}, {1000, 1, 86, 100.01}, {10, 60, 90, 100.01}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const size_t num = cases[c].samples_of_repeat * (REPEATS + 1);
        float *x = test_output(num * 6), *energy = test_output(num), *final = test_output(WALKERS);
        eqf_mcmc_options sampling = EQF_MCMC_OPTIONS_INIT;
        sampling.seed = 4;
        eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
        TEST_OK(ctx, eqf_mcmc_sample(ctx, &start, &sampling, num, x, energy, &diagnostics));
        const eqf_anneal_options options = {.struct_size = sizeof options,
                                            .seed = 3,
                                            .num_walkers = WALKERS,
                                            .num_repeats = REPEATS,
                                            .num_pilot = 300,
                                            .num_langevin_moves = cases[c].moves};
        eqf_annealer *annealer;
        TEST_OK(ctx, eqf_annealer_create_from_samples(ctx, &start, num, x, &target, &options, &annealer));
        eqf_anneal_state last;
        const eqf_anneal_result result = run(ctx, annealer, &last);
        TEST_OK(ctx, eqf_annealer_result(annealer, NULL, NULL, final, NULL));
        const double spread = result.mean_energy_standard_error * sqrt(REPEATS),
                     shown = variance(WALKERS, final) / (spread * spread);
        print_message("%zu samples a repeat, %u moves: independent walkers %.1f, by the spread of repeats %.1f, "
                      "correlation %.3f\n",
                      cases[c].samples_of_repeat, cases[c].moves, last.num_independent, shown, last.energy_correlation);
        assert_true(last.num_independent > cases[c].least && last.num_independent < cases[c].most);
        assert_true(shown > 0.45 * last.num_independent && shown < 1.5 * last.num_independent);
        assert_true(result.num_independent <= last.num_independent &&
                    result.energy_correlation == last.energy_correlation);
        eqf_annealer_destroy(&annealer);
        free(x);
        free(energy);
        free(final);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
