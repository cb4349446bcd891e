/* The actions of signals that no library may replace by a handler that works once. */
#ifndef HANDLERS_H
#define HANDLERS_H

#include <signal.h>

/* sigaction() of the C library. */
int handlers_set(int number, const struct sigaction *action, struct sigaction *before);

/* After this call a library's handler of this signal is not installed if the system would take it back when it runs
 * (SA_RESETHAND): the library is told that it is. */
void handlers_keep(int number);

#endif
