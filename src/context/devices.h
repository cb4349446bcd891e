/* What devices there are (found.c), and which of them a context takes (choice.c). */
#ifndef EQF_DEVICES_H
#define EQF_DEVICES_H

#include "ocl.h"

/* All devices of all platforms, marked; *devices_out is the caller's (free). Errors: NO_PLATFORM, NO_DEVICE,
 * OUT_OF_MEMORY. */
eqf_status eqf__devices_find(eqf_context *ctx, eqf__device **devices_out, size_t *num_devices_out);
/* Marks the device that "auto" opens, and says of each why or why not. */
void eqf__devices_mark(eqf__device *devices, size_t num_devices);

#endif
