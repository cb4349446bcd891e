/* Descents of a chunk of configurations on the device (cl/minima/quench.cl): upload, launches of steps, results.
 * src/minima chooses the starts and the number of rounds, and uses the results. */
#ifndef EQF_QUENCH_H
#define EQF_QUENCH_H

#include "batch.h"
#include "eqflow/minima.h"
#include "program.h"

/* Numbers that depend on the precision. The step of the Hessian's differences has about equal errors by rounding and by
 * the force's third derivative (for Lennard-Jones 3e4 epsilon / r_min^4); curvatures are relative to the Hessian's
 * largest diagonal element. */
typedef struct eqf__quench_scales {
    double gradient_tolerance; /* the default, in units of stiffness * length * sqrt(N D) */
    double least_tolerance;    /* the smallest that rounding allows, in the same units */
    double difference;         /* step of the Hessian's differences, in units of length */
    double curvature;          /* smaller eigenvalues of the Hessian count as 0 */
} eqf__quench_scales;

typedef struct eqf__quench {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    const eqf_quench_options *options;
    cl_uint num_particles, space_dim, num_dof;
    eqf__real real;
    const eqf__quench_scales *scales;
    cl_uint num_hessian_blocks; /* most blocks whose Hessians are computed at a time */
    unsigned max_steps, launch_steps;
    bool has_guessed_stiffness; /* the stiffness is measured before the first descent */
    double length, gradient_scale, gradient_tolerance, largest_time_step, largest_displacement;
    eqf__kernel energy, begin, steps, hessian;
    eqf__batch batch;                               /* batch.d_x: the configurations, [num_blocks][N*D][V] */
    cl_mem d_velocity;                              /* [num_blocks][N*D][V] */
    cl_mem d_control;                               /* [num_blocks][NUM_CONTROLS][V] */
    cl_mem d_energy;                                /* [num_blocks][V] */
    cl_mem d_hessians;                              /* [num_hessian_blocks][N*D][N*D][V] */
    void *h_reals;                                  /* controls or Hessians in the device's layout and precision */
    double *h_rows;                                 /* [chunk, N*D] */
    double *h_control;                              /* [chunk, NUM_CONTROLS] */
    double *h_matrix, *h_direction;                 /* [N*D, N*D], [N*D] */
    bool *h_is_reached;                             /* [N] */
    double *x_out, *energy_out, *gradient_norm_out; /* the caller's, [B, N*D], [B] or NULL, [B] or NULL */
    eqf_quench_result *result_out;
    size_t batch_size, num_finished, num_escapes;
    double num_steps; /* the sum over all descents */
} eqf__quench;

/* Sets all members except kernels, buffers and the caller's arrays. */
void eqf__quench_begin(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                       bool is_double, size_t batch_size, eqf__quench *run_out);
/* Sets the scales for a potential of this stiffness. */
void eqf__quench_choose_scales(eqf__quench *run, double stiffness);
/* Makes kernels and buffers; eqf__quench_clear releases them, also after an error. */
eqf_status eqf__quench_create(eqf__quench *run);
void eqf__quench_clear(eqf__quench *run);

/* Uploads rows indices [count] of x_out to samples 0 ... count - 1 of the blocks. */
eqf_status eqf__quench_upload(eqf__quench *run, size_t count, const size_t *indices);
eqf_status eqf__quench_descend(eqf__quench *run, size_t count);
/* Copies the results to rows `indices` of the caller's arrays. */
eqf_status eqf__quench_collect(eqf__quench *run, size_t count, const size_t *indices);

/* Computes the Hessians of num_blocks blocks from first_block on, to h_reals. */
eqf_status eqf__quench_hessians(eqf__quench *run, size_t first_block, size_t num_blocks);
/* Stores the symmetric Hessian of lane `lane` of block `block` of these in h_matrix; returns its largest diagonal
 * element. */
double eqf__quench_take_hessian(eqf__quench *run, size_t block, size_t lane);
/* Computes the Hessian of the first configuration, to h_matrix. */
eqf_status eqf__quench_first_hessian(eqf__quench *run);

/* num_steps steps of FIRE (cl/minima/quench.cl has the equations) from rest on the host; x [N, D] changes in place;
 * gradient_norm_out: before the last step. For potentials whose formula the host has. False: out of memory. */
bool eqf__host_quench(const eqf_potential_options *potential, unsigned num_steps, double largest_time_step,
                      double largest_displacement, double *x, double *gradient_norm_out);

#endif
