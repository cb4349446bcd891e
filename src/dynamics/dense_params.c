#include "dense_params.h"

#include <math.h>

#include "start_values.h"

/* A factor of the last layer's start values: the flow starts near the identity. */
static const double last_layer_scale = 0.01;

static const char *const activations[] = {[EQF_ACTIVATION_TANH] = "tanh", [EQF_ACTIVATION_SILU] = "silu", NULL};

const eqf_option eqf__dense_options[] = {
    EQF__OPTION(eqf_dynamics_options, width, UNSIGNED, .initial = 128, .low = 1, .high = 2048,
                .help = "units of a hidden layer"),
    EQF__OPTION(eqf_dynamics_options, depth, UNSIGNED, .initial = 2, .low = 1, .high = EQF__DENSE_MAX_DEPTH,
                .help = "hidden layers"),
    EQF__OPTION(eqf_dynamics_options, activation, NAME, .initial = EQF_ACTIVATION_TANH, .names = activations,
                .help = "what follows each hidden layer"),
    EQF__OPTIONS_END,
};

size_t eqf__dense_layout(const eqf_dynamics_options *options, size_t num_dof,
                         eqf_param_slice slices_out[EQF__DENSE_MAX_SLICES], size_t *num_slices_out,
                         size_t *num_trained_out) {
    static const char *const names[EQF__DENSE_MAX_SLICES] = {
        "dense.weight_0", "dense.bias_0", "dense.weight_1", "dense.bias_1", "dense.weight_2", "dense.bias_2",
        "dense.weight_3", "dense.bias_3", "dense.weight_4", "dense.bias_4", "dense.weight_5", "dense.bias_5",
        "dense.weight_6", "dense.bias_6", "dense.weight_7", "dense.bias_7", "dense.weight_8", "dense.bias_8"};
    size_t offset = 0;
    for (unsigned l = 0; l <= options->depth; l++) {
        const size_t num_in = l == 0 ? num_dof + 1 : options->width;
        const size_t num_out = l == options->depth ? num_dof : options->width;
        slices_out[2 * l] = (eqf_param_slice){sizeof(eqf_param_slice), names[2 * l], 2, {num_out, num_in}, offset,
                                              num_out * num_in,        true};
        offset += num_out * num_in;
        slices_out[2 * l + 1] =
            (eqf_param_slice){sizeof(eqf_param_slice), names[2 * l + 1], 1, {num_out, 0}, offset, num_out, true};
        offset += num_out;
    }
    *num_slices_out = 2 * ((size_t)options->depth + 1);
    *num_trained_out = offset;
    return offset;
}

void eqf__dense_init_params(const eqf_dynamics_options *options, size_t num_dof, uint64_t seed, float *params_out) {
    eqf_param_slice slices[EQF__DENSE_MAX_SLICES];
    size_t num_slices, num_trained;
    eqf__dense_layout(options, num_dof, slices, &num_slices, &num_trained);
    uint32_t index = 0;
    for (size_t s = 0; s < num_slices; s++) {
        const bool is_weight = slices[s].num_dims == 2, is_last = s + 2 >= num_slices;
        const double scale = is_weight ? (is_last ? last_layer_scale : 1.0) / sqrt((double)slices[s].shape[1]) : 0.0;
        for (size_t n = 0; n < slices[s].count; n++)
            params_out[slices[s].offset + n] = is_weight ? (float)(scale * eqf__start_normal(seed, index++)) : 0.0f;
    }
}
