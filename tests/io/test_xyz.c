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

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static eqf_status read_text(const char *text, unsigned num_particles, unsigned space_dim, eqf_array *array_out,
                            double *offset_out) {
    const char *path = test_path("in.xyz");
    test_write_bytes(path, text, strlen(text));
    return eqf_array_read_configurations(&ctx, path, num_particles, space_dim, array_out, offset_out);
}

/* What is written is read again, to the bit: all differences are multiples that float32 holds. */
static void test_round_trip(void **state) {
    (void)state;
    float data[12] = {1.5f, -2.5f, 0.25f, -1.5f, 2.5f, -0.25f, 3, 4, 5, -3, -4, -5};
    const char *path = test_path("a.xyz");
    for (unsigned space_dim = 1; space_dim <= 3; space_dim++) {
        eqf_array x = {data, 3, {12 / (2 * space_dim), 2, space_dim}}, back;
        double offset;
        float energy[6] = {1, 2, 3, 4, 5, 6};
        for (size_t b = 0; b < x.shape[0]; b++) /* centred, as the reader makes them */
            for (unsigned d = 0; d < space_dim; d++) data[(2 * b + 1) * space_dim + d] = -data[2 * b * space_dim + d];
        assert_int_equal(eqf_array_write_xyz(&ctx, path, &x, "Ar", energy, NULL), EQF_OK);
        assert_int_equal(eqf_array_read_configurations(&ctx, path, 2, space_dim, &back, &offset), EQF_OK);
        assert_int_equal(back.shape[0], x.shape[0]);
        assert_memory_equal(back.data, data, sizeof data);
        assert_true(offset == 0);
        eqf_array_clear(&back);
    }
}

static void test_frames_of_others(void **state) {
    (void)state;
    eqf_array x;
    double offset;
    /* Coordinates behind other columns, a lattice with blanks, a time, ends of lines as Windows has them, empty lines
     * at the end. */
    const char *extended =
        "2\r\nLattice=\"9 0 0 0 9 0 0 0 9\" Properties=species:S:1:id:I:1:forces:R:3:pos:R:3 Time=3\r\n"
        "Ar 7 9 9 9 1 2 3\r\nAr 8 9 9 9 3 2 1\r\n\r\n  \n";
    assert_int_equal(read_text(extended, 2, 3, &x, &offset), EQF_OK);
    const float expected[6] = {-1, 0, 1, 1, 0, -1};
    assert_int_equal(x.shape[0], 1);
    assert_memory_equal(x.data, expected, sizeof expected);
    assert_true(fabs(offset - sqrt(12)) < 1e-12);
    eqf_array_clear(&x);
    const char *plain = " 2 \nany words\nC -1 1e0 0\nC 1 -1.0 0.0 and more\n2\n\nC 2 0 0\nC -2 0 0";
    assert_int_equal(read_text(plain, 2, 2, &x, &offset), EQF_OK);
    const float planes[8] = {-1, 1, 1, -1, 2, 0, -2, 0};
    assert_int_equal(x.shape[0], 2);
    assert_memory_equal(x.data, planes, sizeof planes);
    eqf_array_clear(&x);
}

static void test_bad_frames(void **state) {
    (void)state;
    const struct {
        const char *text, *message;
    } cases[] = {
        {"2\nc\nC 1 2 3\n", "line 3: the file ends within a frame"},
        {"2\n", "the file ends within a frame"},
        {"3\nc\nC 1 2 3\nC 1 2 3\nC 1 2 3\n", "a frame of 3 particles, but the system has 2"},
        {"2\nc\nC 1 2 3\nC 1 2\n", "line 4: a particle's line is too short"},
        {"2\nc\nC 1 2 3\nC 1 x 3\n", "line 4: a coordinate is no number"},
        {"2\nc\nC 1 2 3\nC 1 nan 3\n", "configuration 0 (counted from 0) holds NaN"},
        {"2\nc\nC 1 2 3\nC 1 2e300 3\n", "too large for float32"},
        {"2\nc\nC 1 2 3\nC 1 2 3\nmore\n", "line 5: a frame does not begin with its number"},
        {"2\nProperties=species:S:1\nC 1 2 3\nC 1 2 3\n", "has no pos"},
        {"2\nProperties=species\nC 1 2 3\nC 1 2 3\n", "name:type:columns"},
        {"2\nProperties=pos:R:2\nC 1 2 3\nC 1 2 3\n", "other than 3 columns"},
        {"2\nProperties=pos:R:x\nC 1 2 3\nC 1 2 3\n", "number of columns"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        eqf_array x;
        assert_int_equal(read_text(cases[c].text, 2, 3, &x, NULL), EQF_ERROR_FORMAT);
        assert_null(x.data);
        if (strstr(ctx.error, cases[c].message) == NULL) fail_msg("'%s' instead of '%s'", ctx.error, cases[c].message);
    }
    eqf_array x;
    assert_int_equal(read_text("2\nc\nC 1 2 3\nC 1 2 3\n", 2, 2, &x, NULL), EQF_ERROR_FORMAT);
    assert_non_null(strstr(ctx.error, "beyond the system's dimensions"));
}

/* Numbers of the frames: what is written is read, whatever stands beside it. */
static void test_values(void **state) {
    (void)state;
    float data[8] = {1, 0, -1, 0, 2, 0, -2, 0}, energy[2] = {-25.5f, 1.0f / 3}, log_weight[2] = {-INFINITY, 60.03125f};
    eqf_array x = {data, 3, {2, 2, 2}}, back;
    const char *path = test_path("v.xyz");
    const eqf_frame_value values[] = {{"energy", energy}, {"log_prob", NULL}, {"log_weight", log_weight}};
    assert_int_equal(eqf_array_write_xyz_values(&ctx, path, &x, "Xe", 3, values), EQF_OK);
    assert_file(path,
                "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" energy=-25.5 log_weight=-inf\nXe 1 0 0\nXe -1 0 0\n"
                "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" energy=0.333333343 log_weight=60.03125\n"
                "Xe 2 0 0\nXe -2 0 0\n");
    assert_int_equal(eqf_array_read_xyz_values(&ctx, path, "log_weight", &back), EQF_OK);
    assert_true(back.num_dims == 1 && back.shape[0] == 2);
    assert_memory_equal(back.data, log_weight, sizeof log_weight);
    eqf_array_clear(&back);
    assert_int_equal(eqf_array_read_xyz_values(&ctx, path, "log_prob", &back), EQF_OK);
    assert_true(back.num_dims == 1 && back.shape[0] == 0 && back.data == NULL);
    /* Keys within quotes and within other keys are none; quoted numbers are numbers. */
    const char *text = "1\nnote=\"energy=3 x\" my_energy=4 energy=\"5e1\"\nC 0 0 0\n1\nenergy=1e99\tq=1\nC 0 0 0\n\n";
    test_write_bytes(path, text, strlen(text));
    assert_int_equal(eqf_array_read_xyz_values(&ctx, path, "energy", &back), EQF_OK);
    assert_true(back.shape[0] == 2 && back.data[0] == 50.0f && back.data[1] == INFINITY);
    eqf_array_clear(&back);
    const struct {
        const char *text, *message;
    } cases[] = {
        {"1\nenergy=1\nC 0 0 0\n1\nno\nC 0 0 0\n", "line 5: some frames have energy and others do not"},
        {"1\nno\nC 0 0 0\n1\nenergy=1\nC 0 0 0\n", "line 5: some frames have energy and others do not"},
        {"1\nenergy=low\nC 0 0 0\n", "line 2: energy is no number"},
        {"1\nenergy=\nC 0 0 0\n", "line 2: a value is missing"},
        {"2\nenergy=1\nC 0 0 0\n", "the file ends within a frame"},
        {"1\nenergy=1\nC 0 0 0\nmore\n", "line 4: a frame does not begin"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        test_write_bytes(path, cases[c].text, strlen(cases[c].text));
        TEST_EXPECT(&ctx, eqf_array_read_xyz_values(&ctx, path, "energy", &back), EQF_ERROR_FORMAT, cases[c].message);
        assert_null(back.data);
    }
    const char *const names[] = {"", "a b", "pbc", "Properties", "2nd", "a=b", "a_name_that_is_longer_than_32_letters"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        const eqf_frame_value bad = {names[n], energy};
        TEST_EXPECT(&ctx, eqf_array_write_xyz_values(&ctx, path, &x, "Xe", 1, &bad), EQF_ERROR_INVALID_ARGUMENT,
                    "the name of");
    }
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
        cmocka_unit_test(test_frames),     cmocka_unit_test(test_numbers_and_locale),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_frames_of_others),
        cmocka_unit_test(test_bad_frames), cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
