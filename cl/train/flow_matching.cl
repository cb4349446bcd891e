/* Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023): x_t = (1 - t) z + t x, whose velocity is x -
 * z; the field learns it:
 *   loss = mean over pairs (z, x) and t uniform on (0, 1) of |v(x_t, t) - (x - z)|^2
 * Sample b of a batch of B has t in (b/B, (b+1)/B), so that a batch covers all times evenly. State is blocked,
 * [num_blocks][DOF][V]; numbers per sample [num_blocks][V]; one work-item for each block. Defined by the host: DOF = N
 * D. */
#define STREAM_TIMES 0x74696d65u
#define AT(c) (((size_t)block * DOF + (c)) * V)

/* Writes x_t and t. Lane l of block b is sample first_in_batch + b V + l of its batch, and has random number
 * first_position + b V + l of the seed. */
__kernel void matching_place(__global const real *latents, __global const real *data, __global real *x,
                             __global real *times, uint seed_low, uint seed_high, ulong first_position,
                             uint first_in_batch, uint batch_size, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    ulong first = first_position + (ulong)block * V;
    uintv low = (uint)first + lane_index();
    uintv high = (uintv)(uint)(first >> 32) + select((uintv)0, (uintv)1, low < (uintv)(uint)first);
    uintv words[4];
    random_words(seed_low, seed_high, low, high, 0, STREAM_TIMES, words);
    /* padding lanes too have a place in the batch */
    uintv place = min((uintv)(first_in_batch + block * V) + lane_index(), (uintv)(batch_size - 1));
    realv t = (convert_realv(place) + uniform_open(words[0])) / (real)batch_size;
    store_lanes(times + (size_t)block * V, t);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        realv z = load_lanes(latents + AT(c));
        store_lanes(x + AT(c), fma(t, load_lanes(data + AT(c)) - z, z));
    }
}

/* velocity becomes 2 weight (v - (x - z)), weight = 1/num_samples, 0 in padding lanes; value = |v - (x - z)|^2,
 * error = 0. */
__kernel void matching_seed(__global const real *latents, __global const real *data, __global real *velocity,
                            __global real *weight, __global real *value, __global real *error, uint num_samples,
                            uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    uintv sample = block * V + lane_index();
    realv is_real = min(convert_realv((uintv)num_samples - min(sample, (uintv)num_samples)), (realv)1.0f);
    realv share = is_real / (real)num_samples, square = 0;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        realv difference = load_lanes(velocity + AT(c)) - (load_lanes(data + AT(c)) - load_lanes(latents + AT(c)));
        square = fma(difference, difference, square);
        store_lanes(velocity + AT(c), (real)2 * share * difference);
    }
    store_lanes(weight + (size_t)block * V, share);
    store_lanes(value + (size_t)block * V, square);
    store_lanes(error + (size_t)block * V, (realv)0);
}
