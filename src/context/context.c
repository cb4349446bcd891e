/* The context's life, the list of devices, and the choice of one. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "loader.h"
#include "ocl.h"
#include "profile.h"
#include "program.h"
#include "store.h"

static eqf_status copy_cache_path(eqf_context *ctx, const char *given) {
    const char *off = getenv("EQFLOW_CACHE");
    if (off != NULL && strcmp(off, "off") == 0) given = "";
    if (given != NULL) {
        ctx->cache_path = eqf__strdup(ctx, given);
    } else {
        const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *below = "/eqflow";
        if (base == NULL || base[0] != '/') {
            base = home != NULL && home[0] == '/' ? home : NULL;
            below = "/.cache/eqflow";
        }
        const size_t size = (base != NULL ? strlen(base) : 0) + strlen(below) + 1;
        ctx->cache_path = eqf__alloc(ctx, size, 1, "a file name");
        if (ctx->cache_path != NULL && base != NULL) snprintf(ctx->cache_path, size, "%s%s", base, below);
    }
    return ctx->cache_path == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

eqf_status eqf_context_create(const eqf_context_options *options, eqf_context **ctx_out) {
    EQF__NOT_NULL(NULL, ctx_out);
    *ctx_out = NULL;
    eqf_context_options copy = EQF_CONTEXT_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(NULL, EQF_CONTEXT_OPTIONS_INIT, options, &copy));
    options = &copy;
    eqf_context *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const char *kernel_path =
        options->kernel_path != NULL ? options->kernel_path : getenv("EQFLOW_KERNEL_PATH");
    ctx->log = options->log;
    ctx->log_user = options->log_user;
    ctx->log_level = options->log_level;
    eqf_status status = copy_cache_path(ctx, options->cache_path);
    if (status == EQF_OK && kernel_path != NULL && kernel_path[0] != '\0') {
        ctx->kernel_path = eqf__strdup(ctx, kernel_path);
        if (ctx->kernel_path == NULL) status = EQF_ERROR_OUT_OF_MEMORY;
    }
    if (status != EQF_OK) {
        eqf_context_destroy(&ctx);
        return status;
    }
    *ctx_out = ctx;
    return EQF_OK;
}

void eqf_context_destroy(eqf_context **ctx) {
    if (ctx == NULL || *ctx == NULL) return;
    eqf__programs_destroy(*ctx);
    eqf__device_close(*ctx);
    free((*ctx)->kernel_path);
    free((*ctx)->cache_path);
    free((*ctx)->profile_text);
    free((*ctx)->launches);
    free(*ctx);
    *ctx = NULL;
}

/* ---- Listing ---------------------------------------------------------------------------------------------------------- */

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

static bool is_usable(const eqf_device_info *info) {
    return info->is_available && info->has_compiler && info->max_allocation_bytes > 0;
}

static const char *const type_names[] = {"CPU", "GPU", "accelerator", "device"};

/* GFLOP/s that eqflow devices --probe measured here; 0: none. */
static double stored_probe(eqf_context *ctx, const eqf_device_info *info) {
    char *text = eqf__store_load(ctx, info, EQF__STORE_PROBE);
    double gflops = 0;
    if (text != NULL && (sscanf(text, "fma_gflops = %lf", &gflops) != 1 || !(gflops > 0) || !isfinite(gflops))) gflops = 0;
    free(text);
    return gflops;
}

/* Lower is better: GPU, CPU, the rest, then those whose profile calls them a last resort, then what cannot be used. */
enum { FIRST_LAST_RESORT = 4, UNUSABLE = 9 };
static unsigned kind_rank(const eqf__device *device) {
    static const unsigned order[] = {
        [EQF_DEVICE_GPU] = 0, [EQF_DEVICE_CPU] = 1, [EQF_DEVICE_ACCELERATOR] = 2, [EQF_DEVICE_OTHER] = 3};
    if (!is_usable(&device->info)) return UNUSABLE;
    return (device->is_last_resort ? FIRST_LAST_RESORT : 0) + order[device->info.type];
}

static bool is_better(const eqf__device *a, const eqf__device *b, bool by_probe) {
    const unsigned rank_a = kind_rank(a), rank_b = kind_rank(b);
    if (by_probe && rank_a < FIRST_LAST_RESORT && rank_b < FIRST_LAST_RESORT &&
        a->info.probe_gflops != b->info.probe_gflops)
        return a->info.probe_gflops > b->info.probe_gflops;
    return rank_a != rank_b ? rank_a < rank_b : a->info.index < b->info.index;
}

/* Speeds decide only if each device that counts has one: none may lose for never having been probed. */
static bool has_all_probes(const eqf__device *devices, size_t num_devices) {
    for (size_t d = 0; d < num_devices; d++)
        if (kind_rank(&devices[d]) < FIRST_LAST_RESORT && devices[d].info.probe_gflops == 0) return false;
    return true;
}

static bool is_same_device(const eqf_device_info *a, const eqf_device_info *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->driver_version, b->driver_version) == 0 &&
           strcmp(a->platform_name, b->platform_name) == 0 && strcmp(a->vendor, b->vendor) == 0;
}

static void explain_choice(eqf__device *device, const eqf__device *best, unsigned num_usable, bool by_probe) {
    eqf_device_info *info = &device->info;
    const size_t size = sizeof info->choice_reason;
    if (!is_usable(info))
        snprintf(info->choice_reason, size, "not usable: %s",
                 !info->is_available   ? "the driver says it is not available"
                 : !info->has_compiler ? "it has no kernel compiler"
                                       : "it reports no memory");
    else if (info->is_chosen && num_usable == 1)
        snprintf(info->choice_reason, size, "the only one that can be used");
    else if (info->is_chosen && by_probe && !device->is_last_resort)
        snprintf(info->choice_reason, size, "fastest by the stored probes, %.4g GFLOP/s", info->probe_gflops);
    else if (info->is_chosen)
        snprintf(info->choice_reason, size, "first %s; GPUs come before CPUs", type_names[info->type]);
    else if (is_same_device(info, &best->info))
        snprintf(info->choice_reason, size, "the same device and driver as %u: two ICD files may name one driver",
                 best->info.index);
    else if (device->is_last_resort)
        snprintf(info->choice_reason, size, "a last resort, for checking: use device %u", info->index);
    else if (by_probe)
        snprintf(info->choice_reason, size, "%.4g GFLOP/s, device %u is faster: use device %u", info->probe_gflops,
                 best->info.index, info->index);
    else
        snprintf(info->choice_reason, size, "another device comes first: use device %u", info->index);
}

/* Marks the device that "auto" opens, and says of each why or why not. */
static void mark_default(eqf__device *devices, size_t num_devices) {
    const bool by_probe = has_all_probes(devices, num_devices);
    const eqf__device *best = NULL;
    unsigned num_usable = 0;
    for (size_t d = 0; d < num_devices; d++) {
        if (!is_usable(&devices[d].info)) continue;
        num_usable++;
        if (best == NULL || is_better(&devices[d], best, by_probe)) best = &devices[d];
    }
    for (size_t d = 0; d < num_devices; d++) {
        devices[d].info.num_usable = num_usable;
        devices[d].info.is_chosen = &devices[d] == best;
        explain_choice(&devices[d], best, num_usable, by_probe);
    }
}

/* What was looked for and not found, in words that help. */
static eqf_status fail_without_platforms(eqf_context *ctx) {
    char broken[512];
    unsigned num_files;
    if (eqf__loader_find_broken(broken, sizeof broken, &num_files))
        return eqf__fail(ctx, EQF_ERROR_NO_PLATFORM, "no OpenCL implementation works: %s; install that driver again, or remove the file",
                         broken);
    return eqf__fail(ctx, EQF_ERROR_NO_PLATFORM,
                     "no OpenCL implementation is installed%s: install one, on Debian for example pocl-opencl-icd (any CPU), or "
                     "your GPU vendor's driver",
                     getenv("OCL_ICD_VENDORS") != NULL ? " where OCL_ICD_VENDORS points" : "");
}

static eqf_status fail_without_devices(eqf_context *ctx, const char *empty_platforms) {
    const bool has_rusticl = strstr(empty_platforms, "rusticl") != NULL;
    return eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "OpenCL is installed (%s) but offers no device: %s; for CPUs install pocl-opencl-icd",
                     empty_platforms,
                     has_rusticl ? "rusticl wants its driver named, RUSTICL_ENABLE=iris (Intel), radeonsi (AMD) or "
                                   "llvmpipe (for tests)"
                                 : "is the GPU's driver loaded, and may this user open it?");
}

/* All devices of all platforms; *devices_out is the caller's (free). */
static eqf_status find_devices(eqf_context *ctx, eqf__device **devices_out, size_t *num_devices_out) {
    *devices_out = NULL;
    *num_devices_out = 0;
    cl_platform_id ocl_platforms[64];
    cl_uint num_platforms = 0;
    cl_int error = clGetPlatformIDs(64, ocl_platforms, &num_platforms);
    if (error != CL_SUCCESS || num_platforms == 0) return fail_without_platforms(ctx);
    if (num_platforms > 64) num_platforms = 64;
    eqf__device *devices = NULL;
    size_t num_devices = 0;
    char empty_platforms[256] = "";
    for (cl_uint p = 0; p < num_platforms; p++) {
        cl_device_id ids[64];
        cl_uint num_ids = 0;
        error = clGetDeviceIDs(ocl_platforms[p], CL_DEVICE_TYPE_ALL, 64, ids, &num_ids);
        if (error != CL_SUCCESS || num_ids == 0) {
            char name[128];
            platform_text(ocl_platforms[p], CL_PLATFORM_NAME, name, sizeof name);
            eqf__log(ctx, EQF_LOG_DEBUG, "platform %s has no device", name);
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
    if (num_devices == 0) return fail_without_devices(ctx, empty_platforms);
    for (size_t d = 0; d < num_devices; d++) devices[d].info.probe_gflops = stored_probe(ctx, &devices[d].info);
    mark_default(devices, num_devices);
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
    EQF__TRY(find_devices(ctx, &devices, &num_devices));
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
    EQF__TRY(find_devices(ctx, &devices, &num_devices));
    eqf_status status = EQF_OK;
    eqf_device_profile *profile = eqf__alloc(ctx, 1, sizeof *profile, "the device's profile");
    if (profile == NULL) {
        status = EQF_ERROR_OUT_OF_MEMORY;
    } else if (index >= num_devices) {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "there is no device %u: 'eqf_device_list' lists the %zu here", index,
                           num_devices);
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

/* ---- Choosing --------------------------------------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
    }
    return false;
}

/* PCI vendors: https://pcisig.com/membership/member-companies. A CPU's id says nothing (platforms/README.md): its names decide. */
static bool is_of_vendor(const eqf_device_info *info, const char *selector, bool *is_vendor_out) {
    static const struct {
        const char *selector;
        unsigned id;
    } vendors[] = {{"amd", 0x1002}, {"intel", 0x8086}, {"nvidia", 0x10de}};
    *is_vendor_out = false;
    for (size_t v = 0; v < sizeof vendors / sizeof vendors[0]; v++) {
        if (strcasecmp(selector, vendors[v].selector) != 0) continue;
        *is_vendor_out = info->type != EQF_DEVICE_CPU;
        return info->vendor_id == vendors[v].id;
    }
    return false;
}

static bool is_index(const char *selector) {
    return selector[0] != '\0' && strspn(selector, "0123456789") == strlen(selector);
}

static bool is_selected(const eqf_device_info *info, const char *selector) {
    if (is_index(selector)) return strlen(selector) < 6 && info->index == strtoul(selector, NULL, 10);
    if (strcasecmp(selector, "cpu") == 0) return info->type == EQF_DEVICE_CPU;
    if (strcasecmp(selector, "gpu") == 0) return info->type == EQF_DEVICE_GPU;
    if (strcasecmp(selector, "accelerator") == 0) return info->type == EQF_DEVICE_ACCELERATOR;
    bool is_vendor;
    const bool fits = is_of_vendor(info, selector, &is_vendor);
    if (is_vendor) return fits;
    return contains(info->name, selector) || contains(info->vendor, selector) || contains(info->platform_name, selector);
}

static bool is_automatic(const char *selector) {
    return selector == NULL || selector[0] == '\0' || strcasecmp(selector, "auto") == 0;
}

/* Of those that fit, the one that "auto" would take if there were no others; NULL if none fits. */
static const eqf__device *choose(const eqf__device *devices, size_t num_devices, const char *selector, size_t *num_fit_out) {
    const bool by_probe = has_all_probes(devices, num_devices);
    const eqf__device *best = NULL;
    *num_fit_out = 0;
    for (size_t d = 0; d < num_devices; d++) {
        if (is_automatic(selector) ? !devices[d].info.is_chosen : !is_selected(&devices[d].info, selector)) continue;
        ++*num_fit_out;
        if (best == NULL || is_better(&devices[d], best, by_probe)) best = &devices[d];
    }
    return best;
}

static eqf_status open_device(eqf_context *ctx, const eqf__device *found) {
    if (!is_usable(&found->info))
        return eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "%s cannot be used: %s", found->info.name,
                         found->info.choice_reason);
    eqf__device *device = eqf__alloc(ctx, 1, sizeof *device, "the device");
    if (device == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    *device = *found;
    device->process_id = (long)getpid();
    ctx->device = device;
    cl_int error;
    device->context = clCreateContext(NULL, 1, &device->id, NULL, NULL, &error);
    if (error != CL_SUCCESS) {
        device->context = NULL;
        eqf_status status = eqf__ocl_fail(ctx, error, "while it was opened");
        eqf__device_close(ctx);
        return status;
    }
    device->queue = clCreateCommandQueue(device->context, device->id, 0, &error);
    if (error != CL_SUCCESS) {
        device->queue = NULL;
        eqf_status status = eqf__ocl_fail(ctx, error, "while its queue was made");
        eqf__device_close(ctx);
        return status;
    }
    eqf__log(ctx, EQF_LOG_INFO, "device %u: %s (%s), %s", device->info.index, device->info.name,
             device->info.platform_name, device->info.choice_reason);
    return EQF_OK;
}

eqf_status eqf_context_open_device(eqf_context *ctx, const char *selector) {
    EQF__NOT_NULL(ctx, ctx);
    if (ctx->device != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "this context already uses %s", ctx->device->info.name);
    if (selector == NULL) selector = getenv("EQFLOW_DEVICE");
    eqf__device *devices;
    size_t num_devices;
    EQF__TRY(find_devices(ctx, &devices, &num_devices));
    size_t num_fit;
    const eqf__device *found = choose(devices, num_devices, selector, &num_fit);
    eqf_status status;
    if (found != NULL) {
        if (num_fit > 1) eqf__log(ctx, EQF_LOG_INFO, "%zu devices fit '%s'", num_fit, selector);
        status = open_device(ctx, found);
    } else if (is_automatic(selector)) {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "%s cannot be used: %s", devices[0].info.name, devices[0].info.choice_reason);
    } else if (is_index(selector)) {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "there is no device %s: 'eqf_device_list' lists the %zu here, from 0", selector,
                           num_devices);
    } else {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "no device matches '%s': 'eqf_device_list' lists the %zu here", selector,
                           num_devices);
    }
    free(devices);
    return status;
}

eqf_status eqf__device_find(eqf_context *ctx, cl_device_id id, eqf__device *device_out) {
    eqf__device *devices;
    size_t num_devices, d = 0;
    EQF__TRY(find_devices(ctx, &devices, &num_devices));
    while (d < num_devices && devices[d].id != id) d++;
    if (d < num_devices) *device_out = devices[d];
    free(devices);
    if (d < num_devices) return EQF_OK;
    memset(device_out, 0, sizeof *device_out); /* a part of a device is in no list */
    device_out->id = id;
    device_out->info.struct_size = sizeof device_out->info;
    EQF__OCL(ctx, clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof device_out->ocl_platform, &device_out->ocl_platform, NULL),
             "while its platform was asked for");
    return describe(ctx, device_out->ocl_platform, device_out);
}

eqf_status eqf__device_get(eqf_context *ctx, eqf__device **device_out) {
    *device_out = NULL;
    if (ctx->device == NULL) EQF__TRY(eqf_context_open_device(ctx, NULL));
    EQF__TRY(eqf__device_check_process(ctx));
    *device_out = ctx->device;
    return EQF_OK;
}

void eqf__device_close(eqf_context *ctx) {
    if (ctx->device == NULL) return;
    if (eqf__device_check_process(ctx) == EQF_OK) { /* else they are the parent's */
        if (ctx->device->queue != NULL) clReleaseCommandQueue(ctx->device->queue);
        if (ctx->device->context != NULL) clReleaseContext(ctx->device->context);
    }
    free(ctx->device->described);
    free(ctx->device);
    ctx->device = NULL;
}

eqf_status eqf_context_device(eqf_context *ctx, eqf_device_info *device_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_DEVICE_INFO_INIT, device_out));
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    return EQF__WRITE(ctx, EQF_DEVICE_INFO_INIT, &device->info, device_out);
}
