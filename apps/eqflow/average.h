/* Shared by the files of `eqflow average`: cmd_average.c reads and prints, average_scan.c does --scan,
 * average_combine.c --with, average_files.c writes tables. */
#ifndef AVERAGE_H
#define AVERAGE_H

#include "eqflow/estimate.h"
#include "options.h"
#include "output.h"
#include "system.h"
#include "work.h"

enum { MOST_OBSERVABLES = 16, MOST_POINTS = 1000 };

typedef struct average_flags {
    const char *data_path, *preset_name, *log_weights_path;
    const char *table_path, *pairs_path, *histograms_path, *each_path, *report_path;
    cli_list observables, texts, text_constants; /* of the last: "NAME=X" */
    cli_list with;                               /* "NAME=VALUE:FILE" */
    cli_list scans;                              /* "NAME=FIRST:LAST:COUNT" */
    cli_ranges ranges;                           /* in place of a constant's number */
    uint64_t num_blocks, num_bins;
    double neighbours, pair_range;
    bool is_neighbours_set, is_pair_range_set, has_equal_weights;
    system_flags system;
} average_flags;

/* One observable of every configuration. */
typedef struct column {
    const char *name, *title;
    double *values; /* [num] */
} column;

/* The sets of --with (average_combine.c). */
typedef struct combined combined;

typedef struct averages {
    /* of the equilibrium from which the configurations are, or of their weights */
    eqf_potential_options potential;
    eqf_array x; /* [num, N, D] */
    size_t num;
    float *energy;                        /* [num], at that potential */
    double *log_weights;                  /* [num], of a file, or zeros */
    const char *weights_are;              /* "equal", or the file of the weights */
    column columns[MOST_OBSERVABLES + 1]; /* the energy first */
    size_t num_columns;
    combined *combined; /* NULL: one set */
} averages;

/* A constant of the potential that takes num values from first to last. */
typedef struct scan {
    char name[64];
    double first, last;
    size_t num; /* 0: no scan */
} scan_range;

/* Mean and variance of a column with log-weights [num]; prints errors. */
exit_code average_moments(cli_app *app, const average_flags *flags, const averages *a, const double *log_weights,
                          size_t column_index, eqf_moments *moments);
json_t *average_json(const eqf_moments *moments);

/* The one scan that is asked for: by --scan, by a range as a constant's value (`--temperature 0.8:1.2:9`), or by one in
 * `--constant NAME=1:2:5`, which is then taken out of the list. num of scan_out is 0 if there is none. */
exit_code scan_choose(cli_app *app, average_flags *flags, scan_range *scan_out);
/* The averages at each value: as rows on stdout, as "scan" in JSON, and in the table of flags. options: of the command
 * line, among which NAME is looked up. */
exit_code scan_run(cli_app *app, const average_flags *flags, averages *a, const scan_range *scan,
                   const cli_option *options, size_t num_options, cli_output *output);

/* Sets the scanned constant: one of the command line's flags, or a constant of an own potential. */
exit_code average_set_constant(cli_app *app, const scan_range *scan, double value, const cli_option *options,
                               size_t num_options, const average_flags *flags, eqf_potential_options *potential);

/* Of "NAME=VALUE:FILE" the file; NULL if there is none. */
const char *average_path_of_set(const char *with);

/* --with. check_sets refuses a file that is given twice; read_sets adds its sets to a->x; weigh_sets computes the
 * weights of all, when energies can be computed; combined_moments gives mean and variance, with jackknife errors for
 * which the weights are solved again without each block; print_sets prints the sets. */
exit_code average_check_sets(cli_app *app, const average_flags *flags);
exit_code average_read_sets(cli_app *app, const average_flags *flags, averages *a);
exit_code average_weigh_sets(cli_app *app, const average_flags *flags, const cli_option *options, size_t num_options,
                             averages *a);
exit_code average_combined_moments(cli_app *app, const averages *a, const double *log_weights, const double *values,
                                   eqf_moments *moments);
void average_print_sets(const averages *a, cli_output *output);
void average_combined_clear(averages *a);

/* Write the files of --pairs, --histograms and --each, if these are given. */
exit_code average_write_pairs(cli_app *app, const average_flags *flags, const averages *a);
exit_code average_write_histograms(cli_app *app, const average_flags *flags, const averages *a);
exit_code average_write_each(cli_app *app, const average_flags *flags, const averages *a);

/* Between which values a column's histogram goes: a little beyond those of all configurations with a weight. */
void average_range(const averages *a, const column *of, double *low_out, double *high_out);

/* --report: one HTML page with the tables and pictures of what was found, the results as JSON. */
exit_code average_write_report(cli_app *app, const average_flags *flags, const averages *a, const scan_range *scan,
                               const json_t *found);

/* A text, which is written to a file when it is complete. */
typedef struct text_file {
    FILE *stream;
    char *text;
    size_t size;
} text_file;
exit_code text_begin(cli_app *app, text_file *file);
/* Writes it to path, unless code is a failure; frees it. */
exit_code text_end(cli_app *app, text_file *file, const char *path, exit_code code);

#endif
