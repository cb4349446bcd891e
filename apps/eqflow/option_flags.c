#include "option_flags.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

/* The flag's name of a row; "": it has none. */
static void name_of(const eqf_option *row, char name[40]) {
    snprintf(name, 40, "%s", row->flag ? row->flag : row->key);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
}

/* Bounds for the command line: kernels compute in float, so bounds beyond its range are left out. */
static double low_of(const eqf_option *row) {
    return row->low <= -1e30 ? -DBL_MAX : row->low > 0 && row->low < 1e-20 ? DBL_MIN : row->low;
}
static double high_of(const eqf_option *row) {
    return row->high >= 1e30 ? DBL_MAX : row->high;
}

static void describe(option_flag *flag) {
    char names[64] = "";
    size_t length = 0;
    for (size_t n = 0; flag->row->type == EQF_OPTION_NAME && flag->row->names[n] && length < sizeof names; n++)
        length +=
            (size_t)snprintf(names + length, sizeof names - length, "%s%s", n ? " or " : ": ", flag->row->names[n]);
    snprintf(flag->help, sizeof flag->help, "%s%s%s%s", flag->titles, flag->titles[0] ? ": " : "", flag->row->help,
             names);
}

static void add(option_flags *flags, const char *title, const eqf_option *row) {
    char name[40];
    name_of(row, name);
    if (!name[0]) return;
    size_t f = 0;
    while (f < flags->num && strcmp(flags->flags[f].name, name) != 0) f++;
    if (f == OPTION_FLAGS_MAX) return; /* a test counts them */
    option_flag *flag = &flags->flags[f];
    if (f == flags->num) {
        flags->num++;
        *flag = (option_flag){.row = row, .low = low_of(row), .high = high_of(row)};
        snprintf(flag->name, sizeof flag->name, "%s", name);
        snprintf(flag->titles, sizeof flag->titles, "%s", title);
    } else {
        const size_t length = strlen(flag->titles);
        snprintf(flag->titles + length, sizeof flag->titles - length, ", %s", title);
        if (low_of(row) < flag->low) flag->low = low_of(row);
        if (high_of(row) > flag->high) flag->high = high_of(row);
    }
    describe(flag);
}

void option_flags_add(option_flags *flags, const char *title, option_rows rows, unsigned kind) {
    const eqf_option *row;
    for (size_t i = 0; (row = rows(kind, i)) != NULL; i++) add(flags, title, row);
}

static cli_option option_of(option_flag *flag, const char *default_text) {
    cli_option option = {.name = flag->name,
                         .help = flag->help,
                         .is_set = &flag->is_set,
                         .default_text = default_text,
                         .low = flag->low,
                         .high = flag->high};
    switch (flag->row->type) {
        case EQF_OPTION_REAL:
            option.kind = OPTION_NUMBER;
            option.argument = "X";
            flag->number = flag->row->initial;
            option.value = &flag->number;
            break;
        case EQF_OPTION_NAME:
            option.kind = OPTION_TEXT;
            option.argument = "NAME";
            flag->text = flag->row->names[(unsigned)flag->row->initial];
            option.value = &flag->text;
            break;
        default:
            option.kind = OPTION_COUNT;
            option.argument = "N";
            flag->count = (uint64_t)flag->row->initial;
            option.value = &flag->count;
            break;
    }
    return option;
}

size_t option_flags_options(option_flags *flags, const char *default_text, cli_option options_out[]) {
    for (size_t f = 0; f < flags->num; f++) options_out[f] = option_of(&flags->flags[f], default_text);
    return flags->num;
}

size_t option_flags_named(option_flags *flags, size_t num, const char *const names[], const char *default_text,
                          cli_option options_out[]) {
    size_t num_options = 0;
    for (size_t n = 0; n < num; n++)
        for (size_t f = 0; f < flags->num; f++)
            if (strcmp(flags->flags[f].name, names[n]) == 0)
                options_out[num_options++] = option_of(&flags->flags[f], default_text);
    return num_options;
}

void option_flags_entitle(option_flags *flags, const char *name, const char *title) {
    for (size_t f = 0; f < flags->num; f++) {
        if (strcmp(flags->flags[f].name, name) != 0) continue;
        snprintf(flags->flags[f].titles, sizeof flags->flags[f].titles, "%s", title);
        describe(&flags->flags[f]);
    }
}

const option_flag *option_flags_find(const option_flags *flags, const char *name) {
    static const option_flag none = {.is_set = false};
    for (size_t f = 0; f < flags->num; f++)
        if (strcmp(flags->flags[f].name, name) == 0) return &flags->flags[f];
    return &none;
}

const eqf_option *option_flags_row(const option_flag *flag, option_rows rows, unsigned kind) {
    const eqf_option *row;
    for (size_t i = 0; (row = rows(kind, i)) != NULL; i++) {
        char name[40];
        name_of(row, name);
        if (strcmp(name, flag->name) == 0) return row;
    }
    return NULL;
}

/* The range of each kind is checked by the library. */
static exit_code set_value(cli_app *app, const option_flag *flag, const eqf_option *row, void *options) {
    if (row->type == EQF_OPTION_REAL) {
        eqf_option_set(row, options, flag->number);
        return EXIT_CODE_OK;
    }
    if (row->type != EQF_OPTION_NAME) {
        eqf_option_set(row, options, (double)flag->count);
        return EXIT_CODE_OK;
    }
    char names[128] = "";
    size_t length = 0;
    for (unsigned n = 0; row->names[n]; n++) {
        if (strcmp(row->names[n], flag->text) == 0) {
            eqf_option_set(row, options, n);
            return EXIT_CODE_OK;
        }
        if (length < sizeof names)
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", n ? " or " : "", row->names[n]);
    }
    return app_fail(app, EXIT_CODE_USAGE, "--%s %s: must be %s; see eqflow %s --help", flag->name, flag->text, names,
                    app->command);
}

exit_code option_flags_apply(cli_app *app, const option_flags *flags, option_rows rows, unsigned kind, void *options,
                             const option_flag **unfit_out) {
    *unfit_out = NULL;
    for (size_t f = 0; f < flags->num; f++) {
        const option_flag *flag = &flags->flags[f];
        if (!flag->is_set) continue;
        const eqf_option *row = option_flags_row(flag, rows, kind);
        if (!row) {
            *unfit_out = flag;
            return EXIT_CODE_OK;
        }
        exit_code code = set_value(app, flag, row, options);
        if (code != EXIT_CODE_OK) return code;
    }
    return EXIT_CODE_OK;
}

bool option_flags_any(const option_flags *flags) {
    for (size_t f = 0; f < flags->num; f++)
        if (flags->flags[f].is_set) return true;
    return false;
}

void option_flags_describe(option_rows rows, unsigned kind, const void *options, char *text, size_t size) {
    const eqf_option *row;
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; length < size && (row = rows(kind, i)) != NULL; i++) {
        const char *name = eqf_option_name(row, options);
        if (name)
            length += (size_t)snprintf(text + length, size - length, "%s%s = %s", i ? ", " : "", row->key, name);
        else
            length += (size_t)snprintf(text + length, size - length, "%s%s = %g", i ? ", " : "", row->key,
                                       eqf_option_get(row, options));
    }
}
