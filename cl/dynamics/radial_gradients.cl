/* From gradients by the radial field's stage data to gradients by its parameters. radial_params.clh explains names and
 * shapes. Where a comment says "a turn", any number of work-items divides the turns. */

/* The last cell of any stage to which anything was added (radial_table.clh). */
static inline uint last_touched(__global const real *grad_shared, uint num_partials) {
    real last = 0;
    for (uint p = 0; p < num_partials; p++) last = fmax(last, grad_shared[p * K_PADDED]);
    return (uint)last;
}

/* All further blocks of points are inactive. */
static inline uint num_touched_blocks(__global const real *grad_shared, uint num_partials, uint num_point_blocks) {
    return min((last_touched(grad_shared, num_partials) + 1) * 2 / V + 1, num_point_blocks);
}

/* As sum_partials, of the partial gradients of num_rows tables, which become 0; most of them are 0 already, and stay in
 * the cache as they are. Only the cells that radial_point_gradients reads are summed. A turn is V numbers. */
__kernel void radial_take_partials(__global real *partials, __global real *out, uint num_partials, uint num,
                                   uint num_rows, __global const real *grad_shared) {
    const uint needed = 4 * (last_touched(grad_shared, num_partials) + 2 + V / 2);
    const uint in_row = min((needed + V - 1) / V, (uint)STAGE_SIZE / V);
    for (uint item = get_global_id(0); item < in_row * num_rows; item += get_global_size(0)) {
        const size_t i = (size_t)(item / in_row) * STAGE_SIZE + item % in_row * V;
        realv sum = load_lanes(partials + i);
        integerv is_set = sum != (realv)0;
        for (uint p = 1; p < num_partials; p++) {
            realv value = load_lanes(partials + (size_t)p * num + i);
            is_set |= value != (realv)0;
            sum += value;
        }
        store_lanes(out + i, sum);
        if (any_lane(is_set))
            for (uint p = 0; p < num_partials; p++) store_lanes(partials + (size_t)p * num + i, (realv)0);
    }
}

#ifdef EVENS
#if V == 8
#define SECOND_OF_PAIRS(a) SHUFFLE(a, a, 1, 1, 3, 3, 5, 5, 7, 7)
#else
#define SECOND_OF_PAIRS(a) SHUFFLE(a, a, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15)
#endif
static inline int is_zero4(real4 a) { return a.s0 == 0 && a.s1 == 0 && a.s2 == 0 && a.s3 == 0; }

/* V points: the left ends, at even lanes, and middles of V/2 cells from number cell on. There is a cell to the left,
 * and all are below the last; as the loop over lanes in radial_point_gradients. Returns whether any is not 0. */
static inline uint put_point_gradients(__global const real *cells, __global const real *geometry, uint cell,
                                       __global real *out0, __global real *out1) {
    const integerv is_end = as_integerv(lane_index() % 2u == 0u);
    const realv inverse_fine = (realv)geometry[0], inverse_coarse = (realv)geometry[3];
    const uintv at = (uintv)cell + lane_index() / 2u;
    realv a = load_lanes(cells + (size_t)cell * 4), b = load_lanes(cells + (size_t)cell * 4 + V);
    if (!any_lane(a != (realv)0 || b != (realv)0) && is_zero4(vload4(cell - 1, cells))) return 0;
    realv even = EVENS(a, b), odd = ODDS(a, b); /* g0, g2 of each cell; g1, g3 */
    realv g2 = SECOND_OF_PAIRS(even), g3 = SECOND_OF_PAIRS(odd);
    realv inverse = select_lanes(inverse_coarse, inverse_fine, convert_realv(at) < (realv)geometry[5]);
    realv slope = odd - REAL(1.5) * inverse * g2 + (REAL(2.0) / REAL(3.0)) * inverse * inverse * g3;
    realv slope_middle = REAL(2.0) * inverse * g2 - (REAL(4.0) / REAL(3.0)) * inverse * inverse * g3;
    a = load_lanes(cells + (size_t)cell * 4 - 4); /* the cells to the left */
    b = load_lanes(cells + (size_t)cell * 4 - 4 + V);
    even = EVENS(a, b);
    odd = ODDS(a, b);
    g2 = SECOND_OF_PAIRS(even);
    g3 = SECOND_OF_PAIRS(odd);
    inverse = select_lanes(inverse_coarse, inverse_fine, convert_realv(at - 1u) < (realv)geometry[5]);
    slope += (REAL(2.0) / REAL(3.0)) * inverse * inverse * g3 - REAL(0.5) * inverse * g2;
    a = load_lanes(cells + (size_t)cell * 4);
    b = load_lanes(cells + (size_t)cell * 4 + V);
    realv value = select_lanes((realv)0, EVENS(a, b), is_end);
    slope = select_lanes(slope_middle, slope, is_end);
    store_lanes(out0, value);
    store_lanes(out1, slope);
    return any_lane(value != (realv)0 || slope != (realv)0) ? 1u : 0u;
}
#endif

/* The transpose of radial_cells; a turn is a stage and V points. cell_gradients [num_stages][STAGE_SIZE] ->
 * point_gradients [num_stages][2][num_point_blocks*V], by phi and phi', zero in padding; is_active
 * [num_stages][num_point_blocks]: 0 if all V are zero, as most are: few distances occur. They need not be written then
 * and are not to be read. */
__kernel void radial_point_gradients(__global const real *cell_gradients, __global const real *geometry,
                                     __global real *point_gradients, __global uint *is_active, uint num_stages,
                                     uint num_point_blocks, __global const real *grad_shared, uint num_partials) {
    const uint num_touched = num_touched_blocks(grad_shared, num_partials, num_point_blocks);
    for (uint item = get_global_id(0); item < num_point_blocks * num_stages; item += get_global_size(0)) {
        uint block = item % num_point_blocks, j = item / num_point_blocks;
        if (block >= num_touched) {
            is_active[item] = 0;
            continue;
        }
        __global const real *cells = cell_gradients + (size_t)j * STAGE_SIZE;
        __global real *out0 = point_gradients + (size_t)j * 2 * num_point_blocks * V;
        __global real *out1 = out0 + num_point_blocks * V;
        uint last = (uint)geometry[6], found = 0;
#ifdef EVENS
        if (block > 0 && (block + 1) * (V / 2) <= last) {
            is_active[j * num_point_blocks + block] =
                put_point_gradients(cells, geometry, block * (V / 2), out0 + block * V, out1 + block * V);
            continue;
        }
#endif
        for (uint lane = 0; lane < V; lane++) {
            uint point = block * V + lane, cell = point / 2;
            real value = 0, slope = 0;
            if (cell < last) {
                real4 g = vload4(cell, cells);
                real inverse = (real)cell < geometry[5] ? geometry[0] : geometry[3];
                if (point % 2 == 0) {
                    value = g.s0;
                    slope = g.s1 - REAL(1.5) * inverse * g.s2 + (REAL(2.0) / REAL(3.0)) * inverse * inverse * g.s3;
                } else {
                    slope = REAL(2.0) * inverse * g.s2 - (REAL(4.0) / REAL(3.0)) * inverse * inverse * g.s3;
                }
            } else if (point == 2 * last) {
                value = cells[(size_t)last * 4];
            }
            if (point % 2 == 0 && cell > 0 && cell <= last) { /* the right end of the cell to the left */
                real4 g = vload4(cell - 1, cells);
                real inverse = (real)(cell - 1) < geometry[5] ? geometry[0] : geometry[3];
                slope += (REAL(2.0) / REAL(3.0)) * inverse * inverse * g.s3 - REAL(0.5) * inverse * g.s2;
            }
            out0[point] = value;
            out1[point] = slope;
            found |= value != 0 || slope != 0; /* true of NaN */
        }
        is_active[j * num_point_blocks + block] = found;
    }
}

/* grad_coefficients [num_stages][K+1]: d loss / d A_k, then d loss / d B. One work-item for each STAGES_AT_ONCE stages
 * and K_AT_ONCE Gaussians, so few that all sums are in registers. bands as in radial_basis. */
__kernel void radial_contract_coefficients(__global const real *point_gradients, __global const uint *is_active,
                                           __global const real *basis, __global real *grad_coefficients,
                                           uint num_stages, uint num_point_blocks, __global const uint *bands,
                                           __global const real *grad_shared, uint num_partials) {
    const uint num_touched = num_touched_blocks(grad_shared, num_partials, num_point_blocks);
    const uint num_tiles = (K + K_AT_ONCE) / K_AT_ONCE; /* of K Gaussians and the bias */
    uint first = get_global_id(0) / num_tiles * STAGES_AT_ONCE, k_begin = get_global_id(0) % num_tiles * K_AT_ONCE;
    if (first >= num_stages) return;
    const uint has_bias = k_begin + K_AT_ONCE > K;
    realv sum[K_AT_ONCE * STAGES_AT_ONCE], bias_sum[STAGES_AT_ONCE];
    UNROLL
    for (uint i = 0; i < K_AT_ONCE * STAGES_AT_ONCE; i++) sum[i] = 0;
    UNROLL
    for (uint s = 0; s < STAGES_AT_ONCE; s++) bias_sum[s] = 0;
    for (uint block = 0; block < num_touched; block++) {
        uint any_active = 0;
        realv g0[STAGES_AT_ONCE], g1[STAGES_AT_ONCE];
        if (!has_bias && (bands[block * 2] >= k_begin + K_AT_ONCE || bands[block * 2 + 1] <= k_begin)) continue;
        UNROLL
        for (uint s = 0; s < STAGES_AT_ONCE; s++)
            any_active |= is_active[min(first + s, num_stages - 1) * num_point_blocks + block];
        if (!any_active) continue;
        UNROLL
        for (uint s = 0; s < STAGES_AT_ONCE; s++) {
            const uint stage = min(first + s, num_stages - 1);
            __global const real *g = point_gradients + (size_t)stage * 2 * num_point_blocks * V + block * V;
            const uint active = is_active[stage * num_point_blocks + block];
            g0[s] = active ? load_lanes(g) : (realv)0;
            g1[s] = active ? load_lanes(g + num_point_blocks * V) : (realv)0;
            bias_sum[s] += g0[s];
        }
        UNROLL
        for (uint i = 0; i < K_AT_ONCE; i++) { /* beyond the last Gaussian any: its sums are not written */
            const uint k = min(k_begin + i, (uint)K - 1);
            realv r0 = load_lanes(basis + (((size_t)block * K + k) * 2) * V);
            realv r1 = load_lanes(basis + (((size_t)block * K + k) * 2 + 1) * V);
            UNROLL
            for (uint s = 0; s < STAGES_AT_ONCE; s++) {
                const uint at = i * STAGES_AT_ONCE + s;
                sum[at] = fma(g0[s], r0, fma(g1[s], r1, sum[at]));
            }
        }
    }
    UNROLL
    for (uint s = 0; s < STAGES_AT_ONCE; s++) {
        if (first + s >= num_stages) continue;
        __global real *out = grad_coefficients + (first + s) * (K + 1);
        UNROLL
        for (uint i = 0; i < K_AT_ONCE; i++)
            if (k_begin + i < K) out[k_begin + i] = sum_lanes(sum[i * STAGES_AT_ONCE + s]);
        if (has_bias) out[K] = sum_lanes(bias_sum[s]);
    }
}

/* A work-item of radial_contract_widths sums H_k and H'_k (pulls, below) of this number of Gaussians at once, in
 * registers. Vectors keep them in private memory; with one lane each is summed twice instead. */
#if V == 1
#define PULLS_AT_ONCE 10
#define PULLS_KEPT PULLS_AT_ONCE
#define AT_PULL(begin, i) (i)
#define UNROLL_OF_PULLS UNROLL
#else
#define PULLS_AT_ONCE 8
#define PULLS_KEPT (K + PULLS_AT_ONCE - 1)
#define AT_PULL(begin, i) ((begin) + (i))
#define UNROLL_OF_PULLS
#endif

/* H_k and H'_k of PULLS_AT_ONCE Gaussians from k_begin on, at the block's points, summed in the order of stages.
 * Returns whether any stage is active. The buffer of coefficients has PULLS_AT_ONCE numbers more than rows. */
static inline uint sum_pulls(__global const real *point_gradients, __global const uint *is_active,
                             __global const real *coefficients, uint num_stages, uint num_point_blocks, uint block,
                             uint k_begin, realv *pull0, realv *pull1) {
    uint any_active = 0;
    realv sum0[PULLS_AT_ONCE], sum1[PULLS_AT_ONCE];
    UNROLL
    for (uint i = 0; i < PULLS_AT_ONCE; i++) sum0[i] = sum1[i] = 0;
    for (uint j = 0; j < num_stages; j++) {
        if (!is_active[j * num_point_blocks + block]) continue;
        any_active = 1;
        __global const real *g = point_gradients + (size_t)j * 2 * num_point_blocks * V + block * V;
        realv g0 = load_lanes(g), g1 = load_lanes(g + num_point_blocks * V);
        UNROLL
        for (uint i = 0; i < PULLS_AT_ONCE; i++) { /* beyond the last Gaussian any number: it is not used */
            real weight = coefficients[j * (K + 1) + k_begin + i];
            sum0[i] = fma((realv)weight, g0, sum0[i]);
            sum1[i] = fma((realv)weight, g1, sum1[i]);
        }
    }
    UNROLL
    for (uint i = 0; i < PULLS_AT_ONCE; i++) {
        pull0[AT_PULL(k_begin, i)] = sum0[i];
        pull1[AT_PULL(k_begin, i)] = sum1[i];
    }
    return any_active;
}

/* partial_widths [num_point_blocks][K_PADDED]: the part of V points of d loss / d ln gamma_k; one work-item for each V
 * points, bands as in radial_basis. At a point, with the sums over stages H_k = sum_j (d loss / d phi) A_k and
 * H'_k = sum_j (d loss / d phi') A_k:
 *   d loss = sum_k H_k dR_k + H'_k dR'_k,  R = g p,  R' = g' p + g p',  p = 1/(EPSILON + S),  p' = -S' p^2,
 *   d g / d ln gamma = 2 u^2 g,  d g' / d ln gamma = (2 u^2 - 2) g',  u = (d - mu)/gamma */
__kernel void radial_contract_widths(__global const real *point_gradients, __global const uint *is_active,
                                     __global const real *coefficients,
                                     __global const real *gaussians, __global const real *geometry,
                                     __global real *partial_widths, uint num_stages, uint num_point_blocks,
                                     __global const uint *bands, __global const real *grad_shared,
                                     uint num_partials) {
    uint block = get_global_id(0);
    if (block >= num_point_blocks) return;
    const uint band_begin = bands[block * 2] / PULLS_AT_ONCE * PULLS_AT_ONCE, band_end = bands[block * 2 + 1];
    realv pull0[PULLS_KEPT], pull1[PULLS_KEPT];
    for (uint k = 0; k < K_PADDED; k++) partial_widths[(size_t)block * K_PADDED + k] = 0;
    if (block >= num_touched_blocks(grad_shared, num_partials, num_point_blocks)) return;
    realv d = place_of_points(geometry, block, 2, 0);
    realv sum = 0, slope = 0, n0 = 0, m0 = 0;
    for (uint begin = band_begin; begin < band_end; begin += PULLS_AT_ONCE) {
        if (!sum_pulls(point_gradients, is_active, coefficients, num_stages, num_point_blocks, block, begin, pull0,
                       pull1))
            return;
        UNROLL_OF_PULLS
        for (uint i = 0; i < PULLS_AT_ONCE; i++) {
            const uint k = begin + i;
            if (k >= K) continue;
            real inverse_gamma = gaussians[K + k];
            realv u = (d - gaussians[k]) * inverse_gamma;
            realv g = exp2_clamped(REAL(-1.4426950408889634) * u * u), g1 = REAL(-2.0) * inverse_gamma * u * g;
            sum += g;
            slope += g1;
            n0 = fma(pull0[AT_PULL(begin, i)], g, fma(pull1[AT_PULL(begin, i)], g1, n0)); /* sum H g + H' g' */
            m0 = fma(pull1[AT_PULL(begin, i)], g, m0);                    /* sum H' g */
        }
    }
    realv p = REAL(1.0) / (EPSILON + sum), p1 = -slope * p * p;
    realv grad_slope = -m0 * p * p;
    realv grad_sum = -n0 * p * p + REAL(2.0) * m0 * slope * p * p * p;
    for (uint begin = band_begin; begin < band_end; begin += PULLS_AT_ONCE) {
#if V == 1
        sum_pulls(point_gradients, is_active, coefficients, num_stages, num_point_blocks, block, begin, pull0, pull1);
#endif
        UNROLL_OF_PULLS
        for (uint i = 0; i < PULLS_AT_ONCE; i++) {
            const uint k = begin + i;
            if (k >= K) continue;
            real inverse_gamma = gaussians[K + k];
            realv u = (d - gaussians[k]) * inverse_gamma;
            realv g = exp2_clamped(REAL(-1.4426950408889634) * u * u), g1 = REAL(-2.0) * inverse_gamma * u * g;
            realv grad_g = fma(pull0[AT_PULL(begin, i)], p, fma(pull1[AT_PULL(begin, i)], p1, grad_sum));
            realv grad_g1 = fma(pull1[AT_PULL(begin, i)], p, grad_slope);
            realv u2 = REAL(2.0) * u * u;
            partial_widths[(size_t)block * K_PADDED + k] = sum_lanes(grad_g * u2 * g + grad_g1 * (u2 - REAL(2.0)) * g1);
        }
    }
}

/* pull [M] = or, unless is_first, += d loss / d T_m by the coefficients of one kind of pair: row [K+1] of their
 * gradients. The sums of all m are added side by side, as each waits for itself. */
static inline void add_pull(__global const real *params, __global const real *row, uint kind, uint is_first,
                            real *pull) {
    real constant_part[M], sum[M];
    UNROLL
    for (uint m = 0; m < M; m++) {
        constant_part[m] = params[AT_BIAS + kind * M + m];
        sum[m] = 0;
    }
    for (uint k = 0; k < K; k++) {
        real importance = params[AT_IMPORTANCE + kind * K + k];
        __global const real *weights = params + AT_WEIGHTS + (kind * K + k) * M;
        UNROLL
        for (uint m = 0; m < M; m++) {
            constant_part[m] += importance * importance * weights[m];
            sum[m] += row[k] * weights[m];
        }
    }
    UNROLL
    for (uint m = 0; m < M; m++)
        pull[m] = is_first ? sum[m] + row[K] * constant_part[m] : pull[m] + (sum[m] + row[K] * constant_part[m]);
}

/* time_gradients [num_stages][M]: each stage's part of d loss / d ln gamma of the time Gaussians; one work-item for
 * each stage. T_m = G_m / (EPSILON + S): d T_m / d ln gamma_n = 2 u_n^2 T_n (delta_mn - T_m). */
__kernel void radial_time_gradients(__global const real *params, __global const real *time_basis,
                                    __global const real *grad_coefficients, __global real *time_gradients,
                                    uint num_stages) {
    uint j = get_global_id(0);
    if (j >= num_stages) return;
    real t = (real)j / (real)(num_stages - 1), pull[M], projected = 0;
    for (uint kind = 0; kind < PAIR_KINDS; kind++)
        add_pull(params, grad_coefficients + (j * PAIR_KINDS + kind) * (K + 1), kind, kind == 0, pull);
    UNROLL
    for (uint m = 0; m < M; m++) projected += pull[m] * time_basis[j * M + m];
    UNROLL
    for (uint m = 0; m < M; m++) {
        real u = (t - params[AT_TIME_CENTERS + m]) * exp(-params[AT_TIME_LOG_GAMMAS + m]);
        time_gradients[j * M + m] = REAL(2.0) * u * u * time_basis[j * M + m] * (pull[m] - projected);
    }
}

/* Writes all of gradient [AT_CENTERS]. K + 1 work-items for each kind of pair: number k < K writes the gradients by
 * W_km of all m, c_k and, for the first kind, ln gamma_k; number K those by b and, for the first kind, the time
 * widths. */
__kernel void radial_gradient(__global const real *params, __global const real *time_basis,
                              __global const real *grad_coefficients, __global const real *grad_widths,
                              __global const real *time_gradients, __global real *gradient, uint num_stages) {
    uint k = get_global_id(0) % (K + 1), kind = get_global_id(0) / (K + 1);
    if (kind >= PAIR_KINDS) return;
    uint at = kind * K + k; /* of all Gaussians' weights */
    real importance = k < K ? params[AT_IMPORTANCE + at] : 0, grad_square = 0;
    for (uint m = 0; m < M; m++) {
        real of_weight = 0, of_bias = 0, of_width = 0;
        for (uint j = 0; j < num_stages; j++) {
            __global const real *row = grad_coefficients + (j * PAIR_KINDS + kind) * (K + 1);
            real basis = time_basis[j * M + m], grad_bias = row[K];
            of_weight += basis * (row[k] + importance * importance * grad_bias);
            of_bias += basis * grad_bias;
            if (k == K) of_width += time_gradients[j * M + m];
        }
        if (k < K) {
            gradient[AT_WEIGHTS + at * M + m] = of_weight;
            grad_square += of_bias * params[AT_WEIGHTS + at * M + m];
        } else {
            gradient[AT_BIAS + kind * M + m] = of_bias;
            if (kind == 0) gradient[AT_TIME_LOG_GAMMAS + m] = of_width;
        }
    }
    if (k < K) {
        gradient[AT_IMPORTANCE + at] = REAL(2.0) * importance * grad_square;
        if (kind == 0) gradient[AT_LOG_GAMMAS + k] = grad_widths[k];
    }
}
