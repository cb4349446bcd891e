/* The problem of a flow: few samples, parameters of the size that training starts from, two steps. A twin of the
 * flow, of the very same programs, solves it; so does the host in double. Where the host would take too long, as for
 * fields of many particles whose divergence it has from differences of velocities, the problem is large: the host
 * works out the field at one symmetric configuration, and then does its own steps with the twin's velocities, which
 * are known to be right. */
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
    eqf_flow *twin;       /* of the same programs, with parameters and steps of the problem */
    eqf_model *model;
    eqf__host_field field; /* of the host's solves: of a large problem it asks the twin */
    eqf__field_problem of_field;
    double *params;                        /* [num_params] */
    float *start;                          /* [num_params]: the model's own */
    double share;                          /* of their usual size */
    float *x;                              /* [BATCH, N*D], centred */
    double *h_x, *h_y;                     /* the same in double; scratch [N*D + 4] */
    float *y, *gradient;                   /* scratch [BATCH, N*D]; [num_trained] */
    double *direction;                     /* scratch [num_trained] */
    double *h_z, log_det[EQF__FLOW_BATCH]; /* [BATCH, N*D] and log_det: the host's way back to the prior */
    eqf_loss loss;
    const eqf__host_scheme *scheme; /* of the host's steps */
    unsigned num_steps, host_steps; /* of equal size, on the device and on the host */
} eqf__flow_problem;

static inline eqf__flow_problem *eqf__flow_problem_of(eqf__problem *problem) {
    return (eqf__flow_problem *)problem;
}
/* Steps are chosen by their error. */
static inline bool eqf__is_adaptive(const eqf_flow *flow) {
    return flow->solver->has_step_control;
}

/* base.make of flows. */
eqf_status eqf__flow_problem_make(eqf__problem *problem, bool *can_tell_out);
void eqf__flow_problem_clear(eqf__flow_problem *t);

/* Sample b from x_0 or back to it, [N*D] into x_out; gives log_det, NaN where the host has no answer. */
double eqf__flow_host_solve(eqf__flow_problem *t, eqf_direction direction, unsigned b, double *x_out);
double eqf__flow_host_log_prob(const eqf__flow_problem *t, unsigned b);
/* The parameters' share, in the twin too. The field of a large problem is asked about at the full one, where its
 * deepest layers have their say, and solved at one at which it is calm. */
eqf_status eqf__flow_set_share(eqf__flow_problem *t, double share);
static inline double eqf__flow_share_of_field(const eqf__flow_problem *t) {
    return t->of_field.is_large ? 1 : t->share;
}
/* Velocity and divergence of sample b by the kind's formula; of a large problem sample 0 is the only one that has
 * one. */
bool eqf__flow_host_velocity(eqf__flow_problem *t, unsigned b, const double *x, double time, double *velocity_out,
                             double *divergence_out);
/* The twin's at one configuration, in its own precision. */
eqf_status eqf__flow_twin_velocity(const eqf__flow_problem *t, double time, const double *x, double *velocity_out,
                                   double *divergence_out);
/* Samples that have one. */
static inline unsigned eqf__flow_num_known(const eqf__flow_problem *t) {
    return t->of_field.is_large ? 1 : EQF__FLOW_BATCH;
}

static inline double eqf__relative(double expected, double got, double least) {
    return fabs(expected - got) / fmax(least, fabs(expected));
}
/* Nats; of large ones a part in 1e4. */
static inline double eqf__off_in_nats(double expected, double got) {
    return fabs(expected - got) / fmax(1, 1e-2 * fabs(expected));
}

#endif
