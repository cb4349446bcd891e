/* The parts of `eqflow bench`: measuring one case (bench_case.c), splitting the start-up (bench_start_up.c), and the
 * protocol of tests/bench/compare.py (bench_serve.c). */
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>

#include "app.h"
#include "eqflow/bench.h"
#include "eqflow/device.h"
#include "eqflow/flow.h"
#include "eqflow/mcmc.h"
#include "eqflow/preset.h"
#include "eqflow/train.h"
#include "output.h"

typedef enum bench_task {
    BENCH_SAMPLE,   /* a call: new latents, prior to data, configurations and log_prob in host arrays */
    BENCH_LOG_PROB, /* a call: configurations in a host array, their log_prob in another */
    BENCH_TRAIN,    /* a call: one optimizer step */
    BENCH_MCMC      /* a call: one sweep of all chains; start and burn-in are part of it */
} bench_task;
const char *bench_task_name(bench_task task); /* "sample", "log_prob", "train", "mcmc" */

/* What to measure. */
typedef struct bench_problem {
    bench_task task;
    eqf_model_options model;
    size_t batch;               /* samples or chains */
    double integration_penalty; /* train */
} bench_problem;

/* A problem, ready to run. x [batch, N, D], log_prob [batch]. */
typedef struct bench_case {
    cli_app *app;
    bench_problem problem;
    eqf_model *model;
    eqf_flow *flow;
    eqf_trainer *trainer;
    float *x, *log_prob;
    uint64_t num_calls;     /* so far */
    uint64_t calls_per_run; /* calls in a timed run */
    double value;           /* of the last run: mean log-density, loss or mean energy */
} bench_case;

/* Builds all that the task needs, runs it once, and finds how many calls make a run long enough to be timed. Every
 * function here prints its errors; clear the case also after a failure. */
exit_code bench_case_create(cli_app *app, const bench_problem *problem, bench_case *case_out);
void bench_case_clear(bench_case *bench);

/* Seconds of one call over several runs. */
typedef struct bench_figure {
    uint64_t num_calls;
    size_t num_runs;
    double median, low, high; /* low, high: quartiles */
    double value;
} bench_figure;

/* Repeats runs until seconds have passed, but at least min_runs. */
exit_code bench_case_measure(bench_case *bench, double seconds, size_t min_runs, bench_figure *figure_out);

/* What the columns of the tables are, for --help. */
void bench_print_columns(FILE *stream);

/* Work of one sample in one call; 0 if it is not counted. */
double bench_fma_count(const bench_problem *problem);
double bench_traffic_bytes(const bench_problem *problem);
/* Pairs of a configuration times evaluations of the field, or moves: the divisor of ns_per_pair. */
double bench_pair_evaluations(const bench_problem *problem);

/* The batch size of a system for the highest throughput, with enough work-items for the device. */
size_t bench_best_batch(const eqf_device_info *device, bench_task task, const eqf_potential_options *system);

/* Seconds of the first steps of a process. */
typedef struct bench_start_up {
    double device;       /* OpenCL loader, platforms, device */
    double flow;         /* programs built or loaded, stage tables built */
    double tables;       /* the same again with the programs built: tables only */
    double first_launch; /* first samples: drivers finish kernels here */
    double next_launch;  /* the same again */
    double finish;       /* programs stored in the cache, device closed */
    double process;      /* from spawning a process that does this to its end; NaN in this process */
} bench_start_up;
enum { BENCH_START_UP_SAMPLES = 16 };

/* In this process, in a new context. It must be the first use of a device in the process. */
exit_code bench_start_up_here(cli_app *app, const eqf_preset *preset, bench_start_up *start_up_out);
/* Medians over num_runs new processes each: cold (no program cache, empty driver caches) and warm (both filled). */
exit_code bench_start_up_spawn(cli_app *app, const eqf_preset *preset, size_t num_runs, bench_start_up *cold_out,
                               bench_start_up *warm_out);

/* Prints the seconds: as JSON; as a table of this process, cold and warm; those of this process alone, which
 * bench_start_up_spawn reads. */
json_t *bench_start_up_json(const bench_start_up *s);
void bench_start_up_print(cli_output *output, const eqf_preset *preset, const bench_start_up *here,
                          const bench_start_up *cold, const bench_start_up *warm);
exit_code bench_start_up_report(cli_app *app, const eqf_preset *preset);
/* Three or four significant digits in few columns; "-" where there is none. */
const char *bench_brief(double value, char text[32]);
/* What is measured: the device, and what its figures are divided by. */
void bench_describe_device(cli_output *output, const eqf_device_info *device, const eqf_bench_yardsticks *y);

/* What --model asks. device: a name, a file, or "here": the open one, which is measured too (by RK4). steps: of a
 * method with step control. */
typedef struct bench_model_question {
    const char *device, *field, *integrator;
    double steps;
} bench_model_question;

/* The time that a described device would take for each of the presets, in each layout. batch 0: 256 and 4096. */
exit_code bench_model_report(cli_app *app, const bench_model_question *question, uint64_t batch,
                             const eqf_preset *const *presets, size_t num_presets);

/* Answers requests on stdin until quit or its end. */
exit_code bench_serve(cli_app *app);

#endif
