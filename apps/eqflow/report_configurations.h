/* Configurations drawn as particles, in the report: SVG within its page, so that it takes the page's colours. */
#ifndef REPORT_CONFIGURATIONS_H
#define REPORT_CONFIGURATIONS_H

#include <stdio.h>

#include "report.h"

/* Prints a figure each of: the model's samples of lowest energy, typical samples, typical data, and the strip from
 * prior to data, if there is one. False: out of memory. */
bool report_print_configurations(FILE *html, const report_content *report);

#endif
