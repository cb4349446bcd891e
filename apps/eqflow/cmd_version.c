#include "eqflow/version.h"

#include "commands.h"
#include "options.h"
#include "output.h"

exit_code cmd_version(cli_app *app) {
    const char *const operands[] = {NULL};
    const command_help help = {
        .usage = "[options]",
        .description = "Prints the version of the program, the git revision and the compiler it was built with.",
        .operands = operands,
    };
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, NULL, 0, words, &code)) return code;
    cli_output output;
    code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    output_text(&output, "version", "eqflow", eqf_version());
    output_text(&output, "revision", "revision", eqf_version_revision());
    output_text(&output, "compiler", "compiler", eqf_version_compiler());
    return output_finish(&output);
}
