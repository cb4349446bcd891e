/* SOAP on the host: steps that do not depend on the axes in which the parameters are written, orthonormal eigenbases,
 * Adam for vectors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host_reference.h"
#include "soap.h"
#include "support.h"

/* A dense model of 2 particles in a plane: W_0 [width, 5], b_0, W_1 [4, width], b_1. */
static eqf_model *make_model(unsigned width) {
    eqf_context *ctx = test_context();
    eqf_model_options options = *eqf_preset_find("dw2")->model;
    options.dynamics.kind = EQF_DYNAMICS_DENSE;
    options.dynamics.width = width;
    options.dynamics.depth = 1;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    return model;
}

/* Adam's textbook form, in double, on everything that is no matrix. */
static void test_vectors(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(12);
    eqf__soap *soap;
    TEST_OK(ctx, eqf__soap_create(ctx, model, &soap));
    const eqf_param_slice *bias = eqf_model_slice(model, 1);
    const size_t num = eqf_model_num_trained(model);
    assert_int_equal(bias->num_dims, 1);
    float *params = test_floats(num), *gradient = test_floats(num);
    double expected[12], first[12] = {0}, second[12] = {0};
    for (size_t i = 0; i < num; ++i) params[i] = (float)eqf__host_number((unsigned)i, 1);
    for (unsigned i = 0; i < 12; ++i) expected[i] = (double)params[bias->offset + i];
    for (uint64_t step = 1; step <= 30; ++step) {
        for (size_t i = 0; i < num; ++i) gradient[i] = (float)eqf__host_number((unsigned)(step * num + i), 2);
        eqf__soap_update(soap, step, 0.01, 0.1, 0.5, gradient, params);
        for (unsigned i = 0; i < 12; ++i) {
            const double g = 0.5 * (double)gradient[bias->offset + i];
            first[i] = 0.95 * first[i] + 0.05 * g;
            second[i] = 0.98 * second[i] + 0.02 * g * g;
            expected[i] -= 0.01 * (first[i] / (1 - pow(0.95, (double)step)) /
                                       (sqrt(second[i] / (1 - pow(0.98, (double)step))) + 1e-8) + 0.1 * expected[i]);
        }
    }
    for (unsigned i = 0; i < 12; ++i) assert_true(fabs(expected[i] - (double)params[bias->offset + i]) <= 2e-6);
    free(params);
    free(gradient);
    eqf__soap_destroy(&soap);
    eqf_model_destroy(&model);
}

/* f(W) = sum over ij of curvature_i curvature_j (U^T W V)_ij^2 / 2 for the first slice W [rows, columns], in axes that
 * are turned by reflections U and V. Gradient out; returns f. */
static double turned_bowl(unsigned rows, unsigned columns, bool is_turned, const float *w, float *gradient) {
    double u[64], v[8], uu = 0, vv = 0, *y = calloc((size_t)rows * columns, sizeof *y), value = 0;
    for (unsigned i = 0; i < rows; ++i) u[i] = eqf__host_number(i, 3), uu += u[i] * u[i];
    for (unsigned j = 0; j < columns; ++j) v[j] = eqf__host_number(j, 4), vv += v[j] * v[j];
    for (unsigned way = 0; way < 2; ++way) { /* y = U W V, scaled, and back: U and V are their own inverses */
        if (way == 0)
            for (unsigned c = 0; c < rows * columns; ++c) y[c] = (double)w[c];
        for (unsigned j = 0; is_turned && j < columns; ++j) {
            double dot = 0;
            for (unsigned i = 0; i < rows; ++i) dot += u[i] * y[i * columns + j];
            for (unsigned i = 0; i < rows; ++i) y[i * columns + j] -= 2 * dot / uu * u[i];
        }
        for (unsigned i = 0; is_turned && i < rows; ++i) {
            double dot = 0;
            for (unsigned j = 0; j < columns; ++j) dot += v[j] * y[i * columns + j];
            for (unsigned j = 0; j < columns; ++j) y[i * columns + j] -= 2 * dot / vv * v[j];
        }
        for (unsigned i = 0; way == 0 && i < rows; ++i)
            for (unsigned j = 0; j < columns; ++j) {
                const double curvature = pow(10, -2.0 * i / rows - 2.0 * j / columns);
                value += curvature * y[i * columns + j] * y[i * columns + j] / 2;
                y[i * columns + j] *= curvature;
            }
    }
    for (unsigned c = 0; c < rows * columns; ++c) gradient[c] = (float)y[c];
    free(y);
    return value;
}

/* Where one of two runs of SOAP ends, or of Adam, which is SOAP told that the matrix is a vector; from a start of the
 * same value. */
static double end_of(bool is_turned, bool is_adam) {
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(40);
    const eqf_param_slice *slice = eqf_model_slice(model, 0);
    const unsigned rows = (unsigned)slice->shape[0], columns = (unsigned)slice->shape[1];
    const size_t num = eqf_model_num_trained(model);
    float *params = test_floats(num), *gradient = test_floats(num);
    eqf__soap *soap;
    TEST_OK(ctx, eqf__soap_create(ctx, model, &soap));
    double first[400] = {0}, second[400] = {0}, value = 0;
    assert_true(rows * columns <= 400 && slice->offset == 0);
    memset(gradient, 0, num * sizeof *gradient);
    for (size_t i = 0; i < num; ++i) params[i] = (float)eqf__host_number((unsigned)i, 6);
    for (uint64_t step = 1; step <= 400; ++step) {
        value = turned_bowl(rows, columns, is_turned, params, gradient);
        const double rate = 0.02 * (1 - (double)step / 401);
        if (!is_adam) eqf__soap_update(soap, step, rate, 0, 1, gradient, params);
        for (unsigned i = 0; is_adam && i < rows * columns; ++i) {
            first[i] = 0.95 * first[i] + 0.05 * (double)gradient[i];
            second[i] = 0.98 * second[i] + 0.02 * (double)gradient[i] * gradient[i];
            params[i] -= (float)(rate * first[i] / (1 - pow(0.95, (double)step)) /
                                 (sqrt(second[i] / (1 - pow(0.98, (double)step))) + 1e-8));
        }
    }
    eqf__soap_destroy(&soap);
    eqf_model_destroy(&model);
    free(params);
    free(gradient);
    return value;
}

static void test_axes(void **state) {
    (void)state;
    const double along = end_of(false, false), turned = end_of(true, false), adam = end_of(true, true);
    print_message("a bowl of condition 1e4 after 400 steps: %.2e along the axes, %.2e turned; Adam, turned %.2e\n",
                  along, turned, adam);
    assert_true(turned < 0.1 * adam && turned < 10 * along + 1e-6);
}

/* After gradients of a known covariance the bases diagonalise it, and are orthonormal; also where the gradients have
 * few ranks. */
static void test_bases(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(16);
    const size_t num = eqf_model_num_trained(model);
    float *params = test_floats(num), *gradient = test_floats(num);
    for (unsigned ranks = 1; ranks <= 5; ranks += 4) {
        eqf__soap *soap;
        TEST_OK(ctx, eqf__soap_create(ctx, model, &soap));
        memset(params, 0, num * sizeof *params);
        for (uint64_t step = 1; step <= 200; ++step) {
            memset(gradient, 0, num * sizeof *gradient);
            for (unsigned r = 0; r < ranks; ++r)
                for (unsigned i = 0; i < 16; ++i)
                    for (unsigned j = 0; j < 5; ++j)
                        gradient[i * 5 + j] += (float)(pow(0.5, r) * eqf__host_number((unsigned)step, 20 + r) *
                                                       eqf__host_number(i, 30 + r) * eqf__host_number(j, 40 + r));
            eqf__soap_update(soap, step, 1e-3, 0, 1, gradient, params);
        }
        size_t count;
        const float *numbers = eqf__soap_state(soap, &count);
        /* of W_0 [16, 5]: both moments [80], then covariance and basis of the left side, [16, 16] each */
        const float *covariance = numbers + 160, *basis = covariance + 256;
        double worst = 0, off = 0, trace = 0;
        for (unsigned a = 0; a < 16; ++a)
            for (unsigned b = 0; b < 16; ++b) {
                double product = 0, element = 0;
                for (unsigned i = 0; i < 16; ++i) {
                    product += (double)basis[i * 16 + a] * basis[i * 16 + b];
                    for (unsigned j = 0; j < 16; ++j)
                        element += (double)basis[i * 16 + a] * covariance[i * 16 + j] * basis[j * 16 + b];
                }
                worst = fmax(worst, fabs(product - (a == b)));
                if (a != b) off = fmax(off, fabs(element));
                if (a == b) trace += element;
            }
        print_message("%u ranks: basis orthonormal within %.1e, covariance diagonal within %.1e of its trace\n", ranks,
                      worst, off / trace);
        assert_true(worst < 1e-6 && off < 0.02 * trace && trace > 0);
        eqf__soap_destroy(&soap);
    }
    free(params);
    free(gradient);
    eqf_model_destroy(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_axes),
                                       cmocka_unit_test(test_bases)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
