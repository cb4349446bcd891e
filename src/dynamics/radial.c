/* The radial field's host side: stage coefficients, the interpolation table and its resolution, parameter gradients.
 * Equations: cl/dynamics/radial_stages.cl. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "radial_params.h"

/* Table resolution: doubled from the profile's first until the error is small; beyond the last, Gaussians are summed directly. */
#define LOWEST_NUM_FINE 256u
#define LAST_NUM_FINE 4096u
/* Differences above this are the table's, whatever a doubling does. */
#define LARGEST_ROUNDING 4e-5
/* Where a parabola through the slopes at both ends and the middle errs most: (3 - sqrt 3)/6 of the cell. */
#define CHECK_FRACTION 0.21132487f

typedef struct radial_state {
    unsigned num_fine, num_coarse, vector_width;
    unsigned
        k_at_once; /* Gaussians that one work-item contracts: all where it has vectors, else 1, scalar devices having many items */
    size_t num_cells, num_cell_blocks, num_point_blocks, stage_size, widths_padded;
    bool has_gradient;
    cl_mem d_time_basis, d_coefficients, d_gaussians, d_geometry;
    cl_mem d_basis, d_values, d_check_basis, d_check_values, d_cells, d_errors;
    cl_mem d_stage_sums, d_point_gradients, d_is_active, d_grad_coefficients, d_partial_widths, d_width_sums,
        d_time_gradients, d_any_time_sums;
    eqf__kernel time, shared, basis, points, cells, check;
    eqf__kernel sum, point_gradients, contract_coefficients, contract_widths, time_gradients, gradient;
    eqf__kernel any_time_constants, any_time_contract, any_time_sum;
} radial_state;

static size_t round_up(size_t count, size_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------- */

static void release_gradient_parts(radial_state *state) {
    cl_mem *buffers[] = {&state->d_stage_sums,        &state->d_point_gradients, &state->d_is_active,
                         &state->d_grad_coefficients, &state->d_partial_widths,  &state->d_width_sums};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&state->sum,
                              &state->point_gradients,
                              &state->contract_coefficients,
                              &state->contract_widths,
                              &state->time_gradients,
                              &state->gradient};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
}

/* What depends on the table's resolution. */
static void release_resolution(radial_state *state) {
    release_gradient_parts(state);
    cl_mem *buffers[] = {&state->d_basis,        &state->d_values, &state->d_check_basis,
                         &state->d_check_values, &state->d_cells,  &state->d_errors};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&state->time,   &state->shared, &state->basis,
                              &state->points, &state->cells,  &state->check};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
}

static void radial_destroy(eqf__field *field) {
    radial_state *state = field->state;
    if (state == NULL) return;
    release_resolution(state);
    eqf__buffer_destroy(&state->d_time_basis);
    eqf__buffer_destroy(&state->d_time_gradients);
    eqf__buffer_destroy(&state->d_coefficients);
    eqf__buffer_destroy(&state->d_gaussians);
    eqf__buffer_destroy(&state->d_geometry);
    eqf__buffer_destroy(&field->d_params);
    eqf__buffer_destroy(&field->d_constants);
    eqf__buffer_destroy(&state->d_any_time_sums);
    eqf__kernel_destroy(&state->any_time_constants);
    eqf__kernel_destroy(&state->any_time_contract);
    eqf__kernel_destroy(&state->any_time_sum);
    free(state);
    field->state = NULL;
}

static eqf_status get_program(eqf__field *field, const char *name, const char *const *files,
                              eqf__program **program_out) {
    radial_state *state = field->state;
    char defines[256];
    snprintf(defines, sizeof defines,
             "-D N=%u -D D=%u -D K=%u -D M=%u -D STAGE_SIZE=%zu -D K_PADDED=%zu -D K_AT_ONCE=%u", field->num_particles,
             field->space_dim, field->options.num_distance, field->options.num_time, state->stage_size,
             state->widths_padded, state->k_at_once);
    return eqf__program_get(field->ctx, name, files, defines, program_out);
}

static eqf_status create_kernels(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    static const char *const files[] = {"common/real.clh", "dynamics/radial_params.clh", "dynamics/radial_stages.cl",
                                        NULL};
    eqf__program *program;
    EQF__TRY(get_program(field, "radial_stages", files, &program));
    field->stage_program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_time", &state->time));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_shared", &state->shared));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_basis", &state->basis));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_points", &state->points));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_cells", &state->cells));
    return eqf__kernel_create(ctx, program, "radial_check", &state->check);
}

/* What only training needs: its program is built and its memory taken at the first gradient. */
static eqf_status create_gradient_parts(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    static const char *const files[] = {"common/real.clh", "common/sum.cl", "dynamics/radial_params.clh",
                                        "dynamics/radial_gradients.cl", NULL};
    const size_t num_stages = field->num_stages, num_distance = field->options.num_distance;
    const size_t points_padded = state->num_point_blocks * state->vector_width;
    eqf__program *program;
    EQF__TRY(get_program(field, "radial_gradients", files, &program));
    field->gradient_program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "sum_partials", &state->sum));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_point_gradients", &state->point_gradients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_contract_coefficients", &state->contract_coefficients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_contract_widths", &state->contract_widths));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_time_gradients", &state->time_gradients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_gradient", &state->gradient));
    EQF__TRY(eqf__buffer_create(ctx, num_stages * field->grad_stage_size * sizeof(float), NULL, "the stage gradients",
                                &state->d_stage_sums));
    EQF__TRY(eqf__buffer_create(ctx, num_stages * (num_distance + 1) * sizeof(float), NULL, "the coefficient gradients",
                                &state->d_grad_coefficients));
    EQF__TRY(eqf__buffer_create(ctx, state->widths_padded * sizeof(float), NULL, "the width gradients",
                                &state->d_width_sums));
    if (field->evaluation == EQF_FIELD_DIRECT) return EQF_OK;
    EQF__TRY(eqf__buffer_create(ctx, num_stages * 2 * points_padded * sizeof(float), NULL, "the point gradients",
                                &state->d_point_gradients));
    EQF__TRY(eqf__buffer_create(ctx, num_stages * state->num_point_blocks * sizeof(cl_uint), NULL,
                                "the point gradients", &state->d_is_active));
    return eqf__buffer_create(ctx, state->num_point_blocks * state->widths_padded * sizeof(float), NULL,
                              "the width gradients", &state->d_partial_widths);
}

/* Sizes, buffers, kernels and the integrator's defines for a table of num_fine cells, or for direct summation. */
static eqf_status set_resolution(eqf__field *field, eqf_field_evaluation evaluation, unsigned num_fine) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    const bool has_table = evaluation == EQF_FIELD_TABLE;
    const size_t num_distance = field->options.num_distance, num_stages = field->num_stages;
    release_resolution(state);
    field->d_stages = field->d_shared = NULL;
    field->evaluation = evaluation;
    field->resolution = evaluation == EQF_FIELD_TABLE ? num_fine : 0;
    state->num_fine = num_fine;
    state->num_coarse = num_fine / 2;
    state->num_cells = state->num_fine + state->num_coarse + 1;
    state->num_cell_blocks = (state->num_cells + state->vector_width - 1) / state->vector_width;
    state->num_point_blocks = (2 * state->num_cells + state->vector_width - 2) / state->vector_width; /* 2 cells - 1 */
    state->stage_size = has_table ? round_up(4 * state->num_cells, 16) : num_distance + 1;
    state->widths_padded = round_up(num_distance, 16);
    field->grad_stage_size = round_up(state->stage_size, 16);
    field->grad_shared_size = state->widths_padded;
    size_t f = 0;
    field->files[f++] = has_table ? "dynamics/radial_table.clh" : "dynamics/radial.clh";
    field->files[f] = NULL;
    f = 0;
    field->group_files[f++] = field->files[0];
    field->group_files[f++] = has_table ? "dynamics/radial_group_table.clh" : "dynamics/radial_group_direct.clh";
    field->group_files[f++] = "dynamics/radial_group.clh";
    field->group_files[f] = NULL;
    field->group_table_size = has_table ? state->stage_size : 0;
    snprintf(field->defines, sizeof field->defines,
             "-D N=%u -D D=%u -D K=%u -D STAGE_SIZE=%zu -D GRAD_STAGE_SIZE=%zu -D GRAD_SHARED_SIZE=%zu",
             field->num_particles, field->space_dim, has_table ? 0 : field->options.num_distance, state->stage_size,
             field->grad_stage_size, field->grad_shared_size);
    EQF__TRY(create_kernels(field));
    const size_t points_padded = state->num_point_blocks * state->vector_width;
    if (has_table) {
        size_t basis_bytes = points_padded * num_distance * 2 * sizeof(float);
        size_t values_bytes = num_stages * 2 * points_padded * sizeof(float);
        EQF__TRY(eqf__buffer_create(ctx, basis_bytes, NULL, "the radial basis", &state->d_basis));
        /* The check's points are one a cell: half as many. */
        EQF__TRY(eqf__buffer_create(ctx, basis_bytes, NULL, "the radial basis", &state->d_check_basis));
        EQF__TRY(eqf__buffer_create(ctx, values_bytes, NULL, "the field's points", &state->d_values));
        EQF__TRY(eqf__buffer_create(ctx, values_bytes, NULL, "the field's points", &state->d_check_values));
        EQF__TRY(eqf__buffer_create(ctx, num_stages * state->stage_size * sizeof(float), NULL, "the field's table",
                                    &state->d_cells));
        EQF__TRY(eqf__buffer_create(ctx, num_stages * sizeof(float), NULL, "the table's errors", &state->d_errors));
    }
    field->d_stages = has_table ? state->d_cells : state->d_coefficients;
    field->d_shared = has_table ? state->d_geometry : state->d_gaussians;
    return state->has_gradient ? create_gradient_parts(field) : EQF_OK;
}

static eqf_status restore_resolution(eqf__field *field, unsigned resolution) {
    if (resolution == 0) return set_resolution(field, EQF_FIELD_DIRECT, LOWEST_NUM_FINE);
    if (resolution < LOWEST_NUM_FINE || resolution > LAST_NUM_FINE)
        return eqf__fail(field->ctx, EQF_ERROR_FORMAT, "a table of %u cells is not one this version makes", resolution);
    return set_resolution(field, EQF_FIELD_TABLE, resolution);
}

/* ---- Parameters -> stage data ------------------------------------------------------------------------------------------ */

/* Fine cells reach beyond the last narrow Gaussian, where the normaliser gives out steeply; the authors' dense core has wide ones outside.
 * 8 significant bits, so that cell widths have no more and index * width is exact on the device. */
static double fine_range(const eqf_dynamics_options *options) {
    double range = options->layout == EQF_RADIAL_DENSE_CORE ? 0.5 * options->distance_max : 1.5 * options->distance_max;
    int exponent;
    double fraction = frexp(range, &exponent);
    return ldexp(ceil(fraction * 256.0), exponent - 8);
}

static eqf_status build_stages(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    cl_uint num_stages = field->num_stages, num_point_blocks = (cl_uint)state->num_point_blocks;
    cl_uint num_fine = state->num_fine, num_coarse = state->num_coarse, points_per_cell = 2;
    cl_uint num_cell_blocks = (cl_uint)state->num_cell_blocks;
    cl_float d_fine = (cl_float)fine_range(&field->options), fraction = 0;
    EQF__TRY(EQF__LAUNCH(ctx, &state->time, num_stages, 0, EQF__ARG(field->d_params), EQF__ARG(state->d_time_basis),
                         EQF__ARG(state->d_coefficients), EQF__ARG(num_stages)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->shared, 1, 0, EQF__ARG(field->d_params), EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(d_fine), EQF__ARG(num_fine), EQF__ARG(num_coarse)));
    if (field->d_constants != NULL)
        EQF__TRY(EQF__LAUNCH(ctx, &state->any_time_constants, field->options.num_distance + field->options.num_time, 0,
                             EQF__ARG(field->d_params), EQF__ARG(field->d_constants)));
    if (field->evaluation == EQF_FIELD_DIRECT) return EQF_OK;
    EQF__TRY(EQF__LAUNCH(ctx, &state->basis, eqf__stride(ctx, num_point_blocks), 0, EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_basis), EQF__ARG(points_per_cell),
                         EQF__ARG(fraction), EQF__ARG(num_point_blocks)));
    size_t stage_tiles = (num_stages + 3) / 4; /* STAGES_AT_ONCE */
    EQF__TRY(EQF__LAUNCH(ctx, &state->points, eqf__stride(ctx, stage_tiles * num_point_blocks), 0,
                         EQF__ARG(state->d_coefficients), EQF__ARG(state->d_basis), EQF__ARG(state->d_values),
                         EQF__ARG(num_stages), EQF__ARG(num_point_blocks)));
    return EQF__LAUNCH(ctx, &state->cells, eqf__stride(ctx, (size_t)num_stages * num_cell_blocks), 0,
                       EQF__ARG(state->d_values), EQF__ARG(state->d_geometry), EQF__ARG(state->d_cells),
                       EQF__ARG(num_stages), EQF__ARG(num_cell_blocks), EQF__ARG(num_point_blocks));
}

/* The table's largest relative error (radial_check); NaN if the parameters give NaN. */
static eqf_status measure_error(eqf__field *field, double *error_out) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    cl_uint num_stages = field->num_stages, num_cell_blocks = (cl_uint)state->num_cell_blocks, points_per_cell = 1;
    cl_float fraction = CHECK_FRACTION;
    EQF__TRY(EQF__LAUNCH(ctx, &state->basis, eqf__stride(ctx, num_cell_blocks), 0, EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_check_basis), EQF__ARG(points_per_cell),
                         EQF__ARG(fraction), EQF__ARG(num_cell_blocks)));
    size_t stage_tiles = (num_stages + 3) / 4;
    EQF__TRY(EQF__LAUNCH(ctx, &state->points, eqf__stride(ctx, stage_tiles * num_cell_blocks), 0,
                         EQF__ARG(state->d_coefficients), EQF__ARG(state->d_check_basis),
                         EQF__ARG(state->d_check_values), EQF__ARG(num_stages), EQF__ARG(num_cell_blocks)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->check, num_stages, 0, EQF__ARG(state->d_check_values),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_cells), EQF__ARG(state->d_errors),
                         EQF__ARG(fraction), EQF__ARG(num_stages), EQF__ARG(num_cell_blocks)));
    float *errors = eqf__alloc(ctx, num_stages, sizeof *errors, "the table's errors");
    if (errors == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, state->d_errors, 0, num_stages * sizeof *errors, errors);
    double worst = 0;
    for (size_t j = 0; j < num_stages && status == EQF_OK; j++)
        if (!(errors[j] <= worst)) worst = errors[j];
    free(errors);
    *error_out = worst;
    return status;
}

/* Doubles the resolution while that helps. A doubling divides the table's own error by eight; once it no longer halves the difference, what
 * is left is the rounding of the direct sums that it is measured against. */
static eqf_status radial_prepare(eqf__field *field, bool check) {
    radial_state *state = field->state;
    double error_before = INFINITY;
    for (;;) {
        EQF__TRY(build_stages(field));
        if (!check || field->evaluation == EQF_FIELD_DIRECT) return EQF_OK;
        double error;
        EQF__TRY(measure_error(field, &error));
        if (!isfinite(error))
            return eqf__fail(field->ctx, EQF_ERROR_NON_FINITE, "the field's parameters give non-finite velocities");
        eqf__log(field->ctx, EQF_LOG_DEBUG, "table of %u + %u cells: relative error %.2g", state->num_fine,
                 state->num_coarse, error);
        if (error <= field->table_tolerance) return EQF_OK;
        const bool is_last = state->num_fine >= LAST_NUM_FINE;
        if (error < LARGEST_ROUNDING && (is_last || error > 0.5 * error_before)) return EQF_OK;
        if (!is_last) {
            error_before = error;
            EQF__TRY(set_resolution(field, EQF_FIELD_TABLE, 2 * state->num_fine));
        } else {
            eqf__log(
                field->ctx, EQF_LOG_WARNING,
                "the field's Gaussians are too narrow for a table (error %.2g with %u cells): summing them directly, "
                "which is slower",
                error, state->num_fine);
            EQF__TRY(set_resolution(field, EQF_FIELD_DIRECT, state->num_fine));
        }
    }
}

/* ---- Gradients --------------------------------------------------------------------------------------------------------- */

static eqf_status sum_partials(eqf__field *field, cl_mem d_partials, cl_mem d_sum, size_t num_partials, size_t num) {
    radial_state *state = field->state;
    cl_uint partials = (cl_uint)num_partials, numbers = (cl_uint)num;
    return EQF__LAUNCH(field->ctx, &state->sum, eqf__stride(field->ctx, num / state->vector_width), 0,
                       EQF__ARG(d_partials), EQF__ARG(d_sum), EQF__ARG(partials), EQF__ARG(numbers));
}

static eqf_status contract_table(eqf__field *field, cl_mem d_grad_stages, size_t num_partials) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    cl_uint num_stages = field->num_stages, num_point_blocks = (cl_uint)state->num_point_blocks;
    const size_t stage_tiles = (num_stages + 3) / 4; /* STAGES_AT_ONCE */
    const size_t k_tiles = (field->options.num_distance + state->k_at_once) / state->k_at_once;
    EQF__TRY(
        sum_partials(field, d_grad_stages, state->d_stage_sums, num_partials, num_stages * field->grad_stage_size));
    EQF__TRY(EQF__LAUNCH(ctx, &state->point_gradients, eqf__stride(ctx, (size_t)num_stages * num_point_blocks), 0,
                         EQF__ARG(state->d_stage_sums), EQF__ARG(state->d_geometry), EQF__ARG(state->d_point_gradients),
                         EQF__ARG(state->d_is_active), EQF__ARG(num_stages), EQF__ARG(num_point_blocks)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->contract_coefficients, stage_tiles * k_tiles, 0,
                         EQF__ARG(state->d_point_gradients), EQF__ARG(state->d_is_active), EQF__ARG(state->d_basis),
                         EQF__ARG(state->d_grad_coefficients), EQF__ARG(num_stages), EQF__ARG(num_point_blocks)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->contract_widths, num_point_blocks, 0, EQF__ARG(state->d_point_gradients),
                         EQF__ARG(state->d_is_active), EQF__ARG(state->d_coefficients), EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_partial_widths), EQF__ARG(num_stages),
                         EQF__ARG(num_point_blocks)));
    return sum_partials(field, state->d_partial_widths, state->d_width_sums, num_point_blocks, state->widths_padded);
}

static eqf_status contract_direct(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials) {
    radial_state *state = field->state;
    EQF__TRY(sum_partials(field, d_grad_stages, state->d_stage_sums, num_partials,
                          field->num_stages * field->grad_stage_size));
    /* Rows of grad_stage_size to rows of K + 1. */
    EQF__TRY(eqf__buffer_copy_rows(field->ctx, state->d_stage_sums, field->grad_stage_size * sizeof(float),
                                   state->d_grad_coefficients, (field->options.num_distance + 1) * sizeof(float),
                                   field->num_stages));
    return sum_partials(field, d_grad_shared, state->d_width_sums, num_partials, state->widths_padded);
}

static eqf_status radial_prepare_gradient(eqf__field *field) {
    radial_state *state = field->state;
    if (state->has_gradient) return EQF_OK;
    eqf_status status = create_gradient_parts(field);
    if (status != EQF_OK) /* out of memory: a smaller batch may try again */
        release_gradient_parts(state);
    else
        state->has_gradient = true;
    return status;
}

static eqf_status radial_contract(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                                  cl_mem d_gradient) {
    radial_state *state = field->state;
    cl_uint num_stages = field->num_stages;
    EQF__TRY(radial_prepare_gradient(field));
    if (field->evaluation == EQF_FIELD_TABLE)
        EQF__TRY(contract_table(field, d_grad_stages, num_partials));
    else
        EQF__TRY(contract_direct(field, d_grad_stages, d_grad_shared, num_partials));
    EQF__TRY(EQF__LAUNCH(field->ctx, &state->time_gradients, num_stages, 0, EQF__ARG(field->d_params),
                         EQF__ARG(state->d_time_basis), EQF__ARG(state->d_grad_coefficients),
                         EQF__ARG(state->d_time_gradients), EQF__ARG(num_stages)));
    return EQF__LAUNCH(field->ctx, &state->gradient, field->options.num_distance + 1, 0, EQF__ARG(field->d_params),
                       EQF__ARG(state->d_time_basis), EQF__ARG(state->d_grad_coefficients),
                       EQF__ARG(state->d_width_sums), EQF__ARG(state->d_time_gradients), EQF__ARG(d_gradient),
                       EQF__ARG(num_stages));
}

/* ---- Any time ---------------------------------------------------------------------------------------------------------- */

static eqf_status radial_open_any_time(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    const size_t num_distance = field->options.num_distance, num_time = field->options.num_time;
    const size_t pairs = (size_t)field->num_particles * (field->num_particles - 1) / 2;
    static const char *const files[] = {"common/real.clh", "common/sum.cl", "dynamics/radial_params.clh",
                                        "dynamics/radial_any_time.cl", NULL};
    field->any_time_file = "dynamics/radial_any_time.clh";
    snprintf(field->any_time_defines, sizeof field->any_time_defines, "-D N=%u -D D=%u -D K=%zu -D M=%zu",
             field->num_particles, field->space_dim, num_distance, num_time);
    const size_t over_space = field->space_dim + 1, over_times = num_time + 1, over_distances = num_distance + 1;
    const size_t over_pairs = 2 * field->num_particles, over_state = field->num_particles * field->space_dim + 1;
    const size_t of_field = 3 * over_times + over_distances + num_distance * over_times;
    const size_t of_pair = 1 + 2 * over_space + over_distances;
    field->any_time_turns = (eqf__any_time_turns){
        .field = of_field,
        .velocity = over_state + over_pairs + pairs * of_pair,
        .vjp = over_state + over_pairs + pairs * of_pair,
        .gradient = 4 * over_distances + over_pairs + pairs * (of_pair + over_distances) + of_field + 3 * over_times,
    };
    field->any_time_grad_size = num_distance * num_time + num_time + num_distance + num_time;
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "radial_any_time", files, field->any_time_defines, &program));
    field->stage_program = field->gradient_program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "any_time_constants", &state->any_time_constants));
    EQF__TRY(eqf__kernel_create(ctx, program, "any_time_contract", &state->any_time_contract));
    EQF__TRY(eqf__kernel_create(ctx, program, "sum_partials", &state->any_time_sum));
    EQF__TRY(eqf__buffer_create(ctx, field->any_time_grad_size * state->vector_width * sizeof(float), NULL,
                                "the gradient's sums", &state->d_any_time_sums));
    return eqf__buffer_create(ctx, (2 * num_distance + 3 * num_time) * sizeof(float), NULL, "the Gaussians",
                              &field->d_constants);
}

static eqf_status radial_contract_any_time(eqf__field *field, cl_mem d_partials, size_t num_partials, float scale,
                                           cl_mem d_gradient) {
    eqf_context *ctx = field->ctx;
    radial_state *state = field->state;
    cl_uint partials = (cl_uint)num_partials, num = (cl_uint)(field->any_time_grad_size * state->vector_width);
    EQF__TRY(EQF__LAUNCH(ctx, &state->any_time_sum, eqf__stride(ctx, field->any_time_grad_size), 0,
                         EQF__ARG(d_partials), EQF__ARG(state->d_any_time_sums), EQF__ARG(partials), EQF__ARG(num)));
    return EQF__LAUNCH(ctx, &state->any_time_contract, field->options.num_distance + field->options.num_time, 0,
                       EQF__ARG(field->d_params), EQF__ARG(state->d_any_time_sums), EQF__ARG(d_gradient),
                       EQF__ARG(scale));
}

eqf_status eqf__radial_field_create(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    radial_state *state = eqf__alloc(ctx, 1, sizeof *state, "the radial field");
    if (state == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    field->state = state;
    field->destroy = radial_destroy;
    field->prepare = radial_prepare;
    field->contract = radial_contract;
    field->open_any_time = radial_open_any_time;
    field->contract_any_time = radial_contract_any_time;
    field->prepare_gradient = radial_prepare_gradient;
    field->set_resolution = restore_resolution;
    state->vector_width = device->vector_width;
    state->k_at_once = device->vector_width > 1 ? field->options.num_distance + 1 : 1;
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    field->num_params = eqf__radial_layout(&field->options, slices, &field->num_trained);
    const size_t num_distance = field->options.num_distance, num_time = field->options.num_time;
    EQF__TRY(eqf__buffer_create(ctx, field->num_params * sizeof(float), NULL, "the parameters", &field->d_params));
    EQF__TRY(eqf__buffer_create(ctx, field->num_stages * num_time * sizeof(float), NULL, "the time basis",
                                &state->d_time_basis));
    EQF__TRY(eqf__buffer_create(ctx, field->num_stages * num_time * sizeof(float), NULL, "the time gradients",
                                &state->d_time_gradients));
    EQF__TRY(eqf__buffer_create(ctx, field->num_stages * (num_distance + 1) * sizeof(float), NULL,
                                "the stage coefficients", &state->d_coefficients));
    EQF__TRY(eqf__buffer_create(ctx, 2 * num_distance * sizeof(float), NULL, "the Gaussians", &state->d_gaussians));
    EQF__TRY(eqf__buffer_create(ctx, 8 * sizeof(float), NULL, "the table's geometry", &state->d_geometry));
    return set_resolution(field, field->evaluation, device->table_cells);
}
