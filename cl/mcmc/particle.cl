/* Metropolis moves of single particles under (1 - beta) E_start + beta u, for annealing (docs/anneal.md). Particle
 * `particle` of each configuration is displaced by a Gaussian, and the centre of mass is taken out again: x' = x + P
 * delta, with P the projection on mean-free configurations. delta and -delta are equally likely, so the proposal is
 * symmetric. u changes with one particle's pairs; E_start may be any function of the whole configuration.
 *   x_blocked [num_blocks][N*D][V]: configurations; numbers of a configuration are [num_blocks][V]
 * Random numbers: Philox counter (configuration, step, move, stream). Each kernel draws the displacement of a move
 * again, so that it is not stored. The file before this text is metropolis.cl. Defined by the host: N, D. */
#define STREAM_DISPLACEMENT 0x70617264u
#define STREAM_ACCEPTANCE 0x70617261u

/* moved [D]: the particle's new place, before the centre of mass is taken out. */
static inline void displace(const CONFIGURATION x, uint block, uint seed_low, uint seed_high, uint step, uint move,
                            uint particle, real step_size, realv *moved) {
    uintv words[4];
    realv normals[4];
    random_words(seed_low, seed_high, chain_index(block), (uintv)step, move, STREAM_DISPLACEMENT, words);
    normal_pair(words[0], words[1], &normals[0], &normals[1]);
    normal_pair(words[2], words[3], &normals[2], &normals[3]);
    UNROLL_STATE
    for (uint d = 0; d < D; d++) moved[d] = COMPONENT_OF(x, particle * D + d) + step_size * normals[d];
}

/* The configuration after the move. */
static inline void put_particle(CONFIGURATION x, uint particle, const realv *moved) {
    UNROLL_STATE
    for (uint d = 0; d < D; d++) COMPONENT_OF(x, particle * D + d) = moved[d];
    remove_centre(x);
}

/* rows [num, N*D]: the proposed configurations. */
CHAIN_KERNEL void particle_place(__global const real *x_blocked, __global real *rows, uint num_blocks, uint num,
                                 uint seed_low, uint seed_high, uint step, uint move, uint particle, real step_size) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv moved[D];
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    displace(x, block, seed_low, seed_high, step, move, particle, step_size, moved);
    put_particle(x, particle, moved);
    store_rows(x, block, rows, num);
}

/* change [num_blocks][V]: what the move adds to this program's potential. */
CHAIN_KERNEL void particle_change(__global const real *x_blocked, __global real *change, uint num_blocks,
                                  uint seed_low, uint seed_high, uint step, uint move, uint particle, real step_size) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv moved[D];
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    displace(x, block, seed_low, seed_high, step, move, particle, step_size, moved);
    store_lanes(change + (size_t)block * V, potential_energy_change(x, particle, moved));
}

/* Accepts the move with probability min(1, exp(-share_start dE_start - share_target du)), u of this program's
 * potential.
 *   after [num_blocks][V]: E_start of the proposed configurations if is_whole, else dE_start
 *   before [num_blocks][V]: E_start of the configurations, which becomes that of the accepted ones; only if is_whole
 *   accepted [num_blocks][V] uint += 1 in lanes that accept
 * before and after are not read if share_start is 0. Zero density is an infinite energy: a difference of two of them is
 * NaN, which is refused; a way out of it, minus infinity, is taken. */
CHAIN_KERNEL void particle_accept(__global real *x_blocked, __global real *before, __global const real *after,
                                  __global uint *accepted, uint num_blocks, uint seed_low, uint seed_high, uint step,
                                  uint move, uint particle, real step_size, real share_start, real share_target,
                                  uint is_whole) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv moved[D], log_ratio = 0.0f, of_start = 0.0f;
    uintv words[4];
    const size_t at = (size_t)block * V;
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    displace(x, block, seed_low, seed_high, step, move, particle, step_size, moved);
    if (share_target > 0) log_ratio -= share_target * potential_energy_change(x, particle, moved);
    if (share_start > 0) {
        of_start = load_lanes(after + at);
        log_ratio -= share_start * (is_whole ? of_start - load_lanes(before + at) : of_start);
    }
    random_words(seed_low, seed_high, chain_index(block), (uintv)step, move, STREAM_ACCEPTANCE, words);
    integerv is_taken = log(uniform_open(words[0])) < log_ratio;
    put_particle(x, particle, moved);
    UNROLL_COPY
    for (uint c = 0; c < N * D; c++) {
        __global real *component = x_blocked + ((size_t)block * (N * D) + c) * V;
        store_lanes(component, select_lanes(load_lanes(component), COMPONENT_OF(x, c), is_taken));
    }
    if (is_whole && share_start > 0)
        store_lanes(before + at, select_lanes(load_lanes(before + at), of_start, is_taken));
    store_lanes(accepted + at, load_lanes(accepted + at) + select((uintv)0, (uintv)1, is_taken));
}
