/* The slices of the message field's parameters: names, shapes and order of docs/method.md, and the letters of its
 * equations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"

static double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

enum { num_time = 9 }; /* T(t): 8 Gaussians and 1 */

/* hop 0: the name stands alone. */
static void add_slice(ref_message *message, const char *name, unsigned hop, size_t rows, size_t columns) {
    if (message->num_slices == ref_message_most_slices) abort();
    ref_matrix *slice = message->slices + message->num_slices++;
    if (hop)
        snprintf(slice->name, sizeof slice->name, "message.%s_%u", name, hop);
    else
        snprintf(slice->name, sizeof slice->name, "message.%s", name);
    slice->hop = hop;
    slice->rows = rows;
    slice->columns = slice->stride = columns;
    slice->offset = message->num_params;
    message->num_params += rows * columns;
}

/* Of the slice that was added last: rows from `row` on, columns from `column` on. */
static void add_part(ref_message *message, const char *letter, size_t row, size_t rows, size_t column, size_t columns) {
    if (message->num_parts == ref_message_most_parts) abort();
    const ref_matrix *slice = message->slices + message->num_slices - 1;
    ref_matrix *part = message->parts + message->num_parts++;
    if (row + rows > slice->rows || column + columns > slice->columns) abort();
    *part = (ref_matrix){.hop = slice->hop,
                         .rows = rows,
                         .columns = columns,
                         .stride = slice->stride,
                         .offset = slice->offset + row * slice->stride + column};
    snprintf(part->name, sizeof part->name, "%s", letter);
}

/* species: "", "_ab", "_bb" */
static void add_letter(ref_message *message, const char *letter, const char *species, size_t row, size_t rows) {
    char name[16];
    snprintf(name, sizeof name, "%s%s", letter, species);
    add_part(message, name, row, rows, 0, message->shape.num_radial);
}

static void add_filters(ref_message *message, const ref_message_shape *s, const char *species) {
    size_t K = s->num_radial, H = s->num_scalars, M = s->num_vectors, E = s->edge_width;
    char name[32];
    snprintf(name, sizeof name, "filter%s", species);
    add_slice(message, name, 1, H + M, K);
    add_letter(message, "f", species, 0, H);
    add_letter(message, "g", species, H, M);
    for (unsigned l = 2; l <= s->num_hops; ++l) {
        add_slice(message, name, l, H + 3 * M, K);
        add_letter(message, "f", species, 0, H);
        add_letter(message, "p", species, H, M);
        add_letter(message, "g", species, H + M, M);
        add_letter(message, "q", species, H + 2 * M, M);
    }
    snprintf(name, sizeof name, "filter%s_edge", species);
    add_slice(message, name, 0, 2 * E, K);
    add_letter(message, "a", species, 0, E);
    add_letter(message, "c", species, E, E);
}

static void add_filters_and_times(ref_message *message, const ref_message_shape *s) {
    size_t K = s->num_radial, H = s->num_scalars, E = s->edge_width;
    add_filters(message, s, "");
    for (unsigned l = 1; l <= s->num_hops; ++l) {
        add_slice(message, "time", l, H, num_time);
        add_part(message, "tau", 0, H, 0, num_time);
    }
    add_slice(message, "time_edge", 0, 3 * E, num_time);
    add_part(message, "tau_c", 0, E, 0, num_time);
    add_part(message, "tau_B", E, E, 0, num_time);
    add_part(message, "tau_e", 2 * E, E, 0, num_time);
    add_slice(message, "time_radial", 0, K + 1, num_time);
    add_part(message, "alpha", 0, K + 1, 0, num_time);
    if (s->num_b > 0) {
        add_slice(message, "time_b", 1, H, num_time);
        add_part(message, "tau_b", 0, H, 0, num_time);
    }
}

static void add_networks(ref_message *message, const ref_message_shape *s) {
    size_t H = s->num_scalars, M = s->num_vectors, E = s->edge_width, R = s->num_reduced;
    add_slice(message, "input", 0, H, H);
    add_part(message, "W0", 0, H, 0, H);
    for (unsigned l = 2; l <= s->num_hops; ++l) {
        add_slice(message, "mix", l, H + M, H);
        add_part(message, "A", 0, H, 0, H);
        add_part(message, "B", H, M, 0, H);
        add_slice(message, "vector", l, 2 * M, M);
        add_part(message, "U", 0, M, 0, M);
        add_part(message, "V", M, M, 0, M);
        add_slice(message, "product", l, 2 * M, M);
        add_part(message, "P", 0, M, 0, M);
        add_part(message, "Q", M, M, 0, M);
        add_slice(message, "update", l, H, 2 * H + 2 * M);
        add_part(message, "W1", 0, H, 0, H);
        add_part(message, "W2", 0, H, H, H);
        add_part(message, "W3", 0, H, 2 * H, M);
        add_part(message, "W4", 0, H, 2 * H + M, M);
        add_slice(message, "gate", l, M, H);
        add_part(message, "G", 0, M, 0, H);
    }
    add_slice(message, "readout_vector", 0, R, M);
    add_part(message, "Y", 0, R, 0, M);
    add_slice(message, "readout_node", 0, 2 * E, H + R);
    add_part(message, "B1", 0, E, 0, H + R);
    add_part(message, "C1", E, E, 0, H + R);
    add_slice(message, "readout_invariant", 0, E, 3 * R);
    add_part(message, "S", 0, E, 0, 3 * R);
    add_slice(message, "edge", 0, E, E);
    add_part(message, "W2e", 0, E, 0, E);
    add_slice(message, "edge_out", 0, 2, E);
    add_part(message, "w3", 0, 1, 0, E);
    add_part(message, "w4", 1, 1, 0, E);
    add_slice(message, "gate_out", 0, M, H);
    add_part(message, "G_out", 0, M, 0, H);
    add_slice(message, "vector_out", 0, 1, M);
    add_part(message, "omega", 0, 1, 0, M);
}

ref_message *ref_message_create(ref_message_shape shape, double distance_max) {
    ref_message *message = calloc(1, sizeof *message);
    if (!message || shape.num_hops > ref_message_most_hops) abort();
    message->shape = shape;
    add_filters_and_times(message, &shape);
    add_networks(message, &shape);
    if (shape.num_b > 0) {
        add_filters(message, &shape, "_ab");
        add_filters(message, &shape, "_bb");
    }
    message->params = zeros(message->num_params);
    message->centers = zeros(shape.num_radial);
    double distance = distance_max / (shape.num_radial - 1.0); /* of neighbouring centres */
    for (unsigned k = 0; k < shape.num_radial; ++k) message->centers[k] = k * distance;
    message->gamma = sqrt(2.0) * distance;
    return message;
}

static const eqf_param_slice *find(const eqf_model *model, const char *name) {
    for (size_t i = 0; i < eqf_model_num_slices(model); ++i)
        if (!strcmp(eqf_model_slice(model, i)->name, name)) return eqf_model_slice(model, i);
    return NULL;
}

/* Sizes are read off the shapes, so that every slice must fit the others. */
ref_message *ref_message_from_model(const eqf_model *model) {
    const eqf_model_options *options = eqf_model_options_of(model);
    const eqf_param_slice *input = find(model, "message.input"), *out = find(model, "message.vector_out"),
                          *edge = find(model, "message.edge"), *reduced = find(model, "message.readout_vector"),
                          *filter = find(model, "message.filter_1");
    if (!input || !out || !edge || !reduced || !filter || filter->num_dims != 2 || out->num_dims != 2) return NULL;
    ref_message_shape shape = {.num_particles = options->potential.num_particles,
                               .space_dim = options->potential.space_dim,
                               .num_radial = (unsigned)filter->shape[1],
                               .num_scalars = (unsigned)input->shape[0],
                               .num_vectors = (unsigned)out->shape[1],
                               .edge_width = (unsigned)edge->shape[0],
                               .num_reduced = (unsigned)reduced->shape[0],
                               .num_b = eqf_potential_num_b(&options->potential)};
    char name[40];
    do snprintf(name, sizeof name, "message.filter_%u", ++shape.num_hops + 1);
    while (find(model, name));
    ref_message *message = ref_message_create(shape, options->dynamics.distance_max);
    bool is_good =
        message->num_slices == eqf_model_num_slices(model) && message->num_params == eqf_model_num_params(model);
    for (size_t i = 0; is_good && i < message->num_slices; ++i) {
        const eqf_param_slice *theirs = eqf_model_slice(model, i);
        const ref_matrix *ours = message->slices + i;
        is_good = !strcmp(theirs->name, ours->name) && theirs->num_dims == 2 && theirs->shape[0] == ours->rows &&
                  theirs->shape[1] == ours->columns && theirs->offset == ours->offset;
    }
    for (size_t p = 0; is_good && p < message->num_params; ++p) message->params[p] = eqf_model_params(model)[p];
    if (is_good) return message;
    ref_message_destroy(message);
    return NULL;
}

void ref_message_destroy(ref_message *message) {
    if (!message) return;
    free(message->params);
    free(message->centers);
    free(message);
}

const ref_matrix *ref_message_part(const ref_message *message, const char *letter, unsigned hop) {
    for (size_t i = 0; i < message->num_parts; ++i)
        if (message->parts[i].hop == hop && !strcmp(message->parts[i].name, letter)) return message->parts + i;
    fprintf(stderr, "ref_message: no %s in hop %u\n", letter, hop);
    abort();
}

const ref_matrix *ref_message_pair_part(const ref_message *message, const char *letter, unsigned hop, size_t i,
                                        size_t j) {
    static const char *const species[] = {"", "_ab", "_bb"};
    const size_t first_b = message->shape.num_particles - message->shape.num_b;
    char name[16];
    snprintf(name, sizeof name, "%s%s", letter, species[(i >= first_b) + (j >= first_b)]);
    return ref_message_part(message, name, hop);
}
