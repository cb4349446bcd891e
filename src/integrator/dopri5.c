#include "dopri5.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "integrator_options.h"

/* As in cl/integrator/dormand_prince.cl. */
enum { CONTROL_SIZE = 8, AT_ACCEPTED = 4, AT_REJECTED = 5, AT_STATUS = 6, STATUS_DONE = 1 };
enum { EVALUATIONS_PER_STEP = 6 };

/* ---- Options ----------------------------------------------------------------------------------------------------- */

const char *const eqf__error_norm_names[] = {
    [EQF_ERROR_NORM_STATE_AND_LOG_DET] = "state_and_log_det", [EQF_ERROR_NORM_STATE] = "state", NULL};

const eqf_option eqf__dopri5_options[] = {
    EQF__RTOL_OPTION(eqf_flow_options),
    EQF__ATOL_OPTION(eqf_flow_options),
    EQF__MAX_STEPS_OPTION(eqf_flow_options),
    EQF__ERROR_NORM_OPTION(eqf_flow_options),
    EQF__OPTIONS_END,
};

/* ---- Systems ----------------------------------------------------------------------------------------------------- */

static void release_buffers(eqf__dopri5_system *system) {
    eqf__buffer_destroy(&system->d_state);
    eqf__buffer_destroy(&system->d_slope);
    eqf__buffer_destroy(&system->d_carry);
    eqf__buffer_destroy(&system->d_control);
    eqf__buffer_destroy(&system->d_num_running);
    system->max_blocks = 0;
}

static void system_clear(const eqf__dopri5 *dopri5, eqf__dopri5_system *system) {
    release_buffers(system);
    dopri5->engine->clear_system(system);
    eqf__kernel_destroy(&system->put);
    eqf__kernel_destroy(&system->take);
}

static eqf_status system_create(eqf__dopri5 *dopri5, bool is_adjoint, eqf__dopri5_system *system_out) {
    const size_t num_dof = eqf__solver_dof(&dopri5->base);
    system_out->state_size = is_adjoint ? 2 * num_dof : num_dof + 1; /* x and its adjoint; or x and log_det */
    system_out->items_per_block = 1;
    return dopri5->engine->create_system(dopri5, is_adjoint, system_out);
}

/* Makes the system's buffers large enough for num_blocks blocks. */
static eqf_status make_room(eqf__dopri5 *dopri5, eqf__dopri5_system *system, size_t num_blocks) {
    if (system->max_blocks >= num_blocks) return EQF_OK;
    eqf_context *ctx = dopri5->base.ctx;
    release_buffers(system);
    const size_t lanes = num_blocks * dopri5->base.real.vector_width * sizeof(float),
                 state = lanes * system->state_size;
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_state));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_slope));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_carry));
    EQF__TRY(eqf__buffer_create(ctx, lanes * CONTROL_SIZE, NULL, "the step sizes", &system->d_control));
    EQF__TRY(eqf__buffer_create(ctx, sizeof(cl_uint), NULL, "a count", &system->d_num_running));
    system->max_blocks = num_blocks;
    return EQF_OK;
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

static eqf_status put(const eqf__dopri5 *dopri5, const eqf__dopri5_system *system, size_t num_blocks, cl_mem d_source,
                      cl_uint first, size_t count, float scale) {
    const size_t num_items = num_blocks * system->items_per_block;
    cl_uint items = (cl_uint)num_items, numbers = (cl_uint)count;
    return EQF__LAUNCH(dopri5->base.ctx, &system->put, num_items, 0, EQF__ARG(d_source), EQF__ARG(system->d_state),
                       EQF__ARG(first), EQF__ARG(numbers), EQF__ARG(scale), EQF__ARG(items));
}

static eqf_status take(const eqf__dopri5 *dopri5, const eqf__dopri5_system *system, size_t num_blocks, cl_mem d_target,
                       cl_uint first, size_t count, float scale, bool is_added) {
    const size_t num_items = num_blocks * system->items_per_block;
    cl_uint items = (cl_uint)num_items, numbers = (cl_uint)count, added = is_added;
    return EQF__LAUNCH(dopri5->base.ctx, &system->take, num_items, 0, EQF__ARG(system->d_state),
                       EQF__ARG(system->d_control), EQF__ARG(d_target), EQF__ARG(first), EQF__ARG(numbers),
                       EQF__ARG(scale), EQF__ARG(added), EQF__ARG(items));
}

static void count_range(eqf_step_range *range, float value) {
    const uint64_t steps = (uint64_t)value;
    if (steps < range->min) range->min = steps;
    if (steps > range->max) range->max = steps;
    range->total += steps;
}

/* Adds the steps of the first num_samples to the statistics. */
static eqf_status count_steps(eqf__dopri5 *dopri5, const eqf__dopri5_system *system, size_t num_blocks,
                              size_t num_samples) {
    eqf_step_statistics *statistics = &dopri5->base.statistics;
    const size_t width = dopri5->base.real.vector_width, num_floats = num_blocks * CONTROL_SIZE * width;
    if (dopri5->h_control_size < num_floats) {
        free(dopri5->h_control);
        dopri5->h_control_size = 0;
        dopri5->h_control = eqf__alloc(dopri5->base.ctx, num_floats, sizeof(float), "the step counts");
        if (dopri5->h_control == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        dopri5->h_control_size = num_floats;
    }
    EQF__TRY(eqf__buffer_read(dopri5->base.ctx, system->d_control, 0, num_floats * sizeof(float), dopri5->h_control));
    for (size_t b = 0; b < num_samples; b++) {
        const float *control = dopri5->h_control + b / width * (CONTROL_SIZE * width) + b % width;
        if (statistics->num_samples++ == 0) statistics->accepted.min = statistics->rejected.min = UINT64_MAX;
        count_range(&statistics->accepted, control[AT_ACCEPTED * width]);
        count_range(&statistics->rejected, control[AT_REJECTED * width]);
        if (control[AT_STATUS * width] != STATUS_DONE) statistics->num_failed++;
    }
    /* The start needs two evaluations; after that the last one of an accepted step is the first of the next step. */
    statistics->num_velocity_evals =
        2 * statistics->num_samples + EVALUATIONS_PER_STEP * (statistics->accepted.total + statistics->rejected.total);
    return EQF_OK;
}

static eqf_status dopri5_solve(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction,
                               size_t num_samples, cl_mem d_x, cl_mem d_log_det, const eqf__tape *tape) {
    eqf__dopri5 *dopri5 = (eqf__dopri5 *)solver;
    eqf__dopri5_system *system = &dopri5->forward;
    (void)tape; /* the reverse solve does not use it */
    const size_t num_blocks = eqf__solver_blocks(solver, num_samples), num_dof = system->state_size - 1;
    const eqf__dopri5_run run = {.system = system,
                                 .noise = noise,
                                 .direction = direction == EQF_PRIOR_TO_DATA ? 1.0f : -1.0f,
                                 .num_blocks = num_blocks,
                                 .d_adjoint_log_det = d_log_det};
    if (num_blocks == 0) return EQF_OK;
    EQF__TRY(make_room(dopri5, system, num_blocks));
    EQF__TRY(put(dopri5, system, num_blocks, d_x, 0, num_dof, 1.0f));
    /* starts at 0, as its error is that of this solve */
    EQF__TRY(put(dopri5, system, num_blocks, d_log_det, (cl_uint)num_dof, 1, 0.0f));
    EQF__TRY(dopri5->engine->run(dopri5, &run));
    EQF__TRY(take(dopri5, system, num_blocks, d_x, 0, num_dof, 1.0f, false));
    EQF__TRY(take(dopri5, system, num_blocks, d_log_det, (cl_uint)num_dof, 1, 1.0f, true));
    return count_steps(dopri5, system, num_blocks, num_samples);
}

static eqf_status dopri5_prepare_reverse(eqf__solver *solver) {
    eqf__dopri5 *dopri5 = (eqf__dopri5 *)solver;
    if (dopri5->adjoint.take.id != NULL) return EQF_OK; /* the last one to be made */
    return system_create(dopri5, true, &dopri5->adjoint);
}

static eqf_status dopri5_reverse(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, eqf__tape *tape,
                                 const eqf__way_back *way_back) {
    eqf__dopri5 *dopri5 = (eqf__dopri5 *)solver;
    eqf__dopri5_system *system = &dopri5->adjoint;
    (void)tape;
    const size_t num_blocks = eqf__solver_blocks(solver, way_back->batch_size), num_dof = eqf__solver_dof(solver);
    const size_t grad_bytes = dopri5->engine->grad_count(dopri5) * sizeof(float);
    /* The direction is opposite to that of the solve. The adjoints of samples are not divided by the batch size, so
     * that the steps do not depend on it. */
    const float size = (float)way_back->batch_size, share = 1.0f / size;
    const eqf__dopri5_run run = {.system = system,
                                 .noise = noise,
                                 .direction = direction == EQF_PRIOR_TO_DATA ? -1.0f : 1.0f,
                                 .num_blocks = num_blocks,
                                 .d_adjoint_log_det = way_back->d_adjoint_log_det,
                                 .adjoint_scale = size,
                                 .is_reverse = true,
                                 .share = share};
    EQF__TRY(dopri5_prepare_reverse(solver));
    if (dopri5->d_grad == NULL)
        EQF__TRY(eqf__buffer_create(solver->ctx, grad_bytes, NULL, "the partial gradients", &dopri5->d_grad));
    EQF__TRY(make_room(dopri5, system, num_blocks));
    EQF__TRY(eqf__fill_zero(solver->ctx, dopri5->d_grad, grad_bytes));
    EQF__TRY(put(dopri5, system, num_blocks, way_back->d_x, 0, num_dof, 1.0f));
    EQF__TRY(put(dopri5, system, num_blocks, way_back->d_adjoint_x, (cl_uint)num_dof, num_dof, size));
    EQF__TRY(dopri5->engine->run(dopri5, &run));
    EQF__TRY(take(dopri5, system, num_blocks, way_back->d_adjoint_x, (cl_uint)num_dof, num_dof, share, false));
    return dopri5->engine->contract(dopri5, share, way_back->d_gradient);
}

static eqf_status dopri5_check_time(eqf__solver *solver, double t) {
    if (t >= 0 && t <= 1) return EQF_OK;
    return eqf__fail(solver->ctx, EQF_ERROR_INVALID_ARGUMENT, "t = %g is not a flow time: it must be 0 to 1", t);
}

static eqf_status dopri5_field_at(eqf__solver *solver, const eqf__noise *noise, double t, size_t num_samples,
                                  cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence) {
    eqf__dopri5 *dopri5 = (eqf__dopri5 *)solver;
    return dopri5->engine->field_at(dopri5, noise, t, eqf__solver_blocks(solver, num_samples), d_x, d_velocity,
                                    d_divergence);
}

/* ---- The solver -------------------------------------------------------------------------------------------------- */

static void dopri5_tape_sizes(const eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out,
                              size_t *checkpoint_bytes_out) {
    (void)solver;
    (void)max_blocks;
    (void)tape_out; /* a tape holds nothing */
    *checkpoint_bytes_out = 0;
}

static eqf__program *dopri5_program(const eqf__solver *solver, bool is_reverse) {
    const eqf__dopri5 *dopri5 = (const eqf__dopri5 *)solver;
    return is_reverse ? dopri5->adjoint.put.program : dopri5->forward.put.program;
}

static void dopri5_destroy(eqf__solver *solver) {
    eqf__dopri5 *dopri5 = (eqf__dopri5 *)solver;
    system_clear(dopri5, &dopri5->forward);
    system_clear(dopri5, &dopri5->adjoint);
    eqf__buffer_destroy(&dopri5->d_grad);
    free(dopri5->h_control);
    free(dopri5);
}

static const eqf__solver_verbs verbs = {
    .solve = dopri5_solve,
    .field_at = dopri5_field_at,
    .check_time = dopri5_check_time,
    .tape_sizes = dopri5_tape_sizes,
    .prepare_reverse = dopri5_prepare_reverse,
    .reverse = dopri5_reverse,
    .program = dopri5_program,
    .destroy = dopri5_destroy,
};

eqf__dopri5 *eqf__dopri5_of(eqf__solver *solver) {
    return solver->verbs == &verbs ? (eqf__dopri5 *)solver : NULL;
}

eqf_status eqf__dopri5_open(eqf__field *field, const eqf_flow_options *options, const eqf__dopri5_engine *engine,
                            size_t num_partials, eqf__solver **solver_out) {
    eqf__dopri5 *dopri5 = eqf__alloc(field->ctx, 1, sizeof *dopri5, "the integrator");
    if (dopri5 == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    dopri5->base = (eqf__solver){
        .ctx = field->ctx, .verbs = &verbs, .field = field, .real = field->real, .has_step_control = true};
    dopri5->engine = engine;
    dopri5->options = options->adaptive;
    dopri5->num_partials = num_partials;
    const eqf_status status = system_create(dopri5, false, &dopri5->forward);
    if (status != EQF_OK)
        dopri5_destroy(&dopri5->base);
    else
        *solver_out = &dopri5->base;
    return status;
}
