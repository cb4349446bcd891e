/* From the parameters to the constants of radial_any_time.clh, and from its sums to the gradient of the parameters.
 * radial_params.clh explains the names. */

/* Writes constants [2K + 3M], see radial_any_time.clh. K + M work-items. */
__kernel void any_time_constants(__global const real *params, __global real *constants) {
    uint item = get_global_id(0);
    if (item < K) {
        constants[item] = params[AT_CENTERS + item];
        constants[K + item] = exp(-params[AT_LOG_GAMMAS + item]);
    } else if (item < K + M) {
        uint m = item - K;
        real sum = params[AT_BIAS + m];
        for (uint k = 0; k < K; k++) {
            real importance = params[AT_IMPORTANCE + k];
            sum = fma(importance * importance, params[AT_WEIGHTS + k * M + m], sum);
        }
        constants[2 * K + m] = params[AT_TIME_CENTERS + m];
        constants[2 * K + M + m] = exp(-params[AT_TIME_LOG_GAMMAS + m]);
        constants[2 * K + 2 * M + m] = sum;
    }
}

/* gradient [AT_CENTERS] from sums [ANY_TIME_GRAD_SIZE][V], in which all partial sums are added up, times scale. B
 * contains c_k^2 W_km: so the gradient by B contributes to those by W_km and c_k. K + M work-items. */
__kernel void any_time_contract(__global const real *params, __global const real *sums, __global real *gradient,
                                real scale) {
    uint item = get_global_id(0);
    if (item < K) {
        real importance = params[AT_IMPORTANCE + item], grad_square = 0;
        for (uint m = 0; m < M; m++) {
            real of_bias = sum_lanes(load_lanes(sums + (K * M + m) * V));
            real of_weight = sum_lanes(load_lanes(sums + (item * M + m) * V));
            gradient[AT_WEIGHTS + item * M + m] = scale * fma(importance * importance, of_bias, of_weight);
            grad_square = fma(of_bias, params[AT_WEIGHTS + item * M + m], grad_square);
        }
        gradient[AT_IMPORTANCE + item] = scale * REAL(2.0) * importance * grad_square;
        gradient[AT_LOG_GAMMAS + item] = scale * sum_lanes(load_lanes(sums + (K * M + M + item) * V));
    } else if (item < K + M) {
        uint m = item - K;
        gradient[AT_BIAS + m] = scale * sum_lanes(load_lanes(sums + (K * M + m) * V));
        gradient[AT_TIME_LOG_GAMMAS + m] = scale * sum_lanes(load_lanes(sums + (K * M + M + K + m) * V));
    }
}
