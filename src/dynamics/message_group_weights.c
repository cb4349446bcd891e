/* The weights as the kernels of cl/dynamics/message_group.clh read them: each matrix [inputs][outputs], and for the
 * reverse pass once more [outputs][inputs]; rows are filled up to multiples of four. */
#include "message_group_sizes.h"

/* Matrix [outputs][inputs] at `from` of the parameters. */
typedef struct weight_matrix {
    const char *name; /* of its defines; of the hops after hop 2 it is not used */
    size_t from, num_outputs, num_inputs;
} weight_matrix;

enum { MATRICES_OF_HOP = 7, MOST_MATRICES = 16 + MATRICES_OF_HOP * EQF__MESSAGE_MAX_HOPS };
static const char *const of_hop[MATRICES_OF_HOP] = {"A", "B", "U", "V", "PQ", "UPDATE", "GATE"};

/* Matrices 0 ... of all, then those of hop 2, those of hop 3, ...; returns the number of those before. */
static size_t list_matrices(const eqf__message_shape *shape, weight_matrix *list, size_t *num_out) {
    const size_t H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, R = shape->num_reduced;
    static const char *const filters[] = {"FILTERS", "FILTERS_AB", "FILTERS_BB"};
    size_t n = 0, num_first;
    for (size_t kind = 0; kind < (shape->num_b > 0 ? 3 : 1); kind++)
        list[n++] = (weight_matrix){filters[kind], shape->at_filters[kind], shape->num_filters, shape->num_radial};
    list[n++] = (weight_matrix){"INPUT", shape->at_input, H, H};
    list[n++] = (weight_matrix){"Y", shape->at_readout_vector, R, M};
    list[n++] = (weight_matrix){"B1", shape->at_readout_node, E, H + R};
    list[n++] = (weight_matrix){"C1", shape->at_readout_node + E * (H + R), E, H + R};
    list[n++] = (weight_matrix){"INVARIANT", shape->at_readout_invariant, E, 3 * R};
    list[n++] = (weight_matrix){"EDGE", shape->at_edge, E, E};
    list[n++] = (weight_matrix){"GATE_OUT", shape->at_gate_out, M, H};
    num_first = n;
    for (unsigned l = 2; l <= shape->num_hops; l++) {
        list[n++] = (weight_matrix){"A", shape->at_mix[l], H, H};
        list[n++] = (weight_matrix){"B", shape->at_mix[l] + H * H, M, H};
        list[n++] = (weight_matrix){"U", shape->at_vector[l], M, M};
        list[n++] = (weight_matrix){"V", shape->at_vector[l] + M * M, M, M};
        list[n++] = (weight_matrix){"PQ", shape->at_product[l], 2 * M, M};
        list[n++] = (weight_matrix){"UPDATE", shape->at_update[l], H, 2 * H + 2 * M};
        list[n++] = (weight_matrix){"GATE", shape->at_gate[l], M, H};
    }
    *num_out = n;
    return num_first;
}

static size_t transposed_size(const weight_matrix *matrix) {
    return matrix->num_inputs * eqf__in_fours(matrix->num_outputs);
}
static size_t straight_size(const weight_matrix *matrix) {
    return matrix->num_outputs * eqf__in_fours(matrix->num_inputs);
}

/* Defines the matrices' places, one after the other from `begin` on, and returns their end: prefix NAME of all but the
 * hops'; prefix HOP of hop 2; prefix NAME, within a hop, of a hop's; prefix size_name, of a hop. */
static size_t place(eqf__group_plan *plan, const eqf__message_shape *shape, const char *prefix, const char *size_name,
                    size_t begin, size_t (*size_of)(const weight_matrix *matrix)) {
    weight_matrix list[MOST_MATRICES];
    size_t num, end = begin, hop = 0;
    const size_t num_first = list_matrices(shape, list, &num);
    for (size_t n = 0; n < num; n++) {
        if (n == num_first) hop = end;
        if (n < num_first)
            eqf__group_define_as(plan, prefix, list[n].name, end);
        else if (n < num_first + MATRICES_OF_HOP)
            eqf__group_define_as(plan, prefix, list[n].name, end - hop);
        end += size_of(&list[n]);
        if (n + 1 == num_first + MATRICES_OF_HOP) eqf__group_define_one(plan, size_name, end - hop);
    }
    if (num == num_first) { /* names in text that is not executed */
        for (size_t n = 0; n < MATRICES_OF_HOP; n++) eqf__group_define_as(plan, prefix, of_hop[n], 0);
        eqf__group_define_one(plan, size_name, 0);
    }
    eqf__group_define_as(plan, prefix, "HOP", hop);
    return end;
}

/* Defines the places of the parameters themselves, where gradients go: P_NAME, P_HOP, P_HOP_SIZE. */
static void place_params(eqf__group_plan *plan, const eqf__message_shape *shape) {
    weight_matrix list[MOST_MATRICES];
    size_t num;
    const size_t num_first = list_matrices(shape, list, &num);
    for (size_t n = 0; n < num_first; n++) eqf__group_define_as(plan, "P_", list[n].name, list[n].from);
    for (size_t n = num_first; n < num_first + MATRICES_OF_HOP && n < num; n++)
        eqf__group_define_as(plan, "P_", list[n].name, list[n].from - list[num_first].from);
    for (size_t n = 0; n < MATRICES_OF_HOP && num == num_first; n++) eqf__group_define_as(plan, "P_", of_hop[n], 0);
    const size_t next = num_first + MATRICES_OF_HOP;
    eqf__group_define_one(plan, "P_HOP", num > num_first ? list[num_first].from : 0);
    eqf__group_define_one(plan, "P_HOP_SIZE", num > next ? list[next].from - list[num_first].from : 0);
}

/* After all others, of each hop once more the update's matrix [outputs][inputs], with each of its four kinds of inputs
 * (h, m, sat(p), sat(n)) filled up to a multiple of four: the reverse of the divergence reads them one by one. */
static size_t kinds_of_inputs(const eqf__message_shape *shape, size_t *counts_out) {
    const size_t H = shape->num_scalars, M = shape->num_vectors;
    counts_out[0] = counts_out[1] = H;
    counts_out[2] = counts_out[3] = M;
    return 2 * eqf__in_fours(H) + 2 * eqf__in_fours(M);
}

void eqf__group_place_weights(eqf__group_plan *plan, const eqf__group_sizes *s) {
    weight_matrix list[MOST_MATRICES];
    size_t num;
    const size_t end = place(plan, s->shape, "W_", "HOP_SIZE", 0, transposed_size);
    list_matrices(s->shape, list, &num);
    plan->num_weights = end;
    for (size_t n = 0; n < num; n++) plan->num_weights += straight_size(&list[n]);
    size_t counts[4];
    const size_t row = kinds_of_inputs(s->shape, counts);
    plan->num_weights += (s->L - 1) * s->H * row;
    if (!s->is_reverse) return;
    const size_t straight_end = place(plan, s->shape, "R_", "R_HOP_SIZE", end, straight_size);
    if (s->has_rows) {
        eqf__group_define_one(plan, "R_KINDS", straight_end);
        eqf__group_define_one(plan, "KINDS_ROW", row);
    }
    place_params(plan, s->shape);
}

void eqf__group_weight_sources(const eqf__message_shape *shape, cl_uint *sources_out) {
    weight_matrix list[MOST_MATRICES];
    size_t num, end = 0;
    list_matrices(shape, list, &num);
    for (size_t n = 0; n < num; n++)
        for (size_t i = 0; i < list[n].num_inputs; i++)
            for (size_t o = 0; o < eqf__in_fours(list[n].num_outputs); o++)
                sources_out[end++] =
                    o < list[n].num_outputs ? (cl_uint)(list[n].from + o * list[n].num_inputs + i) : UINT32_MAX;
    for (size_t n = 0; n < num; n++)
        for (size_t o = 0; o < list[n].num_outputs; o++)
            for (size_t i = 0; i < eqf__in_fours(list[n].num_inputs); i++)
                sources_out[end++] =
                    i < list[n].num_inputs ? (cl_uint)(list[n].from + o * list[n].num_inputs + i) : UINT32_MAX;
    size_t counts[4];
    kinds_of_inputs(shape, counts);
    for (unsigned l = 2; l <= shape->num_hops; l++) {
        size_t from = shape->at_update[l];
        for (size_t o = 0; o < shape->num_scalars; o++)
            for (unsigned kind = 0; kind < 4; from += counts[kind++])
                for (size_t i = 0; i < eqf__in_fours(counts[kind]); i++)
                    sources_out[end++] = i < counts[kind] ? (cl_uint)(from + i) : UINT32_MAX;
    }
}
