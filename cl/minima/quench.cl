/* Quench: V descents in each work-item, each lane with its own time step, until the gradient is small.
 *   FIRE (Bitzek et al., PRL 97, 170201, 2006) with the corrections of Guenole et al. (Comput. Mater. Sci. 175, 109584,
 *   2020): semi-implicit Euler steps, and half a step back when the motion turns uphill; F is the force, -grad u:
 *       P = F.v    P > 0:  v <- (1 - mixing)(v + dt F) + mixing |v + dt F| F/|F|,   x <- x + dt v
 *                  P <= 0: x <- x - dt v / 2,  v <- dt F,  dt halved,               x <- x + dt v
 * State: x_blocked, velocity_blocked [num_blocks][N*D][V]; control_blocked [num_blocks][NUM_CONTROLS][V].
 * Defined by the host: N, D, LOCAL_CHAINS. The files before this text define potential_force and CONFIGURATION. */
enum { CONTROL_TIME_STEP, CONTROL_MIXING, CONTROL_NUM_DOWNHILL, CONTROL_IS_DONE, CONTROL_GRADIENT_NORM,
       CONTROL_NUM_STEPS, NUM_CONTROLS };

/* The parameters of the first paper; the second one confirms them. */
#define MIXING_START REAL(0.1)
#define MIXING_SHRINK REAL(0.99)
#define TIME_STEP_GROW REAL(1.1)
#define TIME_STEP_SHRINK REAL(0.5)
#define NUM_DOWNHILL_BEFORE_GROWTH ((real)5)
/* The first and the smallest time step, as fractions of the largest. */
#define TIME_STEP_START REAL(0.1)
#define TIME_STEP_LEAST REAL(1e-3)

/* Force components are limited to this, so that squares do not overflow; those of overlapping particles are larger. Of
 * a NaN and a number, fmax and fmin return the number. */
#ifdef USE_DOUBLE
#define LARGEST_FORCE REAL(1e100)
#else
#define LARGEST_FORCE REAL(1e15)
#endif

static inline void finite_force(const CONFIGURATION x, CONFIGURATION force) {
    potential_force(x, force);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        COMPONENT_OF(force, c) = fmin(fmax(COMPONENT_OF(force, c), (realv)-LARGEST_FORCE), (realv)LARGEST_FORCE);
}

__kernel void quench_begin(__global real *velocity_blocked, __global real *control_blocked, uint num_blocks,
                           real largest_time_step) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        store_lanes(velocity_blocked + ((size_t)block * (N * D) + c) * V, (realv)0);
    __global real *control = control_blocked + (size_t)block * NUM_CONTROLS * V;
    for (uint c = 0; c < NUM_CONTROLS; c++) store_lanes(control + c * V, (realv)0);
    store_lanes(control + CONTROL_TIME_STEP * V, (realv)(TIME_STEP_START * largest_time_step));
    store_lanes(control + CONTROL_MIXING * V, (realv)MIXING_START);
}

/* At most num_steps steps. A lane is done when |grad u| <= gradient_tolerance; then its state stays the same, and the
 * work-item ends when all lanes are done. No coordinate changes by more than largest_displacement in a step: a larger
 * velocity is scaled down as a whole, so that its direction stays. */
CONFIGURATION_KERNEL void quench_steps(__global real *x_blocked, __global real *velocity_blocked,
                                       __global real *control_blocked, uint num_blocks, uint num_steps,
                                       real gradient_tolerance, real largest_time_step, real largest_displacement) {
    MAKE_CONFIGURATION(x);
    MAKE_CONFIGURATION(velocity);
    MAKE_CONFIGURATION(force);
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    __global real *control = control_blocked + (size_t)block * NUM_CONTROLS * V;
    integerv is_done = load_lanes(control + CONTROL_IS_DONE * V) > (realv)0;
    if (!any_lane(!is_done)) return;
    realv time_step = load_lanes(control + CONTROL_TIME_STEP * V);
    realv mixing = load_lanes(control + CONTROL_MIXING * V);
    realv num_downhill = load_lanes(control + CONTROL_NUM_DOWNHILL * V);
    realv num_taken = load_lanes(control + CONTROL_NUM_STEPS * V);
    realv gradient_norm = load_lanes(control + CONTROL_GRADIENT_NORM * V);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) {
        COMPONENT_OF(x, c) = load_lanes(x_blocked + ((size_t)block * (N * D) + c) * V);
        COMPONENT_OF(velocity, c) = load_lanes(velocity_blocked + ((size_t)block * (N * D) + c) * V);
    }
    for (uint step = 0; step < num_steps; step++) {
        finite_force(x, force);
        realv power = (real)0, force_squared = (real)0, speed_squared = (real)0;
        UNROLL_STATE
        for (uint c = 0; c < N * D; c++) {
            power += COMPONENT_OF(force, c) * COMPONENT_OF(velocity, c);
            force_squared += COMPONENT_OF(force, c) * COMPONENT_OF(force, c);
            speed_squared += COMPONENT_OF(velocity, c) * COMPONENT_OF(velocity, c);
        }
        realv norm = sqrt(force_squared);
        gradient_norm = select_lanes(norm, gradient_norm, is_done);
        is_done |= norm <= (realv)gradient_tolerance;
        if (!any_lane(!is_done)) break;

        integerv is_downhill = power > (realv)0;
        num_downhill = select_lanes((realv)0, num_downhill + (real)1, is_downhill);
        integerv is_growing = num_downhill > (realv)NUM_DOWNHILL_BEFORE_GROWTH;
        /* With velocity 0, the start, P = 0 is no motion uphill: there is no step back, and the time step stays. */
        integerv is_uphill = (power <= (realv)0) & (speed_squared > (realv)0);
        realv step_back = select_lanes((realv)0, REAL(0.5) * time_step, is_uphill);
        realv grown = fmin(time_step * TIME_STEP_GROW, (realv)largest_time_step);
        realv shrunk = fmax(time_step * TIME_STEP_SHRINK, (realv)(TIME_STEP_LEAST * largest_time_step));
        time_step = select_lanes(time_step, grown, is_growing);
        time_step = select_lanes(time_step, shrunk, is_uphill);
        mixing = select_lanes(mixing, mixing * MIXING_SHRINK, is_growing);
        mixing = select_lanes((realv)MIXING_START, mixing, is_downhill);

        /* |v + dt F| from the sums above; v counts as 0 if the motion is uphill. */
        realv kept = select_lanes((realv)0, (realv)1, is_downhill);
        realv speed = sqrt(kept * (speed_squared + (real)2 * time_step * power) +
                           time_step * time_step * force_squared);
        realv along_force = mixing * speed / fmax(norm, (realv)1e-30f);
        realv of_velocity = kept * ((real)1 - mixing), of_force = time_step * ((real)1 - mixing) + along_force;
        realv longest = (real)0;
        UNROLL_STATE
        for (uint c = 0; c < N * D; c++) {
            realv next = of_velocity * COMPONENT_OF(velocity, c) + of_force * COMPONENT_OF(force, c);
            const realv before = COMPONENT_OF(x, c);
            COMPONENT_OF(x, c) = select_lanes(before - step_back * COMPONENT_OF(velocity, c), before, is_done);
            COMPONENT_OF(velocity, c) = next;
            longest = fmax(longest, fabs(next));
        }
        longest *= time_step;
        realv scale = fmin((realv)1, largest_displacement / fmax(longest, (realv)1e-30f));
        UNROLL_STATE
        for (uint c = 0; c < N * D; c++) {
            COMPONENT_OF(velocity, c) *= scale;
            const realv before = COMPONENT_OF(x, c);
            COMPONENT_OF(x, c) = select_lanes(before + time_step * COMPONENT_OF(velocity, c), before, is_done);
        }
        num_taken += select_lanes((realv)1, (realv)0, is_done);
    }
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) {
        store_lanes(x_blocked + ((size_t)block * (N * D) + c) * V, COMPONENT_OF(x, c));
        store_lanes(velocity_blocked + ((size_t)block * (N * D) + c) * V, COMPONENT_OF(velocity, c));
    }
    store_lanes(control + CONTROL_TIME_STEP * V, time_step);
    store_lanes(control + CONTROL_MIXING * V, mixing);
    store_lanes(control + CONTROL_NUM_DOWNHILL * V, num_downhill);
    store_lanes(control + CONTROL_IS_DONE * V, select_lanes((realv)0, (realv)1, is_done));
    store_lanes(control + CONTROL_GRADIENT_NORM * V, gradient_norm);
    store_lanes(control + CONTROL_NUM_STEPS * V, num_taken);
}

/* Rows of the Hessian by central differences of the force; one work-item a block and row:
 *   hessian[block][row][column][V] = -(F_column(x + h e_row) - F_column(x - h e_row)) / 2h,  from block first_block */
CONFIGURATION_KERNEL void quench_hessian(__global const real *x_blocked, __global real *hessian, uint first_block,
                                         uint num_blocks, real difference) {
    MAKE_CONFIGURATION(x);
    MAKE_CONFIGURATION(above);
    MAKE_CONFIGURATION(below);
    uint item = get_global_id(0), block = item / (N * D), row = item % (N * D);
    if (block >= num_blocks) return;
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        COMPONENT_OF(x, c) = load_lanes(x_blocked + ((size_t)(first_block + block) * (N * D) + c) * V);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) COMPONENT_OF(x, c) += c == row ? difference : (real)0;
    finite_force(x, above);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++) COMPONENT_OF(x, c) -= c == row ? (real)2 * difference : (real)0;
    finite_force(x, below);
    UNROLL_STATE
    for (uint c = 0; c < N * D; c++)
        store_lanes(hessian + ((size_t)item * (N * D) + c) * V,
                    (COMPONENT_OF(below, c) - COMPONENT_OF(above, c)) / ((real)2 * difference));
}
