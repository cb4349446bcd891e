/* The radial field with two species: each kind of pair has weights, biases and importances of its own. Velocities by
 * the formula of docs/method.md, section 2; the divergence against the determinant of the whole map, which knows
 * nothing of it; gradients against differences of the loss in double; by direct sums and by tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { MOST_DOF = 39, BATCH = 5 };

typedef struct species_case {
    unsigned N, num_b, D;
} species_case;
static const species_case cases[] = {{5, 2, 2}, {5, 1, 3}, {13, 5, 3}};
enum { NUM_CASES = sizeof cases / sizeof cases[0] };

/* Start values with biases and importances that differ. */
static eqf_model *make_model(eqf_context *ctx, const species_case *c, unsigned num_steps) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.kind = EQF_POTENTIAL_BINARY_LENNARD_JONES;
    options.potential.num_particles = c->N;
    options.potential.space_dim = c->D;
    options.potential.num_b = c->num_b;
    options.dynamics.num_distance = 12;
    options.dynamics.num_time = 4;
    options.dynamics.distance_max = 6.0;
    options.integrator.num_steps = num_steps;
    options.seed = 5;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    float params[1024];
    const size_t num = eqf_model_num_params(model);
    assert_true(num <= 1024);
    memcpy(params, eqf_model_params(model), num * sizeof *params);
    test_rng rng = {9};
    for (unsigned s = 0; s < eqf_model_num_slices(model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(model, s);
        for (size_t p = slice->offset; p < slice->offset + slice->count; ++p) {
            if (!strcmp(slice->name, "radial.weights")) params[p] *= (float)(2.0 / c->N);
            if (!strcmp(slice->name, "radial.bias")) params[p] = (float)(0.1 / c->N * test_normal(&rng));
            if (!strcmp(slice->name, "radial.importance")) params[p] = (float)(0.3 * test_normal(&rng));
        }
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    return model;
}

static void make_x(const species_case *c, size_t num, float *x_out) {
    test_rng rng = {31};
    for (size_t b = 0; b < num; ++b) {
        for (unsigned i = 0; i < c->N * c->D; ++i) x_out[b * c->N * c->D + i] = (float)(1.2 * test_normal(&rng));
        test_center_floats(c->N, c->D, x_out + b * c->N * c->D);
    }
}

static const float *slice_of(const eqf_model *model, const char *name) {
    for (unsigned s = 0; s < eqf_model_num_slices(model); ++s)
        if (!strcmp(eqf_model_slice(model, s)->name, name))
            return eqf_model_params(model) + eqf_model_slice(model, s)->offset;
    abort();
}

/* Normalised Gaussians at s: exp(-((s - centre)/gamma)^2) over their sum and 1e-6. */
static void gaussians(unsigned num, const float *centers, const float *log_gammas, double s, double *out) {
    double sum = 1e-6;
    for (unsigned k = 0; k < num; ++k) {
        out[k] = exp(-pow((s - (double)centers[k]) / exp((double)log_gammas[k]), 2));
        sum += out[k];
    }
    for (unsigned k = 0; k < num; ++k) out[k] /= sum;
}

/* phi of a pair with num_b particles of species B. */
static double phi(const eqf_model *model, unsigned num_b, double d, double t) {
    enum { K = 12, M = 4 };
    double distance[K], time[M], sum = 0.0;
    const float *weights = slice_of(model, "radial.weights") + num_b * K * M;
    const float *bias = slice_of(model, "radial.bias") + num_b * M;
    const float *importance = slice_of(model, "radial.importance") + num_b * K;
    gaussians(K, slice_of(model, "radial.distance_centers"), slice_of(model, "radial.distance_log_gammas"), d,
              distance);
    gaussians(M, slice_of(model, "radial.time_centers"), slice_of(model, "radial.time_log_gammas"), t, time);
    for (unsigned m = 0; m < M; ++m) {
        double inside = (double)bias[m];
        for (unsigned k = 0; k < K; ++k)
            inside += (distance[k] + (double)importance[k] * (double)importance[k]) * (double)weights[k * M + m];
        sum += time[m] * inside;
    }
    return sum;
}

static void test_velocities(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    bool is_good = true;
    for (unsigned n = 0; n < NUM_CASES; ++n)
        for (unsigned by_table = 0; by_table < 2; ++by_table) {
            const species_case *c = &cases[n];
            const unsigned num_dof = c->N * c->D, first_b = c->N - c->num_b;
            eqf_model *model = make_model(ctx, c, 4);
            eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
            options.field_evaluation = by_table ? EQF_FIELD_TABLE : EQF_FIELD_DIRECT;
            eqf_flow *flow;
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
            float x[BATCH * MOST_DOF], velocity[BATCH * MOST_DOF], divergence[BATCH];
            make_x(c, BATCH, x);
            test_worst worst = TEST_WORST_INIT(2e-5);
            for (unsigned stage = 0; stage <= 8; stage += 3) {
                TEST_OK(ctx, eqf_flow_velocity(flow, stage / 8.0, BATCH, x, velocity, divergence));
                for (unsigned b = 0; b < BATCH; ++b)
                    for (unsigned i = 0; i < c->N; ++i)
                        for (unsigned a = 0; a < c->D; ++a) {
                            const float *own = x + b * num_dof;
                            double expected = 0.0;
                            for (unsigned j = 0; j < c->N; ++j) {
                                double square = 0.0;
                                for (unsigned d = 0; d < c->D; ++d)
                                    square += pow((double)own[i * c->D + d] - (double)own[j * c->D + d], 2);
                                expected += ((double)own[i * c->D + a] - (double)own[j * c->D + a]) *
                                            phi(model, (i >= first_b) + (j >= first_b), sqrt(square), stage / 8.0);
                            }
                            const double found = (double)velocity[b * num_dof + i * c->D + a];
                            test_compare(&worst, b, fabs(found - expected) / (1.0 + fabs(expected)));
                        }
            }
            is_good &= test_report(&worst, "N %u, %u of B, D %u, %s: velocities", c->N, c->num_b, c->D,
                                   by_table ? "table" : "direct");
            eqf_flow_destroy(&flow);
            eqf_model_destroy(&model);
        }
    assert_true(is_good);
}

/* ln|det| of m [n, n], destroyed. */
static double log_determinant(unsigned n, double *m) {
    double sum = 0.0;
    for (unsigned k = 0; k < n; ++k) {
        unsigned pivot = k;
        for (unsigned i = k + 1; i < n; ++i)
            if (fabs(m[i * n + k]) > fabs(m[pivot * n + k])) pivot = i;
        for (unsigned j = 0; j < n; ++j) {
            const double kept = m[k * n + j];
            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = kept;
        }
        sum += log(fabs(m[k * n + k]));
        for (unsigned i = k + 1; i < n; ++i) {
            const double factor = m[i * n + k] / m[k * n + k];
            for (unsigned j = k; j < n; ++j) m[i * n + j] -= factor * m[k * n + j];
        }
    }
    return sum;
}

/* log_prob(x) - prior's log_prob(z) is the integral of the divergence; dz/dx by differences, column by column, in
 * double. Moving one particle moves the centre, which the map takes out: the centre's D directions are put back as the
 * identity. */
static void test_divergence(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    if (!device.has_fp64) skip();
    test_worst worst = TEST_WORST_INIT(1e-6);
    for (unsigned n = 0; n < NUM_CASES; ++n) {
        const species_case *c = &cases[n];
        const unsigned num_dof = c->N * c->D;
        eqf_model *model = make_model(ctx, c, 60);
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.precision = EQF_PRECISION_DOUBLE;
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
        float narrow[MOST_DOF];
        double x[MOST_DOF], log_prob, z[MOST_DOF];
        make_x(c, 1, narrow);
        for (unsigned i = 0; i < num_dof; ++i) x[i] = (double)narrow[i];
        test_center(c->N, c->D, x);
        TEST_OK(ctx, eqf_flow_log_prob_double(flow, 1, x, &log_prob, z));
        double *moved = calloc(2 * (size_t)num_dof * num_dof, sizeof *moved),
               *sides = calloc(2 * (size_t)num_dof * num_dof, sizeof *sides);
        double *ignored = calloc(2 * (size_t)num_dof, sizeof *ignored),
               *jacobian = calloc((size_t)num_dof * num_dof, sizeof *jacobian);
        assert_true(moved && sides && ignored && jacobian);
        const double step = 1e-5;
        for (unsigned k = 0; k < 2 * num_dof; ++k) {
            memcpy(moved + k * num_dof, x, num_dof * sizeof *x);
            moved[k * num_dof + k / 2] += k % 2 ? -step : step;
        }
        TEST_OK(ctx, eqf_flow_log_prob_double(flow, 2 * num_dof, moved, ignored, sides));
        for (unsigned k = 0; k < num_dof; ++k)
            for (unsigned i = 0; i < num_dof; ++i) {
                jacobian[i * num_dof + k] =
                    (sides[2 * k * num_dof + i] - sides[(2 * k + 1) * num_dof + i]) / (2 * step);
                if (i % c->D == k % c->D) jacobian[i * num_dof + k] += 1.0 / c->N;
            }
        const double expected = ref_prior_log_prob(c->N, c->D, 1.0, z) + log_determinant(num_dof, jacobian);
        print_message("N %u, %u of B, D %u: log_prob %.9f, by the determinant %.9f\n", c->N, c->num_b, c->D, log_prob,
                      expected);
        test_compare(&worst, n, fabs(log_prob - expected) / fmax(1.0, fabs(expected)));
        free(moved);
        free(sides);
        free(ignored);
        free(jacobian);
        eqf_flow_destroy(&flow);
        eqf_model_destroy(&model);
    }
    assert_true(test_report(&worst, "log-densities and the determinant of the map"));
}

static double loss_in_double(eqf_context *ctx, eqf_flow *flow, const float *params, const species_case *c,
                             const float *x) {
    double wide[BATCH * MOST_DOF], log_prob[BATCH], sum = 0.0;
    TEST_OK(ctx, eqf_flow_set_params(flow, params));
    for (unsigned i = 0; i < BATCH * c->N * c->D; ++i) wide[i] = (double)x[i];
    TEST_OK(ctx, eqf_flow_log_prob_double(flow, BATCH, wide, log_prob, NULL));
    for (unsigned b = 0; b < BATCH; ++b) sum -= log_prob[b] / BATCH;
    return sum;
}

/* Every slice, a few parameters of each kind of pair. */
static void test_gradients(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    if (!device.has_fp64) skip();
    bool is_good = true;
    for (unsigned n = 0; n < NUM_CASES; ++n) {
        const species_case *c = &cases[n];
        eqf_model *model = make_model(ctx, c, 4);
        const size_t num_params = eqf_model_num_params(model), num_trained = eqf_model_num_trained(model);
        float x[BATCH * MOST_DOF], params[1024], gradient[2][1024];
        make_x(c, BATCH, x);
        memcpy(params, eqf_model_params(model), num_params * sizeof *params);
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        eqf_flow *flow;
        eqf_loss loss = EQF_LOSS_INIT;
        for (unsigned by_table = 0; by_table < 2; ++by_table) {
            options.field_evaluation = by_table ? EQF_FIELD_TABLE : EQF_FIELD_DIRECT;
            TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
            TEST_OK(ctx, eqf_flow_nll_gradient(flow, 0.0, BATCH, x, &loss, gradient[by_table], NULL));
            eqf_flow_destroy(&flow);
        }
        options.precision = EQF_PRECISION_DOUBLE;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
        double scale = 0.0;
        for (size_t p = 0; p < num_trained; ++p) scale = fmax(scale, fabs((double)gradient[0][p]));
        test_worst worst[2] = {TEST_WORST_INIT(2e-4), TEST_WORST_INIT(2e-3)};
        for (size_t p = 0; p < num_trained; p += 7) {
            const float kept = params[p];
            double sides[2], places[2];
            for (unsigned side = 0; side < 2; ++side) {
                params[p] = kept + (side ? -0.001f : 0.001f);
                places[side] = (double)params[p];
                sides[side] = loss_in_double(ctx, flow, params, c, x);
            }
            params[p] = kept;
            const double expected = (sides[0] - sides[1]) / (places[0] - places[1]);
            for (unsigned by_table = 0; by_table < 2; ++by_table)
                test_compare(&worst[by_table], p, fabs((double)gradient[by_table][p] - expected) / scale);
        }
        is_good &= test_report(&worst[0], "N %u, %u of B, D %u, direct: gradients", c->N, c->num_b, c->D);
        is_good &= test_report(&worst[1], "N %u, %u of B, D %u, table: gradients", c->N, c->num_b, c->D);
        eqf_flow_destroy(&flow);
        eqf_model_destroy(&model);
    }
    assert_true(is_good);
}

/* At times that lanes choose there is no such field. */
static void test_refusals(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(ctx, &cases[0], 4);
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = EQF_INTEGRATOR_DOPRI5;
    eqf_flow *flow;
    assert_int_equal(eqf_flow_create(ctx, model, &options, &flow), EQF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(eqf_context_error(ctx), "two species"));
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_velocities), cmocka_unit_test(test_divergence),
                                       cmocka_unit_test(test_gradients), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
