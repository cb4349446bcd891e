/* Trajectories, densities and samples of the device against the same scheme in double precision, and the symmetries. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ocl.h" /* the launch budget */
#include "support.h"

static const double tolerance = 1e-4; /* nat, or length */

typedef struct fixture {
    eqf_context *ctx;
    const test_system *system;
    eqf_model *model;
    eqf_flow *flow;
    ref_radial *radial;
    ref_flow reference;
} fixture;

static fixture set_up(const test_system *system, const eqf_model_options *options, eqf_field_evaluation evaluation,
                      unsigned num_steps, uint64_t seed) {
    fixture f = {test_context(), system, NULL, NULL, NULL, {NULL, system->num_particles, system->space_dim, 20, 1.0}};
    f.model = test_trained_like_model(f.ctx, system, options, seed);
    f.radial = ref_radial_from_model(f.model);
    assert_non_null(f.radial);
    f.reference.radial = f.radial;
    f.reference.prior_scale = eqf_model_options_of(f.model)->prior_scale;
    if (num_steps) f.reference.num_steps = num_steps;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = evaluation;
    flow_options.num_steps = num_steps;
    TEST_OK(f.ctx, eqf_flow_create(f.ctx, f.model, &flow_options, &f.flow));
    return f;
}

static void tear_down(fixture *f) {
    ref_radial_destroy(f->radial);
    eqf_flow_destroy(&f->flow);
    eqf_model_destroy(&f->model);
}

static const char *name_of(eqf_field_evaluation evaluation) {
    return evaluation == EQF_FIELD_TABLE ? "table" : "direct";
}

/* log_prob of many configurations within 1e-4 nat of the same 20 steps in double for 99.9 % of them. */
static void test_log_prob_precision(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        size_t num_dof = (size_t)system->num_particles * system->space_dim;
        size_t batch_size = system->num_particles > 8 ? 500 : system->num_particles > 4 ? 2000 : 5000;
        float *x = test_configurations(system, batch_size, 1000 + s);
        double *h_x = test_to_double(batch_size * num_dof, x), *expected = calloc(batch_size, sizeof *expected);
        double *h_z = calloc(batch_size * num_dof, sizeof *h_z);
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 0, 1100 + s);
            if (evaluation == EQF_FIELD_TABLE)
                for (size_t b = 0; b < batch_size; ++b)
                    expected[b] = ref_log_prob(&f.reference, h_x + b * num_dof, h_z + b * num_dof);
            float *log_prob = test_output(batch_size), *z = test_output(batch_size * num_dof);
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, batch_size, x, log_prob, z));
            test_worst worst = TEST_WORST_INIT(tolerance), latent_worst = TEST_WORST_INIT(tolerance);
            for (size_t b = 0; b < batch_size; ++b) {
                double latent_error = 0.0;
                test_compare(&worst, b, fabs(log_prob[b] - expected[b]));
                for (size_t n = b * num_dof; n < (b + 1) * num_dof; ++n)
                    latent_error = fmax(latent_error, fabs(z[n] - h_z[n]));
                test_compare(&latent_worst, b, latent_error);
            }
            const char *name = name_of((eqf_field_evaluation)evaluation);
            test_report(&worst, "%s %s log_prob", system->name, name);
            test_report(&latent_worst, "%s %s latent", system->name, name);
            is_good &= worst.num_above * 1000 <= batch_size && latent_worst.num_above * 1000 <= batch_size;
            tear_down(&f);
            free(log_prob);
            free(z);
        }
        free(x);
        free(h_x);
        free(h_z);
        free(expected);
    }
    assert_true(is_good);
}

/* Both directions at every batch size, with another number of steps than the model's. */
static void test_transform(void **state) {
    (void)state;
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        size_t num_dof = (size_t)system->num_particles * system->space_dim;
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 7, 1200 + s);
            test_worst worst = TEST_WORST_INIT(tolerance), log_det_worst = TEST_WORST_INIT(tolerance);
            for (size_t i = 0; i < num_test_batch_sizes; ++i) {
                size_t batch_size = test_batch_sizes[i];
                float *x = test_configurations(system, batch_size, 30 * s + i);
                double *h_x = test_to_double(batch_size * num_dof, x), *out = calloc(num_dof, sizeof *out);
                for (unsigned direction = EQF_PRIOR_TO_DATA; direction <= EQF_DATA_TO_PRIOR; ++direction) {
                    float *moved = test_output(batch_size * num_dof), *log_det = test_output(batch_size);
                    TEST_OK(f.ctx, eqf_flow_transform(f.flow, (eqf_direction)direction, batch_size, x, moved, log_det));
                    test_output_end(batch_size * num_dof, moved);
                    test_output_end(batch_size, log_det);
                    for (size_t b = 0; b < batch_size; ++b) {
                        double expected =
                            ref_transform(&f.reference, (eqf_direction)direction, h_x + b * num_dof, out, NULL);
                        test_compare(&log_det_worst, b, fabs(log_det[b] - expected));
                        for (size_t n = 0; n < num_dof; ++n)
                            test_compare(&worst, b, fabs(moved[b * num_dof + n] - out[n]));
                    }
                    free(moved);
                    free(log_det);
                }
                free(x);
                free(h_x);
                free(out);
            }
            const char *name = name_of((eqf_field_evaluation)evaluation);
            is_good &= test_report(&worst, "%s %s transform, 7 steps", system->name, name);
            is_good &= test_report(&log_det_worst, "%s %s log_det, 7 steps", system->name, name);
            tear_down(&f);
        }
    }
    assert_true(is_good);
}

/* prior -> data -> prior. RK4 is not its own inverse and x is rounded to float between: the double-precision trip says
 * how much of the error is truncation, and each leg's log_det is held against the reference from the same floats. */
static void test_round_trip(void **state) {
    (void)state;
    enum { BATCH = 100 };
    bool is_good = true;
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        size_t num_dof = (size_t)system->num_particles * system->space_dim;
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 80, 1300 + s);
            float *z = test_output(BATCH * num_dof), *x = test_output(BATCH * num_dof),
                  *back = test_output(BATCH * num_dof), *log_det = test_output(BATCH),
                  *log_det_back = test_output(BATCH);
            TEST_OK(f.ctx, eqf_flow_prior_sample(f.flow, 5, 0, BATCH, z));
            TEST_OK(f.ctx, eqf_flow_transform(f.flow, EQF_PRIOR_TO_DATA, BATCH, z, x, log_det));
            TEST_OK(f.ctx, eqf_flow_transform(f.flow, EQF_DATA_TO_PRIOR, BATCH, x, back, log_det_back));
            test_worst worst = TEST_WORST_INIT(tolerance), density_worst = TEST_WORST_INIT(tolerance);
            double truncation = 0.0, *there = calloc(num_dof, sizeof *there);
            for (size_t b = 0; b < BATCH; ++b) {
                double error = 0.0, *h_z = test_to_double(num_dof, z + b * num_dof);
                double *h_x = test_to_double(num_dof, x + b * num_dof);
                double expected = ref_transform(&f.reference, EQF_PRIOR_TO_DATA, h_z, there, NULL);
                ref_transform(&f.reference, EQF_DATA_TO_PRIOR, there, there, NULL);
                for (size_t n = 0; n < num_dof; ++n) {
                    error = fmax(error, fabs(back[b * num_dof + n] - z[b * num_dof + n]));
                    truncation = fmax(truncation, fabs(there[n] - h_z[n]));
                }
                double expected_back = ref_transform(&f.reference, EQF_DATA_TO_PRIOR, h_x, there, NULL);
                test_compare(&worst, b, error);
                test_compare(&density_worst, b, fabs(log_det[b] - expected));
                test_compare(&density_worst, b, fabs(log_det_back[b] - expected_back));
                free(h_z);
                free(h_x);
            }
            const char *name = name_of((eqf_field_evaluation)evaluation);
            print_message("%s: in double precision %.3g\n", system->name, truncation);
            eqf_round_trip measured;
            TEST_OK(f.ctx, eqf_flow_round_trip(f.flow, 5, BATCH, &measured));
            assert_true(fabs(measured.coordinate / worst.error - 1.0) < 1e-3);
            /* What a user sees of it: sample's own log-densities and log-prob's of the same configurations. */
            float *log_prob = test_output(BATCH), *log_prob_back = test_output(BATCH);
            double largest = 0.0;
            TEST_OK(f.ctx, eqf_flow_sample(f.flow, 5, 0, BATCH, x, log_prob));
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, BATCH, x, log_prob_back, NULL));
            for (size_t b = 0; b < BATCH; ++b)
                largest = fmax(largest, fabs((double)log_prob[b] - (double)log_prob_back[b]));
            print_message("log-densities there and back differ by %.3g, measured %.3g\n", largest, measured.log_prob);
            assert_true(fabs(largest - measured.log_prob) < 1e-4 + 1e-2 * largest);
            free(log_prob);
            free(log_prob_back);
            is_good &= test_report(&worst, "%s %s round trip, 80 steps", system->name, name);
            /* This field stretches some configurations a hundredfold and more, which no trained one does: rounding of x
             * alone is then beyond 1e-4 in a few of them. */
            test_report(&density_worst, "%s %s log_det of both legs", system->name, name);
            is_good &= density_worst.num_above * 100 <= density_worst.num_compared;
            tear_down(&f);
            free(z);
            free(x);
            free(back);
            free(there);
            free(log_det);
            free(log_det_back);
        }
    }
    assert_true(is_good);
}

/* log_prob under random rotations, reflections, translations (centred again) and permutations. */
/* The fewest steps that keep both tolerances, whatever they are; the most and their errors where none do. */
static void test_choose_steps(void **state) {
    (void)state;
    enum { COUNT = 100 };
    fixture f = set_up(test_systems, NULL, EQF_FIELD_TABLE, 5, 77);
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    eqf_round_trip errors[3], error;
    unsigned num_steps;
    for (unsigned i = 0; i < 3; ++i) {
        eqf_flow *flow;
        options.num_steps = 5u << i;
        TEST_OK(f.ctx, eqf_flow_create(f.ctx, f.model, &options, &flow));
        TEST_OK(f.ctx, eqf_flow_round_trip(flow, 9, COUNT, &errors[i]));
        eqf_flow_destroy(&flow);
        print_message("round trip of %u steps: %.2e, log-density %.2e\n", options.num_steps, errors[i].coordinate,
                      errors[i].log_prob);
    }
    assert_true(errors[0].coordinate > 4 * errors[1].coordinate && errors[1].coordinate > 4 * errors[2].coordinate &&
                errors[2].coordinate > 0);
    assert_true(errors[0].log_prob > 4 * errors[1].log_prob && errors[1].log_prob > 4 * errors[2].log_prob &&
                errors[2].log_prob > 0);
    options.num_steps = 5;
    const struct {
        double coordinate, log_prob; /* allowed */
        unsigned expected;
    } cases[] = {
        {errors[0].coordinate, 1, 0},
        {0.99 * errors[0].coordinate, 1, 1},
        {errors[1].coordinate, 1, 1},
        {0.99 * errors[1].coordinate, 1, 2},
        {errors[2].coordinate, 1, 2},
        {0.99 * errors[2].coordinate, 1, 2},
        {1, errors[0].log_prob, 0},
        {1, 0.99 * errors[0].log_prob, 1},
        {1, errors[1].log_prob, 1},
        {1, 0.99 * errors[1].log_prob, 2},
        {errors[2].coordinate, errors[0].log_prob, 2},
        {errors[0].coordinate, errors[1].log_prob, 1},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const eqf_round_trip allowed = {cases[i].coordinate, cases[i].log_prob};
        TEST_OK(f.ctx, eqf_flow_choose_steps(f.ctx, f.model, &options, 9, COUNT, &allowed, &num_steps, &error));
        assert_int_equal(num_steps, 5u << cases[i].expected);
        assert_true(error.coordinate == errors[cases[i].expected].coordinate &&
                    error.log_prob == errors[cases[i].expected].log_prob);
    }
    /* Rounding is not paid for: what four times the steps bring no closer stays at the fewest. */
    options.num_steps = 320;
    const eqf_round_trip unreachable = {1e-3, 1e-30};
    TEST_OK(f.ctx, eqf_flow_choose_steps(f.ctx, f.model, &options, 9, COUNT, &unreachable, &num_steps, &error));
    assert_int_equal(num_steps, 320);
    TEST_OK(f.ctx, eqf_model_set_num_steps(f.ctx, f.model, 5));
    TEST_OK(f.ctx, eqf_flow_choose_steps(f.ctx, f.model, NULL, 9, COUNT, &errors[1], &num_steps, &error));
    assert_int_equal(num_steps, 10);
    assert_int_equal(eqf_model_set_num_steps(f.ctx, f.model, 0), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_model_options_of(f.model)->integrator.num_steps, 5);
    tear_down(&f);
}

static void test_invariance(void **state) {
    (void)state;
    enum { BATCH = 300 };
    bool is_good = true;
    const char *const names[] = {"dw4", "lj13"};
    for (size_t s = 0; s < 2; ++s)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const test_system *system = test_system_named(names[s]);
            unsigned N = system->num_particles, D = system->space_dim, num_dof = N * D;
            fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 0, 1400 + s);
            float *x = test_configurations(system, BATCH, 40 + s), *moved = test_floats(BATCH * num_dof),
                  *log_prob = test_output(BATCH), *moved_log_prob = test_output(BATCH);
            test_rng rng = {s};
            for (size_t b = 0; b < BATCH; ++b) {
                double matrix[9], one[39], offset[3];
                unsigned order[13];
                test_orthogonal(&rng, D, b % 2, matrix);
                for (unsigned d = 0; d < D; ++d) offset[d] = 3.0 * test_normal(&rng);
                for (unsigned i = 0; i < N; ++i) { /* Fisher-Yates, inside out */
                    size_t j = test_below(&rng, i + 1);
                    order[i] = order[j];
                    order[j] = i;
                }
                for (unsigned i = 0; i < N; ++i)
                    for (unsigned d = 0; d < D; ++d) {
                        one[order[i] * D + d] = offset[d];
                        for (unsigned e = 0; e < D; ++e)
                            one[order[i] * D + d] += matrix[d * D + e] * x[b * num_dof + i * D + e];
                    }
                test_center(N, D, one);
                for (unsigned n = 0; n < num_dof; ++n) moved[b * num_dof + n] = (float)one[n];
            }
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, BATCH, x, log_prob, NULL));
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, BATCH, moved, moved_log_prob, NULL));
            test_worst worst = TEST_WORST_INIT(tolerance);
            for (size_t b = 0; b < BATCH; ++b) test_compare(&worst, b, fabs(log_prob[b] - moved_log_prob[b]));
            is_good &= test_report(&worst, "%s %s invariance of log_prob", system->name,
                                   name_of((eqf_field_evaluation)evaluation));
            tear_down(&f);
            free(x);
            free(moved);
            free(log_prob);
            free(moved_log_prob);
        }
    assert_true(is_good);
}

/* A sample does not know which call drew it; its log-density is the one that log_prob finds. */
static void test_samples(void **state) {
    (void)state;
    enum { COUNT = 101 };
    bool is_good = true;
    const char *const names[] = {"dw4", "lj13"};
    for (size_t s = 0; s < 2; ++s)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            const test_system *system = test_system_named(names[s]);
            size_t num_dof = (size_t)system->num_particles * system->space_dim;
            eqf_model_options options = test_model_options(system);
            options.prior_scale = 1.3;
            fixture f = set_up(system, &options, (eqf_field_evaluation)evaluation, 80, 1500 + s);
            float *x = test_output(COUNT * num_dof), *log_prob = test_output(COUNT),
                  *cut = test_output(COUNT * num_dof), *cut_log_prob = test_output(COUNT),
                  *z = test_output(COUNT * num_dof);
            uint64_t first = (1ull << 32) - 50; /* across the end of 32 bits */
            TEST_OK(f.ctx, eqf_flow_sample(f.flow, 42, first, COUNT, x, log_prob));
            test_output_end(COUNT * num_dof, x);
            test_output_end(COUNT, log_prob);
            const size_t ends[] = {0, 1, 10, 10, 60, COUNT};
            for (unsigned c = 0; c < 5; ++c)
                TEST_OK(f.ctx, eqf_flow_sample(f.flow, 42, first + ends[c], ends[c + 1] - ends[c],
                                               cut + ends[c] * num_dof, cut_log_prob + ends[c]));
            assert_memory_equal(x, cut, COUNT * num_dof * sizeof *x);
            assert_memory_equal(log_prob, cut_log_prob, COUNT * sizeof *log_prob);
            TEST_OK(f.ctx, eqf_flow_sample(f.flow, 42, first, COUNT, cut, NULL)); /* without densities */
            assert_memory_equal(x, cut, COUNT * num_dof * sizeof *x);
            TEST_OK(f.ctx, eqf_flow_sample(f.flow, 43, first, COUNT, cut, NULL));
            TEST_OK(f.ctx, eqf_flow_prior_sample(f.flow, 42, first, COUNT, z));
            /* Every sample is new: over the two seeds and within each. */
            for (size_t a = 0; a < COUNT; ++a)
                for (size_t b = 0; b < COUNT; ++b) {
                    assert_true(x[a * num_dof] != cut[b * num_dof]);
                    assert_true(a == b || x[a * num_dof] != x[b * num_dof]);
                }
            test_worst state_worst = TEST_WORST_INIT(tolerance), density_worst = TEST_WORST_INIT(tolerance),
                       exact_worst = TEST_WORST_INIT(1e-3);
            double *there = calloc(num_dof, sizeof *there);
            for (size_t b = 0; b < COUNT; ++b) {
                double *h_z = test_to_double(num_dof, z + b * num_dof), *h_x = test_to_double(num_dof, x + b * num_dof);
                double prior = ref_prior_log_prob(system->num_particles, system->space_dim, 1.3, h_z);
                double expected = prior - ref_transform(&f.reference, EQF_PRIOR_TO_DATA, h_z, there, NULL);
                test_compare(&density_worst, b, fabs(log_prob[b] - expected));
                for (size_t n = 0; n < num_dof; ++n) test_compare(&state_worst, b, fabs(h_x[n] - there[n]));
                if (b < 20)
                    test_compare(&exact_worst, b, fabs(log_prob[b] - ref_log_prob_converged(&f.reference, h_x, 1e-5)));
                free(h_z);
                free(h_x);
            }
            free(there);
            const char *name = name_of((eqf_field_evaluation)evaluation);
            is_good &= test_report(&state_worst, "%s %s sample = transform(prior)", system->name, name);
            is_good &= test_report(&density_worst, "%s %s its log_prob, same scheme", system->name, name);
            is_good &= test_report(&exact_worst, "%s %s its log_prob, continuous", system->name, name);
            tear_down(&f);
            free(x);
            free(log_prob);
            free(cut);
            free(cut_log_prob);
            free(z);
        }
    assert_true(is_good);
}

static void test_prior(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    const test_system *system = test_system_named("line3");
    eqf_model_options options = test_model_options(system);
    options.potential.num_particles = 5;
    options.potential.space_dim = 3;
    options.prior_scale = 1.7;
    fixture f = set_up(test_system_named("dw5"), &options, EQF_FIELD_DIRECT, 0, 1600);
    float *z = test_output(COUNT * 15), *log_prob = test_output(COUNT);
    TEST_OK(f.ctx, eqf_flow_prior_sample(f.flow, 7, 0, COUNT, z));
    TEST_OK(f.ctx, eqf_flow_prior_log_prob(f.flow, COUNT, z, log_prob));
    test_output_end(COUNT * 15, z);
    test_output_end(COUNT, log_prob);
    double mean[15] = {0.0}, covariance[15][15] = {{0.0}}, fourth[15] = {0.0}, largest_com = 0.0;
    test_worst worst = TEST_WORST_INIT(tolerance);
    for (size_t b = 0; b < COUNT; ++b) {
        const float *one = z + 15 * b;
        double h_z[15];
        for (unsigned n = 0; n < 15; ++n) {
            h_z[n] = one[n];
            mean[n] += h_z[n] / COUNT;
            fourth[n] += pow(h_z[n], 4.0) / COUNT;
            for (unsigned m = 0; m < 15; ++m) covariance[n][m] += (double)one[n] * one[m] / COUNT;
        }
        for (unsigned d = 0; d < 3; ++d)
            largest_com = fmax(largest_com, fabs(h_z[d] + h_z[3 + d] + h_z[6 + d] + h_z[9 + d] + h_z[12 + d]) / 5.0);
        test_compare(&worst, b, fabs(log_prob[b] - ref_prior_log_prob(5, 3, 1.7, h_z)));
    }
    /* Covariance of a Gaussian projected on the mean-free subspace: s^2 (delta_ij - 1/N) delta_de. Allowed: 5 standard
     * errors of COUNT samples, sd of a product of two normals at most s^2 sqrt(2). */
    double unit = 1.7 * 1.7, error = unit * sqrt(2.0 / COUNT);
    test_worst mean_worst = TEST_WORST_INIT(5.0), covariance_worst = TEST_WORST_INIT(5.0),
               fourth_worst = TEST_WORST_INIT(5.0);
    for (unsigned n = 0; n < 15; ++n) {
        test_compare(&mean_worst, n, fabs(mean[n]) / sqrt(unit * 0.8 / COUNT));
        /* E z^4 = 3 v^2, var z^4 = 96 v^4 */
        test_compare(&fourth_worst, n,
                     fabs(fourth[n] - 3.0 * pow(0.8 * unit, 2.0)) / (pow(0.8 * unit, 2.0) * sqrt(96.0 / COUNT)));
        for (unsigned m = 0; m < 15; ++m) {
            double expected = n % 3 == m % 3 ? unit * ((n == m) - 0.2) : 0.0;
            test_compare(&covariance_worst, 15 * n + m, fabs(covariance[n][m] - expected) / error);
        }
    }
    print_message("prior: largest centre of mass %.3g\n", largest_com);
    bool is_good = largest_com < 1e-6;
    is_good &= test_report(&worst, "prior log_prob");
    is_good &= test_report(&mean_worst, "prior mean, standard errors");
    is_good &= test_report(&covariance_worst, "prior covariance, standard errors");
    is_good &= test_report(&fourth_worst, "prior fourth moment, standard errors");
    tear_down(&f);
    free(z);
    free(log_prob);
    assert_true(is_good);
}

static void test_edges(void **state) {
    (void)state;
    for (size_t s = 1; s < num_test_systems; ++s)
        for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
            fixture f = set_up(test_systems + s, NULL, (eqf_field_evaluation)evaluation, 0, 1700 + s);
            unsigned D = f.system->space_dim, num_dof = f.system->num_particles * D;
            float *x = test_configurations(f.system, 9, 90 + s);
            float *log_prob = test_output(9), *z = test_output(9 * num_dof);
            float *edge_log_prob = test_output(9), *edge_z = test_output(9 * num_dof);
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, log_prob, z));
            memcpy(x + num_dof, x + num_dof + D, D * sizeof *x); /* sample 1: particles 0 and 1 coincide */
            x[3 * num_dof] = 1e4f;                               /* sample 3: particle 0 far away */
            test_center_floats(f.system->num_particles, D, x + num_dof);
            test_center_floats(f.system->num_particles, D, x + 3 * num_dof);
            x[5 * num_dof + 1] = NAN;
            x[6 * num_dof + 2] = -INFINITY;
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, edge_log_prob, edge_z));
            assert_false(isfinite(edge_log_prob[5]));
            assert_false(isfinite(edge_log_prob[6]));
            const unsigned others[] = {0, 2, 4, 7, 8};
            for (unsigned o = 0; o < 5; ++o) {
                assert_memory_equal(log_prob + others[o], edge_log_prob + others[o], sizeof *log_prob);
                assert_memory_equal(z + num_dof * others[o], edge_z + num_dof * others[o], num_dof * sizeof *z);
            }
            double *h_x = test_to_double(9 * num_dof, x);
            double contact = ref_log_prob(&f.reference, h_x + num_dof, NULL);
            double far = ref_log_prob(&f.reference, h_x + 3 * num_dof, NULL);
            print_message("%s %s: contact %.3g off; far away %.3g of %.3g off\n", f.system->name,
                          name_of((eqf_field_evaluation)evaluation), fabs(edge_log_prob[1] - contact),
                          fabs(edge_log_prob[3] - far), far);
            assert_true(fabs(edge_log_prob[1] - contact) <= tolerance);
            assert_true(fabs(edge_log_prob[3] - far) <= 2e-5 * fabs(far)); /* |z|^2 is 1e8: float's own precision */
            tear_down(&f);
            free(x);
            free(h_x);
            free(log_prob);
            free(z);
            free(edge_log_prob);
            free(edge_z);
        }
}

static void test_set_params(void **state) {
    (void)state;
    const test_system *system = test_system_named("dw4");
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 0, 1800);
        fixture other = set_up(system, NULL, (eqf_field_evaluation)evaluation, 0, 1801);
        float *x = test_configurations(system, 9, 4), *first = test_output(9), *second = test_output(9),
              *changed = test_output(9);
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, first, NULL));
        TEST_OK(f.ctx, eqf_flow_log_prob(other.flow, 9, x, second, NULL));
        TEST_OK(f.ctx, eqf_flow_set_params(f.flow, eqf_model_params(other.model)));
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, changed, NULL));
        assert_memory_equal(second, changed, 9 * sizeof *changed);
        TEST_OK(f.ctx, eqf_flow_set_params(f.flow, eqf_model_params(f.model)));
        TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, changed, NULL));
        assert_memory_equal(first, changed, 9 * sizeof *changed);
        assert_memory_not_equal(first, second, 9 * sizeof *changed);
        tear_down(&f);
        tear_down(&other);
        free(x);
        free(first);
        free(second);
        free(changed);
    }
}

/* However few steps a launch may take, the bits are the same: only where the trajectory pauses changes. */
static void test_launch_budget(void **state) {
    (void)state;
    const test_system *system = test_system_named("dw4");
    for (unsigned evaluation = EQF_FIELD_TABLE; evaluation <= EQF_FIELD_DIRECT; ++evaluation) {
        fixture f = set_up(system, NULL, (eqf_field_evaluation)evaluation, 0, 1900);
        eqf__device *device;
        TEST_OK(f.ctx, eqf__device_get(f.ctx, &device));
        uint64_t budget = device->launch_iterations;
        size_t num_trained = eqf_model_num_trained(f.model);
        float *x = test_configurations(system, 9, 6), *log_prob = test_output(9), *cut_log_prob = test_output(9),
              *sample = test_output(72), *cut_sample = test_output(72), *gradient = test_output(num_trained),
              *cut_gradient = test_output(num_trained);
        eqf_loss loss = EQF_LOSS_INIT, cut_loss = EQF_LOSS_INIT;
        const uint64_t budgets[] = {0, 1, 1000, 20000};
        for (unsigned i = 0; i < 4; ++i) {
            device->launch_iterations = budgets[i];
            TEST_OK(f.ctx, eqf_flow_log_prob(f.flow, 9, x, i ? cut_log_prob : log_prob, NULL));
            TEST_OK(f.ctx, eqf_flow_sample(f.flow, 1, 0, 9, i ? cut_sample : sample, NULL));
            TEST_OK(f.ctx,
                    eqf_flow_nll_gradient(f.flow, 0.1, 9, x, i ? &cut_loss : &loss, i ? cut_gradient : gradient, NULL));
            if (!i) continue;
            assert_memory_equal(log_prob, cut_log_prob, 9 * sizeof *log_prob);
            assert_memory_equal(sample, cut_sample, 72 * sizeof *sample);
            assert_memory_equal(gradient, cut_gradient, num_trained * sizeof *gradient);
            assert_true(loss.loss == cut_loss.loss && loss.integration_error == cut_loss.integration_error);
        }
        device->launch_iterations = budget;
        tear_down(&f);
        free(x);
        free(log_prob);
        free(cut_log_prob);
        free(sample);
        free(cut_sample);
        free(gradient);
        free(cut_gradient);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_prob_precision),
        cmocka_unit_test(test_transform),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_choose_steps),
        cmocka_unit_test(test_invariance),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_prior),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_set_params),
        cmocka_unit_test(test_launch_budget),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
