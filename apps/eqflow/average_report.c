/* The report of eqflow average: averages, the scan, free energies between sets, and their pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "eqflow/observable.h"
#include "eqflow/version.h"
#include "files.h"
#include "plot.h"
#include "report_page.h"

/* Colours of Okabe and Ito; the error bars have the colour of their points. */
#define COLOUR "#0072B2"

enum { REPORT_BINS = 80 };

typedef struct pictures {
    cli_app *app;
    FILE *html;
    size_t num;
    const char *problem; /* why there is no picture, NULL: none yet */
} pictures;

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- Pictures --------------------------------------------------------------------------------- */

/* Draws the script, which is closed and freed. Nothing is drawn after the first problem. */
static void draw(pictures *to, FILE *script, char **text, const char *id, const char *title, const char *caption) {
    const bool is_whole = script && fclose(script) == 0;
    char *svg = NULL;
    if (!is_whole)
        to->problem = "out of memory";
    else if (!to->problem)
        plot_svg(*text, &svg, &to->problem);
    if (svg) {
        if (to->num++ == 0) fputs("<h2>Pictures</h2><div class=\"pictures\">\n", to->html);
        page_figure(to->html, id, title, caption, "", svg);
    }
    free(svg);
    free(*text);
    *text = NULL;
}

static FILE *begin(char **text, size_t *size, const char *x_label, const char *y_label) {
    *text = NULL;
    FILE *script = open_memstream(text, size);
    if (script) page_script_begin(script, x_label, y_label);
    return script;
}

/* gnuplot's enhanced text takes _ and ^ for marks. */
static void print_plain(char text[64], const char *name) {
    size_t length = 0;
    for (; *name && length + 2 < 64; name++) text[length++] = strchr("_^{}@\"\\", *name) ? ' ' : *name;
    text[length] = '\0';
}

/* One quantity of the scan's points: its mean and error, or a plain number if error_key is NULL. */
static void draw_scan(pictures *to, const json_t *points, const char *constant, const char *of, const char *key,
                      const char *error_key, const char *title, const char *y_label) {
    char *text, name[64], label[64];
    size_t size, index;
    print_plain(name, constant);
    print_plain(label, y_label);
    FILE *script = begin(&text, &size, name, label);
    const json_t *point;
    if (script) fputs("set key off\n$points << EOD\n", script);
    json_array_foreach((json_t *)points, index, point) {
        const json_t *from = of ? json_object_get(point, of) : point;
        const double value = number_of(from, key), error = error_key ? number_of(from, error_key) : 0;
        if (script && isfinite(value) && isfinite(error))
            fprintf(script, "%.9g %.9g %.9g\n", number_of(point, "value"), value, error);
    }
    if (script)
        fputs("EOD\nset offsets graph .03, graph .03, graph .05, graph .05\n"
              "plot $points using 1:2 with lines linecolor '" COLOUR "' linewidth 1, "
              "$points with yerrorbars linecolor '" COLOUR "' pointtype 7 pointsize .5\n",
              script);
    draw(to, script, &text, key, title,
         error_key ? "With one standard error, from the same configurations at every point: the errors go together."
                   : "Where it falls below a few hundredths, the scan goes beyond what the configurations say.");
}

static void draw_steps(pictures *to, FILE *script, char **text, double low, double high, size_t num,
                       const double *density, const char *id, const char *title, const char *caption) {
    if (script) {
        fprintf(script, "set key off\nset yrange [0:*]\n$bins << EOD\n%.9g 0\n", low);
        for (size_t k = 0; k < num; k++)
            fprintf(script, "%.9g %.9g\n", low + (high - low) * (double)k / (double)num, density[k]);
        fprintf(script, "%.9g 0\nEOD\nset xrange [%.9g:%.9g]\n", high, low, high);
        fputs("plot $bins with fillsteps linecolor '" COLOUR "', $bins with steps linecolor '" COLOUR "'\n", script);
    }
    draw(to, script, text, id, title, caption);
}

static void draw_histogram(pictures *to, const averages *a, const column *c) {
    double low, high, density[REPORT_BINS];
    average_range(a, c, &low, &high);
    if (eqf_estimate_histogram(a->num, c->values, a->log_weights, low, high, REPORT_BINS, density) != EQF_OK) return;
    char *text, label[64];
    size_t size;
    print_plain(label, c->title);
    FILE *script = begin(&text, &size, label, "probability density");
    print_plain(label, c->name);
    draw_steps(to, script, &text, low, high, REPORT_BINS, density, label, label,
               "Of the configurations with their weights.");
}

static void draw_pair_density(pictures *to, const average_flags *flags, const averages *a) {
    double density[REPORT_BINS], error[REPORT_BINS];
    if (eqf_observable_pair_density(a->potential.num_particles, a->potential.space_dim, a->num, a->x.data,
                                    a->log_weights, 0, flags->pair_range, REPORT_BINS, density, error) != EQF_OK)
        return;
    char *text;
    size_t size;
    FILE *script = begin(&text, &size, "distance (length)", "particles / volume");
    draw_steps(to, script, &text, 0, flags->pair_range, REPORT_BINS, density, "pairs",
               "Other particles around a particle",
               "Mean density of the others at a distance; its integral over space is N − 1.");
}

/* ---- Tables ----------------------------------------------------------------------------------- */

static void print_averages(FILE *html, const averages *a, const json_t *found) {
    report_row rows[MOST_OBSERVABLES + 1];
    for (size_t c = 0; c < a->num_columns; c++) {
        const json_t *m = json_object_get(found, a->columns[c].name);
        char note[96];
        snprintf(note, sizeof note, "variance %.5g ± %.2g", number_of(m, "variance"),
                 number_of(m, "variance_standard_error"));
        page_row(&rows[c], a->columns[c].title, note, "%.6g ± %.2g", number_of(m, "mean"),
                 number_of(m, "standard_error"));
    }
    fputs("<h2>Averages</h2>\n", html);
    page_table(html, "figures", a->num_columns, rows);
}

static void print_sets(FILE *html, const json_t *sets) {
    report_row rows[CLI_LIST_MAX + 1];
    size_t index;
    const json_t *set;
    json_array_foreach((json_t *)sets, index, set) {
        const char *file = json_string_value(json_object_get(set, "file")),
                   *constant = json_string_value(json_object_get(set, "constant"));
        char note[160], at[96] = "of the command";
        if (constant) snprintf(at, sizeof at, "%.60s = %.6g", constant, number_of(set, "value"));
        snprintf(note, sizeof note, "%s, %.0f configurations", at, number_of(set, "num_samples"));
        page_row(&rows[index], file ? file : "-", note, "%.6g ± %.2g kT", number_of(set, "free_energy"),
                 number_of(set, "free_energy_standard_error"));
    }
    fputs("<h2>Free energies, −ln Z of each set less that of the first, by MBAR</h2>\n", html);
    page_table(html, "figures", json_array_size(sets), rows);
}

static bool print_scan(FILE *html, const json_t *points, const char *constant) {
    report_row *rows = calloc(json_array_size(points), sizeof *rows);
    size_t index;
    const json_t *point;
    json_array_foreach((json_t *)points, index, point) {
        if (!rows) break;
        const json_t *energy = json_object_get(point, "energy");
        char label[96], note[128];
        snprintf(label, sizeof label, "%s = %.6g", constant, number_of(point, "value"));
        snprintf(note, sizeof note, "variance %.5g ± %.2g, ESS %.3g", number_of(energy, "variance"),
                 number_of(energy, "variance_standard_error"), number_of(point, "ess_fraction"));
        page_row(&rows[index], label, note, "%.6g ± %.2g kT", number_of(energy, "mean"),
                 number_of(energy, "standard_error"));
    }
    fputs("<h2>Scan: mean reduced energy</h2>\n", html);
    if (rows) page_table(html, "figures", json_array_size(points), rows);
    free(rows);
    return rows != NULL;
}

static void print_origin(cli_app *app, FILE *html, const average_flags *flags, const averages *a) {
    report_row rows[6];
    char *command = app_command_line(app, NULL), potential[1024];
    system_describe(&a->potential, potential, sizeof potential);
    page_row(&rows[0], "command", "", "%s", command ? command : "-");
    page_row(&rows[1], "configurations", "", "%zu of %s", a->num, flags->data_path);
    page_row(&rows[2], "weights", "", "%s", a->weights_are);
    page_row(&rows[3], "potential", "", "%s", potential);
    page_row(&rows[4], "errors", "", "one standard error, by the jackknife over %llu contiguous blocks",
             (unsigned long long)flags->num_blocks);
    page_row(&rows[5], "eqflow", "", "%s, revision %.12s", eqf_version(), eqf_version_revision());
    free(command);
    fputs("<h2>How it was made</h2>\n", html);
    page_table(html, "origin", 6, rows);
}

/* ---- All together ----------------------------------------------------------------------------- */

static void print_pictures(pictures *to, const average_flags *flags, const averages *a, const json_t *points,
                           const char *constant) {
    if (points) {
        draw_scan(to, points, constant, "energy", "mean", "standard_error", "Mean energy", "mean reduced energy (kT)");
        draw_scan(to, points, constant, "energy", "variance", "variance_standard_error",
                  "Variance of the energy: the heat capacity", "variance of u, C / k");
        draw_scan(to, points, constant, NULL, "ess_fraction", NULL, "Effective sample size",
                  "fraction of the configurations");
    }
    for (size_t c = 0; c < a->num_columns; c++) draw_histogram(to, a, &a->columns[c]);
    draw_pair_density(to, flags, a);
    if (to->num > 0) fputs("</div>\n", to->html);
    if (to->problem) page_no_pictures(to->app, to->html, to->problem);
}

static void print_top(FILE *html, const average_flags *flags, const averages *a, const json_t *found) {
    report_row tiles[4];
    const json_t *energy = json_object_get(json_object_get(found, "averages"), "energy");
    char note[64];
    snprintf(note, sizeof note, "± %.2g kT", number_of(energy, "standard_error"));
    page_row(&tiles[0], "mean energy", note, "%.5g", number_of(energy, "mean"));
    snprintf(note, sizeof note, "± %.2g, variance of u", number_of(energy, "variance_standard_error"));
    page_row(&tiles[1], "heat capacity / k", note, "%.4g", number_of(energy, "variance"));
    snprintf(note, sizeof note, "of %zu configurations", a->num);
    page_row(&tiles[2], "effective sample size", note, "%.3g", number_of(found, "ess_fraction"));
    page_row(&tiles[3], "largest weight", "of all", "%.2g %%", 100 * number_of(found, "max_weight_fraction"));
    char title[160];
    snprintf(title, sizeof title, "%.80s — averages", flags->preset_name ? flags->preset_name : "own potential");
    page_begin(html, title, flags->data_path, 4, tiles);
}

exit_code average_write_report(cli_app *app, const average_flags *flags, const averages *a, const scan_range *scan,
                               const json_t *found) {
    if (!flags->report_path) return EXIT_CODE_OK;
    text_file file;
    exit_code code = text_begin(app, &file);
    if (code != EXIT_CODE_OK) return code;
    const json_t *points = json_object_get(found, "scan"), *sets = json_object_get(found, "sets");
    pictures to = {.app = app, .html = file.stream};
    print_top(file.stream, flags, a, found);
    print_pictures(&to, flags, a, points, scan->name);
    print_averages(file.stream, a, json_object_get(found, "averages"));
    if (points && !print_scan(file.stream, points, scan->name))
        code = app_fail(app, EXIT_CODE_DEVICE, "out of memory for the report");
    if (sets) print_sets(file.stream, sets);
    print_origin(app, file.stream, flags, a);
    page_end(file.stream, "Energies are reduced: u = U/kT.");
    return text_end(app, &file, flags->report_path, code);
}
