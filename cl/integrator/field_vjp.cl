/* The vector-Jacobian product of the field at one stage time: the gradient by x of the sum over samples of
 *   adjoint_velocity . v + adjoint_divergence div v,
 * and its partial gradients by the parameters. num_partials work-items; item p takes blocks p, p + num_partials, ... in
 * order and owns the p-th partial gradient.
 *   x, adjoint_velocity, adjoint_x [num_blocks][N*D][V]; adjoint_divergence [num_blocks][V]; adjoints are 0 in padding
 *       lanes
 *   grad_stages [num_partials][num_stages][GRAD_STAGE_SIZE], grad_shared [num_partials][GRAD_SHARED_SIZE]:
 *       the gradients are added to them */
__kernel void field_vjp_at_stage(__global const real *x_blocked, __global const real *adjoint_velocity,
                                 __global const real *adjoint_divergence, __global real *adjoint_x,
                                 __global const real *stages, __global const real *shared, __global real *grad_stages,
                                 __global real *grad_shared, uint num_blocks, uint num_partials, uint num_stages,
                                 uint stage) {
    uint partial = get_global_id(0);
    if (partial >= num_partials) return;
    grad_stages += ((size_t)partial * num_stages + stage) * GRAD_STAGE_SIZE;
    grad_shared += (size_t)partial * GRAD_SHARED_SIZE;
    realv x[N * D], k[N * D], adjoint[N * D];
    for (uint block = partial; block < num_blocks; block += num_partials) {
        const size_t place = (size_t)block * (N * D * V);
        for (uint c = 0; c < N * D; c++) {
            x[c] = load_lanes(x_blocked + place + (size_t)c * V);
            k[c] = load_lanes(adjoint_velocity + place + (size_t)c * V);
            adjoint[c] = 0;
        }
        field_vjp(stages + (size_t)stage * STAGE_SIZE, shared, grad_stages, grad_shared, x, k,
                  load_lanes(adjoint_divergence + (size_t)block * V), adjoint);
        for (uint c = 0; c < N * D; c++) store_lanes(adjoint_x + place + (size_t)c * V, adjoint[c]);
    }
}
