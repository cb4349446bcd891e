/* RK4 for fields that are evaluated for a batch at a time: cl/integrator/rk4_batched.cl has the kernels,
 * cl/integrator/rk4.clh and steps.clh the scheme. */
#include "rk4.h"

#include <stdlib.h>
#include <string.h>

typedef struct rk4_batched {
    eqf__solver base;
    cl_mem d_nothing;  /* passed as checkpoints if there are none */
    size_t state_size; /* N D V, the numbers of a block's state */
    size_t max_blocks;
    bool has_reverse;
    /* [max_blocks][N*D][V]; y[1 ... 3], difference, adjoint_k, from_later and total are for the reverse only */
    cl_mem d_y[4], d_k, d_sum, d_difference, d_adjoint_k, d_from_later, d_total;
    cl_mem d_times, d_div, d_div_sum, d_div_difference, d_adjoint_div; /* [max_blocks][V] */
    /* For the divergence by Simpson's rule: x before the step; velocities and divergences at both ends of the step. */
    cl_mem d_before, d_k_node[2], d_div_node[2];
    eqf__kernel set_times, begin, stage, end, node, middle, simpson, reach, difference, stage_adjoint, add;
} rk4_batched;

/* Of stage s of a step: its time in half steps, its weight, and the length along its slope to the next stage, in
 * steps. */
static const unsigned rk4_offset[4] = {0, 1, 1, 2};
static const double rk4_weight[4] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
static const double rk4_reach[4] = {0.5, 0.5, 1, 0};

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static void release_memory(rk4_batched *batched) {
    cl_mem *buffers[] = {&batched->d_y[0],        &batched->d_y[1],
                         &batched->d_y[2],        &batched->d_y[3],
                         &batched->d_k,           &batched->d_sum,
                         &batched->d_difference,  &batched->d_adjoint_k,
                         &batched->d_from_later,  &batched->d_total,
                         &batched->d_times,       &batched->d_div,
                         &batched->d_div_sum,     &batched->d_div_difference,
                         &batched->d_adjoint_div, &batched->d_before,
                         &batched->d_k_node[0],   &batched->d_k_node[1],
                         &batched->d_div_node[0], &batched->d_div_node[1]};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    batched->max_blocks = 0;
    batched->has_reverse = false;
}

static void batched_destroy(eqf__solver *solver) {
    rk4_batched *batched = (rk4_batched *)solver;
    release_memory(batched);
    eqf__kernel *kernels[] = {&batched->set_times,  &batched->begin,         &batched->stage,   &batched->end,
                              &batched->node,       &batched->middle,        &batched->simpson, &batched->reach,
                              &batched->difference, &batched->stage_adjoint, &batched->add};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    eqf__buffer_destroy(&batched->d_nothing);
    free(batched);
}

static eqf_status create_kernels(eqf_context *ctx, const eqf__field *field, rk4_batched *batched) {
    static const char *const files[] = {"common/real.clh", "integrator/rk4_batched.cl", NULL};
    char defines[128], name[32];
    eqf__real_defines(&field->real, defines, sizeof defines);
    const size_t length = strlen(defines);
    snprintf(defines + length, sizeof defines - length, "-D DOF=%u", field->num_particles * field->space_dim);
    snprintf(name, sizeof name, "rk4_batched%s", field->real.suffix);
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, name, files, defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_set_times", &batched->set_times));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_begin", &batched->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_stage", &batched->stage));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_end", &batched->end));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_node", &batched->node));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_middle", &batched->middle));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_simpson", &batched->simpson));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_reach", &batched->reach));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_difference", &batched->difference));
    EQF__TRY(eqf__kernel_create(ctx, program, "rk4_stage_adjoint", &batched->stage_adjoint));
    return eqf__kernel_create(ctx, program, "rk4_add", &batched->add);
}

static bool has_nodes(const rk4_batched *batched) {
    return batched->base.field->batched->is_divergence_costly;
}

static eqf_status create_memory(rk4_batched *batched, size_t num_blocks, bool has_reverse) {
    const size_t size = batched->base.real.size, state = num_blocks * batched->state_size * size;
    const size_t numbers = num_blocks * batched->base.real.vector_width * size;
    const struct {
        cl_mem *buffer;
        size_t num_bytes;
        enum { ALWAYS, REVERSE, NODES } use;
    } needed[] = {
        {&batched->d_y[0], state, ALWAYS},
        {&batched->d_k, state, ALWAYS},
        {&batched->d_sum, state, ALWAYS},
        {&batched->d_times, numbers, ALWAYS},
        {&batched->d_div, numbers, ALWAYS},
        {&batched->d_div_sum, numbers, ALWAYS},
        {&batched->d_y[1], state, REVERSE},
        {&batched->d_y[2], state, REVERSE},
        {&batched->d_y[3], state, REVERSE},
        {&batched->d_difference, state, REVERSE},
        {&batched->d_adjoint_k, state, REVERSE},
        {&batched->d_from_later, state, REVERSE},
        {&batched->d_total, state, REVERSE},
        {&batched->d_div_difference, numbers, REVERSE},
        {&batched->d_adjoint_div, numbers, REVERSE},
        {&batched->d_before, state, NODES},
        {&batched->d_k_node[0], state, NODES},
        {&batched->d_k_node[1], state, NODES},
        {&batched->d_div_node[0], numbers, NODES},
        {&batched->d_div_node[1], numbers, NODES},
    };
    for (size_t b = 0; b < sizeof needed / sizeof needed[0]; b++)
        if (needed[b].use == ALWAYS || (needed[b].use == REVERSE ? has_reverse : has_nodes(batched)))
            EQF__TRY(eqf__buffer_create(batched->base.ctx, needed[b].num_bytes, NULL, "the integrator's stages",
                                        needed[b].buffer));
    return EQF_OK;
}

static eqf_status ensure_memory(rk4_batched *batched, size_t num_blocks, bool has_reverse) {
    if (batched->max_blocks >= num_blocks && (batched->has_reverse || !has_reverse)) return EQF_OK;
    has_reverse = has_reverse || batched->has_reverse;
    if (num_blocks < batched->max_blocks) num_blocks = batched->max_blocks;
    release_memory(batched);
    eqf_status status = create_memory(batched, num_blocks, has_reverse);
    if (status != EQF_OK) { /* so that the caller can try a smaller batch */
        release_memory(batched);
        return status;
    }
    batched->max_blocks = num_blocks;
    batched->has_reverse = has_reverse;
    return EQF_OK;
}

/* ---- One evaluation ---------------------------------------------------------------------------------------------- */

/* STEP_STAGE of cl/integrator/steps.clh: the time of stage s of a step, in half steps from t = 0. */
static unsigned step_stage(unsigned num_steps, int sign, unsigned step, unsigned s) {
    return sign > 0 ? 2 * step + rk4_offset[s] : 2 * (num_steps - step) - rk4_offset[s];
}

static eqf_status set_times(rk4_batched *batched, unsigned num_steps, unsigned stage, size_t num_blocks) {
    const eqf__real *real = &batched->base.real;
    const eqf__real_argument t = eqf__real_value(real, (double)stage / (2.0 * num_steps));
    const cl_uint blocks = (cl_uint)num_blocks;
    return EQF__LAUNCH(batched->base.ctx, &batched->set_times, num_blocks, 0, EQF__ARG(batched->d_times),
                       EQF__REAL_ARG(real, t), EQF__ARG(blocks));
}

/* k and div (NULL: not computed) at stage time number `stage`. An evaluation changes only the field's scratch
 * memory. */
static eqf_status evaluate(rk4_batched *batched, const eqf__noise *noise, unsigned stage, size_t num_blocks, cl_mem d_y,
                           cl_mem d_k, cl_mem d_div) {
    eqf__field *field = batched->base.field;
    EQF__TRY(set_times(batched, batched->base.num_steps, stage, num_blocks));
    return field->batched->evaluate(field, noise, num_blocks, d_y, batched->d_times, d_k, d_div);
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

/* The four stages of a step from d_x: d_sum = weighted sum of their slopes, d_div_sum of their divergences. d_k_first:
 * the slope of the first stage if it is known, and d_div_first its divergence; then no other divergence is evaluated,
 * and d_div_sum has no meaning. NULL: the first stage is evaluated like the others. */
static eqf_status take_stages(rk4_batched *batched, const eqf__noise *noise, int sign, cl_uint step, size_t num_blocks,
                              cl_mem d_x, cl_mem d_k_first, cl_mem d_div_first, const eqf__tape *tape) {
    eqf_context *ctx = batched->base.ctx;
    const unsigned num_steps = batched->base.num_steps;
    const eqf__real *real = &batched->base.real;
    const cl_uint blocks = (cl_uint)num_blocks, has_checkpoints = tape != NULL;
    const cl_mem checkpoints = tape != NULL ? tape->d_checkpoints : batched->d_nothing;
    const bool is_known = d_k_first != NULL;
    const cl_mem d_div = is_known ? d_div_first : batched->d_div;
    EQF__TRY(EQF__LAUNCH(ctx, &batched->begin, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(batched->d_y[0]),
                         EQF__ARG(batched->d_sum), EQF__ARG(batched->d_div_sum), EQF__ARG(checkpoints),
                         EQF__ARG(has_checkpoints), EQF__ARG(step), EQF__ARG(blocks)));
    for (unsigned s = 0; s < 4; s++) {
        const eqf__real_argument weight = eqf__real_value(real, rk4_weight[s]);
        const eqf__real_argument reach = eqf__real_value(real, (double)sign / num_steps * rk4_reach[s]);
        const cl_mem d_k = s == 0 && is_known ? d_k_first : batched->d_k;
        if (s > 0 || !is_known)
            EQF__TRY(evaluate(batched, noise, step_stage(num_steps, sign, step, s), num_blocks, batched->d_y[0], d_k,
                              is_known ? NULL : d_div));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->stage, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(d_k), EQF__ARG(d_div),
                             EQF__ARG(batched->d_y[0]), EQF__ARG(batched->d_sum), EQF__ARG(batched->d_div_sum),
                             EQF__REAL_ARG(real, weight), EQF__REAL_ARG(real, reach), EQF__ARG(blocks)));
    }
    return EQF_OK;
}

/* A step of a field whose divergence is costly may take seconds: waits for it, and lets the program stop the call. */
static eqf_status wait_and_ask(eqf_context *ctx) {
    if (!eqf__has_progress(ctx)) return EQF_OK;
    EQF__TRY(eqf__finish(ctx));
    return eqf__progress_again(ctx);
}

/* The same trajectory with two divergences in a step instead of four: Simpson's rule on both ends of the step and its
 * middle, whose position (by a cubic) has an error of O(h^4), is of fourth order too. docs/method.md, section 9. */
static eqf_status solve_by_nodes(rk4_batched *batched, const eqf__noise *noise, int sign, size_t num_blocks, cl_mem d_x,
                                 cl_mem d_log_det) {
    eqf_context *ctx = batched->base.ctx;
    const unsigned num_steps = batched->base.num_steps;
    const eqf__real *real = &batched->base.real;
    const eqf__real_argument h = eqf__real_value(real, (double)sign / num_steps);
    const cl_uint blocks = (cl_uint)num_blocks;
    EQF__TRY(evaluate(batched, noise, step_stage(num_steps, sign, 0, 0), num_blocks, d_x, batched->d_k_node[0],
                      batched->d_div_node[0]));
    for (unsigned step = 0; step < num_steps; step++) {
        const cl_mem d_k = batched->d_k_node[step % 2], d_div = batched->d_div_node[step % 2];
        const cl_mem d_k_next = batched->d_k_node[(step + 1) % 2], d_div_next = batched->d_div_node[(step + 1) % 2];
        EQF__TRY(take_stages(batched, noise, sign, step, num_blocks, d_x, d_k, d_div, NULL));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->node, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(batched->d_sum),
                             EQF__ARG(batched->d_before), EQF__REAL_ARG(real, h), EQF__ARG(blocks)));
        EQF__TRY(evaluate(batched, noise, step_stage(num_steps, sign, step, 3), num_blocks, d_x, d_k_next, d_div_next));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->middle, num_blocks, 0, EQF__ARG(batched->d_before), EQF__ARG(d_x),
                             EQF__ARG(d_k), EQF__ARG(d_k_next), EQF__ARG(batched->d_y[0]), EQF__REAL_ARG(real, h),
                             EQF__ARG(blocks)));
        EQF__TRY(evaluate(batched, noise, step_stage(num_steps, sign, step, 1), num_blocks, batched->d_y[0],
                          batched->d_k, batched->d_div));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->simpson, num_blocks, 0, EQF__ARG(d_log_det), EQF__ARG(d_div),
                             EQF__ARG(batched->d_div), EQF__ARG(d_div_next), EQF__REAL_ARG(real, h), EQF__ARG(blocks)));
        EQF__TRY(wait_and_ask(ctx));
    }
    return EQF_OK;
}

static eqf_status batched_solve(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction,
                                size_t num_samples, cl_mem d_x, cl_mem d_log_det, const eqf__tape *tape) {
    rk4_batched *batched = (rk4_batched *)solver;
    eqf_context *ctx = solver->ctx;
    const size_t num_blocks = eqf__solver_blocks(solver, num_samples);
    const unsigned num_steps = solver->num_steps;
    const int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    const eqf__real *real = &solver->real;
    const eqf__real_argument h = eqf__real_value(real, (double)sign / num_steps);
    const cl_uint blocks = (cl_uint)num_blocks;
    if (num_blocks == 0) return EQF_OK;
    EQF__TRY(ensure_memory(batched, num_blocks, false));
    if (has_nodes(batched) && tape == NULL) return solve_by_nodes(batched, noise, sign, num_blocks, d_x, d_log_det);
    for (unsigned step = 0; step < num_steps; step++) {
        EQF__TRY(take_stages(batched, noise, sign, step, num_blocks, d_x, NULL, NULL, tape));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->end, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(batched->d_sum),
                             EQF__ARG(d_log_det), EQF__ARG(batched->d_div_sum), EQF__REAL_ARG(real, h),
                             EQF__ARG(blocks)));
    }
    return EQF_OK;
}

/* The positions y[0 ... 3] of the four stages of a step, and the differences of the middle two; adds to the error. */
static eqf_status recompute_step(rk4_batched *batched, const eqf__noise *noise, int sign, unsigned step,
                                 size_t num_blocks, const eqf__tape *tape, const eqf__way_back *way_back) {
    eqf_context *ctx = batched->base.ctx;
    const cl_float h = (cl_float)sign / (cl_float)batched->base.num_steps;
    const cl_uint blocks = (cl_uint)num_blocks;
    const size_t num_bytes = num_blocks * batched->state_size * sizeof(float);
    EQF__TRY(eqf__buffer_copy(ctx, tape->d_checkpoints, step * num_bytes, batched->d_y[0], 0, num_bytes));
    for (unsigned s = 0; s < 3; s++) {
        const cl_float reach = h * (cl_float)rk4_reach[s];
        cl_mem d_k = s == 1 ? batched->d_difference : batched->d_k;
        cl_mem d_div = s == 1 ? batched->d_div_difference : batched->d_div;
        EQF__TRY(evaluate(batched, noise, step_stage(batched->base.num_steps, sign, step, s), num_blocks,
                          batched->d_y[s], d_k, d_div));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->reach, num_blocks, 0, EQF__ARG(batched->d_y[0]), EQF__ARG(d_k),
                             EQF__ARG(batched->d_y[s + 1]), EQF__ARG(reach), EQF__ARG(blocks)));
    }
    return EQF__LAUNCH(ctx, &batched->difference, num_blocks, 0, EQF__ARG(batched->d_difference),
                       EQF__ARG(batched->d_div_difference), EQF__ARG(batched->d_k), EQF__ARG(batched->d_div),
                       EQF__ARG(way_back->d_error), EQF__ARG(way_back->d_adjoint_x), EQF__ARG(batched->d_total),
                       EQF__ARG(batched->d_from_later), EQF__ARG(h), EQF__ARG(blocks));
}

static eqf_status reverse_step(rk4_batched *batched, const eqf__noise *noise, int sign, unsigned step,
                               size_t num_blocks, const eqf__tape *tape, const eqf__way_back *way_back) {
    eqf__field *field = batched->base.field;
    eqf_context *ctx = batched->base.ctx;
    const cl_float h = (cl_float)sign / (cl_float)batched->base.num_steps, penalty = way_back->penalty;
    const cl_uint blocks = (cl_uint)num_blocks;
    EQF__TRY(recompute_step(batched, noise, sign, step, num_blocks, tape, way_back));
    for (unsigned s = 4; s-- > 0;) {
        const cl_float share = h * (cl_float)rk4_weight[s], reach = h * (cl_float)rk4_reach[s];
        const cl_int pull_sign = s == 1 ? 1 : s == 2 ? -1 : 0;
        EQF__TRY(EQF__LAUNCH(ctx, &batched->stage_adjoint, num_blocks, 0, EQF__ARG(way_back->d_adjoint_x),
                             EQF__ARG(way_back->d_adjoint_log_det), EQF__ARG(way_back->d_weight),
                             EQF__ARG(batched->d_difference), EQF__ARG(batched->d_div_difference),
                             EQF__ARG(batched->d_from_later), EQF__ARG(batched->d_adjoint_k),
                             EQF__ARG(batched->d_adjoint_div), EQF__ARG(share), EQF__ARG(reach), EQF__ARG(penalty),
                             EQF__ARG(h), EQF__ARG(pull_sign), EQF__ARG(blocks)));
        EQF__TRY(set_times(batched, batched->base.num_steps, step_stage(batched->base.num_steps, sign, step, s),
                           num_blocks));
        EQF__TRY(field->batched->vjp(field, noise, num_blocks, batched->d_y[s], batched->d_times, batched->d_adjoint_k,
                                     batched->d_adjoint_div, batched->d_from_later, tape->d_grad_shared));
        EQF__TRY(EQF__LAUNCH(ctx, &batched->add, num_blocks, 0, EQF__ARG(batched->d_total),
                             EQF__ARG(batched->d_from_later), EQF__ARG(blocks)));
    }
    return eqf__buffer_copy(ctx, batched->d_total, 0, way_back->d_adjoint_x, 0,
                            num_blocks * batched->state_size * sizeof(float));
}

static eqf_status batched_reverse(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction,
                                  eqf__tape *tape, const eqf__way_back *way_back) {
    rk4_batched *batched = (rk4_batched *)solver;
    eqf__field *field = solver->field;
    const size_t num_blocks = eqf__solver_blocks(solver, way_back->batch_size);
    const int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    if (num_blocks > 0) EQF__TRY(ensure_memory(batched, num_blocks, true));
    EQF__TRY(eqf__tape_begin(solver, tape));
    for (unsigned step = solver->num_steps; num_blocks > 0 && step-- > 0;)
        EQF__TRY(reverse_step(batched, noise, sign, step, num_blocks, tape, way_back));
    return field->batched->contract(field, tape->d_grad_shared, way_back->d_gradient);
}

static eqf_status batched_field_at(eqf__solver *solver, const eqf__noise *noise, double t, size_t num_samples,
                                   cl_mem d_x, cl_mem d_velocity, cl_mem d_divergence) {
    rk4_batched *batched = (rk4_batched *)solver;
    const size_t num_blocks = eqf__solver_blocks(solver, num_samples);
    if (num_blocks == 0) return EQF_OK;
    EQF__TRY(ensure_memory(batched, num_blocks, false));
    return evaluate(batched, noise, eqf__rk4_stage_at(solver, t), num_blocks, d_x, d_velocity, d_divergence);
}

/* ---- The solver -------------------------------------------------------------------------------------------------- */

static void batched_tape_sizes(const eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out,
                               size_t *checkpoint_bytes_out) {
    const rk4_batched *batched = (const rk4_batched *)solver;
    tape_out->num_partials = 1;
    tape_out->grad_shared_count = solver->field->batched->grad_size;
    *checkpoint_bytes_out = max_blocks * batched->state_size * sizeof(float) * solver->num_steps;
}

/* All kernels are in one program. */
static eqf_status batched_prepare_reverse(eqf__solver *solver) {
    (void)solver;
    return EQF_OK;
}

static eqf__program *batched_program(const eqf__solver *solver, bool is_reverse) {
    (void)is_reverse;
    return ((const rk4_batched *)solver)->begin.program;
}

static const eqf__solver_verbs verbs = {
    .solve = batched_solve,
    .field_at = batched_field_at,
    .check_time = eqf__rk4_check_time,
    .tape_sizes = batched_tape_sizes,
    .prepare_reverse = batched_prepare_reverse,
    .reverse = batched_reverse,
    .program = batched_program,
    .destroy = batched_destroy,
};

eqf_status eqf__rk4_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out) {
    eqf_context *ctx = field->ctx;
    rk4_batched *batched = eqf__alloc(ctx, 1, sizeof *batched, "the integrator");
    if (batched == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    batched->base = (eqf__solver){
        .ctx = ctx, .verbs = &verbs, .field = field, .real = field->real, .num_steps = options->num_steps};
    batched->state_size = (size_t)field->num_particles * field->space_dim * field->real.vector_width;
    eqf_status status = eqf__buffer_create(ctx, 4, NULL, "an empty buffer", &batched->d_nothing);
    if (status == EQF_OK) status = create_kernels(ctx, field, batched);
    if (status != EQF_OK)
        batched_destroy(&batched->base);
    else
        *solver_out = &batched->base;
    return status;
}
