/* Internals of the radial field: radial.c (making it, forms), radial_stages.c (from parameters to stage data),
 * radial_gradients.c (gradients back to parameters), radial_any_time.c. */
#ifndef EQF_RADIAL_INTERNAL_H
#define EQF_RADIAL_INTERNAL_H

#include "field.h"
#include "real.h"

/* The table's resolution starts at the profile's value and is doubled until the error is small; beyond the last value
 * Gaussians are summed directly. */
#define EQF__RADIAL_LOWEST_NUM_FINE 256u
#define EQF__RADIAL_LAST_NUM_FINE 4096u

typedef struct eqf__radial_state {
    eqf__real real;
    eqf__stage_form stage;
    eqf__group_form group;
    eqf__any_time_form any_time;
    unsigned num_fine, num_coarse;
    /* The number of Gaussians of a work-item in radial_contract_coefficients: 4 if V > 1, whose sums fit registers;
     * else 1, as such devices need many work-items */
    unsigned k_at_once;
    /* Kinds of pair, 3 with two species: a stage's data are a row for each, of row_size numbers. */
    unsigned num_kinds;
    size_t num_cells, num_cell_blocks, num_point_blocks, row_size, stage_size, widths_padded;
    bool has_gradient;
    cl_mem d_time_basis, d_coefficients, d_gaussians, d_geometry;
    cl_mem d_basis, d_bands, d_values, d_check_basis, d_check_bands, d_check_values, d_cells, d_errors;
    cl_mem d_stage_sums, d_point_gradients, d_is_active, d_grad_coefficients, d_partial_widths, d_width_sums,
        d_time_gradients, d_any_time_sums;
    eqf__kernel time, shared, basis, points, cells, pieces, check;
    eqf__kernel sum, take, point_gradients, contract_coefficients, contract_widths, time_gradients, gradient;
    eqf__kernel any_time_constants, any_time_contract, any_time_sum;
} eqf__radial_state;

/* Rows of all stages. */
static inline cl_uint eqf__radial_num_rows(const eqf__field *field) {
    return field->num_stages * ((const eqf__radial_state *)field->state)->num_kinds;
}

static inline size_t eqf__radial_round_up(size_t count, size_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

/* Builds the files with the defines that are common to the field's own programs. */
eqf_status eqf__radial_program(eqf__field *field, const char *name, const char *const *files,
                               eqf__program **program_out);
/* Sets sizes, buffers, kernels and defines for a table of num_fine cells, or for direct summation. */
eqf_status eqf__radial_set_table(eqf__field *field, eqf_field_evaluation evaluation, unsigned num_fine);

/* radial_stages.c: d_params -> stage data; with check the table is refined. */
eqf_status eqf__radial_create_stage_kernels(eqf__field *field);
eqf_status eqf__radial_prepare_stages(eqf__field *field, bool check);
/* The loop turns of the kernel text, in both layouts. */
eqf__stage_turns eqf__radial_stage_turns(const eqf__field *field);
eqf__stage_turns eqf__radial_group_turns(const eqf__field *field, size_t group_size);
size_t eqf__radial_group_local_size(const eqf__field *field, size_t group_size);
/* The same of the any-time form. */
eqf__any_time_turns eqf__radial_group_any_time_turns(const eqf__field *field, size_t group_size);
size_t eqf__radial_group_any_time_local_size(const eqf__field *field, size_t group_size);

/* radial_gradients.c: only for training; the program is built and memory allocated at the first gradient. */
eqf_status eqf__radial_create_gradient_parts(eqf__field *field);
void eqf__radial_release_gradient_parts(eqf__radial_state *state);
eqf_status eqf__radial_prepare_gradient(eqf__field *field);
eqf_status eqf__radial_contract(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                                cl_mem d_gradient);

/* radial_any_time.c */
eqf_status eqf__radial_open_any_time(eqf__field *field);
eqf_status eqf__radial_prepare_any_time(eqf__field *field);

#endif
