/* The message field from its equations, in double precision: straight loops, no code of src/ or cl/, two
 * formulations of the divergence.
 *
 * How to call it:
 *     ref_message *message = ref_message_from_model(model);    (or ref_message_create and numbers of one's own)
 *     ref_message_velocity(message, t, x, v);
 *     ref_message_field(message, t, x, v, &divergence);        (the trace by N D exact directional derivatives)
 *     divergence = ref_message_closed_divergence(message, t, x);              (the same by the closed-form rules)
 *     ref_message_gradient(message, t, x, adjoint_v, adjoint_div, by_x, by_params);
 *
 * by_x [N, D], by_params [num_params]: the exact gradients of sum over i, c of adjoint_v v + adjoint_div div v. All
 * arrays are double. */
#ifndef EQF_TESTS_REF_MESSAGE_H
#define EQF_TESTS_REF_MESSAGE_H

#include "eqflow/flow.h"

/* The letters of docs/method.md. */
typedef struct ref_message_shape {
    unsigned num_particles, space_dim; /* N, D */
    unsigned num_hops;                 /* L */
    unsigned num_radial;               /* K */
    unsigned num_scalars;              /* H */
    unsigned num_vectors;              /* M */
    unsigned edge_width;               /* E */
    unsigned num_reduced;              /* R */
    unsigned num_b;                    /* the last ones are of species B */
} ref_message_shape;

enum {
    ref_message_most_hops = 8,
    ref_message_most_slices = 16 + 10 * ref_message_most_hops,
    ref_message_most_parts = 32 + 32 * ref_message_most_hops
};

/* A slice of the flat vector of parameters: a matrix [rows, columns], row-major; or a part of one: rows are
 * `stride` numbers apart. */
typedef struct ref_matrix {
    char name[56];
    unsigned hop; /* of a part: 1 ... L, or 0 */
    size_t rows, columns, stride, offset;
} ref_matrix;

typedef struct ref_message {
    ref_message_shape shape;
    double *centers; /* [K], mu */
    double gamma;
    size_t num_params;
    double *params; /* [num_params] */
    size_t num_slices, num_parts;
    ref_matrix slices[ref_message_most_slices]; /* named and ordered as in docs/method.md */
    ref_matrix parts[ref_message_most_parts];   /* one for each letter of the equations: "W0", "A" of hop 2, "alpha" */
} ref_message;

/* All parameters 0; centres and gamma as docs/method.md says. */
ref_message *ref_message_create(ref_message_shape shape, double distance_max);
void ref_message_destroy(ref_message *message);
/* The model's options and numbers. NULL if a tensor is missing, has another shape or stands at another place. */
ref_message *ref_message_from_model(const eqf_model *model);
/* The part of this letter; aborts if there is none. */
const ref_matrix *ref_message_part(const ref_message *message, const char *letter, unsigned hop);

/* The part of this letter for the pair (i, j), in names "f", "f_ab", "f_bb" by their species. */
const ref_matrix *ref_message_pair_part(const ref_message *message, const char *letter, unsigned hop, size_t i,
                                        size_t j);

/* x, velocity_out [N, D]. */
void ref_message_velocity(const ref_message *message, double t, const double *x, double *velocity_out);
/* divergence_out: the sum of N D exact directional derivatives. */
void ref_message_field(const ref_message *message, double t, const double *x, double *velocity_out,
                       double *divergence_out);
/* scale_out: the sum of their sizes, which rounding errors of the divergence are relative to. */
void ref_message_field_scaled(const ref_message *message, double t, const double *x, double *velocity_out,
                              double *divergence_out, double *scale_out);
/* By the closed-form rules, one source particle at a time. */
double ref_message_closed_divergence(const ref_message *message, double t, const double *x);
/* The trace by central differences of the velocity, extrapolated once (Richardson). */
double ref_message_divergence_by_differences(const ref_message *message, double t, const double *x);

/* Exact gradients of adjoint_v . v + adjoint_div div v; by_x_out [N, D], by_params_out [num_params], either may be
 * NULL. */
void ref_message_gradient(const ref_message *message, double t, const double *x, const double *adjoint_v,
                          double adjoint_div, double *by_x_out, double *by_params_out);

/* ---- The flow ---- */

/* RK4 with num_steps equal steps; the divergence by the closed-form rules, integrated by Simpson's rule over each step;
 * for the loss and its gradients by RK4's own stages. */
typedef struct ref_message_flow {
    const ref_message *message; /* the holder's */
    unsigned num_steps;
    double prior_scale;
} ref_message_flow;

/* x_in, x_out [N, D] may be the same. Returns log|det d x_out / d x_in|; integration_error_out, or NULL: as in
 * reference.h. */
double ref_message_transform(const ref_message_flow *flow, eqf_direction direction, const double *x_in, double *x_out,
                             double *integration_error_out);
/* Of x, centred; z_out [N, D] or NULL. */
double ref_message_log_prob(const ref_message_flow *flow, const double *x, double *z_out,
                            double *integration_error_out);
/* loss = nll + integration_penalty * error of x [B, N, D]; by_x_out [B, N, D] and by_params_out [num_params],
 * either or both NULL: its exact gradients, by the reverse of RK4 and of the tape. */
eqf_loss ref_message_loss(const ref_message_flow *flow, double integration_penalty, size_t batch_size, const double *x,
                          double *by_x_out, double *by_params_out);

#endif
