/* A velocity field on the device, ready to be assembled into trajectories. A kind of field is one file here and one (or two) in
 * cl/dynamics; the integrator knows neither. The kernel text of a field promises
 *     field_velocity(stage, shared, x, velocity, divergence)
 *     field_vjp(stage, shared, grad_stage, grad_shared, x, adjoint_velocity, adjoint_divergence, adjoint_x)
 * for one stage time t_j = j / (num_stages - 1); the host side turns parameters into stage data and gradients of stage data into
 * gradients of parameters.
 *
 * A batched field has no such text: a network whose layers are matrix products over the whole batch cannot live in one work-item. It brings
 * the verbs `evaluate` and `vjp` instead, launch by launch, and the integrator's loop over steps runs on the host (integrator/batched.c).
 * eqf__field_is_batched tells the two classes apart; nothing above the integrator needs to. */
#ifndef EQF_FIELD_H
#define EQF_FIELD_H

#include "eqflow/flow.h"
#include "program.h"

/* Loop turns of one work-item in one call of a function of the any-time text, counted from it as if no loop were unrolled; a loop of n turns
 * counts n + 1, as llvmpipe counts them. */
typedef struct eqf__any_time_turns {
    size_t field, velocity, vjp, gradient;
} eqf__any_time_turns;

typedef struct eqf__field eqf__field;
struct eqf__field {
    eqf_context *ctx;
    unsigned num_particles, space_dim, num_stages;
    eqf_dynamics_options options;
    eqf_field_evaluation evaluation; /* as it is used: TABLE may have fallen back to DIRECT */
    size_t num_params, num_trained;
    /* For the integrator's program */
    const char *files[4];    /* kernel files, NULL-terminated */
    /* The same field by a work-group a sample, as cl/integrator/rk4_group.cl wants it: NULL-terminated, none if it has no such form. */
    const char *group_files[4];
    size_t group_table_size; /* floats of a stage that such a group may copy to local memory to look things up; 0: nothing */
    char defines[256];       /* -D options, STAGE_SIZE, GRAD_STAGE_SIZE and GRAD_SHARED_SIZE among them */
    size_t grad_stage_size;  /* floats a stage; a multiple of 16 */
    size_t grad_shared_size; /* floats; a multiple of 16 */
    cl_mem d_params;         /* [num_params] */
    cl_mem d_stages;         /* of fields that are not batched: [num_stages][STAGE_SIZE], valid after prepare */
    cl_mem d_shared;
    /* Programs of the field's own kernels, for the known answers (src/flow/trust.c): from parameters to stages, and back for gradients; one
     * and the same for both where the field is batched or open to any time. */
    eqf__program *stage_program, *gradient_program; /* NULL: none, or not built yet */
    /* Kind-specific state and verbs. */
    void *state;
    /* Builds what only gradients need, gradient_program too; NULL: contract does it. */
    eqf_status (*prepare_gradient)(eqf__field *field);
    /* d_params -> d_stages. With check, measures the table's error and refines it until it is small, or falls back to direct summation
     * where no table is fine enough. Errors: NON_FINITE, those of the device; after one of those d_stages may be gone. */
    eqf_status (*prepare)(eqf__field *field, bool check);
    /* Partial gradients [num_partials][num_stages][grad_stage_size], [num_partials][grad_shared_size] -> d_gradient [num_trained]. */
    eqf_status (*contract)(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                           cl_mem d_gradient);
    /* Table resolution, so that a resumed training builds the very same tables. */
    unsigned resolution; /* fine cells; 0: summed directly */
    double
        table_tolerance; /* largest relative error between points of d phi' + D phi (radial_check in cl/dynamics/radial_stages.cl) */
    eqf_status (*set_resolution)(eqf__field *field, unsigned resolution);
    void (*destroy)(eqf__field *field);
    /* The field at any time, each lane its own, as text for integrators that choose their steps (cl/integrator/dormand_prince.cl). The text promises
     *     any_time_field(params, constants, t, at)                     at [ANY_TIME_SIZE]: the field at the lanes' times
     *     any_time_velocity(constants, at, x, velocity, divergence)
     *     any_time_vjp(constants, at, x, adjoint_velocity, adjoint_divergence, velocity, adjoint_x)
     *     any_time_gradient(params, constants, t, at, x, adjoint_velocity, adjoint_divergence, grad)   grad [ANY_TIME_GRAD_SIZE][V]
     * open_any_time, NULL where a field has no such text, fills in what follows; from then on prepare fills d_constants too. */
    eqf_status (*open_any_time)(eqf__field *field);
    const char *any_time_file;
    char any_time_defines[128];
    eqf__any_time_turns any_time_turns;
    size_t any_time_grad_size; /* ANY_TIME_GRAD_SIZE */
    cl_mem d_constants;
    /* Partial sums [num_partials][ANY_TIME_GRAD_SIZE][V], times scale -> d_gradient [num_trained]. */
    eqf_status (*contract_any_time)(eqf__field *field, cl_mem d_partials, size_t num_partials, float scale,
                                    cl_mem d_gradient);
    /* Batched fields only, NULL else. Everything is enqueued, nothing is waited for. State is blocked: d_x, d_velocity, d_adjoint_velocity,
     * d_adjoint_x [num_blocks][N*D][V]; d_times, d_divergence, d_adjoint_divergence [num_blocks][V]: each sample has its own time t in
     * [0, 1], and any time will do. Samples do not touch each other: one that is not finite spoils only its own results - and the
     * parameters' gradient, in which every lane counts, those of padding too (with adjoints of 0 and a finite x). Errors: those of the device.
     * evaluate: velocity and divergence (the estimate of it that `divergence` asks for); d_velocity may be d_x. */
    eqf_status (*evaluate)(eqf__field *field, size_t num_blocks, cl_mem d_x, cl_mem d_times, cl_mem d_velocity,
                           cl_mem d_divergence);
    /* For the sum over samples of adjoint_velocity . v + adjoint_divergence div v: adds its derivative by x to d_adjoint_x, and its
     * derivative by the parameters, in the field's own layout, to d_grad_shared [grad_shared_size] (NULL: not wanted); `contract` with
     * num_partials 1 makes d_gradient of that. Linear in the two adjoints, so a sample's share in the parameter gradient is weighted by
     * scaling its adjoints. It evaluates the field again: the evaluate before need not have been at the same x. */
    eqf_status (*vjp)(eqf__field *field, size_t num_blocks, cl_mem d_x, cl_mem d_times, cl_mem d_adjoint_velocity,
                      cl_mem d_adjoint_divergence, cl_mem d_adjoint_x, cl_mem d_grad_shared);
    /* How the divergence is had, and for Hutchinson's estimate the noise: lane l of block b draws that of sample
     * noise_first_sample + b V + l, Philox keyed by noise_seed. Set both before a solve and leave them until its end: the noise of a sample
     * is the same at every time, so that the solve has a smooth right-hand side. */
    eqf_divergence divergence;
    uint64_t noise_seed, noise_first_sample;
};

/* Before a solve: see noise_seed. */
static inline void eqf__field_set_noise(eqf__field *field, uint64_t seed, uint64_t first_sample) {
    field->noise_seed = seed;
    field->noise_first_sample = first_sample;
}

static inline bool eqf__field_is_batched(const eqf__field *field) {
    return field->evaluate != NULL;
}

/* Makes a field with room for parameters, none set. Errors: those of the device. */
eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, unsigned num_stages, eqf_field_evaluation evaluation,
                             eqf_divergence divergence, eqf__field **field_out);
void eqf__field_destroy(eqf__field **field);
/* Writes parameters [num_params] and prepares with the check. When the table's resolution changes, the field's defines and sizes do too:
 * *has_changed_out says that programs must be assembled anew. */
eqf_status eqf__field_set_params(eqf__field *field, const float *params, bool *has_changed_out);

/* A few float32 roundings: for likelihoods that are reported. Training may use tables that are coarser: its gradient is the exact one of
 * the field as interpolated. */
#define EQF__TABLE_TOLERANCE 8e-6
#define EQF__TRAINING_TABLE_TOLERANCE 5e-4
#define EQF__TRAINING_RESOLUTION 512u

/* The kinds, one file each. */
eqf_status eqf__radial_field_create(eqf__field *field);
eqf_status eqf__dense_field_create(eqf__field *field);

#endif
