/* Dormand-Prince 5(4): trajectories with steps of each sample's own, and the continuous adjoint along them (optimise,
 * then discretise). Equations: cl/integrator/dormand_prince.cl and its .clh files. dopri5.c is common to the two forms
 * of a field that can be used; an engine takes the steps: by lanes (dopri5_lanes.c) or for a batch at a time
 * (dopri5_batched.c). */
#ifndef EQF_DOPRI5_H
#define EQF_DOPRI5_H

#include "option.h"
#include "solver.h"

typedef struct eqf__dopri5 eqf__dopri5;
typedef struct eqf__dopri5_batched eqf__dopri5_batched; /* dopri5_batched.c */

/* A system of equations of one program: its state, and buffers for max_blocks blocks. */
typedef struct eqf__dopri5_system {
    eqf__kernel put, take;
    eqf__kernel begin, steps, field; /* by lanes only */
    eqf__dopri5_batched *batched;
    size_t state_size, max_blocks;
    cl_mem d_state, d_slope, d_carry; /* [max_blocks][state_size][V] */
    cl_mem d_control;                 /* [max_blocks][CONTROL_SIZE][V] */
    cl_mem d_num_running;             /* [1] uint */
    cl_uint turns_per_launch;         /* by lanes only: most tries of a step in a launch, by the device's budget */
    /* By lanes only. 0: a work-item computes a block; else a work-group of this size computes a sample. Both use the
     * same arrays. */
    unsigned group_size;
    size_t items_per_block; /* work-items of put and take: 1, or with groups one for each sample */
} eqf__dopri5_system;

/* An integration of all samples from system->d_state on, in either direction; in reverse with adjoints and a
 * gradient. */
typedef struct eqf__dopri5_run {
    eqf__dopri5_system *system;
    const eqf__noise *noise;
    float direction;
    size_t num_blocks;
    cl_mem d_adjoint_log_det; /* [num_blocks][V], times adjoint_scale; any buffer if the system has no adjoint */
    float adjoint_scale;
    bool is_reverse;
    float share; /* factor of a sample's gradient */
} eqf__dopri5_run;

typedef struct eqf__dopri5_engine {
    eqf_status (*create_system)(eqf__dopri5 *dopri5, bool is_adjoint, eqf__dopri5_system *system_out);
    void (*clear_system)(eqf__dopri5_system *system);
    eqf_status (*run)(eqf__dopri5 *dopri5, const eqf__dopri5_run *run);
    size_t (*grad_count)(const eqf__dopri5 *dopri5); /* floats of d_grad */
    eqf_status (*contract)(eqf__dopri5 *dopri5, float share, cl_mem d_gradient);
    eqf_status (*field_at)(eqf__dopri5 *dopri5, const eqf__noise *noise, double t, size_t num_blocks, cl_mem d_x,
                           cl_mem d_velocity, cl_mem d_divergence);
} eqf__dopri5_engine;

struct eqf__dopri5 {
    eqf__solver base;
    const eqf__dopri5_engine *engine;
    eqf_adaptive_options options; /* checked, defaults filled in */
    eqf__dopri5_system forward, adjoint;
    float equal_step; /* not 0: all steps have this size, for tests of the order; atol must accept them */
    size_t num_partials;
    cl_mem d_grad; /* by lanes [num_partials][ANY_TIME_GRAD_SIZE][V], else in the field's own layout */
    float *h_control;
    size_t h_control_size;
};

extern const eqf_option eqf__dopri5_options[]; /* members of eqf_flow_options */
/* Internals of the solver, for tests; NULL if it is another solver. */
eqf__dopri5 *eqf__dopri5_of(eqf__solver *solver);

/* ---- For engines ---- */

eqf_status eqf__dopri5_open(eqf__field *field, const eqf_flow_options *options, const eqf__dopri5_engine *engine,
                            size_t num_partials, eqf__solver **solver_out);
static inline const char *eqf__dopri5_system_file(bool is_adjoint) {
    return is_adjoint ? "integrator/dormand_prince_adjoint.clh" : "integrator/dormand_prince_forward.clh";
}

#endif
