/* Energies, forces, descents and Hessians whose configurations are in local memory, as on GPUs for large systems, are
 * those in private memory: the same bits, in both precisions. Potentials of a user's stay where they are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/eqflow.h"
#include "potential.h"
#include "support.h"

enum { NUM = 21, NUM_DOF = 39 }; /* fewer than a group holds: the rest must do nothing */

static eqf_context *new_context(const char *private_numbers) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    eqf_context *ctx = NULL;
    options.cache_path = "";
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    TEST_OK(ctx, eqf_context_set_profile(ctx, "vector_width=1"));
    TEST_OK(ctx, eqf_context_set_profile(ctx, "local_memory=yes"));
    TEST_OK(ctx, eqf_context_set_profile(ctx, private_numbers));
    return ctx;
}

typedef struct answer {
    float energy[NUM], force[NUM * NUM_DOF];
    double x[2][NUM * NUM_DOF], u[2][NUM], norm[2][NUM];
    eqf_quench_result result[2][NUM];
} answer;

static void run(eqf_context *ctx, const eqf_potential_options *potential, const float *x, bool has_fp64, answer *out) {
    TEST_OK(ctx, eqf_potential_evaluate(ctx, potential, NUM, x, out->energy, out->force));
    for (int is_double = 0; is_double <= (has_fp64 ? 1 : 0); is_double++) {
        eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
        eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
        options.precision = is_double ? EQF_QUENCH_DOUBLE : EQF_QUENCH_FLOAT;
        options.max_steps = 300;
        TEST_OK(ctx, eqf_minima_quench(ctx, potential, &options, NUM, x, out->x[is_double], out->u[is_double],
                                       out->norm[is_double], out->result[is_double], &summary));
    }
}

static void test_same_bits(void **state) {
    (void)state;
    static const char *const systems[] = {"dw4", "lj13"};
    eqf_context *local = new_context("private_numbers=0"), *private = new_context("private_numbers=1000");
    static answer of_local, of_private;
    for (size_t s = 0; s < sizeof systems / sizeof *systems; s++) {
        const eqf_potential_options *potential = &eqf_preset_find(systems[s])->model->potential;
        const test_system *system = test_system_named(systems[s]);
        eqf_device_info device = EQF_DEVICE_INFO_INIT;
        float *x = test_configurations(system, NUM, 31 + s);
        char defines[EQF__LOCAL_DEFINE_SIZE] = "";
        memset(&of_local, 0, sizeof of_local);
        memset(&of_private, 0, sizeof of_private);
        TEST_OK(local, eqf_context_device(local, &device));
        run(local, potential, x, device.has_fp64, &of_local);
        run(private, potential, x, device.has_fp64, &of_private);
        assert_true(eqf__potential_define_local(local, potential, 4, defines, sizeof defines) >= 8);
        assert_int_equal(eqf__potential_define_local(private, potential, 4, defines, sizeof defines), 0);
        assert_true(of_local.energy[0] != 0 && of_local.u[0][0] != 0);
        test_same(local, "energy", NUM, of_local.energy, of_private.energy, 1e-6);
        test_same(local, "force", NUM * NUM_DOF, of_local.force, of_private.force, 1e-6);
        for (int p = 0; p < (device.has_fp64 ? 2 : 1); p++) { /* float, double */
            test_same_doubles(local, "x", NUM * NUM_DOF, of_local.x[p], of_private.x[p], p == 0 ? 1e-3 : 1e-6);
            test_same_doubles(local, "u", NUM, of_local.u[p], of_private.u[p], p == 0 ? 1e-6 : 1e-12);
            test_same_doubles(local, "norm", NUM, of_local.norm[p], of_private.norm[p], HUGE_VAL); /* of rounding */
            assert_memory_equal(of_local.result[p], of_private.result[p], sizeof of_local.result[p]);
        }
        free(x);
    }
    eqf_potential_options own = eqf_preset_find("dw4")->model->potential;
    own.kind = EQF_POTENTIAL_USER;
    char defines[EQF__LOCAL_DEFINE_SIZE] = "";
    assert_int_equal(eqf__potential_define_local(local, &own, 4, defines, sizeof defines), 0);
    eqf_context_destroy(&local);
    eqf_context_destroy(&private);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
