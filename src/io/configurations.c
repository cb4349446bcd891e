/* The first bytes of a file tell which format its configurations have. */
#include "configurations.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "npy.h"

eqf_status eqf__centre_configuration(eqf_context *ctx, const char *path, size_t b, unsigned num_particles,
                                     unsigned space_dim, double *values, float *x_out, double *offset_out) {
    double squared_offset = 0.0;
    for (unsigned d = 0; d < space_dim; d++) {
        double sum = 0.0;
        for (unsigned i = 0; i < num_particles; i++) {
            const double value = values[(size_t)i * space_dim + d];
            if (!isfinite(value))
                return eqf__fail(ctx, EQF_ERROR_FORMAT,
                                 "%s: configuration %zu (counted from 0) holds %s: remove it or make the data again",
                                 path, b, isnan(value) ? "NaN" : "infinity");
            sum += value;
        }
        const double centre = sum / num_particles;
        squared_offset += centre * centre;
        for (unsigned i = 0; i < num_particles; i++) {
            const double value = values[(size_t)i * space_dim + d] - centre;
            if (!isfinite(value) || fabs(value) > FLT_MAX)
                return eqf__fail(ctx, EQF_ERROR_FORMAT,
                                 "%s: configuration %zu (counted from 0) has a coordinate too large for float32", path,
                                 b);
            x_out[(size_t)i * space_dim + d] = (float)value;
        }
    }
    *offset_out = sqrt(squared_offset);
    return EQF_OK;
}

eqf_status eqf_array_read_configurations(eqf_context *ctx, const char *path, unsigned num_particles, unsigned space_dim,
                                         eqf_array *array_out, double *max_offset_out) {
    if (array_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "array_out is NULL");
    *array_out = (eqf_array)EQF_ARRAY_INIT;
    if (path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path is NULL");
    unsigned char start[64], *bytes;
    size_t num_start, num_bytes;
    EQF__TRY(eqf__file_read_start(ctx, path, sizeof start, start, &num_start, &num_bytes));
    if (!eqf__xyz_is_start(start, num_start)) {
        EQF__TRY(eqf__npy_read_file(ctx, path, &bytes, &num_bytes));
    } else {
        EQF__TRY(eqf__file_read(ctx, path, &bytes, &num_bytes));
    }
    const eqf_status status = eqf__xyz_is_start(bytes, num_bytes)
                                  ? eqf__xyz_parse_configurations(ctx, path, bytes, num_bytes, num_particles, space_dim,
                                                                  array_out, max_offset_out)
                                  : eqf__npy_parse_configurations(ctx, path, bytes, num_bytes, num_particles, space_dim,
                                                                  array_out, max_offset_out);
    free(bytes);
    return status;
}

eqf_status eqf_array_read_xyz_values(eqf_context *ctx, const char *path, const char *name, eqf_array *values_out) {
    if (values_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "values_out is NULL");
    *values_out = (eqf_array)EQF_ARRAY_INIT;
    values_out->num_dims = 1;
    if (path == NULL || name == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path or name is NULL");
    unsigned char start[64], *bytes;
    size_t num_start, num_bytes;
    EQF__TRY(eqf__file_read_start(ctx, path, sizeof start, start, &num_start, &num_bytes));
    if (!eqf__xyz_is_start(start, num_start)) return EQF_OK;
    EQF__TRY(eqf__file_read(ctx, path, &bytes, &num_bytes));
    const eqf_status status = eqf__xyz_parse_values(ctx, path, bytes, num_bytes, name, values_out);
    free(bytes);
    return status;
}
