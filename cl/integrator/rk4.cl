/* RK4 forward: integrator/steps.clh has the equations and the layouts. */
/* One work-item for each block. checkpoints [num_steps][num_blocks][N*D][V] receives x before each step if
 * has_checkpoints. */
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
        for (uint s = 0; s < RK_STAGES; s++) {
            uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
            realv div;
            field_velocity(stages + (size_t)stage * STAGE_SIZE, shared, y, k, &div);
            real weight = RK_WEIGHT(s), reach = h * RK_REACH(s);
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

/* Only the field, at one stage: velocity_blocked [num_blocks][N*D][V], divergence [num_blocks][V]. */
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
