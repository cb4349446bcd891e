/* Replica exchange in temperature (Swendsen and Wang, Phys. Rev. Lett. 57 (1986) 2607; Geyer 1991): ladders of
 * chains, one at each temperature. A ladder's chains trade temperatures, so that configurations stay where they are.
 * Chain number ladder * NUM_TEMPERATURES + k, k where it began.
 *   factor_of, step_of [num_blocks][V] real: T_0 / T of each chain's present temperature, and the displacement's sd
 *       there
 *   chain_at [num_ladders][num_temperatures] uint: which of the ladder's chains is at each temperature
 * The file before is metropolis.cl: random numbers of a sweep are those of its chains. Defines: N, D. */
#define STREAM_SWAP 0x73776170u

/* Sweeps first_sweep ... first_sweep + num_sweeps - 1 at the chains' own temperatures, which are taken with
 * probability min(1, exp(-(T_0/T) change)); u is reduced by T_0. accepted [num_blocks][V]: moves taken here. energy
 * [num_blocks][V]: u afterwards. */
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

/* One round of exchanges in each ladder, in its order: neighbours k, k + 1 with k of the round's parity trade
 * temperatures with probability min(1, exp((T_0/T_k - T_0/T_k+1) (u_k - u_k+1))).
 *   factors, steps [num_temperatures]     of each temperature
 *   moves, swaps [num_ladders][num_temperatures] uint: moves taken at each temperature, exchanges of k with k + 1;
 *       added to
 *   way [chains] uint: 1 a chain that was last at the lowest temperature, 2 one that has been at the highest since,
 *       0 neither yet
 *   trips [num_ladders] uint: how often a chain came back to the lowest temperature from the highest; added to
 * With is_swapping 0 it only notes the moves: between exchanges nothing changes, however launches are cut. */
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
