/* How many chains, sweeps and launches a run takes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "mcmc_internal.h"
#include "potential.h"
#include "potential_kinds.h"

/* Most sweeps in one launch: progress and Ctrl-C wait for its end. */
#define MAX_LAUNCH_SWEEPS 256u
/* Default number of configurations from a chain: sampling then takes as many sweeps as burn-in. */
#define DEFAULT_KEPT 20u
#define DEFAULT_MIN_CHAINS 64u
#define DEFAULT_MAX_CHAINS 2048u
/* The number of chains is a multiple of this on every device, so that it does not depend on the width of vectors. */
#define CHAIN_GROUP 16u
/* Measured: the energy of dw4 (lj13) decorrelates in 25 (92) sweeps at 0.15, 29 (88) at 0.2, 41 (107) at 0.3, 54 (126)
 * at 0.4. */
#define DEFAULT_ACCEPTANCE 0.2

eqf_status eqf__mcmc_check_options(eqf_context *ctx, const eqf_mcmc_options *options) {
    if (!(options->start_scale >= 0.0) || !isfinite(options->start_scale))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "start_scale is %g: it must be positive, or 0 for the default", options->start_scale);
    if (!(options->target_acceptance >= 0.0 && options->target_acceptance < 1.0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "target_acceptance is %g: it must lie between 0 and 1, or be 0 for the default",
                         options->target_acceptance);
    return EQF_OK;
}

/* Upper bound of the loop turns of one sweep: of moves, their pairs and coordinates, and of the energy. A user's
 * potential takes two whole energies for each move, each counted as a sum over pairs. */
static uint64_t iterations_per_sweep(const eqf_potential_options *potential) {
    uint64_t num_particles = potential->num_particles, turns = 2 * potential->space_dim + 2;
    uint64_t energy = eqf__potential_kind_of(potential->kind)->info.has_text ? num_particles : 1;
    return 1 + num_particles * (num_particles + 2) * turns * energy;
}

eqf_status eqf__mcmc_launch_sweeps(eqf_context *ctx, const eqf_potential_options *potential, unsigned *sweeps_out) {
    *sweeps_out = (unsigned)eqf__budget_units(ctx, iterations_per_sweep(potential), 0, MAX_LAUNCH_SWEEPS);
    return *sweeps_out > 0 ? EQF_OK : eqf__budget_refuse(ctx, "sweep", potential->num_particles, "");
}

unsigned eqf__mcmc_local_chains(const eqf_context *ctx, const eqf_potential_options *potential) {
    return eqf__potential_local_items(ctx, potential, sizeof(float));
}

eqf_status eqf__mcmc_program(eqf_context *ctx, const eqf_potential_options *potential, const char *name,
                             const char *last, eqf__program **program_out) {
    char defines[EQF__POTENTIAL_DEFINES_SIZE + 32];
    const char *files[] = {"common/real.clh",
                           "common/philox.clh",
                           "common/random.clh",
                           EQF__POTENTIAL_FILES(ctx, potential),
                           "mcmc/metropolis.cl",
                           last,
                           NULL};
    EQF__TRY(eqf__potential_program_defines(ctx, potential, defines, EQF__POTENTIAL_DEFINES_SIZE));
    const unsigned local_chains = eqf__mcmc_local_chains(ctx, potential);
    const size_t length = strlen(defines);
    if (local_chains > 0) snprintf(defines + length, sizeof defines - length, " -D LOCAL_CHAINS=%u", local_chains);
    return eqf__program_get(ctx, name, files, defines, program_out);
}

double eqf__mcmc_tuned_step(double step, double acceptance, double target, double largest) {
    return fmin(step * exp(1.5 * (acceptance - target)), largest);
}

unsigned eqf__mcmc_num_tuned(unsigned num_burn_in) {
    return num_burn_in - num_burn_in / 4;
}

/* Few long chains cost less burn-in than many short ones, and R-hat has a meaning for them. The number does not depend
 * on the device, so the same seed gives the same chains everywhere. (A GPU needs thousands of chains to be busy: there
 * give the number.) */
static unsigned default_num_chains(size_t num_samples) {
    size_t wanted = num_samples / DEFAULT_KEPT;
    if (wanted < DEFAULT_MIN_CHAINS) wanted = DEFAULT_MIN_CHAINS;
    if (wanted > DEFAULT_MAX_CHAINS) wanted = DEFAULT_MAX_CHAINS;
    if (wanted > num_samples) wanted = num_samples;
    return ((unsigned)wanted + CHAIN_GROUP - 1) / CHAIN_GROUP * CHAIN_GROUP;
}

eqf_status eqf__mcmc_make_plan(eqf_context *ctx, const eqf_potential_options *potential,
                               const eqf_mcmc_options *options, size_t num_samples, mcmc_plan *plan) {
    const eqf__device *device = ctx->device;
    unsigned V = device->vector_width;
    unsigned wanted = options->num_chains > 0 ? options->num_chains : default_num_chains(num_samples);
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
    EQF__TRY(eqf__mcmc_launch_sweeps(ctx, potential, &plan->launch_sweeps));
    plan->num_series_chains = eqf__min_unsigned(wanted, MAX_SERIES_CHAINS);
    plan->num_series_blocks = (plan->num_series_chains + V - 1) / V;
    uint64_t series_steps = (uint64_t)plan->num_kept * plan->thinning / SERIES_INTERVAL;
    plan->num_series_steps = series_steps < MAX_SERIES_STEPS ? (unsigned)series_steps : MAX_SERIES_STEPS;
    return EQF_OK;
}
