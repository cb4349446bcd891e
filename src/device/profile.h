/* What is known of a class of devices: see platforms/. */
#ifndef EQF_PROFILE_H
#define EQF_PROFILE_H

#include "ocl.h"

/* Fills vector_width, num_partials, launch_iterations, build_options and info.profile_name from the device's facts. */
void eqf__profile_apply(eqf__device *device);

#endif
