/* Many Metropolis chains on the device: start, burn-in with step-size tuning, sampling, diagnostics. */
#include "eqflow/mcmc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "chains.h"
#include "eqflow/estimate.h"
#include "host_potential.h"
#include "host_reference.h"
#include "potential_kinds.h"
#include "ocl.h"
#include "potential.h"
#include "program.h"

/* Most sweeps of one launch: progress and Ctrl-C wait for no more. */
#define MAX_LAUNCH_SWEEPS 256u
/* The energy series behind the autocorrelation time: every so many sweeps, for the first chains and steps only, so that
 * it stays below 4 MiB however long the run. */
#define SERIES_INTERVAL 5u
#define MAX_SERIES_CHAINS 256u
#define MAX_SERIES_STEPS 4096u
/* Burn-in is cut into about this many rounds; the step size is tuned after each of those in its first three
 * quarters. */
#define NUM_BURN_IN_ROUNDS 80u
/* Configurations that a chain gives by default: its sampling then takes as many sweeps as its burn-in. */
#define DEFAULT_KEPT 20u
#define DEFAULT_MIN_CHAINS 64u
#define DEFAULT_MAX_CHAINS 2048u
/* Measured: the energy of dw4 (lj13) decorrelates in 25 (92) sweeps at 0.15, 29 (88) at 0.2, 41 (107) at 0.3, 54 (126)
 * at 0.4. */
#define DEFAULT_ACCEPTANCE 0.2

/* The options with every default filled in, and what follows from them. */
typedef struct mcmc_plan {
    unsigned num_chains, num_burn_in, thinning;
    double start_scale, target_acceptance, step_size, largest_step_size;
    size_t num_kept; /* configurations a chain gives */
    unsigned num_blocks;
    unsigned launch_sweeps;
    unsigned num_series_chains, num_series_blocks, num_series_steps;
} mcmc_plan;

typedef struct mcmc_run {
    eqf_context *ctx;
    eqf__checker *checker;
    const eqf_mcmc_options *options;
    mcmc_plan plan;
    cl_uint num_particles, num_dof;
    /* This rank's part of the chains, whole blocks; alone: all. */
    cl_uint first_block, num_blocks, num_chains, num_series_blocks;
    size_t *first_chains; /* [ranks + 1]: where the part of each begins */
    eqf__kernel start, sweeps, keep;
    cl_mem x_blocked;                           /* [num_blocks][N*D][V] */
    cl_mem accepted;                            /* [num_blocks][V] */
    cl_mem series;                              /* [num_series_steps][num_series_blocks][V] */
    cl_mem x_kept;                              /* [num_chains, N*D] */
    cl_mem energy_kept;                         /* [num_chains] */
    cl_uint *h_accepted;                        /* [num_blocks][V] */
    uint64_t num_sweeps_done, num_sweeps_total; /* per chain */
    double step_size;
    double num_accepted, num_proposed; /* since they were last set to zero */
} mcmc_run;

/* ---- Plan ---------------------------------------------------------------------------------------------- */

static eqf_status check_options(eqf_context *ctx, const eqf_mcmc_options *options) {
    if (!(options->start_scale >= 0.0) || !isfinite(options->start_scale))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "start_scale is %g: it must be positive, or 0 for the default", options->start_scale);
    if (!(options->target_acceptance >= 0.0 && options->target_acceptance < 1.0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "target_acceptance is %g: it must lie between 0 and 1, or be 0 for the default",
                         options->target_acceptance);
    return EQF_OK;
}

/* Upper bound on the loop turns of one sweep, all loops counted: moves, their pairs and coordinates, and the energy. A
 * user's potential takes two whole energies a move, each as if it were a sum over pairs. */
static uint64_t iterations_per_sweep(const eqf_potential_options *potential) {
    uint64_t num_particles = potential->num_particles, turns = 2 * potential->space_dim + 2;
    uint64_t energy = eqf__potential_kind_of(potential->kind)->info.has_text ? num_particles : 1;
    return 1 + num_particles * (num_particles + 2) * turns * energy;
}

static unsigned min_unsigned(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Few long chains cost less burn-in than many short ones and let R-hat speak; a GPU needs thousands to be busy, and is
 * not slower for them. */
static unsigned default_num_chains(const eqf__device *device, size_t num_samples) {
    size_t wanted = num_samples / DEFAULT_KEPT;
    if (wanted < DEFAULT_MIN_CHAINS) wanted = DEFAULT_MIN_CHAINS;
    if (wanted > DEFAULT_MAX_CHAINS || device->info.type == EQF_DEVICE_GPU) wanted = DEFAULT_MAX_CHAINS;
    if (wanted > num_samples) wanted = num_samples;
    unsigned V = device->vector_width;
    return ((unsigned)wanted + V - 1) / V * V;
}

static eqf_status make_plan(eqf_context *ctx, const eqf_potential_options *potential, const eqf_mcmc_options *options,
                            size_t num_samples, mcmc_plan *plan) {
    const eqf__device *device = ctx->device;
    unsigned V = device->vector_width;
    unsigned wanted = options->num_chains > 0 ? options->num_chains : default_num_chains(device, num_samples);
    uint64_t state_bytes = ((uint64_t)wanted + V) * potential->num_particles * potential->space_dim * sizeof(float);
    if (wanted > UINT32_MAX - V || state_bytes > SIZE_MAX / 2)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%u chains are too many: use fewer", wanted);
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    plan->num_chains = wanted;
    plan->num_blocks = (wanted + V - 1) / V;
    plan->num_burn_in = options->num_burn_in > 0 ? options->num_burn_in : 4000;
    plan->thinning = options->thinning > 0 ? options->thinning : 200;
    plan->start_scale = options->start_scale > 0.0 ? options->start_scale : scales.start_sd;
    plan->target_acceptance = options->target_acceptance > 0.0 ? options->target_acceptance : DEFAULT_ACCEPTANCE;
    plan->step_size = scales.first_move;
    plan->largest_step_size = 10.0 * fmax(plan->start_scale, scales.start_sd);
    plan->num_kept = (num_samples + wanted - 1) / wanted;

    /* Sweeps are counted in the 32 bits of a Philox counter word. */
    if (plan->num_kept > (UINT32_MAX - plan->num_burn_in) / plan->thinning)
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "%zu samples from %u chains need more than 4294967295 sweeps: use more chains or less thinning",
            num_samples, wanted);
    plan->launch_sweeps = (unsigned)eqf__budget_units(ctx, iterations_per_sweep(potential), 0, MAX_LAUNCH_SWEEPS);
    if (plan->launch_sweeps == 0) return eqf__budget_refuse(ctx, "sweep", potential->num_particles, "");
    plan->num_series_chains = min_unsigned(wanted, MAX_SERIES_CHAINS);
    plan->num_series_blocks = (plan->num_series_chains + V - 1) / V;
    uint64_t series_steps = (uint64_t)plan->num_kept * plan->thinning / SERIES_INTERVAL;
    plan->num_series_steps = series_steps < MAX_SERIES_STEPS ? (unsigned)series_steps : MAX_SERIES_STEPS;
    return EQF_OK;
}

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

static unsigned clip(size_t value, size_t first, size_t count) {
    return value <= first ? 0 : value - first < count ? (unsigned)(value - first) : (unsigned)count;
}

/* Chains are counted over all ranks, and random numbers are drawn by that count: who runs a chain makes no difference. */
static eqf_status take_share(mcmc_run *run) {
    eqf_context *ctx = run->ctx;
    const mcmc_plan *plan = &run->plan;
    const unsigned V = ctx->device->vector_width, num_ranks = eqf__num_ranks(ctx);
    size_t first_block, num_blocks;
    eqf__share(ctx, plan->num_blocks, &first_block, &num_blocks);
    run->first_block = (cl_uint)first_block;
    run->num_blocks = (cl_uint)num_blocks;
    run->num_chains = clip(plan->num_chains, first_block * V, num_blocks * V);
    run->num_series_blocks = clip(plan->num_series_blocks, first_block, num_blocks);
    run->first_chains = eqf__alloc(ctx, num_ranks + 1, sizeof *run->first_chains, "the ranks' shares");
    if (run->first_chains == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned rank = 0; rank <= num_ranks; rank++) {
        size_t chain = eqf__share_begin(ctx, plan->num_blocks, rank) * V;
        run->first_chains[rank] = chain < plan->num_chains ? chain : plan->num_chains;
    }
    return EQF_OK;
}

/* items [num] of the first num chains, of which each rank has those of its own chains, complete on all. */
static eqf_status gather_chains(const mcmc_run *run, size_t num, size_t item_bytes, void *items) {
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
    char defines[EQF__POTENTIAL_DEFINES_SIZE];
    EQF__TRY(eqf__potential_program_defines(ctx, potential, defines, sizeof defines));
    const char *files[] = {"common/real.clh",    "common/philox.clh",
                           "common/random.clh",  EQF__POTENTIAL_FILES(ctx, potential),
                           "mcmc/metropolis.cl", NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "mcmc", files, defines, &program));
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
    return EQF__LAUNCH(run->ctx, &run->start, num_blocks, 0, EQF__ARG(run->x_blocked),
                       EQF__ARG(num_blocks), EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high),
                       EQF__ARG(start_scale));
}

static eqf_status report_progress(const mcmc_run *run, const char *stage) {
    if (run->options->progress == NULL) return EQF_OK;
    eqf_progress progress = {sizeof progress, stage, (double)run->num_sweeps_done, (double)run->num_sweeps_total};
    if (run->options->progress(run->options->progress_user, &progress) == 0) return EQF_OK;
    return eqf__fail(run->ctx, EQF_ERROR_INTERRUPTED, "MCMC was stopped on request after %llu of %llu sweeps",
                     (unsigned long long)run->num_sweeps_done, (unsigned long long)run->num_sweeps_total);
}

/* Takes num_sweeps sweeps in as many launches as the device needs, and counts moves. */
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
        cl_uint count = min_unsigned(num_sweeps - done, plan->launch_sweeps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->sweeps, num_blocks, 0, EQF__ARG(run->x_blocked),
                             EQF__ARG(run->accepted), EQF__ARG(run->series), EQF__ARG(num_blocks),
                             EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(first_sweep), EQF__ARG(count), EQF__ARG(step_size),
                             EQF__ARG(is_centred), EQF__ARG(series_start), EQF__ARG(series_interval),
                             EQF__ARG(num_series_steps), EQF__ARG(num_series_blocks)));
        /* The read waits for the launch, so progress is what has been done and not what has been asked for. */
        EQF__TRY(eqf__buffer_read(run->ctx, run->accepted, 0, run->num_chains * sizeof(cl_uint), run->h_accepted));
        for (unsigned chain = 0; chain < run->num_chains; chain++) run->num_accepted += run->h_accepted[chain];
        run->num_proposed += (double)count * run->num_chains * run->num_particles;
        done += count;
        run->num_sweeps_done += count;
        EQF__TRY(report_progress(run, stage));
    }
    return EQF_OK;
}

/* Accepted fraction of the moves of all chains since the last call. Counts are whole numbers, their sums exact. */
static eqf_status take_acceptance(mcmc_run *run, double *acceptance_out) {
    double counts[2] = {run->num_accepted, run->num_proposed};
    EQF__TRY(eqf__sum_doubles(run->ctx, 2, counts));
    *acceptance_out = counts[1] > 0.0 ? counts[0] / counts[1] : 0.0;
    run->num_accepted = run->num_proposed = 0.0;
    return EQF_OK;
}

/* One step size for all chains, moved towards the target acceptance by what all of them accepted in a round. Its last
 * quarter burn-in keeps the step size that sampling will have. */
static eqf_status burn_in(mcmc_run *run) {
    const mcmc_plan *plan = &run->plan;
    unsigned num_tuned = plan->num_burn_in - plan->num_burn_in / 4;
    unsigned round_sweeps = (plan->num_burn_in + NUM_BURN_IN_ROUNDS - 1) / NUM_BURN_IN_ROUNDS;
    if (round_sweeps > 50) round_sweeps = 50;
    while (run->num_sweeps_done < plan->num_burn_in) {
        unsigned left = plan->num_burn_in - (unsigned)run->num_sweeps_done;
        EQF__TRY(take_sweeps(run, "burn-in", min_unsigned(left, round_sweeps)));
        double acceptance;
        EQF__TRY(take_acceptance(run, &acceptance));
        /* The logarithm of the step follows the acceptance's error; 1.5 settles in a few rounds, as acceptance falls by
         * about 0.3 when the step grows by a factor of e. */
        if (run->num_sweeps_done <= num_tuned) run->step_size *= exp(1.5 * (acceptance - plan->target_acceptance));
        /* A potential that does not hold its particles accepts everything: the step must not grow for ever. */
        run->step_size = fmin(run->step_size, plan->largest_step_size);
    }
    return EQF_OK;
}

/* What the chains gave: x_out [count, N*D], energies [count], both float32, count at most num_chains. */
static eqf_status keep_configurations(mcmc_run *run, size_t count, float *x_out, float *energy_out) {
    cl_uint num_blocks = run->num_blocks, num_chains = run->num_chains, is_centred = run->options->is_centred;
    const size_t first = run->first_chains[run->ctx->communicator.rank], num_own = clip(count, first, num_chains);
    const size_t row_bytes = run->num_dof * sizeof(float);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->keep, num_blocks, 0, EQF__ARG(run->x_blocked),
                         EQF__ARG(run->x_kept), EQF__ARG(run->energy_kept), EQF__ARG(num_blocks), EQF__ARG(num_chains),
                         EQF__ARG(is_centred)));
    /* A rank without a chain among the first count has nothing there, not even a place. */
    float *own_x = num_own > 0 ? x_out + first * run->num_dof : x_out;
    float *own_energy = num_own > 0 ? energy_out + first : energy_out;
    EQF__TRY(eqf__buffer_read(run->ctx, run->x_kept, 0, num_own * row_bytes, own_x));
    EQF__TRY(eqf__buffer_read(run->ctx, run->energy_kept, 0, num_own * sizeof(float), own_energy));
    EQF__TRY(gather_chains(run, count, row_bytes, x_out));
    EQF__TRY(gather_chains(run, count, sizeof(float), energy_out));
    for (size_t b = 0; b < count; b++)
        if (!isfinite(energy_out[b]))
            return eqf__fail(
                run->ctx, EQF_ERROR_NON_FINITE,
                "chain %zu has energy %g after %llu sweeps: use a longer burn-in, so that overlapping particles find "
                "apart; if that does not help, look at the constants of the potential",
                b, (double)energy_out[b], (unsigned long long)run->num_sweeps_done);
    return EQF_OK;
}

/* ---- Diagnostics --------------------------------------------------------------------------------------- */

/* The energy series of the first chains, [num_series_chains, num_series_steps] double. */
static eqf_status read_series(mcmc_run *run, double **series_out) {
    const mcmc_plan *plan = &run->plan;
    size_t num_steps = plan->num_series_steps, row = (size_t)run->num_series_blocks * run->ctx->device->vector_width;
    const size_t first = run->first_chains[run->ctx->communicator.rank];
    const size_t num_own = clip(plan->num_series_chains, first, run->num_chains);
    float *raw = eqf__alloc(run->ctx, num_steps * row, sizeof(float), "the energy series");
    double *series = eqf__alloc(run->ctx, num_steps * plan->num_series_chains, sizeof(double), "the energy series");
    eqf_status status = raw == NULL || series == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf__buffer_read(run->ctx, run->series, 0, num_steps * row * sizeof(float), raw);
    if (status == EQF_OK)
        for (size_t chain = 0; chain < num_own; chain++)
            for (size_t step = 0; step < num_steps; step++)
                series[(first + chain) * num_steps + step] = (double)raw[step * row + chain];
    if (status == EQF_OK)
        status = gather_chains(run, plan->num_series_chains, num_steps * sizeof *series, series);
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

/* Split R-hat over the whole run: from the dense series where it spans the run, else from the kept energies. */
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

static eqf_status diagnose(mcmc_run *run, size_t num_samples, const float *energies, double acceptance,
                           eqf_mcmc_diagnostics *diagnostics) {
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

    /* Chains are independent of each other. Within one, kept configurations are `thinning` sweeps apart; if correlation
     * decays as exp(-2 t / tau), whose integral is tau, the sum over them is (1 + rho)/(1 - rho) = coth(thinning /
     * tau). */
    double num_independent = (double)(num_samples < plan->num_chains ? num_samples : plan->num_chains);
    diagnostics->effective_samples = num_independent;
    if (diagnostics->autocorrelation_time > 0.0)
        diagnostics->effective_samples =
            fmax(num_independent, (double)num_samples * tanh(plan->thinning / diagnostics->autocorrelation_time));
    double variance = num_samples >= 32 ? variance_of(num_samples, kept) : variance_of(num_series, series);
    diagnostics->mean_energy_standard_error = sqrt(variance / diagnostics->effective_samples);
    free(series);
    free(kept);
    return EQF_OK;
}

/* ---- The call ------------------------------------------------------------------------------------------ */

/* Nothing that is not finite leaves; and the first results of a program carry energies that the host finds too. */
static eqf_status check_results(mcmc_run *run, const eqf_potential_options *potential, size_t num_samples, const float *x,
                                const float *energies) {
    eqf_context *ctx = run->ctx;
    size_t num_bad = 0;
    for (size_t b = 0; b < num_samples; b++) {
        bool is_finite = isfinite(energies[b]);
        for (size_t c = 0; c < run->num_dof; c++) is_finite = is_finite && isfinite(x[b * run->num_dof + c]);
        num_bad += !is_finite;
    }
    if (num_bad > 0)
        return eqf__fail(ctx, EQF_ERROR_NON_FINITE,
                         "%zu of %zu samples are not finite: run eqflow selftest on this device, or check the potential's "
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
    EQF__TRY(take_acceptance(run, &acceptance)); /* those of burn-in do not count */
    for (size_t first = 0; first < num_samples; first += plan->num_chains) {
        size_t count = num_samples - first < plan->num_chains ? num_samples - first : plan->num_chains;
        EQF__TRY(take_sweeps(run, "sampling", plan->thinning));
        EQF__TRY(keep_configurations(run, count, x_out + first * run->num_dof, energies + first));
    }
    EQF__TRY(check_results(run, potential, num_samples, x_out, energies));
    EQF__TRY(take_acceptance(run, &acceptance));
    if (diagnostics_out == NULL) return EQF_OK;
    return diagnose(run, num_samples, energies, acceptance, diagnostics_out);
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
    EQF__TRY(check_options(ctx, options));
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    if (diagnostics_out != NULL) EQF__TRY(EQF__WRITE(ctx, EQF_MCMC_DIAGNOSTICS_INIT, &diagnostics, diagnostics_out));
    if (num_samples == 0) return EQF_OK;
    if (x_out == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no room for the configurations: x_out is NULL");

    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    mcmc_run run = {.ctx = ctx, .checker = checker, .options = options};
    EQF__TRY(make_plan(ctx, potential, options, num_samples, &run.plan));
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
