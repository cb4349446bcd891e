/* Two contexts in two threads: data, training, samples and log-densities at the same time give the bits of one alone.
 * Under ThreadSanitizer (tests/threads/tsan.sh) no access of ours is a race. */
#define _XOPEN_SOURCE 700

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { NUM_DATA = 64, NUM_STEPS = 6, NUM_DOF = 8, NUM_THREADS = 2 };

typedef struct run {
    eqf_dynamics_kind field;
    eqf_status status;
    char message[512];
    float x[NUM_DATA * NUM_DOF], samples[NUM_DATA * NUM_DOF], log_prob[NUM_DATA], scored[NUM_DATA];
    double loss;
} run;

#define STEP(call)                                   \
    do {                                             \
        if (r->status == EQF_OK) r->status = (call); \
    } while (0)

static void train_and_sample(eqf_context *ctx, run *r) {
    eqf_model_options options = *eqf_preset_find("dw4")->model;
    eqf_training_options training = EQF_TRAINING_OPTIONS_INIT;
    eqf_model *model = NULL, *best = NULL;
    eqf_trainer *trainer = NULL;
    eqf_flow *flow = NULL;
    eqf_training_state state = EQF_TRAINING_STATE_INIT;
    eqf_mcmc_options chains = EQF_MCMC_OPTIONS_INIT;
    chains.num_burn_in = 60;
    chains.thinning = 10;
    options.dynamics.kind = r->field;
    options.dynamics.width = 8;
    options.dynamics.depth = 1;
    options.integrator.num_steps = 4;
    training.batch_size = 16;
    training.num_steps = NUM_STEPS;
    training.validation_interval = 3;
    STEP(eqf_mcmc_sample(ctx, &options.potential, &chains, NUM_DATA, r->x, NULL, NULL));
    STEP(eqf_model_create(ctx, &options, &model));
    STEP(eqf_trainer_create(ctx, model, &training, NUM_DATA, r->x, NUM_DATA, r->x, &trainer));
    STEP(eqf_trainer_advance(trainer, NUM_STEPS, &state));
    STEP(eqf_trainer_best_model(trainer, &best));
    STEP(eqf_flow_create(ctx, best, NULL, &flow));
    STEP(eqf_flow_sample(flow, 7, 0, NUM_DATA, r->samples, r->log_prob));
    STEP(eqf_flow_log_prob(flow, NUM_DATA, r->samples, r->scored, NULL));
    r->loss = state.loss;
    eqf_flow_destroy(&flow);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&best);
    eqf_model_destroy(&model);
}

static void *run_alone(void *user) {
    run *r = user;
    eqf_context *ctx = NULL;
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    const char *folder = getenv("EQFLOW_TEST_CACHE");
    options.cache_path = folder != NULL ? folder : ""; /* one folder for both, where there is one */
    r->status = eqf_context_create(&options, &ctx);
    STEP(eqf_context_open_device(ctx, NULL));
    if (r->status == EQF_OK) train_and_sample(ctx, r);
    if (r->status != EQF_OK) snprintf(r->message, sizeof r->message, "%s", ctx != NULL ? eqf_context_error(ctx) : "");
    eqf_context_destroy(&ctx);
    return NULL;
}

static run alone[NUM_THREADS], together[NUM_THREADS];

static void test_bits(void **state) {
    (void)state;
    const eqf_dynamics_kind fields[NUM_THREADS] = {EQF_DYNAMICS_RADIAL, EQF_DYNAMICS_DENSE};
    pthread_t threads[NUM_THREADS];
    for (unsigned t = 0; t < NUM_THREADS; t++) {
        alone[t].field = together[t].field = fields[t];
        run_alone(&alone[t]);
        if (alone[t].status == EQF_ERROR_NO_PLATFORM || alone[t].status == EQF_ERROR_NO_DEVICE) {
            print_message("skipped: %s\n", alone[t].message);
            skip();
        }
        if (alone[t].status != EQF_OK) fail_msg("alone: %s", alone[t].message);
    }
    for (unsigned t = 0; t < NUM_THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, run_alone, &together[t]), 0);
    for (unsigned t = 0; t < NUM_THREADS; t++) assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (unsigned t = 0; t < NUM_THREADS; t++) {
        if (together[t].status != EQF_OK) fail_msg("together: %s", together[t].message);
        assert_memory_equal(together[t].x, alone[t].x, sizeof alone[t].x);
        assert_memory_equal(together[t].samples, alone[t].samples, sizeof alone[t].samples);
        assert_memory_equal(together[t].log_prob, alone[t].log_prob, sizeof alone[t].log_prob);
        assert_memory_equal(together[t].scored, alone[t].scored, sizeof alone[t].scored);
        assert_true(together[t].loss == alone[t].loss);
        assert_true(alone[t].loss != 0);
    }
    assert_memory_not_equal(alone[0].samples, alone[1].samples, sizeof alone[0].samples);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bits)};
    return cmocka_run_group_tests_name("threads.contexts", tests, NULL, NULL);
}
