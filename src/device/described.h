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
eqf_status eqf__described_write(cl_mem buffer, size_t offset, size_t num_bytes, const void *h_data);
eqf_status eqf__described_read(cl_mem buffer, size_t offset, size_t num_bytes, void *h_data);

#endif
