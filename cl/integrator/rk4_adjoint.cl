/* RK4 in reverse: integrator/steps.clh has the equations and the layouts. It is a program of its own, so that sampling
 * does not need to build it. */
/* The exact reverse of `trajectory` from step_end - 1 down to step_begin (discretise, then optimise), together with the
 * penalty
 *   penalty * sum over steps |h| ( |k_a - k_b|^2 + (div_a - div_b)^2 ),  a, b: the pair of RK_PAIR
 * which keeps training from fields with a large integration error. num_partials work-items; item p takes blocks
 * block_begin + p, + num_partials, ... below block_end in order and owns the p-th partial gradient, so that the order
 * of sums does not depend on the number of threads.
 *   adjoint_x [num_blocks][N*D][V]: input: d loss / d x after the last step; output: before the first step
 *   adjoint_log_det, weight [num_blocks][V]: d loss / d log_det; a sample's share of the loss (0 in padding lanes)
 *   error [num_blocks][V]: += the sum above without the factor penalty
 *   grad_stages [num_partials][2 num_steps + 1][GRAD_STAGE_SIZE], grad_shared [num_partials][GRAD_SHARED_SIZE]: += */
__kernel void trajectory_adjoint(__global const real *checkpoints, __global real *adjoint_x_blocked,
                                 __global const real *adjoint_log_det, __global const real *weight,
                                 __global real *error, __global const real *stages, __global const real *shared,
                                 __global real *grad_stages, __global real *grad_shared, real penalty, uint num_blocks,
                                 uint block_begin, uint block_end, uint num_partials, uint num_steps,
                                 int direction, uint step_begin, uint step_end) {
    uint partial = get_global_id(0);
    if (partial >= num_partials) return;
    grad_stages += (size_t)partial * (2 * num_steps + 1) * GRAD_STAGE_SIZE;
    grad_shared += (size_t)partial * GRAD_SHARED_SIZE;
    const real h = (real)direction / (real)num_steps;
    realv y[RK_STAGES * N * D], difference[N * D], k[N * D], adjoint[N * D], total[N * D], from_later[N * D];
    for (uint block = block_begin + partial; block < block_end; block += num_partials) {
        for (uint c = 0; c < N * D; c++) adjoint[c] = load_lanes(adjoint_x_blocked + ((size_t)block * (N * D) + c) * V);
        const realv adjoint_total = load_lanes(adjoint_log_det + (size_t)block * V);
        const realv push = REAL(2.0) * penalty * fabs(h) * load_lanes(weight + (size_t)block * V);
        realv error_sum = load_lanes(error + (size_t)block * V);
        for (uint step = step_end; step-- > step_begin;) {
            __global const real *checkpoint = checkpoints + ((size_t)step * num_blocks + block) * (N * D * V);
            for (uint c = 0; c < N * D; c++) y[c] = load_lanes(checkpoint + (size_t)c * V);
            realv div_difference = 0;
            for (uint c = 0; c < N * D; c++) difference[c] = 0; /* for schemes without a pair */
            UNROLL_STATE
            for (uint s = 0; s + 1 < RK_STAGES; s++) {
                uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
                realv div;
                field_velocity(stages + (size_t)stage * STAGE_SIZE, shared, y + s * (N * D), k, &div);
                real reach = h * RK_REACH(s);
                for (uint c = 0; c < N * D; c++) y[(s + 1) * (N * D) + c] = fma((realv)reach, k[c], y[c]);
                if (RK_PAIR(s) > 0)
                    for (uint c = 0; c < N * D; c++) difference[c] = k[c];
                if (RK_PAIR(s) > 0) div_difference = div;
                if (RK_PAIR(s) < 0)
                    for (uint c = 0; c < N * D; c++) difference[c] -= k[c];
                if (RK_PAIR(s) < 0) div_difference -= div;
            }
            realv square = div_difference * div_difference;
            for (uint c = 0; c < N * D; c++) {
                square = fma(difference[c], difference[c], square);
                total[c] = adjoint[c];
                from_later[c] = 0;
            }
            error_sum = fma((realv)fabs(h), square, error_sum);
            UNROLL_STATE
            for (uint s = RK_STAGES; s-- > 0;) {
                uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
                real share = h * RK_WEIGHT(s), reach = s + 1 == RK_STAGES ? (real)0 : h * RK_REACH(s);
                realv pull = RK_PAIR(s) > 0 ? push : RK_PAIR(s) < 0 ? -push : (realv)0;
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
