/* Multiplies the adjoints of the mean nll by a factor of each sample (src/train/weighted.c has the equations). State is
 * blocked, [num_blocks][DOF][V]; factor, adjoint_log_det [num_blocks][V]; one work-item for each block. Defined by the
 * host: DOF = N D. */
__kernel void scale_adjoints(__global real *adjoint_x, __global real *adjoint_log_det, __global const real *factor,
                               uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    const realv f = load_lanes(factor + (size_t)block * V);
    for (uint c = 0; c < DOF; c++) {
        __global real *at = adjoint_x + ((size_t)block * DOF + c) * V;
        store_lanes(at, f * load_lanes(at));
    }
    store_lanes(adjoint_log_det + (size_t)block * V, f * load_lanes(adjoint_log_det + (size_t)block * V));
}
