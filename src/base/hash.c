#include "base.h"

uint64_t eqf__hash(uint64_t hash, const void *bytes, size_t num_bytes) {
    const unsigned char *byte = bytes;
    for (size_t n = 0; n < num_bytes; n++) hash = (hash ^ byte[n]) * UINT64_C(0x100000001b3);
    return hash;
}
