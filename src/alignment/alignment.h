/* Finds the nearest of all rotated, reflected and relabelled copies of a configuration; labels change within a
 * species only. */
#ifndef EQF_ALIGNMENT_H
#define EQF_ALIGNMENT_H

#include "base.h"

/* Working memory for configurations of one size, whose last num_b particles are of species B; each thread needs its
 * own. */
typedef struct eqf__alignment eqf__alignment;
eqf_status eqf__alignment_create(eqf_context *ctx, unsigned num_particles, unsigned num_b, unsigned space_dim,
                                 eqf__alignment **alignment_out);
void eqf__alignment_destroy(eqf__alignment **alignment);

/* q_out [D, D]: the orthogonal map (a rotation or a reflection) with the least sum over i of |z_i - q x_i|^2, which is
 * the polar factor of sum z_i x_i^T. D is 1, 2 or 3. Returns sum over i of z_i . q x_i, which is largest for this q. */
double eqf__best_orthogonal(unsigned num_particles, unsigned space_dim, const double *z, const double *x,
                            double *q_out);

/* Replaces x [N, D] by its copy nearest to z [N, D]; both are centred. For four particles or fewer this is the nearest
 * over all permutations and orthogonal maps; for more the nearest found from num_starts random orientations (numbers
 * `start` ... of the stream seed) by alternating between the best permutation and the best map. Returns |z - x|^2. */
double eqf__align(eqf__alignment *alignment, const double *z, unsigned num_starts, uint64_t seed, uint64_t start,
                  double *x);
/* Only |z - x|^2 of the nearest copy, for N <= 4; NAN for more particles. */
double eqf__aligned_distance(const eqf__alignment *alignment, const double *z, const double *x);

#endif
