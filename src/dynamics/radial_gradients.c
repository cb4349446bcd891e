/* From gradients by the radial field's stage data to gradients by its parameters. Equations:
 * cl/dynamics/radial_gradients.cl. */
#include "radial_internal.h"

void eqf__radial_release_gradient_parts(eqf__radial_state *state) {
    cl_mem *buffers[] = {&state->d_stage_sums,        &state->d_point_gradients, &state->d_is_active,
                         &state->d_grad_coefficients, &state->d_partial_widths,  &state->d_width_sums};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&state->sum,
                              &state->take,
                              &state->point_gradients,
                              &state->contract_coefficients,
                              &state->contract_widths,
                              &state->time_gradients,
                              &state->gradient};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
}

eqf_status eqf__radial_create_gradient_parts(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    static const char *const files[] = {"common/real.clh", "common/sum.cl", "dynamics/radial_params.clh",
                                        "dynamics/radial_gradients.cl", NULL};
    const size_t num_stages = field->num_stages, num_rows = eqf__radial_num_rows(field);
    const size_t num_distance = field->options.num_distance;
    const size_t points_padded = state->num_point_blocks * state->real.vector_width;
    eqf__program *program;
    EQF__TRY(eqf__radial_program(field, "radial_gradients", files, &program));
    state->stage.gradient_program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "sum_partials", &state->sum));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_take_partials", &state->take));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_point_gradients", &state->point_gradients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_contract_coefficients", &state->contract_coefficients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_contract_widths", &state->contract_widths));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_time_gradients", &state->time_gradients));
    EQF__TRY(eqf__kernel_create(ctx, program, "radial_gradient", &state->gradient));
    EQF__TRY(eqf__buffer_create(ctx, num_stages * state->stage.grad_stage_size * sizeof(float), NULL,
                                "the stage gradients", &state->d_stage_sums));
    EQF__TRY(eqf__buffer_create(ctx, num_rows * (num_distance + 1) * sizeof(float), NULL, "the coefficient gradients",
                                &state->d_grad_coefficients));
    EQF__TRY(eqf__buffer_create(ctx, state->widths_padded * sizeof(float), NULL, "the width gradients",
                                &state->d_width_sums));
    if (field->evaluation == EQF_FIELD_DIRECT) return EQF_OK;
    EQF__TRY(eqf__buffer_create(ctx, num_rows * 2 * points_padded * sizeof(float), NULL, "the point gradients",
                                &state->d_point_gradients));
    EQF__TRY(eqf__buffer_create(ctx, num_rows * state->num_point_blocks * sizeof(cl_uint), NULL, "the point gradients",
                                &state->d_is_active));
    return eqf__buffer_create(ctx, state->num_point_blocks * state->widths_padded * sizeof(float), NULL,
                              "the width gradients", &state->d_partial_widths);
}

static eqf_status sum_partials(eqf__field *field, cl_mem d_partials, cl_mem d_sum, size_t num_partials, size_t num) {
    eqf__radial_state *state = field->state;
    cl_uint partials = (cl_uint)num_partials, numbers = (cl_uint)num;
    return EQF__LAUNCH(field->ctx, &state->sum, eqf__stride(field->ctx, num / state->real.vector_width), 0,
                       EQF__ARG(d_partials), EQF__ARG(d_sum), EQF__ARG(partials), EQF__ARG(numbers));
}

static eqf_status contract_table(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    cl_uint num_rows = eqf__radial_num_rows(field), num_point_blocks = (cl_uint)state->num_point_blocks;
    const size_t row_tiles = (num_rows + 3) / 4; /* STAGES_AT_ONCE */
    const size_t k_tiles = (field->options.num_distance + state->k_at_once) / state->k_at_once;
    const cl_uint partials = (cl_uint)num_partials;
    const cl_uint numbers = (cl_uint)(field->num_stages * state->stage.grad_stage_size);
    EQF__TRY(EQF__LAUNCH(ctx, &state->take, eqf__stride(ctx, numbers / state->real.vector_width), 0,
                         EQF__ARG(d_grad_stages), EQF__ARG(state->d_stage_sums), EQF__ARG(partials), EQF__ARG(numbers),
                         EQF__ARG(num_rows), EQF__ARG(d_grad_shared)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->point_gradients, eqf__stride(ctx, (size_t)num_rows * num_point_blocks), 0,
                         EQF__ARG(state->d_stage_sums), EQF__ARG(state->d_geometry), EQF__ARG(state->d_point_gradients),
                         EQF__ARG(state->d_is_active), EQF__ARG(num_rows), EQF__ARG(num_point_blocks),
                         EQF__ARG(d_grad_shared), EQF__ARG(partials)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->contract_coefficients, row_tiles * k_tiles, 0, EQF__ARG(state->d_point_gradients),
                         EQF__ARG(state->d_is_active), EQF__ARG(state->d_basis), EQF__ARG(state->d_grad_coefficients),
                         EQF__ARG(num_rows), EQF__ARG(num_point_blocks), EQF__ARG(state->d_bands),
                         EQF__ARG(d_grad_shared), EQF__ARG(partials)));
    EQF__TRY(EQF__LAUNCH(ctx, &state->contract_widths, num_point_blocks, 0, EQF__ARG(state->d_point_gradients),
                         EQF__ARG(state->d_is_active), EQF__ARG(state->d_coefficients), EQF__ARG(state->d_gaussians),
                         EQF__ARG(state->d_geometry), EQF__ARG(state->d_partial_widths), EQF__ARG(num_rows),
                         EQF__ARG(num_point_blocks), EQF__ARG(state->d_bands), EQF__ARG(d_grad_shared),
                         EQF__ARG(partials)));
    return sum_partials(field, state->d_partial_widths, state->d_width_sums, num_point_blocks, state->widths_padded);
}

static eqf_status contract_direct(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials) {
    eqf__radial_state *state = field->state;
    EQF__TRY(sum_partials(field, d_grad_stages, state->d_stage_sums, num_partials,
                          field->num_stages * state->stage.grad_stage_size));
    /* Copies rows of length grad_stage_size to rows of stage_size: K + 1 for each kind of pair. */
    EQF__TRY(eqf__buffer_copy_rows(field->ctx, state->d_stage_sums, state->stage.grad_stage_size * sizeof(float),
                                   state->d_grad_coefficients, state->stage_size * sizeof(float), field->num_stages));
    return sum_partials(field, d_grad_shared, state->d_width_sums, num_partials, state->widths_padded);
}

eqf_status eqf__radial_prepare_gradient(eqf__field *field) {
    eqf__radial_state *state = field->state;
    if (state->has_gradient) return EQF_OK;
    eqf_status status = eqf__radial_create_gradient_parts(field);
    if (status != EQF_OK) /* so that the caller can try a smaller batch */
        eqf__radial_release_gradient_parts(state);
    else
        state->has_gradient = true;
    return status;
}

eqf_status eqf__radial_contract(eqf__field *field, cl_mem d_grad_stages, cl_mem d_grad_shared, size_t num_partials,
                                cl_mem d_gradient) {
    eqf__radial_state *state = field->state;
    cl_uint num_stages = field->num_stages;
    EQF__TRY(eqf__radial_prepare_gradient(field));
    if (field->evaluation == EQF_FIELD_TABLE)
        EQF__TRY(contract_table(field, d_grad_stages, d_grad_shared, num_partials));
    else
        EQF__TRY(contract_direct(field, d_grad_stages, d_grad_shared, num_partials));
    EQF__TRY(EQF__LAUNCH(field->ctx, &state->time_gradients, num_stages, 0, EQF__ARG(field->d_params),
                         EQF__ARG(state->d_time_basis), EQF__ARG(state->d_grad_coefficients),
                         EQF__ARG(state->d_time_gradients), EQF__ARG(num_stages)));
    const size_t num_items = state->num_kinds * (field->options.num_distance + 1);
    return EQF__LAUNCH(field->ctx, &state->gradient, num_items, 0, EQF__ARG(field->d_params),
                       EQF__ARG(state->d_time_basis), EQF__ARG(state->d_grad_coefficients),
                       EQF__ARG(state->d_width_sums), EQF__ARG(state->d_time_gradients), EQF__ARG(d_gradient),
                       EQF__ARG(num_stages));
}
