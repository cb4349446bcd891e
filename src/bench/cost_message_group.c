/* What launches of the message field by work-groups with local memory have to do (cl/dynamics/message_group.clh). */
#include <string.h>

#include "cost_message_group.h"
#include "program.h"

static void add_values(const eqf__group_work *g) {
    const eqf__message_sizes *s = g->s;
    const double levels = s->has_rows ? 2 : 1, N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R;
    eqf__group_add_loop(g, s->pairs, 10 * D + 10, 2 * D + 2, 2 * D, 2);
    eqf__group_add_loop(g, s->pairs * s->K, EQF__SLOTS_EXP + 10, 2 + levels, 0, 0);
    eqf__group_add_loop(g, s->L * H + 3 * E + s->K, 18, 9, 9, 2);
    eqf__group_add_loop(g, s->pairs, 4 * s->K, 3 * s->K, 0, 0);
    for (unsigned level = 0; level < levels; level++) {
        eqf__group_add_product(g, s->pairs, s->K, s->filters);
        g->w->cached += s->pairs * s->filters * sizeof(float);
    }
    eqf__group_add_loop(g, N * (H + M), (N - 1) * (10 + D), (N - 1) * D, N - 1, (N - 1) / 4);
    eqf__group_add_product(g, N, H, H);
    eqf__group_add_loop(g, N * H, EQF__SLOTS_SILU + 4, 3, 1, 0);
    for (unsigned l = 2; l <= s->L; l++) {
        eqf__group_add_product(g, N, H, H);
        eqf__group_add_product(g, N, H, M);
        eqf__group_add_product(g, 2 * s->full, M, M);
        eqf__group_add_loop(g, N * H, (N - 1) * 10, N - 1, N - 1, (N - 1) / 4);
        eqf__group_add_loop(g, N * M, (N - 1) * (14 + 4 * D), (N - 1) * (1 + 3 * D), 3 * (N - 1), (N - 1) / 4);
        eqf__group_add_product(g, s->full, M, 2 * M);
        eqf__group_add_loop(g, N * M, 2 * EQF__SLOTS_SATURATE + 3 * D, 2 * D + 3, 2 * D + 2, 0);
        eqf__group_add_product(g, N, 2 * H + 2 * M, H);
        eqf__group_add_loop(g, N * H, EQF__SLOTS_SILU + 4, 3, 1, 0);
        eqf__group_add_product(g, N, H, M);
        eqf__group_add_loop(g, N * M, 5 * D + 20, 2 * D + 1, D + 1, 0);
        for (int step = 0; step < 8; step++) eqf__group_add_step(g);
    }
    eqf__group_add_product(g, s->full, M, R);
    eqf__group_add_product(g, N, H, M);
    eqf__group_add_product(g, N, H + R, 2 * E);
    eqf__group_add_loop(g, N * R, EQF__SLOTS_SATURATE + 2 * D, D + 1, D + 1, 0);
    eqf__group_add_loop(g, N * 2 * E, 2, 1, 1, 0);
    for (int step = 0; step < 10; step++) eqf__group_add_step(g);
}

/* The edges of `count` pairs of a source and another particle. */
void eqf__group_add_edges(const eqf__group_work *g, double count) {
    const eqf__message_sizes *s = g->s;
    const double levels = s->has_rows ? 2 : 1, D = s->D, E = s->E, R = s->R;
    eqf__group_add_loop(g, count * R, levels * 8 * D + (levels - 1) * 2 * D * D + 30, levels * (2 * D + 3), 2 * D, 2);
    eqf__group_add_loop(g, count * E, levels * 14 + 30, levels * 2 + D, 2 + 2 * levels, 3);
    eqf__group_add_product(g, levels * count, 3 * R, E);
    eqf__group_add_loop(g, count * E, EQF__SLOTS_SILU + 4, 2 * levels, 0, 0);
    eqf__group_add_product(g, levels * count, E, E);
    eqf__group_add_loop(g, count * E, EQF__SLOTS_SILU + 8 * levels, 3 * levels, 2, 1);
    eqf__group_add_loop(g, levels * count * 8, E / 8 * 2, E / 8, 0, E / 8 * 0.2);
    eqf__group_add_loop(g, levels * count, 30, 10, 0, 0.5);
    eqf__group_add_loop(g, count / (s->N - 1) * D + 1, 4 * s->N + 5 * s->M, 2 * s->N, 2 * s->M, s->N * 0.2 + s->M);
    for (int step = 0; step < 8; step++) eqf__group_add_step(g);
}

/* Rows of derivatives with respect to one source particle, through the hops. */
void eqf__group_add_rows(const eqf__group_work *g, double chunk) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, square = D * D;
    /* The source's own sums have N terms where others have one: the others wait for them. */
    eqf__group_add_loop(g, N * (H + M), 2 * square + 14, square + D, 2, 2 + (N - 1) / 4);
    g->w->slots += (H + M) * (N - 1) * (square + D + 8);
    eqf__group_add_product(g, s->reduced, H, H);
    eqf__group_add_loop(g, s->reduced * H, 4, 2, 1, 1);
    for (unsigned l = 2; l <= s->L; l++) {
        const bool is_first = l == 2, is_last = l == s->L;
        const double rows = is_last ? s->reduced : s->full, of_h = is_first ? s->reduced : s->full;
        eqf__group_add_product(g, of_h, H, M);
        eqf__group_add_product(g, s->full * D, M, M);
        eqf__group_add_loop(g, N * M, (N - 1) * (12 + 3 * square) + 8 * square,
                            (N - 1) * (2 * D + 2 * square + D) + square + D, (N - 1) * 3, (N - 1) / 4 + (N - 1));
        if (is_last) eqf__group_add_loop(g, N * H + s->full * M, 2 * D + 8, 2 * D, 0, 0);
        eqf__group_add_product(g, rows * D, M, M);
        eqf__group_add_product(g, rows * D, M, 2 * M);
        eqf__group_add_loop(g, rows * M, 4 * D + 16, 2 * D + 3, 2 * D + 2, 1);
        eqf__group_add_product(g, is_last ? rows : of_h, H, H);
        eqf__group_add_product(g, rows, 2 * M, H);
        for (double at = 0; at < H; at += chunk) {
            const double width = fmin(chunk, H - at);
            eqf__group_add_product(g, of_h, H, width);
            eqf__group_add_loop(g, N * width, (N - 1) * (9 + D) + 4 * D, (N - 1) * D + D, N - 1, (N - 1) / 4 + (N - 1));
            eqf__group_add_product(g, rows, width, H);
            eqf__group_add_step(g);
            eqf__group_add_step(g);
        }
        eqf__group_add_loop(g, rows * H, 10, 4, 1, 1);
        if (is_first && !is_last) eqf__group_add_loop(g, rows * H, 2, 2, 0, 0);
        eqf__group_add_product(g, rows, H, M);
        eqf__group_add_loop(g, rows * M, 8 * D + 16, 2 * D + 2, D + 1, 1);
        for (int step = 0; step < 13; step++) eqf__group_add_step(g);
    }
    eqf__group_add_product(g, s->reduced * D, M, R);
    eqf__group_add_product(g, D, H, M);
    eqf__group_add_loop(g, s->reduced * R, 3 * D, D + 1, D + 1, 1);
    eqf__group_add_product(g, s->reduced, H + R, E);
    for (int step = 0; step < 6; step++) eqf__group_add_step(g);
}

/* The reverse of the edges of `count` pairs of a source and another particle; add_edges counts the values. */
static void add_edge_adjoints(const eqf__group_work *g, double count) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, E = s->E, R = s->R, sources = count / (N - 1);
    eqf__group_add_loop(g, count, 2 * D + 20, 2 * D, 1, 0);
    eqf__group_add_loop(g, count * 3 * R, 8, 1, 1, 0);
    eqf__group_add_loop(g, count * E, 2, 0, 1, 0);
    eqf__group_add_loop(g, E, count * 6 + 8, 4 * count, 4, 2);
    eqf__group_add_gradient(g, count, E, E);
    eqf__group_add_product(g, count, E, E);
    eqf__group_add_loop(g, count * E, EQF__SLOTS_SILU + 6, 4, 1, 0);
    eqf__group_add_gradient(g, count, 3 * R, E);
    eqf__group_add_product(g, count, E, 3 * R);
    eqf__group_add_loop(g, count * E, 30, 1, 6, 3);
    eqf__group_add_loop(g, N * E, sources * 16 + 8, sources + 2, sources, sources);
    eqf__group_add_loop(g, sources * E, (N - 1) * 14, N + 1, N - 1, (N - 1) / 4);
    eqf__group_add_loop(g, N * R, (sources + 1) * (12 + 4 * D) + N / 2 * 4 * D, 4 * D * sources, 2 * D * sources,
                        N / 4);
    eqf__group_add_loop(g, count * D, R * 6 + 20, 2 * R, 2 * R, R * 0.3);
    for (int step = 0; step < 5; step++) eqf__group_add_step(g);
}

static void add_hop_adjoints(const eqf__group_work *g) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M;
    eqf__group_add_loop(g, N * M, 14 * D + 20, 2 * D + 1, D + 1, 1);
    eqf__group_add_product(g, N, M, H);
    eqf__group_add_gradient(g, N, H, M);
    eqf__group_add_loop(g, N * H, 6, 2, 1, 1);
    eqf__group_add_product(g, N, H, 2 * H + 2 * M);
    eqf__group_add_gradient(g, N, 2 * H + 2 * M, H);
    eqf__group_add_loop(g, H, 3 * N, N, 0, 0);
    eqf__group_add_loop(g, N * M, 4 * D + 16, 2 * D + 3, 2 * D + 2, 1);
    eqf__group_add_loop(g, N * H, 4, 3, 0, 0);
    eqf__group_add_product(g, s->full, 2 * M, M);
    eqf__group_add_gradient(g, s->full, M, 2 * M);
    eqf__group_add_loop(g, N * H, (N - 1) * 10, N - 1, N - 1, (N - 1) / 4);
    eqf__group_add_loop(g, N * M, (N - 1) * (14 + 5 * D), (N - 1) * (1 + 2 * D), 3 * (N - 1), (N - 1) / 4);
    eqf__group_add_loop(g, s->pairs * H, 14, 2, 3, 1);
    eqf__group_add_loop(g, s->pairs * M, 30 + 12 * D, 4 * D + 2, 4 * D + 5, 2);
    eqf__group_add_loop(g, N * (N - 1), M * (8 + 4 * D) + 20, M * (D + 1), M * (3 + D), M * 0.5);
    eqf__group_add_product(g, N, H + M, H);
    eqf__group_add_gradient(g, N, H, H + M);
    for (int vectors = 0; vectors < 2; vectors++) {
        eqf__group_add_product(g, s->full, M, M);
        eqf__group_add_gradient(g, s->full, M, M);
    }
    for (int step = 0; step < 8; step++) eqf__group_add_step(g);
}

static void add_filter_adjoints(const eqf__group_work *g, double columns) {
    const eqf__message_sizes *s = g->s;
    for (double first = 0; first < s->filters; first += columns) {
        const double width = fmin(columns, s->filters - first);
        eqf__group_add_loop(g, s->pairs * width, 8, 1, 1, 1);
        eqf__group_add_product(g, s->pairs, width, s->K);
        eqf__group_add_gradient(g, s->pairs, s->K, width);
        eqf__group_add_step(g);
        eqf__group_add_step(g);
    }
}

/* The nodes: read-out, hops, filters `columns` at a time, pairs. */
static void add_node_adjoints(const eqf__group_work *g, double columns) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, K = s->K, H = s->H, M = s->M, E = s->E, R = s->R;
    eqf__group_add_loop(g, 2 * N * s->full + 4 * s->pairs + s->full * R + 2 * N * E, 6, 1, 1, 1);
    for (int side = 0; side < 2; side++) {
        eqf__group_add_product(g, N, E, H + R);
        eqf__group_add_gradient(g, N, H + R, E);
    }
    eqf__group_add_loop(g, N * M, 3 * D + 8, D, D, 1);
    eqf__group_add_loop(g, M, N * (5 * D + 4), s->full, N * (D + 1), N);
    eqf__group_add_loop(g, E, 3 * s->pairs + 2 * N, N, s->pairs, s->pairs / 4);
    eqf__group_add_product(g, N, M, H);
    eqf__group_add_gradient(g, N, H, M);
    eqf__group_add_loop(g, s->full * (M + R), 8, 2, 1, 1);
    eqf__group_add_product(g, s->full, R, M);
    eqf__group_add_gradient(g, s->full, M, R);
    for (unsigned l = 2; l <= s->L; l++) add_hop_adjoints(g);
    eqf__group_add_loop(g, N * H, 6, 2, 1, 1);
    eqf__group_add_product(g, N, H, H);
    eqf__group_add_gradient(g, N, H, H);
    eqf__group_add_loop(g, s->pairs * (H + M), 14 + 3 * D, 2 * D, 1, 0);
    eqf__group_add_loop(g, s->pairs, M * D * 5, M * D * 2, M, M * 0.3);
    add_filter_adjoints(g, columns);
    eqf__group_add_loop(g, s->pairs, K * 9, 2 * K, K, K * 0.3);
    eqf__group_add_loop(g, K + 1, s->pairs * 8, 0, s->pairs * 3, s->pairs);
    eqf__group_add_loop(g, s->full, 3 * N, N, 1, 1);
    eqf__group_add_loop(g, (s->L * H + 3 * E + K + 1) * 9, 8, 2, 2, 1);
    for (int step = 0; step < 10; step++) eqf__group_add_step(g);
}

/* Registers by NVIDIA's and AMD's compilers: docs/devices.md. */
static void count_adjoints(const eqf__launch_seen *launch, const eqf__message_sizes *s, bool is_nodes, eqf__work *w) {
    const char *options = launch->options;
    eqf__work one = {.slots = 0};
    const eqf__group_work g = {s, &one};
    const double sources = eqf__cost_defined(options, "SOURCES");
    const double columns = fmax(eqf__cost_defined(options, "COLUMNS"), 1);
    if (is_nodes) add_node_adjoints(&g, columns);
    if (is_nodes && s->has_rows) add_filter_adjoints(&g, columns); /* those of the filters' derivatives */
    for (double part = is_nodes ? 1 : eqf__cost_argument(launch, 8), end = is_nodes ? 1 : eqf__cost_argument(launch, 9);
         part < end; part++) {
        const double count = fmin(sources, s->N - part * sources) * (s->N - 1);
        eqf__group_add_edges(&g, count);
        add_edge_adjoints(&g, count);
    }
    w->slots += w->groups * one.slots;
    w->local += w->groups * one.local;
    w->cached += w->groups * one.cached;
    w->chain += one.chain;
    w->numbers = is_nodes ? (s->has_rows ? 128 : 82) : 96;
    w->group_bytes = sizeof(float) * eqf__cost_defined(options, is_nodes ? "NODES_LOCAL_SIZE" : "LOCAL_SIZE");
}

/* Of one source particle: its rows and read-out, or then its rows' adjoints. */
static void count_row_adjoints(const eqf__launch_seen *launch, const eqf__message_sizes *s, bool is_values,
                               eqf__work *w) {
    const char *options = launch->options;
    eqf__work one = {.slots = 0};
    const eqf__group_work g = {s, &one};
    if (is_values) {
        eqf__group_add_rows(&g, eqf__cost_defined(options, "CHUNK"));
        eqf__group_add_edges(&g, s->N - 1);
        eqf__group_add_row_readout(&g);
    } else {
        eqf__group_add_row_adjoints(&g, eqf__cost_defined(options, "ROW_CHUNK"));
    }
    w->slots += w->groups * one.slots;
    w->local += w->groups * one.local;
    w->cached += w->groups * one.cached;
    w->chain += one.chain;
    w->numbers = 128;
    w->group_bytes = sizeof(float) * eqf__cost_defined(options, is_values ? "LOCAL_SIZE" : "ROWS_LOCAL_SIZE");
}

/* Registers by NVIDIA's and AMD's compilers: docs/devices.md. */
static void count_group(const eqf__launch_seen *launch, const eqf__message_sizes *s, bool has_values, eqf__work *w) {
    const char *options = launch->options;
    eqf__work one = {.slots = 0};
    const eqf__group_work g = {s, &one};
    const double chunk = eqf__cost_defined(options, "CHUNK"), sources = eqf__cost_defined(options, "SOURCES");
    if (has_values) add_values(&g);
    for (double part = has_values ? 1 : eqf__cost_argument(launch, 7),
                end = has_values ? 1 : eqf__cost_argument(launch, 8);
         part < end; part++) {
        if (s->has_rows) eqf__group_add_rows(&g, chunk);
        eqf__group_add_edges(&g, fmin(sources, s->N - part * sources) * (s->N - 1));
    }
    w->slots += w->groups * one.slots;
    w->local += w->groups * one.local;
    w->cached += w->groups * one.cached;
    w->chain += one.chain;
    w->numbers = s->has_rows ? has_values ? 64 : 84 : has_values ? 58 : 40;
    if (strstr(options, "HAS_REVERSE") != NULL) w->numbers = 64; /* values for the reverse pass */
    w->group_bytes = sizeof(float) * eqf__cost_defined(options, has_values ? "VALUES_LOCAL_SIZE" : "LOCAL_SIZE");
}

bool eqf__cost_message_group(const eqf__launch_seen *launch, const eqf__message_sizes *s, eqf__work *work) {
    if (strcmp(launch->kernel, "message_group_values") == 0) {
        count_group(launch, s, true, work);
    } else if (strcmp(launch->kernel, "message_group_sources") == 0) {
        count_group(launch, s, false, work);
    } else if (strcmp(launch->kernel, "message_group_edge_adjoints") == 0) {
        count_adjoints(launch, s, false, work);
    } else if (strcmp(launch->kernel, "message_group_row_values") == 0) {
        count_row_adjoints(launch, s, true, work);
    } else if (strcmp(launch->kernel, "message_group_row_adjoints") == 0) {
        count_row_adjoints(launch, s, false, work);
    } else if (strcmp(launch->kernel, "message_group_node_adjoints") == 0) {
        count_adjoints(launch, s, true, work);
    } else if (strcmp(launch->kernel, "message_group_weights") == 0) {
        work->slots += 8 * (double)launch->global_size;
        work->cached += 3 * sizeof(float) * (double)launch->global_size;
    } else {
        return false;
    }
    return true;
}
