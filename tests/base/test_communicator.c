/* Shares of ranks, and communicators that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eqflow/eqflow.h"

static bool sum_floats(void *user, size_t count, float *values) {
    (void)user, (void)count, (void)values;
    return true;
}
static bool sum_doubles(void *user, size_t count, double *values) {
    (void)user, (void)count, (void)values;
    return true;
}
static bool gather(void *user, const size_t *bounds, void *bytes) {
    (void)user, (void)bounds, (void)bytes;
    return true;
}

static void test_shares(void **state) {
    (void)state;
    const size_t nums[] = {0, 1, 2, 7, 64, 1000003, SIZE_MAX};
    for (unsigned size = 0; size <= 9; size++) {
        eqf_communicator all = EQF_COMMUNICATOR_INIT;
        all.size = size;
        const unsigned num_ranks = size > 0 ? size : 1;
        for (size_t k = 0; k < sizeof nums / sizeof nums[0]; k++) {
            assert_true(eqf_communicator_share(&all, 0, nums[k]) == 0);
            assert_true(eqf_communicator_share(&all, num_ranks, nums[k]) == nums[k]);
            for (unsigned rank = 0; rank < num_ranks; rank++) {
                size_t count =
                    eqf_communicator_share(&all, rank + 1, nums[k]) - eqf_communicator_share(&all, rank, nums[k]);
                assert_true(count == nums[k] / num_ranks || count == nums[k] / num_ranks + 1);
            }
        }
    }
}

static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx;
    assert_int_equal(EQF_OK, eqf_context_create(NULL, &ctx));
    eqf_communicator good = {sizeof good, 1, 2, NULL, sum_floats, sum_doubles, gather}, bad = good;
    assert_int_equal(EQF_OK, eqf_context_set_communicator(ctx, &good));
    bad.rank = 2;
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_context_set_communicator(ctx, &bad));
    bad = good;
    bad.struct_size = 0;
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_context_set_communicator(ctx, &bad));
    bad = good;
    bad.gather = NULL;
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_context_set_communicator(ctx, &bad));
    assert_int_equal(EQF_OK, eqf_context_set_communicator(ctx, NULL));
    eqf_context_destroy(&ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
