/* Reduced energies and forces of x_blocked [num_blocks][N*D][V]; energy_blocked [num_blocks][V], force_blocked as
 * x_blocked. One work-item for each block. There are two kernels, as forces take three times as long as energies. */

/* True in lanes with a NaN or infinite coordinate: the energy of an infinitely far particle would be that of a free
 * one. */
static inline integerv is_any_non_finite(const realv *x) {
    integerv found = 0;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) found |= !isfinite(x[c]);
    return found;
}

static inline void load_block(__global const real *x_blocked, uint block, realv *x) {
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) x[c] = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
}

__kernel void evaluate_energy(__global const real *x_blocked, __global real *energy_blocked, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D];
    load_block(x_blocked, block, x);
    realv energy = select_lanes(potential_energy(x), (realv)NAN, is_any_non_finite(x));
    store_lanes(energy_blocked + (size_t)block * V, energy);
}

__kernel void evaluate_force(__global const real *x_blocked, __global real *force_blocked, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D], force[N * D];
    load_block(x_blocked, block, x);
    potential_force(x, force);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(force_blocked + ((size_t)block * (N * D) + c) * V, force[c]);
}
