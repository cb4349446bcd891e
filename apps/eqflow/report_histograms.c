#include "report_histograms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

enum { DISTANCE_PIECE = 512 };

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the finite values in place; returns their number. */
static size_t sort_finite(double *values, size_t num) {
    size_t num_finite = 0;
    for (size_t i = 0; i < num; i++) {
        if (isfinite(values[i])) values[num_finite++] = values[i];
    }
    qsort(values, num_finite, sizeof *values, compare);
    return num_finite;
}

static double quantile(const double *sorted, size_t num, double fraction) {
    return num == 0 ? NAN : sorted[(size_t)(fraction * (double)(num - 1) + 0.5)];
}

static double *to_double(size_t num, const float *values) {
    double *result = malloc((num ? num : 1) * sizeof *result);
    for (size_t i = 0; result && i < num; i++) result[i] = values[i];
    return result;
}

static double sum_of(const double *density, report_range range) {
    double sum = 0;
    for (size_t i = 0; i < NUM_BINS; i++) sum += density[i];
    return sum * (range.high - range.low) / NUM_BINS;
}

void report_widen(report_range *range, double fraction) {
    double margin = fraction * (range->high - range->low);
    if (!(margin > 0)) margin = 1;
    range->low -= margin;
    range->high += margin;
}

/* The range of the data, widened for the model as far as the data stay visible. */
static report_range energy_range(size_t num_data, double *data, size_t num_model, double *model) {
    num_data = sort_finite(data, num_data);
    num_model = sort_finite(model, num_model);
    report_range range = {quantile(data, num_data, 0.0005), quantile(data, num_data, 0.9995)};
    if (num_data == 0) range.low = quantile(model, num_model, 0.01), range.high = quantile(model, num_model, 0.9);
    double spread = range.high - range.low;
    double low = quantile(model, num_model, 0.005), high = quantile(model, num_model, 0.97);
    if (low < range.low) range.low = fmax(low, range.low - spread);
    if (high > range.high) range.high = fmin(high, range.high + 1.5 * spread);
    report_widen(&range, 0.03);
    return range;
}

/* EXIT_CODE_DEVICE (out of memory) or EXIT_CODE_OK. */
exit_code report_energy_histogram(const report_content *report, picture_histogram *histogram) {
    double *data = to_double(report->num_data, report->energy_data);
    double *model = to_double(report->num_samples, report->energy_model);
    exit_code code = data && model ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        report_range range = energy_range(report->num_data, data, report->num_samples, model); /* sorts both */
        histogram->range = range;
        eqf_estimate_histogram(report->num_data, data, NULL, range.low, range.high, NUM_BINS, histogram->data);
        free(model);
        model = to_double(report->num_samples, report->energy_model); /* in the order of the weights again */
        code = model ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    }
    if (code == EXIT_CODE_OK) {
        report_range range = histogram->range;
        eqf_estimate_histogram(report->num_samples, model, NULL, range.low, range.high, NUM_BINS, histogram->model);
        if (isfinite(report->log_z)) {
            eqf_estimate_histogram(report->num_samples, model, report->log_weights, range.low, range.high, NUM_BINS,
                                   histogram->reweighted);
        }
        histogram->model_outside = 1 - sum_of(histogram->model, range);
    }
    free(data);
    free(model);
    return code;
}

typedef void (*distance_visitor)(void *user, size_t first, size_t num, size_t num_pairs, const float *distances);

/* Computes pair distances in pieces, because all of them need too much memory for large systems. */
static exit_code visit_distances(const report_content *report, size_t num, const float *x, distance_visitor visit,
                                 void *user) {
    size_t num_pairs = (size_t)report->num_particles * (report->num_particles - 1) / 2;
    size_t num_dof = (size_t)report->num_particles * report->space_dim;
    float *distances = malloc(DISTANCE_PIECE * num_pairs * sizeof *distances);
    if (!distances) return EXIT_CODE_DEVICE;
    for (size_t first = 0; first < num; first += DISTANCE_PIECE) {
        size_t count = num - first < DISTANCE_PIECE ? num - first : DISTANCE_PIECE;
        if (eqf_estimate_pair_distances(count, report->num_particles, report->space_dim, x + first * num_dof,
                                        distances) == EQF_OK) {
            visit(user, first, count, num_pairs, distances);
        }
    }
    free(distances);
    return EXIT_CODE_OK;
}

static void find_range(void *user, size_t first, size_t num, size_t num_pairs, const float *distances) {
    (void)first;
    report_range *range = user;
    for (size_t i = 0; i < num * num_pairs; i++) {
        if (!isfinite(distances[i])) continue;
        if (distances[i] < range->low) range->low = distances[i];
        if (distances[i] > range->high) range->high = distances[i];
    }
}

/* Adds into bins with the weight of each configuration; NULL log_weights: equal weights. */
typedef struct report_binning {
    report_range range;
    const double *log_weights;
    double log_weight_shift; /* the largest log-weight, subtracted to avoid overflow */
    double total, *bins;
} report_binning;

static void add_to_bins(void *user, size_t first, size_t num, size_t num_pairs, const float *distances) {
    report_binning *binning = user;
    double scale = NUM_BINS / (binning->range.high - binning->range.low);
    for (size_t b = 0; b < num; b++) {
        double weight = binning->log_weights ? exp(binning->log_weights[first + b] - binning->log_weight_shift) : 1;
        if (!(weight > 0)) continue;
        binning->total += weight * (double)num_pairs;
        for (size_t p = 0; p < num_pairs; p++) {
            double place = (distances[b * num_pairs + p] - binning->range.low) * scale;
            if (place >= 0 && place < NUM_BINS) binning->bins[(size_t)place] += weight;
        }
    }
}

static exit_code bin_distances(const report_content *report, size_t num, const float *x, const double *log_weights,
                               report_range range, double bins[NUM_BINS]) {
    report_binning binning = {range, log_weights, -INFINITY, 0, bins};
    for (size_t b = 0; log_weights && b < num; b++) {
        if (log_weights[b] > binning.log_weight_shift) binning.log_weight_shift = log_weights[b];
    }
    exit_code code = visit_distances(report, num, x, add_to_bins, &binning);
    double width = (range.high - range.low) / NUM_BINS;
    for (size_t i = 0; i < NUM_BINS && binning.total > 0; i++) bins[i] /= binning.total * width;
    return code;
}

/* The part of range that has all but a few of the distances, so that a single particle outside its cluster does not
 * widen the picture. */
static report_range trim(report_range range, const double bins[NUM_BINS]) {
    const double rare = 2e-4, width = (range.high - range.low) / NUM_BINS;
    size_t first = 0, last = NUM_BINS;
    for (double sum = 0; first + 1 < last && (sum += bins[first] * width) < rare;) first++;
    for (double sum = 0; last > first + 1 && (sum += bins[last - 1] * width) < rare;) last--;
    return (report_range){range.low + width * (double)first, range.low + width * (double)last};
}

exit_code report_distance_histogram(const report_content *report, picture_histogram *histogram) {
    report_range range = {INFINITY, -INFINITY};
    exit_code code = visit_distances(report, report->num_data, report->x_data, find_range, &range);
    if (!(range.low < range.high)) range.low = 0, range.high = 1;
    if (code == EXIT_CODE_OK) {
        code = bin_distances(report, report->num_data, report->x_data, NULL, range, histogram->data);
        range = trim(range, histogram->data);
        memset(histogram->data, 0, sizeof histogram->data);
    }
    report_widen(&range, 0.08);
    if (range.low < 0) range.low = 0;
    histogram->range = range;
    if (code == EXIT_CODE_OK) {
        code = bin_distances(report, report->num_data, report->x_data, NULL, range, histogram->data);
    }
    if (code == EXIT_CODE_OK) {
        code = bin_distances(report, report->num_samples, report->x_model, NULL, range, histogram->model);
    }
    if (code == EXIT_CODE_OK && isfinite(report->log_z)) {
        code = bin_distances(report, report->num_samples, report->x_model, report->log_weights, range,
                             histogram->reweighted);
    }
    histogram->model_outside = 1 - sum_of(histogram->model, range);
    return code;
}

/* Fills only `model`: ln w - ln Z, which is 0 for a perfect flow. */
exit_code report_weight_histogram(const report_content *report, picture_histogram *histogram) {
    size_t num = report->num_samples;
    double *values = malloc((num ? num : 1) * sizeof *values);
    if (!values) return EXIT_CODE_DEVICE;
    for (size_t b = 0; b < num; b++) values[b] = report->log_weights[b] - report->log_z;
    size_t num_finite = sort_finite(values, num);
    report_range range = {quantile(values, num_finite, 0.005), quantile(values, num_finite, 1)};
    range.low = fmin(fmax(range.low, -30), -1); /* samples further left have no effect */
    range.high = fmax(range.high, 1);
    report_widen(&range, 0.03);
    histogram->range = range;
    eqf_estimate_histogram(num_finite, values, NULL, range.low, range.high, NUM_BINS, histogram->model);
    histogram->model_outside = 1 - sum_of(histogram->model, range) * (double)num_finite / (double)num;
    free(values);
    return EXIT_CODE_OK;
}
