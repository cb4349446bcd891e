/* The limits of the open device, by which measured speeds are divided. */
#ifndef EQFLOW_BENCH_H
#define EQFLOW_BENCH_H

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_bench_yardsticks {
    size_t struct_size; /* set by EQF_BENCH_YARDSTICKS_INIT */
    double fma_gflops; /* float32 fused multiply-adds, two operations each, 1e9/s */
    double copy_gbps;  /* copy between buffers too large for a cache, read + written, 1e9 bytes/s */
    size_t copy_bytes; /* size of each of the two buffers */
} eqf_bench_yardsticks;
#define EQF_BENCH_YARDSTICKS_INIT {.struct_size = sizeof(eqf_bench_yardsticks)}

/* Each figure is the best of several short runs; less than a second in all on common devices. Errors: SELF_TEST (the
 * device gives a wrong sum or copy), those of the device. */
eqf_status eqf_bench_probe(eqf_context *ctx, eqf_bench_yardsticks *yardsticks_out);

/* Stores the figures for the open device and its driver in the user's cache; "auto" chooses the fastest device by them.
 * Errors: IO, NOT_FOUND (caching is off). */
eqf_status eqf_bench_remember(eqf_context *ctx, const eqf_bench_yardsticks *yardsticks);

#ifdef __cplusplus
}
#endif
#endif
