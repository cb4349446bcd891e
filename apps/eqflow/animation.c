#include "animation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"

/* Lengths in pixels; a panel's side is 160. */
enum { SIDE = 160, GAP = 12, MOST_COLUMNS = 6 };
static const double seconds_of_way = 4, seconds_of_rest = 1.5;

/* One of Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), distinct for every colour vision, on light and
 * dark pages. */
static const char *colour_of(unsigned particle) {
    static const char *const colours[] = {"#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800"};
    return colours[particle % (sizeof colours / sizeof colours[0])];
}

/* Half the side of the drawn region, which holds nearly all coordinates of the first and last frame. */
static double find_reach(size_t num_frames, size_t num_numbers, const float *x) {
    double reach = 0;
    for (size_t c = 0; c < num_numbers; c++) {
        const double first = fabs((double)x[c]), last = fabs((double)x[(num_frames - 1) * num_numbers + c]);
        if (isfinite(first)) reach = fmax(reach, first);
        if (isfinite(last)) reach = fmax(reach, last);
    }
    return reach > 0 ? 1.1 * reach : 1;
}

/* Coordinates of a particle on the panel: the first two dimensions, shifted a little by a third. */
static void project(const float *place, unsigned space_dim, double reach, double *u_out, double *v_out) {
    const double x = place[0], y = space_dim > 1 ? place[1] : 0, z = space_dim > 2 ? place[2] : 0;
    *u_out = SIDE / 2.0 * (1 + (x + 0.3 * z) / (1.3 * reach));
    *v_out = SIDE / 2.0 * (1 - (y + 0.3 * z) / (1.3 * reach));
}

/* values="...": one for each frame; the last is held before the animation starts again. */
static void print_values(FILE *stream, const char *attribute, size_t num_frames, size_t stride, unsigned space_dim,
                         double reach, const float *first, bool is_u) {
    fprintf(stream, "<animate attributeName=\"%s\" dur=\"%gs\" repeatCount=\"indefinite\" values=\"", attribute,
            seconds_of_way + seconds_of_rest);
    for (size_t f = 0; f < num_frames; f++) {
        double u, v;
        project(first + f * stride, space_dim, reach, &u, &v);
        fprintf(stream, "%.1f;", is_u ? u : v);
    }
    double u, v;
    project(first + (num_frames - 1) * stride, space_dim, reach, &u, &v);
    fprintf(stream, "%.1f\" keyTimes=\"", is_u ? u : v);
    for (size_t f = 0; f < num_frames; f++) {
        const double moving = seconds_of_way / (seconds_of_way + seconds_of_rest);
        fprintf(stream, "%.5f;", num_frames > 1 ? moving * (double)f / (double)(num_frames - 1) : 0);
    }
    fputs("1\"/>", stream);
}

static void print_panel(FILE *stream, size_t panel, size_t num_frames, size_t num, unsigned num_particles,
                        unsigned space_dim, double reach, const float *x) {
    const size_t stride = num * num_particles * space_dim, columns = num < MOST_COLUMNS ? num : MOST_COLUMNS;
    fprintf(stream,
            "<g transform=\"translate(%zu %zu)\">\n"
            "<rect width=\"%d\" height=\"%d\" rx=\"6\" fill=\"none\" stroke=\"#999\"/>\n",
            GAP + panel % columns * (SIDE + GAP), GAP + panel / columns * (SIDE + GAP), SIDE, SIDE);
    for (unsigned i = 0; i < num_particles; i++) {
        const float *first = x + (panel * num_particles + i) * space_dim;
        double u, v; /* the last place, for viewers without animation */
        project(first + (num_frames - 1) * stride, space_dim, reach, &u, &v);
        fprintf(stream, "<circle r=\"%g\" fill=\"%s\" fill-opacity=\"0.85\" cx=\"%.1f\" cy=\"%.1f\">",
                num_particles > 20 ? 4.0 : 6.0, colour_of(i), u, v);
        print_values(stream, "cx", num_frames, stride, space_dim, reach, first, true);
        print_values(stream, "cy", num_frames, stride, space_dim, reach, first, false);
        fputs("</circle>\n", stream);
    }
    fputs("</g>\n", stream);
}

void animation_print(FILE *stream, size_t num_frames, size_t num, unsigned num_particles, unsigned space_dim,
                     const float *x) {
    const double reach = find_reach(num_frames, num * num_particles * space_dim, x);
    const size_t columns = num < MOST_COLUMNS ? num : MOST_COLUMNS, rows = (num + columns - 1) / columns;
    fprintf(stream,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %zu %zu\" role=\"img\" "
            "aria-label=\"%zu configurations on their way from the prior to the data\">\n",
            GAP + columns * (SIDE + GAP), GAP + rows * (SIDE + GAP), num);
    for (size_t panel = 0; panel < num; panel++)
        print_panel(stream, panel, num_frames, num, num_particles, space_dim, reach, x);
    fputs("</svg>\n", stream);
}

exit_code animation_write(cli_app *app, const char *path, size_t num_frames, size_t num, unsigned num_particles,
                          unsigned space_dim, const float *x) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return app_fail(app, EXIT_CODE_DEVICE, "out of memory for the animation");
    animation_print(stream, num_frames, num, num_particles, space_dim, x);
    exit_code code =
        fclose(stream) == 0 ? EXIT_CODE_OK : app_fail(app, EXIT_CODE_DEVICE, "out of memory for the animation");
    if (code == EXIT_CODE_OK) code = files_write(app, path, text, size);
    free(text);
    return code;
}
