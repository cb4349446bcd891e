/* A Morse cluster in a weak harmonic trap that keeps it together:
 *   U = depth sum over i<j of [ (1 - e)^2 - 1 ] + 0.5 trap sum_i |x_i - x_com|^2,   e = exp(-steepness (d_ij - r_min))
 * The trap is written as a sum over pairs, (trap / 2N) sum over i<j of d_ij^2, so that only distances enter.
 * Constants: depth, steepness, r_min, trap. Example:
 *   eqflow train --potential morse.cl --particles 7 --space-dim 3 --constant depth=2 --constant steepness=3 \
 *       --constant r_min=1 --constant trap=1 -o morse7.safetensors */
static real squared_distance(const real *x, uint i, uint j) {
    real squared = 0;
    for (uint d = 0; d < D; d++) {
        real r = x[i * D + d] - x[j * D + d];
        squared += r * r;
    }
    return squared;
}

real energy(const real *x) {
    real sum = 0;
    for (uint i = 1; i < N; i++)
        for (uint j = 0; j < i; j++) {
            real squared = squared_distance(x, i, j);
            real e = exp(-steepness * (sqrt(squared) - r_min));
            sum += depth * e * (e - 2) + trap / (2 * N) * squared;
        }
    return sum;
}

/* dU/dd = -2 depth steepness e (e - 1) + trap d / N, along (x_i - x_j) / d */
void energy_gradient(const real *x, real *gradient) {
    for (uint c = 0; c < N * D; c++) gradient[c] = 0;
    for (uint i = 1; i < N; i++)
        for (uint j = 0; j < i; j++) {
            real distance = fmax(sqrt(squared_distance(x, i, j)), (real)1e-12f);
            real e = exp(-steepness * (distance - r_min));
            real slope = -2 * depth * steepness * e * (e - 1) + trap / N * distance;
            for (uint d = 0; d < D; d++) {
                real part = slope / distance * (x[i * D + d] - x[j * D + d]);
                gradient[i * D + d] += part;
                gradient[j * D + d] -= part;
            }
        }
}
