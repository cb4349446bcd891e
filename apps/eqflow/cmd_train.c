#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "files.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "system.h"
#include "train_data.h"
#include "train_flags.h"
#include "train_stages.h"
#include "words.h"
#include "work.h"

static const double slice_seconds = 0.2;  /* between checks of signals and clock */
static const double save_seconds = 2;     /* least time between two writes of an improving model */
/* The number of round trips from which the integration steps are chosen. */
enum { MOST_ROUND_TRIPS = 1000, FEWEST_ROUND_TRIPS = 48, LARGE = 16 };

/* ---- Options of the model ----------------------------------------------------- */

static exit_code fill_model_options(cli_app *app, const train_flags *flags, const train_data *data,
                                    eqf_model_options *options) {
    options->seed = app->seed;
    if (flags->start) {
        train_start_fill(flags, options);
        return EXIT_CODE_OK;
    }
    if (flags->is_integration_steps_set) options->integrator.num_steps = (unsigned)flags->integration_steps;
    exit_code code = train_flags_dynamics(app, flags, &options->dynamics);
    if (code == EXIT_CODE_OK) code = train_flags_prior(app, flags, options);
    if (code != EXIT_CODE_OK) return code;
    if (flags->has_prior_scale_of_data) {
        options->prior_scale = train_data_scale(data, &options->potential);
        if (!(options->prior_scale > 0)) {
            return app_fail(app, EXIT_CODE_INPUT, "--prior-scale data: all configurations are a single point");
        }
        if (options->prior_scale < 1e-6 || options->prior_scale > 1e6) {
            return app_fail(app, EXIT_CODE_INPUT,
                            "--prior-scale data: the data's scale is %.3g, beyond 1e-6 ... 1e6: measure lengths by the "
                            "distance of neighbours, or give --prior-scale X",
                            options->prior_scale);
        }
        app_note(app, "prior scale %.6g, the data's", options->prior_scale);
    } else if (flags->prior_scale) {
        options->prior_scale = flags->prior_scale_value;
    }
    return EXIT_CODE_OK;
}

/* ---- Files of a run --------------------------------------------------------------------------- */

static void print_cell(FILE *stream, double value) {
    if (isfinite(value)) fprintf(stream, "%.9g", value); /* else the cell is empty: not measured */
}

static exit_code write_csv(cli_app *app, const train_flags *flags, const train_plan *plan, const eqf_model *model) {
    char *text = NULL;
    size_t size = 0, num_rows;
    const eqf_history_row *rows = eqf_model_history(model, &num_rows);
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    /* Columns of losses that no stage has are left out. */
    fprintf(stream, "step,seconds,loss,nll,held_out_nll,gradient_norm,learning_rate%s%s%s\n",
            plan->has_free_energy ? ",free_energy,held_out_free_energy" : "",
            plan->has_flow_matching ? ",flow_matching,held_out_flow_matching" : "",
            plan->has_dispersion ? ",dispersion,held_out_dispersion" : "");
    for (size_t i = 0; i < num_rows; i++) {
        const struct {
            double value;
            bool is_there;
        } cells[] = {{rows[i].seconds, true},
                     {rows[i].loss, true},
                     {rows[i].nll, true},
                     {rows[i].held_out_nll, true},
                     {rows[i].gradient_norm, true},
                     {rows[i].learning_rate, true},
                     {rows[i].free_energy, plan->has_free_energy},
                     {rows[i].held_out_free_energy, plan->has_free_energy},
                     {rows[i].flow_matching, plan->has_flow_matching},
                     {rows[i].held_out_flow_matching, plan->has_flow_matching},
                     {rows[i].dispersion, plan->has_dispersion},
                     {rows[i].held_out_dispersion, plan->has_dispersion}};
        fprintf(stream, "%" PRIu64, rows[i].step);
        for (size_t j = 0; j < sizeof cells / sizeof cells[0]; j++) {
            if (!cells[j].is_there) continue;
            fputc(',', stream);
            print_cell(stream, cells[j].value);
        }
        fputc('\n', stream);
    }
    exit_code code = fclose(stream) == 0 ? files_write(app, flags->csv_path, text, size)
                                         : app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    free(text);
    return code;
}

static exit_code write_model(cli_app *app, const train_flags *flags, const train_plan *plan, const eqf_model *model) {
    eqf_status status = eqf_model_save(app->ctx, model, flags->model_path);
    return status == EQF_OK ? write_csv(app, flags, plan, model) : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* The best model so far and the log beside it. */
static exit_code save_model(cli_app *app, const train_flags *flags, const train_plan *plan, eqf_trainer *trainer) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    eqf_model *model = NULL;
    eqf_status status = eqf_trainer_best_model(trainer, &model);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = write_model(app, flags, plan, model);
    eqf_model_destroy(&model);
    return code;
}

/* The number of integration steps of the trained model. */
typedef struct train_steps {
    unsigned num_steps;
    eqf_round_trip error; /* NaN: not measured */
} train_steps;

static const train_steps not_measured = {0, {NAN, NAN}};

/* A batched field needs N^3 operations for a divergence, so that with many particles there are fewer trips. */
static size_t count_round_trips(const eqf_model_options *options) {
    const double size = options->potential.num_particles / (double)LARGE;
    if (!eqf_dynamics_kind_describe(options->dynamics.kind)->is_batched || size <= 1) return MOST_ROUND_TRIPS;
    return (size_t)fmax(FEWEST_ROUND_TRIPS, MOST_ROUND_TRIPS / (size * size * size));
}

/* Unless the command line gives them, chooses the integration steps by the errors of prior -> data -> prior. */
static exit_code choose_steps(cli_app *app, const train_flags *flags, const eqf_training_options *options,
                              eqf_model *model, train_steps *steps_out) {
    const eqf_model_options *of_model = eqf_model_options_of(model);
    const eqf_dynamics_kind_info *field = eqf_dynamics_kind_describe(of_model->dynamics.kind);
    const eqf_round_trip tolerance = {field->coordinate_tolerance, field->log_prob_tolerance};
    const unsigned trained_steps = of_model->integrator.num_steps;
    *steps_out = not_measured;
    steps_out->num_steps = trained_steps;
    if (flags->is_integration_steps_set) return EXIT_CODE_OK;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = options->field_evaluation;
    if (field->has_estimates) {
        flow_options.divergence = EQF_DIVERGENCE_RADEMACHER; /* the cheapest; coordinates do not depend on it */
    }
    cli_progress progress;
    progress_wait(&progress, app, "choosing the integration steps");
    eqf_status status =
        eqf_flow_choose_steps(app->ctx, model, &flow_options, app_seed_for(app->seed, "round trip"),
                              count_round_trips(of_model), &tolerance, &steps_out->num_steps, &steps_out->error);
    progress_end(&progress);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (!(steps_out->error.coordinate <= tolerance.coordinate)) {
        if (isfinite(steps_out->error.coordinate)) {
            app_warn(app,
                     "prior -> data -> prior comes back within %.1e only, with %u integration steps: train longer or "
                     "with a larger --integration-penalty",
                     steps_out->error.coordinate, steps_out->num_steps);
        } else {
            app_warn(app,
                     "some samples of the trained flow are not finite: train longer or with a lower --learning-rate");
        }
        *steps_out = not_measured;
        steps_out->num_steps = trained_steps;
    }
    status = eqf_model_set_num_steps(app->ctx, model, steps_out->num_steps);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* Chooses the integration steps, then writes the final model and the log. */
static exit_code save_last_model(cli_app *app, const train_flags *flags, const train_plan *plan,
                                 eqf_trainer *trainer, train_steps *steps_out) {
    eqf_model *model = NULL;
    eqf_status status = eqf_trainer_best_model(trainer, &model);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = choose_steps(app, flags, &plan->stages[plan->num_stages - 1], model, steps_out);
    if (code == EXIT_CODE_OK && app_is_first(app)) code = write_model(app, flags, plan, model);
    eqf_model_destroy(&model);
    return code;
}

static exit_code save_checkpoint(cli_app *app, const train_flags *flags, eqf_trainer *trainer) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    eqf_status status = eqf_trainer_save_checkpoint(trainer, flags->checkpoint_path);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* ---- The loop --------------------------------------------------------------------------------- */

static exit_code interrupt(cli_app *app, const train_flags *flags, eqf_trainer *trainer, uint64_t step,
                           uint64_t num_steps) {
    exit_code code = save_checkpoint(app, flags, trainer);
    if (code != EXIT_CODE_OK) return code;
    char *command = app_command_line(app, "--resume");
    app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted at step %" PRIu64 " of %" PRIu64 "; resume with: %s", step,
             num_steps, command ? command : "the same command and --resume");
    free(command);
    return EXIT_CODE_INTERRUPTED;
}

static exit_code diverge(cli_app *app, const train_flags *flags, const train_plan *plan, eqf_trainer *trainer,
                         bool has_best, uint64_t best_step) {
    char message[1200];
    char reason[1024];
    words_translate(eqf_context_error(app->ctx), reason, sizeof reason);
    snprintf(message, sizeof message, "%s%s", reason,
             strstr(reason, "diverged") ? "" : ": training diverged; try a lower --learning-rate");
    if (!has_best) return app_fail(app, EXIT_CODE_DIVERGED, "%s; no model was written", message);
    exit_code code = save_model(app, flags, plan, trainer);
    if (code != EXIT_CODE_OK) return code;
    return app_fail(app, EXIT_CODE_DIVERGED, "%s; the best model so far (step %" PRIu64 ") is in %s", message,
                    best_step, flags->model_path);
}

/* A stage's name for the user. */
static const char *stage_words(const char *name) {
    return strcmp(name, "flow_matching") == 0 ? "flow matching" : strcmp(name, "free_energy") == 0 ? "energy" : name;
}

static void show_progress(cli_progress *progress, const eqf_training_state *state) {
    char detail[160];
    size_t length = 0;
    if (state->num_stages > 1)
        length = (size_t)snprintf(detail, sizeof detail, "%s (%u of %u) ", stage_words(state->stage_name),
                                  state->stage + 1, state->num_stages);
    const struct {
        const char *label;
        double value;
    } parts[] = {{"nll", state->nll},
                 {"held-out", state->held_out_nll},
                 {"free energy", state->free_energy},
                 {"held-out", state->held_out_free_energy},
                 {"loss", state->flow_matching},
                 {"held-out", state->held_out_flow_matching},
                 {"dispersion", state->dispersion},
                 {"held-out", state->held_out_dispersion}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!isfinite(parts[i].value) || length >= sizeof detail) continue;
        length += (size_t)snprintf(detail + length, sizeof detail - length, "%s %.4f ", parts[i].label, parts[i].value);
    }
    if (length < sizeof detail) snprintf(detail + length, sizeof detail - length, "|g| %.2g", state->gradient_norm);
    progress_update(progress, (double)state->step, (double)state->num_steps, detail);
}

static exit_code run_training(cli_app *app, const train_flags *flags, const train_plan *plan,
                              eqf_trainer *trainer, eqf_training_state *state) {
    cli_progress progress;
    progress_begin(&progress, app, "train", "steps");
    double start = app_seconds(), last_save = start, last_checkpoint = start;
    uint64_t slice = 1, last_validations = 0, saved_best_step = 0;
    unsigned last_stage = 0;
    exit_code code = EXIT_CODE_OK;
    bool is_unsaved = false; /* the best model or the history is newer than the files */
    while (!state->is_done && code == EXIT_CODE_OK) {
        double before = app_seconds();
        eqf_status status = eqf_trainer_advance(trainer, slice, state);
        /* After the first step a signal ends training between two steps, however long they are, with a checkpoint. */
        signals_give_time();
        double now = app_seconds();
        if (status == EQF_ERROR_NON_FINITE) {
            progress_end(&progress);
            return diverge(app, flags, plan, trainer, state->best_step > 0, state->best_step);
        }
        if (status != EQF_OK) {
            code = app_fail_status(app, status, ACTIVITY_TRAIN);
            break;
        }
        show_progress(&progress, state);
        /* All ranks stop at the same step and do the same number of steps at a time, by the clock of the first rank. */
        bool is_stopped = signals_is_stop_requested();
        bool is_short = app_is_first(app) && now - before < slice_seconds / 2;
        bool is_long = app_is_first(app) && now - before > slice_seconds * 2;
        if ((code = app_any(app, &is_stopped)) != EXIT_CODE_OK || (code = app_any(app, &is_short)) != EXIT_CODE_OK ||
            (code = app_any(app, &is_long)) != EXIT_CODE_OK) {
            break;
        }
        if (is_stopped && !state->is_done) {
            progress_end(&progress);
            return interrupt(app, flags, trainer, state->step, state->num_steps);
        }
        const uint64_t validations = state->stage_step / plan->stages[state->stage].validation_interval;
        const bool has_validated = state->stage != last_stage || validations != last_validations;
        last_stage = state->stage;
        last_validations = validations;
        if (has_validated && state->best_step > 0) is_unsaved = true;
        if (is_unsaved && !state->is_done && (saved_best_step == 0 || now - last_save > save_seconds)) {
            code = save_model(app, flags, plan, trainer);
            saved_best_step = state->best_step;
            last_save = now;
            is_unsaved = false;
        }
        if (code == EXIT_CODE_OK && !state->is_done && now - last_checkpoint >= flags->checkpoint_seconds) {
            code = save_checkpoint(app, flags, trainer);
            last_checkpoint = now;
        }
        if (is_short && slice < 1024) slice *= 2;
        if (is_long && slice > 1) slice /= 2;
    }
    progress_end(&progress);
    return code;
}

static exit_code print_result(cli_app *app, const train_flags *flags, const eqf_preset *preset, const train_data *data,
                              const eqf_model *start, const train_plan *plan,
                              const eqf_training_state *state, const train_steps *steps) {
    char note[64] = "", energy_note[64] = "";
    if (isfinite(preset->entropy)) {
        snprintf(note, sizeof note, "(the target's entropy is %g)", preset->entropy);
        snprintf(energy_note, sizeof energy_note, "(-ln Z of the target is %g)", -preset->log_z);
    }
    const eqf_training_options *options = &plan->stages[plan->num_stages - 1];
    const bool has_nll = plan->has_nll, has_free_energy = plan->has_free_energy,
               has_data = has_nll || plan->has_flow_matching;
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "output", "model in", flags->model_path);
    output_text(&output, "log", "training log in", flags->csv_path);
    output_text(&output, "preset", "preset", preset->name);
    output_text(&output, "loss", "loss", plan->num_stages > 1 ? "stages" : flags->loss_name);
    output_count(&output, "num_stages", plan->num_stages > 1 ? "stages" : NULL, plan->num_stages);
    output_count(&output, "num_train", has_data ? "training samples" : NULL, data->num_train);
    output_count(&output, "num_held_out", has_data ? "held-out samples" : NULL, data->num_held_out);
    output_count(&output, "batch_size", has_data ? "samples a step" : NULL, has_data ? options->batch_size : 0);
    output_count(&output, "num_params", "trained parameters", eqf_model_num_trained(start));
    output_count(&output, "seed", "seed", app->seed);
    output_count(&output, "num_steps", "steps", state->step);
    output_count(&output, "best_step", "best model at step", state->best_step);
    output_number(&output, "held_out_nll", has_nll ? "its held-out NLL (nats)" : NULL, state->best_held_out_nll,
                  note[0] ? note : NULL);
    output_number(&output, "nll", has_nll ? "NLL of the last batches (nats)" : NULL, state->nll, NULL);
    output_number(&output, "held_out_free_energy", has_free_energy ? "its free energy (nats)" : NULL,
                  state->best_held_out_free_energy, energy_note[0] ? energy_note : NULL);
    output_number(&output, "free_energy", has_free_energy ? "free energy of the last batches" : NULL,
                  state->free_energy, NULL);
    output_number(&output, "held_out_flow_matching",
                  plan->has_flow_matching && !has_nll ? "its flow-matching loss" : NULL,
                  state->best_held_out_flow_matching, NULL);
    output_count(&output, "integration_steps", "integration steps from now on", steps->num_steps);
    output_number(&output, "round_trip_error",
                  isfinite(steps->error.coordinate) ? "prior -> data -> prior within" : NULL, steps->error.coordinate,
                  NULL);
    output_number(&output, "round_trip_log_prob",
                  isfinite(steps->error.log_prob) ? "  log-densities within (nats)" : NULL, steps->error.log_prob,
                  NULL);
    output_number(&output, "seconds", "training time (s)", state->seconds, NULL);
    code = output_finish(&output);
    if (code == EXIT_CODE_OK) {
        const bool is_own = system_has_text(&eqf_model_options_of(start)->potential);
        app_note(app, "next: eqflow evaluate %s --report report.html%s", flags->model_path,
                 is_own ? " --trust-potential" : "");
    }
    return code;
}

static exit_code start_or_resume(cli_app *app, const train_flags *flags, eqf_trainer *trainer) {
    if (flags->is_resumed) {
        eqf_status status = eqf_trainer_restore_checkpoint(trainer, flags->checkpoint_path);
        return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_READ);
    }
    if (files_exists(flags->checkpoint_path)) {
        app_note(app, "%s is of an earlier run and will be replaced; stop now and add --resume to go on with it",
                 flags->checkpoint_path);
    }
    return EXIT_CODE_OK;
}

static exit_code train(cli_app *app, const train_flags *flags, const eqf_preset *preset,
                       const eqf_potential_options *potential) {
    train_data data = {.x = NULL};
    eqf_model *model = NULL;
    eqf_trainer *trainer = NULL;
    eqf_model_options model_options = EQF_MODEL_OPTIONS_INIT;
    train_plan *plan = NULL;
    eqf_training_state state = {
        .struct_size = sizeof state, .best_held_out_nll = NAN, .best_held_out_free_energy = NAN};
    train_steps steps = not_measured;
    eqf_status status;
    cli_progress progress;
    status = eqf_preset_model_options(preset, flags->field_value, &model_options);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    model_options.potential = *potential;

    exit_code code = train_data_get(app, flags, preset, potential, &data);
    if (code != EXIT_CODE_OK) goto done;
    if ((code = fill_model_options(app, flags, &data, &model_options)) != EXIT_CODE_OK) goto done;
    plan = app_alloc(app, 1, sizeof *plan, "the stages");
    code = plan != NULL ? train_plan_make(app, flags, preset, data.num_train, plan) : EXIT_CODE_DEVICE;
    if (code != EXIT_CODE_OK) goto done;
    status = eqf_model_create(app->ctx, &model_options, &model);
    if (status == EQF_OK && flags->start)
        status = eqf_model_set_params(app->ctx, model, eqf_model_params(flags->start));
    if (status == EQF_OK) {
        progress_wait(&progress, app, "building kernels for this device");
        const eqf_training_options *stages[TRAIN_MAX_STAGES];
        for (unsigned stage = 0; stage < plan->num_stages; stage++) stages[stage] = &plan->stages[stage];
        status = eqf_trainer_create_stages(app->ctx, model, plan->num_stages, stages, data.num_train,
                                    data.x ? data.x + data.num_held_out * data.num_dof : NULL, data.num_held_out,
                                    data.x, &trainer);
        progress_end(&progress);
    }
    if (status != EQF_OK) {
        code = app_fail_status(app, status, ACTIVITY_COMPUTE);
        goto done;
    }
    if ((code = start_or_resume(app, flags, trainer)) != EXIT_CODE_OK) goto done;
    if ((code = run_training(app, flags, plan, trainer, &state)) != EXIT_CODE_OK) goto done;
    if ((code = save_last_model(app, flags, plan, trainer, &steps)) != EXIT_CODE_OK) goto done;
    if (app_is_first(app) && unlink(flags->checkpoint_path) != 0 && errno != ENOENT) {
        app_warn(app, "the checkpoint %s is no longer needed but could not be removed: %s", flags->checkpoint_path,
                 strerror(errno));
    }
    code = print_result(app, flags, preset, &data, model, plan, &state, &steps);
done:
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    free(plan);
    free(data.x);
    return code;
}

static exit_code check_files_and_train(cli_app *app, const train_flags *flags, const eqf_preset *chosen) {
    exit_code code = files_check_writable(app, flags->model_path, "the model");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->csv_path, "the training log");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->checkpoint_path, "the checkpoint");
    /* Of two runs that write one checkpoint, each would resume from the other's. */
    if (code == EXIT_CODE_OK) code = files_lock(app, flags->model_path, "the model");
    if (code == EXIT_CODE_OK) code = files_lock(app, flags->checkpoint_path, "the checkpoint");
    return code == EXIT_CODE_OK ? train(app, flags, chosen, &chosen->model->potential) : code;
}

exit_code cmd_train(cli_app *app) {
    train_flags flags;
    eqf_preset chosen;
    exit_code code;
    if (train_flags_read(app, &flags, &chosen, &code)) code = check_files_and_train(app, &flags, &chosen);
    eqf_model_destroy(&flags.start);
    return code;
}
