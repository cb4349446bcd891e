#include "message_params.h"

#include <math.h>

#include "start_values.h"

const eqf_option eqf__message_options[] = {
    EQF__OPTION(eqf_dynamics_options, num_hops, UNSIGNED, .initial = 3, .low = 1, .high = EQF__MESSAGE_MAX_HOPS,
                .help = "hops of messages, the first included"),
    EQF__OPTION(eqf_dynamics_options, num_scalars, UNSIGNED, .initial = 48, .low = 1, .high = 256,
                .help = "scalar channels of a particle"),
    EQF__OPTION(eqf_dynamics_options, num_vectors, UNSIGNED, .initial = 16, .low = 1, .high = 128,
                .help = "vector channels of a particle"),
    EQF__OPTION(eqf_dynamics_options, num_edge, UNSIGNED, .initial = 48, .low = 1, .high = 256,
                .help = "channels of an edge in the read-out"),
    EQF__OPTION(eqf_dynamics_options, num_reduced, UNSIGNED, .initial = 8, .low = 1, .high = 64,
                .help = "vectors of a particle that an edge reads"),
    EQF__OPTION(eqf_dynamics_options, num_distance, UNSIGNED, .initial = 32, .low = 2, .high = 256,
                .help = "Gaussians in distance"),
    EQF__OPTION(eqf_dynamics_options, distance_max, REAL, .initial = 6, .low = 1e-6, .high = 1e6, .unit = "length",
                .help = "largest centre of the Gaussians in distance"),
    EQF__OPTIONS_END};

/* ---- Slices ------------------------------------------------------------------------------------------------------ */

/* Names of hops 1 ... 8. */
#define HOP_NAMES(noun)                                                                                               \
    {                                                                                                                 \
        "message." noun "_1", "message." noun "_2", "message." noun "_3", "message." noun "_4", "message." noun "_5", \
            "message." noun "_6", "message." noun "_7", "message." noun "_8"                                          \
    }
static const char *const time_names[] = HOP_NAMES("time");
static const char *const mix_names[] = HOP_NAMES("mix"), *const vector_names[] = HOP_NAMES("vector");
static const char *const product_names[] = HOP_NAMES("product"), *const update_names[] = HOP_NAMES("update");
static const char *const gate_names[] = HOP_NAMES("gate");
/* [number of particles of species B in the pair][hop - 1] */
static const char *const species_filter_names[EQF__MESSAGE_NUM_PAIR_KINDS][EQF__MESSAGE_MAX_HOPS] = {
    HOP_NAMES("filter"), HOP_NAMES("filter_ab"), HOP_NAMES("filter_bb")};
static const char *const edge_filter_names[EQF__MESSAGE_NUM_PAIR_KINDS] = {
    "message.filter_edge", "message.filter_ab_edge", "message.filter_bb_edge"};

/* A slice; the standard deviation of its start values is scale in the first num_first rows, then second_scale. */
typedef struct slice_row {
    const char *name;
    size_t num_outputs, num_inputs, num_first;
    double scale, second_scale;
} slice_row;

typedef struct slice_list {
    slice_row rows[EQF__MESSAGE_MAX_SLICES];
    size_t count, num_params;
} slice_list;

/* Appends a slice; returns its offset in the parameter vector. */
static size_t add(slice_list *list, const char *name, size_t num_outputs, size_t num_inputs, double scale) {
    const size_t at = list->num_params;
    list->rows[list->count++] = (slice_row){name, num_outputs, num_inputs, num_outputs, scale, scale};
    list->num_params += num_outputs * num_inputs;
    return at;
}

/* Filters for scalars, then filters for vectors. */
static size_t add_filters(slice_list *list, const char *name, size_t num_scalar, size_t num_vector, size_t num_radial) {
    const size_t at = add(list, name, num_scalar + num_vector, num_radial, 0.2);
    list->rows[list->count - 1].num_first = num_scalar;
    list->rows[list->count - 1].second_scale = 0.06;
    return at;
}

static double by_inputs(unsigned num_inputs) {
    return 1.0 / sqrt((double)num_inputs);
}

/* All filters of a pair with num_b_of_pair particles of species B. */
static void list_filters(eqf__message_shape *shape, unsigned num_b_of_pair, slice_list *list) {
    const unsigned H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, K = shape->num_radial;
    shape->num_filters = 0;
    for (unsigned l = 1; l <= shape->num_hops; l++) {
        const unsigned num_vector = l == 1 ? M : 3 * M;
        const size_t at = add_filters(list, species_filter_names[num_b_of_pair][l - 1], H, num_vector, K);
        if (l == 1) shape->at_filters[num_b_of_pair] = at;
        shape->first_filter[l] = shape->num_filters;
        shape->num_filters += H + num_vector;
    }
    add(list, edge_filter_names[num_b_of_pair], 2 * E, K, 0.2);
    shape->num_filters += 2 * E;
}

static void list_slices(eqf__message_shape *shape, slice_list *list) {
    const unsigned L = shape->num_hops, H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge;
    const unsigned R = shape->num_reduced, K = shape->num_radial;
    *list = (slice_list){.count = 0, .num_params = 0};
    list_filters(shape, 0, list);
    for (unsigned l = 1; l <= L; l++) {
        const size_t at = add(list, time_names[l - 1], H, EQF__MESSAGE_NUM_TIME, 0.1);
        if (l == 1) shape->at_times = at;
    }
    add(list, "message.time_edge", 3 * E, EQF__MESSAGE_NUM_TIME, 0.1);
    add(list, "message.time_radial", K + 1, EQF__MESSAGE_NUM_TIME, 0.01);
    shape->time_of_b = shape->num_times = L * H + 3 * E + K + 1;
    if (shape->num_b > 0) {
        add(list, "message.time_b_1", H, EQF__MESSAGE_NUM_TIME, 0.1);
        shape->num_times += H;
    }
    shape->at_input = add(list, "message.input", H, H, by_inputs(H));
    for (unsigned l = 2; l <= L; l++) {
        shape->at_mix[l] = add(list, mix_names[l - 1], H + M, H, by_inputs(H));
        shape->at_vector[l] = add(list, vector_names[l - 1], 2 * M, M, by_inputs(M));
        shape->at_product[l] = add(list, product_names[l - 1], 2 * M, M, by_inputs(M));
        shape->at_update[l] = add(list, update_names[l - 1], H, 2 * H + 2 * M, by_inputs(2 * H + 2 * M));
        shape->at_gate[l] = add(list, gate_names[l - 1], M, H, 0.3 * by_inputs(H));
    }
    shape->at_readout_vector = add(list, "message.readout_vector", R, M, by_inputs(M));
    shape->at_readout_node = add(list, "message.readout_node", 2 * E, H + R, by_inputs(H + R));
    shape->at_readout_invariant = add(list, "message.readout_invariant", E, 3 * R, 0.3 * by_inputs(R));
    shape->at_edge = add(list, "message.edge", E, E, by_inputs(E));
    shape->at_edge_out = add(list, "message.edge_out", 2, E, 0.05 * by_inputs(E));
    shape->at_gate_out = add(list, "message.gate_out", M, H, 0.3 * by_inputs(H));
    shape->at_vector_out = add(list, "message.vector_out", 1, M, 0.05 * by_inputs(M));
    for (unsigned num_b = 1; num_b < EQF__MESSAGE_NUM_PAIR_KINDS && shape->num_b > 0; num_b++)
        list_filters(shape, num_b, list);
}

static void list_of(const eqf_dynamics_options *options, eqf__message_shape *shape, slice_list *list) {
    *shape = (eqf__message_shape){.num_hops = options->num_hops,
                                  .num_scalars = options->num_scalars,
                                  .num_vectors = options->num_vectors,
                                  .num_edge = options->num_edge,
                                  .num_reduced = options->num_reduced,
                                  .num_radial = options->num_distance,
                                  .num_b = options->num_b};
    list_slices(shape, list);
}

void eqf__message_shape_of(const eqf_dynamics_options *options, eqf__message_shape *shape_out) {
    slice_list list;
    list_of(options, shape_out, &list);
}

size_t eqf__message_layout(const eqf_dynamics_options *options, size_t num_dof, eqf_param_slice *slices_out,
                           size_t *num_slices_out, size_t *num_trained_out) {
    (void)num_dof; /* the parameters do not depend on the number of particles */
    eqf__message_shape shape;
    slice_list list;
    list_of(options, &shape, &list);
    size_t offset = 0;
    for (size_t s = 0; s < list.count; s++) {
        const slice_row *row = &list.rows[s];
        const size_t count = row->num_outputs * row->num_inputs;
        slices_out[s] = (eqf_param_slice){.struct_size = sizeof *slices_out,
                                          .name = row->name,
                                          .num_dims = 2,
                                          .shape = {row->num_outputs, row->num_inputs},
                                          .offset = offset,
                                          .count = count,
                                          .is_trained = true};
        offset += count;
    }
    *num_slices_out = list.count;
    *num_trained_out = offset;
    return offset;
}

eqf_status eqf__message_init_params(eqf_context *ctx, const eqf_dynamics_options *options, size_t num_dof,
                                    uint64_t seed, float *params_out) {
    (void)ctx;
    (void)num_dof;
    eqf__message_shape shape;
    slice_list list;
    list_of(options, &shape, &list);
    uint32_t index = 0;
    for (size_t s = 0; s < list.count; s++)
        for (size_t o = 0; o < list.rows[s].num_outputs; o++) {
            const double scale = o < list.rows[s].num_first ? list.rows[s].scale : list.rows[s].second_scale;
            for (size_t i = 0; i < list.rows[s].num_inputs; i++, index++)
                params_out[index] = (float)(scale * eqf__start_normal(seed, index));
        }
    return EQF_OK;
}
