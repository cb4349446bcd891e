/* The dense field's batched form: each layer is a matrix product over all samples and directions of a tile; the tiles
 * of a batch follow each other. */
#include <stdlib.h>
#include <string.h>

#include "dense_internal.h"

static const char *const kernel_names[NUM_KERNELS] = {
    "dense_inputs",           "dense_activate", "dense_outputs",        "dense_output_adjoints",
    "dense_activate_reverse", "dense_values",   "dense_input_adjoints", "dense_add_gradient"};

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

void eqf__dense_release_memory(dense_state *state) {
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

/* The largest padded number of features of a layer's matrices. */
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

/* Makes the memory of a tile large enough for num_samples; if it was too small, its contents are lost. */
static eqf_status ensure_memory(eqf__field *field, size_t num_samples, bool has_reverse) {
    dense_state *state = field->state;
    if (state->num_samples >= num_samples && (state->has_reverse || !has_reverse)) return EQF_OK;
    has_reverse = has_reverse || state->has_reverse;
    if (num_samples < state->num_samples) num_samples = state->num_samples;
    /* Enqueued kernels may still use the old buffers: OpenCL keeps them until these kernels are done. */
    eqf__dense_release_memory(state);
    eqf_status status = create_memory(field, num_samples, has_reverse);
    if (status != EQF_OK) { /* so that the caller can try a smaller batch */
        eqf__dense_release_memory(state);
        return status;
    }
    state->num_samples = num_samples;
    state->has_reverse = has_reverse;
    return EQF_OK;
}

/* ---- A tile of the batch ----------------------------------------------------------------------------------------- */

/* num_blocks blocks from block_begin on; num_samples columns for each direction. */
typedef struct dense_tile {
    const dense_way *way;
    cl_uint block_begin, num_blocks, num_samples, num_columns;
} dense_tile;

/* The tile that begins at *next_block_ref, which moves to its end; false: there is none. */
static bool next_tile(const dense_state *state, const dense_way *way, size_t num_blocks, size_t *next_block_ref,
                      dense_tile *tile_out) {
    if (*next_block_ref >= num_blocks) return false;
    const size_t left =
        eqf__dense_round_up((num_blocks - *next_block_ref) * state->vector_width, state->sample_multiple);
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
    const size_t all = eqf__dense_round_up(num_blocks * state->vector_width, state->sample_multiple);
    return all < state->most_samples ? all : state->most_samples;
}

/* Turns of a kernel over features times samples, V numbers in each. */
static size_t work_items(const eqf__field *field, size_t num_features, size_t num) {
    const dense_state *state = field->state;
    return eqf__stride(field->ctx, num_features * (num / state->vector_width));
}

eqf_status eqf__dense_create_way(eqf__field *field, dense_way *way, eqf__program **program_out) {
    eqf_context *ctx = field->ctx;
    const dense_state *state = field->state;
    static const char *const files[] = {"common/real.clh",    "common/philox.clh", "common/random.clh",
                                        "dynamics/dense.clh", "dynamics/dense.cl", NULL};
    char defines[256];
    snprintf(defines, sizeof defines,
             "-D N=%u -D D=%u -D NUM_DIRECTIONS=%zu -D FEATURES_IN=%zu -D FEATURES_OUT=%zu -D DIVERGENCE=%d -D "
             "ACTIVATION=%d",
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
    return way->kernels[NUM_KERNELS - 1].id != NULL ? EQF_OK : eqf__dense_create_way(field, way, NULL);
}

/* The input of layer l. */
static cl_mem layer_input(const dense_state *state, unsigned l, bool is_kept) {
    if (l == 0) return state->d_inputs;
    return is_kept ? state->layers[l - 1].d_activated : state->layers[l - 1].d_z;
}

/* Evaluates all layers for a tile; is_kept: the results that the reverse pass needs stay in memory. */
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

eqf_status eqf__dense_evaluate(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x,
                                 cl_mem d_times, cl_mem d_velocity, cl_mem d_divergence) {
    dense_state *state = field->state;
    if (num_blocks == 0) return EQF_OK;
    const dense_way *way;
    EQF__TRY(choose_way(field, d_divergence != NULL, &way));
    const cl_mem d_sum = d_divergence != NULL ? d_divergence : d_velocity; /* any buffer: it is not written */
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

/* For each layer, from the last: d_adjoints[0] holds the adjoint of its z, then that of its input. */
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
    /* The directions do not depend on x: of the first layer's inputs only the value columns have adjoints. */
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

eqf_status eqf__dense_vjp(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                            cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad) {
    dense_state *state = field->state;
    if (num_blocks == 0) return EQF_OK;
    const dense_way *way;
    EQF__TRY(choose_way(field, d_adjoint_divergence != NULL, &way));
    const cl_mem d_adjoint_sum =
        d_adjoint_divergence != NULL ? d_adjoint_divergence : d_times; /* any buffer: it is not read */
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
