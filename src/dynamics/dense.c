/* The dense field's host side: layers as matrix products over all samples and directions at once, tile after tile of the batch.
 * Equations and layouts: cl/dynamics/dense.clh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dense_params.h"
#include "gemm.h"
#include "kinds.h"

enum { MAX_LAYERS = EQF__DENSE_MAX_DEPTH + 1 };

/* Most columns (samples times directions and one) of a tile: on CPUs a tile's matrices stay in the last cache level, GPUs want to be
 * filled. */
static const size_t cpu_tile_columns = 8192, gpu_tile_columns = 131072;
/* Samples of a tile are a multiple of this: of every V, and of the tiles that matrix products are cut into. */
static const size_t cpu_sample_multiple = 16, gpu_sample_multiple = 64;

/* One layer z = W a + b, sizes padded to EQF__GEMM_MULTIPLE. */
typedef struct dense_layer {
    size_t num_in, num_out, in_padded, out_padded;
    size_t at_weights, at_bias; /* in the parameter vector */
    size_t at_gradient;         /* of weights, then biases, in the field's own layout */
    cl_mem d_forward;           /* [in_padded][out_padded] */
    cl_mem d_reverse;           /* [out_padded][in_padded] */
    cl_mem d_bias;              /* [out_padded] */
    cl_mem d_z;                 /* [out_padded][num_columns] of a tile; hidden layers */
    cl_mem d_activated;         /* the same, its activations; for vjp only */
} dense_layer;

/* Kernels that loop over directions. */
enum {
    INPUTS,
    ACTIVATE,
    OUTPUTS,
    OUTPUT_ADJOINTS,
    ACTIVATE_REVERSE,
    VALUES,
    INPUT_ADJOINTS,
    ADD_GRADIENT,
    NUM_KERNELS
};
static const char *const kernel_names[NUM_KERNELS] = {
    "dense_inputs",           "dense_activate", "dense_outputs",        "dense_output_adjoints",
    "dense_activate_reverse", "dense_values",   "dense_input_adjoints", "dense_add_gradient"};

/* The field with its divergence, or its velocity alone: then there are no directions. */
typedef struct dense_way {
    size_t num_directions;
    eqf__kernel kernels[NUM_KERNELS]; /* of the velocity alone: built when it is first asked for */
} dense_way;

typedef struct dense_state {
    eqf__batched_form form;
    unsigned vector_width, num_layers;
    size_t most_samples, sample_multiple;
    dense_way with_divergence, velocity_alone;
    dense_layer layers[MAX_LAYERS];
    /* Of a tile; see ensure_memory. */
    size_t num_samples; /* that there is room for */
    bool has_reverse;
    cl_mem d_inputs, d_outputs;
    cl_mem d_adjoints[2], d_transposed[2], d_values, d_product;
    eqf__kernel pad, transpose, unpad;
} dense_state;

static size_t round_up(size_t count, size_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------------- */

static void release_memory(dense_state *state) {
    cl_mem *buffers[] = {&state->d_inputs,        &state->d_outputs,       &state->d_adjoints[0], &state->d_adjoints[1],
                         &state->d_transposed[0], &state->d_transposed[1], &state->d_values,      &state->d_product};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    for (unsigned l = 0; l < state->num_layers; l++) {
        eqf__buffer_destroy(&state->layers[l].d_z);
        eqf__buffer_destroy(&state->layers[l].d_activated);
    }
    state->num_samples = 0;
    state->has_reverse = false;
}

static void dense_destroy(eqf__field *field) {
    dense_state *state = field->state;
    if (state == NULL) return;
    release_memory(state);
    for (unsigned l = 0; l < state->num_layers; l++) {
        eqf__buffer_destroy(&state->layers[l].d_forward);
        eqf__buffer_destroy(&state->layers[l].d_reverse);
        eqf__buffer_destroy(&state->layers[l].d_bias);
    }
    for (size_t k = 0; k < NUM_KERNELS; k++) {
        eqf__kernel_destroy(&state->with_divergence.kernels[k]);
        eqf__kernel_destroy(&state->velocity_alone.kernels[k]);
    }
    eqf__kernel *kernels[] = {&state->pad, &state->transpose, &state->unpad};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    free(state);
    field->state = NULL;
}

/* Largest padded number of features that a matrix of some layer has. */
static size_t most_features(const dense_state *state) {
    size_t most = 0;
    for (unsigned l = 0; l < state->num_layers; l++) {
        if (state->layers[l].in_padded > most) most = state->layers[l].in_padded;
        if (state->layers[l].out_padded > most) most = state->layers[l].out_padded;
    }
    return most;
}

static eqf_status create_memory(eqf__field *field, size_t num_samples, bool has_reverse) {
    eqf_context *ctx = field->ctx;
    dense_state *state = field->state;
    const size_t num_columns = (1 + state->with_divergence.num_directions) * num_samples,
                 row = num_columns * sizeof(float);
    const size_t features = most_features(state);
    const dense_layer *first = &state->layers[0], *last = &state->layers[state->num_layers - 1];
    EQF__TRY(eqf__buffer_create(ctx, first->in_padded * row, NULL, "the field's inputs", &state->d_inputs));
    EQF__TRY(eqf__buffer_create(ctx, last->out_padded * row, NULL, "the field's outputs", &state->d_outputs));
    size_t most_product = 0;
    for (unsigned l = 0; l < state->num_layers; l++) {
        dense_layer *layer = &state->layers[l];
        if (layer->in_padded * layer->out_padded > most_product) most_product = layer->in_padded * layer->out_padded;
        if (l + 1 == state->num_layers) break;
        EQF__TRY(eqf__buffer_create(ctx, layer->out_padded * row, NULL, "the field's layers", &layer->d_z));
        if (has_reverse)
            EQF__TRY(eqf__buffer_create(ctx, layer->out_padded * row, NULL, "the field's layers", &layer->d_activated));
    }
    if (!has_reverse) return EQF_OK;
    for (size_t i = 0; i < 2; i++) {
        EQF__TRY(eqf__buffer_create(ctx, features * row, NULL, "the layers' adjoints", &state->d_adjoints[i]));
        EQF__TRY(eqf__buffer_create(ctx, features * row, NULL, "the layers' adjoints", &state->d_transposed[i]));
    }
    EQF__TRY(eqf__buffer_create(ctx, features * num_samples * sizeof(float), NULL, "the layers' adjoints",
                                &state->d_values));
    return eqf__buffer_create(ctx, most_product * sizeof(float), NULL, "the weights' gradients", &state->d_product);
}

/* Room for a tile of num_samples; what was there is lost if it was too small. */
static eqf_status ensure_memory(eqf__field *field, size_t num_samples, bool has_reverse) {
    dense_state *state = field->state;
    if (state->num_samples >= num_samples && (state->has_reverse || !has_reverse)) return EQF_OK;
    has_reverse = has_reverse || state->has_reverse;
    if (num_samples < state->num_samples) num_samples = state->num_samples;
    /* Kernels that were enqueued may still use the old buffers: OpenCL keeps those until they are done. */
    release_memory(state);
    eqf_status status = create_memory(field, num_samples, has_reverse);
    if (status != EQF_OK) { /* a smaller batch may try again */
        release_memory(state);
        return status;
    }
    state->num_samples = num_samples;
    state->has_reverse = has_reverse;
    return EQF_OK;
}

/* ---- A tile of the batch ------------------------------------------------------------------------------------------------ */

/* Blocks block_begin ... of num_blocks, in num_samples columns a direction. */
typedef struct dense_tile {
    const dense_way *way;
    cl_uint block_begin, num_blocks, num_samples, num_columns;
} dense_tile;

/* The tile after the one that ended at *next_block_ref; false: there is none. */
static bool next_tile(const dense_state *state, const dense_way *way, size_t num_blocks, size_t *next_block_ref,
                      dense_tile *tile_out) {
    if (*next_block_ref >= num_blocks) return false;
    const size_t left = round_up((num_blocks - *next_block_ref) * state->vector_width, state->sample_multiple);
    const size_t num_samples = left < state->most_samples ? left : state->most_samples;
    tile_out->way = way;
    tile_out->block_begin = (cl_uint)*next_block_ref;
    tile_out->num_blocks = (cl_uint)num_blocks;
    tile_out->num_samples = (cl_uint)num_samples;
    tile_out->num_columns = (cl_uint)((1 + way->num_directions) * num_samples);
    *next_block_ref += num_samples / state->vector_width;
    return true;
}

static size_t largest_tile(const dense_state *state, size_t num_blocks) {
    const size_t all = round_up(num_blocks * state->vector_width, state->sample_multiple);
    return all < state->most_samples ? all : state->most_samples;
}

/* Turns of a kernel over numbers: features times samples, V at a time. */
static size_t work_items(const eqf__field *field, size_t num_features, size_t num) {
    const dense_state *state = field->state;
    return eqf__stride(field->ctx, num_features * (num / state->vector_width));
}

/* Builds one of the two ways; *program_out, unless it is NULL, is its program. */
static eqf_status create_way(eqf__field *field, dense_way *way, eqf__program **program_out) {
    eqf_context *ctx = field->ctx;
    const dense_state *state = field->state;
    static const char *const files[] = {"common/real.clh",    "common/philox.clh", "common/random.clh",
                                        "dynamics/dense.clh", "dynamics/dense.cl", NULL};
    char defines[256];
    snprintf(
        defines, sizeof defines,
        "-D N=%u -D D=%u -D NUM_DIRECTIONS=%zu -D FEATURES_IN=%zu -D FEATURES_OUT=%zu -D DIVERGENCE=%d -D ACTIVATION=%d",
        field->num_particles, field->space_dim, way->num_directions, state->layers[0].in_padded,
        state->layers[state->num_layers - 1].out_padded, (int)field->divergence, (int)field->options.activation);
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "dense", files, defines, &program));
    for (size_t k = 0; k < NUM_KERNELS; k++)
        EQF__TRY(eqf__kernel_create(ctx, program, kernel_names[k], &way->kernels[k]));
    if (program_out != NULL) *program_out = program;
    return EQF_OK;
}

static eqf_status choose_way(eqf__field *field, bool has_divergence, const dense_way **way_out) {
    dense_state *state = field->state;
    dense_way *way = has_divergence ? &state->with_divergence : &state->velocity_alone;
    *way_out = way;
    return way->kernels[NUM_KERNELS - 1].id != NULL ? EQF_OK : create_way(field, way, NULL);
}

/* What goes into layer l. */
static cl_mem layer_input(const dense_state *state, unsigned l, bool is_kept) {
    if (l == 0) return state->d_inputs;
    return is_kept ? state->layers[l - 1].d_activated : state->layers[l - 1].d_z;
}

/* All layers of a tile; is_kept: what the reverse needs stays in memory. */
static eqf_status evaluate_layers(eqf__field *field, const eqf__noise *noise, const dense_tile *tile, cl_mem d_x,
                                  cl_mem d_times, bool is_kept) {
    eqf_context *ctx = field->ctx;
    dense_state *state = field->state;
    const cl_uint seed_low = (cl_uint)noise->seed, seed_high = (cl_uint)(noise->seed >> 32);
    const cl_ulong first_sample = noise->first_sample;
    EQF__TRY(EQF__LAUNCH(ctx, &tile->way->kernels[INPUTS], tile->num_samples / state->vector_width, 0, EQF__ARG(d_x),
                         EQF__ARG(d_times), EQF__ARG(state->d_inputs), EQF__ARG(seed_low), EQF__ARG(seed_high),
                         EQF__ARG(first_sample), EQF__ARG(tile->block_begin), EQF__ARG(tile->num_blocks),
                         EQF__ARG(tile->num_samples)));
    for (unsigned l = 0; l < state->num_layers; l++) {
        const dense_layer *layer = &state->layers[l];
        const bool is_last = l + 1 == state->num_layers;
        cl_mem d_in = layer_input(state, l, is_kept), d_z = is_last ? state->d_outputs : layer->d_z;
        EQF__TRY(eqf__gemm(ctx, tile->num_columns, layer->out_padded, layer->in_padded, d_in, layer->d_forward, d_z));
        if (is_last) break;
        cl_mem d_activated = is_kept ? layer->d_activated : d_z;
        const cl_uint num_features = (cl_uint)layer->out_padded;
        EQF__TRY(EQF__LAUNCH(ctx, &tile->way->kernels[ACTIVATE], work_items(field, num_features, tile->num_samples), 0,
                             EQF__ARG(d_z), EQF__ARG(d_activated), EQF__ARG(layer->d_bias), EQF__ARG(num_features),
                             EQF__ARG(tile->num_samples)));
    }
    return EQF_OK;
}

static eqf_status dense_evaluate(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x,
                                 cl_mem d_times, cl_mem d_velocity, cl_mem d_divergence) {
    dense_state *state = field->state;
    if (num_blocks == 0) return EQF_OK;
    const dense_way *way;
    EQF__TRY(choose_way(field, d_divergence != NULL, &way));
    const cl_mem d_sum = d_divergence != NULL ? d_divergence : d_velocity; /* some memory that is not written */
    EQF__TRY(ensure_memory(field, largest_tile(state, num_blocks), false));
    dense_tile tile;
    for (size_t next = 0; next_tile(state, way, num_blocks, &next, &tile);) {
        EQF__TRY(evaluate_layers(field, noise, &tile, d_x, d_times, false));
        EQF__TRY(EQF__LAUNCH(field->ctx, &tile.way->kernels[OUTPUTS], tile.num_samples / state->vector_width, 0,
                             EQF__ARG(state->d_outputs), EQF__ARG(state->d_inputs),
                             EQF__ARG(state->layers[state->num_layers - 1].d_bias), EQF__ARG(d_velocity),
                             EQF__ARG(d_sum), EQF__ARG(tile.block_begin), EQF__ARG(tile.num_blocks),
                             EQF__ARG(tile.num_samples)));
    }
    return EQF_OK;
}

static eqf_status transpose(eqf__field *field, cl_mem d_matrix, cl_mem d_transposed, size_t features, size_t columns) {
    dense_state *state = field->state;
    const cl_uint num_features = (cl_uint)features, num_columns = (cl_uint)columns;
    return EQF__LAUNCH(field->ctx, &state->transpose, work_items(field, features / 8, columns), 0, EQF__ARG(d_matrix),
                       EQF__ARG(d_transposed), EQF__ARG(num_features), EQF__ARG(num_columns));
}

/* grad += the gradient by a layer's weights and biases: sum over columns of adjoint and input. */
static eqf_status add_layer_gradient(eqf__field *field, const dense_tile *tile, const dense_layer *layer, cl_mem d_in,
                                     cl_mem d_adjoint, cl_mem d_grad) {
    dense_state *state = field->state;
    EQF__TRY(transpose(field, d_in, state->d_transposed[0], layer->in_padded, tile->num_columns));
    EQF__TRY(transpose(field, d_adjoint, state->d_transposed[1], layer->out_padded, tile->num_columns));
    EQF__TRY(eqf__gemm(field->ctx, layer->in_padded, layer->out_padded, tile->num_columns, state->d_transposed[0],
                       state->d_transposed[1], state->d_product));
    const cl_uint at_layer = (cl_uint)layer->at_gradient, in_padded = (cl_uint)layer->in_padded;
    const cl_uint out_padded = (cl_uint)layer->out_padded;
    return EQF__LAUNCH(field->ctx, &tile->way->kernels[ADD_GRADIENT], layer->out_padded, 0, EQF__ARG(state->d_product),
                       EQF__ARG(d_adjoint), EQF__ARG(d_grad), EQF__ARG(at_layer), EQF__ARG(in_padded),
                       EQF__ARG(out_padded), EQF__ARG(tile->num_samples));
}

/* The adjoint of layer l's z is in d_adjoints[0]; leaves that of its input in d_adjoints[0]. */
static eqf_status reverse_layers(eqf__field *field, const dense_tile *tile, cl_mem d_adjoint_x, cl_mem d_grad) {
    eqf_context *ctx = field->ctx;
    dense_state *state = field->state;
    cl_mem d_adjoint = state->d_adjoints[0], d_next = state->d_adjoints[1];
    for (unsigned l = state->num_layers; l-- > 0;) {
        const dense_layer *layer = &state->layers[l];
        if (d_grad != NULL)
            EQF__TRY(add_layer_gradient(field, tile, layer, layer_input(state, l, true), d_adjoint, d_grad));
        if (l == 0) break;
        EQF__TRY(eqf__gemm(ctx, tile->num_columns, layer->in_padded, layer->out_padded, d_adjoint, layer->d_reverse,
                           d_next));
        const cl_uint num_features = (cl_uint)layer->in_padded;
        EQF__TRY(EQF__LAUNCH(ctx, &tile->way->kernels[ACTIVATE_REVERSE],
                             work_items(field, num_features, tile->num_samples), 0, EQF__ARG(state->layers[l - 1].d_z),
                             EQF__ARG(d_next), EQF__ARG(num_features), EQF__ARG(tile->num_samples)));
        cl_mem d_swapped = d_adjoint;
        d_adjoint = d_next;
        d_next = d_swapped;
    }
    /* The directions do not depend on x: of the first layer only the values' adjoints go on. */
    const dense_layer *first = &state->layers[0];
    const cl_uint num_features = (cl_uint)first->out_padded;
    EQF__TRY(EQF__LAUNCH(ctx, &tile->way->kernels[VALUES], work_items(field, num_features, tile->num_samples), 0,
                         EQF__ARG(d_adjoint), EQF__ARG(state->d_values), EQF__ARG(num_features),
                         EQF__ARG(tile->num_samples)));
    EQF__TRY(eqf__gemm(ctx, tile->num_samples, first->in_padded, first->out_padded, state->d_values, first->d_reverse,
                       d_next));
    return EQF__LAUNCH(ctx, &tile->way->kernels[INPUT_ADJOINTS], tile->num_samples / state->vector_width, 0,
                       EQF__ARG(d_next), EQF__ARG(d_adjoint_x), EQF__ARG(tile->block_begin), EQF__ARG(tile->num_blocks),
                       EQF__ARG(tile->num_samples));
}

static eqf_status dense_vjp(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                            cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad) {
    dense_state *state = field->state;
    if (num_blocks == 0) return EQF_OK;
    const dense_way *way;
    EQF__TRY(choose_way(field, d_adjoint_divergence != NULL, &way));
    const cl_mem d_adjoint_sum =
        d_adjoint_divergence != NULL ? d_adjoint_divergence : d_times; /* some memory that is not read */
    EQF__TRY(ensure_memory(field, largest_tile(state, num_blocks), true));
    dense_tile tile;
    for (size_t next = 0; next_tile(state, way, num_blocks, &next, &tile);) {
        EQF__TRY(evaluate_layers(field, noise, &tile, d_x, d_times, true));
        EQF__TRY(EQF__LAUNCH(field->ctx, &tile.way->kernels[OUTPUT_ADJOINTS], tile.num_samples / state->vector_width, 0,
                             EQF__ARG(d_adjoint_velocity), EQF__ARG(d_adjoint_sum), EQF__ARG(state->d_inputs),
                             EQF__ARG(state->d_adjoints[0]), EQF__ARG(tile.block_begin), EQF__ARG(tile.num_blocks),
                             EQF__ARG(tile.num_samples)));
        EQF__TRY(reverse_layers(field, &tile, d_adjoint_x, d_grad));
    }
    return EQF_OK;
}

/* ---- Parameters ---------------------------------------------------------------------------------------------------------- */

static eqf_status check_params(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    float *params = eqf__alloc(ctx, field->num_params, sizeof *params, "the parameters");
    if (params == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, field->d_params, 0, field->num_params * sizeof *params, params);
    for (size_t n = 0; n < field->num_params && status == EQF_OK; n++)
        if (!isfinite(params[n]))
            status = eqf__fail(ctx, EQF_ERROR_NON_FINITE, "the field's parameters give non-finite velocities");
    free(params);
    return status;
}

static eqf_status dense_prepare(eqf__field *field, bool check) {
    dense_state *state = field->state;
    if (check) EQF__TRY(check_params(field));
    for (unsigned l = 0; l < state->num_layers; l++) {
        const dense_layer *layer = &state->layers[l];
        const cl_uint at_weights = (cl_uint)layer->at_weights, at_bias = (cl_uint)layer->at_bias;
        const cl_uint num_in = (cl_uint)layer->num_in, num_out = (cl_uint)layer->num_out;
        const cl_uint in_padded = (cl_uint)layer->in_padded, out_padded = (cl_uint)layer->out_padded;
        EQF__TRY(EQF__LAUNCH(field->ctx, &state->pad, layer->out_padded, 0, EQF__ARG(field->d_params),
                             EQF__ARG(layer->d_forward), EQF__ARG(layer->d_reverse), EQF__ARG(layer->d_bias),
                             EQF__ARG(at_weights), EQF__ARG(at_bias), EQF__ARG(num_in), EQF__ARG(num_out),
                             EQF__ARG(in_padded), EQF__ARG(out_padded)));
    }
    return EQF_OK;
}

static eqf_status dense_contract(eqf__field *field, cl_mem d_grad, cl_mem d_gradient) {
    dense_state *state = field->state;
    for (unsigned l = 0; l < state->num_layers; l++) {
        const dense_layer *layer = &state->layers[l];
        const cl_uint at_layer = (cl_uint)layer->at_gradient, at_weights = (cl_uint)layer->at_weights;
        const cl_uint at_bias = (cl_uint)layer->at_bias, num_in = (cl_uint)layer->num_in;
        const cl_uint num_out = (cl_uint)layer->num_out, in_padded = (cl_uint)layer->in_padded;
        const cl_uint out_padded = (cl_uint)layer->out_padded;
        EQF__TRY(EQF__LAUNCH(field->ctx, &state->unpad, layer->num_out, 0, EQF__ARG(d_grad), EQF__ARG(d_gradient),
                             EQF__ARG(at_layer), EQF__ARG(at_weights), EQF__ARG(at_bias), EQF__ARG(num_in),
                             EQF__ARG(num_out), EQF__ARG(in_padded), EQF__ARG(out_padded)));
    }
    return EQF_OK;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------- */

static eqf_status create_kernels(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    dense_state *state = field->state;
    eqf__program *program;
    EQF__TRY(create_way(field, &state->with_divergence, &program));
    state->form.program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "dense_pad", &state->pad));
    EQF__TRY(eqf__kernel_create(ctx, program, "dense_transpose", &state->transpose));
    return eqf__kernel_create(ctx, program, "dense_unpad", &state->unpad);
}

/* Sizes, offsets and weight buffers of the layers; sets the gradient's size. */
static eqf_status create_layers(eqf__field *field) {
    dense_state *state = field->state;
    eqf_param_slice slices[EQF__DENSE_MAX_SLICES];
    size_t num_slices, at_gradient = 0;
    field->num_params = eqf__dense_layout(&field->options, (size_t)field->num_particles * field->space_dim, slices,
                                          &num_slices, &field->num_trained);
    state->num_layers = field->options.depth + 1;
    for (unsigned l = 0; l < state->num_layers; l++) {
        dense_layer *layer = &state->layers[l];
        layer->num_out = slices[2 * l].shape[0];
        layer->num_in = slices[2 * l].shape[1];
        layer->out_padded = round_up(layer->num_out, EQF__GEMM_MULTIPLE);
        layer->in_padded = round_up(layer->num_in, EQF__GEMM_MULTIPLE);
        layer->at_weights = slices[2 * l].offset;
        layer->at_bias = slices[2 * l + 1].offset;
        layer->at_gradient = at_gradient;
        const size_t num_weights = layer->in_padded * layer->out_padded;
        at_gradient += num_weights + layer->out_padded;
        EQF__TRY(eqf__buffer_create(field->ctx, num_weights * sizeof(float), NULL, "the weights", &layer->d_forward));
        EQF__TRY(eqf__buffer_create(field->ctx, num_weights * sizeof(float), NULL, "the weights", &layer->d_reverse));
        EQF__TRY(
            eqf__buffer_create(field->ctx, layer->out_padded * sizeof(float), NULL, "the weights", &layer->d_bias));
    }
    state->form.grad_size = at_gradient;
    return EQF_OK;
}

static eqf_status dense_create(eqf__field *field, const eqf__field_needs *needs) {
    (void)needs; /* it has one form */
    eqf_context *ctx = field->ctx;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    dense_state *state = eqf__alloc(ctx, 1, sizeof *state, "the dense field");
    if (state == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->state = state;
    state->form.evaluate = dense_evaluate;
    state->form.vjp = dense_vjp;
    state->form.contract = dense_contract;
    field->batched = &state->form;
    field->evaluation = EQF_FIELD_DIRECT;
    field->resolution = 0;
    const bool is_gpu = device->info.type == EQF_DEVICE_GPU;
    const size_t num_free_dof = (size_t)(field->num_particles - 1) * field->space_dim;
    state->vector_width = device->vector_width;
    state->with_divergence.num_directions = field->divergence == EQF_DIVERGENCE_EXACT ? num_free_dof : 1;
    state->sample_multiple = is_gpu ? gpu_sample_multiple : cpu_sample_multiple;
    const size_t tile_columns = is_gpu ? gpu_tile_columns : cpu_tile_columns;
    state->most_samples =
        round_up(tile_columns / (1 + state->with_divergence.num_directions) + 1, state->sample_multiple);
    EQF__TRY(create_layers(field));
    EQF__TRY(create_kernels(field));
    EQF__TRY(eqf__gemm_open(ctx, EQF__GEMM_TUNED));
    return eqf__buffer_create(ctx, field->num_params * sizeof(float), NULL, "the parameters", &field->d_params);
}

static eqf_status init_params(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof, uint64_t seed,
                              float *params_out) {
    (void)ctx;
    eqf__dense_init_params(options, num_dof, seed, params_out);
    return EQF_OK;
}

/* Where the network's units are not saturated. */
static bool problem(const eqf_dynamics_options *options, unsigned num_particles, bool has_step_control,
                    eqf__field_problem *problem_out) {
    (void)options;
    (void)num_particles;
    (void)has_step_control;
    *problem_out = (eqf__field_problem){.side = 1.5, .share = 1};
    return true;
}

const eqf__dynamics_kind eqf__dense_kind = {
    .info = EQF__DYNAMICS_INFO(.name = "dense", .title = "the black-box baseline", .has_estimates = true, .is_batched = true),
    .forms = EQF__FORM_BATCHED,
    .host_velocity = eqf__host_dense_velocity,
    .problem = problem,
    .options = eqf__dense_options,
    .layout = eqf__dense_layout,
    .init_params = init_params,
    .create = dense_create,
    .destroy = dense_destroy,
    .prepare = dense_prepare,
};
