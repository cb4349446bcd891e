/* Trained fields against the double-precision reference. By default the fields are trained here, shortly. With
 * EQFLOW_TEST_MODELS=FOLDER the models FOLDER/dw2.safetensors, dw4.safetensors and lj13.safetensors (eqflow train) are
 * measured instead, on 1e4 samples each: the certificate; about five minutes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const double tolerance = 1e-4;            /* nat, or length */
static const unsigned num_steps_of_density = 20; /* of the presets */

typedef struct trained_case {
    const char *name;
    size_t num_train, num_measured; /* shortly; 1e4 are measured of a given model */
    uint64_t num_steps;
} trained_case;

static const trained_case cases[] = {{"dw2", 2000, 4000, 500}, {"dw4", 2000, 3000, 300}, {"lj13", 1000, 300, 60}};

static float *samples(eqf_context *ctx, const eqf_preset *preset, size_t count, uint64_t seed) {
    const eqf_potential_options *potential = &preset->model->potential;
    float *x = test_floats(count * potential->num_particles * potential->space_dim);
    eqf_mcmc_options mcmc = *preset->mcmc;
    mcmc.num_burn_in = 1000;
    mcmc.seed = seed;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, potential, &mcmc, count, x, NULL, NULL));
    return x;
}

static eqf_model *trained(eqf_context *ctx, const trained_case *c) {
    const eqf_preset *preset = eqf_preset_find(c->name);
    eqf_model *model;
    const char *folder = getenv("EQFLOW_TEST_MODELS");
    if (folder) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, c->name);
        TEST_OK(ctx, eqf_model_load(ctx, path, &model));
        return model;
    }
    float *x = samples(ctx, preset, c->num_train, 1);
    eqf_training_options options = *preset->training;
    options.batch_size = 64;
    options.num_steps = c->num_steps;
    options.num_warmup_steps = 20;
    options.validation_interval = c->num_steps;
    TEST_OK(ctx, eqf_model_create(ctx, preset->model, &model));
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, c->num_train, x, 0, NULL, &trainer));
    eqf_training_state now = EQF_TRAINING_STATE_INIT;
    while (!now.is_done) TEST_OK(ctx, eqf_trainer_advance(trainer, 1000, &now));
    print_message("%s: trained %llu steps, nll %.4f\n", c->name, (unsigned long long)now.step, now.nll);
    eqf_model_destroy(&model);
    TEST_OK(ctx, eqf_trainer_best_model(trainer, &model));
    unsigned num_steps; /* as `eqflow train` ends */
    const eqf_round_trip wanted = {0.5 * tolerance, 0.5 * tolerance};
    eqf_round_trip round_trip;
    TEST_OK(ctx, eqf_flow_choose_steps(ctx, model, NULL, 1, 1000, &wanted, &num_steps, &round_trip));
    TEST_OK(ctx, eqf_model_set_num_steps(ctx, model, num_steps));
    eqf_trainer_destroy(&trainer);
    free(x);
    return model;
}

/* Rotation or reflection, translation, permutation and centring of x [N, D], in double, in place. */
static void move(test_rng *rng, unsigned num_particles, unsigned space_dim, double *x) {
    double matrix[9], moved[39], offset[3];
    test_orthogonal(rng, space_dim, test_below(rng, 2) == 1, matrix);
    for (unsigned d = 0; d < space_dim; ++d) offset[d] = 2.0 * test_normal(rng);
    for (unsigned i = 0; i < num_particles; ++i)
        for (unsigned d = 0; d < space_dim; ++d) {
            moved[i * space_dim + d] = offset[d];
            for (unsigned e = 0; e < space_dim; ++e)
                moved[i * space_dim + d] += matrix[d * space_dim + e] * x[i * space_dim + e];
        }
    for (unsigned i = num_particles; i > 1; --i) {
        size_t j = test_below(rng, i);
        for (unsigned d = 0; d < space_dim; ++d) {
            double held = moved[(i - 1) * space_dim + d];
            moved[(i - 1) * space_dim + d] = moved[j * space_dim + d];
            moved[j * space_dim + d] = held;
        }
    }
    test_center(num_particles, space_dim, moved);
    memcpy(x, moved, (size_t)num_particles * space_dim * sizeof *x);
}

/* What docs/method.md says of the adaptive integrator, against RK4 with 160 steps. */
static bool measure_adaptive(eqf_context *ctx, const char *name, const eqf_model *model, size_t count, const float *x) {
    static const struct { double rtol, worst, mean; /* nats */ } promised[] = {{1e-5, 1e-2, 2e-4}, {1e-6, 1e-3, 3e-5}};
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    eqf_flow *flow;
    float *expected = test_output(count), *log_prob = test_output(count);
    bool is_good = true;
    options.num_steps = 160;
    options.field_evaluation = EQF_FIELD_DIRECT;
    TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
    TEST_OK(ctx, eqf_flow_log_prob(flow, count, x, expected, NULL));
    eqf_flow_destroy(&flow);
    for (unsigned i = 0; i < 2; ++i) {
        options.method = EQF_INTEGRATOR_DOPRI5;
        options.adaptive.rtol = promised[i].rtol;
        const eqf_status status = eqf_flow_create(ctx, model, &options, &flow);
        if (status == EQF_ERROR_UNSUPPORTED) break; /* a device that allows few loop turns a launch */
        TEST_OK(ctx, status);
        TEST_OK(ctx, eqf_flow_log_prob(flow, count, x, log_prob, NULL));
        test_worst worst = TEST_WORST_INIT(promised[i].worst);
        double mean = 0.0;
        for (size_t b = 0; b < count; ++b) {
            const double error = fabs((double)log_prob[b] - (double)expected[b]);
            test_compare(&worst, b, error);
            mean += error / (double)count;
        }
        is_good &= test_report(&worst, "%s dopri5 log_prob, rtol %g", name, promised[i].rtol);
        print_message("  mean %.2e, allowed %.2e\n", mean, promised[i].mean);
        is_good &= mean <= promised[i].mean;
        eqf_flow_destroy(&flow);
    }
    free(expected);
    free(log_prob);
    return is_good;
}

static bool measure(eqf_context *ctx, const trained_case *c) {
    const eqf_preset *preset = eqf_preset_find(c->name);
    eqf_model *model = trained(ctx, c);
    const eqf_model_options *options = eqf_model_options_of(model);
    unsigned N = options->potential.num_particles, D = options->potential.space_dim, num_dof = N * D;
    ref_radial *radial = ref_radial_from_model(model);
    assert_non_null(radial);
    ref_flow reference = {radial, N, D, num_steps_of_density, options->prior_scale};
    size_t count = getenv("EQFLOW_TEST_MODELS") ? 10000 : c->num_measured;
    float *x = samples(ctx, preset, count, 2), *moved = test_floats(count * num_dof);
    double *h_x = test_to_double(count * num_dof, x), *expected = calloc(count, sizeof *expected), nll = 0.0;
    test_rng rng = {7};
    for (size_t b = 0; b < count; ++b) {
        double one[39];
        expected[b] = ref_log_prob(&reference, h_x + b * num_dof, NULL);
        nll -= expected[b] / (double)count;
        memcpy(one, h_x + b * num_dof, num_dof * sizeof *one);
        move(&rng, N, D, one);
        for (unsigned n = 0; n < num_dof; ++n) moved[b * num_dof + n] = (float)one[n];
    }
    print_message("%s: nll of %zu samples %.4f\n", c->name, count, nll);
    bool is_good = true;
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
        flow_options.field_evaluation = (eqf_field_evaluation)evaluation;
        flow_options.num_steps = num_steps_of_density;
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
        float *log_prob = test_output(count), *moved_log_prob = test_output(count), *z = test_output(count * num_dof),
              *there = test_output(count * num_dof), *back = test_output(count * num_dof),
              *log_det = test_output(count);
        TEST_OK(ctx, eqf_flow_log_prob(flow, count, x, log_prob, NULL));
        TEST_OK(ctx, eqf_flow_log_prob(flow, count, moved, moved_log_prob, NULL));
        test_worst worst = TEST_WORST_INIT(tolerance), invariance = TEST_WORST_INIT(tolerance);
        for (size_t b = 0; b < count; ++b) {
            test_compare(&worst, b, fabs(log_prob[b] - expected[b]));
            test_compare(&invariance, b, fabs(log_prob[b] - moved_log_prob[b]));
        }
        const char *name = evaluation == EQF_FIELD_TABLE ? "table" : "direct";
        test_report(&worst, "%s %s log_prob", c->name, name);
        is_good &= worst.num_above * 1000 <= count; /* 99.9 % */
        is_good &= test_report(&invariance, "%s %s invariance", c->name, name);
        eqf_flow_destroy(&flow);
        /* RK4 there and back is no exact inverse: the preset's steps are for comparison, the model's own keep the
         * promise. */
        const unsigned steps[] = {num_steps_of_density, options->integrator.num_steps};
        for (unsigned i = 0; i < 2; ++i) {
            test_worst trip = TEST_WORST_INIT(tolerance);
            flow_options.num_steps = steps[i];
            TEST_OK(ctx, eqf_flow_create(ctx, model, &flow_options, &flow));
            TEST_OK(ctx, eqf_flow_prior_sample(flow, 3, 0, count, z));
            TEST_OK(ctx, eqf_flow_transform(flow, EQF_PRIOR_TO_DATA, count, z, there, log_det));
            TEST_OK(ctx, eqf_flow_transform(flow, EQF_DATA_TO_PRIOR, count, there, back, log_det));
            for (size_t b = 0; b < count; ++b) {
                double error = 0.0;
                for (size_t n = b * num_dof; n < (b + 1) * num_dof; ++n) error = fmax(error, fabs(back[n] - z[n]));
                test_compare(&trip, b, error);
            }
            bool is_close = test_report(&trip, "%s %s round trip, %u steps", c->name, name, steps[i]);
            if (i == 1) is_good &= is_close;
            eqf_round_trip error;
            TEST_OK(ctx, eqf_flow_round_trip(flow, 4, 1000, &error));
            print_message("  log-densities there and back differ by up to %.2e nat\n", error.log_prob);
            if (i == 1) is_good &= error.log_prob <= tolerance;
            eqf_flow_destroy(&flow);
        }
        free(log_prob);
        free(moved_log_prob);
        free(z);
        free(there);
        free(back);
        free(log_det);
    }
    is_good &= measure_adaptive(ctx, c->name, model, count, x);
    ref_radial_destroy(radial);
    eqf_model_destroy(&model);
    free(x);
    free(moved);
    free(h_x);
    free(expected);
    return is_good;
}

static void test_dw2(void **state) {
    (void)state;
    assert_true(measure(test_context(), cases));
}
static void test_dw4(void **state) {
    (void)state;
    assert_true(measure(test_context(), cases + 1));
}
static void test_lj13(void **state) {
    (void)state;
    assert_true(measure(test_context(), cases + 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dw2),
        cmocka_unit_test(test_dw4),
        cmocka_unit_test(test_lj13),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
