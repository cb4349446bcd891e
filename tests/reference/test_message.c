/* The reference of the message field checks itself: symmetry, divergence by three formulations, gradients against
 * differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"
#include "support.h"

/* Every parameter differs from 0, so that no term of the field is left out: entries of the size 1/sqrt(columns),
 * filters and what makes vectors smaller. */
static ref_message *random_message(unsigned N, unsigned D, unsigned L, unsigned num_b, uint64_t seed) {
    ref_message_shape shape = {.num_particles = N,
                               .space_dim = D,
                               .num_hops = L,
                               .num_radial = 7,
                               .num_scalars = 6,
                               .num_vectors = 3,
                               .edge_width = 5,
                               .num_reduced = 2,
                               .num_b = num_b};
    ref_message *message = ref_message_create(shape, 4.0);
    test_rng rng = {seed};
    for (size_t i = 0; i < message->num_slices; ++i) {
        const ref_matrix *slice = message->slices + i;
        double size = (strstr(slice->name, "filter") ? 0.4 : 0.8) / sqrt((double)slice->columns);
        for (size_t p = 0; p < slice->rows * slice->columns; ++p)
            message->params[slice->offset + p] = size * test_normal(&rng);
    }
    return message;
}

static double *random_x(unsigned N, unsigned D, uint64_t seed) {
    test_rng rng = {seed};
    double *x = calloc((size_t)N * D, sizeof *x);
    assert_non_null(x);
    for (size_t c = 0; c < (size_t)N * D; ++c) x[c] = 1.3 * test_normal(&rng);
    return x;
}

/* Each test below goes through these: 2 ... 13 particles, 1 ... 3 dimensions, 1 ... 3 hops. */
static const struct {
    unsigned N, D, L;
} cases[] = {{2, 1, 1}, {2, 2, 2}, {2, 3, 3}, {3, 1, 2},  {3, 3, 1}, {4, 2, 3},
             {5, 1, 3}, {5, 3, 2}, {7, 2, 1}, {13, 3, 3}, {13, 2, 2}};
enum { num_cases = sizeof cases / sizeof *cases, most_dof = 39 };

static double largest(const double *v, size_t count) {
    double most = 0.0;
    for (size_t c = 0; c < count; ++c) most = fmax(most, fabs(v[c]));
    return most;
}

/* An orthogonal matrix [D, D]: Gram-Schmidt of random rows; either handedness. */
static void random_turn(unsigned D, test_rng *rng, double turn[9]) {
    for (unsigned a = 0; a < D; ++a) {
        for (unsigned b = 0; b < D; ++b) turn[a * D + b] = test_normal(rng);
        double square = 0.0;
        for (unsigned other = 0; other < a; ++other) {
            double overlap = 0.0;
            for (unsigned b = 0; b < D; ++b) overlap += turn[a * D + b] * turn[other * D + b];
            for (unsigned b = 0; b < D; ++b) turn[a * D + b] -= overlap * turn[other * D + b];
        }
        for (unsigned b = 0; b < D; ++b) square += turn[a * D + b] * turn[a * D + b];
        for (unsigned b = 0; b < D; ++b) turn[a * D + b] /= sqrt(square);
    }
}

/* v(P R x + shift) = P R v(x) and the same divergence, for turns with and without a reflection. */
static void test_equivariance(void **state) {
    (void)state;
    test_worst velocity_worst = TEST_WORST_INIT(1e-12), divergence_worst = TEST_WORST_INIT(1e-11),
               mean_worst = TEST_WORST_INIT(1e-13);
    for (unsigned s = 0; s < num_cases; ++s) {
        unsigned N = cases[s].N, D = cases[s].D;
        ref_message *message = random_message(N, D, cases[s].L, 0, 10 + s);
        double *x = random_x(N, D, 20 + s), y[most_dof], v[most_dof], turned[most_dof], turn[9], divergence,
               turned_divergence;
        test_rng rng = {30 + s};
        random_turn(D, &rng, turn);
        ref_message_field(message, 0.4, x, v, &divergence);
        assert_true(largest(v, (size_t)N * D) > 1e-3);
        for (unsigned reflect = 0; reflect < 2; ++reflect) {
            for (unsigned b = 0; b < D; ++b) turn[b] *= reflect ? -1.0 : 1.0;
            for (unsigned i = 0; i < N; ++i) /* particle i becomes particle i + 1 */
                for (unsigned a = 0; a < D; ++a) {
                    double *to = y + (size_t)(i + 1) % N * D + a;
                    *to = 0.7 + a;
                    for (unsigned b = 0; b < D; ++b) *to += turn[a * D + b] * x[i * D + b];
                }
            ref_message_field(message, 0.4, y, turned, &turned_divergence);
            for (unsigned i = 0; i < N; ++i)
                for (unsigned a = 0; a < D; ++a) {
                    double expected = 0.0;
                    for (unsigned b = 0; b < D; ++b) expected += turn[a * D + b] * v[i * D + b];
                    double error = fabs(turned[(size_t)(i + 1) % N * D + a] - expected);
                    test_compare(&velocity_worst, s, error / fmax(1.0, largest(v, (size_t)N * D)));
                }
            test_compare(&divergence_worst, s, fabs(turned_divergence - divergence) / fmax(1.0, fabs(divergence)));
        }
        for (unsigned a = 0; a < D; ++a) {
            double sum = 0.0;
            for (unsigned i = 0; i < N; ++i) sum += v[i * D + a];
            test_compare(&mean_worst, s, fabs(sum) / fmax(1.0, largest(v, (size_t)N * D)));
        }
        free(x);
        ref_message_destroy(message);
    }
    bool is_good = test_report(&velocity_worst, "velocity of the turned, shifted, permuted configuration");
    is_good = test_report(&divergence_worst, "its divergence") && is_good;
    is_good = test_report(&mean_worst, "mean velocity") && is_good;
    assert_true(is_good);
}

/* The trace by exact directional derivatives, the closed-form rules, and the trace by differences. */
static void test_divergence(void **state) {
    (void)state;
    test_worst closed_worst = TEST_WORST_INIT(1e-10), difference_worst = TEST_WORST_INIT(1e-7);
    for (unsigned s = 0; s < num_cases; ++s) {
        ref_message *message =
            random_message(cases[s].N, cases[s].D, cases[s].L, cases[s].N > 3 ? 2 * (s % 2) : 0, 40 + s);
        double *x = random_x(cases[s].N, cases[s].D, 50 + s), v[most_dof], trace, t = 0.1 * s;
        ref_message_field(message, t, x, v, &trace);
        double scale = fmax(1.0, fabs(trace));
        test_compare(&closed_worst, s, fabs(ref_message_closed_divergence(message, t, x) - trace) / scale);
        test_compare(&difference_worst, s, fabs(ref_message_divergence_by_differences(message, t, x) - trace) / scale);
        free(x);
        ref_message_destroy(message);
    }
    bool is_good = test_report(&closed_worst, "closed-form divergence against the trace of exact derivatives");
    is_good = test_report(&difference_worst, "differences against the trace of exact derivatives") && is_good;
    assert_true(is_good);
}

/* sum adjoint_v v + adjoint_div div v, as ref_message_gradient's documentation says. */
static double objective(const ref_message *message, double t, const double *x, const double *adjoint_v,
                        double adjoint_div) {
    double v[most_dof], divergence, sum = 0.0;
    ref_message_field(message, t, x, v, &divergence);
    for (unsigned c = 0; c < message->shape.num_particles * message->shape.space_dim; ++c) sum += adjoint_v[c] * v[c];
    return sum + adjoint_div * divergence;
}

/* d objective / d *variable, by central differences extrapolated once. */
static double difference(const ref_message *message, const double *x, const double *adjoint_v, double adjoint_div,
                         double *variable) {
    double at = *variable, slope[2];
    for (unsigned turn = 0; turn < 2; ++turn) {
        double step = turn ? 5e-4 : 1e-3;
        *variable = at + step;
        double above = objective(message, 0.6, x, adjoint_v, adjoint_div);
        *variable = at - step;
        slope[turn] = (above - objective(message, 0.6, x, adjoint_v, adjoint_div)) / (2.0 * step);
        *variable = at;
    }
    return (4.0 * slope[1] - slope[0]) / 3.0;
}

static void test_gradients(void **state) {
    (void)state;
    test_worst x_worst = TEST_WORST_INIT(1e-7), param_worst = TEST_WORST_INIT(1e-7);
    for (unsigned s = 0; s < num_cases; ++s) {
        unsigned num_dof = cases[s].N * cases[s].D;
        ref_message *message =
            random_message(cases[s].N, cases[s].D, cases[s].L, cases[s].N > 3 ? 2 * (s % 2) : 0, 60 + s);
        double *x = random_x(cases[s].N, cases[s].D, 70 + s), adjoint_v[most_dof], by_x[most_dof];
        double *by_params = calloc(message->num_params, sizeof *by_params), adjoint_div = s % 3 == 2 ? 0.0 : 0.8;
        test_rng rng = {80 + s};
        for (unsigned c = 0; c < num_dof; ++c) adjoint_v[c] = s % 3 == 1 ? 0.0 : test_normal(&rng);
        ref_message_gradient(message, 0.6, x, adjoint_v, adjoint_div, by_x, by_params);
        double scale = fmax(1.0, largest(by_x, num_dof));
        for (unsigned c = 0; c<num_dof; c += num_dof> 12 ? 7 : 1)
            test_compare(&x_worst, s, fabs(difference(message, x, adjoint_v, adjoint_div, x + c) - by_x[c]) / scale);
        scale = fmax(1.0, largest(by_params, message->num_params));
        /* Entries of every slice; of every third where it takes long. */
        for (size_t i = 0; i < message->num_slices; ++i) {
            const ref_matrix *slice = message->slices + i;
            double most = largest(by_params + slice->offset, slice->rows * slice->columns);
            assert_true(most > 0.0 || (adjoint_div == 0.0 && strstr(slice->name, "time_radial")));
            unsigned num_tried = num_dof < 12 ? 2 : i % 3 == 0;
            for (unsigned turn = 0; turn < num_tried; ++turn) {
                size_t p = slice->offset + test_below(&rng, slice->rows * slice->columns);
                double slope = difference(message, x, adjoint_v, adjoint_div, message->params + p);
                test_compare(&param_worst, s, fabs(slope - by_params[p]) / scale);
            }
        }
        free(by_params);
        free(x);
        ref_message_destroy(message);
    }
    bool is_good = test_report(&x_worst, "gradient by x against differences");
    is_good = test_report(&param_worst, "gradient by parameters against differences") && is_good;
    assert_true(is_good);
}

/* Two particles at one place, one far away: finite, and the far one only meets what does not depend on distance. */
static void test_edges(void **state) {
    (void)state;
    for (unsigned L = 1; L <= 3; ++L) {
        ref_message *message = random_message(5, 3, L, L > 1 ? 2 : 0, 90 + L);
        double *x = random_x(5, 3, 95 + L), v[15], by_x[15], adjoint_v[15], divergence;
        double *by_params = calloc(message->num_params, sizeof *by_params);
        memcpy(x, x + 3, 3 * sizeof *x);
        x[12] = 1e3;
        for (unsigned c = 0; c < 15; ++c) adjoint_v[c] = 1.0 + c % 2;
        ref_message_field(message, 0.3, x, v, &divergence);
        ref_message_gradient(message, 0.3, x, adjoint_v, 1.0, by_x, by_params);
        for (unsigned c = 0; c < 15; ++c) assert_true(isfinite(v[c]) && isfinite(by_x[c]));
        for (size_t p = 0; p < message->num_params; ++p) assert_true(isfinite(by_params[p]));
        assert_true(isfinite(divergence));
        /* The two at one place have the same neighbours: the same velocity. */
        for (unsigned a = 0; a < 3; ++a) assert_true(fabs(v[a] - v[3 + a]) < 1e-9 * fmax(1.0, largest(v, 15)));
        double closed = ref_message_closed_divergence(message, 0.3, x);
        print_message("L = %u, coincident and far particles: divergence %.6g, closed form %.6g\n", L, divergence,
                      closed);
        assert_true(fabs(closed - divergence) < 1e-9 * fmax(1.0, fabs(divergence)));
        free(by_params);
        free(x);
        ref_message_destroy(message);
    }
}

/* Prior -> data -> prior returns, with the opposite log_det; the gradients of the loss against differences of it. */
static void test_flow(void **state) {
    (void)state;
    ref_message *message = random_message(3, 2, 2, 0, 110);
    const char *const last_layers[] = {"w3", "w4", "alpha", "omega"}; /* tamed, so that few steps resolve the field */
    for (unsigned l = 0; l < 4; ++l) {
        const ref_matrix *w = ref_message_part(message, last_layers[l], 0);
        for (size_t p = 0; p < w->rows * w->columns; ++p) message->params[w->offset + p] *= 0.3;
    }
    ref_message_flow flow = {message, 40, 1.3};
    double *x = random_x(2 * 3, 2, 111), z[6], back[6], by_x[12], worst = 0.0;
    double log_det = ref_message_transform(&flow, EQF_PRIOR_TO_DATA, x, z, NULL);
    double reverse = ref_message_transform(&flow, EQF_DATA_TO_PRIOR, z, back, NULL);
    for (unsigned c = 0; c < 6; ++c) worst = fmax(worst, fabs(back[c] - x[c]));
    print_message("round trip %.1e, log_det %.8f forward and %.8f back\n", worst, log_det, reverse);
    assert_true(worst < 1e-5 && fabs(log_det + reverse) < 1e-4 && fabs(log_det) > 1e-2);
    flow.num_steps = 3;
    double *by_params = calloc(message->num_params, sizeof *by_params);
    ref_message_loss(&flow, 0.7, 2, x, by_x, by_params);
    test_worst x_worst = TEST_WORST_INIT(1e-7), param_worst = TEST_WORST_INIT(1e-7);
    test_rng rng = {112};
    for (unsigned turn = 0; turn < 60; ++turn) {
        size_t p = test_below(&rng, message->num_params);
        double *variable = turn < 12 ? x + turn : message->params + p, at = *variable, slope[2];
        for (unsigned half = 0; half < 2; ++half) {
            double step = half ? 5e-4 : 1e-3;
            *variable = at + step;
            slope[half] = ref_message_loss(&flow, 0.7, 2, x, NULL, NULL).loss;
            *variable = at - step;
            slope[half] = (slope[half] - ref_message_loss(&flow, 0.7, 2, x, NULL, NULL).loss) / (2.0 * step);
            *variable = at;
        }
        double expected = (4.0 * slope[1] - slope[0]) / 3.0;
        if (turn < 12)
            test_compare(&x_worst, turn, fabs(expected - by_x[turn]) / fmax(1.0, largest(by_x, 12)));
        else
            test_compare(&param_worst, p,
                         fabs(expected - by_params[p]) / fmax(1.0, largest(by_params, message->num_params)));
    }
    bool is_good = test_report(&x_worst, "loss of the flow: gradient by x against differences");
    is_good = test_report(&param_worst, "by parameters") && is_good;
    assert_true(is_good);
    free(by_params);
    free(x);
    ref_message_destroy(message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equivariance), cmocka_unit_test(test_divergence), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_edges),        cmocka_unit_test(test_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
