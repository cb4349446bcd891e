/* SOAP: Adam in the eigenbasis of running gradient covariances (Vyas et al. 2024, arXiv 2409.11321), on the host. For
 * each trained slice that is a matrix, with gradient G [rows, columns], it keeps L, the running mean of G G^T, and R,
 * that of G^T G, with their eigenvectors Q_L, Q_R; Adam's moments are those of Q_L^T G Q_R. A side longer than 128
 * keeps its own basis. Vectors are updated by Adam. Sums have a fixed order, so the same gradients give the same bits
 * on every machine. */
#ifndef EQF_SOAP_H
#define EQF_SOAP_H

#include "base.h"
#include "eqflow/model.h"

typedef struct eqf__soap eqf__soap;

/* For the trained slices of the model. All moments and covariances are zero, all bases the unit matrix. */
eqf_status eqf__soap_create(eqf_context *ctx, const eqf_model *model, eqf__soap **soap_out);
void eqf__soap_destroy(eqf__soap **soap);
/* The state (moments, covariances and bases) as one array, valid as long as the optimizer. */
float *eqf__soap_state(eqf__soap *soap, size_t *count_out);
/* Step number `step`, from 1: params [num_trained] -= learning_rate (update + weight_decay params), gradient times
 * `shrink`. */
void eqf__soap_update(eqf__soap *soap, uint64_t step, double learning_rate, double weight_decay, double shrink,
                      const float *gradient, float *params);

#endif
