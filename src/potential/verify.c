/* Checks on the device, before a potential is used, that its gradient is the gradient of its energy. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "ocl.h"
#include "potential.h"
#include "program.h"

/* cl/potential/verify.cl */
enum { CHECK_FORCE, CHECK_NEAR, CHECK_FAR, CHECK_ENERGY, CHECK_SHIFTED, NUM_CHECKS };

enum { NUM_PER_SPREAD = 8, NUM_SPREADS = 4, NUM_CONFIGURATIONS = NUM_SPREADS * NUM_PER_SPREAD };
/* Standard deviations of the test configurations, in units of length N^(1/D): from dense to loose, so that one of them
 * is typical of the potential. */
static const double spreads[NUM_SPREADS] = {0.4, 0.6, 0.9, 1.4};
/* A larger deviation from the differences is not due to rounding; relative to a configuration's largest component. */
static const double tolerance = 2e-3;

typedef struct verification {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    bool is_double;
    size_t num_dof, real_size;
    double length, h, shift;
    eqf__kernel kernel;
    cl_mem x, checks;
    void *h_reals; /* as large as the larger of both buffers */
} verification;

static void set_real(const verification *run, size_t index, double value) {
    if (run->is_double)
        ((double *)run->h_reals)[index] = value;
    else
        ((float *)run->h_reals)[index] = (float)value;
}

static double get_real(const verification *run, size_t index) {
    return run->is_double ? ((const double *)run->h_reals)[index] : (double)((const float *)run->h_reals)[index];
}

/* Uniform on (-1, 1): a linear congruential generator with Knuth's MMIX constants suffices for test points. */
static double draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) / 4503599627370496.0 - 1.0;
}

/* x [NUM_CONFIGURATIONS, N*D]: sums of three uniform numbers are nearly Gaussian, with variance 1. */
static void make_configurations(const verification *run) {
    uint64_t state = 20200613;
    double scale = run->length * pow(run->potential->num_particles, 1.0 / run->potential->space_dim);
    for (size_t b = 0; b < NUM_CONFIGURATIONS; b++)
        for (size_t c = 0; c < run->num_dof; c++)
            set_real(run, b * run->num_dof + c,
                     scale * spreads[b / NUM_PER_SPREAD] * (draw(&state) + draw(&state) + draw(&state)));
}

static eqf_status prepare(verification *run) {
    eqf_context *ctx = run->ctx;
    char constants[EQF__POTENTIAL_DEFINES_SIZE], defines[EQF__POTENTIAL_DEFINES_SIZE + 64];
    EQF__TRY(run->is_double
                 ? eqf__potential_program_defines_double(ctx, run->potential, constants, sizeof constants)
                 : eqf__potential_program_defines(ctx, run->potential, constants, sizeof constants));
    snprintf(defines, sizeof defines, "%s -D V=1%s", constants, run->is_double ? " -D USE_DOUBLE" : "");
    const char *files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, run->potential), "potential/verify.cl", NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "potential-check", files, defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "verify_force", &run->kernel));
    size_t num_reals = NUM_CONFIGURATIONS * run->num_dof;
    run->h_reals = eqf__alloc(ctx, num_reals * NUM_CHECKS, run->real_size, "the configurations");
    if (run->h_reals == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    make_configurations(run);
    EQF__TRY(eqf__buffer_create(ctx, num_reals * run->real_size, run->h_reals, "the configurations", &run->x));
    return eqf__buffer_create(ctx, num_reals * NUM_CHECKS * run->real_size, NULL, "the gradients", &run->checks);
}

static eqf_status compute(verification *run) {
    cl_uint num = NUM_CONFIGURATIONS;
    cl_double h = run->h, shift = run->shift;
    cl_float h_single = (cl_float)run->h, shift_single = (cl_float)run->shift;
    size_t num_items = NUM_CONFIGURATIONS * run->num_dof;
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->kernel, num_items, 0, EQF__ARG(run->x), EQF__ARG(run->checks), EQF__ARG(num),
                         run->is_double ? EQF__ARG(h) : EQF__ARG(h_single),
                         run->is_double ? EQF__ARG(shift) : EQF__ARG(shift_single)));
    return eqf__buffer_read(run->ctx, run->checks, 0, num_items * NUM_CHECKS * run->real_size, run->h_reals);
}

/* The result of one component. */
typedef struct component {
    double gradient, difference; /* difference: by Richardson extrapolation, of fourth order in h */
    double doubt;                /* estimated error of difference */
    double energy, shift_change;
} component;

static component take_component(const verification *run, size_t b, size_t c) {
    size_t first = (b * run->num_dof + c) * NUM_CHECKS;
    double near = get_real(run, first + CHECK_NEAR), far = get_real(run, first + CHECK_FAR);
    component result = {.gradient = -get_real(run, first + CHECK_FORCE),
                        .difference = near + (near - far) / 3.0,
                        .energy = get_real(run, first + CHECK_ENERGY),
                        .shift_change = get_real(run, first + CHECK_SHIFTED)};
    double rounding = 16.0 * (run->is_double ? DBL_EPSILON : FLT_EPSILON) * fabs(result.energy) / run->h;
    result.doubt = fabs(near - far) + rounding;
    return result;
}

static const char *name_of(const eqf_potential_options *potential) {
    const eqf_potential_kind_info *kind = eqf_potential_kind_describe(potential->kind);
    if (!kind->has_text) return kind->name;
    return potential->source_name != NULL ? potential->source_name : "the potential's text";
}

/* Checks one configuration; *is_seen: its energy is finite and smooth enough for differences. */
static eqf_status compare_gradient(const verification *run, size_t b, bool *is_seen, double *error) {
    const char *name = name_of(run->potential);
    const unsigned D = run->potential->space_dim;
    double largest = 0.0, doubt = 0.0;
    for (size_t c = 0; c < run->num_dof; c++) {
        component at = take_component(run, b, c);
        if (!isfinite(at.energy) || !isfinite(at.difference) || !isfinite(at.doubt)) return EQF_OK;
        largest = fmax(largest, fabs(at.difference));
        doubt = fmax(doubt, at.doubt);
    }
    if (!(doubt < 0.05 * largest)) return EQF_OK; /* too steep, too flat or not smooth at this configuration */
    *is_seen = true;
    for (size_t c = 0; c < run->num_dof; c++) {
        component at = take_component(run, b, c);
        double deviation = fabs(at.gradient - at.difference);
        if (!(deviation <= tolerance * largest + 2.0 * doubt)) /* also for NaN */
            return eqf__fail(run->ctx, EQF_ERROR_FORMAT,
                             "%s: the gradient is not the energy's: for particle %zu, dimension %zu of a random "
                             "configuration it is %.6g, and differences of the energy give %.6g; correct "
                             "energy_gradient or energy",
                             name, c / D, c % D, at.gradient * run->potential->temperature,
                             at.difference * run->potential->temperature);
        if (error != NULL) *error = fmax(*error, deviation / largest);
        /* The flow's configurations have their centre of mass at 0, so the energy must not depend on it. */
        double rounding = (run->is_double ? 1e-9 : 1e-3) * (fabs(at.energy) + largest * run->length);
        if (!(fabs(at.shift_change) <= rounding))
            return eqf__fail(run->ctx, EQF_ERROR_FORMAT,
                             "%s: the energy changes by %.3g when all particles are moved by %.3g along dimension %zu: "
                             "it must depend on relative positions only (an outer field: on those to the centre of "
                             "mass)",
                             name, at.shift_change * run->potential->temperature, run->shift, c % D);
    }
    return EQF_OK;
}

static eqf_status verify(verification *run, double *error_out) {
    EQF__TRY(prepare(run));
    EQF__TRY(compute(run));
    bool is_any_seen = false;
    for (size_t b = 0; b < NUM_CONFIGURATIONS; b++) EQF__TRY(compare_gradient(run, b, &is_any_seen, error_out));
    if (is_any_seen) return EQF_OK;
    return eqf__fail(run->ctx, EQF_ERROR_FORMAT,
                     "%s: its gradient could not be checked: in %d random configurations with distances about %g the "
                     "energy was not finite, constant or not smooth; give the distance of neighbours as length",
                     name_of(run->potential), NUM_CONFIGURATIONS, run->length);
}

eqf_status eqf_potential_verify(eqf_context *ctx, const eqf_potential_options *potential, double *error_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    verification run = {.ctx = ctx, .potential = potential, .is_double = device->info.has_fp64};
    run.num_dof = (size_t)potential->num_particles * potential->space_dim;
    run.real_size = run.is_double ? sizeof(cl_double) : sizeof(cl_float);
    run.length = eqf_potential_length(potential);
    /* The h with about equal errors by rounding and by the fifth derivative. */
    run.h = (run.is_double ? 1e-3 : 2e-2) * run.length;
    run.shift = 0.7 * run.length;
    if (error_out != NULL) *error_out = 0.0;
    eqf_status status = verify(&run, error_out);
    eqf__kernel_destroy(&run.kernel);
    eqf__buffer_destroy(&run.x);
    eqf__buffer_destroy(&run.checks);
    free(run.h_reals);
    return status;
}
