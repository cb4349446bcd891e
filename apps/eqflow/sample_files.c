#include "sample_files.h"

#include <stdlib.h>
#include <string.h>

#include "eqflow/array.h"
#include "system.h"
#include "work.h"

size_t sample_files_options(sample_files *files, const char *help, cli_option options_out[]) {
    options_out[0] =
        (cli_option){.kind = OPTION_TEXT, .name = "xyz", .argument = "FILE.xyz", .value = &files->xyz, .help = help};
    options_out[1] = (cli_option){.kind = OPTION_TEXT,
                                  .name = "element",
                                  .argument = "NAME",
                                  .value = &files->element,
                                  .default_text = "by potential",
                                  .help = "what the particles are called there, such as Ar; of two species Ar,Ne"};
    return SAMPLE_FILES_NUM_OPTIONS;
}

void sample_files_uses(const sample_files *files, const char *x_option, files_use uses_out[]) {
    const files_use uses[SAMPLE_FILES_NUM_USES] = {{x_option, files->x, FILES_NUMPY},
                                                   {"--energies", files->energies, FILES_NUMPY},
                                                   {"--log-prob", files->log_prob, FILES_NUMPY},
                                                   {"--log-weights", files->log_weights, FILES_NUMPY},
                                                   {"--xyz", files->xyz, FILES_WRITTEN}};
    memcpy(uses_out, uses, sizeof uses);
}

/* A word, or one for each of two species with a comma. */
static bool are_elements(const char *text) {
    const char *comma = strchr(text, ',');
    const size_t first = comma ? (size_t)(comma - text) : strlen(text), second = comma ? strlen(comma + 1) : 1;
    const bool is_one_comma = !comma || !strchr(comma + 1, ',');
    return first > 0 && first <= 16 && second > 0 && second <= 16 && is_one_comma && !strpbrk(text, " \t\r\n\"");
}

exit_code sample_files_check(cli_app *app, const sample_files *files) {
    const struct {
        const char *path, *what;
    } all[] = {{files->x, "the samples"},
               {files->energies, "the energies"},
               {files->log_prob, "the log-densities"},
               {files->log_weights, "the weights"},
               {files->xyz, "the XYZ file"}};
    exit_code code = EXIT_CODE_OK;
    if (files->element && !files->xyz)
        return app_fail(app, EXIT_CODE_USAGE, "--element belongs to --xyz FILE.xyz, which is missing");
    if (files->element && !are_elements(files->element))
        return app_fail(app, EXIT_CODE_USAGE, "--element %s: must be a short word such as Ar, or two: Ar,Ne",
                        files->element);
    for (size_t f = 0; f < sizeof all / sizeof all[0] && code == EXIT_CODE_OK; f++)
        code = files_check_writable(app, all[f].path, all[f].what);
    return code;
}

static eqf_status write_numbers(cli_app *app, const char *path, float *values, size_t num) {
    eqf_array array = {values, 1, {num}};
    return path && values ? eqf_array_write_npy(app->ctx, path, &array) : EQF_OK;
}

exit_code sample_files_write(cli_app *app, const sample_files *files, const sample_set *set) {
    if (!app_is_first(app)) return EXIT_CODE_OK;
    float *log_weight = NULL;
    if (set->log_weights && (files->log_weights || files->xyz)) {
        log_weight = app_alloc(app, set->num, sizeof *log_weight, "the weights");
        if (!log_weight) return EXIT_CODE_DEVICE;
        for (size_t b = 0; b < set->num; b++) log_weight[b] = (float)(set->log_weights[b] - set->log_weight_shift);
    }
    const eqf_array array = work_configurations(set->x, set->num, set->potential);
    eqf_status status = files->x ? eqf_array_write_npy(app->ctx, files->x, &array) : EQF_OK;
    if (status == EQF_OK) status = write_numbers(app, files->energies, set->energy, set->num);
    if (status == EQF_OK) status = write_numbers(app, files->log_prob, set->log_prob, set->num);
    if (status == EQF_OK) status = write_numbers(app, files->log_weights, log_weight, set->num);
    if (status == EQF_OK && files->xyz) {
        const eqf_frame_value values[] = {
            {"energy", set->energy}, {"log_prob", set->log_prob}, {"log_weight", log_weight}};
        status = system_write_xyz(app, files->xyz, &array, set->potential, files->element,
                                  sizeof values / sizeof values[0], values);
    }
    free(log_weight);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

void sample_files_print(const sample_files *files, cli_output *output, const char *x_key, const char *x_label) {
    if (x_key) output_text(output, x_key, files->x ? x_label : NULL, files->x);
    output_text(output, "energies_output", files->energies ? "energies in" : NULL, files->energies);
    output_text(output, "log_prob_output", files->log_prob ? "log-densities in" : NULL, files->log_prob);
    output_text(output, "log_weights_output", files->log_weights ? "log-weights in" : NULL, files->log_weights);
    output_text(output, "xyz_output", files->xyz ? "extended XYZ in" : NULL, files->xyz);
}
