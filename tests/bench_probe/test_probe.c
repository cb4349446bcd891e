/* The yardsticks against bounds known otherwise: a chain of dependent additions and memcpy on the host, and what the
 * widest units of today can do at most. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eqflow/bench.h"
#include "support.h"

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One dependent multiply-add after the other: what a peak must beat by far. 1e9 operations/s. */
static double host_chain_gflops(void) {
    enum { NUM_STEPS = 20000000 };
    volatile float factor = 1.0f, term = 1.0f;
    double best = INFINITY;
    for (int run = 0; run < 3; run++) {
        const float f = factor, t = term;
        float a = 0;
        const double begin = now_seconds();
        for (int i = 0; i < NUM_STEPS; i++) a = a * f + t;
        const double seconds = now_seconds() - begin;
        assert_true(a >= 16777216.0f); /* counting stops there in float32 */
        best = fmin(best, seconds);
    }
    return 2e-9 * NUM_STEPS / best;
}

/* 1e9 bytes/s, read + written. */
static double host_copy_gbps(size_t num_bytes) {
    unsigned char *source = malloc(num_bytes), *target = malloc(num_bytes);
    assert_non_null(source);
    assert_non_null(target);
    memset(source, 1, num_bytes);
    memset(target, 2, num_bytes);
    double best = INFINITY;
    for (int run = 0; run < 3; run++) {
        const double begin = now_seconds();
        memcpy(target, source, num_bytes);
        best = fmin(best, now_seconds() - begin);
        assert_int_equal(target[num_bytes - 1], 1);
    }
    free(source);
    free(target);
    return 2e-9 * (double)num_bytes / best;
}

static void test_yardsticks(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    eqf_bench_yardsticks y = EQF_BENCH_YARDSTICKS_INIT;
    const double begin = now_seconds();
    TEST_OK(ctx, eqf_bench_probe(ctx, &y));
    const double cold_seconds = now_seconds() - begin;
    TEST_OK(ctx, eqf_bench_probe(ctx, &y));
    const double seconds = now_seconds() - begin - cold_seconds;
    print_message("FMA peak %.4g GFLOP/s, copy %.4g GB/s over %zu bytes; probe took %.2f s, then %.2f s\n",
                  y.fma_gflops, y.copy_gbps, y.copy_bytes, cold_seconds, seconds);
    assert_true(y.fma_gflops > 0 && isfinite(y.fma_gflops));
    assert_true(y.copy_gbps > 0 && isfinite(y.copy_gbps));
    assert_true(y.copy_bytes >= 4096 && y.copy_bytes % 4096 == 0);
    if (device.type != EQF_DEVICE_CPU || device.vector_width == 1) return; /* a GPU or a simulator: no host bounds */
    const double chain = host_chain_gflops(), copy = host_copy_gbps(y.copy_bytes);
    const double fma_limit = 64.0 * 6.0 * device.compute_units; /* two 16-wide FMAs a cycle at 6 GHz */
    print_message("host: dependent chain %.3g GFLOP/s, memcpy %.3g GB/s; limit %.4g GFLOP/s\n", chain, copy, fma_limit);
    assert_true(y.fma_gflops > 3 * chain);
    assert_true(y.fma_gflops < fma_limit); /* more: the compiler found a shorter way */
    assert_true(y.copy_gbps > 0.15 * copy);
    assert_true(y.copy_gbps < 4.0 * copy * device.compute_units); /* more: it stayed in a cache */
    assert_true(seconds < 5); /* meant: below 1 s; other work on the machine is allowed for */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_yardsticks)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
