/* Writes the reverse of a tape. It goes through the instructions from the last to the first. For each it writes the
 * instructions that carry the adjoints of its results to its inputs. */
#include <string.h>

#include "message_internal.h"

typedef void reverse_function(eqf__message_writer *writer, unsigned k, const cl_uint *a);

/* Emits another operation with the same arguments. */
#define AGAIN(writer, operation, turns, k, a) \
    eqf__message_emit(writer, MESSAGE_##operation, turns, k, MESSAGE_MOST_ARGUMENTS, a)

static size_t num_scalars(const eqf__message_writer *writer) {
    return writer->shape->num_scalars;
}
static size_t num_vectors(const eqf__message_writer *writer) {
    return writer->shape->num_vectors;
}
static size_t num_particles(const eqf__message_writer *writer) {
    return writer->num_particles;
}
static size_t num_edges(const eqf__message_writer *writer) {
    return (size_t)writer->num_particles - 1;
}
static size_t channel_turns(const eqf__message_writer *writer) {
    const size_t H = writer->shape->num_scalars;
    return H % 4 == 0 ? H / 4 : H;
}
static bool has_gradient(const eqf__message_writer *writer) {
    return writer->reverse == EQF__MESSAGE_WITH_GRADIENT;
}

/* Positions and times are inputs: nothing follows them in reverse. */
static void reverse_load(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    (void)a;
    EQF__EMIT(writer, ADD_ADJOINT_X, (size_t)writer->num_particles * writer->space_dim, k, 0);
}

static void reverse_geometry(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, GEOMETRY_REVERSE, writer->num_pairs, k, a);
}

static void reverse_dense(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    const unsigned adjoints = writer->places.memory.size;
    const cl_uint rows = a[0], inputs = a[1], outputs = a[2], x = a[3], x_stride = a[4], y = a[5], y_stride = a[6];
    const cl_uint weights = a[7], output_step = a[8], start = a[10], start_at = a[11];
    const bool is_constant = a[12] != 0;
    if (!is_constant) {
        const eqf__message_dense back = {
            rows, outputs, inputs, y + adjoints, y_stride, x + adjoints, x_stride, weights, 1, output_step, 2, 0, true};
        eqf__message_emit_dense(writer, k, &back);
    }
    if (has_gradient(writer)) {
        const size_t turns = (size_t)((outputs + 3) / 4) * ((inputs + 3) / 4);
        EQF__EMIT(writer, DENSE_GRADIENT, turns, k, rows, inputs, outputs, x, x_stride, y, y_stride, weights,
                  output_step);
        if (start == 1) EQF__EMIT(writer, DENSE_START_REVERSE, outputs, k, rows, y, y_stride, start_at);
    }
}

/* ---- Hops -------------------------------------------------------------------------------------------------------- */

static void reverse_activate(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, ACTIVATE_REVERSE, num_particles(writer) * num_scalars(writer), k, a);
}
static void reverse_invariants(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, INVARIANTS_REVERSE, num_particles(writer) * num_vectors(writer), k, a);
}
static void reverse_gate(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, GATE_REVERSE, num_particles(writer) * num_vectors(writer), k, a);
}
static void reverse_squares(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SQUARES_REVERSE, num_particles(writer) * writer->shape->num_reduced, k, a);
}
static void reverse_first_hop(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, FIRST_HOP_REVERSE_FILTERS, writer->num_pairs * (num_scalars(writer) + num_vectors(writer)), k, a);
    AGAIN(writer, FIRST_HOP_REVERSE_GEOMETRY, writer->num_pairs, k, a);
}
static void reverse_sum_scalars(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SUM_SCALARS_REVERSE_NODES, num_particles(writer) * num_scalars(writer), k, a);
    AGAIN(writer, SUM_SCALARS_REVERSE_FILTERS, writer->num_pairs * num_scalars(writer), k, a);
}
static void reverse_sum_vectors(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SUM_VECTORS_REVERSE_NODES, num_particles(writer) * num_vectors(writer), k, a);
    AGAIN(writer, SUM_VECTORS_REVERSE_FILTERS, writer->num_pairs * num_vectors(writer), k, a);
    AGAIN(writer, SUM_VECTORS_REVERSE_GEOMETRY, num_particles(writer) * num_particles(writer), k, a);
    /* the sums were added to U u, so its adjoint is that of w */
}

/* ---- Rows of derivatives ----------------------------------------------------------------------------------------- */

static void reverse_activate_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, ACTIVATE_ROWS_REVERSE, num_particles(writer) * num_scalars(writer), k, a);
}
static void reverse_invariant_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, INVARIANT_ROWS_REVERSE, num_particles(writer) * num_vectors(writer), k, a);
}
static void reverse_gate_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, GATE_ROWS_REVERSE, num_particles(writer) * num_vectors(writer), k, a);
}
static void reverse_square_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SQUARE_ROWS_REVERSE, num_particles(writer) * writer->shape->num_reduced, k, a);
}
static void reverse_convert_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, CONVERT_ROWS_REVERSE, num_particles(writer) * (writer->is_shared ? a[1] : 1), k, a);
    AGAIN(writer, CONVERT_ROWS_REVERSE_GEOMETRY, num_particles(writer), k, a);
}
static void reverse_first_hop_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    const size_t turns = num_particles(writer) * (num_scalars(writer) + num_vectors(writer));
    AGAIN(writer, FIRST_HOP_ROWS_REVERSE_FILTERS, turns, k, a);
    AGAIN(writer, FIRST_HOP_ROWS_REVERSE_GEOMETRY, num_particles(writer), k, a);
}
static void reverse_sum_scalar_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SUM_SCALAR_ROWS_REVERSE_NODES, num_particles(writer) * channel_turns(writer), k, a);
    AGAIN(writer, SUM_SCALAR_ROWS_REVERSE_FILTERS, writer->num_pairs * num_scalars(writer), k, a);
    AGAIN(writer, SUM_SCALAR_ROWS_REVERSE_GEOMETRY, num_particles(writer), k, a);
}
static void reverse_sum_vector_rows(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SUM_VECTOR_ROWS_REVERSE_NODES, num_particles(writer) * num_vectors(writer), k, a);
    AGAIN(writer, SUM_VECTOR_ROWS_REVERSE_FILTERS, writer->num_pairs * num_vectors(writer), k, a);
    AGAIN(writer, SUM_VECTOR_ROWS_REVERSE_GEOMETRY, num_particles(writer) * num_particles(writer), k, a);
}

/* ---- Read-out ---------------------------------------------------------------------------------------------------- */

static void reverse_edge_invariants(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    const eqf__message_places *places = &writer->places;
    const eqf__message_shape *shape = writer->shape;
    const unsigned tau_c = places->tau + shape->num_hops * shape->num_scalars, tau_r = tau_c + 3 * shape->num_edge;
    AGAIN(writer, EDGE_INVARIANTS_REVERSE, num_edges(writer) * shape->num_reduced, k, a);
    AGAIN(writer, EDGE_INVARIANTS_REVERSE_SOURCE, shape->num_reduced, k, a);
    /* Once for all instructions of the read-out; here all adjoints that it reads are complete. */
    EQF__EMIT(writer, EDGE_REVERSE_GEOMETRY, num_edges(writer), k, writer->has_divergence, places->y, places->dy,
              places->invariants, places->bc, places->dbc, tau_c, tau_r, places->edge_z, places->g);
}
static void reverse_edge_mix(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, EDGE_MIX_REVERSE, num_edges(writer) * writer->shape->num_edge, k, a);
    AGAIN(writer, EDGE_MIX_REVERSE_SOURCE, writer->shape->num_edge, k, a);
}
static void reverse_edge_activate(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, EDGE_ACTIVATE_REVERSE, num_edges(writer) * writer->shape->num_edge, k, a);
}
static void reverse_edge_output(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, EDGE_OUTPUT_REVERSE, num_edges(writer) * writer->shape->num_edge, k, a);
    if (has_gradient(writer)) AGAIN(writer, EDGE_OUTPUT_GRADIENT, writer->shape->num_edge, k, a);
    AGAIN(writer, EDGE_RADIAL_REVERSE, writer->shape->num_radial + 1, k, a);
}
static void reverse_source_output(eqf__message_writer *writer, unsigned k, const cl_uint *a) {
    AGAIN(writer, SOURCE_OUTPUT_REVERSE_EDGES, num_edges(writer), k, a);
    AGAIN(writer, SOURCE_OUTPUT_REVERSE_VECTORS, num_vectors(writer), k, a);
}

static reverse_function *const reverses[MESSAGE_NUM_OPERATIONS] = {
    [MESSAGE_LOAD] = reverse_load,
    [MESSAGE_GEOMETRY] = reverse_geometry,
    [MESSAGE_DENSE] = reverse_dense,
    [MESSAGE_ACTIVATE] = reverse_activate,
    [MESSAGE_INVARIANTS] = reverse_invariants,
    [MESSAGE_GATE] = reverse_gate,
    [MESSAGE_SQUARES] = reverse_squares,
    [MESSAGE_FIRST_HOP] = reverse_first_hop,
    [MESSAGE_SUM_SCALARS] = reverse_sum_scalars,
    [MESSAGE_SUM_VECTORS] = reverse_sum_vectors,
    [MESSAGE_ACTIVATE_ROWS] = reverse_activate_rows,
    [MESSAGE_INVARIANT_ROWS] = reverse_invariant_rows,
    [MESSAGE_GATE_ROWS] = reverse_gate_rows,
    [MESSAGE_SQUARE_ROWS] = reverse_square_rows,
    [MESSAGE_CONVERT_ROWS] = reverse_convert_rows,
    [MESSAGE_FIRST_HOP_ROWS] = reverse_first_hop_rows,
    [MESSAGE_SUM_SCALAR_ROWS] = reverse_sum_scalar_rows,
    [MESSAGE_SUM_VECTOR_ROWS] = reverse_sum_vector_rows,
    [MESSAGE_EDGE_INVARIANTS] = reverse_edge_invariants,
    [MESSAGE_EDGE_MIX] = reverse_edge_mix,
    [MESSAGE_EDGE_ACTIVATE] = reverse_edge_activate,
    [MESSAGE_EDGE_OUTPUT] = reverse_edge_output,
    [MESSAGE_SOURCE_OUTPUT] = reverse_source_output,
};

void eqf__message_emit_reverse(eqf__message_writer *writer, size_t begin, size_t end) {
    for (size_t n = end; n-- > begin && writer->status == EQF_OK;) {
        cl_uint word[MESSAGE_WORDS]; /* a copy, as the tape may move in memory while it grows */
        memcpy(word, writer->tape->words + n * MESSAGE_WORDS, sizeof word);
        reverses[word[0]](writer, word[2], word + 3);
    }
}
