/* Common to the files that write tapes: the addresses of the message field's tensors (shapes: cl/dynamics/message.clh)
 * and functions that write instructions. */
#ifndef EQF_MESSAGE_INTERNAL_H
#define EQF_MESSAGE_INTERNAL_H

#include "../../cl/dynamics/message_ops.clh"
#include "message_tape.h"

/* Addresses of a hop's tensors; names that begin with d are rows of derivatives. */
typedef struct eqf__message_hop_places {
    unsigned sums, z, p, w, pq, n, mixed, ab, vu, gate, h, h_stride, u;
    unsigned dsums, dz, dp, dw, dpq, dmixed, dab, dvu, dgate, dh, dh_stride, du;
    /* Full rows of the last hop before they are reduced, and reduced rows of hop 1 before they are expanded. */
    unsigned dm, dp_full, dw_full, du_reduced, dab_reduced;
} eqf__message_hop_places;

typedef struct eqf__message_places {
    eqf__message_memory memory;
    unsigned tau; /* [num_times] */
    eqf__message_hop_places hops[EQF__MESSAGE_MAX_HOPS + 1];
    unsigned h_n, y, bc, gate_out, v, div;            /* read-out */
    unsigned invariants, edge_z, edge_act, edge_q, g; /* edges of the source */
    unsigned dh_n, dy, dbc, dgate_out;                /* rows of the read-out */
} eqf__message_places;

/* Strides of rows: cl/dynamics/message.clh. */
typedef struct eqf__message_strides {
    unsigned h, m, e, r, k, f, ab, mixed, pq, hn, bc, invariants;
} eqf__message_strides;

typedef struct eqf__message_writer {
    eqf_context *ctx;
    const eqf__message_shape *shape;
    unsigned num_particles, space_dim, num_pairs, num_reduced_rows;
    bool has_divergence, is_shared; /* is_shared: a work-group computes a block */
    eqf__message_reverse reverse;
    eqf__message_places places;
    eqf__message_strides strides;
    eqf__message_tape *tape;
    eqf_status status; /* the first error; the functions after it do nothing */
} eqf__message_writer;

eqf__message_strides eqf__message_strides_of(const eqf__message_shape *shape);
void eqf__message_place(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                        eqf__message_places *places_out);

/* Adds an instruction; arguments are cl_uint. */
void eqf__message_emit(eqf__message_writer *writer, unsigned operation, size_t turns, unsigned source,
                       size_t num_arguments, const cl_uint *arguments);
#define EQF__EMIT(writer, operation, turns, source, ...)                                                              \
    eqf__message_emit(writer, MESSAGE_##operation, turns, source, sizeof((cl_uint[]){__VA_ARGS__}) / sizeof(cl_uint), \
                      (cl_uint[]){__VA_ARGS__})

/* y [num_rows][y_stride] = start + W x: cl/dynamics/message_dense.clh. */
typedef struct eqf__message_dense {
    size_t num_rows, num_inputs, num_outputs, x, x_stride, y, y_stride, weights, output_step, input_step;
    unsigned start; /* 0: zero; 1: the row at start_at; 2: the old y */
    size_t start_at;
    bool is_constant; /* x has no adjoint */
} eqf__message_dense;
void eqf__message_emit_dense(eqf__message_writer *writer, unsigned source, const eqf__message_dense *dense);

/* Appends the reverse of instructions begin ... end - 1 of the tape, the last one first. */
void eqf__message_emit_reverse(eqf__message_writer *writer, size_t begin, size_t end);

#endif
