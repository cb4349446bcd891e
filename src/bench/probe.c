/* Measures the limits of the device. A run is made longer until its time can be measured; the best of several runs is
 * taken. */
#include "eqflow/bench.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "cost.h"
#include "program.h"
#include "store.h"

/* As in cl/bench/probe.cl. */
enum { NUM_CHAINS = 12, STEPS_PER_TURN = 8 };
/* A work-item's sum must stay an exact float32 integer: 12 * 8 * 65535 < 2^24. It is also the limit of llvmpipe. */
static const cl_uint max_turns = 65535;
static const cl_uint first_turns = 16; /* oclgrind takes a second for a million operations */

enum { NUM_FMA_RUNS = 8, NUM_COPY_RUNS = 5 };
static const double run_seconds = 0.02, budget_seconds = 0.3; /* of one timed run; of all runs of one figure */
static const float copy_pattern = 1.25f;

static double seconds_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

eqf__stopwatch eqf__stopwatch_start(void) {
    return (eqf__stopwatch){seconds_of(CLOCK_MONOTONIC), seconds_of(CLOCK_PROCESS_CPUTIME_ID)};
}

double eqf__stopwatch_seconds(const eqf__device *device, eqf__stopwatch start, bool is_alone) {
    const double wall = seconds_of(CLOCK_MONOTONIC) - start.wall;
    const double busy = (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - start.busy) / fmax(1, device->info.compute_units);
    return is_alone && device->info.type == EQF_DEVICE_CPU && busy > 0 ? fmin(wall, busy) : wall;
}

typedef struct probe {
    eqf_context *ctx;
    const eqf__device *device;
    size_t local_size, num_items;
    bool is_alone; /* as if nothing else ran on the machine: the processor's time, not the clock's */
    eqf__kernel fma, copy;
    cl_mem d_sum;              /* [num_items][V] */
    cl_mem d_source, d_target; /* [copy_bytes / 4] */
} probe;

static void probe_clear(probe *p) {
    eqf__kernel_destroy(&p->fma);
    eqf__kernel_destroy(&p->copy);
    eqf__buffer_destroy(&p->d_sum);
    eqf__buffer_destroy(&p->d_source);
    eqf__buffer_destroy(&p->d_target);
}

static eqf_status probe_prepare(probe *p) {
    eqf_context *ctx = p->ctx;
    const eqf_device_info *info = &p->device->info;
    const size_t V = p->device->vector_width;
    static const char *const files[] = {"common/real.clh", "bench/probe.cl", NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "probe", files, "", &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "probe_fma", &p->fma));
    EQF__TRY(eqf__kernel_create(ctx, program, "probe_copy", &p->copy));
    /* A GPU's compute unit runs up to 2048 work-items at once; a core runs its work-items one after the other. */
    const bool is_gpu = info->type == EQF_DEVICE_GPU && p->device->launch_iterations == 0;
    p->local_size = V > 1 ? 1 : 64;
    if (p->local_size > info->max_work_group_size) p->local_size = 1;
    p->num_items = (size_t)info->compute_units * (is_gpu ? 2048 : V > 1 ? 4 : 64);
    return eqf__buffer_create(ctx, p->num_items * V * sizeof(float), NULL, "the probe's sums", &p->d_sum);
}

/* ---- FMA peak ---------------------------------------------------------------------------------------------------- */

static eqf_status run_fma(const probe *p, cl_uint num_turns, double *seconds_out) {
    const cl_float factor = 1, term = 1, start = 1;
    const eqf__stopwatch begin = eqf__stopwatch_start();
    EQF__TRY(EQF__LAUNCH(p->ctx, &p->fma, p->num_items, p->local_size, EQF__ARG(p->d_sum), EQF__ARG(factor),
                         EQF__ARG(term), EQF__ARG(start), EQF__ARG(num_turns)));
    EQF__TRY(eqf__finish(p->ctx));
    *seconds_out = eqf__stopwatch_seconds(p->device, begin, p->is_alone);
    return EQF_OK;
}

/* Every lane of every work-item must have counted all its steps. */
static eqf_status check_sums(const probe *p, cl_uint num_turns) {
    const size_t count = p->num_items * p->device->vector_width;
    float *sum = eqf__alloc(p->ctx, count, sizeof *sum, "the probe's sums");
    if (sum == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(p->ctx, p->d_sum, 0, count * sizeof *sum, sum);
    const double steps = (double)STEPS_PER_TURN * num_turns;
    const double expected = NUM_CHAINS * (1.0 + steps) + NUM_CHAINS * (NUM_CHAINS - 1) / 2;
    for (size_t i = 0; status == EQF_OK && i < count; i++) {
        if ((double)sum[i] == expected) continue;
        status = eqf__fail(p->ctx, EQF_ERROR_SELF_TEST,
                           "%s counted %.9g of %.9g additions in the FMA probe: do not use it, run eqf_selftest",
                           p->device->info.name, (double)sum[i], expected);
    }
    free(sum);
    return status;
}

static eqf_status measure_fma(const probe *p, double *gflops_out) {
    double seconds, best = INFINITY, spent = 0;
    cl_uint num_turns = first_turns;
    EQF__TRY(run_fma(p, num_turns, &seconds)); /* drivers finish kernels at their first launch */
    for (;;) {
        EQF__TRY(run_fma(p, num_turns, &seconds));
        if (seconds >= run_seconds || num_turns == max_turns) break;
        num_turns = num_turns <= max_turns / 2 ? 2 * num_turns : max_turns;
    }
    best = seconds;
    for (int run = 1; run < NUM_FMA_RUNS && (spent += seconds) < budget_seconds; run++) {
        EQF__TRY(run_fma(p, num_turns, &seconds));
        best = fmin(best, seconds);
    }
    const double lanes = (double)p->num_items * p->device->vector_width;
    *gflops_out = 2e-9 * lanes * NUM_CHAINS * STEPS_PER_TURN * num_turns / best;
    return check_sums(p, num_turns);
}

/* ---- Copy bandwidth ---------------------------------------------------------------------------------------------- */

/* Larger than known caches, smaller than a quarter of the memory. */
static size_t choose_copy_bytes(const eqf__device *device) {
    cl_ulong cache_bytes = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof cache_bytes, &cache_bytes, NULL);
    uint64_t bytes = (uint64_t)128 << 20;
    if (4 * cache_bytes > bytes) bytes = 4 * cache_bytes;
    const eqf_device_info *info = &device->info;
    if (bytes > (uint64_t)512 << 20) bytes = (uint64_t)512 << 20;
    if (bytes > info->max_allocation_bytes) bytes = info->max_allocation_bytes;
    if (bytes > info->global_memory_bytes / 8) bytes = info->global_memory_bytes / 8;
    return (size_t)(bytes / 4096 * 4096);
}

static eqf_status run_copy(const probe *p, size_t num_bytes, double *seconds_out) {
    const size_t V = p->device->vector_width;
    const cl_ulong num = num_bytes / (V * sizeof(float));
    size_t num_items = p->num_items;
    if (num > (cl_ulong)num_items * max_turns) num_items = (size_t)((num + max_turns - 1) / max_turns);
    num_items = (num_items + p->local_size - 1) / p->local_size * p->local_size;
    const cl_uint count = (cl_uint)((num + num_items - 1) / num_items);
    const bool is_interleaved = p->local_size > 1;
    const cl_ulong first_factor = is_interleaved ? 1 : count, stride = is_interleaved ? num_items : 1;
    const eqf__stopwatch begin = eqf__stopwatch_start();
    EQF__TRY(EQF__LAUNCH(p->ctx, &p->copy, num_items, p->local_size, EQF__ARG(p->d_source), EQF__ARG(p->d_target),
                         EQF__ARG(num), EQF__ARG(first_factor), EQF__ARG(stride), EQF__ARG(count)));
    EQF__TRY(eqf__finish(p->ctx));
    *seconds_out = eqf__stopwatch_seconds(p->device, begin, p->is_alone);
    return EQF_OK;
}

static eqf_status check_copy(const probe *p, size_t num_bytes) {
    const size_t places[] = {0, num_bytes / 8 * 4, num_bytes - sizeof(float)};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        float value;
        EQF__TRY(eqf__buffer_read(p->ctx, p->d_target, places[i], sizeof value, &value));
        if (value != copy_pattern)
            return eqf__fail(p->ctx, EQF_ERROR_SELF_TEST,
                             "%s copied %g as %g at byte %zu: do not use it, run eqf_selftest", p->device->info.name,
                             (double)copy_pattern, (double)value, places[i]);
    }
    return EQF_OK;
}

static eqf_status measure_copy(probe *p, eqf_bench_yardsticks *yardsticks) {
    const size_t num_bytes = choose_copy_bytes(p->device);
    EQF__TRY(eqf__buffer_create(p->ctx, num_bytes, NULL, "the probe's source", &p->d_source));
    EQF__TRY(eqf__buffer_create(p->ctx, num_bytes, NULL, "the probe's target", &p->d_target));
    /* Without this all pages would be one page of zeros, which fits into a cache. */
    EQF__OCL(p->ctx,
             clEnqueueFillBuffer(p->device->queue, p->d_source, &copy_pattern, sizeof copy_pattern, 0, num_bytes, 0,
                                 NULL, NULL),
             "while the probe's source was filled");
    double seconds, best = INFINITY, spent = 0;
    EQF__TRY(run_copy(p, num_bytes, &seconds)); /* lets the system allocate the target's pages */
    for (int run = 0; run < NUM_COPY_RUNS && spent < budget_seconds; run++) {
        EQF__TRY(run_copy(p, num_bytes, &seconds));
        best = fmin(best, seconds);
        spent += seconds;
    }
    yardsticks->copy_bytes = num_bytes;
    yardsticks->copy_gbps = 2e-9 * (double)num_bytes / best;
    return check_copy(p, num_bytes);
}

eqf_status eqf__bench_probe(eqf_context *ctx, bool is_alone, eqf_bench_yardsticks *yardsticks_out) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    probe p = {.ctx = ctx, .device = device, .is_alone = is_alone};
    eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
    eqf_status status = probe_prepare(&p);
    if (status == EQF_OK) status = measure_fma(&p, &yardsticks.fma_gflops);
    if (status == EQF_OK) status = measure_copy(&p, &yardsticks);
    probe_clear(&p);
    if (status == EQF_OK) *yardsticks_out = yardsticks;
    return status;
}

eqf_status eqf_bench_probe(eqf_context *ctx, eqf_bench_yardsticks *yardsticks_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_BENCH_YARDSTICKS_INIT, yardsticks_out));
    eqf_bench_yardsticks yardsticks;
    const eqf_status status = eqf__bench_probe(ctx, false, &yardsticks);
    return status != EQF_OK ? status : EQF__WRITE(ctx, EQF_BENCH_YARDSTICKS_INIT, &yardsticks, yardsticks_out);
}

eqf_status eqf_bench_remember(eqf_context *ctx, const eqf_bench_yardsticks *yardsticks) {
    EQF__NOT_NULL(ctx, ctx);
    eqf_bench_yardsticks copy = EQF_BENCH_YARDSTICKS_INIT;
    EQF__TRY(EQF__READ(ctx, EQF_BENCH_YARDSTICKS_INIT, yardsticks, &copy));
    eqf__device *device;
    char text[160];
    EQF__TRY(eqf__device_get(ctx, &device));
    snprintf(text, sizeof text, "fma_gflops = %.6g\ncopy_gbps = %.6g\n", copy.fma_gflops, copy.copy_gbps);
    return eqf__store_save(ctx, &device->info, EQF__STORE_PROBE, text, NULL);
}
