/* Pictures about the weights: against the energy, and ln Z and ESS as functions of the number of samples. They are
 * written as gnuplot commands. */
#ifndef REPORT_WEIGHTS_H
#define REPORT_WEIGHTS_H

#include <stdio.h>

#include "report.h"

/* Weights against energies, of up to 2000 samples. */
void report_print_scatter(FILE *script, const report_content *report, const char *colour);
/* ln Z from the first samples, with its standard error as a band, and the known value. */
void report_print_running_log_z(FILE *script, const report_content *report, const char *colour);
void report_print_running_ess(FILE *script, const report_content *report, const char *colour);

#endif
