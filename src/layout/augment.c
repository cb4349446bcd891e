#include "augment.h"

eqf_status eqf__augment_create(eqf_context *ctx, unsigned num_particles, unsigned num_b, unsigned space_dim,
                               eqf__kernel *augment_out) {
    static const char *const files[] = {"common/real.clh", "common/philox.clh", "common/random.clh", "train/augment.cl",
                                        NULL};
    char defines[64];
    snprintf(defines, sizeof defines, "-D N=%u -D D=%u -D FIRST_B=%uu", num_particles, space_dim,
             num_particles - num_b);
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "augment", files, defines, &program));
    return eqf__kernel_create(ctx, program, "augment", augment_out);
}

eqf_status eqf__augment(eqf_context *ctx, const eqf__kernel *augment, uint64_t seed, uint64_t first_position,
                        size_t num_blocks, cl_mem d_x) {
    cl_uint low = (cl_uint)seed, high = (cl_uint)(seed >> 32), blocks = (cl_uint)num_blocks;
    cl_ulong first = first_position;
    return EQF__LAUNCH(ctx, augment, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(low), EQF__ARG(high), EQF__ARG(first),
                       EQF__ARG(blocks));
}
