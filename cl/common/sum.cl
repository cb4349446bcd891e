/* out[i] = sum over p of partials[p][i], in the order of p, which does not depend on the number of threads. A loop turn
 * adds V numbers; num is a multiple of V. Any number of work-items: they divide the turns. */
__kernel void sum_partials(__global const real *partials, __global real *out, uint num_partials, uint num) {
    for (uint i = get_global_id(0) * V; i < num; i += get_global_size(0) * V) {
        realv sum = load_lanes(partials + i);
        for (uint p = 1; p < num_partials; p++) sum += load_lanes(partials + (size_t)p * num + i);
        store_lanes(out + i, sum);
    }
}
