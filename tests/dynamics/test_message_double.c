/* The message field in double precision on the device: against the double reference to 1e-10, its divergence against
 * brute force, and flows of it. Skipped where the device has no fp64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "ocl.h"
#include "ref_message.h"
#include "support.h"

static const double tolerance = 1e-10; /* relative above 1 */
static const double brute_tolerance = 1e-6;

typedef struct message_case {
    unsigned num_particles, space_dim, num_hops, num_scalars, num_vectors, num_edge, num_reduced, num_distance;
    unsigned num_b; /* of two species */
} message_case;
static const message_case cases[] = {{2, 1, 1, 4, 2, 3, 1, 5, 0},  {4, 2, 3, 12, 6, 10, 3, 12, 0},
                                     {13, 3, 2, 7, 2, 5, 2, 9, 0}, {5, 2, 3, 8, 4, 6, 3, 8, 2},
                                     {5, 3, 2, 7, 2, 5, 2, 9, 1},  {13, 2, 2, 6, 2, 5, 2, 7, 5},
                                     {13, 3, 2, 7, 2, 5, 2, 9, 5}};
enum { NUM_CASES = sizeof cases / sizeof cases[0], BATCH = 11 };

/* Start values with the last layers as large as the others: every term of the field counts. */
static eqf_model *make_model(eqf_context *ctx, const message_case *c, uint64_t seed) {
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    options.potential.num_particles = c->num_particles;
    options.potential.space_dim = c->space_dim;
    if (c->num_b > 0) options.potential.kind = EQF_POTENTIAL_BINARY_LENNARD_JONES;
    options.potential.num_b = c->num_b;
    options.prior_scale = 0.8;
    options.integrator.num_steps = 4;
    eqf_dynamics_options *dynamics = &options.dynamics;
    dynamics->kind = EQF_DYNAMICS_MESSAGE;
    dynamics->num_hops = c->num_hops;
    dynamics->num_scalars = c->num_scalars;
    dynamics->num_vectors = c->num_vectors;
    dynamics->num_edge = c->num_edge;
    dynamics->num_reduced = c->num_reduced;
    dynamics->num_distance = c->num_distance;
    dynamics->distance_max = 5.0;
    options.seed = seed;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    const size_t num_params = eqf_model_num_params(model);
    float *params = test_floats(num_params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    for (size_t s = 0; s < eqf_model_num_slices(model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(model, s);
        const bool is_late = strstr(slice->name, "out") != NULL && strstr(slice->name, "readout") == NULL;
        for (size_t i = 0; i < slice->count; ++i) params[slice->offset + i] *= is_late ? 3.0f : 1.0f;
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

static bool has_fp64(eqf_context *ctx) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    if (!device.has_fp64) print_message("skipped: %s has no fp64\n", device.name);
    return device.has_fp64;
}

/* x [num, N, D], about as far apart as particles are. */
static double *make_x(const message_case *c, size_t num, uint64_t seed) {
    const size_t num_dof = (size_t)c->num_particles * c->space_dim;
    test_rng rng = {seed};
    double *x = calloc(num * num_dof, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < num * num_dof; ++i) x[i] = 0.5 * cbrt(c->num_particles) * test_normal(&rng);
    return x;
}

/* ---- The field --------------------------------------------------------------------------------------------------- */

static eqf__field *make_field(eqf_context *ctx, const message_case *c, const eqf_model *model) {
    eqf__device *device;
    eqf__field *field;
    bool has_changed;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    const eqf__field_needs needs = {.form = EQF__FORM_BATCHED,
                                    .num_stages = 3,
                                    .evaluation = EQF_FIELD_DIRECT,
                                    .divergence = EQF_DIVERGENCE_EXACT,
                                    .real = eqf__real_double(device)};
    TEST_OK(ctx, eqf__field_create(ctx, c->num_particles, c->space_dim, &eqf_model_options_of(model)->dynamics, &needs,
                                   &field));
    TEST_OK(ctx, eqf__field_set_params(field, eqf_model_params(model), &has_changed));
    return field;
}

/* velocity_out [num, N*D], divergence_out [num] or NULL, of x [num, N*D] at the times t [num]. */
static void evaluate(eqf_context *ctx, eqf__field *field, size_t num, const double *x, const double *t,
                     double *velocity_out, double *divergence_out) {
    const size_t num_dof = (size_t)field->num_particles * field->space_dim, V = field->real.vector_width;
    const size_t num_blocks = (num + V - 1) / V, state = num_blocks * num_dof * V, numbers = num_blocks * V;
    double *blocked = calloc(state, sizeof *blocked), *times = calloc(numbers, sizeof *times);
    assert_true(blocked != NULL && times != NULL);
    for (size_t b = 0; b < numbers; ++b) {
        const size_t sample = b < num ? b : num - 1;
        times[b] = t[sample];
        for (size_t c = 0; c < num_dof; ++c) blocked[(b / V * num_dof + c) * V + b % V] = x[sample * num_dof + c];
    }
    cl_mem d_x, d_times, d_velocity, d_divergence;
    TEST_OK(ctx, eqf__buffer_create(ctx, state * sizeof *blocked, blocked, "a test", &d_x));
    TEST_OK(ctx, eqf__buffer_create(ctx, numbers * sizeof *times, times, "a test", &d_times));
    TEST_OK(ctx, eqf__buffer_create(ctx, state * sizeof *blocked, NULL, "a test", &d_velocity));
    TEST_OK(ctx, eqf__buffer_create(ctx, numbers * sizeof *times, NULL, "a test", &d_divergence));
    TEST_OK(ctx, field->batched->evaluate(field, NULL, num_blocks, d_x, d_times, d_velocity,
                                          divergence_out != NULL ? d_divergence : NULL));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_velocity, 0, state * sizeof *blocked, blocked));
    for (size_t b = 0; b < num; ++b)
        for (size_t c = 0; c < num_dof; ++c) velocity_out[b * num_dof + c] = blocked[(b / V * num_dof + c) * V + b % V];
    if (divergence_out != NULL)
        TEST_OK(ctx, eqf__buffer_read(ctx, d_divergence, 0, num * sizeof *divergence_out, divergence_out));
    cl_mem *buffers[] = {&d_x, &d_times, &d_velocity, &d_divergence};
    for (size_t b = 0; b < 4; ++b) eqf__buffer_destroy(buffers[b]);
    free(blocked);
    free(times);
}

/* The trace of the device's own velocity by central differences, extrapolated once. */
static double brute_force(eqf_context *ctx, eqf__field *field, double t, const double *x) {
    const size_t num_dof = (size_t)field->num_particles * field->space_dim, num = 4 * num_dof;
    static const double steps[4] = {2e-4, -2e-4, 1e-4, -1e-4};
    double *moved = calloc(num * num_dof, sizeof *moved), *velocity = calloc(num * num_dof, sizeof *velocity);
    double *times = calloc(num, sizeof *times), trace = 0.0;
    assert_true(moved != NULL && velocity != NULL && times != NULL);
    for (size_t b = 0; b < num; ++b) {
        memcpy(moved + b * num_dof, x, num_dof * sizeof *x);
        moved[b * num_dof + b / 4] += steps[b % 4];
        times[b] = t;
    }
    evaluate(ctx, field, num, moved, times, velocity, NULL);
    for (size_t c = 0; c < num_dof; ++c) {
        const double *v = velocity + 4 * c * num_dof + c;
        const double wide = (v[0] - v[num_dof]) / 4e-4, narrow = (v[2 * num_dof] - v[3 * num_dof]) / 2e-4;
        trace += (4 * narrow - wide) / 3;
    }
    free(moved);
    free(velocity);
    free(times);
    return trace;
}

/* Cases 0 ... num_cases - 1. */
static bool check_fields(eqf_context *ctx, size_t num_cases) {
    bool is_good = true;
    for (size_t n = 0; n < num_cases; ++n) {
        const message_case *c = &cases[n];
        const size_t num_dof = (size_t)c->num_particles * c->space_dim;
        eqf_model *model = make_model(ctx, c, 5 + n);
        ref_message *reference = ref_message_from_model(model);
        eqf__field *field = make_field(ctx, c, model);
        double *x = make_x(c, BATCH, 31 + n), t[BATCH], divergence[BATCH];
        double *velocity = calloc(BATCH * num_dof, sizeof *velocity), *expected = calloc(num_dof, sizeof *expected);
        for (size_t b = 0; b < BATCH; ++b) t[b] = (double)b / (BATCH - 1);
        evaluate(ctx, field, BATCH, x, t, velocity, divergence);
        test_worst of_values = TEST_WORST_INIT(tolerance), of_trace = TEST_WORST_INIT(brute_tolerance);
        for (size_t b = 0; b < BATCH; ++b) {
            double expected_divergence, scale;
            ref_message_field_scaled(reference, t[b], x + b * num_dof, expected, &expected_divergence, &scale);
            test_compare(&of_values, b, fabs(divergence[b] - expected_divergence) / fmax(1.0, scale));
            for (size_t i = 0; i < num_dof; ++i)
                test_compare(&of_values, b,
                             fabs(velocity[b * num_dof + i] - expected[i]) / fmax(1.0, fabs(expected[i])));
            if (b % 4 == 0)
                test_compare(&of_trace, b,
                             fabs(divergence[b] - brute_force(ctx, field, t[b], x + b * num_dof)) / fmax(1.0, scale));
        }
        is_good &= test_report(&of_values, "N %u D %u L %u, %u of B: velocities and divergences in double",
                               c->num_particles, c->space_dim, c->num_hops, c->num_b);
        is_good &= test_report(&of_trace, "N %u D %u L %u, %u of B: divergences and the velocity's differences",
                               c->num_particles, c->space_dim, c->num_hops, c->num_b);
        free(x);
        free(velocity);
        free(expected);
        eqf__field_destroy(&field);
        ref_message_destroy(reference);
        eqf_model_destroy(&model);
    }
    return is_good;
}

static void test_field(void **state) {
    (void)state;
    if (!has_fp64(test_context())) skip();
    assert_true(check_fields(test_context(), NUM_CASES));
}

/* The layout in local memory (cl/dynamics/message_group.cl), in double. */
static void test_field_by_groups(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf__device *device;
    if (!has_fp64(ctx)) skip();
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    const eqf__device before = *device;
    device->vector_width = 1;
    device->group_size = 16;
    device->has_fast_local_memory = true;
    eqf__launches_note(ctx);
    const bool is_good = check_fields(ctx, 4);
    const bool is_by_group = strstr(eqf__launches_noted(ctx), "message_group_divergence_double") != NULL;
    device->vector_width = before.vector_width;
    device->group_size = before.group_size;
    device->has_fast_local_memory = before.has_fast_local_memory;
    assert_true(is_good && is_by_group);
}

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

static void test_flow(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    if (!has_fp64(ctx)) skip();
    bool is_good = true;
    for (size_t n = 0; n < NUM_CASES; ++n) {
        const message_case *c = &cases[n];
        const size_t num_dof = (size_t)c->num_particles * c->space_dim, num = num_dof > 30 ? 2 : BATCH;
        eqf_model *model = make_model(ctx, c, 9 + n);
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.precision = EQF_PRECISION_DOUBLE;
        eqf_flow *flow;
        TEST_OK(ctx, eqf_flow_create(ctx, model, &options, &flow));
        ref_message *message = ref_message_from_model(model);
        const ref_message_flow reference = {message, 4, 0.8};
        double *x = make_x(c, num, 7 + n), *z = calloc(num * num_dof, sizeof *z),
               *expected = calloc(num_dof, sizeof *z);
        double log_prob[BATCH];
        test_worst worst = TEST_WORST_INIT(tolerance);
        for (size_t b = 0; b < num; ++b) test_center(c->num_particles, c->space_dim, x + b * num_dof);
        TEST_OK(ctx, eqf_flow_log_prob_double(flow, num, x, log_prob, z));
        for (size_t b = 0; b < num; ++b) {
            const double value = ref_message_log_prob(&reference, x + b * num_dof, expected, NULL);
            test_compare(&worst, b, fabs(log_prob[b] - value) / fmax(1.0, fabs(value)));
            for (size_t i = 0; i < num_dof; ++i)
                test_compare(&worst, b, fabs(z[b * num_dof + i] - expected[i]) / fmax(1.0, fabs(expected[i])));
        }
        is_good &= test_report(&worst, "N %u D %u L %u: log-densities and latents in double", c->num_particles,
                               c->space_dim, c->num_hops);
        double *samples = calloc(num * num_dof, sizeof *samples);
        TEST_OK(ctx, eqf_flow_sample_double(flow, 3, 100, num, samples, log_prob));
        for (size_t b = 0; b < num; ++b) {
            double *latent = z + b * num_dof;
            test_latents(c->num_particles, c->space_dim, 0.8, 3, 100 + b, latent);
            const double value = ref_prior_log_prob(c->num_particles, c->space_dim, 0.8, latent) -
                                 ref_message_transform(&reference, EQF_PRIOR_TO_DATA, latent, expected, NULL);
            test_compare(&worst, b, fabs(log_prob[b] - value) / fmax(1.0, fabs(value)));
            for (size_t i = 0; i < num_dof; ++i)
                test_compare(&worst, b, fabs(samples[b * num_dof + i] - expected[i]) / fmax(1.0, fabs(expected[i])));
        }
        is_good &= test_report(&worst, "N %u D %u L %u: and samples", c->num_particles, c->space_dim, c->num_hops);
        float *gradient = test_floats(eqf_model_num_params(model)), *narrow = test_floats(num_dof);
        eqf_loss loss = EQF_LOSS_INIT;
        assert_int_equal(eqf_flow_nll_gradient(flow, 0.0, 1, narrow, &loss, gradient, NULL), EQF_ERROR_UNSUPPORTED);
        free(gradient);
        free(narrow);
        free(samples);
        free(x);
        free(z);
        free(expected);
        ref_message_destroy(message);
        eqf_flow_destroy(&flow);
        eqf_model_destroy(&model);
    }
    assert_true(is_good);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_field_by_groups), cmocka_unit_test(test_field),
                                       cmocka_unit_test(test_flow)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
