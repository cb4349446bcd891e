/* The options of `eqflow anneal`. */
#ifndef ANNEAL_FLAGS_H
#define ANNEAL_FLAGS_H

#include "flow_flags.h"
#include "options.h"
#include "sample_files.h"
#include "system.h"

typedef struct anneal_flags {
    const char *start_path, *preset_name;
    const char *steps_path;
    sample_files equal, walkers; /* equally weighted configurations; the walkers as they are */
    uint64_t num_walkers, num_repeats, num_pilot, num_latent_moves, num_langevin_moves, num_particle_sweeps;
    double ess_decay;
    cli_list start_constants; /* "NAME=X" */
    flow_flags flow;
    eqf_flow_options flow_options;
    system_flags target;
} anneal_flags;

/* Sets the defaults and writes the options into options_out [OPTIONS_MAX]; gives their number. */
size_t anneal_flags_options(anneal_flags *flags, cli_option options_out[]);

/* Looks at the flags together, and fills in flow_options; prints what is wrong with them. */
exit_code anneal_flags_check(cli_app *app, anneal_flags *flags);

#endif
