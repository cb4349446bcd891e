#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "commands.h"
#include "eqflow/bench.h"
#include "eqflow/device.h"
#include "eqflow/version.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "system.h"

enum { MIN_RUNS = 5, NUM_START_UP_RUNS = 3, MAX_BATCHES = 4 };

/* Common to all figures of one run of the command. */
typedef struct bench_session {
    cli_app *app;
    cli_output output;
    cli_progress progress;
    eqf_device_info device;
    eqf_bench_yardsticks yardsticks;
    double seconds; /* for each figure */
    uint64_t batch; /* 0: the list of each system */
    size_t num_figures, num_total;
} bench_session;

/* ---- Figures ----------------------------------------------------------------------------------------------------- */

static const char *percent(double fraction, char text[32]) {
    if (!(fraction > 0) || !isfinite(fraction)) return "-";
    snprintf(text, 32, fraction < 0.0995 ? "%.1f%%" : "%.0f%%", 100 * fraction);
    return text;
}

/* Figures derived from a measured time. */
typedef struct bench_rates {
    double calls, samples;  /* 1/s */
    double spread;          /* quartile range over median */
    double ns_per_pair;     /* for a pair and an evaluation of the field */
    double fma_fraction;    /* of the FMA peak; NaN if FMAs are not counted */
    double memory_fraction; /* of the copy bandwidth; NaN if traffic is not counted */
} bench_rates;

static bench_rates rates_of(const bench_session *session, const bench_problem *problem, const bench_figure *figure) {
    const double per_sample = figure->median / (double)problem->batch;
    const double fma = bench_fma_count(problem), bytes = bench_traffic_bytes(problem);
    return (bench_rates){1 / figure->median,
                         1 / per_sample,
                         (figure->high - figure->low) / figure->median,
                         1e9 * per_sample / bench_pair_evaluations(problem),
                         fma > 0 ? 2e-9 * fma / per_sample / session->yardsticks.fma_gflops : NAN,
                         bytes > 0 ? 1e-9 * bytes / per_sample / session->yardsticks.copy_gbps : NAN};
}

static json_t *figure_json(const bench_problem *problem, const bench_figure *figure, const bench_rates *rates) {
    json_t *json = json_object();
    const eqf_potential_options *system = &problem->model.potential;
    json_object_set_new(json, "task", json_string(bench_task_name(problem->task)));
    json_object_set_new(json, "num_particles", json_integer(system->num_particles));
    json_object_set_new(json, "space_dim", json_integer(system->space_dim));
    json_object_set_new(json, "num_distance", json_integer(problem->model.dynamics.num_distance));
    json_object_set_new(json, "batch", json_integer((json_int_t)problem->batch));
    if (problem->task == BENCH_TRAIN)
        json_object_set_new(json, "integration_penalty", output_real(problem->integration_penalty));
    json_object_set_new(json, "num_runs", json_integer((json_int_t)figure->num_runs));
    json_object_set_new(json, "num_calls", json_integer((json_int_t)figure->num_calls));
    json_object_set_new(json, "seconds_per_call", output_real(figure->median));
    json_object_set_new(json, "seconds_per_call_quartiles",
                        json_pack("[o, o]", output_real(figure->low), output_real(figure->high)));
    json_object_set_new(json, "calls_per_second", output_real(rates->calls));
    json_object_set_new(json, "samples_per_second", output_real(rates->samples));
    json_object_set_new(json, "ns_per_pair_evaluation", output_real(rates->ns_per_pair));
    json_object_set_new(json, "fma_peak_fraction", output_real(rates->fma_fraction));
    json_object_set_new(json, "copy_bandwidth_fraction", output_real(rates->memory_fraction));
    json_object_set_new(json, "value", output_real(figure->value));
    return json;
}

/* Makes, measures and destroys one problem; its JSON goes to array. */
static exit_code measure(bench_session *session, const bench_problem *problem, json_t *array, bench_rates *rates_out,
                         bench_figure *figure_out) {
    char detail[96];
    snprintf(detail, sizeof detail, "%s N=%u batch %zu", bench_task_name(problem->task),
             problem->model.potential.num_particles, problem->batch);
    progress_update(&session->progress, (double)session->num_figures, (double)session->num_total, detail);
    bench_case bench;
    exit_code code = bench_case_create(session->app, problem, &bench);
    if (code == EXIT_CODE_OK) code = bench_case_measure(&bench, session->seconds, MIN_RUNS, figure_out);
    bench_case_clear(&bench);
    session->num_figures++;
    if (code != EXIT_CODE_OK) return code;
    *rates_out = rates_of(session, problem, figure_out);
    json_array_append_new(array, figure_json(problem, figure_out, rates_out));
    return EXIT_CODE_OK;
}

/* ---- Systems ----------------------------------------------------------------------------------------------------- */

static size_t choose_batches(const bench_session *session, const eqf_preset *preset, size_t batches[MAX_BATCHES]) {
    const size_t small[] = {1, 16, 256, 4096};
    if (session->batch > 0) {
        batches[0] = (size_t)session->batch;
        return 1;
    }
    memcpy(batches, small, sizeof small);
    return preset->model->potential.num_particles > 20 ? 3 : 4;
}

static exit_code print_row(bench_session *session, const bench_problem *problem, const char *label, json_t *array) {
    bench_rates r;
    bench_figure figure;
    char calls[32], samples[32], spread[32], ns[32], fma[32], memory[32];
    exit_code code = measure(session, problem, array, &r, &figure);
    if (code != EXIT_CODE_OK) return code;
    output_line(&session->output, "  %-17s %6zu %9s %10s %7s %8s %7s %7s", label, problem->batch,
                bench_brief(r.calls, calls), bench_brief(r.samples, samples), percent(r.spread, spread),
                bench_brief(r.ns_per_pair, ns), percent(r.fma_fraction, fma), percent(r.memory_fraction, memory));
    return EXIT_CODE_OK;
}

static exit_code bench_preset(bench_session *session, const eqf_preset *preset, json_t *array) {
    static const struct {
        bench_task task;
        double penalty;
        const char *label;
    } rows[] = {
        {BENCH_SAMPLE, 0, "sample, log_prob"},
        {BENCH_LOG_PROB, 0, "log_prob"},
        {BENCH_TRAIN, 0, "train, penalty 0"},
        {BENCH_TRAIN, 0.1, "train, pen. 0.1"},
    };
    const eqf_potential_options *system = &preset->model->potential;
    output_line(&session->output, "%s", "");
    output_line(&session->output, "%s: N = %u in %u dimensions, %u pairs, RK4 with %u steps", preset->name,
                system->num_particles, system->space_dim, system->num_particles * (system->num_particles - 1) / 2,
                preset->model->integrator.num_steps);
    output_line(&session->output, "  %-17s %6s %9s %10s %7s %8s %7s %7s", "task", "batch", "calls/s", "samples/s",
                "spread", "ns/pair", "of FMA", "of copy");
    size_t batches[MAX_BATCHES], num_batches = choose_batches(session, preset, batches);
    exit_code code = EXIT_CODE_OK;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (size_t b = 0; b < num_batches && code == EXIT_CODE_OK; b++) {
            const bench_problem problem = {rows[r].task, *preset->model, batches[b], rows[r].penalty};
            code = print_row(session, &problem, rows[r].label, array);
        }
    }
    const bench_problem chains = {BENCH_MCMC, *preset->model, session->batch > 0 ? (size_t)session->batch : 4096, 0};
    if (code == EXIT_CODE_OK) code = print_row(session, &chains, "mcmc sweep", array);
    return code;
}

static size_t num_preset_figures(const bench_session *session, const eqf_preset *preset) {
    size_t batches[MAX_BATCHES];
    return 4 * choose_batches(session, preset, batches) + 1;
}

/* ---- Sweeps ------------------------------------------------------------------------------------------------------ */

static const unsigned sweep_sizes[] = {4, 8, 13, 20, 32, 55, 80, 120, 200};
static const unsigned sweep_gaussians[] = {10, 50, 200};
enum {
    NUM_SWEEP_SIZES = sizeof sweep_sizes / sizeof sweep_sizes[0],
    NUM_SWEEP_GAUSSIANS = sizeof sweep_gaussians / sizeof sweep_gaussians[0],
    NUM_SWEEP_ROUNDS = 7
};

/* About the same work for each N, and enough work-items for the device. */
static size_t sweep_batch(const bench_session *session, unsigned num_particles) {
    if (session->batch > 0) return (size_t)session->batch;
    const eqf_device_info *device = &session->device;
    const size_t pairs = (size_t)num_particles * (num_particles - 1) / 2;
    const size_t least = (size_t)device->compute_units * (device->vector_width > 1 ? 4 * device->vector_width : 64);
    size_t batch = 300000 / pairs;
    if (batch > 16384) batch = 16384;
    if (batch < least) batch = least;
    return (batch + 63) / 64 * 64;
}

static int ascending(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* For one case of a sweep and each round: seconds for a call, and the time for a pair relative to the first case. */
typedef struct sweep_series {
    double seconds[NUM_SWEEP_ROUNDS], ratios[NUM_SWEEP_ROUNDS];
} sweep_series;

static bench_figure summarise(const bench_figure *last, sweep_series *series) {
    bench_figure figure = *last;
    qsort(series->seconds, NUM_SWEEP_ROUNDS, sizeof(double), ascending);
    qsort(series->ratios, NUM_SWEEP_ROUNDS, sizeof(double), ascending);
    figure.low = series->seconds[NUM_SWEEP_ROUNDS / 4];
    figure.median = series->seconds[NUM_SWEEP_ROUNDS / 2];
    figure.high = series->seconds[NUM_SWEEP_ROUNDS - 1 - NUM_SWEEP_ROUNDS / 4];
    figure.num_calls *= NUM_SWEEP_ROUNDS; /* approximately: the numbers of runs in a round differ by one */
    figure.num_runs *= NUM_SWEEP_ROUNDS;
    return figure;
}

static void sweep_row(bench_session *session, const bench_problem *problem, unsigned variable,
                      const bench_figure *figure, const sweep_series *series, json_t *array) {
    const bench_rates r = rates_of(session, problem, figure);
    const double low = series->ratios[NUM_SWEEP_ROUNDS / 4], median = series->ratios[NUM_SWEEP_ROUNDS / 2];
    const double high = series->ratios[NUM_SWEEP_ROUNDS - 1 - NUM_SWEEP_ROUNDS / 4];
    char samples[32], spread[32], ns[32], ratio[32], ratio_spread[32], fma[32];
    json_t *json = figure_json(problem, figure, &r);
    json_object_set_new(json, "ratio_to_first", output_real(median));
    json_object_set_new(json, "ratio_to_first_quartiles", json_pack("[o, o]", output_real(low), output_real(high)));
    json_array_append_new(array, json);
    output_line(&session->output, "  %9u %7zu %10s %7s %9s %9s %7s %8s", variable, problem->batch,
                bench_brief(r.samples, samples), percent(r.spread, spread), bench_brief(r.ns_per_pair, ns),
                bench_brief(median, ratio), percent((high - low) / median, ratio_spread), percent(r.fma_fraction, fma));
}

/* All cases are made first and then measured in turns, so that a ratio compares measurements that are close in time and
 * a slow change of the clock cancels. */
static exit_code sweep(bench_session *session, const char *title, const char *name, size_t num,
                       const unsigned variables[], const bench_problem problems[], json_t *array) {
    bench_case cases[NUM_SWEEP_SIZES];
    bench_figure figures[NUM_SWEEP_SIZES];
    sweep_series series[NUM_SWEEP_SIZES];
    size_t num_made = 0;
    exit_code code = EXIT_CODE_OK;
    for (; num_made < num && code == EXIT_CODE_OK; num_made++) {
        progress_update(&session->progress, (double)session->num_figures++, (double)session->num_total, title);
        code = bench_case_create(session->app, &problems[num_made], &cases[num_made]);
    }
    for (size_t round = 0; round < NUM_SWEEP_ROUNDS && code == EXIT_CODE_OK; round++) {
        for (size_t i = 0; i < num && code == EXIT_CODE_OK; i++) {
            code = bench_case_measure(&cases[i], session->seconds / NUM_SWEEP_ROUNDS, 1, &figures[i]);
            series[i].seconds[round] = figures[i].median;
            const double work = (double)problems[i].batch * bench_pair_evaluations(&problems[i]);
            const double first_work = (double)problems[0].batch * bench_pair_evaluations(&problems[0]);
            series[i].ratios[round] = figures[i].median / work * first_work / figures[0].median;
        }
    }
    for (size_t i = 0; i < num_made; i++) bench_case_clear(&cases[i]);
    if (code != EXIT_CODE_OK) return code;
    output_line(&session->output, "%s", "");
    output_line(&session->output, "%s", title);
    output_line(&session->output, "  %9s %7s %10s %7s %9s %9s %7s %8s", name, "batch", "samples/s", "spread", "ns/pair",
                "to first", "spread", "of FMA");
    for (size_t i = 0; i < num; i++) {
        const bench_figure figure = summarise(&figures[i], &series[i]);
        sweep_row(session, &problems[i], variables[i], &figure, &series[i], array);
    }
    return EXIT_CODE_OK;
}

static exit_code bench_sweeps(bench_session *session, json_t *sizes, json_t *gaussians) {
    const eqf_preset *lj13 = eqf_preset_find("lj13");
    bench_problem problems[NUM_SWEEP_SIZES];
    for (size_t i = 0; i < NUM_SWEEP_SIZES; i++) {
        problems[i] = (bench_problem){BENCH_SAMPLE, *lj13->model, sweep_batch(session, sweep_sizes[i]), 0};
        problems[i].model.potential.num_particles = sweep_sizes[i];
        problems[i].model.preset[0] = '\0';
    }
    exit_code code = sweep(session, "Sampling with log-density against the number of particles, 3 dimensions", "N",
                           NUM_SWEEP_SIZES, sweep_sizes, problems, sizes);
    if (code != EXIT_CODE_OK) return code;
    for (size_t i = 0; i < NUM_SWEEP_GAUSSIANS; i++) {
        problems[i] = (bench_problem){BENCH_SAMPLE, *lj13->model, sweep_batch(session, 13), 0};
        problems[i].model.dynamics.num_distance = sweep_gaussians[i];
        problems[i].model.preset[0] = '\0';
    }
    return sweep(session, "The same for lj13 against the number of Gaussians", "Gaussians", NUM_SWEEP_GAUSSIANS,
                 sweep_gaussians, problems, gaussians);
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

/* The selection of --system. */
typedef struct bench_selection {
    const eqf_preset *presets[8];
    size_t num_presets;
    bool has_sweeps;
    const eqf_preset *start_up; /* the system of the start-up */
} bench_selection;

static exit_code select_systems(cli_app *app, const char *name, bench_selection *selection) {
    static const char *const usual[] = {"dw4", "lj13", "lj55"};
    const bool is_all = strcmp(name, "all") == 0, is_sweep = strcmp(name, "sweep") == 0;
    *selection = (bench_selection){.has_sweeps = is_all || is_sweep, .start_up = eqf_preset_find("lj13")};
    for (size_t i = 0; is_all && i < sizeof usual / sizeof usual[0]; i++) {
        selection->presets[selection->num_presets++] = eqf_preset_find(usual[i]);
    }
    if (is_all || is_sweep) return EXIT_CODE_OK;
    selection->start_up = selection->presets[0] = eqf_preset_find(name);
    selection->num_presets = 1;
    if (selection->start_up) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE, "unknown system '%s'; there are dw2, dw4, lj13, lj55, sweep, all", name);
}

static exit_code bench_all(bench_session *session, const bench_selection *selection, const bench_start_up *here) {
    cli_app *app = session->app;
    json_t *systems = json_object(), *sizes = json_array(), *gaussians = json_array();
    output_json(&session->output, "systems", systems);
    output_json(&session->output, "sweep_particles", sizes);
    output_json(&session->output, "sweep_gaussians", gaussians);
    exit_code code = EXIT_CODE_OK;
    for (size_t i = 0; i < selection->num_presets && code == EXIT_CODE_OK; i++) {
        json_t *figures = json_array();
        json_object_set_new(systems, selection->presets[i]->name, figures);
        code = bench_preset(session, selection->presets[i], figures);
    }
    if (code == EXIT_CODE_OK && selection->has_sweeps) code = bench_sweeps(session, sizes, gaussians);
    bench_start_up cold, warm;
    if (code == EXIT_CODE_OK) {
        progress_update(&session->progress, (double)session->num_figures, (double)session->num_total, "start-up");
        const size_t num_runs = session->seconds < 0.1 ? 1 : NUM_START_UP_RUNS; /* the user wants a short run */
        code = bench_start_up_spawn(app, selection->start_up, num_runs, &cold, &warm);
    }
    if (code != EXIT_CODE_OK) return code;
    bench_start_up_print(&session->output, selection->start_up, here, &cold, &warm);
    output_json(&session->output, "start_up",
                json_pack("{s:s, s:o, s:o, s:o}", "system", selection->start_up->name, "here",
                          bench_start_up_json(here), "cold", bench_start_up_json(&cold), "warm",
                          bench_start_up_json(&warm)));
    return EXIT_CODE_OK;
}

static exit_code run_session(cli_app *app, const bench_selection *selection, double seconds, uint64_t batch) {
    bench_session session = {.app = app,
                             .seconds = seconds,
                             .batch = batch,
                             .num_total = 1,
                             .device = EQF_DEVICE_INFO_INIT,
                             .yardsticks = EQF_BENCH_YARDSTICKS_INIT};
    bench_start_up here;
    exit_code code = bench_start_up_here(app, selection->start_up, &here); /* before anything else opens a device */
    if (code == EXIT_CODE_OK) code = app_open(app);
    if (code != EXIT_CODE_OK) return code;
    eqf_status status = eqf_context_device(app->ctx, &session.device);
    if (status == EQF_OK) status = eqf_bench_probe(app->ctx, &session.yardsticks);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if ((code = output_begin(&session.output, app)) != EXIT_CODE_OK) return code;
    bench_describe_device(&session.output, &session.device, &session.yardsticks);
    output_number(&session.output, "seconds_per_figure", NULL, seconds, NULL);
    for (size_t i = 0; i < selection->num_presets; i++) {
        session.num_total += num_preset_figures(&session, selection->presets[i]);
    }
    if (selection->has_sweeps) session.num_total += NUM_SWEEP_SIZES + NUM_SWEEP_GAUSSIANS;
    progress_begin(&session.progress, app, "bench", "figures");
    code = bench_all(&session, selection, &here);
    progress_end(&session.progress);
    if (code == EXIT_CODE_OK) return output_finish(&session.output);
    output_abandon(&session.output);
    return code;
}

/* Longer than 60 lines: one table of options. */
exit_code cmd_bench(cli_app *app) {
    const char *const operands[] = {NULL};
    const command_help help = {
        .usage = "[options]",
        .description =
            "Measures how fast the device samples, gives log-densities, trains and runs Monte Carlo, against its own "
            "multiply-add peak and copy bandwidth, and where the time of a start goes. Figures are medians over "
            "repeated runs; models are fresh ones, whose speed is that of trained ones. Let nothing else run "
            "meanwhile.",
        .operands = operands,
        .print_more = bench_print_columns,
        .examples = "  eqflow bench --system lj13 --batch 4096 --json\n  eqflow bench --model h200 --system lj13\n",
    };
    const char *system = "all", *model_device = NULL, *field = "radial", *integrator = "rk4";
    uint64_t batch = 0;
    double seconds = 0.5, steps = 12;
    bool is_serving = false, is_start_up = false;
    bool is_field_set = false, is_integrator_set = false, is_steps_set = false;
    const cli_option options[] = {
        {.kind = OPTION_TEXT,
         .name = "system",
         .argument = "NAME",
         .value = &system,
         .help = "dw2, dw4, lj13, lj55, sweep (over N and Gaussians) or all"},
        {.kind = OPTION_COUNT,
         .name = "batch",
         .argument = "N",
         .value = &batch,
         .low = 1,
         .high = 1 << 24,
         .default_text = "several",
         .help = "samples or chains in a call"},
        {.kind = OPTION_NUMBER,
         .name = "seconds",
         .argument = "S",
         .value = &seconds,
         .low = 1e-3,
         .high = 3600,
         .help = "time for each figure, at least five runs"},
        {.kind = OPTION_FLAG,
         .name = "start-up",
         .value = &is_start_up,
         .default_text = "",
         .help = "only the start-up of this process"},
        {.kind = OPTION_TEXT,
         .name = "model",
         .argument = "DEVICE",
         .value = &model_device,
         .default_text = "",
         .help = "nothing is run: the time that a device would take, by name (h200), by a .device file, or here"},
        {.kind = OPTION_TEXT,
         .name = "field",
         .argument = "KIND",
         .value = &field,
         .is_set = &is_field_set,
         .help = "radial, dense or message, of --model"},
        {.kind = OPTION_TEXT,
         .name = "integrator",
         .argument = "METHOD",
         .value = &integrator,
         .is_set = &is_integrator_set,
         .help = "rk4 or dopri5, of --model"},
        {.kind = OPTION_NUMBER,
         .name = "steps",
         .argument = "N",
         .value = &steps,
         .is_set = &is_steps_set,
         .low = 1,
         .high = 1e6,
         .help = "that dopri5 tries for a sample, of --model"},
        {.kind = OPTION_FLAG,
         .name = "serve",
         .value = &is_serving,
         .default_text = "",
         .help = "answer tests/bench/compare.py on stdin and stdout"},
    };
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, sizeof options / sizeof options[0], words, &code)) return code;
    if ((is_field_set || is_integrator_set || is_steps_set) && !model_device)
        return app_fail(app, EXIT_CODE_USAGE, "--field, --integrator and --steps belong to --model");
    if (is_serving) return bench_serve(app);
    bench_selection selection;
    if ((code = select_systems(app, system, &selection)) != EXIT_CODE_OK) return code;
    if (is_start_up) return bench_start_up_report(app, selection.start_up);
    if (model_device)
        return bench_model_report(app, &(bench_model_question){model_device, field, integrator, steps}, batch,
                                  selection.presets, selection.num_presets);
    return run_session(app, &selection, seconds, batch);
}
