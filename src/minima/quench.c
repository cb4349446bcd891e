/* Quenches on the device, in rounds of descents: a configuration that ends at a saddle point is displaced and descends
 * again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "minima_internal.h"
#include "ocl.h"
#include "quench.h"

/* In units of the potential's length: */
#define ESCAPE_DISPLACEMENT 0.05 /* displacement from a saddle point */
#define CLOSEST_START 0.01       /* particles nearer than this are moved apart before the descent ... */
#define START_NUDGE 0.02         /* ... by this distance */

static const char *const result_texts[] = {
#define RESULT_TEXT(name, text) [EQF_QUENCH_##name] = text,
    EQF_QUENCH_RESULT_MAP(RESULT_TEXT)
#undef RESULT_TEXT
};

const char *eqf_quench_result_text(eqf_quench_result result) {
    return (unsigned)result < EQF_QUENCH_NUM_RESULTS ? result_texts[result] : NULL;
}

/* ---- Options ------------------------------------------------------------------------------------------------- */

static eqf_status check_options(eqf_context *ctx, const eqf_quench_options *options) {
    if ((unsigned)options->precision > EQF_QUENCH_FLOAT)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "precision of the quench is %u: there is no such precision",
                         (unsigned)options->precision);
    if (!(options->gradient_tolerance >= 0.0) || !isfinite(options->gradient_tolerance))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "gradient_tolerance is %g: it must be positive, or 0 for the default",
                         options->gradient_tolerance);
    if (!(options->largest_displacement >= 0.0) || !isfinite(options->largest_displacement))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "largest_displacement is %g: it must be positive, or 0 for the default",
                         options->largest_displacement);
    return EQF_OK;
}

static eqf_status choose_precision(eqf_context *ctx, const eqf_quench_options *options, bool *is_double_out) {
    const bool has_double = ctx->device->info.has_fp64;
    *is_double_out = has_double && options->precision != EQF_QUENCH_FLOAT;
    if (options->precision != EQF_QUENCH_DOUBLE || has_double) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "%s computes in float only: quench in float, or choose another device",
                     ctx->device->info.name);
}

/* ---- Starts -------------------------------------------------------------------------------------------------- */

static bool is_finite(size_t count, const float *x) {
    for (size_t c = 0; c < count; c++)
        if (!isfinite(x[c])) return false;
    return true;
}

/* Between coincident particles a force has no direction, and between very near ones it overflows float. So each such
 * particle is displaced a little in a fixed direction of its own; multiples of the golden ratio spread the
 * directions. */
static void part_overlaps(const eqf__quench *run, double *x) {
    unsigned N = run->num_particles, D = run->space_dim;
    double closest = CLOSEST_START * run->length, nudge = START_NUDGE * run->length;
    for (unsigned i = 1; i < N; i++)
        for (unsigned j = 0; j < i; j++) {
            double squared = 0.0;
            for (unsigned d = 0; d < D; d++) {
                double r = x[i * D + d] - x[j * D + d];
                squared += r * r;
            }
            if (squared >= closest * closest) continue;
            for (unsigned d = 0; d < D; d++) {
                double turns = (i * D + d + 1) * 0.6180339887498949;
                x[i * D + d] += 2.0 * nudge * (turns - floor(turns) - 0.5) + (d == 0 ? nudge * i : 0.0);
            }
            break;
        }
}

/* ---- Results ------------------------------------------------------------------------------------------------- */

/* Distinguishes minima from saddle points; if is_left, displaces the latter along a direction of negative curvature. */
static eqf_status check_curvature(eqf__quench *run, size_t count, const size_t *indices, bool is_left) {
    size_t n = run->num_dof, V = run->real.vector_width, num_blocks = eqf__num_blocks(&run->real, count);
    for (size_t first = 0; first < num_blocks; first += run->num_hessian_blocks) {
        size_t blocks = num_blocks - first < run->num_hessian_blocks ? num_blocks - first : run->num_hessian_blocks;
        EQF__TRY(eqf__quench_hessians(run, first, blocks));
        for (size_t b = first * V; b < (first + blocks) * V && b < count; b++) {
            if (run->result_out[indices[b]] != EQF_QUENCH_MINIMUM) continue;
            double largest = eqf__quench_take_hessian(run, b / V - first, b % V);
            double flat = fmax(run->scales->curvature * largest, 1e-300);
            if (!eqf__minima_find_way_down(n, flat, run->h_matrix, run->h_direction)) continue;
            run->result_out[indices[b]] = EQF_QUENCH_SADDLE;
            if (!is_left) continue;
            double *x = run->x_out + indices[b] * n;
            for (size_t c = 0; c < n; c++) x[c] += ESCAPE_DISPLACEMENT * run->length * run->h_direction[c];
        }
    }
    return EQF_OK;
}

/* The stiffness of a user's potential is unknown. One random start, the same for every batch, descends with a guessed
 * step size; the largest sum of absolute values in a row of its Hessian there bounds the eigenvalues (Gershgorin). */
static eqf_status measure_stiffness(eqf__quench *run) {
    const size_t n = run->num_dof, only = 0;
    float *start = eqf__alloc(run->ctx, n, sizeof *start, "a configuration");
    double *x = eqf__alloc(run->ctx, n, sizeof *x, "a configuration");
    double *x_out = run->x_out, stiffness = 0.0;
    const unsigned max_steps = run->max_steps;
    eqf_status status = start == NULL || x == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf_minima_random_starts(run->ctx, run->potential, 0, 0, 1, start);
    if (status == EQF_OK) {
        for (size_t c = 0; c < n; c++) x[c] = (double)start[c];
        run->x_out = x;
        run->max_steps = 3000;
        status = eqf__quench_upload(run, 1, &only);
        if (status == EQF_OK) status = eqf__quench_descend(run, 1);
        run->x_out = x_out;
        run->max_steps = max_steps;
    }
    if (status == EQF_OK) status = eqf__quench_first_hessian(run);
    if (status == EQF_OK) {
        for (size_t row = 0; row < n; row++) {
            double sum = 0.0;
            for (size_t column = 0; column < n; column++) sum += fabs(run->h_matrix[row * n + column]);
            stiffness = fmax(stiffness, sum); /* fmax ignores a NaN */
        }
        if (isfinite(stiffness) && stiffness > 0.0) eqf__quench_choose_scales(run, stiffness);
    }
    free(start);
    free(x);
    return status;
}

/* ---- Rounds -------------------------------------------------------------------------------------------------- */

/* indices [num_active] is reduced to those that were displaced from saddle points. */
static eqf_status quench_round(eqf__quench *run, bool is_left, size_t *num_active, size_t *indices) {
    const size_t most = run->batch.chunk_size; /* options->progress tells how far each launch came: no smaller pieces */
    size_t num_left = 0;
    for (size_t first = 0; first < *num_active; first += most) {
        size_t count = *num_active - first < most ? *num_active - first : most;
        EQF__TRY(eqf__quench_upload(run, count, indices + first));
        EQF__TRY(eqf__quench_descend(run, count));
        EQF__TRY(eqf__quench_collect(run, count, indices + first));
        EQF__TRY(check_curvature(run, count, indices + first, is_left));
        size_t num_left_before = num_left;
        for (size_t b = first; b < first + count; b++)
            if (is_left && run->result_out[indices[b]] == EQF_QUENCH_SADDLE) indices[num_left++] = indices[b];
        run->num_finished += count - (num_left - num_left_before);
    }
    *num_active = num_left;
    run->num_escapes += num_left;
    return EQF_OK;
}

static eqf_status quench(eqf__quench *run, const float *x, size_t *indices) {
    size_t num_dof = run->num_dof, num_active = 0;
    for (size_t b = 0; b < run->batch_size; b++) {
        double *x_out = run->x_out + b * num_dof;
        run->result_out[b] = EQF_QUENCH_NON_FINITE;
        for (size_t c = 0; c < num_dof; c++) x_out[c] = NAN;
        if (run->energy_out != NULL) run->energy_out[b] = NAN;
        if (run->gradient_norm_out != NULL) run->gradient_norm_out[b] = NAN;
        if (!is_finite(num_dof, x + b * num_dof)) continue;
        for (size_t c = 0; c < num_dof; c++) x_out[c] = (double)x[b * num_dof + c];
        eqf__minima_centre(run->num_particles, run->space_dim, x_out);
        part_overlaps(run, x_out);
        indices[num_active++] = b;
    }
    run->num_finished = run->batch_size - num_active;
    for (unsigned round = 0; num_active > 0; round++)
        EQF__TRY(quench_round(run, round < run->options->max_escapes, &num_active, indices));
    for (size_t b = 0; b < run->batch_size; b++)
        if (run->result_out[b] != EQF_QUENCH_NON_FINITE)
            eqf__minima_centre(run->num_particles, run->space_dim, run->x_out + b * num_dof);
    return EQF_OK;
}

static void summarise(const eqf__quench *run, eqf_quench_summary *summary) {
    summary->is_double = eqf__is_double(&run->real);
    summary->gradient_tolerance = run->gradient_tolerance;
    summary->num_escapes = run->num_escapes;
    for (size_t b = 0; b < run->batch_size; b++) summary->counts[run->result_out[b]]++;
    size_t num_finite = run->batch_size - summary->counts[EQF_QUENCH_NON_FINITE];
    summary->mean_steps = num_finite > 0 ? run->num_steps / (double)num_finite : 0.0;
}

eqf_status eqf_minima_quench(eqf_context *ctx, const eqf_potential_options *potential,
                             const eqf_quench_options *options, size_t batch_size, const float *x, double *x_out,
                             double *energy_out, double *gradient_norm_out, eqf_quench_result *result_out,
                             eqf_quench_summary *summary_out) {
    eqf_quench_options copy = EQF_QUENCH_OPTIONS_INIT;
    eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
    EQF__NOT_NULL(ctx, ctx);
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_QUENCH_OPTIONS_INIT, options, &copy));
    options = &copy;
    if (summary_out != NULL) EQF__TRY(EQF__WRITE(ctx, EQF_QUENCH_SUMMARY_INIT, &summary, summary_out));
    EQF__TRY(eqf_potential_check(ctx, potential));
    EQF__TRY(check_options(ctx, options));
    if (batch_size > 0 && (x == NULL || x_out == NULL || result_out == NULL))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "x, x_out or result_out is NULL");
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    bool is_double;
    EQF__TRY(choose_precision(ctx, options, &is_double));
    eqf__checker checker = eqf__checker_of(ctx);
    eqf__quench run;
    eqf__quench_begin(ctx, potential, options, is_double, batch_size, &run);
    run.x_out = x_out;
    run.energy_out = energy_out;
    run.gradient_norm_out = gradient_norm_out;
    run.result_out = result_out;
    eqf_status status = EQF_OK;
    if (batch_size > 0) {
        size_t *indices = eqf__alloc(ctx, batch_size, sizeof *indices, "the configurations' indices");
        status = indices == NULL ? EQF_ERROR_OUT_OF_MEMORY : eqf__quench_create(&run);
        if (status == EQF_OK) status = eqf__check_quench(&checker, &run);
        if (status == EQF_OK && run.has_guessed_stiffness) status = measure_stiffness(&run);
        if (status == EQF_OK) status = quench(&run, x, indices);
        eqf__quench_clear(&run);
        free(indices);
    }
    if (status != EQF_OK || summary_out == NULL) return status;
    summarise(&run, &summary);
    return EQF__WRITE(ctx, EQF_QUENCH_SUMMARY_INIT, &summary, summary_out);
}
