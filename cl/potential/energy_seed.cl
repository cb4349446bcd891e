/* The adjoints at the start of the reverse solve for the reverse KL divergence of model and target, after the solve
 * from prior to data (Koehler et al. 2020, section 3; Noe et al., Science 365 (2019) eaaw1147):
 *   free_energy = u(x) + prior.log_prob(z) - log_det,   its mean over z is KL(model || target) - ln Z
 *   adjoint_x = weight grad u(x),  adjoint_log_det = -weight,  weight = 1/batch_size, 0 in padding lanes
 * Energies above energy_cap (+infinity: no cap) grow only logarithmically, so that overlapping particles in a few
 * samples do not dominate the batch:
 *   u -> energy_cap + ln(1 + u - energy_cap),   grad u -> grad u / (1 + u - energy_cap)
 * An energy or force that overflows float counts as the largest float, and has no force. A NaN stays NaN. State is
 * blocked, [num_blocks][N*D][V]; numbers per sample [num_blocks][V]. One work-item for each block. The file before this
 * text is potential/energy.cl. */
CONFIGURATION_KERNEL void energy_seed(__global const real *x_blocked, __global const real *log_det,
                                      __global real *adjoint_x, __global real *adjoint_log_det, __global real *weight,
                                      __global real *free_energy, /* input: prior.log_prob(z) */
                                      __global real *error, real energy_cap, uint batch_size, uint num_blocks) {
    MAKE_CONFIGURATION(x);
    MAKE_CONFIGURATION(force);
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    load_block(x_blocked, block, x);
    realv energy = select_lanes(potential_energy(x), (realv)NAN, is_any_non_finite(x));
    integerv is_capped = energy > (realv)energy_cap;
    if (isfinite(energy_cap)) is_capped |= energy == (realv)INFINITY; /* the same result type for scalars and vectors */
    realv above = fmin(energy, (realv)FLT_MAX) - energy_cap;
    energy = select_lanes(energy, energy_cap + log((realv)1 + above), is_capped);
    realv shrink = select_lanes((realv)1, (realv)1 / ((realv)1 + above), is_capped);

    uintv sample = block * V + lane_index();
    realv is_real = min(convert_realv((uintv)batch_size - min(sample, (uintv)batch_size)), (realv)1.0f);
    integerv is_padding = is_real == (realv)0;
    realv share = is_real / (real)batch_size;
    realv value = energy + load_lanes(free_energy + (size_t)block * V) - load_lanes(log_det + (size_t)block * V);
    store_lanes(free_energy + (size_t)block * V, select_lanes(value, (realv)0, is_padding));
    /* Loaded again: energy and forces at once need more registers than GPUs have. */
    load_block(x_blocked, block, x);
    potential_force(x, force);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) {
        realv slope = -shrink * COMPONENT_OF(force, c);
        slope = select_lanes(slope, (realv)0, is_padding | (is_capped & !isfinite(slope)));
        store_lanes(adjoint_x + ((size_t)block * (N * D) + c) * V, share * slope);
    }
    store_lanes(adjoint_log_det + (size_t)block * V, -share);
    store_lanes(weight + (size_t)block * V, share);
    store_lanes(error + (size_t)block * V, (realv)0);
}
