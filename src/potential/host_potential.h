/* Energies and forces on the host in double precision, by the formulas of the kinds, to compare with the device's. */
#ifndef EQF_HOST_POTENTIAL_H
#define EQF_HOST_POTENTIAL_H

#include <stdbool.h>

#include "eqflow/potential.h"

/* Whether the host has the kind's formula; the functions below need it. */
bool eqf__host_has_formula(const eqf_potential_options *potential);

/* Reduced energy of x [N, D] and its force = -grad, force_out [N, D]. */
double eqf__host_energy(const eqf_potential_options *potential, const double *x);
void eqf__host_force(const eqf_potential_options *potential, const double *x, double *force_out);
/* A test configuration: particles on a cubic lattice with the potential's length as spacing, each displaced a
 * little. */
void eqf__host_lattice(const eqf_potential_options *potential, unsigned sample, double *x_out);

#endif
