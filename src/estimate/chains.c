/* Diagnostics of Markov chains: integrated autocorrelation time and split R-hat. */
#include <math.h>

#include "eqflow/estimate.h"

/* Pooled mean over all chains and steps. */
static eqf_status pooled_mean(size_t num_chains, size_t num_steps, const double *series, double *mean_out) {
    double sum = 0.0;
    for (size_t k = 0; k < num_chains * num_steps; k++) {
        if (!isfinite(series[k])) return EQF_ERROR_NON_FINITE;
        sum += series[k];
    }
    *mean_out = sum / ((double)num_chains * (double)num_steps);
    return isfinite(*mean_out) ? EQF_OK : EQF_ERROR_NON_FINITE;
}

/* Mean over chains and steps of (x[t] - mean) (x[t + lag] - mean). The sum is divided by the number of products and not
 * by the number of steps, whose bias would exceed the noise for many short chains. */
static double autocovariance(size_t num_chains, size_t num_steps, const double *series, double mean, size_t lag) {
    double total = 0.0;
    for (size_t chain = 0; chain < num_chains; chain++) {
        const double *x = series + chain * num_steps;
        double sum = 0.0;
        for (size_t t = 0; t + lag < num_steps; t++) sum += (x[t] - mean) * (x[t + lag] - mean);
        total += sum;
    }
    return total / ((double)num_chains * (double)(num_steps - lag));
}

eqf_status eqf_estimate_autocorrelation_time(size_t num_chains, size_t num_steps, const double *series,
                                             double *tau_out) {
    if (num_chains == 0 || num_steps < 4 || series == NULL || tau_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    double mean;
    eqf_status status = pooled_mean(num_chains, num_steps, series, &mean);
    if (status != EQF_OK) return status;
    double variance = autocovariance(num_chains, num_steps, series, mean, 0);
    if (!(variance > 0.0) || !isfinite(variance)) return EQF_ERROR_NON_FINITE;

    /* Geyer, Statistical Science 7 (1992) 473, section 3.3: for a reversible chain the sums of adjacent pairs rho(2m) +
     * rho(2m+1) are positive and decrease with m. The sum ends at the first estimate that is not positive, and an
     * estimate above the one before is replaced by it, so that noise at long lags does not add up. Lags beyond half the
     * series have too few products; chains that do not move at all thus give tau ~ num_steps. */
    double sum = 0.0, previous = INFINITY;
    for (size_t lag = 0; lag + 1 <= num_steps / 2; lag += 2) {
        double pair = (autocovariance(num_chains, num_steps, series, mean, lag) +
                       autocovariance(num_chains, num_steps, series, mean, lag + 1)) /
                      variance;
        if (!(pair > 0.0)) break;
        previous = fmin(pair, previous);
        sum += previous;
    }
    /* sum counts rho(0) = 1 once: tau = 1 + 2 (sum - 1). Anticorrelated series give less than 1. */
    *tau_out = fmax(2.0 * sum - 1.0, 0.0);
    return EQF_OK;
}

eqf_status eqf_estimate_split_r_hat(size_t num_chains, size_t num_steps, const double *series, double *r_hat_out) {
    if (num_chains == 0 || num_steps < 4 || series == NULL || r_hat_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    double mean;
    eqf_status status = pooled_mean(num_chains, num_steps, series, &mean);
    if (status != EQF_OK) return status;

    /* Each chain is cut into a first and a last half of n steps (the middle one of an odd number is left out). */
    size_t n = num_steps / 2;
    double num_halves = 2.0 * (double)num_chains;
    double mean_of_means = 0.0, squares_of_means = 0.0, within = 0.0, num_seen = 0.0;
    for (size_t chain = 0; chain < num_chains; chain++)
        for (unsigned half = 0; half < 2; half++) {
            const double *x = series + chain * num_steps + (half == 0 ? 0 : num_steps - n);
            double half_mean = 0.0, squares = 0.0;
            for (size_t t = 0; t < n; t++) half_mean += x[t];
            half_mean /= (double)n;
            for (size_t t = 0; t < n; t++) squares += (x[t] - half_mean) * (x[t] - half_mean);
            within += squares / (double)(n - 1) / num_halves;
            /* Welford's algorithm, because the spread of the means may be much smaller than the means. */
            double step = half_mean - mean_of_means;
            num_seen += 1.0;
            mean_of_means += step / num_seen;
            squares_of_means += step * (half_mean - mean_of_means);
        }
    double between_over_n = squares_of_means / (num_halves - 1.0);
    if (!(within > 0.0) || !isfinite(within) || !isfinite(between_over_n)) return EQF_ERROR_NON_FINITE;
    double pooled = within * (double)(n - 1) / (double)n + between_over_n;
    *r_hat_out = sqrt(pooled / within);
    return EQF_OK;
}
