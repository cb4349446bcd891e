/* The model's score, the gradient of its log-density with respect to x: docs/method.md, section 7. It is the adjoint of
 * x in the reverse solve of the mean nll, multiplied by minus the number of samples. */
#include "solve.h"

enum { SCORE_CHUNK = 2048 }; /* configurations whose checkpoints are held at once */

/* score = -B d(mean nll)/dx of a batch of B. */
static eqf_status score_chunk(eqf_flow *flow, size_t count, const float *x, float *log_prob_out, float *z_out,
                              float *score_out) {
    eqf_context *ctx = flow->ctx;
    const eqf__gradient_workspace *w = &flow->workspace;
    const size_t num_numbers = count * flow->num_dof;
    eqf_loss loss = EQF_LOSS_INIT;
    EQF__TRY(eqf_flow_nll_gradient(flow, 0, count, x, &loss, NULL, score_out));
    for (size_t c = 0; c < num_numbers; c++) score_out[c] *= -(float)count;
    EQF__TRY(eqf__buffer_read(ctx, w->d_value, 0, count * sizeof *log_prob_out, log_prob_out));
    for (size_t b = 0; b < count; b++) log_prob_out[b] = -log_prob_out[b];
    if (z_out == NULL) return EQF_OK;
    /* The solve of the loss has overwritten the batch with the latents. */
    return eqf__batch_download(&flow->batch, count, w->d_x, eqf__floats(z_out));
}

eqf_status eqf_flow_score(eqf_flow *flow, size_t batch_size, const float *x, float *log_prob_out, float *z_out,
                          float *score_out) {
    EQF__NOT_NULL(NULL, flow);
    if (batch_size > 0 && (x == NULL || log_prob_out == NULL || score_out == NULL))
        return eqf__fail(flow->ctx, EQF_ERROR_INVALID_ARGUMENT, "x, log_prob_out and score_out must not be NULL");
    const size_t most = flow->batch.chunk_size < SCORE_CHUNK ? flow->batch.chunk_size : SCORE_CHUNK;
    for (size_t done = 0; done < batch_size;) {
        const size_t count = eqf__next_piece(flow->ctx, &flow->batch.pieces, most, batch_size, done);
        const size_t first = done * flow->num_dof;
        EQF__TRY(eqf__progress(flow->ctx, "score", (double)done, (double)batch_size));
        EQF__TRY(score_chunk(flow, count, x + first, log_prob_out + done, z_out != NULL ? z_out + first : NULL,
                             score_out + first));
        done += count;
    }
    return EQF_OK;
}
