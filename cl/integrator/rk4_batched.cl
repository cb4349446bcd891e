/* RK4 for fields that are evaluated for a batch at a time: integrator/rk4.clh has the scheme,
 * src/integrator/rk4_batched.c the loop over steps and stages. The operations and their order are those of rk4.cl and
 * rk4_adjoint.cl. State is [num_blocks][DOF][V], a number of each sample [num_blocks][V]; one work-item for each block.
 * Defined by the host: DOF = N D. */
#define AT(c) (((size_t)block * DOF + (c)) * V)
#define AT_SAMPLE ((size_t)block * V)

/* times = t, for every sample. */
__kernel void rk4_set_times(__global real *times, real t, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    store_lanes(times + AT_SAMPLE, (realv)t);
}

/* Start of a step: y = x, sum = 0, div_sum = 0. checkpoints receives x at row `step` if has_checkpoints. */
__kernel void rk4_begin(__global const real *x, __global real *y, __global real *sum, __global real *div_sum,
                        __global real *checkpoints, uint has_checkpoints, uint step, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++) {
        const realv value = load_lanes(x + AT(c));
        store_lanes(y + AT(c), value);
        store_lanes(sum + AT(c), (realv)0);
        if (has_checkpoints) store_lanes(checkpoints + (size_t)step * num_blocks * DOF * V + AT(c), value);
    }
    store_lanes(div_sum + AT_SAMPLE, (realv)0);
}

/* After the field at y gave k and div: sum += weight k, div_sum += weight div, y = x + reach k. */
__kernel void rk4_stage(__global const real *x, __global const real *k, __global const real *div, __global real *y,
                        __global real *sum, __global real *div_sum, real weight, real reach, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++) {
        const realv slope = load_lanes(k + AT(c));
        store_lanes(sum + AT(c), fma((realv)weight, slope, load_lanes(sum + AT(c))));
        store_lanes(y + AT(c), fma((realv)reach, slope, load_lanes(x + AT(c))));
    }
    store_lanes(div_sum + AT_SAMPLE,
                fma((realv)weight, load_lanes(div + AT_SAMPLE), load_lanes(div_sum + AT_SAMPLE)));
}

/* End of a step: x += h sum, total += h div_sum. */
__kernel void rk4_end(__global real *x, __global const real *sum, __global real *total, __global const real *div_sum,
                      real h, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++)
        store_lanes(x + AT(c), fma((realv)h, load_lanes(sum + AT(c)), load_lanes(x + AT(c))));
    store_lanes(total + AT_SAMPLE,
                fma((realv)h, load_lanes(div_sum + AT_SAMPLE), load_lanes(total + AT_SAMPLE)));
}

/* ---- The divergence at fewer times than the velocity
 * -------------------------------------------------------------- */

/* End of a step: before = x, x += h sum. */
__kernel void rk4_node(__global real *x, __global const real *sum, __global real *before, real h, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++) {
        const realv value = load_lanes(x + AT(c));
        store_lanes(before + AT(c), value);
        store_lanes(x + AT(c), fma((realv)h, load_lanes(sum + AT(c)), value));
    }
}

/* The middle of the step, by the cubic with the positions and velocities of both ends: y = (before + x)/2 + h/8
 * (k_before - k). */
__kernel void rk4_middle(__global const real *before, __global const real *x, __global const real *k_before,
                         __global const real *k, __global real *y, real h, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const real eighth = REAL(0.125) * h;
    for (uint c = 0; c < DOF; c++) {
        const realv centre = REAL(0.5) * (load_lanes(before + AT(c)) + load_lanes(x + AT(c)));
        store_lanes(y + AT(c), fma((realv)eighth, load_lanes(k_before + AT(c)) - load_lanes(k + AT(c)), centre));
    }
}

/* Simpson's rule: total += h/6 (div_before + 4 div_middle + div). */
__kernel void rk4_simpson(__global real *total, __global const real *div_before, __global const real *div_middle,
                          __global const real *div, real h, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv ends = load_lanes(div_before + AT_SAMPLE) + load_lanes(div + AT_SAMPLE);
    const realv sum = fma((realv)REAL(4.0), load_lanes(div_middle + AT_SAMPLE), ends);
    store_lanes(total + AT_SAMPLE, fma((realv)(h / REAL(6.0)), sum, load_lanes(total + AT_SAMPLE)));
}

/* ---- Reverse ----------------------------------------------------------------------------------------------------- */

/* y_next = x + reach k. */
__kernel void rk4_reach(__global const real *x, __global const real *k, __global real *y_next, real reach,
                        uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++)
        store_lanes(y_next + AT(c), fma((realv)reach, load_lanes(k + AT(c)), load_lanes(x + AT(c))));
}

/* error += |h| (|k2 - k3|^2 + (div2 - div3)^2); k2 and div2 become the differences. from_later = 0,
 * total = adjoint. */
__kernel void rk4_difference(__global real *k2, __global real *div2, __global const real *k3,
                             __global const real *div3, __global real *error, __global const real *adjoint,
                             __global real *total, __global real *from_later, real h, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv div_difference = load_lanes(div2 + AT_SAMPLE) - load_lanes(div3 + AT_SAMPLE);
    realv square = div_difference * div_difference;
    for (uint c = 0; c < DOF; c++) {
        const realv difference = load_lanes(k2 + AT(c)) - load_lanes(k3 + AT(c));
        square = fma(difference, difference, square);
        store_lanes(k2 + AT(c), difference);
        store_lanes(total + AT(c), load_lanes(adjoint + AT(c)));
        store_lanes(from_later + AT(c), (realv)0);
    }
    store_lanes(div2 + AT_SAMPLE, div_difference);
    store_lanes(error + AT_SAMPLE, fma((realv)fabs(h), square, load_lanes(error + AT_SAMPLE)));
}

/* The adjoints of one stage's velocity and divergence, for its vjp, which adds to from_later (set to 0 here). The
 * penalty contributes pull_sign 2 penalty |h| weight times the differences; pull_sign is 1 for the second stage, -1 for
 * the third, else 0. */
__kernel void rk4_stage_adjoint(__global const real *adjoint, __global const real *adjoint_total,
                                __global const real *weight, __global const real *difference,
                                __global const real *div_difference, __global real *from_later,
                                __global real *adjoint_k, __global real *adjoint_div, real share, real reach,
                                real penalty, real h, int pull_sign, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv push = REAL(2.0) * penalty * fabs(h) * load_lanes(weight + AT_SAMPLE);
    const realv pull = pull_sign == 0 ? (realv)0 : (real)pull_sign * push;
    for (uint c = 0; c < DOF; c++) {
        store_lanes(adjoint_k + AT(c), fma((realv)share, load_lanes(adjoint + AT(c)),
                                           fma((realv)reach, load_lanes(from_later + AT(c)),
                                               pull * load_lanes(difference + AT(c)))));
        store_lanes(from_later + AT(c), (realv)0);
    }
    store_lanes(adjoint_div + AT_SAMPLE, fma((realv)share, load_lanes(adjoint_total + AT_SAMPLE),
                                             pull * load_lanes(div_difference + AT_SAMPLE)));
}

/* total += from_later, the adjoint that a stage passes to x. */
__kernel void rk4_add(__global real *total, __global const real *from_later, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    for (uint c = 0; c < DOF; c++)
        store_lanes(total + AT(c), load_lanes(total + AT(c)) + load_lanes(from_later + AT(c)));
}
