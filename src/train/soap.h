/* SOAP: Adam in the eigenbasis of running gradient covariances (Vyas et al. 2024, arXiv 2409.11321), on the host. Each
 * trained slice of the
 * parameters that is a matrix G [rows, columns] keeps L, the running mean of G G^T, and R, that of G^T G, and their
 * eigenvectors Q_L, Q_R; Adam's moments are those of Q_L^T G Q_R. A side longer than 128 is left as it is. Vectors are
 * left to Adam. Sums are taken in one order, so that the same gradients give the same bits on every machine. */
#ifndef EQF_SOAP_H
#define EQF_SOAP_H

#include "base.h"
#include "eqflow/model.h"

typedef struct eqf__soap eqf__soap;

/* For the trained slices of the model; all state is zero, all bases the unit matrix. */
eqf_status eqf__soap_create(eqf_context *ctx, const eqf_model *model, eqf__soap **soap_out);
void eqf__soap_destroy(eqf__soap **soap);
/* The state as numbers, valid as long as the optimizer: moments, covariances and bases. */
float *eqf__soap_state(eqf__soap *soap, size_t *count_out);
/* Step number `step`, from 1: params [num_trained] -= learning_rate (update + weight_decay params), gradient times
 * `shrink`. */
void eqf__soap_update(eqf__soap *soap, uint64_t step, double learning_rate, double weight_decay, double shrink,
                      const float *gradient, float *params);

#endif
