/* Configurations [B, N, D] from files of any format: functions that the readers share. */
#ifndef EQF_CONFIGURATIONS_H
#define EQF_CONFIGURATIONS_H

#include "base.h"
#include "eqflow/array.h"

/* Configuration b: values [N, D] -> x_out [N, D], centred in double before rounding, so that a large common offset
 * costs no digits. *offset_out: the distance by which it was shifted. Errors: FORMAT, with path and b. */
eqf_status eqf__centre_configuration(eqf_context *ctx, const char *path, size_t b, unsigned num_particles,
                                     unsigned space_dim, double *values, float *x_out, double *offset_out);

/* Extended XYZ in memory, as eqf_array_read_configurations; path is for messages only. */
eqf_status eqf__xyz_parse_configurations(eqf_context *ctx, const char *path, const unsigned char *bytes,
                                         size_t num_bytes, unsigned num_particles, unsigned space_dim,
                                         eqf_array *array_out, double *max_offset_out);
/* The value of name=value in the comment line of each frame, [B]; an empty array if no frame has one. */
eqf_status eqf__xyz_parse_values(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                                 const char *name, eqf_array *values_out);
/* Do these first bytes of a file look like XYZ: a line with a count and nothing else? */
bool eqf__xyz_is_start(const unsigned char *bytes, size_t num_bytes);

#endif
