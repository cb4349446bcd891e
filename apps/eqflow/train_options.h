/* The options of eqflow train; train_flags.h reads and checks them. */
#ifndef TRAIN_OPTIONS_H
#define TRAIN_OPTIONS_H

#include "options.h"
#include "train_flags.h"

/* All options, with their defaults in flags; returns their number. */
size_t train_options(train_flags *flags, cli_option options_out[]);
/* Printed after the options of --help: defaults by preset, keys of stages. */
void train_options_print_more(FILE *stream);

/* Kinds of field, one by one; NULL beyond the last. */
const eqf_dynamics_kind_info *train_field(unsigned kind);
const eqf_option *train_dynamics_row(unsigned kind, size_t index);
/* Options of a stage of training; kind is 0. */
const eqf_option *train_row(unsigned kind, size_t index);

#endif
