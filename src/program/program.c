/* Programs: assembled from the files of cl/ and built once in a context. A failed build is explained. */
#include "program_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache.h"
#include "embedded_kernels.h"

/* A text from run time, with a name like a file of cl/ (eqf__program_keep_text). */
typedef struct kept_text {
    struct kept_text *next;
    char file[32];
    char *text;
} kept_text;

struct eqf__programs {
    eqf__program *first;
    kept_text *texts;
};

/* ---- Text -------------------------------------------------------------------------------------------------------- */

typedef struct text_buffer {
    char *text;
    size_t length, capacity;
} text_buffer;

static eqf_status append(eqf_context *ctx, text_buffer *buffer, const char *text, size_t length) {
    if (buffer->length + length + 1 > buffer->capacity) {
        size_t capacity = 2 * (buffer->length + length + 1);
        char *grown = realloc(buffer->text, capacity);
        if (grown == NULL) return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for kernel text");
        buffer->text = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->text + buffer->length, text, length);
    buffer->length += length;
    buffer->text[buffer->length] = '\0';
    return EQF_OK;
}

/* A folder that does not exist is an error; without this check the embedded kernels would be used silently. */
static eqf_status check_kernel_path(eqf_context *ctx) {
    struct stat about;
    if (ctx->kernel_path == NULL || (stat(ctx->kernel_path, &about) == 0 && S_ISDIR(about.st_mode))) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_IO,
                     "there is no folder %.900s to take kernels from (kernel_path or EQFLOW_KERNEL_PATH)",
                     ctx->kernel_path);
}

static eqf_status append_file(eqf_context *ctx, text_buffer *buffer, const char *file) {
    /* With #line compiler messages name the file in cl/, not a line of the assembled text. */
    char line[256];
    int length = snprintf(line, sizeof line, "#line 1 \"cl/%s\"\n", file);
    EQF__TRY(append(ctx, buffer, line, (size_t)length));
    const char *embedded = NULL;
    for (const kept_text *kept = ctx->programs->texts; kept != NULL; kept = kept->next)
        if (strcmp(kept->file, file) == 0) return append(ctx, buffer, kept->text, strlen(kept->text));
    for (const eqf__embedded_kernel *kernel = eqf__embedded_kernels; kernel->name != NULL; kernel++)
        if (strcmp(kernel->name, file) == 0) embedded = kernel->text;
    if (ctx->kernel_path != NULL) {
        char path[1400];
        if (snprintf(path, sizeof path, "%s/%s", ctx->kernel_path, file) >= (int)sizeof path)
            return eqf__fail(ctx, EQF_ERROR_IO, "the name of the folder to take kernels from is too long");
        if (access(path, R_OK) == 0) {
            unsigned char *bytes;
            size_t num_bytes;
            EQF__TRY(eqf__file_read(ctx, path, &bytes, &num_bytes));
            eqf_status status = append(ctx, buffer, (const char *)bytes, num_bytes);
            free(bytes);
            return status;
        }
    }
    if (embedded == NULL)
        return eqf__fail(ctx, EQF_ERROR_NOT_FOUND, "there is no kernel file cl/%s in this library", file);
    return append(ctx, buffer, embedded, strlen(embedded));
}

static eqf_status assemble(eqf_context *ctx, const char *const *files, char **source_out) {
    text_buffer buffer = {NULL, 0, 0};
    for (; *files != NULL; files++) {
        eqf_status status = append_file(ctx, &buffer, *files);
        if (status == EQF_OK) status = append(ctx, &buffer, "\n", 1);
        if (status != EQF_OK) {
            free(buffer.text);
            return status;
        }
    }
    *source_out = buffer.text;
    return EQF_OK;
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

/* Saves source and log in a file that the message names; the first error line of the log goes into the message. */
static eqf_status report_build_failure(eqf_context *ctx, const char *name, const char *source, const char *options,
                                       cl_program id, cl_int error) {
    const eqf__device *device = ctx->device;
    size_t size = 0;
    clGetProgramBuildInfo(id, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = calloc(size + 1, 1);
    if (log != NULL && size > 0) clGetProgramBuildInfo(id, device->id, CL_PROGRAM_BUILD_LOG, size, log, NULL);
    char first[256] = "";
    if (log != NULL) {
        const char *line = strstr(log, "error:"); /* not a summary that counts errors */
        if (line == NULL) line = strstr(log, "error");
        if (line != NULL) {
            while (line > log && line[-1] != '\n') line--;
            snprintf(first, sizeof first, "%.*s", (int)strcspn(line, "\n"), line);
        }
    }
    /* Clang's suggestion for an unknown name ("did you mean 'true'?") is misleading if the name is a constant of the
     * potential that was not given. */
    const char *name_in_log = strstr(first, "undeclared identifier '");
    char unknown[96] = "", *guess = strstr(first, "; did you mean");
    if (name_in_log != NULL && strncmp(name, "potential", 9) == 0) {
        name_in_log += strlen("undeclared identifier '");
        snprintf(unknown, sizeof unknown, " (if %.*s is a constant of the potential: give its value)",
                 (int)(strcspn(name_in_log, "'") < 32 ? strcspn(name_in_log, "'") : 32), name_in_log);
        if (guess != NULL) *guess = '\0';
    }
    const char *folder = getenv("TMPDIR");
    char path[512];
    /* An unpredictable name: in a folder that all may write to, nobody can put a link in its place first. */
    snprintf(path, sizeof path, "%s/eqflow-build-%s-XXXXXX", folder != NULL ? folder : "/tmp", name);
    int descriptor = mkstemp(path);
    FILE *stream = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    if (stream == NULL && descriptor >= 0) close(descriptor);
    if (stream != NULL) {
        fprintf(stream, "program: %s\ndevice: %s\ndriver: %s\noptions: %s\n---- log ----\n%s\n---- source ----\n%s\n",
                name, device->info.name, device->info.driver_version, options, log != NULL ? log : "", source);
        fclose(stream);
    } else {
        snprintf(path, sizeof path, "(could not be written)");
    }
    free(log);
    return eqf__fail(ctx, EQF_ERROR_KERNEL_BUILD,
                     "kernel program '%s' did not build on %s (%s)%s%s%s; options, log and source: %s", name,
                     device->info.name, eqf__ocl_error_name(error), first[0] ? ": " : "", first, unknown, path);
}

static eqf_status build(eqf_context *ctx, const char *name, const char *source, const char *options,
                        cl_program *id_out) {
    eqf__device *device = ctx->device;
    if (device->described != NULL) return EQF_OK; /* the text is all */
    cl_int error;
    cl_program id = clCreateProgramWithSource(device->context, 1, &source, NULL, &error);
    if (error != CL_SUCCESS) return eqf__ocl_fail(ctx, error, "while a program was made");
    error = clBuildProgram(id, 1, &device->id, options, NULL, NULL);
    if (error != CL_SUCCESS) {
        eqf_status status = report_build_failure(ctx, name, source, options, id, error);
        clReleaseProgram(id);
        return status;
    }
    *id_out = id;
    return EQF_OK;
}

/* A program from the cache, or NULL. If the driver refuses the binary, the source is built. */
static cl_program build_cached(eqf_context *ctx, eqf__program *program) {
    size_t num_bytes;
    if (ctx->device->described != NULL) return NULL;
    unsigned char *bytes = eqf__cache_load(ctx, program->key, &num_bytes, &program->cached_kernels);
    if (bytes == NULL) return NULL;
    const unsigned char *binary = bytes;
    cl_int error, binary_status = CL_SUCCESS;
    cl_program id = clCreateProgramWithBinary(ctx->device->context, 1, &ctx->device->id, &num_bytes, &binary,
                                              &binary_status, &error);
    free(bytes);
    if (error == CL_SUCCESS && binary_status == CL_SUCCESS)
        error = clBuildProgram(id, 1, &ctx->device->id, program->options, NULL, NULL);
    if (error == CL_SUCCESS && binary_status == CL_SUCCESS) return id;
    if (id != NULL) clReleaseProgram(id);
    free(program->cached_kernels);
    program->cached_kernels = NULL;
    eqf__log(ctx, EQF_LOG_WARNING, "the driver refused the cached program '%s': building anew", program->name);
    return NULL;
}

/* Drivers such as PoCL finish a kernel only at its first launch, so the binary is taken at the end of the context, and
 * again later if kernels ran that it does not contain. */
static void store_program(eqf_context *ctx, const eqf__program *program) {
    if (program->launched_kernels[0] == '\0' || program->key[0] == '\0' || ctx->cache_path == NULL ||
        ctx->cache_path[0] == '\0')
        return;
    bool is_complete = program->cached_kernels != NULL;
    for (const char *name = program->launched_kernels; is_complete && *name != '\0';) {
        size_t length = strcspn(name, " ") + 1;
        char one[128];
        snprintf(one, sizeof one, "%.*s", (int)length, name);
        if (strstr(program->cached_kernels, one) == NULL) is_complete = false;
        name += length;
    }
    if (is_complete) return;
    size_t num_bytes = 0;
    if (clGetProgramInfo(program->id, CL_PROGRAM_BINARY_SIZES, sizeof num_bytes, &num_bytes, NULL) != CL_SUCCESS ||
        num_bytes == 0)
        return;
    unsigned char *bytes = malloc(num_bytes);
    if (bytes == NULL) return;
    if (clGetProgramInfo(program->id, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS) {
        /* Kernels that ran before stay in the list: PoCL's binary contains every kernel in its own cache. */
        char kernels[2048];
        snprintf(kernels, sizeof kernels, "%s%s", program->launched_kernels,
                 program->cached_kernels != NULL ? program->cached_kernels : "");
        eqf__cache_store(ctx, program->key, program->name, kernels, bytes, num_bytes);
    }
    free(bytes);
}

/* Writes a file into a described device's folder: the text for the compiler, and in comments the options and the
 * launched kernels with the sizes of their groups. */
static eqf_status write_program(eqf_context *ctx, const eqf__program *program) {
    if (ctx->device->described[0] == '\0') return EQF_OK; /* nobody compiles them */
    unsigned number =
        1; /* among programs of this name, in the order of creation; the list has the newest first */
    char path[1024], suffix[16] = "";
    for (const eqf__program *older = program->next; older != NULL; older = older->next)
        if (strcmp(older->name, program->name) == 0) number++;
    if (number > 1) snprintf(suffix, sizeof suffix, "-%u", number);
    snprintf(path, sizeof path, "%s/%s%s.cl", ctx->device->described, program->name, suffix);
    eqf__file_writer writer;
    EQF__TRY(eqf__file_begin(ctx, path, &writer));
    fprintf(writer.stream, "// options: %s\n// launched: %s\n%s", program->options, program->launched_kernels,
            program->source);
    return eqf__file_commit(ctx, &writer);
}

/* is_copy: after a fork, in the child, where the driver must not be called. */
static void program_free(eqf__program *program, bool is_copy) {
    if (program->id != NULL && !is_copy) clReleaseProgram(program->id);
    free(program->cached_kernels);
    free(program->source);
    free(program->options);
    free(program);
}

/* Whether options contain -I, -include or a similar option. */
static bool names_files(const char *options) {
    for (const char *option = options; option != NULL; option = strchr(option, ' ')) {
        option += strspn(option, " ");
        if (strncmp(option, "-I", 2) == 0 || strncmp(option, "-i", 2) == 0) return true;
    }
    return false;
}

/* The key depends on all that is compiled. A text that reads other files, or options that name some, get no key, and
 * the program is not cached. */
static void make_key(eqf_context *ctx, eqf__program *program) {
    const char *reads = ctx->kernel_path != NULL ? eqf__source_reads_files(program->source) : NULL;
    if (reads == NULL && names_files(program->options)) reads = "a build option";
    program->key[0] = '\0';
    if (reads == NULL)
        eqf__cache_key(ctx->device, program->source, program->options, program->key);
    else
        eqf__log(ctx, EQF_LOG_INFO, "program '%s' reads files while it is compiled (%s): it is not cached",
                 program->name, reads);
}

static eqf_status make_list(eqf_context *ctx) {
    if (ctx->programs == NULL) ctx->programs = eqf__alloc(ctx, 1, sizeof *ctx->programs, "the program list");
    return ctx->programs != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

eqf_status eqf__program_keep_text(eqf_context *ctx, const char *text, const char **file_out) {
    *file_out = NULL;
    EQF__TRY(make_list(ctx));
    unsigned num_texts = 0;
    for (const kept_text *kept = ctx->programs->texts; kept != NULL; kept = kept->next, num_texts++)
        if (strcmp(kept->text, text) == 0) {
            *file_out = kept->file;
            return EQF_OK;
        }
    kept_text *kept = eqf__alloc(ctx, 1, sizeof *kept, "kernel text");
    if (kept == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    kept->text = eqf__strdup(ctx, text);
    if (kept->text == NULL) {
        free(kept);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    snprintf(kept->file, sizeof kept->file, "text/%u", num_texts);
    kept->next = ctx->programs->texts;
    ctx->programs->texts = kept;
    *file_out = kept->file;
    return EQF_OK;
}

eqf_status eqf__program_get(eqf_context *ctx, const char *name, const char *const *files, const char *defines,
                            eqf__program **program_out) {
    *program_out = NULL;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    EQF__TRY(make_list(ctx));
    EQF__TRY(check_kernel_path(ctx));
    char *source;
    EQF__TRY(assemble(ctx, files, &source));
    size_t size = strlen(defines) + sizeof device->build_options + 32;
    char *options = eqf__alloc(ctx, size, 1, "build options");
    if (options == NULL) {
        free(source);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    /* A V in defines overrides the device's: some programs are always scalar. */
    if (strstr(defines, "-D V=") != NULL)
        snprintf(options, size, "%s %s", device->build_options, defines);
    else
        snprintf(options, size, "%s -D V=%u %s", device->build_options, device->vector_width, defines);
    for (eqf__program *program = ctx->programs->first; program != NULL; program = program->next) {
        if (strcmp(program->options, options) == 0 && strcmp(program->source, source) == 0) {
            free(source);
            free(options);
            *program_out = program;
            return EQF_OK;
        }
    }
    eqf__program *program = eqf__alloc(ctx, 1, sizeof *program, "a program");
    if (program == NULL) {
        free(source);
        free(options);
        return EQF_ERROR_OUT_OF_MEMORY;
    }
    program->source = source;
    program->options = options;
    snprintf(program->name, sizeof program->name, "%s", name);
    make_key(ctx, program);
    program->id = build_cached(ctx, program);
    eqf_status status = program->id != NULL ? EQF_OK : build(ctx, name, source, options, &program->id);
    if (status != EQF_OK) {
        program_free(program, false);
        return status;
    }
    /* A described device computes nothing, so there is nothing to check. */
    program->checked = device->described != NULL ? ~0u : eqf__cache_checked(ctx, program->key);
    program->next = ctx->programs->first;
    ctx->programs->first = program;
    *program_out = program;
    return EQF_OK;
}

void eqf__programs_destroy(eqf_context *ctx) {
    if (ctx->programs == NULL) return;
    const bool is_copy = eqf__device_check_process(ctx) != EQF_OK;
    struct timespec start = {0, 0}, now;
    bool is_said = false;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (eqf__program *program = ctx->programs->first; program != NULL;) {
        eqf__program *next = program->next;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!is_said && now.tv_sec > start.tv_sec + 1) { /* a driver may also compile kernels that were not launched */
            eqf__log(ctx, EQF_LOG_INFO, "storing the kernels that were built, so that the next start is fast");
            is_said = true;
        }
        if (ctx->device->described != NULL)
            (void)write_program(ctx, program); /* if it fails, the reader of the folder finds it missing */
        else if (!ctx->device->is_lost && !is_copy)
            store_program(ctx, program);
        program_free(program, is_copy);
        program = next;
    }
    for (kept_text *kept = ctx->programs->texts; kept != NULL;) {
        kept_text *next = kept->next;
        free(kept->text);
        free(kept);
        kept = next;
    }
    free(ctx->programs);
    ctx->programs = NULL;
}

/* ---- Known answers ----------------------------------------------------------------------------------------------- */

bool eqf__program_is_checked(const eqf__program *program, eqf__answers answers) {
    return (program->checked & answers) != 0;
}

void eqf__program_set_checked(eqf_context *ctx, eqf__program *program, eqf__answers answers) {
    if (eqf__program_is_checked(program, answers)) return;
    program->checked |= answers;
    eqf__cache_set_checked(ctx, program->key, program->name, program->checked);
    eqf__log(ctx, EQF_LOG_DEBUG, "known answers: program '%s' is right on this device", program->name);
}

const char *eqf__program_name(const eqf__program *program) {
    return program->name;
}

const char *eqf__plain_width(const eqf_context *ctx) {
    return ctx->device->vector_width > 1 ? "eqf_context_set_profile vector_width=1" : "";
}
