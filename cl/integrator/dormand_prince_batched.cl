/* dormand_prince.cl for fields that are evaluated for a batch at a time: the same operations, as kernels between the
 * evaluations, which the host calls. One work-item for each block. Buffers:
 *   state, carry, next, next_carry [num_blocks][STATE_SIZE][V]; control [num_blocks][CONTROL_SIZE][V]
 *   k [num_blocks][NUM_STAGES][STATE_SIZE][V]: slopes; that of the first stage is kept for the next step
 *   x [num_blocks][N*D][V], times [num_blocks][V]: position and time of the field's next evaluation
 *   weight [num_blocks][V]: 1 if the step was accepted, else 0 */
#define OWN(buffer, size) ((buffer) + (size_t)block * ((size) * V))

#define SLOPE(p, c) (OWN(k, NUM_STAGES * STATE_SIZE) + ((p) * STATE_SIZE + (c)) * V)

/* Writes number c of the field's arguments: x, or for the adjoint the adjoint of the velocity. The kernels here keep no
 * state in registers, but read it again. */
static inline void put_number(uint c, realv y, realv weight, real direction, uint block, __global real *x,
                              __global real *adjoint_velocity) {
    if (c < N * D) store_lanes(OWN(x, N * D) + c * V, y);
#ifdef HAS_QUADRATURE
    else store_lanes(OWN(adjoint_velocity, N * D) + (c - N * D) * V, -direction * weight * y);
#endif
}

/* Writes the time, and for the adjoint the adjoint of the divergence. */
static inline void put_time(realv t, realv weight, realv adjoint, real direction, uint block, __global real *times,
                            __global real *adjoint_divergence) {
    store_lanes(OWN(times, 1), t);
#ifdef HAS_QUADRATURE
    store_lanes(OWN(adjoint_divergence, 1), -direction * weight * adjoint);
#endif
}

/* Writes the field's arguments for stage `stage`; stage 0 is the state itself, and sets carry to 0. */
__kernel void batched_ask(__global const real *state, __global real *carry, __global const real *control,
                          __global const real *k, __global real *next, __global real *next_carry,
                          __global const real *adjoint_log_det, __global real *x, __global real *times,
                          __global real *adjoint_velocity, __global real *adjoint_divergence, real adjoint_scale,
                          real direction, real equal_step, uint stage, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    realv h = 0, s = 0;
    if (stage > 0) {
        step_control now;
        load_control(OWN(control, CONTROL_SIZE), &now);
        integerv is_last;
        h = step_size(now, equal_step, &is_last);
        s = now.s;
    }
    __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
    for (uint c = 0; c < STATE_SIZE; c++) {
        const realv from = load_lanes(OWN(state, STATE_SIZE) + c * V);
        realv y = from, sum = 0;
        if (stage == 0) {
            store_lanes(OWN(carry, STATE_SIZE) + c * V, (realv)0);
        } else {
            for (uint p = 0; p < stage; p++) sum = fma((realv)a[p], load_lanes(SLOPE(p, c)), sum);
            realv step = fma(h, sum, load_lanes(OWN(carry, STATE_SIZE) + c * V));
            y = from + step;
            store_lanes(OWN(next, STATE_SIZE) + c * V, y);
            store_lanes(OWN(next_carry, STATE_SIZE) + c * V, step - (y - from));
        }
        put_number(c, y, (realv)1, direction, block, x, adjoint_velocity);
    }
    put_time(flow_time(fma((realv)tableau_c[stage], h, s), direction), (realv)1,
             adjoint_scale * load_lanes(OWN(adjoint_log_det, 1)), direction, block, times, adjoint_divergence);
}

/* Stores the slope of stage `stage`: velocity and divergence, or velocity and the rate of the adjoint. */
__kernel void batched_keep(__global const real *velocity, __global const real *rest, __global real *k, real direction,
                           uint stage, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    __global real *own = SLOPE(stage, 0);
    for (uint c = 0; c < N * D; c++)
        store_lanes(own + c * V, direction * load_lanes(OWN(velocity, N * D) + c * V));
    for (uint c = N * D; c < STATE_SIZE; c++) {
        realv value = load_lanes(OWN(rest, STATE_SIZE - N * D) + (c - N * D) * V);
#ifdef HAS_QUADRATURE
        store_lanes(own + c * V, value); /* batched_ask has applied the sign */
#else
        store_lanes(own + c * V, direction * value);
#endif
    }
}

/* Makes the Euler step for the first step size, from the slope of stage 0. */
__kernel void batched_probe(__global const real *state, __global real *control, __global const real *k,
                            __global const real *adjoint_log_det, __global real *x, __global real *times,
                            __global real *adjoint_velocity, __global real *adjoint_divergence, real adjoint_scale,
                            real direction, real rtol, real atol, uint has_log_det, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    system_sums size, speed;
    system_clear(&size);
    system_clear(&speed);
    for (uint c = 0; c < STATE_SIZE; c++) {
        const realv y = load_lanes(OWN(state, STATE_SIZE) + c * V);
        system_add(&size, c, y, y, y);
        system_add(&speed, c, load_lanes(SLOPE(0, c)), y, y);
    }
    const realv h =
        first_probe(system_size(&size, rtol, atol, has_log_det), system_size(&speed, rtol, atol, has_log_det));
    store_lanes(OWN(control, CONTROL_SIZE) + AT_H * V, h);
    for (uint c = 0; c < STATE_SIZE; c++)
        put_number(c, fma(h, load_lanes(SLOPE(0, c)), load_lanes(OWN(state, STATE_SIZE) + c * V)), (realv)1, direction,
                   block, x, adjoint_velocity);
    put_time(flow_time(h, direction), (realv)1, adjoint_scale * load_lanes(OWN(adjoint_log_det, 1)), direction, block,
             times, adjoint_divergence);
}

/* The first step size, from the slopes of stages 0 and (after the Euler step) 1. */
__kernel void batched_begin(__global const real *state, __global real *control, __global const real *k, real rtol,
                            real atol, uint has_log_det, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv h = load_lanes(OWN(control, CONTROL_SIZE) + AT_H * V);
    system_sums speed, bend;
    realv slopes = 0, numbers = 0; /* sums of absolute values: infinite or NaN if one of them is */
    system_clear(&speed);
    system_clear(&bend);
    for (uint c = 0; c < STATE_SIZE; c++) {
        const realv y = load_lanes(OWN(state, STATE_SIZE) + c * V), f = load_lanes(SLOPE(0, c));
        slopes += fabs(f);
        numbers += fabs(y);
        system_add(&speed, c, f, y, y);
        system_add(&bend, c, load_lanes(SLOPE(1, c)) - f, y, fma(h, f, y));
    }
    step_control first;
    first_control(h, system_size(&speed, rtol, atol, has_log_det), system_size(&bend, rtol, atol, has_log_det) / h,
                  (slopes < (realv)MAXFLOAT) & (numbers < (realv)MAXFLOAT), &first);
    store_control(first, OWN(control, CONTROL_SIZE));
}

/* Accepts or rejects a step after its last stage. It keeps the old state and slopes, which the quadrature needs;
 * batched_move moves on. start [num_blocks][2][V]: s and h of this step. num_running += number of blocks with a lane
 * that is not done. */
__kernel void batched_decide(__global const real *state, __global real *control, __global const real *k,
                             __global const real *next, __global real *start, __global real *weight,
                             __global uint *num_running, real rtol, real atol, uint has_log_det, real equal_step,
                             uint max_steps, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    step_control now;
    load_control(OWN(control, CONTROL_SIZE), &now);
    integerv is_last;
    const realv s = now.s, h = step_size(now, equal_step, &is_last);
    system_sums sums;
    realv slopes = 0;
    system_clear(&sums);
    for (uint c = 0; c < STATE_SIZE; c++) {
        realv error = 0, slope = 0;
        for (uint p = 0; p < NUM_STAGES; p++) {
            slope = load_lanes(SLOPE(p, c));
            error = fma((realv)tableau_e[p], slope, error);
        }
        slopes += fabs(slope);
        system_add(&sums, c, h * error, load_lanes(OWN(state, STATE_SIZE) + c * V),
                   load_lanes(OWN(next, STATE_SIZE) + c * V));
    }
    const integerv is_accepted = step_decide(&now, h, is_last, system_size(&sums, rtol, atol, has_log_det),
                                             slopes < (realv)MAXFLOAT, max_steps);
    store_control(now, OWN(control, CONTROL_SIZE));
    store_lanes(OWN(start, 2), s);
    store_lanes(OWN(start, 2) + V, h);
    store_lanes(OWN(weight, 1), select_lanes((realv)0, (realv)1, is_accepted));
    if (any_lane(now.status == (realv)STATUS_RUNNING)) atomic_inc(num_running);
}

#ifdef HAS_QUADRATURE
/* Writes the field's arguments for the gradient by the parameters at a stage of an accepted step, times the stage's
 * weight in the integral and the factor `share`. */
__kernel void batched_ask_gradient(__global const real *state, __global const real *k, __global const real *start,
                                   __global const real *weight, __global const real *adjoint_log_det, __global real *x,
                                   __global real *times, __global real *adjoint_velocity,
                                   __global real *adjoint_divergence, real adjoint_scale, real share, real direction,
                                   uint stage, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv s = load_lanes(OWN(start, 2)), h = load_lanes(OWN(start, 2) + V);
    const integerv is_accepted = load_lanes(OWN(weight, 1)) > (realv)0;
    __constant const real *a = tableau_a + stage * (NUM_STAGES - 1);
    const real of_stage = tableau_a[(NUM_STAGES - 1) * (NUM_STAGES - 1) + stage] * share;
    const realv of_sample = select_lanes((realv)0, of_stage * h, is_accepted);
    for (uint c = 0; c < STATE_SIZE; c++) {
        realv sum = 0, from = load_lanes(OWN(state, STATE_SIZE) + c * V);
        for (uint p = 0; p < stage; p++) sum = fma((realv)a[p], load_lanes(SLOPE(p, c)), sum);
        put_number(c, select_lanes(from, fma(h, sum, from), is_accepted), of_sample, direction, block, x,
                   adjoint_velocity);
    }
    put_time(flow_time(fma((realv)tableau_c[stage], h, s), direction), of_sample,
             adjoint_scale * load_lanes(OWN(adjoint_log_det, 1)), direction, block, times, adjoint_divergence);
}
#endif

/* In accepted lanes the next state becomes the state, and the slope there that of stage 0. */
__kernel void batched_move(__global real *state, __global real *carry, __global real *k, __global const real *next,
                           __global const real *next_carry, __global const real *weight, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const integerv is_accepted = load_lanes(OWN(weight, 1)) > (realv)0;
    for (uint c = 0; c < STATE_SIZE; c++) {
        __global real *y = OWN(state, STATE_SIZE) + c * V, *left_out = OWN(carry, STATE_SIZE) + c * V;
        __global real *first = SLOPE(0, c);
        store_lanes(y, select_lanes(load_lanes(y), load_lanes(OWN(next, STATE_SIZE) + c * V), is_accepted));
        store_lanes(left_out,
                    select_lanes(load_lanes(left_out), load_lanes(OWN(next_carry, STATE_SIZE) + c * V), is_accepted));
        store_lanes(first, select_lanes(load_lanes(first),
                                        load_lanes(first + (NUM_STAGES - 1) * (STATE_SIZE * V)), is_accepted));
    }
}

/* times [num_blocks][V] = t. */
__kernel void batched_set_times(__global real *times, real t, uint num_blocks) {
    uint block = get_global_id(0);
    if (block < num_blocks) store_lanes(OWN(times, 1), (realv)t);
}
