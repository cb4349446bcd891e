/* The Morse kind against figures from elsewhere, and against the same formula as a user's text
 * (apps/examples/morse.cl). */
#include <math.h>
#include <stdlib.h>

#include "eqflow/minima.h"
#include "eqflow/preset.h"
#include "support.h"

/* Particle i of an icosahedron of radius 1 and its centre: cyclic permutations of (0, +-1, +-golden ratio). */
static void icosahedron(double x[13][3]) {
    const double golden = 0.5 * (1.0 + sqrt(5.0)), radius = sqrt(1.0 + golden * golden);
    for (unsigned i = 0; i < 12; i++) {
        x[i][i % 3] = 0.0;
        x[i][(i + 1) % 3] = (i / 3 % 2 ? 1.0 : -1.0) / radius;
        x[i][(i + 2) % 3] = (i / 6 ? golden : -golden) / radius;
    }
    x[12][0] = x[12][1] = x[12][2] = 0.0;
}

/* Doye and Wales, J. Chem. Soc. Faraday Trans. 93, 4233 (1997): the icosahedron of 13 at rho0 = 6 has -42.439863, at 10
 * -39.662975, at 14 -37.258877 times the depth. */
static void test_known_minima(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const double known[][2] = {{6, -42.439863}, {10, -39.662975}, {14, -37.258877}};
    double corners[13][3];
    float x[39];
    icosahedron(corners);
    test_rng rng = {3};
    for (unsigned c = 0; c < 39; c++) x[c] = (float)(0.98 * corners[c / 3][c % 3] + 0.01 * test_normal(&rng));
    for (unsigned n = 0; n < 3; n++) {
        eqf_potential_options potential = eqf_preset_find("morse13")->model->potential;
        potential.depth = 1.0;
        potential.width = known[n][0] / potential.r_min;
        potential.trap_strength = 0.0;
        double x_out[39], energy;
        eqf_quench_result result;
        TEST_OK(ctx, eqf_minima_quench(ctx, &potential, NULL, 1, x, x_out, &energy, NULL, &result, NULL));
        print_message("rho0 %g: %.6f, known %.6f\n", known[n][0], energy, known[n][1]);
        assert_int_equal(result, EQF_QUENCH_MINIMUM);
        assert_true(fabs(energy - known[n][1]) < 2e-6);
    }
}

static void test_example_text(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM = 9, NUM_DOF = 39 };
    const eqf_potential_options built_in = eqf_preset_find("morse13")->model->potential;
    eqf_potential_options own = EQF_POTENTIAL_OPTIONS_INIT;
    char *source;
    TEST_OK(ctx, eqf_potential_read_source(ctx, EQF_TEST_EXAMPLES "/morse.cl", &source));
    own.kind = EQF_POTENTIAL_USER;
    own.num_particles = 13;
    own.space_dim = 3;
    own.source = source;
    TEST_OK(ctx, eqf_potential_set_constant(ctx, &own, "depth", built_in.depth));
    TEST_OK(ctx, eqf_potential_set_constant(ctx, &own, "steepness", built_in.width));
    TEST_OK(ctx, eqf_potential_set_constant(ctx, &own, "r_min", built_in.r_min));
    TEST_OK(ctx, eqf_potential_set_constant(ctx, &own, "trap", built_in.trap_strength));
    TEST_OK(ctx, eqf_potential_verify(ctx, &built_in, NULL));
    float *x = test_configurations(test_system_named("lj13"), NUM, 8);
    float energy[2][NUM], force[2][NUM * NUM_DOF];
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &built_in, NUM, x, energy[0], force[0]));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &own, NUM, x, energy[1], force[1]));
    test_worst of_energy = TEST_WORST_INIT(2e-5), of_force = TEST_WORST_INIT(2e-5);
    for (unsigned b = 0; b < NUM; b++) {
        double largest = 1.0;
        test_compare(&of_energy, b, fabs(energy[0][b] - energy[1][b]) / (100.0 + fabs(energy[0][b])));
        for (unsigned c = 0; c < NUM_DOF; c++) largest = fmax(largest, fabs(force[0][b * NUM_DOF + c]));
        for (unsigned c = 0; c < NUM_DOF; c++)
            test_compare(&of_force, b, fabs(force[0][b * NUM_DOF + c] - force[1][b * NUM_DOF + c]) / largest);
    }
    bool is_good = test_report(&of_energy, "energy, built in and text");
    is_good &= test_report(&of_force, "force, built in and text");
    assert_true(is_good);
    free(x);
    eqf_free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_minima), cmocka_unit_test(test_example_text)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
