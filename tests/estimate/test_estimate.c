/* Weighted averages, errors and histograms against closed forms. */
#include <math.h>
#include <stdlib.h>

#include "support.h"

static const double log_two_pi = 1.83787706640934548356;

/* Prints the figures; fails if |value - expected| > tolerance, NaN included. */
static void check(const char *name, double value, double expected, double tolerance) {
    print_message("%-46s %.9g, expected %.9g: off by %.2g (tolerance %.2g)\n", name, value, expected,
                  fabs(value - expected), tolerance);
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s", name);
}

static double *doubles(size_t count) {
    double *values = calloc(count > 0 ? count : 1, sizeof *values);
    if (values == NULL) abort();
    return values;
}

/* ---- Weights ----------------------------------------------------------------------------------------------- */

static void log_weights_are_minus_energy_minus_log_prob(void **state) {
    (void)state;
    const float energy[] = {1.5f, -2.0f, INFINITY, NAN, INFINITY}, log_prob[] = {0.25f, 3.0f, -1.0f, -1.0f, NAN};
    double log_weights[5];
    assert_int_equal(eqf_estimate_log_weights(5, energy, log_prob, log_weights), EQF_OK);
    check("ordinary", log_weights[0], -1.75, 0.0);
    check("negative energy", log_weights[1], -1.0, 0.0);
    for (int b = 2; b < 5; b++) assert_true(log_weights[b] == -INFINITY);
    assert_int_equal(eqf_estimate_log_weights(0, NULL, NULL, NULL), EQF_OK);

    const float minus_infinity = -INFINITY, nan = NAN, one = 1.0f;
    assert_int_equal(eqf_estimate_log_weights(1, &minus_infinity, &one, log_weights), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_log_weights(1, &one, &nan, log_weights), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_log_weights(1, &one, &minus_infinity, log_weights), EQF_ERROR_NON_FINITE);
}

static void equal_weights_have_full_ess(void **state) {
    (void)state;
    double *log_weights = doubles(1000);
    for (size_t b = 0; b < 1000; b++) log_weights[b] = -1234.5;
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    assert_int_equal(eqf_estimate_weights(1000, log_weights, &summary), EQF_OK);
    assert_int_equal(summary.num_samples, 1000);
    check("ess", summary.ess, 1000.0, 1e-9);
    check("ess_fraction", summary.ess_fraction, 1.0, 1e-12);
    check("max_weight_fraction", summary.max_weight_fraction, 0.001, 1e-15);
    check("log_z", summary.log_z, -1234.5, 1e-9);
    check("log_z_standard_error", summary.log_z_standard_error, 0.0, 1e-9);
    free(log_weights);
}

/* Weights 1, 2, 3, 0: sum 6, sum of squares 14. The shift moves ln Z and nothing else, over- and underflow included. */
static void few_weights_match_the_formulas(void **state) {
    (void)state;
    const double shifts[] = {0.0, 800.0, -800.0, 1e5};
    for (int k = 0; k < 4; k++) {
        double shift = shifts[k];
        double log_weights[] = {shift, shift + log(2.0), shift + log(3.0), -INFINITY}, values[] = {1.0, 4.0, -2.0, NAN};
        eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
        assert_int_equal(eqf_estimate_weights(4, log_weights, &summary), EQF_OK);
        check("ess", summary.ess, 36.0 / 14.0, 1e-10);
        check("ess_fraction", summary.ess_fraction, 9.0 / 14.0, 1e-10);
        check("max_weight_fraction", summary.max_weight_fraction, 0.5, 1e-10);
        check("log_z", summary.log_z, shift + log(1.5), 1e-10);
        check("log_z_standard_error", summary.log_z_standard_error, sqrt((14.0 / 9.0 - 1.0) / 4.0), 1e-10);
        double mean, standard_error;
        assert_int_equal(eqf_estimate_reweighted_mean(4, log_weights, values, &mean, &standard_error), EQF_OK);
        check("reweighted mean", mean, 0.5, 1e-10); /* (1 + 8 - 6)/6 */
        check("its error", standard_error, sqrt(0.25 + 4.0 * 12.25 + 9.0 * 6.25) / 6.0, 1e-10);
    }
}

static void weights_without_meaning_are_refused(void **state) {
    (void)state;
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    double mean, error, value = 1.0, density;
    const double bad[] = {NAN, INFINITY, -INFINITY}; /* the last: no sample has any weight */
    for (int k = 0; k < 3; k++) {
        assert_int_equal(eqf_estimate_weights(1, &bad[k], &summary), EQF_ERROR_NON_FINITE);
        assert_int_equal(eqf_estimate_reweighted_mean(1, &bad[k], &value, &mean, &error), EQF_ERROR_NON_FINITE);
        assert_int_equal(eqf_estimate_reweighted_bootstrap(1, &bad[k], &value, 10, 0, &mean, &error),
                         EQF_ERROR_NON_FINITE);
        assert_int_equal(eqf_estimate_histogram(1, &value, &bad[k], 0.0, 2.0, 1, &density), EQF_ERROR_NON_FINITE);
    }
    const double zero = 0.0, nan = NAN;
    assert_int_equal(eqf_estimate_reweighted_mean(1, &zero, &nan, &mean, &error), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_weights(0, &zero, &summary), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_reweighted_mean(0, &zero, &zero, &mean, &error), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_reweighted_bootstrap(1, &zero, &zero, 1, 0, &mean, &error),
                     EQF_ERROR_INVALID_ARGUMENT);
}

/* Samples of N(0, 1) reweighted to exp(-x^2/(2 s^2)): ln Z = ln s + 0.5 ln 2 pi, mean x^2 = s^2, and the weights'
 * moments give ESS/num = (E w)^2 / E w^2 = s^2 sqrt(2/s^2 - 1). */
static void gaussian_reweighting_matches_its_integrals(void **state) {
    (void)state;
    const double s = 0.8;
    const size_t num = 400000;
    test_rng rng = {1};
    float *energy = test_floats(num), *log_prob = test_floats(num);
    double *log_weights = doubles(num), *values = doubles(num);
    for (size_t b = 0; b < num; b++) {
        double x = test_normal(&rng);
        energy[b] = (float)(x * x / (2.0 * s * s));
        log_prob[b] = (float)(-x * x / 2.0 - 0.5 * log_two_pi);
        values[b] = x * x;
    }
    assert_int_equal(eqf_estimate_log_weights(num, energy, log_prob, log_weights), EQF_OK);
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    assert_int_equal(eqf_estimate_weights(num, log_weights, &summary), EQF_OK);
    check("log_z", summary.log_z, log(s) + 0.5 * log_two_pi, 4.0 * summary.log_z_standard_error);
    double fraction = s * s * sqrt(2.0 / (s * s) - 1.0);
    check("ess_fraction", summary.ess_fraction, fraction, 0.002);
    /* Var w / (E w)^2 = 1/fraction - 1 */
    check("log_z_standard_error", summary.log_z_standard_error, sqrt((1.0 / fraction - 1.0) / (double)num), 2e-6);
    double mean, error, bootstrap_mean, bootstrap_error, again;
    assert_int_equal(eqf_estimate_reweighted_mean(num, log_weights, values, &mean, &error), EQF_OK);
    check("mean of x^2", mean, s * s, 4.0 * error);
    assert_true(error > 1e-4 && error < 1e-2);

    /* The bootstrap's relative noise is 1/sqrt(2 num_resamples) = 5 %; 4 of that. */
    assert_int_equal(
        eqf_estimate_reweighted_bootstrap(4000, log_weights, values, 200, 7, &bootstrap_mean, &bootstrap_error),
        EQF_OK);
    assert_int_equal(eqf_estimate_reweighted_mean(4000, log_weights, values, &mean, &error), EQF_OK);
    check("bootstrap mean", bootstrap_mean, mean, 0.0);
    check("bootstrap error / delta method", bootstrap_error / error, 1.0, 0.2);
    assert_int_equal(eqf_estimate_reweighted_bootstrap(4000, log_weights, values, 200, 7, &bootstrap_mean, &again),
                     EQF_OK);
    check("same seed, same error", again, bootstrap_error, 0.0);
    assert_int_equal(eqf_estimate_reweighted_bootstrap(4000, log_weights, values, 200, 8, &bootstrap_mean, &again),
                     EQF_OK);
    assert_true(again != bootstrap_error);
    free(energy);
    free(log_prob);
    free(log_weights);
    free(values);
}

/* The same ESS from samples of the target: w = exp(-x^2/(2 s^2)) / q over x ~ N(0, s^2), whose mean times that of 1/w
 * is its inverse; and what the model's samples cannot know: a target of two equal peaks of which the model has one with
 * all but a share of its weight. */
static void forward_ess_matches_its_integral(void **state) {
    (void)state;
    enum { NUM = 20000, SEEDS = 12 };
    const double s = 0.8, fraction = s * s * sqrt(2.0 / (s * s) - 1.0);
    double *log_weights = doubles(NUM), value, error, again;
    unsigned num_covered = 0;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        test_rng rng = {seed};
        for (size_t b = 0; b < NUM; b++) {
            double x = s * test_normal(&rng);
            log_weights[b] = 700.0 - x * x / (2.0 * s * s) + x * x / 2.0; /* a constant changes nothing */
        }
        assert_int_equal(eqf_estimate_forward_ess(NUM, log_weights, 100, 7, &value, &error), EQF_OK);
        check("forward ESS", value, fraction, fmax(4.0 * error, 0.002));
        num_covered += fabs(value - fraction) < 2 * error;
    }
    print_message("%u of %u within two errors\n", num_covered, SEEDS);
    assert_true(num_covered >= 9);
    assert_true(error > 1e-4 && error < 0.01);
    assert_int_equal(eqf_estimate_forward_ess(NUM, log_weights, 100, 7, &again, &error), EQF_OK);
    check("same seed, same value", again, value, 0.0);

    /* Peaks too far apart to overlap, shares 1/2 of the target, 1 - a and a of the model: w = 1/2/(1 - a) or 1/2/a,
     * mean w = (1/(1 - a) + 1/a)/4, mean 1/w = 1, so ESS = 4 a (1 - a). */
    const double a = 0.001;
    for (size_t b = 0; b < NUM; b++) log_weights[b] = log(b % 2 ? 0.5 / a : 0.5 / (1 - a));
    assert_int_equal(eqf_estimate_forward_ess(NUM, log_weights, 100, 7, &value, &error), EQF_OK);
    check("a peak missed", value, 4 * a * (1 - a), 1e-9);

    const double equal[] = {3.0, 3.0, 3.0}, zero[] = {0.0, -INFINITY}, wide[] = {-2000.0, 2000.0};
    assert_int_equal(eqf_estimate_forward_ess(3, equal, 10, 1, &value, &error), EQF_OK);
    check("equal weights", value, 1.0, 1e-12);
    check("their error", error, 0.0, 1e-12);
    assert_int_equal(eqf_estimate_forward_ess(2, zero, 10, 1, &value, &error), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_forward_ess(2, wide, 10, 1, &value, &error), EQF_OK);
    check("weights that no double holds", value, 0.0, 0.0);
    assert_int_equal(eqf_estimate_forward_ess(3, equal, 1, 1, &value, &error), EQF_ERROR_INVALID_ARGUMENT);
    free(log_weights);
}

static void bootstrap_ignores_values_at_weight_zero(void **state) {
    (void)state;
    /* An odd count, and resamples that catch no weight at all. */
    const double log_weights[] = {-INFINITY, 0.0, -INFINITY}, values[] = {NAN, 3.0, INFINITY};
    double mean, error;
    assert_int_equal(eqf_estimate_reweighted_bootstrap(3, log_weights, values, 50, 1, &mean, &error), EQF_OK);
    check("mean", mean, 3.0, 0.0);
    check("error", error, 0.0, 0.0);
}

/* ---- Means, histograms, distances -------------------------------------------------------------------------- */

static void mean_matches_the_formula(void **state) {
    (void)state;
    /* A large offset must not eat the spread. */
    const double values[] = {1e6 + 1.0, 1e6 + 2.0, 1e6 + 3.0, 1e6 + 6.0};
    double mean, error;
    assert_int_equal(eqf_estimate_mean(4, values, &mean, &error), EQF_OK);
    check("mean", mean, 1e6 + 3.0, 1e-9);
    check("standard error", error, sqrt(14.0 / 3.0 / 4.0), 1e-9);
    assert_int_equal(eqf_estimate_mean(1, values, &mean, &error), EQF_ERROR_INVALID_ARGUMENT);
    const double bad[] = {1.0, INFINITY};
    assert_int_equal(eqf_estimate_mean(2, bad, &mean, &error), EQF_ERROR_NON_FINITE);
}

static void histogram_counts_inside_and_outside(void **state) {
    (void)state;
    const double values[] = {0.0, 0.4999, 0.5, 1.9999999999999998, 2.0, -0.1, NAN, INFINITY, 1.2, 1.7};
    double density[4]; /* of width 0.5; 10 values, 6 inside */
    assert_int_equal(eqf_estimate_histogram(10, values, NULL, 0.0, 2.0, 4, density), EQF_OK);
    const double expected[] = {0.4, 0.2, 0.2, 0.4};
    double inside = 0.0;
    for (int k = 0; k < 4; k++) {
        check("density", density[k], expected[k], 1e-15);
        inside += 0.5 * density[k];
    }
    check("fraction inside", inside, 0.6, 1e-15);

    const double log_weights[] = {log(3.0), 0.0, -INFINITY}, weighted[] = {0.25, 5.0, 0.75};
    assert_int_equal(eqf_estimate_histogram(3, weighted, log_weights, 0.0, 1.0, 2, density), EQF_OK);
    check("weighted density", density[0], 0.75 / 0.5, 1e-15);
    check("empty bin", density[1], 0.0, 0.0);

    /* (value - low)/width rounds up to num_bins here. */
    const double edge = nextafter(0.3, 0.0);
    assert_int_equal(eqf_estimate_histogram(1, &edge, NULL, 0.0, 0.3, 3, density), EQF_OK);
    check("last bin", density[2] * 0.1, 1.0, 1e-12);

    assert_int_equal(eqf_estimate_histogram(1, values, NULL, 1.0, 1.0, 4, density), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_histogram(1, values, NULL, NAN, 1.0, 4, density), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_histogram(1, values, NULL, 0.0, INFINITY, 4, density), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_histogram(1, values, NULL, 0.0, 1.0, 0, density), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_histogram(0, values, NULL, 0.0, 1.0, 4, density), EQF_ERROR_INVALID_ARGUMENT);
}

static void pair_distances_are_ordered_by_pairs(void **state) {
    (void)state;
    const float x[] = {0, 0, 3, 4, 0, 1, /* second configuration */ 1, 1, 1, 1, 4, 5};
    const double expected[] = {5.0, 1.0, sqrt(18.0), 0.0, 5.0, 5.0}; /* (0,1) (0,2) (1,2) */
    float *distance = test_output(6);
    assert_int_equal(eqf_estimate_pair_distances(2, 3, 2, x, distance), EQF_OK);
    test_output_end(6, distance);
    for (int k = 0; k < 6; k++) check("distance", (double)distance[k], expected[k], 1e-6);
    free(distance);
    assert_int_equal(eqf_estimate_pair_distances(0, 3, 2, NULL, NULL), EQF_OK);
    assert_int_equal(eqf_estimate_pair_distances(1, 1, 2, x, (float[1]){0}), EQF_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_weights_are_minus_energy_minus_log_prob),
        cmocka_unit_test(equal_weights_have_full_ess),
        cmocka_unit_test(few_weights_match_the_formulas),
        cmocka_unit_test(weights_without_meaning_are_refused),
        cmocka_unit_test(gaussian_reweighting_matches_its_integrals),
        cmocka_unit_test(forward_ess_matches_its_integral),
        cmocka_unit_test(bootstrap_ignores_values_at_weight_zero),
        cmocka_unit_test(mean_matches_the_formula),
        cmocka_unit_test(histogram_counts_inside_and_outside),
        cmocka_unit_test(pair_distances_are_ordered_by_pairs),
    };
    return cmocka_run_group_tests_name("estimate.estimate", tests, NULL, NULL);
}
