/* From the start to the target. A pilot run chooses betas and step sizes; the repeats use them unchanged, so that no
 * choice depends on the walkers whose average is taken. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annealer.h"

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static eqf_status check_options(eqf_context *ctx, eqf_anneal_options *o) {
    if (o->num_walkers == 0) o->num_walkers = 8192;
    if (o->num_repeats == 0) o->num_repeats = 16;
    if (o->num_pilot == 0) o->num_pilot = 1024;
    if (o->num_latent_moves == 0) o->num_latent_moves = 2;
    if (o->num_langevin_moves == 0) o->num_langevin_moves = 3;
    if (o->ess_decay == 0) o->ess_decay = 0.9;
    if (o->resample_below == 0) o->resample_below = 0.5;
    if (o->max_steps == 0) o->max_steps = 2000;
    if (o->has_no_latent_moves) o->num_latent_moves = 0;
    if (o->has_no_langevin_moves) o->num_langevin_moves = 0;
    const struct {
        bool is_good;
        const char *message;
    } rules[] = {
        {o->num_repeats >= 2 && o->num_repeats <= 4096, "num_repeats must be 2 ... 4096: their spread is the error"},
        {o->num_walkers >= 2 * (size_t)o->num_repeats, "num_walkers must be at least 2 for each repeat"},
        {o->num_walkers <= ((size_t)1 << 28), "num_walkers must be at most 268435456"},
        {o->num_pilot >= 16 && o->num_pilot <= ((size_t)1 << 28), "num_pilot must be 16 ... 268435456"},
        {o->num_latent_moves <= 1000 && o->num_langevin_moves <= 1000 && o->num_particle_sweeps <= 1000,
         "at most 1000 moves of a kind at each step"},
        {o->num_latent_moves > 0 || o->num_langevin_moves > 0 || o->num_particle_sweeps > 0,
         "without moves this is reweighting: use `eqf_estimate_weights`"},
        {o->ess_decay > 0 && o->ess_decay < 1, "ess_decay must lie between 0 and 1"},
        {o->resample_below > 0 && o->resample_below <= 1, "resample_below must lie in (0, 1]"},
        {o->max_steps <= 1000000, "max_steps must be at most 1000000"},
    };
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        if (!rules[r].is_good) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s", rules[r].message);
    o->num_walkers = (o->num_walkers + o->num_repeats - 1) / o->num_repeats * o->num_repeats;
    return EQF_OK;
}

static eqf_status create_walkers(eqf_annealer *a, size_t num) {
    const eqf__anneal_system *s = &a->system;
    EQF__TRY(eqf__walkers_create(s->ctx, num, s->num_dof, s->has_latents, s->has_forces, &a->walkers));
    a->energy_before = eqf__alloc(s->ctx, num, sizeof *a->energy_before, "the walkers");
    if (a->energy_before == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    return eqf__walkers_create(s->ctx, num, s->num_dof, s->has_latents, s->has_forces, &a->proposed);
}

static void clear_walkers(eqf_annealer *a) {
    eqf__walkers_clear(&a->walkers);
    eqf__walkers_clear(&a->proposed);
    free(a->energy_before);
    a->energy_before = NULL;
}

static eqf_status create(eqf_context *ctx, const eqf_potential_options *target, const eqf_anneal_options *options,
                         bool is_from_flow, eqf_annealer **annealer_out) {
    eqf_annealer *a = eqf__alloc(ctx, 1, sizeof *a, "the annealer");
    if (a == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    *annealer_out = a;
    a->options = (eqf_anneal_options)EQF_ANNEAL_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_ANNEAL_OPTIONS_INIT, options, &a->options));
    EQF__TRY(check_options(ctx, &a->options));
    EQF__TRY(eqf_potential_check(ctx, target));
    bool has_moves = false, has_forces = false;
    for (const eqf__anneal_kind *kind = eqf__anneal_kinds; kind < eqf__anneal_kinds + EQF__ANNEAL_NUM_KINDS; kind++) {
        unsigned *num = eqf__anneal_num_moves(&a->options, kind);
        if (kind->needs_latents && !is_from_flow) *num = 0;
        has_moves = has_moves || *num > 0;
        has_forces = has_forces || (*num > 0 && kind->needs_forces);
    }
    if (!has_moves)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "from a potential there are no latents to move: allow Langevin moves or sweeps of particles");
    a->system = (eqf__anneal_system){.ctx = ctx,
                                     .target = *target,
                                     .num_dof = (size_t)target->num_particles * target->space_dim,
                                     .num_particles = target->num_particles,
                                     .space_dim = target->space_dim,
                                     .has_latents = is_from_flow,
                                     .has_forces = has_forces};
    a->schedule = eqf__alloc(ctx, a->options.max_steps, sizeof *a->schedule, "the temperatures");
    a->log_z = eqf__alloc(ctx, a->options.num_repeats, sizeof *a->log_z, "the repeats");
    a->family = eqf__alloc(ctx, a->options.num_repeats, sizeof *a->family, "the repeats");
    a->is_pilot = true;
    return a->schedule == NULL || a->log_z == NULL || a->family == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

static eqf_status finish_create(eqf_status status, eqf_annealer **annealer) {
    if (status == EQF_OK) status = create_walkers(*annealer, (*annealer)->options.num_pilot);
    if (status != EQF_OK) eqf_annealer_destroy(annealer);
    return status;
}

eqf_status eqf_annealer_create(eqf_context *ctx, eqf_flow *flow, const eqf_potential_options *target,
                               const eqf_anneal_options *options, eqf_annealer **annealer_out) {
    EQF__NOT_NULL(ctx, annealer_out);
    *annealer_out = NULL;
    EQF__NOT_NULL(NULL, ctx);
    EQF__NOT_NULL(ctx, flow);
    EQF__NOT_NULL(ctx, target);
    if (eqf_flow_num_dof(flow) != (size_t)target->num_particles * target->space_dim)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the flow has %zu coordinates, the target %u particles in %u dimensions",
                         eqf_flow_num_dof(flow), target->num_particles, target->space_dim);
    eqf_status status = create(ctx, target, options, true, annealer_out);
    if (status == EQF_OK) (*annealer_out)->system.start.flow = flow;
    return finish_create(status, annealer_out);
}

eqf_status eqf_annealer_create_from_samples(eqf_context *ctx, const eqf_potential_options *start, size_t num,
                                            const float *x, const eqf_potential_options *target,
                                            const eqf_anneal_options *options, eqf_annealer **annealer_out) {
    EQF__NOT_NULL(ctx, annealer_out);
    *annealer_out = NULL;
    EQF__NOT_NULL(NULL, ctx);
    EQF__NOT_NULL(ctx, start);
    EQF__NOT_NULL(ctx, x);
    EQF__NOT_NULL(ctx, target);
    EQF__TRY(eqf_potential_check(ctx, start));
    if (start->num_particles != target->num_particles || start->space_dim != target->space_dim)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "start and target differ in particles or dimensions");
    eqf_status status = create(ctx, target, options, false, annealer_out);
    if (status != EQF_OK) return finish_create(status, annealer_out);
    eqf_annealer *a = *annealer_out;
    eqf__anneal_start *s = &a->system.start;
    if (num < a->options.num_repeats + 1) {
        status = eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                           "%zu samples are too few: the pilot run and each of %u repeats need one", num,
                           a->options.num_repeats);
        return finish_create(status, annealer_out);
    }
    s->potential = *start;
    s->num_samples = num;
    s->x = eqf__alloc(ctx, num, a->system.num_dof * sizeof *x, "the samples of the start");
    if (s->x == NULL) return finish_create(EQF_ERROR_OUT_OF_MEMORY, annealer_out);
    memcpy(s->x, x, num * a->system.num_dof * sizeof *x);
    return finish_create(EQF_OK, annealer_out);
}

void eqf_annealer_destroy(eqf_annealer **annealer) {
    if (annealer == NULL || *annealer == NULL) return;
    eqf_annealer *dying = *annealer;
    clear_walkers(dying);
    eqf__anneal_clear_particles(&dying->system);
    free(dying->system.start.x);
    free(dying->schedule);
    free(dying->log_z);
    free(dying->family);
    free(dying);
    *annealer = NULL;
}

/* ---- A step in beta ---------------------------------------------------------------------------------------------- */

/* Begins a run: new walkers at beta 0, with forces if moves need them. */
static eqf_status begin(eqf_annealer *a) {
    const unsigned num_repeats = a->is_pilot ? 1 : a->options.num_repeats;
    const size_t num = a->walkers.num / num_repeats;
    for (unsigned r = 0; r < num_repeats; r++) {
        eqf__walkers part = eqf__walkers_view(&a->walkers, r * num, num);
        const eqf__anneal_place place = {a->options.seed, EQF__ANNEAL_DRAW, a->is_pilot, r};
        EQF__TRY(eqf__anneal_draw(&a->system, eqf__anneal_seed(place), a->is_pilot ? 0 : r + 1,
                                  a->options.num_repeats + 1, &part));
        a->log_z[r] = 0;
        a->family[r] = eqf__anneal_first_family(a, num);
    }
    a->has_begun = true;
    return EQF_OK;
}

/* The largest step that reduces the effective sample size by the factor ess_decay, found by bisection. The ESS is that
 * of the cumulative weights; that of the increments would leave out earlier losses. */
static double find_delta(const eqf_annealer *a) {
    const double rest = 1 - a->beta;
    const size_t num = a->walkers.num;
    /* Walkers with zero density in the target lose their weight at any step: the reference is a tiny step. */
    const double least = rest * 1e-15;
    const double wanted = a->options.ess_decay * eqf__anneal_ess_after(&a->walkers, 0, num, least);
    if (eqf__anneal_ess_after(&a->walkers, 0, num, rest) >= wanted) return rest;
    /* Bisection in the logarithm, because a bad start may need very small steps. */
    double low = log(least), high = log(rest);
    for (unsigned turn = 0; turn < 60; turn++) {
        const double middle = 0.5 * (low + high);
        if (eqf__anneal_ess_after(&a->walkers, 0, num, exp(middle)) >= wanted)
            low = middle;
        else
            high = middle;
    }
    return exp(low);
}

/* Resamples a repeat if the ESS of its weights is low; the mean weight goes into its ln Z. */
static bool resample(eqf_annealer *a, unsigned r, size_t begin, size_t num, size_t *parents) {
    if (eqf__anneal_ess_after(&a->walkers, begin, num, 0) >= a->options.resample_below) return false;
    const eqf__anneal_place place = {a->options.seed, EQF__ANNEAL_RESAMPLE, a->step, a->is_pilot};
    eqf__anneal_resample(num, a->walkers.log_weight + begin, eqf__anneal_uniform(place, r), num, parents);
    a->family[r] += eqf__anneal_copies(num, parents) - 1;
    a->log_z[r] += eqf__anneal_log_mean_weight(&a->walkers, begin, num);
    for (size_t w = 0; w < num; w++) eqf__walkers_copy(&a->walkers, begin + parents[w], &a->proposed, begin + w);
    for (size_t w = begin; w < begin + num; w++) {
        eqf__walkers_copy(&a->proposed, w, &a->walkers, w);
        a->walkers.log_weight[w] = 0;
    }
    return true;
}

static eqf_status reweigh(eqf_annealer *a, double delta, eqf_anneal_state *state) {
    const unsigned num_repeats = a->is_pilot ? 1 : a->options.num_repeats;
    const size_t num = a->walkers.num / num_repeats;
    size_t *parents = eqf__alloc(a->system.ctx, num, sizeof *parents, "the resampling");
    if (parents == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    unsigned num_resampled = 0;
    for (unsigned r = 0; r < num_repeats; r++) {
        eqf__anneal_reweigh(&a->walkers, r * num, num, delta);
        const double ess = eqf__anneal_ess_after(&a->walkers, r * num, num, 0);
        if (!(ess > 0)) {
            free(parents);
            return eqf__fail(
                a->system.ctx, EQF_ERROR_NON_FINITE,
                "no walker has any weight at beta %.3g: the start does not reach the target, or its log-densities are "
                "not finite",
                a->beta + delta);
        }
        state->ess_fraction += ess / num_repeats;
        num_resampled += resample(a, r, r * num, num, parents);
    }
    free(parents);
    state->resampled_fraction = (double)num_resampled / num_repeats;
    return EQF_OK;
}

/* In the pilot run sizes are tuned to the kind's acceptance. */
static void tune(const eqf__anneal_kind *kind, double *size, double acceptance) {
    *size = fmin(*size * exp(2 * (acceptance - kind->wanted_acceptance)), kind->most_size);
}

/* The moves of a kind; *acceptance_out: their mean, NaN if there are none. */
static eqf_status move_kind(eqf_annealer *a, const eqf__anneal_kind *kind, double *size, double *acceptance_out) {
    /* At the first step of the pilot run sizes are a guess: more moves, to tune them. */
    const unsigned factor = a->is_pilot && a->step == 0 ? kind->first_factor : 1,
                   num = factor * *eqf__anneal_num_moves(&a->options, kind);
    double acceptance, sum = 0;
    for (unsigned m = 0; m < num; m++) {
        const eqf__anneal_place place = {a->options.seed, kind->purpose, a->step << 1 | a->is_pilot, m};
        EQF__TRY(kind->move(&a->system, &a->walkers, &a->proposed, a->beta, *size, place, &acceptance));
        if (a->is_pilot) tune(kind, size, acceptance);
        sum += acceptance;
    }
    *acceptance_out = num > 0 ? sum / num : NAN;
    return EQF_OK;
}

static double *number_in(eqf_anneal_state *state, size_t offset) {
    return (double *)(void *)((char *)state + offset);
}

static eqf_status move(eqf_annealer *a, eqf_anneal_state *state) {
    double *sizes = a->schedule[a->step].sizes;
    bool has_forces = a->step > 0; /* whether the walkers' forces are those of their places */
    for (unsigned k = 0; k < EQF__ANNEAL_NUM_KINDS; k++) {
        const eqf__anneal_kind *kind = &eqf__anneal_kinds[k];
        const bool has_moves = *eqf__anneal_num_moves(&a->options, kind) > 0;
        if (has_moves && kind->needs_forces && !has_forces) EQF__TRY(eqf__anneal_evaluate(&a->system, &a->walkers));
        EQF__TRY(move_kind(a, kind, &sizes[k], number_in(state, kind->acceptance_at)));
        if (has_moves && kind->is_partial) EQF__TRY(eqf__anneal_evaluate(&a->system, &a->walkers));
        if (has_moves) has_forces = kind->keeps_forces || kind->is_partial;
        *number_in(state, kind->state_size_at) = sizes[k];
    }
    return EQF_OK;
}

/* Mean square of a coordinate, the unit of the first sizes. */
static double mean_square(const eqf__walkers *walkers) {
    double sum = 0, num = 0;
    for (size_t c = 0; c < walkers->num * walkers->num_dof; c++) {
        if (!isfinite(walkers->x[c])) continue;
        sum += (double)walkers->x[c] * walkers->x[c];
        num++;
    }
    return num > 0 && sum > 0 ? sum / num : 1;
}

/* Chooses the pilot run's next step. */
static eqf_status plan(eqf_annealer *a) {
    if (a->step == a->options.max_steps)
        return eqf__fail(
            a->system.ctx, EQF_ERROR_NON_FINITE,
            "the pilot run reached beta %.3g only in %u steps: use more pilot walkers, more moves, or a better start",
            a->beta, a->options.max_steps);
    eqf__anneal_step *now = &a->schedule[a->step];
    if (a->step > 0) *now = a->schedule[a->step - 1];
    for (unsigned k = 0; k < EQF__ANNEAL_NUM_KINDS && a->step == 0; k++) {
        const eqf__anneal_kind *kind = &eqf__anneal_kinds[k];
        now->sizes[k] = kind->first_size * pow(mean_square(&a->walkers), 0.5 * kind->size_power);
    }
    now->delta = find_delta(a);
    return EQF_OK;
}

static double log_z_so_far(const eqf_annealer *a) {
    eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
    eqf__anneal_summarise(a, &result);
    return result.log_z;
}

eqf_status eqf_annealer_advance(eqf_annealer *a, eqf_anneal_state *state_out) {
    EQF__NOT_NULL(NULL, a);
    if (state_out != NULL) EQF__TRY(EQF__CHECK_SIZE(a->system.ctx, EQF_ANNEAL_STATE_INIT, state_out));
    if (a->is_done) return eqf__fail(a->system.ctx, EQF_ERROR_INVALID_ARGUMENT, "this annealing is done");
    eqf_anneal_state state = EQF_ANNEAL_STATE_INIT;
    if (!a->has_begun) EQF__TRY(begin(a));
    if (a->is_pilot) EQF__TRY(plan(a));
    const eqf__anneal_step *now = &a->schedule[a->step];
    EQF__TRY(reweigh(a, now->delta, &state));
    a->beta = a->is_pilot && a->beta + now->delta >= 1 - 1e-15 ? 1 : a->is_pilot ? a->beta + now->delta : now->beta;
    if (a->is_pilot) a->schedule[a->step].beta = a->beta;
    memcpy(a->energy_before, a->walkers.energy, a->walkers.num * sizeof *a->energy_before);
    EQF__TRY(move(a, &state));
    eqf__anneal_measure_moves(a, &state);
    a->step++;
    state.is_pilot = a->is_pilot;
    state.step = a->step;
    state.num_steps = a->num_steps;
    state.beta = a->beta;
    state.log_z = log_z_so_far(a);
    if (a->beta == 1) {
        if (a->is_pilot) { /* the repeats follow its schedule */
            a->num_steps = a->step;
            clear_walkers(a);
            EQF__TRY(create_walkers(a, a->options.num_walkers));
            a->is_pilot = a->has_begun = false;
            a->step = 0;
            a->beta = 0;
        } else {
            a->is_done = state.is_done = true;
        }
    }
    state.energy_evaluations = a->system.costs.energies;
    state.log_prob_evaluations = a->system.costs.log_probs;
    state.score_evaluations = a->system.costs.scores;
    return state_out != NULL ? EQF__WRITE(a->system.ctx, EQF_ANNEAL_STATE_INIT, &state, state_out) : EQF_OK;
}
