/* The stages of a training: --stage "LOSS,key=value,...", or the recipe of the preset. */
#ifndef TRAIN_STAGES_H
#define TRAIN_STAGES_H

#include "app.h"
#include "train_flags.h"

enum { TRAIN_MAX_STAGES = 16 };

/* All stages of a training. */
typedef struct train_plan {
    eqf_training_options stages[TRAIN_MAX_STAGES];
    unsigned num_stages;
    bool has_nll, has_free_energy, has_flow_matching, has_dispersion; /* whether a stage's loss has such a part */
} train_plan;

/* Checks all --stage texts; prints one line about the first that is wrong. */
exit_code train_stages_check(cli_app *app, const train_flags *flags);
/* The plan for num_train samples: the stages of the command line, else the preset's recipe for the model's field; other
 * flags apply to all stages. */
exit_code train_plan_make(cli_app *app, const train_flags *flags, const eqf_preset *preset, size_t num_train,
                          train_plan *plan_out);
/* Whether the command line needs samples. */
bool train_stages_need_data(const train_flags *flags);
/* The lines of --help that list the keys of --stage. */
void train_stages_print_help(FILE *stream);

#endif
