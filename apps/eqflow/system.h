/* Which system a command is about: a preset by name, and flags over its constants. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stdio.h>

#include "eqflow/array.h"
#include "eqflow/preset.h"
#include "option_flags.h"
#include "options.h"

/* Room for a heading, the two sizes, the constants of all kinds, and what goes with an own potential. */
#define SYSTEM_NUM_OPTIONS (OPTION_FLAGS_MAX + 8)

typedef struct system_flags {
    option_flags common, constants; /* of every kind of potential; of those that are built in */
    option_flags of_text;           /* of those that are text: go with potential_path */
    uint64_t num_particles, space_dim;
    bool is_num_particles_set, is_space_dim_set;
    const char *potential_path; /* OpenCL C text of the user's own potential, or NULL */
    cli_list own_constants; /* "name=value" */
    bool is_trusted;
} system_flags;

/* What the options are for: a PRESET, a PRESET or a model, a model, or nothing but an own potential that is checked. */
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

/* The preset of this name with the flags over its potential; NULL name: --potential must be there, and gives a system
 * of its own. Checks it; app needs its context. What the preset points to lives as long as app. */
exit_code system_choose(cli_app *app, const system_flags *flags, const char *name, eqf_preset *preset_out);

/* Puts the flags over the potential of a model and checks it; app needs its context. A potential of the model's own
 * text passes only with --trust-potential or --potential: the text is code that somebody wrote. */
exit_code system_apply(cli_app *app, const system_flags *flags, eqf_potential_options *potential);

/* Gives the potential texts of its own, which live as long as app: its model may die. */
exit_code system_keep_texts(cli_app *app, eqf_potential_options *potential);

/* Compares the gradient of an own potential with its energy, once app's device is open; other potentials pass. */
exit_code system_verify(cli_app *app, const eqf_potential_options *potential);
/* The same for training: a potential that lacks a symmetry which every density of the field has is refused, not only
 * warned of. */
exit_code system_verify_for_field(cli_app *app, const eqf_potential_options *potential, eqf_dynamics_kind field);

/* The energy is OpenCL C text that somebody wrote. */
bool system_has_text(const eqf_potential_options *potential);

/* Formula and constants, for reports. */
void system_describe(const eqf_potential_options *potential, char *text, size_t size);

/* Extended XYZ with the elements of the potential's species, or those of names: NULL, "Ar" or "Ar,Ne". */
eqf_status system_write_xyz(cli_app *app, const char *path, const eqf_array *x, const eqf_potential_options *potential,
                            const char *names, size_t num_values, const eqf_frame_value *values);

/* One row of the table of presets for --help: prints what one preset has under a column. */
typedef void (*system_column)(const eqf_preset *preset, const void *user, char text[16]);
void system_print_row(FILE *stream, const char *label, system_column column, const void *user);
/* The heading of that table, and the constants of every preset. */
void system_print_heading(FILE *stream, const char *title);
void system_print_constants(FILE *stream);

#endif
