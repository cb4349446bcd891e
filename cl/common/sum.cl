/* out[i] = sum over p of partials[p][i], p in order: one order whatever the number of threads.
 * V numbers at a time; num is a multiple of V. Work-items stride over them: any number of work-items will do. */
__kernel void sum_partials(__global const real *partials, __global real *out, uint num_partials, uint num) {
    for (uint i = get_global_id(0) * V; i < num; i += get_global_size(0) * V) {
        realv sum = load_lanes(partials + i);
        for (uint p = 1; p < num_partials; p++) sum += load_lanes(partials + (size_t)p * num + i);
        store_lanes(out + i, sum);
    }
}
