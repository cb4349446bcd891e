/* The radial field's parameter vector: order, shapes, start values. */
#include "test_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"
#include "radial_params.h"

static eqf_context ctx; /* parameters need no device */

static eqf_dynamics_options options_of(unsigned num_distance, unsigned num_time, eqf_radial_layout layout,
                                       double distance_max) {
    return (eqf_dynamics_options){.kind = EQF_DYNAMICS_RADIAL,
                                  .num_distance = num_distance,
                                  .num_time = num_time,
                                  .layout = layout,
                                  .distance_max = distance_max,
                                  .distance_gamma = 0.5,
                                  .time_gamma = 0.3};
}

static float *init(const eqf_dynamics_options *options, uint64_t seed, eqf_param_slice slices[EQF__RADIAL_NUM_SLICES]) {
    size_t num_trained, num_params = eqf__radial_layout(options, slices, &num_trained);
    float *params = malloc(num_params * sizeof *params);
    assert_non_null(params);
    memset(params, 0xff, num_params * sizeof *params); /* NaN: what is not set shows */
    assert_int_equal(eqf__radial_init_params(&ctx, options, seed, params), EQF_OK);
    for (size_t n = 0; n < num_params; n++) assert_true(isfinite(params[n]));
    return params;
}

static void test_layout(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t offset, rows, columns;
    } expected[] = {
        {"radial.weights", 0, 50, 10},          {"radial.bias", 500, 10, 0},
        {"radial.importance", 510, 50, 0},      {"radial.distance_log_gammas", 560, 50, 0},
        {"radial.time_log_gammas", 610, 10, 0}, {"radial.distance_centers", 620, 50, 0},
        {"radial.time_centers", 670, 10, 0},
    };
    eqf_dynamics_options options = options_of(50, 10, EQF_RADIAL_UNIFORM, 8.0);
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    size_t num_trained;
    assert_int_equal(eqf__radial_layout(&options, slices, &num_trained), 680);
    assert_int_equal(num_trained, 620); /* the paper's count */
    for (unsigned n = 0; n < EQF__RADIAL_NUM_SLICES; n++) {
        assert_string_equal(slices[n].name, expected[n].name);
        assert_int_equal(slices[n].offset, expected[n].offset);
        assert_int_equal(slices[n].num_dims, expected[n].columns > 0 ? 2 : 1);
        assert_int_equal(slices[n].shape[0], expected[n].rows);
        assert_int_equal(slices[n].shape[1], expected[n].columns);
        assert_int_equal(slices[n].count, expected[n].rows * (expected[n].columns > 0 ? expected[n].columns : 1));
        assert_int_equal(slices[n].is_trained, n < 5);
    }
}

/* Philox4x32-10 and Box-Muller written once more, in Python; its Philox gives Random123's known answer for zeros. */
static void test_weights_of_seeds(void **state) {
    (void)state;
    static const struct {
        uint64_t seed;
        size_t index;
        double weight;
    } expected[] = {
        {0, 0, 0.11774519960903088},
        {0, 1, -0.041568600459589225},
        {0, 499, -0.23576863549844698},
        {7, 0, 0.13522117665910616},
        {7, 1, 0.12199855664224803},
        {7, 499, 0.090498868241139022},
        {4294967303u, 0, 0.018032623293745623},
        {4294967303u, 1, -0.01853789659398556},
        {4294967303u, 499, 0.19574533194998661},
    };
    eqf_dynamics_options options = options_of(50, 10, EQF_RADIAL_UNIFORM, 8.0);
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    double worst = 0.0;
    for (unsigned n = 0; n < sizeof expected / sizeof expected[0]; n++) {
        float *params = init(&options, expected[n].seed, slices);
        worst = fmax(worst, fabs((double)params[expected[n].index] - expected[n].weight));
        free(params);
    }
    print_message("worst error of start weights: %.3g\n", worst);
    assert_true(worst < 2e-8); /* half an ulp of float32 at 0.25 is 1.5e-8 */
}

/* Mean 0 and variance 1/K over many weights, within 5 standard errors. */
static void test_weight_distribution(void **state) {
    (void)state;
    eqf_dynamics_options options = options_of(400, 256, EQF_RADIAL_UNIFORM, 8.0);
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    float *params = init(&options, 12345, slices);
    const double count = 400.0 * 256.0;
    double sum = 0.0, sum_squares = 0.0, sum_fourth = 0.0;
    for (size_t n = 0; n < slices[EQF__RADIAL_WEIGHTS].count; n++) {
        double z = (double)params[n] * sqrt(400.0);
        sum += z;
        sum_squares += z * z;
        sum_fourth += z * z * z * z;
    }
    double mean = sum / count * sqrt(count), variance = (sum_squares / count - 1.0) * sqrt(count / 2.0);
    double fourth = (sum_fourth / count - 3.0) * sqrt(count / 96.0);
    print_message("weights off N(0, 1/K): mean %.2f, variance %.2f, fourth moment %.2f standard errors\n", mean,
                  variance, fourth);
    assert_true(fabs(mean) < 5.0 && fabs(variance) < 5.0 && fabs(fourth) < 5.0);
    free(params);
}

static void assert_near(double value, double expected) {
    if (fabs(value - expected) > 2e-7 * (1.0 + fabs(expected))) fail_msg("%.9g is not %.9g", value, expected);
}

static void test_uniform_layout(void **state) {
    (void)state;
    eqf_dynamics_options options = options_of(50, 10, EQF_RADIAL_UNIFORM, 8.0);
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    float *params = init(&options, 1, slices);
    for (unsigned k = 0; k < 50; k++) {
        assert_near(params[slices[EQF__RADIAL_DISTANCE_CENTERS].offset + k], 8.0 * k / 49.0);
        assert_near(params[slices[EQF__RADIAL_DISTANCE_LOG_GAMMAS].offset + k], log(0.5));
        assert_true(params[slices[EQF__RADIAL_IMPORTANCE].offset + k] == 0.0f);
    }
    for (unsigned m = 0; m < 10; m++) {
        assert_near(params[slices[EQF__RADIAL_TIME_CENTERS].offset + m], m / 9.0);
        assert_near(params[slices[EQF__RADIAL_TIME_LOG_GAMMAS].offset + m], log(0.3));
        assert_true(params[slices[EQF__RADIAL_BIAS].offset + m] == 0.0f);
    }
    free(params);
    eqf_dynamics_options one = options_of(1, 1, EQF_RADIAL_UNIFORM, 8.0); /* linspace of one point is its start */
    params = init(&one, 1, slices);
    assert_true(params[slices[EQF__RADIAL_DISTANCE_CENTERS].offset] == 0.0f);
    free(params);
}

/* Numbers of the law in method.md for distance_max 16, worked out in Python. */
static void test_dense_core_layout(void **state) {
    (void)state;
    static const struct {
        size_t index;
        double center, log_gamma;
    } expected[] = {{0, 0.000549901083, -0.902902174},
                    {1, 0.00117464077, -0.903118787},
                    {25, 1.38747202, -1.20199624},
                    {49, 6.5703125, 0.40883657}};
    eqf_dynamics_options options = options_of(50, 10, EQF_RADIAL_DENSE_CORE, 16.0);
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    float *params = init(&options, 1, slices);
    const float *centers = params + slices[EQF__RADIAL_DISTANCE_CENTERS].offset;
    for (unsigned n = 0; n < 4; n++) {
        assert_near(centers[expected[n].index], expected[n].center);
        assert_near(params[slices[EQF__RADIAL_DISTANCE_LOG_GAMMAS].offset + expected[n].index], expected[n].log_gamma);
    }
    for (unsigned k = 1; k < 50; k++) assert_true(centers[k] >= centers[k - 1]);
    const float *time_log_gammas = params + slices[EQF__RADIAL_TIME_LOG_GAMMAS].offset;
    assert_near(time_log_gammas[0], -2.00695866);
    assert_near(time_log_gammas[1], -2.13047706);
    assert_near(time_log_gammas[9], -2.00695866);
    free(params);
}

static void test_check(void **state) {
    (void)state;
    eqf_dynamics_options good = options_of(50, 10, EQF_RADIAL_UNIFORM, 8.0), bad;
    assert_int_equal(eqf__dynamics_check(&ctx, &good), EQF_OK);
#define EXPECT_BAD(field, value, needle) \
    bad = good;                          \
    bad.field = value;                   \
    TEST_EXPECT(&ctx, eqf__dynamics_check(&ctx, &bad), EQF_ERROR_INVALID_ARGUMENT, needle)
    EXPECT_BAD(num_distance, 0, "num_distance");
    EXPECT_BAD(num_distance, 4097, "num_distance");
    EXPECT_BAD(num_time, 0, "num_time");
    EXPECT_BAD(num_time, 257, "num_time");
    EXPECT_BAD(layout, (eqf_radial_layout)9, "layout");
    EXPECT_BAD(distance_max, 0.0, "distance_max");
    EXPECT_BAD(distance_max, (double)NAN, "distance_max");
    EXPECT_BAD(distance_gamma, -1.0, "distance_gamma");
    EXPECT_BAD(time_gamma, (double)INFINITY, "time_gamma");
#undef EXPECT_BAD
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_weights_of_seeds),
        cmocka_unit_test(test_weight_distribution),
        cmocka_unit_test(test_uniform_layout),
        cmocka_unit_test(test_dense_core_layout),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
