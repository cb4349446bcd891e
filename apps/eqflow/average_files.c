/* Tables of eqflow average: pair density, histograms, and the values of every configuration. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "eqflow/observable.h"
#include "files.h"

exit_code text_begin(cli_app *app, text_file *file) {
    *file = (text_file){NULL, NULL, 0};
    file->stream = open_memstream(&file->text, &file->size);
    return file->stream ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_DEVICE, "out of memory for a table");
}

exit_code text_end(cli_app *app, text_file *file, const char *path, exit_code code) {
    if (file->stream && fclose(file->stream) != 0 && code == EXIT_CODE_OK)
        code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for a table");
    if (code == EXIT_CODE_OK) code = files_write(app, path, file->text, file->size);
    free(file->text);
    return code;
}

exit_code average_write_pairs(cli_app *app, const average_flags *flags, const averages *a) {
    if (!flags->pairs_path) return EXIT_CODE_OK;
    const size_t num_bins = (size_t)flags->num_bins;
    double *density = app_alloc(app, 2 * num_bins, sizeof *density, "the pair distribution"),
           *error = density + num_bins;
    if (!density) return EXIT_CODE_DEVICE;
    const eqf_status status =
        eqf_observable_pair_density(a->potential.num_particles, a->potential.space_dim, a->num, a->x.data,
                                    a->log_weights, 0, flags->pair_range, num_bins, density, error);
    text_file file = {NULL, NULL, 0};
    exit_code code = status == EQF_OK ? text_begin(app, &file)
                                      : app_fail(app, EXIT_CODE_DEVICE, "no pair distribution: out of memory");
    if (code == EXIT_CODE_OK) fputs("low,high,density,density_standard_error\n", file.stream);
    const double width = flags->pair_range / (double)num_bins;
    for (size_t k = 0; k < num_bins && code == EXIT_CODE_OK; k++)
        fprintf(file.stream, "%.9g,%.9g,%.9g,%.9g\n", width * (double)k, width * (double)(k + 1), density[k], error[k]);
    free(density);
    return text_end(app, &file, flags->pairs_path, code);
}

void average_range(const averages *a, const column *of, double *low_out, double *high_out) {
    double low = INFINITY, high = -INFINITY;
    for (size_t b = 0; b < a->num; b++) {
        if (a->log_weights[b] == -INFINITY || !isfinite(of->values[b])) continue;
        low = fmin(low, of->values[b]);
        high = fmax(high, of->values[b]);
    }
    const double margin = high > low ? 1e-6 * (high - low) : 0.5;
    *low_out = low - margin;
    *high_out = high + margin;
}

/* Histograms of all observables, each over the range of its values. */
exit_code average_write_histograms(cli_app *app, const average_flags *flags, const averages *a) {
    if (!flags->histograms_path) return EXIT_CODE_OK;
    const size_t num_bins = (size_t)flags->num_bins;
    double *density = app_alloc(app, num_bins, sizeof *density, "the histograms");
    text_file file = {NULL, NULL, 0};
    exit_code code = density ? text_begin(app, &file) : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) fputs("observable,low,high,density\n", file.stream);
    for (size_t c = 0; c < a->num_columns && code == EXIT_CODE_OK; c++) {
        double low, high;
        average_range(a, &a->columns[c], &low, &high);
        if (eqf_estimate_histogram(a->num, a->columns[c].values, a->log_weights, low, high, num_bins, density) !=
            EQF_OK)
            code = app_fail(app, EXIT_CODE_FAILURE, "%s has no histogram", a->columns[c].name);
        const double width = (high - low) / (double)num_bins;
        for (size_t k = 0; k < num_bins && code == EXIT_CODE_OK; k++)
            fprintf(file.stream, "%s,%.9g,%.9g,%.9g\n", a->columns[c].name, low + width * (double)k,
                    low + width * (double)(k + 1), density[k]);
    }
    free(density);
    return text_end(app, &file, flags->histograms_path, code);
}

/* One row for each configuration, in their order. */
exit_code average_write_each(cli_app *app, const average_flags *flags, const averages *a) {
    if (!flags->each_path) return EXIT_CODE_OK;
    text_file file = {NULL, NULL, 0};
    const exit_code code = text_begin(app, &file);
    if (code == EXIT_CODE_OK) fputs("configuration,log_weight", file.stream);
    for (size_t c = 0; c < a->num_columns && code == EXIT_CODE_OK; c++) fprintf(file.stream, ",%s", a->columns[c].name);
    for (size_t b = 0; b < a->num && code == EXIT_CODE_OK; b++) {
        fprintf(file.stream, "\n%zu,%.9g", b, a->log_weights[b]);
        for (size_t c = 0; c < a->num_columns; c++) fprintf(file.stream, ",%.9g", a->columns[c].values[b]);
    }
    if (code == EXIT_CODE_OK) fputc('\n', file.stream);
    return text_end(app, &file, flags->each_path, code);
}
