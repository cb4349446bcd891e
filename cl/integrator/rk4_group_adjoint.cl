/* RK4 in reverse, one sample in each work-group: integrator/rk4_adjoint.cl has the equations and the arrays.
 * num_partials groups; group p takes samples sample_begin + p, + num_partials, ... below sample_end in order and owns
 * the p-th partial gradient. */
__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
trajectory_adjoint(__global const real *checkpoints, __global real *adjoint_x_blocked,
                   __global const real *adjoint_log_det, __global const real *weight, __global real *error,
                   __global const real *stages, __global const real *shared, __global real *grad_stages,
                   __global real *grad_shared, real penalty, uint num_blocks, uint sample_begin, uint sample_end,
                   uint num_partials, uint num_steps, int direction, uint step_begin, uint step_end) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4];
    __local real sm_y[4 * N * D], sm_adjoint_velocity[N * D], sm_sums[GROUP_SIZE]; /* sm_y: of all stages of a step */
    const uint partial = get_group_id(0);
    grad_stages += (size_t)partial * (2 * num_steps + 1) * GRAD_STAGE_SIZE;
    grad_shared += (size_t)partial * GRAD_SHARED_SIZE;
    const real h = (real)direction / (real)num_steps;
    real y[OWNED], next[OWNED], difference[OWNED], k[OWNED], adjoint[OWNED], total[OWNED], from_later[OWNED];
    uint at_hand = UINT_MAX;
    for (uint sample = sample_begin + partial; sample < sample_end; sample += num_partials) {
        for (uint o = 0; o < OWNED; o++)
            adjoint[o] = COMPONENT(o) < N * D ? adjoint_x_blocked[AT_SAMPLE(sample, COMPONENT(o))] : 0;
        const real adjoint_total = adjoint_log_det[sample];
        const real push = REAL(2.0) * penalty * fabs(h) * weight[sample];
        real error_sum = get_local_id(0) == 0 ? error[sample] : 0; /* that of the first work-item is used */
        for (uint step = step_end; step-- > step_begin;) {
            __global const real *checkpoint = checkpoints + (size_t)step * num_blocks * (N * D * LANES);
            for (uint o = 0; o < OWNED; o++)
                y[o] = COMPONENT(o) < N * D ? checkpoint[AT_SAMPLE(sample, COMPONENT(o))] : 0;
            share_owned(sm_y, y);
            real div_difference = 0;
            for (uint o = 0; o < OWNED; o++) difference[o] = 0; /* for schemes without a pair */
            for (uint s = 0; s + 1 < RK_STAGES; s++) {
                const uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
                __global const real *of_stage = stages + (size_t)stage * STAGE_SIZE;
                if (stage != at_hand) group_field_load(of_stage, (__local real *)sm_field);
                at_hand = stage;
                const real div =
                    group_field_velocity(of_stage, shared, (__local real *)sm_field, sm_y + s * (N * D), k);
                const real reach = h * RK_REACH(s);
                UNROLL
                for (uint o = 0; o < OWNED; o++) {
                    next[o] = fma(reach, k[o], y[o]);
                    if (RK_PAIR(s) > 0) difference[o] = k[o];
                    if (RK_PAIR(s) < 0) difference[o] -= k[o];
                }
                share_owned(sm_y + (s + 1) * (N * D), next);
                if (RK_PAIR(s) > 0) div_difference = div;
                if (RK_PAIR(s) < 0) div_difference -= div;
            }
            real square = 0;
            UNROLL
            for (uint o = 0; o < OWNED; o++) {
                square = fma(difference[o], difference[o], square);
                total[o] = adjoint[o];
                from_later[o] = 0;
            }
            square = fma(div_difference, div_difference, sum_over_group(sm_sums, square));
            error_sum = fma(fabs(h), square, error_sum);
            for (uint s = RK_STAGES; s-- > 0;) {
                const uint stage = STEP_STAGE(num_steps, direction, step, RK_OFFSET(s));
                __global const real *of_stage = stages + (size_t)stage * STAGE_SIZE;
                const real share = h * RK_WEIGHT(s), reach = s + 1 == RK_STAGES ? (real)0 : h * RK_REACH(s);
                const real pull = RK_PAIR(s) > 0 ? push : RK_PAIR(s) < 0 ? -push : (real)0;
                UNROLL
                for (uint o = 0; o < OWNED; o++)
                    k[o] = fma(share, adjoint[o], fma(reach, from_later[o], pull * difference[o]));
                if (stage != at_hand) group_field_load(of_stage, (__local real *)sm_field);
                at_hand = stage;
                share_owned(sm_adjoint_velocity, k);
                group_field_vjp(of_stage, shared, grad_stages + (size_t)stage * GRAD_STAGE_SIZE, grad_shared,
                                (__local real *)sm_field, sm_y + s * (N * D), sm_adjoint_velocity,
                                fma(share, adjoint_total, pull * div_difference), from_later);
                UNROLL
                for (uint o = 0; o < OWNED; o++) total[o] += from_later[o];
            }
            for (uint o = 0; o < OWNED; o++) adjoint[o] = total[o];
        }
        for (uint o = 0; o < OWNED; o++)
            if (COMPONENT(o) < N * D) adjoint_x_blocked[AT_SAMPLE(sample, COMPONENT(o))] = adjoint[o];
        if (get_local_id(0) == 0) error[sample] = error_sum;
    }
}
