/* A training: creation, stages, and the loop over steps. All but the schedule runs on the device. */
#include "eqflow/train.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "train_internal.h"

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

/* Kernels that all stages share. */
eqf_status eqf__training_program(eqf_context *ctx, eqf__program **program_out) {
    static const char *const files[] = {"common/real.clh", "common/philox.clh", "common/random.clh",
                                        "train/batch.cl",  "train/adam.cl",     NULL};
    return eqf__program_get(ctx, "train", files, "", program_out);
}

static eqf_status create_kernels(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    eqf__program *program;
    EQF__TRY(eqf__training_program(ctx, &program));
    EQF__TRY(eqf__buffer_create(ctx, trainer->flow->vector_width * sizeof(float), NULL, "the gradient's norm",
                                &trainer->d_carry));
    EQF__TRY(eqf__kernel_create(ctx, program, "gather", &trainer->gather));
    EQF__TRY(eqf__kernel_create(ctx, program, "measure_step", &trainer->measure));
    return eqf__kernel_create(ctx, program, "blend_gradient", &trainer->blend);
}

/* Destroys what belongs to one stage. */
static void leave_stage(eqf_trainer *trainer) {
    if (trainer->optimizer != NULL) trainer->optimizer->destroy(trainer);
    trainer->optimizer = NULL;
    eqf__terms_destroy(trainer);
    eqf__gradient_workspace_clear(&trainer->workspace);
    eqf_flow_destroy(&trainer->flow);
}

static eqf_status create_flow(eqf_trainer *trainer) {
    const eqf_training_options *o = &trainer->options;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = o->field_evaluation;
    flow_options.divergence = o->divergence;
    if (o->gradient == EQF_GRADIENT_OTD) flow_options.method = eqf__integrator_with_step_control();
    flow_options.adaptive = o->adaptive;
    return eqf_flow_create(trainer->ctx, trainer->model, &flow_options, &trainer->flow);
}

/* Training may use coarser tables than reported likelihoods. */
static eqf_status coarsen_table(eqf_trainer *trainer) {
    eqf__field *field = trainer->flow->field;
    if (field->evaluation != EQF_FIELD_TABLE) return EQF_OK;
    field->table_tolerance = EQF__TRAINING_TABLE_TOLERANCE;
    EQF__TRY(eqf__field_set_resolution(field, EQF__TRAINING_RESOLUTION));
    EQF__TRY(eqf_flow_set_params(trainer->flow, eqf_model_params(trainer->model)));
    return eqf__solver_assemble(trainer->flow->solver);
}

eqf_status eqf__trainer_check(const eqf_trainer *trainer) {
    eqf__checker checker = eqf__checker_of(trainer->ctx);
    const eqf_potential_options *target = &eqf_model_options_of(trainer->model)->potential;
    const eqf__training_kernels kernels = {
        .gather = &trainer->gather,
        .blend = &trainer->blend,
        .measure = &trainer->measure,
        .augment = trainer->augment.id != NULL ? &trainer->augment : NULL,
        .num_particles = trainer->flow->num_particles,
        .space_dim = trainer->flow->space_dim,
        .num_b = eqf_potential_num_b(target),
    };
    EQF__TRY(eqf__check_flow(&checker, trainer->flow, EQF__ANSWERS_OF_VALUES));
    EQF__TRY(eqf__check_flow(&checker, trainer->flow, EQF__ANSWERS_OF_GRADIENTS));
    EQF__TRY(eqf__check_training(&checker, &kernels));
    eqf__stage_programs programs = {.num_particles = trainer->flow->num_particles,
                                    .space_dim = trainer->flow->space_dim};
    const size_t num_dof = trainer->flow->num_dof;
    if (trainer->matching != NULL) EQF__TRY(eqf__matching_program(trainer->ctx, num_dof, &programs.matching));
    if (trainer->weighted != NULL) EQF__TRY(eqf__weighted_program(trainer->ctx, num_dof, &programs.weighted));
    if (trainer->path != NULL)
        EQF__TRY(eqf__path_program(trainer->ctx, programs.num_particles, programs.space_dim, &programs.path));
    EQF__TRY(eqf__check_stages(&checker, &programs));
    return trainer->energy_seed.id != NULL ? eqf__check_energy_seed(&checker, target, &trainer->energy_seed) : EQF_OK;
}

eqf_status eqf__trainer_enter_stage(eqf_trainer *trainer, unsigned stage) {
    leave_stage(trainer);
    trainer->stage = stage;
    trainer->options = trainer->stages[stage];
    trainer->stage_begin = 0;
    for (unsigned s = 0; s < stage; s++) trainer->stage_begin += trainer->stages[s].num_steps;
    trainer->running_norm = 0;
    trainer->best_loss = NAN; /* losses of different stages cannot be compared */
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) trainer->measured[k] = trainer->best_measured[k] = NAN;
    EQF__TRY(eqf_model_set_params(trainer->ctx, trainer->model, trainer->best_params));
    EQF__TRY(create_flow(trainer));
    if (trainer->measure.id == NULL) EQF__TRY(create_kernels(trainer));
    trainer->optimizer = &eqf__optimizers[trainer->options.optimizer];
    EQF__TRY(trainer->optimizer->create(trainer));
    EQF__TRY(eqf__terms_create(trainer));
    EQF__TRY(coarsen_table(trainer));
    EQF__TRY(eqf__trainer_check(trainer));
    EQF__TRY(eqf__buffer_write(trainer->ctx, trainer->d_average, 0, trainer->num_trained * sizeof(float),
                               eqf_model_params(trainer->model)));
    return eqf__trainer_create_workspace(trainer);
}

eqf_status eqf__trainer_create_workspace(eqf_trainer *trainer) {
    eqf__gradient_workspace_clear(&trainer->workspace);
    return eqf__gradient_workspace_create(trainer->flow, eqf__largest_solve(trainer), &trainer->workspace);
}

/* Creates what all stages share. */
static eqf_status create_state(eqf_trainer *trainer, size_t num_dof, const float *x, const float *x_held_out) {
    eqf_context *ctx = trainer->ctx;
    const size_t state_bytes = trainer->num_trained * sizeof(float), row = num_dof * sizeof(float);
    bool has_pairs = false;
    for (unsigned s = 0; s < trainer->num_stages; s++)
        has_pairs = has_pairs || eqf__has_term(&trainer->stages[s], EQF__TERM_FLOW_MATCHING);
    trainer->data = eqf__alloc(ctx, has_pairs ? trainer->num_train : 0, row, "the training data");
    trainer->held_out = eqf__alloc(ctx, trainer->num_held_out, row, "the held-out data");
    trainer->best_params = eqf__alloc(ctx, trainer->num_params, sizeof(float), "the parameters");
    trainer->h_scratch = eqf__alloc(ctx, trainer->num_params, sizeof(float), "the parameters");
    trainer->h_message = eqf__alloc(ctx, trainer->num_trained + EQF__NUM_SUMS, sizeof(float), "the gradient's message");
    if (trainer->data == NULL || trainer->held_out == NULL || trainer->best_params == NULL ||
        trainer->h_scratch == NULL || trainer->h_message == NULL)
        return EQF_ERROR_OUT_OF_MEMORY;
    if (has_pairs && trainer->num_train > 0) memcpy(trainer->data, x, trainer->num_train * row);
    if (trainer->num_held_out > 0) memcpy(trainer->held_out, x_held_out, trainer->num_held_out * row);
    memcpy(trainer->best_params, eqf_model_params(trainer->model), trainer->num_params * sizeof(float));
    memset(trainer->h_scratch, 0, trainer->num_params * sizeof(float));
    const float zeros[EQF__MAX_STEPS_IN_FLIGHT * EQF__RECORD_SIZE] = {0};
    EQF__TRY(eqf__buffer_create(ctx, trainer->num_train * row, x, "the training data", &trainer->d_data));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, NULL, "the average", &trainer->d_average));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, trainer->h_scratch, "the gradient", &trainer->d_gradient));
    EQF__TRY(eqf__buffer_create(ctx, EQF__NUM_SUMS * sizeof(float), NULL, "the loss", &trainer->d_sums));
    EQF__TRY(eqf__buffer_create(ctx, sizeof zeros, zeros, "the records", &trainer->d_records));
    EQF__TRY(eqf__buffer_create(ctx, sizeof(cl_uint), zeros, "a flag", &trainer->d_failed));
    trainer->half_bits = 1;
    while (((uint64_t)1 << (2 * trainer->half_bits)) < trainer->num_train) trainer->half_bits++;
    trainer->fingerprint = eqf__trainer_fingerprint(trainer, x);
    return EQF_OK;
}

/* Checks x [num, N, D]. One NaN would make all parameters NaN with the first batch that has it, and the message would
 * then suggest a lower learning rate. */
static eqf_status check_data(eqf_context *ctx, const char *what, const float *x, size_t num, size_t num_dof) {
    if (num > 0 && x == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the %s data are NULL", what);
    for (size_t i = 0; i < num * num_dof; i++)
        if (!isfinite(x[i]))
            return eqf__fail(ctx, EQF_ERROR_NON_FINITE,
                             "configuration %zu (counted from 0) of the %s data holds %s: remove it or make the data "
                             "again",
                             i / num_dof, what, isnan(x[i]) ? "NaN" : "infinity");
    return EQF_OK;
}

static eqf_status create_parts(eqf_trainer *trainer, const eqf_model *model, const float *x, const float *x_held_out) {
    EQF__TRY(eqf_model_copy(trainer->ctx, model, &trainer->model));
    const eqf_potential_options *potential = &eqf_model_options_of(model)->potential;
    trainer->num_params = eqf_model_num_params(model);
    trainer->num_trained = eqf_model_num_trained(model);
    EQF__TRY(create_state(trainer, (size_t)potential->num_particles * potential->space_dim, x, x_held_out));
    return eqf__trainer_enter_stage(trainer, 0);
}

static eqf_status create_checked(eqf_trainer *trainer, const eqf_model *model, const float *x,
                                 const float *x_held_out) {
    eqf_context *ctx = trainer->ctx;
    if (trainer->num_train > 0x7fffffff)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "more than 2^31 training configurations");
    const eqf_potential_options *potential = &eqf_model_options_of(model)->potential;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    EQF__TRY(check_data(ctx, "training", x, trainer->num_train, num_dof));
    EQF__TRY(check_data(ctx, "held-out", x_held_out, trainer->num_held_out, num_dof));
    return create_parts(trainer, model, x, x_held_out);
}

/* Whether the stage has the data that it needs, and batches that all ranks can share. */
static eqf_status check_stage(eqf_context *ctx, const eqf_training_options *options, size_t num_train) {
    EQF__TRY(eqf__training_options_check(ctx, options));
    const bool has_energy = eqf__has_term(options, EQF__TERM_ENERGY);
    if (num_train == 0 && (eqf__has_term(options, EQF__TERM_NLL) || eqf__has_term(options, EQF__TERM_DISPERSION) ||
                           eqf__has_term(options, EQF__TERM_FLOW_MATCHING)))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "there are no training data, which %s needs",
                         options->objective == EQF_OBJECTIVE_FLOW_MATCHING ? "flow matching" : "a likelihood");
    const unsigned num_ranks = eqf__num_ranks(ctx);
    const bool is_nll_short = num_train > 0 && options->batch_size < num_ranks;
    if (!is_nll_short && !(has_energy && options->num_generated < num_ranks)) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                     "a batch of %zu cannot be shared by %u ranks: use a larger batch or fewer ranks",
                     is_nll_short ? options->batch_size : options->num_generated, num_ranks);
}

static eqf_status copy_stages(eqf_trainer *trainer, unsigned num_stages, const eqf_training_options *const *stages) {
    eqf_context *ctx = trainer->ctx;
    trainer->num_stages = num_stages;
    trainer->stages = eqf__alloc(ctx, num_stages, sizeof *trainer->stages, "the trainer");
    if (trainer->stages == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned s = 0; s < num_stages; s++) {
        eqf_training_options copy = EQF_TRAINING_OPTIONS_INIT;
        if (stages[s] != NULL) EQF__TRY(EQF__READ(ctx, EQF_TRAINING_OPTIONS_INIT, stages[s], &copy));
        EQF__TRY(check_stage(ctx, &copy, trainer->num_train));
        trainer->stages[s] = copy;
        trainer->num_steps += copy.num_steps;
    }
    return EQF_OK;
}

eqf_status eqf_trainer_create_stages(eqf_context *ctx, const eqf_model *model, unsigned num_stages,
                                     const eqf_training_options *const *stages, size_t num_train, const float *x,
                                     size_t num_held_out, const float *x_held_out, eqf_trainer **trainer_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, trainer_out);
    *trainer_out = NULL;
    EQF__NOT_NULL(ctx, model);
    EQF__NOT_NULL(ctx, stages);
    if (num_stages == 0) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "a training has at least one stage");
    eqf_trainer *trainer = eqf__alloc(ctx, 1, sizeof *trainer, "the trainer");
    if (trainer == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    trainer->ctx = ctx;
    trainer->num_train = num_train;
    trainer->num_held_out = num_held_out;
    eqf_status status = copy_stages(trainer, num_stages, stages);
    if (status == EQF_OK) status = create_checked(trainer, model, x, x_held_out);
    if (status != EQF_OK) {
        eqf_trainer_destroy(&trainer);
        return status;
    }
    *trainer_out = trainer;
    return EQF_OK;
}

eqf_status eqf_trainer_create(eqf_context *ctx, const eqf_model *model, const eqf_training_options *options,
                              size_t num_train, const float *x, size_t num_held_out, const float *x_held_out,
                              eqf_trainer **trainer_out) {
    return eqf_trainer_create_stages(ctx, model, 1, &options, num_train, x, num_held_out, x_held_out, trainer_out);
}

void eqf_trainer_destroy(eqf_trainer **trainer) {
    if (trainer == NULL || *trainer == NULL) return;
    eqf_trainer *dying = *trainer;
    leave_stage(dying);
    cl_mem *buffers[] = {&dying->d_data,   &dying->d_average,  &dying->d_records,
                         &dying->d_failed, &dying->d_gradient, &dying->d_carry, &dying->d_sums};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&dying->gather, &dying->measure, &dying->blend};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    eqf_model_destroy(&dying->model);
    free(dying->stages);
    free(dying->data);
    free(dying->held_out);
    free(dying->best_params);
    free(dying->h_scratch);
    free(dying->h_message);
    free(dying);
    *trainer = NULL;
}

/* ---- Public functions -------------------------------------------------------------------------------------------- */

static const char *stage_name(const eqf_training_options *options) {
    const char *name = NULL;
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++)
        if (eqf__has_term(options, k)) name = name == NULL ? eqf__terms[k].name : "mixture";
    return name;
}

static eqf_status fill_state(eqf_trainer *trainer, eqf_training_state *state) {
    const eqf__totals *totals = &trainer->report_totals;
    const uint64_t stage_step = eqf__stage_step(trainer);
    double means[EQF__NUM_TERMS];
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) means[k] = eqf__mean_of(totals->value[k], totals->num_value_steps[k]);
    const eqf_training_state now = {
        .step = trainer->step,
        .num_steps = trainer->num_steps,
        .seconds = trainer->seconds,
        .loss = eqf__mean_of(totals->loss, totals->num_steps),
        .nll = means[EQF__TERM_NLL],
        .free_energy = means[EQF__TERM_ENERGY],
        .gradient_norm = eqf__mean_of(totals->norm, totals->num_steps),
        .learning_rate = trainer->learning_rate,
        .nll_weight = eqf__scheduled_nll_weight(&trainer->options, stage_step > 0 ? stage_step - 1 : 0),
        .held_out_nll = trainer->measured[EQF__TERM_NLL],
        .best_held_out_nll = trainer->best_measured[EQF__TERM_NLL],
        .held_out_free_energy = trainer->measured[EQF__TERM_ENERGY],
        .best_held_out_free_energy = trainer->best_measured[EQF__TERM_ENERGY],
        .best_step = trainer->best_step,
        .is_done = trainer->step >= trainer->num_steps,
        .flow_matching = means[EQF__TERM_FLOW_MATCHING],
        .held_out_flow_matching = trainer->measured[EQF__TERM_FLOW_MATCHING],
        .best_held_out_flow_matching = trainer->best_measured[EQF__TERM_FLOW_MATCHING],
        .stage = trainer->stage,
        .num_stages = trainer->num_stages,
        .stage_step = stage_step,
        .stage_num_steps = trainer->options.num_steps,
        .stage_name = stage_name(&trainer->options),
        .dispersion = means[EQF__TERM_DISPERSION],
        .held_out_dispersion = trainer->measured[EQF__TERM_DISPERSION],
        .best_held_out_dispersion = trainer->best_measured[EQF__TERM_DISPERSION],
    };
    trainer->report_totals = (eqf__totals){0};
    return EQF__WRITE(trainer->ctx, EQF_TRAINING_STATE_INIT, &now, state);
}

/* Begins the next stage, and measures its loss for the model with which it begins, which a better model must beat. */
static eqf_status begin_next_stage(eqf_trainer *trainer) {
    EQF__TRY(eqf__trainer_enter_stage(trainer, trainer->stage + 1));
    return eqf__trainer_validate(trainer);
}

/* Steps until `target`, at most as many as may be in flight. They are not interrupted: a step is taken whole or not. */
static eqf_status take_steps(eqf_trainer *trainer, uint64_t target) {
    size_t num_records = 0;
    eqf_status status = EQF_OK;
    eqf__progress_hold(trainer->ctx, true);
    for (; status == EQF_OK && trainer->step < target && num_records < EQF__MAX_STEPS_IN_FLIGHT; num_records++)
        status = eqf__trainer_step(trainer, num_records);
    if (status == EQF_OK) status = eqf__trainer_collect(trainer, num_records);
    eqf__progress_hold(trainer->ctx, false);
    return status;
}

static eqf_status advance(eqf_trainer *trainer, uint64_t max_steps) {
    if (trainer->step == trainer->stage_begin + trainer->options.num_steps) EQF__TRY(begin_next_stage(trainer));
    const eqf_training_options *o = &trainer->options;
    const uint64_t stage_end = trainer->stage_begin + o->num_steps;
    uint64_t target = stage_end - trainer->step < max_steps ? stage_end : trainer->step + max_steps;
    const uint64_t next_validation =
        trainer->stage_begin + (eqf__stage_step(trainer) / o->validation_interval + 1) * o->validation_interval;
    if (target > next_validation) target = next_validation;
    while (trainer->step < target) {
        EQF__TRY(take_steps(trainer, target));
        if (trainer->step < target)
            EQF__TRY(eqf__progress(trainer->ctx, "train", (double)trainer->step, (double)target));
    }
    if (trainer->step > trainer->stage_begin && (trainer->step == next_validation || trainer->step == stage_end)) {
        eqf__progress_hold(trainer->ctx, true); /* not to be interrupted: later results depend on this measurement */
        const eqf_status status = eqf__trainer_validate(trainer);
        eqf__progress_hold(trainer->ctx, false);
        EQF__TRY(status);
        EQF__TRY(eqf__trainer_add_history(trainer));
    }
    return EQF_OK;
}

eqf_status eqf_trainer_advance(eqf_trainer *trainer, uint64_t max_steps, eqf_training_state *state_out) {
    EQF__NOT_NULL(NULL, trainer);
    if (state_out != NULL) EQF__TRY(EQF__CHECK_SIZE(trainer->ctx, EQF_TRAINING_STATE_INIT, state_out));
    const double start = now_seconds();
    eqf_status status = EQF_OK;
    if (trainer->step < trainer->num_steps) status = advance(trainer, max_steps);
    trainer->seconds += now_seconds() - start;
    const eqf_status filled = state_out != NULL ? fill_state(trainer, state_out) : EQF_OK;
    return status != EQF_OK ? status : filled;
}

eqf_status eqf_trainer_best_model(eqf_trainer *trainer, eqf_model **model_out) {
    EQF__NOT_NULL(NULL, trainer);
    EQF__TRY(eqf_model_copy(trainer->ctx, trainer->model, model_out));
    eqf_status status = eqf_model_set_params(trainer->ctx, *model_out, trainer->best_params);
    if (status != EQF_OK) eqf_model_destroy(model_out);
    return status;
}
