/* Pairs of latents and data for flow matching, made in host threads while the device trains. A pair depends on the
 * seed, its position and its group of positions only, so results do not depend on the number of threads. */
#ifndef EQF_PAIRING_H
#define EQF_PAIRING_H

#include "base.h"
#include "eqflow/model.h"
#include "eqflow/train.h"

typedef struct eqf__pairing_options {
    eqf_pairing kind;
    size_t group_size;                 /* number of pairs within which latents are dealt to data */
    unsigned num_starts;               /* orientations from which an alignment of more than four particles begins */
    unsigned num_particles, space_dim, num_b; /* the model's */
    const eqf_model_options *model;    /* its prior gives the latents; borrowed */
    uint64_t seed;
} eqf__pairing_options;

/* The pairs at positions first ... first + num_pairs - 1 of an endless sequence: epochs of data [num, N, D], each
 * shuffled by the seed. data_out and latents_out [num_pairs, N, D], centred. Errors: OUT_OF_MEMORY. */
eqf_status eqf__pairs_make(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                           uint64_t first, size_t num_pairs, float *latents_out, float *data_out);

/* Batches that threads make in advance. */
typedef struct eqf__pairing eqf__pairing;
/* Batch b has the num_pairs positions from b * batch_size + first on; data [num, N, D] is borrowed. num_threads 0: one
 * for each processor, at most 8. The threads start when the first batch is taken. */
eqf_status eqf__pairing_create(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                               size_t batch_size, size_t first, size_t num_pairs, unsigned num_threads,
                               eqf__pairing **pairing_out);
/* Waits for a batch, which after the first call must be the same as in the last call or the next one. The arrays
 * [num_pairs, N, D] are valid until the next call. */
eqf_status eqf__pairing_take(eqf__pairing *pairing, uint64_t batch, const float **latents_out, const float **data_out);
void eqf__pairing_destroy(eqf__pairing **pairing);

#endif
