/* When a thread's stack overflows, a crash handler has no stack to run on, and the system ends the process without a
 * message. So this file replaces pthread_create, for drivers too, and gives every thread a second stack. There is still
 * no line for threads of drivers that call the kernel themselves or are linked with their own C library, for a frame so
 * large that it reaches beyond the guard page of a stack (compilers that probe stacks exclude it), and on systems
 * without RTLD_NEXT. */
#define _GNU_SOURCE /* RTLD_NEXT, MAP_ANONYMOUS */

#include <pthread.h>

#include "sanitizer.h"

#if defined __linux__ && !defined HAS_SANITIZER /* which replaces pthread_create itself, and gives such stacks */

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { STACK_BYTES = 1 << 16 };

/* The function and argument of a thread. */
typedef struct thread_start {
    void *(*run)(void *);
    void *argument;
} thread_start;

static void give_back(void *memory) {
    const stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(memory, STACK_BYTES);
}

static void *run_with_second_stack(void *user) {
    const thread_start start = *(thread_start *)user;
    void *result = NULL;
    free(user);
    void *memory = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return start.run(start.argument);
    const stack_t stack = {.ss_sp = memory, .ss_size = STACK_BYTES};
    sigaltstack(&stack, NULL);
    pthread_cleanup_push(give_back, memory); /* also for threads that call pthread_exit or are cancelled */
    result = start.run(start.argument);
    pthread_cleanup_pop(1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    if (create == NULL) return EAGAIN;
    thread_start *start = malloc(sizeof *start);
    if (start == NULL) return create(thread, attributes, run, argument);
    *start = (thread_start){run, argument};
    const int error = create(thread, attributes, run_with_second_stack, start);
    if (error != 0) free(start);
    return error;
}

#endif
