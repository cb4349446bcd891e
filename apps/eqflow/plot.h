/* Pictures by gnuplot: a script in, an SVG text out. */
#ifndef PLOT_H
#define PLOT_H

#include "app.h"

/* Runs gnuplot on script (its output goes to stdout of gnuplot as SVG). *svg_out is the caller's, NULL if gnuplot is
 * missing or failed; *problem_out then says which in a few words (static text). */
void plot_svg(const char *script, char **svg_out, const char **problem_out);

#endif
