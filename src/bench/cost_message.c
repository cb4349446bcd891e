/* What launches of the message field have to do: the tape (cl/dynamics/message.cl); work-groups with local memory are
 * in cost_message_group.c. */
#include <string.h>

#include "../../cl/dynamics/message_ops.clh"
#include "cost_message.h"
#include "program.h"

static eqf__message_sizes sizes_of(const char *options) {
    eqf__message_sizes s = {.N = eqf__cost_defined(options, "N"),
                            .D = eqf__cost_defined(options, "D"),
                            .K = eqf__cost_defined(options, "K"),
                            .H = eqf__cost_defined(options, "H"),
                            .M = eqf__cost_defined(options, "M"),
                            .E = eqf__cost_defined(options, "E"),
                            .R = eqf__cost_defined(options, "R"),
                            .L = eqf__cost_defined(options, "HOPS"),
                            .V = eqf__cost_defined(options, "V"),
                            .group = fmax(eqf__cost_defined(options, "GROUP_SIZE"), 1),
                            .filters = eqf__cost_defined(options, "FILTERS"),
                            .has_rows = strstr(options, "HAS_ROWS") != NULL};
    s.pairs = s.N * (s.N - 1) / 2;
    s.full = s.N * s.D;
    s.reduced = s.N + s.D - 1;
    return s;
}

/* ---- The tape --------------------------------------------------------------------------------------------------- */

/* Slots of a turn, square roots and divisions among them, and the longest chain of loads that wait for each other. A
 * load or a store of V lanes is a slot, too. */
typedef struct turn_cost {
    double slots, special, loads;
} turn_cost;

/* A tile of 3 rows and 4 outputs: for each input 12 products and 7 loads, which two ports do beside them; then its
 * stores. Its gradient: 16 products and 8 loads for each row; then sums over lanes. */
static turn_cost dense_turn(const cl_uint *word) {
    if (word[0] == MESSAGE_DENSE) return (turn_cost){16.0 * word[4] + 40, 0, word[4] / 4.0};
    if (word[0] == MESSAGE_DENSE_START_REVERSE) return (turn_cost){2.0 * word[3], 0, word[3] / 4.0};
    return (turn_cost){24.0 * word[3] + 16 * 16, 0, word[3] / 4.0};
}

static turn_cost row_turn(unsigned operation, const eqf__message_sizes *s) {
    const double D = s->D, rows = D, square = D * D;
    switch (operation) {
        case MESSAGE_ACTIVATE_ROWS: return (turn_cost){4 * rows + 2, 0, 1};
        case MESSAGE_INVARIANT_ROWS: return (turn_cost){2 * EQF__SLOTS_SATURATE + 2 * D + rows * (4 * D + 6), 4, rows};
        case MESSAGE_GATE_ROWS: return (turn_cost){6 * D + 10 + rows * (8 * D + 4), 2, rows};
        case MESSAGE_SQUARE_ROWS: return (turn_cost){EQF__SLOTS_SATURATE + 3 * D + 2 * (3 * D + 2), 2, 1};
        /* A turn is a particle, or in a group a channel. */
        case MESSAGE_CONVERT_ROWS: return (turn_cost){(s->group > 1 ? 1 : s->H) * 2 * D + D, 0, 1};
        case MESSAGE_FIRST_HOP_ROWS: return (turn_cost){2 * square + 3 * square, 0, 2};
        case MESSAGE_SUM_SCALAR_ROWS: return (turn_cost){s->N * 4 * (1 + 2 * D) + 8 * D, 0, s->N};
        case MESSAGE_SUM_VECTOR_ROWS: return (turn_cost){s->N * (3 + 2 * D + D * (2 + 5 * D)) + 8 * square, 0, s->N};
        default: return (turn_cost){0, 0, 0};
    }
}

static turn_cost value_turn(unsigned operation, const eqf__message_sizes *s) {
    const double D = s->D;
    switch (operation) {
        case MESSAGE_CLEAR: return (turn_cost){1, 0, 0};
        case MESSAGE_GEOMETRY: return (turn_cost){10 * D + 6 + s->K * (EQF__SLOTS_EXP + 10), 2, 1};
        case MESSAGE_ACTIVATE: return (turn_cost){EQF__SLOTS_SILU + 5, 1, 1};
        case MESSAGE_INVARIANTS: return (turn_cost){2 * EQF__SLOTS_SATURATE + 3 * D + 4, 4, 1};
        case MESSAGE_GATE: return (turn_cost){5 * D + 6, 2, 1};
        case MESSAGE_SQUARES: return (turn_cost){EQF__SLOTS_SATURATE + 2 * D, 2, 1};
        case MESSAGE_FIRST_HOP: return (turn_cost){s->N * (2 + D), 0, s->N};
        case MESSAGE_SUM_SCALARS: return (turn_cost){s->N * 4 * 3, 0, s->N};
        case MESSAGE_SUM_VECTORS: return (turn_cost){s->N * (4 + 6 * D), 0, s->N};
        case MESSAGE_EDGE_INVARIANTS: return (turn_cost){14 * D + 2 * D * D, 0, 2};
        case MESSAGE_EDGE_MIX: return (turn_cost){12 + 2 * D, 0, 2};
        case MESSAGE_EDGE_ACTIVATE: return (turn_cost){EQF__SLOTS_SILU + 5, 1, 1};
        case MESSAGE_EDGE_OUTPUT: return (turn_cost){s->E * (EQF__SLOTS_SILU + 9) + s->K * 5, s->E, s->E + s->K};
        case MESSAGE_SOURCE_OUTPUT: return (turn_cost){3 * s->N + 5 * s->M * D, 0, s->N + s->M};
        default: return (turn_cost){0, 0, 0};
    }
}

/* Sums over neighbours or channels in reverse: what their forward does, and an adjoint of each number that was read. */
static turn_cost reverse_sum_turn(unsigned operation, const eqf__message_sizes *s) {
    const double N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, square = D * D;
    switch (operation) {
        case MESSAGE_FIRST_HOP_REVERSE_GEOMETRY: return (turn_cost){M * 5 * D, 0, M};
        case MESSAGE_SUM_SCALARS_REVERSE_NODES: return (turn_cost){3 * N, 0, N};
        case MESSAGE_SUM_VECTORS_REVERSE_NODES: return (turn_cost){N * (6 + 8 * D), 0, N};
        case MESSAGE_SUM_VECTORS_REVERSE_GEOMETRY: return (turn_cost){M * (6 + 4 * D), 0, M};
        case MESSAGE_CONVERT_ROWS_REVERSE: return (turn_cost){(s->group > 1 ? 1 : H) * 4 * D, 0, 1};
        case MESSAGE_CONVERT_ROWS_REVERSE_GEOMETRY: return (turn_cost){H * 3 * D, 0, H};
        case MESSAGE_FIRST_HOP_ROWS_REVERSE_GEOMETRY: return (turn_cost){H * (2 + 3 * D) + M * 7 * square, 0, H + M};
        case MESSAGE_SUM_SCALAR_ROWS_REVERSE_NODES: return (turn_cost){N * 4 * (1 + 2 * D) + 4 * 4 * D, 0, N};
        case MESSAGE_SUM_SCALAR_ROWS_REVERSE_GEOMETRY: return (turn_cost){H * (5 + 4 * D), 0, H};
        case MESSAGE_SUM_VECTOR_ROWS_REVERSE_NODES: return (turn_cost){N * (4 + D * (4 + 8 * D)), 0, N};
        case MESSAGE_SUM_VECTOR_ROWS_REVERSE_GEOMETRY: return (turn_cost){M * D * (4 + 5 * D), 0, M};
        case MESSAGE_EDGE_INVARIANTS_REVERSE_SOURCE: return (turn_cost){N * (14 * D + 3 * square), 0, N};
        case MESSAGE_EDGE_MIX_REVERSE_SOURCE: return (turn_cost){N * (16 + 4 * D), 0, N};
        case MESSAGE_EDGE_OUTPUT_GRADIENT: return (turn_cost){N * (EQF__SLOTS_SILU + 14), N, N};
        case MESSAGE_EDGE_RADIAL_REVERSE: return (turn_cost){N * 14, 0, N};
        case MESSAGE_EDGE_REVERSE_GEOMETRY:
            return (turn_cost){R * (12 * D + 5 * square) + E * (9 + 3 * D) + s->K * 3, 0, R + E + s->K};
        default: return (turn_cost){0, 0, 0};
    }
}

/* Turns of one channel of a pair, a row or an edge. */
static turn_cost reverse_turn(unsigned operation, const eqf__message_sizes *s) {
    const double D = s->D, square = D * D;
    switch (operation) {
        case MESSAGE_GEOMETRY_REVERSE: return (turn_cost){s->K * 6 + 20 * D, 1, 1};
        case MESSAGE_ACTIVATE_REVERSE: return (turn_cost){8, 0, 1};
        case MESSAGE_INVARIANTS_REVERSE: return (turn_cost){2 * EQF__SLOTS_SATURATE + 8 * D + 6, 4, 1};
        case MESSAGE_GATE_REVERSE: return (turn_cost){14 * D + 8, 2, 1};
        case MESSAGE_SQUARES_REVERSE: return (turn_cost){EQF__SLOTS_SATURATE + 5 * D, 2, 1};
        case MESSAGE_FIRST_HOP_REVERSE_FILTERS: return (turn_cost){4 * D + 4, 0, 1};
        case MESSAGE_SUM_SCALARS_REVERSE_FILTERS: return (turn_cost){9, 0, 1};
        case MESSAGE_SUM_VECTORS_REVERSE_FILTERS: return (turn_cost){16 * D + 16, 0, 1};
        case MESSAGE_ACTIVATE_ROWS_REVERSE: return (turn_cost){D * 9 + 4, 0, D};
        case MESSAGE_INVARIANT_ROWS_REVERSE:
            return (turn_cost){2 * EQF__SLOTS_SATURATE + D * (12 * D + 12) + 8 * D, 4, D};
        case MESSAGE_GATE_ROWS_REVERSE: return (turn_cost){D * (24 * D + 10) + 10 * D, 2, D};
        case MESSAGE_SQUARE_ROWS_REVERSE: return (turn_cost){EQF__SLOTS_SATURATE + 2 * 9 * D, 2, 2};
        case MESSAGE_FIRST_HOP_ROWS_REVERSE_FILTERS: return (turn_cost){5 * square + 2 * D + 8, 0, 2};
        case MESSAGE_SUM_SCALAR_ROWS_REVERSE_FILTERS: return (turn_cost){6 * D + 3, 0, 1};
        case MESSAGE_SUM_VECTOR_ROWS_REVERSE_FILTERS: return (turn_cost){2 * D * (6 * D + 4), 0, 1};
        case MESSAGE_EDGE_INVARIANTS_REVERSE: return (turn_cost){20 * D + 3 * square, 0, 2};
        case MESSAGE_EDGE_MIX_REVERSE: return (turn_cost){34 + 2 * D, 0, 2};
        case MESSAGE_EDGE_ACTIVATE_REVERSE: return (turn_cost){EQF__SLOTS_SILU + 12, 1, 1};
        case MESSAGE_EDGE_OUTPUT_REVERSE: return (turn_cost){EQF__SLOTS_SILU + 20, 1, 1};
        case MESSAGE_SOURCE_OUTPUT_REVERSE_EDGES: return (turn_cost){6 * D + 4, 0, 1};
        case MESSAGE_SOURCE_OUTPUT_REVERSE_VECTORS: return (turn_cost){24 * D, 0, 1};
        default: return (turn_cost){2 * s->N, 0, 1}; /* copies of a configuration */
    }
}

static turn_cost turn_of(const cl_uint *word, const eqf__message_sizes *s) {
    if (word[0] == MESSAGE_DENSE || word[0] == MESSAGE_DENSE_GRADIENT || word[0] == MESSAGE_DENSE_START_REVERSE)
        return dense_turn(word);
    turn_cost cost = value_turn(word[0], s);
    if (cost.slots <= 0) cost = row_turn(word[0], s);
    if (cost.slots <= 0) cost = reverse_sum_turn(word[0], s);
    return cost.slots > 0 ? cost : reverse_turn(word[0], s);
}

static void count_tape(const eqf__launch_seen *launch, const eqf__message_sizes *s, eqf__work *w) {
    if (launch->num_arguments < 19) return;
    cl_mem handle;
    memcpy(&handle, launch->arguments[0].value, sizeof handle);
    const cl_uint *tape = eqf__described_memory(handle);
    const double blocks = eqf__cost_argument(launch, 18), items = s->group;
    for (cl_uint at = (cl_uint)eqf__cost_argument(launch, 2); at < (cl_uint)eqf__cost_argument(launch, 3); at++) {
        const cl_uint *word = tape + (size_t)at * MESSAGE_WORDS;
        const double turns = (double)word[1] - (double)word[MESSAGE_WORDS - 1],
                     rounds = eqf__cost_divide_up(turns, items);
        const turn_cost each = turn_of(word, s);
        w->slots += blocks * s->V * (rounds * items * each.slots + (items > 1 ? items * 8 : 0));
        w->special += blocks * s->V * turns * each.special;
        /* A third of the slots are loads; on a CPU the nearest cache has most of them. */
        w->cached += blocks * s->V * turns * each.slots / (items > 1 ? 3 : 12) * sizeof(float);
        w->chain += rounds * (1 + each.loads) + 1;
    }
    w->numbers = 96;
}

bool eqf__cost_message(const eqf__launch_seen *launch, eqf__work *work) {
    const eqf__message_sizes s = sizes_of(launch->options);
    if (strcmp(launch->kernel, "message_run") == 0) {
        count_tape(launch, &s, work);
    } else if (strcmp(launch->kernel, "message_contract") == 0) {
        const double slices = eqf__cost_argument(launch, 2), params = eqf__cost_argument(launch, 3);
        work->slots += 3 * slices * params;
        work->bytes += (slices + 1) * params * sizeof(float);
        work->chain += slices / 4;
    } else {
        return eqf__cost_message_group(launch, &s, work);
    }
    return true;
}
