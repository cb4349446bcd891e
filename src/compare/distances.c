/* 2-Wasserstein distances of two sets of equal size. Sorted numbers are matched in order; configurations are matched
 * by the assignment of least cost. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alignment.h"
#include "assignment.h"
#include "compare.h"

static const eqf__labelled *next_of(const eqf__labelled *at, const eqf__pool *pool, unsigned char half) {
    while (pool->half[at->of] != half) at++;
    return at;
}

/* For two sets of n numbers the k-th smallest of both are matched: W2^2 = (1/n) sum_k (a_(k) - b_(k))^2. */
double eqf__line_distance(const eqf__labelled *a, const eqf__pool *of_a, unsigned char half_a, const eqf__labelled *b,
                          const eqf__pool *of_b, unsigned char half_b, size_t count) {
    double sum = 0;
    for (size_t k = 0; k < count; k++) {
        a = next_of(a, of_a, half_a);
        b = next_of(b, of_b, half_b);
        const double difference = (double)a++->value - (double)b++->value;
        sum += difference * difference / (double)count;
    }
    return sum;
}

/* ---- Configurations ---------------------------------------------------------------------------------------------- */

eqf_status eqf__aligned_squares(eqf_context *ctx, const eqf_potential_options *potential, const eqf__pool *a,
                                const eqf__pool *b, unsigned num_starts, uint64_t seed, double *work_done,
                                float *squares_out) {
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    eqf__alignment *alignment;
    EQF__TRY(eqf__alignment_create(ctx, potential->num_particles, eqf_potential_num_b(potential), potential->space_dim,
                                   &alignment));
    double *x = eqf__alloc(ctx, num_dof, sizeof *x, "a configuration");
    eqf_status status = x == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    for (size_t i = 0; i < a->num && status == EQF_OK; i++) {
        const double *z = a->centred + i * num_dof;
        for (size_t j = a == b ? i + 1 : 0; j < b->num; j++) {
            const double *other = b->centred + j * num_dof;
            double square = eqf__aligned_distance(alignment, z, other);
            if (isnan(square)) { /* too many particles for all permutations */
                memcpy(x, other, num_dof * sizeof *x);
                square = eqf__align(alignment, z, num_starts, seed, (i * b->num + j) * num_starts, x);
            }
            squares_out[i * b->num + j] = (float)fmax(square, 0);
            if (a == b) squares_out[j * b->num + i] = squares_out[i * b->num + j];
        }
        *work_done += (double)(a == b ? b->num - i - 1 : b->num);
        status = eqf__progress_done(ctx, *work_done);
    }
    free(x);
    eqf__alignment_destroy(&alignment);
    return status;
}

eqf_status eqf__transport_create(eqf_context *ctx, size_t count, eqf__transport *transport_out) {
    transport_out->cost =
        eqf__alloc(ctx, count * count + EQF__ASSIGNMENT_DOUBLES(count), sizeof(double), "optimal transport");
    transport_out->indices =
        eqf__alloc(ctx, EQF__ASSIGNMENT_INDICES(count) + count, sizeof(unsigned), "optimal transport");
    if (transport_out->cost == NULL || transport_out->indices == NULL) {
        eqf__transport_clear(transport_out);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    transport_out->doubles = transport_out->cost + count * count;
    transport_out->columns = transport_out->indices + EQF__ASSIGNMENT_INDICES(count);
    return EQF_OK;
}

void eqf__transport_clear(eqf__transport *transport) {
    free(transport->cost);
    free(transport->indices);
    transport->cost = NULL;
    transport->indices = NULL;
}

/* Between uniform distributions on n points each, one of the best plans is a permutation: W2^2 = (1/n) min over
 * permutations p of sum_i d(a_i, b_p(i))^2. */
double eqf__aligned_distance_of_halves(const eqf__transport *transport, const float *squares, const eqf__pool *a,
                                       unsigned char half_a, const eqf__pool *b, unsigned char half_b, size_t count) {
    size_t next = 0;
    for (size_t i = 0; i < a->num; i++)
        for (size_t j = 0; j < b->num && a->half[i] == half_a; j++)
            if (b->half[j] == half_b) transport->cost[next++] = (double)squares[i * b->num + j];
    eqf__assign((unsigned)count, transport->cost, transport->doubles, transport->indices, transport->columns);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += transport->cost[i * count + transport->columns[i]] / (double)count;
    return sum;
}
