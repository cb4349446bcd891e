/* A run of Monte Carlo, its plan and its diagnostics: mcmc.c, plan.c, diagnose.c. */
#ifndef EQF_MCMC_INTERNAL_H
#define EQF_MCMC_INTERNAL_H

#include "check.h"
#include "eqflow/mcmc.h"
#include "ocl.h"
#include "program.h"

/* The series of energies for the autocorrelation time: one value every so many sweeps, for the first chains and steps
 * only, so that it stays below 4 MiB. */
#define SERIES_INTERVAL 5u
#define MAX_SERIES_CHAINS 256u
#define MAX_SERIES_STEPS 4096u

/* The options with defaults filled in, and quantities derived from them. */
typedef struct mcmc_plan {
    unsigned num_chains, num_burn_in, thinning;
    double start_scale, target_acceptance, step_size, largest_step_size;
    size_t num_kept; /* configurations from each chain */
    unsigned num_blocks;
    unsigned launch_sweeps;
    unsigned num_series_chains, num_series_blocks, num_series_steps;
} mcmc_plan;

typedef struct mcmc_run {
    eqf_context *ctx;
    eqf__checker *checker;
    const eqf_mcmc_options *options;
    mcmc_plan plan;
    cl_uint num_particles, num_dof;
    /* This rank's part of the chains, in whole blocks; without ranks: all. */
    cl_uint first_block, num_blocks, num_chains, num_series_blocks;
    unsigned local_chains; /* eqf__mcmc_local_chains */
    size_t *first_chains;  /* [ranks + 1]: the first chain of each rank */
    eqf__kernel start, sweeps, keep;
    cl_mem x_blocked;                           /* [num_blocks][N*D][V] */
    cl_mem accepted;                            /* [num_blocks][V] */
    cl_mem series;                              /* [num_series_steps][num_series_blocks][V] */
    cl_mem x_kept;                              /* [num_chains, N*D] */
    cl_mem energy_kept;                         /* [num_chains] */
    cl_uint *h_accepted;                        /* [num_blocks][V] */
    uint64_t num_sweeps_done, num_sweeps_total; /* per chain */
    double step_size;
    double num_accepted, num_proposed; /* since they were last set to zero */
} mcmc_run;

static inline unsigned eqf__min_unsigned(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Burn-in, of chains and of ladders. The step size (length) after a round with that accepted fraction: its logarithm
 * changes in proportion to the acceptance's error. A step larger by a factor e lowers the acceptance by about 0.3, so
 * with 1.5 the tuning settles in a few rounds. A potential that does not hold its particles accepts every move: the
 * step has a limit. */
double eqf__mcmc_tuned_step(double step, double acceptance, double target, double largest);
/* In the last quarter, from this sweep on, step sizes are fixed. */
unsigned eqf__mcmc_num_tuned(unsigned num_burn_in);

eqf_status eqf__mcmc_check_options(eqf_context *ctx, const eqf_mcmc_options *options);
eqf_status eqf__mcmc_make_plan(eqf_context *ctx, const eqf_potential_options *potential,
                               const eqf_mcmc_options *options, size_t num_samples, mcmc_plan *plan);

/* Number of sweeps in a launch, at most MAX_LAUNCH_SWEEPS; UNSUPPORTED if not even one is possible. */
eqf_status eqf__mcmc_launch_sweeps(eqf_context *ctx, const eqf_potential_options *potential, unsigned *sweeps_out);

/* The number of chains in a work-group with states in local memory; 0: states are in private memory. */
unsigned eqf__mcmc_local_chains(const eqf_context *ctx, const eqf_potential_options *potential);
/* The program of Monte Carlo chains; `last` (or NULL) is a file that follows cl/mcmc/metropolis.cl. */
eqf_status eqf__mcmc_program(eqf_context *ctx, const eqf_potential_options *potential, const char *name,
                             const char *last, eqf__program **program_out);

/* value - first, clipped to 0 ... count. */
unsigned eqf__mcmc_clip(size_t value, size_t first, size_t count);
/* items [num] of the first num chains: each rank has those of its own chains; afterwards all ranks have all. */
eqf_status eqf__mcmc_gather_chains(const mcmc_run *run, size_t num, size_t item_bytes, void *items);
/* The energy of one configuration x [N*D], computed by the chains' kernel, which destroys the chains' state. */
eqf_status eqf__mcmc_energy_of(mcmc_run *run, const float *x, float *energy_out);

/* Computes the diagnostics; x [num_samples, N*D] and energies [num_samples] are the samples. */
eqf_status eqf__mcmc_diagnose(mcmc_run *run, size_t num_samples, const float *x, const float *energies,
                              double acceptance, eqf_mcmc_diagnostics *diagnostics);

#endif
