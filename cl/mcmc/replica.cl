/* Replica exchange in temperature (Swendsen and Wang, Phys. Rev. Lett. 57 (1986) 2607; Geyer 1991): ladders of chains,
 * one chain at each temperature. The chains of a ladder exchange temperatures, so that configurations need not be
 * copied. Chain ladder * num_temperatures + k began at temperature k.
 *   factor_of, step_of [num_blocks][V] real: T_0 / T at each chain's present temperature, and the standard deviation of
 *       the displacement there
 *   chain_at [num_ladders][num_temperatures] uint: the ladder's chain (0 ... num_temperatures - 1) at each temperature
 * The file before this text is metropolis.cl, which has a sweep's moves and random numbers. Defined by the
 * host: N, D. */
#define STREAM_SWAP 0x73776170u

/* Sweeps first_sweep ... first_sweep + num_sweeps - 1 at the chains' own temperatures: a move is accepted with
 * probability min(1, exp(-(T_0/T) change)); u is reduced by T_0. accepted [num_blocks][V]: the number of accepted moves
 * in this launch. energy [num_blocks][V]: u after the last sweep. */
CHAIN_KERNEL void replica_sweeps(__global real *x_blocked, __global const real *factor_of, __global const real *step_of,
                             __global uint *accepted, __global real *energy, uint num_blocks, uint seed_low,
                             uint seed_high, uint first_sweep, uint num_sweeps, uint is_centred) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    uintv chain = chain_index(block), num_accepted = 0;
    const realv factor = load_lanes(factor_of + (size_t)block * V) * REAL(-1.4426950408889634);
    const realv step_size = load_lanes(step_of + (size_t)block * V);
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    for (uint sweep = first_sweep; sweep < first_sweep + num_sweeps; sweep++) {
        UNROLL_MOVES
        for (uint i = 0; i < NUM_MOVES(is_centred); i++)
            num_accepted += metropolis_move(x, i, seed_low, seed_high, chain, sweep, step_size, factor);
        if (is_centred && (sweep + 1) % CENTRE_INTERVAL == 0) remove_centre(x);
    }
    store_state(x_blocked, block, x);
    store_lanes(accepted + (size_t)block * V, num_accepted);
    store_lanes(energy + (size_t)block * V, potential_energy(x));
}

/* One round of exchanges in each ladder, in the order of k: neighbours k, k + 1, with k of the round's parity, exchange
 * their temperatures with probability min(1, exp((T_0/T_k - T_0/T_k+1) (u_k - u_k+1))).
 *   factors, steps [num_temperatures]: factor_of and step_of at each temperature
 *   moves, swaps [num_ladders][num_temperatures] uint: += accepted moves at each temperature; += exchanges of k, k + 1
 *   way [chains] uint: 1 if the chain was at the lowest temperature, and not at the highest since; 2 if it was at the
 *       highest after the lowest; 0 before it first was at the lowest
 *   trips [num_ladders] uint: += the number of chains that came back to the lowest temperature from the highest
 * With is_swapping 0 it only adds to moves: so the results do not depend on the division of sweeps into launches. */
__kernel void replica_swap(__global const real *energy, __global const uint *accepted, __global const real *factors,
                           __global const real *steps, __global real *factor_of, __global real *step_of,
                           __global uint *chain_at, __global uint *moves, __global uint *swaps, __global uint *way,
                           __global uint *trips, uint num_ladders, uint num_temperatures, uint seed_low, uint seed_high,
                           uint round, uint is_swapping) {
    const uint ladder = get_global_id(0);
    if (ladder >= num_ladders) return;
    const size_t first = (size_t)ladder * num_temperatures;
    chain_at += first;
    moves += first;
    swaps += first;
    for (uint k = 0; k < num_temperatures; k++) moves[k] += accepted[first + chain_at[k]];
    if (!is_swapping) return;
    for (uint k = round % 2; k + 1 < num_temperatures; k += 2) {
        const uint low = chain_at[k], high = chain_at[k + 1];
        uintv words[4];
        random_words(seed_low, seed_high, (uintv)ladder, (uintv)round, k, STREAM_SWAP, words);
        const realv uniform = uniform_open(words[0]);
        const real change = (factors[k] - factors[k + 1]) * (energy[first + high] - energy[first + low]);
        const realv chance = exp2_clamped((realv)fmin(change * REAL(-1.4426950408889634), REAL(0.0)));
        if (((const real *)&uniform)[0] >= ((const real *)&chance)[0]) continue;
        chain_at[k] = high;
        chain_at[k + 1] = low;
        swaps[k]++;
    }
    for (uint k = 0; k < num_temperatures; k++) {
        factor_of[first + chain_at[k]] = factors[k];
        step_of[first + chain_at[k]] = steps[k];
    }
    __global uint *lowest = way + first + chain_at[0], *highest = way + first + chain_at[num_temperatures - 1];
    if (*lowest == 2) trips[ladder]++;
    *lowest = 1;
    if (*highest == 1) *highest = 2;
}
