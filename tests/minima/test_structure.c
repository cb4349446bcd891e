/* The lowest known minima of Lennard-Jones clusters: their structures fall into them, with the energies of the
 * literature; a preset's own figure is that of its own constants; nothing that random starts find lies lower. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* In units of the well's depth, free clusters: Wales and Doye, J. Phys. Chem. A 101 (1997) 5111; Cambridge Cluster
 * Database. Their pair potential 4 epsilon ((s/d)^12 - (s/d)^6) is epsilon ((r/d)^12 - 2 (r/d)^6) with r = 2^(1/6) s:
 * the same energies, other lengths. */
static const struct {
    const char *preset;
    double energy;
    unsigned num_neighbours; /* pairs nearer than 1.2 lengths */
} known[] = {{"lj13", -44.326801, 42}, {"lj38", -173.928427, 144}, {"lj55", -279.248470, 234}};
enum { NUM_KNOWN = 3, MOST_DOF = 165 };

static double quench(eqf_context *ctx, const eqf_potential_options *potential, const float *x, double *x_out) {
    double energy;
    eqf_quench_result result;
    TEST_OK(ctx, eqf_minima_quench(ctx, potential, NULL, 1, x, x_out, &energy, NULL, &result, NULL));
    assert_int_equal(result, EQF_QUENCH_MINIMUM);
    return energy;
}

static void test_literature(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    for (unsigned k = 0; k < NUM_KNOWN; k++) {
        const eqf_preset *preset = eqf_preset_find(known[k].preset);
        eqf_potential_options potential = preset->model->potential;
        float x[MOST_DOF];
        double relaxed[MOST_DOF];
        assert_true(eqf_preset_minimum_structure(preset, x));
        const double own = quench(ctx, &potential, x, relaxed);
        print_message("%s: with its own constants %.6f", known[k].preset, own);
        assert_true(fabs(own - preset->minimum_energy) < 2e-5);
        potential.epsilon = 1;
        potential.trap_strength = 0;
        const double free_cluster = quench(ctx, &potential, x, relaxed);
        print_message(", free with epsilon 1 %.6f, literature %.6f\n", free_cluster, known[k].energy);
        assert_true(fabs(free_cluster - known[k].energy) < 2e-6 * fabs(known[k].energy));
        /* By the independent formula too, and with the coordination of the structure that it should be. */
        assert_true(fabs(ref_potential_energy(&potential, relaxed, NULL) - known[k].energy) <
                    2e-6 * fabs(known[k].energy));
        unsigned num_neighbours = 0;
        for (unsigned i = 0; i < potential.num_particles; i++)
            for (unsigned j = 0; j < i; j++) {
                double square = 0;
                for (unsigned d = 0; d < 3; d++) square += pow(relaxed[3 * i + d] - relaxed[3 * j + d], 2);
                num_neighbours += square < 1.2 * 1.2;
            }
        assert_int_equal(num_neighbours, known[k].num_neighbours);
        /* What it falls from is near: no particle of length 1 moves far. */
        for (unsigned c = 0; c < 3 * potential.num_particles; c++) assert_true(fabs((double)x[c] - relaxed[c]) < 0.15);
    }
}

static void test_nothing_lower(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM = 400 };
    const eqf_preset *preset = eqf_preset_find("lj13");
    float *x = test_floats(NUM * 39);
    double *relaxed = calloc(NUM * 39, sizeof *relaxed), energy[NUM];
    eqf_quench_result result[NUM];
    assert_non_null(relaxed);
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &preset->model->potential, 3, 0, NUM, x));
    TEST_OK(ctx, eqf_minima_quench(ctx, &preset->model->potential, NULL, NUM, x, relaxed, energy, NULL, result, NULL));
    double lowest = INFINITY;
    for (unsigned n = 0; n < NUM; n++)
        if (result[n] == EQF_QUENCH_MINIMUM) lowest = fmin(lowest, energy[n]);
    print_message("lowest of %d random starts %.6f\n", (int)NUM, lowest);
    assert_true(fabs(lowest - preset->minimum_energy) < 2e-5);
    free(x);
    free(relaxed);
}

static void test_unknown(void **state) {
    (void)state;
    float x[MOST_DOF];
    assert_false(eqf_preset_minimum_structure(eqf_preset_find("dw4"), x));
    assert_false(eqf_preset_minimum_structure(NULL, x));
    assert_false(eqf_preset_minimum_structure(eqf_preset_find("lj13"), NULL));
    /* A pair's minimum: s = (d - 4)^2 = 20/9, 0.9 s^2 - 4 s. */
    assert_true(fabs(eqf_preset_find("dw2")->minimum_energy - (0.9 * 400 / 81 - 80.0 / 9)) < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literature),
        cmocka_unit_test(test_nothing_lower),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
