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

/* The program for velocities alone, or with divergences. */
typedef struct group_way {
    eqf__group_plan plan;
    unsigned group_size;
    eqf__kernel values, sources;
} group_way;

struct eqf__message_group {
    eqf__field *field;
    group_way ways[2]; /* [has_divergence] */
    eqf__kernel transpose;
    cl_mem d_pairs; /* the field's */
    cl_mem d_sources, d_weights, d_scratch;
    size_t scratch_bytes;
};

/* ---- Programs ---------------------------------------------------------------------------------------------------- */

static eqf_status build(eqf__field *field, const group_way *way, bool has_rows, eqf__program **program_out) {
    static const char *const files[] = {"common/real.clh",
                                        "dynamics/message_common.clh",
                                        "dynamics/message_group.clh",
                                        "dynamics/message_group_values.clh",
                                        "dynamics/message_group_edges.clh",
                                        "dynamics/message_group.cl",
                                        NULL};
    static const char *const files_with_rows[] = {"common/real.clh",
                                                  "dynamics/message_common.clh",
                                                  "dynamics/message_group.clh",
                                                  "dynamics/message_group_values.clh",
                                                  "dynamics/message_group_rows.clh",
                                                  "dynamics/message_group_edges.clh",
                                                  "dynamics/message_group.cl",
                                                  NULL};
    char defines[4096], name[40];
    eqf__real_defines(&field->real, defines, sizeof defines);
    size_t length = strlen(defines);
    for (size_t n = 0; n < way->plan.num_defines && length < sizeof defines; n++)
        length += (size_t)snprintf(defines + length, sizeof defines - length, "-D %s=%zu ", way->plan.defines[n].name,
                                   way->plan.defines[n].value);
    if (length < sizeof defines)
        length += (size_t)snprintf(defines + length, sizeof defines - length, "-D GROUP_SIZE=%u%s", way->group_size,
                                   has_rows ? " -D HAS_ROWS" : "");
    if (length >= sizeof defines)
        return eqf__fail(field->ctx, EQF_ERROR_UNSUPPORTED, "the options of the message field's program are too long");
    snprintf(name, sizeof name, "message_group%s%s", has_rows ? "_divergence" : "", field->real.suffix);
    return eqf__program_get(field->ctx, name, has_rows ? files_with_rows : files, defines, program_out);
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
           eqf__budget_units(ctx, plan->turns_of_part, 0, 1) > 0;
}

/* Loop turns are counted for a group: a driver that limits them adds those of all vectors, of at least four lanes. */
static void make_plan(const eqf__message_group *group, const eqf__message_shape *shape, bool has_rows,
                      unsigned group_size, eqf__group_plan *plan_out) {
    const eqf__field *field = group->field;
    const uint64_t vectors = (group_size + 3) / 4;
    eqf__group_plan_make(shape, field->num_particles, field->space_dim, has_rows, group_size, plan_out);
    plan_out->turns_of_values *= vectors;
    plan_out->turns_of_part *= vectors;
}

static void release_way(group_way *way) {
    eqf__kernel_destroy(&way->values);
    eqf__kernel_destroy(&way->sources);
}

/* *fits_out is false if the device cannot run it; the log says why. */
static eqf_status create_way(eqf__message_group *group, const eqf__message_shape *shape, bool has_rows,
                             bool *fits_out) {
    eqf__field *field = group->field;
    eqf_context *ctx = field->ctx;
    const eqf__device *device = ctx->device;
    group_way *way = &group->ways[has_rows];
    eqf__program *program;
    *fits_out = false;
    make_plan(group, shape, has_rows, device->group_size, &way->plan);
    const size_t bytes =
        (way->plan.local_size > way->plan.values_local_size ? way->plan.local_size : way->plan.values_local_size) *
        field->real.size;
    if (bytes > device->info.local_memory_bytes) {
        eqf__log(ctx, EQF_LOG_DEBUG,
                 "message field of %u particles: tensors stay in scratch memory, as %zu bytes of local memory are "
                 "needed and %s has %llu",
                 field->num_particles, bytes, device->info.name, (unsigned long long)device->info.local_memory_bytes);
        return EQF_OK;
    }
    for (way->group_size = choose_group_size(device, &way->plan);; way->group_size = device->group_size) {
        make_plan(group, shape, has_rows, way->group_size, &way->plan);
        if (!fits_budget(ctx, &way->plan)) {
            eqf__log(ctx, EQF_LOG_DEBUG, "message field of %u particles: not by work-groups, as %s limits a launch",
                     field->num_particles, device->info.name);
            return EQF_OK;
        }
        release_way(way);
        EQF__TRY(build(field, way, has_rows, &program));
        EQF__TRY(eqf__kernel_create(ctx, program, "message_group_values", &way->values));
        EQF__TRY(eqf__kernel_create(ctx, program, "message_group_sources", &way->sources));
        const size_t most = eqf__kernel_largest_group(ctx, &way->sources);
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

static eqf_status create_weights(eqf__message_group *group, const eqf__message_shape *shape) {
    eqf_context *ctx = group->field->ctx;
    const size_t num_weights = group->ways[1].plan.num_weights;
    cl_uint *sources = eqf__alloc(ctx, num_weights, sizeof *sources, "the places of weights");
    if (sources == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf__group_weight_sources(shape, sources);
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
    group->d_pairs = d_pairs;
    bool fits;
    eqf_status status = create_way(group, shape, true, &fits);
    if (status == EQF_OK && fits) status = create_way(group, shape, false, &fits);
    if (status == EQF_OK && fits) status = create_weights(group, shape);
    if (status == EQF_OK && fits)
        status = eqf__kernel_create(ctx, group->ways[1].sources.program, "message_group_weights", &group->transpose);
    if (status != EQF_OK || !fits) eqf__message_group_destroy(&group);
    *group_out = group;
    return status;
}

void eqf__message_group_destroy(eqf__message_group **group) {
    eqf__message_group *of = *group;
    if (of == NULL) return;
    for (unsigned w = 0; w < 2; w++) release_way(&of->ways[w]);
    eqf__kernel_destroy(&of->transpose);
    eqf__buffer_destroy(&of->d_sources);
    eqf__buffer_destroy(&of->d_weights);
    eqf__buffer_destroy(&of->d_scratch);
    free(of);
    *group = NULL;
}

eqf__program *eqf__message_group_program(const eqf__message_group *group) {
    return group->ways[1].sources.program;
}

/* ---- Evaluation -------------------------------------------------------------------------------------------------- */

eqf_status eqf__message_group_prepare(eqf__message_group *group) {
    const eqf__field *field = group->field;
    const cl_uint num_weights = (cl_uint)group->ways[1].plan.num_weights, num_params = (cl_uint)field->num_params;
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
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->sources, count * way->group_size, way->group_size,
                             EQF__ARG(field->d_params), EQF__ARG(group->d_weights), EQF__ARG(group->d_scratch),
                             EQF__ARG(d_velocity), EQF__ARG(d_divergence), EQF__ARG(first), EQF__ARG(begin),
                             EQF__ARG(end)));
    }
    return EQF_OK;
}

eqf_status eqf__message_group_evaluate(eqf__message_group *group, size_t num_samples, cl_mem d_x, cl_mem d_times,
                                       cl_mem d_velocity, cl_mem d_divergence) {
    const eqf__field *field = group->field;
    const group_way *way = &group->ways[d_divergence != NULL];
    const eqf__real_argument spacing =
        eqf__real_value(&field->real, field->options.distance_max / (field->options.num_distance - 1.0));
    size_t num_slices = num_samples < most_slices ? num_samples : most_slices;
    if (d_divergence == NULL) d_divergence = field->d_params; /* any buffer */
    EQF__TRY(ensure_scratch(group, way->plan.slice_size, &num_slices));
    for (size_t begin = 0; begin < num_samples; begin += num_slices) {
        const size_t count = num_samples - begin < num_slices ? num_samples - begin : num_slices;
        const cl_uint first = (cl_uint)begin;
        EQF__TRY(EQF__LAUNCH(field->ctx, &way->values, count * way->group_size, way->group_size,
                             EQF__ARG(group->d_pairs), EQF__ARG(field->d_params), EQF__ARG(group->d_weights),
                             EQF__ARG(group->d_scratch), EQF__ARG(d_x), EQF__ARG(d_times),
                             EQF__REAL_ARG(&field->real, spacing), EQF__ARG(first)));
        EQF__TRY(launch_sources(group, way, d_velocity, d_divergence, first, count));
    }
    return EQF_OK;
}
