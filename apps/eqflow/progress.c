#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "signals.h"

enum { BAR_WIDTH = 18, SMALLEST_BAR = 4 };

void progress_begin(cli_progress *progress, cli_app *app, const char *label, const char *unit) {
    *progress = (cli_progress){.app = app,
                               .is_on = !app->is_quiet && app_is_first(app) && isatty(STDERR_FILENO),
                               .label = label,
                               .unit = unit,
                               .start_seconds = app_seconds(),
                               .start_done = -1};
}

static void format_seconds(double seconds, char *text, size_t size) {
    if (!(seconds >= 0) || seconds > 359999) {
        snprintf(text, size, "-:--");
        return;
    }
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600) {
        snprintf(text, size, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        snprintf(text, size, "%u:%02u", whole / 60, whole % 60);
    }
}

void progress_update(cli_progress *progress, double done, double total, const char *detail) {
    if (!progress->is_on) return;
    double now = app_seconds();
    if (progress->start_done < 0) {
        progress->start_done = done;
        progress->start_seconds = now;
    }
    if (now - progress->last_seconds < 0.1 && done < total) return;
    progress->last_seconds = now;

    double fraction = total > 0 ? fmin(1, fmax(0, done / total)) : 0;
    double rate = (done - progress->start_done) / (now - progress->start_seconds);
    char bar[BAR_WIDTH + 1], eta[32], speed[48] = "", line[512];
    format_seconds(rate > 0 ? (total - done) / rate : NAN, eta, sizeof eta);
    if (isfinite(rate) && rate > 0) {
        snprintf(speed, sizeof speed, rate < 1e5 ? " %.4g %s/s" : " %.2e %s/s", rate, progress->unit);
    }
    struct winsize window;
    int width = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20) width = window.ws_col;
    /* The bar is shortened to leave room for the text; if that is still too long it is cut between words. */
    for (int bar_width = BAR_WIDTH; bar_width >= SMALLEST_BAR; bar_width--) {
        for (int i = 0; i < bar_width; i++) bar[i] = i < (int)(fraction * bar_width + 0.5) ? '#' : '-';
        bar[bar_width] = '\0';
        int length = snprintf(line, sizeof line, "%s [%s] %3.0f%%%s ETA %s%s%s", progress->label, bar, 100 * fraction,
                              speed, eta, detail ? "  " : "", detail ? detail : "");
        if (length < width) break;
    }
    if (strlen(line) >= (size_t)width) {
        char *end = line + width - 1;
        while (end > line && *end != ' ') end--;
        *end = '\0';
    }
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    progress->app->has_progress_line = true;
}

void progress_watch(cli_progress *progress, cli_app *app, const char *label, const char *unit) {
    progress_begin(progress, app, label, unit);
    progress->has_own_label = label != NULL;
    app->watching = progress;
}

int progress_report(void *user, const eqf_progress *report) {
    cli_app *app = user;
    cli_progress *progress = app->watching;
    if (!progress) return 0;
    if (progress->stage != report->stage) { /* a new stage: texts are static, so pointers can be compared */
        progress->stage = report->stage;
        progress->start_done = -1;
        if (!progress->has_own_label) progress->label = report->stage;
    }
    progress_update(progress, report->done, report->total, NULL);
    return signals_is_stop_requested();
}

void progress_wait(cli_progress *progress, cli_app *app, const char *text) {
    progress_begin(progress, app, text, "");
    if (!progress->is_on) return;
    fprintf(stderr, "\r\033[K%s ...", text);
    fflush(stderr);
    app->has_progress_line = true;
}

void progress_end(cli_progress *progress) {
    if (progress->app->has_progress_line) fputs("\r\033[K", stderr);
    progress->app->has_progress_line = false;
    if (progress->app->watching == progress) progress->app->watching = NULL;
    progress->is_on = false;
}
