/* For libFuzzer: its own mutations, and most of the time their repair. */
#include "target.h"

/* A third of the time went into the stacks of allocations and into blocks that are kept after free(): none of the
 * first, few of the second. ASAN_OPTIONS=malloc_context_size=30 tells more of a finding. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "malloc_context_size=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64";
}

int fuzz_is_thorough = 0;

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t num_bytes, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t num_bytes, size_t capacity, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t num_bytes, size_t capacity, unsigned seed) {
    const size_t num_seed_bytes = seed % 61 == 0 || num_bytes < 2 ? fuzz_seed(bytes, capacity) : 0;
    if (num_seed_bytes > 0) num_bytes = num_seed_bytes;
    num_bytes = LLVMFuzzerMutate(bytes, num_bytes, capacity);
    return seed / 64 % 8 == 0 ? num_bytes : fuzz_repair(bytes, num_bytes, capacity);
}
