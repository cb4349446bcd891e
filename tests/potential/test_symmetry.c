/* Each symmetry is found, and each one that is missing: unlike particles, a direction in space, handedness, a place in
 * space. */
#include <stdio.h>

#include "support.h"

/* Springs to the centre of mass, the same in all directions unless a macro says otherwise; no gradient is asked for
 * here. */
static const char springs[] =
    "#ifndef STIFFNESS\n#define STIFFNESS(i, d) 1\n#endif\n"
    "#ifndef EXTRA\n#define EXTRA 0\n#endif\n"
    "real energy(const real *x) {\n"
    "    real sum = 0, centre[D];\n"
    "    for (int d = 0; d < D; d++) {\n"
    "        centre[d] = 0;\n"
    "        for (int i = 0; i < N; i++) centre[d] += x[i * D + d] / N;\n"
    "        for (int i = 0; i < N; i++) sum += STIFFNESS(i, d) * (x[i * D + d] - centre[d]) * (x[i * D + d] - "
    "centre[d]);\n"
    "    }\n"
    "    return sum + EXTRA;\n"
    "}\n"
    "void energy_gradient(const real *x, real *gradient) { for (int c = 0; c < N * D; c++) gradient[c] = 0 * x[c]; }\n";

static void check(const char *head, unsigned D, bool permutation, bool rotation, bool reflection, bool translation) {
    char text[2048];
    snprintf(text, sizeof text, "%s%s", head, springs);
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_USER;
    potential.num_particles = 5;
    potential.space_dim = D;
    potential.source = text;
    eqf_potential_symmetry has = EQF_POTENTIAL_SYMMETRY_INIT;
    TEST_OK(test_context(), eqf_potential_find_symmetry(test_context(), &potential, &has));
    print_message("%u dimensions, '%.40s': permutation %d, rotation %d, reflection %d, translation %d\n", D, head,
                  has.has_permutation, has.has_rotation, has.has_reflection, has.has_translation);
    assert_int_equal(has.has_permutation, permutation);
    assert_int_equal(has.has_rotation, rotation);
    assert_int_equal(has.has_reflection, reflection);
    assert_int_equal(has.has_translation, translation);
}

static void test_user_texts(void **state) {
    (void)state;
    for (unsigned D = 1; D <= 3; ++D) {
        check("", D, true, true, true, true);
        check("#define STIFFNESS(i, d) ((i) == 0 ? 2 : 1)\n", D, false, true, true, true); /* an unlike particle */
        check("#define EXTRA (x[0] + x[D])\n", D, false, D == 1, false, false);            /* a field on two of them */
    }
    for (unsigned D = 2; D <= 3; ++D)
        check("#define STIFFNESS(i, d) ((d) == 0 ? 2 : 1)\n", D, true, false, false, true);
    /* The signed area of three of them knows left from right. */
    check("#define EXTRA ((x[2] - x[0]) * (x[5] - x[1]) - (x[3] - x[1]) * (x[4] - x[0]))\n", 2, false, true, false,
          true);
    /* A closed chain has the rotations of its order, and no other permutations. */
    check(
        "real chain(const real *x) { real s = 0; for (int i = 0; i < N; i++) for (int d = 0; d < D; d++) {\n"
        "    const real r = x[i * D + d] - x[(i + 1) % N * D + d]; s += r * r; } return s; }\n#define EXTRA chain(x)\n",
        3, false, true, true, true);
}

static void test_built_in(void **state) {
    (void)state;
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
        potential.kind = system->kind;
        potential.num_particles = system->num_particles;
        potential.space_dim = system->space_dim;
        eqf_potential_symmetry has = EQF_POTENTIAL_SYMMETRY_INIT;
        TEST_OK(test_context(), eqf_potential_find_symmetry(test_context(), &potential, &has));
        assert_true(has.has_permutation && has.has_rotation && has.has_reflection && has.has_translation);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_user_texts), cmocka_unit_test(test_built_in)};
    return cmocka_run_group_tests_name("potential.symmetry", tests, NULL, test_context_teardown);
}
