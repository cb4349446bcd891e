/* Layout: u64 header length | JSON header, padded with spaces | data, no holes. All little-endian. */
#include "tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "json_text.h"

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 8, MAX_DIMS = 4 };
/* The limit of the format's reference implementation. */
static const size_t max_header_bytes = 100000000;

static const struct {
    const char *name;
    size_t item_size;
} type_table[] = {
    [EQF__TENSOR_F32] = {"F32", 4},
    [EQF__TENSOR_F64] = {"F64", 8},
    [EQF__TENSOR_U64] = {"U64", 8},
};
enum { NUM_TYPES = sizeof type_table / sizeof type_table[0] };

/* The size of a tensor in bytes; false if it does not fit in size_t. */
static bool tensor_bytes(const eqf__tensor *tensor, size_t *num_bytes_out) {
    size_t num_bytes = type_table[tensor->type].item_size;
    for (unsigned d = 0; d < tensor->num_dims; d++) {
        if (tensor->shape[d] != 0 && num_bytes > SIZE_MAX / tensor->shape[d]) return false;
        num_bytes *= tensor->shape[d];
    }
    *num_bytes_out = num_bytes;
    return true;
}

static bool is_little_endian(void) {
    const uint16_t probe = 1;
    unsigned char first_byte;
    memcpy(&first_byte, &probe, 1);
    return first_byte == 1;
}

/* Copies items between this machine's byte order and little-endian, in either direction. */
static void copy_items(unsigned char *to, const unsigned char *from, size_t num_bytes, size_t item_size) {
    if (num_bytes == 0) return;
    if (is_little_endian()) {
        memcpy(to, from, num_bytes);
        return;
    }
    for (size_t n = 0; n < num_bytes; n += item_size)
        for (size_t byte = 0; byte < item_size; byte++) to[n + byte] = from[n + item_size - 1 - byte];
}

/* ---- Writing ---------------------------------------------------------------------------------- */

/* Types of eight bytes come first in the file, so that every tensor is aligned for readers that map it. */
static bool is_in_pass(const eqf__tensor *tensor, unsigned pass) {
    return (type_table[tensor->type].item_size == 8) == (pass == 0);
}

static eqf_status add_tensor_entry(eqf_context *ctx, json_t *header, const eqf__tensor *tensor, size_t *offset) {
    size_t num_bytes;
    if (tensor->num_dims > MAX_DIMS || !tensor_bytes(tensor, &num_bytes) || num_bytes > SIZE_MAX / 2 - *offset)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "tensor %s is too large", tensor->name);
    if (json_object_get(header, tensor->name) != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "tensor name %s is used twice or reserved", tensor->name);
    json_t *shape = json_array();
    bool is_complete = shape != NULL;
    for (unsigned d = 0; d < tensor->num_dims; d++)
        is_complete = json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d])) == 0 && is_complete;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_table[tensor->type].name, "shape", shape,
                              "data_offsets", (json_int_t)*offset, (json_int_t)(*offset + num_bytes));
    *offset += num_bytes;
    if (json_object_set_new(header, tensor->name, entry) != 0 || !is_complete)
        return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the header of tensor %s", tensor->name);
    return EQF_OK;
}

static eqf_status header_text(eqf_context *ctx, const char *metadata_json, size_t num_tensors,
                              const eqf__tensor *tensors, char **text_out, size_t *num_bytes_out) {
    json_t *header = json_object();
    json_error_t error = {.text = ""};
    json_t *metadata = json_pack_ex(&error, 0, "{s:s}", "eqflow", metadata_json);
    eqf_status status = EQF_OK;
    if (json_object_set_new(header, "__metadata__", metadata) != 0)
        status = json_error_code(&error) == json_error_invalid_utf8
                     ? eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the metadata is not UTF-8 text")
                     : eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the header of %zu tensors",
                                 num_tensors);
    size_t offset = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t n = 0; status == EQF_OK && n < num_tensors; n++)
            if (is_in_pass(&tensors[n], pass)) status = add_tensor_entry(ctx, header, &tensors[n], &offset);
    if (status == EQF_OK) status = eqf__json_text(ctx, header, text_out, num_bytes_out);
    json_decref(header);
    return status;
}

static eqf_status write_tensor(eqf_context *ctx, eqf__file_writer *writer, const eqf__tensor *tensor) {
    unsigned char chunk[1 << 14];
    size_t num_bytes = 0, item_size = type_table[tensor->type].item_size;
    tensor_bytes(tensor, &num_bytes);
    for (size_t first = 0; first < num_bytes; first += sizeof chunk) {
        size_t num = num_bytes - first < sizeof chunk ? num_bytes - first : sizeof chunk;
        copy_items(chunk, (const unsigned char *)tensor->data + first, num, item_size);
        EQF__TRY(eqf__file_write(ctx, writer, chunk, num));
    }
    return EQF_OK;
}

static eqf_status write_contents(eqf_context *ctx, eqf__file_writer *writer, const char *text, size_t num_text_bytes,
                                 size_t num_tensors, const eqf__tensor *tensors) {
    size_t num_spaces = (DATA_ALIGNMENT - num_text_bytes % DATA_ALIGNMENT) % DATA_ALIGNMENT;
    uint64_t length = num_text_bytes + num_spaces;
    unsigned char length_bytes[LENGTH_BYTES];
    for (unsigned byte = 0; byte < LENGTH_BYTES; byte++) length_bytes[byte] = (unsigned char)(length >> (8 * byte));
    EQF__TRY(eqf__file_write(ctx, writer, length_bytes, sizeof length_bytes));
    EQF__TRY(eqf__file_write(ctx, writer, text, num_text_bytes));
    EQF__TRY(eqf__file_write(ctx, writer, "        ", num_spaces));
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t n = 0; n < num_tensors; n++)
            if (is_in_pass(&tensors[n], pass)) EQF__TRY(write_tensor(ctx, writer, &tensors[n]));
    return EQF_OK;
}

eqf_status eqf__tensor_file_write(eqf_context *ctx, const char *path, const char *metadata_json, size_t num_tensors,
                                  const eqf__tensor *tensors) {
    char *text = NULL;
    size_t num_bytes = 0;
    EQF__TRY(header_text(ctx, metadata_json, num_tensors, tensors, &text, &num_bytes));
    if (num_bytes > max_header_bytes) { /* no reader would accept it */
        free(text);
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "%s is not written: its header would have %zu bytes, more than the %zu allowed", path,
                         num_bytes, (size_t)max_header_bytes);
    }
    eqf__file_writer writer;
    eqf_status status = eqf__file_begin(ctx, path, &writer);
    if (status == EQF_OK) {
        status = write_contents(ctx, &writer, text, num_bytes, num_tensors, tensors);
        if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
        eqf__file_abandon(&writer);
    }
    free(text);
    return status;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* The position of a tensor's bytes in the data part of the file. */
typedef struct data_range {
    size_t begin, end;
    size_t index; /* of the tensor */
} data_range;

static eqf_status fail_format(eqf_context *ctx, const char *path, const char *reason) {
    return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not a usable safetensors file: %s", path, reason);
}

static eqf_status fail_tensor(eqf_context *ctx, const char *path, const char *name, const char *reason) {
    return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not a usable safetensors file: tensor %.100s %s", path, name,
                     reason);
}

static bool read_size(const json_t *json, size_t *size_out) {
    if (!json_is_integer(json) || json_integer_value(json) < 0) return false;
    if ((uintmax_t)json_integer_value(json) > SIZE_MAX) return false;
    *size_out = (size_t)json_integer_value(json);
    return true;
}

static eqf_status parse_entry(eqf_context *ctx, const char *path, const char *name, const json_t *entry,
                              size_t num_data_bytes, eqf__tensor *tensor, data_range *range) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    if (type == NULL || !json_is_array(shape) || !json_is_array(offsets) || json_object_size(entry) != 3)
        return fail_tensor(ctx, path, name, "has a damaged header entry");
    unsigned kind = 0;
    while (kind < NUM_TYPES && strcmp(type, type_table[kind].name) != 0) kind++;
    if (kind == NUM_TYPES)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: tensor %.100s has type %.20s: only F32, F64 and U64 are known",
                         path, name, type);
    tensor->type = (eqf__tensor_type)kind;
    if (json_array_size(shape) > MAX_DIMS) return fail_tensor(ctx, path, name, "has more than 4 dimensions");
    tensor->num_dims = (unsigned)json_array_size(shape);
    for (unsigned d = 0; d < tensor->num_dims; d++)
        if (!read_size(json_array_get(shape, d), &tensor->shape[d]))
            return fail_tensor(ctx, path, name, "has a damaged shape");
    size_t num_bytes;
    if (!tensor_bytes(tensor, &num_bytes)) return fail_tensor(ctx, path, name, "has an impossible size");
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &range->begin) ||
        !read_size(json_array_get(offsets, 1), &range->end) || range->begin > range->end)
        return fail_tensor(ctx, path, name, "has damaged offsets");
    if (range->end > num_data_bytes) return fail_tensor(ctx, path, name, "lies beyond the end: the file is truncated");
    if (range->end - range->begin != num_bytes)
        return fail_tensor(ctx, path, name, "has a shape that does not fit its data");
    return EQF_OK;
}

static int compare_ranges(const void *left, const void *right) {
    const data_range *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

/* Copies the tensors' data to aligned positions in file->bytes. ranges [num_tensors] are checked for holes first. */
static eqf_status take_data(eqf_context *ctx, const char *path, const unsigned char *data, size_t num_data_bytes,
                            data_range *ranges, eqf__tensor_file *file) {
    qsort(ranges, file->num_tensors, sizeof *ranges, compare_ranges);
    size_t end = 0;
    for (size_t n = 0; n < file->num_tensors; n++) {
        if (ranges[n].begin != end)
            return fail_tensor(ctx, path, file->names[ranges[n].index],
                               "overlaps another one or leaves a hole before it");
        end = ranges[n].end;
    }
    if (end != num_data_bytes) return fail_format(ctx, path, "it has more data than its header says");

    /* Each tensor grows by less than DATA_ALIGNMENT bytes; its entry in the header is longer than that: no overflow. */
    file->bytes = eqf__alloc(ctx, num_data_bytes + file->num_tensors * DATA_ALIGNMENT, 1, "tensors");
    if (file->bytes == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    size_t place = 0;
    for (size_t n = 0; n < file->num_tensors; n++) {
        eqf__tensor *tensor = &file->tensors[ranges[n].index];
        size_t num_bytes = ranges[n].end - ranges[n].begin;
        copy_items(file->bytes + place, data + ranges[n].begin, num_bytes, type_table[tensor->type].item_size);
        tensor->data = file->bytes + place;
        place += (num_bytes + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
    }
    return EQF_OK;
}

static eqf_status take_metadata(eqf_context *ctx, const char *path, json_t *metadata, eqf__tensor_file *file) {
    if (!json_is_object(metadata)) return fail_format(ctx, path, "its metadata are damaged");
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value)) return fail_format(ctx, path, "its metadata are not all text");
        if (strcmp(key, "eqflow") != 0) continue;
        file->metadata_json = eqf__strdup(ctx, json_string_value(value));
        if (file->metadata_json == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    }
    return EQF_OK;
}

static eqf_status take_header(eqf_context *ctx, const char *path, json_t *header, const unsigned char *data,
                              size_t num_data_bytes, eqf__tensor_file *file) {
    size_t capacity = json_object_size(header);
    file->tensors = eqf__alloc(ctx, capacity, sizeof *file->tensors, "a list of tensors");
    file->names = eqf__alloc(ctx, capacity, sizeof *file->names, "a list of tensors");
    data_range *ranges = eqf__alloc(ctx, capacity, sizeof *ranges, "a list of tensors");
    eqf_status status =
        file->tensors == NULL || file->names == NULL || ranges == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    const char *key;
    json_t *value;
    json_object_foreach(header, key, value) {
        if (status != EQF_OK) break;
        if (strcmp(key, "__metadata__") == 0) {
            status = take_metadata(ctx, path, value, file);
            continue;
        }
        size_t index = file->num_tensors;
        file->names[index] = eqf__strdup(ctx, key);
        if (file->names[index] == NULL) {
            status = EQF_ERROR_OUT_OF_MEMORY;
            break;
        }
        file->num_tensors++;
        file->tensors[index].name = file->names[index];
        ranges[index].index = index;
        status = parse_entry(ctx, path, key, value, num_data_bytes, &file->tensors[index], &ranges[index]);
    }
    if (status == EQF_OK) status = take_data(ctx, path, data, num_data_bytes, ranges, file);
    free(ranges);
    return status;
}

/* Checks the first bytes of a file, at least LENGTH_BYTES + 1 unless it is shorter, and gives the length of its
 * header. */
static eqf_status check_start(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                              uint64_t *length_out) {
    if (num_bytes == 0) return fail_format(ctx, path, "it is empty");
    if (num_bytes < LENGTH_BYTES) return fail_format(ctx, path, "it is too short");
    uint64_t length = 0;
    for (unsigned byte = LENGTH_BYTES; byte-- > 0;) length = length << 8 | bytes[byte];
    if (num_bytes == LENGTH_BYTES || bytes[LENGTH_BYTES] != '{' || length > max_header_bytes)
        return fail_format(ctx, path, "it does not start like one");
    *length_out = length;
    return EQF_OK;
}

eqf_status eqf__tensor_file_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                                  eqf__tensor_file *file_out) {
    *file_out = (eqf__tensor_file){0};
    uint64_t length = 0;
    EQF__TRY(check_start(ctx, path, bytes, num_bytes, &length));
    if (length > num_bytes - LENGTH_BYTES) return fail_format(ctx, path, "it is truncated within its header");
    size_t start = LENGTH_BYTES + (size_t)length;
    json_t *header;
    EQF__TRY(eqf__json_parse(ctx, path, "a usable safetensors file: damaged header", (const char *)bytes + LENGTH_BYTES,
                             (size_t)length, &header));
    eqf_status status = take_header(ctx, path, header, bytes + start, num_bytes - start, file_out);
    json_decref(header);
    if (status != EQF_OK) eqf__tensor_file_clear(file_out);
    return status;
}

eqf_status eqf__tensor_file_bytes(eqf_context *ctx, const char *path, unsigned char **bytes_out,
                                  size_t *num_bytes_out) {
    unsigned char start[LENGTH_BYTES + 1];
    size_t num_start;
    uint64_t length;
    EQF__TRY(eqf__file_read_start(ctx, path, sizeof start, start, &num_start, num_bytes_out));
    EQF__TRY(check_start(ctx, path, start, num_start, &length));
    return eqf__file_read(ctx, path, bytes_out, num_bytes_out);
}

eqf_status eqf__tensor_file_read(eqf_context *ctx, const char *path, eqf__tensor_file *file_out) {
    *file_out = (eqf__tensor_file){0};
    unsigned char *bytes;
    size_t num_bytes;
    EQF__TRY(eqf__tensor_file_bytes(ctx, path, &bytes, &num_bytes));
    eqf_status status = eqf__tensor_file_parse(ctx, path, bytes, num_bytes, file_out);
    free(bytes);
    return status;
}

const eqf__tensor *eqf__tensor_file_find(const eqf__tensor_file *file, const char *name) {
    for (size_t n = 0; n < file->num_tensors; n++)
        if (strcmp(file->tensors[n].name, name) == 0) return &file->tensors[n];
    return NULL;
}

void eqf__tensor_file_clear(eqf__tensor_file *file) {
    for (size_t n = 0; n < file->num_tensors; n++) free(file->names[n]);
    free(file->names);
    free(file->tensors);
    free(file->metadata_json);
    free(file->bytes);
    *file = (eqf__tensor_file){0};
}
