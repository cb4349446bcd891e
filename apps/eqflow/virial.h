/* A check of samples that are said to be of the equilibrium of a potential. */
#ifndef VIRIAL_H
#define VIRIAL_H

#include "app.h"
#include "eqflow/potential.h"

/* Warns if the mean virial of x [num, N, D] is not that of the equilibrium. */
exit_code virial_check(cli_app *app, const eqf_potential_options *potential, size_t num, const float *x);

#endif
