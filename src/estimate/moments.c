/* Weighted mean and variance, with errors by the jackknife over blocks (Kuensch, Ann. Stat. 17 (1989) 1217). */
#include <math.h>
#include <stdlib.h>

#include "base.h"
#include "eqflow/estimate.h"

/* Sums over samples, about a value near their mean. */
typedef struct moment_sums {
    double weights, first, second; /* sum w, sum w f, sum w f^2 */
} moment_sums;

static moment_sums difference(moment_sums a, moment_sums b) {
    return (moment_sums){a.weights - b.weights, a.first - b.first, a.second - b.second};
}

static double mean_of(moment_sums s) {
    return s.first / s.weights;
}

static double variance_of(moment_sums s) {
    return s.second / s.weights - mean_of(s) * mean_of(s);
}

/* The largest log-weight, and a value near the mean that is subtracted from all values; NON_FINITE as in
 * eqf_estimate_reweighted_mean. */
static eqf_status find_origin(size_t num, const double *log_weights, const double *values, double *shift_out,
                              double *centre_out) {
    double shift = log_weights != NULL ? -INFINITY : 0, weights = 0, sum = 0;
    for (size_t b = 0; log_weights != NULL && b < num; b++) {
        if (isnan(log_weights[b]) || log_weights[b] == INFINITY) return EQF_ERROR_NON_FINITE;
        shift = fmax(shift, log_weights[b]);
    }
    if (shift == -INFINITY) return EQF_ERROR_NON_FINITE;
    for (size_t b = 0; b < num; b++) {
        const double weight = log_weights != NULL ? exp(log_weights[b] - shift) : 1;
        if (weight == 0) continue;
        if (!isfinite(values[b])) return EQF_ERROR_NON_FINITE;
        weights += weight;
        sum += weight * values[b];
    }
    *shift_out = shift;
    *centre_out = sum / weights;
    return isfinite(*centre_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

static void add_block(moment_sums *sums, size_t begin, size_t end, const double *log_weights, const double *values,
                      double shift, double centre) {
    for (size_t b = begin; b < end; b++) {
        const double weight = log_weights != NULL ? exp(log_weights[b] - shift) : 1;
        if (weight == 0) continue;
        const double value = values[b] - centre;
        sums->weights += weight;
        sums->first += weight * value;
        sums->second += weight * value * value;
    }
}

eqf_status eqf_estimate_moments(size_t num, const double *log_weights, const double *values, size_t num_blocks,
                                eqf_moments *moments_out) {
    if (values == NULL || moments_out == NULL || num_blocks < 2 || num_blocks > num) return EQF_ERROR_INVALID_ARGUMENT;
    double shift, centre;
    EQF__TRY(find_origin(num, log_weights, values, &shift, &centre));
    moment_sums *blocks = calloc(num_blocks, sizeof *blocks), all = {0, 0, 0};
    if (blocks == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t k = 0; k < num_blocks; k++) {
        /* num k / num_blocks without overflow */
        const size_t each = num / num_blocks, rest = num % num_blocks;
        const size_t begin = k * each + (k < rest ? k : rest), end = begin + each + (k < rest);
        add_block(&blocks[k], begin, end, log_weights, values, shift, centre);
        all.weights += blocks[k].weights;
        all.first += blocks[k].first;
        all.second += blocks[k].second;
    }
    double mean_sum = 0, mean_squares = 0, variance_sum = 0, variance_squares = 0, count = 0;
    for (size_t k = 0; k < num_blocks; k++) {
        const moment_sums rest = difference(all, blocks[k]);
        if (!(rest.weights > 0)) continue; /* the block has all the weight: the other samples have no mean */
        const double mean = mean_of(rest), variance = variance_of(rest);
        mean_sum += mean;
        mean_squares += mean * mean;
        variance_sum += variance;
        variance_squares += variance * variance;
        count++;
    }
    free(blocks);
    if (count < 2) return EQF_ERROR_NON_FINITE;
    const double factor = (count - 1) / count;
    const eqf_moments moments = {
        .struct_size = sizeof moments,
        .mean = centre + mean_of(all),
        .mean_standard_error = sqrt(fmax(0, factor * (mean_squares - mean_sum * mean_sum / count))),
        .variance = fmax(0, variance_of(all)),
        .variance_standard_error = sqrt(fmax(0, factor * (variance_squares - variance_sum * variance_sum / count))),
    };
    return EQF__WRITE(NULL, EQF_MOMENTS_INIT, &moments, moments_out);
}
