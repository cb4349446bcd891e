/* Kernel text + defines -> program -> kernels, and their launch. */
#ifndef EQF_PROGRAM_H
#define EQF_PROGRAM_H

#include "ocl.h"

/* A built program, owned by the context (built once per distinct text and options, freed with it). */
typedef struct eqf__program eqf__program;

/* Builds (or finds) the program made of the named files of cl/ in order, e.g. "common/real.clh",
 * with defines, a string of -D options: "-D N=4 -D D=2". V and the device's own options are added here.
 * files ends with NULL. Errors: KERNEL_BUILD (names file list, device, and where source and log were saved). */
eqf_status eqf__program_get(eqf_context *ctx, const char *name, const char *const *files, const char *defines,
                            eqf__program **program_out);

/* Keeps a text that is known only at run time in the context as if it were a file of cl/. *file_out is its name, which
 * eqf__program_get takes among its files; the same text has the same name. Valid as long as the context. */
eqf_status eqf__program_keep_text(eqf_context *ctx, const char *text, const char **file_out);

/* Known answers (src/check): a program's first results are compared with the host's before any result is used. The
 * program cache, or without one this context, remembers that they passed. Kernels that only gradients need are checked
 * before the first gradient. */
typedef enum eqf__answers { EQF__ANSWERS_OF_VALUES = 1, EQF__ANSWERS_OF_GRADIENTS = 2 } eqf__answers;
bool eqf__program_is_checked(const eqf__program *program, eqf__answers answers);
void eqf__program_set_checked(eqf_context *ctx, eqf__program *program, eqf__answers answers);
const char *eqf__program_name(const eqf__program *program);
/* For messages: "eqf_context_set_profile vector_width=1", or "" if the width is already 1. */
const char *eqf__plain_width(const eqf_context *ctx);

/* Starts a new record of which kernels are launched. */
void eqf__launches_note(eqf_context *ctx);
/* The record: each kernel once in the order of its first launch, "program:kernel program:kernel". Valid until the next
 * eqf__launches_note. */
const char *eqf__launches_noted(const eqf_context *ctx);
void eqf__launches_forget(eqf_context *ctx);

/* A kernel with its name for messages. The holder destroys it. */
typedef struct eqf__kernel {
    cl_kernel id;
    const char *name; /* static */
    eqf__program *program;
    size_t local_size; /* the profile's, or as many as the device can run of this kernel */
    size_t group_size; /* not 0: its text requires groups of this size; set by who made it */
} eqf__kernel;
eqf_status eqf__kernel_create(eqf_context *ctx, eqf__program *program, const char *name, eqf__kernel *kernel_out);
void eqf__kernel_destroy(eqf__kernel *kernel);
/* Most work-items in a group with which the device can run this kernel; 0: the driver does not say. */
size_t eqf__kernel_largest_group(const eqf_context *ctx, const eqf__kernel *kernel);

/* One argument of a launch. */
typedef struct eqf__argument {
    size_t num_bytes;
    const void *value;
} eqf__argument;
#define EQF__ARG(variable) ((eqf__argument){sizeof(variable), &(variable)})

/* Sets the arguments and enqueues a 1-D range of global_size work-items in groups of local_size (0: the kernel's own).
 * global_size is rounded up to a multiple of local_size; kernels check their index. global_size 0: nothing. */
eqf_status eqf__launch(eqf_context *ctx, const eqf__kernel *kernel, size_t global_size, size_t local_size,
                       size_t num_arguments, const eqf__argument *arguments);
/* EQF__LAUNCH(ctx, kernel, global, local, EQF__ARG(a), EQF__ARG(b), ...) */
#define EQF__LAUNCH(ctx, kernel, global_size, local_size, ...)                                                        \
    eqf__launch(ctx, kernel, global_size, local_size, sizeof((eqf__argument[]){__VA_ARGS__}) / sizeof(eqf__argument), \
                (eqf__argument[]){__VA_ARGS__})

/* Number of work-items for a kernel whose work-items each take every so many of num_turns turns; not 0 for num_turns >
 * 0. */
size_t eqf__stride(const eqf_context *ctx, size_t num_turns);

/* Writes num_bytes zeros to the buffer's start; num_bytes is a multiple of 4. */
eqf_status eqf__fill_zero(eqf_context *ctx, cl_mem buffer, size_t num_bytes);

/* Waits for the end of all launches, and reports their errors. */
eqf_status eqf__finish(eqf_context *ctx);

void eqf__programs_destroy(eqf_context *ctx);

#endif
