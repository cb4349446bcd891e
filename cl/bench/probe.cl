/* Measures upper limits of the device: float32 FMA rate and copy bandwidth. Needs common/real.clh; define V.
 *
 * NUM_CHAINS independent chains  a <- a * factor + term  hide the latency of the FMA units and, with factor and term,
 * fit the 16 vector registers of AVX2. The host sets factor = term = 1, which the compiler does not know: then each
 * chain counts its own steps, exactly in float32 while the sum over chains stays below 2^24, and the host checks that
 * no step was left out. */
#define NUM_CHAINS 12
#define STEPS_PER_TURN 8
#define CHAINS_STEP                                                                                           \
    a0 = fma(a0, f, t); a1 = fma(a1, f, t); a2 = fma(a2, f, t); a3 = fma(a3, f, t);                           \
    a4 = fma(a4, f, t); a5 = fma(a5, f, t); a6 = fma(a6, f, t); a7 = fma(a7, f, t);                           \
    a8 = fma(a8, f, t); a9 = fma(a9, f, t); a10 = fma(a10, f, t); a11 = fma(a11, f, t);

/* sum_out [global size][V]: sum over chains c of start + c + STEPS_PER_TURN * num_turns. */
__kernel void probe_fma(__global real *sum_out, real factor, real term, real start, uint num_turns) {
    realv f = factor, t = term; /* chains have different starts; of equal ones the compiler would keep only one */
    realv a0 = start, a1 = start + 1, a2 = start + 2, a3 = start + 3, a4 = start + 4, a5 = start + 5;
    realv a6 = start + 6, a7 = start + 7, a8 = start + 8, a9 = start + 9, a10 = start + 10, a11 = start + 11;
    for (uint turn = 0; turn < num_turns; turn++) {
        CHAINS_STEP CHAINS_STEP CHAINS_STEP CHAINS_STEP CHAINS_STEP CHAINS_STEP CHAINS_STEP CHAINS_STEP
    }
    realv sum = ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)) + ((a8 + a9) + (a10 + a11));
    store_lanes(sum_out + get_global_id(0) * V, sum);
}

/* Copies source [num][V] to target. Work-item i copies the elements first_factor * i + stride * k, k = 0 ...
 * count - 1: consecutive ones on CPUs (first_factor = count, stride = 1), interleaved with its neighbours' on GPUs. */
__kernel void probe_copy(__global const real *source, __global real *target, ulong num, ulong first_factor,
                         ulong stride, uint count) {
    ulong first = get_global_id(0) * first_factor;
    for (uint k = 0; k < count; k++) {
        ulong i = first + k * stride;
        if (i < num) store_lanes(target + i * V, load_lanes(source + i * V));
    }
}
