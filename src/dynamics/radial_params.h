/* The flat parameter vector of the radial field (docs/method.md, section 2):
 *   phi(d, t) = sum_m T_m(t) [ sum_k (R_k(d) + c_k^2) W_km + b_m ]
 * float32, K = num_distance, M = num_time, in this order:
 *   trained    radial.weights W [K, M], radial.bias b [M], radial.importance c [K],
 *              radial.distance_log_gammas [K], radial.time_log_gammas [M]         (natural logarithms)
 *   constants  radial.distance_centers [K], radial.time_centers [M]
 * With two species weights, bias and importance are [3 K, M], [3 M], [3 K]: those of pairs AA, then AB, then BB. */
#ifndef EQF_RADIAL_PARAMS_H
#define EQF_RADIAL_PARAMS_H

#include "base.h"
#include "eqflow/model.h"
#include "option.h"

typedef enum eqf__radial_slice {
    EQF__RADIAL_WEIGHTS,
    EQF__RADIAL_BIAS,
    EQF__RADIAL_IMPORTANCE,
    EQF__RADIAL_DISTANCE_LOG_GAMMAS,
    EQF__RADIAL_TIME_LOG_GAMMAS,
    EQF__RADIAL_DISTANCE_CENTERS,
    EQF__RADIAL_TIME_CENTERS,
    EQF__RADIAL_NUM_SLICES
} eqf__radial_slice;

extern const eqf_option eqf__radial_options[];

/* Checks what the option rows cannot: that the widths which the layout uses are set. Errors: INVALID_ARGUMENT with the
 * option's name. The functions below expect checked options. */
eqf_status eqf__radial_check(eqf_context *ctx, const eqf_dynamics_options *options);

/* Kinds of pair: 1, with two species 3. */
unsigned eqf__radial_num_kinds(const eqf_dynamics_options *options);

/* Fills slices_out (indexed by eqf__radial_slice) and returns num_params; names are static. */
size_t eqf__radial_layout(const eqf_dynamics_options *options, eqf_param_slice slices_out[EQF__RADIAL_NUM_SLICES],
                          size_t *num_trained_out);

/* Start values, params_out [num_params]. Errors: OUT_OF_MEMORY. */
eqf_status eqf__radial_init_params(eqf_context *ctx, const eqf_dynamics_options *options, uint64_t seed,
                                   float *params_out);

#endif
