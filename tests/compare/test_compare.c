/* Distances of sets against computations of another kind: quantiles by counting, all assignments, all rotations by a
 * fine grid, all splits; what must not change them, what must; and SciPy's assignment, where python3 has it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test_files.h"

enum { DW_N = 3, DW_D = 2, DW_DOF = DW_N * DW_D, SMALL = 4 };
static const double pi = 3.14159265358979323846;

static eqf_potential_options wells(unsigned num_particles, unsigned space_dim) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.num_particles = num_particles;
    potential.space_dim = space_dim;
    potential.kind = EQF_POTENTIAL_DOUBLE_WELL;
    return potential;
}

static void fill_set(size_t num, unsigned num_particles, unsigned space_dim, uint64_t seed, float *x) {
    test_rng rng = {seed};
    for (size_t b = 0; b < num; b++) {
        for (unsigned c = 0; c < num_particles * space_dim; c++)
            x[b * num_particles * space_dim + c] = (float)(2 * test_normal(&rng));
        test_center_floats(num_particles, space_dim, x + b * num_particles * space_dim);
    }
}

/* W2 of two sets of num numbers: the k-th smallest of each, found by counting how many are below. */
static double w2_by_counting(size_t num, const double *a, const double *b) {
    double sum = 0;
    for (size_t k = 0; k < num; k++) {
        double kth[2] = {NAN, NAN};
        for (unsigned s = 0; s < 2; s++) {
            const double *v = s == 0 ? a : b;
            for (size_t n = 0; n < num; n++) {
                size_t below = 0, equal = 0;
                for (size_t o = 0; o < num; o++) {
                    below += v[o] < v[n];
                    equal += v[o] == v[n];
                }
                if (below <= k && k < below + equal) kth[s] = v[n];
            }
        }
        sum += (kth[0] - kth[1]) * (kth[0] - kth[1]) / (double)num;
    }
    return sqrt(sum);
}

/* Of three particles in a plane: all permutations, a mirror or none, all angles of a grid, the best of them made better
 * by bisection of the interval around it. */
static double square_at(const float *z, const float *x, const unsigned *order, int sign, double angle) {
    double square = 0;
    for (unsigned i = 0; i < DW_N; i++) {
        const double px = (double)x[2 * order[i]], py = sign * (double)x[2 * order[i] + 1];
        const double qx = cos(angle) * px - sin(angle) * py, qy = sin(angle) * px + cos(angle) * py;
        square += pow((double)z[2 * i] - qx, 2) + pow((double)z[2 * i + 1] - qy, 2);
    }
    return square;
}

static double aligned_square(const float *z, const float *x) {
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    double best = INFINITY;
    for (unsigned p = 0; p < 6; p++)
        for (int sign = -1; sign <= 1; sign += 2) {
            double centre = 0, width = pi;
            for (unsigned zoom = 0; zoom < 12; zoom++, width /= 8) {
                double least = INFINITY, at = centre;
                for (int k = -32; k <= 32; k++) {
                    const double square = square_at(z, x, orders[p], sign, centre + width * k / 32);
                    if (square < least) {
                        least = square;
                        at = centre + width * k / 32;
                    }
                }
                centre = at;
                best = fmin(best, least);
            }
        }
    return best;
}

static double least_total(size_t num, double (*cost)[SMALL], size_t row, unsigned taken) {
    if (row == num) return 0;
    double least = INFINITY;
    for (size_t j = 0; j < num; j++)
        if (!(taken >> j & 1u)) least = fmin(least, cost[row][j] + least_total(num, cost, row + 1, taken | 1u << j));
    return least;
}

static double aligned_w2(size_t num, const float *a, const float *b) {
    double cost[SMALL][SMALL];
    for (size_t i = 0; i < num; i++)
        for (size_t j = 0; j < num; j++) cost[i][j] = aligned_square(a + i * DW_DOF, b + j * DW_DOF);
    return sqrt(least_total(num, cost, 0, 0) / (double)num);
}

static void energies(const eqf_potential_options *potential, size_t num, const float *x, double *out) {
    for (size_t b = 0; b < num; b++) {
        double wide[DW_DOF];
        for (unsigned c = 0; c < DW_DOF; c++) wide[c] = (double)x[b * DW_DOF + c];
        out[b] = ref_potential_energy(potential, wide, NULL);
    }
}

static void distances(size_t num, const float *x, double *out) {
    for (size_t b = 0; b < num; b++)
        for (unsigned i = 0; i < DW_N; i++)
            for (unsigned j = 0; j < i; j++)
                *out++ = hypot((double)x[b * DW_DOF + 2 * i] - (double)x[b * DW_DOF + 2 * j],
                               (double)x[b * DW_DOF + 2 * i + 1] - (double)x[b * DW_DOF + 2 * j + 1]);
}

static void assert_near(double value, double expected, double tolerance, const char *what) {
    if (fabs(value - expected) <= tolerance) return;
    fail_msg("%s is %.9g, expected %.9g within %g", what, value, expected, tolerance);
}

/* Sets as small as can be: with a reference twice their size nothing about the two is left to chance. */
static void test_small_sets(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options potential = wells(DW_N, DW_D);
    float a[SMALL * DW_DOF], b[SMALL * DW_DOF], reference[2 * SMALL * DW_DOF];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        fill_set(SMALL, DW_N, DW_D, seed, a);
        fill_set(SMALL, DW_N, DW_D, 100 + seed, b);
        fill_set(2 * SMALL, DW_N, DW_D, 200 + seed, reference);
        eqf_comparison c = EQF_COMPARISON_INIT;
        TEST_OK(ctx, eqf_compare(ctx, &potential, SMALL, a, SMALL, b, 2 * SMALL, reference, NULL, &c));
        double ua[SMALL], ub[SMALL], da[3 * SMALL], db[3 * SMALL];
        energies(&potential, SMALL, a, ua);
        energies(&potential, SMALL, b, ub);
        distances(SMALL, a, da);
        distances(SMALL, b, db);
        const double expected = w2_by_counting(SMALL, ua, ub);
        assert_near(c.energy.distance, expected, 1e-5 * expected, "energy W2");
        assert_near(c.pair_distance.distance, w2_by_counting(3 * SMALL, da, db), 1e-5, "pair distance W2");
        assert_near(c.aligned.distance, aligned_w2(SMALL, a, b), 2e-5, "aligned W2");
        assert_true(c.has_reference && c.energy.num_compared == SMALL && c.aligned.num_compared == SMALL);
        assert_near(c.energy.spread, 0, 1e-9, "spread of the only choice");
    }
}

/* Four configurations fall into two halves in three ways, each as likely as the others. */
static void test_floor_is_the_mean_over_splits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options potential = wells(DW_N, DW_D);
    float a[2 * DW_DOF], b[4 * DW_DOF];
    fill_set(2, DW_N, DW_D, 7, a);
    fill_set(4, DW_N, DW_D, 8, b);
    static const unsigned halves[3][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2}};
    double floors[3][2], means[2] = {0}, squares[2] = {0};
    for (unsigned way = 0; way < 3; way++) {
        float first[2 * DW_DOF], second[2 * DW_DOF];
        for (unsigned k = 0; k < 2; k++) {
            memcpy(first + k * DW_DOF, b + halves[way][k] * DW_DOF, sizeof(float) * DW_DOF);
            memcpy(second + k * DW_DOF, b + halves[way][2 + k] * DW_DOF, sizeof(float) * DW_DOF);
        }
        double u1[2], u2[2];
        energies(&potential, 2, first, u1);
        energies(&potential, 2, second, u2);
        floors[way][0] = w2_by_counting(2, u1, u2);
        floors[way][1] = aligned_w2(2, first, second);
        for (unsigned q = 0; q < 2; q++) means[q] += floors[way][q] / 3;
    }
    for (unsigned way = 0; way < 3; way++)
        for (unsigned q = 0; q < 2; q++) squares[q] += pow(floors[way][q] - means[q], 2) / 3;
    eqf_comparison_options options = EQF_COMPARISON_OPTIONS_INIT;
    options.num_splits = 10000;
    eqf_comparison c = EQF_COMPARISON_INIT;
    TEST_OK(ctx, eqf_compare(ctx, &potential, 2, a, 4, b, 0, NULL, &options, &c));
    const eqf_set_distance *found[2] = {&c.energy, &c.aligned};
    for (unsigned q = 0; q < 2; q++) { /* five standard errors of a mean over 10,000 splits */
        assert_near(found[q]->floor, means[q], 5 * sqrt(squares[q] / 10000), "floor");
        assert_near(found[q]->floor_spread, sqrt(squares[q]), 0.03 * sqrt(squares[q]), "its spread");
    }
    assert_false(c.has_reference);
}

/* Copies that are turned, mirrored, relabelled and moved are no other set: by all permutations, and by alternating. */
static void test_aligned_copies(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const unsigned sizes[2][2] = {{4, 2}, {7, 3}};
    enum { NUM = 12, MOST = 21 };
    for (unsigned s = 0; s < 2; s++) {
        const unsigned N = sizes[s][0], D = sizes[s][1], num_dof = N * D;
        const eqf_potential_options potential = wells(N, D);
        float b[NUM * MOST], a[NUM * MOST], reference[2 * NUM * MOST];
        fill_set(NUM, N, D, 3, b);
        fill_set(2 * NUM, N, D, 4, reference);
        test_rng rng = {5};
        for (unsigned n = 0; n < NUM; n++) {
            double map[9];
            test_orthogonal(&rng, D, n % 2 == 0, map);
            for (unsigned i = 0; i < N; i++)
                for (unsigned d = 0; d < D; d++) {
                    double sum = 0.25 * d;
                    for (unsigned e = 0; e < D; e++) sum += map[d * D + e] * (double)b[n * num_dof + i * D + e];
                    a[(NUM - 1 - n) * num_dof + ((i + n) % N) * D + d] = (float)sum;
                }
        }
        eqf_comparison_options options = EQF_COMPARISON_OPTIONS_INIT;
        options.num_starts = 50;
        eqf_comparison c = EQF_COMPARISON_INIT;
        TEST_OK(ctx, eqf_compare(ctx, &potential, NUM, a, NUM, b, 2 * NUM, reference, &options, &c));
        print_message("%u particles: aligned W2 of copies %.2g, of other sets %.2g\n", N, c.aligned.distance,
                      c.aligned.floor);
        assert_true(c.aligned.distance < 2e-3 && c.aligned.floor > 0.5);
        assert_true(c.pair_distance.distance < 1e-5);
    }
}

/* Two perfect sets of dw4 are as far from each other as halves of one; a set at another temperature is not. */
static void test_perfect_and_not(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM = 4000, DOF = 8 };
    const eqf_preset *preset = eqf_preset_find("dw4");
    float *sets[3];
    for (unsigned s = 0; s < 3; s++) {
        eqf_mcmc_options chains = *preset->mcmc;
        eqf_potential_options potential = preset->model->potential;
        if (s == 2) potential.temperature = 2.0;
        chains.seed = 11 + s;
        sets[s] = test_floats(NUM * DOF);
        TEST_OK(ctx, eqf_mcmc_sample(ctx, &potential, &chains, NUM, sets[s], NULL, NULL));
    }
    for (unsigned s = 0; s < 3; s += 2) {
        eqf_comparison c = EQF_COMPARISON_INIT, again = EQF_COMPARISON_INIT;
        TEST_OK(ctx, eqf_compare(ctx, &preset->model->potential, NUM, sets[s], NUM, sets[1], 0, NULL, NULL, &c));
        TEST_OK(ctx, eqf_compare(ctx, &preset->model->potential, NUM, sets[s], NUM, sets[1], 0, NULL, NULL, &again));
        assert_memory_equal(&c, &again, sizeof c);
        print_message(
            "T %s: energy W2 %.3f floor %.3f +- %.3f, pair %.4f floor %.4f, aligned %.3f floor %.3f +- %.3f\n",
            s == 0 ? "1" : "2", c.energy.distance, c.energy.floor, c.energy.floor_spread, c.pair_distance.distance,
            c.pair_distance.floor, c.aligned.distance, c.aligned.floor, c.aligned.floor_spread);
        assert_int_equal(c.energy.num_compared, 2000);
        /* known of 2,000 each, from pairs of independent sets: .119 +- .034 */
        assert_true(c.energy.floor > 0.06 && c.energy.floor < 0.2);
        if (s == 0) {
            assert_true(c.energy.distance < c.energy.floor + 4 * c.energy.floor_spread);
            assert_true(c.aligned.distance < c.aligned.floor + 4 * c.aligned.floor_spread);
        } else {
            assert_true(c.energy.distance > 3 * c.energy.floor && c.energy.fraction_of_floors_above == 0);
            /* Of 500 each, six pairs of seeds: 1.65 to 2.1 times the floor; at 1.3 within its noise. */
            assert_true(c.aligned.distance > 1.4 * c.aligned.floor);
        }
    }
    for (unsigned s = 0; s < 3; s++) free(sets[s]);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_LENNARD_JONES;
    potential.num_particles = DW_N;
    potential.space_dim = DW_D;
    float a[4 * DW_DOF], b[4 * DW_DOF];
    fill_set(4, DW_N, DW_D, 1, a);
    fill_set(4, DW_N, DW_D, 2, b);
    eqf_comparison c = EQF_COMPARISON_INIT;
    assert_int_equal(eqf_compare(ctx, &potential, 1, a, 4, b, 0, NULL, NULL, &c), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_compare(ctx, &potential, 4, a, 3, b, 0, NULL, NULL, &c), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_compare(ctx, &potential, 4, a, 4, b, 3, b, NULL, &c), EQF_ERROR_INVALID_ARGUMENT);
    eqf_comparison_options options = EQF_COMPARISON_OPTIONS_INIT;
    options.num_splits = 1;
    assert_int_equal(eqf_compare(ctx, &potential, 4, a, 4, b, 0, NULL, &options, &c), EQF_ERROR_INVALID_ARGUMENT);
    options.num_splits = 0;
    options.num_aligned = 10001;
    assert_int_equal(eqf_compare(ctx, &potential, 4, a, 4, b, 0, NULL, &options, &c), EQF_ERROR_INVALID_ARGUMENT);
    a[5] = NAN;
    assert_int_equal(eqf_compare(ctx, &potential, 4, a, 4, b, 0, NULL, NULL, &c), EQF_ERROR_NON_FINITE);
    /* Two particles in one place: of a model's samples that is a fact about them, of a perfect set a mistake. */
    fill_set(4, DW_N, DW_D, 1, a);
    for (unsigned n = 0; n < 4; n++) memcpy(a + n * DW_DOF, a + n * DW_DOF + 2, 2 * sizeof *a);
    TEST_OK(ctx, eqf_compare(ctx, &potential, 4, a, 4, b, 0, NULL, NULL, &c));
    assert_true(isinf(c.energy.distance) && isfinite(c.pair_distance.distance) && isfinite(c.energy.floor));
    assert_int_equal(eqf_compare(ctx, &potential, 4, b, 4, a, 0, NULL, NULL, &c), EQF_ERROR_NON_FINITE);
}

/* The same by NumPy and SciPy (tests/compare/scipy_reference.py), from configurations as text. */
static void test_scipy(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM = 60, N = 4, D = 2, DOF = N * D };
    const eqf_potential_options potential = wells(N, D);
    float a[NUM * DOF], b[NUM * DOF], reference[2 * NUM * DOF];
    fill_set(NUM, N, D, 21, a);
    fill_set(NUM, N, D, 22, b);
    fill_set(2 * NUM, N, D, 23, reference);
    eqf_comparison c = EQF_COMPARISON_INIT;
    TEST_OK(ctx, eqf_compare(ctx, &potential, NUM, a, NUM, b, 2 * NUM, reference, NULL, &c));
    char path[1024], command[1280];
    snprintf(path, sizeof path, "%s", test_path("samples"));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%d %d %d\n", NUM, N, D);
    for (unsigned s = 0; s < 2; s++)
        for (unsigned k = 0; k < NUM * DOF; k++) fprintf(file, "%.9g\n", (double)(s == 0 ? a : b)[k]);
    fclose(file);
    snprintf(command, sizeof command, "python3 '%s' '%s' 2>/dev/null", EQFLOW_SCIPY_REFERENCE, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    double pair_distance, aligned;
    const int num = fscanf(pipe, "%lf %lf", &pair_distance, &aligned);
    pclose(pipe);
    remove(path);
    if (num <= 0) {
        print_message("skipped: python3 has no scipy\n");
        skip();
    }
    assert_int_equal(num, 2);
    assert_near(c.pair_distance.distance, pair_distance, 1e-5, "pair distance W2");
    assert_near(c.aligned.distance, aligned, 1e-5, "aligned W2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_sets),     cmocka_unit_test(test_floor_is_the_mean_over_splits),
        cmocka_unit_test(test_aligned_copies), cmocka_unit_test(test_perfect_and_not),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_scipy),
    };
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
