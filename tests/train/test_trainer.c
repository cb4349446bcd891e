/* The trainer: the optimizer against its equations, the same bits whatever the way there, and what happens when it
 * fails. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ocl.h"
#include "support.h"
#include "test_files.h"

typedef struct fixture {
    eqf_context *ctx;
    const eqf_preset *preset;
    eqf_model *model;
    float *x; /* [count, N, D], equilibrium */
    size_t num_dof;
} fixture;

static fixture set_up(const char *name, size_t count) {
    fixture f = {test_context(), eqf_preset_find(name), NULL, NULL, 0};
    assert_non_null(f.preset);
    const eqf_potential_options *potential = &f.preset->model->potential;
    f.num_dof = (size_t)potential->num_particles * potential->space_dim;
    f.x = test_floats(count * f.num_dof);
    eqf_mcmc_options mcmc = *f.preset->mcmc;
    mcmc.num_burn_in = 500;
    mcmc.seed = 11;
    TEST_OK(f.ctx, eqf_mcmc_sample(f.ctx, potential, &mcmc, count, f.x, NULL, NULL));
    TEST_OK(f.ctx, eqf_model_create(f.ctx, f.preset->model, &f.model));
    return f;
}

static void tear_down(fixture *f) {
    eqf_model_destroy(&f->model);
    free(f->x);
}

static eqf_model *best_of(eqf_context *ctx, eqf_trainer *trainer) {
    eqf_model *model;
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
    return model;
}

static void assert_same_params(const eqf_model *a, const eqf_model *b) {
    assert_int_equal(eqf_model_num_params(a), eqf_model_num_params(b));
    assert_memory_equal(eqf_model_params(a), eqf_model_params(b), eqf_model_num_params(a) * sizeof(float));
}

/* However few loop turns a launch may take, sums go on where they stopped: the same bits. Dense, whose solves no
 * budget refuses. */
static void test_launch_budget(void **state) {
    (void)state;
    enum { COUNT = 48 };
    fixture f = set_up("dw2", COUNT);
    eqf_model_options of_model = *f.preset->model;
    of_model.dynamics.kind = EQF_DYNAMICS_DENSE;
    of_model.dynamics.width = 24;
    of_model.dynamics.depth = 2;
    eqf_model *dense, *best[3];
    TEST_OK(f.ctx, eqf_model_create(f.ctx, &of_model, &dense));
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = COUNT - 3;
    options.num_steps = 3;
    eqf__device *device;
    TEST_OK(f.ctx, eqf__device_get(f.ctx, &device));
    const uint64_t budget = device->launch_iterations, budgets[3] = {0, 1, 5};
    for (unsigned i = 0; i < 3; ++i) {
        device->launch_iterations = budgets[i];
        eqf_trainer *trainer;
        eqf_training_state now = EQF_TRAINING_STATE_INIT;
        TEST_OK(f.ctx, eqf_trainer_create(f.ctx, dense, &options, COUNT, f.x, 0, NULL, &trainer));
        TEST_OK(f.ctx, eqf_trainer_advance(trainer, 3, &now));
        best[i] = best_of(f.ctx, trainer);
        eqf_trainer_destroy(&trainer);
        assert_same_params(best[0], best[i]);
        device->launch_iterations = budget;
    }
    for (unsigned i = 0; i < 3; ++i) eqf_model_destroy(&best[i]);
    eqf_model_destroy(&dense);
    tear_down(&f);
}

/* Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov and Hutter 2019) and clipping of the
 * gradient's norm, in double, fed with the library's gradients of the whole data set as one batch. */
static void test_adam(void **state) {
    (void)state;
    enum { COUNT = 32, STEPS = 8 };
    fixture f = set_up("dw2", COUNT);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = COUNT;
    options.num_steps = STEPS;
    options.learning_rate = 1e-2;
    options.final_learning_rate_fraction = 0.1;
    options.num_warmup_steps = 3;
    options.weight_decay = 0.3;
    options.clip_norm = 6.0;
    options.average_decay = 0.0;
    options.field_evaluation = EQF_FIELD_DIRECT;
    size_t num_trained = eqf_model_num_trained(f.model), num_params = eqf_model_num_params(f.model);
    double *params = test_to_double(num_params, eqf_model_params(f.model)), *first = calloc(num_trained, sizeof *first),
           *second = calloc(num_trained, sizeof *second);
    float *h_params = test_floats(num_params), *gradient = test_floats(num_trained);
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = EQF_FIELD_DIRECT;
    eqf_flow *flow;
    TEST_OK(f.ctx, eqf_flow_create(f.ctx, f.model, &flow_options, &flow));
    double rates[STEPS], norms[STEPS];
    bool was_clipped = false, was_free = false;
    for (unsigned step = 0; step < STEPS; ++step) {
        for (size_t i = 0; i < num_params; ++i) h_params[i] = (float)params[i];
        TEST_OK(f.ctx, eqf_flow_set_params(flow, h_params));
        eqf_loss loss = EQF_LOSS_INIT;
        TEST_OK(f.ctx, eqf_flow_nll_gradient(flow, options.integration_penalty, COUNT, f.x, &loss, gradient, NULL));
        double norm = 0.0, progress = step / (STEPS - 1.0);
        for (size_t i = 0; i < num_trained; ++i) norm += (double)gradient[i] * gradient[i];
        norms[step] = norm = sqrt(norm);
        double clip = norm > options.clip_norm ? options.clip_norm / norm : 1.0;
        was_clipped |= clip < 1.0;
        was_free |= clip == 1.0;
        rates[step] = options.learning_rate * fmin(1.0, (step + 1.0) / 3.0) *
                      (0.1 + 0.9 * 0.5 * (1.0 + cos(3.141592653589793 * progress)));
        for (size_t i = 0; i < num_trained; ++i) {
            double g = clip * gradient[i];
            first[i] = 0.9 * first[i] + 0.1 * g;
            second[i] = 0.999 * second[i] + 0.001 * g * g;
            double mean = first[i] / (1.0 - pow(0.9, step + 1.0)), square = second[i] / (1.0 - pow(0.999, step + 1.0));
            params[i] -= rates[step] * (mean / (sqrt(square) + 1e-8) + options.weight_decay * params[i]);
        }
    }
    eqf_trainer *trainer;
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, COUNT, f.x, 0, NULL, &trainer));
    test_worst rate_worst = TEST_WORST_INIT(1e-6), norm_worst = TEST_WORST_INIT(1e-2);
    for (unsigned step = 0; step < STEPS; ++step) {
        eqf_training_state now = EQF_TRAINING_STATE_INIT;
        TEST_OK(f.ctx, eqf_trainer_advance(trainer, 1, &now));
        assert_int_equal(now.step, step + 1);
        assert_true(now.is_done == (step + 1 == STEPS));
        test_compare(&rate_worst, step, fabs(now.learning_rate / rates[step] - 1.0));
        test_compare(&norm_worst, step, fabs(now.gradient_norm / norms[step] - 1.0));
    }
    eqf_model *best = best_of(f.ctx, trainer);
    double difference = 0.0, displacement = 0.0;
    for (size_t i = 0; i < num_params; ++i) {
        double start = eqf_model_params(f.model)[i], now = eqf_model_params(best)[i];
        difference += (now - params[i]) * (now - params[i]);
        displacement += (params[i] - start) * (params[i] - start);
        if (i >= num_trained) assert_true(now == start); /* the constants stay */
    }
    double error = sqrt(difference / displacement);
    print_message("gradient norms %.2f, %.2f, ... %.2f\n", norms[0], norms[1], norms[STEPS - 1]);
    print_message("Adam, %d steps: %.2e of the way off; clipped %d, not clipped %d\n", STEPS, error, was_clipped,
                  was_free);
    assert_true(was_clipped && was_free); /* or the test says less than it means to */
    bool is_good = test_report(&rate_worst, "learning rate");
    is_good &= test_report(&norm_worst, "gradient norm");
    assert_true(is_good && error <= 1e-2);
    eqf_model_destroy(&best);
    eqf_trainer_destroy(&trainer);
    eqf_flow_destroy(&flow);
    free(params);
    free(first);
    free(second);
    free(h_params);
    free(gradient);
    tear_down(&f);
}

static eqf_training_options short_options(void) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 48;
    options.num_steps = 60;
    options.num_warmup_steps = 10;
    options.validation_interval = 20;
    options.seed = 5;
    return options;
}

static void finish(eqf_context *ctx, eqf_trainer *trainer, uint64_t cut) {
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    for (unsigned call = 0; !now.is_done; ++call) {
        assert_true(call < 1000);
        TEST_OK(ctx, eqf_trainer_advance(trainer, cut, &now));
    }
}

/* Same seed: same bits, however the steps are cut, and through a checkpoint. */
static void test_same_bits(void **state) {
    (void)state;
    fixture f = set_up("dw2", 300);
    eqf_training_options options = short_options();
    const uint64_t cuts[] = {1000, 7, 1};
    char path[1024];
    snprintf(path, sizeof path, "%s", test_path("checkpoint"));
    eqf_model *first = NULL;
    for (unsigned run = 0; run < 3; ++run) {
        eqf_trainer *trainer;
        TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 200, f.x, 100, f.x + 200 * f.num_dof, &trainer));
        finish(f.ctx, trainer, cuts[run]);
        eqf_model *model = best_of(f.ctx, trainer);
        if (first) assert_same_params(first, model);
        if (first)
            eqf_model_destroy(&model);
        else
            first = model;
        eqf_trainer_destroy(&trainer);
    }
    const uint64_t stops[] = {1, 20, 33};
    for (unsigned run = 0; run < 3; ++run) {
        eqf_trainer *trainer, *resumed;
        eqf_training_state now = EQF_TRAINING_STATE_INIT;
        TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 200, f.x, 100, f.x + 200 * f.num_dof, &trainer));
        while (now.step < stops[run]) TEST_OK(f.ctx, eqf_trainer_advance(trainer, stops[run] - now.step, &now));
        TEST_OK(f.ctx, eqf_trainer_save_checkpoint(trainer, path));
        eqf_trainer_destroy(&trainer);
        TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 200, f.x, 100, f.x + 200 * f.num_dof, &resumed));
        TEST_OK(f.ctx, eqf_trainer_restore_checkpoint(resumed, path));
        finish(f.ctx, resumed, 1000);
        eqf_model *model = best_of(f.ctx, resumed);
        assert_same_params(first, model);
        size_t rows, first_rows;
        const eqf_history_row *history = eqf_model_history(model, &rows);
        const eqf_history_row *first_history = eqf_model_history(first, &first_rows);
        assert_int_equal(rows, first_rows);
        for (size_t r = 0; r < rows; ++r) {
            assert_int_equal(history[r].step, first_history[r].step);
            assert_true(history[r].held_out_nll == first_history[r].held_out_nll);
            assert_true(history[r].loss == first_history[r].loss);
        }
        eqf_model_destroy(&model);
        eqf_trainer_destroy(&resumed);
    }
    /* Another seed goes another way: the comparison above can fail. */
    options.seed = 6;
    eqf_trainer *trainer;
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 200, f.x, 100, f.x + 200 * f.num_dof, &trainer));
    /* A checkpoint of other options or other data is refused, and the trainer goes on. */
    assert_int_equal(eqf_trainer_restore_checkpoint(trainer, path), EQF_ERROR_INVALID_ARGUMENT);
    print_message("%s\n", eqf_context_error(f.ctx));
    finish(f.ctx, trainer, 1000);
    eqf_model *other = best_of(f.ctx, trainer);
    assert_memory_not_equal(eqf_model_params(other), eqf_model_params(first), 2000);
    eqf_model_destroy(&other);
    eqf_trainer_destroy(&trainer);
    options.seed = 5;
    f.x[0] += 0.25f;
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 200, f.x, 100, f.x + 200 * f.num_dof, &trainer));
    assert_int_equal(eqf_trainer_restore_checkpoint(trainer, path), EQF_ERROR_INVALID_ARGUMENT);
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(ftruncate(fileno(stream), 100), 0);
    fclose(stream);
    assert_int_equal(eqf_trainer_restore_checkpoint(trainer, path), EQF_ERROR_FORMAT);
    unlink(path);
    assert_int_equal(eqf_trainer_restore_checkpoint(trainer, path), EQF_ERROR_IO);
    print_message("%s\n", eqf_context_error(f.ctx));
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&first);
    tear_down(&f);
}

/* Training comes near the entropy, which no honest likelihood can pass; the best model is the one that was measured. */
static void test_learns(void **state) {
    (void)state;
    fixture f = set_up("dw2", 3000);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 128;
    options.num_steps = 400;
    options.num_warmup_steps = 20;
    options.validation_interval = 100;
    eqf_trainer *trainer;
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 1000, f.x, 2000, f.x + 1000 * f.num_dof, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    double at_best = NAN;
    while (!now.is_done) {
        TEST_OK(f.ctx, eqf_trainer_advance(trainer, 100, &now));
        print_message("step %llu: nll %.4f, held out %.4f\n", (unsigned long long)now.step, now.nll, now.held_out_nll);
        if (now.step == now.best_step) at_best = now.held_out_nll;
    }
    assert_true(now.best_held_out_nll == at_best);
    eqf_model *best = best_of(f.ctx, trainer);
    ref_radial *radial = ref_radial_from_model(best);
    ref_flow reference = {radial, 2, 2, 20, eqf_model_options_of(best)->prior_scale};
    double *h_x = test_to_double(2000 * f.num_dof, f.x + 1000 * f.num_dof), nll = 0.0;
    for (size_t b = 0; b < 2000; ++b) nll -= ref_log_prob(&reference, h_x + b * f.num_dof, NULL) / 2000.0;
    double kl = nll - f.preset->entropy;
    print_message("held out, reference: %.5f; above the entropy by %.4f\n", nll, kl);
    assert_true(fabs(nll - now.best_held_out_nll) <= 1e-4);
    /* 2000 samples: the energy's sd 0.8 gives a standard error of 0.018 */
    assert_true(kl > -0.06 && kl < 0.3);
    size_t num_rows;
    const eqf_history_row *history = eqf_model_history(best, &num_rows);
    assert_true(num_rows >= 1 && history[num_rows - 1].step <= 400);
    ref_radial_destroy(radial);
    eqf_model_destroy(&best);
    eqf_trainer_destroy(&trainer);
    free(h_x);
    tear_down(&f);
}

/* Which model is kept, and the held-out NLL of every step [STEPS], with num_held_out configurations. */
static uint64_t best_step_with(const fixture *f, size_t num_held_out, const float *held_out, double *nlls_out) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 64;
    options.num_steps = 40;
    options.num_warmup_steps = 0;
    options.learning_rate = 0.03;
    options.average_decay = 0.0;
    options.validation_interval = 1;
    eqf_trainer *trainer;
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    TEST_OK(f->ctx, eqf_trainer_create(f->ctx, f->model, &options, 200, f->x, num_held_out, held_out, &trainer));
    for (unsigned step = 0; !now.is_done; ++step) {
        TEST_OK(f->ctx, eqf_trainer_advance(trainer, 1, &now));
        nlls_out[step] = now.held_out_nll;
    }
    eqf_trainer_destroy(&trainer);
    return now.best_step;
}

/* The worst of 100 held-out samples does not choose the model: with an outlier among them it is the one that the 99
 * others, which all count, choose; a mean over the 100 would have chosen another, and 99 with the outlier do. */
static void test_outlier(void **state) {
    (void)state;
    enum { STEPS = 40, HELD_OUT = 99 };
    fixture f = set_up("dw2", 200 + HELD_OUT + 1);
    float *held_out = f.x + 200 * f.num_dof, *outlier = held_out + HELD_OUT * f.num_dof;
    const float far[] = {-7.0f, 0.0f, 7.0f, 0.0f};
    double nlls[STEPS], with_outlier[STEPS], fewer[STEPS];
    memcpy(outlier, far, sizeof far);
    const uint64_t best = best_step_with(&f, HELD_OUT, held_out, nlls);
    const uint64_t best_with = best_step_with(&f, HELD_OUT + 1, held_out, with_outlier);
    const uint64_t best_fewer = best_step_with(&f, HELD_OUT, held_out + f.num_dof, fewer);
    unsigned lowest = 0, lowest_with = 0, lowest_fewer = 0;
    for (unsigned step = 1; step < STEPS; ++step) {
        if (nlls[step] < nlls[lowest]) lowest = step;
        if (with_outlier[step] < with_outlier[lowest_with]) lowest_with = step;
        if (fewer[step] < fewer[lowest_fewer]) lowest_fewer = step;
    }
    print_message("best of 99: step %llu; with an outlier: %llu (by the mean %u), nll %.2f instead of %.2f\n",
                  (unsigned long long)best, (unsigned long long)best_with, lowest_with + 1, with_outlier[lowest],
                  nlls[lowest]);
    assert_int_equal(best, lowest + 1);
    assert_int_equal(best_with, best);
    assert_int_not_equal(lowest_with, lowest);
    assert_int_equal(best_fewer, lowest_fewer + 1);
    assert_int_not_equal(best_fewer, best);
    tear_down(&f);
}

static void test_failures(void **state) {
    (void)state;
    fixture f = set_up("dw2", 100);
    eqf_trainer *trainer;
    eqf_training_options options = short_options();
    options.learning_rate = 1e8;
    options.clip_norm = 0.0;
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 100, f.x, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    eqf_status status = EQF_OK;
    for (unsigned call = 0; status == EQF_OK && call < 60; ++call) status = eqf_trainer_advance(trainer, 10, &now);
    assert_int_equal(status, EQF_ERROR_NON_FINITE);
    print_message("%s\n", eqf_context_error(f.ctx));
    eqf_model *model = best_of(f.ctx, trainer);
    for (size_t i = 0; i < eqf_model_num_params(model); ++i) assert_true(isfinite(eqf_model_params(model)[i]));
    eqf_model_destroy(&model);
    eqf_trainer_destroy(&trainer);
    for (unsigned bad = 0; bad < 7; ++bad) {
        options = short_options();
        size_t num_train = 100;
        if (bad == 0) options.batch_size = 0;
        if (bad == 1) options.num_steps = 0;
        if (bad == 2) options.learning_rate = NAN;
        if (bad == 3) options.average_decay = 1.5;
        if (bad == 4) options.integration_penalty = -1.0;
        if (bad == 5) num_train = 0;
        if (bad == 6) options.data_noise = -0.1;
        trainer = (eqf_trainer *)&options; /* must be set to NULL */
        status = eqf_trainer_create(f.ctx, f.model, &options, num_train, f.x, 0, NULL, &trainer);
        print_message("%u: %s: %s\n", bad, eqf_status_name(status), eqf_context_error(f.ctx));
        assert_int_equal(status, EQF_ERROR_INVALID_ARGUMENT);
        assert_null(trainer);
    }
    tear_down(&f);
}

/* The rows of the options: their defaults are those of EQF_TRAINING_OPTIONS_INIT, 0 stands for a default where a row
 * says so, and each number beyond a row's range is refused with its key. */
static void test_option_rows(void **state) {
    (void)state;
    fixture f = set_up("dw2", 100);
    const eqf_training_options initial = EQF_TRAINING_OPTIONS_INIT;
    const eqf_option *row;
    size_t num = 0, num_zero_defaults = 0;
    for (; (row = eqf_training_option(num)) != NULL; num++) {
        const double value = eqf_option_get(row, &initial);
        num_zero_defaults += row->is_zero_default;
        if (row->is_zero_default)
            assert_true(value == 0);
        else
            assert_true(value == row->initial);
        if (row->type == EQF_OPTION_BOOL) continue;
        eqf_training_options options = initial;
        const double beyond = row->type == EQF_OPTION_NAME   ? 99
                              : row->type == EQF_OPTION_REAL ? NAN
                              : row->low > 0                 ? 0
                                                             : 2 * row->high;
        if (row->is_zero_default && beyond == 0) continue;
        if (row->high >= 1e19) continue; /* any count */
        eqf_option_set(row, &options, beyond);
        eqf_trainer *trainer = NULL;
        assert_int_equal(eqf_trainer_create(f.ctx, f.model, &options, 100, f.x, 0, NULL, &trainer),
                         EQF_ERROR_INVALID_ARGUMENT);
        print_message("%s\n", eqf_context_error(f.ctx));
        assert_non_null(strstr(eqf_context_error(f.ctx), row->key));
    }
    assert_int_equal(num, 37);
    assert_int_equal(num_zero_defaults, 4); /* of step control */
    assert_null(eqf_training_option(1000));
    tear_down(&f);
}

/* NaN and infinity are refused before anything is built, with the place; in either set of data. */
static void test_non_finite_data(void **state) {
    (void)state;
    fixture f = set_up("dw2", 100);
    const eqf_training_options options = short_options();
    const struct {
        size_t configuration;
        float value;
        const char *what, *word;
    } cases[] = {
        {4, NAN, "training", "NaN"}, {79, INFINITY, "training", "infinity"}, {19, -INFINITY, "held-out", "infinity"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t first = strcmp(cases[i].what, "training") == 0 ? 0 : 80;
        float *place = f.x + (first + cases[i].configuration) * f.num_dof + f.num_dof - 1, kept = *place;
        *place = cases[i].value;
        eqf_trainer *trainer = (eqf_trainer *)&f; /* must be set to NULL */
        eqf_status status = eqf_trainer_create(f.ctx, f.model, &options, 80, f.x, 20, f.x + 80 * f.num_dof, &trainer);
        char place_text[64];
        snprintf(place_text, sizeof place_text, "configuration %zu ", cases[i].configuration);
        print_message("%s: %s\n", eqf_status_name(status), eqf_context_error(f.ctx));
        assert_int_equal(status, EQF_ERROR_NON_FINITE);
        assert_null(trainer);
        assert_non_null(strstr(eqf_context_error(f.ctx), place_text));
        assert_non_null(strstr(eqf_context_error(f.ctx), cases[i].what));
        assert_non_null(strstr(eqf_context_error(f.ctx), cases[i].word));
        *place = kept;
    }
    eqf_trainer *trainer = NULL; /* the same data without them are fine */
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, f.model, &options, 80, f.x, 20, f.x + 80 * f.num_dof, &trainer));
    eqf_trainer_destroy(&trainer);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_launch_budget), cmocka_unit_test(test_adam),
        cmocka_unit_test(test_same_bits),     cmocka_unit_test(test_learns),
        cmocka_unit_test(test_failures),      cmocka_unit_test(test_non_finite_data),
        cmocka_unit_test(test_outlier),       cmocka_unit_test(test_option_rows),
    };
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
