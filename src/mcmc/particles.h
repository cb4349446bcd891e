/* Metropolis moves of single particles of many configurations under a mixture of two energies, share_start E_start +
 * share_target u (cl/mcmc/particle.cl). u is a potential; E_start is another one, or a number that the caller computes
 * of whole configurations. A move is: propose it if the caller needs the configurations, compute E_start, decide. */
#ifndef EQF_PARTICLES_H
#define EQF_PARTICLES_H

#include "check.h"

typedef struct eqf__particles {
    eqf_context *ctx;
    eqf__particle_kernels kernels;
    bool has_start; /* E_start is a potential */
    size_t num, num_dof, lanes;
    cl_uint num_blocks;
    cl_mem x_blocked, before, after, accepted; /* [num_blocks][N*D][V]; the others [num_blocks][V] */
    cl_mem rows;                               /* [num, N*D] */
    float *h_blocked, *h_numbers;              /* the same on the host; of before and after */
    cl_uint *h_counts;                         /* of accepted */
    double num_proposed;                       /* moves of all configurations since eqf__particles_put */
} eqf__particles;

/* Which move, of which particle. The same seed, step and move have the same random numbers. */
typedef struct eqf__particle_move {
    uint64_t seed;
    uint32_t step, move;
    unsigned particle;
    double step_size; /* standard deviation of the displacement in each direction */
    double share_start, share_target;
} eqf__particle_move;

/* For `num` configurations. start NULL: the caller computes E_start. The checker gets the kernels' known answers. */
eqf_status eqf__particles_create(eqf__checker *checker, const eqf_potential_options *target,
                                 const eqf_potential_options *start, size_t num, eqf__particles *particles_out);
void eqf__particles_clear(eqf__particles *particles);

/* Configurations x [num, N*D] with their E_start [num], which may be NULL if it is a potential. */
eqf_status eqf__particles_put(eqf__particles *particles, const float *x, const float *start_energy);
/* x_out [num, N*D]: the proposed configurations, mean-free. */
eqf_status eqf__particles_propose(eqf__particles *particles, const eqf__particle_move *move, float *x_out);
/* Decides. start_energy [num]: E_start of the proposed configurations; NULL if it is a potential, or if its share
 * is 0. */
eqf_status eqf__particles_decide(eqf__particles *particles, const eqf__particle_move *move, const float *start_energy);
/* The configurations after the moves. start_energy_out [num] (or NULL): their E_start, if the caller has computed it
 * for every move. *acceptance_out: the accepted fraction. */
eqf_status eqf__particles_take(eqf__particles *particles, float *x_out, float *start_energy_out,
                               double *acceptance_out);

#endif
