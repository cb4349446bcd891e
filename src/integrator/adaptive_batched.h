/* Dormand-Prince 5(4) for fields that are evaluated batch by batch: the loop over steps runs on the host, the choice of each sample's steps on
 * the device. adaptive.c calls it. Equations: cl/integrator/dormand_prince_batched.cl. */
#ifndef EQF_ADAPTIVE_BATCHED_H
#define EQF_ADAPTIVE_BATCHED_H

#include "adaptive.h"

/* Kernels of one system, beside put and take. */
eqf_status eqf__adaptive_batched_create(const eqf__adaptive *adaptive, eqf__program *program, bool is_adjoint,
                                        eqf__adaptive_batched **batched_out);
void eqf__adaptive_batched_destroy(eqf__adaptive_batched **batched);

/* All steps of all samples from system->d_state on. d_adjoint_log_det [num_blocks][V] and adjoint_scale as in adaptive.c; d_grad_shared
 * [grad_shared_size] += the gradient of the parameters, of a mean in which each sample has the given share; NULL: none. */
eqf_status eqf__adaptive_batched_run(eqf__adaptive *adaptive, const eqf__noise *noise, eqf__adaptive_system *system,
                                     float direction, size_t num_blocks, cl_mem d_adjoint_log_det, float adjoint_scale,
                                     float share, cl_mem d_grad_shared);

/* The field at one time t. */
eqf_status eqf__adaptive_batched_field(const eqf__adaptive *adaptive, const eqf__noise *noise, double t,
                                       size_t num_blocks, cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence);

#endif
