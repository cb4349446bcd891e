/* Replica exchange between states against integrals: a pair in the plane whose constants change along the ladder;
 * means, variances and differences of ln Z by quadrature; exchanges against what the energies say of them; two starts;
 * the same bits however it is cut; refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { NUM_STATES = 4, NUM = 3200, DOF = 4 };

/* Of a pair at distance d in the plane, density d exp(-u(d)), by Simpson's rule: mean and variance of u, and ln Z up to
 * a constant that all states share. */
static void integrate(const eqf_potential_options *potential, double *mean_out, double *variance_out,
                      double *log_z_out) {
    enum { STEPS = 20000 };
    const double last = 20;
    double sums[3] = {0};
    for (unsigned s = 1; s <= STEPS; s++) {
        const double d = last * s / STEPS, weight = s == STEPS ? 1 : s % 2 ? 4 : 2;
        const double x[DOF] = {0, 0, d, 0}, u = ref_potential_energy(potential, x, NULL), w = weight * d * exp(-u);
        sums[0] += w;
        sums[1] += w * u;
        sums[2] += w * u * u;
    }
    *mean_out = sums[1] / sums[0];
    *variance_out = sums[2] / sums[0] - *mean_out * *mean_out;
    *log_z_out = log(sums[0]);
}

/* Wells of dw2 that get shallower and closer, and warmer. */
static void make_states(eqf_potential_options *states) {
    for (unsigned k = 0; k < NUM_STATES; k++) {
        states[k] = eqf_preset_find("dw2")->model->potential;
        states[k].quadratic = -4 + 0.7 * k;
        states[k].distance_offset = 4 - 0.4 * k;
        states[k].temperature = 1 + 0.3 * k;
    }
}

static eqf_replica_options options_of_test(void) {
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_ladders = 32;
    options.num_burn_in = 1000;
    options.thinning = 50;
    options.seed = 9;
    return options;
}

static void assert_within(double value, double expected, double error, const char *what, unsigned k) {
    print_message("state %u: %s %.4f +- %.4f, expected %.4f\n", k, what, value, error, expected);
    if (!(fabs(value - expected) <= 4 * error && error > 0)) fail_msg("%s is wrong", what);
}

static double energy_in(const eqf_potential_options *state, const float *x) {
    double wide[DOF];
    for (unsigned c = 0; c < DOF; c++) wide[c] = (double)x[c];
    return ref_potential_energy(state, wide, NULL);
}

static void test_integrals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options states[NUM_STATES];
    make_states(states);
    const float start[DOF] = {1.25f, 0, -1.25f, 0};
    eqf_replica_options options = options_of_test();
    options.start = start;
    eqf_replica_diagnostics d = EQF_REPLICA_DIAGNOSTICS_INIT;
    float *x = test_output(NUM_STATES * NUM * DOF), *energy = test_output(NUM_STATES * NUM);
    TEST_OK(ctx, eqf_replica_sample_states(ctx, NUM_STATES, states, &options, NUM, x, energy, &d));
    test_output_end(NUM_STATES * NUM * DOF, x);
    test_output_end(NUM_STATES * NUM, energy);
    assert_int_equal(d.num_temperatures, NUM_STATES);
    assert_int_equal(d.num_sweeps, 1000 + 50 * NUM / 32);
    double first_log_z = 0;
    for (unsigned k = 0; k < NUM_STATES; k++) {
        const eqf_replica_temperature *at = &d.at[k];
        double mean, variance, log_z;
        integrate(&states[k], &mean, &variance, &log_z);
        if (k == 0) first_log_z = log_z;
        assert_true(at->temperature == states[k].temperature);
        assert_within(at->mean_energy, mean, at->mean_energy_standard_error, "mean energy", k);
        assert_within(at->heat_capacity, variance, at->heat_capacity_standard_error, "variance", k);
        if (k > 0) assert_within(d.log_z[k].log_z, log_z - first_log_z, d.log_z[k].standard_error, "ln Z", k);
        assert_true(at->acceptance > 0.1 && at->acceptance < 0.3);
        for (unsigned n = 0; n < NUM; n += 97) { /* energies are those of the configurations beside them */
            const double expected = energy_in(&states[k], x + (k * NUM + n) * DOF);
            assert_true(fabs((double)energy[k * NUM + n] - expected) < 1e-4 * (1 + fabs(expected)));
        }
    }
    assert_true(d.largest_start_difference < 4.5 && d.largest_log_z_difference < 4.5);
    /* What independent configurations of both states say of an exchange: samples of other ladders. */
    for (unsigned k = 0; k + 1 < NUM_STATES; k++) {
        double sum = 0;
        for (unsigned n = 0; n < NUM; n++) {
            const float *low = x + (k * NUM + n) * DOF, *high = x + ((k + 1) * NUM + (n + 7) % NUM) * DOF;
            sum += exp(fmin(0, energy_in(&states[k], low) + energy_in(&states[k + 1], high) -
                                   energy_in(&states[k], high) - energy_in(&states[k + 1], low))) /
                   NUM;
        }
        print_message("exchanges of %u and %u: %.4f, from the energies %.4f\n", k, k + 1, d.at[k].swap_acceptance, sum);
        assert_true(fabs(d.at[k].swap_acceptance - sum) < 0.02);
    }
    assert_true(isnan(d.at[NUM_STATES - 1].swap_acceptance));
    print_message("round trips %.0f\n", d.num_round_trips);
    assert_true(d.num_round_trips > 100 && d.num_round_trips < 32 * NUM_STATES * 500 / 6);
    free(x);
    free(energy);
}

static void test_same_bits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { FEW = 64 };
    eqf_potential_options states[NUM_STATES];
    make_states(states);
    eqf_replica_options options = options_of_test();
    options.num_burn_in = 200;
    float *x = test_floats(NUM_STATES * FEW * DOF), *again = test_floats(NUM_STATES * FEW * DOF),
          *energy = test_floats(NUM_STATES * FEW);
    TEST_OK(ctx, eqf_replica_sample_states(ctx, NUM_STATES, states, &options, FEW, x, energy, NULL));
    eqf_context *other;
    TEST_OK(NULL, eqf_context_create(NULL, &other));
    TEST_OK(other, eqf_context_set_profile(other, "launch_iterations=200")); /* few sweeps a launch */
    const char *device = getenv("EQFLOW_DEVICE");
    TEST_OK(other, eqf_context_open_device(other, device != NULL ? device : "auto"));
    TEST_OK(other, eqf_replica_sample_states(other, NUM_STATES, states, &options, FEW, again, NULL, NULL));
    assert_memory_equal(x, again, sizeof(float) * NUM_STATES * FEW * DOF);
    options.seed++;
    TEST_OK(ctx, eqf_replica_sample_states(ctx, NUM_STATES, states, &options, FEW, again, NULL, NULL));
    assert_memory_not_equal(x, again, sizeof(float) * NUM_STATES * FEW * DOF);
    eqf_context_destroy(&other);
    free(x);
    free(again);
    free(energy);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options states[NUM_STATES];
    make_states(states);
    float x[NUM_STATES * DOF];
    const eqf_replica_options right = options_of_test();
    eqf_replica_options wrong[4] = {right, right, right, right};
    wrong[0].num_temperatures = NUM_STATES;
    wrong[1].highest_temperature = 2;
    wrong[2].target_acceptance = 1;
    wrong[3].start = x;
    wrong[3].num_ladders = 3;
    for (unsigned w = 0; w < 4; w++) {
        assert_int_equal(eqf_replica_sample_states(ctx, NUM_STATES, states, &wrong[w], 1, x, NULL, NULL),
                         EQF_ERROR_INVALID_ARGUMENT);
        assert_true(strlen(eqf_context_error(ctx)) > 20);
    }
    const unsigned counts[] = {0, 1, EQF_REPLICA_MAX_TEMPERATURES + 1};
    for (unsigned c = 0; c < 3; c++)
        assert_int_equal(eqf_replica_sample_states(ctx, counts[c], states, &right, 1, x, NULL, NULL),
                         EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_replica_sample_states(ctx, NUM_STATES, states, &right, 0, x, NULL, NULL),
                     EQF_ERROR_INVALID_ARGUMENT);
    states[2].num_particles = 3;
    assert_int_equal(eqf_replica_sample_states(ctx, NUM_STATES, states, &right, 1, x, NULL, NULL),
                     EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "state 2"));
    states[2].num_particles = 2;
    states[3].temperature = -1;
    assert_int_equal(eqf_replica_sample_states(ctx, NUM_STATES, states, &right, 1, x, NULL, NULL),
                     EQF_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integrals),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
