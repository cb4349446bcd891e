/* realpath, and the strerror_r that returns int */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "eqflow/array.h"
#include "leftover.h"
#include "unnamed.h"

enum { MAX_ATTEMPTS = 1000, MAX_LINKS = 40 };

/* Everything of path before its last name: "." for "a.npy", "/" for "/a.npy". The caller frees it. */
static char *folder_of(eqf_context *ctx, const char *path) {
    char *folder = eqf__strdup(ctx, path);
    if (folder == NULL) return NULL;
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        free(folder);
        return eqf__strdup(ctx, ".");
    }
    if (slash == folder) slash++;
    *slash = '\0';
    return folder;
}

/* Turns a system error of writing path into one line that says what to do about it. */
static eqf_status fail_write(eqf_context *ctx, const char *path, int error) {
    char reason[128] = "unknown reason";
    strerror_r(error, reason, sizeof reason);
    char *folder = folder_of(ctx, path);
    if (folder == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    struct stat about;
    bool has_folder = stat(folder, &about) == 0;
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            if (has_folder && S_ISDIR(about.st_mode))
                eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: no file can be made in folder %s (%s)", path, folder,
                          reason);
            else if (error == ENOTDIR || has_folder)
                eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: %s is not a folder: choose another path", path, folder);
            else
                eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: folder %s does not exist: create it", path, folder);
            break;
        case EACCES:
        case EPERM:
        case EROFS:
            eqf__fail(ctx, EQF_ERROR_IO,
                      "cannot write %s: folder %s is not writable (%s): choose another one or change its permissions",
                      path, folder, reason);
            break;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            eqf__fail(ctx, EQF_ERROR_IO,
                      "cannot write %s: the disk or quota is full (%s): free some space; nothing was overwritten", path,
                      reason);
            break;
        default: eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: %s", path, reason); break;
    }
    free(folder);
    return EQF_ERROR_IO;
}

/* The attempt-th temporary name in the folder of path. Its length does not depend on path's last name, so that a file
 * name of the longest allowed length still works. The caller frees it. */
static char *name_beside(eqf_context *ctx, const char *path, unsigned attempt) {
    char *folder = folder_of(ctx, path), *name = NULL, last[EQF__LEFTOVER_NAME_BYTES];
    if (folder == NULL) return NULL;
    const size_t size = strlen(folder) + sizeof last + 1;
    eqf__leftover_name(attempt, last);
    name = eqf__alloc(ctx, size, 1, "a file name");
    if (name != NULL) snprintf(name, size, "%s/%s", folder, last);
    free(folder);
    return name;
}

/* Opens a file without a name, which a killed process does not leave behind; -1 if the file system has none. */
static int open_unnamed(eqf_context *ctx, eqf__file_writer *writer) {
    char *folder = folder_of(ctx, writer->path);
    if (folder == NULL) return -1;
    eqf__leftover_remove(folder);
    const int fd = eqf__unnamed_open(folder);
    free(folder);
    writer->is_unnamed = fd >= 0;
    return fd;
}

/* Opens a new file in the folder of writer->path. */
static eqf_status open_temporary(eqf_context *ctx, eqf__file_writer *writer) {
    int fd = open_unnamed(ctx, writer), error = 0;
    /* O_EXCL: the name is new. A name that another thread uses, or that a killed process left, costs one attempt. */
    for (unsigned attempt = 0; fd < 0 && attempt < MAX_ATTEMPTS; attempt++) {
        free(writer->temporary_path);
        writer->temporary_path = name_beside(ctx, writer->path, attempt);
        if (writer->temporary_path == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        fd = open(writer->temporary_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        error = errno;
        if (fd < 0 && error != EEXIST && error != EINTR) break;
    }
    if (fd < 0) {
        free(writer->temporary_path); /* of another writer: must not be unlinked */
        writer->temporary_path = NULL;
        return fail_write(ctx, writer->path, error);
    }
    eqf__leftover_claim(fd);
    do writer->stream = fdopen(fd, "wb");
    while (writer->stream == NULL && errno == EINTR);
    if (writer->stream == NULL) {
        error = errno;
        close(fd);
        return fail_write(ctx, writer->path, error);
    }
    return EQF_OK;
}

/* Gives a file without a name a temporary one; 0 or the system's error. */
static int name_unnamed(eqf_context *ctx, eqf__file_writer *writer) {
    int error = 0;
    for (unsigned attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        char *name = name_beside(ctx, writer->path, attempt);
        if (name == NULL) return ENOMEM;
        if (eqf__unnamed_link(fileno(writer->stream), name)) {
            writer->temporary_path = name;
            return 0;
        }
        error = errno;
        free(name);
        if (error != EEXIST && error != EINTR) break;
    }
    return error;
}

/* The path to which the link at path leads; NULL: out of memory. */
static char *target_of(eqf_context *ctx, const char *path, const char *target) {
    char *folder = folder_of(ctx, path), *result = NULL;
    const size_t size = (folder != NULL ? strlen(folder) : 0) + strlen(target) + 2;
    if (folder != NULL) result = eqf__alloc(ctx, size, 1, "a file name");
    if (result != NULL && target[0] == '/') snprintf(result, size, "%s", target);
    if (result != NULL && target[0] != '/') snprintf(result, size, "%s/%s", folder, target);
    free(folder);
    return result;
}

/* The file to which path leads after all links, also if it does not exist yet. The caller frees it. */
static eqf_status follow_links(eqf_context *ctx, const char *path, char **path_out) {
    *path_out = realpath(path, NULL);
    if (*path_out != NULL) return EQF_OK;
    char *current = eqf__strdup(ctx, path);
    for (unsigned link = 0; current != NULL; link++) {
        char target[4096];
        const ssize_t length = readlink(current, target, sizeof target - 1);
        if (length < 0) { /* not a link; if there is an error, opening it gives it */
            *path_out = current;
            return EQF_OK;
        }
        target[length] = '\0';
        char *next = link < MAX_LINKS ? target_of(ctx, current, target) : NULL;
        free(current);
        if (link == MAX_LINKS)
            return eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: its links lead nowhere: choose another name", path);
        current = next;
    }
    return EQF_ERROR_OUT_OF_MEMORY;
}

/* Repeats an open that a signal interrupts. */
static FILE *open_stream(const char *path) {
    FILE *stream;
    do stream = fopen(path, "wb");
    while (stream == NULL && errno == EINTR);
    return stream;
}

static eqf_status begin(eqf_context *ctx, const char *path, eqf__file_writer *writer) {
    size_t length = strlen(path);
    struct stat about;
    bool exists = stat(path, &about) == 0;
    if (length == 0) return eqf__fail(ctx, EQF_ERROR_IO, "cannot write: the file name is empty");
    if ((exists && S_ISDIR(about.st_mode)) || path[length - 1] == '/')
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: it is a folder: add a file name", path);
    if (exists && !S_ISREG(about.st_mode)) {
        /* A device or a pipe (/dev/null, /dev/stdout): a rename would replace it by a file. */
        writer->path = eqf__strdup(ctx, path);
        if (writer->path == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        writer->stream = open_stream(path);
        return writer->stream != NULL ? EQF_OK : fail_write(ctx, path, errno);
    }
    if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: the file is write-protected: choose another name", path);
    /* If path is a link, the file to which it leads is replaced, not the link. */
    EQF__TRY(follow_links(ctx, path, &writer->path));
    EQF__TRY(open_temporary(ctx, writer));
    if (exists && fchmod(fileno(writer->stream), about.st_mode & 0777) != 0)
        eqf__log(ctx, EQF_LOG_WARNING, "the permissions of %s could not be kept", path);
    return EQF_OK;
}

eqf_status eqf__file_begin(eqf_context *ctx, const char *path, eqf__file_writer *writer_out) {
    *writer_out = (eqf__file_writer){NULL, NULL, NULL, false};
    eqf_status status = begin(ctx, path, writer_out);
    if (status != EQF_OK) eqf__file_abandon(writer_out);
    return status;
}

eqf_status eqf__file_write(eqf_context *ctx, eqf__file_writer *writer, const void *bytes, size_t num_bytes) {
    if (writer->stream == NULL) return eqf__fail(ctx, EQF_ERROR_IO, "cannot write: no file is open");
    if (num_bytes == 0) return EQF_OK;
    errno = 0;
    if (fwrite(bytes, 1, num_bytes, writer->stream) == num_bytes) return EQF_OK;
    eqf_status status = fail_write(ctx, writer->path, errno != 0 ? errno : EIO);
    eqf__file_abandon(writer);
    return status;
}

/* Flushes all bytes to the disk and closes the stream; 0 or the system's error. */
static int finish_stream(eqf_context *ctx, eqf__file_writer *writer) {
    int error = 0;
    errno = 0;
    if (ferror(writer->stream) || fflush(writer->stream) != 0) error = errno != 0 ? errno : EIO;
    /* EINVAL, ENOTSUP: a device or pipe without fsync */
    if (error == 0 && fsync(fileno(writer->stream)) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        error = errno;
    if (error == 0 && writer->is_unnamed) error = name_unnamed(ctx, writer);
    errno = 0;
    if (fclose(writer->stream) != 0 && error == 0) error = errno != 0 ? errno : EIO;
    writer->stream = NULL;
    return error;
}

/* A rename is on the disk only when its folder is. */
static eqf_status sync_folder(eqf_context *ctx, const char *path) {
    char *folder = folder_of(ctx, path);
    if (folder == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    int error = 0, fd;
    do fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    /* If the folder may not be read, or the file system cannot fsync folders, nothing more can be done. */
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EBADF) error = errno;
    if (fd >= 0) close(fd);
    free(folder);
    if (error == 0) return EQF_OK;
    char reason[128] = "unknown reason";
    strerror_r(error, reason, sizeof reason);
    return eqf__fail(ctx, EQF_ERROR_IO,
                     "%s is written, but may not survive a power failure: its folder does not sync (%s)", path, reason);
}

eqf_status eqf__file_commit(eqf_context *ctx, eqf__file_writer *writer) {
    if (writer->stream == NULL) return eqf__fail(ctx, EQF_ERROR_IO, "cannot write: no file is open");
    eqf_status status = EQF_OK;
    int error = finish_stream(ctx, writer);
    if (error == 0 && writer->temporary_path != NULL) {
        if (rename(writer->temporary_path, writer->path) != 0) {
            error = errno;
        } else {
            free(writer->temporary_path); /* renamed: there is nothing to unlink */
            writer->temporary_path = NULL;
            status = sync_folder(ctx, writer->path);
        }
    }
    if (error != 0) status = fail_write(ctx, writer->path, error);
    eqf__file_abandon(writer);
    return status;
}

void eqf__file_keep_private(eqf__file_writer *writer) {
    if (fchmod(fileno(writer->stream), 0600) != 0) errno = 0; /* the file will then not be read: eqf__own_file_read */
}

void eqf__file_abandon(eqf__file_writer *writer) {
    if (writer->stream != NULL) fclose(writer->stream);
    if (writer->temporary_path != NULL) unlink(writer->temporary_path);
    free(writer->temporary_path);
    free(writer->path);
    *writer = (eqf__file_writer){NULL, NULL, NULL, false};
}

eqf_status eqf_file_write(eqf_context *ctx, const char *path, const void *bytes, size_t num_bytes) {
    if (path == NULL || (bytes == NULL && num_bytes > 0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path or bytes is NULL");
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    EQF__TRY(eqf__file_write(ctx, &writer, bytes, num_bytes));
    return eqf__file_commit(ctx, &writer);
}
