#include "message_group_plan.h"

typedef struct sizes {
    const eqf__message_shape *shape;
    size_t N, D, K, H, M, E, R, L, P;
    size_t hs, ms, es, rs, ks, mixed, pq, invariants; /* strides in local memory: cl/dynamics/message_common.clh */
    size_t full, reduced;                             /* rows of derivatives */
    bool has_rows;
} sizes;

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t divide_up(size_t count, size_t by) {
    return (count + by - 1) / by;
}

static size_t in_fours(size_t count) {
    return divide_up(count, 4) * 4;
}

static sizes sizes_of(const eqf__message_shape *shape, size_t N, size_t D, bool has_rows) {
    const size_t H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, R = shape->num_reduced;
    return (sizes){.shape = shape,
                   .N = N,
                   .D = D,
                   .K = shape->num_radial,
                   .H = H,
                   .M = M,
                   .E = E,
                   .R = R,
                   .L = shape->num_hops,
                   .P = N * (N - 1) / 2,
                   .hs = H | 1,
                   .ms = M | 1,
                   .es = E | 1,
                   .rs = R | 1,
                   .ks = shape->num_radial | 1,
                   .mixed = (2 * H + 2 * M) | 1,
                   .pq = (2 * M) | 1,
                   .invariants = (3 * R) | 1,
                   .full = N * D,
                   .reduced = N + D - 1,
                   .has_rows = has_rows};
}

static void define(eqf__group_plan *plan, const char *name, size_t value) {
    plan->defines[plan->num_defines++] = (eqf__group_define){name, value};
}

/* Defines a place for `count` numbers at *end, and moves *end behind it. */
static size_t take(eqf__group_plan *plan, const char *name, size_t *end, size_t count) {
    const size_t at = *end;
    define(plan, name, at);
    *end += count;
    return at;
}

/* ---- Local memory ------------------------------------------------------------------------------------------------ */

/* Tensors of the pass over values, in the place that others use before and after. Returns the end. */
static size_t place_values(eqf__group_plan *plan, const sizes *s, size_t begin) {
    size_t end = begin, most, readout;
    take(plan, "SM_T", &end, EQF__MESSAGE_NUM_TIME);
    take(plan, "SM_E", &end, s->P * s->ks);
    take(plan, "SM_E1", &end, s->has_rows ? s->P * s->ks : 0);
    most = end;
    end = begin;
    take(plan, "SM_MIXED", &end, s->N * s->mixed);
    take(plan, "SM_U", &end, s->full * s->ms);
    take(plan, "SM_GATE", &end, s->N * s->ms);
    readout = end;
    take(plan, "SM_W", &end, s->full * s->ms);
    take(plan, "SM_P", &end, s->N * s->ms);
    const size_t products = end;
    define(plan, "SM_PQ", products); /* the three after it are done with, or not begun */
    take(plan, "SM_A", &end, s->N * s->hs);
    define(plan, "SM_Z", end);
    most = larger(most, end + s->N * s->hs);
    take(plan, "SM_B", &end, s->N * s->ms);
    take(plan, "SM_VU", &end, s->full * s->ms);
    most = larger(most, larger(end, products + s->full * s->pq));
    /* the read-out has no use for w and what follows */
    take(plan, "SM_Y", &readout, s->full * s->rs);
    take(plan, "SM_N", &readout, s->N * s->rs);
    take(plan, "SM_B1", &readout, s->N * s->es);
    take(plan, "SM_C1", &readout, s->N * s->es);
    return larger(most, readout);
}

/* Tensors of the edges of num_sources particles. */
static size_t place_edges(eqf__group_plan *plan, const sizes *s, size_t begin, size_t num_sources) {
    const size_t rows = (s->has_rows ? 2 : 1) * num_sources * (s->N - 1);
    take(plan, "SM_INVARIANTS", &begin, rows * s->invariants);
    take(plan, "SM_EDGE_Z", &begin, rows * s->es);
    take(plan, "SM_EDGE_ACT", &begin, rows * s->es);
    take(plan, "SM_EDGE_Q", &begin, rows * s->es);
    take(plan, "SM_EDGE_PARTS", &begin, rows * 8);
    take(plan, "SM_EDGE_G", &begin, rows);
    return begin;
}

/* Numbers of a hop's rows: of scalars, of vectors, of M scalars; of the last hop, reduced. */
typedef struct row_sizes {
    size_t h, v, m, last_h, last_v, last_m;
} row_sizes;

/* Rows of derivatives with respect to one particle: order and life of the tensors as in message_group_rows.clh. */
static size_t place_rows(eqf__group_plan *plan, const sizes *s, size_t begin) {
    const row_sizes of = {.h = s->full * s->hs,
                          .v = s->full * s->D * s->ms,
                          .m = s->full * s->ms,
                          .last_h = s->reduced * s->hs,
                          .last_v = s->reduced * s->D * s->ms,
                          .last_m = s->reduced * s->ms};
    const bool has_full = s->L > 2; /* a hop leaves full rows of h */
    const size_t h = has_full ? of.h : of.last_h, rows = has_full ? s->full : s->reduced;
    define(plan, "SM_DH", begin);
    define(plan, "SM_DSUMS", begin);
    const size_t dw = begin + h, dw_end = dw + (has_full ? of.v + of.m : 0);
    define(plan, "SM_DW", dw);
    define(plan, "SM_DZ_FIRST", dw);
    define(plan, "SM_DP", dw + of.v);
    define(plan, "SM_DP_LAST", dw + of.last_v);
    define(plan, "SM_DH_LAST", dw + of.last_v + of.last_m);
    const size_t du = larger(dw_end, dw + of.last_v + of.last_m + of.last_h);
    define(plan, "SM_DU", du);
    size_t end = du + (s->L > 1 ? of.v : of.last_v), most;
    define(plan, "SM_DGATE", end);
    most = end + rows * s->ms;
    take(plan, "SM_DB", &end, of.m);
    define(plan, "SM_DU_LAST", end);
    take(plan, "SM_DVU", &end, of.v);
    if (s->L > 1) most = larger(most, end);
    /* In the place of u, once its part of w is known: products of w, then z. */
    define(plan, "SM_DPQ", du);
    define(plan, "SM_DZ", du);
    const size_t z_end = du + rows * s->hs, dn = larger(du + rows * s->D * s->pq, z_end);
    define(plan, "SM_DN", dn);
    if (s->L > 1) most = larger(most, dn + rows * s->ms);
    /* The read-out's rows: between h and u if there is room, as both are read. */
    const size_t readout_size =
        s->reduced * s->D * s->rs + s->D * s->ms + s->reduced * s->rs + s->M + s->reduced * s->es;
    const bool is_between = readout_size <= du - dw;
    size_t readout = is_between ? dw : du + of.last_v;
    take(plan, "SM_DY", &readout, s->reduced * s->D * s->rs);
    take(plan, "SM_DGATE_OUT", &readout, s->D * s->ms);
    take(plan, "SM_DSQUARE", &readout, s->reduced * s->rs);
    take(plan, "SM_PART", &readout, s->M);
    take(plan, "SM_DBC", &readout, s->reduced * s->es);
    most = larger(most, place_edges(plan, s, is_between ? du : readout, 1));
    /* As many channels of A h and m at a time as there is room for. */
    const size_t room = most - z_end, each = s->full + rows;
    size_t chunk = in_fours(s->H);
    while (chunk > 4 && (chunk | 1) * each > room) chunk -= 4;
    define(plan, "CHUNK", chunk);
    define(plan, "CHUNK_ROW", chunk | 1);
    define(plan, "SM_DA", z_end);
    define(plan, "SM_DM", z_end + s->full * (chunk | 1));
    return s->L > 1 ? larger(most, z_end + (chunk | 1) * each) : most;
}

static void place_local(eqf__group_plan *plan, const sizes *s) {
    size_t end = 0;
    take(plan, "SM_R", &end, s->N * s->N * s->D);
    take(plan, "SM_D", &end, s->P);
    take(plan, "SM_INVERSE", &end, s->P);
    take(plan, "SM_RADIAL", &end, s->P);
    take(plan, "SM_RADIAL1", &end, s->has_rows ? s->P : 0);
    take(plan, "SM_TAU", &end, s->shape->num_times);
    take(plan, "SM_DIV", &end, 1);
    define(plan, "NUM_LASTING", end);
    plan->values_local_size = place_values(plan, s, end);
    plan->num_sources = 1;
    if (s->has_rows) {
        plan->local_size = place_rows(plan, s, end);
    } else { /* as many sources at a time as need no more memory than the values */
        const size_t each = (s->N - 1) * (s->invariants + 3 * s->es + 8 + 1);
        const size_t most = larger(1, (plan->values_local_size - end) / each);
        plan->num_sources = (unsigned)divide_up(s->N, divide_up(s->N, most < s->N ? most : s->N));
        plan->local_size = place_edges(plan, s, end, plan->num_sources);
    }
    plan->num_parts = (unsigned)divide_up(s->N, plan->num_sources);
    define(plan, "VALUES_LOCAL_SIZE", plan->values_local_size);
    define(plan, "LOCAL_SIZE", plan->local_size);
    define(plan, "SOURCES", plan->num_sources);
    define(plan, "NUM_PARTS", plan->num_parts);
}

/* ---- Scratch memory ---------------------------------------------------------------------------------------------- */

static void place_scratch(eqf__group_plan *plan, const sizes *s) {
    const size_t later = s->has_rows ? s->L - 1 : 0, nodes = s->N * s->M, vectors = s->full * s->M;
    size_t end = 0;
    take(plan, "AT_F", &end, s->P * in_fours(s->shape->num_filters));
    take(plan, "AT_F1", &end, s->has_rows ? s->P * in_fours(s->shape->num_filters) : 0);
    take(plan, "AT_SLOPE", &end, s->has_rows ? s->L * s->N * s->H : 0);
    take(plan, "AT_U", &end, s->L * vectors);
    take(plan, "AT_A", &end, later * s->N * s->H);
    take(plan, "AT_B", &end, later * nodes);
    take(plan, "AT_W", &end, later * vectors);
    take(plan, "AT_VU", &end, later * vectors);
    take(plan, "AT_PQ", &end, later * 2 * vectors);
    take(plan, "AT_SLOPE_P", &end, later * nodes);
    take(plan, "AT_SLOPE_N", &end, later * nodes);
    take(plan, "AT_GATE", &end, later * nodes);
    take(plan, "AT_Y", &end, s->full * s->R);
    take(plan, "AT_SLOPE_SQUARE", &end, s->N * s->R);
    take(plan, "AT_GATE_OUT", &end, nodes);
    take(plan, "AT_B1", &end, s->N * s->E);
    take(plan, "AT_C1", &end, s->N * s->E);
    take(plan, "AT_V", &end, s->full);
    take(plan, "AT_LASTING", &end, s->N * s->full + 4 * s->P + s->shape->num_times + 1);
    plan->slice_size = in_fours(end);
    define(plan, "SLICE_SIZE", plan->slice_size);
}

/* ---- Weights ----------------------------------------------------------------------------------------------------- */

/* Matrix [outputs][inputs] at `from` of the parameters. */
typedef struct weight_matrix {
    const char *name; /* its define; of the hops after hop 2 it is not used */
    size_t from, num_outputs, num_inputs;
} weight_matrix;

enum { MATRICES_OF_HOP = 7, MOST_MATRICES = 16 + MATRICES_OF_HOP * EQF__MESSAGE_MAX_HOPS };

/* Matrices 0 ... of all, then those of hop 2, those of hop 3, ...; returns the number of those before. */
static size_t list_matrices(const eqf__message_shape *shape, weight_matrix *list, size_t *num_out) {
    const size_t H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, R = shape->num_reduced;
    static const char *const filters[] = {"W_FILTERS", "W_FILTERS_AB", "W_FILTERS_BB"};
    size_t n = 0, num_first;
    for (size_t kind = 0; kind < (shape->num_b > 0 ? 3 : 1); kind++)
        list[n++] = (weight_matrix){filters[kind], shape->at_filters[kind], shape->num_filters, shape->num_radial};
    list[n++] = (weight_matrix){"W_INPUT", shape->at_input, H, H};
    list[n++] = (weight_matrix){"W_Y", shape->at_readout_vector, R, M};
    list[n++] = (weight_matrix){"W_B1", shape->at_readout_node, E, H + R};
    list[n++] = (weight_matrix){"W_C1", shape->at_readout_node + E * (H + R), E, H + R};
    list[n++] = (weight_matrix){"W_INVARIANT", shape->at_readout_invariant, E, 3 * R};
    list[n++] = (weight_matrix){"W_EDGE", shape->at_edge, E, E};
    list[n++] = (weight_matrix){"W_GATE_OUT", shape->at_gate_out, M, H};
    num_first = n;
    for (unsigned l = 2; l <= shape->num_hops; l++) {
        list[n++] = (weight_matrix){"W_A", shape->at_mix[l], H, H};
        list[n++] = (weight_matrix){"W_B", shape->at_mix[l] + H * H, M, H};
        list[n++] = (weight_matrix){"W_U", shape->at_vector[l], M, M};
        list[n++] = (weight_matrix){"W_V", shape->at_vector[l] + M * M, M, M};
        list[n++] = (weight_matrix){"W_PQ", shape->at_product[l], 2 * M, M};
        list[n++] = (weight_matrix){"W_UPDATE", shape->at_update[l], H, 2 * H + 2 * M};
        list[n++] = (weight_matrix){"W_GATE", shape->at_gate[l], M, H};
    }
    *num_out = n;
    return num_first;
}

static void place_weights(eqf__group_plan *plan, const eqf__message_shape *shape) {
    static const char *const of_hop[MATRICES_OF_HOP] = {"W_A", "W_B", "W_U", "W_V", "W_PQ", "W_UPDATE", "W_GATE"};
    weight_matrix list[MOST_MATRICES];
    size_t num, end = 0, hop = 0;
    const size_t num_first = list_matrices(shape, list, &num);
    for (size_t n = 0; n < num; n++) {
        const size_t size = list[n].num_inputs * in_fours(list[n].num_outputs);
        if (n == num_first) hop = end;
        if (n < num_first)
            define(plan, list[n].name, end);
        else if (n < num_first + MATRICES_OF_HOP)
            define(plan, list[n].name, end - hop);
        end += size;
        if (n + 1 == num_first + MATRICES_OF_HOP) define(plan, "HOP_SIZE", end - hop);
    }
    if (num == num_first) { /* names in text that is not executed */
        for (size_t n = 0; n < MATRICES_OF_HOP; n++) define(plan, of_hop[n], 0);
        define(plan, "HOP_SIZE", 0);
    }
    define(plan, "W_HOP", hop);
    plan->num_weights = end;
}

void eqf__group_weight_sources(const eqf__message_shape *shape, cl_uint *sources_out) {
    weight_matrix list[MOST_MATRICES];
    size_t num, end = 0;
    list_matrices(shape, list, &num);
    for (size_t n = 0; n < num; n++)
        for (size_t i = 0; i < list[n].num_inputs; i++)
            for (size_t o = 0; o < in_fours(list[n].num_outputs); o++)
                sources_out[end++] =
                    o < list[n].num_outputs ? (cl_uint)(list[n].from + o * list[n].num_inputs + i) : UINT32_MAX;
}

/* ---- Loop turns -------------------------------------------------------------------------------------------------- */

/* Of a matrix product, whose tile takes at most 16 to store, and of a loop over `turns` turns with `inner` turns in
 * each; a loop of n turns counts n + 1. */
static uint64_t product_turns(size_t rows, size_t inputs, size_t outputs, size_t group) {
    return 1 + divide_up(divide_up(rows, 3) * divide_up(outputs, 4), group) * (inputs + 18);
}

static uint64_t loop_turns(size_t turns, size_t inner, size_t group) {
    return 1 + divide_up(turns, group) * (inner + 2);
}

static uint64_t edge_turns(const sizes *s, size_t num_sources, size_t G) {
    const size_t count = num_sources * (s->N - 1), rows = (s->has_rows ? 2 : 1) * count, D = s->D;
    return loop_turns(count * s->R, D * (D + 3) + 4, G) + loop_turns(count * s->E, D + 1, G) +
           product_turns(rows, 3 * s->R, s->E, G) + product_turns(rows, s->E, s->E, G) +
           2 * loop_turns(count * s->E, 0, G) + loop_turns(rows * 8, s->E / 8 + 2, G) + loop_turns(rows, 9, G) +
           2 * loop_turns(num_sources * D, s->N + s->M + 2, G);
}

static uint64_t value_turns(const sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, levels = s->has_rows ? 2 : 1;
    const size_t calls = s->shape->num_b > 0 ? 2 * N + 1 : 1; /* of the filters' products: runs of pairs */
    uint64_t turns = loop_turns(s->P, 2 * D + 2, G) + loop_turns(s->P * s->K, 0, G) +
                     loop_turns(s->shape->num_times, EQF__MESSAGE_NUM_TIME, G) +
                     levels * (product_turns(s->P, s->K, s->shape->num_filters, G) +
                               (calls - 1) * (product_turns(3, s->K, s->shape->num_filters, G) + 2)) +
                     loop_turns(s->P, s->K, G) + loop_turns(N * (H + M), N * (D + 1) + 3 * D, G) +
                     2 * product_turns(N, H, H, G) + loop_turns(N * H, 0, G);
    const uint64_t hop =
        product_turns(N, H, H, G) + 2 * product_turns(N, H, M, G) + 2 * product_turns(s->full, M, M, G) +
        loop_turns(N * H, N, G) + loop_turns(N * M, N * (D + 2) + 4 * D, G) + product_turns(s->full, M, 2 * M, G) +
        2 * loop_turns(N * M, 4 * D, G) + product_turns(N, 2 * H + 2 * M, H, G) + loop_turns(N * H, 0, G);
    turns += (s->L - 1) * (hop + 1);
    return turns + product_turns(s->full, M, R, G) + product_turns(N, H, M, G) + loop_turns(N * R, D, G) +
           loop_turns(N * M, 0, G) + 2 * product_turns(N, H, E, G) + 2 * product_turns(N, R, E, G) +
           loop_turns(N * E, 0, G) + loop_turns(N * (s->full + 4 * s->N), 0, G) + loop_turns(s->full, N, G);
}

static uint64_t row_turns(const sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, full = s->full, reduced = s->reduced;
    const size_t square = D * (D + 2);
    uint64_t turns = loop_turns(N * (H + M), N * (square + 2) + 3 * square, G) + product_turns(reduced, H, H, G) +
                     loop_turns(reduced * H, 0, G);
    /* Expanded rows have D turns for each of 12 numbers of a tile. A chunk has at least four channels. */
    const uint64_t expanded = 12 * (D + 1) * divide_up(divide_up(reduced, 3) * divide_up(H, 4), G);
    const size_t chunks = divide_up(H, 4);
    const uint64_t hop =
        product_turns(full, H, M, G) + product_turns(full * D, M, M, G) +
        loop_turns(N * M, N * (3 * square + 4) + 4 * square, G) + loop_turns(N * H, 2 * D, G) +
        loop_turns(full * M, 2 * D, G) + product_turns(full * D, M, M, G) + product_turns(full * D, M, 2 * M, G) +
        loop_turns(full * M, D, G) + product_turns(full, H, H, G) + 2 * product_turns(full, M, H, G) +
        chunks * (product_turns(full, H, 4, G) + loop_turns(N * 4, N * (2 * D + 4) + 3 * D, G) +
                  product_turns(full, 4, H, G) + 1) +
        2 * loop_turns(full * H, 0, G) + product_turns(full, H, M, G) + loop_turns(full * M, 3 * D, G) + 3 * expanded;
    turns += (s->L - 1) * (hop + 1);
    return turns + product_turns(reduced * D, M, R, G) + product_turns(D, H, M, G) + loop_turns(reduced * R, D, G) +
           loop_turns(M, D, G) + 2 * product_turns(reduced, H, E, G) + 2 * product_turns(reduced, R, E, G);
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

void eqf__group_plan_make(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim, bool has_rows,
                          unsigned group_size, eqf__group_plan *plan_out) {
    const sizes s = sizes_of(shape, num_particles, space_dim, has_rows);
    *plan_out = (eqf__group_plan){.num_defines = 0};
    define(plan_out, "N", s.N);
    define(plan_out, "D", s.D);
    define(plan_out, "K", s.K);
    define(plan_out, "H", s.H);
    define(plan_out, "M", s.M);
    define(plan_out, "E", s.E);
    define(plan_out, "R", s.R);
    define(plan_out, "HOPS", s.L);
    define(plan_out, "FIRST_B", s.N - shape->num_b);
    define(plan_out, "FILTERS", shape->num_filters);
    define(plan_out, "NUM_TIME", EQF__MESSAGE_NUM_TIME);
    define(plan_out, "NUM_TIMES", shape->num_times);
    define(plan_out, "PARAMS_TIMES", shape->at_times);
    define(plan_out, "PARAMS_EDGE_OUT", shape->at_edge_out);
    define(plan_out, "PARAMS_VECTOR_OUT", shape->at_vector_out);
    place_local(plan_out, &s);
    place_scratch(plan_out, &s);
    place_weights(plan_out, shape);
    const size_t edges = (has_rows ? 2 : 1) * plan_out->num_sources * (s.N - 1);
    plan_out->widest = larger(divide_up(edges, 3) * divide_up(s.E, 4), divide_up(s.N, 3) * divide_up(s.H, 4));
    if (has_rows && s.L > 2) plan_out->widest = larger(plan_out->widest, divide_up(s.full, 3) * divide_up(s.H, 4));
    /* Steps, and the calls of each, are loop turns too: at most 32 steps a hop besides two a chunk of four channels. */
    const uint64_t steps = (uint64_t)s.L * (32 + divide_up(s.H, 2)) + 2 * s.N + 16, calls = 6;
    plan_out->turns_of_values = value_turns(&s, group_size) + calls * steps;
    plan_out->turns_of_part = edge_turns(&s, plan_out->num_sources, group_size) +
                              (has_rows ? row_turns(&s, group_size) : 0) + calls * steps;
}
