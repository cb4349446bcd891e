#define _GNU_SOURCE /* O_TMPFILE */
#include "unnamed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The file's path in /proc, which linkat takes to give it a name; linkat's AT_EMPTY_PATH would need a privilege. */
static void name_in_proc(int fd, char name[64]) {
    snprintf(name, 64, "/proc/self/fd/%d", fd);
}

int eqf__unnamed_open(const char *folder) {
#ifdef O_TMPFILE
    char name[64];
    int fd;
    do fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return -1;
    name_in_proc(fd, name);
    if (access(name, F_OK) == 0) return fd;
    close(fd); /* without /proc it could not get a name */
#else
    (void)folder;
#endif
    return -1;
}

bool eqf__unnamed_link(int fd, const char *path) {
    char name[64];
    name_in_proc(fd, name);
    return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
}
