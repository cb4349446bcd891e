/* Common to the two files that count what launches of the message field have to do. */
#ifndef EQF_COST_MESSAGE_H
#define EQF_COST_MESSAGE_H

#include <math.h>

#include "cost.h"

typedef struct eqf__message_sizes {
    double N, D, K, H, M, E, R, L, V, group, filters;
    double pairs, full, reduced; /* rows of derivatives */
    bool has_rows;
} eqf__message_sizes;

/* Slots of silu with its derivatives, of sat, and of exp2_clamped. */
enum { EQF__SLOTS_SILU = 13 + 14, EQF__SLOTS_SATURATE = 12, EQF__SLOTS_EXP = 13 };

static inline double eqf__cost_divide_up(double count, double by) {
    return ceil(count / by);
}

/* Adds to the work if the kernel is one of the work-groups with local memory (cost_message_group.c). */
bool eqf__cost_message_group(const eqf__launch_seen *launch, const eqf__message_sizes *s, eqf__work *work);

#endif
