/* Lists the devices with their properties and profiles. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "loader.h"
#include "profile.h"
#include "store.h"

static void trim(char *text) {
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) text[--length] = '\0';
    size_t start = strspn(text, " ");
    memmove(text, text + start, length - start + 1);
}

static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size) {
    char value[512] = "";
    clGetDeviceInfo(id, what, sizeof value - 1, value, NULL);
    trim(value);
    snprintf(text, size, "%.*s", (int)size - 1, value);
}

static void platform_text(cl_platform_id id, cl_platform_info what, char *text, size_t size) {
    char value[512] = "";
    clGetPlatformInfo(id, what, sizeof value - 1, value, NULL);
    trim(value);
    snprintf(text, size, "%.*s", (int)size - 1, value);
}

static eqf_status describe(eqf_context *ctx, cl_platform_id ocl_platform, eqf__device *device) {
    eqf_device_info *info = &device->info;
    cl_device_id id = device->id;
    platform_text(ocl_platform, CL_PLATFORM_NAME, info->platform_name, sizeof info->platform_name);
    platform_text(ocl_platform, CL_PLATFORM_VERSION, info->platform_version, sizeof info->platform_version);
    device_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    device_text(id, CL_DRIVER_VERSION, info->driver_version, sizeof info->driver_version);
    device_text(id, CL_DEVICE_VERSION, info->device_version, sizeof info->device_version);
    cl_device_type type = 0;
    clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    info->type = type & CL_DEVICE_TYPE_CPU           ? EQF_DEVICE_CPU
                 : type & CL_DEVICE_TYPE_GPU         ? EQF_DEVICE_GPU
                 : type & CL_DEVICE_TYPE_ACCELERATOR ? EQF_DEVICE_ACCELERATOR
                                                     : EQF_DEVICE_OTHER;
    cl_uint number = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_VENDOR_ID, sizeof number, &number, NULL) == CL_SUCCESS) info->vendor_id = number;
    if (clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof number, &number, NULL) == CL_SUCCESS)
        info->compute_units = number;
    if (clGetDeviceInfo(id, CL_DEVICE_MAX_CLOCK_FREQUENCY, sizeof number, &number, NULL) == CL_SUCCESS)
        info->max_clock_mhz = number;
    cl_ulong bytes = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        info->global_memory_bytes = bytes;
    if (clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        info->max_allocation_bytes = bytes;
    if (clGetDeviceInfo(id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        info->local_memory_bytes = bytes;
    clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof info->max_work_group_size, &info->max_work_group_size,
                    NULL);
    cl_bool flag = CL_FALSE;
    info->has_compiler =
        clGetDeviceInfo(id, CL_DEVICE_COMPILER_AVAILABLE, sizeof flag, &flag, NULL) == CL_SUCCESS && flag;
    info->is_available = clGetDeviceInfo(id, CL_DEVICE_AVAILABLE, sizeof flag, &flag, NULL) == CL_SUCCESS && flag;
    cl_device_fp_config fp64 = 0;
    info->has_fp64 =
        clGetDeviceInfo(id, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof fp64, &fp64, NULL) == CL_SUCCESS && fp64 != 0;
    eqf__profile_facts facts;
    eqf__profile_read_facts(device, &facts);
    return eqf__profile_apply(ctx, &facts, device);
}

/* GFLOP/s that `eqflow devices --probe` measured on this machine; 0: not measured. */
static double stored_probe(eqf_context *ctx, const eqf_device_info *info) {
    char *text = eqf__store_load(ctx, info, EQF__STORE_PROBE);
    double gflops = 0;
    if (text != NULL && (sscanf(text, "fma_gflops = %lf", &gflops) != 1 || !(gflops > 0) || !isfinite(gflops)))
        gflops = 0;
    free(text);
    return gflops;
}

/* A status of the OpenCL loader (cl_khr_icd): there is no implementation. */
enum { PLATFORM_NOT_FOUND = -1001 };

/* An error that says what was not found and what to do. */
static eqf_status fail_without_platforms(eqf_context *ctx) {
    char broken[512];
    unsigned num_files;
    if (eqf__loader_find_broken(broken, sizeof broken, &num_files))
        return eqf__fail(ctx, EQF_ERROR_NO_PLATFORM,
                         "no OpenCL implementation works: %s; install that driver again, or remove the file", broken);
    return eqf__fail(
        ctx, EQF_ERROR_NO_PLATFORM,
        "no OpenCL implementation is installed%s: install one, on Debian for example pocl-opencl-icd (any CPU), or "
        "your GPU vendor's driver",
        getenv("OCL_ICD_VENDORS") != NULL ? " where OCL_ICD_VENDORS points" : "");
}

/* An error for an implementation that exists but does not answer. whose: its name; "" is the loader, which calls all of
 * them. */
static eqf_status fail_to_list(eqf_context *ctx, cl_int error, const char *whose) {
    return eqf__fail(ctx, error == CL_OUT_OF_HOST_MEMORY ? EQF_ERROR_OUT_OF_MEMORY : EQF_ERROR_DEVICE,
                     "OpenCL is installed%s%s, but does not say what devices there are (%s): %s",
                     whose[0] != '\0' ? " as " : "", whose, eqf__ocl_error_name(error),
                     error == CL_OUT_OF_HOST_MEMORY || error == CL_OUT_OF_RESOURCES
                         ? "memory, threads or another resource of the system ran out"
                         : "is its driver of the version of the system's?");
}

static eqf_status fail_without_devices(eqf_context *ctx, const char *empty_platforms) {
    const bool has_rusticl = strstr(empty_platforms, "rusticl") != NULL;
    if (strstr(empty_platforms, "Portable Computing Language") != NULL) /* PoCL: it then offers none, without a word */
        return eqf__fail(ctx, EQF_ERROR_NO_DEVICE,
                         "OpenCL is installed (%s) but offers no device: can its cache be written (folder pocl of "
                         "XDG_CACHE_HOME or of HOME's .cache, or POCL_CACHE_DIR)?",
                         empty_platforms);
    return eqf__fail(ctx, EQF_ERROR_NO_DEVICE,
                     "OpenCL is installed (%s) but offers no device: %s; for CPUs install pocl-opencl-icd",
                     empty_platforms,
                     has_rusticl ? "rusticl wants its driver named, RUSTICL_ENABLE=iris (Intel), radeonsi (AMD) or "
                                   "llvmpipe (for tests)"
                                 : "is the GPU's driver loaded, and may this user open it?");
}

eqf_status eqf__devices_find(eqf_context *ctx, eqf__device **devices_out, size_t *num_devices_out) {
    *devices_out = NULL;
    *num_devices_out = 0;
    cl_platform_id ocl_platforms[64];
    cl_uint num_platforms = 0;
    cl_int error = clGetPlatformIDs(64, ocl_platforms, &num_platforms);
    if (error != CL_SUCCESS && error != PLATFORM_NOT_FOUND) return fail_to_list(ctx, error, "");
    if (error != CL_SUCCESS || num_platforms == 0) return fail_without_platforms(ctx);
    if (num_platforms > 64) num_platforms = 64;
    eqf__device *devices = NULL;
    size_t num_devices = 0;
    char empty_platforms[256] = "", failed_platform[128] = "";
    cl_int failure = CL_SUCCESS;
    for (cl_uint p = 0; p < num_platforms; p++) {
        cl_device_id ids[64];
        cl_uint num_ids = 0;
        error = clGetDeviceIDs(ocl_platforms[p], CL_DEVICE_TYPE_ALL, 64, ids, &num_ids);
        if (error != CL_SUCCESS || num_ids == 0) {
            char name[128];
            platform_text(ocl_platforms[p], CL_PLATFORM_NAME, name, sizeof name);
            if (error != CL_SUCCESS && error != CL_DEVICE_NOT_FOUND && failure == CL_SUCCESS) {
                failure = error;
                snprintf(failed_platform, sizeof failed_platform, "%s", name);
            }
            eqf__log(ctx, EQF_LOG_DEBUG, "platform %s has no device (%s)", name, eqf__ocl_error_name(error));
            const size_t length = strlen(empty_platforms);
            snprintf(empty_platforms + length, sizeof empty_platforms - length, "%s%s", length > 0 ? ", " : "", name);
            continue;
        }
        if (num_ids > 64) num_ids = 64;
        eqf__device *more = realloc(devices, (num_devices + num_ids) * sizeof *devices);
        if (more == NULL) {
            free(devices);
            return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the list of devices");
        }
        devices = more;
        for (cl_uint d = 0; d < num_ids; d++) {
            eqf__device *device = &devices[num_devices];
            memset(device, 0, sizeof *device);
            device->info.struct_size = sizeof device->info;
            device->id = ids[d];
            device->ocl_platform = ocl_platforms[p];
            device->info.index = (unsigned)num_devices++;
            eqf_status status = describe(ctx, ocl_platforms[p], device);
            if (status != EQF_OK) {
                free(devices);
                return status;
            }
        }
    }
    if (num_devices == 0 && failure != CL_SUCCESS) return fail_to_list(ctx, failure, failed_platform);
    if (num_devices == 0) return fail_without_devices(ctx, empty_platforms);
    for (size_t d = 0; d < num_devices; d++) devices[d].info.probe_gflops = stored_probe(ctx, &devices[d].info);
    eqf__devices_mark(devices, num_devices);
    *devices_out = devices;
    *num_devices_out = num_devices;
    return EQF_OK;
}

eqf_status eqf_device_list(eqf_context *ctx, eqf_device_info **devices_out, size_t *num_devices_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, devices_out);
    EQF__NOT_NULL(ctx, num_devices_out);
    *devices_out = NULL;
    *num_devices_out = 0;
    eqf__device *devices;
    size_t num_devices;
    char broken[512];
    unsigned num_files;
    EQF__TRY(eqf__devices_find(ctx, &devices, &num_devices));
    if (eqf__loader_find_broken(broken, sizeof broken, &num_files)) eqf__log(ctx, EQF_LOG_WARNING, "%s", broken);
    eqf_device_info *infos = eqf__alloc(ctx, num_devices, sizeof *infos, "the list of devices");
    if (infos != NULL)
        for (size_t d = 0; d < num_devices; d++) infos[d] = devices[d].info;
    free(devices);
    if (infos == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    *devices_out = infos;
    *num_devices_out = num_devices;
    return EQF_OK;
}

eqf_status eqf_device_get_profile(eqf_context *ctx, unsigned index, eqf_device_profile *profile_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_DEVICE_PROFILE_INIT, profile_out));
    eqf__device *devices;
    size_t num_devices;
    EQF__TRY(eqf__devices_find(ctx, &devices, &num_devices));
    eqf_status status = EQF_OK;
    eqf_device_profile *profile = eqf__alloc(ctx, 1, sizeof *profile, "the device's profile");
    if (profile == NULL) {
        status = EQF_ERROR_OUT_OF_MEMORY;
    } else if (index >= num_devices) {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "there is no device %u: 'eqf_device_list' lists the %zu here",
                           index, num_devices);
    } else {
        eqf__profile_facts facts;
        char name[64], *tuning = eqf__store_load(ctx, &devices[index].info, EQF__STORE_TUNING);
        eqf__profile_read_facts(&devices[index], &facts);
        status = eqf__profile_resolve(ctx, &facts, tuning, profile, name);
        free(tuning);
    }
    if (status == EQF_OK) status = EQF__WRITE(ctx, EQF_DEVICE_PROFILE_INIT, profile, profile_out);
    free(profile);
    free(devices);
    return status;
}

eqf_status eqf_device_store_tuning(eqf_context *ctx, const char *text) {
    EQF__NOT_NULL(ctx, ctx);
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    if (text != NULL) {
        eqf_device_profile *profile = eqf__alloc(ctx, 1, sizeof *profile, "the tuning");
        if (profile == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        eqf_status status = eqf__profile_apply_text(ctx, "the tuning", text, 0, NULL, profile, NULL);
        free(profile);
        if (status != EQF_OK) return status == EQF_ERROR_FORMAT ? EQF_ERROR_INVALID_ARGUMENT : status;
    }
    return eqf__store_save(ctx, &device->info, EQF__STORE_TUNING, text, NULL);
}

eqf_status eqf__device_find(eqf_context *ctx, cl_device_id id, eqf__device *device_out) {
    eqf__device *devices;
    size_t num_devices, d = 0;
    EQF__TRY(eqf__devices_find(ctx, &devices, &num_devices));
    while (d < num_devices && devices[d].id != id) d++;
    if (d < num_devices) *device_out = devices[d];
    free(devices);
    if (d < num_devices) return EQF_OK;
    memset(device_out, 0, sizeof *device_out); /* a sub-device is not in the list */
    device_out->id = id;
    device_out->info.struct_size = sizeof device_out->info;
    EQF__OCL(ctx,
             clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof device_out->ocl_platform, &device_out->ocl_platform, NULL),
             "while its platform was asked for");
    return describe(ctx, device_out->ocl_platform, device_out);
}
