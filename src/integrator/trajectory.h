/* Trajectories: a field and an integrator assembled into one program, solved in both directions and reversed.
 * All state is blocked: [num_blocks][N*D][V]; numbers per sample are [num_blocks][V]. */
#ifndef EQF_TRAJECTORY_H
#define EQF_TRAJECTORY_H

#include "field.h"

typedef struct eqf__batched eqf__batched; /* batched.h */

typedef struct eqf__trajectory {
    eqf_context *ctx;
    eqf__field *field; /* borrowed; its parameters stay as they are, a batched field's scratch memory does not */
    unsigned num_steps, vector_width;
    /* Layout, chosen by the device's profile: 0, a work-item carries a block; else a work-group of so many carries a sample. Both read and
     * write the same arrays, and give the same numbers up to rounding. */
    unsigned group_size, reverse_group_size;
    /* Within the device's launch budget: steps of a forward launch; steps, and blocks (of groups: samples) one after the other, of a reverse
     * launch. */
    size_t steps_per_launch, reverse_steps, reverse_blocks;
    cl_mem d_nothing; /* stands in for checkpoints where none are kept */
    eqf__kernel forward, adjoint, at_stage;
    eqf__batched *batched; /* for a batched field, instead of the three; else NULL */
} eqf__trajectory;

/* field must have 2 num_steps + 1 stages and outlive the trajectory. Assemble again when the field's defines change. */
eqf_status eqf__trajectory_create(eqf_context *ctx, eqf__field *field, unsigned num_steps,
                                  eqf__trajectory *trajectory_out);
void eqf__trajectory_clear(eqf__trajectory *trajectory);

/* d_x in place, d_log_det += integral of the divergence along the way. d_checkpoints [num_steps][num_blocks][N*D][V] or NULL. */
eqf_status eqf__trajectory_solve(const eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                                 size_t num_blocks, cl_mem d_x, cl_mem d_log_det, cl_mem d_checkpoints);

/* What the reverse solve reads and writes: cl/integrator/rk4_adjoint.cl. Gradients are added to. */
typedef struct eqf__trajectory_gradient {
    cl_mem d_checkpoints, d_adjoint_x, d_adjoint_log_det, d_weight, d_error;
    cl_mem d_grad_stages, d_grad_shared;
    size_t num_partials;
    float penalty;
} eqf__trajectory_gradient;
/* Builds the reverse program, for what wants it before the first reverse solve. */
eqf_status eqf__trajectory_prepare_reverse(eqf__trajectory *trajectory);
/* The program of solves or of the way back, one for both where the field is batched; NULL: not built yet. */
eqf__program *eqf__trajectory_program(const eqf__trajectory *trajectory, bool is_reverse);
/* d_adjoint_x: in, d loss / d x after the last step; out, before the first. Builds its program at first use. */
eqf_status eqf__trajectory_reverse(eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                                   size_t num_blocks, const eqf__trajectory_gradient *gradient);

/* velocity [num_blocks][N*D][V] and divergence [num_blocks][V] at stage time t_stage. */
eqf_status eqf__trajectory_field(const eqf__trajectory *trajectory, const eqf__noise *noise, unsigned stage,
                                 size_t num_blocks, cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence);

#endif
