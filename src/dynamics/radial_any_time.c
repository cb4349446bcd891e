/* The radial field at any time, with direct summation of the Gaussians. Equations: cl/dynamics/radial_any_time.clh. */
#include <string.h>

#include "radial_internal.h"

static eqf_status contract(eqf__field *field, cl_mem d_partials, size_t num_partials, float scale, cl_mem d_gradient) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    cl_uint partials = (cl_uint)num_partials, num = (cl_uint)(state->any_time.grad_size * state->real.vector_width);
    EQF__TRY(EQF__LAUNCH(ctx, &state->any_time_sum, eqf__stride(ctx, state->any_time.grad_size), 0,
                         EQF__ARG(d_partials), EQF__ARG(state->d_any_time_sums), EQF__ARG(partials), EQF__ARG(num)));
    return EQF__LAUNCH(ctx, &state->any_time_contract, field->options.num_distance + field->options.num_time, 0,
                       EQF__ARG(field->d_params), EQF__ARG(state->d_any_time_sums), EQF__ARG(d_gradient),
                       EQF__ARG(scale));
}

eqf_status eqf__radial_open_any_time(eqf__field *field) {
    eqf_context *ctx = field->ctx;
    eqf__radial_state *state = field->state;
    eqf__any_time_form *form = &state->any_time;
    form->contract = contract;
    field->any_time = form;
    field->evaluation = EQF_FIELD_DIRECT;
    const size_t num_distance = field->options.num_distance, num_time = field->options.num_time;
    const size_t pairs = (size_t)field->num_particles * (field->num_particles - 1) / 2;
    static const char *const files[] = {"common/real.clh", "common/sum.cl", "dynamics/radial_params.clh",
                                        "dynamics/radial_any_time.cl", NULL};
    form->file = "dynamics/radial_any_time.clh";
    static const char *const group_files[] = {"dynamics/radial.clh", "dynamics/radial_group_direct.clh",
                                              "dynamics/radial_group.clh", "dynamics/radial_group_any_time.clh"};
    memcpy(form->group_files, group_files, sizeof group_files);
    form->group_local_size = eqf__radial_group_any_time_local_size;
    form->group_turns = eqf__radial_group_any_time_turns;
    snprintf(form->defines, sizeof form->defines, "-D N=%u -D D=%u -D K=%zu -D M=%zu", field->num_particles,
             field->space_dim, num_distance, num_time);
    const size_t over_space = field->space_dim + 1, over_times = num_time + 1, over_distances = num_distance + 1;
    const size_t over_pairs = 2 * field->num_particles, over_state = field->num_particles * field->space_dim + 1;
    const size_t of_field = 3 * over_times + over_distances + num_distance * over_times;
    const size_t of_pair = 1 + 2 * over_space + over_distances;
    form->turns = (eqf__any_time_turns){
        .field = of_field,
        .velocity = over_state + over_pairs + pairs * of_pair,
        .vjp = over_state + over_pairs + pairs * of_pair,
        .gradient = 4 * over_distances + over_pairs + pairs * (of_pair + over_distances) + of_field + 3 * over_times,
    };
    form->grad_size = num_distance * num_time + num_time + num_distance + num_time;
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "radial_any_time", files, form->defines, &program));
    form->program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "any_time_constants", &state->any_time_constants));
    EQF__TRY(eqf__kernel_create(ctx, program, "any_time_contract", &state->any_time_contract));
    EQF__TRY(eqf__kernel_create(ctx, program, "sum_partials", &state->any_time_sum));
    EQF__TRY(eqf__buffer_create(ctx, form->grad_size * state->real.vector_width * sizeof(float), NULL,
                                "the gradient's sums", &state->d_any_time_sums));
    return eqf__buffer_create(ctx, (2 * num_distance + 3 * num_time) * sizeof(float), NULL, "the Gaussians",
                              &form->d_constants);
}

eqf_status eqf__radial_prepare_any_time(eqf__field *field) {
    eqf__radial_state *state = field->state;
    return EQF__LAUNCH(field->ctx, &state->any_time_constants, field->options.num_distance + field->options.num_time, 0,
                       EQF__ARG(field->d_params), EQF__ARG(state->any_time.d_constants));
}
