/* Samples of the model, reweighted to the target. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"
#include "eqflow/free_energy.h"
#include "evaluation.h"

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

/* Mean of ln q - ln p over the samples; NaN if it is infinite, because a sample has weight zero. */
static void measure_reverse_kl(size_t num, const double *log_weights, double *values, eqf_evaluation_figures *f) {
    double mean, error;
    const bool is_known = isfinite(f->known_log_z);
    for (size_t b = 0; b < num; b++) values[b] = -log_weights[b];
    if (eqf_estimate_mean(num, values, &mean, &error) != EQF_OK) return;
    f->reverse_kl = mean + (is_known ? f->known_log_z : f->log_z);
    f->reverse_kl_standard_error = hypot(error, is_known ? f->known_log_z_error : f->log_z_standard_error);
}

/* values [num_samples]: scratch. False, with a warning: there are no weights. */
static bool weigh(const eqf__evaluated *of, double *values, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    const size_t num = f->num_samples;
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_log_weights(num, result->sample_energies, result->sample_log_probs, result->log_weights) !=
            EQF_OK ||
        eqf_estimate_weights(num, result->log_weights, &summary) != EQF_OK) {
        eqf__evaluation_warn(
            result, EQF_WARNING_NO_WEIGHTS, NAN, NAN,
            "no importance weights: log-densities of samples are not finite, or no sample has any weight");
        return false;
    }
    f->ess_fraction = summary.ess_fraction;
    f->max_weight_fraction = summary.max_weight_fraction;
    f->log_z = summary.log_z;
    f->free_energy_difference = eqf_prior_log_z(eqf_model_options_of(of->model)) - summary.log_z;
    const uint64_t seed = eqf_seed_for(of->seed, "bootstrap");
    if (eqf_estimate_weights_bootstrap(num, result->log_weights, EQF__NUM_RESAMPLES, seed, &f->log_z_standard_error,
                                       &f->ess_fraction_standard_error) != EQF_OK)
        f->log_z_standard_error = f->ess_fraction_standard_error = NAN;
    measure_reverse_kl(num, result->log_weights, values, f);
    for (size_t b = 0; b < num; b++) values[b] = result->sample_energies[b];
    if (eqf_estimate_reweighted_bootstrap(num, result->log_weights, values, EQF__NUM_RESAMPLES, seed,
                                          &f->mean_energy_reweighted,
                                          &f->mean_energy_reweighted_standard_error) != EQF_OK)
        f->mean_energy_reweighted = f->mean_energy_reweighted_standard_error = NAN;
    return true;
}

/* Enlarges *items to num items; the first num_used are kept. */
static eqf_status enlarge(eqf_context *ctx, size_t num_used, size_t num, size_t item_size, const char *what,
                          void **items) {
    void *larger = eqf__alloc(ctx, num, item_size, what);
    if (larger == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    if (num_used > 0) memcpy(larger, *items, num_used * item_size);
    free(*items);
    *items = larger;
    return EQF_OK;
}

#define ENLARGE(ctx, num_used, num, items, item_size, what)                               \
    do {                                                                                  \
        void *own = (items);                                                              \
        const eqf_status enlarged = enlarge(ctx, num_used, num, (item_size), what, &own); \
        (items) = own;                                                                    \
        if (enlarged != EQF_OK) return enlarged;                                          \
    } while (0)

/* Draws the samples from num_drawn up to figures.num_samples; sample b of a seed does not depend on their number. */
static eqf_status draw(const eqf__evaluated *of, eqf_flow *flow, size_t num_drawn, eqf_evaluation *result) {
    const size_t num = result->figures.num_samples, num_new = num - num_drawn;
    ENLARGE(of->ctx, num_drawn, num, result->samples, of->num_dof * sizeof(float), "the samples");
    ENLARGE(of->ctx, num_drawn, num, result->sample_energies, sizeof(float), "the energies");
    ENLARGE(of->ctx, num_drawn, num, result->sample_log_probs, sizeof(float), "the log-densities");
    ENLARGE(of->ctx, 0, num, result->log_weights, sizeof(double), "the weights");
    float *x = result->samples + num_drawn * of->num_dof;
    EQF__TRY(eqf__shared_sample(of, flow, eqf_seed_for(of->seed, "evaluate"), num_drawn, num_new, x,
                                result->sample_log_probs + num_drawn));
    return eqf__shared_energy(of, num_new, x, result->sample_energies + num_drawn);
}

/* Bennett's acceptance ratio between the model, whose Z is 1 and whose energy is -log_prob, and the target: the work
 * from model to target is u + log_prob of the samples, that back is -log_prob - u of the data (docs/method.md, section
 * 7). */
eqf_status eqf__evaluate_log_z(const eqf__evaluated *of, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    double difference, error, *work = eqf__alloc(of->ctx, f->num_samples, sizeof *work, "the work");
    if (work == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < f->num_samples; b++) work[b] = -result->log_weights[b];
    if (eqf_free_energy_bar(f->num_samples, work, f->num_data, result->data_log_weights, &difference, &error) ==
        EQF_OK) {
        f->log_z_bar = -difference;
        f->log_z_bar_standard_error = error;
    }
    free(work);
    return EQF_OK;
}

static void describe_energies(const eqf__evaluated *of, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    size_t num_bad, num_above = 0;
    float highest = -INFINITY;
    f->mean_energy_model = eqf__finite_mean(f->num_samples, result->sample_energies, &num_bad);
    if (num_bad > 0)
        eqf__evaluation_warn(result, EQF_WARNING_SAMPLE_ENERGY, (double)num_bad, 0,
                             "%zu of %zu samples of the model have no finite energy", num_bad, f->num_samples);
    for (size_t b = 0; b < of->num_data; b++) highest = fmaxf(highest, result->data_energies[b]);
    for (size_t b = 0; b < f->num_samples; b++) num_above += !(result->sample_energies[b] <= highest);
    f->above_data_fraction = (double)num_above / (double)f->num_samples;
}

double eqf__ess_error_limit(const eqf__evaluated *of, const eqf_evaluation_figures *figures) {
    return fmin(of->ess_error, 0.5 * figures->ess_fraction);
}

eqf_status eqf__evaluate_samples(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    eqf_evaluation_figures *f = &result->figures;
    for (size_t num_drawn = 0;;) {
        EQF__TRY(draw(of, flow, num_drawn, result));
        double *values = eqf__alloc(of->ctx, f->num_samples, sizeof *values, "the energies");
        if (values == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        const bool has_weights = weigh(of, values, result);
        free(values);
        num_drawn = f->num_samples;
        if (!has_weights || num_drawn >= of->max_samples ||
            f->ess_fraction_standard_error <= eqf__ess_error_limit(of, f))
            break;
        f->num_samples = num_drawn <= of->max_samples / 2 ? 2 * num_drawn : of->max_samples;
    }
    describe_energies(of, result);
    return EQF_OK;
}
