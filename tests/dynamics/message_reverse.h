/* The reverse pass of the message field beside its double-precision reference. Common to the tests of its layouts. */
#ifndef MESSAGE_REVERSE_H
#define MESSAGE_REVERSE_H

#include "message_field.h"

static double relative_norm(size_t count, const double *values, const double *expected) {
    double difference = 0.0, norm = 1e-300;
    for (size_t i = 0; i < count; ++i) {
        difference += (values[i] - expected[i]) * (values[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    return isfinite(difference) ? sqrt(difference / norm) : INFINITY;
}

static void set_zero(const fixture *f, cl_mem buffer, size_t num_floats) {
    TEST_OK(f->ctx, eqf__fill_zero(f->ctx, buffer, num_floats * sizeof(float)));
}

/* The reference's gradient of the sum over samples; by_x [B, N, D], by_params [num_params]. */
static void expected_gradient(const fixture *f, const double *adjoint_velocity, const double *adjoint_divergence,
                              double *by_x, double *by_params) {
    double *one = calloc(f->num_params, sizeof *one);
    assert_non_null(one);
    memset(by_params, 0, f->num_params * sizeof *by_params);
    for (size_t b = 0; b < f->batch_size; ++b) {
        ref_message_gradient(f->reference, f->times[b], f->x + b * f->num_dof, adjoint_velocity + b * f->num_dof,
                             adjoint_divergence == NULL ? 0.0 : adjoint_divergence[b], by_x + b * f->num_dof, one);
        for (size_t p = 0; p < f->num_params; ++p) by_params[p] += one[p];
    }
    free(one);
}

static double worst_slice(const fixture *f, const double *gradient, const double *expected, const char **name_out) {
    double worst = 0.0;
    *name_out = "none";
    for (size_t s = 0; s < eqf_model_num_slices(f->model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(f->model, s);
        /* Where nothing is to be had, as for the sources of features that nobody reads, nothing may come out. */
        double norm = 0.0, largest = 0.0;
        for (size_t i = slice->offset; i < slice->offset + slice->count; ++i) {
            norm = fmax(norm, fabs(expected[i]));
            largest = fmax(largest, fabs(gradient[i]));
        }
        const double error = norm < 1e-12
                                 ? (largest < 1e-5 ? 0.0 : INFINITY)
                                 : relative_norm(slice->count, gradient + slice->offset, expected + slice->offset);
        if (error >= worst) {
            worst = error;
            *name_out = slice->name;
        }
    }
    return worst;
}

static bool check_reverse(fixture *f, const message_case *c, bool has_divergence, uint64_t seed) {
    const size_t state = f->num_blocks * f->num_dof * f->V, count = f->batch_size * f->num_dof;
    test_rng rng = {seed + 2};
    double *adjoint_velocity = calloc(count, sizeof *adjoint_velocity),
           *adjoint_divergence = calloc(f->batch_size, sizeof(double));
    double *by_x = calloc(count, sizeof *by_x), *by_params = calloc(f->num_params, sizeof *by_params);
    assert_true(adjoint_velocity && adjoint_divergence && by_x && by_params);
    for (size_t i = 0; i < count; ++i) adjoint_velocity[i] = (double)(float)test_normal(&rng);
    for (size_t b = 0; b < f->batch_size; ++b) adjoint_divergence[b] = (double)(float)test_normal(&rng);
    put_state(f);
    write_blocks(f, f->d_adjoint_velocity, f->num_dof, adjoint_velocity, 0.0);
    write_blocks(f, f->d_adjoint_divergence, 1, adjoint_divergence, 0.0);
    float *gradients[2] = {test_floats(f->num_params), test_floats(f->num_params)};
    double *adjoint_x[3];
    for (unsigned pass = 0; pass < 3; ++pass) { /* twice the same, then without the gradient */
        set_zero(f, f->d_adjoint_x, state);
        set_zero(f, f->d_grad, f->field->batched->grad_size);
        TEST_OK(f->ctx, f->field->batched->vjp(f->field, NULL, f->num_blocks, f->d_x, f->d_times, f->d_adjoint_velocity,
                                               has_divergence ? f->d_adjoint_divergence : NULL, f->d_adjoint_x,
                                               pass < 2 ? f->d_grad : NULL));
        adjoint_x[pass] = read_blocks(f, f->d_adjoint_x, f->num_dof);
        if (pass == 2) break;
        TEST_OK(f->ctx, f->field->batched->contract(f->field, f->d_grad, f->d_gradient));
        TEST_OK(f->ctx, eqf__buffer_read(f->ctx, f->d_gradient, 0, f->num_params * sizeof(float), gradients[pass]));
    }
    assert_memory_equal(gradients[0], gradients[1], f->num_params * sizeof(float));
    for (unsigned pass = 1; pass < 3; ++pass)
        assert_memory_equal(adjoint_x[0], adjoint_x[pass], count * sizeof(double));
    expected_gradient(f, adjoint_velocity, has_divergence ? adjoint_divergence : NULL, by_x, by_params);
    double *gradient = test_to_double(f->num_params, gradients[0]);
    const char *name;
    const double error_x = relative_norm(count, adjoint_x[0], by_x);
    const double error = relative_norm(f->num_params, gradient, by_params),
                 worst = worst_slice(f, gradient, by_params, &name);
    print_message("%s%s: gradient by x %.1e, by parameters %.1e, worst %.1e (%s)\n", name_of(c),
                  has_divergence ? ", divergence" : "", error_x, error, worst, name);
    free(gradients[0]);
    free(gradients[1]);
    for (unsigned pass = 0; pass < 3; ++pass) free(adjoint_x[pass]);
    free(gradient);
    free(adjoint_velocity);
    free(adjoint_divergence);
    free(by_x);
    free(by_params);
    return error_x <= 1e-4 && error <= 1e-4 && worst <= 1e-3;
}

#endif
