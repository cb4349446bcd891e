/* Whole trajectories with steps of each sample's own: lanes have the loop in common, but not the step. A lane that is
 * done or has failed keeps its state unchanged. One work-item for each block; buffers that stay between launches:
 *   state, slope, carry [num_blocks][STATE_SIZE][V]: y; dy/ds at y (the last stage of a step is the first of the next);
 *                                                    the rounding error of y, for compensated sums
 *   control [num_blocks][CONTROL_SIZE][V]: see dormand_prince.clh
 * s goes from 0 to 1 along the trajectory; flow time is s, or 1 - s if direction is -1. The step size is that of
 * Hairer, Norsett and Wanner, Solving ODEs I, section II.4 (start, and the rule after a rejection), and volume II,
 * section IV.2: the PI controller with beta = 0.04,
 *   h <- h min(5, max(1/10, 0.9 err^-(1/5 - 3/4 beta) err_before^beta)) */
static inline realv system_error(const realv *error, const realv *before, const realv *after, real rtol, real atol,
                                 uint has_log_det) {
    system_sums sums;
    system_clear(&sums);
    for (uint c = 0; c < STATE_SIZE; c++) system_add(&sums, c, error[c], before[c], after[c]);
    return system_size(&sums, rtol, atol, has_log_det);
}

/* First slope and first step: h0 = 0.01 |y|/|f|; an Euler step of that size estimates the second derivative (Hairer et
 * al., II.4). */
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
    realv h = 0, speed = 0, bend = 0;
    integerv is_finite = 0;
    for (uint turn = 0; turn < 2; turn++) {
        any_time_field(params, constants, flow_time(h, direction), at);
        system_slope(constants, at, adjoint, direction, moved, f);
        if (turn == 0) {
            speed = system_error(f, y, y, rtol, atol, has_log_det);
            is_finite = all_finite(f, STATE_SIZE) & all_finite(y, STATE_SIZE);
            h = first_probe(system_error(y, y, y, rtol, atol, has_log_det), speed);
            for (uint c = 0; c < STATE_SIZE; c++) {
                first[c] = f[c];
                moved[c] = fma(h, f[c], y[c]);
            }
        } else {
            for (uint c = 0; c < STATE_SIZE; c++) f[c] -= first[c];
            bend = system_error(f, y, moved, rtol, atol, has_log_det) / h;
        }
    }
    step_control start;
    first_control(h, speed, bend, is_finite, &start);
    store_control(start, control + (size_t)block * (CONTROL_SIZE * V));
    for (uint c = 0; c < STATE_SIZE; c++) {
        store_lanes(slope + ((size_t)block * STATE_SIZE + c) * V, first[c]);
        store_lanes(carry + ((size_t)block * STATE_SIZE + c) * V, (realv)0);
    }
}

/* Tries at most max_turns steps, all of size equal_step if that is not 0; work-item i has block block_begin + i.
 * num_running += number of blocks with a lane that is not done. Work-item p owns the p-th partial gradient, grad
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
    step_control now;
    load_control(control, &now);
    if (!any_lane(now.status == (realv)STATUS_RUNNING)) return;
    for (uint c = 0; c < STATE_SIZE; c++) {
        y[c] = load_lanes(state + c * V);
        k[c] = load_lanes(slope + c * V);
        left_out[c] = load_lanes(carry + c * V);
    }
    const realv adjoint = adjoint_scale * load_lanes(adjoint_log_det + (size_t)block * V);
    for (uint turn = 0; turn < max_turns; turn++) {
        if (!any_lane(now.status == (realv)STATUS_RUNNING)) break;
        const realv s = now.s;
        integerv is_last;
        const realv h = step_size(now, equal_step, &is_last);
        realv error[STATE_SIZE];
        for (uint c = 0; c < STATE_SIZE; c++) error[c] = (real)tableau_e[0] * k[c];
        for (uint stage = 1; stage < NUM_STAGES; stage++) {
            __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
            for (uint c = 0; c < STATE_SIZE; c++) {
                realv sum = a[0] * k[c];
                for (uint p = 1; p < stage; p++) sum = fma((realv)a[p], k[p * STATE_SIZE + c], sum);
                /* A compensated sum (Kahan), as the last stage is the new state. */
                realv step = fma(h, sum, left_out[c]);
                next[c] = y[c] + step;
                next_left_out[c] = step - (next[c] - y[c]);
            }
            /* The last two stages have the same time. */
            if (stage + 1 < NUM_STAGES)
                any_time_field(params, constants, flow_time(fma((realv)tableau_c[stage], h, s), direction), at);
            system_slope(constants, at, adjoint, direction, next, k + stage * STATE_SIZE);
            for (uint c = 0; c < STATE_SIZE; c++)
                error[c] = fma((realv)tableau_e[stage], k[stage * STATE_SIZE + c], error[c]);
        }
        for (uint c = 0; c < STATE_SIZE; c++) error[c] *= h;
        const integerv is_accepted =
            step_decide(&now, h, is_last, system_error(error, y, next, rtol, atol, has_log_det),
                        all_finite(k + (NUM_STAGES - 1) * STATE_SIZE, STATE_SIZE), max_steps);
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
    }
    for (uint c = 0; c < STATE_SIZE; c++) {
        store_lanes(state + c * V, y[c]);
        store_lanes(slope + c * V, k[c]);
        store_lanes(carry + c * V, left_out[c]);
    }
    store_control(now, control);
    if (any_lane(now.status == (realv)STATUS_RUNNING)) atomic_inc(num_running);
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
