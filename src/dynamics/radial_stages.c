/* The radial field's stage data: coefficients at the stage times and the interpolation table, whose resolution depends
 * on its error. Equations: cl/dynamics/radial_stages.cl. */
#include <math.h>
#include <stdlib.h>

#include "radial_internal.h"

/* Differences above this are the table's error and not rounding. */
#define LARGEST_ROUNDING 4e-5
/* The point of a cell where a parabola through the slopes at both ends and the middle has its largest error: (3 - sqrt
 * 3)/6 of the width. */
#define CHECK_FRACTION 0.21132487f

eqf_status eqf__radial_create_stage_kernels(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    static const char *const files[] = {"common/real.clh", "dynamics/radial_params.clh", "dynamics/radial_stages.cl",
                                        NULL};
    eqf__program *program;
    EQF__TRY(eqf__radial_program(field, "radial_stages", files, &program));
    state->stage.program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_time", &state->time));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_shared", &state->shared));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_basis", &state->basis));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_points", &state->points));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_cells", &state->cells));
    if (state->real.vector_width > 1) EQF__TRY(eqf__kernel_create(ctx, program, "radial_pieces", &state->pieces));
    return eqf__kernel_create(ctx, program, "radial_check", &state->check);
}

/* ---- Parameters -> stage data ------------------------------------------------------------------------------------ */

/* The fine cells extend beyond the last narrow Gaussian, where the normaliser falls steeply; the dense core layout has
 * wide Gaussians outside. The result has 8 significant bits: so have the cell widths, and index * width is exact. */
static double fine_range(const eqf_dynamics_options *options) {
    double range = options->layout == EQF_RADIAL_DENSE_CORE ? 0.5 * options->distance_max : 1.5 * options->distance_max;
    int exponent;
    double fraction = frexp(range, &exponent);
    return ldexp(ceil(fraction * 256.0), exponent - 8);
}

static eqf_status build_stages(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    cl_uint num_stages = field->num_stages, num_rows = eqf__radial_num_rows(field);
    cl_uint num_point_blocks = (cl_uint)state->num_point_blocks;
    cl_uint num_fine = state->num_fine, num_coarse = state->num_coarse, points_per_cell = 2;
    cl_uint num_cell_blocks = (cl_uint)state->num_cell_blocks;
    const eqf__real_argument d_fine = eqf__real_value(&state->real, fine_range(&field->options));
    cl_float fraction = 0;
    EQF__TRY(EQF__LAUNCH(ctx, &state->time, num_stages, 0, EQF__ARG(field->d_params), EQF__ARG(state->d_time_basis),
                         EQF__ARG(state->d_coefficients), EQF__ARG(num_stages)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->shared, 1, 0, EQF__ARG(field->d_params), EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__REAL_ARG(&state->real, d_fine), EQF__ARG(num_fine),
                         EQF__ARG(num_coarse)));
    if (field->evaluation == EQF_FIELD_DIRECT) return EQF_OK;
    EQF__TRY(EQF__LAUNCH(ctx, &state->basis, eqf__stride(ctx, num_point_blocks), 0, EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_basis), EQF__ARG(points_per_cell),
                         EQF__ARG(fraction), EQF__ARG(num_point_blocks), EQF__ARG(state->d_bands)));
    size_t row_tiles = (num_rows + 3) / 4; /* STAGES_AT_ONCE */
    if (state->real.vector_width > 1) {
        const size_t runs = (num_cell_blocks + 7) / 8; /* CELLS_AT_ONCE */
        return EQF__LAUNCH(ctx, &state->pieces, eqf__stride(ctx, row_tiles * runs), 0, EQF__ARG(state->d_coefficients),
                           EQF__ARG(state->d_basis), EQF__ARG(state->d_cells), EQF__ARG(num_rows),
                           EQF__ARG(num_point_blocks), EQF__ARG(state->d_bands), EQF__ARG(state->d_geometry),
                           EQF__ARG(num_cell_blocks));
    }
    EQF__TRY(EQF__LAUNCH(ctx, &state->points, eqf__stride(ctx, row_tiles * num_point_blocks), 0,
                         EQF__ARG(state->d_coefficients), EQF__ARG(state->d_basis), EQF__ARG(state->d_values),
                         EQF__ARG(num_rows), EQF__ARG(num_point_blocks), EQF__ARG(state->d_bands)));
    return EQF__LAUNCH(ctx, &state->cells, eqf__stride(ctx, (size_t)num_rows * num_cell_blocks), 0,
                       EQF__ARG(state->d_values), EQF__ARG(state->d_geometry), EQF__ARG(state->d_cells),
                       EQF__ARG(num_rows), EQF__ARG(num_cell_blocks), EQF__ARG(num_point_blocks));
}

/* The table's largest relative error (radial_check); NaN if the parameters give NaN. */
static eqf_status measure_error(eqf__field *field, double *error_out) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    cl_uint num_rows = eqf__radial_num_rows(field), num_cell_blocks = (cl_uint)state->num_cell_blocks,
            points_per_cell = 1;
    cl_float fraction = CHECK_FRACTION;
    EQF__TRY(EQF__LAUNCH(ctx, &state->basis, eqf__stride(ctx, num_cell_blocks), 0, EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_check_basis), EQF__ARG(points_per_cell),
                         EQF__ARG(fraction), EQF__ARG(num_cell_blocks), EQF__ARG(state->d_check_bands)));
    size_t row_tiles = (num_rows + 3) / 4;
    EQF__TRY(EQF__LAUNCH(ctx, &state->points, eqf__stride(ctx, row_tiles * num_cell_blocks), 0,
                         EQF__ARG(state->d_coefficients), EQF__ARG(state->d_check_basis),
                         EQF__ARG(state->d_check_values), EQF__ARG(num_rows), EQF__ARG(num_cell_blocks),
                         EQF__ARG(state->d_check_bands)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->check, num_rows, 0, EQF__ARG(state->d_check_values), EQF__ARG(state->d_geometry),
                         EQF__ARG(state->d_cells), EQF__ARG(state->d_errors), EQF__ARG(fraction), EQF__ARG(num_rows),
                         EQF__ARG(num_cell_blocks)));
    float *errors = eqf__alloc(ctx, num_rows, sizeof *errors, "the table's errors");
    if (errors == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, state->d_errors, 0, num_rows * sizeof *errors, errors);
    double worst = 0;
    for (size_t j = 0; j < num_rows && status == EQF_OK; j++)
        if (!(errors[j] <= worst)) worst = errors[j];
    free(errors);
    *error_out = worst;
    return status;
}

/* Doubles the resolution while the error falls. A doubling divides the error of the table by eight. If it does not
 * halve the difference from direct sums, the rest is the rounding of these sums. */
eqf_status eqf__radial_prepare_stages(eqf__field *field, bool check) {
    eqf__radial_state *state = field->state;
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
        const bool is_last = state->num_fine >= EQF__RADIAL_LAST_NUM_FINE;
        if (error < LARGEST_ROUNDING && (is_last || error > 0.5 * error_before)) return EQF_OK;
        if (!is_last) {
            error_before = error;
            EQF__TRY(eqf__radial_set_table(field, EQF_FIELD_TABLE, 2 * state->num_fine));
        } else {
            eqf__log(
                field->ctx, EQF_LOG_WARNING,
                "the field's Gaussians are too narrow for a table (error %.2g with %u cells): summing them directly, "
                "which is slower",
                error, state->num_fine);
            EQF__TRY(eqf__radial_set_table(field, EQF_FIELD_DIRECT, state->num_fine));
        }
    }
}

/* ---- Loop turns -------------------------------------------------------------------------------------------------- */

static size_t divide_up(size_t count, size_t by) {
    return (count + by - 1) / by;
}

/* Counted in cl/dynamics/radial.clh and radial_table.clh. */
eqf__stage_turns eqf__radial_stage_turns(const eqf__field *field) {
    const size_t N = field->num_particles, D = field->space_dim, K = field->options.num_distance,
                 pairs = N * (N - 1) / 2;
    const bool is_direct = field->evaluation == EQF_FIELD_DIRECT;
    const size_t over_particles = N * (2 + 3 * D), passes = N * D;
    return (eqf__stage_turns){pairs * (is_direct ? 1 + K + 2 * D : 2 + 2 * D) + over_particles + passes,
                              pairs * (is_direct ? 1 + 2 * K + 2 * D : 2 + 3 * D) + over_particles};
}

/* The same if a work-group divides the pairs; cl/dynamics/radial_group.clh explains rows and chunks. */
/* Loop turns of a work-item in cl/dynamics/radial_group.clh: over its rows of pairs, over the components that it owns,
 * over notes. */
typedef struct group_parts {
    size_t rows, owned, notes;
} group_parts;

static group_parts parts_of_group(const eqf__field *field, size_t group_size) {
    const size_t N = field->num_particles, D = field->space_dim, K = field->options.num_distance,
                 pairs = N * (N - 1) / 2;
    const bool is_direct = field->evaluation == EQF_FIELD_DIRECT;
    const size_t rows = N < group_size ? N : group_size, chunks = group_size / rows < N ? group_size / rows : N;
    const size_t at_pair = 1 + 2 * D + (is_direct ? K : 0);
    /* A work-item reads all notes of its group, with direct summation once for each of its Gaussians. */
    const size_t at_note = is_direct ? divide_up(K + 1, group_size) * (1 + group_size) : group_size + 1;
    return (group_parts){.rows = divide_up(N, rows) * (1 + 2 * D + divide_up(N, chunks) * at_pair),
                         .owned = divide_up(N * D, group_size) * (2 + chunks),
                         .notes = divide_up(pairs, group_size) * (1 + at_pair + at_note)};
}

enum { FOLDS = 16 }; /* loop turns of a sum over at most 2^16 work-items */

eqf__stage_turns eqf__radial_group_turns(const eqf__field *field, size_t group_size) {
    const group_parts parts = parts_of_group(field, group_size);
    const size_t velocity = parts.rows + parts.owned + FOLDS + divide_up(field->group->table_size, 4 * group_size);
    return (eqf__stage_turns){velocity, velocity + parts.notes};
}

eqf__any_time_turns eqf__radial_group_any_time_turns(const eqf__field *field, size_t group_size) {
    const group_parts parts = parts_of_group(field, group_size);
    const size_t K = field->options.num_distance, M = field->options.num_time, over_times = M + 1;
    return (eqf__any_time_turns){
        .field = divide_up(M, group_size) + 1 + over_times + (divide_up(K + 1, group_size) + 1) * (over_times + 1),
        .velocity = parts.rows + parts.owned + FOLDS,
        .vjp = parts.rows + (size_t)field->space_dim + 2 * parts.owned,
        .gradient = divide_up(K + 1, group_size) + 1 + parts.notes + over_times +
                    (divide_up(M, group_size) + 1) * (K + 3) + divide_up((K + 1) * M, group_size) + 1 + 2 * over_times};
}

/* Floats of the parts of rows, or of the notes (radial_group.clh). */
size_t eqf__radial_group_local_size(const eqf__field *field, size_t group_size) {
    return 6 * group_size + (size_t)field->num_particles * field->space_dim + group_size * field->space_dim;
}

/* The coefficients at a time, the time Gaussians and their gradients; two sets of parts, or the notes
 * (radial_group_any_time.clh). */
size_t eqf__radial_group_any_time_local_size(const eqf__field *field, size_t group_size) {
    return 2 * ((size_t)field->options.num_distance + 1) + 2 * (size_t)field->options.num_time + 4 +
           2 * eqf__radial_group_local_size(field, group_size);
}
