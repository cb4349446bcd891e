/* Files of the program itself: checks before work begins, and whole-or-nothing writing of text. */
#ifndef FILES_H
#define FILES_H

#include "app.h"

/* Checks before minutes of work that path can be written at the end: the folder exists and is writable, path is not a
 * folder or a device. what: the file's name in messages, "the model". NULL path: nothing to check. */
exit_code files_check_writable(cli_app *app, const char *path, const char *what);

/* Replaces path by text [size], whole or not at all; only on the rank that writes. */
exit_code files_write(cli_app *app, const char *path, const char *text, size_t size);

typedef enum files_role {
    FILES_READ,
    FILES_WRITTEN,  /* as text or a model */
    FILES_NUMPY,    /* written as .npy */
    FILES_OF_EITHER /* written as its name says */
} files_role;

/* A file that a command reads or writes; option: its name for the user, "--data". path NULL: not given. */
typedef struct files_use {
    const char *option, *path;
    files_role role;
} files_use;

/* An error if a file that is written is the same as another one, whatever its name, or if its name has the extension of
 * another format, or is "-" (which in other programs is stdout). */
exit_code files_check_distinct(cli_app *app, size_t num, const files_use uses[]);

/* Whether two names lead to the same file, through links too. A file that does not exist yet is given by folder and
 * name. */
bool files_is_one(const char *a, const char *b);

/* Locks path for this process until its end; another process that locks it ends with a line. For files that are written
 * repeatedly. */
exit_code files_lock(cli_app *app, const char *path, const char *what);

bool files_exists(const char *path);

/* path with its extension replaced: "a/m.safetensors", ".csv" -> "a/m.csv"; the caller frees it. */
char *files_with_extension(const char *path, const char *extension);

#endif
