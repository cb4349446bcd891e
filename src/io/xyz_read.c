/* Reads extended XYZ (https://github.com/libAtoms/extxyz), as ASE, OVITO and VMD write it: a frame is a count, a
 * comment line with Properties=..., and a line for each particle. Without Properties a line has a name and three
 * coordinates, as in plain XYZ. */
#include <ctype.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "configurations.h"

/* The rest of the text, and the number of its first line. */
typedef struct xyz_reader {
    eqf_context *ctx;
    const char *path;
    const char *next, *end;
    size_t line;
} xyz_reader;

static eqf_status fail(const xyz_reader *r, const char *what) {
    return eqf__fail(r->ctx, EQF_ERROR_FORMAT, "%s: line %zu: %s", r->path, r->line, what);
}

/* The next line, without its end; false after the last. */
static bool read_line(xyz_reader *r, const char **begin_out, const char **end_out) {
    if (r->next == r->end) return false;
    const char *newline = memchr(r->next, '\n', (size_t)(r->end - r->next));
    *begin_out = r->next;
    *end_out = newline != NULL ? newline : r->end;
    r->next = newline != NULL ? newline + 1 : r->end;
    r->line++;
    if (*end_out > *begin_out && (*end_out)[-1] == '\r') (*end_out)--;
    return true;
}

static bool is_blank(const char *begin, const char *end) {
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    return begin == end;
}

/* Gives the next word of a line in *begin_out, *end_out; false if there is none. */
static bool read_word(const char **at, const char *end, const char **begin_out, const char **end_out) {
    while (*at < end && isspace((unsigned char)**at)) (*at)++;
    *begin_out = *at;
    while (*at < end && !isspace((unsigned char)**at)) (*at)++;
    *end_out = *at;
    return *begin_out < *end_out;
}

/* A decimal number with a point, in every locale. */
static bool read_number(const char *begin, const char *end, double *value_out) {
    char text[128];
    size_t length = 0;
    const char *point = localeconv()->decimal_point;
    for (const char *c = begin; c < end; c++) {
        const size_t num = *c == '.' ? strlen(point) : 1;
        if (length + num >= sizeof text) return false;
        memcpy(text + length, *c == '.' ? point : c, num);
        length += num;
    }
    text[length] = '\0';
    char *rest;
    *value_out = strtod(text, &rest);
    return rest != text && *rest == '\0';
}

/* A count alone on a line. */
static bool read_count(const char *begin, const char *end, size_t *count_out) {
    const char *word, *word_end, *at = begin;
    if (!read_word(&at, end, &word, &word_end) || !is_blank(at, end) || word_end - word > 9) return false;
    size_t count = 0;
    for (; word < word_end; word++) {
        if (*word < '0' || *word > '9') return false;
        count = 10 * count + (size_t)(*word - '0');
    }
    *count_out = count;
    return true;
}

bool eqf__xyz_is_start(const unsigned char *bytes, size_t num_bytes) {
    const char *text = (const char *)bytes;
    const char *newline = num_bytes > 0 ? memchr(text, '\n', num_bytes) : NULL;
    size_t count;
    return newline != NULL && read_count(text, newline > text && newline[-1] == '\r' ? newline - 1 : newline, &count);
}

/* The column of the first coordinate according to Properties=...; 1 if the comment has none. */
static eqf_status find_column(const xyz_reader *r, const char *begin, const char *end, size_t *column_out) {
    static const char key[] = "Properties=";
    *column_out = 1;
    const char *at = begin;
    while (at + sizeof key - 1 <= end && memcmp(at, key, sizeof key - 1) != 0) at++;
    if (at + sizeof key - 1 > end) return EQF_OK;
    at += sizeof key - 1;
    if (at < end && *at == '"') at++;
    size_t column = 0;
    while (at < end && !isspace((unsigned char)*at) && *at != '"') { /* name:type:columns, joined by colons */
        const char *field[3], *field_end[3];
        for (size_t f = 0; f < 3; f++) {
            field[f] = at;
            while (at < end && *at != ':' && *at != '"' && !isspace((unsigned char)*at)) at++;
            field_end[f] = at;
            if (f < 2 && (at == end || *at != ':')) return fail(r, "Properties= is not name:type:columns, repeated");
            if (at < end && *at == ':') at++;
        }
        size_t num_columns;
        if (!read_count(field[2], field_end[2], &num_columns))
            return fail(r, "Properties= has a number of columns that is none");
        if (field_end[0] - field[0] == 3 && memcmp(field[0], "pos", 3) == 0) {
            if (num_columns != 3) return fail(r, "Properties= gives pos other than 3 columns");
            *column_out = column;
            return EQF_OK;
        }
        column += num_columns;
    }
    return fail(r, "Properties= has no pos");
}

/* values_out [N, D] of one frame. */
static eqf_status read_frame(xyz_reader *r, unsigned num_particles, unsigned space_dim, double *values_out) {
    const char *begin, *end, *word, *word_end;
    size_t column;
    if (!read_line(r, &begin, &end)) return fail(r, "the file ends within a frame");
    EQF__TRY(find_column(r, begin, end, &column));
    for (unsigned i = 0; i < num_particles; i++) {
        if (!read_line(r, &begin, &end)) return fail(r, "the file ends within a frame");
        const char *at = begin;
        for (size_t c = 0; c < column; c++)
            if (!read_word(&at, end, &word, &word_end)) return fail(r, "a particle's line is too short");
        for (unsigned d = 0; d < 3; d++) {
            double value;
            if (!read_word(&at, end, &word, &word_end)) return fail(r, "a particle's line is too short");
            if (!read_number(word, word_end, &value)) return fail(r, "a coordinate is no number");
            if (d < space_dim)
                values_out[(size_t)i * space_dim + d] = value;
            else if (value != 0)
                return fail(r, "a coordinate beyond the system's dimensions is not 0");
        }
    }
    return EQF_OK;
}

/* Number of lines, an upper bound of the number of frames, for the allocation. */
static size_t count_lines(const unsigned char *bytes, size_t num_bytes) {
    size_t num = 1;
    for (size_t n = 0; n < num_bytes; n++) num += bytes[n] == '\n';
    return num;
}

static eqf_status read_frames(xyz_reader *r, unsigned num_particles, unsigned space_dim, double *values, float *x,
                              size_t *num_out, double *max_offset) {
    const char *begin, *end;
    while (read_line(r, &begin, &end)) {
        size_t count;
        if (is_blank(begin, end) && is_blank(r->next, r->end)) break; /* empty lines at the end */
        if (!read_count(begin, end, &count)) return fail(r, "a frame does not begin with its number of particles");
        if (count != num_particles)
            return eqf__fail(r->ctx, EQF_ERROR_FORMAT, "%s: line %zu: a frame of %zu particles, but the system has %u",
                             r->path, r->line, count, num_particles);
        double offset;
        EQF__TRY(read_frame(r, num_particles, space_dim, values));
        EQF__TRY(eqf__centre_configuration(r->ctx, r->path, *num_out, num_particles, space_dim, values,
                                           x + *num_out * num_particles * space_dim, &offset));
        if (offset > *max_offset) *max_offset = offset;
        (*num_out)++;
    }
    return EQF_OK;
}

eqf_status eqf__xyz_parse_configurations(eqf_context *ctx, const char *path, const unsigned char *bytes,
                                         size_t num_bytes, unsigned num_particles, unsigned space_dim,
                                         eqf_array *array_out, double *max_offset_out) {
    *array_out = (eqf_array)EQF_ARRAY_INIT;
    if (max_offset_out != NULL) *max_offset_out = 0.0;
    if (num_particles == 0 || space_dim == 0 || space_dim > 3)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "configurations need at least 1 particle and 1 to 3 dimensions");
    const size_t most = count_lines(bytes, num_bytes) / ((size_t)num_particles + 2) + 1,
                 num_dof = (size_t)num_particles * space_dim;
    double *values = eqf__alloc(ctx, num_dof, sizeof *values, "configurations");
    float *x = values != NULL ? eqf__alloc(ctx, most, num_dof * sizeof *x, "configurations") : NULL;
    xyz_reader reader = {ctx, path, (const char *)bytes, (const char *)bytes + num_bytes, 0};
    double max_offset = 0;
    size_t num = 0;
    eqf_status status = x == NULL ? EQF_ERROR_OUT_OF_MEMORY
                                  : read_frames(&reader, num_particles, space_dim, values, x, &num, &max_offset);
    free(values);
    if (status == EQF_OK && num == 0)
        status = eqf__fail(ctx, EQF_ERROR_FORMAT, "%s holds no configuration: give a file with some", path);
    if (status != EQF_OK) {
        free(x);
        return status;
    }
    *array_out = (eqf_array){x, 3, {num, num_particles, space_dim}};
    if (max_offset_out != NULL) *max_offset_out = max_offset;
    return EQF_OK;
}

/* ---- Numbers of the frames --------------------------------------------------------------------------------------- */

/* The position of the value of key=value in a comment line: a key is at its start or after white space, outside
 * quotes. */
static const char *find_value(const char *begin, const char *end, const char *key) {
    const size_t length = strlen(key);
    bool is_quoted = false, is_start = true;
    for (const char *at = begin; at < end; at++) {
        if (*at == '"') is_quoted = !is_quoted;
        if (is_start && !is_quoted && (size_t)(end - at) > length && memcmp(at, key, length) == 0 && at[length] == '=')
            return at + length + 1;
        is_start = isspace((unsigned char)*at) != 0;
    }
    return NULL;
}

static eqf_status read_value(const xyz_reader *r, const char *begin, const char *end, const char *name,
                             float *value_out, bool *has_value_out) {
    const char *at = find_value(begin, end, name), *word, *word_end;
    *has_value_out = at != NULL;
    if (at == NULL) return EQF_OK;
    double value = 0;
    if (!read_word(&at, end, &word, &word_end)) return fail(r, "a value is missing after its name");
    if (word_end - word >= 2 && *word == '"' && word_end[-1] == '"') {
        word++;
        word_end--;
    }
    if (!read_number(word, word_end, &value))
        return eqf__fail(r->ctx, EQF_ERROR_FORMAT, "%s: line %zu: %s is no number", r->path, r->line, name);
    *value_out = fabs(value) > (double)FLT_MAX ? (value > 0 ? INFINITY : -INFINITY) : (float)value;
    return EQF_OK;
}

/* values [number of frames]: the values of those frames that have one; *num_out: how many have. */
static eqf_status read_values(xyz_reader *r, const char *name, float *values, size_t *num_out) {
    const char *begin, *end;
    for (size_t frame = 0; read_line(r, &begin, &end); frame++) {
        size_t count;
        bool has_value;
        if (is_blank(begin, end) && is_blank(r->next, r->end)) break;
        if (!read_count(begin, end, &count)) return fail(r, "a frame does not begin with its number of particles");
        if (!read_line(r, &begin, &end)) return fail(r, "the file ends within a frame");
        EQF__TRY(read_value(r, begin, end, name, &values[frame], &has_value));
        if (has_value != (*num_out > 0) && frame > 0)
            return eqf__fail(r->ctx, EQF_ERROR_FORMAT, "%s: line %zu: some frames have %s and others do not", r->path,
                             r->line, name);
        *num_out += has_value;
        for (size_t i = 0; i < count; i++)
            if (!read_line(r, &begin, &end)) return fail(r, "the file ends within a frame");
    }
    return EQF_OK;
}

eqf_status eqf__xyz_parse_values(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                                 const char *name, eqf_array *values_out) {
    *values_out = (eqf_array)EQF_ARRAY_INIT;
    float *values = eqf__alloc(ctx, count_lines(bytes, num_bytes) / 2 + 1, sizeof *values, "the frames' values");
    if (values == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    xyz_reader reader = {ctx, path, (const char *)bytes, (const char *)bytes + num_bytes, 0};
    size_t num = 0;
    const eqf_status status = read_values(&reader, name, values, &num);
    if (status != EQF_OK || num == 0) {
        free(values);
        values_out->num_dims = 1;
        return status;
    }
    *values_out = (eqf_array){values, 1, {num}};
    return EQF_OK;
}
