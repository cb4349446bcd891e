/* The .npy parser on bytes in memory, for the readers of array.h and the fuzz tests.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef EQF_NPY_H
#define EQF_NPY_H

#include "base.h"
#include "eqflow/array.h"

/* Reads the whole file, if its first bytes show that it is a .npy file. Errors: IO, FORMAT, OUT_OF_MEMORY. */
eqf_status eqf__npy_read_file(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out);
/* As eqf_array_read_npy and eqf_array_read_configurations, without reading the file; path is for messages only. */
eqf_status eqf__npy_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                          eqf_array *array_out);
eqf_status eqf__npy_parse_configurations(eqf_context *ctx, const char *path, const unsigned char *bytes,
                                         size_t num_bytes, unsigned num_particles, unsigned space_dim,
                                         eqf_array *array_out, double *max_offset_out);

#endif
