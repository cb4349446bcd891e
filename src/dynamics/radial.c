/* The radial field on the host: its kernels, and the forms that integrators use. Equations: cl/dynamics/radial.clh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"
#include "radial_internal.h"
#include "radial_params.h"

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

/* Releases the buffers whose sizes depend on the table's resolution. */
static void release_resolution(eqf__radial_state *state) {
    eqf__radial_release_gradient_parts(state);
    cl_mem *buffers[] = {&state->d_basis,       &state->d_bands,        &state->d_values, &state->d_check_basis,
                         &state->d_check_bands, &state->d_check_values, &state->d_cells,  &state->d_errors};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&state->time,  &state->shared, &state->basis, &state->points,
                              &state->cells, &state->pieces, &state->check};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
}

static void radial_destroy(eqf__field *field) {
    eqf__radial_state *state = field->state;
    if (state == NULL) return;
    release_resolution(state);
    eqf__buffer_destroy(&state->d_time_basis);
    eqf__buffer_destroy(&state->d_time_gradients);
    eqf__buffer_destroy(&state->d_coefficients);
    eqf__buffer_destroy(&state->d_gaussians);
    eqf__buffer_destroy(&state->d_geometry);
    eqf__buffer_destroy(&state->any_time.d_constants);
    eqf__buffer_destroy(&state->d_any_time_sums);
    eqf__kernel_destroy(&state->any_time_constants);
    eqf__kernel_destroy(&state->any_time_contract);
    eqf__kernel_destroy(&state->any_time_sum);
    free(state);
    field->state = NULL;
}

eqf_status eqf__radial_program(eqf__field *field, const char *name, const char *const *files,
                               eqf__program **program_out) {
    eqf__radial_state *state = field->state;
    char defines[320], full_name[64];
    eqf__real_defines(&state->real, defines, sizeof defines);
    const size_t length = strlen(defines);
    snprintf(full_name, sizeof full_name, "%s%s", name, state->real.suffix);
    snprintf(defines + length, sizeof defines - length,
             "-D N=%u -D D=%u -D K=%u -D M=%u -D STAGE_SIZE=%zu -D K_PADDED=%zu -D K_AT_ONCE=%u%s",
             field->num_particles, field->space_dim, field->options.num_distance, field->options.num_time,
             state->row_size, state->widths_padded, state->k_at_once, state->num_kinds > 1 ? " -D PAIR_KINDS=3" : "");
    return eqf__program_get(field->ctx, full_name, files, defines, program_out);
}

/* ---- Forms ------------------------------------------------------------------------------------------------------- */

/* Files, sizes and defines of the stage and the group form. */
static void describe_forms(eqf__field *field, bool has_table) {
    eqf__radial_state *state = field->state;
    eqf__stage_form *form = &state->stage;
    eqf__group_form *group = &state->group;
    form->grad_stage_size = eqf__radial_round_up(state->stage_size, 16);
    form->grad_shared_size = state->widths_padded;
    size_t f = 0;
    form->files[f++] = has_table ? "dynamics/radial_table.clh" : "dynamics/radial.clh";
    form->files[f] = NULL;
    f = 0;
    group->files[f++] = form->files[0];
    group->files[f++] = has_table ? "dynamics/radial_group_table.clh" : "dynamics/radial_group_direct.clh";
    group->files[f++] = "dynamics/radial_group.clh";
    group->files[f] = NULL;
    group->table_size = has_table ? state->stage_size : 0;
    snprintf(form->defines, sizeof form->defines,
             "-D N=%u -D D=%u -D K=%u -D STAGE_SIZE=%zu -D GRAD_STAGE_SIZE=%zu -D GRAD_SHARED_SIZE=%zu",
             field->num_particles, field->space_dim, has_table ? 0 : field->options.num_distance, state->stage_size,
             form->grad_stage_size, form->grad_shared_size);
    const size_t length = strlen(form->defines);
    if (state->num_kinds > 1)
        snprintf(form->defines + length, sizeof form->defines - length, " -D FIRST_B=%u -D ROW_SIZE=%zu",
                 field->num_particles - field->options.num_b, state->row_size);
    form->leaves_zero = has_table;
    form->turns = eqf__radial_stage_turns(field);
    form->cheaper = has_table ? "" : ", or EQF_FIELD_TABLE";
}

static eqf_status create_table_buffers(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    const size_t num_distance = field->options.num_distance, num_rows = eqf__radial_num_rows(field);
    const size_t points_padded = state->num_point_blocks * state->real.vector_width;
    const size_t basis_bytes = points_padded * num_distance * 2 * sizeof(float);
    const size_t bands_bytes = state->num_point_blocks * 2 * sizeof(cl_uint);
    const size_t values_bytes = num_rows * 2 * points_padded * sizeof(float);
    EQF__TRY(eqf__buffer_create(ctx, basis_bytes, NULL, "the radial basis", &state->d_basis));
    /* The check has one point for each cell: half as many. */
    EQF__TRY(eqf__buffer_create(ctx, basis_bytes, NULL, "the radial basis", &state->d_check_basis));
    EQF__TRY(eqf__buffer_create(ctx, bands_bytes, NULL, "the radial basis", &state->d_bands));
    EQF__TRY(eqf__buffer_create(ctx, bands_bytes, NULL, "the radial basis", &state->d_check_bands));
    EQF__TRY(eqf__buffer_create(ctx, values_bytes, NULL, "the field's points", &state->d_values));
    EQF__TRY(eqf__buffer_create(ctx, values_bytes, NULL, "the field's points", &state->d_check_values));
    EQF__TRY(eqf__buffer_create(ctx, num_rows * state->row_size * sizeof(float), NULL, "the field's table",
                                &state->d_cells));
    return eqf__buffer_create(ctx, num_rows * sizeof(float), NULL, "the table's errors", &state->d_errors);
}

eqf_status eqf__radial_set_table(eqf__field *field, eqf_field_evaluation evaluation, unsigned num_fine) {
    eqf__radial_state *state = field->state;
    eqf__stage_form *form = &state->stage;
    const bool has_table = evaluation == EQF_FIELD_TABLE;
    release_resolution(state);
    form->d_stages = form->d_shared = NULL;
    field->evaluation = evaluation;
    field->resolution = evaluation == EQF_FIELD_TABLE ? num_fine : 0;
    state->num_fine = num_fine;
    state->num_coarse = num_fine / 2;
    state->num_cells = state->num_fine + state->num_coarse + 1;
    state->num_cell_blocks = (state->num_cells + state->real.vector_width - 1) / state->real.vector_width;
    state->num_point_blocks =
        (2 * state->num_cells + state->real.vector_width - 2) / state->real.vector_width; /* 2 cells - 1 */
    state->row_size = has_table ? eqf__radial_round_up(4 * state->num_cells, 16) : field->options.num_distance + 1;
    state->stage_size = state->num_kinds * state->row_size;
    state->widths_padded = eqf__radial_round_up(field->options.num_distance, 16);
    describe_forms(field, has_table);
    EQF__TRY(eqf__radial_create_stage_kernels(field));
    if (has_table) EQF__TRY(create_table_buffers(field));
    form->d_stages = has_table ? state->d_cells : state->d_coefficients;
    form->d_shared = has_table ? state->d_geometry : state->d_gaussians;
    return state->has_gradient ? eqf__radial_create_gradient_parts(field) : EQF_OK;
}

static eqf_status radial_set_resolution(eqf__field *field, unsigned resolution) {
    if (resolution == 0) return eqf__radial_set_table(field, EQF_FIELD_DIRECT, EQF__RADIAL_LOWEST_NUM_FINE);
    if (resolution < EQF__RADIAL_LOWEST_NUM_FINE || resolution > EQF__RADIAL_LAST_NUM_FINE)
        return eqf__fail(field->ctx, EQF_ERROR_FORMAT, "a table of %u cells is not one this version makes", resolution);
    return eqf__radial_set_table(field, EQF_FIELD_TABLE, resolution);
}

/* The stage data and the forms that use them; the any-time form does not need them. */
static eqf_status create_stages(eqf__field *field, const eqf__device *device) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    const size_t num_distance = field->options.num_distance, num_stages = field->num_stages, size = state->real.size;
    const size_t num_times = num_stages * field->options.num_time;
    EQF__TRY(eqf__buffer_create(ctx, num_times * size, NULL, "the time basis", &state->d_time_basis));
    EQF__TRY(eqf__buffer_create(ctx, num_times * size, NULL, "the time gradients", &state->d_time_gradients));
    /* with 16 numbers more, as radial_contract_widths reads beyond the last row */
    EQF__TRY(eqf__buffer_create(ctx, (eqf__radial_num_rows(field) * (num_distance + 1) + 16) * size, NULL,
                                "the stage coefficients", &state->d_coefficients));
    EQF__TRY(eqf__buffer_create(ctx, 2 * num_distance * size, NULL, "the Gaussians", &state->d_gaussians));
    EQF__TRY(eqf__buffer_create(ctx, 8 * size, NULL, "the table's geometry", &state->d_geometry));
    state->stage.prepare_gradient = eqf__radial_prepare_gradient;
    state->stage.contract = eqf__radial_contract;
    state->group.local_size = eqf__radial_group_local_size;
    state->group.turns = eqf__radial_group_turns;
    field->stage = &state->stage;
    if (!eqf__is_double(&state->real) && state->num_kinds == 1) field->group = &state->group;
    return eqf__radial_set_table(field, field->evaluation, device->table_cells);
}

static eqf_status radial_create(eqf__field *field, const eqf__field_needs *needs) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(field->ctx, &device));
    eqf__radial_state *state = eqf__alloc(field->ctx, 1, sizeof *state, "the radial field");
    if (state == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->state = state;
    state->real = needs->real;
    state->num_kinds = eqf__radial_num_kinds(&field->options);
    if (state->num_kinds > 1 && needs->form == EQF__FORM_ANY_TIME)
        return eqf__fail(field->ctx, EQF_ERROR_UNSUPPORTED,
                         "a radial field with two species knows stages only: use EQF_INTEGRATOR_RK4");
    state->k_at_once = device->vector_width > 1 ? 4 : 1;
    /* tables have only the accuracy of float32 */
    if (eqf__is_double(&state->real)) field->evaluation = EQF_FIELD_DIRECT;
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    field->num_params = eqf__radial_layout(&field->options, slices, &field->num_trained);
    EQF__TRY(
        eqf__buffer_create(field->ctx, field->num_params * state->real.size, NULL, "the parameters", &field->d_params));
    return needs->form == EQF__FORM_ANY_TIME ? eqf__radial_open_any_time(field) : create_stages(field, device);
}

static eqf_status radial_prepare(eqf__field *field, bool check) {
    return field->any_time != NULL ? eqf__radial_prepare_any_time(field) : eqf__radial_prepare_stages(field, check);
}

static size_t layout(const eqf_dynamics_options *options, size_t num_dof, eqf_param_slice *slices_out,
                     size_t *num_slices_out, size_t *num_trained_out) {
    (void)num_dof; /* the parameters do not depend on the number of particles */
    *num_slices_out = EQF__RADIAL_NUM_SLICES;
    return eqf__radial_layout(options, slices_out, num_trained_out);
}

static eqf_status init_params(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof, uint64_t seed,
                              float *params_out) {
    (void)num_dof;
    return eqf__radial_init_params(ctx, options, seed, params_out);
}

/* All distances are within the Gaussians' reach. With many particles the parameters are smaller, as the terms of a
 * velocity add up. */
static bool problem(const eqf_dynamics_options *options, unsigned num_particles, unsigned space_dim,
                    bool has_step_control, eqf__field_problem *problem_out) {
    (void)space_dim;
    problem_out->side = 0.3 * options->distance_max;
    problem_out->share = fmin(1, 4.0 / num_particles) * (has_step_control ? 0.5 : 1);
    problem_out->num_weights = (size_t)eqf__radial_num_kinds(options) * options->num_distance * options->num_time;
    return options->num_distance <= EQF__REFERENCE_MAX_GAUSSIANS && options->num_time <= EQF__REFERENCE_MAX_GAUSSIANS;
}

const eqf__dynamics_kind eqf__radial_kind = {
    .info = EQF__DYNAMICS_INFO(.name = "radial", .title = "the paper's", .is_equivariant = true, .has_table = true,
                               .has_double = true, .has_species = true, EQF__EXACT_STEPS),
    .forms = EQF__FORM_STAGE | EQF__FORM_GROUP | EQF__FORM_ANY_TIME,
    .host_velocity = eqf__host_radial_velocity,
    .problem = problem,
    .options = eqf__radial_options,
    .check = eqf__radial_check,
    .layout = layout,
    .init_params = init_params,
    .create = radial_create,
    .destroy = radial_destroy,
    .prepare = radial_prepare,
    .set_resolution = radial_set_resolution,
};
