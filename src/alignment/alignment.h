/* The nearest of all rotated, reflected and relabelled copies of a configuration; labels change within a species. */
#ifndef EQF_ALIGNMENT_H
#define EQF_ALIGNMENT_H

#include "base.h"

/* Working memory for configurations of one size, whose last num_b particles are of species B; one a thread. */
typedef struct eqf__alignment eqf__alignment;
eqf_status eqf__alignment_create(eqf_context *ctx, unsigned num_particles, unsigned num_b, unsigned space_dim,
                                 eqf__alignment **alignment_out);
void eqf__alignment_destroy(eqf__alignment **alignment);

/* q_out [D, D], orthogonal, reflections included, of the least sum over i of |z_i - q x_i|^2: the polar factor of sum
 * z_i x_i^T. D is 1, 2 or 3. Returns that sum of z_i . q x_i, which is the largest. */
double eqf__best_orthogonal(unsigned num_particles, unsigned space_dim, const double *z, const double *x,
                            double *q_out);

/* x [N, D] is replaced by its copy nearest to z [N, D], both centred: over all permutations and orthogonal maps for
 * four particles or fewer; else the nearest found from num_starts random orientations (numbers `start` ... of the
 * stream seed) by alternating between the best permutation and the best orthogonal map. Returns |z - x|^2. */
double eqf__align(eqf__alignment *alignment, const double *z, unsigned num_starts, uint64_t seed, uint64_t start,
                  double *x);
/* |z - x|^2 of the nearest copy only, for N <= 4; NAN for more particles. */
double eqf__aligned_distance(const eqf__alignment *alignment, const double *z, const double *x);

#endif
