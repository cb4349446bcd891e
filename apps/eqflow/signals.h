/* SIGINT and SIGTERM ask for an orderly end; a second one ends the program at once. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

void signals_install(void);
bool signals_is_stop_requested(void);

#endif
