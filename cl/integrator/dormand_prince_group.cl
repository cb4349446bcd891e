/* Dormand-Prince 5(4) with one sample in each work-group (common/group.clh): the group chooses the sample's steps.
 * integrator/dormand_prince.cl has the same kernels with V samples in each work-item, with the same arguments and
 * arrays (where V is there, LANES is here), and the equations. Work-items own slots of the state: the components x_c
 * that they own, and what dormand_prince_forward.clh or dormand_prince_adjoint.clh adds to these. All work-items of a
 * group compute the same step control from the same sums, and run the same loop turns. */

/* The sums of all work-items, in the order of sum_over_group, of the parts of a norm and of `size`: 1 if size is
 * finite. */
static inline integer group_norm(__local real4 *sm_sums, system_sums *sums, real size) {
    const real4 first = sum_over_group4(sm_sums, (real4)(sums->x.error, sums->x.before, sums->x.after, size));
    sums->x.error = first.s0;
    sums->x.before = first.s1;
    sums->x.after = first.s2;
    system_sum_rest(sm_sums, sums);
    return first.s3 < (real)MAXFLOAT;
}

/* The norm of measured [SLOTS] in units of the tolerance; *is_finite_out: no number of values [SLOTS] is infinite or
 * NaN. */
static inline real group_error(__local real4 *sm_sums, const real *measured, const real *before, const real *after,
                               const real *values, real rtol, real atol, uint has_log_det, integer *is_finite_out) {
    system_sums sums;
    real size = 0;
    system_clear(&sums);
    UNROLL
    for (uint o = 0; o < SLOTS; o++) {
        if (SLOT(o) < STATE_SIZE) {
            system_add(&sums, FIRST_OF_SLOT(o), measured[o], before[o], after[o]);
            size += fabs(values[o]);
        }
    }
    *is_finite_out = group_norm(sm_sums, &sums, size);
    return system_size(&sums, rtol, atol, has_log_det);
}

static inline void load_slots(__global const real *state, uint sample, real *y) {
    UNROLL
    for (uint o = 0; o < SLOTS; o++) y[o] = SLOT(o) < STATE_SIZE ? state[BLOCKED(sample, STATE_SIZE, SLOT(o))] : 0;
}

static inline void store_slots(__global real *state, uint sample, const real *y) {
    UNROLL
    for (uint o = 0; o < SLOTS; o++)
        if (SLOT(o) < STATE_SIZE) state[BLOCKED(sample, STATE_SIZE, SLOT(o))] = y[o];
}

__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
adaptive_begin(__global const real *state, __global real *slope, __global real *carry, __global real *control,
               __global const real *params, __global const real *constants, __global const real *adjoint_log_det,
               real adjoint_scale, real rtol, real atol, uint has_log_det, real direction, uint num_blocks) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4], sm_sums[GROUP_SIZE];
    __local real sm_state[SHARED_SIZE];
    const uint sample = get_group_id(0);
    const real adjoint = adjoint_scale * adjoint_log_det[sample];
    real y[SLOTS], first[SLOTS], f[SLOTS], moved[SLOTS], zero[SLOTS];
    integer is_finite, is_start_finite, is_any;
    load_slots(state, sample, y);
    UNROLL
    for (uint o = 0; o < SLOTS; o++) zero[o] = 0;
    group_any_time_load(params, constants, flow_time(0, direction), (__local real *)sm_field);
    system_group_slope(constants, (__local real *)sm_field, sm_state, adjoint, direction, y, first);
    const real speed = group_error(sm_sums, first, y, y, first, rtol, atol, has_log_det, &is_finite);
    const real size = group_error(sm_sums, y, y, y, y, rtol, atol, has_log_det, &is_start_finite);
    const real h = first_probe(size, speed);
    UNROLL
    for (uint o = 0; o < SLOTS; o++) moved[o] = fma(h, first[o], y[o]);
    group_any_time_load(params, constants, flow_time(h, direction), (__local real *)sm_field);
    system_group_slope(constants, (__local real *)sm_field, sm_state, adjoint, direction, moved, f);
    UNROLL
    for (uint o = 0; o < SLOTS; o++) f[o] -= first[o];
    const real bend = group_error(sm_sums, f, y, moved, f, rtol, atol, has_log_det, &is_any) / h;
    step_control start;
    first_control(h, speed, bend, is_finite & is_start_finite, &start);
    store_slots(slope, sample, first);
    store_slots(carry, sample, zero);
    if (get_local_id(0) == 0) store_control(start, control + BLOCKED(sample, CONTROL_SIZE, 0));
}

/* The slope of stage `row` in a work-item's slot. A row ends with a 0, which slots without a component read: with a
 * condition instead, compilers may read a neighbour's number, and checkers of races complain. */
#define OWN_SLOPE(row, o) sm_k[(row) * (STATE_SIZE + 1) + SLOT(o)]

/* Group i has sample block_begin LANES + i, and owns the i-th sums of the gradient: grad [num_partials]
 * [ANY_TIME_GRAD_SIZE][LANES]. num_running += number of samples that are not done. */
__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
adaptive_steps(__global real *state, __global real *slope, __global real *carry, __global real *control,
               __global const real *params, __global const real *constants, __global const real *adjoint_log_det,
               __global real *grad, __global uint *num_running, real adjoint_scale, real rtol, real atol,
               uint has_log_det, real direction, real equal_step, uint max_steps, uint max_turns, uint block_begin,
               uint block_end) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4], sm_sums[GROUP_SIZE];
    /* Of the slopes each work-item reads its own slots only. */
    __local real sm_state[SHARED_SIZE], sm_k[NUM_STAGES * (STATE_SIZE + 1)];
    const uint sample = block_begin * LANES + get_group_id(0);
    const real adjoint = adjoint_scale * adjoint_log_det[sample];
    real y[SLOTS], left_out[SLOTS], next[SLOTS], next_left_out[SLOTS], error[SLOTS], k[SLOTS];
    step_control now;
    load_control(control + BLOCKED(sample, CONTROL_SIZE, 0), &now);
    load_slots(state, sample, y);
    load_slots(carry, sample, left_out);
    load_slots(slope, sample, k);
    if (get_local_id(0) == 0)
        for (uint row = 0; row < NUM_STAGES; row++) sm_k[row * (STATE_SIZE + 1) + STATE_SIZE] = 0;
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE); /* all have loaded the control */
    for (uint turn = 0; turn < max_turns && now.status == (real)STATUS_RUNNING; turn++) {
        const real s = now.s;
        integer is_last, is_finite;
        const real h = step_size(now, equal_step, &is_last);
        UNROLL
        for (uint o = 0; o < SLOTS; o++) {
            if (SLOT(o) < STATE_SIZE) OWN_SLOPE(0, o) = k[o];
            error[o] = (real)tableau_e[0] * k[o];
        }
        uint stage = 1;
        do { /* not `for`, which might have no turn: the state before it would then have to be kept too */
            __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
            UNROLL
            for (uint o = 0; o < SLOTS; o++) next[o] = a[0] * OWN_SLOPE(0, o);
            for (uint p = 1; p < stage; p++) {
                UNROLL
                for (uint o = 0; o < SLOTS; o++) next[o] = fma((real)a[p], OWN_SLOPE(p, o), next[o]);
            }
            UNROLL
            for (uint o = 0; o < SLOTS; o++) {
                /* A compensated sum (Kahan), as the last stage is the new state. */
                const real step = fma(h, next[o], left_out[o]);
                next[o] = y[o] + step;
                next_left_out[o] = step - (next[o] - y[o]);
            }
            group_any_time_load(params, constants, flow_time(fma((real)tableau_c[stage], h, s), direction),
                                (__local real *)sm_field);
            system_group_slope(constants, (__local real *)sm_field, sm_state, adjoint, direction, next, k);
            UNROLL
            for (uint o = 0; o < SLOTS; o++) {
                if (SLOT(o) < STATE_SIZE) OWN_SLOPE(stage, o) = k[o];
                error[o] = fma((real)tableau_e[stage], k[o], error[o]);
            }
        } while (++stage < ROLLED(NUM_STAGES));
        UNROLL
        for (uint o = 0; o < SLOTS; o++) error[o] *= h;
        const real size = group_error(sm_sums, error, y, next, k, rtol, atol, has_log_det, &is_finite);
        const integer is_accepted = step_decide(&now, h, is_last, size, is_finite, max_steps);
#ifdef HAS_QUADRATURE
        /* The second stage has the weight 0. (A `continue` instead, before the loop's barriers, gave wrong gradients in
         * groups of 32 on PoCL 3.1.) */
        for (uint n = 0; n < (is_accepted ? ROLLED(NUM_STAGES - 2) : 0); n++) {
            stage = n + (n > 0);
            const real weight = tableau_a[(NUM_STAGES - 1) * (NUM_STAGES - 1) + stage];
            __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
            real stage_state[SLOTS];
            UNROLL
            for (uint o = 0; o < SLOTS; o++) stage_state[o] = 0;
            for (uint p = 0; p < stage; p++) {
                UNROLL
                for (uint o = 0; o < SLOTS; o++) stage_state[o] = fma((real)a[p], OWN_SLOPE(p, o), stage_state[o]);
            }
            UNROLL
            for (uint o = 0; o < SLOTS; o++) stage_state[o] = fma(h, stage_state[o], y[o]);
            group_any_time_load(params, constants, flow_time(fma((real)tableau_c[stage], h, s), direction),
                                (__local real *)sm_field);
            system_group_quadrature(params, constants, (__local real *)sm_field, sm_state, adjoint, direction,
                                    stage_state, weight * h, grad + BLOCKED(get_group_id(0), ANY_TIME_GRAD_SIZE, 0));
        }
#endif
        UNROLL
        for (uint o = 0; o < SLOTS; o++) {
            /* select, as compilers turn y ? a : b into a choice between two places of memory */
            y[o] = select(y[o], next[o], is_accepted);
            left_out[o] = select(left_out[o], next_left_out[o], is_accepted);
            k[o] = select(OWN_SLOPE(0, o), k[o], is_accepted);
        }
    }
    store_slots(state, sample, y);
    store_slots(carry, sample, left_out);
    store_slots(slope, sample, k);
    if (get_local_id(0) == 0) {
        store_control(now, control + BLOCKED(sample, CONTROL_SIZE, 0));
        if (now.status == (real)STATUS_RUNNING) atomic_inc(num_running);
    }
}

/* The field alone at time t: velocity_blocked [num_blocks][N*D][LANES] (may be x_blocked), divergence
 * [num_blocks][LANES]. */
__kernel __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1))) void
field_at_time(__global const real *x_blocked, __global real *velocity_blocked, __global real *divergence,
              __global const real *params, __global const real *constants, real t, uint num_blocks) {
    __local real4 sm_field[(FIELD_LOCAL_SIZE + 3) / 4];
    __local real sm_x[N * D];
    const uint sample = get_group_id(0);
    real x[OWNED], velocity[OWNED];
    for (uint o = 0; o < OWNED; o++) x[o] = COMPONENT(o) < N * D ? x_blocked[AT_SAMPLE(sample, COMPONENT(o))] : 0;
    group_any_time_load(params, constants, t, (__local real *)sm_field);
    share_owned(sm_x, x);
    const real div = group_any_time_velocity(constants, (__local real *)sm_field, sm_x, velocity);
    for (uint o = 0; o < OWNED; o++)
        if (COMPONENT(o) < N * D) velocity_blocked[AT_SAMPLE(sample, COMPONENT(o))] = velocity[o];
    if (get_local_id(0) == 0) divergence[sample] = div;
}
