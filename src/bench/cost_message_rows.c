/* What the reverse of the message field's rows of derivatives by work-groups has to do, for one source particle
 * (message_group_row_values and message_group_row_adjoints in cl/dynamics/message_group_reverse.cl). */
#include "cost_message_group.h"

void eqf__group_add_row_readout(const eqf__group_work *g) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M, E = s->E, R = s->R, edges = N - 1, rows = 2 * edges;
    eqf__group_add_loop(g, edges, 2 * D + 16, 2 * D, 1, 0);
    eqf__group_add_loop(g, rows * 3 * R + rows * E, 8, 1, 1, 0);
    eqf__group_add_loop(g, edges * E, EQF__SLOTS_SILU + 10, 7, 1, 1);
    eqf__group_add_loop(g, E, edges * 10, edges * 5, 6, 3);
    eqf__group_add_gradient(g, rows, E, E);
    eqf__group_add_product(g, rows, E, E);
    eqf__group_add_loop(g, edges * E, EQF__SLOTS_SILU + 12, 7, 1, 0);
    eqf__group_add_product(g, rows, E, 3 * R);
    eqf__group_add_gradient(g, rows, 3 * R, E);
    eqf__group_add_loop(g, edges * E, 50 + 2 * D, 4 + 2 * D, 14, 4);
    eqf__group_add_loop(g, E, edges * (14 + 2 * D), edges * (3 + D), edges * 2, edges / 4);
    eqf__group_add_loop(g, edges * R, 20 + D * (10 + 2 * D), 6 + D * (3 + 2 * D), 3 * D, 2);
    eqf__group_add_loop(g, R * D, edges * (16 + 2 * D), edges * (5 + D), edges, edges / 4);
    eqf__group_add_loop(g, edges * D, R * (14 + 8 * D) + E * 6, R * (6 + 4 * D) + 2 * E, R * (2 + D) + E,
                        (R + E) * 0.3);
    eqf__group_add_loop(g, s->reduced * D * M + M * D * 8, 10, 1, 2, 2);
    eqf__group_add_product(g, s->reduced, E, H + R);
    eqf__group_add_gradient(g, D, H + R, E);
    eqf__group_add_gradient(g, edges, H + R, E);
    eqf__group_add_product(g, D, M, H);
    eqf__group_add_gradient(g, D, H, M);
    eqf__group_add_loop(g, N * R, EQF__SLOTS_SATURATE + 18 * D, 6 * D, 3 * D, 2);
    eqf__group_add_product(g, s->reduced * D, R, M);
    eqf__group_add_gradient(g, s->reduced * D, M, R);
    eqf__group_add_loop(g, 2 * s->reduced * (H + D * M), 8, 1, 1, 1);
    const double vectors = s->full * D * M;
    eqf__group_add_loop(g, s->reduced * H + vectors, 8, 1, 1, 1);
    eqf__group_add_loop(g, (s->L - 1) * (s->full * (4 * H + 5 * M) + 5 * vectors), 8, 1, 1, 1);
    for (int step = 0; step < 8; step++) eqf__group_add_step(g);
}

/* A reduced row of the last hop is multiplied by its direction at each use. */
static void add_hop(const eqf__group_work *g, bool is_last, double chunk) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M, square = D * D;
    const double rows = is_last ? s->reduced : s->full, expand = is_last ? 3 : 0, of_row = is_last ? 2 : 1;
    eqf__group_add_loop(g, N * M, rows / N * (24 * D + 12) + 12 * D, rows / N * (2 * D + 1), rows / N * (D + 1) + 3 * D,
                        2);
    eqf__group_add_product(g, rows, M, H);
    eqf__group_add_gradient(g, rows, H, M);
    eqf__group_add_loop(g, N * H, rows / N * 6 + 8, rows / N * 2, rows / N + 4, 2);
    eqf__group_add_product(g, rows, H, H + 2 * M);
    eqf__group_add_gradient(g, rows, 2 * H + 2 * M, H);
    for (double at = 0; at < H; at += chunk) {
        const double width = fmin(chunk, H - at);
        eqf__group_add_product(g, rows, H, width);
        eqf__group_add_loop(g, N * width, (N + 1) * (9 + D * (1 + expand)), (N + 1) * D * of_row, N, N / 4 + 2);
        eqf__group_add_loop(g, s->pairs * width, 20 + D * (4 + 2 * expand), 2 * D * of_row, 2 * D + 2, 2);
        eqf__group_add_loop(g, s->full, width * (8 + 2 * expand), width * 2 * of_row, width * (is_last ? 4 : 3),
                            width * 0.3);
        eqf__group_add_product(g, s->full, width, H);
        eqf__group_add_gradient(g, s->full, H, width);
        eqf__group_add_step(g);
        eqf__group_add_step(g);
    }
    if (is_last) eqf__group_add_loop(g, s->full * H, 14, 3, 1, 0);
    eqf__group_add_loop(g, N * M, rows / N * (12 * D + 10) + 4 * D, rows / N * (2 * D + 3),
                        rows / N * (2 * D + 1) + 4 * D, 2);
    eqf__group_add_product(g, rows * D, 2 * M, M);
    eqf__group_add_gradient(g, rows * D, M, 2 * M);
    eqf__group_add_product(g, rows * D, M, M);
    eqf__group_add_gradient(g, rows * D, M, M);
    if (is_last) eqf__group_add_loop(g, s->full * M, 8 * D + 16, 3 * D + 2, D + 1, 2);
    /* The source's own turns have N terms more: the others wait for them. */
    eqf__group_add_loop(g, N * M, N * (14 + D * 4 + square * 3) + 8 * square, N * (D + square) + 6 * square,
                        N * 3 + 6 * D, N / 4 + N);
    eqf__group_add_loop(g, s->pairs * M, 2 * (20 + D * 12 + square * 8), 2 * (D + square), 2 * (2 * square + 3 * D), 6);
    eqf__group_add_loop(g, N * (N - 1), M * (12 + D * 4 + square * 5), M * (D + square), M * (3 + square + D), M * 0.5);
    eqf__group_add_product(g, s->full * D, M, M);
    eqf__group_add_gradient(g, s->full * D, M, M);
    eqf__group_add_product(g, s->full, M, H);
    eqf__group_add_gradient(g, s->full, H, M);
    for (int step = 0; step < 10; step++) eqf__group_add_step(g);
}

void eqf__group_add_row_adjoints(const eqf__group_work *g, double chunk) {
    const eqf__message_sizes *s = g->s;
    const double N = s->N, D = s->D, H = s->H, M = s->M;
    eqf__group_add_loop(g, s->reduced * (H + D * M) + N * s->full, 8, 1, 1, 1);
    for (double l = s->L; l > 1; l--) add_hop(g, l >= s->L, chunk);
    eqf__group_add_loop(g, s->reduced * H, 4 * D, 2 * D, 0, 0);
    eqf__group_add_loop(g, s->full, H * 5, H, 2 * H, H * 0.3);
    eqf__group_add_loop(g, N * H, 12, 3, 4, 2);
    eqf__group_add_product(g, s->reduced, H, H);
    eqf__group_add_gradient(g, s->reduced, H, H);
    eqf__group_add_loop(g, (N - 1) * (H + M), 4 * D + 10, 2 * D, 2, 2);
    eqf__group_add_loop(g, (N - 1) * D, H * 3 + M * 12 * D, H + M * 4 * D, H + 2 * M, (H + M) * 0.3);
    for (int step = 0; step < 4; step++) eqf__group_add_step(g);
}
