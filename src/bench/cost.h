/* The cost model: what a launch has to do, counted from the text of its kernel, and the time that a device takes for it
 * at best. model.c adds up the launches that the library makes of a call. */
#ifndef EQF_COST_H
#define EQF_COST_H

#include "described.h"
#include "eqflow/bench.h"

/* Of a whole launch, lanes counted singly. A group's idle work-items take slots too: its lanes run in step. */
typedef struct eqf__work {
    double slots;               /* simple instructions: an addition, a product, a multiply-add, a comparison */
    double special;             /* square roots and divisions */
    double lookups;             /* rows of four numbers read at places of a table */
    double bytes;               /* of global memory that no cache holds */
    double cached;              /* bytes of tables, of partial sums and of what private memory does not hold */
    double local;               /* bytes of local memory */
    double chain;               /* lookups of one work-item, each waiting for the one before */
    double groups, group_items; /* work-groups, and work-items in each */
    double numbers;             /* that a work-item holds at once, in 32-bit registers */
    double group_bytes;         /* local memory of a group */
    bool is_counted;            /* else only a guess: a kernel without a row in cost.c */
} eqf__work;

/* num_steps: of an integrator with step control, that a sample tries; launches do not say. */
void eqf__cost_count(const eqf__launch_seen *launch, double num_steps, eqf__work *work_out);
/* Adds to the work, if the kernel is one of the message field (cost_message.c). */
bool eqf__cost_message(const eqf__launch_seen *launch, eqf__work *work);
/* The same of the dense field, its matrix products, and RK4 of batches (cost_dense.c). */
bool eqf__cost_dense(const eqf__launch_seen *launch, eqf__work *work);

/* -D NAME=number of a program's options; 0: it is not there. */
double eqf__cost_defined(const char *options, const char *name);
/* A launch's argument of type uint. */
double eqf__cost_argument(const eqf__launch_seen *launch, size_t place);

/* Seconds by cause, as if each were alone, and all together. */
typedef struct eqf__seconds {
    double arithmetic, memory, cache, local, chain, launch, total;
    double occupancy; /* part of the waves that a unit could hold */
} eqf__seconds;
void eqf__cost_time(const eqf__device_rates *rates, const eqf__work *work, eqf__seconds *seconds_out);

/* Times what a device does; is_alone: a processor's own time, where that is shorter than the clock's, so that other
 * work on the machine is none of it. */
typedef struct eqf__stopwatch {
    double wall, busy;
} eqf__stopwatch;
eqf__stopwatch eqf__stopwatch_start(void);
double eqf__stopwatch_seconds(const eqf__device *device, eqf__stopwatch start, bool is_alone);
/* eqf_bench_probe by such a clock. */
eqf_status eqf__bench_probe(eqf_context *ctx, bool is_alone, eqf_bench_yardsticks *yardsticks_out);

/* The rest of the rates that src/bench/probe.c measures, of the open device: a lookup, a square root, a launch. */
eqf_status eqf__probe_rates(eqf_context *ctx, eqf__device_rates *rates_out);

#endif
