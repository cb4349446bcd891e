/* The energy-based loss and its gradient against central differences of the double-precision loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const double tolerance = 1e-3; /* of the group's norm */

static const char *const groups[] = {"radial.weights", "radial.bias", "radial.importance", "radial.distance_log_gammas",
                                     "radial.time_log_gammas"};
enum { NUM_GROUPS = 5 };

typedef struct energy_case {
    const char *system;
    unsigned num_steps;
    size_t batch_size, most_checked; /* of each group, chosen at random */
    double cap, penalty;
} energy_case;

/* Caps below, among and above the energies that occur. */
static const energy_case cases[] = {
    {"dw2", 20, 1, 60, INFINITY, 0.0}, {"dw2", 20, 7, 30, -3.0, 0.1},  {"dw4", 20, 9, 12, INFINITY, 0.1},
    {"dw4", 11, 37, 8, -18.0, 0.0},    {"line3", 6, 8, 40, 5.0, 0.1},  {"dw5", 20, 7, 6, INFINITY, 0.1},
    {"dw5", 5, 9, 10, -1e3, 0.0},      {"lj13", 20, 3, 4, INFINITY, 0.1}, {"lj13", 5, 9, 5, 10.0, 0.0},
};

static const eqf_param_slice *slice_named(const eqf_model *model, const char *name) {
    for (size_t i = 0; i < eqf_model_num_slices(model); ++i)
        if (!strcmp(eqf_model_slice(model, i)->name, name)) return eqf_model_slice(model, i);
    fail_msg("the model has no %s", name);
    return NULL;
}

/* Latents of realistic configurations, so that the energies are what training meets, rounded to float. */
static float *latents_of(const ref_flow *reference, const test_system *system, size_t batch_size, uint64_t seed) {
    size_t num_dof = (size_t)system->num_particles * system->space_dim;
    float *x = test_configurations(system, batch_size, seed);
    double *h_x = test_to_double(batch_size * num_dof, x);
    for (size_t b = 0; b < batch_size; ++b) {
        ref_transform(reference, EQF_DATA_TO_PRIOR, h_x + b * num_dof, h_x + b * num_dof, NULL);
        for (size_t n = 0; n < num_dof; ++n) x[b * num_dof + n] = (float)h_x[b * num_dof + n];
        test_center_floats(system->num_particles, system->space_dim, x + b * num_dof);
    }
    free(h_x);
    return x;
}

static bool check(const energy_case *c, uint64_t seed) {
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named(c->system);
    size_t num_dof = (size_t)system->num_particles * system->space_dim;
    eqf_model_options options = test_model_options(system);
    options.integrator.num_steps = c->num_steps;
    options.prior_scale = 1.4;
    options.potential.temperature = 1.3;
    eqf_model *model = test_trained_like_model(ctx, system, &options, seed);
    ref_radial *radial = ref_radial_from_model(model);
    ref_flow reference = {radial, system->num_particles, system->space_dim, c->num_steps, options.prior_scale};
    float *z = latents_of(&reference, system, c->batch_size, seed + 1);
    double *h_z = test_to_double(c->batch_size * num_dof, z);
    eqf_energy_loss expected =
        ref_energy_loss(&reference, &options.potential, c->cap, c->penalty, c->batch_size, h_z);
    print_message("%s steps %u batch %zu cap %g penalty %g: free energy %.5f, error %.3g\n", c->system, c->num_steps,
                  c->batch_size, c->cap, c->penalty, expected.free_energy, expected.integration_error);

    size_t num_trained = eqf_model_num_trained(model);
    double *by_param = calloc(num_trained, sizeof *by_param);
    for (size_t i = 0; i < num_trained; ++i) by_param[i] = NAN;
    test_rng rng = {seed};
    for (unsigned g = 0; g < NUM_GROUPS; ++g) {
        const eqf_param_slice *slice = slice_named(model, groups[g]);
        for (size_t i = 0; i < slice->count && i < c->most_checked; ++i) {
            size_t index = slice->offset + (slice->count <= c->most_checked ? i : test_below(&rng, slice->count));
            by_param[index] = ref_energy_loss_by_param(&reference, &options.potential, c->cap, c->penalty,
                                                       c->batch_size, h_z, index);
        }
    }
    bool is_good = true;
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
        flow_options.field_evaluation = (eqf_field_evaluation)evaluation;
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
        float *gradient = test_output(num_trained), *alone = test_output(num_trained);
        eqf_energy_loss loss = EQF_ENERGY_LOSS_INIT;
        TEST_OK(ctx, eqf_flow_energy_gradient(flow, &options.potential, c->cap, c->penalty, c->batch_size, z, &loss,
                                              gradient));
        test_output_end(num_trained, gradient);
        double off = fabs(loss.free_energy - expected.free_energy); /* energies of up to 1e3 kT, rounded to float */
        print_message("    %-6s free energy %.1e off; gradient:", evaluation == EQF_FIELD_TABLE ? "table" : "direct",
                      off);
        is_good &= off <= 2e-4 && fabs(loss.loss - (loss.free_energy + c->penalty * loss.integration_error)) <=
                                      1e-6 * (1.0 + fabs(loss.loss));
        for (unsigned g = 0; g < NUM_GROUPS; ++g) {
            const eqf_param_slice *slice = slice_named(model, groups[g]);
            double difference = 0.0, size = 0.0;
            for (size_t i = slice->offset; i < slice->offset + slice->count; ++i) {
                if (isnan(by_param[i])) continue;
                difference += (gradient[i] - by_param[i]) * (gradient[i] - by_param[i]);
                size += by_param[i] * by_param[i];
            }
            print_message(" %.1e", sqrt(difference / size));
            is_good &= sqrt(difference / size) <= tolerance; /* false for NaN */
        }
        print_message("\n");
        /* The loss alone, and the gradient alone, are the same numbers. */
        TEST_OK(ctx, eqf_flow_energy_gradient(flow, &options.potential, c->cap, c->penalty, c->batch_size, z, NULL,
                                              alone));
        assert_memory_equal(alone, gradient, num_trained * sizeof *alone);
        eqf_flow_destroy(&flow);
        free(gradient);
        free(alone);
    }
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    free(z);
    free(h_z);
    free(by_param);
    return is_good;
}

static void test_gradient(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c) is_good &= check(cases + c, 3000 + c);
    assert_true(is_good);
}

/* Particles on top of each other: without a cap the loss is infinite; with one it is finite, and so is the gradient. A
 * latent that is no number is never hidden by the cap. */
static void test_cores(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("lj13");
    eqf_model_options options = test_model_options(system);
    eqf_model *model = test_trained_like_model(ctx, system, &options, 7);
    eqf_flow *flow;
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    size_t num_trained = eqf_model_num_trained(model);
    enum { BATCH = 9, DOF = 39 };
    float *z = test_configurations(system, BATCH, 8), *gradient = test_output(num_trained);
    const float distances[] = {0.0f,  1e-6f, 1e-3f,
                               2e-3f, 0.1f,  0.3f}; /* of the first two particles, in samples 0 to 5 */
    for (size_t b = 0; b < sizeof distances / sizeof *distances; ++b) {
        for (unsigned d = 0; d < 3; ++d) z[b * DOF + 3 + d] = z[b * DOF + d];
        z[b * DOF + 3] += distances[b];
    }
    eqf_energy_loss loss = EQF_ENERGY_LOSS_INIT;
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, &options.potential, INFINITY, 0.1, BATCH, z, &loss, gradient));
    assert_false(isfinite(loss.free_energy));
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, &options.potential, 50.0, 0.1, BATCH, z, &loss, gradient));
    double square = 0.0;
    for (size_t i = 0; i < num_trained; ++i) square += (double)gradient[i] * gradient[i];
    print_message("overlaps, capped: free energy %.3f, gradient norm %.3g\n", loss.free_energy, sqrt(square));
    assert_true(isfinite(loss.free_energy) && isfinite(square) && square > 0.0);
    z[8 * DOF] = NAN;
    TEST_OK(ctx, eqf_flow_energy_gradient(flow, &options.potential, 50.0, 0.1, BATCH, z, &loss, gradient));
    assert_false(isfinite(loss.free_energy));
    assert_int_equal(eqf_flow_energy_gradient(flow, &options.potential, 50.0, 0.1, 0, z, &loss, gradient),
                     EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_flow_energy_gradient(flow, &options.potential, NAN, 0.1, 1, z, &loss, gradient),
                     EQF_ERROR_INVALID_ARGUMENT);
    options.potential.num_particles = 12;
    assert_int_equal(eqf_flow_energy_gradient(flow, &options.potential, 50.0, 0.1, 1, z, &loss, gradient),
                     EQF_ERROR_INVALID_ARGUMENT);
    print_message("%s\n", eqf_context_error(ctx));
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(z);
    free(gradient);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_cores),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
