/* A device that a file describes and that has no driver: the library chooses layouts and assembles programs for it as
 * for a real one, and writes them into a folder, for compilers that run without the hardware (tests/vendors.sh).
 * Nothing is computed: launches do nothing, and buffers, in the host's memory, hold what was written to them, or zeros.
 * So it is never in the list of devices, and no selector and no public function opens it. */
#ifndef EQF_DESCRIBED_H
#define EQF_DESCRIBED_H

#include "profile.h"

/* A text of the format of profiles (platforms/README.md has the keys). name: what messages call it. Errors: FORMAT with
 * name and line. */
eqf_status eqf__description_read(eqf_context *ctx, const char *name, const char *text, eqf_device_info *info_out,
                                 eqf__profile_facts *facts_out);

/* What the cost model (src/bench) wants of a description beside info: rates at best, and what a unit - what has its own
 * local memory - holds at once. 0: not given. */
typedef struct eqf__device_rates {
    double fp32_gflops, fp64_gflops; /* multiply-adds, two operations each, 1e9/s */
    double special_gops;             /* square roots, divisions, 1e9/s */
    double lookup_gops;              /* rows of four floats at places of a table in a cache, 1e9/s */
    double memory_gbps, cache_gbps, local_gbps, link_gbps; /* 1e9 bytes/s; cache: the largest on the chip; link: to the
                                                              host */
    double launch_us, latency_ns; /* of a launch in a full queue; of a lookup that the next operation waits for */
    double units; /* what has its own local memory: compute units, of RDNA halves of them, of Intel 16 engines */
    double wave_width, waves_per_unit, registers_per_unit, register_granule, registers_per_work_item;
    double local_memory_per_unit; /* bytes */
} eqf__device_rates;

/* Of a text that eqf__description_read takes. Errors: FORMAT. */
eqf_status eqf__description_rates(eqf_context *ctx, const char *name, const char *text, eqf__device_rates *rates_out);
/* The .device files inside the library, as name "vendor/device.device"; NULL ends the list. */
extern const eqf__embedded_profile eqf__embedded_devices[];

/* A launch on a described device, for who listens. Arguments are those of eqf__launch. */
typedef struct eqf__launch_seen {
    const char *kernel, *program, *options, *source;
    size_t global_size, local_size; /* as rounded up */
    size_t num_arguments;
    const struct eqf__argument *arguments;
} eqf__launch_seen;

/* Listens to what a described device is asked for. */
typedef struct eqf__described_listener {
    void (*on_launch)(void *user, const eqf__launch_seen *launch);
    void *user;
    double num_bytes_copied;    /* between host and device */
    double num_bytes_on_device; /* filled, or copied from buffer to buffer */
    uint64_t num_copies;
} eqf__described_listener;

/* As eqf__device_open_described, of a text that messages call `name`; programs are not written. */
eqf_status eqf__device_open_description(eqf_context *ctx, const char *name, const char *text);

/* Opens the device that the file describes, with the profile of such a device (without stored tuning). Programs
 * are written when the context is destroyed, as folder/<program>[-2, -3 ...].cl; the folder exists. Errors:
 * INVALID_ARGUMENT (a device is open), IO, FORMAT. */
eqf_status eqf__device_open_described(eqf_context *ctx, const char *path, const char *folder);

/* A handle of a described device has its lowest bit set; a driver's handles are pointers to aligned memory, so theirs
 * is not set. */
bool eqf__is_described(const void *handle);
void *eqf__described_handle(void *memory);
void *eqf__described_memory(void *handle);

/* The buffers of ocl.h for such a device. */
eqf_status eqf__described_buffer(eqf_context *ctx, size_t num_bytes, const void *h_data, cl_mem *buffer_out);
eqf_status eqf__described_write(eqf__device *device, cl_mem buffer, size_t offset, size_t num_bytes,
                                const void *h_data);
eqf_status eqf__described_read(eqf__device *device, cl_mem buffer, size_t offset, size_t num_bytes, void *h_data);
/* A fill or a copy on the device, for the listener. */
eqf_status eqf__described_touch(eqf__device *device, size_t num_bytes);

#endif
