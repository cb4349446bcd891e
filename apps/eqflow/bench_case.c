/* One case: a task on a system with a batch size, timed in runs of equal length. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "signals.h"

enum { MIN_MCMC_SWEEPS = 200, MCMC_BURN_IN = 20, MAX_CALLS_PER_RUN = 1 << 20 };

/* The clock resolves far less than a microsecond; longer runs average over other work on the machine. A run of Monte
 * Carlo includes the start of the chains, so it must be longer. */
static double run_seconds(bench_task task) {
    return task == BENCH_MCMC ? 0.2 : 0.01;
}

const char *bench_task_name(bench_task task) {
    static const char *const names[] = {"sample", "log_prob", "train", "mcmc"};
    return names[task];
}

static size_t num_dof_of(const bench_problem *problem) {
    return (size_t)problem->model.potential.num_particles * problem->model.potential.space_dim;
}

/* ---- Counting work ----------------------------------------------------------------------------------------------- */

static double num_pairs_of(const bench_problem *problem) {
    double num_particles = problem->model.potential.num_particles;
    return 0.5 * num_particles * (num_particles - 1);
}

double bench_pair_evaluations(const bench_problem *problem) {
    /* A sweep moves each particle once, and a move needs all pairs of the particle: every pair counts twice. */
    if (problem->task == BENCH_MCMC) return 2 * num_pairs_of(problem);
    return 4.0 * problem->model.integrator.num_steps * num_pairs_of(problem);
}

/* Fused multiply-adds of cl/dynamics/radial_table.clh for one pair. Subtractions, lone products, square root, gathers
 * and conversions are not counted: the fraction of the peak is that of useful work.
 *   field_velocity: d^2: D; place in the cell: 1; phi: 3; phi': 2; velocity of both: 2 D; divergence: 2  -> 3 D + 8
 *   field_vjp:      d^2 and projection: 2 D; place: 1; phi, phi', phi'': 6; alpha: 1; along: 1; gradient in r: D;
 *                   moments of the cell: 2                                                              -> 3 D + 11
 * A training step evaluates 4 stages forward, 3 again in the reverse, and 4 products in reverse, each step. */
double bench_fma_count(const bench_problem *problem) {
    const double D = problem->model.potential.space_dim, evaluations = bench_pair_evaluations(problem);
    const double forward = 3 * D + 8, reverse = 3 * D + 11;
    if (problem->task == BENCH_MCMC) return 0;
    return evaluations * (problem->task == BENCH_TRAIN ? 1.75 * forward + reverse : forward);
}

/* The traffic of device buffers and host arrays for one sample, in units of its N D floats: each kernel and each copy
 * of the call reads and writes them once. Tables stay in caches and are left out.
 *   sample:   draw 1, prior 1, trajectory 2, to rows 2, to the host 2
 *   log_prob: from the host 2, to blocks 2, centre 2, trajectory 2, prior 1
 *   train:    gather 2, trajectory 2, prior 2, reverse 2, and a checkpoint per step written and read */
double bench_traffic_bytes(const bench_problem *problem) {
    const double unit = (double)num_dof_of(problem) * sizeof(float);
    switch (problem->task) {
        case BENCH_SAMPLE: return 8 * unit;
        case BENCH_LOG_PROB: return 9 * unit;
        case BENCH_TRAIN: return (8 + 2.0 * problem->model.integrator.num_steps) * unit;
        case BENCH_MCMC: break;
    }
    return 0;
}

size_t bench_best_batch(const eqf_device_info *device, bench_task task, const eqf_potential_options *system) {
    /* Large enough that the cost of launches is negligible on two AVX2 cores (docs/benchmarks.md); not a measured
     * optimum. */
    const unsigned N = system->num_particles;
    size_t batch = N <= 4 ? 8192 : N <= 13 ? 4096 : 512;
    if (task == BENCH_MCMC) batch = 4096;
    /* A GPU needs hundreds of samples for each compute unit, a core a few vectors. */
    size_t least = (size_t)device->compute_units * (device->vector_width > 1 ? 4 * device->vector_width : 256);
    return batch > least || device->type != EQF_DEVICE_GPU ? batch : least;
}

/* ---- Making a case ----------------------------------------------------------------------------------------------- */

/* An untrained field of many particles moves them far apart or together, which a trained one does not. Smaller weights
 * for more particles keep distances, and so the used cells of the table, as in real samples. */
static exit_code calm_weights(bench_case *bench) {
    cli_app *app = bench->app;
    const unsigned num_particles = bench->problem.model.potential.num_particles;
    const size_t num_params = eqf_model_num_params(bench->model);
    float *params = app_alloc(app, num_params, sizeof *params, "the parameters");
    if (!params) return EXIT_CODE_DEVICE;
    memcpy(params, eqf_model_params(bench->model), num_params * sizeof *params);
    for (size_t s = 0; s < eqf_model_num_slices(bench->model); s++) {
        const eqf_param_slice *slice = eqf_model_slice(bench->model, s);
        if (strcmp(slice->name, "radial.weights") != 0 || num_particles <= 4) continue;
        for (size_t i = 0; i < slice->count; i++) params[slice->offset + i] *= 4.0f / (float)num_particles;
    }
    eqf_status status = eqf_model_set_params(app->ctx, bench->model, params);
    free(params);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* Gaussian clouds about as wide as the system's samples. x_out [num, N, D]. */
static eqf_status draw_data(bench_case *bench, size_t num, float *x_out) {
    const float scale = (float)eqf_potential_length(&bench->problem.model.potential);
    eqf_status status = eqf_flow_prior_sample(bench->flow, 5, 0, num, x_out);
    for (size_t i = 0; i < num * num_dof_of(&bench->problem); i++) x_out[i] *= scale;
    return status;
}

static exit_code create_trainer(bench_case *bench) {
    cli_app *app = bench->app;
    const bench_problem *problem = &bench->problem;
    const size_t num_train = 4 * problem->batch;
    float *x = app_alloc(app, num_train, num_dof_of(problem) * sizeof(float), "the training data");
    if (!x) return EXIT_CODE_DEVICE;
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.batch_size = problem->batch;
    options.num_steps = 1000000000; /* without end and without validations */
    options.validation_interval = options.num_steps;
    options.integration_penalty = problem->integration_penalty;
    /* The work does not depend on the rate, and with a small one the model stays nearly the same. */
    options.learning_rate = 1e-7;
    eqf_status status = draw_data(bench, num_train, x);
    if (status == EQF_OK) {
        status = eqf_trainer_create(app->ctx, bench->model, &options, num_train, x, 0, NULL, &bench->trainer);
    }
    free(x);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_TRAIN);
}

static exit_code create_parts(bench_case *bench) {
    cli_app *app = bench->app;
    const bench_problem *problem = &bench->problem;
    bench->x = app_alloc(app, problem->batch, num_dof_of(problem) * sizeof(float), "the samples");
    bench->log_prob = bench->x ? app_alloc(app, problem->batch, sizeof(float), "the log-densities") : NULL;
    if (!bench->log_prob) return EXIT_CODE_DEVICE;
    if (problem->task == BENCH_MCMC) return EXIT_CODE_OK;
    eqf_status status = eqf_model_create(app->ctx, &problem->model, &bench->model);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    exit_code code = calm_weights(bench);
    if (code != EXIT_CODE_OK) return code;
    status = eqf_flow_create(app->ctx, bench->model, NULL, &bench->flow);
    if (status == EQF_OK && problem->task == BENCH_LOG_PROB) status = draw_data(bench, problem->batch, bench->x);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (problem->task == BENCH_TRAIN) {
        code = create_trainer(bench);
        eqf_flow_destroy(&bench->flow); /* it was for the data; the trainer has its own flow */
    }
    return code;
}

/* ---- Running it -------------------------------------------------------------------------------------------------- */

static eqf_status run_mcmc(bench_case *bench, uint64_t num_calls) {
    const bench_problem *problem = &bench->problem;
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = (unsigned)problem->batch;
    options.num_burn_in = MCMC_BURN_IN;
    options.thinning = (unsigned)num_calls - MCMC_BURN_IN;
    options.seed = bench->num_calls;
    return eqf_mcmc_sample(bench->app->ctx, &problem->model.potential, &options, problem->batch, bench->x,
                           bench->log_prob, NULL);
}

static eqf_status run_calls(bench_case *bench, uint64_t num_calls) {
    const size_t batch = bench->problem.batch;
    eqf_status status = EQF_OK;
    if (bench->problem.task == BENCH_TRAIN) {
        eqf_training_state state = EQF_TRAINING_STATE_INIT;
        status = eqf_trainer_advance(bench->trainer, num_calls, &state);
        bench->value = state.loss;
    } else if (bench->problem.task == BENCH_MCMC) {
        status = run_mcmc(bench, num_calls);
    } else if (bench->problem.task == BENCH_SAMPLE) {
        for (uint64_t c = 0; c < num_calls && status == EQF_OK; c++) {
            status = eqf_flow_sample(bench->flow, 1, (bench->num_calls + c) * batch, batch, bench->x, bench->log_prob);
        }
    } else {
        for (uint64_t c = 0; c < num_calls && status == EQF_OK; c++) {
            status = eqf_flow_log_prob(bench->flow, batch, bench->x, bench->log_prob, NULL);
        }
    }
    bench->num_calls += num_calls;
    return status;
}

/* One timed run; the mean over the batch is not part of the time. */
static exit_code time_run(bench_case *bench, uint64_t num_calls, double *seconds_out) {
    const double start = app_seconds();
    eqf_status status = run_calls(bench, num_calls);
    *seconds_out = app_seconds() - start;
    if (status != EQF_OK) return app_fail_status(bench->app, status, ACTIVITY_COMPUTE);
    if (signals_is_stop_requested()) return app_fail(bench->app, EXIT_CODE_INTERRUPTED, "interrupted");
    if (bench->problem.task == BENCH_TRAIN) return EXIT_CODE_OK;
    double sum = 0;
    for (size_t b = 0; b < bench->problem.batch; b++) sum += bench->log_prob[b];
    bench->value = sum / (double)bench->problem.batch;
    return EXIT_CODE_OK;
}

exit_code bench_case_create(cli_app *app, const bench_problem *problem, bench_case *case_out) {
    *case_out = (bench_case){.app = app, .problem = *problem, .calls_per_run = 1};
    if (problem->task == BENCH_MCMC) case_out->calls_per_run = MIN_MCMC_SWEEPS;
    exit_code code = create_parts(case_out);
    double seconds;
    if (code == EXIT_CODE_OK) code = time_run(case_out, case_out->calls_per_run, &seconds); /* kernels are finished */
    while (code == EXIT_CODE_OK) {
        code = time_run(case_out, case_out->calls_per_run, &seconds);
        if (code != EXIT_CODE_OK || seconds >= run_seconds(problem->task)) break;
        if (case_out->calls_per_run >= MAX_CALLS_PER_RUN) break;
        case_out->calls_per_run *= 2;
    }
    return code;
}

void bench_case_clear(bench_case *bench) {
    eqf_trainer_destroy(&bench->trainer);
    eqf_flow_destroy(&bench->flow);
    eqf_model_destroy(&bench->model);
    free(bench->x);
    free(bench->log_prob);
    *bench = (bench_case){.app = bench->app};
}

static int ascending(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Quantile of sorted values, linear between neighbours. */
static double quantile(const double *sorted, size_t num, double fraction) {
    const double place = fraction * (double)(num - 1);
    const size_t below = (size_t)place;
    if (below + 1 >= num) return sorted[num - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

exit_code bench_case_measure(bench_case *bench, double seconds, size_t min_runs, bench_figure *figure_out) {
    size_t num_runs = 0, capacity = 64;
    double *times = app_alloc(bench->app, capacity, sizeof *times, "the times");
    if (!times) return EXIT_CODE_DEVICE;
    exit_code code = EXIT_CODE_OK;
    for (const double start = app_seconds(); num_runs < min_runs || app_seconds() - start < seconds;) {
        if (num_runs == capacity) {
            double *more = realloc(times, 2 * capacity * sizeof *times);
            if (!more) break; /* enough for a median */
            times = more;
            capacity *= 2;
        }
        code = time_run(bench, bench->calls_per_run, &times[num_runs]);
        if (code != EXIT_CODE_OK) break;
        times[num_runs++] /= (double)bench->calls_per_run;
    }
    if (code == EXIT_CODE_OK) {
        qsort(times, num_runs, sizeof *times, ascending);
        *figure_out = (bench_figure){num_runs * bench->calls_per_run, num_runs,
                                     quantile(times, num_runs, 0.5),  quantile(times, num_runs, 0.25),
                                     quantile(times, num_runs, 0.75), bench->value};
    }
    free(times);
    return code;
}

void bench_print_columns(FILE *stream) {
    fputs("\nColumns:\n"
          "  calls/s    batches, optimizer steps or sweeps a second\n"
          "  samples/s  calls/s times the batch: host arrays in and out included\n"
          "  spread     quartile range of the repeated runs, over their median\n"
          "  ns/pair    nanoseconds for one pair and one of the 80 evaluations of the\n"
          "             field (train: with the reverse; mcmc: for one pair of a move)\n"
          "  of FMA     needed multiply-adds against the measured peak\n"
          "  of copy    needed traffic of arrays against the measured bandwidth\n"
          "  to first   ns/pair over that of the first row, measured in turns\n"
          "Start-up: here is this process with the caches as they are, cold a new\n"
          "process with all program caches empty, warm one with them filled.\n",
          stream);
}
