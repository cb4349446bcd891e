/* Executes instructions begin ... end - 1 of a tape for num_blocks blocks of V samples, from first_block on: one
 * work-item for each block, or one work-group if GROUP_SIZE > 1. What a later call needs is in scratch
 * [num_blocks][slice_size], in units of V numbers. x, velocity, adjoint_velocity, adjoint_x [blocks][N*D][V]; times,
 * divergence, adjoint_divergence [blocks][V]; params as in src/dynamics/message_params.h; gradients
 * [num_slices][num_params]: the call adds to each slice's own sum. Buffers that the tape does not use may be anything.
 * HAS_REVERSE: with the operations of the reverse pass, which take most of the compile time. */

#if GROUP_SIZE > 1
#define FIRST_TURN get_local_id(0)
#define TURN_STEP get_local_size(0)
#define BLOCK get_group_id(0)
#define END_OPERATION barrier(CLK_GLOBAL_MEM_FENCE)
#else
#define FIRST_TURN 0
#define TURN_STEP 1
#define BLOCK get_global_id(0)
#define END_OPERATION
#endif

#define TURNS(...)                                                                                       \
    ROLLED for (uint turn = word[16] + FIRST_TURN; turn < word[1]; turn += TURN_STEP) __VA_ARGS__; \
    break
#define CASE(name) case MESSAGE_##name
/* Arguments of an instruction. */
#define A0 word[3]
#define A1 word[4]
#define A2 word[5]
#define A3 word[6]
#define A4 word[7]
#define A5 word[8]
#define A6 word[9]
#define A7 word[10]
#define A8 word[11]
#define A9 word[12]

__kernel void message_run(__global const uint *tape, __global const uint *pairs, uint begin, uint end,
                          __global real *scratch, ulong slice_size, __global const real *x, __global const real *times,
                          __global real *velocity, __global real *divergence, __global const real *adjoint_velocity,
                          __global const real *adjoint_divergence, __global real *adjoint_x,
                          __global const real *params, __global real *gradients, uint num_params, real spacing,
                          uint first_block, uint num_blocks) {
    const uint slice = BLOCK;
    if (slice >= num_blocks) return; /* the same for all work-items of a group */
    __global real *s = scratch + slice * slice_size;
    __global real *gradient = gradients + (size_t)slice * num_params;
    const size_t block = first_block + slice;
    ROLLED for (uint at = begin; at < end; at++) {
        __global const uint *word = tape + at * MESSAGE_WORDS;
        const uint k = word[2];
        switch (word[0]) {
            CASE(LOAD) : TURNS(load_state(s, turn, x, times, block));
            CASE(GEOMETRY) : TURNS(pair_geometry(s, turn, pairs, A0, spacing));
            CASE(STORE_VELOCITY) : TURNS(store_velocity(s, turn, A0, velocity, block));
            CASE(STORE_DIVERGENCE) : TURNS(store_lanes(divergence + block * V, GET(A0)));
            CASE(DENSE) : {
                const dense_shape shape = {A0, A1, A2, A3, A4, A5, A6, A8, A9, word[13], word[14]};
                TURNS(dense(s, turn, params + A7, &shape));
            }
            CASE(ACTIVATE) : TURNS(activate(s, turn, A0, A1, A2, A3, A4, A5));
            CASE(INVARIANTS) : TURNS(invariants(s, turn, A0, A1, A2, A3));
            CASE(GATE) : TURNS(gate_vectors(s, turn, A0, A1, A2));
            CASE(SQUARES) : TURNS(squares(s, turn, A0, A1));
            CASE(FIRST_HOP) : TURNS(first_hop(s, turn, A0, A1));
            CASE(SUM_SCALARS) : TURNS(sum_scalars(s, turn, A0, A1, A2));
            CASE(SUM_VECTORS) : TURNS(sum_vectors(s, turn, A0, A1, A2, A3, A4, A5));
            CASE(ACTIVATE_ROWS) : TURNS(activate_rows(s, turn, k, A0, A1, A2, A3, A4, A5, A6, A7));
            CASE(INVARIANT_ROWS) : TURNS(invariant_rows(s, turn, k, A0, A1, A2, A3, A4, A5, A6));
            CASE(GATE_ROWS) : TURNS(gate_rows(s, turn, k, A0, A1, A2, A3, A4, A5));
            CASE(SQUARE_ROWS) : TURNS(square_rows(s, turn, k, A0, A1, A2));
            CASE(CONVERT_ROWS) : TURNS(convert_rows(s, turn, k, A0, A1, A2, A3, A4, A5));
            CASE(FIRST_HOP_ROWS) : TURNS(first_hop_rows(s, turn, k, A0, A1, A2));
            CASE(SUM_SCALAR_ROWS) : TURNS(sum_scalar_rows(s, turn, k, A0, A1, A2, A3, A4));
            CASE(SUM_VECTOR_ROWS) : TURNS(sum_vector_rows(s, turn, k, A0, A1, A2, A3, A4, A5, A6, A7, A8));
            CASE(EDGE_INVARIANTS) : TURNS(edge_invariants(s, turn, k, A0, A1, A2, A3));
            CASE(EDGE_MIX) : TURNS(edge_mix(s, turn, k, A0, A1, A2, A3, A4));
            CASE(EDGE_ACTIVATE) : TURNS(edge_activate(s, turn, A0, A1, A2));
            CASE(EDGE_OUTPUT) : TURNS(edge_output(s, turn, k, A0, params + A1, A2, A3, A4, A5));
            CASE(SOURCE_OUTPUT) : TURNS(source_output(s, turn, k, A0, params + A1, A2, A3, A4, A5, A6, A7, A8));
#ifdef HAS_REVERSE
            CASE(LOAD_ADJOINTS)
                : TURNS(load_adjoints(s, turn, A0, A1, A2, adjoint_velocity, adjoint_divergence, block));
            CASE(CLEAR) : TURNS(PUT(A0 + turn, (realv)0));
            CASE(GEOMETRY_REVERSE) : TURNS(pair_geometry_reverse(s, turn, pairs, A0));
            CASE(ADD_ADJOINT_X) : TURNS(add_adjoint_x(s, turn, adjoint_x, block));
            CASE(DENSE_GRADIENT) : TURNS(dense_gradient(s, turn, gradient + A7, A0, A1, A2, A3, A4, A5, A6, A8));
            CASE(DENSE_START_REVERSE) : TURNS(dense_start_reverse(s, turn, A0, A1, A2, A3));
            CASE(ACTIVATE_REVERSE) : TURNS(activate_reverse(s, turn, A0, A1, A2, A3, A4, A5));
            CASE(INVARIANTS_REVERSE) : TURNS(invariants_reverse(s, turn, A0, A1, A2, A3));
            CASE(GATE_REVERSE) : TURNS(gate_vectors_reverse(s, turn, A0, A1, A2));
            CASE(SQUARES_REVERSE) : TURNS(squares_reverse(s, turn, A0, A1));
            CASE(FIRST_HOP_REVERSE_FILTERS) : TURNS(first_hop_reverse_filters(s, turn, pairs, A0, A1));
            CASE(FIRST_HOP_REVERSE_GEOMETRY) : TURNS(first_hop_reverse_geometry(s, turn, pairs, A1));
            CASE(SUM_SCALARS_REVERSE_NODES) : TURNS(sum_scalars_reverse_nodes(s, turn, A0, A1, A2));
            CASE(SUM_SCALARS_REVERSE_FILTERS) : TURNS(sum_scalars_reverse_filters(s, turn, pairs, A0, A1, A2));
            CASE(SUM_VECTORS_REVERSE_NODES) : TURNS(sum_vectors_reverse_nodes(s, turn, A0, A1, A2, A3, A4, A5));
            CASE(SUM_VECTORS_REVERSE_FILTERS)
                : TURNS(sum_vectors_reverse_filters(s, turn, pairs, A0, A1, A2, A3, A4, A5));
            CASE(SUM_VECTORS_REVERSE_GEOMETRY) : TURNS(sum_vectors_reverse_geometry(s, turn, A0, A1, A2, A4, A5));
            CASE(ACTIVATE_ROWS_REVERSE) : TURNS(activate_rows_reverse(s, turn, k, A0, A1, A2, A3, A4, A5, A6, A7));
            CASE(INVARIANT_ROWS_REVERSE) : TURNS(invariant_rows_reverse(s, turn, k, A0, A1, A2, A3, A4, A5, A6));
            CASE(GATE_ROWS_REVERSE) : TURNS(gate_rows_reverse(s, turn, k, A0, A1, A2, A3, A4, A5));
            CASE(SQUARE_ROWS_REVERSE) : TURNS(square_rows_reverse(s, turn, k, A0, A1, A2));
            CASE(CONVERT_ROWS_REVERSE) : TURNS(convert_rows_reverse(s, turn, k, A0, A1, A2, A3, A4, A5));
            CASE(CONVERT_ROWS_REVERSE_GEOMETRY)
                : TURNS(convert_rows_reverse_geometry(s, turn, k, A0, A1, A2, A3, A4, A5));
            CASE(FIRST_HOP_ROWS_REVERSE_FILTERS) : TURNS(first_hop_rows_reverse_filters(s, turn, k, A0, A1, A2));
            CASE(FIRST_HOP_ROWS_REVERSE_GEOMETRY) : TURNS(first_hop_rows_reverse_geometry(s, turn, k, A0, A1, A2));
            CASE(SUM_SCALAR_ROWS_REVERSE_NODES) : TURNS(sum_scalar_rows_reverse_nodes(s, turn, k, A0, A1, A2, A3, A4));
            CASE(SUM_SCALAR_ROWS_REVERSE_FILTERS)
                : TURNS(sum_scalar_rows_reverse_filters(s, turn, pairs, k, A0, A1, A2, A3, A4));
            CASE(SUM_SCALAR_ROWS_REVERSE_GEOMETRY)
                : TURNS(sum_scalar_rows_reverse_geometry(s, turn, k, A0, A1, A3, A4));
            CASE(SUM_VECTOR_ROWS_REVERSE_NODES)
                : TURNS(sum_vector_rows_reverse_nodes(s, turn, k, A0, A1, A2, A3, A4, A5, A6, A7, A8));
            CASE(SUM_VECTOR_ROWS_REVERSE_FILTERS)
                : TURNS(sum_vector_rows_reverse_filters(s, turn, pairs, k, A0, A1, A2, A3, A4, A5, A6, A7, A8));
            CASE(SUM_VECTOR_ROWS_REVERSE_GEOMETRY)
                : TURNS(sum_vector_rows_reverse_geometry(s, turn, k, A0, A1, A2, A3, A4, A5, A7, A8));
            CASE(EDGE_INVARIANTS_REVERSE) : TURNS(edge_invariants_reverse(s, turn, k, A0, A1, A2, A3));
            CASE(EDGE_INVARIANTS_REVERSE_SOURCE) : TURNS(edge_invariants_reverse_source(s, turn, k, A0, A1, A2, A3));
            CASE(EDGE_MIX_REVERSE) : TURNS(edge_mix_reverse(s, turn, k, A0, A1, A2, A3, A4));
            CASE(EDGE_MIX_REVERSE_SOURCE) : TURNS(edge_mix_reverse_source(s, turn, k, A0, A1, A2, A3, A4));
            CASE(EDGE_ACTIVATE_REVERSE) : TURNS(edge_activate_reverse(s, turn, A0, A1, A2));
            CASE(EDGE_OUTPUT_REVERSE) : TURNS(edge_output_reverse(s, turn, A0, params + A1, A2, A3, A5));
            CASE(EDGE_OUTPUT_GRADIENT) : TURNS(edge_output_gradient(s, turn, A0, gradient + A1, A2, A3, A5));
            CASE(EDGE_RADIAL_REVERSE) : TURNS(edge_radial_reverse(s, turn, k, A0, A4, A5));
            CASE(EDGE_REVERSE_GEOMETRY)
                : TURNS(edge_reverse_geometry(s, turn, k, A0, A1, A2, A3, A4, A5, A6, A7, A8, A9));
            CASE(SOURCE_OUTPUT_REVERSE_EDGES) : TURNS(source_output_reverse_edges(s, turn, k, A2, A7, A8));
            CASE(SOURCE_OUTPUT_REVERSE_VECTORS)
                : TURNS(source_output_reverse_vectors(s, turn, k, A0, params + A1, gradient + A1, A9, A3, A4, A5, A6,
                                                      A7, A8));
#endif
        }
        END_OPERATION;
    }
}

/* gradient [num_params] = sum over slices of gradients [num_slices][num_params], in the order of slices. */
__kernel void message_contract(__global const real *gradients, __global real *gradient, uint num_slices,
                               uint num_params) {
    const uint i = get_global_id(0);
    if (i >= num_params) return;
    real sum = 0;
    ROLLED for (uint slice = 0; slice < num_slices; slice++) sum += gradients[(size_t)slice * num_params + i];
    gradient[i] = sum;
}
