/* Cuts tapes into pieces of one launch each, for devices that limit the loop turns of a work-item. */
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "message_internal.h"

/* An upper bound of the loop turns in one turn of an instruction: loops over dimensions count as if not unrolled. */
static size_t turns_each(const cl_uint *word, const eqf__message_shape *shape, size_t N, size_t D) {
    const size_t channels = shape->num_scalars + shape->num_vectors + shape->num_edge + shape->num_reduced;
    switch (word[0]) {
        case MESSAGE_DENSE: return word[4] + 4;
        case MESSAGE_DENSE_GRADIENT:
        case MESSAGE_DENSE_START_REVERSE: return word[3] + 4;
        case MESSAGE_CLEAR: return 2;
        case MESSAGE_GEOMETRY:
        case MESSAGE_GEOMETRY_REVERSE: return shape->num_radial + 4 * D + 8;
        case MESSAGE_LOAD:
        case MESSAGE_LOAD_ADJOINTS:
        case MESSAGE_ADD_ADJOINT_X:
        case MESSAGE_STORE_VELOCITY: return 2 * N + 4;
        /* Loops over channels */
        case MESSAGE_FIRST_HOP_REVERSE_GEOMETRY:
        case MESSAGE_SUM_VECTORS_REVERSE_GEOMETRY:
        case MESSAGE_CONVERT_ROWS:
        case MESSAGE_CONVERT_ROWS_REVERSE:
        case MESSAGE_CONVERT_ROWS_REVERSE_GEOMETRY:
        case MESSAGE_FIRST_HOP_ROWS_REVERSE_GEOMETRY:
        case MESSAGE_SUM_SCALAR_ROWS_REVERSE_GEOMETRY:
        case MESSAGE_SUM_VECTOR_ROWS_REVERSE_GEOMETRY:
        case MESSAGE_EDGE_OUTPUT:
        case MESSAGE_EDGE_REVERSE_GEOMETRY:
        case MESSAGE_SOURCE_OUTPUT: return channels * (3 * D * (D + 2) + 4) + shape->num_radial + N + 16;
        /* Loops over neighbours, or over a particle's rows */
        default: return N * (5 * D * (D + 2) + 20) + 16;
    }
}

typedef struct piece_list {
    eqf__message_piece *pieces;
    size_t count, capacity;
} piece_list;

static eqf_status add_piece(eqf_context *ctx, piece_list *list, eqf__message_piece piece) {
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        eqf__message_piece *pieces = realloc(list->pieces, capacity * sizeof *pieces);
        if (pieces == NULL) return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the message field");
        list->pieces = pieces;
        list->capacity = capacity;
    }
    list->pieces[list->count++] = piece;
    return EQF_OK;
}

static eqf_status cut(eqf_context *ctx, const eqf__message_tape *tape, const eqf__message_shape *shape, size_t N,
                      size_t D, unsigned group_size, uint64_t limit, eqf__message_tape *cut_tape, piece_list *list) {
    eqf__message_piece piece = {.begin = 0};
    uint64_t taken = 0;
    for (size_t n = 0; n < tape->num_instructions; n++) {
        const cl_uint *whole = tape->words + n * MESSAGE_WORDS;
        const uint64_t each = turns_each(whole, shape, N, D);
        for (cl_uint turn = 0; turn < whole[1];) {
            /* A round is a turn of each work-item of the group. 2: loop turns of the tape's execution. */
            const uint64_t rounds = taken + 2 < limit ? (limit - taken - 2) / each : 0;
            if (rounds == 0) {
                if (taken == 0) return eqf__budget_refuse(ctx, "operation of the message field", (unsigned)N, "");
                piece.end = (cl_uint)cut_tape->num_instructions;
                EQF__TRY(add_piece(ctx, list, piece));
                piece.begin = piece.end;
                taken = 0;
                continue;
            }
            const cl_uint left = whole[1] - turn;
            const uint64_t here = rounds < left / group_size + 1 ? rounds * group_size : left;
            cl_uint *word = eqf__message_tape_add(ctx, cut_tape);
            if (word == NULL) return EQF_ERROR_OUT_OF_MEMORY;
            memcpy(word, whole, MESSAGE_WORDS * sizeof *word);
            word[MESSAGE_WORDS - 1] = turn;
            turn += here < left ? (cl_uint)here : left;
            word[1] = turn;
            taken += (here + group_size - 1) / group_size * each + 2;
        }
    }
    piece.end = (cl_uint)cut_tape->num_instructions;
    return add_piece(ctx, list, piece);
}

eqf_status eqf__message_tape_cut(eqf_context *ctx, const eqf__message_shape *shape, unsigned num_particles,
                                 unsigned space_dim, unsigned group_size, eqf__message_tape *tape,
                                 eqf__message_piece **pieces_out, size_t *num_pieces_out) {
    const uint64_t limit = ctx->device->launch_iterations > 0 ? ctx->device->launch_iterations : UINT64_MAX;
    piece_list list = {.pieces = NULL};
    eqf__message_tape cut_tape = {.slice_size = tape->slice_size};
    const eqf_status status = cut(ctx, tape, shape, num_particles, space_dim, group_size, limit, &cut_tape, &list);
    eqf__message_tape_clear(tape);
    *tape = cut_tape;
    *pieces_out = list.pieces;
    *num_pieces_out = list.count;
    return status;
}
