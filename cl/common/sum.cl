/* out[i] = sum over p of partials[p][i], p in order: one order whatever the number of threads.
 * One work-item per V numbers; num is a multiple of V. */
__kernel void sum_partials(__global const real *partials, __global real *out, uint num_partials, uint num) {
    uint i = get_global_id(0) * V;
    if (i >= num) return;
    realv sum = load_lanes(partials + i);
    for (uint p = 1; p < num_partials; p++) sum += load_lanes(partials + (size_t)p * num + i);
    store_lanes(out + i, sum);
}

__kernel void fill_zero(__global real *out, uint num) {
    uint i = get_global_id(0) * V;
    if (i < num) store_lanes(out + i, (realv)0);
}
