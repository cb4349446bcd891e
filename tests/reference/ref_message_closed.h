/* What the two files of the closed-form divergence share. */
#ifndef EQF_TESTS_REF_MESSAGE_CLOSED_H
#define EQF_TESTS_REF_MESSAGE_CLOSED_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"

static inline double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

/* What one hop leaves: values per particle. Vectors are [D, M]. */
typedef struct hop {
    double *z, *p, *n;    /* [N, H], [N, M], [N, M]: arguments of silu and sat */
    double *w, *Pw, *Qw;  /* [N, D, M]; w is the vector before gate and bound */
    double *Ah, *Bh, *Vu; /* [N, H], [N, M], [N, D, M]: of the previous hop's h and u */
    double *gate, *open;  /* [N, M] 1 + G h, [N, D, M] w gate */
    double *h, *u;        /* [N, H], [N, D, M] */
} hop;

typedef struct closed {
    const ref_message *message;
    size_t N, D, H, M, E, R, K, L, num_filters;
    double T[9];
    double *r, *d;                       /* [N, N, D], [N, N] */
    double *F, *dF;                      /* [N, N, num_filters], by distance */
    double *Ed, *dEd;                    /* [N, N, 2 E]: a, c, by distance */
    double *gauss, *dgauss;              /* [N, N, K] */
    hop hops[ref_message_most_hops + 1]; /* 1 ... L */
    double *dh, *du;                     /* rows of one source: [N, D, H], [N, D, D, M] */
    double *dh_new, *du_new;
} closed;

/* out[o] += sum_i W[o, i] a[i]; W is the part `letter` of hop l. */
static inline void add_dense(const closed *q, double *out, const char *letter, unsigned l, const double *a) {
    const ref_matrix *w = ref_message_part(q->message, letter, l);
    for (size_t o = 0; o < w->rows; ++o)
        for (size_t i = 0; i < w->columns; ++i) out[o] += q->message->params[w->offset + o * w->stride + i] * a[i];
}

/* The same with the part for the species of the pair (i, j). */
static inline void add_pair_dense(const closed *q, double *out, const char *letter, unsigned l, size_t i, size_t j,
                                  const double *a) {
    const ref_matrix *w = ref_message_pair_part(q->message, letter, l, i, j);
    for (size_t o = 0; o < w->rows; ++o)
        for (size_t k = 0; k < w->columns; ++k) out[o] += q->message->params[w->offset + o * w->stride + k] * a[k];
}

static inline double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}
static inline double silu(double x) {
    return x * sigmoid(x);
}
static inline double silu_prime(double x) {
    return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
}
static inline double sat(double x) {
    return x / sqrt(1.0 + x * x / 9.0);
}
static inline double sat_prime(double x) {
    return pow(1.0 + x * x / 9.0, -1.5);
}

static inline double dot_space(const double *a, const double *b, size_t D, size_t M, size_t m) {
    double sum = 0.0;
    for (size_t s = 0; s < D; ++s) sum += a[s * M + m] * b[s * M + m];
    return sum;
}

static inline double along(const double *r, const double *u, size_t D, size_t M, size_t m) {
    double sum = 0.0;
    for (size_t s = 0; s < D; ++s) sum += r[s] * u[s * M + m];
    return sum;
}

/* bound(a) = a / sqrt(1 + |a|^2/25) of each channel, and its derivative where a moves by da; da NULL: the value. */
static inline void bound(const closed *q, const double *a, const double *da, double *out) {
    const double c2 = 25.0;
    for (size_t m = 0; m < q->M; ++m) {
        double square = dot_space(a, a, q->D, q->M, m), root = 1.0 / sqrt(1.0 + square / c2);
        double turn = da ? dot_space(a, da, q->D, q->M, m) : 0.0;
        for (size_t s = 0; s < q->D; ++s)
            out[s * q->M + m] = da ? root * da[s * q->M + m] - root * root * root / c2 * turn * a[s * q->M + m]
                                   : root * a[s * q->M + m];
    }
}

/* Where hop l's filters begin: f [H], then p, g, q [M]. */
static inline size_t filters_of(const closed *q, size_t l) {
    return q->H + q->M + (l - 2) * (q->H + 3 * q->M);
}

/* The rows of source k after hop 1, and after hop l from those after hop l - 1. */
void ref_message_first_rows(closed *q, size_t k);
void ref_message_later_rows(closed *q, unsigned l, size_t k);
/* Source k's share of the divergence, from its rows after the last hop. */
double ref_message_read_out_rows(const closed *q, size_t k);

#endif
