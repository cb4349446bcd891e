/* The message field on the host: tapes, scratch memory and launches. Equations: docs/method.md, section 9; kernels:
 * cl/dynamics/message.cl. */
#include <stdlib.h>
#include <string.h>

#include "host_message.h"
#include "kinds.h"
#include "message_group.h"
#include "message_params.h"
#include "message_tape.h"

/* The most scratch memory of a launch; it has a slice for each block that is computed at a time. */
static const size_t most_scratch_bytes = (size_t)512 << 20;
/* Numbers of slices. That for gradients is fixed, as each slice has a partial sum. The others are many more than a CPU
 * has threads, so that all threads finish at about the same time. */
static const size_t cpu_gradient_slices = 32, gpu_gradient_slices = 128, cpu_slices = 64, gpu_slices = 4096;
/* That of work-groups with local memory, of which a unit holds several: by the cost model an H200 needs two thirds of
 * the time that it needs with 128, and gains little from more. */
static const size_t group_gradient_slices = 256;

typedef struct device_tape {
    cl_mem d_words;             /* NULL: not written yet */
    eqf__message_piece *pieces; /* [num_pieces]: its launches */
    size_t num_pieces, slice_size;
} device_tape;

typedef struct message_state {
    eqf__batched_form form;
    eqf__message_shape shape;
    eqf__message_group *group;                         /* evaluates with local memory; NULL: tapes do */
    unsigned group_size;                               /* number of work-items that compute a block */
    size_t gradient_slices, group_slices, most_slices; /* group_slices: of a gradient by `group` */
    device_tape tapes[2][3];                           /* [has_divergence][eqf__message_reverse] */
    cl_mem d_pairs;                                    /* [P]: cl/dynamics/message.clh */
    cl_mem d_scratch;
    size_t scratch_bytes;
    eqf__kernel run, run_reverse, contract; /* run_reverse has all operations; it and contract are built at first use */
} message_state;

/* The buffers of a launch; those that the tape does not use are NULL. */
typedef struct launch_buffers {
    cl_mem d_x, d_times, d_velocity, d_divergence, d_adjoint_velocity, d_adjoint_divergence, d_adjoint_x, d_grad;
} launch_buffers;

static size_t slice_bytes(const eqf__field *field, size_t slice_size) {
    return slice_size * field->real.vector_width * field->real.size;
}

/* ---- Tapes ------------------------------------------------------------------------------------------------------- */

static void release_tape(device_tape *tape) {
    eqf__buffer_destroy(&tape->d_words);
    free(tape->pieces);
    *tape = (device_tape){.d_words = NULL};
}

static eqf_status ensure_tape(eqf__field *field, bool has_divergence, eqf__message_reverse reverse,
                              const device_tape **tape_out) {
    message_state *state = field->state;
    device_tape *on_device = &state->tapes[has_divergence][reverse];
    *tape_out = on_device;
    if (on_device->d_words != NULL) return EQF_OK;
    eqf__message_tape tape;
    eqf_status status = eqf__message_tape_create(field->ctx, &state->shape, field->num_particles, field->space_dim,
                                                 state->group_size > 1, has_divergence, reverse, &tape);
    if (status == EQF_OK)
        status = eqf__message_tape_cut(field->ctx, &state->shape, field->num_particles, field->space_dim,
                                       state->group_size, &tape, &on_device->pieces, &on_device->num_pieces);
    if (status == EQF_OK)
        status = eqf__buffer_create(field->ctx, eqf__message_tape_bytes(&tape), tape.words, "the field's instructions",
                                    &on_device->d_words);
    if (status != EQF_OK) release_tape(on_device);
    on_device->slice_size = tape.slice_size;
    eqf__message_tape_clear(&tape);
    return status;
}

/* Allocates scratch memory for *num_slices slices, or for as many as there is memory; at least one. */
static eqf_status ensure_scratch(eqf__field *field, size_t slice_size, size_t *num_slices) {
    message_state *state = field->state;
    const size_t bytes = slice_bytes(field, slice_size), granted = most_scratch_bytes / bytes;
    if (*num_slices > granted) *num_slices = granted > 0 ? granted : 1;
    if (state->scratch_bytes >= *num_slices * bytes) return EQF_OK;
    eqf__buffer_destroy(&state->d_scratch);
    state->scratch_bytes = 0;
    EQF__TRY(eqf__buffer_create(field->ctx, *num_slices * bytes, NULL, "the field's features", &state->d_scratch));
    state->scratch_bytes = *num_slices * bytes;
    return EQF_OK;
}

/* ---- Programs ---------------------------------------------------------------------------------------------------- */

static eqf_status build_program(eqf__field *field, bool has_reverse, eqf__program **program_out) {
    eqf_context *ctx = field->ctx;
    message_state *state = field->state;
    const eqf__message_shape *shape = &state->shape;
    static const char *const files[] = {"common/real.clh",
                                        "dynamics/message_ops.clh",
                                        "dynamics/message_common.clh",
                                        "dynamics/message.clh",
                                        "dynamics/message_dense.clh",
                                        "dynamics/message_hop.clh",
                                        "dynamics/message_rows.clh",
                                        "dynamics/message_sums.clh",
                                        "dynamics/message_readout.clh",
                                        "dynamics/message.cl",
                                        NULL};
    eqf__message_memory memory;
    eqf__message_memory_of(shape, field->num_particles, field->space_dim, &memory);
    char defines[640], name[32];
    eqf__real_defines(&field->real, defines, sizeof defines);
    const size_t length = strlen(defines);
    snprintf(defines + length, sizeof defines - length,
             "-D N=%u -D D=%u -D K=%u -D H=%u -D M=%u -D E=%u -D R=%u -D FILTERS=%u -D ADJOINTS=%uu -D AT_R=%uu -D "
             "AT_RHO=%uu -D AT_D=%uu -D AT_F=%uu -D AT_F1=%uu -D AT_E=%uu -D AT_E1=%uu -D AT_E2=%uu -D AT_X=%uu -D "
             "AT_T=%uu -D GROUP_SIZE=%u%s",
             field->num_particles, field->space_dim, shape->num_radial, shape->num_scalars, shape->num_vectors,
             shape->num_edge, shape->num_reduced, shape->num_filters, memory.size, memory.r, memory.rho, memory.d,
             memory.f, memory.f1, memory.e, memory.e1, memory.e2, memory.x, memory.times, state->group_size,
             has_reverse ? " -D HAS_REVERSE" : "");
    snprintf(name, sizeof name, "message%s%s", has_reverse ? "_reverse" : "", field->real.suffix);
    return eqf__program_get(ctx, name, files, defines, program_out);
}

static eqf_status ensure_reverse(eqf__field *field) {
    message_state *state = field->state;
    eqf__program *program;
    if (state->run_reverse.id != NULL) return EQF_OK;
    EQF__TRY(build_program(field, true, &program));
    EQF__TRY(eqf__kernel_create(field->ctx, program, "message_contract", &state->contract));
    return eqf__kernel_create(field->ctx, program, "message_run", &state->run_reverse);
}

/* ---- Functions of the form --------------------------------------------------------------------------------------- */

static eqf_status launch_piece(eqf__field *field, const device_tape *tape, const eqf__message_piece *piece,
                               const launch_buffers *buffers, cl_uint first_block, cl_uint num_blocks) {
    message_state *state = field->state;
    /* For buffers that the tape does not use, any buffer is passed. */
#define OR_PARAMS(buffer) cl_mem buffer = buffers->buffer != NULL ? buffers->buffer : field->d_params
    OR_PARAMS(d_velocity);
    OR_PARAMS(d_divergence);
    OR_PARAMS(d_adjoint_velocity);
    OR_PARAMS(d_adjoint_divergence);
    OR_PARAMS(d_adjoint_x);
    OR_PARAMS(d_grad);
#undef OR_PARAMS
    const cl_uint num_params = (cl_uint)field->num_params;
    const cl_ulong slice_size = tape->slice_size * field->real.vector_width;
    const eqf__real_argument spacing =
        eqf__real_value(&field->real, field->options.distance_max / (field->options.num_distance - 1.0));
    return EQF__LAUNCH(field->ctx, buffers->d_adjoint_x != NULL ? &state->run_reverse : &state->run,
                       (size_t)num_blocks * state->group_size, state->group_size > 1 ? state->group_size : 0,
                       EQF__ARG(tape->d_words), EQF__ARG(state->d_pairs), EQF__ARG(piece->begin), EQF__ARG(piece->end),
                       EQF__ARG(state->d_scratch), EQF__ARG(slice_size), EQF__ARG(buffers->d_x),
                       EQF__ARG(buffers->d_times), EQF__ARG(d_velocity), EQF__ARG(d_divergence),
                       EQF__ARG(d_adjoint_velocity), EQF__ARG(d_adjoint_divergence), EQF__ARG(d_adjoint_x),
                       EQF__ARG(field->d_params), EQF__ARG(d_grad), EQF__ARG(num_params),
                       EQF__REAL_ARG(&field->real, spacing), EQF__ARG(first_block), EQF__ARG(num_blocks));
}

/* Computes num_slices blocks at a time; slice n of a gradient has blocks n, n + num_slices, ... in this order. */
static eqf_status run_tape(eqf__field *field, const device_tape *tape, size_t num_slices, size_t num_blocks,
                           const launch_buffers *buffers) {
    for (size_t first = 0; first < num_blocks; first += num_slices) {
        const size_t count = num_blocks - first < num_slices ? num_blocks - first : num_slices;
        for (size_t p = 0; p < tape->num_pieces; p++)
            EQF__TRY(launch_piece(field, tape, &tape->pieces[p], buffers, (cl_uint)first, (cl_uint)count));
    }
    return EQF_OK;
}

static eqf_status message_evaluate(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x,
                                   cl_mem d_times, cl_mem d_velocity, cl_mem d_divergence) {
    (void)noise; /* the divergence is exact */
    const message_state *state = field->state;
    const device_tape *tape;
    size_t num_slices = state->most_slices < num_blocks ? state->most_slices : num_blocks;
    if (num_blocks == 0) return EQF_OK;
    if (state->group != NULL)
        return eqf__message_group_evaluate(state->group, num_blocks, d_x, d_times, d_velocity, d_divergence);
    EQF__TRY(ensure_tape(field, d_divergence != NULL, EQF__MESSAGE_FORWARD, &tape));
    EQF__TRY(ensure_scratch(field, tape->slice_size, &num_slices));
    const launch_buffers buffers = {
        .d_x = d_x, .d_times = d_times, .d_velocity = d_velocity, .d_divergence = d_divergence};
    return run_tape(field, tape, num_slices, num_blocks, &buffers);
}

static eqf_status message_vjp(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                              cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x,
                              cl_mem d_grad) {
    (void)noise;
    const message_state *state = field->state;
    const device_tape *tape;
    const bool has_gradient = d_grad != NULL;
    size_t num_slices = has_gradient ? state->gradient_slices : state->most_slices;
    if (num_blocks == 0) return EQF_OK;
    if (state->group != NULL) {
        bool can;
        EQF__TRY(eqf__message_group_prepare_reverse(state->group, d_adjoint_divergence != NULL, &can));
        if (can)
            return eqf__message_group_vjp(state->group, state->group_slices, num_blocks, d_x, d_times,
                                          d_adjoint_velocity, d_adjoint_divergence, d_adjoint_x, d_grad);
    }
    EQF__TRY(ensure_reverse(field));
    EQF__TRY(ensure_tape(field, d_adjoint_divergence != NULL,
                         has_gradient ? EQF__MESSAGE_WITH_GRADIENT : EQF__MESSAGE_ADJOINT, &tape));
    if (!has_gradient && num_blocks < num_slices) num_slices = num_blocks;
    EQF__TRY(ensure_scratch(field, tape->slice_size, &num_slices));
    const launch_buffers buffers = {.d_x = d_x,
                                    .d_times = d_times,
                                    .d_adjoint_velocity = d_adjoint_velocity,
                                    .d_adjoint_divergence = d_adjoint_divergence,
                                    .d_adjoint_x = d_adjoint_x,
                                    .d_grad = d_grad};
    return run_tape(field, tape, num_slices, num_blocks, &buffers);
}

static eqf_status message_contract(eqf__field *field, cl_mem d_grad, cl_mem d_gradient) {
    message_state *state = field->state;
    EQF__TRY(ensure_reverse(field));
    const cl_uint num_params = (cl_uint)field->num_params;
    const cl_uint num_slices = (cl_uint)(state->form.grad_size / field->num_params);
    return EQF__LAUNCH(field->ctx, &state->contract, field->num_params, 0, EQF__ARG(d_grad), EQF__ARG(d_gradient),
                       EQF__ARG(num_slices), EQF__ARG(num_params));
}

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static void message_destroy(eqf__field *field) {
    message_state *state = field->state;
    if (state == NULL) return;
    eqf__message_group_destroy(&state->group);
    for (unsigned d = 0; d < 2; d++)
        for (unsigned r = 0; r < 3; r++) release_tape(&state->tapes[d][r]);
    eqf__buffer_destroy(&state->d_pairs);
    eqf__buffer_destroy(&state->d_scratch);
    eqf__kernel_destroy(&state->run);
    eqf__kernel_destroy(&state->run_reverse);
    eqf__kernel_destroy(&state->contract);
    free(state);
    field->state = NULL;
}

static eqf_status create_kernels(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    message_state *state = field->state;
    EQF__TRY(eqf__message_group_create(field, &state->shape, state->d_pairs, &state->group));
    if (state->group != NULL) {
        state->form.program = eqf__message_group_program(state->group);
        return EQF_OK;
    }
    EQF__TRY(build_program(field, false, &state->form.program));
    EQF__TRY(eqf__kernel_create(ctx, state->form.program, "message_run", &state->run));
    if (state->group_size > 1) {
        const size_t most = eqf__kernel_largest_group(ctx, &state->run);
        if (most < state->group_size) state->group_size = most > 0 ? (unsigned)most : 1;
    }
    return EQF_OK;
}

/* Chooses the number of slices of a gradient, by the scratch memory of the largest tape. */
static eqf_status choose_slices(eqf__field *field, bool is_gpu) {
    message_state *state = field->state;
    eqf__message_memory memory;
    eqf__message_memory_of(&state->shape, field->num_particles, field->space_dim, &memory);
    const size_t bytes = slice_bytes(field, 2 * (size_t)memory.size), granted = most_scratch_bytes / bytes;
    const size_t wanted = is_gpu ? gpu_gradient_slices : cpu_gradient_slices;
    state->gradient_slices = granted == 0 ? 1 : granted < wanted ? granted : wanted;
    state->most_slices = is_gpu ? gpu_slices : cpu_slices;
    state->group_slices = state->group == NULL ? 0 : is_gpu ? group_gradient_slices : cpu_gradient_slices;
    const size_t most = state->group_slices > state->gradient_slices ? state->group_slices : state->gradient_slices;
    state->form.grad_size = most * field->num_params;
    return EQF_OK;
}

static eqf_status create_pairs(eqf__field *field) {
    message_state *state = field->state;
    const cl_uint N = field->num_particles, num_pairs = N * (N - 1) / 2;
    cl_uint *pairs = eqf__alloc(field->ctx, num_pairs, sizeof *pairs, "the pairs"), next = 0;
    if (pairs == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (cl_uint i = 0; i < N; i++)
        for (cl_uint j = i + 1; j < N; j++) pairs[next++] = i | j << 16;
    const eqf_status status =
        eqf__buffer_create(field->ctx, num_pairs * sizeof *pairs, pairs, "the pairs", &state->d_pairs);
    free(pairs);
    return status;
}

static eqf_status message_create(eqf__field *field, const eqf__field_needs *needs) {
    (void)needs; /* the kind has one form */
    eqf_context *ctx = field->ctx;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    message_state *state = eqf__alloc(ctx, 1, sizeof *state, "the message field");
    if (state == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->state = state;
    eqf_param_slice slices[EQF__MESSAGE_MAX_SLICES];
    size_t num_slices;
    field->num_params = eqf__message_layout(&field->options, 0, slices, &num_slices, &field->num_trained);
    eqf__message_shape_of(&field->options, &state->shape);
    state->form.is_divergence_costly = true; /* for lj13, eight times the velocity */
    state->form.evaluate = message_evaluate;
    state->form.vjp = message_vjp;
    state->form.contract = message_contract;
    field->batched = &state->form;
    field->evaluation = EQF_FIELD_DIRECT;
    field->resolution = 0;
    state->group_size = field->real.vector_width == 1 && device->group_size > 1 ? device->group_size : 1;
    EQF__TRY(create_pairs(field));
    EQF__TRY(create_kernels(field));
    EQF__TRY(choose_slices(field, device->info.type == EQF_DEVICE_GPU));
    return eqf__buffer_create(ctx, field->num_params * field->real.size, NULL, "the parameters", &field->d_params);
}

static eqf_status message_prepare(eqf__field *field, bool check) {
    (void)check;
    const message_state *state = field->state;
    return state->group != NULL ? eqf__message_group_prepare(state->group) : EQF_OK;
}

/* The number of particles above which parameters are scaled down, so that the field keeps the accuracy of float32. */
#define MOST_ALIKE 20.0

/* All distances are within the filters' reach. The host's divergence needs 2 N D velocities. If these would take
 * seconds, the problem is large and has a symmetric configuration, for which 2 D velocities suffice; if these would
 * take seconds too, or on a line, where no configuration is symmetric enough, there are no known answers. With two
 * species no configuration is symmetric enough either: a large problem then needs all 2 N D. */
static bool problem(const eqf_dynamics_options *options, unsigned num_particles, unsigned space_dim,
                    bool has_step_control, eqf__field_problem *problem_out) {
    (void)has_step_control;
    const double N = num_particles, H = options->num_scalars, M = options->num_vectors, E = options->num_edge;
    const double operations = N * N * (H + 3 * M + E) * (H + E + options->num_distance) * options->num_hops;
    const bool is_large = N * operations > 1e7;
    *problem_out = (eqf__field_problem){.side = 0.2 * options->distance_max, .share = 0.5};
    /* With many particles the start values give a strong field: in the symmetric configuration their messages are alike
     * and add up, and a hop amplifies rounding errors with their number. */
    if (is_large)
        *problem_out = (eqf__field_problem){.side = 0.35 * options->distance_max,
                                            .share = fmin(1, MOST_ALIKE / N),
                                            .num_weights = SIZE_MAX,
                                            .is_large = true};
    problem_out->is_symmetric = is_large && options->num_b == 0;
    if (is_large && options->num_b > 0) return N * space_dim * operations <= 1e9;
    return !is_large || (space_dim > 1 && operations <= 2e8);
}

const eqf__dynamics_kind eqf__message_kind = {
    .info = EQF__DYNAMICS_INFO(.name = "message", .title = "deep and many-body", .is_equivariant = true,
                               .has_double = true, .is_batched = true, .has_species = true,
                               /* Steps are expensive; the largest error of log densities is still far below the spread
                                * of log weights. */
                               .coordinate_tolerance = 1e-3, .log_prob_tolerance = 5e-3),
    .forms = EQF__FORM_BATCHED,
    .host_velocity = eqf__host_message_velocity,
    .problem = problem,
    .options = eqf__message_options,
    .layout = eqf__message_layout,
    .init_params = eqf__message_init_params,
    .create = message_create,
    .destroy = message_destroy,
    .prepare = message_prepare,
};
