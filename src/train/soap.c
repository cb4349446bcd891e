#include "soap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SIDE = 128, FIRST_STEPS = 20, STEPS_A_BASIS = 10 };
static const double beta_1 = 0.95, beta_2 = 0.98, epsilon = 1e-8, relative_epsilon = 1e-4;
static const float beta_covariance = 0.98f;

/* In WIDE functions only the innermost loop is vectorised, over independent elements and without fused multiplication,
 * so the width of registers does not change the bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

/* One side of a matrix, with n <= LONGEST_SIDE rows or columns; n = 0: the side keeps its own basis. */
typedef struct soap_side {
    unsigned n;
    float *covariance, *basis; /* [n, n], eigenvectors in columns */
} soap_side;

typedef struct soap_slice {
    size_t offset, count;
    unsigned rows, columns; /* 1 row: a vector */
    float *first, *second;  /* [rows, columns], in the eigenbasis */
    soap_side left, right;
} soap_slice;

struct eqf__soap {
    size_t num_slices, state_size;
    soap_slice *slices;
    float *state;
    float *work[4]; /* [largest matrix] */
    double *wide;   /* [LONGEST_SIDE (LONGEST_SIDE + 4)] */
};

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static bool is_matrix(const eqf_param_slice *slice) {
    return slice->num_dims == 2 && slice->shape[0] > 1 && slice->shape[1] > 1 &&
           (slice->shape[0] <= LONGEST_SIDE || slice->shape[1] <= LONGEST_SIDE) && slice->shape[0] <= UINT32_MAX &&
           slice->shape[1] <= UINT32_MAX;
}

/* Takes count numbers of the state; while the state is only counted there is no memory yet. */
static float *take(eqf__soap *soap, size_t count) {
    float *taken = soap->state != NULL ? soap->state + soap->state_size : NULL;
    soap->state_size += count;
    return taken;
}

static void lay_out_side(eqf__soap *soap, soap_side *side, size_t n) {
    if (n > LONGEST_SIDE) n = 0;
    side->n = (unsigned)n;
    side->covariance = take(soap, n * n);
    side->basis = take(soap, n * n);
    for (size_t i = 0; i < n && side->basis != NULL; i++) side->basis[i * n + i] = 1;
}

/* Assigns parts of the state; called twice, first to count. Returns the size of the largest matrix. */
static size_t lay_out(eqf__soap *soap, const eqf_model *model) {
    size_t largest = 0;
    soap->num_slices = soap->state_size = 0;
    for (size_t s = 0; s < eqf_model_num_slices(model); s++) {
        const eqf_param_slice *from = eqf_model_slice(model, s);
        if (!from->is_trained || from->count == 0) continue;
        soap_slice *slice = &soap->slices[soap->num_slices++];
        const bool has_sides = is_matrix(from);
        *slice = (soap_slice){.offset = from->offset, .count = from->count, .rows = 1};
        if (has_sides) slice->rows = (unsigned)from->shape[0];
        slice->columns = (unsigned)(from->count / slice->rows);
        slice->first = take(soap, from->count);
        slice->second = take(soap, from->count);
        if (from->count > largest) largest = from->count;
        if (!has_sides) continue;
        lay_out_side(soap, &slice->left, slice->rows);
        lay_out_side(soap, &slice->right, slice->columns);
    }
    return largest;
}

eqf_status eqf__soap_create(eqf_context *ctx, const eqf_model *model, eqf__soap **soap_out) {
    *soap_out = NULL;
    eqf__soap *soap = eqf__alloc(ctx, 1, sizeof *soap, "the optimizer");
    if (soap == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    soap->slices = eqf__alloc(ctx, eqf_model_num_slices(model), sizeof *soap->slices, "the optimizer");
    if (soap->slices != NULL) {
        size_t largest = lay_out(soap, model);
        if (largest < LONGEST_SIDE * LONGEST_SIDE) largest = LONGEST_SIDE * LONGEST_SIDE;
        soap->state = eqf__alloc(ctx, soap->state_size, sizeof(float), "the optimizer");
        soap->work[0] = eqf__alloc(ctx, 4 * largest, sizeof(float), "the optimizer");
        soap->wide = eqf__alloc(ctx, LONGEST_SIDE * (LONGEST_SIDE + 4), sizeof(double), "the optimizer");
        if (soap->state != NULL && soap->work[0] != NULL && soap->wide != NULL) {
            soap->work[1] = soap->work[0] + largest;
            soap->work[2] = soap->work[1] + largest;
            soap->work[3] = soap->work[2] + largest;
            lay_out(soap, model);
            *soap_out = soap;
            return EQF_OK;
        }
    }
    eqf__soap_destroy(&soap);
    return EQF_ERROR_OUT_OF_MEMORY;
}

void eqf__soap_destroy(eqf__soap **soap) {
    if (*soap == NULL) return;
    free((*soap)->slices);
    free((*soap)->state);
    free((*soap)->work[0]);
    free((*soap)->wide);
    free(*soap);
    *soap = NULL;
}

float *eqf__soap_state(eqf__soap *soap, size_t *count_out) {
    *count_out = soap->state_size;
    return soap->state;
}

/* ---- Matrices, row-major ----------------------------------------------------------------------------------------- */

/* c [m, n] = a [m, k] b [k, n]; with is_sum = beta c + (1 - beta) a b. */
WIDE static void multiply(unsigned m, unsigned k, unsigned n, const float *restrict a, const float *restrict b,
                          float *restrict c) {
    for (unsigned i = 0; i < m; i++) {
        float *restrict row = c + (size_t)i * n;
        const float *restrict from = a + (size_t)i * k;
        for (unsigned j = 0; j < n; j++) row[j] = 0;
        unsigned l = 0;
        for (; l + 4 <= k; l += 4) {
            const float *restrict b0 = b + (size_t)l * n, *restrict b1 = b0 + n, *restrict b2 = b1 + n,
                                  *restrict b3 = b2 + n;
            const float a0 = from[l], a1 = from[l + 1], a2 = from[l + 2], a3 = from[l + 3];
            for (unsigned j = 0; j < n; j++) row[j] = (((row[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j];
        }
        for (; l < k; l++) {
            const float *restrict b0 = b + (size_t)l * n;
            for (unsigned j = 0; j < n; j++) row[j] += from[l] * b0[j];
        }
    }
}

/* to [columns, rows] of from [rows, columns]. */
static void transpose(unsigned rows, unsigned columns, const float *restrict from, float *restrict to) {
    for (unsigned i = 0; i < rows; i++)
        for (unsigned j = 0; j < columns; j++) to[(size_t)j * rows + i] = from[(size_t)i * columns + j];
}

/* x [rows, columns] becomes left^T x right with the bases of its sides; with is_back left x right^T. */
static void rotate(eqf__soap *soap, const soap_slice *slice, bool is_back, float *x) {
    const unsigned m = slice->rows, n = slice->columns;
    float *turned = soap->work[1], *basis = soap->work[2];
    if (slice->left.n > 0) {
        if (!is_back) transpose(m, m, slice->left.basis, basis);
        multiply(m, m, n, is_back ? slice->left.basis : basis, x, turned);
        memcpy(x, turned, (size_t)m * n * sizeof *x);
    }
    if (slice->right.n > 0) {
        if (is_back) transpose(n, n, slice->right.basis, basis);
        multiply(m, n, n, x, is_back ? basis : slice->right.basis, turned);
        memcpy(x, turned, (size_t)m * n * sizeof *x);
    }
}

/* covariance = beta covariance + (1 - beta) product; in the first step covariance = product. */
WIDE static void blend(size_t count, float beta, const float *restrict product, float *restrict covariance) {
    for (size_t i = 0; i < count; i++) covariance[i] = beta * covariance[i] + (1 - beta) * product[i];
}

static void update_covariances(eqf__soap *soap, const soap_slice *slice, bool is_first, const float *gradient) {
    const unsigned m = slice->rows, n = slice->columns;
    float *transposed = soap->work[1], *product = soap->work[2];
    const float beta = is_first ? 0 : beta_covariance;
    transpose(m, n, gradient, transposed);
    if (slice->left.n > 0) {
        multiply(m, n, m, gradient, transposed, product);
        blend((size_t)m * m, beta, product, slice->left.covariance);
    }
    if (slice->right.n > 0) {
        multiply(n, m, n, transposed, gradient, product);
        blend((size_t)n * n, beta, product, slice->right.covariance);
    }
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

/* Replaces q [n, n] by its orthogonal factor, by Householder's reflections, which give an orthogonal result also for
 * dependent columns. wide [n (n + 4)]. */
static void orthonormalise(unsigned n, double *wide, float *q) {
    double *a = wide, *scale = wide + (size_t)n * n; /* a: columns of q as rows, reflections below its diagonal */
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++) a[(size_t)j * n + i] = q[(size_t)i * n + j];
    for (unsigned k = 0; k < n; k++) {
        double *v = a + (size_t)k * n, square = 0;
        for (unsigned i = k; i < n; i++) square += v[i] * v[i];
        const double norm = v[k] > 0 ? -sqrt(square) : sqrt(square);
        scale[k] = 0;
        if (square == 0) continue;
        v[k] -= norm;
        scale[k] = -1 / (norm * v[k]); /* 2 / |v|^2 */
        for (unsigned j = k + 1; j < n; j++) {
            double *other = a + (size_t)j * n, dot = 0;
            for (unsigned i = k; i < n; i++) dot += v[i] * other[i];
            for (unsigned i = k; i < n; i++) other[i] -= scale[k] * dot * v[i];
        }
    }
    /* Q's columns: reflections of the unit vectors, the last first. R's diagonal is made positive, so that a column
     * stays near the old one. */
    double *column = scale + n, *sign = column + n;
    for (unsigned k = 0; k < n; k++) sign[k] = scale[k] != 0 && a[(size_t)k * n + k] < 0 ? 1 : -1;
    for (unsigned j = 0; j < n; j++) {
        for (unsigned i = 0; i < n; i++) column[i] = i == j;
        for (unsigned k = j + 1; k-- > 0;) {
            const double *v = a + (size_t)k * n;
            double dot = 0;
            for (unsigned i = k; i < n; i++) dot += v[i] * column[i];
            for (unsigned i = k; i < n; i++) column[i] -= scale[k] * dot * v[i];
        }
        const double s = scale[j] == 0 ? 1 : sign[j];
        for (unsigned i = 0; i < n; i++) q[(size_t)i * n + j] = (float)(s * column[i]);
    }
}

/* order_out [n]: columns of the basis by the variance that the gradient has along them, largest first; a stable
 * insertion. */
static void sort_by_variance(unsigned n, const float *basis, const float *image, unsigned *order_out) {
    double variance[LONGEST_SIDE];
    for (unsigned j = 0; j < n; j++) {
        variance[j] = 0;
        for (unsigned i = 0; i < n; i++) variance[j] += (double)basis[(size_t)i * n + j] * image[(size_t)i * n + j];
        unsigned place = j;
        while (place > 0 && variance[order_out[place - 1]] < variance[j]) {
            order_out[place] = order_out[place - 1];
            place--;
        }
        order_out[place] = j;
    }
}

/* One step of subspace iteration: basis = orthonormal(covariance basis), with columns in order of variance. squares [n,
 * n] = (Q_old^T Q_new)_ij^2, not set for a side that keeps its own basis. */
static void improve_basis(eqf__soap *soap, const soap_side *side, float *squares) {
    const unsigned n = side->n;
    unsigned order[LONGEST_SIDE];
    float *image = soap->work[1], *old = soap->work[2];
    multiply(n, n, n, side->covariance, side->basis, image);
    sort_by_variance(n, side->basis, image, order);
    transpose(n, n, side->basis, old);
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++) side->basis[(size_t)i * n + j] = image[(size_t)i * n + order[j]];
    orthonormalise(n, soap->wide, side->basis);
    multiply(n, n, n, old, side->basis, squares);
    for (size_t c = 0; c < (size_t)n * n; c++) squares[c] *= squares[c];
}

/* New bases. The first moment is turned with them, and the second too, as variances of independent numbers. Vyas et al.
 * do not turn the second moment; then a direction whose gradient was small may get a large first moment, and training
 * diverges in its first steps. */
static void improve_bases(eqf__soap *soap, soap_slice *slice) {
    const unsigned m = slice->rows, n = slice->columns;
    float *squares = soap->work[3], *turned = soap->work[1], *transposed = soap->work[2];
    rotate(soap, slice, true, slice->first);
    if (slice->left.n > 0) {
        improve_basis(soap, &slice->left, squares);
        transpose(m, m, squares, transposed);
        multiply(m, m, n, transposed, slice->second, turned);
        memcpy(slice->second, turned, slice->count * sizeof *turned);
    }
    if (slice->right.n > 0) {
        improve_basis(soap, &slice->right, squares);
        multiply(m, n, n, slice->second, squares, turned);
        memcpy(slice->second, turned, slice->count * sizeof *turned);
    }
    rotate(soap, slice, false, slice->first);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

/* x: in, the gradient in the eigenbasis; out, Adam's update there. */
WIDE static void adam(size_t count, float correction_1, float correction_2, float small, float *restrict first,
                      float *restrict second, float *restrict x) {
    const float b1 = (float)beta_1, b2 = (float)beta_2;
    for (size_t i = 0; i < count; i++) {
        first[i] = b1 * first[i] + (1 - b1) * x[i];
        second[i] = b2 * second[i] + (1 - b2) * x[i] * x[i];
        x[i] = first[i] * correction_1 / (sqrtf(second[i] * correction_2) + small);
    }
}

/* A direction without gradient, such as a mean that the field subtracts, has rounding errors of about 1e-7 of the
 * others. So there is a lower limit for standard deviations, relative to the mean of all. Step 1 has none, and turns
 * these errors into whole steps: of two runs whose gradients differ by 1e-7 the first updates differ by 70 %. A limit
 * there too (25 %, and 15 to 40 % in step 2), or no update in step 1, as Vyas et al. have it (25 to 50 % in step 2),
 * changes nothing from step 20 on, nor dw4's held-out loss beyond what layouts (.001 to .003 of .65) and seeds (.01)
 * differ by. */
static float smallest_deviation(size_t count, float correction_2, const float *second) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)second[i];
    return (float)(epsilon + relative_epsilon * sqrt(sum * (double)correction_2 / (double)count));
}

void eqf__soap_update(eqf__soap *soap, uint64_t step, double learning_rate, double weight_decay, double shrink,
                      const float *gradient, float *params) {
    const float correction_1 = (float)(1 / (1 - pow(beta_1, (double)step)));
    const float correction_2 = (float)(1 / (1 - pow(beta_2, (double)step)));
    const float rate = (float)learning_rate, decay = (float)weight_decay, factor = (float)shrink;
    float *x = soap->work[0];
    for (size_t s = 0; s < soap->num_slices; s++) {
        soap_slice *slice = &soap->slices[s];
        const bool has_sides = slice->left.n > 0 || slice->right.n > 0;
        for (size_t i = 0; i < slice->count; i++) x[i] = factor * gradient[slice->offset + i];
        if (has_sides) {
            update_covariances(soap, slice, step == 1, x);
            if (step <= FIRST_STEPS || step % STEPS_A_BASIS == 0) improve_bases(soap, slice);
            rotate(soap, slice, false, x);
        }
        const float small =
            has_sides && step > 1 ? smallest_deviation(slice->count, correction_2, slice->second) : (float)epsilon;
        adam(slice->count, correction_1, correction_2, small, slice->first, slice->second, x);
        if (has_sides) rotate(soap, slice, true, x);
        float *to = params + slice->offset;
        for (size_t i = 0; i < slice->count; i++) to[i] -= rate * (x[i] + decay * to[i]);
    }
}
