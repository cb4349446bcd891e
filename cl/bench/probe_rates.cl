/* Rates that the cost model (src/bench/cost.h) wants of a device beside those of probe.cl: rows of a table at places
 * that nobody foresees, and square roots with divisions. After dynamics/radial_table.clh, whose own lookup it is.
 * Every number is exact, so that the host sees whether any was left out. */

/* table [TABLE_CELLS][4] of ones; sum_out [global size][V]: 4 num_turns. */
#define TABLE_CELLS 512u
__kernel void probe_lookup(__global const real *table, __global real *sum_out, uint num_turns) {
    uintv cell = (lane_index() * 37u + (uint)get_global_id(0) * 101u) & (uintv)(TABLE_CELLS - 1);
    realv sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (uint turn = 0; turn < num_turns; turn++) {
        TABLE_LOAD(table, cell);
        sum0 += c0;
        sum1 += c1;
        sum2 += c2;
        sum3 += c3;
        cell = (cell * 5u + 1u) & (uintv)(TABLE_CELLS - 1); /* each place once, then again */
    }
    store_lanes(sum_out + get_global_id(0) * V, (sum0 + sum1) + (sum2 + sum3));
}

/* Four independent chains  a <- four / sqrt(a + two), which stay at 2. sum_out [global size][V]: 8. */
__kernel void probe_special(__global real *sum_out, real two, real four, uint num_turns) {
    realv a0 = two, a1 = two, a2 = two, a3 = two;
    for (uint turn = 0; turn < num_turns; turn++) {
        a0 = four / sqrt_distance(a0 + two);
        a1 = four / sqrt_distance(a1 + two);
        a2 = four / sqrt_distance(a2 + two);
        a3 = four / sqrt_distance(a3 + two);
    }
    store_lanes(sum_out + get_global_id(0) * V, (a0 + a1) + (a2 + a3));
}
