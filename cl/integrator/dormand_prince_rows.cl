/* Copies to and from the states of dormand_prince.cl and dormand_prince_batched.cl. */
/* state[first ... first + count) = scale * source [num_blocks][count][V]. */
__kernel void adaptive_put(__global const real *source, __global real *state, uint first, uint count, real scale,
                           uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < count; c++)
        store_lanes(state + ((size_t)block * STATE_SIZE + first + c) * V,
                    scale * load_lanes(source + ((size_t)block * count + c) * V));
}

/* target [num_blocks][count][V] = scale * state[first ... first + count), or += if is_added; NaN for samples that did
 * not reach the end. */
__kernel void adaptive_take(__global const real *state, __global const real *control, __global real *target, uint first,
                            uint count, real scale, uint is_added, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const integerv is_done = load_lanes(control + ((size_t)block * CONTROL_SIZE + AT_STATUS) * V) == (realv)STATUS_DONE;
    for (uint c = 0; c < count; c++) {
        __global real *own = target + ((size_t)block * count + c) * V;
        realv value = scale * load_lanes(state + ((size_t)block * STATE_SIZE + first + c) * V);
        if (is_added) value += load_lanes(own);
        store_lanes(own, select_lanes((realv)NAN, value, is_done));
    }
}
