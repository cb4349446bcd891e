/* BAR and MBAR: harmonic oscillators, whose free energies are known; errors against the spread of repeats; pymbar's
 * numbers where it is there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/free_energy.h"
#include "support.h"
#include "test_files.h"
#include "symmetric.h"

enum { MAX_STATES = 5, MAX_NUM = 6000 };

/* u_k = k_k (x - x_k)^2 / 2: f_k - f_0 = ln(k_k / k_0) / 2. */
typedef struct oscillators {
    unsigned num_states;
    size_t num, num_samples[MAX_STATES];
    double spring[MAX_STATES], centre[MAX_STATES];
    double energy[MAX_STATES * MAX_NUM];
} oscillators;

static void draw(oscillators *o, test_rng *rng) {
    size_t n = 0;
    o->num = 0;
    for (unsigned k = 0; k < o->num_states; k++) o->num += o->num_samples[k];
    for (unsigned k = 0; k < o->num_states; k++) {
        for (size_t m = 0; m < o->num_samples[k]; m++, n++) {
            const double x = o->centre[k] + test_normal(rng) / sqrt(o->spring[k]);
            for (unsigned l = 0; l < o->num_states; l++)
                o->energy[l * o->num + n] = 0.5 * o->spring[l] * (x - o->centre[l]) * (x - o->centre[l]);
        }
    }
}

static double known(const oscillators *o, unsigned k) {
    return 0.5 * log(o->spring[k] / o->spring[0]);
}

static oscillators five_states(void) {
    return (oscillators){.num_states = 5,
                         .num_samples = {400, 0, 300, 500, 250}, /* one state without samples */
                         .spring = {1, 2, 3, 1.5, 4},
                         .centre = {0, 0.3, 0.7, 1.2, 1.0}};
}

static oscillators two_states(void) {
    return (oscillators){.num_states = 2, .num_samples = {700, 300}, .spring = {1, 3}, .centre = {0, 0.8}};
}

/* Work of both directions from the energies of two states. */
static void work_of(const oscillators *o, double *forward, double *reverse) {
    for (size_t n = 0; n < o->num_samples[0]; n++) forward[n] = o->energy[o->num + n] - o->energy[n];
    for (size_t n = 0; n < o->num_samples[1]; n++)
        reverse[n] = o->energy[o->num_samples[0] + n] - o->energy[o->num + o->num_samples[0] + n];
}

/* Over repeats: mean error within four of its own, spread as the stated errors say. */
static void test_known(void **state) {
    (void)state;
    enum { REPEATS = 200 };
    static oscillators o;
    o = five_states();
    test_rng rng = {1};
    double sum[MAX_STATES] = {0}, squares[MAX_STATES] = {0}, stated[MAX_STATES] = {0};
    for (unsigned r = 0; r < REPEATS; r++) {
        double f[MAX_STATES], errors[MAX_STATES * MAX_STATES];
        draw(&o, &rng);
        assert_int_equal(eqf_free_energy_mbar(o.num_states, o.num_samples, o.energy, f, errors), EQF_OK);
        assert_true(f[0] == 0);
        for (unsigned k = 1; k < o.num_states; k++) {
            const double off = f[k] - known(&o, k);
            sum[k] += off;
            squares[k] += off * off;
            stated[k] += errors[k];
            assert_true(errors[k] == errors[k * o.num_states]);
        }
    }
    for (unsigned k = 1; k < o.num_states; k++) {
        const double mean = sum[k] / REPEATS, spread = sqrt(squares[k] / REPEATS);
        print_message("state %u: mean error %.5f, spread %.5f, stated %.5f\n", k, mean, spread, stated[k] / REPEATS);
        assert_true(fabs(mean) < 4 * spread / sqrt(REPEATS));
        assert_true(fabs(spread / (stated[k] / REPEATS) - 1) < 0.2); /* the spread of 200 is known to 5 % */
    }
}

/* With two states MBAR is BAR. */
static void test_two_states(void **state) {
    (void)state;
    static oscillators o;
    o = two_states();
    test_rng rng = {2};
    draw(&o, &rng);
    double f[2], errors[4], forward[MAX_NUM], reverse[MAX_NUM], difference, error;
    work_of(&o, forward, reverse);
    assert_int_equal(eqf_free_energy_mbar(2, o.num_samples, o.energy, f, errors), EQF_OK);
    assert_int_equal(eqf_free_energy_bar(o.num_samples[0], forward, o.num_samples[1], reverse, &difference, &error),
                     EQF_OK);
    print_message("MBAR %.12f +- %.6f, BAR %.12f +- %.6f, known %.6f\n", f[1], errors[1], difference, error,
                  known(&o, 1));
    assert_true(fabs(f[1] - difference) < 1e-10);
    assert_true(fabs(errors[1] - error) < 0.02 * error); /* two estimates of one error */
    assert_true(fabs(difference - known(&o, 1)) < 4 * error);
}

/* Far apart, and shifted by thousands of kT: the same answer. */
static void test_shifts(void **state) {
    (void)state;
    static oscillators o;
    o = five_states();
    test_rng rng = {3};
    draw(&o, &rng);
    double f[MAX_STATES], shifted[MAX_STATES];
    assert_int_equal(eqf_free_energy_mbar(o.num_states, o.num_samples, o.energy, f, NULL), EQF_OK);
    for (unsigned k = 0; k < o.num_states; k++)
        for (size_t n = 0; n < o.num; n++) o.energy[k * o.num + n] += 3000.0 * k - 5000;
    assert_int_equal(eqf_free_energy_mbar(o.num_states, o.num_samples, o.energy, shifted, NULL), EQF_OK);
    for (unsigned k = 1; k < o.num_states; k++) assert_true(fabs(shifted[k] - f[k] - 3000.0 * k) < 1e-7);
}

static void test_refusals(void **state) {
    (void)state;
    const double good[4] = {0, 1, 2, 1}, bad[4] = {0, NAN, 2, 1}, infinite[2] = {INFINITY, INFINITY};
    const size_t counts[2] = {1, 1}, none[2] = {0, 0};
    double f[2], error;
    assert_int_equal(eqf_free_energy_mbar(2, counts, bad, f, NULL), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_free_energy_mbar(2, none, good, f, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_free_energy_mbar(0, counts, good, f, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_free_energy_mbar(2, NULL, good, f, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_free_energy_bar(2, bad, 2, good, f, &error), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_free_energy_bar(2, infinite, 2, infinite, f, &error), EQF_ERROR_NON_FINITE);
    assert_int_equal(eqf_free_energy_bar(0, good, 2, good, f, &error), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_free_energy_bar(2, good, 2, NULL, f, &error), EQF_ERROR_INVALID_ARGUMENT);
}

static void test_symmetric(void **state) {
    (void)state;
    enum { N = 7 };
    test_rng rng = {4};
    double matrix[N * N], copy[N * N], values[N], vectors[N * N], x[N], right[N];
    for (unsigned i = 0; i < N; i++) {
        x[i] = test_normal(&rng);
        for (unsigned j = 0; j <= i; j++) matrix[i * N + j] = matrix[j * N + i] = test_normal(&rng);
    }
    for (unsigned i = 0; i < N; i++) {
        right[i] = 0;
        for (unsigned j = 0; j < N; j++) right[i] += matrix[i * N + j] * x[j];
    }
    memcpy(copy, matrix, sizeof copy);
    assert_true(eqf__symmetric_solve(N, copy, right));
    for (unsigned i = 0; i < N; i++) assert_true(fabs(right[i] - x[i]) < 1e-10);
    memcpy(copy, matrix, sizeof copy);
    eqf__symmetric_eigen(N, copy, values, vectors);
    for (unsigned e = 0; e < N; e++)
        for (unsigned i = 0; i < N; i++) {
            double image = 0;
            for (unsigned j = 0; j < N; j++) image += matrix[i * N + j] * vectors[j * N + e];
            assert_true(fabs(image - values[e] * vectors[i * N + e]) < 1e-12);
        }
    double zeros[4] = {0};
    assert_false(eqf__symmetric_solve(2, zeros, right));
}

/* ---- pymbar ------------------------------------------------------------------------------------------------------ */

static void write_numbers(const char *path, const oscillators *o) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%u\n", o->num_states);
    for (unsigned k = 0; k < o->num_states; k++) fprintf(file, "%zu\n", o->num_samples[k]);
    for (size_t n = 0; n < o->num_states * o->num; n++) fprintf(file, "%.17g\n", o->energy[n]);
    assert_int_equal(fclose(file), 0);
}

static void compare(const oscillators *o, const double *theirs) {
    double f[MAX_STATES], errors[MAX_STATES * MAX_STATES], forward[MAX_NUM], reverse[MAX_NUM], difference, error;
    assert_int_equal(eqf_free_energy_mbar(o->num_states, o->num_samples, o->energy, f, errors), EQF_OK);
    test_worst worst = TEST_WORST_INIT(1e-6);
    for (unsigned k = 0; k < o->num_states; k++) test_compare(&worst, k, fabs(f[k] - theirs[k]));
    for (unsigned k = 0; k < o->num_states * o->num_states; k++)
        test_compare(&worst, 100 + k, fabs(errors[k] - theirs[o->num_states + k]));
    if (o->num_samples[1] > 0) {
        work_of(o, forward, reverse);
        assert_int_equal(
            eqf_free_energy_bar(o->num_samples[0], forward, o->num_samples[1], reverse, &difference, &error), EQF_OK);
        const double *bar = theirs + o->num_states * (o->num_states + 1);
        test_compare(&worst, 1000, fabs(difference - bar[0]));
        test_compare(&worst, 1001, fabs(error - bar[1]));
    }
    if (!test_report(&worst, "pymbar, %u states", o->num_states)) fail();
}

static void test_pymbar(void **state) {
    (void)state;
    static oscillators o;
    char path[1024], command[1280];
    snprintf(path, sizeof path, "%s", test_path("samples"));
    FILE *made = fopen(path, "w");
    assert_non_null(made);
    fclose(made);
    const oscillators systems[] = {
        two_states(),
        {.num_states = 4, .num_samples = {400, 100, 300, 500}, .spring = {1, 2, 3, 1.5}, .centre = {0, 0.3, 0.7, 1.2}},
        five_states()};
    for (unsigned s = 0; s < sizeof systems / sizeof systems[0]; s++) {
        test_rng rng = {10 + s};
        o = systems[s];
        if (o.num_samples[1] == 0) o.num_samples[1] = 5; /* the script's BAR wants some */
        draw(&o, &rng);
        write_numbers(path, &o);
        snprintf(command, sizeof command, "python3 '%s' '%s' 2>/dev/null", EQFLOW_PYMBAR_REFERENCE, path);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        double theirs[MAX_STATES * (MAX_STATES + 1) + 2];
        const unsigned wanted = o.num_states * (o.num_states + 1) + 2;
        unsigned num = 0;
        while (num < wanted && fscanf(pipe, "%lf", &theirs[num]) == 1) num++;
        pclose(pipe);
        if (num == 0) {
            remove(path);
            print_message("skipped: python3 has no pymbar\n");
            skip();
        }
        assert_int_equal(num, wanted);
        compare(&o, theirs);
    }
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),    cmocka_unit_test(test_two_states), cmocka_unit_test(test_shifts),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_symmetric),  cmocka_unit_test(test_pymbar),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
