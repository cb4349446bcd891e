#include "anneal_flags.h"

#include <string.h>

#include "files.h"

/* Options of the walkers and of the files. */
static size_t result_options(anneal_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-walkers",
         .argument = "COUNT",
         .value = &flags->num_walkers,
         .low = 4,
         .high = 1e8,
         .help = "configurations that go the way together, of all repeats"},
        {.kind = OPTION_TEXT,
         .letter = 'o',
         .name = "output",
         .argument = "FILE.npy",
         .value = &flags->equal.x,
         .help = "equally weighted configurations, [B, N, D]: the walkers resampled"},
        {.kind = OPTION_TEXT,
         .name = "energies",
         .argument = "FILE.npy",
         .value = &flags->equal.energies,
         .help = "their energies, float32 [B]"},
        {.kind = OPTION_TEXT,
         .name = "walkers",
         .argument = "FILE.npy",
         .value = &flags->walkers.x,
         .help = "the walkers as they are, to be weighted"},
        {.kind = OPTION_TEXT,
         .name = "log-weights",
         .argument = "FILE.npy",
         .value = &flags->walkers.log_weights,
         .help = "logarithms of their weights, of which the mean is 1"},
        {.kind = OPTION_TEXT,
         .name = "steps",
         .argument = "FILE.csv",
         .value = &flags->steps_path,
         .help = "every step: beta, ESS, acceptance, ln Z, cost"},
    };
    return OPTIONS_PUT(options_out, rows);
}

/* Options of the moves. */
static size_t way_options(anneal_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .name = "repeats",
         .argument = "COUNT",
         .value = &flags->num_repeats,
         .low = 2,
         .high = 4096,
         .help = "independent parts of the walkers; their spread is the error"},
        {.kind = OPTION_COUNT,
         .name = "pilot",
         .argument = "COUNT",
         .value = &flags->num_pilot,
         .low = 16,
         .high = 1e7,
         .help = "walkers of the pilot run"},
        {.kind = OPTION_COUNT,
         .name = "latent-moves",
         .argument = "COUNT",
         .value = &flags->num_latent_moves,
         .low = 0,
         .high = 1000,
         .help = "moves of the latents at each step (models)"},
        {.kind = OPTION_COUNT,
         .name = "langevin-moves",
         .argument = "COUNT",
         .value = &flags->num_langevin_moves,
         .low = 0,
         .high = 1000,
         .help = "Langevin moves at each step"},
        {.kind = OPTION_COUNT,
         .name = "particle-sweeps",
         .argument = "COUNT",
         .value = &flags->num_particle_sweeps,
         .low = 0,
         .high = 1000,
         .help = "sweeps of moves of single particles at each step"},
        {.kind = OPTION_NUMBER,
         .name = "ess-decay",
         .argument = "X",
         .value = &flags->ess_decay,
         .low = 0.01,
         .high = 0.999,
         .help = "what a step leaves of the effective sample size so far"},
        {.kind = OPTION_TEXT,
         .name = "preset",
         .argument = "PRESET",
         .value = &flags->preset_name,
         .help = "the potential that SAMPLES (.npy or .xyz) are equilibrium of"},
        {.kind = OPTION_LIST,
         .name = "from",
         .argument = "NAME=X",
         .value = &flags->start_constants,
         .default_text = "the preset's",
         .help = "a constant of the potential that SAMPLES are equilibrium of; once for each"},
    };
    return OPTIONS_PUT(options_out, rows);
}

size_t anneal_flags_options(anneal_flags *flags, cli_option options_out[]) {
    *flags = (anneal_flags){.num_walkers = 8192,
                            .num_repeats = 16,
                            .num_pilot = 1024,
                            .num_latent_moves = 2,
                            .num_langevin_moves = 3,
                            .ess_decay = 0.9};
    size_t num_options = result_options(flags, options_out);
    num_options += way_options(flags, options_out + num_options);
    num_options += sample_files_options(&flags->walkers, "the walkers as they are, with energy and log-weight of each",
                                        options_out + num_options);
    num_options += flow_flags_options(&flags->flow, 1e5, "integrator steps", options_out + num_options);
    num_options += system_options(&flags->target, SYSTEM_OF_MODEL, options_out + num_options);
    return num_options;
}

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

exit_code anneal_flags_check(cli_app *app, anneal_flags *flags) {
    files_use uses[SAMPLE_FILES_NUM_USES + 5] = {{"-o", flags->equal.x, FILES_NUMPY},
                                                 {"--energies", flags->equal.energies, FILES_NUMPY},
                                                 {"--steps", flags->steps_path, FILES_WRITTEN},
                                                 {"START", flags->start_path, FILES_READ},
                                                 {"--potential", flags->target.potential_path, FILES_READ}};
    sample_files_uses(&flags->walkers, "--walkers", uses + 5);
    exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code != EXIT_CODE_OK) return code;
    if (flags->num_latent_moves + flags->num_langevin_moves + flags->num_particle_sweeps == 0)
        return app_fail(app, EXIT_CODE_USAGE, "without moves this is reweighting: use eqflow evaluate, or allow moves");
    if (flags->num_walkers < 2 * flags->num_repeats)
        return app_fail(app, EXIT_CODE_USAGE, "-n %llu leaves fewer than 2 walkers for each of %llu repeats",
                        (unsigned long long)flags->num_walkers, (unsigned long long)flags->num_repeats);
    const bool is_samples = ends_with(flags->start_path, ".npy") || ends_with(flags->start_path, ".xyz");
    if (is_samples && flags->num_langevin_moves + flags->num_particle_sweeps == 0)
        return app_fail(app, EXIT_CODE_USAGE,
                        "samples have no latents to move: allow --langevin-moves or --particle-sweeps");
    if (is_samples && !flags->preset_name)
        return app_fail(app, EXIT_CODE_USAGE, "samples need --preset PRESET: the potential whose equilibrium they are");
    if (!is_samples && flags->start_constants.num_texts > 0)
        return app_fail(app, EXIT_CODE_USAGE, "--from belongs to samples: a model's density has no constants");
    if (!is_samples && flags->preset_name)
        return app_fail(app, EXIT_CODE_USAGE, "--preset belongs to samples: a model knows its own potential");
    if ((code = sample_files_check(app, &flags->equal)) != EXIT_CODE_OK ||
        (code = sample_files_check(app, &flags->walkers)) != EXIT_CODE_OK ||
        (code = files_check_writable(app, flags->steps_path, "the steps")) != EXIT_CODE_OK)
        return code;
    return flow_flags_read(app, &flags->flow, &flags->flow_options);
}
