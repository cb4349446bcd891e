/* The tail of importance weights: a generalised Pareto distribution is fitted to the largest weights (Pickands, Annals
 * of Statistics 3 (1975) 119), by the estimator of Zhang and Stephens, Technometrics 51 (2009) 316, with the tail's
 * size and the weak prior on its shape of Vehtari et al., "Pareto smoothed importance sampling" (JMLR 25 (2024)). */
#include <math.h>
#include <stdlib.h>

#include "base.h"
#include "estimate.h"

static int descending(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left < right) - (left > right);
}

/* mean log(1 - theta x) over x [num]; -inf is fine. */
static double mean_log(size_t num, const double *x, double theta) {
    double sum = 0.0;
    for (size_t i = 0; i < num; i++) sum += log1p(-theta * x[i]);
    return sum / (double)num;
}

/* Fits excesses x [num] over the threshold, largest first. */
static void fit(size_t num, const double *x, eqf__weight_tail *tail) {
    enum { MAX_POINTS = 400 };
    const double n = (double)num, largest = x[0], quartile = x[num - 1 - (size_t)(n / 4.0 + 0.5) + 1];
    size_t num_points = 30 + (size_t)sqrt(n);
    if (num_points > MAX_POINTS) num_points = MAX_POINTS;
    double theta[MAX_POINTS], likelihood[MAX_POINTS], best = -INFINITY, total = 0.0, mean = 0.0;
    for (size_t j = 0; j < num_points; j++) {
        theta[j] = 1.0 / largest + (1.0 - sqrt((double)num_points / ((double)j + 0.5))) / (3.0 * quartile);
        const double k = mean_log(num, x, theta[j]);
        likelihood[j] = n * (log(-theta[j] / k) - k - 1.0);
        if (likelihood[j] > best) best = likelihood[j];
    }
    for (size_t j = 0; j < num_points; j++) {
        const double weight = isfinite(likelihood[j]) ? exp(likelihood[j] - best) : 0.0;
        total += weight;
        mean += weight * theta[j];
    }
    mean /= total;
    const double k = mean_log(num, x, mean);
    tail->scale = -k / mean;
    tail->shape = (n * k + 10.0 * 0.5) / (n + 10.0);
}

bool eqf__weight_tail_fit(size_t num, const double *weights, eqf__weight_tail *tail_out) {
    size_t num_tail = (size_t)fmin(0.2 * (double)num, 3.0 * sqrt((double)num));
    *tail_out = (eqf__weight_tail){INFINITY, 0.0, 0.0};
    if (num_tail < 20) return false;
    double *sorted = malloc(num * sizeof *sorted);
    if (sorted == NULL) return false;
    for (size_t b = 0; b < num; b++) sorted[b] = weights[b];
    qsort(sorted, num, sizeof *sorted, descending);
    const double threshold = sorted[num_tail];
    size_t num_above = 0; /* equal weights have no tail */
    while (num_above < num_tail && sorted[num_above] > threshold) num_above++;
    for (size_t i = 0; i < num_above; i++) sorted[i] -= threshold;
    if (num_above >= 20) fit(num_above, sorted, tail_out);
    free(sorted);
    if (num_above < 20 || !(tail_out->scale > 0.0) || !isfinite(tail_out->scale) || !isfinite(tail_out->shape))
        return false;
    tail_out->threshold = threshold;
    return true;
}

double eqf__weight_tail_draw(const eqf__weight_tail *tail, double uniform) {
    const double k = tail->shape, excess = fabs(k) < 1e-9 ? -log(uniform) : expm1(-k * log(uniform)) / k;
    return tail->threshold + tail->scale * excess;
}
