#include "report_configurations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "animation.h"

/* A panel's side and the gap between panels in pixels; the numbers of configurations and of columns; the samples and
 * frames of the strip. */
enum { SIDE = 130, GAP = 8, NUM_SHOWN = 8, NUM_COLUMNS = 4, STRIP_ROWS = 3, STRIP_COLUMNS = 5 };

/* Coordinates of a particle in the picture: to the right, upwards, and towards the viewer. */
typedef struct seen {
    double right, up, near;
} seen;

/* In three dimensions the view is from above and a little from the side; a plane is seen from above. */
static seen look_at(const float *place, unsigned space_dim) {
    const double x = place[0], y = space_dim > 1 ? place[1] : 0, z = space_dim > 2 ? place[2] : 0;
    if (space_dim < 3) return (seen){x, y, 0};
    const double yaw = 0.6, pitch = 0.35;
    const double right = cos(yaw) * x + sin(yaw) * z, back = -sin(yaw) * x + cos(yaw) * z;
    return (seen){right, cos(pitch) * y - sin(pitch) * back, sin(pitch) * y + cos(pitch) * back};
}

static int compare_depth(const void *a, const void *b) {
    const double near_a = ((const seen *)a)->near, near_b = ((const seen *)b)->near;
    return (near_a > near_b) - (near_a < near_b);
}

static int compare_doubles(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Pairs nearer than this are joined by a line: 1.3 times the median of the particles' nearest distances. scratch
 * [N]. */
static double bond_length(const float *x, unsigned num_particles, unsigned space_dim, double *scratch) {
    for (unsigned i = 0; i < num_particles; i++) {
        scratch[i] = INFINITY;
        for (unsigned j = 0; j < num_particles; j++) {
            double squared = 0;
            for (unsigned d = 0; d < space_dim; d++) {
                const double step = (double)x[i * space_dim + d] - (double)x[j * space_dim + d];
                squared += step * step;
            }
            if (i != j && squared < scratch[i]) scratch[i] = squared;
        }
    }
    qsort(scratch, num_particles, sizeof *scratch, compare_doubles);
    return 1.3 * sqrt(scratch[num_particles / 2]);
}

/* What drawing a panel needs; arrays [N]. */
typedef struct drawing {
    unsigned num_particles, space_dim;
    double reach; /* half the side, in lengths */
    seen *places;
    double *distances;
} drawing;

static void print_bonds(FILE *html, const drawing *to, const float *x) {
    const double longest = bond_length(x, to->num_particles, to->space_dim, to->distances),
                 scale = SIDE / (2 * to->reach);
    fputs("<path class=\"bonds\" d=\"", html);
    for (unsigned i = 1; i < to->num_particles; i++) {
        for (unsigned j = 0; j < i; j++) {
            double squared = 0;
            for (unsigned d = 0; d < to->space_dim; d++) {
                const double step = (double)x[i * to->space_dim + d] - (double)x[j * to->space_dim + d];
                squared += step * step;
            }
            if (!(squared < longest * longest)) continue;
            const seen a = look_at(x + i * to->space_dim, to->space_dim),
                       b = look_at(x + j * to->space_dim, to->space_dim);
            fprintf(html, "M%.1f %.1fL%.1f %.1f", SIDE / 2.0 + scale * a.right, SIDE / 2.0 - scale * a.up,
                    SIDE / 2.0 + scale * b.right, SIDE / 2.0 - scale * b.up);
        }
    }
    fputs("\"/>", html);
}

/* x [N, D] with a line of text below, its left upper corner at (left, top). Far particles are drawn first, smaller
 * and paler. */
static void print_panel(FILE *html, const drawing *to, int left, int top, const float *x, bool has_bonds,
                        const char *label) {
    const double scale = SIDE / (2 * to->reach), radius = fmin(9, SIDE / (3.2 * sqrt((double)to->num_particles)) / 1.8);
    fprintf(html, "<g transform=\"translate(%d %d)\"><rect class=\"panel\" width=\"%d\" height=\"%d\" rx=\"6\"/>", left,
            top, SIDE, SIDE);
    if (has_bonds) print_bonds(html, to, x);
    for (unsigned i = 0; i < to->num_particles; i++) to->places[i] = look_at(x + i * to->space_dim, to->space_dim);
    qsort(to->places, to->num_particles, sizeof *to->places, compare_depth);
    for (unsigned i = 0; i < to->num_particles; i++) {
        const seen *place = &to->places[i];
        const double depth = to->space_dim < 3 ? 1 : fmin(1, fmax(0, 0.5 + place->near / (2 * to->reach)));
        fprintf(html, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill-opacity=\"%.2f\"/>",
                SIDE / 2.0 + scale * place->right, SIDE / 2.0 - scale * place->up, radius * (0.75 + 0.35 * depth),
                0.35 + 0.65 * depth);
    }
    fprintf(html, "<text x=\"%d\" y=\"%d\">%s</text></g>\n", SIDE / 2, SIDE + 16, label);
}

static void begin_figure(FILE *html, const char *name, const char *title, int columns, int rows) {
    const int width = columns * (SIDE + GAP) - GAP + 2, height = rows * (SIDE + 24) + 2;
    fprintf(html,
            "<figure id=\"%s\"><h3>%s</h3><svg class=\"particles\" role=\"img\" aria-label=\"%s\" viewBox=\"-1 -1 %d "
            "%d\">\n",
            name, title, title, width, height);
}

static void end_figure(FILE *html, const char *caption) {
    fprintf(html, "</svg><figcaption>%s</figcaption></figure>\n", caption);
}

static double reach_of(const float *x, size_t num_values) {
    double reach = 0;
    for (size_t i = 0; i < num_values; i++) {
        if (isfinite(x[i])) reach = fmax(reach, fabs((double)x[i]));
    }
    return reach;
}

/* The configurations `shown` [num] of x with their energies, all with the same scale. */
static void print_row(FILE *html, drawing *to, const char *name, const char *title, const char *caption, size_t num,
                      const size_t *shown, const float *x, const float *energy) {
    const size_t num_dof = (size_t)to->num_particles * to->space_dim;
    to->reach = 0;
    for (size_t k = 0; k < num; k++) to->reach = fmax(to->reach, reach_of(x + shown[k] * num_dof, num_dof));
    to->reach = to->reach > 0 ? 1.25 * to->reach : 1;
    begin_figure(html, name, title, NUM_COLUMNS, (int)(num + NUM_COLUMNS - 1) / NUM_COLUMNS);
    for (size_t k = 0; k < num; k++) {
        char label[48];
        snprintf(label, sizeof label, "%.4g kT", (double)energy[shown[k]]);
        print_panel(html, to, (int)k % NUM_COLUMNS * (SIDE + GAP), (int)k / NUM_COLUMNS * (SIDE + 24),
                    x + shown[k] * num_dof, true, label);
    }
    end_figure(html, caption);
}

/* The samples of lowest energy, lowest first; returns their number. */
static size_t find_lowest(size_t num, const float *energy, size_t lowest_out[NUM_SHOWN]) {
    size_t num_found = 0;
    for (size_t b = 0; b < num; b++) {
        if (!isfinite(energy[b])) continue;
        size_t place = num_found;
        while (place > 0 && energy[b] < energy[lowest_out[place - 1]]) place--;
        if (place >= NUM_SHOWN) continue;
        if (num_found < NUM_SHOWN) num_found++;
        for (size_t k = num_found - 1; k > place; k--) lowest_out[k] = lowest_out[k - 1];
        lowest_out[place] = b;
    }
    return num_found;
}

/* Chooses configurations evenly over the whole set, independently of their energies. */
static size_t spread(size_t num, size_t shown_out[NUM_SHOWN]) {
    const size_t num_shown = num < NUM_SHOWN ? num : NUM_SHOWN;
    for (size_t k = 0; k < num_shown; k++) shown_out[k] = k * num / num_shown;
    return num_shown;
}

/* A column for each of some frames, a row for each of some samples. */
static void print_strip(FILE *html, drawing *to, const report_content *report) {
    const size_t num_dof = (size_t)to->num_particles * to->space_dim, num = report->num_strip,
                 last = report->num_strip_frames - 1, rows = num < STRIP_ROWS ? num : STRIP_ROWS;
    to->reach = 1.25 * fmax(reach_of(report->x_strip, rows * num_dof),
                            reach_of(report->x_strip + last * num * num_dof, rows * num_dof));
    if (!(to->reach > 0)) to->reach = 1;
    begin_figure(html, "strip", "From prior to data", STRIP_COLUMNS, (int)rows);
    for (size_t b = 0; b < rows; b++) {
        for (size_t c = 0; c < STRIP_COLUMNS; c++) {
            const size_t f = c * last / (STRIP_COLUMNS - 1);
            char label[32];
            snprintf(label, sizeof label, "t = %.2f", report->strip_times[f]);
            print_panel(html, to, (int)c * (SIDE + GAP), (int)b * (SIDE + 24),
                        report->x_strip + (f * num + b) * num_dof, f == last, b + 1 == rows ? label : "");
        }
    }
    end_figure(html, "Samples on their way: random points at t = 0, configurations of the model at t = 1. Lines join "
                     "near neighbours.");
}

/* All frames of all samples, one after the other in the same place. */
static void print_moving(FILE *html, const drawing *to, const report_content *report) {
    fputs("<figure id=\"moving\" style=\"grid-column:1/-1\"><h3>On their way</h3>\n", html);
    animation_print(html, report->num_strip_frames, report->num_strip, to->num_particles, to->space_dim,
                    report->x_strip);
    fputs("<figcaption>The same samples and others, moving from the prior to the data; each particle keeps its colour. "
          "As a file: eqflow trajectory --animation.</figcaption></figure>\n",
          html);
}

bool report_print_configurations(FILE *html, const report_content *report) {
    drawing to = {.num_particles = report->num_particles, .space_dim = report->space_dim};
    to.places = malloc(to.num_particles * sizeof *to.places);
    to.distances = malloc(to.num_particles * sizeof *to.distances);
    const bool has_memory = to.places && to.distances;
    if (has_memory) {
        size_t shown[NUM_SHOWN];
        fputs("<h2>Configurations</h2><div class=\"pictures\">\n", html);
        const size_t num_lowest = find_lowest(report->num_samples, report->energy_model, shown);
        print_row(html, &to, "lowest", "Lowest energies", "The model's samples of lowest energy.", num_lowest, shown,
                  report->x_model, report->energy_model);
        if (report->num_strip > 0) print_strip(html, &to, report);
        const size_t num_model = spread(report->num_samples, shown);
        print_row(html, &to, "typical", "Typical samples", "Samples of the model as they come, without weights.",
                  num_model, shown, report->x_model, report->energy_model);
        const size_t num_data = spread(report->num_data, shown);
        print_row(html, &to, "typical-data", "Typical data", "What they should look like.", num_data, shown,
                  report->x_data, report->energy_data);
        if (report->num_strip > 0) print_moving(html, &to, report);
        fputs("</div>\n", html);
    }
    free(to.places);
    free(to.distances);
    return has_memory;
}
