/* Makes the k-th fallible call of a class fail, put before the real ones by LD_PRELOAD.
 *   EQFLOW_TORTURE_CLASS   memory, file or opencl; open: of the file calls those that open; jansson: of the memory
 *                          calls Jansson's; thread: pthread_create, which all that the program loads calls through it
 *   EQFLOW_TORTURE_AT      k, from 1; 0 fails nothing
 *   EQFLOW_TORTURE_MODE    once (the default), or forever: that call and all after it; kill: the process is killed
 *                          there (-9), with the call's name on stderr; half of what is being written is written
 *   EQFLOW_TORTURE_CODE    errno or OpenCL code of the failure
 *   EQFLOW_TORTURE_COUNT   a file that gets, at the end, how many such calls there were
 *   EQFLOW_TORTURE_SERVE   the program is loaded once, with the libraries of this list beside it, and runs in a child
 *                          for each line of its input (serve)
 * Only calls out of the program itself (and Jansson) count: a driver that finds no memory is not ours to test. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Whose call it is, and whether it fails ---- */

enum { MAX_RANGES = 32, MAX_FRAMES = 96, MAX_SECONDS = 120, NUM_INTERRUPTIONS = 100 };
static struct range {
    size_t low, high;
    int is_jansson;
} ranges[MAX_RANGES];
static int num_ranges;
/* What a server reads after its child's end. */
struct tally {
    long num_calls, num_failed;
};
static struct tally own_tally, *tally = &own_tally;
static long failing_at, num_of_stack;
static uint64_t failing_stack; /* failing_at counts the calls with this stack; 0: all calls */
static int code, is_for_ever, is_deadly, is_ready, records = -1;
static char class_name[16];

static int add_ranges(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size, (void)user;
    if (info->dlpi_name[0] != '\0' && strstr(info->dlpi_name, "libjansson") == NULL) return 0; /* "": the program */
    for (int i = 0; i < info->dlpi_phnum && num_ranges < MAX_RANGES; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
        ranges[num_ranges].is_jansson = info->dlpi_name[0] != '\0';
        ranges[num_ranges].low = (size_t)(info->dlpi_addr + part->p_vaddr);
        ranges[num_ranges++].high = (size_t)(info->dlpi_addr + part->p_vaddr + part->p_memsz);
    }
    return 0;
}

/* The range of an address, or NULL if it is neither the program's nor Jansson's. */
static const struct range *range_of(const void *address) {
    for (int i = 0; i < num_ranges; i++)
        if ((size_t)address >= ranges[i].low && (size_t)address < ranges[i].high) return &ranges[i];
    return NULL;
}

static void set_class_and_mode(const char *name, const char *mode) {
    is_for_ever = mode != NULL && strcmp(mode, "forever") == 0;
    is_deadly = mode != NULL && strcmp(mode, "kill") == 0;
    snprintf(class_name, sizeof class_name, "%s", name != NULL ? name : "");
}

static void serve(const char *libraries);

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("EQFLOW_TORTURE_AT"), *given = getenv("EQFLOW_TORTURE_CODE"),
               *libraries = getenv("EQFLOW_TORTURE_SERVE");
    failing_at = at != NULL ? strtol(at, NULL, 10) : 0;
    code = given != NULL ? (int)strtol(given, NULL, 10) : 0;
    set_class_and_mode(getenv("EQFLOW_TORTURE_CLASS"), getenv("EQFLOW_TORTURE_MODE"));
    dl_iterate_phdr(add_ranges, NULL);
    unsetenv("LD_PRELOAD"); /* a driver's linker is not looked at */
    if (libraries != NULL) serve(libraries);
    is_ready = 1;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("EQFLOW_TORTURE_COUNT");
    char text[32];
    is_ready = 0;
    if (path == NULL) return;
    const int length = snprintf(text, sizeof text, "%ld\n", tally->num_calls),
              fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, text, (size_t)length) != length || close(fd) != 0) _exit(99);
}

static void die(const char *name) {
    const char *const words[] = {"killed in ", name, "\n"};
    for (int w = 0; w < 3; w++)
        if (write(STDERR_FILENO, words[w], strlen(words[w])) < 0) break;
    kill(getpid(), SIGKILL);
}

/* Of the return addresses of the program and of Jansson (FNV-1a, 64 bits), wherever they were loaded; never 0. Drivers
 * and the C library between them do not count. hash_of_site gets that of the innermost three. */
static uint64_t hash_of_stack(uint64_t *hash_of_site) {
    void *frames[MAX_FRAMES];
    uint64_t hash = 0xcbf29ce484222325u;
    const int num = backtrace(frames, MAX_FRAMES);
    int num_ours = 0;
    for (int f = 0; f < num; f++) {
        const struct range *range = range_of(frames[f]);
        if (range == NULL) continue;
        size_t at = (size_t)frames[f] - range->low + (range->is_jansson ? (size_t)1 << 40 : 0);
        for (size_t b = 0; b < sizeof at; b++, at >>= 8) hash = (hash ^ (at & 0xff)) * 0x100000001b3u;
        if (++num_ours <= 3) *hash_of_site = hash;
    }
    return hash | 1;
}

static void record(uint64_t stack, uint64_t site) {
    char line[64];
    const int length =
        snprintf(line, sizeof line, "%016llx %016llx\n", (unsigned long long)stack, (unsigned long long)site);
    if (syscall(SYS_write, records, line, (size_t)length) != length) _exit(99);
}

/* Calls are made again after a signal, so that one which is interrupted for ever would never end. */
static int is_interruption(void) {
    return code == EINTR && (strcmp(class_name, "file") == 0 || strcmp(class_name, "open") == 0);
}

static int is_the_call(void) {
    const long call = __atomic_add_fetch(&tally->num_calls, 1, __ATOMIC_RELAXED);
    static __thread int is_looking; /* the unwinder's own calls do not count */
    if (failing_stack == 0 && records < 0)
        return failing_at > 0 && (call == failing_at || (is_for_ever && call > failing_at));
    if (is_for_ever && tally->num_failed > 0) return !is_interruption() || tally->num_failed < NUM_INTERRUPTIONS;
    if (is_looking) return 0;
    is_looking = 1;
    uint64_t site = 0;
    const uint64_t hash = hash_of_stack(&site);
    is_looking = 0;
    if (records >= 0) record(hash, site);
    const long nth = failing_stack == hash ? __atomic_add_fetch(&num_of_stack, 1, __ATOMIC_RELAXED) : 0;
    return nth > 0 && nth == failing_at;
}

static int fails_in(const char *name, const char *of_class, const void *caller) {
    const int is_jansson = strcmp(class_name, "jansson") == 0;
    if (!is_ready || strcmp(is_jansson ? "memory" : class_name, of_class) != 0) return 0;
    const struct range *range = range_of(caller);
    if (range == NULL || (is_jansson && !range->is_jansson) || !is_the_call()) return 0;
    __atomic_add_fetch(&tally->num_failed, 1, __ATOMIC_RELAXED);
    if (is_deadly && strcmp(name, "fwrite") != 0) die(name);
    return 1;
}

/* ---- A server: the program and its driver are loaded once ---- */

static pid_t child;

static void stop_child(int number) {
    (void)number;
    kill(child, SIGKILL);
}

/* What the line asks for, in the child: "CLASS MODE CODE STACK AT", STACK in hexadecimal or 0. Mode record: of
 * each call of the class the hashes of stack and site go into the file "stacks", a line each. */
static int take(const char *line) {
    char name[16], mode[16];
    unsigned long long stack;
    if (sscanf(line, "%15s %15s %d %llx %ld", name, mode, &code, &stack, &failing_at) != 5) return 0;
    set_class_and_mode(name, mode);
    failing_stack = stack;
    const int is_recording = strcmp(mode, "record") == 0;
    const int fds[] = {open("/dev/null", O_RDONLY), open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0666),
                       open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0666)};
    if (is_recording) records = open("stacks", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (is_recording && records < 0) return 0;
    for (int f = 0; f < 3; f++)
        if (fds[f] < 0 || dup2(fds[f], f) < 0 || close(fds[f]) != 0) return 0;
    return 1;
}

/* For each line of the input a child, which returns and runs the program in the current folder; a line is answered:
 * its exit code as a shell gives it (124: it took too long), how many calls of the class there were, and how many
 * failed. Ends with the input. */
static void serve(const char *libraries) {
    static char line[256], list[4096];
    void *frames[4];
    struct sigaction stop = {.sa_handler = stop_child};
    snprintf(list, sizeof list, "%s", libraries);
    for (char *name = strtok(list, " "); name != NULL; name = strtok(NULL, " ")) (void)dlopen(name, RTLD_LAZY);
    backtrace(frames, 4); /* loads the unwinder */
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) _exit(99);
    for (;;) {
        size_t length = 0;
        while (length + 1 < sizeof line && syscall(SYS_read, 0, &line[length], 1) == 1 && line[length] != '\n')
            length++;
        if (length == 0) _exit(0);
        line[length] = '\0';
        *tally = (struct tally){0};
        sigaction(SIGALRM, &stop, NULL);
        child = fork();
        if (child < 0) _exit(99);
        if (child == 0) {
            signal(SIGALRM, SIG_DFL);
            if (!take(line)) _exit(98);
            return;
        }
        int status = 0;
        alarm(MAX_SECONDS);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        const int is_late = alarm(0) == 0;
        const int result = is_late ? 124 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        length = (size_t)snprintf(line, sizeof line, "%d %ld %ld\n", result, tally->num_calls, tally->num_failed);
        if (syscall(SYS_write, 1, line, length) != (long)length) _exit(99);
    }
}

#define CALLER __builtin_return_address(0)
#define fails(of_class, caller) fails_in(__func__, of_class, caller)
#define REAL(variable, name) *(void **)&(variable) = dlsym(RTLD_NEXT, name)

/* ---- Memory ---- */

/* The next one behind this library: the C library's, or a sanitizer's (torture.sh puts that behind us). dlsym needs no
 * memory where it succeeds. */
void *malloc(size_t size) {
    static void *(*call)(size_t);
    if (fails("memory", CALLER)) {
        errno = ENOMEM;
        return NULL;
    }
    if (call == NULL) REAL(call, "malloc");
    return call(size);
}
extern void *__libc_calloc(size_t, size_t);
void *calloc(size_t count, size_t size) {
    static void *(*call)(size_t, size_t);
    static int is_asking;
    if (fails("memory", CALLER)) {
        errno = ENOMEM;
        return NULL;
    }
    if (call == NULL && is_asking) return __libc_calloc(count, size);
    is_asking = 1;
    if (call == NULL) REAL(call, "calloc");
    return call(count, size);
}
void *realloc(void *memory, size_t size) {
    static void *(*call)(void *, size_t);
    if (fails("memory", CALLER)) {
        errno = ENOMEM;
        return NULL;
    }
    if (call == NULL) REAL(call, "realloc");
    return call(memory, size);
}

/* ---- Files ---- */

#define FAIL_FILE(result)        \
    if (fails("file", CALLER)) { \
        errno = code;            \
        return result;           \
    }

#define FAIL_OPENING(result)                              \
    if (fails("file", CALLER) || fails("open", CALLER)) { \
        errno = code;                                     \
        return result;                                    \
    }

int open(const char *path, int flags, ...) {
    int (*call)(const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    const int mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, int) : 0;
    va_end(arguments);
    FAIL_OPENING(-1)
    REAL(call, "open");
    return call(path, flags, mode);
}
FILE *fopen(const char *path, const char *mode) {
    FILE *(*call)(const char *, const char *);
    FAIL_OPENING(NULL)
    REAL(call, "fopen");
    return call(path, mode);
}
FILE *fdopen(int fd, const char *mode) {
    FILE *(*call)(int, const char *);
    FAIL_FILE(NULL)
    REAL(call, "fdopen");
    return call(fd, mode);
}
ssize_t read(int fd, void *bytes, size_t size) {
    ssize_t (*call)(int, void *, size_t);
    FAIL_FILE(-1)
    REAL(call, "read");
    return call(fd, bytes, size);
}
size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    size_t (*call)(const void *, size_t, size_t, FILE *);
    REAL(call, "fwrite");
    if (stream != stderr && fails("file", CALLER)) { /* a short write */
        call(bytes, size, count / 2, stream);
        if (is_deadly) {
            fflush(stream);
            die("fwrite");
        }
        errno = code;
        return count / 2;
    }
    return call(bytes, size, count, stream);
}
int fflush(FILE *stream) {
    int (*call)(FILE *);
    if (stream != stderr) FAIL_FILE(EOF)
    REAL(call, "fflush");
    return call(stream);
}
int fclose(FILE *stream) {
    int (*call)(FILE *);
    REAL(call, "fclose");
    if (fails("file", CALLER)) {
        call(stream);
        errno = code;
        return EOF;
    }
    return call(stream);
}
#define FILE_CALL(name, parameters, arguments) \
    int name parameters {                      \
        int(*call) parameters;                 \
        FAIL_FILE(-1)                          \
        REAL(call, #name);                     \
        return call arguments;                 \
    }
FILE_CALL(fsync, (int fd), (fd))
FILE_CALL(rename, (const char *from, const char *to), (from, to))
FILE_CALL(linkat, (int at, const char *from, int to_at, const char *to, int flags), (at, from, to_at, to, flags))
FILE_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
FILE_CALL(fstat, (int fd, struct stat *about), (fd, about))
FILE_CALL(fchmod, (int fd, mode_t mode), (fd, mode))
int mkstemp(char *name) {
    int (*call)(char *);
    FAIL_OPENING(-1)
    REAL(call, "mkstemp");
    return call(name);
}

/* ---- Threads ---- */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int (*call)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (fails("thread", CALLER)) return code;
    REAL(call, "pthread_create");
    return call(thread, attributes, run, argument);
}

/* ---- OpenCL ---- */

#define CL_CALL(name, parameters, arguments)          \
    CL_API_ENTRY cl_int CL_API_CALL name parameters { \
        cl_int(*call) parameters;                     \
        if (fails("opencl", CALLER)) return code;     \
        REAL(call, #name);                            \
        return call arguments;                        \
    }
#define CL_MAKER(type, name, parameters, arguments) \
    CL_API_ENTRY type CL_API_CALL name parameters { \
        type(*call) parameters;                     \
        if (fails("opencl", CALLER)) {              \
            if (error != NULL) *error = code;       \
            return NULL;                            \
        }                                           \
        REAL(call, #name);                          \
        return call arguments;                      \
    }
CL_CALL(clGetPlatformIDs, (cl_uint num, cl_platform_id *ids, cl_uint *num_out), (num, ids, num_out))
CL_CALL(clGetDeviceIDs,
        (cl_platform_id platform, cl_device_type type, cl_uint num, cl_device_id *ids, cl_uint *num_out),
        (platform, type, num, ids, num_out))
CL_CALL(clBuildProgram,
        (cl_program program, cl_uint num, const cl_device_id *ids, const char *options,
         void(CL_CALLBACK *notify)(cl_program, void *), void *user),
        (program, num, ids, options, notify, user))
CL_CALL(clGetKernelWorkGroupInfo,
        (cl_kernel kernel, cl_device_id id, cl_kernel_work_group_info what, size_t size, void *value, size_t *size_out),
        (kernel, id, what, size, value, size_out))
CL_CALL(clGetProgramInfo, (cl_program program, cl_program_info what, size_t size, void *value, size_t *size_out),
        (program, what, size, value, size_out))
CL_CALL(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t size, const void *value), (kernel, index, size, value))
CL_CALL(clEnqueueNDRangeKernel,
        (cl_command_queue queue, cl_kernel kernel, cl_uint dim, const size_t *offset, const size_t *global,
         const size_t *local, cl_uint num, const cl_event *events, cl_event *event),
        (queue, kernel, dim, offset, global, local, num, events, event))
CL_CALL(clEnqueueReadBuffer,
        (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, void *target, cl_uint num,
         const cl_event *events, cl_event *event),
        (queue, buffer, blocking, offset, size, target, num, events, event))
CL_CALL(clEnqueueWriteBuffer,
        (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, const void *source,
         cl_uint num, const cl_event *events, cl_event *event),
        (queue, buffer, blocking, offset, size, source, num, events, event))
CL_CALL(clEnqueueFillBuffer,
        (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size, size_t offset, size_t size,
         cl_uint num, const cl_event *events, cl_event *event),
        (queue, buffer, pattern, pattern_size, offset, size, num, events, event))
CL_CALL(clEnqueueCopyBuffer,
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t size, cl_uint num,
         const cl_event *events, cl_event *event),
        (queue, from, to, from_offset, to_offset, size, num, events, event))
CL_CALL(clFinish, (cl_command_queue queue), (queue))
CL_MAKER(cl_context, clCreateContext,
         (const cl_context_properties *properties, cl_uint num, const cl_device_id *ids,
          void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *error),
         (properties, num, ids, notify, user, error))
CL_MAKER(cl_command_queue, clCreateCommandQueue,
         (cl_context context, cl_device_id id, cl_command_queue_properties properties, cl_int *error),
         (context, id, properties, error))
CL_MAKER(cl_mem, clCreateBuffer, (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error),
         (context, flags, size, host, error))
CL_MAKER(cl_program, clCreateProgramWithSource,
         (cl_context context, cl_uint num, const char **texts, const size_t *sizes, cl_int *error),
         (context, num, texts, sizes, error))
CL_MAKER(cl_program, clCreateProgramWithBinary,
         (cl_context context, cl_uint num, const cl_device_id *ids, const size_t *sizes, const unsigned char **binaries,
          cl_int *status, cl_int *error),
         (context, num, ids, sizes, binaries, status, error))
CL_MAKER(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *error), (program, name, error))
