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
    char *text;   /* for people */
    size_t text_size;
    void *stream; /* FILE over text */
} cli_output;

exit_code output_begin(cli_output *output, cli_app *app);
/* key is the JSON key; label what people read, NULL leaves the row out of the table. note may be NULL. */
void output_number(cli_output *output, const char *key, const char *label, double value, const char *note);
void output_count(cli_output *output, const char *key, const char *label, uint64_t value);
void output_text(cli_output *output, const char *key, const char *label, const char *value);
void output_bool(cli_output *output, const char *key, const char *label, bool value);
/* How far log-densities differ on the way there and back (work_round_trip). */
void output_round_trip(cli_output *output, const eqf_round_trip *error);
/* A value made elsewhere, JSON only; takes over the reference. */
void output_json(cli_output *output, const char *key, json_t *value);
/* A line for people only. */
void output_line(cli_output *output, const char *format, ...) APP_PRINTF(2, 3);
/* Prints; EXIT_CODE_OUTPUT if stdout does not take it. */
exit_code output_finish(cli_output *output);
/* Drops everything unprinted; harmless after finish. */
void output_abandon(cli_output *output);

/* A text as JSON, which must be UTF-8, what a file name need not be; NULL is null. */
json_t *output_json_text(const char *text);
/* JSON knows no NaN and no infinity: null. */
json_t *output_real(double value);
/* A number as a table shows it: six significant digits, "-" for NaN. */
const char *output_format(double value, char text[32]);

#endif
