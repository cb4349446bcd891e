/* A prior on the device: cl/prior/prior.cl with the text of its kind. All arrays are blocked: configurations
 * [num_blocks][N*D][V], one number for each sample [num_blocks][V]. */
#ifndef EQF_PRIOR_H
#define EQF_PRIOR_H

#include "prior_kinds.h"
#include "program.h"
#include "real.h"

typedef struct eqf__prior {
    eqf_context *ctx;
    eqf__real real;
    const eqf__prior_kind *kind;
    eqf_model_options options; /* of its model, without the texts */
    double scale;              /* prior_scale, rounded as on the device */
    double constant_term;      /* -log_prob(0) */
    eqf__program *program;     /* also has the kernels of layout/batch.h */
    eqf__kernel sample, centre, add_noise, log_prob, score, add_log_det, seed, loss_sums;
    cl_mem d_carry; /* of loss_sums: [2][V] */
} eqf__prior;

/* options: a model's, checked. */
eqf_status eqf__prior_create(eqf_context *ctx, const eqf_model_options *options, const eqf__real *real,
                             eqf__prior *prior_out);
void eqf__prior_clear(eqf__prior *prior);

/* Writes samples first_sample ... of the stream seed to d_x. */
eqf_status eqf__prior_sample(const eqf__prior *prior, uint64_t seed, uint64_t first_sample, size_t num_blocks,
                             cl_mem d_x);
/* Adds mean-free normals of standard deviation `scale` to d_x: numbers first_position ... of the stream seed, which
 * differ from those of the prior. */
eqf_status eqf__prior_add_noise(const eqf__prior *prior, uint64_t seed, uint64_t first_position, double scale,
                                size_t num_blocks, cl_mem d_x);
eqf_status eqf__prior_centre(const eqf__prior *prior, size_t num_blocks, cl_mem d_x);
/* d_log_prob = log_prob(z) + sign * d_log_det. */
eqf_status eqf__prior_log_prob(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_log_det, double sign,
                               cl_mem d_log_prob);
/* d_score = the gradient of log_prob at z. */
eqf_status eqf__prior_score(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_score);
/* d_log_prob += sign * d_log_det. */
eqf_status eqf__prior_add_log_det(const eqf__prior *prior, size_t num_blocks, cl_mem d_log_prob, cl_mem d_log_det,
                                  double sign);

/* d_sums[place], d_sums[place + 1] = sums over samples of weight times value and of weight times error, within the
 * launch budget. */
eqf_status eqf__prior_sum_losses(const eqf__prior *prior, size_t num_blocks, cl_mem d_value, cl_mem d_error,
                                 cl_mem d_weight, cl_mem d_sums, unsigned place);

/* Start values of the reverse solve for the mean nll of batch_size samples, after data -> prior: nll_seed of
 * cl/prior/prior.cl. */
eqf_status eqf__prior_seed_nll(const eqf__prior *prior, size_t batch_size, cl_mem d_z, cl_mem d_log_det,
                               cl_mem d_adjoint_z, cl_mem d_adjoint_log_det, cl_mem d_weight, cl_mem d_nll,
                               cl_mem d_error);

#endif
