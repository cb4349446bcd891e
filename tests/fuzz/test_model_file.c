/* Any bytes as safetensors and as a model file: tensors inside the bytes, finite parameters, or a refusal. */
#define _XOPEN_SOURCE 700 /* mkstemp */

#include "fuzz.h"

#include <math.h>
#include <unistd.h>

#include "base.h"
#include "eqflow/model.h"
#include "model_internal.h"
#include "tensor_file.h"

static size_t num_tensor_files, num_models;

/* Tensors inside the bytes. */
static void run_tensors(const uint8_t *bytes, size_t num_bytes) {
    eqf_context ctx = {.log = NULL};
    eqf__tensor_file file;
    eqf_status status = eqf__tensor_file_parse(&ctx, "input", bytes, num_bytes, &file);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_FORMAT && ctx.error[0] != '\0' && file.bytes == NULL));
    size_t num_tensor_bytes = 0;
    for (size_t n = 0; n < file.num_tensors; n++) {
        size_t size = file.tensors[n].type == EQF__TENSOR_F32 ? 4 : 8;
        for (unsigned d = 0; d < file.tensors[n].num_dims; d++) size *= file.tensors[n].shape[d];
        num_tensor_bytes += size;
        unsigned char sum = 0; /* reads each byte, for the sanitizers */
        for (size_t byte = 0; byte < size; byte++) sum ^= ((const unsigned char *)file.tensors[n].data)[byte];
        *(volatile unsigned char *)&sum = sum;
    }
    FUZZ_REQUIRE(num_tensor_bytes <= num_bytes);
    eqf__tensor_file_clear(&file);
    if (status == EQF_OK) num_tensor_files++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    /* A model is parsed by the same lines: under a fuzzer one in four is enough. */
    if (fuzz_is_thorough || eqf__hash(EQF__HASH_START, bytes, num_bytes) % 4 == 0) run_tensors(bytes, num_bytes);
    eqf_context ctx = {.log = NULL};
    eqf_model *model;
    const eqf_status status = eqf__model_parse(&ctx, "input", bytes, num_bytes, &model);
    if (status != EQF_OK) {
        FUZZ_REQUIRE(status == EQF_ERROR_FORMAT || status == EQF_ERROR_UNSUPPORTED);
        FUZZ_REQUIRE(model == NULL && ctx.error[0] != '\0');
        return 0;
    }
    for (size_t n = 0; n < eqf_model_num_params(model); n++) FUZZ_REQUIRE(isfinite(eqf_model_params(model)[n]));
    eqf_model_destroy(&model);
    num_models++;
    return 0;
}

#ifndef EQF_LIBFUZZER
/* The bytes of a small model's file; without its checksum, edits reach the checks behind it. */
static size_t make_seed(uint8_t *seed, size_t capacity, int has_checksum) {
    eqf_context ctx = {.log = NULL};
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.dynamics.num_distance = 2;
    options.dynamics.num_time = 1;
    eqf_model *model;
    const eqf_history_row row = {sizeof row,  100,         1.5,         2.0,         3.0,
                                 (double)NAN, 0.5,         1e-3,        (double)NAN, (double)NAN,
                                 (double)NAN, (double)NAN, (double)NAN, (double)NAN, {0}};
    char path[] = "/tmp/eqflow-fuzz-XXXXXX";
    int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0);
    close(fd);
    FUZZ_REQUIRE(eqf_model_create(&ctx, &options, &model) == EQF_OK);
    FUZZ_REQUIRE(eqf_model_add_history(&ctx, model, &row) == EQF_OK);
    FUZZ_REQUIRE(eqf_model_save(&ctx, model, path) == EQF_OK);
    eqf_model_destroy(&model);
    if (!has_checksum) {
        eqf__tensor_file file;
        FUZZ_REQUIRE(eqf__tensor_file_read(&ctx, path, &file) == EQF_OK);
        char *checksum = strstr(file.metadata_json, ",\"checksum\"");
        FUZZ_REQUIRE(checksum != NULL);
        memcpy(checksum, "}", 2);
        FUZZ_REQUIRE(eqf__tensor_file_write(&ctx, path, file.metadata_json, file.num_tensors, file.tensors) == EQF_OK);
        eqf__tensor_file_clear(&file);
    }
    FILE *stream = fopen(path, "rb");
    FUZZ_REQUIRE(stream != NULL);
    size_t num_bytes = fread(seed, 1, capacity, stream);
    fclose(stream);
    remove(path);
    FUZZ_REQUIRE(num_bytes > 0 && num_bytes < capacity);
    return num_bytes;
}

int main(void) {
    static const char plain[] = "\x82\0\0\0\0\0\0\0"
                                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]},"
                                "\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},\"__metadata__\":{}}   "
                                "0123456789abcdef";
    static uint8_t seed[16384];
    fuzz_run((const uint8_t *)plain, sizeof plain - 1);
    FUZZ_REQUIRE(num_tensor_files == 1); /* the seed is a good file, so that edits of it are nearly good */
    size_t num_inputs = fuzz_replay((const uint8_t *)plain, sizeof plain - 1, 5000);
    for (int has_checksum = 0; has_checksum < 2; has_checksum++) {
        size_t num_bytes = make_seed(seed, sizeof seed, has_checksum);
        num_inputs += fuzz_replay(seed, num_bytes, 10000);
    }
    printf("%zu inputs; %zu times tensors and %zu times a model came of one\n", num_inputs, num_tensor_files,
           num_models);
    return num_tensor_files > num_models && num_models > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
