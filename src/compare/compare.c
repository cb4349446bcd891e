/* Distances between two sets of configurations, and their floors: docs/averages.md has the equations. */
#include "compare.h"

#include <math.h>
#include <stdlib.h>

enum { POOL_A, POOL_B, POOL_REFERENCE, NUM_POOLS };
enum { FEW_PARTICLES = 4 }; /* up to these an alignment tries all permutations, in about a microsecond */

/* In each split the two sets are compared, and the halves of the perfect set. */
typedef struct comparison {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    eqf_comparison_options options;
    size_t count;
    eqf__pool pools[NUM_POOLS]; /* the last one only with a reference */
    eqf__pool *perfect;
    double *distances, *floors; /* [num_splits] */
} comparison;

/* Values of one kind in a pool; each configuration has num_each of them. */
typedef eqf__labelled *(*list_of)(const eqf__pool *pool);
static eqf__labelled *energies_of(const eqf__pool *pool) {
    return pool->energies;
}
static eqf__labelled *distances_of(const eqf__pool *pool) {
    return pool->distances;
}

/* Means and standard deviations over the splits of the square roots of squared distances. */
static void summarise(comparison *c, size_t count, eqf_set_distance *out) {
    const double num = c->options.num_splits;
    double sums[2] = {0}, squares[2] = {0}, num_above = 0;
    for (unsigned s = 0; s < c->options.num_splits; s++) {
        sums[0] += sqrt(c->distances[s]) / num;
        sums[1] += sqrt(c->floors[s]) / num;
    }
    for (unsigned s = 0; s < c->options.num_splits; s++) {
        squares[0] += pow(sqrt(c->distances[s]) - sums[0], 2) / (num - 1);
        squares[1] += pow(sqrt(c->floors[s]) - sums[1], 2) / (num - 1);
        num_above += sqrt(c->floors[s]) >= sums[0];
    }
    *out = (eqf_set_distance){count, sums[0], sqrt(squares[0]), sums[1], sqrt(squares[1]), num_above / num};
}

static void split_pools(comparison *c, size_t count, unsigned split) {
    for (unsigned p = 0; p < NUM_POOLS; p++)
        if (c->pools[p].num > 0) eqf__pool_split(&c->pools[p], count, c->options.seed, split);
}

/* Compares lists with num_each numbers for each configuration. */
static void compare_lines(comparison *c, list_of list, size_t num_each, eqf_set_distance *out) {
    const eqf__pool *a = &c->pools[POOL_A], *b = &c->pools[POOL_B], *perfect = c->perfect;
    for (unsigned s = 0; s < c->options.num_splits; s++) {
        split_pools(c, c->count, s);
        c->distances[s] = eqf__line_distance(list(a), a, 1, list(b), b, 1, c->count * num_each);
        c->floors[s] = eqf__line_distance(list(perfect), perfect, 1, list(perfect), perfect, 2, c->count * num_each);
    }
    summarise(c, c->count, out);
}

static eqf_status compare_aligned(comparison *c, eqf_set_distance *out) {
    eqf_context *ctx = c->ctx;
    const eqf__pool *a = &c->pools[POOL_A], *b = &c->pools[POOL_B], *perfect = c->perfect;
    const double work = (double)a->num * (double)b->num + 0.5 * (double)perfect->num * (double)(perfect->num - 1);
    double done = 0;
    float *squares = eqf__alloc(ctx, a->num * b->num, sizeof *squares, "the aligned distances");
    float *own =
        squares == NULL ? NULL : eqf__alloc(ctx, perfect->num * perfect->num, sizeof *own, "the aligned distances");
    eqf__transport transport = {NULL, NULL, NULL, NULL};
    eqf_status status = own == NULL ? EQF_ERROR_OUT_OF_MEMORY : eqf__transport_create(ctx, c->count, &transport);
    eqf__progress_open(ctx, "alignments", work);
    const unsigned num_starts = c->options.num_starts;
    if (status == EQF_OK)
        status = eqf__aligned_squares(ctx, c->potential, a, b, num_starts, c->options.seed, &done, squares);
    if (status == EQF_OK)
        status = eqf__aligned_squares(ctx, c->potential, perfect, perfect, num_starts,
                                      c->options.seed ^ UINT64_C(0x9e3779b97f4a7c15), &done, own);
    eqf__progress_close(ctx);
    for (unsigned s = 0; s < c->options.num_splits && status == EQF_OK; s++) {
        split_pools(c, c->count, s);
        c->distances[s] = eqf__aligned_distance_of_halves(&transport, squares, a, 1, b, 1, c->count);
        c->floors[s] = eqf__aligned_distance_of_halves(&transport, own, perfect, 1, perfect, 2, c->count);
    }
    if (status == EQF_OK) summarise(c, c->count, out);
    eqf__transport_clear(&transport);
    free(squares);
    free(own);
    return status;
}

/* ---- The call ---------------------------------------------------------------------------------------------------- */

/* The caller's sets of configurations. */
typedef struct given_sets {
    size_t num[NUM_POOLS];
    const float *x[NUM_POOLS];
} given_sets;

static eqf_status make_pools(comparison *c, const given_sets *sets, size_t count) {
    c->count = count;
    for (unsigned p = 0; p < NUM_POOLS; p++)
        if (sets->num[p] > 0)
            EQF__TRY(eqf__pool_make(c->ctx, c->potential, sets->num[p], sets->x[p], 2 * count, c->options.seed, p,
                                    &c->pools[p]));
    c->perfect = sets->num[POOL_REFERENCE] > 0 ? &c->pools[POOL_REFERENCE] : &c->pools[POOL_B];
    for (unsigned p = POOL_B; p < NUM_POOLS; p++)
        for (size_t b = 0; b < c->pools[p].num; b++)
            if (!isfinite(c->pools[p].energy[b]))
                return eqf__fail(
                    c->ctx, EQF_ERROR_NON_FINITE,
                    "the %s set has a configuration of energy %g: it is not of this potential's equilibrium",
                    p == POOL_B ? "second" : "reference", (double)c->pools[p].energy[b]);
    return EQF_OK;
}

static void clear_pools(comparison *c) {
    for (unsigned p = 0; p < NUM_POOLS; p++) eqf__pool_clear(&c->pools[p]);
}

static eqf_status compare_all(comparison *c, const given_sets *sets, size_t count, size_t num_aligned,
                              eqf_comparison *full) {
    const size_t num_particles = c->potential->num_particles;
    c->distances = eqf__alloc(c->ctx, 2 * (size_t)c->options.num_splits, sizeof *c->distances, "the splits");
    if (c->distances == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    c->floors = c->distances + c->options.num_splits;
    EQF__TRY(make_pools(c, sets, count));
    compare_lines(c, energies_of, 1, &full->energy);
    compare_lines(c, distances_of, num_particles * (num_particles - 1) / 2, &full->pair_distance);
    if (num_aligned == 0) return EQF_OK;
    clear_pools(c);
    EQF__TRY(make_pools(c, sets, num_aligned < count ? num_aligned : count));
    return compare_aligned(c, &full->aligned);
}

static eqf_status read_options(eqf_context *ctx, const eqf_potential_options *potential,
                               const eqf_comparison_options *given, eqf_comparison_options *options) {
    *options = (eqf_comparison_options)EQF_COMPARISON_OPTIONS_INIT;
    if (given != NULL) EQF__TRY(EQF__READ(ctx, EQF_COMPARISON_OPTIONS_INIT, given, options));
    if (options->num_compared == 0) options->num_compared = 2000;
    if (options->num_aligned == 0) options->num_aligned = potential->num_particles <= FEW_PARTICLES ? 500 : 200;
    if (options->has_no_aligned) options->num_aligned = 0;
    if (options->num_splits == 0) options->num_splits = 20;
    if (options->num_starts == 0) options->num_starts = 1;
    if (options->num_splits < 2)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_splits is %u: must be 2 or more", options->num_splits);
    if (options->num_compared == 1)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_compared is 1: must be 2 or more");
    if (options->num_aligned > 10000)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "num_aligned is %zu: must be 10000 at most, its cost grows with the square",
                         options->num_aligned);
    return EQF_OK;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

eqf_status eqf_compare(eqf_context *ctx, const eqf_potential_options *potential, size_t num_a, const float *a,
                       size_t num_b, const float *b, size_t num_reference, const float *reference,
                       const eqf_comparison_options *options, eqf_comparison *comparison_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, potential);
    EQF__NOT_NULL(ctx, a);
    EQF__NOT_NULL(ctx, b);
    EQF__NOT_NULL(ctx, comparison_out);
    EQF__TRY(eqf_potential_check(ctx, potential));
    comparison c = {.ctx = ctx, .potential = potential};
    EQF__TRY(read_options(ctx, potential, options, &c.options));
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_COMPARISON_INIT, comparison_out));
    if (potential->num_particles < 2 || potential->space_dim > 3)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "sets need 2 particles or more, in 1 to 3 dimensions");
    if (reference == NULL) num_reference = 0;
    const given_sets sets = {{num_a, num_b, num_reference}, {a, b, reference}};
    const size_t num_perfect = reference != NULL ? num_reference : num_b;
    const size_t count = least(least(num_a, num_b), least(num_perfect / 2, c.options.num_compared));
    if (count < 2)
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "the sets are too small: 2 configurations of each are needed, and 4 of the perfect one, whose halves are "
            "compared");
    eqf_comparison full = EQF_COMPARISON_INIT;
    const eqf_set_distance none = {0, NAN, NAN, NAN, NAN, NAN};
    full.energy = full.pair_distance = full.aligned = none;
    full.has_reference = reference != NULL;
    const eqf_status status = compare_all(&c, &sets, count, c.options.num_aligned, &full);
    clear_pools(&c);
    free(c.distances);
    EQF__TRY(status);
    return EQF__WRITE(ctx, EQF_COMPARISON_INIT, &full, comparison_out);
}
