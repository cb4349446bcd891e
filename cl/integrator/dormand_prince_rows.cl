/* Copies to and from the states of dormand_prince.cl, dormand_prince_group.cl and dormand_prince_batched.cl; one
 * work-item for each item of BLOCKED. */
/* state[first ... first + count) = scale * source [num_blocks][count][V]. */
__kernel void adaptive_put(__global const real *source, __global real *state, uint first, uint count, real scale,
                           uint num_items) {
    uint item = get_global_id(0);
    if (item >= num_items) return;
    for (uint c = 0; c < count; c++)
        store_lanes(state + BLOCKED(item, STATE_SIZE, first + c),
                    scale * load_lanes(source + BLOCKED(item, count, c)));
}

/* target [num_blocks][count][V] = scale * state[first ... first + count), or += if is_added; NaN for samples that did
 * not reach the end. */
__kernel void adaptive_take(__global const real *state, __global const real *control, __global real *target, uint first,
                            uint count, real scale, uint is_added, uint num_items) {
    uint item = get_global_id(0);
    if (item >= num_items) return;
    const integerv is_done = load_lanes(control + BLOCKED(item, CONTROL_SIZE, AT_STATUS)) == (realv)STATUS_DONE;
    for (uint c = 0; c < count; c++) {
        __global real *own = target + BLOCKED(item, count, c);
        realv value = scale * load_lanes(state + BLOCKED(item, STATE_SIZE, first + c));
        if (is_added) value += load_lanes(own);
        store_lanes(own, select_lanes((realv)NAN, value, is_done));
    }
}
