/* Distinct minima: equal up to translation, rotation, reflection and permutation within species. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "minima_internal.h"

#define DEFAULT_ENERGY_TOLERANCE 1e-4
#define DEFAULT_DISTANCE_TOLERANCE 0.01
/* An alignment is fixed by D particles, each off by up to the tolerance; others may be off by this many tolerances. */
#define ALIGNMENT_SLACK 4.0

enum { MAX_SPACE_DIM = 3 };

/* ---- Congruence ---------------------------------------------------------------------------------------------- */

/* A search for an orthogonal map: some particles of a (anchors) are matched with particles of b, one after the
 * other. */
typedef struct alignment {
    unsigned num_particles, first_b, space_dim, num_anchors;
    const double *a, *b; /* [N, D], centred */
    double tolerance;
    unsigned anchors[MAX_SPACE_DIM];  /* particles of a that span the space */
    unsigned partners[MAX_SPACE_DIM]; /* their images in b */
    bool *is_taken;                   /* [N], particles of b */
} alignment;

static bool is_alike(const alignment *search, unsigned i, unsigned j) {
    return (i >= search->first_b) == (j >= search->first_b);
}

static double dot(unsigned D, const double *p, const double *q) {
    double sum = 0.0;
    for (unsigned d = 0; d < D; d++) sum += p[d] * q[d];
    return sum;
}

static double distance(unsigned D, const double *p, const double *q) {
    double sum = 0.0;
    for (unsigned d = 0; d < D; d++) sum += (p[d] - q[d]) * (p[d] - q[d]);
    return sqrt(sum);
}

/* Subtracts from vector its components along the first num_axes of axes [.., D]; returns its length. */
static double reject(unsigned D, unsigned num_axes, double (*axes)[MAX_SPACE_DIM], double *vector) {
    for (unsigned pass = 0; pass < 2; pass++) /* twice is enough (Kahan) */
        for (unsigned k = 0; k < num_axes; k++) {
            double along = dot(D, axes[k], vector);
            for (unsigned d = 0; d < D; d++) vector[d] -= along * axes[k][d];
        }
    return sqrt(dot(D, vector, vector));
}

/* Orthonormal axes: along num given particles of x (Gram and Schmidt), completed by the coordinate axes that are least
 * in their span. */
static void make_axes(unsigned D, const double *x, unsigned num, const unsigned *particles,
                      double (*axes)[MAX_SPACE_DIM]) {
    for (unsigned k = 0; k < D; k++) {
        double longest = 0.0, vector[MAX_SPACE_DIM];
        if (k < num) {
            memcpy(axes[k], x + particles[k] * D, D * sizeof *axes[k]);
            longest = reject(D, k, axes, axes[k]);
        }
        for (unsigned e = 0; (k >= num || !(longest > 1e-12)) && e < D; e++) {
            for (unsigned d = 0; d < D; d++) vector[d] = d == e ? 1.0 : 0.0;
            double length = reject(D, k, axes, vector);
            if (length <= longest) continue;
            longest = length;
            memcpy(axes[k], vector, D * sizeof *vector);
        }
        for (unsigned d = 0; d < D; d++) axes[k][d] /= longest;
    }
}

/* Chooses the particles of a that are farthest from the centre, from the line through the first, and from the plane
 * through the first two. A configuration that is flat within the tolerance has fewer. */
static void choose_anchors(alignment *search) {
    unsigned D = search->space_dim;
    double axes[MAX_SPACE_DIM][MAX_SPACE_DIM];
    for (search->num_anchors = 0; search->num_anchors < D; search->num_anchors++) {
        double farthest = search->tolerance;
        unsigned best = search->num_particles;
        for (unsigned i = 0; i < search->num_particles; i++) {
            double vector[MAX_SPACE_DIM];
            memcpy(vector, search->a + i * D, D * sizeof *vector);
            double length = reject(D, search->num_anchors, axes, vector);
            if (length > farthest) {
                farthest = length;
                best = i;
            }
        }
        if (best == search->num_particles) return;
        search->anchors[search->num_anchors] = best;
        make_axes(D, search->a, search->num_anchors + 1, search->anchors, axes);
    }
}

/* Whether the map that the anchors and their partners define brings every particle of a onto one of b. */
static bool is_match(const alignment *search) {
    unsigned N = search->num_particles, D = search->space_dim;
    double from[MAX_SPACE_DIM][MAX_SPACE_DIM], to[MAX_SPACE_DIM][MAX_SPACE_DIM];
    make_axes(D, search->a, search->num_anchors, search->anchors, from);
    make_axes(D, search->b, search->num_anchors, search->partners, to);
    memset(search->is_taken, 0, N * sizeof *search->is_taken);
    for (unsigned i = 0; i < N; i++) {
        double image[MAX_SPACE_DIM] = {0.0, 0.0, 0.0};
        for (unsigned k = 0; k < D; k++) {
            double along = dot(D, from[k], search->a + i * D);
            for (unsigned d = 0; d < D; d++) image[d] += along * to[k][d];
        }
        unsigned nearest = N;
        double shortest = ALIGNMENT_SLACK * search->tolerance;
        for (unsigned j = 0; j < N; j++) {
            double miss = distance(D, image, search->b + j * D);
            if (!search->is_taken[j] && miss <= shortest && is_alike(search, i, j)) {
                shortest = miss;
                nearest = j;
            }
        }
        if (nearest == N) return false;
        search->is_taken[nearest] = true;
    }
    return true;
}

/* Tries as partners of anchor number `level` all particles at the same distances from the centre and from the partners
 * before. */
static bool match_anchor(alignment *search, unsigned level) {
    if (level == search->num_anchors || level == MAX_SPACE_DIM) return is_match(search);
    unsigned D = search->space_dim;
    const double *anchor = search->a + search->anchors[level] * D;
    double radius = sqrt(dot(D, anchor, anchor));
    for (unsigned j = 0; j < search->num_particles; j++) {
        const double *candidate = search->b + j * D;
        bool is_possible = is_alike(search, search->anchors[level], j) &&
                           fabs(sqrt(dot(D, candidate, candidate)) - radius) <= search->tolerance;
        for (unsigned k = 0; is_possible && k < level; k++) {
            double wanted = distance(D, anchor, search->a + search->anchors[k] * D);
            double found = distance(D, candidate, search->b + search->partners[k] * D);
            is_possible = search->partners[k] != j && fabs(found - wanted) <= 2.0 * search->tolerance;
        }
        if (!is_possible) continue;
        search->partners[level] = j;
        if (match_anchor(search, level + 1)) return true;
    }
    return false;
}

bool eqf__minima_is_congruent(unsigned num_particles, unsigned num_b, unsigned space_dim, const double *a,
                              const double *b, double tolerance, bool *work) {
    alignment search = {num_particles, num_particles - num_b, space_dim, 0, a, b, tolerance, {0}, {0}, work};
    choose_anchors(&search);
    return match_anchor(&search, 0);
}

/* ---- Grouping ------------------------------------------------------------------------------------------------ */

typedef struct ranked {
    double energy;
    size_t index;
} ranked;

static int compare_ranked(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    if (a->energy < b->energy || a->energy > b->energy) return a->energy < b->energy ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Sorted pair distances of x [N, D]: congruent configurations have the same, others nearly always differ. */
static void sorted_distances(unsigned N, unsigned D, const double *x, double *distances_out) {
    size_t num = 0;
    for (unsigned i = 1; i < N; i++)
        for (unsigned j = 0; j < i; j++) distances_out[num++] = distance(D, x + i * D, x + j * D);
    qsort(distances_out, num, sizeof *distances_out, compare_doubles);
}

typedef struct grouping {
    unsigned num_particles, num_b, space_dim;
    const double *x, *energy;
    double energy_tolerance, distance_tolerance;
    ranked *order; /* [num_ranked] */
    size_t num_ranked;
    double *distances, *distances_of_representative; /* [N (N-1) / 2] */
    double *centred, *centred_representative;        /* [N, D] */
    bool *is_taken;                                  /* [N] */
    eqf_minimum *minima;
    size_t num_minima;
    size_t *minimum_of; /* [B] or NULL */
} grouping;

static bool is_same(grouping *work, size_t representative) {
    unsigned N = work->num_particles, D = work->space_dim;
    const double *x = work->x + representative * N * D;
    sorted_distances(N, D, x, work->distances_of_representative);
    /* Both particles of a pair may be off by the tolerance. */
    for (size_t p = 0; p < (size_t)N * (N - 1) / 2; p++)
        if (fabs(work->distances[p] - work->distances_of_representative[p]) > 2.0 * work->distance_tolerance)
            return false;
    memcpy(work->centred_representative, x, (size_t)N * D * sizeof *x);
    eqf__minima_centre(N, D, work->centred_representative);
    return eqf__minima_is_congruent(N, work->num_b, D, work->centred_representative, work->centred,
                                    work->distance_tolerance, work->is_taken);
}

/* Groups configurations in the order of energies, so that only the last groups can be near in energy. */
static void group_ranked(grouping *work) {
    size_t num_dof = (size_t)work->num_particles * work->space_dim;
    for (size_t rank = 0; rank < work->num_ranked; rank++) {
        size_t index = work->order[rank].index, found = work->num_minima;
        double energy = work->order[rank].energy, near = work->energy_tolerance * fmax(1.0, fabs(energy));
        sorted_distances(work->num_particles, work->space_dim, work->x + index * num_dof, work->distances);
        memcpy(work->centred, work->x + index * num_dof, num_dof * sizeof *work->centred);
        eqf__minima_centre(work->num_particles, work->space_dim, work->centred);
        for (size_t m = work->num_minima; m-- > 0 && energy - work->minima[m].energy <= near;)
            if (is_same(work, work->minima[m].representative)) {
                found = m;
                break;
            }
        if (found == work->num_minima)
            work->minima[work->num_minima++] =
                (eqf_minimum){.struct_size = sizeof(eqf_minimum), .energy = energy, .representative = index};
        work->minima[found].count++;
        if (work->minimum_of != NULL) work->minimum_of[index] = found;
    }
}

static eqf_status grouping_prepare(eqf_context *ctx, grouping *work, size_t batch_size,
                                   const eqf_quench_result *result) {
    size_t num_dof = (size_t)work->num_particles * work->space_dim;
    size_t num_pairs = (size_t)work->num_particles * (work->num_particles - 1) / 2;
    work->order = eqf__alloc(ctx, batch_size, sizeof *work->order, "the order of energies");
    work->distances = eqf__alloc(ctx, num_pairs, sizeof(double), "the distances");
    work->distances_of_representative = eqf__alloc(ctx, num_pairs, sizeof(double), "the distances");
    work->centred = eqf__alloc(ctx, num_dof, sizeof(double), "a configuration");
    work->centred_representative = eqf__alloc(ctx, num_dof, sizeof(double), "a configuration");
    work->is_taken = eqf__alloc(ctx, work->num_particles, sizeof(bool), "the particles");
    work->minima = eqf__alloc(ctx, batch_size, sizeof *work->minima, "the minima");
    if (work->order == NULL || work->distances == NULL || work->distances_of_representative == NULL ||
        work->centred == NULL || work->centred_representative == NULL || work->is_taken == NULL || work->minima == NULL)
        return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < batch_size; b++) {
        if (work->minimum_of != NULL) work->minimum_of[b] = EQF_NO_MINIMUM;
        bool is_wanted = isfinite(work->energy[b]) && (result == NULL || result[b] == EQF_QUENCH_MINIMUM);
        for (size_t c = 0; is_wanted && c < num_dof; c++) is_wanted = isfinite(work->x[b * num_dof + c]);
        if (is_wanted) work->order[work->num_ranked++] = (ranked){work->energy[b], b};
    }
    qsort(work->order, work->num_ranked, sizeof *work->order, compare_ranked);
    return EQF_OK;
}

static eqf_status check_options(eqf_context *ctx, const eqf_minima_group_options *options) {
    if (!(options->energy_tolerance >= 0.0) || !isfinite(options->energy_tolerance))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "energy_tolerance is %g: it must be positive, or 0 for the default",
                         options->energy_tolerance);
    if (!(options->distance_tolerance >= 0.0) || !isfinite(options->distance_tolerance))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "distance_tolerance is %g: it must be positive, or 0 for the default",
                         options->distance_tolerance);
    return EQF_OK;
}

eqf_status eqf_minima_group(eqf_context *ctx, const eqf_potential_options *potential,
                            const eqf_minima_group_options *options, size_t batch_size, const double *x,
                            const double *energy, const eqf_quench_result *result, eqf_minimum **minima_out,
                            size_t *num_minima_out, size_t *minimum_of_out) {
    eqf_minima_group_options copy = EQF_MINIMA_GROUP_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_MINIMA_GROUP_OPTIONS_INIT, options, &copy));
    options = &copy;
    EQF__TRY(eqf_potential_check(ctx, potential));
    EQF__TRY(check_options(ctx, options));
    if (minima_out == NULL || num_minima_out == NULL || (batch_size > 0 && (x == NULL || energy == NULL)))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "x, energy, minima_out or num_minima_out is NULL");
    *minima_out = NULL;
    *num_minima_out = 0;
    grouping work = {.num_particles = potential->num_particles, .space_dim = potential->space_dim};
    work.num_b = eqf_potential_num_b(potential);
    work.x = x;
    work.energy = energy;
    work.minimum_of = minimum_of_out;
    work.energy_tolerance = options->energy_tolerance > 0.0 ? options->energy_tolerance : DEFAULT_ENERGY_TOLERANCE;
    work.distance_tolerance = options->distance_tolerance > 0.0
                                  ? options->distance_tolerance
                                  : DEFAULT_DISTANCE_TOLERANCE * eqf_potential_length(potential);
    eqf_status status = grouping_prepare(ctx, &work, batch_size, result);
    if (status == EQF_OK) {
        group_ranked(&work);
        *minima_out = work.minima;
        *num_minima_out = work.num_minima;
    } else {
        free(work.minima);
    }
    free(work.order);
    free(work.distances);
    free(work.distances_of_representative);
    free(work.centred);
    free(work.centred_representative);
    free(work.is_taken);
    return status;
}
