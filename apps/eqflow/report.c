#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/estimate.h"

#include "files.h"
#include "plot.h"
#include "report_configurations.h"
#include "report_histograms.h"
#include "report_lights.h"
#include "report_page.h"
#include "report_weights.h"

/* Colours of Okabe and Ito, which differ for every colour vision; lines also differ in dash and width. */
#define COLOUR_DATA "#0072B2"
#define COLOUR_MODEL "#D55E00"
#define COLOUR_REWEIGHTED "#009E73"

/* ---- gnuplot scripts -------------------------------------------------------------------------- */

/* Left edges of the bins and a zero at the end, as gnuplot's "steps" and "fillsteps" need for a histogram. */
static void print_steps(FILE *script, const char *name, report_range range, const double *density) {
    double width = (range.high - range.low) / NUM_BINS;
    fprintf(script, "$%s << EOD\n%.9g 0\n", name, range.low);
    for (size_t i = 0; i < NUM_BINS; i++) fprintf(script, "%.9g %.9g\n", range.low + width * (double)i, density[i]);
    fprintf(script, "%.9g 0\nEOD\n", range.high);
}

static void print_comparison(FILE *script, const picture_histogram *histogram, bool is_reweighted) {
    print_steps(script, "data", histogram->range, histogram->data);
    print_steps(script, "model", histogram->range, histogram->model);
    if (is_reweighted) print_steps(script, "reweighted", histogram->range, histogram->reweighted);
    fprintf(script, "set xrange [%.9g:%.9g]\nset yrange [0:*]\n", histogram->range.low, histogram->range.high);
    fputs("plot $data with fillsteps linecolor '" COLOUR_DATA "' notitle, "
          "$data with steps linecolor '" COLOUR_DATA "' linewidth 1.2 title 'data', "
          "$model with steps linecolor '" COLOUR_MODEL "' linewidth 1.6 dashtype (6,3) title 'model'",
          script);
    if (is_reweighted) {
        fputs(", $reweighted with steps linecolor '" COLOUR_REWEIGHTED "' linewidth 1.9 title 'reweighted'", script);
    }
    fputc('\n', script);
}

static void print_weights(FILE *script, const picture_histogram *histogram) {
    print_steps(script, "model", histogram->range, histogram->model);
    fprintf(script,
            "set xrange [%.9g:%.9g]\nset yrange [0:*]\n"
            "set arrow 1 from first 0, graph 0 to first 0, graph 1 nohead linecolor '#555555' dashtype (4,4) front\n"
            "plot $model with fillsteps linecolor '" COLOUR_MODEL "' notitle, "
            "$model with steps linecolor '" COLOUR_MODEL "' linewidth 1.4 title 'model', "
            "NaN with lines linecolor '#555555' dashtype (4,4) title 'perfect flow'\n",
            histogram->range.low, histogram->range.high);
}

/* One quantity of the history: its values in training steps and on the held-out set, and the lower bound of its
 * expectation (NaN: unknown). */
typedef struct report_curve {
    size_t training, held_out; /* offsets in eqf_history_row */
    double floor;
    const char *floor_name;
} report_curve;

static report_curve nll_curve(const report_content *report) {
    return (report_curve){offsetof(eqf_history_row, nll), offsetof(eqf_history_row, held_out_nll), report->entropy,
                          "entropy (floor)"};
}

static report_curve free_energy_curve(const report_content *report) {
    return (report_curve){offsetof(eqf_history_row, free_energy), offsetof(eqf_history_row, held_out_free_energy),
                          -report->known_log_z, "-ln Z (floor)"};
}

static double history_value(const report_content *report, size_t row, size_t offset) {
    double value;
    memcpy(&value, (const char *)&report->history[row] + offset, sizeof value);
    return value;
}

static bool has_curve(const report_content *report, report_curve curve) {
    for (size_t i = 0; i < report->num_history; i++)
        if (isfinite(history_value(report, i, curve.training))) return true;
    return false;
}

/* The large values of the first steps are cut off: the range ends a little above the values of the last 90 %. */
static report_range curve_range(const report_content *report, report_curve curve) {
    report_range range = {INFINITY, -INFINITY};
    uint64_t last = report->history[report->num_history - 1].step;
    for (size_t i = 0; i < report->num_history; i++) {
        const double values[] = {history_value(report, i, curve.training), history_value(report, i, curve.held_out)};
        for (size_t j = 0; j < 2; j++) {
            if (!isfinite(values[j])) continue;
            if (values[j] < range.low) range.low = values[j];
            if (report->history[i].step >= last / 10 && values[j] > range.high) range.high = values[j];
        }
    }
    if (isfinite(curve.floor) && curve.floor < range.low) range.low = curve.floor;
    if (!(range.low < range.high)) range.high = range.low + 1;
    report_widen(&range, 0.06);
    return range;
}

/* Returns whether a number was printed. */
static bool print_history(FILE *script, const char *name, const report_content *report, size_t offset) {
    bool has_any = false;
    fprintf(script, "$%s << EOD\n", name);
    for (size_t i = 0; i < report->num_history; i++) {
        double value = history_value(report, i, offset);
        if (!isfinite(value)) continue;
        has_any = true;
        fprintf(script, "%" PRIu64 " %.9g\n", report->history[i].step, value);
    }
    fputs("EOD\n", script);
    return has_any;
}

static void print_curve(FILE *script, const report_content *report, report_curve curve) {
    report_range range = curve_range(report, curve);
    print_history(script, "training", report, curve.training);
    bool has_held_out = print_history(script, "held_out", report, curve.held_out);
    fprintf(script, "set yrange [%.9g:%.9g]\nset xrange [0:%" PRIu64 "]\n", range.low, range.high,
            report->history[report->num_history - 1].step);
    fputs("plot $training with lines linecolor '" COLOUR_MODEL "' linewidth 1.2 title 'training'", script);
    if (has_held_out) {
        fputs(", $held_out with linespoints linecolor '" COLOUR_DATA "' linewidth 1.6 pointtype 7 pointsize 0.35 "
              "title 'held-out'",
              script);
    }
    if (isfinite(curve.floor)) {
        fprintf(script, ", %.9g with lines linecolor '#555555' dashtype (4,4) title '%s'\n", curve.floor,
                curve.floor_name);
    } else {
        fputc('\n', script);
    }
}

typedef struct report_picture {
    const char *name, *title, *caption, *x_label, *y_label;
    double outside; /* fraction of the model's samples outside the picture */
    char *script;
} report_picture;

static void print_picture(FILE *html, const report_picture *picture, const char *svg) {
    char outside[96] = "";
    if (picture->outside > 0.0005) {
        snprintf(outside, sizeof outside, " %.2g&nbsp;%% of the model's %s beyond the picture.", 100 * picture->outside,
                 strcmp(picture->name, "distances") == 0 ? "distances lie" : "samples lie");
    }
    page_figure(html, picture->name, picture->title, picture->caption, outside, svg);
}

static void print_warnings(FILE *html, const report_content *report) {
    if (report->num_warnings == 0) {
        fputs("<p class=\"notice good\">Every check of this evaluation passed: the integration is resolved, the "
              "likelihood is possible, no single sample dominates.</p>\n",
              html);
        return;
    }
    page_warnings(html, report->num_warnings, report->warnings);
}

/* ---- All together ----------------------------------------------------------------------------- */

enum { NUM_PICTURES = 8 };

static exit_code make_script(const report_content *report, size_t index, report_picture *picture) {
    picture_histogram *histogram = calloc(1, sizeof *histogram);
    char *text = NULL;
    size_t size = 0;
    FILE *script = open_memstream(&text, &size);
    exit_code code = histogram && script ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (script) page_script_begin(script, picture->x_label, picture->y_label);
    if (code == EXIT_CODE_OK) {
        switch (index) {
            case 0:
                code = report_energy_histogram(report, histogram);
                print_comparison(script, histogram, isfinite(report->log_z));
                break;
            case 1:
                code = report_distance_histogram(report, histogram);
                print_comparison(script, histogram, isfinite(report->log_z));
                break;
            case 2:
                code = report_weight_histogram(report, histogram);
                print_weights(script, histogram);
                break;
            case 3: report_print_scatter(script, report, COLOUR_MODEL); break;
            case 4: report_print_running_log_z(script, report, COLOUR_REWEIGHTED); break;
            case 5: report_print_running_ess(script, report, COLOUR_REWEIGHTED); break;
            case 6: print_curve(script, report, nll_curve(report)); break;
            default: print_curve(script, report, free_energy_curve(report)); break;
        }
        picture->outside = histogram->model_outside;
    }
    if (script && fclose(script) != 0) code = EXIT_CODE_DEVICE;
    free(histogram);
    picture->script = text;
    return code;
}

static bool has_picture(const report_content *report, size_t index) {
    if (index >= 2 && index <= 5) return isfinite(report->log_z);
    if (index == 6) return has_curve(report, nll_curve(report));
    if (index == 7) return has_curve(report, free_energy_curve(report));
    return true;
}

static const report_picture known_pictures[NUM_PICTURES] = {
    {.name = "energies",
     .title = "Energies",
     .x_label = "reduced energy u (kT)",
     .y_label = "probability density (1/kT)",
     .caption = "Reweighted, the model's samples should fall on the data."},
    {.name = "distances",
     .title = "Pair distances",
     .x_label = "distance of two particles (length)",
     .y_label = "probability density (1/length)",
     .caption = "Distribution of |x<sub>i</sub> − x<sub>j</sub>| over all pairs."},
    {.name = "weights",
     .title = "Log-weights",
     .x_label = "ln w − ln Z (nats)",
     .y_label = "probability density (1/nat)",
     .caption = "w = exp(−u(x)) / q(x) for samples x of the model. The narrower around 0, the larger the "
                "effective sample size."},
    {.name = "weights-energy",
     .title = "Weights against energy",
     .x_label = "reduced energy u (kT)",
     .y_label = "ln w − ln Z (nats)",
     .caption = "Each dot a sample of the model. Of a perfect flow all lie on the line; those above it are drawn "
                "too rarely."},
    {.name = "running-log-z",
     .title = "ln Z as samples come in",
     .x_label = "samples",
     .y_label = "ln Z",
     .caption = "It should settle. Jumps upwards are samples of large weight that were missing until then."},
    {.name = "running-ess",
     .title = "Effective sample size as samples come in",
     .x_label = "samples",
     .y_label = "fraction of the samples",
     .caption = "It should stay level. A fall with more samples: the largest weights had not been seen."},
    {.name = "training",
     .title = "Training",
     .x_label = "optimizer step",
     .y_label = "NLL (nats)",
     .caption = "Mean negative log-likelihood; the model is the best one on held-out samples."},
    {.name = "free-energy",
     .title = "Training: free energy",
     .x_label = "optimizer step",
     .y_label = "free energy (nats)",
     .caption = "Mean of u + ln q over the model's own samples: KL(model ‖ target) − ln Z."},
};

static exit_code print_pictures(cli_app *app, FILE *html, const report_content *report) {
    report_picture pictures[NUM_PICTURES];
    memcpy(pictures, known_pictures, sizeof pictures);
    const char *problem = NULL;
    exit_code code = EXIT_CODE_OK;
    size_t num_drawn = 0;
    for (size_t i = 0; i < NUM_PICTURES && code == EXIT_CODE_OK && !problem; i++) {
        if (!has_picture(report, i)) continue;
        char *svg = NULL;
        code = make_script(report, i, &pictures[i]);
        if (code == EXIT_CODE_OK) plot_svg(pictures[i].script, &svg, &problem);
        if (svg) {
            if (num_drawn++ == 0) fputs("<h2>Pictures</h2><div class=\"pictures\">\n", html);
            print_picture(html, &pictures[i], svg);
        }
        free(pictures[i].script);
        free(svg);
    }
    if (num_drawn > 0) fputs("</div>\n", html);
    if (problem) {
        page_no_pictures(app, html, problem);
    }
    if (code != EXIT_CODE_OK) app_fail(app, code, "out of memory for the report's pictures");
    return code;
}

exit_code report_write(cli_app *app, const char *path, const report_content *report) {
    char *text = NULL;
    size_t size = 0;
    FILE *html = open_memstream(&text, &size);
    if (!html) return app_fail(app, EXIT_CODE_DEVICE, "out of memory for the report");
    page_begin(html, report->title, report->subtitle, report->num_tiles, report->tiles);
    print_warnings(html, report);
    report_print_lights(html, report);
    exit_code code = report_print_configurations(html, report)
                         ? EXIT_CODE_OK
                         : app_fail(app, EXIT_CODE_DEVICE, "out of memory for the report");
    if (code == EXIT_CODE_OK) code = print_pictures(app, html, report);
    fputs("<h2>Figures</h2>\n", html);
    page_table(html, "figures", report->num_figures, report->figures);
    fputs("<h2>How it was made</h2>\n", html);
    page_table(html, "origin", report->num_origins, report->origins);
    page_end(html, "Energies are reduced: u = U/kT. Log-densities are natural logarithms, normalised on configurations "
                   "with their centre of mass at the origin.");
    if (fclose(html) != 0 && code == EXIT_CODE_OK) code = app_fail(app, EXIT_CODE_DEVICE, "out of memory");
    if (code == EXIT_CODE_OK) code = files_write(app, path, text, size);
    free(text);
    return code;
}
