/* The layout of the message field in which a work-group computes a sample (cl/dynamics/message_group.cl), for devices
 * with local memory on the chip: velocities, divergences, and the reverse of both. */
#ifndef EQF_MESSAGE_GROUP_H
#define EQF_MESSAGE_GROUP_H

#include "field.h"
#include "message_params.h"

typedef struct eqf__message_group eqf__message_group;

/* *group_out is NULL if the device has no use for the layout, or if the sample does not fit: the log says why. d_pairs:
 * cl/dynamics/message_common.clh; the caller keeps it alive. Errors: those of the device. */
eqf_status eqf__message_group_create(eqf__field *field, const eqf__message_shape *shape, cl_mem d_pairs,
                                     eqf__message_group **group_out);
void eqf__message_group_destroy(eqf__message_group **group);
/* The program with the divergence, for known answers. */
eqf__program *eqf__message_group_program(const eqf__message_group *group);
/* Transposes the weights; after each change of the parameters. */
eqf_status eqf__message_group_prepare(eqf__message_group *group);
/* eqf__batched_form.evaluate. */
eqf_status eqf__message_group_evaluate(eqf__message_group *group, size_t num_samples, cl_mem d_x, cl_mem d_times,
                                       cl_mem d_velocity, cl_mem d_divergence);

/* Builds the program of the reverse pass at its first call; *can_out is false if a sample does not fit: the log says
 * why. */
eqf_status eqf__message_group_prepare_reverse(eqf__message_group *group, bool has_divergence, bool *can_out);
/* NULL before it, or if a sample does not fit. */
eqf__program *eqf__message_group_reverse_program(const eqf__message_group *group, bool has_divergence);
/* eqf__batched_form.vjp; d_adjoint_divergence is NULL without a divergence. The gradient has num_slices slices: slice n
 * has samples n, n + num_slices, ... in this order. */
eqf_status eqf__message_group_vjp(eqf__message_group *group, size_t num_slices, size_t num_samples, cl_mem d_x,
                                  cl_mem d_times, cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence,
                                  cl_mem d_adjoint_x, cl_mem d_grad);

#endif
