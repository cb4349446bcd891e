/* Presets: the systems of the literature with all their constants, ready to train. */
#ifndef EQFLOW_PRESET_H
#define EQFLOW_PRESET_H

#include "eqflow/mcmc.h"
#include "eqflow/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_preset {
    size_t struct_size; /* set by the library */
    const char *name;  /* "dw4" */
    const char *title; /* "4 particles in a plane, double-well pairs" */
    const eqf_model_options *model;
    const eqf_training_options *training;
    const eqf_mcmc_options *mcmc;
    size_t default_num_train; /* samples that `eqflow train` makes without --data */
    /* Known figures of the target with these constants (docs/method.md, section 6); NaN if unknown. Nats; entropy
     * includes the prior's constant. */
    double entropy, entropy_error;
    double log_z, log_z_error;
    double mean_energy;          /* kT */
    double minimum_energy;       /* of the lowest known minimum, kT; docs/minima.md */
    unsigned char reserved[152]; /* 0: see eqflow/context.h */
} eqf_preset;

/* Static; num_presets_out entries. */
const eqf_preset *eqf_presets(size_t *num_presets_out);
/* NULL if there is no such preset. */
const eqf_preset *eqf_preset_find(const char *name);
/* True if the potential has exactly the preset's constants; then the known figures are valid for it. */
bool eqf_preset_matches(const eqf_preset *preset, const eqf_potential_options *potential);

/* The structure of the lowest known minimum of a preset's cluster, x_out [N, D], centred, with neighbours at the
 * potential's length; a quench of it ends in that minimum. False if none is known. */
bool eqf_preset_minimum_structure(const eqf_preset *preset, float *x_out);

/* Default training options for num_train samples of the preset's system (small sets get fewer steps and more
 * data_noise; 0: training without data). The loss is the likelihood alone; energy_cap and num_generated are set for
 * other losses. */
eqf_status eqf_preset_training_options(const eqf_preset *preset, size_t num_train,
                                       eqf_training_options *options_out);

#define EQF_PRESET_MAX_STAGES 4
/* The stages in which a field of that kind is trained by default: returns their number, and gives the objective of each
 * in objectives_out. Message fields begin with flow matching; the others have a likelihood stage only. */
unsigned eqf_preset_recipe(const eqf_preset *preset, eqf_dynamics_kind kind,
                           eqf_objective objectives_out[EQF_PRESET_MAX_STAGES]);
/* Default options of a stage with that objective for num_train samples. A likelihood stage of radial and dense fields
 * has those of eqf_preset_training_options. */
eqf_status eqf_preset_stage_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_objective objective,
                                    size_t num_train, eqf_training_options *options_out);
/* The preset's model with a field of that kind; with a message field the prior is about as wide as the cluster. */
eqf_status eqf_preset_model_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_model_options *options_out);

/* A preset for any potential, such as a user's own, named "own": a field of uniform layout as wide as the cluster, in
 * units of the potential's length; training and chains as for lj13; known figures NaN. *preset_out is the caller's
 * (eqf_free); it points to the potential's texts. Errors: OUT_OF_MEMORY, those of eqf_potential_check. */
eqf_status eqf_preset_for_potential(eqf_context *ctx, const eqf_potential_options *potential,
                                    eqf_preset **preset_out);

#ifdef __cplusplus
}
#endif
#endif
