/* The message field beside its double-precision reference: cases, a fixture, and the check of velocities and
 * divergences. Common to the tests of its layouts. */
#ifndef MESSAGE_FIELD_H
#define MESSAGE_FIELD_H

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
    {5, 2, 3, 8, 4, 6, 3, 8, 9, 2}, {13, 3, 2, 7, 2, 5, 2, 9, 3, 5},
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

#endif
