/* The table of observables and their formulas. */
#include "eqflow/observable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/estimate.h"

/* The argument of a formula: one configuration x [N, D], and the distance below which particles are neighbours. */
typedef struct configuration {
    unsigned num_particles, space_dim;
    const float *x;
    double neighbour_distance;
} configuration;

static double squared_distance(const configuration *c, unsigned i, unsigned j) {
    double square = 0;
    for (unsigned d = 0; d < c->space_dim; d++) {
        const double r = (double)c->x[i * c->space_dim + d] - (double)c->x[j * c->space_dim + d];
        square += r * r;
    }
    return square;
}

/* R_g^2 = (1/N) sum_i |x_i - x_com|^2 = (1/N^2) sum_{i<j} d_ij^2. */
static double radius_of_gyration(const configuration *c) {
    double sum = 0;
    for (unsigned i = 0; i < c->num_particles; i++)
        for (unsigned j = i + 1; j < c->num_particles; j++) sum += squared_distance(c, i, j);
    return sqrt(sum) / c->num_particles;
}

static double mean_distance(const configuration *c) {
    double sum = 0;
    for (unsigned i = 0; i < c->num_particles; i++)
        for (unsigned j = i + 1; j < c->num_particles; j++) sum += sqrt(squared_distance(c, i, j));
    return sum / (0.5 * c->num_particles * (c->num_particles - 1));
}

static double extreme_distance(const configuration *c, bool is_largest) {
    double extreme = is_largest ? 0 : INFINITY;
    for (unsigned i = 0; i < c->num_particles; i++)
        for (unsigned j = i + 1; j < c->num_particles; j++) {
            const double square = squared_distance(c, i, j);
            extreme = is_largest ? fmax(extreme, square) : fmin(extreme, square);
        }
    return sqrt(extreme);
}

static double smallest_distance(const configuration *c) {
    return extreme_distance(c, false);
}

static double largest_distance(const configuration *c) {
    return extreme_distance(c, true);
}

/* Legendre's P_4 and P_6. */
static double legendre(unsigned degree, double z) {
    const double s = z * z;
    return degree == 4 ? (35 * s * s - 30 * s + 3) / 8 : (231 * s * s * s - 315 * s * s + 105 * s - 5) / 16;
}

/* Q_l of all bonds together (Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28 (1983) 784, equation 1.3):
 * Q_l^2 = 4 pi / (2l + 1) sum_m |mean over bonds of Y_lm|^2, which by the addition theorem is the mean over pairs of
 * bonds of P_l(cos of the angle between them). A bond joins two neighbours; no bond: 0. */
static double bond_order(const configuration *c, unsigned degree) {
    const unsigned num_particles = c->num_particles;
    double(*bonds)[3] = malloc((size_t)num_particles * num_particles / 2 * sizeof *bonds + sizeof *bonds);
    if (bonds == NULL) return NAN;
    size_t num_bonds = 0;
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned j = i + 1; j < num_particles; j++) {
            const double square = squared_distance(c, i, j);
            if (!(square > 0) || square > c->neighbour_distance * c->neighbour_distance) continue;
            for (unsigned d = 0; d < 3; d++)
                bonds[num_bonds][d] = ((double)c->x[i * 3 + d] - (double)c->x[j * 3 + d]) / sqrt(square);
            num_bonds++;
        }
    double sum = 0;
    for (size_t a = 0; a < num_bonds; a++) {
        sum += 0.5; /* the bond with itself, P_l = 1; all other pairs count twice */
        for (size_t b = a + 1; b < num_bonds; b++)
            sum += legendre(degree, bonds[a][0] * bonds[b][0] + bonds[a][1] * bonds[b][1] + bonds[a][2] * bonds[b][2]);
    }
    free(bonds);
    return num_bonds > 0 ? sqrt(fmax(0, 2 * sum)) / (double)num_bonds : 0;
}

static double q4(const configuration *c) {
    return bond_order(c, 4);
}

static double q6(const configuration *c) {
    return bond_order(c, 6);
}

static const eqf_observable rows[] = {
    {"radius_of_gyration", "radius of gyration", "length", "root mean square distance from the centre of mass", 1},
    {"mean_distance", "mean pair distance", "length", "mean over all pairs", 1},
    {"smallest_distance", "smallest pair distance", "length", "of all pairs", 1},
    {"largest_distance", "largest pair distance", "length", "of all pairs", 1},
    {"q4", "bond order Q4", "", "Steinhardt, Nelson and Ronchetti's, of all bonds between neighbours", 3},
    {"q6", "bond order Q6", "", "the same with l = 6: .663 of an icosahedral cluster, .575 of fcc", 3},
};
static double (*const formulas[])(const configuration *) = {
    radius_of_gyration, mean_distance, smallest_distance, largest_distance, q4, q6};
enum { NUM_ROWS = sizeof rows / sizeof rows[0] };
_Static_assert(sizeof formulas / sizeof formulas[0] == NUM_ROWS, "each row has its formula");

const eqf_observable *eqf_observables(size_t *num_observables_out) {
    if (num_observables_out != NULL) *num_observables_out = NUM_ROWS;
    return rows;
}

const eqf_observable *eqf_observable_find(const char *name) {
    for (size_t r = 0; name != NULL && r < NUM_ROWS; r++)
        if (strcmp(rows[r].name, name) == 0) return &rows[r];
    return NULL;
}

eqf_status eqf_observable_evaluate(eqf_context *ctx, const eqf_observable *observable, unsigned num_particles,
                                   unsigned space_dim, double neighbour_distance, size_t num, const float *x,
                                   double *values_out) {
    if (observable < rows || observable >= rows + NUM_ROWS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "observable is none of eqf_observables");
    if (space_dim < observable->least_dim)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s is for %u dimensions, not for %u", observable->name,
                         observable->least_dim, space_dim);
    if (num_particles < 2 || space_dim > 3)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "observables need 2 particles in 1 to 3 dimensions");
    if (!(neighbour_distance >= 0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "neighbour_distance must be a number >= 0");
    if (num > 0) {
        EQF__NOT_NULL(ctx, x);
        EQF__NOT_NULL(ctx, values_out);
    }
    const size_t num_dof = (size_t)num_particles * space_dim;
    for (size_t b = 0; b < num; b++) {
        const configuration c = {num_particles, space_dim, x + b * num_dof, neighbour_distance};
        bool is_finite = true;
        for (size_t n = 0; n < num_dof; n++) is_finite = is_finite && isfinite(c.x[n]);
        values_out[b] = is_finite ? formulas[observable - rows](&c) : NAN;
    }
    return EQF_OK;
}

/* ---- Own texts --------------------------------------------------------------------------------------------------- */

eqf_status eqf_observable_evaluate_text(eqf_context *ctx, const eqf_potential_options *of, size_t num, const float *x,
                                        double *values_out) {
    static const char frame[] =
        "\n#line 1 \"observable\"\nreal energy(const real *x) { return observable(x); }\n"
        "void energy_gradient(const real *x, real *gradient) { for (int c = 0; c < N * D; c++) gradient[c] = 0; }\n";
    EQF__NOT_NULL(NULL, ctx);
    EQF__NOT_NULL(ctx, of);
    if (of->source == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "an observable of one's own needs source, its text");
    if (num == 0) return EQF_OK;
    EQF__NOT_NULL(ctx, x);
    EQF__NOT_NULL(ctx, values_out);
    /* The text is made a potential whose energy at temperature 1 is the observable; its force is not used. */
    const size_t length = strlen(of->source);
    char *source = eqf__alloc(ctx, length + sizeof frame, 1, "the observable's text");
    float *values = source != NULL ? eqf__alloc(ctx, num, sizeof *values, "the observable's values") : NULL;
    eqf_status status = values != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) {
        memcpy(source, of->source, length);
        memcpy(source + length, frame, sizeof frame);
        eqf_potential_options potential = *of;
        potential.kind = EQF_POTENTIAL_USER;
        potential.temperature = potential.length = 1; /* the length is not used */
        potential.source = source;
        if (potential.source_name == NULL) potential.source_name = "observable.cl";
        status = eqf_potential_evaluate(ctx, &potential, num, x, values, NULL);
    }
    for (size_t b = 0; b < num && status == EQF_OK; b++) values_out[b] = values[b];
    free(source);
    free(values);
    return status;
}

/* ---- Pairs ------------------------------------------------------------------------------------------------------- */

/* Volume of a ball of radius r in 1, 2 or 3 dimensions: 2r, pi r^2, 4/3 pi r^3. */
static double ball(unsigned space_dim, double r) {
    const double pi = 3.14159265358979323846;
    return space_dim == 1 ? 2 * r : space_dim == 2 ? pi * r * r : 4.0 / 3.0 * pi * r * r * r;
}

eqf_status eqf_observable_pair_density(unsigned num_particles, unsigned space_dim, size_t num, const float *x,
                                       const double *log_weights, double low, double high, size_t num_bins,
                                       double *density_out, double *standard_error_out) {
    if (num_particles < 2 || space_dim < 1 || space_dim > 3 || num == 0 || x == NULL || density_out == NULL ||
        !(low >= 0) || !(high > low) || !isfinite(high) || num_bins == 0)
        return EQF_ERROR_INVALID_ARGUMENT;
    const size_t num_pairs = (size_t)num_particles * (num_particles - 1) / 2;
    float *distances = malloc(num * num_pairs * sizeof *distances);
    double *errors = malloc(num_bins * sizeof *errors);
    eqf_status status = distances == NULL || errors == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf_estimate_pair_distances(num, num_particles, space_dim, x, distances);
    if (status == EQF_OK)
        status = eqf_estimate_histogram_with_error(num, num_pairs, distances, log_weights, low, high, num_bins,
                                                   density_out, errors);
    /* The histogram is the density of the distance of one pair; a particle has N - 1 pairs in the bin's shell. */
    const double width = (high - low) / (double)num_bins;
    for (size_t k = 0; k < num_bins && status == EQF_OK; k++) {
        const double begin = low + width * (double)k;
        const double factor = (num_particles - 1) * width / (ball(space_dim, begin + width) - ball(space_dim, begin));
        density_out[k] *= factor;
        if (standard_error_out != NULL) standard_error_out[k] = errors[k] * factor;
    }
    free(distances);
    free(errors);
    return status;
}
