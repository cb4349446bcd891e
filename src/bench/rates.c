/* The open device as a description: what its driver says, and rates that are measured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "eqflow/bench.h"
#include "program.h"

/* As in cl/bench/probe_rates.cl. */
enum { TABLE_CELLS = 512, NUM_CHAINS = 4 };
enum { FIRST_TURNS = 64, MAX_TURNS = 65535, NUM_RUNS = 7, NUM_LAUNCHES = 100 };
static const double run_seconds = 0.01;

typedef struct rates_probe {
    eqf_context *ctx;
    size_t num_items, local_size;
    eqf__kernel lookup, special;
    cl_mem d_table, d_sum; /* [TABLE_CELLS][4]; [num_items][V] */
} rates_probe;

static void probe_clear(rates_probe *p) {
    eqf__kernel_destroy(&p->lookup);
    eqf__kernel_destroy(&p->special);
    eqf__buffer_destroy(&p->d_table);
    eqf__buffer_destroy(&p->d_sum);
}

static eqf_status probe_prepare(rates_probe *p) {
    eqf_context *ctx = p->ctx;
    const eqf__device *device = ctx->device;
    static const char *const files[] = {"common/real.clh", "dynamics/radial_table.clh", "bench/probe_rates.cl", NULL};
    float ones[4 * TABLE_CELLS];
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "probe_rates", files, "-D N=2 -D D=2", &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "probe_lookup", &p->lookup));
    EQF__TRY(eqf__kernel_create(ctx, program, "probe_special", &p->special));
    for (size_t i = 0; i < sizeof ones / sizeof ones[0]; i++) ones[i] = 1;
    EQF__TRY(eqf__buffer_create(ctx, sizeof ones, ones, "the probe's table", &p->d_table));
    p->local_size = device->vector_width > 1 ? 1 : 64;
    if (p->local_size > device->info.max_work_group_size) p->local_size = 1;
    p->num_items =
        (size_t)device->info.compute_units * (device->info.type == EQF_DEVICE_GPU ? 2048 : 4) * p->local_size;
    if (device->info.type == EQF_DEVICE_GPU) p->num_items /= p->local_size;
    return eqf__buffer_create(ctx, p->num_items * device->vector_width * sizeof(float), NULL, "the probe's sums",
                              &p->d_sum);
}

static eqf_status run(const rates_probe *p, bool is_lookup, cl_uint num_turns, double *seconds_out) {
    const cl_float two = 2, four = 4;
    const eqf__stopwatch begin = eqf__stopwatch_start();
    if (is_lookup)
        EQF__TRY(EQF__LAUNCH(p->ctx, &p->lookup, p->num_items, p->local_size, EQF__ARG(p->d_table), EQF__ARG(p->d_sum),
                             EQF__ARG(num_turns)));
    else
        EQF__TRY(EQF__LAUNCH(p->ctx, &p->special, p->num_items, p->local_size, EQF__ARG(p->d_sum), EQF__ARG(two),
                             EQF__ARG(four), EQF__ARG(num_turns)));
    EQF__TRY(eqf__finish(p->ctx));
    *seconds_out = eqf__stopwatch_seconds(p->ctx->device, begin, true);
    return EQF_OK;
}

/* Every lane of every work-item has the sum that all its turns give. */
static eqf_status check_sums(const rates_probe *p, const char *what, double expected) {
    const size_t count = p->num_items * p->ctx->device->vector_width;
    float *sum = eqf__alloc(p->ctx, count, sizeof *sum, "the probe's sums");
    if (sum == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(p->ctx, p->d_sum, 0, count * sizeof *sum, sum);
    for (size_t i = 0; status == EQF_OK && i < count; i++)
        if (fabs((double)sum[i] - expected) > 1e-4 * expected)
            status =
                eqf__fail(p->ctx, EQF_ERROR_SELF_TEST, "%s: a probe of %s gives %.9g, expected %.9g: run eqf_selftest",
                          p->ctx->device->info.name, what, (double)sum[i], expected);
    free(sum);
    return status;
}

/* Operations a second, 1e9/s; per_turn of a lane. */
static eqf_status measure(const rates_probe *p, bool is_lookup, double per_turn, double *gops_out) {
    cl_uint num_turns = FIRST_TURNS;
    double seconds, best;
    EQF__TRY(run(p, is_lookup, num_turns, &seconds)); /* drivers finish kernels at their first launch */
    for (;;) {
        EQF__TRY(run(p, is_lookup, num_turns, &seconds));
        if (seconds >= run_seconds || num_turns == MAX_TURNS) break;
        num_turns = num_turns <= MAX_TURNS / 2 ? 2 * num_turns : MAX_TURNS;
    }
    best = seconds;
    for (int r = 1; r < NUM_RUNS; r++) {
        EQF__TRY(run(p, is_lookup, num_turns, &seconds));
        best = fmin(best, seconds);
    }
    *gops_out = 1e-9 * per_turn * (double)num_turns * (double)(p->num_items * p->ctx->device->vector_width) / best;
    return is_lookup ? check_sums(p, "lookups", 4.0 * num_turns) : check_sums(p, "square roots", 2.0 * NUM_CHAINS);
}

/* Launches that have next to nothing to do, in a full queue. */
static eqf_status measure_launch(const rates_probe *p, double *us_out) {
    const cl_uint num_turns = 1;
    double best = INFINITY;
    for (int r = 0; r < NUM_RUNS; r++) {
        const eqf__stopwatch begin = eqf__stopwatch_start();
        for (int l = 0; l < NUM_LAUNCHES; l++)
            EQF__TRY(EQF__LAUNCH(p->ctx, &p->lookup, p->local_size, p->local_size, EQF__ARG(p->d_table),
                                 EQF__ARG(p->d_sum), EQF__ARG(num_turns)));
        EQF__TRY(eqf__finish(p->ctx));
        best = fmin(best, eqf__stopwatch_seconds(p->ctx->device, begin, true) / NUM_LAUNCHES);
    }
    *us_out = 1e6 * best;
    return EQF_OK;
}

eqf_status eqf__probe_rates(eqf_context *ctx, eqf__device_rates *rates_out) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
    EQF__TRY(eqf__bench_probe(ctx, true, &yardsticks));
    rates_probe p = {.ctx = ctx};
    eqf__device_rates rates = {.fp32_gflops = yardsticks.fma_gflops,
                               .memory_gbps = yardsticks.copy_gbps,
                               .units = device->info.compute_units,
                               .wave_width = 1};
    eqf_status status = probe_prepare(&p);
    if (status == EQF_OK) status = measure(&p, true, 1, &rates.lookup_gops);
    if (status == EQF_OK) status = measure(&p, false, 2 * NUM_CHAINS, &rates.special_gops);
    if (status == EQF_OK) status = measure_launch(&p, &rates.launch_us);
    probe_clear(&p);
    rates.cache_gbps = 16 * rates.lookup_gops; /* a lookup's row is in the cache */
    rates.link_gbps = rates.memory_gbps / 2;   /* a copy reads and writes what a link would carry once */
    if (status == EQF_OK) *rates_out = rates;
    return status;
}

static void add(char *text, size_t size, const char *key, double value) {
    const size_t length = strlen(text);
    char number[32];
    snprintf(number, sizeof number, "%.6f", value);
    for (char *c = number; *c != '\0'; c++)
        if (*c != '-' && (*c < '0' || *c > '9')) *c = '.'; /* whatever the locale's is */
    snprintf(text + length, size - length, "%s = %s\n", key, number);
}

eqf_status eqf_bench_describe(eqf_context *ctx, char **text_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, text_out);
    *text_out = NULL;
    enum { SIZE = 4096 };
    static const char *const types[] = {[EQF_DEVICE_CPU] = "cpu",
                                        [EQF_DEVICE_GPU] = "gpu",
                                        [EQF_DEVICE_ACCELERATOR] = "accelerator",
                                        [EQF_DEVICE_OTHER] = "other"};
    eqf__device *device;
    eqf__profile_facts facts;
    eqf__device_rates rates;
    EQF__TRY(eqf__device_get(ctx, &device));
    eqf__profile_read_facts(device, &facts);
    EQF__TRY(eqf__probe_rates(ctx, &rates));
    char *text = eqf__alloc(ctx, SIZE, 1, "the description");
    if (text == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const eqf_device_info *info = &device->info;
    snprintf(text, SIZE,
             "# Rates measured by eqf_bench_describe\nname = %s\nvendor = %s\nplatform_name = %s\ndriver_version = %s\n"
             "type = %s\nvendor_id = %u\ncompute_units = %u\nmax_clock_mhz = %u\nglobal_memory_bytes = %llu\n"
             "max_allocation_bytes = %llu\nlocal_memory_bytes = %llu\nmax_work_group_size = %zu\nhas_fp64 = %s\n"
             "native_width = %u\ncompute_capability = %u\nwavefront_width = %u\nhas_kernel_timeout = %s\n"
             "compiler = none\ntarget = none\n",
             info->name, info->vendor, info->platform_name, info->driver_version, types[info->type],
             (unsigned)info->vendor_id, (unsigned)info->compute_units, (unsigned)info->max_clock_mhz,
             (unsigned long long)info->global_memory_bytes, (unsigned long long)info->max_allocation_bytes,
             (unsigned long long)info->local_memory_bytes, info->max_work_group_size, info->has_fp64 ? "yes" : "no",
             facts.native_width, facts.compute_capability, facts.wavefront_width,
             facts.has_kernel_timeout ? "yes" : "no");
    add(text, SIZE, "units", rates.units);
    add(text, SIZE, "wave_width", rates.wave_width);
    add(text, SIZE, "fp32_gflops", rates.fp32_gflops);
    add(text, SIZE, "special_gops", rates.special_gops);
    add(text, SIZE, "lookup_gops", rates.lookup_gops);
    add(text, SIZE, "memory_gbps", rates.memory_gbps);
    add(text, SIZE, "cache_gbps", rates.cache_gbps);
    add(text, SIZE, "link_gbps", rates.link_gbps);
    add(text, SIZE, "launch_us", rates.launch_us);
    *text_out = text;
    return EQF_OK;
}
