/* Diagnostics of replica exchange: ladders are independent, so their spread gives the errors. */
#include <math.h>
#include <stdlib.h>

#include "replica_internal.h"

/* Sums of a ladder's energies at one temperature. */
typedef struct ladder_sums {
    double num, sum, squares;
} ladder_sums;

/* Mean and standard error over the ladders first, first + stride, ...; the mean of none and the error of one are
 * NaN. */
static void mean_of_ladders(const ladder_sums *sums, unsigned num_ladders, unsigned first, unsigned stride,
                            double *mean_out, double *standard_error_out) {
    double num = 0, mean = 0, squares = 0;
    for (unsigned l = first; l < num_ladders; l += stride) {
        if (sums[l].num == 0) continue;
        num++;
        mean += sums[l].sum / sums[l].num;
    }
    mean /= num;
    for (unsigned l = first; l < num_ladders; l += stride)
        if (sums[l].num > 0) squares += pow(sums[l].sum / sums[l].num - mean, 2);
    *mean_out = num > 0 ? mean : NAN;
    *standard_error_out = num > 1 ? sqrt(squares / (num * (num - 1))) : NAN;
}

static double variance_of(ladder_sums s) {
    return s.squares / s.num - s.sum / s.num * (s.sum / s.num);
}

/* Variance of all ladders together; its standard error by leaving out each in turn (jackknife). `offset`
 * is subtracted from energies, because their squares would lose the variance to rounding. */
static void variance_of_ladders(const ladder_sums *sums, unsigned num_ladders, double *variance_out,
                                double *standard_error_out) {
    ladder_sums all = {0, 0, 0};
    double num = 0, mean = 0, squares = 0;
    for (unsigned l = 0; l < num_ladders; l++) {
        all = (ladder_sums){all.num + sums[l].num, all.sum + sums[l].sum, all.squares + sums[l].squares};
        num += sums[l].num > 0;
    }
    *variance_out = variance_of(all);
    *standard_error_out = NAN;
    if (num < 2) return;
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned l = 0; l < num_ladders; l++) {
            if (sums[l].num == 0) continue;
            const double without =
                variance_of((ladder_sums){all.num - sums[l].num, all.sum - sums[l].sum, all.squares - sums[l].squares});
            if (pass == 0)
                mean += without / num;
            else
                squares += pow(without - mean, 2);
        }
    *standard_error_out = sqrt((num - 1) / num * squares);
}

/* energies [num_samples] of one temperature; sums [num_ladders]: scratch. */
static void summarise(const replica_run *run, size_t num_samples, const float *energies, double factor,
                      ladder_sums *sums, eqf_replica_temperature *at) {
    const unsigned num_ladders = run->plan.num_ladders;
    const double offset = (double)energies[0];
    for (unsigned l = 0; l < num_ladders; l++) sums[l] = (ladder_sums){0, 0, 0};
    for (size_t n = 0; n < num_samples; n++) {
        ladder_sums *s = &sums[n % num_ladders];
        const double u = (double)energies[n] - offset;
        *s = (ladder_sums){s->num + 1, s->sum + u, s->squares + u * u};
    }
    mean_of_ladders(sums, num_ladders, 0, 1, &at->mean_energy, &at->mean_energy_standard_error);
    at->mean_energy += offset;
    variance_of_ladders(sums, num_ladders, &at->heat_capacity, &at->heat_capacity_standard_error);
    at->heat_capacity *= factor * factor;
    at->heat_capacity_standard_error *= factor * factor;
    for (unsigned s = 0; s < 2; s++) {
        at->start_means[s] = at->start_standard_errors[s] = NAN;
        if (run->options->start == NULL) continue;
        mean_of_ladders(sums, num_ladders, s, 2, &at->start_means[s], &at->start_standard_errors[s]);
        at->start_means[s] += offset;
    }
}

/* Along temperatures the work follows from the energies alone; those are reduced by T_0. */
static eqf_status find_log_z(const replica_run *run, size_t num_samples, const float *energies,
                             eqf_replica_diagnostics *diagnostics) {
    const replica_plan *plan = &run->plan;
    const unsigned R = plan->num_temperatures;
    double *forward = eqf__alloc(run->ctx, 2 * (R - 1) * num_samples, sizeof *forward, "differences of ln Z"),
           *reverse = forward + (R - 1) * num_samples;
    if (forward == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned k = 0; k + 1 < R; k++) {
        const double factor =
            plan->temperatures[0] / plan->temperatures[k + 1] - plan->temperatures[0] / plan->temperatures[k];
        for (size_t n = 0; n < num_samples; n++) {
            forward[k * num_samples + n] = factor * (double)energies[k * num_samples + n];
            reverse[k * num_samples + n] = -factor * (double)energies[(k + 1) * num_samples + n];
        }
    }
    const eqf_status status = eqf__replica_log_z(run->ctx, R, plan->num_ladders, run->options->start != NULL,
                                                 num_samples, forward, reverse, diagnostics);
    free(forward);
    return status;
}

eqf_status eqf__replica_diagnose(const replica_run *run, size_t num_samples, const float *energies,
                                 const double *acceptance, const cl_uint *swaps, const cl_uint *trips,
                                 eqf_replica_diagnostics *diagnostics) {
    const replica_plan *plan = &run->plan;
    const unsigned R = plan->num_temperatures, num_ladders = plan->num_ladders;
    ladder_sums *sums = eqf__alloc(run->ctx, num_ladders, sizeof *sums, "the ladders");
    if (sums == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    diagnostics->num_temperatures = R;
    diagnostics->num_ladders = num_ladders;
    diagnostics->num_burn_in = plan->num_burn_in;
    diagnostics->thinning = plan->thinning;
    diagnostics->exchange_interval = plan->exchange_interval;
    diagnostics->num_sweeps = run->num_sweeps_done;
    diagnostics->largest_start_difference = NAN;
    for (unsigned l = 0; l < num_ladders; l++) diagnostics->num_round_trips += trips[l];
    for (unsigned k = 0; k < R; k++) {
        eqf_replica_temperature *at = &diagnostics->at[k];
        at->temperature = plan->temperatures[k];
        at->acceptance = acceptance[k];
        at->step_size = (double)run->h_steps[k];
        double taken = 0, offered = 0;
        for (unsigned l = 0; l < num_ladders; l++) taken += swaps[(size_t)l * R + k];
        for (cl_uint round = run->first_round; round < run->num_rounds; round++) offered += round % 2 == k % 2;
        at->swap_acceptance = k + 1 < R && offered > 0 ? taken / (offered * num_ladders) : NAN;
        const double factor = run->has_states ? 1 : plan->temperatures[0] / plan->temperatures[k];
        summarise(run, num_samples, energies + k * num_samples, factor, sums, at);
        const double difference = fabs(at->start_means[0] - at->start_means[1]) /
                                  hypot(at->start_standard_errors[0], at->start_standard_errors[1]);
        if (!(difference <= diagnostics->largest_start_difference)) diagnostics->largest_start_difference = difference;
    }
    free(sums);
    return run->has_states ? EQF_OK : find_log_z(run, num_samples, energies, diagnostics);
}
