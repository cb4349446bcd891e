/* The options of every command that integrates a model's flow. */
#ifndef FLOW_FLAGS_H
#define FLOW_FLAGS_H

#include "eqflow/flow.h"
#include "option_flags.h"
#include "options.h"

typedef struct flow_flags {
    const char *field_evaluation, *divergence, *integrator, *precision;
    uint64_t num_steps;
    bool is_num_steps_set;
    option_flags methods; /* of every integrator */
    char integrator_help[160];
} flow_flags;

#define FLOW_NUM_OPTIONS 16 /* at most */

/* Writes the options into options_out [FLOW_NUM_OPTIONS]; gives their number. max_steps: the most integrator steps;
 * steps_help: their help text. */
size_t flow_flags_options(flow_flags *flags, double max_steps, const char *steps_help, cli_option options_out[]);

/* Converts the flags to options of the flow; prints what is wrong with them. */
exit_code flow_flags_read(cli_app *app, const flow_flags *flags, eqf_flow_options *options_out);

/* Makes app's context and loads the model; prints errors. */
exit_code flow_flags_load(cli_app *app, const char *path, eqf_model **model_out);

#endif
