/* Means and variances with block errors, and distances of sets of numbers. */
#include <math.h>
#include <stdlib.h>

#include "support.h"

enum { NUM = 20000 };

static void draw(test_rng *rng, double memory, double *values) {
    double x = test_normal(rng);
    for (size_t n = 0; n < NUM; n++) {
        x = memory * x + sqrt(1 - memory * memory) * test_normal(rng);
        values[n] = 3 + 2 * x;
    }
}

/* Normal numbers of mean 3 and variance 4, independent or with a memory: the errors cover, as often as normal ones
 * do. */
static void test_errors(void **state) {
    (void)state;
    static double values[NUM];
    const double memories[] = {0, 0.9};
    for (unsigned m = 0; m < 2; m++) {
        test_rng rng = {17};
        unsigned num_mean = 0, num_variance = 0;
        enum { REPEATS = 100 };
        for (unsigned r = 0; r < REPEATS; r++) {
            draw(&rng, memories[m], values);
            eqf_moments moments = EQF_MOMENTS_INIT;
            assert_int_equal(eqf_estimate_moments(NUM, NULL, values, 50, &moments), EQF_OK);
            num_mean += fabs(moments.mean - 3) < 2 * moments.mean_standard_error;
            num_variance += fabs(moments.variance - 4) < 2 * moments.variance_standard_error;
            /* sd 2 / sqrt(n), times sqrt((1 + memory) / (1 - memory)) */
            const double expected = 2 / sqrt(NUM) * sqrt((1 + memories[m]) / (1 - memories[m]));
            assert_true(fabs(moments.mean_standard_error / expected - 1) < 0.5);
        }
        print_message("memory %g: within two errors %u (mean) and %u (variance) of %d\n", memories[m], num_mean,
                      num_variance, REPEATS);
        assert_true(num_mean >= 88 && num_variance >= 88);
    }
}

/* Weights exp(a x) on standard normal numbers make them normal about a. */
static void test_weights(void **state) {
    (void)state;
    static double values[NUM], log_weights[NUM];
    test_rng rng = {5};
    for (size_t n = 0; n < NUM; n++) {
        values[n] = test_normal(&rng);
        log_weights[n] = 0.5 * values[n] + 900;
    }
    values[7] = NAN;
    log_weights[7] = -INFINITY;
    eqf_moments moments = EQF_MOMENTS_INIT;
    assert_int_equal(eqf_estimate_moments(NUM, log_weights, values, 40, &moments), EQF_OK);
    assert_true(fabs(moments.mean - 0.5) < 4 * moments.mean_standard_error && moments.mean_standard_error < 0.02);
    assert_true(fabs(moments.variance - 1) < 4 * moments.variance_standard_error &&
                moments.variance_standard_error < 0.05);
    log_weights[7] = 900;
    assert_int_equal(eqf_estimate_moments(NUM, log_weights, values, 40, &moments), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_moments(NUM, NULL, values, 1, &moments), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_moments(1, NULL, values, 2, &moments), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_moments(NUM, NULL, NULL, 2, &moments), EQF_ERROR_INVALID_ARGUMENT);
}

static void test_distances(void **state) {
    (void)state;
    const double a[] = {3, 1, 2}, b[] = {4, 2, 3}, c[] = {1, 1, 2, 2, 3, 3}, d[] = {0, 10};
    double w;
    assert_int_equal(eqf_estimate_wasserstein(3, a, 3, b, &w), EQF_OK);
    assert_true(fabs(w - 1) < 1e-12); /* a shift */
    assert_int_equal(eqf_estimate_wasserstein(3, a, 6, c, &w), EQF_OK);
    assert_true(w < 1e-12); /* the same set twice */
    /* 1 and half of 2 go to 0, the rest to 10: (1 + 2 ... ) by hand: (1/3)(1) + (1/6)(4) + (1/6)(64) + (1/3)(49) */
    assert_int_equal(eqf_estimate_wasserstein(3, a, 2, d, &w), EQF_OK);
    assert_true(fabs(w * w - (1.0 / 3 + 4.0 / 6 + 64.0 / 6 + 49.0 / 3)) < 1e-9);
    const double bad[] = {1, NAN};
    assert_int_equal(eqf_estimate_wasserstein(2, bad, 3, a, &w), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_wasserstein(0, a, 3, a, &w), EQF_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_weights),
                                       cmocka_unit_test(test_distances)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
