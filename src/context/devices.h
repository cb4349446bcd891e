/* Lists the devices (found.c), and chooses the one that a context takes (choice.c). */
#ifndef EQF_DEVICES_H
#define EQF_DEVICES_H

#include "ocl.h"

/* All devices of all platforms, marked (below); *devices_out is the caller's (free). Errors: NO_PLATFORM, NO_DEVICE,
 * OUT_OF_MEMORY. */
eqf_status eqf__devices_find(eqf_context *ctx, eqf__device **devices_out, size_t *num_devices_out);
/* Marks the device that "auto" opens, and gives for each the reason why it is or is not chosen. */
void eqf__devices_mark(eqf__device *devices, size_t num_devices);

#endif
