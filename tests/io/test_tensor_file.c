/* Safetensors: round trips, and headers that lie. */
#include "test_files.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base.h"
#include "json_text.h"
#include "tensor_file.h"

static eqf_context ctx; /* files need no device */

static const float floats[6] = {1.0f, 2.0f, 3.0f, -4.0f, 5.5f, 1e-40f};
static const double doubles[2] = {0.1, -1e300};
static const uint64_t counts[1] = {UINT64_MAX};
/* Odd numbers of floats before doubles: alignment is the writer's care. */
static const eqf__tensor tensors[] = {
    {"three", EQF__TENSOR_F32, 1, {3}, floats},
    {"double", EQF__TENSOR_F64, 2, {2, 1}, doubles},
    {"empty", EQF__TENSOR_F32, 2, {0, 5}, floats},
    {"count", EQF__TENSOR_U64, 0, {0}, counts},
    {"deep \"\xc3\xa9\"", EQF__TENSOR_F32, 4, {1, 2, 1, 3}, floats},
};
enum { NUM_TENSORS = sizeof tensors / sizeof tensors[0] };

static void test_round_trip(void **state) {
    (void)state;
    const char *path = test_path("a.safetensors"), *again = test_path("b.safetensors");
    assert_int_equal(
        eqf__tensor_file_write(&ctx, path, "{\"text\": \"quote \\\" and \xc3\xa9\"}", NUM_TENSORS, tensors), EQF_OK);
    eqf__tensor_file file;
    assert_int_equal(eqf__tensor_file_read(&ctx, path, &file), EQF_OK);
    assert_string_equal(file.metadata_json, "{\"text\": \"quote \\\" and \xc3\xa9\"}");
    assert_int_equal(file.num_tensors, NUM_TENSORS);
    for (unsigned n = 0; n < NUM_TENSORS; n++) {
        const eqf__tensor *tensor = eqf__tensor_file_find(&file, tensors[n].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->type, tensors[n].type);
        assert_int_equal(tensor->num_dims, tensors[n].num_dims);
        size_t num_bytes = tensors[n].type == EQF__TENSOR_F32 ? 4 : 8;
        for (unsigned d = 0; d < tensor->num_dims; d++) {
            assert_int_equal(tensor->shape[d], tensors[n].shape[d]);
            num_bytes *= tensor->shape[d];
        }
        assert_int_equal((uintptr_t)tensor->data % 8, 0);
        if (num_bytes > 0) assert_memory_equal(tensor->data, tensors[n].data, num_bytes);
    }
    assert_null(eqf__tensor_file_find(&file, "four"));
    eqf__tensor_file_clear(&file);

    assert_int_equal(
        eqf__tensor_file_write(&ctx, again, "{\"text\": \"quote \\\" and \xc3\xa9\"}", NUM_TENSORS, tensors), EQF_OK);
    size_t num_a, num_b;
    unsigned char *a = test_read_bytes(path, &num_a), *b = test_read_bytes(again, &num_b);
    assert_int_equal(num_a, num_b);
    assert_memory_equal(a, b, num_a);
    uint64_t header_length = a[0] | (uint64_t)a[1] << 8;
    assert_int_equal((8 + header_length) % 8, 0);
    /* doubles first, then the count, then the floats */
    assert_memory_equal(a + 8 + header_length, doubles, sizeof doubles);
    free(a);
    free(b);
}

static void test_write_errors(void **state) {
    (void)state;
    const eqf__tensor twice[2] = {tensors[0], tensors[0]};
    eqf__tensor reserved = tensors[0];
    reserved.name = "__metadata__";
    const char *path = test_path("c.safetensors");
    TEST_EXPECT(&ctx, eqf__tensor_file_write(&ctx, path, "{}", 2, twice), EQF_ERROR_INVALID_ARGUMENT, "used twice");
    TEST_EXPECT(&ctx, eqf__tensor_file_write(&ctx, path, "{}", 1, &reserved), EQF_ERROR_INVALID_ARGUMENT, "reserved");
    TEST_EXPECT(&ctx, eqf__tensor_file_write(&ctx, path, "\xff", 1, tensors), EQF_ERROR_INVALID_ARGUMENT, "UTF-8");
    TEST_EXPECT(&ctx, eqf__tensor_file_write(&ctx, "/dev/full", "{}", 1, tensors), EQF_ERROR_IO, "is full");
    eqf__tensor_file file;
    TEST_EXPECT(&ctx, eqf__tensor_file_read(&ctx, path, &file), EQF_ERROR_IO, "no such file");
}

static eqf_status parse(const char *header, size_t num_data_bytes, eqf__tensor_file *file) {
    size_t length = strlen(header);
    unsigned char *bytes = calloc(1, 8 + length + num_data_bytes);
    assert_non_null(bytes);
    bytes[0] = (unsigned char)(length & 255);
    bytes[1] = (unsigned char)(length >> 8);
    memcpy(bytes + 8, header, length);
    eqf_status status = eqf__tensor_file_parse(&ctx, "FILE", bytes, 8 + length + num_data_bytes, file);
    free(bytes);
    return status;
}

static void test_lying_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t num_data_bytes;
        const char *message;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "damaged header"},
        {"[]", 0, "does not start like one"},
        {"{\"a\":1}", 0, "tensor a has a damaged header entry"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor a has a damaged header entry"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, "damaged header entry"},
        {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "tensor a has type BF16"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "damaged shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "damaged shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "more than 4 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "impossible size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,8]}}", 8, "impossible size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]}}", 8, "damaged header"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "does not fit its data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "damaged offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "damaged offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "damaged offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "truncated"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "more data than its header says"},
        {"{}", 1, "more data than its header says"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "leaves a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[4,12]}}",
         12, "tensor b overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[8,16]}}",
         16, "damaged header"},
        {"{\"__metadata__\":[]}", 0, "metadata are damaged"},
        {"{\"__metadata__\":{\"eqflow\":{}}}", 0, "metadata are not all text"},
    };
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        eqf__tensor_file file;
        TEST_EXPECT(&ctx, parse(cases[n].header, cases[n].num_data_bytes, &file), EQF_ERROR_FORMAT, cases[n].message);
        assert_non_null(strstr(eqf_context_error(&ctx), "FILE"));
        assert_null(file.bytes);
        assert_int_equal(file.num_tensors, 0);
    }
}

/* Files of other programs: any order of entries, no metadata, floats before doubles, an unpadded header. */
static void test_foreign_file(void **state) {
    (void)state;
    eqf__tensor_file file;
    const char *header = "{\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[4,12]},"
                         "\"a\":{\"data_offsets\":[0,4],\"dtype\":\"F32\",\"shape\":[1]}} ";
    assert_int_equal(parse(header, 12, &file), EQF_OK);
    assert_null(file.metadata_json);
    assert_int_equal((uintptr_t)eqf__tensor_file_find(&file, "b")->data % 8, 0);
    assert_true(*(const double *)eqf__tensor_file_find(&file, "b")->data == 0.0);
    eqf__tensor_file_clear(&file);
    eqf__tensor_file_clear(&file); /* twice is harmless */
    assert_int_equal(parse("{}", 0, &file), EQF_OK);
    eqf__tensor_file_clear(&file);
}

static void test_every_truncation(void **state) {
    (void)state;
    const char *path = test_path("d.safetensors");
    assert_int_equal(eqf__tensor_file_write(&ctx, path, "{}", NUM_TENSORS, tensors), EQF_OK);
    size_t num_bytes;
    unsigned char *bytes = test_read_bytes(path, &num_bytes);
    eqf__tensor_file file;
    for (size_t n = 0; n < num_bytes; n++) {
        unsigned char *cut = malloc(n > 0 ? n : 1); /* of the exact size, for ASan and valgrind */
        assert_non_null(cut);
        memcpy(cut, bytes, n);
        TEST_EXPECT(&ctx, eqf__tensor_file_parse(&ctx, path, cut, n, &file), EQF_ERROR_FORMAT,
                    "not a usable safetensors");
        free(cut);
    }
    memset(bytes, 0xff, 8); /* a header of 2^64 - 1 bytes */
    TEST_EXPECT(&ctx, eqf__tensor_file_parse(&ctx, path, bytes, num_bytes, &file), EQF_ERROR_FORMAT, "not a usable");
    free(bytes);
}

static unsigned num_allocations, failing; /* the failing-th allocation of Jansson and all after it find no memory */

static void *few_allocations(size_t size) {
    return ++num_allocations >= failing ? NULL : malloc(size);
}

static void *one_allocation_fails(size_t size) {
    return ++num_allocations == failing ? NULL : malloc(size);
}

/* Jansson drops the digits and letters that it finds no memory for, and goes on: what is read is the text, or an
 * error. */
static void test_memory_short_once(void **state) {
    (void)state;
    static const char text[] = "{\"a number of many digits\":0.12345678901234567,\"and a text that outgrows its first "
                               "room\":[1,2,3,4,5,6,7,8]}";
    const char *path = test_path("once.safetensors");
    assert_int_equal(eqf__tensor_file_write(&ctx, path, text, NUM_TENSORS, tensors), EQF_OK);
    json_set_alloc_funcs(one_allocation_fails, free);
    unsigned num_failed = 0;
    for (failing = 1, num_allocations = failing; num_allocations >= failing; failing++) {
        eqf__tensor_file file;
        num_allocations = 0;
        const eqf_status status = eqf__tensor_file_read(&ctx, path, &file);
        if (status == EQF_OK) {
            assert_string_equal(file.metadata_json, text);
            eqf__tensor_file_clear(&file);
        } else {
            num_failed++;
            if (status != EQF_ERROR_OUT_OF_MEMORY) fail_msg("allocation %u: %s", failing, eqf_context_error(&ctx));
        }
    }
    for (failing = 1, num_allocations = failing; num_allocations >= failing; failing++) {
        json_t *json;
        num_allocations = 0;
        if (eqf__json_parse(&ctx, path, "JSON", text, sizeof text - 1, &json) != EQF_OK) continue;
        assert_true(json_real_value(json_object_get(json, "a number of many digits")) == 0.12345678901234567);
        assert_int_equal(json_array_size(json_object_get(json, "and a text that outgrows its first room")), 8);
        json_decref(json);
    }
    json_set_alloc_funcs(malloc, free);
    print_message("%u allocations failed the reading\n", num_failed);
    assert_true(num_failed > 10);
}

/* As many bytes of history as a long training may write, more than the 16 MiB that the first version could read. */
static void test_long_header(void **state) {
    (void)state;
    const char *path = test_path("long.safetensors");
    const size_t length = ((size_t)17 << 20) + 5;
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'h', length);
    text[length] = '\0';
    assert_int_equal(eqf__tensor_file_write(&ctx, path, text, NUM_TENSORS, tensors), EQF_OK);
    eqf__tensor_file file;
    assert_int_equal(eqf__tensor_file_read(&ctx, path, &file), EQF_OK);
    assert_string_equal(file.metadata_json, text);
    assert_int_equal(file.num_tensors, NUM_TENSORS);
    eqf__tensor_file_clear(&file);
    free(text);
}

/* Too little memory says nothing about the file: it must not be called damaged. */
static void test_out_of_memory(void **state) {
    (void)state;
    const char *path = test_path("memory.safetensors");
    assert_int_equal(eqf__tensor_file_write(&ctx, path, "{\"a\":[1,2,3]}", NUM_TENSORS, tensors), EQF_OK);
    eqf_status status = EQF_ERROR_OUT_OF_MEMORY;
    json_set_alloc_funcs(few_allocations, free);
    for (failing = 1; status != EQF_OK && failing < 10000; failing++) {
        eqf__tensor_file file;
        num_allocations = 0;
        status = eqf__tensor_file_read(&ctx, path, &file);
        if (status == EQF_OK)
            eqf__tensor_file_clear(&file);
        else if (status != EQF_ERROR_OUT_OF_MEMORY)
            fail_msg("allocation %u: %s", failing, eqf_context_error(&ctx));
    }
    print_message("%u allocations failed\n", failing - 2);
    assert_true(failing > 10);
    for (failing = 1, status = EQF_ERROR_OUT_OF_MEMORY; status != EQF_OK && failing < 10000; failing++) {
        num_allocations = 0;
        status = eqf__tensor_file_write(&ctx, path, "{\"a\":[1,2,3]}", NUM_TENSORS, tensors);
        if (status != EQF_OK && status != EQF_ERROR_OUT_OF_MEMORY)
            fail_msg("allocation %u: %s", failing, eqf_context_error(&ctx));
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_short_once), cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_out_of_memory),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_write_errors),      cmocka_unit_test(test_lying_headers),
        cmocka_unit_test(test_foreign_file),      cmocka_unit_test(test_every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
