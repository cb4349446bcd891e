/* Pairs for flow matching, on the host: assignments against all permutations, alignments against all copies and against
 * what they must not depend on, the same pairs whatever the number of threads, and the known distance of Lennard-Jones
 * clusters. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alignment.h"
#include "assignment.h"
#include "host_reference.h"
#include "pairing.h"
#include "support.h"

/* ---- Assignment -------------------------------------------------------------------------------------------------- */

/* The least total cost of rows from `row` on with the columns that are still free. */
static double least_cost(unsigned n, const double *cost, unsigned row, unsigned taken) {
    if (row == n) return 0;
    double least = INFINITY;
    for (unsigned j = 0; j < n; ++j)
        if (!(taken >> j & 1)) least = fmin(least, cost[row * n + j] + least_cost(n, cost, row + 1, taken | 1u << j));
    return least;
}

static double total_of(unsigned n, const double *cost, const unsigned *columns) {
    bool *is_used = calloc(n, sizeof *is_used);
    double total = 0;
    for (unsigned i = 0; i < n; ++i) {
        assert_true(columns[i] < n && !is_used[columns[i]]);
        is_used[columns[i]] = true;
        total += cost[i * n + columns[i]];
    }
    free(is_used);
    return total;
}

static void test_assignment_is_optimal(void **state) {
    (void)state;
    double cost[36], doubles[EQF__ASSIGNMENT_DOUBLES(6)];
    unsigned indices[EQF__ASSIGNMENT_INDICES(6)], columns[6], counter = 0;
    for (unsigned n = 1; n <= 6; ++n)
        for (unsigned round = 0; round < 200; ++round) {
            /* odd ones with small whole numbers, so that many assignments are equally good; a third below zero */
            for (unsigned k = 0; k < n * n; ++k) {
                const double number = eqf__host_number(counter++, 1);
                cost[k] = round % 2 ? floor(4 * number) : 10 * number;
            }
            eqf__assign(n, cost, doubles, indices, columns);
            assert_true(fabs(total_of(n, cost, columns) - least_cost(n, cost, 0, 0)) <= 1e-9);
        }
}

/* A larger one: prices prove it. No exchange of two or rotation of three rows' columns pays; and it is no dearer than
 * the diagonal that was hidden in it. */
static void test_assignment_of_many(void **state) {
    (void)state;
    enum { N = 64 };
    double *cost = calloc(N * N, sizeof *cost), doubles[EQF__ASSIGNMENT_DOUBLES(N)], hidden = 0;
    unsigned indices[EQF__ASSIGNMENT_INDICES(N)], columns[N];
    for (unsigned k = 0; k < N * N; ++k) cost[k] = 1 + eqf__host_number(k, 2);
    for (unsigned i = 0; i < N; ++i) cost[i * N + (7 * i + 3) % N] *= 1e-3;
    for (unsigned i = 0; i < N; ++i) hidden += cost[i * N + (7 * i + 3) % N];
    eqf__assign(N, cost, doubles, indices, columns);
    const double total = total_of(N, cost, columns);
    assert_true(total <= hidden + 1e-12);
    for (unsigned i = 0; i < N; ++i)
        for (unsigned j = 0; j < i; ++j)
            assert_true(cost[i * N + columns[i]] + cost[j * N + columns[j]] <=
                        cost[i * N + columns[j]] + cost[j * N + columns[i]] + 1e-12);
    free(cost);
}

/* ---- Alignment --------------------------------------------------------------------------------------------------- */

static void random_configuration(unsigned num_particles, unsigned space_dim, uint64_t sample, double *x) {
    eqf__host_normals(num_particles, space_dim, 1.0, 77, sample, EQF__STREAM_PRIOR, x);
}

static double squared_distance(unsigned count, const double *a, const double *b) {
    double square = 0;
    for (unsigned c = 0; c < count; ++c) square += (a[c] - b[c]) * (a[c] - b[c]);
    return square;
}

/* The best map beats many random ones, is orthogonal, and finds a map that is there; flat configurations, whose third
 * singular value vanishes, too. */
static void test_orthogonal_map(void **state) {
    (void)state;
    for (unsigned dim = 1; dim <= 3; ++dim)
        for (unsigned n = 2; n <= 6; ++n)
            for (unsigned round = 0; round < 20; ++round) {
                double z[6 * 3 + 4], x[6 * 3 + 4], turned[18], q[9];
                random_configuration(n, dim, 2 * round, z);
                random_configuration(n, dim, 2 * round + 1, x);
                for (unsigned i = 0; round % 3 == 1 && i < n; ++i) x[i * dim + dim - 1] = dim > 1 ? 0 : x[i];
                const double overlap = eqf__best_orthogonal(n, dim, z, x, q);
                for (unsigned a = 0; a < dim; ++a)
                    for (unsigned b = 0; b < dim; ++b) {
                        double product = 0;
                        for (unsigned c = 0; c < dim; ++c) product += q[a * dim + c] * q[b * dim + c];
                        assert_true(fabs(product - (a == b)) <= 1e-9);
                    }
                double check = 0;
                for (unsigned i = 0; i < n; ++i)
                    for (unsigned a = 0; a < dim; ++a)
                        for (unsigned b = 0; b < dim; ++b) check += z[i * dim + a] * q[a * dim + b] * x[i * dim + b];
                assert_true(fabs(check - overlap) <= 1e-9 * (1 + fabs(overlap)));
                for (unsigned other = 0; other < 50; ++other) { /* of one particle more, so that labels stay */
                    double unit[9] = {0}, tried = 0;
                    for (unsigned a = 0; a < dim; ++a) unit[a * dim + a] = 1;
                    /* rows of the unit matrix as three particles: their images are the map's columns, their labels do
                     * not matter */
                    eqf__host_augment(dim, 0, dim, 5, other, unit);
                    for (unsigned i = 0; i < n; ++i)
                        for (unsigned a = 0; a < dim; ++a)
                            for (unsigned b = 0; b < dim; ++b)
                                tried += z[i * dim + a] * unit[b * dim + a] * x[i * dim + b];
                    assert_true(tried <= overlap + 1e-9);
                }
                memcpy(turned, x, sizeof(double) * n * dim);
                /* z itself as the turned x: distance 0 */
                for (unsigned i = 0; i < n; ++i)
                    for (unsigned a = 0; a < dim; ++a) {
                        turned[i * dim + a] = 0;
                        for (unsigned b = 0; b < dim; ++b) turned[i * dim + a] += q[a * dim + b] * x[i * dim + b];
                    }
                double back[9], square = 0;
                for (unsigned c = 0; c < n * dim; ++c) square += x[c] * x[c];
                assert_true(fabs(eqf__best_orthogonal(n, dim, turned, x, back) - square) <= 1e-9 * (1 + square));
            }
}

/* All permutations: the distance by brute force over them, each with its best map. */
static double brute_distance(unsigned n, unsigned dim, const double *z, const double *x, unsigned row, unsigned taken,
                             double *kept) {
    if (row == n) {
        double q[9], square = 0;
        for (unsigned c = 0; c < n * dim; ++c) square += z[c] * z[c] + kept[c] * kept[c];
        return square - 2 * eqf__best_orthogonal(n, dim, z, kept, q);
    }
    double least = INFINITY;
    for (unsigned j = 0; j < n; ++j) {
        if (taken >> j & 1) continue;
        memcpy(kept + row * dim, x + j * dim, sizeof(double) * dim);
        least = fmin(least, brute_distance(n, dim, z, x, row + 1, taken | 1u << j, kept));
    }
    return least;
}

static void test_few_particles_exactly(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    for (unsigned dim = 1; dim <= 3; ++dim)
        for (unsigned n = 2; n <= 4; ++n) {
            eqf__alignment *alignment;
            TEST_OK(ctx, eqf__alignment_create(ctx, n, 0, dim, &alignment));
            for (unsigned round = 0; round < 30; ++round) {
                double z[16], x[16], kept[12];
                random_configuration(n, dim, 100 + 2 * round, z);
                random_configuration(n, dim, 101 + 2 * round, x);
                const double expected = brute_distance(n, dim, z, x, 0, 0, kept);
                const double distance = eqf__aligned_distance(alignment, z, x);
                assert_true(fabs(distance - expected) <= 1e-9 * (1 + expected));
                const double before = squared_distance(n * dim, z, x);
                const double aligned = eqf__align(alignment, z, 1, 3, round, x);
                assert_true(fabs(aligned - expected) <= 1e-9 * (1 + expected) && aligned <= before + 1e-9);
                assert_true(fabs(squared_distance(n * dim, z, x) - aligned) <= 1e-9);
                /* a copy is as near as the original */
                eqf__host_augment(n, 0, dim, 9, round, x);
                assert_true(fabs(eqf__aligned_distance(alignment, z, x) - expected) <= 1e-9 * (1 + expected));
            }
            eqf__alignment_destroy(&alignment);
        }
}

/* More particles: what comes out is a copy of what went in (same distances between particles, sorted), nearer than
 * before; a copy of z itself is found; more starts are no worse on average, and six particles come near the brute-force
 * optimum. */
static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sorted_distances(unsigned n, unsigned dim, const double *x, double *out) {
    unsigned count = 0;
    for (unsigned i = 0; i < n; ++i)
        for (unsigned j = 0; j < i; ++j) out[count++] = sqrt(squared_distance(dim, x + i * dim, x + j * dim));
    qsort(out, count, sizeof *out, by_value);
}

static void test_many_particles(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { N = 13, D = 3, DOF = N * D, PAIRS = N * (N - 1) / 2, NUM = 40 };
    eqf__alignment *alignment;
    TEST_OK(ctx, eqf__alignment_create(ctx, N, 0, D, &alignment));
    double sum[3] = {0};
    const unsigned starts[3] = {1, 4, 16};
    for (unsigned round = 0; round < NUM; ++round) {
        double z[DOF + 4], x[DOF + 4], before[PAIRS], after[PAIRS];
        random_configuration(N, D, 1000 + round, z);
        for (unsigned s = 0; s < 3; ++s) {
            random_configuration(N, D, 2000 + round, x);
            sorted_distances(N, D, x, before);
            const double distance = eqf__align(alignment, z, starts[s], 4, 16 * round, x);
            sorted_distances(N, D, x, after);
            for (unsigned p = 0; p < PAIRS; ++p) assert_true(fabs(before[p] - after[p]) <= 1e-9);
            assert_true(fabs(squared_distance(DOF, z, x) - distance) <= 1e-9);
            sum[s] += distance / NUM;
        }
        memcpy(x, z, sizeof x);
        eqf__host_augment(N, 0, D, 21, round, x);
        if (round < 5) assert_true(eqf__align(alignment, z, 200, 4, 1000 * round, x) <= 1e-18 * DOF);
    }
    print_message("13 particles: mean squared distance %.3f, %.3f, %.3f with 1, 4, 16 starts\n", sum[0], sum[1],
                  sum[2]);
    assert_true(sum[1] < sum[0] && sum[2] < sum[1]);
    eqf__alignment_destroy(&alignment);
    TEST_OK(ctx, eqf__alignment_create(ctx, 6, 0, 2, &alignment));
    double excess = 0;
    for (unsigned round = 0; round < 20; ++round) {
        double z[16], x[16], kept[12];
        random_configuration(6, 2, 3000 + round, z);
        random_configuration(6, 2, 4000 + round, x);
        const double least = brute_distance(6, 2, z, x, 0, 0, kept),
                     found = eqf__align(alignment, z, 32, 6, 32 * round, x);
        assert_true(found >= least - 1e-9);
        excess += (found / least - 1) / 20;
    }
    print_message("6 particles, 32 starts: %.2g above the optimum\n", excess);
    assert_true(excess < 0.02);
    eqf__alignment_destroy(&alignment);
}

/* ---- Pairs ------------------------------------------------------------------------------------------------------- */

enum { NUM_DATA = 30, NUM_DOF = 8, NUM_PAIRS = 20 };

static eqf__pairing_options options_of(eqf_pairing kind) {
    static eqf_model_options model = EQF_MODEL_OPTIONS_INIT;
    model.potential.num_particles = 4;
    model.potential.space_dim = 2;
    model.prior_scale = 2;
    const eqf__pairing_options options = {.kind = kind,
                                          .group_size = 8,
                                          .num_starts = 2,
                                          .num_particles = 4,
                                          .space_dim = 2,
                                          .model = &model,
                                          .seed = 8};
    return options;
}

static void fill_data(float *data) {
    for (unsigned b = 0; b < NUM_DATA; ++b) {
        double x[NUM_DOF + 4];
        random_configuration(4, 2, b, x);
        for (unsigned c = 0; c < NUM_DOF; ++c) data[b * NUM_DOF + c] = (float)x[c];
    }
}

/* An epoch has every datum once; pairing changes no datum's and no latent's place in the sums, and brings them
 * nearer. */
static void test_pairs(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    float data[NUM_DATA * NUM_DOF], latents[3][NUM_DATA * NUM_DOF], paired[3][NUM_DATA * NUM_DOF];
    double distance[3] = {0};
    fill_data(data);
    for (unsigned kind = 0; kind < 3; ++kind) {
        const eqf__pairing_options options = options_of(kind);
        TEST_OK(ctx,
                eqf__pairs_make(ctx, &options, NUM_DATA, data, NUM_DATA * 5, NUM_DATA, latents[kind], paired[kind]));
        for (unsigned c = 0; c < NUM_DATA * NUM_DOF; ++c)
            distance[kind] += pow((double)latents[kind][c] - (double)paired[kind][c], 2) / NUM_DATA;
    }
    for (unsigned b = 0; b < NUM_DATA; ++b) {
        unsigned times = 0;
        for (unsigned i = 0; i < NUM_DATA; ++i) {
            double square = 0;
            for (unsigned c = 0; c < NUM_DOF; ++c)
                square += pow((double)data[b * NUM_DOF + c] - (double)paired[0][i * NUM_DOF + c], 2);
            times += square < 1e-10;
        }
        assert_int_equal(times, 1);
    }
    assert_memory_equal(paired[0], paired[1], sizeof paired[0]); /* latents are dealt, data stay */
    print_message("mean squared distance %.3f, dealt in eights %.3f, of copies %.3f\n", distance[0], distance[1],
                  distance[2]);
    assert_true(distance[1] < 0.8 * distance[0] && distance[2] < 0.8 * distance[1]);
}

/* Equilibrium Lennard-Jones clusters and a prior of sd .7: a prototype's mean squared distance with four starts was
 * 5.63, and 35.8 unaligned. */
static void test_clusters(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM = 256, CLUSTER_DOF = 39 };
    const eqf_preset *preset = eqf_preset_find("lj13");
    float *x = test_floats(NUM * CLUSTER_DOF), *latents = test_floats(NUM * CLUSTER_DOF),
          *paired = test_floats(NUM * CLUSTER_DOF);
    eqf_mcmc_options mcmc = *preset->mcmc;
    mcmc.seed = 3;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &preset->model->potential, &mcmc, NUM, x, NULL, NULL));
    double distance[2] = {0};
    eqf_model_options model = *preset->model;
    model.prior_scale = 0.7;
    for (unsigned is_aligned = 0; is_aligned < 2; ++is_aligned) {
        const eqf__pairing_options options = {.kind = is_aligned ? EQF_PAIRING_EQUIVARIANT : EQF_PAIRING_NONE,
                                              .group_size = 1,
                                              .num_starts = 4,
                                              .num_particles = 13,
                                              .space_dim = 3,
                                              .model = &model,
                                              .seed = 5};
        const clock_t start = clock();
        TEST_OK(ctx, eqf__pairs_make(ctx, &options, NUM, x, 0, NUM, latents, paired));
        const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        for (size_t c = 0; c < NUM * CLUSTER_DOF; ++c)
            distance[is_aligned] += pow((double)latents[c] - (double)paired[c], 2) / NUM;
        print_message("lj13 %s: mean squared distance %.2f, %.0f us a pair\n", is_aligned ? "aligned" : "as drawn",
                      distance[is_aligned], 1e6 * seconds / NUM);
    }
    assert_true(fabs(distance[0] - 35.8) < 1.5 && fabs(distance[1] - 5.63) < 0.2); /* standard errors .5 and .05 */
    free(x);
    free(latents);
    free(paired);
}

static void test_threads(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { BATCHES = 12, FIRST = 3 };
    float data[NUM_DATA * NUM_DOF], latents[NUM_PAIRS * NUM_DOF], paired[NUM_PAIRS * NUM_DOF];
    fill_data(data);
    const eqf__pairing_options options = options_of(EQF_PAIRING_EQUIVARIANT);
    for (unsigned threads = 1; threads <= 8; threads += 3) {
        eqf__pairing *pairing;
        TEST_OK(ctx, eqf__pairing_create(ctx, &options, NUM_DATA, data, 50, 10, NUM_PAIRS, threads, &pairing));
        for (uint64_t batch = FIRST; batch < FIRST + BATCHES; ++batch) {
            const float *got_latents, *got_data;
            TEST_OK(ctx, eqf__pairing_take(pairing, batch, &got_latents, &got_data));
            TEST_OK(ctx, eqf__pairs_make(ctx, &options, NUM_DATA, data, batch * 50 + 10, NUM_PAIRS, latents, paired));
            assert_memory_equal(got_latents, latents, sizeof latents);
            assert_memory_equal(got_data, paired, sizeof paired);
        }
        eqf__pairing_destroy(&pairing);
        assert_null(pairing);
    }
    eqf__pairing *unused; /* no thread was ever started */
    TEST_OK(ctx, eqf__pairing_create(ctx, &options, NUM_DATA, data, 50, 10, NUM_PAIRS, 0, &unused));
    eqf__pairing_destroy(&unused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assignment_is_optimal),
        cmocka_unit_test(test_assignment_of_many),
        cmocka_unit_test(test_orthogonal_map),
        cmocka_unit_test(test_few_particles_exactly),
        cmocka_unit_test(test_many_particles),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
