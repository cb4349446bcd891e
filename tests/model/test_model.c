/* Models in memory: making, copying, changing. */
#include "test_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/model.h"
#include "eqflow/version.h"

static eqf_context ctx; /* models need no device */

static eqf_model *make(uint64_t seed) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.seed = seed;
    eqf_model *model;
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &options, &model), EQF_OK, "");
    return model;
}

static void test_create(void **state) {
    (void)state;
    eqf_model *model = make(1), *same = make(1), *other = make(2);
    assert_int_equal(eqf_model_num_params(model), 680);
    assert_int_equal(eqf_model_num_trained(model), 620);
    assert_int_equal(eqf_model_num_slices(model), 7);
    assert_string_equal(eqf_model_slice(model, 0)->name, "radial.weights");
    assert_null(eqf_model_slice(model, 7));
    assert_string_equal(eqf_model_version(model), eqf_version());
    assert_int_equal(eqf_model_options_of(model)->seed, 1);
    size_t num_rows = 9;
    eqf_model_history(model, &num_rows);
    assert_int_equal(num_rows, 0);
    assert_memory_equal(eqf_model_params(model), eqf_model_params(same), 680 * sizeof(float));
    assert_memory_not_equal(eqf_model_params(model), eqf_model_params(other), 500 * sizeof(float));
    eqf_model_destroy(&model);
    assert_null(model);
    eqf_model_destroy(&model);
    eqf_model_destroy(NULL);
    eqf_model_destroy(&same);
    eqf_model_destroy(&other);
}

static void test_copy_and_change(void **state) {
    (void)state;
    eqf_model *model = make(3), *copy;
    eqf_history_row row = {sizeof row, 10,          1.5,         2.0,         3.0,         (double)NAN, 0.5, 1e-3,
                           -1.0,       (double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, {0}};
    for (unsigned n = 0; n < 200; n++) {
        row.step = n;
        assert_int_equal(eqf_model_add_history(&ctx, model, &row), EQF_OK);
    }
    assert_int_equal(eqf_model_copy(&ctx, model, &copy), EQF_OK);
    size_t num_rows;
    const eqf_history_row *rows = eqf_model_history(copy, &num_rows);
    assert_int_equal(num_rows, 200);
    for (unsigned n = 0; n < 200; n++) assert_int_equal(rows[n].step, n);
    assert_int_equal(eqf_model_add_history(&ctx, copy, &row), EQF_OK); /* a copy grows on its own */
    eqf_model_history(model, &num_rows);
    assert_int_equal(num_rows, 200);

    float params[680];
    for (unsigned n = 0; n < 680; n++) params[n] = (float)n;
    assert_int_equal(eqf_model_set_params(&ctx, copy, params), EQF_OK);
    assert_memory_equal(eqf_model_params(copy), params, sizeof params);
    assert_memory_not_equal(eqf_model_params(model), params, sizeof params);
    params[511] = INFINITY;
    params[0] = -1.0f;
    TEST_EXPECT(&ctx, eqf_model_set_params(&ctx, copy, params), EQF_ERROR_NON_FINITE, "number 1 of radial.importance");
    assert_true(eqf_model_params(copy)[0] == 0.0f); /* nothing of it was taken */
    row.step = UINT64_MAX;
    TEST_EXPECT(&ctx, eqf_model_add_history(&ctx, copy, &row), EQF_ERROR_INVALID_ARGUMENT, "step");
    eqf_model_destroy(&model);
    eqf_model_destroy(&copy);
}

static void test_bad_options(void **state) {
    (void)state;
    eqf_model *model = (eqf_model *)&ctx;
    const eqf_model_options good = EQF_MODEL_OPTIONS_INIT;
    eqf_model_options bad;
#define EXPECT_BAD(field, value, needle)                                                         \
    bad = good;                                                                                  \
    bad.field = value;                                                                           \
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &bad, &model), EQF_ERROR_INVALID_ARGUMENT, needle); \
    assert_null(model)
    EXPECT_BAD(struct_size, 0, "EQF_MODEL_OPTIONS_INIT");
    EXPECT_BAD(potential.num_particles, 1, "num_particles");
    EXPECT_BAD(prior_scale, 0.0, "scale of the prior");
    EXPECT_BAD(prior_scale, (double)NAN, "scale of the prior");
    EXPECT_BAD(prior_kind, (eqf_prior_kind)5, "prior_kind");
    EXPECT_BAD(dynamics.kind, (eqf_dynamics_kind)77, "kind of the dynamics");
    EXPECT_BAD(dynamics.num_time, 0, "num_time");
    EXPECT_BAD(dynamics,
               ((eqf_dynamics_options){
                   .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_DENSE, .width = 0, .depth = 2}),
               "width");
    EXPECT_BAD(dynamics,
               ((eqf_dynamics_options){
                   .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_DENSE, .width = 2049, .depth = 2}),
               "width");
    EXPECT_BAD(dynamics,
               ((eqf_dynamics_options){
                   .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_DENSE, .width = 8, .depth = 0}),
               "depth");
    EXPECT_BAD(dynamics,
               ((eqf_dynamics_options){
                   .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_DENSE, .width = 8, .depth = 9}),
               "depth");
    EXPECT_BAD(dynamics,
               ((eqf_dynamics_options){.struct_size = sizeof(eqf_dynamics_options),
                                       .kind = EQF_DYNAMICS_DENSE,
                                       .width = 8,
                                       .depth = 1,
                                       .activation = (eqf_activation)7}),
               "activation");
    EXPECT_BAD(integrator.method, (eqf_integrator_method)9, "method");
    EXPECT_BAD(integrator.num_steps, 0, "num_steps");
    EXPECT_BAD(integrator.num_steps, 100001, "num_steps");
    EXPECT_BAD(preset[0], '\n', "preset");
#undef EXPECT_BAD
    bad = good;
    memset(bad.preset, 'x', sizeof bad.preset); /* no end */
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &bad, &model), EQF_ERROR_INVALID_ARGUMENT, "preset");
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, NULL, &model), EQF_ERROR_INVALID_ARGUMENT, "NULL");
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &good, NULL), EQF_ERROR_INVALID_ARGUMENT, "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_copy_and_change),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
