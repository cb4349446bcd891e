/* Reduced energies and forces of x_blocked [num_blocks][N*D][V]; energy_blocked [num_blocks][V], force_blocked as
 * x_blocked. One work-item for each block. There are two kernels, as forces take three times as long as energies. */

#ifdef LOCAL_CHAINS
#define CONFIGURATION_KERNEL __kernel __attribute__((reqd_work_group_size(LOCAL_CHAINS, 1, 1)))
/* A configuration of each work-item, x [N*D]. */
#define MAKE_CONFIGURATION(x)                    \
    __local real sm_##x[N * D * LOCAL_CHAINS]; \
    CONFIGURATION x = sm_##x + get_local_id(0)
#else
#define CONFIGURATION_KERNEL __kernel
#ifndef CONFIGURATION /* potential/pair_sum.clh defines these macros; a user's potential does not */
#define CONFIGURATION realv *
#define COMPONENT_OF(x, c) ((x)[c])
#endif
#define MAKE_CONFIGURATION(x) realv x[N * D]
#endif

/* True in lanes with a NaN or infinite coordinate: the energy of an infinitely far particle would be that of a free
 * one. */
static inline integerv is_any_non_finite(const CONFIGURATION x) {
    integerv found = 0;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) found |= !isfinite(COMPONENT_OF(x, c));
    return found;
}

static inline void load_block(__global const real *x_blocked, uint block, CONFIGURATION x) {
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) COMPONENT_OF(x, c) = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
}

CONFIGURATION_KERNEL void evaluate_energy(__global const real *x_blocked, __global real *energy_blocked,
                                          uint num_blocks) {
    MAKE_CONFIGURATION(x);
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    load_block(x_blocked, block, x);
    realv energy = select_lanes(potential_energy(x), (realv)NAN, is_any_non_finite(x));
    store_lanes(energy_blocked + (size_t)block * V, energy);
}

CONFIGURATION_KERNEL void evaluate_force(__global const real *x_blocked, __global real *force_blocked,
                                         uint num_blocks) {
    MAKE_CONFIGURATION(x);
    MAKE_CONFIGURATION(force);
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    load_block(x_blocked, block, x);
    potential_force(x, force);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        store_lanes(force_blocked + ((size_t)block * (N * D) + c) * V, COMPONENT_OF(force, c));
}
