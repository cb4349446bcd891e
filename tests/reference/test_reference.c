/* The reference checks itself: what the device is measured against must be right on its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* A trained-like field without the library: the paper's layout with perturbed numbers. */
static ref_radial *random_field(unsigned num_particles, uint64_t seed) {
    ref_radial *radial = ref_radial_create(50, 10);
    test_rng rng = {seed};
    double size = 1.5 / (num_particles - 1.0);
    for (unsigned i = 0; i < 500; ++i) radial->weights[i] = size * test_normal(&rng);
    for (unsigned k = 0; k < 50; ++k) {
        radial->importance[k] = 0.15 * test_normal(&rng);
        radial->distance_centers[k] = 8.0 * k / 49.0;
        radial->distance_log_gammas[k] = log(0.5) + 0.4 * test_uniform(&rng) - 0.2;
    }
    for (unsigned m = 0; m < 10; ++m) {
        radial->bias[m] = 0.3 * size * test_normal(&rng);
        radial->time_centers[m] = m / 9.0;
        radial->time_log_gammas[m] = log(0.3) + 0.4 * test_uniform(&rng) - 0.2;
    }
    return radial;
}

static double *random_configuration(const test_system *system, uint64_t seed) {
    float *x = test_configurations(system, 1, seed);
    double *copy = test_to_double((size_t)system->num_particles * system->space_dim, x);
    free(x);
    return copy;
}

/* phi by hand for one Gaussian in distance and one in time. */
static void test_phi_by_hand(void **state) {
    (void)state;
    ref_radial *radial = ref_radial_create(1, 1);
    radial->weights[0] = 3.0;
    radial->bias[0] = 0.25;
    radial->importance[0] = 0.5;
    radial->distance_centers[0] = 2.0;
    radial->distance_log_gammas[0] = log(0.5);
    radial->time_centers[0] = 1.0;
    radial->time_log_gammas[0] = log(0.3);
    double g = exp(-4.0), h = exp(-1.0 / 9.0); /* at d = 1 and t = 0.9 */
    double expected = h / (h + 1e-6) * ((g / (g + 1e-6) + 0.25) * 3.0 + 0.25);
    assert_true(fabs(ref_radial_phi(radial, 1.0, 0.9) - expected) < 1e-14);
    /* Out of reach of the Gaussian only bias and importance are left, and no NaN. */
    assert_true(fabs(ref_radial_phi(radial, 1e4, 0.9) - h / (h + 1e-6) * 1.0) < 1e-14);
    assert_true(ref_radial_phi_prime(radial, 1e4, 0.9) == 0.0);
    /* Two particles: the velocity is along r_12, away from each other for phi > 0. */
    double x[4] = {0.5, 0.0, -0.5, 0.0}, v[4], divergence;
    ref_velocity(radial, 2, 2, 0.9, x, v, &divergence, NULL);
    assert_true(fabs(v[0] - expected) < 1e-14 && fabs(v[2] + expected) < 1e-14 && v[1] == 0.0 && v[3] == 0.0);
    ref_radial_destroy(radial);
}

static void test_phi_prime(void **state) {
    (void)state;
    ref_radial *radial = random_field(4, 1);
    test_worst worst = TEST_WORST_INIT(1e-8);
    for (unsigned i = 0; i < 400; ++i) {
        double d = 0.03 * i, t = (i % 7) / 6.0, step = 1e-5;
        double slope = (ref_radial_phi(radial, d + step, t) - ref_radial_phi(radial, d - step, t)) / (2.0 * step);
        double exact = ref_radial_phi_prime(radial, d, t);
        test_compare(&worst, i, fabs(slope - exact) / fmax(1.0, fabs(exact)));
    }
    ref_radial_destroy(radial);
    assert_true(test_report(&worst, "phi' against finite differences"));
}

/* The loops of ref_velocity against phi and phi' written term by term. */
static void test_velocity_is_the_formula(void **state) {
    (void)state;
    test_worst worst = TEST_WORST_INIT(1e-12);
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        unsigned N = system->num_particles, D = system->space_dim;
        ref_radial *radial = random_field(N, 2 + s);
        double *x = random_configuration(system, s), v[39], divergence, expected_divergence = 0.0;
        ref_velocity(radial, N, D, 0.37, x, v, &divergence, NULL);
        for (unsigned i = 0; i < N; ++i) {
            double expected[3] = {0.0, 0.0, 0.0};
            for (unsigned j = 0; j < N; ++j) {
                if (j == i) continue;
                double r[3] = {0.0, 0.0, 0.0};
                for (unsigned d = 0; d < D; ++d) r[d] = x[i * D + d] - x[j * D + d];
                double distance = sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
                double phi = ref_radial_phi(radial, distance, 0.37);
                for (unsigned d = 0; d < D; ++d) expected[d] += r[d] * phi;
                expected_divergence += distance * ref_radial_phi_prime(radial, distance, 0.37) + D * phi;
            }
            for (unsigned d = 0; d < D; ++d) test_compare(&worst, s, fabs(v[i * D + d] - expected[d]));
        }
        test_compare(&worst, s, fabs(divergence - expected_divergence) / fmax(1.0, fabs(divergence)));
        free(x);
        ref_radial_destroy(radial);
    }
    assert_true(test_report(&worst, "velocity and divergence, term by term"));
}

static void test_divergence_is_the_trace(void **state) {
    (void)state;
    test_worst worst = TEST_WORST_INIT(1e-8);
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        unsigned N = system->num_particles, D = system->space_dim;
        for (unsigned repeat = 0; repeat < 5; ++repeat) {
            ref_radial *radial = random_field(N, 20 + repeat);
            double *x = random_configuration(system, 100 * s + repeat), v[39], divergence, scale;
            ref_velocity(radial, N, D, 0.2 * repeat, x, v, &divergence, &scale);
            double trace = ref_divergence_brute_force(radial, N, D, 0.2 * repeat, x);
            assert_true(scale > 0.0);
            test_compare(&worst, s, fabs(divergence - trace) / scale);
            free(x);
            ref_radial_destroy(radial);
        }
    }
    assert_true(test_report(&worst, "divergence against the Jacobian's trace"));
}

static void test_equivariance(void **state) {
    (void)state;
    test_worst velocity_worst = TEST_WORST_INIT(1e-12), divergence_worst = TEST_WORST_INIT(1e-12);
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        unsigned N = system->num_particles, D = system->space_dim;
        ref_radial *radial = random_field(N, 40 + s);
        test_rng rng = {s};
        double *x = random_configuration(system, s), v[39], moved[39], moved_v[39], matrix[9], divergence,
               moved_divergence;
        ref_velocity(radial, N, D, 0.6, x, v, &divergence, NULL);
        for (unsigned repeat = 0; repeat < 4; ++repeat) {
            test_orthogonal(&rng, D, repeat % 2, matrix);
            size_t shift = test_below(&rng, N); /* cyclic permutation, translation, rotation or reflection */
            for (unsigned i = 0; i < N; ++i)
                for (unsigned d = 0; d < D; ++d) {
                    double *out = moved + (i + shift) % N * D + d;
                    *out = 3.0 + d;
                    for (unsigned e = 0; e < D; ++e) *out += matrix[d * D + e] * x[i * D + e];
                }
            ref_velocity(radial, N, D, 0.6, moved, moved_v, &moved_divergence, NULL);
            for (unsigned i = 0; i < N; ++i)
                for (unsigned d = 0; d < D; ++d) {
                    double expected = 0.0;
                    for (unsigned e = 0; e < D; ++e) expected += matrix[d * D + e] * v[i * D + e];
                    test_compare(&velocity_worst, s, fabs(moved_v[(i + shift) % N * D + d] - expected));
                }
            test_compare(&divergence_worst, s, fabs(moved_divergence - divergence) / fmax(1.0, fabs(divergence)));
        }
        free(x);
        ref_radial_destroy(radial);
    }
    assert_true(test_report(&velocity_worst, "velocity is equivariant"));
    assert_true(test_report(&divergence_worst, "divergence is invariant"));
}

static void test_forces(void **state) {
    (void)state;
    test_worst worst = TEST_WORST_INIT(1e-7);
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        eqf_potential_options potential = test_model_options(system).potential;
        potential.temperature = 1.7;
        potential.linear = 0.3;
        potential.r_min = 1.05;
        potential.trap_strength = 0.8;
        unsigned num_dof = system->num_particles * system->space_dim;
        double *x = random_configuration(system, 7 + s), force[39];
        ref_potential_energy(&potential, x, force);
        double largest = 0.0;
        for (unsigned n = 0; n < num_dof; ++n) largest = fmax(largest, fabs(force[n]));
        for (unsigned n = 0; n < num_dof; ++n) {
            double value = x[n], step = 1e-5;
            x[n] = value + step;
            double above = ref_potential_energy(&potential, x, NULL);
            x[n] = value - step;
            double below = ref_potential_energy(&potential, x, NULL);
            x[n] = value;
            test_compare(&worst, s, fabs(-(above - below) / (2.0 * step) - force[n]) / largest);
        }
        free(x);
    }
    assert_true(test_report(&worst, "forces against finite differences"));
}

/* The icosahedron has the known Lennard-Jones energy -44.326801 (docs/method.md, section 5): it settles the factor 1/2
 * and the form of the pair energy. */
static void test_lennard_jones_minimum(void **state) {
    (void)state;
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_LENNARD_JONES;
    potential.num_particles = 13;
    potential.space_dim = 3;
    const double golden = 1.618033988749895;
    const double known[3] = {-44.326801, -38.772188, -83.089644}; /* no trap; trap with eps 1; with eps 2 */
    for (unsigned c = 0; c < 3; ++c) {
        potential.epsilon = c == 2 ? 2.0 : 1.0;
        potential.trap_strength = c == 0 ? 0.0 : 1.0;
        double lowest = INFINITY;
        for (double edge = 0.45; edge < 0.55; edge += 1e-5) {
            double x[39] = {0.0};
            for (unsigned i = 0; i < 12; ++i) { /* cyclic permutations of (0, +-1, +-golden) */
                double *at = x + 3 * (i + 1);
                at[(i / 4 + 1) % 3] = (i & 1 ? 1.0 : -1.0) * edge;
                at[(i / 4 + 2) % 3] = (i & 2 ? 1.0 : -1.0) * golden * edge;
            }
            lowest = fmin(lowest, ref_potential_energy(&potential, x, NULL));
        }
        print_message("icosahedron: %.6f, known %.6f\n", lowest, known[c]);
        assert_true(fabs(lowest - known[c]) < 2e-6);
    }
}

/* Orthonormal coordinates y on the mean-free subspace; the prior's integral over them must be 1. */
static void test_prior_is_normalised(void **state) {
    (void)state;
    const double scale = 1.3, step = 0.05, half = 12.0;
    double one = 0.0, plane = 0.0, three = 0.0;
    for (double a = -half; a < half; a += step) {
        double x[2] = {a / sqrt(2.0), -a / sqrt(2.0)};
        one += exp(ref_prior_log_prob(2, 1, scale, x)) * step;
        for (double b = -half; b < half; b += step) {
            double in_plane[4] = {a / sqrt(2.0), b / sqrt(2.0), -a / sqrt(2.0), -b / sqrt(2.0)};
            double on_line[3] = {a / sqrt(2.0) + b / sqrt(6.0), -a / sqrt(2.0) + b / sqrt(6.0), -2.0 * b / sqrt(6.0)};
            plane += exp(ref_prior_log_prob(2, 2, scale, in_plane)) * step * step;
            three += exp(ref_prior_log_prob(3, 1, scale, on_line)) * step * step;
        }
    }
    print_message("prior's integral: N=2 D=1 %.12f, N=2 D=2 %.12f, N=3 D=1 %.12f\n", one, plane, three);
    assert_true(fabs(one - 1.0) < 1e-10 && fabs(plane - 1.0) < 1e-10 && fabs(three - 1.0) < 1e-10);
}

/* dw2: ln Z on the zero-com subspace and the entropy, docs/method.md, section 6. The orthonormal coordinate is
 * r/sqrt(2). */
static void test_double_well_quadrature(void **state) {
    (void)state;
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    const double pi = 3.141592653589793, step = 1e-4;
    const double known_log_z[2] = {7.26039, 9.11439}, known_entropy[2] = {3.38967, 5.23301};
    for (unsigned dimension = 2; dimension <= 3; ++dimension) {
        potential.space_dim = dimension;
        double z = 0.0, mean = 0.0;
        for (double d = 0.5 * step; d < 12.0; d += step) {
            double x[6] = {0.0};
            x[0] = 0.5 * d;
            x[dimension] = -0.5 * d;
            double energy = ref_potential_energy(&potential, x, NULL);
            double shell = dimension == 2 ? 2.0 * pi * d / 2.0 : 4.0 * pi * d * d / pow(2.0, 1.5);
            z += shell * exp(-energy) * step;
            mean += energy * shell * exp(-energy) * step;
        }
        double log_z = log(z), entropy = mean / z + log_z;
        print_message("dw2 in %u-D: ln Z %.6f, mean energy %.6f, entropy %.6f\n", dimension, log_z, mean / z, entropy);
        assert_true(fabs(log_z - known_log_z[dimension - 2]) < 1e-5);
        assert_true(fabs(entropy - known_entropy[dimension - 2]) < 2e-5);
    }
}

static void test_rk4_order(void **state) {
    (void)state;
    const test_system *system = test_system_named("dw4");
    ref_radial *radial = random_field(4, 60);
    double *x = random_configuration(system, 3), z[8], exact_z[8], exact, log_prob_error[2], state_error[2], penalty[2];
    ref_flow flow = {radial, 4, 2, 2560, 1.0};
    exact = ref_log_prob(&flow, x, exact_z);
    for (unsigned i = 0; i < 2; ++i) {
        flow.num_steps = 80u << i;
        log_prob_error[i] = fabs(ref_log_prob(&flow, x, z) - exact);
        state_error[i] = 0.0;
        for (unsigned n = 0; n < 8; ++n) state_error[i] = fmax(state_error[i], fabs(z[n] - exact_z[n]));
        penalty[i] = ref_loss(&flow, 0.1, 1, x).integration_error;
    }
    double order = log2(log_prob_error[0] / log_prob_error[1]), state_order = log2(state_error[0] / state_error[1]);
    double penalty_order = log2(penalty[0] / penalty[1]); /* |k2 - k3| is O(h^2), its square summed O(h^4) */
    print_message("RK4: order %.2f (log_prob), %.2f (state), %.2f (integration error)\n", order, state_order,
                  penalty_order);
    assert_true(fabs(order - 4.0) < 0.25 && fabs(state_order - 4.0) < 0.25 && fabs(penalty_order - 4.0) < 0.25);
    flow.num_steps = 20;
    assert_true(fabs(ref_log_prob_converged(&flow, x, 1e-9) - exact) < 1e-8);
    free(x);
    ref_radial_destroy(radial);
}

/* log_det against the determinant of the numerically differentiated map, and there and back. */
static void test_log_det_is_the_determinant(void **state) {
    (void)state;
    test_worst worst = TEST_WORST_INIT(1e-6), trip = TEST_WORST_INIT(1e-6);
    for (size_t s = 0; s < 4; ++s) {
        const test_system *system = test_systems + s;
        unsigned N = system->num_particles, D = system->space_dim, num_dof = N * D;
        ref_radial *radial = random_field(N, 70 + s);
        ref_flow flow = {radial, N, D, 500, 1.0};
        double *x = random_configuration(system, s), z[15], back[15], jacobian[15][15];
        double log_det = ref_transform(&flow, EQF_DATA_TO_PRIOR, x, z, NULL);
        double log_det_back = ref_transform(&flow, EQF_PRIOR_TO_DATA, z, back, NULL);
        test_compare(&trip, s, fabs(log_det + log_det_back));
        for (unsigned n = 0; n < num_dof; ++n) test_compare(&trip, s, fabs(back[n] - x[n]));
        for (unsigned n = 0; n < num_dof; ++n) {
            double value = x[n], above[15], below[15], step = 1e-5;
            x[n] = value + step;
            ref_transform(&flow, EQF_DATA_TO_PRIOR, x, above, NULL);
            x[n] = value - step;
            ref_transform(&flow, EQF_DATA_TO_PRIOR, x, below, NULL);
            x[n] = value;
            for (unsigned row = 0; row < num_dof; ++row) jacobian[row][n] = (above[row] - below[row]) / (2.0 * step);
        }
        double log_determinant = 0.0; /* Gaussian elimination, largest pivot of the column */
        for (unsigned column = 0; column < num_dof; ++column) {
            unsigned pivot = column;
            for (unsigned row = column; row < num_dof; ++row)
                if (fabs(jacobian[row][column]) > fabs(jacobian[pivot][column])) pivot = row;
            for (unsigned n = 0; n < num_dof; ++n) {
                double held = jacobian[column][n];
                jacobian[column][n] = jacobian[pivot][n];
                jacobian[pivot][n] = held;
            }
            log_determinant += log(fabs(jacobian[column][column]));
            for (unsigned row = column + 1; row < num_dof; ++row) {
                double factor = jacobian[row][column] / jacobian[column][column];
                for (unsigned n = column; n < num_dof; ++n) jacobian[row][n] -= factor * jacobian[column][n];
            }
        }
        test_compare(&worst, s, fabs(log_determinant - log_det));
        free(x);
        ref_radial_destroy(radial);
    }
    assert_true(test_report(&worst, "log_det against log|det dz/dx|"));
    assert_true(test_report(&trip, "data -> prior -> data, 500 steps"));
}

static void test_loss_and_its_differences(void **state) {
    (void)state;
    const test_system *system = test_system_named("line3");
    ref_radial *radial = random_field(3, 80);
    ref_flow flow = {radial, 3, 1, 7, 1.2};
    float *h_x = test_configurations(system, 5, 9);
    double *x = test_to_double(15, h_x), nll = 0.0;
    for (unsigned b = 0; b < 5; ++b) nll -= ref_log_prob(&flow, x + 3 * b, NULL) / 5.0;
    eqf_loss loss = ref_loss(&flow, 0.1, 5, x);
    assert_true(fabs(loss.nll - nll) < 1e-12 && loss.integration_error > 0.0);
    assert_true(fabs(loss.loss - (loss.nll + 0.1 * loss.integration_error)) < 1e-12);
    /* d loss/d x of the whole batch's loss, and translation invariance: it sums to the prior's pull on the mean, 0. */
    double pull = 0.0, step = 1e-4, value = x[4];
    for (unsigned n = 3; n < 6; ++n) pull += ref_loss_by_x(&flow, 0.1, 5, x, n);
    assert_true(fabs(pull) < 1e-6);
    x[4] = value + step;
    double above = ref_loss(&flow, 0.1, 5, x).loss;
    x[4] = value - step;
    double below = ref_loss(&flow, 0.1, 5, x).loss;
    x[4] = value;
    double by_x = ref_loss_by_x(&flow, 0.1, 5, x, 4);
    assert_true(fabs((above - below) / (2.0 * step) - by_x) < 1e-5 * fmax(1.0, fabs(by_x)));
    /* The difference quotient does not depend on the step: the parameter's is checked at another one. */
    double *weight = radial->weights + 123, at = *weight;
    double by_weight = ref_loss_by_param(&flow, 0.1, 5, x, 123);
    *weight = at + 1e-3;
    above = ref_loss(&flow, 0.1, 5, x).loss;
    *weight = at - 1e-3;
    below = ref_loss(&flow, 0.1, 5, x).loss;
    *weight = at;
    print_message("d loss/d W: %.8f at step 1e-5, %.8f at 1e-3\n", by_weight, (above - below) / 2e-3);
    assert_true(fabs((above - below) / 2e-3 - by_weight) < 1e-4 * fmax(1e-2, fabs(by_weight)));
    free(x);
    free(h_x);
    ref_radial_destroy(radial);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phi_by_hand),
        cmocka_unit_test(test_phi_prime),
        cmocka_unit_test(test_velocity_is_the_formula),
        cmocka_unit_test(test_divergence_is_the_trace),
        cmocka_unit_test(test_equivariance),
        cmocka_unit_test(test_forces),
        cmocka_unit_test(test_lennard_jones_minimum),
        cmocka_unit_test(test_prior_is_normalised),
        cmocka_unit_test(test_double_well_quadrature),
        cmocka_unit_test(test_rk4_order),
        cmocka_unit_test(test_log_det_is_the_determinant),
        cmocka_unit_test(test_loss_and_its_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
