/* Command-line options: one table a command, read through libpopt, shown by --help with every default. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "app.h"

typedef enum cli_option_kind {
    OPTION_HEADING, /* name is a title; no option */
    OPTION_FLAG,    /* value: bool */
    OPTION_TEXT,    /* value: const char * */
    OPTION_LIST,    /* value: cli_list; may be given several times */
    OPTION_COUNT,   /* value: uint64_t; "1e5" is understood */
    OPTION_NUMBER   /* value: double, finite */
} cli_option_kind;

/* Ranges "FIRST:LAST:COUNT" that stood where a number may stand; the texts are kept by app. */
typedef struct cli_ranges {
    unsigned num;
    const char *name, *text; /* of the last one: the option's name, the range */
} cli_ranges;

typedef struct cli_option {
    cli_option_kind kind;
    char letter;              /* 0: none */
    const char *name;         /* without the dashes */
    const char *argument;     /* the value's name in --help: "FILE" */
    const char *help;         /* a description without capital and full stop */
    void *value;              /* before: the default; after: the result */
    bool *is_set;             /* true if given; may be NULL */
    const char *default_text; /* shown instead of the value before; "" shows none */
    double low, high;         /* allowed values; both 0: any */
    cli_ranges *ranges;       /* OPTION_NUMBER: a range is taken too, and the value left as it was; NULL: it is not */
} cli_option;

/* What --help says besides the options. */
typedef struct command_help {
    const char *usage;                /* "PRESET -o FILE [options]" */
    const char *description;          /* one or a few sentences; wrapped */
    const char *const *operands;      /* names of the arguments without dashes, NULL at the end */
    bool is_last_operand_optional;    /* if it is missing its place is NULL */
    const char *examples;             /* complete lines, or NULL */
    void (*print_more)(FILE *stream); /* after the options, or NULL */
} command_help;

#define OPTIONS_MAX 128
#define OPERANDS_MAX 4

/* Copies an array of rows into a command's list of options; returns their number. */
#define OPTIONS_PUT(options_out, rows) (memcpy((options_out), (rows), sizeof(rows)), sizeof(rows) / sizeof *(rows))

/* Three numbers with two colons between, such as "0.8:1.2:9", by their letters alone. */
bool options_is_range(const char *text);

/* A finite decimal number and nothing else. */
bool options_number(const char *text, double *value_out);

/* Reads app's arguments after the command's name. operands [OPERANDS_MAX] receives the arguments without
 * dashes, all required unless help says otherwise. Returns true if the command should go on; otherwise *code_out is the
 * exit code (--help: 0, printed; a mistake: EXIT_CODE_USAGE, one line said). */
bool options_parse(cli_app *app, const command_help *help, const cli_option *options, size_t num_options,
                   const char *operands[], exit_code *code_out);

#endif
