/* The layout in which a work-group computes a sample (cl/common/group.clh): when a solver uses it, and with how many
 * work-items. */
#ifndef EQF_GROUPS_H
#define EQF_GROUPS_H

#include "field.h"

/* What a solve holds for a sample: one state, or several times as much (reverse solves, steps chosen by their error).
 * The profile says for each from how many particles on a sample is shared. */
typedef enum eqf__group_use { EQF__GROUP_NARROW, EQF__GROUP_WIDE } eqf__group_use;

/* The number of work-items that the profile wants for a sample of the field; 0: a work-item computes a block of
 * samples. The caller still has to see that their local memory is there. */
unsigned eqf__group_wanted(const eqf__device *device, const eqf__field *field, eqf__group_use use);
/* Whether the device can run the built kernel in groups of that size; if not, a warning says so. */
bool eqf__group_fits(eqf_context *ctx, const eqf__kernel *kernel, unsigned group_size);

/* The vectors of a group, whose loop turns llvmpipe adds; a vector has at least 4 work-items. */
static inline size_t eqf__group_vectors(size_t group_size) {
    return (group_size + 3) / 4;
}
static inline size_t eqf__divide_up(size_t count, size_t by) {
    return (count + by - 1) / by;
}

#endif
