/* A flow is a prior, a field and a solver. This header shows its inside to the modules above. Nothing here checks
 * programs: src/check does, and the public calls that check first are in src/flow. */
#ifndef EQF_SOLVE_H
#define EQF_SOLVE_H

#include "batch.h"
#include "prior.h"
#include "solver.h"

/* Indices in eqf__gradient_workspace.d_sums, which holds means over the batch: of each loss its value and its
 * integration error. The error of flow matching is 0. */
enum {
    EQF__SUM_NLL,
    EQF__SUM_NLL_ERROR,
    EQF__SUM_FREE_ENERGY,
    EQF__SUM_FREE_ENERGY_ERROR,
    EQF__SUM_FLOW_MATCHING,
    EQF__SUM_FLOW_MATCHING_ERROR,
    EQF__SUM_DISPERSION,
    EQF__SUM_DISPERSION_ERROR,
    EQF__NUM_SUMS
};

/* A record of a step of training: cl/train/adam.cl. The first numbers are those of eqf__gradient_workspace.d_sums. */
enum { EQF__RECORD_NORM = EQF__NUM_SUMS, EQF__RECORD_IS_GOOD, EQF__RECORD_SIZE };

/* Device memory of one loss evaluation with gradient over at most max_blocks blocks. */
typedef struct eqf__gradient_workspace {
    size_t max_blocks;
    cl_mem d_x;       /* [max_blocks][N*D][V], in: the batch; the solve overwrites it with the images */
    eqf__noise noise; /* in: of the batch, for estimated divergences */
    cl_mem d_log_det, d_adjoint_log_det, d_weight, d_error; /* [max_blocks][V] */
    cl_mem d_value;     /* [max_blocks][V], out: nll or free energy of each sample */
    cl_mem d_adjoint_x; /* [max_blocks][N*D][V], out: d loss / d x (or z) */
    eqf__tape tape;
    cl_mem d_gradient; /* [num_trained], out */
    cl_mem d_sums;     /* [EQF__NUM_SUMS], out */
} eqf__gradient_workspace;

struct eqf_flow {
    eqf_context *ctx;
    unsigned num_particles, space_dim, vector_width;
    size_t num_dof;
    eqf_dynamics_options dynamics;
    uint64_t divergence_seed; /* of the noise of an estimated divergence */
    eqf__solver *solver;
    eqf__field *field; /* the solver's */
    eqf__prior prior;
    eqf__batch batch;                  /* the chunks of calls with host arrays */
    cl_mem d_log_det, d_log_prob;      /* of a chunk */
    eqf__gradient_workspace workspace; /* of eqf_flow_nll_gradient; grows */
};

/* options have all members set (eqf_flow_create reads them). */
eqf_status eqf__flow_build(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options,
                           eqf_flow **flow_out);
/* New parameters; *has_changed_out: programs were assembled anew. */
eqf_status eqf__flow_set_params(eqf_flow *flow, const float *params, bool *has_changed_out);

eqf_status eqf__gradient_workspace_create(eqf_flow *flow, size_t batch_size, eqf__gradient_workspace *workspace_out);
void eqf__gradient_workspace_clear(eqf__gradient_workspace *workspace);
/* Launches loss and gradient for workspace->d_x (packed, centred) without reading results. Sets EQF__SUM_NLL and
 * EQF__SUM_NLL_ERROR. */
eqf_status eqf__flow_launch_gradient(eqf_flow *flow, eqf__gradient_workspace *workspace, size_t batch_size,
                                     double integration_penalty);
/* The kernel that starts the reverse solve of the energy-based loss (cl/potential/energy_seed.cl), for one target. */
eqf_status eqf__energy_seed_create(eqf_context *ctx, const eqf_potential_options *target, eqf__kernel *energy_seed_out);
/* The same for the energy-based loss: workspace->d_x holds latents z, energy_cap may be infinite. Sets
 * EQF__SUM_FREE_ENERGY and EQF__SUM_FREE_ENERGY_ERROR. */
eqf_status eqf__flow_launch_energy_gradient(eqf_flow *flow, const eqf__kernel *energy_seed,
                                            eqf__gradient_workspace *workspace, size_t batch_size, double energy_cap,
                                            double integration_penalty);
/* One solve by the flow's integrator: d_x in place, d_log_det +=. */
eqf_status eqf__flow_launch_solve(eqf_flow *flow, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                                  cl_mem d_x, cl_mem d_log_det);
/* One solve of host arrays of either precision, for eqf_flow_transform. */
eqf_status eqf__flow_transform(eqf_flow *flow, eqf_direction direction, size_t batch_size, eqf__array x_in,
                               eqf__array x_out, eqf__array log_det_out);
/* Launches samples first ... first + count - 1 of a stream, at most a chunk; the results are in batch.d_x and
 * d_log_prob. */
eqf_status eqf__flow_launch_sample(eqf_flow *flow, uint64_t seed, uint64_t first, size_t count);
/* Launches data -> prior of d_x (packed) and its log_prob [num_blocks][V]. */
eqf_status eqf__flow_launch_log_prob(eqf_flow *flow, const eqf__noise *noise, size_t num_samples, cl_mem d_x,
                                     cl_mem d_log_det, cl_mem d_log_prob);
/* eqf_flow_nll_gradient and eqf_flow_energy_gradient; loss_out is not NULL. */
eqf_status eqf__flow_nll_gradient(eqf_flow *flow, double integration_penalty, size_t batch_size, const float *x,
                                  eqf_loss *loss_out, float *gradient_out, float *adjoint_x_out);
eqf_status eqf__flow_energy_gradient(eqf_flow *flow, const eqf__kernel *energy_seed, double energy_cap,
                                     double integration_penalty, size_t batch_size, const float *z,
                                     eqf_energy_loss *loss_out, float *gradient_out);
/* eqf_flow_velocity_vjp, for a flow in float32 and an allowed time. */
eqf_status eqf__flow_velocity_vjp(eqf_flow *flow, double t, size_t batch_size, const float *x,
                                  const float *adjoint_velocity, const float *adjoint_divergence, float *adjoint_x_out,
                                  float *gradient_out);
/* Builds its programs: the field's (NULL if it has none), and that of the product's kernel (NULL if the field's program
 * contains it). */
eqf_status eqf__flow_vjp_programs(eqf_flow *flow, eqf__program **field_out, eqf__program **own_out);

#endif
