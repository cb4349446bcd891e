/* What `eqflow evaluate` measures: the figures of a flow against data and against its target. */
#ifndef EVALUATION_H
#define EVALUATION_H

#include "app.h"
#include "eqflow/flow.h"
#include "eqflow/preset.h"

#define EVALUATION_MAX_WARNINGS 16

/* Random elements of the groups that densities should not change under. ALL: one of each at once. */
typedef enum symmetry {
    SYMMETRY_ALL,
    SYMMETRY_ROTATION,
    SYMMETRY_REFLECTION,
    SYMMETRY_TRANSLATION,
    SYMMETRY_PERMUTATION,
    NUM_SYMMETRIES
} symmetry;

/* |log_prob(g x) - log_prob(x)| over configurations x, nats. */
typedef struct log_prob_change {
    double median, largest;
} log_prob_change;

/* NaN where a figure could not be had. Energies in kT, log-densities in nats. */
typedef struct evaluation {
    size_t num_samples, num_data;
    /* As used. nll_refined has twice the steps of rk4, or a tenth of dopri5's tolerances. */
    eqf_flow_options flow_options;
    eqf_step_statistics steps; /* of dopri5, over the data's and the samples' solves */
    double nll, nll_standard_error, nll_without_constant, nll_refined;
    /* Of the target, where they are known. kl = nll - entropy; kl_direct = mean of ln p - ln q over the data. */
    double entropy, entropy_error, kl, kl_standard_error, kl_direct, kl_direct_standard_error;
    double known_log_z, known_log_z_error;
    double ess_fraction, ess_fraction_standard_error, max_weight_fraction, log_z, log_z_standard_error;
    double free_energy_difference; /* of target and prior */
    double mean_energy_model, mean_energy_reweighted, mean_energy_reweighted_standard_error, mean_energy_data;
    log_prob_change changes[NUM_SYMMETRIES];
    double log_prob_invariance_error; /* the largest of SYMMETRY_ALL */
    /* What the report draws. */
    float *x_model, *energy_model; /* [num_samples, N, D], [num_samples] */
    double *log_weights;           /* [num_samples] */
    float *energy_data;            /* [num_data] */
    char *warnings[EVALUATION_MAX_WARNINGS];
    size_t num_warnings;
} evaluation;

/* target is what energies are of; x_data [num_data, N, D]. Clear it also after a failure. */
exit_code evaluation_run(cli_app *app, const eqf_model *model, const eqf_potential_options *target,
                         const eqf_flow_options *flow_options, size_t num_data, const float *x_data, size_t num_samples,
                         evaluation *evaluation_out);
void evaluation_clear(evaluation *evaluation);

#endif
