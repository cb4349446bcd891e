/* Quenches and distinct minima: energies of the literature, invariances, saddle points, every bad start. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "minima_internal.h"
#include "support.h"
#include "test_files.h"

typedef struct quenched {
    eqf_potential_options potential;
    size_t batch_size, num_dof, num_minima;
    double *x, *energy, *gradient_norm;
    eqf_quench_result *result;
    eqf_quench_summary summary;
    eqf_minimum *minima;
    size_t *minimum_of;
} quenched;

static eqf_potential_options lennard_jones(unsigned num_particles, unsigned space_dim, double epsilon, double trap) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_LENNARD_JONES;
    potential.num_particles = num_particles;
    potential.space_dim = space_dim;
    potential.epsilon = epsilon;
    potential.r_min = 1.0;
    potential.trap_strength = trap;
    return potential;
}

static eqf_potential_options double_well(void) {
    return test_model_options(test_system_named("dw4")).potential;
}

static quenched quench(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                       size_t batch_size, const float *x) {
    quenched work = {.summary = EQF_QUENCH_SUMMARY_INIT, .potential = *potential, .batch_size = batch_size};
    work.num_dof = (size_t)potential->num_particles * potential->space_dim;
    work.x = calloc(batch_size * work.num_dof + 1, sizeof(double));
    work.energy = calloc(batch_size + 1, sizeof(double));
    work.gradient_norm = calloc(batch_size + 1, sizeof(double));
    work.result = calloc(batch_size + 1, sizeof *work.result);
    work.minimum_of = calloc(batch_size + 1, sizeof *work.minimum_of);
    TEST_OK(ctx, eqf_minima_quench(ctx, potential, options, batch_size, x, work.x, work.energy, work.gradient_norm,
                                   work.result, &work.summary));
    TEST_OK(ctx, eqf_minima_group(ctx, potential, NULL, batch_size, work.x, work.energy, work.result, &work.minima,
                                  &work.num_minima, work.minimum_of));
    return work;
}

static void quenched_clear(quenched *work) {
    free(work->x);
    free(work->energy);
    free(work->gradient_norm);
    free(work->result);
    free(work->minimum_of);
    eqf_free(work->minima);
}

static quenched quench_random(eqf_context *ctx, const eqf_potential_options *potential,
                              const eqf_quench_options *options, size_t batch_size) {
    float *x = test_output(batch_size * potential->num_particles * potential->space_dim);
    TEST_OK(ctx, eqf_minima_random_starts(ctx, potential, 7, 0, batch_size, x));
    test_output_end(batch_size * potential->num_particles * potential->space_dim, x);
    quenched work = quench(ctx, potential, options, batch_size, x);
    free(x);
    return work;
}

static size_t total_count(const quenched *work) {
    size_t total = 0;
    for (size_t m = 0; m < work->num_minima; m++) total += work->minima[m].count;
    return total;
}

/* Every minimum, by the independent double reference: energy as said, gradient below the tolerance. */
static void check_minima(const char *name, const quenched *work) {
    double energy_tolerance = work->summary.is_double ? 1e-12 : 2e-6;
    double gradient_tolerance = work->summary.gradient_tolerance * (work->summary.is_double ? 1.001 : 2.0);
    test_worst energy_worst = TEST_WORST_INIT(energy_tolerance), gradient_worst = TEST_WORST_INIT(gradient_tolerance);
    test_worst group_worst = TEST_WORST_INIT(work->summary.is_double ? 1e-8 : 1e-4);
    double *force = calloc(work->num_dof, sizeof *force);
    for (size_t b = 0; b < work->batch_size; b++) {
        assert_int_equal(work->result[b], EQF_QUENCH_MINIMUM);
        double u = ref_potential_energy(&work->potential, work->x + b * work->num_dof, force), squared = 0.0;
        for (size_t c = 0; c < work->num_dof; c++) squared += force[c] * force[c];
        test_compare(&energy_worst, b, fabs(work->energy[b] - u) / fmax(1.0, fabs(u)));
        test_compare(&gradient_worst, b, sqrt(squared));
        test_compare(&group_worst, b, fabs(u - work->minima[work->minimum_of[b]].energy));
    }
    free(force);
    print_message("%s: %s, %zu distinct of %zu, lowest %.6f, %.0f steps\n", name,
                  work->summary.is_double ? "double" : "float", work->num_minima, work->batch_size,
                  work->num_minima > 0 ? work->minima[0].energy : NAN, work->summary.mean_steps);
    bool is_right = test_report(&energy_worst, "%s: relative energy", name);
    is_right &= test_report(&group_worst, "%s: energies within a group", name);
    if (!test_report(&gradient_worst, "%s: gradient norm", name) || !is_right) fail();
    /* Groups are the same shape if their energies are: in double, no two of these minima are closer than 1e-5. */
    for (size_t m = 1; work->summary.is_double && m < work->num_minima; m++)
        assert_true(work->minima[m].energy - work->minima[m - 1].energy > 1e-6);
    assert_int_equal(total_count(work), work->summary.counts[EQF_QUENCH_MINIMUM]);
}

/* ---- Known minima --------------------------------------------------------------------------------------------- */

static const double double_well_minima[] = {-25.7922, -25.3125, -24.3524, -23.4654, -21.0665};
enum { NUM_DOUBLE_WELL_MINIMA = 5 };

static void check_double_well(const char *name, const quenched *work) {
    check_minima(name, work);
    assert_int_equal(work->num_minima, NUM_DOUBLE_WELL_MINIMA);
    test_worst worst = TEST_WORST_INIT(1e-4);
    for (size_t m = 0; m < NUM_DOUBLE_WELL_MINIMA; m++)
        test_compare(&worst, m, fabs(work->minima[m].energy - double_well_minima[m]));
    if (!test_report(&worst, "%s: energies of the five minima", name)) fail();
}

static void test_double_well(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = double_well();
    quenched work = quench_random(ctx, &potential, NULL, 400);
    check_double_well("dw4", &work);
    quenched_clear(&work);
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.precision = EQF_QUENCH_FLOAT;
    options.gradient_tolerance = 1e-9; /* beyond float: raised, not tried for ever */
    work = quench_random(ctx, &potential, &options, 400);
    assert_true(!work.summary.is_double && work.summary.gradient_tolerance > 1e-5);
    check_double_well("dw4 in float", &work);
    quenched_clear(&work);
}

static void check_cluster(eqf_context *ctx, const char *name, double epsilon, double trap, size_t num_starts,
                          double lowest, size_t least_distinct) {
    eqf_potential_options potential = lennard_jones(13, 3, epsilon, trap);
    quenched work = quench_random(ctx, &potential, NULL, num_starts);
    check_minima(name, &work);
    double tolerance = work.summary.is_double ? 1e-6 : 1e-4;
    if (!(fabs(work.minima[0].energy - lowest) <= tolerance))
        fail_msg("%s: lowest minimum %.7f, expected %.6f", name, work.minima[0].energy, lowest);
    assert_true(work.num_minima >= least_distinct);
    quenched_clear(&work);
}

static void test_cluster(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    check_cluster(ctx, "lj13 free", 1.0, 0.0, 320, -44.326801, 100);
    check_cluster(ctx, "lj13 eps 1 in the trap", 1.0, 1.0, 80, -38.772188, 20);
    check_cluster(ctx, "lj13 eps 2 in the trap", 2.0, 1.0, 80, -83.089644, 20);
}

/* A constant that float32 does not hold must not be rounded on its way to a double kernel: epsilon = 0.3 as float is
 * off by 4e-8, which check_minima's 1e-12 would see. Temperature and r_min scale as they should. */
static void test_constants(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = lennard_jones(4, 3, 0.3, 0.0);
    potential.r_min = 1.7;
    potential.temperature = 0.1;
    quenched work = quench_random(ctx, &potential, NULL, 20);
    check_minima("lj4", &work);
    assert_int_equal(work.num_minima, 1);
    double tolerance = work.summary.is_double ? 1e-9 : 1e-4; /* the tetrahedron: six pairs at their minimum */
    assert_true(fabs(work.minima[0].energy + 18.0) < tolerance);
    quenched_clear(&work);
}

/* ---- Saddle points -------------------------------------------------------------------------------------------- */

/* Three particles on a line and four in a square, which forces keep so; a triangle and a tetrahedron are below. */
static void check_saddle(eqf_context *ctx, const char *name, unsigned num_particles, const float *x, double minimum) {
    eqf_potential_options potential = lennard_jones(num_particles, 3, 1.0, 0.0);
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.max_escapes = 0;
    quenched work = quench(ctx, &potential, &options, 1, x);
    double saddle = work.energy[0];
    assert_int_equal(work.result[0], EQF_QUENCH_SADDLE);
    assert_int_equal(work.num_minima, 0);
    assert_true(saddle > minimum + 0.1);
    quenched_clear(&work);
    work = quench(ctx, &potential, NULL, 1, x);
    print_message("%s: saddle point at %.6f left for %.6f, %zu escapes\n", name, saddle, work.energy[0],
                  work.summary.num_escapes);
    assert_int_equal(work.result[0], EQF_QUENCH_MINIMUM);
    assert_true(work.summary.num_escapes >= 1);
    assert_true(fabs(work.energy[0] - minimum) < 1e-5);
    quenched_clear(&work);
}

static void test_saddle(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const float line[9] = {-1.1f, 0, 0, 0, 0, 0, 1.1f, 0, 0};
    const float square[12] = {0.5f, 0.5f, 0, -0.5f, 0.5f, 0, -0.5f, -0.5f, 0, 0.5f, -0.5f, 0};
    check_saddle(ctx, "line of three", 3, line, -3.0);
    check_saddle(ctx, "square", 4, square, -6.0);
}

/* Symmetric matrices of known eigenvalues, made by random reflections of a diagonal one. */
static void test_way_down(void **state) {
    (void)state;
    enum { N = 12, NUM_MATRICES = 400 };
    test_rng rng = {3};
    test_worst worst = TEST_WORST_INIT(0.0);
    size_t num_found = 0;
    for (size_t turn = 0; turn < NUM_MATRICES; turn++) {
        double matrix[N * N] = {0}, copy[N * N], direction[N], lowest = turn % 2 == 0 ? 0.01 : -0.01;
        for (size_t i = 0; i < N; i++) matrix[i * N + i] = i == 0 ? lowest : i < 4 ? 0.0 : 100.0 * test_uniform(&rng);
        for (size_t reflection = 0; reflection < 4; reflection++) {
            double v[N], norm = 0.0;
            for (size_t i = 0; i < N; i++) {
                v[i] = test_normal(&rng);
                norm += v[i] * v[i];
            }
            for (int side = 0; side < 2; side++) /* rows, then columns by symmetry */
                for (size_t i = 0; i < N; i++) {
                    double along = 0.0;
                    for (size_t j = 0; j < N; j++) along += v[j] * (side ? matrix[i * N + j] : matrix[j * N + i]);
                    for (size_t j = 0; j < N; j++) matrix[side ? i * N + j : j * N + i] -= 2.0 * along / norm * v[j];
                }
        }
        memcpy(copy, matrix, sizeof copy);
        bool is_found = eqf__minima_find_way_down(N, 1e-3, copy, direction);
        if (is_found != (lowest < 0.0)) fail_msg("matrix %zu: lowest eigenvalue %g, found %d", turn, lowest, is_found);
        if (!is_found) continue;
        num_found++;
        double quotient = 0.0, squared = 0.0;
        for (size_t i = 0; i < N; i++) {
            squared += direction[i] * direction[i];
            for (size_t j = 0; j < N; j++) quotient += direction[i] * matrix[i * N + j] * direction[j];
        }
        test_compare(&worst, turn, quotient / squared + 1e-3 * (1.0 - 1e-6)); /* must not be positive */
    }
    assert_int_equal(num_found, NUM_MATRICES / 2);
    if (!test_report(&worst, "curvature along the way down above -tolerance")) fail();
}

/* ---- Grouping ------------------------------------------------------------------------------------------------- */

/* x moved, turned, perhaps mirrored, and its particles renumbered. */
static void transform(test_rng *rng, unsigned N, unsigned D, bool is_mirrored, const double *x, double *out) {
    double matrix[9];
    unsigned order[64];
    test_orthogonal(rng, D, is_mirrored, matrix);
    for (unsigned i = 0; i < N; i++) order[i] = i;
    for (unsigned i = N; i-- > 1;) {
        unsigned j = (unsigned)test_below(rng, i + 1), other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
    double shift[3];
    for (unsigned d = 0; d < D; d++) shift[d] = 3.0 * test_normal(rng);
    for (unsigned i = 0; i < N; i++)
        for (unsigned d = 0; d < D; d++) {
            double sum = shift[d];
            for (unsigned e = 0; e < D; e++) sum += matrix[d * D + e] * x[order[i] * D + e];
            out[i * D + d] = sum;
        }
}

static size_t num_groups(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size, const double *x,
                         size_t *minimum_of) {
    double *energy = calloc(batch_size, sizeof *energy); /* all the same: geometry alone decides */
    eqf_minimum *minima;
    size_t num_minima;
    TEST_OK(ctx, eqf_minima_group(ctx, potential, NULL, batch_size, x, energy, NULL, &minima, &num_minima, minimum_of));
    eqf_free(minima);
    free(energy);
    return num_minima;
}

/* Each of a set of shapes in many poses. Some of the shapes are random, so chiral; some symmetric; some flat. */
static void test_poses(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    enum { NUM_SHAPES = 6, NUM_POSES = 8, MAX_DOF = 39 };
    test_rng rng = {11};
    for (unsigned D = 1; D <= 3; D++)
        for (unsigned N = 2; N <= 13; N += N < 5 ? 1 : 4) {
            eqf_potential_options potential = lennard_jones(N, D, 1.0, 0.0);
            size_t num_dof = (size_t)N * D, batch_size = NUM_SHAPES * NUM_POSES;
            double *x = calloc(batch_size * num_dof, sizeof *x), shape[MAX_DOF];
            size_t *minimum_of = calloc(batch_size, sizeof *minimum_of);
            for (size_t s = 0; s < NUM_SHAPES; s++) {
                for (size_t c = 0; c < num_dof; c++) shape[c] = test_uniform(&rng) + (c == 0 ? 2.0 * (double)s : 0.0);
                for (unsigned i = 0; s == 0 && i < N; i++) /* a regular polygon, or a row */
                    for (unsigned d = 0; d < D; d++)
                        shape[i * D + d] = D == 1 ? i : d == 2 ? 0.0 : sin(6.283185307179586 * i / N + 1.5707963 * d);
                if (s == 1) /* all in a line */
                    for (size_t c = 0; c < num_dof; c++) shape[c] = c % D == 0 ? shape[c] : 0.0;
                for (size_t p = 0; p < NUM_POSES; p++)
                    transform(&rng, N, D, p % 2 == 1, shape, x + (s * NUM_POSES + p) * num_dof);
            }
            size_t found = num_groups(ctx, &potential, batch_size, x, minimum_of);
            if (found != NUM_SHAPES) fail_msg("%u particles in %u dimensions: %zu shapes, not 6", N, D, found);
            for (size_t b = 0; b < batch_size; b++)
                assert_int_equal(minimum_of[b], minimum_of[b / NUM_POSES * NUM_POSES]);
            free(x);
            free(minimum_of);
        }
}

/* Different sets with the same distances (Bloom 1977): only the alignment tells them apart. */
static void test_homometric(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = lennard_jones(6, 1, 1.0, 0.0);
    const double x[3][6] = {{0, 1, 4, 10, 12, 17}, {0, 1, 8, 11, 13, 17}, {17, 16, 13, 7, 5, 0}};
    size_t minimum_of[3];
    assert_int_equal(num_groups(ctx, &potential, 3, x[0], minimum_of), 2);
    assert_int_equal(minimum_of[0], minimum_of[2]);
}

/* ---- Bad starts ----------------------------------------------------------------------------------------------- */

enum { NUM_STARTS = 37, LJ_DOF = 39 };

static void test_bad_starts(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = lennard_jones(13, 3, 1.0, 0.0);
    float x[NUM_STARTS * LJ_DOF];
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &potential, 1, 0, NUM_STARTS, x));
    quenched good = quench(ctx, &potential, NULL, NUM_STARTS, x);
    /* Starts depend on their number alone, and results not on their neighbours. */
    float later[3 * LJ_DOF];
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &potential, 1, 20, 3, later));
    assert_memory_equal(later, x + 20 * LJ_DOF, sizeof later);
    x[1 * LJ_DOF + 5] = NAN;
    x[3 * LJ_DOF + 38] = INFINITY;
    for (size_t c = 0; c < LJ_DOF; c++) x[5 * LJ_DOF + c] = 0.25f;                         /* all in one point */
    for (size_t d = 0; d < 3; d++) x[6 * LJ_DOF + d] = x[6 * LJ_DOF + 3 + d];              /* a pair in one point */
    for (size_t d = 0; d < 3; d++) x[7 * LJ_DOF + d] = x[7 * LJ_DOF + 3 + d] + 1e-4f;      /* energy beyond float */
    for (size_t d = 0; d < 3; d++) x[8 * LJ_DOF + d] = x[8 * LJ_DOF + 3 + d] + 0.02f;      /* energy 1e20 */
    for (size_t c = 0; c < LJ_DOF; c++) x[9 * LJ_DOF + c] = (float)good.x[9 * LJ_DOF + c]; /* at a minimum */
    x[11 * LJ_DOF] = 1e6f;                                                                 /* one flew off */
    for (size_t c = 0; c < LJ_DOF; c++) x[12 * LJ_DOF + c] *= 1e30f;                       /* all did */
    quenched work = quench(ctx, &potential, NULL, NUM_STARTS, x);
    for (size_t b = 0; b < NUM_STARTS; b++) {
        const double *found = work.x + b * LJ_DOF;
        bool is_touched = b == 1 || b == 3 || (b >= 5 && b <= 9) || b == 11 || b == 12;
        if (b == 1 || b == 3) {
            assert_int_equal(work.result[b], EQF_QUENCH_NON_FINITE);
            assert_true(isnan(work.energy[b]) && isnan(work.gradient_norm[b]) && isnan(found[0]));
        } else if (b == 11 || b == 12) {
            assert_int_equal(work.result[b], EQF_QUENCH_DISSOCIATED);
        } else {
            assert_int_equal(work.result[b], EQF_QUENCH_MINIMUM);
            assert_true(work.energy[b] < -25.0 && work.energy[b] > -44.33);
        }
        if (!is_touched) {
            assert_memory_equal(found, good.x + b * LJ_DOF, LJ_DOF * sizeof *found);
            assert_true(work.energy[b] == good.energy[b]);
        }
    }
    assert_true(fabs(work.energy[9] - good.energy[9]) < (good.summary.is_double ? 1e-9 : 1e-4));
    assert_int_equal(work.summary.counts[EQF_QUENCH_NON_FINITE], 2);
    assert_int_equal(work.summary.counts[EQF_QUENCH_DISSOCIATED], 2);
    assert_int_equal(total_count(&work), NUM_STARTS - 4);
    quenched_clear(&work);
    /* What the first few become does not depend on how many there are. */
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &potential, 1, 0, NUM_STARTS, x));
    work = quench(ctx, &potential, NULL, 3, x);
    assert_memory_equal(work.x, good.x, 3 * LJ_DOF * sizeof *work.x);
    quenched_clear(&work);
    quenched_clear(&good);
}

static int stop_at_once(void *user, const eqf_progress *progress) {
    assert_true(progress->done <= progress->total);
    return ++*(int *)user > 1;
}

static void test_edges(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = lennard_jones(13, 3, 1.0, 0.0);
    quenched none = quench(ctx, &potential, NULL, 0, NULL);
    assert_int_equal(none.num_minima, 0);
    assert_true(none.summary.mean_steps == 0.0);
    quenched_clear(&none);

    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.max_steps = 3;
    quenched work = quench_random(ctx, &potential, &options, 9);
    assert_int_equal(work.summary.counts[EQF_QUENCH_UNFINISHED], 9);
    assert_true(work.summary.mean_steps > 2.9);
    assert_int_equal(work.num_minima, 0);
    quenched_clear(&work);

    /* A trap and nothing else: all particles end in the middle, one shape. */
    eqf_potential_options trap = lennard_jones(5, 3, 0.0, 1.0);
    work = quench_random(ctx, &trap, NULL, 9);
    assert_int_equal(work.num_minima, 1);
    assert_true(fabs(work.minima[0].energy) < 1e-6);
    quenched_clear(&work);

    float x[9 * LJ_DOF];
    double x_out[9 * LJ_DOF];
    eqf_quench_result result[9];
    TEST_OK(ctx, eqf_minima_random_starts(ctx, &potential, 1, 0, 9, x));
    int num_calls = 0;
    options = (eqf_quench_options)EQF_QUENCH_OPTIONS_INIT;
    options.progress = stop_at_once;
    options.progress_user = &num_calls;
    TEST_EXPECT(ctx, eqf_minima_quench(ctx, &potential, &options, 9, x, x_out, NULL, NULL, result, NULL),
                EQF_ERROR_INTERRUPTED, "stopped on request");
    options = (eqf_quench_options)EQF_QUENCH_OPTIONS_INIT;
    options.struct_size = 1;
    TEST_EXPECT(ctx, eqf_minima_quench(ctx, &potential, &options, 9, x, x_out, NULL, NULL, result, NULL),
                EQF_ERROR_INVALID_ARGUMENT, "EQF_QUENCH_OPTIONS_INIT");
    options = (eqf_quench_options)EQF_QUENCH_OPTIONS_INIT;
    options.gradient_tolerance = NAN;
    TEST_EXPECT(ctx, eqf_minima_quench(ctx, &potential, &options, 9, x, x_out, NULL, NULL, result, NULL),
                EQF_ERROR_INVALID_ARGUMENT, "gradient_tolerance");
    options = (eqf_quench_options)EQF_QUENCH_OPTIONS_INIT;
    options.largest_displacement = -1.0;
    TEST_EXPECT(ctx, eqf_minima_quench(ctx, &potential, &options, 9, x, x_out, NULL, NULL, result, NULL),
                EQF_ERROR_INVALID_ARGUMENT, "largest_displacement");
    TEST_EXPECT(ctx, eqf_minima_quench(ctx, &potential, NULL, 9, NULL, x_out, NULL, NULL, result, NULL),
                EQF_ERROR_INVALID_ARGUMENT, "NULL");
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    options = (eqf_quench_options)EQF_QUENCH_OPTIONS_INIT;
    options.precision = EQF_QUENCH_DOUBLE;
    eqf_status status = eqf_minima_quench(ctx, &potential, &options, 9, x, x_out, NULL, NULL, result, NULL);
    if (device.has_fp64) {
        TEST_OK(ctx, status);
    } else {
        TEST_EXPECT(ctx, status, EQF_ERROR_UNSUPPORTED, "float only");
    }
    eqf_minima_group_options group_options = EQF_MINIMA_GROUP_OPTIONS_INIT;
    group_options.distance_tolerance = -1.0;
    eqf_minimum *minima;
    size_t num_minima;
    TEST_EXPECT(ctx, eqf_minima_group(ctx, &potential, &group_options, 0, NULL, NULL, NULL, &minima, &num_minima, NULL),
                EQF_ERROR_INVALID_ARGUMENT, "distance_tolerance");
    potential.num_particles = 0;
    TEST_EXPECT(ctx, eqf_minima_random_starts(ctx, &potential, 1, 0, 9, x), EQF_ERROR_INVALID_ARGUMENT,
                "num_particles");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double_well), cmocka_unit_test(test_cluster),    cmocka_unit_test(test_constants),
        cmocka_unit_test(test_saddle),      cmocka_unit_test(test_way_down),   cmocka_unit_test(test_poses),
        cmocka_unit_test(test_homometric),  cmocka_unit_test(test_bad_starts), cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
