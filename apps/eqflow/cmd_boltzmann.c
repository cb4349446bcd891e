#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

#include "commands.h"
#include "files.h"
#include "flow_flags.h"
#include "output.h"
#include "progress.h"
#include "sample_files.h"
#include "system.h"
#include "work.h"

typedef struct boltzmann_flags {
    const char *model_path, *output_path, *energies_path, *histograms_path;
    sample_files proposals; /* all of them, to be weighted */
    uint64_t num_proposals, num_burn_in, thinning, num_bins;
    bool is_burn_in_set, is_thinning_set, is_num_bins_set;
    flow_flags flow;
    eqf_flow_options flow_options;
    system_flags target;
} boltzmann_flags;

/* The flow's samples, their weights, and the chain over them. A figure that could not be computed is NaN. */
typedef struct boltzmann {
    const eqf_potential_options *target;
    size_t num, num_dof, num_burn_in, num_kept; /* num: proposals; num_kept: states of the chain after the burn-in */
    float *x, *log_prob, *energy;               /* [num, N, D], [num], [num] */
    double *log_weights, *energies;             /* [num]; energies in double, 0 at weight zero */
    size_t *states;                             /* [num] */
    eqf_weight_summary weights;
    double log_z_error, ess_fraction_error, free_energy_difference;
    double mean_energy, mean_energy_error; /* reweighted */
    double acceptance;
    eqf_round_trip round_trip;
    eqf_chain_mean chain;
    const eqf_preset *known; /* the preset with known figures of the target, or NULL */
} boltzmann;

enum { NUM_RESAMPLES = 200 };
static const double dominant_weight = 0.05; /* of the total: then one sample dominates the averages */

static void clear(boltzmann *run) {
    free(run->x);
    free(run->log_prob);
    free(run->energy);
    free(run->log_weights);
    free(run->energies);
    free(run->states);
}

/* ---- Measuring -------------------------------------------------------------------------------- */

static exit_code propose(cli_app *app, const eqf_model *model, const boltzmann_flags *flags, boltzmann *run) {
    run->x = app_alloc(app, run->num, run->num_dof * sizeof(float), "that many proposals");
    run->log_prob = run->x ? app_alloc(app, run->num, sizeof(float), "the log-densities") : NULL;
    run->energy = run->log_prob ? app_alloc(app, run->num, sizeof(float), "the energies") : NULL;
    run->log_weights = run->energy ? app_alloc(app, run->num, sizeof(double), "the weights") : NULL;
    run->energies = run->log_weights ? app_alloc(app, run->num, sizeof(double), "the energies") : NULL;
    run->states = run->energies ? app_alloc(app, run->num, sizeof(size_t), "the chain") : NULL;
    if (!run->states) return EXIT_CODE_DEVICE;
    eqf_flow *flow = NULL;
    eqf_status status = eqf_flow_create(app->ctx, model, &flags->flow_options, &flow);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = work_sample(app, flow, run->target, app_seed_for(app->seed, "proposals"), run->num, run->x,
                                 run->log_prob);
    if (code == EXIT_CODE_OK) code = work_round_trip(app, flow, &flags->flow_options, run->num, &run->round_trip);
    eqf_flow_destroy(&flow);
    return code == EXIT_CODE_OK ? work_energy(app, run->target, run->num, run->x, run->energy) : code;
}

static exit_code weigh(cli_app *app, const eqf_model_options *made, boltzmann *run) {
    if (eqf_estimate_log_weights(run->num, run->energy, run->log_prob, run->log_weights) != EQF_OK ||
        eqf_estimate_weights(run->num, run->log_weights, &run->weights) != EQF_OK) {
        return app_fail(app, EXIT_CODE_FAILURE, "no importance weights: log-densities of samples are not finite, or no "
                                                "sample has any weight; train longer, or with more "
                                                "--integration-steps");
    }
    for (size_t b = 0; b < run->num; b++) run->energies[b] = isinf(run->log_weights[b]) ? 0 : run->energy[b];
    uint64_t seed = app_seed_for(app->seed, "bootstrap");
    if (eqf_estimate_weights_bootstrap(run->num, run->log_weights, NUM_RESAMPLES, seed, &run->log_z_error,
                                       &run->ess_fraction_error) != EQF_OK) {
        run->log_z_error = run->ess_fraction_error = NAN;
    }
    if (eqf_estimate_reweighted_bootstrap(run->num, run->log_weights, run->energies, NUM_RESAMPLES, seed,
                                          &run->mean_energy, &run->mean_energy_error) != EQF_OK) {
        run->mean_energy = run->mean_energy_error = NAN;
    }
    run->free_energy_difference = eqf_prior_log_z(made) - run->weights.log_z;
    return EXIT_CODE_OK;
}

static void walk(cli_app *app, boltzmann *run) {
    const eqf_chain_mean unknown = {sizeof unknown, NAN, NAN, NAN, NAN};
    if (eqf_estimate_independence_chain(run->num, run->log_weights, app_seed_for(app->seed, "metropolis"), run->states,
                                        &run->acceptance) != EQF_OK ||
        eqf_estimate_chain_mean(run->num_kept, run->states + run->num_burn_in, run->energies, &run->chain) != EQF_OK) {
        run->chain = unknown;
    }
}

/* ---- Files ------------------------------------------------------------------------------------ */

static exit_code write_chain(cli_app *app, const boltzmann_flags *flags, const boltzmann *run) {
    const size_t thinning = (size_t)flags->thinning, num = (run->num_kept + thinning - 1) / thinning;
    float *x = app_alloc(app, num, run->num_dof * sizeof(float), "the chain's configurations");
    float *energy = x ? app_alloc(app, num, sizeof(float), "the energies") : NULL;
    exit_code code = energy ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    for (size_t k = 0; code == EXIT_CODE_OK && k < num; k++) {
        size_t held = run->states[run->num_burn_in + k * thinning];
        memcpy(x + k * run->num_dof, run->x + held * run->num_dof, run->num_dof * sizeof(float));
        energy[k] = run->energy[held];
    }
    const sample_files files = {.x = flags->output_path, .energies = flags->energies_path};
    const sample_set set = {.potential = run->target, .num = num, .x = x, .energy = energy};
    if (code == EXIT_CODE_OK) code = sample_files_write(app, &files, &set);
    free(x);
    free(energy);
    return code;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The range of all but a few of the chain's values, with a margin; values [num, num_values] of the proposals. */
static exit_code find_range(cli_app *app, const boltzmann *run, size_t num_values, const float *values, double *low_out,
                            double *high_out) {
    enum { MOST = 4000 }; /* states that are used for it */
    const size_t stride = run->num_kept / MOST + 1, num = (run->num_kept + stride - 1) / stride;
    float *sorted = app_alloc(app, num, num_values * sizeof(float), "the histograms");
    if (!sorted) return EXIT_CODE_DEVICE;
    for (size_t k = 0; k < num; k++) {
        memcpy(sorted + k * num_values, values + run->states[run->num_burn_in + k * stride] * num_values,
               num_values * sizeof(float));
    }
    qsort(sorted, num * num_values, sizeof(float), compare);
    const size_t few = num * num_values / 2000;
    double low = sorted[few], high = sorted[num * num_values - 1 - few];
    double margin = high > low ? 0.1 * (high - low) : 0.5;
    *low_out = low - margin;
    *high_out = high + margin;
    free(sorted);
    return EXIT_CODE_OK;
}

static exit_code print_histogram(cli_app *app, FILE *stream, const char *quantity, const boltzmann *run,
                                 const double *log_counts, size_t num_values, const float *values, size_t num_bins) {
    double low, high, *columns = app_alloc(app, num_bins * 6, sizeof *columns, "the histograms");
    if (!columns) return EXIT_CODE_DEVICE;
    exit_code code = find_range(app, run, num_values, values, &low, &high);
    const double *const weights[] = {NULL, run->log_weights, log_counts};
    for (size_t c = 0; c < 3 && code == EXIT_CODE_OK; c++) {
        if (eqf_estimate_histogram_with_error(run->num, num_values, values, weights[c], low, high, num_bins,
                                              columns + 2 * c * num_bins, columns + (2 * c + 1) * num_bins) != EQF_OK) {
            code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for the histograms");
        }
    }
    for (size_t k = 0; k < num_bins && code == EXIT_CODE_OK; k++) {
        const double width = (high - low) / (double)num_bins, *column = columns + k;
        fprintf(stream, "%s,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n", quantity, low + width * (double)k,
                low + width * (double)(k + 1), column[0], column[num_bins], column[2 * num_bins], column[3 * num_bins],
                column[4 * num_bins]); /* the chain's column has no error, because its states are not independent */
    }
    free(columns);
    return code;
}

/* log_counts_out [num]: logarithm of the number of states that are this proposal. */
static void count_states(const boltzmann *run, double *log_counts_out) {
    for (size_t b = 0; b < run->num; b++) log_counts_out[b] = 0;
    for (size_t t = run->num_burn_in; t < run->num; t++) log_counts_out[run->states[t]] += 1;
    for (size_t b = 0; b < run->num; b++) log_counts_out[b] = log(log_counts_out[b]); /* -infinity of 0 */
}

static exit_code write_histograms(cli_app *app, const boltzmann_flags *flags, const boltzmann *run) {
    const unsigned num_particles = run->target->num_particles;
    const size_t num_pairs = (size_t)num_particles * (num_particles - 1) / 2;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    double *log_counts = app_alloc(app, run->num, sizeof *log_counts, "the histograms");
    float *distances = log_counts ? app_alloc(app, run->num, num_pairs * sizeof(float), "the pair distances") : NULL;
    exit_code code = distances ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (!stream && code == EXIT_CODE_OK) code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for the histograms");
    if (code == EXIT_CODE_OK) {
        count_states(run, log_counts);
        eqf_estimate_pair_distances(run->num, num_particles, run->target->space_dim, run->x, distances);
        fputs("quantity,low,high,model,model_standard_error,reweighted,reweighted_standard_error,chain\n", stream);
        code = print_histogram(app, stream, "energy", run, log_counts, 1, run->energy, (size_t)flags->num_bins);
    }
    if (code == EXIT_CODE_OK) {
        code = print_histogram(app, stream, "distance", run, log_counts, num_pairs, distances, (size_t)flags->num_bins);
    }
    if (stream && fclose(stream) != 0 && code == EXIT_CODE_OK) code = app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    if (code == EXIT_CODE_OK) code = files_write(app, flags->histograms_path, text, size);
    free(text);
    free(log_counts);
    free(distances);
    return code;
}

/* ---- Results ---------------------------------------------------------------------------------- */

static exit_code print_result(cli_app *app, const boltzmann_flags *flags, const boltzmann *run) {
    char log_z_note[48] = "", energy_note[48] = "";
    if (run->known && isfinite(run->known->log_z)) {
        snprintf(log_z_note, sizeof log_z_note, "(known: %g)", run->known->log_z);
        snprintf(energy_note, sizeof energy_note, "(known: %g)", run->known->mean_energy);
    }
    const char *log_z_known = log_z_note[0] ? log_z_note : NULL, *energy_known = energy_note[0] ? energy_note : NULL;
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_count(&output, "num_proposals", "samples of the model (proposals)", run->num);
    output_count(&output, "seed", "seed", app->seed);
    output_line(&output, "reweighted");
    output_number(&output, "ess_fraction", "  effective sample size (fraction)", run->weights.ess_fraction, NULL);
    output_number(&output, "ess_fraction_standard_error", "    standard error", run->ess_fraction_error, NULL);
    output_number(&output, "max_weight_fraction", "  largest weight (fraction of all)",
                  run->weights.max_weight_fraction, NULL);
    output_round_trip(&output, &run->round_trip);
    output_number(&output, "log_z", "  ln Z", run->weights.log_z, log_z_known);
    output_number(&output, "log_z_standard_error", "    standard error", run->log_z_error, NULL);
    output_number(&output, "free_energy_difference", "  free energy minus prior's (kT)",
                  run->free_energy_difference, NULL);
    output_number(&output, "free_energy_difference_standard_error", NULL, run->log_z_error, NULL);
    output_number(&output, "mean_energy_reweighted", "  mean energy (kT)", run->mean_energy, energy_known);
    output_number(&output, "mean_energy_reweighted_standard_error", "    standard error", run->mean_energy_error, NULL);
    output_line(&output, "independence Metropolis");
    output_count(&output, "num_burn_in", "  burn-in (proposals)", run->num_burn_in);
    output_number(&output, "acceptance", "  acceptance", run->acceptance, NULL);
    output_number(&output, "autocorrelation_time", "  autocorrelation time (proposals)",
                  run->chain.autocorrelation_time, "(of the energy)");
    output_number(&output, "effective_samples", "  effective samples", run->chain.effective_samples, NULL);
    output_number(&output, "mean_energy_chain", "  mean energy (kT)", run->chain.mean, energy_known);
    output_number(&output, "mean_energy_chain_standard_error", "    standard error", run->chain.standard_error, NULL);
    output_text(&output, "output", flags->output_path ? "chain in" : NULL, flags->output_path);
    output_text(&output, "energies_output", flags->energies_path ? "its energies in" : NULL, flags->energies_path);
    output_text(&output, "proposals_output", flags->proposals.x ? "proposals in" : NULL, flags->proposals.x);
    output_text(&output, "log_weights_output", flags->proposals.log_weights ? "their log-weights in" : NULL,
                flags->proposals.log_weights);
    output_text(&output, "xyz_output", flags->proposals.xyz ? "proposals as extended XYZ in" : NULL,
                flags->proposals.xyz);
    output_text(&output, "histograms_output", flags->histograms_path ? "histograms in" : NULL, flags->histograms_path);
    code = output_finish(&output);
    if (run->weights.max_weight_fraction > dominant_weight) {
        app_warn(app, "one sample carries %.1f %% of the total weight: averages hang on it and the chain stays there; "
                      "draw more proposals (-n) or improve the model", 100 * run->weights.max_weight_fraction);
    } else if (!(run->chain.effective_samples > 100)) {
        app_warn(app, "the chain is worth %.3g independent samples only: draw more proposals (-n) or improve the model",
                 run->chain.effective_samples);
    }
    return code;
}

static exit_code generate(cli_app *app, const boltzmann_flags *flags, const eqf_model *model,
                          const eqf_potential_options *target) {
    const eqf_model_options *made = eqf_model_options_of(model);
    const eqf_preset *preset = eqf_preset_find(made->preset);
    boltzmann run = {.target = target,
                     .weights = EQF_WEIGHT_SUMMARY_INIT,
                     .chain = EQF_CHAIN_MEAN_INIT,
                     .num = (size_t)flags->num_proposals,
                     .num_burn_in = (size_t)flags->num_burn_in,
                     .num_kept = (size_t)(flags->num_proposals - flags->num_burn_in),
                     .num_dof = (size_t)target->num_particles * target->space_dim,
                     .known = preset && eqf_preset_matches(preset, target) ? preset : NULL};
    exit_code code = propose(app, model, flags, &run);
    cli_progress progress;
    if (code == EXIT_CODE_OK) {
        progress_wait(&progress, app, "weights");
        code = weigh(app, made, &run);
        progress_end(&progress);
    }
    if (code == EXIT_CODE_OK) walk(app, &run);
    if (code == EXIT_CODE_OK && (flags->output_path || flags->energies_path)) code = write_chain(app, flags, &run);
    const sample_set proposals = {target, run.num, run.x, run.energy, run.log_prob, run.log_weights, 0};
    if (code == EXIT_CODE_OK) code = sample_files_write(app, &flags->proposals, &proposals);
    if (code == EXIT_CODE_OK && flags->histograms_path) code = write_histograms(app, flags, &run);
    if (code == EXIT_CODE_OK) code = print_result(app, flags, &run);
    clear(&run);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------ */

static exit_code check_flags(cli_app *app, boltzmann_flags *flags) {
    files_use uses[SAMPLE_FILES_NUM_USES + 5] = {{"-o", flags->output_path, FILES_NUMPY},
                                                 {"--energies", flags->energies_path, FILES_NUMPY},
                                                 {"--histograms", flags->histograms_path, FILES_WRITTEN},
                                                 {"MODEL", flags->model_path, FILES_READ},
                                                 {"--potential", flags->target.potential_path, FILES_READ}};
    sample_files_uses(&flags->proposals, "--proposals", uses + 5);
    exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code != EXIT_CODE_OK) return code;
    if (flags->is_thinning_set && !flags->output_path && !flags->energies_path) {
        return app_fail(app, EXIT_CODE_USAGE, "--thinning says which states -o and --energies get: give one of them");
    }
    if (flags->is_num_bins_set && !flags->histograms_path) {
        return app_fail(app, EXIT_CODE_USAGE, "--bins belongs to --histograms FILE.csv, which is missing");
    }
    if (!flags->is_burn_in_set) flags->num_burn_in = flags->num_proposals / 100;
    if (flags->num_burn_in + 4 > flags->num_proposals) {
        return app_fail(app, EXIT_CODE_USAGE, "--burn-in %llu leaves fewer than 4 of %llu proposals",
                        (unsigned long long)flags->num_burn_in, (unsigned long long)flags->num_proposals);
    }
    return flow_flags_read(app, &flags->flow, &flags->flow_options);
}

/* Options of the proposals and the chain. */
static size_t chain_options(boltzmann_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-proposals",
         .argument = "COUNT",
         .value = &flags->num_proposals,
         .low = 4,
         .high = 1e12,
         .help = "samples of the model to weigh and to propose"},
        {.kind = OPTION_TEXT,
         .letter = 'o',
         .name = "output",
         .argument = "FILE.npy",
         .value = &flags->output_path,
         .help = "the chain's configurations, [B, N, D]; a state held longer comes again"},
        {.kind = OPTION_TEXT,
         .name = "energies",
         .argument = "FILE.npy",
         .value = &flags->energies_path,
         .help = "their energies, float32 [B]"},
        {.kind = OPTION_COUNT,
         .name = "burn-in",
         .argument = "COUNT",
         .value = &flags->num_burn_in,
         .is_set = &flags->is_burn_in_set,
         .low = 0,
         .high = 1e12,
         .default_text = "1 % of -n",
         .help = "first states of the chain that do not count"},
        {.kind = OPTION_COUNT,
         .name = "thinning",
         .argument = "COUNT",
         .value = &flags->thinning,
         .is_set = &flags->is_thinning_set,
         .low = 1,
         .high = 1e12,
         .help = "of the states, every so many is written"},
    };
    return OPTIONS_PUT(options_out, rows);
}

/* Options of further files. */
static size_t file_options(boltzmann_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .name = "histograms",
         .argument = "FILE.csv",
         .value = &flags->histograms_path,
         .help = "densities of energy and pair distance: model, reweighted, chain"},
        {.kind = OPTION_COUNT,
         .name = "bins",
         .argument = "COUNT",
         .value = &flags->num_bins,
         .is_set = &flags->is_num_bins_set,
         .low = 1,
         .high = 100000,
         .help = "of each histogram"},
        {.kind = OPTION_TEXT,
         .name = "proposals",
         .argument = "FILE.npy",
         .value = &flags->proposals.x,
         .help = "all samples of the model, to be weighted"},
        {.kind = OPTION_TEXT,
         .name = "log-weights",
         .argument = "FILE.npy",
         .value = &flags->proposals.log_weights,
         .help = "logarithms of their weights, -energy - log-density, float32 [B]"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_boltzmann(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL [-n COUNT] [-o FILE.npy] [options]",
        .description =
            "Unbiased samples of the target from a flow. Samples of the model are weighed by "
            "exp(-u(x))/q(x): effective sample size, ln Z, free energy and mean energy with bootstrap errors. "
            "The same samples are the proposals of an independence Metropolis chain, whose states are "
            "distributed as the target whatever the flow gets wrong.",
        .operands = operands,
        .examples = "  eqflow boltzmann dw4.safetensors -n 1e5\n"
                    "  eqflow boltzmann dw4.safetensors -n 1e6 -o x.npy --thinning 50\n"
                    "  eqflow boltzmann dw4.safetensors --histograms dw4.csv\n",
    };
    boltzmann_flags flags = {.num_proposals = 100000, .thinning = 1, .num_bins = 60};
    cli_option options[OPTIONS_MAX];
    size_t num_options = chain_options(&flags, options);
    num_options += file_options(&flags, options + num_options);
    num_options += sample_files_options(
        &flags.proposals, "the proposals with energy, log-density and log-weight of each", options + num_options);
    num_options += flow_flags_options(&flags.flow, 1e5, "integrator steps", options + num_options);
    num_options += system_options(&flags.target, SYSTEM_OF_MODEL, options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.model_path = words[0];
    if ((code = check_flags(app, &flags)) != EXIT_CODE_OK) return code;
    eqf_model *model = NULL;
    if ((code = flow_flags_load(app, flags.model_path, &model)) != EXIT_CODE_OK) return code;
    eqf_potential_options target = eqf_model_options_of(model)->potential;
    if ((code = system_apply(app, &flags.target, &target)) == EXIT_CODE_OK &&
        (code = files_check_writable(app, flags.output_path, "the chain")) == EXIT_CODE_OK &&
        (code = files_check_writable(app, flags.energies_path, "the energies")) == EXIT_CODE_OK &&
        (code = files_check_writable(app, flags.histograms_path, "the histograms")) == EXIT_CODE_OK &&
        (code = sample_files_check(app, &flags.proposals)) == EXIT_CODE_OK &&
        (code = app_open(app)) == EXIT_CODE_OK && (code = system_verify(app, &target)) == EXIT_CODE_OK) {
        code = generate(app, &flags, model, &target);
    }
    eqf_model_destroy(&model);
    return code;
}
