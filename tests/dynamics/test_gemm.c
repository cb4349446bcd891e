/* Matrix products on the device, with the parameters that this device class gets, against double-precision sums:
 * sizes that the dense field has and sizes that are multiples of nothing, which CLBlast copies to padded ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gemm.h"
#include "program.h"
#include "support.h"

static bool check(eqf_context *ctx, size_t num_m, size_t num_n, size_t num_k, uint64_t seed) {
    const size_t num_a = num_k * num_m, num_b = num_k * num_n, num_c = num_n * num_m;
    float *a = test_floats(num_a), *b = test_floats(num_b), *c = test_output(num_c), *again = test_floats(num_c);
    test_rng rng = {seed};
    for (size_t i = 0; i < num_a; ++i) a[i] = (float)test_normal(&rng);
    for (size_t i = 0; i < num_b; ++i) b[i] = (float)test_normal(&rng);
    cl_mem d_a, d_b, d_c;
    TEST_OK(ctx, eqf__buffer_create(ctx, num_a * sizeof *a, a, "A", &d_a));
    TEST_OK(ctx, eqf__buffer_create(ctx, num_b * sizeof *b, b, "B", &d_b));
    TEST_OK(ctx, eqf__buffer_create(ctx, num_c * sizeof *c, c, "C", &d_c));
    TEST_OK(ctx, eqf__gemm(ctx, num_m, num_n, num_k, d_a, d_b, d_c));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_c, 0, num_c * sizeof *c, c));
    TEST_OK(ctx, eqf__gemm(ctx, num_m, num_n, num_k, d_a, d_b, d_c));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_c, 0, num_c * sizeof *c, again));
    assert_memory_equal(again, c, num_c * sizeof *c);
    test_output_end(num_c, c);
    /* A sum of K products of normal numbers is about sqrt(K); its rounding errors in float32 grow with that. */
    test_worst worst = TEST_WORST_INIT(2e-5);
    for (size_t n = 0; n < num_n; ++n)
        for (size_t m = 0; m < num_m; ++m) {
            double sum = 0.0;
            for (size_t k = 0; k < num_k; ++k) sum += (double)a[k * num_m + m] * b[k * num_n + n];
            test_compare(&worst, n * num_m + m, fabs(c[n * num_m + m] - sum) / sqrt((double)num_k));
        }
    eqf__buffer_destroy(&d_a);
    eqf__buffer_destroy(&d_b);
    eqf__buffer_destroy(&d_c);
    free(a);
    free(b);
    free(c);
    free(again);
    return test_report(&worst, "C [%zu][%zu], K = %zu", num_n, num_m, num_k);
}

static void test_products(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    TEST_OK(ctx, eqf__gemm_open(ctx, EQF__GEMM_TUNED));
    static const size_t sizes[][3] = {{16, 16, 16},    {112, 128, 16},   {1792, 128, 128}, {592, 16, 128},
                                      {16, 128, 1024}, {128, 128, 4096}, {48, 32, 80},     {1, 1, 1},
                                      {17, 33, 5},     {100, 7, 129}};
    bool is_good = true;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s)
        is_good &= check(ctx, sizes[s][0], sizes[s][1], sizes[s][2], 50 + s);
    assert_true(is_good);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
