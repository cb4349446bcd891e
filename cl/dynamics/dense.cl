/* The dense field between its matrix products: dynamics/dense.clh has the equations and the layouts. The
 * samples are those of x_blocked [num_blocks][N*D][V] from block block_begin on; NUM_DIRECTIONS 0: only the velocity.
 * Columns beyond the last block hold zeros. num_columns = (1 + NUM_DIRECTIONS) T. Kernels over single numbers compute V
 * of them in a turn; any number of work-items divides the turns. */
#define COLUMN(r, block) ((size_t)(r) * num_samples + (size_t)(block) * V)

/* inputs [FEATURES_IN][num_columns]: P x and t in the value columns, (e_r, 0) in the others. One work-item for each
 * block. */
__kernel void dense_inputs(__global const real *x_blocked, __global const real *times, __global real *inputs,
                           uint seed_low, uint seed_high, ulong first_sample, uint block_begin, uint num_blocks,
                           uint num_samples) {
    uint block = get_global_id(0);
    if (block * V >= num_samples) return;
    const size_t num_columns = (size_t)(1 + NUM_DIRECTIONS) * num_samples;
    const int is_inside = block_begin + block < num_blocks;
    realv x[DOF];
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++)
        x[c] = is_inside ? load_lanes(x_blocked + ((size_t)(block_begin + block) * DOF + c) * V) : (realv)0;
    remove_mean(x);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) store_lanes(inputs + c * num_columns + COLUMN(0, block), x[c]);
    store_lanes(inputs + DOF * num_columns + COLUMN(0, block),
                is_inside ? load_lanes(times + (size_t)(block_begin + block) * V) : (realv)0);
    const ulong first = first_sample + (ulong)(block_begin + block) * V;
    const uintv low = (uint)first + lane_index();
    const uintv high = (uintv)(uint)(first >> 32) + select((uintv)0, (uintv)1, low < (uintv)(uint)first);
    for (uint r = 1; r <= NUM_DIRECTIONS; r++) {
        store_direction(inputs + COLUMN(r, block), num_columns, r - 1, low, high, seed_low, seed_high);
        store_lanes(inputs + DOF * num_columns + COLUMN(r, block), (realv)0);
    }
    for (uint f = DOF + 1; f < FEATURES_IN; f++)
        for (uint r = 0; r <= NUM_DIRECTIONS; r++) store_lanes(inputs + f * num_columns + COLUMN(r, block), (realv)0);
}

/* z [num_features][num_columns]: W a on input, W a + b on output; activated: the activations s(z) and the tangents
 * s'(z) z' (may be z). */
__kernel void dense_activate(__global real *z, __global real *activated, __global const real *bias, uint num_features,
                             uint num_samples) {
    const uint per_row = num_samples / V;
    const size_t num_columns = (size_t)(1 + NUM_DIRECTIONS) * num_samples;
    for (uint turn = get_global_id(0); turn < num_features * per_row; turn += get_global_size(0)) {
        const uint f = turn / per_row, block = turn % per_row;
        __global real *from = z + f * num_columns, *to = activated + f * num_columns;
        const realv at = load_lanes(from + COLUMN(0, block)) + bias[f];
        realv value, slope, curvature;
        activation(at, &value, &slope, &curvature);
        store_lanes(from + COLUMN(0, block), at);
        store_lanes(to + COLUMN(0, block), value);
        for (uint r = 1; r <= NUM_DIRECTIONS; r++)
            store_lanes(to + COLUMN(r, block), slope * load_lanes(from + COLUMN(r, block)));
    }
}

/* velocity = P f, divergence = sum over r of e_r . f'_r. outputs [FEATURES_OUT][num_columns]: W_L a_L. One
 * work-item for each block. */
__kernel void dense_outputs(__global const real *outputs, __global const real *inputs, __global const real *bias,
                            __global real *velocity_blocked, __global real *divergence, uint block_begin,
                            uint num_blocks, uint num_samples) {
    uint block = get_global_id(0);
    if (block * V >= num_samples || block_begin + block >= num_blocks) return;
    const size_t num_columns = (size_t)(1 + NUM_DIRECTIONS) * num_samples;
    realv v[DOF];
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) v[c] = load_lanes(outputs + c * num_columns + COLUMN(0, block)) + bias[c];
    remove_mean(v);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++)
        store_lanes(velocity_blocked + ((size_t)(block_begin + block) * DOF + c) * V, v[c]);
#if NUM_DIRECTIONS > 0 /* else divergence is not written */
    realv sum = 0;
    for (uint r = 1; r <= NUM_DIRECTIONS; r++)
        UNROLL_STATE
        for (uint c = 0; c < DOF; c++)
            sum = fma(load_lanes(inputs + c * num_columns + COLUMN(r, block)),
                      load_lanes(outputs + c * num_columns + COLUMN(r, block)), sum);
    store_lanes(divergence + (size_t)(block_begin + block) * V, sum);
#endif
}

/* ---- Reverse ----------------------------------------------------------------------------------------------------- */

/* adjoint [FEATURES_OUT][num_columns] of f and f'_r: P adjoint_velocity, adjoint_divergence e_r. One work-item
 * for each block. */
__kernel void dense_output_adjoints(__global const real *adjoint_velocity, __global const real *adjoint_divergence,
                                    __global const real *inputs, __global real *adjoint, uint block_begin,
                                    uint num_blocks, uint num_samples) {
    uint block = get_global_id(0);
    if (block * V >= num_samples) return;
    const size_t num_columns = (size_t)(1 + NUM_DIRECTIONS) * num_samples;
    const int is_inside = block_begin + block < num_blocks;
    realv v[DOF], adjoint_div = 0;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++)
        v[c] = is_inside ? load_lanes(adjoint_velocity + ((size_t)(block_begin + block) * DOF + c) * V) : (realv)0;
#if NUM_DIRECTIONS > 0
    if (is_inside) adjoint_div = load_lanes(adjoint_divergence + (size_t)(block_begin + block) * V);
#endif
    remove_mean(v);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        store_lanes(adjoint + c * num_columns + COLUMN(0, block), v[c]);
        for (uint r = 1; r <= NUM_DIRECTIONS; r++)
            store_lanes(adjoint + c * num_columns + COLUMN(r, block),
                        adjoint_div * load_lanes(inputs + c * num_columns + COLUMN(r, block)));
    }
    for (uint f = DOF; f < FEATURES_OUT; f++)
        for (uint r = 0; r <= NUM_DIRECTIONS; r++) store_lanes(adjoint + f * num_columns + COLUMN(r, block), (realv)0);
}

/* adjoint [num_features][num_columns]: of a_{l+1} and a'_{l+1} on input, of z_l and z'_l on output; x~ is the adjoint
 * of x:
 *   z~ = a~ s'(z) + sum over r of a~'_r s''(z) z'_r,  z~'_r = a~'_r s'(z) */
__kernel void dense_activate_reverse(__global const real *z, __global real *adjoint, uint num_features,
                                     uint num_samples) {
    const uint per_row = num_samples / V;
    const size_t num_columns = (size_t)(1 + NUM_DIRECTIONS) * num_samples;
    for (uint turn = get_global_id(0); turn < num_features * per_row; turn += get_global_size(0)) {
        const uint f = turn / per_row, block = turn % per_row;
        __global const real *at = z + f * num_columns;
        __global real *row = adjoint + f * num_columns;
        realv value, slope, curvature, bend = 0;
        activation(load_lanes(at + COLUMN(0, block)), &value, &slope, &curvature);
        for (uint r = 1; r <= NUM_DIRECTIONS; r++) {
            const realv tangent_adjoint = load_lanes(row + COLUMN(r, block));
            bend = fma(tangent_adjoint, load_lanes(at + COLUMN(r, block)), bend);
            store_lanes(row + COLUMN(r, block), tangent_adjoint * slope);
        }
        store_lanes(row + COLUMN(0, block), fma(load_lanes(row + COLUMN(0, block)), slope, bend * curvature));
    }
}

/* values [num_features][num_samples] = the columns with r = 0 of the array all [num_features][num_columns]. */
__kernel void dense_values(__global const real *all, __global real *values, uint num_features, uint num_samples) {
    const uint per_row = num_samples / V;
    for (uint turn = get_global_id(0); turn < num_features * per_row; turn += get_global_size(0)) {
        const uint f = turn / per_row, block = turn % per_row;
        store_lanes(values + (size_t)turn * V,
                    load_lanes(all + (size_t)f * (1 + NUM_DIRECTIONS) * num_samples + COLUMN(0, block)));
    }
}

/* adjoint_x += P adjoint of a_0's coordinates; adjoint [FEATURES_IN][num_samples]. One work-item for each
 * block. */
__kernel void dense_input_adjoints(__global const real *adjoint, __global real *adjoint_x_blocked, uint block_begin,
                                   uint num_blocks, uint num_samples) {
    uint block = get_global_id(0);
    if (block * V >= num_samples || block_begin + block >= num_blocks) return;
    realv x[DOF];
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) x[c] = load_lanes(adjoint + (size_t)c * num_samples + (size_t)block * V);
    remove_mean(x);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        __global real *to = adjoint_x_blocked + ((size_t)(block_begin + block) * DOF + c) * V;
        store_lanes(to, load_lanes(to) + x[c]);
    }
}

#if V == 8
/* Rows r0 ... r7 become columns in three steps: pairs, fours, halves. Compilers translate these shuffles of two vectors
 * to single instructions; copying single numbers through memory took 2.6 times as long on PoCL. */
#define PAIRS_LOW(a, b) ((real8)(a.s0, b.s0, a.s1, b.s1, a.s4, b.s4, a.s5, b.s5))
#define PAIRS_HIGH(a, b) ((real8)(a.s2, b.s2, a.s3, b.s3, a.s6, b.s6, a.s7, b.s7))
#define FOURS_LOW(a, b) ((real8)(a.s01, b.s01, a.s45, b.s45))
#define FOURS_HIGH(a, b) ((real8)(a.s23, b.s23, a.s67, b.s67))
static inline void transpose_tile(__global const real *from, size_t num_columns, __global real *to,
                                  size_t num_features) {
    realv r0 = vload8(0, from), r1 = vload8(0, from + num_columns), r2 = vload8(0, from + 2 * num_columns);
    realv r3 = vload8(0, from + 3 * num_columns), r4 = vload8(0, from + 4 * num_columns);
    realv r5 = vload8(0, from + 5 * num_columns), r6 = vload8(0, from + 6 * num_columns);
    realv r7 = vload8(0, from + 7 * num_columns);
    realv p0 = PAIRS_LOW(r0, r1), p1 = PAIRS_HIGH(r0, r1), p2 = PAIRS_LOW(r2, r3), p3 = PAIRS_HIGH(r2, r3);
    realv p4 = PAIRS_LOW(r4, r5), p5 = PAIRS_HIGH(r4, r5), p6 = PAIRS_LOW(r6, r7), p7 = PAIRS_HIGH(r6, r7);
    realv f0 = FOURS_LOW(p0, p2), f1 = FOURS_HIGH(p0, p2), f2 = FOURS_LOW(p1, p3), f3 = FOURS_HIGH(p1, p3);
    realv f4 = FOURS_LOW(p4, p6), f5 = FOURS_HIGH(p4, p6), f6 = FOURS_LOW(p5, p7), f7 = FOURS_HIGH(p5, p7);
    vstore8((real8)(f0.lo, f4.lo), 0, to);
    vstore8((real8)(f1.lo, f5.lo), 0, to + num_features);
    vstore8((real8)(f2.lo, f6.lo), 0, to + 2 * num_features);
    vstore8((real8)(f3.lo, f7.lo), 0, to + 3 * num_features);
    vstore8((real8)(f0.hi, f4.hi), 0, to + 4 * num_features);
    vstore8((real8)(f1.hi, f5.hi), 0, to + 5 * num_features);
    vstore8((real8)(f2.hi, f6.hi), 0, to + 6 * num_features);
    vstore8((real8)(f3.hi, f7.hi), 0, to + 7 * num_features);
}
#else
static inline void transpose_tile(__global const real *from, size_t num_columns, __global real *to,
                                  size_t num_features) {
    for (uint lane = 0; lane < V; lane++)
        for (uint i = 0; i < 8; i++) to[lane * num_features + i] = from[i * num_columns + lane];
}
#endif

/* transposed [num_columns][num_features] of matrix [num_features][num_columns]; 8 features and V columns in a turn. */
__kernel void dense_transpose(__global const real *matrix, __global real *transposed, uint num_features,
                              uint num_columns) {
    const uint per_strip = num_columns / V;
    for (uint turn = get_global_id(0); turn < num_features / 8 * per_strip; turn += get_global_size(0)) {
        const uint f = turn / per_strip * 8, column = turn % per_strip * V;
        transpose_tile(matrix + (size_t)f * num_columns + column, num_columns,
                       transposed + (size_t)column * num_features + f, num_features);
    }
}

/* ---- Parameters and their gradients ----------------------------------------------------------------------------- */
/* In the field's own layout: for each layer weights [out][in] and biases [out], both padded.
 *
 * Pads weights [num_out][num_in] with zeros to forward_weights [in_padded][out_padded] (transposed) and reverse_weights
 * [out_padded][in_padded], and the biases to padded_bias [out_padded]; one work-item for each row of
 * reverse_weights. */
__kernel void dense_pad(__global const real *params, __global real *forward_weights, __global real *reverse_weights,
                        __global real *padded_bias, uint at_weights, uint at_bias, uint num_in, uint num_out,
                        uint in_padded, uint out_padded) {
    uint o = get_global_id(0);
    if (o >= out_padded) return;
    for (uint i = 0; i < in_padded; i++) {
        const real w = o < num_out && i < num_in ? params[at_weights + o * num_in + i] : (real)0;
        forward_weights[(size_t)i * out_padded + o] = w;
        reverse_weights[(size_t)o * in_padded + i] = w;
    }
    padded_bias[o] = o < num_out ? params[at_bias + o] : (real)0;
}

/* Adds the gradient of one batch to a layer's part of grad: product [out_padded][in_padded] to its weights, and to its
 * biases the sum over samples of the value columns of adjoint [out_padded][num_columns]. One work-item for each row. */
__kernel void dense_add_gradient(__global const real *product, __global const real *adjoint, __global real *grad,
                                 uint at_layer, uint in_padded, uint out_padded, uint num_samples) {
    uint o = get_global_id(0);
    if (o >= out_padded) return;
    __global real *row = grad + at_layer + (size_t)o * in_padded;
    for (uint i = 0; i < in_padded; i++) row[i] += product[(size_t)o * in_padded + i];
    realv sum = 0;
    for (uint s = 0; s < num_samples; s += V)
        sum += load_lanes(adjoint + (size_t)o * (1 + NUM_DIRECTIONS) * num_samples + s);
    grad[at_layer + (size_t)out_padded * in_padded + o] += sum_lanes(sum);
}

/* Copies a layer's gradient from the field's own layout to gradient [num_trained]; one work-item for each row. */
__kernel void dense_unpad(__global const real *grad, __global real *gradient, uint at_layer, uint at_weights,
                          uint at_bias, uint num_in, uint num_out, uint in_padded, uint out_padded) {
    uint o = get_global_id(0);
    if (o >= num_out) return;
    for (uint i = 0; i < num_in; i++)
        gradient[at_weights + o * num_in + i] = grad[at_layer + (size_t)o * in_padded + i];
    gradient[at_bias + o] = grad[at_layer + (size_t)out_padded * in_padded + o];
}
