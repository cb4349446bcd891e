/* Errors of weighted averages and of weights, by resampling: Philox draws with replacement, and the same seed gives
 * the same draws. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <Random123/philox.h>

#include "base.h"
#include "eqflow/estimate.h"
#include "estimate.h"

/* An index below num from 64 random bits; 53 of them decide, so that num up to 2^53 is drawn evenly. */
static size_t index_from_words(uint32_t high, uint32_t low, size_t num) {
    double uniform = (double)((((uint64_t)high << 32) | low) >> 11) * 0x1p-53;
    size_t index = (size_t)(uniform * (double)num);
    return index < num ? index : num - 1;
}

/* Sums over one resample: num draws with replacement. In the last two sums weights of the tail are drawn anew from the
 * fitted distribution, so that there are large weights which these samples happen to lack. */
typedef struct resample_sums {
    double weights, squared_weights, weighted_values;
    double smooth_weights, smooth_squared_weights;
} resample_sums;

/* Number `draw` of a resample that drew `weight`: the weight itself, or a new one from the tail if it belongs to
 * that. */
static double smooth_weight(const eqf__weight_tail *tail, double weight, uint64_t seed, uint64_t draw,
                            unsigned resample) {
    if (!(weight > tail->threshold)) return weight;
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t counter = {{(uint32_t)draw, (uint32_t)(draw >> 32), resample, EQF__STREAM_TAIL}};
    philox4x32_ctr_t words = philox4x32(counter, key);
    const uint64_t bits = ((uint64_t)words.v[0] << 32) | words.v[1];
    return eqf__weight_tail_draw(tail, ((double)(bits >> 11) + 0.5) * 0x1p-53);
}

/* exp(log_weights [num] - shift), computed once for all resamples; the caller frees it. NULL: out of memory. */
static double *shifted_weights(size_t num, const double *log_weights, double shift) {
    double *weights = num <= SIZE_MAX / sizeof *weights ? malloc(num * sizeof *weights) : NULL;
    for (size_t b = 0; weights != NULL && b < num; b++) weights[b] = exp(log_weights[b] - shift);
    return weights;
}

/* values and tail may be NULL. */
static resample_sums draw_resample(size_t num, const double *weights, const double *values,
                                   const eqf__weight_tail *tail, uint64_t seed, unsigned resample) {
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    resample_sums sums = {0.0, 0.0, 0.0, 0.0, 0.0};
    for (size_t draw = 0; draw < num; draw += 2) {
        uint64_t pair = draw / 2;
        philox4x32_ctr_t counter = {{(uint32_t)pair, (uint32_t)(pair >> 32), resample, EQF__STREAM_BOOTSTRAP}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        size_t last = num - draw < 2 ? 1 : 2;
        for (size_t k = 0; k < last; k++) {
            size_t b = index_from_words(words.v[2 * k], words.v[2 * k + 1], num);
            double weight = weights[b];
            if (weight == 0.0) continue;
            if (values != NULL) sums.weighted_values += weight * values[b];
            sums.weights += weight;
            sums.squared_weights += weight * weight;
            if (tail == NULL) continue;
            const double smooth = smooth_weight(tail, weight, seed, draw + k, resample);
            sums.smooth_weights += smooth;
            sums.smooth_squared_weights += smooth * smooth;
        }
    }
    return sums;
}

/* Welford's running variance. */
typedef struct running_variance {
    size_t num;
    double mean, sum_of_squares;
} running_variance;

static void add_value(running_variance *running, double value) {
    double step = value - running->mean;
    running->num++;
    running->mean += step / (double)running->num;
    running->sum_of_squares += step * (value - running->mean);
}

static double standard_deviation(const running_variance *running) {
    return sqrt(running->sum_of_squares / (double)(running->num - 1));
}

eqf_status eqf_estimate_reweighted_bootstrap(size_t num, const double *log_weights, const double *values,
                                             unsigned num_resamples, uint64_t seed, double *mean_out,
                                             double *standard_error_out) {
    if (num == 0 || num_resamples < 2 || log_weights == NULL || values == NULL || mean_out == NULL ||
        standard_error_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    double shift, mean, sum_of_weights;
    eqf_status status = eqf__largest_log_weight(num, log_weights, &shift);
    if (status == EQF_OK) status = eqf__reweighted_mean(num, log_weights, values, shift, &mean, &sum_of_weights);
    if (status != EQF_OK) return status;

    double *weights = shifted_weights(num, log_weights, shift);
    if (weights == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    running_variance means = {0, 0.0, 0.0};
    for (unsigned resample = 0; resample < num_resamples; resample++) {
        resample_sums sums = draw_resample(num, weights, values, NULL, seed, resample);
        /* A resample whose weights are all zero has no mean; it is left out. */
        if (sums.weights > 0.0) add_value(&means, sums.weighted_values / sums.weights);
    }
    free(weights);
    if (means.num < 2) return EQF_ERROR_NON_FINITE;
    *mean_out = mean;
    *standard_error_out = standard_deviation(&means);
    return isfinite(*standard_error_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

static int ascending(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Half of the bound within which 95 % of the changes [num] lie; sorts them. The root mean square would depend on the
 * few resamples with the largest weights, and would not converge for a tail without a variance. */
static double error_of_changes(size_t num, double *changes) {
    for (size_t i = 0; i < num; i++) changes[i] = fabs(changes[i]);
    qsort(changes, num, sizeof *changes, ascending);
    return 0.5 * changes[(size_t)(0.95 * (double)(num - 1) + 0.5)];
}

/* memory [num_resamples]. Changes are measured from the estimate and not from the resamples' mean, because an estimate
 * that lacks the largest weights is too large. */
static eqf_status bootstrap_weights(size_t num, const double *weights, unsigned num_resamples, uint64_t seed,
                                    double *memory, double *log_z_standard_error_out,
                                    double *ess_fraction_standard_error_out) {
    running_variance log_z = {0, 0.0, 0.0};
    eqf__weight_tail tail;
    eqf__weight_tail_fit(num, weights, &tail);
    double sum = 0.0, sum_of_squares = 0.0;
    for (size_t b = 0; b < num; b++) {
        sum += weights[b];
        sum_of_squares += weights[b] * weights[b];
    }
    const double ess_fraction = sum * sum / sum_of_squares / (double)num;
    for (unsigned resample = 0; resample < num_resamples; resample++) {
        resample_sums sums = draw_resample(num, weights, NULL, &tail, seed, resample);
        if (!(sums.weights > 0.0)) continue;
        memory[log_z.num] =
            sums.smooth_weights * sums.smooth_weights / sums.smooth_squared_weights / (double)num - ess_fraction;
        add_value(&log_z, log(sums.weights));
    }
    if (log_z.num < 2) return EQF_ERROR_NON_FINITE;
    *log_z_standard_error_out = standard_deviation(&log_z);
    *ess_fraction_standard_error_out = error_of_changes(log_z.num, memory);
    return EQF_OK;
}

eqf_status eqf_estimate_weights_bootstrap(size_t num, const double *log_weights, unsigned num_resamples, uint64_t seed,
                                          double *log_z_standard_error_out, double *ess_fraction_standard_error_out) {
    if (num == 0 || num_resamples < 2 || log_weights == NULL || log_z_standard_error_out == NULL ||
        ess_fraction_standard_error_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    double shift;
    EQF__TRY(eqf__largest_log_weight(num, log_weights, &shift));
    double *weights = shifted_weights(num, log_weights, shift), *memory = malloc(num_resamples * sizeof *memory);
    const eqf_status status = weights == NULL || memory == NULL
                                  ? EQF_ERROR_OUT_OF_MEMORY
                                  : bootstrap_weights(num, weights, num_resamples, seed, memory,
                                                      log_z_standard_error_out, ess_fraction_standard_error_out);
    free(weights);
    free(memory);
    return status;
}

/* ---- Samples of the target --------------------------------------------------------------------------------------- */

/* ESS = 1 / (mean w  mean 1/w) over the data: both means, with weights scaled so that the largest is 1. */
typedef struct forward_means {
    double weights, inverse_weights;
} forward_means;

static forward_means draw_forward(size_t num, const double *weights, const double *inverses,
                                  const eqf__weight_tail *tail, const eqf__weight_tail *inverse_tail, uint64_t seed,
                                  unsigned resample) {
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    forward_means means = {0.0, 0.0};
    for (size_t draw = 0; draw < num; draw += 2) {
        uint64_t pair = draw / 2;
        philox4x32_ctr_t counter = {{(uint32_t)pair, (uint32_t)(pair >> 32), resample, EQF__STREAM_BOOTSTRAP}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        for (size_t k = 0; k < (num - draw < 2 ? 1 : 2); k++) {
            size_t b = index_from_words(words.v[2 * k], words.v[2 * k + 1], num);
            means.weights += smooth_weight(tail, weights[b], seed, draw + k, resample);
            means.inverse_weights += smooth_weight(inverse_tail, inverses[b], seed, draw + k, resample);
        }
    }
    means.weights /= (double)num;
    means.inverse_weights /= (double)num;
    return means;
}

/* memory [2 num + num_resamples]: weights, their inverses, changes. */
static eqf_status forward_ess(size_t num, const double *log_weights, double largest, double smallest, double *memory,
                              unsigned num_resamples, uint64_t seed, double *ess_fraction_out,
                              double *standard_error_out) {
    double *weights = memory, *inverses = memory + num, *changes = inverses + num;
    const double scale =
        exp(smallest - largest); /* 0: the ratio of weights is too small for a double, and so is the ESS */
    forward_means means = {0.0, 0.0};
    for (size_t b = 0; b < num; b++) {
        weights[b] = exp(log_weights[b] - largest);
        inverses[b] = exp(smallest - log_weights[b]);
        means.weights += weights[b];
        means.inverse_weights += inverses[b];
    }
    means.weights /= (double)num;
    means.inverse_weights /= (double)num;
    const double ess_fraction = fmin(scale / (means.weights * means.inverse_weights), 1.0);
    eqf__weight_tail tail, inverse_tail;
    eqf__weight_tail_fit(num, weights, &tail);
    eqf__weight_tail_fit(num, inverses, &inverse_tail);
    for (unsigned resample = 0; resample < num_resamples; resample++) {
        const forward_means drawn = draw_forward(num, weights, inverses, &tail, &inverse_tail, seed, resample);
        changes[resample] = scale / (drawn.weights * drawn.inverse_weights) - ess_fraction;
    }
    *ess_fraction_out = ess_fraction;
    *standard_error_out = error_of_changes(num_resamples, changes);
    return EQF_OK;
}

eqf_status eqf_estimate_forward_ess(size_t num, const double *log_weights, unsigned num_resamples, uint64_t seed,
                                    double *ess_fraction_out, double *standard_error_out) {
    if (num == 0 || num_resamples < 2 || log_weights == NULL || ess_fraction_out == NULL || standard_error_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    double largest, smallest = INFINITY;
    EQF__TRY(eqf__largest_log_weight(num, log_weights, &largest));
    for (size_t b = 0; b < num; b++) smallest = fmin(smallest, log_weights[b]);
    if (smallest == -INFINITY) return EQF_ERROR_NON_FINITE; /* no sample of the target */
    double *memory = num <= SIZE_MAX / sizeof *memory / 4 ? malloc((2 * num + num_resamples) * sizeof *memory) : NULL;
    if (memory == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const eqf_status status = forward_ess(num, log_weights, largest, smallest, memory, num_resamples, seed,
                                          ess_fraction_out, standard_error_out);
    free(memory);
    return status;
}
