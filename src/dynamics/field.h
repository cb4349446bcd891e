/* A velocity field on the device. A kind of field is one row of the table in kinds.c, with its files here and its
 * kernel text in cl/dynamics. A field has some of four forms, each a struct below; an integrator chooses a form, and
 * does not depend on the kind:
 *     stage     kernel text for all samples at one stage time; data of the time alone are computed before a solve
 *     group     the same, with a work-group for each sample
 *     any time  kernel text in which each lane has its own time
 *     batched   host functions that launch kernels over the whole batch, for networks of matrix products */
#ifndef EQF_FIELD_H
#define EQF_FIELD_H

#include "eqflow/flow.h"
#include "program.h"
#include "real.h"

typedef struct eqf__field eqf__field;

/* The noise of one solve, for estimated divergences: lane l of block b has the noise of sample first_sample + b V + l
 * (Philox, key = seed). It is the same at all times of the solve, so that the right-hand side is smooth. */
typedef struct eqf__noise {
    uint64_t seed, first_sample;
} eqf__noise;

/* Loop turns of one work-item in a call of each function of the text, counted as if no loop were unrolled. */
typedef struct eqf__stage_turns {
    size_t velocity, vjp;
} eqf__stage_turns;
/* The same for the any-time form; a loop of n turns counts n + 1, as in llvmpipe's limit. */
typedef struct eqf__any_time_turns {
    size_t field, velocity, vjp, gradient;
} eqf__any_time_turns;

/* The text defines
 *     field_velocity(stage, shared, x, velocity, divergence)
 *     field_vjp(stage, shared, grad_stage, grad_shared, x, adjoint_velocity, adjoint_divergence, adjoint_x)
 * for one stage time t_j = j / (num_stages - 1). */
typedef struct eqf__stage_form {
    const char *files[4]; /* kernel files, NULL-terminated */
    char defines[256];    /* -D options, STAGE_SIZE, GRAD_STAGE_SIZE and GRAD_SHARED_SIZE among them */
    size_t grad_stage_size, grad_shared_size; /* numbers of one stage, and common to all stages; multiples of 16 */
    eqf__stage_turns turns;
    const char *cheaper; /* for messages, "" or a choice with fewer turns: ", or EQF_FIELD_TABLE" */
    cl_mem d_stages;     /* [num_stages][STAGE_SIZE], valid after prepare */
    cl_mem d_shared;
    /* The programs from parameters to stage data and from gradients back, for the known answers; NULL: none, or not
     * built yet. */
    eqf__program *program, *gradient_program;
    /* Builds the programs that only gradients need; NULL: contract does. */
    eqf_status (*prepare_gradient)(eqf__field *field);
    /* Partial gradients [num_partials][num_stages][grad_stage_size], [num_partials][grad_shared_size] -> d_gradient
     * [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                           cl_mem d_gradient);
    bool leaves_zero; /* contract sets the partial gradients to 0 */
} eqf__stage_form;

/* Text in which a work-group computes a sample, with the data of the stage form; for cl/integrator/rk4_group.cl. */
typedef struct eqf__group_form {
    const char *files[4]; /* NULL-terminated */
    size_t table_size;    /* floats of a stage's table, which a group may copy to local memory; 0: no table */
    /* Floats of local memory that the text needs besides such a copy. */
    size_t (*local_size)(const eqf__field *field, size_t group_size);
    /* Loop turns of the work-item with the most turns. */
    eqf__stage_turns (*turns)(const eqf__field *field, size_t group_size);
} eqf__group_form;

/* Text for integrators that choose their steps (cl/integrator/dormand_prince.cl). It defines
 *     any_time_field(params, constants, t, at)                     at [ANY_TIME_SIZE]: the data at the lanes' times
 *     any_time_velocity(constants, at, x, velocity, divergence)
 *     any_time_vjp(constants, at, x, adjoint_velocity, adjoint_divergence, velocity, adjoint_x)
 *     any_time_gradient(params, constants, t, at, x, adjoint_velocity, adjoint_divergence, grad)   grad
 *         [ANY_TIME_GRAD_SIZE][V] */
typedef struct eqf__any_time_form {
    const char *file;
    char defines[128];
    eqf__any_time_turns turns;
    size_t grad_size;   /* ANY_TIME_GRAD_SIZE */
    cl_mem d_constants; /* valid after prepare */
    eqf__program *program;
    /* Partial sums [num_partials][ANY_TIME_GRAD_SIZE][V], times scale -> d_gradient [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_partials, size_t num_partials, float scale, cl_mem d_gradient);
    /* ---- Text in which a work-group computes a sample (cl/integrator/dormand_prince_group.cl), group_ in front of
     * these names; it has the same defines, and ANY_TIME. */
    const char *group_files[5];                                             /* NULL-terminated */
    size_t (*group_local_size)(const eqf__field *field, size_t group_size); /* floats of local memory */
    /* Loop turns of the work-item with the most turns. */
    eqf__any_time_turns (*group_turns)(const eqf__field *field, size_t group_size);
} eqf__any_time_form;

/* The functions enqueue and do not wait. State is blocked: d_x, d_velocity, d_adjoint_velocity, d_adjoint_x
 * [num_blocks][N*D][V]; d_times, d_divergence, d_adjoint_divergence [num_blocks][V]: each sample has its own time t in
 * [0, 1]. Samples are independent: one that is not finite changes only its own results - and the gradient by the
 * parameters, to which all lanes contribute, padding lanes too (they need adjoints of 0 and a finite x). Errors: those
 * of the device. */
typedef struct eqf__batched_form {
    size_t grad_size; /* floats of a gradient by the parameters in the field's own layout */
    eqf__program *program;
    bool is_divergence_costly; /* it costs several times the velocity: solvers then evaluate it at fewer times */
    /* Velocity and divergence (exact or an estimate, as the field's `divergence` says); d_velocity may be d_x.
     * d_divergence NULL: the velocity alone, which costs much less. */
    eqf_status (*evaluate)(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                           cl_mem d_velocity, cl_mem d_divergence);
    /* For the sum over samples of adjoint_velocity . v + adjoint_divergence div v: adds its gradient by x to
     * d_adjoint_x, and its gradient by the parameters to d_grad [grad_size] (NULL: not computed). d_adjoint_divergence
     * NULL means 0, and costs much less. The result is linear in the adjoints: scaling a sample's adjoints weights its
     * part in d_grad. The field is evaluated again, so no evaluate at this x is needed before. */
    eqf_status (*vjp)(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                      cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad);
    /* d_grad [grad_size] -> d_gradient [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_grad, cl_mem d_gradient);
} eqf__batched_form;

/* A set of forms. A field with the group form has the stage form too, and solvers ask for the latter. */
enum { EQF__FORM_STAGE = 1, EQF__FORM_ANY_TIME = 2, EQF__FORM_BATCHED = 4, EQF__FORM_GROUP = 8 };

struct eqf__dynamics_kind;

struct eqf__field {
    eqf_context *ctx;
    const struct eqf__dynamics_kind *kind; /* kinds.h */
    unsigned num_particles, space_dim, num_stages;
    eqf_dynamics_options options;
    size_t num_params, num_trained;
    eqf__real real;
    cl_mem d_params;           /* [num_params] real */
    eqf_divergence divergence; /* exact, or which estimate */
    /* The forms; NULL: the kind does not have it, or it was not asked for. They are parts of `state`. */
    const eqf__stage_form *stage;
    const eqf__group_form *group;
    const eqf__any_time_form *any_time;
    const eqf__batched_form *batched;
    void *state; /* of the kind */
    /* For stage data that are tables: */
    eqf_field_evaluation evaluation; /* the one in use: DIRECT if no table was fine enough */
    unsigned resolution;             /* number of fine cells; 0: direct summation */
    /* largest relative error between points of d phi' + D phi (radial_check in cl/dynamics/radial_stages.cl) */
    double table_tolerance;
};

/* The use for which a field is made. */
typedef struct eqf__field_needs {
    unsigned form;       /* one of EQF__FORM_ */
    unsigned num_stages; /* of the stage form */
    eqf_field_evaluation evaluation;
    eqf_divergence divergence;
    eqf__real real; /* the solver's precision */
} eqf__field_needs;

/* Makes a field; its parameters are not set. Errors: those of the device. */
eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, const eqf__field_needs *needs,
                             eqf__field **field_out);
void eqf__field_destroy(eqf__field **field);
/* Writes parameters [num_params] and calls eqf__field_prepare with the check. If the table's resolution changes, the
 * field's defines and sizes change, and *has_changed_out is true: the programs must be assembled anew. */
eqf_status eqf__field_set_params(eqf__field *field, const float *params, bool *has_changed_out);
/* Computes the data of the forms from d_params. With check it measures the table's error and refines the table until
 * the error is small, or uses direct summation if no table is fine enough. Errors: NON_FINITE, those of the device;
 * after the latter d_stages may be released. */
eqf_status eqf__field_prepare(eqf__field *field, bool check);
/* Sets the table's resolution, so that a resumed training has the same table. Errors: FORMAT. */
eqf_status eqf__field_set_resolution(eqf__field *field, unsigned resolution);

/* Tolerances of the table's relative error. A few float32 roundings for densities that are reported; training may use
 * coarser tables, as its gradient is exact for the interpolated field. */
#define EQF__TABLE_TOLERANCE 8e-6
#define EQF__TRAINING_TABLE_TOLERANCE 5e-4
#define EQF__TRAINING_RESOLUTION 512u

#endif
