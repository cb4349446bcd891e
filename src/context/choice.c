/* Which device a context takes: the one that a selector names, or the best one. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "devices.h"

/* ---- The best ---------------------------------------------------------------------------------------------------- */

static bool is_usable(const eqf_device_info *info) {
    return info->is_available && info->has_compiler && info->max_allocation_bytes > 0;
}

static const char *const type_names[] = {"CPU", "GPU", "accelerator", "device"};

/* Ranks, lower is better: GPU, CPU, other types, those whose profile says last_resort, those that cannot be used. */
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

/* Speeds decide only if every usable device has one, so that a device is not passed over because it was not
 * measured. */
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

void eqf__devices_mark(eqf__device *devices, size_t num_devices) {
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

/* ---- By name ----------------------------------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
    }
    return false;
}

/* PCI vendors: https://pcisig.com/membership/member-companies. A CPU's id means nothing (platforms/README.md), so its
 * names are compared. */
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
    return contains(info->name, selector) || contains(info->vendor, selector) ||
           contains(info->platform_name, selector);
}

static bool is_automatic(const char *selector) {
    return selector == NULL || selector[0] == '\0' || strcasecmp(selector, "auto") == 0;
}

/* Of the devices that fit the selector, the one that "auto" would take; NULL if none fits. */
static const eqf__device *choose(const eqf__device *devices, size_t num_devices, const char *selector,
                                 size_t *num_fit_out) {
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
    EQF__TRY(eqf__devices_find(ctx, &devices, &num_devices));
    size_t num_fit;
    const eqf__device *found = choose(devices, num_devices, selector, &num_fit);
    eqf_status status;
    if (found != NULL) {
        if (num_fit > 1) eqf__log(ctx, EQF_LOG_INFO, "%zu devices fit '%s'", num_fit, selector);
        status = open_device(ctx, found);
    } else if (is_automatic(selector)) {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "%s cannot be used: %s", devices[0].info.name,
                           devices[0].info.choice_reason);
    } else if (is_index(selector)) {
        status =
            eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "there is no device %s: 'eqf_device_list' lists the %zu here, from 0",
                      selector, num_devices);
    } else {
        status = eqf__fail(ctx, EQF_ERROR_NO_DEVICE, "no device matches '%s': 'eqf_device_list' lists the %zu here",
                           selector, num_devices);
    }
    free(devices);
    return status;
}
