#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exit_code.h"

/* The program's only globals, with the time of the request below: a handler has nothing else. */
static volatile sig_atomic_t is_stop_requested;
static char last_line[160];
static volatile sig_atomic_t last_line_length;

enum { PATIENCE = 2 }; /* seconds */

static void end_at_once(int number) {
    (void)number;
    if (write(STDERR_FILENO, last_line, (size_t)last_line_length) < 0) _exit(EXIT_CODE_INTERRUPTED);
    _exit(EXIT_CODE_INTERRUPTED);
}

/* The first asks, a second one ends the program at once. What follows within a second is the same wish told twice:
 * timeout(1) signals its child and then the group that the child is in, a terminal and mpirun do likewise. */
static void request_stop(int number) {
    static volatile sig_atomic_t first_second;
    const int reason = errno;
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!is_stop_requested) {
        first_second = (sig_atomic_t)now.tv_sec;
        is_stop_requested = 1;
        if (last_line_length > 0) alarm(PATIENCE);
    } else if (now.tv_sec > first_second + 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = reason;
}

static void take(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void take_stop_signals(void) {
    take(SIGINT, request_stop);
    take(SIGTERM, request_stop);
}

void signals_install(void) {
    take_stop_signals();
    take(SIGALRM, end_at_once);
    /* A closed pipe or a file size limit is a write error with a message, not a sudden death. */
    take(SIGPIPE, SIG_IGN);
    take(SIGXFSZ, SIG_IGN);
}

void signals_limit_patience(const char *command) {
    const char *clear = isatty(STDERR_FILENO) ? "\r\033[K" : ""; /* a progress bar */
    last_line_length = snprintf(last_line, sizeof last_line, "%seqflow %.40s: interrupted\n", clear, command);
}

bool signals_is_stop_requested(void) {
    /* PoCL's compiler (LLVM) puts handlers before ours when it builds a kernel. They pass the first signal on and reset
     * it to its usual effect meanwhile: a second one then would be the end. */
    take_stop_signals();
    if (is_stop_requested) alarm(0); /* heard: what follows may take its time */
    return is_stop_requested != 0;
}
