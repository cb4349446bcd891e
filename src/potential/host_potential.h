/* Energies and forces as the device should find them: the formulas of the kinds in double, on the host. */
#ifndef EQF_HOST_POTENTIAL_H
#define EQF_HOST_POTENTIAL_H

#include <stdbool.h>

#include "eqflow/potential.h"

/* Whether the host knows the kind's formula; the functions below are for such potentials. */
bool eqf__host_has_formula(const eqf_potential_options *potential);

/* Reduced energy of x [N, D] and its force = -grad, force_out [N, D]. */
double eqf__host_energy(const eqf_potential_options *potential, const double *x);
void eqf__host_force(const eqf_potential_options *potential, const double *x, double *force_out);
/* A configuration to ask for: particles on a cubic lattice at the distance that the potential likes, each a little off
 * its place. */
void eqf__host_lattice(const eqf_potential_options *potential, unsigned sample, double *x_out);

#endif
