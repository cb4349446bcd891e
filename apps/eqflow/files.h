/* Files of the program itself: checks before work begins, and whole-or-nothing writing of text. */
#ifndef FILES_H
#define FILES_H

#include "app.h"

/* Says at once, before minutes of work, that path could not be written at the end: folder missing or not
 * writable, path a folder or a device. what names the file: "the model". NULL path: nothing to check. */
exit_code files_check_writable(cli_app *app, const char *path, const char *what);

/* Replaces path by text [size], all of it or nothing; on the rank that writes. */
exit_code files_write(cli_app *app, const char *path, const char *text, size_t size);

typedef enum files_role { FILES_READ = false, FILES_WRITTEN = true, FILES_NUMPY /* written as .npy */ } files_role;

/* A file that a command reads or writes; option as the user knows it: "--data". path NULL: not given. */
typedef struct files_use {
    const char *option, *path;
    files_role role;
} files_use;

/* No file that is written may be one of the others, by whatever name: what is read would be lost. Nor may its name
 * promise another format, or be "-", which elsewhere is stdout. */
exit_code files_check_distinct(cli_app *app, size_t num, const files_use uses[]);

/* Keeps path to this process until its end: another one that wants it is refused with a line. For files that are
 * written again and again. */
exit_code files_lock(cli_app *app, const char *path, const char *what);

bool files_exists(const char *path);

/* path with its extension replaced: "a/m.safetensors", ".csv" -> "a/m.csv"; the caller frees it. */
char *files_with_extension(const char *path, const char *extension);

#endif
