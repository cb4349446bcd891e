/* Kernels of the prior on the configurations with the centre of mass at 0, for any kind. prior/<kind>.clh stands before
 * this text and defines
 *   void prior_draw(seed_low, seed_high, first, x)          x [N*D + 3]: samples first ... first + V - 1 of scale 1
 *   realv prior_log_density(z, scale, constant_term)        constant_term: -log_prob(0), from the host
 *   void prior_slope(z, share, scale)                       z [N*D] becomes share times the gradient of -log_prob at z
 * State is blocked, [num_blocks][N*D][V]; numbers per sample [num_blocks][V]. One work-item for each
 * block. */
__kernel void prior_sample(__global real *x_blocked, uint seed_low, uint seed_high, ulong first_sample, real scale,
                           uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D + 3];
    prior_draw(seed_low, seed_high, first_sample + (ulong)block * V, x);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, scale * x[c]);
}

/* x += scale times mean-free normals, of another stream than the prior: makes a batch of training data a sample of
 * their kernel density estimate. */
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

/* log_prob = prior.log_prob(z) + sign * log_det. */
__kernel void prior_log_prob(__global const real *z_blocked, __global const real *log_det, __global real *log_prob,
                             real scale, real constant_term, real sign, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv z[N * D];
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) z[c] = load_lanes(z_blocked + ((size_t)block * (N * D) + c) * V);
    realv value = prior_log_density(z, scale, constant_term) + sign * load_lanes(log_det + (size_t)block * V);
    store_lanes(log_prob + (size_t)block * V, value);
}

/* log_prob += sign * log_det. */
__kernel void add_log_det(__global real *log_prob, __global const real *log_det, real sign, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(log_prob + (size_t)block * V,
                load_lanes(log_prob + (size_t)block * V) + sign * load_lanes(log_det + (size_t)block * V));
}

/* The adjoints at the start of the reverse solve for the mean negative log-likelihood of batch_size samples, after the
 * solve from data to prior:
 * nll = -prior.log_prob(z) - log_det;  adjoint_z = weight times the gradient of -prior.log_prob;  adjoint_log_det =
 * -weight, weight = 1/batch_size, 0 in padding lanes. */
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
    store_lanes(adjoint_log_det + (size_t)block * V, -share);
    store_lanes(weight + (size_t)block * V, share);
    store_lanes(error + (size_t)block * V, (realv)0);
    store_lanes(nll + (size_t)block * V,
                -prior_log_density(z, scale, constant_term) - load_lanes(log_det + (size_t)block * V));
    prior_slope(z, share, scale);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(adjoint_z + ((size_t)block * (N * D) + c) * V, z[c]);
}

/* score = gradient of prior.log_prob at z. */
__kernel void prior_score(__global const real *z_blocked, __global real *score, real scale, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv z[N * D];
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) z[c] = load_lanes(z_blocked + ((size_t)block * (N * D) + c) * V);
    prior_slope(z, (realv)-1, scale);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) store_lanes(score + ((size_t)block * (N * D) + c) * V, z[c]);
}

/* One work-item; a launch adds a range of blocks, in order, to the sums of each lane in carry [2][V]. After the last
 * range sums [place] and [place + 1] are set to the weighted sums over the batch of value (nll or free energy) and
 * error. */
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
