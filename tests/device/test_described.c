/* Devices that a file describes: the format, the profile that each of platforms/ gets, and the programs that come of
 * one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "described.h"
#include "eqflow/eqflow.h"
#include "ocl.h"
#include "program.h"
#include "support.h"
#include "test_files.h"

static eqf_context *new_context(void) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    eqf_context *ctx = NULL;
    options.cache_path = "";
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    return ctx;
}

static const char whole[] =
    "name = Made up 9000  # a comment\nvendor = Nobody\ndriver_version = 1.2\nplatform_name = Made up CL\n"
    "type = gpu\nvendor_id = 0x1002\ncompute_units = 7\nmax_clock_mhz = 1000\n"
    "global_memory_bytes = 8589934592\nmax_allocation_bytes = 4294967296\nlocal_memory_bytes = 65536\n"
    "max_work_group_size = 256\nhas_fp64 = no\nwavefront_width = 32\ncompiler = none\ntarget = none\n";

static void test_values(void **state) {
    (void)state;
    eqf_context *ctx = new_context();
    eqf_device_info info;
    eqf__profile_facts facts;
    TEST_OK(ctx, eqf__description_read(ctx, "made-up", whole, &info, &facts));
    assert_string_equal(info.name, "Made up 9000");
    assert_int_equal(info.type, EQF_DEVICE_GPU);
    assert_int_equal(info.vendor_id, 0x1002);
    assert_int_equal(info.compute_units, 7);
    assert_true(info.global_memory_bytes == UINT64_C(8589934592));
    assert_int_equal(info.max_work_group_size, 256);
    assert_false(info.has_fp64);
    assert_true(info.is_available && info.has_compiler);
    assert_int_equal(facts.vendor_id, 0x1002);
    assert_int_equal(facts.wavefront_width, 32);
    assert_int_equal(facts.native_width, 1);
    assert_string_equal(facts.driver_version, "1.2");
    eqf_context_destroy(&ctx);
}

static void refuse(const char *extra, const char *without, const char *message) {
    eqf_context *ctx = new_context();
    eqf_device_info info;
    eqf__profile_facts facts;
    char text[2048] = "";
    const char *at = without != NULL ? strstr(whole, without) : whole + sizeof whole - 1;
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, *at != '\0' ? strchr(at, '\n') + 1 : "", extra);
    assert_int_equal(eqf__description_read(ctx, "made-up", text, &info, &facts), EQF_ERROR_FORMAT);
    if (strstr(eqf_context_error(ctx), message) == NULL) fail_msg("'%s' lacks '%s'", eqf_context_error(ctx), message);
    eqf_context_destroy(&ctx);
}

static void test_refused(void **state) {
    (void)state;
    refuse("wings = 2\n", NULL, "made-up:17: 'wings'");
    refuse("type = gpu\n", NULL, "twice");
    refuse("", "has_fp64", "'has_fp64 = ...' is missing");
    refuse("has_fp64 = perhaps\n", "has_fp64", "has_fp64 = perhaps");
    refuse("type = toaster\n", "type", "toaster");
    refuse("compute_units = -1\n", "compute_units", "-1");
    refuse("compute_units = 4294967296\n", "compute_units", "4294967296");
    refuse("max_work_group_size = 3000000\n", "max_work_group_size", "3000000");
    refuse("nonsense\n", NULL, "no key");
}

/* ---- Those of platforms/ ----------------------------------------------------------------------------------------- */

/* What a device is expected to get: its vendor's layout. */
static const struct {
    const char *file, *profile;
    unsigned group_size;
} known[] = {
    {"nvidia/v100", "nvidia/nvidia", 64}, {"nvidia/a100", "nvidia/nvidia", 64},  {"nvidia/h200", "nvidia/nvidia", 64},
    {"amd/mi250x", "amd/amd", 64},        {"amd/mi300x", "amd/amd", 64},         {"amd/rx6900", "amd/wave32", 32},
    {"amd/rx7900", "amd/wave32", 32},     {"intel/iris-xe", "intel/intel", 32},  {"intel/arc-a770", "intel/intel", 32},
};

static void test_platforms(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.device", EQF_TEST_PLATFORMS, known[k].file);
        eqf_context *ctx = new_context();
        TEST_OK(ctx, eqf__device_open_described(ctx, path, test_folder()));
        assert_string_equal(ctx->device->info.profile_name, known[k].profile);
        assert_int_equal(ctx->device->vector_width, 1);
        assert_int_equal(ctx->device->group_size, known[k].group_size);
        eqf_context_destroy(&ctx);
    }
}

/* ---- Programs ---------------------------------------------------------------------------------------------------- */

static void test_programs(void **state) {
    (void)state;
    char path[512];
    size_t num_bytes;
    snprintf(path, sizeof path, "%s/amd/rx6900.device", EQF_TEST_PLATFORMS);
    eqf_context *ctx = new_context();
    TEST_OK(ctx, eqf__device_open_described(ctx, path, test_folder()));
    assert_int_equal(eqf_context_open_device(ctx, "auto"), EQF_ERROR_INVALID_ARGUMENT);

    static const char *const files[] = {"common/real.clh", "common/pack.cl", NULL};
    eqf__program *program, *same, *other;
    eqf__kernel kernel, missing;
    TEST_OK(ctx, eqf__program_get(ctx, "layout", files, "-D N=4 -D D=2", &program));
    TEST_OK(ctx, eqf__program_get(ctx, "layout", files, "-D N=4 -D D=2", &same));
    TEST_OK(ctx, eqf__program_get(ctx, "layout", files, "-D N=5 -D D=2", &other));
    assert_ptr_equal(program, same);
    assert_ptr_not_equal(program, other);
    assert_int_equal(eqf__kernel_create(ctx, program, "unpac", &missing), EQF_ERROR_KERNEL_BUILD);
    TEST_OK(ctx, eqf__kernel_create(ctx, program, "unpack", &kernel));
    assert_int_equal(eqf__kernel_largest_group(ctx, &kernel), 256);

    /* A buffer holds what was written; a launch changes nothing. */
    cl_mem d_x;
    const float h_x[4] = {1, 2, 3, 4};
    float h_out[4] = {0};
    TEST_OK(ctx, eqf__buffer_create(ctx, sizeof h_x, NULL, "numbers", &d_x));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_x, 0, sizeof h_out, h_out));
    assert_true(h_out[0] == 0 && h_out[3] == 0);
    TEST_OK(ctx, eqf__buffer_write(ctx, d_x, 0, sizeof h_x, h_x));
    TEST_OK(ctx, eqf__launch(ctx, &kernel, 1000, 48, 0, NULL));
    TEST_OK(ctx, eqf__finish(ctx));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_x, 0, sizeof h_out, h_out));
    assert_memory_equal(h_out, h_x, sizeof h_x);
    eqf__buffer_destroy(&d_x);
    assert_null(d_x);
    eqf__kernel_destroy(&kernel);
    eqf_context_destroy(&ctx);

    char *first = (char *)test_read_bytes(test_path("layout.cl"), &num_bytes);
    char *second = (char *)test_read_bytes(test_path("layout-2.cl"), &num_bytes);
    assert_non_null(strstr(first, "// options: -cl-std=CL1.2 -D UNROLLED_STATE=48 -D V=1 -D N=4 -D D=2\n// launched: "
                                  "unpack=48 \n#line 1 \"cl/common/real.clh\""));
    assert_non_null(strstr(second, "-D N=5"));
    assert_non_null(strstr(first, "__kernel void unpack("));
    free(first);
    free(second);
}

/* No user meets one. */
static void test_hidden(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/nvidia/h200.device", EQF_TEST_PLATFORMS);
    eqf_context *ctx = new_context();
    assert_int_not_equal(eqf_context_open_device(ctx, path), EQF_OK);
    eqf_context_destroy(&ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_platforms), cmocka_unit_test(test_programs),
                                       cmocka_unit_test(test_hidden)};
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
