/* Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), gradient clipping and weight
 * averaging. */
#define NUM_SUMS 8 /* two of each term of the loss: its mean and that of its integration error */
#define RECORD_SIZE (NUM_SUMS + 2) /* these; the gradient's norm; 1 if all are finite */

/* total = scale gradient if is_first, else total + scale gradient; one work-item for each 16 parameters. */
__kernel void blend_gradient(__global real *total, __global const real *gradient, real scale, uint is_first,
                             uint num_trained) {
    uint first = get_global_id(0) * 16, last = min(first + 16, num_trained);
    for (uint i = first; i < last; i++) total[i] = is_first ? scale * gradient[i] : fma(scale, gradient[i], total[i]);
}

/* One work-item; a launch adds the squares of gradient [begin ... end), begin a multiple of V, to the sums of each lane
 * in carry [V]. After the last range records[record_index] is set to this step's record. sums [NUM_SUMS]: those of term
 * k count as 0 if bit k of terms is 0. failed [1] becomes 1 at the first non-finite step and stays 1: then adam_update
 * does nothing. */
__kernel void measure_step(__global const real *gradient, __global const real *sums, __global real *records,
                           uint record_index, __global uint *failed, uint terms,
                           __global real *carry, uint begin, uint end, uint num_trained) {
    if (get_global_id(0) != 0) return;
    __global real *record = records + record_index * RECORD_SIZE;
    realv lanes = 0;
    if (begin > 0) lanes = load_lanes(carry);
    uint whole = end / V * V;
    for (uint i = begin; i < whole; i += V) {
        realv g = load_lanes(gradient + i);
        lanes = fma(g, g, lanes);
    }
    if (end < num_trained) {
        store_lanes(carry, lanes);
        return;
    }
    real square = sum_lanes(lanes);
    for (uint i = whole; i < num_trained; i++) square = fma(gradient[i], gradient[i], square);
    uint is_good = isfinite(square);
    for (uint i = 0; i < NUM_SUMS; i++) {
        record[i] = (terms >> i / 2 & 1) ? sums[i] : (real)0;
        is_good = is_good && isfinite(record[i]);
    }
    record[NUM_SUMS] = sqrt(square);
    record[NUM_SUMS + 1] = is_good ? (real)1 : (real)0;
    if (!is_good) failed[0] = 1;
}

/* One work-item for each 16 parameters. first_moment, second_moment, average, params [num_trained]; correction_1 =
 * 1/(1 - beta_1^step). */
__kernel void adam_update(__global real *params, __global real *first_moment, __global real *second_moment,
                          __global real *average, __global const real *gradient, __global const real *records,
                          uint record_index, __global const uint *failed, real learning_rate, real correction_1,
                          real correction_2, real clip_norm, real weight_decay, real average_decay, uint num_trained) {
    if (failed[0]) return;
    const real beta_1 = REAL(0.9), beta_2 = REAL(0.999), epsilon = REAL(1e-8);
    real norm = records[record_index * RECORD_SIZE + NUM_SUMS];
    real shrink = clip_norm > 0 && norm > clip_norm ? clip_norm / norm : (real)1;
    uint first = get_global_id(0) * 16, last = min(first + 16, num_trained);
    for (uint i = first; i < last; i++) {
        real g = shrink * gradient[i];
        real m = beta_1 * first_moment[i] + ((real)1 - beta_1) * g;
        real v = beta_2 * second_moment[i] + ((real)1 - beta_2) * g * g;
        real p = params[i];
        p -= learning_rate * (m * correction_1 / (sqrt(v * correction_2) + epsilon) + weight_decay * p);
        first_moment[i] = m;
        second_moment[i] = v;
        params[i] = p;
        average[i] = average_decay * average[i] + ((real)1 - average_decay) * p;
    }
}
