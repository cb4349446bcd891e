/* Results on stdout: the same rows as a text table or as one JSON object. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>
#include <stdint.h>

#include "app.h"
#include "eqflow/flow.h"

/* Rows are kept in order until output_finish prints them. */
typedef struct cli_output {
    cli_app *app;
    json_t *root; /* for --json */
    char *text;   /* without --json */
    size_t text_size;
    void *stream; /* FILE over text */
} cli_output;

exit_code output_begin(cli_output *output, cli_app *app);
/* key: in JSON. label: in the table; NULL leaves the row out of the table. note may be NULL. */
void output_number(cli_output *output, const char *key, const char *label, double value, const char *note);
void output_count(cli_output *output, const char *key, const char *label, uint64_t value);
void output_text(cli_output *output, const char *key, const char *label, const char *value);
void output_bool(cli_output *output, const char *key, const char *label, bool value);
/* The error of log-densities after a round trip (work_round_trip). */
void output_round_trip(cli_output *output, const eqf_round_trip *error);
/* Any JSON value, for --json only; takes over the reference. */
void output_json(cli_output *output, const char *key, json_t *value);
/* A line, without --json only. */
void output_line(cli_output *output, const char *format, ...) APP_PRINTF(2, 3);
/* Prints; EXIT_CODE_OUTPUT if stdout does not take it. */
exit_code output_finish(cli_output *output);
/* Frees everything without printing; may be called after output_finish. */
void output_abandon(cli_output *output);

/* A text as JSON, converted to UTF-8, because a file name need not be UTF-8; NULL is null. */
json_t *output_json_text(const char *text);
/* A number as JSON; NaN and infinity, which JSON lacks, are null. */
json_t *output_real(double value);
/* A number for a table: six significant digits, "-" for NaN. */
const char *output_format(double value, char text[32]);

#endif
