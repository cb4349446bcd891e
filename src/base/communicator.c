#include "eqflow/communicator.h"

#include <stdlib.h>

#include "base.h"

eqf_status eqf_context_set_communicator(eqf_context *ctx, const eqf_communicator *communicator) {
    static const eqf_communicator alone = EQF_COMMUNICATOR_INIT;
    if (ctx == NULL) return EQF_ERROR_INVALID_ARGUMENT;
    eqf_communicator copy = alone;
    if (communicator != NULL) EQF__TRY(EQF__READ(ctx, EQF_COMMUNICATOR_INIT, communicator, &copy));
    communicator = &copy;
    if (communicator->rank >= communicator->size)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "rank %u is not one of %u", communicator->rank,
                         communicator->size);
    if (communicator->size > 1 &&
        (communicator->sum_floats == NULL || communicator->sum_doubles == NULL || communicator->gather == NULL))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "a communicator of several ranks needs all its functions");
    ctx->communicator = *communicator;
    return EQF_OK;
}

size_t eqf_communicator_share(const eqf_communicator *communicator, unsigned rank, size_t num) {
    const unsigned size = communicator != NULL && communicator->size > 1 ? communicator->size : 1;
    return num / size * rank + num % size * rank / size; /* num * rank / size without overflow */
}

unsigned eqf__num_ranks(const eqf_context *ctx) {
    return ctx->communicator.size > 1 ? ctx->communicator.size : 1;
}

size_t eqf__share_begin(const eqf_context *ctx, size_t num, unsigned rank) {
    return eqf_communicator_share(&ctx->communicator, rank, num);
}

void eqf__share(const eqf_context *ctx, size_t num, size_t *first_out, size_t *count_out) {
    *first_out = eqf__share_begin(ctx, num, ctx->communicator.rank);
    *count_out = eqf__share_begin(ctx, num, ctx->communicator.rank + 1) - *first_out;
}

static eqf_status check(eqf_context *ctx, bool is_good) {
    if (is_good) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_DEVICE, "rank %u of %u could not reach the others", ctx->communicator.rank,
                     ctx->communicator.size);
}

eqf_status eqf__sum_floats(eqf_context *ctx, size_t count, float *values) {
    const eqf_communicator *all = &ctx->communicator;
    return all->size > 1 ? check(ctx, all->sum_floats(all->user, count, values)) : EQF_OK;
}

eqf_status eqf__sum_doubles(eqf_context *ctx, size_t count, double *values) {
    const eqf_communicator *all = &ctx->communicator;
    return all->size > 1 ? check(ctx, all->sum_doubles(all->user, count, values)) : EQF_OK;
}

eqf_status eqf__gather(eqf_context *ctx, const size_t *first_items, size_t item_bytes, void *items) {
    const eqf_communicator *all = &ctx->communicator;
    if (all->size <= 1) return EQF_OK;
    size_t *bounds = eqf__alloc(ctx, all->size + 1, sizeof *bounds, "the ranks' shares");
    if (bounds == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned rank = 0; rank <= all->size; rank++) bounds[rank] = first_items[rank] * item_bytes;
    eqf_status status = check(ctx, all->gather(all->user, bounds, items));
    free(bounds);
    return status;
}
