/* The program cache on disk: built kernels, one file for each entry. It may be deleted at any time. */
#ifndef EQFLOW_CACHE_H
#define EQFLOW_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_cache_entry {
    size_t struct_size; /* set by the library */
    char key[65];      /* SHA-256, hexadecimal; the file is <key>.bin */
    char program[32];  /* "trajectory", ... */
    char device[128], driver[128];
    uint64_t num_bytes;
    int64_t last_used; /* seconds since 1970 */
    bool is_whole;     /* false: damaged, will be built anew */
    unsigned char reserved[127]; /* 0: see eqflow/context.h */
} eqf_cache_entry;

/* The cache's folder; "" if caching on disk is off (EQFLOW_CACHE=off, or no home). Valid as long as ctx. */
const char *eqf_cache_path(const eqf_context *ctx);

/* All entries, newest first; the array is the caller's (eqf_free). An absent folder is an empty list. Errors: IO,
 * OUT_OF_MEMORY. */
eqf_status eqf_cache_list(eqf_context *ctx, eqf_cache_entry **entries_out, size_t *num_entries_out);

/* Removes all entries, and files that killed processes left half written; *num_removed_out (or NULL): the number of
 * entries. Errors: IO. */
eqf_status eqf_cache_clear(eqf_context *ctx, size_t *num_removed_out);

#ifdef __cplusplus
}
#endif
#endif
