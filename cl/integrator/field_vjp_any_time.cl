/* integrator/field_vjp.cl for fields with kernels for any time; the gradient is added to grad
 * [num_partials][ANY_TIME_GRAD_SIZE][V]. */
__kernel void field_vjp_at_time(__global const real *params, __global const real *constants,
                                __global const real *x_blocked, __global const real *adjoint_velocity,
                                __global const real *adjoint_divergence, __global real *adjoint_x, __global real *grad,
                                uint num_blocks, uint num_partials, real t) {
    uint partial = get_global_id(0);
    if (partial >= num_partials) return;
    grad += (size_t)partial * (ANY_TIME_GRAD_SIZE * V);
    realv x[N * D], k[N * D], velocity[N * D], adjoint[N * D], at[ANY_TIME_SIZE];
    any_time_field(params, constants, (realv)t, at);
    for (uint block = partial; block < num_blocks; block += num_partials) {
        const size_t place = (size_t)block * (N * D * V);
        const realv of_divergence = load_lanes(adjoint_divergence + (size_t)block * V);
        for (uint c = 0; c < N * D; c++) {
            x[c] = load_lanes(x_blocked + place + (size_t)c * V);
            k[c] = load_lanes(adjoint_velocity + place + (size_t)c * V);
            adjoint[c] = 0;
        }
        any_time_vjp(constants, at, x, k, of_divergence, velocity, adjoint);
        any_time_gradient(params, constants, (realv)t, at, x, k, of_divergence, grad);
        for (uint c = 0; c < N * D; c++) store_lanes(adjoint_x + place + (size_t)c * V, adjoint[c]);
    }
}
