/* The independent reference: the formulas of docs/method.md and the public headers in double precision, straight loops.
 * Shares no code with src/ and cl/ on purpose; keep it slow and plain. Out of memory aborts: this is test code. */
#ifndef EQF_TESTS_REFERENCE_H
#define EQF_TESTS_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "eqflow/flow.h"

/* ---- The radial field ------------------------------------------------------------------------------------ */

/* phi(d,t) = sum_m T_m(t) [ sum_k (R_k(d) + c_k^2) W_km + b_m ]   (Koehler et al. 2020, section 4 and appendix)
 * R_k, T_m: exp(-((s - mu)/gamma)^2) / (1e-6 + their sum), gamma = exp(log gamma). */
typedef struct ref_radial {
    unsigned num_distance, num_time; /* K, M */
    size_t num_params, num_trained;
    double *params;              /* [num_params], the flat vector that the pointers below look into */
    double *weights;             /* [K, M] */
    double *bias;                /* [M] */
    double *importance;          /* [K], c */
    double *distance_log_gammas; /* [K] */
    double *time_log_gammas;     /* [M] */
    double *distance_centers;    /* [K] */
    double *time_centers;        /* [M] */
} ref_radial;

/* All zero, in the order above: the trained ones first. */
ref_radial *ref_radial_create(unsigned num_distance, unsigned num_time);
/* The model's numbers, at the model's offsets. NULL if a tensor is missing or has another shape. */
ref_radial *ref_radial_from_model(const eqf_model *model);
void ref_radial_destroy(ref_radial *radial);

double ref_radial_phi(const ref_radial *radial, double d, double t);
double ref_radial_phi_prime(const ref_radial *radial, double d, double t); /* d phi / d d */

/* v_i = sum_{j != i} r_ij phi(d_ij, t), div v = sum_{i != j} [ d phi' + D phi ], r_ij = x_i - x_j.
 * x, velocity_out [N, D]. divergence_scale_out, or NULL: the same sum over |d phi'| + |D phi|, the size that
 * rounding errors of the divergence are relative to. */
void ref_velocity(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t, const double *x,
                  double *velocity_out, double *divergence_out, double *divergence_scale_out);

/* max over i of sum_{j != i} |r_ij| phi_ij with every term of phi taken absolutely: what the rounding errors of the
 * velocity are relative to where the terms cancel. */
double ref_velocity_scale(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t,
                          const double *x);

/* The trace of the numerically differentiated Jacobian dv/dx (central differences). */
double ref_divergence_brute_force(const ref_radial *radial, unsigned num_particles, unsigned space_dim, double t,
                                  const double *x);

/* ---- The dense field ------------------------------------------------------------------------------------- */

/* v = P f(P x, t); f: a_0 = (y, t), z_l = W_l a_l + b_l, a_{l+1} = s(z_l), f = z_L. s is tanh or SiLU, P removes
 * the centre of mass. The flow with it is RK4 with num_steps equal steps. */
typedef struct ref_dense {
    unsigned num_particles, space_dim, width, depth, num_steps;
    eqf_activation activation;
    eqf_divergence divergence;
    uint64_t divergence_seed;
    double prior_scale;
    size_t num_params;
    double *params; /* W_0 [width, N*D + 1], b_0, W_1 [width, width], b_1, ..., W_L [N*D, width], b_L */
} ref_dense;

/* The model's numbers and options, exact divergence, seed 0. NULL if a tensor is missing or has another shape. */
ref_dense *ref_dense_from_model(const eqf_model *model);
void ref_dense_destroy(ref_dense *dense);

/* Velocity of x [N, D] and the divergence in the way that dense->divergence asks for; `sample` is the index that
 * Hutchinson's noise is drawn for: n of Philox4x32-10 with key = seed and counter (sample, c/4, "nois"), entries
 * the signs or Box-Muller normals of its words; the estimate is (P n) . J (P n). */
void ref_dense_velocity(const ref_dense *dense, double t, uint64_t sample, const double *x, double *velocity_out,
                        double *divergence_out);
/* The trace of the numerically differentiated Jacobian dv/dx (central differences). */
double ref_dense_divergence_by_differences(const ref_dense *dense, double t, const double *x);
/* log_prob of x, centred, data -> prior; integration_error_out or NULL. */
double ref_dense_log_prob(const ref_dense *dense, uint64_t sample, const double *x, double *integration_error_out);
/* loss of x [B, N, D], samples 0 ... B - 1. */
eqf_loss ref_dense_loss(const ref_dense *dense, double integration_penalty, size_t batch_size, const double *x);
/* Central difference of that loss by *variable, which is one of dense->params or of x. */
double ref_dense_loss_by(const ref_dense *dense, double integration_penalty, size_t batch_size, const double *x,
                         double *variable);

/* ---- Prior and potentials -------------------------------------------------------------------------------- */

/* -|z|^2/(2 s^2) - (N-1) D (ln s + 0.5 ln 2 pi) */
double ref_prior_log_prob(unsigned num_particles, unsigned space_dim, double scale, const double *z);

/* Reduced energy of x [N, D], and force_out [N, D] = -grad or NULL; formulas in eqflow/potential.h. */
double ref_potential_energy(const eqf_potential_options *potential, const double *x, double *force_out);

/* ---- The flow -------------------------------------------------------------------------------------------- */

typedef struct ref_flow {
    ref_radial *radial; /* the holder's */
    unsigned num_particles, space_dim, num_steps;
    double prior_scale;
} ref_flow;

/* Classical RK4, num_steps equal steps over t: 0 -> 1 or 1 -> 0. x_in, x_out [N, D] may be the same. Returns
 * log|det d x_out / d x_in|. integration_error_out, or NULL: sum over steps of
 * |h| (|k2 - k3|^2 + (div2 - div3)^2). */
double ref_transform(const ref_flow *flow, eqf_direction direction, const double *x_in, double *x_out,
                     double *integration_error_out);

/* log_prob(x) = prior.log_prob(z) + log|det dz/dx|; z_out [N, D] or NULL. */
double ref_log_prob(const ref_flow *flow, const double *x, double *z_out);

/* The same with the steps doubled until two results agree within tolerance: the continuous flow's value. */
double ref_log_prob_converged(const ref_flow *flow, const double *x, double tolerance);

/* loss = nll + integration_penalty * error, x [B, N, D]; see eqf_loss. */
eqf_loss ref_loss(const ref_flow *flow, double integration_penalty, size_t batch_size, const double *x);

/* Central finite differences of loss: with respect to parameter index of flow->radial->params, and to x[index]
 * (index in [0, B N D)). Parameters and x are changed in place and restored. */
double ref_loss_by_param(const ref_flow *flow, double integration_penalty, size_t batch_size, const double *x,
                         size_t index);
double ref_loss_by_x(const ref_flow *flow, double integration_penalty, size_t batch_size, double *x, size_t index);

/* free_energy = mean over z [B, N, D] of u(x) + log_prob(x), x the image of z, u above cap replaced by
 * cap + ln(1 + u - cap); see eqf_energy_loss. */
eqf_energy_loss ref_energy_loss(const ref_flow *flow, const eqf_potential_options *target, double cap,
                                double integration_penalty, size_t batch_size, const double *z);
double ref_energy_loss_by_param(const ref_flow *flow, const eqf_potential_options *target, double cap,
                                double integration_penalty, size_t batch_size, const double *z, size_t index);

#endif
