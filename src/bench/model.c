/* The cost model's face: makes a call on a described device, and adds up the launches that it asks for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "eqflow/bench.h"
#include "eqflow/flow.h"
#include "eqflow/train.h"
#include "program.h"

enum { MAX_KERNELS = 64, DEFAULT_STEPS = 12 };

/* One kernel's launches. */
typedef struct kernel_total {
    char name[64];
    double seconds, occupancy;
    bool is_counted;
} kernel_total;

typedef struct tally {
    eqf__device_rates rates;
    eqf_bench_estimate sum;
    kernel_total kernels[MAX_KERNELS]; /* the last: all for which there was no place */
    size_t num_kernels;
    double num_steps; /* of an integrator with step control */
} tally;

static kernel_total *total_of(tally *t, const char *name) {
    size_t k = 0;
    while (k < t->num_kernels && strcmp(t->kernels[k].name, name) != 0) k++;
    if (k == t->num_kernels && k < MAX_KERNELS - 1) {
        snprintf(t->kernels[k].name, sizeof t->kernels[k].name, "%s", name);
        t->num_kernels++;
    }
    return &t->kernels[k];
}

static void note_launch(void *user, const eqf__launch_seen *launch) {
    tally *t = user;
    eqf__work work;
    eqf__seconds seconds;
    eqf__cost_count(launch, t->num_steps, &work);
    eqf__cost_time(&t->rates, &work, &seconds);
    t->sum.seconds += seconds.total;
    t->sum.arithmetic += seconds.arithmetic;
    t->sum.memory += seconds.memory;
    t->sum.cache += seconds.cache;
    t->sum.local_memory += seconds.local;
    t->sum.latency += seconds.chain;
    t->sum.launches += seconds.launch;
    t->sum.uncounted += work.is_counted ? 0 : seconds.total;
    t->sum.gflop += 1e-9 * (2 * work.slots + work.special);
    t->sum.memory_gigabytes += 1e-9 * (work.bytes + work.cached + 16 * work.lookups);
    t->sum.local_gigabytes += 1e-9 * work.local;
    t->sum.num_launches++;
    kernel_total *total = total_of(t, launch->kernel);
    total->seconds += seconds.total;
    total->occupancy = seconds.occupancy;
    /* A training's layout is that of its reverse solve, which takes longer and comes after the other one. */
    if (strcmp(launch->kernel, "trajectory") == 0 || strcmp(launch->kernel, "trajectory_adjoint") == 0 ||
        strcmp(launch->kernel, "adaptive_steps") == 0) {
        t->sum.is_by_group = strstr(launch->options, "GROUP_SIZE") != NULL;
        t->sum.is_staged = strstr(launch->options, "STAGE_IS_LOCAL") != NULL;
    }
    /* The message field: its tape, for which a group of one is none; and its kernels with local memory. */
    if (strcmp(launch->kernel, "message_run") == 0)
        t->sum.is_by_group |= eqf__cost_defined(launch->options, "GROUP_SIZE") > 1;
    if (strcmp(launch->kernel, "message_group_sources") == 0) t->sum.is_by_group = t->sum.is_staged = true;
}

static void finish(tally *t, const eqf__described_listener *listener) {
    /* Copies wait for what was launched, once each. */
    t->sum.copies = listener->num_bytes_copied / (t->rates.link_gbps * 1e9) +
                    (double)listener->num_copies * t->rates.launch_us * 1e-6;
    const double moved = listener->num_bytes_on_device / (t->rates.memory_gbps * 1e9);
    t->sum.memory += moved;
    t->sum.seconds += t->sum.copies + moved;
    t->sum.uncounted /= t->sum.seconds;
    const kernel_total *longest = &t->kernels[0];
    for (size_t k = 1; k < t->num_kernels; k++)
        if (t->kernels[k].seconds > longest->seconds) longest = &t->kernels[k];
    snprintf(t->sum.longest, sizeof t->sum.longest, "%s", longest->name);
    t->sum.longest_share = longest->seconds / t->sum.seconds;
    t->sum.occupancy = longest->occupancy;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

static void listen(eqf_context *inner, eqf__described_listener *listener) {
    inner->device->listener = listener;
}

static eqf_status sample(eqf_context *inner, const eqf_model *model, const eqf_bench_question *question,
                         const eqf_model_options *options, eqf__described_listener *listener) {
    const size_t num_dof = (size_t)options->potential.num_particles * options->potential.space_dim;
    float *x = eqf__alloc(inner, question->batch_size * num_dof, sizeof *x, "the samples");
    float *log_prob = eqf__alloc(inner, question->batch_size, sizeof *log_prob, "the log-densities");
    eqf_flow *flow = NULL;
    eqf_status status = x == NULL || log_prob == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.method = question->method;
    if (status == EQF_OK) status = eqf_flow_create(inner, model, &flow_options, &flow);
    if (status == EQF_OK) listen(inner, listener);
    if (status == EQF_OK) status = eqf_flow_sample(flow, 1, 0, question->batch_size, x, log_prob);
    listen(inner, NULL);
    eqf_flow_destroy(&flow);
    free(x);
    free(log_prob);
    return status;
}

static eqf_status train(eqf_context *inner, eqf_model *model, const eqf_bench_question *question,
                        const eqf_model_options *options, eqf__described_listener *listener) {
    const size_t num_dof = (size_t)options->potential.num_particles * options->potential.space_dim;
    float *x = eqf__alloc(inner, question->batch_size * num_dof, sizeof *x, "the training data");
    eqf_training_options training = EQF_TRAINING_OPTIONS_INIT;
    eqf_training_state state = EQF_TRAINING_STATE_INIT;
    eqf_trainer *trainer = NULL;
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t c = 0; c < question->batch_size * num_dof; c++) x[c] = (float)(c % 7);
    training.batch_size = question->batch_size;
    training.num_steps = training.validation_interval = 1000000000; /* for ever, and no validation */
    training.integration_penalty = question->integration_penalty;
    if (eqf_integrator_method_describe(question->method)->has_step_control) {
        training.gradient = EQF_GRADIENT_OTD;
        training.integration_penalty = 0;
    }
    if (question->work == EQF_BENCH_MATCH) training.objective = EQF_OBJECTIVE_FLOW_MATCHING;
    eqf_status status = eqf_trainer_create(inner, model, &training, question->batch_size, x, 0, NULL, &trainer);
    if (status == EQF_OK) listen(inner, listener);
    if (status == EQF_OK) status = eqf_trainer_advance(trainer, 1, &state);
    if (status == EQF_ERROR_NON_FINITE) status = EQF_OK; /* zeros for what nothing has computed */
    listen(inner, NULL);
    eqf_trainer_destroy(&trainer);
    free(x);
    return status;
}

/* ---- Layouts ---------------------------------------------------------------------------------------------------- */

static eqf_status set_layout(eqf_context *inner, const eqf_bench_question *question) {
    static const char *const settings[][4] = {
        [EQF_BENCH_AS_CHOSEN] = {NULL},
        [EQF_BENCH_LANES] = {"group_size=0", NULL},
        [EQF_BENCH_GROUP] = {"group_min_particles=2", "local_memory=no", NULL},
        [EQF_BENCH_GROUP_STAGED] = {"group_min_particles=2", "local_memory=yes", "group_staging_particles=2", NULL}};
    for (size_t s = 0; settings[question->layout][s] != NULL; s++)
        EQF__TRY(eqf_context_set_profile(inner, settings[question->layout][s]));
    return EQF_OK;
}

static eqf_status check_question(eqf_context *ctx, const eqf_bench_question *question) {
    if (question->batch_size == 0 || question->batch_size > (size_t)1 << 24)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "batch_size is %zu: it must be 1 to 2^24",
                         question->batch_size);
    if ((unsigned)question->work > EQF_BENCH_MATCH || (unsigned)question->layout > EQF_BENCH_GROUP_STAGED)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "work %u or layout %u is not one of eqflow/bench.h",
                         (unsigned)question->work, (unsigned)question->layout);
    if (eqf_integrator_method_describe(question->method) == NULL || !(question->num_steps >= 0) ||
        question->num_steps > 1e6)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "method %u is none, or %g steps are not 0 to 10^6",
                         (unsigned)question->method, question->num_steps);
    return EQF_OK;
}

static eqf_status check_rates(eqf_context *ctx, const eqf__device_rates *rates) {
    if (rates->fp32_gflops > 0 && rates->special_gops > 0 && rates->memory_gbps > 0 && rates->cache_gbps > 0 &&
        rates->link_gbps > 0 && rates->units > 0)
        return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_FORMAT,
                     "the description has no rates: fp32_gflops, special_gops, memory_gbps, cache_gbps, link_gbps and "
                     "units are needed (platforms/README.md)");
}

static eqf_status run(eqf_context *inner, const char *description, const eqf_model_options *options,
                      const eqf_bench_question *question, tally *t) {
    eqf__described_listener listener = {.on_launch = note_launch, .user = t};
    eqf_model *model = NULL;
    if (eqf_integrator_method_describe(question->method)->has_step_control &&
        eqf_dynamics_kind_describe(options->dynamics.kind)->is_batched)
        return eqf__fail(inner, EQF_ERROR_UNSUPPORTED,
                         "how often DOPRI5 evaluates a field in batches depends on numbers that a description lacks");
    EQF__TRY(set_layout(inner, question));
    EQF__TRY(eqf__device_open_description(inner, "the device", description));
    EQF__TRY(eqf_model_create(inner, options, &model));
    const eqf_status status = question->work == EQF_BENCH_SAMPLE ? sample(inner, model, question, options, &listener)
                                                                 : train(inner, model, question, options, &listener);
    eqf_model_destroy(&model);
    EQF__TRY(status);
    if ((question->layout == EQF_BENCH_GROUP || question->layout == EQF_BENCH_GROUP_STAGED) &&
        (!t->sum.is_by_group || t->sum.is_staged != (question->layout == EQF_BENCH_GROUP_STAGED)))
        return eqf__fail(inner, EQF_ERROR_UNSUPPORTED, "%s does not run this field in that layout",
                         inner->device->info.name);
    finish(t, &listener);
    return EQF_OK;
}

eqf_status eqf_bench_model(eqf_context *ctx, const char *description, const eqf_model_options *model,
                           const eqf_bench_question *question, eqf_bench_estimate *estimate_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, description);
    EQF__NOT_NULL(ctx, model);
    eqf_bench_question asked = EQF_BENCH_QUESTION_INIT;
    EQF__TRY(EQF__READ(ctx, EQF_BENCH_QUESTION_INIT, question, &asked));
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_BENCH_ESTIMATE_INIT, estimate_out));
    EQF__TRY(check_question(ctx, &asked));
    tally t = {.sum = EQF_BENCH_ESTIMATE_INIT, .num_steps = asked.num_steps > 0 ? asked.num_steps : DEFAULT_STEPS};
    EQF__TRY(eqf__description_rates(ctx, "the device", description, &t.rates));
    EQF__TRY(check_rates(ctx, &t.rates));
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    eqf_context *inner = NULL;
    options.cache_path = "";
    EQF__TRY(eqf_context_create(&options, &inner));
    eqf_status status = EQF_OK;
    if (ctx->profile_text != NULL) { /* a profile of the caller's is one for the described device, too */
        inner->profile_text = eqf__strdup(inner, ctx->profile_text);
        if (inner->profile_text == NULL) status = EQF_ERROR_OUT_OF_MEMORY;
    }
    if (status == EQF_OK) status = run(inner, description, model, &asked, &t);
    if (status != EQF_OK) status = eqf__fail(ctx, status, "%s", eqf_context_error(inner));
    eqf_context_destroy(&inner);
    return status != EQF_OK ? status : EQF__WRITE(ctx, EQF_BENCH_ESTIMATE_INIT, &t.sum, estimate_out);
}

/* ---- Descriptions ----------------------------------------------------------------------------------------------- */

/* "vendor/h200.device", or h200. */
static bool has_name(const char *file, const char *name) {
    if (strcmp(file, name) == 0) return true;
    const char *base = strrchr(file, '/');
    base = base != NULL ? base + 1 : file;
    const size_t length = strlen(name);
    return strncmp(base, name, length) == 0 && strcmp(base + length, ".device") == 0;
}

const char *eqf_bench_device_text(const char *name) {
    if (name == NULL) return NULL;
    for (const eqf__embedded_profile *device = eqf__embedded_devices; device->name != NULL; device++)
        if (has_name(device->name, name)) return device->text;
    return NULL;
}

const char *eqf_bench_device_name(size_t index) {
    for (size_t i = 0; eqf__embedded_devices[i].name != NULL; i++)
        if (i == index) return eqf__embedded_devices[i].name;
    return NULL;
}
