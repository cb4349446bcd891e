/* Path gradients: the mean is that of the discretised flow's exact gradient, in both directions, and the variance falls
 * as the flow comes near its target. A dense field, and two particles on a spring: equilibrium is a Gaussian, which a
 * small field can reach. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host_reference.h"
#include "support.h"
#include "train_internal.h"

enum { DOF = 4, NUM_DATA = 8000, BATCH = 160, NUM_BATCHES = 40, NUM_PROJECTIONS = 6 };

static const double data_scale = 0.6;

static eqf_model *make_model(eqf_context *ctx) {
    eqf_model_options options = *eqf_preset_find("dw2")->model;
    options.potential.distance_offset = 0; /* u = quadratic d^2, d^2 = 2 |x|^2 for two particles about their centre */
    options.potential.quadratic = 1 / (4 * data_scale * data_scale);
    options.potential.quartic = 0;
    options.prior_scale = 1.5;
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = 24;
    options.dynamics.depth = 2;
    options.dynamics.activation = EQF_ACTIVATION_SILU;
    options.integrator.num_steps = 6;
    options.seed = 2;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

static float *make_data(void) {
    float *x = test_floats(NUM_DATA * DOF);
    for (size_t b = 0; b < NUM_DATA; ++b) {
        double row[DOF + 4];
        eqf__host_normals(2, 2, data_scale, 31, b, EQF__STREAM_PRIOR, row);
        for (unsigned c = 0; c < DOF; ++c) x[b * DOF + c] = (float)row[c];
    }
    return x;
}

static eqf_training_options options_of(eqf_gradient gradient, bool is_energy) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.gradient = gradient;
    options.batch_size = options.num_generated = BATCH;
    options.num_steps = NUM_BATCHES;
    options.integration_penalty = 0;
    options.nll_weight_start = options.nll_weight_end = !is_energy;
    options.seed = 3;
    return options;
}

/* The model after num_steps of flow matching, which begins near the target, and then of likelihood. */
static void improve(eqf_context *ctx, eqf_model **model, const float *x, uint64_t num_steps) {
    if (num_steps == 0) return;
    eqf_training_options matching = EQF_TRAINING_OPTIONS_INIT, likelihood = EQF_TRAINING_OPTIONS_INIT;
    matching.objective = EQF_OBJECTIVE_FLOW_MATCHING;
    matching.num_steps = matching.validation_interval = num_steps;
    matching.optimizer = EQF_OPTIMIZER_SOAP;
    matching.learning_rate = 1e-2;
    matching.num_warmup_steps = likelihood.num_warmup_steps = 10;
    matching.batch_size = likelihood.batch_size = BATCH;
    likelihood.num_steps = likelihood.validation_interval = num_steps / 10;
    likelihood.learning_rate = 2e-3;
    const eqf_training_options *stages[] = {&matching, &likelihood};
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create_stages(ctx, *model, 2, stages, NUM_DATA, x, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 8, &now));
    eqf_model_destroy(model);
    TEST_OK(ctx, eqf_trainer_best_model(trainer, model));
    eqf_trainer_destroy(&trainer);
}

/* Gradients of NUM_BATCHES batches projected on random directions: means_out and variances_out [NUM_PROJECTIONS] of a
 * batch's, and all of them, projections_out [NUM_BATCHES][NUM_PROJECTIONS]; the mean loss is returned. */
static double gradients_of(eqf_context *ctx, const eqf_model *model, const float *x, eqf_gradient gradient,
                           bool is_energy, double *projections_out, double *variance_out) {
    const eqf_training_options options = options_of(gradient, is_energy);
    const eqf__term_kind kind = is_energy ? EQF__TERM_ENERGY : EQF__TERM_NLL;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_DATA, x, 0, NULL, &trainer));
    const size_t num = trainer->num_trained;
    float *got = test_floats(num), sums[EQF__NUM_SUMS];
    double loss = 0, *sum = calloc(num, sizeof *sum), square = 0, mean_square = 0;
    TEST_OK(ctx, eqf__field_prepare(trainer->flow->field, false));
    for (; trainer->step < NUM_BATCHES; ++trainer->step) {
        const eqf__batch_share share = eqf__share_of(trainer, BATCH);
        TEST_OK(ctx, eqf__terms[kind].draw(trainer, &share));
        TEST_OK(ctx, eqf__terms[kind].launch(trainer, share.count));
        TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, num * sizeof(float), got));
        TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_sums, 0, sizeof sums, sums));
        loss += sums[2 * kind] / (double)NUM_BATCHES;
        double *projections = projections_out + trainer->step * NUM_PROJECTIONS;
        for (unsigned p = 0; p < NUM_PROJECTIONS; ++p) projections[p] = 0;
        for (size_t i = 0; i < num; ++i) {
            for (unsigned p = 0; p < NUM_PROJECTIONS; ++p)
                projections[p] += (double)got[i] * eqf__host_number((unsigned)i, 50 + p);
            sum[i] += (double)got[i] / NUM_BATCHES;
            square += (double)got[i] * got[i] / NUM_BATCHES;
        }
    }
    for (size_t i = 0; i < num; ++i) mean_square += sum[i] * sum[i];
    *variance_out = (square - mean_square) * NUM_BATCHES / (NUM_BATCHES - 1);
    free(sum);
    free(got);
    eqf_trainer_destroy(&trainer);
    return loss;
}

/* The largest difference of the two means in its standard errors, of batches that are the same in both. */
static double largest_deviation(const double *a, const double *b) {
    double worst = 0;
    for (unsigned p = 0; p < NUM_PROJECTIONS; ++p) {
        double mean = 0, square = 0;
        for (unsigned k = 0; k < NUM_BATCHES; ++k) {
            const double difference = a[k * NUM_PROJECTIONS + p] - b[k * NUM_PROJECTIONS + p];
            mean += difference / NUM_BATCHES;
            square += difference * difference / NUM_BATCHES;
        }
        worst = fmax(worst, fabs(mean) / sqrt((square - mean * mean) / (NUM_BATCHES - 1)));
    }
    return worst;
}

static double norm_of_means(const double *a) {
    double square = 0;
    for (unsigned p = 0; p < NUM_PROJECTIONS; ++p) {
        double mean = 0;
        for (unsigned k = 0; k < NUM_BATCHES; ++k) mean += a[k * NUM_PROJECTIONS + p] / NUM_BATCHES;
        square += mean * mean;
    }
    return sqrt(square);
}

static void test_mean_and_variance(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = make_data();
    const uint64_t steps[3] = {0, 100, 400};
    double ratio[2][3], *projections[2];
    for (unsigned way = 0; way < 2; ++way) projections[way] = calloc(NUM_BATCHES * NUM_PROJECTIONS, sizeof(double));
    eqf_model *model = make_model(ctx);
    for (unsigned s = 0; s < 3; ++s) {
        improve(ctx, &model, x, steps[s]);
        for (unsigned is_energy = 0; is_energy < 2; ++is_energy) {
            double variance[2], loss[2];
            loss[0] = gradients_of(ctx, model, x, EQF_GRADIENT_DTO, is_energy, projections[0], &variance[0]);
            loss[1] = gradients_of(ctx, model, x, EQF_GRADIENT_PATH, is_energy, projections[1], &variance[1]);
            const double deviation = largest_deviation(projections[0], projections[1]);
            ratio[is_energy][s] = variance[1] / variance[0];
            print_message("%s, %u steps: loss %.4f, path %.4f; means (%.3g long) differ by %.2f standard errors; "
                          "variance dto %.3g, path "
                          "%.3g\n",
                          is_energy ? "energy" : "nll", (unsigned)steps[s], loss[0], loss[1],
                          norm_of_means(projections[0]), deviation, variance[0], variance[1]);
            assert_true(deviation < 4); /* the largest of 6: by chance once in 2500 */
            assert_true(fabs(loss[0] - loss[1]) < 2e-3 * (1 + fabs(loss[0])));
        }
    }
    for (unsigned is_energy = 0; is_energy < 2; ++is_energy)
        assert_true(ratio[is_energy][2] < 0.5 * ratio[is_energy][0] && ratio[is_energy][2] < 0.5);
    for (unsigned way = 0; way < 2; ++way) free(projections[way]);
    eqf_model_destroy(&model);
    free(x);
}

/* Steps by path gradients from a rough flow: the free energy falls; long adjoints are cut to the cap. */
static void test_training_and_cap(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float *x = make_data();
    eqf_model *model = make_model(ctx);
    double *projections = calloc(NUM_BATCHES * NUM_PROJECTIONS, sizeof(double)), variance, nll[2];
    improve(ctx, &model, x, 60);
    nll[0] = gradients_of(ctx, model, x, EQF_GRADIENT_DTO, false, projections, &variance);
    eqf_training_options options = options_of(EQF_GRADIENT_PATH, false);
    options.num_steps = options.validation_interval = 60;
    options.learning_rate = 3e-3;
    options.path_cap = 20;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_DATA, x, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 8, &now));
    eqf_model_destroy(&model);
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
    eqf_trainer_destroy(&trainer);
    nll[1] = gradients_of(ctx, model, x, EQF_GRADIENT_DTO, false, projections, &variance);
    print_message("nll %.4f, after path gradients %.4f\n", nll[0], nll[1]);
    assert_true(nll[1] < nll[0] - 0.02);
    /* a tiny cap leaves a gradient that is as much smaller */
    options = options_of(EQF_GRADIENT_PATH, false);
    options.path_cap = 1e-4;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_DATA, x, 0, NULL, &trainer));
    const eqf__batch_share share = eqf__share_of(trainer, BATCH);
    TEST_OK(ctx, eqf__field_prepare(trainer->flow->field, false));
    TEST_OK(ctx, eqf__terms[EQF__TERM_NLL].draw(trainer, &share));
    TEST_OK(ctx, eqf__terms[EQF__TERM_NLL].launch(trainer, share.count));
    float *gradient = test_floats(trainer->num_trained);
    TEST_OK(ctx,
            eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, trainer->num_trained * sizeof(float), gradient));
    double square = 0;
    for (size_t i = 0; i < trainer->num_trained; ++i) square += (double)gradient[i] * gradient[i];
    assert_true(square > 0 && sqrt(square) < 0.05);
    free(gradient);
    free(projections);
    free(x);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model;
    eqf_trainer *trainer;
    const float x[DOF] = {1, 0, -1, 0};
    TEST_OK(ctx, eqf_model_create(ctx, eqf_preset_find("dw2")->model, &model));
    eqf_training_options options = options_of(EQF_GRADIENT_PATH, false);
    assert_int_equal(eqf_trainer_create(ctx, model, &options, 1, x, 0, NULL, &trainer), EQF_ERROR_UNSUPPORTED);
    print_message("%s\n", eqf_context_error(ctx));
    eqf_model_destroy(&model);
    model = make_model(ctx);
    options.divergence = EQF_DIVERGENCE_RADEMACHER;
    assert_int_equal(eqf_trainer_create(ctx, model, &options, 1, x, 0, NULL, &trainer), EQF_ERROR_UNSUPPORTED);
    print_message("%s\n", eqf_context_error(ctx));
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean_and_variance),
        cmocka_unit_test(test_training_and_cap),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
