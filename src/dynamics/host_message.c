/* The message field on the host in double precision, for known answers: the velocity from the equations of
 * docs/method.md, section 9, the divergence from differences of the velocity, which have eight correct digits. No code
 * is common with the device's tape. */
#include "host_message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "message_params.h"

typedef struct host_state {
    const eqf__message_shape *shape;
    const double *params;
    unsigned N, D;
    double reach; /* distance_max */
    double time[EQF__MESSAGE_NUM_TIME];
    double *basis;     /* [N, N, K]: e_k(d_ij) */
    double *r;         /* [N, N, D] */
    double *h, *h_new; /* [N, H] */
    double *u, *u_new; /* [N, M, D] */
    double *m, *p, *w; /* of one particle: [H], [M], [M, D] */
    double *y, *n;     /* [N, R, D], [N, R] */
    double *z;         /* [E] */
} host_state;

static double silu(double x) {
    return x / (1 + exp(-x));
}

static double sat(double x) {
    return x / sqrt(1 + x * x / 9);
}

/* Row `row` of a matrix [.., count] times a vector of length count, whose elements are `stride` apart. */
static double times(const double *matrix, size_t row, size_t count, const double *vector, size_t stride) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += matrix[row * count + i] * vector[i * stride];
    return sum;
}

/* 1 for a particle of species B, 0 for one of A. */
static unsigned is_b(const host_state *s, unsigned i) {
    return i >= s->N - s->shape->num_b;
}

/* Filter `row` of all filters of its species at the pair (i, j). */
static double filter(const host_state *s, size_t row, unsigned i, unsigned j) {
    const unsigned K = s->shape->num_radial;
    return times(s->params + s->shape->at_filters[is_b(s, i) + is_b(s, j)], row, K,
                 s->basis + ((size_t)i * s->N + j) * K, 1);
}

static double time_of(const host_state *s, size_t row) {
    return times(s->params + s->shape->at_times, row, EQF__MESSAGE_NUM_TIME, s->time, 1);
}

static double along(const host_state *s, unsigned i, unsigned j, const double *vector) {
    double sum = 0;
    for (unsigned c = 0; c < s->D; c++) sum += s->r[((size_t)i * s->N + j) * s->D + c] * vector[c];
    return sum;
}

static double dot(const host_state *s, const double *a, const double *b) {
    double sum = 0;
    for (unsigned c = 0; c < s->D; c++) sum += a[c] * b[c];
    return sum;
}

static void measure(host_state *s, const double *x, double t) {
    const unsigned N = s->N, D = s->D, K = s->shape->num_radial;
    const double step = s->reach / (K - 1), gamma = sqrt(2) * step;
    for (unsigned a = 0; a + 1 < EQF__MESSAGE_NUM_TIME; a++) s->time[a] = exp(-pow((t - a / 7.0) / 0.2, 2));
    s->time[EQF__MESSAGE_NUM_TIME - 1] = 1;
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            double *r = s->r + ((size_t)i * N + j) * D, d2 = 0;
            for (unsigned c = 0; c < D; c++) {
                r[c] = x[i * D + c] - x[j * D + c];
                d2 += r[c] * r[c];
            }
            for (unsigned k = 0; k < K; k++)
                s->basis[((size_t)i * N + j) * K + k] = exp(-pow((sqrt(d2) - k * step) / gamma, 2));
        }
}

static void first_hop(host_state *s) {
    const unsigned N = s->N, D = s->D, H = s->shape->num_scalars, M = s->shape->num_vectors;
    for (unsigned i = 0; i < N; i++) {
        for (unsigned a = 0; a < H; a++) {
            s->m[a] = 0;
            for (unsigned j = 0; j < N; j++)
                if (j != i) s->m[a] += filter(s, a, i, j);
        }
        const size_t first_time = is_b(s, i) ? s->shape->time_of_b : 0;
        for (unsigned a = 0; a < H; a++)
            s->h[i * H + a] = silu(times(s->params + s->shape->at_input, a, H, s->m, 1) + time_of(s, first_time + a));
        for (unsigned b = 0; b < M; b++)
            for (unsigned c = 0; c < D; c++) {
                double sum = 0;
                for (unsigned j = 0; j < N; j++)
                    if (j != i) sum += filter(s, H + b, i, j) * s->r[((size_t)i * N + j) * D + c];
                s->u[((size_t)i * M + b) * D + c] = sum;
            }
    }
}

/* w_i [M, D] of hop l. */
static void add_vectors(host_state *s, unsigned l, unsigned i) {
    const eqf__message_shape *shape = s->shape;
    const unsigned N = s->N, D = s->D, H = shape->num_scalars, M = shape->num_vectors;
    const double *mix = s->params + shape->at_mix[l], *vector = s->params + shape->at_vector[l];
    const size_t first = shape->first_filter[l];
    for (unsigned b = 0; b < M; b++)
        for (unsigned c = 0; c < D; c++) {
            double sum = times(vector, b, M, s->u + (size_t)i * M * D + c, D);
            for (unsigned j = 0; j < N; j++) {
                if (j == i) continue;
                const double from_scalars = filter(s, first + H + M + b, i, j) * times(mix, H + b, H, s->h + j * H, 1);
                sum +=
                    from_scalars * s->r[((size_t)i * N + j) * D + c] +
                    filter(s, first + H + 2 * M + b, i, j) * times(vector, M + b, M, s->u + (size_t)j * M * D + c, D);
            }
            s->w[b * D + c] = sum;
        }
}

static void hop(host_state *s, unsigned l) {
    const eqf__message_shape *shape = s->shape;
    const unsigned N = s->N, D = s->D, H = shape->num_scalars, M = shape->num_vectors, columns = 2 * H + 2 * M;
    const double *mix = s->params + shape->at_mix[l], *update = s->params + shape->at_update[l];
    const double *product = s->params + shape->at_product[l], *gate = s->params + shape->at_gate[l];
    const size_t first = shape->first_filter[l];
    for (unsigned i = 0; i < N; i++) {
        for (unsigned a = 0; a < H; a++) s->m[a] = 0;
        for (unsigned b = 0; b < M; b++) s->p[b] = 0;
        for (unsigned j = 0; j < N; j++) {
            if (j == i) continue;
            for (unsigned a = 0; a < H; a++) s->m[a] += filter(s, first + a, i, j) * times(mix, a, H, s->h + j * H, 1);
            for (unsigned b = 0; b < M; b++)
                s->p[b] += filter(s, first + H + b, i, j) * along(s, i, j, s->u + ((size_t)j * M + b) * D);
        }
        add_vectors(s, l, i);
        for (unsigned a = 0; a < H; a++) {
            const double *row = update + (size_t)a * columns;
            double sum = time_of(s, (size_t)(l - 1) * H + a);
            for (unsigned b = 0; b < H; b++) sum += row[b] * s->h[i * H + b] + row[H + b] * s->m[b];
            for (unsigned b = 0; b < M; b++) {
                double n = 0;
                for (unsigned c = 0; c < D; c++)
                    n += times(product, b, M, s->w + c, D) * times(product, M + b, M, s->w + c, D);
                sum += row[2 * H + b] * sat(s->p[b]) + row[2 * H + M + b] * sat(n);
            }
            s->h_new[i * H + a] = s->h[i * H + a] + silu(sum);
        }
        for (unsigned b = 0; b < M; b++) {
            double *u = s->u_new + ((size_t)i * M + b) * D;
            for (unsigned c = 0; c < D; c++) u[c] = s->w[b * D + c] * (1 + times(gate, b, H, s->h_new + i * H, 1));
            const double shrink = 1 / sqrt(1 + dot(s, u, u) / 25);
            for (unsigned c = 0; c < D; c++) u[c] *= shrink;
        }
    }
    memcpy(s->h, s->h_new, (size_t)N * H * sizeof *s->h);
    memcpy(s->u, s->u_new, (size_t)N * M * D * sizeof *s->u);
}

/* g_ij of the read-out. */
static double edge(host_state *s, unsigned i, unsigned j) {
    const eqf__message_shape *shape = s->shape;
    const unsigned N = s->N, D = s->D, H = shape->num_scalars, E = shape->num_edge, R = shape->num_reduced;
    const unsigned K = shape->num_radial, columns = H + R;
    const size_t first = shape->num_filters - 2 * E, first_time = (size_t)shape->num_hops * H;
    const double *node = s->params + shape->at_readout_node, *out = s->params + shape->at_edge_out;
    double g = time_of(s, first_time + 3 * E + K); /* alpha_K */
    for (unsigned a = 0; a < E; a++) {
        const double *of_i = node + (size_t)a * columns, *of_j = node + (size_t)(E + a) * columns;
        const double *invariant = s->params + shape->at_readout_invariant + (size_t)a * 3 * R;
        double both = time_of(s, first_time + E + a), z = 0;
        for (unsigned b = 0; b < H; b++) both += of_i[b] * s->h[i * H + b] + of_j[b] * s->h[j * H + b];
        for (unsigned b = 0; b < R; b++) {
            const double *y_i = s->y + ((size_t)i * R + b) * D, *y_j = s->y + ((size_t)j * R + b) * D;
            both += of_i[H + b] * s->n[i * R + b] + of_j[H + b] * s->n[j * R + b];
            z += invariant[b] * along(s, i, j, y_i) + invariant[R + b] * along(s, i, j, y_j) +
                 invariant[2 * R + b] * dot(s, y_i, y_j);
        }
        s->z[a] = z + filter(s, first + a, i, j) + (filter(s, first + E + a, i, j) + time_of(s, first_time + a)) * both;
        g += out[E + a] * s->z[a];
    }
    for (unsigned a = 0; a < E; a++) {
        double sum = time_of(s, first_time + 2 * E + a);
        for (unsigned b = 0; b < E; b++) sum += s->params[shape->at_edge + (size_t)a * E + b] * silu(s->z[b]);
        g += out[a] * silu(sum);
    }
    for (unsigned k = 0; k < K; k++) g += time_of(s, first_time + 3 * E + k) * s->basis[((size_t)i * N + j) * K + k];
    return g;
}

static void read_out(host_state *s, double *velocity_out) {
    const eqf__message_shape *shape = s->shape;
    const unsigned N = s->N, D = s->D, H = shape->num_scalars, M = shape->num_vectors, R = shape->num_reduced;
    for (unsigned i = 0; i < N; i++)
        for (unsigned b = 0; b < R; b++) {
            double *y = s->y + ((size_t)i * R + b) * D;
            for (unsigned c = 0; c < D; c++)
                y[c] = times(s->params + shape->at_readout_vector, b, M, s->u + (size_t)i * M * D + c, D);
            s->n[i * R + b] = sat(dot(s, y, y));
        }
    for (unsigned i = 0; i < N; i++) {
        double *v = velocity_out + i * D;
        for (unsigned c = 0; c < D; c++) v[c] = 0;
        for (unsigned b = 0; b < M; b++) {
            const double gated = s->params[shape->at_vector_out + b] *
                                 (1 + times(s->params + shape->at_gate_out, b, H, s->h + i * H, 1));
            for (unsigned c = 0; c < D; c++) v[c] += gated * s->u[((size_t)i * M + b) * D + c];
        }
        for (unsigned j = 0; j < N; j++) {
            if (j == i) continue;
            const double g = edge(s, i, j);
            for (unsigned c = 0; c < D; c++) v[c] += g * s->r[((size_t)i * N + j) * D + c];
        }
    }
    eqf__host_centre(N, D, velocity_out);
}

static void velocity(host_state *s, const double *x, double t, double *velocity_out) {
    measure(s, x, t);
    first_hop(s);
    for (unsigned l = 2; l <= s->shape->num_hops; l++) hop(s, l);
    read_out(s, velocity_out);
}

bool eqf__host_message_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                                double *divergence_out) {
    eqf__message_shape shape;
    eqf__message_shape_of(field->options, &shape);
    const size_t N = field->num_particles, D = field->space_dim, K = shape.num_radial, H = shape.num_scalars;
    const size_t M = shape.num_vectors, R = shape.num_reduced, E = shape.num_edge, step_dof = N * D;
    const size_t sizes[] = {N * N * K, N * N * D, N * H,     N * H, N * M * D, N * M * D, H,
                            M,         M * D,     N * R * D, N * R, E,         step_dof,  2 * step_dof};
    size_t total = 0;
    for (size_t a = 0; a < sizeof sizes / sizeof sizes[0]; a++) total += sizes[a];
    double *memory = calloc(total, sizeof *memory), *parts[sizeof sizes / sizeof sizes[0]];
    if (memory == NULL) return false;
    parts[0] = memory;
    for (size_t a = 1; a < sizeof sizes / sizeof sizes[0]; a++) parts[a] = parts[a - 1] + sizes[a - 1];
    host_state s = {.shape = &shape,
                    .params = field->params,
                    .N = field->num_particles,
                    .D = field->space_dim,
                    .reach = field->options->distance_max,
                    .basis = parts[0],
                    .r = parts[1],
                    .h = parts[2],
                    .h_new = parts[3],
                    .u = parts[4],
                    .u_new = parts[5],
                    .m = parts[6],
                    .p = parts[7],
                    .w = parts[8],
                    .y = parts[9],
                    .n = parts[10],
                    .z = parts[11]};
    double *near = parts[12], *sides = parts[13];
    const double step = 1e-5;
    double divergence = 0;
    memcpy(near, x, step_dof * sizeof *near);
    const size_t num_moved = divergence_out == NULL ? 0 : field->is_symmetric ? D : step_dof;
    for (size_t c = 0; c < num_moved; c++) {
        for (int side = 0; side < 2; side++) {
            near[c] = x[c] + (side ? step : -step);
            velocity(&s, near, t, sides + (size_t)side * step_dof);
        }
        near[c] = x[c];
        divergence += (sides[step_dof + c] - sides[c]) / (2 * step);
    }
    if (divergence_out != NULL) *divergence_out = divergence * ((double)step_dof / (double)num_moved);
    velocity(&s, x, t, velocity_out);
    free(memory);
    return true;
}
