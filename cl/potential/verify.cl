/* What tells whether a potential's force is its energy's, one configuration and coordinate a work-item; V is 1.
 * x [num, N*D]; checks_out [num, N*D, NUM_CHECKS]: the force's component, differences of the energy over 2 h and over
 * 4 h, the energy itself, and its change when every particle is moved by `shift` along this coordinate's direction.
 * Defines: N, D; the file before promises potential_energy and potential_force. */
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
        real high = kept + k * h, low = kept - k * h; /* what h became is high - low: x + h is rounded */
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
