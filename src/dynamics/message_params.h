/* The flat parameter vector of the message field (docs/method.md, section 9): matrices [outputs, inputs], row-major,
 * all trained. */
#ifndef EQF_MESSAGE_PARAMS_H
#define EQF_MESSAGE_PARAMS_H

#include "base.h"
#include "eqflow/model.h"
#include "option.h"

enum {
    EQF__MESSAGE_MAX_HOPS = 8,
    EQF__MESSAGE_NUM_TIME = 9,       /* T(t): 8 Gaussians and 1 */
    EQF__MESSAGE_NUM_PAIR_KINDS = 3, /* AA, AB, BB */
    EQF__MESSAGE_MAX_SLICES = 13 + 9 * EQF__MESSAGE_MAX_HOPS
};

/* Sizes, with their letters in docs/method.md, and the offset of each matrix in the parameter vector (at_...). Arrays
 * over hops have index l = 1 ... L; 0 is not used. */
typedef struct eqf__message_shape {
    unsigned num_hops, num_scalars, num_vectors, num_edge, num_reduced, num_radial; /* L, H, M, E, R, K */
    unsigned num_filters; /* rows of all filters: H + M + (L-1)(H + 3M) + 2E */
    unsigned num_times;   /* rows of all time matrices: L H + 3E + K + 1, and with two species H more */
    unsigned first_filter[EQF__MESSAGE_MAX_HOPS + 1]; /* a hop's first row among all filters */
    size_t at_filters[EQF__MESSAGE_NUM_PAIR_KINDS];   /* [number of particles of species B in the pair] */
    size_t at_times, at_input;
    unsigned num_b;     /* number of particles of species B, the last ones */
    unsigned time_of_b; /* the first hop's row of the time matrices for species B; that for A is 0 */
    size_t at_mix[EQF__MESSAGE_MAX_HOPS + 1], at_vector[EQF__MESSAGE_MAX_HOPS + 1],
        at_product[EQF__MESSAGE_MAX_HOPS + 1];
    size_t at_update[EQF__MESSAGE_MAX_HOPS + 1], at_gate[EQF__MESSAGE_MAX_HOPS + 1];
    size_t at_readout_vector, at_readout_node, at_readout_invariant, at_edge, at_edge_out, at_gate_out, at_vector_out;
} eqf__message_shape;

extern const eqf_option eqf__message_options[];

/* The functions below expect checked options. */

void eqf__message_shape_of(const eqf_dynamics_options *options, eqf__message_shape *shape_out);

/* Fills slices_out [EQF__MESSAGE_MAX_SLICES] and *num_slices_out, and returns num_params; names are static. */
size_t eqf__message_layout(const eqf_dynamics_options *options, size_t num_dof, eqf_param_slice *slices_out,
                           size_t *num_slices_out, size_t *num_trained_out);

/* Start values, params_out [num_params]: the flow starts near the identity. */
eqf_status eqf__message_init_params(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof,
                                    uint64_t seed, float *params_out);

#endif
