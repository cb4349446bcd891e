/* Configurations drawn as particles, in the report: SVG within its page, so that it takes the page's colours. */
#ifndef REPORT_CONFIGURATIONS_H
#define REPORT_CONFIGURATIONS_H

#include <stdio.h>

#include "report.h"

/* The configurations of lowest energy of the model's samples, typical samples, typical data, and the strip from prior
 * to data, if there is one: a figure each. False: out of memory. */
bool report_print_configurations(FILE *html, const report_content *report);

#endif
