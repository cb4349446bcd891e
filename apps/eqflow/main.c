/* eqflow: one program, one table of commands. To add a command: write cmd_<name>.c, declare it in commands.h, and
 * add its line here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "eqflow/version.h"
#include "ranks.h"
#include "signals.h"
#include "text.h"

static const cli_command commands[] = {
    {"devices", "what OpenCL devices are here, which one would be used, and why", cmd_devices, false},
    {"data", "equilibrium samples of a preset by Monte Carlo, with diagnostics", cmd_data, true},
    {"train", "train a flow on samples, on the energy, or on both", cmd_train, true},
    {"sample", "draw samples of a trained flow, with exact log-densities", cmd_sample, true},
    {"evaluate", "likelihood, effective sample size, reweighted averages; a report", cmd_evaluate, true},
    {"boltzmann", "unbiased samples and averages of the target from a flow's samples", cmd_boltzmann, false},
    {"anneal", "unbiased averages and ln Z from any flow, however bad it is", cmd_anneal, false},
    {"average", "averages of observables, weighted, scanned over a constant", cmd_average, false},
    {"compare", "how far two sets of configurations are apart, beside perfect sets", cmd_compare, false},
    {"log-prob", "exact log-densities of given configurations", cmd_log_prob, true},
    {"trajectory", "the way of samples from prior to data, frame by frame, or animated", cmd_trajectory, false},
    {"minima", "quench configurations to the potential's distinct minima", cmd_minima, false},
    {"gallery", "trained models that come with eqflow, found by name; their cards", cmd_gallery, false},
    {"selftest", "check every kernel on the device against known answers", cmd_selftest, false},
    {"tune", "find the fastest values of the device's profile and keep them", cmd_tune, false},
    {"bench", "speed of sampling, training, start-up against the device's limits", cmd_bench, false},
    {"cache", "built kernel programs kept on disk: list, clear, path", cmd_cache, false},
    {"version", "version, revision, compiler", cmd_version, false},
};
enum { NUM_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_overview(FILE *stream) {
    fputs("eqflow: equivariant flows with exact likelihood, on any OpenCL device\n\n"
          "Usage: eqflow COMMAND [options]\n\nCommands:\n",
          stream);
    for (size_t i = 0; i < NUM_COMMANDS; i++) {
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n`eqflow COMMAND --help` shows a command's options and their defaults.\n\n"
          "From nothing to a report:\n"
          "  eqflow train dw4 -o dw4.safetensors\n"
          "  eqflow evaluate dw4.safetensors --report dw4.html\n",
          stream);
}

static exit_code fail_unknown(cli_app *app, const char *name) {
    if (name[0] == '-') {
        return app_fail(app, EXIT_CODE_USAGE, "unknown option %s before a command; see eqflow --help", name);
    }
    size_t best = 0;
    for (size_t i = 1; i < NUM_COMMANDS; i++) {
        if (text_distance(name, commands[i].name) < text_distance(name, commands[best].name)) best = i;
    }
    if (text_distance(name, commands[best].name) <= 2) {
        return app_fail(app, EXIT_CODE_USAGE, "unknown command '%s'; did you mean %s? See eqflow --help", name,
                        commands[best].name);
    }
    return app_fail(app, EXIT_CODE_USAGE, "unknown command '%s'; see eqflow --help", name);
}

/* If the caller has closed a standard stream, the next opened file would get its number, and messages would go into
 * that file. So /dev/null is opened in its place, for reading, so that writing to it still fails. */
static void keep_standard_streams(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY) != descriptor) return;
    }
}

int main(int argc, char **argv) {
    cli_app app = {.argc = argc, .argv = (const char **)argv, .ranks = EQF_COMMUNICATOR_INIT};
    keep_standard_streams();
    signals_install();
    if (argc < 2) return app_fail(&app, EXIT_CODE_USAGE, "a command is missing; see eqflow --help");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc == 2)) {
        print_overview(stdout);
        return app_flush_help(&app);
    }
    if (strcmp(name, "--version") == 0) {
        printf("eqflow %s\n", eqf_version());
        return app_flush_stdout(&app);
    }
    char help_flag[] = "--help", *help_words[] = {argv[0], argv[argc - 1], help_flag, NULL};
    if (strcmp(name, "help") == 0) { /* "help train" is "train --help" */
        app.argv = (const char **)help_words;
        app.argc = 3;
        name = argv[argc - 1];
    }
    for (size_t i = 0; i < NUM_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) != 0) continue;
        app.command = commands[i].name;
        signals_begin_command(app.command);
        exit_code code = ranks_begin(&app);
        signals_install(); /* again: MPI may set handlers of its own */
        if (code == EXIT_CODE_OK && app.ranks.size > 1 && !commands[i].is_shared) {
            code = app_fail(&app, EXIT_CODE_USAGE, "this command runs in one process: leave mpirun out");
        }
        if (app.ranks.size <= 1) signals_limit_patience();
        if (code == EXIT_CODE_OK) code = commands[i].run(&app);
        if (app.ranks.size <= 1) signals_set_result(code, app.is_quiet || code != EXIT_CODE_OK);
        app_clear(&app);
        signals_end_command();
        return ranks_end(&app, code);
    }
    return fail_unknown(&app, name);
}
