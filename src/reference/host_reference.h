/* The expected results of the device: the formulas of docs/method.md in double on the host. */
#ifndef EQF_HOST_REFERENCE_H
#define EQF_HOST_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eqflow/flow.h"

enum { EQF__REFERENCE_MAX_GAUSSIANS = 1024 };

/* A field with its parameters in the order of the flat vector (src/dynamics/radial_params.h, dense_params.h). */
typedef struct eqf__host_field eqf__host_field;
/* v [N, D] and its divergence at (x [N, D], t); of kinds with a costly divergence that one may be NULL. False, here and
 * below: out of memory. */
typedef bool (*eqf__host_velocity_function)(const eqf__host_field *field, const double *x, double t,
                                            double *velocity_out, double *divergence_out);
struct eqf__host_field {
    eqf__host_velocity_function velocity; /* that of the kind */
    unsigned num_particles, space_dim;
    const eqf_dynamics_options *options;
    const double *params;
    /* For message fields: all particles of x are equivalent by symmetry, so the divergence is N times that of one. */
    bool is_symmetric;
    /* For dense fields: how the divergence is computed, and the noise of an estimate for one sample. */
    eqf_divergence divergence;
    uint64_t noise_seed, noise_sample;
    bool is_divergence_apart; /* log_det by Simpson's rule over the ends and the middle of each step, not by stages */
};

bool eqf__host_radial_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                               double *divergence_out);
bool eqf__host_dense_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                              double *divergence_out);
/* An explicit Runge-Kutta scheme in which each stage depends on the slope of the stage before only:
 * cl/integrator/steps.clh. */
typedef struct eqf__host_scheme {
    unsigned num_stages; /* 4 at most */
    /* of a stage: its time, in steps; its weight; the step to the next stage's place, in steps */
    double offset[4], weight[4], reach[4];
    unsigned pair[2]; /* two stages whose difference measures the integration error; equal numbers: none */
} eqf__host_scheme;
extern const eqf__host_scheme eqf__host_rk4;
/* The scheme in num_steps steps, prior -> data or back: x_out [N, D] and log_det; error as in eqf_loss. */
bool eqf__host_transform(const eqf__host_field *field, const eqf__host_scheme *scheme, bool is_prior_to_data,
                         unsigned num_steps, const double *x, double *x_out, double *log_det_out, double *error_out);

/* Streams of random numbers: cl/prior/normals.clh. */
#define EQF__STREAM_PRIOR 0x7072696fu
/* Mean-free normals of cl/prior/normals.clh, number by number: out [N * D + 4], the last four are scratch. */
void eqf__host_normals(unsigned num_particles, unsigned space_dim, double scale, uint64_t seed, uint64_t sample,
                       uint32_t stream, double *out);
/* The normals 4 number ... 4 number + 3 of a sample. */
void eqf__host_four_normals(uint64_t seed, uint64_t sample, uint32_t number, uint32_t stream, double out[4]);
/* The noise that training adds to the configuration number `position`: noise_out [N * D + 3], the last three
 * scratch. */
void eqf__host_data_noise(unsigned num_particles, unsigned space_dim, double scale, uint64_t seed, uint64_t position,
                          double *noise_out);
/* The rotation or reflection and the permutation of cl/train/augment.cl that configuration number `position` gets: x
 * [N, D] in place; the last num_b particles are of species B. */
void eqf__host_augment(unsigned num_particles, unsigned num_b, unsigned space_dim, uint64_t seed, uint64_t position,
                       double *x);

/* The four words that random_words of cl/common/random.clh gives. */
void eqf__host_words(uint64_t seed, const uint32_t counter[4], uint32_t words_out[4]);
/* Uniform on (-1, 1) from a counter: parameters and configurations of known answers. */
double eqf__host_number(unsigned counter, unsigned stream);
/* The larger of the two; NaN if one of them is NaN, so that no error is lost. */
double eqf__host_worse(double worst, double error);
/* Subtracts the centre of mass of x [N, D]. */
void eqf__host_centre(unsigned num_particles, unsigned space_dim, double *x);

#endif
