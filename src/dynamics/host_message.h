#ifndef EQF_HOST_MESSAGE_H
#define EQF_HOST_MESSAGE_H

#include "host_reference.h"

/* eqf__host_velocity_function of the message field. */
bool eqf__host_message_velocity(const eqf__host_field *field, const double *x, double t, double *velocity_out,
                                double *divergence_out);

#endif
