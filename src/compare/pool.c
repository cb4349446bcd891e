/* Pools: a random choice of a set's configurations, with sorted energies and pair distances, and its random splits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

#include "compare.h"

enum { STREAM_COMPARE = 0x636f6d70 };

/* Uniform in 0 ... bound - 1 up to a relative error of bound / 2^64: the high half of 64 random bits times bound. */
static uint32_t below(uint64_t seed, uint32_t stream, uint32_t round, uint32_t number, uint32_t bound) {
    const philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    const philox4x32_ctr_t counter = {{number, round, stream, STREAM_COMPARE}}, words = philox4x32(counter, key);
    const uint64_t low = (uint64_t)words.v[1] * bound >> 32;
    return (uint32_t)(((uint64_t)words.v[0] * bound + low) >> 32);
}

/* order [num]: its first `count` elements become a random choice in random order (Fisher and Yates). */
static void shuffle(uint32_t *order, size_t num, size_t count, uint64_t seed, uint32_t stream, uint32_t round) {
    for (size_t k = 0; k < num; k++) order[k] = (uint32_t)k;
    for (size_t k = 0; k < count && k + 1 < num; k++) {
        const size_t other = k + below(seed, stream, round, (uint32_t)k, (uint32_t)(num - k));
        const uint32_t kept = order[k];
        order[k] = order[other];
        order[other] = kept;
    }
}

static int compare_labelled(const void *a, const void *b) {
    const float x = ((const eqf__labelled *)a)->value, y = ((const eqf__labelled *)b)->value;
    return (x > y) - (x < y);
}

static void fill_distances(unsigned num_particles, unsigned space_dim, const eqf__pool *pool) {
    eqf__labelled *next = pool->distances;
    for (size_t b = 0; b < pool->num; b++) {
        const double *x = pool->centred + b * num_particles * space_dim;
        for (unsigned i = 0; i < num_particles; i++)
            for (unsigned j = i + 1; j < num_particles; j++) {
                double square = 0;
                for (unsigned d = 0; d < space_dim; d++) {
                    const double r = x[i * space_dim + d] - x[j * space_dim + d];
                    square += r * r;
                }
                *next++ = (eqf__labelled){(float)sqrt(square), (uint32_t)b};
            }
    }
}

static void centre(unsigned num_particles, unsigned space_dim, const float *x, double *centred) {
    for (unsigned d = 0; d < space_dim; d++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += (double)x[i * space_dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) centred[i * space_dim + d] = (double)x[i * space_dim + d] - mean;
    }
}

static eqf_status fill(eqf_context *ctx, const eqf_potential_options *potential, const float *x, eqf__pool *pool) {
    const unsigned num_particles = potential->num_particles, space_dim = potential->space_dim;
    const size_t num_dof = (size_t)num_particles * space_dim;
    for (size_t b = 0; b < pool->num; b++) {
        const float *from = x + pool->order[b] * num_dof;
        for (size_t c = 0; c < num_dof; c++)
            if (!isfinite(from[c]))
                return eqf__fail(ctx, EQF_ERROR_NON_FINITE, "configuration %lu of a set is not finite",
                                 (unsigned long)pool->order[b]);
        memcpy(pool->x + b * num_dof, from, num_dof * sizeof *x);
        centre(num_particles, space_dim, from, pool->centred + b * num_dof);
    }
    EQF__TRY(eqf_potential_evaluate(ctx, potential, pool->num, pool->x, pool->energy, NULL));
    for (size_t b = 0; b < pool->num; b++) /* outside the potential's domain the energy counts as infinite */
        pool->energies[b] = (eqf__labelled){isnan(pool->energy[b]) ? INFINITY : pool->energy[b], (uint32_t)b};
    fill_distances(num_particles, space_dim, pool);
    const size_t num_pairs = (size_t)num_particles * (num_particles - 1) / 2;
    qsort(pool->energies, pool->num, sizeof *pool->energies, compare_labelled);
    qsort(pool->distances, pool->num * num_pairs, sizeof *pool->distances, compare_labelled);
    return EQF_OK;
}

eqf_status eqf__pool_make(eqf_context *ctx, const eqf_potential_options *potential, size_t num, const float *x,
                          size_t num_chosen, uint64_t seed, uint32_t stream, eqf__pool *pool_out) {
    const size_t num_particles = potential->num_particles, num_dof = num_particles * potential->space_dim,
                 num_pairs = num_particles * (num_particles - 1) / 2;
    if (num > UINT32_MAX) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "a set has more than 2^32 configurations");
    *pool_out = (eqf__pool){.num = num < num_chosen ? num : num_chosen, .stream = stream};
    eqf__pool *pool = pool_out;
    pool->order = eqf__alloc(ctx, num, sizeof *pool->order, "the choice of configurations");
    pool->x = eqf__alloc(ctx, pool->num, num_dof * sizeof *pool->x, "the configurations");
    pool->centred = eqf__alloc(ctx, pool->num, num_dof * sizeof *pool->centred, "the configurations");
    pool->energy = eqf__alloc(ctx, pool->num, sizeof *pool->energy, "the energies");
    pool->energies = eqf__alloc(ctx, pool->num, sizeof *pool->energies, "the energies");
    pool->distances = eqf__alloc(ctx, pool->num * num_pairs, sizeof *pool->distances, "the pair distances");
    pool->half = eqf__alloc(ctx, pool->num, sizeof *pool->half, "a split");
    eqf_status status = EQF_ERROR_OUT_OF_MEMORY;
    if (pool->order != NULL && pool->x != NULL && pool->centred != NULL && pool->energy != NULL &&
        pool->energies != NULL && pool->distances != NULL && pool->half != NULL) {
        shuffle(pool->order, num, pool->num, seed, stream, 0);
        status = fill(ctx, potential, x, pool);
    }
    if (status != EQF_OK) eqf__pool_clear(pool);
    return status;
}

void eqf__pool_clear(eqf__pool *pool) {
    free(pool->x);
    free(pool->centred);
    free(pool->energy);
    free(pool->energies);
    free(pool->distances);
    free(pool->half);
    free(pool->order);
    *pool = (eqf__pool){.num = 0};
}

void eqf__pool_split(eqf__pool *pool, size_t count, uint64_t seed, uint32_t split) {
    const size_t num_halves = pool->num >= 2 * count ? 2 : 1;
    shuffle(pool->order, pool->num, num_halves * count, seed, pool->stream, 1 + split);
    memset(pool->half, 0, pool->num * sizeof *pool->half);
    for (size_t k = 0; k < num_halves * count; k++) pool->half[pool->order[k]] = (unsigned char)(1 + k / count);
}
