/* The open OpenCL device of a context, its buffers, and how OpenCL errors become ours. */
#ifndef EQF_OCL_H
#define EQF_OCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "base.h"
#include "eqflow/device.h"

typedef struct eqf__device {
    cl_platform_id ocl_platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue; /* in order */
    long process_id;        /* of the process that opened it: a driver's threads and locks do not survive a fork */
    eqf_device_info info;
    /* Profile: what the kernels are built with and how they are launched (platforms/README.md has each key). */
    unsigned vector_width; /* V */
    unsigned num_partials; /* work-items that accumulate gradients: fixed per device class, so that results do
                                  not depend on the thread count */
    size_t max_work_items; /* that a launch over many small turns uses; SIZE_MAX: as many as turns */
    /* work-items a group where a kernel has no wish of its own; 0: what the driver prefers for it */
    size_t local_size;
    /* One sample a work-group instead of V samples a work-item (cl/integrator/rk4_group.cl); what has no such kernels
     * takes no notice. */
    unsigned group_size;          /* work-items of the group; 0: never */
    unsigned group_min_particles; /* fewest particles for which it is taken */
    /* fewest for which a stage's table is copied to local memory first, where it fits */
    unsigned group_staging_particles;
    bool has_fast_local_memory; /* on the chip, and not the same as global memory */
    /* most loop turns of a work-item, or of a group that shares a sample, in one launch; 0: none */
    uint64_t launch_iterations;
    unsigned table_cells; /* first resolution of a field's table */
    bool is_lost;         /* it stopped working: nothing of it is believed or kept */
    bool is_last_resort;  /* auto takes it only where nothing else is */
    char build_options[256];
    /* the folder that takes the programs of a device without a driver (described.h); NULL: a real device */
    char *described;
    struct eqf__described_listener *listener; /* of a described device: hears of launches; NULL: nobody does */
    bool has_gemm; /* CLBlast has this device's parameters and passed its check (src/dynamics/gemm.c) */
} eqf__device;

/* UNSUPPORTED in a child of the process that opened the device: a call there would wait for ever. */
eqf_status eqf__device_check_process(eqf_context *ctx);

/* The device, opened by default rules if none is open yet. */
eqf_status eqf__device_get(eqf_context *ctx, eqf__device **device_out);
void eqf__device_close(eqf_context *ctx);
/* What is known of a device that the program gave, its OpenCL objects not set. */
eqf_status eqf__device_find(eqf_context *ctx, cl_device_id id, eqf__device *device_out);

/* OpenCL code -> status, with the code's name in the message. what: what was being done, for people. */
eqf_status eqf__ocl_fail(eqf_context *ctx, cl_int error, const char *what);
/* The same for waiting and reading, where the fate of kernels shows: a device that is gone, or a kernel that was
 * killed. */
eqf_status eqf__ocl_fail_after_kernels(eqf_context *ctx, cl_int error, const char *what);
const char *eqf__ocl_error_name(cl_int error);
#define EQF__OCL(ctx, call, what)                                                        \
    do {                                                                                 \
        cl_int eqf__ocl_code = (call);                                                   \
        if (eqf__ocl_code != CL_SUCCESS) return eqf__ocl_fail(ctx, eqf__ocl_code, what); \
    } while (0)

/* Read-write buffer of num_bytes (0 is made 4); h_data NULL: uninitialised. what names it in messages, e.g.
 * "the trajectory checkpoints". Errors: DEVICE_MEMORY (says how much, and to reduce the batch), DEVICE. */
eqf_status eqf__buffer_create(eqf_context *ctx, size_t num_bytes, const void *h_data, const char *what,
                              cl_mem *buffer_out);
void eqf__buffer_destroy(cl_mem *buffer);
/* Blocking copies. */
eqf_status eqf__buffer_write(eqf_context *ctx, cl_mem buffer, size_t offset, size_t num_bytes, const void *h_data);
eqf_status eqf__buffer_read(eqf_context *ctx, cl_mem buffer, size_t offset, size_t num_bytes, void *h_data);
/* On the device, in the queue's order. */
eqf_status eqf__buffer_copy(eqf_context *ctx, cl_mem from, size_t from_offset, cl_mem to, size_t to_offset,
                            size_t num_bytes);
/* The first row_bytes of num_rows rows, from_bytes from one to the next, become rows without gaps. */
eqf_status eqf__buffer_copy_rows(eqf_context *ctx, cl_mem from, size_t from_bytes, cl_mem to, size_t row_bytes,
                                 size_t num_rows);

#endif
