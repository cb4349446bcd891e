#include "system.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

/* ---- Options of potentials, for option_flags --------------------------------------------------- */

static const eqf_option *rows_of(unsigned kind, size_t index) {
    return eqf_potential_option((eqf_potential_kind)kind, index);
}

/* The temperature; the sizes before it have separate flags. */
static const eqf_option *common_rows(unsigned kind, size_t index) {
    (void)kind;
    const eqf_option *row;
    size_t num_reals = 0;
    for (size_t i = 0; (row = eqf_potential_common_option(i)) != NULL; i++)
        if (row->type == EQF_OPTION_REAL && num_reals++ == index) return row;
    return NULL;
}

static const eqf_potential_kind_info *kind_number(unsigned kind) {
    return eqf_potential_kind_describe((eqf_potential_kind)kind);
}

bool system_has_text(const eqf_potential_options *potential) {
    return eqf_potential_kind_describe(potential->kind)->has_text;
}

/* The constants of all kinds; those of a text are separate, because they belong to --potential. */
static void make_flags(system_flags *flags) {
    *flags = (system_flags){.num_particles = 0};
    option_flags_add(&flags->common, "", common_rows, 0);
    for (unsigned kind = 0; kind_number(kind); kind++)
        option_flags_add(kind_number(kind)->has_text ? &flags->of_text : &flags->constants,
                         kind_number(kind)->has_text ? "" : kind_number(kind)->title, rows_of, kind);
}

size_t system_options(system_flags *flags, system_use use, cli_option options_out[]) {
    size_t num = 0;
    make_flags(flags);
    const char *default_text = ""; /* the heading tells */
    const bool has_sizes = use <= SYSTEM_OF_EITHER || use == SYSTEM_OF_CHECK;
    options_out[num++] = (cli_option){
        .kind = OPTION_HEADING,
        .name = use == SYSTEM_OF_CHECK ? "A potential of your own"
                : has_sizes            ? "The system (defaults by preset: see the table below)"
                                       : "The target (defaults: those of the model)"};
    if (has_sizes) {
        options_out[num++] = (cli_option){.kind = OPTION_COUNT, .name = "particles", .argument = "N",
                                          .help = "number of particles", .value = &flags->num_particles,
                                          .is_set = &flags->is_num_particles_set, .default_text = default_text,
                                          .low = 2, .high = 1000};
        options_out[num++] = (cli_option){.kind = OPTION_COUNT, .name = "space-dim", .argument = "D",
                                          .help = "dimensions of space", .value = &flags->space_dim,
                                          .is_set = &flags->is_space_dim_set, .default_text = default_text, .low = 1,
                                          .high = 3};
    }
    if (use != SYSTEM_OF_CHECK) {
        num += option_flags_options(&flags->common, default_text, options_out + num);
        num += option_flags_options(&flags->constants, default_text, options_out + num);
    }
    options_out[num++] = (cli_option){.kind = OPTION_TEXT, .name = "potential", .argument = "FILE.cl",
                                      .value = &flags->potential_path, .default_text = default_text,
                                      .help = "a potential of your own: OpenCL C, see docs/potentials.md"};
    options_out[num++] = (cli_option){.kind = OPTION_LIST, .name = "constant", .argument = "NAME=X",
                                      .value = &flags->own_constants,
                                      .help = "a constant of that potential; once for each"};
    num += option_flags_options(&flags->of_text, has_sizes ? NULL : default_text, options_out + num);
    if (use != SYSTEM_OF_PRESET && use != SYSTEM_OF_CHECK) {
        options_out[num++] = (cli_option){.kind = OPTION_FLAG, .name = "trust-potential", .value = &flags->is_trusted,
                                          .help = "run the potential that is text in the model: code of who made it"};
    }
    return num;
}

exit_code system_find_preset(cli_app *app, const char *name, const eqf_preset **preset_out) {
    *preset_out = eqf_preset_find(name);
    if (*preset_out) return EXIT_CODE_OK;
    char names[256] = "";
    size_t num_presets, length = 0;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (size_t i = 0; i < num_presets && length < sizeof names; i++) {
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", presets[i].name);
    }
    return app_fail(app, EXIT_CODE_USAGE, "unknown preset '%s'; there are %s", name, names);
}

/* The text of --potential replaces the potential; if that was a text too, its constants are kept. */
static exit_code read_own(cli_app *app, const system_flags *flags, eqf_potential_options *potential) {
    char *source = NULL;
    eqf_status status = eqf_potential_read_source(app->ctx, flags->potential_path, &source);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    if (!system_has_text(potential)) {
        const eqf_potential_options fresh = EQF_POTENTIAL_OPTIONS_INIT;
        const eqf_potential_options old = *potential;
        *potential = fresh;
        potential->kind = EQF_POTENTIAL_USER;
        potential->num_particles = old.num_particles;
        potential->space_dim = old.space_dim;
        potential->temperature = old.temperature;
    }
    const char *slash = strrchr(flags->potential_path, '/');
    potential->source = app_keep(app, source);
    potential->source_name = slash ? slash + 1 : flags->potential_path;
    return EXIT_CODE_OK;
}

/* "name=value", the index-th of them */
static exit_code set_own_constant(cli_app *app, const cli_list *list, size_t index, eqf_potential_options *potential) {
    char name[64];
    const char *text = list->texts[index], *equals = strchr(text, '=');
    double value;
    if (!equals || !options_number(equals + 1, &value)) {
        return app_fail(app, EXIT_CODE_USAGE, "--constant %s: must be NAME=NUMBER", text);
    }
    for (size_t other = 0; other < index; other++)
        if (strncmp(list->texts[other], text, (size_t)(equals - text) + 1) == 0)
            return app_fail(app, EXIT_CODE_USAGE, "--constant %s and %s: a constant has one value", list->texts[other],
                            text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    eqf_status status = eqf_potential_set_constant(app->ctx, potential, name, value);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* Applies the given constants to a potential that has them. */
static exit_code put_constants(cli_app *app, const system_flags *flags, eqf_potential_options *potential) {
    const eqf_potential_kind_info *kind = eqf_potential_kind_describe(potential->kind);
    const option_flag *unfit;
    exit_code code = option_flags_apply(app, &flags->common, common_rows, 0, potential, &unfit);
    if (code == EXIT_CODE_OK)
        code = option_flags_apply(app, &flags->constants, rows_of, potential->kind, potential, &unfit);
    if (code != EXIT_CODE_OK) return code;
    if (unfit)
        return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: this system's potential is %s%s", unfit->name,
                        kind->has_text ? "a text of its own: use --constant" : "of the kind ",
                        kind->has_text ? "" : kind->title);
    code = option_flags_apply(app, &flags->of_text, rows_of, potential->kind, potential, &unfit);
    if (code != EXIT_CODE_OK) return code;
    if (!unfit && (kind->has_text || flags->own_constants.num_texts == 0)) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: it goes with --potential FILE.cl",
                    unfit ? unfit->name : "constant");
}

static exit_code put_flags(cli_app *app, const system_flags *flags, eqf_potential_options *potential) {
    exit_code code;
    if (flags->potential_path && (code = read_own(app, flags, potential)) != EXIT_CODE_OK) return code;
    if (flags->is_num_particles_set) potential->num_particles = (unsigned)flags->num_particles;
    if (flags->is_space_dim_set) potential->space_dim = (unsigned)flags->space_dim;
    if ((code = put_constants(app, flags, potential)) != EXIT_CODE_OK) return code;
    for (size_t i = 0; i < flags->own_constants.num_texts; i++) {
        code = set_own_constant(app, &flags->own_constants, i, potential);
        if (code != EXIT_CODE_OK) return code;
    }
    eqf_status status = eqf_potential_check(app->ctx, potential);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

exit_code system_apply(cli_app *app, const system_flags *flags, eqf_potential_options *potential) {
    if (system_has_text(potential) && !flags->potential_path && !flags->is_trusted) {
        return app_fail(
            app, EXIT_CODE_USAGE,
            "the model's potential is a text of its own (%s), code that would run on this machine: give the "
            "file as --potential FILE.cl, or add --trust-potential if you trust who made the model",
            potential->source_name ? potential->source_name : "without a name");
    }
    return put_flags(app, flags, potential);
}

exit_code system_choose(cli_app *app, const system_flags *flags, const char *name, eqf_preset *preset_out) {
    const eqf_preset *preset;
    exit_code code;
    if (name) {
        if ((code = system_find_preset(app, name, &preset)) != EXIT_CODE_OK) return code;
        eqf_model_options *model = app_alloc(app, 1, sizeof *model, "the preset");
        if (!model || !app_keep(app, (char *)model)) return EXIT_CODE_DEVICE;
        *model = *preset->model;
        *preset_out = *preset;
        preset_out->model = model;
        if ((code = put_flags(app, flags, &model->potential)) != EXIT_CODE_OK) return code;
        if (!eqf_preset_matches(preset, &model->potential)) { /* the known figures are those of the preset's system */
            preset_out->entropy = preset_out->log_z = preset_out->mean_energy = preset_out->minimum_energy = NAN;
        }
        if (!flags->potential_path) return EXIT_CODE_OK;
        /* The preset's field and training stay, but its name belongs to its potential. */
        preset_out->name = "own";
        snprintf(model->preset, sizeof model->preset, "own");
        return EXIT_CODE_OK;
    }
    if (!flags->potential_path) {
        return app_fail(app, EXIT_CODE_USAGE, "PRESET is missing; see eqflow %s --help", app->command);
    }
    if (!flags->is_num_particles_set || !flags->is_space_dim_set) {
        return app_fail(app, EXIT_CODE_USAGE,
                        "--potential without a PRESET needs --particles N and --space-dim D; see eqflow %s --help",
                        app->command);
    }
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    if ((code = put_flags(app, flags, &potential)) != EXIT_CODE_OK) return code;
    eqf_preset *own;
    eqf_status status = eqf_preset_for_potential(app->ctx, &potential, &own);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    *preset_out = *own;
    app_keep(app, (char *)own);
    return EXIT_CODE_OK;
}

static const char *keep_copy(cli_app *app, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy) memcpy(copy, text, size);
    return app_keep(app, copy);
}

exit_code system_keep_texts(cli_app *app, eqf_potential_options *potential) {
    if (!system_has_text(potential)) return EXIT_CODE_OK;
    potential->source = keep_copy(app, potential->source);
    if (potential->source_name) potential->source_name = keep_copy(app, potential->source_name);
    return potential->source ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_DEVICE, "out of memory");
}

/* A warning, or with is_refused an error, that names the symmetries that an own potential lacks. A field whose
 * densities have them cannot learn such a potential. */
static exit_code check_symmetry(cli_app *app, const eqf_potential_options *potential, bool is_refused) {
    eqf_potential_symmetry has = EQF_POTENTIAL_SYMMETRY_INIT;
    eqf_status status = eqf_potential_find_symmetry(app->ctx, potential, &has);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    if (has.has_permutation && has.has_rotation && has.has_reflection) return EXIT_CODE_OK;
    const char *name = potential->source_name ? potential->source_name : "the potential";
    char changes[64];
    snprintf(changes, sizeof changes, "%s%s%s", has.has_permutation ? "" : ", permutation",
             has.has_rotation ? "" : ", rotation", has.has_reflection ? "" : ", reflection");
    if (is_refused) {
        return app_fail(app, EXIT_CODE_INPUT,
                        "%s: the energy changes under %s (unlike particles, an outer field, a box, handedness?), and "
                        "no density of this field does: %strain --field dense",
                        name, changes + 2,
                        has.has_permutation ? "" : "say with --text-num-b how many of the last are of species B, or ");
    }
    app_warn(app,
             "%s: the energy changes under %s; a model with a radial or message field cannot have its density, only "
             "its weights correct that",
             name, changes + 2);
    return EXIT_CODE_OK;
}

static exit_code verify(cli_app *app, const eqf_potential_options *potential, bool is_refused) {
    if (!system_has_text(potential)) return EXIT_CODE_OK;
    cli_progress progress;
    progress_wait(&progress, app, "checking the potential"); /* visible if its text has an endless loop */
    eqf_status status = eqf_potential_verify(app->ctx, potential, NULL);
    progress_end(&progress);
    return status == EQF_OK ? check_symmetry(app, potential, is_refused) : app_fail_status(app, status, ACTIVITY_READ);
}

exit_code system_verify(cli_app *app, const eqf_potential_options *potential) {
    return verify(app, potential, false);
}

exit_code system_verify_for_field(cli_app *app, const eqf_potential_options *potential, eqf_dynamics_kind field) {
    const eqf_dynamics_kind_info *info = eqf_dynamics_kind_describe(field);
    if (eqf_potential_num_b(potential) > 0 && !info->has_species)
        return app_fail(app, EXIT_CODE_USAGE,
                        "a %s field cannot tell two species apart (%u of B): train --field message, or dense",
                        info->name, eqf_potential_num_b(potential));
    return verify(app, potential, info->is_equivariant);
}

eqf_status system_write_xyz(cli_app *app, const char *path, const eqf_array *x, const eqf_potential_options *potential,
                            const char *names, size_t num_values, const eqf_frame_value *values) {
    const eqf_potential_kind_info *kind = eqf_potential_kind_describe(potential->kind);
    const char *comma = names ? strchr(names, ',') : NULL;
    char element[32];
    if (comma && eqf_potential_num_b(potential) == 0)
        app_warn(app, "--element %s: the particles are all alike, and have the first name", names);
    snprintf(element, sizeof element, "%.*s", comma ? (int)(comma - names) : 31, names ? names : kind->element);
    const char *element_b = comma ? comma + 1 : kind->element_b ? kind->element_b : element;
    return eqf_array_write_xyz_species(app->ctx, path, x, element, element_b, eqf_potential_num_b(potential),
                                       num_values, values);
}

void system_describe(const eqf_potential_options *potential, char *text, size_t size) {
    const eqf_potential_kind_info *kind = eqf_potential_kind_describe(potential->kind);
    char constants[512];
    size_t length = 0;
    if (!kind->has_text) {
        option_flags_describe(rows_of, potential->kind, potential, constants, sizeof constants);
        snprintf(text, size, "%s, T = %g: %s; %s", kind->title, potential->temperature, kind->formula, constants);
        return;
    }
    constants[0] = '\0';
    for (unsigned c = 0; c < potential->num_constants && length < sizeof constants; c++)
        length += (size_t)snprintf(constants + length, sizeof constants - length, ", %s = %g",
                                   potential->constants[c].name, potential->constants[c].value);
    snprintf(text, size, "T = %g: %.60s%.300s", potential->temperature,
             potential->source_name ? potential->source_name : "a text of its own", constants);
}

/* ---- The table of presets --------------------------------------------------------------------- */

enum { LABEL_WIDTH = 24, COLUMN_WIDTH = 8 };

void system_print_row(FILE *stream, const char *label, system_column column, const void *user) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    fprintf(stream, "  %-*s", LABEL_WIDTH - 2, label);
    for (size_t i = 0; i < num_presets; i++) {
        char text[16];
        column(&presets[i], user, text);
        fprintf(stream, "%*s", COLUMN_WIDTH, text);
    }
    fputc('\n', stream);
}

static void print_name(const eqf_preset *preset, const void *unused, char text[16]) {
    (void)unused;
    snprintf(text, 16, "%.15s", preset->name);
}

static void print_num_particles(const eqf_preset *preset, const void *unused, char text[16]) {
    (void)unused;
    snprintf(text, 16, "%u", preset->model->potential.num_particles);
}

static void print_space_dim(const eqf_preset *preset, const void *unused, char text[16]) {
    (void)unused;
    snprintf(text, 16, "%u", preset->model->potential.space_dim);
}

void system_print_heading(FILE *stream, const char *title) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    fprintf(stream, "\n%-*s", LABEL_WIDTH, title);
    for (size_t i = 0; i < num_presets; i++) {
        char text[16];
        print_name(&presets[i], NULL, text);
        fprintf(stream, "%*s", COLUMN_WIDTH, text);
    }
    fputc('\n', stream);
}

/* A row of the table for each flag, with the presets' values. */
static void print_flags(FILE *stream, const option_flags *flags, option_rows rows) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (size_t f = 0; f < flags->num; f++) {
        fprintf(stream, "  --%-*s", LABEL_WIDTH - 4, flags->flags[f].name);
        for (size_t j = 0; j < num_presets; j++) {
            const eqf_potential_options *potential = &presets[j].model->potential;
            const eqf_option *row = option_flags_row(&flags->flags[f], rows, potential->kind);
            if (row)
                fprintf(stream, "%*g", COLUMN_WIDTH, eqf_option_get(row, potential));
            else
                fprintf(stream, "%*s", COLUMN_WIDTH, "-");
        }
        fputc('\n', stream);
    }
}

void system_print_constants(FILE *stream) {
    system_flags flags;
    make_flags(&flags);
    system_print_row(stream, "--particles", print_num_particles, NULL);
    system_print_row(stream, "--space-dim", print_space_dim, NULL);
    print_flags(stream, &flags.common, common_rows);
    print_flags(stream, &flags.constants, rows_of);
}
