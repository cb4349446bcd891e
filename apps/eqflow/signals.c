#define _XOPEN_SOURCE 700 /* sigaltstack */

#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exit_code.h"
#include "handlers.h"

/* Global variables, because signal handlers have nothing else. */
static volatile sig_atomic_t is_stop_requested;
static volatile sig_atomic_t is_patience_limited, is_command_running;
static volatile sig_atomic_t result_code = -1; /* exit code of finished work; -1: not finished */
/* A line that is made in advance, because a handler cannot format text. */
typedef struct last_words {
    char text[400];
    size_t length;
} last_words;
static last_words interrupted_line, crashed_line, aborted_line, exited_line, storing_line;

enum { PATIENCE = 2 }; /* seconds */

static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
enum { NUM_STOPS = sizeof stops / sizeof stops[0] };
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
enum { NUM_CRASHES = sizeof crashes / sizeof crashes[0] };
/* is_ignored: by the caller, as nohup does; is_ours: the handler is not a sanitizer's */
static bool is_ignored[NUM_STOPS], is_ours[NUM_CRASHES];

/* The stack of the main thread's crash handlers, because its own stack may have overflowed. */
static char handler_stack[1 << 16];

static void say(const last_words *words) {
    if (write(STDERR_FILENO, words->text, words->length) < 0) return; /* nothing more can be done */
}

static void end_at_once(int number) {
    (void)number;
    say(&interrupted_line);
    _exit(EXIT_CODE_INTERRUPTED);
}

/* Ctrl-C in a terminal also ends a linker that a driver has started, and the driver then aborts. Drivers also abort
 * when memory or threads run out. */
static void crash(int number) {
    static atomic_flag is_said = ATOMIC_FLAG_INIT;
    const struct timespec moment = {1, 0};
    if (is_stop_requested && number == SIGABRT) end_at_once(number);
    if (!atomic_flag_test_and_set(&is_said)) {
        say(number == SIGABRT ? &aborted_line : &crashed_line);
    } else {
        nanosleep(&moment, NULL); /* another thread says it and ends the process */
    }
    signal(number, SIG_DFL);
    raise(number);
}

/* Replaces the C library's abort() for drivers and all other loaded libraries, because LLVM's handler of SIGABRT would
 * run before ours, and abort() calls only one. It ends the process by SIGABRT too. */
_Noreturn void abort(void) {
    sigset_t one;
    if (is_command_running) crash(SIGABRT);
    signal(SIGABRT, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, SIGABRT);
    raise(SIGABRT);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    _exit(128 + SIGABRT);
}

#ifdef __GLIBC__
/* assert() of the C library calls its own abort() and not ours, so it is replaced too. */
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function);
_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function) {
    fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function != NULL ? function : "?", assertion);
    abort();
}
#endif

/* Runs when the results are written and the program has not ended after PATIENCE. */
static void say_what_is_left(int number) {
    (void)number;
    say(&storing_line);
}

/* Runs when an interrupted command has said so and its kernels are not stored after PATIENCE. */
static void end_with_result(int number) {
    (void)number;
    _exit(result_code);
}

static void end_of_process(void) {
    if (!is_command_running) return;
    if (is_stop_requested) end_at_once(0);
    say(&exited_line);
    _exit(EXIT_CODE_DEVICE);
}

/* The first signal requests an end, a second one ends the program at once. A signal within two seconds of the first
 * counts as the same: timeout(1) signals its child and then the child's group; terminals and mpirun do similar
 * things. */
static void request_stop(int number) {
    static volatile sig_atomic_t first_second;
    const int reason = errno;
    if (result_code >= 0) _exit(result_code);
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!is_stop_requested) {
        first_second = (sig_atomic_t)now.tv_sec;
        is_stop_requested = 1;
        if (is_patience_limited) alarm(PATIENCE);
    } else if (now.tv_sec > first_second + 1 && number != SIGXCPU) { /* which comes every second */
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = reason;
}

static void take(int number, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    handlers_set(number, &action, NULL);
}

static void take_stop_signals(void) {
    for (size_t i = 0; i < NUM_STOPS; i++) {
        if (!is_ignored[i]) take(stops[i], request_stop, 0);
    }
}

static void take_crash_signals(void) {
    for (size_t i = 0; i < NUM_CRASHES; i++) {
        if (is_ours[i]) take(crashes[i], crash, SA_ONSTACK);
    }
}

void signals_install(void) {
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    stack_t present;
    if (sigaltstack(NULL, &present) == 0 && (present.ss_flags & SS_DISABLE) != 0) sigaltstack(&stack, NULL);
    for (size_t i = 0; i < NUM_STOPS; i++) {
        struct sigaction now;
        is_ignored[i] = stops[i] == SIGHUP && sigaction(stops[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN;
    }
    take_stop_signals();
    take(SIGALRM, end_at_once, 0);
    for (size_t i = 0; i < NUM_CRASHES; i++) {
        struct sigaction now;
        if (sigaction(crashes[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL) is_ours[i] = true;
        if (is_ours[i]) handlers_keep(crashes[i]);
    }
    take_crash_signals();
    /* A closed pipe or a file size limit gives a write error with a message instead of ending the process. */
    take(SIGPIPE, SIG_IGN, 0);
    take(SIGXFSZ, SIG_IGN, 0);
}

static void prepare(last_words *words, const char *command, const char *what) {
    const char *clear = isatty(STDERR_FILENO) ? "\r\033[K" : ""; /* a progress bar */
    snprintf(words->text, sizeof words->text, "%seqflow %.40s: %s\n", clear, command, what);
    words->length = strlen(words->text);
}

void signals_begin_command(const char *command) {
    prepare(&interrupted_line, command, "interrupted");
    prepare(&crashed_line, command,
            "crashed while computing: in a potential of your own look for indices out of range; otherwise try `eqflow "
            "selftest` and another --device, and report it");
    prepare(&aborted_line, command,
            "a library, most likely the OpenCL driver or its compiler, aborted the program: if it says so above, it "
            "found no memory, no disk or "
            "no thread (ulimit -a); otherwise try `eqflow selftest` and another --device, and report it");
    prepare(&exited_line, command,
            "a library, most likely the OpenCL driver, ended the program for the reason above; is the disk of its "
            "cache or of "
            "TMPDIR full?");
    prepare(&storing_line, command,
            "results written; storing kernels for the next start (Ctrl-C ends this)");
    is_command_running = 1;
    if (atexit(end_of_process) != 0) is_command_running = 0;
}

void signals_end_command(void) {
    if (result_code >= 0) alarm(0);
    is_command_running = 0;
}

void signals_set_result(int code, bool is_quiet) {
    result_code = code;
    if (is_quiet && !is_stop_requested) return;
    /* SA_RESTART: a driver may not handle EINTR */
    take(SIGALRM, is_stop_requested ? end_with_result : say_what_is_left, SA_RESTART);
    alarm(PATIENCE);
}

void signals_limit_patience(void) {
    is_patience_limited = 1;
}

void signals_give_time(void) {
    is_patience_limited = 0;
}

bool signals_is_stop_requested(void) {
    /* PoCL's compiler (LLVM) installs handlers when it builds a kernel. They pass the first signal on to ours but reset
     * its action to the default, so a second signal would end the process. So ours are installed again. */
    take_stop_signals();
    take_crash_signals();
    if (is_stop_requested) alarm(0); /* the request is known now: no time limit any more */
    return is_stop_requested != 0;
}
