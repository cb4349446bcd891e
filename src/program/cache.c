/* One file for each entry: a text header of fixed size, the names of the kernels that have run, the binary. A file
 * is written whole or not at all. */
#define _XOPEN_SOURCE 700 /* fstatat, unlinkat */

#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "eqflow/cache.h"
#include "eqflow/version.h"
#include "program.h"
#include "store.h"

enum { MAX_ENTRIES = 512, MAX_TOTAL_MIB = 256, PATH_SIZE = 1200 };

static const char magic[8] = {'E', 'Q', 'F', 'C', 'A', 'C', 'H', 'E'};

static void hexadecimal(const uint8_t digest[SHA256_DIGEST_LENGTH], char out[EQF__CACHE_KEY_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * SHA256_DIGEST_LENGTH] = '\0';
}

static void add_text(SHA2_CTX *sha, const char *text) {
    SHA256Update(sha, (const uint8_t *)text, strlen(text) + 1);
}

void eqf__cache_key(const eqf__device *device, const char *source, const char *options,
                    char key_out[EQF__CACHE_KEY_SIZE]) {
    SHA2_CTX sha;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const eqf_device_info *info = &device->info;
    SHA256Init(&sha);
    add_text(&sha, "eqflow program cache 2 " EQF_VERSION_TEXT);
    add_text(&sha, source);
    add_text(&sha, options);
    add_text(&sha, info->name);
    add_text(&sha, info->vendor);
    add_text(&sha, info->driver_version);
    add_text(&sha, info->device_version);
    add_text(&sha, info->platform_name);
    add_text(&sha, info->platform_version);
    SHA256Final(digest, &sha);
    hexadecimal(digest, key_out);
}

void eqf__cache_digest(const eqf__cache_header *header, const void *bytes, size_t num_bytes,
                       char out[EQF__CACHE_KEY_SIZE]) {
    SHA2_CTX sha;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    eqf__cache_header blank = *header;
    memset(blank.digest, 0, sizeof blank.digest);
    SHA256Init(&sha);
    SHA256Update(&sha, (const uint8_t *)&blank, sizeof blank);
    SHA256Update(&sha, bytes, num_bytes);
    SHA256Final(digest, &sha);
    hexadecimal(digest, out);
}

/* False if there is no cache, no key, or a cache to which others can write. */
static bool entry_path(eqf_context *ctx, const char *key, char path[PATH_SIZE]) {
    const char *folder = key[0] != '\0' ? eqf__cache_folder(ctx) : NULL;
    if (folder == NULL) return false;
    int length = snprintf(path, PATH_SIZE, "%s/%s.bin", folder, key);
    return length > 0 && length < PATH_SIZE;
}

static bool header_fits(const eqf__cache_header *header, const char *key, size_t num_bytes) {
    return memcmp(header->magic, magic, sizeof magic) == 0 && header->format_version == EQF__CACHE_FORMAT &&
           strncmp(header->key, key, sizeof header->key) == 0 && header->kernels_size > 0 &&
           header->binary_size <= num_bytes && header->kernels_size <= num_bytes &&
           sizeof *header + header->kernels_size + header->binary_size == num_bytes;
}

bool eqf__cache_parse(const unsigned char *bytes, size_t num_bytes, const char *key, eqf__cache_header *header_out) {
    char digest[EQF__CACHE_KEY_SIZE];
    if (num_bytes <= sizeof *header_out) return false;
    memcpy(header_out, bytes, sizeof *header_out);
    eqf__cache_digest(header_out, bytes + sizeof *header_out, num_bytes - sizeof *header_out, digest);
    return header_fits(header_out, key, num_bytes) && strncmp(digest, header_out->digest, sizeof digest) == 0 &&
           bytes[sizeof *header_out + header_out->kernels_size - 1] == '\0';
}

/* Reads and checks an entry; NULL if it cannot be read, or is damaged (*is_damaged_out). The returned memory is the
 * file, with the content after the header from sizeof(eqf__cache_header) on. */
static unsigned char *read_entry(eqf_context *ctx, const char *key, eqf__cache_header *header, bool *is_damaged_out) {
    char name[EQF__CACHE_KEY_SIZE + 4],
        saved_error[sizeof ctx->error]; /* a missing entry is not an error for the caller */
    snprintf(name, sizeof name, "%s.bin", key);
    memcpy(saved_error, ctx->error, sizeof saved_error);
    unsigned char *bytes;
    size_t num_bytes;
    eqf_status status = eqf__own_file_read(ctx, ctx->cache_path, name, &bytes, &num_bytes);
    memcpy(ctx->error, saved_error, sizeof saved_error);
    *is_damaged_out = false;
    if (status != EQF_OK) return NULL;
    if (eqf__cache_parse(bytes, num_bytes, key, header)) return bytes;
    free(bytes);
    *is_damaged_out = true;
    return NULL;
}

/* The key depends on the device already; the header must agree. */
static bool is_of_device(const eqf__cache_header *header, const eqf_device_info *info) {
    return strncmp(header->device, info->name, sizeof header->device - 1) == 0 &&
           strncmp(header->driver, info->driver_version, sizeof header->driver - 1) == 0;
}

unsigned char *eqf__cache_load(eqf_context *ctx, const char *key, size_t *num_bytes_out, char **kernels_out) {
    char path[PATH_SIZE];
    eqf__cache_header header;
    *kernels_out = NULL;
    if (!entry_path(ctx, key, path) || access(path, F_OK) != 0) return NULL;
    bool is_damaged;
    unsigned char *bytes = read_entry(ctx, key, &header, &is_damaged);
    if (bytes != NULL && !is_of_device(&header, &ctx->device->info)) {
        eqf__log(ctx, EQF_LOG_WARNING, "program cache entry %s is of another driver (%.60s): removed, building anew",
                 path, header.driver);
        free(bytes);
        unlink(path);
        return NULL;
    }
    if (is_damaged) {
        eqf__log(ctx, EQF_LOG_WARNING, "program cache entry %s is damaged: removed, building anew", path);
        unlink(path);
    }
    if (bytes == NULL) return NULL;
    *kernels_out = eqf__strdup(ctx, (const char *)bytes + sizeof header);
    if (*kernels_out == NULL) {
        free(bytes);
        return NULL;
    }
    *num_bytes_out = (size_t)header.binary_size;
    memmove(bytes, bytes + sizeof header + header.kernels_size, (size_t)header.binary_size);
    utime(path, NULL); /* last use, for the removal of the oldest */
    return bytes;
}

/* ---- Files beside the entries ------------------------------------------------------------------------------------ */

/* The name of a temporary file, which a killed writer leaves behind (src/base/file.c). */
static bool is_temporary_name(const char *name) {
    size_t length = strlen(name);
    return length > 12 && strncmp(name, ".eqflow-", 8) == 0 && strcmp(name + length - 4, ".tmp") == 0;
}

/* <64 hexadecimal digits>.known */
static bool is_answers_name(const char *name) {
    return strlen(name) == 70 && strspn(name, "0123456789abcdef") == 64 && strcmp(name + 64, ".known") == 0;
}

typedef struct stray_file {
    char name[72];
    time_t last_changed;
} stray_file;

static int latest_first(const void *a, const void *b) {
    const stray_file *left = a, *right = b;
    return left->last_changed != right->last_changed ? (left->last_changed < right->last_changed ? 1 : -1)
                                                     : strcmp(left->name, right->name);
}

/* Removes .known files beyond their limit: a .known file may be without a program, because some drivers give no binary.
 * Also removes temporary files older than a day, which killed writers left. */
static void remove_stray_files(eqf_context *ctx) {
    const char *folder = eqf__cache_folder(ctx);
    DIR *directory = folder != NULL ? opendir(folder) : NULL;
    if (directory == NULL) return;
    size_t count = 0, capacity = 0;
    stray_file *files = NULL;
    for (struct dirent *file; (file = readdir(directory)) != NULL;) {
        struct stat about;
        const bool is_temporary = is_temporary_name(file->d_name);
        if ((!is_temporary && !is_answers_name(file->d_name)) ||
            fstatat(dirfd(directory), file->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (is_temporary) {
            if (about.st_mtime + 86400 < time(NULL)) unlinkat(dirfd(directory), file->d_name, 0);
            continue;
        }
        if (count == capacity) {
            capacity = 2 * capacity + 64;
            stray_file *more = realloc(files, capacity * sizeof *files);
            if (more == NULL) break;
            files = more;
        }
        snprintf(files[count].name, sizeof files[count].name, "%.70s", file->d_name);
        files[count++].last_changed = about.st_mtime;
    }
    if (count > MAX_ENTRIES) qsort(files, count, sizeof *files, latest_first);
    for (size_t f = MAX_ENTRIES; f < count; f++) unlinkat(dirfd(directory), files[f].name, 0);
    closedir(directory);
    free(files);
}

/* ---- Known answers ----------------------------------------------------------------------------------------------- */

static bool answers_path(eqf_context *ctx, const char *key, char path[PATH_SIZE]) {
    if (!entry_path(ctx, key, path)) return false;
    const size_t length = strlen(path);
    if (length + 3 > PATH_SIZE) return false;
    memcpy(path + length - 3, "known", 6);
    return true;
}

static const char *const answer_words[] = {"", " values", " gradients",
                                           " values gradients"}; /* of a set of eqf__answers */

static int answers_text(const char *key, const char *name, unsigned answers, char text[192]) {
    return snprintf(text, 192, "known answers passed: %.31s%s %s\n", name, answer_words[answers], key);
}

unsigned eqf__cache_parse_answers(const char *text, const char *key) {
    char rest[192];
    unsigned found = 0;
    if (strncmp(text, "known answers passed: ", 22) != 0) return 0;
    const char *after_name = text + 22 + strcspn(text + 22, " \n");
    for (unsigned answers = EQF__ANSWERS_OF_VALUES | EQF__ANSWERS_OF_GRADIENTS; answers > 0 && found == 0; answers--) {
        snprintf(rest, sizeof rest, "%s %s\n", answer_words[answers], key);
        if (strcmp(after_name, rest) == 0) found = answers; /* the whole text is right, for this program */
    }
    return found;
}

unsigned eqf__cache_checked(eqf_context *ctx, const char *key) {
    char path[PATH_SIZE], name[EQF__CACHE_KEY_SIZE + 8], saved_error[sizeof ctx->error];
    if (!answers_path(ctx, key, path) || access(path, F_OK) != 0) return 0;
    snprintf(name, sizeof name, "%s.known", key);
    unsigned char *bytes;
    size_t num_bytes;
    unsigned found = 0;
    memcpy(saved_error, ctx->error, sizeof saved_error);
    const eqf_status status = eqf__own_file_read(ctx, ctx->cache_path, name, &bytes, &num_bytes);
    memcpy(ctx->error, saved_error, sizeof saved_error);
    if (status != EQF_OK) return 0;
    found = eqf__cache_parse_answers((const char *)bytes, key);
    free(bytes);
    return found;
}

/* Writes a file of the cache from two parts, with permissions for its owner only; part two may be empty. */
static eqf_status write_file(eqf_context *ctx, const char *path, const void *one, size_t size_one, const void *two,
                             size_t size_two) {
    eqf__file_writer writer;
    if (eqf__cache_folder_make(ctx) == NULL) return EQF_ERROR_IO;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    eqf__file_keep_private(&writer);
    eqf_status status = eqf__file_write(ctx, &writer, one, size_one);
    if (status == EQF_OK) status = eqf__file_write(ctx, &writer, two, size_two);
    if (status == EQF_OK) status = eqf__file_commit(ctx, &writer);
    eqf__file_abandon(&writer);
    return status;
}

void eqf__cache_set_checked(eqf_context *ctx, const char *key, const char *name, unsigned answers) {
    char path[PATH_SIZE], text[192], saved_error[sizeof ctx->error];
    if (!answers_path(ctx, key, path)) return;
    const int length = answers_text(key, name, answers, text);
    memcpy(saved_error, ctx->error, sizeof saved_error);
    if (write_file(ctx, path, text, (size_t)length, NULL, 0) == EQF_OK) remove_stray_files(ctx);
    memcpy(ctx->error, saved_error, sizeof saved_error);
}

/* Lists entries by their files only, or also reads and checks them. */
typedef enum listing { BY_FILE, READ_TOO } listing;
static eqf_status list_entries(eqf_context *ctx, listing how, eqf_cache_entry **entries_out, size_t *num_entries_out);

static void remove_oldest(eqf_context *ctx) {
    eqf_cache_entry *entries;
    size_t num_entries;
    /* BY_FILE: to read all entries would cost more than a build. */
    if (list_entries(ctx, BY_FILE, &entries, &num_entries) != EQF_OK) return;
    uint64_t total = 0;
    for (size_t e = 0; e < num_entries; e++) { /* newest first */
        char path[PATH_SIZE];
        total += entries[e].num_bytes;
        if ((e >= MAX_ENTRIES || total > (uint64_t)MAX_TOTAL_MIB << 20) && entry_path(ctx, entries[e].key, path))
            unlink(path);
        if (e >= MAX_ENTRIES && answers_path(ctx, entries[e].key, path)) unlink(path);
    }
    eqf_free(entries);
}

void eqf__cache_store(eqf_context *ctx, const char *key, const char *name, const char *kernels,
                      const unsigned char *bytes, size_t num_bytes) {
    char path[PATH_SIZE], saved_error[sizeof ctx->error];
    if (!entry_path(ctx, key, path)) return;
    const size_t kernels_size = strlen(kernels) + 1, payload_size = kernels_size + num_bytes;
    unsigned char *payload = malloc(payload_size);
    if (payload == NULL) return;
    memcpy(payload, kernels, kernels_size);
    memcpy(payload + kernels_size, bytes, num_bytes);
    eqf__cache_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    header.format_version = EQF__CACHE_FORMAT;
    header.kernels_size = (uint32_t)kernels_size;
    header.binary_size = num_bytes;
    snprintf(header.key, sizeof header.key, "%s", key);
    snprintf(header.program, sizeof header.program, "%s", name);
    snprintf(header.device, sizeof header.device, "%s", ctx->device->info.name);
    snprintf(header.driver, sizeof header.driver, "%s", ctx->device->info.driver_version);
    eqf__cache_digest(&header, payload, payload_size, header.digest);

    memcpy(saved_error, ctx->error, sizeof saved_error);
    const eqf_status status = write_file(ctx, path, &header, sizeof header, payload, payload_size);
    free(payload);
    if (status != EQF_OK) eqf__log(ctx, EQF_LOG_DEBUG, "program cache: %s could not be written", path);
    remove_oldest(ctx);
    memcpy(ctx->error, saved_error, sizeof saved_error); /* a failure of the cache is not one of the caller */
}

/* ---- Public ------------------------------------------------------------------------------------------------------ */

const char *eqf_cache_path(const eqf_context *ctx) {
    return ctx == NULL || ctx->cache_path == NULL ? "" : ctx->cache_path;
}

static int newest_first(const void *a, const void *b) {
    const eqf_cache_entry *left = a, *right = b;
    if (left->last_used != right->last_used) return left->last_used < right->last_used ? 1 : -1;
    return strcmp(left->key, right->key);
}

/* <64 hexadecimal digits>.bin */
static bool is_entry_name(const char *name) {
    return strlen(name) == 68 && strspn(name, "0123456789abcdef") == 64 && strcmp(name + 64, ".bin") == 0;
}

static void describe_entry(eqf_context *ctx, const char *name, listing how, eqf_cache_entry *entry) {
    char path[PATH_SIZE];
    struct stat file;
    eqf__cache_header header;
    memset(entry, 0, sizeof *entry);
    snprintf(entry->key, sizeof entry->key, "%.64s", name);
    if (!entry_path(ctx, entry->key, path) || stat(path, &file) != 0) return;
    entry->num_bytes = (uint64_t)file.st_size;
    entry->last_used = (int64_t)file.st_mtime;
    if (how == BY_FILE) return;
    bool is_damaged;
    unsigned char *bytes = read_entry(ctx, entry->key, &header, &is_damaged);
    if (bytes == NULL) return;
    free(bytes);
    entry->is_whole = true;
    snprintf(entry->program, sizeof entry->program, "%.31s", header.program);
    snprintf(entry->device, sizeof entry->device, "%.127s", header.device);
    snprintf(entry->driver, sizeof entry->driver, "%.127s", header.driver);
}

static eqf_status list_entries(eqf_context *ctx, listing how, eqf_cache_entry **entries_out, size_t *num_entries_out) {
    *entries_out = NULL;
    *num_entries_out = 0;
    const char *folder = eqf_cache_path(ctx), *reason = NULL;
    if (folder[0] != '\0' && !eqf__folder_is_own(folder, &reason) && reason != NULL)
        return eqf__fail(ctx, EQF_ERROR_IO, "the program cache %s is not used: %s", folder, reason);
    DIR *directory = folder[0] != '\0' ? opendir(folder) : NULL;
    if (directory == NULL && folder[0] != '\0' && errno != ENOENT)
        return eqf__fail(ctx, EQF_ERROR_IO, "the program cache %s cannot be read: %s", folder, strerror(errno));
    size_t capacity = 64, count = 0;
    eqf_cache_entry *entries = eqf__alloc(ctx, capacity, sizeof *entries, "the cache's list");
    for (struct dirent *file; entries != NULL && directory != NULL && (file = readdir(directory)) != NULL;) {
        if (!is_entry_name(file->d_name)) continue;
        if (count == capacity) {
            eqf_cache_entry *more = realloc(entries, 2 * capacity * sizeof *entries);
            if (more == NULL) {
                free(entries);
                entries = NULL;
                eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the cache's list");
                break;
            }
            entries = more;
            capacity *= 2;
        }
        describe_entry(ctx, file->d_name, how, &entries[count++]);
    }
    if (directory != NULL) closedir(directory);
    if (entries == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    qsort(entries, count, sizeof *entries, newest_first);
    *entries_out = entries;
    *num_entries_out = count;
    return EQF_OK;
}

eqf_status eqf_cache_list(eqf_context *ctx, eqf_cache_entry **entries_out, size_t *num_entries_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, entries_out);
    EQF__NOT_NULL(ctx, num_entries_out);
    return list_entries(ctx, READ_TOO, entries_out, num_entries_out);
}

/* If another process is writing one of these files, it logs that its entry was not stored, and goes on. */
static void remove_other_files(const eqf_context *ctx) {
    DIR *directory = opendir(eqf_cache_path(ctx));
    if (directory == NULL) return;
    for (struct dirent *file; (file = readdir(directory)) != NULL;)
        if (is_temporary_name(file->d_name) || is_answers_name(file->d_name))
            unlinkat(dirfd(directory), file->d_name, 0);
    closedir(directory);
}

eqf_status eqf_cache_clear(eqf_context *ctx, size_t *num_removed_out) {
    EQF__NOT_NULL(ctx, ctx);
    eqf_cache_entry *entries;
    size_t num_entries, num_removed = 0;
    eqf_status status = EQF_OK;
    if (num_removed_out != NULL) *num_removed_out = 0;
    EQF__TRY(list_entries(ctx, BY_FILE, &entries, &num_entries));
    for (size_t e = 0; e < num_entries; e++) {
        char path[PATH_SIZE];
        if (!entry_path(ctx, entries[e].key, path)) continue;
        if (unlink(path) == 0)
            num_removed++;
        else if (errno != ENOENT)
            status = eqf__fail(ctx, EQF_ERROR_IO, "%s cannot be removed: %s", path, strerror(errno));
    }
    eqf_free(entries);
    remove_other_files(ctx);
    if (num_removed_out != NULL) *num_removed_out = num_removed;
    return status;
}
