/* Messages for OpenCL's errors, and buffers. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "described.h"
#include "ocl.h"

const char *eqf__ocl_error_name(cl_int error) {
    switch (error) {
#define EQF_CASE(name) \
    case name: return #name;
        EQF_CASE(CL_SUCCESS)
        EQF_CASE(CL_DEVICE_NOT_FOUND)
        EQF_CASE(CL_DEVICE_NOT_AVAILABLE)
        EQF_CASE(CL_COMPILER_NOT_AVAILABLE)
        EQF_CASE(CL_MEM_OBJECT_ALLOCATION_FAILURE)
        EQF_CASE(CL_OUT_OF_RESOURCES)
        EQF_CASE(CL_OUT_OF_HOST_MEMORY)
        EQF_CASE(CL_BUILD_PROGRAM_FAILURE)
        EQF_CASE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        EQF_CASE(CL_COMPILE_PROGRAM_FAILURE)
        EQF_CASE(CL_LINK_PROGRAM_FAILURE)
        EQF_CASE(CL_INVALID_VALUE)
        EQF_CASE(CL_INVALID_PLATFORM)
        EQF_CASE(CL_INVALID_DEVICE)
        EQF_CASE(CL_INVALID_CONTEXT)
        EQF_CASE(CL_INVALID_COMMAND_QUEUE)
        EQF_CASE(CL_INVALID_MEM_OBJECT)
        EQF_CASE(CL_INVALID_BINARY)
        EQF_CASE(CL_INVALID_BUILD_OPTIONS)
        EQF_CASE(CL_INVALID_PROGRAM)
        EQF_CASE(CL_INVALID_PROGRAM_EXECUTABLE)
        EQF_CASE(CL_INVALID_KERNEL_NAME)
        EQF_CASE(CL_INVALID_KERNEL_DEFINITION)
        EQF_CASE(CL_INVALID_KERNEL)
        EQF_CASE(CL_INVALID_ARG_INDEX)
        EQF_CASE(CL_INVALID_ARG_VALUE)
        EQF_CASE(CL_INVALID_ARG_SIZE)
        EQF_CASE(CL_INVALID_KERNEL_ARGS)
        EQF_CASE(CL_INVALID_WORK_GROUP_SIZE)
        EQF_CASE(CL_INVALID_WORK_ITEM_SIZE)
        EQF_CASE(CL_INVALID_EVENT)
        EQF_CASE(CL_INVALID_OPERATION)
        EQF_CASE(CL_INVALID_BUFFER_SIZE)
#undef EQF_CASE
        case -1001: return "CL_PLATFORM_NOT_FOUND_KHR";
    }
    return "an OpenCL code without a name";
}

eqf_status eqf__ocl_fail(eqf_context *ctx, cl_int error, const char *what) {
    const char *device = ctx->device != NULL ? ctx->device->info.name : "the device";
    switch (error) {
        case CL_DEVICE_NOT_AVAILABLE:
            if (ctx->device != NULL) ctx->device->is_lost = true;
            return eqf__fail(ctx, EQF_ERROR_DEVICE,
                             "%s was lost %s (%s): the system's log says why; nothing computed since is kept", device,
                             what, eqf__ocl_error_name(error));
        case CL_MEM_OBJECT_ALLOCATION_FAILURE:
        case CL_OUT_OF_RESOURCES:
            return eqf__fail(ctx, EQF_ERROR_DEVICE_MEMORY,
                             "%s ran out of memory %s (%s): use a smaller batch or fewer samples at once", device, what,
                             eqf__ocl_error_name(error));
        case CL_OUT_OF_HOST_MEMORY:
            return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "out of host memory %s (%s): use a smaller batch", what,
                             eqf__ocl_error_name(error));
        default:
            return eqf__fail(ctx, EQF_ERROR_DEVICE, "OpenCL error %d, %s, on %s %s", error, eqf__ocl_error_name(error),
                             device, what);
    }
}

eqf_status eqf__ocl_fail_after_kernels(eqf_context *ctx, cl_int error, const char *what) {
    if (error != CL_OUT_OF_RESOURCES && error != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST &&
        error != CL_INVALID_COMMAND_QUEUE)
        return eqf__ocl_fail(ctx, error, what);
    /* Only here do drivers report a kernel that a watchdog killed or that accessed memory outside its buffers. */
    ctx->device->is_lost = true;
    return eqf__fail(
        ctx, EQF_ERROR_DEVICE,
        "%s stopped working %s (%s): a kernel was killed, by a time limit or for lack of memory; nothing computed "
        "since is kept: use a smaller batch, or eqf_context_set_profile launch_iterations=20000",
        ctx->device->info.name, what, eqf__ocl_error_name(error));
}

eqf_status eqf__device_check_process(eqf_context *ctx) {
    if (ctx->device == NULL || ctx->device->process_id == (long)getpid()) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                     "this context was made in process %ld, of which process %ld is a copy (fork), and OpenCL does not "
                     "survive that: make the first context after the fork, or start processes anew (Python: "
                     "multiprocessing's 'spawn')",
                     ctx->device->process_id, (long)getpid());
}

eqf_status eqf__buffer_create(eqf_context *ctx, size_t num_bytes, const void *h_data, const char *what,
                              cl_mem *buffer_out) {
    *buffer_out = NULL;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    if (num_bytes == 0) {
        num_bytes = 4;
        h_data = NULL;
    }
    if (num_bytes > device->info.max_allocation_bytes)
        return eqf__fail(
            ctx, EQF_ERROR_DEVICE_MEMORY,
            "%s need %.1f MiB in one piece but %s allows %.1f MiB: use a smaller batch or fewer samples at once", what,
            (double)num_bytes / 1048576.0, device->info.name, (double)device->info.max_allocation_bytes / 1048576.0);
    if (device->described != NULL) return eqf__described_buffer(ctx, num_bytes, h_data, buffer_out);
    cl_int error;
    cl_mem_flags flags = CL_MEM_READ_WRITE | (h_data != NULL ? CL_MEM_COPY_HOST_PTR : 0);
    /* The host pointer is only read (COPY_HOST_PTR), but the API takes it without const. */
    union {
        const void *in;
        void *out;
    } pointer = {h_data};
    *buffer_out = clCreateBuffer(device->context, flags, num_bytes, pointer.out, &error);
    if (error != CL_SUCCESS) {
        *buffer_out = NULL;
        if (error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_RESOURCES ||
            error == CL_OUT_OF_HOST_MEMORY || error == CL_INVALID_BUFFER_SIZE)
            return eqf__fail(ctx, EQF_ERROR_DEVICE_MEMORY,
                             "%s has no room for %s (%.1f MiB, %s): use a smaller batch or fewer samples at once",
                             device->info.name, what, (double)num_bytes / 1048576.0, eqf__ocl_error_name(error));
        return eqf__ocl_fail(ctx, error, what);
    }
    return EQF_OK;
}

void eqf__buffer_destroy(cl_mem *buffer) {
    if (eqf__is_described(*buffer))
        free(eqf__described_memory(*buffer));
    else if (*buffer != NULL)
        clReleaseMemObject(*buffer);
    *buffer = NULL;
}

eqf_status eqf__buffer_write(eqf_context *ctx, cl_mem buffer, size_t offset, size_t num_bytes, const void *h_data) {
    if (num_bytes == 0) return EQF_OK;
    EQF__TRY(eqf__device_check_process(ctx));
    if (ctx->device->described != NULL) return eqf__described_write(ctx->device, buffer, offset, num_bytes, h_data);
    EQF__OCL(ctx, clEnqueueWriteBuffer(ctx->device->queue, buffer, CL_TRUE, offset, num_bytes, h_data, 0, NULL, NULL),
             "while copying to the device");
    return EQF_OK;
}

eqf_status eqf__buffer_read(eqf_context *ctx, cl_mem buffer, size_t offset, size_t num_bytes, void *h_data) {
    if (num_bytes == 0) return EQF_OK;
    EQF__TRY(eqf__device_check_process(ctx));
    if (ctx->device->described != NULL) return eqf__described_read(ctx->device, buffer, offset, num_bytes, h_data);
    if (ctx->device->is_lost) return eqf__ocl_fail(ctx, CL_DEVICE_NOT_AVAILABLE, "earlier");
    const cl_int error =
        clEnqueueReadBuffer(ctx->device->queue, buffer, CL_TRUE, offset, num_bytes, h_data, 0, NULL, NULL);
    return error == CL_SUCCESS ? EQF_OK : eqf__ocl_fail_after_kernels(ctx, error, "while copying from the device");
}

eqf_status eqf__buffer_copy(eqf_context *ctx, cl_mem from, size_t from_offset, cl_mem to, size_t to_offset,
                            size_t num_bytes) {
    if (num_bytes == 0) return EQF_OK;
    if (ctx->device->described != NULL) return eqf__described_touch(ctx->device, 2 * num_bytes);
    EQF__TRY(eqf__device_check_process(ctx));
    EQF__OCL(ctx, clEnqueueCopyBuffer(ctx->device->queue, from, to, from_offset, to_offset, num_bytes, 0, NULL, NULL),
             "while a buffer was copied");
    return EQF_OK;
}

eqf_status eqf__buffer_copy_rows(eqf_context *ctx, cl_mem from, size_t from_bytes, cl_mem to, size_t row_bytes,
                                 size_t num_rows) {
    const size_t origin[3] = {0, 0, 0}, region[3] = {row_bytes, num_rows, 1};
    if (num_rows == 0) return EQF_OK;
    if (ctx->device->described != NULL) return eqf__described_touch(ctx->device, 2 * num_rows * row_bytes);
    EQF__TRY(eqf__device_check_process(ctx));
    EQF__OCL(ctx,
             clEnqueueCopyBufferRect(ctx->device->queue, from, to, origin, origin, region, from_bytes, 0, row_bytes, 0,
                                     0, NULL, NULL),
             "while rows were copied");
    return EQF_OK;
}
