/* A fuzz target is one file with LLVMFuzzerTestOneInput. Built by clang with -fsanitize=fuzzer,address,undefined and
 * -DEQF_LIBFUZZER it is a libFuzzer program; otherwise main replays a generated corpus: each seed, each seed cut after
 * every byte, and mutated seeds. It fails by a crash, a sanitizer's or valgrind's report, or the target's abort. */
#ifndef EQF_FUZZ_H
#define EQF_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes);

/* A promise that must hold for every input. */
#define FUZZ_REQUIRE(condition)                                                     \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#ifdef EQF_LIBFUZZER
/* Whether each input is looked at in every way, or one in many in the ways that take long: 0 under a fuzzer. */
extern int fuzz_is_thorough;
#else
enum { fuzz_is_thorough = 1 };

/* The input has a block of its exact size, so that a read beyond its end is seen. */
static inline void fuzz_run(const uint8_t *bytes, size_t num_bytes) {
    uint8_t *copy = malloc(num_bytes > 0 ? num_bytes : 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, bytes, num_bytes);
    LLVMFuzzerTestOneInput(copy, num_bytes);
    free(copy);
}

/* splitmix64 */
static inline uint64_t fuzz_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Replays a seed and what becomes of it; gives the number of inputs. */
static inline size_t fuzz_replay(const uint8_t *seed, size_t num_bytes, size_t num_mutations) {
    static const char spice[] = "0123456789-\"'{}[](),:.eEnNuL<>=f8 \xff\x80\x7f\x01";
    size_t num_inputs = 0;
    for (size_t n = 0; n <= num_bytes; n++, num_inputs++) fuzz_run(seed, n);
    uint8_t *mutant = malloc(num_bytes + 8);
    FUZZ_REQUIRE(mutant != NULL);
    uint64_t state = num_bytes;
    for (size_t m = 0; m < num_mutations; m++, num_inputs++) {
        size_t num_mutant_bytes = num_bytes;
        memcpy(mutant, seed, num_bytes);
        for (uint64_t edits = 1 + fuzz_random(&state) % 4; edits > 0 && num_mutant_bytes > 0; edits--) {
            uint64_t choice = fuzz_random(&state) % 4;
            /* half of the edits in the first bytes, where sizes are */
            size_t range = fuzz_random(&state) % 2 == 0 && num_mutant_bytes > 256 ? 256 : num_mutant_bytes;
            size_t place = (size_t)(fuzz_random(&state) % range);
            if (choice == 0) {
                mutant[place] = (uint8_t)fuzz_random(&state);
            } else if (choice == 1) {
                mutant[place] = (uint8_t)spice[fuzz_random(&state) % (sizeof spice - 1)];
            } else if (choice == 2) {
                memmove(mutant + place, mutant + place + 1, --num_mutant_bytes - place);
            } else if (num_mutant_bytes < num_bytes + 8) {
                memmove(mutant + place + 1, mutant + place, num_mutant_bytes++ - place);
            }
        }
        fuzz_run(mutant, num_mutant_bytes);
    }
    free(mutant);
    return num_inputs;
}

#endif
#endif
