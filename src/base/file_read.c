/* Reading files, and checks of who owns them. */
/* the strerror_r that returns int */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

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
    /* O_NONBLOCK: opening a pipe, which is refused below, must not wait for its other end. */
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
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

/* Reads all num_bytes of fd into new memory, and closes fd. */
static eqf_status read_whole(eqf_context *ctx, const char *path, int fd, size_t num_bytes, unsigned char **bytes_out,
                             size_t *num_bytes_out) {
    size_t num_read = 0;
    eqf_status status;
    unsigned char *bytes = malloc(num_bytes + 1);
    if (bytes == NULL)
        status = eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory to read %s (%zu bytes)", path, num_bytes);
    else /* one byte more than expected, to find a file that grows meanwhile */
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

eqf_status eqf__file_read(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out) {
    *bytes_out = NULL;
    *num_bytes_out = 0;
    int fd;
    size_t num_bytes;
    EQF__TRY(open_file(ctx, path, &fd, &num_bytes));
    return read_whole(ctx, path, fd, num_bytes, bytes_out, num_bytes_out);
}

/* ---- Folders that belong to this user ------------------------------------------------------------------------ */

/* Why an open file or folder does not belong to this user alone, or NULL. */
static const char *reason_not_own(const struct stat *about) {
    if (about->st_uid != geteuid()) return "it belongs to another user";
    return (about->st_mode & (S_IWGRP | S_IWOTH)) != 0 ? "other users may write to it" : NULL;
}

/* A descriptor of the folder; -1 if it does not exist (*reason_out NULL) or does not belong to this user alone
 * (*reason_out says why). */
static int open_own_folder(const char *path, const char **reason_out) {
    struct stat about;
    *reason_out = NULL;
    int fd;
    do fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        if (errno == ENOENT) return -1;
        const bool is_link = lstat(path, &about) == 0 && S_ISLNK(about.st_mode);
        *reason_out = is_link ? "it is a link" : errno == ENOTDIR ? "it is no folder" : "it cannot be opened";
        return -1;
    }
    *reason_out = fstat(fd, &about) != 0 ? "it cannot be looked at" : reason_not_own(&about);
    if (*reason_out == NULL) return fd;
    close(fd);
    return -1;
}

bool eqf__folder_is_own(const char *path, const char **reason_out) {
    const int fd = open_own_folder(path, reason_out);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

eqf_status eqf__own_file_read(eqf_context *ctx, const char *folder, const char *name, unsigned char **bytes_out,
                              size_t *num_bytes_out) {
    *bytes_out = NULL;
    *num_bytes_out = 0;
    const char *reason;
    const int folder_fd = open_own_folder(folder, &reason);
    if (folder_fd < 0)
        return eqf__fail(ctx, EQF_ERROR_IO, "%s is not read: %s", folder, reason != NULL ? reason : "it is not there");
    int fd;
    do fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    while (fd < 0 && errno == EINTR);
    const int error = errno;
    close(folder_fd);
    if (fd < 0) return fail_read(ctx, name, error);
    struct stat about;
    if (fstat(fd, &about) != 0)
        reason = "it cannot be looked at";
    else if (!S_ISREG(about.st_mode) || (uintmax_t)about.st_size >= SIZE_MAX)
        reason = "it is no file";
    else
        reason = reason_not_own(&about);
    if (reason == NULL) return read_whole(ctx, name, fd, (size_t)about.st_size, bytes_out, num_bytes_out);
    close(fd);
    eqf__log(ctx, EQF_LOG_WARNING, "%s/%s is not used: %s", folder, name, reason);
    return eqf__fail(ctx, EQF_ERROR_IO, "%s/%s is not read: %s", folder, name, reason);
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
