/* The processes (ranks) of one `mpirun`. Without MPI there is one. */
#ifndef RANKS_H
#define RANKS_H

#include "app.h"

/* The first call: sets app->ranks and app->node_rank. Prints errors, such as a launch by mpirun of a program that was
 * built without MPI. */
exit_code ranks_begin(cli_app *app);

/* The last call: if code is a failure it also ends the other ranks. Returns the exit code of the process. */
exit_code ranks_end(cli_app *app, exit_code code);

/* Called before a failure is reported. It returns at once on the first rank; on others it waits, so that the first rank
 * can report the same failure for all. */
void ranks_wait_for_first(const cli_app *app);

#endif
