/* Pairs of latents and data for flow matching, made in host threads while the device trains. A pair depends on seed and
 * position alone, and on the group of positions that it is made in: results do not depend on the number of threads. */
#ifndef EQF_PAIRING_H
#define EQF_PAIRING_H

#include "base.h"
#include "eqflow/model.h"
#include "eqflow/train.h"

typedef struct eqf__pairing_options {
    eqf_pairing kind;
    size_t group_size;                 /* pairs among which latents are dealt to data */
    unsigned num_starts;               /* of an alignment of more than four particles */
    unsigned num_particles, space_dim, num_b; /* the model's */
    const eqf_model_options *model;    /* whose prior the latents are of; borrowed */
    uint64_t seed;
} eqf__pairing_options;

/* num_pairs pairs of positions first ... first + num_pairs - 1 of the endless sequence of data that seed shuffles:
 * data_out and latents_out [num_pairs, N, D], centred; of data [num, N, D]. Errors: OUT_OF_MEMORY. */
eqf_status eqf__pairs_make(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                           uint64_t first, size_t num_pairs, float *latents_out, float *data_out);

/* Batches made ahead by threads of their own. */
typedef struct eqf__pairing eqf__pairing;
/* Batch b has the num_pairs positions that begin at b * batch_size + first; data [num, N, D] is
 * borrowed. num_threads 0: as many as there are
 * processors, up to 8. Threads start with the first batch that is asked for. */
eqf_status eqf__pairing_create(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                               size_t batch_size, size_t first, size_t num_pairs, unsigned num_threads,
                               eqf__pairing **pairing_out);
/* Waits for that batch; after the first, the batch is the last again or the one after it. The arrays
 * [num_pairs, N, D] are valid until the next call. */
eqf_status eqf__pairing_take(eqf__pairing *pairing, uint64_t batch, const float **latents_out, const float **data_out);
void eqf__pairing_destroy(eqf__pairing **pairing);

#endif
