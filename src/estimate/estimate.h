/* What the files of src/estimate share. */
#ifndef EQF_ESTIMATE_INTERNAL_H
#define EQF_ESTIMATE_INTERNAL_H

/* Philox stream of the bootstrap (last counter word), apart from those of the kernels. */
#define EQF__STREAM_BOOTSTRAP 0x626f6f74u
/* and of the independence chain. */
#define EQF__STREAM_METROPOLIS 0x6d657472u

/* and of the tail of weights that no sample has. */
#define EQF__STREAM_TAIL 0x7461696cu

#include <stdbool.h>
#include <stddef.h>

#include "eqflow/status.h"

/* The largest log-weight, by which all are shifted. NON_FINITE for NaN, +inf, or if every weight is zero. */
eqf_status eqf__largest_log_weight(size_t num, const double *log_weights, double *largest_out);
/* sum w f / sum w and the sum of the weights, each times exp(-shift). */
eqf_status eqf__reweighted_mean(size_t num, const double *log_weights, const double *values, double shift,
                                double *mean_out, double *sum_of_weights_out);

/* Weights above threshold are threshold + (generalised Pareto of this scale and shape): P(excess > y) = (1 + shape y /
 * scale)^(-1 / shape). threshold INFINITY: nothing is known of a tail. */
typedef struct eqf__weight_tail {
    double threshold, scale, shape;
} eqf__weight_tail;
/* Fits the largest min(num / 5, 3 sqrt(num)) of weights [num]. False: too few of them, or no tail. */
bool eqf__weight_tail_fit(size_t num, const double *weights, eqf__weight_tail *tail_out);
/* A weight of the tail, of a uniform number on (0, 1). */
double eqf__weight_tail_draw(const eqf__weight_tail *tail, double uniform);

#endif
