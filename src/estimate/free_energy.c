/* BAR: one equation in one unknown. */
#include "eqflow/free_energy.h"

#include <math.h>

#include "base.h"

/* 1 / (1 + exp(x)), of any x. */
static double fermi(double x) {
    return x > 0 ? exp(-x) / (1 + exp(-x)) : 1 / (1 + exp(x));
}

/* Sum of fermi(shift + work), and of its squares. */
static double sum_fermi(size_t num, const double *work, double shift, double *squares_out) {
    double sum = 0, squares = 0;
    for (size_t n = 0; n < num; n++) {
        const double value = fermi(shift + work[n]);
        sum += value;
        squares += value * value;
    }
    if (squares_out != NULL) *squares_out = squares;
    return sum;
}

static eqf_status check_work(size_t num, const double *work, double *low, double *high, double sign) {
    for (size_t n = 0; n < num; n++) {
        if (isnan(work[n]) || work[n] == -INFINITY) return EQF_ERROR_NON_FINITE;
        if (!isfinite(work[n])) continue;
        *low = fmin(*low, sign * work[n]);
        *high = fmax(*high, sign * work[n]);
    }
    return EQF_OK;
}

eqf_status eqf_free_energy_bar(size_t num_forward, const double *forward_work, size_t num_reverse,
                               const double *reverse_work, double *difference_out, double *standard_error_out) {
    if (num_forward == 0 || num_reverse == 0 || forward_work == NULL || reverse_work == NULL || difference_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    double low = INFINITY, high = -INFINITY;
    EQF__TRY(check_work(num_forward, forward_work, &low, &high, 1));
    EQF__TRY(check_work(num_reverse, reverse_work, &low, &high, -1));
    if (!(low <= high)) return EQF_ERROR_NON_FINITE; /* only infinities */
    /* The sum of forward terms grows with the difference, that of reverse terms falls: bisection between safe
     * bounds. */
    const double ratio = log((double)num_forward / (double)num_reverse);
    low -= fabs(ratio) + 40;
    high += fabs(ratio) + 40;
    for (unsigned turn = 0; turn < 200 && high - low > 0; turn++) {
        const double middle = 0.5 * (low + high);
        if (middle == low || middle == high) break;
        const double forward = sum_fermi(num_forward, forward_work, ratio - middle, NULL);
        const double reverse = sum_fermi(num_reverse, reverse_work, middle - ratio, NULL);
        if (forward < reverse)
            low = middle;
        else
            high = middle;
    }
    const double difference = 0.5 * (low + high);
    double forward_squares, reverse_squares;
    const double forward = sum_fermi(num_forward, forward_work, ratio - difference, &forward_squares);
    const double reverse = sum_fermi(num_reverse, reverse_work, difference - ratio, &reverse_squares);
    if (!(forward > 0 && reverse > 0)) return EQF_ERROR_NON_FINITE; /* no overlap within the range of doubles */
    *difference_out = difference;
    if (standard_error_out == NULL) return EQF_OK;
    const double variance = forward_squares / (forward * forward) + reverse_squares / (reverse * reverse) -
                            1.0 / (double)num_forward - 1.0 / (double)num_reverse;
    *standard_error_out = sqrt(fmax(0, variance));
    return EQF_OK;
}
