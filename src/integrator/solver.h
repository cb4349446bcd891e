/* A solver takes samples along the flow of a field, prior -> data or back, and adds up log_det on the way. This is all
 * that the flow knows of integrators: which there are is one table (solver.c), and each is a file or two of its own
 * that says which form of a field it uses. State is blocked: configurations [num_blocks][N*D][V], one number a sample
 * [num_blocks][V]; both of the solver's `real`. */
#ifndef EQF_SOLVER_H
#define EQF_SOLVER_H

#include "field.h"
#include "host_reference.h"

typedef struct eqf__solver eqf__solver;

/* What a solve keeps for its way back, and where the way back adds up: device memory for at most max_blocks blocks. */
typedef struct eqf__tape {
    size_t max_blocks, num_partials, grad_stages_count, grad_shared_count; /* counts in numbers */
    cl_mem d_checkpoints;                                                  /* [num_steps][max_blocks][N*D][V] */
    cl_mem d_grad_stages, d_grad_shared;                                   /* partial gradients */
} eqf__tape;

/* The way back of a solve. A loss is a mean over batch_size samples; adjoints are shares in it, 0 in padding lanes. */
typedef struct eqf__way_back {
    size_t batch_size;
    cl_mem d_x;               /* where the solve ended */
    cl_mem d_adjoint_x;       /* in: d loss / d x there; out: at the start */
    cl_mem d_adjoint_log_det; /* d loss / d log_det */
    cl_mem d_weight;          /* a sample's share of the loss */
    cl_mem d_error;           /* += the integration error of each sample, where the solver has a penalty for it */
    float penalty;            /* weight of that error in the loss */
    cl_mem d_gradient;        /* [num_trained], out */
} eqf__way_back;

typedef struct eqf__solver_verbs {
    /* d_x in place, d_log_det += the integral of the divergence along the way; NaN in both for samples that were not
     * finished. tape: what the way back needs is kept there; NULL: there will be none. */
    eqf_status (*solve)(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, size_t num_samples,
                        cl_mem d_x, cl_mem d_log_det, const eqf__tape *tape);
    /* The field at time t; d_velocity may be d_x. */
    eqf_status (*field_at)(eqf__solver *solver, const eqf__noise *noise, double t, size_t num_samples, cl_mem d_x,
                           cl_mem d_velocity, cl_mem d_divergence);
    /* Whether field_at has that time. Errors: INVALID_ARGUMENT in words. */
    eqf_status (*check_time)(eqf__solver *solver, double t);
    /* Sizes of a tape, in bytes and counts; its buffers are the caller's to make. */
    void (*tape_sizes)(const eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out, size_t *checkpoint_bytes_out);
    /* Builds the programs of the way back. Errors: UNSUPPORTED where the device cannot take one step of it. */
    eqf_status (*prepare_reverse)(eqf__solver *solver);
    eqf_status (*reverse)(eqf__solver *solver, const eqf__noise *noise, eqf_direction direction, const eqf__tape *tape,
                          const eqf__way_back *way_back);
    /* Assembles programs anew after the field's defines changed; NULL: they know nothing of those. */
    eqf_status (*assemble)(eqf__solver *solver);
    /* The program of solves or of the way back, one for both where there is but one; NULL: not built yet. */
    eqf__program *(*program)(const eqf__solver *solver, bool is_reverse);
    void (*destroy)(eqf__solver *solver);
} eqf__solver_verbs;

/* What every solver begins with. */
struct eqf__solver {
    eqf_context *ctx;
    const eqf__solver_verbs *verbs;
    eqf_integrator_method method; /* the table's row that made it */
    eqf__field *field;            /* its own */
    eqf__real real;
    unsigned num_steps; /* of equal size; 0: they are chosen */
    /* Of equal steps: of the very kind that the host compares with; else the steps of its own are so fine that only
     * what is true of the flow itself counts. */
    const eqf__host_scheme *scheme;
    bool has_step_control;          /* for checks, whose tolerances depend on it: steps are chosen by their error */
    eqf_step_statistics statistics; /* stay 0 where all steps are equal */
};

/* Of the table: the method whose gradients are those of the continuous adjoint (OTD). */
eqf_integrator_method eqf__integrator_with_step_control(void);
/* Of equal steps by lanes or groups: the scheme's kernel file. */
const char *eqf__integrator_scheme_file(eqf_integrator_method method);
/* The form that a method, one that there is, uses of a field that has `forms` (set of EQF__FORM_); 0: none. */
unsigned eqf__integrator_form(eqf_integrator_method method, unsigned forms);

/* options are checked and whole: num_steps is not 0. Errors: INVALID_ARGUMENT, UNSUPPORTED (a field without the form
 * that the integrator needs, or the device without the precision), those of the field and the device. */
eqf_status eqf__solver_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                              const eqf_dynamics_options *dynamics, const eqf_flow_options *options,
                              const float *params, eqf__solver **solver_out);
void eqf__solver_destroy(eqf__solver **solver);

/* New parameters. *has_changed_out: the field's defines did, so that tapes have other sizes. */
eqf_status eqf__solver_set_params(eqf__solver *solver, const float *params, bool *has_changed_out);
/* Assembles programs anew after the field's resolution was set. */
eqf_status eqf__solver_assemble(eqf__solver *solver);
/* Programs between parameters and the field's data, for values or for gradients; NULL: none, or not built yet. */
eqf__program *eqf__solver_field_program(const eqf__solver *solver, bool is_reverse);
/* Builds all that a gradient needs, the field's part too. */
eqf_status eqf__solver_prepare_gradient(eqf__solver *solver);

eqf_status eqf__tape_create(eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out);
void eqf__tape_clear(eqf__tape *tape);

/* ---- For solvers ------------------------------------------------------------------------------------------------- */

/* Partial gradients start at zero. */
eqf_status eqf__tape_begin(eqf__solver *solver, const eqf__tape *tape);

static inline size_t eqf__solver_blocks(const eqf__solver *solver, size_t num_samples) {
    return (num_samples + solver->real.vector_width - 1) / solver->real.vector_width;
}
static inline size_t eqf__solver_dof(const eqf__solver *solver) {
    return (size_t)solver->field->num_particles * solver->field->space_dim;
}

/* Rows of the table: each makes *solver_out from a field that has its form, which the solver then owns. On failure
 * nothing is left but the field. */
eqf_status eqf__rk4_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__rk4_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__dopri5_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
eqf_status eqf__dopri5_batched_create(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);

#endif
