#include "options.h"

#include <errno.h>
#include <math.h>
#include <popt.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { HELP_WIDTH = 79, HELP_COLUMN = 32 };

/* ---- Help ------------------------------------------------------------------------------------- */

/* Prints text wrapped at HELP_WIDTH; the cursor stands at column `at`, further lines start at `indent`. */
static void print_wrapped(FILE *stream, const char *text, int at, int indent) {
    bool is_line_start = true;
    while (*text) {
        while (*text == ' ') text++;
        int length = (int)strcspn(text, " ");
        if (length == 0) break;
        if (!is_line_start && at + 1 + length > HELP_WIDTH) {
            fprintf(stream, "\n%*s", indent, "");
            at = indent;
            is_line_start = true;
        }
        if (!is_line_start) {
            fputc(' ', stream);
            at++;
        }
        fprintf(stream, "%.*s", length, text);
        at += length;
        is_line_start = false;
        text += length;
    }
    fputc('\n', stream);
}

static void describe_default(const cli_option *option, char *text, size_t size) {
    text[0] = '\0';
    if (option->default_text) {
        if (option->default_text[0]) snprintf(text, size, " [%s]", option->default_text);
        return;
    }
    switch (option->kind) {
        case OPTION_FLAG: snprintf(text, size, " [%s]", *(const bool *)option->value ? "on" : "off"); break;
        case OPTION_TEXT: {
            const char *value = *(const char *const *)option->value;
            snprintf(text, size, " [%s]", value ? value : "none");
            break;
        }
        case OPTION_COUNT: snprintf(text, size, " [%llu]", (unsigned long long)*(const uint64_t *)option->value); break;
        case OPTION_NUMBER: snprintf(text, size, " [%g]", *(const double *)option->value); break;
        case OPTION_LIST:
        case OPTION_HEADING: break;
    }
}

static void print_option(FILE *stream, const cli_option *option) {
    if (option->kind == OPTION_HEADING) {
        fprintf(stream, "\n%s:\n", option->name);
        return;
    }
    char left[64], letter[8] = "    ", fallback[128], text[512];
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int width = snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
                         option->argument ? option->argument : "");
    describe_default(option, fallback, sizeof fallback);
    snprintf(text, sizeof text, "%s%s", option->help, fallback);
    if (width > HELP_COLUMN - 2) {
        fprintf(stream, "%s\n%*s", left, HELP_COLUMN, "");
    } else {
        fprintf(stream, "%-*s", HELP_COLUMN, left);
    }
    print_wrapped(stream, text, HELP_COLUMN, HELP_COLUMN);
}

static void print_help(const cli_app *app, const command_help *help, const cli_option *options, size_t num_options) {
    printf("Usage: eqflow %s %s\n\n", app->command, help->usage);
    print_wrapped(stdout, help->description, 0, 0);
    if (num_options > 0 && options[0].kind != OPTION_HEADING) fputs("\nOptions:\n", stdout);
    for (size_t i = 0; i < num_options; i++) print_option(stdout, &options[i]);
    if (help->print_more) help->print_more(stdout);
    if (help->examples) printf("\nExamples:\n%s", help->examples);
}

/* ---- Values ----------------------------------------------------------------------------------- */

bool options_number(const char *text, double *value_out) {
    char *end = NULL;
    /* strtod would also accept blanks and hexadecimals */
    if (strspn(text, "+-.0123456789eE") != strlen(text)) return false;
    *value_out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value_out);
}

static bool parse_count(const char *text, uint64_t *value_out) {
    char *end = NULL;
    if (text[0] >= '0' && text[0] <= '9') {
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        if (*end == '\0') {
            *value_out = value;
            return errno == 0;
        }
    }
    double number; /* "1e5", "2.5e4": whole and exactly representable, or refused */
    if (!options_number(text, &number) || number < 0 || number > 9007199254740992.0 || number != floor(number)) {
        return false;
    }
    *value_out = (uint64_t)number;
    return true;
}

static bool is_allowed(const cli_option *option, double value) {
    return (option->low == 0 && option->high == 0) || (value >= option->low && value <= option->high);
}

/* The error for a value out of range; the smallest positive number as a bound means "above 0". */
static exit_code fail_range(cli_app *app, const cli_option *option, const char *text) {
    char low[48];
    snprintf(low, sizeof low, option->low > 0 && option->low < 1e-100 ? "more than 0" : "at least %g", option->low);
    if (option->high > 1e300) {
        return app_fail(app, EXIT_CODE_USAGE, "--%s %s: must be %s; see eqflow %s --help", option->name, text, low,
                        app->command);
    }
    return app_fail(app, EXIT_CODE_USAGE, "--%s %s: must be %s and at most %.10g; see eqflow %s --help", option->name,
                    text, low, option->high, app->command);
}

bool options_is_range(const char *text) {
    const char *first = strchr(text, ':');
    return first && strchr(first + 1, ':') && strspn(text, "0123456789+-.eE:") == strlen(text);
}

/* A number, or a range where the option takes one. app keeps texts that messages or ranges show. */
static exit_code set_number(cli_app *app, const cli_option *option, char *text) {
    double number;
    const bool is_number = options_number(text, &number);
    if (is_number && is_allowed(option, number)) {
        if (option->is_set) *option->is_set = true;
        *(double *)option->value = number;
        free(text);
        return EXIT_CODE_OK;
    }
    app_keep(app, text);
    if (option->ranges && options_is_range(text)) {
        *option->ranges = (cli_ranges){option->ranges->num + 1, option->name, text};
        return EXIT_CODE_OK;
    }
    if (is_number) return fail_range(app, option, text);
    return app_fail(app, EXIT_CODE_USAGE, "--%s %s: not a finite number; see eqflow %s --help", option->name, text,
                    app->command);
}

static exit_code set_value(cli_app *app, const cli_option *option, char *text) {
    if (option->kind == OPTION_NUMBER) return set_number(app, option, text);
    if (option->is_set) *option->is_set = true;
    switch (option->kind) {
        case OPTION_FLAG: *(bool *)option->value = true; break;
        case OPTION_TEXT:
            *(const char **)option->value = app_keep(app, text);
            if (text[0] == '\0') {
                return app_fail(app, EXIT_CODE_USAGE, "--%s: the value is empty; see eqflow %s --help", option->name,
                                app->command);
            }
            return EXIT_CODE_OK;
        case OPTION_LIST: {
            cli_list *list = option->value;
            app_keep(app, text);
            if (list->num_texts == CLI_LIST_MAX) {
                return app_fail(app, EXIT_CODE_USAGE, "--%s: given more than %d times; see eqflow %s --help",
                                option->name, CLI_LIST_MAX, app->command);
            }
            list->texts[list->num_texts++] = text;
            return EXIT_CODE_OK;
        }
        case OPTION_COUNT: {
            uint64_t count;
            if (!parse_count(text, &count)) {
                double number; /* -1, 1e30 */
                app_keep(app, text);
                if (option->high > 0 && options_number(text, &number) && number == floor(number)) {
                    return fail_range(app, option, text);
                }
                return app_fail(app, EXIT_CODE_USAGE, "--%s %s: not a whole number; see eqflow %s --help", option->name,
                                text, app->command);
            }
            if (!is_allowed(option, (double)count)) {
                app_keep(app, text);
                return fail_range(app, option, text);
            }
            *(uint64_t *)option->value = count;
            break;
        }
        case OPTION_NUMBER: break; /* above */
        case OPTION_HEADING: break;
    }
    free(text);
    return EXIT_CODE_OK;
}

/* ---- Parsing ---------------------------------------------------------------------------------- */

/* "; did you mean --NAME?" for an unknown option, or "". */
static const char *suggest(const char *word, const cli_option *options, size_t num_options, char text[64]) {
    char name[40];
    size_t best = 0, least = 3; /* at most 2 letters may differ */
    text[0] = '\0';
    if (strncmp(word, "--", 2) != 0) return text;
    snprintf(name, sizeof name, "%.30s", word + 2);
    name[strcspn(name, "=")] = '\0';
    for (size_t i = 0; i < num_options; i++) {
        if (options[i].kind == OPTION_HEADING) continue;
        const size_t distance = text_distance(name, options[i].name);
        if (distance >= least || distance >= strlen(options[i].name)) continue;
        least = distance;
        best = i;
    }
    if (least < 3) snprintf(text, 64, "; did you mean --%s?", options[best].name);
    return text;
}

static exit_code parse(cli_app *app, const command_help *help, const cli_option *options, size_t num_options,
                       poptContext popt, const char *operands[]) {
    int result;
    while ((result = poptGetNextOpt(popt)) > 0) {
        exit_code code = set_value(app, &options[result - 1], poptGetOptArg(popt));
        if (code != EXIT_CODE_OK) return code;
    }
    if (result < -1) {
        const char *bad = poptBadOption(popt, POPT_BADOPTION_NOALIAS);
        if (result == POPT_ERROR_BADOPT) {
            char suggestion[64];
            return app_fail(app, EXIT_CODE_USAGE, "unknown option %s%s; see eqflow %s --help", bad,
                            suggest(bad, options, num_options, suggestion), app->command);
        }
        return app_fail(app, EXIT_CODE_USAGE, "%s: %s; see eqflow %s --help", bad, poptStrerror(result), app->command);
    }
    size_t num_operands = 0;
    const char *operand;
    while ((operand = poptGetArg(popt)) != NULL) {
        if (num_operands >= OPERANDS_MAX || !help->operands[num_operands]) {
            return app_fail(app, EXIT_CODE_USAGE, "unexpected argument '%s'; see eqflow %s --help", operand,
                            app->command);
        }
        size_t size = strlen(operand) + 1;
        char *copy = malloc(size);
        if (!copy) return app_fail(app, EXIT_CODE_DEVICE, "out of memory");
        memcpy(copy, operand, size);
        operands[num_operands++] = app_keep(app, copy);
    }
    operands[num_operands < OPERANDS_MAX ? num_operands : OPERANDS_MAX - 1] = NULL;
    if (help->operands[num_operands] && !(help->is_last_operand_optional && !help->operands[num_operands + 1])) {
        return app_fail(app, EXIT_CODE_USAGE, "%s is missing; see eqflow %s --help", help->operands[num_operands],
                        app->command);
    }
    return EXIT_CODE_OK;
}

enum { NUM_COMMON = 8 };

/* Options of every command. */
static size_t common_options(cli_app *app, bool *wants_help, cli_option options_out[NUM_COMMON]) {
    const cli_option rows[NUM_COMMON] = {
        {.kind = OPTION_HEADING, .name = "Every command"},
        {.kind = OPTION_TEXT,
         .name = "device",
         .argument = "DEVICE",
         .value = &app->device,
         .default_text = "$EQFLOW_DEVICE or auto",
         .help = "OpenCL device: auto, an index or a part of a name of `eqflow devices`, cpu, gpu, accelerator, amd, "
                 "intel, nvidia"},
        {.kind = OPTION_LIST,
         .name = "set-profile",
         .argument = "KEY=VALUE",
         .value = &app->profile_settings,
         .default_text = "",
         .help = "a value of the device profile, for experiments; `eqflow devices --verbose` shows them"},
        {.kind = OPTION_COUNT, .name = "seed", .argument = "N", .value = &app->seed, .help = "of all random numbers"},
        {.kind = OPTION_FLAG, .name = "json", .value = &app->is_json, .help = "results as one JSON object"},
        {.kind = OPTION_FLAG,
         .letter = 'q',
         .name = "quiet",
         .value = &app->is_quiet,
         .help = "no progress and no notes on stderr"},
        {.kind = OPTION_FLAG,
         .letter = 'v',
         .name = "verbose",
         .value = &app->is_verbose,
         .help = "the library's log on stderr"},
        {.kind = OPTION_FLAG,
         .letter = 'h',
         .name = "help",
         .value = wants_help,
         .default_text = "",
         .help = "this text"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static bool is_help_asked(const cli_app *app) {
    for (int i = 2; i < app->argc && strcmp(app->argv[i], "--") != 0; i++) {
        const char *word = app->argv[i];
        const bool are_letters = word[0] == '-' && word[1] && strspn(word + 1, "hqv") == strlen(word + 1); /* "-qh" */
        if (strcmp(word, "--help") == 0 || (are_letters && strchr(word, 'h'))) return true;
    }
    return false;
}

bool options_parse(cli_app *app, const command_help *help, const cli_option *own_options, size_t num_own_options,
                   const char *operands[], exit_code *code_out) {
    bool wants_help = false;
    cli_option options[OPTIONS_MAX + NUM_COMMON];
    struct poptOption table[OPTIONS_MAX + NUM_COMMON + 1];
    size_t num_options = 0, num_table = 0;
    for (size_t i = 0; i < num_own_options && num_options < OPTIONS_MAX; i++) options[num_options++] = own_options[i];
    num_options += common_options(app, &wants_help, options + num_options);
    for (size_t i = 0; i < num_options; i++) {
        if (options[i].kind == OPTION_HEADING) continue;
        /* popt gives all values as text; this file converts them and prints errors. val is the option's index + 1. */
        table[num_table++] =
            (struct poptOption){.longName = options[i].name,
                                .shortName = options[i].letter,
                                .argInfo = options[i].kind == OPTION_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING,
                                .val = (int)i + 1};
    }
    table[num_table] = (struct poptOption)POPT_TABLEEND;

    if (is_help_asked(app)) { /* before values replace the defaults, which help shows */
        print_help(app, help, options, num_options);
        *code_out = app_flush_help(app);
        return false;
    }
    poptContext popt = poptGetContext(NULL, app->argc - 1, app->argv + 1, table, 0);
    if (!popt) {
        *code_out = app_fail(app, EXIT_CODE_DEVICE, "out of memory");
        return false;
    }
    *code_out = parse(app, help, options, num_options, popt, operands);
    poptFreeContext(popt);
    return *code_out == EXIT_CODE_OK;
}
