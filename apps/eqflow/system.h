/* Which system a command is about: a preset by name, and flags over its constants. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stdio.h>

#include "eqflow/preset.h"
#include "options.h"

#define SYSTEM_NUM_CONSTANTS 8
#define SYSTEM_NUM_OPTIONS (SYSTEM_NUM_CONSTANTS + 3) /* a heading and the two sizes */

typedef struct system_flags {
    double constants[SYSTEM_NUM_CONSTANTS]; /* in the order of the table in system.c */
    bool is_constant_set[SYSTEM_NUM_CONSTANTS];
    uint64_t num_particles, space_dim;
    bool is_num_particles_set, is_space_dim_set;
} system_flags;

/* Writes the options into options_out [SYSTEM_NUM_OPTIONS]; gives their number. Without the sizes the flags
 * serve a system that already has particles. */
size_t system_options(system_flags *flags, bool has_sizes, cli_option options_out[]);

/* EXIT_CODE_USAGE with the list of presets if there is none of this name. */
exit_code system_find_preset(cli_app *app, const char *name, const eqf_preset **preset_out);

/* Puts the flags over potential and checks it; app needs its context. */
exit_code system_apply(cli_app *app, const system_flags *flags, eqf_potential_options *potential);

/* One row of the table of presets for --help: prints what one preset has under a column. */
typedef void (*system_column)(const eqf_preset *preset, char text[16]);
void system_print_row(FILE *stream, const char *label, system_column column);
/* The heading of that table, and the constants of every preset. */
void system_print_heading(FILE *stream, const char *title);
void system_print_constants(FILE *stream);

#endif
