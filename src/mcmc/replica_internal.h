/* A run of replica exchange: replica_plan.c makes its plan, replica.c runs it, replica_result.c computes the
 * diagnostics. */
#ifndef EQF_REPLICA_INTERNAL_H
#define EQF_REPLICA_INTERNAL_H

#include "chains.h"
#include "mcmc_internal.h"

/* The options with defaults filled in, and quantities derived from them. Chain number ladder * num_temperatures + k
 * begins at temperature k. */
typedef struct replica_plan {
    unsigned num_temperatures, num_ladders, num_chains, num_blocks;
    unsigned num_burn_in, thinning, exchange_interval; /* sweeps; the first two are multiples of the last */
    unsigned launch_sweeps;
    size_t num_kept; /* configurations from each chain */
    double start_scale, target_acceptance, first_step, largest_step;
    double temperatures[EQF_REPLICA_MAX_TEMPERATURES];
} replica_plan;

typedef struct replica_run {
    eqf_context *ctx;
    eqf__checker *checker;
    const eqf_replica_options *options;
    replica_plan plan;
    cl_uint num_particles, num_dof;
    unsigned local_chains; /* eqf__mcmc_local_chains */
    eqf__kernel start, sweeps, swap, keep;
    cl_mem x_blocked, factor_of, step_of, accepted, energy; /* [num_blocks][...][V] */
    cl_mem factors, steps;                                  /* [num_temperatures] */
    cl_mem chain_at, moves, swaps;                          /* [num_ladders][num_temperatures] */
    cl_mem way, trips;                                      /* [chains], [num_ladders] */
    cl_mem x_kept, energy_kept;                             /* [chains, N*D], [chains] */
    float *h_x, *h_energy;                                  /* x_kept and energy_kept on the host */
    cl_uint *h_counts;                                      /* [num_ladders][num_temperatures] */
    float h_steps[EQF_REPLICA_MAX_TEMPERATURES];
    uint64_t num_sweeps_done, num_sweeps_total; /* per chain */
    uint64_t num_moves;              /* proposed at each temperature, in all ladders, since the counts were zero */
    cl_uint num_rounds, first_round; /* of exchanges; first_round: the first after burn-in */
    /* states with constants of their own (states.c), whose energies are reduced by their own temperatures */
    bool has_states;
} replica_run;

eqf_status eqf__replica_make_plan(eqf_context *ctx, const eqf_potential_options *potential,
                                  const eqf_replica_options *options, size_t num_samples, replica_plan *plan);

/* Burn-in, of temperatures and of states: sweeps of a round, a multiple of the exchange interval; and
 * eqf__mcmc_tuned_step of steps in float. */
unsigned eqf__replica_round_sweeps(const replica_plan *plan);
float eqf__replica_tuned_step(const replica_plan *plan, float step, double acceptance, double largest);

/* energies [num_temperatures, num_samples]; acceptance [num_temperatures], swaps [num_ladders, num_temperatures],
 * trips [num_ladders] are those after burn-in. */
eqf_status eqf__replica_diagnose(const replica_run *run, size_t num_samples, const float *energies,
                                 const double *acceptance, const cl_uint *swaps, const cl_uint *trips,
                                 eqf_replica_diagnostics *diagnostics);

/* Differences of ln Z along a ladder of num_states, into diagnostics. forward, reverse [num_states - 1, num]:
 * u_k+1 - u_k of sample n of state k, u_k - u_k+1 of sample n of state k + 1; sample n is of ladder n % num_ladders. */
eqf_status eqf__replica_log_z(eqf_context *ctx, unsigned num_states, unsigned num_ladders, bool has_start, size_t num,
                              const double *forward, const double *reverse, eqf_replica_diagnostics *diagnostics);

#endif
