#include "report_strip.h"

#include <stdlib.h>
#include <string.h>

void report_strip_make(cli_app *app, const eqf_model *model, const eqf_flow_options *options, report_strip *strip_out) {
    *strip_out = (report_strip){0};
    eqf_flow *flow = NULL;
    if (options->precision == EQF_PRECISION_DOUBLE || eqf_flow_create(app->ctx, model, options, &flow) != EQF_OK)
        return;
    const eqf_model_options *made = eqf_model_options_of(model);
    const unsigned num_steps = options->num_steps > 0 ? options->num_steps : made->integrator.num_steps;
    const size_t num_dof = eqf_flow_num_dof(flow),
                 num = made->potential.num_particles > 20 ? REPORT_STRIP_SAMPLES_IF_LARGE : REPORT_STRIP_SAMPLES,
                 frames = num_steps + 1 < REPORT_STRIP_MAX_FRAMES ? num_steps + 1 : REPORT_STRIP_MAX_FRAMES;
    float *z = malloc(sizeof *z * num * num_dof), *x = malloc(sizeof *x * frames * num * num_dof);
    if (z && x && eqf_flow_prior_sample(flow, app_seed_for(app->seed, "strip"), 0, num, z) == EQF_OK &&
        eqf_flow_trajectory(flow, num_steps, num, z, frames, x, NULL, NULL) == EQF_OK) {
        strip_out->num = num;
        strip_out->num_frames = frames;
        for (size_t f = 0; f < frames; f++)
            strip_out->times[f] = (double)eqf_flow_trajectory_step(num_steps, frames, f) / num_steps;
        strip_out->x = x;
        x = NULL;
    }
    free(z);
    free(x);
    eqf_flow_destroy(&flow);
}
