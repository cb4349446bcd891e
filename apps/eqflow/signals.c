#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* The program's only global, with the time of the request below: a handler has nothing else. */
static volatile sig_atomic_t is_stop_requested;

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
    } else if (now.tv_sec > first_second + 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = reason;
}

static void take_stop_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = request_stop;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void signals_install(void) {
    take_stop_signals();
    /* A closed pipe or a file size limit is a write error with a message, not a sudden death. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    sigemptyset(&action.sa_mask);
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

bool signals_is_stop_requested(void) {
    /* PoCL's compiler (LLVM) puts handlers before ours when it builds a kernel. They pass the first signal on and reset
     * it to its usual effect meanwhile: a second one then would be the end. */
    take_stop_signals();
    return is_stop_requested != 0;
}
