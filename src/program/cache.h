/* Built programs on disk, so that the next process starts at once. */
#ifndef EQF_CACHE_H
#define EQF_CACHE_H

#include "ocl.h"

/* SHA-256 in hexadecimal of everything that can change a binary: cache format, library version, source with all its
 * files, options, device, vendor, driver and platform version. */
enum { EQF__CACHE_KEY_SIZE = 65 };
void eqf__cache_key(const eqf__device *device, const char *source, const char *options,
                    char key_out[EQF__CACHE_KEY_SIZE]);

/* The binary under key, or NULL if there is none that is whole: a damaged entry is removed. kernels_out: names of the
 * kernels that had run before it was taken, separated by spaces. The caller frees both. */
unsigned char *eqf__cache_load(eqf_context *ctx, const char *key, size_t *num_bytes_out, char **kernels_out);

/* Stores an entry and removes the oldest ones beyond the cache's size. Failure is only logged: a cache is not
 * needed. */
void eqf__cache_store(eqf_context *ctx, const char *key, const char *name, const char *kernels,
                      const unsigned char *bytes, size_t num_bytes);

/* Which known answers were right of the program under key, a small text file beside the binary: a set of eqf__answers
 * (program.h). */
unsigned eqf__cache_checked(eqf_context *ctx, const char *key);
void eqf__cache_set_checked(eqf_context *ctx, const char *key, const char *name, unsigned answers);

#endif
