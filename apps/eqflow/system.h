/* The system of a command: a preset by name, with flags that override its constants. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stdio.h>

#include "eqflow/array.h"
#include "eqflow/preset.h"
#include "option_flags.h"
#include "options.h"

/* A heading, the two sizes, the constants of all kinds, and the options of an own potential. */
#define SYSTEM_NUM_OPTIONS (OPTION_FLAGS_MAX + 8)

typedef struct system_flags {
    option_flags common, constants; /* options of every kind of potential; of built-in ones */
    option_flags of_text;           /* options of potentials given as text (potential_path) */
    uint64_t num_particles, space_dim;
    bool is_num_particles_set, is_space_dim_set;
    const char *potential_path; /* OpenCL C text of the user's own potential, or NULL */
    cli_list own_constants; /* "name=value" */
    bool is_trusted;
} system_flags;

/* What the command is about: a PRESET, a PRESET or a model, a model, or only an own potential that is checked. */
typedef enum system_use {
    SYSTEM_OF_PRESET,
    SYSTEM_OF_EITHER,
    SYSTEM_OF_MODEL,
    SYSTEM_OF_CHECK
} system_use;

/* Writes the options into options_out [SYSTEM_NUM_OPTIONS]; gives their number. */
size_t system_options(system_flags *flags, system_use use, cli_option options_out[]);

/* EXIT_CODE_USAGE with the list of presets if there is none of this name. */
exit_code system_find_preset(cli_app *app, const char *name, const eqf_preset **preset_out);

/* The preset of this name with the flags applied to its potential; NULL name: the system of --potential, which must be
 * given. Checks it; app needs its context. The preset's pointers are valid as long as app. */
exit_code system_choose(cli_app *app, const system_flags *flags, const char *name, eqf_preset *preset_out);

/* Applies the flags to the potential of a model and checks it; app needs its context. A potential that is text in the
 * model is code of another person, and is accepted only with --trust-potential or --potential. */
exit_code system_apply(cli_app *app, const system_flags *flags, eqf_potential_options *potential);

/* One constant by the name of its flag, or of an own potential: gives it; sets it and checks the potential
 * (system_constant.c). */
exit_code system_get_constant(cli_app *app, const char *name, const eqf_potential_options *potential,
                              double *value_out);
exit_code system_set_constant(cli_app *app, const char *name, double value, eqf_potential_options *potential);
/* "NAME=NUMBER", the value of an option. */
exit_code system_read_constant(cli_app *app, const char *option, const char *text, char name_out[64],
                               double *value_out);
/* Refuses a list of these in which a name comes twice. */
exit_code system_check_once(cli_app *app, const char *option, const cli_list *list);

/* Copies the potential's texts, which then live as long as app and not only as long as its model. */
exit_code system_keep_texts(cli_app *app, eqf_potential_options *potential);

/* Compares the gradient of an own potential with its energy; app's device is open. Built-in potentials are not
 * checked. */
exit_code system_verify(cli_app *app, const eqf_potential_options *potential);
/* The same for training: a potential that lacks a symmetry of the field's densities is an error, not only a warning. */
exit_code system_verify_for_field(cli_app *app, const eqf_potential_options *potential, eqf_dynamics_kind field);

/* Whether the energy is OpenCL C text. */
bool system_has_text(const eqf_potential_options *potential);

/* Formula and constants, for reports. */
void system_describe(const eqf_potential_options *potential, char *text, size_t size);

/* Extended XYZ with the elements of the potential's species, or those of names: NULL, "Ar" or "Ar,Ne". */
eqf_status system_write_xyz(cli_app *app, const char *path, const eqf_array *x, const eqf_potential_options *potential,
                            const char *names, size_t num_values, const eqf_frame_value *values);

/* The text of one preset in a row of the table of presets for --help. */
typedef void (*system_column)(const eqf_preset *preset, const void *user, char text[16]);
void system_print_row(FILE *stream, const char *label, system_column column, const void *user);
/* The heading of that table, and the constants of every preset. */
void system_print_heading(FILE *stream, const char *title);
void system_print_constants(FILE *stream);

#endif
