/* The lowest room: errors, log, memory, progress, structs of the interface, ranks, hashes, files. All of src/ may use
 * it. */
#ifndef EQF_BASE_H
#define EQF_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "eqflow/communicator.h"
#include "eqflow/context.h"

#if defined(__GNUC__)
#define EQF__PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define EQF__PRINTF(format_index, first)
#endif

struct eqf__device;   /* src/device/ocl.h */
struct eqf__programs; /* src/program/program.h */

typedef struct eqf__progress_state {
    eqf_progress_callback callback;
    void *user;
    const char *label;  /* shown instead of the stages' own names; NULL: their names */
    int depth;          /* number of open calls (eqf__progress_open), one inside the other */
    int num_held;       /* above 0: the callback is not called */
    eqf_progress whole; /* progress of the outermost open call */
    eqf_progress last;  /* what was reported last; without a stage: nothing yet */
} eqf__progress_state;

struct eqf_context {
    char error[1024];
    eqf_log_callback log;
    eqf_log_level log_level; /* the lowest level that is logged */
    void *log_user;
    char *kernel_path; /* NULL: embedded kernels */
    char *cache_path;  /* "" : no disk cache */
    bool has_refused_cache; /* the log already says why cache_path is not used */
    char *profile_text; /* "key = value" lines of eqf_context_set_profile; NULL: none */
    char *launches; /* names of kernels that ran, for selftest (program.h); NULL: they are not recorded */
    struct eqf__device *device;     /* NULL until opened */
    struct eqf__programs *programs; /* NULL until the first program */
    eqf_communicator communicator;  /* size 0 or 1: alone */
    eqf__progress_state progress;   /* without a callback unless eqf_context_set_progress was called */
};

/* Stores the message (one line, no newline, no name of the call) and returns status. ctx may be NULL. */
eqf_status eqf__fail(eqf_context *ctx, eqf_status status, const char *format, ...) EQF__PRINTF(3, 4);
void eqf__log(eqf_context *ctx, eqf_log_level level, const char *format, ...) EQF__PRINTF(3, 4);

/* Zeroed memory for count items; on failure reports OUT_OF_MEMORY in ctx and gives NULL. count 0 gives a pointer that
 * may be freed. what: a name for the message. */
void *eqf__alloc(eqf_context *ctx, size_t count, size_t item_size, const char *what);
char *eqf__strdup(eqf_context *ctx, const char *text);

/* The word in a kernel's text that may make a compiler read other files, such as "include"; NULL: there is none. Words
 * in comments and strings, the other spellings of # and of continued lines, and blocks of assembler are found too. */
const char *eqf__source_reads_files(const char *source);

/* Runs expression; on failure returns its status from the calling function. */
#define EQF__TRY(expression)                              \
    do {                                                  \
        eqf_status eqf__try_status = (expression);        \
        if (eqf__try_status != EQF_OK) return eqf__try_status; \
    } while (0)

/* Returns INVALID_ARGUMENT from the calling function where a pointer argument is NULL. ctx may be NULL. */
#define EQF__NOT_NULL(ctx, pointer)                                                                     \
    do {                                                                                                \
        if ((pointer) == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s is NULL", #pointer); \
    } while (0)

/* ---- Progress (eqf_context_set_progress) ------------------------------------------------------------- */

/* Called before each piece of a long call: INTERRUPTED if the program wants the call to end. */
eqf_status eqf__progress(eqf_context *ctx, const char *stage, double done, double total);
/* Reports again what was reported last: for the middle of a piece that takes long. */
eqf_status eqf__progress_again(eqf_context *ctx);
/* For a call that consists of other long calls: between open and close only its own progress is reported, at every
 * piece of the inner calls. */
void eqf__progress_open(eqf_context *ctx, const char *stage, double total);
eqf_status eqf__progress_done(eqf_context *ctx, double done);
void eqf__progress_close(eqf_context *ctx);
/* Sets the name that is reported for every stage; NULL: the stages' own names. Static text. */
void eqf__progress_label(eqf_context *ctx, const char *label);
/* While held, the callback is not called: for work that must not be left half done. Holds nest. */
void eqf__progress_hold(eqf_context *ctx, bool is_held);
bool eqf__has_progress(const eqf_context *ctx);

/* Sizes of pieces: at most `largest`; with a progress callback such that each piece takes about a quarter of a second.
 * Results must not depend on the sizes of the pieces. */
typedef struct eqf__pieces {
    size_t size; /* 0: not known yet */
    double begin_seconds;
} eqf__pieces;
/* The size of the next piece of num items, of which done are done; 0 at the end. */
size_t eqf__next_piece(const eqf_context *ctx, eqf__pieces *pieces, size_t largest, size_t num, size_t done);

/* ---- Structs that begin with their size (eqflow/context.h) ---------------------------------------- */

/* Reads a struct that a program gave into *copy, which holds the defaults: members that a smaller struct lacks keep
 * them. In a larger struct the bytes beyond *copy must be zero. init is the name of its initializer: EQF__READ(ctx,
 * EQF_FLOW_OPTIONS_INIT, options, &copy). */
eqf_status eqf__struct_read(eqf_context *ctx, const char *init, const void *given, size_t size, void *copy);
#define EQF__READ(ctx, init, given, copy) eqf__struct_read(ctx, #init, given, sizeof *(copy), copy)
/* Gives a result to a program: copies as much of *full as the program's struct holds, and sets the rest of it to
 * zero. */
eqf_status eqf__struct_write(eqf_context *ctx, const char *init, const void *full, size_t size, void *given);
#define EQF__WRITE(ctx, init, full, given) eqf__struct_write(ctx, #init, full, sizeof *(full), given)
/* Checks in advance that a result can be written to a struct: for functions that work for long before they write it. */
eqf_status eqf__struct_check_size(eqf_context *ctx, const char *init, const void *given);
#define EQF__CHECK_SIZE(ctx, init, given) eqf__struct_check_size(ctx, #init, given)
/* Checks that a struct of constant size has the size that its initializer sets, and that its reserved bytes are 0. */
eqf_status eqf__struct_check(eqf_context *ctx, const char *init, const void *given, size_t size, size_t reserved_offset,
                             size_t num_reserved);
#define EQF__CHECK(ctx, init, type, given) \
    eqf__struct_check(ctx, #init, given, sizeof(type), offsetof(type, reserved), sizeof(((type *)0)->reserved))

/* ---- Ranks (eqflow/communicator.h); alone, all of these do nothing -------------------------------- */

unsigned eqf__num_ranks(const eqf_context *ctx); /* at least 1 */
/* The first index of a rank's share of num things; for rank = number of ranks it is num. */
size_t eqf__share_begin(const eqf_context *ctx, size_t num, unsigned rank);
/* This rank's share. */
void eqf__share(const eqf_context *ctx, size_t num, size_t *first_out, size_t *count_out);
eqf_status eqf__sum_floats(eqf_context *ctx, size_t count, float *values);
eqf_status eqf__sum_doubles(eqf_context *ctx, size_t count, double *values);
/* first_items [ranks + 1]: rank r has the items first_items[r] ... first_items[r + 1] - 1. */
eqf_status eqf__gather(eqf_context *ctx, const size_t *first_items, size_t item_bytes, void *items);

/* ---- Hashes ----------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): each step is one-to-one, so a single wrong byte
 * always changes the hash. It protects against accidents, not against attackers. Starts from EQF__HASH_START. */
#define EQF__HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t eqf__hash(uint64_t hash, const void *bytes, size_t num_bytes);

/* ---- Files ------------------------------------------------------------------------------------ */

/* Writes a file so that it appears whole or not at all: a file without a name, or with a temporary name beside path if
 * the file system has no files without a name; then fsync, rename, and fsync of the folder. Links are followed, also to
 * a file that does not exist yet. */
typedef struct eqf__file_writer {
    FILE *stream;
    char *path, *temporary_path;
    bool is_unnamed;
} eqf__file_writer;

/* Errors: IO with the path, the system's reason and what to do (folder missing, not writable, disk full). */
eqf_status eqf__file_begin(eqf_context *ctx, const char *path, eqf__file_writer *writer_out);
eqf_status eqf__file_write(eqf_context *ctx, eqf__file_writer *writer, const void *bytes, size_t num_bytes);
/* Makes the file visible under path; on failure the old file is untouched and the temporary one gone. */
eqf_status eqf__file_commit(eqf_context *ctx, eqf__file_writer *writer);
/* Gives only the owner permission to read and write, whatever the umask and the old file's permissions are. */
void eqf__file_keep_private(eqf__file_writer *writer);
/* Drops what was begun; harmless after commit. */
void eqf__file_abandon(eqf__file_writer *writer);

/* Reads a whole file into memory, with a NUL after its num_bytes; the caller frees it. Errors: IO, OUT_OF_MEMORY. */
eqf_status eqf__file_read(eqf_context *ctx, const char *path, unsigned char **bytes_out, size_t *num_bytes_out);
/* Reads the first bytes of a file, num_read_out of them, and gives its size: a file of the wrong kind need not be read
 * whole. Errors: IO. */
eqf_status eqf__file_read_start(eqf_context *ctx, const char *path, size_t capacity, unsigned char *bytes_out,
                                size_t *num_read_out, size_t *num_bytes_out);

/* Files that decide what is computed (native code of the cache, tuning) are read only from a folder and a file that
 * belong to this user and that nobody else can write to; neither may be a link. */
/* Whether a folder is so. If not, *reason_out says why, NULL if there is no such folder. */
bool eqf__folder_is_own(const char *path, const char **reason_out);
/* As eqf__file_read, for such a file. A file that others can write to is not read; a warning says so. Errors: IO,
 * OUT_OF_MEMORY. */
eqf_status eqf__own_file_read(eqf_context *ctx, const char *folder, const char *name, unsigned char **bytes_out,
                              size_t *num_bytes_out);

/* Makes a folder that only its owner may use, and the folders above it (mkdir -p). False: errno says why not. */
bool eqf__folder_create(const char *path);

#endif
