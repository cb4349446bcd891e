#include "train_flags.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "options.h"
#include "train_options.h"
#include "train_stages.h"
#include "work.h"

/* Of the training's rows. */
static bool is_set(const train_flags *flags, const char *name) {
    return option_flags_find(&flags->training, name)->is_set;
}

static exit_code check_prior_scale(cli_app *app, train_flags *flags) {
    if (!flags->prior_scale) return EXIT_CODE_OK;
    flags->has_prior_scale_of_data = strcmp(flags->prior_scale, "data") == 0;
    if (flags->has_prior_scale_of_data) return EXIT_CODE_OK;
    if (options_number(flags->prior_scale, &flags->prior_scale_value) && flags->prior_scale_value > 0)
        return EXIT_CODE_OK;
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

/* Checks --stage, which gives all losses. */
static exit_code check_stages(cli_app *app, train_flags *flags, bool is_without_data) {
    if (flags->loss_name)
        return app_fail(app, EXIT_CODE_USAGE, "--stage names the loss of each stage, so it excludes --loss");
    const char *const weights[] = {"nll-weight-start", "nll-weight-end"};
    for (size_t w = 0; w < 2; w++)
        if (is_set(flags, weights[w]))
            return app_fail(app, EXIT_CODE_USAGE, "--%s is of --loss mixture: write --stage mixture,%s=X", weights[w],
                            weights[w]);
    const exit_code code = train_stages_check(app, flags);
    if (code != EXIT_CODE_OK) return code;
    const bool needs_data = train_stages_need_data(flags);
    if (is_without_data && needs_data)
        return app_fail(app, EXIT_CODE_USAGE, "a stage of --stage needs samples, so it excludes --data none");
    if (!is_without_data && flags->data_path && !needs_data)
        return app_fail(app, EXIT_CODE_USAGE, "--stage energy uses no samples, so it excludes --data %s",
                        flags->data_path);
    if (is_without_data) flags->data_path = NULL;
    flags->loss = needs_data ? LOSS_NLL : LOSS_ENERGY;
    flags->loss_name = "stages";
    return check_energy_cap(app, flags);
}

/* Checks --loss, and options that have a meaning with some losses only. */
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
        return app_fail(app, EXIT_CODE_USAGE,
                        "--loss energy uses no samples, so it excludes --data %s; --loss mixture "
                        "uses both",
                        flags->data_path);
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
        {"--data-noise", "--loss energy uses no samples", is_energy && is_set(flags, "data-noise")},
        {"--prior-scale data", "--loss energy uses no samples", is_energy && flags->has_prior_scale_of_data},
        {"--batch-size", "--loss energy draws samples of its own, --num-generated a step",
         is_energy && is_set(flags, "batch-size")},
        {"--num-generated", "--loss nll generates no samples", is_nll && is_set(flags, "num-generated")},
        {"--energy-cap", "--loss nll uses no energies", is_nll && flags->energy_cap},
        {"--nll-weight-start", "it weighs the parts of --loss mixture",
         flags->loss != LOSS_MIXTURE && is_set(flags, "nll-weight-start")},
        {"--nll-weight-end", "it weighs the parts of --loss mixture",
         flags->loss != LOSS_MIXTURE && is_set(flags, "nll-weight-end")},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!rules[i].is_wrong) continue;
        return app_fail(app, EXIT_CODE_USAGE, "%s has no meaning here: %s; see eqflow train --help", rules[i].option,
                        rules[i].reason);
    }
    return check_energy_cap(app, flags);
}

static bool has_flag(const eqf_dynamics_kind_info *field, const void *flag) {
    for (unsigned kind = 0; train_field(kind); kind++)
        if (train_field(kind) == field) return option_flags_row(flag, train_dynamics_row, kind) != NULL;
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

/* The names of the fields for which `is_of` is true: "radial, dense or message". */
static void list_fields(bool (*is_of)(const eqf_dynamics_kind_info *field, const void *flag), const void *flag,
                        char text[128]) {
    const char *names[16];
    size_t num = 0, length = 0;
    for (unsigned kind = 0; train_field(kind) && num < 16; kind++)
        if (is_of(train_field(kind), flag)) names[num++] = train_field(kind)->name;
    text[0] = '\0';
    for (size_t n = 0; n < num && length < 128; n++)
        length += (size_t)snprintf(text + length, 128 - length, "%s%s",
                                   n == 0         ? ""
                                   : n + 1 == num ? " or "
                                                  : ", ",
                                   names[n]);
}

static bool is_any(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field != NULL;
}

/* The error for a flag that this field does not have; it names the fields that have it. */
static exit_code fail_unfit(cli_app *app, const char *name, const char *field,
                            bool (*is_of)(const eqf_dynamics_kind_info *field, const void *flag), const void *flag) {
    char fields[128];
    list_fields(is_of, flag, fields);
    return app_fail(app, EXIT_CODE_USAGE, "--%s belongs to --field %s and this is --field %s", name, fields, field);
}

exit_code train_flags_dynamics(cli_app *app, const train_flags *flags, eqf_dynamics_options *dynamics) {
    const char *field = flags->field ? flags->field : train_field(dynamics->kind)->name;
    if (eqf_dynamics_kind_find(field, &dynamics->kind) != EQF_OK) {
        char fields[128];
        list_fields(is_any, NULL, fields);
        return app_fail(app, EXIT_CODE_USAGE, "--field %s: must be %s; see eqflow train --help", field, fields);
    }
    const option_flag *unfit;
    exit_code code = option_flags_apply(app, &flags->dynamics, train_dynamics_row, dynamics->kind, dynamics, &unfit);
    if (code != EXIT_CODE_OK) return code;
    const eqf_dynamics_kind_info *info = train_field(dynamics->kind);
    if (unfit) return fail_unfit(app, unfit->name, field, has_flag, unfit);
    if (flags->field_evaluation && !info->has_table) return fail_unfit(app, "field-evaluation", field, has_table, NULL);
    if (flags->divergence_value != EQF_DIVERGENCE_EXACT && !info->has_estimates)
        return fail_unfit(app, "divergence", field, has_estimates, NULL);
    return EXIT_CODE_OK;
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static exit_code check_prior(cli_app *app, const train_flags *flags) {
    eqf_model_options scratch = EQF_MODEL_OPTIONS_INIT;
    return train_flags_prior(app, flags, &scratch);
}

static exit_code check_field(cli_app *app, train_flags *flags) {
    eqf_dynamics_options scratch = EQF_DYNAMICS_OPTIONS_INIT;
    if (flags->start) scratch = eqf_model_options_of(flags->start)->dynamics;
    exit_code code = train_flags_dynamics(app, flags, &scratch);
    flags->field_value = scratch.kind;
    return code;
}

static bool is_batched(const eqf_dynamics_kind_info *field, const void *flag) {
    (void)flag;
    return field->is_batched;
}

bool train_flags_is_batched(eqf_dynamics_kind field, char fields_out[128]) {
    list_fields(is_batched, NULL, fields_out);
    return train_field(field)->is_batched;
}

static exit_code check_gradient(cli_app *app, train_flags *flags) {
    char fields[128];
    flags->is_otd = flags->gradient && strcmp(flags->gradient, "otd") == 0;
    flags->is_path = flags->gradient && strcmp(flags->gradient, "path") == 0;
    if (flags->gradient && !flags->is_otd && !flags->is_path && strcmp(flags->gradient, "dto") != 0)
        return app_fail(app, EXIT_CODE_USAGE, "--gradient %s: must be dto, otd or path; see eqflow train --help",
                        flags->gradient);
    if (!flags->is_otd && (is_set(flags, "rtol") || is_set(flags, "atol")))
        return app_fail(app, EXIT_CODE_USAGE, "--%s is a tolerance of the continuous adjoint: add --gradient otd",
                        is_set(flags, "rtol") ? "rtol" : "atol");
    const option_flag *penalty = option_flags_find(&flags->training, "integration-penalty");
    const bool has_penalty = penalty->is_set && penalty->number > 0;
    if (flags->is_path && !train_flags_is_batched(flags->field_value, fields))
        return app_fail(app, EXIT_CODE_USAGE, "--gradient path is for --field %s", fields);
    if (flags->is_path && has_penalty)
        return app_fail(app, EXIT_CODE_USAGE, "--integration-penalty is of --gradient dto, path knows none");
    if (flags->is_otd && has_penalty)
        return app_fail(app, EXIT_CODE_USAGE,
                        "--integration-penalty is of --gradient dto: the adaptive solver of otd "
                        "leaves no integration error to penalise");
    if (flags->is_otd && flags->field_evaluation && flags->field_evaluation_value == EQF_FIELD_TABLE)
        return app_fail(app, EXIT_CODE_USAGE,
                        "--field-evaluation table is of --gradient dto: otd has no fixed times to "
                        "make tables of");
    return EXIT_CODE_OK;
}

static exit_code check_flags(cli_app *app, train_flags *flags, const eqf_potential_options *potential) {
    if (!flags->model_path) {
        return app_fail(app, EXIT_CODE_USAGE, "-o MODEL.safetensors is missing; see eqflow train --help");
    }
    if (flags->data_path && flags->is_num_train_set) {
        return app_fail(app, EXIT_CODE_USAGE, "--num-train says how many samples to make, so it excludes --data");
    }
    exit_code code = work_field_evaluation(app, flags->field_evaluation, &flags->field_evaluation_value);
    if (code == EXIT_CODE_OK) code = work_divergence(app, flags->divergence, &flags->divergence_value);
    if (code == EXIT_CODE_OK) code = train_start_load(app, flags, potential);
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
                              {"--start", flags->start_path, FILES_READ},
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
        .description =
            "Trains an equivariant flow on samples of PRESET, on its energy, or on both, and keeps the model "
            "that is best on held-out samples. Without --data it makes the samples itself by Monte Carlo; "
            "--data none trains on the energy alone. A CSV log goes beside the model.",
        .operands = operands,
        .examples = "  eqflow train dw4 -o dw4.safetensors\n"
                    "  eqflow train dw2 --data none -o dw2.safetensors\n"
                    "  eqflow train dw4 --loss mixture -o dw4.safetensors\n"
                    "  eqflow train dw4 --field message -o dw4.safetensors\n"
                    "  eqflow train lj13 --data lj13.npy -o lj13.safetensors --steps 8000\n"
                    "  eqflow train lj13 --data lj13.npy -o lj13.safetensors --steps 8000 --resume\n"
                    "  eqflow train dw4 --start dw4.safetensors --temperature 0.8 -o cold.safetensors\n",
        .print_more = train_options_print_more,
    };
    train_flags *flags = flags_out;
    *flags = (train_flags){.held_out = 0.1, .checkpoint_seconds = 60};
    cli_option options[OPTIONS_MAX];
    const size_t num_options = train_options(flags, options);
    const char *words[OPERANDS_MAX];
    if (!options_parse(app, &help, options, num_options, words, code_out)) return false;
    *code_out = app_create_context(app);
    if (*code_out == EXIT_CODE_OK) *code_out = system_choose(app, &flags->system, words[0], chosen_out);
    if (*code_out == EXIT_CODE_OK) *code_out = check_flags(app, flags, &chosen_out->model->potential);
    if (*code_out != EXIT_CODE_OK) return false;
    /* Only presets have a scale that fits; an own potential may be in any units. */
    if (!words[0] && !flags->prior_scale && !flags->start) {
        if (flags->loss == LOSS_ENERGY) {
            *code_out = app_fail(app, EXIT_CODE_USAGE,
                                 "--prior-scale X is missing: without samples nothing says how far the particles of "
                                 "this potential spread; see eqflow train --help");
            return false;
        }
        flags->has_prior_scale_of_data = true;
    }
    return true;
}
