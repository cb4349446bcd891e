/* RK4 forward, one sample in each work-group (common/group.clh): integrator/rk4.clh has the scheme, integrator/rk4.cl
 * the same kernels for V samples in each work-item, with the same arguments and arrays. A launch has num_blocks * LANES
 * groups. */
__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
trajectory(__global real *x_blocked, __global real *log_det, __global const real *stages, __global const real *shared,
           __global real *checkpoints, uint has_checkpoints, uint num_blocks, uint num_steps, int direction,
           uint step_begin, uint step_end) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4]; /* real4: tables are copied whole */
    __local real sm_y[N * D];
    const uint sample = get_group_id(0);
    real x[OWNED], y[OWNED], k[OWNED], sum[OWNED];
    for (uint o = 0; o < OWNED; o++) x[o] = COMPONENT(o) < N * D ? x_blocked[AT_SAMPLE(sample, COMPONENT(o))] : 0;
    real total = get_local_id(0) == 0 ? log_det[sample] : 0; /* that of the first work-item is used */
    const real h = (real)direction / (real)num_steps;
    uint at_hand = UINT_MAX;
    for (uint step = step_begin; step < step_end; step++) {
        __global real *checkpoint = checkpoints + (size_t)step * num_blocks * (N * D * LANES);
        UNROLL
        for (uint o = 0; o < OWNED; o++) {
            if (has_checkpoints && COMPONENT(o) < N * D) checkpoint[AT_SAMPLE(sample, COMPONENT(o))] = x[o];
            y[o] = x[o];
            sum[o] = 0;
        }
        real div_sum = 0;
        for (uint s = 0; s < RK_STAGES; s++) {
            const uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
            __global const real *of_stage = stages + (size_t)stage * STAGE_SIZE;
            /* The condition is the same for all work-items of a group. */
            if (stage != at_hand) group_field_load(of_stage, (__local real *)sm_field);
            at_hand = stage;
            share_owned(sm_y, y);
            const real div = group_field_velocity(of_stage, shared, (__local real *)sm_field, sm_y, k);
            const real weight = RK_WEIGHT(s), reach = h * RK_REACH(s);
            UNROLL
            for (uint o = 0; o < OWNED; o++) {
                sum[o] = fma(weight, k[o], sum[o]);
                y[o] = fma(reach, k[o], x[o]);
            }
            div_sum = fma(weight, div, div_sum);
        }
        UNROLL
        for (uint o = 0; o < OWNED; o++) x[o] = fma(h, sum[o], x[o]);
        total = fma(h, div_sum, total);
    }
    for (uint o = 0; o < OWNED; o++)
        if (COMPONENT(o) < N * D) x_blocked[AT_SAMPLE(sample, COMPONENT(o))] = x[o];
    if (get_local_id(0) == 0) log_det[sample] = total;
}

/* Only the field, at one stage; velocity_blocked may be x_blocked. */
__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
field_at_stage(__global const real *x_blocked, __global real *velocity_blocked, __global real *divergence,
               __global const real *stages, __global const real *shared, uint num_blocks, uint stage) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4];
    __local real sm_x[N * D];
    const uint sample = get_group_id(0);
    __global const real *of_stage = stages + (size_t)stage * STAGE_SIZE;
    real x[OWNED], velocity[OWNED];
    for (uint o = 0; o < OWNED; o++) x[o] = COMPONENT(o) < N * D ? x_blocked[AT_SAMPLE(sample, COMPONENT(o))] : 0;
    group_field_load(of_stage, (__local real *)sm_field);
    share_owned(sm_x, x);
    const real div = group_field_velocity(of_stage, shared, (__local real *)sm_field, sm_x, velocity);
    for (uint o = 0; o < OWNED; o++)
        if (COMPONENT(o) < N * D) velocity_blocked[AT_SAMPLE(sample, COMPONENT(o))] = velocity[o];
    if (get_local_id(0) == 0) divergence[sample] = div;
}
