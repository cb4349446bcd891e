/* Optimal transport on a line: sorted values are matched with sorted values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

eqf_status eqf_estimate_wasserstein(size_t num_a, const double *a, size_t num_b, const double *b,
                                    double *distance_out) {
    if (num_a == 0 || num_b == 0 || a == NULL || b == NULL || distance_out == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    for (size_t n = 0; n < num_a; n++)
        if (!isfinite(a[n])) return EQF_ERROR_NON_FINITE;
    for (size_t n = 0; n < num_b; n++)
        if (!isfinite(b[n])) return EQF_ERROR_NON_FINITE;
    double *sorted_a = malloc((num_a + num_b) * sizeof *sorted_a),
           *sorted_b = sorted_a != NULL ? sorted_a + num_a : NULL;
    if (sorted_a == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    memcpy(sorted_a, a, num_a * sizeof *a);
    memcpy(sorted_b, b, num_b * sizeof *b);
    qsort(sorted_a, num_a, sizeof *a, compare);
    qsort(sorted_b, num_b, sizeof *b, compare);
    /* The quantile functions are constant between multiples of 1/num_a and 1/num_b: the loop goes from one multiple to
     * the next. */
    double sum = 0, passed = 0;
    for (size_t i = 0, j = 0; i < num_a && j < num_b;) {
        const double end_a = (double)(i + 1) / (double)num_a, end_b = (double)(j + 1) / (double)num_b;
        const double end = fmin(end_a, end_b), difference = sorted_a[i] - sorted_b[j];
        sum += (end - passed) * difference * difference;
        passed = end;
        if (end_a <= end) i++;
        if (end_b <= end) j++;
    }
    free(sorted_a);
    *distance_out = sqrt(fmax(0, sum));
    return EQF_OK;
}
