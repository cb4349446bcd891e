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
    const char *stage;  /* of the library's call that is watched */
    bool has_own_label; /* the stages' names are not shown */
} cli_progress;

void progress_begin(cli_progress *progress, cli_app *app, const char *label, const char *unit);
/* done of total; detail is appended as far as the terminal is wide, and may be NULL. */
void progress_update(cli_progress *progress, double done, double total, const char *detail);
/* Until progress_end the library's calls move the bar, and end with EQF_ERROR_INTERRUPTED when a signal asks to stop.
 * NULL label: the bar is called what the library calls its stages. */
void progress_watch(cli_progress *progress, cli_app *app, const char *label, const char *unit);
/* The context's callback; user is the app. */
int progress_report(void *user, const eqf_progress *report);
/* A line without a bar, for a wait whose length nobody knows: "building kernels". progress_end takes it away. */
void progress_wait(cli_progress *progress, cli_app *app, const char *text);
/* Takes the line away. */
void progress_end(cli_progress *progress);

#endif
