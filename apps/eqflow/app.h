/* Common to all commands: name, common options, context, and messages on stderr. */
#ifndef APP_H
#define APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eqflow/communicator.h"
#include "eqflow/context.h"
#include "exit_code.h"

/* The values of an option that may be given several times. */
enum { CLI_LIST_MAX = 16 };
typedef struct cli_list {
    const char *texts[CLI_LIST_MAX];
    size_t num_texts;
} cli_list;

/* Larger than the number of options, operands and list entries of any command. */
enum { CLI_KEPT_MAX = 512 };

typedef struct cli_app {
    int argc; /* the whole command line, the program's name first */
    const char **argv;
    const char *command; /* "train" */
    const char *device;
    cli_list profile_settings; /* key=value */
    uint64_t seed;
    bool is_json, is_quiet, is_verbose;
    eqf_communicator ranks; /* of mpirun; size 0 or 1: one process */
    unsigned node_rank;     /* among the ranks of this machine */
    char device_of_rank[16];
    eqf_context *ctx;
    /* the bar that shows the library's progress; NULL: none, and no signal stops its calls */
    struct cli_progress *watching;
    bool has_progress_line; /* the cursor is on a progress bar */
    char *texts[CLI_KEPT_MAX]; /* option values that live as long as the app */
    size_t num_texts;
} cli_app;

/* A command of the table in main.c. run parses app's arguments and returns the exit code. */
typedef struct cli_command {
    const char *name, *summary;
    exit_code (*run)(cli_app *app);
    bool is_shared; /* the ranks of mpirun may share its work */
} cli_command;

#define APP_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

/* True on the rank that writes files and prints. */
bool app_is_first(const cli_app *app);
/* Sets *is_true on every rank if it is true on one. Collective. */
exit_code app_any(cli_app *app, bool *is_true);

/* Prints one line on stderr, "eqflow train: ...", and returns the code. */
exit_code app_fail(cli_app *app, exit_code code, const char *format, ...) APP_PRINTF(3, 4);
/* The same with the context's last message. */
exit_code app_fail_status(cli_app *app, eqf_status status, cli_activity activity);

/* Flushes stdout; if that fails, one line and EXIT_CODE_OUTPUT. */
exit_code app_flush_stdout(cli_app *app);
/* The same for help, where a closed pipe (`eqflow --help | head`) is not a failure. */
exit_code app_flush_help(cli_app *app);
/* A note on stderr; not with --quiet. */
void app_note(cli_app *app, const char *format, ...) APP_PRINTF(2, 3);
/* A warning that a result is doubtful, on stderr; also with --quiet. */
void app_warn(cli_app *app, const char *format, ...) APP_PRINTF(2, 3);

/* Makes app->ctx; app_open also opens the device that --device names. */
exit_code app_create_context(cli_app *app);
exit_code app_open(cli_app *app);

/* Keeps a malloc'd text, or other memory, until app_clear; NULL stays NULL. */
const char *app_keep(cli_app *app, char *text);
void app_clear(cli_app *app);

/* malloc of count * size with overflow check; after a failure prints that `what` does not fit in memory. */
void *app_alloc(cli_app *app, size_t count, size_t size, const char *what);

/* The command line, quoted for a shell, with option appended unless it has it; the caller frees it. */
char *app_command_line(const cli_app *app, const char *option);

/* A separate seed for each purpose, so that test data do not repeat training data. */
uint64_t app_seed_for(uint64_t seed, const char *purpose);

/* Seconds of a clock that never goes back. */
double app_seconds(void);

#endif
