#include "groups.h"

/* A group needs no more work-items than there are ordered pairs, in multiples of 32: the widest hardware that runs less
 * than a group of the profile's at once. */
enum { LEAST_GROUP = 32 };

unsigned eqf__group_wanted(const eqf__device *device, const eqf__field *field, eqf__group_use use) {
    const size_t most = device->info.max_work_group_size, N = field->num_particles;
    size_t group_size = device->group_size < most ? device->group_size : most;
    if (N < device->group_min_particles) {
        if (use == EQF__GROUP_NARROW || N < device->group_min_particles_wide) return 0;
        const size_t enough = eqf__divide_up(N * N, LEAST_GROUP) * LEAST_GROUP;
        if (group_size > enough) group_size = enough;
    }
    return group_size < 3 ? 0 : (unsigned)group_size; /* no gain, and PoCL 3.1 aborts while it builds such groups */
}

bool eqf__group_fits(eqf_context *ctx, const eqf__kernel *kernel, unsigned group_size) {
    if (group_size == 0) return true;
    const size_t most = eqf__kernel_largest_group(ctx, kernel);
    if (most >= group_size) return true;
    eqf__log(ctx, EQF_LOG_WARNING,
             "%s runs kernel '%s' in groups of %zu at most, not the profile's %u: one sample a work-item instead",
             ctx->device->info.name, kernel->name, most, group_size);
    return false;
}
