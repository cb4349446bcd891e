/* Common to the two files that count what launches of the message field by work-groups have to do. */
#ifndef EQF_COST_MESSAGE_GROUP_H
#define EQF_COST_MESSAGE_GROUP_H

#include "cost_message.h"

/* Work of one group, of one sample. */
typedef struct eqf__group_work {
    const eqf__message_sizes *s;
    eqf__work *w;
} eqf__group_work;

/* A step's barrier, and its decisions, which take CALLS calls. */
static inline void eqf__group_add_step(const eqf__group_work *g) {
    g->w->slots += g->s->group * 40;
    g->w->chain += 0.5;
}

/* `turns` turns of `slots` slots, `local` numbers of local memory and `global` numbers of scratch memory; loads of the
 * latter that wait for each other: `chain`. Work-items come in waves of 32. */
static inline void eqf__group_add_loop(const eqf__group_work *g, double turns, double slots, double local,
                                       double global, double chain) {
    const double lanes = eqf__cost_divide_up(turns, 32) * 32;
    g->w->slots += lanes * (slots + 6);
    g->w->local += turns * local * sizeof(float);
    g->w->cached += turns * global * sizeof(float);
    g->w->chain += eqf__cost_divide_up(turns, g->s->group) * chain;
}

/* A matrix product: tiles of 3 rows and 4 outputs. For each input 12 products, 3 loads from local memory and one of
 * four weights, which neighbours share; four inputs wait for one load. Weights are read once for as many rows as the
 * group has at a time. */
static inline void eqf__group_add_product(const eqf__group_work *g, double rows, double inputs, double outputs) {
    const double wide = eqf__cost_divide_up(outputs, 4), tiles = eqf__cost_divide_up(rows, 3) * wide,
                 lanes = eqf__cost_divide_up(tiles, 32) * 32;
    const double rounds = eqf__cost_divide_up(tiles, g->s->group);
    g->w->slots += lanes * (inputs * (12 + 4 + 1) + 70);
    g->w->local += tiles * (inputs * (3 + 2) + 12) * sizeof(float);
    g->w->cached += rounds * inputs * wide * 4 * sizeof(float);
    g->w->chain += rounds * (eqf__cost_divide_up(inputs, 4) * 0.3 + 0.5);
}

/* The gradient of a matrix: tiles of 4 outputs and 4 inputs. For each row 16 products, 4 loads from local memory and
 * one of four inputs from scratch memory, which the tiles of other outputs share; then 16 sums in the group's
 * gradient. */
static inline void eqf__group_add_gradient(const eqf__group_work *g, double rows, double inputs, double outputs) {
    const double wide = eqf__cost_divide_up(inputs, 4), tiles = eqf__cost_divide_up(outputs, 4) * wide,
                 waves = eqf__cost_divide_up(tiles, 32);
    const double rounds = eqf__cost_divide_up(tiles, g->s->group);
    g->w->slots += waves * 32 * (rows * (16 + 4 + 3) + 70);
    g->w->local += tiles * rows * 4 * sizeof(float);
    g->w->cached += (waves * rows * fmin(wide, 32) * 4 + 2 * inputs * outputs) * sizeof(float);
    g->w->chain += rounds * (eqf__cost_divide_up(rows, 2) * 0.3 + 1.5);
}

/* Rows of derivatives with respect to one source particle, `chunk` channels of A h at a time (cost_message_group.c),
 * and its edges. */
void eqf__group_add_rows(const eqf__group_work *g, double chunk);
void eqf__group_add_edges(const eqf__group_work *g, double count);
/* Their reverse (cost_message_rows.c): what the rows leave in scratch memory, and the read-out; then the hops. */
void eqf__group_add_row_readout(const eqf__group_work *g);
void eqf__group_add_row_adjoints(const eqf__group_work *g, double chunk);

#endif
