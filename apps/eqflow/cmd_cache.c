#include <string.h>
#include <time.h>

#include "eqflow/cache.h"

#include "commands.h"
#include "options.h"
#include "output.h"

/* Cuts a name that is longer than its column and ends it with "..". */
static const char *fit(const char *text, size_t width, char out[32]) {
    if (strlen(text) <= width) {
        snprintf(out, 32, "%s", text);
    } else {
        snprintf(out, 32, "%.*s..", (int)width - 2, text);
    }
    return out;
}

static void describe_time(int64_t seconds, const char *format, char out[32]) {
    time_t when = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&when, &parts) || strftime(out, 32, format, &parts) == 0) snprintf(out, 32, "-");
}

static json_t *entry_json(const eqf_cache_entry *entry) {
    char when[32];
    describe_time(entry->last_used, "%Y-%m-%dT%H:%M:%SZ", when);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:b}", "key", entry->key, "program", entry->program,
                             "device", entry->device, "driver", entry->driver, "num_bytes",
                             (json_int_t)entry->num_bytes, "last_used", when, "is_whole", (int)entry->is_whole);
    return json ? json : json_null();
}

static void output_path(cli_output *output, const char *path) {
    json_object_set_new(output->root, "path", output_json_text(path[0] ? path : NULL));
}

static exit_code list(cli_app *app, cli_output *output, const char *path) {
    eqf_cache_entry *entries = NULL;
    size_t num_entries = 0;
    eqf_status status = eqf_cache_list(app->ctx, &entries, &num_entries);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_READ);
    json_t *array = json_array();
    uint64_t total = 0;
    if (num_entries > 0)
        output_line(output, "%-12s %-23s %-16s %8s  %s", "program", "device", "driver", "KiB", "last used");
    for (size_t i = 0; i < num_entries; i++) {
        const eqf_cache_entry *entry = &entries[i];
        char program[32], device[32], driver[32], when[32];
        json_array_append_new(array, entry_json(entry));
        total += entry->num_bytes;
        describe_time(entry->last_used, "%Y-%m-%d %H:%M", when);
        output_line(output, "%-12s %-23s %-16s %8.0f  %s",
                    entry->is_whole ? fit(entry->program, 12, program) : "(damaged)", fit(entry->device, 23, device),
                    fit(entry->driver, 16, driver), (double)entry->num_bytes / 1024, when);
    }
    output_line(output, "%zu program%s, %.1f MiB in %s", num_entries, num_entries == 1 ? "" : "s",
                (double)total / 1048576, path[0] ? path : "no folder: the cache is off");
    output_path(output, path);
    output_count(output, "num_entries", NULL, num_entries);
    output_count(output, "num_bytes", NULL, total);
    output_json(output, "entries", array);
    eqf_free(entries);
    return EXIT_CODE_OK;
}

static exit_code clear(cli_app *app, cli_output *output, const char *path) {
    size_t num_removed = 0;
    eqf_status status = eqf_cache_clear(app->ctx, &num_removed);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_WRITE);
    output_line(output, "%zu program%s removed from %s", num_removed, num_removed == 1 ? "" : "s",
                path[0] ? path : "no folder: the cache is off");
    output_path(output, path);
    output_count(output, "num_removed", NULL, num_removed);
    return EXIT_CODE_OK;
}

static exit_code show_path(cli_app *app, cli_output *output, const char *path) {
    output_path(output, path);
    if (path[0]) {
        output_line(output, "%s", path);
    } else {
        app_note(app, "the program cache is off (EQFLOW_CACHE=off, or neither XDG_CACHE_HOME nor HOME is set)");
    }
    return EXIT_CODE_OK;
}

exit_code cmd_cache(cli_app *app) {
    const char *const operands[] = {"list|clear|path", NULL};
    const command_help help = {
        .usage = "list|clear|path [options]",
        .description = "Built kernel programs are kept on disk, so that the next process starts at once. list shows "
                       "them, newest first (times in UTC); clear removes them, which is always safe; path prints "
                       "their folder. EQFLOW_CACHE=off turns the cache off, XDG_CACHE_HOME moves it. Drivers keep "
                       "caches of their own, which this leaves alone.",
        .operands = operands,
        .examples = "  eqflow cache list\n  eqflow cache clear\n",
    };
    const struct {
        const char *name;
        exit_code (*run)(cli_app *app, cli_output *output, const char *path);
    } actions[] = {{"list", list}, {"clear", clear}, {"path", show_path}};
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, NULL, 0, words, &code)) return code;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(words[0], actions[i].name) != 0) continue;
        cli_output output;
        if ((code = app_create_context(app)) != EXIT_CODE_OK) return code;
        if ((code = output_begin(&output, app)) != EXIT_CODE_OK) return code;
        code = actions[i].run(app, &output, eqf_cache_path(app->ctx));
        if (code == EXIT_CODE_OK) return output_finish(&output);
        output_abandon(&output);
        return code;
    }
    return app_fail(app, EXIT_CODE_USAGE, "unknown action '%s'; there are list, clear, path", words[0]);
}
