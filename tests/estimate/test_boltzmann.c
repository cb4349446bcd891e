/* What reweighting and the independence chain promise, against closed forms and against their own scatter. */
#include <math.h>
#include <stdlib.h>

#include "support.h"

static void check(const char *name, double value, double expected, double tolerance) {
    print_message("%-46s %.9g, expected %.9g: off by %.2g (tolerance %.2g)\n", name, value, expected,
                  fabs(value - expected), tolerance);
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s", name);
}

/* Proposals x ~ N(0, 1.5^2) for the target N(0, 1): log w = -x^2/2 + x^2/4.5. */
static void draw(test_rng *rng, size_t num, double *x, double *log_weights) {
    for (size_t b = 0; b < num; b++) {
        x[b] = 1.5 * test_normal(rng);
        log_weights[b] = x[b] * x[b] * (0.5 / 2.25 - 0.5) + 100.0; /* the constant must not matter */
    }
}

static void equal_weights_take_every_proposal(void **state) {
    (void)state;
    double log_weights[50], values[50], acceptance;
    size_t states[50];
    for (size_t b = 0; b < 50; b++) log_weights[b] = 7.0, values[b] = (double)(b % 7);
    assert_int_equal(eqf_estimate_independence_chain(50, log_weights, 3, states, &acceptance), EQF_OK);
    for (size_t b = 0; b < 50; b++) assert_int_equal(states[b], b);
    check("acceptance", acceptance, 1.0, 0.0);
    eqf_chain_mean mean = EQF_CHAIN_MEAN_INIT;
    assert_int_equal(eqf_estimate_chain_mean(50, states, values, &mean), EQF_OK);
    check("mean", mean.mean, 147.0 / 50.0, 1e-12);
}

/* States are held by the rule: never one of weight zero, a proposal that weighs more is always taken, one that
 * weighs r times as much with probability r. */
static void proposals_are_taken_by_their_weight(void **state) {
    (void)state;
    enum { NUM = 40000 };
    double *log_weights = calloc(NUM, sizeof *log_weights), acceptance;
    size_t *states = calloc(NUM, sizeof *states), num_down = 0, num_taken = 0;
    for (size_t b = 0; b < NUM; b++) log_weights[b] = b < 2 || b % 5 == 4 ? -INFINITY : b % 2 ? log(0.25) : 0.0;
    assert_int_equal(eqf_estimate_independence_chain(NUM, log_weights, 11, states, &acceptance), EQF_OK);
    for (size_t b = 0; b < 3; b++) assert_int_equal(states[b], 2);
    for (size_t b = 3; b < NUM; b++) {
        const bool is_taken = states[b] == b;
        assert_true(is_taken || states[b] == states[b - 1]);
        if (isinf(log_weights[b])) assert_false(is_taken);
        if (!isinf(log_weights[b]) && log_weights[b] >= log_weights[states[b - 1]]) assert_true(is_taken);
        if (log_weights[b] == log(0.25) && log_weights[states[b - 1]] == 0.0) {
            num_down++;
            num_taken += is_taken;
        }
    }
    check("taken of those with a quarter of the weight", (double)num_taken / (double)num_down, 0.25,
          4.0 * sqrt(0.25 * 0.75 / (double)num_down));
    free(log_weights);
    free(states);
}

/* Second moment of the target over many chains: right on average, and with standard errors that fit the scatter. */
static void chain_mean_is_right_and_knows_its_error(void **state) {
    (void)state;
    enum { NUM = 4000, CHAINS = 200 };
    double *x = calloc(NUM, sizeof *x), *log_weights = calloc(NUM, sizeof *log_weights), acceptance;
    size_t *states = calloc(NUM, sizeof *states);
    test_rng rng = {21};
    double sum = 0.0, scores = 0.0, sum_of_acceptance = 0.0, tau = 0.0;
    for (unsigned chain = 0; chain < CHAINS; chain++) {
        draw(&rng, NUM, x, log_weights);
        assert_int_equal(eqf_estimate_independence_chain(NUM, log_weights, chain, states, &acceptance), EQF_OK);
        for (size_t b = 0; b < NUM; b++) x[b] *= x[b];
        eqf_chain_mean mean = EQF_CHAIN_MEAN_INIT;
        assert_int_equal(eqf_estimate_chain_mean(NUM, states, x, &mean), EQF_OK);
        sum += mean.mean / CHAINS;
        scores += (mean.mean - 1.0) * (mean.mean - 1.0) / (mean.standard_error * mean.standard_error) / CHAINS;
        sum_of_acceptance += acceptance / CHAINS;
        tau += mean.autocorrelation_time / CHAINS;
    }
    print_message("mean over chains %.5f, root mean square score %.3f, acceptance %.4f, tau %.3f\n", sum, sqrt(scores),
                  sum_of_acceptance, tau);
    check("second moment", sum, 1.0, 4.0 * sqrt(2.0 * tau / ((double)NUM * CHAINS)));
    check("root mean square of the scores", sqrt(scores), 1.0, 0.2); /* 1 +- 0.05, and tau is estimated too */
    /* E min(1, w'/w) with x of the target and x' a proposal: P(|x'| < |x|) + ..., by quadrature. */
    double expected = 0.0, h = 0.02;
    for (double a = -9.0; a < 9.0; a += h)
        for (double b = -9.0; b < 9.0; b += h) {
            double log_ratio = (b * b - a * a) * (0.5 / 2.25 - 0.5);
            expected += h * h * exp(-0.5 * a * a) * exp(-0.5 * b * b / 2.25) / (2.0 * 3.14159265358979 * 1.5) *
                        fmin(1.0, exp(log_ratio));
        }
    check("acceptance", sum_of_acceptance, expected, 0.003);
    free(x);
    free(log_weights);
    free(states);
}

static void chains_without_meaning_are_refused(void **state) {
    (void)state;
    double log_weights[4] = {0.0, NAN, 0.0, 0.0}, values[4] = {1.0, 1.0, 1.0, 1.0}, acceptance;
    size_t states[4];
    assert_int_equal(eqf_estimate_independence_chain(4, log_weights, 0, states, &acceptance), EQF_ERROR_NON_FINITE);
    log_weights[1] = INFINITY;
    assert_int_equal(eqf_estimate_independence_chain(4, log_weights, 0, states, &acceptance), EQF_ERROR_NON_FINITE);
    for (int b = 0; b < 4; b++) log_weights[b] = -INFINITY;
    assert_int_equal(eqf_estimate_independence_chain(4, log_weights, 0, states, &acceptance), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_estimate_independence_chain(0, log_weights, 0, states, &acceptance),
                     EQF_ERROR_INVALID_ARGUMENT);
    for (int b = 0; b < 4; b++) states[b] = 0;
    eqf_chain_mean mean = EQF_CHAIN_MEAN_INIT;
    assert_int_equal(eqf_estimate_chain_mean(3, states, values, &mean), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_chain_mean(4, states, values, &mean), EQF_OK); /* never moved: no error known */
    assert_true(mean.mean == 1.0 && isnan(mean.standard_error) && isnan(mean.autocorrelation_time));
    values[0] = NAN;
    assert_int_equal(eqf_estimate_chain_mean(4, states, values, &mean), EQF_ERROR_NON_FINITE);
}

/* Bootstrap errors agree with the delta method where that is right, and with the scatter of repeated runs. */
static void bootstrap_of_weights_matches_scatter(void **state) {
    (void)state;
    enum { NUM = 2000, RUNS = 100 };
    double *x = calloc(NUM, sizeof *x), *log_weights = calloc(NUM, sizeof *log_weights);
    double log_z[RUNS], ess[RUNS], log_z_error = 0.0, ess_error = 0.0, delta = 0.0;
    test_rng rng = {31};
    for (unsigned run = 0; run < RUNS; run++) {
        draw(&rng, NUM, x, log_weights);
        eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
        double a, b;
        assert_int_equal(eqf_estimate_weights(NUM, log_weights, &summary), EQF_OK);
        assert_int_equal(eqf_estimate_weights_bootstrap(NUM, log_weights, 50, run, &a, &b), EQF_OK);
        log_z[run] = summary.log_z;
        ess[run] = summary.ess_fraction;
        log_z_error += a / RUNS;
        ess_error += b / RUNS;
        delta += summary.log_z_standard_error / RUNS;
    }
    double unused, scatter_log_z, scatter_ess;
    assert_int_equal(eqf_estimate_mean(RUNS, log_z, &unused, &scatter_log_z), EQF_OK);
    assert_int_equal(eqf_estimate_mean(RUNS, ess, &unused, &scatter_ess), EQF_OK);
    check("ln Z: bootstrap / scatter", log_z_error / (scatter_log_z * sqrt(RUNS)), 1.0, 0.25); /* scatter +- 7 % */
    check("ESS: bootstrap / scatter", ess_error / (scatter_ess * sqrt(RUNS)), 1.0, 0.25);
    check("ln Z: bootstrap / delta method", log_z_error / delta, 1.0, 0.03);
    double a, b;
    assert_int_equal(eqf_estimate_weights_bootstrap(0, log_weights, 50, 0, &a, &b), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_estimate_weights_bootstrap(NUM, log_weights, 1, 0, &a, &b), EQF_ERROR_INVALID_ARGUMENT);
    log_weights[5] = NAN;
    assert_int_equal(eqf_estimate_weights_bootstrap(NUM, log_weights, 50, 0, &a, &b), EQF_ERROR_NON_FINITE);
    free(x);
    free(log_weights);
}

/* Each bin is a reweighted mean of the fraction of a sample's values in it, and must be that number for number. */
static void histogram_errors_are_those_of_means(void **state) {
    (void)state;
    enum { NUM = 3000, VALUES = 6, BINS = 7 };
    double x[VALUES], *fractions = calloc(NUM, sizeof *fractions), *log_weights = calloc(NUM, sizeof *log_weights);
    float *values = test_floats(NUM * VALUES);
    test_rng rng = {41};
    for (size_t b = 0; b < NUM; b++) {
        double common = test_normal(&rng); /* a sample's values go together */
        for (size_t v = 0; v < VALUES; v++)
            x[v] = common + 0.5 * test_normal(&rng), values[b * VALUES + v] = (float)x[v];
        log_weights[b] = b % 11 == 0 ? -INFINITY : 2.0 * test_uniform(&rng) - 50.0;
    }
    values[1] = NAN; /* counts as outside */
    double density[BINS], error[BINS], worst = 0.0;
    const double low = -2.0, high = 2.5, width = (high - low) / BINS;
    assert_int_equal(
        eqf_estimate_histogram_with_error(NUM, VALUES, values, log_weights, low, high, BINS, density, error), EQF_OK);
    for (size_t k = 0; k < BINS; k++) {
        for (size_t b = 0; b < NUM; b++) {
            fractions[b] = 0.0;
            for (size_t v = 0; v < VALUES; v++) {
                double value = values[b * VALUES + v];
                if (value >= low + width * (double)k && value < low + width * (double)(k + 1))
                    fractions[b] += 1.0 / VALUES;
            }
        }
        double mean, standard_error;
        assert_int_equal(eqf_estimate_reweighted_mean(NUM, log_weights, fractions, &mean, &standard_error), EQF_OK);
        worst = fmax(worst, fabs(density[k] * width / mean - 1.0));
        worst = fmax(worst, fabs(error[k] * width / standard_error - 1.0));
    }
    check("bins against means", worst, 0.0, 1e-9);
    /* Without weights, one value: the binomial error. */
    assert_int_equal(eqf_estimate_histogram_with_error(NUM, 1, values, NULL, low, high, BINS, density, error), EQF_OK);
    double p = density[3] * width;
    check("binomial error", error[3] * width, sqrt(p * (1.0 - p) / NUM), 1e-12);
    assert_int_equal(eqf_estimate_histogram_with_error(NUM, 1, values, NULL, high, low, BINS, density, error),
                     EQF_ERROR_INVALID_ARGUMENT);
    free(values);
    free(fractions);
    free(log_weights);
}

/* Weights w = u^-shape, u uniform: a Pareto tail. E w = 1/(1 - shape), E w^2 = 1/(1 - 2 shape). The largest weights
 * decide the effective sample size, and most samples lack them; the error must say so. */
static void ess_errors_cover_heavy_tails(void **state) {
    (void)state;
    enum { NUM = 4000, NUM_SEEDS = 60 };
    static const double shapes[] = {0.1, 0.25, 0.4};
    double *log_weights = malloc(NUM * sizeof *log_weights);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; ++s) {
        const double shape = shapes[s], expected = (1.0 - 2.0 * shape) / (1.0 - shape) / (1.0 - shape);
        unsigned num_within = 0;
        double mean_error = 0.0;
        for (unsigned seed = 0; seed < NUM_SEEDS; ++seed) {
            test_rng rng = {1000 * s + seed};
            for (size_t b = 0; b < NUM; ++b) log_weights[b] = -shape * log(test_uniform(&rng));
            eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
            double log_z_error, error;
            assert_int_equal(eqf_estimate_weights(NUM, log_weights, &summary), EQF_OK);
            assert_int_equal(eqf_estimate_weights_bootstrap(NUM, log_weights, 100, seed, &log_z_error, &error), EQF_OK);
            num_within += fabs(summary.ess_fraction - expected) <= 2.0 * error;
            mean_error += error / NUM_SEEDS;
        }
        print_message("shape %g: ess %.4f, error %.4f, %u of %u within two\n", shape, expected, mean_error, num_within,
                      (unsigned)NUM_SEEDS);
        assert_true(
            num_within >=
            (shape < 0.3 ? 54 : 45)); /* beyond a quarter w^2 has no variance, and few samples have heard of its tail */
        assert_true(mean_error < 0.5); /* and says something */
    }
    free(log_weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ess_errors_cover_heavy_tails),
        cmocka_unit_test(equal_weights_take_every_proposal),
        cmocka_unit_test(proposals_are_taken_by_their_weight),
        cmocka_unit_test(chain_mean_is_right_and_knows_its_error),
        cmocka_unit_test(chains_without_meaning_are_refused),
        cmocka_unit_test(bootstrap_of_weights_matches_scatter),
        cmocka_unit_test(histogram_errors_are_those_of_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
