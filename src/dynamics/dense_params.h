/* The flat parameter vector of the dense field (docs/method.md, section 8): L = depth hidden layers of `width` units,
 *   a_0 = (P x, t),  a_{l+1} = activation(W_l a_l + b_l),  f = W_L a_L + b_L
 * float32, in the order dense.weight_0 W_0 [width, N*D + 1], dense.bias_0 [width], ..., dense.weight_L [N*D, width],
 * dense.bias_L [N*D]; all trained. */
#ifndef EQF_DENSE_PARAMS_H
#define EQF_DENSE_PARAMS_H

#include "base.h"
#include "eqflow/model.h"
#include "option.h"

enum { EQF__DENSE_MAX_DEPTH = 8, EQF__DENSE_MAX_SLICES = 2 * (EQF__DENSE_MAX_DEPTH + 1) };

/* The functions below expect checked options. */
extern const eqf_option eqf__dense_options[];

/* Fills slices_out and *num_slices_out (slice 2 l: weights of layer l, 2 l + 1: its biases), and returns num_params;
 * names are static. */
size_t eqf__dense_layout(const eqf_dynamics_options *options, size_t num_dof,
                         eqf_param_slice slices_out[EQF__DENSE_MAX_SLICES], size_t *num_slices_out,
                         size_t *num_trained_out);

/* Start values, params_out [num_params]: the flow starts near the identity. */
void eqf__dense_init_params(const eqf_dynamics_options *options, size_t num_dof, uint64_t seed, float *params_out);

#endif
