/* Batches that are solved in parts: the same gradient and loss, whatever the parts, to rounding; the same bits for the
 * same parts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "train_internal.h"

enum { N = 4, D = 2, DOF = N * D, NUM_TRAIN = 150, NUM_HELD_OUT = 20 };

typedef struct sub_case {
    const char *name;
    eqf_dynamics_kind field;
    eqf_objective objective;
    eqf_gradient gradient;
    double nll_weight;
} sub_case;
static const sub_case cases[] = {
    {"nll and energy, radial, dto", EQF_DYNAMICS_RADIAL, EQF_OBJECTIVE_LIKELIHOOD, EQF_GRADIENT_DTO, 0.4},
    {"flow matching", EQF_DYNAMICS_MESSAGE, EQF_OBJECTIVE_FLOW_MATCHING, EQF_GRADIENT_DTO, 1},
    {"nll, message, dto", EQF_DYNAMICS_MESSAGE, EQF_OBJECTIVE_LIKELIHOOD, EQF_GRADIENT_DTO, 1},
    {"nll and energy by path gradients", EQF_DYNAMICS_MESSAGE, EQF_OBJECTIVE_LIKELIHOOD, EQF_GRADIENT_PATH, 0.4},
};
enum { NUM_CASES = sizeof cases / sizeof cases[0] };

static eqf_model *make_model(eqf_context *ctx, const sub_case *c) {
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    options.integrator.num_steps = 3;
    options.dynamics.kind = c->field;
    if (c->field == EQF_DYNAMICS_MESSAGE) {
        options.dynamics.num_hops = 2;
        options.dynamics.num_scalars = 6;
        options.dynamics.num_vectors = 3;
        options.dynamics.num_edge = 5;
        options.dynamics.num_reduced = 2;
        options.dynamics.num_distance = 8;
        options.dynamics.distance_max = 6;
    }
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

static eqf_trainer *make_trainer(eqf_context *ctx, const sub_case *c, const float *x, size_t sub_batch_size) {
    eqf_model *model = make_model(ctx, c);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.objective = c->objective;
    options.gradient = c->gradient;
    options.nll_weight_start = options.nll_weight_end = c->nll_weight;
    options.batch_size = 53; /* 53 = 3 x 16 + 5 */
    options.num_generated = 20;
    options.num_held_out_generated = 32;
    options.pairing = EQF_PAIRING_MINIBATCH;
    options.pairing_group = 8;
    options.energy_cap = 100;
    options.num_steps = 6;
    options.validation_interval = 6;
    options.data_noise = 0.05;
    options.sub_batch_size = sub_batch_size;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_TRAIN, x, NUM_HELD_OUT, x + NUM_TRAIN * DOF, &trainer));
    eqf_model_destroy(&model);
    return trainer;
}

/* One step; its gradient [num_trained] and record. */
static float *gradient_of(eqf_context *ctx, eqf_trainer *trainer, float record[EQF__RECORD_SIZE]) {
    float *gradient = test_floats(trainer->num_trained);
    TEST_OK(ctx, eqf__trainer_step(trainer, 0));
    const bool is_blended = trainer->options.sub_batch_size > 0 || trainer->options.nll_weight_start < 1;
    TEST_OK(ctx, eqf__buffer_read(ctx, is_blended ? trainer->d_gradient : trainer->workspace.d_gradient, 0,
                                  trainer->num_trained * sizeof *gradient, gradient));
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->d_records, 0, EQF__RECORD_SIZE * sizeof *record, record));
    return gradient;
}

static void test_parts(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = test_configurations(test_system_named("dw4"), NUM_TRAIN + NUM_HELD_OUT, 3);
    static const size_t parts[] = {0, 16, 52, 1};
    for (size_t n = 0; n < NUM_CASES; ++n) {
        float *whole = NULL, record[2][EQF__RECORD_SIZE];
        size_t num = 0;
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; ++p) {
            if (parts[p] == 1 && n != 1) continue; /* sample by sample, once */
            eqf_trainer *trainer = make_trainer(ctx, &cases[n], x, parts[p]);
            num = trainer->num_trained;
            float *gradient = gradient_of(ctx, trainer, record[p > 0]);
            if (p == 0) {
                whole = gradient;
            } else {
                double square = 0, difference = 0;
                for (size_t i = 0; i < num; ++i) {
                    square += (double)whole[i] * whole[i];
                    difference += ((double)gradient[i] - whole[i]) * ((double)gradient[i] - whole[i]);
                }
                print_message("%s, parts of %zu: gradient differs by %.2g of its norm, losses %.7g and %.7g\n",
                              cases[n].name, parts[p], sqrt(difference / square), (double)record[1][0],
                              (double)record[0][0]);
                assert_true(square > 0 && sqrt(difference / square) < 2e-6);
                for (unsigned k = 0; k < 2 * EQF__NUM_TERMS; ++k)
                    assert_true(fabsf(record[1][k] - record[0][k]) <= 2e-5f * fmaxf(1, fabsf(record[0][k])));
                free(gradient);
            }
            eqf_trainer_destroy(&trainer);
        }
        free(whole);
    }
    free(x);
}

/* Six steps to the end with the same parts: the same bits; parts as large as the batch: those of no parts. */
static void test_bits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = test_configurations(test_system_named("dw4"), NUM_TRAIN + NUM_HELD_OUT, 3);
    for (size_t n = 0; n < 2; ++n) {
        static const size_t parts[] = {16, 16, 0, 53};
        eqf_model *model[4];
        for (size_t p = 0; p < 4; ++p) {
            eqf_trainer *trainer = make_trainer(ctx, &cases[n], x, parts[p]);
            eqf_training_state now = EQF_TRAINING_STATE_INIT;
            while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, p == 1 ? 1 : 100, &now));
            TEST_OK(ctx, eqf_trainer_best_model(trainer, &model[p]));
            eqf_trainer_destroy(&trainer);
        }
        const size_t size = eqf_model_num_params(model[0]) * sizeof(float);
        assert_memory_equal(eqf_model_params(model[0]), eqf_model_params(model[1]), size);
        assert_memory_equal(eqf_model_params(model[2]), eqf_model_params(model[3]), size);
        for (size_t p = 0; p < 4; ++p) eqf_model_destroy(&model[p]);
    }
    free(x);
}

static void test_refused(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = test_configurations(test_system_named("dw4"), NUM_TRAIN, 3);
    eqf_model *model = make_model(ctx, &cases[2]);
    for (unsigned n = 0; n < 3; ++n) {
        eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
        eqf_trainer *trainer;
        options.sub_batch_size = n == 2 ? (size_t)1 << 25 : 8;
        options.dispersion_weight = n == 0;
        options.sample_cap = n == 1 ? 5 : 0;
        assert_int_equal(eqf_trainer_create(ctx, model, &options, NUM_TRAIN, x, 0, NULL, &trainer),
                         EQF_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(eqf_context_error(ctx), "sub_batch_size"));
    }
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_bits),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
