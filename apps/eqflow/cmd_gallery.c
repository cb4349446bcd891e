/* The gallery: models that come with the library, each with its card. */
#define _XOPEN_SOURCE 700 /* getline */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eqflow/gallery.h"
#include "eqflow/model.h"

#include "commands.h"
#include "files.h"
#include "options.h"
#include "output.h"
#include "text.h"

/* Opens a card, which must be a file: opening a pipe would wait. */
static FILE *open_card(const char *path) {
    struct stat about;
    return path && stat(path, &about) == 0 && S_ISREG(about.st_mode) ? fopen(path, "r") : NULL;
}

/* The figures of a model's card, NAME.json; NULL: there are none. */
static json_t *read_figures(const char *model_path) {
    char *path = files_with_extension(model_path, ".json");
    FILE *card = open_card(path);
    json_t *figures = card ? json_loadf(card, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (card) fclose(card);
    free(path);
    return figures;
}

static double figure(const json_t *card, const char *key) {
    const json_t *value = json_object_get(json_object_get(card, "figures"), key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static exit_code add_row(cli_app *app, cli_output *output, json_t *list, const eqf_gallery_entry *entry) {
    eqf_model *model = NULL;
    const eqf_status status = eqf_model_load(app->ctx, entry->model_path, &model);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    const eqf_model_options *options = eqf_model_options_of(model);
    const char *system = options->preset[0] ? options->preset : eqf_potential_kind_name(options->potential.kind);
    const char *field = eqf_dynamics_kind_describe(options->dynamics.kind)->name;
    json_t *card = read_figures(entry->model_path);
    const double ess = figure(card, "ess_fraction"), error = figure(card, "ess_fraction_standard_error"),
                 kl = figure(card, "kl_direct");
    char size[32], ess_text[32] = "-", kl_text[32] = "-";
    snprintf(size, sizeof size, "%u x %u", options->potential.num_particles, options->potential.space_dim);
    if (isfinite(ess)) snprintf(ess_text, sizeof ess_text, ess < 0.01 ? "%.2g" : "%.3f", ess);
    if (isfinite(kl)) snprintf(kl_text, sizeof kl_text, "%.3f", kl);
    output_line(output, "%-20s %-10s %8s  %-8s %10zu %8s %9s", entry->name, system, size, field,
                eqf_model_num_params(model), ess_text, kl_text);
    json_array_append_new(
        list, json_pack("{s:o, s:o, s:s, s:I, s:I, s:s, s:I, s:o, s:o, s:o, s:O?}", "name",
                        output_json_text(entry->name), "path", output_json_text(entry->model_path), "system", system,
                        "num_particles", (json_int_t)options->potential.num_particles, "space_dim",
                        (json_int_t)options->potential.space_dim, "field", field, "num_params",
                        (json_int_t)eqf_model_num_params(model), "ess_fraction", output_real(ess),
                        "ess_fraction_standard_error", output_real(error), "kl", output_real(kl), "card", card));
    json_decref(card);
    eqf_model_destroy(&model);
    return EXIT_CODE_OK;
}

static exit_code list_models(cli_app *app) {
    eqf_gallery_entry *entries = NULL;
    size_t num = 0;
    char *folder = NULL;
    eqf_status status = eqf_gallery_folder(app->ctx, &folder);
    if (status == EQF_OK) status = eqf_gallery_list(app->ctx, &entries, &num);
    if (status != EQF_OK) {
        eqf_free(folder);
        return app_fail_status(app, status, ACTIVITY_READ);
    }
    cli_output output;
    exit_code code = output_begin(&output, app);
    json_t *list = json_array();
    if (code == EXIT_CODE_OK) {
        output_line(&output, "%-20s %-10s %8s  %-8s %10s %8s %9s", "name", "system", "size", "field", "parameters",
                    "ESS", "KL (nats)");
        for (size_t e = 0; e < num && code == EXIT_CODE_OK; e++) code = add_row(app, &output, list, &entries[e]);
        output_line(&output, "\n%zu model%s in %s", num, num == 1 ? "" : "s", folder);
        output_line(&output, "eqflow sample gallery:NAME ... uses one, eqflow gallery NAME shows its card");
        json_object_set_new(output.root, "folder", output_json_text(folder));
        output_json(&output, "models", list);
        if (code == EXIT_CODE_OK) {
            code = output_finish(&output);
        } else {
            output_abandon(&output);
        }
    }
    eqf_free(entries);
    eqf_free(folder);
    return code;
}

/* The card's text; with --json its figures. */
static exit_code show_card(cli_app *app, const char *name) {
    char *path = NULL;
    const eqf_status status = eqf_gallery_find(app->ctx, name, &path);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    char *card_path = files_with_extension(path, app->is_json ? ".json" : ".md");
    FILE *card = open_card(card_path);
    exit_code code = EXIT_CODE_OK;
    if (card) {
        char *line = NULL;
        for (size_t size = 0; getline(&line, &size, card) >= 0;) {
            text_make_plain(line, true);
            fputs(line, stdout);
        }
        free(line);
        fclose(card);
        code = app_flush_stdout(app);
    } else {
        code = app_fail(app, EXIT_CODE_INPUT, "the model is there, its card %s is not", card_path ? card_path : name);
    }
    free(card_path);
    eqf_free(path);
    return code;
}

exit_code cmd_gallery(cli_app *app) {
    const char *const operands[] = {"NAME", NULL};
    const command_help help = {
        .usage = "[NAME] [options]",
        .is_last_operand_optional = true,
        .description =
            "Lists the trained models that come with eqflow, or shows the card of one: its figures with errors, its "
            "certificate, the command, seed and time of its training. Every command that reads a MODEL takes "
            "gallery:NAME. "
            "The environment variable EQFLOW_GALLERY names another folder of models. ESS is the effective sample size "
            "as a "
            "fraction of the samples; KL is that of the target from the model.",
        .operands = operands,
        .examples = "  eqflow gallery\n"
                    "  eqflow gallery dw4-radial\n"
                    "  eqflow sample gallery:dw4-radial -n 1e4 -o x.npy\n",
    };
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, NULL, 0, words, &code)) return code;
    if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
    return words[0] ? show_card(app, words[0]) : list_models(app);
}
