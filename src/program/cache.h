/* Built programs on disk, so that the next process starts at once. */
#ifndef EQF_CACHE_H
#define EQF_CACHE_H

#include "ocl.h"

/* SHA-256 in hexadecimal of everything that can change a binary: cache format, library version, source with all its
 * files, options, device, vendor, driver and platform version. */
enum { EQF__CACHE_KEY_SIZE = 65 };
void eqf__cache_key(const eqf__device *device, const char *source, const char *options,
                    char key_out[EQF__CACHE_KEY_SIZE]);

/* An entry is a file: this header, the names of kernels, the binary. */
enum { EQF__CACHE_FORMAT = 2 };
typedef struct eqf__cache_header {
    char magic[8]; /* "EQFCACHE" */
    uint32_t format_version, kernels_size;
    uint64_t binary_size;
    char key[65], program[32], device[128], driver[128];
    char digest[65]; /* SHA-256 of this header, the digest zero, then kernel names and binary */
    char padding[2];
} eqf__cache_header;
/* The digest of an entry with these bytes after the header. */
void eqf__cache_digest(const eqf__cache_header *header, const void *bytes, size_t num_bytes,
                       char out[EQF__CACHE_KEY_SIZE]);
/* Whether a file's bytes are a whole entry of that key. */
bool eqf__cache_parse(const unsigned char *bytes, size_t num_bytes, const char *key, eqf__cache_header *header_out);
/* The answers that the text of a .known file lists; 0 if the text does not belong to that key. */
unsigned eqf__cache_parse_answers(const char *text, const char *key);

/* The binary under key, or NULL if there is no whole one; a damaged entry is removed. kernels_out: names of the kernels
 * that had run when the binary was stored, separated by spaces. The caller frees both. */
unsigned char *eqf__cache_load(eqf_context *ctx, const char *key, size_t *num_bytes_out, char **kernels_out);

/* Stores an entry and removes the oldest ones beyond the cache's size. Failure is only logged: a cache is not
 * needed. */
void eqf__cache_store(eqf_context *ctx, const char *key, const char *name, const char *kernels,
                      const unsigned char *bytes, size_t num_bytes);

/* Which known answers the program under key has passed, as a set of eqf__answers (program.h); kept in a small text file
 * beside the binary. */
unsigned eqf__cache_checked(eqf_context *ctx, const char *key);
void eqf__cache_set_checked(eqf_context *ctx, const char *key, const char *name, unsigned answers);

#endif
