/* Trust: before a flow hands out its first results, the very programs that it is made of answer a small problem whose answers the host
 * works out in double. The verdict is kept with the program cache, per program, device and driver. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/flow.h"
#include "flow_internal.h"
#include "host_reference.h"

/* Two steps see every stage time but the middle ones of longer solves; large systems cost the host N^2 K each. */
static unsigned trial_steps(const eqf_flow *flow) {
    return flow->num_particles <= 16 ? 2 : 1;
}

enum { BATCH = 3 }; /* not a multiple of any V but 1 */
static const double penalty = 0.1;

typedef struct trial {
    const eqf_flow *flow; /* whose programs are on trial */
    eqf_flow *shadow;     /* of the same programs, with parameters and steps of the trial */
    eqf_model *model;
    eqf__host_field field;
    double *params;       /* [num_params] */
    float *x;             /* [BATCH, N*D], centred */
    double *h_x, *h_y;    /* the same in double; scratch [N*D + 4] */
    float *y, *gradient;  /* scratch [BATCH, N*D]; [num_trained] */
    unsigned num_steps;
} trial;

static void trial_clear(trial *t) {
    eqf_flow_destroy(&t->shadow);
    eqf_model_destroy(&t->model);
    free(t->params);
    free(t->x);
    free(t->h_x);
    free(t->h_y);
    free(t->y);
    free(t->gradient);
}

/* Parameters of the size that training starts from, and smaller for many particles, whose velocities add up; configurations in a box
 * within the Gaussians' reach. */
static eqf_status make_problem(trial *t) {
    const eqf_flow *flow = t->flow;
    eqf_context *ctx = flow->ctx;
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = flow->num_particles;
    options.potential.space_dim = flow->space_dim;
    options.prior_scale = flow->prior.scale;
    options.dynamics = flow->dynamics;
    options.integrator.num_steps = t->num_steps;
    EQF__TRY(eqf_model_create(ctx, &options, &t->model));
    const size_t num_params = eqf_model_num_params(t->model), num_trained = eqf_model_num_trained(t->model);
    const size_t num_dof = flow->num_dof;
    float *params = eqf__alloc(ctx, num_params, sizeof *params, "the known answers");
    t->params = eqf__alloc(ctx, num_params, sizeof *t->params, "the known answers");
    t->x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->x, "the known answers");
    t->y = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->y, "the known answers");
    t->h_x = eqf__alloc(ctx, BATCH * num_dof, sizeof *t->h_x, "the known answers");
    t->h_y = eqf__alloc(ctx, num_dof + 4, sizeof *t->h_y, "the known answers");
    t->gradient = eqf__alloc(ctx, num_trained, sizeof *t->gradient, "the known answers");
    if (params == NULL || t->params == NULL || t->x == NULL || t->y == NULL || t->h_x == NULL || t->h_y == NULL ||
        t->gradient == NULL) {
        free(params);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    const double share = fmin(1, 4.0 / flow->num_particles);
    memcpy(params, eqf_model_params(t->model), num_params * sizeof *params);
    const size_t num_weights = (size_t)flow->dynamics.num_distance * flow->dynamics.num_time;
    for (unsigned i = 0; i < num_trained; i++) {
        if (i < num_weights) params[i] = (float)(share * params[i]);
        params[i] += (float)(0.1 * share * eqf__host_number(i, 1));
    }
    for (size_t i = 0; i < num_params; i++) t->params[i] = params[i];
    eqf_status status = eqf_model_set_params(ctx, t->model, params);
    free(params);
    EQF__TRY(status);
    t->field = (eqf__host_field){flow->num_particles, flow->space_dim, flow->dynamics.num_distance,
                                 flow->dynamics.num_time, t->params};
    const double side = 0.3 * flow->dynamics.distance_max;
    for (unsigned b = 0; b < BATCH; b++) {
        for (unsigned a = 0; a < flow->space_dim; a++) {
            double mean = 0;
            for (unsigned i = 0; i < flow->num_particles; i++)
                mean += eqf__host_number(b * (unsigned)num_dof + i * flow->space_dim + a, 2) / flow->num_particles;
            for (unsigned i = 0; i < flow->num_particles; i++) {
                const size_t c = b * num_dof + i * flow->space_dim + a;
                t->x[c] = (float)(side * (eqf__host_number((unsigned)c, 2) - mean));
            }
        }
    }
    for (size_t c = 0; c < BATCH * num_dof; c++) t->h_x[c] = t->x[c];
    return EQF_OK;
}

/* The shadow must run the programs of the flow: the same table, whatever its own parameters would ask for. */
static eqf_status make_shadow(trial *t) {
    const eqf__field *field = t->flow->field;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.num_steps = t->num_steps;
    if (t->flow->in_double != NULL) {
        options.precision = EQF_PRECISION_DOUBLE;
        return eqf_flow_create(t->flow->ctx, t->model, &options, &t->shadow);
    }
    options.field_evaluation = field->evaluation;
    EQF__TRY(eqf_flow_create(t->flow->ctx, t->model, &options, &t->shadow));
    eqf__field *own = t->shadow->field;
    if (own->evaluation == field->evaluation && own->resolution == field->resolution) return EQF_OK;
    EQF__TRY(own->set_resolution(own, field->resolution));
    EQF__TRY(own->prepare(own, false));
    return eqf__flow_reassemble(t->shadow);
}

static void keep_worst(double *worst, double error) {
    if (!(error <= *worst)) *worst = error;
}

/* What to try instead. */
static const char *plain_variant(const eqf_flow *flow) {
    if (flow->in_double != NULL) return "--precision float";
    if (flow->field->evaluation == EQF_FIELD_TABLE) return "--field-evaluation direct";
    return flow->vector_width > 1 ? "--set-profile vector_width=1" : "";
}

/* float32 in sums over pairs: 1e-4 nat for a handful of particles. A wrong sign or a wrong index is off by far more. */
static double tolerance_of(const eqf_flow *flow) {
    return 1e-4 * fmax(1, flow->num_particles / 4.0);
}

static eqf_status judge(const trial *t, const eqf__program *program, const char *what, double error, double tolerance) {
    eqf__log(t->flow->ctx, EQF_LOG_DEBUG, "known answers: %s off by %.2g, allowed %.2g", what, error, tolerance);
    if (error <= tolerance) return EQF_OK; /* NaN is wrong */
    return eqf__program_distrust(t->flow->ctx, program, what, error, tolerance, plain_variant(t->flow));
}

static eqf_status try_prior(const trial *t) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xfffffff8u; /* ten samples on, the number carries into its high word */
    const size_t num_dof = t->flow->num_dof;
    double worst = 0;
    EQF__TRY(eqf_flow_prior_sample(t->shadow, seed, first + 7, BATCH, t->y));
    for (unsigned b = 0; b < BATCH; b++) {
        eqf__host_prior_sample(t->field.num_particles, t->field.space_dim, t->flow->prior.scale, seed, first + 7 + b, t->h_y);
        for (size_t c = 0; c < num_dof; c++) keep_worst(&worst, fabs(t->h_y[c] - (double)t->y[b * num_dof + c]));
    }
    return judge(t, t->flow->prior.sample.program, "prior samples", worst, 2e-5 * fmax(1, t->flow->prior.scale));
}

static eqf_status try_solves(const trial *t) {
    const eqf__program *program = t->flow->trajectory.forward.program;
    const size_t num_dof = t->flow->num_dof;
    const double tolerance = tolerance_of(t->flow);
    float log_prob[BATCH], log_det[BATCH];
    double worst = 0, worst_x = 0, worst_log_det = 0, error;
    EQF__TRY(eqf_flow_log_prob(t->shadow, BATCH, t->x, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; b++) {
        double expected;
        if (!eqf__host_log_prob(&t->field, t->flow->prior.scale, t->num_steps, t->h_x + b * num_dof, &expected, &error))
            return eqf__fail(t->flow->ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the known answers");
        keep_worst(&worst, fabs(expected - (double)log_prob[b]) / fmax(1, 1e-2 * fabs(expected)));
    }
    EQF__TRY(judge(t, program, "log-densities", worst, tolerance));
    EQF__TRY(eqf_flow_transform(t->shadow, EQF_PRIOR_TO_DATA, BATCH, t->x, t->y, log_det));
    for (unsigned b = 0; b < BATCH; b++) {
        double expected;
        if (!eqf__host_transform(&t->field, true, t->num_steps, t->h_x + b * num_dof, t->h_y, &expected, &error))
            return eqf__fail(t->flow->ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the known answers");
        keep_worst(&worst_log_det, fabs(expected - (double)log_det[b]) / fmax(1, 1e-2 * fabs(expected)));
        for (size_t c = 0; c < num_dof; c++)
            keep_worst(&worst_x, fabs(t->h_y[c] - (double)t->y[b * num_dof + c]) / fmax(1, fabs(t->h_y[c])));
    }
    EQF__TRY(judge(t, program, "log-determinants", worst_log_det, tolerance));
    return judge(t, program, "samples", worst_x, tolerance);
}

/* The same in double: what certifies others must be better than they. */
static eqf_status try_in_double(const trial *t) {
    const eqf__double_flow *flow = t->flow->in_double;
    const size_t num_dof = t->flow->num_dof;
    const double tolerance = 1e-10 * fmax(1, t->flow->num_particles / 4.0);
    double log_prob[BATCH], worst = 0, error, expected;
    double *x = eqf__alloc(t->flow->ctx, BATCH * num_dof, sizeof *x, "the known answers");
    if (x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf_flow_log_prob_double(t->shadow, BATCH, t->h_x, log_prob, NULL);
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        for (size_t c = 0; c < num_dof; c++) t->h_y[c] = t->h_x[b * num_dof + c];
        for (unsigned a = 0; a < t->flow->space_dim; a++) { /* float32 left the centre a rounding away from 0 */
            double mean = 0;
            for (size_t c = a; c < num_dof; c += t->flow->space_dim) mean += t->h_y[c] / t->flow->num_particles;
            for (size_t c = a; c < num_dof; c += t->flow->space_dim) t->h_y[c] -= mean;
        }
        if (!eqf__host_log_prob(&t->field, t->flow->prior.scale, t->num_steps, t->h_y, &expected, &error)) expected = NAN;
        keep_worst(&worst, fabs(expected - log_prob[b]) / fmax(1, fabs(expected)));
    }
    if (status == EQF_OK) status = judge(t, flow->trajectory_program, "log-densities in double", worst, tolerance);
    worst = 0;
    if (status == EQF_OK) status = eqf__double_flow_transform(t->shadow->in_double, EQF_PRIOR_TO_DATA, BATCH, t->h_x, x, log_prob);
    for (unsigned b = 0; status == EQF_OK && b < BATCH; b++) {
        if (!eqf__host_transform(&t->field, true, t->num_steps, t->h_x + b * num_dof, t->h_y, &expected, &error)) expected = NAN;
        keep_worst(&worst, fabs(expected - log_prob[b]) / fmax(1, fabs(expected)));
        for (size_t c = 0; c < num_dof; c++) keep_worst(&worst, fabs(t->h_y[c] - x[b * num_dof + c]));
    }
    if (status == EQF_OK) status = judge(t, flow->trajectory_program, "samples in double", worst, tolerance);
    free(x);
    return status;
}

static double host_loss(const trial *t) {
    double sum = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double log_prob, error;
        if (!eqf__host_log_prob(&t->field, t->flow->prior.scale, t->num_steps, t->h_x + b * t->flow->num_dof, &log_prob,
                                &error))
            return NAN;
        sum += (penalty * error - log_prob) / BATCH;
    }
    return sum;
}

/* The gradient along one direction for each group of parameters. */
static eqf_status try_gradient(const trial *t) {
    eqf_loss loss;
    const size_t num_trained = eqf_model_num_trained(t->model);
    EQF__TRY(eqf_flow_nll_gradient(t->shadow, penalty, BATCH, t->x, &loss, t->gradient, NULL));
    const double expected_loss = host_loss(t);
    double worst = fabs(loss.loss - expected_loss) / fmax(1, fabs(expected_loss)), norm = 0;
    for (size_t i = 0; i < num_trained; i++) norm += (double)t->gradient[i] * t->gradient[i] / (double)num_trained;
    for (size_t group = 0; group < eqf_model_num_slices(t->model); group++) {
        const eqf_param_slice *slice = eqf_model_slice(t->model, group);
        if (!slice->is_trained) continue;
        const size_t begin = slice->offset, end = begin + slice->count;
        const double step = 1e-5;
        double along = 0, values[2];
        for (int side = 0; side < 2; side++) {
            const double shift = side ? step : -step;
            for (size_t i = begin; i < end; i++) t->params[i] += shift * eqf__host_number((unsigned)i, 3);
            values[side] = host_loss(t);
            for (size_t i = begin; i < end; i++) t->params[i] -= shift * eqf__host_number((unsigned)i, 3);
        }
        for (size_t i = begin; i < end; i++) along += t->gradient[i] * eqf__host_number((unsigned)i, 3);
        keep_worst(&worst, fabs((values[1] - values[0]) / (2 * step) - along) / sqrt((double)(end - begin) * norm));
    }
    return judge(t, t->flow->trajectory.adjoint.program, "gradients", worst, 2e-3 * fmax(1, t->field.num_particles / 4.0));
}

/* What the host has formulas for. */
static bool has_answers(const eqf_flow *flow) {
    const eqf_dynamics_options *options = &flow->dynamics;
    return options->kind == EQF_DYNAMICS_RADIAL && options->num_distance <= EQF__REFERENCE_MAX_GAUSSIANS &&
           options->num_time <= EQF__REFERENCE_MAX_GAUSSIANS;
}

static eqf_status run_trial(const eqf_flow *flow, bool of_gradient) {
    eqf_context *ctx = flow->ctx;
    trial t = {.flow = flow, .num_steps = trial_steps(flow)};
    ctx->is_in_trial = true;
    eqf_status status = make_problem(&t);
    if (status == EQF_OK) status = make_shadow(&t);
    if (status == EQF_OK && !of_gradient) status = try_prior(&t);
    if (status == EQF_OK && !of_gradient) status = flow->in_double != NULL ? try_in_double(&t) : try_solves(&t);
    if (status == EQF_OK && of_gradient) status = try_gradient(&t);
    trial_clear(&t);
    ctx->is_in_trial = false;
    return status;
}

static bool is_trusted(const eqf__program *program) {
    return program == NULL || eqf__program_is_trusted(program);
}

static void trust(eqf_context *ctx, eqf__program *program) {
    if (program != NULL) eqf__program_trust(ctx, program);
}

eqf_status eqf__flow_check_answers(eqf_flow *flow) {
    const eqf__double_flow *wide = flow->in_double;
    eqf__program *programs[] = {wide != NULL ? wide->trajectory_program : flow->trajectory.forward.program,
                                wide != NULL ? wide->stage_program : flow->field->stage_program, flow->prior.sample.program,
                                wide != NULL ? wide->prior_program : NULL};
    bool all = true;
    for (size_t p = 0; p < sizeof programs / sizeof programs[0]; p++) all = all && is_trusted(programs[p]);
    if (all || flow->ctx->is_in_trial || !has_answers(flow)) return EQF_OK;
    EQF__TRY(run_trial(flow, false));
    for (size_t p = 0; p < sizeof programs / sizeof programs[0]; p++) trust(flow->ctx, programs[p]);
    return EQF_OK;
}

eqf_status eqf__flow_check_gradient_answers(eqf_flow *flow) {
    if (flow->is_gradient_trusted || flow->ctx->is_in_trial || !has_answers(flow)) return EQF_OK;
    if (flow->trajectory.reverse_steps == 0) return EQF_OK; /* more particles than the device can reverse: refused where it is tried */
    EQF__TRY(eqf__trajectory_prepare_reverse(&flow->trajectory));
    if (flow->field->prepare_gradient != NULL) EQF__TRY(flow->field->prepare_gradient(flow->field));
    eqf__program *programs[] = {flow->trajectory.adjoint.program, flow->field->gradient_program};
    if (!is_trusted(programs[0]) || !is_trusted(programs[1])) {
        EQF__TRY(run_trial(flow, true));
        trust(flow->ctx, programs[0]);
        trust(flow->ctx, programs[1]);
    }
    flow->is_gradient_trusted = true;
    return EQF_OK;
}
