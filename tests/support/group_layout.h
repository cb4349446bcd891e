/* The layout with a work-group a sample, forced on any device: flows made afterwards have it. Only for tests that
 * see src/. */
#ifndef EQF_TESTS_GROUP_LAYOUT_H
#define EQF_TESTS_GROUP_LAYOUT_H

#include "solve.h"
#include "rk4.h"
#include "support.h"

/* group_size 0: one sample a lane of a work-item again. has_local_table: tables are copied to local memory. */
static inline void test_use_groups(eqf_context *ctx, unsigned group_size, bool has_local_table) {
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    device->group_size = group_size;
    device->group_min_particles = 0;
    device->group_staging_particles = has_local_table ? 0 : UINT32_MAX;
}

/* wish, or where the device runs no such groups of these kernels what it does run: llvmpipe, which has a launch
 * budget, 32. */
static inline unsigned test_group_size(eqf_context *ctx, unsigned wish) {
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    return device->launch_iterations > 0 && wish > 32 ? 32 : wish;
}

/* A silent return to the other layout would prove nothing. */
static inline void test_assert_groups(const eqf_flow *flow, unsigned group_size) {
    assert_int_equal(eqf__rk4_of(flow->solver)->group_size, group_size);
    assert_int_equal(eqf__rk4_of(flow->solver)->reverse_group_size, group_size);
}

#endif
