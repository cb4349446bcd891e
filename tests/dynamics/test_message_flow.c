/* Whole flows of the message field, through the public calls only, against the double-precision reference: the
 * field at stage times, solves, log-densities, gradients of the loss, the score, symmetry, and the adaptive solver. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"
#include "support.h"

typedef struct flow_case {
    unsigned N, D, L, H, M, E, R, K, num_steps;
    size_t batch_size;
    double spread; /* of the configurations, a length */
} flow_case;

typedef struct fixture {
    eqf_context *ctx;
    eqf_model *model;
    eqf_flow *flow;
    ref_message *message;
    ref_message_flow reference;
    size_t num_dof, count; /* N D, B N D */
    float *x;              /* [B, N, D] */
    double *x_double;      /* the same numbers */
} fixture;

static const char *name_of(const flow_case *c) {
    static char name[96];
    snprintf(name, sizeof name, "N %u D %u L %u H %u M %u E %u R %u K %u", c->N, c->D, c->L, c->H, c->M, c->E, c->R,
             c->K);
    return name;
}

/* Start values, the last layers grown so that every term counts: of the size that training gives them. */
static eqf_model *trained_like_model(eqf_context *ctx, const flow_case *c, double growth, uint64_t seed) {
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    options.potential.num_particles = c->N;
    options.potential.space_dim = c->D;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = c->L;
    options.dynamics.num_scalars = c->H;
    options.dynamics.num_vectors = c->M;
    options.dynamics.num_edge = c->E;
    options.dynamics.num_reduced = c->R;
    options.dynamics.num_distance = c->K;
    options.dynamics.distance_max = 5.0;
    options.integrator.num_steps = c->num_steps;
    options.seed = seed;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    const size_t num_params = eqf_model_num_params(model);
    float *params = test_floats(num_params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    static const char *const last_layers[] = {"message.edge_out", "message.vector_out", "message.time_radial"};
    for (size_t s = 0; s < eqf_model_num_slices(model); ++s)
        for (size_t l = 0; l < 3; ++l) {
            const eqf_param_slice *slice = eqf_model_slice(model, s);
            for (size_t i = 0; !strcmp(slice->name, last_layers[l]) && i < slice->count; ++i)
                params[slice->offset + i] *= (float)growth;
        }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

static fixture set_up(const flow_case *c, double growth, const eqf_flow_options *options, uint64_t seed) {
    fixture f = {.ctx = test_context(), .num_dof = (size_t)c->N * c->D};
    f.model = trained_like_model(f.ctx, c, growth, seed);
    f.message = ref_message_from_model(f.model);
    assert_non_null(f.message);
    f.reference = (ref_message_flow){f.message, c->num_steps, eqf_model_options_of(f.model)->prior_scale};
    TEST_OK(f.ctx, eqf_flow_create(f.ctx, f.model, options, &f.flow));
    f.count = c->batch_size * f.num_dof;
    f.x = test_floats(f.count);
    test_rng rng = {seed + 1000};
    for (size_t i = 0; i < f.count; ++i) f.x[i] = (float)(c->spread * test_normal(&rng));
    for (size_t b = 0; b < c->batch_size; ++b) test_center_floats(c->N, c->D, f.x + b * f.num_dof);
    f.x_double = test_to_double(f.count, f.x);
    return f;
}

static void tear_down(fixture *f) {
    eqf_flow_destroy(&f->flow);
    eqf_model_destroy(&f->model);
    ref_message_destroy(f->message);
    free(f->x);
    free(f->x_double);
}

static double largest(const double *v, size_t count) {
    double most = 0.0;
    for (size_t c = 0; c < count; ++c) most = fmax(most, fabs(v[c]));
    return most;
}

static double norm(const double *v, size_t count) {
    double sum = 0.0;
    for (size_t c = 0; c < count; ++c) sum += v[c] * v[c];
    return sqrt(sum);
}

/* |a - b| / |b| of vectors; against `least` where b is smaller. */
static double relative_error(const float *a, const double *b, size_t count, double least) {
    double sum = 0.0;
    for (size_t c = 0; c < count; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sqrt(sum) / fmax(norm(b, count), least);
}

/* ---- The field --------------------------------------------------------------------------------------------------- */

/* 2 to 55 particles in 1 to 3 dimensions, L 1 to 3; the last has the default sizes. Each shape is a program that
 * the driver compiles. */
static const flow_case field_cases[] = {{2, 3, 3, 9, 3, 6, 2, 8, 2, 5, 1.0},
                                        {6, 2, 1, 16, 8, 12, 4, 12, 2, 4, 1.0},
                                        {20, 1, 3, 8, 4, 8, 2, 10, 2, 1, 3.0},
                                        {55, 3, 2, 6, 2, 6, 2, 8, 2, 1, 1.2},
                                        {13, 3, 3, 48, 16, 48, 8, 32, 2, 2, 0.8}};
enum { NUM_FIELD_CASES = sizeof field_cases / sizeof *field_cases };

/* Velocities relative to the configuration's largest component; the divergence relative to the sum of the sizes of
 * the N D derivatives that it adds up, which is what rounding is relative to. */
static void test_field(void **state) {
    (void)state;
    test_worst velocity_worst = TEST_WORST_INIT(2e-5), divergence_worst = TEST_WORST_INIT(2e-5);
    for (size_t k = 0; k < NUM_FIELD_CASES; ++k) {
        const flow_case *c = field_cases + k;
        fixture f = set_up(c, 6.0, NULL, 100 + k);
        float *velocity = test_output(f.count), *divergence = test_output(c->batch_size);
        double *expected = calloc(f.num_dof, sizeof *expected), t = 0.25 * (double)(k % 5), worst[2] = {0.0, 0.0};
        TEST_OK(f.ctx, eqf_flow_velocity(f.flow, t, c->batch_size, f.x, velocity, divergence));
        test_output_end(f.count, velocity);
        test_output_end(c->batch_size, divergence);
        for (size_t b = 0; b < c->batch_size; ++b) {
            double exact, scale;
            ref_message_field_scaled(f.message, t, f.x_double + b * f.num_dof, expected, &exact, &scale);
            for (size_t i = 0; i < f.num_dof; ++i) {
                double error = fabs(velocity[b * f.num_dof + i] - expected[i]) / largest(expected, f.num_dof);
                test_compare(&velocity_worst, k, error);
                worst[0] = fmax(worst[0], error);
            }
            test_compare(&divergence_worst, k, fabs(divergence[b] - exact) / scale);
            worst[1] = fmax(worst[1], fabs(divergence[b] - exact) / scale);
        }
        print_message("%s: velocity %.1e, divergence %.1e\n", name_of(c), worst[0], worst[1]);
        free(velocity);
        free(divergence);
        free(expected);
        tear_down(&f);
    }
    bool is_good = test_report(&velocity_worst, "velocity, relative");
    is_good = test_report(&divergence_worst, "divergence, relative to its terms") && is_good;
    assert_true(is_good);
}

/* ---- Solves ------------------------------------------------------------------------------------------------------ */

static const flow_case solve_cases[] = {{5, 2, 1, 7, 4, 6, 2, 9, 8, 5, 1.0},
                                        {4, 2, 3, 8, 4, 6, 2, 9, 8, 9, 1.5},
                                        {3, 1, 2, 6, 3, 5, 2, 8, 8, 3, 1.0},
                                        {6, 3, 2, 6, 3, 5, 2, 8, 8, 2, 1.1}};
enum { NUM_SOLVE_CASES = sizeof solve_cases / sizeof *solve_cases };

/* Both directions, log_det and log_prob, with equal steps. */
static void test_solves(void **state) {
    (void)state;
    test_worst place_worst = TEST_WORST_INIT(5e-5), log_det_worst = TEST_WORST_INIT(1e-4);
    for (size_t k = 0; k < NUM_SOLVE_CASES; ++k) {
        const flow_case *c = solve_cases + k;
        fixture f = set_up(c, 2.5, NULL, 200 + k); /* not chaotic: see test_invariance */
        float *end = test_output(f.count), *log_det = test_output(c->batch_size),
              *log_prob = test_output(c->batch_size);
        double *expected = calloc(f.num_dof, sizeof *expected), moved = 0.0;
        for (unsigned way = 0; way < 2; ++way) {
            eqf_direction direction = way ? EQF_DATA_TO_PRIOR : EQF_PRIOR_TO_DATA;
            TEST_OK(f.ctx, eqf_flow_transform(f.flow, direction, c->batch_size, f.x, end, log_det));
            for (size_t b = 0; b < c->batch_size; ++b) {
                const double *x = f.x_double + b * f.num_dof;
                double exact = ref_message_transform(&f.reference, direction, x, expected, NULL);
                for (size_t i = 0; i < f.num_dof; ++i) {
                    test_compare(&place_worst, k, fabs(end[b * f.num_dof + i] - expected[i]));
                    moved = fmax(moved, fabs(expected[i] - x[i]));
                }
                test_compare(&log_det_worst, k, fabs(log_det[b] - exact));
            }
        }
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, c->batch_size, f.x, log_prob, end));
        for (size_t b = 0; b < c->batch_size; ++b) {
            double exact = ref_message_log_prob(&f.reference, f.x_double + b * f.num_dof, expected, NULL);
            test_compare(&log_det_worst, k, fabs(log_prob[b] - exact) / fmax(1.0, 0.1 * fabs(exact)));
            for (size_t i = 0; i < f.num_dof; ++i)
                test_compare(&place_worst, k, fabs(end[b * f.num_dof + i] - expected[i]));
        }
        assert_true(moved > 0.05); /* a flow that does nothing proves nothing */
        free(end);
        free(log_det);
        free(log_prob);
        free(expected);
        tear_down(&f);
    }
    bool is_good = test_report(&place_worst, "ends of solves, lengths");
    is_good = test_report(&log_det_worst, "log_det and log_prob, nats") && is_good;
    assert_true(is_good);
}

/* The adaptive solver against equal steps, doubled until two log-densities agree within 1e-6: rtol 1e-6 is within
 * 1e-4 nat (docs/method.md, section 3). */
static void test_adaptive(void **state) {
    (void)state;
    test_worst worst = TEST_WORST_INIT(1e-4);
    for (size_t k = 0; k < NUM_SOLVE_CASES; ++k) {
        flow_case c = solve_cases[k];
        c.batch_size = c.batch_size > 3 ? 3 : c.batch_size;
        eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
        options.method = EQF_INTEGRATOR_DOPRI5;
        options.adaptive.rtol = 1e-6;
        fixture f = set_up(&c, 2.0, &options, 300 + k);
        float *log_prob = test_output(c.batch_size);
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, c.batch_size, f.x, log_prob, NULL));
        for (size_t b = 0; b < c.batch_size; ++b) {
            double exact = NAN, before = INFINITY;
            for (f.reference.num_steps = 20; f.reference.num_steps <= 320; f.reference.num_steps *= 2) {
                exact = ref_message_log_prob(&f.reference, f.x_double + b * f.num_dof, NULL, NULL);
                if (fabs(exact - before) < 1e-6) break;
                before = exact;
            }
            assert_true(f.reference.num_steps <= 320);
            test_compare(&worst, k, fabs(log_prob[b] - exact));
        }
        free(log_prob);
        tear_down(&f);
    }
    assert_true(test_report(&worst, "log_prob by dopri5, nats"));
}

/* ---- Gradients --------------------------------------------------------------------------------------------------- */

/* The loss with its penalty, and its gradient by every parameter and coordinate. Each slice's error is relative to
 * the slice's norm, or to a thousandth of the whole gradient's. */
static void test_gradients(void **state) {
    (void)state;
    test_worst loss_worst = TEST_WORST_INIT(2e-5), param_worst = TEST_WORST_INIT(1e-3), x_worst = TEST_WORST_INIT(1e-3);
    for (size_t k = 0; k < NUM_SOLVE_CASES; ++k) {
        const flow_case *c = solve_cases + k;
        fixture f = set_up(c, 6.0, NULL, 400 + k);
        const size_t num_params = f.message->num_params;
        assert_int_equal(eqf_model_num_trained(f.model), num_params);
        const double penalty = k % 2 ? 5.0 : 0.0;
        float *gradient = test_output(num_params), *adjoint_x = test_output(f.count);
        double *by_params = calloc(num_params, sizeof *by_params), *by_x = calloc(f.count, sizeof *by_x);
        eqf_loss loss = EQF_LOSS_INIT;
        TEST_OK(f.ctx, eqf_flow_nll_gradient(f.flow, penalty, c->batch_size, f.x, &loss, gradient, adjoint_x));
        eqf_loss expected = ref_message_loss(&f.reference, penalty, c->batch_size, f.x_double, by_x, by_params);
        test_compare(&loss_worst, k, fabs(loss.nll - expected.nll) / fmax(1.0, fabs(expected.nll)));
        test_compare(&loss_worst, k, fabs(loss.loss - expected.loss) / fmax(1.0, fabs(expected.loss)));
        test_compare(&x_worst, k, relative_error(adjoint_x, by_x, f.count, 1e-3));
        double least = 1e-3 * norm(by_params, num_params), most = 0.0;
        for (size_t s = 0; s < f.message->num_slices; ++s) {
            const ref_matrix *slice = f.message->slices + s;
            const size_t count = slice->rows * slice->columns;
            assert_true(norm(by_params + slice->offset, count) > 0.0);
            double error = relative_error(gradient + slice->offset, by_params + slice->offset, count, least);
            test_compare(&param_worst, k, error);
            most = fmax(most, error);
        }
        print_message("%s: loss %.4f (penalty's part %.1e), gradient's worst slice %.1e, by x %.1e\n", name_of(c),
                      expected.loss, expected.loss - expected.nll, most,
                      relative_error(adjoint_x, by_x, f.count, 1e-3));
        free(gradient);
        free(adjoint_x);
        free(by_params);
        free(by_x);
        tear_down(&f);
    }
    bool is_good = test_report(&loss_worst, "loss, relative");
    is_good = test_report(&param_worst, "gradient by parameters, worst slice") && is_good;
    is_good = test_report(&x_worst, "gradient by x") && is_good;
    assert_true(is_good);
}

/* grad_x log_prob of each sample, with its log-density and latent. */
static void test_score(void **state) {
    (void)state;
    test_worst score_worst = TEST_WORST_INIT(1e-3), log_prob_worst = TEST_WORST_INIT(2e-5);
    for (size_t k = 0; k < NUM_SOLVE_CASES; ++k) {
        flow_case c = solve_cases[k];
        c.batch_size = c.batch_size > 3 ? 3 : c.batch_size;
        fixture f = set_up(&c, 6.0, NULL, 500 + k);
        float *score = test_output(f.count), *log_prob = test_output(c.batch_size), *z = test_output(f.count);
        double *by_x = calloc(f.num_dof, sizeof *by_x);
        TEST_OK(f.ctx, eqf_flow_score(f.flow, c.batch_size, f.x, log_prob, z, score));
        for (size_t b = 0; b < c.batch_size; ++b) {
            eqf_loss loss = ref_message_loss(&f.reference, 0.0, 1, f.x_double + b * f.num_dof, by_x, NULL);
            for (size_t i = 0; i < f.num_dof; ++i) by_x[i] = -by_x[i];
            test_compare(&score_worst, k, relative_error(score + b * f.num_dof, by_x, f.num_dof, 1e-3));
            test_compare(&log_prob_worst, k, fabs(log_prob[b] + loss.nll) / fmax(1.0, fabs(loss.nll)));
        }
        free(score);
        free(log_prob);
        free(z);
        free(by_x);
        tear_down(&f);
    }
    bool is_good = test_report(&score_worst, "score");
    is_good = test_report(&log_prob_worst, "its log_prob, relative") && is_good;
    assert_true(is_good);
}

/* ---- Symmetry and edges ------------------------------------------------------------------------------------------ */

/* log_prob through the whole flow changes by 1e-4 nat at most when a configuration is turned, mirrored, moved and
 * relabelled. */
static void test_invariance(void **state) {
    (void)state;
    static const flow_case whole[] = {{4, 2, 3, 8, 4, 6, 2, 9, 20, 64, 1.5},
                                      {13, 3, 3, 48, 16, 48, 8, 32, 12, 16, 0.8}};
    test_worst worst = TEST_WORST_INIT(1e-4);
    for (size_t k = 0; k < 2; ++k) {
        const flow_case *c = whole + k;
        fixture f = set_up(c, 1.0, NULL, 600 + k);
        free(f.x);
        free(f.x_double);
        f.x = test_configurations(test_system_named(k == 0 ? "dw4" : "lj13"), c->batch_size, 650 + k);
        f.x_double = test_to_double(f.count, f.x);
        float *moved = test_floats(f.count), *log_prob[2] = {test_output(c->batch_size), test_output(c->batch_size)};
        test_rng rng = {700 + k};
        double lowest = INFINITY, highest = -INFINITY;
        for (size_t b = 0; b < c->batch_size; ++b) {
            double turn[9], shift[3] = {test_normal(&rng), test_normal(&rng), test_normal(&rng)};
            test_orthogonal(&rng, c->D, b % 2 == 1, turn);
            for (unsigned i = 0; i < c->N; ++i)
                for (unsigned a = 0; a < c->D; ++a) {
                    double sum = shift[a];
                    for (unsigned d = 0; d < c->D; ++d)
                        sum += turn[a * c->D + d] * f.x_double[b * f.num_dof + i * c->D + d];
                    moved[b * f.num_dof + (i + 1 + b) % c->N * c->D + a] = (float)sum;
                }
        }
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, c->batch_size, f.x, log_prob[0], NULL));
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, c->batch_size, moved, log_prob[1], NULL));
        for (size_t b = 0; b < c->batch_size; ++b) {
            test_compare(&worst, k, fabs((double)log_prob[0][b] - log_prob[1][b]));
            lowest = fmin(lowest, log_prob[0][b]);
            highest = fmax(highest, log_prob[0][b]);
        }
        print_message("%s: log-densities from %.2f to %.2f\n", name_of(c), lowest, highest);
        free(moved);
        free(log_prob[0]);
        free(log_prob[1]);
        tear_down(&f);
    }
    assert_true(test_report(&worst, "change of log_prob under symmetry, nats"));
}

/* Two particles in one place and one far away have densities and gradients; NaN spoils its own sample only. */
static void test_edges(void **state) {
    (void)state;
    for (size_t k = 0; k < NUM_SOLVE_CASES; ++k) {
        flow_case c = solve_cases[k];
        c.batch_size = 6;
        fixture f = set_up(&c, 1.0, NULL, 800 + k);
        float *log_prob = test_output(c.batch_size), *score = test_output(f.count);
        memcpy(f.x + f.num_dof, f.x + f.num_dof + c.D, c.D * sizeof *f.x);
        f.x[2 * f.num_dof] += 12.0f;
        for (size_t b = 1; b < 3; ++b) test_center_floats(c.N, c.D, f.x + b * f.num_dof);
        f.x[3 * f.num_dof + 1] = NAN;
        double *x = test_to_double(f.count, f.x);
        TEST_OK(f.ctx, eqf_flow_score(f.flow, c.batch_size, f.x, log_prob, NULL, score));
        for (size_t b = 0; b < c.batch_size; ++b) {
            if (b == 3) {
                assert_false(isfinite(log_prob[b]));
                continue;
            }
            double exact = -ref_message_loss(&f.reference, 0.0, 1, x + b * f.num_dof, NULL, NULL).nll;
            print_message("case %zu, sample %zu: log_prob %.6g, off by %.1e\n", k, b, exact, fabs(log_prob[b] - exact));
            assert_true(fabs(log_prob[b] - exact) <= 1e-5 * fmax(10.0, fabs(exact)));
            for (size_t i = 0; i < f.num_dof; ++i) assert_true(isfinite(score[b * f.num_dof + i]));
        }
        free(x);
        free(log_prob);
        free(score);
        tear_down(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),     cmocka_unit_test(test_solves), cmocka_unit_test(test_adaptive),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_score),  cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
