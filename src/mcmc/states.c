/* Replica exchange between states (exchange in lambda): each state has constants, a program and chains of its own, one
 * chain for each ladder; neighbours exchange configurations. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "states.h"

static void clear(states_run *run) {
    for (unsigned k = 0; k < run->num_states; k++) {
        mcmc_state *s = &run->states[k];
        eqf__kernel *kernels[] = {&s->start, &s->sweeps, &s->keep, &s->energy};
        cl_mem *buffers[] = {&s->x_blocked, &s->accepted, &s->own,   &s->of_above,
                             &s->of_below,  &s->way,      &s->swaps, &s->moves};
        for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) eqf__kernel_destroy(kernels[i]);
        for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) eqf__buffer_destroy(buffers[i]);
    }
    eqf__kernel_destroy(&run->swap);
    eqf__kernel_destroy(&run->count);
    eqf__kernel_destroy(&run->ways);
    eqf__buffer_destroy(&run->trips);
    eqf__buffer_destroy(&run->x_kept);
    eqf__buffer_destroy(&run->energy_kept);
    free(run->states);
    free(run->h_x);
    free(run->h_energy);
    free(run->h_counts);
}

/* ---- The start --------------------------------------------------------------------------------------------------- */

static eqf_status create_state(states_run *run, mcmc_state *s) {
    eqf_context *ctx = run->ctx;
    const size_t reals = run->lanes * sizeof(float), whole = run->lanes * sizeof(cl_uint);
    eqf__program *program;
    EQF__TRY(eqf__mcmc_program(ctx, s->potential, "states", "mcmc/states.cl", &program));
    s->local_chains = eqf__mcmc_local_chains(ctx, s->potential);
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_start", &s->start));
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_sweeps", &s->sweeps));
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_keep", &s->keep));
    EQF__TRY(eqf__kernel_create(ctx, program, "state_energy", &s->energy));
    if (s == run->states) {
        EQF__TRY(eqf__kernel_create(ctx, program, "state_swap", &run->swap));
        EQF__TRY(eqf__kernel_create(ctx, program, "state_count", &run->count));
        EQF__TRY(eqf__kernel_create(ctx, program, "state_ways", &run->ways));
    }
    EQF__TRY(eqf__buffer_create(ctx, reals * run->num_dof, NULL, "the chains", &s->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, whole, NULL, "the chains' acceptance", &s->accepted));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' energies", &s->own));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' energies", &s->of_above));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' energies", &s->of_below));
    EQF__TRY(eqf__buffer_create(ctx, whole, NULL, "the chains' ways", &s->way));
    EQF__TRY(eqf__buffer_create(ctx, whole, NULL, "the counts of moves", &s->moves));
    return eqf__buffer_create(ctx, whole, NULL, "the counts of exchanges", &s->swaps);
}

static eqf_status create_shared(states_run *run) {
    eqf_context *ctx = run->ctx;
    const size_t reals = run->lanes * sizeof(float);
    EQF__TRY(eqf__buffer_create(ctx, run->lanes * sizeof(cl_uint), NULL, "the round trips", &run->trips));
    EQF__TRY(eqf__buffer_create(ctx, reals * run->num_dof, NULL, "the kept configurations", &run->x_kept));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the kept energies", &run->energy_kept));
    run->h_x = eqf__alloc(ctx, run->lanes, run->num_dof * sizeof(float), "the kept configurations");
    run->h_energy = run->h_x == NULL ? NULL : eqf__alloc(ctx, run->lanes, sizeof(float), "the kept energies");
    run->h_counts = run->h_energy == NULL ? NULL : eqf__alloc(ctx, run->lanes, sizeof(cl_uint), "the counts");
    return run->h_counts == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

/* Chains as gas; those of every second ladder from the given configuration, if there is one. */
static eqf_status place_state(states_run *run, unsigned k) {
    eqf_context *ctx = run->ctx;
    mcmc_state *s = &run->states[k];
    const unsigned V = ctx->device->vector_width;
    cl_uint num_blocks = run->num_blocks, first_block = k * run->num_blocks;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    cl_float start_scale = (cl_float)s->start_scale;
    EQF__TRY(eqf__fill_zero(ctx, s->way, run->lanes * sizeof(cl_uint)));
    EQF__TRY(eqf__fill_zero(ctx, s->swaps, run->lanes * sizeof(cl_uint)));
    EQF__TRY(eqf__fill_zero(ctx, s->moves, run->lanes * sizeof(cl_uint)));
    EQF__TRY(EQF__LAUNCH(ctx, &s->start, num_blocks, 0, EQF__ARG(s->x_blocked), EQF__ARG(num_blocks),
                         EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(start_scale)));
    if (run->options->start == NULL) return EQF_OK;
    const size_t num_bytes = run->lanes * run->num_dof * sizeof(float);
    EQF__TRY(eqf__buffer_read(ctx, s->x_blocked, 0, num_bytes, run->h_x));
    for (size_t ladder = 1; ladder < run->plan.num_ladders; ladder += 2)
        for (size_t c = 0; c < run->num_dof; c++)
            run->h_x[(ladder / V * run->num_dof + c) * V + ladder % V] = run->options->start[c];
    return eqf__buffer_write(ctx, s->x_blocked, 0, num_bytes, run->h_x);
}

/* ---- Sweeps and exchanges ---------------------------------------------------------------------------------------- */

/* `own` holds the energies after the last sweep: a series of one step. */
static eqf_status sweep(states_run *run, unsigned k, unsigned num_sweeps) {
    mcmc_state *s = &run->states[k];
    cl_uint num_blocks = run->num_blocks, first_block = k * run->num_blocks, is_centred = run->options->is_centred;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    cl_uint first_sweep = (cl_uint)run->num_sweeps_done, count = num_sweeps, one = 1;
    cl_float step = s->step;
    return EQF__LAUNCH(run->ctx, &s->sweeps, num_blocks, s->local_chains, EQF__ARG(s->x_blocked), EQF__ARG(s->accepted),
                       EQF__ARG(s->own), EQF__ARG(num_blocks), EQF__ARG(first_block), EQF__ARG(seed_low),
                       EQF__ARG(seed_high), EQF__ARG(first_sweep), EQF__ARG(count), EQF__ARG(step),
                       EQF__ARG(is_centred), EQF__ARG(first_sweep), EQF__ARG(count), EQF__ARG(one),
                       EQF__ARG(num_blocks));
}

static eqf_status evaluate(states_run *run, mcmc_state *s, cl_mem x_blocked, cl_mem energy) {
    cl_uint num_blocks = run->num_blocks;
    return EQF__LAUNCH(run->ctx, &s->energy, num_blocks, s->local_chains, EQF__ARG(x_blocked), EQF__ARG(energy),
                       EQF__ARG(num_blocks));
}

static eqf_status exchange(states_run *run) {
    cl_uint num_ladders = run->plan.num_ladders, round = run->num_rounds;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    for (cl_uint k = round % 2; k + 1 < run->num_states; k += 2) {
        mcmc_state *low = &run->states[k], *high = low + 1;
        EQF__TRY(evaluate(run, low, high->x_blocked, low->of_above));
        EQF__TRY(evaluate(run, high, low->x_blocked, high->of_below));
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->swap, num_ladders, 0, EQF__ARG(low->x_blocked), EQF__ARG(high->x_blocked),
                             EQF__ARG(low->own), EQF__ARG(low->of_above), EQF__ARG(high->of_below), EQF__ARG(high->own),
                             EQF__ARG(low->way), EQF__ARG(high->way), EQF__ARG(low->swaps), EQF__ARG(num_ladders),
                             EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(round), EQF__ARG(k)));
    }
    run->num_rounds++;
    mcmc_state *last = &run->states[run->num_states - 1];
    return EQF__LAUNCH(run->ctx, &run->ways, num_ladders, 0, EQF__ARG(run->states[0].way), EQF__ARG(last->way),
                       EQF__ARG(run->trips), EQF__ARG(num_ladders));
}

/* Adds the accepted moves of the last launch. */
static eqf_status count_accepted(states_run *run, mcmc_state *s) {
    cl_uint num_ladders = run->plan.num_ladders;
    return EQF__LAUNCH(run->ctx, &run->count, num_ladders, 0, EQF__ARG(s->accepted), EQF__ARG(s->moves),
                       EQF__ARG(num_ladders));
}

/* num_sweeps is a multiple of the interval; an exchange follows each interval. */
static eqf_status take_sweeps(states_run *run, const char *stage, unsigned num_sweeps) {
    const replica_plan *plan = &run->plan;
    for (unsigned done = 0, in_round = 0; done < num_sweeps;) {
        const unsigned count = eqf__min_unsigned(plan->exchange_interval - in_round, plan->launch_sweeps);
        for (unsigned k = 0; k < run->num_states; k++) EQF__TRY(sweep(run, k, count));
        for (unsigned k = 0; k < run->num_states; k++) EQF__TRY(count_accepted(run, &run->states[k]));
        done += count;
        in_round = (in_round + count) % plan->exchange_interval;
        run->num_sweeps_done += count;
        run->num_moves += (uint64_t)count * plan->num_ladders * run->num_particles;
        if (in_round != 0) continue;
        EQF__TRY(exchange(run));
        EQF__TRY(eqf__finish(run->ctx)); /* so that the reported progress is real */
        EQF__TRY(eqf__progress(run->ctx, stage, (double)run->num_sweeps_done, (double)run->num_sweeps_total));
    }
    return EQF_OK;
}

/* The accepted fraction of moves in each state since the last call. */
static eqf_status take_acceptance(states_run *run, double *acceptance_out) {
    for (unsigned k = 0; k < run->num_states; k++) {
        const mcmc_state *s = &run->states[k];
        uint64_t num_taken = 0;
        EQF__TRY(eqf__buffer_read(run->ctx, s->moves, 0, run->plan.num_ladders * sizeof(cl_uint), run->h_counts));
        for (unsigned ladder = 0; ladder < run->plan.num_ladders; ladder++) num_taken += run->h_counts[ladder];
        acceptance_out[k] = run->num_moves > 0 ? (double)num_taken / (double)run->num_moves : 0;
        EQF__TRY(eqf__fill_zero(run->ctx, s->moves, run->lanes * sizeof(cl_uint)));
    }
    run->num_moves = 0;
    return EQF_OK;
}

static eqf_status burn_in(states_run *run) {
    const replica_plan *plan = &run->plan;
    const unsigned round = eqf__replica_round_sweeps(plan), tuned = eqf__mcmc_num_tuned(plan->num_burn_in);
    while (run->num_sweeps_done < plan->num_burn_in) {
        const unsigned left = plan->num_burn_in - (unsigned)run->num_sweeps_done;
        double acceptance[EQF_REPLICA_MAX_TEMPERATURES];
        EQF__TRY(take_sweeps(run, "burn-in", eqf__min_unsigned(left, round)));
        EQF__TRY(take_acceptance(run, acceptance));
        if (run->num_sweeps_done > tuned) continue;
        for (unsigned k = 0; k < run->num_states; k++) {
            mcmc_state *s = &run->states[k];
            s->step = eqf__replica_tuned_step(plan, s->step, acceptance[k], s->largest_step);
        }
    }
    run->first_round = run->num_rounds;
    for (unsigned k = 0; k < run->num_states; k++) {
        EQF__TRY(eqf__fill_zero(run->ctx, run->states[k].swaps, run->lanes * sizeof(cl_uint)));
        EQF__TRY(eqf__fill_zero(run->ctx, run->states[k].way, run->lanes * sizeof(cl_uint)));
    }
    return eqf__fill_zero(run->ctx, run->trips, run->lanes * sizeof(cl_uint));
}

/* Reads the configurations of the first `count` ladders as samples first ... first + count - 1 of state k. */
static eqf_status keep(states_run *run, unsigned k, size_t first, size_t count, size_t num_samples, float *x_out,
                       float *energy_out) {
    mcmc_state *s = &run->states[k];
    const size_t row = run->num_dof, sample = k * num_samples + first;
    cl_uint num_blocks = run->num_blocks, num_chains = run->plan.num_ladders, is_centred = run->options->is_centred;
    EQF__TRY(EQF__LAUNCH(run->ctx, &s->keep, num_blocks, s->local_chains, EQF__ARG(s->x_blocked), EQF__ARG(run->x_kept),
                         EQF__ARG(run->energy_kept), EQF__ARG(num_blocks), EQF__ARG(num_chains), EQF__ARG(is_centred)));
    EQF__TRY(eqf__buffer_read(run->ctx, run->x_kept, 0, count * row * sizeof(float), x_out + sample * row));
    EQF__TRY(eqf__buffer_read(run->ctx, run->energy_kept, 0, count * sizeof(float), energy_out + sample));
    for (size_t i = 0; i < count; i++) {
        bool is_finite = isfinite(energy_out[sample + i]);
        for (size_t c = 0; c < row; c++) is_finite = is_finite && isfinite(x_out[(sample + i) * row + c]);
        if (!is_finite)
            return eqf__fail(run->ctx, EQF_ERROR_NON_FINITE,
                             "a chain of state %u is not finite after %llu sweeps: use a longer burn-in, so that "
                             "overlapping particles find apart; if that does not help, look at the constants",
                             k, (unsigned long long)run->num_sweeps_done);
    }
    return EQF_OK;
}

/* ---- The call ---------------------------------------------------------------------------------------------------- */

static eqf_status run_ladders(states_run *run, size_t num_samples, float *x_out, float *energies,
                              eqf_replica_diagnostics *diagnostics) {
    const replica_plan *plan = &run->plan;
    double acceptance[EQF_REPLICA_MAX_TEMPERATURES];
    for (unsigned k = 0; k < run->num_states; k++) EQF__TRY(create_state(run, &run->states[k]));
    for (mcmc_state *low = run->states, *high = low + 1; high < run->states + run->num_states; low++, high++) {
        const eqf__state_kernels kernels = {&low->energy, &high->energy,     &run->swap,        &run->count,
                                            &run->ways,   low->local_chains, high->local_chains};
        EQF__TRY(eqf__check_states(run->checker, low->potential, high->potential, &kernels));
    }
    EQF__TRY(create_shared(run));
    for (unsigned k = 0; k < run->num_states; k++) EQF__TRY(place_state(run, k));
    EQF__TRY(eqf__fill_zero(run->ctx, run->trips, run->lanes * sizeof(cl_uint)));
    EQF__TRY(burn_in(run));
    for (size_t first = 0; first < num_samples; first += plan->num_ladders) {
        const size_t count = num_samples - first < plan->num_ladders ? num_samples - first : plan->num_ladders;
        EQF__TRY(take_sweeps(run, "sampling", plan->thinning));
        for (unsigned k = 0; k < run->num_states; k++)
            EQF__TRY(keep(run, k, first, count, num_samples, x_out, energies));
    }
    EQF__TRY(take_acceptance(run, acceptance));
    return eqf__states_diagnose(run, num_samples, x_out, energies, acceptance, diagnostics);
}

eqf_status eqf_replica_sample_states(eqf_context *ctx, unsigned num_states, const eqf_potential_options *states,
                                     const eqf_replica_options *options, size_t num_samples, float *x_out,
                                     float *energy_out, eqf_replica_diagnostics *diagnostics_out) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__checker checker = eqf__checker_of(ctx);
    return eqf__replica_sample_states(&checker, num_states, states, options, num_samples, x_out, energy_out,
                                      diagnostics_out);
}

eqf_status eqf__replica_sample_states(eqf__checker *checker, unsigned num_states, const eqf_potential_options *states,
                                      const eqf_replica_options *options, size_t num_samples, float *x_out,
                                      float *energy_out, eqf_replica_diagnostics *diagnostics_out) {
    eqf_context *ctx = checker->ctx;
    eqf_replica_options copy = EQF_REPLICA_OPTIONS_INIT;
    EQF__NOT_NULL(ctx, states);
    EQF__NOT_NULL(ctx, options);
    EQF__NOT_NULL(ctx, x_out);
    EQF__TRY(EQF__READ(ctx, EQF_REPLICA_OPTIONS_INIT, options, &copy));
    if (diagnostics_out != NULL) EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_REPLICA_DIAGNOSTICS_INIT, diagnostics_out));
    if (num_samples == 0) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_samples is 0: must be 1 or more");
    states_run run = {.ctx = ctx, .checker = checker, .options = &copy};
    eqf_status status = eqf__states_make_plan(&run, num_states, states, num_samples);
    float *energies = energy_out;
    if (status == EQF_OK && energies == NULL) {
        energies = eqf__alloc(ctx, num_samples * num_states, sizeof *energies, "the energies");
        if (energies == NULL) status = EQF_ERROR_OUT_OF_MEMORY;
    }
    eqf_replica_diagnostics diagnostics = EQF_REPLICA_DIAGNOSTICS_INIT;
    if (status == EQF_OK) status = run_ladders(&run, num_samples, x_out, energies, &diagnostics);
    clear(&run);
    if (energies != energy_out) free(energies);
    if (status != EQF_OK || diagnostics_out == NULL) return status;
    return EQF__WRITE(ctx, EQF_REPLICA_DIAGNOSTICS_INIT, &diagnostics, diagnostics_out);
}
