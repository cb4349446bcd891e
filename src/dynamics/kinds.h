/* The table of the kinds of fields. Only a kind's own files and its row depend on the kind. */
#ifndef EQF_KINDS_H
#define EQF_KINDS_H

#include "field.h"
#include "host_reference.h"
#include "option.h"

/* Most slices of a kind's parameter vector. */
enum { EQF__MOST_SLICES = 96 };

typedef struct eqf__field_problem {
    double side;        /* half the side of the box of the configurations */
    double share;       /* factor of the first num_weights start values, and of the random numbers added to all */
    size_t num_weights; /* see share */
    bool is_large; /* the host's formula takes long: it is evaluated for one configuration only */
    bool is_symmetric; /* that configuration is symmetric (eqf__host_field.is_symmetric) */
} eqf__field_problem;

typedef struct eqf__dynamics_kind {
    eqf_dynamics_kind_info info; /* has_double: its stage or batched form exists in double precision */
    unsigned forms;              /* set of EQF__FORM_ */
    const eqf_option *options;   /* of the kind, in eqf_dynamics_options */
    /* ---- Known answers (src/check). NULL: the host has no formula for it. */
    eqf__host_velocity_function host_velocity;
    /* A small problem, in which errors are larger than the rounding of float32; false: the host's formula cannot do
     * these options. */
    bool (*problem)(const eqf_dynamics_options *options, unsigned num_particles, unsigned space_dim,
                    bool has_step_control, eqf__field_problem *problem_out);
    /* ---- Parameters, on the host (src/model). check: conditions beyond those in the option rows, or NULL; errors:
     * INVALID_ARGUMENT with the option's name. */
    eqf_status (*check)(eqf_context *ctx, const eqf_dynamics_options *options);
    /* Fills slices_out [EQF__MOST_SLICES] and returns num_params. */
    size_t (*layout)(const eqf_dynamics_options *options, size_t num_dof, eqf_param_slice *slices_out,
                     size_t *num_slices_out, size_t *num_trained_out);
    /* Start values [num_params]. */
    eqf_status (*init_params)(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof, uint64_t seed,
                              float *params_out);
    /* ---- On the device: the eqf__field_ functions with these names call them. If create fails, destroy releases what
     * it has made. */
    eqf_status (*create)(eqf__field *field, const eqf__field_needs *needs);
    void (*destroy)(eqf__field *field);
    eqf_status (*prepare)(eqf__field *field, bool check); /* NULL: the forms need only the parameters */
    eqf_status (*set_resolution)(eqf__field *field, unsigned resolution); /* NULL: there is no table */
} eqf__dynamics_kind;

/* Tolerances: half of the documented 1e-4, as the error of untested samples may be a little larger. */
#define EQF__EXACT_STEPS .coordinate_tolerance = 5e-5, .log_prob_tolerance = 5e-5
/* The info of a row. */
#define EQF__DYNAMICS_INFO(...) \
    { .struct_size = sizeof(eqf_dynamics_kind_info), __VA_ARGS__ }

/* NULL: there is no such kind. */
const eqf__dynamics_kind *eqf__dynamics_kind_of(eqf_dynamics_kind kind);

/* Checks the dynamics options of a model. Errors: INVALID_ARGUMENT with the option's name. */
eqf_status eqf__dynamics_check(eqf_context *ctx, const eqf_dynamics_options *options);
/* Adds the kind and its options to a hash (eqf__hash). */
uint64_t eqf__dynamics_hash(uint64_t hash, const eqf_dynamics_options *options);

extern const eqf__dynamics_kind eqf__radial_kind, eqf__dense_kind, eqf__message_kind;

#endif
