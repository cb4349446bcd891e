/* Chains whose states are in local memory, as on GPUs, are those in private memory: the same bits, of plain chains and
 * of ladders, for pair potentials; others stay where they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/eqflow.h"
#include "mcmc_internal.h"
#include "support.h"

enum { NUM = 24, NUM_DOF = 39, NUM_TEMPERATURES = 3 };

static eqf_context *new_context(const char *local_memory) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    eqf_context *ctx = NULL;
    char setting[32];
    options.cache_path = "";
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    snprintf(setting, sizeof setting, "local_memory=%s", local_memory);
    TEST_OK(ctx, eqf_context_set_profile(ctx, "vector_width=1"));
    TEST_OK(ctx, eqf_context_set_profile(ctx, setting));
    return ctx;
}

typedef struct answer {
    float x[NUM * NUM_DOF], energy[NUM], ladder_x[NUM_TEMPERATURES * NUM * NUM_DOF],
        ladder_energy[NUM_TEMPERATURES * NUM];
} answer;

static void run(eqf_context *ctx, const eqf_potential_options *potential, answer *out) {
    eqf_mcmc_options chains = EQF_MCMC_OPTIONS_INIT;
    chains.num_chains = 16;  /* fewer than a group holds: the rest must do nothing */
    chains.num_burn_in = 70; /* the centre of mass is taken out once on the way */
    chains.thinning = 3;
    chains.is_centred = true;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, potential, &chains, NUM, out->x, out->energy, NULL));
    eqf_replica_options ladders = EQF_REPLICA_OPTIONS_INIT;
    ladders.num_temperatures = NUM_TEMPERATURES;
    ladders.highest_temperature = 2 * potential->temperature;
    ladders.num_ladders = 4;
    ladders.num_burn_in = 20;
    ladders.thinning = 10;
    TEST_OK(ctx, eqf_replica_sample(ctx, potential, &ladders, NUM, out->ladder_x, out->ladder_energy, NULL));
}

static void test_same_bits(void **state) {
    (void)state;
    static const char *const systems[] = {"dw4", "lj13"};
    eqf_context *local = new_context("yes"), *private = new_context("no");
    static answer of_local, of_private;
    for (int s = 0; s < 2; s++) {
        const eqf_potential_options *potential = &eqf_preset_find(systems[s])->model->potential;
        memset(&of_local, 0, sizeof of_local);
        memset(&of_private, 0, sizeof of_private);
        run(local, potential, &of_local);
        run(private, potential, &of_private);
        assert_int_equal(eqf__mcmc_local_chains(local, potential), 64);
        assert_int_equal(eqf__mcmc_local_chains(private, potential), 0);
        assert_true(of_local.energy[0] != 0 && of_local.ladder_energy[0] != 0);
        const struct {
            const char *name;
            size_t count;
            const float *here, *there;
            double tolerance;
        } parts[] = {
            {"x", NUM * NUM_DOF, of_local.x, of_private.x, 0},
            {"energy", NUM, of_local.energy, of_private.energy, 1e-6},
            {"ladders' x", NUM_TEMPERATURES * NUM * NUM_DOF, of_local.ladder_x, of_private.ladder_x, 0},
            {"ladders' energy", NUM_TEMPERATURES * NUM, of_local.ladder_energy, of_private.ladder_energy, 1e-6},
        };
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            char what[64];
            snprintf(what, sizeof what, "%s, %s of local memory and of private", systems[s], parts[p].name);
            test_same(local, what, parts[p].count, parts[p].here, parts[p].there, parts[p].tolerance);
        }
    }
    eqf_potential_options own = eqf_preset_find("dw4")->model->potential;
    own.kind = EQF_POTENTIAL_USER;
    own.source = "real energy(const real *x) { return x[0]; }\n"
                 "void energy_gradient(const real *x, real *gradient) {\n"
                 "    for (uint c = 0; c < N * D; c++) gradient[c] = c == 0;\n}\n";
    assert_int_equal(eqf__mcmc_local_chains(local, &own), 0);
    eqf_context_destroy(&local);
    eqf_context_destroy(&private);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
