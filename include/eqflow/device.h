/* OpenCL devices: which there are, and which one a context uses. */
#ifndef EQFLOW_DEVICE_H
#define EQFLOW_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum eqf_device_type {
    EQF_DEVICE_CPU,
    EQF_DEVICE_GPU,
    EQF_DEVICE_ACCELERATOR,
    EQF_DEVICE_OTHER
} eqf_device_type;

typedef struct eqf_device_info {
    size_t struct_size; /* set by EQF_DEVICE_INFO_INIT */
    unsigned index; /* position in eqf_device_list */
    eqf_device_type type;
    char name[128], vendor[128], driver_version[128];
    char platform_name[128], platform_version[128], device_version[128];
    unsigned vendor_id; /* CL_DEVICE_VENDOR_ID: of PCI, or above 0xffff of Khronos; has no meaning for CPUs */
    unsigned compute_units, max_clock_mhz;
    uint64_t global_memory_bytes, max_allocation_bytes, local_memory_bytes;
    size_t max_work_group_size;
    bool has_fp64, has_compiler, is_available;
    double probe_gflops;    /* as eqf_bench_remember stored it for this driver; 0: not measured */
    unsigned num_usable;    /* number of devices on this machine that could be opened */
    bool is_chosen;         /* the one that "auto" would open */
    char choice_reason[96]; /* why it is or is not chosen */
    /* Values of its profile (platforms/README.md). */
    char profile_name[64]; /* the most specific file: "cpu/avx512" */
    unsigned vector_width; /* V: samples a work-item carries */
    unsigned char reserved[260]; /* 0: see eqflow/context.h */
} eqf_device_info;
#define EQF_DEVICE_INFO_INIT {.struct_size = sizeof(eqf_device_info)}

/* Every device of every platform, in the loader's order. The array is the caller's: eqf_free.
 * Errors: NO_PLATFORM, NO_DEVICE (none at all), OUT_OF_MEMORY; a platform without devices is skipped, with a log line,
 * and so is an ICD file that names a library which cannot be loaded. */
eqf_status eqf_device_list(eqf_context *ctx, eqf_device_info **devices_out, size_t *num_devices_out);

/* A device's profile, from the files of platforms/ (platforms/README.md has their order), the tuning of this machine
 * and eqf_context_set_profile. */
typedef struct eqf_profile_value {
    char key[32], value[224];
    char origin[96];  /* where the value comes from: "platforms/cpu/cpu.profile:5", "eqf_context_set_profile" */
    char reason[384]; /* the comment beside the value there */
} eqf_profile_value;
typedef struct eqf_driver_issue {
    char name[32], text[192];
    char versions[32]; /* "FIRST..LAST" of the driver, either may be missing; "": all */
    char guard[64];    /* the test that fails if the issue is there, <noun>.<what> of tests/ */
    char source[160];
    char origin[96];
} eqf_driver_issue;
enum { EQF_PROFILE_MAX_VALUES = 64, EQF_PROFILE_MAX_ISSUES = 16 };
typedef struct eqf_device_profile {
    size_t struct_size; /* set by EQF_DEVICE_PROFILE_INIT */
    unsigned num_values, num_issues;
    /* every key once, in the order of platforms/generic/generic.profile */
    eqf_profile_value values[EQF_PROFILE_MAX_VALUES];
    eqf_driver_issue issues[EQF_PROFILE_MAX_ISSUES];  /* known of this device's driver version */
} eqf_device_profile;
#define EQF_DEVICE_PROFILE_INIT {.struct_size = sizeof(eqf_device_profile)}

/* The profile of the device at index in eqf_device_list. Errors: NO_DEVICE, NO_PLATFORM, OUT_OF_MEMORY. */
eqf_status eqf_device_get_profile(eqf_context *ctx, unsigned index, eqf_device_profile *profile_out);

/* Stores profile values for the open device and its driver in the user's cache: lines "key = value  # reason". Contexts
 * that open the device afterwards use them in place of those of platforms/. NULL removes them. Errors: INVALID_ARGUMENT
 * (not such lines), IO, NOT_FOUND (caching is off). */
eqf_status eqf_device_store_tuning(eqf_context *ctx, const char *text);

/* The open device of ctx (opens the default one if none is). */
eqf_status eqf_context_device(eqf_context *ctx, eqf_device_info *device_out);

#ifdef __cplusplus
}
#endif
#endif
