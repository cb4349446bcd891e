/* The stages that a preset's fields are trained in: docs/method.md, section 4. */
#include <math.h>
#include <string.h>

#include "base.h"
#include "eqflow/preset.h"

/* Options that depend on the system. The steps of dw4 and lj13 are those of the gallery's models, which took 14 and 88
 * minutes of one core. */
typedef struct recipe {
    const char *preset;
    /* Of the message field: the prior's sd is near that of the data, so that paths are short. */
    double prior_scale, distance_max;
    unsigned num_distance, num_hops, num_vectors;
    unsigned integration_steps;
    uint64_t matching_steps, likelihood_steps;
    size_t matching_batch, likelihood_batch;
    double likelihood_rate;
} recipe;
static const recipe recipes[] = {
    {"dw2", 2.0, 8, 24, 2, 12, 12, 6000, 120, 256, 512, 5e-5},
    {"dw4", 2.0, 8, 24, 3, 16, 12, 28000, 40, 256, 512, 5e-5},
    {"lj13", 0.7, 6, 32, 3, 16, 12, 32000, 80, 256, 128, 2e-4},
    {"blj13", 0.8, 6, 32, 3, 16, 12, 32000, 80, 256, 128, 2e-4},
    {"lj38", 1.0, 8, 32, 2, 16, 12, 8000, 0, 64, 64, 1e-4},
    {"lj55", 1.1, 8, 32, 2, 16, 12, 6000, 0, 64, 64, 1e-4},
    {NULL, 0, 0, 32, 3, 16, 12, 10000, 0, 256, 256, 2e-4}, /* any other system; 0: as its preset says */
};

static const recipe *recipe_of(const eqf_preset *preset) {
    const recipe *found = recipes;
    while (found->preset != NULL && strcmp(found->preset, preset->name) != 0) found++;
    return found;
}

unsigned eqf_preset_recipe(const eqf_preset *preset, eqf_dynamics_kind kind,
                           eqf_objective objectives_out[EQF_PRESET_MAX_STAGES]) {
    unsigned num = 0;
    if (preset == NULL || objectives_out == NULL) return 0;
    const recipe *row = recipe_of(preset);
    const bool is_matched = kind == EQF_DYNAMICS_MESSAGE;
    if (is_matched) objectives_out[num++] = EQF_OBJECTIVE_FLOW_MATCHING;
    if (!is_matched || row->likelihood_steps > 0) objectives_out[num++] = EQF_OBJECTIVE_LIKELIHOOD;
    return num;
}

/* Flow matching: SOAP with a rate of the order that its authors use, a long average, and the nearest pairs that the
 * field's symmetry allows. */
static void set_matching(const recipe *row, eqf_dynamics_kind kind, eqf_training_options *options) {
    options->objective = EQF_OBJECTIVE_FLOW_MATCHING;
    options->num_steps = row->matching_steps;
    options->batch_size = row->matching_batch;
    options->optimizer = EQF_OPTIMIZER_SOAP;
    options->learning_rate = 4e-3;
    options->final_learning_rate_fraction = 1e-3;
    options->num_warmup_steps = 200;
    options->clip_norm = 0;
    options->clip_ratio = 2.5;
    options->average_decay = 0.9995;
    options->data_noise = 0;
    options->is_augmented = false;
    options->validation_interval = options->num_steps / 40 > 0 ? options->num_steps / 40 : 1;
    options->pairing_group = 64;
    options->num_pairing_starts = 4;
    const eqf_dynamics_kind_info *field = eqf_dynamics_kind_describe(kind);
    options->pairing = field != NULL && field->is_equivariant ? EQF_PAIRING_EQUIVARIANT : EQF_PAIRING_MINIBATCH;
}

/* Likelihood after flow matching: path gradients, whose data must be those of the target without noise, in a few large
 * batches. */
static void set_likelihood(const recipe *row, eqf_training_options *options) {
    options->gradient = EQF_GRADIENT_PATH;
    options->num_steps = row->likelihood_steps;
    options->batch_size = row->likelihood_batch;
    options->learning_rate = row->likelihood_rate;
    options->final_learning_rate_fraction = 0.1;
    options->num_warmup_steps = options->num_steps / 10;
    options->path_cap = 60;
    options->integration_penalty = 0;
    options->data_noise = 0;
    options->clip_norm = 0;
    options->clip_ratio = 2.5;
    options->average_decay = 0.95;
    options->num_validated = 512;
    options->validation_interval = options->num_steps / 5 > 0 ? options->num_steps / 5 : 1;
}

eqf_status eqf_preset_stage_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_objective objective,
                                    size_t num_train, eqf_training_options *options_out) {
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    EQF__TRY(eqf_preset_training_options(preset, num_train, &options));
    const recipe *row = recipe_of(preset);
    if (objective == EQF_OBJECTIVE_FLOW_MATCHING)
        set_matching(row, kind, &options);
    else if (kind == EQF_DYNAMICS_MESSAGE && num_train > 0)
        set_likelihood(row, &options);
    if (num_train > 0 && num_train < options.batch_size) options.batch_size = num_train;
    return EQF__WRITE(NULL, EQF_TRAINING_OPTIONS_INIT, &options, options_out);
}

eqf_status eqf_preset_model_options(const eqf_preset *preset, eqf_dynamics_kind kind, eqf_model_options *options_out) {
    if (preset == NULL || options_out == NULL)
        return eqf__fail(NULL, EQF_ERROR_INVALID_ARGUMENT, "preset and options must not be NULL");
    eqf_model_options options = *preset->model;
    const recipe *row = recipe_of(preset);
    if (kind == EQF_DYNAMICS_MESSAGE) {
        const double distance_max = options.dynamics.distance_max;
        options.dynamics = (eqf_dynamics_options)EQF_DYNAMICS_OPTIONS_INIT;
        options.dynamics.distance_max = distance_max;
        if (row->prior_scale > 0) options.prior_scale = row->prior_scale;
        if (row->distance_max > 0) options.dynamics.distance_max = row->distance_max;
        options.dynamics.num_distance = row->num_distance;
        options.dynamics.num_hops = row->num_hops;
        options.dynamics.num_vectors = row->num_vectors;
        options.integrator.num_steps = row->integration_steps;
    } else if (kind != options.dynamics.kind) { /* the preset has no options of other kinds: defaults */
        const eqf_option *option;
        for (size_t i = 0; (option = eqf_dynamics_option(kind, i)) != NULL; i++)
            eqf_option_set(option, &options.dynamics, option->initial);
    }
    options.dynamics.kind = kind;
    return EQF__WRITE(NULL, EQF_MODEL_OPTIONS_INIT, &options, options_out);
}
