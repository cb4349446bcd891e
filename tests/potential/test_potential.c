/* Energies and forces of the device against the double-precision formulas. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* Energy relative to the sum of the pairs' absolute energies, force to the configuration's largest force; neither to
 * less than the thermal scale, 1 kT or 1 kT/length, below which a force is rounding of the distances. */
static const double tolerance = 2e-5;

static eqf_potential_options options_of(const test_system *system, eqf_potential_kind kind) {
    eqf_potential_options potential = test_model_options(system).potential;
    potential.kind = kind;
    return potential;
}

static double largest_of(size_t count, const double *values) {
    double largest = 0.0;
    for (size_t n = 0; n < count; ++n) largest = fmax(largest, fabs(values[n]));
    return largest;
}

/* Sum over pairs of |u|: what the rounding error of the energy is relative to. */
static double energy_scale(const eqf_potential_options *potential, const double *x) {
    eqf_potential_options two = *potential;
    two.num_particles = 2;
    two.trap_strength = 0.0;
    unsigned D = potential->space_dim;
    double scale = 0.0;
    for (unsigned i = 0; i < potential->num_particles; ++i)
        for (unsigned j = 0; j < i; ++j) {
            double pair[6];
            memcpy(pair, x + i * D, D * sizeof *pair);
            memcpy(pair + D, x + j * D, D * sizeof *pair);
            scale += fabs(ref_potential_energy(&two, pair, NULL));
        }
    return fmax(scale, 1.0); /* kT */
}

static void compare(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size, const float *x,
                    test_worst *energy_worst, test_worst *force_worst) {
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    float *energy = test_output(batch_size), *force = test_output(batch_size * num_dof);
    double *h_x = test_to_double(batch_size * num_dof, x), *expected = calloc(num_dof, sizeof *expected);
    TEST_OK(ctx, eqf_potential_evaluate(ctx, potential, batch_size, x, energy, force));
    test_output_end(batch_size, energy);
    test_output_end(batch_size * num_dof, force);
    for (size_t b = 0; b < batch_size; ++b) {
        double u = ref_potential_energy(potential, h_x + b * num_dof, expected);
        test_compare(energy_worst, b, fabs(energy[b] - u) / energy_scale(potential, h_x + b * num_dof));
        double largest = fmax(largest_of(num_dof, expected), 1.0);
        for (size_t n = 0; n < num_dof; ++n)
            test_compare(force_worst, b, fabs(force[b * num_dof + n] - expected[n]) / largest);
    }
    free(energy);
    free(force);
    free(h_x);
    free(expected);
}

static void test_against_reference(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s)
        TEST_EACH_FORMULA(kind) {
            test_system system = test_systems[s];
            system.kind = (eqf_potential_kind)kind;
            eqf_potential_options potential = options_of(&system, system.kind);
            test_worst energy_worst = TEST_WORST_INIT(tolerance), force_worst = TEST_WORST_INIT(tolerance);
            for (size_t i = 0; i < num_test_batch_sizes; ++i) {
                float *x = test_configurations(&system, test_batch_sizes[i], 10 * s + i);
                compare(ctx, &potential, test_batch_sizes[i], x, &energy_worst, &force_worst);
                free(x);
            }
            const char *name = eqf_potential_kind_name(system.kind);
            is_good &= test_report(&energy_worst, "%s N=%u D=%u energy", name, system.num_particles, system.space_dim);
            is_good &= test_report(&force_worst, "%s N=%u D=%u force", name, system.num_particles, system.space_dim);
        }
    assert_true(is_good);
}

/* Every constant away from its default: one that is ignored, or that enters with a wrong factor, shows. */
static void test_every_constant(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    test_worst energy_worst = TEST_WORST_INIT(tolerance), force_worst = TEST_WORST_INIT(tolerance);
    TEST_EACH_FORMULA(kind) {
        test_system system = *test_system_named("dw5");
        system.kind = (eqf_potential_kind)kind;
        float *x = test_configurations(&system, 9, 77);
        const eqf_option *option;
        for (size_t which = 0; (option = eqf_potential_option(system.kind, which)) != NULL; ++which) {
            eqf_potential_options potential = options_of(&system, system.kind);
            potential.temperature = 1.3;
            eqf_option_set(option, &potential, 1.25 * eqf_option_get(option, &potential) + 0.05);
            compare(ctx, &potential, 9, x, &energy_worst, &force_worst);
        }
        free(x);
    }
    bool is_good = test_report(&energy_worst, "changed constants, energy");
    is_good &= test_report(&force_worst, "changed constants, force");
    assert_true(is_good);
}

static void test_energy_or_force_alone(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("lj13");
    eqf_potential_options potential = options_of(system, system->kind);
    float *x = test_configurations(system, 9, 5), *energy = test_output(9), *force = test_output(9 * 39);
    float *energy_alone = test_output(9), *force_alone = test_output(9 * 39);
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, energy, force));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, energy_alone, NULL));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, NULL, force_alone));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, NULL, NULL));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 0, NULL, energy_alone + 9, NULL));
    test_output_end(9, energy_alone);
    test_output_end(9 * 39, force_alone);
    for (unsigned b = 0; b < 9; ++b) assert_true(fabs(energy[b] - energy_alone[b]) <= 1e-5 * fabs(energy[b]));
    double largest = 0.0;
    for (unsigned n = 0; n < 9 * 39; ++n) largest = fmax(largest, fabs(force[n]));
    for (unsigned n = 0; n < 9 * 39; ++n) assert_true(fabs(force[n] - force_alone[n]) <= 1e-5 * largest);
    free(x);
    free(energy);
    free(force);
    free(energy_alone);
    free(force_alone);
}

/* Coincident, far and non-finite configurations: themselves as the formula says, their neighbours in the batch
 * untouched. */
static void test_edges_stay_with_their_sample(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    TEST_EACH_FORMULA(kind) {
        test_system system = *test_system_named("dw4");
        system.kind = (eqf_potential_kind)kind;
        eqf_potential_options potential = options_of(&system, system.kind);
        float *x = test_configurations(&system, 9, 21), *energy = test_output(9), *force = test_output(72);
        float *edge_energy = test_output(9), *edge_force = test_output(72);
        TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, energy, force));
        memcpy(x + 8, x + 10, 2 * sizeof *x); /* sample 1: two particles at one place */
        x[3 * 8] = 1e4f;                      /* sample 3: one far away */
        x[5 * 8 + 1] = NAN;
        x[6 * 8 + 2] = INFINITY;
        TEST_OK(ctx, eqf_potential_evaluate(ctx, &potential, 9, x, edge_energy, edge_force));
        double *h_x = test_to_double(72, x);
        double coincident = ref_potential_energy(&potential, h_x + 8, NULL);
        double far = ref_potential_energy(&potential, h_x + 24, NULL);
        print_message("%s: coincident %g (%g), far %g (%g)\n", eqf_potential_kind_name(system.kind), edge_energy[1],
                      coincident, edge_energy[3], far);
        if (isfinite(coincident))
            assert_true(fabs(edge_energy[1] - coincident) <= tolerance * fabs(coincident));
        else
            assert_false(isfinite(edge_energy[1]) && edge_energy[1] < 1e20f); /* overlap must never look good */
        assert_true(fabs(edge_energy[3] - far) <= tolerance * fabs(far));
        assert_false(isfinite(edge_energy[5]));
        assert_false(isfinite(edge_energy[6]));
        const unsigned others[] = {0, 2, 4, 7, 8};
        for (unsigned o = 0; o < 5; ++o) {
            assert_memory_equal(energy + others[o], edge_energy + others[o], sizeof *energy);
            assert_memory_equal(force + 8 * others[o], edge_force + 8 * others[o], 8 * sizeof *force);
        }
        free(h_x);
        free(x);
        free(energy);
        free(force);
        free(edge_energy);
        free(edge_force);
    }
}

static void test_names_and_checks(void **state) {
    (void)state;
    eqf_context *ctx = NULL; /* no device is needed for these */
    assert_int_equal(eqf_context_create(NULL, &ctx), EQF_OK);
    eqf_potential_kind kind = EQF_POTENTIAL_DOUBLE_WELL;
    assert_int_equal(eqf_potential_kind_find("lennard_jones", &kind), EQF_OK);
    assert_int_equal(kind, EQF_POTENTIAL_LENNARD_JONES);
    assert_string_equal(eqf_potential_kind_name(EQF_POTENTIAL_DOUBLE_WELL), "double_well");
    assert_null(eqf_potential_kind_name((eqf_potential_kind)99));
    assert_int_equal(eqf_potential_kind_find("coulomb", &kind), EQF_ERROR_NOT_FOUND);
    eqf_potential_options good = EQF_POTENTIAL_OPTIONS_INIT;
    assert_int_equal(eqf_potential_check(ctx, &good), EQF_OK);
    for (unsigned bad = 0; bad < 7; ++bad) {
        eqf_potential_options potential = good;
        if (bad == 0) potential.num_particles = 1;
        if (bad == 1) potential.space_dim = 0;
        if (bad == 2) potential.space_dim = 4;
        if (bad == 3) potential.temperature = 0.0;
        if (bad == 4) potential.temperature = NAN;
        if (bad == 5) potential.quartic = INFINITY;
        if (bad == 6) potential.kind = (eqf_potential_kind)99;
        assert_int_equal(eqf_potential_check(ctx, &potential), EQF_ERROR_INVALID_ARGUMENT);
        assert_true(strlen(eqf_context_error(ctx)) > 0);
        print_message("%s\n", eqf_context_error(ctx));
    }
    eqf_context_destroy(&ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),     cmocka_unit_test(test_every_constant),
        cmocka_unit_test(test_energy_or_force_alone), cmocka_unit_test(test_edges_stay_with_their_sample),
        cmocka_unit_test(test_names_and_checks),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
