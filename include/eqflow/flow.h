/* The flow: prior, dynamics and integrator on the device, in both directions, with exact log-density.
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
    EQF_FIELD_DIRECT /* the Gaussians are summed for each pair: slower, to check the table */
} eqf_field_evaluation;

/* How the divergence of the field is computed. */
typedef enum eqf_divergence {
    /* radial, message: the closed form; dense: the trace of the Jacobian, one direction after the other */
    EQF_DIVERGENCE_EXACT,
    /* Hutchinson's estimate e . J e, with one random e for each sample and solve, entries +-1. Dense fields only. It is
     * unbiased for log_prob, but not for densities. */
    EQF_DIVERGENCE_RADEMACHER,
    EQF_DIVERGENCE_GAUSSIAN    /* the same with normal entries */
} eqf_divergence;

typedef enum eqf_precision {
    EQF_PRECISION_FLOAT,
    /* with RK4, for radial fields (summed directly) and message fields, if the device has fp64: to check FLOAT */
    EQF_PRECISION_DOUBLE
} eqf_precision;

typedef enum eqf_direction { EQF_PRIOR_TO_DATA, EQF_DATA_TO_PRIOR } eqf_direction;

/* The error that the adaptive integrator compares with its tolerance. */
typedef enum eqf_error_norm {
    EQF_ERROR_NORM_STATE_AND_LOG_DET, /* the larger of the errors of x and of log_det */
    EQF_ERROR_NORM_STATE              /* that of x alone */
} eqf_error_norm;

/* Of EQF_INTEGRATOR_DOPRI5. A step is accepted if |e_x| <= atol + rtol |x|, where |.| is the root mean square over the
 * configuration (so that symmetry operations do not change steps), and |e_log_det| <= atol + rtol nats. e is the
 * difference of the solutions of order 5 and 4. Zeros mean defaults. */
typedef struct eqf_adaptive_options {
    size_t struct_size; /* set by EQF_ADAPTIVE_OPTIONS_INIT */
    double rtol;        /* default 1e-5; from 1e-8 to 0.1; below 1e-6 rounding of float32 dominates */
    double atol;        /* default 1e-10 */
    unsigned max_steps; /* default 10000: attempted steps after which a sample is given up */
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
    /* With DOPRI5, num_steps and field_evaluation have no effect: the field is summed directly at the times of each
     * sample, and gradients are those of the continuous adjoint (OTD). */
    eqf_integrator_method method;
    eqf_adaptive_options adaptive;
    /* DOUBLE: all arithmetic of samples, log-densities, transforms and velocities is in double. Float arrays round the
     * results; eqf_flow_sample_double and eqf_flow_log_prob_double do not. There are no gradients (UNSUPPORTED). */
    eqf_precision precision;
} eqf_flow_options;
#define EQF_FLOW_OPTIONS_INIT \
    {.struct_size = sizeof(eqf_flow_options), .field_evaluation = EQF_FIELD_TABLE, .divergence = EQF_DIVERGENCE_EXACT, \
     .method = EQF_INTEGRATOR_RK4, .adaptive = EQF_ADAPTIVE_OPTIONS_INIT, .precision = EQF_PRECISION_FLOAT}

/* The options of a method, one by one: offsets in eqf_flow_options, where 0 means the default (of num_steps: the
 * model's). NULL beyond the last. */
const eqf_option *eqf_integrator_option(eqf_integrator_method method, size_t index);

/* Owns: device buffers and programs; copies what it needs of the model. Only eqf_flow_set_params changes it.
 * Threads: as its context. */
typedef struct eqf_flow eqf_flow;

/* options may be NULL. Errors: INVALID_ARGUMENT, KERNEL_BUILD, NON_FINITE, those of the device. */
eqf_status eqf_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out);
void eqf_flow_destroy(eqf_flow **flow);
/* Number of coordinates of a configuration, N D; 0 for NULL. */
size_t eqf_flow_num_dof(const eqf_flow *flow);

/* New values of all parameters (num_params floats), as when a model is trained. Errors: NON_FINITE (the parameters give
 * no finite field), those of the device. After an error the old parameters are lost: after NON_FINITE set
 * other parameters, after any other error destroy the flow. */
eqf_status eqf_flow_set_params(eqf_flow *flow, const float *params);

/* Samples first_sample ... first_sample + num_samples - 1 of the stream `seed`: a sample depends on the seed and its
 * number only. x_out [num_samples, N, D]; log_prob_out [num_samples] or NULL. */
eqf_status eqf_flow_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                           float *x_out, float *log_prob_out);

/* log_prob_out [B] (nats, normalised on the mean-free subspace) of configurations x [B, N, D], which are centred first;
 * z_out [B, N, D], their latents, or NULL. Non-finite input gives non-finite output for that sample only. */
eqf_status eqf_flow_log_prob(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out,
                             float *z_out);
/* The same for a part of a batch that begins at configuration `first` of the batch: an estimated divergence gets the
 * same noise as in one call for the whole batch, so the result is the same. */
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

/* The errors of prior -> data -> prior (RK4 backward undoes RK4 forward only up to errors of order 1/num_steps^4), or
 * tolerances for them. */
typedef struct eqf_round_trip {
    double coordinate; /* largest |z' - z| of a coordinate, z' = prior -> data -> prior of z */
    /* largest difference (nats) between the log-densities of a sample by eqf_flow_sample and by eqf_flow_log_prob */
    double log_prob;
} eqf_round_trip;

/* Over num_samples latents of the stream `seed`. NaN if a trajectory is not finite. */
eqf_status eqf_flow_round_trip(eqf_flow *flow, uint64_t seed, size_t num_samples, eqf_round_trip *error_out);

/* Tries 1, 2 and 4 times the RK4 steps of options. num_steps_out: the fewest with which both errors of the round trip
 * are within tolerance, or the most if there are none; error_out: their errors. If more steps do not reduce the error
 * of the log-densities, it is rounding, and only the coordinates count. options and errors as in eqf_flow_create. */
eqf_status eqf_flow_choose_steps(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                                 uint64_t seed, size_t num_samples, const eqf_round_trip *tolerance,
                                 unsigned *num_steps_out, eqf_round_trip *error_out);

/* The field itself at one time t: velocity_out [B, N, D], divergence_out [B]. t must be one of the stage times
 * j/(2 num_steps), j = 0 ... 2 num_steps, or with DOPRI5 any time in [0, 1]. Errors: INVALID_ARGUMENT (another t). */
eqf_status eqf_flow_velocity(eqf_flow *flow, double t, size_t batch_size, const float *x,
                             float *velocity_out, float *divergence_out);

/* The vector-Jacobian product of the field at time t (as for eqf_flow_velocity), for programs that differentiate
 * through it. With S = sum over samples of  adjoint_velocity . v + adjoint_divergence div v,  it gives dS / dx in
 * adjoint_x_out [B, N, D] and dS / d params in gradient_out [num_trained]; each may be NULL. adjoint_velocity [B, N,
 * D]; adjoint_divergence [B] or NULL (zeros). x is not centred. Errors: INVALID_ARGUMENT, UNSUPPORTED (double
 * precision), those of the device. */
eqf_status eqf_flow_velocity_vjp(eqf_flow *flow, double t, size_t batch_size, const float *x,
                                 const float *adjoint_velocity, const float *adjoint_divergence, float *adjoint_x_out,
                                 float *gradient_out);

/* The path of latents z [B, N, D] from prior to data in num_steps RK4 steps. num_steps must be that of the flow, whose
 * field is known only at the times of its own steps; with DOPRI5 any number is allowed. Frame f is the state after step
 * eqf_flow_trajectory_step(num_steps, num_frames, f); the first is at t = 0, the last at t = 1.
 *   x_out [num_frames, B, N, D];  velocity_out, of the same shape, or NULL
 *   log_prob_out [num_frames, B] or NULL: log q_t of each configuration at its time, nats
 * The last frame is the result of eqf_flow_transform up to rounding. Errors: INVALID_ARGUMENT, those of the device. */
eqf_status eqf_flow_trajectory(eqf_flow *flow, unsigned num_steps, size_t batch_size, const float *z, size_t num_frames,
                               float *x_out, float *log_prob_out, float *velocity_out);
unsigned eqf_flow_trajectory_step(unsigned num_steps, size_t num_frames, size_t frame);

/* The parts of a loss, means over the batch. loss = nll + integration_penalty * error, with
 * error = sum over steps of h (|k2 - k3|^2 + (div2 - div3)^2) of RK4's two mid-point stages. */
typedef struct eqf_loss {
    size_t struct_size; /* set by EQF_LOSS_INIT */
    double loss, nll, integration_error;
} eqf_loss;
#define EQF_LOSS_INIT {.struct_size = sizeof(eqf_loss)}

/* Negative log-likelihood of x [B, N, D] (centred first) and its exact gradient through the discretised flow (DTO).
 * With DOPRI5 the gradient is that of the continuous adjoint (OTD), and the integration error is 0. gradient_out
 * [num_trained] and adjoint_x_out [B, N, D] (d loss / d x), each may be NULL. */
eqf_status eqf_flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size,
                                 const float *x, eqf_loss *loss_out, float *gradient_out,
                                 float *adjoint_x_out);

/* The score, grad_x log_prob, of configurations x [B, N, D], which are centred first: score_out [B, N, D] (mean-free),
 * with log_prob_out [B] and the latents z_out [B, N, D], or NULL. For a message field log_prob_out is the log-density
 * of the loss, which differs from that of eqf_flow_log_prob by the integration errors (docs/method.md, section 9). A
 * value that is not finite affects its own sample only. The cost is about that of a gradient. Errors: INVALID_ARGUMENT,
 * UNSUPPORTED (double precision), those of the device. */
eqf_status eqf_flow_score(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out, float *z_out,
                          float *score_out);

/* The parts of an energy-based loss: loss = free_energy + integration_penalty * error, with
 *   free_energy = mean over z of  u(x) + log_prob(x) = KL(model || target) - ln Z >= -ln Z,   x the image of z. */
typedef struct eqf_energy_loss {
    size_t struct_size; /* set by EQF_ENERGY_LOSS_INIT */
    double loss, free_energy, integration_error;
} eqf_energy_loss;
#define EQF_ENERGY_LOSS_INIT {.struct_size = sizeof(eqf_energy_loss)}

/* The energy-based loss of latents z [B, N, D] (centred first; draw them by eqf_flow_prior_sample) and its exact
 * gradient with the potential's forces: gradient_out [num_trained] or NULL. An energy u above energy_cap is replaced by
 * energy_cap + ln(1 + u - energy_cap), and its forces accordingly (docs/method.md, section 4); INFINITY: no cap. target
 * has the flow's N and D. */
eqf_status eqf_flow_energy_gradient(eqf_flow *flow, const eqf_potential_options *target, double energy_cap,
                                    double integration_penalty, size_t batch_size, const float *z,
                                    eqf_energy_loss *loss_out, float *gradient_out);

/* Normalised log-densities (nats) of the flow's prior for z [B, N, D], and samples of it. */
eqf_status eqf_flow_prior_log_prob(eqf_flow *flow, size_t batch_size, const float *z, float *log_prob_out);
eqf_status eqf_flow_prior_sample(eqf_flow *flow, uint64_t seed, uint64_t first_sample, size_t num_samples,
                                 float *z_out);

/* Steps of the adaptive integrator in all solves since the flow was made or since the last reset; zeros with RK4. Of a
 * gradient the forward solve is counted, not the reverse one. */
typedef struct eqf_step_range {
    uint64_t min, max, total; /* over samples */
} eqf_step_range;
typedef struct eqf_step_statistics {
    size_t struct_size; /* set by EQF_STEP_STATISTICS_INIT */
    uint64_t num_samples;
    /* samples that were given up and are NaN: not finite, more than max_steps, or steps too small for float32 */
    uint64_t num_failed;
    eqf_step_range accepted, rejected;
    uint64_t num_velocity_evals; /* in all */
} eqf_step_statistics;
#define EQF_STEP_STATISTICS_INIT {.struct_size = sizeof(eqf_step_statistics)}
/* The counts so far. */
eqf_status eqf_flow_step_statistics(const eqf_flow *flow, eqf_step_statistics *statistics_out);
/* Counts from zero again. */
void eqf_flow_reset_step_statistics(eqf_flow *flow);

#ifdef __cplusplus
}
#endif
#endif
