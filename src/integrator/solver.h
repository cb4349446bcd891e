/* A solver moves samples along the flow of a field, from prior to data or back, and integrates log_det. src/flow uses
 * integrators only through this header. The integrators are the rows of a table (solver.c), each with its own files,
 * and each says which forms of a field it uses. State is blocked: configurations [num_blocks][N*D][V], a number of each
 * sample [num_blocks][V]; both have the solver's precision `real`. */
#ifndef EQF_SOLVER_H
#define EQF_SOLVER_H

#include "field.h"
#include "host_reference.h"

typedef struct eqf__solver eqf__solver;

/* Device memory for at most max_blocks blocks: what a solve stores for the reverse solve, and partial gradients. */
typedef struct eqf__tape {
    size_t max_blocks, num_partials, grad_stages_count, grad_shared_count; /* counts of numbers */
    cl_mem d_checkpoints;                                                  /* [num_steps][max_blocks][N*D][V] */
    cl_mem d_grad_stages, d_grad_shared;                                   /* partial gradients */
    bool is_zero;                                                          /* their last use has set them to 0 */
} eqf__tape;

/* The reverse solve. The loss is a mean over batch_size samples: adjoints have the factor 1/batch_size, and are 0 in
 * padding lanes. */
typedef struct eqf__way_back {
    size_t batch_size;
    cl_mem d_x;               /* where the solve ended */
    cl_mem d_adjoint_x;       /* input: d loss / d x there; output: at the start of the solve */
    cl_mem d_adjoint_log_det; /* d loss / d log_det */
    cl_mem d_weight;          /* a sample's weight in the loss */
    cl_mem d_error;           /* += the integration error of each sample, if the solver has a penalty for it */
    float penalty;            /* factor of that error in the loss */
    cl_mem d_gradient;        /* output, [num_trained] */
} eqf__way_back;

typedef struct eqf__solver_verbs {
    /* Moves d_x in place; d_log_det += the integral of the divergence along the trajectory; NaN in both for samples
     * that did not reach the end. tape: stores there what the reverse solve needs; NULL: none will follow. */
    eqf_status (*solve)(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                        cl_mem d_x, cl_mem d_log_det, const eqf__tape *tape);
    /* The field at time t; d_velocity may be d_x. */
    eqf_status (*field_at)(eqf__solver *solver, const eqf__noise *noise, double t, size_t num_samples, cl_mem d_x,
                           cl_mem d_velocity, cl_mem d_divergence);
    /* Whether field_at can use time t. Errors: INVALID_ARGUMENT with a message. */
    eqf_status (*check_time)(eqf__solver *solver, double t);
    /* The sizes of a tape, in bytes and counts; the caller makes the buffers. */
    void (*tape_sizes)(const eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out, size_t *checkpoint_bytes_out);
    /* Builds the programs of the reverse solve. Errors: UNSUPPORTED if a step of it exceeds the device's launch
     * budget. */
    eqf_status (*prepare_reverse)(eqf__solver *solver);
    eqf_status (*reverse)(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, eqf__tape *tape,
                          const eqf__way_back *way_back);
    /* Builds the programs again after the field's defines changed; NULL: they do not depend on them. */
    eqf_status (*assemble)(eqf__solver *solver);
    /* The program of solves or of reverse solves, which may be the same; NULL: not built yet. */
    eqf__program *(*program)(const eqf__solver *solver, bool is_reverse);
    void (*destroy)(eqf__solver *solver);
} eqf__solver_verbs;

/* The beginning of every solver's struct. */
struct eqf__solver {
    eqf_context *ctx;
    const eqf__solver_verbs *verbs;
    eqf_integrator_method method; /* the table's row that made it */
    eqf__field *field;            /* owned */
    eqf__real real;
    unsigned num_steps; /* equal steps; 0: the step size is chosen by the error */
    /* The host's comparison takes equal steps of this scheme. NULL: it takes very fine steps of its own, and both
     * solutions have the accuracy of the flow itself. */
    const eqf__host_scheme *scheme;
    bool has_step_control;          /* steps are chosen by their error; tolerances of checks depend on it */
    eqf_step_statistics statistics; /* 0 if all steps are equal */
};

/* The method of the table whose gradient is that of the continuous adjoint (optimise, then discretise). */
eqf_integrator_method eqf__integrator_with_step_control(void);
/* The kernel file of a method with equal steps. */
const char *eqf__integrator_scheme_file(eqf_integrator_method method);
/* The form that an existing method uses of a field that has `forms` (set of EQF__FORM_); 0: none. */
unsigned eqf__integrator_form(eqf_integrator_method method, unsigned forms);

/* options are checked and have no defaults left: num_steps is not 0. Errors: INVALID_ARGUMENT, UNSUPPORTED (a field
 * without the form that the integrator needs, or the device without the precision), those of the field and the
 * device. */
eqf_status eqf__solver_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                              const eqf_dynamics_options *dynamics, const eqf_flow_options *options,
                              const float *params, eqf__solver **solver_out);
void eqf__solver_destroy(eqf__solver **solver);

/* Sets the parameters. *has_changed_out: the field's defines changed, so that tapes have other sizes. */
eqf_status eqf__solver_set_params(eqf__solver *solver, const float *params, bool *has_changed_out);
/* Builds the programs again after the field's resolution was set. */
eqf_status eqf__solver_assemble(eqf__solver *solver);
/* The program from parameters to the field's data, or of gradients back; NULL: none, or not built yet. */
eqf__program *eqf__solver_field_program(const eqf__solver *solver, bool is_reverse);
/* Builds all that a gradient needs, the field's part too. */
eqf_status eqf__solver_prepare_gradient(eqf__solver *solver);

eqf_status eqf__tape_create(eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out);
void eqf__tape_clear(eqf__tape *tape);

/* ---- For solvers ------------------------------------------------------------------------------------------------- */

/* Sets the partial gradients to zero. */
eqf_status eqf__tape_begin(eqf__solver *solver, eqf__tape *tape);

static inline size_t eqf__solver_blocks(const eqf__solver *solver, size_t num_samples) {
    return (num_samples + solver->real.vector_width - 1) / solver->real.vector_width;
}
static inline size_t eqf__solver_dof(const eqf__solver *solver) {
    return (size_t)solver->field->num_particles * solver->field->space_dim;
}

/* For the rows of the table: each makes *solver_out from a field that has its form; the solver then owns the field.
 * After an error the caller still owns it. */
eqf_status eqf__rk4_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__rk4_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__dopri5_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__dopri5_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);

#endif
