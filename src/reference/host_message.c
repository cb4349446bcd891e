/* The message field in double, straight from docs/method.md, section 9: straight loops; the divergence by differences of the velocity. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host_reference.h"

enum { NUM_TIME = 9, MOST_HOPS = 8 };

/* The letters of docs/method.md; N_N: of all ordered pairs. Matrices point into the parameter vector. */
typedef struct network {
    size_t N, D, L, H, M, E, R, K, num_filters;
    double spacing, T[NUM_TIME];
    const double *filters, *times, *W0, *Y, *nodes, *S, *W2e, *w3, *gate_out, *omega;
    const double *mix[MOST_HOPS + 1], *vector[MOST_HOPS + 1], *product[MOST_HOPS + 1], *update[MOST_HOPS + 1],
        *gate[MOST_HOPS + 1];
    double *memory, *next;
    double *r, *e, *f;                   /* [N, N, D], [N, N, K], [N, N, num_filters] */
    double *h, *u, *ab, *vu, *w, *mixed; /* [N, H], [N, D, M], [N, H + M], [N, D, M] twice, [N, 2H + 2M] */
    double *y, *hn, *bc;                 /* [N, D, R], [N, H + R], [N, 2E] */
} network;

static const double *walk(const double **params, size_t count) {
    const double *here = *params;
    *params += count;
    return here;
}

static double *take(network *n, size_t count) {
    double *here = n->next;
    n->next += count;
    return here;
}

/* sum over i of w[i] a[i] */
static double dot(size_t count, const double *w, const double *a) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += w[i] * a[i];
    return sum;
}
static double silu(double x) {
    return x / (1 + exp(-x));
}
static double sat(double x) {
    return x / sqrt(1 + x * x / 9);
}
static double tau(const network *n, size_t row) {
    return dot(NUM_TIME, n->times + row * NUM_TIME, n->T);
}
static const double *filter(const network *n, size_t i, size_t j) {
    return n->f + (i * n->N + j) * n->num_filters;
}
static const double *between(const network *n, size_t i, size_t j) {
    return n->r + (i * n->N + j) * n->D;
}

static bool open_network(const eqf__host_field *field, double t, network *n) {
    const eqf_dynamics_options *o = field->options;
    const size_t N = field->num_particles, D = field->space_dim, L = o->num_hops, H = o->num_scalars,
                 M = o->num_vectors;
    const size_t E = o->num_edge, R = o->num_reduced, K = o->num_distance, mixed = 2 * H + 2 * M;
    const double *params = field->params;
    *n = (network){.N = N, .D = D, .L = L, .H = H, .M = M, .E = E, .R = R, .K = K};
    n->num_filters = H + M + (L - 1) * (H + 3 * M) + 2 * E;
    n->spacing = o->distance_max / ((double)K - 1);
    n->filters = walk(&params, n->num_filters * K);
    n->times = walk(&params, (L * H + 3 * E + K + 1) * NUM_TIME);
    n->W0 = walk(&params, H * H);
    for (size_t l = 2; l <= L; l++) {
        n->mix[l] = walk(&params, (H + M) * H);
        n->vector[l] = walk(&params, 2 * M * M);
        n->product[l] = walk(&params, 2 * M * M);
        n->update[l] = walk(&params, H * mixed);
        n->gate[l] = walk(&params, M * H);
    }
    n->Y = walk(&params, R * M);
    n->nodes = walk(&params, 2 * E * (H + R));
    n->S = walk(&params, E * 3 * R);
    n->W2e = walk(&params, E * E);
    n->w3 = walk(&params, 2 * E);
    n->gate_out = walk(&params, M * H);
    n->omega = walk(&params, M);
    for (size_t a = 0; a < NUM_TIME; a++) n->T[a] = a < 8 ? exp(-pow((t - (double)a / 7) / 0.2, 2)) : 1;
    n->memory = n->next =
        calloc(N * N * (D + K + n->num_filters) + N * (2 * H + M + 3 * D * M + mixed + D * R + H + R + 2 * E),
               sizeof *n->memory);
    if (n->memory == NULL) return false;
    n->r = take(n, N * N * D);
    n->e = take(n, N * N * K);
    n->f = take(n, N * N * n->num_filters);
    n->h = take(n, N * H);
    n->u = take(n, N * D * M);
    n->ab = take(n, N * (H + M));
    n->vu = take(n, N * D * M);
    n->w = take(n, N * D * M);
    n->mixed = take(n, N * mixed);
    n->y = take(n, N * D * R);
    n->hn = take(n, N * (H + R));
    n->bc = take(n, N * 2 * E);
    return true;
}

static void pairs(network *n, const double *x) {
    for (size_t i = 0; i < n->N; i++)
        for (size_t j = 0; j < n->N; j++) {
            double *r = n->r + (i * n->N + j) * n->D, *e = n->e + (i * n->N + j) * n->K;
            for (size_t a = 0; a < n->D; a++) r[a] = x[i * n->D + a] - x[j * n->D + a];
            const double d = sqrt(dot(n->D, r, r));
            for (size_t k = 0; k < n->K; k++) e[k] = exp(-0.5 * pow(d / n->spacing - (double)k, 2));
            for (size_t c = 0; c < n->num_filters; c++)
                n->f[(i * n->N + j) * n->num_filters + c] = dot(n->K, n->filters + c * n->K, e);
        }
}

static void first_hop(network *n) {
    const size_t H = n->H, M = n->M, D = n->D;
    double sums[256];
    memset(n->u, 0, n->N * D * M * sizeof *n->u);
    for (size_t i = 0; i < n->N; i++) {
        memset(sums, 0, sizeof sums);
        for (size_t j = 0; j < n->N; j++) {
            if (j == i) continue;
            for (size_t c = 0; c < H; c++) sums[c] += filter(n, i, j)[c];
            for (size_t a = 0; a < D; a++)
                for (size_t m = 0; m < M; m++)
                    n->u[(i * D + a) * M + m] += filter(n, i, j)[H + m] * between(n, i, j)[a];
        }
        for (size_t c = 0; c < H; c++) n->h[i * H + c] = silu(dot(H, n->W0 + c * H, sums) + tau(n, c));
    }
}

/* m, sat(p), w of particle i from the features of all. */
static void gather(network *n, size_t l, size_t i) {
    const size_t H = n->H, M = n->M, D = n->D, at = H + M + (l - 2) * (H + 3 * M);
    double *mixed = n->mixed + i * (2 * H + 2 * M), *w = n->w + i * D * M;
    memset(mixed, 0, (2 * H + 2 * M) * sizeof *mixed);
    memcpy(mixed, n->h + i * H, H * sizeof *mixed);
    for (size_t a = 0; a < D; a++)
        for (size_t m = 0; m < M; m++) w[a * M + m] = dot(M, n->vector[l] + m * M, n->u + (i * D + a) * M);
    for (size_t j = 0; j < n->N; j++) {
        if (j == i) continue;
        const double *f = filter(n, i, j) + at, *r = between(n, i, j), *ab = n->ab + j * (H + M);
        for (size_t c = 0; c < H; c++) mixed[H + c] += f[c] * ab[c];
        for (size_t m = 0; m < M; m++)
            for (size_t a = 0; a < D; a++) {
                mixed[2 * H + m] += f[H + m] * r[a] * n->u[(j * D + a) * M + m];
                w[a * M + m] += f[H + M + m] * ab[H + m] * r[a] + f[H + 2 * M + m] * n->vu[(j * D + a) * M + m];
            }
    }
    for (size_t m = 0; m < M; m++) {
        double product = 0;
        for (size_t a = 0; a < D; a++)
            product += dot(M, n->product[l] + m * M, w + a * M) * dot(M, n->product[l] + (M + m) * M, w + a * M);
        mixed[2 * H + m] = sat(mixed[2 * H + m]);
        mixed[2 * H + M + m] = sat(product);
    }
}

static void later_hop(network *n, size_t l) {
    const size_t H = n->H, M = n->M, D = n->D, mixed = 2 * H + 2 * M;
    for (size_t i = 0; i < n->N; i++) {
        for (size_t c = 0; c < H + M; c++) n->ab[i * (H + M) + c] = dot(H, n->mix[l] + c * H, n->h + i * H);
        for (size_t a = 0; a < D; a++)
            for (size_t m = 0; m < M; m++)
                n->vu[(i * D + a) * M + m] = dot(M, n->vector[l] + (M + m) * M, n->u + (i * D + a) * M);
    }
    for (size_t i = 0; i < n->N; i++) gather(n, l, i);
    for (size_t i = 0; i < n->N; i++) {
        for (size_t c = 0; c < H; c++)
            n->h[i * H + c] +=
                silu(dot(mixed, n->update[l] + c * mixed, n->mixed + i * mixed) + tau(n, (l - 1) * H + c));
        for (size_t m = 0; m < M; m++) {
            const double open = 1 + dot(H, n->gate[l] + m * H, n->h + i * H);
            double square = 0;
            for (size_t a = 0; a < D; a++) square += pow(open * n->w[(i * D + a) * M + m], 2);
            for (size_t a = 0; a < D; a++)
                n->u[(i * D + a) * M + m] = open * n->w[(i * D + a) * M + m] / sqrt(1 + square / 25);
        }
    }
}

static void nodes(network *n) {
    const size_t H = n->H, M = n->M, D = n->D, R = n->R, E = n->E;
    for (size_t i = 0; i < n->N; i++) {
        double *hn = n->hn + i * (H + R);
        memcpy(hn, n->h + i * H, H * sizeof *hn);
        for (size_t q = 0; q < R; q++) {
            double square = 0;
            for (size_t a = 0; a < D; a++) {
                n->y[(i * D + a) * R + q] = dot(M, n->Y + q * M, n->u + (i * D + a) * M);
                square += pow(n->y[(i * D + a) * R + q], 2);
            }
            hn[H + q] = sat(square);
        }
        for (size_t c = 0; c < 2 * E; c++)
            n->bc[i * 2 * E + c] = dot(H + R, n->nodes + c * (H + R), hn) + (c < E ? tau(n, n->L * H + E + c) : 0);
    }
}

/* g_ij */
static double edge(const network *n, size_t i, size_t j) {
    const size_t D = n->D, R = n->R, E = n->E, K = n->K, at_tau = n->L * n->H;
    const double *f = filter(n, i, j) + n->num_filters - 2 * E, *r = between(n, i, j), *e = n->e + (i * n->N + j) * K;
    double invariants[3 * 64] = {0}, act[256], z[256], sum = tau(n, at_tau + 3 * E + K);
    for (size_t q = 0; q < R; q++)
        for (size_t a = 0; a < D; a++) {
            const double at_i = n->y[(i * D + a) * R + q], at_j = n->y[(j * D + a) * R + q];
            invariants[q] += at_i * r[a];
            invariants[R + q] += at_j * r[a];
            invariants[2 * R + q] += at_i * at_j;
        }
    for (size_t c = 0; c < E; c++) {
        z[c] = f[c] + (f[E + c] + tau(n, at_tau + c)) * (n->bc[i * 2 * E + c] + n->bc[j * 2 * E + E + c]) +
               dot(3 * R, n->S + c * 3 * R, invariants);
        act[c] = silu(z[c]);
    }
    for (size_t c = 0; c < E; c++)
        sum += n->w3[c] * silu(dot(E, n->W2e + c * E, act) + tau(n, at_tau + 2 * E + c)) + n->w3[E + c] * z[c];
    for (size_t k = 0; k < K; k++) sum += tau(n, at_tau + 3 * E + k) * e[k];
    return sum;
}

static void evaluate(network *n, const double *x, double *velocity_out) {
    const size_t D = n->D, M = n->M;
    pairs(n, x);
    first_hop(n);
    for (size_t l = 2; l <= n->L; l++) later_hop(n, l);
    nodes(n);
    memset(velocity_out, 0, n->N * D * sizeof *velocity_out);
    for (size_t i = 0; i < n->N; i++) {
        for (size_t j = 0; j < n->N; j++) {
            if (j == i) continue;
            const double g = edge(n, i, j);
            for (size_t a = 0; a < D; a++) velocity_out[i * D + a] += g * between(n, i, j)[a];
        }
        for (size_t m = 0; m < M; m++) {
            const double share = n->omega[m] * (1 + dot(n->H, n->gate_out + m * n->H, n->h + i * n->H));
            for (size_t a = 0; a < D; a++) velocity_out[i * D + a] += share * n->u[(i * D + a) * M + m];
        }
    }
    eqf__host_centre((unsigned)n->N, (unsigned)D, velocity_out);
}

/* d v_c / d x_c by a central difference; y [N*D]: x; v: scratch. */
static double slope(network *n, double *y, size_t c, double *v) {
    const double step = 1e-4, value = y[c];
    y[c] = value + step;
    evaluate(n, y, v);
    const double above = v[c];
    y[c] = value - step;
    evaluate(n, y, v);
    y[c] = value;
    return (above - v[c]) / (2 * step);
}

bool eqf__host_message_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                                double *divergence_out) {
    const size_t num_dof = (size_t)field->num_particles * field->space_dim;
    network n;
    double *y = calloc(2 * num_dof, sizeof *y);
    if (y == NULL) return false;
    if (!open_network(field, t, &n)) {
        free(y);
        return false;
    }
    memcpy(y, x, num_dof * sizeof *y);
    evaluate(&n, y, velocity_out);
    *divergence_out = 0;
    for (size_t c = 0; c < num_dof; c++) *divergence_out += slope(&n, y, c, y + num_dof);
    free(n.memory);
    free(y);
    return true;
}
