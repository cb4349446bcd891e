/* From the radial field's parameters to its stage data. radial_params.clh explains names and shapes. Where a comment
 * says "a turn", any number of work-items divides the turns. */

/* One work-item for each stage. time_basis [num_stages][M] = T_m(t_j); coefficients [num_stages][PAIR_KINDS][K+1]:
 * A_k = sum_m T_m W_km, then B = sum_m T_m (b_m + sum_k c_k^2 W_km). */
__kernel void radial_time(__global const real *params, __global real *time_basis, __global real *coefficients,
                          uint num_stages) {
    uint j = get_global_id(0);
    if (j >= num_stages) return;
    real t = (real)j / (real)(num_stages - 1), sum = 0, basis[M];
    for (uint m = 0; m < M; m++) {
        real u = (t - params[AT_TIME_CENTERS + m]) * exp(-params[AT_TIME_LOG_GAMMAS + m]);
        basis[m] = exp(-u * u);
        sum += basis[m];
    }
    for (uint m = 0; m < M; m++) {
        basis[m] /= EPSILON + sum;
        time_basis[j * M + m] = basis[m];
    }
    for (uint kind = 0; kind < PAIR_KINDS; kind++) {
        __global const real *weights = params + AT_WEIGHTS + kind * K * M;
        __global real *row = coefficients + (j * PAIR_KINDS + kind) * (K + 1);
        real bias = 0;
        for (uint m = 0; m < M; m++) bias += basis[m] * params[AT_BIAS + kind * M + m];
        for (uint k = 0; k < K; k++) {
            real weight = 0, importance = params[AT_IMPORTANCE + kind * K + k];
            for (uint m = 0; m < M; m++) weight += basis[m] * weights[k * M + m];
            row[k] = weight;
            bias += importance * importance * weight;
        }
        row[K] = bias;
    }
}

/* One work-item. gaussians [2K]: mu_k, 1/gamma_k. geometry [8] as in radial_table.clh: the fine cells end at
 * d_fine, the coarse ones where all Gaussians are negligible: exp(-6.2^2) = 2e-17 is far below the 1e-6 of the
 * normaliser. */
__kernel void radial_shared(__global const real *params, __global real *gaussians, __global real *geometry, real d_fine,
                            uint num_fine, uint num_coarse) {
    if (get_global_id(0) != 0) return;
    real d_end = REAL(1.25) * d_fine;
    for (uint k = 0; k < K; k++) {
        /* exp(-x) has one rounding error, 1/exp(x) two. Where S falls below 1e-6, u^2 is 14, and the relative error of
         * the field's slope is a hundred times that of u. */
        real center = params[AT_CENTERS + k], inverse_gamma = exp(-params[AT_LOG_GAMMAS + k]);
        gaussians[k] = center;
        gaussians[K + k] = inverse_gamma;
        d_end = fmax(d_end, center + REAL(6.2) / inverse_gamma);
    }
    /* Widths of 8 significant bits: index * width is then exact, so that a table's cells are computed at exactly the
     * distances at which they are read. */
    int exponent;
    real h_fine = d_fine / (real)num_fine, h_coarse = frexp((d_end - d_fine) / (real)num_coarse, &exponent);
    h_coarse = ldexp(ceil(h_coarse * REAL(256.0)), exponent - 8);
    geometry[0] = REAL(1.0) / h_fine;
    geometry[1] = h_fine;
    geometry[2] = d_fine;
    geometry[3] = REAL(1.0) / h_coarse;
    geometry[4] = h_coarse;
    geometry[5] = (real)num_fine;
    geometry[6] = (real)(num_fine + num_coarse);
    geometry[7] = 0;
}

/* V points in a turn. basis [num_point_blocks][K][2][V]: R_k and R'_k there. bands [num_point_blocks][2]: both are 0 at
 * all V points for k below the first number and from the second on. (exp2_clamped: a Gaussian is 0 from 6.7 widths on,
 * so that this is half of them and more.) */
__kernel void radial_basis(__global const real *gaussians, __global const real *geometry, __global real *basis,
                           uint points_per_cell, real fraction, uint num_point_blocks, __global uint *bands) {
    for (uint block = get_global_id(0); block < num_point_blocks; block += get_global_size(0)) {
        __global real *own = basis + (size_t)block * K * 2 * V;
        realv d = place_of_points(geometry, block, points_per_cell, fraction);
        realv sum = 0, slope = 0;
        uint band_begin = K, band_end = 0;
        for (uint k = 0; k < K; k++) {
            real inverse_gamma = gaussians[K + k];
            realv u = (d - gaussians[k]) * inverse_gamma, power = REAL(-1.4426950408889634) * u * u;
            if (!any_lane(!(power < (realv)EXP2_IS_ZERO_BELOW))) {
                store_lanes(own + (k * 2) * V, (realv)0);
                store_lanes(own + (k * 2 + 1) * V, (realv)0);
                continue;
            }
            realv g = exp2_clamped(power);
            realv g1 = REAL(-2.0) * inverse_gamma * u * g;
            sum += g;
            slope += g1;
            store_lanes(own + (k * 2) * V, g);
            store_lanes(own + (k * 2 + 1) * V, g1);
            band_begin = min(band_begin, k);
            band_end = k + 1;
        }
        bands[block * 2] = min(band_begin, band_end);
        bands[block * 2 + 1] = band_end;
        realv p = REAL(1.0) / (EPSILON + sum), p1 = -slope * p * p;
        for (uint k = band_begin; k < band_end; k++) {
            realv g = load_lanes(own + (k * 2) * V), g1 = load_lanes(own + (k * 2 + 1) * V);
            store_lanes(own + (k * 2) * V, g * p);
            store_lanes(own + (k * 2 + 1) * V, g1 * p + g * p1);
        }
    }
}

/* STAGES_AT_ONCE stages and V points in a turn, bands as in radial_basis. values [num_stages][2][num_point_blocks*V]:
 * phi and phi' there. */
__kernel void radial_points(__global const real *coefficients, __global const real *basis, __global real *values,
                           uint num_stages, uint num_point_blocks, __global const uint *bands) {
    const uint num_items = num_point_blocks * ((num_stages + STAGES_AT_ONCE - 1) / STAGES_AT_ONCE);
    for (uint item = get_global_id(0); item < num_items; item += get_global_size(0)) {
        uint block = item % num_point_blocks, first = item / num_point_blocks * STAGES_AT_ONCE;
        realv phi0[STAGES_AT_ONCE], phi1[STAGES_AT_ONCE];
        __global const real *weights[STAGES_AT_ONCE];
        UNROLL
        for (uint s = 0; s < STAGES_AT_ONCE; s++) {
            weights[s] = coefficients + min(first + s, num_stages - 1) * (K + 1);
            phi0[s] = (realv)weights[s][K];
            phi1[s] = 0;
        }
        __global const real *own = basis + (size_t)block * K * 2 * V;
        const uint band_end = bands[block * 2 + 1];
        for (uint k = bands[block * 2]; k < band_end; k++) {
            realv r0 = load_lanes(own + (k * 2) * V), r1 = load_lanes(own + (k * 2 + 1) * V);
            UNROLL
            for (uint s = 0; s < STAGES_AT_ONCE; s++) {
                phi0[s] = fma((realv)weights[s][k], r0, phi0[s]);
                phi1[s] = fma((realv)weights[s][k], r1, phi1[s]);
            }
        }
        for (uint s = 0; s < STAGES_AT_ONCE && first + s < num_stages; s++) {
            __global real *out = values + (size_t)(first + s) * 2 * num_point_blocks * V + block * V;
            store_lanes(out, phi0[s]);
            store_lanes(out + num_point_blocks * V, phi1[s]);
        }
    }
}

/* A stage and V cells in a turn. cells [num_stages][STAGE_SIZE]: phi' is the parabola through the slopes at both ends
 * and the middle, phi its integral from the value at the left end. (Hermite pieces through the values at both
 * ends would add the values' rounding error, divided by the width, to the slope.) The last cell is constant. */
__kernel void radial_cells(__global const real *values, __global const real *geometry, __global real *cells,
                           uint num_stages, uint num_cell_blocks, uint num_point_blocks) {
    for (uint item = get_global_id(0); item < num_cell_blocks * num_stages; item += get_global_size(0)) {
        uint block = item % num_cell_blocks, j = item / num_cell_blocks;
        __global const real *phi0 = values + (size_t)j * 2 * num_point_blocks * V, *phi1 = phi0 + num_point_blocks * V;
        uint last = (uint)geometry[6];
        for (uint lane = 0; lane < V; lane++) {
            uint cell = block * V + lane;
            if (cell > last) break;
            real inverse = (real)cell < geometry[5] ? geometry[0] : geometry[3];
            real4 piece = (real4)(phi0[2 * cell], 0, 0, 0);
            if (cell < last) {
                real m0 = phi1[2 * cell], middle = phi1[2 * cell + 1], m1 = phi1[2 * cell + 2];
                piece.s1 = m0;
                piece.s2 = REAL(0.5) * (REAL(4.0) * middle - REAL(3.0) * m0 - m1) * inverse;
                piece.s3 = (REAL(2.0) / REAL(3.0)) * ((m0 - middle) + (m1 - middle)) * inverse * inverse;
            }
            vstore4(piece, cell, cells + (size_t)j * STAGE_SIZE);
        }
    }
}

#if V > 1
/* The numbers of V cells, all of them below the last, as radial_cells has them, from phi at the points of two blocks
 * and the slope at the point after them. */
#ifdef EVENS
static inline void put_cells(realv value_a, realv value_b, realv slope_a, realv slope_b, real slope_after,
                             __global const real *geometry, uint cell, __global real *cells) {
    const realv m0 = EVENS(slope_a, slope_b), middle = ODDS(slope_a, slope_b), value = EVENS(value_a, value_b);
    const realv m1 = NEXT_LANES(m0, (realv)slope_after);
    const realv inverse = select_lanes((realv)geometry[3], (realv)geometry[0],
                                       convert_realv((uintv)cell + lane_index()) < (realv)geometry[5]);
    const realv c2 = REAL(0.5) * (REAL(4.0) * middle - REAL(3.0) * m0 - m1) * inverse;
    const realv c3 = (REAL(2.0) / REAL(3.0)) * ((m0 - middle) + (m1 - middle)) * inverse * inverse;
    const realv even_low = ZIP_LOW(value, c2), even_high = ZIP_HIGH(value, c2);
    const realv odd_low = ZIP_LOW(m0, c3), odd_high = ZIP_HIGH(m0, c3);
    cells += (size_t)cell * 4;
    store_lanes(cells, ZIP_LOW(even_low, odd_low));
    store_lanes(cells + V, ZIP_HIGH(even_low, odd_low));
    store_lanes(cells + 2 * V, ZIP_LOW(even_high, odd_high));
    store_lanes(cells + 3 * V, ZIP_HIGH(even_high, odd_high));
}
#define IS_WHOLE(block, last) (((block) + 1) * V <= (last))
#else
#define put_cells(value_a, value_b, slope_a, slope_b, slope_after, geometry, cell, cells)
#define IS_WHOLE(block, last) 0
#endif

/* Cells of a block with the last cell, or of any where shuffles are missing: values and slopes [2 V + 1] at its
 * points. */
static inline void put_last_cells(const real *values, const real *slopes, __global const real *geometry, uint block,
                                  __global real *cells) {
    const uint last = (uint)geometry[6];
    for (uint lane = 0; lane < V && block * V + lane <= last; lane++) {
        const uint cell = block * V + lane;
        const real inverse = (real)cell < geometry[5] ? geometry[0] : geometry[3];
        real4 piece = (real4)(values[2 * lane], 0, 0, 0);
        if (cell < last) {
            const real m0 = slopes[2 * lane], middle = slopes[2 * lane + 1], m1 = slopes[2 * lane + 2];
            piece.s1 = m0;
            piece.s2 = REAL(0.5) * (REAL(4.0) * middle - REAL(3.0) * m0 - m1) * inverse;
            piece.s3 = (REAL(2.0) / REAL(3.0)) * ((m0 - middle) + (m1 - middle)) * inverse * inverse;
        }
        vstore4(piece, cell, cells);
    }
}

/* radial_points and radial_cells in one, so that no values are written and read again: the same bits. A turn is
 * STAGES_AT_ONCE stages and CELLS_AT_ONCE blocks of V cells, from the last to the first, as a block needs the slope at
 * the next one's first point. */
#define CELLS_AT_ONCE 8
__kernel void radial_pieces(__global const real *coefficients, __global const real *basis, __global real *cells,
                            uint num_stages, uint num_point_blocks, __global const uint *bands,
                            __global const real *geometry, uint num_cell_blocks) {
    const uint num_runs = (num_cell_blocks + CELLS_AT_ONCE - 1) / CELLS_AT_ONCE;
    const uint num_items = num_runs * ((num_stages + STAGES_AT_ONCE - 1) / STAGES_AT_ONCE);
    const uint last = (uint)geometry[6];
    for (uint item = get_global_id(0); item < num_items; item += get_global_size(0)) {
        const uint first = item / num_runs * STAGES_AT_ONCE, begin = item % num_runs * CELLS_AT_ONCE;
        const uint end = min(begin + CELLS_AT_ONCE, num_cell_blocks), after = min(2 * end, num_point_blocks - 1);
        __global const real *weights[STAGES_AT_ONCE];
        real slope_after[STAGES_AT_ONCE];
        UNROLL
        for (uint s = 0; s < STAGES_AT_ONCE; s++) {
            weights[s] = coefficients + min(first + s, num_stages - 1) * (K + 1);
            slope_after[s] = 0;
            for (uint k = bands[after * 2]; k < bands[after * 2 + 1]; k++)
                slope_after[s] = fma(weights[s][k], basis[(((size_t)after * K + k) * 2 + 1) * V], slope_after[s]);
        }
        for (uint block = end; block-- > begin;) {
            const uint a = 2 * block, b = min(a + 1, num_point_blocks - 1);
            realv value_a[STAGES_AT_ONCE], value_b[STAGES_AT_ONCE], slope_a[STAGES_AT_ONCE], slope_b[STAGES_AT_ONCE];
            UNROLL
            for (uint s = 0; s < STAGES_AT_ONCE; s++) {
                value_a[s] = value_b[s] = (realv)weights[s][K];
                slope_a[s] = slope_b[s] = 0;
            }
            const uint band_end = max(bands[a * 2 + 1], bands[b * 2 + 1]);
            for (uint k = min(bands[a * 2], bands[b * 2]); k < band_end; k++) {
                const realv r0a = load_lanes(basis + (((size_t)a * K + k) * 2) * V);
                const realv r1a = load_lanes(basis + (((size_t)a * K + k) * 2 + 1) * V);
                const realv r0b = load_lanes(basis + (((size_t)b * K + k) * 2) * V);
                const realv r1b = load_lanes(basis + (((size_t)b * K + k) * 2 + 1) * V);
                UNROLL
                for (uint s = 0; s < STAGES_AT_ONCE; s++) {
                    const realv weight = (realv)weights[s][k];
                    value_a[s] = fma(weight, r0a, value_a[s]);
                    slope_a[s] = fma(weight, r1a, slope_a[s]);
                    value_b[s] = fma(weight, r0b, value_b[s]);
                    slope_b[s] = fma(weight, r1b, slope_b[s]);
                }
            }
            UNROLL
            for (uint s = 0; s < STAGES_AT_ONCE; s++) {
                if (first + s >= num_stages) continue;
                __global real *out = cells + (size_t)(first + s) * STAGE_SIZE;
                if (IS_WHOLE(block, last)) {
                    put_cells(value_a[s], value_b[s], slope_a[s], slope_b[s], slope_after[s], geometry, block * V, out);
                } else {
                    real values[2 * V + 1], slopes[2 * V + 1];
                    store_lanes(values, value_a[s]);
                    store_lanes(values + V, value_b[s]);
                    store_lanes(slopes, slope_a[s]);
                    store_lanes(slopes + V, slope_b[s]);
                    values[2 * V] = 0;
                    slopes[2 * V] = slope_after[s];
                    put_last_cells(values, slopes, geometry, block, out);
                }
                slope_after[s] = slope_a[s].s0;
            }
        }
    }
}
#endif

/* The difference between the cells and direct summation where a parabola through three slopes has its largest error, at
 * (3 - sqrt 3)/6 of each cell. values: direct sums there (radial_basis with that fraction, radial_points). One
 * work-item for each stage.
 *   errors [num_stages]: largest of  (|d dphi'| + D |dphi|) / (|d phi'| + D |phi| + floor)
 * floor: 1/20 of the stage's largest |d phi'| + D |phi|, so that the error is relative also where the field is small,
 * but not where it vanishes. A NaN gives NaN. */
__kernel void radial_check(__global const real *values, __global const real *geometry, __global const real *cells,
                           __global real *errors, real fraction, uint num_stages, uint num_point_blocks) {
    uint j = get_global_id(0);
    if (j >= num_stages) return;
    __global const real *phi0 = values + (size_t)j * 2 * num_point_blocks * V, *phi1 = phi0 + num_point_blocks * V;
    uint last = (uint)geometry[6];
    real worst = 0, largest = REAL(1e-3);
    for (uint cell = 0; cell < last; cell++) {
        real d = node_distance(geometry, cell);
        largest = fmax(largest, d * fabs(phi1[cell]) + (real)D * fabs(phi0[cell]));
    }
    for (uint cell = 0; cell < last; cell++) {
        real4 piece = vload4(cell, cells + (size_t)j * STAGE_SIZE);
        real s = fraction * ((real)cell < geometry[5] ? geometry[1] : geometry[4]);
        real d = node_distance(geometry, cell) + s;
        real value = fma(fma(fma(piece.s3, s, piece.s2), s, piece.s1), s, piece.s0);
        real slope = fma(fma(REAL(3.0) * piece.s3, s, REAL(2.0) * piece.s2), s, piece.s1);
        real error = d * fabs(slope - phi1[cell]) + (real)D * fabs(value - phi0[cell]);
        error /= d * fabs(phi1[cell]) + (real)D * fabs(phi0[cell]) + REAL(0.05) * largest;
        worst = error <= worst ? worst : error;
    }
    errors[j] = worst;
}
