/* A fuzz target beside its LLVMFuzzerTestOneInput, for whoever mutates its input or runs kept ones (mutator.c,
 * replay.c): how to make the input's lengths and checksums right again, so that what lies behind them is reached,
 * and a good input to begin with. */
#ifndef EQF_FUZZ_TARGET_H
#define EQF_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "fuzz.h"

/* Repairs bytes [num_bytes] in place, up to capacity bytes; gives their new number. */
size_t fuzz_repair(uint8_t *bytes, size_t num_bytes, size_t capacity);
/* A good input, made by the library as it is now; 0: the corpus has them. */
size_t fuzz_seed(uint8_t *bytes, size_t capacity);

#endif
