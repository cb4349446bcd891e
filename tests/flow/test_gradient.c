/* The exact gradient of the discretised flow against central differences of the double-precision loss. */
#include "gradient_check.h"

/* Every parameter where the reference is quick, a random part of them where it is not. */
static const test_gradient_case cases[] = {
    {"dw2", 50, 10, 20, 1, 1000}, {"dw2", 50, 10, 20, 7, 150},   {"dw4", 50, 10, 20, 9, 100},
    {"line3", 50, 10, 20, 8, 60}, {"line3", 12, 5, 6, 37, 1000}, {"dw5", 50, 10, 20, 7, 50},
    {"dw5", 11, 3, 5, 37, 40},    {"lj13", 50, 10, 20, 3, 12},   {"lj13", 16, 4, 5, 9, 40},
};

static void test_without_penalty(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c)
        is_good &= test_gradient_check(cases + c, 0.0, 0.0, 2000 + c);
    assert_true(is_good);
}

static void test_with_penalty(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c)
        is_good &= test_gradient_check(cases + c, 0.1, 0.0, 2100 + c);
    assert_true(is_good);
}

/* Pairs where the sum of the Gaussians falls below the 1e-6 and phi drops to its constant part (distance 9.5 to 11):
 * the steepest part of the field. */
static void test_beyond_the_last_gaussian(void **state) {
    (void)state;
    const test_gradient_case edge[] = {{"dw2", 50, 10, 20, 5, 30}, {"dw5", 50, 10, 20, 5, 30}};
    const double longest[] = {9.2, 10.3};
    bool is_good = true;
    for (size_t c = 0; c < sizeof edge / sizeof *edge; ++c)
        for (unsigned l = 0; l < 2; ++l) is_good &= test_gradient_check(edge + c, 0.1, longest[l], 2104 + c);
    assert_true(is_good);
}

static void test_edges(void **state) {
    (void)state;
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation)
        test_gradient_edges((eqf_field_evaluation)evaluation);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_penalty),
        cmocka_unit_test(test_with_penalty),
        cmocka_unit_test(test_beyond_the_last_gaussian),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
