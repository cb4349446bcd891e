/* The mean-free Gaussian prior: unit normal on the subspace of zero centre of mass, (N-1) D free degrees of
 * freedom, scaled.
 *   log_prob(z) = -|z|^2 / (2 scale^2) - (N-1) D (ln scale + 0.5 ln 2 pi)
 * State is blocked, [num_blocks][N*D][V]; numbers per sample [num_blocks][V]. One work-item a block. */
#define STREAM_PRIOR 0x7072696fu /* counter word 3: numbers of the prior never meet those of other uses */
#define STREAM_DATA_NOISE 0x646e6f69u

static inline void remove_mean(realv *x) {
    UNROLL
    for (uint a = 0; a < D; a++) {
        realv mean = 0;
        UNROLL_STATE
        for (uint i = 0; i < N; i++) mean += x[i * D + a];
        mean *= (real)1 / (real)N;
        UNROLL_STATE
        for (uint i = 0; i < N; i++) x[i * D + a] -= mean;
    }
}

/* Unit mean-free normals of samples first ... first + V - 1: Philox counter (sample low, sample high, number,
 * stream), key = seed. */
static inline void mean_free_normals(uint seed_low, uint seed_high, ulong first, uint stream, realv x[N * D + 3]) {
    uintv low = (uint)first + lane_index();
    uintv high = (uintv)(uint)(first >> 32) + select((uintv)0, (uintv)1, low < (uintv)(uint)first);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c += 4) {
        uintv words[4];
        random_words(seed_low, seed_high, low, high, c / 4, stream, words);
        normal_pair(words[0], words[1], &x[c], &x[c + 1]);
        normal_pair(words[2], words[3], &x[c + 2], &x[c + 3]);
    }
    remove_mean(x);
}

__kernel void prior_sample(__global real *x_blocked, uint seed_low, uint seed_high, ulong first_sample, real scale,
                           uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D + 3];
    mean_free_normals(seed_low, seed_high, first_sample + (ulong)block * V, STREAM_PRIOR, x);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, scale * x[c]);
}

/* x += scale times such normals, of a stream of their own: a batch of training data as drawn from the data's kernel
 * density estimate. */
__kernel void add_noise(__global real *x_blocked, uint seed_low, uint seed_high, ulong first_position, real scale,
                        uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv noise[N * D + 3];
    mean_free_normals(seed_low, seed_high, first_position + (ulong)block * V, STREAM_DATA_NOISE, noise);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) {
        __global real *x = x_blocked + ((size_t)block * (N * D) + c) * V;
        store_lanes(x, fma((realv)scale, noise[c], load_lanes(x)));
    }
}

/* Subtracts each configuration's centre of mass, in place. */
__kernel void centre(__global real *x_blocked, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D];
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) x[c] = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
    remove_mean(x);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, x[c]);
}

static inline realv gaussian_log_prob(const realv *z, real scale, real constant_term) {
    realv square = 0;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) square = fma(z[c], z[c], square);
    return REAL(-0.5) * square / (scale * scale) - constant_term;
}

/* log_prob = prior.log_prob(z) + sign * log_det. */
__kernel void prior_log_prob(__global const real *z_blocked, __global const real *log_det, __global real *log_prob,
                             real scale, real constant_term, real sign, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv z[N * D];
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) z[c] = load_lanes(z_blocked + ((size_t)block * (N * D) + c) * V);
    realv value = gaussian_log_prob(z, scale, constant_term) + sign * load_lanes(log_det + (size_t)block * V);
    store_lanes(log_prob + (size_t)block * V, value);
}

/* log_prob += sign * log_det. */
__kernel void add_log_det(__global real *log_prob, __global const real *log_det, real sign, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(log_prob + (size_t)block * V,
                load_lanes(log_prob + (size_t)block * V) + sign * load_lanes(log_det + (size_t)block * V));
}

/* Start of the reverse solve for the mean negative log-likelihood of batch_size samples, after data -> prior:
 * nll = -prior.log_prob(z) - log_det;  adjoint_z = weight z / scale^2,  adjoint_log_det = -weight,
 * weight = 1/batch_size, 0 in padding lanes. */
__kernel void nll_seed(__global const real *z_blocked, __global const real *log_det, __global real *adjoint_z,
                       __global real *adjoint_log_det, __global real *weight, __global real *nll,
                       __global real *error, real scale, real constant_term, uint batch_size, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv z[N * D];
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) z[c] = load_lanes(z_blocked + ((size_t)block * (N * D) + c) * V);
    uintv sample = block * V + lane_index();
    realv is_real = min(convert_realv((uintv)batch_size - min(sample, (uintv)batch_size)), (realv)1.0f);
    realv share = is_real / (real)batch_size;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        store_lanes(adjoint_z + ((size_t)block * (N * D) + c) * V, share * z[c] / (scale * scale));
    store_lanes(adjoint_log_det + (size_t)block * V, -share);
    store_lanes(weight + (size_t)block * V, share);
    store_lanes(error + (size_t)block * V, (realv)0);
    store_lanes(nll + (size_t)block * V,
                -gaussian_log_prob(z, scale, constant_term) - load_lanes(log_det + (size_t)block * V));
}

/* One work-item, launched for one range of blocks after the other: carry [2][V] holds the lanes' sums so far. After
 * the last, sums [place], [place + 1] = weighted sums over the batch of value (nll or free energy) and error, in
 * sample order. */
__kernel void loss_sums(__global const real *value, __global const real *error, __global const real *weight,
                        __global real *carry, __global real *sums, uint place, uint block_begin, uint block_end,
                        uint num_blocks) {
    if (get_global_id(0) != 0) return;
    realv value_sum = 0, error_sum = 0;
    if (block_begin > 0) {
        value_sum = load_lanes(carry);
        error_sum = load_lanes(carry + V);
    }
    for (uint block = block_begin; block < block_end; block++) {
        realv share = load_lanes(weight + (size_t)block * V);
        value_sum += share * load_lanes(value + (size_t)block * V);
        error_sum += share * load_lanes(error + (size_t)block * V);
    }
    if (block_end < num_blocks) {
        store_lanes(carry, value_sum);
        store_lanes(carry + V, error_sum);
        return;
    }
    sums[place] = sum_lanes(value_sum);
    sums[place + 1] = sum_lanes(error_sum);
}
