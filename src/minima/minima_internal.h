/* Shared by the files of this module. */
#ifndef EQF_MINIMA_INTERNAL_H
#define EQF_MINIMA_INTERNAL_H

#include "base.h"
#include "eqflow/minima.h"

/* Subtracts the centre of mass of x [N, D]. */
void eqf__minima_centre(unsigned num_particles, unsigned space_dim, double *x);

/* Looks for a direction along which the curvature of a symmetric matrix [n, n] (overwritten) is below -tolerance. True:
 * direction_out [n] is one, with largest component 1. False: every eigenvalue is above -tolerance, up to rounding. */
bool eqf__minima_find_way_down(size_t n, double tolerance, double *matrix, double *direction_out);

/* True if a rotation or reflection and a permutation within the species (the last num_b particles are of B) bring each
 * particle of b [N, D] within tolerance of one of a [N, D]; both are centred. work [N]. */
bool eqf__minima_is_congruent(unsigned num_particles, unsigned num_b, unsigned space_dim, const double *a,
                              const double *b, double tolerance, bool *work);

#endif
