#include "data_replica.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "eqflow/minima.h"
#include "files.h"
#include "output.h"
#include "progress.h"
#include "sample_files.h"
#include "signals.h"
#include "work.h"

/* Options of the ladders. */
static size_t ladder_options(replica_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Replica exchange in temperature"},
        {.kind = OPTION_COUNT,
         .name = "replicas",
         .argument = "COUNT",
         .value = &flags->num_temperatures,
         .is_set = &flags->is_num_temperatures_set,
         .low = 2,
         .high = EQF_REPLICA_MAX_TEMPERATURES,
         .default_text = "none",
         .help = "temperatures of each ladder, from the system's to the highest"},
        {.kind = OPTION_NUMBER,
         .name = "highest-temperature",
         .argument = "X",
         .value = &flags->highest,
         .is_set = &flags->is_highest_set,
         .low = DBL_MIN,
         .high = 1e6,
         .default_text = "4 times the system's",
         .help = "of the ladder"},
        {.kind = OPTION_LIST,
         .name = "to",
         .argument = "NAME=X",
         .value = &flags->to,
         .default_text = "none",
         .help = "exchange in lambda: a constant that goes in equal steps from the system's to X; once for each"},
        {.kind = OPTION_COUNT,
         .name = "ladders",
         .argument = "COUNT",
         .value = &flags->num_ladders,
         .is_set = &flags->is_num_ladders_set,
         .low = 2,
         .high = 1e6,
         .default_text = "chosen from -n",
         .help = "independent ladders, an even number; errors are from their spread"},
        {.kind = OPTION_COUNT,
         .name = "exchange-interval",
         .argument = "SWEEPS",
         .value = &flags->exchange_interval,
         .is_set = &flags->is_exchange_interval_set,
         .low = 1,
         .high = 1e6,
         .default_text = "10",
         .help = "between exchanges"},
    };
    return OPTIONS_PUT(options_out, rows);
}

/* Options of the ladders' starts and of files. */
static size_t file_options(replica_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .name = "start",
         .argument = "HOW",
         .value = &flags->start,
         .default_text = "minimum where known",
         .help =
             "of every second ladder: gas, minimum (the preset's lowest), or a file whose first configuration it is"},
        {.kind = OPTION_TEXT,
         .name = "each",
         .argument = "FILE_%.npy",
         .value = &flags->each_path,
         .help = "the samples of every temperature, % its number from 0"},
        {.kind = OPTION_TEXT,
         .name = "ladder",
         .argument = "FILE.csv",
         .value = &flags->ladder_path,
         .help = "what each temperature gave: acceptance, exchanges, mean energy, heat capacity"},
    };
    return OPTIONS_PUT(options_out, rows);
}

size_t replica_options(replica_flags *flags, cli_option options_out[]) {
    const size_t num = ladder_options(flags, options_out);
    return num + file_options(flags, options_out + num);
}

exit_code replica_check(cli_app *app, const replica_flags *flags) {
    const struct {
        bool is_given;
        const char *name;
    } others[] = {{flags->is_highest_set, "highest-temperature"},
                  {flags->is_num_ladders_set, "ladders"},
                  {flags->is_exchange_interval_set, "exchange-interval"},
                  {flags->start, "start"},
                  {flags->to.num_texts > 0, "to"},
                  {flags->each_path, "each"},
                  {flags->ladder_path, "ladder"}};
    for (size_t o = 0; o < sizeof others / sizeof others[0] && !flags->is_num_temperatures_set; o++)
        if (others[o].is_given)
            return app_fail(app, EXIT_CODE_USAGE, "--%s belongs to --replicas, which is missing", others[o].name);
    if (flags->num_ladders % 2 != 0)
        return app_fail(app, EXIT_CODE_USAGE, "--ladders must be an even number: half of them begin elsewhere");
    if (flags->each_path &&
        (!strchr(flags->each_path, '%') || strchr(flags->each_path, '%') != strrchr(flags->each_path, '%')))
        return app_fail(app, EXIT_CODE_USAGE, "--each %s: needs one %% in its place for the number of the temperature",
                        flags->each_path);
    return EXIT_CODE_OK;
}

static bool is_start_file(const replica_flags *flags) {
    return flags->start && strcmp(flags->start, "gas") != 0 && strcmp(flags->start, "minimum") != 0;
}

/* The bytes of a file name of --each. */
static size_t each_size(const replica_flags *flags) {
    return strlen(flags->each_path) + 8;
}

/* The file of --each for temperature k: path_out [each_size]. */
static void name_each(const replica_flags *flags, unsigned k, char *path_out) {
    const char *number = strchr(flags->each_path, '%');
    snprintf(path_out, each_size(flags), "%.*s%u%s", (int)(number - flags->each_path), flags->each_path, k, number + 1);
}

exit_code replica_uses(cli_app *app, const replica_flags *flags, files_use uses_out[]) {
    for (unsigned u = 0; u < REPLICA_NUM_USES; u++) uses_out[u] = (files_use){.path = NULL};
    uses_out[0] = (files_use){"--ladder", flags->ladder_path, FILES_WRITTEN};
    uses_out[1] = (files_use){"--start", is_start_file(flags) ? flags->start : NULL, FILES_READ};
    if (!flags->each_path) return EXIT_CODE_OK;
    char *names = app_alloc(app, (size_t)flags->num_temperatures, each_size(flags), "the files' names");
    if (!names) return EXIT_CODE_DEVICE;
    app_keep(app, names);
    for (unsigned k = 0; k < flags->num_temperatures; k++) {
        char *name = names + k * each_size(flags);
        name_each(flags, k, name);
        uses_out[2 + k] = (files_use){"--each", name, FILES_NUMPY};
    }
    return EXIT_CODE_OK;
}

exit_code replica_check_writable(cli_app *app, const replica_flags *flags) {
    exit_code code = files_check_writable(app, flags->ladder_path, "the ladder");
    if (code != EXIT_CODE_OK || !flags->each_path) return code;
    char *name = app_alloc(app, each_size(flags), 1, "a file's name");
    if (!name) return EXIT_CODE_DEVICE;
    for (unsigned k = 0; k < flags->num_temperatures && code == EXIT_CODE_OK; k++) {
        name_each(flags, k, name);
        code = files_check_writable(app, name, "the samples");
    }
    free(name);
    return code;
}

/* ---- The start --------------------------------------------------------------------------------------------------- */

static exit_code quench_structure(cli_app *app, const eqf_potential_options *potential, float *start) {
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    double *x = app_alloc(app, num_dof, sizeof *x, "the start");
    if (!x) return EXIT_CODE_DEVICE;
    eqf_quench_result result;
    const eqf_status status = eqf_minima_quench(app->ctx, potential, NULL, 1, start, x, NULL, NULL, &result, NULL);
    for (size_t c = 0; c < num_dof && status == EQF_OK; c++) start[c] = (float)x[c];
    free(x);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* *has_start_out false: all ladders begin as gas. start [N, D]. */
static exit_code find_start(cli_app *app, const replica_flags *flags, const eqf_preset *preset, float *start,
                            bool *has_start_out) {
    const eqf_potential_options *potential = &preset->model->potential;
    const bool is_minimum = !flags->start || strcmp(flags->start, "minimum") == 0;
    *has_start_out = false;
    if (flags->start && strcmp(flags->start, "gas") == 0) return EXIT_CODE_OK;
    if (is_minimum) {
        const eqf_preset *known = eqf_preset_find(preset->name);
        *has_start_out = known && known->model->potential.num_particles == potential->num_particles &&
                         known->model->potential.space_dim == potential->space_dim &&
                         eqf_preset_minimum_structure(known, start);
        if (*has_start_out) return quench_structure(app, potential, start);
        if (!flags->start) return EXIT_CODE_OK;
        return app_fail(app, EXIT_CODE_USAGE,
                        "--start minimum: none is known of this system; give gas, or a file with one");
    }
    eqf_array array = EQF_ARRAY_INIT;
    const exit_code code = work_read_configurations(app, flags->start, potential, &array);
    if (code != EXIT_CODE_OK) return code;
    memcpy(start, array.data, (size_t)potential->num_particles * potential->space_dim * sizeof *start);
    *has_start_out = true;
    eqf_array_clear(&array);
    return EXIT_CODE_OK;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static exit_code write_each(cli_app *app, const replica_flags *flags, const replica_request *request,
                            const eqf_potential_options *potential, unsigned num_temperatures, float *x) {
    if (!flags->each_path) return EXIT_CODE_OK;
    const size_t row = (size_t)potential->num_particles * potential->space_dim;
    char *path = app_alloc(app, each_size(flags), 1, "a file's name");
    exit_code code = path ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    for (unsigned k = 0; k < num_temperatures && code == EXIT_CODE_OK; k++) {
        name_each(flags, k, path);
        const sample_files files = {.x = path};
        const sample_set set = {.potential = potential, .num = request->num, .x = x + k * request->num * row};
        code = sample_files_write(app, &files, &set);
    }
    free(path);
    return code;
}

/* ---- Results ----------------------------------------------------------------------------------------------------- */

static json_t *temperature_json(const eqf_replica_temperature *at, const eqf_replica_log_z *z) {
    json_t *row = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "temperature", output_real(at->temperature),
        "acceptance", output_real(at->acceptance), "step_size", output_real(at->step_size), "swap_acceptance",
        output_real(at->swap_acceptance), "mean_energy", output_real(at->mean_energy), "mean_energy_standard_error",
        output_real(at->mean_energy_standard_error), "heat_capacity", output_real(at->heat_capacity),
        "heat_capacity_standard_error", output_real(at->heat_capacity_standard_error), "mean_energy_from_gas",
        output_real(at->start_means[0]), "mean_energy_from_gas_standard_error",
        output_real(at->start_standard_errors[0]), "mean_energy_from_start", output_real(at->start_means[1]),
        "mean_energy_from_start_standard_error", output_real(at->start_standard_errors[1]));
    json_object_set_new(row, "log_z", output_real(z->log_z));
    json_object_set_new(row, "log_z_standard_error", output_real(z->standard_error));
    json_object_set_new(row, "log_z_from_gas", output_real(z->start_log_z[0]));
    json_object_set_new(row, "log_z_from_gas_standard_error", output_real(z->start_standard_errors[0]));
    json_object_set_new(row, "log_z_from_start", output_real(z->start_log_z[1]));
    json_object_set_new(row, "log_z_from_start_standard_error", output_real(z->start_standard_errors[1]));
    return row;
}

static void print_ladder(cli_app *app, cli_output *output, const replica_flags *flags,
                         const eqf_potential_options *states, const eqf_replica_diagnostics *d) {
    json_t *all = json_array();
    const bool is_lambda = flags->to.num_texts > 0;
    output_line(output, "%11s %10s %10s %13s    %-9s %10s", is_lambda ? "lambda" : "temperature", "accepted",
                "exchanged", "mean energy", "", "C / k");
    for (unsigned k = 0; k < d->num_temperatures; k++) {
        const eqf_replica_temperature *at = &d->at[k];
        char texts[7][32];
        output_line(output, "%11s %10s %10s %13s +- %-9s %10s +- %s",
                    output_format(is_lambda ? (double)k / (d->num_temperatures - 1) : at->temperature, texts[0]),
                    output_format(at->acceptance, texts[1]), output_format(at->swap_acceptance, texts[2]),
                    output_format(at->mean_energy, texts[3]), output_format(at->mean_energy_standard_error, texts[4]),
                    output_format(at->heat_capacity, texts[5]),
                    output_format(at->heat_capacity_standard_error, texts[6]));
        json_t *row = temperature_json(at, &d->log_z[k]);
        replica_add_constants(app, flags, &states[k], row);
        json_array_append_new(all, row);
    }
    output_json(output, "temperatures", all);
}

/* Prints warnings about doubtful figures. */
static void speak(cli_app *app, const eqf_replica_diagnostics *d) {
    for (unsigned k = 0; k + 1 < d->num_temperatures; k++)
        if (d->at[k].swap_acceptance < 0.05) {
            app_warn(app, "only %.1f %% of the exchanges of chains %u and %u of a ladder are taken: raise --replicas",
                     100 * d->at[k].swap_acceptance, k, k + 1);
            return;
        }
    if (d->num_round_trips < d->num_ladders)
        app_warn(app,
                 "%.0f round trips from one end of the ladder to the other and back in %u ladders are few: raise "
                 "--thinning or "
                 "--replicas",
                 d->num_round_trips, d->num_ladders);
}

/* Tests whether there is an equilibrium: exp(-u) can be normalised only if u grows faster than (N-1) D ln r when all
 * particles fly apart, and faster than D ln r when one leaves. This is tested between a thousand and ten thousand times
 * the size of x [N*D], as in the diagnostics of plain chains (docs/sampling.md). potential has the highest
 * temperature. */
static exit_code find_bound(cli_app *app, const eqf_potential_options *potential, const float *x, bool *is_bound_out) {
    enum { NUM_PLACES = 4 }; /* all apart at both distances; one away at both distances */
    const unsigned N = potential->num_particles, D = potential->space_dim, num_dof = N * D;
    const double near = 1e3, far = 1e4;
    double squares = 0;
    float energy[NUM_PLACES], *moved = app_alloc(app, NUM_PLACES, num_dof * sizeof *moved, "four configurations");
    *is_bound_out = true;
    if (!moved) return EXIT_CODE_DEVICE;
    for (unsigned c = 0; c < num_dof; c++) squares += (double)x[c] * x[c] / N;
    for (unsigned place = 0; place < NUM_PLACES; place++) {
        const double factor = place % 2 == 0 ? near : far;
        for (unsigned c = 0; c < num_dof; c++) {
            const double away = c < D ? factor * fmax(sqrt(squares), 1e-6) : 0;
            moved[place * num_dof + c] = (float)(place < 2 ? factor * (double)x[c] : (double)x[c] + away);
        }
    }
    const eqf_status status = eqf_potential_evaluate(app->ctx, potential, NUM_PLACES, moved, energy, NULL);
    free(moved);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    for (unsigned way = 0; way < 2; way++) {
        const double needed = log(far / near) * D * (way == 0 ? N - 1 : 1);
        const double grown = (double)energy[2 * way + 1] - (double)energy[2 * way];
        if (isfinite(energy[2 * way]) && isfinite(energy[2 * way + 1]) && grown < needed) *is_bound_out = false;
    }
    return EXIT_CODE_OK;
}

static exit_code require_bound(cli_app *app, const eqf_potential_options *potential, double highest_temperature,
                               const float *x, const char *path) {
    eqf_potential_options hottest = *potential;
    hottest.temperature = fmax(highest_temperature, potential->temperature);
    bool is_bound;
    const exit_code code = find_bound(app, &hottest, x, &is_bound);
    if (code != EXIT_CODE_OK || is_bound) return code;
    return app_fail(
        app, EXIT_CODE_NO_EQUILIBRIUM,
        "nothing holds the particles together: their energy grows too slowly with distance for an equilibrium to "
        "exist; add a trap (--trap, or a term in the potential); the samples are in %.1000s all the same",
        path);
}

static exit_code print_result(cli_app *app, const replica_flags *flags, const replica_request *request,
                              const eqf_preset *preset, const eqf_potential_options *states,
                              const eqf_replica_diagnostics *d) {
    const eqf_potential_options *potential = &preset->model->potential;
    char note[64] = "";
    if (isfinite(preset->mean_energy)) snprintf(note, sizeof note, "(known: %g)", preset->mean_energy);
    cli_output output;
    const exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "output", "samples in", request->path);
    output_text(&output, "energies_output", request->energies_path ? "energies in" : NULL, request->energies_path);
    output_text(&output, "each_output", flags->each_path ? "of every temperature in" : NULL, flags->each_path);
    output_text(&output, "ladder_output", flags->ladder_path ? "the ladder in" : NULL, flags->ladder_path);
    output_text(&output, "preset", "preset", preset->name);
    output_count(&output, "num_samples", "samples at each temperature", request->num);
    output_count(&output, "num_particles", "particles", potential->num_particles);
    output_count(&output, "space_dim", "dimensions of space", potential->space_dim);
    output_count(&output, "seed", "seed", app->seed);
    output_count(&output, "num_ladders", "ladders", d->num_ladders);
    output_count(&output, "num_burn_in", "burn-in (sweeps)", d->num_burn_in);
    output_count(&output, "thinning", "thinning (sweeps)", d->thinning);
    output_count(&output, "exchange_interval", "exchange interval (sweeps)", d->exchange_interval);
    output_count(&output, "num_sweeps", "sweeps of each chain", d->num_sweeps);
    output_number(&output, "num_round_trips", "round trips", d->num_round_trips, NULL);
    output_number(&output, "largest_start_difference", "two starts differ by (standard errors)",
                  d->largest_start_difference, "(largest of the temperatures)");
    output_number(&output, "largest_log_z_difference", "  ln Z likewise", d->largest_log_z_difference, NULL);
    output_number(&output, "mean_energy", "mean energy (kT)", d->at[0].mean_energy, note[0] ? note : NULL);
    output_number(&output, "mean_energy_standard_error", "  standard error", d->at[0].mean_energy_standard_error, NULL);
    const unsigned last = d->num_temperatures - 1;
    output_number(&output, "log_z_difference", "ln Z(last) - ln Z(first)", d->log_z[last].log_z, NULL);
    output_number(&output, "log_z_difference_standard_error", "  standard error", d->log_z[last].standard_error, NULL);
    print_ladder(app, &output, flags, states, d);
    speak(app, d);
    return output_finish(&output);
}

static exit_code require_same_ends(cli_app *app, const eqf_replica_diagnostics *d, const char *path) {
    if (!(d->largest_start_difference > 5)) return EXIT_CODE_OK;
    return app_fail(
        app, EXIT_CODE_NO_EQUILIBRIUM,
        "ladders that began at the start and ladders that began as gas differ by %.1f standard errors: this is not "
        "equilibrium; raise --burn-in, or --replicas; the samples are in %.1000s all the same",
        d->largest_start_difference, path);
}

/* ---- The run ----------------------------------------------------------------------------------------------------- */

/* states: those of --to, or NULL. */
static exit_code sample(cli_app *app, const eqf_potential_options *potential, const eqf_potential_options *states,
                        const eqf_replica_options *options, size_t num, float *x, float *energy,
                        eqf_replica_diagnostics *diagnostics) {
    cli_progress progress;
    progress_watch(&progress, app, NULL, "sweeps");
    eqf_replica_options of_states = *options;
    of_states.num_temperatures = 0;
    of_states.highest_temperature = 0;
    const eqf_status status = states ? eqf_replica_sample_states(app->ctx, options->num_temperatures, states,
                                                                 &of_states, num, x, energy, diagnostics)
                                     : eqf_replica_sample(app->ctx, potential, options, num, x, energy, diagnostics);
    progress_end(&progress);
    if (status == EQF_ERROR_INTERRUPTED || (status == EQF_OK && signals_is_stop_requested()))
        return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted; nothing written");
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

exit_code replica_make(cli_app *app, const replica_flags *flags, const replica_request *request,
                       const eqf_preset *preset) {
    const eqf_potential_options *potential = &preset->model->potential;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim, R = (size_t)flags->num_temperatures;
    eqf_potential_options *states = app_alloc(app, R, sizeof *states, "the states");
    float *start = states ? app_alloc(app, num_dof, sizeof *start, "the start") : NULL;
    float *x = start ? app_alloc(app, R * request->num, num_dof * sizeof *x, "that many configurations") : NULL;
    float *energy = x ? app_alloc(app, R * request->num, sizeof *energy, "their energies") : NULL;
    bool has_start = false;
    const bool is_lambda = flags->to.num_texts > 0;
    exit_code code = energy ? replica_make_states(app, flags, potential, states) : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) code = find_start(app, flags, preset, start, &has_start);
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_temperatures = (unsigned)flags->num_temperatures;
    options.highest_temperature = flags->is_highest_set ? flags->highest : 4 * potential->temperature;
    options.num_ladders = (unsigned)flags->num_ladders;
    options.exchange_interval = (unsigned)flags->exchange_interval;
    options.num_burn_in = request->num_burn_in ? request->num_burn_in : preset->mcmc->num_burn_in;
    options.thinning = request->thinning ? request->thinning : preset->mcmc->thinning;
    options.start = has_start ? start : NULL;
    options.seed = app->seed;
    eqf_replica_diagnostics diagnostics = EQF_REPLICA_DIAGNOSTICS_INIT;
    if (code == EXIT_CODE_OK)
        code = sample(app, potential, is_lambda ? states : NULL, &options, request->num, x, energy, &diagnostics);
    const sample_files files = {.x = request->path, .energies = request->energies_path};
    const sample_set lowest = {.potential = potential, .num = request->num, .x = x, .energy = energy};
    if (code == EXIT_CODE_OK) code = sample_files_write(app, &files, &lowest);
    if (code == EXIT_CODE_OK) code = write_each(app, flags, request, potential, diagnostics.num_temperatures, x);
    if (code == EXIT_CODE_OK) code = replica_write_ladder(app, flags, states, &diagnostics);
    if (code == EXIT_CODE_OK) code = print_result(app, flags, request, preset, states, &diagnostics);
    if (code == EXIT_CODE_OK)
        code = require_bound(app, is_lambda ? &states[R - 1] : potential,
                             is_lambda ? states[R - 1].temperature : options.highest_temperature,
                             x + (R - 1) * request->num * num_dof, request->path);
    if (code == EXIT_CODE_OK) code = require_same_ends(app, &diagnostics, request->path);
    free(states);
    free(start);
    free(x);
    free(energy);
    return code;
}
