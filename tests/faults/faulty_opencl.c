/* An OpenCL that fails on demand, put before the real one by LD_PRELOAD. EQFLOW_FAULT says what goes wrong:
 *   no-memory   devices report 0 bytes for one allocation
 *   lost        the third reading of a buffer finds the device gone
 *   killed      the third reading, or waiting, finds that a kernel was killed
 *   flipped     the third reading has the sign of its numbers changed
 *   nan         the third reading is full of NaN
 *   two-crashes the third reading crashes in two threads of the driver, the second one while the first runs a handler
 *               that the system takes back when it is called; drivers' compilers (LLVM) install such
 *   slow-store  a program's binary takes as many seconds as EQFLOW_FAULT_AT says, whatever signals come */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fault_is(const char *name) {
    const char *fault = getenv("EQFLOW_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

/* Counts readings; true from the one on that EQFLOW_FAULT_AT names (default 3). */
static int is_due(void) {
    static long count;
    const char *at = getenv("EQFLOW_FAULT_AT");
    return ++count >= (at != NULL ? strtol(at, NULL, 10) : 3);
}

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

/* As LLVM's SignalHandler does, it takes itself back and returns, and the instruction crashes again. Until then the
 * action is the default one (SA_RESETHAND): half a second here, microseconds in LLVM. */
static struct sigaction before;
static void compilers_handler(int number) {
    const struct timespec moment = {0, 500000000};
    nanosleep(&moment, NULL);
    sigaction(number, &before, NULL);
}

static void *crash_after(void *seconds) {
    const struct timespec moment = {0, (long)(*(const double *)seconds * 1e9)};
    nanosleep(&moment, NULL);
    while (seconds != NULL) raise(SIGSEGV); /* as an instruction does that is tried again */
    return NULL;
}

static void crash_twice(void) {
    static const double at[] = {0, .2};
    pthread_t threads[2];
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = compilers_handler;
    action.sa_flags = SA_NODEFER | (int)SA_RESETHAND | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &before);
    for (int t = 0; t < 2; t++) pthread_create(&threads[t], NULL, crash_after, (void *)&at[t]);
    for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size, void *value,
                                                size_t *size_out) {
    cl_int (*call)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    *(void **)&call = real("clGetDeviceInfo");
    const cl_int code = call(device, what, size, value, size_out);
    if (fault_is("no-memory") && value != NULL &&
        (what == CL_DEVICE_MAX_MEM_ALLOC_SIZE || what == CL_DEVICE_GLOBAL_MEM_SIZE))
        memset(value, 0, size);
    return code;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
                                                    size_t offset, size_t size, void *target, cl_uint num_events,
                                                    const cl_event *events, cl_event *event) {
    cl_int (*call)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *, cl_event *);
    *(void **)&call = real("clEnqueueReadBuffer");
    const int due = is_due();
    if (due && fault_is("lost")) return CL_DEVICE_NOT_AVAILABLE;
    if (due && fault_is("killed")) return CL_OUT_OF_RESOURCES;
    if (due && fault_is("two-crashes")) crash_twice();
    const cl_int code = call(queue, buffer, blocking, offset, size, target, num_events, events, event);
    if (code == CL_SUCCESS && due && (fault_is("flipped") || fault_is("nan"))) {
        float *numbers = target;
        for (size_t i = 0; i < size / sizeof *numbers; i++) {
            cl_uint bits;
            memcpy(&bits, &numbers[i], sizeof bits);
            bits = fault_is("nan") ? 0x7fc00000u : bits ^ 0x80000000u;
            memcpy(&numbers[i], &bits, sizeof bits);
        }
    }
    return code;
}

CL_API_ENTRY cl_int CL_API_CALL clGetProgramInfo(cl_program program, cl_program_info what, size_t size, void *value,
                                                 size_t *size_out) {
    cl_int (*call)(cl_program, cl_program_info, size_t, void *, size_t *);
    *(void **)&call = real("clGetProgramInfo");
    if (fault_is("slow-store") && what == CL_PROGRAM_BINARIES) {
        const char *at = getenv("EQFLOW_FAULT_AT");
        const time_t end = time(NULL) + (at != NULL ? strtol(at, NULL, 10) : 3);
        const struct timespec moment = {0, 20000000};
        while (time(NULL) < end) nanosleep(&moment, NULL);
    }
    return call(program, what, size, value, size_out);
}
