/* Measures a flow on data and against its target, and checks whether its figures are reliable. */
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
    const eqf_potential_options *target; /* the potential whose energies are taken; NULL: the model's */
    size_t num_round_trip;               /* latents that are sent to the data and back; 0: none */
    /* The samples are doubled until the standard error of the ESS (as a fraction) is at most ess_error and at most half
     * of the ESS, or until there are max_samples (0: num_samples). */
    size_t max_samples;
    double ess_error;
} eqf_evaluation_options;
#define EQF_EVALUATION_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_evaluation_options), .num_samples = 10000, .ess_error = 0.02 }

/* Groups under whose random elements densities should not change. ALL: one element of each group at once. */
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

/* A figure that could not be computed is NaN. Energies in kT, log-densities in nats. */
typedef struct eqf_evaluation_figures {
    size_t struct_size; /* set by the library */
    size_t num_samples, num_data;
    const eqf_flow_options *flow;     /* as used */
    const eqf_step_statistics *steps; /* of dopri5, over the data's and the samples' solves */
    /* Of the data. nll_refined is computed with twice the steps of rk4, or a tenth of dopri5's tolerances: nll must
     * agree with it. nll_without_constant leaves out (N-1) D/2 ln 2 pi, as several papers do. */
    double nll, nll_standard_error, nll_without_constant, nll_refined;
    /* Of the target, if they are known. kl = nll - entropy; kl_direct = mean of ln p - ln q over the data, which has
     * less noise. */
    double entropy, entropy_error, kl, kl_standard_error, kl_direct, kl_direct_standard_error;
    double known_log_z, known_log_z_error;
    /* Of the samples, reweighted to the target; errors by bootstrap. */
    double ess_fraction, ess_fraction_standard_error, max_weight_fraction, log_z, log_z_standard_error;
    double free_energy_difference; /* of target and prior: ln Z of the prior - ln Z of the target */
    double mean_energy_model, mean_energy_reweighted, mean_energy_reweighted_standard_error, mean_energy_data;
    eqf_log_prob_change changes[5];   /* [EQF_NUM_SYMMETRIES] */
    double log_prob_invariance_error; /* the largest of EQF_SYMMETRY_ALL */
    eqf_round_trip round_trip;
    /* KL(model || target) = mean of ln q - ln p over the samples, with the known ln Z, or that of the weights if none
     * is known. NaN if it is infinite. */
    double reverse_kl, reverse_kl_standard_error;
    /* The ESS from the data (eqf_estimate_forward_ess). */
    double ess_fraction_data, ess_fraction_data_standard_error;
    double above_data_fraction; /* fraction of samples whose energy is above that of every datum, or not finite */
    /* With EQF_PRECISION_DOUBLE, nats. float_log_prob_error: largest difference between log-densities in float32 and in
     * double, over 256 data. jacobian_error: largest difference between those in double and ln|det| of the map's
     * Jacobian, by differences column by column, over two data of up to 64 coordinates; it is the integration error. */
    double float_log_prob_error, jacobian_error;
    /* ln Z of the target by Bennett's acceptance ratio from samples and data together; its error is for independent
     * data. NaN if the two do not overlap. */
    double log_z_bar, log_z_bar_standard_error;
} eqf_evaluation_figures;

/* Reasons to doubt a figure. X(name, text of the kind). */
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
    double value, limit; /* the measured value and its limit; NaN if there is no such number */
    const char *text;    /* one line that says what to do; it names members of the options */
} eqf_evaluation_warning;

/* Owns: all figures, arrays and warnings. Threads: any, one at a time. */
typedef struct eqf_evaluation eqf_evaluation;

/* x [num_data, N, D]: equilibrium configurations that the model has not seen. The call makes its own flows. With a
 * communicator (eqflow/communicator.h) it is collective: the ranks share the work, and all get the same result. options
 * may be NULL. Errors: INVALID_ARGUMENT, INTERRUPTED, OUT_OF_MEMORY, those of eqf_flow_create and of the device. A
 * figure that is not finite is not an error: it becomes NaN, and there is a warning. */
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

/* A separate seed for each purpose, so that samples for one do not repeat those for another: the finaliser of
 * splitmix64 on the seed and a hash of the text. eqf_evaluate uses "evaluate", "bootstrap", "invariance", "round
 * trip". */
uint64_t eqf_seed_for(uint64_t seed, const char *purpose);

/* Free energy of the target minus that of the Gaussian prior, in kT; the prior's energy is |z|^2 / (2 scale^2) on the
 * mean-free subspace. For any prior it is eqf_prior_log_z - log_z. */
double eqf_free_energy_difference(double log_z, double prior_scale, unsigned num_particles, unsigned space_dim);

#ifdef __cplusplus
}
#endif
#endif
