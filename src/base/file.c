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

/* Opens a new file in the folder of writer->path. The name is short and does not grow with the path's last name,
 * so that a name of the longest allowed length still works. */
static eqf_status open_temporary(eqf_context *ctx, eqf__file_writer *writer) {
    enum { NAME_BYTES = 64, MAX_ATTEMPTS = 1000 };
    char *folder = folder_of(ctx, writer->path);
    if (folder == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    size_t num_bytes = strlen(folder) + NAME_BYTES;
    writer->temporary_path = eqf__alloc(ctx, num_bytes, 1, "a file name");
    int fd = -1;
    /* O_EXCL makes a name ours: other threads, and what a killed process left behind, only cost an attempt. */
    for (unsigned attempt = 0; writer->temporary_path != NULL && fd < 0 && attempt < MAX_ATTEMPTS; attempt++) {
        snprintf(writer->temporary_path, num_bytes, "%s/.eqflow-%ld-%u.tmp", folder, (long)getpid(), attempt);
        fd = open(writer->temporary_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST && errno != EINTR) break;
    }
    int error = errno;
    free(folder);
    if (writer->temporary_path == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    if (fd < 0) {
        free(writer->temporary_path); /* not ours: must not be unlinked */
        writer->temporary_path = NULL;
        return fail_write(ctx, writer->path, error);
    }
    writer->stream = fdopen(fd, "wb");
    if (writer->stream == NULL) {
        error = errno;
        close(fd);
        return fail_write(ctx, writer->path, error);
    }
    return EQF_OK;
}

static eqf_status begin(eqf_context *ctx, const char *path, eqf__file_writer *writer) {
    size_t length = strlen(path);
    struct stat about;
    bool exists = stat(path, &about) == 0;
    if (length == 0) return eqf__fail(ctx, EQF_ERROR_IO, "cannot write: the file name is empty");
    if ((exists && S_ISDIR(about.st_mode)) || path[length - 1] == '/')
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: it is a folder: add a file name", path);
    if (exists && !S_ISREG(about.st_mode)) {
        /* A device or a pipe (/dev/null, /dev/stdout): renaming a file over it would destroy it. */
        writer->path = eqf__strdup(ctx, path);
        if (writer->path == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        writer->stream = fopen(path, "wb");
        return writer->stream != NULL ? EQF_OK : fail_write(ctx, path, errno);
    }
    if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot write %s: the file is write-protected: choose another name", path);
    /* Where path is a link, the file it points to is replaced, not the link. */
    char *resolved = exists ? realpath(path, NULL) : NULL;
    writer->path = eqf__strdup(ctx, resolved != NULL ? resolved : path);
    free(resolved);
    if (writer->path == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    EQF__TRY(open_temporary(ctx, writer));
    if (exists && fchmod(fileno(writer->stream), about.st_mode & 0777) != 0)
        eqf__log(ctx, EQF_LOG_WARNING, "the permissions of %s could not be kept", path);
    return EQF_OK;
}

eqf_status eqf__file_begin(eqf_context *ctx, const char *path, eqf__file_writer *writer_out) {
    *writer_out = (eqf__file_writer){NULL, NULL, NULL};
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

/* All bytes on the disk and the stream closed; 0 or the system's error. */
static int finish_stream(eqf__file_writer *writer) {
    int error = 0;
    errno = 0;
    if (ferror(writer->stream) || fflush(writer->stream) != 0) error = errno != 0 ? errno : EIO;
    /* EINVAL, ENOTSUP: a device or pipe that knows no fsync */
    if (error == 0 && fsync(fileno(writer->stream)) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        error = errno;
    errno = 0;
    if (fclose(writer->stream) != 0 && error == 0) error = errno != 0 ? errno : EIO;
    writer->stream = NULL;
    return error;
}

/* The rename itself reaches the disk with its folder. */
static eqf_status sync_folder(eqf_context *ctx, const char *path) {
    char *folder = folder_of(ctx, path);
    if (folder == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    int error = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A folder one may write but not read, or a file system without fsync of folders: nothing more can be done. */
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
    int error = finish_stream(writer);
    if (error == 0 && writer->temporary_path != NULL) {
        if (rename(writer->temporary_path, writer->path) != 0) {
            error = errno;
        } else {
            free(writer->temporary_path); /* its name is gone: nothing left to unlink */
            writer->temporary_path = NULL;
            status = sync_folder(ctx, writer->path);
        }
    }
    if (error != 0) status = fail_write(ctx, writer->path, error);
    eqf__file_abandon(writer);
    return status;
}

void eqf__file_abandon(eqf__file_writer *writer) {
    if (writer->stream != NULL) fclose(writer->stream);
    if (writer->temporary_path != NULL) unlink(writer->temporary_path);
    free(writer->temporary_path);
    free(writer->path);
    *writer = (eqf__file_writer){NULL, NULL, NULL};
}

eqf_status eqf_file_write(eqf_context *ctx, const char *path, const void *bytes, size_t num_bytes) {
    if (path == NULL || (bytes == NULL && num_bytes > 0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path or bytes is NULL");
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    EQF__TRY(eqf__file_write(ctx, &writer, bytes, num_bytes));
    return eqf__file_commit(ctx, &writer);
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static eqf_status fail_read(eqf_context *ctx, const char *path, int error) {
    char reason[128] = "unknown reason";
    strerror_r(error, reason, sizeof reason);
    if (error == ENOENT || error == ENOTDIR)
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot read %s: there is no such file: check the path", path);
    if (error == EACCES || error == EPERM)
        return eqf__fail(ctx, EQF_ERROR_IO, "cannot read %s: no permission to read it", path);
    return eqf__fail(ctx, EQF_ERROR_IO, "cannot read %s: %s", path, reason);
}

/* Up to capacity bytes of fd; fewer only at the file's end. */
static eqf_status read_all(eqf_context *ctx, const char *path, int fd, unsigned char *bytes, size_t capacity,
                           size_t *num_read_out) {
    size_t num_read = 0;
    while (num_read < capacity) {
        ssize_t step = read(fd, bytes + num_read, capacity - num_read);
        if (step < 0 && errno == EINTR) continue;
        if (step < 0) return fail_read(ctx, path, errno);
        if (step == 0) break;
        num_read += (size_t)step;
    }
    *num_read_out = num_read;
    return EQF_OK;
}

/* A descriptor of path, which must be a regular file, and its length. */
static eqf_status open_file(eqf_context *ctx, const char *path, int *fd_out, size_t *num_bytes_out) {
    /* O_NONBLOCK: opening a pipe must not wait for its other end before it is refused below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_read(ctx, path, errno);
    eqf_status status = EQF_OK;
    struct stat about;
    if (fstat(fd, &about) != 0) {
        status = fail_read(ctx, path, errno);
    } else if (S_ISDIR(about.st_mode)) {
        status = eqf__fail(ctx, EQF_ERROR_IO, "cannot read %s: it is a folder: give a file in it", path);
    } else if (!S_ISREG(about.st_mode)) {
        status = eqf__fail(ctx, EQF_ERROR_IO, "cannot read %s: it is a device or a pipe: give a file", path);
    } else if ((uintmax_t)about.st_size >= SIZE_MAX) {
        status = eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "%s is too large for this machine's memory", path);
    }
    if (status != EQF_OK) {
        close(fd);
        return status;
    }
    *fd_out = fd;
    *num_bytes_out = (size_t)about.st_size;
    return EQF_OK;
}

eqf_status eqf__file_read_start(eqf_context *ctx, const char *path, size_t capacity, unsigned char *bytes_out,
                                size_t *num_read_out, size_t *num_bytes_out) {
    int fd;
    *num_read_out = *num_bytes_out = 0;
    EQF__TRY(open_file(ctx, path, &fd, num_bytes_out));
    eqf_status status = read_all(ctx, path, fd, bytes_out, capacity, num_read_out);
    close(fd);
    return status;
}

eqf_status eqf__file_read(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out) {
    *bytes_out = NULL;
    *num_bytes_out = 0;
    int fd;
    size_t num_bytes, num_read = 0;
    EQF__TRY(open_file(ctx, path, &fd, &num_bytes));
    eqf_status status;
    unsigned char *bytes = malloc(num_bytes + 1);
    if (bytes == NULL)
        status = eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory to read %s (%zu bytes)", path, num_bytes);
    else /* one byte more than there should be, so that a file that grows meanwhile is noticed */
        status = read_all(ctx, path, fd, bytes, num_bytes + 1, &num_read);
    if (status == EQF_OK && num_read != num_bytes)
        status = eqf__fail(ctx, EQF_ERROR_IO, "%s changed while it was read: wait until it is complete", path);
    close(fd);
    if (status != EQF_OK) {
        free(bytes);
        return status;
    }
    bytes[num_read] = '\0';
    *bytes_out = bytes;
    *num_bytes_out = num_read;
    return EQF_OK;
}

bool eqf__folder_create(const char *path) {
    char partial[1200];
    size_t length = strlen(path);
    if (length >= sizeof partial) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(partial, path, length + 1);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST) return false;
        *slash = '/';
    }
    return mkdir(partial, 0700) == 0 || errno == EEXIST;
}
