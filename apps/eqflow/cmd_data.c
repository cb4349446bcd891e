#include <stdlib.h>

#include "commands.h"
#include "files.h"
#include "output.h"
#include "system.h"
#include "work.h"

static void print_more(FILE *stream) {
    system_print_heading(stream, "Constants of the presets");
    system_print_constants(stream);
}

static exit_code make(cli_app *app, const eqf_preset *preset, const eqf_potential_options *potential,
                      const eqf_mcmc_options *options, size_t num, const char *path) {
    float *x = app_alloc(app, num, sizeof(float) * potential->num_particles * potential->space_dim,
                         "that many configurations");
    if (!x) return EXIT_CODE_DEVICE;
    eqf_mcmc_diagnostics diagnostics;
    exit_code code = work_mcmc(app, potential, options, num, x, NULL, &diagnostics);
    if (code == EXIT_CODE_OK) {
        eqf_array array = work_configurations(x, num, potential);
        eqf_status status = eqf_array_write_npy(app->ctx, path, &array);
        if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_WRITE);
    }
    free(x);
    if (code != EXIT_CODE_OK) return code;

    if (diagnostics.effective_samples < 0.5 * (double)num) {
        app_note(app, "the %zu samples are worth %.0f independent ones; a larger --thinning makes them more so", num,
                 diagnostics.effective_samples);
    }
    cli_output output;
    if ((code = output_begin(&output, app)) != EXIT_CODE_OK) return code;
    char note[64] = "";
    if (eqf_preset_matches(preset, potential) && preset->mean_energy == preset->mean_energy) {
        snprintf(note, sizeof note, "(known: %g)", preset->mean_energy);
    }
    output_text(&output, "output", "samples in", path);
    output_text(&output, "preset", "preset", preset->name);
    output_count(&output, "num_samples", "samples", num);
    output_count(&output, "num_particles", "particles", potential->num_particles);
    output_count(&output, "space_dim", "dimensions of space", potential->space_dim);
    output_count(&output, "seed", "seed", options->seed);
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
    output_number(&output, "mean_energy", "mean energy (kT)", diagnostics.mean_energy, note[0] ? note : NULL);
    output_number(&output, "mean_energy_standard_error", "  standard error", diagnostics.mean_energy_standard_error,
                  NULL);
    return output_finish(&output);
}

exit_code cmd_data(cli_app *app) {
    const char *const operands[] = {"PRESET", NULL};
    const command_help help = {
        .usage = "(PRESET|--potential FILE.cl) -n COUNT -o FILE.npy [options]",
        .description = "Draws equilibrium samples of PRESET by Metropolis Monte Carlo with many chains, writes them as "
                       "float32 [B, N, D] with centres of mass at 0, and prints the diagnostics.",
        .operands = operands,
        .examples = "  eqflow data dw4 -n 1e5 -o dw4.npy\n"
                    "  eqflow data lj13 -n 1e4 --epsilon 1 -o lj13_eps1.npy\n"
                    "  eqflow data --potential morse.cl --particles 7 --space-dim 3 -n 1e4 -o x.npy\n",
        .is_last_operand_optional = true,
        .print_more = print_more,
    };
    uint64_t num = 0, num_chains = 0, num_burn_in = 0, thinning = 0;
    bool has_num = false;
    const char *path = NULL;
    cli_option options[OPTIONS_MAX] = {
        {.kind = OPTION_COUNT, .letter = 'n', .name = "num-samples", .argument = "COUNT", .value = &num,
         .is_set = &has_num, .default_text = "required", .low = 1, .high = 1e12, .help = "samples to draw"},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE.npy", .value = &path,
         .default_text = "required", .help = "where they go"},
        {.kind = OPTION_COUNT, .name = "chains", .argument = "N", .value = &num_chains, .low = 1, .high = 1e8,
         .default_text = "chosen from -n", .help = "independent Markov chains"},
        {.kind = OPTION_COUNT, .name = "burn-in", .argument = "SWEEPS", .value = &num_burn_in, .low = 1, .high = 1e9,
         .default_text = "4000", .help = "sweeps before the first sample; the step size is tuned there"},
        {.kind = OPTION_COUNT, .name = "thinning", .argument = "SWEEPS", .value = &thinning, .low = 1, .high = 1e9,
         .default_text = "200", .help = "sweeps between samples of a chain"},
    };
    system_flags flags;
    size_t num_options = 5 + system_options(&flags, SYSTEM_OF_PRESET, options + 5);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;

    eqf_preset preset;
    if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
    if ((code = system_choose(app, &flags, words[0], &preset)) != EXIT_CODE_OK) return code;
    if (!has_num) return app_fail(app, EXIT_CODE_USAGE, "-n COUNT is missing; see eqflow data --help");
    if (!path) return app_fail(app, EXIT_CODE_USAGE, "-o FILE.npy is missing; see eqflow data --help");
    if ((code = files_check_writable(app, path, "the samples")) != EXIT_CODE_OK) return code;
    if ((code = app_open(app)) != EXIT_CODE_OK) return code;
    if ((code = system_verify(app, &preset.model.potential)) != EXIT_CODE_OK) return code;

    eqf_mcmc_options mcmc = preset.mcmc;
    mcmc.seed = app->seed;
    if (num_chains > 0) mcmc.num_chains = (unsigned)num_chains;
    if (num_burn_in > 0) mcmc.num_burn_in = (unsigned)num_burn_in;
    if (thinning > 0) mcmc.thinning = (unsigned)thinning;
    return make(app, &preset, &preset.model.potential, &mcmc, (size_t)num, path);
}
