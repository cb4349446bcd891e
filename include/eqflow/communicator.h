/* Several processes, each with a device of its own, as one: what they must be able to tell each other. The library
 * knows no MPI; who has it writes these functions around it (apps/eqflow/mpi.c does). */
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
    /* Of bytes [bounds[size]] each rank r has bytes bounds[r] ... bounds[r + 1] - 1, and gets the others. */
    bool (*gather)(void *user, const size_t *bounds, void *bytes);
} eqf_communicator;
#define EQF_COMMUNICATOR_INIT {.struct_size = sizeof(eqf_communicator), .size = 1}

/* From now on these calls on ctx are collective, with the same arguments on each rank, and share their work; all other
 * calls stay each rank's own:
 *   eqf_mcmc_sample         chains are split; every rank gets all samples, bit for bit those of one rank
 *   eqf_trainer_advance     batches and held-out data are split, gradients summed: the same but for rounding
 * All ranks need the same library and devices of one kind. communicator is copied, its user must outlive ctx; NULL
 * takes it back. Not while trainers live. Errors: INVALID_ARGUMENT. */
eqf_status eqf_context_set_communicator(eqf_context *ctx, const eqf_communicator *communicator);

/* Where the part of a rank begins when num things are shared; it ends where the next rank's begins, and for rank = size
 * that is num. */
size_t eqf_communicator_share(const eqf_communicator *communicator, unsigned rank, size_t num);

#ifdef __cplusplus
}
#endif
#endif
