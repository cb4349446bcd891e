#include "dense_params.h"

#include <math.h>

#include "start_values.h"

enum { MAX_WIDTH = 2048 };

/* Of the last layer's start values, below what its inputs would give: the flow starts near the identity. */
static const double last_layer_scale = 0.01;

eqf_status eqf__dense_check(eqf_context *ctx, const eqf_dynamics_options *options) {
    if (options->width < 1 || options->width > MAX_WIDTH)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "width of the dense dynamics is %u: it must be 1 to %d",
                         options->width, MAX_WIDTH);
    if (options->depth < 1 || options->depth > EQF__DENSE_MAX_DEPTH)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "depth of the dense dynamics is %u: it must be 1 to %d",
                         options->depth, (int)EQF__DENSE_MAX_DEPTH);
    if (options->activation != EQF_ACTIVATION_TANH && options->activation != EQF_ACTIVATION_SILU)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "activation of the dense dynamics is %u: there is no such activation",
                         (unsigned)options->activation);
    return EQF_OK;
}

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
        slices_out[2 * l] = (eqf_param_slice){sizeof(eqf_param_slice), names[2 * l], 2, {num_out, num_in}, offset, num_out * num_in, true};
        offset += num_out * num_in;
        slices_out[2 * l + 1] = (eqf_param_slice){sizeof(eqf_param_slice), names[2 * l + 1], 1, {num_out, 0}, offset, num_out, true};
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
