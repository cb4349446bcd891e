/* Common to the files that plan the programs of the message field by work-groups: sizes, defines, loop turns. */
#ifndef EQF_MESSAGE_GROUP_SIZES_H
#define EQF_MESSAGE_GROUP_SIZES_H

#include <stdio.h>

#include "message_group_plan.h"

typedef struct eqf__group_sizes {
    const eqf__message_shape *shape;
    size_t N, D, K, H, M, E, R, L, P;
    size_t hs, ms, es, rs, ks, mixed, pq, invariants; /* strides in local memory: cl/dynamics/message_common.clh */
    size_t full, reduced;                             /* rows of derivatives */
    bool has_rows, is_reverse;
} eqf__group_sizes;

static inline size_t eqf__larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static inline size_t eqf__divide_up(size_t count, size_t by) {
    return (count + by - 1) / by;
}

static inline size_t eqf__in_fours(size_t count) {
    return eqf__divide_up(count, 4) * 4;
}

/* Defines prefix name as value. */
static inline void eqf__group_define_as(eqf__group_plan *plan, const char *prefix, const char *name, size_t value) {
    eqf__group_define *to = &plan->defines[plan->num_defines++];
    snprintf(to->name, sizeof to->name, "%s%s", prefix, name);
    to->value = value;
}
static inline void eqf__group_define_one(eqf__group_plan *plan, const char *name, size_t value) {
    eqf__group_define_as(plan, "", name, value);
}

/* Defines a place for `count` numbers at *end, and moves *end behind it. */
static inline size_t eqf__group_take(eqf__group_plan *plan, const char *name, size_t *end, size_t count) {
    const size_t at = *end;
    eqf__group_define_one(plan, name, at);
    *end += count;
    return at;
}

/* Loop turns of a matrix product, whose tile takes at most 16 to store, and of a loop over `turns` turns with `inner`
 * turns in each; a loop of n turns counts n + 1. */
static inline uint64_t eqf__product_turns(size_t rows, size_t inputs, size_t outputs, size_t group) {
    return 1 + eqf__divide_up(eqf__divide_up(rows, 3) * eqf__divide_up(outputs, 4), group) * (inputs + 18);
}

static inline uint64_t eqf__loop_turns(size_t turns, size_t inner, size_t group) {
    return 1 + eqf__divide_up(turns, group) * (inner + 2);
}

/* The edges' tensors of num_sources source particles, from `begin` on in local memory; returns their end. */
size_t eqf__group_place_edges(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin, size_t num_sources);
/* Rows of derivatives with respect to one particle, from `begin` on; returns their end. */
size_t eqf__group_place_rows(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin);
/* Loop turns of the rows of one particle. */
uint64_t eqf__group_row_turns(const eqf__group_sizes *s, size_t group);
/* Loop turns of the value's pass, and over the edges of num_sources source particles. */
uint64_t eqf__group_edge_turns(const eqf__group_sizes *s, size_t num_sources, size_t group);

/* Defines the places of the weights, and for the reverse pass those of the parameters. */
void eqf__group_place_weights(eqf__group_plan *plan, const eqf__group_sizes *s);

/* For the reverse pass (message_group_reverse_plan.c): places in local memory, after the numbers that last and
 * begin; in scratch memory from *end on; the loop turns. */
void eqf__group_place_reverse(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin);
void eqf__group_place_reverse_scratch(eqf__group_plan *plan, const eqf__group_sizes *s, size_t *end);
void eqf__group_reverse_turns(eqf__group_plan *plan, const eqf__group_sizes *s, size_t group);
/* Its nodes alone; num_sums: numbers of what the edges sum over all sources. */
void eqf__group_place_nodes(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin, size_t num_sums);

/* The same for the reverse pass with the divergence (message_group_row_reverse_plan.c). */
void eqf__group_place_row_reverse(eqf__group_plan *plan, const eqf__group_sizes *s, size_t begin);
void eqf__group_place_row_reverse_scratch(eqf__group_plan *plan, const eqf__group_sizes *s, size_t *end);
uint64_t eqf__group_row_reverse_turns(const eqf__group_sizes *s, size_t group);

static inline uint64_t eqf__gradient_turns(size_t rows, size_t inputs, size_t outputs, size_t group) {
    return 1 + eqf__divide_up(eqf__divide_up(inputs, 4) * eqf__divide_up(outputs, 4), group) * (rows + 18);
}

#endif
