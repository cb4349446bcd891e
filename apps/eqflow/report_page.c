/* The page of a report: its head, its tables, its pictures, one style. */
#include "report_page.h"

#include <stdarg.h>
#include <string.h>

#include "text.h"

static const char style[] =
    ":root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--text:#1c2733;--soft:#5b6b7b;--line:#dfe4ea;"
    "--accent:#0072B2;--warn:#fff4e0;--warn-line:#e69f00;--good:#e6f5ef;--good-line:#009E73}"
    "@media(prefers-color-scheme:dark){:root{--page:#12171d;--card:#1b232c;--text:#e4eaf0;--soft:#9aabba;"
    "--line:#2d3844;--accent:#56b4e9;--warn:#33290f;--good:#10291f}figure img{filter:invert(.9) hue-rotate(180deg)}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}"
    "main{max-width:1120px;margin:0 auto;padding:2rem 1.25rem 3rem}"
    "header p{color:var(--soft);margin:.2rem 0 1.4rem;overflow-wrap:anywhere}"
    "h1{font-size:1.75rem;line-height:1.25;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .8rem}"
    ".tiles{display:grid;gap:.9rem;grid-template-columns:repeat(auto-fit,minmax(170px,1fr))}"
    ".tile,figure,.card{background:var(--card);border:1px solid var(--line);border-radius:10px}"
    ".tile{padding:.85rem 1rem}.tile b{display:block;font-size:1.5rem;font-weight:650;"
    "font-variant-numeric:tabular-nums;color:var(--accent)}.tile span{font-size:.88rem}"
    ".tile small{display:block;color:var(--soft)}"
    ".notice{border-left:5px solid;border-radius:6px;padding:.7rem 1rem;margin:1.2rem 0 0}"
    ".warn{background:var(--warn);border-color:var(--warn-line)}.good{background:var(--good);"
    "border-color:var(--good-line)}.notice ul{margin:.3rem 0 0;padding-left:1.2rem}"
    ".notice li::first-letter{text-transform:uppercase}"
    ".pictures{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr))}"
    "figure{margin:0;padding:1rem}figure h3{margin:0 0 .4rem;font-size:1rem}"
    "figure img{width:100%;height:auto;display:block}figcaption{color:var(--soft);font-size:.88rem;margin-top:.4rem}"
    ".card{overflow-x:auto}table{border-collapse:collapse;width:100%}"
    "td{padding:.42rem 1rem;border-top:1px solid var(--line);vertical-align:top}tr:first-child td{border-top:0}"
    "td:nth-child(2){font-variant-numeric:tabular-nums;font-weight:600}.figures td:nth-child(2){white-space:nowrap}"
    "td:nth-child(3){color:var(--soft);font-size:.9rem}.origin td:nth-child(2){font-weight:400;"
    "font-family:ui-monospace,Consolas,'DejaVu Sans Mono',monospace;font-size:.88rem;overflow-wrap:anywhere}"
    "@media(max-width:640px){.figures tr{display:grid;grid-template-columns:1fr auto;padding:.35rem 0;"
    "border-top:1px solid var(--line)}.figures tr:first-child{border-top:0}.figures td{border:0;padding:.1rem 1rem}"
    ".figures td:nth-child(3){grid-column:1/-1}.figures td:empty{display:none}}"
    ".lights{list-style:none;margin:0;padding:.4rem 0}.lights li{display:grid;grid-template-columns:1.6rem "
    "minmax(9rem,13rem) 1fr;gap:.2rem .8rem;"
    "padding:.5rem 1rem;border-top:1px solid var(--line)}.lights li:first-child{border-top:0}.lights "
    "svg{width:1.3rem;height:1.3rem;margin-top:.15rem}"
    ".lights b{font-weight:600}.lights small{display:block;color:var(--soft);font-size:.9rem}"
    "@media(max-width:560px){.lights li{grid-template-columns:1.6rem 1fr}.lights li>span{grid-column:2}}"
    ".particles{width:100%;height:auto;display:block}.particles "
    "circle{fill:var(--accent);stroke:var(--card);stroke-width:.8}"
    ".particles .bonds{stroke:var(--soft);stroke-opacity:.55;fill:none}.particles .panel{fill:none;stroke:var(--line)}"
    ".particles text{fill:var(--soft);font-size:12px;text-anchor:middle}"
    "footer{color:var(--soft);font-size:.85rem;margin-top:2rem}@media print{body{background:#fff}"
    "figure,.tile,.card{break-inside:avoid}}";

void page_script_begin(FILE *script, const char *x_label, const char *y_label) {
    fprintf(script,
            "set encoding utf8\n"
            "set terminal svg size 640,400 dynamic enhanced font 'Helvetica,Arial,sans-serif,15' linewidth 1.4\n"
            "set border 3 linecolor '#555555'\nset tics nomirror out textcolor '#333333'\n"
            "set grid linecolor '#dddddd' linetype 1 linewidth 0.5\n"
            "set key outside top center vertical maxrows 1 reverse Left samplen 2 width -4 textcolor '#222222'\n"
            "set style fill solid 0.25 noborder\n"
            "set xlabel \"%s\" textcolor '#222222'\nset ylabel \"%s\" textcolor '#222222' offset 0.5,0\n",
            x_label, y_label);
}

void page_escaped(FILE *html, const char *text) {
    for (size_t length; *text; text += length ? length : 1) {
        length = text_utf8_length(text);
        switch (*text) {
            case '&': fputs("&amp;", html); break;
            case '<': fputs("&lt;", html); break;
            case '>': fputs("&gt;", html); break;
            case '"': fputs("&quot;", html); break;
            default:
                if (length > 0) {
                    fwrite(text, 1, length, html);
                } else {
                    fputs("\xef\xbf\xbd", html); /* not UTF-8, as a file name may be */
                }
        }
    }
}

static void print_base64(FILE *html, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i += 3) {
        unsigned word = (unsigned)bytes[i] << 16;
        if (i + 1 < size) word |= (unsigned)bytes[i + 1] << 8;
        if (i + 2 < size) word |= bytes[i + 2];
        fputc(digits[word >> 18], html);
        fputc(digits[(word >> 12) & 63], html);
        fputc(i + 1 < size ? digits[(word >> 6) & 63] : '=', html);
        fputc(i + 2 < size ? digits[word & 63] : '=', html);
    }
}

void page_table(FILE *html, const char *class_name, size_t num_rows, const report_row *rows) {
    bool has_notes = false; /* all rows need the same number of cells */
    for (size_t i = 0; i < num_rows; i++) has_notes = has_notes || rows[i].note[0];
    fprintf(html, "<div class=\"card %s\"><table>\n", class_name);
    for (size_t i = 0; i < num_rows; i++) {
        fputs("<tr><td>", html);
        page_escaped(html, rows[i].label);
        fputs("</td><td>", html);
        page_escaped(html, rows[i].value);
        fputs("</td>", html);
        if (has_notes) {
            fputs("<td>", html);
            page_escaped(html, rows[i].note);
            fputs("</td>", html);
        }
        fputs("</tr>\n", html);
    }
    fputs("</table></div>\n", html);
}

void page_row(report_row *row, const char *label, const char *note, const char *format, ...) {
    va_list arguments;
    snprintf(row->label, sizeof row->label, "%s", label);
    snprintf(row->note, sizeof row->note, "%s", note);
    va_start(arguments, format);
    vsnprintf(row->value, sizeof row->value, format, arguments);
    va_end(arguments);
}

void page_begin(FILE *html, const char *title, const char *subtitle, size_t num_tiles, const report_row *tiles) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>",
          html);
    page_escaped(html, title);
    fprintf(html, "</title><style>%s</style></head>\n<body><main>\n<header><h1>", style);
    page_escaped(html, title);
    fputs("</h1><p>", html);
    page_escaped(html, subtitle);
    fputs("</p></header>\n<div class=\"tiles\">\n", html);
    for (size_t i = 0; i < num_tiles; i++) {
        fputs("<div class=\"tile\"><span>", html);
        page_escaped(html, tiles[i].label);
        fputs("</span><b>", html);
        page_escaped(html, tiles[i].value);
        fputs("</b><small>", html);
        page_escaped(html, tiles[i].note);
        fputs("</small></div>\n", html);
    }
    fputs("</div>\n", html);
}

void page_warnings(FILE *html, size_t num, char *const *warnings) {
    fputs("<div class=\"notice warn\"><strong>Read this before the figures.</strong><ul>\n", html);
    for (size_t i = 0; i < num; i++) {
        fputs("<li>", html);
        page_escaped(html, warnings[i]);
        fputs("</li>\n", html);
    }
    fputs("</ul></div>\n", html);
}

void page_figure(FILE *html, const char *id, const char *title, const char *caption, const char *more,
                 const char *svg) {
    fprintf(html, "<figure id=\"%s\"><h3>%s</h3><img alt=\"%s\" src=\"data:image/svg+xml;base64,", id, title, title);
    print_base64(html, svg);
    fprintf(html, "\"><figcaption>%s%s</figcaption></figure>\n", caption, more);
}

void page_no_pictures(cli_app *app, FILE *html, const char *problem) {
    app_warn(app, "the report has no pictures: %s", problem);
    fputs("<p class=\"notice warn\">No pictures: ", html);
    page_escaped(html, problem);
    fputs(".</p>\n", html);
}

void page_end(FILE *html, const char *footer) {
    fprintf(html, "<footer>%s</footer>\n</main></body></html>\n", footer);
}
