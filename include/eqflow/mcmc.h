/* Metropolis Monte Carlo with many chains on the device: equilibrium data to train on and to compare with. */
#ifndef EQFLOW_MCMC_H
#define EQFLOW_MCMC_H

#include <stdbool.h>
#include <stdint.h>

#include "eqflow/potential.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sweep proposes one displacement, uniform in a cube, for each particle in turn. Chains start from random
 * configurations and are independent; after burn-in each gives one configuration every `thinning` sweeps. The size of
 * the displacement is the same for all chains; it is tuned in burn-in and then fixed. Samples are ordered by
 * (kept configuration, chain). */
typedef struct eqf_mcmc_options {
    size_t struct_size; /* set by EQF_MCMC_OPTIONS_INIT */
    unsigned num_chains;       /* 0: chosen from num_samples */
    unsigned num_burn_in;      /* sweeps; 0: 4000 */
    unsigned thinning;         /* sweeps between kept configurations; 0: 200 */
    double start_scale;        /* sd of the random start; 0: chosen from the potential */
    double target_acceptance;  /* 0: 0.2 */
    uint64_t seed;
    bool is_centred;           /* subtract each sample's centre of mass (true in INIT) */
    eqf_progress_callback progress;
    void *progress_user;
} eqf_mcmc_options;
#define EQF_MCMC_OPTIONS_INIT {.struct_size = sizeof(eqf_mcmc_options), .is_centred = true}

/* A figure is NaN if the run is too short for it (docs/sampling.md). All are zero if num_samples was 0. */
typedef struct eqf_mcmc_diagnostics {
    size_t struct_size; /* set by EQF_MCMC_DIAGNOSTICS_INIT */
    unsigned num_chains, num_burn_in, thinning;
    uint64_t num_sweeps;              /* per chain, burn-in included */
    double acceptance;                /* fraction of accepted moves after burn-in */
    double step_size;                 /* sd of the displacement after burn-in, length */
    double autocorrelation_time;      /* integrated, of the energy, in sweeps */
    double split_r_hat;               /* of the energy */
    double effective_samples;         /* number of independent samples with the same information */
    double mean_energy, mean_energy_standard_error; /* kT */
    double radius_of_gyration;        /* root mean square, length */
    /* relative growth of the radius from the first to the last half of each chain's configurations: 0 in equilibrium */
    double radius_growth;
    double radius_growth_standard_error;
    /* the energy grows too slowly with distance for exp(-u) to be normalised: there is no equilibrium */
    bool is_unbound;
    double dissociation_energy; /* kT, with all particles far from each other; NaN if it grows without limit */
} eqf_mcmc_diagnostics;
#define EQF_MCMC_DIAGNOSTICS_INIT {.struct_size = sizeof(eqf_mcmc_diagnostics)}

/* Draws num_samples configurations: x_out [num_samples, N, D] float32, energy_out [num_samples] or NULL
 * (caller's arrays). Same seed, device and version: same bits. Errors: INVALID_ARGUMENT, INTERRUPTED,
 * NON_FINITE (a chain left the finite numbers), and those of the device. */
eqf_status eqf_mcmc_sample(eqf_context *ctx, const eqf_potential_options *potential,
                           const eqf_mcmc_options *options, size_t num_samples, float *x_out,
                           float *energy_out, eqf_mcmc_diagnostics *diagnostics_out);

/* ---- Replica exchange ---- */

#define EQF_REPLICA_MAX_TEMPERATURES 64

/* Ladders of chains, one at each of num_temperatures temperatures in a geometric row from the potential's own to the
 * highest; neighbours exchange temperatures (docs/sampling.md). Configurations that are rare at the lowest temperature
 * are reached by way of the highest. Zeros mean defaults. */
typedef struct eqf_replica_options {
    size_t struct_size;         /* set by EQF_REPLICA_OPTIONS_INIT */
    unsigned num_temperatures;  /* 8; 2 ... EQF_REPLICA_MAX_TEMPERATURES */
    double highest_temperature; /* in the unit of the potential's own temperature and above it; no default */
    unsigned num_ladders;       /* independent; chosen from num_samples, 16 or more; even with a start, 2 or more */
    unsigned num_burn_in;       /* 4000 sweeps */
    unsigned thinning;          /* 200 sweeps between kept configurations */
    /* 10 sweeps between exchanges; burn-in and thinning are rounded up to multiples of it */
    unsigned exchange_interval;
    double start_scale;         /* sd of the random start; chosen from the potential */
    double target_acceptance;   /* 0.2; the step size of each temperature is tuned in burn-in */
    /* [N, D] or NULL: a configuration, such as a minimum, from which every second ladder begins: in equilibrium both
     * halves of the ladders agree */
    const float *start;
    uint64_t seed;
    bool is_centred;            /* subtract each sample's centre of mass (true in INIT) */
} eqf_replica_options;
#define EQF_REPLICA_OPTIONS_INIT {.struct_size = sizeof(eqf_replica_options), .is_centred = true}

/* Figures of one temperature T. Energies are reduced by the potential's own temperature T_0; standard errors are from
 * the spread of the ladders, NaN from fewer than two. */
typedef struct eqf_replica_temperature {
    double temperature;
    double acceptance, step_size;  /* of the moves after burn-in */
    /* fraction of accepted exchanges with the next higher temperature; NaN at the highest */
    double swap_acceptance;
    double mean_energy, mean_energy_standard_error;
    double heat_capacity, heat_capacity_standard_error; /* configurational, in k: the variance of U / kT */
    /* mean energies of the ladders that began [0] as gas and [1] from the start; NaN without a start */
    double start_means[2], start_standard_errors[2];
} eqf_replica_temperature;

/* ln Z of a temperature minus that of the lowest, Z being the integral of exp(-U / T): by the Bennett acceptance ratio
 * between neighbours, with errors from the spread of the ladders; NaN where neighbours do not overlap. start_log_z: of
 * the ladders that began [0] as gas and [1] from the start; NaN without a start. */
typedef struct eqf_replica_log_z {
    double log_z, standard_error;
    double start_log_z[2], start_standard_errors[2];
} eqf_replica_log_z;

typedef struct eqf_replica_diagnostics {
    size_t struct_size; /* set by EQF_REPLICA_DIAGNOSTICS_INIT */
    unsigned num_temperatures, num_ladders, num_burn_in, thinning, exchange_interval;
    uint64_t num_sweeps;             /* per chain, burn-in included */
    /* after burn-in: journeys of chains from the lowest temperature to the highest and back, in all ladders */
    double num_round_trips;
    /* largest over the temperatures of |difference of the two start_means|, in standard errors; NaN without a start */
    double largest_start_difference;
    eqf_replica_temperature at[EQF_REPLICA_MAX_TEMPERATURES]; /* lowest first */
    eqf_replica_log_z log_z[EQF_REPLICA_MAX_TEMPERATURES];    /* lowest first */
    /* largest over the temperatures of |difference of the two start_log_z|, in standard errors; NaN without a start */
    double largest_log_z_difference;
} eqf_replica_diagnostics;
#define EQF_REPLICA_DIAGNOSTICS_INIT {.struct_size = sizeof(eqf_replica_diagnostics)}

/* num_samples configurations at each temperature: x_out [num_temperatures, num_samples, N, D] float32, ordered by
 * (kept configuration, ladder), energy_out [num_temperatures, num_samples] or NULL, reduced by the potential's own
 * temperature. Same seed, device and version: same bits, whatever the number of threads. Ranks do not share the
 * work. Errors: as eqf_mcmc_sample. */
eqf_status eqf_replica_sample(eqf_context *ctx, const eqf_potential_options *potential,
                              const eqf_replica_options *options, size_t num_samples, float *x_out, float *energy_out,
                              eqf_replica_diagnostics *diagnostics_out);

/* Replica exchange between states that differ in constants, in temperature or in kind (exchange in lambda): a ladder
 * has one chain for each of states [num_states], and neighbours exchange configurations with probability
 *     min(1, exp(u_k(x_k) + u_k+1(x_k+1) - u_k(x_k+1) - u_k+1(x_k))),
 * u_k = U_k / T_k. States have the same particles and dimensions. Of the options num_temperatures and
 * highest_temperature must be 0. Energies and means of a state are u_k; heat capacities are the variance of u_k;
 * log_z is ln of the integral of exp(-u_k), minus that of the first state. Each state has a program of its own, which
 * is built at its first use. Otherwise as eqf_replica_sample. */
eqf_status eqf_replica_sample_states(eqf_context *ctx, unsigned num_states, const eqf_potential_options *states,
                                     const eqf_replica_options *options, size_t num_samples, float *x_out,
                                     float *energy_out, eqf_replica_diagnostics *diagnostics_out);

#ifdef __cplusplus
}
#endif
#endif
