/* Layout changes between the host's x [B, N*D] and the kernels' x_blocked [num_blocks][N*D][V].
 * One work-item for each block; padding lanes repeat the last sample, so that they compute finite numbers. */
__kernel void pack(__global const real *x, __global real *x_blocked, uint batch_size, uint num_dof) {
    uint block = get_global_id(0);
    if (block * V >= batch_size) return;
    for (uint lane = 0; lane < V; lane++) {
        uint sample = min(block * V + lane, batch_size - 1);
        for (uint c = 0; c < num_dof; c++)
            x_blocked[((size_t)block * num_dof + c) * V + lane] = x[(size_t)sample * num_dof + c];
    }
}

__kernel void unpack(__global const real *x_blocked, __global real *x, uint batch_size, uint num_dof) {
    uint block = get_global_id(0);
    for (uint lane = 0; lane < V; lane++) {
        uint sample = block * V + lane;
        if (sample >= batch_size) return;
        for (uint c = 0; c < num_dof; c++)
            x[(size_t)sample * num_dof + c] = x_blocked[((size_t)block * num_dof + c) * V + lane];
    }
}
