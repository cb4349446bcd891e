#include <math.h>
#include <string.h>

#include "minima_internal.h"

/* A = H + tolerance I is factored as L D L^T, row by row. All pivots are positive if and only if A is positive
 * definite. At the first pivot d_k <= 0 the vector v with L^T v = e_k has v^T A v = d_k, so v^T H v <= -tolerance
 * |v|^2: v is a direction of negative curvature (Gill and Murray, Math. Programming 7, 311, 1974). */
bool eqf__minima_find_way_down(size_t n, double tolerance, double *matrix, double *direction_out) {
    for (size_t k = 0; k < n; k++) {
        double *row = matrix + k * n;
        double pivot = row[k] + tolerance;
        for (size_t j = 0; j < k; j++) { /* first row[j] becomes L_kj D_j */
            const double *above = matrix + j * n;
            double sum = row[j];
            for (size_t i = 0; i < j; i++) sum -= row[i] * above[i];
            row[j] = sum;
        }
        for (size_t j = 0; j < k; j++) { /* then L_kj; the diagonal holds D */
            double l = row[j] / matrix[j * n + j];
            pivot -= l * row[j];
            row[j] = l;
        }
        if (pivot > 0.0) {
            row[k] = pivot;
            continue;
        }
        memset(direction_out, 0, n * sizeof *direction_out);
        direction_out[k] = 1.0;
        double longest = 1.0;
        for (size_t i = k; i-- > 0;) {
            double sum = 0.0;
            for (size_t j = i + 1; j <= k; j++) sum -= matrix[j * n + i] * direction_out[j];
            direction_out[i] = sum;
            longest = fmax(longest, fabs(sum));
        }
        for (size_t i = 0; i <= k; i++) direction_out[i] /= longest;
        return true;
    }
    return false;
}
