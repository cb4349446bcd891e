#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "eqflow/compare.h"
#include "files.h"
#include "output.h"
#include "progress.h"
#include "system.h"
#include "work.h"

enum { NUM_SETS = 3 };

typedef struct compare_flags {
    const char *preset_name, *paths[NUM_SETS]; /* A, B, the reference or NULL */
    uint64_t num_compared, num_aligned, num_splits, num_starts;
    bool is_num_aligned_set;
    system_flags system;
} compare_flags;

/* Prints one distance: as a line, or in JSON as an object. */
static void print_distance(cli_output *output, const char *key, const char *label, const eqf_set_distance *d) {
    if (d->num_compared == 0) return;
    char texts[4][32];
    output_line(output, "%-34s %10s +- %-9s floor %10s +- %-9s (%zu configurations of each)", label,
                output_format(d->distance, texts[0]), output_format(d->spread, texts[1]),
                output_format(d->floor, texts[2]), output_format(d->floor_spread, texts[3]), d->num_compared);
    output_json(output, key,
                json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "num_compared", (json_int_t)d->num_compared, "distance",
                          output_real(d->distance), "spread", output_real(d->spread), "floor", output_real(d->floor),
                          "floor_spread", output_real(d->floor_spread), "fraction_of_floors_above",
                          output_real(d->fraction_of_floors_above)));
}

static exit_code print_result(cli_app *app, const eqf_comparison *c) {
    cli_output output;
    const exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_count(&output, "seed", "seed", app->seed);
    output_text(&output, "floor_of", "floor: two halves of", c->has_reference ? "the reference" : "the second set");
    print_distance(&output, "energy_w2", "energy W2 (kT)", &c->energy);
    print_distance(&output, "distance_w2", "pair distance W2 (length)", &c->pair_distance);
    print_distance(&output, "aligned_w2", "aligned W2 (length)", &c->aligned);
    if (isinf(c->energy.distance))
        app_warn(app,
                 "configurations of the first set have no finite energy, so that the distance of energies is infinite");
    return output_finish(&output);
}

static exit_code compare(cli_app *app, const compare_flags *flags, const eqf_potential_options *potential,
                         const eqf_array sets[NUM_SETS]) {
    const eqf_comparison_options options = {.struct_size = sizeof options,
                                            .seed = app_seed_for(app->seed, "compare"),
                                            .num_compared = (size_t)flags->num_compared,
                                            .num_aligned = (size_t)flags->num_aligned,
                                            .has_no_aligned = flags->is_num_aligned_set && flags->num_aligned == 0,
                                            .num_splits = (unsigned)flags->num_splits,
                                            .num_starts = (unsigned)flags->num_starts};
    eqf_comparison result = EQF_COMPARISON_INIT;
    cli_progress progress;
    progress_watch(&progress, app, NULL, "pairs");
    const eqf_status status = eqf_compare(app->ctx, potential, sets[0].shape[0], sets[0].data, sets[1].shape[0],
                                          sets[1].data, sets[2].shape[0], sets[2].data, &options, &result);
    progress_end(&progress);
    if (status == EQF_ERROR_INTERRUPTED) return app_fail(app, EXIT_CODE_INTERRUPTED, "interrupted");
    return status == EQF_OK ? print_result(app, &result) : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* A warning that weights of a set are not used. */
static exit_code tell_of_weights(cli_app *app, const char *path) {
    eqf_array values = EQF_ARRAY_INIT;
    const eqf_status status = eqf_array_read_xyz_values(app->ctx, path, "log_weight", &values);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    if (values.data)
        app_warn(app, "%s has weights (log_weight), which are passed over: all its configurations count alike", path);
    eqf_array_clear(&values);
    return EXIT_CODE_OK;
}

static exit_code run(cli_app *app, const compare_flags *flags) {
    eqf_preset preset;
    eqf_array sets[NUM_SETS] = {EQF_ARRAY_INIT, EQF_ARRAY_INIT, EQF_ARRAY_INIT};
    exit_code code = app_create_context(app);
    if (code == EXIT_CODE_OK && !flags->preset_name && !flags->system.potential_path)
        code = app_fail(app, EXIT_CODE_USAGE,
                        "--preset PRESET or --potential FILE.cl is missing: whose configurations are these?");
    if (code == EXIT_CODE_OK) code = system_choose(app, &flags->system, flags->preset_name, &preset);
    if (code != EXIT_CODE_OK) return code;
    const eqf_potential_options *potential = &preset.model->potential;
    for (unsigned s = 0; s < NUM_SETS && code == EXIT_CODE_OK; s++)
        if (flags->paths[s]) code = work_read_configurations(app, flags->paths[s], potential, &sets[s]);
    for (unsigned s = 0; s < NUM_SETS && code == EXIT_CODE_OK; s++)
        if (flags->paths[s]) code = tell_of_weights(app, flags->paths[s]);
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code == EXIT_CODE_OK) code = system_verify(app, potential);
    if (code == EXIT_CODE_OK) code = compare(app, flags, potential, sets);
    for (unsigned s = 0; s < NUM_SETS; s++) eqf_array_clear(&sets[s]);
    return code;
}

static size_t own_options(compare_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .name = "preset",
         .argument = "PRESET",
         .value = &flags->preset_name,
         .help = "the potential of the configurations"},
        {.kind = OPTION_TEXT,
         .name = "reference",
         .argument = "FILE",
         .value = &flags->paths[2],
         .default_text = "B",
         .help = "a perfect set, whose halves give the floor"},
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-samples",
         .argument = "COUNT",
         .value = &flags->num_compared,
         .low = 2,
         .high = 1e7,
         .help = "configurations of each set at most"},
        {.kind = OPTION_COUNT,
         .name = "aligned",
         .argument = "COUNT",
         .value = &flags->num_aligned,
         .is_set = &flags->is_num_aligned_set,
         .low = 0,
         .high = 10000,
         .default_text = "500, above 4 particles 200",
         .help = "of them for the aligned distance, whose cost grows with the square; 0: none"},
        {.kind = OPTION_COUNT,
         .name = "splits",
         .argument = "COUNT",
         .value = &flags->num_splits,
         .low = 2,
         .high = 10000,
         .help = "random splits of the perfect set"},
        {.kind = OPTION_COUNT,
         .name = "starts",
         .argument = "COUNT",
         .value = &flags->num_starts,
         .low = 1,
         .high = 1000,
         .help = "orientations that each alignment of more than 4 particles begins from"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_compare(cli_app *app) {
    const char *const operands[] = {"A", "B", NULL};
    const command_help help = {
        .usage = "A B --preset PRESET [options]",
        .description =
            "Are two sets of configurations (.npy or extended XYZ) of one equilibrium? 2-Wasserstein distances of "
            "their energies, of their pair distances, and of the configurations themselves up to rotation, reflection "
            "and permutation, each beside its floor: the distance of two perfect sets of that size, from random halves "
            "of B, or of --reference.",
        .operands = operands,
        .examples = "  eqflow compare samples.npy lj13.npy --preset lj13\n"
                    "  eqflow compare a.xyz b.xyz --preset dw4 --reference dw4.npy --aligned 1000\n",
    };
    compare_flags flags = {.num_compared = 2000, .num_splits = 20, .num_starts = 1};
    cli_option options[OPTIONS_MAX];
    size_t num_options = own_options(&flags, options);
    num_options += system_options(&flags.system, SYSTEM_OF_EITHER, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.paths[0] = words[0];
    flags.paths[1] = words[1];
    return run(app, &flags);
}
