#include "field.h"

#include <stdlib.h>
#include <string.h>

eqf_status eqf__field_create(eqf_context *ctx, unsigned num_particles, unsigned space_dim,
                             const eqf_dynamics_options *options, unsigned num_stages, eqf_field_evaluation evaluation,
                             eqf_divergence divergence, eqf__field **field_out) {
    *field_out = NULL;
    eqf__field *field = eqf__alloc(ctx, 1, sizeof *field, "the field");
    if (field == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->ctx = ctx;
    field->num_particles = num_particles;
    field->space_dim = space_dim;
    field->num_stages = num_stages;
    field->options = *options;
    field->evaluation = evaluation;
    field->divergence = divergence;
    field->table_tolerance = EQF__TABLE_TOLERANCE;
    eqf_status status = EQF_ERROR_UNSUPPORTED;
    if (options->kind == EQF_DYNAMICS_RADIAL && divergence != EQF_DIVERGENCE_EXACT) {
        free(field);
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "a radial field has its divergence in closed form and no estimate of it: leave --divergence at exact");
    }
    switch (options->kind) {
        case EQF_DYNAMICS_RADIAL: status = eqf__radial_field_create(field); break;
        case EQF_DYNAMICS_DENSE: status = eqf__dense_field_create(field); break;
    }
    if (status != EQF_OK) {
        eqf__field_destroy(&field);
        return status;
    }
    *field_out = field;
    return EQF_OK;
}

void eqf__field_destroy(eqf__field **field) {
    if (*field == NULL) return;
    if ((*field)->destroy != NULL) (*field)->destroy(*field);
    free(*field);
    *field = NULL;
}

eqf_status eqf__field_set_params(eqf__field *field, const float *params, bool *has_changed_out) {
    char defines[sizeof field->defines];
    memcpy(defines, field->defines, sizeof defines);
    EQF__TRY(eqf__buffer_write(field->ctx, field->d_params, 0, field->num_params * sizeof *params, params));
    EQF__TRY(field->prepare(field, true));
    *has_changed_out = strcmp(defines, field->defines) != 0;
    return EQF_OK;
}
