/* The flow: prior + dynamics + integrator on the device, in both directions, with exact log-density.
 *   x(1) = x(0) + int_0^1 v dt,   log_prob(x) = prior.log_prob(z) - log_det,   log_det = int_0^1 div v dt
 * (Koehler, Klein and Noe, ICML 2020). The divergence is the exact divergence of the field that is integrated. */
#ifndef EQFLOW_FLOW_H
#define EQFLOW_FLOW_H

#include "eqflow/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum eqf_field_evaluation {
    EQF_FIELD_TABLE, /* interpolated per-stage table, checked against direct summation when built */
    EQF_FIELD_DIRECT /* the Gaussians summed for each pair: the oracle */
} eqf_field_evaluation;

/* How the divergence of the field is had. */
typedef enum eqf_divergence {
    /* radial: the closed form; dense: the trace of the Jacobian, one direction after the other */
    EQF_DIVERGENCE_EXACT,
    /* Hutchinson's estimate e . J e with one random e for a sample and solve, entries +-1 ... */
    EQF_DIVERGENCE_RADEMACHER,
    EQF_DIVERGENCE_GAUSSIAN    /* ... or normal: unbiased for log_prob, not for densities. Dense fields only */
} eqf_divergence;

typedef enum eqf_precision {
    EQF_PRECISION_FLOAT,
    EQF_PRECISION_DOUBLE /* radial fields summed directly, RK4, where the device has fp64: to certify the other */
} eqf_precision;

typedef enum eqf_direction { EQF_PRIOR_TO_DATA, EQF_DATA_TO_PRIOR } eqf_direction;

/* What the adaptive integrator holds below its tolerance. */
typedef enum eqf_error_norm {
    EQF_ERROR_NORM_STATE_AND_LOG_DET, /* the larger of the errors of x and of log_det */
    EQF_ERROR_NORM_STATE              /* that of x alone */
} eqf_error_norm;

/* EQF_INTEGRATOR_DOPRI5. A step is accepted if |e_x| <= atol + rtol |x|, root mean squares over the configuration (so
 * that symmetry operations change no step), and |e_log_det| <= atol + rtol nats. Zeros mean defaults. */
typedef struct eqf_adaptive_options {
    size_t struct_size; /* set by EQF_ADAPTIVE_OPTIONS_INIT */
    double rtol;        /* 1e-5; 1e-8 ... 0.1; below 1e-6 the rounding of float32 decides */
    double atol;        /* 1e-10 */
    unsigned max_steps; /* 10000: tries of a step after which a sample is given up */
    eqf_error_norm error_norm;
    unsigned char reserved[96]; /* 0: see eqflow/context.h */
} eqf_adaptive_options;
#define EQF_ADAPTIVE_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_adaptive_options), .error_norm = EQF_ERROR_NORM_STATE_AND_LOG_DET }

typedef struct eqf_flow_options {
    size_t struct_size; /* set by EQF_FLOW_OPTIONS_INIT */
    unsigned num_steps; /* 0: the model's */
    eqf_field_evaluation field_evaluation;
    eqf_divergence divergence;
    uint64_t divergence_seed; /* of the estimate's noise, with a sample's index; eqf_flow_sample uses its own seed */
    /* With DOPRI5, num_steps and field_evaluation count for nothing: the field is summed directly at the times that
     * each sample asks for, and gradients are those of the continuous adjoint (OTD). */
    eqf_integrator_method method;
    eqf_adaptive_options adaptive;
    /* DOUBLE: all arithmetic of samples, log-densities, transforms and velocities; what goes through float arrays is
     * rounded there, and eqf_flow_sample_double and eqf_flow_log_prob_double do without. No gradients. Errors:
     * UNSUPPORTED. */
    eqf_precision precision;
} eqf_flow_options;
#define EQF_FLOW_OPTIONS_INIT \
    {.struct_size = sizeof(eqf_flow_options), .field_evaluation = EQF_FIELD_TABLE, .divergence = EQF_DIVERGENCE_EXACT, \
     .method = EQF_INTEGRATOR_RK4, .adaptive = EQF_ADAPTIVE_OPTIONS_INIT, .precision = EQF_PRECISION_FLOAT}

/* The options of a method, one by one: offsets in eqf_flow_options, where 0 means the default; num_steps has the
 * model's. NULL beyond the last. */
const eqf_option *eqf_integrator_option(eqf_integrator_method method, size_t index);

/* Owns: device buffers and programs; copies what it needs of the model. Immutable but for set_params.
 * Threads: those of its context. */
typedef struct eqf_flow eqf_flow;

/* options may be NULL. Errors: INVALID_ARGUMENT, KERNEL_BUILD, NON_FINITE, those of the device. */
eqf_status eqf_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out);
void eqf_flow_destroy(eqf_flow **flow);
/* Coordinates of a configuration, N D; 0 for NULL. */
size_t eqf_flow_num_dof(const eqf_flow *flow);

/* New values of all parameters (num_params floats), as when a model is trained. Errors: NON_FINITE (the parameters give
 * no finite field), those of the device. The old field is gone then: after NON_FINITE set other parameters, else
 * destroy the flow. */
eqf_status eqf_flow_set_params(eqf_flow *flow, const float *params);

/* Samples first_sample ... first_sample + num_samples - 1 of the stream `seed`: the result for one sample
 * does not depend on how the calls are cut. x_out [num_samples, N, D]; log_prob_out [num_samples] or NULL. */
eqf_status eqf_flow_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                           float *x_out, float *log_prob_out);

/* log_prob_out [B] of configurations x [B, N, D], which are centred first (nats, normalised on the mean-free subspace);
 * z_out [B, N, D] their latents, or NULL. Non-finite input gives non-finite output for that sample only. */
eqf_status eqf_flow_log_prob(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out,
                             float *z_out);
/* The same for a part of a batch that begins at its configuration `first`: an estimated divergence has the noise that
 * it has in the whole, so that the result does not depend on how the calls are cut. */
eqf_status eqf_flow_log_prob_part(eqf_flow *flow, uint64_t first, size_t batch_size, const float *x,
                                  float *log_prob_out, float *z_out);

/* Samples and log-densities in double throughout, for flows of EQF_PRECISION_DOUBLE; UNSUPPORTED for others. The same
 * seed draws the same samples up to rounding. */
eqf_status eqf_flow_sample_double(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                  double *x_out, double *log_prob_out);
eqf_status eqf_flow_log_prob_double(eqf_flow *flow, size_t batch_size, const double *x, double *log_prob_out,
                                    double *z_out);

/* One solve: x_in [B, N, D] -> x_out [B, N, D] and log_det_out [B] = log|det d x_out / d x_in|. */
eqf_status eqf_flow_transform(eqf_flow *flow, eqf_direction direction, size_t batch_size, const float *x_in,
                              float *x_out, float *log_det_out);

/* How closely prior -> data -> prior returns: RK4 backward undoes RK4 forward up to their errors, which are of order
 * 1/num_steps^4. Also a tolerance for them. */
typedef struct eqf_round_trip {
    double coordinate; /* largest |z' - z| of a coordinate, z' = prior -> data -> prior of z */
    /* largest difference of a sample's log-density as eqf_flow_sample and as eqf_flow_log_prob have it (nats) */
    double log_prob;
} eqf_round_trip;

/* Over num_samples latents of the stream `seed`. NaN if a trajectory is not finite. */
eqf_status eqf_flow_round_trip(eqf_flow *flow, uint64_t seed, size_t num_samples, eqf_round_trip *error_out);

/* The fewest of 1, 2 and 4 times options' RK4 steps with which both errors of the round trip are within tolerance, and
 * those errors; the most and their errors if none is. Log-densities that more steps bring no closer are as close as
 * rounding allows: then coordinates alone count. options as in eqf_flow_create, whose errors these are. */
eqf_status eqf_flow_choose_steps(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                                 uint64_t seed, size_t num_samples, const eqf_round_trip *tolerance,
                                 unsigned *num_steps_out, eqf_round_trip *error_out);

/* The field itself at one time t: velocity_out [B, N, D], divergence_out [B]. t must be one of the stage times
 * j/(2 num_steps), j = 0 ... 2 num_steps, or with DOPRI5 any in [0, 1]: INVALID_ARGUMENT else. */
eqf_status eqf_flow_velocity(eqf_flow *flow, double t, size_t batch_size, const float *x,
                             float *velocity_out, float *divergence_out);

/* The vector-Jacobian product of the field at time t (as for eqf_flow_velocity), for programs that differentiate
 * through it: of sum over samples of  adjoint_velocity . v + adjoint_divergence div v,  adjoint_velocity [B, N, D],
 * adjoint_divergence [B] or NULL (as if 0), the derivative by x, adjoint_x_out [B, N, D], and by the trained
 * parameters, gradient_out [num_trained]; each may be NULL. x is not centred.
 * Errors: INVALID_ARGUMENT, UNSUPPORTED (double precision), those of the device. */
eqf_status eqf_flow_velocity_vjp(eqf_flow *flow, double t, size_t batch_size, const float *x,
                                 const float *adjoint_velocity, const float *adjoint_divergence, float *adjoint_x_out,
                                 float *gradient_out);

/* The way of latents z [B, N, D] from prior to data in num_steps RK4 steps, those of the flow (flows with other steps
 * have no field at these times: INVALID_ARGUMENT; with DOPRI5 any number will do). Frame f is what stands after step
 * eqf_flow_trajectory_step(num_steps, num_frames, f), the first at t = 0, the last at t = 1: x_out [num_frames, B, N,
 * D], log_prob_out [num_frames, B] (log q_t of each configuration at its time) or NULL, velocity_out as x_out or NULL.
 * The last frame is eqf_flow_transform's result up to rounding. */
eqf_status eqf_flow_trajectory(eqf_flow *flow, unsigned num_steps, size_t batch_size, const float *z, size_t num_frames,
                               float *x_out, float *log_prob_out, float *velocity_out);
unsigned eqf_flow_trajectory_step(unsigned num_steps, size_t num_frames, size_t frame);

/* What a loss evaluation adds up; means over the batch. loss = nll + integration_penalty * error, with
 * error = sum over steps of h (|k2 - k3|^2 + (div2 - div3)^2) of RK4's two mid-point stages. */
typedef struct eqf_loss {
    size_t struct_size; /* set by EQF_LOSS_INIT */
    double loss, nll, integration_error;
} eqf_loss;
#define EQF_LOSS_INIT {.struct_size = sizeof(eqf_loss)}

/* Negative log-likelihood of x [B, N, D] (centred first) and its exact gradient through the discretised flow (DTO; with
 * DOPRI5 that of the continuous adjoint, OTD, which has no integration error to penalise and counts it as 0):
 * gradient_out [num_trained] and adjoint_x_out [B, N, D] (d loss / d x), each may be NULL. */
eqf_status eqf_flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size,
                                 const float *x, eqf_loss *loss_out, float *gradient_out,
                                 float *adjoint_x_out);

/* The score, grad_x log_prob, of configurations x [B, N, D], which are centred first: score_out [B, N, D] (mean-free),
 * with log_prob_out [B] and the latents z_out [B, N, D] or NULL. Of a message field log_prob_out is that of the loss,
 * which differs from eqf_flow_log_prob by both integration errors (docs/method.md, section 9). What is not finite
 * spoils its own sample only. Costs about what a gradient does. Errors: INVALID_ARGUMENT, UNSUPPORTED (double
 * precision), those of the device. */
eqf_status eqf_flow_score(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out, float *z_out,
                          float *score_out);

/* The same of an energy-based loss: loss = free_energy + integration_penalty * error, with
 *   free_energy = mean over z of  u(x) + log_prob(x),  x the image of z:  KL(model || target) - ln Z, at least -ln
 *       Z. */
typedef struct eqf_energy_loss {
    size_t struct_size; /* set by EQF_ENERGY_LOSS_INIT */
    double loss, free_energy, integration_error;
} eqf_energy_loss;
#define EQF_ENERGY_LOSS_INIT {.struct_size = sizeof(eqf_energy_loss)}

/* That loss for latents z [B, N, D] (centred first; draw them by eqf_flow_prior_sample) and its exact gradient with the
 * potential's forces: gradient_out [num_trained] or NULL. Energies above energy_cap count as energy_cap + ln(1 + u -
 * energy_cap), with the forces that belong to it (docs/method.md, section 4); INFINITY: as they are. target has the
 * flow's N and D. */
eqf_status eqf_flow_energy_gradient(eqf_flow *flow, const eqf_potential_options *target, double energy_cap,
                                    double integration_penalty, size_t batch_size, const float *z,
                                    eqf_energy_loss *loss_out, float *gradient_out);

/* Normalised log density of the mean-free Gaussian prior and its samples, z [B, N, D]. */
eqf_status eqf_flow_prior_log_prob(eqf_flow *flow, size_t batch_size, const float *z, float *log_prob_out);
eqf_status eqf_flow_prior_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                 float *z_out);

/* What the adaptive integrator did in all solves since the flow was made or the last reset; zeros with RK4. Gradients
 * count their solve of the flow, not the way back. */
typedef struct eqf_step_range {
    uint64_t min, max, total; /* over samples */
} eqf_step_range;
typedef struct eqf_step_statistics {
    size_t struct_size; /* set by EQF_STEP_STATISTICS_INIT */
    uint64_t num_samples;
    /* samples given up: not finite, or not done within max_steps or with steps that rounding still shows; NaN */
    uint64_t num_failed;
    eqf_step_range accepted, rejected;
    uint64_t num_velocity_evals; /* in all */
} eqf_step_statistics;
#define EQF_STEP_STATISTICS_INIT {.struct_size = sizeof(eqf_step_statistics)}
/* What was counted. */
eqf_status eqf_flow_step_statistics(const eqf_flow *flow, eqf_step_statistics *statistics_out);
/* Counts from zero again. */
void eqf_flow_reset_step_statistics(eqf_flow *flow);

#ifdef __cplusplus
}
#endif
#endif
