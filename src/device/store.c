#include "store.h"

#include <errno.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1200, LONGEST_FOLDER = PATH_SIZE - 100 };

const char *eqf__cache_folder(eqf_context *ctx) {
    const char *path = ctx->cache_path, *reason = NULL;
    if (path == NULL || path[0] == '\0') return NULL;
    if (strlen(path) > LONGEST_FOLDER)
        reason = "its name is too long";
    else if (eqf__folder_is_own(path, &reason) || reason == NULL)
        return path;
    if (!ctx->has_refused_cache)
        eqf__log(ctx, EQF_LOG_WARNING, "the cache %.900s is not used: %s; XDG_CACHE_HOME names another place for it",
                 path, reason);
    ctx->has_refused_cache = true;
    return NULL;
}

const char *eqf__cache_folder_make(eqf_context *ctx) {
    const char *path = eqf__cache_folder(ctx);
    if (path == NULL || !eqf__folder_create(path)) return NULL;
    return eqf__cache_folder(ctx); /* checked again: another user may have made it first */
}

static void add_text(SHA2_CTX *sha, const char *text) {
    SHA256Update(sha, (const uint8_t *)text, strlen(text) + 1);
}

/* The file's name is half of a SHA-256 of all that distinguishes devices and drivers. */
static void store_name(const eqf_device_info *info, eqf__store_kind kind, char name[48]) {
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
    for (size_t i = 0; i < 16; i++) snprintf(name + 2 * i, 3, "%02x", digest[i]);
    snprintf(name + 32, 16, ".%s", kind == EQF__STORE_PROBE ? "probe" : "tuning");
}

char *eqf__store_load(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind) {
    char name[48], path[PATH_SIZE], saved_error[sizeof ctx->error];
    unsigned char *bytes = NULL;
    size_t num_bytes;
    const char *folder = eqf__cache_folder(ctx);
    if (folder == NULL) return NULL;
    store_name(info, kind, name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (access(path, R_OK) != 0) return NULL;
    memcpy(saved_error, ctx->error, sizeof saved_error);
    if (eqf__own_file_read(ctx, folder, name, &bytes, &num_bytes) != EQF_OK) bytes = NULL;
    memcpy(ctx->error, saved_error, sizeof saved_error); /* it is not an error if nothing is stored */
    return (char *)bytes;
}

eqf_status eqf__store_save(eqf_context *ctx, const eqf_device_info *info, eqf__store_kind kind, const char *text,
                           char *path_out) {
    char name[48], path[PATH_SIZE];
    const char *folder = eqf__cache_folder(ctx);
    if (folder == NULL && ctx->has_refused_cache)
        return eqf__fail(ctx, EQF_ERROR_IO,
                         "the cache %.900s is not this user's alone, or its name is too long: nothing is kept there",
                         ctx->cache_path);
    if (folder == NULL)
        return eqf__fail(ctx, EQF_ERROR_NOT_FOUND,
                         "there is no cache folder to keep it in (EQFLOW_CACHE=off, or no HOME)");
    store_name(info, kind, name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (path_out != NULL) snprintf(path_out, PATH_SIZE, "%s", path);
    if (text == NULL) {
        if (unlink(path) != 0 && errno != ENOENT)
            return eqf__fail(ctx, EQF_ERROR_IO, "%s cannot be removed: %s", path, strerror(errno));
        return EQF_OK;
    }
    if (eqf__cache_folder_make(ctx) == NULL)
        return eqf__fail(ctx, EQF_ERROR_IO, "the folder %s cannot be made: %s", ctx->cache_path, strerror(errno));
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    eqf__file_keep_private(&writer);
    eqf_status status = eqf__file_write(ctx, &writer, text, strlen(text));
    if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
    eqf__file_abandon(&writer);
    return status;
}
