/* The divergence of the message field by closed-form rules, one source particle at a time, in straight loops of
 * doubles. It shares only the flat parameters with ref_message.c, so that either checks the other. */
#include "ref_message_closed.h"

/* ---- Values ---- */

/* All filters of one pair, in the order f, g of hop 1, then f, p, g, q of each later hop; a, c of the edges. */
static void add_filters(const closed *q, size_t i, size_t j, const double *gaussians, double *F, double *edge) {
    add_pair_dense(q, F, "f", 1, i, j, gaussians);
    add_pair_dense(q, F + q->H, "g", 1, i, j, gaussians);
    for (unsigned l = 2; l <= q->L; ++l) {
        double *at = F + filters_of(q, l);
        add_pair_dense(q, at, "f", l, i, j, gaussians);
        add_pair_dense(q, at + q->H, "p", l, i, j, gaussians);
        add_pair_dense(q, at + q->H + q->M, "g", l, i, j, gaussians);
        add_pair_dense(q, at + q->H + 2 * q->M, "q", l, i, j, gaussians);
    }
    add_pair_dense(q, edge, "a", 0, i, j, gaussians);
    add_pair_dense(q, edge + q->E, "c", 0, i, j, gaussians);
}

static void pairs(closed *q, const double *x) {
    for (size_t i = 0; i < q->N; ++i)
        for (size_t j = 0; j < q->N; ++j) {
            size_t ij = i * q->N + j;
            double square = 0.0;
            for (size_t s = 0; s < q->D; ++s) {
                q->r[ij * q->D + s] = x[i * q->D + s] - x[j * q->D + s];
                square += q->r[ij * q->D + s] * q->r[ij * q->D + s];
            }
            q->d[ij] = sqrt(square);
            for (size_t k = 0; k < q->K; ++k) {
                double gamma = q->message->gamma, away = (q->d[ij] - q->message->centers[k]) / gamma;
                q->gauss[ij * q->K + k] = exp(-away * away);
                q->dgauss[ij * q->K + k] = -2.0 * away / gamma * q->gauss[ij * q->K + k];
            }
            add_filters(q, i, j, q->gauss + ij * q->K, q->F + ij * q->num_filters, q->Ed + ij * 2 * q->E);
            add_filters(q, i, j, q->dgauss + ij * q->K, q->dF + ij * q->num_filters, q->dEd + ij * 2 * q->E);
        }
}

static void make_hop(const closed *q, hop *v) {
    size_t N = q->N, H = q->H, M = q->M, V = q->D * q->M;
    v->z = zeros(N * (3 * H + 4 * M + 6 * V));
    v->Ah = v->z + N * H;
    v->h = v->Ah + N * H;
    v->p = v->h + N * H;
    v->n = v->p + N * M;
    v->Bh = v->n + N * M;
    v->gate = v->Bh + N * M;
    v->w = v->gate + N * M;
    v->Pw = v->w + N * V;
    v->Qw = v->Pw + N * V;
    v->Vu = v->Qw + N * V;
    v->open = v->Vu + N * V;
    v->u = v->open + N * V;
}

static void first_hop(closed *q) {
    hop *v = q->hops + 1;
    make_hop(q, v);
    double *sum = zeros(q->H);
    for (size_t i = 0; i < q->N; ++i) {
        memset(sum, 0, q->H * sizeof *sum);
        for (size_t j = 0; j < q->N; ++j) {
            if (j == i) continue;
            const double *F = q->F + (i * q->N + j) * q->num_filters, *r = q->r + (i * q->N + j) * q->D;
            for (size_t o = 0; o < q->H; ++o) sum[o] += F[o];
            for (size_t s = 0; s < q->D; ++s)
                for (size_t m = 0; m < q->M; ++m) v->w[(i * q->D + s) * q->M + m] += F[q->H + m] * r[s];
        }
        double *z = v->z + i * q->H;
        add_dense(q, z, "W0", 0, sum);
        add_dense(q, z, i >= q->N - q->message->shape.num_b ? "tau_b" : "tau", 1, q->T);
        for (size_t o = 0; o < q->H; ++o) v->h[i * q->H + o] = silu(z[o]);
        memcpy(v->u + i * q->D * q->M, v->w + i * q->D * q->M, q->D * q->M * sizeof(double));
    }
    free(sum);
}

static void later_hop(closed *q, unsigned l) {
    const hop *old = q->hops + l - 1;
    hop *v = q->hops + l;
    make_hop(q, v);
    size_t N = q->N, D = q->D, H = q->H, M = q->M, first = filters_of(q, l);
    double *sum = zeros(H), *saturated = zeros(M);
    for (size_t i = 0; i < N; ++i) {
        add_dense(q, v->Ah + i * H, "A", l, old->h + i * H);
        add_dense(q, v->Bh + i * M, "B", l, old->h + i * H);
        for (size_t s = 0; s < D; ++s) add_dense(q, v->Vu + (i * D + s) * M, "V", l, old->u + (i * D + s) * M);
    }
    for (size_t i = 0; i < N; ++i) {
        double *w = v->w + i * D * M, *z = v->z + i * H, *p = v->p + i * M, *h = v->h + i * H;
        memset(sum, 0, H * sizeof *sum);
        for (size_t s = 0; s < D; ++s) add_dense(q, w + s * M, "U", l, old->u + (i * D + s) * M);
        for (size_t j = 0; j < N; ++j) {
            if (j == i) continue;
            const double *F = q->F + (i * N + j) * q->num_filters + first, *r = q->r + (i * N + j) * D;
            for (size_t o = 0; o < H; ++o) sum[o] += F[o] * v->Ah[j * H + o];
            for (size_t m = 0; m < M; ++m) {
                p[m] += F[H + m] * along(r, old->u + j * D * M, D, M, m);
                for (size_t s = 0; s < D; ++s)
                    w[s * M + m] +=
                        F[H + M + m] * v->Bh[j * M + m] * r[s] + F[H + 2 * M + m] * v->Vu[(j * D + s) * M + m];
            }
        }
        for (size_t s = 0; s < D; ++s) {
            add_dense(q, v->Pw + (i * D + s) * M, "P", l, w + s * M);
            add_dense(q, v->Qw + (i * D + s) * M, "Q", l, w + s * M);
        }
        add_dense(q, z, "W1", l, old->h + i * H);
        add_dense(q, z, "W2", l, sum);
        for (size_t m = 0; m < M; ++m) saturated[m] = sat(p[m]);
        add_dense(q, z, "W3", l, saturated);
        for (size_t m = 0; m < M; ++m) {
            v->n[i * M + m] = dot_space(v->Pw + i * D * M, v->Qw + i * D * M, D, M, m);
            saturated[m] = sat(v->n[i * M + m]);
        }
        add_dense(q, z, "W4", l, saturated);
        add_dense(q, z, "tau", l, q->T);
        for (size_t o = 0; o < H; ++o) h[o] = old->h[i * H + o] + silu(z[o]);
        double *gate = v->gate + i * M;
        for (size_t m = 0; m < M; ++m) gate[m] = 1.0;
        add_dense(q, gate, "G", l, h);
        for (size_t s = 0; s < D; ++s)
            for (size_t m = 0; m < M; ++m) v->open[(i * D + s) * M + m] = w[s * M + m] * gate[m];
        bound(q, v->open + i * D * M, NULL, v->u + i * D * M);
    }
    free(sum);
    free(saturated);
}

double ref_message_closed_divergence(const ref_message *message, double t, const double *x) {
    const ref_message_shape *shape = &message->shape;
    closed q = {.message = message,
                .N = shape->num_particles,
                .D = shape->space_dim,
                .H = shape->num_scalars,
                .M = shape->num_vectors,
                .E = shape->edge_width,
                .R = shape->num_reduced,
                .K = shape->num_radial,
                .L = shape->num_hops};
    q.num_filters = q.H + q.M + (q.L - 1) * (q.H + 3 * q.M);
    for (unsigned a = 0; a < 9; ++a) q.T[a] = a < 8 ? exp(-pow((t - a / 7.0) / 0.2, 2.0)) : 1.0;
    size_t num_pairs = q.N * q.N;
    double *memory =
        zeros(num_pairs * (q.D + 1 + 2 * q.num_filters + 4 * q.E + 2 * q.K) + 2 * q.N * q.D * (q.H + q.D * q.M));
    q.r = memory;
    q.d = q.r + num_pairs * q.D;
    q.F = q.d + num_pairs;
    q.dF = q.F + num_pairs * q.num_filters;
    q.Ed = q.dF + num_pairs * q.num_filters;
    q.dEd = q.Ed + num_pairs * 2 * q.E;
    q.gauss = q.dEd + num_pairs * 2 * q.E;
    q.dgauss = q.gauss + num_pairs * q.K;
    q.dh = q.dgauss + num_pairs * q.K;
    q.dh_new = q.dh + q.N * q.D * q.H;
    q.du = q.dh_new + q.N * q.D * q.H;
    q.du_new = q.du + q.N * q.D * q.D * q.M;
    pairs(&q, x);
    first_hop(&q);
    for (unsigned l = 2; l <= q.L; ++l) later_hop(&q, l);
    double divergence = 0.0;
    for (size_t k = 0; k < q.N; ++k) {
        ref_message_first_rows(&q, k);
        for (unsigned l = 2; l <= q.L; ++l) ref_message_later_rows(&q, l, k);
        divergence += ref_message_read_out_rows(&q, k);
    }
    for (size_t l = 1; l <= q.L; ++l) free(q.hops[l].z);
    free(memory);
    return divergence;
}
