/* Descents on the device: they hold a chunk of configurations (cl/minima/quench.cl), launch its steps and read it
 * back. src/minima decides on starts and rounds, and on what becomes of the results. */
#ifndef EQF_QUENCH_H
#define EQF_QUENCH_H

#include "batch.h"
#include "eqflow/minima.h"
#include "program.h"

/* What depends on the precision. Differences of the Hessian balance rounding against the force's third derivative (of
 * Lennard-Jones, 3e4 epsilon / r_min^4); curvatures are relative to the Hessian's largest diagonal element. */
typedef struct eqf__quench_scales {
    double gradient_tolerance; /* the default, relative to stiffness * length * sqrt(N D) */
    double least_tolerance;    /* what rounding lets a descent reach, likewise */
    double difference;         /* of the Hessian, relative to the length */
    double curvature;          /* flatter than this counts as flat */
} eqf__quench_scales;

typedef struct eqf__quench {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    const eqf_quench_options *options;
    cl_uint num_particles, space_dim, num_dof;
    eqf__real real;
    const eqf__quench_scales *scales;
    cl_uint num_hessian_blocks; /* at a time */
    unsigned max_steps, launch_steps;
    bool has_guessed_stiffness; /* measured before the first descent */
    double length, gradient_scale, gradient_tolerance, largest_time_step, largest_displacement;
    eqf__kernel energy, begin, steps, hessian;
    eqf__batch batch;                               /* its d_x: where the descents are, [num_blocks][N*D][V] */
    cl_mem d_velocity;                              /* [num_blocks][N*D][V] */
    cl_mem d_control;                               /* [num_blocks][NUM_CONTROLS][V] */
    cl_mem d_energy;                                /* [num_blocks][V] */
    cl_mem d_hessians;                              /* [num_hessian_blocks][N*D][N*D][V] */
    void *h_reals;                                  /* controls or Hessians as the device has them */
    double *h_rows;                                 /* [chunk, N*D] */
    double *h_control;                              /* [chunk, NUM_CONTROLS] */
    double *h_matrix, *h_direction;                 /* [N*D, N*D], [N*D] */
    bool *h_is_reached;                             /* [N] */
    double *x_out, *energy_out, *gradient_norm_out; /* the caller's, [B, N*D], [B] or NULL, [B] or NULL */
    eqf_quench_result *result_out;
    size_t batch_size, num_finished, num_escapes;
    double num_steps; /* of all */
} eqf__quench;

/* Everything but kernels, buffers and the caller's arrays. */
void eqf__quench_begin(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                       bool is_double, size_t batch_size, eqf__quench *run_out);
/* Scales of a potential of that stiffness. */
void eqf__quench_choose_scales(eqf__quench *run, double stiffness);
/* Kernels and buffers; after a failure, too, clear releases what there is. */
eqf_status eqf__quench_create(eqf__quench *run);
void eqf__quench_clear(eqf__quench *run);

/* indices [count]: configurations of x_out to quench; their numbers in the blocks are 0 ... count - 1. */
eqf_status eqf__quench_upload(eqf__quench *run, size_t count, const size_t *indices);
eqf_status eqf__quench_descend(eqf__quench *run, size_t count);
/* Back to the caller's arrays. */
eqf_status eqf__quench_collect(eqf__quench *run, size_t count, const size_t *indices);

/* Hessians of num_blocks blocks of configurations from first_block on, in h_reals. */
eqf_status eqf__quench_hessians(eqf__quench *run, size_t first_block, size_t num_blocks);
/* Of those the Hessian of lane `lane` of block `block`, symmetric, in h_matrix; gives its largest diagonal element. */
double eqf__quench_take_hessian(eqf__quench *run, size_t block, size_t lane);
/* The Hessian of the first configuration in the blocks, in h_matrix. */
eqf_status eqf__quench_first_hessian(eqf__quench *run);

/* num_steps steps of FIRE (cl/minima/quench.cl has the rules and their source) from rest on the host, x [N, D] in
 * place; gradient_norm_out: before the last step. Of potentials whose formula the host knows. False: out of memory. */
bool eqf__host_quench(const eqf_potential_options *potential, unsigned num_steps, double largest_time_step,
                      double largest_displacement, double *x, double *gradient_norm_out);

#endif
