#include "report_weights.h"

#include <math.h>
#include <stdlib.h>

/* Sums over the first weights, exp(log_weight - shift); one row for each printed number of samples. */
typedef struct running {
    double size, log_z, standard_error, ess_fraction;
} running;

enum { NUM_SIZES = 160, FIRST_SIZE = 20, MOST_POINTS = 2000 };

static double largest_of(size_t num, const double *log_weights) {
    double largest = -INFINITY;
    for (size_t b = 0; b < num; b++) {
        if (isfinite(log_weights[b]) && log_weights[b] > largest) largest = log_weights[b];
    }
    return largest;
}

/* Rows for numbers of samples from 20 to num, evenly spaced in the logarithm; returns how many. */
static size_t run_over(const report_content *report, running rows_out[NUM_SIZES]) {
    const size_t num = report->num_samples;
    const double shift = largest_of(num, report->log_weights), first = num < FIRST_SIZE ? 1 : FIRST_SIZE;
    double sum = 0, sum_of_squares = 0;
    size_t num_rows = 0;
    for (size_t b = 0; b < num && num_rows < NUM_SIZES; b++) {
        const double w = isfinite(report->log_weights[b]) ? exp(report->log_weights[b] - shift) : 0;
        sum += w;
        sum_of_squares += w * w;
        const double size = (double)(b + 1);
        const double next = first * pow((double)num / first, (double)num_rows / (NUM_SIZES - 1));
        if ((size < next && b + 1 < num) || !(sum > 0)) continue;
        const double mean = sum / size, variance = fmax(0, sum_of_squares / size - mean * mean);
        rows_out[num_rows++] =
            (running){size, log(mean) + shift, sqrt(variance / size) / mean, sum * sum / sum_of_squares / size};
    }
    return num_rows;
}

void report_print_scatter(FILE *script, const report_content *report, const char *colour) {
    const size_t num = report->num_samples, step = num > MOST_POINTS ? num / MOST_POINTS : 1;
    const double largest = largest_of(num, report->log_weights) - report->log_z;
    fputs("$points << EOD\n", script);
    for (size_t b = 0; b < num; b += step) {
        const double energy = report->energy_model[b], weight = report->log_weights[b] - report->log_z;
        if (!isfinite(energy) || !isfinite(weight) || weight < largest - 25) continue;
        fprintf(script, "%.6g %.6g\n", energy, weight);
    }
    fprintf(script,
            "EOD\nset yrange [%.6g:%.6g]\n"
            "plot 0 with lines linecolor '#555555' dashtype (4,4) title 'perfect flow', "
            "$points using 1:2 with points linecolor '%s' pointtype 7 pointsize 0.22 title 'sample'\n",
            largest - 25, largest + 1.5, colour);
}

void report_print_running_log_z(FILE *script, const report_content *report, const char *colour) {
    running rows[NUM_SIZES];
    const size_t num = run_over(report, rows);
    double low = isfinite(report->known_log_z) ? report->known_log_z : INFINITY, high = -low;
    if (isfinite(report->known_log_z)) high = report->known_log_z;
    fputs("$running << EOD\n", script);
    for (size_t r = 0; r < num; r++) {
        fprintf(script, "%.0f %.9g %.9g %.9g\n", rows[r].size, rows[r].log_z, rows[r].log_z - rows[r].standard_error,
                rows[r].log_z + rows[r].standard_error);
        if (r < num / 4) continue; /* the large changes of the first numbers would hide the others */
        low = fmin(low, rows[r].log_z - 1.5 * rows[r].standard_error);
        high = fmax(high, rows[r].log_z + 1.5 * rows[r].standard_error);
    }
    if (!(low < high)) high = low + 1;
    fprintf(script,
            "EOD\nset logscale x\nset xrange [%.0f:%zu]\nset yrange [%.9g:%.9g]\n"
            "plot $running using 1:3:4 with filledcurves linecolor '%s' notitle, "
            "$running using 1:2 with lines linecolor '%s' linewidth 1.6 title 'running ln Z ± standard error'",
            num > 0 ? rows[0].size : 1, report->num_samples + 1, low - 0.05 * (high - low), high + 0.05 * (high - low),
            colour, colour);
    if (isfinite(report->known_log_z))
        fprintf(script, ", %.9g with lines linecolor '#555555' dashtype (4,4) title 'known'", report->known_log_z);
    fputc('\n', script);
}

void report_print_running_ess(FILE *script, const report_content *report, const char *colour) {
    running rows[NUM_SIZES];
    const size_t num = run_over(report, rows);
    fputs("$running << EOD\n", script);
    for (size_t r = 0; r < num; r++) fprintf(script, "%.0f %.9g\n", rows[r].size, rows[r].ess_fraction);
    fprintf(script,
            "EOD\nset logscale x\nset xrange [%.0f:%zu]\nset yrange [0:*]\n"
            "plot $running using 1:2 with lines linecolor '%s' linewidth 1.6 title 'running effective sample size'\n",
            num > 0 ? rows[0].size : 1, report->num_samples + 1, colour);
}
