/* A progress bar on stderr: one line, ten times a second, only on a terminal and never with --quiet. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>

#include "app.h"
#include "eqflow/context.h"

typedef struct cli_progress {
    cli_app *app;
    bool is_on;
    const char *label, *unit; /* static texts: "train", "steps" */
    double start_seconds, start_done, last_seconds;
    const char *stage;  /* the current stage of the library's call */
    bool has_own_label; /* label is shown instead of the stages' names */
} cli_progress;

void progress_begin(cli_progress *progress, cli_app *app, const char *label, const char *unit);
/* Shows done of total; detail, or NULL, is appended as far as the terminal is wide. */
void progress_update(cli_progress *progress, double done, double total, const char *detail);
/* Until progress_end the bar shows the progress of the library's calls, and a signal ends them with
 * EQF_ERROR_INTERRUPTED. NULL label: the names of the library's stages. */
void progress_watch(cli_progress *progress, cli_app *app, const char *label, const char *unit);
/* The context's callback; user is the app. */
int progress_report(void *user, const eqf_progress *report);
/* A line without a bar, for a wait of unknown length: "building kernels". progress_end removes it. */
void progress_wait(cli_progress *progress, cli_app *app, const char *text);
/* Removes the line. */
void progress_end(cli_progress *progress);

#endif
