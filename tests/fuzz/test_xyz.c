/* Any bytes as XYZ: configurations of the size that the bytes hold, or FORMAT with a message. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "configurations.h"

static size_t num_accepted;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    for (unsigned space_dim = 2; space_dim <= 3; space_dim++) {
        eqf_context ctx = {.log = NULL};
        eqf_array array;
        double max_offset;
        const eqf_status status =
            eqf__xyz_parse_configurations(&ctx, "input", bytes, num_bytes, 2, space_dim, &array, &max_offset);
        if (status != EQF_OK) {
            FUZZ_REQUIRE(status == EQF_ERROR_FORMAT && ctx.error[0] != '\0' && array.data == NULL);
            continue;
        }
        FUZZ_REQUIRE(array.num_dims == 3 && array.shape[1] == 2 && array.shape[2] == space_dim && array.shape[0] > 0);
        FUZZ_REQUIRE(eqf_array_count(&array) <= num_bytes);
        for (size_t n = 0; n < eqf_array_count(&array); n++) FUZZ_REQUIRE(isfinite(array.data[n]));
        eqf_array_clear(&array);
        num_accepted++;
    }
    eqf_context ctx = {.log = NULL};
    eqf_array values;
    const eqf_status status = eqf__xyz_parse_values(&ctx, "input", bytes, num_bytes, "energy", &values);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_FORMAT && ctx.error[0] != '\0' && values.data == NULL));
    FUZZ_REQUIRE(values.data == NULL || (values.num_dims == 1 && values.shape[0] > 0 && values.shape[0] <= num_bytes));
    eqf_array_clear(&values);
    return 0;
}

#ifndef EQF_LIBFUZZER
int main(void) {
    static const char *const seeds[] = {
        "2\nProperties=species:S:1:pos:R:3 pbc=\"F F F\" energy=-25.5\nAr 1 -2.5 0\nAr 0.1 9.9e-21 0\n",
        "2\r\nplain\r\nC 1 2 3\r\nC 3 2 1\r\n2\n\nC 0 0 0\nC 1 1 0\n\n",
        "2\nLattice=\"9 0 0\" Properties=id:I:1:pos:R:3\n1 1 2 3\n2 4 5 6\n",
    };
    size_t num_inputs = 0;
    for (size_t n = 0; n < sizeof seeds / sizeof seeds[0]; n++) {
        uint8_t seed[256];
        memcpy(seed, seeds[n], strlen(seeds[n]));
        num_inputs += fuzz_replay(seed, strlen(seeds[n]), 5000);
    }
    printf("%zu inputs; %zu times configurations came of one\n", num_inputs, num_accepted);
    return num_accepted > 0 ? EXIT_SUCCESS : EXIT_FAILURE; /* else the seeds test nothing */
}
#endif
