/* Extended XYZ files, to the byte. */
#include "test_files.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/array.h"

static eqf_context ctx; /* files need no device */

static void assert_file(const char *path, const char *text) {
    size_t num_bytes;
    char *bytes = (char *)test_read_bytes(path, &num_bytes);
    assert_string_equal(bytes, text);
    free(bytes);
}

static void test_frames(void **state) {
    (void)state;
    float data[8] = {1.0f, -2.5f, 0.1f, 1e-20f, 3.0f, 4.0f, -0.0f, 1234567.0f};
    float energy[2] = {-25.5f, INFINITY}, log_prob[2] = {NAN, -3.25f};
    eqf_array x = {data, 3, {2, 2, 2}};
    const char *path = test_path("a.xyz");
    assert_int_equal(eqf_array_write_xyz(&ctx, path, &x, "Ar", energy, log_prob), EQF_OK);
    assert_file(path, "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" energy=-25.5 log_prob=nan\n"
                      "Ar 1 -2.5 0\nAr 0.100000001 9.99999968e-21 0\n"
                      "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" energy=inf log_prob=-3.25\n"
                      "Ar 3 4 0\nAr -0 1234567 0\n");
    eqf_array line = {data, 3, {1, 2, 1}};
    assert_int_equal(eqf_array_write_xyz(&ctx, path, &line, "X", NULL, NULL), EQF_OK);
    assert_file(path, "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\"\nX 1 0 0\nX -2.5 0 0\n");
}

/* A float32 comes back from its text exactly, also where the program's locale writes decimal commas. */
static void test_numbers_and_locale(void **state) {
    (void)state;
    float data[3] = {0.1f, 16777217.0f / 3.0f, -FLT_MIN};
    eqf_array x = {data, 3, {1, 1, 3}};
    const char *path = test_path("b.xyz");
    bool has_comma = setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL || setlocale(LC_NUMERIC, "fr_FR.UTF-8") != NULL;
    eqf_status status = eqf_array_write_xyz(&ctx, path, &x, "Ar", NULL, NULL);
    setlocale(LC_NUMERIC, "C");
    print_message("decimal-comma locale %s\n", has_comma ? "used" : "not installed: C locale used");
    assert_int_equal(status, EQF_OK);
    size_t num_bytes;
    char *bytes = (char *)test_read_bytes(path, &num_bytes);
    float back[3];
    assert_int_equal(sscanf(strstr(bytes, "Ar"), "Ar %f %f %f", &back[0], &back[1], &back[2]), 3);
    assert_memory_equal(back, data, sizeof data);
    assert_null(strchr(bytes, ','));
    free(bytes);
}

static void test_errors(void **state) {
    (void)state;
    float data[8] = {0};
    eqf_array x = {data, 3, {1, 2, 2}}, flat = {data, 2, {2, 4}}, wide = {data, 3, {1, 2, 4}},
              none = {NULL, 3, {1, 2, 2}};
    const char *path = test_path("c.xyz");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, path, &flat, "Ar", NULL, NULL), EQF_ERROR_INVALID_ARGUMENT,
                "[B, N, D]");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, path, &wide, "Ar", NULL, NULL), EQF_ERROR_INVALID_ARGUMENT,
                "[B, N, D]");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, path, &none, "Ar", NULL, NULL), EQF_ERROR_INVALID_ARGUMENT, "no data");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, path, &x, "", NULL, NULL), EQF_ERROR_INVALID_ARGUMENT, "element");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, path, &x, "A\nr", NULL, NULL), EQF_ERROR_INVALID_ARGUMENT, "element");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, test_path("no/c.xyz"), &x, "Ar", NULL, NULL), EQF_ERROR_IO,
                "create it");
    TEST_EXPECT(&ctx, eqf_array_write_xyz(&ctx, "/dev/full", &x, "Ar", NULL, NULL), EQF_ERROR_IO, "is full");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_numbers_and_locale),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
