/* Estimates from weighted and from independent samples. All arithmetic is double; weights are handled as logarithms
 * and shifted by their largest before they are exponentiated. */
#include "eqflow/estimate.h"

#include <math.h>
#include <stdlib.h>

#include "base.h"
#include "estimate.h"

eqf_status eqf_estimate_log_weights(size_t num, const float *energy, const float *log_prob, double *log_weights_out) {
    if (num > 0 && (energy == NULL || log_prob == NULL || log_weights_out == NULL)) return EQF_ERROR_INVALID_ARGUMENT;
    for (size_t b = 0; b < num; b++) {
        double energy_b = energy[b], log_prob_b = log_prob[b];
        if (isnan(energy_b) || energy_b == INFINITY) {
            /* Outside the potential's domain the weight is zero, whatever the model's density is. */
            log_weights_out[b] = -INFINITY;
            continue;
        }
        if (!isfinite(energy_b) || !isfinite(log_prob_b)) return EQF_ERROR_NON_FINITE;
        log_weights_out[b] = -energy_b - log_prob_b;
    }
    return EQF_OK;
}

eqf_status eqf__largest_log_weight(size_t num, const double *log_weights, double *shift_out) {
    double shift = -INFINITY;
    for (size_t b = 0; b < num; b++) {
        if (isnan(log_weights[b]) || log_weights[b] == INFINITY) return EQF_ERROR_NON_FINITE;
        if (log_weights[b] > shift) shift = log_weights[b];
    }
    if (shift == -INFINITY) return EQF_ERROR_NON_FINITE;
    *shift_out = shift;
    return EQF_OK;
}

eqf_status eqf_estimate_weights(size_t num, const double *log_weights, eqf_weight_summary *summary_out) {
    if (num == 0 || log_weights == NULL || summary_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    double shift;
    eqf_status status = eqf__largest_log_weight(num, log_weights, &shift);
    if (status != EQF_OK) return status;

    double sum = 0.0, sum_of_squares = 0.0;
    for (size_t b = 0; b < num; b++) {
        double weight = exp(log_weights[b] - shift);
        sum += weight;
        sum_of_squares += weight * weight;
    }
    double count = (double)num;
    double ess = fmin(sum * sum / sum_of_squares, count); /* for equal weights rounding may give more than count */
    const eqf_weight_summary summary = {
        .struct_size = sizeof summary,
        .num_samples = num,
        .ess = ess,
        .ess_fraction = ess / count,
        .max_weight_fraction = 1.0 / sum, /* the largest shifted weight is exactly 1 */
        .log_z = shift + log(sum / count),
        .log_z_standard_error = sqrt((count / ess - 1.0) / count),
    };
    return EQF__WRITE(NULL, EQF_WEIGHT_SUMMARY_INIT, &summary, summary_out);
}

eqf_status eqf_estimate_mean(size_t num, const double *values, double *mean_out, double *standard_error_out) {
    if (num < 2 || values == NULL || mean_out == NULL || standard_error_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    double sum = 0.0;
    for (size_t b = 0; b < num; b++) {
        if (!isfinite(values[b])) return EQF_ERROR_NON_FINITE;
        sum += values[b];
    }
    double count = (double)num, mean = sum / count, sum_of_squares = 0.0;
    for (size_t b = 0; b < num; b++) sum_of_squares += (values[b] - mean) * (values[b] - mean);
    *mean_out = mean;
    *standard_error_out = sqrt(sum_of_squares / (count - 1.0) / count);
    return isfinite(mean) && isfinite(*standard_error_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

eqf_status eqf__reweighted_mean(size_t num, const double *log_weights, const double *values, double shift,
                                double *mean_out, double *sum_of_weights_out) {
    double sum = 0.0, sum_of_weights = 0.0;
    for (size_t b = 0; b < num; b++) {
        double weight = exp(log_weights[b] - shift);
        if (weight == 0.0) continue;
        if (!isfinite(values[b])) return EQF_ERROR_NON_FINITE;
        sum += weight * values[b];
        sum_of_weights += weight;
    }
    *mean_out = sum / sum_of_weights;
    *sum_of_weights_out = sum_of_weights;
    return isfinite(*mean_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

eqf_status eqf_estimate_reweighted_mean(size_t num, const double *log_weights, const double *values, double *mean_out,
                                        double *standard_error_out) {
    if (num == 0 || log_weights == NULL || values == NULL || mean_out == NULL || standard_error_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    double shift, mean, sum_of_weights;
    eqf_status status = eqf__largest_log_weight(num, log_weights, &shift);
    if (status == EQF_OK) status = eqf__reweighted_mean(num, log_weights, values, shift, &mean, &sum_of_weights);
    if (status != EQF_OK) return status;

    double sum_of_squares = 0.0;
    for (size_t b = 0; b < num; b++) {
        double weight = exp(log_weights[b] - shift);
        if (weight == 0.0) continue;
        double deviation = weight * (values[b] - mean);
        sum_of_squares += deviation * deviation;
    }
    *mean_out = mean;
    *standard_error_out = sqrt(sum_of_squares) / sum_of_weights;
    return isfinite(*standard_error_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

eqf_status eqf_estimate_histogram(size_t num, const double *values, const double *log_weights, double low, double high,
                                  size_t num_bins, double *density_out) {
    if (num == 0 || num_bins == 0 || values == NULL || density_out == NULL || !(low < high) || !isfinite(high - low))
        return EQF_ERROR_INVALID_ARGUMENT;
    double shift = 0.0;
    if (log_weights != NULL) {
        eqf_status status = eqf__largest_log_weight(num, log_weights, &shift);
        if (status != EQF_OK) return status;
    }
    double bin_width = (high - low) / (double)num_bins, sum_of_weights = 0.0;
    for (size_t k = 0; k < num_bins; k++) density_out[k] = 0.0;
    for (size_t b = 0; b < num; b++) {
        double weight = log_weights == NULL ? 1.0 : exp(log_weights[b] - shift);
        sum_of_weights += weight;
        if (!(values[b] >= low && values[b] < high)) continue; /* NaN too */
        size_t bin = (size_t)((values[b] - low) / bin_width);
        density_out[bin < num_bins ? bin : num_bins - 1] += weight; /* the quotient may round up to num_bins */
    }
    for (size_t k = 0; k < num_bins; k++) density_out[k] /= sum_of_weights * bin_width;
    return EQF_OK;
}

/* Sums of one bin over samples, f being the fraction of a sample's values that fall into it. */
typedef struct bin_sums {
    double weighted, squared, cross; /* sum w f, sum w^2 f^2, sum w^2 f */
    size_t of_sample;                /* values of the current sample */
} bin_sums;

static void add_sample(bin_sums *bins, size_t num_values, const float *values, double weight, double low,
                       double bin_width, size_t num_bins) {
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t v = 0; v < num_values; v++) {
            double place = (values[v] - low) / bin_width;
            if (!(place >= 0.0 && place < (double)num_bins)) continue; /* NaN too */
            bin_sums *bin = bins + (size_t)place;
            if (pass == 0) {
                bin->of_sample++;
            } else if (bin->of_sample > 0) { /* once for each bin: later values of the sample find 0 */
                double fraction = (double)bin->of_sample / (double)num_values;
                bin->weighted += weight * fraction;
                bin->squared += weight * weight * fraction * fraction;
                bin->cross += weight * weight * fraction;
                bin->of_sample = 0;
            }
        }
}

eqf_status eqf_estimate_histogram_with_error(size_t num, size_t num_values, const float *values,
                                             const double *log_weights, double low, double high, size_t num_bins,
                                             double *density_out, double *standard_error_out) {
    if (num == 0 || num_values == 0 || num_bins == 0 || values == NULL || density_out == NULL ||
        standard_error_out == NULL || !(low < high) || !isfinite(high - low))
        return EQF_ERROR_INVALID_ARGUMENT;
    double shift = 0.0;
    if (log_weights != NULL) {
        eqf_status status = eqf__largest_log_weight(num, log_weights, &shift);
        if (status != EQF_OK) return status;
    }
    bin_sums *bins = calloc(num_bins, sizeof *bins);
    if (bins == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const double bin_width = (high - low) / (double)num_bins;
    double sum = 0.0, sum_of_squares = 0.0;
    for (size_t b = 0; b < num; b++) {
        double weight = log_weights == NULL ? 1.0 : exp(log_weights[b] - shift);
        if (weight == 0.0) continue;
        sum += weight;
        sum_of_squares += weight * weight;
        add_sample(bins, num_values, values + b * num_values, weight, low, bin_width, num_bins);
    }
    for (size_t k = 0; k < num_bins; k++) {
        /* sum w^2 (f - p)^2 */
        double p = bins[k].weighted / sum;
        double square = bins[k].squared - 2.0 * p * bins[k].cross + p * p * sum_of_squares;
        density_out[k] = p / bin_width;
        standard_error_out[k] = sqrt(fmax(square, 0.0)) / sum / bin_width;
    }
    free(bins);
    return EQF_OK;
}

eqf_status eqf_estimate_pair_distances(size_t batch_size, unsigned num_particles, unsigned space_dim, const float *x,
                                       float *distance_out) {
    if (num_particles < 2 || space_dim == 0 || (batch_size > 0 && (x == NULL || distance_out == NULL)))
        return EQF_ERROR_INVALID_ARGUMENT;
    for (size_t b = 0; b < batch_size; b++) {
        const float *x_b = x + b * num_particles * space_dim; /* [N, D] */
        for (unsigned i = 0; i < num_particles; i++)
            for (unsigned j = i + 1; j < num_particles; j++) {
                double squared = 0.0;
                for (unsigned d = 0; d < space_dim; d++) {
                    double difference = (double)x_b[i * space_dim + d] - (double)x_b[j * space_dim + d];
                    squared += difference * difference;
                }
                *distance_out++ = (float)sqrt(squared);
            }
    }
    return EQF_OK;
}
