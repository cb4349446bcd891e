/* Every kernel that the device would use, against known answers: flows of each kind of field and each form, potentials, chains, descents, what
 * training adds. The answers are those of src/check; here they are all asked. */
#include "eqflow/selftest.h"

#include <math.h>
#include <string.h>

#include "chains.h"
#include "check.h"
#include "eqflow/device.h"
#include "selftest_internal.h"
#include "solve.h"

/* ---- Flows --------------------------------------------------------------------------------------------------------------- */

enum { NUM_PARTICLES = 3, SPACE_DIM = 2, NUM_STEPS = 4 };

typedef struct flow_row {
    const char *name;
    eqf_dynamics_kind kind;
    eqf_field_evaluation evaluation;
    eqf_integrator_method method;
    eqf_precision precision;
    eqf_divergence divergence;
    bool is_group; /* where the profile has groups */
} flow_row;

static const flow_row flows[] = {
    {"radial, table, rk4", .kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_TABLE},
    {"radial, direct, rk4", .kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_DIRECT},
    {"radial, direct, rk4, double", .kind = EQF_DYNAMICS_RADIAL, .precision = EQF_PRECISION_DOUBLE},
    {"radial, direct, dopri5", .kind = EQF_DYNAMICS_RADIAL, .method = EQF_INTEGRATOR_DOPRI5},
    {"radial, table, rk4 by group", .kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_TABLE, .is_group = true},
    {"radial, direct, rk4 by group", .kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_DIRECT, .is_group = true},
    {"dense, rk4", .kind = EQF_DYNAMICS_DENSE},
    {"dense, rk4, rademacher", .kind = EQF_DYNAMICS_DENSE, .divergence = EQF_DIVERGENCE_RADEMACHER},
    {"dense, dopri5, gaussian", .kind = EQF_DYNAMICS_DENSE, .method = EQF_INTEGRATOR_DOPRI5,
     .divergence = EQF_DIVERGENCE_GAUSSIAN},
    {"message, rk4", .kind = EQF_DYNAMICS_MESSAGE},
    {"message, dopri5", .kind = EQF_DYNAMICS_MESSAGE, .method = EQF_INTEGRATOR_DOPRI5},
};

/* Whether this device would run such a flow. */
static bool is_used(const eqf__device *device, const flow_row *row) {
    if (row->precision == EQF_PRECISION_DOUBLE && !device->info.has_fp64) return false;
    return !row->is_group || device->group_size > 0;
}

static eqf_model_options model_of(const eqf__device *device, const flow_row *row, eqf_prior_kind prior) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.num_particles = NUM_PARTICLES;
    options.potential.space_dim = SPACE_DIM;
    if (row->is_group && device->group_min_particles > NUM_PARTICLES)
        options.potential.num_particles = device->group_min_particles;
    options.prior_kind = prior;
    options.prior_scale = 1.25;
    options.dynamics.kind = row->kind;
    options.dynamics.num_distance = 7;
    options.dynamics.num_time = 3;
    options.dynamics.distance_max = 4;
    options.dynamics.distance_gamma = 0.6;
    options.dynamics.width = 8;
    options.dynamics.num_hops = 2;
    options.dynamics.num_scalars = 6;
    options.dynamics.num_vectors = 3;
    options.dynamics.num_edge = 5;
    options.dynamics.num_reduced = 2;
    options.integrator.num_steps = NUM_STEPS;
    return options;
}

static eqf_status check_flow(eqf__checker *checker, const flow_row *row, eqf_prior_kind prior) {
    eqf_context *ctx = checker->ctx;
    const eqf_model_options made = model_of(ctx->device, row, prior);
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.num_steps = NUM_STEPS;
    options.field_evaluation = row->evaluation;
    options.divergence = row->divergence;
    options.method = row->method;
    options.precision = row->precision;
    eqf_model *model;
    eqf_flow *flow = NULL;
    EQF__TRY(eqf_model_create(ctx, &made, &model));
    eqf_status status = eqf__flow_build(ctx, model, &options, &flow);
    if (status == EQF_OK) status = eqf__check_flow(checker, flow, EQF__ANSWERS_OF_VALUES);
    if (status == EQF_OK) status = eqf__check_flow(checker, flow, EQF__ANSWERS_OF_GRADIENTS);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    return status;
}

/* A flow with each other prior, whose kernels these are all. */
static eqf_status run_priors(eqf__checker *checker) {
    static const flow_row row = {"", .kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_DIRECT};
    const eqf_prior_kind_info *prior;
    for (unsigned kind = 1; (prior = eqf_prior_kind_describe((eqf_prior_kind)kind)) != NULL; kind++) {
        checker->subject = prior->title;
        eqf__check_begin(checker);
        EQF__TRY(check_flow(checker, &row, (eqf_prior_kind)kind));
    }
    return EQF_OK;
}

/* ---- All of it ----------------------------------------------------------------------------------------------------------- */

/* What is wrong so that no answer comes is an answer too; other failures end the run. */
static eqf_status take(eqf__checker *checker, eqf_status status) {
    if (status != EQF_ERROR_NON_FINITE && status != EQF_ERROR_SELF_TEST) return status;
    const eqf__answer none = {"gives results", NAN, 0, ""};
    return eqf__check_report(checker, &none, 0, NULL);
}

static bool is_asked(const char *name, const char *subject) {
    return subject == NULL || strstr(name, subject) != NULL;
}

static eqf_status run_each(eqf__checker *checker, const char *subject) {
    eqf__device *device;
    unsigned num_asked = 0;
    EQF__TRY(eqf__device_get(checker->ctx, &device));
    for (size_t f = 0; f < sizeof flows / sizeof flows[0]; f++) {
        EQF__TRY(eqf__progress_done(checker->ctx, (double)f));
        if (!is_asked(flows[f].name, subject) || !is_used(device, &flows[f])) continue;
        num_asked++;
        checker->subject = flows[f].name;
        eqf__check_begin(checker);
        EQF__TRY(take(checker, check_flow(checker, &flows[f], EQF_PRIOR_GAUSSIAN)));
    }
    for (size_t p = 0; p < eqf__selftest_num_parts; p++) {
        EQF__TRY(eqf__progress_done(checker->ctx, (double)(sizeof flows / sizeof flows[0] + p)));
        if (!is_asked(eqf__selftest_parts[p].name, subject)) continue;
        num_asked++;
        checker->subject = eqf__selftest_parts[p].name;
        eqf__check_begin(checker);
        EQF__TRY(take(checker, eqf__selftest_parts[p].run(checker)));
    }
    if (is_asked("priors", subject)) {
        num_asked++;
        EQF__TRY(take(checker, run_priors(checker)));
    }
    if (num_asked > 0) return EQF_OK;
    return eqf__fail(checker->ctx, EQF_ERROR_NOT_FOUND, "nothing that is checked on this device has '%s' in its name",
                     subject);
}

static eqf_status run_all(eqf__checker *checker, const char *subject) {
    eqf__progress_open(checker->ctx, "self-test", (double)(sizeof flows / sizeof flows[0] + eqf__selftest_num_parts));
    const eqf_status status = run_each(checker, subject);
    eqf__progress_close(checker->ctx);
    return status;
}

static void ignore(void *user, const eqf_selftest_result *result) {
    (void)user;
    (void)result;
}

eqf_status eqf_selftest(eqf_context *ctx, eqf_selftest_callback callback, void *user) {
    return eqf_selftest_of(ctx, NULL, callback, user);
}

eqf_status eqf_selftest_of(eqf_context *ctx, const char *subject, eqf_selftest_callback callback, void *user) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__checker checker = {.ctx = ctx, .callback = callback != NULL ? callback : ignore, .user = user};
    const eqf_status status = run_all(&checker, subject);
    eqf__launches_forget(ctx);
    if (status != EQF_OK || checker.num_failed == 0) return status;
    const eqf_device_info *info = &ctx->device->info;
    return eqf__fail(ctx, EQF_ERROR_SELF_TEST,
                     "%s with driver %s gives wrong results: do not use it for this; try another device, or another "
                     "driver version",
                     info->name, info->driver_version);
}
