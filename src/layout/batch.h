/* A batch on its way: rows [B, N*D] of the host become blocks [num_blocks][N*D][V] of the device and come back, chunk
 * after chunk. */
#ifndef EQF_BATCH_H
#define EQF_BATCH_H

#include "program.h"
#include "real.h"

/* An array of the caller's: single or twofold, the other is NULL; both NULL: not wanted. */
typedef struct eqf__array {
    float *single;
    double *twofold;
} eqf__array;
/* From its number `first` on. */
eqf__array eqf__array_at(eqf__array array, size_t first);
static inline bool eqf__array_is_wanted(eqf__array array) {
    return array.single != NULL || array.twofold != NULL;
}
static inline eqf__array eqf__floats(const float *values) {
    return (eqf__array){.single = (float *)(uintptr_t)values}; /* what is only read is not written */
}
static inline eqf__array eqf__doubles(const double *values) {
    return (eqf__array){.twofold = (double *)(uintptr_t)values};
}

typedef struct eqf__batch {
    eqf_context *ctx;
    eqf__real real;
    size_t num_dof, chunk_size; /* samples of a chunk, at most */
    eqf__pieces pieces;
    eqf__kernel pack, unpack;
    cl_mem d_rows, d_x; /* [chunk_size, N*D], [blocks][N*D][V] */
    void *h_other;      /* [chunk_size * N*D] of the precision that the device has not; made when wanted */
} eqf__batch;

/* program: one that has common/pack.cl. most_samples: that are ever packed at once; 0: not known. */
eqf_status eqf__batch_create(eqf_context *ctx, eqf__program *program, const eqf__real *real, size_t num_dof,
                             size_t most_samples, eqf__batch *batch_out);
void eqf__batch_clear(eqf__batch *batch);

static inline size_t eqf__num_blocks(const eqf__real *real, size_t num_samples) {
    return (num_samples + real->vector_width - 1) / real->vector_width;
}
/* Samples of a chunk and what fills its last block: numbers of a buffer with one number a sample. */
static inline size_t eqf__batch_lanes(const eqf__batch *batch) {
    return eqf__num_blocks(&batch->real, batch->chunk_size) * batch->real.vector_width;
}
/* Samples of the next chunk, of num of which done are done: 0 at the end. */
static inline size_t eqf__batch_next(eqf__batch *batch, size_t num, size_t done) {
    return eqf__next_piece(batch->ctx, &batch->pieces, batch->chunk_size, num, done);
}

/* Layout alone: d_rows and d_blocked are the caller's. */
eqf_status eqf__batch_pack(const eqf__batch *batch, size_t count, cl_mem d_rows, cl_mem d_blocked);
eqf_status eqf__batch_unpack(const eqf__batch *batch, size_t count, cl_mem d_blocked, cl_mem d_rows);
/* A chunk of the host's rows into d_x, and back from d_blocked. Rounded where the host's precision is not the
 * device's. */
eqf_status eqf__batch_upload(eqf__batch *batch, size_t count, eqf__array rows);
eqf_status eqf__batch_download(eqf__batch *batch, size_t count, cl_mem d_blocked, eqf__array rows_out);
/* One number a sample, if it is wanted. */
eqf_status eqf__batch_read(eqf__batch *batch, size_t count, cl_mem d_numbers, eqf__array numbers_out);
/* [chunk_size] of them are zero. */
eqf_status eqf__batch_zero(const eqf__batch *batch, size_t count, cl_mem d_numbers);

#endif
