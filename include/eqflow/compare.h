/* Are two sets of configurations of one equilibrium? 2-Wasserstein distances between them, each with its floor: the
 * distance of two perfect sets of that size. Equations: docs/averages.md. */
#ifndef EQFLOW_COMPARE_H
#define EQFLOW_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eqflow/potential.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeros mean defaults. */
typedef struct eqf_comparison_options {
    size_t struct_size;  /* set by EQF_COMPARISON_OPTIONS_INIT */
    uint64_t seed;       /* of the choice of configurations, the splits of the perfect set, the starts of alignments */
    size_t num_compared; /* 2000: configurations of each set at most */
    /* of these, for the aligned distance, whose cost grows with their square: 500, above 4 particles 200 */
    size_t num_aligned;
    bool has_no_aligned; /* no aligned distance */
    unsigned num_splits; /* 20: random splits of the perfect set; 2 or more */
    unsigned num_starts; /* 1: random orientations that an alignment of more than 4 particles begins from */
} eqf_comparison_options;
#define EQF_COMPARISON_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_comparison_options) }

/* One distance: means and standard deviations (spreads) over the splits; NaN if it was not asked for. */
typedef struct eqf_set_distance {
    size_t num_compared;             /* configurations of each set */
    double distance, spread;         /* between the two sets */
    double floor, floor_spread;      /* between two halves of the perfect set, of the same size */
    /* fraction of splits whose floor is at least the distance: near 0 the sets differ */
    double fraction_of_floors_above;
} eqf_set_distance;

typedef struct eqf_comparison {
    size_t struct_size;             /* set by EQF_COMPARISON_INIT */
    eqf_set_distance energy;        /* of reduced energies, kT; +infinity if configurations of a have none */
    eqf_set_distance pair_distance; /* of the distances of all pairs, length */
    eqf_set_distance aligned; /* of configurations up to rotation, reflection and permutation within species, length */
    bool has_reference;       /* the floor is the reference's; else it is b's */
} eqf_comparison;
#define EQF_COMPARISON_INIT \
    { .struct_size = sizeof(eqf_comparison) }

/* a [num_a, N, D], b [num_b, N, D], and reference [num_reference, N, D] or NULL: a perfect set, whose halves give the
 * floor; without it b is taken as perfect. Of each set as many configurations are compared as the least of num_a,
 * num_b, half of the perfect set, and num_compared. options may be NULL. Errors: INVALID_ARGUMENT, NON_FINITE (b or the
 * reference has configurations without a finite energy), INTERRUPTED, OUT_OF_MEMORY, those of the device. */
eqf_status eqf_compare(eqf_context *ctx, const eqf_potential_options *potential, size_t num_a, const float *a,
                       size_t num_b, const float *b, size_t num_reference, const float *reference,
                       const eqf_comparison_options *options, eqf_comparison *comparison_out);

#ifdef __cplusplus
}
#endif
#endif
