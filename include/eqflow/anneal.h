/* Annealed sequential Monte Carlo (Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 68 (2006) 411): from a density that
 * can be drawn from to the target, through E_beta = (1 - beta) E_start + beta u(x), beta from 0 to 1. The start is a
 * flow, E_start = -log q(x), or the equilibrium of another potential, E_start = u_start(x), of which samples are given.
 * The result is weighted configurations of the target. Averages and ln Z are unbiased for any start, and the spread of
 * independent repeats gives their errors. No weight is clipped or left out. Equations: docs/anneal.md. */
#ifndef EQFLOW_ANNEAL_H
#define EQFLOW_ANNEAL_H

#include "eqflow/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeros mean defaults. */
typedef struct eqf_anneal_options {
    size_t struct_size;
    uint64_t seed;
    size_t num_walkers; /* 8192: configurations that are annealed together, of all repeats */
    /* 16: independent parts of the walkers, 2 or more; num_walkers is rounded up to a multiple */
    unsigned num_repeats;
    size_t num_pilot;            /* 1024: walkers of the pilot run, which chooses the betas and the step sizes */
    unsigned num_latent_moves;   /* 2 at each beta, in the latent space of the flow; a start from samples has none */
    unsigned num_langevin_moves; /* 3 at each beta, along the gradient of E_beta */
    bool has_no_latent_moves, has_no_langevin_moves; /* no moves of that kind at all */
    /* 0.9: factor by which each step reduces the effective sample size of the weights so far; (0, 1) */
    double ess_decay;
    /* 0.5: a repeat is resampled when its effective sample size is below this fraction of its walkers; (0, 1] */
    double resample_below;
    unsigned max_steps; /* 2000: steps in beta after which the pilot run gives up */
    /* 0 at each beta: each moves every particle once, in turn; from a flow one takes N log-densities of a walker */
    unsigned num_particle_sweeps;
} eqf_anneal_options;
#define EQF_ANNEAL_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_anneal_options) }

/* The state after a step in beta. */
typedef struct eqf_anneal_state {
    size_t struct_size;
    bool is_pilot, is_done;
    unsigned step, num_steps; /* num_steps: 0 in the pilot run, which finds the number */
    double beta;
    double ess_fraction;                           /* of the weights before resampling, mean over the repeats */
    double resampled_fraction;                     /* fraction of the repeats that were resampled at this step */
    double log_z;                                  /* ln(Z_beta / Z_start) so far */
    double latent_acceptance, langevin_acceptance; /* NaN: no such move */
    double latent_step, langevin_step; /* angle of the rotation in latent space; h of the Langevin proposal, length^2 */
    double energy_evaluations, log_prob_evaluations,
        score_evaluations; /* counts, each of one configuration, since the start and with the pilot run */
    /* of moves of single particles (NaN: none), and the standard deviation of their displacement, length */
    double particle_acceptance, particle_step;
    /* Correlation of the walkers' energies before and after the moves of this step: near 1 they hardly change them. */
    double energy_correlation;
    double num_independent; /* estimated number of independent walkers of a repeat after this step */
} eqf_anneal_state;
#define EQF_ANNEAL_STATE_INIT \
    { .struct_size = sizeof(eqf_anneal_state) }

/* The result. Standard errors are from the spread of the repeats (jackknife). */
typedef struct eqf_anneal_result {
    size_t struct_size;
    size_t num_walkers;
    unsigned num_repeats, num_steps;
    double log_z, log_z_standard_error;             /* of the target; from a potential: ln(Z_target / Z_start) */
    double mean_energy, mean_energy_standard_error; /* of the target, kT */
    double ess_fraction, max_weight_fraction;       /* of the final weights of all repeats together */
    /* As in the state, of the last step; num_independent is the smaller of that and of what the spread of the repeats'
     * energies shows. With few independent walkers, or with moves that hardly change them, a repeat's average lags
     * behind, and the standard errors, from the spread of repeats that all lag, are too small (docs/anneal.md). */
    double energy_correlation, num_independent;
} eqf_anneal_result;
#define EQF_ANNEAL_RESULT_INIT \
    { .struct_size = sizeof(eqf_anneal_result) }

/* Owns: the walkers, on the host. Borrows flow or start until it is destroyed. Threads: as its context. */
typedef struct eqf_annealer eqf_annealer;

/* From a flow to target. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, those of the device. */
eqf_status eqf_annealer_create(eqf_context *ctx, eqf_flow *flow, const eqf_potential_options *target,
                               const eqf_anneal_options *options, eqf_annealer **annealer_out);
/* From the equilibrium of another potential of the same N and D: x [num, N, D] are independent samples of it (copied),
 * from which walkers are drawn with replacement. The pilot run and each repeat draw from separate parts of x. */
eqf_status eqf_annealer_create_from_samples(eqf_context *ctx, const eqf_potential_options *start, size_t num,
                                            const float *x, const eqf_potential_options *target,
                                            const eqf_anneal_options *options, eqf_annealer **annealer_out);
void eqf_annealer_destroy(eqf_annealer **annealer);

/* One step in beta: reweight, resample, move. The first calls do the steps of the pilot run. Errors: NON_FINITE (no
 * walker has any weight, or the pilot run gave up), those of the device. */
eqf_status eqf_annealer_advance(eqf_annealer *annealer, eqf_anneal_state *state_out);

/* After the last step. x_out [num_walkers, N, D], energy_out [num_walkers] in kT of the target, log_weights_out
 * [num_walkers]: the mean of exp(log_weight) over the walkers is Z; each output may be NULL. Errors: INVALID_ARGUMENT
 * (not done yet). */
eqf_status eqf_annealer_result(const eqf_annealer *annealer, eqf_anneal_result *result_out, float *x_out,
                               float *energy_out, double *log_weights_out);

/* Equally weighted configurations: num walkers drawn by their weights, by systematic resampling with the options' seed.
 * x_out [num, N, D], energy_out [num] (kT) or NULL. Walkers of large weight come several times. */
eqf_status eqf_annealer_resample(const eqf_annealer *annealer, size_t num, float *x_out, float *energy_out);

#ifdef __cplusplus
}
#endif
#endif
