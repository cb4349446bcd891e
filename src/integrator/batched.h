/* RK4 with fields that are evaluated batch by batch: the loop over steps runs here, the numbers stay on the device. trajectory.c calls it. */
#ifndef EQF_BATCHED_H
#define EQF_BATCHED_H

#include "trajectory.h"

/* Kernels and memory. Owned by the trajectory. */
eqf_status eqf__batched_create(eqf_context *ctx, const eqf__field *field, eqf__batched **batched_out);
void eqf__batched_destroy(eqf__batched **batched);
eqf__program *eqf__batched_program(const eqf__batched *batched);

/* As the eqf__trajectory_ functions of these names. */
eqf_status eqf__batched_solve(const eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                              size_t num_blocks, cl_mem d_x, cl_mem d_log_det, cl_mem d_checkpoints);
eqf_status eqf__batched_reverse(const eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                                size_t num_blocks, const eqf__trajectory_gradient *gradient);
eqf_status eqf__batched_field(const eqf__trajectory *trajectory, const eqf__noise *noise, unsigned stage,
                              size_t num_blocks, cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence);

#endif
