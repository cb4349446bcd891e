/* A few samples on their way from prior to data, for the report. */
#ifndef REPORT_STRIP_H
#define REPORT_STRIP_H

#include "app.h"
#include "eqflow/flow.h"

enum { REPORT_STRIP_MAX_FRAMES = 33, REPORT_STRIP_SAMPLES = 6, REPORT_STRIP_SAMPLES_IF_LARGE = 3 };

typedef struct report_strip {
    size_t num, num_frames; /* num 0: the flow gives none */
    float *x;               /* [num_frames, num, N, D]; the caller frees it */
    double times[REPORT_STRIP_MAX_FRAMES];
} report_strip;

/* Flows that cannot be followed (double precision) give none: no failure. */
void report_strip_make(cli_app *app, const eqf_model *model, const eqf_flow_options *options, report_strip *strip_out);

#endif
