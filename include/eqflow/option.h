/* Options as data: each option of a potential, a field, a prior or a loss is one row of a table. The checks, the model
 * file, the fingerprint of a training, and a program's flags and help are made from the rows, so an option is written
 * once. */
#ifndef EQFLOW_OPTION_H
#define EQFLOW_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of the member that a row describes. */
typedef enum eqf_option_type {
    EQF_OPTION_REAL,     /* double */
    EQF_OPTION_UNSIGNED, /* unsigned */
    EQF_OPTION_SIZE,     /* size_t */
    EQF_OPTION_UINT64,   /* uint64_t */
    EQF_OPTION_BOOL,     /* bool */
    EQF_OPTION_NAME      /* an enum, of which value v is called names[v] */
} eqf_option_type;

/* A row. Rows are static; later versions may add members at the end. */
typedef struct eqf_option {
    size_t struct_size; /* set by the library */
    const char *key;    /* "trap_strength": the member's name, the key in the model file, the name in messages */
    size_t offset;      /* of the member in the options struct that the table describes */
    eqf_option_type type;
    double initial; /* the default; BOOL: 0 or 1, NAME: the enum's value */
    /* allowed, both included; BOOL and NAME: not used. Infinity is allowed where a bound is infinite, NaN never */
    double low, high;
    const char *help; /* a description without capital and full stop: "depth of a pair" */
    const char *unit; /* "kT", "length"; NULL: a pure number */
    /* its name on a command line, without dashes; NULL: the key with - for _; "": no flag */
    const char *flag;
    const char *const *names; /* NAME: NULL at the end */
    /* newer than the file's format: a file without the key means `initial`, and `initial` is not written */
    bool is_optional;
    bool is_zero_default; /* 0, which may be out of range, stands for `initial` */
} eqf_option;

/* The option's value in the struct `options`, which the row's table describes; of a NAME the enum's value. 64-bit
 * counts above 2^53 are rounded. */
double eqf_option_get(const eqf_option *option, const void *options);
/* Sets it without a check; the check of the whole struct finds wrong values. Counts must be whole numbers that fit. */
void eqf_option_set(const eqf_option *option, void *options, double value);
/* The name of the value of a NAME; NULL if the value has none. */
const char *eqf_option_name(const eqf_option *option, const void *options);

#ifdef __cplusplus
}
#endif
#endif
