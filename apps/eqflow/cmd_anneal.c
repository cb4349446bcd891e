#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/anneal.h"

#include "anneal_flags.h"
#include "commands.h"
#include "files.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "virial.h"
#include "work.h"

/* The start: a model's flow, or samples of a preset's equilibrium. */
typedef struct anneal_start {
    eqf_model *model;
    eqf_flow *flow;
    eqf_array samples;
    eqf_potential_options potential;
    const char *preset; /* the system's name, or "" */
} anneal_start;

static void clear_start(anneal_start *start) {
    eqf_flow_destroy(&start->flow);
    eqf_model_destroy(&start->model);
    eqf_array_clear(&start->samples);
}

/* ---- Running ---------------------------------------------------------------------------------- */

/* The columns of single particles are there only if they are moved. */
static void append_header(FILE *log, const anneal_flags *flags) {
    fprintf(log,
            "run,step,beta,ess_fraction,resampled_fraction,log_z,latent_acceptance,langevin_acceptance,latent_step,"
            "langevin_step,energy_evaluations,log_prob_evaluations,score_evaluations,energy_correlation,"
            "num_independent%s\n",
            flags->num_particle_sweeps > 0 ? ",particle_acceptance,particle_step" : "");
}

static void append_step(FILE *log, const eqf_anneal_state *state) {
    if (log == NULL) return;
    fprintf(log, "%s,%u,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.0f,%.0f,%.0f,%.9g,%.9g",
            state->is_pilot ? "pilot" : "main",
            state->step, state->beta, state->ess_fraction, state->resampled_fraction, state->log_z,
            state->latent_acceptance, state->langevin_acceptance, state->latent_step, state->langevin_step,
            state->energy_evaluations, state->log_prob_evaluations, state->score_evaluations,
            state->energy_correlation, state->num_independent);
    if (isfinite(state->particle_acceptance))
        fprintf(log, ",%.9g,%.9g", state->particle_acceptance, state->particle_step);
    fputc('\n', log);
}

/* Does all steps; last_out: the last state. */
static exit_code walk(cli_app *app, eqf_annealer *annealer, FILE *log, eqf_anneal_state *last_out) {
    cli_progress progress;
    eqf_anneal_state state = EQF_ANNEAL_STATE_INIT;
    progress_begin(&progress, app, "anneal", "steps");
    eqf_status status = EQF_OK;
    while (status == EQF_OK && !state.is_done && !signals_is_stop_requested()) {
        status = eqf_annealer_advance(annealer, &state);
        if (status != EQF_OK) break;
        append_step(log, &state);
        char detail[64];
        snprintf(detail, sizeof detail, "%s, beta %.3g, ESS %.2f", state.is_pilot ? "pilot" : "repeats", state.beta,
                 state.ess_fraction);
        progress_update(&progress, state.step, state.num_steps > 0 ? state.num_steps : state.step + 1, detail);
    }
    progress_end(&progress);
    *last_out = state;
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (!state.is_done) return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted; nothing was written");
    return EXIT_CODE_OK;
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* Allocates configurations and their energies. */
static exit_code make_room(cli_app *app, const eqf_potential_options *target, size_t num, sample_set *set) {
    *set = (sample_set){.potential = target, .num = num};
    set->x =
        app_alloc(app, num, (size_t)target->num_particles * target->space_dim * sizeof *set->x, "the configurations");
    set->energy = set->x ? app_alloc(app, num, sizeof *set->energy, "the energies") : NULL;
    return set->energy ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
}

static exit_code write_equal(cli_app *app, const anneal_flags *flags, const eqf_annealer *annealer,
                             const eqf_potential_options *target, size_t num) {
    if (!flags->equal.x && !flags->equal.energies) return EXIT_CODE_OK;
    sample_set set;
    exit_code code = make_room(app, target, num, &set);
    const eqf_status status = code == EXIT_CODE_OK ? eqf_annealer_resample(annealer, num, set.x, set.energy) : EQF_OK;
    if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (code == EXIT_CODE_OK) code = sample_files_write(app, &flags->equal, &set);
    free(set.x);
    free(set.energy);
    return code;
}

static exit_code write_weighted(cli_app *app, const anneal_flags *flags, const eqf_annealer *annealer,
                                const eqf_potential_options *target, size_t num, double log_z) {
    if (!flags->walkers.x && !flags->walkers.log_weights && !flags->walkers.xyz) return EXIT_CODE_OK;
    sample_set set;
    exit_code code = make_room(app, target, num, &set);
    double *log_weights = code == EXIT_CODE_OK ? app_alloc(app, num, sizeof *log_weights, "the weights") : NULL;
    if (code == EXIT_CODE_OK && !log_weights) code = EXIT_CODE_DEVICE;
    const eqf_status status =
        code == EXIT_CODE_OK ? eqf_annealer_result(annealer, NULL, set.x, set.energy, log_weights) : EQF_OK;
    if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_COMPUTE);
    set.log_weights = log_weights;
    set.log_weight_shift = log_z;
    if (code == EXIT_CODE_OK) code = sample_files_write(app, &flags->walkers, &set);
    free(set.x);
    free(set.energy);
    free(log_weights);
    return code;
}

/* ---- Results ---------------------------------------------------------------------------------- */

/* Limits: docs/anneal.md, "Independent walkers". */
static void warn_of_errors(cli_app *app, const eqf_anneal_result *result) {
    const double least_independent = 50, most_correlation = 0.95;
    if (result->log_z_standard_error > 0.3)
        app_warn(app,
                 "the repeats differ by %.2g in ln Z: their errors are rough; use more moves (--langevin-moves) or "
                 "walkers (-n)",
                 result->log_z_standard_error);
    else if (result->energy_correlation > most_correlation)
        app_warn(app,
                 "the moves hardly change the walkers (their energies before and after: correlation %.3f), so all "
                 "repeats may lag behind and errors be too small: use more moves of a step (--langevin-moves, "
                 "--latent-moves)",
                 result->energy_correlation);
    else if (result->num_independent < least_independent)
        app_warn(app,
                 "a repeat has only %.0f independent walkers, so errors may be too small: use more walkers (-n), fewer "
                 "--repeats or more moves, and see whether the result stays",
                 result->num_independent);
}

static exit_code print_result(cli_app *app, const anneal_flags *flags, const anneal_start *start,
                              const eqf_potential_options *target, const eqf_anneal_result *result,
                              const eqf_anneal_state *last, double seconds) {
    const eqf_preset *preset = eqf_preset_find(start->preset);
    const bool is_known = preset && eqf_preset_matches(preset, target) && isfinite(preset->log_z) && start->flow;
    char log_z_note[48] = "", energy_note[48] = "";
    if (is_known) {
        snprintf(log_z_note, sizeof log_z_note, "(known: %g)", preset->log_z);
        snprintf(energy_note, sizeof energy_note, "(known: %g)", preset->mean_energy);
    }
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_count(&output, "num_walkers", "walkers", result->num_walkers);
    output_count(&output, "num_repeats", "independent repeats of them", result->num_repeats);
    output_count(&output, "num_steps", "steps in beta", result->num_steps);
    output_count(&output, "seed", "seed", app->seed);
    output_number(&output, "log_z", start->flow ? "ln Z" : "ln Z(target) - ln Z(start)", result->log_z,
                  is_known ? log_z_note : NULL);
    output_number(&output, "log_z_standard_error", "  standard error", result->log_z_standard_error, NULL);
    output_number(&output, "mean_energy", "mean energy (kT)", result->mean_energy, is_known ? energy_note : NULL);
    output_number(&output, "mean_energy_standard_error", "  standard error", result->mean_energy_standard_error, NULL);
    output_number(&output, "ess_fraction", "effective sample size (fraction)", result->ess_fraction, NULL);
    output_number(&output, "max_weight_fraction", "largest weight (fraction of all)", result->max_weight_fraction,
                  NULL);
    output_number(&output, "num_independent", "independent walkers of a repeat", result->num_independent, NULL);
    output_number(&output, "energy_correlation", "correlation of energies by moves", result->energy_correlation,
                  NULL);
    output_number(&output, "energy_evaluations", "energies computed", last->energy_evaluations, NULL);
    output_number(&output, "log_prob_evaluations", "log-densities computed", last->log_prob_evaluations, NULL);
    output_number(&output, "score_evaluations", "scores computed", last->score_evaluations, NULL);
    output_number(&output, "seconds", NULL, seconds, NULL);
    output_text(&output, "output", flags->equal.x ? "configurations in" : NULL, flags->equal.x);
    output_text(&output, "energies_output", flags->equal.energies ? "their energies in" : NULL, flags->equal.energies);
    output_text(&output, "walkers_output", flags->walkers.x ? "weighted walkers in" : NULL, flags->walkers.x);
    output_text(&output, "log_weights_output", flags->walkers.log_weights ? "their weights in" : NULL,
                flags->walkers.log_weights);
    output_text(&output, "xyz_output", flags->walkers.xyz ? "walkers as extended XYZ in" : NULL, flags->walkers.xyz);
    output_text(&output, "steps_output", flags->steps_path ? "steps in" : NULL, flags->steps_path);
    code = output_finish(&output);
    if (code != EXIT_CODE_OK) return code;
    warn_of_errors(app, result);
    return code;
}

static exit_code write_results(cli_app *app, const anneal_flags *flags, const anneal_start *start,
                               const eqf_potential_options *target, const eqf_annealer *annealer,
                               const eqf_anneal_state *last, double seconds) {
    eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
    eqf_status status = eqf_annealer_result(annealer, &result, NULL, NULL, NULL);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = write_equal(app, flags, annealer, target, result.num_walkers);
    if (code == EXIT_CODE_OK) code = write_weighted(app, flags, annealer, target, result.num_walkers, result.log_z);
    return code == EXIT_CODE_OK ? print_result(app, flags, start, target, &result, last, seconds) : code;
}

static exit_code anneal(cli_app *app, const anneal_flags *flags, const anneal_start *start,
                        const eqf_potential_options *target) {
    const eqf_anneal_options options = {.struct_size = sizeof options,
                                        .seed = app_seed_for(app->seed, "anneal"),
                                        .num_walkers = (size_t)flags->num_walkers,
                                        .num_repeats = (unsigned)flags->num_repeats,
                                        .num_pilot = (size_t)flags->num_pilot,
                                        .num_latent_moves = (unsigned)flags->num_latent_moves,
                                        .num_langevin_moves = (unsigned)flags->num_langevin_moves,
                                        .has_no_latent_moves = flags->num_latent_moves == 0,
                                        .has_no_langevin_moves = flags->num_langevin_moves == 0,
                                        .num_particle_sweeps = (unsigned)flags->num_particle_sweeps,
                                        .ess_decay = flags->ess_decay};
    eqf_annealer *annealer = NULL;
    const double began = app_seconds();
    eqf_status status = start->flow
                            ? eqf_annealer_create(app->ctx, start->flow, target, &options, &annealer)
                            : eqf_annealer_create_from_samples(app->ctx, &start->potential, start->samples.shape[0],
                                                               start->samples.data, target, &options, &annealer);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    char *text = NULL;
    size_t size = 0;
    FILE *log = flags->steps_path ? open_memstream(&text, &size) : NULL;
    if (log) append_header(log, flags);
    eqf_anneal_state last;
    exit_code code = walk(app, annealer, log, &last);
    if (log && fclose(log) != 0 && code == EXIT_CODE_OK)
        code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for the steps");
    if (code == EXIT_CODE_OK && flags->steps_path) code = files_write(app, flags->steps_path, text, size);
    free(text);
    if (code == EXIT_CODE_OK) code = write_results(app, flags, start, target, annealer, &last, app_seconds() - began);
    eqf_annealer_destroy(&annealer);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------ */

/* --from NAME=X: constants of the samples' potential that are not those of the preset. */
static exit_code set_start_constants(cli_app *app, const anneal_flags *flags, eqf_potential_options *start) {
    exit_code checked = system_check_once(app, "--from", &flags->start_constants);
    if (checked != EXIT_CODE_OK) return checked;
    for (size_t c = 0; c < flags->start_constants.num_texts; c++) {
        char name[64];
        double value;
        exit_code code = system_read_constant(app, "--from", flags->start_constants.texts[c], name, &value);
        if (code == EXIT_CODE_OK) code = system_set_constant(app, name, value, start);
        if (code != EXIT_CODE_OK) return code;
    }
    return EXIT_CODE_OK;
}

static exit_code open_samples(cli_app *app, anneal_flags *flags, anneal_start *start,
                              eqf_potential_options *target_out) {
    exit_code code = app_create_context(app);
    const eqf_preset *preset;
    if (code == EXIT_CODE_OK) code = system_find_preset(app, flags->preset_name, &preset);
    if (code != EXIT_CODE_OK) return code;
    start->potential = *target_out = preset->model->potential;
    start->preset = preset->name;
    if ((code = set_start_constants(app, flags, &start->potential)) != EXIT_CODE_OK) return code;
    if ((code = system_apply(app, &flags->target, target_out)) != EXIT_CODE_OK) return code;
    if ((code = work_read_configurations(app, flags->start_path, &start->potential, &start->samples)) != EXIT_CODE_OK)
        return code;
    if ((code = app_open(app)) != EXIT_CODE_OK) return code;
    return virial_check(app, &start->potential, start->samples.shape[0], start->samples.data);
}

static exit_code open_model(cli_app *app, anneal_flags *flags, anneal_start *start, eqf_potential_options *target_out) {
    exit_code code = flow_flags_load(app, flags->start_path, &start->model);
    if (code != EXIT_CODE_OK) return code;
    *target_out = eqf_model_options_of(start->model)->potential;
    start->preset = eqf_model_options_of(start->model)->preset;
    if ((code = system_apply(app, &flags->target, target_out)) != EXIT_CODE_OK ||
        (code = app_open(app)) != EXIT_CODE_OK)
        return code;
    eqf_status status = eqf_flow_create(app->ctx, start->model, &flags->flow_options, &start->flow);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

exit_code cmd_anneal(cli_app *app) {
    const char *const operands[] = {"START", NULL};
    const command_help help = {
        .usage = "MODEL|SAMPLES [-n COUNT] [-o FILE.npy] [options]",
        .description = "Unbiased averages and ln Z from any start, however bad: annealed sequential Monte Carlo from a "
                       "model's density (or from samples of a preset's equilibrium) to the target, E_beta = (1 - beta) "
                       "E_start + beta u. Walkers are reweighted, resampled and moved while beta goes from 0 to 1; a "
                       "pilot run chooses the steps; independent repeats give the errors.",
        .operands = operands,
        .examples = "  eqflow anneal lj13.safetensors -o x.npy\n"
                    "  eqflow anneal dw4.safetensors --temperature 1.2 --steps steps.csv\n"
                    "  eqflow anneal dw4.npy --preset dw4 --temperature 0.8\n"
                    "  eqflow anneal gas.npy --preset lj55 --from epsilon=0 -o x.npy\n",
    };
    anneal_flags flags;
    cli_option options[OPTIONS_MAX];
    const size_t num_options = anneal_flags_options(&flags, options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.start_path = words[0];
    if ((code = anneal_flags_check(app, &flags)) != EXIT_CODE_OK) return code;
    anneal_start start = {.samples = EQF_ARRAY_INIT, .preset = ""};
    eqf_potential_options target = EQF_POTENTIAL_OPTIONS_INIT;
    code = flags.preset_name ? open_samples(app, &flags, &start, &target) : open_model(app, &flags, &start, &target);
    if (code == EXIT_CODE_OK && (code = system_verify(app, &target)) == EXIT_CODE_OK)
        code = anneal(app, &flags, &start, &target);
    clear_start(&start);
    return code;
}
