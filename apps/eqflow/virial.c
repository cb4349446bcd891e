/* In equilibrium the mean of x · grad u, in kT, is the number of free coordinates: by parts from the integral of
 * exp(-u), whatever u is (the virial theorem; Allen and Tildesley, Computer Simulation of Liquids, section 2.4). All
 * terms are of the sample's own centre, as u does not depend on it. */
#include "virial.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_SAMPLES = 2048, NUM_BLOCKS = 16, MOST_ERRORS = 6 };

/* x [N, D]; NaN where a force is not finite. */
static double virial_of(const eqf_potential_options *potential, const float *x, const float *force) {
    const unsigned N = potential->num_particles, D = potential->space_dim;
    double sum = 0;
    for (unsigned d = 0; d < D; d++) {
        double centre = 0;
        for (unsigned i = 0; i < N; i++) centre += (double)x[i * D + d] / N;
        for (unsigned i = 0; i < N; i++) sum -= ((double)x[i * D + d] - centre) * force[i * D + d];
    }
    return isfinite(sum) ? sum : NAN;
}

/* Mean over samples, and its error from the spread of contiguous blocks, because neighbours in a file may be of one
 * chain. Overlapping particles, whose force is not finite, are left out: their density is zero. false: too few. */
static bool virial_mean(const eqf_potential_options *potential, size_t num, const float *x, const float *force,
                        double *mean_out, double *error_out) {
    const size_t row = (size_t)potential->num_particles * potential->space_dim;
    double means[NUM_BLOCKS], mean = 0, squares = 0;
    for (unsigned b = 0; b < NUM_BLOCKS; b++) {
        const size_t begin = num * b / NUM_BLOCKS, end = num * (b + 1) / NUM_BLOCKS;
        size_t count = 0;
        means[b] = 0;
        for (size_t n = begin; n < end; n++) {
            const double virial = virial_of(potential, x + n * row, force + n * row);
            if (isnan(virial)) continue;
            means[b] += virial;
            count++;
        }
        if (count == 0) return false;
        means[b] /= (double)count;
        mean += means[b] / NUM_BLOCKS;
    }
    for (unsigned b = 0; b < NUM_BLOCKS; b++) squares += (means[b] - mean) * (means[b] - mean);
    *mean_out = mean;
    *error_out = sqrt(squares / (NUM_BLOCKS * (NUM_BLOCKS - 1)));
    return true;
}

exit_code virial_check(cli_app *app, const eqf_potential_options *potential, size_t num, const float *x) {
    const size_t row = (size_t)potential->num_particles * potential->space_dim,
                 count = num < MOST_SAMPLES ? num : MOST_SAMPLES;
    const double expected = (double)(potential->num_particles - 1) * potential->space_dim;
    double mean, error;
    float *some = app_alloc(app, 2 * count, row * sizeof *some, "the samples' virial");
    if (!some) return EXIT_CODE_DEVICE;
    float *force = some + count * row;
    for (size_t n = 0; n < count; n++)
        for (size_t c = 0; c < row; c++) some[n * row + c] = x[n * num / count * row + c];
    const eqf_status status = eqf_potential_evaluate(app->ctx, potential, count, some, NULL, force);
    if (status == EQF_OK && virial_mean(potential, count, some, force, &mean, &error) &&
        fabs(mean - expected) > MOST_ERRORS * error + 0.05 * expected)
        app_warn(app,
                 "the samples are not of the equilibrium of --preset with the constants of --from: their mean virial "
                 "is %.4g +- %.2g, not %g, so ln Z and averages may be wrong",
                 mean, error, expected);
    free(some);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}
