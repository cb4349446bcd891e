/* A prior on the device: cl/prior/prior.cl with the text of its kind. Blocked state throughout. */
#ifndef EQF_PRIOR_H
#define EQF_PRIOR_H

#include "prior_kinds.h"
#include "program.h"
#include "real.h"

typedef struct eqf__prior {
    eqf_context *ctx;
    eqf__real real;
    const eqf__prior_kind *kind;
    eqf_model_options options; /* of the model that it was made of, without its texts */
    double scale;              /* as the device has it */
    double constant_term;      /* -log_prob(0) */
    eqf__program *program;     /* has the layout's kernels too (layout/batch.h) */
    eqf__kernel sample, centre, add_noise, log_prob, score, add_log_det, seed, loss_sums;
    cl_mem d_carry; /* of loss_sums: [2][V] */
} eqf__prior;

/* options: a model's, checked. */
eqf_status eqf__prior_create(eqf_context *ctx, const eqf_model_options *options, const eqf__real *real,
                             eqf__prior *prior_out);
void eqf__prior_clear(eqf__prior *prior);

/* Samples first_sample ... of the stream seed into d_x [num_blocks][N*D][V]. */
eqf_status eqf__prior_sample(const eqf__prior *prior, uint64_t seed, uint64_t first_sample, size_t num_blocks,
                             cl_mem d_x);
/* Adds mean-free normals of that standard deviation to d_x; numbers first_position ... of the stream seed, none of them
 * the prior's. */
eqf_status eqf__prior_add_noise(const eqf__prior *prior, uint64_t seed, uint64_t first_position, double scale,
                                size_t num_blocks, cl_mem d_x);
eqf_status eqf__prior_centre(const eqf__prior *prior, size_t num_blocks, cl_mem d_x);
/* d_log_prob = log_prob(z) + sign * d_log_det. */
eqf_status eqf__prior_log_prob(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_log_det, double sign,
                               cl_mem d_log_prob);
/* d_score [num_blocks][N*D][V] = the gradient of log_prob at z. */
eqf_status eqf__prior_score(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_score);
eqf_status eqf__prior_add_log_det(const eqf__prior *prior, size_t num_blocks, cl_mem d_log_prob, cl_mem d_log_det,
                                  double sign);

/* d_sums[place], d_sums[place + 1] = sums over samples of weight times value and of weight times error, within the
 * launch budget. */
eqf_status eqf__prior_sum_losses(const eqf__prior *prior, size_t num_blocks, cl_mem d_value, cl_mem d_error,
                                 cl_mem d_weight, cl_mem d_sums, unsigned place);

/* Start of the reverse solve for the mean negative log-likelihood of batch_size samples, after data -> prior:
 * cl/prior/prior.cl. */
eqf_status eqf__prior_seed_nll(const eqf__prior *prior, size_t batch_size, cl_mem d_z, cl_mem d_log_det,
                               cl_mem d_adjoint_z, cl_mem d_adjoint_log_det, cl_mem d_weight, cl_mem d_nll,
                               cl_mem d_error);

#endif
