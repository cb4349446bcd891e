#include <stdio.h>
#include <string.h>

#include "profile.h"

/* Native vector width in floats, as the device reports it; 1 if it does not say. */
static unsigned native_float_width(cl_device_id id) {
    cl_uint width = 1;
    if (clGetDeviceInfo(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL) != CL_SUCCESS) return 1;
    return width;
}

void eqf__profile_apply(eqf__device *device) {
    eqf_device_info *info = &device->info;
    const char *name = "generic";
    device->vector_width = 1;
    device->num_partials = 64;
    device->launch_iterations = 0;
    device->local_size = 64; /* one or two times the 32 or 64 items that run in step on every current GPU */
    device->max_work_items = SIZE_MAX;
    /* Division and square root stay correctly rounded where the device can: the likelihood is certified in float32. */
    snprintf(device->build_options, sizeof device->build_options, "-cl-std=CL1.2");
    if (strstr(info->platform_name, "rusticl") != NULL) {
        /* Mesa's llvmpipe ends every loop after 65,535 turns in one launch, silently, counting those of all vectors of a work-group
         * together: groups are one vector of AVX or two of SSE. Wide vectors in the source compile for minutes. */
        name = "mesa-llvmpipe";
        device->num_partials = 8;
        device->local_size = 8;
        device->launch_iterations = 65535 / 2;
    } else if (strstr(info->platform_name, "Oclgrind") != NULL) {
        name = "oclgrind";
        device->vector_width = 1;
        device->num_partials = 4;
    } else if (info->type == EQF_DEVICE_CPU) {
        /* One work-item carries V samples: PoCL does not vectorise across work-items around inner loops. */
        unsigned width = native_float_width(device->id);
        device->vector_width = width >= 16 ? 16 : 8;
        device->local_size = 1; /* vectors are in the work-item; more would only lengthen a thread's turn */
        device->num_partials = 4;
        device->max_work_items = info->compute_units > 8 ? 8 * (size_t)info->compute_units : 64;
        name = width >= 16 ? "cpu-avx512" : "cpu";
    } else if (info->type == EQF_DEVICE_GPU) {
        name = "gpu";
        device->num_partials = 64;
    }
    snprintf(info->profile_name, sizeof info->profile_name, "%s", name);
    info->vector_width = device->vector_width;
}
