/* Known answers on the device: small problems, each kernel's result against the host's in double. */
#include "eqflow/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/device.h"
#include "eqflow/flow.h"
#include "eqflow/mcmc.h"
#include "host_potential.h"
#include "host_reference.h"

/* The problem: N particles in D dimensions, an odd batch so that a block is left incomplete. */
enum { NUM_PARTICLES = 3, SPACE_DIM = 2, NUM_DOF = 6, NUM_DISTANCE = 7, NUM_TIME = 3, BATCH = 19, NUM_STEPS = 4 };
static const double prior_scale = 1.25, penalty = 0.1;

typedef struct problem {
    eqf_context *ctx;
    eqf_selftest_callback callback;
    void *user;
    bool has_failed;
    eqf_model *model;
    double params[128]; /* the model's, in double */
    eqf__host_field field;
    float x[BATCH * NUM_DOF];
} problem;

static void report(problem *p, const char *name, double error, double tolerance) {
    const eqf_selftest_result result = {sizeof result, name, error, tolerance, error <= tolerance}; /* NaN fails */
    if (!result.has_passed) p->has_failed = true;
    if (p->callback != NULL) p->callback(p->user, &result);
}

static eqf_status set_up(problem *p) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = NUM_PARTICLES;
    options.potential.space_dim = SPACE_DIM;
    options.prior_scale = prior_scale;
    options.dynamics.num_distance = NUM_DISTANCE;
    options.dynamics.num_time = NUM_TIME;
    options.dynamics.distance_max = 4;
    options.dynamics.distance_gamma = 0.6;
    options.integrator.num_steps = NUM_STEPS;
    EQF__TRY(eqf_model_create(p->ctx, &options, &p->model));
    float params[128];
    const size_t num_params = eqf_model_num_params(p->model), num_trained = eqf_model_num_trained(p->model);
    memcpy(params, eqf_model_params(p->model), num_params * sizeof *params);
    for (unsigned i = 0; i < num_trained; i++) params[i] += (float)(0.2 * eqf__host_number(i, 1));
    EQF__TRY(eqf_model_set_params(p->ctx, p->model, params));
    for (size_t i = 0; i < num_params; i++) p->params[i] = params[i];
    p->field = (eqf__host_field){.num_particles = NUM_PARTICLES, .space_dim = SPACE_DIM, .params = p->params};
    p->field.options = &eqf_model_options_of(p->model)->dynamics;
    for (unsigned b = 0; b < BATCH; b++) {
        double x[NUM_DOF];
        for (unsigned c = 0; c < NUM_DOF; c++) x[c] = 1.8 * eqf__host_number(b * NUM_DOF + c, 2);
        eqf__host_centre(NUM_PARTICLES, SPACE_DIM, x);
        for (unsigned c = 0; c < NUM_DOF; c++) p->x[b * NUM_DOF + c] = (float)x[c];
    }
    return EQF_OK;
}

static void configuration(const problem *p, unsigned b, double *x_out) {
    for (unsigned c = 0; c < NUM_DOF; c++) x_out[c] = p->x[b * NUM_DOF + c];
}

static eqf_status check_prior(problem *p, eqf_flow *flow) {
    float z[BATCH * NUM_DOF];
    const uint64_t seed = 0x0123456789abcdefu, first = 0xfffffff8u; /* the sample number carries into its high word */
    EQF__TRY(eqf_flow_prior_sample(flow, seed, first, BATCH, z));
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double expected[NUM_DOF + 4];
        eqf__host_prior_sample(NUM_PARTICLES, SPACE_DIM, prior_scale, seed, first + b, expected);
        for (unsigned c = 0; c < NUM_DOF; c++)
            worst = eqf__host_worse(worst, fabs(expected[c] - (double)z[b * NUM_DOF + c]));
    }
    report(p, "prior samples (Philox, Box-Muller)", worst, 2e-5);
    return EQF_OK;
}

static eqf_status check_velocity(problem *p, eqf_flow *flow, const char *name) {
    float velocity[BATCH * NUM_DOF], divergence[BATCH];
    const double t = 0.375;
    EQF__TRY(eqf_flow_velocity(flow, t, BATCH, p->x, velocity, divergence));
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double x[NUM_DOF], expected[NUM_DOF], expected_divergence, scale = 0.1;
        configuration(p, b, x);
        if (!eqf__host_velocity(&p->field, x, t, expected, &expected_divergence)) expected_divergence = NAN;
        for (unsigned c = 0; c < NUM_DOF; c++) scale = fmax(scale, fabs(expected[c]));
        for (unsigned c = 0; c < NUM_DOF; c++)
            worst = eqf__host_worse(worst, fabs(expected[c] - (double)velocity[b * NUM_DOF + c]) / scale);
        worst = eqf__host_worse(worst,
                                fabs(expected_divergence - (double)divergence[b]) / fmax(1, fabs(expected_divergence)));
    }
    report(p, name, worst, 5e-5);
    return EQF_OK;
}

static eqf_status check_log_prob(problem *p, eqf_flow *flow, const char *name) {
    float log_prob[BATCH];
    EQF__TRY(eqf_flow_log_prob(flow, BATCH, p->x, log_prob, NULL));
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double x[NUM_DOF], expected, error;
        configuration(p, b, x);
        if (!eqf__host_log_prob(&p->field, prior_scale, NUM_STEPS, x, &expected, &error)) expected = NAN;
        worst = eqf__host_worse(worst, fabs(expected - (double)log_prob[b]));
    }
    report(p, name, worst, 1e-4);
    return EQF_OK;
}

/* Where the device has it. */
static eqf_status check_in_double(problem *p) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    EQF__TRY(eqf_context_device(p->ctx, &device));
    if (!device.has_fp64) return EQF_OK;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    eqf_flow *flow;
    double x[BATCH * NUM_DOF], log_prob[BATCH], worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        configuration(p, b, x + b * NUM_DOF);
        eqf__host_centre(NUM_PARTICLES, SPACE_DIM, x + b * NUM_DOF); /* float32 left it a rounding away from 0 */
    }
    EQF__TRY(eqf_flow_create(p->ctx, p->model, &options, &flow));
    eqf_status status = eqf_flow_log_prob_double(flow, BATCH, x, log_prob, NULL);
    eqf_flow_destroy(&flow);
    EQF__TRY(status);
    for (unsigned b = 0; b < BATCH; b++) {
        double expected, error;
        if (!eqf__host_log_prob(&p->field, prior_scale, NUM_STEPS, x + b * NUM_DOF, &expected, &error)) expected = NAN;
        worst = eqf__host_worse(worst, fabs(expected - log_prob[b]));
    }
    report(p, "log-density, double precision", worst, 1e-9);
    return EQF_OK;
}

static double host_loss(const problem *p) {
    double sum = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double x[NUM_DOF], log_prob, error;
        configuration(p, b, x);
        if (!eqf__host_log_prob(&p->field, prior_scale, NUM_STEPS, x, &log_prob, &error)) return NAN;
        sum += (penalty * error - log_prob) / BATCH;
    }
    return sum;
}

/* The gradient along a few directions, one for each group of parameters and one through all. */
static eqf_status check_gradient(problem *p, eqf_flow *flow, const char *name) {
    float gradient[128];
    eqf_loss loss = EQF_LOSS_INIT;
    EQF__TRY(eqf_flow_nll_gradient(flow, penalty, BATCH, p->x, &loss, gradient, NULL));
    const size_t num_trained = eqf_model_num_trained(p->model);
    double worst = fabs(loss.loss - host_loss(p)), norm = 0;
    for (size_t i = 0; i < num_trained; i++) norm += (double)gradient[i] * gradient[i] / (double)num_trained;
    for (size_t group = 0; group <= eqf_model_num_slices(p->model); group++) {
        const bool is_all = group == eqf_model_num_slices(p->model);
        const eqf_param_slice *slice = is_all ? NULL : eqf_model_slice(p->model, group);
        if (!is_all && !slice->is_trained) continue;
        const size_t begin = is_all ? 0 : slice->offset, end = is_all ? num_trained : slice->offset + slice->count;
        const double step = 1e-5;
        double saved[128], along = 0, values[2];
        memcpy(saved, p->params, sizeof saved);
        for (int side = 0; side < 2; side++) {
            for (size_t i = begin; i < end; i++)
                p->params[i] = saved[i] + (side ? step : -step) * eqf__host_number((unsigned)i, 3);
            values[side] = host_loss(p);
        }
        memcpy(p->params, saved, sizeof saved);
        for (size_t i = begin; i < end; i++) along += gradient[i] * eqf__host_number((unsigned)i, 3);
        worst = eqf__host_worse(worst, fabs((values[1] - values[0]) / (2 * step) - along) /
                                           sqrt((double)(end - begin) * norm));
    }
    report(p, name, worst, 1e-3);
    return EQF_OK;
}

static eqf_status check_potential(problem *p, eqf_potential_kind kind, const char *name) {
    eqf_potential_options options = EQF_POTENTIAL_OPTIONS_INIT;
    options.kind = kind;
    options.num_particles = NUM_PARTICLES;
    options.space_dim = SPACE_DIM;
    options.temperature = 1.5;
    options.linear = 0.5;
    options.distance_offset = 2;
    options.r_min = 0.7;
    float energy[BATCH], force[BATCH * NUM_DOF];
    EQF__TRY(eqf_potential_evaluate(p->ctx, &options, BATCH, p->x, energy, force));
    double worst = 0;
    for (unsigned b = 0; b < BATCH; b++) {
        double x[NUM_DOF], scale = 1;
        configuration(p, b, x);
        const double expected = eqf__host_energy(&options, x);
        worst = eqf__host_worse(worst, fabs(expected - (double)energy[b]) / (1 + fabs(expected)));
        double difference[NUM_DOF];
        for (unsigned c = 0; c < NUM_DOF; c++) {
            const double step = 1e-6, saved = x[c];
            x[c] = saved + step;
            double above = eqf__host_energy(&options, x);
            x[c] = saved - step;
            double expected_force = (eqf__host_energy(&options, x) - above) / (2 * step);
            x[c] = saved;
            scale = fmax(scale, fabs(expected_force));
            difference[c] = fabs(expected_force - (double)force[b * NUM_DOF + c]);
        }
        for (unsigned c = 0; c < NUM_DOF; c++) worst = eqf__host_worse(worst, difference[c] / scale);
    }
    report(p, name, worst, 1e-4);
    return EQF_OK;
}

/* Energy and force of each kind whose formula is known. */
static eqf_status check_potentials(problem *p) {
    const eqf_potential_kind_info *kind;
    for (unsigned k = 0; (kind = eqf_potential_kind_describe((eqf_potential_kind)k)) != NULL; k++) {
        if (!kind->has_text) EQF__TRY(check_potential(p, (eqf_potential_kind)k, kind->title));
    }
    return EQF_OK;
}

/* A short chain must report the energies of the configurations that it hands over. */
static eqf_status check_chains(problem *p) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.num_particles = NUM_PARTICLES;
    potential.space_dim = SPACE_DIM;
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = 16;
    options.num_burn_in = 100;
    options.thinning = 10;
    float x[32 * NUM_DOF], energy[32];
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    EQF__TRY(eqf_mcmc_sample(p->ctx, &potential, &options, 32, x, energy, &diagnostics));
    double worst = diagnostics.acceptance > 0.01 && diagnostics.acceptance < 0.99 ? 0 : NAN;
    for (unsigned b = 0; b < 32; b++) {
        double configuration_x[NUM_DOF];
        for (unsigned c = 0; c < NUM_DOF; c++) configuration_x[c] = x[b * NUM_DOF + c];
        worst = eqf__host_worse(worst, fabs(eqf__host_energy(&potential, configuration_x) - (double)energy[b]));
    }
    report(p, "Metropolis chains", worst, 1e-3);
    return EQF_OK;
}

static eqf_status check_flow(problem *p, eqf_field_evaluation evaluation, const char *const names[3]) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.field_evaluation = evaluation;
    eqf_flow *flow;
    EQF__TRY(eqf_flow_create(p->ctx, p->model, &options, &flow));
    eqf_status status = evaluation == EQF_FIELD_TABLE ? check_prior(p, flow) : EQF_OK;
    if (status == EQF_OK) status = check_velocity(p, flow, names[0]);
    if (status == EQF_OK) status = check_log_prob(p, flow, names[1]);
    if (status == EQF_OK) status = check_gradient(p, flow, names[2]);
    eqf_flow_destroy(&flow);
    return status;
}

static eqf_status run_all(problem *p) {
    static const char *const table_names[3] = {"radial field, table", "log-density, table", "training gradient, table"};
    static const char *const direct_names[3] = {"radial field, direct", "log-density, direct",
                                                "training gradient, direct"};
    enum { NUM_PARTS = 5 };
    EQF__TRY(set_up(p));
    EQF__TRY(eqf__progress_ask(p->ctx, "self-test", 0, NUM_PARTS));
    EQF__TRY(check_flow(p, EQF_FIELD_TABLE, table_names));
    EQF__TRY(eqf__progress_ask(p->ctx, "self-test", 1, NUM_PARTS));
    EQF__TRY(check_flow(p, EQF_FIELD_DIRECT, direct_names));
    EQF__TRY(eqf__progress_ask(p->ctx, "self-test", 2, NUM_PARTS));
    EQF__TRY(check_in_double(p));
    EQF__TRY(eqf__progress_ask(p->ctx, "self-test", 3, NUM_PARTS));
    EQF__TRY(check_potentials(p));
    EQF__TRY(eqf__progress_ask(p->ctx, "self-test", 4, NUM_PARTS));
    return check_chains(p);
}

eqf_status eqf_selftest(eqf_context *ctx, eqf_selftest_callback callback, void *user) {
    EQF__NOT_NULL(ctx, ctx);
    problem *p = eqf__alloc(ctx, 1, sizeof *p, "the self-test");
    if (p == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    p->ctx = ctx;
    p->callback = callback;
    p->user = user;
    const bool was_in_trial = ctx->is_in_trial;
    ctx->is_in_trial = true; /* every check is run and reported, none stops the rest */
    eqf_status status = run_all(p);
    ctx->is_in_trial = was_in_trial;
    eqf_model_destroy(&p->model);
    if (status == EQF_OK && p->has_failed) {
        eqf_device_info device = EQF_DEVICE_INFO_INIT;
        status = eqf_context_device(ctx, &device);
        if (status == EQF_OK)
            status = eqf__fail(
                ctx, EQF_ERROR_SELF_TEST,
                "%s with driver %s gives wrong results: do not use it for this; try another --device, or another "
                "driver version",
                device.name, device.driver_version);
    }
    free(p);
    return status;
}
