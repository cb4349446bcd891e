/* Finds the symmetries of a potential by evaluating it on the device: of a user's text nothing else is known. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ocl.h"
#include "potential.h"
#include "potential_kinds.h"
#include "program.h"

/* Versions of each configuration: unchanged, with particles permuted, rotated, reflected, moved. */
enum { AS_IS, PERMUTED, ROTATED, REFLECTED, MOVED, NUM_VERSIONS };
enum { NUM_CONFIGURATIONS = 24, MAX_SPACE_DIM = 3 };

typedef struct symmetry_test {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    bool is_double;
    unsigned num_particles, space_dim;
    size_t num_dof;
    double length;
    double *x, *energy; /* [NUM_CONFIGURATIONS, NUM_VERSIONS, N*D], [NUM_CONFIGURATIONS, NUM_VERSIONS] */
    unsigned *order;    /* [N] */
    eqf__kernel kernel;
    cl_mem d_x, d_energy;
    uint64_t state;
} symmetry_test;

/* Uniform on (-1, 1), as in verify.c. */
static double draw(symmetry_test *test) {
    test->state = test->state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(test->state >> 11) + 0.5) / 4503599627370496.0 - 1.0;
}

/* Random orthonormal rows [D, D] by Gram and Schmidt, with determinant 1, or -1 if is_mirrored. */
static void draw_matrix(symmetry_test *test, bool is_mirrored, double matrix[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    const unsigned D = test->space_dim;
    for (unsigned row = 0; row < D; row++) {
        double norm = 0.0;
        while (!(norm > 0.1)) {
            norm = 0.0;
            for (unsigned d = 0; d < D; d++) matrix[row][d] = draw(test);
            for (unsigned above = 0; above < row; above++) {
                double along = 0.0;
                for (unsigned d = 0; d < D; d++) along += matrix[row][d] * matrix[above][d];
                for (unsigned d = 0; d < D; d++) matrix[row][d] -= along * matrix[above][d];
            }
            for (unsigned d = 0; d < D; d++) norm += matrix[row][d] * matrix[row][d];
            norm = sqrt(norm);
        }
        for (unsigned d = 0; d < D; d++) matrix[row][d] /= norm;
    }
    double(*m)[MAX_SPACE_DIM] = matrix;
    const double determinant = D == 1   ? m[0][0]
                               : D == 2 ? m[0][0] * m[1][1] - m[0][1] * m[1][0]
                                        : m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
                                              m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                                              m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
    if ((determinant < 0.0) != is_mirrored)
        for (unsigned d = 0; d < D; d++) matrix[0][d] = -matrix[0][d];
}

static void multiply(const symmetry_test *test, double matrix[MAX_SPACE_DIM][MAX_SPACE_DIM], const double *x,
                     double *x_out) {
    const unsigned D = test->space_dim;
    for (unsigned i = 0; i < test->num_particles; i++)
        for (unsigned d = 0; d < D; d++) {
            x_out[i * D + d] = 0.0;
            for (unsigned e = 0; e < D; e++) x_out[i * D + d] += matrix[d][e] * x[i * D + e];
        }
}

/* A random order within the species, other than the present one (Fisher and Yates). A cyclic shift would not be enough:
 * closed chains have that symmetry. */
static void permute(symmetry_test *test, unsigned *order, const double *x, double *x_out) {
    const unsigned N = test->num_particles, D = test->space_dim, first_b = N - eqf_potential_num_b(test->potential);
    bool is_new = first_b == 1 && N == 2; /* with one particle of each species there is no other order */
    do {
        for (unsigned i = 0; i < N; i++) order[i] = i;
        for (unsigned i = N - 1; i > 0; i--) {
            const unsigned first = i >= first_b ? first_b : 0;
            const unsigned j = first + (unsigned)(0.5 * (draw(test) + 1.0) * (i + 1 - first)), held = order[i];
            order[i] = order[j];
            order[j] = held;
        }
        for (unsigned i = 0; i < N; i++) is_new = is_new || order[i] != i;
    } while (!is_new);
    for (unsigned i = 0; i < N; i++) memcpy(x_out + order[i] * D, x + i * D, D * sizeof *x);
}

/* From dense to loose, as in verify.c: one of them is typical of the potential. */
static void make_configurations(symmetry_test *test) {
    static const double spreads[4] = {0.4, 0.6, 0.9, 1.4};
    const double scale = test->length * pow(test->num_particles, 1.0 / test->space_dim);
    double matrix[MAX_SPACE_DIM][MAX_SPACE_DIM];
    test->state = 20250211;
    for (size_t b = 0; b < NUM_CONFIGURATIONS; b++) {
        double *x = test->x + b * NUM_VERSIONS * test->num_dof, shift[MAX_SPACE_DIM];
        for (size_t c = 0; c < test->num_dof; c++) {
            x[c] = scale * spreads[b % 4] * (draw(test) + draw(test) + draw(test));
            if (!test->is_double) x[c] = (double)(float)x[c];
        }
        permute(test, test->order, x, x + PERMUTED * test->num_dof);
        draw_matrix(test, false, matrix);
        multiply(test, matrix, x, x + ROTATED * test->num_dof);
        draw_matrix(test, true, matrix);
        multiply(test, matrix, x, x + REFLECTED * test->num_dof);
        for (unsigned d = 0; d < test->space_dim; d++) shift[d] = test->length * draw(test);
        for (size_t c = 0; c < test->num_dof; c++) x[MOVED * test->num_dof + c] = x[c] + shift[c % test->space_dim];
    }
}

/* Converts the numbers to the kernel's precision in place: floats are stored at the beginning of the doubles. */
static void to_reals(const symmetry_test *test, size_t num, double *values) {
    float *narrow = (float *)(void *)values;
    for (size_t i = 0; !test->is_double && i < num; i++) {
        const float value = (float)values[i];
        memcpy(narrow + i, &value, sizeof value);
    }
}

static void from_reals(const symmetry_test *test, size_t num, double *values) {
    const float *narrow = (const float *)(const void *)values;
    for (size_t i = num; !test->is_double && i-- > 0;) {
        float value;
        memcpy(&value, narrow + i, sizeof value);
        values[i] = (double)value;
    }
}

static eqf_status compute(symmetry_test *test) {
    eqf_context *ctx = test->ctx;
    const size_t num = NUM_CONFIGURATIONS * NUM_VERSIONS,
                 real_size = test->is_double ? sizeof(cl_double) : sizeof(cl_float);
    char constants[EQF__POTENTIAL_DEFINES_SIZE], defines[EQF__POTENTIAL_DEFINES_SIZE + 64];
    EQF__TRY(test->is_double ? eqf__potential_program_defines_double(ctx, test->potential, constants, sizeof constants)
                             : eqf__potential_program_defines(ctx, test->potential, constants, sizeof constants));
    snprintf(defines, sizeof defines, "%s -D V=1%s", constants, test->is_double ? " -D USE_DOUBLE" : "");
    const char *files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, test->potential), "potential/verify.cl", NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "potential-check", files, defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "verify_energy", &test->kernel));
    make_configurations(test);
    to_reals(test, num * test->num_dof, test->x);
    EQF__TRY(eqf__buffer_create(ctx, num * test->num_dof * real_size, test->x, "the configurations", &test->d_x));
    EQF__TRY(eqf__buffer_create(ctx, num * real_size, NULL, "the energies", &test->d_energy));
    const cl_uint count = (cl_uint)num;
    EQF__TRY(EQF__LAUNCH(ctx, &test->kernel, num, 0, EQF__ARG(test->d_x), EQF__ARG(test->d_energy), EQF__ARG(count)));
    EQF__TRY(eqf__buffer_read(ctx, test->d_energy, 0, num * real_size, test->energy));
    from_reals(test, num, test->energy);
    return EQF_OK;
}

/* False only if two configurations show that it is none: a single one may be due to rounding. */
static bool is_symmetry(const symmetry_test *test, unsigned version) {
    const double tolerance = test->is_double ? 1e-8 : 2e-3;
    unsigned num_broken = 0;
    for (size_t b = 0; b < NUM_CONFIGURATIONS; b++) {
        const double before = test->energy[b * NUM_VERSIONS], after = test->energy[b * NUM_VERSIONS + version];
        if (isfinite(before) && isfinite(after)) num_broken += fabs(after - before) > tolerance * (1.0 + fabs(before));
    }
    return num_broken < 2;
}

eqf_status eqf_potential_find_symmetry(eqf_context *ctx, const eqf_potential_options *potential,
                                       eqf_potential_symmetry *symmetry_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    eqf_potential_symmetry result = EQF_POTENTIAL_SYMMETRY_INIT;
    EQF__TRY(EQF__WRITE(ctx, EQF_POTENTIAL_SYMMETRY_INIT, &result, symmetry_out));
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    symmetry_test test = {
        .ctx = ctx, .potential = potential, .is_double = device->info.has_fp64, .length = scales.length};
    test.num_particles = potential->num_particles;
    test.space_dim = potential->space_dim;
    test.num_dof = (size_t)potential->num_particles * potential->space_dim;
    test.x = eqf__alloc(ctx, NUM_CONFIGURATIONS * NUM_VERSIONS * test.num_dof, sizeof *test.x, "the configurations");
    test.energy = eqf__alloc(ctx, NUM_CONFIGURATIONS * NUM_VERSIONS, sizeof *test.energy, "the energies");
    test.order = eqf__alloc(ctx, test.num_particles, sizeof *test.order, "a permutation");
    eqf_status status =
        test.x == NULL || test.energy == NULL || test.order == NULL ? EQF_ERROR_OUT_OF_MEMORY : compute(&test);
    if (status == EQF_OK) {
        result.has_permutation = is_symmetry(&test, PERMUTED);
        result.has_rotation = is_symmetry(&test, ROTATED);
        result.has_reflection = is_symmetry(&test, REFLECTED);
        result.has_translation = is_symmetry(&test, MOVED);
        status = EQF__WRITE(ctx, EQF_POTENTIAL_SYMMETRY_INIT, &result, symmetry_out);
    }
    eqf__kernel_destroy(&test.kernel);
    eqf__buffer_destroy(&test.d_x);
    eqf__buffer_destroy(&test.d_energy);
    free(test.x);
    free(test.energy);
    free(test.order);
    return status;
}
