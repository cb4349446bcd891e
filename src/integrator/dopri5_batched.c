/* Dormand-Prince 5(4) for fields that are evaluated for a batch at a time: the loop over steps is on the host, the
 * choice of each sample's step size on the device. Equations: cl/integrator/dormand_prince_batched.cl. */
#include "dopri5.h"

#include <stdlib.h>
#include <string.h>

enum { NUM_STAGES = 7, STEPS_BETWEEN_LOOKS = 4 }; /* reading the number of running samples waits for the device */
static const bool has_weight[NUM_STAGES - 1] = {true, false, true, true, true, true}; /* b_2 = 0 */

struct eqf__dopri5_batched {
    size_t max_blocks, num_dof;
    bool is_adjoint;
    eqf__kernel ask, keep, probe, begin, decide, ask_gradient, move, set_times;
    cl_mem d_k;                                                   /* [max_blocks][NUM_STAGES][state_size][V] */
    cl_mem d_next, d_next_carry;                                  /* [max_blocks][state_size][V] */
    cl_mem d_x, d_velocity, d_adjoint_velocity, d_rate;           /* [max_blocks][N*D][V] */
    cl_mem d_times, d_divergence, d_adjoint_divergence, d_weight; /* [max_blocks][V] */
    cl_mem d_start;                                               /* [max_blocks][2][V] */
};

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static void release_buffers(eqf__dopri5_batched *batched) {
    cl_mem *buffers[] = {&batched->d_k,
                         &batched->d_next,
                         &batched->d_next_carry,
                         &batched->d_x,
                         &batched->d_velocity,
                         &batched->d_adjoint_velocity,
                         &batched->d_rate,
                         &batched->d_times,
                         &batched->d_divergence,
                         &batched->d_weight,
                         &batched->d_adjoint_divergence,
                         &batched->d_start};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    batched->max_blocks = 0;
}

static void clear_system(eqf__dopri5_system *system) {
    eqf__dopri5_batched *dying = system->batched;
    if (dying == NULL) return;
    release_buffers(dying);
    eqf__kernel *kernels[] = {&dying->ask,    &dying->keep,         &dying->probe, &dying->begin,
                              &dying->decide, &dying->ask_gradient, &dying->move,  &dying->set_times};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    free(dying);
    system->batched = NULL;
}

static eqf_status create_kernels(eqf_context *ctx, eqf__program *program, eqf__dopri5_batched *batched) {
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_ask", &batched->ask));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_keep", &batched->keep));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_probe", &batched->probe));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_begin", &batched->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_decide", &batched->decide));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_move", &batched->move));
    EQF__TRY(eqf__kernel_create(ctx, program, "batched_set_times", &batched->set_times));
    if (!batched->is_adjoint) return EQF_OK;
    return eqf__kernel_create(ctx, program, "batched_ask_gradient", &batched->ask_gradient);
}

static eqf_status create_system(eqf__dopri5 *dopri5, bool is_adjoint, eqf__dopri5_system *system_out) {
    eqf_context *ctx = dopri5->base.ctx;
    const eqf__field *field = dopri5->base.field;
    const char *const files[] = {"common/real.clh",
                                 "integrator/dormand_prince_tableau.clh",
                                 "integrator/dormand_prince.clh",
                                 eqf__dopri5_system_file(is_adjoint),
                                 "integrator/dormand_prince_batched.cl",
                                 "integrator/dormand_prince_rows.cl",
                                 NULL};
    char defines[64];
    snprintf(defines, sizeof defines, "-D N=%u -D D=%u", field->num_particles, field->space_dim);
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, is_adjoint ? "dormand_prince_batched_adjoint" : "dormand_prince_batched", files,
                              defines, &program));
    eqf__dopri5_batched *batched = eqf__alloc(ctx, 1, sizeof *batched, "the integrator");
    if (batched == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    system_out->batched = batched;
    batched->is_adjoint = is_adjoint;
    batched->num_dof = eqf__solver_dof(&dopri5->base);
    EQF__TRY(create_kernels(ctx, program, batched));
    EQF__TRY(eqf__kernel_create(ctx, program, "adaptive_put", &system_out->put));
    return eqf__kernel_create(ctx, program, "adaptive_take", &system_out->take);
}

static eqf_status make_room(eqf__dopri5 *dopri5, const eqf__dopri5_system *system, size_t num_blocks) {
    eqf__dopri5_batched *batched = system->batched;
    if (batched->max_blocks >= num_blocks) return EQF_OK;
    release_buffers(batched);
    const size_t lanes = num_blocks * dopri5->base.real.vector_width * sizeof(float);
    const struct {
        cl_mem *buffer;
        size_t numbers; /* for each sample */
    } needed[] = {
        {&batched->d_k, NUM_STAGES * system->state_size},
        {&batched->d_next, system->state_size},
        {&batched->d_next_carry, system->state_size},
        {&batched->d_x, batched->num_dof},
        {&batched->d_velocity, batched->num_dof},
        {&batched->d_adjoint_velocity, batched->is_adjoint ? batched->num_dof : 0},
        {&batched->d_rate, batched->is_adjoint ? batched->num_dof : 0},
        {&batched->d_times, 1},
        {&batched->d_divergence, 1},
        {&batched->d_adjoint_divergence, 1},
        {&batched->d_weight, 1},
        {&batched->d_start, 2},
    };
    for (size_t b = 0; b < sizeof needed / sizeof needed[0]; b++)
        EQF__TRY(eqf__buffer_create(dopri5->base.ctx, lanes * needed[b].numbers, NULL, "the integrator's stages",
                                    needed[b].buffer));
    batched->max_blocks = num_blocks;
    return EQF_OK;
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

/* Common to all launches of a run. */
typedef struct batched_run {
    eqf__dopri5 *dopri5;
    const eqf__noise *noise;
    eqf__dopri5_system *system;
    eqf__dopri5_batched *batched;
    cl_mem d_adjoint_log_det, d_grad_shared;
    cl_float adjoint_scale, share, direction, rtol, atol;
    cl_uint blocks, has_log_det;
} batched_run;

/* Evaluates the field for the arguments that the kernels wrote; the result becomes the slope of a stage. */
static eqf_status answer(const batched_run *r, cl_uint stage) {
    eqf__dopri5_batched *b = r->batched;
    eqf_context *ctx = r->dopri5->base.ctx;
    eqf__field *field = r->dopri5->base.field;
    cl_mem d_rest = b->is_adjoint ? b->d_rate : b->d_divergence;
    EQF__TRY(field->batched->evaluate(field, r->noise, r->blocks, b->d_x, b->d_times, b->d_velocity, b->d_divergence));
    if (b->is_adjoint) {
        EQF__TRY(
            eqf__fill_zero(ctx, b->d_rate, r->blocks * b->num_dof * r->dopri5->base.real.vector_width * sizeof(float)));
        EQF__TRY(field->batched->vjp(field, r->noise, r->blocks, b->d_x, b->d_times, b->d_adjoint_velocity,
                                     b->d_adjoint_divergence, b->d_rate, NULL));
    }
    return EQF__LAUNCH(ctx, &b->keep, r->blocks, 0, EQF__ARG(b->d_velocity), EQF__ARG(d_rest), EQF__ARG(b->d_k),
                       EQF__ARG(r->direction), EQF__ARG(stage), EQF__ARG(r->blocks));
}

static eqf_status ask(const batched_run *r, cl_uint stage) {
    eqf__dopri5_batched *b = r->batched;
    return EQF__LAUNCH(r->dopri5->base.ctx, &b->ask, r->blocks, 0, EQF__ARG(r->system->d_state),
                       EQF__ARG(r->system->d_carry), EQF__ARG(r->system->d_control), EQF__ARG(b->d_k),
                       EQF__ARG(b->d_next), EQF__ARG(b->d_next_carry), EQF__ARG(r->d_adjoint_log_det), EQF__ARG(b->d_x),
                       EQF__ARG(b->d_times), EQF__ARG(b->d_adjoint_velocity), EQF__ARG(b->d_adjoint_divergence),
                       EQF__ARG(r->adjoint_scale), EQF__ARG(r->direction), EQF__ARG(r->dopri5->equal_step),
                       EQF__ARG(stage), EQF__ARG(r->blocks));
}

static eqf_status begin(const batched_run *r) {
    eqf__dopri5_batched *b = r->batched;
    eqf_context *ctx = r->dopri5->base.ctx;
    EQF__TRY(ask(r, 0));
    EQF__TRY(answer(r, 0));
    EQF__TRY(EQF__LAUNCH(ctx, &b->probe, r->blocks, 0, EQF__ARG(r->system->d_state), EQF__ARG(r->system->d_control),
                         EQF__ARG(b->d_k), EQF__ARG(r->d_adjoint_log_det), EQF__ARG(b->d_x), EQF__ARG(b->d_times),
                         EQF__ARG(b->d_adjoint_velocity), EQF__ARG(b->d_adjoint_divergence), EQF__ARG(r->adjoint_scale),
                         EQF__ARG(r->direction), EQF__ARG(r->rtol), EQF__ARG(r->atol), EQF__ARG(r->has_log_det),
                         EQF__ARG(r->blocks)));
    EQF__TRY(answer(r, 1));
    return EQF__LAUNCH(ctx, &b->begin, r->blocks, 0, EQF__ARG(r->system->d_state), EQF__ARG(r->system->d_control),
                       EQF__ARG(b->d_k), EQF__ARG(r->rtol), EQF__ARG(r->atol), EQF__ARG(r->has_log_det),
                       EQF__ARG(r->blocks));
}

/* Adds accepted steps to the gradient's integral. */
static eqf_status add_gradient(const batched_run *r) {
    eqf__dopri5_batched *b = r->batched;
    eqf__field *field = r->dopri5->base.field;
    for (cl_uint stage = 0; stage + 1 < NUM_STAGES; stage++) {
        if (!has_weight[stage]) continue;
        EQF__TRY(EQF__LAUNCH(r->dopri5->base.ctx, &b->ask_gradient, r->blocks, 0, EQF__ARG(r->system->d_state),
                             EQF__ARG(b->d_k), EQF__ARG(b->d_start), EQF__ARG(b->d_weight),
                             EQF__ARG(r->d_adjoint_log_det), EQF__ARG(b->d_x), EQF__ARG(b->d_times),
                             EQF__ARG(b->d_adjoint_velocity), EQF__ARG(b->d_adjoint_divergence),
                             EQF__ARG(r->adjoint_scale), EQF__ARG(r->share), EQF__ARG(r->direction), EQF__ARG(stage),
                             EQF__ARG(r->blocks)));
        EQF__TRY(field->batched->vjp(field, r->noise, r->blocks, b->d_x, b->d_times, b->d_adjoint_velocity,
                                     b->d_adjoint_divergence, b->d_rate, r->d_grad_shared));
    }
    return EQF_OK;
}

static eqf_status step(const batched_run *r) {
    eqf__dopri5_batched *b = r->batched;
    eqf_context *ctx = r->dopri5->base.ctx;
    cl_uint max_steps = r->dopri5->options.max_steps;
    for (cl_uint stage = 1; stage < NUM_STAGES; stage++) {
        EQF__TRY(ask(r, stage));
        EQF__TRY(answer(r, stage));
    }
    EQF__TRY(EQF__LAUNCH(ctx, &b->decide, r->blocks, 0, EQF__ARG(r->system->d_state), EQF__ARG(r->system->d_control),
                         EQF__ARG(b->d_k), EQF__ARG(b->d_next), EQF__ARG(b->d_start), EQF__ARG(b->d_weight),
                         EQF__ARG(r->system->d_num_running), EQF__ARG(r->rtol), EQF__ARG(r->atol),
                         EQF__ARG(r->has_log_det), EQF__ARG(r->dopri5->equal_step), EQF__ARG(max_steps),
                         EQF__ARG(r->blocks)));
    if (r->d_grad_shared != NULL) EQF__TRY(add_gradient(r));
    return EQF__LAUNCH(ctx, &b->move, r->blocks, 0, EQF__ARG(r->system->d_state), EQF__ARG(r->system->d_carry),
                       EQF__ARG(b->d_k), EQF__ARG(b->d_next), EQF__ARG(b->d_next_carry), EQF__ARG(b->d_weight),
                       EQF__ARG(r->blocks));
}

static eqf_status run(eqf__dopri5 *dopri5, const eqf__dopri5_run *asked) {
    const eqf_adaptive_options *o = &dopri5->options;
    eqf__dopri5_system *system = asked->system;
    const size_t num_blocks = asked->num_blocks;
    const batched_run r = {.dopri5 = dopri5,
                           .noise = asked->noise,
                           .system = system,
                           .batched = system->batched,
                           .d_adjoint_log_det = asked->d_adjoint_log_det,
                           .d_grad_shared = asked->is_reverse ? dopri5->d_grad : NULL,
                           .adjoint_scale = asked->adjoint_scale,
                           .share = asked->share,
                           .direction = asked->direction,
                           .rtol = (cl_float)o->rtol,
                           .atol = (cl_float)o->atol,
                           .blocks = (cl_uint)num_blocks,
                           .has_log_det = o->error_norm == EQF_ERROR_NORM_STATE_AND_LOG_DET};
    EQF__TRY(make_room(dopri5, system, num_blocks));
    EQF__TRY(begin(&r));
    for (cl_uint num_running = 1; num_running > 0;) {
        for (unsigned s = 0; s < STEPS_BETWEEN_LOOKS; s++) {
            EQF__TRY(eqf__fill_zero(dopri5->base.ctx, system->d_num_running, sizeof num_running));
            EQF__TRY(step(&r));
        }
        EQF__TRY(eqf__buffer_read(dopri5->base.ctx, system->d_num_running, 0, sizeof num_running, &num_running));
        EQF__TRY(eqf__progress_again(dopri5->base.ctx));
    }
    return EQF_OK;
}

static eqf_status field_at(eqf__dopri5 *dopri5, const eqf__noise *noise, double t, size_t num_blocks, cl_mem d_x,
                           cl_mem d_velocity, cl_mem d_divergence) {
    eqf__field *field = dopri5->base.field;
    cl_uint blocks = (cl_uint)num_blocks;
    cl_float time = (cl_float)t;
    cl_mem d_times;
    if (num_blocks == 0) return EQF_OK;
    EQF__TRY(eqf__buffer_create(dopri5->base.ctx, num_blocks * dopri5->base.real.vector_width * sizeof(float), NULL,
                                "the times", &d_times));
    eqf_status status = EQF__LAUNCH(dopri5->base.ctx, &dopri5->forward.batched->set_times, num_blocks, 0,
                                    EQF__ARG(d_times), EQF__ARG(time), EQF__ARG(blocks));
    if (status == EQF_OK)
        status = field->batched->evaluate(field, noise, num_blocks, d_x, d_times, d_velocity, d_divergence);
    eqf__buffer_destroy(&d_times); /* OpenCL keeps the memory until the launches are done */
    return status;
}

static size_t grad_count(const eqf__dopri5 *dopri5) {
    return dopri5->base.field->batched->grad_size;
}

/* The gradient contains the factors of the samples. */
static eqf_status contract(eqf__dopri5 *dopri5, float share, cl_mem d_gradient) {
    eqf__field *field = dopri5->base.field;
    (void)share;
    return field->batched->contract(field, dopri5->d_grad, d_gradient);
}

static const eqf__dopri5_engine engine = {create_system, clear_system, run, grad_count, contract, field_at};

eqf_status eqf__dopri5_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out) {
    return eqf__dopri5_open(field, options, &engine, 1, solver_out);
}
