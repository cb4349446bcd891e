/* Structs that begin with their size: older, newer and broken ones, and the sizes that never change. */
#include "test_files.h"

#include <string.h>

#include "base.h"
#include "eqflow/eqflow.h"

/* The options of two versions of a header. */
typedef struct old_options {
    size_t struct_size;
    unsigned count;
    unsigned width;
} old_options;
typedef struct new_options {
    size_t struct_size;
    unsigned count;
    unsigned width;
    double tolerance;
    const char *name;
} new_options;
#define OLD_OPTIONS_INIT \
    { .struct_size = sizeof(old_options), .count = 3 }
#define NEW_OPTIONS_INIT \
    { .struct_size = sizeof(new_options), .count = 3, .tolerance = 0.5, .name = "default" }

static void test_older_program(void **state) {
    (void)state;
    eqf_context ctx = {.log = NULL};
    const old_options given = {.struct_size = sizeof given, .count = 7, .width = 2};
    new_options read = NEW_OPTIONS_INIT;
    assert_int_equal(EQF__READ(&ctx, NEW_OPTIONS_INIT, &given, &read), EQF_OK);
    assert_int_equal(read.struct_size, sizeof read);
    assert_int_equal(read.count, 7);
    assert_int_equal(read.width, 2);
    assert_true(read.tolerance == 0.5);
    assert_string_equal(read.name, "default");
    /* and a result for it: nothing is written behind the program's struct */
    struct {
        old_options result;
        unsigned char behind[32];
    } there;
    memset(&there, 0xa5, sizeof there);
    there.result = (old_options)OLD_OPTIONS_INIT;
    const new_options full = {.struct_size = sizeof full, .count = 8, .width = 9, .tolerance = 1.5, .name = "x"};
    assert_int_equal(EQF__WRITE(&ctx, OLD_OPTIONS_INIT, &full, &there.result), EQF_OK);
    assert_int_equal(there.result.struct_size, sizeof there.result);
    assert_int_equal(there.result.count, 8);
    assert_int_equal(there.result.width, 9);
    for (size_t i = 0; i < sizeof there.behind; i++) assert_int_equal(there.behind[i], 0xa5);
}

static void test_newer_program(void **state) {
    (void)state;
    eqf_context ctx = {.log = NULL};
    new_options given = {.struct_size = sizeof given, .count = 7};
    old_options read = OLD_OPTIONS_INIT;
    assert_int_equal(EQF__READ(&ctx, OLD_OPTIONS_INIT, &given, &read), EQF_OK);
    assert_int_equal(read.struct_size, sizeof read);
    assert_int_equal(read.count, 7);
    given.tolerance = 1e-3;
    read.count = 1;
    assert_int_equal(EQF__READ(&ctx, OLD_OPTIONS_INIT, &given, &read), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(ctx.error, "OLD_OPTIONS_INIT"));
    assert_int_equal(read.count, 1);
    /* and a result for it: members that this library does not know are zero */
    const old_options full = {.struct_size = sizeof full, .count = 8};
    new_options result = {.struct_size = sizeof result, .tolerance = 4, .name = "what was there"};
    assert_int_equal(EQF__WRITE(&ctx, NEW_OPTIONS_INIT, &full, &result), EQF_OK);
    assert_int_equal(result.struct_size, sizeof result);
    assert_int_equal(result.count, 8);
    assert_true(result.tolerance == 0 && result.name == NULL);
}

static void test_what_is_no_size(void **state) {
    (void)state;
    eqf_context ctx = {.log = NULL};
    const size_t bad[] = {0, 1, sizeof(size_t) - 1, ((size_t)20 << 32) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        new_options given = {.struct_size = bad[i]}, other = NEW_OPTIONS_INIT;
        assert_int_equal(EQF__READ(&ctx, NEW_OPTIONS_INIT, &given, &other), EQF_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(ctx.error, "start from NEW_OPTIONS_INIT"));
        assert_int_equal(EQF__WRITE(&ctx, NEW_OPTIONS_INIT, &other, &given), EQF_ERROR_INVALID_ARGUMENT);
        assert_int_equal(given.count, 0);
    }
    new_options other = NEW_OPTIONS_INIT;
    assert_int_equal(EQF__READ(&ctx, NEW_OPTIONS_INIT, NULL, &other), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(EQF__WRITE(&ctx, NEW_OPTIONS_INIT, &other, NULL), EQF_ERROR_INVALID_ARGUMENT);
}

/* The public calls do so: a communicator from before its functions, and one from after them. */
static void test_public_calls(void **state) {
    (void)state;
    eqf_context *ctx;
    assert_int_equal(eqf_context_create(NULL, &ctx), EQF_OK);
    struct {
        eqf_communicator known;
        size_t unknown;
    } newer = {EQF_COMMUNICATOR_INIT, 0};
    newer.known.struct_size = sizeof newer;
    assert_int_equal(eqf_context_set_communicator(ctx, &newer.known), EQF_OK);
    newer.unknown = 1;
    assert_int_equal(eqf_context_set_communicator(ctx, &newer.known), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "EQF_COMMUNICATOR_INIT"));
    newer.known.struct_size = offsetof(eqf_communicator, sum_floats);
    assert_int_equal(eqf_context_set_communicator(ctx, &newer.known), EQF_OK);
    eqf_context_options old = {.struct_size = offsetof(eqf_context_options, kernel_path), .kernel_path = "/nowhere"};
    eqf_context *other;
    assert_int_equal(eqf_context_create(&old, &other), EQF_OK);
    assert_string_equal(other->kernel_path == NULL ? "" : other->kernel_path, "");
    eqf_context_destroy(&other);

    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    eqf_model *model;
    options.potential.reserved[17] = 1;
    assert_int_equal(eqf_model_create(ctx, &options, &model), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "EQF_POTENTIAL_OPTIONS_INIT"));
    options = (eqf_model_options)EQF_MODEL_OPTIONS_INIT;
    options.dynamics.reserved[0] = 1;
    assert_int_equal(eqf_model_create(ctx, &options, &model), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "EQF_DYNAMICS_OPTIONS_INIT"));
    options = (eqf_model_options)EQF_MODEL_OPTIONS_INIT;
    options.integrator.struct_size -= 8;
    assert_int_equal(eqf_model_create(ctx, &options, &model), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "EQF_INTEGRATOR_OPTIONS_INIT"));
    eqf_context_destroy(&ctx);
}

/* They lie inside others or in arrays: a new member takes reserved bytes, else programs that were compiled before
 * read the wrong place. */
static void test_constant_sizes(void **state) {
    (void)state;
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_potential_options) : 1024, 1024);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_dynamics_options) : 512, 512);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_integrator_options) : 128, 128);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_adaptive_options) : 128, 128);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_device_info) : 1280, 1280);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_cache_entry) : 512, 512);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_minimum) : 64, 64);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_history_row) : 256, 256);
    assert_int_equal(sizeof(void *) == 8 ? sizeof(eqf_preset) : 256, 256);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_older_program), cmocka_unit_test(test_newer_program),
                                       cmocka_unit_test(test_what_is_no_size), cmocka_unit_test(test_public_calls),
                                       cmocka_unit_test(test_constant_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
