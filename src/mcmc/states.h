/* A run of replica exchange between states: states_plan.c makes its plan and computes the diagnostics, states.c runs
 * it. */
#ifndef EQF_STATES_H
#define EQF_STATES_H

#include "replica_internal.h"

/* One state with its chains, one for each ladder. */
typedef struct mcmc_state {
    const eqf_potential_options *potential;
    double start_scale, largest_step;
    float step;
    unsigned local_chains; /* eqf__mcmc_local_chains */
    eqf__kernel start, sweeps, keep, energy;
    cl_mem x_blocked, accepted;     /* [num_blocks][N*D][V], [num_blocks][V] */
    cl_mem own, of_above, of_below; /* [num_blocks][V]: its energies of its configurations, and of its neighbours' */
    cl_mem way, swaps;              /* [num_blocks][V], [lanes] */
    cl_mem moves;                   /* [lanes]: accepted moves since the counts were zero */
} mcmc_state;

typedef struct states_run {
    eqf_context *ctx;
    eqf__checker *checker;
    const eqf_replica_options *options;
    replica_plan plan; /* of what the states share; num_chains and num_blocks are not used */
    unsigned num_states;
    mcmc_state *states; /* [num_states] */
    cl_uint num_particles, num_dof, num_blocks;
    size_t lanes; /* num_blocks times V */
    eqf__kernel swap, count, ways;
    cl_mem trips;                                          /* [lanes] */
    cl_mem x_kept, energy_kept;                            /* [ladders, N*D], [ladders] */
    float *h_x, *h_energy;                                 /* [lanes, N*D], [lanes] */
    cl_uint *h_counts;                                     /* [lanes] */
    uint64_t num_sweeps_done, num_sweeps_total, num_moves; /* as of replica_run */
    cl_uint num_rounds, first_round;
} states_run;

/* Checks the states and the options, and allocates run->states. */
eqf_status eqf__states_make_plan(states_run *run, unsigned num_states, const eqf_potential_options *states,
                                 size_t num_samples);
/* x [num_states, num_samples, N, D], energies [num_states, num_samples]; acceptance [num_states]: after burn-in. */
eqf_status eqf__states_diagnose(states_run *run, size_t num_samples, const float *x, const float *energies,
                                const double *acceptance, eqf_replica_diagnostics *diagnostics);

#endif
