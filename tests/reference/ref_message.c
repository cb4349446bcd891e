/* The message field from its equations (docs/method.md, "The message field") on a tape of dual numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"
#include "ref_tape.h"

static double *zeros(size_t count) {
    double *memory = calloc(count ? count : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

enum { num_time = 9 }; /* T(t): 8 Gaussians and 1 */

/* ---- Functions ---- */

/* silu(x) = x g, g = 1/(1 + exp(-x)), g' = g (1 - g) */
static void silu(double x, const double *settings, double out[3]) {
    (void)settings;
    double g = 1.0 / (1.0 + exp(-x)), slope = g * (1.0 - g);
    out[0] = x * g;
    out[1] = g + x * slope;
    out[2] = 2.0 * slope + x * slope * (1.0 - 2.0 * g);
}

/* sat(x) = x (1 + x^2/9)^-1/2, sat' = (1 + x^2/9)^-3/2, sat'' = -x/3 (1 + x^2/9)^-5/2 */
static void sat(double x, const double *settings, double out[3]) {
    (void)settings;
    double root = 1.0 / sqrt(1.0 + x * x / 9.0), cube = root * root * root;
    out[0] = x * root;
    out[1] = cube;
    out[2] = -x / 3.0 * cube * root * root;
}

/* shrink(x) = (1 + x/25)^-1/2: bound(u) = u shrink(|u|^2) */
static void shrink(double x, const double *settings, double out[3]) {
    (void)settings;
    double s = 1.0 / 25.0, root = 1.0 / sqrt(1.0 + x * s), cube = root * root * root;
    out[0] = root;
    out[1] = -0.5 * s * cube;
    out[2] = 0.75 * s * s * cube * root * root;
}

/* ---- The field ---- */

/* Channels of vectors are stored [D, channels]. */
typedef struct field_tape {
    ref_tape *tape;
    const ref_message *message;
    ref_node *params, *one, *time, **x, **v; /* x, v: [N] pointers to [D] */
} field_tape;

static const ref_matrix *part(const field_tape *f, const char *letter, unsigned hop) {
    return ref_message_part(f->message, letter, hop);
}

/* out[s, o] += sum_i W[o, column + i] a[s, i] for s < repeats; a [repeats, count]. */
static void add_columns(field_tape *f, ref_node *out, const ref_matrix *w, size_t column, size_t count,
                        const ref_node *a, size_t repeats) {
    ref_tape_product(f->tape, out, a, f->params,
                     (ref_product){.P = repeats,
                                   .Q = w->rows,
                                   .R = count,
                                   .out = {w->rows, 1, 0},
                                   .a = {count, 0, 1},
                                   .b = {0, w->stride, 1},
                                   .b_offset = w->offset + column,
                                   .factor = 1.0});
}

static void add_map(field_tape *f, ref_node *out, const ref_matrix *w, const ref_node *a) {
    add_columns(f, out, w, 0, w->columns, a, 1);
}

/* [repeats, rows of w] */
static ref_node *map(field_tape *f, const ref_matrix *w, const ref_node *a, size_t repeats) {
    ref_node *out = ref_tape_node(f->tape, repeats * w->rows);
    add_columns(f, out, w, 0, w->columns, a, repeats);
    return out;
}

/* out[d, m] += factor a[d, m] b[m] */
static void add_scaled_channels(field_tape *f, ref_node *out, const ref_node *a, const ref_node *b, size_t D,
                                size_t M) {
    ref_tape_product(f->tape, out, a, b, (ref_product){D, M, 1, {M, 1, 0}, {M, 1, 0}, {0, 1, 0}, 0, 0, 0, 1.0});
}

/* out[d, m] += r[d] g[m] */
static void add_outer(field_tape *f, ref_node *out, const ref_node *r, const ref_node *g, size_t D, size_t M) {
    ref_tape_product(f->tape, out, r, g, (ref_product){D, M, 1, {M, 1, 0}, {1, 0, 0}, {0, 1, 0}, 0, 0, 0, 1.0});
}

/* out[m] = sum_d a[d, m] b[d, m] */
static ref_node *dot_channels(field_tape *f, const ref_node *a, const ref_node *b, size_t D, size_t M) {
    ref_node *out = ref_tape_node(f->tape, M);
    ref_tape_product(f->tape, out, a, b, (ref_product){D, M, 1, {0, 1, 0}, {M, 1, 0}, {M, 1, 0}, 0, 0, 0, 1.0});
    return out;
}

/* out[m] = sum_d r[d] u[d, m] */
static ref_node *dot_with(field_tape *f, const ref_node *r, const ref_node *u, size_t D, size_t M) {
    ref_node *out = ref_tape_node(f->tape, M);
    ref_tape_product(f->tape, out, r, u, (ref_product){D, M, 1, {0, 1, 0}, {1, 0, 0}, {M, 1, 0}, 0, 0, 0, 1.0});
    return out;
}

/* out += a b, elementwise */
static void add_product(field_tape *f, ref_node *out, const ref_node *a, const ref_node *b) {
    ref_tape_product(f->tape, out, a, b,
                     (ref_product){out->count, 1, 1, {1, 0, 0}, {1, 0, 0}, {1, 0, 0}, 0, 0, 0, 1.0});
}

static ref_node *product(field_tape *f, const ref_node *a, const ref_node *b) {
    ref_node *out = ref_tape_node(f->tape, a->count);
    add_product(f, out, a, b);
    return out;
}

/* out += factor a */
static void add(field_tape *f, ref_node *out, const ref_node *a, double factor) {
    ref_tape_product(f->tape, out, a, f->one,
                     (ref_product){out->count, 1, 1, {1, 0, 0}, {1, 0, 0}, {0, 0, 0}, 0, 0, 0, factor});
}

/* 1 + G h */
static ref_node *gate(field_tape *f, const ref_matrix *w, const ref_node *h) {
    ref_node *out = map(f, w, h, 1);
    ref_tape_product(f->tape, out, f->one, f->one,
                     (ref_product){out->count, 1, 1, {1, 0, 0}, {0, 0, 0}, {0, 0, 0}, 0, 0, 0, 1.0});
    return out;
}

/* u / sqrt(1 + |u|^2/25), channel by channel */
static ref_node *bounded(field_tape *f, const ref_node *u, size_t D, size_t M) {
    ref_node *factor = ref_tape_apply(f->tape, shrink, dot_channels(f, u, u, D, M), NULL);
    ref_node *out = ref_tape_node(f->tape, D * M);
    add_scaled_channels(f, out, u, factor, D, M);
    return out;
}

/* One pair (i, j): r = x_i - x_j and its Gaussians. */
typedef struct pair {
    ref_node *r, *gaussians;
    unsigned i, j;
} pair;

static const ref_matrix *pair_part(const field_tape *f, const char *letter, unsigned hop, const pair *ij) {
    return ref_message_pair_part(f->message, letter, hop, ij->i, ij->j);
}

static pair make_pair(field_tape *f, unsigned i, unsigned j) {
    pair ij = {ref_tape_node(f->tape, f->message->shape.space_dim), NULL, i, j};
    add(f, ij.r, f->x[i], 1.0);
    add(f, ij.r, f->x[j], -1.0);
    ij.gaussians = ref_tape_gaussians(f->tape, ref_tape_norm(f->tape, ij.r), f->message->shape.num_radial,
                                      f->message->centers, f->message->gamma);
    return ij;
}

/* h [N] of [H], u [N] of [D, M]. */
static void first_hop(field_tape *f, const pair *pairs, ref_node **h, ref_node **u) {
    const ref_message_shape *s = &f->message->shape;
    size_t D = s->space_dim, H = s->num_scalars, M = s->num_vectors;
    for (unsigned i = 0; i < s->num_particles; ++i) {
        ref_node *sum = ref_tape_node(f->tape, H), *vectors = ref_tape_node(f->tape, D * M);
        for (unsigned j = 0; j < s->num_particles; ++j) {
            if (j == i) continue;
            const pair *ij = pairs + i * s->num_particles + j;
            add(f, sum, map(f, pair_part(f, "f", 1, ij), ij->gaussians, 1), 1.0);
            add_outer(f, vectors, ij->r, map(f, pair_part(f, "g", 1, ij), ij->gaussians, 1), D, M);
        }
        ref_node *z = map(f, part(f, "W0", 0), sum, 1);
        add_map(f, z, part(f, i >= s->num_particles - s->num_b ? "tau_b" : "tau", 1), f->time);
        h[i] = ref_tape_apply(f->tape, silu, z, NULL);
        u[i] = vectors;
    }
}

/* The sums over the neighbours of particle i in hop l: m [H], p [M], and the vectors added to w [D, M]. */
static void add_messages(field_tape *f, const pair *pairs, unsigned l, unsigned i, ref_node **Ah, ref_node **Bh,
                         ref_node **Vu, ref_node **u, ref_node *m, ref_node *p, ref_node *w) {
    const ref_message_shape *s = &f->message->shape;
    size_t D = s->space_dim, M = s->num_vectors;
    for (unsigned j = 0; j < s->num_particles; ++j) {
        if (j == i) continue;
        const pair *ij = pairs + i * s->num_particles + j;
        add_product(f, m, map(f, pair_part(f, "f", l, ij), ij->gaussians, 1), Ah[j]);
        add_product(f, p, map(f, pair_part(f, "p", l, ij), ij->gaussians, 1), dot_with(f, ij->r, u[j], D, M));
        ref_node *strength = product(f, map(f, pair_part(f, "g", l, ij), ij->gaussians, 1), Bh[j]);
        add_outer(f, w, ij->r, strength, D, M);
        add_scaled_channels(f, w, Vu[j], map(f, pair_part(f, "q", l, ij), ij->gaussians, 1), D, M);
    }
}

static void later_hop(field_tape *f, const pair *pairs, unsigned l, ref_node **h, ref_node **u) {
    const ref_message *message = f->message;
    const ref_message_shape *s = &message->shape;
    size_t N = s->num_particles, D = s->space_dim, H = s->num_scalars, M = s->num_vectors;
    ref_node **Ah = calloc(5 * N, sizeof(ref_node *)), **Bh = Ah + N, **Vu = Ah + 2 * N, **h_new = Ah + 3 * N,
             **u_new = Ah + 4 * N;
    if (!Ah) abort();
    for (unsigned i = 0; i < N; ++i) {
        Ah[i] = map(f, part(f, "A", l), h[i], 1);
        Bh[i] = map(f, part(f, "B", l), h[i], 1);
        Vu[i] = map(f, part(f, "V", l), u[i], D);
    }
    for (unsigned i = 0; i < N; ++i) {
        ref_node *m = ref_tape_node(f->tape, H), *p = ref_tape_node(f->tape, M), *w = map(f, part(f, "U", l), u[i], D);
        add_messages(f, pairs, l, i, Ah, Bh, Vu, u, m, p, w);
        ref_node *n = dot_channels(f, map(f, part(f, "P", l), w, D), map(f, part(f, "Q", l), w, D), D, M);
        ref_node *z = map(f, part(f, "W1", l), h[i], 1);
        add_map(f, z, part(f, "W2", l), m);
        add_map(f, z, part(f, "W3", l), ref_tape_apply(f->tape, sat, p, NULL));
        add_map(f, z, part(f, "W4", l), ref_tape_apply(f->tape, sat, n, NULL));
        add_map(f, z, part(f, "tau", l), f->time);
        h_new[i] = ref_tape_node(f->tape, H);
        add(f, h_new[i], h[i], 1.0);
        add(f, h_new[i], ref_tape_apply(f->tape, silu, z, NULL), 1.0);
        ref_node *opened = ref_tape_node(f->tape, D * M);
        add_scaled_channels(f, opened, w, gate(f, part(f, "G", l), h_new[i]), D, M);
        u_new[i] = bounded(f, opened, D, M);
    }
    memcpy(h, h_new, N * sizeof(ref_node *));
    memcpy(u, u_new, N * sizeof(ref_node *));
    free(Ah);
}

/* out += W [h, n]: the columns of h first. */
static void add_map_of_both(field_tape *f, ref_node *out, const ref_matrix *w, const ref_node *h, const ref_node *n) {
    add_columns(f, out, w, 0, h->count, h, 1);
    add_columns(f, out, w, h->count, n->count, n, 1);
}

/* g_ij [1]. */
static ref_node *edge(field_tape *f, const pair *ij, const ref_node *hi, const ref_node *ni, const ref_node *yi,
                      const ref_node *hj, const ref_node *nj, const ref_node *yj) {
    const ref_message *message = f->message;
    size_t D = message->shape.space_dim, R = message->shape.num_reduced, K = message->shape.num_radial;
    const ref_matrix *S = part(f, "S", 0);
    ref_node *z = map(f, pair_part(f, "a", 0, ij), ij->gaussians, 1);
    ref_node *scale = map(f, pair_part(f, "c", 0, ij), ij->gaussians, 1);
    add_map(f, scale, part(f, "tau_c", 0), f->time);
    ref_node *nodes = map(f, part(f, "tau_B", 0), f->time, 1);
    add_map_of_both(f, nodes, part(f, "B1", 0), hi, ni);
    add_map_of_both(f, nodes, part(f, "C1", 0), hj, nj);
    add_product(f, z, scale, nodes);
    add_columns(f, z, S, 0, R, dot_with(f, ij->r, yi, D, R), 1);
    add_columns(f, z, S, R, R, dot_with(f, ij->r, yj, D, R), 1);
    add_columns(f, z, S, 2 * R, R, dot_channels(f, yi, yj, D, R), 1);
    ref_node *hidden = map(f, part(f, "W2e", 0), ref_tape_apply(f->tape, silu, z, NULL), 1);
    add_map(f, hidden, part(f, "tau_e", 0), f->time);
    ref_node *g = map(f, part(f, "w3", 0), ref_tape_apply(f->tape, silu, hidden, NULL), 1);
    add_map(f, g, part(f, "w4", 0), z);
    ref_node *alpha = map(f, part(f, "alpha", 0), f->time, 1);
    ref_tape_product(f->tape, g, alpha, ij->gaussians,
                     (ref_product){K, 1, 1, {0, 0, 0}, {1, 0, 0}, {1, 0, 0}, 0, 0, 0, 1.0});
    ref_tape_product(f->tape, g, alpha, f->one, (ref_product){1, 1, 1, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, 0, K, 0, 1.0});
    return g;
}

static void read_out(field_tape *f, const pair *pairs, ref_node **h, ref_node **u) {
    const ref_message *message = f->message;
    size_t N = message->shape.num_particles, D = message->shape.space_dim, M = message->shape.num_vectors,
           R = message->shape.num_reduced;
    ref_node **y = calloc(2 * N, sizeof(ref_node *)), **n = y + N, *mean = ref_tape_node(f->tape, D);
    if (!y) abort();
    for (unsigned i = 0; i < N; ++i) {
        y[i] = map(f, part(f, "Y", 0), u[i], D);
        n[i] = ref_tape_apply(f->tape, sat, dot_channels(f, y[i], y[i], D, R), NULL);
    }
    ref_node **raw = calloc(N, sizeof(ref_node *));
    if (!raw) abort();
    for (unsigned i = 0; i < N; ++i) {
        raw[i] = ref_tape_node(f->tape, D);
        for (unsigned j = 0; j < N; ++j) {
            if (j == i) continue;
            const pair *ij = pairs + i * N + j;
            add_outer(f, raw[i], ij->r, edge(f, ij, h[i], n[i], y[i], h[j], n[j], y[j]), D, 1);
        }
        ref_node *opened = ref_tape_node(f->tape, D * M);
        add_scaled_channels(f, opened, u[i], gate(f, part(f, "G_out", 0), h[i]), D, M);
        add_columns(f, raw[i], part(f, "omega", 0), 0, M, opened, D);
        add(f, mean, raw[i], 1.0 / (double)N);
    }
    for (unsigned i = 0; i < N; ++i) {
        f->v[i] = ref_tape_node(f->tape, D);
        add(f, f->v[i], raw[i], 1.0);
        add(f, f->v[i], mean, -1.0);
    }
    free(raw);
    free(y);
}

static field_tape record_field(const ref_message *message, double t, const double *x) {
    size_t N = message->shape.num_particles, D = message->shape.space_dim;
    field_tape f = {ref_tape_create(), message, NULL, NULL, NULL, NULL, NULL};
    f.params = ref_tape_node(f.tape, message->num_params);
    memcpy(f.params->value, message->params, message->num_params * sizeof(double));
    f.one = ref_tape_node(f.tape, 1);
    f.one->value[0] = 1.0;
    f.time = ref_tape_node(f.tape, num_time);
    for (unsigned a = 0; a < num_time; ++a) {
        double s = (t - a / 7.0) / 0.2;
        f.time->value[a] = a < 8 ? exp(-s * s) : 1.0;
    }
    f.x = calloc(4 * N, sizeof(ref_node *));
    pair *pairs = calloc(N * N, sizeof *pairs);
    if (!f.x || !pairs) abort();
    f.v = f.x + N;
    ref_node **h = f.x + 2 * N, **u = f.x + 3 * N;
    for (unsigned i = 0; i < N; ++i) {
        f.x[i] = ref_tape_node(f.tape, D);
        memcpy(f.x[i]->value, x + i * D, D * sizeof *x);
    }
    for (unsigned i = 0; i < N; ++i)
        for (unsigned j = 0; j < N; ++j)
            if (j != i) pairs[i * N + j] = make_pair(&f, i, j);
    first_hop(&f, pairs, h, u);
    for (unsigned l = 2; l <= message->shape.num_hops; ++l) later_hop(&f, pairs, l, h, u);
    read_out(&f, pairs, h, u);
    free(pairs);
    return f;
}

static void forget(field_tape *f) {
    free(f->x);
    ref_tape_destroy(f->tape);
}

static void copy_velocity(const field_tape *f, double *velocity_out) {
    size_t N = f->message->shape.num_particles, D = f->message->shape.space_dim;
    for (unsigned i = 0; i < N; ++i) memcpy(velocity_out + i * D, f->v[i]->value, D * sizeof(double));
}

void ref_message_velocity(const ref_message *message, double t, const double *x, double *velocity_out) {
    field_tape f = record_field(message, t, x);
    copy_velocity(&f, velocity_out);
    forget(&f);
}

void ref_message_field_scaled(const ref_message *message, double t, const double *x, double *velocity_out,
                              double *divergence_out, double *scale_out) {
    size_t N = message->shape.num_particles, D = message->shape.space_dim;
    field_tape f = record_field(message, t, x);
    copy_velocity(&f, velocity_out);
    *divergence_out = *scale_out = 0.0;
    for (unsigned k = 0; k < N; ++k)
        for (unsigned c = 0; c < D; ++c) {
            f.x[k]->tangent[c] = 1.0;
            ref_tape_tangents(f.tape);
            f.x[k]->tangent[c] = 0.0;
            *divergence_out += f.v[k]->tangent[c];
            *scale_out += fabs(f.v[k]->tangent[c]);
        }
    forget(&f);
}

void ref_message_field(const ref_message *message, double t, const double *x, double *velocity_out,
                       double *divergence_out) {
    double scale;
    ref_message_field_scaled(message, t, x, velocity_out, divergence_out, &scale);
}

double ref_message_divergence_by_differences(const ref_message *message, double t, const double *x) {
    size_t num_dof = (size_t)message->shape.num_particles * message->shape.space_dim;
    double *y = zeros(num_dof), *above = zeros(num_dof), *below = zeros(num_dof), sum = 0.0;
    memcpy(y, x, num_dof * sizeof *y);
    for (size_t c = 0; c < num_dof; ++c) {
        double slope[2];
        for (unsigned turn = 0; turn < 2; ++turn) {
            double step = turn ? 1e-3 : 2e-3;
            y[c] = x[c] + step;
            ref_message_velocity(message, t, y, above);
            y[c] = x[c] - step;
            ref_message_velocity(message, t, y, below);
            y[c] = x[c];
            slope[turn] = (above[c] - below[c]) / (2.0 * step);
        }
        sum += (4.0 * slope[1] - slope[0]) / 3.0; /* removes the error of second order */
    }
    free(y);
    free(above);
    free(below);
    return sum;
}

/* Adds what the leaves got to by_x and by_params. */
static void collect(const field_tape *f, double *by_x, double *by_params) {
    size_t N = f->message->shape.num_particles, D = f->message->shape.space_dim;
    for (unsigned i = 0; by_x && i < N; ++i)
        for (unsigned d = 0; d < D; ++d) by_x[i * D + d] += f->x[i]->by_value[d];
    for (size_t p = 0; by_params && p < f->message->num_params; ++p) by_params[p] += f->params->by_value[p];
}

void ref_message_gradient(const ref_message *message, double t, const double *x, const double *adjoint_v,
                          double adjoint_div, double *by_x_out, double *by_params_out) {
    size_t N = message->shape.num_particles, D = message->shape.space_dim;
    field_tape f = record_field(message, t, x);
    if (by_x_out) memset(by_x_out, 0, N * D * sizeof *by_x_out);
    if (by_params_out) memset(by_params_out, 0, message->num_params * sizeof *by_params_out);
    for (unsigned i = 0; i < N; ++i) memcpy(f.v[i]->by_value, adjoint_v + i * D, D * sizeof(double));
    ref_tape_reverse(f.tape); /* all tangents are 0 */
    collect(&f, by_x_out, by_params_out);
    for (unsigned k = 0; k < N && adjoint_div != 0.0; ++k)
        for (unsigned c = 0; c < D; ++c) { /* adjoint_div times the derivative of v_kc along x_kc */
            ref_tape_clear_gradients(f.tape);
            f.x[k]->tangent[c] = 1.0;
            ref_tape_tangents(f.tape);
            f.v[k]->by_tangent[c] = adjoint_div;
            ref_tape_reverse(f.tape);
            f.x[k]->tangent[c] = 0.0;
            collect(&f, by_x_out, by_params_out);
        }
    forget(&f);
}
