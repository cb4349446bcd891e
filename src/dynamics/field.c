#include "field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"

eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, const eqf__field_needs *needs,
                             eqf__field **field_out) {
    *field_out = NULL;
    const eqf__dynamics_kind *kind = eqf__dynamics_kind_of(options->kind);
    if (kind == NULL)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "kind of the dynamics is %u: there is no such kind",
                         (unsigned)options->kind);
    if (needs->divergence != EQF_DIVERGENCE_EXACT && !kind->info.has_estimates)
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "a %s field has its divergence in closed form and no estimate of it: use EQF_DIVERGENCE_EXACT",
            kind->info.name);
    if (eqf__is_double(&needs->real) && !kind->info.has_double)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "a %s field has no double precision: use EQF_PRECISION_FLOAT",
                         kind->info.name);
    eqf__field *field = eqf__alloc(ctx, 1, sizeof *field, "the field");
    if (field == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->ctx = ctx;
    field->kind = kind;
    field->num_particles = num_particles;
    field->space_dim = space_dim;
    field->num_stages = needs->num_stages;
    field->options = *options;
    field->evaluation = needs->evaluation;
    field->divergence = needs->divergence;
    field->real = needs->real;
    field->table_tolerance = EQF__TABLE_TOLERANCE;
    const eqf_status status = kind->create(field, needs);
    if (status != EQF_OK) {
        eqf__field_destroy(&field);
        return status;
    }
    *field_out = field;
    return EQF_OK;
}

void eqf__field_destroy(eqf__field **field) {
    if (*field == NULL) return;
    (*field)->kind->destroy(*field);
    eqf__buffer_destroy(&(*field)->d_params);
    free(*field);
    *field = NULL;
}

static eqf_status write_wide(eqf__field *field, const float *params) {
    double *wide = eqf__alloc(field->ctx, field->num_params, sizeof *wide, "the parameters");
    if (wide == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < field->num_params; i++) wide[i] = (double)params[i];
    const eqf_status status =
        eqf__buffer_write(field->ctx, field->d_params, 0, field->num_params * sizeof *wide, wide);
    free(wide);
    return status;
}

static eqf_status prepare(eqf__field *field, bool check) {
    return field->kind->prepare != NULL ? field->kind->prepare(field, check) : EQF_OK;
}

eqf_status eqf__field_set_params(eqf__field *field, const float *params, bool *has_changed_out) {
    char defines[sizeof field->stage->defines] = "";
    for (size_t i = 0; i < field->num_params; i++)
        if (!isfinite(params[i]))
            return eqf__fail(field->ctx, EQF_ERROR_NON_FINITE, "the field's parameters are not finite");
    if (field->stage != NULL) memcpy(defines, field->stage->defines, sizeof defines);
    if (eqf__is_double(&field->real))
        EQF__TRY(write_wide(field, params));
    else
        EQF__TRY(eqf__buffer_write(field->ctx, field->d_params, 0, field->num_params * sizeof *params, params));
    EQF__TRY(prepare(field, true));
    *has_changed_out = field->stage != NULL && strcmp(defines, field->stage->defines) != 0;
    return EQF_OK;
}

eqf_status eqf__field_prepare(eqf__field *field, bool check) {
    return prepare(field, check);
}

eqf_status eqf__field_set_resolution(eqf__field *field, unsigned resolution) {
    if (field->kind->set_resolution != NULL) return field->kind->set_resolution(field, resolution);
    if (resolution == 0) return EQF_OK;
    return eqf__fail(field->ctx, EQF_ERROR_FORMAT, "a %s field has no table, of %u cells or other",
                     field->kind->info.name, resolution);
}
