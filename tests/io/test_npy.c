/* .npy in every form that is read, and every damage that must be noticed. */
#include "test_files.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/array.h"
#include "npy.h"

static eqf_context ctx; /* files need no device */

/* ---- An independent writer of .npy bytes ------------------------------------------------------ */

typedef struct npy_bytes {
    unsigned char bytes[8192];
    size_t num_bytes;
} npy_bytes;

static npy_bytes make_header(unsigned version, const char *dictionary) {
    npy_bytes npy = {{0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0}, 0};
    size_t length = strlen(dictionary);
    npy.bytes[8] = (unsigned char)(length & 255);
    npy.bytes[9] = (unsigned char)(length >> 8);
    size_t start = version == 1 ? 10 : 12;
    memcpy(npy.bytes + start, dictionary, length);
    npy.num_bytes = start + length;
    return npy;
}

static void append(npy_bytes *npy, const void *bytes, size_t num_bytes) {
    assert_true(npy->num_bytes + num_bytes <= sizeof npy->bytes);
    memcpy(npy->bytes + npy->num_bytes, bytes, num_bytes);
    npy->num_bytes += num_bytes;
}

static void append_number(npy_bytes *npy, double value, const char *type) {
    unsigned char bytes[8];
    size_t size = type[2] == '4' ? 4 : 8;
    if (size == 4) {
        float single = (float)value;
        memcpy(bytes, &single, 4);
    } else {
        memcpy(bytes, &value, 8);
    }
    const uint16_t probe = 1;
    bool is_little = *(const unsigned char *)&probe == 1;
    if ((type[0] == '<') != is_little)
        for (size_t n = 0; n < size / 2; n++) {
            unsigned char swap = bytes[n];
            bytes[n] = bytes[size - 1 - n];
            bytes[size - 1 - n] = swap;
        }
    append(npy, bytes, size);
}

/* A [2, 3, 4] array whose value at (a, b, c) is 100 a + 10 b + c + 0.5. */
static npy_bytes make_array(unsigned version, const char *type, bool is_fortran) {
    char dictionary[128];
    snprintf(dictionary, sizeof dictionary, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3, 4), }   \n", type,
             is_fortran ? "True" : "False");
    npy_bytes npy = make_header(version, dictionary);
    for (unsigned n = 0; n < 24; n++) {
        unsigned a = is_fortran ? n % 2 : n / 12, b = is_fortran ? n / 2 % 3 : n / 4 % 3,
                 c = is_fortran ? n / 6 : n % 4;
        append_number(&npy, 100.0 * a + 10.0 * b + c + 0.5, type);
    }
    return npy;
}

static eqf_status parse(const npy_bytes *npy, eqf_array *array) {
    /* A copy of the exact size, so that a read beyond the end is seen by ASan and valgrind. */
    unsigned char *bytes = malloc(npy->num_bytes > 0 ? npy->num_bytes : 1);
    assert_non_null(bytes);
    memcpy(bytes, npy->bytes, npy->num_bytes);
    eqf_status status = eqf__npy_parse(&ctx, "FILE.npy", bytes, npy->num_bytes, array);
    free(bytes);
    return status;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static void test_all_forms(void **state) {
    (void)state;
    static const char *const types[] = {"<f4", ">f4", "<f8", ">f8"};
    unsigned num_forms = 0;
    for (unsigned version = 1; version <= 3; version++)
        for (unsigned type = 0; type < 4; type++)
            for (unsigned order = 0; order < 2; order++, num_forms++) {
                npy_bytes npy = make_array(version, types[type], order == 1);
                eqf_array array;
                assert_int_equal(parse(&npy, &array), EQF_OK);
                assert_int_equal(array.num_dims, 3);
                assert_int_equal(eqf_array_count(&array), 24);
                for (unsigned n = 0; n < 24; n++)
                    assert_true(array.data[n] == (float)(100 * (n / 12) + 10 * (n / 4 % 3) + n % 4) + 0.5f);
                eqf_array_clear(&array);
                assert_null(array.data);
            }
    print_message("%u forms of .npy read exactly\n", num_forms);
}

static void test_header_dialects(void **state) {
    (void)state;
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        "{\"shape\":(2L,),\"descr\":\"<f4\",\"fortran_order\":False}",
        "  {'fortran_order' : True , 'shape' : ( 2 , 1 ) , 'descr' : '<f4'}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 2)}",
    };
    static const float values[2] = {1.5f, -2.25f};
    for (unsigned n = 0; n < 4; n++) {
        npy_bytes npy = make_header(1, good[n]);
        append_number(&npy, values[0], "<f4");
        append_number(&npy, values[1], "<f4");
        eqf_array array;
        assert_int_equal(parse(&npy, &array), EQF_OK);
        assert_memory_equal(array.data, values, sizeof values);
        eqf_array_clear(&array);
    }
}

static void test_scalar_and_empty(void **state) {
    (void)state;
    npy_bytes scalar = make_header(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }");
    append_number(&scalar, 7.5, "<f8");
    eqf_array array;
    assert_int_equal(parse(&scalar, &array), EQF_OK);
    assert_int_equal(array.num_dims, 0);
    assert_true(array.data[0] == 7.5f);
    eqf_array_clear(&array);
    /* A zero makes an array empty, however large the other dimensions are. */
    npy_bytes empty =
        make_header(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (18446744073709551615, 3, 0), }");
    assert_int_equal(parse(&empty, &array), EQF_OK);
    assert_int_equal(eqf_array_count(&array), 0);
    eqf_array_clear(&array);
    eqf_array_clear(NULL);
}

static void test_damaged(void **state) {
    (void)state;
    static const struct {
        const char *dictionary, *message;
    } cases[] = {
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", "numbers of type '<i8'"},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", "astype"},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", "numbers of type '<f2'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", "numbers of type '<c8'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "records"},
        {"{'descr': 4, 'fortran_order': False, 'shape': (2,), }", "type in its header"},
        {"{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }", "fortran_order"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,), }", "shape in its header is damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", "shape in its header is damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }", "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }", "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967297), }", "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }", "more than 8 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, }", "lacks"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }", "there twice"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'extra': 1}", "key that is unknown"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), ", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "damaged"},
        {"'descr'", "damaged"},
        {"", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
         "truncated: its shape (3,) needs 12 bytes of data, 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "more data than its header says"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", "more data than its header says"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", "truncated"},
    };
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        npy_bytes npy = make_header(1, cases[n].dictionary);
        append(&npy, "\0\0\0\0\0\0\0\0", 8);
        eqf_array array;
        TEST_EXPECT(&ctx, parse(&npy, &array), EQF_ERROR_FORMAT, cases[n].message);
        assert_non_null(strstr(eqf_context_error(&ctx), "FILE.npy"));
        assert_null(array.data);
    }
}

/* Cut after each byte, a file is never read as if it were whole; nor with a byte more. */
static void test_every_truncation(void **state) {
    (void)state;
    eqf_array array;
    for (unsigned version = 1; version <= 2; version++) {
        npy_bytes npy = make_array(version, "<f4", false);
        size_t num_bytes = npy.num_bytes;
        for (npy.num_bytes = 0; npy.num_bytes < num_bytes; npy.num_bytes++)
            TEST_EXPECT(&ctx, parse(&npy, &array), EQF_ERROR_FORMAT, npy.num_bytes == 0 ? "it is empty" : "truncated");
        npy.num_bytes = num_bytes + 1;
        TEST_EXPECT(&ctx, parse(&npy, &array), EQF_ERROR_FORMAT, "more data");
    }
    npy_bytes other = {"PK\3\4 this is a zip file", 20};
    TEST_EXPECT(&ctx, parse(&other, &array), EQF_ERROR_FORMAT, "does not start like one");
    npy_bytes future = make_array(4, "<f4", false);
    TEST_EXPECT(&ctx, parse(&future, &array), EQF_ERROR_FORMAT, "unknown format version");
}

static void test_double_overflow(void **state) {
    (void)state;
    eqf_array array;
    npy_bytes npy = make_header(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }");
    append_number(&npy, (double)INFINITY, "<f8");
    append_number(&npy, (double)NAN, "<f8");
    append_number(&npy, (double)FLT_MAX, "<f8");
    assert_int_equal(parse(&npy, &array), EQF_OK); /* these have a float32 of their own */
    assert_true(isinf(array.data[0]) && isnan(array.data[1]) && array.data[2] == FLT_MAX);
    eqf_array_clear(&array);
    npy.num_bytes -= 8;
    append_number(&npy, 1e39, "<f8");
    TEST_EXPECT(&ctx, parse(&npy, &array), EQF_ERROR_FORMAT, "number 2 (1e+39) is too large for float32");
}

/* ---- Configurations --------------------------------------------------------------------------- */

static eqf_status parse_configurations(const npy_bytes *npy, unsigned num_particles, unsigned space_dim,
                                       eqf_array *array, double *max_offset) {
    return eqf__npy_parse_configurations(&ctx, "FILE.npy", npy->bytes, npy->num_bytes, num_particles, space_dim, array,
                                         max_offset);
}

/* The value of make_array without its particles' mean, for N = 3, D = 4: 10 (b - 1). */
static void test_configurations_are_centered(void **state) {
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        npy_bytes npy = make_array(1, "<f4", order == 1);
        eqf_array array;
        double max_offset;
        assert_int_equal(parse_configurations(&npy, 3, 4, &array, &max_offset), EQF_OK);
        assert_int_equal(array.num_dims, 3);
        assert_int_equal(array.shape[0], 2);
        assert_int_equal(array.shape[1], 3);
        assert_int_equal(array.shape[2], 4);
        for (unsigned n = 0; n < 24; n++) assert_true(array.data[n] == 10.0f * ((float)(n / 4 % 3) - 1.0f));
        /* centre of the second configuration: 110.5, 111.5, 112.5, 113.5 */
        double expected = sqrt(110.5 * 110.5 + 111.5 * 111.5 + 112.5 * 112.5 + 113.5 * 113.5);
        assert_true(fabs(max_offset - expected) < 1e-12 * expected);
        eqf_array_clear(&array);
    }
}

/* [B, N*D], in both orders: particle i's coordinate d is at column i D + d. */
static void test_flat_configurations(void **state) {
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        char dictionary[128];
        snprintf(dictionary, sizeof dictionary, "{'descr': '>f8', 'fortran_order': %s, 'shape': (5, 6), }",
                 order == 1 ? "True" : "False");
        npy_bytes npy = make_header(1, dictionary);
        for (unsigned n = 0; n < 30; n++) {
            unsigned b = order == 1 ? n % 5 : n / 6, column = order == 1 ? n / 5 : n % 6;
            /* an offset of 1e9 leaves float32 no digit of these: centring must be done in double */
            append_number(&npy,
                          1000000000.3 * b + (column < 2   ? -1.0
                                              : column < 4 ? 0.25
                                                           : 0.75) *
                                                 (column % 2 + 1),
                          ">f8");
        }
        eqf_array array;
        double max_offset = 0.0;
        assert_int_equal(parse_configurations(&npy, 3, 2, &array, &max_offset), EQF_OK);
        double worst = 0.0;
        for (unsigned n = 0; n < 30; n++) {
            unsigned column = n % 6;
            double expected = (column < 2 ? -1.0 : column < 4 ? 0.25 : 0.75) * (column % 2 + 1);
            worst = fmax(worst, fabs((double)array.data[n] - expected));
        }
        print_message("worst error of centring at offset 4e9: %.3g\n", worst);
        assert_true(worst < 1e-5);
        assert_true(fabs(max_offset - 4.0 * 1000000000.3 * sqrt(2.0)) < 1.0);
        eqf_array_clear(&array);
        TEST_EXPECT(&ctx, parse_configurations(&npy, 2, 3, &array, NULL), EQF_OK, "");
        eqf_array_clear(&array);
    }
}

static void test_bad_configurations(void **state) {
    (void)state;
    eqf_array array;
    npy_bytes npy = make_array(1, "<f4", false); /* [2, 3, 4] */
    TEST_EXPECT(&ctx, parse_configurations(&npy, 4, 3, &array, NULL), EQF_ERROR_FORMAT,
                "FILE.npy has shape (2, 3, 4), but 4 particles in 3 dimensions need (B, 4, 3) or (B, 12)");
    TEST_EXPECT(&ctx, parse_configurations(&npy, 0, 3, &array, NULL), EQF_ERROR_INVALID_ARGUMENT, "1 particle");
    npy_bytes flat = make_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }");
    for (unsigned n = 0; n < 4; n++) append_number(&flat, n, "<f4");
    TEST_EXPECT(&ctx, parse_configurations(&flat, 2, 2, &array, NULL), EQF_ERROR_FORMAT, "shape (4,), but");
    npy_bytes empty = make_header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2, 2), }");
    TEST_EXPECT(&ctx, parse_configurations(&empty, 2, 2, &array, NULL), EQF_ERROR_FORMAT, "holds no configuration");
    static const struct {
        double value;
        const char *message;
    } bad[] = {
        {(double)NAN, "configuration 1 (counted from 0) holds NaN"},
        {-(double)INFINITY, "configuration 1 (counted from 0) holds infinity"},
        {1e300, "configuration 1 (counted from 0) has a coordinate too large"},
        {1.7e308, "configuration 1 (counted from 0) has a coordinate too large"},
    };
    for (unsigned n = 0; n < 4; n++) {
        npy_bytes rows = make_header(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }");
        for (unsigned m = 0; m < 12; m++) append_number(&rows, m == 7 || (m == 5 && n == 3) ? bad[n].value : m, "<f8");
        TEST_EXPECT(&ctx, parse_configurations(&rows, 2, 2, &array, NULL), EQF_ERROR_FORMAT, bad[n].message);
        assert_null(array.data);
    }
}

/* ---- Writing ---------------------------------------------------------------------------------- */

/* The bytes that numpy.save (1.24) writes for np.array([[1, -2, .5]], '<f4'). */
static void test_written_bytes_are_numpys(void **state) {
    (void)state;
    float data[3] = {1.0f, -2.0f, 0.5f};
    eqf_array array = {data, 2, {1, 3}};
    const char *path = test_path("w.npy");
    assert_int_equal(eqf_array_write_npy(&ctx, path, &array), EQF_OK);
    size_t num_bytes;
    unsigned char *bytes = test_read_bytes(path, &num_bytes);
    assert_int_equal(num_bytes, 128 + 12);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }",
                        69);
    for (size_t n = 69; n < 127; n++) assert_int_equal(bytes[n], ' ');
    assert_int_equal(bytes[127], '\n');
    assert_memory_equal(bytes + 128, "\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x00\x00\x3f", 12);
    free(bytes);
}

static void test_round_trips(void **state) {
    (void)state;
    enum { COUNT = 5 * 7 * 300 };
    static float data[COUNT];
    for (unsigned n = 0; n < COUNT; n++) data[n] = (float)n * 1.1f - 3000.0f;
    data[3] = INFINITY;
    data[4] = -0.0f;
    data[5] = FLT_TRUE_MIN;
    static const eqf_array shapes[] = {
        {data, 3, {5, 7, 300}}, {data, 1, {COUNT}}, {data, 0, {0}},
        {data, 2, {0, 4}},      {NULL, 2, {3, 0}},  {data, 8, {1, 1, 1, 1, 1, 2, 3, 4}},
    };
    for (unsigned s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const char *path = test_path("round.npy");
        eqf_array array;
        assert_int_equal(eqf_array_write_npy(&ctx, path, &shapes[s]), EQF_OK);
        assert_int_equal(eqf_array_read_npy(&ctx, path, &array), EQF_OK);
        assert_int_equal(array.num_dims, shapes[s].num_dims);
        for (unsigned d = 0; d < array.num_dims; d++) assert_int_equal(array.shape[d], shapes[s].shape[d]);
        size_t count = eqf_array_count(&array);
        assert_int_equal(count, eqf_array_count(&shapes[s]));
        if (count > 0) assert_memory_equal(array.data, data, count * sizeof *data);
        eqf_array_clear(&array);
    }
}

static void test_file_errors(void **state) {
    (void)state;
    float data[2] = {1.0f, 2.0f};
    eqf_array array = {data, 1, {2}}, none = {NULL, 1, {2}}, deep = {data, 9, {1}}, read;
    TEST_EXPECT(&ctx, eqf_array_write_npy(&ctx, test_path("no/w.npy"), &array), EQF_ERROR_IO,
                "does not exist: create it");
    TEST_EXPECT(&ctx, eqf_array_write_npy(&ctx, "/dev/full", &array), EQF_ERROR_IO, "is full");
    TEST_EXPECT(&ctx, eqf_array_write_npy(&ctx, test_path("x"), &none), EQF_ERROR_INVALID_ARGUMENT, "no data");
    TEST_EXPECT(&ctx, eqf_array_write_npy(&ctx, test_path("x"), &deep), EQF_ERROR_INVALID_ARGUMENT, "dimensions");
    TEST_EXPECT(&ctx, eqf_array_read_npy(&ctx, test_path("absent.npy"), &read), EQF_ERROR_IO, "no such file");
    TEST_EXPECT(&ctx, eqf_array_read_configurations(&ctx, test_path("absent.npy"), 2, 2, &read, NULL), EQF_ERROR_IO,
                "no such file");
    TEST_EXPECT(&ctx, eqf_array_read_npy(&ctx, NULL, &read), EQF_ERROR_INVALID_ARGUMENT, "NULL");
    test_write_bytes(test_path("empty.npy"), "", 0);
    TEST_EXPECT(&ctx, eqf_array_read_npy(&ctx, test_path("empty.npy"), &read), EQF_ERROR_FORMAT, "it is empty");
    assert_null(read.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_forms),
        cmocka_unit_test(test_header_dialects),
        cmocka_unit_test(test_scalar_and_empty),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_double_overflow),
        cmocka_unit_test(test_configurations_are_centered),
        cmocka_unit_test(test_flat_configurations),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_written_bytes_are_numpys),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_file_errors),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
