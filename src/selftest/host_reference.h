/* What the device should answer: the same formulas in double on the host, straight from docs/method.md. */
#ifndef EQF_HOST_REFERENCE_H
#define EQF_HOST_REFERENCE_H

#include <stddef.h>

enum { EQF__REFERENCE_MAX_DOF = 16, EQF__REFERENCE_MAX_GAUSSIANS = 16 };

/* A radial field with its parameters in the order of the flat vector (src/dynamics/radial_params.h). */
typedef struct eqf__host_field {
    unsigned num_particles, space_dim, num_distance, num_time;
    const double *params;
} eqf__host_field;

/* v [N, D] and its divergence at (x [N, D], t). */
void eqf__host_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                        double *divergence_out);
/* RK4, data -> prior: z [N, D] and log_prob; error as in eqf_loss. */
void eqf__host_log_prob(const eqf__host_field *field, double prior_scale, unsigned num_steps, const double *x,
                        double *log_prob_out, double *error_out);

#endif
