/* Known answers of a flow: the very programs that it is made of solve a small problem. What is compared, and which
 * programs can have given a wrong answer, is one table: `rows`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "host_reference.h"
#include "kinds.h"
#include "solve.h"

enum { BATCH = 3 };  /* not a multiple of any V but 1 */
enum { LARGE = 16 }; /* particles from which on the host, which takes N^2 K or N^3 a velocity, is asked for less */
static const double penalty = 0.1;
static const uint64_t noise_seed = 0x0123456789abcdefu;

/* What a flow is made of, each with a program of its own, for values and for gradients. */
enum { PRIOR, FIELD, INTEGRATOR, NUM_PARTS };
#define PART(name) (1u << (name))

typedef struct problem {
    const eqf_flow *flow; /* whose programs are checked */
    eqf_flow *twin;       /* of the same programs, with parameters and steps of the problem */
    eqf_model *model;
    eqf__program *programs[NUM_PARTS]; /* NULL: there is none, or another part's */
    unsigned known;                    /* parts that are known to be right */
    eqf__host_field field;
    eqf__field_problem of_field;
    double *params;              /* [num_params] */
    float *start;                /* [num_params]: the model's own */
    double share;                /* of their usual size */
    float *x;                    /* [BATCH, N*D], centred */
    double *h_x, *h_y;           /* the same in double; scratch [N*D + 4] */
    float *y, *gradient;         /* scratch [BATCH, N*D]; [num_trained] */
    double *h_z, log_det[BATCH]; /* [BATCH, N*D] and log_det: the host's way back to the prior */
    eqf_loss loss;
    unsigned num_steps, host_steps; /* of RK4, on the device and on the host */
} problem;

static bool is_adaptive(const eqf_flow *flow) {
    return flow->solver->has_step_control;
}

/* The programs that values or gradients come from. */
static void find_programs(const eqf_flow *flow, eqf__answers answers, eqf__program *programs_out[NUM_PARTS]) {
    const bool of_gradients = answers == EQF__ANSWERS_OF_GRADIENTS;
    programs_out[PRIOR] = flow->prior.program;
    programs_out[FIELD] = eqf__solver_field_program(flow->solver, of_gradients);
    programs_out[INTEGRATOR] = flow->solver->verbs->program(flow->solver, of_gradients);
}

/* ---- The problem ------------------------------------------------------------------------------------------------- */

static void problem_clear(problem *t) {
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
}

/* Two steps see every stage time but the middle ones of longer solves. */
static unsigned problem_steps(const eqf_flow *flow) {
    return flow->num_particles > LARGE ? 1 : 2;
}

/* Parameters of the size that training starts from, or a share of it. */
static void choose_params(problem *t, size_t num_params, float *params) {
    const double share = t->of_field.share * t->share;
    memcpy(params, t->start, num_params * sizeof *params);
    for (unsigned i = 0; i < eqf_model_num_trained(t->model); i++) {
        if (i < t->of_field.num_weights) params[i] = (float)(share * params[i]);
        params[i] += (float)(0.1 * share * eqf__host_number(i, 1));
    }
    for (size_t i = 0; i < num_params; i++) t->params[i] = params[i];
}

/* Configurations in a box. */
static void choose_configurations(problem *t) {
    const eqf_flow *flow = t->flow;
    for (unsigned b = 0; b < BATCH; b++) {
        double *h_x = t->h_x + b * flow->num_dof;
        for (size_t c = 0; c < flow->num_dof; c++)
            h_x[c] = t->of_field.side * eqf__host_number((unsigned)(b * flow->num_dof + c), 2);
        eqf__host_centre(flow->num_particles, flow->space_dim, h_x);
    }
    for (size_t c = 0; c < BATCH * flow->num_dof; c++) t->h_x[c] = t->x[c] = (float)t->h_x[c];
    if (!eqf__is_double(&flow->solver->real)) return;
    for (unsigned b = 0; b < BATCH; b++) /* float32 left the centre a rounding away from 0, which double sees */
        eqf__host_centre(flow->num_particles, flow->space_dim, t->h_x + b * flow->num_dof);
}

static eqf_status make_problem(problem *t, eqf__answers answers) {
    const eqf_flow *flow = t->flow;
    eqf_context *ctx = flow->ctx;
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = flow->num_particles;
    options.potential.space_dim = flow->space_dim;
    eqf__prior_copy_options(&flow->prior.options, &options);
    options.dynamics = flow->dynamics;
    options.integrator.num_steps = t->num_steps;
    if (options.dynamics.width > 32) options.dynamics.width = 32; /* the programs know nothing of hidden layers */
    if (options.dynamics.depth > 3) options.dynamics.depth = 3;
    EQF__TRY(eqf_model_create(ctx, &options, &t->model));
    const size_t num_params = eqf_model_num_params(t->model), num_dof = flow->num_dof;
    float *params = eqf__alloc(ctx, num_params, sizeof *params, "the known answers");
    t->params = eqf__alloc(ctx, num_params, sizeof *t->params, "the known answers");
    t->start = eqf__alloc(ctx, num_params, sizeof *t->start, "the known answers");
    t->x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->x, "the known answers");
    t->y = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->y, "the known answers");
    t->h_x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->h_x, "the known answers");
    t->h_y = eqf__alloc(ctx, num_dof + 4, sizeof *t->h_y, "the known answers");
    t->gradient = eqf__alloc(ctx, eqf_model_num_trained(t->model), sizeof *t->gradient, "the known answers");
    eqf_status status = EQF_ERROR_OUT_OF_MEMORY;
    t->h_z = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->h_z, "the known answers");
    if (params != NULL && t->params != NULL && t->start != NULL && t->x != NULL && t->y != NULL && t->h_x != NULL &&
        t->h_y != NULL && t->h_z != NULL && t->gradient != NULL) {
        t->field = (eqf__host_field){.velocity = flow->field->kind->host_velocity,
                                     .num_particles = flow->num_particles,
                                     .space_dim = flow->space_dim,
                                     .options = &eqf_model_options_of(t->model)->dynamics,
                                     .params = t->params,
                                     .noise_seed = noise_seed};
        t->field.divergence = flow->field->divergence;
        /* Gradients are those of RK4 with the divergence at its stages. */
        t->field.is_divergence_apart = answers == EQF__ANSWERS_OF_VALUES && flow->field->batched != NULL &&
                                       flow->field->batched->is_divergence_costly && !is_adaptive(flow);
        t->share = 1;
        memcpy(t->start, eqf_model_params(t->model), num_params * sizeof *t->start);
        choose_params(t, num_params, params);
        choose_configurations(t);
        status = eqf_model_set_params(ctx, t->model, params);
    }
    free(params);
    return status;
}

/* The twin must run the programs of the flow: the same table, whatever its own parameters would ask for. */
static eqf_status make_twin(problem *t) {
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

/* Sample b from x_0 or back to it, [N*D] into x_out; gives log_det, NaN where there is no memory. */
static double host_solve(problem *t, eqf_direction direction, unsigned b, unsigned num_steps, double *x_out) {
    double log_det, error;
    t->field.noise_sample = b;
    const bool is_good = eqf__host_transform(&t->field, direction == EQF_PRIOR_TO_DATA, num_steps,
                                             t->h_x + b * t->flow->num_dof, x_out, &log_det, &error);
    return is_good ? log_det : NAN;
}

/* h_z and log_det from h_x. */
static void find_latents(problem *t) {
    for (unsigned b = 0; b < BATCH; b++)
        t->log_det[b] = host_solve(t, EQF_DATA_TO_PRIOR, b, t->host_steps, t->h_z + b * t->flow->num_dof);
}

/* How far the latents were off with half the steps. */
static double change_of_latents(problem *t) {
    const size_t num_dof = t->flow->num_dof;
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        const double log_det = host_solve(t, EQF_DATA_TO_PRIOR, b, t->host_steps / 2, t->h_y);
        worst = eqf__host_worse(worst, fabs(t->log_det[b] - log_det));
        for (size_t c = 0; c < num_dof; c++) worst = eqf__host_worse(worst, fabs(t->h_z[b * num_dof + c] - t->h_y[c]));
    }
    return worst;
}

/* A device that chooses its steps takes them so small that only what is true of the flow itself counts: the host takes
 * as many as leave its own error, of order 4, far below the tolerance. False: those would be too many. */
static bool solve_on_host(problem *t) {
    const double enough = t->flow->num_particles > LARGE ? 1e-4 : 1e-5;
    t->host_steps = is_adaptive(t->flow) ? 4 : t->num_steps;
    find_latents(t);
    while (is_adaptive(t->flow) && !(change_of_latents(t) / 15 <= enough)) {
        t->host_steps *= 2;
        if (t->host_steps > 256) return false;
        find_latents(t);
    }
    return true;
}

static eqf_status set_share(problem *t, size_t num_params, float *params) {
    choose_params(t, num_params, params);
    return eqf_model_set_params(t->flow->ctx, t->model, params);
}

/* How far the host's way back moves a coordinate, and by how much it changes a log-density. */
static double liveliness(const problem *t) {
    const size_t num_dof = t->flow->num_dof;
    double most = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        most = eqf__host_worse(most, fabs(t->log_det[b]) / (double)t->flow->num_particles);
        for (size_t c = b * num_dof; c < (b + 1) * num_dof; c++)
            most = eqf__host_worse(most, fabs(t->h_z[c] - t->h_x[c]));
    }
    return most;
}

/* The answers are compared by fixed tolerances, so the field that is asked must not magnify what is rounding or a
 * table's doing: few broad Gaussians, a long box or a small prior make a lively one of the same parameters. Its weights
 * are halved until it is calm. False: the host does not know the answers. */
static eqf_status calm_down(problem *t, bool *is_known_out) {
    const double lively = 0.25, least_share = 1.0 / 64;
    const size_t num_params = eqf_model_num_params(t->model);
    *is_known_out = solve_on_host(t);
    while ((!*is_known_out || !(liveliness(t) <= lively)) && t->share > least_share) {
        float *params = eqf__alloc(t->flow->ctx, num_params, sizeof *params, "the known answers");
        if (params == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        t->share *= 0.5;
        const eqf_status status = set_share(t, num_params, params);
        free(params);
        EQF__TRY(status);
        *is_known_out = solve_on_host(t);
    }
    eqf__log(t->flow->ctx, EQF_LOG_DEBUG, "known answers: liveliness %.2g with a share of %g", liveliness(t), t->share);
    return EQF_OK;
}

static double host_log_prob(const problem *t, unsigned b) {
    const eqf_flow *flow = t->flow;
    return t->log_det[b] + flow->prior.kind->host_log_prob(&flow->prior.options, t->h_z + b * flow->num_dof);
}

/* ---- The twin's answers, and how far they are off the host's ----------------------------------------------------- */

static double relative(double expected, double got, double least) {
    return fabs(expected - got) / fmax(least, fabs(expected));
}

/* Nats; of large ones a part in 1e4. */
static double off_in_nats(double expected, double got) {
    return fabs(expected - got) / fmax(1, 1e-2 * fabs(expected));
}

static eqf_status check_velocities(problem *t, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    const double time = 0.5;
    float divergence[BATCH];
    EQF__TRY(eqf_flow_velocity(t->twin, time, BATCH, t->x, t->y, divergence));
    for (unsigned b = 0; b < BATCH; b++) {
        double expected;
        t->field.noise_sample = b;
        if (!t->field.velocity(&t->field, t->h_x + b * num_dof, time, t->h_y, &expected)) expected = NAN;
        *error_out = eqf__host_worse(*error_out, relative(expected, (double)divergence[b], 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, relative(t->h_y[c], (double)t->y[b * num_dof + c], 1));
    }
    return EQF_OK;
}

static eqf_status check_solves(problem *t, eqf_direction direction, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    float log_det[BATCH];
    EQF__TRY(eqf_flow_transform(t->twin, direction, BATCH, t->x, t->y, log_det));
    for (unsigned b = 0; b < BATCH; b++) {
        const bool is_known = direction == EQF_DATA_TO_PRIOR;
        const double *expected = is_known ? t->h_z + b * num_dof : t->h_y;
        const double expected_log_det = is_known ? t->log_det[b] : host_solve(t, direction, b, t->host_steps, t->h_y);
        *error_out = eqf__host_worse(*error_out, off_in_nats(expected_log_det, (double)log_det[b]));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, relative(expected[c], (double)t->y[b * num_dof + c], 1));
    }
    return EQF_OK;
}

static eqf_status check_samples(problem *t, double *error_out) {
    return check_solves(t, EQF_PRIOR_TO_DATA, error_out);
}

static eqf_status check_latents(problem *t, double *error_out) {
    return check_solves(t, EQF_DATA_TO_PRIOR, error_out);
}

static eqf_status check_log_densities(problem *t, double *error_out) {
    float log_prob[BATCH];
    EQF__TRY(eqf_flow_log_prob(t->twin, BATCH, t->x, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; b++)
        *error_out = eqf__host_worse(*error_out, off_in_nats(host_log_prob(t, b), (double)log_prob[b]));
    return EQF_OK;
}

static eqf_status check_prior(problem *t, double *error_out) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu; /* the number carries into its high word */
    const eqf_flow *flow = t->flow;
    EQF__TRY(eqf_flow_prior_sample(t->twin, seed, first, BATCH, t->y));
    for (unsigned b = 0; b < BATCH; b++) {
        flow->prior.kind->host_sample(&flow->prior.options, seed, first + b, t->h_y);
        for (size_t c = 0; c < flow->num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(t->h_y[c] - (double)t->y[b * flow->num_dof + c]) /
                                                         fmax(1, (double)flow->prior.scale));
    }
    return EQF_OK;
}

/* Samples of the prior with noise on them, as the kernels leave them: blocked. */
static eqf_status check_noise(problem *t, double *error_out) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu;
    const double scale = 0.5;
    const eqf_flow *flow = t->twin;
    const size_t V = flow->vector_width, num_dof = flow->num_dof, blocks = (BATCH + V - 1) / V,
                 count = blocks * V * num_dof;
    EQF__TRY(eqf__prior_sample(&flow->prior, seed, first, blocks, flow->batch.d_x));
    EQF__TRY(eqf__prior_add_noise(&flow->prior, seed, first, scale, blocks, flow->batch.d_x));
    float *x = eqf__alloc(flow->ctx, count, sizeof *x, "the known answers");
    double *noise = eqf__alloc(flow->ctx, num_dof + 3, sizeof *noise, "the known answers");
    eqf_status status = x != NULL && noise != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) status = eqf__buffer_read(flow->ctx, flow->batch.d_x, 0, count * sizeof *x, x);
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        flow->prior.kind->host_sample(&flow->prior.options, seed, first + b, t->h_y);
        eqf__host_data_noise(flow->num_particles, flow->space_dim, scale, seed, first + b, noise);
        for (size_t c = 0; c < num_dof; c++)
            *error_out =
                eqf__host_worse(*error_out, fabs(t->h_y[c] + noise[c] - (double)x[(b / V * num_dof + c) * V + b % V]) /
                                                fmax(1, (double)flow->prior.scale));
    }
    free(x);
    free(noise);
    return status;
}

/* Scores at the latents of the problem's batch, against differences of the host's log-density along the free
 * directions. */
static eqf_status check_scores(problem *t, double *error_out) {
    const eqf_flow *flow = t->twin;
    const size_t V = flow->vector_width, num_dof = flow->num_dof, blocks = (BATCH + V - 1) / V,
                 count = blocks * V * num_dof;
    const double step = 1e-4 * flow->prior.options.prior_scale;
    cl_mem d_score;
    EQF__TRY(eqf__buffer_create(flow->ctx, count * sizeof(float), NULL, "the known answers", &d_score));
    float *score = eqf__alloc(flow->ctx, count, sizeof *score, "the known answers");
    double *expected = eqf__alloc(flow->ctx, num_dof, sizeof *expected, "the known answers");
    eqf_status status = score != NULL && expected != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) status = eqf__batch_upload(&t->twin->batch, BATCH, eqf__floats(t->x));
    if (status == EQF_OK) status = eqf__prior_score(&flow->prior, blocks, flow->batch.d_x, d_score);
    if (status == EQF_OK) status = eqf__buffer_read(flow->ctx, d_score, 0, count * sizeof *score, score);
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        memcpy(t->h_y, t->h_x + b * num_dof, num_dof * sizeof *t->h_y);
        double largest = 0;
        for (size_t c = 0; c < num_dof; c++) {
            const double at = t->h_y[c];
            t->h_y[c] = at + step;
            expected[c] = flow->prior.kind->host_log_prob(&flow->prior.options, t->h_y);
            t->h_y[c] = at - step;
            expected[c] = (expected[c] - flow->prior.kind->host_log_prob(&flow->prior.options, t->h_y)) / (2 * step);
            t->h_y[c] = at;
        }
        eqf__host_centre(flow->num_particles, flow->space_dim, expected);
        for (size_t c = 0; c < num_dof; c++) largest = fmax(largest, fabs(expected[c]));
        for (size_t c = 0; c < num_dof; c++)
            *error_out =
                eqf__host_worse(*error_out, fabs(expected[c] - (double)score[(b / V * num_dof + c) * V + b % V]) /
                                                fmax(1e-30, largest));
    }
    free(score);
    free(expected);
    eqf__buffer_destroy(&d_score);
    return status;
}

/* In double: what certifies others must be better than they. */
static eqf_status check_samples_in_double(problem *t, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    double log_det[BATCH], *x = eqf__alloc(t->flow->ctx, BATCH * num_dof, sizeof *x, "the known answers");
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__flow_transform(t->twin, EQF_PRIOR_TO_DATA, BATCH, eqf__doubles(t->h_x), eqf__doubles(x),
                                            eqf__doubles(log_det));
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        *error_out = eqf__host_worse(
            *error_out, relative(host_solve(t, EQF_PRIOR_TO_DATA, b, t->host_steps, t->h_y), log_det[b], 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(t->h_y[c] - x[b * num_dof + c]));
    }
    free(x);
    return status;
}

static eqf_status check_log_densities_in_double(problem *t, double *error_out) {
    double log_prob[BATCH];
    EQF__TRY(eqf_flow_log_prob_double(t->twin, BATCH, t->h_x, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; b++)
        *error_out = eqf__host_worse(*error_out, relative(host_log_prob(t, b), log_prob[b], 1));
    return EQF_OK;
}

/* What the twin's loss should be; the continuous adjoint has no integration error. */
static eqf_loss host_loss(problem *t) {
    const double weight = is_adaptive(t->flow) ? 0 : penalty;
    const eqf__prior *prior = &t->flow->prior;
    eqf_loss loss = EQF_LOSS_INIT;
    for (unsigned b = 0; b < BATCH; b++) {
        double log_det, error;
        t->field.noise_sample = b;
        if (!eqf__host_transform(&t->field, false, t->host_steps, t->h_x + b * t->flow->num_dof, t->h_y, &log_det,
                                 &error))
            log_det = error = NAN;
        loss.nll -= (prior->kind->host_log_prob(&prior->options, t->h_y) + log_det) / BATCH;
        loss.integration_error += error / BATCH;
    }
    loss.loss = loss.nll + weight * loss.integration_error;
    return loss;
}

static eqf_status check_losses(problem *t, double *error_out) {
    EQF__TRY(eqf__flow_nll_gradient(t->twin, penalty, BATCH, t->x, &t->loss, t->gradient, NULL));
    double expected = 0;
    for (unsigned b = 0; b < BATCH; b++) expected -= host_log_prob(t, b) / BATCH;
    *error_out = off_in_nats(expected, t->loss.nll);
    return EQF_OK;
}

/* The gradient, as check_losses left it, along one direction through all parameters in which each group of them has
 * about the same say: what is wrong in the smallest shows as well as in the largest. */
static eqf_status check_gradients(problem *t, double *error_out) {
    const double least_share = 0.03, step = 1e-5;
    const size_t num_slices = eqf_model_num_slices(t->model), num_trained = eqf_model_num_trained(t->model);
    double *direction = eqf__alloc(t->flow->ctx, num_trained, sizeof *direction, "the known answers");
    double largest = 1e-30, along = 0, values[2];
    if (direction == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (int pass = 0; pass < 2; pass++) /* to find the largest; to measure the others by it */
        for (size_t s = 0; s < num_slices; s++) {
            const eqf_param_slice *slice = eqf_model_slice(t->model, s);
            if (!slice->is_trained) continue;
            double norm = 0;
            for (size_t i = slice->offset; i < slice->offset + slice->count; i++)
                norm += (double)t->gradient[i] * t->gradient[i];
            norm = sqrt(norm);
            if (pass == 0) largest = fmax(largest, norm);
            for (size_t i = slice->offset; i < slice->offset + slice->count; i++)
                direction[i] = eqf__host_number((unsigned)i, 3) * largest / fmax(norm, least_share * largest);
        }
    for (size_t i = 0; i < num_trained; i++) along += t->gradient[i] * direction[i];
    for (int side = 0; side < 2; side++) {
        const double shift = side ? step : -step;
        for (size_t i = 0; i < num_trained; i++) t->params[i] += shift * direction[i];
        values[side] = host_loss(t).loss;
        for (size_t i = 0; i < num_trained; i++) t->params[i] -= shift * direction[i];
    }
    free(direction);
    const double expected_error = is_adaptive(t->flow) ? 0 : host_loss(t).integration_error;
    *error_out = eqf__host_worse(fabs((values[1] - values[0]) / (2 * step) - along) / largest,
                                 relative(expected_error, t->loss.integration_error, 1));
    return EQF_OK;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static bool is_in_float(const eqf_flow *flow) {
    return !eqf__is_double(&flow->solver->real);
}

static bool is_in_double(const eqf_flow *flow) {
    return eqf__is_double(&flow->solver->real);
}

static bool is_batched(const eqf_flow *flow) {
    return is_in_float(flow) && flow->field->batched != NULL;
}

static bool is_text(const eqf_flow *flow) {
    return is_in_float(flow) && flow->field->batched == NULL;
}

/* Of a table as coarse as training's the gradient is exact, but of another field. */
static bool has_table(const eqf_flow *flow) {
    return is_in_float(flow) && flow->field->evaluation == EQF_FIELD_TABLE;
}

static bool is_summed_directly(const eqf_flow *flow) {
    return is_in_float(flow) && flow->field->evaluation == EQF_FIELD_DIRECT;
}

static bool is_any(const eqf_flow *flow) {
    (void)flow;
    return true;
}

/* In order: a wrong answer names those of the programs that no right one before has shown to be right, and that are not
 * known to be. Tolerances are for up to four particles, float32 in sums over pairs: a wrong sign or a wrong index is
 * off by far more. */
static const struct row {
    const char *what;
    eqf__answers answers;
    unsigned of, shows; /* programs that it comes from; that it shows to be right */
    double tolerance;
    bool (*is_wanted)(const eqf_flow *flow);
    eqf_status (*compare)(problem *t, double *error_out);
    bool is_of_selftest; /* it says no more of the programs than others do, but runs another kernel of theirs */
} rows[] = {
    {"velocities", EQF__ANSWERS_OF_VALUES, PART(FIELD), PART(FIELD), 1e-4, is_batched, check_velocities, false},
    {"velocities", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), 0, 1e-4, is_text, check_velocities, true},
    {"samples", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), 0, 1e-4, is_in_float, check_samples, false},
    {"latents", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), 0, 1e-4, is_in_float, check_latents, false},
    {"log-densities", EQF__ANSWERS_OF_VALUES, PART(PRIOR), 0, 1e-4, is_in_float, check_log_densities, false},
    {"samples in double", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), PART(FIELD), 1e-10, is_in_double,
     check_samples_in_double, false},
    {"log-densities in double", EQF__ANSWERS_OF_VALUES, PART(PRIOR) | PART(INTEGRATOR), 0, 1e-10, is_in_double,
     check_log_densities_in_double, false},
    {"prior samples", EQF__ANSWERS_OF_VALUES, PART(PRIOR), 0, 2e-5, is_any, check_prior, false},
    {"noise on data", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR), 0, 2e-5, is_in_float, check_noise, false},
    {"scores of the prior", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR), 0, 1e-4, is_in_float, check_scores, false},
    {"losses", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR), 0, 1e-4, is_in_float, check_losses, false},
    {"gradients", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR) | PART(FIELD) | PART(INTEGRATOR), 0, 3e-4, is_summed_directly,
     check_gradients, false},
    {"gradients by a table", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR) | PART(FIELD) | PART(INTEGRATOR), 0, 2e-3,
     has_table, check_gradients, false},
};

/* What to try instead. */
static const char *plain_variant(const eqf_flow *flow) {
    if (eqf__is_double(&flow->solver->real)) return "EQF_PRECISION_FLOAT";
    if (flow->field->evaluation == EQF_FIELD_TABLE) return "EQF_FIELD_DIRECT";
    return eqf__plain_width(flow->ctx);
}

static eqf_status run_row(eqf__checker *checker, problem *t, const struct row *row) {
    eqf__program *programs[NUM_PARTS];
    size_t num_programs = 0;
    const bool are_known = (row->of & ~t->known) == 0; /* all of them: it must be one all the same */
    for (unsigned part = 0; part < NUM_PARTS; part++)
        if ((row->of & PART(part)) && (are_known || !(t->known & PART(part))) && t->programs[part] != NULL)
            programs[num_programs++] = t->programs[part];
    eqf__answer answer = {row->what, 0, row->tolerance * fmax(1, t->flow->num_particles / 4.0), plain_variant(t->flow)};
    EQF__TRY(row->compare(t, &answer.error));
    EQF__TRY(eqf__check_report(checker, &answer, num_programs, programs));
    if (answer.error <= answer.tolerance) t->known |= row->shows;
    return EQF_OK;
}

/* *is_known_out false: the host does not know the answers. */
static eqf_status run_rows(eqf__checker *checker, problem *t, eqf__answers answers, bool *is_known_out) {
    EQF__TRY(make_problem(t, answers));
    EQF__TRY(calm_down(t, is_known_out));
    if (!*is_known_out) {
        eqf__log(t->flow->ctx, EQF_LOG_WARNING,
                 "the field is too stiff for known answers: its programs are not checked before their first result");
        return EQF_OK;
    }
    eqf__check_begin(checker); /* the first row names what makes the field of its parameters, too */
    EQF__TRY(make_twin(t));
    for (size_t r = 0, num_run = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (rows[r].answers != answers || !rows[r].is_wanted(t->flow)) continue;
        if (rows[r].is_of_selftest && checker->callback == NULL) continue;
        /* The gradients came with the losses. */
        if (num_run++ > 0 && rows[r].compare != check_gradients) eqf__check_begin(checker);
        EQF__TRY(run_row(checker, t, &rows[r]));
    }
    return EQF_OK;
}

static eqf_status check(eqf__checker *checker, const eqf_flow *flow, const eqf__field_problem *of_field,
                        eqf__answers answers) {
    problem t = {.flow = flow, .of_field = *of_field, .num_steps = problem_steps(flow)};
    bool is_due = false, is_known = false;
    find_programs(flow, answers, t.programs);
    for (unsigned part = 0; part < NUM_PARTS; part++) {
        const bool is_right = t.programs[part] == NULL || !eqf__check_is_due(checker, t.programs[part], answers);
        is_due = is_due || !is_right;
        if (is_right) t.known |= PART(part);
    }
    if (!is_due) return EQF_OK;
    eqf_status status = run_rows(checker, &t, answers, &is_known);
    for (unsigned part = 0; status == EQF_OK && is_known && part < NUM_PARTS; part++)
        if (t.programs[part] != NULL) eqf__check_done(checker, t.programs[part], answers);
    problem_clear(&t);
    return status;
}

eqf_status eqf__check_flow(eqf__checker *checker, eqf_flow *flow, eqf__answers answers) {
    const eqf__dynamics_kind *kind = flow->field->kind;
    eqf__field_problem of_field;
    if (kind->host_velocity == NULL ||
        !kind->problem(&flow->dynamics, flow->num_particles, is_adaptive(flow), &of_field))
        return EQF_OK;
    if (answers == EQF__ANSWERS_OF_GRADIENTS) {
        if (is_in_double(flow)) return EQF_OK; /* it has none */
        const eqf_status status = eqf__solver_prepare_gradient(flow->solver);
        if (status == EQF_ERROR_UNSUPPORTED) return EQF_OK; /* the device cannot: refused where it is tried */
        EQF__TRY(status);
    }
    return check(checker, flow, &of_field, answers);
}
