#include "message_tape.h"

#include <stdlib.h>
#include <string.h>

#include "message_internal.h"

/* ---- Instructions ------------------------------------------------------------------------------------------------ */

cl_uint *eqf__message_tape_add(eqf_context *ctx, eqf__message_tape *tape) {
    if (tape->num_instructions == tape->capacity) {
        const size_t capacity = tape->capacity == 0 ? 1024 : 2 * tape->capacity;
        cl_uint *words = realloc(tape->words, capacity * MESSAGE_WORDS * sizeof *words);
        if (words == NULL) {
            eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the message field");
            return NULL;
        }
        tape->words = words;
        tape->capacity = capacity;
    }
    return memset(tape->words + tape->num_instructions++ * MESSAGE_WORDS, 0, MESSAGE_WORDS * sizeof *tape->words);
}

void eqf__message_emit(eqf__message_writer *writer, unsigned operation, size_t turns, unsigned source,
                       size_t num_arguments, const cl_uint *arguments) {
    if (writer->status != EQF_OK || turns == 0) return;
    cl_uint *word = eqf__message_tape_add(writer->ctx, writer->tape);
    if (word == NULL) {
        writer->status = EQF_ERROR_OUT_OF_MEMORY;
        return;
    }
    word[0] = operation;
    word[1] = (cl_uint)turns;
    word[2] = source;
    memcpy(word + 3, arguments, num_arguments * sizeof *word);
}

void eqf__message_emit_dense(eqf__message_writer *writer, unsigned source, const eqf__message_dense *dense) {
    const size_t turns = (dense->num_rows + 2) / 3 * ((dense->num_outputs + 3) / 4);
    EQF__EMIT(writer, DENSE, turns, source, (cl_uint)dense->num_rows, (cl_uint)dense->num_inputs,
              (cl_uint)dense->num_outputs, (cl_uint)dense->x, (cl_uint)dense->x_stride, (cl_uint)dense->y,
              (cl_uint)dense->y_stride, (cl_uint)dense->weights, (cl_uint)dense->output_step,
              (cl_uint)dense->input_step, dense->start, (cl_uint)dense->start_at, dense->is_constant);
}

/* y = start + W x with all of W [num_outputs][num_inputs]. */
static void emit_product(eqf__message_writer *writer, unsigned source, size_t num_rows, size_t num_inputs,
                         size_t num_outputs, size_t x, size_t x_stride, size_t y, size_t y_stride, size_t weights,
                         unsigned start, size_t start_at) {
    const eqf__message_dense dense = {num_rows, num_inputs, num_outputs, x,     x_stride, y,    y_stride,
                                      weights,  num_inputs, 1,           start, start_at, false};
    eqf__message_emit_dense(writer, source, &dense);
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* The filters f of `count` pairs from `pair` on, from their Gaussians e; each pair has num_b_of_pair particles of
 * species B. */
static void write_filters_of(eqf__message_writer *writer, size_t pair, size_t count, unsigned num_b_of_pair, unsigned e,
                             unsigned f) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    if (count == 0) return;
    emit_product(writer, 0, count, shape->num_radial, shape->num_filters, e + pair * stride->k, stride->k,
                 f + pair * stride->f, stride->f, shape->at_filters[num_b_of_pair], 0, 0);
}

/* The filters of all pairs (i, j). Pairs are ordered by i, then by j > i: for each i of species A, its pairs with A are
 * contiguous, and so are those with B; all pairs of B with B are contiguous. With one species all particles are A. */
static void write_filters(eqf__message_writer *writer, unsigned e, unsigned f) {
    const size_t num_b = writer->shape->num_b, num_a = writer->num_particles - num_b;
    size_t pair = 0;
    if (num_b == 0) {
        write_filters_of(writer, 0, writer->num_pairs, 0, e, f);
        return;
    }
    for (size_t i = 0; i < num_a; i++) {
        write_filters_of(writer, pair, num_a - 1 - i, 0, e, f);
        pair += num_a - 1 - i;
        write_filters_of(writer, pair, num_b, 1, e, f);
        pair += num_b;
    }
    write_filters_of(writer, pair, writer->num_pairs - pair, 2, e, f);
}

static void write_pairs(eqf__message_writer *writer) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_places *places = &writer->places;
    const eqf__message_memory *memory = &places->memory;
    const bool has_rows = writer->has_divergence, is_reversed = writer->reverse != EQF__MESSAGE_FORWARD;
    EQF__EMIT(writer, LOAD, (size_t)writer->num_particles * writer->space_dim + EQF__MESSAGE_NUM_TIME, 0, 0);
    EQF__EMIT(writer, GEOMETRY, writer->num_pairs, 0, has_rows && is_reversed ? 2 : has_rows || is_reversed);
    write_filters(writer, memory->e, memory->f);
    if (has_rows) write_filters(writer, memory->e1, memory->f1);
    const eqf__message_dense times = {1,
                                      EQF__MESSAGE_NUM_TIME,
                                      shape->num_times,
                                      memory->times,
                                      EQF__MESSAGE_NUM_TIME,
                                      places->tau,
                                      shape->num_times,
                                      shape->at_times,
                                      EQF__MESSAGE_NUM_TIME,
                                      1,
                                      0,
                                      0,
                                      true};
    eqf__message_emit_dense(writer, 0, &times);
}

static void write_first_hop(eqf__message_writer *writer) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_hop_places *hop = &writer->places.hops[1];
    const size_t N = writer->num_particles, H = shape->num_scalars, M = shape->num_vectors, num_b = shape->num_b;
    const size_t b = (N - num_b) * stride->h; /* the first particle of species B */
    EQF__EMIT(writer, FIRST_HOP, N * (H + M), 0, hop->sums, hop->u);
    emit_product(writer, 0, N - num_b, H, H, hop->sums, stride->h, hop->z, stride->h, shape->at_input, 1,
                 writer->places.tau);
    if (num_b > 0)
        emit_product(writer, 0, num_b, H, H, hop->sums + b, stride->h, hop->z + b, stride->h, shape->at_input, 1,
                     writer->places.tau + shape->time_of_b);
    EQF__EMIT(writer, ACTIVATE, N * H, 0, hop->z, 0, 0, 0, hop->h, hop->h_stride);
}

/* The number of turns for H channels: cl/dynamics/message.clh has CHANNELS in a turn. */
static size_t channel_turns(size_t num_scalars) {
    return num_scalars % 4 == 0 ? num_scalars / 4 : num_scalars;
}

static void write_hop(eqf__message_writer *writer, unsigned l) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_hop_places *hop = &writer->places.hops[l], *before = &writer->places.hops[l - 1];
    const size_t N = writer->num_particles, D = writer->space_dim, H = shape->num_scalars, M = shape->num_vectors;
    const size_t mixed = 2 * H + 2 * M;
    const unsigned filter = shape->first_filter[l];
    emit_product(writer, 0, N, H, H + M, hop->mixed, stride->mixed, hop->ab, stride->ab, shape->at_mix[l], 0, 0);
    emit_product(writer, 0, N * D, M, M, before->u, stride->m, hop->w, stride->m, shape->at_vector[l], 0, 0);
    emit_product(writer, 0, N * D, M, M, before->u, stride->m, hop->vu, stride->m, shape->at_vector[l] + M * M, 0, 0);
    EQF__EMIT(writer, SUM_SCALARS, N * channel_turns(H), 0, filter, hop->ab, hop->mixed);
    EQF__EMIT(writer, SUM_VECTORS, N * M, 0, filter, hop->ab, before->u, hop->vu, hop->p, hop->w);
    emit_product(writer, 0, N * D, M, 2 * M, hop->w, stride->m, hop->pq, stride->pq, shape->at_product[l], 0, 0);
    EQF__EMIT(writer, INVARIANTS, N * M, 0, hop->p, hop->pq, hop->n, hop->mixed);
    emit_product(writer, 0, N, mixed, H, hop->mixed, stride->mixed, hop->z, stride->h, shape->at_update[l], 1,
                 writer->places.tau + (l - 1) * H);
    EQF__EMIT(writer, ACTIVATE, N * H, 0, hop->z, 1, hop->mixed, stride->mixed, hop->h, hop->h_stride);
    emit_product(writer, 0, N, H, M, hop->h, hop->h_stride, hop->gate, stride->m, shape->at_gate[l], 0, 0);
    EQF__EMIT(writer, GATE, N * M, 0, hop->w, hop->gate, hop->u);
}

static void write_readout(eqf__message_writer *writer) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_places *places = &writer->places;
    const eqf__message_hop_places *last = &places->hops[shape->num_hops];
    const size_t N = writer->num_particles, D = writer->space_dim, H = shape->num_scalars, M = shape->num_vectors;
    const size_t E = shape->num_edge, R = shape->num_reduced, tau_b = places->tau + shape->num_hops * H + E;
    emit_product(writer, 0, N * D, M, R, last->u, stride->m, places->y, stride->r, shape->at_readout_vector, 0, 0);
    EQF__EMIT(writer, SQUARES, N * R, 0, places->y, places->h_n);
    emit_product(writer, 0, N, H + R, E, places->h_n, stride->hn, places->bc, stride->bc, shape->at_readout_node, 1,
                 tau_b);
    emit_product(writer, 0, N, H + R, E, places->h_n, stride->hn, places->bc + E, stride->bc,
                 shape->at_readout_node + E * (H + R), 0, 0);
    emit_product(writer, 0, N, H, M, places->h_n, stride->hn, places->gate_out, stride->m, shape->at_gate_out, 0, 0);
}

/* ---- Rows of derivatives with respect to the source's position --------------------------------------------------- */

static void write_first_rows(eqf__message_writer *writer, unsigned k) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_hop_places *hop = &writer->places.hops[1];
    const size_t N = writer->num_particles, H = shape->num_scalars, M = shape->num_vectors;
    EQF__EMIT(writer, FIRST_HOP_ROWS, N * (H + M), k, shape->num_hops == 1, hop->dsums, hop->du);
    emit_product(writer, k, writer->num_reduced_rows, H, H, hop->dsums, stride->h, hop->dz, stride->h, shape->at_input,
                 0, 0);
    EQF__EMIT(writer, ACTIVATE_ROWS, N * H, k, 0, hop->z, hop->dz, 0, 0, 0, hop->dh, hop->dh_stride);
}

static void write_conversion(eqf__message_writer *writer, unsigned k, unsigned kind, size_t width, size_t from,
                             size_t from_stride, size_t to, size_t to_stride) {
    EQF__EMIT(writer, CONVERT_ROWS, writer->num_particles * (writer->is_shared ? width : 1), k, kind, (cl_uint)width,
              (cl_uint)from, (cl_uint)from_stride, (cl_uint)to, (cl_uint)to_stride);
}

/* From the rows of hop l - 1: A h, B h, V u, the sums over neighbours, and the columns of h in the update's input; U u
 * is added to w. */
static void write_row_sums(eqf__message_writer *writer, unsigned k, unsigned l) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_hop_places *hop = &writer->places.hops[l], *before = &writer->places.hops[l - 1];
    const size_t N = writer->num_particles, D = writer->space_dim, H = shape->num_scalars, M = shape->num_vectors;
    const size_t full = N * D, reduced = writer->num_reduced_rows;
    const bool is_last = l == shape->num_hops;
    const unsigned filter = shape->first_filter[l];
    if (l == 2) {
        emit_product(writer, k, reduced, H, H + M, before->dh, stride->h, hop->dab_reduced, stride->ab,
                     shape->at_mix[l], 0, 0);
        write_conversion(writer, k, CONVERT_EXPAND, H + M, hop->dab_reduced, stride->ab, hop->dab, stride->ab);
        write_conversion(writer, k, is_last ? CONVERT_SCALE : CONVERT_EXPAND, H, before->dh, stride->h, hop->dmixed,
                         stride->mixed);
    } else {
        emit_product(writer, k, full, H, H + M, before->dh, before->dh_stride, hop->dab, stride->ab, shape->at_mix[l],
                     0, 0);
        if (is_last)
            write_conversion(writer, k, CONVERT_PROJECT, H, before->dh, before->dh_stride, hop->dmixed, stride->mixed);
    }
    emit_product(writer, k, full * D, M, M, before->du, stride->m, hop->dvu, stride->m, shape->at_vector[l] + M * M, 0,
                 0);
    const unsigned dm = is_last ? hop->dm : hop->dmixed + (unsigned)H;
    const unsigned dp = is_last ? hop->dp_full : hop->dp, dw = is_last ? hop->dw_full : hop->dw;
    EQF__EMIT(writer, SUM_SCALAR_ROWS, N * channel_turns(H), k, filter, hop->ab, hop->dab, dm,
              is_last ? stride->h : stride->mixed);
    EQF__EMIT(writer, SUM_VECTOR_ROWS, N * M, k, filter, hop->ab, before->u, hop->vu, hop->dab, before->du, hop->dvu,
              dp, dw);
    if (is_last) {
        write_conversion(writer, k, CONVERT_PROJECT, H, dm, stride->h, hop->dmixed + H, stride->mixed);
        write_conversion(writer, k, CONVERT_PROJECT, M, dp, stride->m, hop->dp, stride->m);
        for (size_t a = 0; a < D; a++) {
            const size_t at = a * stride->m, row = D * stride->m;
            write_conversion(writer, k, CONVERT_PROJECT, M, dw + at, row, hop->dw + at, row);
            write_conversion(writer, k, CONVERT_PROJECT, M, before->du + at, row, hop->du_reduced + at, row);
        }
    }
    emit_product(writer, k, (is_last ? reduced : full) * D, M, M, is_last ? hop->du_reduced : before->du, stride->m,
                 hop->dw, stride->m, shape->at_vector[l], 2, 0);
}

static void write_rows(eqf__message_writer *writer, unsigned k, unsigned l) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_hop_places *hop = &writer->places.hops[l];
    const size_t N = writer->num_particles, D = writer->space_dim, H = shape->num_scalars, M = shape->num_vectors;
    const size_t mixed = 2 * H + 2 * M;
    const bool is_full = l < shape->num_hops;
    const size_t rows = is_full ? N * D : writer->num_reduced_rows;
    write_row_sums(writer, k, l);
    emit_product(writer, k, rows * D, M, 2 * M, hop->dw, stride->m, hop->dpq, stride->pq, shape->at_product[l], 0, 0);
    EQF__EMIT(writer, INVARIANT_ROWS, N * M, k, is_full, hop->p, hop->pq, hop->n, hop->dp, hop->dpq, hop->dmixed);
    emit_product(writer, k, rows, mixed, H, hop->dmixed, stride->mixed, hop->dz, stride->h, shape->at_update[l], 0, 0);
    EQF__EMIT(writer, ACTIVATE_ROWS, N * H, k, is_full, hop->z, hop->dz, 1, hop->dmixed, stride->mixed, hop->dh,
              hop->dh_stride);
    emit_product(writer, k, rows, H, M, hop->dh, hop->dh_stride, hop->dgate, stride->m, shape->at_gate[l], 0, 0);
    EQF__EMIT(writer, GATE_ROWS, N * M, k, is_full, hop->w, hop->gate, hop->dw, hop->dgate, hop->du);
}

static void write_readout_rows(eqf__message_writer *writer, unsigned k) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_places *places = &writer->places;
    const eqf__message_hop_places *last = &places->hops[shape->num_hops];
    const size_t N = writer->num_particles, D = writer->space_dim, H = shape->num_scalars, M = shape->num_vectors;
    const size_t E = shape->num_edge, R = shape->num_reduced, in = H + R;
    emit_product(writer, k, writer->num_reduced_rows * D, M, R, last->du, stride->m, places->dy, stride->r,
                 shape->at_readout_vector, 0, 0);
    EQF__EMIT(writer, SQUARE_ROWS, N * R, k, places->y, places->dy, places->dh_n);
    emit_product(writer, k, D, in, E, places->dh_n, stride->hn, places->dbc, stride->bc, shape->at_readout_node, 0, 0);
    emit_product(writer, k, N - 1, in, E, places->dh_n + D * stride->hn, stride->hn, places->dbc + D * stride->bc + E,
                 stride->bc, shape->at_readout_node + E * in, 0, 0);
    emit_product(writer, k, D, H, M, places->dh_n, stride->hn, places->dgate_out, stride->m, shape->at_gate_out, 0, 0);
}

/* ---- Edges of the source ----------------------------------------------------------------------------------------- */

static void write_edges(eqf__message_writer *writer, unsigned k) {
    const eqf__message_shape *shape = writer->shape;
    const eqf__message_strides *stride = &writer->strides;
    const eqf__message_places *places = &writer->places;
    const eqf__message_hop_places *last = &places->hops[shape->num_hops];
    const cl_uint has_rows = writer->has_divergence;
    const size_t edges = writer->num_particles - 1, E = shape->num_edge, R = shape->num_reduced;
    const unsigned tau_c = places->tau + shape->num_hops * shape->num_scalars, tau_e = tau_c + 2 * (unsigned)E;
    const unsigned tau_r = tau_e + (unsigned)E;
    const cl_uint has_gradient = writer->reverse == EQF__MESSAGE_WITH_GRADIENT;
    EQF__EMIT(writer, EDGE_INVARIANTS, edges * R, k, has_rows, places->y, places->dy, places->invariants);
    EQF__EMIT(writer, EDGE_MIX, edges * E, k, has_rows, places->bc, places->dbc, tau_c, places->edge_z);
    emit_product(writer, k, (1 + has_rows) * edges, 3 * R, E, places->invariants, stride->invariants, places->edge_z,
                 stride->e, shape->at_readout_invariant, 2, 0);
    EQF__EMIT(writer, EDGE_ACTIVATE, edges * E, k, has_rows, places->edge_z, places->edge_act);
    emit_product(writer, k, edges, E, E, places->edge_act, stride->e, places->edge_q, stride->e, shape->at_edge, 1,
                 tau_e);
    if (has_rows)
        emit_product(writer, k, edges, E, E, places->edge_act + edges * stride->e, stride->e,
                     places->edge_q + edges * stride->e, stride->e, shape->at_edge, 0, 0);
    EQF__EMIT(writer, EDGE_OUTPUT, edges, k, has_rows, (cl_uint)shape->at_edge_out, places->edge_z, places->edge_q,
              tau_r, places->g);
    EQF__EMIT(writer, SOURCE_OUTPUT, writer->space_dim + 1, k, has_rows, (cl_uint)shape->at_vector_out, places->g,
              last->u, places->gate_out, last->du, places->dgate_out, places->v, places->div, has_gradient);
}

/* ---- Whole tapes ------------------------------------------------------------------------------------------------- */

static void clear_adjoints(eqf__message_writer *writer, unsigned k, unsigned begin, unsigned end) {
    EQF__EMIT(writer, CLEAR, end - begin, k, writer->places.memory.size + begin);
}

static void write_source(eqf__message_writer *writer, unsigned k) {
    const eqf__message_memory *memory = &writer->places.memory;
    const size_t begin = writer->tape->num_instructions;
    if (writer->has_divergence) {
        write_first_rows(writer, k);
        for (unsigned l = 2; l <= writer->shape->num_hops; l++) write_rows(writer, k, l);
        write_readout_rows(writer, k);
    }
    write_edges(writer, k);
    if (writer->reverse == EQF__MESSAGE_FORWARD) return;
    const size_t end = writer->tape->num_instructions;
    clear_adjoints(writer, k, memory->source,
                   writer->has_divergence ? memory->size : writer->places.dh_n); /* the rows follow h_n */
    eqf__message_emit_reverse(writer, begin, end);
}

static void write_tape(eqf__message_writer *writer) {
    const eqf__message_places *places = &writer->places;
    const bool is_reversed = writer->reverse != EQF__MESSAGE_FORWARD;
    const size_t D = writer->space_dim;
    write_pairs(writer);
    write_first_hop(writer);
    for (unsigned l = 2; l <= writer->shape->num_hops; l++) write_hop(writer, l);
    write_readout(writer);
    const size_t end = writer->tape->num_instructions;
    if (is_reversed) {
        /* Without rows the adjoints of the filters' derivatives are not used. */
        clear_adjoints(writer, 0, 0, writer->has_divergence ? places->tau : places->memory.f1);
        clear_adjoints(writer, 0, places->tau, places->memory.source);
        EQF__EMIT(writer, LOAD_ADJOINTS, D + 1, 0, places->v, places->div, writer->has_divergence);
    }
    for (unsigned k = 0; k < writer->num_particles; k++) write_source(writer, k);
    if (is_reversed) {
        eqf__message_emit_reverse(writer, 0, end);
        return;
    }
    EQF__EMIT(writer, STORE_VELOCITY, D, 0, places->v);
    if (writer->has_divergence) EQF__EMIT(writer, STORE_DIVERGENCE, 1, 0, places->div);
}

eqf_status eqf__message_tape_create(eqf_context *ctx, const eqf__message_shape *shape, unsigned num_particles,
                                    unsigned space_dim, bool is_shared, bool has_divergence,
                                    eqf__message_reverse reverse, eqf__message_tape *tape_out) {
    *tape_out = (eqf__message_tape){.words = NULL};
    eqf__message_writer writer = {.ctx = ctx,
                                  .shape = shape,
                                  .num_particles = num_particles,
                                  .space_dim = space_dim,
                                  .num_pairs = num_particles * (num_particles - 1) / 2,
                                  .num_reduced_rows = num_particles + space_dim - 1,
                                  .has_divergence = has_divergence,
                                  .is_shared = is_shared,
                                  .strides = eqf__message_strides_of(shape),
                                  .reverse = reverse,
                                  .tape = tape_out,
                                  .status = EQF_OK};
    eqf__message_place(shape, num_particles, space_dim, &writer.places);
    write_tape(&writer);
    tape_out->slice_size = (size_t)writer.places.memory.size * (reverse == EQF__MESSAGE_FORWARD ? 1 : 2);
    return writer.status;
}

size_t eqf__message_tape_bytes(const eqf__message_tape *tape) {
    return tape->num_instructions * MESSAGE_WORDS * sizeof *tape->words;
}

void eqf__message_tape_clear(eqf__message_tape *tape) {
    free(tape->words);
    *tape = (eqf__message_tape){.words = NULL};
}
