/* What launches of the message field have to do: the tape (cl/dynamics/message.cl), and the work-groups with local
 * memory (cl/dynamics/message_group.cl). */
#include <math.h>
#include <string.h>

#include "../../cl/dynamics/message_ops.clh"
#include "cost.h"
#include "program.h"

typedef struct sizes {
    double N, D, K, H, M, E, R, L, V, group, filters;
    double pairs, full, reduced; /* rows of derivatives */
    bool has_rows;
} sizes;

static sizes sizes_of(const char *options) {
    sizes s = {.N = eqf__cost_defined(options, "N"),
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

static double divide_up(double count, double by) {
    return ceil(count / by);
}

/* ---- The tape --------------------------------------------------------------------------------------------------- */

/* Slots of a turn, square roots and divisions among them, and the longest chain of loads that wait for each other. A
 * load or a store of V lanes is a slot, too. */
typedef struct turn_cost {
    double slots, special, loads;
} turn_cost;

/* Slots of silu with its derivatives, of sat, and of exp2_clamped. */
enum { SLOTS_SILU = 13 + 14, SLOTS_SATURATE = 12, SLOTS_EXP = 13 };

/* A tile of 3 rows and 4 outputs: for each input 12 products and 7 loads, which two ports do beside them; then its
 * stores. Its gradient: 16 products and 8 loads for each row; then sums over lanes. */
static turn_cost dense_turn(const cl_uint *word) {
    if (word[0] == MESSAGE_DENSE) return (turn_cost){16.0 * word[4] + 40, 0, word[4] / 4.0};
    if (word[0] == MESSAGE_DENSE_START_REVERSE) return (turn_cost){2.0 * word[3], 0, word[3] / 4.0};
    return (turn_cost){24.0 * word[3] + 16 * 16, 0, word[3] / 4.0};
}

static turn_cost row_turn(unsigned operation, const sizes *s) {
    const double D = s->D, rows = D, square = D * D;
    switch (operation) {
        case MESSAGE_ACTIVATE_ROWS: return (turn_cost){4 * rows + 2, 0, 1};
        case MESSAGE_INVARIANT_ROWS: return (turn_cost){2 * SLOTS_SATURATE + 2 * D + rows * (4 * D + 6), 4, rows};
        case MESSAGE_GATE_ROWS: return (turn_cost){6 * D + 10 + rows * (8 * D + 4), 2, rows};
        case MESSAGE_SQUARE_ROWS: return (turn_cost){SLOTS_SATURATE + 3 * D + 2 * (3 * D + 2), 2, 1};
        /* A turn is a particle, or in a group a channel. */
        case MESSAGE_CONVERT_ROWS: return (turn_cost){(s->group > 1 ? 1 : s->H) * 2 * D + D, 0, 1};
        case MESSAGE_FIRST_HOP_ROWS: return (turn_cost){2 * square + 3 * square, 0, 2};
        case MESSAGE_SUM_SCALAR_ROWS: return (turn_cost){s->N * 4 * (1 + 2 * D) + 8 * D, 0, s->N};
        case MESSAGE_SUM_VECTOR_ROWS: return (turn_cost){s->N * (3 + 2 * D + D * (2 + 5 * D)) + 8 * square, 0, s->N};
        default: return (turn_cost){0, 0, 0};
    }
}

static turn_cost value_turn(unsigned operation, const sizes *s) {
    const double D = s->D;
    switch (operation) {
        case MESSAGE_CLEAR: return (turn_cost){1, 0, 0};
        case MESSAGE_GEOMETRY: return (turn_cost){10 * D + 6 + s->K * (SLOTS_EXP + 10), 2, 1};
        case MESSAGE_ACTIVATE: return (turn_cost){SLOTS_SILU + 5, 1, 1};
        case MESSAGE_INVARIANTS: return (turn_cost){2 * SLOTS_SATURATE + 3 * D + 4, 4, 1};
        case MESSAGE_GATE: return (turn_cost){5 * D + 6, 2, 1};
        case MESSAGE_SQUARES: return (turn_cost){SLOTS_SATURATE + 2 * D, 2, 1};
        case MESSAGE_FIRST_HOP: return (turn_cost){s->N * (2 + D), 0, s->N};
        case MESSAGE_SUM_SCALARS: return (turn_cost){s->N * 4 * 3, 0, s->N};
        case MESSAGE_SUM_VECTORS: return (turn_cost){s->N * (4 + 6 * D), 0, s->N};
        case MESSAGE_EDGE_INVARIANTS: return (turn_cost){14 * D + 2 * D * D, 0, 2};
        case MESSAGE_EDGE_MIX: return (turn_cost){12 + 2 * D, 0, 2};
        case MESSAGE_EDGE_ACTIVATE: return (turn_cost){SLOTS_SILU + 5, 1, 1};
        case MESSAGE_EDGE_OUTPUT: return (turn_cost){s->E * (SLOTS_SILU + 9) + s->K * 5, s->E, s->E + s->K};
        case MESSAGE_SOURCE_OUTPUT: return (turn_cost){3 * s->N + 5 * s->M * D, 0, s->N + s->M};
        default: return (turn_cost){0, 0, 0};
    }
}

/* Sums over neighbours or channels in reverse: what their forward does, and an adjoint of each number that was read. */
static turn_cost reverse_sum_turn(unsigned operation, const sizes *s) {
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
        case MESSAGE_EDGE_OUTPUT_GRADIENT: return (turn_cost){N * (SLOTS_SILU + 14), N, N};
        case MESSAGE_EDGE_RADIAL_REVERSE: return (turn_cost){N * 14, 0, N};
        case MESSAGE_EDGE_REVERSE_GEOMETRY:
            return (turn_cost){R * (12 * D + 5 * square) + E * (9 + 3 * D) + s->K * 3, 0, R + E + s->K};
        default: return (turn_cost){0, 0, 0};
    }
}

/* Turns of one channel of a pair, a row or an edge. */
static turn_cost reverse_turn(unsigned operation, const sizes *s) {
    const double D = s->D, square = D * D;
    switch (operation) {
        case MESSAGE_GEOMETRY_REVERSE: return (turn_cost){s->K * 6 + 20 * D, 1, 1};
        case MESSAGE_ACTIVATE_REVERSE: return (turn_cost){8, 0, 1};
        case MESSAGE_INVARIANTS_REVERSE: return (turn_cost){2 * SLOTS_SATURATE + 8 * D + 6, 4, 1};
        case MESSAGE_GATE_REVERSE: return (turn_cost){14 * D + 8, 2, 1};
        case MESSAGE_SQUARES_REVERSE: return (turn_cost){SLOTS_SATURATE + 5 * D, 2, 1};
        case MESSAGE_FIRST_HOP_REVERSE_FILTERS: return (turn_cost){4 * D + 4, 0, 1};
        case MESSAGE_SUM_SCALARS_REVERSE_FILTERS: return (turn_cost){9, 0, 1};
        case MESSAGE_SUM_VECTORS_REVERSE_FILTERS: return (turn_cost){16 * D + 16, 0, 1};
        case MESSAGE_ACTIVATE_ROWS_REVERSE: return (turn_cost){D * 9 + 4, 0, D};
        case MESSAGE_INVARIANT_ROWS_REVERSE: return (turn_cost){2 * SLOTS_SATURATE + D * (12 * D + 12) + 8 * D, 4, D};
        case MESSAGE_GATE_ROWS_REVERSE: return (turn_cost){D * (24 * D + 10) + 10 * D, 2, D};
        case MESSAGE_SQUARE_ROWS_REVERSE: return (turn_cost){SLOTS_SATURATE + 2 * 9 * D, 2, 2};
        case MESSAGE_FIRST_HOP_ROWS_REVERSE_FILTERS: return (turn_cost){5 * square + 2 * D + 8, 0, 2};
        case MESSAGE_SUM_SCALAR_ROWS_REVERSE_FILTERS: return (turn_cost){6 * D + 3, 0, 1};
        case MESSAGE_SUM_VECTOR_ROWS_REVERSE_FILTERS: return (turn_cost){2 * D * (6 * D + 4), 0, 1};
        case MESSAGE_EDGE_INVARIANTS_REVERSE: return (turn_cost){20 * D + 3 * square, 0, 2};
        case MESSAGE_EDGE_MIX_REVERSE: return (turn_cost){34 + 2 * D, 0, 2};
        case MESSAGE_EDGE_ACTIVATE_REVERSE: return (turn_cost){SLOTS_SILU + 12, 1, 1};
        case MESSAGE_EDGE_OUTPUT_REVERSE: return (turn_cost){SLOTS_SILU + 20, 1, 1};
        case MESSAGE_SOURCE_OUTPUT_REVERSE_EDGES: return (turn_cost){6 * D + 4, 0, 1};
        case MESSAGE_SOURCE_OUTPUT_REVERSE_VECTORS: return (turn_cost){24 * D, 0, 1};
        default: return (turn_cost){2 * s->N, 0, 1}; /* copies of a configuration */
    }
}

static turn_cost turn_of(const cl_uint *word, const sizes *s) {
    if (word[0] == MESSAGE_DENSE || word[0] == MESSAGE_DENSE_GRADIENT || word[0] == MESSAGE_DENSE_START_REVERSE)
        return dense_turn(word);
    turn_cost cost = value_turn(word[0], s);
    if (cost.slots <= 0) cost = row_turn(word[0], s);
    if (cost.slots <= 0) cost = reverse_sum_turn(word[0], s);
    return cost.slots > 0 ? cost : reverse_turn(word[0], s);
}

static void count_tape(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    if (launch->num_arguments < 19) return;
    cl_mem handle;
    memcpy(&handle, launch->arguments[0].value, sizeof handle);
    const cl_uint *tape = eqf__described_memory(handle);
    const double blocks = eqf__cost_argument(launch, 18), items = s->group;
    for (cl_uint at = (cl_uint)eqf__cost_argument(launch, 2); at < (cl_uint)eqf__cost_argument(launch, 3); at++) {
        const cl_uint *word = tape + (size_t)at * MESSAGE_WORDS;
        const double turns = (double)word[1] - (double)word[MESSAGE_WORDS - 1], rounds = divide_up(turns, items);
        const turn_cost each = turn_of(word, s);
        w->slots += blocks * s->V * (rounds * items * each.slots + (items > 1 ? items * 8 : 0));
        w->special += blocks * s->V * turns * each.special;
        /* A third of the slots are loads; on a CPU the nearest cache has most of them. */
        w->cached += blocks * s->V * turns * each.slots / (items > 1 ? 3 : 12) * sizeof(float);
        w->chain += rounds * (1 + each.loads) + 1;
    }
    w->numbers = 96;
}

/* ---- Work-groups with local memory ------------------------------------------------------------------------------ */

/* Work of one group, of one sample. */
typedef struct group_work {
    const sizes *s;
    eqf__work *w;
} group_work;

/* A step's barrier, and its decisions, which take CALLS calls. */
static void add_step(const group_work *g) {
    g->w->slots += g->s->group * 40;
    g->w->chain += 0.5;
}

/* `turns` turns of `slots` slots, `local` numbers of local memory and `global` numbers of scratch memory; loads of the
 * latter that wait for each other: `chain`. Work-items come in waves of 32. */
static void add_loop(const group_work *g, double turns, double slots, double local, double global, double chain) {
    const double lanes = divide_up(turns, 32) * 32;
    g->w->slots += lanes * (slots + 6);
    g->w->local += turns * local * sizeof(float);
    g->w->cached += turns * global * sizeof(float);
    g->w->chain += divide_up(turns, g->s->group) * chain;
}

/* A matrix product: tiles of 3 rows and 4 outputs. For each input 12 products, 3 loads from local memory and one of
 * four weights, which neighbours share; four inputs wait for one load. Weights are read once for as many rows as the
 * group has at a time. */
static void add_product(const group_work *g, double rows, double inputs, double outputs) {
    const double wide = divide_up(outputs, 4), tiles = divide_up(rows, 3) * wide, lanes = divide_up(tiles, 32) * 32;
    const double rounds = divide_up(tiles, g->s->group);
    g->w->slots += lanes * (inputs * (12 + 4 + 1) + 70);
    g->w->local += tiles * (inputs * (3 + 2) + 12) * sizeof(float);
    g->w->cached += rounds * inputs * wide * 4 * sizeof(float);
    g->w->chain += rounds * (divide_up(inputs, 4) * 0.3 + 0.5);
}

static void add_values(const group_work *g) {
    const sizes *s = g->s;
    const double levels = s->has_rows ? 2 : 1, N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R;
    add_loop(g, s->pairs, 10 * D + 10, 2 * D + 2, 2 * D, 2);
    add_loop(g, s->pairs * s->K, SLOTS_EXP + 10, 2 + levels, 0, 0);
    add_loop(g, s->L * H + 3 * E + s->K, 18, 9, 9, 2);
    add_loop(g, s->pairs, 4 * s->K, 3 * s->K, 0, 0);
    for (unsigned level = 0; level < levels; level++) {
        add_product(g, s->pairs, s->K, s->filters);
        g->w->cached += s->pairs * s->filters * sizeof(float);
    }
    add_loop(g, N * (H + M), (N - 1) * (10 + D), (N - 1) * D, N - 1, (N - 1) / 4);
    add_product(g, N, H, H);
    add_loop(g, N * H, SLOTS_SILU + 4, 3, 1, 0);
    for (unsigned l = 2; l <= s->L; l++) {
        add_product(g, N, H, H);
        add_product(g, N, H, M);
        add_product(g, 2 * s->full, M, M);
        add_loop(g, N * H, (N - 1) * 10, N - 1, N - 1, (N - 1) / 4);
        add_loop(g, N * M, (N - 1) * (14 + 4 * D), (N - 1) * (1 + 3 * D), 3 * (N - 1), (N - 1) / 4);
        add_product(g, s->full, M, 2 * M);
        add_loop(g, N * M, 2 * SLOTS_SATURATE + 3 * D, 2 * D + 3, 2 * D + 2, 0);
        add_product(g, N, 2 * H + 2 * M, H);
        add_loop(g, N * H, SLOTS_SILU + 4, 3, 1, 0);
        add_product(g, N, H, M);
        add_loop(g, N * M, 5 * D + 20, 2 * D + 1, D + 1, 0);
        for (int step = 0; step < 8; step++) add_step(g);
    }
    add_product(g, s->full, M, R);
    add_product(g, N, H, M);
    add_product(g, N, H + R, 2 * E);
    add_loop(g, N * R, SLOTS_SATURATE + 2 * D, D + 1, D + 1, 0);
    add_loop(g, N * 2 * E, 2, 1, 1, 0);
    for (int step = 0; step < 10; step++) add_step(g);
}

/* The edges of `count` pairs of a source and another particle. */
static void add_edges(const group_work *g, double count) {
    const sizes *s = g->s;
    const double levels = s->has_rows ? 2 : 1, D = s->D, E = s->E, R = s->R;
    add_loop(g, count * R, levels * 8 * D + (levels - 1) * 2 * D * D + 30, levels * (2 * D + 3), 2 * D, 2);
    add_loop(g, count * E, levels * 14 + 30, levels * 2 + D, 2 + 2 * levels, 3);
    add_product(g, levels * count, 3 * R, E);
    add_loop(g, count * E, SLOTS_SILU + 4, 2 * levels, 0, 0);
    add_product(g, levels * count, E, E);
    add_loop(g, count * E, SLOTS_SILU + 8 * levels, 3 * levels, 2, 1);
    add_loop(g, levels * count * 8, E / 8 * 2, E / 8, 0, E / 8 * 0.2);
    add_loop(g, levels * count, 30, 10, 0, 0.5);
    add_loop(g, count / (s->N - 1) * D + 1, 4 * s->N + 5 * s->M, 2 * s->N, 2 * s->M, s->N * 0.2 + s->M);
    for (int step = 0; step < 8; step++) add_step(g);
}

/* Rows of derivatives with respect to one source particle, through the hops. */
static void add_rows(const group_work *g, double chunk) {
    const sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, square = D * D;
    /* The source's own sums have N terms where others have one: the others wait for them. */
    add_loop(g, N * (H + M), 2 * square + 14, square + D, 2, 2 + (N - 1) / 4);
    g->w->slots += (H + M) * (N - 1) * (square + D + 8);
    add_product(g, s->reduced, H, H);
    add_loop(g, s->reduced * H, 4, 2, 1, 1);
    for (unsigned l = 2; l <= s->L; l++) {
        const bool is_first = l == 2, is_last = l == s->L;
        const double rows = is_last ? s->reduced : s->full, of_h = is_first ? s->reduced : s->full;
        add_product(g, of_h, H, M);
        add_product(g, s->full * D, M, M);
        add_loop(g, N * M, (N - 1) * (12 + 3 * square) + 8 * square, (N - 1) * (2 * D + 2 * square + D) + square + D,
                 (N - 1) * 3, (N - 1) / 4 + (N - 1));
        if (is_last) add_loop(g, N * H + s->full * M, 2 * D + 8, 2 * D, 0, 0);
        add_product(g, rows * D, M, M);
        add_product(g, rows * D, M, 2 * M);
        add_loop(g, rows * M, 4 * D + 16, 2 * D + 3, 2 * D + 2, 1);
        add_product(g, is_last ? rows : of_h, H, H);
        add_product(g, rows, 2 * M, H);
        for (double at = 0; at < H; at += chunk) {
            const double width = fmin(chunk, H - at);
            add_product(g, of_h, H, width);
            add_loop(g, N * width, (N - 1) * (9 + D) + 4 * D, (N - 1) * D + D, N - 1, (N - 1) / 4 + (N - 1));
            add_product(g, rows, width, H);
            add_step(g);
            add_step(g);
        }
        add_loop(g, rows * H, 10, 4, 1, 1);
        if (is_first && !is_last) add_loop(g, rows * H, 2, 2, 0, 0);
        add_product(g, rows, H, M);
        add_loop(g, rows * M, 8 * D + 16, 2 * D + 2, D + 1, 1);
        for (int step = 0; step < 13; step++) add_step(g);
    }
    add_product(g, s->reduced * D, M, R);
    add_product(g, D, H, M);
    add_loop(g, s->reduced * R, 3 * D, D + 1, D + 1, 1);
    add_product(g, s->reduced, H + R, E);
    for (int step = 0; step < 6; step++) add_step(g);
}

/* Registers by NVIDIA's and AMD's compilers: docs/devices.md. */
static void count_group(const eqf__launch_seen *launch, const sizes *s, bool has_values, eqf__work *w) {
    const char *options = launch->options;
    eqf__work one = {.slots = 0};
    const group_work g = {s, &one};
    const double chunk = eqf__cost_defined(options, "CHUNK"), sources = eqf__cost_defined(options, "SOURCES");
    if (has_values) add_values(&g);
    for (double part = has_values ? 1 : eqf__cost_argument(launch, 6),
                end = has_values ? 1 : eqf__cost_argument(launch, 7);
         part < end; part++) {
        if (s->has_rows) add_rows(&g, chunk);
        add_edges(&g, fmin(sources, s->N - part * sources) * (s->N - 1));
    }
    w->slots += w->groups * one.slots;
    w->local += w->groups * one.local;
    w->cached += w->groups * one.cached;
    w->chain += one.chain;
    w->numbers = s->has_rows ? has_values ? 104 : 128 : has_values ? 72 : 56;
    w->group_bytes = sizeof(float) * eqf__cost_defined(options, has_values ? "VALUES_LOCAL_SIZE" : "LOCAL_SIZE");
}

bool eqf__cost_message(const eqf__launch_seen *launch, eqf__work *work) {
    const sizes s = sizes_of(launch->options);
    if (strcmp(launch->kernel, "message_run") == 0) {
        count_tape(launch, &s, work);
    } else if (strcmp(launch->kernel, "message_group_values") == 0) {
        count_group(launch, &s, true, work);
    } else if (strcmp(launch->kernel, "message_group_sources") == 0) {
        count_group(launch, &s, false, work);
    } else if (strcmp(launch->kernel, "message_group_weights") == 0) {
        work->slots += 8 * (double)launch->global_size;
        work->cached += 3 * sizeof(float) * (double)launch->global_size;
    } else {
        return false;
    }
    return true;
}
