/* A planted mistake: the energy reads beyond x [N*D], times nothing. tests/matrix.sh wants oclgrind to find it. */
real energy(const real *x) { return 0 * x[N * D + 3]; }
void energy_gradient(const real *x, real *gradient) {
    for (int i = 0; i < N * D; i++) gradient[i] = 0 * x[i];
}
