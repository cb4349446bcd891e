/* The problem of a flow: few samples, parameters of the size with which training starts, two steps. It is solved by a
 * twin of the flow, which uses the same programs, and by the host in double. If the host would take too long, as for
 * fields of many particles whose divergence it computes from differences of velocities, the problem is called large:
 * the host computes the field at one symmetric configuration only, and then does its steps with the twin's velocities,
 * which have been checked by then. */
#ifndef EQF_FLOW_PROBLEM_H
#define EQF_FLOW_PROBLEM_H

#include <math.h>

#include "answers.h"
#include "host_reference.h"
#include "kinds.h"
#include "solve.h"

enum { EQF__FLOW_BATCH = 3 }; /* not a multiple of any V but 1 */
#define EQF__FLOW_PENALTY 0.1 /* weight of the integration error in losses */

typedef struct eqf__flow_problem {
    eqf__problem base;
    const eqf_flow *flow; /* whose programs are checked */
    eqf_flow *twin;       /* a flow with the same programs and with the parameters and steps of the problem */
    eqf_model *model;
    eqf__host_field field; /* of the host's solves; in a large problem it gets velocities from the twin */
    eqf__field_problem of_field;
    double *params;                        /* [num_params]: share times start */
    float *start;                          /* [num_params]: of the model */
    double share;                          /* eqf__flow_set_share */
    float *x;                              /* [BATCH, N*D], centred */
    double *h_x, *h_y;                     /* the same in double; scratch [N*D + 4] */
    float *y, *gradient;                   /* scratch [BATCH, N*D]; [num_trained] */
    double *direction;                     /* scratch [num_trained] */
    double *h_z, log_det[EQF__FLOW_BATCH]; /* [BATCH, N*D] and [BATCH]: the host's solve data -> prior */
    eqf_loss loss;
    const eqf__host_scheme *scheme; /* of the host's steps */
    unsigned num_steps, host_steps; /* equal steps on the device, and on the host */
} eqf__flow_problem;

static inline eqf__flow_problem *eqf__flow_problem_of(eqf__problem *problem) {
    return (eqf__flow_problem *)problem;
}
/* Whether the flow chooses its steps by their error. */
static inline bool eqf__is_adaptive(const eqf_flow *flow) {
    return flow->solver->has_step_control;
}

/* base.make of flows. */
eqf_status eqf__flow_problem_make(eqf__problem *problem, bool *can_tell_out);
void eqf__flow_problem_clear(eqf__flow_problem *t);

/* The host's solve of sample b in that direction: x_out [N*D]; returns log_det, NaN if the host cannot compute it. */
double eqf__flow_host_solve(eqf__flow_problem *t, eqf_direction direction, unsigned b, double *x_out);
double eqf__flow_host_log_prob(const eqf__flow_problem *t, unsigned b);
/* Sets the parameters to `share` times their start values, in the twin too. In a large problem the field is checked at
 * share 1, where its deepest layers contribute, and solved at a share at which it does not magnify rounding errors. */
eqf_status eqf__flow_set_share(eqf__flow_problem *t, double share);
static inline double eqf__flow_share_of_field(const eqf__flow_problem *t) {
    return t->of_field.is_large ? 1 : t->share;
}
/* Velocity and divergence of sample b by the kind's formula; in a large problem only of sample 0. */
bool eqf__flow_host_velocity(eqf__flow_problem *t, unsigned b, const double *x, double time, double *velocity_out,
                             double *divergence_out);
/* The twin's velocity and divergence at one configuration, in its precision. */
eqf_status eqf__flow_twin_velocity(const eqf__flow_problem *t, double time, const double *x, double *velocity_out,
                                   double *divergence_out);
/* Number of samples whose field the host computes. */
static inline unsigned eqf__flow_num_known(const eqf__flow_problem *t) {
    return t->of_field.is_large ? 1 : EQF__FLOW_BATCH;
}

static inline double eqf__relative(double expected, double got, double least) {
    return fabs(expected - got) / fmax(least, fabs(expected));
}
/* The error in nats; for large values relative, so that an error of 1e-4 means 1e-6 of the value. */
static inline double eqf__off_in_nats(double expected, double got) {
    return fabs(expected - got) / fmax(1, 1e-2 * fabs(expected));
}

#endif
