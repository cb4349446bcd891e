/* The command line of eqflow train. */
#ifndef TRAIN_FLAGS_H
#define TRAIN_FLAGS_H

#include "app.h"
#include "system.h"

/* The loss of --loss. */
typedef enum train_loss { LOSS_NLL, LOSS_ENERGY, LOSS_MIXTURE } train_loss;

/* All values of the command line; is_*_set: the value was given and is not the preset's. */
typedef struct train_flags {
    const char *data_path, *model_path, *checkpoint_path, *csv_path, *start_path;
    eqf_model *start; /* --start; NULL: none. cmd_train destroys it */
    uint64_t num_train, integration_steps;
    bool is_num_train_set, is_integration_steps_set;
    option_flags training; /* of the rows of a training's options */
    const char *field, *divergence;
    eqf_dynamics_kind field_value;
    char field_help[256];
    option_flags dynamics; /* of every kind of field */
    const char *prior;
    char prior_help[256];
    option_flags priors; /* of every kind of prior, but for its scale */
    eqf_divergence divergence_value;
    const char *prior_scale, *field_evaluation, *gradient;
    double held_out, checkpoint_seconds, prior_scale_value;
    bool is_resumed, has_prior_scale_of_data, is_held_out_set;
    const char *loss_name, *energy_cap;
    train_loss loss;
    double energy_cap_value;
    bool is_augmented;
    eqf_field_evaluation field_evaluation_value;
    cli_list stages; /* texts of --stage */
    bool is_loss_set, is_otd, is_path;
    system_flags system;
} train_flags;

/* Reads and checks the command line: flags_out gets the names of all files, chosen_out the system with its constants.
 * False: the program ends with *code_out, after a failure or --help. */
bool train_flags_read(cli_app *app, train_flags *flags_out, eqf_preset *chosen_out, exit_code *code_out);

/* The flags and the help of the kinds of prior. */
void train_prior_describe(train_flags *flags);
/* Applies --prior and its options, except --prior-scale, to those of a preset. */
exit_code train_flags_prior(cli_app *app, const train_flags *flags, eqf_model_options *options);

/* Loads the model of --start, if given; it must have the potential's numbers of particles and dimensions. */
exit_code train_start_load(cli_app *app, train_flags *flags, const eqf_potential_options *potential);
/* Replaces a preset's field, prior and steps by those of that model; the target stays. */
void train_start_fill(const train_flags *flags, eqf_model_options *options);

/* Applies --field and its options to those of a preset. */
exit_code train_flags_dynamics(cli_app *app, const train_flags *flags, eqf_dynamics_options *dynamics);

/* Whether that field is batched, as flow matching and path gradients need; fields_out: the names of all batched fields,
 * "dense or message". */
bool train_flags_is_batched(eqf_dynamics_kind field, char fields_out[128]);

#endif
