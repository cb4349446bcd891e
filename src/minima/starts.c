/* Random starts. */
#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "potential_kinds.h"
#include "minima_internal.h"

void eqf__minima_centre(unsigned num_particles, unsigned space_dim, double *x) {
    for (unsigned d = 0; d < space_dim; d++) {
        double mean = 0.0;
        for (unsigned i = 0; i < num_particles; i++) mean += x[i * space_dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) x[i * space_dim + d] -= mean;
    }
}

/* One point of the unit ball: points uniform in the cube are drawn until one is inside; the counter numbers the
 * attempts. */
static void point_in_ball(uint64_t seed, uint64_t start, unsigned particle, unsigned space_dim, double *point) {
    static const uint32_t stream = 0x73746172u;
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    for (uint32_t attempt = 0;; attempt++) {
        philox4x32_ctr_t counter = {{(uint32_t)start, (uint32_t)(start >> 32), particle, stream + attempt}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        double squared = 0.0;
        for (unsigned d = 0; d < space_dim; d++) {
            point[d] = (words.v[d] + 0.5) / 2147483648.0 - 1.0;
            squared += point[d] * point[d];
        }
        if (squared <= 1.0) return;
    }
}

eqf_status eqf_minima_random_starts(eqf_context *ctx, const eqf_potential_options *potential, uint64_t seed,
                                    uint64_t first_start, size_t num_starts, float *x_out) {
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (num_starts == 0) return EQF_OK;
    if (x_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no room for the starts: x_out is NULL");
    unsigned N = potential->num_particles, D = potential->space_dim;
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    const double radius = scales.start_radius;
    for (size_t b = 0; b < num_starts; b++) {
        float *x = x_out + b * N * D;
        double mean[3] = {0.0, 0.0, 0.0}, point[3];
        for (unsigned i = 0; i < N; i++) {
            point_in_ball(seed, first_start + b, i, D, point);
            for (unsigned d = 0; d < D; d++) {
                mean[d] += radius * point[d] / N;
                x[i * D + d] = (float)(radius * point[d]);
            }
        }
        for (unsigned c = 0; c < N * D; c++) x[c] -= (float)mean[c % D];
    }
    return EQF_OK;
}
