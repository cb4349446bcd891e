/* The open OpenCL device of a context, its buffers, and the translation of OpenCL's errors to eqf_status. */
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
    /* Values of the profile (platforms/README.md explains each key). */
    unsigned vector_width; /* V */
    unsigned num_partials; /* work-items that add up gradients; from the profile and not from the number of threads, so
                                  that results do not depend on it */
    size_t max_work_items; /* most work-items of a launch over many small turns; SIZE_MAX: one for each turn */
    /* work-items in a group, for kernels that do not set their own; 0: the driver's preference for each kernel */
    size_t local_size;
    /* A work-group shares a sample, instead of V samples in a work-item (cl/integrator/rk4_group.cl); only for solvers
     * that have such kernels. */
    unsigned group_size;          /* work-items of the group; 0: samples are not shared */
    unsigned group_min_particles; /* fewest particles for which a sample is shared */
    unsigned group_min_particles_wide; /* the same for solves that hold several states of a sample */
    /* fewest particles for which a stage's table is copied to local memory first, if it fits */
    unsigned group_staging_particles;
    bool has_fast_local_memory; /* local memory is on the chip, separate from global memory */
    /* most loop turns of a work-item, or of a group that shares a sample, in one launch; 0: no limit */
    uint64_t launch_iterations;
    unsigned private_numbers; /* most numbers of a configuration for which energies and descents use private memory */
    unsigned table_cells; /* first resolution of a field's table */
    bool is_lost;         /* it stopped working: its results are not used and its programs not stored */
    bool is_last_resort;  /* auto takes it only if there is no other */
    char build_options[256];
    /* the folder into which the programs of a device without a driver are written (described.h); NULL: a real device */
    char *described;
    struct eqf__described_listener *listener; /* of a described device: hears of launches; NULL: nobody does */
    bool has_gemm; /* CLBlast's parameters are set for this device, and its check passed (src/dynamics/gemm.c) */
} eqf__device;

/* UNSUPPORTED in a child of the process that opened the device: a call there would wait for ever. */
eqf_status eqf__device_check_process(eqf_context *ctx);

/* The device, opened by default rules if none is open yet. */
eqf_status eqf__device_get(eqf_context *ctx, eqf__device **device_out);
void eqf__device_close(eqf_context *ctx);
/* Fills in all properties of a device that the program gave, except the OpenCL objects. */
eqf_status eqf__device_find(eqf_context *ctx, cl_device_id id, eqf__device *device_out);

/* OpenCL code -> status, with the code's name in the message. what: the activity, for the message. */
eqf_status eqf__ocl_fail(eqf_context *ctx, cl_int error, const char *what);
/* The same for waits and reads, which are where drivers report a lost device or a killed kernel. */
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
/* A copy on the device, in the queue's order. */
eqf_status eqf__buffer_copy(eqf_context *ctx, cl_mem from, size_t from_offset, cl_mem to, size_t to_offset,
                            size_t num_bytes);
/* Copies the first row_bytes of each of num_rows rows, which are from_bytes apart, to rows without gaps. */
eqf_status eqf__buffer_copy_rows(eqf_context *ctx, cl_mem from, size_t from_bytes, cl_mem to, size_t row_bytes,
                                 size_t num_rows);

#endif
