/* The cost model: a kernel counted by hand, every described device, how time grows with the batch, and this machine's
 * processor, which must take what the model says within a factor 1.5. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "dopri5.h"
#include "eqflow/eqflow.h"
#include "program.h"
#include "solve.h"
#include "support.h"
#include "train_internal.h"

static eqf_model_options options_of(const char *system, eqf_dynamics_kind kind) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    const eqf_preset *preset = eqf_preset_find(system);
    assert_non_null(preset);
    assert_int_equal(eqf_preset_model_options(preset, kind, &options), EQF_OK);
    return options;
}

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected))) fail_msg("%.17g, expected %.17g", value, expected);
}

/* A trajectory of 5 samples, 3 particles in 2 dimensions, 2 steps, by hand: 3 pairs; a velocity takes 5 D + 13 = 23
 * slots, a square root and a lookup a pair. */
static void test_counted_by_hand(void **state) {
    (void)state;
    cl_uint none = 0, num_blocks = 5, num_steps = 2, begin = 0, end = 2;
    const eqf__argument arguments[] = {EQF__ARG(none), EQF__ARG(none),  EQF__ARG(none),       EQF__ARG(none),
                                       EQF__ARG(none), EQF__ARG(none),  EQF__ARG(num_blocks), EQF__ARG(num_steps),
                                       EQF__ARG(none), EQF__ARG(begin), EQF__ARG(end)};
    const eqf__launch_seen launch = {.kernel = "trajectory",
                                     .program = "trajectory",
                                     .options = "-cl-std=CL1.2 -D V=1 -D N=3 -D D=2 -D K=50 -D STAGE_SIZE=2052",
                                     .source = "#line 1 \"cl/dynamics/radial_table.clh\"\n",
                                     .global_size = 64,
                                     .local_size = 64,
                                     .num_arguments = 11,
                                     .arguments = arguments};
    eqf__work work;
    eqf__cost_count(&launch, 0, &work);
    assert_true(work.is_counted);
    assert_near(work.slots, 5 * 2 * (4 * 3 * 23) + 5 * 2 * (11 * 6));
    assert_near(work.special, 5 * 2 * 4 * 3);
    assert_near(work.lookups, 5 * 2 * 4 * 3);
    assert_near(work.bytes, 5 * 4 * (2 * 6 + 2));
    assert_near(work.cached, 0); /* six numbers fit in registers */
    assert_near(work.groups, 1);
}

/* A unit of 1024 registers of 8 lanes, groups of 8: 32 numbers a work-item leave room for 4 groups, 2 KB of local
 * memory each for 3. */
static void test_occupancy(void **state) {
    (void)state;
    eqf__device_rates rates = {.fp32_gflops = 2,
                               .special_gops = 1,
                               .memory_gbps = 1,
                               .cache_gbps = 1,
                               .local_gbps = 1,
                               .units = 1,
                               .wave_width = 8,
                               .waves_per_unit = 8,
                               .registers_per_unit = 1024,
                               .register_granule = 8,
                               .registers_per_work_item = 64,
                               .local_memory_per_unit = 6144};
    eqf__work work = {.slots = 1e9, .groups = 1000, .group_items = 8, .numbers = 29};
    eqf__seconds seconds;
    eqf__cost_time(&rates, &work, &seconds);
    assert_near(seconds.occupancy, 4.0 / 8);
    assert_near(seconds.arithmetic, 1); /* 4 waves are more than a quarter of 8: all hidden */
    work.group_bytes = 2048;
    eqf__cost_time(&rates, &work, &seconds);
    assert_near(seconds.occupancy, 3.0 / 8);
    work.group_bytes = 6000;
    eqf__cost_time(&rates, &work, &seconds);
    assert_near(seconds.occupancy, 1.0 / 8);
    assert_near(seconds.arithmetic, 2); /* one wave of the two that it takes */
    rates.launch_us = 5;
    work.bytes = 3e9;
    eqf__cost_time(&rates, &work, &seconds);
    assert_near(seconds.total, 3 + 5e-6);
}

static void check_estimate(const eqf_bench_estimate *e, const char *what) {
    const double parts[] = {e->seconds, e->gflop, (double)e->num_launches, e->occupancy, e->longest_share, e->copies};
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
        if (!(parts[p] > 0) || !isfinite(parts[p])) fail_msg("%s: figure %zu is %g", what, p, parts[p]);
    if (e->occupancy > 1 || e->longest_share > 1) fail_msg("%s: a share is above 1", what);
    /* What is only guessed must not decide. */
    if (!(e->uncounted < 0.5))
        fail_msg("%s: %.0f%% of the time is of kernels that nobody counted", what, 100 * e->uncounted);
}

static void test_all_devices(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    static const char *const systems[] = {"dw4", "lj13"};
    size_t num_devices = 0, num_groups = 0;
    for (; eqf_bench_device_name(num_devices) != NULL; num_devices++) {
        const char *name = eqf_bench_device_name(num_devices), *text = eqf_bench_device_text(name);
        assert_non_null(text);
        for (int s = 0; s < 8; s++) {
            const bool is_message = s >= 4;
            const eqf_model_options options =
                options_of(systems[s % 2], is_message ? EQF_DYNAMICS_MESSAGE : EQF_DYNAMICS_RADIAL);
            eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
            eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT;
            char what[128];
            question.work = s / 2 % 2 == 0 ? EQF_BENCH_SAMPLE : EQF_BENCH_TRAIN;
            question.batch_size = is_message ? 16 : 256;
            snprintf(what, sizeof what, "%s, %s, work %d, field %d", name, systems[s % 2], question.work, is_message);
            TEST_OK(ctx, eqf_bench_model(ctx, text, &options, &question, &e));
            check_estimate(&e, what);
            if (is_message) continue;
            num_groups += e.is_by_group;
            const bool is_expected = s % 2 == 1 || question.work == EQF_BENCH_TRAIN; /* lj13, and reverse solves */
            if (e.is_by_group != is_expected) fail_msg("%s: the layout is not that of GPUs' profiles", what);
        }
    }
    assert_true(num_devices >= 9);
    assert_true(num_groups == 3 * num_devices); /* not dw4's samples */
    assert_null(eqf_bench_device_text("no-such-device"));
}

/* What is not the default: the dense field, and steps of a sample's own, which take as much time as there are. */
static void test_other_solves(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    for (size_t d = 0; eqf_bench_device_name(d) != NULL; d++)
        for (int s = 0; s < 6; s++) {
            const bool is_dense = s >= 4;
            const eqf_model_options options =
                options_of(s % 4 < 2 ? "dw4" : "lj13", is_dense ? EQF_DYNAMICS_DENSE : EQF_DYNAMICS_RADIAL);
            eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
            eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT, longer = EQF_BENCH_ESTIMATE_INIT;
            const char *text = eqf_bench_device_text(eqf_bench_device_name(d));
            char what[128];
            question.work = s % 2 == 0 ? EQF_BENCH_SAMPLE : EQF_BENCH_TRAIN;
            question.method = is_dense ? EQF_INTEGRATOR_RK4 : EQF_INTEGRATOR_DOPRI5;
            question.batch_size = is_dense ? 64 : 4096;
            snprintf(what, sizeof what, "%s, case %d", eqf_bench_device_name(d), s);
            TEST_OK(ctx, eqf_bench_model(ctx, text, &options, &question, &e));
            check_estimate(&e, what);
            if (is_dense) continue;
            if (!e.is_by_group) fail_msg("%s: not by groups", what);
            question.num_steps = 24; /* twice the default */
            TEST_OK(ctx, eqf_bench_model(ctx, text, &options, &question, &longer));
            if (!(longer.gflop > 1.7 * e.gflop && longer.gflop < 2 * e.gflop))
                fail_msg("%s: %g GFLOP of twice as many steps, %g", what, longer.gflop, e.gflop);
        }
}

/* A device that is full takes twice as long for twice as many; one that is not takes hardly longer. */
static void test_batch(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const eqf_model_options options = options_of("lj13", EQF_DYNAMICS_RADIAL);
    const char *text = eqf_bench_device_text("h200");
    const size_t batches[] = {8, 16, 32768, 65536};
    double seconds[4];
    for (size_t b = 0; b < 4; b++) {
        eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
        eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT;
        question.batch_size = batches[b];
        TEST_OK(ctx, eqf_bench_model(ctx, text, &options, &question, &e));
        seconds[b] = e.seconds;
    }
    print_message("h200, lj13: %.3g s for 8, %.3g s for 16; %.3g s for 32768, %.3g s for 65536\n", seconds[0],
                  seconds[1], seconds[2], seconds[3]);
    assert_true(seconds[1] < 1.2 * seconds[0]);
    assert_true(seconds[3] > 1.8 * seconds[2] && seconds[3] < 2.1 * seconds[2]);
    /* Twice the rates, half the time, but for what waits. */
    char *twice = malloc(strlen(text) + 64);
    assert_non_null(twice);
    const char *at = strstr(text, "launch_us = 4\n");
    assert_non_null(at);
    snprintf(twice, strlen(text) + 64, "%.*slaunch_us = 4000\n%s", (int)(at - text), text,
             at + strlen("launch_us = 4\n"));
    eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
    eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT;
    question.batch_size = 8;
    TEST_OK(ctx, eqf_bench_model(ctx, twice, &options, &question, &e));
    assert_true(e.seconds > 0.9 * 4e-3 * (double)e.num_launches);
    free(twice);
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model_options options = options_of("dw4", EQF_DYNAMICS_DENSE);
    eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
    eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT;
    const char *text = eqf_bench_device_text("h200");
    question.method = EQF_INTEGRATOR_DOPRI5;
    assert_int_equal(eqf_bench_model(ctx, text, &options, &question, &e), EQF_ERROR_UNSUPPORTED);
    options = options_of("dw4", EQF_DYNAMICS_RADIAL);
    question.method = (eqf_integrator_method)9;
    assert_int_equal(eqf_bench_model(ctx, text, &options, &question, &e), EQF_ERROR_INVALID_ARGUMENT);
    question.method = EQF_INTEGRATOR_DOPRI5;
    question.num_steps = -1;
    assert_int_equal(eqf_bench_model(ctx, text, &options, &question, &e), EQF_ERROR_INVALID_ARGUMENT);
    question.method = EQF_INTEGRATOR_RK4;
    question.num_steps = 0;
    assert_int_equal(eqf_bench_model(ctx, "name = nothing else\n", &options, &question, &e), EQF_ERROR_FORMAT);
    char *no_rates = malloc(strlen(text) + 1);
    assert_non_null(no_rates);
    const char *at = strstr(text, "# At best");
    assert_non_null(at);
    snprintf(no_rates, strlen(text) + 1, "%.*s", (int)(at - text), text);
    assert_int_equal(eqf_bench_model(ctx, no_rates, &options, &question, &e), EQF_ERROR_FORMAT);
    free(no_rates);
    question.batch_size = 0;
    assert_int_equal(eqf_bench_model(ctx, text, &options, &question, &e), EQF_ERROR_INVALID_ARGUMENT);
}

/* ---- This processor --------------------------------------------------------------------------------------------- */

/* Weights that leave distances where samples have them, as in apps/eqflow/bench_case.c. */
static eqf_model *calm_model(eqf_context *ctx, const eqf_model_options *options) {
    eqf_model *model = NULL;
    TEST_OK(ctx, eqf_model_create(ctx, options, &model));
    const size_t num_params = eqf_model_num_params(model);
    float *params = malloc(num_params * sizeof *params);
    assert_non_null(params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    for (size_t s = 0; s < eqf_model_num_slices(model); s++) {
        const eqf_param_slice *slice = eqf_model_slice(model, s);
        for (size_t i = 0; strcmp(slice->name, "radial.weights") == 0 && i < slice->count; i++)
            params[slice->offset + i] *= 4.0f / (float)options->potential.num_particles;
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

enum { NUM_ROUNDS = 3, NUM_CALLS = 8 };

/* The shortest of many calls, in seconds: other work on the machine only adds. */
static double shortest_sample(eqf_context *ctx, eqf_flow *flow, size_t batch, float *x, float *log_prob) {
    double best = INFINITY;
    for (int call = 0; call < NUM_CALLS; call++) {
        const eqf__stopwatch begin = eqf__stopwatch_start();
        TEST_OK(ctx, eqf_flow_sample(flow, 1, (uint64_t)call * batch, batch, x, log_prob));
        best = fmin(best, eqf__stopwatch_seconds(ctx->device, begin, true));
    }
    return best;
}

static double shortest_step(eqf_context *ctx, eqf_trainer *trainer) {
    eqf_training_state state = EQF_TRAINING_STATE_INIT;
    double best = INFINITY;
    for (int call = 0; call < NUM_CALLS; call++) {
        const eqf__stopwatch begin = eqf__stopwatch_start();
        TEST_OK(ctx, eqf_trainer_advance(trainer, 1, &state));
        best = fmin(best, eqf__stopwatch_seconds(ctx->device, begin, true));
    }
    return best;
}

typedef struct here_case {
    const char *system;
    eqf_dynamics_kind kind;
    eqf_integrator_method method;
    size_t batch;
} here_case;

/* A step control would take as many steps as numbers ask for; so that they are known, all have the same size, and the
 * tolerance accepts them. */
enum { EQUAL_STEPS = 10 };

static void take_equal_steps(eqf_flow *flow) {
    eqf__dopri5 *dopri5 = eqf__dopri5_of(flow->solver);
    if (dopri5 == NULL) return;
    dopri5->equal_step = 1.0f / EQUAL_STEPS;
    dopri5->options.rtol = dopri5->options.atol = 1e6;
}

/* Rates and calls are measured in turns; of each the best. Returns whether the model is within a factor 1.5. */
static bool compare_here(eqf_context *ctx, const here_case *c) {
    const eqf_model_options options = options_of(c->system, c->kind);
    const size_t num_dof = (size_t)options.potential.num_particles * options.potential.space_dim;
    const bool is_adaptive = eqf_integrator_method_describe(c->method)->has_step_control;
    double measured[2] = {INFINITY, INFINITY}, modelled[2] = {INFINITY, INFINITY};
    float *x = calloc(c->batch * num_dof, sizeof *x), *log_prob = calloc(c->batch, sizeof *log_prob);
    assert_true(x != NULL && log_prob != NULL);
    eqf_model *model = calm_model(ctx, &options);
    eqf_flow *flow = NULL;
    eqf_trainer *trainer = NULL;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    eqf_training_options training = EQF_TRAINING_OPTIONS_INIT;
    flow_options.method = c->method;
    training.batch_size = c->batch;
    training.num_steps = training.validation_interval = 1000000000;
    training.learning_rate = 1e-7;
    if (is_adaptive) training.gradient = EQF_GRADIENT_OTD;
    if (is_adaptive) training.integration_penalty = 0;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
    TEST_OK(ctx, eqf_flow_prior_sample(flow, 5, 0, c->batch, x));
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &training, c->batch, x, 0, NULL, &trainer));
    take_equal_steps(flow);
    take_equal_steps(trainer->flow);
    for (int round = 0; round < NUM_ROUNDS; round++) {
        char *text = NULL;
        TEST_OK(ctx, eqf_bench_describe(ctx, &text));
        for (int work = 0; work < 2; work++) {
            eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
            eqf_bench_estimate e = EQF_BENCH_ESTIMATE_INIT;
            question.work = work == 0 ? EQF_BENCH_SAMPLE : EQF_BENCH_TRAIN;
            question.batch_size = c->batch;
            question.integration_penalty = training.integration_penalty;
            question.method = c->method;
            question.num_steps = EQUAL_STEPS;
            TEST_OK(ctx, eqf_bench_model(ctx, text, &options, &question, &e));
            modelled[work] = fmin(modelled[work], e.seconds);
            const double took =
                work == 0 ? shortest_sample(ctx, flow, c->batch, x, log_prob) : shortest_step(ctx, trainer);
            measured[work] = fmin(measured[work], took);
        }
        eqf_free(text);
    }
    eqf_trainer_destroy(&trainer);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(x);
    free(log_prob);
    /* A busy machine changes its speed between the probe and the work: bench.model_here asks for 1.5 on a quiet one. */
    const char *given = getenv("EQF_BENCH_FACTOR");
    const double factor = given == NULL ? 5 : strtod(given, NULL);
    bool is_near = true;
    for (int work = 0; work < 2; work++) {
        const double ratio = measured[work] / modelled[work];
        print_message("%s, %s field by %s, %s: measured %.3f ms, model %.3f ms, ratio %.2f\n", c->system,
                      eqf_dynamics_kind_describe(c->kind)->name, eqf_integrator_method_describe(c->method)->name,
                      work == 0 ? "sample" : "train", 1e3 * measured[work], 1e3 * modelled[work], ratio);
        is_near &= ratio > 1 / factor && ratio < factor;
    }
    return is_near;
}

static void test_this_processor(void **state) {
    (void)state;
    static const here_case cases[] = {{"dw4", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_RK4, 1024},
                                      {"lj13", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_RK4, 1024},
                                      {"dw4", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_DOPRI5, 1024},
                                      {"lj13", EQF_DYNAMICS_RADIAL, EQF_INTEGRATOR_DOPRI5, 64},
                                      {"dw4", EQF_DYNAMICS_DENSE, EQF_INTEGRATOR_RK4, 256}};
    eqf_context *ctx = test_context();
    eqf_device_info info = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &info));
    if (info.type != EQF_DEVICE_CPU || info.vector_width == 1 || getenv("EQFLOW_SANITIZED") != NULL) skip();
    /* The rate of products is that of CLBlast with our parameters on PoCL. On Intel's runtime it multiplies ten times
     * slower, with its own parameters too (docs/benchmarks.md): printed there, and not compared. */
    const bool is_tuned = strcmp(info.platform_name, "Portable Computing Language") == 0;
    bool is_good = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const bool is_near = compare_here(ctx, &cases[c]);
        is_good &= is_near || (cases[c].kind == EQF_DYNAMICS_DENSE && !is_tuned);
    }
    assert_true(is_good);
}

int main(int argc, char **argv) { /* test_bench_model [NAME]: the tests whose names match */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counted_by_hand), cmocka_unit_test(test_occupancy), cmocka_unit_test(test_all_devices),
        cmocka_unit_test(test_other_solves),    cmocka_unit_test(test_batch),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_this_processor),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
