/* Replica exchange between states, each with constants of its own (exchange in lambda): a state has a program and a set
 * of chains of its own, one chain for each ladder, which the kernels of metropolis.cl move. Here neighbours exchange
 * configurations. Chain `ladder` of a state is lane ladder % V of block ladder / V: x [num_blocks][N*D][V], energies
 * [num_blocks][V]. The file before this text is metropolis.cl. Defined by the host: N, D. */
#define STREAM_STATE_SWAP 0x73746174u

/* energy [num_blocks][V]: u of x_blocked, which may be another state's configurations. */
CHAIN_KERNEL void state_energy(__global const real *x_blocked, __global real *energy, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    store_lanes(energy + (size_t)block * V, potential_energy(x));
}

/* States k (low) and k + 1 (high) exchange the configurations of a ladder with probability
 *   min(1, exp(u_low(x_low) + u_high(x_high) - u_low(x_high) - u_high(x_low))).
 * low_of_high [num_blocks][V]: u_low of the configurations of the high state; the others likewise. way_low, way_high
 * [num_blocks][V] uint go with the configurations; swaps [num_ladders] uint += 1 where they are exchanged. */
__kernel void state_swap(__global real *x_low, __global real *x_high, __global const real *low_of_low,
                         __global const real *low_of_high, __global const real *high_of_low,
                         __global const real *high_of_high, __global uint *way_low, __global uint *way_high,
                         __global uint *swaps, uint num_ladders, uint seed_low, uint seed_high, uint round, uint k) {
    const uint ladder = get_global_id(0);
    if (ladder >= num_ladders) return;
    uintv words[4];
    random_words(seed_low, seed_high, (uintv)ladder, (uintv)round, k, STREAM_STATE_SWAP, words);
    const realv uniform = uniform_open(words[0]);
    const real change = (low_of_high[ladder] - low_of_low[ladder]) + (high_of_low[ladder] - high_of_high[ladder]);
    /* NaN counts as 0: overlaps of the start part sooner */
    const realv chance = exp2_clamped((realv)fmin(change * REAL(-1.4426950408889634), REAL(0.0)));
    if (((const real *)&uniform)[0] >= ((const real *)&chance)[0]) return;
    const size_t first = (size_t)(ladder / V) * (N * D) * V + ladder % V;
    for (uint c = 0; c < N * D; c++) {
        const real kept = x_low[first + (size_t)c * V];
        x_low[first + (size_t)c * V] = x_high[first + (size_t)c * V];
        x_high[first + (size_t)c * V] = kept;
    }
    const uint way = way_low[ladder];
    way_low[ladder] = way_high[ladder];
    way_high[ladder] = way;
    swaps[ladder]++;
}

/* After sweeps: moves [num_ladders] uint += the accepted moves of a state's chains in the last launch. */
__kernel void state_count(__global const uint *accepted, __global uint *moves, uint num_ladders) {
    const uint ladder = get_global_id(0);
    if (ladder >= num_ladders) return;
    moves[ladder] += accepted[ladder];
}

/* After a round of exchanges: way as in replica.cl, of the configurations at the first and at the last state; trips
 * [num_ladders] uint += 1 where one came back to the first from the last. */
__kernel void state_ways(__global uint *way_first, __global uint *way_last, __global uint *trips, uint num_ladders) {
    const uint ladder = get_global_id(0);
    if (ladder >= num_ladders) return;
    if (way_first[ladder] == 2) trips[ladder]++;
    way_first[ladder] = 1;
    if (way_last[ladder] == 1) way_last[ladder] = 2;
}
