/* Flow matching and stages: the field's velocity alone, the loss's gradient, the known least loss of Gaussian data, and
 * the same bits however many threads make the pairs and wherever training is interrupted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host_reference.h"
#include "support.h"
#include "test_files.h"
#include "train_internal.h"

enum { N = 3, D = 2, DOF = N * D, NUM_DATA = 600, NUM_HELD_OUT = 200 };
static const double prior_scale = 1.5, data_scale = 0.6;

/* Mean-free Gaussian data of standard deviation data_scale. */
static float *gaussian_data(size_t count) {
    float *x = test_floats(count * DOF);
    for (size_t b = 0; b < count; ++b) {
        double row[DOF + 4];
        eqf__host_normals(N, D, data_scale, 31, b, EQF__STREAM_PRIOR, row);
        for (unsigned c = 0; c < DOF; ++c) x[b * DOF + c] = (float)row[c];
    }
    return x;
}

static eqf_model *make_model(eqf_context *ctx) {
    eqf_model_options options = *eqf_preset_find("dw4")->model;
    options.potential.num_particles = N;
    options.potential.space_dim = D;
    options.prior_scale = prior_scale;
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = 24;
    options.dynamics.depth = 2;
    options.dynamics.activation = EQF_ACTIVATION_SILU;
    options.integrator.num_steps = 8;
    options.seed = 2;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

static eqf_training_options matching_options(uint64_t num_steps) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.objective = EQF_OBJECTIVE_FLOW_MATCHING;
    options.batch_size = 120; /* no multiple of all vector widths */
    options.num_steps = num_steps;
    options.num_warmup_steps = num_steps / 10;
    options.validation_interval = num_steps / 4 > 0 ? num_steps / 4 : 1;
    options.learning_rate = 1e-2;
    options.seed = 4;
    return options;
}

static eqf_trainer *make_trainer(eqf_context *ctx, unsigned num_stages, const eqf_training_options *const *stages) {
    eqf_model *model = make_model(ctx);
    float *x = gaussian_data(NUM_DATA);
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create_stages(ctx, model, num_stages, stages, NUM_DATA - NUM_HELD_OUT,
                                           x + NUM_HELD_OUT * DOF, NUM_HELD_OUT, x, &trainer));
    free(x);
    eqf_model_destroy(&model);
    return trainer;
}

static float *read_buffer(eqf_context *ctx, cl_mem buffer, size_t count) {
    float *numbers = test_floats(count);
    TEST_OK(ctx, eqf__buffer_read(ctx, buffer, 0, count * sizeof(float), numbers));
    return numbers;
}

static void assert_close(size_t count, const float *a, const float *b) {
    double scale = 0;
    for (size_t i = 0; i < count; ++i) scale = fmax(scale, fabs((double)a[i]));
    assert_true(scale > 0);
    for (size_t i = 0; i < count; ++i) assert_true(fabs((double)a[i] - (double)b[i]) <= 1e-5 * scale);
}

/* Without the divergence a field gives the same velocities, and the same products with its Jacobians as with adjoints
 * of 0. */
static void test_velocity_alone(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_training_options options = matching_options(1), *stage = &options;
    eqf_trainer *trainer = make_trainer(ctx, 1, &stage);
    eqf_flow *flow = trainer->flow;
    eqf__field *field = flow->field;
    const eqf__noise noise = {0, 0};
    const size_t V = flow->vector_width, blocks = (100 + V - 1) / V, numbers = blocks * V, state_size = numbers * DOF;
    float *h_x = test_floats(state_size), *h_times = test_floats(numbers), *h_a = test_floats(state_size);
    for (size_t i = 0; i < state_size; ++i) h_x[i] = (float)eqf__host_number((unsigned)i, 1);
    for (size_t i = 0; i < state_size; ++i) h_a[i] = (float)eqf__host_number((unsigned)i, 2);
    for (size_t i = 0; i < numbers; ++i) h_times[i] = (float)((double)i / (double)numbers);
    const size_t grad_size = field->batched->grad_size;
    cl_mem d_x, d_times, d_a, d_zero, d_velocity, d_divergence, d_adjoint[2], d_grad[2];
    TEST_OK(ctx, eqf__buffer_create(ctx, state_size * sizeof(float), h_x, "x", &d_x));
    TEST_OK(ctx, eqf__buffer_create(ctx, state_size * sizeof(float), h_a, "a", &d_a));
    TEST_OK(ctx, eqf__buffer_create(ctx, numbers * sizeof(float), h_times, "t", &d_times));
    TEST_OK(ctx, eqf__buffer_create(ctx, numbers * sizeof(float), NULL, "0", &d_zero));
    TEST_OK(ctx, eqf__fill_zero(ctx, d_zero, numbers * sizeof(float)));
    TEST_OK(ctx, eqf__buffer_create(ctx, state_size * sizeof(float), NULL, "v", &d_velocity));
    TEST_OK(ctx, eqf__buffer_create(ctx, numbers * sizeof(float), NULL, "div", &d_divergence));
    TEST_OK(ctx, eqf__field_prepare(field, false));
    float *velocity[2], *adjoint[2], *grad[2];
    for (unsigned alone = 0; alone < 2; ++alone) {
        TEST_OK(ctx, eqf__buffer_create(ctx, state_size * sizeof(float), NULL, "adjoint", &d_adjoint[alone]));
        TEST_OK(ctx, eqf__fill_zero(ctx, d_adjoint[alone], state_size * sizeof(float)));
        TEST_OK(ctx, eqf__buffer_create(ctx, grad_size * sizeof(float), NULL, "gradient", &d_grad[alone]));
        TEST_OK(ctx, eqf__fill_zero(ctx, d_grad[alone], grad_size * sizeof(float)));
        TEST_OK(ctx,
                field->batched->evaluate(field, &noise, blocks, d_x, d_times, d_velocity, alone ? NULL : d_divergence));
        velocity[alone] = read_buffer(ctx, d_velocity, state_size);
        TEST_OK(ctx, field->batched->vjp(field, &noise, blocks, d_x, d_times, d_a, alone ? NULL : d_zero,
                                         d_adjoint[alone], d_grad[alone]));
        adjoint[alone] = read_buffer(ctx, d_adjoint[alone], state_size);
        grad[alone] = read_buffer(ctx, d_grad[alone], grad_size);
        eqf__buffer_destroy(&d_adjoint[alone]);
        eqf__buffer_destroy(&d_grad[alone]);
    }
    assert_close(state_size, velocity[0], velocity[1]);
    assert_close(state_size, adjoint[0], adjoint[1]);
    assert_close(grad_size, grad[0], grad[1]);
    for (unsigned alone = 0; alone < 2; ++alone) {
        free(velocity[alone]);
        free(adjoint[alone]);
        free(grad[alone]);
    }
    cl_mem *buffers[] = {&d_x, &d_times, &d_a, &d_zero, &d_velocity, &d_divergence};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; ++b) eqf__buffer_destroy(buffers[b]);
    free(h_x);
    free(h_times);
    free(h_a);
    eqf_trainer_destroy(&trainer);
}

/* The loss of the first batch, of the parameters that are given. */
static double loss_of(eqf_trainer *trainer, const float *params) {
    const eqf__batch_share share = eqf__share_of(trainer, trainer->options.batch_size);
    TEST_OK(trainer->ctx, eqf_flow_set_params(trainer->flow, params));
    TEST_OK(trainer->ctx, eqf__terms[EQF__TERM_FLOW_MATCHING].draw(trainer, &share));
    TEST_OK(trainer->ctx, eqf__terms[EQF__TERM_FLOW_MATCHING].launch(trainer, share.count));
    float sums[EQF__NUM_SUMS];
    TEST_OK(trainer->ctx, eqf__buffer_read(trainer->ctx, trainer->workspace.d_sums, 0, sizeof sums, sums));
    assert_true(sums[EQF__SUM_FLOW_MATCHING_ERROR] == 0);
    return sums[EQF__SUM_FLOW_MATCHING];
}

/* The gradient against differences along random directions; the loss itself against the pairs and the field's
 * velocities on the host. */
static void test_gradient(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_training_options options = matching_options(1), *stage = &options;
    eqf_trainer *trainer = make_trainer(ctx, 1, &stage);
    const size_t num = trainer->num_trained;
    float *params = test_floats(num), *moved = test_floats(num);
    for (size_t i = 0; i < num; ++i) params[i] = 0.3f * (float)eqf__host_number((unsigned)i, 5);
    (void)loss_of(trainer, params);
    float *gradient = read_buffer(ctx, trainer->workspace.d_gradient, num);
    for (unsigned direction = 0; direction < 3; ++direction) {
        double slope = 0, square = 0, loss[2];
        for (size_t i = 0; i < num; ++i) {
            const double e = direction == 0 ? (double)gradient[i] : eqf__host_number((unsigned)i, 10 + direction);
            square += e * e;
            slope += e * gradient[i];
        }
        const double h = 2e-3 / sqrt(square) * sqrt((double)num) * (direction == 0 ? 0.5 : 1);
        for (unsigned side = 0; side < 2; ++side) {
            for (size_t i = 0; i < num; ++i) {
                const double e = direction == 0 ? (double)gradient[i] : eqf__host_number((unsigned)i, 10 + direction);
                moved[i] = (float)(params[i] + (side ? h : -h) * e);
            }
            loss[side] = loss_of(trainer, moved);
        }
        const double difference = (loss[1] - loss[0]) / (2 * h);
        print_message("slope %.5f, by differences %.5f\n", slope, difference);
        assert_true(fabs(difference - slope) <= 0.02 * fabs(slope) + 0.02);
    }
    free(params);
    free(moved);
    free(gradient);
    eqf_trainer_destroy(&trainer);
}

static void finish(eqf_context *ctx, eqf_trainer *trainer, uint64_t cut, eqf_training_state *now) {
    *now = (eqf_training_state)EQF_TRAINING_STATE_INIT;
    for (unsigned call = 0; !now->is_done; ++call) {
        assert_true(call < 10000);
        TEST_OK(ctx, eqf_trainer_advance(trainer, cut, now));
    }
}

/* With independent pairs of Gaussians the best velocity is linear in x_t and its loss an integral: dof times the
 * variance of x - z given x_t = (1 - t) z + t x, s^2 + p^2 - (t s^2 - (1 - t) p^2)^2 / (t^2 s^2 + (1 - t)^2 p^2), over
 * t. */
static double least_loss(void) {
    const double s2 = data_scale * data_scale, p2 = prior_scale * prior_scale;
    double sum = 0;
    for (unsigned k = 0; k < 1000; ++k) {
        const double t = (k + 0.5) / 1000, covariance = t * s2 - (1 - t) * p2;
        sum += (s2 + p2 - covariance * covariance / (t * t * s2 + (1 - t) * (1 - t) * p2)) / 1000;
    }
    return (N - 1) * D * sum;
}

static void test_least_loss(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_training_options options = matching_options(600);
    const eqf_training_options *stage = &options;
    eqf_trainer *trainer = make_trainer(ctx, 1, &stage);
    eqf_training_state now;
    finish(ctx, trainer, 150, &now);
    assert_string_equal(now.stage_name, "flow_matching");
    const double least = least_loss();
    print_message("flow matching: held out %.4f, least %.4f\n", now.best_held_out_flow_matching, least);
    assert_true(isnan(now.nll) && isnan(now.held_out_nll) && isfinite(now.flow_matching));
    assert_true(fabs(now.best_held_out_flow_matching / least - 1) < 0.1); /* 800 pairs: sd about 3 % */
    eqf_model *model;
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    float *x = test_floats(2000 * DOF);
    TEST_OK(ctx, eqf_flow_sample(flow, 9, 0, 2000, x, NULL));
    double square = 0;
    for (size_t c = 0; c < 2000 * DOF; ++c) square += (double)x[c] * x[c] / (2000 * (N - 1) * D);
    print_message("samples' sd %.4f, data's %.4f\n", sqrt(square), data_scale);
    assert_true(fabs(sqrt(square) / data_scale - 1) < 0.06);
    free(x);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    eqf_trainer_destroy(&trainer);
}

/* Flow matching, then the likelihood: as it is, with other threads, and through a checkpoint in each stage and between
 * the two. */
static void test_stages(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_training_options matching = matching_options(40), likelihood = matching_options(24);
    matching.pairing = EQF_PAIRING_EQUIVARIANT;
    matching.pairing_group = 16;
    matching.clip_ratio = 2.5;
    matching.optimizer = EQF_OPTIMIZER_SOAP;
    likelihood.objective = EQF_OBJECTIVE_LIKELIHOOD;
    likelihood.learning_rate = 1e-3;
    likelihood.num_validated = 50;
    const eqf_training_options *stages[] = {&matching, &likelihood};
    char path[1024];
    snprintf(path, sizeof path, "%s", test_path("checkpoint"));
    eqf_model *first = NULL;
    const uint64_t stops[] = {0, 0, 13, 40, 45};
    for (unsigned run = 0; run < 5; ++run) {
        matching.num_pairing_threads = run == 0 ? 1 : 3;
        eqf_trainer *trainer = make_trainer(ctx, 2, stages);
        eqf_training_state now = EQF_TRAINING_STATE_INIT;
        while (now.step < stops[run]) TEST_OK(ctx, eqf_trainer_advance(trainer, stops[run] - now.step, &now));
        if (stops[run] > 0) {
            TEST_OK(ctx, eqf_trainer_save_checkpoint(trainer, path));
            eqf_trainer_destroy(&trainer);
            trainer = make_trainer(ctx, 2, stages);
            TEST_OK(ctx, eqf_trainer_restore_checkpoint(trainer, path));
        }
        finish(ctx, trainer, run == 0 ? 1000 : 7, &now);
        assert_int_equal(now.step, 64);
        assert_int_equal(now.stage, 1);
        assert_int_equal(now.stage_step, 24);
        assert_string_equal(now.stage_name, "nll");
        assert_true(isfinite(now.best_held_out_nll) && isnan(now.held_out_flow_matching));
        eqf_model *model;
        TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
        size_t num_rows;
        const eqf_history_row *rows = eqf_model_history(model, &num_rows);
        assert_int_equal(num_rows, 8);
        assert_true(isfinite(rows[3].held_out_flow_matching) && isnan(rows[3].nll) && isnan(rows[4].flow_matching) &&
                    isfinite(rows[4].held_out_nll) && rows[4].step == 46);
        if (first == NULL) {
            first = model;
        } else {
            assert_memory_equal(eqf_model_params(first), eqf_model_params(model),
                                eqf_model_num_params(model) * sizeof(float));
            eqf_model_destroy(&model);
        }
        eqf_trainer_destroy(&trainer);
    }
    eqf_model_destroy(&first);
    unlink(path);
}

/* A field that is no batched one says so; data are needed. */
static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_model_create(ctx, eqf_preset_find("dw2")->model, &model));
    eqf_training_options options = matching_options(4);
    const float x[4] = {1, 0, -1, 0};
    assert_int_equal(eqf_trainer_create(ctx, model, &options, 1, x, 0, NULL, &trainer), EQF_ERROR_UNSUPPORTED);
    print_message("%s\n", eqf_context_error(ctx));
    eqf_model_destroy(&model);
    model = make_model(ctx);
    assert_int_equal(eqf_trainer_create(ctx, model, &options, 0, NULL, 0, NULL, &trainer), EQF_ERROR_INVALID_ARGUMENT);
    print_message("%s\n", eqf_context_error(ctx));
    assert_null(trainer);
    const eqf_training_options *none = NULL;
    assert_int_equal(eqf_trainer_create_stages(ctx, model, 0, &none, 0, NULL, 0, NULL, &trainer),
                     EQF_ERROR_INVALID_ARGUMENT);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_velocity_alone), cmocka_unit_test(test_gradient), cmocka_unit_test(test_least_loss),
        cmocka_unit_test(test_stages),         cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
