/* What every command has: its name, the common options, a context, and one way to speak on stderr. */
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

/* More than the options, operands and lists of any command. */
enum { CLI_KEPT_MAX = 512 };

typedef struct cli_app {
    int argc; /* the whole command line, the program's name first */
    const char **argv;
    const char *command; /* "train" */
    const char *device;
    cli_list profile_settings; /* key=value */
    uint64_t seed;
    bool is_json, is_quiet, is_verbose;
    eqf_communicator ranks; /* of mpirun; size 0 or 1: alone */
    unsigned node_rank;     /* among the ranks of this machine */
    char device_of_rank[16];
    eqf_context *ctx;
    struct cli_progress *watching; /* the bar that calls of the library move; NULL: none, and no signal stops them */
    bool has_progress_line; /* the cursor stands on a progress bar */
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

/* True on the one rank that writes files and prints. */
bool app_is_first(const cli_app *app);
/* *is_true becomes true on every rank if it is on one. Collective. */
exit_code app_any(cli_app *app, bool *is_true);

/* One line on stderr, "eqflow train: ...", and the code handed back. */
exit_code app_fail(cli_app *app, exit_code code, const char *format, ...) APP_PRINTF(3, 4);
/* The same with the context's last message. */
exit_code app_fail_status(cli_app *app, eqf_status status, cli_activity activity);

/* Sends off what was printed to stdout; if that fails, one line and EXIT_CODE_OUTPUT. */
exit_code app_flush_stdout(cli_app *app);
/* The same for help: a reader that has seen enough (`eqflow --help | head`) is no failure. */
exit_code app_flush_help(cli_app *app);
/* For what is worth knowing but no failure: stderr, silent with --quiet. */
void app_note(cli_app *app, const char *format, ...) APP_PRINTF(2, 3);
/* For what makes a result doubtful: stderr, also with --quiet. */
void app_warn(cli_app *app, const char *format, ...) APP_PRINTF(2, 3);

/* Makes app->ctx; app_open also opens the device that --device names. */
exit_code app_create_context(cli_app *app);
exit_code app_open(cli_app *app);

/* Keeps a malloc'd text, or other memory, until app_clear; NULL stays NULL. */
const char *app_keep(cli_app *app, char *text);
void app_clear(cli_app *app);

/* malloc of count * size with overflow check; on failure says that what does not fit in memory. */
void *app_alloc(cli_app *app, size_t count, size_t size, const char *what);

/* The command line as one could type it again, option appended unless it is there; the caller frees it. */
char *app_command_line(const cli_app *app, const char *option);

/* A seed of its own for each purpose, so that test data never repeat training data. */
uint64_t app_seed_for(uint64_t seed, const char *purpose);

/* Seconds of a clock that never steps back. */
double app_seconds(void);

#endif
