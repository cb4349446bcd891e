/* Many Metropolis chains on the device: start, burn-in with step-size tuning, sampling, diagnostics. */
#include "eqflow/mcmc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chains.h"
#include "host_potential.h"
#include "host_reference.h"
#include "mcmc_internal.h"
#include "potential.h"

/* Burn-in consists of about this many rounds; in its first three quarters the step size is tuned after each round. */
#define NUM_BURN_IN_ROUNDS 80u

/* ---- Run ----------------------------------------------------------------------------------------------- */

static void run_clear(mcmc_run *run) {
    eqf__kernel_destroy(&run->start);
    eqf__kernel_destroy(&run->sweeps);
    eqf__kernel_destroy(&run->keep);
    eqf__buffer_destroy(&run->x_blocked);
    eqf__buffer_destroy(&run->accepted);
    eqf__buffer_destroy(&run->series);
    eqf__buffer_destroy(&run->x_kept);
    eqf__buffer_destroy(&run->energy_kept);
    free(run->h_accepted);
    free(run->first_chains);
}

unsigned eqf__mcmc_clip(size_t value, size_t first, size_t count) {
    return value <= first ? 0 : value - first < count ? (unsigned)(value - first) : (unsigned)count;
}

/* Chains are numbered over all ranks, and random numbers depend on that number, so a chain is the same on every
 * rank. */
static eqf_status take_share(mcmc_run *run) {
    eqf_context *ctx = run->ctx;
    const mcmc_plan *plan = &run->plan;
    const unsigned V = ctx->device->vector_width, num_ranks = eqf__num_ranks(ctx);
    size_t first_block, num_blocks;
    eqf__share(ctx, plan->num_blocks, &first_block, &num_blocks);
    run->first_block = (cl_uint)first_block;
    run->num_blocks = (cl_uint)num_blocks;
    run->num_chains = eqf__mcmc_clip(plan->num_chains, first_block * V, num_blocks * V);
    run->num_series_blocks = eqf__mcmc_clip(plan->num_series_blocks, first_block, num_blocks);
    run->first_chains = eqf__alloc(ctx, num_ranks + 1, sizeof *run->first_chains, "the ranks' shares");
    if (run->first_chains == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned rank = 0; rank <= num_ranks; rank++) {
        size_t chain = eqf__share_begin(ctx, plan->num_blocks, rank) * V;
        run->first_chains[rank] = chain < plan->num_chains ? chain : plan->num_chains;
    }
    return EQF_OK;
}

eqf_status eqf__mcmc_gather_chains(const mcmc_run *run, size_t num, size_t item_bytes, void *items) {
    eqf_context *ctx = run->ctx;
    const unsigned num_ranks = eqf__num_ranks(ctx);
    size_t *first_items = eqf__alloc(ctx, num_ranks + 1, sizeof *first_items, "the ranks' shares");
    if (first_items == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned rank = 0; rank <= num_ranks; rank++)
        first_items[rank] = run->first_chains[rank] < num ? run->first_chains[rank] : num;
    eqf_status status = eqf__gather(ctx, first_items, item_bytes, items);
    free(first_items);
    return status;
}

static eqf_status run_prepare(mcmc_run *run, const eqf_potential_options *potential) {
    eqf_context *ctx = run->ctx;
    const mcmc_plan *plan = &run->plan;
    unsigned V = ctx->device->vector_width;
    eqf__program *program;
    EQF__TRY(eqf__mcmc_program(ctx, potential, "mcmc", NULL, &program));
    run->local_chains = eqf__mcmc_local_chains(ctx, potential);
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_start", &run->start));
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_sweeps", &run->sweeps));
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_keep", &run->keep));

    EQF__TRY(take_share(run));
    size_t num_lanes = (size_t)run->num_blocks * V;
    size_t series_reals = (size_t)plan->num_series_steps * run->num_series_blocks * V;
    EQF__TRY(eqf__buffer_create(ctx, num_lanes * run->num_dof * sizeof(float), NULL, "the chains", &run->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, num_lanes * sizeof(cl_uint), NULL, "the chains' acceptance", &run->accepted));
    EQF__TRY(eqf__buffer_create(ctx, series_reals * sizeof(float), NULL, "the energy series", &run->series));
    EQF__TRY(eqf__buffer_create(ctx, num_lanes * run->num_dof * sizeof(float), NULL, "the kept configurations",
                                &run->x_kept));
    EQF__TRY(eqf__buffer_create(ctx, num_lanes * sizeof(float), NULL, "the kept energies", &run->energy_kept));
    run->h_accepted = eqf__alloc(ctx, num_lanes, sizeof(cl_uint), "the chains' acceptance");
    return run->h_accepted == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

static eqf_status start_chains(mcmc_run *run) {
    cl_uint num_blocks = run->num_blocks, first_block = run->first_block;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    cl_float start_scale = (cl_float)run->plan.start_scale;
    return EQF__LAUNCH(run->ctx, &run->start, num_blocks, 0, EQF__ARG(run->x_blocked), EQF__ARG(num_blocks),
                       EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(start_scale));
}

static eqf_status report_progress(const mcmc_run *run, const char *stage) {
    if (run->options->progress == NULL)
        return eqf__progress(run->ctx, stage, (double)run->num_sweeps_done, (double)run->num_sweeps_total);
    eqf_progress progress = {sizeof progress, stage, (double)run->num_sweeps_done, (double)run->num_sweeps_total};
    if (run->options->progress(run->options->progress_user, &progress) == 0) return EQF_OK;
    return eqf__fail(run->ctx, EQF_ERROR_INTERRUPTED, "MCMC was stopped on request after %llu of %llu sweeps",
                     (unsigned long long)run->num_sweeps_done, (unsigned long long)run->num_sweeps_total);
}

/* Does num_sweeps sweeps in as many launches as needed, and counts moves. */
static eqf_status take_sweeps(mcmc_run *run, const char *stage, unsigned num_sweeps) {
    const mcmc_plan *plan = &run->plan;
    cl_uint num_blocks = run->num_blocks, first_block = run->first_block;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    cl_float step_size = (cl_float)run->step_size;
    cl_uint is_centred = run->options->is_centred;
    cl_uint series_start = plan->num_burn_in, series_interval = SERIES_INTERVAL;
    cl_uint num_series_steps = plan->num_series_steps;
    cl_uint num_series_blocks = run->num_sweeps_done < plan->num_burn_in ? 0 : run->num_series_blocks;
    for (unsigned done = 0; done < num_sweeps;) {
        cl_uint first_sweep = (cl_uint)run->num_sweeps_done;
        cl_uint count = eqf__min_unsigned(num_sweeps - done, plan->launch_sweeps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->sweeps, num_blocks, run->local_chains, EQF__ARG(run->x_blocked),
                             EQF__ARG(run->accepted), EQF__ARG(run->series), EQF__ARG(num_blocks),
                             EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(first_sweep),
                             EQF__ARG(count), EQF__ARG(step_size), EQF__ARG(is_centred), EQF__ARG(series_start),
                             EQF__ARG(series_interval), EQF__ARG(num_series_steps), EQF__ARG(num_series_blocks)));
        /* The read waits for the launch, so the reported progress is real. */
        EQF__TRY(eqf__buffer_read(run->ctx, run->accepted, 0, run->num_chains * sizeof(cl_uint), run->h_accepted));
        for (unsigned chain = 0; chain < run->num_chains; chain++) run->num_accepted += run->h_accepted[chain];
        run->num_proposed += (double)count * run->num_chains * run->num_particles;
        done += count;
        run->num_sweeps_done += count;
        EQF__TRY(report_progress(run, stage));
    }
    return EQF_OK;
}

/* The accepted fraction of the moves of all chains since the last call, from sums of whole numbers, which are exact. */
static eqf_status take_acceptance(mcmc_run *run, double *acceptance_out) {
    double counts[2] = {run->num_accepted, run->num_proposed};
    EQF__TRY(eqf__sum_doubles(run->ctx, 2, counts));
    *acceptance_out = counts[1] > 0.0 ? counts[0] / counts[1] : 0.0;
    run->num_accepted = run->num_proposed = 0.0;
    return EQF_OK;
}

/* Tunes one step size for all chains towards the target acceptance, by the acceptance of all chains in a round. */
static eqf_status burn_in(mcmc_run *run) {
    const mcmc_plan *plan = &run->plan;
    unsigned num_tuned = eqf__mcmc_num_tuned(plan->num_burn_in);
    unsigned round_sweeps = (plan->num_burn_in + NUM_BURN_IN_ROUNDS - 1) / NUM_BURN_IN_ROUNDS;
    if (round_sweeps > 50) round_sweeps = 50;
    while (run->num_sweeps_done < plan->num_burn_in) {
        unsigned left = plan->num_burn_in - (unsigned)run->num_sweeps_done;
        EQF__TRY(take_sweeps(run, "burn-in", eqf__min_unsigned(left, round_sweeps)));
        double acceptance;
        EQF__TRY(take_acceptance(run, &acceptance));
        if (run->num_sweeps_done <= num_tuned)
            run->step_size =
                eqf__mcmc_tuned_step(run->step_size, acceptance, plan->target_acceptance, plan->largest_step_size);
    }
    return EQF_OK;
}

eqf_status eqf__mcmc_energy_of(mcmc_run *run, const float *x, float *energy_out) {
    const unsigned V = run->ctx->device->vector_width;
    cl_uint one = 1, num_chains = 1, is_centred = 0;
    float *block = eqf__alloc(run->ctx, (size_t)run->num_dof * V, sizeof *block, "a configuration");
    if (block == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t c = 0; c < run->num_dof; c++)
        for (unsigned lane = 0; lane < V; lane++) block[c * V + lane] = x[c];
    eqf_status status = eqf__buffer_write(run->ctx, run->x_blocked, 0, (size_t)run->num_dof * V * sizeof *block, block);
    free(block);
    EQF__TRY(status);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->keep, 1, run->local_chains, EQF__ARG(run->x_blocked), EQF__ARG(run->x_kept),
                         EQF__ARG(run->energy_kept), EQF__ARG(one), EQF__ARG(num_chains), EQF__ARG(is_centred)));
    return eqf__buffer_read(run->ctx, run->energy_kept, 0, sizeof(float), energy_out);
}

/* Reads the chains' configurations: x_out [count, N*D], energies [count], both float32, count at most num_chains. */
static eqf_status keep_configurations(mcmc_run *run, size_t count, float *x_out, float *energy_out) {
    cl_uint num_blocks = run->num_blocks, num_chains = run->num_chains, is_centred = run->options->is_centred;
    const size_t first = run->first_chains[run->ctx->communicator.rank],
                 num_own = eqf__mcmc_clip(count, first, num_chains);
    const size_t row_bytes = run->num_dof * sizeof(float);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->keep, num_blocks, run->local_chains, EQF__ARG(run->x_blocked),
                         EQF__ARG(run->x_kept), EQF__ARG(run->energy_kept), EQF__ARG(num_blocks), EQF__ARG(num_chains),
                         EQF__ARG(is_centred)));
    /* A rank without a chain among the first count reads nothing; `first` may be beyond the array. */
    float *own_x = num_own > 0 ? x_out + first * run->num_dof : x_out;
    float *own_energy = num_own > 0 ? energy_out + first : energy_out;
    EQF__TRY(eqf__buffer_read(run->ctx, run->x_kept, 0, num_own * row_bytes, own_x));
    EQF__TRY(eqf__buffer_read(run->ctx, run->energy_kept, 0, num_own * sizeof(float), own_energy));
    EQF__TRY(eqf__mcmc_gather_chains(run, count, row_bytes, x_out));
    EQF__TRY(eqf__mcmc_gather_chains(run, count, sizeof(float), energy_out));
    for (size_t b = 0; b < count; b++)
        if (!isfinite(energy_out[b]))
            return eqf__fail(
                run->ctx, EQF_ERROR_NON_FINITE,
                "chain %zu has energy %g after %llu sweeps: use a longer burn-in, so that overlapping particles find "
                "apart; if that does not help, look at the constants of the potential",
                b, (double)energy_out[b], (unsigned long long)run->num_sweeps_done);
    return EQF_OK;
}

/* ---- The call ------------------------------------------------------------------------------------------ */

/* All results must be finite, and the first energies of a program must agree with the host's. */
static eqf_status check_results(mcmc_run *run, const eqf_potential_options *potential, size_t num_samples,
                                const float *x, const float *energies) {
    eqf_context *ctx = run->ctx;
    size_t num_bad = 0;
    for (size_t b = 0; b < num_samples; b++) {
        bool is_finite = isfinite(energies[b]);
        for (size_t c = 0; c < run->num_dof; c++) is_finite = is_finite && isfinite(x[b * run->num_dof + c]);
        num_bad += !is_finite;
    }
    if (num_bad > 0)
        return eqf__fail(ctx, EQF_ERROR_NON_FINITE,
                         "%zu of %zu samples are not finite: run eqf_selftest on this device, or check the potential's "
                         "constants",
                         num_bad, num_samples);
    return eqf__check_chains(run->checker, potential, run->sweeps.program, num_samples, x, energies);
}

static eqf_status run_chains(mcmc_run *run, const eqf_potential_options *potential, size_t num_samples, float *x_out,
                             float *energies, eqf_mcmc_diagnostics *diagnostics_out) {
    const mcmc_plan *plan = &run->plan;
    EQF__TRY(run_prepare(run, potential));
    EQF__TRY(start_chains(run));
    EQF__TRY(burn_in(run));
    double acceptance;
    EQF__TRY(take_acceptance(run, &acceptance)); /* discards the counts of burn-in */
    for (size_t first = 0; first < num_samples; first += plan->num_chains) {
        size_t count = num_samples - first < plan->num_chains ? num_samples - first : plan->num_chains;
        EQF__TRY(take_sweeps(run, "sampling", plan->thinning));
        EQF__TRY(keep_configurations(run, count, x_out + first * run->num_dof, energies + first));
    }
    EQF__TRY(check_results(run, potential, num_samples, x_out, energies));
    EQF__TRY(take_acceptance(run, &acceptance));
    if (diagnostics_out == NULL) return EQF_OK;
    return eqf__mcmc_diagnose(run, num_samples, x_out, energies, acceptance, diagnostics_out);
}

eqf_status eqf_mcmc_sample(eqf_context *ctx, const eqf_potential_options *potential, const eqf_mcmc_options *options,
                           size_t num_samples, float *x_out, float *energy_out, eqf_mcmc_diagnostics *diagnostics_out) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__checker checker = eqf__checker_of(ctx);
    return eqf__mcmc_sample(&checker, potential, options, num_samples, x_out, energy_out, diagnostics_out);
}

eqf_status eqf__mcmc_sample(eqf__checker *checker, const eqf_potential_options *potential,
                            const eqf_mcmc_options *options, size_t num_samples, float *x_out, float *energy_out,
                            eqf_mcmc_diagnostics *diagnostics_out) {
    eqf_context *ctx = checker->ctx;
    eqf_mcmc_options copy = EQF_MCMC_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_MCMC_OPTIONS_INIT, options, &copy));
    options = &copy;
    EQF__TRY(eqf_potential_check(ctx, potential));
    EQF__TRY(eqf__mcmc_check_options(ctx, options));
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    if (diagnostics_out != NULL) EQF__TRY(EQF__WRITE(ctx, EQF_MCMC_DIAGNOSTICS_INIT, &diagnostics, diagnostics_out));
    if (num_samples == 0) return EQF_OK;
    if (x_out == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no room for the configurations: x_out is NULL");

    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    mcmc_run run = {.ctx = ctx, .checker = checker, .options = options};
    EQF__TRY(eqf__mcmc_make_plan(ctx, potential, options, num_samples, &run.plan));
    run.num_particles = potential->num_particles;
    run.num_dof = potential->num_particles * potential->space_dim;
    run.step_size = run.plan.step_size;
    run.num_sweeps_total = run.plan.num_burn_in + (uint64_t)run.plan.num_kept * run.plan.thinning;
    float *energies = energy_out;
    if (energies == NULL) {
        energies = eqf__alloc(ctx, num_samples, sizeof *energies, "the energies");
        if (energies == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    }
    eqf_status status =
        run_chains(&run, potential, num_samples, x_out, energies, diagnostics_out != NULL ? &diagnostics : NULL);
    run_clear(&run);
    if (energies != energy_out) free(energies);
    if (status != EQF_OK || diagnostics_out == NULL) return status;
    return EQF__WRITE(ctx, EQF_MCMC_DIAGNOSTICS_INIT, &diagnostics, diagnostics_out);
}
