/* The values of the message field's nodes, with a work-group a sample (message_group.clh): message_group_values, after
 * which come message_group_sources or, in a reverse pass, message_group_edge_adjoints. pairs [P]; scratch [samples of
 * the launch][SLICE_SIZE]; x, velocity [samples][N*D]; times, divergence [samples]; weights: message_group_weights;
 * params as in src/dynamics/message_params.h. Group n computes sample first_sample + n. A kernel is a loop over steps
 * with one barrier; the switch between steps is the same for all work-items. */

/* Values of all nodes, to scratch memory. */
__kernel void message_group_values(__global const uint *pairs, __global const real *params,
                                   __global const real *weights, __global real *scratch, __global const real *x,
                                   __global const real *times, real spacing, uint first_sample) {
    __local real sm[VALUES_LOCAL_SIZE];
    const size_t sample = first_sample + get_group_id(0);
    ROLLED for (uint step = 0; step < VALUE_STEPS; step++) {
        const uint zero = UNKNOWN_ZERO, item = get_local_id(0) + zero;
        __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE + zero;
        group_value_step(item, s, sm, params, pairs, x + sample * (N * D), times[sample], spacing, step);
        ROLLED for (uint call = 0; call < CALLS; call++) {
            group_product p = {.num_rows = 0};
            group_value_product(step, call, &p);
            run_product(item, s, sm, weights, &p, 0);
        }
        BOTH_BARRIER;
    }
}

/* weights[n] = params[sources[n]], or 0 if the source is no parameter. */
__kernel void message_group_weights(__global const uint *sources, __global const real *params, __global real *weights,
                                    uint num_weights, uint num_params) {
    const uint n = get_global_id(0);
    if (n < num_weights) weights[n] = sources[n] < num_params ? params[sources[n]] : (real)0;
}
