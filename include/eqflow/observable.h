/* Observables: functions of a configuration whose values are averaged with weights (eqflow/estimate.h). The library has
 * a table of them; any other is a text of OpenCL C, evaluated on the device. */
#ifndef EQFLOW_OBSERVABLE_H
#define EQFLOW_OBSERVABLE_H

#include "eqflow/potential.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_observable {
    const char *name;   /* "radius_of_gyration": in options, files and JSON */
    const char *title;  /* "radius of gyration" */
    const char *unit;   /* "length"; "" for a pure number */
    const char *help;   /* a description without capital and full stop */
    unsigned least_dim; /* least space_dim; 3: only in three dimensions */
} eqf_observable;

/* Static; *num_observables_out entries. */
const eqf_observable *eqf_observables(size_t *num_observables_out);
/* NULL if there is no such observable. */
const eqf_observable *eqf_observable_find(const char *name);

/* values_out [num] of configurations x [num, N, D], on the host in double. neighbour_distance: particles closer than
 * this are neighbours (for bond-orientational order; else 0). Configurations that are not finite give NaN.
 * Errors: INVALID_ARGUMENT. */
eqf_status eqf_observable_evaluate(eqf_context *ctx, const eqf_observable *observable, unsigned num_particles,
                                   unsigned space_dim, double neighbour_distance, size_t num, const float *x,
                                   double *values_out);

/* The same for a text of OpenCL C, on the device in float32. The text has the function
 *     real observable(const real *x);      of one configuration x [N*D]: coordinate d of particle i is x[i * D + d]
 * with N, D and the constants as macros, under the rules for potentials (docs/potentials.md). Of the options `of`
 * only N, D, source, source_name and the constants are used. Errors: INVALID_ARGUMENT, KERNEL_BUILD, those of the
 * device. */
eqf_status eqf_observable_evaluate_text(eqf_context *ctx, const eqf_potential_options *of, size_t num, const float *x,
                                        double *values_out);

/* Pair distribution of clusters without a box: the number density of other particles at distance r from a particle,
 * averaged over particles and configurations. Its integral over a volume is the number of neighbours in it, over all
 * space N - 1.
 *   density_out [num_bins]: in equal bins of [low, high), per length^D
 *   standard_error_out [num_bins] or NULL: for independent configurations
 * log_weights [num] or NULL: equal weights. Errors: INVALID_ARGUMENT, NON_FINITE, OUT_OF_MEMORY. */
eqf_status eqf_observable_pair_density(unsigned num_particles, unsigned space_dim, size_t num, const float *x,
                                       const double *log_weights, double low, double high, size_t num_bins,
                                       double *density_out, double *standard_error_out);

#ifdef __cplusplus
}
#endif
#endif
