/* The vector-Jacobian product of the message field's velocity with a work-group a sample (message_group.clh): after
 * message_group_values, which has left what is needed in scratch memory, message_group_edge_adjoints and
 * message_group_node_adjoints. With HAS_ROWS that of velocity and divergence: message_group_row_values and
 * message_group_row_adjoints of one source particle after the other take the place of message_group_edge_adjoints.
 * adjoint_velocity, adjoint_x [samples][N*D]; adjoint_divergence [samples]; gradients [groups][num_params]: group n,
 * which computes sample first_sample + n, adds to its own sum, whose order is thus that of the samples; not used if
 * has_gradient is 0. The rest as in message_group.cl. */

#ifdef HAS_ROWS
/* Of source particle `source`: its rows of derivatives, and the adjoints of its read-out. */
__kernel void message_group_row_values(__global const uint *pairs, __global const real *params,
                                       __global const real *weights, __global real *scratch,
                                       __global const real *adjoint_velocity, __global const real *adjoint_divergence,
                                       __global real *gradients, uint num_params, uint has_gradient, uint first_sample,
                                       uint source) {
    __local real sm[LOCAL_SIZE];
    const size_t sample = first_sample + get_group_id(0);
    __global real *gradient = gradients + get_group_id(0) * (size_t)num_params;
    const real adjoint_div = adjoint_divergence[sample];
    /* One step more, before the others. */
    ROLLED for (uint step = 0; step < SOURCE_VALUE_STEPS + 1; step++) {
        const uint zero = UNKNOWN_ZERO, item = get_local_id(0) + zero, k = source + zero;
        __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE + zero;
        const uint row_step = step - 1, edge_step = row_step - SOURCE_ROW_STEPS;
        const uint is_edges = step > SOURCE_ROW_STEPS;
        if (step == 0) {
            TURNS(turn, NUM_LASTING) sm[turn] = s[AT_LASTING + turn];
            if (k == 0) TURNS(turn, SUMS_END - SUMS_BEGIN) s[SUMS_BEGIN + turn] = 0;
            group_load_adjoints(item, sm, adjoint_velocity + sample * (N * D));
        } else if (is_edges) {
            group_row_edge_step(item, s, sm, params, gradient, has_gradient, k, adjoint_div, edge_step);
        } else {
            group_source_row_step(item, s, sm, params + PARAMS_VECTOR_OUT, k, row_step);
        }
        ROLLED for (uint call = 0; call < CALLS; call++) {
            group_product p = {.num_rows = 0};
            group_gradient g = {.num_rows = 0};
            if (is_edges)
                group_row_edge_product(edge_step, call, &p, &g);
            else if (step > 0)
                group_source_row_product(row_step, call, &p);
            if (!has_gradient) g.num_outputs = 0;
            run_product(item, s, sm, weights, &p, k);
            run_gradient(item, s, sm, gradient, &g);
        }
        BOTH_BARRIER;
    }
}

/* Then the adjoints of its rows, from the last hop's to those of hop 1. */
__kernel void message_group_row_adjoints(__global const uint *pairs, __global const real *weights,
                                         __global real *scratch, __global real *gradients, uint num_params,
                                         uint has_gradient, uint source) {
    __local real sm[ROWS_LOCAL_SIZE];
    __global real *gradient = gradients + get_group_id(0) * (size_t)num_params;
    ROLLED for (uint step = 0; step < SOURCE_ADJOINT_STEPS; step++) {
        const uint zero = UNKNOWN_ZERO, item = get_local_id(0) + zero, k = source + zero;
        __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE + zero;
        group_source_adjoint_step(item, s, sm, pairs, k, step);
        ROLLED for (uint call = 0; call < CALLS; call++) {
            group_product p = {.num_rows = 0};
            group_gradient g = {.num_rows = 0};
            group_source_adjoint_product(step, call, &p, &g);
            if (!has_gradient) g.num_outputs = 0;
            run_product(item, s, sm, weights, &p, k);
            run_gradient(item, s, sm, gradient, &g);
        }
        BOTH_BARRIER;
    }
}
#else
/* The read-out's edges, SOURCES source particles at a time: parts begin ... end - 1, and only devices that limit a
 * launch need several. */
__kernel void message_group_edge_adjoints(__global const real *params, __global const real *weights,
                                          __global real *scratch, __global const real *adjoint_velocity,
                                          __global real *gradients, uint num_params, uint has_gradient,
                                          uint first_sample, uint begin, uint end) {
    __local real sm[LOCAL_SIZE];
    const uint item = get_local_id(0);
    const size_t sample = first_sample + get_group_id(0);
    __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE;
    __global real *gradient = gradients + get_group_id(0) * (size_t)num_params;
    /* One step more, before the parts; and one after them, which keeps the sums. */
    const uint num_steps = (end - begin) * EDGE_ADJOINT_STEPS;
    ROLLED for (uint step = 0; step < num_steps + 2; step++) {
        const uint first = (begin + (step - 1) / EDGE_ADJOINT_STEPS) * SOURCES;
        const uint part_step = (step - 1) % EDGE_ADJOINT_STEPS, num_sources = min((uint)SOURCES, N - first);
        const uint is_of_part = step > 0 && step <= num_steps;
        group_product p = {.num_rows = 0};
        group_gradient g = {.num_rows = 0};
        if (step == 0) {
            TURNS(turn, NUM_LASTING) sm[turn] = s[AT_LASTING + turn];
            TURNS(turn, NUM_SUMS) sm[SM_SUM_Y + turn] = begin > 0 ? s[AT_ADJ_SUMS + turn] : (real)0;
            group_load_adjoints(item, sm, adjoint_velocity + sample * (N * D));
        }
        if (is_of_part) {
            group_edge_adjoint_step(item, s, sm, params, gradient, has_gradient, first, num_sources, part_step);
            group_edge_adjoint_product(num_sources, part_step, &p);
            if (has_gradient) group_edge_adjoint_gradient(num_sources, part_step, &g);
        }
        if (step > num_steps) TURNS(turn, NUM_SUMS) s[AT_ADJ_SUMS + turn] = sm[SM_SUM_Y + turn];
        run_product(item, s, sm, weights, &p, 0);
        run_gradient(item, s, sm, gradient, &g);
        BOTH_BARRIER;
    }
}

#endif

/* The nodes: hops, filters, positions. */
__kernel void message_group_node_adjoints(__global const uint *pairs, __global const real *params,
                                          __global const real *weights, __global real *scratch,
                                          __global const real *times, __global const real *adjoint_velocity,
                                          __global real *adjoint_x, __global real *gradients, uint num_params,
                                          uint has_gradient, real spacing, uint first_sample,
                                          __global const real *adjoint_divergence) {
    __local real sm[NODES_LOCAL_SIZE];
    const size_t sample = first_sample + get_group_id(0);
    __global real *gradient = gradients + get_group_id(0) * (size_t)num_params;
#ifdef HAS_ROWS
    const real adjoint_div = adjoint_divergence[sample];
#else
    const real adjoint_div = 0;
#endif
    ROLLED for (uint step = 0; step < NODE_STEPS; step++) {
        const uint zero = UNKNOWN_ZERO, item = get_local_id(0) + zero;
        __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE + zero;
        if (step == 0) group_node_begin(item, s, sm, adjoint_velocity + sample * (N * D), times[sample]);
        if (step > 0 && step < NODE_STEPS - 1)
            group_node_step(item, s, sm, params, pairs, gradient, has_gradient, spacing, adjoint_div, step);
        if (step == NODE_STEPS - 1) group_node_finish(item, sm, adjoint_x + sample * (N * D), gradient, has_gradient);
        ROLLED for (uint call = 0; call < CALLS; call++) {
            group_product p = {.num_rows = 0};
            group_gradient g = {.num_rows = 0};
            group_node_product(step, call, &p, &g);
            if (!has_gradient) g.num_outputs = 0;
            run_product(item, s, sm, weights, &p, 0);
            run_gradient(item, s, sm, gradient, &g);
        }
        BOTH_BARRIER;
    }
}
