/* Data of one state only: Gaussian noise around the lowest minimum (docs/cli.md, data). */
#ifndef EQFLOW_APP_NOISE_H
#define EQFLOW_APP_NOISE_H

#include "eqflow/potential.h"

#include "app.h"
#include "exit_code.h"

/* x_out [num, N, D], centred: the lowest minimum found from random starts of app's seed, plus independent normal noise
 * of standard deviation sd on each coordinate. minimum_energy_out: kT. */
exit_code noise_around_minimum(cli_app *app, const eqf_potential_options *potential, double sd, size_t num,
                               float *x_out, double *minimum_energy_out);

#endif
