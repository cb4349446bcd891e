/* The context: the device, queue, program cache and last error of all objects made from it. */
#ifndef EQFLOW_CONTEXT_H
#define EQFLOW_CONTEXT_H

#include <stddef.h>

#include "eqflow/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Structs of these headers. Options and results begin with struct_size; always start from the struct's EQF_..._INIT:
 *
 *     eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
 *
 * so that a program keeps working when a later library's struct has more members: of a smaller struct the library reads
 * and writes only the members that it has, and takes defaults for the others. A larger struct, from a later header, is
 * accepted if the members unknown to the library are zero, and refused (INVALID_ARGUMENT) if they are not. Structs that
 * lie inside others or in arrays never change their size: new members take the place of reserved bytes, and 0 means the
 * default. Numbers, arrays and texts without struct_size (eqf_array, eqf_round_trip, eqf_observable, eqf_step_range,
 * eqf_potential_constant, eqf_profile_value, eqf_driver_issue) never change. NULL for a pointer whose description does
 * not allow it gives INVALID_ARGUMENT, or 0 or NULL from functions that give no status. */

/* Owns: the OpenCL context, queue and programs, the last error message.
 * Threads: one thread at a time may use a context; different contexts are independent. Dense fields compute by CLBlast,
 * which keeps its compiled programs and a device's tuned parameters for the whole process. It has its own locks, so
 * contexts may share a device on several threads; but a program that itself uses CLBlast on a CPU gets this library's
 * parameters there after the first dense flow.
 * Processes: OpenCL does not survive a fork. Calls that need the device give UNSUPPORTED in a child of the process
 * that opened it; there its objects may only be destroyed. Make the first context after the fork: if the
 * parent has used a driver, a new context with this driver in the child may wait for ever (PoCL does). */
typedef struct eqf_context eqf_context;

typedef enum eqf_log_level { EQF_LOG_DEBUG, EQF_LOG_INFO, EQF_LOG_WARNING } eqf_log_level;

/* message is one line without newline, valid during the call only. */
typedef void (*eqf_log_callback)(void *user, eqf_log_level level, const char *message);

typedef struct eqf_context_options {
    size_t struct_size;       /* set by EQF_CONTEXT_OPTIONS_INIT */
    eqf_log_callback log;     /* NULL: silent */
    void *log_user;           /* handed to log */
    const char *kernel_path;  /* NULL: the kernels inside the library; else a folder that replaces cl/ */
    const char *cache_path;   /* NULL: $XDG_CACHE_HOME/eqflow or ~/.cache/eqflow; "": no cache on disk */
    eqf_log_level log_level;  /* log gets messages of this level and above; DEBUG in INIT: all */
} eqf_context_options;
#define EQF_CONTEXT_OPTIONS_INIT {.struct_size = sizeof(eqf_context_options), .log_level = EQF_LOG_DEBUG}

/* A report of a long call, made between the pieces of its work. The callback returns nonzero to stop the call
 * (EQF_ERROR_INTERRUPTED). It must not call functions on the context. */
typedef struct eqf_progress {
    size_t struct_size; /* set by the library */
    const char *stage; /* static text: "burn-in", "sampling", ... */
    double done, total;
} eqf_progress;
typedef int (*eqf_progress_callback)(void *user, const eqf_progress *progress);

/* Makes a context without a device: files and models work, and the first call that needs a device opens the default
 * one. options may be NULL. Errors: OUT_OF_MEMORY, INVALID_ARGUMENT; *ctx_out is then NULL. */
eqf_status eqf_context_create(const eqf_context_options *options, eqf_context **ctx_out);

/* After this call long calls on ctx report to progress about four times a second, and it can stop them: sampling,
 * log-densities, scores, transforms, energies, round trips, eqf_flow_choose_steps, eqf_trainer_advance,
 * eqf_mcmc_sample, eqf_minima_quench, eqf_evaluate, annealing and the self-test (MCMC and quench use the callback of
 * their options instead, if there is one). A stopped call returns INTERRUPTED; its output arrays are then undefined,
 * and all objects are as before the call, except a trainer, which keeps its finished steps. Results do not depend on
 * the pieces. NULL: no reports. With a communicator the callback of every rank must return the same. Errors:
 * INVALID_ARGUMENT. */
eqf_status eqf_context_set_progress(eqf_context *ctx, eqf_progress_callback progress, void *user);

/* Sets a value of the device profile for this context, "key=value", before a device is opened: for experiments. Keys
 * are those of platforms/README.md; the last setting of a key wins. Errors: INVALID_ARGUMENT (unknown key, value out
 * of range). */
eqf_status eqf_context_set_profile(eqf_context *ctx, const char *assignment);

/* Opens the device that selector names, in any case: an index of eqf_device_list, "cpu", "gpu", "accelerator", "amd",
 * "intel", "nvidia", or a part of the device's, vendor's or platform's name; if several fit, the one of them that
 * "auto" would take. "auto": the fastest by the probes stored for all devices (eqf_bench_remember), else a GPU before a
 * CPU. NULL: $EQFLOW_DEVICE, else auto. At most once per context. Errors: NO_PLATFORM, NO_DEVICE, DEVICE. */
eqf_status eqf_context_open_device(eqf_context *ctx, const char *selector);

/* The message of the last failed call, one line; "" if none. Valid until the next call on ctx. */
const char *eqf_context_error(const eqf_context *ctx);

/* Destroys what ctx owns and sets *ctx to NULL; NULL is accepted. Destroy all objects made from the context first. */
void eqf_context_destroy(eqf_context **ctx);

/* Frees memory that a function of this library gave to the caller. */
void eqf_free(void *memory);

#ifdef __cplusplus
}
#endif
#endif
