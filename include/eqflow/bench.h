/* The limits of the open device, by which measured speeds are divided, and a model of what calls cost on devices that
 * are not here. */
#ifndef EQFLOW_BENCH_H
#define EQFLOW_BENCH_H

#include "eqflow/context.h"
#include "eqflow/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_bench_yardsticks {
    size_t struct_size; /* set by EQF_BENCH_YARDSTICKS_INIT */
    double fma_gflops;  /* float32 fused multiply-adds, two operations each, 1e9/s */
    double copy_gbps;   /* copy between buffers too large for a cache, read + written, 1e9 bytes/s */
    size_t copy_bytes;  /* size of each of the two buffers */
} eqf_bench_yardsticks;
#define EQF_BENCH_YARDSTICKS_INIT \
    { .struct_size = sizeof(eqf_bench_yardsticks) }

/* Each figure is the best of several short runs; less than a second in all on common devices. Errors: SELF_TEST (the
 * device gives a wrong sum or copy), those of the device. */
eqf_status eqf_bench_probe(eqf_context *ctx, eqf_bench_yardsticks *yardsticks_out);

/* Stores the figures for the open device and its driver in the user's cache; "auto" chooses the fastest device by them.
 * Errors: IO, NOT_FOUND (caching is off). */
eqf_status eqf_bench_remember(eqf_context *ctx, const eqf_bench_yardsticks *yardsticks);

/* ---- The cost model ------------------------------------------------------------------------------------------ */

/* The time that a device would take, of which nothing but a description is needed (platforms/README.md). The library
 * makes the launches of a call as it would on that device; what each has to do is counted from the kernel's text, and
 * divided by the device's rates. Read it as what the device could do at best: docs/devices.md has what it is worth. */

/* Text of a description inside the library by its file or the device's name, "nvidia/h200.device" or "h200"; NULL:
 * there is none. */
const char *eqf_bench_device_text(const char *name);
/* File number `index` of those; NULL: beyond the last. */
const char *eqf_bench_device_name(size_t index);

/* A description of the open device, with rates that are measured here in about two seconds. The caller frees *text_out
 * with eqf_free. Errors: those of the device, OUT_OF_MEMORY. */
eqf_status eqf_bench_describe(eqf_context *ctx, char **text_out);

typedef enum eqf_bench_work {
    EQF_BENCH_SAMPLE, /* a call of eqf_flow_sample, log-densities too */
    EQF_BENCH_TRAIN,  /* a step of likelihood: by RK4, or the continuous adjoint (OTD) by DOPRI5 */
    EQF_BENCH_MATCH   /* a step of flow matching, of fields that can (EQF_OBJECTIVE_FLOW_MATCHING) */
} eqf_bench_work;

typedef enum eqf_bench_layout {
    EQF_BENCH_AS_CHOSEN,   /* as the device's profile picks */
    EQF_BENCH_LANES,       /* a work-item carries a vector of samples, on GPUs one */
    EQF_BENCH_GROUP,       /* a work-group a sample */
    EQF_BENCH_GROUP_STAGED /* the same with the field's table in local memory, where it has room */
} eqf_bench_layout;

typedef struct eqf_bench_question {
    size_t struct_size; /* set by EQF_BENCH_QUESTION_INIT */
    eqf_bench_work work;
    eqf_bench_layout layout;
    size_t batch_size;
    double integration_penalty; /* of training by RK4 */
    eqf_integrator_method method;
    double num_steps; /* of DOPRI5, that a sample tries in each direction; 0: 12. A description cannot know them */
} eqf_bench_question;
#define EQF_BENCH_QUESTION_INIT \
    { .struct_size = sizeof(eqf_bench_question), .batch_size = 256 }

typedef struct eqf_bench_estimate {
    size_t struct_size; /* set by EQF_BENCH_ESTIMATE_INIT */
    double seconds;     /* of a call, all together; the others by cause, each as if it were alone */
    double arithmetic, memory, cache, local_memory, latency, launches, copies;
    double uncounted; /* share of `seconds` of kernels that are only guessed */
    double gflop, memory_gigabytes, local_gigabytes;
    double occupancy;     /* part of the waves that a unit can hold, of the kernel that takes longest */
    char longest[64];     /* that kernel */
    double longest_share; /* of `seconds` */
    uint64_t num_launches;
    bool is_by_group; /* trajectories, or evaluations of the message field, had a work-group a sample */
    bool is_staged;   /* and their table, or the field's tensors, in local memory */
} eqf_bench_estimate;
#define EQF_BENCH_ESTIMATE_INIT \
    { .struct_size = sizeof(eqf_bench_estimate) }

/* description: text of a device. CLBlast's matrix products (dense field) are counted by their sizes, as if they ran at
 * the rate of multiply-adds. Errors: FORMAT (a description without rates too), UNSUPPORTED (the device, the field in
 * that layout, DOPRI5 of a field that is evaluated in batches), those of flows and training. */
eqf_status eqf_bench_model(eqf_context *ctx, const char *description, const eqf_model_options *model,
                           const eqf_bench_question *question, eqf_bench_estimate *estimate_out);

#ifdef __cplusplus
}
#endif
#endif
