/* Trust: before a flow hands out its first results, the very programs that it is made of answer a small problem whose answers the host
 * works out in double (host_reference.h). What is asked, and who is to blame for a wrong answer, is one table: `questions`. The verdicts
 * are kept with the program cache, per program, device and driver. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/flow.h"
#include "flow_internal.h"
#include "host_reference.h"

enum { BATCH = 3 };  /* not a multiple of any V but 1 */
enum { LARGE = 16 }; /* particles from which on the host, which takes N^2 K or N^3 a velocity, is asked for less */
static const double penalty = 0.1;
static const uint64_t noise_seed = 0x0123456789abcdefu;

/* What a flow is made of, each with a program of its own, for values and for gradients. */
enum { PRIOR, FIELD, INTEGRATOR, NUM_PARTS };
#define PART(name) (1u << (name))

typedef struct trial {
    const eqf_flow *flow; /* whose programs are on trial */
    eqf_flow *shadow;     /* of the same programs, with parameters and steps of the trial */
    eqf_model *model;
    eqf__program *programs[NUM_PARTS]; /* NULL: there is none, or another part's */
    unsigned cleared;                  /* parts that answered right, or had their verdict */
    eqf__host_field field;
    double *params;              /* [num_params] */
    float *x;                    /* [BATCH, N*D], centred */
    double *h_x, *h_y;           /* the same in double; scratch [N*D + 4] */
    float *y, *gradient;         /* scratch [BATCH, N*D]; [num_trained] */
    double *h_z, log_det[BATCH]; /* [BATCH, N*D] and log_det: the host's way back to the prior */
    eqf_loss loss;
    unsigned num_steps, host_steps; /* of RK4, on the device and on the host */
} trial;

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

/* ---- The problem --------------------------------------------------------------------------------------------------------- */

static void trial_clear(trial *t) {
    eqf_flow_destroy(&t->shadow);
    eqf_model_destroy(&t->model);
    free(t->params);
    free(t->x);
    free(t->h_x);
    free(t->h_y);
    free(t->h_z);
    free(t->y);
    free(t->gradient);
}

/* Two steps see every stage time but the middle ones of longer solves. */
static unsigned trial_steps(const eqf_flow *flow) {
    return flow->num_particles > LARGE ? 1 : 2;
}

/* Parameters of the size that training starts from; smaller for many particles, whose velocities add up. */
static void choose_params(trial *t, size_t num_params, float *params) {
    const eqf_dynamics_options *dynamics = t->field.options;
    const bool is_radial = dynamics->kind == EQF_DYNAMICS_RADIAL;
    const double share = is_radial ? fmin(1, 4.0 / t->flow->num_particles) * (is_adaptive(t->flow) ? 0.5 : 1) : 1;
    const size_t num_weights = is_radial ? (size_t)dynamics->num_distance * dynamics->num_time : 0;
    memcpy(params, eqf_model_params(t->model), num_params * sizeof *params);
    for (unsigned i = 0; i < eqf_model_num_trained(t->model); i++) {
        if (i < num_weights) params[i] = (float)(share * params[i]);
        params[i] += (float)(0.1 * share * eqf__host_number(i, 1));
    }
    for (size_t i = 0; i < num_params; i++) t->params[i] = params[i];
}

/* Configurations in a box: within the Gaussians' reach, or where a network's units are not saturated. */
static void choose_configurations(trial *t) {
    const eqf_flow *flow = t->flow;
    const double side = flow->dynamics.kind == EQF_DYNAMICS_RADIAL ? 0.3 * flow->dynamics.distance_max : 1.5;
    for (unsigned b = 0; b < BATCH; b++) {
        double *h_x = t->h_x + b * flow->num_dof;
        for (size_t c = 0; c < flow->num_dof; c++)
            h_x[c] = side * eqf__host_number((unsigned)(b * flow->num_dof + c), 2);
        eqf__host_centre(flow->num_particles, flow->space_dim, h_x);
    }
    for (size_t c = 0; c < BATCH * flow->num_dof; c++) t->h_x[c] = t->x[c] = (float)t->h_x[c];
    if (!eqf__is_double(&flow->solver->real)) return;
    for (unsigned b = 0; b < BATCH; b++) /* float32 left the centre a rounding away from 0, which double sees */
        eqf__host_centre(flow->num_particles, flow->space_dim, t->h_x + b * flow->num_dof);
}

static eqf_status make_problem(trial *t) {
    const eqf_flow *flow = t->flow;
    eqf_context *ctx = flow->ctx;
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = flow->num_particles;
    options.potential.space_dim = flow->space_dim;
    options.prior_scale = flow->prior.scale;
    options.dynamics = flow->dynamics;
    options.integrator.num_steps = t->num_steps;
    if (options.dynamics.width > 32) options.dynamics.width = 32; /* the programs know nothing of hidden layers */
    if (options.dynamics.depth > 3) options.dynamics.depth = 3;
    EQF__TRY(eqf_model_create(ctx, &options, &t->model));
    const size_t num_params = eqf_model_num_params(t->model), num_dof = flow->num_dof;
    float *params = eqf__alloc(ctx, num_params, sizeof *params, "the known answers");
    t->params = eqf__alloc(ctx, num_params, sizeof *t->params, "the known answers");
    t->x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->x, "the known answers");
    t->y = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->y, "the known answers");
    t->h_x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->h_x, "the known answers");
    t->h_y = eqf__alloc(ctx, num_dof + 4, sizeof *t->h_y, "the known answers");
    t->gradient = eqf__alloc(ctx, eqf_model_num_trained(t->model), sizeof *t->gradient, "the known answers");
    eqf_status status = EQF_ERROR_OUT_OF_MEMORY;
    t->h_z = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->h_z, "the known answers");
    if (params != NULL && t->params != NULL && t->x != NULL && t->y != NULL && t->h_x != NULL && t->h_y != NULL &&
        t->h_z != NULL && t->gradient != NULL) {
        t->field = (eqf__host_field){.num_particles = flow->num_particles,
                                     .space_dim = flow->space_dim,
                                     .options = &eqf_model_options_of(t->model)->dynamics,
                                     .params = t->params,
                                     .noise_seed = noise_seed};
        t->field.divergence = flow->field->divergence;
        choose_params(t, num_params, params);
        choose_configurations(t);
        status = eqf_model_set_params(ctx, t->model, params);
    }
    free(params);
    return status;
}

/* The shadow must run the programs of the flow: the same table, whatever its own parameters would ask for. */
static eqf_status make_shadow(trial *t) {
    const eqf__field *field = t->flow->field;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.num_steps = t->num_steps;
    options.method = is_adaptive(t->flow) ? EQF_INTEGRATOR_DOPRI5 : EQF_INTEGRATOR_RK4;
    options.adaptive.rtol = options.adaptive.atol = 1e-6;
    options.divergence = t->field.divergence;
    options.divergence_seed = noise_seed;
    if (eqf__is_double(&t->flow->solver->real)) {
        options.precision = EQF_PRECISION_DOUBLE;
        return eqf_flow_create(t->flow->ctx, t->model, &options, &t->shadow);
    }
    options.field_evaluation = field->evaluation;
    EQF__TRY(eqf_flow_create(t->flow->ctx, t->model, &options, &t->shadow));
    eqf__field *own = t->shadow->field;
    if (own->evaluation == field->evaluation && own->resolution == field->resolution) return EQF_OK;
    EQF__TRY(eqf__field_set_resolution(own, field->resolution));
    EQF__TRY(eqf__field_prepare(own, false));
    return eqf__flow_reassemble(t->shadow);
}

/* ---- The host's answers -------------------------------------------------------------------------------------------------- */

/* Sample b from x_0 or back to it, [N*D] into x_out; gives log_det, NaN where there is no memory. */
static double host_solve(trial *t, eqf_direction direction, unsigned b, unsigned num_steps, double *x_out) {
    double log_det, error;
    t->field.noise_sample = b;
    const bool is_good = eqf__host_transform(&t->field, direction == EQF_PRIOR_TO_DATA, num_steps,
                                             t->h_x + b * t->flow->num_dof, x_out, &log_det, &error);
    return is_good ? log_det : NAN;
}

/* h_z and log_det from h_x. */
static void find_latents(trial *t) {
    for (unsigned b = 0; b < BATCH; b++)
        t->log_det[b] = host_solve(t, EQF_DATA_TO_PRIOR, b, t->host_steps, t->h_z + b * t->flow->num_dof);
}

/* How far the latents were off with half the steps. */
static double change_of_latents(trial *t) {
    const size_t num_dof = t->flow->num_dof;
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        const double log_det = host_solve(t, EQF_DATA_TO_PRIOR, b, t->host_steps / 2, t->h_y);
        worst = eqf__host_worse(worst, fabs(t->log_det[b] - log_det));
        for (size_t c = 0; c < num_dof; c++) worst = eqf__host_worse(worst, fabs(t->h_z[b * num_dof + c] - t->h_y[c]));
    }
    return worst;
}

/* A device that chooses its steps takes them so small that only what is true of the flow itself counts: the host takes as many as leave its
 * own error, of order 4, far below the tolerance. False: those would be too many. */
static bool solve_on_host(trial *t) {
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

static double host_log_prob(const trial *t, unsigned b) {
    const eqf_flow *flow = t->flow;
    return t->log_det[b] + eqf__host_prior_log_prob(flow->num_particles, flow->space_dim, flow->prior.scale,
                                                    t->h_z + b * flow->num_dof);
}

/* ---- Questions: the shadow's answers, and how far they are off the host's -------------------------------------------------------- */

static double relative(double expected, double got, double least) {
    return fabs(expected - got) / fmax(least, fabs(expected));
}

/* Nats; of large ones a part in 1e4. */
static double off_in_nats(double expected, double got) {
    return fabs(expected - got) / fmax(1, 1e-2 * fabs(expected));
}

static eqf_status ask_velocities(trial *t, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    const double time = 0.5;
    float divergence[BATCH];
    EQF__TRY(eqf_flow_velocity(t->shadow, time, BATCH, t->x, t->y, divergence));
    for (unsigned b = 0; b < BATCH; b++) {
        double expected;
        t->field.noise_sample = b;
        if (!eqf__host_velocity(&t->field, t->h_x + b * num_dof, time, t->h_y, &expected)) expected = NAN;
        *error_out = eqf__host_worse(*error_out, relative(expected, (double)divergence[b], 1));
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, relative(t->h_y[c], (double)t->y[b * num_dof + c], 1));
    }
    return EQF_OK;
}

static eqf_status ask_solves(trial *t, eqf_direction direction, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    float log_det[BATCH];
    EQF__TRY(eqf_flow_transform(t->shadow, direction, BATCH, t->x, t->y, log_det));
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

static eqf_status ask_samples(trial *t, double *error_out) {
    return ask_solves(t, EQF_PRIOR_TO_DATA, error_out);
}

static eqf_status ask_latents(trial *t, double *error_out) {
    return ask_solves(t, EQF_DATA_TO_PRIOR, error_out);
}

static eqf_status ask_log_densities(trial *t, double *error_out) {
    float log_prob[BATCH];
    EQF__TRY(eqf_flow_log_prob(t->shadow, BATCH, t->x, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; b++)
        *error_out = eqf__host_worse(*error_out, off_in_nats(host_log_prob(t, b), (double)log_prob[b]));
    return EQF_OK;
}

static eqf_status ask_prior(trial *t, double *error_out) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu; /* the number carries into its high word */
    const eqf_flow *flow = t->flow;
    EQF__TRY(eqf_flow_prior_sample(t->shadow, seed, first, BATCH, t->y));
    for (unsigned b = 0; b < BATCH; b++) {
        eqf__host_prior_sample(flow->num_particles, flow->space_dim, flow->prior.scale, seed, first + b, t->h_y);
        for (size_t c = 0; c < flow->num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(t->h_y[c] - (double)t->y[b * flow->num_dof + c]) /
                                                         fmax(1, (double)flow->prior.scale));
    }
    return EQF_OK;
}

/* Samples of the prior with noise on them, as the kernels leave them: blocked. */
static eqf_status ask_noise(trial *t, double *error_out) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu;
    const double scale = 0.5;
    const eqf_flow *flow = t->shadow;
    const size_t V = flow->vector_width, num_dof = flow->num_dof, blocks = (BATCH + V - 1) / V,
                 count = blocks * V * num_dof;
    EQF__TRY(eqf__prior_sample(&flow->prior, seed, first, blocks, flow->batch.d_x));
    EQF__TRY(eqf__prior_add_noise(&flow->prior, seed, first, scale, blocks, flow->batch.d_x));
    float *x = eqf__alloc(flow->ctx, count, sizeof *x, "the known answers");
    double *noise = eqf__alloc(flow->ctx, num_dof + 3, sizeof *noise, "the known answers");
    eqf_status status = x != NULL && noise != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) status = eqf__buffer_read(flow->ctx, flow->batch.d_x, 0, count * sizeof *x, x);
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        eqf__host_prior_sample(flow->num_particles, flow->space_dim, flow->prior.scale, seed, first + b, t->h_y);
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

/* In double: what certifies others must be better than they. */
static eqf_status ask_samples_in_double(trial *t, double *error_out) {
    const size_t num_dof = t->flow->num_dof;
    double log_det[BATCH], *x = eqf__alloc(t->flow->ctx, BATCH * num_dof, sizeof *x, "the known answers");
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__flow_transform(t->shadow, EQF_PRIOR_TO_DATA, BATCH, eqf__doubles(t->h_x), eqf__doubles(x),
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

static eqf_status ask_log_densities_in_double(trial *t, double *error_out) {
    double log_prob[BATCH];
    EQF__TRY(eqf_flow_log_prob_double(t->shadow, BATCH, t->h_x, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; b++)
        *error_out = eqf__host_worse(*error_out, relative(host_log_prob(t, b), log_prob[b], 1));
    return EQF_OK;
}

/* What the shadow's loss should be; the continuous adjoint has no integration error. */
static eqf_loss host_loss(trial *t) {
    const double weight = is_adaptive(t->flow) ? 0 : penalty;
    eqf_loss loss = EQF_LOSS_INIT;
    for (unsigned b = 0; b < BATCH; b++) {
        double log_prob, error;
        t->field.noise_sample = b;
        if (!eqf__host_log_prob(&t->field, t->flow->prior.scale, t->host_steps, t->h_x + b * t->flow->num_dof,
                                &log_prob, &error))
            log_prob = error = NAN;
        loss.nll -= log_prob / BATCH;
        loss.integration_error += error / BATCH;
    }
    loss.loss = loss.nll + weight * loss.integration_error;
    return loss;
}

static eqf_status ask_losses(trial *t, double *error_out) {
    EQF__TRY(eqf_flow_nll_gradient(t->shadow, penalty, BATCH, t->x, &t->loss, t->gradient, NULL));
    double expected = 0;
    for (unsigned b = 0; b < BATCH; b++) expected -= host_log_prob(t, b) / BATCH;
    *error_out = off_in_nats(expected, t->loss.nll);
    return EQF_OK;
}

/* The gradient, as ask_losses left it, along one direction through all parameters in which each group of them has about the same say: what
 * is wrong in the smallest shows as well as in the largest. */
static eqf_status ask_gradients(trial *t, double *error_out) {
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

/* ---- The table ----------------------------------------------------------------------------------------------------------- */

static bool is_in_float(const eqf_flow *flow) {
    return !eqf__is_double(&flow->solver->real);
}

static bool is_in_double(const eqf_flow *flow) {
    return eqf__is_double(&flow->solver->real);
}

static bool is_batched(const eqf_flow *flow) {
    return is_in_float(flow) && flow->field->batched != NULL;
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

/* In order: a wrong answer is blamed on those of the suspects that no right one before has cleared, and that have no verdict yet.
 * Tolerances are for up to four particles, float32 in sums over pairs: a wrong sign or a wrong index is off by far more. */
static const struct question {
    const char *what;
    eqf__answers answers;
    unsigned suspects, clears;
    double tolerance;
    bool (*is_asked)(const eqf_flow *flow);
    eqf_status (*ask)(trial *t, double *error_out);
} questions[] = {
    {"velocities", EQF__ANSWERS_OF_VALUES, PART(FIELD), PART(FIELD), 1e-4, is_batched, ask_velocities},
    {"samples", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), 0, 1e-4, is_in_float, ask_samples},
    {"latents", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), 0, 1e-4, is_in_float, ask_latents},
    {"log-densities", EQF__ANSWERS_OF_VALUES, PART(PRIOR), 0, 1e-4, is_in_float, ask_log_densities},
    {"samples in double", EQF__ANSWERS_OF_VALUES, PART(FIELD) | PART(INTEGRATOR), PART(FIELD), 1e-10, is_in_double,
     ask_samples_in_double},
    {"log-densities in double", EQF__ANSWERS_OF_VALUES, PART(PRIOR) | PART(INTEGRATOR), 0, 1e-10, is_in_double,
     ask_log_densities_in_double},
    {"prior samples", EQF__ANSWERS_OF_VALUES, PART(PRIOR), 0, 2e-5, is_any, ask_prior},
    {"noise on data", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR), 0, 2e-5, is_in_float, ask_noise},
    {"losses", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR), 0, 1e-4, is_in_float, ask_losses},
    {"gradients", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR) | PART(FIELD) | PART(INTEGRATOR), 0, 3e-4, is_summed_directly,
     ask_gradients},
    {"gradients by a table", EQF__ANSWERS_OF_GRADIENTS, PART(PRIOR) | PART(FIELD) | PART(INTEGRATOR), 0, 2e-3,
     has_table, ask_gradients},
};

/* What to try instead. */
static const char *plain_variant(const eqf_flow *flow) {
    if (eqf__is_double(&flow->solver->real)) return "--precision float";
    if (flow->field->evaluation == EQF_FIELD_TABLE) return "--field-evaluation direct";
    return eqf__plain_width(flow->ctx);
}

static eqf_status ask(trial *t, const struct question *question) {
    eqf__program *suspects[NUM_PARTS];
    size_t num_suspects = 0;
    const bool is_cleared = (question->suspects & ~t->cleared) == 0; /* all of them: it must be one all the same */
    for (unsigned part = 0; part < NUM_PARTS; part++)
        if ((question->suspects & PART(part)) && (is_cleared || !(t->cleared & PART(part))) &&
            t->programs[part] != NULL)
            suspects[num_suspects++] = t->programs[part];
    eqf__verdict verdict = {question->what, 0, question->tolerance * fmax(1, t->flow->num_particles / 4.0),
                            plain_variant(t->flow)};
    EQF__TRY(question->ask(t, &verdict.error));
    EQF__TRY(eqf__program_judge(t->flow->ctx, &verdict, num_suspects, suspects));
    t->cleared |= question->clears;
    return EQF_OK;
}

/* *is_judged_out false: the host does not know the answers. */
static eqf_status run_trial(trial *t, eqf__answers answers, bool *is_judged_out) {
    EQF__TRY(make_problem(t));
    *is_judged_out = solve_on_host(t);
    if (!*is_judged_out) {
        eqf__log(t->flow->ctx, EQF_LOG_WARNING,
                 "the field is too stiff for known answers: its programs are not checked before their first result");
        return EQF_OK;
    }
    EQF__TRY(make_shadow(t));
    for (size_t q = 0; q < sizeof questions / sizeof questions[0]; q++)
        if (questions[q].answers == answers && questions[q].is_asked(t->flow)) EQF__TRY(ask(t, &questions[q]));
    return EQF_OK;
}

/* ---- Verdicts ------------------------------------------------------------------------------------------------------------ */

/* What the host has formulas for. */
static bool has_answers(const eqf_flow *flow) {
    const eqf_dynamics_options *options = &flow->dynamics;
    if (options->kind == EQF_DYNAMICS_DENSE) return is_in_float(flow);
    return options->kind == EQF_DYNAMICS_RADIAL && options->num_distance <= EQF__REFERENCE_MAX_GAUSSIANS &&
           options->num_time <= EQF__REFERENCE_MAX_GAUSSIANS;
}

static eqf_status check(const eqf_flow *flow, eqf__answers answers) {
    eqf_context *ctx = flow->ctx;
    trial t = {.flow = flow, .num_steps = trial_steps(flow), .loss = EQF_LOSS_INIT};
    bool are_all_trusted = true;
    find_programs(flow, answers, t.programs);
    for (unsigned part = 0; part < NUM_PARTS; part++) {
        const bool is_trusted = t.programs[part] == NULL || eqf__program_is_trusted(t.programs[part], answers);
        are_all_trusted = are_all_trusted && is_trusted;
        if (is_trusted) t.cleared |= PART(part);
    }
    if (are_all_trusted) return EQF_OK;
    ctx->is_in_trial = true;
    bool is_judged = false;
    eqf_status status = run_trial(&t, answers, &is_judged);
    ctx->is_in_trial = false;
    for (unsigned part = 0; status == EQF_OK && is_judged && part < NUM_PARTS; part++)
        if (t.programs[part] != NULL) eqf__program_trust(ctx, t.programs[part], answers);
    trial_clear(&t);
    return status;
}

eqf_status eqf__flow_check_answers(eqf_flow *flow) {
    if (flow->ctx->is_in_trial || !has_answers(flow)) return EQF_OK;
    return check(flow, EQF__ANSWERS_OF_VALUES);
}

/* Builds what only gradients need. False: the device cannot have them, which is refused where they are tried. */
static eqf_status prepare_gradient(eqf_flow *flow, bool *is_possible_out) {
    const eqf_status status = eqf__solver_prepare_gradient(flow->solver);
    *is_possible_out = status != EQF_ERROR_UNSUPPORTED;
    return *is_possible_out ? status : EQF_OK;
}

eqf_status eqf__flow_check_gradient_answers(eqf_flow *flow) {
    bool is_possible;
    if (flow->is_gradient_trusted || flow->ctx->is_in_trial || !has_answers(flow)) return EQF_OK;
    EQF__TRY(prepare_gradient(flow, &is_possible));
    if (!is_possible) return EQF_OK;
    EQF__TRY(check(flow, EQF__ANSWERS_OF_GRADIENTS));
    flow->is_gradient_trusted = true;
    return EQF_OK;
}
