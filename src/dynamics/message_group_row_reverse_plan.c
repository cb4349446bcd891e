/* Places and loop turns of the reverse pass of the message field's value and divergence by work-groups
 * (message_group_row_adjoints in cl/dynamics/message_group_reverse.cl). */
#include <string.h>

#include "message_group_sizes.h"

/* ---- Local memory ------------------------------------------------------------------------------------------------ */

static size_t place_of(const eqf__group_plan *plan, const char *name) {
    size_t n = 0;
    while (strcmp(plan->defines[n].name, name) != 0) n++;
    return plan->defines[n].value;
}

/* Two ranges of free places: the first, as long as there is room, and what is after all others. */
typedef struct free_places {
    size_t low, low_end, high;
} free_places;

static void take(eqf__group_plan *plan, const char *name, free_places *from, size_t count) {
    eqf__group_take(plan, name, from->low + count <= from->low_end ? &from->low : &from->high, count);
}

/* In the place of a tensor of `room` numbers that is done with, if it fits there. */
static void take_over(eqf__group_plan *plan, const char *name, const char *old, size_t room, free_places *from,
                      size_t count) {
    if (count <= room)
        eqf__group_define_one(plan, name, place_of(plan, old));
    else
        take(plan, name, from, count);
}

/* The read-out's adjoints, while the values of the edges and of the read-out's rows (eqf__group_place_rows) are there,
 * but no longer those of h. Returns the end. */
static size_t place_readout(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    const size_t rows = 2 * (s->N - 1), hn = (s->H + s->R) | 1;
    free_places from = {begin, place_of(plan, "SM_DW"), place_of(plan, "SM_EDGE_G") + rows};
    take(plan, "SM_ADJ_G", &from, s->N - 1);
    take(plan, "SM_ROW_GATE_OUT", &from, s->D * s->ms);
    take(plan, "SM_ROW_Y", &from, s->reduced * s->D * s->rs);
    take(plan, "SM_ROW_BC", &from, s->reduced * s->es);
    take(plan, "SM_ADJ_INVARIANTS", &from, rows * s->invariants);
    take_over(plan, "SM_ROW_HN", "SM_EDGE_ACT", rows * s->es, &from, s->reduced * hn);
    take_over(plan, "SM_ROW_U_OUT", "SM_EDGE_Q", rows * s->es, &from, s->reduced * s->D * s->ms);
    return from.high;
}

/* The hops' adjoints; order and life of the tensors as in message_group_row_reverse.clh. Returns the end. */
static size_t place_hops(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    const size_t v = s->full * s->D * s->ms, last_v = s->reduced * s->D * s->ms, last_h = s->reduced * s->hs;
    const size_t rows = s->L > 2 ? s->full : s->reduced;
    size_t end = begin;
    eqf__group_define_one(plan, "SM_ROW_SUMS", begin); /* when h of the later hops is done with */
    eqf__group_take(plan, "SM_ROW_H", &end, s->L > 1 ? s->full * s->hs : last_h);
    eqf__group_define_one(plan, "SM_ROW_W", end);
    eqf__group_define_one(plan, "SM_ROW_H_LAST", end + last_v);
    if (s->L > 1) end += eqf__larger(v, last_v + last_h);
    eqf__group_take(plan, "SM_ROW_PN", &end, s->L > 1 ? s->full * s->pq : 0);
    const size_t u = end, after = u + (s->L > 1 ? v : last_v);
    eqf__group_define_one(plan, "SM_ROW_U", u);
    eqf__group_define_one(plan, "SM_ROW_GATE", after);
    eqf__group_define_one(plan, "SM_ROW_VU", after);
    eqf__group_define_one(plan, "SM_ROW_B", after + v);
    eqf__group_define_one(plan, "SM_ROW_U_LAST", after + v + s->full * s->ms);
    eqf__group_define_one(plan, "SM_ROW_H_FIRST", after);
    eqf__group_define_one(plan, "SM_ROW_Z_FIRST", after + last_h);
    /* In the place of u between its use and its new value. */
    eqf__group_define_one(plan, "SM_ROW_Z", u);
    eqf__group_define_one(plan, "SM_ROW_PQ", u);
    size_t most = after + 2 * last_h;
    if (s->L > 1) {
        most = eqf__larger(most, after + eqf__larger(rows * s->ms, v + s->full * s->ms + last_v));
        most = eqf__larger(most, u + rows * s->D * s->pq);
    }
    /* As many channels of A h and m at a time as there is room for. */
    const size_t chunks = u + rows * s->hs, each = s->full + rows;
    size_t chunk = eqf__in_fours(s->H);
    while (chunk > 4 && chunks + (chunk | 1) * each > most) chunk -= 4;
    eqf__group_define_one(plan, "ROW_CHUNK", chunk);
    eqf__group_define_one(plan, "ROW_CHUNK_ROW", chunk | 1);
    eqf__group_define_one(plan, "SM_ROW_M", chunks);
    eqf__group_define_one(plan, "SM_ROW_A", chunks + rows * (chunk | 1));
    return s->L > 1 ? eqf__larger(most, chunks + (chunk | 1) * each) : most;
}

void eqf__group_place_row_reverse(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin) {
    size_t sums = 0, rows = begin;
    eqf__group_take(plan, "SM_SUM_Y", &sums, s->full * s->rs);
    eqf__group_take(plan, "SM_SUM_B", &sums, s->N * s->es);
    eqf__group_take(plan, "SM_SUM_C", &sums, s->N * s->es);
    eqf__group_take(plan, "SM_SUM_TAU", &sums, s->E);
    eqf__group_define_one(plan, "NUM_SUMS", sums);
    eqf__group_take(plan, "SM_ADJ_V", &rows, s->full);
    const size_t end = eqf__group_place_rows(plan, s, rows);
    plan->local_size = eqf__larger(end, place_readout(plan, s, rows));
    plan->rows_local_size = place_hops(plan, s, begin);
    eqf__group_define_one(plan, "ROWS_LOCAL_SIZE", plan->rows_local_size);
    eqf__group_place_nodes(plan, s, begin, sums);
}

/* ---- Scratch memory ---------------------------------------------------------------------------------------------- */

/* Rows of the source that is in work; after them the sums over sources, which begin with what
 * eqf__group_place_reverse_scratch placed. */
void eqf__group_place_row_reverse_scratch(eqf__group_plan *plan, const eqf__group_sizes *s, size_t *end) {
    const size_t later = s->L - 1, H = s->H, M = s->M, full = s->full, vectors = full * s->D, nodes = s->N * M;
    const size_t wide_m = eqf__in_fours(M), wide_h = eqf__in_fours(H);
    eqf__group_define_one(plan, "SUMS_BEGIN", place_of(plan, "AT_ADJ_F"));
    eqf__group_take(plan, "AT_ADJ_F1", end, s->P * eqf__in_fours(s->shape->num_filters));
    eqf__group_take(plan, "AT_ADJ_RHO", end, s->N * full);
    eqf__group_take(plan, "AT_ADJ_D", end, s->P);
    eqf__group_take(plan, "AT_SUM_U", end, s->L * full * M);
    eqf__group_take(plan, "AT_SUM_GATE_OUT", end, nodes);
    eqf__group_take(plan, "AT_SUM_Z", end, s->L * s->N * H);
    eqf__group_take(plan, "AT_SUM_W", end, later * full * M);
    eqf__group_take(plan, "AT_SUM_VU", end, later * full * M);
    eqf__group_take(plan, "AT_SUM_PQ", end, later * full * 2 * M);
    eqf__group_take(plan, "AT_SUM_GATE", end, later * nodes);
    eqf__group_take(plan, "AT_SUM_P", end, later * nodes);
    eqf__group_take(plan, "AT_SUM_N", end, later * nodes);
    eqf__group_take(plan, "AT_SUM_A", end, later * s->N * H);
    eqf__group_take(plan, "AT_SUM_B", end, later * nodes);
    eqf__group_define_one(plan, "SUMS_END", *end);
    *end = eqf__in_fours(*end);
    /* What gradients of matrices read, in rows of a multiple of four. */
    eqf__group_take(plan, "AT_E1", end, s->P * eqf__in_fours(s->K));
    eqf__group_take(plan, "AT_DSUMS", end, s->reduced * wide_h);
    eqf__group_take(plan, "AT_DH", end, later * full * wide_h);
    eqf__group_take(plan, "AT_DU", end, s->L * vectors * wide_m);
    eqf__group_take(plan, "AT_DU_LAST", end, later > 0 ? s->reduced * s->D * wide_m : 0);
    eqf__group_take(plan, "AT_DW", end, later * vectors * wide_m);
    eqf__group_take(plan, "AT_DMIXED", end, later * full * eqf__in_fours(2 * H + 2 * M));
    eqf__group_take(plan, "AT_DHN", end, s->reduced * eqf__in_fours(H + s->R));
    /* The rest. */
    eqf__group_take(plan, "AT_DZ", end, s->L * full * H);
    eqf__group_take(plan, "AT_DA", end, later * full * H);
    eqf__group_take(plan, "AT_DB", end, later * full * M);
    eqf__group_take(plan, "AT_DVU", end, later * vectors * M);
    eqf__group_take(plan, "AT_DP", end, later * full * M);
    eqf__group_take(plan, "AT_DPQ", end, later * vectors * 2 * M);
    eqf__group_take(plan, "AT_DGATE", end, later * full * M);
    eqf__group_take(plan, "AT_DM_FULL", end, later > 0 ? full * H : 0);
    eqf__group_take(plan, "AT_DP_FULL", end, later > 0 ? full * M : 0);
    eqf__group_take(plan, "AT_DW_FULL", end, later > 0 ? vectors * M : 0);
    eqf__group_take(plan, "AT_ROW_H", end, s->reduced * H);
    eqf__group_take(plan, "AT_ROW_U", end, s->reduced * s->D * M);
    eqf__group_take(plan, "AT_ROW_P", end, later > 0 ? s->reduced * M : 0);
    eqf__group_take(plan, "AT_ROW_W", end, later > 0 ? s->reduced * s->D * M : 0);
    eqf__group_take(plan, "AT_CURVE", end, s->L * s->N * H);
    eqf__group_take(plan, "AT_CURVE_P", end, later * nodes);
    eqf__group_take(plan, "AT_CURVE_N", end, later * nodes);
    *end = eqf__in_fours(*end);
}

/* ---- Loop turns -------------------------------------------------------------------------------------------------- */

static uint64_t readout_turns(const eqf__group_sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, reduced = s->reduced, edges = N - 1;
    return eqf__loop_turns(edges, D, G) + eqf__loop_turns(2 * edges * 3 * R, 0, G) +
           4 * eqf__loop_turns(edges * E, D, G) + eqf__loop_turns(edges * 8, E / 8 + 2, G) +
           eqf__loop_turns(E, edges + 2, G) + eqf__gradient_turns(2 * edges, E, E, G) +
           eqf__product_turns(2 * edges, E, E, G) + eqf__gradient_turns(2 * edges, 3 * R, E, G) +
           eqf__product_turns(2 * edges, E, 3 * R, G) + eqf__loop_turns(E, edges * (D + 1) + 2 * D, G) +
           eqf__loop_turns(edges * R, D * (D + 1) + 2, G) + eqf__loop_turns(R * D, edges * (D + 2) + 3 * D, G) +
           eqf__loop_turns(edges * D, R * (2 * D + 3) + E + 4, G) + eqf__loop_turns(reduced * D * M, 0, G) +
           eqf__loop_turns(M, D, G) + eqf__loop_turns(N * R, D * (4 * D + 3) + 4 * D, G) +
           2 * (eqf__product_turns(reduced, E, H + R, G) + eqf__gradient_turns(reduced, H + R, E, G)) +
           eqf__product_turns(D, M, H, G) + eqf__gradient_turns(D, H, M, G) + eqf__product_turns(reduced * D, R, M, G) +
           eqf__gradient_turns(reduced * D, M, R, G) + 2 * eqf__loop_turns(reduced * H, 0, G) +
           2 * eqf__loop_turns(reduced * D * M, 0, G);
}

/* A chunk has at least four channels. */
static uint64_t hop_turns(const eqf__group_sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, full = s->full, square = D * (D + 2);
    const size_t chunks = eqf__divide_up(H, 4);
    return eqf__loop_turns(N * M, D * (4 * D + 4) + 4 * D, G) + eqf__product_turns(full, M, H, G) +
           eqf__gradient_turns(full, H, M, G) + eqf__loop_turns(N * H, 2 * D, G) +
           eqf__product_turns(full, H, 2 * M, G) + eqf__product_turns(full, H, H, G) +
           eqf__gradient_turns(full, 2 * H + 2 * M, H, G) +
           chunks * (2 * eqf__product_turns(full, H, 4, G) + eqf__gradient_turns(full, H, 4, G) +
                     eqf__loop_turns(N * 4, N * (2 * D + 4) + 4 * D, G) + eqf__loop_turns(s->P * 4, 2 * D + 2, G) +
                     eqf__loop_turns(full, 6, G) + 2) +
           eqf__loop_turns(full, 2 * H, G) + eqf__loop_turns(full * H, 0, G) +
           eqf__loop_turns(N * M, D * (2 * D + 3) + 4 * D, G) + eqf__product_turns(full * D, 2 * M, M, G) +
           eqf__gradient_turns(full * D, M, 2 * M, G) + 2 * eqf__product_turns(full * D, M, M, G) +
           2 * eqf__gradient_turns(full * D, M, M, G) + eqf__loop_turns(N * M, 2 * N * (square + 3) + 4 * square, G) +
           eqf__loop_turns(s->P * M, 2 * (square + 2 * D + 2), G) +
           eqf__loop_turns(N * (N - 1), M * (3 * square + D + 2) + 4 * D, G) + eqf__product_turns(full, M, H, G) +
           eqf__gradient_turns(full, H, M, G);
}

uint64_t eqf__group_row_reverse_turns(const eqf__group_sizes *s, size_t G) {
    const size_t N = s->N, D = s->D, H = s->H, M = s->M, full = s->full, reduced = s->reduced, square = D * (D + 2);
    /* Copies of rows to scratch memory; the first part also clears the sums. */
    const uint64_t copies = eqf__loop_turns(reduced * H + full * D * M, 0, G) +
                            (s->L - 1) * (eqf__loop_turns(full * (H + M) + full * D * 5 * M, 0, G) + H) +
                            2 * eqf__loop_turns(full * H, D, G);
    const uint64_t cleared =
        eqf__loop_turns(2 * s->P * eqf__in_fours(s->shape->num_filters) + 4 * N * full +
                            s->L * (N * 2 * H + full * 6 * M + N * 4 * M) + full * s->rs + 2 * N * s->es + s->E + s->P,
                        0, G);
    const uint64_t first = 2 * eqf__loop_turns(reduced * H, D, G) + eqf__loop_turns(full, H, G) +
                           eqf__product_turns(reduced, H, H, G) + eqf__gradient_turns(reduced, H, H, G) +
                           eqf__loop_turns(N * (H + M), 2 * square, G) +
                           eqf__loop_turns(N * D, H + M * (2 * D + 2) + 2, G);
    const uint64_t steps = 32 + (uint64_t)s->L * (40 + 2 * eqf__divide_up(H, 2)), calls = 12;
    const uint64_t expanded = eqf__loop_turns(full * M, 3 * D, G) + eqf__loop_turns(reduced * (D + 1) * M, 0, G);
    const uint64_t values =
        eqf__group_edge_turns(s, 1, G) + eqf__group_row_turns(s, G) + readout_turns(s, G) + copies + cleared;
    const uint64_t adjoints = (s->L - 1) * hop_turns(s, G) + first + expanded +
                              eqf__loop_turns(reduced * (H + D * M) + N * full + 4 * s->P + s->shape->num_times, 0, G);
    return (values > adjoints ? values : adjoints) + calls * steps;
}
