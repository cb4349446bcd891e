#include "train_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "system.h"
#include "work.h"

static const size_t max_held_out = 10000; /* with more, models are not compared better */
static const size_t few_held_out = 10;    /* the least from a small set, but at most a quarter of it */

/* Uniform on 0 .. bound - 1, up to a negligible error for bounds far below 2^64. */
static uint64_t draw_below(uint64_t seed, uint64_t index, uint64_t bound) {
    return app_seed_for(seed + index, "shuffle") % bound;
}

static void shuffle(float *x, size_t num, size_t num_dof, uint64_t seed) {
    for (size_t i = num; i > 1; i--) { /* Fisher and Yates */
        size_t j = (size_t)draw_below(seed, i, i);
        for (size_t k = 0; k < num_dof && j != i - 1; k++) {
            float kept = x[(i - 1) * num_dof + k];
            x[(i - 1) * num_dof + k] = x[j * num_dof + k];
            x[j * num_dof + k] = kept;
        }
    }
}

static size_t count_held_out(size_t num, double fraction) {
    if (fraction <= 0) return 0;
    size_t count = (size_t)(fraction * (double)num + 0.5);
    size_t few = num / 4 < few_held_out ? num / 4 : few_held_out;
    if (count < few) count = few;
    if (count > max_held_out) count = max_held_out;
    return count < num ? count : num - 1;
}

static exit_code load_data(cli_app *app, const train_flags *flags, const eqf_potential_options *potential,
                           train_data *data_out) {
    eqf_array array = EQF_ARRAY_INIT;
    exit_code code = work_read_configurations(app, flags->data_path, potential, &array);
    if (code != EXIT_CODE_OK) return code;
    size_t num = array.shape[0];
    data_out->x = app_alloc(app, num, sizeof(float) * data_out->num_dof, "the training data");
    if (data_out->x) memcpy(data_out->x, array.data, num * data_out->num_dof * sizeof(float));
    eqf_array_clear(&array);
    data_out->num_train = num;
    return data_out->x ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
}

static exit_code make_data(cli_app *app, const train_flags *flags, const eqf_preset *preset,
                           const eqf_potential_options *potential, train_data *data_out) {
    size_t num = flags->is_num_train_set ? (size_t)flags->num_train : preset->default_num_train;
    app_note(app, "no --data: making %zu samples of %s by Monte Carlo (--num-train)", num, preset->name);
    data_out->x = app_alloc(app, num, sizeof(float) * data_out->num_dof, "the training data");
    if (!data_out->x) return EXIT_CODE_DEVICE;
    eqf_mcmc_options options = *preset->mcmc;
    options.seed = app_seed_for(app->seed, "training data");
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    data_out->num_train = num;
    const exit_code code = work_mcmc(app, potential, &options, num, data_out->x, NULL, &diagnostics);
    if (code != EXIT_CODE_OK) return code;
    return work_require_equilibrium(app, &diagnostics, "; nothing was trained; `eqflow data` makes samples for --data");
}

exit_code train_data_get(cli_app *app, const train_flags *flags, const eqf_preset *preset,
                         const eqf_potential_options *potential, train_data *data_out) {
    *data_out = (train_data){.num_dof = (size_t)potential->num_particles * potential->space_dim};
    exit_code code = flags->data_path ? load_data(app, flags, potential, data_out) : EXIT_CODE_OK;
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) code = system_verify_for_field(app, potential, flags->field_value);
    if (flags->loss == LOSS_ENERGY) return code;
    if (code == EXIT_CODE_OK && !flags->data_path) code = make_data(app, flags, preset, potential, data_out);
    if (code != EXIT_CODE_OK) return code;
    size_t num = data_out->num_train;
    shuffle(data_out->x, num, data_out->num_dof, app_seed_for(app->seed, "held-out split"));
    data_out->num_held_out = count_held_out(num, flags->held_out);
    data_out->num_train = num - data_out->num_held_out;
    app_note(app, "training on %zu samples, %zu held out", data_out->num_train, data_out->num_held_out);
    return EXIT_CODE_OK;
}

double train_data_scale(const train_data *data, const eqf_potential_options *potential) {
    double sum = 0;
    size_t num = data->num_held_out + data->num_train;
    for (size_t i = 0; i < num * data->num_dof; i++) sum += (double)data->x[i] * data->x[i];
    return sqrt(sum / ((double)num * (potential->num_particles - 1) * potential->space_dim));
}
