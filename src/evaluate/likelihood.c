/* The likelihood of the data, and the KL divergence if the target's entropy is known. */
#include <math.h>
#include <stdlib.h>

#include "eqflow/estimate.h"
#include "evaluation.h"

/* The mean and its standard error; NaN if there are too few values. */
static void summarise(size_t num, const double *values, double *mean_out, double *standard_error_out) {
    if (eqf_estimate_mean(num, values, mean_out, standard_error_out) == EQF_OK) return;
    *mean_out = num == 1 ? values[0] : NAN;
    *standard_error_out = NAN;
}

/* values_out [num_data] = -log_prob of the data. */
static eqf_status measure_nll(const eqf__evaluated *of, eqf_flow *flow, const char *label, double *values_out,
                              double *nll_out, double *standard_error_out) {
    float *log_prob = eqf__alloc(of->ctx, of->num_data, sizeof *log_prob, "the log-densities");
    if (log_prob == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const eqf_status status = eqf__shared_log_prob(of, flow, label, of->num_data, of->x, log_prob);
    for (size_t b = 0; b < of->num_data && status == EQF_OK; b++) values_out[b] = -(double)log_prob[b];
    if (status == EQF_OK) summarise(of->num_data, values_out, nll_out, standard_error_out);
    free(log_prob);
    return status;
}

static eqf_status measure_refined_nll(const eqf__evaluated *of, double *values, eqf_evaluation *result) {
    eqf_flow *refined = NULL;
    double unused;
    eqf_flow_options refinement = result->flow_options;
    refinement.num_steps *= 2;
    refinement.adaptive.rtol = fmax(0.1 * refinement.adaptive.rtol, 1e-8);
    refinement.adaptive.atol = fmax(0.1 * refinement.adaptive.atol, 1e-20);
    EQF__TRY(eqf_flow_create(of->ctx, of->model, &refinement, &refined));
    const eqf_status status = measure_nll(of, refined, "nll refined", values, &result->figures.nll_refined, &unused);
    eqf_flow_destroy(&refined);
    return status;
}

/* The ESS from the data. nlls [num_data] of the data. */
static eqf_status measure_forward_ess(const eqf__evaluated *of, const double *nlls, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    double *log_weights = eqf__alloc(of->ctx, of->num_data, sizeof *log_weights, "the weights");
    if (log_weights == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    result->data_log_weights = log_weights;
    for (size_t b = 0; b < of->num_data; b++) log_weights[b] = nlls[b] - (double)result->data_energies[b];
    if (eqf_estimate_forward_ess(of->num_data, log_weights, EQF__NUM_RESAMPLES, eqf_seed_for(of->seed, "bootstrap"),
                                 &f->ess_fraction_data, &f->ess_fraction_data_standard_error) != EQF_OK)
        f->ess_fraction_data = f->ess_fraction_data_standard_error = NAN;
    return EQF_OK;
}

/* KL(target || model) in two ways, if ln Z is known. NLL - entropy has the noise of the data's energies; the mean of ln
 * p - ln q over the same data, ln p = -u - ln Z, does not. nlls [num_data] of the data. */
static void measure_kl(const eqf__evaluated *of, double *nlls, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    f->kl = f->nll - f->entropy;
    f->kl_standard_error = hypot(f->nll_standard_error, f->entropy_error);
    if (isnan(f->known_log_z)) return;
    for (size_t b = 0; b < of->num_data; b++) nlls[b] -= (double)result->data_energies[b] + f->known_log_z;
    summarise(of->num_data, nlls, &f->kl_direct, &f->kl_direct_standard_error);
    f->kl_direct_standard_error = hypot(f->kl_direct_standard_error, f->known_log_z_error);
}

static void describe(const eqf__evaluated *of, double *nlls, eqf_evaluation *result) {
    /* Papers that leave out the prior's constant omit half of ln 2 pi for each free degree of freedom. */
    const double half_log_2_pi = 0.91893853320467274178;
    eqf_evaluation_figures *f = &result->figures;
    f->nll_without_constant =
        f->nll - half_log_2_pi * (double)((of->target->num_particles - 1) * of->target->space_dim);
    size_t num_bad;
    f->mean_energy_data = eqf__finite_mean(of->num_data, result->data_energies, &num_bad);
    if (num_bad > 0)
        eqf__evaluation_warn(result, EQF_WARNING_DATA_ENERGY, (double)num_bad, 0,
                             "%zu of %zu data configurations have no finite energy", num_bad, of->num_data);
    if (isnan(f->nll))
        eqf__evaluation_warn(
            result, EQF_WARNING_DATA_LOG_PROB, NAN, NAN,
            "some data configurations have no finite log-density, so there is no NLL: the flow cannot reach "
            "them");
    measure_kl(of, nlls, result);
}

eqf_status eqf__evaluate_data(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    double *nlls = eqf__alloc(of->ctx, of->num_data, sizeof *nlls, "the log-densities");
    double *refined = eqf__alloc(of->ctx, of->num_data, sizeof *refined, "the log-densities");
    result->data_energies = eqf__alloc(of->ctx, of->num_data, sizeof(float), "the energies");
    eqf_status status =
        nlls == NULL || refined == NULL || result->data_energies == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = measure_nll(of, flow, "nll", nlls, &f->nll, &f->nll_standard_error);
    if (status == EQF_OK) status = measure_refined_nll(of, refined, result);
    if (status == EQF_OK) status = eqf__shared_energy(of, of->num_data, of->x, result->data_energies);
    if (status == EQF_OK) status = measure_forward_ess(of, nlls, result);
    if (status == EQF_OK) describe(of, nlls, result);
    free(nlls);
    free(refined);
    return status;
}
