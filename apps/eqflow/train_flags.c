#include "train_flags.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "options.h"
#include "train_stages.h"
#include "work.h"

#define PRESET_COLUMN(name, format, value)                             \
    static void name(const eqf_preset *preset, char text[16]) {        \
        snprintf(text, 16, format, value);                             \
    }
PRESET_COLUMN(column_num_train, "%zu", preset->default_num_train)
PRESET_COLUMN(column_num_steps, "%" PRIu64, preset->training->num_steps)
PRESET_COLUMN(column_batch_size, "%zu", preset->training->batch_size)
PRESET_COLUMN(column_num_generated, "%zu", preset->training->num_generated)
PRESET_COLUMN(column_learning_rate, "%g", preset->training->learning_rate)
PRESET_COLUMN(column_final_fraction, "%g", preset->training->final_learning_rate_fraction)
PRESET_COLUMN(column_num_warmup_steps, "%" PRIu64, preset->training->num_warmup_steps)
PRESET_COLUMN(column_integration_penalty, "%g", preset->training->integration_penalty)
PRESET_COLUMN(column_clip_norm, "%g", preset->training->clip_norm)
PRESET_COLUMN(column_average_decay, "%g", preset->training->average_decay)
PRESET_COLUMN(column_weight_decay, "%g", preset->training->weight_decay)
PRESET_COLUMN(column_data_noise, "%g", preset->training->data_noise)
PRESET_COLUMN(column_validation_interval, "%" PRIu64, preset->training->validation_interval)
PRESET_COLUMN(column_field_evaluation, "%s",
              preset->training->field_evaluation == EQF_FIELD_TABLE ? "table" : "direct")
static void column_energy_cap(const eqf_preset *preset, char text[16]) {
    if (isfinite(preset->training->energy_cap))
        snprintf(text, 16, "%g", preset->training->energy_cap);
    else
        snprintf(text, 16, "none");
}
PRESET_COLUMN(column_prior_scale, "%g", preset->model->prior_scale)
PRESET_COLUMN(column_integration_steps, "%u", preset->model->integrator.num_steps)
PRESET_COLUMN(column_num_distance, "%u", preset->model->dynamics.num_distance)
PRESET_COLUMN(column_num_time, "%u", preset->model->dynamics.num_time)

static void print_more(FILE *stream) {
    system_print_heading(stream, "Defaults of the presets");
    system_print_row(stream, "--num-train", column_num_train);
    system_print_row(stream, "--steps", column_num_steps);
    system_print_row(stream, "--batch-size", column_batch_size);
    system_print_row(stream, "--num-generated", column_num_generated);
    system_print_row(stream, "--energy-cap", column_energy_cap);
    system_print_row(stream, "--learning-rate", column_learning_rate);
    system_print_row(stream, "--final-fraction", column_final_fraction);
    system_print_row(stream, "--warm-up", column_num_warmup_steps);
    system_print_row(stream, "--integration-penalty", column_integration_penalty);
    system_print_row(stream, "--clip-norm", column_clip_norm);
    system_print_row(stream, "--average-decay", column_average_decay);
    system_print_row(stream, "--weight-decay", column_weight_decay);
    system_print_row(stream, "--data-noise", column_data_noise);
    system_print_row(stream, "--validation-interval", column_validation_interval);
    system_print_row(stream, "--field-evaluation", column_field_evaluation);
    system_print_row(stream, "--prior-scale", column_prior_scale);
    system_print_row(stream, "--integration-steps", column_integration_steps);
    system_print_row(stream, "--num-distance", column_num_distance);
    system_print_row(stream, "--num-time", column_num_time);
    system_print_constants(stream);
    train_stages_print_help(stream);
    fputs("\nSmall data sets train for fewer steps; --data-noise is that of 1000 samples and\n"
          "shrinks as their number to the power -1/5. A short --steps also shortens\n"
          "--warm-up and --validation-interval, unless those are given. Ctrl-C writes a\n"
          "checkpoint and says how to resume.\n",
          stream);
}

static exit_code check_prior_scale(cli_app *app, train_flags *flags) {
    if (!flags->prior_scale) return EXIT_CODE_OK;
    flags->has_prior_scale_of_data = strcmp(flags->prior_scale, "data") == 0;
    if (flags->has_prior_scale_of_data) return EXIT_CODE_OK;
    if (options_number(flags->prior_scale, &flags->prior_scale_value) && flags->prior_scale_value > 0) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE,
                    "--prior-scale %s: must be a positive number or 'data'; see eqflow train --help",
                    flags->prior_scale);
}

static exit_code check_energy_cap(cli_app *app, train_flags *flags) {
    if (!flags->energy_cap) return EXIT_CODE_OK;
    if (strcmp(flags->energy_cap, "none") == 0) {
        flags->energy_cap_value = (double)INFINITY;
        return EXIT_CODE_OK;
    }
    if (options_number(flags->energy_cap, &flags->energy_cap_value)) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE, "--energy-cap %s: must be an energy in kT or 'none'; see eqflow train --help",
                    flags->energy_cap);
}

/* --stage, which says all losses. */
static exit_code check_stages(cli_app *app, train_flags *flags, bool is_without_data) {
    if (flags->loss_name) return app_fail(app, EXIT_CODE_USAGE, "--stage names the loss of each stage, so it excludes --loss");
    const exit_code code = train_stages_check(app, flags);
    if (code != EXIT_CODE_OK) return code;
    const bool needs_data = train_stages_need_data(flags);
    if (is_without_data && needs_data)
        return app_fail(app, EXIT_CODE_USAGE, "a stage of --stage needs samples, so it excludes --data none");
    if (!is_without_data && flags->data_path && !needs_data)
        return app_fail(app, EXIT_CODE_USAGE, "--stage energy uses no samples, so it excludes --data %s", flags->data_path);
    if (is_without_data) flags->data_path = NULL;
    flags->loss = needs_data ? LOSS_NLL : LOSS_ENERGY;
    flags->loss_name = "stages";
    return check_energy_cap(app, flags);
}

/* --loss, and the options that have a meaning with some losses only. */
static exit_code check_loss(cli_app *app, train_flags *flags) {
    static const char *const names[] = {"nll", "energy", "mixture"};
    const bool is_without_data = flags->data_path && strcmp(flags->data_path, "none") == 0;
    flags->is_loss_set = flags->loss_name != NULL || is_without_data;
    if (flags->stages.num_texts > 0) return check_stages(app, flags, is_without_data);
    if (!flags->loss_name) flags->loss_name = is_without_data ? "energy" : "nll";
    size_t found = 0;
    while (found < 3 && strcmp(flags->loss_name, names[found]) != 0) found++;
    if (found == 3) {
        return app_fail(app, EXIT_CODE_USAGE, "--loss %s: must be nll, energy or mixture; see eqflow train --help",
                        flags->loss_name);
    }
    flags->loss = (train_loss)found;
    if (is_without_data && flags->loss != LOSS_ENERGY) {
        return app_fail(app, EXIT_CODE_USAGE, "--loss %s needs samples, so it excludes --data none", flags->loss_name);
    }
    if (flags->data_path && !is_without_data && flags->loss == LOSS_ENERGY) {
        return app_fail(app, EXIT_CODE_USAGE, "--loss energy uses no samples, so it excludes --data %s; --loss mixture "
                                              "uses both", flags->data_path);
    }
    if (is_without_data) flags->data_path = NULL;
    const bool is_nll = flags->loss == LOSS_NLL, is_energy = flags->loss == LOSS_ENERGY;
    const struct {
        const char *option, *reason;
        bool is_wrong;
    } rules[] = {
        {"--num-train", "--loss energy uses no samples", is_energy && flags->is_num_train_set},
        {"--held-out", "--loss energy uses no samples", is_energy && flags->is_held_out_set},
        {"--augment", "--loss energy uses no samples", is_energy && flags->is_augmented},
        {"--data-noise", "--loss energy uses no samples", is_energy && flags->is_data_noise_set},
        {"--prior-scale data", "--loss energy uses no samples", is_energy && flags->has_prior_scale_of_data},
        {"--batch-size", "--loss energy draws samples of its own, --num-generated a step",
         is_energy && flags->is_batch_size_set},
        {"--num-generated", "--loss nll generates no samples", is_nll && flags->is_num_generated_set},
        {"--energy-cap", "--loss nll uses no energies", is_nll && flags->energy_cap},
        {"--nll-weight-start", "it weighs the parts of --loss mixture",
         flags->loss != LOSS_MIXTURE && flags->is_nll_weight_start_set},
        {"--nll-weight-end", "it weighs the parts of --loss mixture",
         flags->loss != LOSS_MIXTURE && flags->is_nll_weight_end_set},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!rules[i].is_wrong) continue;
        return app_fail(app, EXIT_CODE_USAGE, "%s has no meaning here: %s; see eqflow train --help", rules[i].option,
                        rules[i].reason);
    }
    return check_energy_cap(app, flags);
}

static const eqf_option *dynamics_rows(unsigned kind, size_t index) {
    return eqf_dynamics_option((eqf_dynamics_kind)kind, index);
}

static const eqf_dynamics_kind_info *field_number(unsigned kind) {
    return eqf_dynamics_kind_describe((eqf_dynamics_kind)kind);
}

static bool has_flag(const eqf_dynamics_kind_info *field, const void *flag) {
    for (unsigned kind = 0; field_number(kind); kind++)
        if (field_number(kind) == field) return option_flags_row(flag, dynamics_rows, kind) != NULL;
    return false;
}
static bool has_table(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field->has_table;
}
static bool has_estimates(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field->has_estimates;
}

/* The fields that `is_of` picks: "radial, dense or message". */
static void list_fields(bool (*is_of)(const eqf_dynamics_kind_info *field, const void *flag), const void *flag, char text[128]) {
    const char *names[16];
    size_t num = 0, length = 0;
    for (unsigned kind = 0; field_number(kind) && num < 16; kind++)
        if (is_of(field_number(kind), flag)) names[num++] = field_number(kind)->name;
    text[0] = '\0';
    for (size_t n = 0; n < num && length < 128; n++)
        length += (size_t)snprintf(text + length, 128 - length, "%s%s", n == 0 ? "" : n + 1 == num ? " or " : ", ", names[n]);
}

static bool is_any(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field != NULL;
}

/* A flag that this field does not know: says which do. */
static exit_code fail_unfit(cli_app *app, const char *name, const char *field,
                            bool (*is_of)(const eqf_dynamics_kind_info *field, const void *flag), const void *flag) {
    char fields[128];
    list_fields(is_of, flag, fields);
    return app_fail(app, EXIT_CODE_USAGE, "--%s belongs to --field %s and this is --field %s", name, fields, field);
}

exit_code train_flags_dynamics(cli_app *app, const train_flags *flags, eqf_dynamics_options *dynamics) {
    const char *field = flags->field ? flags->field : field_number(dynamics->kind)->name;
    if (eqf_dynamics_kind_find(field, &dynamics->kind) != EQF_OK) {
        char fields[128];
        list_fields(is_any, NULL, fields);
        return app_fail(app, EXIT_CODE_USAGE, "--field %s: must be %s; see eqflow train --help", field, fields);
    }
    const option_flag *unfit;
    exit_code code = option_flags_apply(app, &flags->dynamics, dynamics_rows, dynamics->kind, dynamics, &unfit);
    if (code != EXIT_CODE_OK) return code;
    const eqf_dynamics_kind_info *info = field_number(dynamics->kind);
    if (unfit) return fail_unfit(app, unfit->name, field, has_flag, unfit);
    if (flags->field_evaluation && !info->has_table) return fail_unfit(app, "field-evaluation", field, has_table, NULL);
    if (flags->divergence_value != EQF_DIVERGENCE_EXACT && !info->has_estimates)
        return fail_unfit(app, "divergence", field, has_estimates, NULL);
    return EXIT_CODE_OK;
}

/* ---- Priors --------------------------------------------------------------------------------------------------------------- */

/* The scale has a flag of its own, which takes "data" and by presets has a default. */
static const eqf_option *prior_rows(unsigned kind, size_t index) {
    const eqf_option *row;
    for (size_t i = 0; (row = eqf_prior_option((eqf_prior_kind)kind, i)) != NULL; i++)
        if (row->offset != offsetof(eqf_model_options, prior_scale) && index-- == 0) return row;
    return NULL;
}

/* "mean_free_gaussian or ...", or with titles "mean_free_gaussian: mean-free Gaussian; ..." */
static void list_priors(bool has_titles, char *text, size_t size) {
    const eqf_prior_kind_info *info;
    size_t length = 0;
    for (unsigned kind = 0; (info = eqf_prior_kind_describe((eqf_prior_kind)kind)) != NULL && length < size; kind++)
        length += (size_t)snprintf(text + length, size - length, "%s%s%s%s", kind == 0 ? "" : has_titles ? "; " : " or ",
                                   info->name, has_titles ? ": " : "", has_titles ? info->title : "");
}

exit_code train_flags_prior(cli_app *app, const train_flags *flags, eqf_model_options *options) {
    char names[256];
    if (flags->prior && eqf_prior_kind_find(flags->prior, &options->prior_kind) != EQF_OK) {
        list_priors(false, names, sizeof names);
        return app_fail(app, EXIT_CODE_USAGE, "--prior %s: must be %s; see eqflow train --help", flags->prior, names);
    }
    const option_flag *unfit;
    const exit_code code = option_flags_apply(app, &flags->priors, prior_rows, options->prior_kind, options, &unfit);
    if (code != EXIT_CODE_OK || !unfit) return code;
    return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: this is --prior %s; see eqflow train --help",
                    unfit->name, eqf_prior_kind_describe(options->prior_kind)->name);
}

static exit_code check_prior(cli_app *app, const train_flags *flags) {
    eqf_model_options scratch = EQF_MODEL_OPTIONS_INIT;
    return train_flags_prior(app, flags, &scratch);
}

/* ---- Checks --------------------------------------------------------------------------------------------------------------- */

static exit_code check_field(cli_app *app, train_flags *flags) {
    eqf_dynamics_options scratch = EQF_DYNAMICS_OPTIONS_INIT;
    exit_code code = train_flags_dynamics(app, flags, &scratch);
    flags->field_value = scratch.kind;
    return code;
}

/* Whether every preset has the row's default, for every field that has the flag. */
static bool is_default_of_all(const option_flag *flag) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (unsigned kind = 0; field_number(kind); kind++) {
        const eqf_option *row = option_flags_row(flag, dynamics_rows, kind);
        for (size_t i = 0; row && i < num_presets; i++) {
            eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
            if (eqf_preset_model_options(&presets[i], (eqf_dynamics_kind)kind, &options) != EQF_OK) return false;
            if (eqf_option_get(row, &options.dynamics) != flag->row->initial) return false;
        }
    }
    return true;
}

static size_t dynamics_options(train_flags *flags, cli_option options_out[]) {
    const size_t num = option_flags_options(&flags->dynamics, NULL, options_out);
    for (size_t i = 0; i < num; i++)
        if (!is_default_of_all(&flags->dynamics.flags[i])) options_out[i].default_text = ""; /* by preset and field */
    return num;
}

/* "radial: the paper's; dense: ..." */
static void describe_fields(char *text, size_t size) {
    size_t length = 0;
    for (unsigned kind = 0; field_number(kind) && length < size; kind++)
        length += (size_t)snprintf(text + length, size - length, "%s%s: %s", kind ? "; " : "", field_number(kind)->name,
                                   field_number(kind)->title);
}

static bool is_batched(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field->is_batched;
}

bool train_flags_is_batched(eqf_dynamics_kind field, char fields_out[128]) {
    list_fields(is_batched, NULL, fields_out);
    return field_number(field)->is_batched;
}

static exit_code check_gradient(cli_app *app, train_flags *flags) {
    char fields[128];
    flags->is_otd = flags->gradient && strcmp(flags->gradient, "otd") == 0;
    flags->is_path = flags->gradient && strcmp(flags->gradient, "path") == 0;
    if (flags->gradient && !flags->is_otd && !flags->is_path && strcmp(flags->gradient, "dto") != 0)
        return app_fail(app, EXIT_CODE_USAGE, "--gradient %s: must be dto, otd or path; see eqflow train --help",
                        flags->gradient);
    if (!flags->is_otd && (flags->is_rtol_set || flags->is_atol_set))
        return app_fail(app, EXIT_CODE_USAGE, "--%s is a tolerance of the continuous adjoint: add --gradient otd",
                        flags->is_rtol_set ? "rtol" : "atol");
    if (flags->is_path && !train_flags_is_batched(flags->field_value, fields))
        return app_fail(app, EXIT_CODE_USAGE, "--gradient path is for --field %s", fields);
    if (flags->is_path && flags->is_integration_penalty_set && flags->integration_penalty > 0)
        return app_fail(app, EXIT_CODE_USAGE, "--integration-penalty is of --gradient dto, path knows none");
    if (flags->is_otd && flags->is_integration_penalty_set && flags->integration_penalty > 0)
        return app_fail(app, EXIT_CODE_USAGE, "--integration-penalty is of --gradient dto: the adaptive solver of otd "
                                              "leaves no integration error to penalise");
    if (flags->is_otd && flags->field_evaluation && flags->field_evaluation_value == EQF_FIELD_TABLE)
        return app_fail(app, EXIT_CODE_USAGE, "--field-evaluation table is of --gradient dto: otd has no fixed times to "
                                              "make tables of");
    return EXIT_CODE_OK;
}

static exit_code check_flags(cli_app *app, train_flags *flags) {
    if (!flags->model_path) {
        return app_fail(app, EXIT_CODE_USAGE, "-o MODEL.safetensors is missing; see eqflow train --help");
    }
    if (flags->data_path && flags->is_num_train_set) {
        return app_fail(app, EXIT_CODE_USAGE, "--num-train says how many samples to make, so it excludes --data");
    }
    exit_code code = work_field_evaluation(app, flags->field_evaluation, &flags->field_evaluation_value);
    if (code == EXIT_CODE_OK) code = work_divergence(app, flags->divergence, &flags->divergence_value);
    if (code == EXIT_CODE_OK) code = check_field(app, flags);
    if (code == EXIT_CODE_OK) code = check_gradient(app, flags);
    if (code == EXIT_CODE_OK) code = check_prior(app, flags);
    if (code == EXIT_CODE_OK) code = check_prior_scale(app, flags);
    if (code == EXIT_CODE_OK) code = check_loss(app, flags);
    if (code != EXIT_CODE_OK) return code;
    flags->csv_path = app_keep(app, files_with_extension(flags->model_path, ".csv"));
    if (!flags->checkpoint_path) {
        size_t size = strlen(flags->model_path) + sizeof ".checkpoint";
        char *path = malloc(size);
        if (path) snprintf(path, size, "%s.checkpoint", flags->model_path);
        flags->checkpoint_path = app_keep(app, path);
    }
    if (!flags->csv_path || !flags->checkpoint_path) return app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    if (strcmp(flags->csv_path, flags->model_path) == 0) {
        return app_fail(app, EXIT_CODE_USAGE, "-o %s: the training log goes there; end the model's name otherwise",
                        flags->model_path);
    }
    const files_use uses[] = {{"-o", flags->model_path, FILES_WRITTEN},
                              {"--checkpoint", flags->checkpoint_path, FILES_WRITTEN},
                              {"the training log of -o", flags->csv_path, FILES_WRITTEN},
                              {"--data", flags->data_path, FILES_READ},
                              {"--potential", flags->system.potential_path, FILES_READ}};
    if ((code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses)) != EXIT_CODE_OK) return code;
    if (flags->is_resumed && !files_exists(flags->checkpoint_path)) {
        return app_fail(app, EXIT_CODE_INPUT, "there is no checkpoint %s to resume from; run without --resume",
                        flags->checkpoint_path);
    }
    return EXIT_CODE_OK;
}

bool train_flags_read(cli_app *app, train_flags *flags_out, eqf_preset *chosen_out, exit_code *code_out) {
    const char *const operands[] = {"PRESET", NULL};
    const command_help help = {
        .usage = "(PRESET|--potential FILE.cl) -o MODEL [options]",
        .is_last_operand_optional = true,
        .description = "Trains an equivariant flow on samples of PRESET, on its energy, or on both, and keeps the model "
                       "that is best on held-out samples. Without --data it makes the samples itself by Monte Carlo; "
                       "--data none trains on the energy alone. A CSV log goes beside the model.",
        .operands = operands,
        .examples = "  eqflow train dw4 -o dw4.safetensors\n"
                    "  eqflow train dw2 --data none -o dw2.safetensors\n"
                    "  eqflow train dw4 --loss mixture -o dw4.safetensors\n"
                    "  eqflow train dw4 --field message -o dw4.safetensors\n"
                    "  eqflow train lj13 --data lj13.npy -o lj13.safetensors --steps 8000\n"
                    "  eqflow train lj13 --data lj13.npy -o lj13.safetensors --steps 8000 --resume\n",
        .print_more = print_more,
    };
    train_flags *flags = flags_out;
    *flags = (train_flags){.held_out = 0.1, .checkpoint_seconds = 60, .nll_weight_start = 1, .nll_weight_end = 0.5};
    for (unsigned kind = 0; field_number(kind); kind++)
        option_flags_add(&flags->dynamics, field_number(kind)->name, dynamics_rows, kind);
    describe_fields(flags->field_help, sizeof flags->field_help);
    for (unsigned kind = 0; eqf_prior_kind_describe((eqf_prior_kind)kind); kind++)
        option_flags_add(&flags->priors, eqf_prior_kind_describe((eqf_prior_kind)kind)->title, prior_rows, kind);
    list_priors(true, flags->prior_help, sizeof flags->prior_help);
    const char *const preset = ""; /* the table after the options has these */
    cli_option options[OPTIONS_MAX] = {
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .argument = "FILE", .value = &flags->model_path,
         .default_text = "required", .help = "the model (safetensors)"},
        {.kind = OPTION_HEADING, .name = "Data"},
        {.kind = OPTION_TEXT, .name = "data", .argument = "FILE.npy", .value = &flags->data_path,
         .default_text = "made here", .help = "samples, [B, N, D] or [B, N*D]; none: train on the energy alone"},
        {.kind = OPTION_COUNT, .name = "num-train", .argument = "COUNT", .value = &flags->num_train,
         .is_set = &flags->is_num_train_set, .default_text = "by preset", .low = 2, .high = 1e12,
         .help = "samples to make, held-out ones included"},
        {.kind = OPTION_NUMBER, .name = "held-out", .argument = "FRACTION", .value = &flags->held_out,
         .is_set = &flags->is_held_out_set, .low = 0, .high = 0.9, .help = "part of the samples that chooses the model, at most 10000"},
        {.kind = OPTION_FLAG, .name = "augment", .value = &flags->is_augmented,
         .help = "rotate, reflect and permute each sample at random, anew in each batch"},
        {.kind = OPTION_NUMBER, .name = "data-noise", .argument = "X", .value = &flags->data_noise,
         .is_set = &flags->is_data_noise_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "sd of normal noise on each coordinate, anew in each batch: keeps a small set from being learned by heart"},
        {.kind = OPTION_HEADING, .name = "Loss"},
        {.kind = OPTION_TEXT, .name = "loss", .argument = "WHAT", .value = &flags->loss_name,
         .default_text = "nll, or energy with --data none",
         .help = "nll: likelihood of the samples; energy: free energy of the model (reverse KL); mixture: both"},
        {.kind = OPTION_NUMBER, .name = "nll-weight-start", .argument = "X", .value = &flags->nll_weight_start,
         .is_set = &flags->is_nll_weight_start_set, .low = 0, .high = 1,
         .help = "mixture: the likelihood's weight at the first step, that of the free energy is 1 - X"},
        {.kind = OPTION_NUMBER, .name = "nll-weight-end", .argument = "X", .value = &flags->nll_weight_end,
         .is_set = &flags->is_nll_weight_end_set, .low = 0, .high = 1,
         .help = "mixture: at the last step; linear between"},
        {.kind = OPTION_COUNT, .name = "num-generated", .argument = "N", .value = &flags->num_generated,
         .is_set = &flags->is_num_generated_set, .default_text = preset, .low = 1, .high = 1 << 24,
         .help = "energy, mixture: samples of the model a step"},
        {.kind = OPTION_TEXT, .name = "energy-cap", .argument = "E", .value = &flags->energy_cap,
         .default_text = preset,
         .help = "energy, mixture: flatten energies above E kT, so that overlaps do not drown the rest; or none"},
        {.kind = OPTION_HEADING, .name = "Training (defaults by preset: see the table below)"},
        {.kind = OPTION_LIST, .name = "stage", .argument = "LOSS,KEY=VALUE,...", .value = &flags->stages,
         .default_text = "the recipe of preset and field",
         .help = "a stage of training, several times for several: \"flow-matching,steps=20000\"; keys: see below"},
        {.kind = OPTION_COUNT, .name = "steps", .argument = "N", .value = &flags->num_steps,
         .is_set = &flags->is_num_steps_set, .default_text = preset, .low = 1, .high = 1e12,
         .help = "optimizer steps"},
        {.kind = OPTION_COUNT, .name = "batch-size", .argument = "N", .value = &flags->batch_size,
         .is_set = &flags->is_batch_size_set, .default_text = preset, .low = 1, .high = 1 << 24,
         .help = "samples a step"},
        {.kind = OPTION_NUMBER, .name = "learning-rate", .argument = "X", .value = &flags->learning_rate,
         .is_set = &flags->is_learning_rate_set, .default_text = preset, .low = DBL_MIN, .high = DBL_MAX,
         .help = "of Adam, at its highest"},
        {.kind = OPTION_NUMBER, .name = "final-fraction", .argument = "X", .value = &flags->final_fraction,
         .is_set = &flags->is_final_fraction_set, .default_text = preset, .low = 0, .high = 1,
         .help = "of the learning rate, where the cosine ends"},
        {.kind = OPTION_COUNT, .name = "warm-up", .argument = "N", .value = &flags->num_warmup_steps,
         .is_set = &flags->is_num_warmup_steps_set, .default_text = preset, .low = 0, .high = 1e12,
         .help = "steps of linear warm-up"},
        {.kind = OPTION_NUMBER, .name = "integration-penalty", .argument = "X", .value = &flags->integration_penalty,
         .is_set = &flags->is_integration_penalty_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "weight of the integration error in the loss"},
        {.kind = OPTION_NUMBER, .name = "clip-norm", .argument = "X", .value = &flags->clip_norm,
         .is_set = &flags->is_clip_norm_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "largest gradient norm; 0: no clipping"},
        {.kind = OPTION_NUMBER, .name = "average-decay", .argument = "X", .value = &flags->average_decay,
         .is_set = &flags->is_average_decay_set, .default_text = preset, .low = 0, .high = 0.999999,
         .help = "of the parameters' moving average; 0: none"},
        {.kind = OPTION_NUMBER, .name = "weight-decay", .argument = "X", .value = &flags->weight_decay,
         .is_set = &flags->is_weight_decay_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "decoupled, as in AdamW"},
        {.kind = OPTION_COUNT, .name = "validation-interval", .argument = "N", .value = &flags->validation_interval,
         .is_set = &flags->is_validation_interval_set, .default_text = preset, .low = 1, .high = 1e12,
         .help = "steps between held-out measurements"},
        {.kind = OPTION_TEXT, .name = "field-evaluation", .argument = "HOW", .value = &flags->field_evaluation,
         .default_text = preset, .help = "table (fast) or direct (every Gaussian summed)"},
        {.kind = OPTION_TEXT, .name = "gradient", .argument = "HOW", .value = &flags->gradient, .default_text = "dto",
         .help = "dto (exact, of RK4's flow), otd (continuous adjoint, by dopri5) or path (along samples' paths)"},
        {.kind = OPTION_NUMBER, .name = "rtol", .argument = "TOLERANCE", .value = &flags->rtol,
         .is_set = &flags->is_rtol_set, .default_text = "1e-5", .low = 1e-8, .high = 0.1,
         .help = "of otd: largest relative error of a step"},
        {.kind = OPTION_NUMBER, .name = "atol", .argument = "TOLERANCE", .value = &flags->atol,
         .is_set = &flags->is_atol_set, .default_text = "1e-10", .low = 1e-20, .high = 1,
         .help = "of otd: largest absolute error of a step"},
        {.kind = OPTION_HEADING, .name = "The flow (defaults by preset: see the table below)"},
        {.kind = OPTION_TEXT, .name = "prior-scale", .argument = "X", .value = &flags->prior_scale,
         .default_text = preset, .help = "of the prior, of the Gaussian its sd; data: that of the samples"},
        {.kind = OPTION_TEXT, .name = "prior", .argument = "KIND", .value = &flags->prior,
         .default_text = "mean_free_gaussian", .help = flags->prior_help},
        {.kind = OPTION_COUNT, .name = "integration-steps", .argument = "N", .value = &flags->integration_steps,
         .is_set = &flags->is_integration_steps_set, .default_text = preset, .low = 1, .high = 1e5,
         .help = "Runge-Kutta steps"},
        {.kind = OPTION_TEXT, .name = "field", .argument = "KIND", .value = &flags->field, .default_text = "radial",
         .help = flags->field_help},
        {.kind = OPTION_TEXT, .name = "divergence", .argument = "HOW", .value = &flags->divergence,
         .default_text = "exact", .help = "of a dense field: exact, or Hutchinson's estimate: rademacher, gaussian"},
    };
    const cli_option interruptions[] = {
        {.kind = OPTION_HEADING, .name = "Interruptions"},
        {.kind = OPTION_TEXT, .name = "checkpoint", .argument = "FILE", .value = &flags->checkpoint_path,
         .default_text = "the model's name + .checkpoint", .help = "all that --resume needs; removed at the end"},
        {.kind = OPTION_NUMBER, .name = "checkpoint-interval", .argument = "SECONDS",
         .value = &flags->checkpoint_seconds, .low = 0, .high = DBL_MAX, .help = "between checkpoints"},
        {.kind = OPTION_FLAG, .name = "resume", .value = &flags->is_resumed,
         .help = "go on from the checkpoint; all else as in the first command"},
    };
    size_t num_options = 0;
    while (options[num_options].name) num_options++;
    num_options += option_flags_options(&flags->priors, NULL, options + num_options);
    num_options += dynamics_options(flags, options + num_options);
    for (size_t i = 0; i < sizeof interruptions / sizeof interruptions[0]; i++) options[num_options++] = interruptions[i];
    num_options += system_options(&flags->system, SYSTEM_OF_PRESET, options + num_options);
    const char *words[OPERANDS_MAX];
    if (!options_parse(app, &help, options, num_options, words, code_out)) return false;
    *code_out = app_create_context(app);
    if (*code_out == EXIT_CODE_OK) *code_out = system_choose(app, &flags->system, words[0], chosen_out);
    if (*code_out == EXIT_CODE_OK) *code_out = check_flags(app, flags);
    if (*code_out != EXIT_CODE_OK) return false;
    /* Only presets know a scale that fits: an own potential may be in any units. */
    if (!words[0] && !flags->prior_scale) {
        if (flags->loss == LOSS_ENERGY) {
            *code_out = app_fail(app, EXIT_CODE_USAGE, "--prior-scale X is missing: without samples nothing says how far the "
                                                       "particles of this potential spread; see eqflow train --help");
            return false;
        }
        flags->has_prior_scale_of_data = true;
    }
    return true;
}
