/* Options as data: what can be chosen about a potential, a field, a prior or a loss is one row for each choice. The
 * rows make the checks, the model file, the fingerprint of a training, and a program's flags and help, so that an
 * option is written once. */
#ifndef EQFLOW_OPTION_H
#define EQFLOW_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of the member that the row is about. */
typedef enum eqf_option_type {
    EQF_OPTION_REAL,     /* double */
    EQF_OPTION_UNSIGNED, /* unsigned */
    EQF_OPTION_SIZE,     /* size_t */
    EQF_OPTION_UINT64,   /* uint64_t */
    EQF_OPTION_BOOL,     /* bool */
    EQF_OPTION_NAME      /* an enum, of which value v is called names[v] */
} eqf_option_type;

/* A row. Rows belong to the library and live as long as it does; they may grow at their end. */
typedef struct eqf_option {
    size_t struct_size; /* set by the library */
    const char *key;    /* "trap_strength": the member's name, the key in the model file, the name in messages */
    size_t offset;      /* of the member in the options struct that the table is about */
    eqf_option_type type;
    double initial; /* the default; BOOL: 0 or 1, NAME: the enum's value */
    /* allowed, both included; BOOL and NAME: not used. Infinity is allowed where a bound is infinite, NaN never */
    double low, high;
    const char *help; /* part of a sentence, lower case, no full stop: "depth of a pair" */
    const char *unit; /* "kT", "length"; NULL: a pure number */
    /* what a command line calls it, without dashes; NULL: the key with - for _; "": no flag is wanted */
    const char *flag;
    const char *const *names; /* NAME: NULL at the end */
    /* younger than the file's format: a file without the key means `initial`, and `initial` is not written */
    bool is_optional;
    bool is_zero_default; /* 0, which may be out of range, stands for `initial` */
} eqf_option;

/* The value in options, the struct that the row's table is about; a NAME's is the enum's value. 64-bit counts above
 * 2^53 are rounded. */
double eqf_option_get(const eqf_option *option, const void *options);
/* Sets it, unchecked: the check of the whole struct tells. Counts must be whole numbers that fit. */
void eqf_option_set(const eqf_option *option, void *options, double value);
/* The name of a NAME's value; NULL if there is none. */
const char *eqf_option_name(const eqf_option *option, const void *options);

#ifdef __cplusplus
}
#endif
#endif
