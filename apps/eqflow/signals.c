#include "signals.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t is_stop_requested; /* the program's only global: a handler has nothing else */

static void request_stop(int number) {
    (void)number;
    is_stop_requested = 1;
}

void signals_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = request_stop;
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* the second signal has its usual effect */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A closed pipe or a file size limit is a write error with a message, not a sudden death. */
    action.sa_handler = SIG_IGN;
    action.sa_flags = 0;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

bool signals_is_stop_requested(void) {
    return is_stop_requested != 0;
}
