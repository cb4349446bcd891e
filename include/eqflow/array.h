/* Reads and writes arrays in files: NumPy .npy and extended XYZ. */
#ifndef EQFLOW_ARRAY_H
#define EQFLOW_ARRAY_H

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EQF_ARRAY_MAX_DIMS 8

/* A dense float32 array, C order. Who holds the array owns data and frees it by eqf_array_clear. */
typedef struct eqf_array {
    float *data;
    unsigned num_dims;
    size_t shape[EQF_ARRAY_MAX_DIMS];
} eqf_array;
#define EQF_ARRAY_INIT {NULL, 0, {0}}

/* Product of the shape; 1 for a scalar. */
size_t eqf_array_count(const eqf_array *array);
void eqf_array_clear(eqf_array *array);

/* Reads float32 or float64 (either byte order), C or Fortran order, format versions 1-3.
 * Errors: IO (missing, unreadable), FORMAT (truncated, not .npy, other dtype, too many dimensions, more
 * data than the header says), OUT_OF_MEMORY. The message names the file and what to do. */
eqf_status eqf_array_read_npy(eqf_context *ctx, const char *path, eqf_array *array_out);

/* Writes the whole file or nothing (docs/file-formats.md). Errors: IO (nothing is overwritten). */
eqf_status eqf_array_write_npy(eqf_context *ctx, const char *path, const eqf_array *array);

/* Writes any bytes as a file in the same way. */
eqf_status eqf_file_write(eqf_context *ctx, const char *path, const void *bytes, size_t num_bytes);

/* Reads configurations as [B, N, D] from a .npy file of shape [B, N, D] or [B, N*D], or from extended XYZ (frames of N
 * particles; coordinates beyond D must be 0). Subtracts each configuration's centre of mass; max_offset_out (a length,
 * or NULL) gets the largest distance from the origin of one that was subtracted. Errors: those of eqf_array_read_npy,
 * FORMAT for another shape, an empty array, NaN or infinity. */
eqf_status eqf_array_read_configurations(eqf_context *ctx, const char *path, unsigned num_particles,
                                         unsigned space_dim, eqf_array *array_out, double *max_offset_out);

/* Writes extended XYZ, one frame for each configuration: x [B, N, D] (missing coordinates are 0); element is the symbol
 * written for each particle; energy and log_prob [B] or NULL go to the comment line. Writes the whole file or
 * nothing. */
eqf_status eqf_array_write_xyz(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                               const float *energy, const float *log_prob);

/* A number of each frame, for the comment line: name=value, as ASE and OVITO read it. */
typedef struct eqf_frame_value {
    const char *name;    /* "log_weight": letters, digits and _, 32 at most; Lattice, Properties, pbc are taken */
    const float *values; /* [B]; NULL: left out */
} eqf_frame_value;
/* The same with any values in any order; values [num_values] may be NULL if there are none. */
eqf_status eqf_array_write_xyz_values(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                                      size_t num_values, const eqf_frame_value *values);

/* The same for two species: element_b is the symbol of the last num_b particles. */
eqf_status eqf_array_write_xyz_species(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                                       const char *element_b, size_t num_b, size_t num_values,
                                       const eqf_frame_value *values);

/* The number name=value of each frame of an extended XYZ file: values_out [B]; an array without elements if no frame
 * has one, or if the file is not XYZ. Errors: IO, FORMAT (some frames have it and others do not, or it is not a
 * number), OUT_OF_MEMORY. */
eqf_status eqf_array_read_xyz_values(eqf_context *ctx, const char *path, const char *name, eqf_array *values_out);

#ifdef __cplusplus
}
#endif
#endif
