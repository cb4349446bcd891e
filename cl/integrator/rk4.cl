/* Classical Runge-Kutta of order 4 (Kutta 1901) for the state x and log_det together, whole trajectories on the device.
 *   y1 = x,  y2 = x + h/2 k1,  y3 = x + h/2 k2,  y4 = x + h k3,  k_s = v(y_s, t_s)
 *   x <- x + h/6 (k1 + 2 k2 + 2 k3 + k4),  log_det <- log_det + h/6 (div1 + 2 div2 + 2 div3 + div4)
 * Stage times are t_j = j / (2 num_steps), j = 0 ... 2 num_steps; direction +1 goes prior -> data, -1 data -> prior.
 *   stages  [2 num_steps + 1][STAGE_SIZE]   field data at each stage time
 *   x_blocked, log_det: [num_blocks][N*D][V], [num_blocks][V] */
#define STEP_STAGE(num_steps, direction, step, offset) \
    ((direction) > 0 ? 2 * (step) + (offset) : 2 * ((num_steps) - (step)) - (offset))
/* Where stage s of a step lies, in half steps, and its weight. */
#define RK4_OFFSET(s) ((s) == 0 ? 0u : (s) == 3 ? 2u : 1u)
#define RK4_WEIGHT(s) ((s) == 0 || (s) == 3 ? (real)(1.0 / 6.0) : (real)(1.0 / 3.0))
#define RK4_REACH(s) ((s) == 2 ? (real)1.0 : (real)0.5) /* from k_s to y_{s+1}, in steps */

/* One work-item a block. checkpoints [num_steps][num_blocks][N*D][V] receives x before each step if has_checkpoints. */
__kernel void trajectory(__global real *x_blocked, __global real *log_det, __global const real *stages,
                         __global const real *shared, __global real *checkpoints, uint has_checkpoints, uint num_blocks,
                         uint num_steps, int direction, uint step_begin, uint step_end) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D], y[N * D], k[N * D], sum[N * D];
    for (uint c = 0; c < N * D; c++) x[c] = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
    realv total = load_lanes(log_det + (size_t)block * V);
    const real h = (real)direction / (real)num_steps;
    for (uint step = step_begin; step < step_end; step++) {
        if (has_checkpoints) {
            __global real *checkpoint = checkpoints + ((size_t)step * num_blocks + block) * (N * D * V);
            for (uint c = 0; c < N * D; c++) store_lanes(checkpoint + (size_t)c * V, x[c]);
        }
        for (uint c = 0; c < N * D; c++) {
            y[c] = x[c];
            sum[c] = 0;
        }
        realv div_sum = 0;
        for (uint s = 0; s < 4; s++) {
            uint stage = STEP_STAGE(num_steps, direction, step, RK4_OFFSET(s));
            realv div;
            field_velocity(stages + (size_t)stage * STAGE_SIZE, shared, y, k, &div);
            real weight = RK4_WEIGHT(s), reach = h * RK4_REACH(s);
            for (uint c = 0; c < N * D; c++) {
                sum[c] = fma((realv)weight, k[c], sum[c]);
                y[c] = fma((realv)reach, k[c], x[c]);
            }
            div_sum = fma((realv)weight, div, div_sum);
        }
        for (uint c = 0; c < N * D; c++) x[c] = fma((realv)h, sum[c], x[c]);
        total = fma((realv)h, div_sum, total);
    }
    for (uint c = 0; c < N * D; c++) store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, x[c]);
    store_lanes(log_det + (size_t)block * V, total);
}

/* The exact reverse of `trajectory` from step_end - 1 down to step_begin (discretise, then optimise), together with the penalty
 *   penalty * sum over steps |h| ( |k2 - k3|^2 + (div2 - div3)^2 )
 * that keeps training from gaming the integrator. num_partials work-items; item p takes blocks block_begin + p, + num_partials, ... below
 * block_end in order and owns the p-th partial gradient, so sums have one order whatever the number of threads.
 *   adjoint_x [num_blocks][N*D][V]: in: d loss / d x after the last step; out: before the first
 *   adjoint_log_det, weight [num_blocks][V]: d loss / d log_det; a sample's share of the loss (0 in padding lanes)
 *   error [num_blocks][V]: += the sum without penalty factor
 *   grad_stages [num_partials][2 num_steps + 1][GRAD_STAGE_SIZE], grad_shared [num_partials][GRAD_SHARED_SIZE]: += */
__kernel void trajectory_adjoint(__global const real *checkpoints, __global real *adjoint_x_blocked,
                                 __global const real *adjoint_log_det, __global const real *weight,
                                 __global real *error, __global const real *stages, __global const real *shared,
                                 __global real *grad_stages, __global real *grad_shared, real penalty, uint num_blocks,
                                 uint block_begin, uint block_end, uint num_partials, uint num_steps, int direction, uint step_begin, uint step_end) {
    uint partial = get_global_id(0);
    if (partial >= num_partials) return;
    grad_stages += (size_t)partial * (2 * num_steps + 1) * GRAD_STAGE_SIZE;
    grad_shared += (size_t)partial * GRAD_SHARED_SIZE;
    const real h = (real)direction / (real)num_steps;
    realv y[4 * N * D], difference[N * D], k[N * D], adjoint[N * D], total[N * D], from_later[N * D];
    for (uint block = block_begin + partial; block < block_end; block += num_partials) {
        for (uint c = 0; c < N * D; c++) adjoint[c] = load_lanes(adjoint_x_blocked + ((size_t)block * (N * D) + c) * V);
        const realv adjoint_total = load_lanes(adjoint_log_det + (size_t)block * V);
        const realv push = (real)2.0 * penalty * fabs(h) * load_lanes(weight + (size_t)block * V);
        realv error_sum = load_lanes(error + (size_t)block * V);
        for (uint step = step_end; step-- > step_begin;) {
            __global const real *checkpoint = checkpoints + ((size_t)step * num_blocks + block) * (N * D * V);
            for (uint c = 0; c < N * D; c++) y[c] = load_lanes(checkpoint + (size_t)c * V);
            realv div_difference = 0;
            for (uint s = 0; s < 3; s++) {
                uint stage = STEP_STAGE(num_steps, direction, step, RK4_OFFSET(s));
                realv div;
                field_velocity(stages + (size_t)stage * STAGE_SIZE, shared, y + s * (N * D), k, &div);
                real reach = h * RK4_REACH(s);
                for (uint c = 0; c < N * D; c++) y[(s + 1) * (N * D) + c] = fma((realv)reach, k[c], y[c]);
                if (s == 1)
                    for (uint c = 0; c < N * D; c++) difference[c] = k[c];
                if (s == 1) div_difference = div;
                if (s == 2)
                    for (uint c = 0; c < N * D; c++) difference[c] -= k[c];
                if (s == 2) div_difference -= div;
            }
            realv square = div_difference * div_difference;
            for (uint c = 0; c < N * D; c++) {
                square = fma(difference[c], difference[c], square);
                total[c] = adjoint[c];
                from_later[c] = 0;
            }
            error_sum = fma((realv)fabs(h), square, error_sum);
            for (uint s = 4; s-- > 0;) {
                uint stage = STEP_STAGE(num_steps, direction, step, RK4_OFFSET(s));
                real share = h * RK4_WEIGHT(s), reach = s == 3 ? (real)0 : h * RK4_REACH(s);
                realv pull = s == 1 ? push : s == 2 ? -push : (realv)0;
                for (uint c = 0; c < N * D; c++) {
                    k[c] = fma((realv)share, adjoint[c], fma((realv)reach, from_later[c], pull * difference[c]));
                    from_later[c] = 0;
                }
                realv adjoint_div = fma((realv)share, adjoint_total, pull * div_difference);
                field_vjp(stages + (size_t)stage * STAGE_SIZE, shared, grad_stages + (size_t)stage * GRAD_STAGE_SIZE,
                          grad_shared, y + s * (N * D), k, adjoint_div, from_later);
                for (uint c = 0; c < N * D; c++) total[c] += from_later[c];
            }
            for (uint c = 0; c < N * D; c++) adjoint[c] = total[c];
        }
        for (uint c = 0; c < N * D; c++) store_lanes(adjoint_x_blocked + ((size_t)block * (N * D) + c) * V, adjoint[c]);
        store_lanes(error + (size_t)block * V, error_sum);
    }
}

/* The field alone at one stage: velocity_blocked [num_blocks][N*D][V], divergence [num_blocks][V]. */
__kernel void field_at_stage(__global const real *x_blocked, __global real *velocity_blocked, __global real *divergence,
                             __global const real *stages, __global const real *shared, uint num_blocks, uint stage) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv x[N * D], v[N * D], div;
    for (uint c = 0; c < N * D; c++) x[c] = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
    field_velocity(stages + (size_t)stage * STAGE_SIZE, shared, x, v, &div);
    for (uint c = 0; c < N * D; c++) store_lanes(velocity_blocked + ((size_t)block * (N * D) + c) * V, v[c]);
    store_lanes(divergence + (size_t)block * V, div);
}
