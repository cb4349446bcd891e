/* Observables against shapes whose values are known, pair densities against an ideal gas, own texts against the
 * table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "test_files.h"

static double value_of(const char *name, unsigned num_particles, unsigned space_dim, double neighbour_distance,
                       const float *x) {
    double value;
    TEST_OK(NULL, eqf_observable_evaluate(NULL, eqf_observable_find(name), num_particles, space_dim, neighbour_distance,
                                          1, x, &value));
    return value;
}

static void check(double value, double expected, double tolerance, const char *what) {
    print_message("%s: %.9g, expected %.9g\n", what, value, expected);
    assert_true(fabs(value - expected) <= tolerance);
}

/* An icosahedron around a particle: 12 corners at distance 1. Bonds of the middle alone: Q4 = 0, Q6 = .66332
 * (Steinhardt et al. 1983, table I); the same with all bonds between corners, by the symmetry of the group. */
static void test_icosahedron(void **state) {
    (void)state;
    float x[39] = {0};
    const double golden = (1 + sqrt(5)) / 2, scale = 1 / sqrt(1 + golden * golden);
    unsigned row = 1;
    for (int a = -1; a <= 1; a += 2)
        for (int b = -1; b <= 1; b += 2)
            for (unsigned axis = 0; axis < 3; axis++, row++) {
                x[3 * row + axis] = (float)(a * scale);
                x[3 * row + (axis + 1) % 3] = (float)(b * golden * scale);
            }
    assert_int_equal(row, 13);
    const double edge = 2 * scale; /* 1.05146 */
    check(value_of("q4", 13, 3, 1.01, x), 0, 1e-4, "Q4 of the middle's bonds");
    check(value_of("q6", 13, 3, 1.01, x), 0.66332, 1e-4, "Q6 of the middle's bonds");
    check(value_of("q4", 13, 3, 1.2, x), 0, 1e-4, "Q4 of all bonds");
    check(value_of("q6", 13, 3, 0.5, x), 0, 0, "Q6 without bonds");
    check(value_of("smallest_distance", 13, 3, 0, x), 1, 1e-6, "smallest distance");
    check(value_of("largest_distance", 13, 3, 0, x), 2, 1e-6, "largest distance");
    check(value_of("radius_of_gyration", 13, 3, 0, x), sqrt(12.0 / 13), 1e-6, "radius of gyration");
    /* 12 of the middle, 30 edges, 30 of the next shell, 6 diameters */
    check(value_of("mean_distance", 13, 3, 0, x), (12 + 30 * edge + 30 * edge * golden + 6 * 2) / 78, 1e-6,
          "mean distance");
}

/* The 12 neighbours of a site of the face-centred lattice: Q4 = .19094, Q6 = .57452 (the same table). */
static void test_lattice(void **state) {
    (void)state;
    float x[39] = {0};
    unsigned row = 1;
    for (int a = -1; a <= 1; a += 2)
        for (int b = -1; b <= 1; b += 2)
            for (unsigned axis = 0; axis < 3; axis++, row++) {
                x[3 * row + axis] = (float)a;
                x[3 * row + (axis + 1) % 3] = (float)b;
            }
    check(value_of("q4", 13, 3, 1.5, x), 0.19094, 1e-4, "Q4 of fcc");
    check(value_of("q6", 13, 3, 1.5, x), 0.57452, 1e-4, "Q6 of fcc");
}

/* Rotations, reflections and permutations change nothing. */
static void test_invariance(void **state) {
    (void)state;
    const test_system *system = test_system_named("lj13");
    float *x = test_configurations(system, 1, 3);
    test_rng rng = {4};
    double matrix[9];
    test_orthogonal(&rng, 3, true, matrix);
    float turned[39];
    for (unsigned i = 0; i < 13; i++)
        for (unsigned d = 0; d < 3; d++) {
            double sum = 0;
            for (unsigned e = 0; e < 3; e++) sum += matrix[3 * d + e] * x[3 * ((i + 5) % 13) + e];
            turned[3 * i + d] = (float)sum;
        }
    size_t num;
    const eqf_observable *rows = eqf_observables(&num);
    assert_true(num >= 6);
    for (size_t r = 0; r < num; r++) {
        const double before = value_of(rows[r].name, 13, 3, 1.4, x);
        check(value_of(rows[r].name, 13, 3, 1.4, turned), before, 1e-5 * (1 + fabs(before)), rows[r].name);
        assert_true(eqf_observable_find(rows[r].name) == &rows[r]);
    }
    free(x);
}

/* Two particles whose distance is uniform in a ball of radius 1: the density is that of one particle in the ball,
 * whatever the bin. */
static void test_pair_density(void **state) {
    (void)state;
    enum { NUM = 40000, BINS = 5 };
    static float x[NUM * 6];
    static double log_weights[NUM];
    test_rng rng = {6};
    for (unsigned space_dim = 1; space_dim <= 3; space_dim++) {
        for (size_t b = 0; b < NUM; b++) {
            double r[3], square;
            do {
                square = 0;
                for (unsigned d = 0; d < space_dim; d++) {
                    r[d] = 2 * test_uniform(&rng) - 1;
                    square += r[d] * r[d];
                }
            } while (square >= 1);
            for (unsigned d = 0; d < space_dim; d++) {
                x[(2 * b) * space_dim + d] = (float)(0.5 * r[d]);
                x[(2 * b + 1) * space_dim + d] = (float)(-0.5 * r[d]);
            }
            log_weights[b] = b % 2 == 0 ? 3 : 3 + log(2); /* unequal, but not by distance */
        }
        const double volume = space_dim == 1 ? 2 : space_dim == 2 ? 3.14159265 : 4.18879020;
        for (unsigned weighted = 0; weighted < 2; weighted++) {
            double density[BINS], error[BINS];
            assert_int_equal(eqf_observable_pair_density(2, space_dim, NUM, x, weighted ? log_weights : NULL, 0, 1,
                                                         BINS, density, error),
                             EQF_OK);
            for (unsigned k = 0; k < BINS; k++) {
                assert_true(error[k] > 0 && error[k] < 0.15);
                assert_true(fabs(density[k] - 1 / volume) < 5 * error[k]);
            }
        }
    }
    double density[2];
    assert_int_equal(eqf_observable_pair_density(2, 3, 0, x, NULL, 0, 1, 2, density, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_observable_pair_density(2, 3, 5, x, NULL, 1, 1, 2, density, NULL), EQF_ERROR_INVALID_ARGUMENT);
}

static void test_refusals(void **state) {
    (void)state;
    double value;
    const float x[6] = {0};
    const eqf_observable *q6 = eqf_observable_find("q6"), made_up = {"x", "x", "", "", 1};
    assert_null(eqf_observable_find("nothing"));
    assert_null(eqf_observable_find(NULL));
    assert_int_equal(eqf_observable_evaluate(NULL, q6, 3, 2, 1, 1, x, &value), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_observable_evaluate(NULL, &made_up, 3, 2, 1, 1, x, &value), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_observable_evaluate(NULL, NULL, 3, 2, 1, 1, x, &value), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_observable_evaluate(NULL, q6, 2, 3, NAN, 1, x, &value), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_observable_evaluate(NULL, q6, 2, 3, 1, 1, NULL, &value), EQF_ERROR_INVALID_ARGUMENT);
}

static void test_own_text(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    eqf_potential_options of = EQF_POTENTIAL_OPTIONS_INIT;
    of.num_particles = 4;
    of.space_dim = 2;
    of.temperature = 7; /* does not count */
    of.source = "real observable(const real *x) {\n"
                "    real sum = 0;\n"
                "    for (int c = 0; c < N * D; c++) sum += x[c] * x[c];\n"
                "    return scale * sqrt(sum / N);\n"
                "}";
    TEST_OK(ctx, eqf_potential_set_constant(ctx, &of, "scale", 2));
    enum { NUM = 21 };
    float *x = test_configurations(system, NUM, 8);
    double own[NUM], expected[NUM];
    TEST_OK(ctx, eqf_observable_evaluate_text(ctx, &of, NUM, x, own));
    TEST_OK(ctx, eqf_observable_evaluate(ctx, eqf_observable_find("radius_of_gyration"), 4, 2, 0, NUM, x, expected));
    for (size_t b = 0; b < NUM; b++) assert_true(fabs(own[b] - 2 * expected[b]) < 1e-5 * expected[b]);
    of.source = "real observable(const real *x) { return wrong; }";
    assert_int_not_equal(eqf_observable_evaluate_text(ctx, &of, NUM, x, own), EQF_OK);
    of.source = NULL;
    assert_int_equal(eqf_observable_evaluate_text(ctx, &of, NUM, x, own), EQF_ERROR_INVALID_ARGUMENT);
    free(x);
}

/* The log of a text that does not compile. */
static int logs_in_own_folder(void **state) {
    (void)state;
    return setenv("TMPDIR", test_folder(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_icosahedron),  cmocka_unit_test(test_lattice),  cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_pair_density), cmocka_unit_test(test_refusals), cmocka_unit_test(test_own_text),
    };
    return cmocka_run_group_tests(tests, logs_in_own_folder, test_folders_teardown);
}
