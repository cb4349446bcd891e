/* Replica exchange in temperature: ladders of chains on the device, in which neighbours exchange temperatures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "potential.h"
#include "replica_internal.h"

static void run_clear(replica_run *run) {
    eqf__kernel *kernels[] = {&run->start, &run->sweeps, &run->swap, &run->keep};
    cl_mem *buffers[] = {&run->x_blocked, &run->factor_of, &run->step_of,  &run->accepted,   &run->energy,
                         &run->factors,   &run->steps,     &run->chain_at, &run->moves,      &run->swaps,
                         &run->way,       &run->trips,     &run->x_kept,   &run->energy_kept};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    free(run->h_x);
    free(run->h_energy);
    free(run->h_counts);
}

static eqf_status create_kernels(replica_run *run, const eqf_potential_options *potential) {
    eqf_context *ctx = run->ctx;
    eqf__program *program;
    EQF__TRY(eqf__mcmc_program(ctx, potential, "replica", "mcmc/replica.cl", &program));
    run->local_chains = eqf__mcmc_local_chains(ctx, potential);
    EQF__TRY(eqf__kernel_create(ctx, program, "mcmc_start", &run->start));
    EQF__TRY(eqf__kernel_create(ctx, program, "replica_sweeps", &run->sweeps));
    EQF__TRY(eqf__kernel_create(ctx, program, "replica_swap", &run->swap));
    return eqf__kernel_create(ctx, program, "mcmc_keep", &run->keep);
}

static eqf_status create_buffers(replica_run *run) {
    eqf_context *ctx = run->ctx;
    const replica_plan *plan = &run->plan;
    const size_t lanes = (size_t)plan->num_blocks * ctx->device->vector_width, reals = lanes * sizeof(float),
                 whole = lanes * sizeof(cl_uint), slots = plan->num_chains * sizeof(cl_uint);
    EQF__TRY(eqf__buffer_create(ctx, reals * run->num_dof, NULL, "the chains", &run->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' temperatures", &run->factor_of));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' step sizes", &run->step_of));
    EQF__TRY(eqf__buffer_create(ctx, whole, NULL, "the chains' acceptance", &run->accepted));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the chains' energies", &run->energy));
    EQF__TRY(eqf__buffer_create(ctx, plan->num_temperatures * sizeof(float), NULL, "the temperatures", &run->factors));
    EQF__TRY(eqf__buffer_create(ctx, plan->num_temperatures * sizeof(float), NULL, "the step sizes", &run->steps));
    EQF__TRY(eqf__buffer_create(ctx, slots, NULL, "the ladders", &run->chain_at));
    EQF__TRY(eqf__buffer_create(ctx, slots, NULL, "the counts of moves", &run->moves));
    EQF__TRY(eqf__buffer_create(ctx, slots, NULL, "the counts of exchanges", &run->swaps));
    EQF__TRY(eqf__buffer_create(ctx, whole, NULL, "the chains' ways", &run->way));
    EQF__TRY(eqf__buffer_create(ctx, plan->num_ladders * sizeof(cl_uint), NULL, "the round trips", &run->trips));
    EQF__TRY(eqf__buffer_create(ctx, reals * run->num_dof, NULL, "the kept configurations", &run->x_kept));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "the kept energies", &run->energy_kept));
    run->h_x = eqf__alloc(ctx, lanes, run->num_dof * sizeof(float), "the kept configurations");
    run->h_energy = run->h_x == NULL ? NULL : eqf__alloc(ctx, lanes, sizeof(float), "the kept energies");
    run->h_counts = run->h_energy == NULL ? NULL : eqf__alloc(ctx, lanes, sizeof(cl_uint), "the counts");
    return run->h_counts == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

/* ---- The start --------------------------------------------------------------------------------------------------- */

/* Sets each chain to the temperature of its number, padding lanes to the lowest, and counts to zero. */
static eqf_status place_temperatures(replica_run *run) {
    eqf_context *ctx = run->ctx;
    const replica_plan *plan = &run->plan;
    const unsigned R = plan->num_temperatures;
    const size_t lanes = (size_t)plan->num_blocks * ctx->device->vector_width;
    float factors[EQF_REPLICA_MAX_TEMPERATURES];
    for (unsigned k = 0; k < R; k++) {
        factors[k] = (float)(plan->temperatures[0] / plan->temperatures[k]);
        run->h_steps[k] = (float)(plan->first_step * sqrt(plan->temperatures[k] / plan->temperatures[0]));
    }
    EQF__TRY(eqf__buffer_write(ctx, run->factors, 0, R * sizeof(float), factors));
    EQF__TRY(eqf__buffer_write(ctx, run->steps, 0, R * sizeof(float), run->h_steps));
    for (size_t chain = 0; chain < lanes; chain++)
        run->h_energy[chain] = chain < plan->num_chains ? factors[chain % R] : 1;
    EQF__TRY(eqf__buffer_write(ctx, run->factor_of, 0, lanes * sizeof(float), run->h_energy));
    for (size_t chain = 0; chain < lanes; chain++)
        run->h_energy[chain] = run->h_steps[chain < plan->num_chains ? chain % R : 0];
    EQF__TRY(eqf__buffer_write(ctx, run->step_of, 0, lanes * sizeof(float), run->h_energy));
    for (size_t chain = 0; chain < plan->num_chains; chain++) run->h_counts[chain] = (cl_uint)(chain % R);
    EQF__TRY(eqf__buffer_write(ctx, run->chain_at, 0, plan->num_chains * sizeof(cl_uint), run->h_counts));
    EQF__TRY(eqf__fill_zero(ctx, run->moves, plan->num_chains * sizeof(cl_uint)));
    EQF__TRY(eqf__fill_zero(ctx, run->swaps, plan->num_chains * sizeof(cl_uint)));
    EQF__TRY(eqf__fill_zero(ctx, run->way, lanes * sizeof(cl_uint)));
    return eqf__fill_zero(ctx, run->trips, plan->num_ladders * sizeof(cl_uint));
}

/* Starts every ladder as gas; then every second one from the given configuration, if there is one. */
static eqf_status place_chains(replica_run *run) {
    eqf_context *ctx = run->ctx;
    const replica_plan *plan = &run->plan;
    const unsigned V = ctx->device->vector_width;
    cl_uint num_blocks = plan->num_blocks, first_block = 0;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    cl_float start_scale = (cl_float)plan->start_scale;
    EQF__TRY(EQF__LAUNCH(ctx, &run->start, num_blocks, 0, EQF__ARG(run->x_blocked), EQF__ARG(num_blocks),
                         EQF__ARG(first_block), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(start_scale)));
    if (run->options->start == NULL) return EQF_OK;
    const size_t num_bytes = (size_t)num_blocks * V * run->num_dof * sizeof(float);
    EQF__TRY(eqf__buffer_read(ctx, run->x_blocked, 0, num_bytes, run->h_x));
    for (size_t chain = 0; chain < plan->num_chains; chain++)
        for (size_t c = 0; c < run->num_dof && chain / plan->num_temperatures % 2 == 1; c++)
            run->h_x[(chain / V * run->num_dof + c) * V + chain % V] = run->options->start[c];
    return eqf__buffer_write(ctx, run->x_blocked, 0, num_bytes, run->h_x);
}

/* ---- Sweeps and exchanges ---------------------------------------------------------------------------------------- */

static eqf_status exchange(replica_run *run, bool is_swapping) {
    const replica_plan *plan = &run->plan;
    cl_uint num_ladders = plan->num_ladders, num_temperatures = plan->num_temperatures, round = run->num_rounds,
            swapping = is_swapping;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    run->num_rounds += is_swapping;
    return EQF__LAUNCH(run->ctx, &run->swap, num_ladders, 0, EQF__ARG(run->energy), EQF__ARG(run->accepted),
                       EQF__ARG(run->factors), EQF__ARG(run->steps), EQF__ARG(run->factor_of), EQF__ARG(run->step_of),
                       EQF__ARG(run->chain_at), EQF__ARG(run->moves), EQF__ARG(run->swaps), EQF__ARG(run->way),
                       EQF__ARG(run->trips), EQF__ARG(num_ladders), EQF__ARG(num_temperatures), EQF__ARG(seed_low),
                       EQF__ARG(seed_high), EQF__ARG(round), EQF__ARG(swapping));
}

/* num_sweeps is a multiple of the interval; an exchange follows each interval. */
static eqf_status take_sweeps(replica_run *run, const char *stage, unsigned num_sweeps) {
    const replica_plan *plan = &run->plan;
    cl_uint num_blocks = plan->num_blocks, is_centred = run->options->is_centred;
    cl_uint seed_low = (cl_uint)run->options->seed, seed_high = (cl_uint)(run->options->seed >> 32);
    for (unsigned done = 0, in_round = 0; done < num_sweeps;) {
        cl_uint first_sweep = (cl_uint)run->num_sweeps_done;
        cl_uint count = eqf__min_unsigned(plan->exchange_interval - in_round, plan->launch_sweeps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->sweeps, num_blocks, run->local_chains, EQF__ARG(run->x_blocked),
                             EQF__ARG(run->factor_of), EQF__ARG(run->step_of), EQF__ARG(run->accepted),
                             EQF__ARG(run->energy), EQF__ARG(num_blocks), EQF__ARG(seed_low), EQF__ARG(seed_high),
                             EQF__ARG(first_sweep), EQF__ARG(count), EQF__ARG(is_centred)));
        done += count;
        in_round = (in_round + count) % plan->exchange_interval;
        EQF__TRY(exchange(run, in_round == 0));
        run->num_sweeps_done += count;
        run->num_moves += (uint64_t)count * plan->num_ladders * run->num_particles;
        if (in_round != 0) continue;
        EQF__TRY(eqf__finish(run->ctx)); /* so that the reported progress is real */
        EQF__TRY(eqf__progress(run->ctx, stage, (double)run->num_sweeps_done, (double)run->num_sweeps_total));
    }
    return EQF_OK;
}

/* The accepted fraction of moves at each temperature since the last call: acceptance_out [num_temperatures]. */
static eqf_status take_acceptance(replica_run *run, double *acceptance_out) {
    const replica_plan *plan = &run->plan;
    const size_t num_bytes = plan->num_chains * sizeof(cl_uint);
    EQF__TRY(eqf__buffer_read(run->ctx, run->moves, 0, num_bytes, run->h_counts));
    for (unsigned k = 0; k < plan->num_temperatures; k++) {
        double taken = 0;
        for (unsigned ladder = 0; ladder < plan->num_ladders; ladder++)
            taken += run->h_counts[(size_t)ladder * plan->num_temperatures + k];
        acceptance_out[k] = run->num_moves > 0 ? taken / (double)run->num_moves : 0;
    }
    run->num_moves = 0;
    return eqf__fill_zero(run->ctx, run->moves, num_bytes);
}

/* Tunes one step size for each temperature as in eqf_mcmc_sample; in the last quarter they are fixed. */
static eqf_status burn_in(replica_run *run) {
    const replica_plan *plan = &run->plan;
    const unsigned round = eqf__replica_round_sweeps(plan), tuned = eqf__mcmc_num_tuned(plan->num_burn_in);
    while (run->num_sweeps_done < plan->num_burn_in) {
        const unsigned left = plan->num_burn_in - (unsigned)run->num_sweeps_done;
        double acceptance[EQF_REPLICA_MAX_TEMPERATURES];
        EQF__TRY(take_sweeps(run, "burn-in", eqf__min_unsigned(left, round)));
        EQF__TRY(take_acceptance(run, acceptance));
        if (run->num_sweeps_done > tuned) continue;
        for (unsigned k = 0; k < plan->num_temperatures; k++)
            run->h_steps[k] = eqf__replica_tuned_step(plan, run->h_steps[k], acceptance[k], plan->largest_step);
        EQF__TRY(eqf__buffer_write(run->ctx, run->steps, 0, plan->num_temperatures * sizeof(float), run->h_steps));
    }
    run->first_round = run->num_rounds;
    EQF__TRY(eqf__fill_zero(run->ctx, run->swaps, plan->num_chains * sizeof(cl_uint)));
    EQF__TRY(eqf__fill_zero(run->ctx, run->way,
                            (size_t)plan->num_blocks * run->ctx->device->vector_width * sizeof(cl_uint)));
    return eqf__fill_zero(run->ctx, run->trips, plan->num_ladders * sizeof(cl_uint));
}

/* Reads the configurations of the first `count` ladders as samples first ... first + count - 1 of each temperature. */
static eqf_status keep(replica_run *run, size_t first, size_t count, size_t num_samples, float *x_out,
                       float *energy_out) {
    const replica_plan *plan = &run->plan;
    const size_t row = run->num_dof, R = plan->num_temperatures;
    cl_uint num_blocks = plan->num_blocks, num_chains = plan->num_chains, is_centred = run->options->is_centred;
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->keep, num_blocks, run->local_chains, EQF__ARG(run->x_blocked),
                         EQF__ARG(run->x_kept), EQF__ARG(run->energy_kept), EQF__ARG(num_blocks), EQF__ARG(num_chains),
                         EQF__ARG(is_centred)));
    EQF__TRY(eqf__buffer_read(run->ctx, run->x_kept, 0, num_chains * row * sizeof(float), run->h_x));
    EQF__TRY(eqf__buffer_read(run->ctx, run->energy_kept, 0, num_chains * sizeof(float), run->h_energy));
    EQF__TRY(eqf__buffer_read(run->ctx, run->chain_at, 0, num_chains * sizeof(cl_uint), run->h_counts));
    for (size_t ladder = 0; ladder < count; ladder++)
        for (size_t k = 0; k < R; k++) {
            const size_t chain = ladder * R + run->h_counts[ladder * R + k], sample = k * num_samples + first + ladder;
            bool is_finite = isfinite(run->h_energy[chain]);
            for (size_t c = 0; c < row; c++) is_finite = is_finite && isfinite(run->h_x[chain * row + c]);
            if (!is_finite)
                return eqf__fail(run->ctx, EQF_ERROR_NON_FINITE,
                                 "a chain at temperature %g is not finite after %llu sweeps: use a longer burn-in, so "
                                 "that overlapping "
                                 "particles find apart; if that does not help, look at the constants of the potential",
                                 plan->temperatures[k], (unsigned long long)run->num_sweeps_done);
            memcpy(x_out + sample * row, run->h_x + chain * row, row * sizeof *x_out);
            energy_out[sample] = run->h_energy[chain];
        }
    return EQF_OK;
}

/* ---- The call ---------------------------------------------------------------------------------------------------- */

static eqf_status diagnose(replica_run *run, size_t num_samples, const float *energies, const double *acceptance,
                           eqf_replica_diagnostics *diagnostics) {
    const replica_plan *plan = &run->plan;
    cl_uint *trips = eqf__alloc(run->ctx, plan->num_ladders, sizeof *trips, "the round trips");
    if (trips == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(run->ctx, run->trips, 0, plan->num_ladders * sizeof *trips, trips);
    if (status == EQF_OK)
        status = eqf__buffer_read(run->ctx, run->swaps, 0, plan->num_chains * sizeof(cl_uint), run->h_counts);
    if (status == EQF_OK)
        status = eqf__replica_diagnose(run, num_samples, energies, acceptance, run->h_counts, trips, diagnostics);
    free(trips);
    return status;
}

static eqf_status run_ladders(replica_run *run, const eqf_potential_options *potential, size_t num_samples,
                              float *x_out, float *energies, eqf_replica_diagnostics *diagnostics) {
    const replica_plan *plan = &run->plan;
    eqf__replica_kernels kernels = {&run->sweeps, &run->swap, 0};
    double acceptance[EQF_REPLICA_MAX_TEMPERATURES];
    EQF__TRY(create_kernels(run, potential));
    kernels.group_size = run->local_chains;
    EQF__TRY(eqf__check_replicas(run->checker, potential, &kernels));
    EQF__TRY(create_buffers(run));
    EQF__TRY(place_temperatures(run));
    EQF__TRY(place_chains(run));
    EQF__TRY(burn_in(run));
    for (size_t first = 0; first < num_samples; first += plan->num_ladders) {
        const size_t count = num_samples - first < plan->num_ladders ? num_samples - first : plan->num_ladders;
        EQF__TRY(take_sweeps(run, "sampling", plan->thinning));
        EQF__TRY(keep(run, first, count, num_samples, x_out, energies));
    }
    EQF__TRY(take_acceptance(run, acceptance));
    return diagnose(run, num_samples, energies, acceptance, diagnostics);
}

eqf_status eqf_replica_sample(eqf_context *ctx, const eqf_potential_options *potential,
                              const eqf_replica_options *options, size_t num_samples, float *x_out, float *energy_out,
                              eqf_replica_diagnostics *diagnostics_out) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__checker checker = eqf__checker_of(ctx);
    return eqf__replica_sample(&checker, potential, options, num_samples, x_out, energy_out, diagnostics_out);
}

eqf_status eqf__replica_sample(eqf__checker *checker, const eqf_potential_options *potential,
                               const eqf_replica_options *options, size_t num_samples, float *x_out, float *energy_out,
                               eqf_replica_diagnostics *diagnostics_out) {
    eqf_context *ctx = checker->ctx;
    eqf_replica_options copy = EQF_REPLICA_OPTIONS_INIT;
    EQF__NOT_NULL(ctx, options);
    EQF__NOT_NULL(ctx, x_out);
    EQF__TRY(EQF__READ(ctx, EQF_REPLICA_OPTIONS_INIT, options, &copy));
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (diagnostics_out != NULL) EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_REPLICA_DIAGNOSTICS_INIT, diagnostics_out));
    if (num_samples == 0) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_samples is 0: must be 1 or more");
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    replica_run run = {.ctx = ctx, .checker = checker, .options = &copy};
    EQF__TRY(eqf__replica_make_plan(ctx, potential, &copy, num_samples, &run.plan));
    run.num_particles = potential->num_particles;
    run.num_dof = potential->num_particles * potential->space_dim;
    run.num_sweeps_total = run.plan.num_burn_in + (uint64_t)run.plan.num_kept * run.plan.thinning;
    float *energies = energy_out;
    if (energies == NULL) {
        energies = eqf__alloc(ctx, num_samples * run.plan.num_temperatures, sizeof *energies, "the energies");
        if (energies == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    }
    eqf_replica_diagnostics diagnostics = EQF_REPLICA_DIAGNOSTICS_INIT;
    const eqf_status status = run_ladders(&run, potential, num_samples, x_out, energies, &diagnostics);
    run_clear(&run);
    if (energies != energy_out) free(energies);
    if (status != EQF_OK || diagnostics_out == NULL) return status;
    return EQF__WRITE(ctx, EQF_REPLICA_DIAGNOSTICS_INIT, &diagnostics, diagnostics_out);
}
