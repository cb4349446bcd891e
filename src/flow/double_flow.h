/* The flow in double precision, to certify the other: radial fields summed directly, RK4, the same kernel text with -D USE_DOUBLE. */
#ifndef EQF_DOUBLE_FLOW_H
#define EQF_DOUBLE_FLOW_H

#include "eqflow/flow.h"
#include "program.h"

typedef struct eqf__double_flow {
    eqf_context *ctx;
    unsigned num_particles, space_dim, num_steps, vector_width;
    size_t num_dof, num_params, chunk_size, steps_per_launch;
    double scale, constant_term, d_fine;
    eqf__program *prior_program, *stage_program, *trajectory_program;
    eqf__kernel sample, centre, log_prob, add_log_det, pack, unpack, time, shared, trajectory, at_stage;
    cl_mem d_params, d_time_basis, d_coefficients, d_gaussians, d_geometry, d_nothing;
    cl_mem d_rows, d_x, d_log_det, d_log_prob; /* of one chunk */
} eqf__double_flow;

/* Errors: UNSUPPORTED (no fp64, another field or integrator), those of the device. */
eqf_status eqf__double_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options, unsigned num_steps,
                                   eqf__double_flow **flow_out);
void eqf__double_flow_destroy(eqf__double_flow **flow);
eqf_status eqf__double_flow_set_params(eqf__double_flow *flow, const float *params);

/* One chunk, count at most chunk_size. All arrays row-major on the host; outputs may be NULL but the first. */
eqf_status eqf__double_flow_sample(eqf__double_flow *flow, uint64_t seed, uint64_t first, size_t count, double *x_out,
                                   double *log_prob_out);
eqf_status eqf__double_flow_log_prob(eqf__double_flow *flow, size_t count, const double *x, double *log_prob_out, double *z_out);
eqf_status eqf__double_flow_transform(eqf__double_flow *flow, eqf_direction direction, size_t count, const double *x_in,
                                      double *x_out, double *log_det_out);
eqf_status eqf__double_flow_velocity(eqf__double_flow *flow, unsigned stage, size_t count, const double *x, double *velocity_out,
                                     double *divergence_out);

#endif
