/* Path gradients (src/train/path.c has the equations): RK4 of a sample's position x, its score s and log_det together,
 * and the reverse pass of x alone. The scheme is that of integrator/rk4.clh. State is blocked, [num_blocks][N*D][V];
 * numbers per sample [num_blocks][V]; one work-item for each block. Defined by the host: N, D. */
#define DOF (N * D)
#define AT(c) (((size_t)block * DOF + (c)) * V)
#define AT_SAMPLE ((size_t)block * V)

__kernel void path_set_times(__global real *times, real t, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(times + AT_SAMPLE, (realv)t);
}

/* log_det = 0, ones = 1. */
__kernel void path_begin(__global real *log_det, __global real *ones, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(log_det + AT_SAMPLE, (realv)0);
    store_lanes(ones + AT_SAMPLE, (realv)1);
}

/* One stage of x alone: sum += weight k (sum = weight k at the first stage); place = x + reach k, at the last stage x =
 * place = x + h sum. */
__kernel void path_stage(__global real *x, __global const real *k, __global real *sum, __global real *place,
                         real weight, real reach, real h, uint is_first, uint is_last, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        const realv slope = load_lanes(k + AT(c)), at = load_lanes(x + AT(c));
        const realv total = fma((realv)weight, slope, is_first ? (realv)0 : load_lanes(sum + AT(c)));
        store_lanes(sum + AT(c), total);
        const realv next = is_last ? fma((realv)h, total, at) : fma((realv)reach, slope, at);
        store_lanes(place + AT(c), next);
        if (is_last) store_lanes(x + AT(c), next);
    }
}

/* log_det += share divergence; share = h weight. */
__kernel void path_add_log_det(__global real *log_det, __global const real *divergence, real share, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(log_det + AT_SAMPLE,
                fma((realv)share, load_lanes(divergence + AT_SAMPLE), load_lanes(log_det + AT_SAMPLE)));
}

/* adjoint becomes the adjoint at t = 1: weight (s + grad u), minus its mean, scaled so that |s + grad u| is at most cap
 * (+infinity: no limit); on input it is weight grad u. value keeps the free energy; if is_of_data, it becomes nll =
 * log_det - prior.log_prob(z). */
__kernel void path_seed(__global real *adjoint, __global const real *score, __global const real *weight,
                        __global real *value, __global const real *log_det, __global const real *prior_log_prob,
                        uint is_of_data, real cap, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv share = load_lanes(weight + AT_SAMPLE);
    realv a[DOF], square = 0;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) a[c] = fma(share, load_lanes(score + AT(c)), load_lanes(adjoint + AT(c)));
    UNROLL_STATE
    for (uint d = 0; d < D; d++) {
        realv mean = 0;
        UNROLL_STATE
        for (uint i = 0; i < N; i++) mean += a[i * D + d];
        mean *= (real)1 / (real)N;
        UNROLL_STATE
        for (uint i = 0; i < N; i++) a[i * D + d] -= mean;
    }
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) square = fma(a[c], a[c], square);
    const realv length = sqrt(square), most = cap * share;
    /* 1 in padding lanes, where both are 0 */
    const realv shrink = select_lanes((realv)1, most / length, length > most);
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) store_lanes(adjoint + AT(c), shrink * a[c]);
    if (is_of_data)
        store_lanes(value + AT_SAMPLE, load_lanes(log_det + AT_SAMPLE) - load_lanes(prior_log_prob + AT_SAMPLE));
}

/* ---- Reverse: the adjoint of the discretised flow ---------------------------------------------------------------- */

/* The adjoint of one stage's velocity: adjoint_k = share adjoint + reach from_later; then from_later = 0, for the vjp
 * to add to. */
__kernel void path_stage_adjoint(__global const real *adjoint, __global real *from_later, __global real *adjoint_k,
                                 real share, real reach, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        const realv later = reach == (real)0 ? (realv)0 : reach * load_lanes(from_later + AT(c));
        store_lanes(adjoint_k + AT(c), fma((realv)share, load_lanes(adjoint + AT(c)), later));
        store_lanes(from_later + AT(c), (realv)0);
    }
}

/* total += from_later; if is_first the sum starts from adjoint, if is_last it is stored in adjoint. */
__kernel void path_add(__global real *adjoint, __global real *total, __global const real *from_later, uint is_first,
                       uint is_last, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint c = 0; c < DOF; c++) {
        const realv sum = load_lanes((is_first ? adjoint : total) + AT(c)) + load_lanes(from_later + AT(c));
        store_lanes((is_last ? adjoint : total) + AT(c), sum);
    }
}
