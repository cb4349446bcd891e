/* Samples of the model, reweighted to the target. */
#include <math.h>
#include <stdlib.h>

#include "eqflow/estimate.h"
#include "evaluation.h"

enum { NUM_RESAMPLES = 200 };

double eqf_free_energy_difference(double log_z, double prior_scale, unsigned num_particles, unsigned space_dim) {
    const double half_log_2_pi = 0.91893853320467274178;
    return (double)((num_particles - 1) * space_dim) * (log(prior_scale) + half_log_2_pi) - log_z;
}

double eqf__finite_mean(size_t num, const float *values, size_t *num_bad_out) {
    double sum = 0;
    *num_bad_out = 0;
    for (size_t b = 0; b < num; b++) {
        if (!isfinite(values[b])) ++*num_bad_out;
        sum += values[b];
    }
    return *num_bad_out > 0 ? NAN : sum / (double)num;
}

/* energies [num_samples]: those of the samples, in double. */
static void weigh(const eqf__evaluated *of, double *energies, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    const size_t num = f->num_samples;
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_log_weights(num, result->sample_energies, result->sample_log_probs, result->log_weights) !=
            EQF_OK ||
        eqf_estimate_weights(num, result->log_weights, &summary) != EQF_OK) {
        eqf__evaluation_warn(
            result, EQF_WARNING_NO_WEIGHTS, NAN, NAN,
            "no importance weights: log-densities of samples are not finite, or no sample has any weight");
        return;
    }
    f->ess_fraction = summary.ess_fraction;
    f->max_weight_fraction = summary.max_weight_fraction;
    f->log_z = summary.log_z;
    f->free_energy_difference = eqf_prior_log_z(eqf_model_options_of(of->model)) - summary.log_z;
    const uint64_t seed = eqf_seed_for(of->seed, "bootstrap");
    if (eqf_estimate_weights_bootstrap(num, result->log_weights, NUM_RESAMPLES, seed, &f->log_z_standard_error,
                                       &f->ess_fraction_standard_error) != EQF_OK)
        f->log_z_standard_error = f->ess_fraction_standard_error = NAN;
    for (size_t b = 0; b < num; b++) energies[b] = result->sample_energies[b];
    if (eqf_estimate_reweighted_bootstrap(num, result->log_weights, energies, NUM_RESAMPLES, seed,
                                          &f->mean_energy_reweighted,
                                          &f->mean_energy_reweighted_standard_error) != EQF_OK)
        f->mean_energy_reweighted = f->mean_energy_reweighted_standard_error = NAN;
}

eqf_status eqf__evaluate_samples(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    const size_t num = result->figures.num_samples;
    size_t num_bad;
    double *energies = eqf__alloc(of->ctx, num, sizeof *energies, "the energies");
    result->samples = eqf__alloc(of->ctx, num, of->num_dof * sizeof(float), "the samples");
    result->sample_energies = eqf__alloc(of->ctx, num, sizeof(float), "the energies");
    result->sample_log_probs = eqf__alloc(of->ctx, num, sizeof(float), "the log-densities");
    result->log_weights = eqf__alloc(of->ctx, num, sizeof(double), "the weights");
    eqf_status status = energies == NULL || result->samples == NULL || result->sample_energies == NULL ||
                                result->sample_log_probs == NULL || result->log_weights == NULL
                            ? EQF_ERROR_OUT_OF_MEMORY
                            : EQF_OK;
    if (status == EQF_OK)
        status = eqf__shared_sample(of, flow, eqf_seed_for(of->seed, "evaluate"), num, result->samples,
                                    result->sample_log_probs);
    if (status == EQF_OK) status = eqf__shared_energy(of, num, result->samples, result->sample_energies);
    if (status == EQF_OK) {
        weigh(of, energies, result);
        result->figures.mean_energy_model = eqf__finite_mean(num, result->sample_energies, &num_bad);
        if (num_bad > 0)
            eqf__evaluation_warn(result, EQF_WARNING_SAMPLE_ENERGY, (double)num_bad, 0,
                                 "%zu of %zu samples of the model have no finite energy", num_bad, num);
    }
    free(energies);
    return status;
}
