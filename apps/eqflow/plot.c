#include "plot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A file without a name, which disappears with its descriptor. -1 if none can be made. */
static int open_temporary(void) {
    const char *folder = getenv("TMPDIR");
    char name[512];
    int length = snprintf(name, sizeof name, "%s/eqflow-plot-XXXXXX", folder && folder[0] ? folder : "/tmp");
    if (length < 0 || (size_t)length >= sizeof name) return -1;
    int descriptor = mkstemp(name);
    if (descriptor >= 0) unlink(name);
    return descriptor;
}

static bool write_whole(int descriptor, const char *text, size_t size) {
    while (size > 0) {
        ssize_t written = write(descriptor, text, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text += written;
        size -= (size_t)written;
    }
    return lseek(descriptor, 0, SEEK_SET) == 0;
}

static char *read_whole(int descriptor) {
    off_t size = lseek(descriptor, 0, SEEK_END);
    if (size <= 0 || lseek(descriptor, 0, SEEK_SET) != 0) return NULL;
    char *text = malloc((size_t)size + 1);
    size_t length = 0;
    while (text && length < (size_t)size) {
        ssize_t count = read(descriptor, text + length, (size_t)size - length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        length += (size_t)count;
    }
    if (text) text[length] = '\0';
    return text;
}

/* Runs gnuplot with script and svg as standard input and output; they are files and not pipes, so that neither side
 * waits. */
static int run(int script, int svg) {
    char program[] = "gnuplot", defaults[] = "--default-settings";
    char *arguments[] = {program, defaults, NULL}; /* without ~/.gnuplot: the same picture for every user */
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return ENOMEM;
    posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, svg, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int reason = posix_spawnp(&child, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (reason != 0) return reason;
    int result;
    while (waitpid(child, &result, 0) < 0) {
        if (errno != EINTR) return errno;
    }
    if (WIFEXITED(result) && WEXITSTATUS(result) == 127) return ENOENT; /* a failed exec on some systems */
    return WIFEXITED(result) && WEXITSTATUS(result) == 0 ? 0 : EIO;
}

void plot_svg(const char *script, char **svg_out, const char **problem_out) {
    *svg_out = NULL;
    *problem_out = "no temporary file for gnuplot could be made (TMPDIR)";
    int input = open_temporary(), output = open_temporary();
    if (input >= 0 && output >= 0 && write_whole(input, script, strlen(script))) {
        int reason = run(input, output);
        *problem_out = reason == ENOENT ? "gnuplot is not installed (Debian: apt install gnuplot-nox)"
                                        : "gnuplot did not draw them";
        if (reason == 0) *svg_out = read_whole(output);
        if (*svg_out && !strstr(*svg_out, "</svg>")) {
            free(*svg_out);
            *svg_out = NULL;
        }
    }
    if (input >= 0) close(input);
    if (output >= 0) close(output);
    if (*svg_out) *problem_out = NULL;
}
