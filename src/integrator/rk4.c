#include "rk4.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "groups.h"

/* ---- Layouts ----------------------------------------------------------------------------------------------------- */

/* An upper bound, in bytes, of the local memory of the kernels of groups besides a stage's table: the field's part,
 * five states (in reverse those of the four stages and an adjoint) and two numbers for each work-item. */
static size_t group_local_bytes(const eqf__field *field, size_t group_size) {
    const size_t state = (size_t)field->num_particles * field->space_dim;
    return (field->group->local_size(field, group_size) + 5 * state + 2 * group_size) * sizeof(float);
}

/* The number of work-items that compute a sample; 0: a work-item computes a block of samples. */
static unsigned choose_group_size(const eqf__device *device, const eqf__field *field, eqf__group_use use) {
    if (field->group == NULL) return 0;
    const unsigned group_size = eqf__group_wanted(device, field, use);
    return group_local_bytes(field, group_size) <= device->info.local_memory_bytes ? group_size : 0;
}

static bool is_staged(const eqf__device *device, const eqf__field *field, unsigned group_size) {
    if (field->group->table_size == 0 || field->num_particles < device->group_staging_particles) return false;
    const size_t table_bytes = field->group->table_size * sizeof(float);
    return group_local_bytes(field, group_size) + table_bytes <= device->info.local_memory_bytes;
}

/* Builds a program from common/real.clh, the field's files, the scheme and the integrator's file. */
static eqf_status assemble(const eqf__rk4 *rk4, const char *name, const char *integrator_file, unsigned group_size,
                           eqf__program **program_out) {
    const eqf__field *field = rk4->base.field;
    const bool is_group = group_size > 0;
    const char *const *of_field = is_group ? field->group->files : field->stage->files;
    const char *files[9] = {"common/real.clh"};
    size_t f = 1;
    if (is_group) files[f++] = "common/group.clh";
    for (size_t i = 0; of_field[i] != NULL; i++) files[f++] = of_field[i];
    files[f++] = rk4->scheme_file;
    files[f++] = "integrator/steps.clh";
    files[f++] = integrator_file;
    files[f] = NULL;
    char defines[sizeof field->stage->defines + 128], full_name[64];
    eqf__real_defines(&rk4->base.real, defines, sizeof defines);
    snprintf(full_name, sizeof full_name, "%s%s", name, rk4->base.real.suffix);
    size_t length = strlen(defines);
    snprintf(defines + length, sizeof defines - length, "%s", field->stage->defines);
    if (is_group) {
        length = strlen(defines);
        const bool has_copy = is_staged(rk4->base.ctx->device, field, group_size);
        snprintf(defines + length, sizeof defines - length, " -D V=1 -D LANES=%u -D GROUP_SIZE=%u%s",
                 rk4->base.real.vector_width, group_size, has_copy ? " -D STAGE_IS_LOCAL" : "");
    }
    return eqf__program_get(rk4->base.ctx, full_name, files, defines, program_out);
}

/* ---- Launch budget ----------------------------------------------------------------------------------------------- */

/* Loop turns of one work-item in one RK4 step, counted in the text of the kernels as if no loop were unrolled: llvmpipe
 * limits them, and they measure the time of a launch, which watchdogs limit. */
typedef struct step_turns {
    size_t forward, reverse;
} step_turns;

static step_turns turns_per_step(const eqf__field *field) {
    const size_t passes = (size_t)field->num_particles * field->space_dim;
    const eqf__stage_turns turns = field->stage->turns;
    return (step_turns){4 * (turns.velocity + passes) + 3 * passes,
                        3 * (turns.velocity + 3 * passes) + 4 * (turns.vjp + 5 * passes)};
}

/* The same if a group computes a sample, for all vectors of the group together. */
static step_turns group_turns_per_step(const eqf__field *field, size_t group_size) {
    const eqf__stage_turns turns = field->group->turns(field, group_size);
    const size_t owned = eqf__divide_up((size_t)field->num_particles * field->space_dim, group_size);
    const size_t vectors = eqf__group_vectors(group_size),
                 folds = 16; /* loop turns of a sum over at most 2^16 work-items */
    return (step_turns){vectors * (4 * (turns.velocity + 2 * owned) + 3 * owned),
                        vectors * (3 * (turns.velocity + 3 * owned) + 4 * (turns.vjp + 5 * owned) + folds)};
}

static eqf_status refuse(const eqf__rk4 *rk4, const char *what) {
    const eqf__field *field = rk4->base.field;
    return eqf__budget_refuse(rk4->base.ctx, what, field->num_particles, field->stage->cheaper);
}

static eqf_status set_budget(eqf__rk4 *rk4) {
    const eqf_context *ctx = rk4->base.ctx;
    const eqf__field *field = rk4->base.field;
    const unsigned num_steps = rk4->base.num_steps;
    const step_turns forward =
        rk4->group_size > 0 ? group_turns_per_step(field, rk4->group_size) : turns_per_step(field);
    const step_turns reverse =
        rk4->reverse_group_size > 0 ? group_turns_per_step(field, rk4->reverse_group_size) : turns_per_step(field);
    rk4->steps_per_launch = eqf__budget_units(ctx, forward.forward, 0, num_steps);
    if (rk4->steps_per_launch == 0) return refuse(rk4, "step of a trajectory");
    /* 0: an error when a reverse solve is asked for */
    rk4->reverse_steps = eqf__budget_units(ctx, reverse.reverse, 0, num_steps);
    rk4->reverse_blocks = eqf__budget_units(ctx, reverse.reverse * rk4->reverse_steps, 0, SIZE_MAX);
    if (rk4->reverse_steps == 0) rk4->reverse_blocks = 0;
    return EQF_OK;
}

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static eqf_status create_forward(eqf__rk4 *rk4, unsigned group_size) {
    eqf__program *program;
    EQF__TRY(assemble(rk4, "trajectory", group_size > 0 ? "integrator/rk4_group.cl" : "integrator/rk4.cl", group_size,
                      &program));
    EQF__TRY(eqf__kernel_create(rk4->base.ctx, program, "trajectory", &rk4->forward));
    return eqf__kernel_create(rk4->base.ctx, program, "field_at_stage", &rk4->at_stage);
}

static eqf_status create_reverse(eqf__rk4 *rk4, unsigned group_size) {
    eqf__program *program;
    EQF__TRY(assemble(rk4, "trajectory_adjoint",
                      group_size > 0 ? "integrator/rk4_group_adjoint.cl" : "integrator/rk4_adjoint.cl", group_size,
                      &program));
    return eqf__kernel_create(rk4->base.ctx, program, "trajectory_adjoint", &rk4->adjoint);
}

/* Chooses the layout anew, by the device's profile and the field's present form. */
static eqf_status assemble_all(eqf__rk4 *rk4) {
    eqf__kernel_destroy(&rk4->forward);
    eqf__kernel_destroy(&rk4->adjoint);
    eqf__kernel_destroy(&rk4->at_stage);
    const eqf__device *device = rk4->base.ctx->device;
    rk4->group_size = choose_group_size(device, rk4->base.field, EQF__GROUP_NARROW);
    rk4->reverse_group_size = choose_group_size(device, rk4->base.field, EQF__GROUP_WIDE);
    EQF__TRY(set_budget(rk4));
    EQF__TRY(create_forward(rk4, rk4->group_size));
    if (eqf__group_fits(rk4->base.ctx, &rk4->forward, rk4->group_size)) return EQF_OK;
    eqf__kernel_destroy(&rk4->forward);
    eqf__kernel_destroy(&rk4->at_stage);
    rk4->group_size = rk4->reverse_group_size = 0;
    EQF__TRY(set_budget(rk4));
    return create_forward(rk4, 0);
}

static eqf_status rk4_assemble(eqf__solver *solver) {
    return assemble_all((eqf__rk4 *)solver);
}

static void rk4_destroy(eqf__solver *solver) {
    eqf__rk4 *rk4 = (eqf__rk4 *)solver;
    eqf__buffer_destroy(&rk4->d_nothing);
    eqf__kernel_destroy(&rk4->forward);
    eqf__kernel_destroy(&rk4->adjoint);
    eqf__kernel_destroy(&rk4->at_stage);
    free(rk4);
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

/* The number of work-items of a forward launch: one for each block, or a group for each sample. */
static size_t num_items(const eqf__rk4 *rk4, size_t num_blocks) {
    if (rk4->group_size == 0) return num_blocks;
    return num_blocks * rk4->base.real.vector_width * rk4->group_size;
}

static eqf_status rk4_solve(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                            cl_mem d_x, cl_mem d_log_det, const eqf__tape *tape) {
    const eqf__rk4 *rk4 = (const eqf__rk4 *)solver;
    const eqf__field *field = solver->field;
    (void)noise; /* the divergence is exact */
    const size_t num_blocks = eqf__solver_blocks(solver, num_samples);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = solver->num_steps, has_checkpoints = tape != NULL;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    cl_mem checkpoints = tape != NULL ? tape->d_checkpoints : rk4->d_nothing;
    for (cl_uint begin = 0; begin < num_steps;) {
        cl_uint end = begin + (cl_uint)rk4->steps_per_launch;
        if (end > num_steps) end = num_steps;
        EQF__TRY(EQF__LAUNCH(rk4->base.ctx, &rk4->forward, num_items(rk4, num_blocks), rk4->group_size, EQF__ARG(d_x),
                             EQF__ARG(d_log_det), EQF__ARG(field->stage->d_stages), EQF__ARG(field->stage->d_shared),
                             EQF__ARG(checkpoints), EQF__ARG(has_checkpoints), EQF__ARG(blocks), EQF__ARG(num_steps),
                             EQF__ARG(sign), EQF__ARG(begin), EQF__ARG(end)));
        begin = end;
    }
    return EQF_OK;
}

static eqf_status rk4_prepare_reverse(eqf__solver *solver) {
    eqf__rk4 *rk4 = (eqf__rk4 *)solver;
    if (rk4->reverse_steps == 0) return refuse(rk4, "step of a gradient");
    if (rk4->adjoint.id != NULL) return EQF_OK;
    EQF__TRY(create_reverse(rk4, rk4->reverse_group_size));
    if (eqf__group_fits(rk4->base.ctx, &rk4->adjoint, rk4->reverse_group_size)) return EQF_OK;
    eqf__kernel_destroy(&rk4->adjoint);
    rk4->reverse_group_size = 0;
    EQF__TRY(set_budget(rk4));
    EQF__TRY(create_reverse(rk4, 0));
    return rk4->reverse_steps > 0 ? EQF_OK : refuse(rk4, "step of a gradient");
}

static eqf__program *rk4_program(const eqf__solver *solver, bool is_reverse) {
    const eqf__rk4 *rk4 = (const eqf__rk4 *)solver;
    return is_reverse ? rk4->adjoint.program : rk4->forward.program;
}

static void rk4_tape_sizes(const eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out,
                           size_t *checkpoint_bytes_out) {
    const eqf__field *field = solver->field;
    tape_out->num_partials = ((const eqf__rk4 *)solver)->num_partials;
    tape_out->grad_stages_count = tape_out->num_partials * field->num_stages * field->stage->grad_stage_size;
    tape_out->grad_shared_count = tape_out->num_partials * field->stage->grad_shared_size;
    *checkpoint_bytes_out =
        max_blocks * solver->real.vector_width * solver->real.size * eqf__solver_dof(solver) * solver->num_steps;
}

/* Launches cl/integrator/rk4_adjoint.cl or rk4_group_adjoint.cl for one range of steps and blocks after the other. */
static eqf_status launch_reverse(const eqf__rk4 *rk4, eqf_direction direction, const eqf__tape *tape,
                                 const eqf__way_back *way_back) {
    const eqf__field *field = rk4->base.field;
    const size_t num_blocks = eqf__solver_blocks(&rk4->base, way_back->batch_size);
    cl_uint blocks = (cl_uint)num_blocks, num_steps = rk4->base.num_steps;
    cl_uint num_partials = (cl_uint)tape->num_partials;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    /* A turn is a block, or with groups a sample; partial sums add the turns in order. */
    const size_t group_size = rk4->reverse_group_size;
    const size_t num_turns = group_size > 0 ? num_blocks * rk4->base.real.vector_width : num_blocks;
    const size_t global_size = group_size > 0 ? num_partials * group_size : num_partials;
    const size_t rounds = rk4->reverse_blocks, steps = rk4->reverse_steps;
    const cl_uint turns = (cl_uint)num_turns;
    const size_t range = rounds > num_turns / num_partials + 1 ? num_turns : rounds * num_partials;
    for (cl_uint turn_begin = 0; turn_begin < turns;) {
        const cl_uint turn_end = turns - turn_begin > range ? turn_begin + (cl_uint)range : turns;
        for (cl_uint end = num_steps; end > 0;) {
            const cl_uint begin = end > steps ? end - (cl_uint)steps : 0;
            EQF__TRY(EQF__LAUNCH(
                rk4->base.ctx, &rk4->adjoint, global_size, group_size, EQF__ARG(tape->d_checkpoints),
                EQF__ARG(way_back->d_adjoint_x), EQF__ARG(way_back->d_adjoint_log_det), EQF__ARG(way_back->d_weight),
                EQF__ARG(way_back->d_error), EQF__ARG(field->stage->d_stages), EQF__ARG(field->stage->d_shared),
                EQF__ARG(tape->d_grad_stages), EQF__ARG(tape->d_grad_shared), EQF__ARG(way_back->penalty),
                EQF__ARG(blocks), EQF__ARG(turn_begin), EQF__ARG(turn_end), EQF__ARG(num_partials), EQF__ARG(num_steps),
                EQF__ARG(sign), EQF__ARG(begin), EQF__ARG(end)));
            end = begin;
        }
        turn_begin = turn_end;
    }
    return EQF_OK;
}

static eqf_status rk4_reverse(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, eqf__tape *tape,
                              const eqf__way_back *way_back) {
    eqf__field *field = solver->field;
    (void)noise;
    EQF__TRY(rk4_prepare_reverse(solver));
    EQF__TRY(eqf__tape_begin(solver, tape));
    EQF__TRY(launch_reverse((const eqf__rk4 *)solver, direction, tape, way_back));
    EQF__TRY(field->stage->contract(field, tape->d_grad_stages, tape->d_grad_shared, tape->num_partials,
                                    way_back->d_gradient));
    tape->is_zero = field->stage->leaves_zero;
    return EQF_OK;
}

eqf_status eqf__rk4_check_time(eqf__solver *solver, double t) {
    const double last = 2.0 * solver->num_steps, position = t * last;
    if (fabs(position - nearbyint(position)) < 1e-6 && position > -0.5 && position < last + 0.5) return EQF_OK;
    return eqf__fail(solver->ctx, EQF_ERROR_INVALID_ARGUMENT, "t = %g is not a stage time j/%u", t,
                     2 * solver->num_steps);
}

unsigned eqf__rk4_stage_at(const eqf__solver *solver, double t) {
    return (unsigned)nearbyint(t * 2.0 * solver->num_steps);
}

static eqf_status rk4_field_at(eqf__solver *solver, const eqf__noise *noise, double t, size_t num_samples, cl_mem d_x,
                               cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__rk4 *rk4 = (const eqf__rk4 *)solver;
    const eqf__field *field = solver->field;
    (void)noise;
    const size_t num_blocks = eqf__solver_blocks(solver, num_samples);
    cl_uint blocks = (cl_uint)num_blocks, stage_index = eqf__rk4_stage_at(solver, t);
    return EQF__LAUNCH(solver->ctx, &rk4->at_stage, num_items(rk4, num_blocks), rk4->group_size, EQF__ARG(d_x),
                       EQF__ARG(d_velocity), EQF__ARG(d_divergence), EQF__ARG(field->stage->d_stages),
                       EQF__ARG(field->stage->d_shared), EQF__ARG(blocks), EQF__ARG(stage_index));
}

/* ---- The solver -------------------------------------------------------------------------------------------------- */

static const eqf__solver_verbs verbs = {
    .solve = rk4_solve,
    .field_at = rk4_field_at,
    .check_time = eqf__rk4_check_time,
    .tape_sizes = rk4_tape_sizes,
    .prepare_reverse = rk4_prepare_reverse,
    .reverse = rk4_reverse,
    .assemble = rk4_assemble,
    .program = rk4_program,
    .destroy = rk4_destroy,
};

eqf__rk4 *eqf__rk4_of(eqf__solver *solver) {
    return solver->verbs == &verbs ? (eqf__rk4 *)solver : NULL;
}

eqf_status eqf__rk4_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out) {
    eqf_context *ctx = field->ctx;
    eqf__rk4 *rk4 = eqf__alloc(ctx, 1, sizeof *rk4, "the integrator");
    if (rk4 == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    rk4->base = (eqf__solver){
        .ctx = ctx, .verbs = &verbs, .field = field, .real = field->real, .num_steps = options->num_steps};
    rk4->scheme_file = eqf__integrator_scheme_file(options->method);
    rk4->num_partials = ctx->device->num_partials;
    eqf_status status = eqf__buffer_create(ctx, 4, NULL, "an empty buffer", &rk4->d_nothing);
    if (status == EQF_OK) status = assemble_all(rk4);
    if (status != EQF_OK)
        rk4_destroy(&rk4->base);
    else
        *solver_out = &rk4->base;
    return status;
}
