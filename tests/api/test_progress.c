/* Progress of long calls: what is told, that a call ends when asked, and that the pieces change no bit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { NUM = 3000 };

typedef struct watcher {
    unsigned num_calls, stop_at; /* stop_at: the call that asks to stop, from 1; 0: none */
    double last_done, total;
    bool has_gone_back;
    char stage[32];
} watcher;

static int watch(void *user, const eqf_progress *now) {
    watcher *w = user;
    assert_int_equal(now->struct_size, sizeof *now);
    assert_non_null(now->stage);
    if (strcmp(w->stage, now->stage) == 0 && now->done < w->last_done) w->has_gone_back = true;
    snprintf(w->stage, sizeof w->stage, "%s", now->stage);
    assert_true(now->done >= 0 && now->done <= now->total);
    w->last_done = now->done;
    w->total = now->total;
    return ++w->num_calls == w->stop_at;
}

static eqf_model *make_model(eqf_context *ctx) {
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

static void test_pieces_change_no_bit(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(ctx);
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    const size_t num_dof = eqf_flow_num_dof(flow);
    float *x[2], *log_prob[2], *back[2], *energy[2];
    watcher w = {0};
    for (int i = 0; i < 2; i++) {
        x[i] = malloc(NUM * num_dof * sizeof(float));
        log_prob[i] = malloc(NUM * sizeof(float));
        back[i] = malloc(NUM * sizeof(float));
        energy[i] = malloc(NUM * sizeof(float));
        TEST_OK(ctx, eqf_context_set_progress(ctx, i == 1 ? watch : NULL, &w));
        TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, NUM, x[i], log_prob[i]));
        if (i == 1) {
            assert_string_equal(w.stage, "sample");
            assert_true(w.num_calls > 2 && w.total == NUM &&
                        !w.has_gone_back); /* the first piece is smaller than NUM */
        }
        TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, x[i], back[i], NULL));
        if (i == 1) assert_string_equal(w.stage, "log-prob");
        TEST_OK(ctx, eqf_potential_evaluate(ctx, &eqf_model_options_of(model)->potential, NUM, x[i], energy[i], NULL));
        if (i == 1) assert_string_equal(w.stage, "energies");
    }
    TEST_OK(ctx, eqf_context_set_progress(ctx, NULL, NULL));
    assert_memory_equal(x[0], x[1], NUM * num_dof * sizeof(float));
    assert_memory_equal(log_prob[0], log_prob[1], NUM * sizeof(float));
    assert_memory_equal(back[0], back[1], NUM * sizeof(float));
    assert_memory_equal(energy[0], energy[1], NUM * sizeof(float));
    const unsigned num_calls = w.num_calls;
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, NUM, x[0], NULL)); /* nobody is told any more */
    assert_int_equal(w.num_calls, num_calls);
    for (int i = 0; i < 2; i++) {
        free(x[i]);
        free(log_prob[i]);
        free(back[i]);
        free(energy[i]);
    }
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* Every long call ends with INTERRUPTED when the callback says so at its first chance and at a later one, and works
 * afterwards. */
static void test_each_call_ends(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(ctx);
    const eqf_potential_options *potential = &eqf_model_options_of(model)->potential;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    float *x = malloc(NUM * 8 * sizeof *x), *y = malloc(NUM * 8 * sizeof *y), *value = malloc(NUM * sizeof *value);
    double *wide = malloc(NUM * 8 * sizeof *wide);
    eqf_quench_result *result = malloc(NUM * sizeof *result);
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, NUM, x, NULL));
    eqf_mcmc_options mcmc = EQF_MCMC_OPTIONS_INIT;
    mcmc.num_burn_in = 500;
    const eqf_round_trip loose = {1, 1};
    eqf_round_trip trip;
    unsigned num_steps;
    eqf_evaluation_options few = EQF_EVALUATION_OPTIONS_INIT;
    few.num_samples = 600;
    eqf_evaluation *evaluation = NULL;
    static const char *const names[] = {"sample", "log_prob",   "score",        "transform", "energies", "mcmc",
                                        "quench", "round trip", "choose steps", "evaluate",  "selftest"};
    for (unsigned which = 0; which < sizeof names / sizeof names[0]; which++)
        for (unsigned stop_at = 1; stop_at <= 2; stop_at++) {
            watcher w = {.stop_at = stop_at};
            eqf_status status = EQF_OK;
            TEST_OK(ctx, eqf_context_set_progress(ctx, watch, &w));
            switch (which) {
                case 0: status = eqf_flow_sample(flow, 1, 0, NUM, y, NULL); break;
                case 1: status = eqf_flow_log_prob(flow, NUM, x, value, NULL); break;
                case 2: status = eqf_flow_score(flow, NUM, x, value, NULL, y); break;
                case 3: status = eqf_flow_transform(flow, EQF_DATA_TO_PRIOR, NUM, x, y, value); break;
                case 4: status = eqf_potential_evaluate(ctx, potential, NUM, x, value, NULL); break;
                case 5: status = eqf_mcmc_sample(ctx, potential, &mcmc, 500, y, NULL, NULL); break;
                case 6: status = eqf_minima_quench(ctx, potential, NULL, 500, x, wide, NULL, NULL, result, NULL); break;
                case 7: status = eqf_flow_round_trip(flow, 1, NUM, &trip); break;
                case 8: status = eqf_flow_choose_steps(ctx, model, NULL, 1, NUM, &loose, &num_steps, &trip); break;
                case 9: status = eqf_evaluate(ctx, model, &few, 500, x, &evaluation); break;
                case 10: status = eqf_selftest(ctx, NULL, NULL); break;
            }
            TEST_OK(ctx, eqf_context_set_progress(ctx, NULL, NULL));
            if (status != EQF_ERROR_INTERRUPTED || w.num_calls != stop_at)
                fail_msg("%s asked to stop at call %u: %s after %u calls", names[which], stop_at,
                         eqf_status_name(status), w.num_calls);
            assert_non_null(strstr(eqf_context_error(ctx), "request"));
            assert_null(evaluation);
        }
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, NUM, y, NULL)); /* all objects still work */
    assert_memory_equal(x, y, NUM * 8 * sizeof *x);
    free(x);
    free(y);
    free(value);
    free(wide);
    free(result);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* A field whose divergence is costly asks after every step, so that a few samples of many particles can be stopped. */
static void test_steps_of_a_costly_field(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { FEW = 3, NUM_STEPS = 5, DOF = 8 };
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    eqf_flow_options of_flow = EQF_FLOW_OPTIONS_INIT;
    of_flow.num_steps = NUM_STEPS;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &of_flow, &flow));
    float x[2][FEW * DOF], log_prob[2][FEW];
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, FEW, x[0], log_prob[0]));
    watcher w = {0};
    TEST_OK(ctx, eqf_context_set_progress(ctx, watch, &w));
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, FEW, x[1], log_prob[1]));
    assert_true(w.num_calls >= 1 + NUM_STEPS);
    assert_true(!w.has_gone_back && w.total == FEW);
    w = (watcher){.stop_at = 3};
    assert_int_equal(eqf_flow_log_prob(flow, FEW, x[0], log_prob[1], NULL), EQF_ERROR_INTERRUPTED);
    assert_int_equal(w.num_calls, 3);
    TEST_OK(ctx, eqf_context_set_progress(ctx, NULL, NULL));
    TEST_OK(ctx, eqf_flow_sample(flow, 7, 0, FEW, x[1], log_prob[1]));
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    assert_memory_equal(log_prob[0], log_prob[1], sizeof log_prob[0]);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* A trainer that was stopped goes on to the same bits. */
static void test_trainer_goes_on(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(ctx), *best[2];
    float *x = test_configurations(test_system_named("dw4"), 300, 5);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = 16;
    options.num_steps = 600;
    options.validation_interval = 300;
    unsigned num_stops = 0;
    for (int i = 0; i < 2; i++) {
        eqf_trainer *trainer;
        eqf_training_state now = EQF_TRAINING_STATE_INIT;
        TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, 200, x, 100, x + 200 * 8, &trainer));
        watcher w = {.stop_at = 1};
        while (!now.is_done) {
            w.num_calls = 0;
            TEST_OK(ctx, eqf_context_set_progress(ctx, i == 1 && num_stops < 50 ? watch : NULL, &w));
            const eqf_status status = eqf_trainer_advance(trainer, 1000, &now);
            if (status == EQF_ERROR_INTERRUPTED)
                num_stops++;
            else
                assert_int_equal(status, EQF_OK);
        }
        TEST_OK(ctx, eqf_context_set_progress(ctx, NULL, NULL));
        TEST_OK(ctx, eqf_trainer_best_model(trainer, &best[i]));
        eqf_trainer_destroy(&trainer);
    }
    print_message("stopped %u times\n", num_stops);
    assert_true(num_stops > 0);
    assert_memory_equal(eqf_model_params(best[0]), eqf_model_params(best[1]),
                        eqf_model_num_params(model) * sizeof(float));
    size_t num_rows[2];
    eqf_model_history(best[0], &num_rows[0]);
    eqf_model_history(best[1], &num_rows[1]);
    assert_int_equal(num_rows[0], num_rows[1]);
    eqf_model_destroy(&best[0]);
    eqf_model_destroy(&best[1]);
    eqf_model_destroy(&model);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_change_no_bit), cmocka_unit_test(test_each_call_ends),
        cmocka_unit_test(test_steps_of_a_costly_field), cmocka_unit_test(test_trainer_goes_on)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
