/* Any bytes as .npy: an array of the size that the bytes hold, or FORMAT with a message. */
#include "fuzz.h"

#include <math.h>

#include "base.h"
#include "eqflow/array.h"
#include "npy.h"

static size_t num_accepted;

static void require_array(const eqf_context *ctx, eqf_status status, const eqf_array *array, size_t num_bytes) {
    if (status != EQF_OK) {
        FUZZ_REQUIRE(status == EQF_ERROR_FORMAT);
        FUZZ_REQUIRE(ctx->error[0] != '\0' && array->data == NULL);
        return;
    }
    FUZZ_REQUIRE(array->num_dims <= EQF_ARRAY_MAX_DIMS);
    FUZZ_REQUIRE(eqf_array_count(array) <= num_bytes / 4);
    num_accepted++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    eqf_context ctx = {.log = NULL};
    eqf_array array;
    eqf_status status = eqf__npy_parse(&ctx, "input", bytes, num_bytes, &array);
    require_array(&ctx, status, &array, num_bytes);
    eqf_array_clear(&array);
    double max_offset;
    status = eqf__npy_parse_configurations(&ctx, "input", bytes, num_bytes, 2, 2, &array, &max_offset);
    require_array(&ctx, status, &array, num_bytes);
    for (size_t n = 0; status == EQF_OK && n < eqf_array_count(&array); n++) FUZZ_REQUIRE(isfinite(array.data[n]));
    eqf_array_clear(&array);
    return 0;
}

#ifndef EQF_LIBFUZZER
int main(void) {
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 2), }",
        "{'descr': '>f8', 'fortran_order': True, 'shape': (2, 4), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }",
        "{\"shape\": (), \"descr\": '=f8', 'fortran_order': False}",
    };
    static const size_t num_data_bytes[] = {48, 64, 0, 8};
    size_t num_inputs = 0;
    for (unsigned n = 0; n < 4; n++) {
        uint8_t seed[256] = {0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)(n == 1 ? 2 : 1), 0};
        size_t start = n == 1 ? 12 : 10, length = strlen(headers[n]);
        seed[8] = (uint8_t)length;
        memcpy(seed + start, headers[n], length);
        num_inputs += fuzz_replay(seed, start + length + num_data_bytes[n], 5000);
    }
    printf("%zu inputs; %zu times an array came of one\n", num_inputs, num_accepted);
    return num_accepted > 0 ? EXIT_SUCCESS : EXIT_FAILURE; /* else the seeds test nothing */
}
#endif
