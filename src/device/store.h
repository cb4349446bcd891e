/* Measurements of this machine's devices, stored in the user's cache: one small text file for each device, driver and
 * kind. */
#ifndef EQF_STORE_H
#define EQF_STORE_H

#include "ocl.h"

/* The folder of the user's cache; NULL if there is none, or if others can write to it (its files are run as native
 * code). The reason is logged once for each context. The folder need not exist yet. */
const char *eqf__cache_folder(eqf_context *ctx);
/* The same; makes the folder if it does not exist. */
const char *eqf__cache_folder_make(eqf_context *ctx);

typedef enum eqf__store_kind { EQF__STORE_PROBE, EQF__STORE_TUNING } eqf__store_kind;

/* The text stored for the device and its driver; NULL if there is none, no cache, or a file that others can write to.
 * The caller frees it. */
char *eqf__store_load(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind);
/* Replaces it; text NULL removes it. path_out (or NULL) [1200]: the file. Errors: IO, NOT_FOUND (there is no
 * cache). */
eqf_status eqf__store_save(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind, const char *text,
                           char *path_out);

#endif
