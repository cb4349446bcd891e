/* Extended XYZ (https://github.com/libAtoms/extxyz): what OVITO, VMD and ASE open. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/array.h"

/* Nine digits give a float32 back exactly. The decimal point is a point in every locale. */
enum { NUMBER_BYTES = 40 };
static void number_text(float value, char text[NUMBER_BYTES]) {
    if (!isfinite(value)) {
        snprintf(text, NUMBER_BYTES, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    char local[NUMBER_BYTES];
    snprintf(local, sizeof local, "%.9g", (double)value);
    size_t length = 0;
    bool is_in_point = false;
    for (const char *c = local; *c != '\0'; c++) {
        bool is_point = strchr("0123456789+-e", *c) == NULL; /* of one or more bytes */
        if (!is_point || !is_in_point) text[length++] = is_point ? '.' : *c;
        is_in_point = is_point;
    }
    text[length] = '\0';
}

static eqf_status write_text(eqf_context *ctx, eqf__file_writer *writer, const char *text) {
    return eqf__file_write(ctx, writer, text, strlen(text));
}

/* The names of particles; the last num_b have the second one. */
typedef struct particle_names {
    const char *element, *element_b;
    size_t num_b;
} particle_names;

/* x [N, D] of frame b */
static eqf_status write_frame(eqf_context *ctx, eqf__file_writer *writer, size_t num_particles, size_t space_dim,
                              const float *x, const particle_names *names, size_t b, size_t num_values,
                              const eqf_frame_value *values) {
    char line[128], number[NUMBER_BYTES];
    snprintf(line, sizeof line, "%zu\nProperties=species:S:1:pos:R:3 pbc=\"F F F\"", num_particles);
    EQF__TRY(write_text(ctx, writer, line));
    for (size_t v = 0; v < num_values; v++) {
        if (values[v].values == NULL) continue;
        number_text(values[v].values[b], number);
        snprintf(line, sizeof line, " %s=%s", values[v].name, number);
        EQF__TRY(write_text(ctx, writer, line));
    }
    EQF__TRY(write_text(ctx, writer, "\n"));
    for (size_t i = 0; i < num_particles; i++) {
        EQF__TRY(write_text(ctx, writer, i + names->num_b < num_particles ? names->element : names->element_b));
        for (size_t d = 0; d < 3; d++) {
            number_text(d < space_dim ? x[i * space_dim + d] : 0.0f, number);
            EQF__TRY(write_text(ctx, writer, " "));
            EQF__TRY(write_text(ctx, writer, number));
        }
        EQF__TRY(write_text(ctx, writer, "\n"));
    }
    return EQF_OK;
}

/* Whether name can be a key of a comment line and is not one that the format uses. */
static bool is_name(const char *name) {
    static const char *const taken[] = {"Lattice", "Properties", "pbc"};
    const size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0 || length > 32) return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_' ||
              (c > name && *c >= '0' && *c <= '9')))
            return false;
    for (size_t t = 0; t < sizeof taken / sizeof taken[0]; t++)
        if (strcmp(name, taken[t]) == 0) return false;
    return true;
}

eqf_status eqf_array_write_xyz(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                               const float *energy, const float *log_prob) {
    const eqf_frame_value values[] = {{"energy", energy}, {"log_prob", log_prob}};
    return eqf_array_write_xyz_values(ctx, path, x, element, sizeof values / sizeof values[0], values);
}

static bool is_element(const char *element) {
    return *element != '\0' && strlen(element) <= 16 && strpbrk(element, " \t\r\n\"") == NULL;
}

eqf_status eqf_array_write_xyz_values(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                                      size_t num_values, const eqf_frame_value *values) {
    return eqf_array_write_xyz_species(ctx, path, x, element, element, 0, num_values, values);
}

eqf_status eqf_array_write_xyz_species(eqf_context *ctx, const char *path, const eqf_array *x, const char *element,
                                       const char *element_b, size_t num_b, size_t num_values,
                                       const eqf_frame_value *values) {
    if (path == NULL || x == NULL || element == NULL || element_b == NULL || (values == NULL && num_values > 0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path, x, element or values is NULL");
    if (x->num_dims != 3 || x->shape[2] == 0 || x->shape[2] > 3)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "XYZ files hold configurations [B, N, D] with D 1, 2 or 3");
    if (x->data == NULL && eqf_array_count(x) != 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the array has a shape but no data");
    if (num_b > x->shape[1])
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_b is %zu, and there are %zu particles", num_b,
                         x->shape[1]);
    if (!is_element(element) || !is_element(element_b))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the element must be a short word such as Ar");
    for (size_t v = 0; v < num_values; v++)
        if (!is_name(values[v].name))
            return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                             "the name of value %zu must be a word of letters, digits and _ such as log_weight", v);
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    eqf_status status = EQF_OK;
    const particle_names names = {element, element_b, num_b};
    size_t num_dof = x->shape[1] * x->shape[2];
    for (size_t b = 0; status == EQF_OK && b < x->shape[0]; b++)
        status =
            write_frame(ctx, &writer, x->shape[1], x->shape[2], x->data + b * num_dof, &names, b, num_values, values);
    if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
    eqf__file_abandon(&writer);
    return status;
}
