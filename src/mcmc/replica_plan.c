/* How many ladders, which temperatures, how many sweeps. */
#include <math.h>

#include "potential_kinds.h"
#include "replica_internal.h"

enum { DEFAULT_LADDERS = 16, MOST_DEFAULT_LADDERS = 256, DEFAULT_KEPT = 20 };

static eqf_status check_options(eqf_context *ctx, const eqf_potential_options *potential,
                                const eqf_replica_options *o) {
    if (o->num_temperatures == 1 || o->num_temperatures > EQF_REPLICA_MAX_TEMPERATURES)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_temperatures is %u: must be 2 ... %d",
                         o->num_temperatures, EQF_REPLICA_MAX_TEMPERATURES);
    if (!(o->highest_temperature > potential->temperature) || !isfinite(o->highest_temperature))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "highest_temperature is %g: must be above the potential's temperature, %g",
                         o->highest_temperature, potential->temperature);
    if (!(o->start_scale >= 0.0) || !isfinite(o->start_scale))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "start_scale is %g: it must be positive, or 0 for the default", o->start_scale);
    if (!(o->target_acceptance >= 0.0 && o->target_acceptance < 1.0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "target_acceptance is %g: it must lie between 0 and 1, or be 0 for the default",
                         o->target_acceptance);
    if (o->start != NULL && o->num_ladders % 2 != 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "num_ladders is %u: must be even where half of them begin from a configuration",
                         o->num_ladders);
    return EQF_OK;
}

/* Rounds up to a multiple of the interval, so that configurations are kept after a whole round. */
static uint64_t round_up(uint64_t sweeps, uint64_t interval) {
    return (sweeps + interval - 1) / interval * interval;
}

static unsigned ladders_for(size_t num_samples) {
    size_t wanted = num_samples / DEFAULT_KEPT;
    if (wanted < DEFAULT_LADDERS) wanted = DEFAULT_LADDERS;
    if (wanted > MOST_DEFAULT_LADDERS) wanted = MOST_DEFAULT_LADDERS;
    return (unsigned)(wanted + 1) / 2 * 2;
}

eqf_status eqf__replica_make_plan(eqf_context *ctx, const eqf_potential_options *potential,
                                  const eqf_replica_options *o, size_t num_samples, replica_plan *plan) {
    EQF__TRY(check_options(ctx, potential, o));
    const unsigned V = ctx->device->vector_width;
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    const unsigned R = o->num_temperatures > 0 ? o->num_temperatures : 8;
    const uint64_t interval = o->exchange_interval > 0 ? o->exchange_interval : 10;
    const uint64_t burn_in = round_up(o->num_burn_in > 0 ? o->num_burn_in : 4000, interval),
                   thinning = round_up(o->thinning > 0 ? o->thinning : 200, interval);
    plan->num_temperatures = R;
    plan->num_ladders = o->num_ladders > 0 ? o->num_ladders : ladders_for(num_samples);
    const uint64_t num_chains = (uint64_t)R * plan->num_ladders,
                   bytes = (num_chains + V) * potential->num_particles * potential->space_dim * sizeof(float);
    if (num_chains > UINT32_MAX - V || bytes > SIZE_MAX / 2)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%u ladders are too many: use fewer", plan->num_ladders);
    plan->num_chains = (unsigned)num_chains;
    plan->num_blocks = (plan->num_chains + V - 1) / V;
    plan->num_kept = (num_samples + plan->num_ladders - 1) / plan->num_ladders;
    /* Sweeps are counted in the 32 bits of a Philox counter word, moves of a chain in 32 bits of a count. */
    const uint64_t most = UINT32_MAX / potential->num_particles;
    if (burn_in > most || thinning > most || plan->num_kept > (most - burn_in) / thinning)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "%zu samples from %u ladders need too many sweeps: use more ladders or less thinning",
                         num_samples, plan->num_ladders);
    plan->num_burn_in = (unsigned)burn_in;
    plan->thinning = (unsigned)thinning;
    plan->exchange_interval = (unsigned)interval;
    plan->start_scale = o->start_scale > 0.0 ? o->start_scale : scales.start_sd;
    plan->target_acceptance = o->target_acceptance > 0.0 ? o->target_acceptance : 0.2;
    plan->first_step = scales.first_move;
    plan->largest_step = 10.0 * fmax(plan->start_scale, scales.start_sd);
    for (unsigned k = 0; k < R; k++)
        plan->temperatures[k] =
            potential->temperature * pow(o->highest_temperature / potential->temperature, (double)k / (double)(R - 1));
    return eqf__mcmc_launch_sweeps(ctx, potential, &plan->launch_sweeps);
}

/* Burn-in has about this many adjustments of the step sizes, in its first three quarters. */
enum { NUM_TUNED_ROUNDS = 80 };

unsigned eqf__replica_round_sweeps(const replica_plan *plan) {
    const unsigned interval = plan->exchange_interval;
    const unsigned round = (plan->num_burn_in / NUM_TUNED_ROUNDS + interval - 1) / interval * interval;
    return round > interval ? round : interval;
}

float eqf__replica_tuned_step(const replica_plan *plan, float step, double acceptance, double largest) {
    return (float)eqf__mcmc_tuned_step((double)step, acceptance, plan->target_acceptance, largest);
}
