/* Copies a batch between rows [B, N*D] of the host and blocks [num_blocks][N*D][V] of the device, in chunks of
 * samples. */
#ifndef EQF_BATCH_H
#define EQF_BATCH_H

#include "program.h"
#include "real.h"

/* An array of the caller in single or double precision; the other member is NULL. Both NULL: no array. */
typedef struct eqf__array {
    float *single;
    double *twofold;
} eqf__array;
/* The part of the array from its number `first` on. */
eqf__array eqf__array_at(eqf__array array, size_t first);
static inline bool eqf__array_is_wanted(eqf__array array) {
    return array.single != NULL || array.twofold != NULL;
}
static inline eqf__array eqf__floats(const float *values) {
    return (eqf__array){.single = (float *)(uintptr_t)values}; /* the functions that take it only read */
}
static inline eqf__array eqf__doubles(const double *values) {
    return (eqf__array){.twofold = (double *)(uintptr_t)values};
}

typedef struct eqf__batch {
    eqf_context *ctx;
    eqf__real real;
    size_t num_dof, chunk_size; /* chunk_size: most samples of a chunk */
    eqf__pieces pieces;
    eqf__kernel pack, unpack;
    cl_mem d_rows, d_x; /* [chunk_size, N*D], [blocks][N*D][V] */
    void *h_other;      /* [chunk_size * N*D] in the precision that is not the device's; allocated at first use */
} eqf__batch;

/* program: it contains common/pack.cl. most_samples: the largest number of samples that are packed at a time; 0: not
 * known. */
eqf_status eqf__batch_create(eqf_context *ctx, eqf__program *program, const eqf__real *real, size_t num_dof,
                             size_t most_samples, eqf__batch *batch_out);
void eqf__batch_clear(eqf__batch *batch);

static inline size_t eqf__num_blocks(const eqf__real *real, size_t num_samples) {
    return (num_samples + real->vector_width - 1) / real->vector_width;
}
/* The samples of a chunk and the padding of its last block: the length of a buffer with a number of each sample. */
static inline size_t eqf__batch_lanes(const eqf__batch *batch) {
    return eqf__num_blocks(&batch->real, batch->chunk_size) * batch->real.vector_width;
}
/* The number of samples in the next chunk, if done of num are done; 0 at the end. */
static inline size_t eqf__batch_next(eqf__batch *batch, size_t num, size_t done) {
    return eqf__next_piece(batch->ctx, &batch->pieces, batch->chunk_size, num, done);
}

/* Only changes the layout; d_rows and d_blocked are the caller's buffers. */
eqf_status eqf__batch_pack(const eqf__batch *batch, size_t count, cl_mem d_rows, cl_mem d_blocked);
eqf_status eqf__batch_unpack(const eqf__batch *batch, size_t count, cl_mem d_blocked, cl_mem d_rows);
/* Copy a chunk of the host's rows to d_x, and from d_blocked back to rows; they convert between the precisions of host
 * and device. */
eqf_status eqf__batch_upload(eqf__batch *batch, size_t count, eqf__array rows);
eqf_status eqf__batch_download(eqf__batch *batch, size_t count, cl_mem d_blocked, eqf__array rows_out);
/* Reads a number of each sample, unless numbers_out has no array. */
eqf_status eqf__batch_read(eqf__batch *batch, size_t count, cl_mem d_numbers, eqf__array numbers_out);
/* Sets d_numbers [chunk_size] to zero. */
eqf_status eqf__batch_zero(const eqf__batch *batch, size_t count, cl_mem d_numbers);

#endif
