/* The path of a few samples from prior to data, for the report. */
#ifndef REPORT_STRIP_H
#define REPORT_STRIP_H

#include "app.h"
#include "eqflow/flow.h"

enum { REPORT_STRIP_MAX_FRAMES = 33, REPORT_STRIP_SAMPLES = 6, REPORT_STRIP_SAMPLES_IF_LARGE = 3 };

typedef struct report_strip {
    size_t num, num_frames; /* num 0: there is no strip */
    float *x;               /* [num_frames, num, N, D]; the caller frees it */
    double times[REPORT_STRIP_MAX_FRAMES];
} report_strip;

/* Flows without trajectories (double precision) give no strip; that is not a failure. */
void report_strip_make(cli_app *app, const eqf_model *model, const eqf_flow_options *options, report_strip *strip_out);

#endif
