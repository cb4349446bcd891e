/* SIGINT, SIGTERM, SIGHUP and SIGXCPU ask for an orderly end; a second one ends the program at once. Crashes end with a
 * line too. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

void signals_install(void);

/* The lines of sudden ends name the command from here on. An end that a library brings about (drivers call exit or
 * abort when their disk is full) is EXIT_CODE_DEVICE with a line, until signals_end_command. */
void signals_begin_command(const char *command);
void signals_end_command(void);

/* From here on the program also ends, with a line and EXIT_CODE_INTERRUPTED, if nobody asks for two seconds: the
 * compiler of a driver and a sum over all samples do not ask. Until there is something to save: signals_give_time. */
void signals_limit_patience(void);
void signals_give_time(void);

/* The work is done and its results are written: what is left, such as storing kernels, may be cut short by a signal,
 * and code is the program's. If that takes more than two seconds, a line says so, unless is_quiet. */
void signals_set_result(int code, bool is_quiet);

bool signals_is_stop_requested(void);

#endif
