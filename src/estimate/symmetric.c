#include "symmetric.h"

#include <math.h>
#include <string.h>

static void rotate(unsigned n, double *matrix, double *vectors, unsigned p, unsigned q) {
    const double off = matrix[p * n + q];
    if (off == 0) return;
    const double theta = (matrix[q * n + q] - matrix[p * n + p]) / (2 * off);
    const double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1),
                 s = t * c;
    for (unsigned k = 0; k < n; k++) {
        const double kp = matrix[k * n + p], kq = matrix[k * n + q];
        matrix[k * n + p] = c * kp - s * kq;
        matrix[k * n + q] = s * kp + c * kq;
    }
    for (unsigned k = 0; k < n; k++) {
        const double pk = matrix[p * n + k], qk = matrix[q * n + k], vp = vectors[k * n + p], vq = vectors[k * n + q];
        matrix[p * n + k] = c * pk - s * qk;
        matrix[q * n + k] = s * pk + c * qk;
        vectors[k * n + p] = c * vp - s * vq;
        vectors[k * n + q] = s * vp + c * vq;
    }
}

void eqf__symmetric_eigen(unsigned n, double *matrix, double *values_out, double *vectors_out) {
    memset(vectors_out, 0, (size_t)n * n * sizeof *vectors_out);
    for (unsigned k = 0; k < n; k++) vectors_out[k * n + k] = 1;
    for (unsigned sweep = 0; sweep < 60; sweep++) {
        double off = 0, diagonal = 0;
        for (unsigned p = 0; p < n; p++) {
            diagonal += matrix[p * n + p] * matrix[p * n + p];
            for (unsigned q = p + 1; q < n; q++) off += matrix[p * n + q] * matrix[p * n + q];
        }
        if (off <= 1e-34 * diagonal) break;
        for (unsigned p = 0; p < n; p++)
            for (unsigned q = p + 1; q < n; q++) rotate(n, matrix, vectors_out, p, q);
    }
    for (unsigned k = 0; k < n; k++) values_out[k] = matrix[k * n + k];
}

bool eqf__symmetric_solve(unsigned n, double *matrix, double *right) {
    for (unsigned k = 0; k < n; k++) {
        unsigned pivot = k;
        for (unsigned i = k + 1; i < n; i++)
            if (fabs(matrix[i * n + k]) > fabs(matrix[pivot * n + k])) pivot = i;
        if (!(fabs(matrix[pivot * n + k]) > 0)) return false;
        for (unsigned j = 0; j < n; j++) {
            const double swapped = matrix[k * n + j];
            matrix[k * n + j] = matrix[pivot * n + j];
            matrix[pivot * n + j] = swapped;
        }
        const double value = right[k];
        right[k] = right[pivot];
        right[pivot] = value;
        for (unsigned i = k + 1; i < n; i++) {
            const double factor = matrix[i * n + k] / matrix[k * n + k];
            for (unsigned j = k; j < n; j++) matrix[i * n + j] -= factor * matrix[k * n + j];
            right[i] -= factor * right[k];
        }
    }
    for (unsigned k = n; k-- > 0;) {
        for (unsigned j = k + 1; j < n; j++) right[k] -= matrix[k * n + j] * right[j];
        right[k] /= matrix[k * n + k];
    }
    return true;
}
