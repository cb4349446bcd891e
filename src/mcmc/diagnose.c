/* Diagnostics of a run: whether its chains agree, how many independent samples they give, and whether anything holds
 * the particles together. */
#include <math.h>
#include <stdlib.h>

#include "eqflow/estimate.h"

#include "mcmc_internal.h"

/* The energy series of the first chains, [num_series_chains, num_series_steps] double. */
static eqf_status read_series(mcmc_run *run, double **series_out) {
    const mcmc_plan *plan = &run->plan;
    size_t num_steps = plan->num_series_steps, row = (size_t)run->num_series_blocks * run->ctx->device->vector_width;
    const size_t first = run->first_chains[run->ctx->communicator.rank];
    const size_t num_own = eqf__mcmc_clip(plan->num_series_chains, first, run->num_chains);
    float *raw = eqf__alloc(run->ctx, num_steps * row, sizeof(float), "the energy series");
    double *series = eqf__alloc(run->ctx, num_steps * plan->num_series_chains, sizeof(double), "the energy series");
    eqf_status status = raw == NULL || series == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf__buffer_read(run->ctx, run->series, 0, num_steps * row * sizeof(float), raw);
    if (status == EQF_OK)
        for (size_t chain = 0; chain < num_own; chain++)
            for (size_t step = 0; step < num_steps; step++)
                series[(first + chain) * num_steps + step] = (double)raw[step * row + chain];
    if (status == EQF_OK)
        status = eqf__mcmc_gather_chains(run, plan->num_series_chains, num_steps * sizeof *series, series);
    free(raw);
    if (status != EQF_OK) {
        free(series);
        return status;
    }
    *series_out = series;
    return EQF_OK;
}

/* Variance about the pooled mean; NaN from fewer than two values. */
static double variance_of(size_t num, const double *values) {
    double mean, standard_error;
    if (eqf_estimate_mean(num, values, &mean, &standard_error) != EQF_OK) return NAN;
    return standard_error * standard_error * (double)num;
}

/* Split R-hat over the whole run: from the series of energies if it covers the run, else from the kept energies. */
static double whole_run_r_hat(const mcmc_plan *plan, const double *series, size_t num_samples,
                              const double *kept_energies) {
    double r_hat;
    uint64_t spanned = (uint64_t)plan->num_series_steps * SERIES_INTERVAL;
    if (spanned + SERIES_INTERVAL > (uint64_t)plan->num_kept * plan->thinning) {
        if (eqf_estimate_split_r_hat(plan->num_series_chains, plan->num_series_steps, series, &r_hat) == EQF_OK)
            return r_hat;
        return NAN;
    }
    size_t num_steps = num_samples / plan->num_chains; /* kept by every chain */
    double *by_chain = calloc((size_t)plan->num_chains * (num_steps > 0 ? num_steps : 1), sizeof *by_chain);
    if (by_chain == NULL) return NAN;
    for (size_t step = 0; step < num_steps; step++)
        for (size_t chain = 0; chain < plan->num_chains; chain++)
            by_chain[chain * num_steps + step] = kept_energies[step * plan->num_chains + chain];
    if (eqf_estimate_split_r_hat(plan->num_chains, num_steps, by_chain, &r_hat) != EQF_OK) r_hat = NAN;
    free(by_chain);
    return r_hat;
}

/* ---- Does anything hold the particles together? ------------------------------------------------------------------ */

/* Mean square distance of a particle from the centre of mass of x [N*D]. */
static double square_radius(const mcmc_run *run, const float *x) {
    const unsigned N = run->num_particles, D = run->num_dof / N;
    double squares = 0;
    for (unsigned d = 0; d < D; d++) {
        double mean = 0;
        for (unsigned i = 0; i < N; i++) mean += (double)x[i * D + d] / N;
        for (unsigned i = 0; i < N; i++) squares += ((double)x[i * D + d] - mean) * ((double)x[i * D + d] - mean);
    }
    return squares / N;
}

/* The growth of the squared radius of gyration from the first to the last half of each chain's kept configurations,
 * averaged over chains, with its standard error from the spread over the chains, which are independent. */
static eqf_status measure_growth(const mcmc_run *run, size_t num_samples, const float *x,
                                 eqf_mcmc_diagnostics *diagnostics) {
    const size_t num_chains = run->plan.num_chains, num_kept = num_samples / num_chains, half = num_kept / 2;
    double all = 0, first = 0, last = 0, squares = 0;
    for (size_t b = 0; b < num_samples; b++) all += square_radius(run, x + b * run->num_dof) / (double)num_samples;
    diagnostics->radius_of_gyration = sqrt(all);
    if (half == 0 || num_chains < 8) return EQF_OK;
    double *halves = eqf__alloc(run->ctx, 2 * num_chains, sizeof *halves, "the radii of gyration");
    if (halves == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t k = 0; k < half; k++)
        for (size_t chain = 0; chain < num_chains; chain++) {
            const size_t row = run->num_dof, late = num_kept - half + k;
            halves[2 * chain] += square_radius(run, x + (k * num_chains + chain) * row) / (double)half;
            halves[2 * chain + 1] += square_radius(run, x + (late * num_chains + chain) * row) / (double)half;
        }
    for (size_t chain = 0; chain < num_chains; chain++) {
        first += halves[2 * chain] / (double)num_chains;
        last += halves[2 * chain + 1] / (double)num_chains;
    }
    const double ratio = last / first;
    for (size_t chain = 0; chain < num_chains; chain++) {
        const double deviation = halves[2 * chain + 1] - ratio * halves[2 * chain];
        squares += deviation * deviation;
    }
    free(halves);
    diagnostics->radius_growth = sqrt(ratio) - 1;
    diagnostics->radius_growth_standard_error =
        0.5 * sqrt(squares / (double)(num_chains - 1) / (double)num_chains) / first / sqrt(ratio);
    return EQF_OK;
}

/* exp(-u) can be normalised only if u grows faster than (N-1) D ln r when all particles fly apart, and faster than D ln
 * r when one particle leaves. Both are tested between a thousand and ten thousand times the radius of gyration. */
static eqf_status ask_far_away(mcmc_run *run, const float *x, eqf_mcmc_diagnostics *diagnostics) {
    const unsigned N = run->num_particles, D = run->num_dof / N;
    const double near = 1e3, far = 1e4, length = fmax(sqrt(square_radius(run, x)), 1e-6);
    float *moved = eqf__alloc(run->ctx, run->num_dof, sizeof *moved, "a configuration"), energy[2];
    if (moved == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = EQF_OK;
    for (unsigned way = 0; way < 2 && status == EQF_OK; way++) { /* all fly apart, the first one leaves */
        for (unsigned place = 0; place < 2 && status == EQF_OK; place++) {
            const double factor = place == 0 ? near : far;
            for (unsigned c = 0; c < run->num_dof; c++)
                moved[c] = (float)(way == 0 ? factor * (double)x[c] : (double)x[c]);
            if (way == 1)
                for (unsigned d = 0; d < D; d++) moved[d] += (float)(factor * length);
            status = eqf__mcmc_energy_of(run, moved, &energy[place]);
        }
        const double needed = log(far / near) * D * (way == 0 ? N - 1 : 1);
        /* Energies that are not finite tell nothing, or that no particle can be there. */
        if (status == EQF_OK && isfinite(energy[0]) && isfinite(energy[1]) &&
            (double)energy[1] - (double)energy[0] < needed) {
            diagnostics->is_unbound = true;
            if (way == 0) diagnostics->dissociation_energy = (double)energy[1];
        }
    }
    free(moved);
    return status;
}

eqf_status eqf__mcmc_diagnose(mcmc_run *run, size_t num_samples, const float *x, const float *energies,
                              double acceptance, eqf_mcmc_diagnostics *diagnostics) {
    const mcmc_plan *plan = &run->plan;
    *diagnostics = (eqf_mcmc_diagnostics){
        .num_chains = plan->num_chains,
        .num_burn_in = plan->num_burn_in,
        .thinning = plan->thinning,
        .num_sweeps = run->num_sweeps_done,
        .acceptance = acceptance,
        .step_size = run->step_size,
        .autocorrelation_time = NAN,
        .split_r_hat = NAN,
        .radius_growth = NAN,
        .radius_growth_standard_error = NAN,
        .dissociation_energy = NAN,
    };
    double *series = NULL;
    double *kept = eqf__alloc(run->ctx, num_samples, sizeof *kept, "the energies");
    eqf_status status = kept == NULL ? EQF_ERROR_OUT_OF_MEMORY : read_series(run, &series);
    if (status != EQF_OK) {
        free(kept);
        return status;
    }
    for (size_t b = 0; b < num_samples; b++) {
        kept[b] = (double)energies[b];
        diagnostics->mean_energy += kept[b] / (double)num_samples;
    }
    double tau; /* in steps of the series */
    size_t num_series = (size_t)plan->num_series_chains * plan->num_series_steps;
    if (eqf_estimate_autocorrelation_time(plan->num_series_chains, plan->num_series_steps, series, &tau) == EQF_OK)
        diagnostics->autocorrelation_time = tau * SERIES_INTERVAL;
    diagnostics->split_r_hat = whole_run_r_hat(plan, series, num_samples, kept);

    /* Chains are independent of each other. Kept configurations of a chain are `thinning` sweeps apart. If the
     * correlation decays as exp(-2 t / tau), whose integral over all t is tau, its sum over them is (1 + rho)/(1 - rho)
     * = coth(thinning / tau), where rho = exp(-2 thinning / tau). */
    double num_independent = (double)(num_samples < plan->num_chains ? num_samples : plan->num_chains);
    diagnostics->effective_samples = num_independent;
    if (diagnostics->autocorrelation_time > 0.0)
        diagnostics->effective_samples =
            fmax(num_independent, (double)num_samples * tanh(plan->thinning / diagnostics->autocorrelation_time));
    double variance = num_samples >= 32 ? variance_of(num_samples, kept) : variance_of(num_series, series);
    diagnostics->mean_energy_standard_error = sqrt(variance / diagnostics->effective_samples);
    free(series);
    free(kept);
    EQF__TRY(measure_growth(run, num_samples, x, diagnostics));
    return run->num_blocks > 0 ? ask_far_away(run, x, diagnostics) : EQF_OK;
}
