/* The checks of an evaluation as traffic lights. */
#ifndef REPORT_LIGHTS_H
#define REPORT_LIGHTS_H

#include <stdio.h>

#include "eqflow/evaluate.h"
#include "report.h"

enum { REPORT_MAX_LIGHTS = 8 };

/* Writes the lights for which there are figures to lights_out [REPORT_MAX_LIGHTS]; returns their number. */
size_t report_fill_lights(const eqf_evaluation_figures *figures, report_light lights_out[REPORT_MAX_LIGHTS]);
void report_print_lights(FILE *html, const report_content *report);

#endif
