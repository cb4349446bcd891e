/* Dormand-Prince 5(4): trajectories whose steps each sample chooses for itself, and the continuous adjoint along
 * them (optimise, then discretise). Equations: cl/integrator/dormand_prince.cl and its two .clh. State is blocked as
 * in trajectory.h. */
#ifndef EQF_ADAPTIVE_H
#define EQF_ADAPTIVE_H

#include "field.h"

typedef struct eqf__adaptive_batched eqf__adaptive_batched; /* adaptive_batched.h */

/* What one program integrates: its state, and buffers for max_blocks blocks. */
typedef struct eqf__adaptive_system {
    eqf__kernel begin, steps, put, take, field;
    eqf__adaptive_batched *batched; /* of batched fields, in place of begin, steps and field; else NULL */
    size_t state_size, max_blocks;
    cl_mem d_state, d_slope, d_carry; /* [max_blocks][state_size][V] */
    cl_mem d_control;                 /* [max_blocks][CONTROL_SIZE][V] */
    cl_mem d_num_running;             /* [1] uint */
    cl_uint turns_per_launch;         /* tries of a step, within the device's budget */
} eqf__adaptive_system;

typedef struct eqf__adaptive {
    eqf_context *ctx;
    eqf__field *field; /* borrowed */
    unsigned vector_width;
    eqf_adaptive_options options; /* checked, defaults filled in */
    eqf__adaptive_system forward, adjoint;
    float equal_step; /* 0; else all steps have this size, to measure the order: with an atol that accepts them */
    size_t num_partials;
    cl_mem d_grad; /* [num_partials][any_time_grad_size][V] */
    eqf_step_statistics statistics;
    float *h_control;
    size_t h_control_size;
} eqf__adaptive;

/* Zeros become defaults. Errors: INVALID_ARGUMENT. */
eqf_status eqf__adaptive_check(eqf_context *ctx, eqf_adaptive_options *options);

/* field must have the any-time or the batched form and must outlive this. */
eqf_status eqf__adaptive_create(eqf_context *ctx, eqf__field *field, const eqf_adaptive_options *options,
                                eqf__adaptive *adaptive_out);
void eqf__adaptive_clear(eqf__adaptive *adaptive);

/* d_x in place, d_log_det += integral of the divergence along the way; NaN in both for samples that were not
 * finished. Only the first num_samples enter the statistics. Waits for the device. */
eqf_status eqf__adaptive_solve(eqf__adaptive *adaptive, const eqf__noise *noise, eqf_direction direction,
                               size_t num_blocks, size_t num_samples, cl_mem d_x, cl_mem d_log_det);

/* Builds the program of the way back, for what wants it before the first. */
eqf_status eqf__adaptive_prepare_reverse(eqf__adaptive *adaptive);
/* The program of solves or of the way back; NULL: not built yet. */
eqf__program *eqf__adaptive_program(const eqf__adaptive *adaptive, bool is_reverse);

/* The way back of a solve in direction: d_x is where it ended. d_adjoint_x: in, d loss / d x there; out, at the
 * start; d_adjoint_log_det [num_blocks][V]; both are shares of a mean over batch_size samples, 0 in padding lanes.
 * d_gradient [num_trained], out. */
eqf_status eqf__adaptive_reverse(eqf__adaptive *adaptive, const eqf__noise *noise, eqf_direction direction,
                                 size_t num_blocks, size_t batch_size, cl_mem d_x, cl_mem d_adjoint_x,
                                 cl_mem d_adjoint_log_det, cl_mem d_gradient);

/* velocity [num_blocks][N*D][V] (may be d_x) and divergence [num_blocks][V] at any time t. */
eqf_status eqf__adaptive_field(const eqf__adaptive *adaptive, const eqf__noise *noise, double t, size_t num_blocks,
                               cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence);

#endif
