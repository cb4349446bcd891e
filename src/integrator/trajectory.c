#include "trajectory.h"

#include <string.h>

#include "batched.h"
#include "budget.h"

/* ---- Layouts ----------------------------------------------------------------------------------------------------------- */

/* What the kernels of groups keep in local memory beside a stage's table, in bytes, at most: the field's part, five states (of a reverse
 * step its stages' and an adjoint), two numbers a work-item. */
static size_t group_local_bytes(const eqf__field *field, size_t group_size) {
    const size_t state = (size_t)field->num_particles * field->space_dim;
    return (field->group->local_size(field, group_size) + 5 * state + 2 * group_size) * sizeof(float);
}

/* Work-items of the group that carries a sample; 0: one work-item carries a block of samples. */
static unsigned choose_group_size(const eqf__device *device, const eqf__field *field) {
    const size_t most = device->info.max_work_group_size;
    const size_t group_size = device->group_size < most ? device->group_size : most;
    if (field->group == NULL || field->num_particles < device->group_min_particles) return 0;
    if (group_size < 3) return 0; /* no gain, and PoCL 3.1 aborts while it builds groups of one or two */
    if (group_local_bytes(field, group_size) > device->info.local_memory_bytes) return 0;
    return (unsigned)group_size;
}

static bool is_staged(const eqf__device *device, const eqf__field *field, unsigned group_size) {
    if (field->group->table_size == 0 || field->num_particles < device->group_staging_particles) return false;
    const size_t table_bytes = field->group->table_size * sizeof(float);
    return group_local_bytes(field, group_size) + table_bytes <= device->info.local_memory_bytes;
}

/* The field's text between the numbers and the integrator's. */
static eqf_status assemble(const eqf__trajectory *trajectory, const char *name, const char *integrator_file,
                           unsigned group_size, eqf__program **program_out) {
    const eqf__field *field = trajectory->field;
    const bool is_group = group_size > 0;
    const char *const *of_field = is_group ? field->group->files : field->stage->files;
    const char *files[8] = {"common/real.clh"};
    size_t f = 1;
    if (is_group) files[f++] = "common/group.clh";
    for (size_t i = 0; of_field[i] != NULL; i++) files[f++] = of_field[i];
    files[f++] = "integrator/rk4.clh";
    files[f++] = integrator_file;
    files[f] = NULL;
    char defines[sizeof field->stage->defines + 96];
    snprintf(defines, sizeof defines, "%s", field->stage->defines);
    if (is_group) {
        const size_t length = strlen(defines);
        const bool has_copy = is_staged(trajectory->ctx->device, field, group_size);
        snprintf(defines + length, sizeof defines - length, " -D V=1 -D LANES=%u -D GROUP_SIZE=%u%s",
                 trajectory->vector_width, group_size, has_copy ? " -D STAGE_IS_LOCAL" : "");
    }
    return eqf__program_get(trajectory->ctx, name, files, defines, program_out);
}

/* Whether the kernel, as the device built it, runs in groups of that size. */
static bool fits_group(const eqf__trajectory *trajectory, const eqf__kernel *kernel, unsigned group_size) {
    const eqf__device *device = trajectory->ctx->device;
    if (group_size == 0) return true;
    const size_t most = eqf__kernel_largest_group(trajectory->ctx, kernel);
    if (most >= group_size) return true;
    eqf__log(trajectory->ctx, EQF_LOG_WARNING,
             "%s runs kernel '%s' in groups of %zu at most, not the profile's %u: one sample a work-item instead",
             device->info.name, kernel->name, most, group_size);
    return false;
}

/* ---- Launch budget ------------------------------------------------------------------------------------------------------- */

/* Loop turns of one work-item in one RK4 step, counted from the text of the kernels as if no loop were unrolled: what llvmpipe limits, and a
 * measure of the time that a watchdog sees. */
typedef struct step_turns {
    size_t forward, reverse;
} step_turns;

static step_turns turns_per_step(const eqf__field *field) {
    const size_t passes = (size_t)field->num_particles * field->space_dim;
    const eqf__stage_turns turns = field->stage->turns;
    return (step_turns){4 * (turns.velocity + passes) + 3 * passes,
                        3 * (turns.velocity + 3 * passes) + 4 * (turns.vjp + 5 * passes)};
}

static size_t divide_up(size_t count, size_t by) {
    return (count + by - 1) / by;
}

/* The same where a group shares the pairs. llvmpipe counts the turns of all vectors of a group together, and its vectors have 4 work-items
 * or more. */
static step_turns group_turns_per_step(const eqf__field *field, size_t group_size) {
    const eqf__stage_turns turns = field->group->turns(field, group_size);
    const size_t owned = divide_up((size_t)field->num_particles * field->space_dim, group_size);
    const size_t vectors = divide_up(group_size, 4), folds = 16; /* of a sum over 2^16 work-items or fewer */
    return (step_turns){vectors * (4 * (turns.velocity + 2 * owned) + 3 * owned),
                        vectors * (3 * (turns.velocity + 3 * owned) + 4 * (turns.vjp + 5 * owned) + folds)};
}

static eqf_status refuse(const eqf__trajectory *trajectory, const char *what) {
    const eqf__field *field = trajectory->field;
    return eqf__budget_refuse(trajectory->ctx, what, field->num_particles, field->stage->cheaper);
}

static eqf_status set_budget(eqf__trajectory *trajectory) {
    const eqf_context *ctx = trajectory->ctx;
    const eqf__field *field = trajectory->field;
    const unsigned num_steps = trajectory->num_steps;
    const step_turns forward =
        trajectory->group_size > 0 ? group_turns_per_step(field, trajectory->group_size) : turns_per_step(field);
    const step_turns reverse = trajectory->reverse_group_size > 0
                                   ? group_turns_per_step(field, trajectory->reverse_group_size)
                                   : turns_per_step(field);
    trajectory->steps_per_launch = eqf__budget_units(ctx, forward.forward, 0, num_steps);
    if (trajectory->steps_per_launch == 0) return refuse(trajectory, "step of a trajectory");
    trajectory->reverse_steps = eqf__budget_units(ctx, reverse.reverse, 0, num_steps); /* 0: refused when asked for */
    trajectory->reverse_blocks = eqf__budget_units(ctx, reverse.reverse * trajectory->reverse_steps, 0, SIZE_MAX);
    if (trajectory->reverse_steps == 0) trajectory->reverse_blocks = 0;
    return EQF_OK;
}

/* ---- Life ---------------------------------------------------------------------------------------------------------------- */

static eqf_status create_forward(eqf__trajectory *trajectory, unsigned group_size) {
    eqf__program *program;
    EQF__TRY(assemble(trajectory, "trajectory", group_size > 0 ? "integrator/rk4_group.cl" : "integrator/rk4.cl",
                      group_size, &program));
    EQF__TRY(eqf__kernel_create(trajectory->ctx, program, "trajectory", &trajectory->forward));
    return eqf__kernel_create(trajectory->ctx, program, "field_at_stage", &trajectory->at_stage);
}

static eqf_status create_reverse(eqf__trajectory *trajectory, unsigned group_size) {
    eqf__program *program;
    EQF__TRY(assemble(trajectory, "trajectory_adjoint",
                      group_size > 0 ? "integrator/rk4_group_adjoint.cl" : "integrator/rk4_adjoint.cl", group_size,
                      &program));
    return eqf__kernel_create(trajectory->ctx, program, "trajectory_adjoint", &trajectory->adjoint);
}

eqf_status eqf__trajectory_create(eqf_context *ctx, eqf__field *field, unsigned num_steps,
                                  eqf__trajectory *trajectory_out) {
    eqf__trajectory *trajectory = trajectory_out;
    memset(trajectory, 0, sizeof *trajectory);
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    trajectory->ctx = ctx;
    trajectory->field = field;
    trajectory->num_steps = num_steps;
    trajectory->vector_width = device->vector_width;
    EQF__TRY(eqf__buffer_create(ctx, 4, NULL, "an empty buffer", &trajectory->d_nothing));
    if (field->batched != NULL) return eqf__batched_create(ctx, field, &trajectory->batched);
    trajectory->group_size = trajectory->reverse_group_size = choose_group_size(device, field);
    EQF__TRY(set_budget(trajectory));
    EQF__TRY(create_forward(trajectory, trajectory->group_size));
    if (fits_group(trajectory, &trajectory->forward, trajectory->group_size)) return EQF_OK;
    eqf__kernel_destroy(&trajectory->forward);
    eqf__kernel_destroy(&trajectory->at_stage);
    trajectory->group_size = trajectory->reverse_group_size = 0;
    EQF__TRY(set_budget(trajectory));
    return create_forward(trajectory, 0);
}

void eqf__trajectory_clear(eqf__trajectory *trajectory) {
    eqf__buffer_destroy(&trajectory->d_nothing);
    eqf__kernel_destroy(&trajectory->forward);
    eqf__kernel_destroy(&trajectory->adjoint);
    eqf__kernel_destroy(&trajectory->at_stage);
    eqf__batched_destroy(&trajectory->batched);
}

/* ---- Solves -------------------------------------------------------------------------------------------------------------- */

/* Work-items of a forward launch: one a block, or a group for each sample of a block. */
static size_t num_items(const eqf__trajectory *trajectory, size_t num_blocks) {
    if (trajectory->group_size == 0) return num_blocks;
    return num_blocks * trajectory->vector_width * trajectory->group_size;
}

eqf_status eqf__trajectory_solve(const eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                                 size_t num_blocks, cl_mem d_x, cl_mem d_log_det, cl_mem d_checkpoints) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL)
        return eqf__batched_solve(trajectory, noise, direction, num_blocks, d_x, d_log_det, d_checkpoints);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = trajectory->num_steps, has_checkpoints = d_checkpoints != NULL;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    cl_mem checkpoints = has_checkpoints ? d_checkpoints : trajectory->d_nothing;
    for (cl_uint begin = 0; begin < num_steps;) {
        cl_uint end = begin + (cl_uint)trajectory->steps_per_launch;
        if (end > num_steps) end = num_steps;
        EQF__TRY(EQF__LAUNCH(trajectory->ctx, &trajectory->forward, num_items(trajectory, num_blocks),
                             trajectory->group_size, EQF__ARG(d_x), EQF__ARG(d_log_det),
                             EQF__ARG(field->stage->d_stages), EQF__ARG(field->stage->d_shared), EQF__ARG(checkpoints),
                             EQF__ARG(has_checkpoints), EQF__ARG(blocks), EQF__ARG(num_steps), EQF__ARG(sign),
                             EQF__ARG(begin), EQF__ARG(end)));
        begin = end;
    }
    return EQF_OK;
}

eqf_status eqf__trajectory_prepare_reverse(eqf__trajectory *trajectory) {
    if (trajectory->batched != NULL || trajectory->adjoint.id != NULL) return EQF_OK;
    EQF__TRY(create_reverse(trajectory, trajectory->reverse_group_size));
    if (fits_group(trajectory, &trajectory->adjoint, trajectory->reverse_group_size)) return EQF_OK;
    eqf__kernel_destroy(&trajectory->adjoint);
    trajectory->reverse_group_size = 0;
    EQF__TRY(set_budget(trajectory));
    return create_reverse(trajectory, 0);
}

eqf__program *eqf__trajectory_program(const eqf__trajectory *trajectory, bool is_reverse) {
    if (trajectory->batched != NULL) return eqf__batched_program(trajectory->batched);
    return is_reverse ? trajectory->adjoint.program : trajectory->forward.program;
}

eqf_status eqf__trajectory_reverse(eqf__trajectory *trajectory, const eqf__noise *noise, eqf_direction direction,
                                   size_t num_blocks, const eqf__trajectory_gradient *gradient) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL) return eqf__batched_reverse(trajectory, noise, direction, num_blocks, gradient);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = trajectory->num_steps;
    cl_uint num_partials = (cl_uint)gradient->num_partials;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    EQF__TRY(eqf__trajectory_prepare_reverse(trajectory));
    if (trajectory->reverse_steps == 0) return refuse(trajectory, "step of a gradient");
    /* A turn is a block, or of groups a sample; partial sums go over turns in order. */
    const size_t group_size = trajectory->reverse_group_size;
    const size_t num_turns = group_size > 0 ? num_blocks * trajectory->vector_width : num_blocks;
    const size_t global_size = group_size > 0 ? num_partials * group_size : num_partials;
    const size_t rounds = trajectory->reverse_blocks, steps = trajectory->reverse_steps;
    const cl_uint turns = (cl_uint)num_turns;
    const size_t range = rounds > num_turns / num_partials + 1 ? num_turns : rounds * num_partials;
    for (cl_uint turn_begin = 0; turn_begin < turns;) {
        const cl_uint turn_end = turns - turn_begin > range ? turn_begin + (cl_uint)range : turns;
        for (cl_uint end = num_steps; end > 0;) {
            const cl_uint begin = end > steps ? end - (cl_uint)steps : 0;
            EQF__TRY(EQF__LAUNCH(
                trajectory->ctx, &trajectory->adjoint, global_size, group_size, EQF__ARG(gradient->d_checkpoints),
                EQF__ARG(gradient->d_adjoint_x), EQF__ARG(gradient->d_adjoint_log_det), EQF__ARG(gradient->d_weight),
                EQF__ARG(gradient->d_error), EQF__ARG(field->stage->d_stages), EQF__ARG(field->stage->d_shared),
                EQF__ARG(gradient->d_grad_stages), EQF__ARG(gradient->d_grad_shared), EQF__ARG(gradient->penalty),
                EQF__ARG(blocks), EQF__ARG(turn_begin), EQF__ARG(turn_end), EQF__ARG(num_partials), EQF__ARG(num_steps),
                EQF__ARG(sign), EQF__ARG(begin), EQF__ARG(end)));
            end = begin;
        }
        turn_begin = turn_end;
    }
    return EQF_OK;
}

eqf_status eqf__trajectory_field(const eqf__trajectory *trajectory, const eqf__noise *noise, unsigned stage,
                                 size_t num_blocks, cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL)
        return eqf__batched_field(trajectory, noise, stage, num_blocks, d_x, d_velocity, d_divergence);
    cl_uint blocks = (cl_uint)num_blocks, stage_index = stage;
    return EQF__LAUNCH(trajectory->ctx, &trajectory->at_stage, num_items(trajectory, num_blocks),
                       trajectory->group_size, EQF__ARG(d_x), EQF__ARG(d_velocity), EQF__ARG(d_divergence),
                       EQF__ARG(field->stage->d_stages), EQF__ARG(field->stage->d_shared), EQF__ARG(blocks),
                       EQF__ARG(stage_index));
}
