#define _DEFAULT_SOURCE /* flock */
#include "leftover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_NAMES = 4096 };
static const char prefix[] = ".eqflow-", suffix[] = ".tmp";

void eqf__leftover_name(unsigned attempt, char name[EQF__LEFTOVER_NAME_BYTES]) {
    snprintf(name, EQF__LEFTOVER_NAME_BYTES, "%s%ld-%u%s", prefix, (long)getpid(), attempt, suffix);
}

void eqf__leftover_claim(int fd) {
    const int error = errno;
    (void)flock(fd, LOCK_EX | LOCK_NB); /* on file systems without locks only the process's number is left */
    errno = error;
}

/* The process number in a name; 0: not a temporary name of eqflow. */
static pid_t process_of(const char *name) {
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return 0;
    const char *digits = name + sizeof prefix - 1;
    char *end;
    const long process = strtol(digits, &end, 10);
    if (*digits < '1' || *digits > '9' || process != (long)(pid_t)process || *end != '-') return 0;
    digits = end + 1;
    const size_t length = strspn(digits, "0123456789");
    return length > 0 && strcmp(digits + length, suffix) == 0 ? (pid_t)process : 0;
}

static bool is_running(pid_t process) {
    return kill(process, 0) == 0 || errno != ESRCH;
}

static void remove_if_unclaimed(int folder, const char *name) {
    struct stat about;
    const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(folder, name, 0);
    close(fd);
}

void eqf__leftover_remove(const char *folder) {
    const int error = errno;
    DIR *directory = opendir(folder);
    unsigned num_names = 0;
    for (struct dirent *entry; directory != NULL && num_names < MOST_NAMES && (entry = readdir(directory)) != NULL;
         num_names++) {
        const pid_t process = process_of(entry->d_name);
        if (process != 0 && !is_running(process)) remove_if_unclaimed(dirfd(directory), entry->d_name);
    }
    if (directory != NULL) closedir(directory);
    errno = error;
}
