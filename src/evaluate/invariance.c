/* Do log-densities change under rotations, reflections, translations and permutations? */
#include <math.h>
#include <stdlib.h>

#include "evaluation.h"

enum { NUM_INVARIANCE = 256, MAX_SPACE_DIM = 3 };

/* Random numbers of the host; index: the number in the seed's stream that is drawn next. */
typedef struct random_stream {
    uint64_t seed, index;
} random_stream;

static double draw_uniform(random_stream *stream) { /* on (0, 1) */
    return ((double)(eqf_seed_for(stream->seed + stream->index++, "uniform") >> 11) + 0.5) * 0x1p-53;
}

static double draw_normal(random_stream *stream) { /* Box and Muller */
    const double radius = sqrt(-2 * log(draw_uniform(stream)));
    return radius * cos(6.283185307179586477 * draw_uniform(stream));
}

/* A random rotation or reflection of space_dim dimensions: columns of independent Gaussians, orthonormalised
 * (Gram-Schmidt); rotations and reflections are equally likely. */
static void draw_orthogonal(random_stream *stream, unsigned space_dim, double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    for (unsigned i = 0; i < space_dim; i++) {
        double length = 0;
        while (length < 1e-3) { /* nearly dependent on the columns before: draw again */
            for (unsigned d = 0; d < space_dim; d++) q[i][d] = draw_normal(stream);
            for (unsigned j = 0; j < i; j++) {
                double along = 0;
                for (unsigned d = 0; d < space_dim; d++) along += q[i][d] * q[j][d];
                for (unsigned d = 0; d < space_dim; d++) q[i][d] -= along * q[j][d];
            }
            length = 0;
            for (unsigned d = 0; d < space_dim; d++) length += q[i][d] * q[i][d];
            length = sqrt(length);
        }
        for (unsigned d = 0; d < space_dim; d++) q[i][d] /= length;
    }
}

/* det q in 1, 2 or 3 dimensions: 1 for a rotation, -1 for a reflection. */
static double determinant(unsigned space_dim, double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    if (space_dim == 1) return q[0][0];
    if (space_dim == 2) return q[0][0] * q[1][1] - q[0][1] * q[1][0];
    return q[0][0] * (q[1][1] * q[2][2] - q[1][2] * q[2][1]) - q[0][1] * (q[1][0] * q[2][2] - q[1][2] * q[2][0]) +
           q[0][2] * (q[1][0] * q[2][1] - q[1][1] * q[2][0]);
}

/* A random orthogonal map of the wanted kind: the identity, a rotation, a reflection, or any of the latter two. */
static void draw_map(random_stream *stream, bool has_rotation, bool has_reflection, unsigned space_dim,
                     double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    draw_orthogonal(stream, space_dim, q);
    if (has_rotation && has_reflection) return;
    for (unsigned i = 0; !has_rotation && !has_reflection && i < space_dim; i++) {
        for (unsigned d = 0; d < space_dim; d++) q[i][d] = i == d;
    }
    if ((determinant(space_dim, q) < 0) != has_reflection) {
        for (unsigned d = 0; d < space_dim; d++) q[0][d] = -q[0][d];
    }
}

/* order [N]: a random permutation within the species if is_drawn, else the identity. */
static void draw_order(random_stream *stream, bool is_drawn, unsigned num_particles, unsigned num_b, unsigned *order) {
    const unsigned first_b = num_particles - num_b;
    for (unsigned i = 0; i < num_particles; i++) order[i] = i;
    for (unsigned i = num_particles; i > 1 && is_drawn; i--) {
        const unsigned first = i > first_b ? first_b : 0;
        const unsigned j = first + (unsigned)(draw_uniform(stream) * (i - first)), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

/* x_out [N, D] = x [N, D] under a random element of the symmetry: permuted, rotated or reflected, shifted in float32 as
 * in a user's file, and centred again. */
static void transform(random_stream *stream, eqf_symmetry kind, const eqf_potential_options *target, const float *x,
                      unsigned *order, float *x_out) {
    const unsigned num_particles = target->num_particles, space_dim = target->space_dim;
    double q[MAX_SPACE_DIM][MAX_SPACE_DIM], shift[MAX_SPACE_DIM] = {0}, centre[MAX_SPACE_DIM] = {0};
    const bool is_all = kind == EQF_SYMMETRY_ALL;
    draw_map(stream, is_all || kind == EQF_SYMMETRY_ROTATION, is_all || kind == EQF_SYMMETRY_REFLECTION, space_dim, q);
    for (unsigned d = 0; d < space_dim && (is_all || kind == EQF_SYMMETRY_TRANSLATION); d++)
        shift[d] = draw_normal(stream);
    draw_order(stream, is_all || kind == EQF_SYMMETRY_PERMUTATION, num_particles, eqf_potential_num_b(target), order);
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned d = 0; d < space_dim; d++) {
            double sum = shift[d];
            for (unsigned e = 0; e < space_dim; e++) sum += q[d][e] * x[order[i] * space_dim + e];
            x_out[i * space_dim + d] = (float)sum;
            centre[d] += (double)(float)sum / num_particles;
        }
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned d = 0; d < space_dim; d++)
            x_out[i * space_dim + d] = (float)(x_out[i * space_dim + d] - centre[d]);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* NaN if no configuration has a finite log-density. */
static eqf_log_prob_change summarise_changes(size_t num, const float *before, const float *after) {
    double changes[NUM_INVARIANCE];
    size_t num_finite = 0;
    for (size_t b = 0; b < num; b++) {
        const double change = fabs((double)after[b] - (double)before[b]);
        if (isfinite(change)) changes[num_finite++] = change;
    }
    if (num_finite == 0) return (eqf_log_prob_change){NAN, NAN};
    qsort(changes, num_finite, sizeof changes[0], compare);
    const double median = 0.5 * (changes[(num_finite - 1) / 2] + changes[num_finite / 2]);
    return (eqf_log_prob_change){median, changes[num_finite - 1]};
}

eqf_status eqf__evaluate_invariance(const eqf__evaluated *of, eqf_flow *flow, eqf_evaluation *result) {
    static const char label[] = "invariance";
    const size_t num = of->num_data < NUM_INVARIANCE ? of->num_data : NUM_INVARIANCE;
    float before[NUM_INVARIANCE], after[NUM_INVARIANCE];
    float *x = eqf__alloc(of->ctx, num, of->num_dof * sizeof *x, "the transformed configurations");
    unsigned *order = eqf__alloc(of->ctx, of->target->num_particles, sizeof *order, "the permutation");
    eqf_status status = x == NULL || order == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf__shared_log_prob(of, flow, label, num, of->x, before);
    for (int kind = 0; kind < EQF_NUM_SYMMETRIES && status == EQF_OK; kind++) {
        random_stream stream = {eqf_seed_for(of->seed + (uint64_t)kind, "invariance"), 0};
        for (size_t b = 0; b < num; b++)
            transform(&stream, (eqf_symmetry)kind, of->target, of->x + b * of->num_dof, order, x + b * of->num_dof);
        status = eqf__shared_log_prob(of, flow, label, num, x, after);
        if (status == EQF_OK) result->figures.changes[kind] = summarise_changes(num, before, after);
    }
    free(x);
    free(order);
    result->figures.log_prob_invariance_error = result->figures.changes[EQF_SYMMETRY_ALL].largest;
    return status;
}
