/* The message field on the device against the double-precision reference: velocities, divergences, and the reverse of
 * both. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "ocl.h"
#include "ref_message.h"
#include "support.h"

typedef struct message_case {
    unsigned num_particles, space_dim, num_hops, num_scalars, num_vectors, num_edge, num_reduced, num_distance;
    size_t batch_size;
    unsigned num_b; /* of two species */
} message_case;

/* Odd sizes, sizes that are no multiple of a tile, and as many particles as lj13 has. Few: each is two programs to
 * build. */
static const message_case cases[] = {
    {2, 1, 1, 4, 2, 3, 1, 5, 1, 0}, {3, 3, 1, 12, 6, 8, 4, 10, 5, 0}, {4, 2, 3, 12, 6, 10, 3, 12, 19, 0},
    {2, 3, 4, 5, 3, 4, 2, 6, 9, 0}, {13, 3, 2, 7, 1, 5, 2, 9, 3, 0},  {13, 3, 3, 12, 4, 8, 4, 10, 3, 0},
    {5, 2, 3, 8, 4, 6, 3, 8, 9, 2},                    {13, 3, 2, 7, 2, 5, 2, 9, 3, 5},
};
enum { NUM_CASES = sizeof cases / sizeof cases[0], DW4 = 2 };
static const message_case large_cases[] = {{55, 3, 2, 8, 4, 8, 4, 8, 1, 0},
                                           {13, 3, 3, 48, 16, 48, 8, 32, 2, 0}}; /* values only */

typedef struct fixture {
    eqf_context *ctx;
    eqf_model *model;
    eqf__field *field;
    ref_message *reference;
    unsigned V;
    size_t num_dof, num_params, batch_size, num_blocks;
    cl_mem d_x, d_times, d_velocity, d_divergence, d_adjoint_velocity, d_adjoint_divergence, d_adjoint_x, d_grad,
        d_gradient;
    double *x, *times; /* [B, N, D], [B] */
} fixture;

static const char *name_of(const message_case *c) {
    static char name[96];
    snprintf(name, sizeof name, "N %u D %u L %u H %u M %u E %u R %u K %u, %u of B", c->num_particles, c->space_dim,
             c->num_hops, c->num_scalars, c->num_vectors, c->num_edge, c->num_reduced, c->num_distance, c->num_b);
    return name;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

/* values [B, size] to blocks [num_blocks][size][V]; padding repeats the last sample, or is `pad` where that is
 * finite. */
static void write_blocks(const fixture *f, cl_mem buffer, size_t size, const double *values, double pad) {
    float *blocked = test_floats(f->num_blocks * size * f->V);
    for (size_t b = 0; b < f->num_blocks * f->V; ++b)
        for (size_t c = 0; c < size; ++c) {
            size_t sample = b < f->batch_size ? b : f->batch_size - 1;
            blocked[(b / f->V * size + c) * f->V + b % f->V] =
                (float)(b >= f->batch_size && isfinite(pad) ? pad : values[sample * size + c]);
        }
    TEST_OK(f->ctx, eqf__buffer_write(f->ctx, buffer, 0, f->num_blocks * size * f->V * sizeof *blocked, blocked));
    free(blocked);
}

static double *read_blocks(const fixture *f, cl_mem buffer, size_t size) {
    float *blocked = test_floats(f->num_blocks * size * f->V);
    double *values = calloc(f->batch_size * size, sizeof *values);
    assert_non_null(values);
    TEST_OK(f->ctx, eqf__buffer_read(f->ctx, buffer, 0, f->num_blocks * size * f->V * sizeof *blocked, blocked));
    for (size_t b = 0; b < f->batch_size; ++b)
        for (size_t c = 0; c < size; ++c) values[b * size + c] = blocked[(b / f->V * size + c) * f->V + b % f->V];
    free(blocked);
    return values;
}

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

/* Start values times `liveliness`, and the last layers as large as the others: every term of the field counts. */
static eqf_model *lively_model(eqf_context *ctx, const message_case *c, double liveliness, uint64_t seed) {
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    options.potential.num_particles = c->num_particles;
    options.potential.space_dim = c->space_dim;
    if (c->num_b > 0) options.potential.kind = EQF_POTENTIAL_BINARY_LENNARD_JONES;
    options.potential.num_b = c->num_b;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = c->num_hops;
    options.dynamics.num_scalars = c->num_scalars;
    options.dynamics.num_vectors = c->num_vectors;
    options.dynamics.num_edge = c->num_edge;
    options.dynamics.num_reduced = c->num_reduced;
    options.dynamics.num_distance = c->num_distance;
    options.dynamics.distance_max = 5.0;
    options.seed = seed;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    size_t num_params = eqf_model_num_params(model);
    float *params = test_floats(num_params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    for (size_t s = 0; s < eqf_model_num_slices(model); ++s) {
        const eqf_param_slice *slice = eqf_model_slice(model, s);
        const bool is_late = strstr(slice->name, "out") != NULL && strstr(slice->name, "readout") == NULL;
        for (size_t i = 0; i < slice->count; ++i)
            params[slice->offset + i] *=
                (float)(liveliness * (is_late || strstr(slice->name, "radial") != NULL ? 5.0 : 1.0));
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

static cl_mem make_buffer(fixture *f, size_t num_floats) {
    cl_mem buffer;
    TEST_OK(f->ctx, eqf__buffer_create(f->ctx, num_floats * sizeof(float), NULL, "a test", &buffer));
    return buffer;
}

static fixture set_up(const message_case *c, double liveliness, uint64_t seed) {
    fixture f = {.ctx = test_context(), .batch_size = c->batch_size};
    f.model = lively_model(f.ctx, c, liveliness, seed);
    f.reference = ref_message_from_model(f.model);
    assert_non_null(f.reference);
    eqf__device *device;
    TEST_OK(f.ctx, eqf__device_get(f.ctx, &device));
    const eqf__field_needs needs = {.form = EQF__FORM_BATCHED,
                                    .num_stages = 3,
                                    .evaluation = EQF_FIELD_DIRECT,
                                    .divergence = EQF_DIVERGENCE_EXACT,
                                    .real = eqf__real_float(device)};
    TEST_OK(f.ctx, eqf__field_create(f.ctx, c->num_particles, c->space_dim, &eqf_model_options_of(f.model)->dynamics,
                                     &needs, &f.field));
    bool has_changed;
    TEST_OK(f.ctx, eqf__field_set_params(f.field, eqf_model_params(f.model), &has_changed));
    f.V = f.field->real.vector_width;
    f.num_dof = (size_t)c->num_particles * c->space_dim;
    f.num_params = eqf_model_num_params(f.model);
    f.num_blocks = (c->batch_size + f.V - 1) / f.V;
    const size_t state = f.num_blocks * f.num_dof * f.V, numbers = f.num_blocks * f.V;
    f.d_x = make_buffer(&f, state);
    f.d_velocity = make_buffer(&f, state);
    f.d_adjoint_velocity = make_buffer(&f, state);
    f.d_adjoint_x = make_buffer(&f, state);
    f.d_times = make_buffer(&f, numbers);
    f.d_divergence = make_buffer(&f, numbers);
    f.d_adjoint_divergence = make_buffer(&f, numbers);
    f.d_grad = make_buffer(&f, f.field->batched->grad_size);
    f.d_gradient = make_buffer(&f, f.num_params);
    /* Positions as float has them, so that the reference sees the same; each sample its own time. */
    test_rng rng = {seed + 1};
    f.x = calloc(f.batch_size * f.num_dof, sizeof *f.x);
    f.times = calloc(f.batch_size, sizeof *f.times);
    assert_true(f.x != NULL && f.times != NULL);
    const double spread = 0.5 * cbrt(c->num_particles);
    for (size_t i = 0; i < f.batch_size * f.num_dof; ++i) f.x[i] = (double)(float)(spread * test_normal(&rng));
    for (size_t b = 0; b < f.batch_size; ++b) f.times[b] = (double)(float)test_uniform(&rng);
    return f;
}

static void put_state(const fixture *f) {
    write_blocks(f, f->d_x, f->num_dof, f->x, NAN);
    write_blocks(f, f->d_times, 1, f->times, NAN);
}

static void tear_down(fixture *f) {
    cl_mem *buffers[] = {&f->d_x,
                         &f->d_times,
                         &f->d_velocity,
                         &f->d_divergence,
                         &f->d_adjoint_velocity,
                         &f->d_adjoint_divergence,
                         &f->d_adjoint_x,
                         &f->d_grad,
                         &f->d_gradient};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; ++b) eqf__buffer_destroy(buffers[b]);
    eqf__field_destroy(&f->field);
    ref_message_destroy(f->reference);
    eqf_model_destroy(&f->model);
    free(f->x);
    free(f->times);
}

static void evaluate(fixture *f, bool has_divergence, double **velocity_out, double **divergence_out) {
    put_state(f);
    TEST_OK(f->ctx, f->field->batched->evaluate(f->field, NULL, f->num_blocks, f->d_x, f->d_times, f->d_velocity,
                                                has_divergence ? f->d_divergence : NULL));
    *velocity_out = read_blocks(f, f->d_velocity, f->num_dof);
    if (has_divergence) *divergence_out = read_blocks(f, f->d_divergence, 1);
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* Errors relative to the largest velocity, and of the divergence relative to that and the largest divergence. */
static bool check_values(const message_case *c, uint64_t seed) {
    fixture f = set_up(c, 1.0, seed);
    double *velocity, *divergence, *alone, largest = 0.0, largest_divergence = 0.0, error = 0.0, divergence_error = 0.0;
    evaluate(&f, true, &velocity, &divergence);
    evaluate(&f, false, &alone, NULL);
    double *expected = calloc(f.num_dof, sizeof *expected);
    assert_non_null(expected);
    for (size_t b = 0; b < f.batch_size; ++b) {
        double expected_divergence;
        ref_message_field(f.reference, f.times[b], f.x + b * f.num_dof, expected, &expected_divergence);
        largest_divergence = fmax(largest_divergence, fabs(expected_divergence));
        divergence_error = fmax(divergence_error, fabs(divergence[b] - expected_divergence));
        if (isnan(divergence[b])) divergence_error = INFINITY;
        for (size_t i = 0; i < f.num_dof; ++i) {
            largest = fmax(largest, fabs(expected[i]));
            const double here = velocity[b * f.num_dof + i] - expected[i];
            error = isnan(here) ? INFINITY : fmax(error, fabs(here));
        }
    }
    const bool is_same = memcmp(velocity, alone, f.batch_size * f.num_dof * sizeof *alone) == 0;
    print_message("%s: velocity %.1e of %.2g, divergence %.1e of %.2g%s\n", name_of(c), error / largest, largest,
                  divergence_error / fmax(largest_divergence, largest), largest_divergence,
                  is_same ? "" : ", velocities alone DIFFER");
    free(expected);
    free(velocity);
    free(divergence);
    free(alone);
    tear_down(&f);
    return is_same && error <= 2e-5 * largest && divergence_error <= 2e-5 * fmax(largest_divergence, largest);
}

static void test_values(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_values(cases + c, 100 + c);
    for (size_t c = 0; c < 2; ++c) is_good &= check_values(large_cases + c, 120 + c);
    assert_true(is_good);
}

/* ---- Reverse ----------------------------------------------------------------------------------------------------- */

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

static bool check_reverse(const message_case *c, bool has_divergence, uint64_t seed) {
    fixture f = set_up(c, 1.0, seed);
    const size_t state = f.num_blocks * f.num_dof * f.V, count = f.batch_size * f.num_dof;
    test_rng rng = {seed + 2};
    double *adjoint_velocity = calloc(count, sizeof *adjoint_velocity),
           *adjoint_divergence = calloc(f.batch_size, sizeof(double));
    double *by_x = calloc(count, sizeof *by_x), *by_params = calloc(f.num_params, sizeof *by_params);
    assert_true(adjoint_velocity && adjoint_divergence && by_x && by_params);
    for (size_t i = 0; i < count; ++i) adjoint_velocity[i] = (double)(float)test_normal(&rng);
    for (size_t b = 0; b < f.batch_size; ++b) adjoint_divergence[b] = (double)(float)test_normal(&rng);
    put_state(&f);
    write_blocks(&f, f.d_adjoint_velocity, f.num_dof, adjoint_velocity, 0.0);
    write_blocks(&f, f.d_adjoint_divergence, 1, adjoint_divergence, 0.0);
    float *gradients[2] = {test_floats(f.num_params), test_floats(f.num_params)};
    double *adjoint_x[3];
    for (unsigned pass = 0; pass < 3; ++pass) { /* twice the same, then without the gradient */
        set_zero(&f, f.d_adjoint_x, state);
        set_zero(&f, f.d_grad, f.field->batched->grad_size);
        TEST_OK(f.ctx, f.field->batched->vjp(f.field, NULL, f.num_blocks, f.d_x, f.d_times, f.d_adjoint_velocity,
                                             has_divergence ? f.d_adjoint_divergence : NULL, f.d_adjoint_x,
                                             pass < 2 ? f.d_grad : NULL));
        adjoint_x[pass] = read_blocks(&f, f.d_adjoint_x, f.num_dof);
        if (pass == 2) break;
        TEST_OK(f.ctx, f.field->batched->contract(f.field, f.d_grad, f.d_gradient));
        TEST_OK(f.ctx, eqf__buffer_read(f.ctx, f.d_gradient, 0, f.num_params * sizeof(float), gradients[pass]));
    }
    assert_memory_equal(gradients[0], gradients[1], f.num_params * sizeof(float));
    for (unsigned pass = 1; pass < 3; ++pass)
        assert_memory_equal(adjoint_x[0], adjoint_x[pass], count * sizeof(double));
    expected_gradient(&f, adjoint_velocity, has_divergence ? adjoint_divergence : NULL, by_x, by_params);
    double *gradient = test_to_double(f.num_params, gradients[0]);
    const char *name;
    const double error_x = relative_norm(count, adjoint_x[0], by_x);
    const double error = relative_norm(f.num_params, gradient, by_params),
                 worst = worst_slice(&f, gradient, by_params, &name);
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
    tear_down(&f);
    return error_x <= 1e-4 && error <= 1e-4 && worst <= 1e-3;
}

static void test_reverse_of_values(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_reverse(cases + c, false, 200 + c);
    assert_true(is_good);
}

static void test_reverse(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t c = 0; c < NUM_CASES; ++c) is_good &= check_reverse(cases + c, true, 300 + c);
    assert_true(is_good);
}

/* ---- Layouts ----------------------------------------------------------------------------------------------------- */

/* Everything again with one sample a work-item and with a work-group a sample; and in as many launches as a small
 * budget makes of it, with the same bits. */
static void test_layouts(void **state) {
    (void)state;
    static const struct {
        unsigned group_size;
        uint64_t launch_iterations;
    } layouts[] = {{0, 20000}, {8, 0}, {8, 6000}};
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    const eqf__device before = *device;
    bool is_good = true;
    for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; ++l) {
        device->vector_width = 1;
        device->group_size = layouts[l].group_size;
        if (layouts[l].launch_iterations > 0 && before.launch_iterations == 0)
            device->launch_iterations = layouts[l].launch_iterations;
        print_message("groups of %u, budget %llu\n", device->group_size, (unsigned long long)device->launch_iterations);
        is_good &= check_values(cases + DW4, 100);
        is_good &= check_reverse(cases + DW4, false, 200);
        is_good &= check_reverse(cases + DW4, true, 300);
        device->vector_width = before.vector_width;
        device->group_size = before.group_size;
        device->launch_iterations = before.launch_iterations;
    }
    assert_true(is_good);
}

/* A budget changes no bit. */
static void test_budget(void **state) {
    (void)state;
    eqf__device *device;
    TEST_OK(test_context(), eqf__device_get(test_context(), &device));
    const uint64_t before = device->launch_iterations;
    double *velocity[2], *divergence[2];
    for (unsigned pass = 0; pass < 2; ++pass) {
        if (pass == 1 && before == 0) device->launch_iterations = 3000;
        fixture f = set_up(cases + DW4, 1.0, 500);
        evaluate(&f, true, &velocity[pass], &divergence[pass]);
        tear_down(&f);
        device->launch_iterations = before;
    }
    assert_memory_equal(velocity[0], velocity[1], cases[DW4].batch_size * 8 * sizeof(double));
    assert_memory_equal(divergence[0], divergence[1], cases[DW4].batch_size * sizeof(double));
    /* One too small for a single turn is refused in words. */
    device->launch_iterations = 20;
    fixture f = set_up(cases + DW4, 1.0, 500);
    put_state(&f);
    assert_int_equal(f.field->batched->evaluate(f.field, NULL, f.num_blocks, f.d_x, f.d_times, f.d_velocity, NULL),
                     EQF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(eqf_context_error(f.ctx), "loop turns"));
    device->launch_iterations = before;
    tear_down(&f);
    for (unsigned pass = 0; pass < 2; ++pass) {
        free(velocity[pass]);
        free(divergence[pass]);
    }
}

/* ---- Edges ------------------------------------------------------------------------------------------------------- */

/* Particles in one place or far apart are finite; a sample that is not finite spoils itself alone. */
static void test_edges(void **state) {
    (void)state;
    message_case c = cases[DW4];
    c.batch_size = 19;
    fixture f = set_up(&c, 1.0, 400);
    const unsigned D = c.space_dim;
    memcpy(f.x + f.num_dof + D, f.x + f.num_dof, D * sizeof *f.x); /* sample 1: two particles in one place */
    for (unsigned i = 1; i < c.num_particles; ++i)
        memcpy(f.x + 2 * f.num_dof + i * D, f.x + 2 * f.num_dof, D * sizeof *f.x); /* sample 2: all of them */
    f.x[3 * f.num_dof] = 1e4;                                                      /* sample 3: one far away */
    f.x[4 * f.num_dof] = f.x[4 * f.num_dof + D] + 1e-12;                           /* sample 4: nearly in one place */
    f.x[4 * f.num_dof + 1] = f.x[4 * f.num_dof + D + 1];
    double *velocity, *divergence, *spoilt, *spoilt_divergence, *expected = calloc(f.num_dof, sizeof *expected);
    assert_non_null(expected);
    evaluate(&f, true, &velocity, &divergence);
    for (size_t b = 0; b < f.batch_size; ++b) {
        assert_true(isfinite(divergence[b]));
        for (size_t i = 0; i < f.num_dof; ++i) assert_true(isfinite(velocity[b * f.num_dof + i]));
    }
    ref_message_velocity(f.reference, f.times[3], f.x + 3 * f.num_dof, expected);
    for (size_t i = 0; i < f.num_dof; ++i)
        assert_true(fabs(velocity[3 * f.num_dof + i] - expected[i]) <= 1e-4 * fabs(expected[0]));
    f.x[7 * f.num_dof + 3] = NAN;
    f.x[8 * f.num_dof] = INFINITY;
    evaluate(&f, true, &spoilt, &spoilt_divergence);
    for (size_t b = 0; b < f.batch_size; ++b)
        if (b == 7 || b == 8) {
            assert_false(isfinite(spoilt_divergence[b]));
        } else {
            assert_memory_equal(spoilt + b * f.num_dof, velocity + b * f.num_dof, f.num_dof * sizeof *spoilt);
            assert_memory_equal(spoilt_divergence + b, divergence + b, sizeof *spoilt_divergence);
        }
    /* The reverse of what is finite is finite too. */
    f.x[7 * f.num_dof + 3] = f.x[8 * f.num_dof] = 0.3;
    put_state(&f);
    double *ones = calloc(f.batch_size * f.num_dof, sizeof *ones);
    assert_non_null(ones);
    for (size_t i = 0; i < f.batch_size * f.num_dof; ++i) ones[i] = 1.0 + (double)(i % 3);
    write_blocks(&f, f.d_adjoint_velocity, f.num_dof, ones, 0.0);
    write_blocks(&f, f.d_adjoint_divergence, 1, ones, 0.0);
    set_zero(&f, f.d_adjoint_x, f.num_blocks * f.num_dof * f.V);
    set_zero(&f, f.d_grad, f.field->batched->grad_size);
    TEST_OK(f.ctx, f.field->batched->vjp(f.field, NULL, f.num_blocks, f.d_x, f.d_times, f.d_adjoint_velocity,
                                         f.d_adjoint_divergence, f.d_adjoint_x, f.d_grad));
    double *adjoint_x = read_blocks(&f, f.d_adjoint_x, f.num_dof);
    for (size_t i = 0; i < f.batch_size * f.num_dof; ++i) assert_true(isfinite(adjoint_x[i]));
    TEST_OK(f.ctx, f.field->batched->contract(f.field, f.d_grad, f.d_gradient));
    float *gradient = test_floats(f.num_params);
    TEST_OK(f.ctx, eqf__buffer_read(f.ctx, f.d_gradient, 0, f.num_params * sizeof(float), gradient));
    for (size_t p = 0; p < f.num_params; ++p) assert_true(isfinite(gradient[p]));
    free(gradient);
    free(adjoint_x);
    free(ones);
    free(expected);
    free(velocity);
    free(divergence);
    free(spoilt);
    free(spoilt_divergence);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_reverse_of_values),
        cmocka_unit_test(test_reverse), cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_budget),  cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
