/* Profiles: the format, and what made-up devices get from platforms/. No device is needed. */
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "support.h"

static eqf_context *context(void) {
    static const eqf_context_options options = {.struct_size = sizeof options, .cache_path = ""};
    eqf_context *ctx;
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    return ctx;
}

static const eqf__profile_facts plain_cpu = {EQF_DEVICE_CPU, 0x8086, 8, 0, 0, false, "Portable Computing Language",
                                             "pthread-haswell", "3.1+debian"};

typedef struct expectation {
    const char *what;
    eqf__profile_facts facts;
    const char *name; /* of the most particular file */
    const char *key, *value, *origin;
} expectation;

static const expectation expectations[] = {
    {"PoCL, AVX2",
     {EQF_DEVICE_CPU, 0x8086, 8, 0, 0, false, "Portable Computing Language", "pthread-haswell", "3.1"},
     "cpu/pocl", "vector_width", "8", "platforms/cpu/cpu.profile"},
    {"PoCL, AVX-512",
     {EQF_DEVICE_CPU, 0x1022, 16, 0, 0, false, "Portable Computing Language", "cpu-skylake", "6.0"},
     "cpu/pocl", "vector_width", "16", "platforms/cpu/avx512.profile"},
    {"an unknown CPU driver",
     {EQF_DEVICE_CPU, 0, 4, 0, 0, false, "Some OpenCL", "a CPU", "1"},
     "cpu/cpu", "num_partials", "4", "platforms/cpu/cpu.profile"},
    {"llvmpipe, of wide registers",
     {EQF_DEVICE_CPU, 0, 16, 0, 0, false, "rusticl", "llvmpipe (LLVM 15.0.6, 512 bits)", "22.3.6"},
     "cpu/llvmpipe", "vector_width", "1", "platforms/cpu/llvmpipe.profile"},
    {"llvmpipe's loops",
     {EQF_DEVICE_CPU, 0, 1, 0, 0, false, "rusticl", "llvmpipe (LLVM 15.0.6, 256 bits)", "22.3.6"},
     "cpu/llvmpipe", "launch_iterations", "65535", "platforms/cpu/llvmpipe.profile"},
    {"a Radeon under rusticl is no llvmpipe",
     {EQF_DEVICE_GPU, 0x1002, 1, 0, 0, false, "rusticl", "AMD Radeon RX 6600", "25.0"},
     "amd/amd", "launch_iterations", "0", "platforms/generic/generic.profile"},
    {"RDNA under ROCm",
     {EQF_DEVICE_GPU, 0x1002, 1, 0, 32, false, "AMD Accelerated Parallel Processing", "gfx1030", "3581.0"},
     "amd/wave32", "group_size", "32", "platforms/amd/wave32.profile"},
    {"CDNA under ROCm",
     {EQF_DEVICE_GPU, 0x1002, 1, 0, 64, false, "AMD Accelerated Parallel Processing", "gfx90a", "3581.0"},
     "amd/amd", "group_size", "64", "platforms/amd/amd.profile"},
    {"NVIDIA without a display",
     {EQF_DEVICE_GPU, 0x10de, 1, 90, 0, false, "NVIDIA CUDA", "NVIDIA H200", "550.54"},
     "nvidia/nvidia", "launch_iterations", "0", "platforms/generic/generic.profile"},
    {"NVIDIA with a display",
     {EQF_DEVICE_GPU, 0x10de, 1, 86, 0, true, "NVIDIA CUDA", "NVIDIA GeForce RTX 3060", "550.54"},
     "nvidia/display", "launch_iterations", "262144", "platforms/nvidia/display.profile"},
    {"Intel GPU",
     {EQF_DEVICE_GPU, 0x8086, 1, 0, 0, false, "Intel(R) OpenCL Graphics", "Intel(R) Arc(TM) A770", "26.9"},
     "intel/intel", "launch_iterations", "262144", "platforms/intel/intel.profile"},
    {"Intel's CPU runtime",
     {EQF_DEVICE_CPU, 0x8086, 16, 0, 0, false, "Intel(R) OpenCL", "Intel(R) Xeon(R)", "2025.19.4.0.18_160000"},
     "intel/cpu-runtime", "vector_width", "16", "platforms/cpu/avx512.profile"},
    {"a GPU of nobody",
     {EQF_DEVICE_GPU, 0x5143, 1, 0, 0, false, "QUALCOMM Snapdragon(TM)", "Adreno", "1"},
     "generic/gpu", "vector_width", "1", "platforms/generic/gpu.profile"},
    {"an FPGA",
     {EQF_DEVICE_ACCELERATOR, 0, 1, 0, 0, false, "Xilinx", "xilinx_u200", "1.0"},
     "generic/accelerator", "num_partials", "64", "platforms/generic/generic.profile"},
    {"oclgrind, which is everything at once",
     {EQF_DEVICE_CPU, 0x42, 1, 0, 0, false, "Oclgrind", "Oclgrind Simulator", "Oclgrind 21.10"},
     "cpu/oclgrind", "num_partials", "4", "platforms/cpu/oclgrind.profile"},
};

static const eqf_profile_value *value_of(const eqf_device_profile *profile, const char *key) {
    for (unsigned v = 0; v < profile->num_values; v++)
        if (strcmp(profile->values[v].key, key) == 0) return &profile->values[v];
    static const eqf_profile_value none;
    fail_msg("no value for %s", key);
    return &none;
}

static void test_chain(void **state) {
    (void)state;
    eqf_context *ctx = context();
    eqf_device_profile *profile = malloc(sizeof *profile);
    for (size_t e = 0; e < sizeof expectations / sizeof expectations[0]; e++) {
        const expectation *expected = &expectations[e];
        char name[64];
        TEST_OK(ctx, eqf__profile_resolve(ctx, &expected->facts, NULL, profile, name));
        const eqf_profile_value *value = value_of(profile, expected->key);
        print_message("%s: %s, %s = %s (%s)\n", expected->what, name, value->key, value->value, value->origin);
        assert_string_equal(name, expected->name);
        assert_string_equal(value->value, expected->value);
        assert_int_equal(strncmp(value->origin, expected->origin, strlen(expected->origin)), 0);
        assert_int_equal(value->origin[strlen(expected->origin)], ':');
        /* Every key, a reason for each, and the language version whatever was added. */
        assert_int_equal(profile->num_values, 16);
        for (unsigned v = 0; v < profile->num_values; v++) assert_true(profile->values[v].reason[0] != '\0');
        assert_int_equal(strncmp(value_of(profile, "build_option")->value, "-cl-std=CL1.2", 13), 0);
        for (unsigned i = 0; i < profile->num_issues; i++) {
            assert_true(profile->issues[i].text[0] != '\0');
            assert_true(profile->issues[i].guard[0] != '\0');
            assert_true(profile->issues[i].source[0] != '\0');
        }
    }
    free(profile);
    eqf_context_destroy(&ctx);
}

/* Tuning overrides platforms/, --set-profile overrides both; damaged tuning changes nothing. */
static void test_last_word(void **state) {
    (void)state;
    eqf_context *ctx = context();
    eqf_device_profile *profile = malloc(sizeof *profile);
    char name[64];
    TEST_OK(ctx, eqf__profile_resolve(ctx, &plain_cpu, "vector_width = 16  # measured\ntable_cells = 1024\n", profile,
                                      name));
    assert_string_equal(value_of(profile, "vector_width")->value, "16");
    assert_string_equal(value_of(profile, "vector_width")->origin, "eqf_device_store_tuning");
    assert_string_equal(value_of(profile, "vector_width")->reason, "measured");
    TEST_OK(ctx, eqf_context_set_profile(ctx, "vector_width=1"));
    TEST_OK(ctx, eqf_context_set_profile(ctx, "build_option=-D EXTRA=1"));
    TEST_OK(ctx, eqf__profile_resolve(ctx, &plain_cpu, "vector_width = 16\ntable_cells = 1024\n", profile, name));
    assert_string_equal(value_of(profile, "vector_width")->value, "1");
    assert_string_equal(value_of(profile, "vector_width")->origin, "eqf_context_set_profile");
    assert_string_equal(value_of(profile, "table_cells")->value, "1024");
    assert_string_equal(value_of(profile, "build_option")->value, "-cl-std=CL1.2 -D EXTRA=1");
    TEST_OK(ctx, eqf__profile_resolve(ctx, &plain_cpu, "table_cells = 1024\nvector_width = 7\n", profile, name));
    assert_string_equal(value_of(profile, "table_cells")->value, "512");
    free(profile);
    eqf_context_destroy(&ctx);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = context();
    static const char *const settings[][2] = {
        {"vektor_width=8", "no profile key 'vektor_width'; there are build_option, vector_width"},
        {"vector_width=7", "is one of 1 8 16"},
        {"vector_width=", "not of the form key=value"},
        {"vector_width", "not of the form key=value"},
        {"=8", "not of the form key=value"},
        {"num_partials=0", "from 1 to 4096"},
        {"num_partials=-1", "from 1 to 4096"},
        {"num_partials=4x", "from 1 to 4096"},
        {"launch_iterations=99999999999999999999999", "whole number"},
        {"native_sqrt=maybe", "yes or no"},
        {"build_option=rm -rf", "no compiler option"},
        {"build_option=-D X='a'", "no compiler option"},
        {"table_cells=8192", "256 to 4096"},
        {"table_cells=600", "one of 256 512"},
        {"issue.new=a text", "no profile value"},
        {"match.type=gpu", "no profile key"},
        {"a=b\nvector_width=8", "not of the form"},
    };
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        assert_int_equal(eqf_context_set_profile(ctx, settings[s][0]), EQF_ERROR_INVALID_ARGUMENT);
        print_message("%s\n", eqf_context_error(ctx));
        assert_non_null(strstr(eqf_context_error(ctx), settings[s][1]));
    }
    static const char *const texts[][2] = {
        {"vector_width = 8\n", "level"},
        {"level = planet\n", "p:1: there is no level 'planet'"},
        {"level = generic\n\nvector_width\n", "p:3: not of the form"},
        {"level = generic\nmatch.colour = red\n", "p:2: 'match.colour = red' matches nothing"},
        {"level = generic\nmatch.vendor_id = NVIDIA\n", "matches nothing"},
        {"level = generic\nissue.a.guard = x.y\n", "does not follow its issue"},
        {"level = generic\nissue.a = text\nissue.a = text\n", "twice"},
    };
    eqf_device_profile *profile = calloc(1, sizeof *profile);
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        eqf__profile_facts facts = plain_cpu;
        assert_int_equal(eqf__profile_apply_text(ctx, "p", texts[t][0], EQF__PROFILE_GENERIC, &facts, profile, NULL),
                         EQF_ERROR_FORMAT);
        print_message("%s\n", eqf_context_error(ctx));
        assert_non_null(strstr(eqf_context_error(ctx), texts[t][1]));
    }
    free(profile);
    eqf_context_destroy(&ctx);
}

static void test_versions(void **state) {
    (void)state;
    static const struct {
        const char *driver, *range;
        bool fits;
    } cases[] = {
        {"3.1+debian", "..3.1", true},   {"3.1.5", "..3.1", true},        {"3.2", "..3.1", false},
        {"6.0", "3..5", false},          {"5.9", "3..5", true},           {"2.9", "3..5", false},
        {"22.3.6", "22.3.7..", false},   {"22.3.6", "22.3.6..", true},    {"Oclgrind 21.10", "21.10..21.10", true},
        {"Oclgrind 21.9", "21.10..", false}, {"550", "550.54..", false},  {"anything", "", true},
        {"2026.21.7.0.02", "2026..", true},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        print_message("driver %s, range %s\n", cases[c].driver, cases[c].range);
        assert_int_equal(eqf__profile_version_fits(cases[c].driver, cases[c].range), cases[c].fits);
    }
    eqf_context *ctx = context();
    eqf_device_profile *profile = malloc(sizeof *profile);
    char name[64];
    eqf__profile_facts facts = plain_cpu;
    TEST_OK(ctx, eqf__profile_resolve(ctx, &facts, NULL, profile, name));
    const unsigned num_issues = profile->num_issues;
    /* Three end with 3.1: "gathers", "tiny-groups", "condition-before-barrier". */
    memcpy(facts.driver_version, "7.0", 4);
    TEST_OK(ctx, eqf__profile_resolve(ctx, &facts, NULL, profile, name));
    assert_int_equal(profile->num_issues, num_issues - 3);
    free(profile);
    eqf_context_destroy(&ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_last_word),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
