/* Metropolis Monte Carlo (Metropolis et al. 1953): V chains in each work-item, chain = block * V + lane.
 * State: x_blocked [num_blocks][N*D][V]. Random numbers: Philox counter (chain, sweep, particle, stream), so a chain
 * depends neither on the division of its sweeps into launches nor on the other chains. With SHARES_DRAWS particles 2 k
 * and 2 k + 1 share the call of particle 2 k.
 * During sweeps the state is in private memory or, with LOCAL_CHAINS (the number of work-items in a group; V is 1), in
 * local memory: on GPUs this is on the chip for any N, while a private array that a loop indexes is not.
 * Defined by the host: N, D. The file before this text defines potential_energy and potential_energy_change. */
#ifdef LOCAL_CHAINS
#define CHAIN_KERNEL __kernel __attribute__((reqd_work_group_size(LOCAL_CHAINS, 1, 1)))
#define CHAIN_STATE(x)                            \
    __local real sm_chains[N * D * LOCAL_CHAINS]; \
    CONFIGURATION x = sm_chains + get_local_id(0)
/* The number of moves in a sweep: N, written so that compilers do not know it. Intel's would otherwise unroll the loop,
 * whatever a pragma says, and run out of registers. flag is 0 or 1. */
#define NUM_MOVES(flag) ((flag) < 2 ? (uint)N : 0u)
#define UNROLL_MOVES _Pragma("unroll 1")
#define UNROLL_COPY _Pragma("unroll 4") /* AMD's compiler would load 165 numbers at once and run out of registers */
#else
#define CHAIN_KERNEL __kernel
#ifndef CONFIGURATION /* potential/pair_sum.clh defines these macros; a user's potential does not */
#define CONFIGURATION realv *
#define COMPONENT_OF(x, c) ((x)[c])
#endif
#define CHAIN_STATE(x) realv x[N * D]
#define NUM_MOVES(flag) N
#define UNROLL_MOVES UNROLL_STATE
#define UNROLL_COPY UNROLL_STATE
#endif

#define STREAM_START 0x6d637374u
#define STREAM_SWEEP 0x6d637377u

/* If is_centred, the centre of mass is subtracted after every CENTRE_INTERVAL sweeps, counted from the chain's first.
 * The energy then does not depend on it, and a free cluster would drift to where float32 is coarse. */
#define CENTRE_INTERVAL 64u

/* block is counted over all ranks. */
static inline uintv chain_index(uint block) { return (uintv)(block * V) + lane_index(); }

/* A displacement, uniform in a cube and of unit variance in each direction, and one uniform on (0, 1) from one
 * Philox call. Any symmetric displacement is correct (Metropolis et al. used this one); a Gaussian one would take
 * longer than the energies. */
static inline void draw_move(uint seed_low, uint seed_high, uintv chain, uint sweep, uint particle,
                             realv *displacement, realv *uniform) {
    uintv words[4];
    random_words(seed_low, seed_high, chain, (uintv)sweep, particle, STREAM_SWEEP, words);
    const real width = REAL(3.4641016151377544); /* sqrt(12) */
    UNROLL_STATE
    for (uint d = 0; d < D; d++) displacement[d] = width * (uniform_open(words[d]) - REAL(0.5));
    *uniform = uniform_open(words[3]);
}

static inline void load_state(__global const real *x_blocked, uint block, CONFIGURATION x) {
    UNROLL_COPY
    for (uint c = 0; c < N * D; c++) COMPONENT_OF(x, c) = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
}

static inline void store_state(__global real *x_blocked, uint block, CONFIGURATION x) {
    UNROLL_COPY
    for (uint c = 0; c < N * D; c++)
        store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, COMPONENT_OF(x, c));
}

/* Subtracts the centre of mass, twice: the rounding error of the first mean grows with its distance from the origin. */
static inline void remove_centre(CONFIGURATION x) {
    for (uint pass = 0; pass < 2; pass++)
        UNROLL_STATE
        for (uint d = 0; d < D; d++) {
            realv mean = 0.0f;
            UNROLL_COPY
            for (uint i = 0; i < N; i++) mean += COMPONENT_OF(x, i * D + d);
            mean *= REAL(1.0) / (real)N;
            UNROLL_COPY
            for (uint i = 0; i < N; i++) COMPONENT_OF(x, i * D + d) -= mean;
        }
}

#ifdef SHARES_DRAWS
/* As draw_move, from 64 random bits, so that a call of Philox is enough for two moves: 14 bits for each direction, or
 * 21 in a plane, and 22 for the uniform number. A displacement and its negative are equally likely. */
static inline void draw_short_move(uintv a, uintv b, realv *displacement, realv *uniform) {
    const uint num_bits = D == 3 ? 14 : 21, mask = (1u << num_bits) - 1u;
    const real unit = REAL(3.4641016151377544) / (real)(1u << num_bits); /* sqrt(12) is the cube's width */
    const real middle = REAL(0.5) * (real)mask;
    /* The mask comes first: oclgrind knows no funnel shift, into which LLVM makes (a << 10 | b >> 22). */
    const uintv last = ((a & (mask >> 10)) << 10) + (b >> 22);
    const uintv parts[3] = {a >> (32 - num_bits), D == 3 ? (a >> 4) & mask : last, last};
    UNROLL_STATE
    for (uint d = 0; d < D; d++) displacement[d] = unit * (convert_realv(parts[d]) - middle);
    *uniform = (convert_realv(b & 0x3fffffu) + REAL(0.5)) * REAL(2.384185791015625e-7); /* 2^-22 */
}
#endif

/* The draw of a plain chain's move. */
static inline void draw_chain_move(uint seed_low, uint seed_high, uintv chain, uint sweep, uint particle,
                                   realv *displacement, realv *uniform) {
#ifdef SHARES_DRAWS
    uintv words[4];
    random_words(seed_low, seed_high, chain, (uintv)sweep, particle & ~1u, STREAM_SWEEP, words);
    const uint is_second = particle & 1u;
    draw_short_move(is_second ? words[2] : words[0], is_second ? words[3] : words[1], displacement, uniform);
#else
    draw_move(seed_low, seed_high, chain, sweep, particle, displacement, uniform);
#endif
}

/* Whether a move is refused. It is taken with probability min(1, exp(-change T_0/T)), where change is that of u,
 * reduced by T_0; factor = -log2(e) T_0/T. A NaN (from inf to inf, after a start with overlaps) is not refused, so
 * that the chain can leave the overlap; -inf is taken, +inf refused. */
static inline integerv refuses(realv change, realv uniform, realv factor) {
    const realv chance = exp2_clamped(fmin(change * factor, (realv)0));
    return change > (realv)0 && uniform >= chance;
}

/* Particle i of each chain goes to moved [D] where the move is not refused. Returns 1 in lanes that accept it, else
 * 0. */
static inline uintv accept_move(CONFIGURATION x, uint i, const realv *moved, realv change, realv uniform,
                                realv factor) {
    const integerv is_refused = refuses(change, uniform, factor);
    UNROLL_STATE
    for (uint d = 0; d < D; d++)
        COMPONENT_OF(x, i * D + d) = select_lanes(moved[d], COMPONENT_OF(x, i * D + d), is_refused);
    return select((uintv)1, (uintv)0, is_refused);
}

/* A proposed move of particle i of each chain of a ladder: a displacement of standard deviation step_size in each
 * direction; factor as above. */
static inline uintv metropolis_move(CONFIGURATION x, uint i, uint seed_low, uint seed_high, uintv chain, uint sweep,
                                    realv step_size, realv factor) {
    realv moved[D], uniform;
    draw_move(seed_low, seed_high, chain, sweep, i, moved, &uniform);
    UNROLL_STATE
    for (uint d = 0; d < D; d++) moved[d] = COMPONENT_OF(x, i * D + d) + step_size * moved[d];
    return accept_move(x, i, moved, potential_energy_change(x, i, moved), uniform, factor);
}

/* The same of a plain chain, at the temperature that reduces u. */
static inline uintv chain_move(CONFIGURATION x, uint i, uint seed_low, uint seed_high, uintv chain, uint sweep,
                               realv step_size) {
    realv moved[D], uniform;
    draw_chain_move(seed_low, seed_high, chain, sweep, i, moved, &uniform);
    UNROLL_STATE
    for (uint d = 0; d < D; d++) moved[d] = COMPONENT_OF(x, i * D + d) + step_size * moved[d];
#ifdef SHARES_DRAWS
    const realv change = difference_of_rows(x, i, moved); /* as where pairs are kept, to the bit */
#else
    const realv change = potential_energy_change(x, i, moved);
#endif
    return accept_move(x, i, moved, change, uniform, (realv)REAL(-1.4426950408889634));
}

#ifdef KEEPS_PAIRS /* potential/pair_sum.clh */
/* ---- Sweeps with the energies of pairs kept --------------------------------------------------------------------- */

/* As chain_move, with the random bits a and b. pairs: those of x, before and after. */
static inline uintv kept_move(realv *x, realv *pairs, uint i, uintv a, uintv b, realv step_size) {
    realv moved[D], uniform, row[N], before = 0.0f, after = 0.0f;
    draw_short_move(a, b, moved, &uniform);
    for (uint d = 0; d < D; d++) moved[d] = x[i * D + d] + step_size * moved[d];
    realv *own = pairs + i * (i - 1) / 2;
    for (uint j = 0; j < i; j++) {
        row[j] = pair_energy_at(x, j, moved OF_SPECIES(i, j));
        after += row[j];
        before += own[j];
    }
    for (uint j = i + 1; j < N; j++) {
        row[j] = pair_energy_at(x, j, moved OF_SPECIES(i, j));
        after += row[j];
        before += pairs[j * (j - 1) / 2 + i];
    }
    const integerv is_refused = refuses(after - before, uniform, (realv)REAL(-1.4426950408889634));
    for (uint d = 0; d < D; d++) x[i * D + d] = select_lanes(moved[d], x[i * D + d], is_refused);
    for (uint j = 0; j < i; j++) own[j] = select_lanes(row[j], own[j], is_refused);
    for (uint j = i + 1; j < N; j++) {
        realv *pair = pairs + j * (j - 1) / 2 + i;
        *pair = select_lanes(row[j], *pair, is_refused);
    }
    return select((uintv)1, (uintv)0, is_refused);
}

/* A move of each particle in turn. Returns the number of accepted ones. */
static inline uintv kept_sweep(realv *x, realv *pairs, uint seed_low, uint seed_high, uintv chain, uint sweep,
                               realv step_size) {
    uintv num_accepted = 0;
    for (uint i = 0; i < N; i += 2) {
        uintv words[4];
        random_words(seed_low, seed_high, chain, (uintv)sweep, i, STREAM_SWEEP, words);
        num_accepted += kept_move(x, pairs, i, words[0], words[1], step_size);
        if (i + 1 < N) num_accepted += kept_move(x, pairs, i + 1, words[2], words[3], step_size);
    }
    return num_accepted;
}
#endif

/* Start: normal numbers of standard deviation start_scale for all coordinates. */
__kernel void mcmc_start(__global real *x_blocked, uint num_blocks, uint first_block, uint seed_low, uint seed_high,
                         real start_scale) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint i = 0; i < N; i++) {
        uintv words[4];
        realv normals[4];
        random_words(seed_low, seed_high, chain_index(first_block + block), (uintv)0, i, STREAM_START, words);
        normal_pair(words[0], words[1], &normals[0], &normals[1]);
        normal_pair(words[2], words[3], &normals[2], &normals[3]);
        UNROLL_STATE
        for (uint d = 0; d < D; d++)
            store_lanes(x_blocked + ((size_t)block * (N * D) + i * D + d) * V, start_scale * normals[d]);
    }
}

/* Sweeps first_sweep ... first_sweep + num_sweeps - 1; a sweep proposes a move of each particle in turn. accepted
 * [num_blocks][V] is set to the number of accepted moves in this launch. series [num_steps][num_series_blocks][V]: the
 * energy of the first blocks' chains after every series_interval sweeps, counted from series_start. */
CHAIN_KERNEL void mcmc_sweeps(__global real *x_blocked, __global uint *accepted, __global real *series, uint num_blocks,
                          uint first_block, uint seed_low, uint seed_high, uint first_sweep, uint num_sweeps,
                          real step_size, uint is_centred, uint series_start, uint series_interval,
                          uint num_series_steps, uint num_series_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    uintv chain = chain_index(first_block + block), num_accepted = 0;
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
#ifdef KEEPS_PAIRS
    realv pairs[N * (N - 1) / 2];
    compute_pairs(x, pairs);
#endif
    for (uint sweep = first_sweep; sweep < first_sweep + num_sweeps; sweep++) {
#ifdef KEEPS_PAIRS
        num_accepted += kept_sweep(x, pairs, seed_low, seed_high, chain, sweep, (realv)step_size);
#else
        UNROLL_MOVES
        for (uint i = 0; i < NUM_MOVES(is_centred); i++)
            num_accepted += chain_move(x, i, seed_low, seed_high, chain, sweep, (realv)step_size);
#endif
        if (is_centred && (sweep + 1) % CENTRE_INTERVAL == 0) {
            remove_centre(x);
#ifdef KEEPS_PAIRS
            compute_pairs(x, pairs); /* so that a launch that begins here gives the same bits */
#endif
        }
        uint sampled = sweep + 1 - series_start; /* sweeps since the start of the series */
        if (block < num_series_blocks && sampled % series_interval == 0 &&
            sampled / series_interval <= num_series_steps) {
            size_t step = sampled / series_interval - 1;
            store_lanes(series + (step * num_series_blocks + block) * V, potential_energy(x));
        }
    }
    store_state(x_blocked, block, x);
    store_lanes(accepted + (size_t)block * V, num_accepted);
}

/* rows [num, N*D]: the lanes of a block, without those after the last row. */
static inline void store_rows(const CONFIGURATION x, uint block, __global real *rows, uint num) {
    for (uint lane = 0; lane < V; lane++) {
        const size_t row = (size_t)block * V + lane;
        if (row >= num) break;
        UNROLL_COPY
        for (uint c = 0; c < N * D; c++) {
            const realv one = COMPONENT_OF(x, c);
            rows[row * (N * D) + c] = ((const real *)&one)[lane];
        }
    }
}

/* Copies the present configurations to the host's layout: x_kept [num_chains, N*D], energy_kept [num_chains]. The
 * chains do not change. */
CHAIN_KERNEL void mcmc_keep(__global const real *x_blocked, __global real *x_kept, __global real *energy_kept,
                        uint num_blocks, uint num_chains, uint is_centred) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    CHAIN_STATE(x);
    load_state(x_blocked, block, x);
    if (is_centred) remove_centre(x);
    realv energy = potential_energy(x);
    store_rows(x, block, x_kept, num_chains);
    for (uint lane = 0; lane < V && block * V + lane < num_chains; lane++)
        energy_kept[(size_t)block * V + lane] = ((real *)&energy)[lane];
}
