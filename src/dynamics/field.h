/* A velocity field on the device. A kind of field is one row of the table in kinds.c, a file here and its text in
 * cl/dynamics. It brings some of four forms, each a struct of its own; an integrator uses the form that it can, and
 * knows no kind:
 *     stage     text for all samples at one stage time; what depends on time alone is worked out before the solve
 *     group     the same with a sample shared by a work-group
 *     any time  text in which each lane has its own time
 *     batched   verbs that the host calls launch by launch, for networks whose layers are matrix products over the
 *         whole batch */
#ifndef EQF_FIELD_H
#define EQF_FIELD_H

#include "eqflow/flow.h"
#include "program.h"
#include "real.h"

typedef struct eqf__field eqf__field;

/* The noise of one solve, for estimated divergences: lane l of block b draws that of sample first_sample + b V + l,
 * Philox keyed by seed. It is the same at every time of the solve, which so has a smooth right-hand side. */
typedef struct eqf__noise {
    uint64_t seed, first_sample;
} eqf__noise;

/* Loop turns of one work-item in one call of a function of a form's text, counted as if no loop were unrolled. */
typedef struct eqf__stage_turns {
    size_t velocity, vjp;
} eqf__stage_turns;
/* The same; a loop of n turns counts n + 1, as llvmpipe counts them. */
typedef struct eqf__any_time_turns {
    size_t field, velocity, vjp, gradient;
} eqf__any_time_turns;

/* The text promises
 *     field_velocity(stage, shared, x, velocity, divergence)
 *     field_vjp(stage, shared, grad_stage, grad_shared, x, adjoint_velocity, adjoint_divergence, adjoint_x)
 * for one stage time t_j = j / (num_stages - 1). */
typedef struct eqf__stage_form {
    const char *files[4]; /* kernel files, NULL-terminated */
    char defines[256];    /* -D options, STAGE_SIZE, GRAD_STAGE_SIZE and GRAD_SHARED_SIZE among them */
    size_t grad_stage_size, grad_shared_size; /* numbers, a stage's and those of all; multiples of 16 */
    eqf__stage_turns turns;
    const char *cheaper; /* "" or what has fewer turns, for messages: ", or EQF_FIELD_TABLE" */
    cl_mem d_stages;     /* [num_stages][STAGE_SIZE], valid after prepare */
    cl_mem d_shared;
    /* Programs between parameters and stages, for the known answers. NULL: none, or not built yet. */
    eqf__program *program, *gradient_program;
    /* Builds what only gradients need; NULL: contract does it. */
    eqf_status (*prepare_gradient)(eqf__field *field);
    /* Partial gradients [num_partials][num_stages][grad_stage_size], [num_partials][grad_shared_size] -> d_gradient
     * [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                           cl_mem d_gradient);
} eqf__stage_form;

/* The stage form's data by a work-group a sample, as cl/integrator/rk4_group.cl wants it. */
typedef struct eqf__group_form {
    const char *files[4]; /* NULL-terminated */
    size_t table_size; /* floats of a stage that such a group may copy to local memory to look things up; 0: nothing */
    /* Floats of local memory that the text wants beside such a copy. */
    size_t (*local_size)(const eqf__field *field, size_t group_size);
    /* Turns of the group's work-item that has most of them. */
    eqf__stage_turns (*turns)(const eqf__field *field, size_t group_size);
} eqf__group_form;

/* Text for integrators that choose their steps (cl/integrator/dormand_prince.cl). It promises
 *     any_time_field(params, constants, t, at)                     at [ANY_TIME_SIZE]: the field at the lanes' times
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
} eqf__any_time_form;

/* Everything is enqueued, nothing is waited for. State is blocked: d_x, d_velocity, d_adjoint_velocity, d_adjoint_x
 * [num_blocks][N*D][V]; d_times, d_divergence, d_adjoint_divergence [num_blocks][V]: each sample has its own time t in
 * [0, 1], and any time will do. Samples do not touch each other: one that is not finite spoils only its own results -
 * and the parameters' gradient, in which every lane counts, those of padding too (with adjoints of 0 and a finite x).
 * Errors: those of the device. */
typedef struct eqf__batched_form {
    size_t grad_size; /* floats of a gradient by the parameters in the field's own layout */
    eqf__program *program;
    bool is_divergence_costly; /* several times the velocity's cost: solvers then evaluate it at fewer places */
    /* Velocity and divergence (the estimate of it that the field's `divergence` asks for); d_velocity may be d_x.
     * d_divergence NULL: the velocity alone, which costs much less. */
    eqf_status (*evaluate)(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                           cl_mem d_velocity, cl_mem d_divergence);
    /* For the sum over samples of adjoint_velocity . v + adjoint_divergence div v: adds its derivative by x to
     * d_adjoint_x, and its
     * derivative by the parameters to d_grad [grad_size] (NULL: not wanted). d_adjoint_divergence NULL: as
     * if it were 0, and much cheaper. Linear in the two adjoints, so a sample's share in the
     * parameter gradient is weighted by scaling its adjoints. It evaluates the field again: the evaluate before need
     * not have been at the same x. */
    eqf_status (*vjp)(eqf__field *field, const eqf__noise *noise, size_t num_blocks, cl_mem d_x, cl_mem d_times,
                      cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad);
    /* d_grad [grad_size] -> d_gradient [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_grad, cl_mem d_gradient);
} eqf__batched_form;

/* Forms, as a set. A group form comes with its stage form; solvers ask for that. */
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
    eqf_divergence divergence; /* how it is computed */
    /* The forms: NULL for what the kind has not, or was not asked for. They belong to the kind's state. */
    const eqf__stage_form *stage;
    const eqf__group_form *group;
    const eqf__any_time_form *any_time;
    const eqf__batched_form *batched;
    void *state; /* of the kind */
    /* Of stage data that are tables. */
    eqf_field_evaluation evaluation; /* as it is used: TABLE may have fallen back to DIRECT */
    unsigned resolution;             /* fine cells; 0: summed directly */
    /* largest relative error between points of d phi' + D phi (radial_check in cl/dynamics/radial_stages.cl) */
    double table_tolerance;
};

/* What a field is made for. */
typedef struct eqf__field_needs {
    unsigned form;       /* one of EQF__FORM_ */
    unsigned num_stages; /* of the stage form */
    eqf_field_evaluation evaluation;
    eqf_divergence divergence;
    eqf__real real; /* that the solver computes in */
} eqf__field_needs;

/* Makes a field with room for parameters, none set. Errors: those of the device. */
eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, const eqf__field_needs *needs,
                             eqf__field **field_out);
void eqf__field_destroy(eqf__field **field);
/* Writes parameters [num_params] and prepares with the check. When the table's resolution changes, the field's defines
 * and sizes do too: *has_changed_out says that programs must be assembled anew. */
eqf_status eqf__field_set_params(eqf__field *field, const float *params, bool *has_changed_out);
/* d_params -> what the forms need of them. With check, measures the table's error and refines it until it is small, or
 * falls back to direct summation where no table is fine enough. Errors: NON_FINITE, those of the device; after one of
 * those d_stages may be gone. */
eqf_status eqf__field_prepare(eqf__field *field, bool check);
/* Of its table, so that a resumed training builds the very same. Errors: FORMAT. */
eqf_status eqf__field_set_resolution(eqf__field *field, unsigned resolution);

/* A few float32 roundings: for likelihoods that are reported. Training may use tables that are coarser: its gradient is
 * the exact one of the field as interpolated. */
#define EQF__TABLE_TOLERANCE 8e-6
#define EQF__TRAINING_TABLE_TOLERANCE 5e-4
#define EQF__TRAINING_RESOLUTION 512u

#endif
