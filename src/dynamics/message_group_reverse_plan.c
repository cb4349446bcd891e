/* Places and loop turns of the reverse pass of the message field's values by work-groups
 * (cl/dynamics/message_group_reverse.cl). */
#include "message_group_sizes.h"

/* The most local memory that the edges may fill with several source particles, if the nodes need less: 32 KB of floats,
 * of which a unit with 64 KB holds two groups. */
enum { LOCAL_SIZE_OF_EDGES = 8192 };

/* ---- Local memory ------------------------------------------------------------------------------------------------ */

/* The edges of num_sources source particles, and what is summed over all of them. */
static size_t place_edge_adjoints(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin, size_t num_sources) {
    const size_t rows = num_sources * (s->N - 1);
    size_t end = begin;
    eqf__group_take(plan, "SM_ADJ_V", &end, s->full);
    const size_t sums = end;
    eqf__group_take(plan, "SM_SUM_Y", &end, s->full * s->rs);
    eqf__group_take(plan, "SM_SUM_B", &end, s->N * s->es);
    eqf__group_take(plan, "SM_SUM_C", &end, s->N * s->es);
    eqf__group_take(plan, "SM_SUM_TAU", &end, s->E);
    eqf__group_define_one(plan, "NUM_SUMS", end - sums);
    end = eqf__group_place_edges(plan, s, end, num_sources);
    eqf__group_take(plan, "SM_ADJ_G", &end, rows);
    eqf__group_take(plan, "SM_ADJ_INVARIANTS", &end, rows * s->invariants);
    plan->num_sources = (unsigned)num_sources;
    return end;
}

/* The nodes. Tensors of the read-out, of a hop, and of the filters have the same place one after the other. */
void eqf__group_place_nodes(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin, size_t num_sums) {
    const size_t hn = (s->H + s->R) | 1, ab = (s->H + s->M) | 1, vectors = s->full * s->ms;
    size_t end = begin + s->full, most; /* SM_ADJ_V */
    eqf__group_take(plan, "SM_ADJ_TAU", &end, s->shape->num_times);
    eqf__group_take(plan, "SM_TIMES", &end, EQF__MESSAGE_NUM_TIME);
    eqf__group_take(plan, "SM_ADJ_R", &end, s->N * s->full);
    if (s->has_rows) eqf__group_take(plan, "SM_ADJ_D", &end, s->P);
    const size_t filters = end;
    eqf__group_take(plan, "SM_ADJ_H", &end, s->N * s->hs);
    eqf__group_take(plan, "SM_ADJ_U", &end, 2 * vectors);
    const size_t hop = end;
    eqf__group_take(plan, "SM_READOUT", &end, num_sums);
    eqf__group_take(plan, "SM_ADJ_HN", &end, s->N * hn);
    eqf__group_take(plan, "SM_ADJ_GATE_OUT", &end, s->N * s->ms);
    most = end;
    end = hop;
    eqf__group_take(plan, "SM_ADJ_MIXED", &end, s->N * s->mixed);
    eqf__group_take(plan, "SM_ADJ_W", &end, s->L > 1 ? vectors : 0);
    const size_t products = end;
    eqf__group_take(plan, "SM_ADJ_Z", &end, s->N * s->hs);
    eqf__group_take(plan, "SM_ADJ_GATE", &end, s->L > 1 ? s->N * s->ms : 0);
    most = eqf__larger(most, end);
    eqf__group_define_one(plan, "SM_ADJ_PQ", products);
    end = products;
    eqf__group_take(plan, "SM_ADJ_AB", &end, s->N * ab);
    eqf__group_take(plan, "SM_ADJ_VU", &end, vectors);
    if (s->L > 1) most = eqf__larger(most, eqf__larger(end, products + s->full * s->pq));
    /* As many columns of the filters at a time as there is room for. */
    end = filters;
    eqf__group_take(plan, "SM_ADJ_E", &end, s->P * s->ks);
    size_t columns = eqf__in_fours(s->shape->num_filters);
    while (columns > 4 && end + s->P * (columns | 1) > most) columns -= 4;
    eqf__group_take(plan, "SM_ADJ_F", &end, s->P * (columns | 1));
    eqf__group_define_one(plan, "COLUMNS", columns);
    plan->num_columns = columns;
    plan->nodes_local_size = eqf__larger(most, end);
    eqf__group_define_one(plan, "NODES_LOCAL_SIZE", plan->nodes_local_size);
}

void eqf__group_place_reverse(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    const size_t num_sums = s->full * s->rs + 2 * s->N * s->es + s->E;
    const size_t each = (s->N - 1) * (2 * s->invariants + 3 * s->es + 8 + 2);
    eqf__group_place_nodes(plan, s, begin, num_sums);
    const size_t of_all = begin + s->full + num_sums;
    const size_t granted = eqf__larger(plan->nodes_local_size, LOCAL_SIZE_OF_EDGES);
    const size_t most = granted > of_all + each ? (granted - of_all) / each : 1;
    const size_t num_sources = eqf__divide_up(s->N, eqf__divide_up(s->N, most < s->N ? most : s->N));
    plan->local_size = place_edge_adjoints(plan, s, begin, num_sources);
}

/* ---- Scratch memory ---------------------------------------------------------------------------------------------- */

void eqf__group_place_reverse_scratch(eqf__group_plan *plan, const eqf__group_sizes *s, size_t *end) {
    const size_t edges = (s->has_rows ? 2 : 1) * plan->num_sources * (s->N - 1), later = s->L - 1;
    /* Rows of what the values' matrix products read. */
    eqf__group_take(plan, "AT_E", end, s->P * eqf__in_fours(s->K));
    eqf__group_take(plan, "AT_SUMS", end, s->N * eqf__in_fours(s->H));
    eqf__group_take(plan, "AT_MIXED", end, later * s->N * eqf__in_fours(2 * s->H + 2 * s->M));
    eqf__group_take(plan, "AT_HN", end, s->N * eqf__in_fours(s->H + s->R));
    eqf__group_take(plan, "AT_EDGE_INVARIANTS", end, edges * eqf__in_fours(3 * s->R));
    eqf__group_take(plan, "AT_EDGE_ACT", end, edges * eqf__in_fours(s->E));
    /* Adjoints */
    eqf__group_take(plan, "AT_ADJ_F", end, s->P * eqf__in_fours(s->shape->num_filters));
    eqf__group_take(plan, "AT_ADJ_R", end, s->N * s->full);
    eqf__group_take(plan, "AT_ADJ_G", end, s->N * (s->N - 1));
    eqf__group_take(plan, "AT_ADJ_SUMS", end, s->full * s->rs + 2 * s->N * s->es + s->E);
    *end = eqf__in_fours(*end);
}

/* ---- Loop turns -------------------------------------------------------------------------------------------------- */

static uint64_t edge_adjoint_turns(const eqf__group_sizes *s, size_t num_sources, size_t G) {
    const size_t N = s->N, D = s->D, E = s->E, R = s->R, edges = num_sources * (N - 1);
    return eqf__group_edge_turns(s, num_sources, G) + eqf__loop_turns(edges, D, G) +
           eqf__loop_turns(edges * 3 * R, 0, G) + 4 * eqf__loop_turns(edges * E, 0, G) +
           eqf__loop_turns(edges * 8, E / 8 + 2, G) + eqf__loop_turns(E, edges + 2, G) +
           eqf__gradient_turns(edges, E, E, G) + eqf__gradient_turns(edges, 3 * R, E, G) +
           eqf__product_turns(edges, E, E, G) + eqf__product_turns(edges, E, 3 * R, G) +
           eqf__loop_turns(N * E, num_sources + 2, G) + eqf__loop_turns(num_sources * E, N, G) +
           eqf__loop_turns(N * R, (num_sources + N) * D + 2 * D + 4, G) + eqf__loop_turns(edges * D, R + 1, G);
}

/* columns: of the filters at a time. */
static uint64_t node_turns(const eqf__group_sizes *s, size_t columns, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, K = s->K, P = s->P;
    const size_t filters = s->shape->num_filters, runs = s->shape->num_b > 0 ? 2 * N + 1 : 1;
    const uint64_t readout = 2 * eqf__product_turns(N, E, H + R, G) + 2 * eqf__gradient_turns(N, H + R, E, G) +
                             eqf__loop_turns(N * M, D + 1, G) + eqf__loop_turns(M, s->full, G) +
                             eqf__loop_turns(E, P + N, G) + eqf__product_turns(N, M, H, G) +
                             eqf__gradient_turns(N, H, M, G) + eqf__loop_turns(N * R, D, G) +
                             eqf__loop_turns(N * M, D, G) + eqf__product_turns(s->full, R, M, G) +
                             eqf__gradient_turns(s->full, M, R, G) + eqf__loop_turns(N * H, 0, G);
    const uint64_t hop = 2 * eqf__loop_turns(N * M, 4 * D, G) + eqf__product_turns(N, M, H, G) +
                         eqf__gradient_turns(N, H, M, G) + 2 * eqf__loop_turns(N * H, 0, G) +
                         eqf__product_turns(N, H, 2 * H + 2 * M, G) + eqf__gradient_turns(N, 2 * H + 2 * M, H, G) +
                         eqf__loop_turns(H, N, G) + eqf__product_turns(s->full, 2 * M, M, G) +
                         eqf__gradient_turns(s->full, M, 2 * M, G) + eqf__loop_turns(N * H, N, G) +
                         eqf__loop_turns(N * M, N * (2 * D + 2) + 4 * D, G) + eqf__loop_turns(P * H, 0, G) +
                         eqf__loop_turns(P * M, 6 * D + 4, G) + eqf__loop_turns(N * N, M * (D + 1) + 2 * D, G) +
                         eqf__product_turns(N, H + M, H, G) + 2 * eqf__product_turns(s->full, M, M, G) +
                         eqf__gradient_turns(N, H, H + M, G) + 2 * eqf__gradient_turns(s->full, M, M, G);
    const uint64_t chunk =
        eqf__loop_turns(P * columns, 0, G) + eqf__product_turns(P, columns, K, G) +
        eqf__gradient_turns(P, K, columns, G) +
        (runs - 1) * (eqf__product_turns(3, columns, K, G) + eqf__gradient_turns(3, K, columns, G) + 6);
    const uint64_t last = eqf__loop_turns(P, K + 2 * D, G) + eqf__loop_turns(K + 1, P, G) +
                          eqf__loop_turns(s->full, N, G) +
                          eqf__loop_turns(s->shape->num_times * EQF__MESSAGE_NUM_TIME, 0, G);
    const uint64_t first_hop = eqf__loop_turns(N * H, 0, G) + eqf__product_turns(N, H, H, G) +
                               eqf__gradient_turns(N, H, H, G) + 2 * eqf__loop_turns(H, N, G) +
                               eqf__loop_turns(P * (H + M), 2 * D, G) + eqf__loop_turns(P, M * (D + 1) + 2 * D, G);
    const uint64_t begin = eqf__loop_turns(s->N * s->full + 4 * P + s->shape->num_times + 1, 0, G) +
                           eqf__loop_turns(s->full, N, G) + eqf__loop_turns(N * s->full, 0, G) +
                           eqf__loop_turns(s->full * s->rs + 2 * N * s->es + E, 0, G) +
                           eqf__loop_turns(s->shape->num_times, 0, G);
    return begin + readout + (s->L - 1) * hop + first_hop + eqf__divide_up(filters, columns) * chunk + last;
}

void eqf__group_reverse_turns(eqf__group_plan *plan, const eqf__group_sizes *s, size_t group) {
    const uint64_t steps =
        16 + 8 * (uint64_t)s->L + eqf__divide_up(s->shape->num_filters, plan->num_columns) * (2 * s->N + 2);
    const uint64_t calls = 12;
    plan->turns_of_part = s->has_rows ? eqf__group_row_reverse_turns(s, group)
                                      : edge_adjoint_turns(s, plan->num_sources, group) + calls * 12;
    plan->turns_of_nodes = (s->has_rows ? 2 : 1) * (node_turns(s, plan->num_columns, group) + calls * steps);
}
