/* The model file: bit for bit there and back, and a clear refusal of everything else. */
#include "test_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/model.h"
#include "model_internal.h"
#include "tensor_file.h"

static eqf_context ctx; /* model files need no device */

/* Numbers that have no short decimal form, and options that differ from every default. */
static eqf_model *make(void) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    snprintf(options.preset, sizeof options.preset, "lj13");
    options.potential = (eqf_potential_options){.struct_size = sizeof(eqf_potential_options),
                                                .kind = EQF_POTENTIAL_LENNARD_JONES,
                                                .num_particles = 13,
                                                .space_dim = 3,
                                                .temperature = 1.0 / 3.0,
                                                .distance_offset = -0.0,
                                                .linear = 0.1,
                                                .quadratic = -1e-300,
                                                .quartic = 4.9e-324,
                                                .epsilon = 2.0,
                                                .r_min = 1.1,
                                                .trap_strength = 0.7};
    options.prior_scale = sqrt(2.0);
    options.dynamics = (eqf_dynamics_options)EQF_DYNAMICS_OPTIONS_INIT;
    options.dynamics.num_distance = 6;
    options.dynamics.num_time = 3;
    options.dynamics.layout = EQF_RADIAL_DENSE_CORE;
    options.dynamics.distance_max = 16.1;
    options.dynamics.distance_gamma = 0.123456789;
    options.integrator.num_steps = 17;
    options.seed = UINT64_MAX;
    eqf_model *model;
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &options, &model), EQF_OK, "");
    const eqf_history_row rows[] = {{sizeof rows[0],
                                     0,
                                     0.0,
                                     1.0 / 3.0,
                                     0.1,
                                     (double)NAN,
                                     1e-17,
                                     5e-3,
                                     -7.25,
                                     (double)NAN,
                                     (double)NAN,
                                     (double)NAN,
                                     (double)NAN,
                                     (double)NAN,
                                     {0}},
                                    {sizeof rows[0],
                                     INT64_MAX,
                                     1e9,
                                     -0.0,
                                     (double)INFINITY,
                                     -(double)INFINITY,
                                     (double)NAN,
                                     4.9e-324,
                                     (double)NAN,
                                     (double)INFINITY,
                                     0.25,
                                     (double)NAN,
                                     (double)NAN,
                                     3.5,
                                     {0}}};
    for (unsigned n = 0; n < 2; n++) assert_int_equal(eqf_model_add_history(&ctx, model, &rows[n]), EQF_OK);
    return model;
}

static void assert_same_real(double a, double b) {
    if (isnan(a) && isnan(b)) return;
    assert_memory_equal(&a, &b, sizeof a); /* the sign of zero too */
}

static void assert_same_model(const eqf_model *a, const eqf_model *b) {
    const eqf_model_options *left = eqf_model_options_of(a), *right = eqf_model_options_of(b);
    assert_int_equal(left->struct_size, right->struct_size);
    assert_memory_equal(left->preset, right->preset, sizeof left->preset);
    assert_int_equal(left->seed, right->seed);
    assert_int_equal(left->potential.struct_size, right->potential.struct_size);
    assert_int_equal(left->potential.kind, right->potential.kind);
    assert_int_equal(left->potential.num_particles, right->potential.num_particles);
    assert_int_equal(left->potential.space_dim, right->potential.space_dim);
    assert_same_real(left->potential.temperature, right->potential.temperature);
    assert_same_real(left->potential.distance_offset, right->potential.distance_offset);
    assert_same_real(left->potential.linear, right->potential.linear);
    assert_same_real(left->potential.quadratic, right->potential.quadratic);
    assert_same_real(left->potential.quartic, right->potential.quartic);
    assert_same_real(left->potential.epsilon, right->potential.epsilon);
    assert_same_real(left->potential.r_min, right->potential.r_min);
    assert_same_real(left->potential.trap_strength, right->potential.trap_strength);
    assert_same_real(left->prior_scale, right->prior_scale);
    assert_int_equal(left->dynamics.kind, right->dynamics.kind);
    assert_int_equal(left->dynamics.num_distance, right->dynamics.num_distance);
    assert_int_equal(left->dynamics.num_time, right->dynamics.num_time);
    assert_int_equal(left->dynamics.layout, right->dynamics.layout);
    assert_same_real(left->dynamics.distance_max, right->dynamics.distance_max);
    assert_same_real(left->dynamics.distance_gamma, right->dynamics.distance_gamma);
    assert_same_real(left->dynamics.time_gamma, right->dynamics.time_gamma);
    assert_int_equal(left->dynamics.width, right->dynamics.width);
    assert_int_equal(left->dynamics.depth, right->dynamics.depth);
    assert_int_equal(left->dynamics.activation, right->dynamics.activation);
    assert_int_equal(left->integrator.method, right->integrator.method);
    assert_int_equal(left->integrator.num_steps, right->integrator.num_steps);
    assert_string_equal(eqf_model_version(a), eqf_model_version(b));
    assert_int_equal(eqf_model_num_params(a), eqf_model_num_params(b));
    assert_memory_equal(eqf_model_params(a), eqf_model_params(b), eqf_model_num_params(a) * sizeof(float));
    size_t num_a, num_b;
    const eqf_history_row *rows_a = eqf_model_history(a, &num_a), *rows_b = eqf_model_history(b, &num_b);
    assert_int_equal(num_a, num_b);
    for (size_t n = 0; n < num_a; n++) {
        assert_int_equal(rows_a[n].step, rows_b[n].step);
        assert_same_real(rows_b[n].seconds, 0.0); /* wall time would make equal trainings unequal files */
        assert_same_real(rows_a[n].loss, rows_b[n].loss);
        assert_same_real(rows_a[n].nll, rows_b[n].nll);
        assert_same_real(rows_a[n].held_out_nll, rows_b[n].held_out_nll);
        assert_same_real(rows_a[n].free_energy, rows_b[n].free_energy);
        assert_same_real(rows_a[n].held_out_free_energy, rows_b[n].held_out_free_energy);
        assert_same_real(rows_a[n].flow_matching, rows_b[n].flow_matching);
        assert_same_real(rows_a[n].held_out_flow_matching, rows_b[n].held_out_flow_matching);
        assert_same_real(rows_a[n].dispersion, rows_b[n].dispersion);
        assert_same_real(rows_a[n].held_out_dispersion, rows_b[n].held_out_dispersion);
        assert_same_real(rows_a[n].gradient_norm, rows_b[n].gradient_norm);
        assert_same_real(rows_a[n].learning_rate, rows_b[n].learning_rate);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    eqf_model *model = make(), *loaded;
    const char *path = test_path("a.safetensors"), *again = test_path("b.safetensors");
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, model, path), EQF_OK, "");
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &loaded), EQF_OK, "");
    assert_same_model(model, loaded);
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, loaded, again), EQF_OK, "");
    size_t num_a, num_b;
    unsigned char *a = test_read_bytes(path, &num_a), *b = test_read_bytes(again, &num_b);
    assert_int_equal(num_a, num_b);
    assert_memory_equal(a, b, num_a);
    print_message("model file of %zu bytes, same bytes after load and save\n", num_a);
    free(a);
    free(b);
    eqf_model_destroy(&model);
    eqf_model_destroy(&loaded);
}

/* Names of the file as the issue promises them to readers elsewhere. */
static void test_tensor_names(void **state) {
    (void)state;
    eqf_model *model = make();
    const char *path = test_path("c.safetensors");
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, model, path), EQF_OK, "");
    eqf__tensor_file file;
    assert_int_equal(eqf__tensor_file_read(&ctx, path, &file), EQF_OK);
    assert_int_equal(file.num_tensors, 7);
    const eqf__tensor *weights = eqf__tensor_file_find(&file, "radial.weights");
    assert_int_equal(weights->type, EQF__TENSOR_F32);
    assert_int_equal(weights->num_dims, 2);
    assert_int_equal(weights->shape[0], 6);
    assert_int_equal(weights->shape[1], 3);
    assert_memory_equal(weights->data, eqf_model_params(model), 18 * sizeof(float));
    assert_non_null(eqf__tensor_file_find(&file, "radial.time_centers"));
    eqf__tensor_file_clear(&file);
    eqf_model_destroy(&model);
}

/* ---- Damage ----------------------------------------------------------------------------------- */

/* Writes the model's file (and destroys the model) with one text of its metadata replaced, or with its tensors
 * changed by change; without its checksum, as a person would, so that the checks behind the checksum are reached. */
static void write_model_changed(eqf_model *model, const char *path, const char *from, const char *to,
                                void (*change)(eqf__tensor *tensors, size_t *num_tensors)) {
    assert_int_equal(eqf_model_save(&ctx, model, path), EQF_OK);
    eqf_model_destroy(&model);
    eqf__tensor_file file;
    assert_int_equal(eqf__tensor_file_read(&ctx, path, &file), EQF_OK);
    char *checksum = strstr(file.metadata_json, ",\"checksum\"");
    assert_non_null(checksum);
    memcpy(checksum, "}", 2);
    char metadata[8192];
    snprintf(metadata, sizeof metadata, "%s", file.metadata_json);
    if (from != NULL) {
        const char *place = strstr(file.metadata_json, from);
        if (place == NULL) fail_msg("%s is not in %s", from, file.metadata_json);
        snprintf(metadata, sizeof metadata, "%.*s%s%s", (int)(place - file.metadata_json), file.metadata_json, to,
                 place + strlen(from));
    }
    eqf__tensor tensors[16];
    size_t num_tensors = file.num_tensors;
    memcpy(tensors, file.tensors, num_tensors * sizeof *tensors);
    if (change != NULL) change(tensors, &num_tensors);
    assert_int_equal(eqf__tensor_file_write(&ctx, path, metadata, num_tensors, tensors), EQF_OK);
    eqf__tensor_file_clear(&file);
}

static void write_changed(const char *path, const char *from, const char *to,
                          void (*change)(eqf__tensor *tensors, size_t *num_tensors)) {
    write_model_changed(make(), path, from, to, change);
}

static void test_damaged_metadata(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        eqf_status status;
        const char *message;
    } cases[] = {
        {"{\"format\":1", "{\"format\":2", EQF_ERROR_FORMAT, "use a newer version"},
        {"{\"format\":1", "{\"format\":0", EQF_ERROR_FORMAT, "format in its metadata"},
        {"{\"format\":1", "{\"format\":\"1\"", EQF_ERROR_FORMAT, "format in its metadata is not a number"},
        {"{\"format\":1,", "{", EQF_ERROR_FORMAT, "format in its metadata is missing"},
        {"\"lennard_jones\"", "\"coulomb\"", EQF_ERROR_UNSUPPORTED, "potential.kind \"coulomb\""},
        {"\"radial\"", "\"graph\"", EQF_ERROR_UNSUPPORTED, "dynamics.kind \"graph\""},
        {"\"rk4\"", "\"euler\"", EQF_ERROR_UNSUPPORTED, "integrator.method \"euler\""},
        {"\"dense_core\"", "\"sparse\"", EQF_ERROR_UNSUPPORTED, "dynamics.layout \"sparse\""},
        {"\"mean_free_gaussian\"", "\"uniform\"", EQF_ERROR_UNSUPPORTED, "prior.kind \"uniform\""},
        {"\"num_particles\":13", "\"num_particles\":-1", EQF_ERROR_FORMAT, "potential.num_particles"},
        {"\"num_particles\":13", "\"num_particles\":13.0", EQF_ERROR_FORMAT, "is not a count"},
        {"\"num_particles\":13", "\"num_particles\":9999999999999", EQF_ERROR_FORMAT, "is not a count"},
        {"\"num_particles\":13", "\"num_particles\":1", EQF_ERROR_FORMAT, "num_particles of the potential is 1"},
        {"\"num_distance\":6", "\"num_distance\":2000000000", EQF_ERROR_FORMAT, "num_distance"},
        {"\"num_distance\":6", "\"num_distance\":7", EQF_ERROR_FORMAT, "radial.weights is not F32 of shape [7, 3]"},
        {"\"epsilon\":2.0", "\"epsilon\":\"2\"", EQF_ERROR_FORMAT, "potential.epsilon"},
        {"\"epsilon\":2.0,", "", EQF_ERROR_FORMAT, "potential.epsilon in its metadata is missing"},
        {"\"epsilon\":2.0", "\"epsilon\":null", EQF_ERROR_FORMAT, "potential.epsilon"},
        {"\"epsilon\":2.0", "\"epsilon\":-2", EQF_ERROR_FORMAT, "epsilon of the potential is -2"},
        {"\"num_steps\":17", "\"num_steps\":0", EQF_ERROR_FORMAT, "num_steps"},
        {"\"18446744073709551615\"", "\"18446744073709551616\"", EQF_ERROR_FORMAT, "seed"},
        {"\"18446744073709551615\"", "\"-1\"", EQF_ERROR_FORMAT, "seed"},
        {"\"18446744073709551615\"", "\"\"", EQF_ERROR_FORMAT, "seed"},
        {"\"preset\":\"lj13\"", "\"preset\":\"0123456789012345678901234567890123456789\"", EQF_ERROR_FORMAT, "preset"},
        {"\"preset\":\"lj13\"", "\"preset\":\"a b\"", EQF_ERROR_FORMAT, "preset"},
        {"\"prior\":{", "\"prior\":[{", EQF_ERROR_FORMAT, "are not JSON"},
        {"\"potential\":{", "\"potential\":7,\"was\":{", EQF_ERROR_FORMAT,
         "potential in its metadata is not an object"},
        {"\"step\"", "\"time\"", EQF_ERROR_FORMAT, "history.columns"},
        {"\"rows\":[[", "\"rows\":7,\"was\":[[", EQF_ERROR_FORMAT, "history.rows"},
        {"[[0,", "[[", EQF_ERROR_FORMAT, "history.rows"},
        {"[[0,", "[[-1,", EQF_ERROR_FORMAT, "history.rows"},
        {"\"-inf\"", "\"-minf\"", EQF_ERROR_FORMAT, "history.rows"},
    };
    const char *path = test_path("damaged.safetensors");
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        write_changed(path, cases[n].from, cases[n].to, NULL);
        eqf_model *model = (eqf_model *)&ctx;
        TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), cases[n].status, cases[n].message);
        assert_non_null(strstr(eqf_context_error(&ctx), path));
        assert_null(model);
    }
    /* Keys that a later version may add do not disturb, nor does a whole number where a real one is meant. */
    eqf_model *model;
    write_changed(path, "\"epsilon\":2.0", "\"epsilon\":2,\"comment\":\"by hand\"", NULL);
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_OK, "");
    assert_true(eqf_model_options_of(model)->potential.epsilon == 2.0);
    eqf_model_destroy(&model);
}

static eqf_model *make_dense(void) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = 3;
    options.potential.space_dim = 2;
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = 5;
    options.dynamics.depth = 3;
    options.dynamics.activation = EQF_ACTIVATION_SILU;
    options.seed = 9;
    eqf_model *model;
    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &options, &model), EQF_OK, "");
    return model;
}

/* The dense field's part of the file: what it holds, and each way in which that can be wrong. */
static void test_dense(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        eqf_status status;
        const char *message;
    } cases[] = {
        {"\"silu\"", "\"relu\"", EQF_ERROR_UNSUPPORTED, "dynamics.activation \"relu\""},
        {"\"silu\"", "7", EQF_ERROR_FORMAT, "dynamics.activation in its metadata is not text"},
        {"\"width\":5", "\"width\":0", EQF_ERROR_FORMAT, "width of the dense dynamics is 0"},
        {"\"width\":5", "\"width\":2000000000", EQF_ERROR_FORMAT, "width of the dense dynamics"},
        {"\"width\":5", "\"width\":6", EQF_ERROR_FORMAT, "dense.weight_0 is not F32 of shape [6, 7]"},
        {"\"width\":5,", "", EQF_ERROR_FORMAT, "dynamics.width in its metadata is missing"},
        {"\"depth\":3", "\"depth\":9", EQF_ERROR_FORMAT, "depth of the dense dynamics is 9"},
        {"\"depth\":3", "\"depth\":4", EQF_ERROR_FORMAT, "dense.weight_3"},
        {"\"depth\":3", "\"depth\":2", EQF_ERROR_FORMAT, "dense.weight_2"},
        {"\"num_particles\":3", "\"num_particles\":4", EQF_ERROR_FORMAT, "dense.weight_0 is not F32 of shape [5, 9]"},
        {"\"kind\":\"dense\"", "\"kind\":\"radial\"", EQF_ERROR_FORMAT, "dynamics."},
    };
    eqf_model *model = make_dense(), *loaded;
    const char *path = test_path("dense.safetensors");
    assert_int_equal(eqf_model_num_params(model), 5 * 7 + 5 + 2 * (25 + 5) + 6 * 5 + 6);
    assert_int_equal(eqf_model_num_slices(model), 8);
    const eqf_param_slice *last = eqf_model_slice(model, 6);
    assert_string_equal(last->name, "dense.weight_3");
    for (size_t n = 0; n < last->count; n++) assert_true(fabsf(eqf_model_params(model)[last->offset + n]) < 0.03f);
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, model, path), EQF_OK, "");
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &loaded), EQF_OK, "");
    assert_same_model(model, loaded);
    eqf_model_destroy(&loaded);
    eqf_model_destroy(&model);
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        write_model_changed(make_dense(), path, cases[n].from, cases[n].to, NULL);
        TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &loaded), cases[n].status, cases[n].message);
        assert_null(loaded);
    }
}

static float poisoned[18];
static void drop_tensor(eqf__tensor *tensors, size_t *num_tensors) {
    (void)tensors;
    --*num_tensors;
}
static void turn_shape(eqf__tensor *tensors, size_t *num_tensors) {
    (void)num_tensors;
    tensors[0].shape[0] = 3;
    tensors[0].shape[1] = 6;
}
static void change_type(eqf__tensor *tensors, size_t *num_tensors) {
    static const double reals[3];
    (void)num_tensors;
    tensors[1].type = EQF__TENSOR_F64;
    tensors[1].data = reals;
}
static void poison(eqf__tensor *tensors, size_t *num_tensors) {
    (void)num_tensors;
    memcpy(poisoned, tensors[0].data, sizeof poisoned);
    poisoned[5] = NAN;
    tensors[0].data = poisoned;
}
static void add_tensor(eqf__tensor *tensors, size_t *num_tensors) {
    tensors[*num_tensors] = tensors[0];
    tensors[*num_tensors].name = "radial.more";
    ++*num_tensors;
}

static void test_damaged_tensors(void **state) {
    (void)state;
    static const struct {
        void (*change)(eqf__tensor *tensors, size_t *num_tensors);
        const char *message;
    } cases[] = {
        {drop_tensor, "tensor radial.time_centers is missing"},
        {turn_shape, "tensor radial.weights is not F32 of shape [6, 3]"},
        {change_type, "tensor radial.bias is not F32 of shape [3]"},
        {poison, "number 5 of tensor radial.weights is"},
        {add_tensor, "tensor radial.more does not belong"},
    };
    const char *path = test_path("tensors.safetensors");
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        write_changed(path, NULL, NULL, cases[n].change);
        eqf_model *model;
        TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_ERROR_FORMAT, cases[n].message);
        assert_non_null(strstr(eqf_context_error(&ctx), path));
        assert_null(model);
    }
}

static void test_files_that_are_none(void **state) {
    (void)state;
    eqf_model *model;
    const char *path = test_path("none.safetensors");
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_ERROR_IO, "no such file");
    test_write_bytes(path, "", 0);
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_ERROR_FORMAT, "it is empty");
    const char foreign[] = "\x02\0\0\0\0\0\0\0{}";
    test_write_bytes(path, foreign, sizeof foreign - 1);
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_ERROR_FORMAT, "not an eqflow model");
    assert_int_equal(eqf__tensor_file_write(&ctx, path, "[]", 0, NULL), EQF_OK);
    TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &model), EQF_ERROR_FORMAT, "format in its metadata is missing");
    eqf_model *saved = make();
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, saved, test_path("no/m.safetensors")), EQF_ERROR_IO, "create it");
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, saved, "/dev/full"), EQF_ERROR_IO, "is full");
    TEST_EXPECT(&ctx, eqf_model_save(&ctx, NULL, path), EQF_ERROR_INVALID_ARGUMENT, "NULL");
    eqf_model_destroy(&saved);
}

/* Cut anywhere, the file is refused. With any single wrong bit it is refused too, unless the bit only hides the
 * checksum: then what loads is the model as it was. */
static void test_every_truncation_and_bit(void **state) {
    (void)state;
    eqf_model *model = make(), *loaded;
    const char *path = test_path("bits.safetensors");
    assert_int_equal(eqf_model_save(&ctx, model, path), EQF_OK);
    size_t num_bytes;
    unsigned char *bytes = test_read_bytes(path, &num_bytes);
    for (size_t n = 0; n < num_bytes; n++)
        TEST_EXPECT(&ctx, eqf__model_parse(&ctx, path, bytes, n, &loaded), EQF_ERROR_FORMAT, path);
    size_t num_refused = 0, num_loaded = 0;
    for (size_t n = 0; n < 8 * num_bytes; n++) {
        bytes[n / 8] ^= (unsigned char)(1u << n % 8);
        eqf_status status = eqf__model_parse(&ctx, path, bytes, num_bytes, &loaded);
        bytes[n / 8] ^= (unsigned char)(1u << n % 8);
        if (status == EQF_OK) {
            assert_same_model(model, loaded);
            num_loaded++;
        } else {
            assert_true(status == EQF_ERROR_FORMAT || status == EQF_ERROR_UNSUPPORTED);
            assert_null(loaded);
            num_refused++;
        }
        eqf_model_destroy(&loaded);
    }
    print_message("%zu single wrong bits: %zu refused, %zu load the model as it was\n", 8 * num_bytes, num_refused,
                  num_loaded);
    assert_true(num_loaded < 100);
    free(bytes);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),          cmocka_unit_test(test_tensor_names),
        cmocka_unit_test(test_damaged_metadata),    cmocka_unit_test(test_damaged_tensors),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_files_that_are_none), cmocka_unit_test(test_every_truncation_and_bit),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
