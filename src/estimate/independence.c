/* Independence Metropolis (Hastings 1970; Tierney, Annals of Statistics 22 (1994) 1701, section 2.3): proposals
 * that do not depend on the state, accepted by the ratio of their weights. The chain's distribution is the
 * target's, whatever the flow gets wrong. */
#include <math.h>
#include <stdlib.h>

#include <Random123/philox.h>

#include "base.h"
#include "eqflow/estimate.h"
#include "estimate.h"

/* Uniform on (0, 1) for proposal t: (53 random bits + 1/2) / 2^53. */
static double uniform_of(uint64_t seed, uint64_t t) {
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t counter = {{(uint32_t)t, (uint32_t)(t >> 32), 0, EQF__STREAM_METROPOLIS}};
    philox4x32_ctr_t words = philox4x32(counter, key);
    uint64_t bits = ((uint64_t)words.v[0] << 32) | words.v[1];
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

eqf_status eqf_estimate_independence_chain(size_t num, const double *log_weights, uint64_t seed, size_t *states_out,
                                           double *acceptance_out) {
    if (num == 0 || log_weights == NULL || states_out == NULL || acceptance_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    size_t start = num;
    for (size_t t = num; t-- > 0;) {
        if (isnan(log_weights[t]) || log_weights[t] == INFINITY) return EQF_ERROR_NON_FINITE;
        if (log_weights[t] > -INFINITY) start = t;
    }
    if (start == num) return EQF_ERROR_NON_FINITE;
    for (size_t t = 0; t <= start; t++) states_out[t] = start;
    size_t held = start, num_accepted = 0;
    for (size_t t = start + 1; t < num; t++) {
        if (log(uniform_of(seed, t)) < log_weights[t] - log_weights[held]) {
            held = t;
            num_accepted++;
        }
        states_out[t] = held;
    }
    *acceptance_out = num - start > 1 ? (double)num_accepted / (double)(num - start - 1) : NAN;
    return EQF_OK;
}

/* The standard error of a series' mean from the means of its batches (Flegal and Jones, Annals of Statistics 38 (2010)
 * 1034); NaN for a short series. */
static double batch_error(size_t num, const double *series) {
    enum { NUM_BATCHES = 30 };
    const size_t length = num / NUM_BATCHES;
    double mean = 0.0, squares = 0.0;
    if (length < 10) return NAN;
    for (unsigned batch = 0; batch < NUM_BATCHES; batch++) {
        double sum = 0.0;
        for (size_t t = 0; t < length; t++) sum += series[batch * length + t];
        const double step = sum / (double)length - mean;
        mean += step / (batch + 1);
        squares += step * (sum / (double)length - mean);
    }
    return sqrt(squares / (NUM_BATCHES - 1) / NUM_BATCHES);
}

eqf_status eqf_estimate_chain_mean(size_t num, const size_t *states, const double *values, eqf_chain_mean *mean_out) {
    if (num < 4 || states == NULL || values == NULL || mean_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    double *series = malloc(num * sizeof *series);
    if (series == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    double sum = 0.0;
    for (size_t t = 0; t < num; t++) {
        series[t] = values[states[t]];
        sum += series[t];
    }
    eqf_chain_mean result = {.struct_size = sizeof result,
                             .mean = sum / (double)num,
                             .standard_error = NAN,
                             .autocorrelation_time = NAN,
                             .effective_samples = 1.0};
    double squares = 0.0, tau;
    for (size_t t = 0; t < num; t++) squares += (series[t] - result.mean) * (series[t] - result.mean);
    eqf_status status = isfinite(squares) ? EQF_OK : EQF_ERROR_NON_FINITE;
    /* A chain that never moved has no autocorrelation, and its error is unknown. */
    if (status == EQF_OK && squares > 0.0 && eqf_estimate_autocorrelation_time(1, num, series, &tau) == EQF_OK) {
        /* A value below 1 is noise: repeated states make the correlation positive. */
        result.autocorrelation_time = fmax(tau, 1.0);
        result.effective_samples = (double)num / result.autocorrelation_time;
        /* The larger of two estimates: at least one of them grows after a long stay at one heavy sample. */
        result.standard_error =
            fmax(sqrt(squares / (double)(num - 1) / result.effective_samples), batch_error(num, series));
    }
    free(series);
    return status != EQF_OK ? status : EQF__WRITE(NULL, EQF_CHAIN_MEAN_INIT, &result, mean_out);
}
