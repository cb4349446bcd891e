/* Pictures of a report about the weights: against the energy, and what they give as their number grows. gnuplot's
 * commands. */
#ifndef REPORT_WEIGHTS_H
#define REPORT_WEIGHTS_H

#include <stdio.h>

#include "report.h"

/* Each a whole plot, up to 2000 samples of it. */
void report_print_scatter(FILE *script, const report_content *report, const char *colour);
/* ln Z of the first so many samples, with its standard error as a band, and the known value. */
void report_print_running_log_z(FILE *script, const report_content *report, const char *colour);
void report_print_running_ess(FILE *script, const report_content *report, const char *colour);

#endif
