/* What the device should answer: the same formulas in double on the host, straight from docs/method.md. */
#ifndef EQF_HOST_REFERENCE_H
#define EQF_HOST_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eqflow/flow.h"

enum { EQF__REFERENCE_MAX_GAUSSIANS = 1024 };

/* A field with its parameters in the order of the flat vector (src/dynamics/radial_params.h, dense_params.h). */
typedef struct eqf__host_field eqf__host_field;
/* v [N, D] and its divergence at (x [N, D], t). False, here and below: out of memory. */
typedef bool (*eqf__host_velocity_function)(const eqf__host_field *field, const double *x, double t,
                                            double *velocity_out, double *divergence_out);
struct eqf__host_field {
    eqf__host_velocity_function velocity; /* that of the kind */
    unsigned num_particles, space_dim;
    const eqf_dynamics_options *options;
    const double *params;
    /* Of message fields: x is such that all particles are alike, so that the divergence is N times that of one. */
    bool is_symmetric;
    /* Of dense fields: how the divergence is had, and the noise of an estimate, that of one sample. */
    eqf_divergence divergence;
    uint64_t noise_seed, noise_sample;
    bool is_divergence_apart; /* integrated by Simpson's rule over each step's ends and middle, not by RK4's stages */
};

bool eqf__host_radial_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                               double *divergence_out);
bool eqf__host_dense_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                              double *divergence_out);
/* An explicit Runge-Kutta scheme whose stages start from the slope of the one before: cl/integrator/steps.clh. */
typedef struct eqf__host_scheme {
    unsigned num_stages;                   /* 4 at most */
    double offset[4], weight[4], reach[4]; /* of a stage: its time in steps; its weight; the way to the next stage */
    unsigned pair[2];                      /* two stages whose slopes differ by the integration error; the same: none */
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
/* Normals 4 number ... 4 number + 3 of a sample, for what needs more of them. */
void eqf__host_four_normals(uint64_t seed, uint64_t sample, uint32_t number, uint32_t stream, double out[4]);
/* What training adds to configuration number position; noise_out has room for 3 numbers more. */
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
/* The larger, NaN if one of them is: no error hides behind a comparison. */
double eqf__host_worse(double worst, double error);
/* Subtracts the centre of mass of x [N, D]. */
void eqf__host_centre(unsigned num_particles, unsigned space_dim, double *x);

#endif
