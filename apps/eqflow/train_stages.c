#include "train_stages.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

typedef enum key_kind { KEY_COUNT, KEY_SIZE, KEY_UNSIGNED, KEY_NUMBER, KEY_CHOICE } key_kind;

/* A key of --stage: where its value goes, and what it may be. */
typedef struct stage_key {
    const char *name;
    key_kind kind;
    size_t offset; /* in eqf_training_options */
    double low, high;
    const char *choices; /* "adam|soap": names of the values 0, 1, ... of an enumeration */
    const char *help;
} stage_key;

#define AT(member) offsetof(eqf_training_options, member)
static const stage_key keys[] = {
    {"steps", KEY_COUNT, AT(num_steps), 1, 1e12, NULL, "optimizer steps"},
    {"batch", KEY_SIZE, AT(batch_size), 1, 1 << 24, NULL, "samples a step"},
    {"sub-batch", KEY_SIZE, AT(sub_batch_size), 0, 1 << 24, NULL,
     "samples solved at once, to save memory; 0: a whole batch"},
    {"generated", KEY_SIZE, AT(num_generated), 1, 1 << 24, NULL, "samples of the model a step, of energy and mixture"},
    {"lr", KEY_NUMBER, AT(learning_rate), DBL_MIN, DBL_MAX, NULL, "learning rate at its highest"},
    {"final-fraction", KEY_NUMBER, AT(final_learning_rate_fraction), 0, 1, NULL, "of it, where the cosine ends"},
    {"warm-up", KEY_COUNT, AT(num_warmup_steps), 0, 1e12, NULL, "steps of linear warm-up"},
    {"optimizer", KEY_CHOICE, AT(optimizer), 0, 0, "adam|soap", ""},
    {"gradient", KEY_CHOICE, AT(gradient), 0, 0, "dto|otd|path", "of nll, energy and mixture"},
    {"path-cap", KEY_NUMBER, AT(path_cap), 0, DBL_MAX, NULL,
     "largest |s + grad u| of a sample, of gradient=path; 0: none"},
    {"sample-cap", KEY_NUMBER, AT(sample_cap), 0, DBL_MAX, NULL,
     "nats above the mean where a sample counts less; 0: none"},
    {"penalty", KEY_NUMBER, AT(integration_penalty), 0, DBL_MAX, NULL,
     "weight of the integration error, of gradient=dto"},
    {"dispersion", KEY_NUMBER, AT(dispersion_weight), 0, DBL_MAX, NULL,
     "weight of Var[log q + u] over the data; 0: none"},
    {"clip-norm", KEY_NUMBER, AT(clip_norm), 0, DBL_MAX, NULL, "largest gradient norm; 0: any"},
    {"clip-ratio", KEY_NUMBER, AT(clip_ratio), 0, DBL_MAX, NULL, "the same in running norms; 0: any"},
    {"average-decay", KEY_NUMBER, AT(average_decay), 0, 0.999999, NULL, "of the parameters' moving average; 0: none"},
    {"weight-decay", KEY_NUMBER, AT(weight_decay), 0, DBL_MAX, NULL, "decoupled"},
    {"data-noise", KEY_NUMBER, AT(data_noise), 0, DBL_MAX, NULL, "sd of noise on the data"},
    {"nll-weight-start", KEY_NUMBER, AT(nll_weight_start), 0, 1, NULL, "of mixture, at the first step"},
    {"nll-weight-end", KEY_NUMBER, AT(nll_weight_end), 0, 1, NULL, "of mixture, at the last"},
    {"pairing", KEY_CHOICE, AT(pairing), 0, 0, "none|minibatch|equivariant", "of flow-matching"},
    {"group", KEY_SIZE, AT(pairing_group), 1, 4096, NULL, "pairs among which latents are dealt"},
    {"starts", KEY_UNSIGNED, AT(num_pairing_starts), 1, 1e6, NULL, "of an alignment of more than 4 particles"},
    {"threads", KEY_UNSIGNED, AT(num_pairing_threads), 0, 8, NULL, "that make pairs; 0: as many as processors"},
    {"interval", KEY_COUNT, AT(validation_interval), 1, 1e12, NULL, "steps between held-out measurements"},
    {"validated", KEY_SIZE, AT(num_validated), 0, 1e12, NULL, "held-out samples of a measurement; 0: all"},
};
enum { NUM_KEYS = sizeof keys / sizeof keys[0] };

/* A stage's loss. */
typedef enum stage_loss { STAGE_FLOW_MATCHING, STAGE_NLL, STAGE_ENERGY, STAGE_MIXTURE, NUM_LOSSES } stage_loss;
static const char *const loss_names[NUM_LOSSES] = {"flow-matching", "nll", "energy", "mixture"};

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

/* The length of the part of text up to a comma or its end. */
static size_t part_length(const char *text) {
    return strcspn(text, ",");
}

static bool read_loss(const char *text, stage_loss *loss_out) {
    for (unsigned l = 0; l < NUM_LOSSES; l++)
        if (strlen(loss_names[l]) == part_length(text) && strncmp(loss_names[l], text, part_length(text)) == 0) {
            *loss_out = (stage_loss)l;
            return true;
        }
    return false;
}

static bool read_choice(const stage_key *key, const char *value, unsigned *choice_out) {
    const char *name = key->choices;
    for (unsigned c = 0;; c++) {
        const size_t length = strcspn(name, "|");
        if (strlen(value) == length && strncmp(name, value, length) == 0) {
            *choice_out = c;
            return true;
        }
        if (name[length] == '\0') return false;
        name += length + 1;
    }
}

/* Puts the value where the key says; false: it is no such value. */
static bool set_value(const stage_key *key, const char *value, eqf_training_options *options) {
    char *at = (char *)options + key->offset;
    if (key->kind == KEY_CHOICE) {
        unsigned choice;
        if (!read_choice(key, value, &choice)) return false;
        memcpy(at, &choice, sizeof choice); /* enumerations of these headers have the size of an unsigned */
        return true;
    }
    double number;
    if (!options_number(value, &number) || !(number >= key->low && number <= key->high)) return false;
    if (key->kind == KEY_NUMBER) {
        memcpy(at, &number, sizeof number);
        return true;
    }
    if (number != floor(number)) return false;
    const uint64_t count = (uint64_t)number;
    const size_t size = (size_t)number;
    const unsigned small = (unsigned)number;
    if (key->kind == KEY_COUNT) memcpy(at, &count, sizeof count);
    if (key->kind == KEY_SIZE) memcpy(at, &size, sizeof size);
    if (key->kind == KEY_UNSIGNED) memcpy(at, &small, sizeof small);
    return true;
}

static exit_code fail_value(cli_app *app, const char *text, const stage_key *key) {
    if (key->kind == KEY_CHOICE)
        return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be %s; see eqflow train --help", text, key->name,
                        key->choices);
    if (key->high >= DBL_MAX)
        return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be a number%s; see eqflow train --help", text,
                        key->name, key->low > 0 ? " > 0" : " >= 0");
    return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be a%s from %g to %g; see eqflow train --help", text,
                    key->name, key->kind == KEY_NUMBER ? " number" : " whole number", key->low, key->high);
}

/* All key=value of a text into options; is_set [NUM_KEYS] tells which. */
static exit_code read_values(cli_app *app, const char *text, eqf_training_options *options, bool *is_set) {
    for (const char *part = text + part_length(text); *part == ','; part += part_length(part)) {
        part++;
        const size_t name_length = strcspn(part, "=,"), length = part_length(part);
        unsigned k = 0;
        while (k < NUM_KEYS && !(strlen(keys[k].name) == name_length && strncmp(keys[k].name, part, name_length) == 0))
            k++;
        char value[64];
        const bool has_value = part[name_length] == '=' && length - name_length - 1 < sizeof value;
        if (k == NUM_KEYS || part[name_length] != '=')
            return app_fail(app, EXIT_CODE_USAGE,
                            "--stage %s: '%.*s' is no key=value of a stage; see eqflow train --help", text, (int)length,
                            part);
        if (has_value) {
            memcpy(value, part + name_length + 1, length - name_length - 1);
            value[length - name_length - 1] = '\0';
        }
        if (!has_value || !set_value(&keys[k], value, options)) return fail_value(app, text, &keys[k]);
        is_set[k] = true;
    }
    return EXIT_CODE_OK;
}

exit_code train_stages_check(cli_app *app, const train_flags *flags) {
    if (flags->stages.num_texts > TRAIN_MAX_STAGES)
        return app_fail(app, EXIT_CODE_USAGE, "--stage: at most %d stages", TRAIN_MAX_STAGES);
    for (size_t s = 0; s < flags->stages.num_texts; s++) {
        stage_loss loss;
        const char *text = flags->stages.texts[s];
        if (!read_loss(text, &loss))
            return app_fail(app, EXIT_CODE_USAGE,
                            "--stage %s: begins with the stage's loss, flow-matching, nll, energy or mixture; see "
                            "eqflow train --help",
                            text);
        eqf_training_options unused = EQF_TRAINING_OPTIONS_INIT;
        bool is_set[NUM_KEYS] = {false};
        const exit_code code = read_values(app, text, &unused, is_set);
        if (code != EXIT_CODE_OK) return code;
        char fields[128];
        if (train_flags_is_batched(flags->field_value, fields)) continue;
        if (loss == STAGE_FLOW_MATCHING || unused.gradient == EQF_GRADIENT_PATH)
            return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s is for --field %s", text,
                            loss == STAGE_FLOW_MATCHING ? "flow-matching" : "gradient=path", fields);
    }
    return EXIT_CODE_OK;
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static eqf_objective objective_of(stage_loss loss) {
    return loss == STAGE_FLOW_MATCHING ? EQF_OBJECTIVE_FLOW_MATCHING : EQF_OBJECTIVE_LIKELIHOOD;
}

static void set_loss(stage_loss loss, eqf_training_options *options) {
    options->nll_weight_start = loss == STAGE_ENERGY ? 0 : 1;
    options->nll_weight_end = loss == STAGE_ENERGY ? 0 : loss == STAGE_MIXTURE ? 0.5 : 1;
}

static bool is_key_set(const bool *is_set, const char *name) {
    for (unsigned k = 0; k < NUM_KEYS; k++)
        if (strcmp(keys[k].name, name) == 0) return is_set[k];
    return false;
}

/* A short stage keeps its shape: warm-up and measurements shrink with it, unless they are said. */
static void shorten(eqf_training_options *options, bool has_warmup, bool has_interval) {
    const uint64_t interval = options->num_steps / 20 > 0 ? options->num_steps / 20 : 1;
    if (!has_warmup && options->num_warmup_steps > options->num_steps / 10)
        options->num_warmup_steps = options->num_steps / 10;
    if (!has_interval && options->validation_interval > interval) options->validation_interval = interval;
}

/* What the command line sets of a stage's options. */
static void fill_from_flags(const cli_app *app, const train_flags *flags, eqf_training_options *options) {
    if (flags->is_num_steps_set) {
        options->num_steps = flags->num_steps;
        /* A short run keeps its shape: warm-up and measurements shrink with it. */
        uint64_t interval = flags->num_steps / 20 > 0 ? flags->num_steps / 20 : 1;
        if (options->num_warmup_steps > flags->num_steps / 10) options->num_warmup_steps = flags->num_steps / 10;
        if (options->validation_interval > interval) options->validation_interval = interval;
    }
    if (flags->is_batch_size_set) options->batch_size = (size_t)flags->batch_size;
    if (flags->is_learning_rate_set) options->learning_rate = flags->learning_rate;
    if (flags->is_final_fraction_set) options->final_learning_rate_fraction = flags->final_fraction;
    if (flags->is_num_warmup_steps_set) options->num_warmup_steps = flags->num_warmup_steps;
    if (flags->is_integration_penalty_set) options->integration_penalty = flags->integration_penalty;
    if (flags->is_clip_norm_set) options->clip_norm = flags->clip_norm;
    if (flags->is_average_decay_set) options->average_decay = flags->average_decay;
    if (flags->is_weight_decay_set) options->weight_decay = flags->weight_decay;
    if (flags->is_data_noise_set) options->data_noise = flags->data_noise;
    if (flags->is_validation_interval_set) options->validation_interval = flags->validation_interval;
    if (flags->field_evaluation) options->field_evaluation = flags->field_evaluation_value;
    const bool has_stages = flags->stages.num_texts > 0;
    if (!has_stages && flags->loss == LOSS_ENERGY) options->nll_weight_start = options->nll_weight_end = 0;
    if (!has_stages && flags->loss == LOSS_MIXTURE) {
        options->nll_weight_start = flags->nll_weight_start;
        options->nll_weight_end = flags->nll_weight_end;
    }
    if (flags->is_num_generated_set) options->num_generated = (size_t)flags->num_generated;
    if (flags->energy_cap) options->energy_cap = flags->energy_cap_value;
    options->is_augmented = flags->is_augmented && options->objective == EQF_OBJECTIVE_LIKELIHOOD;
    options->divergence = flags->divergence_value;
    if (flags->gradient) options->gradient = flags->is_otd    ? EQF_GRADIENT_OTD
                                              : flags->is_path ? EQF_GRADIENT_PATH
                                                               : EQF_GRADIENT_DTO;
    if (flags->is_rtol_set) options->adaptive.rtol = flags->rtol;
    if (flags->is_atol_set) options->adaptive.atol = flags->atol;
    options->seed = app->seed;
}

static exit_code add_stage(cli_app *app, const train_flags *flags, const eqf_preset *preset, size_t num_train,
                           eqf_objective objective, const stage_loss *loss, const char *text, train_plan *plan) {
    eqf_training_options *options = &plan->stages[plan->num_stages];
    *options = (eqf_training_options)EQF_TRAINING_OPTIONS_INIT;
    eqf_status status = eqf_preset_stage_options(preset, flags->field_value, objective, num_train, options);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (loss != NULL) set_loss(*loss, options);
    fill_from_flags(app, flags, options);
    /* each stage draws its own batches and noise; the first those that a training of one stage has */
    if (plan->num_stages > 0) options->seed = app_seed_for(app->seed + plan->num_stages, "stage");
    if (text != NULL) {
        bool is_set[NUM_KEYS] = {false};
        const exit_code code = read_values(app, text, options, is_set);
        if (code != EXIT_CODE_OK) return code;
        if (is_key_set(is_set, "steps"))
            shorten(options, is_key_set(is_set, "warm-up") || flags->is_num_warmup_steps_set,
                    is_key_set(is_set, "interval") || flags->is_validation_interval_set);
    }
    plan->num_stages++;
    if (options->objective == EQF_OBJECTIVE_FLOW_MATCHING) {
        plan->has_flow_matching = true;
        return EXIT_CODE_OK;
    }
    plan->has_nll = plan->has_nll || options->nll_weight_start > 0 || options->nll_weight_end > 0;
    plan->has_dispersion = plan->has_dispersion || options->dispersion_weight > 0;
    plan->has_free_energy = plan->has_free_energy || options->nll_weight_start < 1 || options->nll_weight_end < 1;
    return EXIT_CODE_OK;
}

exit_code train_plan_make(cli_app *app, const train_flags *flags, const eqf_preset *preset, size_t num_train,
                          train_plan *plan_out) {
    *plan_out = (train_plan){.num_stages = 0};
    exit_code code = EXIT_CODE_OK;
    for (size_t s = 0; s < flags->stages.num_texts && code == EXIT_CODE_OK; s++) {
        stage_loss loss = STAGE_NLL;
        read_loss(flags->stages.texts[s], &loss);
        code = add_stage(app, flags, preset, num_train, objective_of(loss), &loss, flags->stages.texts[s], plan_out);
    }
    if (flags->stages.num_texts > 0 || code != EXIT_CODE_OK) return code;
    eqf_objective objectives[EQF_PRESET_MAX_STAGES] = {EQF_OBJECTIVE_LIKELIHOOD};
    unsigned num =
        flags->is_loss_set ? 1 : eqf_preset_recipe(preset, flags->field_value, objectives); /* --loss: that alone */
    for (unsigned s = 0; s < num && code == EXIT_CODE_OK; s++)
        code = add_stage(app, flags, preset, num_train, objectives[s], NULL, NULL, plan_out);
    return code;
}

bool train_stages_need_data(const train_flags *flags) {
    for (size_t s = 0; s < flags->stages.num_texts; s++) {
        stage_loss loss = STAGE_NLL;
        read_loss(flags->stages.texts[s], &loss);
        if (loss != STAGE_ENERGY) return true;
    }
    return flags->stages.num_texts == 0 && flags->loss != LOSS_ENERGY;
}

void train_stages_print_help(FILE *stream) {
    fputs("\nKeys of --stage LOSS,key=value,... (LOSS: flow-matching, nll, energy, mixture)\n", stream);
    for (unsigned k = 0; k < NUM_KEYS; k++)
        fprintf(stream, "  %-18s %s%s%s\n", keys[k].name, keys[k].choices != NULL ? keys[k].choices : "",
                keys[k].choices != NULL && keys[k].help[0] != '\0' ? ", " : "", keys[k].help);
}
