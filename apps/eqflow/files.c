#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "eqflow/array.h"

/* The folder of path, "." if it names none; the caller frees it. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    size_t length = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = malloc(length + 1);
    if (!folder) return NULL;
    memcpy(folder, slash ? path : ".", length);
    folder[length] = '\0';
    return folder;
}

/* The file to which path leads after all links, also if it does not exist yet. The caller frees it; NULL: the links
 * lead nowhere, or there is no memory. */
static char *follow_links(const char *path) {
    enum { MAX_LINKS = 40 };
    char *current = strdup(path);
    for (int link = 0; current && link < MAX_LINKS; link++) {
        char target[4096];
        const ssize_t length = readlink(current, target, sizeof target - 1);
        if (length < 0) return current;
        target[length] = '\0';
        char *folder = target[0] == '/' ? strdup("") : folder_of(current);
        const size_t size = (folder ? strlen(folder) : 0) + (size_t)length + 2;
        char *next = folder ? malloc(size) : NULL;
        if (next) snprintf(next, size, "%s%s%s", folder, target[0] == '/' ? "" : "/", target);
        free(folder);
        free(current);
        current = next;
    }
    free(current);
    return NULL;
}

/* A new empty file in folder: its descriptor, or -1 and errno; *name_out is the caller's. Its name is short, however
 * long that of the final file is. */
static int create_in(const char *folder, char **name_out) {
    static const char last_name[] = "/.eqflow-XXXXXX";
    size_t size = strlen(folder) + sizeof last_name;
    char *name = malloc(size);
    *name_out = name;
    if (!name) return -1;
    int descriptor;
    do {
        snprintf(name, size, "%s%s", folder, last_name);
        descriptor = mkstemp(name);
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) {
        int reason = errno;
        free(name);
        *name_out = NULL;
        errno = reason;
    }
    return descriptor;
}

static exit_code fail_write(cli_app *app, const char *path, const char *folder, int reason) {
    struct stat status;
    if ((reason == ENOENT || reason == ENOTDIR) && (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode))) {
        return app_fail(app, EXIT_CODE_OUTPUT, "cannot write %s: there is no folder %s; make it first", path, folder);
    }
    if (reason == EACCES || reason == EPERM || reason == EROFS || reason == ENOENT) { /* ENOENT: /proc and the like */
        return app_fail(app, EXIT_CODE_OUTPUT, "cannot write %s: the folder %s is not writable (%s); choose another",
                        path, folder, strerror(reason));
    }
    if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG) {
        return app_fail(app, EXIT_CODE_OUTPUT, "cannot write %s: %s; free some space", path, strerror(reason));
    }
    return app_fail(app, EXIT_CODE_OUTPUT, "cannot write %s: %s", path, strerror(reason));
}

exit_code files_check_writable(cli_app *app, const char *path, const char *what) {
    if (!path || !app_is_first(app)) return EXIT_CODE_OK;
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return app_fail(app, EXIT_CODE_OUTPUT, "cannot write %s to %s: it is %s, not a regular file", what, path,
                        S_ISDIR(status.st_mode) ? "a folder" : "a device or a pipe");
    }
    char *file = follow_links(path), *folder = file ? folder_of(file) : NULL, *name = NULL;
    const char *slash = file ? strrchr(file, '/') : NULL;
    errno = file ? ENOMEM : ELOOP;
    int descriptor = folder ? create_in(folder, &name) : -1;
    exit_code code = EXIT_CODE_OK;
    if (descriptor < 0) {
        code = fail_write(app, path, folder ? folder : "", errno);
    } else if (file && strlen(slash ? slash + 1 : file) > NAME_MAX) {
        close(descriptor);
        unlink(name);
        code = fail_write(app, path, folder, ENAMETOOLONG);
    } else {
        close(descriptor);
        unlink(name);
    }
    free(name);
    free(folder);
    free(file);
    return code;
}

/* Whether two files that do not exist yet, and are not links, are the same. */
static bool is_one_new_file(const char *a, const char *b) {
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    if (strcmp(slash_a ? slash_a + 1 : a, slash_b ? slash_b + 1 : b) != 0) return false;
    struct stat status_a, status_b;
    char *folder_a = folder_of(a), *folder_b = folder_of(b);
    const bool has_folders = folder_a && folder_b && stat(folder_a, &status_a) == 0 && stat(folder_b, &status_b) == 0;
    free(folder_a);
    free(folder_b);
    if (!has_folders) return strcmp(a, b) == 0;
    return status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

bool files_is_one(const char *a, const char *b) {
    struct stat status_a, status_b;
    const bool has_a = stat(a, &status_a) == 0, has_b = stat(b, &status_b) == 0;
    if (has_a != has_b) return false;
    if (!has_a) {
        char *file_a = follow_links(a), *file_b = follow_links(b);
        const bool is_one = file_a && file_b && is_one_new_file(file_a, file_b);
        free(file_a);
        free(file_b);
        return is_one;
    }
    return status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

/* The extension of another format in the name of a file that is written, or NULL. */
static const char *foreign_extension(const files_use *use) {
    static const char *const of_numpy[] = {".xyz", ".csv",         ".json", ".html", ".txt",
                                           ".npz", ".safetensors", ".pdb",  NULL};
    static const char *const of_others[] = {".npy", ".npz", NULL};
    const char *const *others = use->role == FILES_NUMPY ? of_numpy : of_others, *dot = strrchr(use->path, '.');
    for (size_t i = 0; use->role != FILES_OF_EITHER && dot && others[i]; i++)
        if (strcasecmp(dot, others[i]) == 0) return others[i];
    return NULL;
}

/* Checks the name of a file that is written. */
static exit_code check_name(cli_app *app, const files_use *use) {
    if (strcmp(use->path, "-") == 0)
        return app_fail(app, EXIT_CODE_USAGE, "%s -: results go into files, not to stdout; a file of that name is ./-",
                        use->option);
    if (!foreign_extension(use)) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE, "%s %s: what is written there is %s", use->option, use->path,
                    use->role == FILES_NUMPY ? "a NumPy array: name it .npy" : "no NumPy array: give it another name");
}

/* An error if use i, a file that is written, is the file of another use. */
static exit_code check_others(cli_app *app, size_t num, const files_use uses[], size_t i) {
    for (size_t j = 0; j < num; j++) {
        if (i == j || !uses[j].path || (uses[j].role != FILES_READ && j < i) ||
            !files_is_one(uses[i].path, uses[j].path))
            continue;
        if (uses[j].role != FILES_READ)
            return app_fail(app, EXIT_CODE_USAGE, "%s and %s name one file, %s: each needs its own", uses[i].option,
                            uses[j].option, uses[i].path);
        return app_fail(app, EXIT_CODE_USAGE, "%s %s would overwrite %s %s: choose another name", uses[i].option,
                        uses[i].path, uses[j].option, uses[j].path);
    }
    return EXIT_CODE_OK;
}

exit_code files_check_distinct(cli_app *app, size_t num, const files_use uses[]) {
    exit_code code = EXIT_CODE_OK;
    for (size_t i = 0; i < num && code == EXIT_CODE_OK; i++) {
        if (!uses[i].path || uses[i].role == FILES_READ) continue;
        code = check_others(app, num, uses, i);
        if (code == EXIT_CODE_OK) code = check_name(app, &uses[i]);
    }
    return code;
}

exit_code files_write(cli_app *app, const char *path, const char *text, size_t size) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    eqf_status status = eqf_file_write(app->ctx, path, text, size);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

/* The lock is an abstract socket name (unix(7), Linux) made from the file's folder and name: it disappears with the
 * process, however that ends, and leaves no file. On other systems, and without a socket, nothing is locked. */
exit_code files_lock(cli_app *app, const char *path, const char *what) {
#ifdef __linux__
    if (!path || !app_is_first(app)) return EXIT_CODE_OK;
    struct stat about;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *file = follow_links(path), *folder = file ? folder_of(file) : NULL;
    const char *slash = file ? strrchr(file, '/') : NULL;
    const bool has_folder = folder && stat(folder, &about) == 0;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = file ? (slash ? slash + 1 : file) : ""; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    free(folder);
    free(file);
    const int descriptor = has_folder ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (descriptor < 0) return EXIT_CODE_OK;
    const int length =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "eqflow-%llx-%llx-%llx",
                 (unsigned long long)about.st_dev, (unsigned long long)about.st_ino, (unsigned long long)hash);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    if (bind(descriptor, (const struct sockaddr *)&address, size) == 0)
        return EXIT_CODE_OK; /* the descriptor stays open until the process ends */
    const bool is_taken = errno == EADDRINUSE;
    close(descriptor);
    if (is_taken) {
        return app_fail(app, EXIT_CODE_OUTPUT,
                        "another eqflow is writing %s %s now: wait for its end, or choose another name", what, path);
    }
#else
    (void)app, (void)path, (void)what;
#endif
    return EXIT_CODE_OK;
}

bool files_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

char *files_with_extension(const char *path, const char *extension) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t length = dot && dot > (slash ? slash + 1 : path) ? (size_t)(dot - path) : strlen(path);
    char *result = malloc(length + strlen(extension) + 1);
    if (!result) return NULL;
    memcpy(result, path, length);
    strcpy(result + length, extension);
    return result;
}
