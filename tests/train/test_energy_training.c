/* Training on the energy and on mixtures: the parts of the loss are blended as documented, the same bits whatever
 * the way there, hard cores, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test_files.h"
#include "train_internal.h"

static eqf_model *model_of(eqf_context *ctx, const char *name) {
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, eqf_preset_find(name)->model, &model));
    return model;
}

/* Configurations [count, N, D] like the system's samples; no test here needs equilibrium. */
static float *data_of(const char *name, size_t count) {
    return test_configurations(test_system_named(name), count, 5);
}

static eqf_training_options short_options(double start, double end) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 24;
    options.num_generated = 33; /* more than the batch of data, and no multiple of anything */
    options.num_steps = 40;
    options.num_warmup_steps = 10;
    options.validation_interval = 10;
    options.num_held_out_generated = 50;
    options.nll_weight_start = start;
    options.nll_weight_end = end;
    options.seed = 5;
    return options;
}

static double mean_of_floats(size_t count, const float *values) {
    double sum = 0.0;
    for (size_t b = 0; b < count; ++b) sum += values[b];
    return sum / (double)count;
}

/* One step with weight 0.3: the trainer's gradient is 0.3 of the likelihood's plus 0.7 of the free energy's, and so
 * is what it reports; the weight follows its schedule. */
static void test_blend(void **state) {
    (void)state;
    enum { COUNT = 24 };
    eqf_context *ctx = test_context();
    eqf_model *model = model_of(ctx, "dw4");
    float *x = data_of("dw4", COUNT);
    eqf_training_options options = short_options(0.3, 0.9);
    options.num_steps = 4;
    options.field_evaluation = EQF_FIELD_DIRECT;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, COUNT, x, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    TEST_OK(ctx, eqf_trainer_advance(trainer, 1, &now));
    size_t num = eqf_model_num_trained(model);
    float *blended = test_floats(num), *of_energy = test_floats(num), *of_nll = test_floats(num);
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->d_gradient, 0, num * sizeof(float), blended));
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, num * sizeof(float), of_energy));
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = EQF_FIELD_DIRECT;
    eqf_flow *flow;
    eqf_loss loss = EQF_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
    TEST_OK(ctx, eqf_flow_nll_gradient(flow, options.integration_penalty, COUNT, x, &loss, of_nll, NULL));
    double difference = 0.0, square = 0.0, energy_square = 0.0;
    for (size_t i = 0; i < num; ++i) {
        double expected = 0.3 * of_nll[i] + 0.7 * of_energy[i];
        difference += (blended[i] - expected) * (blended[i] - expected);
        square += expected * expected;
        energy_square += (double)of_energy[i] * of_energy[i];
    }
    print_message(
        "blended gradient %.1e off; norm %.6g (reported %.6g), nll %.6g (%.6g), free energy %.6g, loss %.6g\n",
        sqrt(difference / square), sqrt(square), now.gradient_norm, loss.nll, now.nll, now.free_energy, now.loss);
    assert_true(energy_square > 0.0 && sqrt(difference / square) < 1e-5);
    assert_true(fabs(now.gradient_norm / sqrt(square) - 1.0) < 1e-5 && fabs(now.nll - loss.nll) < 1e-4);
    assert_true(fabs(now.nll_weight - 0.3) < 1e-12);
    /* The rest of the loss is the penalty, which is positive. */
    double rest = now.loss - 0.3 * now.nll - 0.7 * now.free_energy;
    assert_true(rest > 0.0 && isfinite(rest));
    const double weights[] = {0.5, 0.7, 0.9};
    for (unsigned step = 0; step < 3; ++step) {
        TEST_OK(ctx, eqf_trainer_advance(trainer, 1, &now));
        assert_true(fabs(now.nll_weight - weights[step]) < 1e-12);
    }
    assert_true(now.is_done);
    eqf_flow_destroy(&flow);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    free(x);
    free(blended);
    free(of_energy);
    free(of_nll);
}

static eqf_model *finish(eqf_context *ctx, eqf_trainer *trainer, uint64_t cut) {
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    for (unsigned call = 0; !now.is_done; ++call) {
        assert_true(call < 1000);
        TEST_OK(ctx, eqf_trainer_advance(trainer, cut, &now));
    }
    eqf_model *model;
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
    return model;
}

/* Mixture with augmentation, and energy alone without data: whole, in pieces, and through a checkpoint. */
static void test_same_bits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *start = model_of(ctx, "dw4");
    float *x = data_of("dw4", 70);
    char path[1024];
    snprintf(path, sizeof path, "%s", test_path("checkpoint"));
    for (unsigned with_data = 0; with_data < 2; ++with_data) {
        eqf_training_options options = with_data ? short_options(1.0, 0.4) : short_options(0.0, 0.0);
        options.is_augmented = with_data;
        const size_t num_train = with_data ? 50 : 0, num_held_out = with_data ? 20 : 0;
        const float *data = with_data ? x : NULL, *held_out = with_data ? x + 50 * 8 : NULL;
        eqf_model *first = NULL;
        for (unsigned run = 0; run < 4; ++run) { /* whole, in pieces, resumed, of another seed */
            eqf_trainer *trainer;
            options.seed = run == 3 ? 6 : 5;
            TEST_OK(ctx, eqf_trainer_create(ctx, start, &options, num_train, data, num_held_out, held_out, &trainer));
            if (run == 2) {
                eqf_training_state now = EQF_TRAINING_STATE_INIT;
                while (now.step < 23) TEST_OK(ctx, eqf_trainer_advance(trainer, 23 - now.step, &now));
                TEST_OK(ctx, eqf_trainer_save_checkpoint(trainer, path));
                eqf_trainer_destroy(&trainer);
                TEST_OK(ctx,
                        eqf_trainer_create(ctx, start, &options, num_train, data, num_held_out, held_out, &trainer));
                TEST_OK(ctx, eqf_trainer_restore_checkpoint(trainer, path));
            }
            if (run == 3) /* another seed is another training: its checkpoint does not fit */
                assert_int_equal(eqf_trainer_restore_checkpoint(trainer, path), EQF_ERROR_INVALID_ARGUMENT);
            eqf_model *model = finish(ctx, trainer, run == 1 ? 3 : 1000);
            if (run == 0) {
                first = model;
            } else {
                size_t num_bytes = eqf_model_num_params(first) * sizeof(float), rows, first_rows;
                const eqf_history_row *history = eqf_model_history(model, &rows),
                                      *first_history = eqf_model_history(first, &first_rows);
                assert_int_equal(rows, first_rows);
                const bool is_same = memcmp(eqf_model_params(model), eqf_model_params(first), num_bytes) == 0;
                assert_true(is_same == (run != 3));
                for (size_t r = 0; r < rows && run != 3; ++r) {
                    assert_true(history[r].loss == first_history[r].loss);
                    assert_true(history[r].free_energy == first_history[r].free_energy);
                    assert_true(history[r].held_out_free_energy == first_history[r].held_out_free_energy);
                    assert_true(isnan(history[r].nll) == !with_data);
                }
                eqf_model_destroy(&model);
            }
            eqf_trainer_destroy(&trainer);
        }
        eqf_model_destroy(&first);
    }
    /* Augmentation changes training, or the runs above proved nothing about it. */
    eqf_model *models[2];
    for (unsigned run = 0; run < 2; ++run) {
        eqf_training_options options = short_options(1.0, 1.0);
        options.is_augmented = run;
        eqf_trainer *trainer;
        TEST_OK(ctx, eqf_trainer_create(ctx, start, &options, 70, x, 0, NULL, &trainer));
        models[run] = finish(ctx, trainer, 1000);
        eqf_trainer_destroy(&trainer);
    }
    assert_memory_not_equal(eqf_model_params(models[0]), eqf_model_params(models[1]), 2000);
    eqf_model_destroy(&models[0]);
    eqf_model_destroy(&models[1]);
    unlink(path);
    eqf_model_destroy(&start);
    free(x);
}

/* Without any data dw2's free energy comes down to -ln Z; nobody's can be below, by more than the noise of what it
 * is measured on. */
static void test_learns_without_data(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_preset *preset = eqf_preset_find("dw2");
    eqf_model *start = model_of(ctx, "dw2");
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    eqf_preset_training_options(preset, 0, &options);
    assert_int_equal(options.num_steps, preset->training->num_steps);
    options.nll_weight_start = options.nll_weight_end = 0.0;
    options.num_generated = 64;
    options.num_steps = 400;
    options.num_warmup_steps = 20;
    options.validation_interval = 100;
    options.num_held_out_generated = 2000;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, start, &options, 0, NULL, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    double lowest = INFINITY;
    while (!now.is_done) {
        TEST_OK(ctx, eqf_trainer_advance(trainer, 100, &now));
        print_message("step %llu: free energy %.4f, held out %.4f\n", (unsigned long long)now.step, now.free_energy,
                      now.held_out_free_energy);
        lowest = fmin(lowest, now.held_out_free_energy);
    }
    assert_true(now.best_held_out_free_energy == lowest && isnan(now.nll) && isnan(now.held_out_nll));
    eqf_model *best;
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &best));
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, best, NULL, &flow));
    enum { COUNT = 4000 };
    float *x = test_floats(COUNT * 4), *log_prob = test_floats(COUNT), *energy = test_floats(COUNT);
    double *log_weights = calloc(COUNT, sizeof *log_weights);
    TEST_OK(ctx, eqf_flow_sample(flow, 99, 0, COUNT, x, log_prob));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, &preset->model->potential, COUNT, x, energy, NULL));
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    assert_int_equal(eqf_estimate_log_weights(COUNT, energy, log_prob, log_weights), EQF_OK);
    assert_int_equal(eqf_estimate_weights(COUNT, log_weights, &summary), EQF_OK);
    double free_energy = mean_of_floats(COUNT, energy) + mean_of_floats(COUNT, log_prob);
    print_message("fresh samples: free energy %.4f, ln Z %.4f (known %.4f), ESS %.3f\n", free_energy, summary.log_z,
                  preset->log_z, summary.ess_fraction);
    assert_true(free_energy > -preset->log_z - 0.02 &&
                free_energy < -preset->log_z + 1.0); /* few samples with high energies */
    assert_true(fabs(summary.log_z - preset->log_z) < 0.05 && summary.ess_fraction > 0.7);
    free(x);
    free(log_prob);
    free(energy);
    free(log_weights);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&best);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&start);
}

/* Prior samples of lj13 overlap: a cap keeps training going, and what diverges without one says so. */
static void test_cores(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *start = model_of(ctx, "lj13");
    eqf_training_options options = short_options(0.0, 0.0);
    options.num_steps = 12;
    options.energy_cap = 100.0;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, start, &options, 0, NULL, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 100, &now));
    print_message("lj13, capped: free energy %.3f, held out %.3f\n", now.free_energy, now.held_out_free_energy);
    assert_true(isfinite(now.free_energy) && isfinite(now.held_out_free_energy));
    eqf_trainer_destroy(&trainer);
    options.energy_cap = INFINITY;
    options.learning_rate = 1e6;
    options.clip_norm = 0.0;
    TEST_OK(ctx, eqf_trainer_create(ctx, start, &options, 0, NULL, 0, NULL, &trainer));
    eqf_status status = EQF_OK;
    for (unsigned call = 0; status == EQF_OK && call < 12; ++call) status = eqf_trainer_advance(trainer, 10, &now);
    assert_int_equal(status, EQF_ERROR_NON_FINITE);
    print_message("%s\n", eqf_context_error(ctx));
    assert_non_null(strstr(eqf_context_error(ctx), "energy_cap"));
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&start);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *start = model_of(ctx, "dw2");
    for (unsigned bad = 0; bad < 7; ++bad) {
        eqf_training_options options = short_options(0.0, 0.0);
        if (bad == 0) options.nll_weight_start = 0.5; /* needs data */
        if (bad == 1) options.nll_weight_end = 1.5;
        if (bad == 2) options.nll_weight_start = NAN;
        if (bad == 3) options.num_generated = 0;
        if (bad == 4) options.energy_cap = NAN;
        if (bad == 5) options.num_held_out_generated = 0;
        if (bad == 6) options.energy_cap = -INFINITY;
        eqf_trainer *trainer = (eqf_trainer *)&options; /* must be set to NULL */
        eqf_status status = eqf_trainer_create(ctx, start, &options, 0, NULL, 0, NULL, &trainer);
        print_message("%u: %s: %s\n", bad, eqf_status_name(status), eqf_context_error(ctx));
        assert_int_equal(status, EQF_ERROR_INVALID_ARGUMENT);
        assert_null(trainer);
    }
    eqf_model_destroy(&start);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blend),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_learns_without_data),
        cmocka_unit_test(test_cores),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
