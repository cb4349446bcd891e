/* How much CLBlast gains by the parameters of src/dynamics/gemm.c: the sizes that a dense field multiplies (dw4 and
 * lj13, width 128), first with CLBlast's own parameters, then with ours. Best of many runs; docs/benchmarks.md has
 * the figures. Build it as target bench_gemm. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gemm.h"
#include "program.h"

typedef struct gemm_size {
    const char *what;
    size_t num_m, num_n, num_k;
} gemm_size;

static const gemm_size sizes[] = {
    {"hidden layer, a full tile", 8192, 128, 128},       {"hidden layer, dw4, batch 256", 1792, 128, 128},
    {"hidden layer, batch 256, Hutchinson", 512, 128, 128}, {"first layer, dw4", 8192, 128, 16},
    {"first layer, lj13", 8192, 128, 48},                {"last layer, dw4", 8192, 16, 128},
    {"gradient of a hidden layer", 128, 128, 8192},
};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best seconds of one product over about half a second. */
static eqf_status measure(eqf_context *ctx, const gemm_size *size, double *best_out) {
    cl_mem d_a = NULL, d_b = NULL, d_c = NULL;
    float *ones = malloc(size->num_k * size->num_m * sizeof *ones);
    if (ones == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < size->num_k * size->num_m; i++) ones[i] = 1.0f;
    eqf_status status = eqf__buffer_create(ctx, size->num_k * size->num_m * sizeof(float), ones, "A", &d_a);
    if (status == EQF_OK)
        status = eqf__buffer_create(ctx, size->num_k * size->num_n * sizeof(float), ones, "B", &d_b);
    if (status == EQF_OK) status = eqf__buffer_create(ctx, size->num_n * size->num_m * sizeof(float), NULL, "C", &d_c);
    *best_out = 1e30;
    const double start = now_seconds();
    for (unsigned run = 0; status == EQF_OK && (run < 5 || (run < 1000 && now_seconds() - start < 0.5)); run++) {
        const double before = now_seconds();
        status = eqf__gemm(ctx, size->num_m, size->num_n, size->num_k, d_a, d_b, d_c);
        if (status == EQF_OK) status = eqf__finish(ctx);
        const double seconds = now_seconds() - before;
        if (seconds < *best_out) *best_out = seconds;
    }
    eqf__buffer_destroy(&d_a);
    eqf__buffer_destroy(&d_b);
    eqf__buffer_destroy(&d_c);
    free(ones);
    return status;
}

/* A context of its own for each tuning: CLBlast builds its programs once a context. */
static int measure_all(eqf__gemm_tuning tuning, double best_out[NUM_SIZES], double *first_out) {
    eqf_context *ctx;
    if (eqf_context_create(NULL, &ctx) != EQF_OK) return 1;
    const double start = now_seconds();
    eqf_status status = eqf__gemm_open(ctx, tuning);
    *first_out = now_seconds() - start;
    for (size_t s = 0; s < NUM_SIZES && status == EQF_OK; s++) status = measure(ctx, &sizes[s], &best_out[s]);
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    if (status == EQF_OK && tuning == EQF__GEMM_DEFAULTS && eqf_context_device(ctx, &device) == EQF_OK)
        printf("%s, %s\n", device.name, device.platform_version);
    if (status != EQF_OK) fprintf(stderr, "bench_gemm: %s\n", eqf_context_error(ctx));
    eqf_context_destroy(&ctx);
    return status != EQF_OK;
}

int main(void) {
    double defaults[NUM_SIZES], tuned[NUM_SIZES], first_default, first_tuned;
    if (measure_all(EQF__GEMM_DEFAULTS, defaults, &first_default) != 0) return 1;
    if (measure_all(EQF__GEMM_TUNED, tuned, &first_tuned) != 0) return 1;
    printf("%-38s %6s %5s %6s %10s %10s %7s\n", "GFLOP/s", "M", "N", "K", "CLBlast's", "ours", "ratio");
    for (size_t s = 0; s < NUM_SIZES; s++) {
        const double flops = 2e-9 * (double)sizes[s].num_m * (double)sizes[s].num_n * (double)sizes[s].num_k;
        printf("%-38s %6zu %5zu %6zu %10.1f %10.1f %7.1f\n", sizes[s].what, sizes[s].num_m, sizes[s].num_n,
               sizes[s].num_k, flops / defaults[s], flops / tuned[s], defaults[s] / tuned[s]);
    }
    printf("first product, compilation included: %.2f s and %.2f s\n", first_default, first_tuned);
    return 0;
}
