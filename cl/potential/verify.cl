/* Numbers from which the host checks that a potential's force is minus the gradient of its energy; one work-item for
 * each configuration and coordinate; V is 1. x [num, N*D]; checks_out [num, N*D, NUM_CHECKS]: the force's component,
 * the energy's difference quotients over 2 h and 4 h, the energy, and its change when all particles move by `shift`
 * along this coordinate's direction. Defined by the host: N, D. The file before this text defines potential_energy and
 * potential_force. */
enum { CHECK_FORCE, CHECK_NEAR, CHECK_FAR, CHECK_ENERGY, CHECK_SHIFTED, NUM_CHECKS };

__kernel void verify_force(__global const real *x, __global real *checks_out, uint num, real h, real shift) {
    uint index = get_global_id(0);
    if (index >= num * (N * D)) return;
    uint b = index / (N * D), c = index % (N * D);
    real at[N * D], force[N * D];
    for (uint k = 0; k < N * D; k++) at[k] = x[(size_t)b * (N * D) + k];
    __global real *checks = checks_out + (size_t)index * NUM_CHECKS;
    potential_force(at, force);
    checks[CHECK_FORCE] = force[c];
    checks[CHECK_ENERGY] = potential_energy(at);
    real kept = at[c];
    for (uint k = 1; k <= 2; k++) {
        real high = kept + k * h, low = kept - k * h; /* rounded, so the difference is high - low, not 2 k h */
        at[c] = high;
        real change = potential_energy(at);
        at[c] = low;
        change -= potential_energy(at);
        checks[k == 1 ? CHECK_NEAR : CHECK_FAR] = change / (high - low);
    }
    at[c] = kept;
    for (uint i = 0; i < N; i++) at[i * D + c % D] += shift;
    checks[CHECK_SHIFTED] = potential_energy(at) - checks[CHECK_ENERGY];
}

/* u of x [num, N*D] -> energy_out [num]. */
__kernel void verify_energy(__global const real *x, __global real *energy_out, uint num) {
    uint b = get_global_id(0);
    if (b >= num) return;
    real at[N * D];
    for (uint c = 0; c < N * D; c++) at[c] = x[(size_t)b * (N * D) + c];
    energy_out[b] = potential_energy(at);
}
