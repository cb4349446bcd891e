/* Work that ranks share. A sample depends on its number alone, so any division gives the same results. */
#include <stdlib.h>

#include "evaluation.h"

static eqf_status gather(eqf_context *ctx, size_t num, size_t item_bytes, void *items) {
    const unsigned num_ranks = eqf__num_ranks(ctx);
    if (num_ranks <= 1) return EQF_OK;
    size_t *first = eqf__alloc(ctx, num_ranks + 1, sizeof *first, "the ranks' shares");
    if (first == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned rank = 0; rank <= num_ranks; rank++) first[rank] = eqf__share_begin(ctx, num, rank);
    const eqf_status status = eqf__gather(ctx, first, item_bytes, items);
    free(first);
    return status;
}

eqf_status eqf__shared_log_prob(const eqf__evaluated *of, eqf_flow *flow, const char *label, size_t num, const float *x,
                                float *log_prob_out) {
    size_t first, count;
    eqf__share(of->ctx, num, &first, &count);
    eqf__progress_label(of->ctx, label);
    eqf_status status = eqf_flow_log_prob_part(flow, first, count, x + first * of->num_dof, log_prob_out + first, NULL);
    eqf__progress_label(of->ctx, NULL);
    return status != EQF_OK ? status : gather(of->ctx, num, sizeof *log_prob_out, log_prob_out);
}

eqf_status eqf__shared_sample(const eqf__evaluated *of, eqf_flow *flow, uint64_t seed, size_t first_sample, size_t num,
                              float *x_out, float *log_prob_out) {
    size_t first, count;
    eqf__share(of->ctx, num, &first, &count);
    EQF__TRY(
        eqf_flow_sample(flow, seed, first_sample + first, count, x_out + first * of->num_dof, log_prob_out + first));
    EQF__TRY(gather(of->ctx, num, of->num_dof * sizeof *x_out, x_out));
    return gather(of->ctx, num, sizeof *log_prob_out, log_prob_out);
}

eqf_status eqf__shared_energy(const eqf__evaluated *of, size_t num, const float *x, float *energy_out) {
    size_t first, count;
    eqf__share(of->ctx, num, &first, &count);
    EQF__TRY(eqf_potential_evaluate(of->ctx, of->target, count, x + first * of->num_dof, energy_out + first, NULL));
    return gather(of->ctx, num, sizeof *energy_out, energy_out);
}
