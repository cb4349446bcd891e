/* The report: one self-contained HTML file with pictures, figures, and how it was made. */
#ifndef REPORT_H
#define REPORT_H

#include "app.h"
#include "eqflow/model.h"

typedef struct report_row {
    /* value: long enough for a command line with paths; note: the meaning of the figure, or "" */
    char label[64], value[4096], note[200];
} report_row;
/* value: printed by format. Texts that are too long are cut. */
void page_row(report_row *row, const char *label, const char *note, const char *format, ...) APP_PRINTF(4, 5);

/* One check as a traffic light: the measured value, and what to do. */
typedef enum report_colour { REPORT_GREEN, REPORT_YELLOW, REPORT_RED } report_colour;
typedef struct report_light {
    report_colour colour;
    char name[64], value[160], advice[320];
} report_light;

typedef struct report_content {
    const char *title, *subtitle;
    unsigned num_particles, space_dim;
    size_t num_tiles; /* the few figures at the top */
    const report_row *tiles;
    size_t num_figures;
    const report_row *figures;
    size_t num_origins; /* how it was made */
    const report_row *origins;
    size_t num_warnings;
    char *const *warnings;
    size_t num_lights;
    const report_light *lights;
    size_t num_data;
    const float *x_data, *energy_data; /* [num_data, N, D], [num_data] */
    size_t num_samples;
    const float *x_model, *energy_model; /* [num_samples, N, D], [num_samples] */
    const double *log_weights;           /* [num_samples] */
    double log_z;                        /* of those weights; NaN: no reweighted curves */
    size_t num_strip, num_strip_frames; /* samples, and times of their path from prior to data; 0: none */
    const float *x_strip;               /* [num_strip_frames, num_strip, N, D] */
    const double *strip_times;          /* [num_strip_frames] */
    size_t num_history;
    const eqf_history_row *history;
    double entropy, known_log_z; /* lower bounds in the training curves; NaN: not drawn */
} report_content;

/* Writes path whole or not at all. Without gnuplot the pictures are left out, with one line on stderr. */
exit_code report_write(cli_app *app, const char *path, const report_content *report);

#endif
