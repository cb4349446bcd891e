/* Evaluates the message field with a work-group a sample, after message_group_values (message_group.cl): velocity and
 * divergence from the edges of the source particles. */
#ifdef HAS_ROWS
#define EDGES_FROM SOURCE_ROW_STEPS
#else
#define EDGES_FROM 0
#endif
#define PART_STEPS (EDGES_FROM + EDGE_STEPS)
ALWAYS_INLINE void group_part_step(uint item, __global real *s, __local real *sm, __global const real *params,
                                   uint part, uint step) {
    const uint k = part * SOURCES;
    if (step >= EDGES_FROM) group_edge_step(item, s, sm, params, k, min((uint)SOURCES, N - k), step - EDGES_FROM);
#ifdef HAS_ROWS
    else
        group_source_row_step(item, s, sm, params + PARAMS_VECTOR_OUT, k, step);
#endif
}
ALWAYS_INLINE void group_part_product(uint part, uint step, uint call, group_product *p) {
    if (step >= EDGES_FROM) group_edge_product(min((uint)SOURCES, N - part * SOURCES), step - EDGES_FROM, call, p);
#ifdef HAS_ROWS
    else
        group_source_row_product(step, call, p);
#endif
}

/* velocity [N*D] = v minus its mean over particles, and the divergence; if more parts follow, what these need. */
ALWAYS_INLINE void group_finish(uint item, __global real *s, __local const real *sm, __global real *velocity,
                                __global real *divergence, uint is_complete) {
    if (is_complete) TURNS(turn, N * D) {
            real mean = 0;
            ROLLED for (uint i = 0; i < N; i++) mean += s[AT_V + i * D + turn % D];
            velocity[turn] = s[AT_V + turn] - mean / (real)N;
        }
#ifdef HAS_ROWS
    if (item == 0) s[AT_LASTING + SM_DIV] = sm[SM_DIV];
    if (item == 0 && is_complete) *divergence = sm[SM_DIV];
#endif
}

/* Velocity and divergence, from the edges of the source particles. SOURCES of them are a part; a launch does parts
 * begin ... end - 1, and only devices that limit a launch need several. */
__kernel void message_group_sources(__global const uint *pairs, __global const real *params,
                                    __global const real *weights, __global real *scratch, __global real *velocity,
                                    __global real *divergence, uint first_sample, uint begin, uint end) {
    __local real sm[LOCAL_SIZE];
    const size_t sample = first_sample + get_group_id(0);
    /* One step more, before the parts: what lasts comes from scratch memory; and one after them. */
    const uint num_steps = (end - begin) * PART_STEPS;
    ROLLED for (uint step = 0; step < num_steps + 2; step++) {
        const uint zero = UNKNOWN_ZERO, item = get_local_id(0) + zero;
        __global real *s = scratch + get_group_id(0) * (size_t)SLICE_SIZE + zero;
        const uint part = begin + zero + (step - 1) / PART_STEPS, part_step = (step - 1) % PART_STEPS;
        const uint is_of_part = step > 0 && step <= num_steps;
        if (step == 0) TURNS(turn, NUM_LASTING) sm[turn] = s[AT_LASTING + turn];
        if (is_of_part) group_part_step(item, s, sm, params, part, part_step);
        if (step > num_steps)
            group_finish(item, s, sm, velocity + sample * (N * D), divergence + sample, end == NUM_PARTS);
        ROLLED for (uint call = 0; call < CALLS; call++) {
            group_product p = {.num_rows = 0};
            if (is_of_part) group_part_product(part, part_step, call, &p);
            run_product(item, s, sm, weights, &p, part * SOURCES);
        }
        BOTH_BARRIER;
    }
}
