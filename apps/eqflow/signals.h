/* SIGINT, SIGTERM, SIGHUP and SIGXCPU request an orderly end; a second one ends the program at once. After a crash a
 * line is printed. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

void signals_install(void);

/* After this call lines about crashes name the command. Until signals_end_command, if a library ends the program
 * (drivers call exit or abort when their disk is full), there is a line and the exit code is EXIT_CODE_DEVICE. */
void signals_begin_command(const char *command);
void signals_end_command(void);

/* After this call a signal ends the program, with a line and EXIT_CODE_INTERRUPTED, if signals_is_stop_requested is not
 * called within two seconds, for example during a driver's compilation. signals_give_time takes this back, when there
 * is something to save. */
void signals_limit_patience(void);
void signals_give_time(void);

/* Called when the results are written. A signal may now end the remaining work, such as storing kernels, and the exit
 * code is then `code`. If the remaining work takes more than two seconds, a line says so, unless is_quiet. */
void signals_set_result(int code, bool is_quiet);

bool signals_is_stop_requested(void);

#endif
