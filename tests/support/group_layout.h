/* The layout with a work-group a sample, forced on any device: flows made afterwards have it. Only for tests that
 * see src/. */
#ifndef EQF_TESTS_GROUP_LAYOUT_H
#define EQF_TESTS_GROUP_LAYOUT_H

#include "dopri5.h"
#include "rk4.h"
#include "solve.h"
#include "support.h"

/* group_size 0: one sample a lane of a work-item again. has_local_table: tables are copied to local memory. */
static inline void test_use_groups(eqf_context *ctx, unsigned group_size, bool has_local_table) {
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    device->group_size = group_size;
    device->group_min_particles = 0; /* so that the same holds for reverse solves and dopri5 */
    device->group_staging_particles = has_local_table ? 0 : UINT32_MAX;
}

/* wish, or where the device runs no such groups of these kernels what it does run: llvmpipe, which has a launch
 * budget, 32. (Larger groups take more of its turns.) */
static inline unsigned test_group_size(eqf_context *ctx, unsigned wish) {
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    return device->launch_iterations > 0 && wish > 32 ? 32 : wish;
}

/* A silent return to the other layout would prove nothing. */
static inline void test_assert_groups(const eqf_flow *flow, unsigned group_size) {
    const eqf__dopri5 *dopri5 = eqf__dopri5_of(flow->solver);
    if (dopri5 != NULL) {
        assert_int_equal(dopri5->forward.group_size, group_size);
        if (dopri5->adjoint.steps.id != NULL) assert_int_equal(dopri5->adjoint.group_size, group_size);
        return;
    }
    assert_int_equal(eqf__rk4_of(flow->solver)->group_size, group_size);
    assert_int_equal(eqf__rk4_of(flow->solver)->reverse_group_size, group_size);
}

/* The same test with flows made by groups. */
#define TEST_BY_GROUPS(function)                                                    \
    static void function##_by_groups(void **state) {                                \
        test_use_groups(test_context(), test_group_size(test_context(), 32), false); \
        function(state);                                                            \
        test_use_groups(test_context(), 0, false);                                  \
    }

#endif
