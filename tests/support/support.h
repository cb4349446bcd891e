/* What the test programs share: random numbers, a device, trained-like models, realistic configurations, worst
 * errors. */
#ifndef EQF_TESTS_SUPPORT_H
#define EQF_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eqflow/eqflow.h"
#include "reference.h"

/* ---- Random numbers of the tests: splitmix64, not the library's Philox ------------------------------------- */

typedef struct test_rng {
    uint64_t state;
} test_rng;
double test_uniform(test_rng *rng); /* in (0, 1) */
double test_normal(test_rng *rng);
size_t test_below(test_rng *rng, size_t bound); /* 0 ... bound - 1 */

/* ---- Device ------------------------------------------------------------------------------------------------ */

/* One context a program, on the device that the environment variable EQFLOW_DEVICE selects (default "auto"), without a
 * program cache on disk unless EQFLOW_TEST_CACHE names its folder. Prints the device once. If there is no OpenCL device
 * at all and none was asked for, prints so and skips the running test; any other failure fails it. */
eqf_context *test_context(void);
/* Group teardown for cmocka_run_group_tests. */
int test_context_teardown(void **state);
/* Are the conditions few, or with EQF_TEST_EVERY in the environment all (the tests NAME_every)? */
bool test_wants_every(void);
/* Two forms of a kernel: fails unless a and b [count] are the same bits or, on Intel's runtime for CPUs, within
 * tolerance of the largest of b: its compiler fuses products and sums in one form and not in the other. */
void test_same(eqf_context *ctx, const char *what, size_t count, const float *a, const float *b, double tolerance);
void test_same_doubles(eqf_context *ctx, const char *what, size_t count, const double *a, const double *b,
                       double tolerance);

/* Fails with the context's message unless status is EQF_OK. */
void test_ok(eqf_context *ctx, eqf_status status, const char *file, int line);
#define TEST_OK(ctx, call) test_ok(ctx, call, __FILE__, __LINE__)

/* ---- Systems ----------------------------------------------------------------------------------------------- */

/* A loop over the kinds of potential whose energy is a formula of the library's own. */
#define TEST_EACH_FORMULA(kind)                                                                            \
    for (unsigned kind = 0; eqf_potential_kind_describe((eqf_potential_kind)kind) != NULL; ++kind)         \
        if (!eqf_potential_kind_describe((eqf_potential_kind)kind)->has_text)

typedef struct test_system {
    const char *name;
    unsigned num_particles, space_dim;
    eqf_potential_kind kind;
} test_system;

/* (2,2) (4,2) (3,1) (5,3) double wells, (13,3) Lennard-Jones. */
extern const test_system test_systems[];
extern const size_t num_test_systems;
const test_system *test_system_named(const char *name); /* those, and a larger one: "lj34" */

/* Batch sizes around every vector width's edges. */
extern const size_t test_batch_sizes[];
extern const size_t num_test_batch_sizes;

/* The preset's options of a system: 50 distance and 10 time Gaussians, RK4 with 20 steps. */
eqf_model_options test_model_options(const test_system *system);

/* A model with parameters as training leaves them: smooth weights of moderate size, biases, importances, and bandwidths
 * within +-0.2 of their start (natural log). */
eqf_model *test_trained_like_model(eqf_context *ctx, const test_system *system, const eqf_model_options *options,
                                   uint64_t seed);

/* Centred float configurations x [B, N, D] at the distances that the system's samples have. The caller frees. */
float *test_configurations(const test_system *system, size_t batch_size, uint64_t seed);
/* Subtracts the centre of mass of one configuration x [N, D]. */
void test_center(unsigned num_particles, unsigned space_dim, double *x);
void test_center_floats(unsigned num_particles, unsigned space_dim, float *x); /* the same, in double inside */
/* Scales one configuration so that its longest pair distance is longest. */
void test_stretch(unsigned num_particles, unsigned space_dim, double longest, float *x);
/* Random orthogonal matrix [D, D]: a rotation, or with is_reflected a rotation and a mirror. */
void test_orthogonal(test_rng *rng, unsigned space_dim, bool is_reflected, double *matrix_out);

/* Latent number `sample` of a seed, z [N, D]. */
void test_latents(unsigned num_particles, unsigned space_dim, double scale, uint64_t seed, uint64_t sample,
                  double *z_out);

double *test_to_double(size_t count, const float *values); /* the caller frees */
float *test_floats(size_t count);                          /* zeroed; the caller frees */
/* An array for count results with a guard behind it, and the check that the guard is as it was. The caller frees. */
float *test_output(size_t count);
void test_output_end(size_t count, const float *values);

/* ---- Worst errors ------------------------------------------------------------------------------------------ */

/* The largest error seen and where; NaN counts as infinitely wrong. */
typedef struct test_worst {
    double error;
    size_t index, num_compared, num_above; /* num_above: more than the tolerance */
    double tolerance;
} test_worst;
#define TEST_WORST_INIT(tolerance_) \
    { 0.0, 0, 0, 0, tolerance_ }
void test_compare(test_worst *worst, size_t index, double error);
/* Prints the worst error under a printf-style name; returns true if none was above the tolerance. */
bool test_report(const test_worst *worst, const char *format, ...) CMOCKA_PRINTF_ATTRIBUTE(2, 3);

#endif
