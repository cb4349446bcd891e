#include "solver.h"

#include <string.h>

#include "dopri5.h"
#include "integrator_options.h"
#include "kinds.h"

/* ---- The table --------------------------------------------------------------------------------------------------- */

enum { MOST_FORMS = 2 };

typedef struct integrator {
    eqf_integrator_method_info info;
    const char *refusal;       /* the message for a field that has none of the forms */
    const eqf_option *options; /* members of eqf_flow_options */
    const eqf__host_scheme *scheme;
    const char *scheme_file; /* its contents: cl/integrator/steps.clh */
    struct {
        unsigned form; /* EQF__FORM_; 0: no more */
        eqf_status (*create)(eqf__field *field, const eqf_flow_options *options, eqf__solver **solver_out);
    } forms[MOST_FORMS]; /* the forms that it can use, the best first */
} integrator;

static const eqf_option options_of_equal_steps[] = {EQF__NUM_STEPS_OPTION(eqf_flow_options), EQF__OPTIONS_END};

static const integrator rk4 = {
    .info = {.struct_size = sizeof(eqf_integrator_method_info), .name = "rk4", .title = "RK4", .has_double = true},
    .refusal = "rk4 cannot use this model's field",
    .options = options_of_equal_steps,
    .scheme = &eqf__host_rk4,
    .scheme_file = "integrator/rk4.clh",
    .forms = {{EQF__FORM_STAGE, eqf__rk4_create}, {EQF__FORM_BATCHED, eqf__rk4_batched_create}},
};

static const integrator dopri5 = {
    .info = {.struct_size = sizeof(eqf_integrator_method_info),
             .name = "dopri5",
             .title = "Dormand-Prince 5(4)",
             .has_step_control = true},
    .refusal =
        "dopri5 needs a field that can be evaluated at any time, and this model's cannot: use EQF_INTEGRATOR_RK4",
    .options = eqf__dopri5_options,
    .forms = {{EQF__FORM_ANY_TIME, eqf__dopri5_create}, {EQF__FORM_BATCHED, eqf__dopri5_batched_create}},
};

const char *const eqf__model_method_names[] = {[EQF_INTEGRATOR_RK4] = "rk4", NULL};

/* No default: the compiler names a method that has no row (-Wswitch). */
static const integrator *find(eqf_integrator_method method) {
    switch (method) {
        case EQF_INTEGRATOR_RK4: return &rk4;
        case EQF_INTEGRATOR_DOPRI5: return &dopri5;
    }
    return NULL;
}

const eqf_integrator_method_info *eqf_integrator_method_describe(eqf_integrator_method method) {
    const integrator *row = find(method);
    return row != NULL ? &row->info : NULL;
}

static const char *name_of(unsigned kind) {
    const integrator *row = find((eqf_integrator_method)kind);
    return row != NULL ? row->info.name : NULL;
}

eqf_status eqf_integrator_method_find(const char *name, eqf_integrator_method *method_out) {
    unsigned kind;
    EQF__NOT_NULL(NULL, method_out);
    EQF__TRY(eqf__kind_find(name, name_of, &kind));
    *method_out = (eqf_integrator_method)kind;
    return EQF_OK;
}

const eqf_option *eqf_integrator_option(eqf_integrator_method method, size_t index) {
    const integrator *row = find(method);
    return row != NULL ? eqf__options_at(row->options, index) : NULL;
}

const char *eqf__integrator_scheme_file(eqf_integrator_method method) {
    return find(method)->scheme_file;
}

eqf_integrator_method eqf__integrator_with_step_control(void) {
    unsigned method = 0;
    while (!find((eqf_integrator_method)method)->info.has_step_control) method++; /* there is one */
    return (eqf_integrator_method)method;
}

/* The index in row->forms of the first one in the set `forms`; MOST_FORMS: there is none. */
static size_t choose_form(const integrator *row, unsigned forms) {
    size_t f = 0;
    while (f < MOST_FORMS && !(row->forms[f].form & forms)) f++;
    return f;
}

unsigned eqf__integrator_form(eqf_integrator_method method, unsigned forms) {
    const size_t f = choose_form(find(method), forms);
    return f < MOST_FORMS ? find(method)->forms[f].form : 0;
}

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

/* Replaces zeros by defaults and checks. Errors: INVALID_ARGUMENT with the option's name. */
static eqf_status check_options(eqf_context *ctx, const integrator *row, eqf_flow_options *options) {
    EQF__TRY(EQF__CHECK(ctx, EQF_ADAPTIVE_OPTIONS_INIT, eqf_adaptive_options, &options->adaptive));
    eqf__options_fill_zeros(row->options, options);
    return eqf__options_check(ctx, row->options, "integrator", options);
}

/* The precision in which the solver computes. */
static eqf_status choose_real(eqf_context *ctx, const integrator *row, eqf_precision precision, eqf__real *real_out) {
    const eqf__device *device = ctx->device;
    *real_out = eqf__real_float(device);
    if (precision != EQF_PRECISION_DOUBLE) return EQF_OK;
    *real_out = eqf__real_double(device);
    if (!device->info.has_fp64)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                         "%s (%s) has no double precision (fp64): use another device, or EQF_PRECISION_FLOAT",
                         device->info.name, device->info.platform_name);
    if (row->info.has_double) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "double precision is for RK4: use EQF_INTEGRATOR_RK4");
}

eqf_status eqf__solver_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                              const eqf_dynamics_options *dynamics, const eqf_flow_options *options,
                              const float *params, eqf__solver **solver_out) {
    *solver_out = NULL;
    const integrator *row = find(options->method);
    const eqf__dynamics_kind *kind = eqf__dynamics_kind_of(dynamics->kind);
    eqf_flow_options checked = *options;
    if (row == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "method of the integrator is %u: there is no such method",
                         (unsigned)options->method);
    EQF__TRY(check_options(ctx, row, &checked));
    eqf__field_needs needs = {.num_stages = 2 * options->num_steps + 1,
                              .evaluation = options->field_evaluation,
                              .divergence = options->divergence};
    EQF__TRY(choose_real(ctx, row, options->precision, &needs.real));
    const size_t f = kind != NULL ? choose_form(row, kind->forms) : MOST_FORMS;
    if (f == MOST_FORMS) return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "%s", row->refusal);
    needs.form = row->forms[f].form;
    eqf__field *field;
    bool has_changed;
    EQF__TRY(eqf__field_create(ctx, num_particles, space_dim, dynamics, &needs, &field));
    eqf_status status = eqf__field_set_params(field, params, &has_changed);
    if (status == EQF_OK) status = row->forms[f].create(field, &checked, solver_out);
    if (status != EQF_OK) {
        eqf__field_destroy(&field);
        return status;
    }
    (*solver_out)->method = options->method;
    (*solver_out)->scheme = row->scheme;
    return status;
}

void eqf__solver_destroy(eqf__solver **solver) {
    if (*solver == NULL) return;
    eqf__field *field = (*solver)->field;
    (*solver)->verbs->destroy(*solver);
    eqf__field_destroy(&field);
    *solver = NULL;
}

eqf_status eqf__solver_assemble(eqf__solver *solver) {
    return solver->verbs->assemble != NULL ? solver->verbs->assemble(solver) : EQF_OK;
}

eqf_status eqf__solver_set_params(eqf__solver *solver, const float *params, bool *has_changed_out) {
    EQF__TRY(eqf__field_set_params(solver->field, params, has_changed_out));
    return *has_changed_out ? eqf__solver_assemble(solver) : EQF_OK;
}

eqf__program *eqf__solver_field_program(const eqf__solver *solver, bool is_reverse) {
    const eqf__field *field = solver->field;
    if (field->batched != NULL) return field->batched->program;
    if (field->any_time != NULL) return field->any_time->program;
    return is_reverse ? field->stage->gradient_program : field->stage->program;
}

eqf_status eqf__solver_prepare_gradient(eqf__solver *solver) {
    const eqf__stage_form *stage = solver->field->stage;
    EQF__TRY(solver->verbs->prepare_reverse(solver));
    return stage != NULL && stage->prepare_gradient != NULL ? stage->prepare_gradient(solver->field) : EQF_OK;
}

/* ---- Tapes ------------------------------------------------------------------------------------------------------- */

eqf_status eqf__tape_create(eqf__solver *solver, size_t max_blocks, eqf__tape *tape_out) {
    size_t checkpoint_bytes = 0;
    memset(tape_out, 0, sizeof *tape_out);
    solver->verbs->tape_sizes(solver, max_blocks, tape_out, &checkpoint_bytes);
    tape_out->max_blocks = max_blocks;
    const size_t size = solver->real.size;
    eqf_context *ctx = solver->ctx;
    eqf_status status =
        eqf__buffer_create(ctx, checkpoint_bytes, NULL, "the trajectory checkpoints", &tape_out->d_checkpoints);
    if (status == EQF_OK)
        status = eqf__buffer_create(ctx, tape_out->grad_stages_count * size, NULL, "the partial gradients",
                                    &tape_out->d_grad_stages);
    if (status == EQF_OK)
        status = eqf__buffer_create(ctx, tape_out->grad_shared_count * size, NULL, "the partial gradients",
                                    &tape_out->d_grad_shared);
    if (status != EQF_OK) eqf__tape_clear(tape_out);
    return status;
}

void eqf__tape_clear(eqf__tape *tape) {
    eqf__buffer_destroy(&tape->d_checkpoints);
    eqf__buffer_destroy(&tape->d_grad_stages);
    eqf__buffer_destroy(&tape->d_grad_shared);
    memset(tape, 0, sizeof *tape);
}

eqf_status eqf__tape_begin(eqf__solver *solver, eqf__tape *tape) {
    if (tape->is_zero) {
        tape->is_zero = false; /* until the solve that begins has ended well */
        return EQF_OK;
    }
    if (tape->grad_stages_count > 0)
        EQF__TRY(eqf__fill_zero(solver->ctx, tape->d_grad_stages, tape->grad_stages_count * solver->real.size));
    if (tape->grad_shared_count > 0)
        EQF__TRY(eqf__fill_zero(solver->ctx, tape->d_grad_shared, tape->grad_shared_count * solver->real.size));
    return EQF_OK;
}
