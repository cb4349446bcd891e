/* An evaluation, for the files that compute its parts. */
#ifndef EQF_EVALUATION_H
#define EQF_EVALUATION_H

#include "base.h"
#include "eqflow/evaluate.h"

enum { EQF__MAX_WARNINGS = 16, EQF__WARNING_SIZE = 512 };

struct eqf_evaluation {
    eqf_evaluation_figures figures;
    eqf_flow_options flow_options;
    eqf_step_statistics steps;
    float *samples, *sample_energies, *sample_log_probs, *data_energies;
    double *log_weights, *data_log_weights; /* [num_samples], [num_data]: -u - log_prob */
    eqf_evaluation_warning warnings[EQF__MAX_WARNINGS];
    char texts[EQF__MAX_WARNINGS][EQF__WARNING_SIZE];
    size_t num_warnings;
};

/* The model and data to be evaluated. */
typedef struct eqf__evaluated {
    eqf_context *ctx;
    const eqf_model *model;
    const eqf_potential_options *target;
    uint64_t seed;
    size_t num_data, num_dof, max_samples;
    double ess_error;
    const float *x; /* [num_data, N*D] */
} eqf__evaluated;

void eqf__evaluation_warn(eqf_evaluation *result, eqf_warning_kind kind, double value, double limit, const char *format,
                          ...) EQF__PRINTF(5, 6);

/* Work that the ranks share: log_prob_out [num] of x [num, N*D]; num samples; energies of num configurations. label:
 * the stage's name in progress reports. */
eqf_status eqf__shared_log_prob(const eqf__evaluated *of, eqf_flow *flow, const char *label, size_t num, const float *x,
                                float *log_prob_out);
eqf_status eqf__shared_sample(const eqf__evaluated *of, eqf_flow *flow, uint64_t seed, size_t first_sample, size_t num,
                              float *x_out, float *log_prob_out);
eqf_status eqf__shared_energy(const eqf__evaluated *of, size_t num, const float *x, float *energy_out);

eqf_status eqf__evaluate_data(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result);
eqf_status eqf__evaluate_samples(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result);
/* ln Z from data and samples together, after both were evaluated. */
eqf_status eqf__evaluate_log_z(const eqf__evaluated *of, eqf_evaluation *result);
eqf_status eqf__evaluate_invariance(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result);
/* Figures of a flow in double precision; nothing for others. */
eqf_status eqf__evaluate_in_double(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result);
/* The warnings that compare figures. */
void eqf__evaluation_compare(const eqf__evaluated *of, eqf_evaluation *result);
/* The largest allowed error of the ESS. */
double eqf__ess_error_limit(const eqf__evaluated *of, const eqf_evaluation_figures *figures);

enum { EQF__NUM_RESAMPLES = 200 };

/* Mean of num floats in double, NaN if one is not finite; *num_bad_out: how many are not. */
double eqf__finite_mean(size_t num, const float *values, size_t *num_bad_out);

#endif
