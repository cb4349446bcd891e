/* Tables of options: defaults, ranges, names, hashes. */
#include "test_files.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "option.h"

typedef enum colour { COLOUR_RED, COLOUR_BLUE } colour;

typedef struct thing {
    double weight;
    unsigned count;
    size_t size;
    uint64_t wide;
    bool is_on;
    colour colour;
    double cap, rate;
} thing;

static const char *const colours[] = {"red", "blue", NULL};
static const eqf_option rows[] = {
    EQF__OPTION(thing, weight, REAL, .initial = 0.5, .low = -1e30, .high = 1e30),
    EQF__OPTION(thing, count, UNSIGNED, .initial = 3, .low = 2, .high = 1000),
    EQF__OPTION(thing, size, SIZE, .initial = 256, .low = 1, .high = 1e6),
    EQF__OPTION(thing, wide, UINT64, .initial = 7, .low = 0, .high = 0x1p64),
    EQF__OPTION(thing, is_on, BOOL, .initial = 1),
    EQF__OPTION(thing, colour, NAME, .initial = COLOUR_BLUE, .names = colours),
    EQF__OPTION(thing, cap, REAL, .initial = INFINITY, .low = 0, .high = INFINITY),
    EQF__OPTION(thing, rate, REAL, .initial = 1, .low = 1e-300, .high = DBL_MAX),
    EQF__OPTIONS_END,
};

static thing fresh(void) {
    thing made;
    memset(&made, 0x55, sizeof made);
    made.is_on = false;
    eqf__options_set_defaults(rows, &made);
    return made;
}

static void test_defaults(void **state) {
    (void)state;
    const thing made = fresh();
    assert_true(made.weight == 0.5 && made.count == 3 && made.size == 256 && made.wide == 7 && made.is_on);
    assert_true(made.colour == COLOUR_BLUE && isinf(made.cap) && made.rate == 1.0);
    assert_int_equal(eqf__options_check(NULL, rows, "thing", &made), EQF_OK);
    for (size_t n = 0; rows[n].key != NULL; n++) {
        assert_ptr_equal(eqf__options_at(rows, n), &rows[n]);
        assert_true(eqf_option_get(&rows[n], &made) == rows[n].initial);
    }
    assert_null(eqf__options_at(rows, 8));
    assert_null(eqf__options_at(rows, 100));
    assert_string_equal(eqf_option_name(&rows[5], &made), "blue");
    assert_null(eqf_option_name(&rows[1], &made));
}

static void expect_bad(const thing *bad, const char *message) {
    eqf_context ctx = {.log = NULL};
    assert_int_equal(eqf__options_check(&ctx, rows, "thing", bad), EQF_ERROR_INVALID_ARGUMENT);
    assert_string_equal(ctx.error, message);
}

static void test_ranges(void **state) {
    (void)state;
    thing bad = fresh();
    bad.weight = NAN;
    expect_bad(&bad, "weight of the thing is nan: it must be a number, at most 1e+30 in size");
    bad = fresh(), bad.count = 1;
    expect_bad(&bad, "count of the thing is 1: it must be 2 to 1000");
    bad = fresh(), bad.size = 1000001;
    expect_bad(&bad, "size of the thing is 1e+06: it must be 1 to 1000000");
    bad = fresh(), bad.colour = (colour)2;
    expect_bad(&bad, "colour of the thing is 2: there is no such colour");
    bad = fresh(), bad.cap = NAN;
    expect_bad(&bad, "cap of the thing is nan: it must be a number, at least 0");
    bad = fresh(), bad.rate = 0;
    expect_bad(&bad, "rate of the thing is 0: it must be a number above 0");
    bad = fresh(), bad.rate = INFINITY;
    expect_bad(&bad, "rate of the thing is inf: it must be a number above 0");
    assert_int_equal(eqf__options_check_finite(NULL, rows + 7, "thing", &bad), EQF_ERROR_INVALID_ARGUMENT);
    bad.rate = 0; /* out of its range, but a number */
    assert_int_equal(eqf__options_check_finite(NULL, rows + 7, "thing", &bad), EQF_OK);
}

/* Every member counts, in equality and in the hash; what lies between members does not. */
static void test_equality_and_hash(void **state) {
    (void)state;
    const thing left = fresh();
    thing right;
    memset(&right, 0xaa, sizeof right);
    right.is_on = false;
    eqf__options_set_defaults(rows, &right);
    const uint64_t hash = eqf__options_hash(EQF__HASH_START, rows, &left);
    assert_true(eqf__options_are_equal(rows, &left, &right));
    assert_int_equal(eqf__options_hash(EQF__HASH_START, rows, &right), hash);
    for (size_t n = 0; rows[n].key != NULL; n++) {
        right = left;
        eqf_option_set(&rows[n], &right, rows[n].type == EQF_OPTION_BOOL || rows[n].type == EQF_OPTION_NAME ? 0 : 2);
        assert_false(eqf__options_are_equal(rows, &left, &right));
        assert_int_not_equal(eqf__options_hash(EQF__HASH_START, rows, &right), hash);
    }
    right = left, right.wide = ((uint64_t)1 << 63) + 1; /* beyond what a double tells apart */
    thing other = left;
    other.wide = (uint64_t)1 << 63;
    assert_false(eqf__options_are_equal(rows, &right, &other));
}

/* http://www.isthe.com/chongo/src/fnv/test_fnv.c */
static void test_fnv(void **state) {
    (void)state;
    assert_true(eqf__hash(EQF__HASH_START, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(eqf__hash(EQF__HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(eqf__hash(EQF__HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_equality_and_hash),
        cmocka_unit_test(test_fnv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
