/* Long calls work in pieces. Between pieces they report to the program how far they are, and stop if it wants that. */
#include <time.h>

#include "base.h"

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

eqf_status eqf_context_set_progress(eqf_context *ctx, eqf_progress_callback progress, void *user) {
    EQF__NOT_NULL(ctx, ctx);
    ctx->progress.callback = progress;
    ctx->progress.user = user;
    ctx->progress.last.stage = NULL;
    return EQF_OK;
}

bool eqf__has_progress(const eqf_context *ctx) {
    return ctx->progress.callback != NULL && ctx->progress.num_held == 0;
}

static eqf_status report(eqf_context *ctx, const eqf_progress *now) {
    if (ctx->progress.callback(ctx->progress.user, now) == 0) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INTERRUPTED, "%s: stopped on request after %.0f of %.0f", now->stage, now->done,
                     now->total);
}

eqf_status eqf__progress(eqf_context *ctx, const char *stage, double done, double total) {
    eqf__progress_state *p = &ctx->progress;
    if (!eqf__has_progress(ctx)) return EQF_OK;
    const eqf_progress own = {sizeof own, p->label != NULL ? p->label : stage, done, total};
    p->last = p->depth > 0 ? p->whole : own;
    return report(ctx, &p->last);
}

eqf_status eqf__progress_again(eqf_context *ctx) {
    if (!eqf__has_progress(ctx) || ctx->progress.last.stage == NULL) return EQF_OK;
    return report(ctx, &ctx->progress.last);
}

void eqf__progress_open(eqf_context *ctx, const char *stage, double total) {
    if (ctx->progress.depth++ == 0)
        ctx->progress.whole =
            (eqf_progress){sizeof(eqf_progress), ctx->progress.label != NULL ? ctx->progress.label : stage, 0, total};
}

eqf_status eqf__progress_done(eqf_context *ctx, double done) {
    if (ctx->progress.depth == 1) ctx->progress.whole.done = done;
    return eqf__progress(ctx, "", 0, 0);
}

void eqf__progress_close(eqf_context *ctx) {
    ctx->progress.depth--;
}

void eqf__progress_label(eqf_context *ctx, const char *label) {
    ctx->progress.label = label;
}

void eqf__progress_hold(eqf_context *ctx, bool is_held) {
    ctx->progress.num_held += is_held ? 1 : -1;
}

/* A piece takes about this long: short enough to stop soon, long enough to keep devices busy. */
static const double piece_seconds = 0.25;
enum { FIRST_PIECE = 256, SMALLEST_PIECE = 64 };

size_t eqf__next_piece(const eqf_context *ctx, eqf__pieces *pieces, size_t largest, size_t num, size_t done) {
    const size_t rest = num - done;
    if (!eqf__has_progress(ctx)) return rest < largest ? rest : largest;
    const double now = now_seconds(), taken = now - pieces->begin_seconds;
    if (pieces->size == 0) pieces->size = FIRST_PIECE;
    if (done > 0 && taken < piece_seconds / 2) pieces->size *= 2;
    if (done > 0 && taken > 2 * piece_seconds && pieces->size > SMALLEST_PIECE) pieces->size /= 2;
    if (pieces->size > largest) pieces->size = largest;
    pieces->begin_seconds = now;
    return rest < pieces->size ? rest : pieces->size;
}
