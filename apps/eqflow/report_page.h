/* The page of a report: its head, its tables, its pictures, one style. Texts are escaped, but for titles, captions and
 * footers, which are HTML. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include <stdio.h>

#include "report.h"

/* Head of the page: title, subtitle, and the few figures at the top. */
void page_begin(FILE *html, const char *title, const char *subtitle, size_t num_tiles, const report_row *tiles);
void page_end(FILE *html, const char *footer);
void page_warnings(FILE *html, size_t num, char *const *warnings);
/* Rows of label, value and note; class_name: "figures" or "origin". */
void page_table(FILE *html, const char *class_name, size_t num_rows, const report_row *rows);
/* A picture with its caption, to which more is appended. svg: as plot_svg gives it. */
void page_figure(FILE *html, const char *id, const char *title, const char *caption, const char *more, const char *svg);
/* Instead of pictures: says why there are none, in the page and on stderr. */
void page_no_pictures(cli_app *app, FILE *html, const char *problem);
void page_escaped(FILE *html, const char *text);

/* Begins a gnuplot script for plot_svg. */
void page_script_begin(FILE *script, const char *x_label, const char *y_label);

#endif
