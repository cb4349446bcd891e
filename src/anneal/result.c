/* Results from the walkers: each repeat gives an unbiased estimate Z_r of Z, which is also its weight in averages. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annealer.h"

/* A repeat's part of the sums, relative to exp(largest). */
typedef struct repeat_sums {
    double z, energy; /* Z_r; Z_r times the mean energy */
} repeat_sums;

static size_t walkers_of_repeat(const eqf_annealer *a, unsigned *num_repeats_out) {
    *num_repeats_out = a->is_pilot ? 1 : a->options.num_repeats;
    return a->walkers.num / *num_repeats_out;
}

/* log_weight of a walker plus the ln Z that the resamplings of its repeat have collected. */
static double whole_log_weight(const eqf_annealer *a, size_t num, size_t w) {
    return a->log_z[w / num] + a->walkers.log_weight[w];
}

static repeat_sums sums_of(const eqf_annealer *a, unsigned r, size_t num, double largest) {
    repeat_sums sums = {0, 0};
    for (size_t w = r * num; w < (r + 1) * num; w++) {
        const double weight = exp(whole_log_weight(a, num, w) - largest);
        if (!(weight > 0)) continue; /* its energy may be infinite */
        sums.z += weight / (double)num;
        sums.energy += weight * a->walkers.energy[w] / (double)num;
    }
    return sums;
}

/* Standard errors by the jackknife over repeats (Efron, Ann. Stat. 7 (1979) 1): of ln of the mean of Z_r, and of sum
 * Z_r e_r / sum Z_r. */
static void jackknife(const eqf_annealer *a, unsigned num_repeats, size_t num, double largest, repeat_sums all,
                      eqf_anneal_result *result) {
    double log_sum = 0, log_squares = 0, energy_sum = 0, energy_squares = 0;
    for (unsigned r = 0; r < num_repeats; r++) {
        const repeat_sums one = sums_of(a, r, num, largest);
        const double rest = log((all.z - one.z) / (num_repeats - 1));
        const double energy = (all.energy - one.energy) / (all.z - one.z);
        log_sum += rest;
        log_squares += rest * rest;
        energy_sum += energy;
        energy_squares += energy * energy;
    }
    const double n = num_repeats;
    result->log_z_standard_error = sqrt(fmax(0, (n - 1) / n * (log_squares - log_sum * log_sum / n)));
    result->mean_energy_standard_error = sqrt(fmax(0, (n - 1) / n * (energy_squares - energy_sum * energy_sum / n)));
}

void eqf__anneal_summarise(const eqf_annealer *a, eqf_anneal_result *result) {
    unsigned num_repeats;
    const size_t num = walkers_of_repeat(a, &num_repeats);
    double largest = -INFINITY, sum = 0, squares = 0, energy_squares = 0;
    for (size_t w = 0; w < a->walkers.num; w++) largest = fmax(largest, whole_log_weight(a, num, w));
    repeat_sums all = {0, 0};
    for (unsigned r = 0; r < num_repeats; r++) {
        const repeat_sums one = sums_of(a, r, num, largest);
        all.z += one.z;
        all.energy += one.energy;
    }
    for (size_t w = 0; w < a->walkers.num; w++) {
        const double weight = exp(whole_log_weight(a, num, w) - largest);
        sum += weight;
        squares += weight * weight;
        if (weight > 0) energy_squares += weight * pow(a->walkers.energy[w] - all.energy / all.z, 2);
    }
    result->num_walkers = a->walkers.num;
    result->num_repeats = num_repeats;
    result->log_z = largest + log(all.z / num_repeats);
    result->mean_energy = all.energy / all.z;
    result->ess_fraction = sum * sum / squares / (double)a->walkers.num;
    result->max_weight_fraction = 1 / sum; /* the largest shifted weight is 1 */
    result->log_z_standard_error = result->mean_energy_standard_error = NAN;
    if (num_repeats == 1) return;
    jackknife(a, num_repeats, num, largest, all, result);
    const double spread = result->mean_energy_standard_error * sqrt(num_repeats);
    result->energy_correlation = a->energy_correlation;
    result->num_independent = fmin(a->num_independent, energy_squares / sum / (spread * spread));
}

eqf_status eqf_annealer_result(const eqf_annealer *a, eqf_anneal_result *result_out, float *x_out, float *energy_out,
                               double *log_weights_out) {
    if (a == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    if (!a->is_done) return eqf__fail(a->system.ctx, EQF_ERROR_INVALID_ARGUMENT, "this annealing is not done yet");
    const size_t num = a->walkers.num, of_repeat = num / a->options.num_repeats;
    if (result_out != NULL) {
        eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
        eqf__anneal_summarise(a, &result);
        result.num_steps = a->num_steps;
        EQF__TRY(EQF__WRITE(a->system.ctx, EQF_ANNEAL_RESULT_INIT, &result, result_out));
    }
    if (x_out != NULL) memcpy(x_out, a->walkers.x, num * a->system.num_dof * sizeof *x_out);
    if (energy_out != NULL) memcpy(energy_out, a->walkers.energy, num * sizeof *energy_out);
    for (size_t w = 0; w < num && log_weights_out != NULL; w++) log_weights_out[w] = whole_log_weight(a, of_repeat, w);
    return EQF_OK;
}

eqf_status eqf_annealer_resample(const eqf_annealer *a, size_t num, float *x_out, float *energy_out) {
    if (a == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    if (!a->is_done) return eqf__fail(a->system.ctx, EQF_ERROR_INVALID_ARGUMENT, "this annealing is not done yet");
    if (num > 0 && x_out == NULL) return eqf__fail(a->system.ctx, EQF_ERROR_INVALID_ARGUMENT, "x_out must not be NULL");
    const size_t num_walkers = a->walkers.num, num_dof = a->system.num_dof;
    double *log_weights = eqf__alloc(a->system.ctx, num_walkers, sizeof *log_weights, "the weights");
    size_t *parents = eqf__alloc(a->system.ctx, num, sizeof *parents, "the resampling");
    eqf_status status = log_weights == NULL || parents == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf_annealer_result(a, NULL, NULL, NULL, log_weights);
    if (status == EQF_OK) {
        const eqf__anneal_place place = {a->options.seed, EQF__ANNEAL_OUTPUT, 0, 0};
        eqf__anneal_resample(num_walkers, log_weights, eqf__anneal_uniform(place, 0), num, parents);
        for (size_t b = 0; b < num; b++) {
            memcpy(x_out + b * num_dof, a->walkers.x + parents[b] * num_dof, num_dof * sizeof *x_out);
            if (energy_out != NULL) energy_out[b] = a->walkers.energy[parents[b]];
        }
    }
    free(log_weights);
    free(parents);
    return status;
}
