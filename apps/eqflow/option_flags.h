/* Flags made from the library's option rows (eqflow/option.h): names, help, ranges and values, so that the
 * options of a new kind need no code here. Kinds may share a flag; it then sets the option of that name of the chosen
 * kind. */
#ifndef OPTION_FLAGS_H
#define OPTION_FLAGS_H

#include "eqflow/option.h"
#include "options.h"

#define OPTION_FLAGS_MAX 32

typedef struct option_flag {
    char name[40];   /* without the dashes */
    char titles[96]; /* of the kinds that have it: "Lennard-Jones, Morse" */
    char help[224];
    const eqf_option *row; /* of the first of these kinds */
    double low, high;      /* of all of them */
    double number;
    uint64_t count;
    const char *text;
    bool is_set;
} option_flag;

typedef struct option_flags {
    size_t num;
    option_flag flags[OPTION_FLAGS_MAX];
} option_flags;

/* Row number index of a kind, NULL beyond the last, such as eqf_potential_option. */
typedef const eqf_option *(*option_rows)(unsigned kind, size_t index);

/* Adds a kind's rows; title goes before the help ("": nothing). */
void option_flags_add(option_flags *flags, const char *title, option_rows rows, unsigned kind);
/* Writes an option for each flag into options_out [flags->num]; gives their number. default_text as of cli_option;
 * NULL: the first kind's default. */
size_t option_flags_options(option_flags *flags, const char *default_text, cli_option options_out[]);
/* The same for the named flags alone, names [num], in this order. */
size_t option_flags_named(option_flags *flags, size_t num, const char *const names[], const char *default_text,
                          cli_option options_out[]);
/* Puts another title before a flag's help. */
void option_flags_entitle(option_flags *flags, const char *name, const char *title);
/* The flag of that name; where there is none, one that is not set. */
const option_flag *option_flags_find(const option_flags *flags, const char *name);
/* The kind's row of a flag; NULL if it has none. */
const eqf_option *option_flags_row(const option_flag *flag, option_rows rows, unsigned kind);
/* Writes the given flags into options, a struct of that kind. *unfit_out: the first flag that the kind does not have,
 * or NULL; the caller reports it. A text that is not a name of the row is reported here. */
exit_code option_flags_apply(cli_app *app, const option_flags *flags, option_rows rows, unsigned kind, void *options,
                             const option_flag **unfit_out);

bool option_flags_any(const option_flags *flags); /* was one given? */

/* "a = 1, b = tanh": the kind's options and their values. */
void option_flags_describe(option_rows rows, unsigned kind, const void *options, char *text, size_t size);

#endif
