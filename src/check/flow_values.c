/* Known answers of a flow's values: velocities, solves in both directions, log-densities. */
#include <stdlib.h>

#include "flow_problem.h"

EQF__ANSWER(velocities) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const double calm = t->share;
    if (eqf__flow_share_of_field(t) != calm) EQF__TRY(eqf__flow_set_share(t, eqf__flow_share_of_field(t)));
    const size_t num_dof = t->flow->num_dof;
    const double time = 0.5;
    float divergence[EQF__FLOW_BATCH];
    EQF__TRY(eqf_flow_velocity(t->twin, time, EQF__FLOW_BATCH, t->x, t->y, divergence));
    for (unsigned b = 0; b < eqf__flow_num_known(t); b++) {
        double expected;
        if (!eqf__flow_host_velocity(t, b, t->h_x + b * num_dof, time, t->h_y, &expected)) expected = NAN;
        *error_out = eqf__host_worse(*error_out, eqf__relative(expected, (double)divergence[b], 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, eqf__relative(t->h_y[c], (double)t->y[b * num_dof + c], 1));
    }
    return t->share != calm ? eqf__flow_set_share(t, calm) : EQF_OK;
}

static eqf_status check_solves(eqf__flow_problem *t, eqf_direction direction, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    float log_det[EQF__FLOW_BATCH];
    EQF__TRY(eqf_flow_transform(t->twin, direction, EQF__FLOW_BATCH, t->x, t->y, log_det));
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        const bool is_known = direction == EQF_DATA_TO_PRIOR;
        const double *expected = is_known ? t->h_z + b * num_dof : t->h_y;
        const double expected_log_det = is_known ? t->log_det[b] : eqf__flow_host_solve(t, direction, b, t->h_y);
        *error_out = eqf__host_worse(*error_out, eqf__off_in_nats(expected_log_det, (double)log_det[b]));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, eqf__relative(expected[c], (double)t->y[b * num_dof + c], 1));
    }
    return EQF_OK;
}

EQF__ANSWER(samples) {
    return check_solves(eqf__flow_problem_of(problem), EQF_PRIOR_TO_DATA, error_out);
}

EQF__ANSWER(latents) {
    return check_solves(eqf__flow_problem_of(problem), EQF_DATA_TO_PRIOR, error_out);
}

EQF__ANSWER(log_densities) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    float log_prob[EQF__FLOW_BATCH];
    EQF__TRY(eqf_flow_log_prob(t->twin, EQF__FLOW_BATCH, t->x, log_prob, NULL));
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++)
        *error_out = eqf__host_worse(*error_out, eqf__off_in_nats(eqf__flow_host_log_prob(t, b), (double)log_prob[b]));
    return EQF_OK;
}

/* In double, with a smaller tolerance: double is there to check float32. */
EQF__ANSWER(velocities_in_double) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const double calm = t->share, time = 0.5;
    const size_t num_dof = t->flow->num_dof;
    double *velocity = eqf__alloc(t->flow->ctx, num_dof, sizeof *velocity, "the known answers");
    eqf_status status = velocity != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK && eqf__flow_share_of_field(t) != calm)
        status = eqf__flow_set_share(t, eqf__flow_share_of_field(t));
    for (unsigned b = 0; status == EQF_OK && b < eqf__flow_num_known(t); b++) {
        const double *x = t->h_x + b * num_dof;
        double expected, divergence;
        status = eqf__flow_twin_velocity(t, time, x, velocity, &divergence);
        if (!eqf__flow_host_velocity(t, b, x, time, t->h_y, &expected)) expected = NAN;
        *error_out = eqf__host_worse(*error_out, eqf__relative(expected, divergence, 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, eqf__relative(t->h_y[c], velocity[c], 1));
    }
    free(velocity);
    return status == EQF_OK && t->share != calm ? eqf__flow_set_share(t, calm) : status;
}

EQF__ANSWER(samples_in_double) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const size_t num_dof = t->flow->num_dof;
    double log_det[EQF__FLOW_BATCH],
        *x = eqf__alloc(t->flow->ctx, EQF__FLOW_BATCH * num_dof, sizeof *x, "the known answers");
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__flow_transform(t->twin, EQF_PRIOR_TO_DATA, EQF__FLOW_BATCH, eqf__doubles(t->h_x),
                                            eqf__doubles(x), eqf__doubles(log_det));
    for (unsigned b = 0; status == EQF_OK && b < EQF__FLOW_BATCH; b++) {
        *error_out = eqf__host_worse(
            *error_out, eqf__relative(eqf__flow_host_solve(t, EQF_PRIOR_TO_DATA, b, t->h_y), log_det[b], 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(t->h_y[c] - x[b * num_dof + c]));
    }
    free(x);
    return status;
}

EQF__ANSWER(log_densities_in_double) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    double log_prob[EQF__FLOW_BATCH];
    EQF__TRY(eqf_flow_log_prob_double(t->twin, EQF__FLOW_BATCH, t->h_x, log_prob, NULL));
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++)
        *error_out = eqf__host_worse(*error_out, eqf__relative(eqf__flow_host_log_prob(t, b), log_prob[b], 1));
    return EQF_OK;
}
