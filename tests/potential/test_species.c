/* Two species of particles: energies and forces of the binary Lennard-Jones kind, and that only particles of one
 * species trade places, wherever particles are permuted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alignment.h"
#include "eqflow/mcmc.h"
#include "eqflow/minima.h"
#include "support.h"

static eqf_potential_options binary(unsigned num_particles, unsigned num_b, unsigned space_dim) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_BINARY_LENNARD_JONES;
    potential.num_particles = num_particles;
    potential.space_dim = space_dim;
    potential.num_b = num_b;
    potential.temperature = 1.2;
    return potential;
}

/* Particles on a cubic lattice, each off its place, centred. */
static void place(const eqf_potential_options *potential, uint64_t seed, float *x_out) {
    const unsigned N = potential->num_particles, D = potential->space_dim;
    test_rng rng = {seed};
    unsigned side = 1;
    while (pow(side, D) < N) side++;
    for (unsigned i = 0; i < N; i++)
        for (unsigned d = 0, cell = i; d < D; d++, cell /= side)
            x_out[i * D + d] = (float)(0.95 * (cell % side) + 0.08 * test_normal(&rng));
    test_center_floats(N, D, x_out);
}

static void swap(unsigned D, unsigned i, unsigned j, float *x) {
    for (unsigned d = 0; d < D; d++) {
        const float kept = x[i * D + d];
        x[i * D + d] = x[j * D + d];
        x[j * D + d] = kept;
    }
}

/* With every pair of species, and with one species, which is a plain Lennard-Jones of the constants of AA. */
static void test_energies(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const unsigned sizes[][3] = {{5, 2, 2}, {5, 2, 3}, {5, 4, 1}, {13, 5, 2}, {13, 5, 3}, {13, 0, 3}, {2, 1, 3}};
    enum { NUM = 9, MOST = 39 };
    test_worst energies = TEST_WORST_INIT(2e-5), forces = TEST_WORST_INIT(2e-5);
    for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        eqf_potential_options potential = binary(sizes[s][0], sizes[s][1], sizes[s][2]);
        const unsigned num_dof = sizes[s][0] * sizes[s][2];
        float x[NUM * MOST], energy[NUM], force[NUM * MOST];
        for (unsigned b = 0; b < NUM; b++) place(&potential, 10 * s + b, x + b * num_dof);
        for (unsigned without = 0; without < 3; without++) { /* a pair without depth is no pair */
            potential.epsilon_ab = without == 1 ? 0 : 3;
            potential.trap_strength = without == 2 ? 0 : 0.7;
            TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, NUM, x, energy, force));
            for (unsigned b = 0; b < NUM; b++) {
                double h_x[MOST], expected[MOST], largest = 1;
                for (unsigned c = 0; c < num_dof; c++) h_x[c] = (double)x[b * num_dof + c];
                const double u = ref_potential_energy(&potential, h_x, expected);
                test_compare(&energies, b, fabs((double)energy[b] - u) / (20 + fabs(u)));
                for (unsigned c = 0; c < num_dof; c++) largest = fmax(largest, fabs(expected[c]));
                for (unsigned c = 0; c < num_dof; c++)
                    test_compare(&forces, b, fabs((double)force[b * num_dof + c] - expected[c]) / largest);
            }
        }
        TEST_OK(ctx, eqf_potential_verify(ctx, &potential, NULL));
    }
    bool is_good = test_report(&energies, "binary Lennard-Jones, energy");
    is_good &= test_report(&forces, "binary Lennard-Jones, force");
    assert_true(is_good);
}

static void test_one_species_is_lennard_jones(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = binary(13, 0, 3), plain = potential;
    plain.kind = EQF_POTENTIAL_LENNARD_JONES;
    plain.epsilon = potential.epsilon_aa;
    plain.r_min = potential.r_min_aa;
    float x[39], of_binary, of_plain;
    place(&potential, 4, x);
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 1, x, &of_binary, NULL));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &plain, 1, x, &of_plain, NULL));
    assert_true(fabsf(of_binary - of_plain) < 2e-6f * (20 + fabsf(of_plain)));
    assert_int_equal(eqf_potential_num_b(&potential), 0);
    potential.num_b = 5;
    assert_int_equal(eqf_potential_num_b(&potential), 5);
    plain.num_b = 5; /* has no meaning there */
    assert_int_equal(eqf_potential_num_b(&plain), 0);
}

static void test_symmetry(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options potential = binary(5, 2, 2);
    float x[3 * 10], energy[3];
    for (unsigned b = 0; b < 3; b++) place(&potential, 5, x + b * 10);
    swap(2, 0, 2, x + 10); /* A and A */
    swap(2, 2, 3, x + 20); /* A and B */
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 3, x, energy, NULL));
    assert_true(fabsf(energy[1] - energy[0]) < 1e-4f);
    assert_true(fabsf(energy[2] - energy[0]) > 0.1f);
    eqf_potential_symmetry has = EQF_POTENTIAL_SYMMETRY_INIT;
    TEST_OK(ctx, eqf_potential_find_symmetry(ctx, &potential, &has));
    assert_true(has.has_permutation && has.has_rotation && has.has_reflection && has.has_translation);
    /* A text is asked about the species that it is said to have. */
    eqf_potential_options text = EQF_POTENTIAL_OPTIONS_INIT;
    text.kind = EQF_POTENTIAL_USER;
    text.num_particles = 5;
    text.source =
        "real energy(const real *x) { real s = 0; for (int i = 0; i < N; i++) for (int j = 0; j < N; j++)\n"
        "for (int d = 0; d < D; d++) s += ((i >= 3) + 1) * (x[i*D+d] - x[j*D+d]) * (x[i*D+d] - x[j*D+d]);\n"
        "return s; }\nvoid energy_gradient(const real *x, real *g) { for (int c = 0; c < N * D; c++) g[c] = x[c]; }\n";
    for (text.num_b = 0; text.num_b < 4; text.num_b++) {
        TEST_OK(ctx, eqf_potential_find_symmetry(ctx, &text, &has));
        assert_int_equal(has.has_permutation, text.num_b == 2);
    }
}

/* The energies that chains report are those of their configurations. */
static void test_chains(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options potential = binary(5, 2, 2);
    enum { NUM = 64 };
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = NUM;
    options.num_burn_in = 300;
    float x[NUM * 10], energy[NUM];
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &potential, &options, NUM, x, energy, NULL));
    test_worst worst = TEST_WORST_INIT(2e-5);
    for (unsigned b = 0; b < NUM; b++) {
        double h_x[10];
        for (unsigned c = 0; c < 10; c++) h_x[c] = (double)x[b * 10 + c];
        const double u = ref_potential_energy(&potential, h_x, NULL);
        test_compare(&worst, b, fabs((double)energy[b] - u) / (20 + fabs(u)));
    }
    assert_true(test_report(&worst, "energies of chains"));
}

/* x is the copy of z whose particles trade places as `with` says, turned and mirrored. */
static void copy_of(unsigned N, unsigned D, const double *z, unsigned i, unsigned j, uint64_t seed, double *x) {
    double matrix[9];
    test_rng rng = {seed};
    test_orthogonal(&rng, D, seed % 2, matrix);
    for (unsigned p = 0; p < N; p++)
        for (unsigned a = 0; a < D; a++) {
            const unsigned from = p == i ? j : p == j ? i : p;
            x[p * D + a] = 0;
            for (unsigned b = 0; b < D; b++) x[p * D + a] += matrix[a * D + b] * z[from * D + b];
        }
}

static void test_alignment(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const unsigned sizes[][3] = {{4, 2, 2}, {3, 1, 3}, {6, 2, 2}, {9, 4, 3}};
    for (unsigned s = 0; s < 4; s++) {
        const unsigned N = sizes[s][0], num_b = sizes[s][1], D = sizes[s][2];
        const eqf_potential_options potential = binary(N, num_b, D);
        double z[27], x[27];
        float placed[27];
        place(&potential, s, placed);
        for (unsigned c = 0; c < N * D; c++) z[c] = (double)placed[c];
        eqf__alignment *alignment;
        TEST_OK(ctx, eqf__alignment_create(ctx, N, num_b, D, &alignment));
        copy_of(N, D, z, 0, 1, 7 + s, x);
        const double within = eqf__align(alignment, z, 20, 3, 0, x);
        copy_of(N, D, z, 0, N - 1, 7 + s, x);
        const double across = eqf__align(alignment, z, 20, 3, 0, x);
        eqf__alignment_destroy(&alignment);
        TEST_OK(ctx, eqf__alignment_create(ctx, N, 0, D, &alignment));
        copy_of(N, D, z, 0, N - 1, 7 + s, x);
        const double alike = eqf__align(alignment, z, 20, 3, 0, x);
        eqf__alignment_destroy(&alignment);
        print_message("N %u, %u of B: %.3g within, %.3g across, %.3g if all are alike\n", N, num_b, within, across,
                      alike);
        assert_true(within < 1e-10 && alike < 1e-10 && across > 1e-3);
    }
}

/* Equal minima: relabelled within the species, not across. */
static void test_minima(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_potential_options potential = binary(7, 3, 3);
    double x[4 * 21], energy[4] = {-1, -1, -1, -1};
    float placed[21];
    place(&potential, 2, placed);
    for (unsigned c = 0; c < 21; c++) x[c] = (double)placed[c];
    copy_of(7, 3, x, 0, 3, 4, x + 21); /* A and A */
    copy_of(7, 3, x, 4, 6, 5, x + 42); /* B and B */
    copy_of(7, 3, x, 3, 4, 6, x + 63); /* A and B */
    eqf_minimum *minima;
    size_t num_minima, minimum_of[4];
    TEST_OK(ctx, eqf_minima_group(ctx, &potential, NULL, 4, x, energy, NULL, &minima, &num_minima, minimum_of));
    assert_int_equal(num_minima, 2);
    assert_true(minimum_of[1] == minimum_of[0] && minimum_of[2] == minimum_of[0] && minimum_of[3] != minimum_of[0]);
    eqf_free(minima);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = binary(5, 5, 2);
    assert_int_equal(eqf_potential_check(ctx, &potential), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "num_b of the potential is 5: it must be below the number"));
    potential.num_b = 1000;
    assert_int_equal(eqf_potential_check(ctx, &potential), EQF_ERROR_INVALID_ARGUMENT);
    potential.num_b = 2;
    potential.epsilon_ab = -1;
    assert_int_equal(eqf_potential_check(ctx, &potential), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "epsilon_ab"));
    potential = binary(5, 2, 2);
    potential.r_min_bb = 0;
    assert_int_equal(eqf_potential_check(ctx, &potential), EQF_ERROR_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_energies),  cmocka_unit_test(test_one_species_is_lennard_jones),
        cmocka_unit_test(test_symmetry),  cmocka_unit_test(test_chains),
        cmocka_unit_test(test_alignment), cmocka_unit_test(test_minima),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
