/* Samples that the host weighs. The log-dispersion: its value from log-densities and energies, its gradient against
 * differences, zero where the model is the target, and a training that makes it fall. The cap on samples: gradients of
 * single samples, added up by hand. */
#include <math.h>
#include <stdlib.h>

#include "host_potential.h"
#include "host_reference.h"
#include "support.h"
#include "train_internal.h"

enum { DOF = 8, NUM_DATA = 300, BATCH = 37, NUM_HELD_OUT = 60 };

/* Configurations of dw4 near its minima, of no density in particular. */
static float *make_data(void) {
    const eqf_potential_options *potential = &eqf_preset_find("dw4")->model->potential;
    float *x = test_floats(NUM_DATA * DOF);
    for (unsigned b = 0; b < NUM_DATA; ++b) {
        double row[DOF];
        eqf__host_lattice(potential, b, row);
        for (unsigned c = 0; c < DOF; ++c) row[c] = 0.5 * row[c] + 0.3 * eqf__host_number(b * DOF + c, 4);
        eqf__host_centre(4, 2, row);
        for (unsigned c = 0; c < DOF; ++c) x[b * DOF + c] = (float)row[c];
    }
    return x;
}

static eqf_model *make_model(eqf_context *ctx, eqf_dynamics_kind kind) {
    eqf_model_options options = *eqf_preset_find("dw4")->model;
    options.dynamics.kind = kind;
    options.dynamics.width = 16;
    options.dynamics.depth = 1;
    options.integrator.num_steps = 8;
    options.prior_scale = 1.5;
    options.seed = 5;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

static eqf_training_options make_options(void) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = BATCH;
    options.num_steps = 60;
    options.num_warmup_steps = 5;
    options.validation_interval = 20;
    options.dispersion_weight = 0.5;
    options.integration_penalty = 0;
    options.learning_rate = 1e-2;
    options.field_evaluation = EQF_FIELD_DIRECT;
    return options;
}

static eqf_trainer *make_trainer(eqf_context *ctx, const eqf_model *model, const float *x) {
    const eqf_training_options options = make_options();
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_DATA - NUM_HELD_OUT, x + NUM_HELD_OUT * DOF, NUM_HELD_OUT,
                                    x, &trainer));
    return trainer;
}

/* The first batch's dispersion; its configurations go to rows [BATCH, DOF] unless that is NULL. */
static double dispersion_of(eqf_trainer *trainer, const float *params, float *rows) {
    const eqf__batch_share share = eqf__share_of(trainer, BATCH);
    TEST_OK(trainer->ctx, eqf_flow_set_params(trainer->flow, params));
    TEST_OK(trainer->ctx, eqf__terms[EQF__TERM_DISPERSION].draw(trainer, &share));
    const size_t V = trainer->flow->vector_width, numbers = (BATCH + V - 1) / V * V * DOF;
    float *blocked = test_floats(numbers), sums[EQF__NUM_SUMS];
    TEST_OK(trainer->ctx, eqf__buffer_read(trainer->ctx, trainer->workspace.d_x, 0, numbers * sizeof(float), blocked));
    for (size_t b = 0; rows != NULL && b < BATCH; ++b)
        for (size_t c = 0; c < DOF; ++c) rows[b * DOF + c] = blocked[(b / V * DOF + c) * V + b % V];
    free(blocked);
    TEST_OK(trainer->ctx, eqf__terms[EQF__TERM_DISPERSION].launch(trainer, share.count));
    TEST_OK(trainer->ctx, eqf__buffer_read(trainer->ctx, trainer->workspace.d_sums, 0, sizeof sums, sums));
    return sums[EQF__SUM_DISPERSION];
}

static double expected_dispersion(eqf_context *ctx, eqf_flow *flow, const float *rows) {
    float log_prob[BATCH];
    double w[BATCH], mean = 0, square = 0;
    TEST_OK(ctx, eqf_flow_log_prob(flow, BATCH, rows, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; ++b) {
        double x[DOF];
        for (unsigned c = 0; c < DOF; ++c) x[c] = (double)rows[b * DOF + c];
        w[b] = (double)log_prob[b] + eqf__host_energy(&eqf_preset_find("dw4")->model->potential, x);
        mean += w[b] / BATCH;
    }
    for (unsigned b = 0; b < BATCH; ++b) square += (w[b] - mean) * (w[b] - mean) / BATCH;
    return square;
}

static void check_kind(eqf_dynamics_kind kind) {
    eqf_context *ctx = test_context();
    float *x = make_data(), rows[BATCH * DOF];
    eqf_model *model = make_model(ctx, kind);
    eqf_trainer *trainer = make_trainer(ctx, model, x);
    const size_t num = trainer->num_trained, num_params = trainer->num_params;
    float *params = test_floats(num_params), *moved = test_floats(num_params), *gradient = test_floats(num);
    for (size_t i = 0; i < num_params; ++i)
        params[i] = eqf_model_params(model)[i] + (i < num ? 0.05f * (float)eqf__host_number((unsigned)i, 7) : 0);
    const double value = dispersion_of(trainer, params, rows), expected = expected_dispersion(ctx, trainer->flow, rows);
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, num * sizeof(float), gradient));
    print_message("dispersion %.5f, from log-densities and energies %.5f\n", value, expected);
    assert_true(expected > 0.1 && fabs(value / expected - 1) < 1e-3);
    double square = 0, loss[2];
    for (size_t i = 0; i < num; ++i) square += (double)gradient[i] * gradient[i];
    const double h = 2e-3 * expected / square;
    for (unsigned side = 0; side < 2; ++side) {
        for (size_t i = 0; i < num_params; ++i)
            moved[i] = params[i] + (i < num ? (float)((side ? h : -h) * (double)gradient[i]) : 0);
        loss[side] = dispersion_of(trainer, moved, NULL);
    }
    print_message("slope %.5g, by differences %.5g\n", square, (loss[1] - loss[0]) / (2 * h));
    assert_true(fabs((loss[1] - loss[0]) / (2 * h) / square - 1) < 0.02);
    eqf_trainer_destroy(&trainer);
    free(params);
    free(moved);
    free(gradient);
    /* and in training, as a term beside the likelihood */
    trainer = make_trainer(ctx, model, x);
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    double first = NAN;
    while (!now.is_done) {
        TEST_OK(ctx, eqf_trainer_advance(trainer, 5, &now));
        if (now.step == 20) first = now.held_out_dispersion;
        if (isfinite(now.dispersion))
            assert_true(fabs(now.loss - (now.nll + 0.5 * now.dispersion)) < 1e-3 * fabs(now.loss));
    }
    print_message("held out %.4f at step 20, %.4f at the end\n", first, now.held_out_dispersion);
    assert_true(now.held_out_dispersion < first && isfinite(now.held_out_nll));
    assert_string_equal(now.stage_name, "mixture");
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    free(x);
}

static void test_dense(void **state) {
    (void)state;
    check_kind(EQF_DYNAMICS_DENSE);
}

static void test_radial(void **state) {
    (void)state;
    check_kind(EQF_DYNAMICS_RADIAL);
}

/* Gradients of single samples with the factors of the cap add up to that of the batch; a cap that nothing reaches
 * changes no bit. */
static void test_cap(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { FEW = 8 };
    float *x = make_data();
    for (unsigned c = 0; c < DOF; ++c) x[2 * DOF + c] *= 3; /* one is improbable */
    eqf_model *model = make_model(ctx, EQF_DYNAMICS_DENSE);
    const size_t num = eqf_model_num_trained(model);
    float *gradients[3] = {test_floats(num), test_floats(num), test_floats(num)};
    const double caps[3] = {0, 1e9, 0.5};
    for (unsigned k = 0; k < 3; ++k) {
        eqf_training_options options = make_options();
        options.dispersion_weight = 0;
        options.batch_size = FEW;
        options.sample_cap = caps[k];
        eqf_trainer *trainer;
        TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, FEW, x, 0, NULL, &trainer));
        const eqf__batch_share share = eqf__share_of(trainer, FEW);
        TEST_OK(ctx, eqf__field_prepare(trainer->flow->field, false));
        TEST_OK(ctx, eqf__terms[EQF__TERM_NLL].draw(trainer, &share));
        TEST_OK(ctx, eqf__terms[EQF__TERM_NLL].launch(trainer, share.count));
        TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, num * sizeof(float), gradients[k]));
        eqf_trainer_destroy(&trainer);
    }
    assert_memory_equal(gradients[0], gradients[1], num * sizeof(float));
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    double nll[FEW], mean = 0, *expected = calloc(num, sizeof *expected), worst = 0, largest = 0;
    float *single[FEW];
    for (unsigned b = 0; b < FEW; ++b) {
        eqf_loss loss = EQF_LOSS_INIT;
        single[b] = test_floats(num);
        TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0, 1, x + b * DOF, &loss, single[b], NULL));
        nll[b] = loss.nll;
        mean += nll[b] / FEW;
    }
    bool has_capped = false;
    for (unsigned b = 0; b < FEW; ++b) {
        const double factor = nll[b] - mean > 0.5 ? 0.5 / (nll[b] - mean) : 1;
        has_capped = has_capped || factor < 0.5;
        for (size_t i = 0; i < num; ++i) expected[i] += factor * (double)single[b][i] / FEW;
        free(single[b]);
    }
    for (size_t i = 0; i < num; ++i) {
        worst = fmax(worst, fabs(expected[i] - (double)gradients[2][i]));
        largest = fmax(largest, fabs(expected[i]));
    }
    print_message("capped gradient: %.1e of its largest number off\n", worst / largest);
    assert_true(has_capped && worst < 1e-4 * largest);
    free(expected);
    for (unsigned k = 0; k < 3; ++k) free(gradients[k]);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dense), cmocka_unit_test(test_radial),
                                       cmocka_unit_test(test_cap)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
