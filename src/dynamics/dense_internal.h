/* Internals of the dense field: dense.c makes its layers, dense_tiles.c evaluates them for tiles of a batch. Equations
 * and layouts: cl/dynamics/dense.clh. */
#ifndef EQF_DENSE_INTERNAL_H
#define EQF_DENSE_INTERNAL_H

#include "dense_params.h"
#include "gemm.h"
#include "kinds.h"

enum { MAX_LAYERS = EQF__DENSE_MAX_DEPTH + 1 };

/* One layer z = W a + b, sizes padded to EQF__GEMM_MULTIPLE. */
typedef struct dense_layer {
    size_t num_in, num_out, in_padded, out_padded;
    size_t at_weights, at_bias; /* in the parameter vector */
    size_t at_gradient;         /* of weights, then biases, in the field's own layout */
    cl_mem d_forward;           /* [in_padded][out_padded] */
    cl_mem d_reverse;           /* [out_padded][in_padded] */
    cl_mem d_bias;              /* [out_padded] */
    cl_mem d_z;                 /* [out_padded][num_columns] of a tile; of hidden layers only */
    cl_mem d_activated;         /* the same of its activations; for vjp only */
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

/* Kernels for velocity and divergence, or for the velocity alone, without directions. */
typedef struct dense_way {
    size_t num_directions;
    eqf__kernel kernels[NUM_KERNELS]; /* those of the velocity alone are built at first use */
} dense_way;

typedef struct dense_state {
    eqf__batched_form form;
    unsigned vector_width, num_layers;
    size_t most_samples, sample_multiple;
    dense_way with_divergence, velocity_alone;
    dense_layer layers[MAX_LAYERS];
    /* Memory of a tile; see ensure_memory. */
    size_t num_samples; /* most samples for which it is large enough */
    bool has_reverse;
    cl_mem d_inputs, d_outputs;
    cl_mem d_adjoints[2], d_transposed[2], d_values, d_product;
    eqf__kernel pad, transpose, unpad;
} dense_state;

static inline size_t eqf__dense_round_up(size_t count, size_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

/* Builds one of the two sets of kernels; *program_out (or NULL) is its program. */
eqf_status eqf__dense_create_way(eqf__field *field, dense_way *way, eqf__program **program_out);
/* Releases the memory of tiles. */
void eqf__dense_release_memory(dense_state *state);

/* The functions of the batched form (field.h). */
eqf_status eqf__dense_evaluate(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x,
                               cl_mem d_times, cl_mem d_velocity, cl_mem d_divergence);
eqf_status eqf__dense_vjp(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                          cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad);

#endif
