/* LLVM, the compiler in most OpenCL drivers, installs handlers of crashes with SA_RESETHAND while it writes a file.
 * PoCL compiles when a kernel is launched, so they are still there when the kernel crashes. The system takes such a
 * handler back when it calls it, and LLVM then installs ours again. If a second thread crashes between the two, and
 * threads of one kernel do crash together, the default action ends the process without our line. So this file replaces
 * sigaction() for all loaded libraries, and leaves those handlers out. */
#define _GNU_SOURCE /* RTLD_NEXT */

#include "handlers.h"

#include <errno.h>
#include <stddef.h>

#include "sanitizer.h"

#if defined __linux__ && !defined HAS_SANITIZER

#include <dlfcn.h>

enum { NUM_SIGNALS = 65 };
static volatile sig_atomic_t is_kept[NUM_SIGNALS];

int handlers_set(int number, const struct sigaction *action, struct sigaction *before) {
    int (*set)(int, const struct sigaction *, struct sigaction *);
    *(void **)&set = dlsym(RTLD_NEXT, "sigaction");
    if (set == NULL) {
        errno = ENOSYS;
        return -1;
    }
    return set(number, action, before);
}

int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    if (action != NULL && (action->sa_flags & (int)SA_RESETHAND) != 0 && number > 0 && number < NUM_SIGNALS &&
        is_kept[number])
        action = NULL;
    return handlers_set(number, action, before);
}

void handlers_keep(int number) {
    if (number > 0 && number < NUM_SIGNALS) is_kept[number] = 1;
}

#else

int handlers_set(int number, const struct sigaction *action, struct sigaction *before) {
    return sigaction(number, action, before);
}

void handlers_keep(int number) {
    (void)number;
}

#endif
