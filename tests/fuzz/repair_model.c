/* A model file: the header's length, then the checksum that its metadata end with (docs/file-formats.md), computed
 * here anew from the format's description. */
#include "repair_tensors.h"

#include "base.h"
#include "eqflow/model.h"
#include "tensor_file.h"

#include <unistd.h>

size_t fuzz_repair(uint8_t *bytes, size_t num_bytes, size_t capacity) {
    (void)capacity;
    const size_t data = fuzz_repair_header(bytes, num_bytes);
    if (data == 0) return num_bytes;
    static const char mark[] = ",\\\"checksum\\\":\\\""; /* as it stands inside a JSON text */
    const size_t digits = fuzz_find(bytes, 8, data, mark) + sizeof mark - 1;
    if (digits + 16 > data) return num_bytes;
    eqf_context ctx = {.log = NULL};
    eqf__tensor_file file;
    if (eqf__tensor_file_parse(&ctx, "input", bytes, num_bytes, &file) != EQF_OK) return num_bytes;
    const char *end = file.metadata_json != NULL ? strstr(file.metadata_json, ",\"checksum\":\"") : NULL;
    if (end != NULL) {
        uint64_t hash = eqf__hash(EQF__HASH_START, file.metadata_json, (size_t)(end - file.metadata_json));
        for (size_t t = 0; t < file.num_tensors; t++) {
            const eqf__tensor *tensor = &file.tensors[t];
            size_t count = 1;
            hash = eqf__hash(hash, tensor->name, strlen(tensor->name) + 1);
            if (tensor->type != EQF__TENSOR_F32) continue;
            for (unsigned d = 0; d < tensor->num_dims; d++) count *= tensor->shape[d];
            hash = eqf__hash(hash, tensor->data, 4 * count); /* little-endian, as this machine is */
        }
        char text[17];
        snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
        memcpy(bytes + digits, text, 16);
    }
    eqf__tensor_file_clear(&file);
    return num_bytes;
}

/* The file that saving a small model makes. */
static size_t make_seed(uint8_t *bytes, size_t capacity) {
    eqf_context ctx = {.log = NULL};
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.dynamics.num_distance = 2;
    options.dynamics.num_time = 1;
    eqf_model *model;
    char path[] = "/tmp/eqflow-fuzz-XXXXXX";
    const int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0 && eqf_model_create(&ctx, &options, &model) == EQF_OK &&
                 eqf_model_save(&ctx, model, path) == EQF_OK);
    close(fd);
    eqf_model_destroy(&model);
    FILE *stream = fopen(path, "rb");
    FUZZ_REQUIRE(stream != NULL);
    const size_t num_bytes = fread(bytes, 1, capacity, stream);
    fclose(stream);
    remove(path);
    return num_bytes;
}

size_t fuzz_seed(uint8_t *bytes, size_t capacity) {
    static uint8_t kept[1 << 14];
    static size_t num_kept;
    if (num_kept == 0) num_kept = make_seed(kept, sizeof kept);
    if (num_kept > capacity) return 0;
    memcpy(bytes, kept, num_kept);
    return num_kept;
}
