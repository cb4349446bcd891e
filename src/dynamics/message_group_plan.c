#include "message_group_sizes.h"

static eqf__group_sizes sizes_of(const eqf__message_shape *shape, size_t N, size_t D, eqf__group_pass pass) {
    const size_t H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, R = shape->num_reduced;
    return (eqf__group_sizes){.shape = shape,
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
                              .has_rows = pass == EQF__GROUP_DIVERGENCE || pass == EQF__GROUP_DIVERGENCE_REVERSE,
                              .is_reverse = pass == EQF__GROUP_REVERSE || pass == EQF__GROUP_DIVERGENCE_REVERSE};
}

/* ---- Local memory ------------------------------------------------------------------------------------------------ */

/* Tensors of the pass over values, in the place that others use before and after. Returns the end. */
static size_t place_values(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    size_t end = begin, most, readout;
    eqf__group_take(plan, "SM_T", &end, EQF__MESSAGE_NUM_TIME);
    eqf__group_take(plan, "SM_E", &end, s->P * s->ks);
    eqf__group_take(plan, "SM_E1", &end, s->has_rows ? s->P * s->ks : 0);
    most = end;
    end = begin;
    eqf__group_take(plan, "SM_MIXED", &end, s->N * s->mixed);
    eqf__group_take(plan, "SM_U", &end, s->full * s->ms);
    eqf__group_take(plan, "SM_GATE", &end, s->N * s->ms);
    readout = end;
    eqf__group_take(plan, "SM_W", &end, s->full * s->ms);
    eqf__group_take(plan, "SM_P", &end, s->N * s->ms);
    const size_t products = end;
    eqf__group_define_one(plan, "SM_PQ", products); /* the three after it are done with, or not begun */
    eqf__group_take(plan, "SM_A", &end, s->N * s->hs);
    eqf__group_define_one(plan, "SM_Z", end);
    most = eqf__larger(most, end + s->N * s->hs);
    eqf__group_take(plan, "SM_B", &end, s->N * s->ms);
    eqf__group_take(plan, "SM_VU", &end, s->full * s->ms);
    most = eqf__larger(most, eqf__larger(end, products + s->full * s->pq));
    /* the read-out has no use for w and what follows */
    eqf__group_take(plan, "SM_Y", &readout, s->full * s->rs);
    eqf__group_take(plan, "SM_N", &readout, s->N * s->rs);
    eqf__group_take(plan, "SM_B1", &readout, s->N * s->es);
    eqf__group_take(plan, "SM_C1", &readout, s->N * s->es);
    return eqf__larger(most, readout);
}

/* Tensors of the edges of num_sources particles. */
size_t eqf__group_place_edges(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin, size_t num_sources) {
    const size_t rows = (s->has_rows ? 2 : 1) * num_sources * (s->N - 1);
    eqf__group_take(plan, "SM_INVARIANTS", &begin, rows * s->invariants);
    eqf__group_take(plan, "SM_EDGE_Z", &begin, rows * s->es);
    eqf__group_take(plan, "SM_EDGE_ACT", &begin, rows * s->es);
    eqf__group_take(plan, "SM_EDGE_Q", &begin, rows * s->es);
    eqf__group_take(plan, "SM_EDGE_PARTS", &begin, rows * 8);
    eqf__group_take(plan, "SM_EDGE_G", &begin, rows);
    return begin;
}

/* Numbers of a hop's rows: of scalars, of vectors, of M scalars; of the last hop, reduced. */
typedef struct row_sizes {
    size_t h, v, m, last_h, last_v, last_m;
} row_sizes;

/* Rows of derivatives with respect to one particle: order and life of the tensors as in message_group_rows.clh. */
size_t eqf__group_place_rows(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    const row_sizes of = {.h = s->full * s->hs,
                          .v = s->full * s->D * s->ms,
                          .m = s->full * s->ms,
                          .last_h = s->reduced * s->hs,
                          .last_v = s->reduced * s->D * s->ms,
                          .last_m = s->reduced * s->ms};
    const bool has_full = s->L > 2; /* a hop leaves full rows of h */
    const size_t h = has_full ? of.h : of.last_h, rows = has_full ? s->full : s->reduced;
    eqf__group_define_one(plan, "SM_DH", begin);
    eqf__group_define_one(plan, "SM_DSUMS", begin);
    const size_t dw = begin + h, dw_end = dw + (has_full ? of.v + of.m : 0);
    eqf__group_define_one(plan, "SM_DW", dw);
    eqf__group_define_one(plan, "SM_DZ_FIRST", dw);
    eqf__group_define_one(plan, "SM_DP", dw + of.v);
    eqf__group_define_one(plan, "SM_DP_LAST", dw + of.last_v);
    eqf__group_define_one(plan, "SM_DH_LAST", dw + of.last_v + of.last_m);
    const size_t du = eqf__larger(dw_end, dw + of.last_v + of.last_m + of.last_h);
    eqf__group_define_one(plan, "SM_DU", du);
    size_t end = du + (s->L > 1 ? of.v : of.last_v), most;
    eqf__group_define_one(plan, "SM_DGATE", end);
    most = end + rows * s->ms;
    eqf__group_take(plan, "SM_DB", &end, of.m);
    eqf__group_define_one(plan, "SM_DU_LAST", end);
    eqf__group_take(plan, "SM_DVU", &end, of.v);
    if (s->L > 1) most = eqf__larger(most, end);
    /* In the place of u, once its part of w is known: products of w, then z. */
    eqf__group_define_one(plan, "SM_DPQ", du);
    eqf__group_define_one(plan, "SM_DZ", du);
    const size_t z_end = du + rows * s->hs, dn = eqf__larger(du + rows * s->D * s->pq, z_end);
    eqf__group_define_one(plan, "SM_DN", dn);
    if (s->L > 1) most = eqf__larger(most, dn + rows * s->ms);
    /* The read-out's rows: between h and u if there is room, as both are read. */
    const size_t readout_size =
        s->reduced * s->D * s->rs + s->D * s->ms + s->reduced * s->rs + s->M + s->reduced * s->es;
    const bool is_between = readout_size <= du - dw;
    size_t readout = is_between ? dw : du + of.last_v;
    eqf__group_take(plan, "SM_DY", &readout, s->reduced * s->D * s->rs);
    eqf__group_take(plan, "SM_DGATE_OUT", &readout, s->D * s->ms);
    eqf__group_take(plan, "SM_DSQUARE", &readout, s->reduced * s->rs);
    eqf__group_take(plan, "SM_PART", &readout, s->M);
    eqf__group_take(plan, "SM_DBC", &readout, s->reduced * s->es);
    most = eqf__larger(most, eqf__group_place_edges(plan, s, is_between ? du : readout, 1));
    /* As many channels of A h and m at a time as there is room for. */
    const size_t room = most - z_end, each = s->full + rows;
    size_t chunk = eqf__in_fours(s->H);
    while (chunk > 4 && (chunk | 1) * each > room) chunk -= 4;
    eqf__group_define_one(plan, "CHUNK", chunk);
    eqf__group_define_one(plan, "CHUNK_ROW", chunk | 1);
    eqf__group_define_one(plan, "SM_DA", z_end);
    eqf__group_define_one(plan, "SM_DM", z_end + s->full * (chunk | 1));
    return s->L > 1 ? eqf__larger(most, z_end + (chunk | 1) * each) : most;
}

static void place_local(eqf__group_plan *plan, const eqf__group_sizes *s) {
    size_t end = 0;
    eqf__group_take(plan, "SM_R", &end, s->N * s->N * s->D);
    eqf__group_take(plan, "SM_D", &end, s->P);
    eqf__group_take(plan, "SM_INVERSE", &end, s->P);
    eqf__group_take(plan, "SM_RADIAL", &end, s->P);
    eqf__group_take(plan, "SM_RADIAL1", &end, s->has_rows ? s->P : 0);
    eqf__group_take(plan, "SM_TAU", &end, s->shape->num_times);
    eqf__group_take(plan, "SM_DIV", &end, 1);
    eqf__group_define_one(plan, "NUM_LASTING", end);
    plan->values_local_size = place_values(plan, s, end);
    plan->num_sources = 1;
    if (s->is_reverse && s->has_rows) {
        eqf__group_place_row_reverse(plan, s, end);
    } else if (s->is_reverse) {
        eqf__group_place_reverse(plan, s, end);
    } else if (s->has_rows) {
        plan->local_size = eqf__group_place_rows(plan, s, end);
    } else { /* as many sources at a time as need no more memory than the values */
        const size_t each = (s->N - 1) * (s->invariants + 3 * s->es + 8 + 1);
        const size_t most = eqf__larger(1, (plan->values_local_size - end) / each);
        plan->num_sources = (unsigned)eqf__divide_up(s->N, eqf__divide_up(s->N, most < s->N ? most : s->N));
        plan->local_size = eqf__group_place_edges(plan, s, end, plan->num_sources);
    }
    plan->num_parts = (unsigned)eqf__divide_up(s->N, plan->num_sources);
    eqf__group_define_one(plan, "VALUES_LOCAL_SIZE", plan->values_local_size);
    eqf__group_define_one(plan, "LOCAL_SIZE", plan->local_size);
    eqf__group_define_one(plan, "SOURCES", plan->num_sources);
    eqf__group_define_one(plan, "NUM_PARTS", plan->num_parts);
}

/* ---- Scratch memory ---------------------------------------------------------------------------------------------- */

/* Tensors that a pass after the values reads (its rows are filled up to multiples of four, where matrix products read
 * four numbers at once). */
static void place_scratch(eqf__group_plan *plan, const eqf__group_sizes *s) {
    const size_t later = s->has_rows || s->is_reverse ? s->L - 1 : 0, nodes = s->N * s->M, vectors = s->full * s->M;
    const size_t wide_vectors = s->full * eqf__in_fours(s->M);
    size_t end = 0;
    eqf__group_take(plan, "AT_F", &end, s->P * eqf__in_fours(s->shape->num_filters));
    eqf__group_take(plan, "AT_F1", &end, s->has_rows ? s->P * eqf__in_fours(s->shape->num_filters) : 0);
    eqf__group_take(plan, "AT_U", &end, s->L * wide_vectors);
    eqf__group_take(plan, "AT_W", &end, later * wide_vectors);
    if (s->is_reverse) eqf__group_place_reverse_scratch(plan, s, &end);
    if (s->is_reverse && s->has_rows) eqf__group_place_row_reverse_scratch(plan, s, &end);
    eqf__group_take(plan, "AT_SLOPE", &end, s->has_rows || s->is_reverse ? s->L * s->N * s->H : 0);
    eqf__group_take(plan, "AT_A", &end, later * s->N * s->H);
    eqf__group_take(plan, "AT_B", &end, later * nodes);
    eqf__group_take(plan, "AT_VU", &end, later * vectors);
    eqf__group_take(plan, "AT_PQ", &end, later * 2 * vectors);
    eqf__group_take(plan, "AT_SLOPE_P", &end, later * nodes);
    eqf__group_take(plan, "AT_SLOPE_N", &end, later * nodes);
    eqf__group_take(plan, "AT_GATE", &end, later * nodes);
    eqf__group_take(plan, "AT_Y", &end, s->full * s->R);
    eqf__group_take(plan, "AT_SLOPE_SQUARE", &end, s->N * s->R);
    eqf__group_take(plan, "AT_GATE_OUT", &end, nodes);
    eqf__group_take(plan, "AT_B1", &end, s->N * s->E);
    eqf__group_take(plan, "AT_C1", &end, s->N * s->E);
    eqf__group_take(plan, "AT_V", &end, s->full);
    eqf__group_take(plan, "AT_LASTING", &end, s->N * s->full + 4 * s->P + s->shape->num_times + 1);
    plan->slice_size = eqf__in_fours(end);
    eqf__group_define_one(plan, "SLICE_SIZE", plan->slice_size);
}

/* ---- Loop turns -------------------------------------------------------------------------------------------------- */

uint64_t eqf__group_edge_turns(const eqf__group_sizes *s, size_t num_sources, size_t G) {
    const size_t count = num_sources * (s->N - 1), rows = (s->has_rows ? 2 : 1) * count, D = s->D;
    return eqf__loop_turns(count * s->R, D * (D + 3) + 4, G) + eqf__loop_turns(count * s->E, D + 1, G) +
           eqf__product_turns(rows, 3 * s->R, s->E, G) + eqf__product_turns(rows, s->E, s->E, G) +
           2 * eqf__loop_turns(count * s->E, 0, G) + eqf__loop_turns(rows * 8, s->E / 8 + 2, G) +
           eqf__loop_turns(rows, 9, G) + 2 * eqf__loop_turns(num_sources * D, s->N + s->M + 2, G);
}

static uint64_t value_turns(const eqf__group_sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, levels = s->has_rows ? 2 : 1;
    const size_t calls = s->shape->num_b > 0 ? 2 * N + 1 : 1; /* of the filters' products: runs of pairs */
    uint64_t turns = eqf__loop_turns(s->P, 2 * D + 2, G) + eqf__loop_turns(s->P * s->K, 0, G) +
                     eqf__loop_turns(s->shape->num_times, EQF__MESSAGE_NUM_TIME, G) +
                     levels * (eqf__product_turns(s->P, s->K, s->shape->num_filters, G) +
                               (calls - 1) * (eqf__product_turns(3, s->K, s->shape->num_filters, G) + 2)) +
                     eqf__loop_turns(s->P, s->K, G) + eqf__loop_turns(N * (H + M), N * (D + 1) + 3 * D, G) +
                     2 * eqf__product_turns(N, H, H, G) + eqf__loop_turns(N * H, 0, G);
    const uint64_t hop = eqf__product_turns(N, H, H, G) + 2 * eqf__product_turns(N, H, M, G) +
                         2 * eqf__product_turns(s->full, M, M, G) + eqf__loop_turns(N * H, N, G) +
                         eqf__loop_turns(N * M, N * (D + 2) + 4 * D, G) + eqf__product_turns(s->full, M, 2 * M, G) +
                         2 * eqf__loop_turns(N * M, 4 * D, G) + eqf__product_turns(N, 2 * H + 2 * M, H, G) +
                         eqf__loop_turns(N * H, 0, G);
    turns += (s->L - 1) * (hop + 1);
    return turns + eqf__product_turns(s->full, M, R, G) + eqf__product_turns(N, H, M, G) +
           eqf__loop_turns(N * R, D, G) + eqf__loop_turns(N * M, 0, G) + 2 * eqf__product_turns(N, H, E, G) +
           2 * eqf__product_turns(N, R, E, G) + eqf__loop_turns(N * E, 0, G) +
           eqf__loop_turns(N * (s->full + 4 * s->N), 0, G) + eqf__loop_turns(s->full, N, G);
}

uint64_t eqf__group_row_turns(const eqf__group_sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, full = s->full, reduced = s->reduced;
    const size_t square = D * (D + 2);
    uint64_t turns = eqf__loop_turns(N * (H + M), N * (square + 2) + 3 * square, G) +
                     eqf__product_turns(reduced, H, H, G) + eqf__loop_turns(reduced * H, 0, G);
    /* Expanded rows have D turns for each of 12 numbers of a tile. A chunk has at least four channels. */
    const uint64_t expanded = 12 * (D + 1) * eqf__divide_up(eqf__divide_up(reduced, 3) * eqf__divide_up(H, 4), G);
    const size_t chunks = eqf__divide_up(H, 4);
    const uint64_t hop =
        eqf__product_turns(full, H, M, G) + eqf__product_turns(full * D, M, M, G) +
        eqf__loop_turns(N * M, N * (3 * square + 4) + 4 * square, G) + eqf__loop_turns(N * H, 2 * D, G) +
        eqf__loop_turns(full * M, 2 * D, G) + eqf__product_turns(full * D, M, M, G) +
        eqf__product_turns(full * D, M, 2 * M, G) + eqf__loop_turns(full * M, D, G) +
        eqf__product_turns(full, H, H, G) + 2 * eqf__product_turns(full, M, H, G) +
        chunks * (eqf__product_turns(full, H, 4, G) + eqf__loop_turns(N * 4, N * (2 * D + 4) + 3 * D, G) +
                  eqf__product_turns(full, 4, H, G) + 1) +
        2 * eqf__loop_turns(full * H, 0, G) + eqf__product_turns(full, H, M, G) + eqf__loop_turns(full * M, 3 * D, G) +
        3 * expanded;
    turns += (s->L - 1) * (hop + 1);
    return turns + eqf__product_turns(reduced * D, M, R, G) + eqf__product_turns(D, H, M, G) +
           eqf__loop_turns(reduced * R, D, G) + eqf__loop_turns(M, D, G) + 2 * eqf__product_turns(reduced, H, E, G) +
           2 * eqf__product_turns(reduced, R, E, G);
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

void eqf__group_plan_make(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                          eqf__group_pass pass, unsigned group_size, eqf__group_plan *plan_out) {
    const eqf__group_sizes s = sizes_of(shape, num_particles, space_dim, pass);
    *plan_out = (eqf__group_plan){.num_defines = 0};
    eqf__group_define_one(plan_out, "N", s.N);
    eqf__group_define_one(plan_out, "D", s.D);
    eqf__group_define_one(plan_out, "K", s.K);
    eqf__group_define_one(plan_out, "H", s.H);
    eqf__group_define_one(plan_out, "M", s.M);
    eqf__group_define_one(plan_out, "E", s.E);
    eqf__group_define_one(plan_out, "R", s.R);
    eqf__group_define_one(plan_out, "HOPS", s.L);
    eqf__group_define_one(plan_out, "FIRST_B", s.N - shape->num_b);
    eqf__group_define_one(plan_out, "FILTERS", shape->num_filters);
    eqf__group_define_one(plan_out, "NUM_TIME", EQF__MESSAGE_NUM_TIME);
    eqf__group_define_one(plan_out, "NUM_TIMES", shape->num_times);
    eqf__group_define_one(plan_out, "PARAMS_TIMES", shape->at_times);
    eqf__group_define_one(plan_out, "PARAMS_EDGE_OUT", shape->at_edge_out);
    eqf__group_define_one(plan_out, "PARAMS_VECTOR_OUT", shape->at_vector_out);
    place_local(plan_out, &s);
    place_scratch(plan_out, &s);
    eqf__group_place_weights(plan_out, &s);
    const size_t edges = (s.has_rows ? 2 : 1) * plan_out->num_sources * (s.N - 1);
    plan_out->widest =
        eqf__larger(eqf__divide_up(edges, 3) * eqf__divide_up(s.E, 4), eqf__divide_up(s.N, 3) * eqf__divide_up(s.H, 4));
    if (s.has_rows && s.L > 2)
        plan_out->widest = eqf__larger(plan_out->widest, eqf__divide_up(s.full, 3) * eqf__divide_up(s.H, 4));
    /* Steps, and the calls of each, are loop turns too: at most 32 steps a hop besides two a chunk of four channels. */
    const uint64_t steps = (uint64_t)s.L * (32 + eqf__divide_up(s.H, 2)) + 2 * s.N + 16, calls = 6;
    plan_out->turns_of_values = value_turns(&s, group_size) + calls * steps;
    plan_out->turns_of_part = eqf__group_edge_turns(&s, plan_out->num_sources, group_size) +
                              (s.has_rows ? eqf__group_row_turns(&s, group_size) : 0) + calls * steps;
    if (s.is_reverse) eqf__group_reverse_turns(plan_out, &s, group_size);
}
