/* Files appear whole or not at all, and every way to fail is said in one line. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE /* flock */

#include "test_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base.h"

static eqf_context ctx; /* files need no device */

static void write_file(const char *path, const char *text) {
    eqf__file_writer writer;
    assert_int_equal(eqf__file_begin(&ctx, path, &writer), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &writer, text, strlen(text)), EQF_OK);
    assert_int_equal(eqf__file_commit(&ctx, &writer), EQF_OK);
    eqf__file_abandon(&writer); /* harmless after commit */
}

static void assert_content(const char *path, const char *text) {
    unsigned char *bytes;
    size_t num_bytes;
    assert_int_equal(eqf__file_read(&ctx, path, &bytes, &num_bytes), EQF_OK);
    assert_int_equal(num_bytes, strlen(text));
    assert_string_equal((const char *)bytes, text); /* also: NUL beyond the end */
    free(bytes);
}

static void test_round_trip(void **state) {
    (void)state;
    const char *path = test_path("a.txt");
    size_t num_before = test_folder_num_files();
    write_file(path, "first");
    assert_content(path, "first");
    write_file(path, "second, longer");
    assert_content(path, "second, longer");
    write_file(path, "");
    assert_content(path, "");
    assert_int_equal(test_folder_num_files(), num_before + 1); /* no temporary file stays */
}

static void test_old_file_stays_until_commit(void **state) {
    (void)state;
    const char *path = test_path("old.txt");
    write_file(path, "old");
    size_t num_before = test_folder_num_files();
    eqf__file_writer writer;
    assert_int_equal(eqf__file_begin(&ctx, path, &writer), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &writer, "new", 3), EQF_OK);
    assert_int_equal(fflush(writer.stream), 0);
    assert_content(path, "old");
    if (!writer.is_unnamed)
        assert_int_equal(test_folder_num_files(), num_before + 1); /* the temporary file is beside it */
    eqf__file_abandon(&writer);
    assert_content(path, "old");
    assert_int_equal(test_folder_num_files(), num_before);
    TEST_EXPECT(&ctx, eqf__file_write(&ctx, &writer, "x", 1), EQF_ERROR_IO, "no file is open");
    TEST_EXPECT(&ctx, eqf__file_commit(&ctx, &writer), EQF_ERROR_IO, "no file is open");
}

/* What a killed process leaves behind must not stop the next one, even one with the same process number. */
static void test_left_over_temporary(void **state) {
    (void)state;
    char name[64];
    for (unsigned n = 0; n < 3; n++) {
        snprintf(name, sizeof name, ".eqflow-%ld-%u.tmp", (long)getpid(), n);
        test_write_bytes(test_path(name), "junk", 4);
    }
    write_file(test_path("b.txt"), "fine");
    assert_content(test_path("b.txt"), "fine");
    snprintf(name, sizeof name, ".eqflow-%ld-0.tmp", (long)getpid());
    assert_content(test_path(name), "junk"); /* nor is it taken over */
}

static void test_two_writers(void **state) {
    (void)state;
    eqf__file_writer a, b;
    const char *path = test_path("both.txt");
    assert_int_equal(eqf__file_begin(&ctx, path, &a), EQF_OK);
    assert_int_equal(eqf__file_begin(&ctx, path, &b), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &a, "aaaa", 4), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &b, "b", 1), EQF_OK);
    assert_int_equal(eqf__file_commit(&ctx, &a), EQF_OK);
    assert_content(path, "aaaa");
    assert_int_equal(eqf__file_commit(&ctx, &b), EQF_OK);
    assert_content(path, "b");
}

static void test_permissions_and_links(void **state) {
    (void)state;
    const char *path = test_path("mode.txt"), *link_path = test_path("link.txt");
    write_file(path, "x");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink(path, link_path), 0);
    write_file(link_path, "through the link");
    assert_content(path, "through the link");
    struct stat about;
    assert_int_equal(lstat(link_path, &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
}

/* A link to a file that is yet to be made is followed too, over several links, relative to where each one stands. */
static void test_dangling_links(void **state) {
    (void)state;
    const char *target = test_path("target.txt");
    assert_int_equal(mkdir(test_path("sub"), 0700), 0);
    assert_int_equal(symlink("../target.txt", test_path("sub/one")), 0);
    assert_int_equal(symlink("sub/one", test_path("two")), 0);
    write_file(test_path("two"), "through two links");
    assert_content(target, "through two links");
    struct stat about;
    assert_int_equal(lstat(test_path("two"), &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(unlink(target), 0);
    assert_int_equal(symlink(target, test_path("three")), 0);
    write_file(test_path("three"), "an absolute link");
    assert_content(target, "an absolute link");
    assert_int_equal(symlink("circle", test_path("circle")), 0);
    eqf__file_writer writer;
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_path("circle"), &writer), EQF_ERROR_IO, "its links lead nowhere");
    assert_int_equal(symlink("nowhere/x", test_path("four")), 0);
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_path("four"), &writer), EQF_ERROR_IO, "nowhere does not exist");
    assert_int_equal(unlink(test_path("sub/one")), 0);
    assert_int_equal(rmdir(test_path("sub")), 0);
}

/* A process that is killed while it writes leaves nothing behind where files can do without a name. */
static void test_killed_writer(void **state) {
    (void)state;
    const size_t num_before = test_folder_num_files();
    eqf__file_writer probe;
    assert_int_equal(eqf__file_begin(&ctx, test_path("probe"), &probe), EQF_OK);
    const bool is_unnamed = probe.is_unnamed;
    eqf__file_abandon(&probe);
    if (!is_unnamed) skip();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        eqf__file_writer writer;
        if (eqf__file_begin(&ctx, test_path("killed.txt"), &writer) == EQF_OK)
            eqf__file_write(&ctx, &writer, "half", 4);
        fflush(writer.stream);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(test_folder_num_files(), num_before);
}

/* What a killed process left under a name of its own goes with the next file that is written there; what belongs to
 * one that runs, here or (it is claimed) elsewhere, stays. */
static void test_left_by_the_dead(void **state) {
    (void)state;
    char dead[64], claimed[64], parent[64];
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, &status, 0), child);
    snprintf(dead, sizeof dead, ".eqflow-%ld-0.tmp", (long)child);
    snprintf(claimed, sizeof claimed, ".eqflow-%ld-1.tmp", (long)child);
    snprintf(parent, sizeof parent, ".eqflow-%ld-0.tmp", (long)getppid());
    const pid_t holder = fork();
    assert_true(holder >= 0);
    if (holder == 0) { /* holds the second until it is killed */
        const int fd = open(test_path(claimed), O_WRONLY | O_CREAT, 0666);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(pipes[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(close(pipes[1]), 0);
    char byte;
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    test_write_bytes(test_path(dead), "half", 4);
    test_write_bytes(test_path(parent), "half", 4);
    test_write_bytes(test_path(".eqflow-1x-0.tmp"), "other", 5);
    test_write_bytes(test_path(".eqflow-99999999999-0.tmp"), "other", 5);
    write_file(test_path("next.txt"), "next");
    assert_int_not_equal(access(test_path(dead), F_OK), 0);
    assert_int_equal(access(test_path(claimed), F_OK), 0);
    assert_int_equal(access(test_path(parent), F_OK), 0);
    assert_int_equal(access(test_path(".eqflow-1x-0.tmp"), F_OK), 0);
    assert_int_equal(access(test_path(".eqflow-99999999999-0.tmp"), F_OK), 0);
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, &status, 0), holder);
    write_file(test_path("next.txt"), "next");
    assert_int_not_equal(access(test_path(claimed), F_OK), 0);
    assert_int_equal(close(pipes[0]), 0);
    assert_int_equal(unlink(test_path(parent)), 0);
}

static eqf_status read_own(const char *folder, const char *name) {
    unsigned char *bytes;
    size_t num_bytes;
    const eqf_status status = eqf__own_file_read(&ctx, folder, name, &bytes, &num_bytes);
    free(bytes);
    return status;
}

/* What is run as code is read only if nobody else can have written it. */
static void test_own_files(void **state) {
    (void)state;
    const char *folder = test_path("own"), *path = test_path("own/x"), *reason;
    assert_false(eqf__folder_is_own(folder, &reason));
    assert_null(reason);
    assert_true(eqf__folder_create(folder));
    write_file(path, "code");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(read_own(folder, "x"), EQF_OK);
    assert_int_equal(chmod(path, 0664), 0);
    TEST_EXPECT(&ctx, read_own(folder, "x"), EQF_ERROR_IO, "other users may write to it");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(symlink("x", test_path("own/y")), 0);
    assert_int_not_equal(read_own(folder, "y"), EQF_OK);
    assert_int_equal(chmod(folder, 0770), 0);
    TEST_EXPECT(&ctx, read_own(folder, "x"), EQF_ERROR_IO, "other users may write to it");
    assert_false(eqf__folder_is_own(folder, &reason));
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(read_own(folder, "x"), EQF_OK);
    const char *link_path = test_path("link_to_own");
    assert_int_equal(symlink("own", link_path), 0);
    TEST_EXPECT(&ctx, read_own(link_path, "x"), EQF_ERROR_IO, "it is a link");
    if (geteuid() == 0) { /* only root can give away */
        assert_int_equal(chown(path, 12345, 12345), 0);
        TEST_EXPECT(&ctx, read_own(folder, "x"), EQF_ERROR_IO, "belongs to another user");
        assert_int_equal(chown(path, 0, 0), 0);
        assert_int_equal(chown(folder, 12345, 12345), 0);
        TEST_EXPECT(&ctx, read_own(folder, "x"), EQF_ERROR_IO, "belongs to another user");
        assert_int_equal(chown(folder, 0, 0), 0);
    }
    assert_int_equal(unlink(test_path("own/y")), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_longest_name(void **state) {
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    write_file(test_path(name), "x");
    assert_content(test_path(name), "x");
}

static void test_begin_errors(void **state) {
    (void)state;
    eqf__file_writer writer;
    write_file(test_path("plain"), "x");
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_path("none/a.npy"), &writer), EQF_ERROR_IO,
                "does not exist: create it");
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_path("plain/a.npy"), &writer), EQF_ERROR_IO, "is not a folder");
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_folder(), &writer), EQF_ERROR_IO, "it is a folder: add a file name");
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, test_path("new/"), &writer), EQF_ERROR_IO,
                "it is a folder: add a file name");
    TEST_EXPECT(&ctx, eqf__file_begin(&ctx, "", &writer), EQF_ERROR_IO, "the file name is empty");
    assert_null(writer.stream);
    assert_int_equal(eqf__file_begin(NULL, test_path("none/a.npy"), &writer), EQF_ERROR_IO); /* no context: no crash */
}

static void test_not_writable(void **state) {
    (void)state;
    const char *closed = test_path("closed"), *file = test_path("closed/a.npy"),
               *protected_file = test_path("protected");
    assert_int_equal(mkdir(closed, 0755), 0);
    write_file(protected_file, "mine");
    assert_int_equal(chmod(protected_file, 0444), 0);
    assert_int_equal(chmod(closed, 0555), 0);
    assert_int_equal(chmod(test_folder(), 0755), 0);
    /* root may write everywhere: be nobody for a moment */
    bool was_root = geteuid() == 0;
    if (was_root) assert_int_equal(seteuid(65534), 0);
    eqf__file_writer writer;
    eqf_status folder_status = eqf__file_begin(&ctx, file, &writer);
    char folder_message[1024];
    snprintf(folder_message, sizeof folder_message, "%s", eqf_context_error(&ctx));
    eqf__file_abandon(&writer);
    eqf_status file_status = eqf__file_begin(&ctx, protected_file, &writer);
    eqf__file_abandon(&writer);
    if (was_root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(folder_status, EQF_ERROR_IO);
    assert_non_null(strstr(folder_message, "is not writable"));
    TEST_EXPECT(&ctx, file_status, EQF_ERROR_IO, "the file is write-protected");
    assert_content(protected_file, "mine");
}

/* /dev/full takes everything into its buffer and then refuses: only a checked flush or close notices. */
static void test_device_full(void **state) {
    (void)state;
    struct stat about;
    if (stat("/dev/full", &about) != 0 || !S_ISCHR(about.st_mode)) skip();
    eqf__file_writer writer;
    assert_int_equal(eqf__file_begin(&ctx, "/dev/full", &writer), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &writer, "short", 5), EQF_OK);
    TEST_EXPECT(&ctx, eqf__file_commit(&ctx, &writer), EQF_ERROR_IO, "is full");
    char block[1 << 16] = {0};
    assert_int_equal(eqf__file_begin(&ctx, "/dev/full", &writer), EQF_OK);
    TEST_EXPECT(&ctx, eqf__file_write(&ctx, &writer, block, sizeof block), EQF_ERROR_IO, "is full");
    assert_null(writer.stream); /* given up: nothing to close */
    assert_int_equal(stat("/dev/full", &about), 0);
    assert_true(S_ISCHR(about.st_mode)); /* not replaced by a file */
}

/* A full disk in an ordinary folder, by a limit on the size of files. */
static void test_disk_full(void **state) {
    (void)state;
    const char *path = test_path("kept.txt");
    write_file(path, "kept");
    size_t num_before = test_folder_num_files();
    struct rlimit limit, old_limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
    void (*old_handler)(int) = signal(SIGXFSZ, SIG_IGN);
    limit = old_limit;
    limit.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char block[2000] = {0};
    eqf__file_writer writer;
    eqf_status begun = eqf__file_begin(&ctx, path, &writer);
    eqf_status written = eqf__file_write(&ctx, &writer, block, sizeof block); /* fits stdio's buffer */
    eqf_status committed = eqf__file_commit(&ctx, &writer);
    setrlimit(RLIMIT_FSIZE, &old_limit);
    signal(SIGXFSZ, old_handler);
    assert_int_equal(begun, EQF_OK);
    assert_int_equal(written, EQF_OK);
    TEST_EXPECT(&ctx, committed, EQF_ERROR_IO, "nothing was overwritten");
    assert_content(path, "kept");
    assert_int_equal(test_folder_num_files(), num_before);
}

static void test_rename_fails(void **state) {
    (void)state;
    const char *path = test_path("late");
    size_t num_before = test_folder_num_files();
    eqf__file_writer writer;
    assert_int_equal(eqf__file_begin(&ctx, path, &writer), EQF_OK);
    assert_int_equal(eqf__file_write(&ctx, &writer, "x", 1), EQF_OK);
    assert_int_equal(mkdir(path, 0755), 0); /* a folder of that name appears meanwhile */
    TEST_EXPECT(&ctx, eqf__file_commit(&ctx, &writer), EQF_ERROR_IO, "cannot write");
    assert_int_equal(test_folder_num_files(), num_before + 1);
}

static void test_read_errors(void **state) {
    (void)state;
    unsigned char *bytes = (unsigned char *)"";
    size_t num_bytes = 7;
    TEST_EXPECT(&ctx, eqf__file_read(&ctx, test_path("absent"), &bytes, &num_bytes), EQF_ERROR_IO, "no such file");
    assert_null(bytes);
    assert_int_equal(num_bytes, 0);
    TEST_EXPECT(&ctx, eqf__file_read(&ctx, test_folder(), &bytes, &num_bytes), EQF_ERROR_IO, "it is a folder");
    TEST_EXPECT(&ctx, eqf__file_read(&ctx, "/dev/zero", &bytes, &num_bytes), EQF_ERROR_IO, "a device or a pipe");
    assert_int_equal(mkfifo(test_path("pipe"), 0600), 0);
    TEST_EXPECT(&ctx, eqf__file_read(&ctx, test_path("pipe"), &bytes, &num_bytes), EQF_ERROR_IO, "a device or a pipe");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_old_file_stays_until_commit),
        cmocka_unit_test(test_left_over_temporary),
        cmocka_unit_test(test_dangling_links),
        cmocka_unit_test(test_killed_writer),
        cmocka_unit_test(test_left_by_the_dead),
        cmocka_unit_test(test_own_files),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_permissions_and_links),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_begin_errors),
        cmocka_unit_test(test_not_writable),
        cmocka_unit_test(test_device_full),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_rename_fails),
        cmocka_unit_test(test_read_errors),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
