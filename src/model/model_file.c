/* Writes and reads model files: docs/file-formats.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/gallery.h"
#include "eqflow/version.h"
#include "json_text.h"
#include "model_json.h"
#include "tensor_file.h"

/* ---- Checksum --------------------------------------------------------------------------------- */

/* Over the metadata text, then the name and data (float32 only, little-endian) of each tensor, in the given order. */
static uint64_t checksum_of(const char *text, size_t num_text_bytes, size_t num_tensors, const eqf__tensor *tensors) {
    uint64_t hash = eqf__hash(EQF__HASH_START, text, num_text_bytes);
    for (size_t t = 0; t < num_tensors; t++) {
        hash = eqf__hash(hash, tensors[t].name, strlen(tensors[t].name) + 1);
        if (tensors[t].type != EQF__TENSOR_F32) continue; /* an error later: a model has no other */
        size_t count = 1;
        for (unsigned d = 0; d < tensors[t].num_dims; d++) count *= tensors[t].shape[d];
        for (size_t n = 0; n < count; n++) {
            uint32_t bits;
            memcpy(&bits, (const char *)tensors[t].data + 4 * n, sizeof bits);
            const unsigned char little_endian[4] = {(unsigned char)bits, (unsigned char)(bits >> 8),
                                                    (unsigned char)(bits >> 16), (unsigned char)(bits >> 24)};
            hash = eqf__hash(hash, little_endian, sizeof little_endian);
        }
    }
    return hash;
}

/* Length of the checksum's member at the end of the metadata text; the checksum covers the text before it. */
enum { CHECKSUM_TEXT_BYTES = 40 };
static size_t checksum_text(uint64_t checksum, char text[CHECKSUM_TEXT_BYTES]) {
    return (size_t)snprintf(text, CHECKSUM_TEXT_BYTES, ",\"checksum\":\"%016llx\"}", (unsigned long long)checksum);
}

/* ---- Saving ----------------------------------------------------------------------------------- */

eqf_status eqf_model_save(eqf_context *ctx, const eqf_model *model, const char *path) {
    if (model == NULL || path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model or path is NULL");
    json_t *json = eqf__model_to_json(model);
    char *text = NULL;
    size_t num_bytes = 0;
    eqf_status status = eqf__json_text(ctx, json, &text, &num_bytes);
    json_decref(json);
    if (status != EQF_OK) return status;

    eqf__tensor tensors[EQF__MODEL_MAX_SLICES];
    for (size_t s = 0; s < model->num_slices; s++) {
        const eqf_param_slice *slice = &model->slices[s];
        tensors[s] = (eqf__tensor){slice->name,
                                   EQF__TENSOR_F32,
                                   slice->num_dims,
                                   {slice->shape[0], slice->shape[1], 0, 0},
                                   model->params + slice->offset};
    }
    char *signed_text = eqf__alloc(ctx, num_bytes + CHECKSUM_TEXT_BYTES, 1, "the metadata");
    status = signed_text != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) {
        num_bytes--; /* the closing brace comes after the checksum */
        memcpy(signed_text, text, num_bytes);
        checksum_text(checksum_of(text, num_bytes, model->num_slices, tensors), signed_text + num_bytes);
        status = eqf__tensor_file_write(ctx, path, signed_text, model->num_slices, tensors);
    }
    free(signed_text);
    free(text);
    return status;
}

/* ---- Loading ---------------------------------------------------------------------------------- */

static eqf_status take_params(eqf_context *ctx, const char *path, const eqf__tensor_file *file, eqf_model *model) {
    for (size_t s = 0; s < model->num_slices; s++) {
        const eqf_param_slice *slice = &model->slices[s];
        const eqf__tensor *tensor = eqf__tensor_file_find(file, slice->name);
        if (tensor == NULL)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: tensor %s is missing", path,
                             slice->name);
        bool has_shape = tensor->type == EQF__TENSOR_F32 && tensor->num_dims == slice->num_dims;
        for (unsigned d = 0; has_shape && d < slice->num_dims; d++) has_shape = tensor->shape[d] == slice->shape[d];
        if (!has_shape && slice->num_dims == 2)
            return eqf__fail(ctx, EQF_ERROR_FORMAT,
                             "%s is a damaged eqflow model: tensor %s is not F32 of shape [%zu, %zu]", path,
                             slice->name, slice->shape[0], slice->shape[1]);
        if (!has_shape)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: tensor %s is not F32 of shape [%zu]",
                             path, slice->name, slice->shape[0]);
        const float *values = tensor->data;
        for (size_t n = 0; n < slice->count; n++)
            if (!isfinite(values[n]))
                return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: number %zu of tensor %s is %g",
                                 path, n, slice->name, (double)values[n]);
        memcpy(model->params + slice->offset, values, slice->count * sizeof *values);
    }
    for (size_t n = 0; n < file->num_tensors; n++) {
        bool is_slice = false;
        for (size_t s = 0; s < model->num_slices; s++)
            is_slice = is_slice || strcmp(file->tensors[n].name, model->slices[s].name) == 0;
        if (!is_slice)
            return eqf__fail(ctx, EQF_ERROR_FORMAT,
                             "%s is a damaged eqflow model: tensor %.100s does not belong to its dynamics", path,
                             file->tensors[n].name);
    }
    return EQF_OK;
}

/* A file without a checksum is accepted: its user removed the checksum to edit the file. */
static eqf_status verify_checksum(eqf_context *ctx, const char *path, const json_t *root,
                                  const eqf__tensor_file *file) {
    if (json_object_get(root, "checksum") == NULL) return EQF_OK;
    const char *text = file->metadata_json;
    size_t length = strlen(text);
    char expected[CHECKSUM_TEXT_BYTES];
    size_t num_expected = checksum_text(0, expected);
    if (length > num_expected) {
        size_t num_covered = length - num_expected;
        checksum_text(checksum_of(text, num_covered, file->num_tensors, file->tensors), expected);
        if (strcmp(text + num_covered, expected) == 0) return EQF_OK;
    }
    return eqf__fail(
        ctx, EQF_ERROR_FORMAT,
        "%s is damaged: its content does not match its checksum: take another copy (or, if you edited it on "
        "purpose, remove the checksum from its metadata)",
        path);
}

static eqf_status model_from_json(eqf_context *ctx, const char *path, const json_t *root, const eqf__tensor_file *file,
                                  eqf_model **model_out) {
    eqf__model_reader reader = {ctx, path, EQF_OK};
    const json_t *format = eqf__model_value(&reader, root, "", "format");
    if (reader.status == EQF_OK && !json_is_integer(format))
        eqf__model_reject(&reader, "", "format", "is not a number");
    EQF__TRY(reader.status);
    if (json_integer_value(format) > EQF__MODEL_FORMAT)
        return eqf__fail(ctx, EQF_ERROR_FORMAT,
                         "%s is a model of format %lld, eqflow %s reads up to %d: use a newer version of eqflow", path,
                         (long long)json_integer_value(format), eqf_version(), EQF__MODEL_FORMAT);
    EQF__TRY(verify_checksum(ctx, path, root, file));
    if (json_integer_value(format) < 1) eqf__model_reject(&reader, "", "format", "is not a format version");
    const char *version = eqf__model_text(&reader, root, "", "version");
    if (strlen(version) >= EQF__MODEL_VERSION_BYTES) eqf__model_reject(&reader, "", "version", "is too long");
    eqf_model_options options;
    eqf__model_options_from_json(&reader, root, &options);
    EQF__TRY(reader.status);

    /* The same conditions as for a new model, but the error is that of a file: FORMAT. */
    eqf_context scratch = {.log = NULL};
    eqf_status status = eqf__model_allocate(&scratch, &options, model_out);
    if (status == EQF_ERROR_INVALID_ARGUMENT) status = EQF_ERROR_FORMAT;
    if (status != EQF_OK)
        return eqf__fail(ctx, status, "%s cannot be loaded as an eqflow model: %.700s", path, scratch.error);
    memset((*model_out)->version, 0, sizeof(*model_out)->version);
    snprintf((*model_out)->version, sizeof(*model_out)->version, "%s", version);
    EQF__TRY(take_params(ctx, path, file, *model_out));
    eqf__model_history_from_json(&reader, root, *model_out);
    return reader.status;
}

eqf_status eqf__model_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                            eqf_model **model_out) {
    *model_out = NULL;
    eqf__tensor_file file;
    EQF__TRY(eqf__tensor_file_parse(ctx, path, bytes, num_bytes, &file));
    eqf_status status;
    eqf_model *model = NULL;
    json_t *root = NULL;
    if (file.metadata_json == NULL) {
        status =
            eqf__fail(ctx, EQF_ERROR_FORMAT,
                      "%s is a safetensors file but not an eqflow model: its metadata have no entry \"eqflow\"", path);
    } else {
        status = eqf__json_parse(ctx, path, "a whole eqflow model: its metadata are not JSON", file.metadata_json,
                                 strlen(file.metadata_json), &root);
        if (status == EQF_OK) status = model_from_json(ctx, path, root, &file, &model);
    }
    json_decref(root);
    eqf__tensor_file_clear(&file);
    if (status == EQF_OK)
        *model_out = model;
    else
        eqf_model_destroy(&model);
    return status;
}

eqf_status eqf_model_load(eqf_context *ctx, const char *path, eqf_model **model_out) {
    if (model_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "model_out is NULL");
    *model_out = NULL;
    if (path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path is NULL");
    char *path_in_gallery = NULL;
    if (strncmp(path, "gallery:", strlen("gallery:")) == 0) {
        EQF__TRY(eqf_gallery_find(ctx, path, &path_in_gallery));
        path = path_in_gallery;
    }
    unsigned char *bytes = NULL;
    size_t num_bytes;
    eqf_status status = eqf__tensor_file_bytes(ctx, path, &bytes, &num_bytes);
    if (status == EQF_OK) status = eqf__model_parse(ctx, path, bytes, num_bytes, model_out);
    free(bytes);
    eqf_free(path_in_gallery);
    return status;
}
