#include "npy.h"
#include "configurations.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t eqf_array_count(const eqf_array *array) {
    if (array == NULL) return 0;
    size_t count = 1;
    for (unsigned d = 0; d < array->num_dims; d++) count *= array->shape[d];
    return count;
}

void eqf_array_clear(eqf_array *array) {
    if (array == NULL) return;
    free(array->data);
    *array = (eqf_array)EQF_ARRAY_INIT;
}

/* "(100, 4, 2)" as Python writes it. */
enum { SHAPE_TEXT_BYTES = EQF_ARRAY_MAX_DIMS * 22 + 4 };
static void shape_text(unsigned num_dims, const size_t *shape, char text[SHAPE_TEXT_BYTES]) {
    size_t length = (size_t)snprintf(text, SHAPE_TEXT_BYTES, "(");
    for (unsigned d = 0; d < num_dims; d++)
        length +=
            (size_t)snprintf(text + length, SHAPE_TEXT_BYTES - length, d + 1 < num_dims ? "%zu, " : "%zu", shape[d]);
    snprintf(text + length, SHAPE_TEXT_BYTES - length, num_dims == 1 ? ",)" : ")");
}

/* ---- Header ----------------------------------------------------------------------------------- */

/* Positions of the numbers in a checked file. */
typedef struct npy_view {
    const unsigned char *data; /* count items of item_size bytes, not aligned */
    size_t item_size;          /* 4: float32, 8: float64 */
    bool is_big_endian;
    bool is_fortran_order;
    unsigned num_dims;
    size_t shape[EQF_ARRAY_MAX_DIMS];
    size_t stride[EQF_ARRAY_MAX_DIMS]; /* in items */
    size_t count;
} npy_view;

/* Why a file is refused, for the end of "PATH is not a usable .npy file: ...". */
typedef struct npy_problem {
    char text[256];
} npy_problem;

static bool refuse(npy_problem *problem, const char *text) {
    snprintf(problem->text, sizeof problem->text, "%s", text);
    return false;
}

/* The header is a Python dictionary literal; this parser knows the part of Python that headers use. */
typedef struct text_cursor {
    const char *at, *end;
} text_cursor;

static void skip_space(text_cursor *cursor) {
    while (cursor->at < cursor->end &&
           (*cursor->at == ' ' || *cursor->at == '\t' || *cursor->at == '\n' || *cursor->at == '\r'))
        cursor->at++;
}

static bool take(text_cursor *cursor, char expected) {
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != expected) return false;
    cursor->at++;
    return true;
}

static bool take_word(text_cursor *cursor, const char *word) {
    size_t length = strlen(word);
    skip_space(cursor);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0) return false;
    cursor->at += length;
    return true;
}

static bool take_string(text_cursor *cursor, char *text_out, size_t capacity) {
    skip_space(cursor);
    if (cursor->at == cursor->end || (*cursor->at != '\'' && *cursor->at != '"')) return false;
    char quote = *cursor->at++;
    size_t length = 0;
    for (; cursor->at < cursor->end && *cursor->at != quote; cursor->at++) {
        unsigned char c = (unsigned char)*cursor->at;
        /* No key or type of a usable header has escapes or other characters. */
        if (length + 1 >= capacity || c < 32 || c > 126 || c == '\\') return false;
        text_out[length++] = (char)c;
    }
    text_out[length] = '\0';
    return take(cursor, quote);
}

static bool take_size(text_cursor *cursor, size_t *size_out) {
    skip_space(cursor);
    size_t size = 0;
    const char *start = cursor->at;
    for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++) {
        size_t digit = (size_t)(*cursor->at - '0');
        if (size > (SIZE_MAX - digit) / 10) return false;
        size = size * 10 + digit;
    }
    if (cursor->at == start) return false;
    if (cursor->at < cursor->end && *cursor->at == 'L') cursor->at++; /* Python 2 wrote 3L */
    *size_out = size;
    return true;
}

static bool parse_type(text_cursor *cursor, npy_view *view, npy_problem *problem) {
    char type[32];
    skip_space(cursor);
    if (cursor->at < cursor->end && *cursor->at == '[')
        return refuse(problem, "it holds records: save a plain float32 or float64 array");
    if (!take_string(cursor, type, sizeof type)) return refuse(problem, "the type in its header is not readable");
    const uint16_t probe = 1;
    unsigned char first_byte;
    memcpy(&first_byte, &probe, 1);
    bool is_known_order = type[0] == '<' || type[0] == '>' || type[0] == '=';
    if (!is_known_order || (strcmp(type + 1, "f4") != 0 && strcmp(type + 1, "f8") != 0)) {
        snprintf(problem->text, sizeof problem->text,
                 "it holds numbers of type '%s': save float32 or float64, in numpy by x.astype('float32')", type);
        return false;
    }
    view->is_big_endian = type[0] == '>' || (type[0] == '=' && first_byte == 0);
    view->item_size = type[2] == '4' ? 4 : 8;
    return true;
}

static bool parse_shape(text_cursor *cursor, npy_view *view, npy_problem *problem) {
    if (!take(cursor, '(')) return refuse(problem, "the shape in its header is not a tuple");
    view->num_dims = 0;
    while (!take(cursor, ')')) {
        if (view->num_dims == EQF_ARRAY_MAX_DIMS) return refuse(problem, "it has more than 8 dimensions");
        if (!take_size(cursor, &view->shape[view->num_dims]))
            return refuse(problem, "a dimension in its header is not a number or too large");
        view->num_dims++;
        if (!take(cursor, ',')) {
            if (!take(cursor, ')')) return refuse(problem, "the shape in its header is damaged");
            break;
        }
    }
    return true;
}

static bool parse_dictionary(text_cursor cursor, npy_view *view, npy_problem *problem) {
    bool has_type = false, has_order = false, has_shape = false;
    if (!take(&cursor, '{')) return refuse(problem, "its header is damaged");
    while (!take(&cursor, '}')) {
        char key[32];
        if (!take_string(&cursor, key, sizeof key) || !take(&cursor, ':'))
            return refuse(problem, "its header is damaged");
        if (strcmp(key, "descr") == 0 && !has_type) {
            if (!parse_type(&cursor, view, problem)) return false;
            has_type = true;
        } else if (strcmp(key, "fortran_order") == 0 && !has_order) {
            view->is_fortran_order = take_word(&cursor, "True");
            if (!view->is_fortran_order && !take_word(&cursor, "False"))
                return refuse(problem, "fortran_order in its header is neither True nor False");
            has_order = true;
        } else if (strcmp(key, "shape") == 0 && !has_shape) {
            if (!parse_shape(&cursor, view, problem)) return false;
            has_shape = true;
        } else {
            return refuse(problem, "its header has a key that is unknown or there twice");
        }
        if (!take(&cursor, ',')) {
            if (!take(&cursor, '}')) return refuse(problem, "its header is damaged");
            break;
        }
    }
    skip_space(&cursor);
    if (cursor.at != cursor.end) return refuse(problem, "its header is damaged");
    if (!has_type || !has_order || !has_shape) return refuse(problem, "its header lacks descr, fortran_order or shape");
    return true;
}

/* Sets count and strides; false if the number of bytes does not fit in size_t. */
static bool set_strides(npy_view *view) {
    bool is_empty = false;
    for (unsigned d = 0; d < view->num_dims; d++) is_empty = is_empty || view->shape[d] == 0;
    view->count = is_empty ? 0 : 1;
    if (is_empty) return true;
    for (unsigned n = 0; n < view->num_dims; n++) {
        unsigned d = view->is_fortran_order ? n : view->num_dims - 1 - n;
        view->stride[d] = view->count;
        if (view->count > SIZE_MAX / view->item_size / view->shape[d]) return false;
        view->count *= view->shape[d];
    }
    return true;
}

/* Checks the header and the size of a file of num_bytes, of which the first num_there are in bytes. If the header is
 * longer than these, the view is left empty. */
static bool open_view(const unsigned char *bytes, size_t num_there, size_t num_bytes, npy_view *view,
                      npy_problem *problem) {
    static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (num_bytes == 0) return refuse(problem, "it is empty");
    if (memcmp(bytes, magic, num_bytes < sizeof magic ? num_bytes : sizeof magic) != 0)
        return refuse(problem, "it does not start like one: save it with numpy.save");
    if (num_bytes < 10) return refuse(problem, "it is truncated within its header");
    unsigned version = bytes[6];
    if (version < 1 || version > 3 || bytes[7] != 0)
        return refuse(problem, "it has an unknown format version: save it with numpy.save");
    size_t length = bytes[8] | (size_t)bytes[9] << 8, start = 10;
    if (version > 1) {
        if (num_bytes < 12) return refuse(problem, "it is truncated within its header");
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
        start = 12;
    }
    if (length > num_bytes - start) return refuse(problem, "it is truncated within its header");
    if (start + length > num_there) return true;
    const char *text = (const char *)bytes + start;
    if (!parse_dictionary((text_cursor){text, text + length}, view, problem)) return false;

    char shape[SHAPE_TEXT_BYTES];
    shape_text(view->num_dims, view->shape, shape);
    size_t num_data_bytes = num_bytes - start - length;
    view->data = bytes + start + length;
    if (!set_strides(view)) {
        snprintf(problem->text, sizeof problem->text, "its shape %.180s is too large", shape);
        return false;
    }
    size_t num_needed = view->count * view->item_size;
    if (num_data_bytes != num_needed) {
        snprintf(problem->text, sizeof problem->text, "%s: its shape %.120s needs %zu bytes of data, %zu are there",
                 num_data_bytes < num_needed ? "it is truncated" : "it has more data than its header says", shape,
                 num_needed, num_data_bytes);
        return false;
    }
    return true;
}

static eqf_status open_file(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_there,
                            size_t num_bytes, npy_view *view) {
    npy_problem problem = {""};
    *view = (npy_view){0};
    if (open_view(bytes, num_there, num_bytes, view, &problem)) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not a usable .npy file: %s", path, problem.text);
}

/* The number at an item position, as a double without rounding. */
static double number_at(const npy_view *view, size_t item) {
    const unsigned char *bytes = view->data + item * view->item_size;
    uint64_t bits = 0;
    for (size_t n = 0; n < view->item_size; n++)
        bits = bits << 8 | bytes[view->is_big_endian ? n : view->item_size - 1 - n];
    if (view->item_size == 4) {
        uint32_t low = (uint32_t)bits;
        float value;
        memcpy(&value, &low, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool fits_float(double value) {
    return !isfinite(value) || fabs(value) <= (double)FLT_MAX;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* A file whose header is wrong may be larger than memory: it is refused before it is read. */
eqf_status eqf__npy_read_file(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out) {
    unsigned char start[4096];
    size_t num_start, num_bytes;
    npy_view view;
    EQF__TRY(eqf__file_read_start(ctx, path, sizeof start, start, &num_start, &num_bytes));
    EQF__TRY(open_file(ctx, path, start, num_start, num_bytes, &view));
    return eqf__file_read(ctx, path, bytes_out, num_bytes_out);
}

eqf_status eqf__npy_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                          eqf_array *array_out) {
    *array_out = (eqf_array)EQF_ARRAY_INIT;
    npy_view view;
    EQF__TRY(open_file(ctx, path, bytes, num_bytes, num_bytes, &view));
    float *data = eqf__alloc(ctx, view.count, sizeof *data, "an array");
    if (data == NULL) return EQF_ERROR_OUT_OF_MEMORY;

    size_t index[EQF_ARRAY_MAX_DIMS] = {0}; /* of the number in C order, last dimension fastest */
    size_t item = 0;                        /* its position in the file */
    for (size_t n = 0; n < view.count; n++) {
        double value = number_at(&view, item);
        if (!fits_float(value)) {
            free(data);
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: number %zu (%g) is too large for float32", path, n, value);
        }
        data[n] = (float)value;
        for (unsigned d = view.num_dims; d-- > 0;) {
            item += view.stride[d];
            if (++index[d] < view.shape[d]) break;
            item -= view.stride[d] * view.shape[d];
            index[d] = 0;
        }
    }
    array_out->data = data;
    array_out->num_dims = view.num_dims;
    memcpy(array_out->shape, view.shape, sizeof view.shape);
    return EQF_OK;
}

eqf_status eqf_array_read_npy(eqf_context *ctx, const char *path, eqf_array *array_out) {
    if (array_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "array_out is NULL");
    *array_out = (eqf_array)EQF_ARRAY_INIT;
    if (path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path is NULL");
    unsigned char *bytes;
    size_t num_bytes;
    EQF__TRY(eqf__npy_read_file(ctx, path, &bytes, &num_bytes));
    eqf_status status = eqf__npy_parse(ctx, path, bytes, num_bytes, array_out);
    free(bytes);
    return status;
}

/* values_out [N, D] of configuration b of view. */
static void read_configuration(const npy_view *view, size_t b, unsigned num_particles, unsigned space_dim,
                               double *values_out) {
    size_t start = b * view->stride[0];
    /* [B, N, D] or [B, N*D]: the distance of particles and of coordinates in the file */
    size_t coordinate_stride = view->stride[view->num_dims - 1];
    size_t particle_stride = view->num_dims == 3 ? view->stride[1] : coordinate_stride * space_dim;
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned d = 0; d < space_dim; d++)
            values_out[(size_t)i * space_dim + d] =
                number_at(view, start + i * particle_stride + d * coordinate_stride);
}

eqf_status eqf__npy_parse_configurations(eqf_context *ctx, const char *path, const unsigned char *bytes,
                                         size_t num_bytes, unsigned num_particles, unsigned space_dim,
                                         eqf_array *array_out, double *max_offset_out) {
    *array_out = (eqf_array)EQF_ARRAY_INIT;
    if (max_offset_out != NULL) *max_offset_out = 0.0;
    if (num_particles == 0 || space_dim == 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "configurations need at least 1 particle and 1 dimension");
    npy_view view;
    EQF__TRY(open_file(ctx, path, bytes, num_bytes, num_bytes, &view));
    uint64_t num_dof = (uint64_t)num_particles * space_dim;
    bool has_rows = view.num_dims == 2 && view.shape[1] == num_dof;
    bool has_particles = view.num_dims == 3 && view.shape[1] == num_particles && view.shape[2] == space_dim;
    if (!has_rows && !has_particles) {
        char shape[SHAPE_TEXT_BYTES];
        shape_text(view.num_dims, view.shape, shape);
        return eqf__fail(ctx, EQF_ERROR_FORMAT,
                         "%s has shape %s, but %u particles in %u dimensions need (B, %u, %u) or (B, %llu)", path,
                         shape, num_particles, space_dim, num_particles, space_dim, (unsigned long long)num_dof);
    }
    size_t batch_size = view.shape[0];
    if (batch_size == 0)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s holds no configuration: give a file with some", path);

    float *x = eqf__alloc(ctx, view.count, sizeof *x, "configurations");
    double *values = x != NULL ? eqf__alloc(ctx, (size_t)num_dof, sizeof *values, "configurations") : NULL;
    eqf_status status = values != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    double max_offset = 0.0;
    for (size_t b = 0; b < batch_size && status == EQF_OK; b++) {
        double offset = 0.0;
        read_configuration(&view, b, num_particles, space_dim, values);
        status =
            eqf__centre_configuration(ctx, path, b, num_particles, space_dim, values, x + b * (size_t)num_dof, &offset);
        if (offset > max_offset) max_offset = offset;
    }
    free(values);
    if (status != EQF_OK) {
        free(x);
        return status;
    }
    *array_out = (eqf_array){x, 3, {batch_size, num_particles, space_dim}};
    if (max_offset_out != NULL) *max_offset_out = max_offset;
    return EQF_OK;
}

/* ---- Writing ---------------------------------------------------------------------------------- */

static eqf_status write_contents(eqf_context *ctx, eqf__file_writer *writer, const eqf_array *array) {
    enum { ALIGNMENT = 64, NUM_CHUNK = 4096 };
    char shape[SHAPE_TEXT_BYTES];
    shape_text(array->num_dims, array->shape, shape);
    /* Version 1.0; spaces and a newline fill the header, so that the data start at a multiple of 64 bytes. */
    char header[512];
    size_t length =
        (size_t)snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    while ((10 + length + 1) % ALIGNMENT != 0) header[length++] = ' ';
    header[length++] = '\n';
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(length & 0xff), (unsigned char)(length >> 8)};
    EQF__TRY(eqf__file_write(ctx, writer, start, sizeof start));
    EQF__TRY(eqf__file_write(ctx, writer, header, length));

    unsigned char chunk[NUM_CHUNK * 4]; /* little-endian, whatever this machine is */
    size_t count = eqf_array_count(array);
    for (size_t first = 0; first < count; first += NUM_CHUNK) {
        size_t num = count - first < NUM_CHUNK ? count - first : NUM_CHUNK;
        for (size_t n = 0; n < num; n++) {
            uint32_t bits;
            memcpy(&bits, &array->data[first + n], sizeof bits);
            for (unsigned byte = 0; byte < 4; byte++) chunk[4 * n + byte] = (unsigned char)(bits >> (8 * byte));
        }
        EQF__TRY(eqf__file_write(ctx, writer, chunk, num * 4));
    }
    return EQF_OK;
}

eqf_status eqf_array_write_npy(eqf_context *ctx, const char *path, const eqf_array *array) {
    if (path == NULL || array == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path or array is NULL");
    if (array->num_dims > EQF_ARRAY_MAX_DIMS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "an array has at most %d dimensions", EQF_ARRAY_MAX_DIMS);
    if (array->data == NULL && eqf_array_count(array) != 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the array has a shape but no data");
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    eqf_status status = write_contents(ctx, &writer, array);
    if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
    eqf__file_abandon(&writer);
    return status;
}
