/* The commands of main.c's table, one file each. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "app.h"

exit_code cmd_devices(cli_app *app);
exit_code cmd_data(cli_app *app);
exit_code cmd_train(cli_app *app);
exit_code cmd_sample(cli_app *app);
exit_code cmd_evaluate(cli_app *app);
exit_code cmd_boltzmann(cli_app *app);
exit_code cmd_anneal(cli_app *app);
exit_code cmd_average(cli_app *app);
exit_code cmd_compare(cli_app *app);
exit_code cmd_trajectory(cli_app *app);
exit_code cmd_log_prob(cli_app *app);
exit_code cmd_minima(cli_app *app);
exit_code cmd_gallery(cli_app *app);
exit_code cmd_selftest(cli_app *app);
exit_code cmd_tune(cli_app *app);
exit_code cmd_bench(cli_app *app);
exit_code cmd_cache(cli_app *app);
exit_code cmd_version(cli_app *app);

#endif
