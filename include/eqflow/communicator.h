/* Several processes (ranks), each with its own device, share the work of one call; these functions are all the
 * communication that they need. The library does not use MPI itself: apps/eqflow/mpi.c implements them with MPI. */
#ifndef EQFLOW_COMMUNICATOR_H
#define EQFLOW_COMMUNICATOR_H

#include <stdbool.h>

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All functions are collective: each rank calls them in the same order with the same counts; they return false if the
 * ranks could not reach each other. */
typedef struct eqf_communicator {
    size_t struct_size; /* set by EQF_COMMUNICATOR_INIT */
    unsigned rank, size; /* rank: 0 ... size - 1 */
    void *user;          /* handed to the functions */
    /* values [count] become their sums over the ranks, in place; every rank gets the same bits. */
    bool (*sum_floats)(void *user, size_t count, float *values);
    bool (*sum_doubles)(void *user, size_t count, double *values);
    /* bytes [bounds[size]]: rank r has bytes bounds[r] ... bounds[r + 1] - 1, and receives all others. */
    bool (*gather)(void *user, const size_t *bounds, void *bytes);
} eqf_communicator;
#define EQF_COMMUNICATOR_INIT {.struct_size = sizeof(eqf_communicator), .size = 1}

/* After this call these functions on ctx are collective: each rank calls them with the same arguments, and they share
 * the work. Every other call concerns its own rank only:
 *   eqf_mcmc_sample         chains are split; every rank gets all samples, bit for bit those of one rank
 *   eqf_trainer_advance     batches and held-out data are split, gradients summed: the same but for rounding
 * All ranks need the same library and devices of one kind. communicator is copied, its user must outlive ctx; NULL
 * removes it. Not allowed while a trainer of ctx exists. Errors: INVALID_ARGUMENT. */
eqf_status eqf_context_set_communicator(eqf_context *ctx, const eqf_communicator *communicator);

/* The first index of a rank's part when num things are shared; the part ends where that of rank + 1 begins. For rank =
 * size the result is num. */
size_t eqf_communicator_share(const eqf_communicator *communicator, unsigned rank, size_t num);

#ifdef __cplusplus
}
#endif
#endif
