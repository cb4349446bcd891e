#define _XOPEN_SOURCE 700 /* mkdtemp */

#include "test_files.h"

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[512];
static const char prefix[] = "eqflow-test-";

static void remove_folder(const char *path) {
    DIR *stream = opendir(path);
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream != NULL) closedir(stream);
    rmdir(path);
}

/* Folders of tests of this user that were killed. */
static void remove_those_of_the_dead(const char *base) {
    DIR *stream = opendir(base);
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0) continue;
        char *end, path[1024];
        const long process = strtol(entry->d_name + sizeof prefix - 1, &end, 10);
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        if (process > 0 && *end == '-' && kill((pid_t)process, 0) != 0 && errno == ESRCH && lstat(path, &about) == 0 &&
            S_ISDIR(about.st_mode) && about.st_uid == geteuid())
            remove_folder(path);
    }
    if (stream != NULL) closedir(stream);
}

const char *test_folder(void) {
    if (folder[0] != '\0') return folder;
    const char *base = getenv("TMPDIR");
    if (base == NULL || *base == '\0') base = "/tmp";
    remove_those_of_the_dead(base);
    snprintf(folder, sizeof folder, "%s/%s%ld-XXXXXX", base, prefix, (long)getpid());
    assert_non_null(mkdtemp(folder));
    return folder;
}

const char *test_path(const char *name) {
    static char paths[16][1024];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

/* Calls remove_name for each file and counts them. */
static size_t visit_files(int (*remove_name)(const char *path)) {
    size_t num_files = 0;
    DIR *stream = opendir(test_folder());
    assert_non_null(stream);
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        num_files++;
        if (remove_name != NULL) remove_name(test_path(entry->d_name));
    }
    closedir(stream);
    return num_files;
}

size_t test_folder_num_files(void) {
    return visit_files(NULL);
}

int test_folder_teardown(void **state) {
    (void)state;
    if (folder[0] == '\0') return 0;
    visit_files(remove);
    int result = rmdir(folder);
    folder[0] = '\0';
    return result;
}

int test_folders_teardown(void **state) {
    return test_folder_teardown(state) | test_context_teardown(state);
}

void test_write_bytes(const char *path, const void *bytes, size_t num_bytes) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    if (num_bytes > 0) assert_int_equal(fwrite(bytes, 1, num_bytes, stream), num_bytes);
    assert_int_equal(fclose(stream), 0);
}

unsigned char *test_read_bytes(const char *path, size_t *num_bytes_out) {
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) fail_msg("%s is not there", path);
    unsigned char *bytes = NULL;
    size_t num_bytes = 0, step;
    do {
        bytes = realloc(bytes, num_bytes + 4097);
        assert_non_null(bytes);
        step = fread(bytes + num_bytes, 1, 4096, stream);
        num_bytes += step;
    } while (step > 0);
    fclose(stream);
    bytes[num_bytes] = '\0';
    *num_bytes_out = num_bytes;
    return bytes;
}

void test_expect(eqf_context *ctx, eqf_status status, eqf_status expected, const char *needle, const char *file,
                 int line) {
    const char *message = status == EQF_OK ? "" : eqf_context_error(ctx);
    bool is_line = status == EQF_OK || (*message != '\0' && strchr(message, '\n') == NULL);
    if (status == expected && is_line && strstr(message, needle) != NULL) return;
    fail_msg("%s:%d: %s with message \"%s\", expected %s with \"%s\"", file, line, eqf_status_name(status), message,
             eqf_status_name(expected), needle);
}
