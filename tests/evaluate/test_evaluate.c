/* An evaluation's effective sample size: how its sample grows, from the model's samples and from the data, with its
 * warnings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/evaluate.h"
#include "support.h"

enum { DOF = 4, NUM_DATA = 4000 };

typedef struct fixture {
    eqf_context *ctx;
    eqf_model *model;
    float *x; /* [NUM_DATA, DOF]: of the target */
} fixture;

/* A briefly trained dw2, whose target the data are of. */
static int setup(void **state) {
    static fixture f;
    f.ctx = test_context();
    const eqf_preset *preset = eqf_preset_find("dw2");
    eqf_mcmc_options chains = *preset->mcmc;
    f.x = malloc(NUM_DATA * DOF * sizeof *f.x);
    TEST_OK(f.ctx, eqf_mcmc_sample(f.ctx, &preset->model->potential, &chains, NUM_DATA, f.x, NULL, NULL));
    eqf_model *start;
    eqf_trainer *trainer;
    eqf_training_options training = EQF_TRAINING_OPTIONS_INIT;
    training.num_steps = 150;
    training.batch_size = 128;
    TEST_OK(f.ctx, eqf_model_create(f.ctx, preset->model, &start));
    TEST_OK(f.ctx, eqf_trainer_create(f.ctx, start, &training, NUM_DATA - 500, f.x, 500, f.x, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    while (!now.is_done) TEST_OK(f.ctx, eqf_trainer_advance(trainer, 1000, &now));
    TEST_OK(f.ctx, eqf_trainer_best_model(trainer, &f.model));
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&start);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    eqf_model_destroy(&f->model);
    free(f->x);
    return test_context_teardown(NULL);
}

static bool warns(const eqf_evaluation *evaluation, eqf_warning_kind kind) {
    for (size_t w = 0; w < eqf_evaluation_num_warnings(evaluation); w++)
        if (eqf_evaluation_warning_at(evaluation, w)->kind == kind) return true;
    return false;
}

static eqf_evaluation *evaluate(const fixture *f, const eqf_evaluation_options *options) {
    eqf_evaluation *evaluation;
    TEST_OK(f->ctx, eqf_evaluate(f->ctx, f->model, options, NUM_DATA, f->x, &evaluation));
    return evaluation;
}

/* The sample doubles until the error is small enough and not once more, and a larger one begins with a smaller one's
 * samples. */
static void test_sample_grows(void **state) {
    const fixture *f = *state;
    eqf_evaluation_options options = EQF_EVALUATION_OPTIONS_INIT;
    options.num_samples = 50;
    options.max_samples = 100000;
    options.ess_error = 0.01;
    eqf_evaluation *grown = evaluate(f, &options), *fixed[2];
    const eqf_evaluation_figures *of_grown = eqf_evaluation_figures_of(grown);
    const size_t num = of_grown->num_samples;
    print_message("%zu samples: ESS %.4f +- %.4f, %.4f +- %.4f from the data\n", num, of_grown->ess_fraction,
                  of_grown->ess_fraction_standard_error, of_grown->ess_fraction_data,
                  of_grown->ess_fraction_data_standard_error);
    assert_true(num > 50 && num < 100000);
    assert_true(of_grown->ess_fraction_standard_error <= 0.01);
    assert_false(warns(grown, EQF_WARNING_UNCERTAIN_ESS));
    options.max_samples = 0; /* as many as asked for */
    for (int i = 0; i < 2; i++) {
        options.num_samples = i == 0 ? num : num / 2;
        fixed[i] = evaluate(f, &options);
        assert_int_equal(eqf_evaluation_figures_of(fixed[i])->num_samples, options.num_samples);
        assert_memory_equal(eqf_evaluation_samples(fixed[i]), eqf_evaluation_samples(grown),
                            options.num_samples * DOF * sizeof(float));
        assert_memory_equal(eqf_evaluation_log_weights(fixed[i]), eqf_evaluation_log_weights(grown),
                            options.num_samples * sizeof(double));
    }
    const eqf_evaluation_figures *whole = eqf_evaluation_figures_of(fixed[0]),
                                 *half = eqf_evaluation_figures_of(fixed[1]);
    assert_true(whole->ess_fraction == of_grown->ess_fraction && whole->reverse_kl == of_grown->reverse_kl);
    assert_true(half->ess_fraction_standard_error > 0.01);
    eqf_evaluation_destroy(&grown);
    eqf_evaluation_destroy(&fixed[0]);
    eqf_evaluation_destroy(&fixed[1]);
}

static void test_limit(void **state) {
    const fixture *f = *state;
    eqf_evaluation_options options = EQF_EVALUATION_OPTIONS_INIT;
    options.num_samples = 9000;
    options.max_samples = 11000; /* no multiple */
    options.ess_error = 1e-9;
    eqf_evaluation *evaluation = evaluate(f, &options);
    assert_int_equal(eqf_evaluation_figures_of(evaluation)->num_samples, 11000);
    assert_true(warns(evaluation, EQF_WARNING_UNCERTAIN_ESS));
    eqf_evaluation_destroy(&evaluation);
    options.max_samples = 8999;
    assert_int_equal(eqf_evaluate(f->ctx, f->model, &options, NUM_DATA, f->x, &evaluation), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(f->ctx), "max_samples is 8999"));
    options.max_samples = 0;
    static const double bad[] = {0, -1, 1, NAN};
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
        options.ess_error = bad[b];
        assert_int_equal(eqf_evaluate(f->ctx, f->model, &options, NUM_DATA, f->x, &evaluation),
                         EQF_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(eqf_context_error(f->ctx), "ess_error"));
    }
}

/* On data of the target both agree; reverse KL is what its definition says; on other data a warning. */
static void test_two_ways(void **state) {
    const fixture *f = *state;
    eqf_evaluation_options options = EQF_EVALUATION_OPTIONS_INIT;
    options.num_samples = 20000;
    eqf_evaluation *evaluation = evaluate(f, &options);
    const eqf_evaluation_figures *figures = eqf_evaluation_figures_of(evaluation);
    const double error = hypot(figures->ess_fraction_standard_error, figures->ess_fraction_data_standard_error);
    print_message("ESS %.4f, from the data %.4f, error %.4f; KL %.4f, reverse %.4f +- %.4f, above the data %.4f\n",
                  figures->ess_fraction, figures->ess_fraction_data, error, figures->kl_direct, figures->reverse_kl,
                  figures->reverse_kl_standard_error, figures->above_data_fraction);
    assert_true(fabs(figures->ess_fraction - figures->ess_fraction_data) < 4 * error);
    assert_false(warns(evaluation, EQF_WARNING_ESS_DISAGREES));
    print_message("ln Z %.4f +- %.4f, with the data %.4f +- %.4f, known %.4f\n", figures->log_z,
                  figures->log_z_standard_error, figures->log_z_bar, figures->log_z_bar_standard_error,
                  figures->known_log_z);
    assert_true(fabs(figures->log_z_bar - figures->known_log_z) < 4 * figures->log_z_bar_standard_error);
    assert_true(figures->log_z_bar_standard_error < figures->log_z_standard_error);
    const float *energy = eqf_evaluation_sample_energies(evaluation), *data = eqf_evaluation_data_energies(evaluation);
    const float *log_prob = eqf_evaluation_sample_log_probs(evaluation);
    double sum = 0, highest = -INFINITY;
    size_t num_above = 0;
    for (size_t b = 0; b < 20000; b++) sum += (double)log_prob[b] + (double)energy[b];
    for (size_t b = 0; b < NUM_DATA; b++) highest = fmax(highest, data[b]);
    for (size_t b = 0; b < 20000; b++) num_above += energy[b] > highest;
    assert_true(fabs(sum / 20000 + figures->known_log_z - figures->reverse_kl) < 1e-9);
    assert_true(figures->reverse_kl > -4 * figures->reverse_kl_standard_error);
    assert_true(fabs(figures->above_data_fraction - (double)num_above / 20000) < 1e-12);
    eqf_evaluation_destroy(&evaluation);

    /* Only pairs that are close: not what the target is, and the model is better there. */
    float *close = malloc(NUM_DATA * DOF * sizeof *close);
    size_t num_close = 0;
    for (size_t b = 0; b < NUM_DATA; b++) {
        const float *x = f->x + b * DOF;
        if (hypotf(x[0] - x[2], x[1] - x[3]) < 4) memcpy(close + num_close++ * DOF, x, DOF * sizeof *x);
    }
    assert_true(num_close > 500);
    TEST_OK(f->ctx, eqf_evaluate(f->ctx, f->model, &options, num_close, close, &evaluation));
    figures = eqf_evaluation_figures_of(evaluation);
    print_message("close pairs alone: ESS %.4f, from the data %.4f\n", figures->ess_fraction,
                  figures->ess_fraction_data);
    assert_true(warns(evaluation, EQF_WARNING_ESS_DISAGREES));
    free(close);
    eqf_evaluation_destroy(&evaluation);

    /* The target at another temperature, with data that are not of it. */
    eqf_potential_options colder = eqf_model_options_of(f->model)->potential;
    colder.temperature = 0.4;
    options.target = &colder;
    TEST_OK(f->ctx, eqf_evaluate(f->ctx, f->model, &options, NUM_DATA, f->x, &evaluation));
    figures = eqf_evaluation_figures_of(evaluation);
    print_message("data of another temperature: ESS %.4f, from the data %.4f\n", figures->ess_fraction,
                  figures->ess_fraction_data);
    assert_true(warns(evaluation, EQF_WARNING_ESS_DISAGREES));
    assert_true(isfinite(figures->reverse_kl)); /* with ln Z of the weights */
    eqf_evaluation_destroy(&evaluation);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sample_grows), cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_two_ways)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
