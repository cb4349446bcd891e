/* A context on the program's own OpenCL objects (eqflow/opencl.h). */
#include "eqflow/opencl.h"

#include <stdlib.h>
#include <unistd.h>

#include "ocl.h"

static bool has_device(cl_context context, cl_device_id device) {
    cl_device_id ids[64];
    size_t num_bytes = 0;
    if (clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof ids, ids, &num_bytes) != CL_SUCCESS) return false;
    for (size_t d = 0; d < num_bytes / sizeof ids[0]; d++)
        if (ids[d] == device) return true;
    return false;
}

static eqf_status check_queue(eqf_context *ctx, cl_context context, cl_device_id device, cl_command_queue queue) {
    cl_context of_context = NULL;
    cl_device_id of_device = NULL;
    cl_command_queue_properties properties = 0;
    if (clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof of_context, &of_context, NULL) != CL_SUCCESS ||
        clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof of_device, &of_device, NULL) != CL_SUCCESS ||
        clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL) != CL_SUCCESS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "queue is no OpenCL command queue");
    if (of_context != context || of_device != device)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the queue is not one of this OpenCL context and device");
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                         "the queue runs its commands out of order: give one that keeps their order");
    return EQF_OK;
}

eqf_status eqf_context_open_opencl(eqf_context *ctx, cl_context context, cl_device_id device, cl_command_queue queue) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, context);
    EQF__NOT_NULL(ctx, device);
    if (ctx->device != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "this context already uses %s", ctx->device->info.name);
    if (!has_device(context, device))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the device is not one of this OpenCL context");
    if (queue != NULL) EQF__TRY(check_queue(ctx, context, device, queue));
    eqf__device *own = eqf__alloc(ctx, 1, sizeof *own, "the device");
    if (own == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__device_find(ctx, device, own);
    if (status == EQF_OK && !own->info.has_compiler)
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "%s cannot be used: it has no kernel compiler", own->info.name);
    if (status != EQF_OK) {
        free(own);
        return status;
    }
    own->process_id = (long)getpid();
    ctx->device = own;
    own->context = context;
    clRetainContext(context);
    cl_int error = CL_SUCCESS;
    own->queue = queue != NULL ? queue : clCreateCommandQueue(context, device, 0, &error);
    if (queue != NULL) clRetainCommandQueue(queue);
    if (error != CL_SUCCESS) {
        own->queue = NULL;
        status = eqf__ocl_fail(ctx, error, "while its queue was made");
        eqf__device_close(ctx);
        return status;
    }
    eqf__log(ctx, EQF_LOG_INFO, "device %s (%s), given by the program", own->info.name, own->info.platform_name);
    return EQF_OK;
}

eqf_status eqf_context_opencl(eqf_context *ctx, cl_context *context_out, cl_device_id *device_out,
                              cl_command_queue *queue_out) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    if (context_out != NULL) *context_out = device->context;
    if (device_out != NULL) *device_out = device->id;
    if (queue_out != NULL) *queue_out = device->queue;
    return EQF_OK;
}
