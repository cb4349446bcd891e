/* Safetensors: a JSON header and raw little-endian tensors (https://github.com/huggingface/safetensors). */
#ifndef EQF_TENSOR_FILE_H
#define EQF_TENSOR_FILE_H

#include "base.h"

typedef enum eqf__tensor_type { EQF__TENSOR_F32, EQF__TENSOR_F64, EQF__TENSOR_U64 } eqf__tensor_type;

typedef struct eqf__tensor {
    const char *name;
    eqf__tensor_type type;
    unsigned num_dims;
    size_t shape[4];
    const void *data; /* C order */
} eqf__tensor;

/* Writes the whole file or nothing. metadata_json is stored as the string value of the key "eqflow" in __metadata__.
 * Same input, same bytes. Errors: IO. */
eqf_status eqf__tensor_file_write(eqf_context *ctx, const char *path, const char *metadata_json, size_t num_tensors,
                                  const eqf__tensor *tensors);

/* A file in memory; tensors' names and data point into it. Data are aligned to 8 bytes and in this machine's order. */
typedef struct eqf__tensor_file {
    unsigned char *bytes;
    char *metadata_json; /* value of "eqflow" in __metadata__; NULL if the file has none */
    size_t num_tensors;
    eqf__tensor *tensors;
    char **names;
} eqf__tensor_file;

/* Reads and checks everything: header length, JSON, dtypes, shapes against offsets, no overlap, no hole, file size.
 * Tensor types other than the three are FORMAT errors naming the tensor. Errors: IO, FORMAT, OUT_OF_MEMORY. */
eqf_status eqf__tensor_file_read(eqf_context *ctx, const char *path, eqf__tensor_file *file_out);
/* Reads the bytes for eqf__tensor_file_parse; the caller frees them. A file with another beginning may be larger than
 * memory: it is refused before it is read. */
eqf_status eqf__tensor_file_bytes(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out);
/* As eqf__tensor_file_read, on bytes in memory; path is for messages only. */
eqf_status eqf__tensor_file_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                                  eqf__tensor_file *file_out);
const eqf__tensor *eqf__tensor_file_find(const eqf__tensor_file *file, const char *name);
void eqf__tensor_file_clear(eqf__tensor_file *file);

#endif
