/* What the files of src/estimate share. */
#ifndef EQF_ESTIMATE_INTERNAL_H
#define EQF_ESTIMATE_INTERNAL_H

/* Philox streams (the last counter word), different from those of the kernels: of the bootstrap, */
#define EQF__STREAM_BOOTSTRAP 0x626f6f74u
/* of the independence chain, */
#define EQF__STREAM_METROPOLIS 0x6d657472u

/* and of weights that are drawn from a fitted tail. */
#define EQF__STREAM_TAIL 0x7461696cu

#include <stdbool.h>
#include <stddef.h>

#include "eqflow/status.h"

/* The largest log-weight, which is subtracted from all before exponentiation. NON_FINITE for NaN, +inf, or if every
 * weight is zero. */
eqf_status eqf__largest_log_weight(size_t num, const double *log_weights, double *largest_out);
/* sum w f / sum w and the sum of the weights, each times exp(-shift). */
eqf_status eqf__reweighted_mean(size_t num, const double *log_weights, const double *values, double shift,
                                double *mean_out, double *sum_of_weights_out);

/* A weight above threshold is threshold + an excess with the generalised Pareto distribution P(excess > y) = (1 + shape
 * y / scale)^(-1 / shape). threshold INFINITY: no tail was fitted. */
typedef struct eqf__weight_tail {
    double threshold, scale, shape;
} eqf__weight_tail;
/* Fits the largest min(num / 5, 3 sqrt(num)) of weights [num]. False: too few, or no tail. */
bool eqf__weight_tail_fit(size_t num, const double *weights, eqf__weight_tail *tail_out);
/* A weight of the tail from a uniform number on (0, 1). */
double eqf__weight_tail_draw(const eqf__weight_tail *tail, double uniform);

#endif
