/* What batches go through on the device before they are learned. Augmentation: what comes out is the configuration
 * rotated, perhaps reflected, and permuted, each uniformly; energies do not change; numbers depend on seed and
 * position alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "augment.h"
#include "ocl.h"
#include "prior.h"
#include "support.h"

/* Moves a batch in the blocked layout d_x; its configurations are first, first + 1, ... of the stream seed. */
typedef eqf_status batch_change(void *what, uint64_t seed, uint64_t first, size_t num_blocks, cl_mem d_x);

/* x [count, N, D] changed in place, through the blocked layout. */
static void apply_change(eqf_context *ctx, batch_change *function, void *what, uint64_t seed, uint64_t first,
                         size_t count, size_t num_dof, float *x) {
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    const size_t V = device->vector_width, num_blocks = (count + V - 1) / V;
    float *blocked = test_floats(num_blocks * V * num_dof);
    for (size_t b = 0; b < num_blocks * V; ++b)
        for (size_t c = 0; c < num_dof; ++c)
            blocked[(b / V * num_dof + c) * V + b % V] = x[(b < count ? b : count - 1) * num_dof + c];
    cl_mem d_x;
    TEST_OK(ctx, eqf__buffer_create(ctx, num_blocks * V * num_dof * sizeof(float), blocked, "the batch", &d_x));
    TEST_OK(ctx, function(what, seed, first, num_blocks, d_x));
    TEST_OK(ctx, eqf__buffer_read(ctx, d_x, 0, num_blocks * V * num_dof * sizeof(float), blocked));
    for (size_t b = 0; b < count; ++b)
        for (size_t c = 0; c < num_dof; ++c) x[b * num_dof + c] = blocked[(b / V * num_dof + c) * V + b % V];
    eqf__buffer_destroy(&d_x);
    free(blocked);
}

typedef struct augmentation {
    eqf_context *ctx;
    const eqf__kernel *kernel;
} augmentation;
static eqf_status change_by_augmentation(void *what, uint64_t seed, uint64_t first, size_t num_blocks, cl_mem d_x) {
    const augmentation *a = what;
    return eqf__augment(a->ctx, a->kernel, seed, first, num_blocks, d_x);
}
static void apply(eqf_context *ctx, const eqf__kernel *augment, uint64_t seed, uint64_t first, size_t count,
                  size_t num_dof, float *x) {
    augmentation a = {ctx, augment};
    apply_change(ctx, change_by_augmentation, &a, seed, first, count, num_dof, x);
}

typedef struct noise {
    const eqf__prior *prior;
    double scale;
} noise;
static eqf_status change_by_noise(void *what, uint64_t seed, uint64_t first, size_t num_blocks, cl_mem d_x) {
    const noise *n = what;
    return eqf__prior_add_noise(n->prior, seed, first, n->scale, num_blocks, d_x);
}

/* Particle d < D sits on axis d, at distance d + 1 from the origin; all others on the first axis: distances tell the
 * particles apart, and the first D of them hold the columns of Q. */
static float *markers(unsigned N, unsigned D, size_t count) {
    float *x = test_floats(count * N * D);
    for (size_t b = 0; b < count; ++b)
        for (unsigned i = 0; i < N; ++i) x[(b * N + i) * D + (i < D ? i : 0)] = (float)(i + 1);
    return x;
}

/* Q [D, D] and the permutation of one augmented marker configuration: where[i] is the place of particle i. */
static bool decode(unsigned N, unsigned D, const float *x, double q[3][3], unsigned *where) {
    for (unsigned i = 0; i < N; ++i) where[i] = N;
    for (unsigned place = 0; place < N; ++place) {
        double squared = 0.0;
        for (unsigned d = 0; d < D; ++d) squared += (double)x[place * D + d] * x[place * D + d];
        double length = sqrt(squared);
        unsigned i = (unsigned)lround(length) - 1;
        if (i >= N || fabs(length - (i + 1)) > 1e-5 * (i + 1) || where[i] != N) return false;
        where[i] = place;
        for (unsigned d = 0; d < D && i < D; ++d) q[d][i] = x[place * D + d] / (i + 1.0);
    }
    return true;
}

static double determinant(unsigned D, double q[3][3]) {
    if (D == 1) return q[0][0];
    if (D == 2) return q[0][0] * q[1][1] - q[0][1] * q[1][0];
    return q[0][0] * (q[1][1] * q[2][2] - q[1][2] * q[2][1]) - q[0][1] * (q[1][0] * q[2][2] - q[1][2] * q[2][0]) +
           q[0][2] * (q[1][0] * q[2][1] - q[1][1] * q[2][0]);
}

/* Every mean below is of COUNT independent draws; five standard errors and fixed seeds. */
static void check_distribution(unsigned N, unsigned D) {
    enum { COUNT = 20000 };
    eqf_context *ctx = test_context();
    eqf__kernel augment;
    TEST_OK(ctx, eqf__augment_create(ctx, N, 0, D, &augment));
    float *x = markers(N, D, COUNT);
    apply(ctx, &augment, 77, 0xfffff000u, COUNT, (size_t)N * D, x); /* positions across 2^32 */
    double orthogonality = 0.0, mean[3][3] = {{0}}, square[3][3] = {{0}}, fourth = 0.0, mixed = 0.0;
    size_t num_proper = 0, *places = calloc((size_t)N * N, sizeof *places),
           *pairs = calloc((size_t)N * N, sizeof *pairs);
    unsigned *where = calloc(N, sizeof *where);
    for (size_t b = 0; b < COUNT; ++b) {
        double q[3][3];
        assert_true(decode(N, D, x + b * N * D, q, where));
        for (unsigned d = 0; d < D; ++d)
            for (unsigned e = 0; e < D; ++e) {
                double product = d == e ? -1.0 : 0.0;
                for (unsigned k = 0; k < D; ++k) product += q[k][d] * q[k][e];
                orthogonality = fmax(orthogonality, fabs(product));
                mean[d][e] += q[d][e] / COUNT;
                square[d][e] += q[d][e] * q[d][e] / COUNT;
            }
        double det = determinant(D, q);
        assert_true(fabs(fabs(det) - 1.0) < 1e-5);
        if (det > 0.0) num_proper++;
        fourth += q[0][0] * q[0][0] * q[0][0] * q[0][0] / COUNT;
        mixed += q[0][0] * det / COUNT;
        for (unsigned i = 0; i < N; ++i) places[i * N + where[i]]++;
        pairs[where[0] * N + where[N - 1]]++;
    }
    /* Of a uniform Q: entries have mean 0, mean square 1/D and mean fourth power 3/(D (D + 2)); their variances are
     * at most 1/D. */
    double worst_mean = 0.0, worst_square = 0.0, error = 1.0 / sqrt(COUNT);
    for (unsigned d = 0; d < D; ++d)
        for (unsigned e = 0; e < D; ++e) {
            worst_mean = fmax(worst_mean, fabs(mean[d][e]) / error);
            worst_square = fmax(worst_square, fabs(square[d][e] - 1.0 / D) / error);
        }
    double handed = fabs((double)num_proper - 0.5 * COUNT) / (0.5 * sqrt(COUNT));
    double off_fourth = fabs(fourth - 3.0 / (D * (D + 2.0))) / error, off_mixed = fabs(mixed) / error;
    /* Each particle is equally often at each place, and so are pairs of first and last particle. Standard scores. */
    double worst_place = 0.0, worst_pair = 0.0, share = 1.0 / N, pair_share = share / (N - 1.0);
    for (unsigned i = 0; i < N; ++i)
        for (unsigned place = 0; place < N; ++place) {
            double count = (double)places[i * N + place], pair_count = (double)pairs[i * N + place];
            worst_place = fmax(worst_place, fabs(count - COUNT * share) / sqrt(COUNT * share * (1.0 - share)));
            if (i == place) assert_true(pair_count == 0.0);
            if (i != place)
                worst_pair = fmax(worst_pair, fabs(pair_count - COUNT * pair_share) /
                                                  sqrt(COUNT * pair_share * (1.0 - pair_share) + 1e-9));
        }
    print_message(
        "N %u D %u: Q^T Q off by %.1e; standard scores: mean %.1f, squares %.1f, fourth %.1f, handedness %.1f, "
        "its correlation %.1f, places %.1f, pairs %.1f\n",
        N, D, orthogonality, worst_mean, worst_square, off_fourth, handed, off_mixed, worst_place, worst_pair);
    assert_true(orthogonality < 2e-6);
    assert_true(worst_mean < 5.0 && worst_square < 5.0 && off_fourth < 5.0 && handed < 5.0);
    if (D > 1) assert_true(off_mixed < 5.0); /* in one dimension Q is its own determinant */
    assert_true(worst_place < 5.0 && worst_pair < 5.0);
    eqf__kernel_destroy(&augment);
    free(x);
    free(places);
    free(pairs);
    free(where);
}

/* Of two species: each particle is at each place of its own equally often, and never at one of the other's. */
static void test_species(void **state) {
    (void)state;
    enum { COUNT = 20000, N = 7, D = 3, FIRST_B = 4 };
    eqf_context *ctx = test_context();
    eqf__kernel augment;
    TEST_OK(ctx, eqf__augment_create(ctx, N, N - FIRST_B, D, &augment));
    float *x = markers(N, D, COUNT);
    apply(ctx, &augment, 78, 0, COUNT, (size_t)N * D, x);
    size_t places[N][N] = {{0}};
    for (size_t b = 0; b < COUNT; ++b) {
        double q[3][3];
        unsigned where[N];
        assert_true(decode(N, D, x + b * N * D, q, where));
        for (unsigned i = 0; i < N; ++i) places[i][where[i]]++;
    }
    for (unsigned i = 0; i < N; ++i)
        for (unsigned place = 0; place < N; ++place) {
            const bool is_own = (i >= FIRST_B) == (place >= FIRST_B);
            const double chance = !is_own ? 0.0 : i >= FIRST_B ? 1.0 / (N - FIRST_B) : 1.0 / FIRST_B;
            assert_true(fabs((double)places[i][place] / COUNT - chance) <= 5.0 * sqrt(chance * (1.0 - chance) / COUNT));
        }
    free(x);
    eqf__kernel_destroy(&augment);
}

static void test_distribution(void **state) {
    (void)state;
    check_distribution(2, 1);
    check_distribution(2, 2);
    check_distribution(4, 2);
    check_distribution(3, 3);
    check_distribution(13, 3); /* more draws than one call of Philox gives */
}

static void test_energies_and_counters(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    for (size_t s = 0; s < num_test_systems; ++s) {
        const test_system *system = test_systems + s;
        const unsigned N = system->num_particles, D = system->space_dim;
        const size_t num_dof = (size_t)N * D;
        enum { COUNT = 37 };
        eqf_model_options options = test_model_options(system);
        float *x = test_configurations(system, COUNT, 3), *turned = test_floats(COUNT * num_dof),
              *part = test_floats(COUNT * num_dof);
        memcpy(turned, x, COUNT * num_dof * sizeof *x);
        memcpy(part, x + 10 * num_dof, 20 * num_dof * sizeof *x);
        eqf__kernel augment;
        TEST_OK(ctx, eqf__augment_create(ctx, N, 0, D, &augment));
        apply(ctx, &augment, 9, 1000, COUNT, num_dof, turned);
        double worst = 0.0, moved = 0.0;
        for (size_t b = 0; b < COUNT; ++b) {
            double *before = test_to_double(num_dof, x + b * num_dof),
                   *after = test_to_double(num_dof, turned + b * num_dof);
            double energy = ref_potential_energy(&options.potential, before, NULL);
            double change = ref_potential_energy(&options.potential, after, NULL) - energy;
            worst = fmax(worst, fabs(change) / (1.0 + fabs(energy)));
            for (size_t c = 0; c < num_dof; ++c) moved = fmax(moved, fabs(after[c] - before[c]));
            free(before);
            free(after);
        }
        print_message("%s: energies change by %.1e of themselves, coordinates by up to %.2g\n", system->name, worst,
                      moved);
        assert_true(worst < 1e-4 && moved > 0.1);
        /* The same positions in another batch. */
        apply(ctx, &augment, 9, 1010, 20, num_dof, part);
        assert_memory_equal(part, turned + 10 * num_dof, 20 * num_dof * sizeof *x);
        apply(ctx, &augment, 10, 1000, COUNT, num_dof, x);
        assert_memory_not_equal(x, turned, COUNT * num_dof * sizeof *x);
        /* A sample that is no number stays alone. */
        turned[3 * num_dof] = NAN;
        memcpy(part, turned, 8 * num_dof * sizeof *x);
        apply(ctx, &augment, 4, 0, 8, num_dof, part);
        for (size_t c = 0; c < 8 * num_dof; ++c) assert_true(isfinite(part[c]) || c / num_dof == 3);
        eqf__kernel_destroy(&augment);
        free(x);
        free(turned);
        free(part);
    }
}

/* Mean-free normal noise: unit variance and fourth moment per free degree of freedom, uncorrelated with the prior's
 * samples of the same seed, the same for a position in whatever batch. Five standard errors, fixed seeds. */
static void check_noise(unsigned N, unsigned D) {
    enum { COUNT = 20000 };
    eqf_context *ctx = test_context();
    const size_t num_dof = (size_t)N * D, free_dof = (size_t)(N - 1) * D;
    eqf__prior prior;
    eqf__device *its_device;
    TEST_OK(ctx, eqf__device_get(ctx, &its_device));
    const eqf__real real = eqf__real_float(its_device);
    eqf_model_options made = EQF_MODEL_OPTIONS_INIT;
    made.potential.num_particles = N;
    made.potential.space_dim = D;
    TEST_OK(ctx, eqf__prior_create(ctx, &made, &real, &prior));
    noise n = {&prior, 0.25};
    float *start = markers(N, D, COUNT), *x = markers(N, D, COUNT), *none = markers(N, D, COUNT),
          *z = test_floats(COUNT * num_dof);
    apply_change(ctx, change_by_noise, &n, 5, 0xfffff000u, COUNT, num_dof, x); /* positions across 2^32 */
    noise one = {&prior, 1.0};                                                 /* on nothing: the normals themselves */
    apply_change(ctx, change_by_noise, &one, 5, 0xfffff000u, COUNT, num_dof, z);
    double square = 0, fourth = 0, mean = 0, centre = 0, same = 0;
    for (size_t b = 0; b < COUNT; ++b) {
        double length = 0.0;
        for (unsigned d = 0; d < D; ++d) {
            double sum = 0.0;
            for (unsigned i = 0; i < N; ++i) {
                const size_t c = b * num_dof + i * D + d;
                const double added = ((double)x[c] - start[c]) / n.scale;
                sum += added;
                length += added * added;
                same = fmax(same, fabs(added - z[c]));
            }
            centre = fmax(centre, fabs(sum));
        }
        mean += ((double)x[b * num_dof] - start[b * num_dof]) / n.scale / COUNT;
        square += length / COUNT;
        fourth += length * length / COUNT; /* of chi squared: k (k + 2) */
    }
    const double k = (double)free_dof, error = sqrt(2 * k / COUNT);
    /* Var(chi^4) = E chi^8 - (E chi^4)^2 = k (k+2) ((k+4)(k+6) - k (k+2)). */
    const double fourth_error = sqrt(k * (k + 2) * ((k + 4) * (k + 6) - k * (k + 2)) / COUNT);
    print_message("N %u D %u: squares %.4f of %g, fourth %.3f of %g, mean %.4f, centre off by %.1e, scale by %.1e\n", N,
                  D, square, k, fourth, k * (k + 2), mean, centre, same);
    assert_true(fabs(square - k) < 5 * error && fabs(fourth - k * (k + 2)) < 5 * fourth_error);
    assert_true(fabs(mean) < 5 / sqrt(COUNT) && centre < 2e-5 * N && same < 2e-5 * N);
    /* The same positions in another batch; another seed; no noise. */
    float *part = markers(N, D, 20);
    apply_change(ctx, change_by_noise, &n, 5, 0xfffff000u + 10u, 20, num_dof, part);
    assert_memory_equal(part, x + 10 * num_dof, 20 * num_dof * sizeof *x);
    apply_change(ctx, change_by_noise, &n, 6, 0xfffff000u + 10u, 20, num_dof, part);
    assert_memory_not_equal(part, x + 10 * num_dof, 20 * num_dof * sizeof *x);
    noise zero = {&prior, 0.0};
    apply_change(ctx, change_by_noise, &zero, 5, 0, COUNT, num_dof, none);
    /* By value: fma(0, -1, 0) may be -0 (issue.zero-sign of platforms/cpu/llvmpipe.profile). */
    for (size_t c = 0; c < COUNT * num_dof; ++c) assert_true(none[c] == start[c]);
    /* None of the prior's numbers comes again. */
    cl_mem d_z;
    eqf__device *device;
    TEST_OK(ctx, eqf__device_get(ctx, &device));
    const size_t num_blocks = 16, num_floats = num_blocks * device->vector_width * num_dof;
    float *blocked = test_floats(num_floats), *noise_alone = test_floats(num_floats);
    for (unsigned is_noise = 0; is_noise < 2; ++is_noise) {
        float *out = is_noise ? noise_alone : blocked;
        TEST_OK(ctx, eqf__buffer_create(ctx, num_floats * sizeof(float), out, "the batch", &d_z));
        if (is_noise) TEST_OK(ctx, eqf__prior_add_noise(&prior, 5, 0, 1.0, num_blocks, d_z));
        if (!is_noise) TEST_OK(ctx, eqf__prior_sample(&prior, 5, 0, num_blocks, d_z));
        TEST_OK(ctx, eqf__buffer_read(ctx, d_z, 0, num_floats * sizeof(float), out));
        eqf__buffer_destroy(&d_z);
    }
    size_t num_equal = 0;
    for (size_t f = 0; f < num_floats; ++f) num_equal += blocked[f] == noise_alone[f];
    assert_true(num_equal * 100 < num_floats);
    eqf__prior_clear(&prior);
    free(start);
    free(x);
    free(none);
    free(z);
    free(part);
    free(blocked);
    free(noise_alone);
}

static void test_noise(void **state) {
    (void)state;
    check_noise(2, 1);
    check_noise(2, 2);
    check_noise(13, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_species),
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_energies_and_counters),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
