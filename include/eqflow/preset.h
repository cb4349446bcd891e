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
    size_t default_num_train; /* data that train makes for itself */
    /* Known of the target with these constants (docs/method.md, section 6); NaN where unknown. Nats, the
     * prior's constant included in entropy. */
    double entropy, entropy_error;
    double log_z, log_z_error;
    double mean_energy;
    double minimum_energy;       /* of the lowest known minimum, kT; docs/minima.md */
    unsigned char reserved[152]; /* 0: see eqflow/context.h */
} eqf_preset;

/* Static; num_presets_out entries. */
const eqf_preset *eqf_presets(size_t *num_presets_out);
/* NULL if there is no such preset. */
const eqf_preset *eqf_preset_find(const char *name);
/* True if the potential has exactly the preset's constants, so that the known figures hold. */
bool eqf_preset_matches(const eqf_preset *preset, const eqf_potential_options *potential);

/* The structure of the lowest known minimum of a preset's cluster, x_out [N, D], centred, with neighbours at the
 * potential's length: what falls into that minimum when it is quenched. False where none is known. */
bool eqf_preset_minimum_structure(const eqf_preset *preset, float *x_out);

/* Default training options for num_train samples of the preset's system (small sets train shorter and with more
 * data_noise; 0: training without data). The loss is the likelihood alone; weights and energy_cap are there for other
 * losses. */
eqf_status eqf_preset_training_options(const eqf_preset *preset, size_t num_train,
                                       eqf_training_options *options_out);

#define EQF_PRESET_MAX_STAGES 4
/* The stages that a field of that kind is trained in, for one command from nothing to a model: how many, and the
 * objective of each in objectives_out. Message fields match flows first; the others maximise the likelihood only. */
unsigned eqf_preset_recipe(const eqf_preset *preset, eqf_dynamics_kind kind,
                           eqf_objective objectives_out[EQF_PRESET_MAX_STAGES]);
/* Default options of a stage with that objective for num_train samples, as in eqf_preset_training_options, whose
 * options a likelihood stage of radial and dense fields has. */
eqf_status eqf_preset_stage_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_objective objective,
                                    size_t num_train, eqf_training_options *options_out);
/* The preset's model with a field of that kind: message fields begin from a prior as wide as the cluster. */
eqf_status eqf_preset_model_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_model_options *options_out);

/* A preset for any potential, such as a user's own, named "own": a uniform field as wide as the cluster, scaled by the
 * potential's length, training and chains as for lj13; nothing is known of it. *preset_out is the caller's (eqf_free);
 * it views the potential's texts. Errors: OUT_OF_MEMORY, those of eqf_potential_check. */
eqf_status eqf_preset_for_potential(eqf_context *ctx, const eqf_potential_options *potential,
                                    eqf_preset **preset_out);

#ifdef __cplusplus
}
#endif
#endif
