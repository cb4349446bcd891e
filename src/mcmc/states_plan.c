/* The plan and the diagnostics of replica exchange between states. */
#include <math.h>
#include <stdlib.h>

#include "states.h"

static eqf_status check(eqf_context *ctx, unsigned num_states, const eqf_potential_options *states,
                        const eqf_replica_options *o) {
    if (num_states < 2 || num_states > EQF_REPLICA_MAX_TEMPERATURES)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_states is %u: must be 2 ... %d", num_states,
                         EQF_REPLICA_MAX_TEMPERATURES);
    if (o->num_temperatures != 0 || o->highest_temperature != 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "states have temperatures of their own: num_temperatures and highest_temperature must be 0");
    for (unsigned k = 0; k < num_states; k++) {
        EQF__TRY(eqf_potential_check(ctx, &states[k]));
        if (states[k].num_particles != states[0].num_particles || states[k].space_dim != states[0].space_dim)
            return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                             "state %u differs from state 0 in particles or dimensions", k);
    }
    return EQF_OK;
}

eqf_status eqf__states_make_plan(states_run *run, unsigned num_states, const eqf_potential_options *states,
                                 size_t num_samples) {
    eqf_context *ctx = run->ctx;
    EQF__TRY(check(ctx, num_states, states, run->options));
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    run->states = eqf__alloc(ctx, num_states, sizeof *run->states, "the states");
    if (run->states == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    run->num_states = num_states;
    unsigned launch_sweeps = UINT32_MAX;
    for (unsigned k = num_states; k-- > 0;) { /* the plan is that of the first state, but for what is a state's own */
        eqf_replica_options options = *run->options;
        options.num_temperatures = num_states;
        options.highest_temperature = 2 * states[k].temperature;
        EQF__TRY(eqf__replica_make_plan(ctx, &states[k], &options, num_samples, &run->plan));
        run->states[k] = (mcmc_state){.potential = &states[k],
                                      .start_scale = run->plan.start_scale,
                                      .largest_step = run->plan.largest_step,
                                      .step = (float)run->plan.first_step};
        if (run->plan.launch_sweeps < launch_sweeps) launch_sweeps = run->plan.launch_sweeps;
    }
    run->plan.launch_sweeps = launch_sweeps;
    for (unsigned k = 0; k < num_states; k++) run->plan.temperatures[k] = states[k].temperature;
    const unsigned V = device->vector_width;
    run->num_particles = states[0].num_particles;
    run->num_dof = states[0].num_particles * states[0].space_dim;
    run->num_blocks = (run->plan.num_ladders + V - 1) / V;
    run->lanes = (size_t)run->num_blocks * V;
    run->num_sweeps_total = run->plan.num_burn_in + (uint64_t)run->plan.num_kept * run->plan.thinning;
    return EQF_OK;
}

/* ---- Diagnostics ------------------------------------------------------------------------------------------------- */

/* u of another state minus the own u, of num samples x [num, N, D] with energies [num]. */
static eqf_status find_work(const states_run *run, unsigned other, size_t num, const float *x, const float *energies,
                            float *scratch, double *work_out) {
    EQF__TRY(eqf_potential_evaluate(run->ctx, run->states[other].potential, num, x, scratch, NULL));
    for (size_t n = 0; n < num; n++) {
        const double work = (double)scratch[n] - (double)energies[n];
        work_out[n] = isnan(work) ? INFINITY : work;
    }
    return EQF_OK;
}

static eqf_status find_log_z(const states_run *run, size_t num, const float *x, const float *energies,
                             eqf_replica_diagnostics *diagnostics) {
    const size_t pairs = run->num_states - 1, row = run->num_dof;
    double *forward = eqf__alloc(run->ctx, 2 * pairs * num, sizeof *forward, "differences of ln Z"),
           *reverse = forward + pairs * num;
    float *scratch = forward == NULL ? NULL : eqf__alloc(run->ctx, num, sizeof *scratch, "differences of ln Z");
    eqf_status status = scratch == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    for (unsigned k = 0; k < pairs && status == EQF_OK; k++) {
        const size_t low = k * num, high = (k + 1) * num;
        status = find_work(run, k + 1, num, x + low * row, energies + low, scratch, forward + low);
        if (status == EQF_OK) status = find_work(run, k, num, x + high * row, energies + high, scratch, reverse + low);
    }
    if (status == EQF_OK)
        status = eqf__replica_log_z(run->ctx, run->num_states, run->plan.num_ladders, run->options->start != NULL, num,
                                    forward, reverse, diagnostics);
    free(forward);
    free(scratch);
    return status;
}

/* swaps_out [num_ladders, num_states] */
static eqf_status read_swaps(states_run *run, cl_uint *swaps_out) {
    for (unsigned k = 0; k < run->num_states; k++) {
        EQF__TRY(eqf__buffer_read(run->ctx, run->states[k].swaps, 0, run->lanes * sizeof(cl_uint), run->h_counts));
        for (unsigned l = 0; l < run->plan.num_ladders; l++)
            swaps_out[(size_t)l * run->num_states + k] = run->h_counts[l];
    }
    return EQF_OK;
}

eqf_status eqf__states_diagnose(states_run *run, size_t num_samples, const float *x, const float *energies,
                                const double *acceptance, eqf_replica_diagnostics *diagnostics) {
    replica_run shared = {.ctx = run->ctx,
                          .options = run->options,
                          .plan = run->plan,
                          .has_states = true,
                          .num_sweeps_done = run->num_sweeps_done,
                          .num_rounds = run->num_rounds,
                          .first_round = run->first_round};
    for (unsigned k = 0; k < run->num_states; k++) shared.h_steps[k] = run->states[k].step;
    cl_uint *swaps =
        eqf__alloc(run->ctx, (size_t)run->num_states * run->plan.num_ladders, sizeof *swaps, "the exchanges");
    if (swaps == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = read_swaps(run, swaps);
    if (status == EQF_OK)
        status = eqf__buffer_read(run->ctx, run->trips, 0, run->plan.num_ladders * sizeof(cl_uint), run->h_counts);
    if (status == EQF_OK)
        status = eqf__replica_diagnose(&shared, num_samples, energies, acceptance, swaps, run->h_counts, diagnostics);
    free(swaps);
    return status == EQF_OK ? find_log_z(run, num_samples, x, energies, diagnostics) : status;
}
