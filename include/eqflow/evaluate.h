/* A flow measured against data and against its target, with the checks that say whether its figures can be believed. */
#ifndef EQFLOW_EVALUATE_H
#define EQFLOW_EVALUATE_H

#include "eqflow/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_evaluation_options {
    size_t struct_size;                  /* set by EQF_EVALUATION_OPTIONS_INIT */
    size_t num_samples;                  /* of the model, 2 or more, to begin with */
    uint64_t seed;                       /* of the samples, the bootstrap and the symmetry operations */
    const eqf_flow_options *flow;        /* how the flow is solved; NULL: the defaults */
    const eqf_potential_options *target; /* what energies are of; NULL: the model's potential */
    size_t num_round_trip;               /* latents that are sent to the data and back; 0: none */
    /* The samples are doubled until the ESS's standard error is at most ess_error, absolute, and half of the ESS, or
     * there are max_samples (0: num_samples). */
    size_t max_samples;
    double ess_error;
} eqf_evaluation_options;
#define EQF_EVALUATION_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_evaluation_options), .num_samples = 10000, .ess_error = 0.02 }

/* Random elements of the groups that densities should not change under. ALL: one of each at once. */
typedef enum eqf_symmetry {
    EQF_SYMMETRY_ALL,
    EQF_SYMMETRY_ROTATION,
    EQF_SYMMETRY_REFLECTION,
    EQF_SYMMETRY_TRANSLATION,
    EQF_SYMMETRY_PERMUTATION,
    EQF_NUM_SYMMETRIES
} eqf_symmetry;

/* |log_prob(g x) - log_prob(x)| over configurations x, nats. */
typedef struct eqf_log_prob_change {
    double median, largest;
} eqf_log_prob_change;

/* NaN where a figure could not be had. Energies in kT, log-densities in nats. */
typedef struct eqf_evaluation_figures {
    size_t struct_size; /* set by the library */
    size_t num_samples, num_data;
    const eqf_flow_options *flow;     /* as used */
    const eqf_step_statistics *steps; /* of dopri5, over the data's and the samples' solves */
    /* Of the data. nll_refined has twice the steps of rk4, or a tenth of dopri5's tolerances: what nll would be if the
     * integration were resolved. nll_without_constant: for tables that leave out (N-1) D/2 ln 2 pi. */
    double nll, nll_standard_error, nll_without_constant, nll_refined;
    /* Of the target, where they are known. kl = nll - entropy; kl_direct = mean of ln p - ln q over the data, with less
     * noise. */
    double entropy, entropy_error, kl, kl_standard_error, kl_direct, kl_direct_standard_error;
    double known_log_z, known_log_z_error;
    /* Of the samples, reweighted to the target; errors by bootstrap. */
    double ess_fraction, ess_fraction_standard_error, max_weight_fraction, log_z, log_z_standard_error;
    double free_energy_difference; /* of target and prior: ln Z of the prior - ln Z of the target */
    double mean_energy_model, mean_energy_reweighted, mean_energy_reweighted_standard_error, mean_energy_data;
    eqf_log_prob_change changes[5];   /* [EQF_NUM_SYMMETRIES] */
    double log_prob_invariance_error; /* the largest of EQF_SYMMETRY_ALL */
    eqf_round_trip round_trip;
    /* KL(model || target) = mean of ln q - ln p over the samples, with the known ln Z or else that of the weights. NaN
     * if it is infinite. */
    double reverse_kl, reverse_kl_standard_error;
    /* The ESS from the data (eqf_estimate_forward_ess). */
    double ess_fraction_data, ess_fraction_data_standard_error;
    double above_data_fraction; /* samples whose energy is above that of all data, or not finite */
    /* With EQF_PRECISION_DOUBLE, nats: how far log-densities in float32 are from those in double, at most, over 256
     * data; and those in double from ln|det| of the map's Jacobian, taken column by column by differences, over two
     * data of up to 64 coordinates: what is left is what the integrator's steps make of it. */
    double float_log_prob_error, jacobian_error;
} eqf_evaluation_figures;

/* What makes figures doubtful. X(name, text of the kind). */
#define EQF_WARNING_MAP(X)                                                \
    X(DATA_ENERGY, "data configurations have no finite energy")           \
    X(DATA_LOG_PROB, "data configurations have no finite log-density")    \
    X(NO_WEIGHTS, "there are no importance weights")                      \
    X(SAMPLE_ENERGY, "samples have no finite energy")                     \
    X(FAILED_SOLVES, "trajectories were given up")                        \
    X(NOT_RESOLVED, "the integration does not resolve the flow")          \
    X(BELOW_ENTROPY, "nll is below the target's entropy")                 \
    X(REFINED_BELOW_ENTROPY, "nll_refined is below the target's entropy") \
    X(NOT_INVARIANT, "log-densities change under symmetry operations")    \
    X(DOMINANT_WEIGHT, "one sample carries much of the weight")           \
    X(FEW_SAMPLES, "samples are too few for an effective sample size")    \
    X(UNCERTAIN_ESS, "the effective sample size is uncertain from so few samples") \
    X(ESS_DISAGREES, "the effective sample sizes of samples and of data disagree")
typedef enum eqf_warning_kind {
#define EQF_WARNING_ENUM(name, text) EQF_WARNING_##name,
    EQF_WARNING_MAP(EQF_WARNING_ENUM)
#undef EQF_WARNING_ENUM
        EQF_NUM_WARNING_KINDS
} eqf_warning_kind;

typedef struct eqf_evaluation_warning {
    size_t struct_size; /* set by the library */
    eqf_warning_kind kind;
    double value, limit; /* what was measured, and what it should not be beyond; NaN where there is no such number */
    const char *text;    /* one line that says what to do, in the words of the options */
} eqf_evaluation_warning;

/* Owns: all figures, arrays and warnings. Threads: any one at a time. */
typedef struct eqf_evaluation eqf_evaluation;

/* x [num_data, N, D]: configurations that the model has not seen, of equilibrium. Makes its own flows. With a
 * communicator (eqflow/communicator.h) the ranks share the work and all get the same; then it is collective. options
 * may be NULL. Errors: INVALID_ARGUMENT, INTERRUPTED, OUT_OF_MEMORY, those of eqf_flow_create and of the device. What
 * is not finite is no error but a figure NaN and a warning. */
eqf_status eqf_evaluate(eqf_context *ctx, const eqf_model *model, const eqf_evaluation_options *options,
                        size_t num_data, const float *x, eqf_evaluation **evaluation_out);
void eqf_evaluation_destroy(eqf_evaluation **evaluation);

/* Views, valid as long as the evaluation. NULL for NULL. */
const eqf_evaluation_figures *eqf_evaluation_figures_of(const eqf_evaluation *evaluation);
size_t eqf_evaluation_num_warnings(const eqf_evaluation *evaluation);
/* NULL beyond the last. */
const eqf_evaluation_warning *eqf_evaluation_warning_at(const eqf_evaluation *evaluation, size_t index);
/* The samples [num_samples, N, D] with their energies, log-densities and log-weights [num_samples]; the data's energies
 * [num_data]. */
const float *eqf_evaluation_samples(const eqf_evaluation *evaluation);
const float *eqf_evaluation_sample_energies(const eqf_evaluation *evaluation);
const float *eqf_evaluation_sample_log_probs(const eqf_evaluation *evaluation);
const double *eqf_evaluation_log_weights(const eqf_evaluation *evaluation);
const float *eqf_evaluation_data_energies(const eqf_evaluation *evaluation);

/* "NOT_RESOLVED". NULL if unknown. */
const char *eqf_warning_kind_name(eqf_warning_kind kind);

/* A seed of its own for each purpose, so that samples for one never repeat those for another: the finaliser of
 * splitmix64 on the seed and a hash of the text. eqf_evaluate uses "evaluate", "bootstrap", "invariance", "round
 * trip". */
uint64_t eqf_seed_for(uint64_t seed, const char *purpose);

/* Free energy of the target minus that of the Gaussian prior, exp(-|z|^2 / (2 scale^2)) unnormalised on the mean-free
 * subspace, in kT. Of any prior it is eqf_prior_log_z - log_z. */
double eqf_free_energy_difference(double log_z, double prior_scale, unsigned num_particles, unsigned space_dim);

#ifdef __cplusplus
}
#endif
#endif
