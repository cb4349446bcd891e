/* Tables of options as JSON objects. */
#include "test_files.h"

#include <math.h>
#include <string.h>

#include "json_text.h"
#include "option_json.h"

typedef enum shape { SHAPE_ROUND, SHAPE_FLAT } shape;

typedef struct thing {
    double weight, cap;
    unsigned count;
    size_t size;
    uint64_t wide;
    bool is_on;
    shape shape;
    double late;
} thing;

static const char *const shapes[] = {"round", "flat", NULL};
static const eqf_option rows[] = {
    EQF__OPTION(thing, weight, REAL, .low = 0, .high = 1),
    EQF__OPTION(thing, cap, REAL, .low = 0, .high = INFINITY),
    EQF__OPTION(thing, count, UNSIGNED, .low = 0, .high = 10),
    EQF__OPTION(thing, size, SIZE, .low = 0, .high = 10),
    EQF__OPTION(thing, wide, UINT64, .low = 0, .high = 0x1p63),
    EQF__OPTION(thing, is_on, BOOL, .initial = 0),
    EQF__OPTION(thing, shape, NAME, .names = shapes),
    EQF__OPTION(thing, late, REAL, .initial = 2.5, .low = 0, .high = 10, .is_optional = true),
    EQF__OPTIONS_END,
};

static char *text_of(const thing *made) {
    json_t *object = json_object();
    char *text;
    size_t num_bytes;
    assert_true(eqf__options_to_json(rows, made, object));
    assert_int_equal(eqf__json_text(NULL, object, &text, &num_bytes), EQF_OK);
    json_decref(object);
    return text;
}

static const char whole[] =
    "{\"weight\":0.10000000000000001,\"cap\":\"inf\",\"count\":3,\"size\":4,\"wide\":9007199254740993,"
    "\"is_on\":true,\"shape\":\"flat\"}";

static void test_round_trip(void **state) {
    (void)state;
    thing made = {0.1, INFINITY, 3, 4, ((uint64_t)1 << 53) + 1, true, SHAPE_FLAT, 2.5}, read = {.late = 1};
    char *text = text_of(&made);
    assert_string_equal(text, whole);
    json_t *object = json_loads(text, 0, NULL);
    eqf__option_problem problem;
    assert_true(eqf__options_from_json(rows, object, &read, &problem));
    assert_true(eqf__options_are_equal(rows, &made, &read));
    json_decref(object);
    free(text);
    made.late = 3; /* an optional one is written where it is not the default */
    text = text_of(&made);
    assert_non_null(strstr(text, "\"late\":3.0"));
    free(text);
}

static void expect_problem(const char *key, const char *value, const char *reason, const char *unknown_name) {
    json_t *object = json_loads(whole, 0, NULL);
    if (value != NULL)
        json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(object, key);
    thing read;
    eqf__option_problem problem;
    assert_false(eqf__options_from_json(rows, object, &read, &problem));
    assert_string_equal(problem.key, key);
    assert_string_equal(problem.reason, reason);
    if (unknown_name != NULL)
        assert_string_equal(problem.unknown_name, unknown_name);
    else
        assert_null(problem.unknown_name);
    json_decref(object);
}

static void test_problems(void **state) {
    (void)state;
    for (const eqf_option *row = rows; !row->is_optional; row++) expect_problem(row->key, NULL, "is missing", NULL);
    expect_problem("weight", "true", "is not a number", NULL);
    expect_problem("weight", "null", "is not a number", NULL);
    expect_problem("weight", "\"high\"", "is not a number", NULL);
    expect_problem("late", "[]", "is not a number", NULL);
    expect_problem("count", "-1", "is not a count", NULL);
    expect_problem("count", "2147483648", "is not a count", NULL);
    expect_problem("size", "1.5", "is not a count", NULL);
    expect_problem("wide", "\"1\"", "is not a count", NULL);
    expect_problem("is_on", "1", "is not true or false", NULL);
    expect_problem("shape", "1", "is not text", NULL);
    expect_problem("shape", "\"long\"", "is not known", "long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
