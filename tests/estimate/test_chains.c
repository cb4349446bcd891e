/* Autocorrelation time and split R-hat on series whose values are known. */
#include <math.h>
#include <stdlib.h>

#include "support.h"

static void check(const char *name, double value, double expected, double tolerance) {
    print_message("%-46s %.6g, expected %.6g: off by %.2g (tolerance %.2g)\n", name, value, expected,
                  fabs(value - expected), tolerance);
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s", name);
}

/* Stationary AR(1) chains x[t+1] = rho x[t] + noise, of mean `offset` and variance 1: tau = (1 + rho)/(1 - rho). */
static double *autoregressive(size_t num_chains, size_t num_steps, double rho, double offset, uint64_t seed) {
    test_rng rng = {seed};
    double *series = calloc(num_chains * num_steps, sizeof *series);
    if (series == NULL) abort();
    for (size_t chain = 0; chain < num_chains; chain++) {
        double value = test_normal(&rng);
        for (size_t t = 0; t < num_steps; t++) {
            series[chain * num_steps + t] = offset + value;
            value = rho * value + sqrt(1.0 - rho * rho) * test_normal(&rng);
        }
    }
    return series;
}

static double tau_of(size_t num_chains, size_t num_steps, double rho, double offset) {
    double *series = autoregressive(num_chains, num_steps, rho, offset, 11), tau;
    assert_int_equal(eqf_estimate_autocorrelation_time(num_chains, num_steps, series, &tau), EQF_OK);
    free(series);
    return tau;
}

static void tau_of_autoregressive_chains(void **state) {
    (void)state;
    check("independent values", tau_of(100, 2000, 0.0, 0.0), 1.0, 0.03);
    check("rho 0.5", tau_of(100, 2000, 0.5, 0.0), 3.0, 0.1);
    /* tau is known to sqrt(4 window / number of values), window ~ 3 tau: tolerances are 4 of that. */
    check("rho 0.9", tau_of(400, 5000, 0.9, 0.0), 19.0, 0.8);
    check("rho 0.9 far from zero", tau_of(400, 5000, 0.9, -1e4), 19.0, 0.8);
    check("rho 0.9, many chains of 4 tau", tau_of(20000, 80, 0.9, 0.0), 19.0, 0.9);
    check("rho 0.9, one chain", tau_of(1, 1000000, 0.9, 0.0), 19.0, 1.2);
    check("anticorrelated, rho -0.5", tau_of(100, 2000, -0.5, 0.0), 1.0 / 3.0, 0.03);
}

/* Chains that never move: every lag looked at counts in full, so tau is as long as the series. */
static void tau_of_stuck_chains_is_the_whole_series(void **state) {
    (void)state;
    double series[8 * 100], tau, r_hat;
    for (int k = 0; k < 800; k++) series[k] = k / 100;
    assert_int_equal(eqf_estimate_autocorrelation_time(8, 100, series, &tau), EQF_OK);
    check("stuck chains", tau, 99.0, 1e-9);
    assert_int_equal(eqf_estimate_split_r_hat(8, 100, series, &r_hat), EQF_ERROR_NON_FINITE);
}

static void r_hat_of_few_numbers_matches_the_formula(void **state) {
    (void)state;
    /* Halves {1, 3} {2, 6} | {0, 2} {3, 5} of n = 2: means 2 4 1 4, B/n = 2.25; W = (2 + 8 + 2 + 2)/4 = 3.5;
     * pooled = W/2 + B/n = 4. The middle value of an odd count belongs to neither half. */
    const double even[] = {1, 3, 2, 6, 0, 2, 3, 5}, odd[] = {1, 3, 99, 2, 6, 0, 2, -99, 3, 5};
    double r_hat;
    assert_int_equal(eqf_estimate_split_r_hat(2, 4, even, &r_hat), EQF_OK);
    check("even", r_hat, sqrt(4.0 / 3.5), 1e-12);
    assert_int_equal(eqf_estimate_split_r_hat(2, 5, odd, &r_hat), EQF_OK);
    check("odd", r_hat, sqrt(4.0 / 3.5), 1e-12);
}

static void r_hat_tells_mixed_from_unmixed(void **state) {
    (void)state;
    double *series = autoregressive(50, 1000, 0.5, 0.0, 3), r_hat;
    assert_int_equal(eqf_estimate_split_r_hat(50, 1000, series, &r_hat), EQF_OK);
    check("mixed", r_hat, 1.0, 0.005);
    /* Half of the chains one sd away: between variance 0.25, so about sqrt(1.25). */
    for (size_t k = 0; k < 25 * 1000; k++) series[k] += 1.0;
    assert_int_equal(eqf_estimate_split_r_hat(50, 1000, series, &r_hat), EQF_OK);
    check("two groups one sd apart", r_hat, sqrt(1.25), 0.02);
    free(series);
    /* One chain with a drift: only splitting shows it. */
    series = autoregressive(1, 1000, 0.0, 0.0, 4);
    for (size_t k = 0; k < 1000; k++) series[k] += k < 500 ? 0.0 : 2.0;
    assert_int_equal(eqf_estimate_split_r_hat(1, 1000, series, &r_hat), EQF_OK);
    check("one chain that jumped by two sd", r_hat, sqrt(3.0), 0.15);
    free(series);
}

static void series_without_meaning_are_refused(void **state) {
    (void)state;
    const double constant[] = {2, 2, 2, 2, 2, 2, 2, 2}, bad[] = {1, 2, NAN, 4};
    double out;
    assert_int_equal(eqf_estimate_autocorrelation_time(2, 4, constant, &out), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_split_r_hat(2, 4, constant, &out), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_autocorrelation_time(1, 4, bad, &out), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_split_r_hat(1, 4, bad, &out), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_autocorrelation_time(1, 3, bad, &out), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_split_r_hat(0, 4, bad, &out), EQF_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tau_of_autoregressive_chains),
        cmocka_unit_test(tau_of_stuck_chains_is_the_whole_series),
        cmocka_unit_test(r_hat_of_few_numbers_matches_the_formula),
        cmocka_unit_test(r_hat_tells_mixed_from_unmixed),
        cmocka_unit_test(series_without_meaning_are_refused),
    };
    return cmocka_run_group_tests_name("estimate.chains", tests, NULL, NULL);
}
