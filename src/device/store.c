#include "store.h"

#include <errno.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1200 };

static void add_text(SHA2_CTX *sha, const char *text) {
    SHA256Update(sha, (const uint8_t *)text, strlen(text) + 1);
}

/* Half of a SHA-256 of all that tells devices and drivers apart names the file. */
static bool store_path(const eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind, char path[PATH_SIZE]) {
    if (ctx->cache_path == NULL || ctx->cache_path[0] == '\0') return false;
    SHA2_CTX sha;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Init(&sha);
    add_text(&sha, info->name);
    add_text(&sha, info->vendor);
    add_text(&sha, info->driver_version);
    add_text(&sha, info->device_version);
    add_text(&sha, info->platform_name);
    add_text(&sha, info->platform_version);
    SHA256Final(digest, &sha);
    char name[33];
    for (size_t i = 0; i < 16; i++) snprintf(name + 2 * i, 3, "%02x", digest[i]);
    const int length = snprintf(path, PATH_SIZE, "%s/%s.%s", ctx->cache_path, name,
                                kind == EQF__STORE_PROBE ? "probe" : "tuning");
    return length > 0 && length < PATH_SIZE;
}

char *eqf__store_load(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind) {
    char path[PATH_SIZE], saved_error[sizeof ctx->error];
    unsigned char *bytes = NULL;
    size_t num_bytes;
    if (!store_path(ctx, info, kind, path) || access(path, R_OK) != 0) return NULL;
    memcpy(saved_error, ctx->error, sizeof saved_error);
    if (eqf__file_read(ctx, path, &bytes, &num_bytes) != EQF_OK) bytes = NULL;
    memcpy(ctx->error, saved_error, sizeof saved_error); /* that nothing is stored is no error */
    return (char *)bytes;
}

eqf_status eqf__store_save(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind, const char *text,
                           char *path_out) {
    char path[PATH_SIZE];
    if (!store_path(ctx, info, kind, path))
        return eqf__fail(ctx, EQF_ERROR_NOT_FOUND, "there is no cache folder to keep it in (EQFLOW_CACHE=off, or no HOME)");
    if (path_out != NULL) snprintf(path_out, PATH_SIZE, "%s", path);
    if (text == NULL) {
        if (unlink(path) != 0 && errno != ENOENT)
            return eqf__fail(ctx, EQF_ERROR_IO, "%s cannot be removed: %s", path, strerror(errno));
        return EQF_OK;
    }
    if (!eqf__folder_create(ctx->cache_path))
        return eqf__fail(ctx, EQF_ERROR_IO, "the folder %s cannot be made: %s", ctx->cache_path, strerror(errno));
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    eqf_status status = eqf__file_write(ctx, &writer, text, strlen(text));
    if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
    eqf__file_abandon(&writer);
    return status;
}
