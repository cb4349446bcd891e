#include "adaptive_batched.h"
#include "budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As in cl/integrator/dormand_prince.cl. */
enum { CONTROL_SIZE = 8, AT_ACCEPTED = 4, AT_REJECTED = 5, AT_STATUS = 6, STATUS_DONE = 1 };
enum { STAGES_PER_STEP = 6, DEFAULT_MAX_STEPS = 10000, MAX_MAX_STEPS = 1000000 };
/* Tries of a step in one launch: nearly every solve is over after one, and a watchdog never waits for a stiff
 * sample. */
enum { MOST_TURNS = 512 };
/* Work-items that own a partial gradient. Fixed, so that sums have one order whatever the device's load; a partial
 * gradient is small. */
enum { PARTIALS_OF_VECTORS = 64, PARTIALS_OF_SCALARS = 4096 };
static const size_t most_partial_bytes = (size_t)256 << 20;

/* ---- Options ----------------------------------------------------------------------------------------------------- */

eqf_status eqf__adaptive_check(eqf_context *ctx, eqf_adaptive_options *options) {
    EQF__TRY(EQF__CHECK(ctx, EQF_ADAPTIVE_OPTIONS_INIT, eqf_adaptive_options, options));
    if (options->rtol == 0) options->rtol = 1e-5;
    if (options->atol == 0) options->atol = 1e-10;
    if (options->max_steps == 0) options->max_steps = DEFAULT_MAX_STEPS;
    if (!(options->rtol >= 1e-8 && options->rtol <= 0.1))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "rtol of the integrator is %g: it must be 1e-8 to 0.1",
                         options->rtol);
    if (!(options->atol >= 1e-20 && options->atol <= 1))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "atol of the integrator is %g: it must be 1e-20 to 1",
                         options->atol);
    if (options->max_steps > MAX_MAX_STEPS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "max_steps of the integrator is %u: it must be 1 to %d",
                         options->max_steps, MAX_MAX_STEPS);
    if (options->error_norm != EQF_ERROR_NORM_STATE_AND_LOG_DET && options->error_norm != EQF_ERROR_NORM_STATE)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "error_norm of the integrator is %u: there is no such norm",
                         (unsigned)options->error_norm);
    return EQF_OK;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void release_buffers(eqf__adaptive_system *system) {
    eqf__buffer_destroy(&system->d_state);
    eqf__buffer_destroy(&system->d_slope);
    eqf__buffer_destroy(&system->d_carry);
    eqf__buffer_destroy(&system->d_control);
    eqf__buffer_destroy(&system->d_num_running);
    system->max_blocks = 0;
}

static void system_clear(eqf__adaptive_system *system) {
    release_buffers(system);
    eqf__adaptive_batched_destroy(&system->batched);
    eqf__kernel_destroy(&system->begin);
    eqf__kernel_destroy(&system->steps);
    eqf__kernel_destroy(&system->put);
    eqf__kernel_destroy(&system->take);
    eqf__kernel_destroy(&system->field);
}

static eqf_status create_rows(eqf__adaptive *adaptive, eqf__program *program, eqf__adaptive_system *system_out) {
    EQF__TRY(eqf__kernel_create(adaptive->ctx, program, "adaptive_put", &system_out->put));
    return eqf__kernel_create(adaptive->ctx, program, "adaptive_take", &system_out->take);
}

/* The system of a batched field. */
static eqf_status batched_system_create(eqf__adaptive *adaptive, const char *name, const char *system_file,
                                        size_t state_size, bool is_adjoint, eqf__adaptive_system *system_out) {
    const char *const files[] = {"common/real.clh",
                                 "integrator/dormand_prince_tableau.clh",
                                 "integrator/dormand_prince.clh",
                                 system_file,
                                 "integrator/dormand_prince_batched.cl",
                                 "integrator/dormand_prince_rows.cl",
                                 NULL};
    char defines[64];
    snprintf(defines, sizeof defines, "-D N=%u -D D=%u", adaptive->field->num_particles, adaptive->field->space_dim);
    system_out->state_size = state_size;
    eqf__program *program;
    EQF__TRY(eqf__program_get(adaptive->ctx, name, files, defines, &program));
    EQF__TRY(eqf__adaptive_batched_create(adaptive, program, is_adjoint, &system_out->batched));
    return create_rows(adaptive, program, system_out);
}

/* Loop turns of one work-item in one try of a step, counted from cl/integrator/dormand_prince.cl as if no loop were unrolled; a loop of n
 * turns counts n + 1. Too few here is silently wrong on llvmpipe: flow.budget compares. */
static size_t turns_of_try(const eqf__any_time_turns *field, size_t state_size, bool is_adjoint) {
    const size_t over_state = state_size + 1, stages = STAGES_PER_STEP, earlier_stages = stages * (stages + 1) / 2;
    const size_t slope = (is_adjoint ? field->vjp : field->velocity) + 2 * over_state;
    /* Stage states with their sums over earlier stages, the error's part; the norms, the choice of the new state. */
    const size_t sums = stages * (1 + 2 * over_state) + state_size * (earlier_stages + stages);
    const size_t forward = 2 + sums + stages * (field->field + slope) + 8 * over_state;
    if (!is_adjoint) return forward;
    return forward + sums + stages * (field->field + over_state + field->gradient);
}

static eqf_status system_create(eqf__adaptive *adaptive, const char *name, const char *system_file, size_t state_size,
                                bool is_adjoint, eqf__adaptive_system *system_out) {
    eqf_context *ctx = adaptive->ctx;
    const eqf__field *field = adaptive->field;
    const size_t turns = turns_of_try(&field->any_time->turns, state_size, is_adjoint);
    const size_t of_launch = 2 * (state_size + 1); /* the state comes and goes once a launch */
    system_out->turns_per_launch = (cl_uint)eqf__budget_units(ctx, turns, of_launch, MOST_TURNS);
    if (system_out->turns_per_launch == 0)
        return eqf__budget_refuse(ctx, "dopri5 step", field->num_particles, ", or --integrator rk4");
    system_out->state_size = state_size;
    const char *const files[] = {"common/real.clh",
                                 field->any_time->file,
                                 "integrator/dormand_prince_tableau.clh",
                                 "integrator/dormand_prince.clh",
                                 system_file,
                                 "integrator/dormand_prince.cl",
                                 "integrator/dormand_prince_rows.cl",
                                 NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, name, files, field->any_time->defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "adaptive_begin", &system_out->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "adaptive_steps", &system_out->steps));
    EQF__TRY(eqf__kernel_create(ctx, program, "field_at_time", &system_out->field));
    return create_rows(adaptive, program, system_out);
}

eqf_status eqf__adaptive_create(eqf_context *ctx, eqf__field *field, const eqf_adaptive_options *options,
                                eqf__adaptive *adaptive_out) {
    memset(adaptive_out, 0, sizeof *adaptive_out);
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    adaptive_out->ctx = ctx;
    adaptive_out->field = field;
    adaptive_out->vector_width = device->vector_width;
    adaptive_out->options = *options;
    const size_t num_dof = (size_t)field->num_particles * field->space_dim;
    if (field->batched != NULL)
        return batched_system_create(adaptive_out, "dormand_prince_batched", "integrator/dormand_prince_forward.clh",
                                     num_dof + 1, false, &adaptive_out->forward);
    const size_t partial_bytes = field->any_time->grad_size * device->vector_width * sizeof(float);
    const size_t affordable = most_partial_bytes / partial_bytes;
    adaptive_out->num_partials = device->vector_width > 1 ? PARTIALS_OF_VECTORS : PARTIALS_OF_SCALARS;
    if (adaptive_out->num_partials > affordable) adaptive_out->num_partials = affordable > 0 ? affordable : 1;
    return system_create(adaptive_out, "dormand_prince", "integrator/dormand_prince_forward.clh", num_dof + 1, false,
                         &adaptive_out->forward);
}

void eqf__adaptive_clear(eqf__adaptive *adaptive) {
    system_clear(&adaptive->forward);
    system_clear(&adaptive->adjoint);
    eqf__buffer_destroy(&adaptive->d_grad);
    free(adaptive->h_control);
    memset(adaptive, 0, sizeof *adaptive);
}

/* Room for num_blocks blocks in the system's buffers. */
static eqf_status make_room(eqf__adaptive *adaptive, eqf__adaptive_system *system, size_t num_blocks) {
    if (system->max_blocks >= num_blocks) return EQF_OK;
    eqf_context *ctx = adaptive->ctx;
    release_buffers(system);
    const size_t lanes = num_blocks * adaptive->vector_width * sizeof(float), state = lanes * system->state_size;
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_state));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_slope));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the trajectories", &system->d_carry));
    EQF__TRY(eqf__buffer_create(ctx, lanes * CONTROL_SIZE, NULL, "the step sizes", &system->d_control));
    EQF__TRY(eqf__buffer_create(ctx, sizeof(cl_uint), NULL, "a count", &system->d_num_running));
    system->max_blocks = num_blocks;
    return EQF_OK;
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

static eqf_status put(const eqf__adaptive *adaptive, const eqf__adaptive_system *system, size_t num_blocks,
                      cl_mem d_source, cl_uint first, size_t count, float scale) {
    cl_uint blocks = (cl_uint)num_blocks, numbers = (cl_uint)count;
    return EQF__LAUNCH(adaptive->ctx, &system->put, num_blocks, 0, EQF__ARG(d_source), EQF__ARG(system->d_state),
                       EQF__ARG(first), EQF__ARG(numbers), EQF__ARG(scale), EQF__ARG(blocks));
}

static eqf_status take(const eqf__adaptive *adaptive, const eqf__adaptive_system *system, size_t num_blocks,
                       cl_mem d_target, cl_uint first, size_t count, float scale, bool is_added) {
    cl_uint blocks = (cl_uint)num_blocks, numbers = (cl_uint)count, added = is_added;
    return EQF__LAUNCH(adaptive->ctx, &system->take, num_blocks, 0, EQF__ARG(system->d_state),
                       EQF__ARG(system->d_control), EQF__ARG(d_target), EQF__ARG(first), EQF__ARG(numbers),
                       EQF__ARG(scale), EQF__ARG(added), EQF__ARG(blocks));
}

/* All steps of all samples: blocks_at_once blocks a launch, launched again until none of their lanes runs. */
static eqf_status run(eqf__adaptive *adaptive, eqf__adaptive_system *system, float direction, size_t num_blocks,
                      size_t blocks_at_once, cl_mem d_adjoint_log_det, float adjoint_scale, cl_mem d_grad) {
    eqf_context *ctx = adaptive->ctx;
    const eqf__field *field = adaptive->field;
    const eqf_adaptive_options *o = &adaptive->options;
    cl_uint blocks = (cl_uint)num_blocks, has_log_det = o->error_norm == EQF_ERROR_NORM_STATE_AND_LOG_DET;
    cl_uint max_steps = o->max_steps;
    cl_float rtol = (cl_float)o->rtol, atol = (cl_float)o->atol;
    EQF__TRY(EQF__LAUNCH(ctx, &system->begin, num_blocks, 0, EQF__ARG(system->d_state), EQF__ARG(system->d_slope),
                         EQF__ARG(system->d_carry), EQF__ARG(system->d_control), EQF__ARG(field->d_params),
                         EQF__ARG(field->any_time->d_constants), EQF__ARG(d_adjoint_log_det), EQF__ARG(adjoint_scale),
                         EQF__ARG(rtol), EQF__ARG(atol), EQF__ARG(has_log_det), EQF__ARG(direction), EQF__ARG(blocks)));
    for (size_t begin = 0; begin < num_blocks; begin += blocks_at_once) {
        const size_t count = num_blocks - begin < blocks_at_once ? num_blocks - begin : blocks_at_once;
        cl_uint block_begin = (cl_uint)begin, block_end = (cl_uint)(begin + count), num_running = 1;
        while (num_running > 0) {
            EQF__TRY(eqf__fill_zero(ctx, system->d_num_running, sizeof num_running));
            EQF__TRY(EQF__LAUNCH(ctx, &system->steps, count, 0, EQF__ARG(system->d_state), EQF__ARG(system->d_slope),
                                 EQF__ARG(system->d_carry), EQF__ARG(system->d_control), EQF__ARG(field->d_params),
                                 EQF__ARG(field->any_time->d_constants), EQF__ARG(d_adjoint_log_det), EQF__ARG(d_grad),
                                 EQF__ARG(system->d_num_running), EQF__ARG(adjoint_scale), EQF__ARG(rtol),
                                 EQF__ARG(atol), EQF__ARG(has_log_det), EQF__ARG(direction),
                                 EQF__ARG(adaptive->equal_step), EQF__ARG(max_steps),
                                 EQF__ARG(system->turns_per_launch), EQF__ARG(block_begin), EQF__ARG(block_end)));
            EQF__TRY(eqf__buffer_read(ctx, system->d_num_running, 0, sizeof num_running, &num_running));
        }
    }
    return EQF_OK;
}

static void count_range(eqf_step_range *range, float value) {
    const uint64_t steps = (uint64_t)value;
    if (steps < range->min) range->min = steps;
    if (steps > range->max) range->max = steps;
    range->total += steps;
}

/* Adds the steps of the first num_samples to the statistics. */
static eqf_status count_steps(eqf__adaptive *adaptive, const eqf__adaptive_system *system, size_t num_blocks,
                              size_t num_samples) {
    eqf_step_statistics *statistics = &adaptive->statistics;
    const size_t width = adaptive->vector_width, num_floats = num_blocks * CONTROL_SIZE * width;
    if (adaptive->h_control_size < num_floats) {
        free(adaptive->h_control);
        adaptive->h_control_size = 0;
        adaptive->h_control = eqf__alloc(adaptive->ctx, num_floats, sizeof(float), "the step counts");
        if (adaptive->h_control == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        adaptive->h_control_size = num_floats;
    }
    EQF__TRY(eqf__buffer_read(adaptive->ctx, system->d_control, 0, num_floats * sizeof(float), adaptive->h_control));
    for (size_t b = 0; b < num_samples; b++) {
        const float *control = adaptive->h_control + b / width * (CONTROL_SIZE * width) + b % width;
        if (statistics->num_samples++ == 0) statistics->accepted.min = statistics->rejected.min = UINT64_MAX;
        count_range(&statistics->accepted, control[AT_ACCEPTED * width]);
        count_range(&statistics->rejected, control[AT_REJECTED * width]);
        if (control[AT_STATUS * width] != STATUS_DONE) statistics->num_failed++;
    }
    /* Two evaluations to begin with; after that the last of an accepted step is the first of the next. */
    statistics->num_velocity_evals =
        2 * statistics->num_samples + STAGES_PER_STEP * (statistics->accepted.total + statistics->rejected.total);
    return EQF_OK;
}

eqf_status eqf__adaptive_solve(eqf__adaptive *adaptive, const eqf__noise *noise, eqf_direction direction,
                               size_t num_blocks, size_t num_samples, cl_mem d_x, cl_mem d_log_det) {
    eqf__adaptive_system *system = &adaptive->forward;
    const size_t num_dof = system->state_size - 1;
    const float sign = direction == EQF_PRIOR_TO_DATA ? 1.0f : -1.0f;
    if (num_blocks == 0) return EQF_OK;
    EQF__TRY(make_room(adaptive, system, num_blocks));
    EQF__TRY(put(adaptive, system, num_blocks, d_x, 0, num_dof, 1.0f));
    EQF__TRY(put(adaptive, system, num_blocks, d_log_det, (cl_uint)num_dof, 1, 0.0f)); /* its error is this solve's */
    if (system->batched != NULL)
        EQF__TRY(eqf__adaptive_batched_run(adaptive, noise, system, sign, num_blocks, d_log_det, 0.0f, 0.0f, NULL));
    else
        EQF__TRY(run(adaptive, system, sign, num_blocks, num_blocks, d_log_det, 0.0f, system->d_num_running));
    EQF__TRY(take(adaptive, system, num_blocks, d_x, 0, num_dof, 1.0f, false));
    EQF__TRY(take(adaptive, system, num_blocks, d_log_det, (cl_uint)num_dof, 1, 1.0f, true));
    return count_steps(adaptive, system, num_blocks, num_samples);
}

eqf_status eqf__adaptive_prepare_reverse(eqf__adaptive *adaptive) {
    eqf__adaptive_system *system = &adaptive->adjoint;
    const size_t state_size = 2 * (size_t)adaptive->field->num_particles * adaptive->field->space_dim;
    if (system->take.id != NULL) return EQF_OK; /* the last that is made */
    if (adaptive->field->batched != NULL)
        return batched_system_create(adaptive, "dormand_prince_batched_adjoint",
                                     "integrator/dormand_prince_adjoint.clh", state_size, true, system);
    return system_create(adaptive, "dormand_prince_adjoint", "integrator/dormand_prince_adjoint.clh", state_size, true,
                         system);
}

eqf__program *eqf__adaptive_program(const eqf__adaptive *adaptive, bool is_reverse) {
    return is_reverse ? adaptive->adjoint.put.program : adaptive->forward.put.program;
}

/* The same for a batched field, whose gradient is one sum in its own layout. */
static eqf_status batched_reverse(eqf__adaptive *adaptive, const eqf__noise *noise, float sign, size_t num_blocks,
                                  size_t batch_size, cl_mem d_x, cl_mem d_adjoint_x, cl_mem d_adjoint_log_det,
                                  cl_mem d_gradient) {
    eqf__field *field = adaptive->field;
    eqf__adaptive_system *system = &adaptive->adjoint;
    const size_t num_dof = (size_t)field->num_particles * field->space_dim;
    const size_t grad_bytes = field->batched->grad_size * sizeof(float);
    const float size = (float)batch_size, share = 1.0f / size;
    if (adaptive->d_grad == NULL)
        EQF__TRY(eqf__buffer_create(adaptive->ctx, grad_bytes, NULL, "the gradient", &adaptive->d_grad));
    EQF__TRY(make_room(adaptive, system, num_blocks));
    EQF__TRY(eqf__fill_zero(adaptive->ctx, adaptive->d_grad, grad_bytes));
    EQF__TRY(put(adaptive, system, num_blocks, d_x, 0, num_dof, 1.0f));
    EQF__TRY(put(adaptive, system, num_blocks, d_adjoint_x, (cl_uint)num_dof, num_dof, size));
    EQF__TRY(eqf__adaptive_batched_run(adaptive, noise, system, sign, num_blocks, d_adjoint_log_det, size, share,
                                       adaptive->d_grad));
    EQF__TRY(take(adaptive, system, num_blocks, d_adjoint_x, (cl_uint)num_dof, num_dof, share, false));
    return field->batched->contract(field, adaptive->d_grad, d_gradient);
}

eqf_status eqf__adaptive_reverse(eqf__adaptive *adaptive, const eqf__noise *noise, eqf_direction direction,
                                 size_t num_blocks, size_t batch_size, cl_mem d_x, cl_mem d_adjoint_x,
                                 cl_mem d_adjoint_log_det, cl_mem d_gradient) {
    eqf_context *ctx = adaptive->ctx;
    eqf__field *field = adaptive->field;
    eqf__adaptive_system *system = &adaptive->adjoint;
    const size_t num_dof = (size_t)field->num_particles * field->space_dim;
    /* Against the sense of the solve. Samples are integrated with adjoints of their own size, not their share of the
     * mean: steps must not depend on the batch. */
    const float sign = direction == EQF_PRIOR_TO_DATA ? -1.0f : 1.0f, size = (float)batch_size, share = 1.0f / size;
    EQF__TRY(eqf__adaptive_prepare_reverse(adaptive));
    if (field->batched != NULL)
        return batched_reverse(adaptive, noise, sign, num_blocks, batch_size, d_x, d_adjoint_x, d_adjoint_log_det,
                               d_gradient);
    const size_t grad_bytes =
        adaptive->num_partials * field->any_time->grad_size * adaptive->vector_width * sizeof(float);
    if (adaptive->d_grad == NULL)
        EQF__TRY(eqf__buffer_create(ctx, grad_bytes, NULL, "the partial gradients", &adaptive->d_grad));
    EQF__TRY(make_room(adaptive, system, num_blocks));
    EQF__TRY(eqf__fill_zero(ctx, adaptive->d_grad, grad_bytes));
    EQF__TRY(put(adaptive, system, num_blocks, d_x, 0, num_dof, 1.0f));
    EQF__TRY(put(adaptive, system, num_blocks, d_adjoint_x, (cl_uint)num_dof, num_dof, size));
    EQF__TRY(
        run(adaptive, system, sign, num_blocks, adaptive->num_partials, d_adjoint_log_det, size, adaptive->d_grad));
    EQF__TRY(take(adaptive, system, num_blocks, d_adjoint_x, (cl_uint)num_dof, num_dof, share, false));
    return field->any_time->contract(field, adaptive->d_grad, adaptive->num_partials, share, d_gradient);
}

eqf_status eqf__adaptive_field(const eqf__adaptive *adaptive, const eqf__noise *noise, double t, size_t num_blocks,
                               cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = adaptive->field;
    cl_uint blocks = (cl_uint)num_blocks;
    cl_float time = (cl_float)t;
    if (field->batched != NULL)
        return eqf__adaptive_batched_field(adaptive, noise, t, num_blocks, d_x, d_velocity, d_divergence);
    return EQF__LAUNCH(adaptive->ctx, &adaptive->forward.field, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(d_velocity),
                       EQF__ARG(d_divergence), EQF__ARG(field->d_params), EQF__ARG(field->any_time->d_constants),
                       EQF__ARG(time), EQF__ARG(blocks));
}
