/* Estimates from samples: plain host arithmetic in double, without device or context.
 * Every function returns EQF_OK, EQF_ERROR_INVALID_ARGUMENT (fewer numbers than it needs),
 * EQF_ERROR_NON_FINITE (a NaN or an infinity that has no meaning there) or EQF_ERROR_OUT_OF_MEMORY. */
#ifndef EQFLOW_ESTIMATE_H
#define EQFLOW_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

#include "eqflow/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* log_weight = -energy - log_prob, unnormalised. energy +inf (or NaN: a configuration outside the
 * potential's domain) gives -inf: weight zero. All arrays [num]. */
eqf_status eqf_estimate_log_weights(size_t num, const float *energy, const float *log_prob,
                                    double *log_weights_out);

/* Summary of reverse importance weights (samples of the model). */
typedef struct eqf_weight_summary {
    size_t struct_size; /* set by EQF_WEIGHT_SUMMARY_INIT */
    size_t num_samples;
    double ess;                    /* Kish: (sum w)^2 / sum w^2 */
    double ess_fraction;           /* ess / num_samples */
    double max_weight_fraction;    /* largest w / sum w */
    double log_z;                  /* ln of the mean weight */
    double log_z_standard_error;   /* delta method: sqrt((1/ess_fraction - 1)/num) */
} eqf_weight_summary;
#define EQF_WEIGHT_SUMMARY_INIT {.struct_size = sizeof(eqf_weight_summary)}
/* Of log_weights [num], at least one of which is not -inf. */
eqf_status eqf_estimate_weights(size_t num, const double *log_weights, eqf_weight_summary *summary_out);

/* Mean of values [num] of independent samples, with its standard error. */
eqf_status eqf_estimate_mean(size_t num, const double *values, double *mean_out, double *standard_error_out);

/* Self-normalised importance average sum w f / sum w, with the delta-method standard error
 * sqrt(sum w^2 (f - mean)^2) / sum w. Values at weight zero are ignored, finite or not. */
eqf_status eqf_estimate_reweighted_mean(size_t num, const double *log_weights, const double *values,
                                        double *mean_out, double *standard_error_out);

/* The same average with a bootstrap standard error (num_resamples resamples, drawn by Philox from seed). */
eqf_status eqf_estimate_reweighted_bootstrap(size_t num, const double *log_weights, const double *values,
                                             unsigned num_resamples, uint64_t seed, double *mean_out,
                                             double *standard_error_out);

/* Mean and variance (of the population, sum w (f - mean)^2 / sum w) with standard errors by the jackknife over
 * contiguous blocks: for independent samples, and for chains whose memory is shorter than a block. */
typedef struct eqf_moments {
    size_t struct_size; /* set by EQF_MOMENTS_INIT */
    double mean, mean_standard_error;
    double variance, variance_standard_error;
} eqf_moments;
#define EQF_MOMENTS_INIT {.struct_size = sizeof(eqf_moments)}
/* log_weights [num] or NULL: equal weights; values at weight zero are ignored, finite or not. num_blocks: 2 ... num. */
eqf_status eqf_estimate_moments(size_t num, const double *log_weights, const double *values, size_t num_blocks,
                                eqf_moments *moments_out);

/* Bootstrap standard errors of ln Z and of the ESS as a fraction, from the resamples of
 * eqf_estimate_reweighted_bootstrap with the same seed; for the ESS their largest weights are drawn from a fitted tail
 * (docs/method.md, section 7). */
eqf_status eqf_estimate_weights_bootstrap(size_t num, const double *log_weights, unsigned num_resamples,
                                          uint64_t seed, double *log_z_standard_error_out,
                                          double *ess_fraction_standard_error_out);

/* The same ESS, as a fraction, from samples of the target (data) and their log_weights: 1 / (mean w  mean 1/w). Where
 * the model misses a part of the target, the data show it and the model's samples do not. Bootstrap standard error;
 * NON_FINITE also if a weight is zero. */
eqf_status eqf_estimate_forward_ess(size_t num, const double *log_weights, unsigned num_resamples, uint64_t seed,
                                    double *ess_fraction_out, double *standard_error_out);

/* Independence Metropolis over independent proposals in their order, e.g. samples of a flow: proposal t is taken with
 * probability min(1, w_t / w of the current state), by Philox uniforms of the seed. states_out [num]: the index of the
 * chain's state after proposal t; the chain starts with the first proposal of non-zero weight, which is also the state
 * for the proposals before it. acceptance_out: fraction of the proposals that were taken; NaN if there was none. */
eqf_status eqf_estimate_independence_chain(size_t num, const double *log_weights, uint64_t seed, size_t *states_out,
                                           double *acceptance_out);

/* Mean of values over a chain's states. NaN where the chain never moved. */
typedef struct eqf_chain_mean {
    size_t struct_size; /* set by EQF_CHAIN_MEAN_INIT */
    double mean, standard_error;   /* sd sqrt(autocorrelation_time / num) */
    double autocorrelation_time;   /* integrated, in steps, at least 1 */
    double effective_samples;      /* num / autocorrelation_time */
} eqf_chain_mean;
#define EQF_CHAIN_MEAN_INIT {.struct_size = sizeof(eqf_chain_mean)}
/* states [num] as above (or its end, without a burn-in), values of all proposals. num is 4 or more. */
eqf_status eqf_estimate_chain_mean(size_t num, const size_t *states, const double *values,
                                   eqf_chain_mean *mean_out);

/* Integrated autocorrelation time, in steps of the series: tau = 1 + 2 sum rho, rho being the mean autocorrelation of
 * the chains; the sum is cut by Geyer's initial positive pair sequence. series [num_chains, num_steps]. */
eqf_status eqf_estimate_autocorrelation_time(size_t num_chains, size_t num_steps, const double *series,
                                             double *tau_out);

/* Split R-hat (Gelman et al., Bayesian Data Analysis 3, 11.4). series [num_chains, num_steps]. */
eqf_status eqf_estimate_split_r_hat(size_t num_chains, size_t num_steps, const double *series,
                                    double *r_hat_out);

/* Density histogram on [low, high): density_out [num_bins] integrates to the fraction of the weight
 * inside. log_weights NULL: equal weights. Non-finite values count as outside. */
eqf_status eqf_estimate_histogram(size_t num, const double *values, const double *log_weights, double low,
                                  double high, size_t num_bins, double *density_out);

/* The same density with its standard error, for samples with several values each, values [num, num_values]: all values
 * of a sample have its weight, and the error is that of independent samples with correlated values (delta method,
 * as in eqf_estimate_reweighted_mean). density_out, standard_error_out [num_bins]. */
eqf_status eqf_estimate_histogram_with_error(size_t num, size_t num_values, const float *values,
                                             const double *log_weights, double low, double high, size_t num_bins,
                                             double *density_out, double *standard_error_out);

/* The 2-Wasserstein distance of two sets of numbers: sqrt of the integral over q in (0, 1) of (quantile_a(q) -
 * quantile_b(q))^2. Sets of any sizes. Errors: also NON_FINITE. */
eqf_status eqf_estimate_wasserstein(size_t num_a, const double *a, size_t num_b, const double *b, double *distance_out);

/* Pair distances |x_i - x_j|, i<j: x [B, N, D] -> distance_out [B, N(N-1)/2]. */
eqf_status eqf_estimate_pair_distances(size_t batch_size, unsigned num_particles, unsigned space_dim,
                                       const float *x, float *distance_out);

#ifdef __cplusplus
}
#endif
#endif
