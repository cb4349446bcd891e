/* Dormand-Prince 5(4) with a work-item for each block or, where the profile says so, a work-group for each sample. Each
 * lane, or group, takes its own steps; a launch tries many of them. */
#include <string.h>

#include "budget.h"
#include "dopri5.h"
#include "groups.h"

enum { STAGES_PER_STEP = 6 };
/* Most tries of a step in one launch: nearly all solves need only one launch, and a stiff sample does not make a launch
 * too long for a watchdog. */
enum { MOST_TURNS = 512 };
/* The number of work-items with a partial gradient, for V > 1 and V = 1. It is fixed, so that the order of sums is. */
enum { PARTIALS_OF_VECTORS = 64, PARTIALS_OF_SCALARS = 4096 };
static const size_t most_partial_bytes = (size_t)256 << 20;

/* Loop turns of one work-item in one try of a step, counted in cl/integrator/dormand_prince.cl as if no loop were
 * unrolled; a loop of n turns counts n + 1. With too small a number llvmpipe gives wrong results without an error: the
 * test flow.budget compares. */
static size_t turns_of_try(const eqf__any_time_turns *field, size_t state_size, bool is_adjoint) {
    const size_t over_state = state_size + 1, stages = STAGES_PER_STEP, earlier_stages = stages * (stages + 1) / 2;
    const size_t slope = (is_adjoint ? field->vjp : field->velocity) + 2 * over_state;
    /* The states of stages with their sums over earlier stages, the error, the norms and the new state. */
    const size_t sums = stages * (1 + 2 * over_state) + state_size * (earlier_stages + stages);
    const size_t forward = 2 + sums + stages * (field->field + slope) + 8 * over_state;
    if (!is_adjoint) return forward;
    return forward + sums + stages * (field->field + over_state + field->gradient);
}

/* The same for the group's kernels, and for all vectors of the group together. A work-item has `owned` numbers of x. */
static size_t group_turns_of_try(const eqf__field *field, size_t group_size, bool is_adjoint) {
    const eqf__any_time_turns turns = field->any_time->group_turns(field, group_size);
    const size_t owned = eqf__divide_up((size_t)field->num_particles * field->space_dim, group_size);
    const size_t slots = is_adjoint ? 2 * owned : owned + 1, folds = 16; /* of a sum over at most 2^16 work-items */
    return eqf__group_vectors(group_size) * (turns_of_try(&turns, slots, is_adjoint) + 2 * folds);
}

/* An upper bound, in bytes, of the local memory of a group: the field's part, two configurations, the slopes of the
 * stages and four numbers for each work-item. */
static size_t group_local_bytes(const eqf__field *field, size_t group_size, size_t state_size) {
    const size_t num_dof = (size_t)field->num_particles * field->space_dim;
    return (field->any_time->group_local_size(field, group_size) + 2 * num_dof +
            (STAGES_PER_STEP + 1) * (state_size + 1) + 4 * group_size + 8) *
           sizeof(float);
}

static unsigned choose_group_size(const eqf__device *device, const eqf__field *field, size_t state_size) {
    if (field->any_time->group_files[0] == NULL) return 0;
    const unsigned group_size = eqf__group_wanted(device, field, EQF__GROUP_WIDE);
    return group_local_bytes(field, group_size, state_size) <= device->info.local_memory_bytes ? group_size : 0;
}

static eqf_status assemble(eqf__dopri5 *dopri5, bool is_adjoint, unsigned group_size, eqf__program **program_out) {
    const eqf__any_time_form *form = dopri5->base.field->any_time;
    const char *files[16] = {"common/real.clh"};
    char defines[sizeof form->defines + 64];
    size_t f = 1;
    if (group_size > 0) {
        files[f++] = "common/group.clh";
        for (size_t i = 0; form->group_files[i] != NULL; i++) files[f++] = form->group_files[i];
    } else {
        files[f++] = form->file;
    }
    files[f++] = "integrator/dormand_prince_tableau.clh";
    files[f++] = "integrator/dormand_prince.clh";
    files[f++] = eqf__dopri5_system_file(is_adjoint);
    files[f++] = group_size > 0 ? "integrator/dormand_prince_group.cl" : "integrator/dormand_prince.cl";
    files[f++] = "integrator/dormand_prince_rows.cl";
    files[f] = NULL;
    snprintf(defines, sizeof defines, "%s", form->defines);
    const size_t length = strlen(defines);
    if (group_size > 0)
        snprintf(defines + length, sizeof defines - length, " -D ANY_TIME -D V=1 -D LANES=%u -D GROUP_SIZE=%u",
                 dopri5->base.real.vector_width, group_size);
    return eqf__program_get(dopri5->base.ctx, is_adjoint ? "dormand_prince_adjoint" : "dormand_prince", files, defines,
                            program_out);
}

static void clear_system(eqf__dopri5_system *system) {
    eqf__kernel_destroy(&system->begin);
    eqf__kernel_destroy(&system->steps);
    eqf__kernel_destroy(&system->field);
}

/* Builds the kernels of one layout. */
static eqf_status create_layout(eqf__dopri5 *dopri5, bool is_adjoint, unsigned group_size,
                                eqf__dopri5_system *system_out) {
    eqf_context *ctx = dopri5->base.ctx;
    const eqf__field *field = dopri5->base.field;
    const size_t owned = eqf__divide_up(system_out->state_size, group_size > 0 ? group_size : 1) + 1;
    const size_t turns = group_size > 0 ? group_turns_of_try(field, group_size, is_adjoint)
                                        : turns_of_try(&field->any_time->turns, system_out->state_size, is_adjoint);
    /* a launch loads and stores the state once */
    const size_t of_launch =
        group_size > 0 ? eqf__group_vectors(group_size) * 2 * owned : 2 * (system_out->state_size + 1);
    system_out->turns_per_launch = (cl_uint)eqf__budget_units(ctx, turns, of_launch, MOST_TURNS);
    if (system_out->turns_per_launch == 0)
        return eqf__budget_refuse(ctx, "dopri5 step", field->num_particles, ", or EQF_INTEGRATOR_RK4");
    eqf__program *program;
    EQF__TRY(assemble(dopri5, is_adjoint, group_size, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "adaptive_begin", &system_out->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "adaptive_steps", &system_out->steps));
    EQF__TRY(eqf__kernel_create(ctx, program, "field_at_time", &system_out->field));
    system_out->group_size = group_size;
    system_out->items_per_block = group_size > 0 ? dopri5->base.real.vector_width : 1;
    return EQF_OK;
}

static eqf_status create_system(eqf__dopri5 *dopri5, bool is_adjoint, eqf__dopri5_system *system_out) {
    eqf_context *ctx = dopri5->base.ctx;
    const unsigned group_size = choose_group_size(ctx->device, dopri5->base.field, system_out->state_size);
    EQF__TRY(create_layout(dopri5, is_adjoint, group_size, system_out));
    if (!eqf__group_fits(ctx, &system_out->begin, group_size) ||
        !eqf__group_fits(ctx, &system_out->steps, group_size)) {
        clear_system(system_out);
        EQF__TRY(create_layout(dopri5, is_adjoint, 0, system_out));
    }
    EQF__TRY(eqf__kernel_create(ctx, system_out->steps.program, "adaptive_put", &system_out->put));
    return eqf__kernel_create(ctx, system_out->steps.program, "adaptive_take", &system_out->take);
}

/* The number of work-items of a launch over so many blocks. */
static size_t num_items(const eqf__dopri5_system *system, size_t num_blocks) {
    return num_blocks * system->items_per_block * (system->group_size > 0 ? system->group_size : 1);
}

/* Integrates all samples, blocks_at_once blocks in a launch, which is repeated until all their lanes are done. */
static eqf_status run_range(eqf__dopri5 *dopri5, const eqf__dopri5_run *r, size_t blocks_at_once, cl_mem d_grad) {
    eqf__dopri5_system *system = r->system;
    const size_t num_blocks = r->num_blocks;
    const cl_mem d_adjoint_log_det = r->d_adjoint_log_det;
    const cl_float adjoint_scale = r->adjoint_scale, direction = r->direction;
    eqf_context *ctx = dopri5->base.ctx;
    const eqf__field *field = dopri5->base.field;
    const eqf_adaptive_options *o = &dopri5->options;
    cl_uint blocks = (cl_uint)num_blocks, has_log_det = o->error_norm == EQF_ERROR_NORM_STATE_AND_LOG_DET;
    cl_uint max_steps = o->max_steps;
    cl_float rtol = (cl_float)o->rtol, atol = (cl_float)o->atol;
    EQF__TRY(EQF__LAUNCH(ctx, &system->begin, num_items(system, num_blocks), system->group_size,
                         EQF__ARG(system->d_state), EQF__ARG(system->d_slope), EQF__ARG(system->d_carry),
                         EQF__ARG(system->d_control), EQF__ARG(field->d_params), EQF__ARG(field->any_time->d_constants),
                         EQF__ARG(d_adjoint_log_det), EQF__ARG(adjoint_scale), EQF__ARG(rtol), EQF__ARG(atol),
                         EQF__ARG(has_log_det), EQF__ARG(direction), EQF__ARG(blocks)));
    for (size_t begin = 0; begin < num_blocks; begin += blocks_at_once) {
        const size_t count = num_blocks - begin < blocks_at_once ? num_blocks - begin : blocks_at_once;
        cl_uint block_begin = (cl_uint)begin, block_end = (cl_uint)(begin + count), num_running = 1;
        while (num_running > 0) {
            EQF__TRY(eqf__fill_zero(ctx, system->d_num_running, sizeof num_running));
            EQF__TRY(EQF__LAUNCH(
                ctx, &system->steps, num_items(system, count), system->group_size, EQF__ARG(system->d_state),
                EQF__ARG(system->d_slope), EQF__ARG(system->d_carry), EQF__ARG(system->d_control),
                EQF__ARG(field->d_params), EQF__ARG(field->any_time->d_constants), EQF__ARG(d_adjoint_log_det),
                EQF__ARG(d_grad), EQF__ARG(system->d_num_running), EQF__ARG(adjoint_scale), EQF__ARG(rtol),
                EQF__ARG(atol), EQF__ARG(has_log_det), EQF__ARG(direction), EQF__ARG(dopri5->equal_step),
                EQF__ARG(max_steps), EQF__ARG(system->turns_per_launch), EQF__ARG(block_begin), EQF__ARG(block_end)));
            EQF__TRY(eqf__buffer_read(ctx, system->d_num_running, 0, sizeof num_running, &num_running));
        }
    }
    return EQF_OK;
}

static eqf_status run(eqf__dopri5 *dopri5, const eqf__dopri5_run *r) {
    if (r->is_reverse) return run_range(dopri5, r, dopri5->num_partials, dopri5->d_grad);
    return run_range(dopri5, r, r->num_blocks, r->system->d_num_running); /* any buffer, as there is no gradient */
}

static size_t grad_count(const eqf__dopri5 *dopri5) {
    return dopri5->num_partials * dopri5->base.field->any_time->grad_size * dopri5->base.real.vector_width;
}

static eqf_status contract(eqf__dopri5 *dopri5, float share, cl_mem d_gradient) {
    eqf__field *field = dopri5->base.field;
    return field->any_time->contract(field, dopri5->d_grad, dopri5->num_partials, share, d_gradient);
}

static eqf_status field_at(eqf__dopri5 *dopri5, const eqf__noise *noise, double t, size_t num_blocks, cl_mem d_x,
                           cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = dopri5->base.field;
    (void)noise; /* the divergence is exact */
    cl_uint blocks = (cl_uint)num_blocks;
    cl_float time = (cl_float)t;
    const eqf__dopri5_system *system = &dopri5->forward;
    return EQF__LAUNCH(dopri5->base.ctx, &system->field, num_items(system, num_blocks), system->group_size,
                       EQF__ARG(d_x), EQF__ARG(d_velocity), EQF__ARG(d_divergence), EQF__ARG(field->d_params),
                       EQF__ARG(field->any_time->d_constants), EQF__ARG(time), EQF__ARG(blocks));
}

static const eqf__dopri5_engine engine = {create_system, clear_system, run, grad_count, contract, field_at};

eqf_status eqf__dopri5_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out) {
    const size_t partial_bytes = field->any_time->grad_size * field->real.vector_width * sizeof(float);
    const size_t affordable = most_partial_bytes / partial_bytes;
    size_t num_partials = field->real.vector_width > 1 ? PARTIALS_OF_VECTORS : PARTIALS_OF_SCALARS;
    if (num_partials > affordable) num_partials = affordable > 0 ? affordable : 1;
    return eqf__dopri5_open(field, options, &engine, num_partials, solver_out);
}
