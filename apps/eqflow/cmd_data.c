#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "data_replica.h"
#include "files.h"
#include "noise.h"
#include "output.h"
#include "system.h"
#include "work.h"

static void print_more(FILE *stream) {
    system_print_heading(stream, "Constants of the presets");
    system_print_constants(stream);
}

/* Values of the options. */
typedef struct data_flags {
    uint64_t num, num_chains, num_burn_in, thinning;
    bool has_num, is_num_chains_set, is_num_burn_in_set, is_thinning_set, is_noise_set;
    double noise;
    const char *path, *energies_path;
    replica_flags replica;
    system_flags system;
} data_flags;

static exit_code write_files(cli_app *app, const data_flags *flags, const eqf_potential_options *potential, float *x,
                             float *energy) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    const size_t num = (size_t)flags->num;
    eqf_array array = work_configurations(x, num, potential);
    eqf_status status = eqf_array_write_npy(app->ctx, flags->path, &array);
    if (status == EQF_OK && flags->energies_path) {
        eqf_array energies = {energy, 1, {num}};
        status = eqf_array_write_npy(app->ctx, flags->energies_path, &energies);
    }
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* The first lines of the results, with and without --noise. */
static exit_code begin_result(cli_app *app, const data_flags *flags, const eqf_preset *preset, cli_output *output) {
    const eqf_potential_options *potential = &preset->model->potential;
    exit_code code = output_begin(output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(output, "output", "samples in", flags->path);
    output_text(output, "energies_output", flags->energies_path ? "energies in" : NULL, flags->energies_path);
    output_text(output, "preset", "preset", preset->name);
    output_count(output, "num_samples", "samples", flags->num);
    output_count(output, "num_particles", "particles", potential->num_particles);
    output_count(output, "space_dim", "dimensions of space", potential->space_dim);
    output_count(output, "seed", "seed", app->seed);
    return EXIT_CODE_OK;
}

static exit_code make_by_monte_carlo(cli_app *app, const data_flags *flags, const eqf_preset *preset, float *x,
                                     float *energy) {
    const eqf_potential_options *potential = &preset->model->potential;
    const size_t num = (size_t)flags->num;
    eqf_mcmc_options options = *preset->mcmc;
    options.seed = app->seed;
    if (flags->is_num_chains_set) options.num_chains = (unsigned)flags->num_chains;
    if (flags->is_num_burn_in_set) options.num_burn_in = (unsigned)flags->num_burn_in;
    if (flags->is_thinning_set) options.thinning = (unsigned)flags->thinning;
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    exit_code code = work_mcmc(app, potential, &options, num, x, energy, &diagnostics);
    if (code == EXIT_CODE_OK) code = write_files(app, flags, potential, x, energy);
    if (code != EXIT_CODE_OK) return code;

    if (diagnostics.effective_samples < 0.5 * (double)num) {
        app_note(app, "the %zu samples are worth %.0f independent ones; a larger --thinning makes them more so", num,
                 diagnostics.effective_samples);
    }
    cli_output output;
    if ((code = begin_result(app, flags, preset, &output)) != EXIT_CODE_OK) return code;
    char note[64] = "";
    if (isfinite(preset->mean_energy)) {
        snprintf(note, sizeof note, "(known: %g)", preset->mean_energy);
    }
    output_count(&output, "num_chains", "chains", diagnostics.num_chains);
    output_count(&output, "num_burn_in", "burn-in (sweeps)", diagnostics.num_burn_in);
    output_count(&output, "thinning", "thinning (sweeps)", diagnostics.thinning);
    output_count(&output, "num_sweeps", "sweeps of each chain", diagnostics.num_sweeps);
    output_number(&output, "acceptance", "accepted moves (fraction)", diagnostics.acceptance, NULL);
    output_number(&output, "step_size", "step size (length)", diagnostics.step_size, NULL);
    output_number(&output, "autocorrelation_time", "energy autocorrelation (sweeps)", diagnostics.autocorrelation_time,
                  NULL);
    output_number(&output, "split_r_hat", "split R-hat of the energy", diagnostics.split_r_hat, NULL);
    output_number(&output, "effective_samples", "independent samples", diagnostics.effective_samples, NULL);
    output_number(&output, "radius_of_gyration", "radius of gyration (length)", diagnostics.radius_of_gyration, NULL);
    output_number(&output, "radius_growth", "  growth while sampling", diagnostics.radius_growth, NULL);
    output_number(&output, "radius_growth_standard_error", "    standard error",
                  diagnostics.radius_growth_standard_error, NULL);
    output_bool(&output, "is_unbound", NULL, diagnostics.is_unbound);
    output_number(&output, "mean_energy", "mean energy (kT)", diagnostics.mean_energy, note[0] ? note : NULL);
    output_number(&output, "mean_energy_standard_error", "  standard error", diagnostics.mean_energy_standard_error,
                  NULL);
    if ((code = output_finish(&output)) != EXIT_CODE_OK) return code;
    char what_is_left[1100];
    snprintf(what_is_left, sizeof what_is_left, "; the samples are in %.1000s all the same", flags->path);
    return work_require_equilibrium(app, &diagnostics, what_is_left);
}

static exit_code make_of_noise(cli_app *app, const data_flags *flags, const eqf_preset *preset, float *x,
                               float *energy) {
    const eqf_potential_options *potential = &preset->model->potential;
    const size_t num = (size_t)flags->num;
    double minimum_energy, mean_energy = 0;
    exit_code code = noise_around_minimum(app, potential, flags->noise, num, x, &minimum_energy);
    if (code == EXIT_CODE_OK) code = work_energy(app, potential, num, x, energy);
    if (code == EXIT_CODE_OK) code = write_files(app, flags, potential, x, energy);
    cli_output output;
    if (code == EXIT_CODE_OK) code = begin_result(app, flags, preset, &output);
    if (code != EXIT_CODE_OK) return code;
    for (size_t b = 0; b < num; b++) mean_energy += (double)energy[b] / (double)num;
    output_number(&output, "noise", "noise (length)", flags->noise, NULL);
    output_number(&output, "minimum_energy", "energy of the minimum (kT)", minimum_energy, NULL);
    output_number(&output, "mean_energy", "mean energy (kT)", mean_energy, "(not that of equilibrium)");
    return output_finish(&output);
}

static exit_code make_by_replicas(cli_app *app, const data_flags *flags, const eqf_preset *preset) {
    const replica_request request = {.num = (size_t)flags->num,
                                     .path = flags->path,
                                     .energies_path = flags->energies_path,
                                     .num_burn_in = flags->is_num_burn_in_set ? (unsigned)flags->num_burn_in : 0,
                                     .thinning = flags->is_thinning_set ? (unsigned)flags->thinning : 0};
    return replica_make(app, &flags->replica, &request, preset);
}

static exit_code make(cli_app *app, const data_flags *flags, const eqf_preset *preset) {
    if (flags->replica.is_num_temperatures_set) return make_by_replicas(app, flags, preset);
    const eqf_potential_options *potential = &preset->model->potential;
    float *x = app_alloc(app, (size_t)flags->num, sizeof(float) * potential->num_particles * potential->space_dim,
                         "that many configurations");
    float *energy = x ? app_alloc(app, (size_t)flags->num, sizeof *energy, "their energies") : NULL;
    exit_code code = EXIT_CODE_DEVICE;
    if (energy) {
        code = flags->is_noise_set ? make_of_noise(app, flags, preset, x, energy)
                                   : make_by_monte_carlo(app, flags, preset, x, energy);
    }
    free(x);
    free(energy);
    return code;
}

static exit_code check_flags(cli_app *app, const data_flags *flags) {
    if (!flags->has_num) return app_fail(app, EXIT_CODE_USAGE, "-n COUNT is missing; see eqflow data --help");
    if (!flags->path) return app_fail(app, EXIT_CODE_USAGE, "-o FILE.npy is missing; see eqflow data --help");
    const char *chain_option = flags->is_num_chains_set    ? "--chains"
                               : flags->is_num_burn_in_set ? "--burn-in"
                                                           : "--thinning";
    if (flags->is_noise_set && (flags->is_num_chains_set || flags->is_num_burn_in_set || flags->is_thinning_set)) {
        return app_fail(app, EXIT_CODE_USAGE, "%s is of Markov chains, and --noise has none", chain_option);
    }
    if (flags->replica.is_num_temperatures_set && (flags->is_noise_set || flags->is_num_chains_set))
        return app_fail(app, EXIT_CODE_USAGE, "--replicas makes ladders of chains: it excludes --noise and --chains");
    files_use uses[REPLICA_NUM_USES + 3] = {{"-o", flags->path, FILES_NUMPY},
                                            {"--energies", flags->energies_path, FILES_NUMPY},
                                            {"--potential", flags->system.potential_path, FILES_READ}};
    exit_code code = replica_check(app, &flags->replica);
    if (code == EXIT_CODE_OK) code = replica_uses(app, &flags->replica, uses + 3);
    if (code == EXIT_CODE_OK) code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code == EXIT_CODE_OK) code = replica_check_writable(app, &flags->replica);
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->path, "the samples");
    return code == EXIT_CODE_OK ? files_check_writable(app, flags->energies_path, "the energies") : code;
}

/* Options of the samples and files. */
static size_t sample_options(data_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-samples",
         .argument = "COUNT",
         .value = &flags->num,
         .is_set = &flags->has_num,
         .default_text = "required",
         .low = 1,
         .high = 1e12,
         .help = "samples to draw"},
        {.kind = OPTION_TEXT,
         .letter = 'o',
         .name = "output",
         .argument = "FILE.npy",
         .value = &flags->path,
         .default_text = "required",
         .help = "where they go"},
        {.kind = OPTION_TEXT,
         .name = "energies",
         .argument = "FILE.npy",
         .value = &flags->energies_path,
         .help = "where their energies go, float32 [B], kT"},
    };
    return OPTIONS_PUT(options_out, rows);
}

/* Options of the chains. */
static size_t chain_options(data_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .name = "chains",
         .argument = "N",
         .value = &flags->num_chains,
         .is_set = &flags->is_num_chains_set,
         .low = 1,
         .high = 1e8,
         .default_text = "chosen from -n",
         .help = "independent Markov chains"},
        {.kind = OPTION_COUNT,
         .name = "burn-in",
         .argument = "SWEEPS",
         .value = &flags->num_burn_in,
         .is_set = &flags->is_num_burn_in_set,
         .low = 1,
         .high = 1e9,
         .default_text = "4000",
         .help = "sweeps before the first sample; the step size is tuned there"},
        {.kind = OPTION_COUNT,
         .name = "thinning",
         .argument = "SWEEPS",
         .value = &flags->thinning,
         .is_set = &flags->is_thinning_set,
         .low = 1,
         .high = 1e9,
         .default_text = "200",
         .help = "sweeps between samples of a chain"},
        {.kind = OPTION_NUMBER,
         .name = "noise",
         .argument = "SD",
         .value = &flags->noise,
         .is_set = &flags->is_noise_set,
         .low = 0,
         .high = 1e6,
         .default_text = "none",
         .help = "no equilibrium: Gaussian noise of this standard deviation around the lowest minimum"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_data(cli_app *app) {
    const char *const operands[] = {"PRESET", NULL};
    const command_help help = {
        .usage = "(PRESET|--potential FILE.cl) -n COUNT -o FILE.npy [options]",
        .description =
            "Draws equilibrium samples of PRESET by Metropolis Monte Carlo with many chains, writes them as "
            "float32 [B, N, D] with centres of mass at 0, and prints the diagnostics. Exit code 9 if they "
            "show that there is no equilibrium. With --replicas it does so by replica exchange in temperature, "
            "with --noise it makes samples around one minimum instead.",
        .operands = operands,
        .examples = "  eqflow data dw4 -n 1e5 -o dw4.npy\n"
                    "  eqflow data lj13 -n 1e4 --epsilon 1 -o lj13_eps1.npy\n"
                    "  eqflow data dw4 -n 1000 --noise 0.1 -o around_minimum.npy\n"
                    "  eqflow data lj38 -n 2000 --replicas 12 --highest-temperature 3 -o lj38.npy\n"
                    "  eqflow data --potential morse.cl --particles 7 --space-dim 3 -n 1e4 -o x.npy\n",
        .is_last_operand_optional = true,
        .print_more = print_more,
    };
    data_flags flags = {.num = 0};
    cli_option options[OPTIONS_MAX];
    size_t num_options = sample_options(&flags, options);
    num_options += chain_options(&flags, options + num_options);
    num_options += replica_options(&flags.replica, options + num_options);
    num_options += system_options(&flags.system, SYSTEM_OF_PRESET, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;

    eqf_preset preset;
    if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
    if ((code = system_choose(app, &flags.system, words[0], &preset)) != EXIT_CODE_OK) return code;
    if ((code = check_flags(app, &flags)) != EXIT_CODE_OK) return code;
    if ((code = app_open(app)) != EXIT_CODE_OK) return code;
    if ((code = system_verify(app, &preset.model->potential)) != EXIT_CODE_OK) return code;
    return make(app, &flags, &preset);
}
