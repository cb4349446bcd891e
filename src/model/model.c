#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/version.h"
#include "integrator_options.h"
#include "kinds.h"
#include "model_internal.h"
#include "prior_kinds.h"

_Static_assert((int)EQF__MOST_SLICES <= (int)EQF__MODEL_MAX_SLICES, "a model holds the slices of every kind");

static size_t num_dof_of(const eqf_model_options *options) {
    return (size_t)options->potential.num_particles * options->potential.space_dim;
}

static void dynamics_layout(eqf_model *model) {
    const eqf__dynamics_kind *kind = eqf__dynamics_kind_of(model->options.dynamics.kind);
    model->num_params = kind->layout(&model->options.dynamics, num_dof_of(&model->options), model->slices,
                                     &model->num_slices, &model->num_trained);
}

static eqf_status dynamics_init_params(eqf_context *ctx, eqf_model *model) {
    const eqf__dynamics_kind *kind = eqf__dynamics_kind_of(model->options.dynamics.kind);
    return kind->init_params(ctx, &model->options.dynamics, num_dof_of(&model->options), model->options.seed,
                             model->params);
}

/* ---- Making ----------------------------------------------------------------------------------- */

const eqf_option eqf__model_integrator_options[] = {
    EQF__METHOD_OPTION(eqf_integrator_options),
    EQF__NUM_STEPS_OPTION(eqf_integrator_options),
    EQF__OPTIONS_END,
};

static eqf_status check_species(eqf_context *ctx, const eqf_model_options *options) {
    const eqf_dynamics_kind_info *field = eqf_dynamics_kind_describe(options->dynamics.kind);
    if (eqf_potential_num_b(&options->potential) == 0 || field->has_species) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                     "a %s field cannot tell the two species of the %s potential apart: message and dense fields can",
                     field->name, eqf_potential_kind_describe(options->potential.kind)->name);
}

static eqf_status check_options(eqf_context *ctx, const eqf_model_options *options) {
    const char *end = memchr(options->preset, '\0', sizeof options->preset);
    for (const char *c = options->preset; end != NULL && c < end; c++)
        if ((unsigned char)*c <= 32 || (unsigned char)*c > 126) end = NULL;
    if (end == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "preset of the model must be a name of at most 31 printable ASCII characters without spaces");
    EQF__TRY(eqf_potential_check(ctx, &options->potential));
    EQF__TRY(eqf__prior_check(ctx, options));
    EQF__TRY(EQF__CHECK(ctx, EQF_DYNAMICS_OPTIONS_INIT, eqf_dynamics_options, &options->dynamics));
    EQF__TRY(eqf__dynamics_check(ctx, &options->dynamics));
    EQF__TRY(check_species(ctx, options));
    EQF__TRY(EQF__CHECK(ctx, EQF_INTEGRATOR_OPTIONS_INIT, eqf_integrator_options, &options->integrator));
    return eqf__options_check(ctx, eqf__model_integrator_options, "integrator", &options->integrator);
}

/* Copies the caller's texts, so that the model owns them. */
static eqf_status own_texts(eqf_context *ctx, eqf_model *model) {
    eqf_potential_options *potential = &model->options.potential;
    const char *source = potential->source, *name = potential->source_name;
    const bool is_user = eqf_potential_kind_describe(potential->kind)->has_text;
    potential->source = potential->source_name = NULL;
    if (!is_user) return EQF_OK;
    model->potential_source = eqf__strdup(ctx, source);
    if (model->potential_source == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    potential->source = model->potential_source;
    if (name == NULL) return EQF_OK;
    model->potential_source_name = eqf__strdup(ctx, name);
    potential->source_name = model->potential_source_name;
    return name == NULL || potential->source_name != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

eqf_status eqf__model_allocate(eqf_context *ctx, const eqf_model_options *options, eqf_model **model_out) {
    *model_out = NULL;
    EQF__TRY(check_options(ctx, options));
    eqf_model *model = eqf__alloc(ctx, 1, sizeof *model, "a model");
    if (model == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    model->options = *options;
    model->options.dynamics.num_b = eqf_potential_num_b(&options->potential);
    /* The caller's bytes after the end of the name are not copied. */
    size_t length = strlen(options->preset);
    memset(model->options.preset + length, 0, sizeof model->options.preset - length);
    snprintf(model->version, sizeof model->version, "%s", eqf_version());
    dynamics_layout(model);
    if (own_texts(ctx, model) == EQF_OK)
        model->params = eqf__alloc(ctx, model->num_params, sizeof *model->params, "the parameters");
    if (model->params == NULL) {
        eqf_model_destroy(&model);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    *model_out = model;
    return EQF_OK;
}

eqf_status eqf_model_create(eqf_context *ctx, const eqf_model_options *options, eqf_model **model_out) {
    if (model_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "model_out is NULL");
    *model_out = NULL;
    if (options == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model options are NULL");
    eqf_model_options copy = EQF_MODEL_OPTIONS_INIT;
    EQF__TRY(EQF__READ(ctx, EQF_MODEL_OPTIONS_INIT, options, &copy));
    eqf_model *model;
    EQF__TRY(eqf__model_allocate(ctx, &copy, &model));
    eqf_status status = dynamics_init_params(ctx, model);
    if (status == EQF_OK)
        *model_out = model;
    else
        eqf_model_destroy(&model);
    return status;
}

eqf_status eqf_model_copy(eqf_context *ctx, const eqf_model *model, eqf_model **model_out) {
    if (model_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "model_out is NULL");
    *model_out = NULL;
    if (model == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model is NULL");
    eqf_model *copy;
    EQF__TRY(eqf__model_allocate(ctx, &model->options, &copy));
    memcpy(copy->version, model->version, sizeof copy->version);
    memcpy(copy->params, model->params, model->num_params * sizeof *copy->params);
    copy->rows = eqf__alloc(ctx, model->num_rows, sizeof *copy->rows, "the training history");
    if (copy->rows == NULL) {
        eqf_model_destroy(&copy);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    if (model->num_rows > 0) memcpy(copy->rows, model->rows, model->num_rows * sizeof *copy->rows);
    copy->num_rows = copy->row_capacity = model->num_rows;
    *model_out = copy;
    return EQF_OK;
}

void eqf_model_destroy(eqf_model **model) {
    if (model == NULL || *model == NULL) return;
    free((*model)->params);
    free((*model)->potential_source);
    free((*model)->potential_source_name);
    free((*model)->rows);
    free(*model);
    *model = NULL;
}

/* ---- Looking ---------------------------------------------------------------------------------- */

const eqf_model_options *eqf_model_options_of(const eqf_model *model) {
    return model != NULL ? &model->options : NULL;
}
size_t eqf_model_num_params(const eqf_model *model) {
    return model != NULL ? model->num_params : 0;
}
size_t eqf_model_num_trained(const eqf_model *model) {
    return model != NULL ? model->num_trained : 0;
}
const float *eqf_model_params(const eqf_model *model) {
    return model != NULL ? model->params : NULL;
}
size_t eqf_model_num_slices(const eqf_model *model) {
    return model != NULL ? model->num_slices : 0;
}
const char *eqf_model_version(const eqf_model *model) {
    return model != NULL ? model->version : NULL;
}

const eqf_param_slice *eqf_model_slice(const eqf_model *model, size_t index) {
    return model != NULL && index < model->num_slices ? &model->slices[index] : NULL;
}

const eqf_history_row *eqf_model_history(const eqf_model *model, size_t *num_rows_out) {
    if (num_rows_out != NULL) *num_rows_out = model != NULL ? model->num_rows : 0;
    return model != NULL ? model->rows : NULL;
}

/* ---- Changing --------------------------------------------------------------------------------- */

eqf_status eqf_model_set_params(eqf_context *ctx, eqf_model *model, const float *params) {
    if (model == NULL || params == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model or params is NULL");
    for (size_t s = 0; s < model->num_slices; s++)
        for (size_t n = 0; n < model->slices[s].count; n++)
            if (!isfinite(params[model->slices[s].offset + n]))
                return eqf__fail(ctx, EQF_ERROR_NON_FINITE, "number %zu of %s is %g: the model keeps its parameters", n,
                                 model->slices[s].name, (double)params[model->slices[s].offset + n]);
    memcpy(model->params, params, model->num_params * sizeof *params);
    return EQF_OK;
}

eqf_status eqf_model_set_num_steps(eqf_context *ctx, eqf_model *model, unsigned num_steps) {
    if (model == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model is NULL");
    eqf_integrator_options integrator = model->options.integrator;
    integrator.num_steps = num_steps;
    EQF__TRY(eqf__options_check(ctx, eqf__model_integrator_options, "integrator", &integrator));
    model->options.integrator = integrator;
    return EQF_OK;
}

eqf_status eqf_model_add_history(eqf_context *ctx, eqf_model *model, const eqf_history_row *row) {
    if (model == NULL || row == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model or row is NULL");
    EQF__TRY(EQF__CHECK(ctx, EQF_HISTORY_ROW_INIT, eqf_history_row, row));
    if (row->step > INT64_MAX)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "step of the history row is above 2^63 - 1, JSON's largest integer");
    if (model->num_rows == model->row_capacity) {
        size_t capacity = model->row_capacity == 0 ? 64 : 2 * model->row_capacity;
        eqf_history_row *rows = NULL;
        if (capacity <= SIZE_MAX / sizeof *rows) rows = realloc(model->rows, capacity * sizeof *rows);
        if (rows == NULL)
            return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for %zu rows of training history",
                             capacity);
        model->rows = rows;
        model->row_capacity = capacity;
    }
    model->rows[model->num_rows++] = *row;
    return EQF_OK;
}
