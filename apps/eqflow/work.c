#include "work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "signals.h"

static size_t num_dof_of(const eqf_potential_options *system) {
    return (size_t)system->num_particles * system->space_dim;
}

/* The exit code of a long call of the library. */
static exit_code finish(cli_app *app, cli_progress *progress, eqf_status status) {
    progress_end(progress);
    if (status == EQF_ERROR_INTERRUPTED || (status == EQF_OK && signals_is_stop_requested())) {
        return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted; nothing written");
    }
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* Items [num] of which each rank has its share; afterwards all ranks have all. */
static exit_code gather(cli_app *app, size_t num, size_t item_bytes, void *items) {
    if (app->ranks.size <= 1 || !items) return EXIT_CODE_OK;
    size_t *bounds = app_alloc(app, app->ranks.size + 1, sizeof *bounds, "the ranks' shares");
    if (!bounds) return EXIT_CODE_DEVICE;
    for (unsigned rank = 0; rank <= app->ranks.size; rank++) {
        bounds[rank] = item_bytes * eqf_communicator_share(&app->ranks, rank, num);
    }
    const bool is_done = app->ranks.gather(app->ranks.user, bounds, items);
    free(bounds);
    return is_done ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_FAILURE, "the other ranks could not be reached");
}

/* A sample depends on its number only, so ranks may share samples in any way. */
typedef struct work_share {
    size_t first, count;
} work_share;

static work_share begin_share(cli_app *app, cli_progress *progress, const char *label, size_t num) {
    const size_t first = eqf_communicator_share(&app->ranks, app->ranks.rank, num);
    progress_watch(progress, app, label, "samples");
    return (work_share){first, eqf_communicator_share(&app->ranks, app->ranks.rank + 1, num) - first};
}

exit_code work_sample(cli_app *app, eqf_flow *flow, const eqf_potential_options *system, uint64_t seed, size_t num,
                      float *x_out, float *log_prob_out) {
    cli_progress progress;
    const size_t num_dof = num_dof_of(system);
    const work_share own = begin_share(app, &progress, "sample", num);
    exit_code code = finish(app, &progress,
                            eqf_flow_sample(flow, seed, own.first, own.count, x_out + own.first * num_dof,
                                            log_prob_out ? log_prob_out + own.first : NULL));
    if (code == EXIT_CODE_OK) code = gather(app, num, sizeof(float) * num_dof, x_out);
    return code == EXIT_CODE_OK ? gather(app, num, sizeof(float), log_prob_out) : code;
}

exit_code work_check_finite(cli_app *app, size_t num, size_t num_dof, const float *x, const float *log_prob) {
    size_t num_bad = 0;
    for (size_t b = 0; b < num; b++) {
        bool is_finite = isfinite(log_prob[b]);
        for (size_t c = 0; c < num_dof; c++) is_finite = is_finite && isfinite(x[b * num_dof + c]);
        num_bad += !is_finite;
    }
    if (num_bad == 0) return EXIT_CODE_OK;
    return app_fail(
        app, EXIT_CODE_FAILURE,
        "%zu of %zu samples are not finite, nothing was written: try more --integration-steps; if that does not help, "
        "the model has diverged",
        num_bad, num);
}

exit_code work_log_prob(cli_app *app, eqf_flow *flow, const eqf_potential_options *system, const char *label,
                        size_t num, const float *x, float *log_prob_out, float *z_out) {
    cli_progress progress;
    const work_share own = begin_share(app, &progress, label, num);
    const size_t num_dof = num_dof_of(system);
    exit_code code =
        finish(app, &progress,
               eqf_flow_log_prob_part(flow, own.first, own.count, x + own.first * num_dof, log_prob_out + own.first,
                                      z_out ? z_out + own.first * num_dof : NULL));
    if (code == EXIT_CODE_OK) code = gather(app, num, sizeof(float), log_prob_out);
    return code == EXIT_CODE_OK && z_out ? gather(app, num, sizeof(float) * num_dof, z_out) : code;
}

exit_code work_round_trip(cli_app *app, eqf_flow *flow, const eqf_flow_options *options, size_t num,
                          eqf_round_trip *error_out) {
    enum { FEWEST = 16, MOST = 256 };
    const size_t num_trips = num < FEWEST ? FEWEST : num > MOST ? MOST : num;
    const double allowed = 0.01; /* nats; evaluate allows the same difference of its two integrations */
    const bool is_adaptive = eqf_integrator_method_describe(options->method)->has_step_control;
    cli_progress progress;
    progress_watch(&progress, app, "round trip", "samples");
    const exit_code code =
        finish(app, &progress, eqf_flow_round_trip(flow, app_seed_for(app->seed, "round trip"), num_trips, error_out));
    if (code != EXIT_CODE_OK) return code;
    if (error_out->log_prob <= allowed) return EXIT_CODE_OK;
    app_warn(app,
             "the integration does not resolve this flow: of %zu samples, log-densities on the way there and back "
             "differ by up to %.2g nats: %s, or train longer with a larger --integration-penalty",
             num_trips, error_out->log_prob,
             is_adaptive ? "use a smaller --rtol" : "use more --integration-steps");
    return EXIT_CODE_OK;
}

exit_code work_energy(cli_app *app, const eqf_potential_options *potential, size_t num, const float *x,
                      float *energy_out) {
    cli_progress progress;
    const work_share own = begin_share(app, &progress, "energies", num);
    const exit_code code =
        finish(app, &progress,
               eqf_potential_evaluate(app->ctx, potential, own.count, x + own.first * num_dof_of(potential),
                                      energy_out + own.first, NULL));
    return code == EXIT_CODE_OK ? gather(app, num, sizeof(float), energy_out) : code;
}

exit_code work_evaluate(cli_app *app, const eqf_model *model, const eqf_evaluation_options *options, size_t num_data,
                        const float *x, eqf_evaluation **evaluation_out) {
    cli_progress progress;
    progress_watch(&progress, app, NULL, "samples");
    return finish(app, &progress, eqf_evaluate(app->ctx, model, options, num_data, x, evaluation_out));
}

/* Expected split R-hat of chains that agree. Half a chain has m independent values, so its mean scatters by 1/m of the
 * variance, and R-hat is about sqrt(1 + 1/m), well above 1 for few samples from each chain. */
static double usual_r_hat(const eqf_mcmc_diagnostics *diagnostics) {
    double kept_sweeps = (double)(diagnostics->num_sweeps - diagnostics->num_burn_in);
    double num_independent = fmax(0.5 * kept_sweeps / fmax(diagnostics->autocorrelation_time, 1), 1);
    return sqrt(1 + 1 / num_independent);
}

/* Prints warnings of the chains' diagnostics, one line each. */
static void speak_of_chains(cli_app *app, const eqf_mcmc_diagnostics *diagnostics) {
    enum { FEWEST_SWEEPS = 20 };
    const uint64_t num_sweeps = diagnostics->num_sweeps - diagnostics->num_burn_in;
    const double usual = usual_r_hat(diagnostics);
    if (diagnostics->split_r_hat > usual + 0.05) {
        app_warn(app,
                 "the chains do not agree yet (split R-hat %.3f, usual for chains of this length is %.3f); raise "
                 "--burn-in",
                 diagnostics->split_r_hat, usual);
    }
    if (num_sweeps < FEWEST_SWEEPS) {
        app_warn(app,
                 "%llu sweeps after burn-in are too few to tell whether the chains are in equilibrium: raise "
                 "--thinning or lower --chains",
                 (unsigned long long)num_sweeps);
    }
}

exit_code work_require_equilibrium(cli_app *app, const eqf_mcmc_diagnostics *diagnostics, const char *what_is_left) {
    const double growth = diagnostics->radius_growth;
    if (diagnostics->is_unbound) {
        const bool has_evaporated =
            diagnostics->mean_energy > diagnostics->dissociation_energy - 1; /* within kT of it */
        return app_fail(app, EXIT_CODE_NO_EQUILIBRIUM,
                        "nothing holds the particles together%s: their energy grows too slowly with distance for an "
                        "equilibrium to exist; add a "
                        "trap (--trap, or a term in the potential)%s",
                        has_evaporated ? ", and they have flown apart" : "", what_is_left);
    }
    if (fabs(growth) > 0.02 && fabs(growth) > 5 * diagnostics->radius_growth_standard_error) {
        return app_fail(app, EXIT_CODE_NO_EQUILIBRIUM,
                        "the radius of gyration still %s, by %.1f %% (+- %.1f) from the first to the last half of the "
                        "samples, which are not of "
                        "equilibrium: raise --burn-in%s",
                        growth > 0 ? "grows" : "shrinks", 100 * fabs(growth),
                        100 * diagnostics->radius_growth_standard_error, what_is_left);
    }
    return EXIT_CODE_OK;
}

exit_code work_mcmc(cli_app *app, const eqf_potential_options *potential, const eqf_mcmc_options *options, size_t num,
                    float *x_out, float *energy_out, eqf_mcmc_diagnostics *diagnostics_out) {
    cli_progress progress;
    progress_watch(&progress, app, NULL, "sweeps");
    const exit_code code =
        finish(app, &progress, eqf_mcmc_sample(app->ctx, potential, options, num, x_out, energy_out, diagnostics_out));
    if (code != EXIT_CODE_OK) return code;
    speak_of_chains(app, diagnostics_out);
    return EXIT_CODE_OK;
}

exit_code work_read_configurations(cli_app *app, const char *path, const eqf_potential_options *system,
                                   eqf_array *x_out) {
    double max_offset = 0;
    eqf_status status =
        eqf_array_read_configurations(app->ctx, path, system->num_particles, system->space_dim, x_out, &max_offset);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    if (max_offset > 1e-4) {
        app_note(app, "centred the configurations of %s: centres of mass up to %.3g from 0 were subtracted", path,
                 max_offset);
    }
    return EXIT_CODE_OK;
}

exit_code work_field_evaluation(cli_app *app, const char *text, eqf_field_evaluation *evaluation_out) {
    *evaluation_out = text && strcmp(text, "direct") == 0 ? EQF_FIELD_DIRECT : EQF_FIELD_TABLE;
    if (!text || *evaluation_out == EQF_FIELD_DIRECT || strcmp(text, "table") == 0) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE, "--field-evaluation %s: must be table or direct; see eqflow %s --help", text,
                    app->command);
}

exit_code work_divergence(cli_app *app, const char *text, eqf_divergence *divergence_out) {
    static const char *const names[] = {[EQF_DIVERGENCE_EXACT] = "exact",
                                        [EQF_DIVERGENCE_RADEMACHER] = "rademacher",
                                        [EQF_DIVERGENCE_GAUSSIAN] = "gaussian"};
    *divergence_out = EQF_DIVERGENCE_EXACT;
    if (!text) return EXIT_CODE_OK;
    for (size_t d = 0; d < sizeof names / sizeof names[0]; d++) {
        *divergence_out = (eqf_divergence)d;
        if (strcmp(text, names[d]) == 0) return EXIT_CODE_OK;
    }
    return app_fail(app, EXIT_CODE_USAGE,
                    "--divergence %s: must be exact, rademacher or gaussian; see eqflow %s --help", text, app->command);
}

eqf_array work_configurations(float *x, size_t num, const eqf_potential_options *system) {
    eqf_array array = EQF_ARRAY_INIT;
    array.data = x;
    array.num_dims = 3;
    array.shape[0] = num;
    array.shape[1] = system->num_particles;
    array.shape[2] = system->space_dim;
    return array;
}
