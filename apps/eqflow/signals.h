/* SIGINT and SIGTERM ask for an orderly end; a second one ends the program at once. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

void signals_install(void);

/* From here on the program also ends, with a line and EXIT_CODE_INTERRUPTED, if nobody asks for two seconds: the compiler of a
 * driver and a sum over all samples do not ask. Not for what has something to save. */
void signals_limit_patience(const char *command);

bool signals_is_stop_requested(void);

#endif
