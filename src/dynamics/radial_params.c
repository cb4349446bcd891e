#include "radial_params.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "start_values.h"

/* ---- Options ---------------------------------------------------------------------------------- */

static const char *const layouts[] = {[EQF_RADIAL_UNIFORM] = "uniform", [EQF_RADIAL_DENSE_CORE] = "dense_core", NULL};

/* All but the first two have no flag: presets, or lengths of the potential, set them. The two widths are used by the
 * uniform layout only. */
const eqf_option eqf__radial_options[] = {
    EQF__OPTION(eqf_dynamics_options, num_distance, UNSIGNED, .initial = 50, .low = 1, .high = 4096,
                .help = "Gaussians in distance"),
    EQF__OPTION(eqf_dynamics_options, num_time, UNSIGNED, .initial = 10, .low = 1, .high = 256,
                .help = "Gaussians in time"),
    EQF__OPTION(eqf_dynamics_options, distance_max, REAL, .initial = 8.0, .low = 1e-6, .high = 1e6, .unit = "length",
                .flag = "", .help = "largest centre of the Gaussians in distance"),
    EQF__OPTION(eqf_dynamics_options, distance_gamma, REAL, .initial = 0.5, .low = -DBL_MAX, .high = DBL_MAX,
                .unit = "length", .flag = "", .help = "width of the Gaussians in distance"),
    EQF__OPTION(eqf_dynamics_options, time_gamma, REAL, .initial = 0.3, .low = -DBL_MAX, .high = DBL_MAX, .flag = "",
                .help = "width of the Gaussians in time"),
    EQF__OPTION(eqf_dynamics_options, layout, NAME, .initial = EQF_RADIAL_UNIFORM, .names = layouts, .flag = "",
                .help = "where the Gaussians in distance start"),
    EQF__OPTIONS_END,
};

static eqf_status check_width(eqf_context *ctx, const char *name, double value) {
    if (value >= 1e-6 && value <= 1e6) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s of the radial dynamics is %g: it must be 1e-06 to 1000000",
                     name, value);
}

eqf_status eqf__radial_check(eqf_context *ctx, const eqf_dynamics_options *options) {
    if (options->layout != EQF_RADIAL_UNIFORM) return EQF_OK;
    EQF__TRY(check_width(ctx, "distance_gamma", options->distance_gamma));
    return check_width(ctx, "time_gamma", options->time_gamma);
}

/* ---- Layout ----------------------------------------------------------------------------------- */

unsigned eqf__radial_num_kinds(const eqf_dynamics_options *options) {
    return options->num_b > 0 ? 3 : 1;
}

size_t eqf__radial_layout(const eqf_dynamics_options *options, eqf_param_slice slices_out[EQF__RADIAL_NUM_SLICES],
                          size_t *num_trained_out) {
    const size_t num_distance = options->num_distance, num_time = options->num_time;
    const size_t kinds = eqf__radial_num_kinds(options);
    const eqf_param_slice slices[EQF__RADIAL_NUM_SLICES] = {
        [EQF__RADIAL_WEIGHTS] =
            {sizeof(eqf_param_slice), "radial.weights", 2, {kinds * num_distance, num_time}, 0, 0, true},
        [EQF__RADIAL_BIAS] = {sizeof(eqf_param_slice), "radial.bias", 1, {kinds * num_time, 0}, 0, 0, true},
        [EQF__RADIAL_IMPORTANCE] =
            {sizeof(eqf_param_slice), "radial.importance", 1, {kinds * num_distance, 0}, 0, 0, true},
        [EQF__RADIAL_DISTANCE_LOG_GAMMAS] =
            {sizeof(eqf_param_slice), "radial.distance_log_gammas", 1, {num_distance, 0}, 0, 0, true},
        [EQF__RADIAL_TIME_LOG_GAMMAS] =
            {sizeof(eqf_param_slice), "radial.time_log_gammas", 1, {num_time, 0}, 0, 0, true},
        [EQF__RADIAL_DISTANCE_CENTERS] =
            {sizeof(eqf_param_slice), "radial.distance_centers", 1, {num_distance, 0}, 0, 0, false},
        [EQF__RADIAL_TIME_CENTERS] = {sizeof(eqf_param_slice), "radial.time_centers", 1, {num_time, 0}, 0, 0, false},
    };
    size_t offset = 0, num_trained = 0;
    for (unsigned n = 0; n < EQF__RADIAL_NUM_SLICES; n++) {
        slices_out[n] = slices[n];
        slices_out[n].offset = offset;
        slices_out[n].count = slices[n].num_dims == 2 ? slices[n].shape[0] * slices[n].shape[1] : slices[n].shape[0];
        offset += slices_out[n].count;
        if (slices_out[n].is_trained) num_trained = offset;
    }
    *num_trained_out = num_trained;
    return offset;
}

/* ---- Start values ----------------------------------------------------------------------------- */

/* Point n of num from 0 to last, both ends included. */
static double linspace_at(double last, unsigned num, unsigned n) {
    return num == 1 ? 0.0 : last * (double)n / (double)(num - 1);
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The law of Koehler et al. for LJ-13, with L = distance_max for their 16 and 2 L for their 32 (docs/method.md, section
 * 2):
 *   centres = sort(2 ((s - 1.5)/(2 L))^2 L), s = linspace(0, L);   gamma = 0.3 + 3 ((centre - 1.5)/(2 L))^2 L
 *   time gamma = (0.3 + 2 ((t - 0.5)/2)^2)/sqrt(10)
 * centers_out [K] in double. */
static void dense_core_centers(unsigned num_distance, double distance_max, double *centers_out) {
    for (unsigned k = 0; k < num_distance; k++) {
        double u = (linspace_at(distance_max, num_distance, k) - 1.5) / (2.0 * distance_max);
        centers_out[k] = 2.0 * u * u * distance_max;
    }
    qsort(centers_out, num_distance, sizeof *centers_out, compare_doubles);
}

static double dense_core_gamma(double center, double distance_max) {
    double u = (center - 1.5) / (2.0 * distance_max);
    return 0.3 + 3.0 * u * u * distance_max;
}

static double dense_core_time_gamma(double t) {
    double u = (t - 0.5) / 2.0;
    return (0.3 + 2.0 * u * u) / sqrt(10.0);
}

eqf_status eqf__radial_init_params(eqf_context *ctx, const eqf_dynamics_options *options, uint64_t seed,
                                   float *params_out) {
    eqf_param_slice slices[EQF__RADIAL_NUM_SLICES];
    size_t num_trained;
    eqf__radial_layout(options, slices, &num_trained);
    const unsigned num_distance = options->num_distance, num_time = options->num_time;
    const bool is_uniform = options->layout == EQF_RADIAL_UNIFORM;
    double *centers = eqf__alloc(ctx, num_distance, sizeof *centers, "centres");
    if (centers == NULL) return EQF_ERROR_OUT_OF_MEMORY;

    float *weights = params_out + slices[EQF__RADIAL_WEIGHTS].offset;
    for (size_t n = 0; n < slices[EQF__RADIAL_WEIGHTS].count; n++)
        weights[n] = (float)(eqf__start_normal(seed, (uint32_t)n) / sqrt((double)num_distance));
    for (size_t n = 0; n < slices[EQF__RADIAL_BIAS].count; n++) params_out[slices[EQF__RADIAL_BIAS].offset + n] = 0.0f;
    for (size_t n = 0; n < slices[EQF__RADIAL_IMPORTANCE].count; n++)
        params_out[slices[EQF__RADIAL_IMPORTANCE].offset + n] = 0.0f;

    if (!is_uniform) dense_core_centers(num_distance, options->distance_max, centers);
    for (unsigned k = 0; k < num_distance; k++) {
        if (is_uniform) centers[k] = linspace_at(options->distance_max, num_distance, k);
        double gamma = is_uniform ? options->distance_gamma : dense_core_gamma(centers[k], options->distance_max);
        params_out[slices[EQF__RADIAL_DISTANCE_CENTERS].offset + k] = (float)centers[k];
        params_out[slices[EQF__RADIAL_DISTANCE_LOG_GAMMAS].offset + k] = (float)log(gamma);
    }
    for (unsigned m = 0; m < num_time; m++) {
        double t = linspace_at(1.0, num_time, m);
        double gamma = is_uniform ? options->time_gamma : dense_core_time_gamma(t);
        params_out[slices[EQF__RADIAL_TIME_CENTERS].offset + m] = (float)t;
        params_out[slices[EQF__RADIAL_TIME_LOG_GAMMAS].offset + m] = (float)log(gamma);
    }
    free(centers);
    return EQF_OK;
}
