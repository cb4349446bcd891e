/* eqflow data --replicas: equilibrium samples by replica exchange in temperature. */
#ifndef DATA_REPLICA_H
#define DATA_REPLICA_H

#include <jansson.h>
#include <stdio.h>

#include "eqflow/mcmc.h"
#include "eqflow/preset.h"
#include "files.h"
#include "options.h"

typedef struct replica_flags {
    uint64_t num_temperatures, num_ladders, exchange_interval;
    bool is_num_temperatures_set, is_num_ladders_set, is_exchange_interval_set, is_highest_set;
    double highest;
    const char *start, *each_path, *ladder_path;
    cli_list to; /* "NAME=X" */
} replica_flags;

/* Values of the command's other flags. */
typedef struct replica_request {
    size_t num;
    const char *path, *energies_path;
    unsigned num_burn_in, thinning; /* 0: the preset's */
} replica_request;

/* --replicas and its options; returns their number. */
size_t replica_options(replica_flags *flags, cli_option options_out[]);
/* An error if an option that needs --replicas is given without it. */
exit_code replica_check(cli_app *app, const replica_flags *flags);
/* The potentials [num_temperatures] of a ladder's entries: the temperature in a geometric row to the highest, the
 * constants of --to in equal steps (data_states.c). */
exit_code replica_make_states(cli_app *app, const replica_flags *flags, const eqf_potential_options *potential,
                              eqf_potential_options *states_out);
/* The table of --ladder, if it is given. states [num_temperatures]: of its entries. */
exit_code replica_write_ladder(cli_app *app, const replica_flags *flags, const eqf_potential_options *states,
                               const eqf_replica_diagnostics *diagnostics);
/* Adds the values of the constants of --to in an entry. */
void replica_add_constants(cli_app *app, const replica_flags *flags, const eqf_potential_options *state, json_t *row);

enum { REPLICA_NUM_USES = EQF_REPLICA_MAX_TEMPERATURES + 2 };
/* The files of --ladder, --start and, for each temperature, --each: into uses_out [REPLICA_NUM_USES]. */
exit_code replica_uses(cli_app *app, const replica_flags *flags, files_use uses_out[]);
/* An error if these cannot be written. */
exit_code replica_check_writable(cli_app *app, const replica_flags *flags);

/* Draws the samples, writes the files and prints the results. */
exit_code replica_make(cli_app *app, const replica_flags *flags, const replica_request *request,
                       const eqf_preset *preset);

#endif
