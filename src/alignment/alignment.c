/* Equivariant optimal transport between two configurations. Klein, Kraemer and Noe (NeurIPS 2023, arXiv 2306.15030,
 * section 4) alternate the Hungarian method and the Kabsch rotation. Here reflections are allowed too, and with few
 * particles all permutations are tried. */
#include "alignment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "assignment.h"
#include "host_reference.h"

enum { FEW_PARTICLES = 4, MOST_PERMUTATIONS = 24, MOST_TURNS = 20 };

struct eqf__alignment {
    unsigned num_particles, first_b, space_dim;
    double *cost;    /* [N, N] */
    double *doubles; /* of eqf__assign */
    unsigned *indices, *columns, *kept_columns;
    double *turned, *tried, *best; /* [N, D] */
    unsigned num_permutations;     /* for few particles */
    unsigned permutations[MOST_PERMUTATIONS][FEW_PARTICLES];
};

static bool keeps_species(const eqf__alignment *a, const unsigned *order) {
    for (unsigned i = 0; i < a->num_particles; i++)
        if ((order[i] >= a->first_b) != (i >= a->first_b)) return false;
    return true;
}

/* All permutations of num_particles items that keep the species: the digits of a permutation's number in the factorial
 * system are the positions at which items are inserted. */
static void list_permutations(eqf__alignment *a) {
    unsigned count = 1;
    for (unsigned i = 2; i <= a->num_particles; i++) count *= i;
    a->num_permutations = 0;
    for (unsigned p = 0; p < count; p++) {
        unsigned rest = p, *order = a->permutations[a->num_permutations];
        for (unsigned i = 0; i < a->num_particles; i++) order[i] = i;
        for (unsigned i = a->num_particles - 1; i > 0; i--) {
            const unsigned j = rest % (i + 1), kept = order[i];
            rest /= i + 1;
            order[i] = order[j];
            order[j] = kept;
        }
        a->num_permutations += keeps_species(a, order);
    }
}

eqf_status eqf__alignment_create(eqf_context *ctx, unsigned num_particles, unsigned num_b, unsigned space_dim,
                                 eqf__alignment **alignment_out) {
    *alignment_out = NULL;
    eqf__alignment *a = eqf__alloc(ctx, 1, sizeof *a, "an alignment");
    if (a == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const size_t n = num_particles, num_dof = n * space_dim;
    a->num_particles = num_particles;
    a->first_b = num_particles - num_b;
    a->space_dim = space_dim;
    a->cost = eqf__alloc(ctx, n * n + EQF__ASSIGNMENT_DOUBLES(n) + 3 * num_dof, sizeof(double), "an alignment");
    a->indices = eqf__alloc(ctx, EQF__ASSIGNMENT_INDICES(n) + 2 * n, sizeof(unsigned), "an alignment");
    if (a->cost == NULL || a->indices == NULL) {
        eqf__alignment_destroy(&a);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    a->doubles = a->cost + n * n;
    a->turned = a->doubles + EQF__ASSIGNMENT_DOUBLES(n);
    a->tried = a->turned + num_dof;
    a->best = a->tried + num_dof;
    a->columns = a->indices + EQF__ASSIGNMENT_INDICES(n);
    a->kept_columns = a->columns + n;
    if (num_particles <= FEW_PARTICLES) list_permutations(a);
    *alignment_out = a;
    return EQF_OK;
}

void eqf__alignment_destroy(eqf__alignment **alignment) {
    if (*alignment == NULL) return;
    free((*alignment)->cost);
    free((*alignment)->indices);
    free(*alignment);
    *alignment = NULL;
}

/* ---- The orthogonal map ------------------------------------------------------------------------------------------ */

/* Eigenvectors (columns of v) of a symmetric 3 x 3 matrix, which becomes diagonal: Jacobi's rotations. */
static void diagonalise(double m[3][3], double v[3][3]) {
    static const unsigned pairs[3][2] = {{0, 1}, {0, 2}, {1, 2}};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++) v[i][j] = i == j;
    for (unsigned turn = 0; turn < 30; turn++) {
        const unsigned p = pairs[turn % 3][0], q = pairs[turn % 3][1];
        const double off = fabs(m[0][1]) + fabs(m[0][2]) + fabs(m[1][2]);
        if (off <= 1e-15 * (fabs(m[0][0]) + fabs(m[1][1]) + fabs(m[2][2]))) return;
        if (m[p][q] == 0) continue;
        /* tangent of the smaller angle that makes m[p][q] zero */
        const double slope = (m[q][q] - m[p][p]) / (2 * m[p][q]);
        const double t = (slope >= 0 ? 1 : -1) / (fabs(slope) + sqrt(slope * slope + 1));
        const double c = 1 / sqrt(t * t + 1), s = t * c;
        for (unsigned i = 0; i < 3; i++) {
            const double a = m[i][p], b = m[i][q], d = v[i][p], e = v[i][q];
            m[i][p] = c * a - s * b;
            m[i][q] = s * a + c * b;
            v[i][p] = c * d - s * e;
            v[i][q] = s * d + c * e;
        }
        for (unsigned i = 0; i < 3; i++) {
            const double a = m[p][i], b = m[q][i];
            m[p][i] = c * a - s * b;
            m[q][i] = s * a + c * b;
        }
    }
}

/* Makes u a unit vector; if u is negligible compared with `scale`, one at right angles to w. */
static void normalise(double u[3], double scale, const double w[3]) {
    double norm = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
    if (!(norm > 1e-9 * scale) || norm == 0) {
        const unsigned k =
            fabs(w[0]) < fabs(w[1]) ? (fabs(w[0]) < fabs(w[2]) ? 0 : 2) : (fabs(w[1]) < fabs(w[2]) ? 1 : 2);
        const double e[3] = {k == 0, k == 1, k == 2};
        for (unsigned i = 0; i < 3; i++) u[i] = w[(i + 1) % 3] * e[(i + 2) % 3] - w[(i + 2) % 3] * e[(i + 1) % 3];
        norm = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
    }
    for (unsigned i = 0; i < 3; i++) u[i] /= norm;
}

/* The orthogonal q with the largest tr(q^T m), m = U S V^T: q = U V^T. V diagonalises m^T m; for a singular value 0 the
 * column of U is any that is orthonormal to the others. Returns the sum of the singular values. */
static double polar_3(const double m[3][3], double q[3][3]) {
    double square[3][3], v[3][3], u[3][3], trace = 0;
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++) square[i][j] = m[0][i] * m[0][j] + m[1][i] * m[1][j] + m[2][i] * m[2][j];
    diagonalise(square, v);
    unsigned order[3] = {0, 1, 2};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 2 - i; j++)
            if (square[order[j]][order[j]] < square[order[j + 1]][order[j + 1]]) {
                const unsigned kept = order[j];
                order[j] = order[j + 1];
                order[j + 1] = kept;
            }
    double image[3][3]; /* image[k] = m v_k, longest first */
    for (unsigned k = 0; k < 3; k++)
        for (unsigned i = 0; i < 3; i++)
            image[k][i] = m[i][0] * v[0][order[k]] + m[i][1] * v[1][order[k]] + m[i][2] * v[2][order[k]];
    const double x_axis[3] = {1, 0, 0};
    memcpy(u[0], image[0], sizeof u[0]);
    normalise(u[0], 0, x_axis);
    const double scale = u[0][0] * image[0][0] + u[0][1] * image[0][1] + u[0][2] * image[0][2];
    const double along = u[0][0] * image[1][0] + u[0][1] * image[1][1] + u[0][2] * image[1][2];
    for (unsigned i = 0; i < 3; i++) u[1][i] = image[1][i] - along * u[0][i];
    normalise(u[1], scale, u[0]);
    for (unsigned i = 0; i < 3; i++)
        u[2][i] = u[0][(i + 1) % 3] * u[1][(i + 2) % 3] - u[0][(i + 2) % 3] * u[1][(i + 1) % 3];
    if (u[2][0] * image[2][0] + u[2][1] * image[2][1] + u[2][2] * image[2][2] < 0)
        for (unsigned i = 0; i < 3; i++) u[2][i] = -u[2][i];
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < 3; j++) {
            q[i][j] = u[0][i] * v[j][order[0]] + u[1][i] * v[j][order[1]] + u[2][i] * v[j][order[2]];
            trace += q[i][j] * m[i][j];
        }
    return trace;
}

/* In the plane, with particles as complex numbers: the best rotation turns by the angle of sum conj(x) z; the best
 * improper map reflects y and then turns by the angle of sum x z. */
static double polar_2(const double m[2][2], double q[4]) {
    const double c = m[0][0] + m[1][1], s = m[1][0] - m[0][1], c_mirrored = m[0][0] - m[1][1],
                 s_mirrored = m[1][0] + m[0][1];
    const double turned = sqrt(c * c + s * s), mirrored = sqrt(c_mirrored * c_mirrored + s_mirrored * s_mirrored);
    const bool is_mirrored = mirrored > turned;
    const double norm = is_mirrored ? mirrored : turned;
    const double cosine = norm > 0 ? (is_mirrored ? c_mirrored : c) / norm : 1,
                 sine = norm > 0 ? (is_mirrored ? s_mirrored : s) / norm : 0;
    q[0] = cosine;
    q[2] = sine;
    q[1] = is_mirrored ? sine : -sine;
    q[3] = is_mirrored ? -cosine : cosine;
    return norm;
}

/* The orthogonal q_out with the largest tr(q^T m), m [D, D]; returns the trace. */
static double polar(unsigned space_dim, const double *m, double *q_out) {
    if (space_dim == 3) return polar_3((const double(*)[3])(const void *)m, (double(*)[3])(void *)q_out);
    if (space_dim == 2) return polar_2((const double(*)[2])(const void *)m, q_out);
    q_out[0] = m[0] < 0 ? -1 : 1;
    return fabs(m[0]);
}

/* m += z_i x_i^T. */
static void add_outer(unsigned space_dim, const double *z, const double *x, double *m) {
    for (unsigned a = 0; a < space_dim; a++)
        for (unsigned b = 0; b < space_dim; b++) m[a * space_dim + b] += z[a] * x[b];
}

double eqf__best_orthogonal(unsigned num_particles, unsigned space_dim, const double *z, const double *x,
                            double *q_out) {
    double m[9] = {0};
    for (unsigned i = 0; i < num_particles; i++) add_outer(space_dim, z + i * space_dim, x + i * space_dim, m);
    return polar(space_dim, m, q_out);
}

/* ---- Few particles: every permutation ---------------------------------------------------------------------------- */

static double squared_norm(unsigned count, const double *x) {
    double square = 0;
    for (unsigned c = 0; c < count; c++) square += x[c] * x[c];
    return square;
}

/* In the plane, with particles as complex numbers: the squared largest |sum of products| over permutations, *best_out
 * the number of that permutation. The products are computed once. */
static double largest_overlap_2(const eqf__alignment *a, const double *z, const double *x, unsigned *best_out) {
    double product[FEW_PARTICLES][FEW_PARTICLES][4]; /* real and imaginary part of conj(x_j) z_i and of x_j z_i */
    double largest = -1;
    for (unsigned i = 0; i < a->num_particles; i++)
        for (unsigned j = 0; j < a->num_particles; j++) {
            const double xx = z[2 * i] * x[2 * j], yy = z[2 * i + 1] * x[2 * j + 1];
            const double yx = z[2 * i + 1] * x[2 * j], xy = z[2 * i] * x[2 * j + 1];
            product[i][j][0] = xx + yy;
            product[i][j][1] = yx - xy;
            product[i][j][2] = xx - yy;
            product[i][j][3] = yx + xy;
        }
    for (unsigned p = 0; p < a->num_permutations; p++) {
        double sum[4] = {0};
        for (unsigned i = 0; i < a->num_particles; i++)
            for (unsigned c = 0; c < 4; c++) sum[c] += product[i][a->permutations[p][i]][c];
        const double turned = sum[0] * sum[0] + sum[1] * sum[1], mirrored = sum[2] * sum[2] + sum[3] * sum[3];
        const double square = turned > mirrored ? turned : mirrored;
        if (square > largest) {
            largest = square;
            *best_out = p;
        }
    }
    return sqrt(largest);
}

/* The largest sum of z_i . q x_p(i) over permutations p and orthogonal q. */
static double largest_overlap(const eqf__alignment *a, const double *z, const double *x, unsigned *best_out) {
    const unsigned dim = a->space_dim;
    if (dim == 2) return largest_overlap_2(a, z, x, best_out);
    double largest = -1, q[9];
    for (unsigned p = 0; p < a->num_permutations; p++) {
        double m[9] = {0};
        for (unsigned i = 0; i < a->num_particles; i++) add_outer(dim, z + i * dim, x + a->permutations[p][i] * dim, m);
        const double overlap = polar(dim, m, q);
        if (overlap > largest) {
            largest = overlap;
            *best_out = p;
        }
    }
    return largest;
}

double eqf__aligned_distance(const eqf__alignment *a, const double *z, const double *x) {
    if (a->num_particles > FEW_PARTICLES) return NAN;
    const unsigned num_dof = a->num_particles * a->space_dim;
    unsigned best;
    return squared_norm(num_dof, z) + squared_norm(num_dof, x) - 2 * largest_overlap(a, z, x, &best);
}

/* ---- Many particles: alternate ----------------------------------------------------------------------------------- */

/* y_i = q x_order(i). */
static void apply(unsigned num_particles, unsigned space_dim, const double *q, const unsigned *order, const double *x,
                  double *y) {
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned a = 0; a < space_dim; a++) {
            double sum = 0;
            for (unsigned b = 0; b < space_dim; b++) sum += q[a * space_dim + b] * x[order[i] * space_dim + b];
            y[i * space_dim + a] = sum;
        }
}

/* Sets columns of the `count` particles from `first` on, which are of one species. */
static void assign(eqf__alignment *a, const double *z, unsigned first, unsigned count) {
    const unsigned dim = a->space_dim;
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < count; j++) {
            double product = 0;
            for (unsigned c = 0; c < dim; c++) product += z[(first + i) * dim + c] * a->tried[(first + j) * dim + c];
            a->cost[i * count + j] = -product;
        }
    eqf__assign(count, a->cost, a->doubles, a->indices, a->columns + first);
    for (unsigned i = 0; i < count; i++) a->columns[first + i] += first;
}

/* Starts from the orientation of `turned`; permutation and map are improved in turns until the permutation stays the
 * same. The copy is in `tried`. Returns the sum of z_i . tried_i. */
static double alternate(eqf__alignment *a, const double *z) {
    const unsigned n = a->num_particles, dim = a->space_dim;
    double overlap = 0, q[9];
    memcpy(a->tried, a->turned, sizeof(double) * n * dim);
    for (unsigned turn = 0; turn < MOST_TURNS; turn++) {
        assign(a, z, 0, a->first_b);
        if (a->first_b < n) assign(a, z, a->first_b, n - a->first_b);
        bool is_same = turn > 0;
        for (unsigned i = 0; i < n; i++) is_same = is_same && a->columns[i] == i;
        if (is_same) break;
        /* Copies rows of `turned`, so that the map is always computed from the start and errors do not add up. */
        for (unsigned i = 0; i < n; i++)
            memcpy(a->tried + i * dim, a->turned + a->columns[i] * dim, sizeof(double) * dim);
        memcpy(a->turned, a->tried, sizeof(double) * n * dim);
        overlap = eqf__best_orthogonal(n, dim, z, a->turned, q);
        for (unsigned i = 0; i < n; i++) a->kept_columns[i] = i;
        apply(n, dim, q, a->kept_columns, a->turned, a->tried);
    }
    return overlap;
}

double eqf__align(eqf__alignment *a, const double *z, unsigned num_starts, uint64_t seed, uint64_t start, double *x) {
    const unsigned n = a->num_particles, dim = a->space_dim, num_dof = n * dim;
    if (n <= FEW_PARTICLES) {
        unsigned best = 0;
        double q[9];
        largest_overlap(a, z, x, &best);
        for (unsigned i = 0; i < n; i++)
            memcpy(a->turned + i * dim, x + a->permutations[best][i] * dim, sizeof(double) * dim);
        eqf__best_orthogonal(n, dim, z, a->turned, q);
        for (unsigned i = 0; i < n; i++) a->kept_columns[i] = i;
        apply(n, dim, q, a->kept_columns, a->turned, x);
    } else {
        double largest = -INFINITY;
        for (unsigned s = 0; s < num_starts || s == 0; s++) {
            memcpy(a->turned, x, sizeof(double) * num_dof);
            eqf__host_augment(n, n - a->first_b, dim, seed, start + s, a->turned);
            const double overlap = alternate(a, z);
            if (!(overlap > largest)) continue;
            largest = overlap;
            memcpy(a->best, a->tried, sizeof(double) * num_dof);
        }
        memcpy(x, a->best, sizeof(double) * num_dof);
    }
    double distance = 0;
    for (unsigned c = 0; c < num_dof; c++) distance += (z[c] - x[c]) * (z[c] - x[c]);
    return distance;
}
