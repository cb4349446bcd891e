/* Replica exchange against integrals: a pair in the plane at every temperature of the ladder, means and heat
 * capacities by quadrature; exchanges against what the energies say of them; two starts; the same bits however it is
 * cut; refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { NUM_TEMPERATURES = 5, NUM = 3200, DOF2 = 4, DOF4 = 8 };

/* Mean and variance of u / t of a pair at distance d in the plane, density d exp(-u(d) / t): Simpson's rule. u at
 * temperature 1. ln Z but for a constant that all temperatures share. */
static void integrate(const eqf_potential_options *potential, double t, double *mean_out, double *variance_out,
                      double *log_z_out) {
    enum { STEPS = 20000 };
    const double last = 20;
    double sums[3] = {0};
    for (unsigned s = 1; s <= STEPS; s++) {
        const double d = last * s / STEPS, weight = s == STEPS ? 1 : s % 2 ? 4 : 2;
        const double x[DOF2] = {0, 0, d, 0}, u = ref_potential_energy(potential, x, NULL),
                     w = weight * d * exp(-u / t - 10 / t);
        sums[0] += w;
        sums[1] += w * u / t;
        sums[2] += w * u / t * u / t;
    }
    *mean_out = sums[1] / sums[0];
    *log_z_out = log(sums[0]) + 10 / t;
    *variance_out = sums[2] / sums[0] - *mean_out * *mean_out;
}

static eqf_replica_options ladder_of(double highest) {
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_temperatures = NUM_TEMPERATURES;
    options.highest_temperature = highest;
    options.num_ladders = 32;
    options.num_burn_in = 1000;
    options.thinning = 100;
    options.seed = 4;
    return options;
}

static void assert_within(double value, double expected, double error, const char *what, double t) {
    print_message("T %.3f: %s %.4f +- %.4f, expected %.4f\n", t, what, value, error, expected);
    if (!(fabs(value - expected) <= 4 * error && error > 0)) fail_msg("%s is wrong", what);
}

static void test_integrals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options *potential = &eqf_preset_find("dw2")->model->potential;
    eqf_replica_options options = ladder_of(8);
    eqf_replica_diagnostics d = EQF_REPLICA_DIAGNOSTICS_INIT;
    float *x = test_floats(NUM_TEMPERATURES * NUM * DOF2), *energy = test_floats(NUM_TEMPERATURES * NUM);
    TEST_OK(ctx, eqf_replica_sample(ctx, potential, &options, NUM, x, energy, &d));
    assert_int_equal(d.num_temperatures, NUM_TEMPERATURES);
    assert_int_equal(d.num_ladders, 32);
    assert_int_equal(d.num_sweeps, 1000 + 100 * NUM / 32);
    assert_true(isnan(d.largest_start_difference) && isnan(d.at[0].start_means[0]));
    assert_true(isnan(d.largest_log_z_difference));
    double log_z_lowest = 0;
    for (unsigned k = 0; k < NUM_TEMPERATURES; k++) {
        const eqf_replica_temperature *at = &d.at[k];
        double mean, variance, log_z;
        assert_true(fabs(at->temperature - pow(8, k / 4.0)) < 1e-12);
        integrate(potential, at->temperature, &mean, &variance, &log_z);
        if (k == 0) log_z_lowest = log_z;
        assert_true(isnan(d.log_z[k].start_log_z[0]) && isnan(d.log_z[k].start_standard_errors[1]));
        if (k == 0)
            assert_true(d.log_z[0].log_z == 0 && d.log_z[0].standard_error == 0);
        else
            assert_within(d.log_z[k].log_z, log_z - log_z_lowest, d.log_z[k].standard_error, "ln Z", at->temperature);
        assert_within(at->mean_energy / at->temperature, mean, at->mean_energy_standard_error / at->temperature,
                      "mean energy", at->temperature);
        assert_within(at->heat_capacity, variance, at->heat_capacity_standard_error, "heat capacity", at->temperature);
        assert_true(at->acceptance > 0.1 && at->acceptance < 0.3);
        for (unsigned n = 0; n < NUM; n += 97) { /* energies are those of the configurations beside them */
            double wide[DOF2];
            for (unsigned c = 0; c < DOF2; c++) wide[c] = (double)x[(k * NUM + n) * DOF2 + c];
            const double expected = ref_potential_energy(potential, wide, NULL);
            assert_true(fabs((double)energy[k * NUM + n] - expected) < 1e-4 * (1 + fabs(expected)));
        }
    }
    /* What independent configurations of both temperatures say of an exchange: samples of other ladders. */
    for (unsigned k = 0; k + 1 < NUM_TEMPERATURES; k++) {
        double sum = 0;
        for (unsigned n = 0; n < NUM; n++) {
            const double low = (double)energy[k * NUM + n], high = (double)energy[(k + 1) * NUM + (n + 7) % NUM];
            sum += exp(fmin(0, (1 / d.at[k].temperature - 1 / d.at[k + 1].temperature) * (low - high))) / NUM;
        }
        print_message("exchanges of %u and %u: %.4f, from the energies %.4f\n", k, k + 1, d.at[k].swap_acceptance, sum);
        assert_true(fabs(d.at[k].swap_acceptance - sum) < 0.02);
    }
    assert_true(isnan(d.at[NUM_TEMPERATURES - 1].swap_acceptance));
    /* In so short a ladder a chain needs some dozens of rounds for a trip: 1,000 rounds, 32 ladders of 5 chains. */
    print_message("round trips %.0f\n", d.num_round_trips);
    assert_true(d.num_round_trips > 200 && d.num_round_trips < 32 * 5 * 1000 / 8);
    free(x);
    free(energy);
}

/* dw4 from its lowest minimum, a square, and from gas; the known mean energy at the lowest temperature. */
static void test_two_starts(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_preset *preset = eqf_preset_find("dw4");
    const float side = 2.6f, start[DOF4] = {side, side, -side, side, -side, -side, side, -side};
    eqf_replica_options options = ladder_of(4);
    options.start = start;
    eqf_replica_diagnostics d = EQF_REPLICA_DIAGNOSTICS_INIT;
    float *x = test_floats(NUM_TEMPERATURES * NUM * DOF4);
    TEST_OK(ctx, eqf_replica_sample(ctx, &preset->model->potential, &options, NUM, x, NULL, &d));
    print_message(
        "dw4: %.3f +- %.3f, known %.3f; from gas %.3f, from the square %.3f; largest difference %.2f errors\n",
        d.at[0].mean_energy, d.at[0].mean_energy_standard_error, preset->mean_energy, d.at[0].start_means[0],
        d.at[0].start_means[1], d.largest_start_difference);
    assert_true(fabs(d.at[0].mean_energy - preset->mean_energy) < 4 * d.at[0].mean_energy_standard_error);
    assert_true(d.largest_start_difference > 0 && d.largest_start_difference < 4.5);
    assert_true(d.largest_log_z_difference > 0 && d.largest_log_z_difference < 4.5);
    assert_true(fabs(0.5 * (d.log_z[1].start_log_z[0] + d.log_z[1].start_log_z[1]) - d.log_z[1].log_z) < 0.02);
    /* Without time to forget, the starts are as far apart as can be: the figure does say so. */
    options.num_burn_in = options.thinning = options.exchange_interval = 1;
    TEST_OK(ctx, eqf_replica_sample(ctx, &preset->model->potential, &options, 64, x, NULL, &d));
    assert_true(d.largest_start_difference > 6);
    free(x);
}

/* A ladder's numbers depend on nothing but the seed: not on the length of launches, not on whether energies are
 * asked for. */
static void test_same_bits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { FEW = 64 };
    const eqf_potential_options *potential = &eqf_preset_find("dw4")->model->potential;
    eqf_replica_options options = ladder_of(4);
    options.num_burn_in = 200;
    float *x = test_floats(NUM_TEMPERATURES * FEW * DOF4), *again = test_floats(NUM_TEMPERATURES * FEW * DOF4),
          *energy = test_floats(NUM_TEMPERATURES * FEW);
    TEST_OK(ctx, eqf_replica_sample(ctx, potential, &options, FEW, x, energy, NULL));
    eqf_context *other;
    TEST_OK(NULL, eqf_context_create(NULL, &other));
    TEST_OK(other, eqf_context_set_profile(
                       other, "launch_iterations=700")); /* four sweeps a launch, of ten between exchanges */
    const char *device = getenv("EQFLOW_DEVICE");
    TEST_OK(other, eqf_context_open_device(other, device != NULL ? device : "auto"));
    TEST_OK(other, eqf_replica_sample(other, potential, &options, FEW, again, NULL, NULL));
    assert_memory_equal(x, again, sizeof(float) * NUM_TEMPERATURES * FEW * DOF4);
    options.seed++;
    TEST_OK(ctx, eqf_replica_sample(ctx, potential, &options, FEW, again, NULL, NULL));
    assert_memory_not_equal(x, again, sizeof(float) * NUM_TEMPERATURES * FEW * DOF4);
    eqf_context_destroy(&other);
    free(x);
    free(again);
    free(energy);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options *potential = &eqf_preset_find("dw2")->model->potential;
    float x[NUM_TEMPERATURES * 64 * DOF2], start[DOF2] = {0};
    const eqf_replica_options right = ladder_of(2);
    eqf_replica_options wrong[6];
    for (unsigned w = 0; w < 6; w++) wrong[w] = right;
    wrong[0].num_temperatures = 1;
    wrong[1].num_temperatures = EQF_REPLICA_MAX_TEMPERATURES + 1;
    wrong[2].highest_temperature = 1;
    wrong[3].highest_temperature = INFINITY;
    wrong[4].target_acceptance = 1;
    wrong[5].start = start;
    wrong[5].num_ladders = 3;
    for (unsigned w = 0; w < 6; w++) {
        assert_int_equal(eqf_replica_sample(ctx, potential, &wrong[w], 1, x, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
        assert_true(strlen(eqf_context_error(ctx)) > 20);
    }
    assert_int_equal(eqf_replica_sample(ctx, potential, &right, 0, x, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    eqf_replica_options endless = right;
    endless.thinning = 1u << 31;
    assert_int_equal(eqf_replica_sample(ctx, potential, &endless, 64, x, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    /* Two particles in one place have no energy that is finite; a few sweeps at steps of a hair do not part them. */
    eqf_potential_options hard = EQF_POTENTIAL_OPTIONS_INIT;
    hard.kind = EQF_POTENTIAL_LENNARD_JONES;
    hard.num_particles = 2;
    hard.space_dim = 2;
    eqf_replica_options lumps = right;
    lumps.start_scale = 1e-30;
    lumps.num_burn_in = lumps.thinning = lumps.exchange_interval = 1;
    const eqf_status status = eqf_replica_sample(ctx, &hard, &lumps, 1, x, NULL, NULL);
    assert_true(status == EQF_OK || status == EQF_ERROR_NON_FINITE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integrals),
        cmocka_unit_test(test_two_starts),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
