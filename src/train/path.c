/* Path gradients of the Kullback-Leibler divergence in both directions (Vaitl et al., ICML 2022 and ICLR 2024). With q
 * the model's density, u the reduced energy of the target and s = grad log q, along a trajectory from the prior to the
 * data
 *     dx/dt = v     ds/dt = -(dv/dx)^T s - grad div v,  s(0) = grad log prior     d log q/dt = -div v
 * and with d = s(1) + grad u(x(1)) the gradient is the mean of d^T dx(1)/dtheta, which the reverse pass of the solve of
 * x gives when it starts from d:
 *     z from the prior: of KL(model || target);   z from a datum by a solve data -> prior: of KL(target || model).
 * Where the model is the target, d is zero at every x, and so is the gradient's variance. Data must be equilibrium
 * samples of u. The reverse pass is that of the discretised solve of x; s is solved with the same steps. Fields are
 * batched. */
#include <math.h>
#include <stdlib.h>

#include "train_internal.h"

/* Stage s of an RK4 step: its time in half steps, its weight, and the step to the next stage's place in steps. */
static const unsigned rk4_offset[4] = {0, 1, 1, 2};
static const float rk4_weight[4] = {1.0f / 6.0f, 1.0f / 3.0f, 1.0f / 3.0f, 1.0f / 6.0f};
static const float rk4_reach[4] = {0.5f, 0.5f, 1.0f, 0.0f};

enum { SET_TIMES, BEGIN, STAGE, ADD_LOG_DET, SEED, STAGE_ADJOINT, ADD, NUM_KERNELS };
static const char *const kernel_names[NUM_KERNELS] = {
    "path_set_times", "path_begin", "path_stage", "path_add_log_det", "path_seed", "path_stage_adjoint", "path_add"};
/* Buffers: [blocks][N*D][V] up to SUM, [blocks][V] from TIMES on. */
enum { SCORE, SCORE_PLACE, K, SCORE_K, SCORE_SUM, SUM, TIMES, ONES, DIVERGENCE, PRIOR_LOG_PROB, NUM_BUFFERS };

struct eqf__path {
    eqf__kernel kernels[NUM_KERNELS];
    cl_mem buffers[NUM_BUFFERS];
    size_t num_places;
    cl_mem *d_places; /* [4 num_steps], each [blocks][N*D][V]: x at every stage of every step */
};

static cl_uint num_blocks_of(const eqf_trainer *trainer, size_t count) {
    return (cl_uint)((count + trainer->flow->vector_width - 1) / trainer->flow->vector_width);
}

eqf_status eqf__path_program(eqf_context *ctx, unsigned num_particles, unsigned space_dim, eqf__program **program_out) {
    static const char *const files[] = {"common/real.clh", "train/path.cl", NULL};
    char defines[64];
    snprintf(defines, sizeof defines, "-D N=%u -D D=%u", num_particles, space_dim);
    return eqf__program_get(ctx, "path", files, defines, program_out);
}

static eqf_status create_parts(eqf_trainer *trainer, eqf__path *path) {
    eqf_context *ctx = trainer->ctx;
    const eqf_flow *flow = trainer->flow;
    eqf__program *program;
    EQF__TRY(eqf__path_program(ctx, flow->num_particles, flow->space_dim, &program));
    for (size_t k = 0; k < NUM_KERNELS; k++)
        EQF__TRY(eqf__kernel_create(ctx, program, kernel_names[k], &path->kernels[k]));
    const size_t numbers =
        num_blocks_of(trainer, eqf__largest_solve(trainer)) * (size_t)flow->vector_width * sizeof(float);
    for (size_t b = 0; b < NUM_BUFFERS; b++)
        EQF__TRY(eqf__buffer_create(ctx, b < TIMES ? numbers * flow->num_dof : numbers, NULL, "path gradients",
                                    &path->buffers[b]));
    path->d_places = eqf__alloc(ctx, 4 * (size_t)flow->solver->num_steps, sizeof *path->d_places, "path gradients");
    if (path->d_places == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (; path->num_places < 4 * (size_t)flow->solver->num_steps; path->num_places++)
        EQF__TRY(eqf__buffer_create(ctx, numbers * flow->num_dof, NULL, "path gradients",
                                    &path->d_places[path->num_places]));
    return EQF_OK;
}

eqf_status eqf__path_create(eqf_trainer *trainer) {
    if (trainer->flow->field->batched == NULL)
        return eqf__fail(
            trainer->ctx, EQF_ERROR_UNSUPPORTED,
            "path gradients want a field that is evaluated batch by batch, which the radial field is not: use the "
            "gradient dto");
    if (trainer->options.divergence != EQF_DIVERGENCE_EXACT)
        return eqf__fail(trainer->ctx, EQF_ERROR_UNSUPPORTED, "path gradients want the exact divergence, no estimate");
    eqf__path *path = trainer->path = eqf__alloc(trainer->ctx, 1, sizeof *path, "path gradients");
    return path != NULL ? create_parts(trainer, path) : EQF_ERROR_OUT_OF_MEMORY;
}

void eqf__path_destroy(eqf_trainer *trainer) {
    eqf__path *path = trainer->path;
    if (path == NULL) return;
    for (size_t k = 0; k < NUM_KERNELS; k++) eqf__kernel_destroy(&path->kernels[k]);
    for (size_t b = 0; b < NUM_BUFFERS; b++) eqf__buffer_destroy(&path->buffers[b]);
    for (size_t p = 0; p < path->num_places; p++) eqf__buffer_destroy(&path->d_places[p]);
    free(path->d_places);
    free(path);
    trainer->path = NULL;
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

/* A batch during a solve. */
typedef struct path_batch {
    eqf_trainer *trainer;
    eqf__path *path;
    cl_uint blocks;
} path_batch;

static eqf_status set_times(const path_batch *b, unsigned half_steps) {
    const cl_float t = (cl_float)((double)half_steps / (2.0 * b->trainer->flow->solver->num_steps));
    return EQF__LAUNCH(b->trainer->ctx, &b->path->kernels[SET_TIMES], b->blocks, 0, EQF__ARG(b->path->buffers[TIMES]),
                       EQF__ARG(t), EQF__ARG(b->blocks));
}

/* With the slope d_k at stage s of d_x: adds its share to d_sum, and gives the next place d_next. sign: of the
 * direction of time. */
static eqf_status launch_stage(const path_batch *b, unsigned s, float sign, float h, cl_mem d_x, cl_mem d_k,
                               cl_mem d_sum, cl_mem d_next) {
    const cl_float weight = sign * rk4_weight[s], reach = sign * h * rk4_reach[s], step = h;
    const cl_uint is_first = s == 0, is_last = s == 3;
    return EQF__LAUNCH(b->trainer->ctx, &b->path->kernels[STAGE], b->blocks, 0, EQF__ARG(d_x), EQF__ARG(d_k),
                       EQF__ARG(d_sum), EQF__ARG(d_next), EQF__ARG(weight), EQF__ARG(reach), EQF__ARG(step),
                       EQF__ARG(is_first), EQF__ARG(is_last), EQF__ARG(b->blocks));
}

/* Solves x from the data to the latents; log_det is computed on the way forward. */
static eqf_status solve_backward(const path_batch *b) {
    const eqf__gradient_workspace *w = &b->trainer->workspace;
    eqf__field *field = b->trainer->flow->field;
    const unsigned num_steps = b->trainer->flow->solver->num_steps;
    const float h = -1.0f / (float)num_steps;
    cl_mem d_k = b->path->buffers[K], d_place = b->path->d_places[0];
    for (unsigned step = 0; step < num_steps; step++)
        for (unsigned s = 0; s < 4; s++) {
            EQF__TRY(set_times(b, 2 * (num_steps - step) - rk4_offset[s]));
            EQF__TRY(field->batched->evaluate(field, &w->noise, b->blocks, s == 0 ? w->d_x : d_place,
                                              b->path->buffers[TIMES], d_k, NULL));
            EQF__TRY(launch_stage(b, s, 1, h, w->d_x, d_k, b->path->buffers[SUM], d_place));
        }
    return EQF_OK;
}

/* One stage of x, s and log_det. */
static eqf_status forward_stage(const path_batch *b, unsigned step, unsigned s, cl_mem d_score_at) {
    const eqf_trainer *trainer = b->trainer;
    eqf_context *ctx = trainer->ctx;
    const eqf__gradient_workspace *w = &trainer->workspace;
    const eqf_flow *flow = trainer->flow;
    eqf__path *path = b->path;
    const cl_mem *buffers = path->buffers;
    const size_t at = 4 * (size_t)step + s;
    const float h = 1.0f / (float)flow->solver->num_steps;
    const cl_float share = h * rk4_weight[s];
    cl_mem d_next = at + 1 < path->num_places ? path->d_places[at + 1] : w->d_x;
    EQF__TRY(set_times(b, 2 * step + rk4_offset[s]));
    EQF__TRY(flow->field->batched->evaluate(flow->field, &w->noise, b->blocks, path->d_places[at], buffers[TIMES],
                                            buffers[K], buffers[DIVERGENCE]));
    EQF__TRY(
        eqf__fill_zero(ctx, buffers[SCORE_K], b->blocks * (size_t)flow->vector_width * flow->num_dof * sizeof(float)));
    EQF__TRY(flow->field->batched->vjp(flow->field, &w->noise, b->blocks, path->d_places[at], buffers[TIMES],
                                       d_score_at, buffers[ONES], buffers[SCORE_K], NULL));
    EQF__TRY(EQF__LAUNCH(ctx, &path->kernels[ADD_LOG_DET], b->blocks, 0, EQF__ARG(w->d_log_det),
                         EQF__ARG(buffers[DIVERGENCE]), EQF__ARG(share), EQF__ARG(b->blocks)));
    EQF__TRY(launch_stage(b, s, -1, h, buffers[SCORE], buffers[SCORE_K], buffers[SCORE_SUM], buffers[SCORE_PLACE]));
    return launch_stage(b, s, 1, h, w->d_x, buffers[K], buffers[SUM], d_next);
}

/* Solves from latents in d_x to their images, with score and log_det; the places of all stages are kept. */
static eqf_status solve_forward(const path_batch *b) {
    const eqf_trainer *trainer = b->trainer;
    eqf_context *ctx = trainer->ctx;
    const eqf__gradient_workspace *w = &trainer->workspace;
    const eqf__prior *prior = &trainer->flow->prior;
    const cl_mem *buffers = b->path->buffers;
    const size_t num_bytes = b->blocks * (size_t)trainer->flow->vector_width * trainer->flow->num_dof * sizeof(float);
    EQF__TRY(EQF__LAUNCH(ctx, &b->path->kernels[BEGIN], b->blocks, 0, EQF__ARG(w->d_log_det), EQF__ARG(buffers[ONES]),
                         EQF__ARG(b->blocks)));
    EQF__TRY(eqf__prior_score(prior, b->blocks, w->d_x, buffers[SCORE]));
    EQF__TRY(eqf__prior_log_prob(prior, b->blocks, w->d_x, w->d_log_det, 0.0f, buffers[PRIOR_LOG_PROB]));
    EQF__TRY(eqf__buffer_copy(ctx, w->d_x, 0, b->path->d_places[0], 0, num_bytes));
    for (unsigned step = 0; step < trainer->flow->solver->num_steps; step++)
        for (unsigned s = 0; s < 4; s++) EQF__TRY(forward_stage(b, step, s, buffers[s == 0 ? SCORE : SCORE_PLACE]));
    return EQF_OK;
}

/* The reverse pass from the adjoint of x(1) in d_adjoint_x to z, with the gradient of the parameters. */
static eqf_status solve_adjoint(const path_batch *b) {
    const eqf_trainer *trainer = b->trainer;
    eqf_context *ctx = trainer->ctx;
    const eqf__gradient_workspace *w = &trainer->workspace;
    eqf__field *field = trainer->flow->field;
    const cl_mem *buffers = b->path->buffers;
    cl_mem d_from_later = buffers[SCORE_K], d_adjoint_k = buffers[K], d_total = buffers[SUM];
    const float h = 1.0f / (float)trainer->flow->solver->num_steps;
    for (unsigned step = trainer->flow->solver->num_steps; step-- > 0;)
        for (unsigned s = 4; s-- > 0;) {
            const cl_float share = h * rk4_weight[s], reach = h * rk4_reach[s];
            const cl_uint is_first = s == 3, is_last = s == 0;
            EQF__TRY(EQF__LAUNCH(ctx, &b->path->kernels[STAGE_ADJOINT], b->blocks, 0, EQF__ARG(w->d_adjoint_x),
                                 EQF__ARG(d_from_later), EQF__ARG(d_adjoint_k), EQF__ARG(share), EQF__ARG(reach),
                                 EQF__ARG(b->blocks)));
            EQF__TRY(set_times(b, 2 * step + rk4_offset[s]));
            EQF__TRY(field->batched->vjp(field, &w->noise, b->blocks, b->path->d_places[4 * (size_t)step + s],
                                         buffers[TIMES], d_adjoint_k, NULL, d_from_later, w->tape.d_grad_shared));
            EQF__TRY(EQF__LAUNCH(ctx, &b->path->kernels[ADD], b->blocks, 0, EQF__ARG(w->d_adjoint_x), EQF__ARG(d_total),
                                 EQF__ARG(d_from_later), EQF__ARG(is_first), EQF__ARG(is_last), EQF__ARG(b->blocks)));
        }
    return EQF_OK;
}

eqf_status eqf__path_launch(eqf_trainer *trainer, eqf_direction direction, size_t count, unsigned place) {
    eqf_context *ctx = trainer->ctx;
    const eqf_training_options *o = &trainer->options;
    const eqf__gradient_workspace *w = &trainer->workspace;
    eqf_flow *flow = trainer->flow;
    const path_batch b = {trainer, trainer->path, num_blocks_of(trainer, count)};
    const cl_uint batch = (cl_uint)count, is_of_data = direction == EQF_DATA_TO_PRIOR;
    const cl_float energy_cap = is_of_data ? (cl_float)INFINITY : (cl_float)o->energy_cap;
    const cl_float cap = o->path_cap > 0 ? (cl_float)o->path_cap : (cl_float)INFINITY;
    if (is_of_data) EQF__TRY(solve_backward(&b));
    EQF__TRY(solve_forward(&b));
    /* the value in: prior.log_prob(z); out: energy + log_prob. adjoint_x = weight grad u */
    EQF__TRY(eqf__prior_log_prob(&flow->prior, b.blocks, b.path->d_places[0], w->d_log_det, 0.0f, w->d_value));
    EQF__TRY(EQF__LAUNCH(ctx, &trainer->energy_seed, b.blocks, 0, EQF__ARG(w->d_x), EQF__ARG(w->d_log_det),
                         EQF__ARG(w->d_adjoint_x), EQF__ARG(w->d_adjoint_log_det), EQF__ARG(w->d_weight),
                         EQF__ARG(w->d_value), EQF__ARG(w->d_error), EQF__ARG(energy_cap), EQF__ARG(batch),
                         EQF__ARG(b.blocks)));
    EQF__TRY(EQF__LAUNCH(ctx, &b.path->kernels[SEED], b.blocks, 0, EQF__ARG(w->d_adjoint_x),
                         EQF__ARG(b.path->buffers[SCORE]), EQF__ARG(w->d_weight), EQF__ARG(w->d_value),
                         EQF__ARG(w->d_log_det), EQF__ARG(b.path->buffers[PRIOR_LOG_PROB]), EQF__ARG(is_of_data),
                         EQF__ARG(cap), EQF__ARG(b.blocks)));
    EQF__TRY(eqf__fill_zero(ctx, w->tape.d_grad_shared, w->tape.grad_shared_count * sizeof(float)));
    EQF__TRY(solve_adjoint(&b));
    EQF__TRY(eqf__prior_sum_losses(&flow->prior, b.blocks, w->d_value, w->d_error, w->d_weight, w->d_sums, place));
    return flow->field->batched->contract(flow->field, w->tape.d_grad_shared, w->d_gradient);
}
