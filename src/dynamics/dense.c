/* The dense field on the host: its layers, their weights on the device, and its row of the table of kinds. */
#include <stdlib.h>

#include "dense_internal.h"

/* Most columns of a tile, samples times (1 + directions): on CPUs the matrices of a tile stay in the last cache level,
 * on GPUs they keep all units busy. */
static const size_t cpu_tile_columns = 8192, gpu_tile_columns = 131072;
/* The number of samples in a tile is a multiple of this: of every V, and of the tile sizes of matrix products. */
static const size_t cpu_sample_multiple = 16, gpu_sample_multiple = 64;

/* ---- Parameters -------------------------------------------------------------------------------------------------- */

static eqf_status dense_prepare(eqf__field *field, bool check) {
    dense_state *state = field->state;
    (void)check;
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

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static void dense_destroy(eqf__field *field) {
    dense_state *state = field->state;
    if (state == NULL) return;
    eqf__dense_release_memory(state);
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

static eqf_status create_kernels(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    dense_state *state = field->state;
    eqf__program *program;
    EQF__TRY(eqf__dense_create_way(field, &state->with_divergence, &program));
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
        layer->out_padded = eqf__dense_round_up(layer->num_out, EQF__GEMM_MULTIPLE);
        layer->in_padded = eqf__dense_round_up(layer->num_in, EQF__GEMM_MULTIPLE);
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
    (void)needs; /* the kind has one form */
    eqf_context *ctx = field->ctx;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    dense_state *state = eqf__alloc(ctx, 1, sizeof *state, "the dense field");
    if (state == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->state = state;
    state->form.evaluate = eqf__dense_evaluate;
    state->form.vjp = eqf__dense_vjp;
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
        eqf__dense_round_up(tile_columns / (1 + state->with_divergence.num_directions) + 1, state->sample_multiple);
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

/* Small coordinates, at which the network's units are not saturated. */
static bool problem(const eqf_dynamics_options *options, unsigned num_particles, unsigned space_dim,
                    bool has_step_control, eqf__field_problem *problem_out) {
    (void)space_dim;
    (void)options;
    (void)num_particles;
    (void)has_step_control;
    *problem_out = (eqf__field_problem){.side = 1.5, .share = 1};
    return true;
}

const eqf__dynamics_kind eqf__dense_kind = {
    .info = EQF__DYNAMICS_INFO(.name = "dense", .title = "the black-box baseline", .has_estimates = true,
                               .is_batched = true, .has_species = true, EQF__EXACT_STEPS),
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
