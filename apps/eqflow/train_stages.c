#include "train_stages.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "train_options.h"

/* A key of --stage and the library's row that it sets. */
typedef struct stage_key {
    const char *name, *row;
} stage_key;

static const stage_key keys[] = {
    {"steps", "num_steps"},
    {"batch", "batch_size"},
    {"sub-batch", "sub_batch_size"},
    {"generated", "num_generated"},
    {"lr", "learning_rate"},
    {"final-fraction", "final_learning_rate_fraction"},
    {"warm-up", "num_warmup_steps"},
    {"optimizer", "optimizer"},
    {"gradient", "gradient"},
    {"path-cap", "path_cap"},
    {"sample-cap", "sample_cap"},
    {"penalty", "integration_penalty"},
    {"dispersion", "dispersion_weight"},
    {"clip-norm", "clip_norm"},
    {"clip-ratio", "clip_ratio"},
    {"average-decay", "average_decay"},
    {"weight-decay", "weight_decay"},
    {"data-noise", "data_noise"},
    {"nll-weight-start", "nll_weight_start"},
    {"nll-weight-end", "nll_weight_end"},
    {"pairing", "pairing"},
    {"group", "pairing_group"},
    {"starts", "num_pairing_starts"},
    {"threads", "num_pairing_threads"},
    {"interval", "validation_interval"},
    {"validated", "num_validated"},
};
enum { NUM_KEYS = sizeof keys / sizeof keys[0] };

static const eqf_option *row_of(const stage_key *key) {
    const eqf_option *row;
    for (size_t i = 0; (row = eqf_training_option(i)) != NULL; i++)
        if (strcmp(row->key, key->row) == 0) break;
    return row; /* there is one: eqflow train --help prints all */
}

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

/* Sets the member of the row; false: the text is not a value of its type. */
static bool set_value(const eqf_option *row, const char *value, eqf_training_options *options) {
    double number = 0;
    if (row->type == EQF_OPTION_NAME) {
        unsigned choice = 0;
        while (row->names[choice] != NULL && strcmp(row->names[choice], value) != 0) choice++;
        if (row->names[choice] == NULL) return false;
        number = choice;
    } else if (!options_number(value, &number) || !(number >= row->low && number <= row->high) ||
               (row->type != EQF_OPTION_REAL && number != floor(number))) {
        return false;
    }
    eqf_option_set(row, options, number);
    return true;
}

/* The names of an option with names, "adam|soap"; "" for numbers. */
static void list_choices(const eqf_option *row, char text[96]) {
    size_t length = 0;
    text[0] = '\0';
    for (size_t n = 0; row->type == EQF_OPTION_NAME && row->names[n] != NULL && length < 96; n++)
        length += (size_t)snprintf(text + length, 96 - length, "%s%s", n > 0 ? "|" : "", row->names[n]);
}

static exit_code fail_value(cli_app *app, const char *text, const stage_key *key) {
    const eqf_option *row = row_of(key);
    char choices[96];
    list_choices(row, choices);
    if (choices[0] != '\0')
        return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be %s; see eqflow train --help", text, key->name,
                        choices);
    if (row->high >= DBL_MAX)
        return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be a number%s; see eqflow train --help", text,
                        key->name, row->low > 0 ? " > 0" : " >= 0");
    return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s must be a%s from %g to %g; see eqflow train --help", text,
                    key->name, row->type == EQF_OPTION_REAL ? " number" : " whole number", row->low, row->high);
}

/* Reads all key=value of a text into options; is_set [NUM_KEYS], all false before: which were given. */
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
        if (is_set[k])
            return app_fail(app, EXIT_CODE_USAGE, "--stage %s: %s has two values; see eqflow train --help", text,
                            keys[k].name);
        if (has_value) {
            memcpy(value, part + name_length + 1, length - name_length - 1);
            value[length - name_length - 1] = '\0';
        }
        if (!has_value || !set_value(row_of(&keys[k]), value, options)) return fail_value(app, text, &keys[k]);
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

/* In a short stage warm-up and validation interval are shortened in proportion, unless they are given. */
static void shorten(eqf_training_options *options, bool has_warmup, bool has_interval) {
    const uint64_t interval = options->num_steps / 20 > 0 ? options->num_steps / 20 : 1;
    if (!has_warmup && options->num_warmup_steps > options->num_steps / 10)
        options->num_warmup_steps = options->num_steps / 10;
    if (!has_interval && options->validation_interval > interval) options->validation_interval = interval;
}

static bool is_flag_set(const train_flags *flags, const char *name) {
    return option_flags_find(&flags->training, name)->is_set;
}

/* Sets the options of a stage that the command line gives. */
static exit_code fill_from_flags(cli_app *app, const train_flags *flags, eqf_training_options *options) {
    const bool has_stages = flags->stages.num_texts > 0;
    const option_flag *unfit;
    const exit_code code = option_flags_apply(app, &flags->training, train_row, 0, options, &unfit);
    if (code != EXIT_CODE_OK) return code;
    if (is_flag_set(flags, "steps"))
        shorten(options, is_flag_set(flags, "warm-up"), is_flag_set(flags, "validation-interval"));
    if (flags->field_evaluation) options->field_evaluation = flags->field_evaluation_value;
    if (!has_stages && flags->loss == LOSS_ENERGY) options->nll_weight_start = options->nll_weight_end = 0;
    if (!has_stages && flags->loss == LOSS_MIXTURE) {
        options->nll_weight_start = option_flags_find(&flags->training, "nll-weight-start")->number;
        options->nll_weight_end = option_flags_find(&flags->training, "nll-weight-end")->number;
    }
    if (flags->energy_cap) options->energy_cap = flags->energy_cap_value;
    options->is_augmented = flags->is_augmented && options->objective == EQF_OBJECTIVE_LIKELIHOOD;
    options->divergence = flags->divergence_value;
    if (flags->gradient)
        options->gradient = flags->is_otd ? EQF_GRADIENT_OTD : flags->is_path ? EQF_GRADIENT_PATH : EQF_GRADIENT_DTO;
    options->seed = app->seed;
    return EXIT_CODE_OK;
}

static exit_code add_stage(cli_app *app, const train_flags *flags, const eqf_preset *preset, size_t num_train,
                           eqf_objective objective, const stage_loss *loss, const char *text, train_plan *plan) {
    eqf_training_options *options = &plan->stages[plan->num_stages];
    *options = (eqf_training_options)EQF_TRAINING_OPTIONS_INIT;
    eqf_status status = eqf_preset_stage_options(preset, flags->field_value, objective, num_train, options);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    if (loss != NULL) set_loss(*loss, options);
    exit_code code = fill_from_flags(app, flags, options);
    if (code != EXIT_CODE_OK) return code;
    /* each stage has other batches and noise; the first has those of a training of one stage */
    if (plan->num_stages > 0) options->seed = app_seed_for(app->seed + plan->num_stages, "stage");
    if (text != NULL) {
        bool is_set[NUM_KEYS] = {false};
        code = read_values(app, text, options, is_set);
        if (code != EXIT_CODE_OK) return code;
        if (is_key_set(is_set, "steps"))
            shorten(options, is_key_set(is_set, "warm-up") || is_flag_set(flags, "warm-up"),
                    is_key_set(is_set, "interval") || is_flag_set(flags, "validation-interval"));
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
    for (unsigned k = 0; k < NUM_KEYS; k++) {
        const eqf_option *row = row_of(&keys[k]);
        char choices[96];
        list_choices(row, choices);
        fprintf(stream, "  %-18s %s%s%s\n", keys[k].name, choices, choices[0] != '\0' ? ", " : "", row->help);
    }
}
