/* The processes of one `mpirun`, of which this is one. Without MPI there is one. */
#ifndef RANKS_H
#define RANKS_H

#include "app.h"

/* Before anything else: fills app->ranks and app->node_rank. Says what is wrong, such as a launch by mpirun of a
 * program that was built without MPI. */
exit_code ranks_begin(cli_app *app);

/* The last call: ends the other ranks too if code is a failure. Returns the exit code of the process. */
exit_code ranks_end(cli_app *app, exit_code code);

/* A failure of this process is about to be reported: returns when the report is this rank's, which is so at once on the
 * first rank; others give it a moment to say the same for all of them. */
void ranks_wait_for_first(const cli_app *app);

#endif
