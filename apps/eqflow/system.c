#include "system.h"

#include <float.h>
#include <string.h>

typedef struct system_constant {
    const char *name, *help;
    size_t offset; /* of the double in eqf_potential_options */
    int kind;      /* of the potential that has it; -1: all */
    double low;    /* smallest allowed; -DBL_MAX: any */
} system_constant;

#define PLACE(member) offsetof(eqf_potential_options, member)
static const system_constant constants[SYSTEM_NUM_CONSTANTS] = {
    {"temperature", "divides every energy", PLACE(temperature), -1, DBL_MIN},
    {"epsilon", "Lennard-Jones: depth of a pair", PLACE(epsilon), EQF_POTENTIAL_LENNARD_JONES, -DBL_MAX},
    {"r-min", "Lennard-Jones: distance of the minimum", PLACE(r_min), EQF_POTENTIAL_LENNARD_JONES, DBL_MIN},
    {"trap", "Lennard-Jones: strength of the harmonic trap", PLACE(trap_strength), EQF_POTENTIAL_LENNARD_JONES, 0},
    {"distance-offset", "double well: distance of the barrier", PLACE(distance_offset), EQF_POTENTIAL_DOUBLE_WELL,
     -DBL_MAX},
    {"linear", "double well: coefficient of s = d - offset", PLACE(linear), EQF_POTENTIAL_DOUBLE_WELL, -DBL_MAX},
    {"quadratic", "double well: coefficient of s^2", PLACE(quadratic), EQF_POTENTIAL_DOUBLE_WELL, -DBL_MAX},
    {"quartic", "double well: coefficient of s^4", PLACE(quartic), EQF_POTENTIAL_DOUBLE_WELL, -DBL_MAX},
};

static double *place_of(eqf_potential_options *potential, const system_constant *constant) {
    return (double *)(void *)((char *)potential + constant->offset);
}

size_t system_options(system_flags *flags, bool has_sizes, cli_option options_out[]) {
    size_t num = 0;
    *flags = (system_flags){.num_particles = 0};
    const char *default_text = ""; /* the heading tells */
    options_out[num++] = (cli_option){
        .kind = OPTION_HEADING,
        .name = has_sizes ? "The system (defaults by preset: see the table below)"
                                          : "The target (defaults: those of the model)"};
    if (has_sizes) {
        options_out[num++] = (cli_option){.kind = OPTION_COUNT, .name = "particles", .argument = "N",
                                          .help = "number of particles", .value = &flags->num_particles,
                                          .is_set = &flags->is_num_particles_set, .default_text = default_text,
                                          .low = 2, .high = 4096};
        options_out[num++] = (cli_option){.kind = OPTION_COUNT, .name = "space-dim", .argument = "D",
                                          .help = "dimensions of space", .value = &flags->space_dim,
                                          .is_set = &flags->is_space_dim_set, .default_text = default_text, .low = 1,
                                          .high = 3};
    }
    for (size_t i = 0; i < SYSTEM_NUM_CONSTANTS; i++) {
        options_out[num++] = (cli_option){.kind = OPTION_NUMBER, .name = constants[i].name, .argument = "X",
                                          .help = constants[i].help, .value = &flags->constants[i],
                                          .is_set = &flags->is_constant_set[i], .default_text = default_text,
                                          .low = constants[i].low, .high = DBL_MAX};
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

exit_code system_apply(cli_app *app, const system_flags *flags, eqf_potential_options *potential) {
    if (flags->is_num_particles_set) potential->num_particles = (unsigned)flags->num_particles;
    if (flags->is_space_dim_set) potential->space_dim = (unsigned)flags->space_dim;
    for (size_t i = 0; i < SYSTEM_NUM_CONSTANTS; i++) {
        if (!flags->is_constant_set[i]) continue;
        if (constants[i].kind >= 0 && constants[i].kind != (int)potential->kind) {
            return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: this system's potential is the %s",
                            constants[i].name,
                            potential->kind == EQF_POTENTIAL_DOUBLE_WELL ? "double well" : "Lennard-Jones potential");
        }
        *place_of(potential, &constants[i]) = flags->constants[i];
    }
    eqf_status status = eqf_potential_check(app->ctx, potential);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* ---- The table of presets --------------------------------------------------------------------- */

enum { LABEL_WIDTH = 28, COLUMN_WIDTH = 10 };

void system_print_row(FILE *stream, const char *label, system_column column) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    fprintf(stream, "  %-*s", LABEL_WIDTH - 2, label);
    for (size_t i = 0; i < num_presets; i++) {
        char text[16];
        column(&presets[i], text);
        fprintf(stream, "%*s", COLUMN_WIDTH, text);
    }
    fputc('\n', stream);
}

static void print_name(const eqf_preset *preset, char text[16]) {
    snprintf(text, 16, "%.15s", preset->name);
}

static void print_num_particles(const eqf_preset *preset, char text[16]) {
    snprintf(text, 16, "%u", preset->model.potential.num_particles);
}

static void print_space_dim(const eqf_preset *preset, char text[16]) {
    snprintf(text, 16, "%u", preset->model.potential.space_dim);
}

void system_print_heading(FILE *stream, const char *title) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    fprintf(stream, "\n%-*s", LABEL_WIDTH, title);
    for (size_t i = 0; i < num_presets; i++) {
        char text[16];
        print_name(&presets[i], text);
        fprintf(stream, "%*s", COLUMN_WIDTH, text);
    }
    fputc('\n', stream);
}

void system_print_constants(FILE *stream) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    system_print_row(stream, "--particles", print_num_particles);
    system_print_row(stream, "--space-dim", print_space_dim);
    for (size_t i = 0; i < SYSTEM_NUM_CONSTANTS; i++) {
        fprintf(stream, "  --%-*s", LABEL_WIDTH - 4, constants[i].name);
        for (size_t j = 0; j < num_presets; j++) {
            eqf_potential_options potential = presets[j].model.potential;
            if (constants[i].kind >= 0 && constants[i].kind != (int)potential.kind) {
                fprintf(stream, "%*s", COLUMN_WIDTH, "-");
            } else {
                fprintf(stream, "%*g", COLUMN_WIDTH, *place_of(&potential, &constants[i]));
            }
        }
        fputc('\n', stream);
    }
}
