/* out[i] = sum over p of partials[p][i], in the order of p, which does not depend on the number of threads. A loop turn
 * adds V numbers; num is a multiple of V. Any number of work-items: they divide the turns. */
__kernel void sum_partials(__global const real *partials, __global real *out, uint num_partials, uint num) {
    for (uint i = get_global_id(0) * V; i < num; i += get_global_size(0) * V) {
        realv sum = load_lanes(partials + i);
        for (uint p = 1; p < num_partials; p++) sum += load_lanes(partials + (size_t)p * num + i);
        store_lanes(out + i, sum);
    }
}

/* The same, and sets the partials to 0. Most are 0 already, and stay in the cache as they are. */
__kernel void take_partials(__global real *partials, __global real *out, uint num_partials, uint num) {
    for (uint i = get_global_id(0) * V; i < num; i += get_global_size(0) * V) {
        realv sum = load_lanes(partials + i);
        integerv is_set = sum != (realv)0;
        for (uint p = 1; p < num_partials; p++) {
            realv value = load_lanes(partials + (size_t)p * num + i);
            is_set |= value != (realv)0;
            sum += value;
        }
        store_lanes(out + i, sum);
        if (any_lane(is_set))
            for (uint p = 0; p < num_partials; p++) store_lanes(partials + (size_t)p * num + i, (realv)0);
    }
}
