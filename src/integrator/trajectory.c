#include "trajectory.h"

#include <string.h>

#include "batched.h"

/* Loop turns of one work-item in one RK4 step, counted from the text of the kernels as if no loop were unrolled: what llvmpipe limits, and a
 * measure of the time that a watchdog sees. */
typedef struct step_turns {
    size_t forward, reverse;
} step_turns;

static step_turns turns_per_step(const eqf__field *field) {
    const size_t N = field->num_particles, D = field->space_dim, K = field->options.num_distance, pairs = N * (N - 1) / 2;
    const bool is_direct = field->evaluation == EQF_FIELD_DIRECT;
    const size_t over_particles = N * (2 + 3 * D), passes = N * D;
    const size_t velocity = pairs * (is_direct ? 1 + K + 2 * D : 2 + 2 * D) + over_particles + passes;
    const size_t vjp = pairs * (is_direct ? 1 + 2 * K + 2 * D : 2 + 3 * D) + over_particles;
    return (step_turns){4 * (velocity + passes) + 3 * passes, 3 * (velocity + 3 * passes) + 4 * (vjp + 5 * passes)};
}

static eqf_status refuse_particles(eqf_context *ctx, const eqf__field *field, const char *what) {
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                     "%s allows %llu loop turns a launch and one step %s of %u particles takes more: use another --device%s",
                     ctx->device->info.name, (unsigned long long)ctx->device->launch_iterations, what,
                     field->num_particles,
                     field->evaluation == EQF_FIELD_DIRECT ? ", or --field-evaluation table" : "");
}

/* The field's text between the numbers and the integrator's. */
static eqf_status assemble(eqf_context *ctx, const eqf__field *field, const char *name, const char *integrator_file,
                           eqf__program **program_out) {
    const char *files[8] = {"common/real.clh"};
    size_t f = 1;
    for (size_t i = 0; field->files[i] != NULL; i++) files[f++] = field->files[i];
    files[f++] = "integrator/rk4.clh";
    files[f++] = integrator_file;
    files[f] = NULL;
    return eqf__program_get(ctx, name, files, field->defines, program_out);
}

eqf_status eqf__trajectory_create(eqf_context *ctx, eqf__field *field, unsigned num_steps,
                                  eqf__trajectory *trajectory_out) {
    memset(trajectory_out, 0, sizeof *trajectory_out);
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    trajectory_out->ctx = ctx;
    trajectory_out->field = field;
    trajectory_out->num_steps = num_steps;
    trajectory_out->steps_per_launch = num_steps;
    trajectory_out->reverse_blocks = SIZE_MAX;
    trajectory_out->reverse_steps = num_steps;
    EQF__TRY(eqf__buffer_create(ctx, 4, NULL, "an empty buffer", &trajectory_out->d_nothing));
    if (eqf__field_is_batched(field)) return eqf__batched_create(ctx, field, &trajectory_out->batched);
    if (device->launch_iterations > 0) {
        const step_turns turns = turns_per_step(field);
        const size_t steps = (size_t)device->launch_iterations / turns.forward;
        const size_t reverse = (size_t)device->launch_iterations / turns.reverse;
        if (steps == 0) return refuse_particles(ctx, field, "of a trajectory");
        trajectory_out->steps_per_launch = steps < num_steps ? steps : num_steps;
        trajectory_out->reverse_steps = reverse < num_steps ? reverse : num_steps; /* 0: refused when asked for */
        trajectory_out->reverse_blocks = reverse > 0 ? reverse / trajectory_out->reverse_steps : 0;
    }
    eqf__program *program;
    EQF__TRY(assemble(ctx, field, "trajectory", "integrator/rk4.cl", &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "trajectory", &trajectory_out->forward));
    return eqf__kernel_create(ctx, program, "field_at_stage", &trajectory_out->at_stage);
}

void eqf__trajectory_clear(eqf__trajectory *trajectory) {
    eqf__buffer_destroy(&trajectory->d_nothing);
    eqf__kernel_destroy(&trajectory->forward);
    eqf__kernel_destroy(&trajectory->adjoint);
    eqf__kernel_destroy(&trajectory->at_stage);
    eqf__batched_destroy(&trajectory->batched);
}

eqf_status eqf__trajectory_solve(const eqf__trajectory *trajectory, eqf_direction direction, size_t num_blocks,
                                 cl_mem d_x, cl_mem d_log_det, cl_mem d_checkpoints) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL)
        return eqf__batched_solve(trajectory, direction, num_blocks, d_x, d_log_det, d_checkpoints);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = trajectory->num_steps, has_checkpoints = d_checkpoints != NULL;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    cl_mem checkpoints = has_checkpoints ? d_checkpoints : trajectory->d_nothing;
    for (cl_uint begin = 0; begin < num_steps;) {
        cl_uint end = begin + (cl_uint)trajectory->steps_per_launch;
        if (end > num_steps) end = num_steps;
        EQF__TRY(EQF__LAUNCH(trajectory->ctx, &trajectory->forward, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(d_log_det),
                             EQF__ARG(field->d_stages), EQF__ARG(field->d_shared), EQF__ARG(checkpoints),
                             EQF__ARG(has_checkpoints), EQF__ARG(blocks), EQF__ARG(num_steps), EQF__ARG(sign),
                             EQF__ARG(begin), EQF__ARG(end)));
        begin = end;
    }
    return EQF_OK;
}

eqf_status eqf__trajectory_prepare_reverse(eqf__trajectory *trajectory) {
    if (trajectory->adjoint.id != NULL) return EQF_OK;
    eqf__program *program;
    EQF__TRY(assemble(trajectory->ctx, trajectory->field, "trajectory_adjoint", "integrator/rk4_adjoint.cl", &program));
    return eqf__kernel_create(trajectory->ctx, program, "trajectory_adjoint", &trajectory->adjoint);
}

eqf_status eqf__trajectory_reverse(eqf__trajectory *trajectory, eqf_direction direction, size_t num_blocks,
                                   const eqf__trajectory_gradient *gradient) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL) return eqf__batched_reverse(trajectory, direction, num_blocks, gradient);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = trajectory->num_steps;
    cl_uint num_partials = (cl_uint)gradient->num_partials;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    if (trajectory->reverse_steps == 0) return refuse_particles(trajectory->ctx, field, "of a gradient");
    EQF__TRY(eqf__trajectory_prepare_reverse(trajectory));
    const size_t rounds = trajectory->reverse_blocks, steps = trajectory->reverse_steps;
    const size_t range = rounds > num_blocks / num_partials + 1 ? num_blocks : rounds * num_partials;
    for (cl_uint block_begin = 0; block_begin < blocks;) {
        const cl_uint block_end = blocks - block_begin > range ? block_begin + (cl_uint)range : blocks;
        for (cl_uint end = num_steps; end > 0;) {
            const cl_uint begin = end > steps ? end - (cl_uint)steps : 0;
            EQF__TRY(EQF__LAUNCH(
                trajectory->ctx, &trajectory->adjoint, num_partials, 0, EQF__ARG(gradient->d_checkpoints),
                EQF__ARG(gradient->d_adjoint_x), EQF__ARG(gradient->d_adjoint_log_det), EQF__ARG(gradient->d_weight),
                EQF__ARG(gradient->d_error), EQF__ARG(field->d_stages), EQF__ARG(field->d_shared),
                EQF__ARG(gradient->d_grad_stages), EQF__ARG(gradient->d_grad_shared), EQF__ARG(gradient->penalty),
                EQF__ARG(blocks), EQF__ARG(block_begin), EQF__ARG(block_end), EQF__ARG(num_partials),
                EQF__ARG(num_steps), EQF__ARG(sign), EQF__ARG(begin), EQF__ARG(end)));
            end = begin;
        }
        block_begin = block_end;
    }
    return EQF_OK;
}

eqf_status eqf__trajectory_field(const eqf__trajectory *trajectory, unsigned stage, size_t num_blocks, cl_mem d_x,
                                 cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = trajectory->field;
    if (trajectory->batched != NULL)
        return eqf__batched_field(trajectory, stage, num_blocks, d_x, d_velocity, d_divergence);
    cl_uint blocks = (cl_uint)num_blocks, stage_index = stage;
    return EQF__LAUNCH(trajectory->ctx, &trajectory->at_stage, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(d_velocity),
                       EQF__ARG(d_divergence), EQF__ARG(field->d_stages), EQF__ARG(field->d_shared), EQF__ARG(blocks),
                       EQF__ARG(stage_index));
}
