/* Potentials by name, and the bounds of their constants. */
#include "test_files.h"

#include <math.h>

#include "base.h"
#include "eqflow/potential.h"

static eqf_context ctx; /* options need no device */

static void test_names(void **state) {
    (void)state;
    eqf_potential_kind kind = EQF_POTENTIAL_DOUBLE_WELL;
    assert_string_equal(eqf_potential_kind_name(EQF_POTENTIAL_DOUBLE_WELL), "double_well");
    assert_int_equal(eqf_potential_kind_find("lennard_jones", &kind), EQF_OK);
    assert_int_equal(kind, EQF_POTENTIAL_LENNARD_JONES);
    assert_int_equal(eqf_potential_kind_find("lennard", &kind), EQF_ERROR_NOT_FOUND);
    assert_int_equal(eqf_potential_kind_find(NULL, &kind), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(kind, EQF_POTENTIAL_LENNARD_JONES);
    assert_null(eqf_potential_kind_name((eqf_potential_kind)17));
}

static void test_check(void **state) {
    (void)state;
    eqf_potential_options good = EQF_POTENTIAL_OPTIONS_INIT, bad;
    assert_int_equal(eqf_potential_check(&ctx, &good), EQF_OK);
    good.num_particles = 1000;
    good.space_dim = 3;
    good.quartic = good.epsilon = good.trap_strength = 0.0;
    assert_int_equal(eqf_potential_check(&ctx, &good), EQF_OK);
#define EXPECT_BAD(field, value) \
    bad = good;                  \
    bad.field = value;           \
    TEST_EXPECT(&ctx, eqf_potential_check(&ctx, &bad), EQF_ERROR_INVALID_ARGUMENT, #field)
    EXPECT_BAD(struct_size, 2);
    EXPECT_BAD(kind, (eqf_potential_kind)5);
    EXPECT_BAD(num_particles, 1);
    EXPECT_BAD(num_particles, 1001);
    EXPECT_BAD(space_dim, 0);
    EXPECT_BAD(space_dim, 4);
    EXPECT_BAD(temperature, 0.0);
    EXPECT_BAD(temperature, (double)NAN);
    EXPECT_BAD(distance_offset, (double)INFINITY);
    EXPECT_BAD(linear, (double)NAN);
    EXPECT_BAD(quadratic, 1e39);
    EXPECT_BAD(quartic, -0.1);
    EXPECT_BAD(r_min, (double)NAN); /* of the other kind, but it would be in the model file */
    good.r_min = good.epsilon = good.trap_strength = -1.0;
    assert_int_equal(eqf_potential_check(&ctx, &good), EQF_OK);
    good = (eqf_potential_options)EQF_POTENTIAL_OPTIONS_INIT;
    good.kind = EQF_POTENTIAL_LENNARD_JONES;
    good.quartic = -1.0;
    assert_int_equal(eqf_potential_check(&ctx, &good), EQF_OK);
    EXPECT_BAD(epsilon, -1.0);
    EXPECT_BAD(r_min, 0.0);
    EXPECT_BAD(trap_strength, -1.0);
    EXPECT_BAD(quartic, (double)INFINITY);
#undef EXPECT_BAD
    TEST_EXPECT(&ctx, eqf_potential_check(&ctx, NULL), EQF_ERROR_INVALID_ARGUMENT, "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_check)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
