/* A velocity field on the device, ready to be assembled into trajectories. A kind of field is one file here and one (or two) in
 * cl/dynamics; the integrator knows neither. The kernel text of a field promises
 *     field_velocity(stage, shared, x, velocity, divergence)
 *     field_vjp(stage, shared, grad_stage, grad_shared, x, adjoint_velocity, adjoint_divergence, adjoint_x)
 * for one stage time t_j = j / (num_stages - 1); the host side turns parameters into stage data and gradients of stage data into
 * gradients of parameters. */
#ifndef EQF_FIELD_H
#define EQF_FIELD_H

#include "eqflow/flow.h"
#include "program.h"

typedef struct eqf__field eqf__field;
struct eqf__field {
    eqf_context *ctx;
    unsigned num_particles, space_dim, num_stages;
    eqf_dynamics_options options;
    eqf_field_evaluation evaluation; /* as it is used: TABLE may have fallen back to DIRECT */
    size_t num_params, num_trained;
    /* For the integrator's program */
    const char *files[4];    /* kernel files, NULL-terminated */
    char defines[256];       /* -D options, STAGE_SIZE, GRAD_STAGE_SIZE and GRAD_SHARED_SIZE among them */
    size_t grad_stage_size;  /* floats a stage; a multiple of 16 */
    size_t grad_shared_size; /* floats; a multiple of 16 */
    cl_mem d_params;         /* [num_params] */
    cl_mem d_stages;         /* [num_stages][STAGE_SIZE], valid after prepare */
    cl_mem d_shared;
    /* Kind-specific state and verbs. */
    void *state;
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
};

/* Makes a field with room for parameters, none set. Errors: those of the device. */
eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, unsigned num_stages, eqf_field_evaluation evaluation,
                             eqf__field **field_out);
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

#endif
