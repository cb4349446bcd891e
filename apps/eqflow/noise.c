#include "noise.h"

#include <stdlib.h>

#include "eqflow/minima.h"

#include "random_stream.h"

/* Enough to find the lowest minimum of the presets many times: docs/minima.md. */
enum { NUM_STARTS = 1000 };

typedef struct descent {
    float *starts;             /* [NUM_STARTS, N, D] */
    double *x;                 /* [NUM_STARTS, N, D] */
    double *energy;            /* [NUM_STARTS] */
    eqf_quench_result *result; /* [NUM_STARTS] */
} descent;

static exit_code find_lowest(cli_app *app, const eqf_potential_options *potential, size_t num_dof, descent *work,
                             size_t *lowest_out) {
    work->starts = app_alloc(app, NUM_STARTS, sizeof(float) * num_dof, "the starts");
    work->x = work->starts ? app_alloc(app, NUM_STARTS, sizeof(double) * num_dof, "the starts") : NULL;
    work->energy = work->x ? app_alloc(app, NUM_STARTS, sizeof(double), "the energies") : NULL;
    work->result = work->energy ? app_alloc(app, NUM_STARTS, sizeof *work->result, "the results") : NULL;
    if (!work->result) return EXIT_CODE_DEVICE;
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    eqf_status status = eqf_minima_random_starts(app->ctx, potential, app_seed_for(app->seed, "minimum"), 0, NUM_STARTS,
                                                 work->starts);
    if (status == EQF_OK) {
        status = eqf_minima_quench(app->ctx, potential, &options, NUM_STARTS, work->starts, work->x, work->energy, NULL,
                                   work->result, NULL);
    }
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    size_t lowest = NUM_STARTS;
    for (size_t s = 0; s < NUM_STARTS; s++) {
        if (work->result[s] != EQF_QUENCH_MINIMUM) continue;
        if (lowest == NUM_STARTS || work->energy[s] < work->energy[lowest]) lowest = s;
    }
    if (lowest == NUM_STARTS) {
        return app_fail(app, EXIT_CODE_FAILURE,
                        "--noise: none of %d random starts fell into a minimum of this potential", (int)NUM_STARTS);
    }
    *lowest_out = lowest;
    return EXIT_CODE_OK;
}

exit_code noise_around_minimum(cli_app *app, const eqf_potential_options *potential, double sd, size_t num,
                               float *x_out, double *minimum_energy_out) {
    const unsigned num_particles = potential->num_particles, space_dim = potential->space_dim;
    const size_t num_dof = (size_t)num_particles * space_dim;
    descent work = {NULL, NULL, NULL, NULL};
    size_t lowest = 0;
    exit_code code = find_lowest(app, potential, num_dof, &work, &lowest);
    double *x = code == EXIT_CODE_OK ? app_alloc(app, num_dof, sizeof *x, "a configuration") : NULL;
    if (code == EXIT_CODE_OK && !x) code = EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        random_stream stream = {app_seed_for(app->seed, "noise"), 0};
        for (size_t b = 0; b < num; b++) {
            for (size_t c = 0; c < num_dof; c++) x[c] = work.x[lowest * num_dof + c] + sd * random_normal(&stream);
            for (unsigned d = 0; d < space_dim; d++) {
                double centre = 0;
                for (unsigned i = 0; i < num_particles; i++) centre += x[i * space_dim + d] / num_particles;
                for (unsigned i = 0; i < num_particles; i++) {
                    x_out[b * num_dof + i * space_dim + d] = (float)(x[i * space_dim + d] - centre);
                }
            }
        }
        *minimum_energy_out = work.energy[lowest];
    }
    free(x);
    free(work.starts);
    free(work.x);
    free(work.energy);
    free(work.result);
    return code;
}
