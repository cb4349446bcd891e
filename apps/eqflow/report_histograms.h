/* Histograms for the pictures of a report, with their ranges. */
#ifndef REPORT_HISTOGRAMS_H
#define REPORT_HISTOGRAMS_H

#include "report.h"

enum { NUM_BINS = 90 };

typedef struct report_range {
    double low, high;
} report_range;

typedef struct picture_histogram {
    report_range range;
    double data[NUM_BINS], model[NUM_BINS], reweighted[NUM_BINS];
    double model_outside; /* fraction of the model's samples outside the range */
} picture_histogram;

/* Widens the range by that fraction on either side. */
void report_widen(report_range *range, double fraction);

/* Energies, pair distances and log-weights of the report's data and samples. */
exit_code report_energy_histogram(const report_content *report, picture_histogram *histogram);
exit_code report_distance_histogram(const report_content *report, picture_histogram *histogram);
exit_code report_weight_histogram(const report_content *report, picture_histogram *histogram);

#endif
