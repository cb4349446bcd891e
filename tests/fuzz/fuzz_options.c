/* Any words, one a line, as the command line of a command with an option of each kind: every value is in its range,
 * or one line says what is wrong with a word. */
#include "target.h"

#include <math.h>
#include <stdarg.h>

#include "options.h"

/* What app.c has, without a stream to speak to. */
static char line[4096];
static unsigned num_lines;
static char *kept[512];
static size_t num_kept;

exit_code app_fail(cli_app *app, exit_code code, const char *format, ...) {
    va_list arguments;
    (void)app;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    num_lines++;
    return code;
}

const char *app_keep(cli_app *app, char *text) {
    (void)app;
    if (text != NULL && num_kept < sizeof kept / sizeof kept[0]) kept[num_kept++] = text;
    return text;
}

exit_code app_flush_help(cli_app *app) {
    (void)app;
    return EXIT_CODE_OK;
}

enum { MOST_WORDS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    char *text = malloc(num_bytes + 1), program[] = "eqflow", command[] = "fuzz";
    const char *words[MOST_WORDS + 1] = {program, command};
    int num_words = 2;
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, bytes, num_bytes);
    text[num_bytes] = '\0';
    for (char *word = text; word != NULL && num_words < MOST_WORDS;) {
        char *end = strchr(word, '\n');
        if (end != NULL) *end = '\0';
        if (strstr(word, "help") == NULL && (word[0] != '-' || strchr(word, 'h') == NULL))
            words[num_words++] = word; /* it prints */
        word = end != NULL ? end + 1 : NULL;
    }
    words[num_words] = NULL;
    cli_app app = {.argc = num_words, .argv = words, .command = command};
    bool is_flagged = false, is_count_set = false;
    const char *given = NULL;
    cli_list list = {.num_texts = 0};
    uint64_t count = 7, any = 7;
    double number = 0.5, free_number = 0.5;
    const cli_option options[] = {
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-samples",
         .value = &count,
         .is_set = &is_count_set,
         .low = 1,
         .high = 1e12,
         .help = ""},
        {.kind = OPTION_COUNT, .name = "any", .value = &any, .help = ""},
        {.kind = OPTION_TEXT, .letter = 'o', .name = "output", .value = &given, .help = ""},
        {.kind = OPTION_LIST, .name = "constant", .value = &list, .help = ""},
        {.kind = OPTION_HEADING, .name = "More"},
        {.kind = OPTION_NUMBER, .name = "noise", .value = &number, .low = 0, .high = 1e6, .help = ""},
        {.kind = OPTION_NUMBER, .name = "trap", .value = &free_number, .help = ""},
        {.kind = OPTION_FLAG, .name = "flag", .value = &is_flagged, .help = ""},
    };
    const char *const names[] = {"MODEL", "OTHER", NULL};
    const command_help help = {.usage = "", .description = "", .operands = names, .is_last_operand_optional = true};
    const char *operands[OPERANDS_MAX];
    exit_code code = EXIT_CODE_OK;
    num_lines = 0;
    line[0] = '\0';
    if (options_parse(&app, &help, options, sizeof options / sizeof options[0], operands, &code)) {
        FUZZ_REQUIRE(num_lines == 0 && code == EXIT_CODE_OK && operands[0] != NULL);
        FUZZ_REQUIRE(count >= 1 && count <= 1000000000000u);
        FUZZ_REQUIRE(number >= 0 && number <= 1e6 && isfinite(free_number));
        FUZZ_REQUIRE(given == NULL || given[0] != '\0');
        FUZZ_REQUIRE(list.num_texts <= CLI_LIST_MAX && app.profile_settings.num_texts <= CLI_LIST_MAX);
    } else {
        FUZZ_REQUIRE((num_lines == 1 && code == EXIT_CODE_USAGE && line[0] != '\0') ||
                     (num_lines == 0 && code == EXIT_CODE_OK));
    }
    for (size_t k = 0; k < num_kept; k++) free(kept[k]);
    num_kept = 0;
    free(text);
    return 0;
}
