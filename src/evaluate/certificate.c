/* Figures of a flow in double precision: the error of float32, and the difference between log-densities and the
 * determinant of the map's Jacobian, which is computed by brute force. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluation.h"
#include "prior_kinds.h"

enum {
    NUM_COMPARED = 256,
    NUM_JACOBIANS = 2,
    MOST_DOF = 64, /* a Jacobian is 4 N D solves */
    NUM_SIDES = 4
};

/* Displacements of each coordinate, from which Richardson's rule gives a derivative of order 4. Its rounding error is
 * about 1e-11. */
static const double sides[NUM_SIDES] = {1e-4, -1e-4, 2e-4, -2e-4};

/* ---- float32 ----------------------------------------------------------------------------------------------------- */

/* wide [num]: log-densities in double of the first num data. */
static eqf_status compare_float(const eqf__evaluated *of, size_t num, const double *wide, eqf_evaluation *result) {
    eqf_flow *flow = NULL;
    eqf_flow_options options = result->flow_options;
    float narrow[NUM_COMPARED];
    double worst = 0;
    options.precision = EQF_PRECISION_FLOAT;
    EQF__TRY(eqf_flow_create(of->ctx, of->model, &options, &flow));
    const eqf_status status = eqf_flow_log_prob(flow, num, of->x, narrow, NULL);
    eqf_flow_destroy(&flow);
    for (size_t b = 0; b < num; b++) {
        const double change = fabs((double)narrow[b] - wide[b]);
        worst = change >= worst || isnan(change) ? change : worst; /* a NaN is kept */
    }
    result->figures.float_log_prob_error = worst;
    return status;
}

/* ---- The Jacobian ------------------------------------------------------------------------------------------------ */

/* ln |det| of matrix [size, size], which is changed: Gauss elimination with column pivots. */
static double log_determinant(size_t size, double *matrix) {
    double sum = 0;
    for (size_t k = 0; k < size; k++) {
        size_t pivot = k;
        for (size_t i = k + 1; i < size; i++)
            if (fabs(matrix[i * size + k]) > fabs(matrix[pivot * size + k])) pivot = i;
        for (size_t j = k; j < size; j++) {
            const double kept = matrix[k * size + j];
            matrix[k * size + j] = matrix[pivot * size + j];
            matrix[pivot * size + j] = kept;
        }
        sum += log(fabs(matrix[k * size + k]));
        for (size_t i = k + 1; i < size; i++) {
            const double factor = matrix[i * size + k] / matrix[k * size + k];
            for (size_t j = k; j < size; j++) matrix[i * size + j] -= factor * matrix[k * size + j];
        }
    }
    return sum;
}

/* matrix [N*D, N*D] = dz/dx + the projector on translations. dz/dx vanishes on translations from both sides, so the
 * determinant of the sum is that of the map on the mean-free subspace. z [N*D][NUM_SIDES][N*D]: images of the displaced
 * configurations. */
static void fill_matrix(const eqf__evaluated *of, const double *z, double *matrix) {
    const size_t num_dof = of->num_dof, space_dim = of->target->space_dim;
    for (size_t c = 0; c < num_dof; c++) {
        const double *near = z + c * NUM_SIDES * num_dof;
        for (size_t i = 0; i < num_dof; i++) {
            const double narrow = (near[i] - near[num_dof + i]) / (2 * sides[0]);
            const double wide = (near[2 * num_dof + i] - near[3 * num_dof + i]) / (2 * sides[2]);
            matrix[i * num_dof + c] =
                (4 * narrow - wide) / 3 + (i % space_dim == c % space_dim ? 1.0 / of->target->num_particles : 0);
        }
    }
}

static double prior_log_prob(const eqf__evaluated *of, const double *z) {
    const eqf_model_options *options = eqf_model_options_of(of->model);
    return eqf__prior_kind_of(options->prior_kind)->host_log_prob(options, z);
}

/* One configuration: memory [(2 * NUM_SIDES + 1) * N*D * N*D + N*D], log_prob [NUM_SIDES * N*D + 1]. */
static eqf_status compare_jacobian(const eqf__evaluated *of, eqf_flow *flow, const float *x, double *memory,
                                   double *log_prob, double *error_out) {
    const size_t num_dof = of->num_dof, num = NUM_SIDES * num_dof;
    double *moved = memory, *z = moved + num * num_dof, *matrix = z + num * num_dof,
           *centre = matrix + num_dof * num_dof;
    for (size_t b = 0; b < num; b++) {
        for (size_t c = 0; c < num_dof; c++) moved[b * num_dof + c] = x[c];
        moved[b * num_dof + b / NUM_SIDES] += sides[b % NUM_SIDES];
    }
    EQF__TRY(eqf_flow_log_prob_double(flow, num, moved, log_prob, z));
    fill_matrix(of, z, matrix);
    for (size_t c = 0; c < num_dof; c++) moved[c] = x[c];
    EQF__TRY(eqf_flow_log_prob_double(flow, 1, moved, log_prob, centre));
    *error_out = fabs(log_prob[0] - prior_log_prob(of, centre) - log_determinant(num_dof, matrix));
    return EQF_OK;
}

static eqf_status compare_jacobians(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    const size_t num_dof = of->num_dof, num = of->num_data < NUM_JACOBIANS ? of->num_data : NUM_JACOBIANS;
    double worst = 0, error = NAN;
    if (num_dof > MOST_DOF) return EQF_OK;
    double *memory =
        eqf__alloc(of->ctx, (2 * NUM_SIDES + 1) * num_dof * num_dof + num_dof, sizeof *memory, "the Jacobian");
    double *log_prob = eqf__alloc(of->ctx, NUM_SIDES * num_dof + 1, sizeof *log_prob, "the log-densities");
    eqf_status status = memory != NULL && log_prob != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < num && status == EQF_OK; b++) {
        status = compare_jacobian(of, flow, of->x + b * num_dof, memory, log_prob, &error);
        worst = error >= worst || isnan(error) ? error : worst;
    }
    if (status == EQF_OK) result->figures.jacobian_error = worst;
    free(memory);
    free(log_prob);
    return status;
}

eqf_status eqf__evaluate_in_double(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    const size_t num = of->num_data < NUM_COMPARED ? of->num_data : NUM_COMPARED;
    double wide[NUM_COMPARED];
    if (result->flow_options.precision != EQF_PRECISION_DOUBLE) return EQF_OK;
    double *x = eqf__alloc(of->ctx, num * of->num_dof, sizeof *x, "the data");
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < num * of->num_dof; i++) x[i] = of->x[i];
    eqf_status status = eqf_flow_log_prob_double(flow, num, x, wide, NULL);
    free(x);
    if (status == EQF_OK) status = compare_float(of, num, wide, result);
    return status == EQF_OK ? compare_jacobians(of, flow, result) : status;
}
