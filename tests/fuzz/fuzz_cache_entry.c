/* Any bytes as an entry of the program cache, and as the text of known answers beside one: whole and of this key, or
 * refused. */
#include "target.h"

#include "cache.h"
#include "program.h"

static const char key[] = "3b7ed55b3b7dd29c4a47489130d94b6a802b186aaf382830e11452d70eb69383";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    eqf__cache_header header;
    if (eqf__cache_parse(bytes, num_bytes, key, &header)) {
        FUZZ_REQUIRE(sizeof header + header.kernels_size + header.binary_size == num_bytes);
        const char *kernels = (const char *)bytes + sizeof header;
        FUZZ_REQUIRE(strlen(kernels) < header.kernels_size);
        volatile uint8_t sum = 0; /* reads each byte, for the sanitizers */
        for (uint64_t byte = 0; byte < header.binary_size; byte++)
            sum = (uint8_t)(sum ^ bytes[sizeof header + header.kernels_size + byte]);
    }
    char *text = malloc(num_bytes + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, bytes, num_bytes);
    text[num_bytes] = '\0';
    const unsigned answers = eqf__cache_parse_answers(text, key);
    FUZZ_REQUIRE(answers <= (EQF__ANSWERS_OF_VALUES | EQF__ANSWERS_OF_GRADIENTS));
    FUZZ_REQUIRE(answers == 0 || strstr(text, key) != NULL);
    free(text);
    return 0;
}

/* Magic, version, key, sizes that fill the file, and the digest. */
size_t fuzz_repair(uint8_t *bytes, size_t num_bytes, size_t capacity) {
    eqf__cache_header header;
    if (num_bytes <= sizeof header || memcmp(bytes, "known", 5) == 0) return num_bytes;
    (void)capacity;
    memcpy(&header, bytes, sizeof header);
    memcpy(header.magic, "EQFCACHE", 8);
    header.format_version = EQF__CACHE_FORMAT;
    const size_t rest = num_bytes - sizeof header;
    header.kernels_size = 1 + header.kernels_size % (uint32_t)rest;
    header.binary_size = rest - header.kernels_size;
    memcpy(header.key, key, sizeof header.key);
    if (num_bytes % 8 != 0) bytes[sizeof header + header.kernels_size - 1] = '\0';
    eqf__cache_digest(&header, bytes + sizeof header, rest, header.digest);
    memcpy(bytes, &header, sizeof header);
    return num_bytes;
}

size_t fuzz_seed(uint8_t *bytes, size_t capacity) {
    static const char content[] = "prior sample \0no program of any device";
    if (capacity < sizeof(eqf__cache_header) + sizeof content) return 0;
    memset(bytes, 0, sizeof(eqf__cache_header));
    memcpy(bytes + sizeof(eqf__cache_header), content, sizeof content);
    return fuzz_repair(bytes, sizeof(eqf__cache_header) + sizeof content, capacity);
}
