/* One constant of a potential by name. */
#include <string.h>

#include "system.h"

/* "trap": the name of a row's flag, which is its key with dashes unless the row says otherwise. */
static bool is_named(const eqf_option *row, const char *name) {
    const char *own = row->flag ? row->flag : row->key;
    size_t c = 0;
    while (own[c] != '\0' && name[c] == (own[c] == '_' ? '-' : own[c])) c++;
    return own[c] == '\0' && name[c] == '\0' && row->type == EQF_OPTION_REAL;
}

static const eqf_option *find_row(const char *name, const eqf_potential_options *potential) {
    const eqf_option *row;
    for (size_t i = 0; (row = eqf_potential_common_option(i)) != NULL; i++)
        if (is_named(row, name)) return row;
    for (size_t i = 0; (row = eqf_potential_option(potential->kind, i)) != NULL; i++)
        if (is_named(row, name)) return row;
    return NULL;
}

static const eqf_potential_constant *find_own(const char *name, const eqf_potential_options *potential) {
    for (unsigned c = 0; c < potential->num_constants; c++)
        if (strcmp(potential->constants[c].name, name) == 0) return &potential->constants[c];
    return NULL;
}

exit_code system_get_constant(cli_app *app, const char *name, const eqf_potential_options *potential,
                              double *value_out) {
    const eqf_option *row = find_row(name, potential);
    const eqf_potential_constant *own = find_own(name, potential);
    if (!row && !own) return app_fail(app, EXIT_CODE_USAGE, "%s: the potential has no constant of this name", name);
    *value_out = row ? eqf_option_get(row, potential) : own->value;
    return EXIT_CODE_OK;
}

exit_code system_set_constant(cli_app *app, const char *name, double value, eqf_potential_options *potential) {
    double before;
    const exit_code code = system_get_constant(app, name, potential, &before);
    if (code != EXIT_CODE_OK) return code;
    const eqf_option *row = find_row(name, potential);
    eqf_status status = EQF_OK;
    if (row)
        eqf_option_set(row, potential, value);
    else
        status = eqf_potential_set_constant(app->ctx, potential, name, value);
    if (status == EQF_OK) status = eqf_potential_check(app->ctx, potential);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

exit_code system_read_constant(cli_app *app, const char *option, const char *text, char name_out[64],
                               double *value_out) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || equals - text >= 64 || !options_number(equals + 1, value_out))
        return app_fail(app, EXIT_CODE_USAGE, "%s %s: give NAME=NUMBER, such as temperature=1.2", option, text);
    snprintf(name_out, 64, "%.*s", (int)(equals - text), text);
    return EXIT_CODE_OK;
}

exit_code system_check_once(cli_app *app, const char *option, const cli_list *list) {
    for (size_t i = 0; i < list->num_texts; i++)
        for (size_t j = 0; j < i; j++) {
            const size_t length = strcspn(list->texts[i], "=");
            if (strcspn(list->texts[j], "=") == length && strncmp(list->texts[i], list->texts[j], length) == 0)
                return app_fail(app, EXIT_CODE_USAGE, "%s %.*s is given twice", option, (int)length, list->texts[i]);
        }
    return EXIT_CODE_OK;
}
