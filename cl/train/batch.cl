/* The next batch, drawn without replacement within an epoch. Position q of an endless sequence has epoch q / num and
 * place q mod num; a permutation of 0 ... num-1, which depends on seed and epoch, maps the place to a configuration. It
 * is a Feistel network over Philox, repeated until the result is below num (Black and Rogaway 2002). No random state is
 * stored, and any step can be repeated. */
#define STREAM_BATCH 0x62617463u
#define FEISTEL_ROUNDS 6

static inline uintv permute(uintv place, uint num, uint half_bits, uint seed_low, uint seed_high, uintv epoch) {
    const uint mask = (1u << half_bits) - 1;
    uintv result = place;
    int is_outside = 1;
    while (is_outside) {
        uintv left = result >> half_bits, right = result & mask;
        for (uint round = 0; round < FEISTEL_ROUNDS; round++) {
            uintv words[4];
            random_words(seed_low, seed_high, right, epoch, round, STREAM_BATCH, words);
            uintv next = left ^ (words[0] & mask);
            left = right;
            right = next;
        }
        uintv walked = (left << half_bits) | right;
        /* Lanes with a result below num keep it. */
#if V == 1
        result = walked;
        is_outside = result >= num;
#else
        result = select(result, walked, (result >= num) | (result == place));
        is_outside = any(result >= num);
        place = num; /* equals no result: after the first turn only lanes that are not below num change */
#endif
    }
    return result;
}

/* x_blocked [num_blocks][N*D][V] = rows of data [num][N*D], sample b that of position first_position + b; padding
 * repeats the last. One work-item for each block. */
__kernel void gather(__global const real *data, __global real *x_blocked, uint seed_low, uint seed_high,
                     ulong first_position, uint num, uint half_bits, uint batch_size, uint num_dof) {
    uint block = get_global_id(0);
    if (block * V >= batch_size) return;
    uint place[V], epoch[V];
    for (uint lane = 0; lane < V; lane++) {
        ulong position = first_position + min(block * V + lane, batch_size - 1);
        place[lane] = (uint)(position % num);
        epoch[lane] = (uint)(position / num);
    }
    uintv rows = permute(load_lanes(place), num, half_bits, seed_low, seed_high, load_lanes(epoch));
    store_lanes(place, rows);
    for (uint lane = 0; lane < V; lane++)
        for (uint c = 0; c < num_dof; c++)
            x_blocked[((size_t)block * num_dof + c) * V + lane] = data[(size_t)place[lane] * num_dof + c];
}
