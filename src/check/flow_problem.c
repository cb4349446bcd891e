/* The problem of a flow: making it, and the host's answers. */
#include "flow_problem.h"

#include <stdlib.h>
#include <string.h>

#include "potential_kinds.h"

enum { LARGE = 16 }; /* from this many particles on the problem is large: a velocity costs the host N^2 K or N^3 */
static const uint64_t noise_seed = 0x0123456789abcdefu;

/* ---- The problem ------------------------------------------------------------------------------------------------- */

void eqf__flow_problem_clear(eqf__flow_problem *t) {
    eqf_flow_destroy(&t->twin);
    eqf_model_destroy(&t->model);
    free(t->params);
    free(t->start);
    free(t->x);
    free(t->h_x);
    free(t->h_y);
    free(t->h_z);
    free(t->y);
    free(t->gradient);
    free(t->direction);
}

/* Two steps: they have a first and a last step, and stage times at both ends, between steps and within. */
static unsigned problem_steps(const eqf_flow *flow) {
    return flow->num_particles > LARGE ? 1 : 2;
}

/* Parameters of the size with which training starts, or a fraction of it. */
static void choose_params(eqf__flow_problem *t, size_t num_params, float *params) {
    const double share = t->of_field.share * t->share;
    memcpy(params, t->start, num_params * sizeof *params);
    for (unsigned i = 0; i < eqf_model_num_trained(t->model); i++) {
        if (i < t->of_field.num_weights) params[i] = (float)(share * params[i]);
        params[i] += (float)(0.1 * share * eqf__host_number(i, 1));
    }
    for (size_t i = 0; i < num_params; i++) t->params[i] = params[i];
}

/* N particles at the corners of a regular N-gon: they are equivalent for an equivariant field, so the divergence is N
 * times that of one particle. */
static void place_on_ring(const eqf__flow_problem *t, double *h_x) {
    const eqf_flow *flow = t->flow;
    for (unsigned i = 0; i < flow->num_particles; i++) {
        const double angle = 6.283185307179586 * i / flow->num_particles;
        for (unsigned a = 0; a < flow->space_dim; a++)
            h_x[i * flow->space_dim + a] = a == 0   ? t->of_field.side * cos(angle)
                                           : a == 1 ? t->of_field.side * sin(angle)
                                                    : 0;
    }
}

/* Configurations in a box; in a large problem the first one is a ring. */
static void choose_configurations(eqf__flow_problem *t) {
    const eqf_flow *flow = t->flow;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        double *h_x = t->h_x + b * flow->num_dof;
        for (size_t c = 0; c < flow->num_dof; c++)
            h_x[c] = t->of_field.side * eqf__host_number((unsigned)(b * flow->num_dof + c), 2);
        if (t->of_field.is_large && b == 0) place_on_ring(t, h_x);
        eqf__host_centre(flow->num_particles, flow->space_dim, h_x);
    }
    for (size_t c = 0; c < EQF__FLOW_BATCH * flow->num_dof; c++) t->h_x[c] = t->x[c] = (float)t->h_x[c];
    if (!eqf__is_double(&flow->solver->real)) return;
    /* Rounding to float32 moved the centre from 0 and broke the ring's symmetry, which matters in double. */
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        double *h_x = t->h_x + b * flow->num_dof;
        if (t->of_field.is_large && b == 0) place_on_ring(t, h_x);
        eqf__host_centre(flow->num_particles, flow->space_dim, h_x);
    }
}

eqf_status eqf__flow_twin_velocity(const eqf__flow_problem *t, double time, const double *x, double *velocity_out,
                                   double *divergence_out) {
    eqf_flow *twin = t->twin;
    const eqf__noise noise = {0, 0};
    EQF__TRY(eqf__batch_upload(&twin->batch, 1, eqf__doubles(x)));
    EQF__TRY(twin->solver->verbs->field_at(twin->solver, &noise, time, 1, twin->batch.d_x, twin->batch.d_x,
                                           twin->d_log_det));
    EQF__TRY(eqf__batch_download(&twin->batch, 1, twin->batch.d_x, eqf__doubles(velocity_out)));
    return eqf__batch_read(&twin->batch, 1, twin->d_log_det, eqf__doubles(divergence_out));
}

/* The velocity function of a host field that gets its values from the twin. Fields of large problems have exact
 * divergences and need no noise. */
static bool ask_twin(const eqf__host_field *field, const double *x, double time, double *velocity_out,
                     double *divergence_out) {
    const eqf__flow_problem *t =
        (const eqf__flow_problem *)(const void *)((const char *)field - offsetof(eqf__flow_problem, field));
    return eqf__flow_twin_velocity(t, time, x, velocity_out, divergence_out) == EQF_OK;
}

static eqf_status make_arrays(eqf__flow_problem *t) {
    eqf_context *ctx = t->flow->ctx;
    const size_t num_params = eqf_model_num_params(t->model), num_dof = t->flow->num_dof;
    const size_t num_trained = eqf_model_num_trained(t->model);
    t->params = eqf__alloc(ctx, num_params, sizeof *t->params, "the known answers");
    t->start = eqf__alloc(ctx, num_params, sizeof *t->start, "the known answers");
    t->x = eqf__alloc(ctx, EQF__FLOW_BATCH * num_dof, sizeof *t->x, "the known answers");
    t->y = eqf__alloc(ctx, EQF__FLOW_BATCH * num_dof, sizeof *t->y, "the known answers");
    t->h_x = eqf__alloc(ctx, EQF__FLOW_BATCH * num_dof, sizeof *t->h_x, "the known answers");
    t->h_y = eqf__alloc(ctx, num_dof + 4, sizeof *t->h_y, "the known answers");
    t->h_z = eqf__alloc(ctx, EQF__FLOW_BATCH * num_dof, sizeof *t->h_z, "the known answers");
    t->gradient = eqf__alloc(ctx, num_trained, sizeof *t->gradient, "the known answers");
    t->direction = eqf__alloc(ctx, num_trained, sizeof *t->direction, "the known answers");
    const bool is_complete = t->params != NULL && t->start != NULL && t->x != NULL && t->y != NULL && t->h_x != NULL &&
                             t->h_y != NULL && t->h_z != NULL && t->gradient != NULL && t->direction != NULL;
    return is_complete ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

eqf_status eqf__flow_set_share(eqf__flow_problem *t, double share) {
    eqf_context *ctx = t->flow->ctx;
    const size_t num_params = eqf_model_num_params(t->model);
    float *params = eqf__alloc(ctx, num_params, sizeof *params, "the known answers");
    if (params == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    bool has_changed;
    t->share = share;
    choose_params(t, num_params, params);
    eqf_status status = eqf_model_set_params(ctx, t->model, params);
    if (status == EQF_OK && t->twin != NULL) status = eqf__flow_set_params(t->twin, params, &has_changed);
    free(params);
    return status;
}

static eqf_status make_problem(eqf__flow_problem *t) {
    const eqf_flow *flow = t->flow;
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    eqf__potential_of_species(flow->num_particles, flow->space_dim, flow->dynamics.num_b, &options.potential);
    eqf__prior_copy_options(&flow->prior.options, &options);
    options.dynamics = flow->dynamics;
    options.integrator.num_steps = t->num_steps;
    if (options.dynamics.width > 32) options.dynamics.width = 32; /* the programs do not depend on hidden layers */
    if (options.dynamics.depth > 3) options.dynamics.depth = 3;
    EQF__TRY(eqf_model_create(flow->ctx, &options, &t->model));
    EQF__TRY(make_arrays(t));
    t->field = (eqf__host_field){.velocity = t->of_field.is_large ? ask_twin : flow->field->kind->host_velocity,
                                 .num_particles = flow->num_particles,
                                 .space_dim = flow->space_dim,
                                 .options = &eqf_model_options_of(t->model)->dynamics,
                                 .params = t->params,
                                 .noise_seed = noise_seed,
                                 .divergence = flow->field->divergence};
    /* Gradients are those of RK4 with the divergence at its stages, not by Simpson's rule. */
    t->field.is_divergence_apart = t->base.answers == EQF__ANSWERS_OF_VALUES && !eqf__is_adaptive(flow) &&
                                   flow->field->batched != NULL && flow->field->batched->is_divergence_costly;
    memcpy(t->start, eqf_model_params(t->model), eqf_model_num_params(t->model) * sizeof *t->start);
    choose_configurations(t);
    return eqf__flow_set_share(t, 1);
}

/* The twin must run the programs of the flow, so its table has the flow's resolution, whatever its parameters need. */
static eqf_status make_twin(eqf__flow_problem *t) {
    const eqf__field *field = t->flow->field;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.num_steps = t->num_steps;
    options.method = t->flow->solver->method;
    options.adaptive.rtol = options.adaptive.atol = 1e-6;
    options.divergence = t->field.divergence;
    options.divergence_seed = noise_seed;
    if (eqf__is_double(&t->flow->solver->real)) {
        options.precision = EQF_PRECISION_DOUBLE;
        return eqf__flow_build(t->flow->ctx, t->model, &options, &t->twin);
    }
    options.field_evaluation = field->evaluation;
    EQF__TRY(eqf__flow_build(t->flow->ctx, t->model, &options, &t->twin));
    eqf__field *own = t->twin->field;
    if (own->evaluation == field->evaluation && own->resolution == field->resolution) return EQF_OK;
    EQF__TRY(eqf__field_set_resolution(own, field->resolution));
    EQF__TRY(eqf__field_prepare(own, false));
    return eqf__solver_assemble(t->twin->solver);
}

/* ---- The host's answers ------------------------------------------------------------------------------------------ */

static double solve_in(eqf__flow_problem *t, eqf_direction direction, unsigned b, unsigned num_steps, double *x_out) {
    double log_det, error;
    t->field.noise_sample = b;
    const bool is_good = eqf__host_transform(&t->field, t->scheme, direction == EQF_PRIOR_TO_DATA, num_steps,
                                             t->h_x + b * t->flow->num_dof, x_out, &log_det, &error);
    return is_good ? log_det : NAN;
}

double eqf__flow_host_solve(eqf__flow_problem *t, eqf_direction direction, unsigned b, double *x_out) {
    return solve_in(t, direction, b, t->host_steps, x_out);
}

/* Computes h_z and log_det from h_x. */
static void find_latents(eqf__flow_problem *t) {
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++)
        t->log_det[b] = solve_in(t, EQF_DATA_TO_PRIOR, b, t->host_steps, t->h_z + b * t->flow->num_dof);
}

/* The largest change of a latent when the host takes half the steps. */
static double change_of_latents(eqf__flow_problem *t) {
    const size_t num_dof = t->flow->num_dof;
    double worst = 0;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        const double log_det = solve_in(t, EQF_DATA_TO_PRIOR, b, t->host_steps / 2, t->h_y);
        worst = eqf__host_worse(worst, fabs(t->log_det[b] - log_det));
        for (size_t c = 0; c < num_dof; c++) worst = eqf__host_worse(worst, fabs(t->h_z[b * num_dof + c] - t->h_y[c]));
    }
    return worst;
}

/* A solver that chooses its steps makes their error negligible, so the host must do the same: it takes so many steps
 * that its error, of order 4, is far below the tolerance. False: too many steps would be needed. */
static bool solve_on_host(eqf__flow_problem *t) {
    const double enough = t->flow->num_particles > LARGE ? 1e-4 : 1e-5;
    t->host_steps = eqf__is_adaptive(t->flow) ? 4 : t->num_steps;
    find_latents(t);
    while (eqf__is_adaptive(t->flow) && !(change_of_latents(t) / 15 <= enough)) {
        t->host_steps *= 2;
        if (t->host_steps > 256) return false;
        find_latents(t);
    }
    return true;
}

/* The largest distance by which the host's solve moves a coordinate, or the largest |log_det| per particle if that is
 * larger. */
static double liveliness(const eqf__flow_problem *t) {
    const size_t num_dof = t->flow->num_dof;
    double most = 0;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        most = eqf__host_worse(most, fabs(t->log_det[b]) / (double)t->flow->num_particles);
        for (size_t c = b * num_dof; c < (b + 1) * num_dof; c++)
            most = eqf__host_worse(most, fabs(t->h_z[c] - t->h_x[c]));
    }
    return most;
}

/* Tolerances are fixed, so the field must not magnify errors of rounding or of a table; with few broad Gaussians, a
 * large box or a small prior the same parameters would give such a field. Its weights are halved until it moves samples
 * little. *is_known_out false: the host cannot compute the answers. */
static eqf_status calm_down(eqf__flow_problem *t, bool *is_known_out) {
    const double lively = 0.25, least_share = 1.0 / 64;
    *is_known_out = solve_on_host(t);
    while ((!*is_known_out || !(liveliness(t) <= lively)) && t->share > least_share) {
        EQF__TRY(eqf__flow_set_share(t, 0.5 * t->share));
        *is_known_out = solve_on_host(t);
    }
    eqf__log(t->flow->ctx, EQF_LOG_DEBUG, "known answers: liveliness %.2g with a share of %g", liveliness(t), t->share);
    return EQF_OK;
}

double eqf__flow_host_log_prob(const eqf__flow_problem *t, unsigned b) {
    const eqf_flow *flow = t->flow;
    return t->log_det[b] + flow->prior.kind->host_log_prob(&flow->prior.options, t->h_z + b * flow->num_dof);
}

bool eqf__flow_host_velocity(eqf__flow_problem *t, unsigned b, const double *x, double time, double *velocity_out,
                             double *divergence_out) {
    eqf__host_field field = t->field;
    field.noise_sample = b;
    field.is_symmetric = t->of_field.is_symmetric;
    return t->flow->field->kind->host_velocity(&field, x, time, velocity_out, divergence_out);
}

eqf_status eqf__flow_problem_make(eqf__problem *problem, bool *can_tell_out) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    t->num_steps = problem_steps(t->flow);
    t->scheme = eqf__is_adaptive(t->flow) ? &eqf__host_rk4 : t->flow->solver->scheme;
    EQF__TRY(make_problem(t));
    if (t->of_field.is_large) EQF__TRY(make_twin(t)); /* the host needs its velocities */
    EQF__TRY(calm_down(t, can_tell_out));
    if (!*can_tell_out) {
        eqf__log(t->flow->ctx, EQF_LOG_WARNING,
                 "the field is too stiff for known answers: its programs are not checked before their first result");
        return EQF_OK;
    }
    return t->twin == NULL ? make_twin(t) : EQF_OK;
}
