/* Whole trajectories with steps that each sample chooses for itself: lanes share the loop, not the step. A lane that is
 * done, or has failed, waits with its state unchanged. One work-item a block; buffers between launches:
 *   state, slope, carry [num_blocks][STATE_SIZE][V]: y; dy/ds at y, for the last stage of a step is the first of the next;
 *                                                    and what rounding left out of y
 *   control [num_blocks][CONTROL_SIZE][V]: below
 * s runs from 0 to 1 along the way; flow time is s, or 1 - s where direction is -1.
 * Step size: Hairer, Norsett and Wanner, Solving ODEs I, section II.4 (start, and the rule after a rejection), and
 * volume II, section IV.2, the PI controller with beta = 0.04:
 *   h <- h min(5, max(1/10, 0.9 err^-(1/5 - 3/4 beta) err_before^beta)) */
#define CONTROL_SIZE 8
#define AT_S 0            /* how far the lane is */
#define AT_S_CARRY 1      /* what rounding left out of s */
#define AT_H 2            /* the step to try next, > 0 */
#define AT_ERROR_BEFORE 3 /* of the last accepted step, at least 1e-4 */
#define AT_ACCEPTED 4     /* counts; a real holds whole numbers up to 2^24 */
#define AT_REJECTED 5
#define AT_STATUS 6
#define AT_RETRY 7 /* 1 after a rejection: the next step must not grow */
#define STATUS_RUNNING 0
#define STATUS_DONE 1
#define STATUS_FAILED 2
#define BETA ((real)0.04)
#define EXPONENT ((real)(0.2 - 0.75 * 0.04))
#define SMALLEST_STEP ((real)2.4e-7) /* a float's rounding of s near 1, four times */

/* Whether the sum of all slopes is a number: infinities and NaN are not. */
inline integerv all_finite(const realv *y, uint count) {
    realv sum = 0;
    for (uint c = 0; c < count; c++) sum += fabs(y[c]);
    return sum < (realv)MAXFLOAT;
}

inline realv flow_time(realv s, real direction) {
    return direction > 0 ? s : (real)1.0 - s;
}

/* First slope and first step: h0 = 0.01 |y|/|f|, then an Euler step of that size shows the second derivative (Hairer
 * et al., II.4). */
__kernel void adaptive_begin(__global const real *state, __global real *slope, __global real *carry,
                             __global real *control, __global const real *params, __global const real *constants,
                             __global const real *adjoint_log_det, real adjoint_scale, real rtol, real atol,
                             uint has_log_det, real direction, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv y[STATE_SIZE], first[STATE_SIZE], f[STATE_SIZE], moved[STATE_SIZE], at[ANY_TIME_SIZE];
    for (uint c = 0; c < STATE_SIZE; c++) {
        y[c] = load_lanes(state + ((size_t)block * STATE_SIZE + c) * V);
        moved[c] = y[c];
    }
    const realv adjoint = adjoint_scale * load_lanes(adjoint_log_det + (size_t)block * V);
    realv h = 0, size = 0, speed = 0, bend = 0;
    integerv is_finite = 0;
    for (uint turn = 0; turn < 2; turn++) {
        any_time_field(params, constants, flow_time(h, direction), at);
        system_slope(constants, at, adjoint, direction, moved, f);
        if (turn == 0) {
            size = system_error(y, y, y, rtol, atol, has_log_det);
            speed = system_error(f, y, y, rtol, atol, has_log_det);
            is_finite = all_finite(f, STATE_SIZE) & all_finite(y, STATE_SIZE);
            h = (real)0.01 * size / fmax(speed, (realv)1e-30f);
            h = fmin(fmax(h, (realv)1e-6f), (realv)0.1f);
            for (uint c = 0; c < STATE_SIZE; c++) {
                first[c] = f[c];
                moved[c] = fma(h, f[c], y[c]);
            }
        } else {
            for (uint c = 0; c < STATE_SIZE; c++) f[c] -= first[c];
            bend = system_error(f, y, moved, rtol, atol, has_log_det) / h;
        }
    }
    realv steepest = fmax(fmax(speed, bend), (realv)1e-15f); /* a NaN of the Euler step counts for nothing */
    realv h1 = exp2((real)0.2 * log2((real)0.01 / steepest));
    h = fmin(fmin((real)100.0 * h, h1), (realv)1);
    __global real *own = control + (size_t)block * (CONTROL_SIZE * V);
    for (uint c = 0; c < CONTROL_SIZE; c++) store_lanes(own + c * V, (realv)0);
    store_lanes(own + AT_H * V, fmax(h, (realv)SMALLEST_STEP));
    store_lanes(own + AT_ERROR_BEFORE * V, (realv)1e-4f);
    store_lanes(own + AT_STATUS * V, select_lanes((realv)STATUS_FAILED, (realv)STATUS_RUNNING, is_finite));
    for (uint c = 0; c < STATE_SIZE; c++) {
        store_lanes(slope + ((size_t)block * STATE_SIZE + c) * V, first[c]);
        store_lanes(carry + ((size_t)block * STATE_SIZE + c) * V, (realv)0);
    }
}

/* Up to max_turns tries of a step, all of size equal_step if that is not 0; blocks block_begin + item. num_running
 * += blocks that still have a running lane. Work-item p owns the p-th partial gradient, grad
 * [num_partials][ANY_TIME_GRAD_SIZE][V]. */
__kernel void adaptive_steps(__global real *state, __global real *slope, __global real *carry, __global real *control,
                             __global const real *params, __global const real *constants,
                             __global const real *adjoint_log_det, __global real *grad, __global uint *num_running,
                             real adjoint_scale, real rtol, real atol, uint has_log_det, real direction,
                             real equal_step, uint max_steps, uint max_turns,
                             uint block_begin, uint block_end) {
    const uint block = block_begin + get_global_id(0);
    if (block >= block_end) return;
    realv y[STATE_SIZE], left_out[STATE_SIZE], next[STATE_SIZE], next_left_out[STATE_SIZE];
    realv k[NUM_STAGES * STATE_SIZE], at[ANY_TIME_SIZE];
    state += (size_t)block * (STATE_SIZE * V);
    slope += (size_t)block * (STATE_SIZE * V);
    carry += (size_t)block * (STATE_SIZE * V);
    control += (size_t)block * (CONTROL_SIZE * V);
    realv status = load_lanes(control + AT_STATUS * V);
    if (!any_lane(status == (realv)STATUS_RUNNING)) return;
    for (uint c = 0; c < STATE_SIZE; c++) {
        y[c] = load_lanes(state + c * V);
        k[c] = load_lanes(slope + c * V);
        left_out[c] = load_lanes(carry + c * V);
    }
    const realv adjoint = adjoint_scale * load_lanes(adjoint_log_det + (size_t)block * V);
    realv s = load_lanes(control + AT_S * V), s_left_out = load_lanes(control + AT_S_CARRY * V);
    realv h_next = load_lanes(control + AT_H * V), error_before = load_lanes(control + AT_ERROR_BEFORE * V);
    realv accepted = load_lanes(control + AT_ACCEPTED * V), rejected = load_lanes(control + AT_REJECTED * V);
    realv retry = load_lanes(control + AT_RETRY * V);
    for (uint turn = 0; turn < max_turns; turn++) {
        const integerv is_running = status == (realv)STATUS_RUNNING;
        if (!any_lane(is_running)) break;
        const realv remaining = ((real)1.0 - s) - s_left_out;
        if (equal_step > 0) h_next = equal_step;
        const integerv is_last = (real)1.01 * h_next >= remaining;
        const realv h = select_lanes(h_next, remaining, is_last);
        realv error[STATE_SIZE];
        for (uint c = 0; c < STATE_SIZE; c++) error[c] = (real)tableau_e[0] * k[c];
        for (uint stage = 1; stage < NUM_STAGES; stage++) {
            __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
            for (uint c = 0; c < STATE_SIZE; c++) {
                realv sum = a[0] * k[c];
                for (uint p = 1; p < stage; p++) sum = fma((realv)a[p], k[p * STATE_SIZE + c], sum);
                /* Compensated (Kahan), for the last stage is the new state. */
                realv step = fma(h, sum, left_out[c]);
                next[c] = y[c] + step;
                next_left_out[c] = step - (next[c] - y[c]);
            }
            /* The last two stages share their time. */
            if (stage + 1 < NUM_STAGES)
                any_time_field(params, constants, flow_time(fma((realv)tableau_c[stage], h, s), direction), at);
            system_slope(constants, at, adjoint, direction, next, k + stage * STATE_SIZE);
            for (uint c = 0; c < STATE_SIZE; c++)
                error[c] = fma((realv)tableau_e[stage], k[stage * STATE_SIZE + c], error[c]);
        }
        for (uint c = 0; c < STATE_SIZE; c++) error[c] *= h;
        realv size = system_error(error, y, next, rtol, atol, has_log_det);
        /* The next step starts from these slopes: they too must be numbers. */
        const integerv is_good = all_finite(k + (NUM_STAGES - 1) * STATE_SIZE, STATE_SIZE) & (size <= (realv)1);
        const integerv is_accepted = is_running & is_good;
        const integerv is_number = size < (realv)MAXFLOAT;
        size = fmax(select_lanes((realv)1e10f, size, is_number), (realv)1e-10f);
#ifdef HAS_QUADRATURE
        if (any_lane(is_accepted)) {
            for (uint stage = 0; stage + 1 < NUM_STAGES; stage++) {
                const real weight = tableau_a[(NUM_STAGES - 1) * (NUM_STAGES - 1) + stage];
                if (weight == 0) continue;
                __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
                realv stage_state[STATE_SIZE];
                for (uint c = 0; c < STATE_SIZE; c++) {
                    realv sum = 0;
                    for (uint p = 0; p < stage; p++) sum = fma((realv)a[p], k[p * STATE_SIZE + c], sum);
                    stage_state[c] = select_lanes(y[c], fma(h, sum, y[c]), is_accepted);
                }
                const realv t = flow_time(fma((realv)tableau_c[stage], h, s), direction);
                any_time_field(params, constants, t, at);
                system_quadrature(params, constants, t, at, adjoint, direction, stage_state,
                                  select_lanes((realv)0, weight * h, is_accepted),
                                  grad + (size_t)get_global_id(0) * (ANY_TIME_GRAD_SIZE * V));
            }
        }
#endif
        for (uint c = 0; c < STATE_SIZE; c++) {
            y[c] = select_lanes(y[c], next[c], is_accepted);
            left_out[c] = select_lanes(left_out[c], next_left_out[c], is_accepted);
            k[c] = select_lanes(k[c], k[(NUM_STAGES - 1) * STATE_SIZE + c], is_accepted);
        }
        const realv log_size = log2(size);
        const realv growth = fmin(fmax((real)0.9 * exp2(fma((realv)BETA, log2(error_before), -EXPONENT * log_size)),
                                       (realv)0.1f), (realv)5);
        const realv shrink = fmin(fmax((real)0.9 * exp2(-EXPONENT * log_size), (realv)0.2f), (realv)0.9f);
        const integerv is_careful = is_accepted & (retry > (realv)0);
        realv wanted = h * select_lanes(shrink, growth, is_accepted);
        wanted = select_lanes(wanted, fmin(wanted, h), is_careful);
        h_next = select_lanes(h_next, wanted, is_running);
        error_before = select_lanes(error_before, fmax(size, (realv)1e-4f), is_accepted);
        retry = select_lanes(select_lanes(retry, (realv)1, is_running), (realv)0, is_accepted);
        const realv advance = h + s_left_out, s_next = s + advance;
        s_left_out = select_lanes(s_left_out, advance - (s_next - s), is_accepted);
        s = select_lanes(s, s_next, is_accepted);
        const realv one_more = select_lanes((realv)0, (realv)1, is_accepted);
        accepted += one_more;
        rejected += select_lanes((realv)0, (realv)1, is_running) - one_more;
        const integerv is_lost =
            is_running & ((h_next < (realv)SMALLEST_STEP) | (accepted + rejected >= (realv)(real)max_steps));
        status = select_lanes(status, (realv)STATUS_FAILED, is_lost);
        status = select_lanes(status, (realv)STATUS_DONE, is_accepted & is_last);
    }
    for (uint c = 0; c < STATE_SIZE; c++) {
        store_lanes(state + c * V, y[c]);
        store_lanes(slope + c * V, k[c]);
        store_lanes(carry + c * V, left_out[c]);
    }
    store_lanes(control + AT_S * V, s);
    store_lanes(control + AT_S_CARRY * V, s_left_out);
    store_lanes(control + AT_H * V, h_next);
    store_lanes(control + AT_ERROR_BEFORE * V, error_before);
    store_lanes(control + AT_ACCEPTED * V, accepted);
    store_lanes(control + AT_REJECTED * V, rejected);
    store_lanes(control + AT_STATUS * V, status);
    store_lanes(control + AT_RETRY * V, retry);
    if (any_lane(status == (realv)STATUS_RUNNING)) atomic_inc(num_running);
}

/* state[first ... first + count) = scale * source [num_blocks][count][V]. */
__kernel void adaptive_put(__global const real *source, __global real *state, uint first, uint count, real scale,
                           uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < count; c++)
        store_lanes(state + ((size_t)block * STATE_SIZE + first + c) * V,
                    scale * load_lanes(source + ((size_t)block * count + c) * V));
}

/* target [num_blocks][count][V] = scale * state[first ... first + count), or plus it; NaN where a sample was not
 * finished. */
__kernel void adaptive_take(__global const real *state, __global const real *control, __global real *target, uint first,
                            uint count, real scale, uint is_added, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const integerv is_done = load_lanes(control + ((size_t)block * CONTROL_SIZE + AT_STATUS) * V) == (realv)STATUS_DONE;
    for (uint c = 0; c < count; c++) {
        __global real *own = target + ((size_t)block * count + c) * V;
        realv value = scale * load_lanes(state + ((size_t)block * STATE_SIZE + first + c) * V);
        if (is_added) value += load_lanes(own);
        store_lanes(own, select_lanes((realv)NAN, value, is_done));
    }
}

/* The field alone at time t: velocity_blocked [num_blocks][N*D][V] (may be x_blocked), divergence [num_blocks][V]. */
__kernel void field_at_time(__global const real *x_blocked, __global real *velocity_blocked, __global real *divergence,
                            __global const real *params, __global const real *constants, real t, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D], v[N * D], at[ANY_TIME_SIZE], div;
    for (uint c = 0; c < N * D; c++) x[c] = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
    any_time_field(params, constants, (realv)t, at);
    any_time_velocity(constants, at, x, v, &div);
    for (uint c = 0; c < N * D; c++) store_lanes(velocity_blocked + ((size_t)block * (N * D) + c) * V, v[c]);
    store_lanes(divergence + (size_t)block * V, div);
}
