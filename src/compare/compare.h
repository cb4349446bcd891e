/* Shared by the files of src/compare: pools of configurations and their splits. */
#ifndef EQF_COMPARE_INTERNAL_H
#define EQF_COMPARE_INTERNAL_H

#include "base.h"
#include "eqflow/compare.h"

/* A number and the index of its configuration; arrays of them are in ascending order. */
typedef struct eqf__labelled {
    float value;
    uint32_t of;
} eqf__labelled;

/* A choice of a set's configurations, up to twice as many as a comparison takes. */
typedef struct eqf__pool {
    size_t num;
    float *x;                 /* [num, N, D], as given */
    double *centred;          /* [num, N, D], centres of mass at 0 */
    float *energy;            /* [num] */
    eqf__labelled *energies;  /* [num], ascending */
    eqf__labelled *distances; /* [num, N(N-1)/2], ascending */
    unsigned char *half;      /* [num]: 1 or 2, the half in the present split; 0: in neither */
    uint32_t *order;          /* [num]: work space of a split */
    uint32_t stream;          /* of random numbers, different for each pool */
} eqf__pool;

/* Chooses num_chosen of the configurations x [num, N, D], or all if there are fewer. */
eqf_status eqf__pool_make(eqf_context *ctx, const eqf_potential_options *potential, size_t num, const float *x,
                          size_t num_chosen, uint64_t seed, uint32_t stream, eqf__pool *pool_out);
void eqf__pool_clear(eqf__pool *pool);
/* Puts `count` configurations into each of the halves 1 and 2, or into 1 only if there are not enough. */
void eqf__pool_split(eqf__pool *pool, size_t count, uint64_t seed, uint32_t split);

/* Squared 2-Wasserstein distance of `count` numbers of each list: of those in the given half of its pool. */
double eqf__line_distance(const eqf__labelled *a, const eqf__pool *of_a, unsigned char half_a, const eqf__labelled *b,
                          const eqf__pool *of_b, unsigned char half_b, size_t count);

/* The least squared distances between configurations of two pools over all rotations, reflections and permutations
 * within the potential's species, the first num of each: squares_out [a->num, b->num]. a may be b. Adds its work to
 * *work_done, for the progress. */
eqf_status eqf__aligned_squares(eqf_context *ctx, const eqf_potential_options *potential, const eqf__pool *a,
                                const eqf__pool *b, unsigned num_starts, uint64_t seed, double *work_done,
                                float *squares_out);
/* Working memory of eqf__aligned_distance_of_halves, which gives the squared 2-Wasserstein distance of two halves of
 * `count` configurations from those squares. */
typedef struct eqf__transport {
    double *cost, *doubles; /* [count, count], [EQF__ASSIGNMENT_DOUBLES(count)] */
    unsigned *indices, *columns;
} eqf__transport;
eqf_status eqf__transport_create(eqf_context *ctx, size_t count, eqf__transport *transport_out);
void eqf__transport_clear(eqf__transport *transport);
double eqf__aligned_distance_of_halves(const eqf__transport *transport, const float *squares, const eqf__pool *a,
                                       unsigned char half_a, const eqf__pool *b, unsigned char half_b, size_t count);

#endif
