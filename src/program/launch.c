/* Kernels of programs, and their launches. Each launch is recorded, for the cache and for known answers. */
#include <stdlib.h>
#include <string.h>

#include "described.h"
#include "program_internal.h"

/* A kernel of a described device: only checks that the text has the name. */
static eqf_status describe_kernel(eqf_context *ctx, eqf__program *program, eqf__kernel *kernel) {
    char head[96];
    snprintf(head, sizeof head, "%s(", kernel->name);
    const char *at = strstr(program->source, head);
    while (at != NULL && (at == program->source || strchr(" \n", at[-1]) == NULL)) at = strstr(at + 1, head);
    if (at == NULL)
        return eqf__fail(ctx, EQF_ERROR_KERNEL_BUILD, "kernel '%s' is not in program '%s'", kernel->name,
                         program->name);
    kernel->id = eqf__described_handle(program);
    kernel->local_size = ctx->device->local_size > 0 ? ctx->device->local_size : 1;
    return EQF_OK;
}

eqf_status eqf__kernel_create(eqf_context *ctx, eqf__program *program, const char *name, eqf__kernel *kernel_out) {
    cl_int error;
    kernel_out->name = name;
    kernel_out->program = program;
    kernel_out->group_size = 0;
    if (ctx->device->described != NULL) return describe_kernel(ctx, program, kernel_out);
    kernel_out->id = clCreateKernel(program->id, name, &error);
    if (error != CL_SUCCESS) {
        kernel_out->id = NULL;
        return eqf__fail(ctx, EQF_ERROR_KERNEL_BUILD, "kernel '%s' is not in program '%s' (%s)", name, program->name,
                         eqf__ocl_error_name(error));
    }
    size_t most = 1, wish = ctx->device->local_size; /* registers may allow fewer than the device's maximum */
    cl_device_id device = ctx->device->id;
    EQF__OCL(ctx, clGetKernelWorkGroupInfo(kernel_out->id, device, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL),
             "while a kernel was asked for its work-group size");
    if (wish == 0)
        EQF__OCL(ctx,
                 clGetKernelWorkGroupInfo(kernel_out->id, device, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE,
                                          sizeof wish, &wish, NULL),
                 "while a kernel was asked for its work-group size");
    kernel_out->local_size = wish < most ? wish : most;
    return EQF_OK;
}

void eqf__kernel_destroy(eqf__kernel *kernel) {
    if (kernel->id != NULL && !eqf__is_described(kernel->id)) clReleaseKernel(kernel->id);
    kernel->id = NULL;
}

size_t eqf__kernel_largest_group(const eqf_context *ctx, const eqf__kernel *kernel) {
    size_t most = 0;
    if (ctx->device->described != NULL) return ctx->device->info.max_work_group_size;
    const cl_int error =
        clGetKernelWorkGroupInfo(kernel->id, ctx->device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    return error == CL_SUCCESS ? most : 0;
}

/* Notes for the cache that this kernel has run; for a described device also the size of its groups. */
static void note_launch(const eqf_context *ctx, const eqf__kernel *kernel, size_t local_size) {
    char entry[128], *list = kernel->program->launched_kernels;
    if (ctx->device->described != NULL)
        snprintf(entry, sizeof entry, "%s=%zu ", kernel->name, local_size);
    else
        snprintf(entry, sizeof entry, "%s ", kernel->name);
    const char *found = strstr(list, entry);
    if (found != NULL && (found == list || found[-1] == ' ')) return;
    size_t length = strlen(list), size = sizeof kernel->program->launched_kernels;
    if (length + strlen(entry) < size) memcpy(list + length, entry, strlen(entry) + 1);
}

enum { NOTED_BYTES = 4096 };

void eqf__launches_note(eqf_context *ctx) {
    free(ctx->launches);
    ctx->launches = eqf__alloc(ctx, NOTED_BYTES, 1, "the names of kernels");
}

void eqf__launches_forget(eqf_context *ctx) {
    free(ctx->launches);
    ctx->launches = NULL;
}

const char *eqf__launches_noted(const eqf_context *ctx) {
    return ctx->launches != NULL ? ctx->launches : "";
}

static void note_for_checks(const eqf_context *ctx, const eqf__kernel *kernel) {
    char *noted = ctx->launches, entry[160];
    if (noted == NULL) return;
    const int size =
        snprintf(entry, sizeof entry, "%s%s:%s", noted[0] != '\0' ? " " : "", kernel->program->name, kernel->name);
    const size_t length = strlen(noted), skipped = noted[0] != '\0';
    for (const char *found = noted; (found = strstr(found, entry + skipped)) != NULL; found++) {
        const char after = found[size - (int)skipped];
        if ((found == noted || found[-1] == ' ') && (after == ' ' || after == '\0')) return;
    }
    if (size > 0 && length + (size_t)size < NOTED_BYTES) memcpy(noted + length, entry, (size_t)size + 1);
}

eqf_status eqf__launch(eqf_context *ctx, const eqf__kernel *kernel, size_t global_size, size_t local_size,
                       size_t num_arguments, const eqf__argument *arguments) {
    if (global_size == 0) return EQF_OK;
    EQF__TRY(eqf__device_check_process(ctx));
    if (kernel->id == NULL) /* the creation of its owner failed, and the owner was used nevertheless */
        return eqf__fail(ctx, EQF_ERROR_DEVICE,
                         "a kernel is missing since an earlier failure: destroy what failed and make it anew");
    if (local_size == 0) local_size = kernel->group_size;
    if (local_size == 0) local_size = global_size > 1 ? kernel->local_size : 1;
    note_launch(ctx, kernel, local_size);
    note_for_checks(ctx, kernel);
    global_size = (global_size + local_size - 1) / local_size * local_size;
    if (ctx->device->described != NULL) {
        const eqf__described_listener *listener = ctx->device->listener;
        const eqf__launch_seen seen = {kernel->name,
                                       kernel->program->name,
                                       kernel->program->options,
                                       kernel->program->source,
                                       global_size,
                                       local_size,
                                       num_arguments,
                                       arguments};
        if (listener != NULL) listener->on_launch(listener->user, &seen);
        return EQF_OK;
    }
    for (size_t a = 0; a < num_arguments; a++) {
        cl_int error = clSetKernelArg(kernel->id, (cl_uint)a, arguments[a].num_bytes, arguments[a].value);
        if (error != CL_SUCCESS)
            return eqf__fail(ctx, EQF_ERROR_DEVICE, "argument %zu of kernel '%s' was refused (%s)", a, kernel->name,
                             eqf__ocl_error_name(error));
    }
    cl_int error =
        clEnqueueNDRangeKernel(ctx->device->queue, kernel->id, 1, NULL, &global_size, &local_size, 0, NULL, NULL);
    if (error != CL_SUCCESS) {
        char what[128];
        snprintf(what, sizeof what, "while kernel '%s' was launched", kernel->name);
        return eqf__ocl_fail(ctx, error, what);
    }
    return EQF_OK;
}

size_t eqf__stride(const eqf_context *ctx, size_t num_turns) {
    return num_turns < ctx->device->max_work_items ? num_turns : ctx->device->max_work_items;
}

eqf_status eqf__fill_zero(eqf_context *ctx, cl_mem buffer, size_t num_bytes) {
    const cl_uint zero = 0;
    if (num_bytes == 0) return EQF_OK;
    if (ctx->device->described != NULL) return eqf__described_touch(ctx->device, num_bytes);
    EQF__TRY(eqf__device_check_process(ctx));
    EQF__OCL(ctx, clEnqueueFillBuffer(ctx->device->queue, buffer, &zero, sizeof zero, 0, num_bytes, 0, NULL, NULL),
             "while a buffer was set to 0");
    return EQF_OK;
}

eqf_status eqf__finish(eqf_context *ctx) {
    EQF__TRY(eqf__device_check_process(ctx));
    if (ctx->device->described != NULL) return EQF_OK;
    const cl_int error = clFinish(ctx->device->queue);
    return error == CL_SUCCESS ? EQF_OK : eqf__ocl_fail_after_kernels(ctx, error, "while kernels ran");
}
