/* Checks the known answers (src/check) of every kernel that the device would use: flows of each kind of field and each
 * form, potentials, chains, descents, and the kernels of training. */
#include "eqflow/selftest.h"

#include <math.h>
#include <string.h>

#include "chains.h"
#include "check.h"
#include "eqflow/device.h"
#include "kinds.h"
#include "selftest_internal.h"
#include "solve.h"

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

enum { NUM_PARTICLES = 3, SPACE_DIM = 2, NUM_STEPS = 4 };

/* A kind of field with a method that can solve it, in one of the variants below. */
typedef struct flow_row {
    char name[64];
    eqf_dynamics_kind kind;
    eqf_field_evaluation evaluation;
    eqf_integrator_method method;
    eqf_precision precision;
    eqf_divergence divergence;
    bool is_group;
} flow_row;

static const struct way {
    const char *suffix; /* of the name */
    bool is_table, is_double, is_group;
    eqf_divergence divergence;
} ways[] = {
    {"", .is_table = true},
    {"", .is_table = false},
    {", double", .is_double = true},
    {" by group", .is_table = true, .is_group = true},
    {" by group", .is_group = true},
    {", rademacher", .divergence = EQF_DIVERGENCE_RADEMACHER},
    {", gaussian", .divergence = EQF_DIVERGENCE_GAUSSIAN},
};

/* Whether that variant exists for that kind and method on this device. */
static bool is_used(const eqf__device *device, const eqf__dynamics_kind *kind, eqf_integrator_method method,
                    const struct way *way) {
    const unsigned form = eqf__integrator_form(method, kind->forms);
    if (form == 0) return false;
    if (way->is_table && !(kind->info.has_table && form == EQF__FORM_STAGE)) return false;
    if (way->is_double &&
        !(device->info.has_fp64 && kind->info.has_double && eqf_integrator_method_describe(method)->has_double))
        return false;
    if (way->is_group && !(device->group_size > 0 && form == EQF__FORM_STAGE && (kind->forms & EQF__FORM_GROUP)))
        return false;
    return way->divergence == EQF_DIVERGENCE_EXACT || kind->info.has_estimates;
}

/* Counts the rows that the tables of kinds and methods give for this device, and gives row number `index` in
 * row_out. */
static size_t find_row(const eqf__device *device, size_t index, flow_row *row_out) {
    size_t num = 0;
    const eqf__dynamics_kind *kind;
    const eqf_integrator_method_info *info;
    for (unsigned k = 0; (kind = eqf__dynamics_kind_of((eqf_dynamics_kind)k)) != NULL; k++)
        for (unsigned m = 0; (info = eqf_integrator_method_describe((eqf_integrator_method)m)) != NULL; m++)
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                const struct way *way = &ways[w];
                const eqf_integrator_method method = (eqf_integrator_method)m;
                if (!is_used(device, kind, method, way) || num++ != index) continue;
                *row_out = (flow_row){.kind = (eqf_dynamics_kind)k, .method = method, .divergence = way->divergence};
                row_out->is_group = way->is_group;
                if (way->is_double) row_out->precision = EQF_PRECISION_DOUBLE;
                if (kind->info.has_table && !way->is_table) row_out->evaluation = EQF_FIELD_DIRECT;
                snprintf(row_out->name, sizeof row_out->name, "%s%s, %s%s", kind->info.name,
                         !kind->info.has_table ? ""
                         : way->is_table       ? ", table"
                                               : ", direct",
                         info->name, way->suffix);
            }
    return num;
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
    if (status == EQF_OK && row->precision == EQF_PRECISION_FLOAT && flow->field->batched == NULL)
        status = eqf__check_vjp(checker, flow); /* for batched fields the gradients use the same programs */
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    return status;
}

/* A flow with each other prior, for all kernels of that prior. */
static eqf_status run_priors(eqf__checker *checker) {
    static const flow_row row = {.kind = EQF_DYNAMICS_RADIAL, .evaluation = EQF_FIELD_DIRECT};
    const eqf_prior_kind_info *prior;
    for (unsigned kind = 1; (prior = eqf_prior_kind_describe((eqf_prior_kind)kind)) != NULL; kind++) {
        checker->subject = prior->title;
        eqf__check_begin(checker);
        EQF__TRY(check_flow(checker, &row, (eqf_prior_kind)kind));
    }
    return EQF_OK;
}

/* ---- The whole selftest ------------------------------------------------------------------------------------------ */

/* A failure that prevents an answer counts as a failed check; other errors end the run. */
static eqf_status take(eqf__checker *checker, eqf_status status) {
    if (status != EQF_ERROR_NON_FINITE && status != EQF_ERROR_SELF_TEST) return status;
    const eqf__answer none = {"gives results", NAN, 0, ""};
    return eqf__check_report(checker, &none, 0, NULL);
}

static bool is_asked(const char *name, const char *subject) {
    return subject == NULL || strstr(name, subject) != NULL;
}

/* Runs the num_flows rows of the device, then the other parts. */
static eqf_status run_each(eqf__checker *checker, const char *subject, const eqf__device *device, size_t num_flows) {
    unsigned num_asked = 0;
    for (size_t f = 0; f < num_flows; f++) {
        flow_row row;
        find_row(device, f, &row);
        EQF__TRY(eqf__progress_done(checker->ctx, (double)f));
        if (!is_asked(row.name, subject)) continue;
        num_asked++;
        checker->subject = row.name;
        eqf__check_begin(checker);
        EQF__TRY(take(checker, check_flow(checker, &row, EQF_PRIOR_GAUSSIAN)));
    }
    for (size_t p = 0; p < eqf__selftest_num_parts; p++) {
        EQF__TRY(eqf__progress_done(checker->ctx, (double)(num_flows + p)));
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
    eqf__device *device;
    flow_row unused;
    EQF__TRY(eqf__device_get(checker->ctx, &device));
    const size_t num_flows = find_row(device, SIZE_MAX, &unused);
    eqf__progress_open(checker->ctx, "self-test", (double)(num_flows + eqf__selftest_num_parts));
    const eqf_status status = run_each(checker, subject, device, num_flows);
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
