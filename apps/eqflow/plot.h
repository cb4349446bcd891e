/* Pictures by gnuplot: a script in, an SVG text out. */
#ifndef PLOT_H
#define PLOT_H

#include "app.h"

/* Runs gnuplot on script, which writes SVG to stdout. *svg_out is the caller's; NULL if gnuplot is missing or failed,
 * and *problem_out then says which (static text). */
void plot_svg(const char *script, char **svg_out, const char **problem_out);

#endif
