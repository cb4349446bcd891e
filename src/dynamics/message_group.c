#include "message_group.h"

#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "message_group_plan.h"

/* The most scratch memory of a launch; it has a slice for each sample that is computed at a time. */
static const size_t most_scratch_bytes = (size_t)512 << 20;
static const size_t most_slices = 4096;
/* A group has so many times the profile's work-items at most, if its matrix products have as many tiles. */
enum { MOST_MULTIPLE = 4 };
/* The most kernels of a way after its values. */
enum { MOST_LATER = 3 };

/* A program, for one of the passes. */
typedef struct group_way {
    eqf__group_plan plan;
    unsigned group_size;
    eqf__kernel values;
    eqf__kernel later[MOST_LATER]; /* what follows values: the sources; or the adjoints of the nodes, then of edges, or
                                    * two kernels for the rows of a source */
} group_way;

struct eqf__message_group {
    eqf__field *field;
    eqf__message_shape shape;
    group_way ways[EQF__GROUP_NUM_PASSES];
    /* The ways for reverse passes are made at their first use. */
    bool has_way[EQF__GROUP_NUM_PASSES], is_tried[EQF__GROUP_NUM_PASSES];
    eqf__kernel transpose;
    cl_mem d_pairs; /* the field's */
    cl_mem d_sources, d_weights, d_scratch;
    size_t scratch_bytes;
};

/* ---- Programs ---------------------------------------------------------------------------------------------------- */

/* The files of a pass, its kernels after message_group_values, its program's name and define. */
typedef struct group_text {
    const char *name, *define, *kernels[MOST_LATER];
    const char *files[17]; /* the last is NULL */
} group_text;

#define VALUES_TEXT                                                                 \
    "common/real.clh", "dynamics/message_common.clh", "dynamics/message_group.clh", \
        "dynamics/message_group_values.clh", "dynamics/message_group_edges.clh", "dynamics/message_group.cl"
#define ROWS_TEXT VALUES_TEXT, "dynamics/message_group_rows.clh", "dynamics/message_group_row_steps.clh"
static const group_text texts[EQF__GROUP_NUM_PASSES] = {
    [EQF__GROUP_VELOCITY] = {"", "", {"message_group_sources"}, {VALUES_TEXT, "dynamics/message_group_sources.cl"}},
    [EQF__GROUP_DIVERGENCE] = {"_divergence",
                               " -D HAS_ROWS",
                               {"message_group_sources"},
                               {ROWS_TEXT, "dynamics/message_group_sources.cl"}},
    [EQF__GROUP_REVERSE] = {"_reverse",
                            " -D HAS_REVERSE",
                            {"message_group_node_adjoints", "message_group_edge_adjoints"},
                            {VALUES_TEXT, "dynamics/message_group_gradient.clh",
                             "dynamics/message_group_reverse_edges.clh", "dynamics/message_group_reverse_nodes.clh",
                             "dynamics/message_group_reverse.clh", "dynamics/message_group_reverse.cl"}},
    [EQF__GROUP_DIVERGENCE_REVERSE] =
        {"_divergence_reverse",
         " -D HAS_ROWS -D HAS_REVERSE",
         {"message_group_node_adjoints", "message_group_row_values", "message_group_row_adjoints"},
         {ROWS_TEXT, "dynamics/message_group_gradient.clh", "dynamics/message_group_reverse_edges.clh",
          "dynamics/message_group_row_edges.clh", "dynamics/message_group_row_sums.clh",
          "dynamics/message_group_row_reverse.clh", "dynamics/message_group_reverse_nodes.clh",
          "dynamics/message_group_reverse.clh", "dynamics/message_group_reverse.cl"}},
};

static eqf_status build(eqf__field *field, const group_way *way, const group_text *text, eqf__program **program_out) {
    char defines[8192], name[40];
    eqf__real_defines(&field->real, defines, sizeof defines);
    size_t length = strlen(defines);
    for (size_t n = 0; n < way->plan.num_defines && length < sizeof defines; n++)
        length += (size_t)snprintf(defines + length, sizeof defines - length, "-D %s=%zu ", way->plan.defines[n].name,
                                   way->plan.defines[n].value);
    if (length < sizeof defines)
        length += (size_t)snprintf(defines + length, sizeof defines - length, "-D GROUP_SIZE=%u%s", way->group_size,
                                   text->define);
    if (length >= sizeof defines)
        return eqf__fail(field->ctx, EQF_ERROR_UNSUPPORTED, "the options of the message field's program are too long");
    snprintf(name, sizeof name, "message_group%s%s", text->name, field->real.suffix);
    return eqf__program_get(field->ctx, name, text->files, defines, program_out);
}

/* As many work-items as the widest matrix product has tiles, in multiples of the profile's. */
static unsigned choose_group_size(const eqf__device *device, const eqf__group_plan *plan) {
    const size_t least = device->group_size, most = device->info.max_work_group_size;
    size_t multiple = (plan->widest + least - 1) / least;
    if (multiple > MOST_MULTIPLE) multiple = MOST_MULTIPLE;
    while (multiple > 1 && multiple * least > most) multiple--;
    return (unsigned)(multiple * least);
}

/* Whether a launch may do the largest part of the work. */
static bool fits_budget(const eqf_context *ctx, const eqf__group_plan *plan) {
    return eqf__budget_units(ctx, plan->turns_of_values, 0, 1) > 0 &&
           eqf__budget_units(ctx, plan->turns_of_part, 0, 1) > 0 &&
           eqf__budget_units(ctx, plan->turns_of_nodes, 0, 1) > 0;
}

/* Loop turns are counted for a group: a driver that limits them adds those of all vectors, of at least four lanes. */
static void make_plan(const eqf__message_group *group, eqf__group_pass pass, unsigned group_size,
                      eqf__group_plan *plan_out) {
    const eqf__field *field = group->field;
    const uint64_t vectors = (group_size + 3) / 4;
    eqf__group_plan_make(&group->shape, field->num_particles, field->space_dim, pass, group_size, plan_out);
    plan_out->turns_of_values *= vectors;
    plan_out->turns_of_part *= vectors;
    plan_out->turns_of_nodes *= vectors;
}

static void release_way(group_way *way) {
    eqf__kernel_destroy(&way->values);
    for (unsigned k = 0; k < MOST_LATER; k++) eqf__kernel_destroy(&way->later[k]);
}

static size_t local_bytes(const eqf__field *field, const eqf__group_plan *plan) {
    const size_t sizes[] = {plan->values_local_size, plan->local_size, plan->rows_local_size, plan->nodes_local_size};
    size_t most = 0;
    for (unsigned n = 0; n < 4; n++) most = sizes[n] > most ? sizes[n] : most;
    return most * field->real.size;
}

/* Builds the way's kernels; *most_out: the largest group that all of them can have, 0 if the driver does not say. */
static eqf_status create_kernels(eqf__field *field, group_way *way, const group_text *text, size_t *most_out) {
    eqf_context *ctx = field->ctx;
    eqf__program *program;
    *most_out = 0;
    release_way(way);
    EQF__TRY(build(field, way, text, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "message_group_values", &way->values));
    for (unsigned k = 0; k < MOST_LATER && text->kernels[k] != NULL; k++) {
        EQF__TRY(eqf__kernel_create(ctx, program, text->kernels[k], &way->later[k]));
        const size_t most = eqf__kernel_largest_group(ctx, &way->later[k]);
        if (*most_out == 0 || (most > 0 && most < *most_out)) *most_out = most;
    }
    return EQF_OK;
}

/* *fits_out is false if the device cannot run it; the log says why. */
static eqf_status create_way(eqf__message_group *group, eqf__group_pass pass, bool *fits_out) {
    eqf__field *field = group->field;
    eqf_context *ctx = field->ctx;
    const eqf__device *device = ctx->device;
    group_way *way = &group->ways[pass];
    *fits_out = false;
    make_plan(group, pass, device->group_size, &way->plan);
    const size_t bytes = local_bytes(field, &way->plan);
    if (bytes > device->info.local_memory_bytes) {
        eqf__log(ctx, EQF_LOG_DEBUG,
                 "message field of %u particles: tensors stay in scratch memory, as %zu bytes of local memory are "
                 "needed and %s has %llu",
                 field->num_particles, bytes, device->info.name, (unsigned long long)device->info.local_memory_bytes);
        return EQF_OK;
    }
    for (way->group_size = choose_group_size(device, &way->plan);; way->group_size = device->group_size) {
        make_plan(group, pass, way->group_size, &way->plan);
        if (!fits_budget(ctx, &way->plan)) {
            eqf__log(ctx, EQF_LOG_DEBUG, "message field of %u particles: not by work-groups, as %s limits a launch",
                     field->num_particles, device->info.name);
            return EQF_OK;
        }
        size_t most;
        EQF__TRY(create_kernels(field, way, &texts[pass], &most));
        if (most == 0 || most >= way->group_size) break;
        if (way->group_size == device->group_size) {
            eqf__log(ctx, EQF_LOG_DEBUG, "message field: %s runs groups of %zu work-items of its kernel, not of %u",
                     device->info.name, most, way->group_size);
            return EQF_OK;
        }
    }
    *fits_out = true;
    return EQF_OK;
}

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static eqf_status create_weights(eqf__message_group *group) {
    eqf_context *ctx = group->field->ctx;
    const size_t num_weights = group->ways[EQF__GROUP_DIVERGENCE].plan.num_weights;
    cl_uint *sources = eqf__alloc(ctx, num_weights, sizeof *sources, "the places of weights");
    if (sources == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf__group_weight_sources(&group->shape, sources);
    const eqf_status status =
        eqf__buffer_create(ctx, num_weights * sizeof *sources, sources, "the places of weights", &group->d_sources);
    free(sources);
    EQF__TRY(status);
    return eqf__buffer_create(ctx, num_weights * group->field->real.size, NULL, "the transposed weights",
                              &group->d_weights);
}

eqf_status eqf__message_group_create(eqf__field *field, const eqf__message_shape *shape, cl_mem d_pairs,
                                     eqf__message_group **group_out) {
    eqf_context *ctx = field->ctx;
    const eqf__device *device = ctx->device;
    *group_out = NULL;
    if (field->real.vector_width != 1 || device->group_size <= 1 || !device->has_fast_local_memory) return EQF_OK;
    eqf__message_group *group = eqf__alloc(ctx, 1, sizeof *group, "the message field");
    if (group == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    group->field = field;
    group->shape = *shape;
    group->d_pairs = d_pairs;
    bool fits;
    eqf_status status = create_way(group, EQF__GROUP_DIVERGENCE, &fits);
    if (status == EQF_OK && fits) status = create_way(group, EQF__GROUP_VELOCITY, &fits);
    if (status == EQF_OK && fits) status = create_weights(group);
    if (status == EQF_OK && fits)
        status = eqf__kernel_create(ctx, eqf__message_group_program(group), "message_group_weights", &group->transpose);
    if (status != EQF_OK || !fits) eqf__message_group_destroy(&group);
    *group_out = group;
    return status;
}

void eqf__message_group_destroy(eqf__message_group **group) {
    eqf__message_group *of = *group;
    if (of == NULL) return;
    for (unsigned w = 0; w < EQF__GROUP_NUM_PASSES; w++) release_way(&of->ways[w]);
    eqf__kernel_destroy(&of->transpose);
    eqf__buffer_destroy(&of->d_sources);
    eqf__buffer_destroy(&of->d_weights);
    eqf__buffer_destroy(&of->d_scratch);
    free(of);
    *group = NULL;
}

eqf__program *eqf__message_group_program(const eqf__message_group *group) {
    return group->ways[EQF__GROUP_DIVERGENCE].values.program;
}

/* ---- Evaluation -------------------------------------------------------------------------------------------------- */

eqf_status eqf__message_group_prepare(eqf__message_group *group) {
    const eqf__field *field = group->field;
    const cl_uint num_weights = (cl_uint)group->ways[EQF__GROUP_DIVERGENCE].plan.num_weights,
                  num_params = (cl_uint)field->num_params;
    return EQF__LAUNCH(field->ctx, &group->transpose, num_weights, 0, EQF__ARG(group->d_sources),
                       EQF__ARG(field->d_params), EQF__ARG(group->d_weights), EQF__ARG(num_weights),
                       EQF__ARG(num_params));
}

/* Allocates scratch memory for *num_slices samples, or for as many as there is memory; at least one. */
static eqf_status ensure_scratch(eqf__message_group *group, size_t slice_size, size_t *num_slices) {
    const size_t bytes = slice_size * group->field->real.size, granted = most_scratch_bytes / bytes;
    if (*num_slices > granted) *num_slices = granted > 0 ? granted : 1;
    if (group->scratch_bytes >= *num_slices * bytes) return EQF_OK;
    eqf__buffer_destroy(&group->d_scratch);
    group->scratch_bytes = 0;
    EQF__TRY(
        eqf__buffer_create(group->field->ctx, *num_slices * bytes, NULL, "the field's features", &group->d_scratch));
    group->scratch_bytes = *num_slices * bytes;
    return EQF_OK;
}

/* The parts of samples first ... first + count - 1. */
static eqf_status launch_sources(const eqf__message_group *group, const group_way *way, cl_mem d_velocity,
                                 cl_mem d_divergence, cl_uint first, size_t count) {
    const eqf__field *field = group->field;
    const size_t most = eqf__budget_units(field->ctx, way->plan.turns_of_part, 0, way->plan.num_parts);
    for (cl_uint begin = 0, end; begin < way->plan.num_parts; begin = end) {
        end = begin + (cl_uint)most < way->plan.num_parts ? begin + (cl_uint)most : way->plan.num_parts;
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->later[0], count * way->group_size, way->group_size,
                             EQF__ARG(group->d_pairs), EQF__ARG(field->d_params), EQF__ARG(group->d_weights),
                             EQF__ARG(group->d_scratch), EQF__ARG(d_velocity), EQF__ARG(d_divergence), EQF__ARG(first),
                             EQF__ARG(begin), EQF__ARG(end)));
    }
    return EQF_OK;
}

static eqf_status launch_values(const eqf__message_group *group, const group_way *way, cl_mem d_x, cl_mem d_times,
                                const eqf__real_argument *spacing, cl_uint first, size_t count) {
    const eqf__field *field = group->field;
    return EQF__LAUNCH(field->ctx, &way->values, count * way->group_size, way->group_size, EQF__ARG(group->d_pairs),
                       EQF__ARG(field->d_params), EQF__ARG(group->d_weights), EQF__ARG(group->d_scratch), EQF__ARG(d_x),
                       EQF__ARG(d_times), EQF__REAL_ARG(&field->real, *spacing), EQF__ARG(first));
}

static eqf__real_argument spacing_of(const eqf__field *field) {
    return eqf__real_value(&field->real, field->options.distance_max / (field->options.num_distance - 1.0));
}

eqf_status eqf__message_group_evaluate(eqf__message_group *group, size_t num_samples, cl_mem d_x, cl_mem d_times,
                                       cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = group->field;
    const group_way *way = &group->ways[d_divergence != NULL ? EQF__GROUP_DIVERGENCE : EQF__GROUP_VELOCITY];
    const eqf__real_argument spacing = spacing_of(field);
    size_t num_slices = num_samples < most_slices ? num_samples : most_slices;
    if (d_divergence == NULL) d_divergence = field->d_params; /* any buffer */
    EQF__TRY(ensure_scratch(group, way->plan.slice_size, &num_slices));
    for (size_t begin = 0; begin < num_samples; begin += num_slices) {
        const size_t count = num_samples - begin < num_slices ? num_samples - begin : num_slices;
        EQF__TRY(launch_values(group, way, d_x, d_times, &spacing, (cl_uint)begin, count));
        EQF__TRY(launch_sources(group, way, d_velocity, d_divergence, (cl_uint)begin, count));
    }
    return EQF_OK;
}

/* ---- Reverse pass ------------------------------------------------------------------------------------------------ */

static eqf__group_pass reverse_of(bool has_divergence) {
    return has_divergence ? EQF__GROUP_DIVERGENCE_REVERSE : EQF__GROUP_REVERSE;
}

eqf_status eqf__message_group_prepare_reverse(eqf__message_group *group, bool has_divergence, bool *can_out) {
    const eqf__group_pass pass = reverse_of(has_divergence);
    if (!group->is_tried[pass]) EQF__TRY(create_way(group, pass, &group->has_way[pass]));
    group->is_tried[pass] = true;
    *can_out = group->has_way[pass];
    return EQF_OK;
}

eqf__program *eqf__message_group_reverse_program(const eqf__message_group *group, bool has_divergence) {
    const eqf__group_pass pass = reverse_of(has_divergence);
    return group->has_way[pass] ? group->ways[pass].values.program : NULL;
}

/* Buffers of the reverse pass; d_grad is any buffer if there is no gradient, d_adjoint_divergence if there is none. */
typedef struct adjoint_buffers {
    cl_mem d_times, d_adjoint_velocity, d_adjoint_divergence, d_adjoint_x, d_grad;
    cl_uint has_gradient;
} adjoint_buffers;

static eqf_status launch_edge_adjoints(const eqf__message_group *group, const group_way *way, const adjoint_buffers *b,
                                       cl_uint first, size_t count) {
    const eqf__field *field = group->field;
    const size_t most = eqf__budget_units(field->ctx, way->plan.turns_of_part, 0, way->plan.num_parts);
    const cl_uint num_params = (cl_uint)field->num_params;
    for (cl_uint begin = 0, end; begin < way->plan.num_parts; begin = end) {
        end = begin + (cl_uint)most < way->plan.num_parts ? begin + (cl_uint)most : way->plan.num_parts;
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->later[1], count * way->group_size, way->group_size,
                             EQF__ARG(field->d_params), EQF__ARG(group->d_weights), EQF__ARG(group->d_scratch),
                             EQF__ARG(b->d_adjoint_velocity), EQF__ARG(b->d_grad), EQF__ARG(num_params),
                             EQF__ARG(b->has_gradient), EQF__ARG(first), EQF__ARG(begin), EQF__ARG(end)));
    }
    return EQF_OK;
}

/* One source particle after the other: their rows have the same place in scratch memory. */
static eqf_status launch_row_adjoints(const eqf__message_group *group, const group_way *way, const adjoint_buffers *b,
                                      cl_uint first, size_t count) {
    const eqf__field *field = group->field;
    const cl_uint num_params = (cl_uint)field->num_params;
    for (cl_uint k = 0; k < field->num_particles; k++) {
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->later[1], count * way->group_size, way->group_size,
                             EQF__ARG(group->d_pairs), EQF__ARG(field->d_params), EQF__ARG(group->d_weights),
                             EQF__ARG(group->d_scratch), EQF__ARG(b->d_adjoint_velocity),
                             EQF__ARG(b->d_adjoint_divergence), EQF__ARG(b->d_grad), EQF__ARG(num_params),
                             EQF__ARG(b->has_gradient), EQF__ARG(first), EQF__ARG(k)));
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->later[2], count * way->group_size, way->group_size,
                             EQF__ARG(group->d_pairs), EQF__ARG(group->d_weights), EQF__ARG(group->d_scratch),
                             EQF__ARG(b->d_grad), EQF__ARG(num_params), EQF__ARG(b->has_gradient), EQF__ARG(k)));
    }
    return EQF_OK;
}

static eqf_status launch_adjoints(const eqf__message_group *group, const group_way *way, const adjoint_buffers *b,
                                  const eqf__real_argument *spacing, cl_uint first, size_t count) {
    const eqf__field *field = group->field;
    const cl_uint num_params = (cl_uint)field->num_params;
    if (way == &group->ways[EQF__GROUP_DIVERGENCE_REVERSE])
        EQF__TRY(launch_row_adjoints(group, way, b, first, count));
    else
        EQF__TRY(launch_edge_adjoints(group, way, b, first, count));
    return EQF__LAUNCH(field->ctx, &way->later[0], count * way->group_size, way->group_size, EQF__ARG(group->d_pairs),
                       EQF__ARG(field->d_params), EQF__ARG(group->d_weights), EQF__ARG(group->d_scratch),
                       EQF__ARG(b->d_times), EQF__ARG(b->d_adjoint_velocity), EQF__ARG(b->d_adjoint_x),
                       EQF__ARG(b->d_grad), EQF__ARG(num_params), EQF__ARG(b->has_gradient),
                       EQF__REAL_ARG(&field->real, *spacing), EQF__ARG(first), EQF__ARG(b->d_adjoint_divergence));
}

eqf_status eqf__message_group_vjp(eqf__message_group *group, size_t num_slices, size_t num_samples, cl_mem d_x,
                                  cl_mem d_times, cl_mem d_adjoint_velocity, cl_mem d_adjoint_divergence,
                                  cl_mem d_adjoint_x, cl_mem d_grad) {
    const eqf__field *field = group->field;
    const group_way *way = &group->ways[reverse_of(d_adjoint_divergence != NULL)];
    const eqf__real_argument spacing = spacing_of(field);
    const adjoint_buffers buffers = {d_times,
                                     d_adjoint_velocity,
                                     d_adjoint_divergence != NULL ? d_adjoint_divergence : field->d_params,
                                     d_adjoint_x,
                                     d_grad != NULL ? d_grad : field->d_params,
                                     d_grad != NULL};
    if (d_grad == NULL) num_slices = num_samples < most_slices ? num_samples : most_slices;
    EQF__TRY(ensure_scratch(group, way->plan.slice_size, &num_slices));
    for (size_t begin = 0; begin < num_samples; begin += num_slices) {
        const size_t count = num_samples - begin < num_slices ? num_samples - begin : num_slices;
        EQF__TRY(launch_values(group, way, d_x, d_times, &spacing, (cl_uint)begin, count));
        EQF__TRY(launch_adjoints(group, way, &buffers, &spacing, (cl_uint)begin, count));
    }
    return EQF_OK;
}
