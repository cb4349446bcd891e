/* Random rotations, reflections and permutations of a batch on the device: cl/train/augment.cl. */
#ifndef EQF_AUGMENT_H
#define EQF_AUGMENT_H

#include "program.h"

/* The last num_b particles are of species B: permutations are within the species. */
eqf_status eqf__augment_create(eqf_context *ctx, unsigned num_particles, unsigned num_b, unsigned space_dim,
                               eqf__kernel *augment_out);
/* Changes d_x [num_blocks][N*D][V]; sample b has position first_position + b among all that were drawn with seed. */
eqf_status eqf__augment(eqf_context *ctx, const eqf__kernel *augment, uint64_t seed, uint64_t first_position,
                        size_t num_blocks, cl_mem d_x);

#endif
