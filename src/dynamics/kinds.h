/* The kinds of fields, one row each: nothing outside a kind's own files and its row compares its constant. */
#ifndef EQF_KINDS_H
#define EQF_KINDS_H

#include "field.h"
#include "host_reference.h"
#include "option.h"

/* Most slices of a kind's parameter vector. */
enum { EQF__MOST_SLICES = 96 };

typedef struct eqf__field_problem {
    double side;        /* half the side of the box in which configurations lie */
    double share;       /* of the start values' size, for parameters and what is added to them */
    size_t num_weights; /* of the parameters, those that share scales too */
    bool is_large; /* the host's formula takes long: it is asked for one configuration */
    bool is_symmetric; /* which is symmetric (eqf__host_field.is_symmetric) */
} eqf__field_problem;

typedef struct eqf__dynamics_kind {
    eqf_dynamics_kind_info info; /* has_double: its stage or batched form can be had in double */
    unsigned forms;              /* set of EQF__FORM_ */
    const eqf_option *options;   /* the kind's rows, over eqf_dynamics_options */
    /* ---- Known answers (src/check). NULL: the host has no formula of it. */
    eqf__host_velocity_function host_velocity;
    /* A small problem in which float32 shows what is wrong; false: the host's formula is not for these options. */
    bool (*problem)(const eqf_dynamics_options *options, unsigned num_particles, unsigned space_dim,
                    bool has_step_control, eqf__field_problem *problem_out);
    /* ---- Parameters, on the host (src/model). check: what the rows cannot say, NULL: nothing; errors:
     * INVALID_ARGUMENT with the option's name. */
    eqf_status (*check)(eqf_context *ctx, const eqf_dynamics_options *options);
    /* Fills slices_out [EQF__MOST_SLICES] and gives num_params. */
    size_t (*layout)(const eqf_dynamics_options *options, size_t num_dof, eqf_param_slice *slices_out,
                     size_t *num_slices_out, size_t *num_trained_out);
    /* Start values [num_params]. */
    eqf_status (*init_params)(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof, uint64_t seed,
                              float *params_out);
    /* ---- On the device: eqf__field_ functions of these names. create leaves what it has made to destroy if it
     * fails. */
    eqf_status (*create)(eqf__field *field, const eqf__field_needs *needs);
    void (*destroy)(eqf__field *field);
    eqf_status (*prepare)(eqf__field *field, bool check); /* NULL: the forms need the parameters alone */
    eqf_status (*set_resolution)(eqf__field *field, unsigned resolution); /* NULL: there is no table */
} eqf__dynamics_kind;

/* Tolerances: half of the promised 1e-4, as samples that were not tried may do a little worse. */
#define EQF__EXACT_STEPS .coordinate_tolerance = 5e-5, .log_prob_tolerance = 5e-5
/* A row's info. */
#define EQF__DYNAMICS_INFO(...) \
    { .struct_size = sizeof(eqf_dynamics_kind_info), __VA_ARGS__ }

/* NULL: there is no such kind. */
const eqf__dynamics_kind *eqf__dynamics_kind_of(eqf_dynamics_kind kind);

/* All that options of a model's dynamics must be. Errors: INVALID_ARGUMENT with the option's name. */
eqf_status eqf__dynamics_check(eqf_context *ctx, const eqf_dynamics_options *options);
/* Feeds the kind and its options to a hash (eqf__hash). */
uint64_t eqf__dynamics_hash(uint64_t hash, const eqf_dynamics_options *options);

extern const eqf__dynamics_kind eqf__radial_kind, eqf__dense_kind, eqf__message_kind;

#endif
